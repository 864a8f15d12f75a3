-- The demo: one German company with three people, four phones, a mobile and five numbers.
--
--   fsroute init && fsroute load scripts/demo.sql
--   fsroute explain --to +492214710100
--
-- All numbers are from the ranges that the Bundesnetzagentur keeps for films: nobody is called by accident.

INSERT INTO accounts (name, country, timezone, domain)
VALUES ('acme', 'DE', 'Europe/Berlin', 'acme.example');

INSERT INTO users (account, name, extension) VALUES
    ('acme', 'reception', '11'),
    ('acme', 'workshop', '12'),
    ('acme', 'office', '13');

-- The reception has two phones.
INSERT INTO endpoints (account, name, user_name) VALUES
    ('acme', '1001', 'reception'),
    ('acme', '1002', 'reception'),
    ('acme', '1003', 'workshop'),
    ('acme', '1004', 'office');

INSERT INTO ring_groups (account, name) VALUES ('acme', 'sales');
INSERT INTO ring_group_members (account, ring_group, position, endpoint) VALUES
    ('acme', 'sales', 1, '1001'),
    ('acme', 'sales', 2, '1003'),
    ('acme', 'sales', 3, '1004');

-- Calls to anywhere leave through the gateway "carrier" of FreeSWITCH.
INSERT INTO trunks (name, gateway, country) VALUES ('carrier', 'carrier', 'DE');
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('acme', '+', 'carrier');

INSERT INTO numbers (number, account, is_network_number) VALUES
    ('+492214710100', 'acme', TRUE),
    ('+492214710200', 'acme', FALSE),
    ('+492214710300', 'acme', FALSE),
    ('+492214710400', 'acme', FALSE),
    ('+492214710500', 'acme', FALSE);

-- ...100: everybody at once for 20 seconds, then voicemail.
INSERT INTO rules (account, number, position, type, mode, ring_s) VALUES
    ('acme', '+492214710100', 1, 'general', 'parallel', 20),
    ('acme', '+492214710100', 9, 'base', 'sequential', NULL);
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710100', 1, 1, 'reception'),
    ('acme', '+492214710100', 1, 2, 'workshop');
INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710100', 1, 3, '+491713920042');
INSERT INTO rule_targets (account, number, rule_position, position, voicemail) VALUES
    ('acme', '+492214710100', 9, 1, '1001');

-- ...200: one after another.
INSERT INTO rules (account, number, position, mode) VALUES
    ('acme', '+492214710200', 1, 'sequential');
INSERT INTO rule_targets (account, number, rule_position, position, user_name, ring_s) VALUES
    ('acme', '+492214710200', 1, 1, 'reception', 15),
    ('acme', '+492214710200', 1, 2, 'workshop', 10);
INSERT INTO rule_targets (account, number, rule_position, position, external_number, ring_s) VALUES
    ('acme', '+492214710200', 1, 3, '+491713920042', 25);

-- ...300: a ring group; a mobile when nobody answers, the office when everybody is busy.
INSERT INTO rules (account, number, position, type, mode, ring_s) VALUES
    ('acme', '+492214710300', 1, 'general', 'parallel', 25),
    ('acme', '+492214710300', 2, 'no_answer', 'sequential', NULL),
    ('acme', '+492214710300', 3, 'busy', 'sequential', NULL);
INSERT INTO rule_targets (account, number, rule_position, position, ring_group) VALUES
    ('acme', '+492214710300', 1, 1, 'sales');
INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710300', 2, 1, '+491713920043');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710300', 3, 1, 'office');

-- ...400: the ring group in office hours, an announcement at other times.
INSERT INTO time_profiles (account, name, timezone) VALUES ('acme', 'office-hours', 'Europe/Berlin');
INSERT INTO time_profile_ranges (account, time_profile, position, first_weekday, last_weekday, start_time, end_time)
VALUES ('acme', 'office-hours', 1, 'mon', 'fri', '09:00', '17:00');
INSERT INTO rules (account, number, position, type, time_profile) VALUES
    ('acme', '+492214710400', 1, 'general', 'office-hours'),
    ('acme', '+492214710400', 9, 'base', NULL);
INSERT INTO rule_targets (account, number, rule_position, position, ring_group) VALUES
    ('acme', '+492214710400', 1, 1, 'sales');
INSERT INTO rule_targets (account, number, rule_position, position, announcement) VALUES
    ('acme', '+492214710400', 9, 1, 'fsroute/closed.wav');

-- ...500: who hides their number is rejected, everybody else reaches the reception.
INSERT INTO rules (account, number, position, anonymous) VALUES
    ('acme', '+492214710500', 1, TRUE),
    ('acme', '+492214710500', 2, NULL);
INSERT INTO rule_targets (account, number, rule_position, position, hangup_cause) VALUES
    ('acme', '+492214710500', 1, 1, 'CALL_REJECTED');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710500', 2, 1, 'reception');
