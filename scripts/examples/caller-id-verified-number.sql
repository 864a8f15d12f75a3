-- Show a number of another carrier, which a call has proved to be ours.
--
-- The fitter's number is not hosted here: calls to it never arrive here. It was verified for this account until 2036,
-- so the fitter's own calls may show it.
--
--   fsroute explain --to 03023125001 --direction outbound --account acme --user fitter

INSERT INTO users (account, name) VALUES ('acme', 'fitter');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('acme', 'fitter', '+493023125400', 'primary');

INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at) VALUES
    ('acme', '+493023125400', '+493023125400', 'call', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z');
