"""fsroute inside FreeSWITCH, as far as that can be tested without one: tests/e2e has the same by mod_python3 itself."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fsroute import mod_python
from fsroute.data import database
from fsroute.embedded import entry, runtime
from fsroute.embedded.entry import USAGE, Resident
from fsroute.embedded.threads import Threads
from fsroute.errors import DataError, ProtocolError
from fsroute.eventsocket.frames import End, Execute, Frame, FrameReader
from fsroute.eventsocket.wait import Wait
from fsroute.simulator.simulated_channel import Result, SimulatedChannel, read_commands
from tests.support.modpython import PythonEvent, PythonModule, PythonSession, PythonStream
from tests.support.recording import FREESWITCH, FSROUTE, RECORDINGS, Recording
from tests.support.server import Server, applications, carrier_channel, serving
from tests.support.server import call as call_by_socket
from tests.support.tables import demo_database

TOP = Path(__file__).resolve().parents[3]
CALLS = TOP / "tests" / "support" / "calls.sql"
WAIT_S = 5.0

Inside = Callable[..., PythonModule]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return demo_database(tmp_path_factory.mktemp("db") / "demo.db", CALLS)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Starts anew in "FreeSWITCH", with this database: `inside(url)`."""

    def start(url: str, **settings: str) -> PythonModule:
        switch = PythonModule()
        for name in [name for name in os.environ if name.startswith("FSROUTE_")]:
            monkeypatch.delenv(name)
        for name, value in {"db": url, "log_numbers": "full", **settings}.items():
            monkeypatch.setenv(f"FSROUTE_{name.upper()}", value)
        monkeypatch.setitem(sys.modules, "freeswitch", switch)
        monkeypatch.setattr(entry, "resident", Resident(entry.make, Threads(2)))
        return switch

    return start


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FSROUTE_")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=inherited | environment, cwd=TOP, capture_output=True, text=True, check=False)


def lead(channel: SimulatedChannel, args: str = "") -> SimulatedChannel:
    """One call, as mod_python3 hands it over."""
    session = PythonSession(channel)
    mod_python.handler(session, args)
    assert session.destroyed == 1
    return channel


# --- the same calls by both ways --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(url, tmp_path_factory.mktemp("server")) as running:
        yield running


HIDDEN = {"Caller-Privacy-Hide-Number": "true"}
HOSTILE = "'\",|[]{}<>\\ ${system(touch x)} %0Avariable_x: y :_: \n\r\udcff"

OFFICE = {"fsroute_direction": "outbound", "fsroute_account": "acme", "fsroute_user": "office"}

CALLS_BY_BOTH: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "voicemail in the end": ("+492214710100", {}, {}),
    "three rules": ("02214710300", {}, {}),
    "rejected": ("+492214710500", HIDDEN, {}),
    "unknown": ("+492219999999", {}, {}),
    "no number": ("${system(touch x)}", {}, {}),
    "an announcement": ("+492214710609", {}, {}),
    "a hostile caller": ("+492214710605", {"Caller-Caller-ID-Name": HOSTILE, "Caller-Caller-ID-Number": HOSTILE}, {}),
    "diverted too often": ("+492214710611", {}, {"sip_h_diversion": "<sip:+492214710100@x>;counter=7"}),
    "from a user": (
        "03023125077",
        {},
        {"fsroute_direction": "outbound", "fsroute_account": "acme", "fsroute_user": "office"},
    ),
    "an extension": ("12", {}, {"fsroute_direction": "outbound", "fsroute_account": "acme", "fsroute_user": "office"}),
    "refused": ("03023125077", {}, {"fsroute_direction": "outbound", "fsroute_account": "probe", "fsroute_user": "tester"}),
    "emergency": ("112", {}, {"fsroute_direction": "outbound", "fsroute_account": "acme", "fsroute_user": "office"}),
    "emergency that cannot be sent": ("112", {}, {"fsroute_direction": "outbound", "fsroute_account": "nobody"}),
    "begun elsewhere": (
        "+492214710300",
        {},
        {"fsroute_step": "+492214710300/1", "originate_disposition": "NO_ANSWER", "originate_causes": "leg;NO_ANSWER"},
    ),
    "over": ("+492214710300", {}, {"fsroute_step": "done"}),
}


