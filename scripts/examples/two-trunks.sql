-- Two trunks: mobiles through one, everything else through the other.
--
-- The longest prefix decides, then the position. Calls to German mobiles leave through the gateway "mobile". If that
-- trunk were switched off, they would use "carrier", the second choice (the demo's trunk, which has all other calls).
-- For calls to Berlin the first choice is switched off, and the second one carries them. If "mobile" fails during a
-- call to a mobile (503, silence, a gateway that is down), fsroute tries "carrier": explain shows both.
--
--   fsroute explain --to +492214710170

INSERT INTO trunks (name, gateway, country, domain, enabled) VALUES
    ('mobile', 'mobile', 'DE', 'mobile.example', TRUE),
    ('berlin', 'berlin', 'DE', 'berlin.example', FALSE);
INSERT INTO trunk_routes (account, prefix, position, trunk) VALUES
    ('acme', '+4917', 1, 'mobile'),
    ('acme', '+4917', 2, 'carrier'),
    ('acme', '+4930', 1, 'berlin'),
    ('acme', '+4930', 2, 'mobile');

INSERT INTO numbers (number, account) VALUES ('+492214710170', 'acme');

INSERT INTO rules (account, number, position, mode) VALUES ('acme', '+492214710170', 1, 'sequential');

INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710170', 1, 1, '+491713920042'),
    ('acme', '+492214710170', 1, 2, '+493023125001'),
    ('acme', '+492214710170', 1, 3, '+492214710900');
