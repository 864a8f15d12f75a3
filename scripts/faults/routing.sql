-- Numbers for the calls of `make faults`, on top of scripts/demo.sql.
-- Phones: 1001 answers, 1003 rings and is busy, 1004 answers, probe's 2001 rings long. 1002 is the fallback of the dialplan.

INSERT INTO numbers (number, account) VALUES
    ('+492214720001', 'acme'), ('+492214720002', 'acme'), ('+493023125030', 'probe');
INSERT INTO rules (account, number, position, type, ring_s) VALUES
    ('acme', '+492214720001', 1, 'general', 20),
    ('acme', '+492214720002', 1, 'general', 20), ('acme', '+492214720002', 2, 'busy', 20),
    ('probe', '+493023125030', 1, 'general', 20);
INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES
    ('acme', '+492214720001', 1, 1, '1001'),
    ('acme', '+492214720002', 1, 1, '1003'), ('acme', '+492214720002', 2, 1, '1004'),
    ('probe', '+493023125030', 1, 1, '2001');

-- Two thousand numbers like the first one, each called once: no routing of an earlier call is in memory.
INSERT INTO numbers (number, account)
WITH RECURSIVE digits (d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM digits WHERE d < 1999)
SELECT '+49221473' || (1000 + d), 'acme' FROM digits;
INSERT INTO rules (account, number, position, type, ring_s)
SELECT 'acme', number, 1, 'general', 20 FROM numbers WHERE number LIKE '+49221473%';
INSERT INTO rule_targets (account, number, rule_position, position, endpoint)
SELECT 'acme', number, 1, 1, '1001' FROM numbers WHERE number LIKE '+49221473%';
