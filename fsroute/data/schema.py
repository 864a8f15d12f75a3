"""The version of a database's tables, and the text that makes new ones (schema.sql)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from peewee import Database

from fsroute.data.database import Prepared, database_errors, without_password
from fsroute.data.tables import SchemaVersion
from fsroute.errors import DataError, WrongVersion


def check_version(database: Database, url: str) -> None:
    """Raises WrongVersion, with a line that says what to do, unless the database has the schema version of this fsroute.
    Raises DataError if it cannot be read."""
    with database_errors(url), database.connection_context():
        check_tables(database, url)


def check_tables(database: Database, url: str) -> None:
    """The same on a connection that is open. Errors of the database are raised as they are."""
    versions, needed = read_versions(database), schema_version()
    if versions != [needed]:
        found = ", ".join(map(str, versions)) or "missing"
        raise WrongVersion(
            f"database {without_password(url)}: its schema version is {found}, this fsroute needs {needed}: use the "
            "fsroute that made these tables, or make new ones (fsroute init with another --db) and load your SQL files there"
        )


def read_versions(database: Database) -> list[int]:
    """The rows of `schema_version`: one, unless somebody has changed the table."""
    return [row[0] for row in _version.rows(database)]


_version = Prepared(lambda: SchemaVersion.select(SchemaVersion.version))


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


@cache
def schema_version() -> int:
    """The version that schema.sql gives its tables."""
    return int(schema().partition("INSERT INTO schema_version (version) VALUES (")[2].partition(")")[0])


def is_empty(database: Database, url: str) -> bool:
    """Whether the database has no tables. Raises DataError if it cannot be used."""
    with database_errors(url), database.connection_context():
        return not database.get_tables()
