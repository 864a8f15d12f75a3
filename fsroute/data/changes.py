"""Says whether the tables have changed.

SQLite is queried before each call, which takes some microseconds. PostgreSQL notifies fsroute of changes.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from fsroute.backoff import Backoff
from fsroute.data.database import SQLITE_PREFIX, explain_failure, psycopg_connect, sqlite_uri, without_password

_RECONNECT_S, _RECONNECT_MOST_S = 0.5, 30.0
"""Pause before fsroute connects to PostgreSQL again for its notifications: at first, and at most."""

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


def watch(url: str, log: FilteringBoundLogger, batch: Callable[[], float] = time.monotonic) -> Changes:
    """The changes of this database. `batch` returns the same value for calls that arrived together (SqliteChanges)."""
    return SqliteChanges(url, batch) if url.startswith(SQLITE_PREFIX) else PostgresqlChanges(url, log)


class SqliteChanges:
    """SQLite counts the commits of other connections (PRAGMA data_version): a read of shared memory, some microseconds.

    SQLite is queried once per `batch`: calls that arrived in the same iteration of the event loop share the answer. With a
    running clock as `batch` each call queries.
    """

    is_exact = True

    def __init__(self, url: str, batch: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._batch = batch
        self._asked_in: float | None = None
        self._version: object = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def version(self) -> object:
        batch = self._batch()
        if batch == self._asked_in:
            return self._version
        version = self._ask()
        self._version, self._asked_in = version, batch
        return version  # not self._version: another thread may have stored an older one there

    def _ask(self) -> object:
        with self._lock:
            try:
                if self._connection is None:
                    # No waiting: while the database is busy its version counts as unknown.
                    self._connection = sqlite3.connect(
                        sqlite_uri(self._url), uri=True, timeout=0, isolation_level=None, check_same_thread=False
                    )
                return self._connection.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:
                return None

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class PostgresqlChanges:
    """PostgreSQL notifies of each commit to the tables (schema.sql has the triggers). A thread waits for notifications.

    A notification comes after the commit, and none while the connection is down: so versions are not exact.
    """

    is_exact = False

    def __init__(self, url: str, log: FilteringBoundLogger) -> None:
        self._url = url
        self._log = log
        self._count = 0
        self._connection: Any = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def version(self) -> object:
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="changes", daemon=True)
            self._thread.start()
        return self._count

    def close(self) -> None:
        self._closed.set()
        if self._connection is not None:
            with suppress(Exception):  # the thread may be closing it
                socket.socket(fileno=os.dup(self._connection.fileno())).shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        backoff = Backoff(_RECONNECT_S, _RECONNECT_MOST_S)
        while not self._closed.is_set():
            try:
                with psycopg_connect(self._url) as self._connection:
                    self._connection.execute(f"LISTEN {CHANNEL}")
                    self._count += 1
                    backoff.reset()
                    for _ in self._connection.notifies():
                        self._count += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
                if not self._closed.is_set():
                    self._log.warning(
                        "database notifications: unavailable",
                        db=without_password(self._url),
                        reason=explain_failure(self._url, error),
                    )
            self._closed.wait(backoff.pause())
