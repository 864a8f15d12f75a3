"""A PostgreSQL of the test session's own, and databases for tests on both kinds.

A plugin that conftest.py loads. The server lives in a temporary directory, is reached through a socket there, and is
stopped by its process id. Databases are made by copying: tables and demo data are loaded once for each kind.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fsroute.data import loader
from fsroute.data.database import open_database
from tests.support.tables import DEMO, LOADED

_START_S = 30
_STOP_S = 30
_SUPERUSER = "fsroute"


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL that nobody else uses."""

    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> str:
        """Its directory, as a host of a URL."""
        return quote(str(self.directory), safe="")

    def url(self, name: str) -> str:
        return f"postgresql://{_SUPERUSER}@{self.host}/{name}"

    def create(self, name: str, template: str = "template0") -> str:
        """Makes a database, as a copy of another one, and returns its URL."""
        database = open_database(self.url("postgres"))
        with database.connection_context():
            database.execute_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        database = open_database(self.url("postgres"))
        with database.connection_context():
            database.execute_sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        """Runs one statement in a database, whatever kind of server this is now. Returns its rows."""
        import psycopg  # noqa: PLC0415 - an optional dependency

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            found = connection.execute(sql.encode())
            return found.fetchall() if found.description else []

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to all of its processes. Each backend has a session of its own."""
        for pid in (self.process.pid, *_children(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Ends it as a power failure does."""
        self.signal(signal.SIGKILL)
        self.process.wait(_STOP_S)

    def promote(self) -> None:
        """Makes a standby the primary, and waits until it is."""
        self.execute("postgres", "SELECT pg_promote(wait => true)")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # fast shutdown: connections are closed
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def why_not() -> str | None:
    """What is missing for a PostgreSQL; None if it can be started."""
    try:
        import psycopg  # noqa: F401, PLC0415 - an optional dependency: whether it is there is the question
    except ImportError:
        return "psycopg is not installed (pip install fsroute[postgresql])"
    return None if binaries() else "PostgreSQL is not installed (on Debian: apt-get install postgresql)"


def binaries() -> Path | None:
    """Where initdb and postgres are: the newest version, in Debian's place or where pg_config says."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    pg_config = shutil.which("pg_config")
    if pg_config is None:
        return None
    told = Path(subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
    return told if (told / "initdb").exists() else None


def start(*, primary: bool = False) -> Server:
    """Starts a server with a cluster of its own. It refuses to be root, so as root it is another user's.

    Standbys can follow a `primary`."""
    programs, directory, user = _place()
    made = subprocess.run(
        [
            *(programs / "initdb", "--pgdata", directory / "data", "--username", _SUPERUSER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        ],
        user=user, cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    levels = (
        {"wal_level": "replica", "max_wal_senders": "4"} if primary else {"wal_level": "minimal", "max_wal_senders": "0"}
    )
    return _run(directory, levels)


def standby_of(primary: Server) -> Server:
    """A streaming standby of the primary, which has received all that the primary has now."""
    programs, directory, user = _place()
    made = subprocess.run(
        [
            *(programs / "pg_basebackup", "--pgdata", directory / "data", "--dbname", primary.url("postgres")),
            *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
        ],
        user=user, cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return _run(directory, {"hot_standby": "on"})


def _place() -> tuple[Path, Path, str | None]:
    """PostgreSQL's programs, a directory for a server, and the user who may run it."""
    programs = binaries()
    assert programs is not None
    directory = Path(tempfile.mkdtemp(prefix="fsroute-postgresql-"))
    user = _unprivileged_user() if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(directory, user)
    return programs, directory, user


