"""fsroute upgrade, from every earlier schema, on both databases."""

# ruff: noqa: S608, ISC004 - rows and statements of tests

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from peewee import IntegrityError

from fsroute.data import loader
from fsroute.data.database import execute_literally, is_sqlite, open_database
from fsroute.data.migrations import rows as row_rules
from fsroute.data.migrations.upgrade import Upgrade, upgrade
from fsroute.data.schema import Version, check_version
from fsroute.errors import DataError
from tests.support.postgresql import Databases
from tests.support.schemas import DIRECTORY, SCHEMAS, Rows, old_database, parts_of, rows_of
from tests.support.server import applications, call, serving
from tests.support.tables import DEMO, LOADED

NEW = Version(tables=4, oldest=3)
NEWEST_OLD = SCHEMAS[-1]
MORE_ROWS = DIRECTORY / "rows.sql"
"""Rows of every table that version 2 and later have, with text that a careless copy would change."""

LONG = "x" * 201

every_schema = pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)


def old(databases: Databases, schema: Path, *scripts: Path) -> str:
    return old_database(databases.empty(), schema, *scripts)


def upgraded(url: str, **options: Any) -> Upgrade:
    return upgrade(open_database(url), url, **options)


def refused(url: str, **options: Any) -> list[str]:
    """The lines of the error, without the database's name."""
    with pytest.raises(DataError) as raised:
        upgraded(url, **options)
    return [line.removeprefix(f"database {url}: ") for line in str(raised.value).splitlines()]


def execute(url: str, *statements: str) -> None:
    database = open_database(url)
    with database.connection_context():
        if is_sqlite(database):
            # What the sqlite3 program lets through: foreign keys are off there.
            database.execute_sql("PRAGMA foreign_keys = OFF")
        for statement in statements:
            database.execute_sql(statement)


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    database = open_database(url)
    with database.connection_context():
        found: list[tuple[Any, ...]] = database.execute_sql(query).fetchall()
        return found


# --- what becomes of a database -------------------------------------------------------------------------------------


@every_schema
def test_an_upgraded_database_is_a_new_one(databases: Databases, schema: Path, tables_url: str) -> None:
    url = old(databases, schema)
    done = upgraded(url)
    assert parts_of(url) == parts_of(tables_url)
    assert (done.before, done.after) == (Version(*[int(schema.stem[-1])] * 2), NEW)
    check_version(open_database(url), url)


@every_schema
def test_no_row_is_lost_or_changed(databases: Databases, schema: Path) -> None:
    more = [MORE_ROWS] if schema.stem[-1] != "1" else []
    url = old(databases, schema, *more)
    before = rows_of(url)
    upgraded(url)
    after = rows_of(url)
    assert {table: kept(after, before, table) for table in before} == before | {"schema_version": [{"version": 3}]}
    assert after["schema_version"] == [{"version": 3, "tables_version": 4}]
    assert len(after["identity_profiles"]) == 5 + len(more)


def kept(after: Rows, before: Rows, table: str) -> list[dict[str, Any]]:
    """The rows of a table with the columns that it had before."""
    names = before[table][0].keys() if before[table] else ()
    return sorted(({name: row[name] for name in names} for row in after[table]), key=str)


CALLS = ["+492214710100", "+492214710200", "+492214710300", "+492214710400", "+492214710500", "+4930999999", "+4989999999"]


@pytest.mark.parametrize("schema", SCHEMAS[::3], ids=lambda path: path.stem)
def test_the_same_calls_are_decided_as_on_a_new_database(databases: Databases, schema: Path, tmp_path: Path) -> None:
    """The new one gets the rows of the upgraded one, through the loader."""
    url, new = old(databases, schema), databases.filled()
    upgraded(url)
    execute(new, "DELETE FROM identity_profiles")
    script = tmp_path / "rows.sql"
    script.write_text("".join(inserts(rows_of(url), url)))
    loader.load(open_database(new), new, [script], *LOADED)
    decided = {}
    for name, served in (("upgraded", url), ("new", new)):
        (tmp_path / name).mkdir()
        with serving(served, tmp_path / name) as server:
            decided[name] = [applications(call(server, to).commands) for to in CALLS]
    assert decided["upgraded"] == decided["new"]
    assert len({str(commands) for commands in decided["new"]}) > 3