@pytest.mark.parametrize(("to", "headers", "changes"), CALLS_BY_BOTH.values(), ids=CALLS_BY_BOTH.keys())
def test_a_call_goes_as_it_does_by_the_socket(
    server: Server, url: str, inside: Inside, to: str, headers: dict[str, str], changes: dict[str, str]
) -> None:
    by_socket = call_by_socket(server, to, headers, **changes)
    switch = inside(url)
    channel = carrier_channel(to, **changes)
    channel.profile |= headers
    lead(channel)
    assert applications(channel.commands) == [
        command for command in applications(by_socket.commands) if command[0] != "connect"
    ]
    assert channel.variables == by_socket.variables
    assert channel.hangup_cause == by_socket.hangup_cause
    assert switch.events()[0] == "ready"


def test_a_channel_of_which_nothing_is_known_is_a_call_to_nowhere(inside: Inside, url: str) -> None:
    inside(url)
    channel = lead(SimulatedChannel({}, {}, lambda _: Result({})))
    assert applications(channel.commands) == [("hangup", "UNALLOCATED_NUMBER")]


def test_a_caller_who_hangs_up_ends_it(inside: Inside, url: str) -> None:
    switch = inside(url)
    channel = carrier_channel("+492214710300")
    channel.bridge = lambda _: Result({}, hung_up=True)
    assert [name for name, _ in applications(lead(channel).commands)] == ["ring_ready", "bridge"]
    assert switch.events() == ["ready", "call routed", "call ended"]


def test_fsroute_sends_no_command_after_the_caller_hung_up(inside: Inside, url: str) -> None:
    switch = inside(url)
    executed: list[str] = []

    class HangsUp(PythonSession):
        def execute(self, application: str, argument: str = "") -> None:
            executed.append(application)
            super().execute(application, argument)
            if application == "sleep":
                self.channel.hangup_cause = "ORIGINATOR_CANCEL"

        def hangup(self, cause: str) -> None:
            executed.append(cause)

    mod_python.handler(HangsUp(carrier_channel("+492214710609")), "")
    assert executed == ["multiset", "answer", "sleep"]
    assert switch.events() == ["ready", "call routed", "call ended"]


def test_the_decision_is_logged_before_the_phones_ring(inside: Inside, url: str) -> None:
    switch = inside(url)
    channel, known = carrier_channel("+492214710100"), []

    def bridge(_: object) -> Result:
        known.extend(switch.events())
        return Result({}, hung_up=True)

    channel.bridge = bridge
    lead(channel)
    assert known == ["ready", "call routed"]
    assert [level for level, _ in switch.log] == ["INFO", "INFO", "INFO"]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_nothing_is_done_if_one_command_is_none(text: str) -> None:
    session = PythonSession(carrier_channel("+492214710100"))
    channel = runtime.SwitchChannel(session, PythonEvent)
    with pytest.raises(ProtocolError, match="a command cannot hold a line end or NUL"):
        channel.execute([Execute("ring_ready"), Execute("bridge", text)], snapshot=False)
    channel.wait_for_end(Wait.CALL)
    assert session.channel.commands == []


# --- what was recorded on the socket ----------------------------------------------------------------------

MARK = re.compile(r"[0-9a-f]{16}(?=\$\{sofia_contact)")
"""Differs from call to call."""


HUNG_UP = "Event-Name: CHANNEL_DATA\nChannel-State-Number: 10\nHangup-Cause: NORMAL_CLEARING\n\n"


