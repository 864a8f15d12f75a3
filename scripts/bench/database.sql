-- What database.py fills an empty fsroute database with: temp.size (numbers) says how many numbers, a multiple of 100.
--
-- Each account has 100 numbers, 50 users with 60 phones, three ring groups, three time profiles, two trunks, five verified
-- numbers and a verified block. The last digit of a number says what its rules are; at any time and for any caller each
-- number rings a phone or a trunk at first. Everything is inserted in the order of its keys, which is the fast way.

CREATE TEMP VIEW account_rows AS
WITH RECURSIVE a (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM a WHERE i + 1 < (SELECT numbers / 100 FROM size))
SELECT i, printf('a%06d', i) AS account, printf('+49331%08d', i * 100) AS verified FROM a;

CREATE TEMP VIEW number_rows AS
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < (SELECT numbers FROM size))
SELECT
    i, i % 10 AS kind, i % 100 AS k, printf('a%06d', i / 100) AS account, printf('+49321%08d', i) AS number,
    printf('u%02d', i % 50) AS user_name, printf('u%02d', (i + 7) % 50) AS colleague,
    printf('g%d', i / 10 % 3) AS ring_group, printf('1%02d', i % 60) AS endpoint,
    printf('+4917139200%02d', i % 100) AS mobile, printf('+49331%08d', i / 100 * 100 + i % 5) AS verified
FROM n;

CREATE TEMP TABLE member (k INTEGER);
INSERT INTO member VALUES (0), (1), (2), (3), (4);

INSERT INTO main.trunks (name, gateway, country, domain, number_format) VALUES
    ('carrier', 'carrier', 'DE', 'carrier.example', 'e164'), ('second', 'second', 'DE', 'second.example', 'national');

INSERT INTO main.accounts (name, country, timezone, domain, refused_caller_id)
SELECT account, 'DE', 'Europe/Berlin', account || '.example', iif(i % 10 = 0, 'network_number', 'reject') FROM account_rows;
INSERT INTO main.trunk_routes (account, prefix, position, trunk)
SELECT account, '+', k + 1, iif(k = 0, 'carrier', 'second') FROM account_rows CROSS JOIN member WHERE k < 2;
INSERT INTO main.call_permissions (account, prefix, allowed) SELECT account, '+88', FALSE FROM account_rows;

INSERT INTO main.numbers (number, account, is_network_number) SELECT number, account, k = 0 FROM number_rows;
INSERT INTO main.users (account, name, extension) SELECT account, user_name, 10 + k FROM number_rows WHERE k < 50;
-- The first ten users have two phones.
INSERT INTO main.endpoints (account, name, user_name) SELECT account, endpoint, user_name FROM number_rows WHERE k < 60;
INSERT INTO main.user_numbers (account, number, user_name, kind, short_code)
SELECT account, number, user_name, iif(k < 50, 'primary', 'secondary'), iif(k < 50, NULL, '7' || k)
FROM number_rows WHERE k < 50 OR kind = 8;

INSERT INTO main.ring_groups (account, name) SELECT account, 'g' || k FROM account_rows CROSS JOIN member WHERE k < 3;
INSERT INTO main.ring_group_members (account, ring_group, position, endpoint)
SELECT account, 'g' || g.k, m.k + 1, printf('1%02d', 10 * g.k + m.k) FROM account_rows CROSS JOIN member g CROSS JOIN member m
WHERE g.k < 3;

INSERT INTO main.time_profiles (account, name, holiday_region)
SELECT account, CASE k WHEN 0 THEN 'holidays' WHEN 1 THEN 'office' ELSE 'weekend' END, iif(k = 0, 'DE-NW', NULL)
FROM account_rows CROSS JOIN member WHERE k < 3;
INSERT INTO main.time_profile_ranges
    (account, time_profile, position, first_weekday, last_weekday, start_time, end_time, holidays)
SELECT account, 'holidays', 1, NULL, NULL, NULL, NULL, 'only' FROM account_rows;
INSERT INTO main.time_profile_ranges (account, time_profile, position, first_weekday, last_weekday, start_time, end_time)
SELECT account, 'office', k + 1, 'mon', iif(k = 0, 'thu', 'fri'), iif(k = 0, '08:00', '13:00'), iif(k = 0, '12:30', '17:00')
FROM account_rows CROSS JOIN member WHERE k < 2;
INSERT INTO main.time_profile_ranges (account, time_profile, position, first_weekday, last_weekday)
SELECT account, 'weekend', 1, 'sat', 'sun' FROM account_rows;

INSERT INTO main.verified_numbers
    (account, first_number, last_number, method, state, verified_at, expires_at, verified_by)
SELECT
    account, printf('+49331%08d', i * 100 + k), printf('+49331%08d', i * 100 + k), 'call', 'verified',
    '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z', 'bench'
FROM account_rows CROSS JOIN member
UNION ALL
SELECT
    account, printf('+49331%08d', i * 100 + 50), printf('+49331%08d', i * 100 + 99), 'manual', 'verified',
    '2026-01-07T09:00:00Z', '2036-01-05T09:00:00Z', 'bench'
FROM account_rows
ORDER BY 1, 2;

