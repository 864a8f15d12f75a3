"""Watches an SQLite file: whether another one has taken its place, or something else than SQLite has written into it.

SQLite itself does not notice either. It goes on with the file that it has opened, and lays a write-ahead log (-wal) over
whatever has the name of its database (https://www.sqlite.org/howtocorrupt.html). This module never opens the files: when a
process closes any descriptor of a file, SQLite loses its locks on it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

_Shape = tuple[int, int, int, int]
"""Device, inode, size and modification time of a file. All are 0 if there is none."""

_NONE: _Shape = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Companions:
    """The write-ahead log and its index."""

    wal: _Shape = _NONE
    shm: _Shape = _NONE

    def are_others(self, now: _Companions) -> bool:
        """Whether one of them is another file now, or gone. SQLite removes them with the last connection only."""
        pairs = ((self.wal, now.wal), (self.shm, now.shm))
        return any(known != _NONE and known[:2] != found[:2] for known, found in pairs)


class SqliteFile:
    """The file of one database. `generation` counts how often another content has come. Connections to an earlier content
    must be closed, and new ones may be opened only when `settled` is the same number.

    `look` may be called from any thread, and is as cheap as a system call while nothing changes.
    """

    def __init__(self, path: Path, log: FilteringBoundLogger) -> None:
        self.generation = self.settled = 0
        self.has_log = False
        """Whether the database has a write-ahead log, as one of fsroute's connections found it. Without one SQLite notices a
        content that was copied over the file by itself."""
        self._path = os.fspath(path)
        self._log = log
        self._lock = threading.Lock()
        self._seen: _Shape | None = None
        self._main = _NONE
        self._companions = _Companions()
        """The file and its companions as they were when they belonged together."""
        self._left_over = _Companions()
        """Companions of an earlier content."""

    def look(self) -> int:
        """Looks whether the file is still the same, and returns the generation."""
        if _shape(self._path) != self._seen:
            with self._lock:
                self._compare()
        return self.generation

    def note_log(self) -> int:
        """The size of the write-ahead log in bytes. What else than SQLite writes into the file is noticed only if the log
        was noted since it changed."""
        with self._lock:
            self._compare()
            if self._seen == self._main:
                known, now = self._companions, self._look_at_companions()
                self._companions = now
                if self.has_log and known.are_others(now):
                    self._changed("its log was replaced", known)
            return self._companions.wal[2]

    def forget_log(self) -> None:
        """Call it after the first connection of this process: with the last one before, SQLite may have removed the log."""
        with self._lock:
            self._companions = _Companions()

    def _compare(self) -> None:
        main = _shape(self._path)
        if main == self._seen:
            return
        was_there, self._seen = self._seen not in {None, _NONE}, main
        if main == _NONE:
            # If the same file comes back, it is the same database, and its log belongs to it.
            self.generation += was_there
            return
        before, self._main = self._main, main
        known, self._companions = self._companions, self._look_at_companions()
        if before in {_NONE, main}:
            return
        if main[:2] != before[:2] or not was_there:  # a new file may get the inode of a deleted one
            self._changed("another file has its name now", known)
        elif self.has_log and (
            known.are_others(self._companions) or (self._companions.wal == known.wal and not known.wal[2])
        ):
            # SQLite writes into the file from its log only. That was empty before and after, or another worker was faster.
            self._changed("its content was replaced", known)

    def _look_at_companions(self) -> _Companions:
        return _Companions(_shape(self._path + "-wal"), _shape(self._path + "-shm"))

    def _changed(self, how: str, companions: _Companions) -> None:
        self.generation += 1
        self._left_over = companions
        self._log.warning("database replaced", file=self._path, reason=how)

    def settle(self) -> None:
        """Call it when this process has no connection to an earlier content any more. Removes the write-ahead log of that
        content and its index, which SQLite would take for the new content's. A log with rows in it is renamed instead."""
        with self._lock:
            left_over, self._left_over = self._left_over, _Companions()
            for suffix, known in (("-wal", left_over.wal), ("-shm", left_over.shm)):
                found = _shape(self._path + suffix)
                if known != _NONE and found[:2] == known[:2]:
                    with suppress(OSError):  # another worker was faster, or the directory is read-only
                        self._remove(self._path + suffix, is_log_with_rows=suffix == "-wal" and found[2] > 0)
            self._companions = _Companions()
            self.settled = self.generation

    def _remove(self, path: str, *, is_log_with_rows: bool) -> None:
        if is_log_with_rows:
            Path(path).rename(path + ".left-over")
            self._log.warning("database log left over", file=path, renamed=path + ".left-over")
        else:
            Path(path).unlink()


def _shape(path: str) -> _Shape:
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time of pathlib, and each batch of calls asks
    except OSError:
        return _NONE
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
