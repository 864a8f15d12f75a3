-- Rows of the tables of version 2 and later, with text that a careless copy would change.
INSERT INTO accounts (name, country, timezone, domain, status, presented_number, presents_mobile, verification_days)
VALUES ('gamma', 'AT', 'Europe/Vienna', 'gamma.example', 'suspended', '+431234567', TRUE, 30);
INSERT INTO time_profiles (account, name, timezone, holiday_region) VALUES ('gamma', '007', 'Europe/Vienna', 'AT-9');
INSERT INTO time_profile_ranges (account, time_profile, position, first_weekday, last_weekday, start_time, end_time, holidays)
VALUES ('gamma', '007', 1, 'sat', 'mon', '22:00', '24:00', 'except');
INSERT INTO call_permissions (account, prefix, allowed) VALUES ('gamma', '+43900', TRUE), ('gamma', '+439001', FALSE);
INSERT INTO users (account, name, extension) VALUES ('gamma', '0012', '0012');
INSERT INTO endpoints (account, name, user_name, enabled) VALUES ('gamma', '1e5', '0012', FALSE);
INSERT INTO numbers (number, account) VALUES ('+431234567', 'gamma');
INSERT INTO rules (account, number, position, anonymous, time_profile) VALUES ('gamma', '+431234567', 3, TRUE, '007');
INSERT INTO rule_callers (number, rule_position, caller) VALUES ('+431234567', 3, '+43*'), ('+431234567', 3, '+4312345678');
INSERT INTO rule_targets (account, number, rule_position, position, announcement)
VALUES ('gamma', '+431234567', 3, 128, 'closed/1.wav');
INSERT INTO identity_profiles (name, from_number, identity_header, identity_number) VALUES ('own', 'network', 'pai', 'presented');
INSERT INTO verifications (id, account, first_number, last_number, method, state, started_at, started_by, evidence, settled_at)
VALUES ('0123456789abcdef', 'gamma', '+431111000', '+431111999', 'manual', 'verified', '2026-01-01T00:00:00Z', 'it''s me',
    'Rechnung Nr. 5: "bezahlt"; ''ja'' – 100 % ✓
zweite Zeile -- kein Kommentar', '2026-01-01T00:00:00Z');
INSERT INTO verifications (id, account, first_number, last_number, method, state, language, code_hash, tries, started_at,
    started_by, code_expires_at)
VALUES ('fedcba9876543210', 'gamma', '+436601234567', '+436601234567', 'sms', 'pending', 'de', 'scrypt$1$x', 2,
    '2026-01-01T00:00:00Z', 'me', '2026-01-01T00:10:00Z');
INSERT INTO audit_log (id, at, actor, origin, action, account, first_number, last_number, method, state, expires_at, reason)
VALUES (1, '2026-01-01T00:00:00Z', 'me', 'cli:host', 'loaded', 'gamma', '+431111000', '+431111999', 'manual', 'verified',
    '2027-01-01T00:00:00Z', 'a "quoted" reason'),
    (900000, '2026-01-01T00:00:00Z', 'me', 'cli:host', 'loaded', 'gone', '+431111000', '+431111999', NULL, NULL, NULL, NULL);
