-- A ring group as one target, together with a mobile.
--
-- The members of a group always ring together. Here the mobile rings with them, for 15 of the 30 seconds. Whoever
-- answers the mobile must press 1 to take the call: otherwise its voicemail could take the call before the people in
-- the office.
--
--   fsroute explain --to +492214710112

INSERT INTO numbers (number, account) VALUES ('+492214710112', 'acme');

INSERT INTO ring_groups (account, name) VALUES ('acme', 'front');
INSERT INTO ring_group_members (account, ring_group, position, endpoint) VALUES
    ('acme', 'front', 1, '1001'),
    ('acme', 'front', 2, '1004');

INSERT INTO rules (account, number, position, mode, ring_s) VALUES ('acme', '+492214710112', 1, 'parallel', 30);

INSERT INTO rule_targets (account, number, rule_position, position, ring_group) VALUES
    ('acme', '+492214710112', 1, 1, 'front');
INSERT INTO rule_targets (account, number, rule_position, position, external_number, ring_s) VALUES
    ('acme', '+492214710112', 1, 2, '+491713920043', 15);
