-- The demo: one German company with three people, four phones, a mobile and six numbers, and a second one on trial.
--
--   fsroute init && fsroute load scripts/demo.sql
--   fsroute explain --to +492214710100
--
-- All numbers are from the ranges that the Bundesnetzagentur keeps for films: nobody is called by accident.

-- What acme may not show as caller ID is replaced by its network number; a call of probe's is rejected instead.
INSERT INTO accounts (name, country, timezone, domain, status, refused_caller_id) VALUES
    ('acme', 'DE', 'Europe/Berlin', 'acme.example', 'active', 'network_number'),
    ('probe', 'DE', 'Europe/Berlin', 'probe.example', 'trial', 'reject');

INSERT INTO users (account, name, extension) VALUES
    ('acme', 'reception', '11'),
    ('acme', 'workshop', '12'),
    ('acme', 'office', '13'),
    ('probe', 'tester', '11');

-- The reception has two phones.
INSERT INTO endpoints (account, name, user_name) VALUES
    ('acme', '1001', 'reception'),
    ('acme', '1002', 'reception'),
    ('acme', '1003', 'workshop'),
    ('acme', '1004', 'office'),
    ('probe', '2001', 'tester');

INSERT INTO ring_groups (account, name) VALUES ('acme', 'sales');
INSERT INTO ring_group_members (account, ring_group, position, endpoint) VALUES
    ('acme', 'sales', 1, '1001'),
    ('acme', 'sales', 2, '1003'),
    ('acme', 'sales', 3, '1004');

-- Calls to anywhere leave through the gateway "carrier" of FreeSWITCH.
INSERT INTO trunks (name, gateway, country, domain) VALUES ('carrier', 'carrier', 'DE', 'carrier.example');
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('acme', '+', 'carrier'), ('probe', '+', 'carrier');

INSERT INTO numbers (number, account, is_network_number) VALUES
    ('+492214710100', 'acme', TRUE),
    ('+492214710200', 'acme', FALSE),
    ('+492214710300', 'acme', FALSE),
    ('+492214710400', 'acme', FALSE),
    ('+492214710500', 'acme', FALSE),
    ('+492214710113', 'acme', FALSE),
    ('+493023125010', 'probe', TRUE);

-- What users show when they call out. The reception's number was verified by a call; the workshop's never was; the
-- office shows its own, on which it is also called. The tester's was verified, but trial accounts show only their own.
INSERT INTO user_numbers (account, user_name, number, kind) VALUES
    ('acme', 'reception', '+498999998123', 'primary'),
    ('acme', 'workshop', '+494066969001', 'primary'),
    ('acme', 'office', '+492214710113', 'primary'),
    ('probe', 'tester', '+493023125020', 'primary');
INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at, verified_by)
VALUES
    ('acme', '+498999998123', '+498999998123', 'call', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z', 'demo'),
    ('acme', '+493023125300', '+493023125349', 'manual', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z', 'demo'),
    ('probe', '+493023125020', '+493023125020', 'call', 'verified', '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z', 'demo');

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
