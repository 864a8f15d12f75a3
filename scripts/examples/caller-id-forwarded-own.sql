-- A forwarded call shows the number that was dialled.
--
-- This is also the default without a caller_id. The owner of the mobile sees which number was called, not who calls.
-- Diversion tells the carrier which number forwarded the call, and why.
--
--   fsroute explain --to +492214710184 --from 03023125001

INSERT INTO numbers (number, account) VALUES ('+492214710184', 'acme');

INSERT INTO rules (account, number, position) VALUES ('acme', '+492214710184', 1);

INSERT INTO rule_targets (account, number, rule_position, position, external_number, caller_id) VALUES
    ('acme', '+492214710184', 1, 1, '+491713920062', 'own');
