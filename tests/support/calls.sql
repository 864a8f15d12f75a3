-- Numbers for the calls of tests/e2e, on top of scripts/demo.sql: short ring times, and one number a case.

INSERT INTO numbers (number, account) VALUES
    ('+492214710601', 'acme'), ('+492214710602', 'acme'), ('+492214710603', 'acme'), ('+492214710604', 'acme'),
    ('+492214710605', 'acme'), ('+492214710606', 'acme'), ('+492214710607', 'acme'), ('+492214710608', 'acme'),
    ('+492214710609', 'acme'), ('+492214710610', 'acme'), ('+492214710611', 'acme'), ('+492214710612', 'acme');

-- 601 parallel: three phones.
INSERT INTO rules (account, number, position, mode, ring_s) VALUES ('acme', '+492214710601', 1, 'parallel', 8);
INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES
    ('acme', '+492214710601', 1, 1, '1001'), ('acme', '+492214710601', 1, 2, '1003'), ('acme', '+492214710601', 1, 3, '1004');

-- 602 sequential: one phone, then another.
INSERT INTO rules (account, number, position, mode) VALUES ('acme', '+492214710602', 1, 'sequential');
INSERT INTO rule_targets (account, number, rule_position, position, endpoint, ring_s) VALUES
    ('acme', '+492214710602', 1, 1, '1001', 3), ('acme', '+492214710602', 1, 2, '1003', 5);

-- 603 two stages of 35 seconds; 604 a single leg of 65.
INSERT INTO rules (account, number, position, mode) VALUES
    ('acme', '+492214710603', 1, 'sequential'), ('acme', '+492214710604', 1, 'sequential');
INSERT INTO rule_targets (account, number, rule_position, position, endpoint, ring_s) VALUES
    ('acme', '+492214710603', 1, 1, '1001', 35), ('acme', '+492214710603', 1, 2, '1003', 35),
    ('acme', '+492214710604', 1, 1, '1004', 65);

-- 605 a ring group beside a mobile.
INSERT INTO rules (account, number, position, ring_s) VALUES ('acme', '+492214710605', 1, 12);
INSERT INTO rule_targets (account, number, rule_position, position, ring_group) VALUES ('acme', '+492214710605', 1, 1, 'sales');
INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710605', 1, 2, '+491713920042');

-- 606 a user with several phones beside another user, the second delayed.
INSERT INTO rules (account, number, position, ring_s) VALUES ('acme', '+492214710606', 1, 8);
INSERT INTO rule_targets (account, number, rule_position, position, user_name, start_s) VALUES
    ('acme', '+492214710606', 1, 1, 'reception', 0), ('acme', '+492214710606', 1, 2, 'workshop', 2);

-- 607 a mobile, then a phone.
INSERT INTO rules (account, number, position, mode) VALUES ('acme', '+492214710607', 1, 'sequential');
INSERT INTO rule_targets (account, number, rule_position, position, external_number, endpoint, ring_s) VALUES
    ('acme', '+492214710607', 1, 1, '+491713920042', NULL, 3), ('acme', '+492214710607', 1, 2, NULL, '1003', 5);

-- 608 a follow-up for each outcome, then the base rule, then the end.
INSERT INTO rules (account, number, position, type, mode, ring_s) VALUES
    ('acme', '+492214710608', 1, 'general', 'parallel', 2), ('acme', '+492214710608', 2, 'busy', 'parallel', 2),
    ('acme', '+492214710608', 3, 'no_answer', 'parallel', 2), ('acme', '+492214710608', 4, 'unreachable', 'parallel', 2),
    ('acme', '+492214710608', 9, 'base', 'parallel', 2);
INSERT INTO rule_targets (account, number, rule_position, position, endpoint, external_number) VALUES
    ('acme', '+492214710608', 1, 1, '1001', NULL), ('acme', '+492214710608', 1, 2, '1003', NULL),
    ('acme', '+492214710608', 2, 1, NULL, '+491713920051'), ('acme', '+492214710608', 3, 1, NULL, '+491713920052'),
    ('acme', '+492214710608', 4, 1, NULL, '+491713920053'), ('acme', '+492214710608', 9, 1, NULL, '+491713920059');

-- 609 a base rule that is an announcement; 610 one that is a mailbox.
INSERT INTO rules (account, number, position, type, mode) VALUES
    ('acme', '+492214710609', 9, 'base', 'sequential'), ('acme', '+492214710610', 1, 'general', 'sequential');
INSERT INTO rule_targets (account, number, rule_position, position, announcement) VALUES
    ('acme', '+492214710609', 9, 1, 'fsroute-test.wav');
