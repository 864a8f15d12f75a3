-- Show no number.
--
-- The doctor's phone hides its number (in FreeSWITCH: the caller's privacy). The called party sees an anonymous caller.
-- The carrier still gets the network number, with the request not to show it. An emergency call shows the number.
--
--   fsroute explain --to 03023125001 --direction outbound --account acme --user doctor --anonymous
--   fsroute explain --to 112 --direction outbound --account acme --user doctor --anonymous

INSERT INTO numbers (number, account) VALUES ('+492214710182', 'acme');

INSERT INTO users (account, name) VALUES ('acme', 'doctor');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('acme', 'doctor', '+492214710182', 'primary');
