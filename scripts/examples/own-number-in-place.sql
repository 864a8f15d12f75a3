-- One number leads to another number of the account.
--
-- A call to ...121 rings what ...120 rings, by the rules of ...120, for 10 seconds. Then the workshop rings. The call
-- is not sent to the carrier and back. external_number = '+492214710120' would do the same: a number that is hosted
-- here stays inside. Two numbers that lead to each other do no harm: fsroute cuts the circle.
--
--   fsroute explain --to +492214710121

INSERT INTO numbers (number, account) VALUES
    ('+492214710120', 'acme'),
    ('+492214710121', 'acme');

INSERT INTO rules (account, number, position, mode, ring_s) VALUES
    ('acme', '+492214710120', 1, 'parallel', 30),
    ('acme', '+492214710121', 1, 'sequential', NULL);

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710120', 1, 1, 'reception');
INSERT INTO rule_targets (account, number, rule_position, position, hosted_number) VALUES
    ('acme', '+492214710120', 1, 2, '+492214710121');
INSERT INTO rule_targets (account, number, rule_position, position, hosted_number, ring_s) VALUES
    ('acme', '+492214710121', 1, 1, '+492214710120', 10);
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710121', 1, 2, 'workshop');
