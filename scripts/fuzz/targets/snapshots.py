"""From a channel's snapshot to the end of a call: whatever others wrote into it, fsroute decides the call or says why not,
sends FreeSWITCH only commands of its own, and logs only printable text."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from structlog.testing import CapturingLogger
from structlog.typing import EventDict

from fsroute.data.routing_store import Store
from fsroute.errors import CallEnded
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Command, End, Frame
from fsroute.eventsocket.wait import Wait
from fsroute.log import EVENTS, shorten
from fsroute.model import Call, Decision, Direction, FailedPlan
from fsroute.routing import router
from fsroute.serving.call_control import CallController
from fsroute.serving.registrations import Registrations
from fsroute.simulator import dialstring_reader
from fsroute.switch import channel_state
from fsroute.switch.dialstring import Confirmation
from scripts.fuzz.given import MOST, Given, in_linear_time
from tests.support.tables import demo_store

HEADERS = (
    *("Unique-ID", "Core-UUID", "Caller-Caller-ID-Name", "Caller-Caller-ID-Number", "Caller-Destination-Number"),
    *("Caller-Privacy-Hide-Number", "Channel-State-Number", "Answer-State", "Call-Direction", "Hangup-Cause"),
)
VARIABLES = (
    *("fsroute_direction", "fsroute_trunk", "fsroute_account", "fsroute_user", "fsroute_presented", "fsroute_roaming"),
    *("fsroute_endpoint", "fsroute_transferred", "fsroute_step", "fsroute_plan", "sip_Privacy", "sip_from_user"),
    *("sip_from_host", "sip_to_user", "sip_req_user", "sip_req_params", "sip_to_params", "sip_from_params", "max_forwards"),
    *("sip_P-Asserted-Identity", "sip_i_p_asserted_identity", "sip_P-Preferred-Identity", "sip_Remote-Party-ID"),
    *("sip_exclude_contact", "sip_match_user_agent", "sip_h_X-FSRoute-Hops", "sip_h_x-fsroute-hops", "sip_h_Diversion"),
    *("fsroute_called_account", "fsroute_shown", "sip_refer_to", "fsroute_transferor_account", "fsroute_transferor_user"),
    *("fsroute_transferor_endpoint", "originate_causes", "originate_disposition", "originated_legs", "fsroute_rang"),
    *("bridge_hangup_cause", "last_bridge_hangup_cause", "endpoint_disposition"),
)
PIECES = (
    *"0123456789+;,<>\"'\\@:/|${}[]() \n\r\t\0%=-.*#",
    *(
        "+492214710100",
        "+492214710200",
        "+493023125001",
        "+491713920042",
        "1001",
        "11",
        "110",
        "acme",
        "reception",
        "carrier",
    ),
    *(
        "true",
        "outbound",
        "inbound",
        "early",
        "answered",
        "direct/1",
        "recall:",
        "done",
        "+492214710200/1",
        "/1/busy",
        "-USAGE",
    ),
    *(
        "USER_BUSY",
        "NO_ANSWER",
        "leg;",
        "SUCCESS",
        "sip:",
        "<sip:+493023125001@carrier.example>",
        '"a" ',
        "phone-context=+49",
    ),
    *(
        "privacy=full",
        ";counter=",
        "id;user",
        "anonymous",
        "anonymous.invalid",
        "Restricted",
        "00000000",
        ":_:",
        "${system(x)}",
    ),
    *("%0Avariable_fsroute_account: acme", "%", "_undef_", "\u00e4", "\u2028", "\u202e", "\U0001f600", "\ufeff", "x"),
)
LONGEST = 256
"""Characters of a number with its parameters."""

LENGTHS = (512, 512, 512, MOST)
"""Bounds of a value. Long ones take long."""

NOW = datetime(2026, 3, 16, 11, 0, tzinfo=UTC)
_LOGGED = {event.name: set(event.fields) for event in EVENTS}
_APPLICATIONS = {"set", "multiset", "ring_ready", "bridge", "set_profile_var", "answer", "sleep", "playback", "voicemail"}
_DEFAULT = (
    ("Unique-ID", "c1"),
    ("Caller-Destination-Number", "+492214710200"),
    ("Caller-Caller-ID-Number", "+493023125001"),
    ("Channel-State-Number", "4"),
    ("variable_fsroute_trunk", "carrier"),
)


class _Channel:
    """Answers with these snapshots, and then the call has ended."""

    peer = "127.0.0.1"

    def __init__(self, snapshots: list[Frame]) -> None:
        self._snapshots = snapshots
        self.sent: list[Command] = []

    def execute(self, commands: Sequence[Command], *, snapshot: bool) -> None:
        frames.encode(commands)
        self.sent += commands

    def first_snapshot(self) -> Frame:
        return self.snapshot(Wait.REPLY)

    def snapshot(self, wait: Wait) -> Frame:
        if not self._snapshots:
            raise CallEnded("NORMAL_CLEARING")
        return self._snapshots.pop(0)

    def wait_for_end(self, wait: Wait) -> None:
        pass

    def reject(self, cause: str) -> None:
        self.execute([End(cause)], snapshot=False)


def check(data: bytes) -> None:
    given = Given(data)
    snapshots = [_snapshot(given) for _ in range(given.number(1, 3))]
    for frame in snapshots:
        _check_facts(frame)
    channel, log = _Channel(list(snapshots)), CapturingLogger()
    logger = structlog.wrap_logger(log, [_as_it_is], structlog.make_filtering_bound_logger(logging.DEBUG))
    control = CallController(
        _decide,
        Registrations(0),
        Confirmation(),
        ("internal",),
        hang_up_on_failure=True,
        country="DE",
        shown=shorten,
        log=logger,
    )
    with in_linear_time():
        for _ in control.run(channel):
            pass
    for command in channel.sent:
        _check_command(command)
    for line in log.calls:
        _check_log(dict(line.kwargs))


def _snapshot(given: Given) -> Frame:
    values = dict(_DEFAULT) if given.flag() else {}
    for _ in range(given.number(0, 8)):
        name = given.choice((*HEADERS, *(f"variable_{name}" for name in VARIABLES)))
        text = given.text(PIECES, given.choice(LENGTHS))
        values[name] = quote(text, safe=" ") if given.number(0, 3) else text.replace("\n", "")
    lines = ["Event-Name: CHANNEL_DATA", *(f"{name}: {text}" for name, text in values.items())]
    return Frame("\n".join(lines).encode())


def _check_facts(frame: Frame) -> None:
    headers = frame.headers()
    with in_linear_time():
        facts = channel_state.facts_of(frame)
        call = channel_state.call_of(facts)
        channel_state.progress_of(facts)
        left = channel_state.departure_of(facts)
    for name in ("Unique-ID", "Caller-Caller-ID-Number", "Caller-Destination-Number"):
        assert facts.get(name) == frame.get(name) == headers.get(name, "")
    assert 0 <= call.hops <= 99  # noqa: PLR2004 - two digits of the header
    assert 0 <= call.forwards <= 99  # noqa: PLR2004
    assert len(call.identities) <= 4  # noqa: PLR2004 - RFC 3325
    assert channel_state.plans_of(facts) >= 0
    assert left is None or left.how.isprintable(), left
    texts = [identity.text for identity in call.identities]
    if call.direction is Direction.INBOUND:
        expected = _identities(headers)[:4]
        assert [text for text in texts if len(text) <= LONGEST] == [text for text in expected if len(text) <= LONGEST]
    for text in (call.destination, call.caller, call.from_user, call.to_user, *texts):
        assert len(text) <= LONGEST + 1, "fsroute would remember it"


def _identities(headers: Mapping[str, str]) -> list[str]:
    """The addresses outside of display names, by a reader that goes through the text once."""
    texts = [headers.get(f"variable_sip_{name}", "") for name in ("i_p_asserted_identity", "P-Asserted-Identity")]
    texts = [
        texts[0] or texts[1],
        *(headers.get(f"variable_sip_{name}", "") for name in ("P-Preferred-Identity", "Remote-Party-ID")),
    ]
    return [address for text in texts if text for address in (_addresses(text) if "<" in text else [text])]


def _addresses(text: str) -> list[str]:
    outside, quoted, escaped = [], False, False
    for character in text:
        if quoted and escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif not quoted:
            outside.append(character)
    found = []
    for part in "".join(outside).split("<")[1:]:
        address, end, _ = part.partition(">")
        found += [address] if end else []
    return found


def _check_command(command: Command) -> None:
    if isinstance(command, End):
        assert command.cause.replace("_", "").isalnum(), command
        return
    assert command.application in _APPLICATIONS, command
    if command.application == "bridge":
        parsed = dialstring_reader.parse(dialstring_reader.expand(command.argument, _no_variable, _no_command))
        for part in parsed.enterprise or (parsed,):
            assert isinstance(part, dialstring_reader.Parsed)
            for leg in (leg for group in part.groups for leg in group):
                assert not leg.error
                assert leg.endpoint.startswith(("user/", "sofia/gateway/carrier/", "sofia/internal/sip:")), leg
    elif not command.argument.startswith("fsroute_contacts="):
        assert "${" not in command.argument, command
        assert "\\" not in command.argument, command


def _as_it_is(logger: Any, level: str, event: EventDict) -> EventDict:
    if event.get("exc_info"):
        event["exc_info"] = traceback.format_exc(limit=-4)
    return event


def _check_log(fields: dict[str, Any]) -> None:
    event = fields.pop("event")
    assert "exc_info" not in fields, fields["exc_info"]
    assert set(fields) - {"call"} <= _LOGGED[event] | {"call"}, (event, fields)
    if event != "commands sent":
        for name, value in fields.items():
            # The log's JSON escapes an identifier of FreeSWITCH's own.
            assert name in {"call", "user"} or _is_printable(value), (event, name, value)


def _is_printable(value: Any) -> bool:
    if isinstance(value, str):
        return value.isprintable()
    return all(map(_is_printable, value)) if isinstance(value, list) else True


def _decide(call: Call, failed: FailedPlan | None) -> Decision:
    return router.route(call, _store().routing(call), NOW, failed, 5)


@lru_cache(maxsize=1)
def _store() -> Store:
    directory = Path(tempfile.mkdtemp(prefix="fsroute-fuzz-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return demo_store(directory / "demo.db")


def _no_variable(name: str) -> str:
    raise AssertionError(f"a channel variable: {name}")


def _no_command(name: str, arguments: str) -> str:
    raise AssertionError(f"a command: {name} {arguments}")
