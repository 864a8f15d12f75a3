"""Connections to an SQLite file that is locked, taken away, replaced and upgraded under them."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from peewee import Database, OperationalError
from structlog.testing import CapturingLogger

from fsroute.data.connections import Connections
from fsroute.data.schema import schema_version
from fsroute.data.sqlite_file import SqliteFile
from fsroute.errors import DataError, WrongVersion
from tests.support.tables import demo_database
from tests.support.wait import PATIENCE_S, wait_until


class Pool:
    """Connections to one file, with what they log and how often they had others closed."""

    def __init__(self, path: Path, most: int = 2, wait_s: float = 0.5) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.log = CapturingLogger()
        self.released = 0
        file = SqliteFile(path, self.log)
        self.connections = Connections(self.url, most, wait_s, self.log, file, self._release)

    def _release(self) -> None:
        self.released += 1

    def names(self) -> list[str]:
        """The accounts that a call finds."""
        return self.connections.run(accounts)

    def events(self) -> list[str]:
        return [str(line.args[0]) for line in self.log.calls]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        wait_until(lambda: self.events().count(event) >= count)
        return next(dict(line.kwargs) for line in reversed(self.log.calls) if line.args[0] == event)


def accounts(database: Database) -> list[str]:
    return [name for (name,) in database.execute_sql("SELECT name FROM accounts ORDER BY name").fetchall()]


def names_or_none(pool: Pool) -> list[str] | None:
    try:
        return pool.names()
    except DataError:
        return None


def write(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(sql, values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    demo_database(tmp_path / "pbx.db")
    return tmp_path / "pbx.db"


@pytest.fixture
def pool(path: Path) -> Iterator[Pool]:
    made = Pool(path)
    made.connections.start()
    yield made
    made.connections.close()


def test_a_call_reads_and_nothing_is_logged(pool: Pool) -> None:
    assert "acme" in pool.names()
    assert (pool.connections.trouble, pool.connections.is_away, pool.log.calls) == (None, False, [])


def test_no_more_connections_than_set_are_lent(pool: Pool) -> None:
    """A third reader waits until one of two connections is free."""
    seen: list[int] = []
    inside, leave = threading.Barrier(3), threading.Event()

    def hold(database: Database) -> None:
        seen.append(id(database))
        inside.wait(PATIENCE_S)
        leave.wait(PATIENCE_S)

    holders = [threading.Thread(target=pool.connections.run, args=(hold,)) for _ in range(2)]
    for holder in holders:
        holder.start()
    inside.wait(PATIENCE_S)
    began = time.monotonic()
    with pytest.raises(DataError, match=r"^no connection to the database within 500 ms$"):
        pool.names()
    assert time.monotonic() - began >= 0.5
    leave.set()
    for holder in holders:
        holder.join()
    assert len(set(seen)) == 2
    assert "acme" in pool.names()


def test_a_failure_of_one_read_is_no_outage(pool: Pool) -> None:
    def fail(_: Database) -> None:
        raise OperationalError("interrupted")

    with pytest.raises(DataError, match="interrupted"):
        pool.connections.run(fail)
    pool.connections.doubt("interrupted")
    wait_until(lambda: pool.connections.trouble is None)
    assert "acme" in pool.names()
    assert pool.log.calls == []


def test_a_file_that_is_deleted_and_made_again(pool: Pool) -> None:
    pool.path.unlink()
    reason = f"database {pool.url}: no such file (fsroute init makes it)"
    assert pool.wait_for("database unavailable") == {"db": pool.url, "reason": reason}
    began = time.monotonic()
    with pytest.raises(DataError, match="no such file"):
        pool.names()
    assert time.monotonic() - began < 0.4  # it does not wait
    assert (pool.connections.trouble, pool.connections.is_away) == (reason, True)
    pool.connections.count(from_memory=True)
    pool.connections.count(from_memory=False)
    demo_database(pool.path.with_name("new.db"))
    pool.path.with_name("new.db").rename(pool.path)
    told = pool.wait_for("database available again")
    assert (told["from_memory"], told["undecided"], pool.released > 0) == (1, 1, True)
    assert "acme" in pool.names()
    assert pool.events() == ["database unavailable", "database replaced", "database available again"]


def test_a_file_that_is_replaced(pool: Pool) -> None:
    demo_database(pool.path.with_name("new.db"))
    write(pool.path.with_name("new.db"), "UPDATE accounts SET country = 'AT' WHERE name = 'acme'")
    pool.path.with_name("new.db").rename(pool.path)

    def country(database: Database) -> Any:
        return database.execute_sql("SELECT country FROM accounts WHERE name = 'acme'").fetchone()[0]

    pool.wait_for("database replaced")
    assert pool.connections.run(country) == "AT"
    assert pool.events() == ["database replaced"]


def test_a_backup_that_is_copied_over_the_file(pool: Pool) -> None:
    backup = pool.path.with_name("backup.db")
    shutil.copyfile(pool.path, backup)
    write(
        pool.path,
        "INSERT INTO accounts (name, country, timezone, domain) VALUES ('late', 'DE', 'Europe/Berlin', 'l.example')",
    )
    assert "late" in pool.names()
    log = pool.path.with_name("pbx.db-wal")
    wait_until(lambda: log.stat().st_size == 0)  # the file is whole by then
    assert log.exists()
    time.sleep(1.5)  # the keeper has looked at the log
    shutil.copyfile(backup, pool.path)
    pool.wait_for("database replaced")
    wait_until(lambda: names_or_none(pool) is not None)  # the copy may not have been whole yet
    assert "late" not in pool.names()
    assert "acme" in pool.names()
    assert set(pool.events()) <= {"database replaced", "database unavailable", "database available again"}
    with closing(sqlite3.connect(pool.path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_locked(pool: Pool) -> None:
    write(pool.path, "PRAGMA user_version = 1")
    with closing(sqlite3.connect(pool.path, timeout=PATIENCE_S)) as database:
        pool.connections.close()
        wait_until(lambda: database.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",))
        other = Pool(pool.path)
        other.connections.start()
        database.execute("BEGIN EXCLUSIVE")
        assert other.wait_for("database unavailable")["reason"].endswith("database is locked")
        database.execute("ROLLBACK")
        other.wait_for("database available again")
        assert "acme" in other.names()
        other.connections.close()


def test_a_version_that_changes_under_a_server(pool: Pool) -> None:
    write(pool.path, "UPDATE schema_version SET version = 99")
    reason = f"for an fsroute of schema version 99 or newer, and this one has {schema_version()}: install a newer fsroute"
    assert reason in pool.wait_for("database unavailable")["reason"]
    with pytest.raises(DataError, match="of schema version 99 or newer"):
        pool.names()
    write(pool.path, "UPDATE schema_version SET version = ?", schema_version())
    pool.wait_for("database available again")
    assert "acme" in pool.names()


def test_a_start_with_another_version_is_an_error(path: Path) -> None:
    write(path, "UPDATE schema_version SET version = 99")
    with pytest.raises(WrongVersion):
        Pool(path).connections.start()


def test_a_start_without_a_file_is_none(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pbx.db")
    pool.connections.start()
    assert pool.events() == ["database unavailable"]
    demo_database(pool.path)
    pool.wait_for("database available again")
    assert "acme" in pool.names()
    pool.connections.close()


def test_a_text_that_is_no_database(pool: Pool) -> None:
    pool.path.with_name("x").write_text("no database " * 1000)
    pool.path.with_name("x").rename(pool.path)
    assert pool.wait_for("database unavailable")["reason"].endswith("file is not a database")
