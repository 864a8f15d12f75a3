"""
A real FreeSWITCH for the tests: the shipped configuration on free loopback ports.

    with Switch() as switch:
        print(switch.version, switch.internal, switch.external)
        print(switch.api("sofia status"))

No file of the configuration is changed: what the tests run is what operators copy. Ports and the
like come from FreeSWITCH's environment, as in a container (the SWITCH_... variables at the end of
`vars.xml`). The same variables name a FreeSWITCH that somebody else started: `find_switch`.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

CONFIGURATION = Path(__file__).resolve().parents[2] / "freeswitch"

PLACES = (
    "/usr/local/freeswitch/bin/freeswitch",
    "/opt/freeswitch/bin/freeswitch",
    "/usr/bin/freeswitch",
)

SAFE = (1, 11, 2)
"""Below this version a parameter of Refer-To sets any variable of a leg, for whoever has a password (SECURITY.md)."""

START_S = 20.0
"""FreeSWITCH is up in about two seconds; a busy CI machine may need ten times that."""

ELSEWHERE = "SWITCH_DIRECTORY"
"""Names the directory of a FreeSWITCH that runs already, and so says that there is one."""

IP = "127.0.0.1"
PASSWORD = "e2e"  # noqa: S105 - of a switch that lives for a minute, on loopback
RTP_PORTS = 400
"""Two a leg."""

BLOCK = 500
BLOCKS = 44
"""Ports a switch may use, and how many such blocks there are below 32,000."""


class SwitchError(AssertionError):
    """FreeSWITCH did not start, or did not do what it was told; its log is attached."""


def find_freeswitch() -> Path | None:
    """The FreeSWITCH binary: the environment's `FREESWITCH`, or one of the usual places."""
    named = os.environ.get("FREESWITCH")
    if named:
        if not os.access(named, os.X_OK):
            raise SwitchError(f"FREESWITCH={named}: no such program")
        return Path(named)
    found = next((place for place in PLACES if os.access(place, os.X_OK)), None)
    found = found or shutil.which("freeswitch")
    return Path(found) if found else None


def find_switch() -> Switch | None:
    """The switch that the environment names, else one of our own; None where there is no FreeSWITCH."""
    if os.environ.get(ELSEWHERE):
        return SwitchElsewhere(os.environ)
    return Switch() if find_freeswitch() else None


class Switch:
    """
    One FreeSWITCH, from start to stop.

    `socket_port` is where fsroute is expected; choose the port, start fsroute on it before or
    after. `settings` gives further names of vars.xml other values.
    """

    _certificates: ClassVar[dict[str, bytes]] = {}
    """FreeSWITCH makes two RSA keys where it finds none, which can take seconds: made once."""

    def __init__(
        self,
        binary: Path | None = None,
        *,
        configuration: Path = CONFIGURATION,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.binary = binary or find_freeswitch()
        self._configuration = configuration
        self._settings = settings or {}
        self.environment: dict[str, str] = {}
        """The SWITCH_... variables of its configuration."""
        self.password = PASSWORD
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: Generator[int, None, None] | None = None
        self.version = ""

    def __enter__(self) -> Self:
        if self.binary is None:
            raise SwitchError("no FreeSWITCH found; set FREESWITCH to the path of the binary")
        self._directory = tempfile.TemporaryDirectory(prefix="fsroute-e2e-")
        self.path = Path(self._directory.name)
        ports = self._ports = free_ports()
        self.internal = IP, next(ports)
        self.external = IP, next(ports)
        self.event_socket = IP, next(ports)
        self.socket_port = next(ports)
        self.socket_port_2 = next(ports)
        self.carrier_port = next(ports)
        rtp = next(ports)
        try:
            self._configure(rtp)
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def api(self, command: str, timeout: float = 5.0) -> str:
        """Run an API command, e.g. "show channels as json"; what it printed."""
        with socket.create_connection(self.event_socket, timeout) as connection:
            connection.settimeout(timeout)
            _receive(connection)
            connection.sendall(f"auth {self.password}\n\n".encode())
            if "+OK" not in _receive(connection)[0]:
                raise SwitchError("the event socket refused the password")
            connection.sendall(f"api {command}\n\n".encode())
            return _receive(connection)[1]

    @property
    def is_safe(self) -> bool:
        """Whether the version is the one that SECURITY.md demands, or later."""
        return tuple(map(int, re.findall(r"\d+", self.version)[:3])) >= SAFE

    def registered(self, user: str, domain: str = "acme.example") -> int:
        """How many phones of a user are registered."""
        contacts = self.api(f"sofia_contact */{user}@{domain}")
        return 0 if contacts.startswith("error/") else contacts.count("sofia/")

    def calls(self) -> int:
        """Channels that exist now, ringing ones included."""
        return int(self.api("show channels count").split()[0])

    @property
    def pid(self) -> int:
        return int((self.path / "run" / "freeswitch.pid").read_text())

    def python_blocks(self) -> int:
        """Objects that FreeSWITCH's Python holds, by mod_python3."""
        return int(self.api("python tests.support.inside::blocks"))

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until no channel is left."""
        deadline = time.monotonic() + timeout
        while self.calls():
            if time.monotonic() > deadline:
                raise SwitchError(f"channels left after {timeout} s:\n{self.api('show channels')}")
            time.sleep(0.05)

    def log(self) -> str:
        """Everything FreeSWITCH logged, from debug upwards."""
        parts = (self.path / "log" / "freeswitch.log", self.path / "console")
        return "\n".join(part.read_text("utf-8", "replace") for part in parts if part.exists())

    def stop(self) -> None:
        """End our own FreeSWITCH and remove its files. It would take four seconds to say goodbye."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        if self._directory is not None:
            keep = os.environ.get("E2E_KEEP")
            if keep:
                shutil.copytree(self.path, Path(keep) / self.path.name, dirs_exist_ok=True)
            self._directory.cleanup()
            self._directory = None
        if self._ports is not None:
            self._ports.close()

    def kill(self) -> None:
        """SIGKILL to our own FreeSWITCH. Its files stay, for `restart`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Starts it again after `kill`, with the same ports and files. Returns when it takes calls."""
        self._start()

    # How it starts

    def _configure(self, rtp: int) -> None:
        shutil.copytree(self._configuration, self.path / "conf")
        settings = {
            "bind_ip": IP,
            "internal_sip_port": self.internal[1],
            "external_sip_port": self.external[1],
            "rtp_first_port": rtp,
            "rtp_last_port": rtp + RTP_PORTS,
            "event_socket_port": self.event_socket[1],
            "event_socket_password": self.password,
            "carrier_ip": IP,
            "carrier_port": self.carrier_port,
            "fsroute_socket": f"{IP}:{self.socket_port}",
            "fsroute_socket_2": f"{IP}:{self.socket_port_2}",
            **self._settings,
        }
        variables = (self.path / "conf" / "vars.xml").read_text()
        for name, value in settings.items():
            if f'cmd="env-set" data="{name}=${variable(name)}"' not in variables:
                raise SwitchError(f"vars.xml does not take {name} from the environment")
            self.environment[variable(name)] = str(value)

    def _start(self) -> None:
        arguments = [str(self.binary), "-nonat", "-nf", "-nc", "-nort"]
        for name in ("conf", "log", "db", "run", "cache", "temp", "storage", "recordings", "certs"):
            (self.path / name).mkdir(exist_ok=True)
            arguments += [f"-{name}", str(self.path / name)]
        for name, key in self._certificates.items():
            (self.path / "certs" / name).write_bytes(key)
        with (self.path / "console").open("wb") as console:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment,
            )
        self._wait_ready()
        for pem in (self.path / "certs").glob("*.pem"):
            self._certificates[pem.name] = pem.read_bytes()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self._ready():
            if self._process is not None and self._process.poll() is not None:
                raise SwitchError(f"FreeSWITCH ended with {self._process.returncode}\n{self.log()}")
            if time.monotonic() > deadline:
                raise SwitchError(f"FreeSWITCH is not up after {START_S} s\n{self.log()}")
            time.sleep(0.05)
        self.version = self.api("version short").strip()

    def _ready(self) -> bool:
        try:
            status = self.api("sofia status", timeout=1.0)
        except (OSError, SwitchError):
            return False
        return status.count("RUNNING") >= 2


