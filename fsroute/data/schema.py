"""The version of a database's tables, whether this fsroute can work with them, and the text that makes new ones
(schema.sql).

Two versions of fsroute share a database while nodes are upgraded one by one. So the row of `schema_version` has two
numbers: the version of the tables, and the oldest version of fsroute that can work with them. CONTRIBUTING.md says how a
new version keeps that true.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from peewee import Database

from fsroute.data.database import database_errors, is_sqlite, without_password
from fsroute.data.tables import MODELS
from fsroute.errors import DataError, WrongVersion

OLDEST_USABLE = 3
"""The oldest tables that this fsroute can work with before `fsroute upgrade` has run. The columns that it needs must be
there: tables of version 3 got columns without a new number while version 3 was being made."""

NOT_FOR_ROUTING: frozenset[str] = frozenset()
"""Columns, written `table.column`, that came with the newest version and that no call is routed by. `fsroute serve` and
`fsroute explain` work without them: so nodes with this fsroute route calls by tables on which `fsroute upgrade` has not
run yet."""

_NEVER_NEEDED = {"schema_version.tables_version"}
"""Columns that are read only if they are there."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the row of `schema_version` says: the version of the tables, and the oldest fsroute that works with them."""

    tables: int
    oldest: int


def check_version(database: Database, url: str, *, routing: bool = False) -> None:
    """Connects, and raises WrongVersion, with a line that says what to do, unless this fsroute can work with the tables.
    Raises DataError if they cannot be read.

    `routing`: only calls are routed, so the columns of NOT_FOR_ROUTING may be missing.
    """
    with database_errors(url), database.connection_context():
        check_tables(database, url, routing=routing)


def check_tables(database: Database, url: str, *, routing: bool = False) -> None:
    """The same on a connection that is open. Errors of the database are raised as they are."""
    problem = _problem(database, routing=routing)
    if problem:
        raise WrongVersion(f"database {without_password(url)}: {problem}")


def _problem(database: Database, *, routing: bool) -> str | None:
    """Why this fsroute cannot work with the tables, and what to do. None if it can."""
    versions, mine = read_versions(database), schema_version()
    if len(versions) != 1:
        found = ", ".join(str(version.oldest) for version in versions) or "missing"
        return f"its schema version is {found}, which must be one number: run fsroute upgrade"
    [version] = versions
    if version.oldest > mine:
        return (
            f"its tables have version {version.tables}, for an fsroute of schema version {version.oldest} or newer, and this"
            f" one has {mine}: install a newer fsroute"
        )
    if version.tables < OLDEST_USABLE:
        return (
            f"its tables have version {version.tables}, and this fsroute needs {OLDEST_USABLE} or newer: run fsroute upgrade"
        )
    missing = sorted(_needed_columns(routing=routing) - _columns(database))
    if missing:
        return f"its tables have version {version.tables} and lack {', '.join(missing)}: run fsroute upgrade"
    return None


def read_versions(database: Database) -> list[Version]:
    """The rows of `schema_version`: one, unless somebody has changed the table. Before version 4 it had one number."""
    cursor = database.execute_sql("SELECT * FROM schema_version ORDER BY version")
    names = [column[0] for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [Version(int(row.get("tables_version") or row["version"]), row["version"]) for row in found]


def _needed_columns(*, routing: bool) -> set[str]:
    needed = {
        f"{model._meta.table_name}.{field.column_name}"  # noqa: SLF001 - peewee has no other way to ask
        for model in MODELS
        for field in model._meta.sorted_fields  # noqa: SLF001
    }
    return needed - _NEVER_NEEDED - (NOT_FOR_ROUTING if routing else frozenset())


def _columns(database: Database) -> set[str]:
    """All columns of the database. From PostgreSQL's own catalog: information_schema hides tables that a role cannot use."""
    if is_sqlite(database):
        query = (
            "SELECT m.name || '.' || c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'"
        )
    else:
        query = (
            "SELECT c.relname || '.' || a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " WHERE c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped AND pg_table_is_visible(c.oid)"
            " AND c.relnamespace <> 'pg_catalog'::regnamespace"
        )
    return {row[0] for row in database.execute_sql(query).fetchall()}


def schema() -> str:
    """The text of schema.sql. Raises DataError if this installation does not have it.

    fsroute/schema.sql is a symbolic link in the repository. A checkout without symbolic links has a file with the link's
    target in its place, and a package that is built there has it too.
    """
    path = files("fsroute") / "schema.sql"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        text = error.strerror or str(error)
    if "CREATE TABLE" not in text:
        raise DataError(
            f"{path}: holds no tables ({text[:50]!r}): fsroute was installed from a checkout without symbolic links; "
            "check it out with git config core.symlinks true, and install it again"
        )
    return text


def schema_version() -> int:
    """The version that schema.sql gives its tables."""
    return new_version().tables


@cache
def new_version() -> Version:
    """What schema.sql writes into `schema_version`."""
    match = re.search(r"INSERT INTO schema_version \(version, tables_version\) VALUES \((\d+), (\d+)\)", schema())
    assert match is not None, "schema.sql writes its version"  # noqa: S101 - our own file
    return Version(tables=int(match[2]), oldest=int(match[1]))


def statements(text: str) -> Iterator[str]:
    """The statements of schema.sql as SQLite reads them. Those of PostgreSQL alone are comments to it."""
    start = end = 0
    while (end := text.find(";", end) + 1) > 0:
        if sqlite3.complete_statement(text[start:end]):
            yield text[start:end]
            start = end


def is_empty(database: Database, url: str) -> bool:
    """Whether the database has no tables. Raises DataError if it cannot be used."""
    with database_errors(url), database.connection_context():
        return not database.get_tables()