def inserts(rows: Rows, url: str) -> list[str]:
    """The rows as a script, tables in the order of schema.sql."""
    order = re.findall(r"(?m)^CREATE TABLE (\w+)", (Path(__file__).parents[3] / "schema.sql").read_text())
    assert set(order) == set(rows), url
    return [
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(map(literal, row.values()))});\n"
        for table in order
        if table not in ("schema_version", "audit_log")
        for row in rows[table]
    ]


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, bool | int) else f"'{value}'"


def test_a_second_upgrade_has_nothing_to_do(databases: Databases) -> None:
    url = old(databases, SCHEMAS[0])
    assert upgraded(url).statements
    before = parts_of(url)
    assert upgraded(url) == Upgrade(NEW, NEW, [], [])
    assert upgraded(url, dry_run=True).statements == []
    assert parts_of(url) == before


def test_a_new_database_has_nothing_to_do(changeable_demo_url: str) -> None:
    assert upgraded(changeable_demo_url) == Upgrade(NEW, NEW, [], [])


@every_schema
def test_a_dry_run_shows_the_statements_and_changes_nothing(databases: Databases, schema: Path) -> None:
    url = old(databases, schema)
    before = parts_of(url), rows_of(url)
    shown = upgraded(url, dry_run=True)
    assert (parts_of(url), rows_of(url)) == before
    assert upgraded(url) == shown


def test_values_that_somebody_must_check_are_noted(databases: Databases) -> None:
    url = old(databases, SCHEMAS[0])
    execute(url, "INSERT INTO trunks (name, gateway, country) VALUES ('spare', 'spare', 'DE')")
    notes = [
        "trunks: name = carrier: domain is new, and gets acme.example: check it",
        "trunks: name = spare: domain is new, and gets unknown.invalid: check it",
    ]
    assert upgraded(url, dry_run=True).notes == notes
    assert upgraded(url).notes == notes
    assert ask(url, "SELECT name, domain FROM trunks ORDER BY name") == [
        ("carrier", "acme.example"),
        ("spare", "unknown.invalid"),
    ]


# --- what is there counts, not the number ---------------------------------------------------------------------------


def test_a_wrong_number_is_corrected(databases: Databases, tables_url: str) -> None:
    url = old(databases, SCHEMAS[2])
    execute(url, "DELETE FROM schema_version")
    assert upgraded(url).before is None
    assert (parts_of(url), ask(url, "SELECT * FROM schema_version")) == (parts_of(tables_url), [(3, 4)])
    execute(url, "INSERT INTO schema_version (version, tables_version) VALUES (2, 2)")
    assert upgraded(url).statements[0] == "DELETE FROM schema_version"
    assert ask(url, "SELECT * FROM schema_version") == [(3, 4)]


@pytest.mark.parametrize(
    ("damage", "on"),
    [
        ("DROP INDEX verified_blocks", "both"),
        ("DROP TABLE rule_callers", "both"),
        ("DROP TRIGGER audit_log_is_not_updated", "sqlite"),
        ("DROP TRIGGER tell_change ON numbers", "postgresql"),
        ("DROP TRIGGER audit_log_is_append_only ON audit_log", "postgresql"),
        ("ALTER TABLE audit_log DISABLE TRIGGER ALL", "postgresql"),
        ("ALTER TABLE accounts DROP CONSTRAINT account_status_is_known", "postgresql"),
        ("ALTER TABLE trunk_routes DROP CONSTRAINT trunk_routes_trunk_fkey", "postgresql"),
        ("ALTER TABLE trunks ALTER COLUMN enabled SET DEFAULT FALSE", "postgresql"),
        ("ALTER TABLE trunks ALTER COLUMN domain DROP NOT NULL", "postgresql"),
        ("ALTER TABLE accounts DROP COLUMN area_code", "postgresql"),
        ("DROP FUNCTION tell_change() CASCADE", "postgresql"),
        (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
            "postgresql",
        ),
    ],
)
def test_what_somebody_has_changed_is_put_right(databases: Databases, damage: str, on: str, demo_url: str) -> None:
    url = databases.filled(DEMO)
    if on not in ("both", "sqlite" if url.startswith("sqlite") else "postgresql"):
        return
    execute(url, damage)
    before = rows_of(url)
    assert parts_of(url) != parts_of(demo_url)
    upgraded(url)
    assert parts_of(url) == parts_of(demo_url)
    after = rows_of(url)
    assert {table: kept(after, before, table) for table in before} == before


