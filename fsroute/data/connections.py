"""Connections to the database for threads that read it for calls, and whether the database answers.

One thread, the keeper, opens all connections and checks one of them each second. So a call never waits for a server that
does not answer: it waits for a connection that works, and for none if the keeper has found that there is none."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from peewee import Database
from structlog.typing import FilteringBoundLogger

from fsroute import threads
from fsroute.backoff import Backoff
from fsroute.data.database import (
    DATABASE_ERRORS,
    database_errors,
    explain_failure,
    handle_of,
    is_sqlite,
    open_lent,
    without_password,
)
from fsroute.data.schema import check_tables, read_versions
from fsroute.data.sqlite_file import SqliteFile
from fsroute.errors import DataError, WrongVersion

_CHECK_S = 1.0
"""Seconds between two checks while all is well: an outage is noticed in this time, also without calls."""

_LOOK_S = 0.25
"""Seconds between two looks whether an SQLite file is still the same, which take two microseconds."""

_ANSWER_S = 0.5
"""Seconds for the answer to such a check. A healthy server takes a millisecond. After that the keeper opens another
connection. Only if that fails too, the database is away: a machine that is busy for a moment is no outage."""

_LOCK_MS = 100
"""Milliseconds that a check waits for a lock on an SQLite file. Readers of a file with a write-ahead log never wait."""

_RETRY_S, _RETRY_MOST_S = 0.1, 1.0
"""Pause between attempts to connect while the database is away: at first, and at most. An attempt costs the server little,
and all is to be as before within two seconds of its return."""

_LENT_S = 5.0
"""A connection that is used for longer is cut: the call has been decided without it long ago. A read takes milliseconds, and
PostgreSQL ends each of its statements after twice `decision_ms`."""

_DOUBTED_LENT = 3
"""The same after a call was not decided in time, in units of a call's time: the keeper may have reached another host than
those that do not answer."""

_SETTLE_S = 0.02
"""Seconds until the keeper looks again whether all reads from a file that was replaced have ended. One takes
milliseconds."""

_START_S = 5.0
"""How long a start waits for the first connection. Then it goes on without: two hosts that do not answer take 4 s."""

_FULL = re.compile("too many (clients|connections)|connection slots are")
"""What PostgreSQL says when it, a role or a database has its greatest number of connections. The driver knows no code
then."""

_Result = TypeVar("_Result")


@dataclass(slots=True, eq=False)
class _Connection:
    """An open connection. `handle` is a second descriptor of PostgreSQL's socket, so that any thread may end the
    connection."""

    database: Database
    generation: int
    handle: socket.socket | None
    lent_at: float = 0.0
    versions: Any = None
    """What the tables' version was when the connection was opened. If it changes, the tables are checked anew."""

    def cut(self) -> None:
        """Ends what a thread is waiting for in it."""
        with suppress(OSError, sqlite3.Error, *DATABASE_ERRORS):
            if self.handle is not None:
                self.handle.shutdown(socket.SHUT_RDWR)
            else:
                self.database.connection().interrupt()

    def close(self) -> None:
        with suppress(sqlite3.Error, *DATABASE_ERRORS):
            self.database.close()
        if self.handle is not None:
            self.handle.close()


class _Replaced(Exception):
    """The file was replaced while it was opened."""


