"""fsroute backup, and what docs/operating.md says about restoring, on both databases."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from fsroute.data import loader
from fsroute.data.database import open_database
from fsroute.data.migrations.upgrade import upgrade
from tests.support.documents import blocks
from tests.support.postgresql import Databases, Server
from tests.support.schemas import SCHEMAS, old_database, parts_of, rows_of
from tests.support.server import TOP, applications, call, serving
from tests.support.tables import DEMO, LOADED

CALLS = ["+492214710100", "+492214710300", "+492214710500", "+4930999999"]


def run(*arguments: str | Path, **variables: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "fsroute", *map(str, arguments)]
    environment = os.environ | variables
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    return done.returncode, done.stdout, done.stderr


def needs_pg_dump(url: str) -> None:
    if not url.startswith("sqlite") and not shutil.which("pg_dump"):
        pytest.skip(
            "NOT RUN: backups of PostgreSQL: pg_dump is not installed (on Debian: apt-get install postgresql-client)"
        )


def restored(saved: Path, databases: Databases, directory: Path) -> str:
    """The URL of a database that has been made from a backup, as docs/operating.md says it."""
    if databases.server is None:
        shutil.copy(saved, directory / "restored.db")
        return f"sqlite:///{directory / 'restored.db'}"
    url = databases.empty()
    command = ["pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={url}", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return url


def test_a_restored_database_is_the_same_and_decides_the_same_calls(
    databases: Databases, changeable_demo_url: str, tmp_path: Path
) -> None:
    """The backup is made while a server runs."""
    url = changeable_demo_url
    needs_pg_dump(url)
    saved = tmp_path / "saved"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with serving(url, tmp_path / "first") as server:
        decided = [applications(call(server, to).commands) for to in CALLS]
        status, out, err = run("backup", "--db", url, saved)
    assert (status, out, err) == (0, f"wrote {saved.stat().st_size} bytes to {saved}\n", "")
    assert [path.name for path in tmp_path.glob("saved*")] == ["saved"]
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    again = restored(saved, databases, tmp_path)
    assert (parts_of(again), rows_of(again)) == (parts_of(url), rows_of(url))
    assert upgrade(open_database(again), again).statements == []
    with serving(again, tmp_path / "second") as server:
        assert [applications(call(server, to).commands) for to in CALLS] == decided


def test_a_backup_during_loads_is_of_one_moment(databases: Databases, changeable_demo_url: str, tmp_path: Path) -> None:
    """Each load adds one number to both accounts: no backup has one without the other."""
    url = changeable_demo_url
    needs_pg_dump(url)
    stop = threading.Event()
    loaded: list[int] = []

    def load() -> None:
        script = tmp_path / "numbers.sql"
        while not stop.is_set():
            count = len(loaded)
            script.write_text(
                f"INSERT INTO call_permissions VALUES ('acme', '+33{count:05}', TRUE);\n"  # noqa: S608 - of this test
                f"INSERT INTO call_permissions VALUES ('probe', '+33{count:05}', TRUE);\n"
            )
            loader.load(open_database(url), url, [script], *LOADED)
            loaded.append(count)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        counts = []
        for number in range(3):
            before = len(loaded)
            deadline = time.monotonic() + 30
            while len(loaded) == before:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert run("backup", "--db", url, tmp_path / f"saved{number}")[0] == 0
            (tmp_path / str(number)).mkdir()
            again = restored(tmp_path / f"saved{number}", databases, tmp_path / str(number))
            rows = rows_of(again)["call_permissions"]
            accounts = [[row["prefix"] for row in rows if row["account"] == name] for name in ("acme", "probe")]
            assert accounts[0] == accounts[1]
            counts.append(len(accounts[0]))
    finally:
        stop.set()
        thread.join()
    assert 0 < counts[0] < counts[1] < counts[2]


def test_a_backup_comes_before_an_upgrade(databases: Databases, tmp_path: Path) -> None:
    url = old_database(databases.empty(), SCHEMAS[0])
    needs_pg_dump(url)
    before = parts_of(url), rows_of(url)
    assert run("backup", "--db", url, tmp_path / "saved")[0] == 0
    upgrade(open_database(url), url)
    again = restored(tmp_path / "saved", databases, tmp_path)
    assert (parts_of(again), rows_of(again)) == before
    upgrade(open_database(again), again)
    assert parts_of(again) == parts_of(url)


def test_a_backup_replaces_nothing(databases: Databases, demo_url: str, tmp_path: Path) -> None:
    needs_pg_dump(demo_url)
    for name in ("saved", "other.part"):
        (tmp_path / name).write_text("mine")
    saved, other, nowhere = tmp_path / "saved", tmp_path / "other", tmp_path / "no" / "where"
    assert run("backup", "--db", demo_url, saved) == (
        2, "", f"fsroute: {saved}: exists already, nothing was written: choose another name\n"
    )  # fmt: skip
    assert run("backup", "--db", demo_url, other) == (
        2, "", f"fsroute: {other}.part: exists already: another backup is running, or one has died: then remove it\n"
    )  # fmt: skip
    status, _, err = run("backup", "--db", demo_url, nowhere)
    assert (status, err) == (2, f"fsroute: {nowhere}: cannot be written: No such file or directory\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"saved": "mine", "other.part": "mine"}


def test_a_database_that_cannot_be_read_leaves_no_file(databases: Databases, tmp_path: Path) -> None:
    url = databases.empty()
    assert run("backup", "--db", url, tmp_path / "saved")[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_noticed(databases: Databases, tmp_path: Path) -> None:
    if databases.server is not None:
        return  # pg_dump reads rows, not pages
    url = old_database(databases.empty(), SCHEMAS[-1])
    path = Path(url.removeprefix("sqlite:///"))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'one_base_rule_per_number'")
    connection.close()
    status, out, err = run("backup", "--db", url, tmp_path / "saved")
    assert (status, out) == (2, "")
    assert err.startswith(f"fsroute: database {url}: ")
    assert err.endswith("; no backup was written\n")
    assert list(tmp_path.iterdir()) == []


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_without_pg_dump_the_line_says_what_to_install(postgresql_demo_url: str, tmp_path: Path) -> None:
    status, out, err = run("backup", "--db", postgresql_demo_url, tmp_path / "saved", PATH=str(tmp_path))
    line = "fsroute: needs pg_dump, which is not installed (on Debian: apt-get install postgresql-client)\n"
    assert (status, out, err) == (2, "", line)
    assert list(tmp_path.iterdir()) == []


def test_the_password_is_not_in_the_list_of_processes(
    postgresql_server: Server, postgresql_demo_url: str, tmp_path: Path
) -> None:
    """A pg_dump that shows what it was given."""
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho "$PGPASSWORD" > {tmp_path}/password\necho dump\n')
    program.chmod(0o755)
    password = "s3cr3t @:/"  # noqa: S105 - nobody's
    url = postgresql_demo_url.replace("fsroute@", f"fsroute:{quote(password, safe='')}@", 1)
    status, out, err = run("backup", "--db", url, tmp_path / "saved", PATH=f"{program.parent}:{os.environ['PATH']}")
    assert (status, out, err) == (0, f"wrote 5 bytes to {tmp_path / 'saved'}\n", "")
    assert (tmp_path / "password").read_text() == f"{password}\n"
    given = (tmp_path / "arguments").read_text()
    assert "s3cr3t" not in given
    assert f"host={postgresql_server.directory}" in given


def test_what_pg_dump_says_is_one_line(postgresql_demo_url: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\necho half\necho 'pg_dump: error: server version: 17.1; pg_dump version: 15.2' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    variables = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    status, out, err = run("backup", "--db", postgresql_demo_url, tmp_path / "saved", **variables)
    said = "server version: 17.1; pg_dump version: 15.2; no backup was written"
    assert (status, out, err) == (2, "", f"fsroute: database {postgresql_demo_url}: {said}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_what_operating_md_says_of_postgresql_works(postgresql_server: Server, tmp_path: Path) -> None:
    """Its blocks about roles and backups, in the order in which an operator needs them."""
    for program in ("psql", "createdb", "pg_dump", "pg_restore"):
        if shutil.which(program) is None:
            pytest.skip(f"NOT RUN: PostgreSQL's blocks of docs/operating.md: {program} is not installed (postgresql-client)")
    here = Path(__file__).name
    found = [block for block in blocks(TOP / "docs" / "operating.md") if block.not_run and here in block.not_run]
    [backup, roles] = found
    (tmp_path / "my-company.sql").write_text(DEMO.read_text())
    socket = quote(str(postgresql_server.directory), safe="")
    script = (roles.text + backup.text).replace("db.example", socket)
    environment = os.environ | {
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": str(postgresql_server.directory),
        "PGUSER": "fsroute",
    }
    try:
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert "number +492214710300, account acme" in done.stdout
        first, restored_url = (postgresql_server.url(name) for name in ("fsroute", "restored"))
        assert rows_of(restored_url) == rows_of(first)
        assert [part[:2] for part in parts_of(restored_url)] == [part[:2] for part in parts_of(first)]
    finally:
        for name in ("fsroute", "restored"):
            with suppress(Exception):
                postgresql_server.drop(name)
