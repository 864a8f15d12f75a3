-- Public holidays of a region, and days of one's own.
--
-- DE-NW is North Rhine-Westphalia: All Saints (1 November) is a holiday there, Reformation Day (31 October) is not.
-- holidays = 'only' makes a range that matches on holidays, 'except' one that does not match on them. Two dates give
-- the company holidays from 28 to 30 December. On all these days the mailbox answers. fsroute calculates the public
-- holidays of each year, so you need not enter them.
--
--   fsroute explain --to +492214710133 --at 2027-11-01T10:00

INSERT INTO numbers (number, account) VALUES ('+492214710133', 'acme');

INSERT INTO time_profiles (account, name, holiday_region) VALUES ('acme', 'days-off', 'DE-NW');
INSERT INTO time_profile_ranges (account, time_profile, position, first_date, last_date, holidays) VALUES
    ('acme', 'days-off', 1, NULL, NULL, 'only'),
    ('acme', 'days-off', 2, '2026-12-28', '2026-12-30', 'any');

INSERT INTO rules (account, number, position, type, time_profile) VALUES
    ('acme', '+492214710133', 1, 'general', 'days-off'),
    ('acme', '+492214710133', 2, 'general', NULL);

INSERT INTO rule_targets (account, number, rule_position, position, voicemail) VALUES
    ('acme', '+492214710133', 1, 1, '1004');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710133', 2, 1, 'office');
