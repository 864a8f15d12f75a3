-- A forwarded call shows a third number.
--
-- The first mobile sees the number of the old carrier, which was verified. The second number was never verified: its
-- mobile sees the network number instead, by acme's policy (refused_caller_id).
--
--   fsroute explain --to +492214710186 --from 03023125001
--   fsroute explain --to +492214710187 --from 03023125001

INSERT INTO numbers (number, account) VALUES
    ('+492214710186', 'acme'),
    ('+492214710187', 'acme');

INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at) VALUES
    ('acme', '+493023125460', '+493023125460', 'call', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z');

INSERT INTO rules (account, number, position) VALUES
    ('acme', '+492214710186', 1),
    ('acme', '+492214710187', 1);

INSERT INTO rule_targets (account, number, rule_position, position, external_number, caller_id) VALUES
    ('acme', '+492214710186', 1, 1, '+491713920064', 'verified:+493023125460'),
    ('acme', '+492214710187', 1, 1, '+491713920065', 'verified:+493023125461');
