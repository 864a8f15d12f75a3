-- One user with two numbers.
--
-- The consultant's calls show the primary number. The secondary number only receives: a call to it rings the
-- consultant, and so does its short code, which colleagues dial.
--
--   fsroute explain --to 03023125001 --direction outbound --account acme --user consultant
--   fsroute explain --to +492214710189
--   fsroute explain --to 81 --direction outbound --account acme --user office

INSERT INTO numbers (number, account) VALUES
    ('+492214710188', 'acme'),
    ('+492214710189', 'acme');

INSERT INTO users (account, name) VALUES ('acme', 'consultant');
INSERT INTO endpoints (account, name, user_name) VALUES ('acme', 'consultant-desk', 'consultant');
INSERT INTO user_numbers (account, user_name, number, kind, short_code) VALUES
    ('acme', 'consultant', '+492214710188', 'primary', NULL),
    ('acme', 'consultant', '+492214710189', 'secondary', '81');