@dataclass
class Replay:
    """The session of a recorded call: says what FreeSWITCH said then, and is over when that is over."""

    snapshots: list[str]
    length: int
    commands: list[Execute | End] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def ready(self) -> bool:
        return bool(self.snapshots) or len(self.commands) < self.length

    def execute(self, application: str, argument: str = "") -> None:
        self.commands.append(Execute(application, argument))
        if application == "sleep":
            time.sleep(int(argument) / 1000)
        if argument.startswith("fsroute_contacts="):
            self.asked = MARK.findall(argument)

    def hangup(self, cause: str) -> None:
        self.commands.append(End(cause))

    def setEventData(self, event: PythonEvent) -> None:  # noqa: N802 - mod_python3's name
        snapshot = self.snapshots.pop(0) if self.snapshots else HUNG_UP
        # The answer to a question has the mark with which it was asked.
        contacts = re.search("^variable_fsroute_contacts: ([0-9a-f]{16})", snapshot, re.MULTILINE)
        event.text = snapshot.replace(contacts[1], self.asked[0]) if contacts else snapshot

    def destroy(self) -> None:
        pass


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.json")))
def test_a_recorded_call_is_led_as_it_was(inside: Inside, url: str, name: str) -> None:
    recording = Recording.read(name)
    reader = FrameReader()
    reader.feed(recording.said(FREESWITCH).encode())
    snapshots = []
    while frame := reader.next():
        if frame.get("Event-Name") == "CHANNEL_DATA":
            snapshots.append(frame)
    expected = recorded_commands(recording)
    inside(url)
    session = Replay([text_of(frame) for frame in snapshots], len(expected))
    mod_python.handler(session, "")
    assert [tuple(MARK.sub("0", text) for text in command) for command in session.commands] == expected


def recorded_commands(recording: Recording) -> list[tuple[str, ...]]:
    """The commands that fsroute sent to FreeSWITCH, without its questions."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(recording.said(FSROUTE).encode())
        ours.shutdown(socket.SHUT_WR)
        commands = [command for command in read_commands(theirs) if command.name != "connect"]
    return [
        (command.application, MARK.sub("0", command.argument)) if command.application else (command.headers["hangup-cause"],)
        for command in commands
    ]


def text_of(frame: Frame) -> str:
    return frame._block.decode().strip("\n")  # noqa: SLF001 - the bytes themselves


# --- inside FreeSWITCH's narrow threads -------------------------------------------------------------------

NARROW = """
import json, sys, threading
from fsroute.simulator.simulated_channel import Result, SimulatedChannel
from tests.support.modpython import PythonSession, PythonStream, PythonModule

switch = sys.modules["freeswitch"] = PythonModule()
busy = Result({"originate_disposition": "USER_BUSY", "originate_causes": "leg;USER_BUSY"})
numbers = "+492214710100", "+492214710300", "+492214710605"
answers = {}

def calls():
    from fsroute import mod_python
    for number in numbers:
        headers = {"Unique-ID": "c", "Caller-Destination-Number": number}
        channel = SimulatedChannel(headers, {"fsroute_trunk": "carrier"}, lambda _: busy)
        mod_python.handler(PythonSession(channel), "")
        answers[number] = channel.hangup_cause
    stream = PythonStream()
    mod_python.fsapi("na", stream, None, "explain +492214710100")
    answers["explain"] = len(stream.text.splitlines())

