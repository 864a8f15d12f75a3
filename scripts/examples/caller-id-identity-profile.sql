-- A carrier that expects the numbers in other headers.
--
-- This carrier expects the network number in From, the presented number in P-Preferred-Identity, History-Info instead
-- of Diversion, and numbers as they are dialled in Germany (0221...). The trunk's identity profile and number format
-- say so. Calls to Hamburg go through it; other calls use the demo's trunk and its profile.
--
--   fsroute explain --to 04066969100 --direction outbound --account acme --user pilot
--   fsroute explain --to 03023125001 --direction outbound --account acme --user pilot
--   fsroute explain --to +492214710194

INSERT INTO identity_profiles (name, from_number, identity_header, identity_number, diversion, history_info) VALUES
    ('hamburg', 'network', 'ppi', 'presented', FALSE, TRUE);
INSERT INTO trunks (name, gateway, country, domain, identity_profile, number_format) VALUES
    ('hamburg', 'hamburg', 'DE', 'hamburg.example', 'hamburg', 'national');
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('acme', '+4940', 'hamburg');

INSERT INTO numbers (number, account) VALUES
    ('+492214710193', 'acme'),
    ('+492214710194', 'acme');

INSERT INTO users (account, name) VALUES ('acme', 'pilot');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('acme', 'pilot', '+492214710193', 'primary');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710194', 1);
INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710194', 1, 1, '+494066969101');