def test_what_an_operator_has_added_stays(databases: Databases) -> None:
    """Their tables, views, indexes and triggers, also those on a table that is made again."""
    url = old(databases, SCHEMAS[1])
    trigger = (
        "CREATE TRIGGER mine AFTER INSERT ON trunks BEGIN INSERT INTO notes VALUES (NEW.name); END"
        if url.startswith("sqlite")
        else "CREATE TRIGGER mine AFTER INSERT ON trunks EXECUTE FUNCTION notice()"
    )
    execute(
        url,
        "CREATE TABLE notes (text TEXT)",
        "INSERT INTO notes VALUES ('mine')",
        "CREATE VIEW active AS SELECT name FROM accounts WHERE status = 'active'",
        "CREATE INDEX trunks_by_gateway ON trunks (gateway)",
        *(
            []
            if url.startswith("sqlite")
            else ["CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"]
        ),
        trigger,
    )
    if not url.startswith("sqlite"):
        execute(url, "ALTER TABLE trunks ADD CONSTRAINT mine CHECK (gateway <> 'x')", "GRANT SELECT ON trunks TO pg_monitor")
    names = {"notes", "active", "trunks_by_gateway", "mine", "notice"}
    own = [part for part in parts_of(url) if names.intersection(part) and "index_list" not in part]
    assert len(own) >= 4
    upgraded(url)
    assert [part for part in own if part not in parts_of(url)] == []
    if not url.startswith("sqlite"):
        assert ask(url, "SELECT has_table_privilege('pg_monitor', 'trunks', 'SELECT')") == [(True,)]
    assert ask(url, "SELECT * FROM notes") == [("mine",)]
    assert ask(url, "SELECT * FROM active") == [("acme",)]


def test_rows_that_point_to_a_table_that_is_made_again_stay(databases: Databases) -> None:
    """With foreign keys on, SQLite's DROP TABLE deletes the rows first, and a cascade those of other tables (efcore 37598,
    drizzle-orm 5782). PRAGMA foreign_keys has no effect inside a transaction."""
    url = old(databases, SCHEMAS[0])
    execute(
        url,
        "CREATE TABLE prices (account TEXT REFERENCES accounts (name) ON DELETE CASCADE,"
        " trunk TEXT REFERENCES trunks (name) ON DELETE SET NULL)",
        "INSERT INTO prices VALUES ('acme', 'carrier')",
    )
    upgraded(url)
    assert ask(url, "SELECT * FROM prices") == [("acme", "carrier")]
    database = open_database(url)
    with database.connection_context(), pytest.raises(IntegrityError, match=r"(?i)foreign key"), database.atomic():
        database.execute_sql("INSERT INTO prices VALUES ('nobody', 'carrier')")


def test_an_upgrade_that_was_begun_by_hand_is_finished(databases: Databases, tables_url: str) -> None:
    """Numbered steps end here: the column exists already (phpipam 3563, Home Assistant 37293)."""
    url = old(databases, SCHEMAS[5])
    execute(url, "ALTER TABLE accounts ADD COLUMN area_code TEXT", "UPDATE accounts SET area_code = '221'")
    upgraded(url)
    assert parts_of(url) == parts_of(tables_url)
    assert ask(url, "SELECT DISTINCT area_code FROM accounts") == [("221",)]


def test_a_column_that_fsroute_does_not_know_is_not_lost(databases: Databases) -> None:
    url = old(databases, SCHEMAS[1])
    execute(url, "ALTER TABLE trunks ADD COLUMN price TEXT", "UPDATE trunks SET price = 'much'")
    before = parts_of(url), rows_of(url)
    assert refused(url) == [
        "trunks: has the column price, which fsroute does not know, and the upgrade makes the table again: move that"
        " column into a table of your own first; nothing was changed"
    ]
    assert (parts_of(url), rows_of(url)) == before


def test_on_postgresql_a_table_stays_in_place_where_only_columns_are_added_behind(
    databases: Databases,
) -> None:
    """A copy of a large table would hold up calls for as long as it takes."""
    url = old(databases, NEWEST_OLD)
    if url.startswith("sqlite"):
        assert set(made_again(upgraded(url))) == {"schema_version"}
        return
    files = "SELECT relname, relfilenode, oid FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    before = ask(url, files)
    upgraded(url)
    assert ask(url, files) == before


def made_again(done: Upgrade) -> list[str]:
    return [statement.split()[-1] for statement in done.statements if f"CREATE TABLE {row_rules.COPY}" in statement]


