"""Connections that flood, dribble or stay silent, and the end of descriptors. What they cost others is compared with calls
before them, in the same process: other programs on this machine slow both down."""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fsroute.eventsocket.frames import CONNECT, MAX_BLOCK
from fsroute.simulator.simulated_channel import reply
from tests.support.server import TIMEOUT_S, Server, applications, call, carrier_channel, converse, kill, serving
from tests.support.tables import demo_database

OK = reply("+OK")
MOST_KB = 128 * 1024
"""Memory that a worker may use."""

REJECTED = [("connect", ""), ("hangup", "CALL_REJECTED")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return demo_database(tmp_path_factory.mktemp("db") / "demo.db")


def most_kb(pid: int) -> int:
    """The most memory that a process has held."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])


def processor_s(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def seconds_of_calls(server: Server, count: int = 40) -> float:
    """What a call takes, as the median of several. Each is answered as it should be."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        told = call(server, "+492214710500", {"Caller-Privacy-Hide-Number": "true"}).commands
        seconds.append(time.monotonic() - began)
        assert applications(told) == REJECTED
    return statistics.median(seconds)


@contextmanager
def attacking(count: int, attack: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs an attack in threads of this process."""
    over = threading.Event()
    threads = [threading.Thread(target=attack, args=(over,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(TIMEOUT_S)


def flood(server: Server, data: bytes, *, in_a_call: bool) -> Callable[[threading.Event], None]:
    """Sends this as fast as the server reads it, and connects again when the server closes."""

    def attack(over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), server.connect() as sock:
                if in_a_call:
                    converse(sock, carrier_channel("02214710100"), until="bridge")
                sock.settimeout(0.2)
                while not over.is_set():
                    sock.sendall(data)

    return attack


FLOODS = {
    "replies": OK * 1000,
    "headers": b"X: " + b"x" * 1000 + b"\n",
    "snapshots": carrier_channel("02214710100").snapshot() * 10,
    "bodies": b"Content-Type: command/reply\nContent-Length: 200000\n\n" + b"x" * 200_000,
    "blank lines": b"\n" * 10_000,
}


@pytest.mark.parametrize("in_a_call", [False, True], ids=["before a call", "in a call"])
@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_delays_other_calls_by_little(url: str, tmp_path: Path, data: bytes, in_a_call: bool) -> None:
    with serving(url, tmp_path, "--handshake-s", "2") as server:
        before = seconds_of_calls(server)
        with attacking(3, flood(server, data, in_a_call=in_a_call)):
            time.sleep(0.1)
            during = seconds_of_calls(server)
        assert during < before * 10 + 0.1  # one such connection once stopped all calls for twelve seconds
        assert most_kb(server.workers[0]) < MOST_KB
        seconds_of_calls(server, 5)


def test_many_that_send_byte_by_byte_delay_other_calls_by_little_and_are_closed(url: str, tmp_path: Path) -> None:
    socks: list[socket.socket] = []

    def attack(over: threading.Event) -> None:
        while not over.is_set():
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.sendall(b"x")
            over.wait(0.01)

    with serving(url, tmp_path, "--handshake-s", "2") as server:
        before = seconds_of_calls(server)
        idle = server.descriptors
        socks += [server.connect() for _ in range(50)]
        for sock in socks:
            sock.sendall(b"X: " + b"x" * 200_000 + b"\nContent-Type: command/reply\nContent-Length: 200000\n\n")
        began = time.monotonic()
        with attacking(1, attack):
            during = seconds_of_calls(server)
            deadline = time.monotonic() + 10
            while server.descriptors > idle and time.monotonic() < deadline:
                time.sleep(0.05)
        assert during < before * 10 + 0.1
        assert server.descriptors <= idle
        assert time.monotonic() - began < 12
        for sock in socks:
            sock.close()
        assert most_kb(server.workers[0]) < MOST_KB


@pytest.mark.parametrize("on_failure", ["fallback", "hangup"])
def test_silent_connections_take_no_more_places_than_there_are_and_give_them_to_calls(
    url: str, tmp_path: Path, on_failure: str
) -> None:
    with serving(url, tmp_path, "--max-calls", "5", "--on-failure", on_failure) as server:
        seconds_of_calls(server, 5)
        idle = server.descriptors
        with contextlib.ExitStack() as silent:
            socks = [silent.enter_context(server.connect()) for _ in range(305)]
            for sock in socks[:-5]:
                sock.settimeout(TIMEOUT_S)
                assert sock.recv(100) == CONNECT
                assert sock.recv(100) == b""  # closed, long before handshake_s
            until(lambda: server.descriptors <= idle + 5)
            seconds_of_calls(server, 20)
            reasons = {line["reason"] for line in server.wait_for("connection ended before a call", 300)}
        assert reasons == {"it sent no call, and another connection needed its place"}
        assert server.lines("call not taken") == []


def test_calls_keep_their_places_beside_silent_connections(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, "--max-calls", "5", "--on-failure", "hangup") as server, contextlib.ExitStack() as open_:
        calls = [open_.enter_context(server.connect()) for _ in range(5)]
        channels = [converse(sock, carrier_channel("02214710100"), until="bridge") for sock in calls]
        idle = server.descriptors
        socks = [open_.enter_context(server.connect()) for _ in range(100)]
        server.wait_for("call not taken", 100)
        until(lambda: server.descriptors <= idle + 16)  # those that are told to hang up
        told = applications(call(server, "02214710100").commands)
        assert told == [("connect", ""), ("hangup", "NORMAL_TEMPORARY_FAILURE")]
        for sock, channel in zip(calls, channels, strict=True):
            channel.variables |= {"originate_disposition": "USER_BUSY", "originate_causes": "leg;USER_BUSY"}
            sock.sendall(OK + channel.snapshot())
            assert converse(sock, channel).hangup_cause is not None
        assert socks


def test_incomplete_frames_of_many_connections_have_a_bound_in_memory(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, "--handshake-s", "5") as server, contextlib.ExitStack() as open_:
        seconds_of_calls(server, 5)
        socks = [open_.enter_context(server.connect()) for _ in range(1000)]
        for sock in socks:
            sock.settimeout(1)
            with contextlib.suppress(OSError):
                sock.sendall(b"X: " + b"x" * (MAX_BLOCK - 1000))
        reason = "incomplete frames of all connections fill the memory that they may have"
        assert server.wait_for("not a call", 500, timeout_s=30)[0]["reason"] == reason
        seconds_of_calls(server, 20)
        assert most_kb(server.workers[0]) < MOST_KB


# --- descriptors ------------------------------------------------------------------------------------------


def test_without_descriptors_connections_are_closed_at_once_and_later_ones_are_served(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path) as server, contextlib.ExitStack() as open_:
        seconds_of_calls(server, 5)
        (pid,) = server.workers
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (server.descriptors + 3, hard))
        while open_.enter_context(server.connect()).recv(100) == CONNECT:
            assert server.descriptors < 100
        used = processor_s(pid)
        began = time.monotonic()
        for _ in range(50):
            with server.connect() as sock:
                assert sock.recv(100) == b""
        seconds = time.monotonic() - began
        assert processor_s(pid) - used < 0.5 + seconds / 2
        lines = server.wait_for("no descriptor left")
        assert (lines[0]["closed"], lines[0]["reason"]) == (1, "Too many open files")
        assert len(lines) <= 1 + seconds / 10
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        seconds_of_calls(server, 5)
        server.lines()  # each is JSON: no traceback


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
os.execv(sys.executable, [sys.executable, "-m", "fsroute", *sys.argv[3:]])
"""


@pytest.mark.parametrize(("soft", "hard", "taken"), [(1024, 1024, 924), (256, 1124, 1024), (256, 4096, 2000)])
def test_the_default_fits_the_limit_of_open_files(url: str, tmp_path: Path, soft: int, hard: int, taken: int) -> None:
    log = tmp_path / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", LIMITED, str(soft), str(hard), "serve", "--db", url, "--listen", "127.0.0.1:0"],
            stderr=stream,
        )
    server = Server(process, log)
    try:
        server.wait_for("serving", timeout_s=30)
        assert resource.prlimit(server.workers[0], resource.RLIMIT_NOFILE) == (hard, hard)
        said = [(line["max_calls"], line["given"], line["open_files"]) for line in server.lines("max_calls lowered")]
        assert said == ([(taken, 2000, hard)] if taken < 2000 else [])
    finally:
        kill(process)


# --- addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("allow", "told"), [("127.0.0.0/8", REJECTED), ("10.0.0.0/8,::1", [])])
def test_ipv4_addresses_of_a_listener_for_both_are_ipv4(url: str, tmp_path: Path, allow: str, told: Any) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(url, tmp_path, "--listen", "[::]:0", "--allow", allow) as server:
        assert applications(call(server, "+492214710500", {"Caller-Privacy-Hide-Number": "true"}).commands) == told
        if not told:
            assert [line["peer"] for line in server.wait_for("connection refused")] == ["127.0.0.1"]
