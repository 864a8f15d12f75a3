"""What is noticed of an SQLite file that is replaced, and what is not taken for that."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from fsroute.data.sqlite_file import SqliteFile


def make(path: Path, text: str) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (?)", (text,))
    return path


def write(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO t VALUES (?)", (text,))


def reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)


def texts(database: sqlite3.Connection) -> list[str]:
    return [text for (text,) in database.execute("SELECT a FROM t ORDER BY rowid")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "pbx.db", "old")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return make(tmp_path / "other.db", "new")


@pytest.fixture
def log() -> CapturingLogger:
    return CapturingLogger()


@pytest.fixture
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that stays open, as a server's, so that the log stays too."""
    with closing(reader(path)) as database:
        assert texts(database) == ["old"]
        yield database


@pytest.fixture
def file(path: Path, opened: sqlite3.Connection, log: CapturingLogger) -> SqliteFile:
    made = SqliteFile(path, log)
    made.look()
    made.has_log = True
    made.note_log()
    return made


def told(log: CapturingLogger) -> list[str]:
    return [str(line.kwargs.get("reason", line.args[0])) for line in log.calls]


def test_commits_and_checkpoints_are_no_other_content(
    file: SqliteFile, path: Path, opened: sqlite3.Connection, log: CapturingLogger
) -> None:
    write(path, "more")
    assert file.look() == 0
    for mode in ("PASSIVE", "TRUNCATE"):
        opened.execute(f"PRAGMA wal_checkpoint({mode})")
        assert file.look() == 0
        write(path, mode)
    assert file.note_log() > 0
    opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (file.look(), file.note_log(), log.calls) == (0, 0, [])


def test_another_file_of_the_same_name(file: SqliteFile, path: Path, other: Path, log: CapturingLogger) -> None:
    other.rename(path)
    assert (file.look(), file.look(), file.settled) == (1, 1, 0)
    assert told(log) == ["another file has its name now"]


def test_the_log_of_the_old_file_is_not_laid_over_the_new_one(
    file: SqliteFile, path: Path, other: Path, opened: sqlite3.Connection, log: CapturingLogger
) -> None:
    write(path, "only in the log")
    file.note_log()
    other.rename(path)
    file.look()
    opened.close()
    file.settle()
    with closing(reader(path)) as database:
        assert texts(database) == ["new"]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert file.settled == 1
    assert told(log) == ["another file has its name now", "database log left over"]
    assert Path(f"{path}-wal.left-over").stat().st_size > 0


def test_a_log_that_came_with_the_new_file_is_its_own(file: SqliteFile, path: Path, other: Path) -> None:
    with closing(reader(other)) as database:
        texts(database)
        write(other, "in its log")
        for suffix in ("-wal", "-shm", ""):
            Path(f"{other}{suffix}").rename(f"{path}{suffix}")
        assert file.look() == 1
        file.settle()
        with closing(reader(path)) as moved:
            assert texts(moved) == ["new", "in its log"]


def test_a_content_that_is_copied_over_the_file(
    file: SqliteFile, path: Path, other: Path, opened: sqlite3.Connection, log: CapturingLogger
) -> None:
    for number in range(20):
        write(other, f"{number} {'x' * 5000}")
    with closing(sqlite3.connect(other)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        expected = texts(database)
    shutil.copyfile(other, path)
    assert file.look() == 1
    opened.close()
    file.settle()
    with closing(reader(path)) as copied:
        assert texts(copied) == expected
    assert told(log) == ["its content was replaced"]


def test_a_file_that_goes_and_comes_back_is_the_same(file: SqliteFile, path: Path, log: CapturingLogger) -> None:
    write(path, "in its log")
    file.note_log()
    away = path.with_name("away.db")
    path.rename(away)
    assert (file.look(), file.look()) == (1, 1)
    away.rename(path)
    assert file.look() == 1
    file.settle()
    with closing(reader(path)) as database:
        assert texts(database) == ["old", "in its log"]
    assert log.calls == []


def test_a_file_without_a_log_is_left_to_sqlite(tmp_path: Path, other: Path, log: CapturingLogger) -> None:
    path = tmp_path / "plain.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE t (a)")
    file = SqliteFile(path, log)
    file.look()
    file.note_log()
    write(path, "a commit changes the file itself")
    os.utime(path, (1, 1))
    assert (file.look(), log.calls) == (0, [])
