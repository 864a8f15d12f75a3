-- Forward when no phone can be reached: the internet connection of the house is down, or the phone has no power.
--
-- The workshop rings for 25 seconds. If none of its phones can be reached, a mobile rings instead, for 30 seconds. The
-- second number has only a phone that is switched off. If no target of a rule can ring, the outcome is unreachable too.
-- So its mobile rings at once.
--
--   fsroute explain --to +492214710117
--   fsroute explain --to +492214710118

INSERT INTO numbers (number, account) VALUES
    ('+492214710117', 'acme'),
    ('+492214710118', 'acme');

INSERT INTO endpoints (account, name, enabled) VALUES ('acme', 'old-fax', FALSE);

INSERT INTO rules (account, number, position, type, ring_s) VALUES
    ('acme', '+492214710117', 1, 'general', 25),
    ('acme', '+492214710117', 2, 'unreachable', 30),
    ('acme', '+492214710118', 1, 'general', 25),
    ('acme', '+492214710118', 2, 'unreachable', 30);

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710117', 1, 1, 'workshop');
INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES
    ('acme', '+492214710117', 1, 2, 'old-fax'),
    ('acme', '+492214710118', 1, 1, 'old-fax');
INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710117', 2, 1, '+491713920046'),
    ('acme', '+492214710118', 2, 1, '+491713920046');
