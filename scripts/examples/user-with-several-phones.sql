-- A person with several phones.
--
-- Ms Weber has a phone on her desk, one at home and an app on her mobile. They ring together for 25 seconds, the
-- default of a parallel rule. The phone at home is switched off here: enabled = TRUE switches it on again, and no rule
-- has to change.
--
--   fsroute explain --to +492214710119

INSERT INTO numbers (number, account) VALUES ('+492214710119', 'acme');

INSERT INTO users (account, name, extension) VALUES ('acme', 'weber', '31');
INSERT INTO endpoints (account, name, user_name, enabled) VALUES
    ('acme', 'weber-app', 'weber', TRUE),
    ('acme', 'weber-desk', 'weber', TRUE),
    ('acme', 'weber-home', 'weber', FALSE);

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710119', 1);

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710119', 1, 1, 'weber');
