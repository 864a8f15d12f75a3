-- Some callers are rejected.
--
-- The first rule that matches is used, so the one for the blocklist comes first. They hear that the call was rejected;
-- everybody else reaches the reception.
--
--   fsroute explain --to +492214710141 --from +493023125666

INSERT INTO numbers (number, account) VALUES ('+492214710141', 'acme');

INSERT INTO rules (account, number, position) VALUES
    ('acme', '+492214710141', 1),
    ('acme', '+492214710141', 2);
INSERT INTO rule_callers (number, rule_position, caller) VALUES
    ('+492214710141', 1, '+493023125666'),
    ('+492214710141', 1, '+4930231259*');

INSERT INTO rule_targets (account, number, rule_position, position, hangup_cause) VALUES
    ('acme', '+492214710141', 1, 1, 'CALL_REJECTED');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710141', 2, 1, 'reception');