class Connections:
    """At most `most` connections to one database, each lent to one thread at a time.

    `trouble` says why calls should be decided from memory if they can: the database is away, or a call found it in doubt and
    the keeper is still checking. It is None while all is well. `is_away`: reading is useless now.
    """

    def __init__(
        self,
        url: str,
        most: int,
        wait_s: float,
        log: FilteringBoundLogger,
        file: SqliteFile | None,
        release: Callable[[], None],
    ) -> None:
        """`wait_s` is the time of a call. `file` is the database's, for SQLite. `release` must close all other connections
        to the database: it is called after an outage, and when there is another file."""
        self.trouble: str | None = None
        self.is_away = False
        self._url = url
        self._most = most
        self._wait_s = wait_s
        self._log = log
        self._file = file
        self._release = release
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        """For threads that wait for a connection."""
        self._asked = threading.Condition(self._lock)
        """For the keeper."""
        self._idle: list[_Connection] = []
        self._dropped: list[_Connection] = []
        """Connections that the keeper must close: that may wait for the network."""
        self._lent: set[_Connection] = set()
        self._generation = 0
        self._file_generation = 0
        self._log_size = 0
        self._waiting = 0
        self._doubted = False
        self._full_until = 0.0
        self._since = 0.0
        """When the trouble began."""
        self._is_said = False
        """Whether the log says that the database is away."""
        self._wrong: WrongVersion | None = None
        self._from_memory = self._undecided = 0
        self._rests = False
        """The next attempt has its time, whoever waits for it."""
        self._turns = 0
        self._closed = False
        self._backoff = Backoff(_RETRY_S, _RETRY_MOST_S)

    # --- for the threads of calls ------------------------------------------------------------------------

    def run(self, read: Callable[[Database], _Result]) -> _Result:
        """What `read` returns with a connection. Raises DataError; after `wait_s` if there is no connection."""
        until = time.monotonic() + self._wait_s
        with database_errors(self._url):
            connection = self._borrow(until)
            try:
                return self._use(connection, read)
            except DATABASE_ERRORS:
                # PostgreSQL was restarted since this connection was opened: this call reads again by a new one.
                if connection.generation == self._generation:
                    raise
            return self._use(self._borrow(until), read)

    def _use(self, connection: _Connection, read: Callable[[Database], _Result]) -> _Result:
        try:
            result = read(connection.database)
        except BaseException:
            is_lost = _is_lost(connection)
            connection.close()
            with self._lock:
                self._lent.discard(connection)
                if is_lost and connection.generation == self._generation:
                    self._drop_idle()
                self._freed.notify()  # there is room for another one
            raise
        self._give_back(connection)
        return result

    def _borrow(self, until: float) -> _Connection:
        with self._lock:
            if not self._idle:
                self._wait_for_one(until)
            connection = self._idle.pop()
            connection.lent_at = time.monotonic()
            self._lent.add(connection)
            return connection

    def _wait_for_one(self, until: float) -> None:
        self._waiting += 1
        try:
            while not self._idle:
                left = until - time.monotonic()
                if self.is_away or left <= 0:
                    raise DataError(self.trouble or f"no connection to the database within {self._wait_s * 1000:g} ms")
                self._asked.notify()
                self._freed.wait(left)
        finally:
            self._waiting -= 1

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            keep = connection.generation == self._generation and not self._closed
            if keep and len(self._idle) + len(self._lent) <= self._most:
                self._lent.discard(connection)
                self._idle.append(connection)
                self._freed.notify()
                return
        connection.close()
        with self._lock:
            self._lent.discard(connection)
            self._freed.notify()

    # --- for the calls themselves: nothing here waits ----------------------------------------------------

    def doubt(self, reason: str) -> None:
        """A call could not be decided in time: the keeper checks now. Calls are decided from memory until it has."""
        with self._lock:
            self._begin_trouble(reason)
            self._doubted = True
            self._asked.notify()

    def count(self, *, from_memory: bool) -> None:
        """Counts a call that was decided from memory or not at all, for the line that ends the outage."""
        with self._lock:
            if from_memory:
                self._from_memory += 1
            else:
                self._undecided += 1

    # --- the keeper --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the keeper, and waits for its first connection for a bounded time. Raises WrongVersion."""
        threads.start(self._keep, "database")
        with self._lock:
            self._freed.wait_for(lambda: self._turns, _START_S)
        if self._wrong is not None:
            self.close()
            raise self._wrong

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            self._closed = True
            self._drop_idle()
            self._asked.notify()
        self._close_dropped()

    def _keep(self) -> None:
        pause = 0.0
        while not self._closed:
            self._rest(pause)
            if self._closed:
                return
            try:
                pause = self._turn()
            except Exception:  # noqa: BLE001 - the keeper must not end
                with suppress(Exception):
                    self._log.exception("database check failed")
                pause = _CHECK_S
            with self._lock:
                self._turns += 1
                self._freed.notify_all()

    def _rest(self, seconds: float) -> None:
        """Waits this long, or until there is something to do."""
        end = time.monotonic() + seconds
        with self._lock:
            while not self._is_asked() and (left := end - time.monotonic()) > 0:
                self._asked.wait(left if self._file is None else min(left, _LOOK_S))
                if self._file is not None and self._file.look() != self._file_generation:
                    return

    def _is_asked(self) -> bool:
        return self._closed or (not self._rests and (self._doubted or self._is_wanted()))

    def _is_wanted(self) -> bool:
        """Whether a thread waits for a connection that may be opened."""
        count = len(self._idle) + len(self._lent)
        return self._waiting > 0 and not self._idle and count < self._most and time.monotonic() >= self._full_until

    def _turn(self) -> float:
        """Checks a connection, or opens one. Returns the seconds until the next turn."""
        with self._lock:
            self._look_at_file()
        self._close_dropped()
        if self._file is not None and self._file.settled != self._file_generation and not self._has_settled(self._file):
            self._rests = True
            return _SETTLE_S
        self._rests = False
        with self._lock:
            doubted, self._doubted = self._doubted, False
            checked = self._idle.pop() if self._idle else None
            if checked is not None:
                checked.lent_at = time.monotonic()
                self._lent.add(checked)
            elif self._lent and not doubted and not self._is_wanted():
                return _CHECK_S  # all are in use: their users notice
        try:
            connection = (checked and self._checked(checked)) or self._open()
        except _Replaced:
            return 0.0
        except (*DATABASE_ERRORS, DataError) as error:
            # psycopg keeps the socket of an attempt that timed out in a circle of references with the error.
            traceback.clear_frames(error.__traceback__)
            return self._failed(error, doubted=doubted)
        self._tidy(connection)
        self._give_back(connection)
        self._works(_DOUBTED_LENT * self._wait_s if doubted else _LENT_S)
        return _CHECK_S

    def _close_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, []
        for connection in dropped:
            connection.close()

    def _has_settled(self, file: SqliteFile) -> bool:
        """Whether this process has no connection to an earlier content any more. SQLite would share what it knows of that
        content with the new connections of the same process."""
        self._release()
        now = time.monotonic()
        with self._lock:
            old = [connection for connection in self._lent if connection.generation != self._generation]
        for connection in old:
            if now - connection.lent_at > self._wait_s:
                connection.cut()
        if not old:
            file.settle()
        return not old

    def _checked(self, connection: _Connection) -> _Connection | None:
        """The connection if it works. Else it is closed, as are all that are idle."""
        try:
            with _within(_ANSWER_S, connection):
                works = read_versions(connection.database) == connection.versions
        except (*DATABASE_ERRORS, DataError):
            works = False
        if not works:
            connection.close()
            with self._lock:
                self._lent.discard(connection)
                self._drop_idle()
            self._close_dropped()
            return None
        return connection

    def _open(self) -> _Connection:
        """A new connection to a database of the right version."""
        is_first = self._file is not None and not self._idle and not self._lent
        if is_first:
            self._release()
        generation = self._generation
        database = open_lent(self._url, self._wait_s)
        connection = _Connection(database, generation, None, time.monotonic())
        try:
            database.connect()
            connection.handle = handle_of(database)
            with _within(2 * _ANSWER_S, connection):
                if is_sqlite(database):
                    (mode,) = database.execute_sql("PRAGMA journal_mode").fetchone()
                    if self._file is not None:
                        self._note_opened(self._file, has_log=mode == "wal", is_first=is_first)
                else:
                    database.execute_sql(f"SET statement_timeout = {2000 * self._wait_s:.0f}")
                check_tables(database, self._url, routing=True)
                connection.versions = read_versions(database)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._lent.add(connection)
        return connection

    def _note_opened(self, file: SqliteFile, *, has_log: bool, is_first: bool) -> None:
        if file.look() != self._file_generation:
            raise _Replaced
        file.has_log = has_log
        if is_first:
            file.forget_log()

    def _failed(self, error: Exception, *, doubted: bool) -> float:
        """No connection could be opened."""
        reason = str(error) if isinstance(error, DataError) else explain_failure(self._url, error)
        is_full = _FULL.search(reason) is not None
        with self._lock:
            if (is_full or not doubted) and any(lent.generation == self._generation for lent in self._lent):
                # Calls share the connections that there are. If those fail too, their users say so.
                self._full_until = time.monotonic() + _CHECK_S
                self.trouble = None
                return _CHECK_S
            begins, self._rests = not self._is_said, True
            self._begin_trouble(reason)
            self._is_said = True
            is_new = begins or (isinstance(error, WrongVersion) and self._wrong is None)
            self._wrong = error if isinstance(error, WrongVersion) else None
            self.trouble, self.is_away = reason, not is_full
            self._drop_idle()
            lent = list(self._lent)
            self._freed.notify_all()
        self._close_dropped()
        for connection in lent:
            connection.cut()
        if is_new and not (self._wrong and not self._turns):  # `start` raises that one
            self._log.error("database unavailable", db=without_password(self._url), reason=reason)
        return _RETRY_S if is_full else self._backoff.pause()

    def _works(self, longest_s: float) -> None:
        """A connection works. One that is used for longer than this is cut."""
        self._backoff.reset()
        now = time.monotonic()
        with self._lock:
            was_said, self._is_said = self._is_said, False
            self.trouble, self.is_away, self._wrong = None, False, None
            from_memory, undecided = self._from_memory, self._undecided
            self._from_memory = self._undecided = 0
            overdue = [connection for connection in self._lent if now - connection.lent_at > longest_s and connection.handle]
            self._freed.notify_all()
        for connection in overdue:
            connection.cut()
        if was_said:
            self._log.info(
                "database available again",
                db=without_password(self._url),
                seconds=round(now - self._since, 1),
                from_memory=from_memory,
                undecided=undecided,
            )
            self._release()

    def _tidy(self, connection: _Connection) -> None:
        """Moves the rows in SQLite's write-ahead log into its file, when nobody has written for a second.

        Then a copy of the file is whole, and a file that comes in its place finds no log of the old one.
        """
        if self._file is None or not self._file.has_log:
            return
        size, before = self._file.note_log(), self._log_size
        if size and size == before:
            with suppress(*DATABASE_ERRORS):  # a writer is busy, the disk is full or read-only: SQLite does it some time
                connection.database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            size = self._file.note_log()
        self._log_size = size

    # --- with the lock held ------------------------------------------------------------------------------

    def _begin_trouble(self, reason: str) -> None:
        if self.trouble is None:
            self.trouble, self._since = reason, time.monotonic()

    def _look_at_file(self) -> None:
        if self._file is not None and self._file.look() != self._file_generation:
            self._file_generation = self._file.generation
            self._drop_idle()

    def _drop_idle(self) -> None:
        """No connection that is open now is used again: the keeper closes the idle ones, and each other one is closed when
        it is given back."""
        self._generation += 1
        self._dropped += self._idle
        self._idle.clear()


def _is_lost(connection: _Connection) -> bool:
    """Whether PostgreSQL or the network has ended the connection."""
    return connection.handle is not None and bool(connection.database.connection().closed)


@contextmanager
def _within(seconds: float, connection: _Connection) -> Iterator[None]:
    """Cuts the connection after this time. SQLite waits for locks only, and for a short time here."""
    if connection.handle is None:
        database = connection.database
        (wait_ms,) = database.execute_sql("PRAGMA busy_timeout").fetchone()
        database.execute_sql(f"PRAGMA busy_timeout = {_LOCK_MS}")
        yield
        database.execute_sql(f"PRAGMA busy_timeout = {wait_ms}")
        return
    done = threading.Event()

    def watch() -> None:
        if not done.wait(seconds):
            connection.cut()

    threads.start(watch, "database check")
    try:
        yield
    finally:
        done.set()
