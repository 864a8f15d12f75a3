"""Runs SQL scripts all or nothing, reports where one failed, and logs which verified numbers they changed.

SQLite's error about a foreign key names neither table nor value. So the loader then runs the statement again with the check
deferred, and looks up the rows whose parent is missing.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from peewee import Database, DatabaseError, IntegrityError, InterfaceError

from fsroute.data import audit, roles, script_postgresql, script_sqlite, scripts
from fsroute.data.audit import Author, Watch
from fsroute.data.checks import problems
from fsroute.data.database import database_errors, execute_literally, execute_whole, is_sqlite, without_password
from fsroute.data.schema import schema
from fsroute.data.script_rules import VERIFIED, Refused
from fsroute.data.scripts import Script, Statement
from fsroute.errors import DataError
from fsroute.text import printable

_BETWEEN = re.compile(r"(?:[\s;\ufeff]|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
"""What may be between the statements of schema.sql."""


def make_tables(database: Database, url: str) -> None:
    """Runs schema.sql. It puts SQLite into WAL mode permanently, so that calls do not wait for loads. Raises DataError.

    On PostgreSQL the owner also grants the other roles what they need on the new tables.
    """
    path = Path("schema.sql")
    with database_errors(url), database.connection_context():
        if is_sqlite(database):
            database.execute_sql("PRAGMA journal_mode = WAL")
        with database.atomic():
            if is_sqlite(database):
                for statement in statements(schema(), path):
                    _run(database, path, statement)
            else:
                # The text is cut by SQLite's lexer. PostgreSQL's triggers are in comments that only PostgreSQL reads
                # differently, so it gets the whole text.
                execute_whole(database, schema())
                roles.grant(database)


def load(database: Database, url: str, paths: Iterable[Path], now: datetime, actor: str) -> int:
    """Runs the scripts in one transaction and returns the number of statements. Their changes to verified_numbers go into
    the audit log in the same transaction, with `actor` as the person.

    Scripts change and read rows of the tables that route calls, and nothing else (`script_rules`). Raises DataError, with
    file, line and reason; then nothing has changed. Raises ConfigError if PostgreSQL's parser is not installed.
    """
    run = _run_on_sqlite if is_sqlite(database) else _run_on_postgresql
    dialect = scripts.SQLITE if is_sqlite(database) else scripts.POSTGRESQL
    read = [scripts.read(path, dialect) for path in paths]
    author = Author(actor, _origin([script.path for script in read]))
    with database_errors(url), database.connection_context():
        run(database, url, read, Watch(database, now, author))
    return sum(map(len, read))


def _origin(paths: list[Path]) -> str:
    """The origin of a load's changes: the names of its files, cut to one line."""
    names = printable("load: " + ", ".join(path.name for path in paths))
    return names if len(names) <= audit.MAX_LENGTH else names[: audit.MAX_LENGTH - 3] + "..."


@contextmanager
def _placed(where: str) -> Iterator[None]:
    """Puts a place (the database, or a file and a line) before the reason why something is refused, and before the message
    of the database."""
    try:
        yield
    except Refused as refused:
        raise DataError(f"{where}: {refused}") from refused
    except (DatabaseError, InterfaceError) as error:
        raise DataError(f"{where}: {_one_line(error)}") from error


def _run_on_sqlite(database: Database, url: str, read: list[Script], watch: Watch) -> None:
    # A write lock from the start: otherwise a load fails late when another one began to write in between.
    with audit.exclusive(database, url):
        with _placed(f"database {url}"):
            guard = script_sqlite.Guard(database, schema())
        for where, statement in _all(read):
            with _placed(where):
                try:
                    _execute(database, guard, statement.text)
                except script_sqlite.NotRemembered:
                    watch.remember()
                    guard.allow_verified()
                    _execute(database, guard, statement.text)
        _finish(database, watch)


