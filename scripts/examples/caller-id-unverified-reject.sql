-- A number that may not be shown, and a call that ends for that reason.
--
-- This account wants each call to show the number it asked for, or to end. The agent's number was never verified: the
-- call is rejected, and the SIP response gives the reason (X-FSRoute-Reason: not_verified). Emergency calls are never
-- rejected. The colleague asks for no number and shows the network number.
--
--   fsroute explain --to 03023125001 --direction outbound --account strict --user agent
--   fsroute explain --to 112 --direction outbound --account strict --user agent
--   fsroute explain --to 03023125001 --direction outbound --account strict --user colleague

INSERT INTO accounts (name, country, timezone, domain, refused_caller_id) VALUES
    ('strict', 'DE', 'Europe/Berlin', 'strict.example', 'reject');
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('strict', '+', 'carrier');

INSERT INTO numbers (number, account, is_network_number) VALUES ('+492214710181', 'strict', TRUE);

INSERT INTO users (account, name) VALUES ('strict', 'agent'), ('strict', 'colleague');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('strict', 'agent', '+493023125440', 'primary');
