"""Starts servers and the load generator, binds them to cores of their own, and reads from /proc what they used."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench.database import BenchError

READY_S = 60.0
RUN_S = 120.0
"""Seconds that a run may take beyond the time for which it should run."""

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

Result = dict[str, Any]
"""The figures that load.c printed."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of the server and of the generator; the same core if there is only one."""

    server: int
    generator: int

    @property
    def all(self) -> frozenset[int]:
        return frozenset({self.server, self.generator})


def cores() -> Cores:
    mine = sorted(os.sched_getaffinity(0))
    return Cores(mine[0], mine[-1])


def pinned(command: Sequence[str], where: frozenset[int]) -> list[str]:
    """The command, bound to these cores if the machine has `taskset`."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", ",".join(map(str, sorted(where))), *command] if taskset else list(command)


def many_files() -> None:
    """Lets the bench's children open as many files as the machine allows, because each held call is an open file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def others_cpu_s() -> float:
    """CPU time so far of all other programs, including the time that the machine's host took.

    It is the time of the whole machine without that of the bench and of those of its children that have ended.
    """
    busy = [int(text) for text in _read("/proc/stat").partition("\n")[0].split()[1:9]]
    idle = busy[3] + busy[4]
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return (sum(busy) - idle) * _TICK_S - sum(each.ru_utime + each.ru_stime for each in used)


class Server:
    """A running server. It is ready when it sends `connect` on a new connection."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int, log: Path, ready_s: float) -> None:
        self.name = name
        self.process = process
        self.port = port
        self.log = log
        self.ready_s = ready_s
        """Seconds from its start to its first bytes on a connection."""

    @property
    def last_line(self) -> str:
        """The last line that it wrote."""
        return "".join(self.log.read_text("utf-8", "replace").strip().splitlines()[-1:])

    @property
    def cpu_s(self) -> float:
        """Processor seconds used so far, by all its processes and threads."""
        return sum(map(cpu_s, _family(self.process.pid)))

    @property
    def memory_kb(self) -> int:
        """The proportional set size: of memory that several processes share, each has its part."""
        return sum(map(_pss_kb, _family(self.process.pid)))

    @property
    def wakeups(self) -> int:
        """How often its threads went from waiting to running."""
        return sum(map(_wakeups, _family(self.process.pid)))


@contextmanager
def serving(name: str, command: Sequence[str], port: int, where: frozenset[int], directory: Path) -> Iterator[Server]:
    """Starts a server, and kills it at the end. The server writes its output to a file, as in service. The file is removed.

    Raises BenchError if the server is not ready in READY_S.
    """
    log = directory / f"server-{port}.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FSROUTE_")}
    began = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - the servers to be measured
            pinned(command, where), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment
        )
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.perf_counter() - began > READY_S:
                last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
                raise BenchError(f"{name} does not serve: {''.join(last) or f'status {process.returncode}'}")
            time.sleep(0.002)
        yield Server(name, process, port, log, time.perf_counter() - began)
    finally:
        process.kill()
        process.wait()
        log.unlink(missing_ok=True)


def _is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            return sock.recv(7) == b"connect"
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Load:
    """The load generator."""

    program: Path
    snapshot: Path
    directory: Path
    where: frozenset[int]

    def run(
        self,
        server: Server,
        numbers: Sequence[str],
        how: str,
        many: float,
        seconds: float,
        calls: int = -1,
        callers: int = 1,
    ) -> Result:
        """One run; `how` is closed or open. The result also has the server's CPU time, as server_cpu_s."""
        command = [*self._command(server, self._numbers(numbers)), f"--{how}", str(many), "--seconds", str(seconds)]
        command += ["--calls", str(calls), "--callers", str(callers)]
        before = server.cpu_s
        try:
            done = subprocess.run(  # noqa: S603 - our generator
                pinned(command, self.where), capture_output=True, text=True, check=False, timeout=seconds + RUN_S
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"the load on {server.name} has not ended after {error.timeout:g} s") from error
        result = _result(server, done.returncode, done.stdout, done.stderr)
        return {**result, "server_cpu_s": server.cpu_s - before}

    def hold(self, server: Server, numbers: Sequence[str], calls: int, watch_s: float) -> Result:
        """Holds `calls` calls. The result has the server's memory before and during this, and its CPU time and wake-ups
        during `watch_s` seconds."""
        memory_before = server.memory_kb
        command = [*self._command(server, self._numbers(numbers)), "--hold", str(calls), "--seconds", str(RUN_S)]
        with subprocess.Popen(  # noqa: S603 - our generator
            pinned(command, self.where), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            if process.stdout is None or process.stdin is None:  # with PIPE they are never None; mypy does not know it
                raise BenchError("no pipes to the load generator")
            line = process.stdout.readline()
            held = int(line.removeprefix("held ") or 0)
            time.sleep(0.5)  # until the server has done the last call's work
            memory, cpu, wakeups = server.memory_kb, server.cpu_s, server.wakeups
            time.sleep(watch_s)
            watched = {"held_cpu_s": server.cpu_s - cpu, "held_wakeups": server.wakeups - wakeups, "watch_s": watch_s}
            process.stdin.close()
            output = process.stdout.read()
        result = _result(server, process.returncode, output, "")
        return {**result, **watched, "held": held, "memory_before_kb": memory_before, "memory_kb": memory}

    def _command(self, server: Server, numbers: Path) -> list[str]:
        return [str(self.program), "--port", str(server.port), "--snapshot", str(self.snapshot), "--numbers", str(numbers)]

    def _numbers(self, numbers: Sequence[str]) -> Path:
        path = self.directory / "dialled"
        path.write_text("\n".join(numbers) + "\n", encoding="utf-8")
        return path


def _result(server: Server, status: int, output: str, complaint: str) -> Result:
    if status or not output.startswith("{"):
        raise BenchError(f"the load generator failed at {server.name}: {complaint.strip() or f'status {status}'}")
    result: Result = json.loads(output)
    if (ended := server.process.poll()) is not None:
        raise BenchError(f"{server.name} ended with status {ended}: {server.last_line}")
    if not result["calls"]:
        raise BenchError(f"{server.name}: no call came to its bridge: {result['errors']}: {server.last_line}")
    return result


# --- /proc -------------------------------------------------------------------------------------------------


def _family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found, new = [pid], [pid]
    while new:
        children = [int(child) for each in new for child in _read(f"/proc/{each}/task/{each}/children").split()]
        found += children
        new = children
    return found


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and all threads that it ever had.

    Python has no function for the clock of another process. This is the number that clock_getcpuclockid of the C library
    makes for it.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _pss_kb(pid: int) -> int:
    lines = dict(line.split(":", 1) for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()[1:])
    return int(lines["Pss"].split()[0]) if lines else 0


def _wakeups(pid: int) -> int:
    return sum(
        int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").glob("*")
        for line in _read(f"{task}/status").splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


def _read(path: str) -> str:
    """The text of a file of /proc; empty if the process is gone."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
