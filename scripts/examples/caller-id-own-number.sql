-- Show a hosted number.
--
-- The shop has a number that is hosted here. It is the shop's primary number: calls to it ring the shop, without a
-- rule, and the shop's own calls show it. The carrier also gets the account's network number, which it knows.
--
--   fsroute explain --to 03023125001 --direction outbound --account acme --user shop
--   fsroute explain --to +492214710180

INSERT INTO numbers (number, account) VALUES ('+492214710180', 'acme');

INSERT INTO users (account, name, extension) VALUES ('acme', 'shop', '41');
INSERT INTO endpoints (account, name, user_name) VALUES ('acme', 'shop-desk', 'shop');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('acme', 'shop', '+492214710180', 'primary');
