-- Some callers are rejected.
--
-- fsroute uses the first rule that matches, so the rule for the blocklist is the first. These callers' networks report
-- that the call was rejected. All other callers reach the reception.
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
