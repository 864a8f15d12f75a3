-- All together, but not all at once.
--
-- The reception rings at once, the workshop after 10 seconds, the mobile after 20. After 40 seconds the rule ends. A
-- target without ring_s rings to the end of the rule. start_s counts from the start of the rule.
--
--   fsroute explain --to +492214710110

INSERT INTO numbers (number, account) VALUES ('+492214710110', 'acme');

INSERT INTO rules (account, number, position, mode, ring_s) VALUES ('acme', '+492214710110', 1, 'parallel', 40);

INSERT INTO rule_targets (account, number, rule_position, position, user_name, start_s) VALUES
    ('acme', '+492214710110', 1, 1, 'reception', 0),
    ('acme', '+492214710110', 1, 2, 'workshop', 10);
INSERT INTO rule_targets (account, number, rule_position, position, external_number, start_s) VALUES
    ('acme', '+492214710110', 1, 3, '+491713920042', 20);
