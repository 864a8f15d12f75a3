-- The weekend, and a long one: from Saturday to Monday, all day, a mobile rings instead of the office.
--
-- Weekdays may cross the end of the week, as sat to mon here. A range without hours is the whole day.
--
--   fsroute explain --to +492214710132 --at 2026-11-28T12:00

INSERT INTO numbers (number, account) VALUES ('+492214710132', 'acme');

INSERT INTO time_profiles (account, name) VALUES ('acme', 'long-weekend');
INSERT INTO time_profile_ranges (account, time_profile, position, first_weekday, last_weekday)
VALUES ('acme', 'long-weekend', 1, 'sat', 'mon');

INSERT INTO rules (account, number, position, type, time_profile) VALUES
    ('acme', '+492214710132', 1, 'general', 'long-weekend'),
    ('acme', '+492214710132', 2, 'general', NULL);

INSERT INTO rule_targets (account, number, rule_position, position, external_number) VALUES
    ('acme', '+492214710132', 1, 1, '+491713920047');
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710132', 2, 1, 'office');
