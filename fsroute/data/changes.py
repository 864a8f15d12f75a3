"""Says whether the tables have changed.

SQLite is queried before each call, which takes some microseconds. PostgreSQL notifies fsroute of changes.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from fsroute import threads
from fsroute.backoff import Backoff
from fsroute.data.database import (
    SQLITE_PREFIX,
    explain_failure,
    psycopg_connect,
    sqlite_path,
    sqlite_uri,
    without_password,
)
from fsroute.data.sqlite_file import SqliteFile

_RECONNECT_S, _RECONNECT_MOST_S = 0.25, 1.0
"""Pause before fsroute connects to PostgreSQL again for its notifications: at first, and at most. All is to be as before
within two seconds of its return."""

CHANNEL = "fsroute"
"""The channel of PostgreSQL's notifications (schema.sql)."""


class Changes(Protocol):
    """A version of the tables' contents."""

    @property
    def is_exact(self) -> bool:
        """Whether an unchanged version proves that the tables have not changed up to now."""
        ...

    def version(self) -> object:
        """A value that differs after a change. None if it is unknown now."""
        ...

    def close(self) -> None: ...


def watch(
    url: str, log: FilteringBoundLogger, batch: Callable[[], float] = time.monotonic, file: SqliteFile | None = None
) -> SqliteChanges | PostgresqlChanges:
    """The changes of this database. `batch` returns the same value for calls that arrived together (SqliteChanges)."""
    if not url.startswith(SQLITE_PREFIX):
        return PostgresqlChanges(url, log)
    return SqliteChanges(url, file or SqliteFile(sqlite_path(url), log), batch)


class SqliteChanges:
    """SQLite counts the commits of other connections (PRAGMA data_version): a read of shared memory, some microseconds.

    SQLite is queried once per `batch`: calls that arrived in the same iteration of the event loop share the answer. With a
    running clock as `batch` each call queries. Another file in the place of the database's is a change too.
    """

    is_exact = True

    def __init__(self, url: str, file: SqliteFile, batch: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._file = file
        self._batch = batch
        self._asked_in: float | None = None
        self._version: object = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened = 0
        self._generation = 0

    def version(self) -> object:
        batch = self._batch()
        if batch == self._asked_in:
            return self._version
        version = self._ask()
        self._version, self._asked_in = version, batch
        return version  # not self._version: another thread may have stored an older one there

    def _ask(self) -> object:
        with self._lock:
            generation = self._file.generation
            if generation != self._generation:
                self._close()
            if generation != self._file.settled:
                return None
            try:
                if self._connection is None:
                    # No waiting: while the database is busy its version counts as unknown.
                    self._connection = sqlite3.connect(
                        sqlite_uri(self._url), uri=True, timeout=0, isolation_level=None, check_same_thread=False
                    )
                    self._generation = generation
                    self._opened += 1
                # SQLite's number means something only within one connection.
                return self._opened, *self._connection.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:
                return None

    def release(self) -> None:
        """Closes the connection. The next call of `version` opens another one."""
        with self._lock:
            self._close()

    close = release

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresqlChanges:
    """PostgreSQL notifies of each commit to the tables (schema.sql has the triggers). A thread waits for notifications.

    They come from the host that can be written to: a standby sends none. A notification comes after the commit, a standby
    may have the new rows later still, and none comes while the connection is down: so versions are not exact.
    """

    is_exact = False

    def __init__(self, url: str, log: FilteringBoundLogger) -> None:
        self._url = url
        self._log = log
        self._count = 0
        self._handle: socket.socket | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def version(self) -> object:
        if self._thread is None:
            self._thread = threads.start(self._listen, "changes")
        return self._count

    def release(self) -> None:
        """Ends the connection, which another one replaces: the host may be one that hangs."""
        with self._lock, suppress(OSError):
            if self._handle is not None:
                self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed.set()
        self.release()

    def _listen(self) -> None:
        backoff = Backoff(_RECONNECT_S, _RECONNECT_MOST_S)
        is_away = False
        while not self._closed.is_set():
            try:
                with psycopg_connect(self._url) as connection, self._held(connection.fileno()):
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._count += 1
                    backoff.reset()
                    if is_away:
                        is_away = False
                        self._log.info("database notifications: available again", db=without_password(self._url))
                    for _ in connection.notifies():
                        self._count += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
                traceback.clear_frames(error.__traceback__)  # frees the socket of an attempt that timed out (connections.py)
                if not self._closed.is_set() and not is_away:
                    is_away = True
                    self._log.warning(
                        "database notifications: unavailable",
                        db=without_password(self._url),
                        reason=explain_failure(self._url, error),
                    )
            self._closed.wait(backoff.pause())

    @contextmanager
    def _held(self, descriptor: int) -> Iterator[None]:
        """A descriptor of its own for the connection's socket, with which another thread can end it."""
        with self._lock:
            self._handle = socket.socket(fileno=os.dup(descriptor))
        try:
            yield
        finally:
            with self._lock:
                self._handle.close()
                self._handle = None
