-- A number that only plays an announcement: opening hours, or that the company has moved.
--
-- The path is relative to FreeSWITCH's sounds directory. The repository has no such file: record one. Without the file
-- the caller gets half a second of silence. After the announcement the call ends (docs/freeswitch.md).
--
--   fsroute explain --to +492214710151

INSERT INTO numbers (number, account) VALUES ('+492214710151', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710151', 1);

INSERT INTO rule_targets (account, number, rule_position, position, announcement) VALUES
    ('acme', '+492214710151', 1, 1, 'fsroute/we-have-moved.wav');
