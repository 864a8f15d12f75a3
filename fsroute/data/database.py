"""Opens the database: SQLite, or PostgreSQL where several nodes share one database."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from peewee import (  # type: ignore[attr-defined]  # __exception_wrapper__ has no annotation
    Database,
    DatabaseError,
    InterfaceError,
    PostgresqlDatabase,
    SqliteDatabase,
    __exception_wrapper__,
)

from fsroute.errors import ConfigError, DataError

SQLITE_PREFIX = "sqlite:///"
POSTGRESQL_PREFIXES = ("postgresql://", "postgres://")

_BUSY_S = 5
"""How long a writer waits for another writer. Readers never wait: the database is in WAL mode."""

_CACHE_KB = 16 * 1024
"""SQLite's page cache of a connection. With SQLite's default of 2 MB each read of a table with millions of rows fetches the
upper pages of its indexes again: 281 instead of 222 microseconds for a call."""

_CONNECTING = {
    "client_encoding": "UTF8",
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""Parameters of libpq. client_encoding: text is decoded also in a database with encoding SQL_ASCII. The others: a connection
attempt fails after 3 s, and a silent connection counts as broken after 25 s."""

_PASSWORDS = re.compile(r"(://[^:@/?]*:)(.*)(?=@)|([?&](?:ssl)?password=)([^&]*)")


def open_database(url: str, *, create: bool = False) -> Database:
    """The database of `sqlite:///PATH` or `postgresql://...`. It connects on first use.

    A missing SQLite file is created only with `create`. Raises ConfigError for another kind of URL.
    """
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        pragmas = {"foreign_keys": 1, "cache_size": -_CACHE_KB}
        return SqliteDatabase(sqlite_uri(url, create=create), pragmas=pragmas, uri=True, timeout=_BUSY_S)
    if url.startswith(POSTGRESQL_PREFIXES):
        if find_spec("psycopg") is None:
            raise ConfigError(
                f"database {without_password(url)}: needs psycopg, which is not installed: pip install 'psycopg[binary]',"
                " or pip install '.[postgresql]' in fsroute's checkout"
            )
        # peewee knows the long form only.
        return PostgresqlDatabase("postgresql://" + url.partition("://")[2], **_connecting(url))
    raise ConfigError(f"database {without_password(url)!r}: must be sqlite:///PATH or postgresql://USER@HOST/NAME")


def create_file(url: str) -> None:
    """Makes the file of an SQLite URL, unless it is there. Users other than its owner and group cannot read it: it holds
    telephone numbers, the hashes of verification codes, and the audit log. SQLite gives its other files the same mode.
    """
    if not url.startswith(SQLITE_PREFIX):
        return
    path = Path(url.removeprefix(SQLITE_PREFIX))
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o660))  # less the umask
    except OSError:
        return  # it is there, or the first connection says why it cannot be


def sqlite_uri(url: str, *, create: bool = False) -> str:
    """The file URI that SQLite's own functions take, for `sqlite:///PATH`."""
    return f"file:{quote(url.removeprefix(SQLITE_PREFIX))}?mode={'rwc' if create else 'rw'}"


def psycopg_connect(url: str) -> Any:
    """A connection of psycopg itself, for what peewee does not support. Raises psycopg.Error."""
    import psycopg  # noqa: PLC0415 - an optional dependency

    return psycopg.connect(url, autocommit=True, **_connecting(url))


def _connecting(url: str) -> dict[str, Any]:
    """The parameters of `_CONNECTING` that the URL does not set itself."""
    return {name: value for name, value in _CONNECTING.items() if f"{name}=" not in url}


def is_sqlite(database: Database) -> bool:
    return isinstance(database, SqliteDatabase)


def rows(database: Database, query: Any) -> list[tuple[Any, ...]]:
    """The rows that a peewee query over unbound models finds in this database."""
    return list(query.bind(database).tuples())


Row = dict[str, Any]
"""The values of a row by the names of their columns."""


def named_rows(database: Database, query: Any) -> list[Row]:
    """The rows of a query, each as a dictionary from column name to value."""
    return list(query.bind(database).dicts())


