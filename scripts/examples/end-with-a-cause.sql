-- A number that is no longer in use: the caller's network says that the number has changed.
--
-- Nothing rings, nothing is answered, and the call costs the caller nothing.
--
--   fsroute explain --to +492214710152

INSERT INTO numbers (number, account) VALUES ('+492214710152', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710152', 1);

INSERT INTO rule_targets (account, number, rule_position, position, hangup_cause) VALUES
    ('acme', '+492214710152', 1, 1, 'NUMBER_CHANGED');
