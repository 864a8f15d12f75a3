"""Runs SQL scripts all or nothing, says where one failed, and writes down which verified numbers they changed.

SQLite's own complaint about a foreign key names neither table nor value. When it comes, the statement is run once more
with the check put off, and the rows that point nowhere are looked up.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from peewee import Database, DatabaseError, InterfaceError

from fsroute.data import audit
from fsroute.data.audit import Author
from fsroute.data.checks import problems
from fsroute.data.database import database_errors, execute_literally, execute_whole, is_sqlite, schema
from fsroute.errors import DataError
from fsroute.text import printable

_BETWEEN = re.compile(r"(?:[\s;\ufeff]|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
"""What may stand between statements. A byte order mark too: SQLite skips it anywhere, so it could hide a statement."""
_FORBIDDEN = frozenset(
    {"abort", "analyze", "attach", "begin", "checkpoint", "commit", "copy", "detach", "do", "end", "listen", "load"}
    | {"lock", "pragma", "prepare", "reindex", "release", "reset", "rollback", "savepoint", "set", "start", "vacuum"}
)
"""Statements that would end the transaction that makes a load all or nothing, or reach beyond the tables."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and the line of the file where it begins (from 1)."""

    line: int
    text: str


def make_tables(database: Database, url: str) -> None:
    """Runs schema.sql. SQLite is put into WAL mode for good, so that loads do not make calls wait."""
    path = Path("schema.sql")
    with database_errors(url), database.connection_context():
        if is_sqlite(database):
            database.execute_sql("PRAGMA journal_mode = WAL")
        with database.atomic():
            if is_sqlite(database):
                for statement in statements(schema(), path):
                    _run(database, path, statement)
            else:
                # Where statements are cut is SQLite's view, and the triggers stand in comments that only PostgreSQL
                # reads as such.
                execute_whole(database, schema())


def load(database: Database, url: str, paths: Iterable[Path], now: datetime, actor: str) -> int:
    """Runs the files in one transaction and returns the number of statements. What they change in verified_numbers goes
    into the audit log with it, in the name of `actor`.

    Raises DataError, with file, line and reason, after which nothing has changed.
    """
    scripts = [(path, list(statements(_read(path), path))) for path in paths]
    for path, script in scripts:
        for statement in script:
            if "audit_log" in statement.text.lower():
                raise DataError(
                    f"{path}:{statement.line}: audit_log is not for scripts: fsroute writes it, nobody changes it"
                )
    author = Author(actor, _origin([path for path, _ in scripts]))
    with database_errors(url), database.connection_context(), _transaction(database, url, scripts, now, author):
        for path, script in scripts:
            for statement in script:
                _run(database, path, statement)
        found = problems(database)
        if found:
            raise DataError("\n".join(found))
    return sum(len(script) for _, script in scripts)


def _origin(paths: list[Path]) -> str:
    """Where a load's changes come from: the names of its files, as far as a line holds them."""
    names = printable("load: " + ", ".join(path.name for path in paths))
    return names if len(names) <= audit.MAX_LENGTH else names[: audit.MAX_LENGTH - 3] + "..."


def _transaction(
    database: Database, url: str, scripts: list[tuple[Path, list[Statement]]], now: datetime, author: Author
) -> AbstractContextManager[Any]:
    """The transaction of a load. Only one that may touch verified_numbers pays for the comparison."""
    if any("verified_numbers" in statement.text.lower() for _, script in scripts for statement in script):
        return _logged(database, url, now, author)
    # A write lock from the start: another load that began to write in between would make this one fail late.
    return database.atomic("IMMEDIATE") if is_sqlite(database) else database.atomic()


@contextmanager
def _logged(database: Database, url: str, now: datetime, author: Author) -> Iterator[None]:
    with audit.exclusive(database, url), audit.watching(database, now, author):
        yield


def statements(text: str, path: Path) -> Iterator[Statement]:
    """Cuts a script into its statements, where SQLite's own lexer sees their ends.

    Raises DataError for one that does not end, or that would interfere with the transaction.
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
        statement = Statement(line, text[start : end + 1])
        word = re.match(r"\w*", statement.text)
        if word and word[0].lower() in _FORBIDDEN:
            raise DataError(f"{path}:{line}: {word[0].upper()} can not be loaded: fsroute load is one transaction")
        yield statement
        start = end + 1


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if "\0" in text:
        raise DataError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: has a NUL in it")
    return text


def _run(database: Database, path: Path, statement: Statement) -> None:
    try:
        with database.atomic():
            execute_literally(database, statement.text)
    except (DatabaseError, InterfaceError) as error:
        reason = _one_line(error)
        if "FOREIGN KEY constraint failed" in reason:
            reason = _dangling(database, statement.text) or reason
        raise DataError(f"{path}:{statement.line}: {reason}") from error


def _one_line(error: Exception) -> str:
    """The database's message. PostgreSQL's second line (DETAIL) says which row."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith(("LINE ", "^"))) or type(error).__name__


def _dangling(database: Database, sql: str) -> str | None:
    """Which row of the statement points nowhere (SQLite). Leaves the database as it was."""
    with database.atomic() as again:
        database.execute_sql("PRAGMA defer_foreign_keys = ON")
        try:
            database.execute_sql(sql)
            for table, row, parent, key in database.execute_sql("PRAGMA foreign_key_check").fetchall():
                return _dangling_row(database, table, row, parent, key)
        except DatabaseError:
            return None
        finally:
            again.rollback()
    return None


def _dangling_row(database: Database, table: str, row: int, parent: str, key: int) -> str:
    keys = database.execute_sql(f'PRAGMA foreign_key_list("{table}")').fetchall()
    columns = [str(column[3]) for column in sorted(keys, key=lambda column: column[1]) if column[0] == key]
    selected = ", ".join(f'"{column}"' for column in columns)
    query = f'SELECT {selected} FROM "{table}" WHERE rowid = ?'  # noqa: S608 - names come from the schema
    values: tuple[Any, ...] = database.execute_sql(query, (row,)).fetchone()
    pairs = ", ".join(f"{column} = {value}" for column, value in zip(columns, values, strict=True))
    return f"{table}: {pairs} points nowhere: no such row in {parent}"
