"""Writes a database to a file, as it is at one moment: SQLite by its backup API, PostgreSQL by pg_dump."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from fsroute.data.database import (
    SQLITE_PREFIX,
    database_errors,
    explain_failure,
    open_database,
    sqlite_uri,
    without_password,
)
from fsroute.data.schema import read_versions
from fsroute.errors import ConfigError, DataError

_BUSY_S = 5
"""How long a backup waits for another process: the same as others wait for it (database.py)."""


def backup(url: str, path: Path) -> int:
    """Writes the database to a new file that only its owner can read, and returns its size in bytes.

    While it is being written the file has `.part` behind its name. Raises ConfigError if the file exists or cannot be made,
    DataError if the database cannot be read; then there is no file.
    """
    database = open_database(url)
    with database_errors(url), database.connection_context():
        read_versions(database)  # older tables too: a backup comes before an upgrade
    with _new_file(path) as (part, descriptor):
        if url.startswith(SQLITE_PREFIX):
            _from_sqlite(url, part)
        else:
            _from_postgresql(url, descriptor)
        os.fsync(descriptor)
        return part.stat().st_size


@contextmanager
def _new_file(path: Path) -> Iterator[tuple[Path, int]]:
    """An empty file with another name, and its descriptor. It gets its name at the end, if the block has not raised."""
    if path.exists():
        raise ConfigError(f"{path}: exists already, nothing was written: choose another name")
    part = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{part}: exists already: another backup is running, or one has died: then remove it") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield part, descriptor
        os.link(part, path)  # unlike a rename it does not replace a file that has come meanwhile
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)


def _from_sqlite(url: str, part: Path) -> None:
    """Copies the pages in one step: it reads one state, and writers go on (WAL mode)."""
    try:
        with (
            closing(sqlite3.connect(sqlite_uri(url), uri=True, timeout=_BUSY_S)) as source,
            closing(sqlite3.connect(part, timeout=_BUSY_S)) as copy,
        ):
            source.backup(copy)
            # The copy stands alone: no file beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise DataError(f"database {url}: is damaged: {' '.join(found.split())}; no backup was written")
            copy.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise DataError(f"{explain_failure(url, error)}; no backup was written") from error


def _from_postgresql(url: str, descriptor: int) -> None:
    program = which("pg_dump")
    if program is None:
        raise ConfigError("needs pg_dump, which is not installed (on Debian: apt-get install postgresql-client)")
    conninfo, environment = _connection(url)
    # Owners and grants belong to the server: fsroute roles gives them again after a restore.
    command = [program, "--format=custom", "--no-owner", "--no-privileges", "--no-password", "--lock-wait-timeout=5s"]
    ran = subprocess.run(  # noqa: S603 - a program of the operator, and its arguments are ours
        [*command, f"--dbname={conninfo}"], stdin=subprocess.DEVNULL, stdout=descriptor, stderr=subprocess.PIPE,
        env=environment, check=False,
    )  # fmt: skip
    if ran.returncode != 0:
        lines = [line.strip() for line in ran.stderr.decode(errors="replace").splitlines() if line.strip()]
        told = (
            " ".join(lines[:2]).removeprefix("pg_dump: ").removeprefix("error: ") or f"pg_dump ended with {ran.returncode}"
        )
        raise DataError(f"{explain_failure(url, RuntimeError(told))}; no backup was written")


def _connection(url: str) -> tuple[str, dict[str, str]]:
    """What pg_dump needs to connect: a text without the password, which others see in the list of processes, and an
    environment that has it."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415 - an optional dependency

    parameters: dict[str, Any] = conninfo_to_dict("postgresql://" + url.partition("://")[2])
    if parameters.pop("sslpassword", None):
        raise ConfigError(
            f"database {without_password(url)}: pg_dump cannot be given sslpassword: use a key without one for backups"
        )
    password = parameters.pop("password", None)
    return make_conninfo(**parameters), os.environ | ({"PGPASSWORD": password} if password else {})
