"""Opens the database: SQLite, or PostgreSQL when several nodes share one truth."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from peewee import Database, DatabaseError, InterfaceError, OperationalError, PostgresqlDatabase, SqliteDatabase

from fsroute.errors import ConfigError, DataError
from fsroute.tables import SCHEMA_VERSION, SchemaVersion

SQLITE_PREFIX = "sqlite:///"
POSTGRESQL_PREFIXES = ("postgresql://", "postgres://")

_BUSY_S = 5
"""How long a writer waits for another one. Readers never wait: the database is in WAL mode."""


def open_database(url: str, *, create: bool = False) -> Database:
    """The database behind `sqlite:///PATH` or `postgresql://...`. Connects on first use.

    An SQLite file that is not there is made only with `create`. Raises ConfigError for another kind of URL.
    """
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        path = Path(url.removeprefix(SQLITE_PREFIX))
        uri = f"file:{quote(str(path))}?mode={'rwc' if create else 'rw'}"
        return SqliteDatabase(uri, pragmas={"foreign_keys": 1}, uri=True, timeout=_BUSY_S)
    if url.startswith(POSTGRESQL_PREFIXES):
        return PostgresqlDatabase(url)
    raise ConfigError(f"database {url!r}: must be sqlite:///PATH or postgresql://USER@HOST/NAME")


def is_sqlite(database: Database) -> bool:
    return isinstance(database, SqliteDatabase)


def rows(database: Database, query: Any) -> list[tuple[Any, ...]]:
    """What a peewee query over unbound models finds in this database."""
    return list(query.bind(database).tuples())


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(?<=://)([^:@/]*):[^@/]*@", r"\1:***@", url)


def explain_failure(url: str, error: Exception) -> str:
    """One line for a database that can not be used."""
    url = without_password(url)
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "unable to open database file" in text:
        return f"database {url}: no such file (fsroute init makes it)"
    if "no such table" in text or "does not exist" in text:
        return f"database {url}: has no fsroute tables (fsroute init makes them): {text}"
    return f"database {url}: {text}"


def check_version(database: Database, url: str) -> None:
    """Raises DataError, with a line that says what to do, unless the database has the tables of this fsroute."""
    try:
        with database.connection_context():
            versions = [row[0] for row in rows(database, SchemaVersion.select(SchemaVersion.version))]
    except (DatabaseError, InterfaceError, ImportError) as error:
        raise DataError(explain_failure(url, error)) from error
    if versions != [SCHEMA_VERSION]:
        raise DataError(f"database {without_password(url)}: has schema version {versions}, this fsroute needs {SCHEMA_VERSION}")


def schema() -> str:
    """The text of schema.sql."""
    return (files("fsroute") / "schema.sql").read_text(encoding="utf-8")


def is_empty(database: Database, url: str) -> bool:
    """Whether the database has no tables yet. Raises DataError if it can not be used at all."""
    try:
        with database.connection_context():
            return not database.get_tables()
    except (OperationalError, DatabaseError, InterfaceError, ImportError) as error:
        raise DataError(explain_failure(url, error)) from error
