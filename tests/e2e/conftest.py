"""A real FreeSWITCH, a real fsroute, phones and a carrier: what the calls of this folder are placed with.

Calls come to fsroute by the socket application, or inside FreeSWITCH by mod_python3. Every test that asks for a switch runs
by both ways, each with a switch of its own; SOCKET_ONLY names those that cannot.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import children, kill
from tests.support.sip import Address, Behaviour, Carrier, MakePhone, Peer, Phone
from tests.support.switch import CONFIGURATION, IP, Switch, find_switch

TOP = Path(__file__).resolve().parents[2]
Change = Callable[..., None]
START_S = 10.0


PROCESS = "kills fsroute, or starts a second one: inside FreeSWITCH it has no process of its own"
SOCKET_ONLY = {
    "test_10_killed_while_phones_ring": PROCESS,
    "test_10_an_emergency_call_gets_out_without_fsroute": PROCESS,
    "test_10_another_fsroute_goes_on_where_the_killed_one_stopped": PROCESS,
    "test_10_a_reload_while_phones_ring": PROCESS,
    "test_10_a_worker_that_hangs": PROCESS,
    "test_9_a_caller_who_hangs_up_leaves_no_connection_behind": "counts connections: by mod_python3 there are none",
    "test_killed_after_the_answer_a_call_ends_with_its_bridge": PROCESS,
    "test_killed_after_the_answer_a_transfer_reaches_the_fallback": PROCESS,
    "test_killed_after_the_answer_and_restarted_a_transfer_is_routed": PROCESS,
    "test_conversation": "records what is said on the socket",
    "test_a_real_call_through_the_service_of_compose": "is about a process that compose starts",
}
"""Tests that run by the socket alone, and why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way_in" in metafunc.fixturenames:
        only_socket = metafunc.definition.originalname in SOCKET_ONLY
        metafunc.parametrize("way_in", ["socket"] if only_socket else ["socket", "python"])


class Fsroute:
    """fsroute, wherever it runs: what it logged."""

    def lines(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]

    def routed(self, call_uuid: str | None = None) -> list[dict[str, Any]]:
        """Its decisions, of one call or of all."""
        return [line for line in self.lines() if line["event"] == "call routed" and call_uuid in (None, line.get("call"))]


class Process(Fsroute):
    """`fsroute serve` in a process of its own, with these flags beside its own. Port 0 becomes a free one."""

    def __init__(self, port: int, database: str, log: Path, *flags: str) -> None:
        self.port = port
        self.log = log
        self._flags = flags
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts and waits until it serves."""
        served = len(self._serving())
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FSROUTE_")}
        arguments = ["--db", self._database, "--listen", f"127.0.0.1:{self.port}", "--log-level", "debug", *self._flags]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fsroute", "serve", *arguments, "--log-numbers", "full", "--drain-s", "0.5"],
                stderr=log,
                stdout=log,
                env=environment,
            )
        deadline = time.monotonic() + START_S
        while len(self._serving()) == served:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.port = int(self._serving()[-1]["listen"].rpartition(":")[2])

    def _serving(self) -> list[dict[str, Any]]:
        return [line for line in self._logged() if line["event"] == "serving"]

    def kill(self) -> None:
        """SIGKILL to master and worker: no goodbye."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    def stop(self) -> None:
        """SIGTERM."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)
            self._process = None

    def signal(self, number: signal.Signals, event: str) -> None:
        """Sends a signal to the master, and waits for a line of the log."""
        assert self._process is not None
        self._process.send_signal(number)
        deadline = time.monotonic() + START_S
        while not any(line["event"] == event for line in self._logged()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, the retired ones too."""
        assert self._process is not None
        return children(self._process.pid)

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the worker, which has the calls."""
        assert self._process is not None
        (worker,) = children(self._process.pid)
        return worker

    @property
    def connections(self) -> int:
        """Open Event Socket connections of the process."""
        links = Path(f"/proc/{self.pid}/fd")
        inodes = {str(link.readlink()).removeprefix("socket:[").removesuffix("]") for link in links.iterdir()}
        local = f":{self.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = "0A"
        return sum(row[9] in inodes and row[1].endswith(local) and row[3] != listening for row in rows)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged until now. It tells FreeSWITCH first and logs then, in order: a connection of ours ends it."""
        if self._process is not None and self._process.poll() is None:
            probes = self.log.read_text().count(_PROBE)
            with socket.create_connection(("127.0.0.1", self.port), START_S):
                pass
            deadline = time.monotonic() + START_S
            while self.log.read_text().count(_PROBE) == probes:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.002)
        return [line for line in self._logged() if line["event"] != _PROBE]

    def _logged(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]


_PROBE = "connection ended before a call"