-- The rules of each kind of number:
--   0, 1   two phones together, one later; base: one phone, then a mailbox.
--   2      two users and a mobile, one after another, which shows a verified number; base: the user.
--   3      a ring group in office hours; base: the user.
--   4      a ring group; when busy the user, when nobody answers or is there a mobile.
--   5      the user on holidays, the ring group in office hours; base: a mobile.
--   6      callers from one area reach the user; everybody else the user and a mobile together.
--   7      who hides their number is rejected, everybody else reaches the user.
--   8      no rules: the number's user.
--   9      another number of the account, in place.
CREATE TEMP TABLE rule_of (
    kind INTEGER, position INTEGER, type TEXT, mode TEXT, ring_s INTEGER, anonymous BOOLEAN, time_profile TEXT,
    PRIMARY KEY (kind, position)
) WITHOUT ROWID;
INSERT INTO rule_of VALUES
    (0, 1, 'general', 'parallel', 20, NULL, NULL), (0, 9, 'base', 'sequential', NULL, NULL, NULL),
    (1, 1, 'general', 'parallel', 25, NULL, NULL), (1, 9, 'base', 'sequential', NULL, NULL, NULL),
    (2, 1, 'general', 'sequential', NULL, NULL, NULL), (2, 9, 'base', 'parallel', 20, NULL, NULL),
    (3, 1, 'general', 'parallel', 25, NULL, 'office'), (3, 9, 'base', 'parallel', 20, NULL, NULL),
    (4, 1, 'general', 'parallel', 25, NULL, NULL), (4, 2, 'busy', 'parallel', NULL, NULL, NULL),
    (4, 3, 'no_answer', 'sequential', NULL, NULL, NULL), (4, 4, 'unreachable', 'sequential', NULL, NULL, NULL),
    (5, 1, 'general', 'parallel', NULL, NULL, 'holidays'), (5, 2, 'general', 'parallel', 30, NULL, 'office'),
    (5, 9, 'base', 'sequential', NULL, NULL, NULL),
    (6, 1, 'general', 'parallel', 20, NULL, NULL), (6, 2, 'general', 'parallel', 20, NULL, NULL),
    (7, 1, 'general', 'parallel', NULL, TRUE, NULL), (7, 2, 'general', 'parallel', 20, NULL, NULL),
    (9, 1, 'general', 'sequential', NULL, NULL, NULL);
INSERT INTO main.rules (account, number, position, type, mode, ring_s, anonymous, time_profile)
SELECT account, number, position, type, mode, ring_s, anonymous, time_profile
FROM number_rows CROSS JOIN rule_of USING (kind);
INSERT INTO main.rule_callers (number, rule_position, caller) SELECT number, 1, '+4940*' FROM number_rows WHERE kind = 6;

CREATE TEMP TABLE target_of (
    kind INTEGER, rule_position INTEGER, position INTEGER, what TEXT, start_s INTEGER, ring_s INTEGER, caller_id TEXT,
    PRIMARY KEY (kind, rule_position, position)
) WITHOUT ROWID;
INSERT INTO target_of VALUES
    (0, 1, 1, 'user', 0, NULL, NULL), (0, 1, 2, 'colleague', 5, NULL, NULL),
    (0, 9, 1, 'user', 0, 20, NULL), (0, 9, 2, 'voicemail', 0, NULL, NULL),
    (1, 1, 1, 'endpoint', 0, NULL, NULL), (1, 1, 2, 'colleague', 10, NULL, NULL),
    (1, 9, 1, 'user', 0, 15, NULL), (1, 9, 2, 'voicemail', 0, NULL, NULL),
    (2, 1, 1, 'user', 0, 15, NULL), (2, 1, 2, 'colleague', 0, 10, NULL), (2, 1, 3, 'mobile', 0, 25, 'verified'),
    (2, 9, 1, 'user', 0, NULL, NULL),
    (3, 1, 1, 'group', 0, NULL, NULL), (3, 9, 1, 'user', 0, NULL, NULL),
    (4, 1, 1, 'group', 0, NULL, NULL), (4, 2, 1, 'user', 0, NULL, NULL), (4, 3, 1, 'mobile', 0, NULL, 'original'),
    (4, 4, 1, 'mobile', 0, NULL, NULL),
    (5, 1, 1, 'user', 0, NULL, NULL), (5, 2, 1, 'group', 0, NULL, NULL), (5, 9, 1, 'mobile', 0, NULL, NULL),
    (6, 1, 1, 'user', 0, NULL, NULL), (6, 2, 1, 'user', 0, NULL, NULL), (6, 2, 2, 'mobile', 0, NULL, NULL),
    (7, 1, 1, 'hangup', 0, NULL, NULL), (7, 2, 1, 'user', 0, NULL, NULL),
    (9, 1, 1, 'hosted', 0, NULL, NULL);
INSERT INTO main.rule_targets (
    account, number, rule_position, position, endpoint, ring_group, user_name, external_number, hosted_number, voicemail,
    hangup_cause, start_s, ring_s, caller_id)
SELECT
    account, number, rule_position, position,
    iif(what = 'endpoint', endpoint, NULL),
    iif(what = 'group', ring_group, NULL),
    CASE what WHEN 'user' THEN user_name WHEN 'colleague' THEN colleague END,
    iif(what = 'mobile', mobile, NULL),
    iif(what = 'hosted', printf('+49321%08d', i - 9), NULL),
    iif(what = 'voicemail', endpoint, NULL),
    iif(what = 'hangup', 'CALL_REJECTED', NULL),
    start_s, ring_s, iif(caller_id = 'verified', 'verified:' || verified, caller_id)
FROM number_rows CROSS JOIN target_of USING (kind);
