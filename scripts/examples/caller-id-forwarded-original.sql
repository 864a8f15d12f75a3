-- A forwarded call shows the caller's number.
--
-- A forwarded call may show the caller's number without verification. A hidden number stays hidden on the mobile. If
-- fsroute cannot read the caller's number, the mobile sees the dialled number. The network number is always acme's.
--
--   fsroute explain --to +492214710185 --from 03023125001
--   fsroute explain --to +492214710185 --from +442079460018
--   fsroute explain --to +492214710185 --from 03023125001 --anonymous
--   fsroute explain --to +492214710185 --from nobody

INSERT INTO numbers (number, account) VALUES ('+492214710185', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710185', 1);

INSERT INTO rule_targets (account, number, rule_position, position, external_number, caller_id) VALUES
    ('acme', '+492214710185', 1, 1, '+491713920063', 'original');
