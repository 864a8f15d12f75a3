-- One after another, each for its own time.
--
-- The phone 1001 rings for 10 seconds, then 1003, then the office for 20 (the default of a target in a sequential
-- rule), but never longer than 35 seconds in all: of the office's 20 seconds 15 are left. A phone that is busy, rejects
-- or is not registered is skipped at once.
--
--   fsroute explain --to +492214710111

INSERT INTO numbers (number, account) VALUES ('+492214710111', 'acme');

INSERT INTO rules (account, number, position, mode, ring_s) VALUES ('acme', '+492214710111', 1, 'sequential', 35);

INSERT INTO rule_targets (account, number, rule_position, position, endpoint, ring_s) VALUES
    ('acme', '+492214710111', 1, 1, '1001', 10),
    ('acme', '+492214710111', 1, 2, '1003', 10);
INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710111', 1, 3, 'office');