def restart(server: Server) -> Server:
    """Starts a server again that was killed or stopped, at the same place."""
    (server.directory / "data" / "postmaster.pid").unlink(missing_ok=True)
    (server.directory / ".s.PGSQL.5432").unlink(missing_ok=True)
    (server.directory / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
    return _run(server.directory, {"wal_level": "replica"})


def _run(directory: Path, more: dict[str, str]) -> Server:
    programs = binaries()
    assert programs is not None
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(directory),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "shared_buffers": "32MB",
        "autovacuum": "off",
        "checkpoint_timeout": "1d",
        "max_wal_size": "4GB",
        **more,
    }
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", directory / "data", *(f"--{name}={value}" for name, value in settings.items())],
            user=_unprivileged_user() if os.geteuid() == 0 else None, cwd=directory, stdout=log, stderr=log,
            # A terminal's Ctrl-C is for pytest, which stops the server itself.
            start_new_session=True,
        )  # fmt: skip
    server = Server(directory, process)
    _wait(server)
    return server


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _unprivileged_user() -> str:
    import pwd  # noqa: PLC0415 - only where there is a root

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _wait(server: Server) -> None:
    end = time.monotonic() + _START_S
    while not (server.directory / ".s.PGSQL.5432").exists() or not _answers(server):
        if server.process.poll() is not None or time.monotonic() > end:
            raise AssertionError((server.directory / "log").read_text())
        time.sleep(0.02)


def _answers(server: Server) -> bool:
    from psycopg import OperationalError, connect  # noqa: PLC0415 - an optional dependency

    try:
        connect(server.url("postgres")).close()
    except OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    reason = why_not()
    if reason:
        pytest.skip(f"NOT RUN: the tests on PostgreSQL: {reason}")
    server = start()
    yield server
    server.stop()
    shutil.rmtree(server.directory)


# --- databases --------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Databases:
    """Makes databases of one kind."""

    directory: Path
    server: Server | None
    _templates: dict[tuple[Path, ...], str] = field(default_factory=dict)
    _shared: dict[tuple[Path, ...], str] = field(default_factory=dict)

    def empty(self) -> str:
        """The URL of a database without tables. On SQLite its file is not there yet."""
        return self._create(None)

    def filled(self, *scripts: Path) -> str:
        """The URL of a database with tables in which the scripts were loaded, one after another."""
        if scripts not in self._templates:
            self._templates[scripts] = self._made(scripts)
        return self._create(self._templates[scripts])

    def shared(self, *scripts: Path) -> str:
        """The same, for tests that only read: it is always the same database."""
        if scripts not in self._shared:
            self._shared[scripts] = self._made(scripts)
        return self._shared[scripts]

    def _made(self, scripts: tuple[Path, ...]) -> str:
        if not scripts:
            url = self.empty()
            loader.make_tables(open_database(url, create=True), url)
        else:
            url = self.filled(*scripts[:-1])
            loader.load(open_database(url), url, scripts[-1:], *LOADED)
        return url

    def _create(self, template: str | None) -> str:
        name = f"fsroute_{next(_created)}"
        if self.server is not None:
            copied = template.rpartition("/")[2] if template else "template0"
            return self.server.create(name, copied)
        path = self.directory / f"{name}.db"
        if template is not None:
            shutil.copy(template.removeprefix("sqlite:///"), path)
        return f"sqlite:///{path}"


_created = itertools.count()
"""Databases of this process: pytest may make the fixture below anew, and the server stays."""


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Makes databases: the test runs once for each kind."""
    server = request.getfixturevalue("postgresql_server") if request.param == "postgresql" else None
    return Databases(tmp_path_factory.mktemp("databases"), server)


@pytest.fixture
def database_url(databases: Databases) -> str:
    """A database without tables."""
    return databases.empty()


@pytest.fixture
def tables_url(databases: Databases) -> str:
    """A database with empty tables."""
    return databases.filled()


@pytest.fixture
def demo_url(databases: Databases) -> str:
    """A database with the demo data, only for reading: tests share it."""
    return databases.shared(DEMO)


@pytest.fixture
def postgresql_demo_url(postgresql_server: Server, tmp_path: Path) -> str:
    """The demo data in a PostgreSQL database of the test's own, for what there is only there."""
    return Databases(tmp_path, postgresql_server).filled(DEMO)


@pytest.fixture
def changeable_demo_url(databases: Databases) -> str:
    """A database with the demo data of the test's own."""
    return databases.filled(DEMO)


def version() -> str:
    """Of the programs that `start` runs."""
    found = binaries()
    assert found is not None
    told = subprocess.run([found / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return told.split()[2]
