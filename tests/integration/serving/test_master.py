"""The master of `fsroute serve` and its workers, as real processes: deaths, hangs, stops, reloads, and who takes over."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fsroute import __version__
from fsroute.serving.signals import IGNORED
from fsroute.serving.supervisor import STOP_BOUND_S, UNATTENDED_S
from tests.support.load import ENDED, NUMBER, Calls, LastingCall
from tests.support.server import TOP, Server, call, serving
from tests.support.tables import demo_database
from tests.support.wait import wait_until

PATIENCE_S = 30.0
"""A worker starts in one second on an idle machine."""

HANG_S = 2.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return demo_database(tmp_path / "demo.db")


@pytest.fixture
def pair(url: str, tmp_path: Path) -> Iterator[Server]:
    """A master with two workers."""
    with serving(url, tmp_path, "--workers", "2", "--drain-s", "2") as server:
        server.wait_for("serving", 2, PATIENCE_S)
        yield server


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(server: Server) -> int:
    return server.process.wait(PATIENCE_S)


def sockets_of(pids: list[int]) -> dict[int, int]:
    """Open sockets of each process."""
    return {pid: sum("socket:" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()) for pid in pids}


# --- several workers --------------------------------------------------------------------------------------


def test_both_take_calls(pair: Server) -> None:
    before = sockets_of(pair.workers)
    socks = [pair.connect() for _ in range(32)]
    try:
        wait_until(lambda: sum(sockets_of(pair.workers).values()) == sum(before.values()) + 32)
        taken = [count - before[pid] for pid, count in sockets_of(pair.workers).items()]
    finally:
        for sock in socks:
            sock.close()
    assert len(taken) == 2
    assert min(taken) > 0


def test_each_routes_calls(pair: Server) -> None:
    assert {call(pair, NUMBER).hangup_cause for _ in range(10)} == {ENDED}


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_dies_is_replaced_and_no_call_is_refused(url: str, tmp_path: Path, workers: int) -> None:
    with serving(url, tmp_path, "--workers", str(workers)) as server:
        server.wait_for("serving", workers, PATIENCE_S)
        first, *others = server.workers
        os.kill(first, signal.SIGKILL)
        with Calls(server.port) as calls:
            server.wait_for("serving", workers + 1, PATIENCE_S)
            calls.wait_for(20)
        (line,) = server.lines("worker ended")
        assert (line["pid"], line["status"]) == (first, -signal.SIGKILL)
        assert set(others) < set(server.workers)
        assert len(server.workers) == workers
        assert calls.lost == {}


def test_none_stays_when_the_master_is_killed(pair: Server) -> None:
    pids = pair.workers
    pair.process.kill()
    wait_until(lambda: not any(map(is_alive, pids)))


# --- a worker that hangs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_hangs_is_killed_and_its_calls_wait_no_longer_than_that(url: str, tmp_path: Path, workers: int) -> None:
    with serving(url, tmp_path, "--workers", str(workers), "--hang-s", str(HANG_S)) as server:
        server.wait_for("serving", workers, PATIENCE_S)
        hanging = server.workers[0]
        os.kill(hanging, signal.SIGSTOP)
        with Calls(server.port, per_second=20) as calls:
            server.wait_for("serving", workers + 1, PATIENCE_S)
            calls.wait_for(20)
        (line,) = server.lines("worker killed")
        assert (line["pid"], line["level"]) == (hanging, "error")
        assert line["reason"].startswith("no heartbeat for ")
        (line,) = server.lines("worker ended")
        assert (line["pid"], line["status"]) == (hanging, -signal.SIGKILL)
        # Those that waited for the worker that hung are taken by the next one. It had taken none.
        assert calls.lost == {}


def test_a_machine_that_stood_still_is_not_a_hang(pair: Server) -> None:
    pids = pair.workers
    for pid in (*pids, pair.process.pid):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)  # longer than hang_s
    for pid in (pair.process.pid, *pids):
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)
    assert call(pair, NUMBER).hangup_cause == ENDED
    assert pair.workers == pids
    assert pair.lines("worker killed") == []


@pytest.mark.long_wait
def test_while_no_worker_can_be_started_calls_are_turned_away_at_once(url: str, tmp_path: Path) -> None:
    package = tmp_path / "installed" / "fsroute"
    shutil.copytree(TOP / "fsroute", package, ignore=shutil.ignore_patterns("__pycache__"))
    code = package / "__init__.py"
    good = code.read_text()
    with serving(url, tmp_path, variables={"PYTHONPATH": str(package.parent)}) as server:
        code.write_text("this is no Python\n")
        os.kill(server.workers[0], signal.SIGKILL)
        with server.connect() as waiting:
            waiting.settimeout(UNATTENDED_S + PATIENCE_S)
            began = time.monotonic()
            assert waiting.recv(1) == b""
            assert time.monotonic() - began > UNATTENDED_S - 2
        for _ in range(10):
            began = time.monotonic()
            with server.connect() as sock:
                assert sock.recv(1) == b""
            assert time.monotonic() - began < 2
        code.write_text(good)
        wait_until(lambda: '"calls turned away"' in server.text, timeout_s=2 * PATIENCE_S)
        assert f'"listen":"127.0.0.1:{server.port}","calls":11,"event":"calls turned away"' in server.text
        assert f'"listen":"127.0.0.1:{server.port}","event":"no worker takes calls"' in server.text
        assert call(server, NUMBER).hangup_cause == ENDED


# --- the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_to_the_master_ends_them_all(pair: Server, number: signal.Signals) -> None:
    pids = pair.workers
    pair.process.send_signal(number)
    assert ended(pair) == 0
    assert not any(map(is_alive, pids))
    assert len(pair.lines("stopped")) == 2


def test_running_calls_get_their_time_to_end(pair: Server) -> None:
    lasting = LastingCall(pair.port)
    pair.terminate()
    pair.wait_for("draining", 2)
    with pytest.raises(OSError, match="refused"):
        pair.connect().close()
    assert pair.process.poll() is None
    assert lasting.end() == ENDED
    assert ended(pair) == 0


@pytest.mark.parametrize("signals", [1, 3])
def test_a_stop_has_a_bound_whatever_hangs(url: str, tmp_path: Path, signals: int) -> None:
    with serving(url, tmp_path, "--workers", "2", "--drain-s", "1", "--hang-s", "100") as server:
        server.wait_for("serving", 2, PATIENCE_S)
        lasting = LastingCall(server.port)
        for pid in server.workers:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(signals):
            server.terminate()
            time.sleep(0.3)
        assert ended(server) == 0
        assert 1 + STOP_BOUND_S <= time.monotonic() - began < 1 + STOP_BOUND_S + 3
        assert [line["reason"] for line in server.lines("worker killed")] == ["has not ended 4 s after it was stopped"] * 2
        lasting.sock.close()


def test_a_stop_ends_workers_that_do_not_serve_yet(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, "--workers", "4", "--drain-s", "100") as server:
        server.terminate()
        assert ended(server) == 0


# --- signals ----------------------------------------------------------------------------------------------


def test_no_other_signal_ends_a_call(pair: Server) -> None:
    pids, lasting = pair.workers, LastingCall(pair.port)
    for number in sorted(IGNORED):
        pair.process.send_signal(number)
    for pid in pids:
        for number in (*sorted(IGNORED), signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
            os.kill(pid, number)
    said = {line["signal"] for line in pair.wait_for("signal ignored", len(IGNORED), PATIENCE_S)}
    assert {"SIGUSR1", "SIGUSR2", "SIGALRM", "SIGRTMIN+1"} <= said
    assert len(said) == len(IGNORED)
    assert lasting.end() == ENDED
    assert pair.workers == pids
    assert call(pair, NUMBER).hangup_cause == ENDED


# --- reload -----------------------------------------------------------------------------------------------


def write(path: Path, **values: Any) -> None:
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))


def test_a_reload_refuses_and_loses_no_call(url: str, tmp_path: Path) -> None:
    config = tmp_path / "fsroute.toml"
    write(config, workers=2, drain_s=0.1, log_level="warning")
    with serving(url, tmp_path, "--config", str(config), "--log-level", "info") as server:
        server.wait_for("serving", 2, PATIENCE_S)
        first, lasting = server.workers, LastingCall(server.port)
        with Calls(server.port) as calls:
            calls.wait_for(20)
            for times, workers in enumerate((3, 1, 2), start=1):
                write(config, workers=workers, drain_s=0.1)
                server.process.send_signal(signal.SIGHUP)
                line = server.wait_for("reloaded", times, PATIENCE_S)[-1]
                assert line["workers"] == workers
                calls.wait_for(20)
        assert calls.lost == {}
        assert calls.slowest_s < 20
        # The worker with the call that lasts is still there, although drain_s has passed.
        (old,) = set(first) & set(server.workers)
        wait_until(lambda: len(server.workers) == 3)
        assert lasting.end() == ENDED
        wait_until(lambda: old not in server.workers)
        assert len(server.workers) == 2
        assert server.lines("worker ended") == server.lines("worker killed") == []


def test_new_settings_and_new_code_take_effect(url: str, tmp_path: Path) -> None:
    package = tmp_path / "installed" / "fsroute"
    shutil.copytree(TOP / "fsroute", package, ignore=shutil.ignore_patterns("__pycache__"))
    version = package / "__init__.py"
    config = tmp_path / "fsroute.toml"
    write(config, max_calls=5)
    variables = {"PYTHONPATH": str(package.parent), "FSROUTE_CONFIG": str(config)}
    with serving(url, tmp_path, variables=variables) as server:
        version.write_text(version.read_text() + '\n__version__ = "99.1"\n')
        write(config, max_calls=1)
        server.process.send_signal(signal.SIGHUP)
        assert server.wait_for("reloaded", 1, PATIENCE_S)[0]["version"] == "99.1"
        lasting = LastingCall(server.port)
        with server.connect():
            assert server.wait_for("call not taken", 1)[0]["reason"] == "1 calls already"
        assert lasting.end() == ENDED

        version.write_text("this is no Python\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: '"reason":"a new worker ended with status 1","event":"reload failed"' in server.text)
        assert call(server, NUMBER).hangup_cause == ENDED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hang_s = 'x'\n", "hang_s = 'x': must be a number"),
        ("no TOML", "{config}: is not TOML: Expected '=' after a key in a key/value pair (at line 1, column 4)"),
        ("listen = '127.0.0.1:1'\n", None),
    ],
)
def test_wrong_settings_change_nothing(url: str, tmp_path: Path, text: str, reason: str | None) -> None:
    config = tmp_path / "fsroute.toml"
    write(config, hang_s=HANG_S)
    with ExitStack() as stack:
        server = stack.enter_context(serving(url, tmp_path, "--config", str(config)))
        pids, lasting = server.workers, LastingCall(server.port)
        config.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        if reason is None:  # the flag is stronger than the file
            server.wait_for("reloaded", 1, PATIENCE_S)
            assert lasting.end() == ENDED
            return
        (line,) = server.wait_for("reload failed", 1, PATIENCE_S)
        assert (line["level"], line["reason"]) == ("error", reason.format(config=config))
        wait_until(lambda: server.workers == pids)
        assert lasting.end() == ENDED
        # A worker that dies meanwhile is replaced by one with the settings that were good.
        os.kill(pids[0], signal.SIGKILL)
        server.wait_for("serving", 2, PATIENCE_S)
        assert call(server, NUMBER).hangup_cause == ENDED
        assert server.lines("worker cannot start") == []


def test_a_reload_keeps_the_address(url: str, tmp_path: Path) -> None:
    config = tmp_path / "fsroute.toml"
    write(config, db=url, listen="127.0.0.1:0")
    log = tmp_path / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "fsroute", "serve", "--config", config], stderr=stream, stdout=stream
        )
    server = Server(process, log)
    try:
        server.wait_for("serving", 1, PATIENCE_S)
        write(config, db=url, listen="127.0.0.2:0")
        process.send_signal(signal.SIGHUP)
        (line,) = server.wait_for("reload failed", 1, PATIENCE_S)
        assert line["reason"] == (
            "listen = '127.0.0.2:0': the running fsroute keeps '127.0.0.1:0'; another address needs a new start"
        )
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_a_hundred_hang_ups_are_a_few_reloads(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path) as server, Calls(server.port) as calls:
        for _ in range(100):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.005)
        server.wait_for("reloaded", 2, PATIENCE_S)
        wait_until(lambda: len(server.workers) == 1)
        calls.wait_for(20)
    assert calls.lost == {}
    assert len(server.lines("reloaded")) <= 4


# --- another fsroute takes over ---------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 3), (3, 1)])
def test_taking_over_refuses_and_loses_no_call(url: str, tmp_path: Path, before: int, after: int) -> None:
    (tmp_path / "new").mkdir()
    with ExitStack() as stack:
        old = stack.enter_context(serving(url, tmp_path, "--workers", str(before), "--drain-s", "0.1"))
        old.wait_for("serving", before, PATIENCE_S)
        lasting = LastingCall(old.port)
        with Calls(old.port) as calls:
            calls.wait_for(20)
            flags = ("--listen", f"127.0.0.1:{old.port}", "--workers", str(after), "--take-over")
            new = stack.enter_context(serving(url, tmp_path / "new", *flags))
            assert new.wait_for("taken over", 1, PATIENCE_S)[0]["pid"] == old.process.pid
            assert old.wait_for("handed over", 1)[0]["pid"] == new.process.pid
            calls.wait_for(20)
            assert old.process.poll() is None
            assert lasting.end() == ENDED
            assert ended(old) == 0
            calls.wait_for(20)
            # And once more.
            (tmp_path / "newer").mkdir()
            newer = stack.enter_context(serving(url, tmp_path / "newer", *flags))
            newer.wait_for("taken over", 1, PATIENCE_S)
            assert ended(new) == 0
            calls.wait_for(20)
        assert calls.lost == {}
        assert len(newer.workers) == after


def test_one_that_cannot_start_takes_nothing_over(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path) as server:
        missing = f"sqlite:///{tmp_path}/country"
        told = refused("--db", url, "--listen", f"127.0.0.1:{server.port}", "--take-over", "--country", "XX")
        assert told == "fsroute: country = 'XX': not an ISO 3166 code with a numbering plan\n"
        config = tmp_path / "fsroute.toml"
        write(config, db=missing, listen=f"127.0.0.1:{server.port}")
        process = subprocess.Popen(
            [sys.executable, "-m", "fsroute", "serve", "--config", config, "--take-over"], stderr=subprocess.PIPE
        )
        with process:
            server.wait_for("take-over begins", 1, PATIENCE_S)
            process.kill()
        (line,) = server.wait_for("take-over failed", 1, PATIENCE_S)
        assert (line["pid"], line["reason"]) == (process.pid, "the other process has ended")
        assert call(server, NUMBER).hangup_cause == ENDED
        with serving(url, tmp_path / "..", "--listen", f"127.0.0.1:{server.port}", "--take-over") as next_one:
            next_one.wait_for("taken over", 1, PATIENCE_S)
            assert ended(server) == 0


def test_a_second_one_that_takes_over_meanwhile_reads_why_it_is_refused(url: str, tmp_path: Path) -> None:
    """A socket that is closed before its messages are read resets the other end, which then reads nothing more."""
    with serving(url, tmp_path) as server:
        flags = ("--db", url, "--listen", f"127.0.0.1:{server.port}", "--take-over")
        with subprocess.Popen([sys.executable, "-m", "fsroute", "serve", *flags], stderr=subprocess.DEVNULL) as first:
            try:
                server.wait_for("take-over begins", 1, PATIENCE_S)
                first.send_signal(signal.SIGSTOP)
                reason = f"process {server.process.pid} refuses: it starts, reloads, or hands over to another process"
                for _ in range(3):
                    assert refused(*flags) == f"fsroute: cannot take over 127.0.0.1:{server.port}: {reason}\n"
            finally:
                first.kill()
        server.wait_for("take-over failed", 1, PATIENCE_S)
        assert call(server, NUMBER).hangup_cause == ENDED


def test_where_nobody_serves_there_is_nothing_to_take_over(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, "--take-over") as server:
        assert call(server, NUMBER).hangup_cause == ENDED
        assert server.lines("taken over") == []


# --- sockets of a service manager -------------------------------------------------------------------------

PASSES_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
ACTIVATE = (sys.executable, "-c", PASSES_SOCKET)
"""Starts a program as systemd does: the socket, whose descriptor comes first, is descriptor 3."""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_under_a_service_manager_that_has_the_socket_refuses_and_loses_no_call(
    url: str, tmp_path: Path, workers: int
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as held, Calls(held.getsockname()[1]) as calls:
        for turn in range(3):
            directory = tmp_path / str(turn)
            directory.mkdir()
            flags = ("--workers", str(workers), "--drain-s", "5")
            before = (*ACTIVATE, str(held.fileno()))
            with serving(url, directory, *flags, before=before, descriptors=[held.fileno()]) as server:
                server.wait_for("serving", workers, PATIENCE_S)
                assert server.port == held.getsockname()[1]
                calls.wait_for(30)
                server.terminate()
                assert ended(server) == 0
            assert server.lines("calls left to FreeSWITCH") == []
        with serving(url, tmp_path, before=before, descriptors=[held.fileno()]):
            calls.wait_for(30)
            lasting = LastingCall(held.getsockname()[1])
            assert lasting.end() == ENDED
            calls.__exit__()
    assert calls.lost == {}


def test_what_a_service_manager_passes_must_be_a_socket_that_listens(url: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        done = subprocess.run(
            [*ACTIVATE, str(held.fileno()), sys.executable, "-m", "fsroute", "serve", "--db", url],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False, pass_fds=[held.fileno()],
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "fsroute: LISTEN_FDS: descriptor 3 must be a TCP socket that listens\n")


def test_sockets_for_another_process_are_not_used(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, variables={"LISTEN_FDS": "1", "LISTEN_PID": "1"}) as server:
        assert call(server, NUMBER).hangup_cause == ENDED


# --- what a service manager is told -----------------------------------------------------------------------


class Manager:
    """Stands for systemd: the socket to which services write."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(PATIENCE_S)
        self.variables = {"NOTIFY_SOCKET": str(path)}

    def wait_for(self, text: str) -> list[str]:
        """The messages up to the first one with this line, which is the last."""
        heard: list[str] = []
        deadline = time.monotonic() + PATIENCE_S
        while not heard or not any(line == text or line.startswith(f"{text} ") for line in heard[-1].splitlines()):
            assert time.monotonic() < deadline, heard
            heard.append(self.sock.recv(4096).decode())
        return heard


