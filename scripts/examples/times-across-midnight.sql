-- A night shift: Monday to Friday from 22:00 to 06:00.
--
-- A range across midnight belongs to the day on which it starts. So Friday's shift ends on Saturday at 06:00. Monday at
-- 03:00 is in no range, because the night of Sunday is not in it. By day the reception rings.
--
--   fsroute explain --to +492214710131 --at 2026-11-28T03:00

INSERT INTO numbers (number, account) VALUES ('+492214710131', 'acme');

INSERT INTO time_profiles (account, name) VALUES ('acme', 'night-shift');
INSERT INTO time_profile_ranges (account, time_profile, position, first_weekday, last_weekday, start_time, end_time)
VALUES ('acme', 'night-shift', 1, 'mon', 'fri', '22:00', '06:00');

INSERT INTO rules (account, number, position, type, time_profile) VALUES
    ('acme', '+492214710131', 1, 'general', 'night-shift'),
    ('acme', '+492214710131', 2, 'general', NULL);

INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES
    ('acme', '+492214710131', 1, 1, '1003');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710131', 2, 1, 'reception');