sys.setrecursionlimit(240)
threading.stack_size(64 * 1024)
thread = threading.Thread(target=calls)
thread.start()
thread.join()
packages = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([answers, sorted(packages & {"gevent", "greenswitch"}), [line["event"] for _, line in switch.log]]))
"""


def test_calls_need_a_quarter_of_the_stack_that_freeswitch_gives_and_no_gevent(url: str) -> None:
    run = python("-c", NARROW, FSROUTE_DB=url)
    assert run.returncode == 0, run.stderr
    answers, packages, events = json.loads(run.stdout)
    assert answers.pop("explain") > 10
    assert answers == {
        "+492214710100": "NORMAL_CLEARING",
        "+492214710300": "USER_BUSY",
        "+492214710605": "USER_BUSY",
    }
    assert packages == []
    assert (events.count("call routed"), events.count("call ended"), events[0]) == (7, 3, "ready")


# --- what cannot be routed --------------------------------------------------------------------------------


def test_arguments_in_the_dialplan_are_refused(inside: Inside, url: str) -> None:
    switch = inside(url)
    assert lead(carrier_channel("+492214710100"), "/etc/x.toml").commands == []
    reason = (
        "fsroute.mod_python takes no arguments here, but got '/etc/x.toml': settings belong in the file that fsroute_config "
        "in vars.xml names, or in FreeSWITCH's environment"
    )
    assert switch.log == [("ERR", {"event": "call not routed", "level": "error", "reason": reason})]


def test_a_missing_database_leaves_calls_to_the_dialplan_until_it_is_there(inside: Inside, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'demo.db'}"
    switch = inside(url)
    for _ in range(2):
        assert lead(carrier_channel("+492214710100")).commands == []
    reason = f"database {url}: no such file (fsroute init makes it)"
    told = [(level, line["event"], line.get("reason")) for level, line in switch.log]
    assert told == [
        ("ERR", "database unavailable", reason),
        ("INFO", "ready", None),
        ("ERR", "call not routed", reason),
        ("ERR", "call not routed", reason),
    ]
    demo_database(tmp_path / "demo.db")
    end = time.monotonic() + 20
    while lead(carrier_channel("+492214710100")).commands == []:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_settings_come_from_the_file_that_the_switch_names(inside: Inside, url: str, tmp_path: Path) -> None:
    switch = inside(url)
    file = tmp_path / "fsroute.toml"
    file.write_text("log_level = 'error'\n")
    switch.config = str(file)
    lead(carrier_channel("+492214710500"))
    assert switch.log == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [("rings = 3", "unknown setting rings"), (None, "No such file or directory"), ("=", "is not TOML: Invalid statement")],
)
def test_a_file_that_is_none_says_so(inside: Inside, url: str, tmp_path: Path, text: str | None, reason: str) -> None:
    switch = inside(url)
    file = tmp_path / "fsroute.toml"
    if text is not None:
        file.write_text(text)
    switch.config = str(file)
    assert lead(carrier_channel("+492214710500")).commands == []
    assert next(line["reason"] for _, line in switch.log).startswith(f"{file}: {reason}")


MISSING = """
import json, sys
from fsroute.simulator.simulated_channel import Result, SimulatedChannel
from tests.support.modpython import PythonSession, PythonStream, PythonModule
from fsroute import mod_python

