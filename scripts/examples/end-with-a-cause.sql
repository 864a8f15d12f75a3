-- A number that is no longer in use: the caller's network reports that the number has changed.
--
-- No phone rings, nothing answers, and the caller pays nothing.
--
--   fsroute explain --to +492214710152

INSERT INTO numbers (number, account) VALUES ('+492214710152', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710152', 1);

INSERT INTO rule_targets (account, number, rule_position, position, hangup_cause) VALUES
    ('acme', '+492214710152', 1, 1, 'NUMBER_CHANGED');