class Inside(Fsroute):
    """fsroute inside FreeSWITCH, whose log has its lines among others."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._log = switch.path / "log" / "freeswitch.log"
        self._read = 0
        self._lines: list[dict[str, Any]] = []

    def lines(self) -> list[dict[str, Any]]:
        """What it logged until now. FreeSWITCH writes its log a little later, but in order: a mark of ours ends it."""
        mark = secrets.token_hex(8)
        self._switch.api(f"log NOTICE {mark}")
        deadline = time.monotonic() + START_S
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
            while mark.encode() not in text or not text.endswith(b"\n"):
                assert time.monotonic() < deadline, text
                time.sleep(0.002)
                text += log.read()
        self._read += len(text)
        self._lines += [json.loads(line) for line in _JSON.findall(text.decode("utf-8", "replace"))]
        return self._lines


_JSON = re.compile(r"^.* switch_cpp\.cpp:\d+ (\{.*\})$", re.MULTILINE)


def inside_environment(database: str) -> dict[str, str]:
    """What FreeSWITCH's environment needs for fsroute: its settings, and where Python finds it."""
    return {
        "FSROUTE_DB": database,
        "FSROUTE_LOG_LEVEL": "debug",
        "FSROUTE_LOG_NUMBERS": "full",
        "PYTHONPATH": f"{TOP}{os.pathsep}{sysconfig.get_path('purelib')}",
    }


@contextmanager
def switch_inside(environment: dict[str, str], configuration: Path = CONFIGURATION) -> Iterator[Switch]:
    """A switch of our own whose dialplan uses mod_python3, in this environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FSROUTE_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        switch = Switch(configuration=configuration, settings={"fsroute_way_in": "python"}).__enter__()
    try:
        yield switch
    finally:
        switch.stop()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo, and the numbers of calls.sql."""
    url = f"sqlite:///{tmp_path_factory.mktemp('e2e') / 'calls.db'}"
    for command in (["init"], ["load", TOP / "scripts" / "demo.sql", TOP / "tests" / "support" / "calls.sql"]):
        subprocess.run([sys.executable, "-m", "fsroute", *command, "--db", url], check=True, capture_output=True, cwd=TOP)
    return url


