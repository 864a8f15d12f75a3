"""`fsroute serve` in a process of its own, for tests that talk to it over its socket."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fsroute.simulator import simulated_channel
from fsroute.simulator.dialstring_reader import Parsed
from fsroute.simulator.simulated_channel import Command, Result, SimulatedChannel

TOP = Path(__file__).resolve().parents[2]
START_S = 30.0
TIMEOUT_S = 5.0


def memory_kb(pid: int) -> int:
    """What a process holds of the machine's memory."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a server with its workers, before any of them can do something about it."""
    if process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        for pid in children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait(TIMEOUT_S)


class Server:
    """A running server; `port` is where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.port = 0

    def lines(self, event: str | None = None, call: str | None = None) -> list[dict[str, Any]]:
        """What it logged so far, of this event or call. Each line is checked to be one JSON object."""
        parsed = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in parsed if event in (None, line["event"]) and call in (None, line.get("call"))]

    @property
    def text(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    def settled(self, event: str) -> int:
        """How many lines of this event it has logged, with those of all that happened before."""
        mark = secrets.token_hex()
        channel = carrier_channel("+492214710500")
        channel.profile |= {"Unique-ID": mark, "Caller-Privacy-Hide-Number": "true"}
        with self.connect() as sock:
            converse(sock, channel)
        self.wait_for("call ended", call=mark)
        others = [line for line in self.lines(event) if line.get("call") != mark]
        return len(others)

    def wait_for(
        self, event: str, count: int = 1, timeout_s: float = TIMEOUT_S, call: str | None = None
    ) -> list[dict[str, Any]]:
        """The log lines of an event, once there are so many."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.lines(event, call)) < count:
            assert self.process.poll() is None or time.monotonic() < deadline - timeout_s + 1, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.01)
        return found

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    @property
    def descriptors(self) -> int:
        """Open file descriptors of the workers."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.workers)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return children(self.process.pid)


def start(
    stderr: IO[bytes] | int,
    *flags: str,
    listen: str = "127.0.0.1:0",
    variables: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    descriptors: Sequence[int] = (),
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """`fsroute serve` with this standard error, with these variables more. `before` is a program that starts it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FSROUTE_")}
    return subprocess.Popen(
        [*before, sys.executable, "-m", "fsroute", "serve", "--listen", listen, *flags],
        stdout=stderr,
        stderr=stderr,
        env={**environment, **(variables or {})},
        pass_fds=descriptors,
        cwd=directory,
    )


def listening_port(pid: int) -> int:
    """The port on which a process listens, or 0: for servers whose log cannot be read."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.append(link.readlink())
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and Path(f"socket:[{fields[9]}]") in links:
            return int(fields[1].rpartition(":")[2], 16)
    return 0


@contextmanager
def serving(
    url: str,
    directory: Path,
    *flags: str,
    variables: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    descriptors: Sequence[int] = (),
    code: Path | None = None,
) -> Iterator[Server]:
    """A server on a port of its own, with these variables more. `before` is a program that starts it; `code` is the
    directory of another version of fsroute."""
    log = directory / "serve.log"
    with log.open("wb") as stream:
        process = start(
            stream,
            *("--db", url, *flags),
            variables=variables,
            before=before,
            descriptors=descriptors,
            directory=code or directory,
        )
    server = Server(process, log)
    try:
        server.port = int(server.wait_for("serving", timeout_s=START_S)[0]["listen"].rpartition(":")[2])
        yield server
    finally:
        kill(process)


def carrier_channel(to: str, **changes: str) -> SimulatedChannel:
    """A channel as a carrier's call makes it. Its bridges end busy, unless changed."""
    profile = {
        "Unique-ID": "c0ffee",
        "Caller-Caller-ID-Name": "Eve",
        "Caller-Caller-ID-Number": "+493023125001",
        "Caller-Destination-Number": to,
    }
    variables = {"fsroute_direction": "inbound", "fsroute_trunk": "carrier", "sip_from_user": "+493023125001"}
    return SimulatedChannel(profile, variables | changes, busy)


def busy(_: Parsed) -> Result:
    return Result({"originate_disposition": "USER_BUSY", "originate_causes": "leg;USER_BUSY"})


def converse(
    sock: socket.socket, channel: SimulatedChannel, until: str | None = None, timeout_s: float = TIMEOUT_S
) -> SimulatedChannel:
    """Answers commands until the call or the connection has ended, or an application is asked for."""
    sock.settimeout(timeout_s)
    for command in simulated_channel.read_commands(sock):
        if until is not None and command.application == until:
            channel.commands.append(command)
            return channel
        sock.sendall(channel.reply_to(command))
        if channel.hangup_cause is not None:
            break
    return channel


def applications(told: list[Command]) -> list[tuple[str, str]]:
    """What FreeSWITCH was told, without the variables: application and argument, or command and cause."""
    shown: list[tuple[str, str]] = []
    for command in told:
        if command.name == "connect":
            shown.append(("connect", ""))
        elif command.application:
            shown.append((command.application, command.argument))
        else:
            shown.append((command.headers["call-command"], command.headers.get("hangup-cause", "")))
    return [pair for pair in shown if pair[0] not in ("multiset", "set")]


def call(server: Server, to: str, headers: Mapping[str, str] | None = None, **changes: str) -> SimulatedChannel:
    """One whole call."""
    channel = carrier_channel(to, **changes)
    channel.profile |= headers or {}
    with server.connect() as sock:
        return converse(sock, channel)
