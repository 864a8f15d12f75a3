-- Show a mobile number.
--
-- Carriers differ on mobile numbers as caller ID, so each account has a switch for them (presents_mobile). The mobiles
-- of both fitters were verified by SMS. Only the account that allows it shows one.
--
--   fsroute explain --to 03023125001 --direction outbound --account plumbers --user van
--   fsroute explain --to 03023125001 --direction outbound --account acme --user van

INSERT INTO accounts (name, country, timezone, domain, presents_mobile) VALUES
    ('plumbers', 'DE', 'Europe/Berlin', 'plumbers.example', TRUE);
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('plumbers', '+', 'carrier');

INSERT INTO numbers (number, account, is_network_number) VALUES ('+492214710192', 'plumbers', TRUE);

INSERT INTO users (account, name) VALUES ('plumbers', 'van'), ('acme', 'van');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES
    ('plumbers', 'van', '+491713920060', 'primary'),
    ('acme', 'van', '+491713920061', 'primary');

INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at) VALUES
    ('plumbers', '+491713920060', '+491713920060', 'sms', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z'),
    ('acme', '+491713920061', '+491713920061', 'sms', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z');