# --- what is refused ------------------------------------------------------------------------------------------------


def test_rows_that_do_not_fit_are_named_and_nothing_changes(databases: Databases) -> None:
    """Version 2 got a constraint on blocks while it was being made."""
    url = old(databases, SCHEMAS[2])
    verified = "'call', 'verified', '2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z'"
    execute(
        url,
        "INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at)"
        f" VALUES ('acme', '+492219990000', '+492219999999', {verified}),"
        f" ('acme', '+492218880000', '+492218999999', {verified})",
        "INSERT INTO audit_log (id, at, actor, origin, action, account, first_number, last_number) VALUES"
        " (0, '2026-01-01T00:00:00Z', 'me', 'here', 'loaded', 'acme', '+492219990000', '+492219990000'),"
        f" (7, '2026-01-01T00:00:00Z', '{LONG}', 'here', 'loaded', 'acme', '+492219990000', '+492219990000')",
    )
    before = parts_of(url), rows_of(url)
    lines = [
        "verified_numbers: account = acme, first_number = +492218880000 does not fit"
        " verified_numbers_of_a_block_differ_in_four_digits; nothing was changed",
        "audit_log: id = 0 does not fit audit_id_is_counted; nothing was changed",
        "audit_log: id = 7 does not fit audit_says_who; nothing was changed",
    ]
    assert (refused(url), refused(url, dry_run=True)) == (lines, lines)
    assert (parts_of(url), rows_of(url)) == before


def test_rows_that_exist_twice_are_named(databases: Databases) -> None:
    url = old(databases, NEWEST_OLD)
    execute(
        url,
        "DROP INDEX one_primary_number_per_user",
        "UPDATE user_numbers SET user_name = 'reception' WHERE account = 'acme'",
    )
    before = parts_of(url), rows_of(url)
    [line] = refused(url)
    if url.startswith("sqlite"):
        assert line == "user_numbers: more than one row has account = acme, user_name = reception; nothing was changed"
    else:
        assert line.startswith('could not create unique index "one_primary_number_per_user"')
        assert line.endswith("Key (account, user_name)=(acme, reception) is duplicated.; nothing was changed")
    assert (parts_of(url), rows_of(url)) == before


def test_a_row_that_points_nowhere_is_named(databases: Databases) -> None:
    url = old(databases, NEWEST_OLD)
    if url.startswith("sqlite"):
        execute(url, "UPDATE endpoints SET user_name = 'nobody' WHERE name = '1001'")
        expected = "endpoints: account = acme, user_name = nobody points nowhere: no such row in users; nothing was changed"
    else:
        execute(
            url,
            "ALTER TABLE endpoints DROP CONSTRAINT endpoints_account_user_name_fkey",
            "UPDATE endpoints SET user_name = 'nobody' WHERE name = '1001'",
        )
        expected = (
            'insert or update on table "endpoints" violates foreign key constraint "endpoints_account_user_name_fkey"'
            ' DETAIL:  Key (account, user_name)=(acme, nobody) is not present in table "users".; nothing was changed'
        )
    before = parts_of(url), rows_of(url)
    assert refused(url) == [expected]
    assert (parts_of(url), rows_of(url)) == before


