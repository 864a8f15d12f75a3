-- fsroute: the tables that decide where a call goes.
--
-- One file for SQLite (3.37 or newer) and PostgreSQL (13 or newer), unchanged. `fsroute init` runs it; `fsroute load
-- FILE...` runs scripts that fill it, all files or none. It is the only definition of these tables: the models in
-- fsroute/data/tables.py mirror it, and a test fails if the two differ. docs/reference/tables.md is made from its
-- comments.
--
-- Conventions
--   * Natural keys: an E.164 number is its own key; everything else is named by its account and its name. So a script
--     reads like what it does.
--   * Every row of a customer carries its account, and references include it: no row can refer to another customer's
--     phone, group or number.
--   * The column position gives the order; the order of insertion has no meaning.
--   * Names reach FreeSWITCH dial strings. The constraints here compare them with an allow-list, and fsroute does so again
--     when it writes a dial string. ltrim(x, 'abc') = '' says "x has no character but a, b and c" in both databases.
--   * Durations end in _s and are whole seconds, as FreeSWITCH's ring timers are.

-- The version of these tables. An fsroute of another version refuses them.
CREATE TABLE schema_version (
    version INTEGER NOT NULL PRIMARY KEY
);
INSERT INTO schema_version (version) VALUES (3);

-- A customer.
--   country             ISO 3166. Gives the meaning of a number dialled without +, and the legal rules for caller IDs.
--   timezone            IANA name, as Europe/Berlin: the default of time profiles.
--   domain              the SIP domain of its phones in the FreeSWITCH directory. The two must agree.
--   status              'trial': shows no verified number and verifies none. 'suspended': only emergency calls and protected
--                       numbers pass.
--   refused_caller_id   what happens to a call that asks to show a number it may not show: 'reject' ends it with a cause,
--                       'network_number' shows the account's network number. The reason code is given either way.
--   presented_number    shown on outgoing calls of users who have no primary number, if it may be shown.
--   presents_mobile     mobile numbers may be shown too. Carriers differ on them.
--   presents_abroad     chosen numbers are shown abroad too. Networks on the way may change or drop them there.
--   verifies_abroad     verification codes may be sent to numbers of other countries. They cost more and attract fraud.
--   verification_days   how long a verified number may be shown before it must be verified again.
--   approves_blocks     what was verified by hand counts only after a second person has approved it.
--   transferred_caller_id
--                       what an external number sees of a call that a user transfers to it: 'own', the number that the
--                       user's calls show; 'original', the number of the party that is transferred (hidden, if that party
--                       hides it).
--   failed_transfer     where a transferred call goes that nobody takes: 'transferor', back to the phones of the user who
--                       transferred it; 'hangup', it ends; or a number of the account (+49...), whose rules then apply.
--   area_code           the digits that its users may leave out when they dial a local number: '221' in Cologne, '212' in
--                       New York, without the national prefix. Without an area code such a call ends with the reason code
--                       local_number.
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
    transferred_caller_id TEXT NOT NULL DEFAULT 'own',
    failed_transfer TEXT NOT NULL DEFAULT 'transferor',
    area_code TEXT,
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
    CONSTRAINT account_approves_blocks_is_boolean CHECK (approves_blocks IN (TRUE, FALSE)),
    CONSTRAINT account_transferred_caller_id_is_known CHECK (transferred_caller_id IN ('own', 'original')),
    CONSTRAINT account_failed_transfer_is_known CHECK (
        failed_transfer IN ('transferor', 'hangup')
        OR (length(failed_transfer) BETWEEN 4 AND 16
            AND substr(failed_transfer, 1, 1) = '+' AND substr(failed_transfer, 2, 1) <> '0'
            AND ltrim(substr(failed_transfer, 2), '0123456789') = '')),
    CONSTRAINT account_area_code_is_digits CHECK (
        length(area_code) BETWEEN 1 AND 7 AND ltrim(area_code, '0123456789') = '')
);

-- Exceptions to where an account may call: the longest prefix that fits decides. Without a fitting row premium-rate and
-- satellite numbers are barred, and all others are allowed. Emergency numbers, and others that must get through
-- (fsroute/short_numbers.toml), are never barred.
--   prefix     the beginning of an E.164 number: '+499001'.
--   allowed    TRUE allows, FALSE bars.
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

-- A hosted number: a call to it is routed by its rules. A row also counts for a number that phonenumbers calls impossible
-- (+5215555123456).
--   enabled             FALSE: calls to it end as for an unknown number.
--   is_network_number   TRUE for the one number that identifies the account's line to a carrier (P-Asserted-Identity). An
--                       account with trunk_routes must have one.
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

-- A person, or a place such as a reception. A call to a user rings all the user's endpoints together.
--   name        must agree with the variable fsroute_user in the FreeSWITCH directory.
--   extension   what colleagues dial.
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

