"""`fsroute serve` while its PostgreSQL is killed, stopped, silent, full, failed over or late.

Each process is real. How long a decision took comes from the log (`ms`): the test's own machine may be busy.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support import postgresql
from tests.support.postgresql import Databases
from tests.support.postgresql import Server as PostgreSQL
from tests.support.proxy import proxied
from tests.support.server import Server, applications, call, carrier_channel, converse, serving
from tests.support.tables import DEMO
from tests.support.wait import wait_until

PATIENCE_S = 60.0
KNOWN, UNKNOWN = "02214710100", "02214710400"

BRIEF = ("--decision-ms", "400", "--cache-seconds", "0.05")
"""What was read counts as known to be right for a moment only: after that a line says that a call is routed from memory."""


@contextmanager
def primary() -> Iterator[PostgreSQL]:
    reason = postgresql.why_not()
    if reason:
        pytest.skip(f"NOT RUN: faults of PostgreSQL: {reason}")
    server = postgresql.start(primary=True)
    try:
        yield server
    finally:
        remove(server)


def remove(server: PostgreSQL) -> None:
    if server.is_running:
        server.kill()
    shutil.rmtree(server.directory)


class Own:
    """A PostgreSQL that tests may stop and kill; a test that kills it starts it again."""

    def __init__(self, server: PostgreSQL, directory: Path) -> None:
        self.server = server
        self.databases = Databases(directory, server)

    def url(self) -> str:
        return self.databases.filled(DEMO)

    @property
    def socket(self) -> Path:
        return self.server.directory / ".s.PGSQL.5432"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with primary() as server:
        yield Own(server, tmp_path_factory.mktemp("own"))


def is_decided(server: Server, to: str) -> bool:
    """Whether a call gets as far as a bridge or an end that fsroute decided."""
    with server.connect() as sock:
        channel = converse(sock, carrier_channel(to), until="bridge")
    return applications(channel.commands)[1:] != []


def last(server: Server, event: str) -> dict[str, Any]:
    return server.wait_for(event, timeout_s=PATIENCE_S)[-1]


def moment(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


def is_away(server: Server) -> None:
    """Known calls are decided at once, from memory; others are given up at once."""
    server.wait_for("database unavailable", timeout_s=PATIENCE_S)
    for _ in range(3):
        assert is_decided(server, KNOWN)
        line = last(server, "call routed")
        assert (line["code"], line["ms"] < 400) == ("routed", True)
        began = time.monotonic()
        assert not is_decided(server, UNKNOWN)
        assert time.monotonic() - began < 5  # without load: a millisecond
    from_memory = server.lines("routed from memory")
    assert len(from_memory) >= 3
    assert len(server.lines("database unavailable")) == 1


def is_back(server: Server) -> dict[str, Any]:
    """All calls are decided again, and the log says so once."""
    line = server.wait_for("database available again", timeout_s=PATIENCE_S)[0]
    assert is_decided(server, UNKNOWN)
    assert len(server.lines("database unavailable")) == len(server.lines("database available again")) == 1
    assert (line["from_memory"], line["undecided"]) >= (3, 3)
    return line


# --- away and back ----------------------------------------------------------------------------------------


def test_all_of_postgresql_stops_and_goes_on(own: Own, tmp_path: Path) -> None:
    with serving(own.url(), tmp_path, *BRIEF) as server:
        assert is_decided(server, KNOWN)
        own.server.signal(signal.SIGSTOP)
        try:
            is_away(server)
        finally:
            own.server.signal(signal.SIGCONT)
        is_back(server)


def test_reads_that_hang_hold_up_nobody_afterwards(own: Own, tmp_path: Path) -> None:
    """Every thread and connection waits for a server that stopped; then other calls are decided as before."""
    url = own.url()
    with serving(url, tmp_path, "--db-connections", "2", *BRIEF) as server:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: is_decided(server, KNOWN), range(4)))
            own.server.signal(signal.SIGSTOP)
            try:
                assert not any(threads.map(lambda _: is_decided(server, UNKNOWN), range(8)))
                server.wait_for("database unavailable", timeout_s=PATIENCE_S)
            finally:
                own.server.signal(signal.SIGCONT)
        server.wait_for("database available again", timeout_s=PATIENCE_S)
        assert is_decided(server, UNKNOWN)


def test_a_network_that_goes_silent_and_comes_back(own: Own, tmp_path: Path) -> None:
    name = own.url().rpartition("/")[2]
    with (
        proxied(own.socket) as proxy,
        serving(f"postgresql://fsroute@127.0.0.1:{proxy.port}/{name}", tmp_path, *BRIEF) as server,
    ):
        assert is_decided(server, KNOWN)
        proxy.be_silent()
        is_away(server)
        proxy.pass_on()
        is_back(server)


def test_postgresql_is_killed_and_started_again(own: Own, tmp_path: Path) -> None:
    with serving(own.url(), tmp_path, *BRIEF) as server:
        assert is_decided(server, KNOWN)
        own.server.kill()
        try:
            is_away(server)
        finally:
            own.server = postgresql.restart(own.server)
            own.databases.server = own.server
        is_back(server)


def test_a_start_without_postgresql(own: Own, tmp_path: Path) -> None:
    url = own.url()
    own.server.kill()
    try:
        running = serving(url, tmp_path)
        server = running.__enter__()
        assert {"database unavailable", "serving"} <= {line["event"] for line in server.lines()}
        assert not is_decided(server, KNOWN)
    finally:
        own.server = postgresql.restart(own.server)
        own.databases.server = own.server
    server.wait_for("database available again", timeout_s=PATIENCE_S)
    assert is_decided(server, KNOWN)
    running.__exit__(None, None, None)


def test_attempts_that_time_out_leave_no_descriptors(tmp_path: Path) -> None:
    """Each attempt at a host that never answers ends after two seconds; psycopg alone kept its socket."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as silent,
        serving(f"postgresql://fsroute@127.0.0.1:{silent.getsockname()[1]}/x", tmp_path) as server,
    ):
        reason = server.wait_for("database unavailable", timeout_s=PATIENCE_S)[0]["reason"]
        assert reason.endswith(": connection timeout expired")
        before = server.descriptors
        silent.settimeout(PATIENCE_S)
        accepted = [silent.accept()[0] for _ in range(10)]
        assert server.descriptors <= before + 2  # an attempt of each thread
        for sock in accepted:
            sock.close()


