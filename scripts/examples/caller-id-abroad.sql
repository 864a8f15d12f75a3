-- Calls abroad.
--
-- Networks on the way may change or drop a number that they do not know. So calls abroad show the network number, with
-- the reason. Calls within Germany show the export department's verified number. The second account allows this number
-- in calls abroad too (presents_abroad).
--
--   fsroute explain --to 03023125001 --direction outbound --account acme --user export
--   fsroute explain --to +442079460018 --direction outbound --account acme --user export
--   fsroute explain --to +442079460018 --direction outbound --account exporter --user export

INSERT INTO accounts (name, country, timezone, domain, presents_abroad) VALUES
    ('exporter', 'DE', 'Europe/Berlin', 'exporter.example', TRUE);
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('exporter', '+', 'carrier');

INSERT INTO numbers (number, account, is_network_number) VALUES ('+492214710183', 'exporter', TRUE);

INSERT INTO users (account, name) VALUES ('acme', 'export'), ('exporter', 'export');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES
    ('acme', 'export', '+493023125450', 'primary'),
    ('exporter', 'export', '+493023125451', 'primary');

INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at) VALUES
    ('acme', '+493023125450', '+493023125450', 'call', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z'),
    ('exporter', '+493023125451', '+493023125451', 'call', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z');
