-- Forward when busy.
--
-- The office rings for 20 seconds. If it is busy (or rejects the call) the workshop rings. In all other cases the call
-- ends with the cause NO_ANSWER or SUBSCRIBER_ABSENT.
--
--   fsroute explain --to +492214710115

INSERT INTO numbers (number, account) VALUES ('+492214710115', 'acme');

INSERT INTO rules (account, number, position, type, ring_s) VALUES
    ('acme', '+492214710115', 1, 'general', 20),
    ('acme', '+492214710115', 2, 'busy', 15);

INSERT INTO rule_targets (account, number, rule_position, position, user_name) VALUES
    ('acme', '+492214710115', 1, 1, 'office'),
    ('acme', '+492214710115', 2, 1, 'workshop');
