-- A forwarded call shows who calls.
--
-- A live caller's own number may be shown, whoever it belongs to. Who hides their number stays hidden on the mobile as
-- well. A caller without any number that can be read leaves the dialled one. In the network's eyes the call is acme's.
--
--   fsroute explain --to +492214710185 --from 03023125001
--   fsroute explain --to +492214710185 --from +442079460018
--   fsroute explain --to +492214710185 --from 03023125001 --anonymous
--   fsroute explain --to +492214710185 --from nobody

INSERT INTO numbers (number, account) VALUES ('+492214710185', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710185', 1);

INSERT INTO rule_targets (account, number, rule_position, position, external_number, caller_id) VALUES
    ('acme', '+492214710185', 1, 1, '+491713920063', 'original');