switch = sys.modules["freeswitch"] = PythonModule()
sys.modules[sys.argv[1]] = None
channel = SimulatedChannel({"Unique-ID": "c"}, {}, lambda _: Result({}))
mod_python.handler(PythonSession(channel), "")
stream = PythonStream()
mod_python.fsapi("na", stream, None, "explain 1")
mod_python.runtime("")
print(json.dumps([len(channel.commands), switch.log, stream.text]))
"""


NOT_IMPORTED = "import of {} halted; None in sys.modules"
CAN_NOT_START = f"fsroute.mod_python cannot start: ModuleNotFoundError: {NOT_IMPORTED.format('fsroute.embedded.entry')}"
NO_STRUCTLOG = f"ModuleNotFoundError: {NOT_IMPORTED.format('structlog')}"


@pytest.mark.parametrize(
    ("module", "log", "console"),
    [
        ("fsroute.embedded.entry", [{"line": f"{CAN_NOT_START}\n"}] * 3, f"-ERR {CAN_NOT_START}\n"),
        (
            "structlog",
            [
                {"event": "call not routed", "reason": NO_STRUCTLOG, "level": "error"},
                {"event": "not ready", "reason": NO_STRUCTLOG, "level": "error"},
            ],
            f"-ERR {NO_STRUCTLOG}\n",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_line_in_the_log(
    url: str, module: str, log: list[dict[str, str]], console: str
) -> None:
    run = python("-c", MISSING, module, FSROUTE_DB=url)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [0, [["ERR", line] for line in log], console]


@pytest.mark.parametrize("on_failure", ["fallback", "hangup"])
def test_a_database_that_hangs_does_not_hang_the_call(inside: Inside, changeable_demo_url: str, on_failure: str) -> None:
    if changeable_demo_url.startswith("sqlite"):
        return  # its readers wait for nobody
    switch = inside(changeable_demo_url, decision_ms="300", on_failure=on_failure)
    mod_python.runtime("")
    locker = database.open_database(changeable_demo_url)
    with locker.connection_context(), locker.atomic():
        locker.execute_sql("LOCK TABLE numbers")
        began = time.monotonic()
        channel = lead(carrier_channel("02214710100"))
        assert time.monotonic() - began < 1
    assert applications(channel.commands) == ([("hangup", "NORMAL_TEMPORARY_FAILURE")] if on_failure == "hangup" else [])
    assert switch.log[-1][1]["reason"] == "no decision within 300 ms"
    assert lead(carrier_channel("02214710100")).commands != []


def test_a_defect_of_ours_leaves_the_call_to_the_dialplan(inside: Inside, url: str) -> None:
    switch = inside(url)
    session = PythonSession(carrier_channel("+492214710100"))
    del session.channel
    mod_python.handler(session, "")
    assert session.destroyed == 1
    ((level, line),) = switch.log[1:]
    assert (level, line["event"]) == ("ERR", "call not routed")
    assert line["reason"].startswith("AttributeError: ")


# --- the console ------------------------------------------------------------------------------------------


def told_console(args: str) -> str:
    stream = PythonStream()
    mod_python.fsapi("na", stream, None, args)
    return stream.text


@pytest.mark.parametrize("args", ["", "explain", "explain 1 2 3", "serve", "explainx +492214710100"])
def test_a_command_that_is_none_gets_the_usage(args: str) -> None:
    assert told_console(args) == USAGE


@pytest.mark.parametrize(
    ("args", "flags"),
    [
        ("explain +492214710100", ["--to", "+492214710100"]),
        ("explain  02214710500  anonymous ", ["--to", "02214710500", "--from", "anonymous"]),
        ("explain 12", ["--to", "12"]),
    ],
)
def test_explain_says_what_the_command_line_says(inside: Inside, url: str, args: str, flags: list[str]) -> None:
    inside(url)
    run = python("-m", "fsroute", "explain", "--db", url, *flags, COLUMNS="120")
    assert run.returncode == 0, run.stderr
    moment = re.compile(r"\d{4}-\d{2}-\d{2}T[0-9:+]+")
    assert moment.sub("NOW", told_console(args)) == moment.sub("NOW", run.stdout)


def test_explain_says_in_one_line_what_is_wrong(inside: Inside, tmp_path: Path) -> None:
    inside(f"sqlite:///{tmp_path / 'x.db'}")
    assert (
        told_console("explain 1") == f"-ERR database sqlite:///{tmp_path / 'x.db'}: no such file (fsroute init makes it)\n"
    )


# --- threads ----------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Threads:
    made = Threads(2)
    made.start()
    return made


def test_threads_give_back_what_work_gives_or_raises(threads: Threads) -> None:
    assert threads.run(WAIT_S, int, "12") == 12
    with pytest.raises(ValueError, match="invalid literal"):
        threads.run(WAIT_S, int, "x")
    assert threads.run(WAIT_S, threading.stack_size) == 0  # only ours were made with another


def test_work_that_hangs_is_left_alone_and_what_nobody_waits_for_is_not_begun(threads: Threads) -> None:
    go, begun = threading.Event(), []

    def hang() -> None:
        begun.append("hang")
        go.wait(WAIT_S)

    for _ in range(2):
        with pytest.raises(DataError, match="no decision within 50 ms"):
            threads.run(0.05, hang)
    with pytest.raises(DataError, match="no decision within 50 ms"):
        threads.run(0.05, begun.append, "late")
    go.set()
    assert threads.run(WAIT_S, len, "abc") == 3
    assert begun == ["hang", "hang"]


def test_while_it_gets_ready_calls_wait_no_longer_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    made: Any = object()

    def make(_: Threads) -> Any:
        go.wait(WAIT_S)
        return made

    monkeypatch.setattr(entry, "READY_S", 0.4)
    resident = Resident(make, Threads(1))
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(DataError, match="the database does not answer"):
            resident.get()
    assert time.monotonic() - began < 0.8  # all of them wait for the same
    go.set()
    monkeypatch.setattr(entry, "READY_S", WAIT_S)
    assert resident.get() is made


def test_the_errors_of_many_calls_do_not_pile_up() -> None:
    def make(_: Threads) -> Any:
        raise DataError("no database")

    resident, lengths = Resident(make, Threads(1)), []
    for _ in range(5):
        with pytest.raises(DataError) as caught:
            resident.get()
        lengths.append(len(caught.traceback))
    assert lengths == [lengths[0]] * 5


def test_the_module_is_reloaded_for_every_call(inside: Inside, url: str) -> None:
    switch = inside(url)
    for _ in range(3):
        importlib.reload(mod_python)
        lead(carrier_channel("+492214710500"))
    assert switch.events().count("ready") == 1