@pytest.fixture(scope="session")
def running_switch(request: pytest.FixtureRequest) -> Iterator[Switch]:
    found = find_switch()
    if found is None:
        missing = "no FreeSWITCH found, set FREESWITCH to the path of its binary"
        if request.config.getoption("--require-freeswitch"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(f"NOT RUN: calls through a real FreeSWITCH: {missing}")
    with found as switch:
        yield switch


@pytest.fixture(scope="session")
def running_fsroute(running_switch: Switch, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    fsroute = Process(running_switch.socket_port, database, tmp_path_factory.mktemp("fsroute") / "log")
    fsroute.start()
    yield fsroute
    fsroute.stop()


@pytest.fixture(scope="session")
def switch_with_fsroute(running_switch: Switch, database: str) -> Iterator[Switch]:
    """FreeSWITCH with fsroute inside, ready."""
    if not has_python(running_switch):
        pytest.skip("NOT RUN: calls through mod_python3: this FreeSWITCH has none, or is not on this machine")
    with switch_inside(inside_environment(database)) as switch:
        while "ready" not in Inside(switch).events():
            time.sleep(0.05)
        yield switch


@pytest.fixture(scope="session")
def running_inside(switch_with_fsroute: Switch) -> Inside:
    return Inside(switch_with_fsroute)


@pytest.fixture
def switch(way_in: str, request: pytest.FixtureRequest) -> Iterator[Switch]:
    """FreeSWITCH, without calls before and after each test."""
    running: Switch = request.getfixturevalue("running_switch" if way_in == "socket" else "switch_with_fsroute")
    with idle(running):
        yield running


@pytest.fixture
def switches(running_switch: Switch, running_fsroute: Process, request: pytest.FixtureRequest) -> list[Switch]:
    """One for each way in, with fsroute running."""
    if not running_fsroute.runs:
        running_fsroute.start()
    if not has_python(running_switch):
        return [running_switch]
    return [running_switch, request.getfixturevalue("switch_with_fsroute")]


@pytest.fixture
def fsroute(way_in: str, switch: Switch, request: pytest.FixtureRequest) -> Fsroute:
    """fsroute, running; a process is started again when a test killed it."""
    if way_in == "python":
        inside: Inside = request.getfixturevalue("running_inside")
        return inside
    process: Process = request.getfixturevalue("running_fsroute")
    if not process.runs:
        process.start()
    return process


@pytest.fixture
def process(fsroute: Fsroute) -> Process:
    """The process that fsroute is: for tests that SOCKET_ONLY names."""
    assert isinstance(fsroute, Process)
    return fsroute


@pytest.fixture
def phone(switch: Switch) -> Iterator[MakePhone]:
    """Makes registered phones: `phone("1001", Ring())`."""
    with phones(switch) as make:
        yield make


@pytest.fixture
def carrier(fsroute: Fsroute, switch: Switch, phone: MakePhone) -> Iterator[Carrier]:
    """The other side of the trunk. After the phones, so that it is the first to go and ends its calls to them."""
    with other_side(switch) as peer:
        yield peer


@pytest.fixture
def caller(switch: Switch) -> Iterator[MakePhone]:
    """Makes phones that call, and hangs up their calls: `caller("1004")`. To call they need not register."""
    phones: list[Phone] = []

    def make(user: str = "1004", domain: str = "acme.example") -> Phone:
        phones.append(Phone(user, demo_password(switch), domain, switch.internal))
        return phones[-1]

    yield make
    for call in (call for made in phones for call in made.placed):
        if call.end is None:
            (call.bye if call.answered else call.cancel)()
            call.wait_end()
    for made in phones:
        made.close()


TABLES = (
    *("accounts", "call_permissions", "users", "numbers", "user_numbers", "rules", "rule_callers", "rule_targets"),
    *("trunks", "trunk_routes", "verified_numbers"),
)


@pytest.fixture
def change(fsroute: Fsroute, database: str) -> Iterator[Change]:
    """Changes rows of the running database: `change("UPDATE trunks SET is_foreign = TRUE")`. Put back afterwards."""
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
        before = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}  # noqa: S608

        def run(sql: str, *values: object) -> None:
            with connection:
                connection.execute("PRAGMA foreign_keys = ON")
                assert connection.execute(sql, values).rowcount, sql

        yield run
        connection.execute("PRAGMA foreign_keys = OFF")
        with connection:
            for table, rows in before.items():
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
                if rows:
                    marks = ",".join("?" * len(rows[0]))
                    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608


@contextmanager
def written(switch: Switch, name: str, edit: Callable[[str], str], *commands: str) -> Iterator[None]:
    """A file of the switch's own copy of the configuration, changed for a while."""
    path = switch.path / "conf" / name
    before = path.read_text() if path.exists() else ""
    path.write_text(edit(before))
    try:
        for command in ("reloadxml", *commands):
            assert "-ERR" not in switch.api(command)
        yield
    finally:
        if before:
            path.write_text(before)
        else:
            path.unlink()
        switch.api("reloadxml")


@contextmanager
def gateway(switch: Switch, name: str, address: Address, more: str = "") -> Iterator[None]:
    """Another gateway of the running switch, which leads to this address."""
    # <include> must have a line of its own: FreeSWITCH drops the whole line.
    text = f"""
        <include>
          <gateway name="{name}">
            <param name="proxy" value="{address[0]}:{address[1]}"/>
            <param name="realm" value="{name}"/>
            <param name="register" value="false"/>
            {more}
          </gateway>
        </include>
    """
    with written(switch, f"sip_profiles/external/{name}.xml", lambda _: text, "sofia profile external rescan"):
        assert "Invalid Gateway" not in switch.api(f"sofia status gateway {name}")
        yield
    switch.api(f"sofia profile external killgw {name}")


@pytest.fixture
def second_gateway(switch: Switch) -> Iterator[Address]:
    """Another gateway of the running switch, and the address that it leads to."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind((IP, 0))
        address: Address = probe.getsockname()
    with gateway(switch, "second", address):
        yield address


@pytest.fixture
def second(switch: Switch, second_gateway: Address, change: Change) -> Iterator[Carrier]:
    """Another carrier, as acme's second way out, who wants to be told otherwise who calls."""
    change(
        "INSERT INTO trunks (name, gateway, country, domain, identity_profile, number_format)"
        " VALUES ('second', 'second', 'DE', 'second.example', 'presented-in-pai', 'national')"
    )
    change("INSERT INTO trunk_routes (account, prefix, position, trunk) VALUES ('acme', '+', 2, 'second')")
    with Carrier(switch.external, port=second_gateway[1]) as peer:
        yield peer
        switch.wait_idle()


@contextmanager
def idle(switch: Switch) -> Iterator[None]:
    """No calls before, and none after."""
    switch.wait_idle()
    yield
    switch.wait_idle()


@contextmanager
def phones(switch: Switch) -> Iterator[MakePhone]:
    """Makes phones of a switch, and takes them away."""
    phones: list[Phone] = []

    def make(user: str, behaviour: Behaviour) -> Phone:
        made = Phone(user, demo_password(switch), "acme.example", switch.internal, behaviour=behaviour)
        phones.append(made)
        assert made.register() == 200
        return made

    yield make
    for made in phones:
        hang_up(made)
        made.unregister()
    switch.wait_idle()
    for made in phones:
        made.close()


@contextmanager
def other_side(switch: Switch) -> Iterator[Carrier]:
    """The carrier of a switch, whose calls are ended."""
    with Carrier(switch.external, port=switch.carrier_port) as peer:
        yield peer
        hang_up(peer)
        switch.wait_idle()


def hang_up(peer: Peer) -> None:
    """Ends what a test has left of a peer's calls."""
    for placed in peer.placed:
        if placed.end is None:
            (placed.bye if placed.answered else placed.cancel)()
    for call in peer.calls:
        call.bye()


def has_python(switch: Switch) -> bool:
    """Whether this FreeSWITCH has mod_python3."""
    return (Path(switch.api("global_getvar mod_dir").strip()) / "mod_python3.so").exists()


def demo_password(switch: Switch) -> str:
    return switch.api("global_getvar demo_password").strip()
