"""The databases under test: a PostgreSQL with a streaming standby, and an SQLite file."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from tests.support import postgresql
from tests.support.postgresql import Server
from tests.support.wait import wait_until

TOP = Path(__file__).resolve().parents[2]
SCRIPTS = (TOP / "scripts" / "demo.sql", Path(__file__).parent / "routing.sql")
NAME = "faults"


def fill(url: str) -> None:
    """The tables, and the numbers that are called."""
    for command in (["init"], ["load", *SCRIPTS]):
        done = subprocess.run(
            [sys.executable, "-m", "fsroute", *command, "--db", url], capture_output=True, text=True, check=False, cwd=TOP
        )
        if done.returncode:
            raise AssertionError(f"fsroute {command[0]}: {done.stderr}")


_STREAMING = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"


class PostgreSQL:
    """A primary and its standby. `url` names both."""

    def __init__(self) -> None:
        self.primary = postgresql.start(primary=True)
        self.standby: Server | None = None
        self._all = [self.primary]
        self._lock: threading.Event | None = None
        try:
            fill(self.primary.create(NAME))
            self.standby = postgresql.standby_of(self.primary)
            self._all.append(self.standby)
        except BaseException:
            self.close()
            raise
        hosts = ",".join(server.host for server in self._all)
        user = self.primary.url(NAME).removeprefix("postgresql://").partition("@")[0]
        self.url = f"postgresql://{user}@{hosts}/{NAME}?target_session_attrs=read-write"

    def kill(self) -> None:
        self.primary.kill()

    def restart(self) -> None:
        """After `kill`."""
        self._all.remove(self.primary)
        self.primary = postgresql.restart(self.primary)
        self._all.append(self.primary)

    def stop_answering(self) -> None:
        for server in self._all:
            server.signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        for server in self._all:
            server.signal(signal.SIGCONT)

    def fail_over(self) -> None:
        """The primary dies, the standby becomes the primary."""
        assert self.standby is not None
        # An earlier fault has cut the stream: a standby that waits to connect again (wal_retrieve_retry_interval, 5 s) is
        # promoted late.
        wait_until(lambda: self.primary.execute(NAME, _STREAMING), "a standby that streams")
        self.primary.kill()
        self.standby.promote()
        self._all.remove(self.primary)
        shutil.rmtree(self.primary.directory)
        self.primary, self.standby = self.standby, None

    def lock(self) -> None:
        """The tables, as a migration or a careless backup does. Until `unlock`."""
        import psycopg  # noqa: PLC0415 - an optional dependency

        locked, self._lock = threading.Event(), threading.Event()
        release = self._lock

        def hold() -> None:
            with psycopg.connect(self.primary.url(NAME)) as connection:
                connection.execute("LOCK TABLE numbers, rules, rule_targets, endpoints, trunks IN ACCESS EXCLUSIVE MODE")
                locked.set()
                release.wait(60)
                connection.rollback()

        threading.Thread(target=hold, daemon=True).start()
        assert locked.wait(20), "the tables could not be locked"

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.set()

    def close(self) -> None:
        self.unlock()
        for server in self._all:
            with suppress(ProcessLookupError):
                server.signal(signal.SIGCONT)
            server.stop()
            shutil.rmtree(server.directory, ignore_errors=True)


class SQLite:
    """A file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "faults.db"
        self.url = f"sqlite:///{self.path}"
        self._kept = directory / "kept.db"
        fill(self.url)
        self._connection: sqlite3.Connection | None = None

    def copy(self) -> Path:
        """A consistent copy of the file beside it."""
        copied = self.path.with_name("copy.db")
        copied.unlink(missing_ok=True)
        with sqlite3.connect(self.path) as source, sqlite3.connect(copied) as target:
            source.backup(target)
        return copied

    def replace(self) -> None:
        """Another file takes its place, as `mv` does."""
        self.copy().rename(self.path)

    def delete(self) -> None:
        self.copy().rename(self._kept)
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def restore(self) -> None:
        """After `delete`."""
        self._kept.rename(self.path)

    def lock(self) -> None:
        """As a program does that writes and does not end its transaction. Until `unlock`."""
        self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=20, check_same_thread=False)
        self._connection.execute("BEGIN EXCLUSIVE")

    def unlock(self) -> None:
        if self._connection is not None:
            self._connection.rollback()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self.unlock()
