"""The PostgreSQL of freeswitch/compose.yaml, without a container: pg_hba.conf and roles.sql as the image uses them, and each
service's role."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import COMPOSE, read_yaml
from tests.support.postgresql import binaries
from tests.support.tables import DEMO

psycopg = pytest.importorskip("psycopg", reason="NOT RUN: compose's PostgreSQL: psycopg is not installed")

FILES = COMPOSE.parent / "postgresql"
START_S = 30.0


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """The directory of a server's socket. The server was set up as the image's entry point does it."""
    programs = binaries()
    if programs is None:
        pytest.skip("NOT RUN: compose's PostgreSQL: it is not installed (on Debian: apt-get install postgresql)")
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: compose's PostgreSQL: only root can become the system user postgres")
    made = Path(tempfile.mkdtemp(prefix="fsroute-compose-"))
    made.chmod(0o755)
    shutil.chown(made, "postgres")
    data = made / "data"
    for path in FILES.iterdir():
        shutil.copy(path, made)  # as it is mounted: the user postgres may not read this checkout
        (made / path.name).chmod(0o644)

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, user="postgres", cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout

    [flag, hba] = read_yaml(COMPOSE)["services"]["postgresql"]["command"]
    assert (flag, hba) == ("-c", "hba_file=/etc/postgresql/pg_hba.conf")
    run(
        programs / "initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8"
    )
    options = [
        f"-chba_file={made / 'pg_hba.conf'}",
        "-clisten_addresses=",
        f"-cunix_socket_directories={made}",
        "-cfsync=off",
    ]
    process = subprocess.Popen(
        [programs / "postgres", "-D", data, *options],
        user="postgres",
        cwd=made,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + START_S
        while subprocess.run(
            [programs / "pg_isready", "--quiet", "--host", made, "--username", "postgres"], check=False
        ).returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        psql = ("psql", "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "--host", made, "--username", "postgres")
        run(*psql, "--command", "CREATE DATABASE fsroute")
        run(*psql, "--dbname", "fsroute", "--file", made / "roles.sql")
        yield made
    finally:
        process.terminate()
        process.wait(START_S)
        shutil.rmtree(made)


def url_of(service: str, directory: Path) -> str:
    url: str = read_yaml(COMPOSE)["services"][service]["environment"]["FSROUTE_DB"]
    return url.replace("%2Fvar%2Frun%2Fpostgresql", str(directory).replace("/", "%2F"))


def test_each_service_does_its_part(directory: Path) -> None:
    commands: list[tuple[str, list[str | Path], int]] = [
        ("loader", ["init"], 2),
        ("owner", ["init"], 0),
        ("fsroute", ["load", DEMO], 2),
        ("loader", ["load", DEMO], 0),
        ("fsroute", ["explain", "--to", "+492214710100"], 0),
        ("verifier", ["verify", "list"], 0),
        ("fsroute", ["verify", "list"], 2),
        ("loader", ["upgrade"], 2),
        ("owner", ["upgrade"], 0),
    ]
    ended = []
    for service, command, _ in commands:
        done = subprocess.run(
            [sys.executable, "-m", "fsroute", *command, "--db", url_of(service, directory)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        ended.append((service, command, done.returncode))
        assert done.returncode == 0 or done.stderr.count("\n") == 1, done.stderr
    assert ended == commands


def test_no_service_can_become_the_superuser(directory: Path) -> None:
    """Who opens the socket may be one of fsroute's roles. The superuser is the system user postgres alone."""
    for url in (url_of("fsroute", directory), url_of("owner", directory)):
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
    base = url_of("fsroute", directory)
    for role, database in (
        ("postgres", "fsroute"),
        ("postgres", "postgres"),
        ("fsroute_owner", "postgres"),
        ("nobody", "fsroute"),
    ):
        other = base.replace("fsroute_router@", f"{role}@").rpartition("/")[0] + f"/{database}"
        with pytest.raises(psycopg.OperationalError, match=r"Peer authentication failed|rejects connection"):
            psycopg.connect(other)
