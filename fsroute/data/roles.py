"""The roles that fsroute uses on PostgreSQL, and what each may do: nobody has more than the command that it is for.

`fsroute roles` prints the SQL, which a superuser runs. `fsroute init` and `fsroute upgrade` grant the rights on new
tables when they run as the owner.
"""

# ruff: noqa: S608 - the names in these texts are fsroute's own, and a prefix that is checked

from __future__ import annotations

import re

from peewee import Database

from fsroute.data.database import execute_whole
from fsroute.data.tables import MODELS
from fsroute.errors import ConfigError

OWNER, ROUTER, LOADER, SCRIPTS, VERIFIER = "owner", "router", "loader", "scripts", "verifier"

_TABLES = [model._meta.table_name for model in MODELS]  # noqa: SLF001 - peewee has no other way to ask
_KEPT_BY_VERIFY = {"verifications", "audit_log"}
_ROUTING = [name for name in _TABLES if name not in {"schema_version", *_KEPT_BY_VERIFY}]
_VERIFYING = ["verified_numbers", "verifications"]

_CHECKED_TIMES = "account, first_number, started_at, code_expires_at, delivered_at, settled_at"
"""What fsroute load checks of verifications: not the hashes of verification codes."""

RIGHTS: dict[str, dict[str, list[str]]] = {
    ROUTER: {"SELECT": ["schema_version", *_ROUTING]},
    # Scripts may fill verified_numbers, and fsroute load records that in audit_log in the same transaction.
    LOADER: {
        "SELECT": ["schema_version", *_ROUTING, "audit_log"],
        f"SELECT ({_CHECKED_TIMES})": ["verifications"],
        "INSERT": [*_ROUTING, "audit_log"],
        "UPDATE": _ROUTING,
        "DELETE": _ROUTING,
    },
    SCRIPTS: dict.fromkeys(("SELECT", "INSERT", "UPDATE", "DELETE"), _ROUTING),
    VERIFIER: {"SELECT": _TABLES, "INSERT": [*_VERIFYING, "audit_log"], "UPDATE": _VERIFYING},
}
"""The rights of each role, except the owner, on tables."""


def sql(prefix: str) -> str:
    """The SQL that makes the roles `PREFIX_owner` and so on, and gives them what they need and no more. Run again it changes
    nothing.

    Raises ConfigError for a prefix that is no plain name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", prefix):
        raise ConfigError(
            f"--prefix {prefix!r}: must be lower-case letters, digits and _, at most 40, and begin with a letter"
        )
    owner, *kinds = (f"{prefix}_{kind}" for kind in (OWNER, ROUTER, LOADER, VERIFIER, SCRIPTS))
    router, loader, verifier, scripts = kinds
    others = ", ".join(kinds)
    return f"""\
-- fsroute's roles, for psql as a superuser, connected to fsroute's database. It can be run again at any time.
BEGIN;

-- Without a password: set one where pg_hba.conf asks for it (\\password {router}).
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['{owner}', '{router}', '{loader}', '{verifier}', '{scripts}'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I %s', name, CASE name WHEN '{scripts}' THEN 'NOLOGIN' ELSE 'LOGIN' END);
        END IF;
    END LOOP;
    -- fsroute load runs the statements of scripts as this role, which cannot write the audit log.
    IF NOT pg_has_role('{loader}', '{scripts}', 'MEMBER') THEN
        GRANT {scripts} TO {loader};
    END IF;
END $$;

-- The owner makes and changes the tables: fsroute init, fsroute upgrade. The loader needs a temporary table.
DO $$ DECLARE item record; BEGIN
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC, {others}', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {owner}, {others}', current_database());
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO {owner}', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {loader}', current_database());
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, {others}', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO {owner}, {others}', current_schema());
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO {owner}', current_schema());
    FOR item IN SELECT oid::regclass AS name FROM pg_class
        WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
        AND relname IN ({_listed(_TABLES)}) AND relowner <> '{owner}'::regrole
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO {owner}', item.name);
    END LOOP;
    FOR item IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
        AND proname IN ('refuse_change', 'tell_change') AND proowner <> '{owner}'::regrole
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO {owner}', item.name);
    END LOOP;
END $$;

-- Who may do what on the tables that there are. fsroute init and fsroute upgrade do this again for new ones.
{grants(prefix)}
COMMIT;
"""


def grants(prefix: str) -> str:
    """The SQL that gives the roles that exist their rights on the tables that exist, and takes all others from them."""
    granted = ",\n".join(
        f"        ('{prefix}_{role}', '{right}', ARRAY[{_listed(tables)}])"
        for role, rights in RIGHTS.items()
        for right, tables in rights.items()
    )
    roles = ", ".join(f"'{prefix}_{role}'" for role in RIGHTS)
    return f"""\
DO $$ DECLARE item record; BEGIN
    FOR item IN SELECT r.rolname AS role, t.tablename AS name FROM pg_roles AS r, pg_tables AS t WHERE r.rolname IN ({roles})
        AND t.schemaname = current_schema() AND t.tablename IN ({_listed(_TABLES)})
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, %I', item.name, item.role);
    END LOOP;
    FOR item IN SELECT g.role, g.allowed, t.tablename AS name FROM (VALUES
{granted}
        ) AS g (role, allowed, names), pg_roles AS r, pg_tables AS t
        WHERE r.rolname = g.role AND t.schemaname = current_schema() AND t.tablename = ANY (g.names)
    LOOP
        EXECUTE format('GRANT %s ON %I TO %I', item.allowed, item.name, item.role);
    END LOOP;
END $$;
"""


def grant(database: Database) -> None:
    """Gives the roles their rights on the tables, if this connection acts as a role `PREFIX_owner` (PostgreSQL)."""
    ((user,),) = database.execute_sql("SELECT current_user").fetchall()
    prefix, _, kind = user.rpartition("_")
    if prefix and kind == OWNER:
        execute_whole(database, grants(prefix))


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