class SwitchElsewhere(Switch):
    """
    A FreeSWITCH that runs already, on this machine's loopback: in a container, for example.

    It runs our configuration, with the same SWITCH_... variables that this process has.
    SWITCH_DIRECTORY is where it has its conf/ and log/; both sides see it, and the tests'
    temporary files, under the same path.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.environment = dict(environment)

    def __enter__(self) -> Self:
        self.path = Path(self._value(ELSEWHERE))
        self.internal = IP, self._port("internal_sip_port")
        self.external = IP, self._port("external_sip_port")
        self.event_socket = IP, self._port("event_socket_port")
        self.password = self._value(variable("event_socket_password"))
        self.socket_port = self._port("fsroute_socket")
        self.socket_port_2 = self._port("fsroute_socket_2")
        self.carrier_port = self._port("carrier_port")
        self._wait_ready()
        return self

    def _port(self, name: str) -> int:
        """From "5060" as well as from "127.0.0.1:8084"."""
        port = self._value(variable(name)).rpartition(":")[2]
        if not port.isdecimal():
            raise SwitchError(f"{variable(name)}={self._value(variable(name))}: has no port")
        return int(port)

    def _value(self, name: str) -> str:
        if not self.environment.get(name):
            raise SwitchError(f"{ELSEWHERE} is set, but {name} is not")
        return self.environment[name]


def variable(name: str) -> str:
    """The variable from which vars.xml takes a value."""
    return f"SWITCH_{name.upper()}"


def free_ports() -> Generator[int, None, None]:
    """Loopback ports that are free for UDP and TCP, below the ephemeral range, in a block of this switch's own.

    The block is taken by binding its first port, until the generator is closed: the ports of a carrier or a phone are
    bound for the time of a test only, and meanwhile another process that runs tests would find them free.
    """
    for _ in range(BLOCKS):
        first = 10_000 + next(_blocks) % BLOCKS * BLOCK
        with socket.socket() as taken:
            if not _is_bound(taken, first):
                continue
            for port in range(first + 1, first + BLOCK - RTP_PORTS):
                with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as stream:
                    is_free = _is_bound(datagrams, port) and _is_bound(stream, port)
                if is_free:
                    yield port
    raise SwitchError(f"each of {BLOCKS} blocks of ports is taken")


def _is_bound(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((IP, port))
    except OSError:
        return False
    return True


_blocks = itertools.count(os.getpid() * 7)


def _receive(connection: socket.socket) -> tuple[str, str]:
    """One event socket frame: head and body."""
    data = b""
    while b"\n\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\n\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += _some(connection)
    return head.decode(), body.decode("utf-8", "replace")


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise SwitchError("the event socket was closed")
    return chunk
