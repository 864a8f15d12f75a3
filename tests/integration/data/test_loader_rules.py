"""Whatever a script holds: it changes rows of the routing tables and nothing else, and changes of verified numbers are
logged.

On both databases. On PostgreSQL fsroute is connected as the superuser who owns the tables: nothing but the loader is between
a script and everything on that server.
"""

# ruff: noqa: S608 - all SQL here is the tests' own

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsroute.data import loader
from fsroute.data.database import is_sqlite, open_database
from fsroute.data.script_rules import KEPT_BY_FSROUTE, ROLE, SQLITE_FUNCTIONS, TABLES
from fsroute.data.tables import MODELS
from fsroute.errors import DataError
from tests.support.postgresql import Databases, Server
from tests.support.tables import DEMO, LOADED

GOOD = "INSERT INTO users (account, name, extension) VALUES ('acme', 'new', '14');\n"
PAGE = "docs/reference/scripts.md"


@dataclass(frozen=True)
class Loaded:
    """A database with the demo data, and a directory for scripts."""

    url: str
    directory: Path

    def load(self, *texts: str) -> int:
        paths = [self.directory / f"{i}.sql" for i in range(1, len(texts) + 1)]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, "utf-8")
        return loader.load(open_database(self.url), self.url, paths, *LOADED)

    def refused(self, *texts: str) -> str:
        """Why the scripts are refused, without the directory. Nothing has changed after it."""
        before = self.everything()
        with pytest.raises(DataError) as caught:
            self.load(*texts)
        assert self.everything() == before
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value).replace(f"{self.directory}/", "")

    def everything(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows, and the schema."""
        database = open_database(self.url)
        with database.connection_context():
            found = {
                table: sorted(database.execute_sql(f"SELECT * FROM {table}").fetchall(), key=repr)
                for table in database.get_tables()
            }
            schema = (
                "SELECT type, name, tbl_name, sql FROM sqlite_master"
                if is_sqlite(database)
                else "SELECT oid::text, relname::text, relkind::text, relacl::text FROM pg_class UNION ALL"
                " SELECT oid::text, proname::text, prosrc, proacl::text FROM pg_proc UNION ALL"
                " SELECT oid::text, rolname::text, rolsuper::text, rolcanlogin::text FROM pg_authid UNION ALL"
                " SELECT oid::text, tgname::text, tgenabled::text, '' FROM pg_trigger UNION ALL"
                " SELECT oid::text, '', '', '' FROM pg_largeobject_metadata"
            )
            return {**found, "": sorted(database.execute_sql(schema).fetchall(), key=repr)}

    def change(self, *statements: str) -> None:
        """Runs SQL past the loader, as an administrator could."""
        database = open_database(self.url)
        with database.connection_context():
            for statement in statements:
                database.execute_sql(statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        database = open_database(self.url)
        with database.connection_context():
            return sorted(database.execute_sql(query).fetchall(), key=repr)

    @property
    def is_sqlite(self) -> bool:
        return is_sqlite(open_database(self.url))


@pytest.fixture
def demo(changeable_demo_url: str, tmp_path: Path) -> Loaded:
    return Loaded(changeable_demo_url, tmp_path)


@pytest.fixture
def refusing(demo_url: str, tmp_path: Path) -> Loaded:
    """The shared demo data, which stay as they are because everything is refused."""
    return Loaded(demo_url, tmp_path)


@pytest.fixture
def postgresql(postgresql_demo_url: str, tmp_path: Path) -> Loaded:
    return Loaded(postgresql_demo_url, tmp_path)


def test_each_table_is_for_scripts_or_kept_by_fsroute() -> None:
    names = {model._meta.table_name for model in MODELS}  # noqa: SLF001 - peewee's way to a table's name
    assert TABLES | KEPT_BY_FSROUTE.keys() == names
    assert not TABLES & KEPT_BY_FSROUTE.keys()


# --- what operators' scripts use loads on both ------------------------------------------------------------------

SPELLINGS = [
    "INSERT INTO users (account, name) VALUES ('acme', 'a'), ('acme', 'b');",
    "insert into Users (Account, Name) values ('acme', 'a');",
    'INSERT INTO "users" ("account", "name") VALUES (\'acme\', \'a\');',
    "INSERT INTO users (account, name, extension) VALUES ('acme', 'office', '77')\n"
    " ON CONFLICT (account, name) DO UPDATE SET extension = excluded.extension;",
    "INSERT INTO users (account, name) VALUES ('acme', 'office') ON CONFLICT DO NOTHING;",
    "UPDATE users SET extension = '9' || extension WHERE extension LIKE '1%';",
    "UPDATE rules SET ring_s = COALESCE(ring_s, 20) + 5 FROM numbers WHERE numbers.number = rules.number AND numbers.enabled;",
    "UPDATE users SET extension = CASE name WHEN 'office' THEN '71' ELSE NULLIF(extension, '11') END;",
    "DELETE FROM rule_targets WHERE number IN (SELECT number FROM numbers WHERE number = '+492214710500');",
    "DELETE FROM user_numbers WHERE EXISTS (SELECT 1 FROM users u WHERE u.name = user_numbers.user_name);",
    "WITH a AS (SELECT name FROM accounts WHERE name = 'acme') INSERT INTO ring_groups (account, name) SELECT name, 'x' FROM a;",
    "WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 20)\n"
    "INSERT INTO endpoints (account, name) SELECT 'acme', 'p' || n FROM i;",
    "INSERT INTO endpoints (account, name, user_name) SELECT account, 'e-' || lower(name), name FROM users WHERE account = 'acme';",
    "UPDATE verified_numbers SET verified_by = upper(trim(replace(substr(verified_by, 1, 3), 'd', 'x')));",
    "UPDATE verified_numbers SET source = NULL, verified_by = CAST(length(first_number) AS TEXT);",
    "-- c;\r\n/* d;\r\n */ UPDATE users\r\nSET extension = NULL -- e\r\n;\r\n",
    "\ufeffUPDATE accounts SET presents_mobile = TRUE WHERE name = 'acme';",
    "SELECT COUNT(*), MAX(number) FROM numbers; SELECT * FROM verified_numbers ORDER BY first_number LIMIT 3;",
    "SELECT a.name FROM accounts a LEFT JOIN numbers n ON n.account = a.name GROUP BY a.name HAVING COUNT(*) > 1;",
    "DELETE FROM trunk_routes WHERE account = 'probe'; DELETE FROM numbers WHERE account = 'probe' RETURNING number;",
    "UPDATE accounts SET timezone = 'Europe/Vienna';",
    "DELETE FROM call_permissions; DELETE FROM verified_numbers;",
]
ON_SQLITE = [
    "REPLACE INTO users (account, name, extension) VALUES ('acme', 'z', '77');",
    "INSERT OR IGNORE INTO users (account, name) VALUES ('acme', 'office');",
    "INSERT OR REPLACE INTO verified_numbers (account, first_number, last_number, method, state)"
    " VALUES ('acme', '+498999998123', '+498999998123', 'call', 'pending');",
    "UPDATE OR IGNORE users SET extension = '11';",
    "INSERT INTO [users] (`account`, \"name\") VALUES ('acme', 'a');",
    "UPDATE verified_numbers SET verified_by = strftime('%Y', 'now') || printf('%04d', 7) || date('now', '+1 day');",
    "SELECT name FROM main.users WHERE name GLOB 'o*' AND instr(name, 'o') AND ifnull(extension, '') <> '';",
]
ON_POSTGRESQL = [
    "DELETE FROM rule_targets USING rules WHERE rules.number = rule_targets.number AND rules.type = 'base';",
    "INSERT INTO endpoints (account, name) SELECT 'acme', 'p' || lpad(n::text, 3, '0') FROM generate_series(1, 20) AS n;",
    "WITH gone AS (DELETE FROM verified_numbers RETURNING *) INSERT INTO verified_numbers SELECT * FROM gone;",
    "UPDATE verified_numbers SET expires_at = to_char(now() AT TIME ZONE 'UTC' + interval '1 year', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"');",
    "UPDATE users SET (extension) = ROW(NULL) WHERE name = E'off\\x69ce' OR name = $$x$$ OR name = U&'\\0061';",
    "INSERT INTO public.users (account, name) VALUES ('acme', split_part('a:b', ':', 1)) ON CONFLICT ON CONSTRAINT users_pkey DO NOTHING;",
    "DELETE FROM ONLY user_numbers AS u WHERE u.number ~ '^[+]49' /* /* nested */ */;",
]


@pytest.mark.parametrize("text", [*SPELLINGS, *ON_SQLITE, *ON_POSTGRESQL])
def test_what_operators_write_loads(demo: Loaded, text: str) -> None:
    if (demo.is_sqlite and text in ON_POSTGRESQL) or (not demo.is_sqlite and text in ON_SQLITE):
        return
    assert demo.load(text) > 0


@pytest.mark.parametrize("name", sorted(SQLITE_FUNCTIONS - {"likelihood"}))
def test_functions_on_the_list_are_deterministic(name: str) -> None:
    """SQLite's own word for it: only those can be in an index. Aggregates cannot, and the clock is allowed on purpose."""
    connection = sqlite3.connect(":memory:")
    found = {row[0]: row for row in connection.execute("SELECT name, type, flags FROM pragma_function_list")}
    if name in found:
        deterministic, direct_only = 0x800, 0x80000
        _, kind, flags = found[name]
        assert kind in ("w", "a") or flags & deterministic or name.startswith(("current_", "date", "time"))
        assert not flags & direct_only


# --- everything else is refused -------------------------------------------------------------------------------


def kept(name: str, who: str) -> str:
    return f"a script cannot use {name}: {who}"


def other(name: str) -> str:
    return f"a script cannot use {name}: it can use the tables that route calls ({PAGE})"


def function(name: str) -> str:
    return f"a script cannot call {name}(): it can call the functions of {PAGE}"


LOG = kept("audit_log", "only fsroute writes it")
SAME_ON_BOTH = [
    ("DELETE FROM audit_log;", LOG),
    ("UPDATE \"audit_log\" SET actor = 'x';", LOG),
    ("INSERT INTO audit_log SELECT * FROM audit_log;", LOG),
    ("SELECT COUNT(*) FROM audit_log;", LOG),
    ("UPDATE users SET name = (SELECT actor FROM audit_log);", LOG),
    ("WITH x AS (SELECT actor FROM audit_log) SELECT 1 FROM x;", LOG),
    ("UPDATE verifications SET state = 'verified';", kept("verifications", "only fsroute verify writes it")),
    (
        "UPDATE users SET name = (SELECT code_hash FROM verifications);",
        kept("verifications", "only fsroute verify writes it"),
    ),
    (
        "UPDATE accounts SET presented_number = (SELECT first_number FROM verifications WHERE account = accounts.name);",
        kept("verifications", "only fsroute verify writes it"),
    ),
    ("UPDATE schema_version SET version = 99;", kept("schema_version", "only fsroute init and fsroute upgrade write it")),
    ("DELETE FROM schema_version;", kept("schema_version", "only fsroute init and fsroute upgrade write it")),
    ("SELECT load_extension('x');", function("load_extension")),
    ("SELECT random();", function("random")),
]
REFUSED_ON_SQLITE = [
    ("UPDATE sqlite_master SET sql = '';", "table sqlite_master may not be modified"),
    ("DELETE FROM sqlite_schema;", "table sqlite_master may not be modified"),
    ("SELECT * FROM sqlite_master;", other("sqlite_master")),
    ("INSERT INTO sqlite_temp_master VALUES (1,2,3,4,5);", other("sqlite_temp_master")),
    ("SELECT * FROM pragma_table_info('users');", other("sqlite_master")),
    ("SELECT * FROM json_each('[1]');", other("sqlite_master")),
    ("SELECT writefile('/tmp/x', 'y');", "no such function: writefile"),
    ("SELECT randomblob(10);", function("randomblob")),
    ("SELECT zeroblob(1000000000);", function("zeroblob")),
    ("SELECT replace(printf('%999999d', 1), ' ', 'xxxxxxxx');", "string or blob too big"),
    ("WITH x AS (SELECT 1) DELETE FROM audit_log;", LOG),
    (
        "INSERT OR ROLLBACK INTO users (account, name) VALUES ('acme', 'office');",
        "UNIQUE constraint failed: users.account, users.name",
    ),
    ("DELETE FROM [audit_log];", LOG),
    ("DELETE FROM `Audit_Log`;", LOG),
    ("DELETE FROM main.audit_log;", LOG),
    ("SELECT sqlite_compileoption_used('x');", function("sqlite_compileoption_used")),
]
REFUSED_ON_POSTGRESQL = [
    ('DELETE FROM U&"audit\\005flog";', LOG),
    ("UPDATE pg_proc SET prosrc = 'x' WHERE proname = 'tell_change';", other("pg_proc")),
    ("SELECT set_config('session_replication_role', 'replica', true);", function("set_config")),
    ("SELECT set_config('role', 'none', true);", function("set_config")),
    ("SELECT CAST(pg_read_file('/etc/hostname') AS INTEGER);", function("pg_read_file")),
    ("SELECT lo_import('/etc/passwd');", function("lo_import")),
    ("SELECT query_to_xml('DELETE FROM users', true, true, '');", function("query_to_xml")),
    ("SELECT 'x'::regclass;", f"a script cannot convert to regclass: it can to the types of {PAGE}"),
    ("WITH x AS (DELETE FROM audit_log RETURNING *) SELECT 1;", LOG),
]


@pytest.mark.parametrize(("text", "told"), [*SAME_ON_BOTH, *REFUSED_ON_SQLITE, *REFUSED_ON_POSTGRESQL])
def test_what_is_not_on_the_list_is_refused_by_file_and_line(refusing: Loaded, text: str, told: str) -> None:
    ours = (text, told) in SAME_ON_BOTH or (text, told) in (
        REFUSED_ON_SQLITE if refusing.is_sqlite else REFUSED_ON_POSTGRESQL
    )
    if ours:
        assert refusing.refused(GOOD, f"-- x\nSELECT 1;\n{text}") == f"2.sql:3: {told}"


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "ATTACH '/tmp/other.db' AS other",
        "PRAGMA foreign_keys = OFF",
        "DO 'BEGIN COMMIT; END'",
        "CREATE TABLE x (a TEXT)",
    ]
    + [
        "COPY users FROM PROGRAM 'id'",
        "SET ROLE postgres",
        "RESET ROLE",
        "VACUUM INTO '/tmp/other.db'",
        "DROP TABLE audit_log",
    ]
    + [
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "CREATE ROLE evil SUPERUSER LOGIN",
        "TRUNCATE audit_log",
        "EXPLAIN SELECT 1",
    ],
)
def test_other_statements_are_refused(refusing: Loaded, statement: str) -> None:
    assert refusing.refused(f"{GOOD}\n{statement};").startswith(f"1.sql:3: {statement.split()[0]} cannot be loaded: on ")


