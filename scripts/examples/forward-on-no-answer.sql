-- Forward when nobody answers.
--
-- The reception rings for 15 seconds. If it rang and nobody answered, a mobile rings for 30 seconds. Whatever happens
-- there, the mailbox of 1001 follows; it also follows if the reception was busy.
--
--   fsroute explain --to +492214710116

INSERT INTO numbers (number, account) VALUES ('+492214710116', 'acme');

INSERT INTO rules (account, number, position, type, ring_s) VALUES
    ('acme', '+492214710116', 1, 'general', 15),
    ('acme', '+492214710116', 2, 'no_answer', 30),
    ('acme', '+492214710116', 3, 'base', NULL);

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710116', 1, 1, 'reception');
INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710116', 2, 1, '+491713920045');
INSERT INTO rule_targets (account, number, rule_position, position, voicemail) VALUES
    ('acme', '+492214710116', 3, 1, '1001');