def test_connections_that_were_ended_cost_no_call(own: Own, tmp_path: Path) -> None:
    """PostgreSQL was restarted, or an administrator has ended fsroute's connections."""
    url = own.url()
    name = url.rpartition("/")[2]
    with serving(url, tmp_path) as server:
        for to in (KNOWN, UNKNOWN, "02214710300"):
            own.server.execute(
                "postgres",
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608
            )
            assert is_decided(server, to)
        assert server.lines("call not routed") == server.lines("database unavailable") == []


def test_hosts_that_do_not_answer_or_refuse_are_passed_over(own: Own, tmp_path: Path) -> None:
    """The one that prefers a standby takes the primary if no other host is left."""
    name = own.url().rpartition("/")[2]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:1,{own.server.host}:5432"
        url = f"postgresql://fsroute@{hosts}/{name}?target_session_attrs=prefer-standby"
        with serving(url, tmp_path) as server:
            server.wait_for("serving")
            wait_until(lambda: is_decided(server, KNOWN))


# --- limits -----------------------------------------------------------------------------------------------


def test_at_the_limit_of_connections_calls_wait_for_each_other(own: Own, tmp_path: Path) -> None:
    name = own.url().rpartition("/")[2]
    role = f"few_{name}"
    own.server.execute("postgres", f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 3")
    own.server.execute(name, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url = f"postgresql://{role}@{own.server.host}/{name}"
    # One connection is for notifications, two are left. A generous deadline: the machine may be busy.
    with serving(url, tmp_path, "--cache-seconds", "0", "--decision-ms", "20000") as server:
        with ThreadPoolExecutor(10) as threads:
            decided = list(threads.map(lambda _: is_decided(server, UNKNOWN), range(30)))
        assert decided == [True] * 30
        assert server.lines("call not routed") == server.lines("database unavailable") == []


# --- several hosts ----------------------------------------------------------------------------------------


@contextmanager
def pair(directory: Path) -> Iterator[tuple[PostgreSQL, PostgreSQL, str]]:
    """A primary with the demo's tables, its standby, and the name of the database."""
    with primary() as first:
        name = Databases(directory, first).filled(DEMO).rpartition("/")[2]
        second = postgresql.standby_of(first)
        try:
            yield first, second, name
        finally:
            remove(second)


def load(url: str, directory: Path, sql: str) -> subprocess.CompletedProcess[str]:
    script = directory / "change.sql"
    script.write_text(sql)
    return subprocess.run(
        [sys.executable, "-m", "fsroute", "load", "--db", url, script], capture_output=True, text=True, check=False
    )


def test_the_primary_is_killed_under_calls_and_none_is_lost(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, name):
        url = f"postgresql://fsroute@{first.host},{second.host}/{name}"
        with serving(url, tmp_path, "--cache-seconds", "0", "--decision-ms", "10000") as server:
            results: list[bool] = []
            stop = threading.Event()

            def calls(to: str) -> None:
                while not stop.is_set():
                    results.append(is_decided(server, to))
                    time.sleep(0.02)

            callers = [threading.Thread(target=calls, args=(to,)) for to in (KNOWN, UNKNOWN, "02214710300")]
            for caller in callers:
                caller.start()
            wait_until(lambda: len(results) > 30)
            first.kill()
            before = len(results)
            wait_until(lambda: len(results) > before + 30)
            second.promote()
            before = len(results)
            wait_until(lambda: len(results) > before + 30)
            # What is written goes to the new primary, by the same URL, and is heard of.
            server.wait_for("database notifications: available again", timeout_s=PATIENCE_S)
            loaded = load(url, tmp_path, "UPDATE numbers SET enabled = false WHERE number = '+492214710400';")
            assert loaded.returncode == 0, loaded.stderr
            wait_until(lambda: last(server, "call routed") is not None and not is_decided_as(server, UNKNOWN, "routed"))
            stop.set()
            for caller in callers:
                caller.join()
            assert results == [True] * len(results)
            assert server.lines("call not routed") == []


def is_decided_as(server: Server, to: str, code: str) -> bool:
    channel = call(server, to)
    return channel.variables.get("fsroute_code") == code


def test_a_load_by_a_url_that_prefers_standbys_writes_to_the_primary_and_readers_follow(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, name):
        url = f"postgresql://fsroute@{second.host},{first.host}/{name}?target_session_attrs=prefer-standby"
        with serving(url, tmp_path) as server:
            assert is_decided_as(server, KNOWN, "routed")
            assert first.execute("postgres", sessions(name)) == [("LISTEN fsroute",)]
            # The standby receives the change, and does not show it.
            second.execute("postgres", "SELECT pg_wal_replay_pause()")
            loaded = load(url, tmp_path, "UPDATE numbers SET enabled = false WHERE number = '+492214710100';")
            assert loaded.returncode == 0, loaded.stderr
            assert is_decided_as(server, KNOWN, "routed")
            second.execute("postgres", "SELECT pg_wal_replay_resume()")
            wait_until(lambda: not is_decided_as(server, KNOWN, "routed"))
            assert server.lines("call not routed") == server.lines("database unavailable") == []


def sessions(name: str) -> str:
    return (
        "SELECT query FROM pg_stat_activity WHERE datname = '" + name + "' AND backend_type = 'client backend'"  # noqa: S608
    )
