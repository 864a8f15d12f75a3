-- fsroute: the tables that decide where a call goes.
--
-- One file for SQLite (3.37 or newer) and PostgreSQL (13 or newer), unchanged. `fsroute init` runs it;
-- `fsroute load FILE...` fills it, all files or nothing. It is the only definition of these tables: the
-- models in fsroute/tables.py mirror it, and a test fails when the two differ.
--
-- Conventions
--   * Natural keys: an E.164 number is its own key, everything else is named by its account and its name,
--     so a script reads like what it does.
--   * Every row that belongs to a customer carries its account, and references include it: no row can
--     point at another customer's phone, group or number.
--   * Order is a column called position, never the order of insertion.
--   * Names reach FreeSWITCH dial strings. They are therefore checked here against an allow-list, and again
--     when a dial string is written. ltrim(x, 'abc') = '' says "x has no character but a, b and c" in both
--     databases.
--   * Durations end in _s and are whole seconds, because FreeSWITCH's ring timers are.

CREATE TABLE schema_version (
    version INTEGER NOT NULL PRIMARY KEY
);
INSERT INTO schema_version (version) VALUES (3);

-- A customer. Its country gives the meaning of a number dialled without +, and the rules for caller IDs; its domain is
-- the SIP domain of its phones in the FreeSWITCH directory.
--   refused_caller_id   what happens to a call that asks to show a number it may not show: 'reject' ends it with a cause,
--                       'network_number' shows the account's network number. Either way the reason is told.
--   presented_number    shown on outgoing calls of users who have no primary number, if it may be shown.
--   presents_mobile     mobile numbers may be shown too. Carriers differ on them.
--   presents_abroad     chosen numbers are shown abroad too. Networks on the way may change or drop them there.
--   verifies_abroad     codes may be sent to numbers of other countries. They cost more, and are what fraud is after.
--   verification_days   how long a verified number may be shown before it must be verified anew.
--   approves_blocks     what was verified by hand counts only when a second person has approved it.
CREATE TABLE accounts (
    name TEXT NOT NULL PRIMARY KEY,
    country TEXT NOT NULL,
    timezone TEXT NOT NULL,
    domain TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL DEFAULT 'active',
    refused_caller_id TEXT NOT NULL DEFAULT 'reject',
    presented_number TEXT,
    presents_mobile BOOLEAN NOT NULL DEFAULT FALSE,
    presents_abroad BOOLEAN NOT NULL DEFAULT FALSE,
    verifies_abroad BOOLEAN NOT NULL DEFAULT FALSE,
    verification_days INTEGER NOT NULL DEFAULT 365,
    approves_blocks BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT account_name_is_plain CHECK (
        length(name) BETWEEN 1 AND 64
        AND ltrim(name, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT account_country_is_iso_3166 CHECK (
        length(country) = 2 AND ltrim(country, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') = ''),
    CONSTRAINT account_timezone_is_plain CHECK (
        length(timezone) BETWEEN 1 AND 64
        AND ltrim(timezone, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+/-') = ''),
    CONSTRAINT account_domain_is_plain CHECK (
        length(domain) BETWEEN 1 AND 253
        AND ltrim(domain, 'abcdefghijklmnopqrstuvwxyz0123456789.-') = ''),
    CONSTRAINT account_status_is_known CHECK (status IN ('trial', 'active', 'suspended')),
    CONSTRAINT account_refused_caller_id_is_known CHECK (refused_caller_id IN ('reject', 'network_number')),
    CONSTRAINT account_presented_number_is_e164 CHECK (
        length(presented_number) BETWEEN 4 AND 16
        AND substr(presented_number, 1, 1) = '+' AND substr(presented_number, 2, 1) <> '0'
        AND ltrim(substr(presented_number, 2), '0123456789') = ''),
    CONSTRAINT account_presents_mobile_is_boolean CHECK (presents_mobile IN (TRUE, FALSE)),
    CONSTRAINT account_presents_abroad_is_boolean CHECK (presents_abroad IN (TRUE, FALSE)),
    CONSTRAINT account_verifies_abroad_is_boolean CHECK (verifies_abroad IN (TRUE, FALSE)),
    CONSTRAINT account_verification_days_is_1_to_3650 CHECK (
        verification_days BETWEEN 1 AND 3650 AND verification_days = CAST(verification_days AS INTEGER)),
    CONSTRAINT account_approves_blocks_is_boolean CHECK (approves_blocks IN (TRUE, FALSE))
);

-- Where an account may call, beside what everybody may: the longest prefix counts. Without a row premium-rate and
-- satellite numbers are barred, and everything else is allowed. Emergency calls are never barred.
CREATE TABLE call_permissions (
    account TEXT NOT NULL REFERENCES accounts (name),
    prefix TEXT NOT NULL,
    allowed BOOLEAN NOT NULL,
    PRIMARY KEY (account, prefix),
    CONSTRAINT call_permission_prefix_is_e164 CHECK (
        length(prefix) BETWEEN 1 AND 16
        AND substr(prefix, 1, 1) = '+' AND substr(prefix, 2, 1) <> '0'
        AND ltrim(substr(prefix, 2), '0123456789') = ''),
    CONSTRAINT call_permission_allowed_is_boolean CHECK (allowed IN (TRUE, FALSE))
);

-- A number that is hosted here: a call to it is routed by its rules. is_network_number marks the one number
-- that identifies the account's line towards a carrier (P-Asserted-Identity).
CREATE TABLE numbers (
    number TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name),
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    is_network_number BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (account, number),
    CONSTRAINT number_is_e164 CHECK (
        length(number) BETWEEN 4 AND 16
        AND substr(number, 1, 1) = '+' AND substr(number, 2, 1) <> '0'
        AND ltrim(substr(number, 2), '0123456789') = ''),
    CONSTRAINT number_enabled_is_boolean CHECK (enabled IN (TRUE, FALSE)),
    CONSTRAINT number_is_network_number_is_boolean CHECK (is_network_number IN (TRUE, FALSE))
);
CREATE UNIQUE INDEX one_network_number_per_account ON numbers (account) WHERE is_network_number;

-- A person (or a place such as a reception) that is called on all its endpoints at once.
CREATE TABLE users (
    account TEXT NOT NULL REFERENCES accounts (name),
    name TEXT NOT NULL,
    extension TEXT,
    PRIMARY KEY (account, name),
    UNIQUE (account, extension),
    CONSTRAINT user_name_is_plain CHECK (
        length(name) BETWEEN 1 AND 64
        AND ltrim(name, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT user_extension_is_digits CHECK (
        length(extension) BETWEEN 2 AND 8 AND ltrim(extension, '0123456789') = '')
);

-- A device: the user part of its SIP address in the account's domain. All phones registered with it ring.
CREATE TABLE endpoints (
    account TEXT NOT NULL REFERENCES accounts (name),
    name TEXT NOT NULL,
    user_name TEXT,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (account, name),
    FOREIGN KEY (account, user_name) REFERENCES users (account, name),
    CONSTRAINT endpoint_name_is_plain CHECK (
        length(name) BETWEEN 1 AND 64
        AND ltrim(name, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT endpoint_enabled_is_boolean CHECK (enabled IN (TRUE, FALSE))
);
CREATE INDEX endpoints_by_user ON endpoints (account, user_name);

-- The numbers of a user, hosted here or verified outside.
--   primary     receives calls, and is shown on the user's outgoing calls if it may be shown; one per user.
--   secondary   receives only. Inside the account it is called by its short code.
-- A call to a hosted number that has no rules rings its user.
CREATE TABLE user_numbers (
    account TEXT NOT NULL,
    number TEXT NOT NULL,
    user_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    short_code TEXT,
    PRIMARY KEY (account, number),
    UNIQUE (account, short_code),
    FOREIGN KEY (account, user_name) REFERENCES users (account, name),
    CONSTRAINT user_number_is_e164 CHECK (
        length(number) BETWEEN 4 AND 16
        AND substr(number, 1, 1) = '+' AND substr(number, 2, 1) <> '0'
        AND ltrim(substr(number, 2), '0123456789') = ''),
    CONSTRAINT user_number_kind_is_known CHECK (kind IN ('primary', 'secondary')),
    CONSTRAINT user_number_short_code_is_digits CHECK (
        length(short_code) BETWEEN 2 AND 8 AND ltrim(short_code, '0123456789') = ''),
    CONSTRAINT only_secondary_numbers_have_a_short_code CHECK (kind = 'secondary' OR short_code IS NULL)
);
CREATE UNIQUE INDEX one_primary_number_per_user ON user_numbers (account, user_name) WHERE kind = 'primary';

-- A named pool of endpoints, used as one target. Its members always ring together.
CREATE TABLE ring_groups (
    account TEXT NOT NULL REFERENCES accounts (name),
    name TEXT NOT NULL,
    PRIMARY KEY (account, name),
    CONSTRAINT ring_group_name_is_plain CHECK (
        length(name) BETWEEN 1 AND 64
        AND ltrim(name, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = '')
);

-- 128 members: FreeSWITCH rings at most 128 legs together (MAX_PEERS, switch_ivr_originate.c).
CREATE TABLE ring_group_members (
    account TEXT NOT NULL,
    ring_group TEXT NOT NULL,
    position INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    PRIMARY KEY (account, ring_group, position),
    UNIQUE (account, ring_group, endpoint),
    FOREIGN KEY (account, ring_group) REFERENCES ring_groups (account, name),
    FOREIGN KEY (account, endpoint) REFERENCES endpoints (account, name),
    CONSTRAINT ring_group_has_at_most_128_members CHECK (
        position BETWEEN 1 AND 128 AND position = CAST(position AS INTEGER))
);

-- A named set of times. It matches when one of its ranges does. Without a timezone the account's counts.
-- holiday_region names a calendar of public holidays: a country (DE) or one of its parts (DE-NW).
CREATE TABLE time_profiles (
    account TEXT NOT NULL REFERENCES accounts (name),
    name TEXT NOT NULL,
    timezone TEXT,
    holiday_region TEXT,
    PRIMARY KEY (account, name),
    CONSTRAINT time_profile_name_is_plain CHECK (
        length(name) BETWEEN 1 AND 64
        AND ltrim(name, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT time_profile_timezone_is_plain CHECK (
        length(timezone) BETWEEN 1 AND 64
        AND ltrim(timezone, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+/-') = ''),
    CONSTRAINT time_profile_holiday_region_is_iso_3166 CHECK (
        (length(holiday_region) = 2 OR (length(holiday_region) BETWEEN 4 AND 6 AND substr(holiday_region, 3, 1) = '-'))
        AND ltrim(holiday_region, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-') = '')
);

-- One range of a time profile. Everything given must hold; what is left out does not restrict.
--   weekdays   mon-fri, or across the week's end: sat-mon.
--   hours      wall clock 'HH:MM', from start_time up to but without end_time; end_time at or before start_time
--              means the next day. A range across midnight belongs to the day on which it starts: fri, 22:00 to
--              06:00 ends on Saturday morning. 24:00 ends the day.
--   dates      'YYYY-MM-DD', both ends included.
--   holidays   any day, 'only' on public holidays of the profile's holiday_region, or 'except' on them.
CREATE TABLE time_profile_ranges (
    account TEXT NOT NULL,
    time_profile TEXT NOT NULL,
    position INTEGER NOT NULL,
    first_weekday TEXT,
    last_weekday TEXT,
    start_time TEXT,
    end_time TEXT,
    first_date TEXT,
    last_date TEXT,
    holidays TEXT NOT NULL DEFAULT 'any',
    PRIMARY KEY (account, time_profile, position),
    FOREIGN KEY (account, time_profile) REFERENCES time_profiles (account, name),
    CONSTRAINT time_range_position_is_positive CHECK (position >= 1 AND position = CAST(position AS INTEGER)),
    CONSTRAINT time_range_weekdays_are_known CHECK (
        first_weekday IN ('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun')
        AND last_weekday IN ('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun')),
    CONSTRAINT time_range_weekdays_come_in_pairs CHECK ((first_weekday IS NULL) = (last_weekday IS NULL)),
    CONSTRAINT time_range_start_is_hh_mm CHECK (
        length(start_time) = 5 AND substr(start_time, 3, 1) = ':'
        AND ltrim(substr(start_time, 1, 2) || substr(start_time, 4, 2), '0123456789') = ''
        AND substr(start_time, 1, 2) <= '23' AND substr(start_time, 4, 2) <= '59'),
    CONSTRAINT time_range_end_is_hh_mm CHECK (
        length(end_time) = 5 AND substr(end_time, 3, 1) = ':'
        AND ltrim(substr(end_time, 1, 2) || substr(end_time, 4, 2), '0123456789') = ''
        AND (end_time = '24:00' OR (substr(end_time, 1, 2) <= '23' AND substr(end_time, 4, 2) <= '59'))),
    CONSTRAINT time_range_hours_come_in_pairs CHECK ((start_time IS NULL) = (end_time IS NULL)),
    CONSTRAINT time_range_hours_are_not_empty CHECK (start_time <> end_time),
    CONSTRAINT time_range_first_date_is_iso CHECK (
        length(first_date) = 10 AND substr(first_date, 5, 1) = '-' AND substr(first_date, 8, 1) = '-'
        AND ltrim(substr(first_date, 1, 4) || substr(first_date, 6, 2) || substr(first_date, 9, 2), '0123456789') = ''
        AND substr(first_date, 6, 2) BETWEEN '01' AND '12' AND substr(first_date, 9, 2) BETWEEN '01' AND '31'),
    CONSTRAINT time_range_last_date_is_iso CHECK (
        length(last_date) = 10 AND substr(last_date, 5, 1) = '-' AND substr(last_date, 8, 1) = '-'
        AND ltrim(substr(last_date, 1, 4) || substr(last_date, 6, 2) || substr(last_date, 9, 2), '0123456789') = ''
        AND substr(last_date, 6, 2) BETWEEN '01' AND '12' AND substr(last_date, 9, 2) BETWEEN '01' AND '31'),
    CONSTRAINT time_range_dates_are_in_order CHECK (first_date <= last_date),
    CONSTRAINT time_range_holidays_is_known CHECK (holidays IN ('any', 'only', 'except'))
);

-- What happens to a call to a number. The rules of a number are tried by position:
--   general       the first enabled one whose filter matches is used;
--   busy, no_answer, unreachable
--                 used after a rule's targets failed in this way, again the first whose filter matches;
--   base          the last resort: when no general rule matches, and after everything else failed. One per number.
-- Filter: anonymous (TRUE: only callers who hide their number, FALSE: only others), time_profile, and the
-- callers in rule_callers. Everything given must hold.
--   mode          parallel: all targets ring together. sequential: one after another, by position.
--   ring_s        how long the rule rings in all. Without it, a parallel rule rings 25 s and a sequential one
--                 as long as its targets do.
CREATE TABLE rules (
    account TEXT NOT NULL,
    number TEXT NOT NULL,
    position INTEGER NOT NULL,
    type TEXT NOT NULL DEFAULT 'general',
    mode TEXT NOT NULL DEFAULT 'parallel',
    ring_s INTEGER,
    anonymous BOOLEAN,
    time_profile TEXT,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (number, position),
    UNIQUE (account, number, position),
    FOREIGN KEY (account, number) REFERENCES numbers (account, number),
    FOREIGN KEY (account, time_profile) REFERENCES time_profiles (account, name),
    CONSTRAINT rule_position_is_positive CHECK (position >= 1 AND position = CAST(position AS INTEGER)),
    CONSTRAINT rule_type_is_known CHECK (type IN ('general', 'busy', 'no_answer', 'unreachable', 'base')),
    CONSTRAINT rule_mode_is_known CHECK (mode IN ('parallel', 'sequential')),
    CONSTRAINT rule_ring_s_is_1_to_3600 CHECK (ring_s BETWEEN 1 AND 3600 AND ring_s = CAST(ring_s AS INTEGER)),
    CONSTRAINT rule_anonymous_is_boolean CHECK (anonymous IN (TRUE, FALSE)),
    CONSTRAINT rule_enabled_is_boolean CHECK (enabled IN (TRUE, FALSE)),
    CONSTRAINT base_rule_has_no_filter CHECK (type <> 'base' OR (anonymous IS NULL AND time_profile IS NULL))
);
CREATE UNIQUE INDEX one_base_rule_per_number ON rules (number) WHERE type = 'base';

-- The callers a rule is for: a number (+492214710199), or all that begin alike (+49171*).
CREATE TABLE rule_callers (
    number TEXT NOT NULL,
    rule_position INTEGER NOT NULL,
    caller TEXT NOT NULL,
    PRIMARY KEY (number, rule_position, caller),
    FOREIGN KEY (number, rule_position) REFERENCES rules (number, position),
    CONSTRAINT caller_is_e164_or_prefix CHECK (
        length(caller) BETWEEN 3 AND 16
        AND substr(caller, 1, 1) = '+' AND substr(caller, 2, 1) NOT IN ('0', '*')
        AND (ltrim(substr(caller, 2), '0123456789') = '*'
             OR (ltrim(substr(caller, 2), '0123456789') = '' AND length(caller) >= 4)))
);

-- What a rule rings, in this order. Exactly one of the target columns is given:
--   endpoint, ring_group, user_name   phones of the account;
--   external_number                   any number, through the account's trunk routes;
--   hosted_number                     another number of the account: its own rules apply, in place;
--   voicemail                         the mailbox of this endpoint;
--   announcement                      a sound file, relative to FreeSWITCH's sounds directory;
--   hangup_cause                      the call ends with this cause.
-- The last three end the call's way: they run when the targets before them (in a parallel rule: all that ring)
-- did not answer, and nothing after them is reached.
--   start_s       parallel rules: this target starts to ring so many seconds after the others.
--   ring_s        how long it rings. Without it: to the end of a parallel rule, 20 s in a sequential one.
--   caller_id     external numbers: what they see. 'own', the number that was dialled, is the default; 'original', the
--                 caller's number (hidden, if the caller hides it); 'verified:+49...', another number of the account, if
--                 it may be shown.
--   confirm       external numbers: who answers must press 1 to take the call, so that a mobile's voicemail can not.
--                 Without it: yes beside other targets, no when the number rings alone.
CREATE TABLE rule_targets (
    account TEXT NOT NULL,
    number TEXT NOT NULL,
    rule_position INTEGER NOT NULL,
    position INTEGER NOT NULL,
    endpoint TEXT,
    ring_group TEXT,
    user_name TEXT,
    external_number TEXT,
    hosted_number TEXT,
    voicemail TEXT,
    announcement TEXT,
    hangup_cause TEXT,
    start_s INTEGER NOT NULL DEFAULT 0,
    ring_s INTEGER,
    caller_id TEXT,
    confirm BOOLEAN,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (number, rule_position, position),
    FOREIGN KEY (account, number, rule_position) REFERENCES rules (account, number, position),
    FOREIGN KEY (account, endpoint) REFERENCES endpoints (account, name),
    FOREIGN KEY (account, ring_group) REFERENCES ring_groups (account, name),
    FOREIGN KEY (account, user_name) REFERENCES users (account, name),
    FOREIGN KEY (account, hosted_number) REFERENCES numbers (account, number),
    FOREIGN KEY (account, voicemail) REFERENCES endpoints (account, name),
    CONSTRAINT rule_target_position_is_1_to_128 CHECK (
        position BETWEEN 1 AND 128 AND position = CAST(position AS INTEGER)),
    CONSTRAINT rule_target_is_exactly_one CHECK (
        CASE WHEN endpoint IS NULL THEN 0 ELSE 1 END + CASE WHEN ring_group IS NULL THEN 0 ELSE 1 END
        + CASE WHEN user_name IS NULL THEN 0 ELSE 1 END + CASE WHEN external_number IS NULL THEN 0 ELSE 1 END
        + CASE WHEN hosted_number IS NULL THEN 0 ELSE 1 END + CASE WHEN voicemail IS NULL THEN 0 ELSE 1 END
        + CASE WHEN announcement IS NULL THEN 0 ELSE 1 END + CASE WHEN hangup_cause IS NULL THEN 0 ELSE 1 END = 1),
    CONSTRAINT rule_target_external_number_is_e164 CHECK (
        length(external_number) BETWEEN 4 AND 16
        AND substr(external_number, 1, 1) = '+' AND substr(external_number, 2, 1) <> '0'
        AND ltrim(substr(external_number, 2), '0123456789') = ''),
    CONSTRAINT rule_target_announcement_is_plain CHECK (
        length(announcement) BETWEEN 1 AND 200
        AND ltrim(announcement, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-') = ''
        AND substr(announcement, 1, 1) NOT IN ('/', '.') AND announcement NOT LIKE '%..%'),
    CONSTRAINT rule_target_hangup_cause_is_known CHECK (hangup_cause IN (
        'NORMAL_CLEARING', 'USER_BUSY', 'NO_USER_RESPONSE', 'NO_ANSWER', 'CALL_REJECTED', 'NUMBER_CHANGED',
        'UNALLOCATED_NUMBER', 'NO_ROUTE_DESTINATION', 'DESTINATION_OUT_OF_ORDER', 'INVALID_NUMBER_FORMAT',
        'NORMAL_CIRCUIT_CONGESTION', 'NORMAL_TEMPORARY_FAILURE', 'OUTGOING_CALL_BARRED', 'INCOMING_CALL_BARRED',
        'SERVICE_UNAVAILABLE')),
    CONSTRAINT rule_target_start_s_is_0_to_3600 CHECK (start_s BETWEEN 0 AND 3600 AND start_s = CAST(start_s AS INTEGER)),
    CONSTRAINT rule_target_ring_s_is_1_to_3600 CHECK (ring_s BETWEEN 1 AND 3600 AND ring_s = CAST(ring_s AS INTEGER)),
    CONSTRAINT only_external_numbers_have_a_caller_id CHECK (caller_id IS NULL OR external_number IS NOT NULL),
    CONSTRAINT rule_target_caller_id_is_known CHECK (
        caller_id IN ('own', 'original')
        OR (substr(caller_id, 1, 9) = 'verified:' AND length(caller_id) BETWEEN 13 AND 25
            AND substr(caller_id, 10, 1) = '+' AND substr(caller_id, 11, 1) <> '0'
            AND ltrim(substr(caller_id, 11), '0123456789') = '')),
    CONSTRAINT only_external_numbers_are_confirmed CHECK (confirm IS NULL OR external_number IS NOT NULL),
    CONSTRAINT rule_target_confirm_is_boolean CHECK (confirm IN (TRUE, FALSE)),
    CONSTRAINT rule_target_enabled_is_boolean CHECK (enabled IN (TRUE, FALSE))
);

-- How a carrier wants to be told who calls: the presented number is what the called side sees, the network number
-- belongs to the account's line.
--   from_number       which of the two stands in From.
--   identity_header   where the other facts go: P-Asserted-Identity (pai), P-Preferred-Identity (ppi), Remote-Party-ID
--                     (rpid), or nowhere (none).
--   identity_number   which of the two stands there.
--   diversion         forwarded calls name the number that diverted them, in Diversion (RFC 5806).
--   history_info      and in History-Info (RFC 7044).
CREATE TABLE identity_profiles (
    name TEXT NOT NULL PRIMARY KEY,
    from_number TEXT NOT NULL,
    identity_header TEXT NOT NULL,
    identity_number TEXT NOT NULL,
    diversion BOOLEAN NOT NULL DEFAULT TRUE,
    history_info BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT identity_profile_name_is_plain CHECK (
        length(name) BETWEEN 1 AND 64
        AND ltrim(name, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT identity_profile_from_number_is_known CHECK (from_number IN ('presented', 'network')),
    CONSTRAINT identity_profile_header_is_known CHECK (identity_header IN ('pai', 'ppi', 'rpid', 'none')),
    CONSTRAINT identity_profile_identity_number_is_known CHECK (identity_number IN ('presented', 'network')),
    CONSTRAINT identity_profile_shows_a_number CHECK (
        from_number = 'presented' OR (identity_number = 'presented' AND identity_header <> 'none')),
    CONSTRAINT identity_profile_diversion_is_boolean CHECK (diversion IN (TRUE, FALSE)),
    CONSTRAINT identity_profile_history_info_is_boolean CHECK (history_info IN (TRUE, FALSE))
);
-- Modelled on what vendors and carriers describe in public: presented-in-from on Swyx's demand to its carriers (the line's
-- number in P-Asserted-Identity, any shown one in From), presented-in-pai on NFON's trunk (the shown number in
-- P-Asserted-Identity), preferred on RFC 3325's form for a network that does not trust us. The other two are for older
-- gateways. Insert a row of your own to change one.
INSERT INTO identity_profiles (name, from_number, identity_header, identity_number, diversion, history_info) VALUES
    ('presented-in-from', 'presented', 'pai', 'network', TRUE, FALSE),
    ('presented-in-pai', 'network', 'pai', 'presented', TRUE, TRUE),
    ('preferred', 'presented', 'ppi', 'network', TRUE, FALSE),
    ('remote-party', 'presented', 'rpid', 'network', TRUE, FALSE),
    ('from-only', 'presented', 'none', 'network', FALSE, FALSE);

-- A way to the telephone network: a gateway of FreeSWITCH. Its country gives the meaning of a number that it
-- delivers without +.
--   domain            what the carrier wants to read behind the @ of our numbers.
--   number_format     how it wants numbers: e164 (+49221...), digits (49221...), national (0221..., others 0049...),
--                     international (0049221...).
--   is_foreign        it delivers calls from networks of other countries. A number of this country that comes from there
--                     may be forged, and is hidden.
CREATE TABLE trunks (
    name TEXT NOT NULL PRIMARY KEY,
    gateway TEXT NOT NULL,
    country TEXT NOT NULL,
    domain TEXT NOT NULL,
    identity_profile TEXT NOT NULL DEFAULT 'presented-in-from' REFERENCES identity_profiles (name),
    number_format TEXT NOT NULL DEFAULT 'e164',
    is_foreign BOOLEAN NOT NULL DEFAULT FALSE,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    CONSTRAINT trunk_name_is_plain CHECK (
        length(name) BETWEEN 1 AND 64
        AND ltrim(name, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT trunk_gateway_is_plain CHECK (
        length(gateway) BETWEEN 1 AND 64
        AND ltrim(gateway, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT trunk_country_is_iso_3166 CHECK (
        length(country) = 2 AND ltrim(country, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') = ''),
    CONSTRAINT trunk_domain_is_plain CHECK (
        length(domain) BETWEEN 1 AND 253 AND ltrim(domain, 'abcdefghijklmnopqrstuvwxyz0123456789.-') = ''),
    CONSTRAINT trunk_number_format_is_known CHECK (number_format IN ('e164', 'digits', 'national', 'international')),
    CONSTRAINT trunk_is_foreign_is_boolean CHECK (is_foreign IN (TRUE, FALSE)),
    CONSTRAINT trunk_enabled_is_boolean CHECK (enabled IN (TRUE, FALSE))
);

-- Which trunk carries an account's calls to numbers that begin with prefix (+ is every number): the longest
-- prefix counts, then the position.
CREATE TABLE trunk_routes (
    account TEXT NOT NULL REFERENCES accounts (name),
    prefix TEXT NOT NULL,
    position INTEGER NOT NULL DEFAULT 1,
    trunk TEXT NOT NULL REFERENCES trunks (name),
    PRIMARY KEY (account, prefix, position),
    UNIQUE (account, prefix, trunk),
    CONSTRAINT trunk_route_prefix_is_e164 CHECK (
        length(prefix) BETWEEN 1 AND 16
        AND substr(prefix, 1, 1) = '+' AND substr(prefix, 2, 1) <> '0'
        AND ltrim(substr(prefix, 2), '0123456789') = ''),
    CONSTRAINT trunk_route_position_is_positive CHECK (position >= 1 AND position = CAST(position AS INTEGER))
);

-- External numbers that an account may show as caller ID: a single number (first = last) or a block, and how they stand.
-- The numbers of a block agree but for their last four digits: so the few blocks that can hold a number are found at once.
-- `fsroute verify` keeps this table; scripts may fill it too, and `fsroute load` writes down what they changed.
-- Times are UTC, 'YYYY-MM-DDTHH:MM:SSZ', which sorts as text.
--   method        call or sms, by a code; manual, by an operator with evidence; import, by another system.
--   source        the system that it was imported from. NULL for what was verified here.
CREATE TABLE verified_numbers (
    account TEXT NOT NULL REFERENCES accounts (name),
    first_number TEXT NOT NULL,
    last_number TEXT NOT NULL,
    method TEXT NOT NULL,
    state TEXT NOT NULL,
    verified_at TEXT,
    expires_at TEXT,
    revoked_at TEXT,
    verified_by TEXT,
    source TEXT,
    PRIMARY KEY (account, first_number),
    CONSTRAINT verified_first_number_is_e164 CHECK (
        length(first_number) BETWEEN 4 AND 16
        AND substr(first_number, 1, 1) = '+' AND substr(first_number, 2, 1) <> '0'
        AND ltrim(substr(first_number, 2), '0123456789') = ''),
    CONSTRAINT verified_last_number_is_e164 CHECK (
        length(last_number) BETWEEN 4 AND 16
        AND substr(last_number, 1, 1) = '+' AND substr(last_number, 2, 1) <> '0'
        AND ltrim(substr(last_number, 2), '0123456789') = ''),
    CONSTRAINT verified_block_is_in_order CHECK (
        length(first_number) = length(last_number) AND first_number <= last_number),
    CONSTRAINT verified_numbers_of_a_block_differ_in_four_digits CHECK (
        substr(first_number, 1, length(first_number) - 4) = substr(last_number, 1, length(last_number) - 4)),
    CONSTRAINT verified_method_is_known CHECK (method IN ('call', 'sms', 'manual', 'import')),
    CONSTRAINT verified_state_is_known CHECK (state IN ('pending', 'verified', 'failed', 'expired', 'cancelled', 'revoked')),
    CONSTRAINT only_imported_numbers_have_a_source CHECK (source IS NULL OR method = 'import'),
    CONSTRAINT verified_source_is_plain CHECK (
        length(source) BETWEEN 1 AND 64
        AND ltrim(source, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') = ''),
    CONSTRAINT verified_state_has_its_times CHECK (
        (state <> 'verified' OR (verified_at IS NOT NULL AND expires_at IS NOT NULL AND revoked_at IS NULL))
        AND (state <> 'revoked' OR revoked_at IS NOT NULL)),
    CONSTRAINT verified_at_is_utc CHECK (
        length(verified_at) = 20 AND substr(verified_at, 11, 1) = 'T' AND substr(verified_at, 20, 1) = 'Z'),
    CONSTRAINT expires_at_is_utc CHECK (
        length(expires_at) = 20 AND substr(expires_at, 11, 1) = 'T' AND substr(expires_at, 20, 1) = 'Z'),
    CONSTRAINT revoked_at_is_utc CHECK (
        length(revoked_at) = 20 AND substr(revoked_at, 11, 1) = 'T' AND substr(revoked_at, 20, 1) = 'Z')
);
CREATE INDEX verified_numbers_by_last_number ON verified_numbers (last_number, first_number);
CREATE INDEX verified_blocks ON verified_numbers (first_number) WHERE first_number <> last_number;

-- Every attempt to verify a number: one code that was sent, or one block that an operator entered. At most one of an
-- account and number is pending.
--   id                  what the customer confirms with; can not be guessed.
--   state               pending, until the code is confirmed (verified), or used up (failed), or too old (expired), or a new
--                       attempt takes its place (cancelled); failed, when the call or message did not arrive; conflict, when
--                       another account holds the number, which an operator has to settle.
--   code_hash           of a pending code, salted; NULL when there is none, or none any more.
--   tries               codes that were compared.
--   outcome             what became of the call or message; delivered_at says when that was known.
--   answer              what the SMS gateway answered, or the hang-up cause.
--   evidence            by hand: what proves the right to the numbers.
CREATE TABLE verifications (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name),
    first_number TEXT NOT NULL,
    last_number TEXT NOT NULL,
    method TEXT NOT NULL,
    state TEXT NOT NULL,
    language TEXT,
    code_hash TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    started_at TEXT NOT NULL,
    started_by TEXT NOT NULL,
    code_expires_at TEXT,
    outcome TEXT,
    answer TEXT,
    delivered_at TEXT,
    settled_at TEXT,
    evidence TEXT,
    approved_by TEXT,
    CONSTRAINT verification_id_is_plain CHECK (
        length(id) BETWEEN 8 AND 64
        AND ltrim(id, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-') = ''),
    CONSTRAINT verification_first_number_is_e164 CHECK (
        length(first_number) BETWEEN 4 AND 16
        AND substr(first_number, 1, 1) = '+' AND substr(first_number, 2, 1) <> '0'
        AND ltrim(substr(first_number, 2), '0123456789') = ''),
    CONSTRAINT verification_last_number_is_e164 CHECK (
        length(last_number) BETWEEN 4 AND 16
        AND substr(last_number, 1, 1) = '+' AND substr(last_number, 2, 1) <> '0'
        AND ltrim(substr(last_number, 2), '0123456789') = ''),
    CONSTRAINT verification_block_is_in_order CHECK (
        length(first_number) = length(last_number) AND first_number <= last_number),
    CONSTRAINT verification_method_is_known CHECK (method IN ('call', 'sms', 'manual')),
    CONSTRAINT verification_by_code_is_of_one_number CHECK (method = 'manual' OR first_number = last_number),
    CONSTRAINT verification_by_hand_has_evidence CHECK (
        method <> 'manual' OR (evidence IS NOT NULL AND length(trim(evidence)) >= 1)),
    CONSTRAINT verification_state_is_known CHECK (
        state IN ('pending', 'verified', 'failed', 'expired', 'cancelled', 'conflict')),
    CONSTRAINT verification_language_is_known CHECK (language IN ('de', 'en')),
    CONSTRAINT only_pending_codes_are_kept CHECK (code_hash IS NULL OR state = 'pending'),
    CONSTRAINT pending_codes_expire CHECK (code_hash IS NULL OR code_expires_at IS NOT NULL),
    CONSTRAINT verification_tries_are_counted CHECK (tries >= 0 AND tries = CAST(tries AS INTEGER)),
    CONSTRAINT verification_is_settled_or_pending CHECK ((state = 'pending') = (settled_at IS NULL)),
    CONSTRAINT approval_is_a_second_persons CHECK (approved_by <> started_by),
    CONSTRAINT started_at_is_utc CHECK (
        length(started_at) = 20 AND substr(started_at, 11, 1) = 'T' AND substr(started_at, 20, 1) = 'Z'),
    CONSTRAINT code_expires_at_is_utc CHECK (
        length(code_expires_at) = 20 AND substr(code_expires_at, 11, 1) = 'T' AND substr(code_expires_at, 20, 1) = 'Z'),
    CONSTRAINT delivered_at_is_utc CHECK (
        length(delivered_at) = 20 AND substr(delivered_at, 11, 1) = 'T' AND substr(delivered_at, 20, 1) = 'Z'),
    CONSTRAINT settled_at_is_utc CHECK (
        length(settled_at) = 20 AND substr(settled_at, 11, 1) = 'T' AND substr(settled_at, 20, 1) = 'Z')
);
CREATE UNIQUE INDEX one_pending_verification ON verifications (account, first_number) WHERE state = 'pending';
CREATE INDEX verifications_by_number ON verifications (first_number, started_at);
CREATE INDEX verifications_by_account ON verifications (account, started_at);

-- Who did what to a number's right to be shown, when, from where and why. Rows are only ever added. Accounts are not
-- referenced: a row outlives what it is about. `fsroute verify history` reads it.
--   id          1, 2, 3, ...: the order in which it happened, also when a clock was set back in between.
--   actor       who: a login name. origin: from where, such as the machine, or the script that was loaded.
--   action      what was done: 'loaded', 'removed', and what fsroute verify does.
--   state       how the row of verified_numbers with this account and first_number has stood since then, with this
--               last_number and, if verified, until expires_at; 'removed', that there is none. NULL where it did not change.
--   method      as in verified_numbers; verification is the id of the attempt.
--   reason      why: the evidence, what a gateway answered, why an attempt was refused.
CREATE TABLE audit_log (
    id INTEGER NOT NULL PRIMARY KEY,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    account TEXT NOT NULL,
    first_number TEXT NOT NULL,
    last_number TEXT NOT NULL,
    verification TEXT,
    method TEXT,
    state TEXT,
    expires_at TEXT,
    reason TEXT,
    CONSTRAINT audit_id_is_counted CHECK (id >= 1),
    CONSTRAINT audit_at_is_utc CHECK (length(at) = 20 AND substr(at, 11, 1) = 'T' AND substr(at, 20, 1) = 'Z'),
    CONSTRAINT audit_says_who CHECK (length(actor) BETWEEN 1 AND 200 AND length(origin) BETWEEN 1 AND 200),
    CONSTRAINT audit_says_what CHECK (length(action) >= 1),
    CONSTRAINT audit_first_number_is_e164 CHECK (
        length(first_number) BETWEEN 4 AND 16
        AND substr(first_number, 1, 1) = '+' AND substr(first_number, 2, 1) <> '0'
        AND ltrim(substr(first_number, 2), '0123456789') = ''),
    CONSTRAINT audit_last_number_is_e164 CHECK (
        length(last_number) BETWEEN 4 AND 16
        AND substr(last_number, 1, 1) = '+' AND substr(last_number, 2, 1) <> '0'
        AND ltrim(substr(last_number, 2), '0123456789') = ''),
    CONSTRAINT audit_block_is_in_order CHECK (length(first_number) = length(last_number) AND first_number <= last_number),
    CONSTRAINT audit_method_is_known CHECK (method IN ('call', 'sms', 'manual', 'import')),
    CONSTRAINT audit_state_is_known CHECK (
        state IN ('pending', 'verified', 'failed', 'expired', 'cancelled', 'revoked', 'removed')),
    CONSTRAINT audit_verified_expires CHECK (state <> 'verified' OR expires_at IS NOT NULL),
    CONSTRAINT audit_expires_at_is_utc CHECK (
        length(expires_at) = 20 AND substr(expires_at, 11, 1) = 'T' AND substr(expires_at, 20, 1) = 'Z')
);
CREATE INDEX audit_log_by_last_number ON audit_log (last_number, first_number);
CREATE INDEX audit_log_by_first_number ON audit_log (first_number);

-- Triggers are written differently in the two databases. PostgreSQL nests comments and SQLite does not, so each of them
-- takes the lines of the other for a comment: first SQLite's triggers, then PostgreSQL's. SQLite replaces a row
-- (INSERT OR REPLACE) without a DELETE that triggers could see, hence its third one.
/* /* */
CREATE TRIGGER audit_log_is_not_updated BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
CREATE TRIGGER audit_log_is_not_replaced BEFORE INSERT ON audit_log WHEN NEW.id IN (SELECT id FROM audit_log)
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
-- */
/* /* */ -- */ CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
/* /* */ -- */ $$ BEGIN RAISE EXCEPTION 'audit_log is append-only'; END $$;
/* /* */ -- */ CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
/* /* */ -- */ EXECUTE FUNCTION refuse_change();

-- Every change of what calls are routed by is told to whoever listens (LISTEN fsroute): fsroute serve, which remembers
-- what it has read. SQLite needs no help for that.
/* /* */ -- */ CREATE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS
/* /* */ -- */ $$ BEGIN PERFORM pg_notify('fsroute', ''); RETURN NULL; END $$;
/* /* */ -- */ DO $$ DECLARE name text; BEGIN
/* /* */ -- */     FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema()
/* /* */ -- */         AND tablename NOT IN ('schema_version', 'verifications', 'audit_log')
/* /* */ -- */     LOOP
/* /* */ -- */         EXECUTE format('CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I '
/* /* */ -- */             || 'EXECUTE FUNCTION tell_change()', name);
/* /* */ -- */     END LOOP;
/* /* */ -- */ END $$;
