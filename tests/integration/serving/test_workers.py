"""Several processes on one port: real ones, by `fsroute serve --workers`."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server, applications, call, carrier_channel, converse, serving
from tests.support.tables import demo_database
from tests.support.wait import wait_until

PATIENCE_S = 8.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return demo_database(tmp_path / "demo.db")


@pytest.fixture
def pair(url: str, tmp_path: Path) -> Iterator[Server]:
    """A master with two workers."""
    with serving(url, tmp_path, "--workers", "2", "--drain-s", "2") as server:
        server.wait_for("serving", 2)
        yield server


def children(server: Server) -> list[int]:
    """The master's workers."""
    tasks = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in tasks.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(server: Server) -> int:
    return server.process.wait(PATIENCE_S)


def holders(pids: list[int]) -> dict[int, int]:
    """Open sockets of each process."""
    return {pid: sum("socket:" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()) for pid in pids}


def test_both_take_calls(pair: Server) -> None:
    before = holders(children(pair))
    socks = [pair.connect() for _ in range(32)]
    try:
        wait_until(lambda: sum(holders(children(pair)).values()) == sum(before.values()) + 32)
        taken = [count - before[pid] for pid, count in holders(children(pair)).items()]
    finally:
        for sock in socks:
            sock.close()
    assert len(taken) == 2
    assert min(taken) > 0


def test_each_routes_calls(pair: Server) -> None:
    assert {call(pair, "02214710300").hangup_cause for _ in range(10)} == {"USER_BUSY"}


def test_one_that_dies_is_replaced_and_the_others_go_on(pair: Server) -> None:
    first, second = children(pair)
    with pair.connect() as sock:
        converse(sock, carrier_channel("02214710300"), until="bridge")
        os.kill(first, signal.SIGKILL)
        pair.wait_for("serving", 3, PATIENCE_S)
    (line,) = pair.lines("worker ended")
    assert (line["pid"], line["status"]) == (first, -signal.SIGKILL)
    assert second in children(pair)
    assert len(children(pair)) == 2
    assert first not in children(pair)
    for _ in range(8):
        assert applications(call(pair, "02214710300").commands)[0] == ("connect", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_master_ends_them_all(pair: Server, number: signal.Signals) -> None:
    pids = children(pair)
    pair.process.send_signal(number)
    assert ended(pair) == 0
    assert not any(map(is_alive, pids))
    assert len(pair.lines("stopped")) == 2


def test_running_calls_get_their_time_to_end(pair: Server) -> None:
    with pair.connect() as sock:
        channel = converse(sock, carrier_channel("02214710300"), until="bridge")
        pair.terminate()
        pair.wait_for("draining", 2)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", pair.port), 1).close()
        assert pair.process.poll() is None
        assert channel.commands
    assert ended(pair) == 0


def test_none_stays_when_the_master_is_killed(pair: Server) -> None:
    pids = children(pair)
    pair.process.kill()
    wait_until(lambda: not any(map(is_alive, pids)))


def test_one_that_starts_while_the_database_is_away_waits_for_it(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, "--workers", "2") as server:
        server.wait_for("serving", 2)
        (tmp_path / "demo.db").rename(tmp_path / "away.db")
        server.wait_for("database unavailable", 2, PATIENCE_S)
        os.kill(children(server)[0], signal.SIGKILL)
        server.wait_for("serving", 3, PATIENCE_S)
        reasons = [line["reason"] for line in server.wait_for("database unavailable", 3, PATIENCE_S)]
        assert reasons == [f"database {url}: no such file (fsroute init makes it)"] * 3
        (tmp_path / "away.db").rename(tmp_path / "demo.db")
        server.wait_for("database available again", 2, PATIENCE_S)


# --- bad input --------------------------------------------------------------------------------------------


def refused(*flags: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "fsroute", "serve", *flags], capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.returncode == 2, ran
    return ran.stderr


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_workers(url: str, count: str) -> None:
    assert refused("--db", url, "--workers", count) == f"fsroute: workers = {count}: must be at least 1\n"


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_another_program_holds(url: str, workers: str, sharing: bool) -> None:
    with socket.socket() as other:
        if sharing:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        told = refused("--db", url, "--workers", workers, "--listen", address)
    assert told == f"fsroute: cannot listen on {address}: another program listens there\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tables_of_another_version(url: str, workers: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    told = refused("--db", url, "--workers", workers, "--listen", "127.0.0.1:0")
    assert told.startswith(f"fsroute: database {url}: its schema version is 99, this fsroute needs ")
