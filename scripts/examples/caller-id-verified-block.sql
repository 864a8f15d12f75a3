-- Show any number of a block.
--
-- Ten numbers were verified together, by hand, from the carrier's contract. The hotline shows one of them. A call can
-- ask for another one (the channel variable fsroute_presented). It is shown if it is in the block; if not, this account
-- shows the network number.
--
--   fsroute explain --to 03023125001 --direction outbound --account acme --user hotline
--   fsroute explain --to 03023125001 --direction outbound --account acme --user hotline --presented +493023125419
--   fsroute explain --to 03023125001 --direction outbound --account acme --user hotline --presented +493023125420

INSERT INTO users (account, name) VALUES ('acme', 'hotline');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('acme', 'hotline', '+493023125413', 'primary');

INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at) VALUES
    ('acme', '+493023125410', '+493023125419', 'manual', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z');
