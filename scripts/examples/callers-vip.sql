-- Important callers reach the office directly, all others the reception.
--
-- A caller is a number, or a beginning with a trailing *: here for a customer with many lines. An anonymous caller is
-- on no list, even if the network knows the number.
--
--   fsroute explain --to +492214710140 --from 03023125007

INSERT INTO numbers (number, account) VALUES ('+492214710140', 'acme');

INSERT INTO rules (account, number, position) VALUES
    ('acme', '+492214710140', 1),
    ('acme', '+492214710140', 2);
INSERT INTO rule_callers (number, rule_position, caller) VALUES
    ('+492214710140', 1, '+493023125*'),
    ('+492214710140', 1, '+491713920099');

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710140', 1, 1, 'office'),
    ('acme', '+492214710140', 2, 1, 'reception');
