-- Forward every call to another number.
--
-- The mobile rings for 45 seconds. It rings alone, so nobody has to press a key. It shows the number that was dialled:
-- an account may always show its own number.
--
--   fsroute explain --to +492214710114

INSERT INTO numbers (number, account) VALUES ('+492214710114', 'acme');

INSERT INTO rules (account, number, position, ring_s) VALUES ('acme', '+492214710114', 1, 45);

INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710114', 1, 1, '+491713920044');
