-- A number that only says something: opening hours, or that the company has moved.
--
-- The file is looked for in FreeSWITCH's sounds directory. After it the call ends.
--
--   fsroute explain --to +492214710151

INSERT INTO numbers (number, account) VALUES ('+492214710151', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710151', 1);

INSERT INTO rule_targets (account, number, rule_position, position, announcement) VALUES
    ('acme', '+492214710151', 1, 1, 'fsroute/we-have-moved.wav');
