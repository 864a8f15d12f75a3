-- Callers who hide their number get an announcement, and the call ends.
--
-- anonymous = TRUE is for callers who hide their number, FALSE for all others; without it a rule is for both.
-- The repository has no such announcement: record one (docs/freeswitch.md).
--
--   fsroute explain --to +492214710142 --anonymous

INSERT INTO numbers (number, account) VALUES ('+492214710142', 'acme');

INSERT INTO rules (account, number, position, anonymous) VALUES
    ('acme', '+492214710142', 1, TRUE),
    ('acme', '+492214710142', 2, FALSE);

INSERT INTO rule_targets (account, number, rule_position, position, announcement) VALUES
    ('acme', '+492214710142', 1, 1, 'fsroute/show-your-number.wav');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710142', 2, 1, 'reception');