-- A device: the user part of its SIP address in the account's domain. All phones that have registered with it ring.
--   name        must agree with the user id in the FreeSWITCH directory.
--   user_name   whose device it is, if anybody's. A mailbox without a phone is an endpoint too.
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

-- The numbers of a user, hosted here or verified. A call to a hosted number that has no rules rings its user. Inside
-- the account a short code follows the rules of its number, an extension those of its user's primary number; if there
-- are none for the call, the user's phones ring.
--   kind         'primary': receives calls, and outgoing calls of the user show it if it may be shown; one per user.
--                'secondary': receives only.
--   short_code   what colleagues dial to call a secondary number.
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

-- An endpoint of a ring group. At most 128: FreeSWITCH rings at most 128 legs together (MAX_PEERS, switch_ivr_originate.c).
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

-- A named set of times. It matches if one of its ranges matches.
--   timezone         IANA name. Without it the account's time zone applies.
--   holiday_region   a calendar of public holidays: a country (DE) or one of its parts (DE-NW).
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

-- One range of a time profile. Everything that is given must hold; a column that is left out does not restrict.
--   first_weekday, last_weekday
--                mon to fri, or across the end of the week: sat to mon.
--   start_time, end_time
--                wall clock 'HH:MM', from start_time up to but without end_time. An end_time at or before start_time
--                means the next day. A range across midnight belongs to the day on which it starts: fri, 22:00 to
--                06:00 ends on Saturday morning. 24:00 ends the day.
--   first_date, last_date
--                'YYYY-MM-DD', both ends included.
--   holidays     'any' day, 'only' on public holidays of the profile's holiday_region, or 'except' on them.
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

-- What happens to a call to a number. The rules of a number are tried by position. Everything that a rule's filter
-- gives must hold: anonymous, time_profile, and the callers in rule_callers.
--   type          'general': the first enabled one whose filter matches is used. 'busy', 'no_answer', 'unreachable': used
--                 after a rule's targets failed in this way, again the first whose filter matches. 'base': the last
--                 resort, if no general rule matches and after everything else failed. One per number, without a filter.
--   mode          'parallel': all targets ring together. 'sequential': one after another, by position.
--   ring_s        how long the rule rings in all. Without it a parallel rule rings 25 s, and a sequential one as long as its
--                 targets do. In a sequential rule it only limits: a target that says no ring_s rings 20 s, also if
--                 this is larger.
--   anonymous     TRUE: only for callers who hide their number or have none. FALSE: only for others. docs/caller-id.md says
--                 who is anonymous.
--   time_profile  only at the times of this profile.
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

-- The callers that a rule is for. A rule without such rows is for all. Anonymous callers are in no such list: use
-- rules.anonymous.
--   caller    a number (+492214710199), or a beginning (+49171*), also of numbers that phonenumbers calls impossible. A
--             caller's number without + may have two readings: both are compared with a whole number, the likelier one
--             with a beginning.
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

-- What a rule rings, by position. Exactly one of the columns from endpoint to hangup_cause is given. Voicemail,
-- announcement and hangup_cause end the call's way: they run if the targets before them (in a parallel rule: all that
-- ring) did not answer, and nothing after them is reached.
--   endpoint, ring_group, user_name
--                 phones of the account.
--   external_number
--                 any number, through the account's trunk routes.
--   hosted_number
--                 another number of the account: its own rules apply, in place.
--   voicemail     the mailbox of this endpoint.
--   announcement  a sound file, relative to FreeSWITCH's sounds directory. Nothing checks that it exists: without it the
--                 caller gets half a second of silence, and the call ends.
--   hangup_cause  the call ends with this cause.
--   start_s       parallel rules: this target starts to ring so many seconds after the rule starts.
--   ring_s        how long it rings. Without it: to the end of a parallel rule, 20 s in a sequential one.
--   caller_id     external numbers: what they see. 'own', the number that was dialled, is the default; 'original', the
--                 caller's number (hidden, if the caller hides it); 'verified:+49...', another number of the account, if
--                 it may be shown.
--   confirm       external numbers: whoever answers must press 1 to take the call, so that a mobile's voicemail cannot
--                 take it. Without it: yes if other targets ring too, no if the number rings alone.
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