class Prepared:
    """A peewee query that is built and compiled once for each number of values, not once per call: peewee takes ten times as
    long to build a query as SQLite to run it.

    `build` gets a text for each argument, or a list of texts for an argument of `IN`, and returns the query. It must use
    them only in comparisons with text columns. Rows are as the driver returns them: SQLite has no booleans.
    """

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build
        self._compiled: dict[tuple[int, ...], tuple[str, list[tuple[bool, Any]]]] = {}

    def rows(self, database: Database, *arguments: str | Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows that the query finds in this database with these values."""
        key = (is_sqlite(database), *(-1 if isinstance(argument, str) else len(argument) for argument in arguments))
        sql, sources = self._compiled.get(key) or self._compile(database, key)
        values = [value for argument in arguments for value in ((argument,) if isinstance(argument, str) else argument)]
        parameters = [values[source] if is_argument else source for is_argument, source in sources]
        found: list[tuple[Any, ...]] = database.execute_sql(sql, parameters).fetchall()
        return found

    def _compile(self, database: Database, key: tuple[int, ...]) -> tuple[str, list[tuple[bool, Any]]]:
        """The SQL text, and the source of each parameter: the position of an argument, or a constant of the query itself."""
        marks = (f"\0{position}" for position in count())
        arguments = [next(marks) if length < 0 else [next(marks) for _ in range(length)] for length in key[1:]]
        sql, parameters = self._build(*arguments).bind(database).sql()
        sources = [
            (True, int(value[1:])) if isinstance(value, str) and value.startswith("\0") else (False, value)
            for value in parameters
        ]
        self._compiled[key] = sql, sources
        return sql, sources


def execute_literally(database: Database, sql: str) -> None:
    """Runs one statement without any change.

    On PostgreSQL it uses the extended protocol, which accepts exactly one statement: the loader cuts scripts with SQLite's
    lexer, which does not know PostgreSQL's strings with backslashes, so a COMMIT could hide behind one.
    """
    if is_sqlite(database):
        database.execute_sql(sql)
        return
    with __exception_wrapper__:
        database.cursor().execute(sql, prepare=True)


def execute_whole(database: Database, sql: str) -> None:
    """Runs a text of several statements without any change (PostgreSQL)."""
    with __exception_wrapper__:
        database.cursor().execute(sql)


@contextmanager
def snapshot(database: Database) -> Iterator[None]:
    """A transaction in which all queries see the database as it was at the first query."""
    with database.atomic():
        if not is_sqlite(database):
            database.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def without_password(url: str) -> str:
    """The URL with *** in place of its passwords."""
    return _PASSWORDS.sub(lambda match: f"{match[1] or match[3]}***", url)


DATABASE_ERRORS = (DatabaseError, InterfaceError, ImportError, UnicodeError)
"""What a database and its driver raise. ImportError: psycopg finds no libpq. UnicodeError: a text cannot be encoded."""


@contextmanager
def database_errors(url: str) -> Iterator[None]:
    """Raises DataError in place of an error of the database or its driver."""
    try:
        yield
    except DATABASE_ERRORS as error:
        raise DataError(explain_failure(url, error)) from error


def explain_failure(url: str, error: Exception) -> str:
    """One line that says why the database cannot be used, without its password."""
    shown = without_password(url)
    text = _without_secrets(url, next(iter(str(error).strip().splitlines()), type(error).__name__))
    if "unable to open database file" in text:
        return f"database {shown}: {_why_no_file(Path(url.removeprefix(SQLITE_PREFIX)))}"
    if "no such table" in text or ('relation "' in text and "does not exist" in text):
        return f"database {shown}: has no fsroute tables (fsroute init makes them): {text}"
    return f"database {shown}: {text}"


def _without_secrets(url: str, text: str) -> str:
    """A driver's message without the password. A driver quotes parts of a password that has a character not escaped."""
    passwords = [match[2] or match[4] or "" for match in _PASSWORDS.finditer(url)]
    pieces = {piece for password in passwords for piece in (password, *re.split("[@:/?#]", password)) if piece}
    if not pieces:
        return text
    secret = re.compile("|".join(re.escape(piece) for piece in sorted(pieces, key=len, reverse=True)))
    return re.sub(r"([\"']).*?\1", lambda quoted: secret.sub("***", quoted[0]), text)


def _why_no_file(path: Path) -> str:
    if path.exists():
        return "cannot be opened"
    if not path.parent.is_dir():
        return f"no such directory as {path.parent}"
    return "no such file (fsroute init makes it)"
