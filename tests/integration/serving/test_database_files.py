"""`fsroute serve` with two workers while its SQLite file is deleted, made again, restored and locked."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.server import Server, call, serving
from tests.support.tables import DEMO, demo_database
from tests.support.wait import wait_until

PATIENCE_S = 60.0
NUMBER = "02214710100"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    demo_database(tmp_path / "data" / "pbx.db")
    return tmp_path / "data" / "pbx.db"


@pytest.fixture
def server(path: Path, tmp_path: Path) -> Iterator[Server]:
    with serving(f"sqlite:///{path}", tmp_path, "--workers", "2", "--decision-ms", "5000") as running:
        running.wait_for("serving", 2, PATIENCE_S)
        yield running


def codes(server: Server) -> set[str | None]:
    """What calls end as, in both workers: the kernel distributes them."""
    return {call(server, NUMBER).variables.get("fsroute_code") for _ in range(8)}


def fsroute(command: str, path: Path, *arguments: Path) -> None:
    line = [sys.executable, "-m", "fsroute", command, "--db", f"sqlite:///{path}", *map(str, arguments)]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def disable(path: Path) -> None:
    script = path.with_name("disable.sql")
    script.write_text("UPDATE numbers SET enabled = false WHERE number = '+492214710100';")
    fsroute("load", path, script)


def is_whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as database:
        return bool(database.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def test_a_deleted_database_is_made_again_by_init_and_load(server: Server, path: Path) -> None:
    assert codes(server) == {"routed"}
    path.unlink()
    server.wait_for("database unavailable", 2, PATIENCE_S)
    assert codes(server) == {"routed"}
    fsroute("init", path)
    fsroute("load", path, DEMO)
    disable(path)
    wait_until(lambda: codes(server) == {"number_disabled"})
    server.wait_for("database available again", 2, PATIENCE_S)
    assert is_whole(path)


def test_a_backup_is_copied_over_the_file_under_two_workers(server: Server, path: Path) -> None:
    backup = path.with_name("backup.db")
    shutil.copyfile(path, backup)
    assert codes(server) == {"routed"}
    disable(path)
    wait_until(lambda: codes(server) == {"number_disabled"})
    wait_until(lambda: path.with_name("pbx.db-wal").stat().st_size == 0)
    time.sleep(2.5)  # both workers have looked at the log since it is empty
    shutil.copyfile(backup, path)
    server.wait_for("database replaced", 2, PATIENCE_S)
    wait_until(lambda: codes(server) == {"routed"})
    # A writer and both workers see the same file, and the same log.
    disable(path)
    wait_until(lambda: codes(server) == {"number_disabled"})
    assert is_whole(path)
    assert not server.lines("call not routed")


def test_a_file_with_a_log_is_replaced_under_two_workers(server: Server, path: Path) -> None:
    """The old file's log must not be laid over the new one."""
    new = path.with_name("new.db")
    demo_database(new)
    assert codes(server) == {"routed"}
    disable(path)
    new.rename(path)
    wait_until(lambda: codes(server) == {"routed"})
    server.wait_for("database replaced", 2, PATIENCE_S)
    disable(path)
    wait_until(lambda: codes(server) == {"number_disabled"})
    assert is_whole(path)