def test_an_upgrade_that_misses_its_aim_is_undone(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    url = old(databases, SCHEMAS[1])
    before = parts_of(url), rows_of(url)
    real = row_rules.made_again
    monkeypatch.setattr(row_rules, "made_again", lambda table, there: [*real(table, there), f"DROP TABLE {table.name}"])
    [line] = refused(url)
    assert line.endswith("; nothing was changed")
    assert (parts_of(url), rows_of(url)) == before


def test_tables_of_a_newer_fsroute_are_left_alone(tables_url: str) -> None:
    execute(tables_url, "UPDATE schema_version SET version = 4, tables_version = 5")
    assert refused(tables_url) == ["its tables have version 5, and this fsroute has 4: install a newer fsroute"]


def test_a_database_that_is_not_fsroutes(databases: Databases) -> None:
    url = databases.empty()
    database = open_database(url, create=True)
    with database.connection_context():
        database.execute_sql("CREATE TABLE things (name TEXT)")
    assert refused(url) == ["has no fsroute tables (fsroute init makes them)"]


# --- while others use the database ----------------------------------------------------------------------------------


def test_an_upgrade_waits_for_another_process_and_says_so(databases: Databases) -> None:
    url = old(databases, NEWEST_OLD)
    other = open_database(url)
    said: list[str] = []
    with other.connection_context():
        other.execute_sql("BEGIN IMMEDIATE" if is_sqlite(other) else "BEGIN")
        other.execute_sql("UPDATE accounts SET status = 'trial'")

        def wait(reason: str) -> None:
            said.append(reason)
            released.start()

        released = threading.Timer(0.3, lambda: None)
        thread = threading.Thread(target=lambda: done.append(upgraded(url, on_wait=wait)))
        done: list[Upgrade] = []
        thread.start()
        while not said:
            assert thread.is_alive()
            time.sleep(0.01)
        other.execute_sql("COMMIT")
        thread.join(60)
    assert [made.after for made in done] == [NEW]
    assert len(said) == 1
    assert (
        "another process writes" in said[0] if is_sqlite(other) else re.fullmatch(r"processes: \d+ \(fsroute, .*\)", said[0])
    )
    assert ask(url, "SELECT DISTINCT status FROM accounts") == [("trial",)]


def test_an_upgrade_does_not_wait_for_ever(databases: Databases) -> None:
    url = old(databases, NEWEST_OLD)
    other = open_database(url)
    with other.connection_context():
        other.execute_sql("BEGIN IMMEDIATE" if is_sqlite(other) else "BEGIN")
        other.execute_sql("UPDATE accounts SET status = 'trial'")
        [line] = refused(url, wait_s=0)
        other.execute_sql("ROLLBACK")
    assert line.startswith("other processes have used the tables for 0 s (")
    assert line.endswith("); nothing was changed: try again when they have finished")
    who = line.partition("(")[2].rpartition(")")[0]
    assert who == "another process writes" or re.fullmatch(r"processes: \d+ \(fsroute, idle in transaction\)", who)
    assert ask(url, "SELECT * FROM schema_version") == [(3,)]


def test_calls_are_decided_during_an_upgrade(databases: Databases, tmp_path: Path) -> None:
    """The server of this fsroute serves the older tables, and goes on when they are upgraded."""
    url = old(databases, NEWEST_OLD)
    with serving(url, tmp_path) as server:
        expected = applications(call(server, "+492214710100").commands)
        done = threading.Event()

        def run() -> None:
            upgraded(url)
            done.set()

        thread = threading.Thread(target=run)
        thread.start()
        decided: list[list[tuple[str, str]]] = []
        while not done.is_set() or len(decided) < 20:
            decided.append(applications(call(server, "+492214710100").commands))
        thread.join()
        execute(url, "UPDATE numbers SET enabled = FALSE WHERE number = '+492214710100'")
        deadline = time.monotonic() + 10
        while applications(call(server, "+492214710100").commands) == expected:
            assert time.monotonic() < deadline
    assert [commands for commands in decided if commands != expected] == []


# --- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "fsroute", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command(databases: Databases) -> None:
    url = old(databases, SCHEMAS[0])
    refusal = f"fsroute: database {url}: its tables have version 1, and this fsroute needs 3 or newer: run fsroute upgrade\n"
    assert run("explain", "--db", url, "--to", "+492214710100") == (2, "", refusal)
    note = "note: trunks: name = carrier: domain is new, and gets acme.example: check it\n"
    status, out, err = run("upgrade", "--db", url, "--dry-run")
    assert (status, err) == (0, "")
    assert out.startswith("DELETE FROM schema_version;\n")
    assert out.endswith(
        "INSERT INTO schema_version (version, tables_version) VALUES (3, 4);\n"
        f"{note}{url}: would be upgraded from version 1 to version 4, nothing was changed\n"
    )
    assert run("upgrade", "--db", url) == (0, f"{note}{url}: upgraded from version 1 to version 4\n", "")
    assert run("upgrade", "--db", url) == (0, f"{url}: has version 4, nothing to do\n", "")
    assert run("explain", "--db", url, "--to", "+492214710100")[0] == 0


def test_the_printed_statements_can_be_run_by_hand(databases: Databases, tables_url: str) -> None:
    """By somebody who wants to see each of them."""
    url = old(databases, SCHEMAS[1])
    statements = upgraded(url, dry_run=True).statements
    database = open_database(url)
    with database.connection_context():
        if is_sqlite(database):
            database.execute_sql("PRAGMA foreign_keys = OFF")  # as in the sqlite3 program
        with database.atomic():
            for statement in statements:
                execute_literally(database, statement)
    assert parts_of(url) == parts_of(tables_url)
