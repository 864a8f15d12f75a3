-- A forwarded call shows the caller's number.
--
-- A forward may show the number of a live caller, whoever it belongs to. A caller who hides the number stays hidden on
-- the mobile. If the caller's number cannot be read, the mobile sees the dialled number. For the network the call is
-- acme's.
--
--   fsroute explain --to +492214710185 --from 03023125001
--   fsroute explain --to +492214710185 --from +442079460018
--   fsroute explain --to +492214710185 --from 03023125001 --anonymous
--   fsroute explain --to +492214710185 --from nobody

INSERT INTO numbers (number, account) VALUES ('+492214710185', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710185', 1);

INSERT INTO rule_targets (account, number, rule_position, position, external_number, caller_id) VALUES
    ('acme', '+492214710185', 1, 1, '+491713920063', 'original');
