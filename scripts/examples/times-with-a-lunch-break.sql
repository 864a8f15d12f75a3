-- Open from Monday to Friday, 08:00 to 12:00 and 13:00 to 17:00; on Fridays only in the morning.
--
-- A time profile matches if one of its ranges matches. The range ends just before 12:00; the next begins at 13:00. At
-- all other times an announcement is played (docs/freeswitch.md says where its file goes). The profile names no time
-- zone: the account's applies.
--
--   fsroute explain --to +492214710130 --at 2026-11-23T12:30

INSERT INTO numbers (number, account) VALUES ('+492214710130', 'acme');

INSERT INTO time_profiles (account, name) VALUES ('acme', 'shop-hours');
INSERT INTO time_profile_ranges (account, time_profile, position, first_weekday, last_weekday, start_time, end_time)
VALUES
    ('acme', 'shop-hours', 1, 'mon', 'fri', '08:00', '12:00'),
    ('acme', 'shop-hours', 2, 'mon', 'thu', '13:00', '17:00');

INSERT INTO rules (account, number, position, type, time_profile) VALUES
    ('acme', '+492214710130', 1, 'general', 'shop-hours'),
    ('acme', '+492214710130', 2, 'base', NULL);

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710130', 1, 1, 'reception');
INSERT INTO rule_targets (account, number, rule_position, position, announcement) VALUES
    ('acme', '+492214710130', 2, 1, 'fsroute/closed.wav');
