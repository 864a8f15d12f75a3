"""Runs SQL scripts all or nothing, reports where one failed, and logs which verified numbers they changed.

SQLite's error about a foreign key names neither table nor value. So the loader then runs the statement again with the check
deferred, and looks up the rows whose parent is missing.
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
from fsroute.data.database import database_errors, execute_literally, execute_whole, is_sqlite
from fsroute.data.schema import schema
from fsroute.errors import DataError
from fsroute.text import printable

_BETWEEN = re.compile(r"(?:[\s;\ufeff]|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
"""What may be between statements. A byte order mark too: SQLite skips it anywhere, so it could hide a statement."""
_FORBIDDEN = frozenset(
    {"abort", "analyze", "attach", "begin", "checkpoint", "commit", "copy", "detach", "do", "end", "listen", "load"}
    | {"lock", "pragma", "prepare", "reindex", "release", "reset", "rollback", "savepoint", "set", "start", "vacuum"}
)
"""First words of statements that would end the transaction of a load, or act on more than tables."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and the line of the file where it begins (from 1)."""

    line: int
    text: str


def make_tables(database: Database, url: str) -> None:
    """Runs schema.sql. It puts SQLite into WAL mode permanently, so that calls do not wait for loads. Raises DataError."""
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


def load(database: Database, url: str, paths: Iterable[Path], now: datetime, actor: str) -> int:
    """Runs the files in one transaction and returns the number of statements. Their changes to verified_numbers go into the
    audit log in the same transaction, with `actor` as the person.

    Raises DataError, with file, line and reason; then nothing has changed.
    """
    scripts = [(path, list(statements(_read(path), path))) for path in paths]
    for path, script in scripts:
        for statement in script:
            if "audit_log" in statement.text.lower():
                raise DataError(f"{path}:{statement.line}: a script cannot use audit_log: only fsroute writes it")
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
    """The origin of a load's changes: the names of its files, cut to one line."""
    names = printable("load: " + ", ".join(path.name for path in paths))
    return names if len(names) <= audit.MAX_LENGTH else names[: audit.MAX_LENGTH - 3] + "..."


def _transaction(
    database: Database, url: str, scripts: list[tuple[Path, list[Statement]]], now: datetime, author: Author
) -> AbstractContextManager[Any]:
    """The transaction of a load. Only scripts that name verified_numbers pay for the comparison."""
    if any("verified_numbers" in statement.text.lower() for _, script in scripts for statement in script):
        return _logged(database, url, now, author)
    # A write lock from the start: otherwise a load fails late when another one began to write in between.
    return database.atomic("IMMEDIATE") if is_sqlite(database) else database.atomic()


@contextmanager
def _logged(database: Database, url: str, now: datetime, author: Author) -> Iterator[None]:
    with audit.exclusive(database, url), audit.watching(database, now, author):
        yield


def statements(text: str, path: Path) -> Iterator[Statement]:
    """Cuts a script into statements where SQLite's own lexer finds their ends.

    Raises DataError for a statement that does not end, or that would interfere with the transaction.
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
            raise DataError(f"{path}:{line}: {word[0].upper()} cannot be loaded: fsroute load is one transaction")
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
        raise DataError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: contains a NUL character")
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
    """The row of the statement whose parent is missing (SQLite). Leaves the database unchanged."""
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
