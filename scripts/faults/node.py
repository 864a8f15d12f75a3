"""One `fsroute serve` under test: its processes, and where its log goes. It knows signals and ports, nothing of its code."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO

HANG = Path(__file__).parent / "hang"
START_S = 90.0
STOP_S = 60.0
TMPFS_KB = 256
PIPE_BYTES = 4096
"""Of a pipe to the log's reader: the least that Linux gives, so that a dozen lines fill it. Usual are 65,536."""


class WorldError(AssertionError):
    """The harness itself could not do something: this is no finding about fsroute."""


class Sink(StrEnum):
    """What standard error of an fsroute is."""

    FILE = "a file"
    PIPE = "a pipe to another program"
    DISK = f"a file on a disk of {TMPFS_KB} kB"


class Node:
    """An fsroute that serves on a port. `workers` is what is asked of it; `sink` is where its log goes."""

    def __init__(
        self,
        name: str,
        port: int,
        directory: Path,
        flags: Iterable[str],
        *,
        sink: Sink = Sink.FILE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.port = name, port
        self.sink = sink
        self.directory = directory / name
        self.directory.mkdir()
        self.disk = self.directory / "disk"
        self.log = (self.disk if sink is Sink.DISK else self.directory) / "log"
        self.flags = [*flags]
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("FSROUTE_")}
        self.environment |= {"FAULTS_HANG": "1", "PYTHONPATH": str(HANG)} | dict(environment or {})
        self.masters: list[subprocess.Popen[bytes]] = []
        self.reader: subprocess.Popen[bytes] | None = None
        self._limits: dict[int, tuple[int, int]] = {}
        self._mounted = False

    # Its life

    def start(self, *flags: str) -> None:
        """Starts and waits until the port takes connections. With `--take-over` another master serves already."""
        if self.sink is Sink.DISK and not self._mounted:
            self.disk.mkdir()
            _run("mount", "-t", "tmpfs", "-o", f"size={TMPFS_KB}k", "fsroute-faults", str(self.disk))
            self._mounted = True
        with self._stderr() as stderr:
            self.masters.append(
                subprocess.Popen(
                    [sys.executable, "-m", "fsroute", "serve", "--listen", f"127.0.0.1:{self.port}", *self.flags, *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    env=self.environment,
                    start_new_session=True,
                )
            )
        self.wait_serving()

    @contextlib.contextmanager
    def _stderr(self) -> Iterator[IO[bytes]]:
        if self.sink is not Sink.PIPE:
            with self.log.open("ab") as log:
                yield log
            return
        if self.reader is None or self.reader.poll() is not None:
            with self.log.open("ab") as log:
                self.reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log, start_new_session=True)
            assert self.reader.stdin is not None
            fcntl.fcntl(self.reader.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        assert self.reader.stdin is not None
        yield self.reader.stdin

    @property
    def is_read(self) -> bool:
        """A program reads the log, if it is a pipe."""
        return self.reader is None or self.reader.poll() is None

    @property
    def master(self) -> subprocess.Popen[bytes]:
        """The one that was started last."""
        return self.masters[-1]

    def wait_serving(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.takes_connections():
            if self.master.poll() is not None or time.monotonic() > deadline:
                raise WorldError(f"{self.name} does not serve: {self.tail()}")
            time.sleep(0.02)

    def takes_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def workers(self) -> list[int]:
        """The processes that decide calls."""
        if self.master.poll() is not None:
            return []
        return _children(self.master.pid) or [self.master.pid]

    def processes(self) -> list[int]:
        """All, masters first."""
        masters = [process.pid for process in self.masters if process.poll() is None]
        return [*masters, *(child for pid in masters for child in _children(pid))]

    def reload(self, number: signal.Signals, *, all_processes: bool) -> None:
        """Sends the signal, and waits until a new worker runs."""
        before = {*self.workers()}
        for pid in self.processes() if all_processes else [self.master.pid]:
            send(pid, number)
        self._wait(lambda: {*self.workers()} - before, "no new worker after the signal")

    def take_over(self) -> None:
        """Starts a new one beside the serving one, and waits until the serving one has ended."""
        predecessor = self.master
        self.start("--take-over")
        self._wait(lambda: predecessor.poll() is not None or self.master.poll() is not None, "the old one does not end")
        if self.master.poll() is not None:
            raise WorldError(f"--take-over ended: {self.tail()}")

    def _wait(self, is_so: Callable[[], object], why_not: str) -> None:
        deadline = time.monotonic() + START_S
        while not is_so():
            if time.monotonic() > deadline:
                raise WorldError(f"{self.name}: {why_not}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to all. A master is stopped first: it would start another worker for one that was killed before it."""
        for process in self.masters:
            if process.poll() is None:
                send(process.pid, signal.SIGSTOP)
        for pid in self.processes():
            send(pid, signal.SIGKILL)
        for process in self.masters:
            process.wait(STOP_S)
        self._wait_refused()

    def stop(self) -> None:
        """SIGTERM, and waits until it has ended."""
        for process in self.masters:
            if process.poll() is None:
                send(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for process in self.masters:
            process.wait(max(0.1, deadline - time.monotonic()))

    def close(self) -> None:
        """Ends it and what it needs."""
        for pid in self.processes():
            send(pid, signal.SIGCONT)
            send(pid, signal.SIGKILL)
        for process in self.masters:
            process.wait(STOP_S)
        if self.reader is not None:
            if self.reader.stdin is not None:
                self.reader.stdin.close()
            send(self.reader.pid, signal.SIGKILL)
            self.reader.wait(STOP_S)
        if self._mounted:
            kept = self.log.read_bytes() if self.log.exists() else b""
            _run("umount", "--lazy", str(self.disk))
            self._mounted = False
            (self.directory / "log").write_bytes(kept)

    def _wait_refused(self) -> None:
        """The kernel has closed the port, so that it can be bound again."""
        self._wait(lambda: not self.takes_connections(), "it was killed, and its port takes connections")

    # What is done to it

    def fill_disk(self) -> None:
        with contextlib.suppress(OSError), (self.disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1024))

    def empty_disk(self) -> None:
        (self.disk / "filler").unlink(missing_ok=True)

    def limit_descriptors(self) -> None:
        """No process of it can open another one."""
        for pid in self.processes():
            used = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
            hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
            self._limits[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))

    def free_descriptors(self) -> None:
        for pid, limits in self._limits.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        self._limits.clear()

    def tail(self) -> str:
        log = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return log[-2000:]


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    try:
        threads = [*Path(f"/proc/{pid}/task").iterdir()]
        return sorted({int(child) for thread in threads for child in (thread / "children").read_text().split()})
    except OSError:
        return []


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorldError(f"{' '.join(command)}: {done.stderr.strip()}")