def test_a_view_or_a_trigger_made_elsewhere_is_no_way_around_on_sqlite(databases: Databases, tmp_path: Path) -> None:
    demo = Loaded(databases.filled(DEMO), tmp_path)
    if not demo.is_sqlite:
        return
    demo.change("CREATE VIEW log AS SELECT * FROM audit_log", "CREATE VIEW v AS SELECT * FROM verifications")
    assert demo.refused("SELECT 1 FROM log;") == f"1.sql:1: {LOG}"
    assert demo.refused("UPDATE accounts SET country = 'DE' WHERE name IN (SELECT account FROM v);").startswith(
        "1.sql:1: a script cannot use "
    )
    assert demo.refused("DELETE FROM log;") == "1.sql:1: cannot modify log because it is a view"
    demo.change(
        "CREATE TRIGGER sleeper AFTER INSERT ON time_profiles BEGIN UPDATE verified_numbers SET state = 'failed'; END"
    )
    told = f"database {demo.url}: trigger sleeper on time_profiles is not fsroute's: it would run with each change of a script; drop it before a load"
    assert demo.refused(GOOD) == told


EVIL = "CREATE FUNCTION {name} RETURNS {returns} LANGUAGE plpgsql {more} AS $$ BEGIN {body}; RETURN {value}; END $$"
WRITES = "INSERT INTO other VALUES ('x')"
ELSEWHERE: dict[str, tuple[list[str], str, str]] = {
    "a trigger": (
        [EVIL.format(name="evil()", returns="trigger", more="SECURITY DEFINER", body=WRITES, value="NULL"),
         "CREATE TRIGGER sleeper AFTER INSERT ON users EXECUTE FUNCTION evil()"],
        GOOD, "trigger sleeper on users is not fsroute's: it would run with each change of a script; drop it before a load",
    ),
    "a rule": (
        ["CREATE RULE sleeper AS ON INSERT TO users DO ALSO INSERT INTO other VALUES ('x')"],
        GOOD, "rule sleeper on users is not fsroute's: it would run with each change of a script; drop it before a load",
    ),
    "a policy": (
        ["CREATE POLICY sleeper ON users USING (true)"],
        GOOD, "policy sleeper on users is not fsroute's: it would run with each change of a script; drop it before a load",
    ),
    "a default": (
        [EVIL.format(name="evil()", returns="text", more="", body=WRITES, value="'x'"),
         "ALTER TABLE users ALTER extension SET DEFAULT evil()"],
        GOOD,
        "default, check or index with function evil on users is not fsroute's: it would run with each change of a script; drop it "
        "before a load",
    ),
    "a check": (
        [EVIL.format(name="evil(text)", returns="boolean", more="", body=WRITES, value="true"),
         "ALTER TABLE users ADD CHECK (evil(name)) NOT VALID"],
        GOOD,
        "default, check or index with function evil on users is not fsroute's: it would run with each change of a script; drop it "
        "before a load",
    ),
    "a function with PostgreSQL's name": (
        [EVIL.format(name="lower(varchar)", returns="text", more="SECURITY DEFINER", body=WRITES, value="'x'")],
        "SELECT lower(name::varchar(9)) FROM users;",
        "function lower(character varying) is not PostgreSQL's, but a script could call it by that name; drop it before a load",
    ),
    "a function after a dot": (
        [EVIL.format(name="ring_s(users)", returns="text", more="SECURITY DEFINER", body=WRITES, value="'x'")],
        "SELECT users.ring_s FROM users;",
        "function ring_s(users) is not PostgreSQL's, but a script could call it by that name; drop it before a load",
    ),
    "an operator": (
        [EVIL.format(name="evil(varchar, integer)", returns="boolean", more="", body=WRITES, value="true"),
         "CREATE OPERATOR + (FUNCTION = evil, LEFTARG = varchar, RIGHTARG = integer)"],
        "SELECT 'a'::varchar(9) + 1;",
        "operator +(character varying,integer) is not PostgreSQL's, but a script could call it by that name; drop it before a load",
    ),
    "a conversion": (
        [EVIL.format(name="evil(bool)", returns="date", more="", body=WRITES, value="'2026-01-01'"),
         "CREATE CAST (boolean AS date) WITH FUNCTION evil(bool)"],
        "SELECT CAST(TRUE AS date);",
        "conversion boolean to date is not PostgreSQL's, but a script could call it by that name; drop it before a load",
    ),
    "a changed function of fsroute's": (
        ["CREATE OR REPLACE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS"
         " $$ BEGIN INSERT INTO other VALUES ('x'); RETURN NULL; END $$"],
        GOOD, "the scripts wrote rows of public.other, by something that somebody made in this database",
    ),
    "a changed function of fsroute's that writes the log": (
        ["CREATE OR REPLACE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS"
         " $$ BEGIN IF pg_trigger_depth() < 2 THEN UPDATE verified_numbers SET verified_by = 'x'; END IF; RETURN NULL; END $$"],
        GOOD, "the scripts wrote rows of public.verified_numbers, by something that somebody made in this database",
    ),
    "a changed function of fsroute's that makes a table": (
        ["CREATE OR REPLACE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS"
         " $$ BEGIN CREATE TABLE public.evil (a TEXT); RETURN NULL; END $$"],
        GOOD, "the scripts wrote rows of pg_catalog.pg_attribute, by something that somebody made in this database",
    ),
    "a view in a table's place": (
        ["ALTER TABLE call_permissions RENAME TO gone", "CREATE VIEW call_permissions AS SELECT * FROM gone"],
        GOOD, "call_permissions: must be an ordinary table, for a script could reach others through it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_what_was_made_elsewhere_is_no_way_around_on_postgresql(
    postgresql: Loaded, case: tuple[list[str], str, str]
) -> None:
    made, script, told = case
    postgresql.change("CREATE TABLE other (a TEXT)", *made)
    assert postgresql.refused(script) == f"database {postgresql.url}: {told}"


def test_other_schemas_and_settings_change_no_meaning(postgresql: Loaded) -> None:
    """A role's own settings could turn a text into names, or a name of fsroute's tables into another table."""
    database = postgresql.url.rpartition("/")[2]
    postgresql.change(
        "CREATE SCHEMA other", "CREATE TABLE other.users (LIKE users)", "CREATE TABLE other.trap (a TEXT)",
        "CREATE FUNCTION other.lower(text) RETURNS text LANGUAGE sql AS $$ INSERT INTO other.trap VALUES ('x'); SELECT 'x' $$",
        f"ALTER DATABASE {database} SET search_path TO public, other, pg_catalog",
        f"ALTER DATABASE {database} SET standard_conforming_strings TO off",
        f"ALTER DATABASE {database} SET transform_null_equals TO on",
    )  # fmt: skip
    text = (
        "UPDATE users SET extension = NULL WHERE name = lower('OFFICE') AND '\\' <> ' ' AND (extension = NULL) IS NULL; --'"
    )
    assert postgresql.load(text) == 1
    assert postgresql.rows("SELECT extension FROM users WHERE name = 'office'") == [(None,)]
    assert postgresql.rows("SELECT * FROM other.trap") == []


def test_a_load_needs_the_counters(postgresql: Loaded) -> None:
    postgresql.change(f"ALTER DATABASE {postgresql.url.rpartition('/')[2]} SET track_counts TO off")
    told = "track_counts is off: PostgreSQL does not count what a load writes, so fsroute cannot check it"
    assert postgresql.refused(GOOD) == f"database {postgresql.url}: {told}"


# --- the role for scripts ---------------------------------------------------------------------------------------


@pytest.fixture
def role(postgresql: Loaded) -> Iterator[str]:
    """The role, which all databases of the server share: other tests' databases grant it nothing."""
    postgresql.change(f"DO $$ BEGIN CREATE ROLE {ROLE}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    postgresql.change(f"ALTER ROLE {ROLE} NOLOGIN NOSUPERUSER")
    yield ROLE
    postgresql.change(f"DROP OWNED BY {ROLE}", f"ALTER ROLE {ROLE} NOLOGIN NOSUPERUSER")


def test_scripts_run_as_the_role(postgresql: Loaded, role: str) -> None:
    """Seen by a trigger of fsroute's that was changed for it."""
    granted = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(sorted(TABLES))} TO {role}"
    postgresql.change(
        granted,
        "CREATE OR REPLACE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING MESSAGE = current_user || ' ' || session_user; END $$",
    )
    assert postgresql.refused(GOOD).startswith(f"1.sql:1: {role} fsroute")


def test_a_load_as_the_role_is_logged_by_fsroute(postgresql: Loaded, role: str) -> None:
    postgresql.change(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(sorted(TABLES))} TO {role}")
    assert postgresql.load(GOOD, "DELETE FROM verified_numbers WHERE account = 'probe';") == 2
    assert postgresql.rows("SELECT action, account FROM audit_log WHERE id > 3") == [("removed", "probe")]


def test_a_role_that_is_not_for_this_database_is_not_used(postgresql: Loaded, role: str) -> None:
    assert postgresql.load(GOOD) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {}", None),
        (
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {}; ALTER ROLE {} LOGIN",
            "must be no superuser, have no login",
        ),
        (
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {}; ALTER ROLE {} SUPERUSER",
            "must be no superuser, have no login",
        ),
        ("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables}, audit_log TO {}", "must be no superuser, have no login"),
    ],
)
def test_a_role_with_wrong_rights_is_refused(postgresql: Loaded, role: str, wrong: str, told: str | None) -> None:
    tables = ", ".join(sorted(TABLES))
    postgresql.change(*wrong.replace("{tables}", tables).replace("{}", role).split("; "))
    expected = (
        f"{told} and not write audit_log ({PAGE} has its GRANTs)"
        if told
        else f"lacks SELECT, INSERT, UPDATE or DELETE on {', '.join(sorted(TABLES - {'users'}))} ({PAGE} has its GRANTs)"
    )
    assert postgresql.refused(GOOD) == f"database {postgresql.url}: role {role}: {expected}"


