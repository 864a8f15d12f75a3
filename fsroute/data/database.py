"""Opens the database: SQLite, or PostgreSQL where several nodes share one database."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

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
    "tcp_user_timeout": 10_000,
}
"""Parameters of libpq. client_encoding: text is decoded also in a database with encoding SQL_ASCII. The others: an attempt
to connect to a host fails after 3 s; a connection counts as broken when its host was silent for 25 s, or has not
acknowledged data for 10 s, for which TCP sends no keepalives."""

_CONNECT_LENT_S = 2
"""The same for connections that calls use: while the database is away, each attempt must end soon, so that the next one
meets its return. psycopg allows no shorter time."""


def open_database(url: str, *, create: bool = False, only_reads: bool = False) -> Database:
    """The database of `sqlite:///PATH` or `postgresql://...`. It connects on first use.

    A missing SQLite file is created only with `create`. A PostgreSQL URL may name several hosts: with `only_reads` the URL's
    target_session_attrs says which of them serves, else it is the one that can be written to. Raises ConfigError for another
    kind of URL.
    """
    return _open(url, create=create, only_reads=only_reads, wait_s=_BUSY_S, parameters={}, options={})


def open_lent(url: str, wait_s: float) -> Database:
    """The same for one connection, opened explicitly, that threads use in turn and only for reading. `wait_s` is how long
    SQLite waits for a lock."""
    parameters = {"connect_timeout": _CONNECT_LENT_S}
    options = {"thread_safe": False, "autoconnect": False}
    return _open(url, create=False, only_reads=True, wait_s=wait_s, parameters=parameters, options=options)


def _open(
    url: str, *, create: bool, only_reads: bool, wait_s: float, parameters: dict[str, Any], options: dict[str, Any]
) -> Database:
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        pragmas = {"foreign_keys": 1, "cache_size": -_CACHE_KB}
        uri = sqlite_uri(url, create=create)
        one_thread = options.get("thread_safe", True)
        return SqliteDatabase(uri, pragmas=pragmas, uri=True, timeout=wait_s, check_same_thread=one_thread, **options)
    if url.startswith(POSTGRESQL_PREFIXES):
        if find_spec("psycopg") is None:
            raise ConfigError(
                f"database {without_password(url)}: needs psycopg, which is not installed: pip install 'psycopg[binary]',"
                " or pip install '.[postgresql]' in fsroute's checkout"
            )
        # peewee knows the long form only.
        long_form = "postgresql://" + url.partition("://")[2]
        return PostgresqlDatabase(long_form, **_connecting(url, only_reads=only_reads, parameters=parameters), **options)
    raise ConfigError(f"database {without_password(url)!r}: must be sqlite:///PATH or postgresql://USER@HOST/NAME")


def create_file(url: str) -> None:
    """Makes the file of an SQLite URL, unless it is there. Users other than its owner and group cannot read it: it holds
    telephone numbers, the hashes of verification codes, and the audit log. SQLite gives its other files the same mode.
    """
    if not url.startswith(SQLITE_PREFIX):
        return
    path = sqlite_path(url)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o660))  # less the umask
    except OSError:
        return  # it is there, or the first connection says why it cannot be


def handle_of(database: Database) -> socket.socket | None:
    """A descriptor of its own for PostgreSQL's socket: another thread can end the connection with it. None for SQLite."""
    if is_sqlite(database):
        return None
    return socket.socket(fileno=os.dup(database.connection().fileno()))


def sqlite_path(url: str) -> Path:
    """The file of `sqlite:///PATH`."""
    return Path(url.removeprefix(SQLITE_PREFIX))


def sqlite_uri(url: str, *, create: bool = False) -> str:
    """The file URI that SQLite's own functions take, for `sqlite:///PATH`."""
    return f"file:{quote(url.removeprefix(SQLITE_PREFIX))}?mode={'rwc' if create else 'rw'}"


def psycopg_connect(url: str) -> Any:
    """A connection of psycopg itself to the host that can be written to, for what peewee does not support. Raises
    psycopg.Error."""
    import psycopg  # noqa: PLC0415 - an optional dependency

    return psycopg.connect(url, autocommit=True, **_connecting(url, only_reads=False, parameters={}))


def _connecting(url: str, *, only_reads: bool, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that the URL does not set itself, and those that must be so whatever it sets."""
    chosen = {name: value for name, value in (_CONNECTING | parameters).items() if f"{name}=" not in url}
    return chosen if only_reads else chosen | {"target_session_attrs": "read-write"}


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
    """The URL, or what was given in its place, with *** for each password."""
    shown, end = "", 0
    for start, after in _passwords(url):
        shown, end = f"{shown}{url[end:start]}***", after
    return shown + url[end:]


_PASSWORD_BEFORE_HOST = re.compile(r"://[^:@/?#]*:(.*)@|^[^:@/\s=]*:(?!//)(.*)@")
_PASSWORD_OR_PORT = re.compile(r"://(?:\[[^\]]*\]|[^:@/?#\[])+:([^/?#@]*)")
_PORTS = re.compile(r"[0-9]{1,5}(?:,[^,]*)+|[0-9]{1,5}(?=[/?])")
_PARAMETERS = re.compile(r"[?&]([^=&]*)=([^&]*)")
_WORDS = re.compile(r"([^\s=]+)\s*=\s*('(?:\\.|[^'\\])*'?|\S*)")
_SECRET_NAME = re.compile("password|secret", re.IGNORECASE)


def _passwords(url: str) -> list[tuple[int, int]]:
    """Where the passwords are. A URL or a text in libpq's other form (name=value), well formed or not."""
    spans: list[tuple[int, int]] = []
    before_host = _PASSWORD_BEFORE_HOST.search(url)
    if before_host is not None:
        spans.append(before_host.span(1 if before_host[1] is not None else 2))
    else:
        found = _PASSWORD_OR_PORT.search(url)
        if found is not None and not _PORTS.match(url, found.start(1)):
            spans.append(found.span(1))
    parameters = _PARAMETERS if "://" in url else _WORDS
    spans += [found.span(2) for found in parameters.finditer(url) if _SECRET_NAME.search(unquote(found[1]))]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


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
        return f"database {shown}: {_why_no_file(sqlite_path(url))}"
    if "no such table" in text or ('relation "' in text and "does not exist" in text):
        return f"database {shown}: has no fsroute tables (fsroute init makes them): {text}"
    return f"database {shown}: {text}"


def _without_secrets(url: str, text: str) -> str:
    """A driver's message without the password. A driver quotes parts of a password that has a character not escaped."""
    written = [url[start:end].strip("'") for start, end in _passwords(url)]
    passwords = [*written, *map(unquote, written)]
    pieces = {piece for password in passwords for piece in (password, *re.split("[@:/?#,&\\s]", password)) if piece}
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