def _run_on_postgresql(database: Database, url: str, read: list[Script], watch: Watch) -> None:
    script_postgresql.check_parser()
    place = f"database {without_password(url)}"
    with _placed(place):
        schema_name = script_postgresql.schema_of_tables(database)
    use = script_postgresql.Use()
    for where, statement in _all(read):
        with _placed(where):
            use.add(script_postgresql.use_of(statement.text, schema_name))
    writes_verified = VERIFIED in use.written
    # Only a load that changes verified numbers keeps others from verifying some meanwhile.
    with audit.exclusive(database, url) if writes_verified else database.atomic():
        with _placed(place):
            guard = script_postgresql.Guard(database, schema(), schema_name, use)
        if writes_verified:
            watch.remember()
        with _placed(place), guard.scripts():
            for where, statement in _all(read):
                with _placed(where):
                    guard.run(statement.text)
        _finish(database, watch)


def _all(read: list[Script]) -> Iterator[tuple[str, Statement]]:
    """Each statement, and its file and line."""
    return ((f"{script.path}:{statement.line}", statement) for script in read for statement in script)


def _finish(database: Database, watch: Watch) -> None:
    found = problems(database)
    if found:
        raise DataError("\n".join(found))
    watch.record()


def _execute(database: Database, guard: script_sqlite.Guard, text: str) -> None:
    try:
        with guard.statement(text):
            database.execute_sql(text).fetchall()
    except IntegrityError as error:
        if "FOREIGN KEY constraint failed" in str(error) and (reason := _dangling(database, guard, text)):
            raise Refused(reason) from error
        raise


def _dangling(database: Database, guard: script_sqlite.Guard, text: str) -> str | None:
    """The row of the statement whose parent is missing (SQLite). Leaves the database unchanged."""
    with database.atomic() as again:
        database.execute_sql("PRAGMA defer_foreign_keys = ON")
        try:
            with guard.statement(text):
                database.execute_sql(text).fetchall()
            for table, row, parent, key in database.execute_sql("PRAGMA foreign_key_check").fetchall():
                return _dangling_row(database, table, row, parent, key)
        except DatabaseError:
            return None
        finally:
            again.rollback()
    return None


def statements(text: str, path: Path) -> Iterator[Statement]:
    """Cuts SQL of fsroute's own into statements where SQLite's own lexer finds their ends: it may make triggers.

    Raises DataError for a statement that does not end.
    """
    start, line, counted = 0, 1, 0
    while start < len(text):
        skipped = _BETWEEN.match(text, start)
        start = skipped.end() if skipped else start
        if start == len(text):
            return
        end = text.find(";", start)
        while end >= 0 and not sqlite3.complete_statement(text[start : end + 1]):
            end = text.find(";", end + 1)
        line, counted = line + text.count("\n", counted, start), start
        if end < 0:
            raise DataError(f"{path}:{line}: statement without end (a ; or a quote is missing)")
        yield Statement(line, text[start : end + 1])
        start = end + 1


def _run(database: Database, path: Path, statement: Statement) -> None:
    with _placed(f"{path}:{statement.line}"):
        execute_literally(database, statement.text)


def _one_line(error: Exception) -> str:
    """The database's message. PostgreSQL's second line (DETAIL) says which row."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith(("LINE ", "^"))) or type(error).__name__


def _dangling_row(database: Database, table: str, row: int, parent: str, key: int) -> str:
    keys = database.execute_sql(f'PRAGMA foreign_key_list("{table}")').fetchall()
    columns = [str(column[3]) for column in sorted(keys, key=lambda column: column[1]) if column[0] == key]
    selected = ", ".join(f'"{column}"' for column in columns)
    query = f'SELECT {selected} FROM "{table}" WHERE rowid = ?'  # noqa: S608 - names come from the schema
    values: tuple[Any, ...] = database.execute_sql(query, (row,)).fetchone()
    pairs = ", ".join(f"{column} = {value}" for column, value in zip(columns, values, strict=True))
    return f"{table}: {pairs} points nowhere: no such row in {parent}"
