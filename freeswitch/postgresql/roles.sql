-- fsroute's roles, for psql as a superuser, connected to fsroute's database. It can be run again at any time.
BEGIN;

-- Without a password: set one where pg_hba.conf asks for it (\password fsroute_router).
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['fsroute_owner', 'fsroute_router', 'fsroute_loader', 'fsroute_verifier', 'fsroute_scripts'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I %s', name, CASE name WHEN 'fsroute_scripts' THEN 'NOLOGIN' ELSE 'LOGIN' END);
        END IF;
    END LOOP;
    -- fsroute load runs the statements of scripts as this role, which cannot write the audit log.
    IF NOT pg_has_role('fsroute_loader', 'fsroute_scripts', 'MEMBER') THEN
        GRANT fsroute_scripts TO fsroute_loader;
    END IF;
END $$;

-- The owner makes and changes the tables: fsroute init, fsroute upgrade. The loader needs a temporary table.
DO $$ DECLARE item record; BEGIN
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC, fsroute_router, fsroute_loader, fsroute_verifier, fsroute_scripts', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fsroute_owner, fsroute_router, fsroute_loader, fsroute_verifier, fsroute_scripts', current_database());
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO fsroute_owner', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO fsroute_loader', current_database());
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, fsroute_router, fsroute_loader, fsroute_verifier, fsroute_scripts', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO fsroute_owner, fsroute_router, fsroute_loader, fsroute_verifier, fsroute_scripts', current_schema());
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO fsroute_owner', current_schema());
    FOR item IN SELECT oid::regclass AS name FROM pg_class
        WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
        AND relname IN ('schema_version', 'accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers', 'verifications', 'audit_log') AND relowner <> 'fsroute_owner'::regrole
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO fsroute_owner', item.name);
    END LOOP;
    FOR item IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
        AND proname IN ('refuse_change', 'tell_change') AND proowner <> 'fsroute_owner'::regrole
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO fsroute_owner', item.name);
    END LOOP;
END $$;

-- Who may do what on the tables that there are. fsroute init and fsroute upgrade do this again for new ones.
DO $$ DECLARE item record; BEGIN
    FOR item IN SELECT r.rolname AS role, t.tablename AS name FROM pg_roles AS r, pg_tables AS t WHERE r.rolname IN ('fsroute_router', 'fsroute_loader', 'fsroute_scripts', 'fsroute_verifier')
        AND t.schemaname = current_schema() AND t.tablename IN ('schema_version', 'accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers', 'verifications', 'audit_log')
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, %I', item.name, item.role);
    END LOOP;
    FOR item IN SELECT g.role, g.allowed, t.tablename AS name FROM (VALUES
        ('fsroute_router', 'SELECT', ARRAY['schema_version', 'accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers']),
        ('fsroute_loader', 'SELECT', ARRAY['schema_version', 'accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers', 'audit_log']),
        ('fsroute_loader', 'SELECT (account, first_number, started_at, code_expires_at, delivered_at, settled_at)', ARRAY['verifications']),
        ('fsroute_loader', 'INSERT', ARRAY['accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers', 'audit_log']),
        ('fsroute_loader', 'UPDATE', ARRAY['accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers']),
        ('fsroute_loader', 'DELETE', ARRAY['accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers']),
        ('fsroute_scripts', 'SELECT', ARRAY['accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers']),
        ('fsroute_scripts', 'INSERT', ARRAY['accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers']),
        ('fsroute_scripts', 'UPDATE', ARRAY['accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers']),
        ('fsroute_scripts', 'DELETE', ARRAY['accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers']),
        ('fsroute_verifier', 'SELECT', ARRAY['schema_version', 'accounts', 'call_permissions', 'numbers', 'users', 'endpoints', 'user_numbers', 'ring_groups', 'ring_group_members', 'time_profiles', 'time_profile_ranges', 'rules', 'rule_callers', 'rule_targets', 'identity_profiles', 'trunks', 'trunk_routes', 'verified_numbers', 'verifications', 'audit_log']),
        ('fsroute_verifier', 'INSERT', ARRAY['verified_numbers', 'verifications', 'audit_log']),
        ('fsroute_verifier', 'UPDATE', ARRAY['verified_numbers', 'verifications'])
        ) AS g (role, allowed, names), pg_roles AS r, pg_tables AS t
        WHERE r.rolname = g.role AND t.schemaname = current_schema() AND t.tablename = ANY (g.names)
    LOOP
        EXECUTE format('GRANT %s ON %I TO %I', item.allowed, item.name, item.role);
    END LOOP;
END $$;

COMMIT;