INSERT INTO rule_targets (account, number, rule_position, position, endpoint, voicemail, ring_s) VALUES
    ('acme', '+492214710610', 1, 1, '1003', NULL, 2), ('acme', '+492214710610', 1, 2, NULL, '1001', NULL);

-- 611 forwards to a mobile that forwards back here.
INSERT INTO rules (account, number, position, mode) VALUES ('acme', '+492214710611', 1, 'sequential');
INSERT INTO rule_targets (account, number, rule_position, position, external_number, ring_s) VALUES
    ('acme', '+492214710611', 1, 1, '+491713920061', 20);

-- 612 forwards to 601, in place.
INSERT INTO rules (account, number, position, mode) VALUES ('acme', '+492214710612', 1, 'sequential');
INSERT INTO rule_targets (account, number, rule_position, position, hosted_number) VALUES
    ('acme', '+492214710612', 1, 1, '+492214710601');

-- 613 one phone, for two seconds.
INSERT INTO numbers (number, account) VALUES ('+492214710613', 'acme');
INSERT INTO rules (account, number, position, ring_s) VALUES ('acme', '+492214710613', 1, 2);
INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES ('acme', '+492214710613', 1, 1, '1003');

-- 615 the number of a user with an extension: a phone, then a mailbox. 614 another one with a short code: a phone, then a mobile.
-- A number that phonenumbers calls impossible. 616 rings but for a list of callers.
INSERT INTO numbers (number, account) VALUES
    ('+492214710615', 'acme'), ('+492214710614', 'acme'), ('+5215555123456', 'acme'), ('+492214710616', 'acme');
INSERT INTO users (account, name, extension) VALUES ('acme', 'stores', '20');
INSERT INTO user_numbers (account, user_name, number, kind, short_code) VALUES
    ('acme', 'stores', '+492214710615', 'primary', NULL), ('acme', 'stores', '+492214710614', 'secondary', '77');
INSERT INTO rules (account, number, position, type, mode, ring_s) VALUES
    ('acme', '+492214710615', 1, 'general', 'parallel', 2), ('acme', '+492214710615', 9, 'base', 'parallel', NULL),
    ('acme', '+492214710614', 1, 'general', 'parallel', 2), ('acme', '+492214710614', 2, 'no_answer', 'parallel', 4),
    ('acme', '+5215555123456', 1, 'general', 'parallel', 4),
    ('acme', '+492214710616', 1, 'general', 'parallel', NULL), ('acme', '+492214710616', 2, 'general', 'parallel', 4);
INSERT INTO rule_callers (number, rule_position, caller) VALUES
    ('+492214710616', 1, '+521*'), ('+492214710616', 1, '+1202555012');
INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES
    ('acme', '+492214710615', 1, 1, '1003'), ('acme', '+492214710614', 1, 1, '1003'),
    ('acme', '+5215555123456', 1, 1, '1003'), ('acme', '+492214710616', 2, 1, '1003');
INSERT INTO rule_targets (account, number, rule_position, position, voicemail) VALUES ('acme', '+492214710615', 9, 1, '1001');
INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710614', 2, 1, '+491713920064');
INSERT INTO rule_targets (account, number, rule_position, position, hangup_cause) VALUES
    ('acme', '+492214710616', 1, 1, 'CALL_REJECTED');

-- The other account's only number rings its only phone.
INSERT INTO rules (account, number, position, ring_s) VALUES ('probe', '+493023125010', 1, 8);
INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES ('probe', '+493023125010', 1, 1, '2001');
-- 681 two phones beside a mobile, 682 a phone, a mobile, a phone: for accounts with two trunks.
INSERT INTO numbers (number, account) VALUES ('+492214710681', 'acme'), ('+492214710682', 'acme');
INSERT INTO rules (account, number, position, mode, ring_s) VALUES
    ('acme', '+492214710681', 1, 'parallel', 9), ('acme', '+492214710682', 1, 'sequential', NULL);
INSERT INTO rule_targets (account, number, rule_position, position, endpoint, external_number, ring_s) VALUES
    ('acme', '+492214710681', 1, 1, '1001', NULL, NULL), ('acme', '+492214710681', 1, 2, '1003', NULL, NULL),
    ('acme', '+492214710681', 1, 3, NULL, '+491713920062', NULL),
    ('acme', '+492214710682', 1, 1, '1001', NULL, 5), ('acme', '+492214710682', 1, 2, NULL, '+491713920062', 8),
    ('acme', '+492214710682', 1, 3, '1003', NULL, 5);
