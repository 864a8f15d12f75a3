"""The server while its standard error is full, dead or stalled. No call waits for the log, and none is lost."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import server as servers
from tests.support.server import applications, carrier_channel, children, converse, listening_port
from tests.support.tables import demo_database

PATIENCE_S = 20.0
"""For what takes a second at most on an idle machine."""

MAX_CALLS = 5
"""Fewer than the calls of a test: a place that is not freed shows."""

REJECTED = [("connect", ""), ("hangup", "CALL_REJECTED")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return demo_database(tmp_path_factory.mktemp("db") / "demo.db")


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def serving(url: str, stderr: int, workers: int, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server with this standard error, and the port on which it answers calls."""
    process = servers.start(
        stderr, "--db", url, "--max-calls", str(MAX_CALLS), "--workers", str(workers), "--drain-s", "1", *flags
    )

    def ports() -> set[int]:
        pids = children(process.pid)
        found = {listening_port(pid) for pid in pids}
        return found if len(pids) == workers else {0}

    try:
        until(lambda: process.poll() is not None or 0 not in ports())
        assert process.poll() is None
        (port,) = ports()
        yield process, port
    finally:
        servers.kill(process)


def place_calls(port: int, count: int) -> list[float]:
    """So many calls, one after the other, each answered as it should be. Returns the seconds of each."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), servers.TIMEOUT_S) as sock:
            channel = carrier_channel("+492214710500")
            channel.profile["Caller-Privacy-Hide-Number"] = "true"
            assert applications(converse(sock, channel).commands) == REJECTED
        seconds.append(time.monotonic() - began)
    return seconds


def replaced(process: subprocess.Popen[bytes], port: int) -> None:
    """The master replaces a worker that dies."""
    first = children(process.pid)[0]
    os.kill(first, signal.SIGKILL)
    until(lambda: len(pids := children(process.pid)) == 2 and first not in pids and listening_port(pids[1]) == port)


def stopped(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM ends it in the usual time, with success."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def fill(writer: int) -> None:
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"\n" * 4096)
    os.set_blocking(writer, True)


def filled() -> tuple[int, int]:
    """A pipe that takes nothing more: its reader and its writer."""
    reader, writer = os.pipe()
    fill(writer)
    return reader, writer


def lines_of(data: bytes) -> list[dict[str, Any]]:
    """Each line, checked to be one JSON object."""
    return [json.loads(line) for line in data.splitlines() if line]


def read_rest(descriptor: int) -> bytes:
    """What a pipe or socket holds until all its writers have closed it."""
    data = b""
    while select.select([descriptor], [], [], PATIENCE_S)[0] and (more := os.read(descriptor, 1 << 20)):
        data += more
    return data


def count(lines: list[dict[str, Any]], event: str) -> int:
    return sum(line["event"] == event for line in lines)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_that_stalls_holds_up_no_call_and_misses_no_line(url: str, kind: str, workers: int) -> None:
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        reader, writer = (end.detach() for end in socket.socketpair())
    with serving(url, writer, workers) as (process, port):
        if kind == "pipe":  # the server does not know that somebody else fills the pipe too
            fill(writer)
        os.close(writer)
        place_calls(port, 500)  # about 400 kB of lines: more than a socket's buffer
        process.send_signal(signal.SIGTERM)
        lines = lines_of(read_rest(reader))
        assert process.wait(PATIENCE_S) == 0
    os.close(reader)
    assert (count(lines, "call routed"), count(lines, "call ended")) == (500, 500)
    assert count(lines, "log lines lost") == 0
    if workers == 1:
        assert lines[-1]["event"] == "stopped"
        times = [line["timestamp"] for line in lines]
        assert times == sorted(times)


def test_a_stalled_reader_stops_neither_the_replacing_of_workers_nor_the_end(url: str) -> None:
    reader, writer = filled()
    with serving(url, writer, 2) as (process, port):
        place_calls(port, 20)
        replaced(process, port)
        place_calls(port, 20)
        stopped(process)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_that_dies_takes_no_call_and_no_master_with_it(url: str, workers: int) -> None:
    reader, writer = os.pipe()
    with serving(url, writer, workers) as (process, port):
        os.close(writer)
        os.close(reader)
        place_calls(port, 10 * MAX_CALLS)
        if workers == 2:
            replaced(process, port)
            place_calls(port, MAX_CALLS)
        stopped(process)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_loses_no_call_and_after_it_no_line(url: str, tmp_path: Path, workers: int) -> None:
    """The limit of a file's size stands for the disk's: both take a part of a line, and nothing after it."""
    log = tmp_path / "serve.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with serving(url, descriptor, workers) as (process, port):
        place_calls(port, 5)
        until(lambda: count(lines_of(log.read_bytes()), "call ended") == 5)
        pids = [process.pid, *children(process.pid)]
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (log.stat().st_size + 1000, resource.RLIM_INFINITY))
        place_calls(port, 10 * MAX_CALLS)
        time.sleep(0.1)  # several attempts to write
        lines_of(log.read_bytes())  # no half line
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        place_calls(port, 5)
        until(lambda: count(lines_of(log.read_bytes()), "call ended") == 10 + 10 * MAX_CALLS)
        assert count(lines_of(log.read_bytes()), "call routed") == 10 + 10 * MAX_CALLS
        stopped(process)
    os.close(descriptor)


def test_a_file_that_is_rotated_by_copying_goes_on_at_its_beginning(url: str, tmp_path: Path) -> None:
    """As logrotate does with copytruncate. After `create` a process writes to the renamed file, as any program would."""
    log = tmp_path / "serve.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with serving(url, descriptor, 1) as (process, port):
        place_calls(port, 5)
        until(lambda: count(lines_of(log.read_bytes()), "call ended") == 5)
        os.truncate(log, 0)
        place_calls(port, 3)
        until(lambda: count(lines_of(log.read_bytes()), "call ended") == 3)
        log.rename(tmp_path / "old.log")
        place_calls(port, 2)
        until(lambda: count(lines_of((tmp_path / "old.log").read_bytes()), "call ended") == 5)
        stopped(process)
    os.close(descriptor)


def dead(kind: str) -> int:
    """A standard error that has never worked."""
    if kind == "full":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = filled() if kind == "stalled" else os.pipe()
    if kind != "stalled":
        os.close(reader)
    return writer


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["full", "without a reader", "stalled"])
def test_it_starts_serves_and_stops_with_a_dead_standard_error(url: str, kind: str, workers: int) -> None:
    descriptor = dead(kind)
    with serving(url, descriptor, workers) as (process, port):
        place_calls(port, 4 * MAX_CALLS)
        stopped(process)
    os.close(descriptor)


CLOSED = "import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, '-m', 'fsroute', *sys.argv[1:]])"


def test_it_serves_with_a_closed_standard_error_and_writes_lines_into_no_other_file(url: str) -> None:
    command = [sys.executable, "-c", CLOSED, "serve", "--db", url, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command) as process:
        until(lambda: listening_port(process.pid))
        place_calls(listening_port(process.pid), 5)
        stopped(process)


@pytest.mark.parametrize("kind", ["full", "without a reader", "stalled"])
def test_a_command_that_fails_ends_with_its_status_if_nobody_can_be_told(kind: str) -> None:
    descriptor = dead(kind)
    command = [sys.executable, "-m", "fsroute", "serve", "--country", "XX"]
    assert subprocess.run(command, stderr=descriptor, timeout=PATIENCE_S, check=False).returncode == 2
    os.close(descriptor)


FORK = """
import os, time
from fsroute import log_output
reader, writer = os.pipe()
output = log_output.Output(2, lambda lost, reason: b"")
output.write(b"the parent's\\n")
output._lock.acquire()  # as if another thread held it
if os.fork() == 0:
    output.write(b"the child's\\n")
    log_output.flush()
    os._exit(0)
os.wait()
output._lock.release()
output.write(b"the parent's again\\n")
"""


def test_a_forked_process_begins_anew_and_each_line_is_written_once() -> None:
    ran = subprocess.run([sys.executable, "-c", FORK], stderr=subprocess.PIPE, timeout=PATIENCE_S, check=True)
    assert sorted(ran.stderr.splitlines()) == [b"the child's", b"the parent's", b"the parent's again"]