def test_a_loader_without_further_rights_needs_no_role(postgresql: Loaded, postgresql_server: Server) -> None:
    """A login that owns nothing, with the rights that a load needs."""
    name = f"loader_{postgresql.url.rpartition('_')[2]}"
    postgresql.change(
        f"CREATE ROLE {name} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(sorted(TABLES))} TO {name}",
        f"GRANT SELECT ON schema_version, verifications, audit_log TO {name}",
        f"GRANT INSERT ON audit_log TO {name}",
    )
    other = Loaded(postgresql.url.replace("//fsroute@", f"//{name}@"), postgresql.directory)
    try:
        assert other.load(GOOD, "DELETE FROM verified_numbers WHERE account = 'probe';") == 2
        assert postgresql.rows("SELECT actor, action FROM audit_log WHERE id > 3") == [("tests", "removed")]
    finally:
        postgresql.change(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


# --- whatever the text ------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "users",
        "accounts",
        "verified_numbers",
        "audit_log",
        "verifications",
        "schema_version",
        "sqlite_master",
        "pg_class",
        "name",
        "account",
    ]
    + [
        "first_number",
        "state",
        "extension",
        '"audit_log"',
        'U&"audit\\005flog"',
        "[audit_log]",
        "x",
        "lower",
        "set_config",
        "random",
    ]
)
TOKENS = NAMES | st.sampled_from(
    [
        "SELECT",
        "INSERT INTO",
        "UPDATE",
        "DELETE FROM",
        "WITH",
        "REPLACE INTO",
        "SET",
        "VALUES",
        "FROM",
        "WHERE",
        "AS",
        "RETURNING *",
    ]
    + [
        "ON CONFLICT DO NOTHING",
        "(",
        ")",
        ",",
        ";",
        ";\n",
        "=",
        "'x'",
        "'+493023125020'",
        "1",
        "NULL",
        "*",
        "--",
        "/*",
        "*/",
        "'",
        '"',
    ]
    + [
        "E'\\''",
        "$$",
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "PRAGMA foreign_keys = OFF",
        "CREATE TABLE x (a)",
        "DROP TABLE users",
        "TRUNCATE users",
    ]
    + ["SET ROLE x", "'pending'", "OR 1 = 1", ".", "::text", "||", "\n", "\ufeff"]
)
COLUMNS = [
    "method = 'import'",
    "state = 'failed'",
    "verified_by = 'x'",
    "account = 'acme'",
    "last_number = first_number",
    "source = NULL",
]
CHANGES = st.one_of(
    st.builds("UPDATE verified_numbers SET {} WHERE account = '{}';".format, st.sampled_from(COLUMNS), st.sampled_from(["acme", "probe"])),
    st.builds(
        "INSERT INTO verified_numbers (account, first_number, last_number, method, state) VALUES ('{}', '{}', '{}', 'call', 'pending')"
        " ON CONFLICT (account, first_number) DO UPDATE SET state = excluded.state;".format,
        st.sampled_from(["acme", "probe"]), st.just("+493023125020"), st.just("+493023125020"),
    ),
    st.builds("DELETE FROM verified_numbers WHERE first_number = '{}';".format, st.sampled_from(["+493023125020", "+498999998123"])),
    st.just("UPDATE users SET extension = NULL;"),
    st.just("WITH x AS (SELECT account, first_number FROM verified_numbers) UPDATE verified_numbers SET verified_by = 'w'"
            " WHERE account IN (SELECT account FROM x);"),
)  # fmt: skip
SCRIPTS = st.lists(TOKENS, max_size=14).map(" ".join) | st.lists(CHANGES, max_size=4).map("\n".join)
SCRIPTS = SCRIPTS | st.tuples(SCRIPTS, SCRIPTS).map("\n".join)


