-- Where an account may call.
--
-- No account may call premium-rate and satellite numbers without a row that allows it. This account may call one group
-- of them, the information services (0900 1), but no others, and no mobiles. The longest prefix decides. Emergency
-- calls are never barred.
--
--   fsroute explain --to 09001000000 --direction outbound --account library --user desk
--   fsroute explain --to 09003000000 --direction outbound --account library --user desk
--   fsroute explain --to +491713920066 --direction outbound --account library --user desk
--   fsroute explain --to 03023125001 --direction outbound --account library --user desk
--   fsroute explain --to 112 --direction outbound --account library --user desk

INSERT INTO accounts (name, country, timezone, domain) VALUES ('library', 'DE', 'Europe/Berlin', 'library.example');
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('library', '+', 'carrier');
INSERT INTO call_permissions (account, prefix, allowed) VALUES
    ('library', '+499001', TRUE),
    ('library', '+4917', FALSE);

INSERT INTO numbers (number, account, is_network_number) VALUES ('+492214710190', 'library', TRUE);

INSERT INTO users (account, name) VALUES ('library', 'desk');
