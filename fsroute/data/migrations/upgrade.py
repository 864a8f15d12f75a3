"""Brings the tables of a database forward to schema.sql, in one transaction, with all rows.

It compares what is there with what schema.sql makes, and does not believe the version number: tables of version 3 got
columns without a new number. What a comparison cannot know, the values of old rows in new columns, is in rows.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from peewee import Database, OperationalError

from fsroute.data import audit, roles
from fsroute.data.database import (
    DATABASE_ERRORS,
    execute_whole,
    explain_failure,
    is_sqlite,
    without_password,
)
from fsroute.data.migrations import postgresql, rows, sqlite
from fsroute.data.migrations.target import Table, Target, target
from fsroute.data.schema import Version, new_version, read_versions, schema
from fsroute.errors import DataError

WAIT_S = 30.0
"""How long an upgrade waits in all for other processes that use the tables: longer than a load of a million rows takes to
commit."""

_LOCK_MS = 200
"""How long one attempt waits for PostgreSQL's locks. Whoever reads a table meanwhile waits behind the upgrade, so it is
less than the 500 ms within which a call must be decided."""

_PAUSE_S = 0.5
"""The pause between two attempts: calls are decided in it."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did, or would do.

    `before` is None if the version was missing. `statements` are empty if nothing was to be done. `notes` are lines about
    values that somebody must check.
    """

    before: Version | None
    after: Version
    statements: list[str]
    notes: list[str]


def upgrade(
    database: Database,
    url: str,
    *,
    dry_run: bool = False,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] | None = None,
) -> Upgrade:
    """Brings the tables to the version of schema.sql. With `dry_run` it only says what it would do.

    While others use the tables it tries again for `wait_s`; `on_wait` gets the reason, once. Raises DataError, also
    for rows that do not fit the new constraints, one line for each; then nothing has changed.
    """
    deadline = time.monotonic() + wait_s
    waited = False
    while True:
        try:
            with _errors(url), database.connection_context():
                return _on_sqlite(database, dry_run) if is_sqlite(database) else _on_postgresql(database, dry_run)
        except _Busy as busy:
            if time.monotonic() > deadline:
                raise DataError(
                    f"database {without_password(url)}: other processes have used the tables for {wait_s:.0f} s ({busy}); "
                    "nothing was changed: try again when they have finished"
                ) from busy
            if on_wait and not waited:
                on_wait(str(busy))
            waited = True
            time.sleep(_PAUSE_S)


class _Busy(Exception):
    """Another process holds a lock. The text says which."""


@contextmanager
def _errors(url: str) -> Iterator[None]:
    """Errors as lines that name the database. What the database itself refuses has changed nothing."""
    try:
        yield
    except DataError as error:
        lines = str(error).splitlines()
        raise DataError("\n".join(f"database {without_password(url)}: {line}" for line in lines)) from error
    except DATABASE_ERRORS as error:
        told = " ".join(line.strip() for line in str(error).splitlines() if line.startswith("DETAIL"))
        raise DataError(f"{explain_failure(url, error)}{' ' + told if told else ''}; nothing was changed") from error


# --- SQLite ---------------------------------------------------------------------------------------------------------


def _on_sqlite(database: Database, dry_run: bool) -> Upgrade:  # noqa: FBT001 - a private function
    wanted = target(schema())
    # It has no effect inside a transaction. The connection is closed afterwards.
    database.execute_sql("PRAGMA foreign_keys = OFF")
    if dry_run:
        with database.atomic():
            return _plan_on_sqlite(database, wanted)
    try:
        with database.atomic("IMMEDIATE"):
            planned = _plan_on_sqlite(database, wanted)
            for statement in planned.statements:
                _run_on_sqlite(database, statement, wanted)
            found = sqlite.dangling(database) if planned.statements else []
            if found:
                raise DataError("\n".join(f"{line}; nothing was changed" for line in found))
            _expect_nothing(_plan_on_sqlite(database, wanted))
            return planned
    except OperationalError as error:
        if "locked" in str(error):
            raise _Busy("another process writes") from error
        raise


def _plan_on_sqlite(database: Database, wanted: Target) -> Upgrade:
    there = sqlite.read(database)
    before = _versions(database, {name for kind, name in there.objects if kind == "table"})
    changed = sqlite.changed(there, wanted)
    _refuse_misfits(database, changed, there.columns)
    steps = sqlite.plan(there, wanted)
    return _planned(database, wanted, before, steps, changed, there.columns)


def _run_on_sqlite(database: Database, statement: str, wanted: Target) -> None:
    try:
        database.execute_sql(statement)
    except DATABASE_ERRORS as error:
        _, unique, keys = str(error).partition("UNIQUE constraint failed: ")
        table, _, _ = keys.partition(".")
        if not unique or table not in wanted.tables:
            raise
        names = keys.replace(f"{table}.", "")
        source = rows.COPY if statement.startswith("INSERT") else table
        query = f"SELECT {names} FROM {source} GROUP BY {names} HAVING COUNT(*) > 1 LIMIT 1"  # noqa: S608 - schema.sql's
        twice = database.execute_sql(query).fetchone()
        raise DataError(f"{table}: more than one row has {_pairs(names.split(', '), twice)}; nothing was changed") from error


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def _on_postgresql(database: Database, dry_run: bool) -> Upgrade:  # noqa: FBT001 - a private function
    wanted = target(schema())
    tables = list(wanted.tables)
    try:
        with database.atomic() as transaction:
            # Not the server's default: after a wait it must see what the other process has written.
            database.execute_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            database.execute_sql(f"SET LOCAL lock_timeout = '{_LOCK_MS}ms'")
            _become_the_owner(database)
            contents = postgresql.read_wanted(database, schema())
            planned = _plan_on_postgresql(database, wanted, contents)
            if dry_run:
                transaction.rollback()
                return planned
            if planned.statements:
                _lock(database, tables)
                planned = _plan_on_postgresql(database, wanted, contents)
                for statement in planned.statements:
                    execute_whole(database, statement)
                _expect_nothing(_plan_on_postgresql(database, wanted, contents))
                roles.grant(database)
                # Running servers forget what they have read.
                database.execute_sql("SELECT pg_notify('fsroute', '')")
            return planned
    except OperationalError as error:
        if "lock timeout" not in str(error):
            raise
        holding = postgresql.holders(database, tables)
        raise _Busy(f"processes: {', '.join(holding)}" if holding else "another process changes them") from error


def _lock(database: Database, tables: list[str]) -> None:
    """Waits for the other writers of fsroute, then for everybody who uses one of the tables."""
    database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (audit.LOCK,))
    there = set(database.get_tables())
    execute_whole(database, f"LOCK TABLE {', '.join(name for name in tables if name in there)} IN ACCESS EXCLUSIVE MODE")


def _become_the_owner(database: Database) -> None:
    """Acts as the owner of the tables, whom new tables must belong to as well. Raises DataError if this role may not."""
    ((name, user, owner, is_member, may_create),) = database.execute_sql(
        "SELECT current_database(), current_user, r.rolname, pg_has_role(c.relowner, 'MEMBER'),"
        " has_database_privilege(r.oid, current_database(), 'CREATE')"
        " FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner WHERE c.oid = to_regclass('schema_version')"
    ).fetchall() or ((None,) * 5,)
    if owner is None:
        raise DataError("has no fsroute tables (fsroute init makes them)")
    if not is_member:
        raise DataError(f"the tables belong to {owner}, and {user} may not change them: connect as {owner}")
    if not may_create:
        raise DataError(
            f"{owner} may not create a schema, as an upgrade does for a moment: GRANT CREATE ON DATABASE {name} TO {owner}"
        )
    if owner != user:
        execute_whole(database, f'SET LOCAL ROLE "{owner}"')


def _plan_on_postgresql(database: Database, wanted: Target, contents: postgresql.Contents) -> Upgrade:
    ((schema_name,),) = database.execute_sql("SELECT current_schema()").fetchall()
    there = postgresql.read(database, schema_name)
    before = _versions(database, set(there.columns))
    changed = postgresql.changed(there, contents, wanted)
    columns = {table: [name for name, *_ in found] for table, found in there.columns.items()}
    _refuse_misfits(database, changed, columns)
    steps = postgresql.plan(there, contents, wanted)
    return _planned(database, wanted, before, steps, changed, columns)


# --- both -----------------------------------------------------------------------------------------------------------


def _versions(database: Database, tables: set[str]) -> list[Version]:
    """The rows of schema_version. Raises DataError if there is nothing to bring forward, or a newer fsroute made it."""
    if "schema_version" not in tables:
        raise DataError("has no fsroute tables (fsroute init makes them)")
    found, new = read_versions(database), new_version()
    newest = max((version.tables for version in found), default=0)
    if newest > new.tables:
        raise DataError(f"its tables have version {newest}, and this fsroute has {new.tables}: install a newer fsroute")
    return found


def _refuse_misfits(database: Database, changed: list[Table], there: dict[str, list[str]]) -> None:
    """Raises DataError if rows do not fit the constraints of schema.sql, one line for each."""
    found = []
    for table in changed:
        if table.name == "schema_version":
            continue
        for constraint, query in rows.misfits(table, there[table.name]):
            keys = database.execute_sql(query if is_sqlite(database) else query.replace("%", "%%")).fetchall()
            found += [
                f"{table.name}: {_pairs(table.key, key)} does not fit {constraint}; nothing was changed" for key in keys
            ]
    if found:
        raise DataError("\n".join(found))


def _planned(
    database: Database,
    wanted: Target,
    before: list[Version],
    steps: list[str],
    changed: list[Table],
    there: dict[str, list[str]],
) -> Upgrade:
    """The whole upgrade: the steps, and the row of schema_version around them."""
    after = new_version()
    if steps or before != [after]:
        [insert] = wanted.tables["schema_version"].inserts
        steps = ["DELETE FROM schema_version", *steps, insert.removesuffix(";")]
    notes = [note for table in changed for note in _notes(database, table, there[table.name])]
    return Upgrade(before[0] if len(before) == 1 else None, after, steps, notes)


def _notes(database: Database, table: Table, there: list[str]) -> Iterator[str]:
    """The guessed values of old rows, one line each."""
    for column in rows.guesses(table, there):
        key = ", ".join(table.key)
        query = f"SELECT {key}, {rows.value(table, column)} FROM {table.name} ORDER BY {key}"  # noqa: S608 - schema.sql's names
        for row in database.execute_sql(query).fetchall():
            yield f"{table.name}: {_pairs(table.key, row)}: {column.name} is new, and gets {row[-1]}: check it"


def _pairs(names: tuple[str, ...] | list[str], values: Any) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=False))


def _expect_nothing(planned: Upgrade) -> None:
    """The database must now be what schema.sql makes: a defect here must not be committed."""
    if planned.statements:
        raise DataError(
            f"the upgrade did not reach its aim, a defect of fsroute ({planned.statements[1][:200]}); nothing was changed"
        )
