-- A colleague who dials an extension gets the same as callers from outside: the mailbox if nobody answers.
--
-- Ms Yilmaz has the extension 34 and a number with rules. An extension follows the rules of its user's primary number.
-- Without rules for the call, only her phone would ring.
--
--   fsroute explain --to +492214710195
--   fsroute explain --to 34 --direction outbound --account acme --user office

INSERT INTO numbers (number, account) VALUES ('+492214710195', 'acme');

INSERT INTO users (account, name, extension) VALUES ('acme', 'yilmaz', '34');
INSERT INTO endpoints (account, name, user_name) VALUES ('acme', 'yilmaz-desk', 'yilmaz');
INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('acme', 'yilmaz', '+492214710195', 'primary');

INSERT INTO rules (account, number, position, type) VALUES
    ('acme', '+492214710195', 1, 'general'),
    ('acme', '+492214710195', 2, 'base');

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710195', 1, 1, 'yilmaz');
INSERT INTO rule_targets (account, number, rule_position, position, voicemail) VALUES
    ('acme', '+492214710195', 2, 1, 'yilmaz-desk');
