-- A mobile that rings with other phones and takes the call without a key press.
--
-- This is right for a mobile without voicemail: whoever answers is connected at once. The second mobile has voicemail,
-- so whoever answers it must press a key, which is the default. The third one rings alone at the end, and must be
-- confirmed because its target says so.
--
--   fsroute explain --to +492214710160

INSERT INTO numbers (number, account) VALUES ('+492214710160', 'acme');

INSERT INTO rules (account, number, position, type, ring_s) VALUES
    ('acme', '+492214710160', 1, 'general', 30),
    ('acme', '+492214710160', 2, 'base', 30);

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710160', 1, 1, 'reception');
INSERT INTO rule_targets (account, number, rule_position, position, external_number, confirm) VALUES
    ('acme', '+492214710160', 1, 2, '+491713920048', FALSE),
    ('acme', '+492214710160', 1, 3, '+491713920049', NULL),
    ('acme', '+492214710160', 2, 1, '+491713920050', TRUE);
