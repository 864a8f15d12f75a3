-- A number that may not be shown, and a call that goes out all the same.
--
-- The newcomer's number has not been confirmed yet. The veteran's verification has expired. The leaver's was revoked.
-- acme's policy is to show the network number instead (refused_caller_id). Each call gives the reason.
--
--   fsroute explain --to 03023125001 --direction outbound --account acme --user newcomer
--   fsroute explain --to 03023125001 --direction outbound --account acme --user veteran
--   fsroute explain --to 03023125001 --direction outbound --account acme --user leaver

INSERT INTO users (account, name) VALUES ('acme', 'newcomer'), ('acme', 'veteran'), ('acme', 'leaver');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES
    ('acme', 'newcomer', '+493023125430', 'primary'),
    ('acme', 'veteran', '+493023125431', 'primary'),
    ('acme', 'leaver', '+493023125432', 'primary');

INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at, revoked_at) VALUES
    ('acme', '+493023125430', '+493023125430', 'sms', 'pending', NULL, NULL, NULL),
    ('acme', '+493023125431', '+493023125431', 'call', 'verified', '2025-01-07T09:00:00Z', '2026-01-07T09:00:00Z', NULL),
    ('acme', '+493023125432', '+493023125432', 'call', 'revoked', '2026-01-07T09:00:00Z', NULL, '2026-02-01T09:00:00Z');