def test_the_service_manager_is_told_what_fsroute_does(url: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify")
    config = tmp_path / "fsroute.toml"
    write(config, workers=2)
    with manager.sock, serving(url, tmp_path, "--config", str(config), variables=manager.variables) as server:
        first = manager.wait_for("READY=1")
        assert first[-1] == f"READY=1\nSTATUS=2 of 2 workers take calls at 127.0.0.1:{server.port}, version {__version__}"
        server.process.send_signal(signal.SIGHUP)
        reload = manager.wait_for("READY=1")
        began = next(line for line in "\n".join(reload).splitlines() if line.startswith("MONOTONIC_USEC="))
        assert reload[0] == f"RELOADING=1\n{began}"
        assert 0 <= time.monotonic() - int(began.partition("=")[2]) / 1e6 < PATIENCE_S
        write(config, workers=0)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reload failed", 1, PATIENCE_S)
        assert manager.wait_for("READY=1")[-1].endswith("; the last reload failed: workers = 0: must be at least 1")
        server.terminate()
        assert manager.wait_for("STOPPING=1")
        assert ended(server) == 0


def test_a_manager_that_is_slow_hears_in_the_end_that_fsroute_is_ready(url: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify")
    with manager.sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"X=1", str(tmp_path / "notify"))
        with serving(url, tmp_path, variables=manager.variables):
            manager.wait_for("READY=1")


def test_a_process_that_hangs_gives_no_sign_of_life(url: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify")
    variables = manager.variables | {"WATCHDOG_USEC": "600000"}
    with manager.sock, serving(url, tmp_path, "--hang-s", "0.5", variables=variables) as server:
        manager.wait_for("READY=1")
        for _ in range(3):
            manager.wait_for("WATCHDOG=1")
        # One worker that hangs does not concern the manager: the master replaces it.
        os.kill(server.workers[0], signal.SIGSTOP)
        server.wait_for("serving", 2, PATIENCE_S)
        manager.wait_for("WATCHDOG=1")
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        manager.sock.setblocking(False)
        for _ in range(100):  # those that were sent before
            with contextlib.suppress(BlockingIOError):
                manager.sock.recv(4096)
        time.sleep(1)
        with pytest.raises(BlockingIOError):
            manager.sock.recv(4096)
        server.process.send_signal(signal.SIGCONT)
        manager.sock.settimeout(PATIENCE_S)
        manager.wait_for("WATCHDOG=1")


def test_a_watchdog_of_another_process_is_not_fed(url: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify")
    variables = manager.variables | {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    with manager.sock, serving(url, tmp_path, variables=variables) as server:
        manager.wait_for("READY=1")
        time.sleep(0.3)
        server.terminate()
        assert not [text for text in manager.wait_for("STOPPING=1") if "WATCHDOG" in text]


# --- a log that fails -------------------------------------------------------------------------------------


def test_the_master_lives_whatever_becomes_of_its_log(url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fsroute", "serve", "--db", url, "--listen", "127.0.0.1:0", "--workers", "2"],
        stderr=subprocess.PIPE,
    )
    server = Server(process, Path())
    try:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(3)]
        server.port = int(lines[0].split(b"127.0.0.1:")[1].split(b'"')[0])
        process.stderr.close()  # from here on a line is a broken pipe
        first = server.workers
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: len(server.workers) == 2 and server.workers != first)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        wait_until(lambda: not set(first) & set(server.workers))
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


# --- bad input --------------------------------------------------------------------------------------------


def refused(*flags: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "fsroute", "serve", *flags], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ran.returncode == 2, ran
    return ran.stderr


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_workers(url: str, count: str) -> None:
    assert refused("--db", url, "--workers", count) == f"fsroute: workers = {count}: must be at least 1\n"


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("more", [("--workers", "1"), ("--workers", "2"), ("--take-over",)])
def test_a_port_that_another_program_holds(url: str, more: tuple[str, ...], sharing: bool) -> None:
    with socket.socket() as other:
        if sharing:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        told = refused("--db", url, *more, "--listen", address)
    assert told == f"fsroute: cannot listen on {address}: another program listens there\n"


def test_a_second_fsroute(pair: Server, url: str) -> None:
    address = f"127.0.0.1:{pair.port}"
    told = refused("--db", url, "--workers", "2", "--listen", address)
    assert told == f"fsroute: cannot listen on {address}: another program listens there\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_database_that_is_not_there_is_waited_for(tmp_path: Path, workers: int) -> None:
    url, path = f"sqlite:///{tmp_path}/demo.db", tmp_path / "demo.db"
    with serving(url, tmp_path, "--workers", str(workers)) as server:
        lines = server.wait_for("database unavailable", workers, PATIENCE_S)
        assert [line["reason"] for line in lines] == [f"database {url}: no such file (fsroute init makes it)"] * workers
        demo_database(tmp_path / "new.db")
        (tmp_path / "new.db").rename(path)
        server.wait_for("database available again", workers, PATIENCE_S)
        assert call(server, NUMBER).bridge is not None


def test_a_worker_that_is_replaced_while_the_database_is_away_waits_for_it(tmp_path: Path) -> None:
    url = demo_database(tmp_path / "demo.db")
    with serving(url, tmp_path, "--workers", "2") as server:
        server.wait_for("serving", 2, PATIENCE_S)
        (tmp_path / "demo.db").rename(tmp_path / "away.db")
        server.wait_for("database unavailable", 2, PATIENCE_S)
        os.kill(server.workers[0], signal.SIGKILL)
        server.wait_for("serving", 3, PATIENCE_S)
        lines = server.wait_for("database unavailable", 3, PATIENCE_S)
        assert [line["reason"] for line in lines] == [f"database {url}: no such file (fsroute init makes it)"] * 3
        (tmp_path / "away.db").rename(tmp_path / "demo.db")
        server.wait_for("database available again", 2, PATIENCE_S)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tables_of_another_version(tmp_path: Path, workers: str) -> None:
    url = demo_database(tmp_path / "demo.db")
    with sqlite3.connect(tmp_path / "demo.db") as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    told = refused("--db", url, "--workers", workers, "--listen", "127.0.0.1:0").splitlines()[-1]
    assert told.startswith(f"fsroute: database {url}: its tables have version ")
    assert "for an fsroute of schema version 99 or newer" in told
