-- Calls that arrive from abroad.
--
-- A German number that arrives from a foreign network may be forged: fsroute hides it, and the rules treat the caller
-- as anonymous. A German mobile that calls home from a holiday looks the same, unless the carrier says that it is
-- roaming (fsroute_roaming). So such callers get a mailbox here instead of a rejection. Foreign numbers are shown.
--
--   fsroute explain --to +492214710191 --from +493023125001 --trunk london
--   fsroute explain --to +492214710191 --from +442079460018 --trunk london
--   fsroute explain --to +492214710191 --from +493023125001 --trunk carrier

INSERT INTO trunks (name, gateway, country, domain, is_foreign) VALUES
    ('london', 'london', 'GB', 'london.example', TRUE);

INSERT INTO numbers (number, account) VALUES ('+492214710191', 'acme');

INSERT INTO rules (account, number, position, anonymous) VALUES
    ('acme', '+492214710191', 1, TRUE),
    ('acme', '+492214710191', 2, NULL);

INSERT INTO rule_targets (account, number, rule_position, position, voicemail) VALUES
    ('acme', '+492214710191', 1, 1, '1004');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710191', 2, 1, 'office');
