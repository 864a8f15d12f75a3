"""A real FreeSWITCH, a real fsroute, phones and a carrier: what the calls of this folder are placed with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.sip import Behaviour, Carrier, Phone
from tests.e2e.switch import Switch, find_freeswitch

TOP = Path(__file__).resolve().parents[2]
START_S = 10.0


class Fsroute:
    """`fsroute serve` in a process of its own. Port 0 becomes a free one."""

    def __init__(self, port: int, database: str, log: Path) -> None:
        self.port = port
        self.log = log
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts and waits until it serves."""
        served = self.events().count("serving")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FSROUTE_")}
        arguments = ["--db", self._database, "--listen", f"127.0.0.1:{self.port}", "--log-level", "debug"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fsroute", "serve", *arguments, "--log-numbers", "full", "--drain-s", "0.5"],
                stderr=log,
                stdout=log,
                env=environment,
            )
        deadline = time.monotonic() + START_S
        while self.events().count("serving") == served:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.port = int(self.lines()[-1]["listen"].rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def connections(self) -> int:
        """Open Event Socket connections of the process."""
        assert self._process is not None
        links = Path(f"/proc/{self._process.pid}/fd")
        inodes = {str(link.readlink()).removeprefix("socket:[").removesuffix("]") for link in links.iterdir()}
        local = f":{self.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = "0A"
        return sum(row[9] in inodes and row[1].endswith(local) and row[3] != listening for row in rows)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]

    def routed(self, call_uuid: str | None = None) -> list[dict[str, Any]]:
        """Its decisions, of one call or of all."""
        return [line for line in self.lines() if line["event"] == "call routed" and call_uuid in (None, line.get("call"))]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo, and the numbers of calls.sql."""
    url = f"sqlite:///{tmp_path_factory.mktemp('e2e') / 'calls.db'}"
    for command in (["init"], ["load", TOP / "scripts" / "demo.sql", Path(__file__).with_name("calls.sql")]):
        subprocess.run([sys.executable, "-m", "fsroute", *command, "--db", url], check=True, capture_output=True, cwd=TOP)
    return url


@pytest.fixture(scope="session")
def running_switch(request: pytest.FixtureRequest) -> Iterator[Switch]:
    if find_freeswitch() is None:
        missing = "no FreeSWITCH found, set FREESWITCH to the path of its binary"
        if request.config.getoption("--require-freeswitch"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(f"NOT RUN: calls through a real FreeSWITCH: {missing}")
    with Switch() as switch:
        yield switch


@pytest.fixture(scope="session")
def running_fsroute(running_switch: Switch, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fsroute]:
    fsroute = Fsroute(running_switch.socket_port, database, tmp_path_factory.mktemp("fsroute") / "log")
    fsroute.start()
    yield fsroute
    fsroute.stop()


@pytest.fixture
def switch(running_switch: Switch) -> Iterator[Switch]:
    """FreeSWITCH, without calls before and after each test."""
    running_switch.wait_idle()
    yield running_switch
    running_switch.wait_idle()


@pytest.fixture
def fsroute(running_fsroute: Fsroute, switch: Switch) -> Fsroute:
    """fsroute, running; started again when a test killed it."""
    if not running_fsroute.runs:
        running_fsroute.start()
    return running_fsroute


@pytest.fixture
def phone(switch: Switch) -> Iterator[Callable[..., Phone]]:
    """Makes registered phones: `phone("1001", Ring())`."""
    phones: list[Phone] = []

    def make(user: str, behaviour: Behaviour) -> Phone:
        made = Phone(user, demo_password(switch), "acme.example", switch.internal, behaviour=behaviour)
        phones.append(made)
        assert made.register() == 200
        return made

    yield make
    for made in phones:
        made.unregister()
    switch.wait_idle()
    for made in phones:
        made.close()


@pytest.fixture
def carrier(switch: Switch, phone: Callable[..., Phone]) -> Iterator[Carrier]:
    """The other side of the trunk. After the phones, so that it is the first to go and ends its calls to them."""
    with Carrier(switch.external, port=switch.carrier_port) as peer:
        yield peer
        for call in peer.placed:
            if call.end is None:
                (call.bye if call.answered else call.cancel)()
        switch.wait_idle()


def demo_password(switch: Switch) -> str:
    return switch.api("global_getvar demo_password").strip()