@pytest.fixture(scope="module")
def changing(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(databases.filled(DEMO), tmp_path_factory.mktemp("changing"))


STATE = "account, first_number, last_number, method, state, expires_at"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(SCRIPTS)
def test_whatever_a_script_holds(changing: Loaded, text: str) -> None:
    """Only rows of routing tables change. Each row of verified_numbers that is other than before has its row in the log,
    which is otherwise as it was. A load that fails changes nothing."""
    before = changing.everything()
    try:
        changing.load(text)
    except DataError:
        assert changing.everything() == before
        return
    after = changing.everything()
    assert {table: after[table] for table in after if table not in TABLES | {"audit_log"}} == {
        table: before[table] for table in before if table not in TABLES | {"audit_log"}
    }
    added = sorted(set(after["audit_log"]) - set(before["audit_log"]), key=repr)
    assert set(before["audit_log"]) <= set(after["audit_log"])
    old, new = set(before["verified_numbers"]), set(after["verified_numbers"])
    old_keys, new_keys = {row[:2] for row in old}, {row[:2] for row in new}
    expected = [("loaded", *row[:2]) for row in new - old] + [("removed", *key) for key in old_keys - new_keys]
    assert sorted((row[4], row[5], row[6]) for row in added) == sorted(expected)


# --- memory --------------------------------------------------------------------------------------------------------

MEASURED = """
import json, re, sys, time
from datetime import UTC, datetime
from pathlib import Path
from fsroute.data import loader
from fsroute.data.database import open_database
from fsroute.errors import DataError
url, path = sys.argv[1:]
before = time.process_time()
try:
    said = str(loader.load(open_database(url), url, [Path(path)], datetime.now(UTC), "tests"))
except DataError as error:
    said = str(error)
took = time.process_time() - before
print(json.dumps([said, took, int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024]))
"""
LENGTH = 28_000_000


@pytest.mark.parametrize("kind", ["a missing quote", "one character beyond the first plane", "rows", "statements"])
def test_a_long_script_costs_little_time_and_memory(demo: Loaded, kind: str) -> None:
    """28 MB. In quadratic time it would be hours; a worker has 128 MB."""
    insert = "INSERT INTO users (account, name) VALUES ('acme', 'n{:05}');\n"
    texts = {
        "a missing quote": lambda: "INSERT INTO users VALUES ('a, 'b');\n" + insert * (LENGTH // len(insert)),
        "one character beyond the first plane": lambda: f"SELECT '\U0001f600{'x' * LENGTH}'",
        "rows": lambda: (
            "INSERT INTO users (account, name) VALUES "
            + ", ".join(f"('acme', 'n{i:06}')" for i in range(1_950_000 // 21))
            + ";"
        ),
        "statements": lambda: "".join(insert.format(i) for i in range(20_000)) + "-- x\n" * (LENGTH // 5 - 240_000),
    }
    path = demo.directory / "long.sql"
    path.write_text(texts[kind](), "utf-8")
    ran = subprocess.run([sys.executable, "-c", MEASURED, demo.url, path], capture_output=True, text=True, check=True)
    said, took, megabytes = json.loads(ran.stdout)
    expected = {
        "a missing quote": f"{path}:1: statement without end (a ; or a quote is missing)",
        "one character beyond the first plane": f"{path}:1: statement without end (a ; or a quote is missing)",
        "rows": "1",
        "statements": "20000",
    }
    assert said == expected[kind]
    assert took < 60
    assert megabytes < 128
