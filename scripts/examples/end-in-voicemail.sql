-- Voicemail as the last target of a rule.
--
-- The office rings for 15 seconds. If it does not answer, for whatever reason, the mailbox of its phone takes the call.
-- A rule of type base would do the same for all rules of the number.
--
--   fsroute explain --to +492214710150

INSERT INTO numbers (number, account) VALUES ('+492214710150', 'acme');

INSERT INTO rules (account, number, position, mode) VALUES ('acme', '+492214710150', 1, 'sequential');

INSERT INTO rule_targets (account, number, rule_position, position, user_name, ring_s) VALUES
    ('acme', '+492214710150', 1, 1, 'office', 15);
INSERT INTO rule_targets (account, number, rule_position, position, voicemail) VALUES
    ('acme', '+492214710150', 1, 2, '1004');