-- In which headers a carrier gets the two numbers of a call, and sends them. The presented number is what the called
-- party sees; the network number belongs to the line. For calls from a trunk fsroute reads the caller from the header
-- in which the profile puts the presented number. Rules (rule_callers) are for callers of whom any number in the INVITE
-- fits.
--   from_number       which of the two is in From.
--   identity_header   which header has the other one: P-Asserted-Identity (pai), P-Preferred-Identity (ppi), Remote-Party-ID
--                     (rpid), or none (none).
--   identity_number   which of the two is there.
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
-- Modelled on what vendors and carriers describe in public: presented-in-from on what Swyx requires of its carriers
-- (the line's number in P-Asserted-Identity, any shown one in From), presented-in-pai on NFON's trunk (the shown number
-- in P-Asserted-Identity), preferred on RFC 3325's form for a network that does not trust us. The other two are for
-- older gateways. Insert a row of your own to change one.
INSERT INTO identity_profiles (name, from_number, identity_header, identity_number, diversion, history_info) VALUES
    ('presented-in-from', 'presented', 'pai', 'network', TRUE, FALSE),
    ('presented-in-pai', 'network', 'pai', 'presented', TRUE, TRUE),
    ('preferred', 'presented', 'ppi', 'network', TRUE, FALSE),
    ('remote-party', 'presented', 'rpid', 'network', TRUE, FALSE),
    ('from-only', 'presented', 'none', 'network', FALSE, FALSE);

-- A way to the telephone network: a gateway of FreeSWITCH.
--   gateway           its name in FreeSWITCH's external profile. The two must agree.
--   country           gives the meaning of a number that it delivers without +.
--   domain            what the carrier expects after the @ of our numbers.
--   identity_profile  in which headers it gets and sends the numbers of a call.
--   number_format     how it expects numbers, and writes them: e164 (+49221...), digits (49221...), national (0221...,
--                     others 0049...; in North America 1 and ten digits), international (0049221...). A number that arrives with
--                     + or with a prefix (00) is read as what it says. Without them, 12025550123 of a carrier that writes
--                     digits is +12025550123, and the digits of one that writes national are national.
--   called_number_in  where calls from this carrier have the number that was called: in the Request-URI (request), or in
--                     To (to), for carriers that call the name under which a gateway has registered.
--   is_foreign        it delivers calls from networks of other countries. A number of this country that arrives from there
--                     may be forged, and is hidden.
CREATE TABLE trunks (
    name TEXT NOT NULL PRIMARY KEY,
    gateway TEXT NOT NULL,
    country TEXT NOT NULL,
    domain TEXT NOT NULL,
    identity_profile TEXT NOT NULL DEFAULT 'presented-in-from' REFERENCES identity_profiles (name),
    number_format TEXT NOT NULL DEFAULT 'e164',
    called_number_in TEXT NOT NULL DEFAULT 'request',
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
    CONSTRAINT trunk_called_number_in_is_known CHECK (called_number_in IN ('request', 'to')),
    CONSTRAINT trunk_is_foreign_is_boolean CHECK (is_foreign IN (TRUE, FALSE)),
    CONSTRAINT trunk_enabled_is_boolean CHECK (enabled IN (TRUE, FALSE))
);

-- Which trunk carries an account's calls to numbers that begin with prefix. The longest prefix is tried first, then the
-- position.
--   prefix    the beginning of an E.164 number; '+' is every number.
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

-- External numbers that an account may show as caller ID, each a single number (first = last) or a block, with its state.
-- `fsroute verify` keeps this table. Scripts may fill it too: `fsroute load` records what they changed in audit_log.
-- Times are UTC, 'YYYY-MM-DDTHH:MM:SSZ', which sorts as text.
--   first_number, last_number
--                 the numbers of a block differ only in their last four digits: so an index finds the few blocks that can
--                 contain a number.
--   method        call or sms, by a verification code; manual, by an operator with evidence; import, by another system.
--   state         'verified' until expires_at; the others do not allow the number to be shown.
--   source        the system that it was imported from. NULL if it was verified here.
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

-- Every attempt to verify a number: one code that was sent, or one block that an operator entered. At most one per
-- account and number is pending.
--   id                  what the customer confirms with. Nobody can guess it.
--   state               pending, until the code is confirmed (verified), too many wrong codes were given or the delivery
--                       failed (failed), it is too old (expired), or a new attempt replaces it (cancelled); conflict, if
--                       another account holds the number: an operator must settle that.
--   code_hash           of a pending code, salted; NULL if there is none, or none any more.
--   tries               codes that were compared.
--   outcome             what became of the call or message.
--   delivered_at        when the outcome was known.
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

-- Who changed a number's right to be shown, when, from where and why. Rows are only added. Accounts are not referenced:
-- a row outlives what it is about. `fsroute verify history` reads it.
--   id          1, 2, 3, ...: the order in which things happened, also if a clock was set back in between.
--   actor       who: a login name.
--   origin      from where, such as the machine, or the script that was loaded.
--   action      what was done: 'loaded', 'removed', and the operations of fsroute verify.
--   state       the state of the row of verified_numbers with this account and first_number since then, with this
--               last_number and, if verified, until expires_at; 'removed' if there is none. NULL if it did not change.
--   method      as in verified_numbers.
--   verification
--               the id of the attempt.
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

-- The two databases write triggers differently. PostgreSQL nests comments and SQLite does not, so each of them takes
-- the other's lines for a comment: first SQLite's triggers, then PostgreSQL's. SQLite replaces a row
-- (INSERT OR REPLACE) without a DELETE that triggers could see; its third trigger refuses that.
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

-- PostgreSQL notifies listeners (LISTEN fsroute) of every change of the rows that route calls: fsroute serve listens,
-- because it remembers what it has read. SQLite needs no help for that.
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
