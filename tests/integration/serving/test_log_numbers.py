"""With `log_numbers = short` no line of a call has the last digits of a number that may be a person's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from fsroute import log as logs
from fsroute.configuration.settings import load_settings
from fsroute.errors import CallEnded
from fsroute.eventsocket.frames import Command, Execute, Frame
from fsroute.eventsocket.wait import Wait
from fsroute.model import Call, Decision, FailedPlan
from fsroute.routing import router
from fsroute.serving.call_control import CallController
from fsroute.serving.registrations import Registrations
from fsroute.simulator.simulated_channel import encode
from fsroute.switch import contacts
from tests.support.tables import demo_store

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
TAIL = "987"
"""Every number of a person ends so here, and nothing else does."""

CALLERS = (
    f"+493011122{TAIL}",
    f"03011122{TAIL}",
    "0171-12 34-9/8.7",
    f"+49171222{TAIL}@pbx.example",
    f"4930111{TAIL}",
    "1001",
    "",
)
DIALLED = (
    f"+491711234{TAIL}", f"01711234{TAIL}", "0171 1234 9.8-7", f"+491711234{TAIL};phone-context=+49",
    f"1234{TAIL}",
    f"0900123{TAIL}", f"+1202555{TAIL}", f"tel:+491711234{TAIL}", "+492214710100", "0221 4710500", "11", "112", "115",
)  # fmt: skip
SHOWN = ("", f"+491715556{TAIL}", "+492214710200", f"0171{TAIL}")


class Log(CapturingLogger):
    """A logger that binds nothing."""

    def bind(self, **_: Any) -> Log:
        return self


class Channel:
    """A call of which FreeSWITCH says this in turn, until it ends. One phone is registered for every user."""

    peer = "127.0.0.1"

    def __init__(self, *said: Frame) -> None:
        self.said = list(said)
        self.query = ""

    def execute(self, commands: Sequence[Command], *, snapshot: bool) -> None:  # noqa: ARG002 - as FreeSWITCH's
        queries = [c.argument for c in commands if isinstance(c, Execute) and c.argument.startswith(contacts.VARIABLE)]
        self.query = queries[-1].removeprefix(f"{contacts.VARIABLE}=") if queries else ""

    def first_snapshot(self) -> Frame:
        return self.snapshot(Wait.REPLY)

    def snapshot(self, wait: Wait) -> Frame:  # noqa: ARG002 - as FreeSWITCH's
        if self.query:
            answer = re.sub(r"\$\{[^}]*\}", "sofia/internal/sip:1@192.0.2.1:5060", self.query)
            return snapshot("", "", **{contacts.VARIABLE: answer})
        if not self.said:
            raise CallEnded("ORIGINATOR_CANCEL")
        return self.said.pop(0)

    def wait_for_end(self, wait: Wait) -> None:  # noqa: ARG002 - as FreeSWITCH's
        raise CallEnded("NO_ROUTE_DESTINATION")

    def reject(self, cause: str) -> None:
        pass


def snapshot(caller: str, to: str, state: str = "4", **variables: str) -> Frame:
    named = {"Channel-State-Number": state, "Unique-ID": "c1", "Core-UUID": "", "Caller-Destination-Number": to}
    named |= {"Caller-Caller-ID-Number": caller, "Caller-Caller-ID-Name": "Eve", "variable_sip_from_user": caller}
    named |= {f"variable_{name}": value for name, value in variables.items()}
    lines = [f"{name}: {encode(value)}" for name, value in named.items()]
    return Frame("\n".join(["Event-Name: CHANNEL_DATA", *lines]).encode())


@pytest.fixture
def controller(tmp_path: Path) -> CallController:
    store = demo_store(tmp_path / "demo.db")
    settings = load_settings({"db": store.url}, {})

    def decide(call: Call, failed: FailedPlan | None) -> Decision:
        return router.route(call, store.routing(call), NOW, failed)

    log = Log()
    return CallController(decide, Registrations(0), settings.confirmation, ("internal",), False, "DE", logs.shorten, log)


def lines(controller: CallController, *said: Frame) -> list[dict[str, Any]]:
    log = controller.log
    assert isinstance(log, Log)
    log.calls.clear()
    list(controller.run(Channel(*said)))
    return [{"event": call.args[0], **call.kwargs} for call in log.calls]


WHO = {
    "inbound": {"fsroute_direction": "inbound", "fsroute_trunk": "carrier"},
    "unknown trunk": {"fsroute_direction": "inbound", "fsroute_trunk": "nobody"},
    "user": {"fsroute_direction": "outbound", "fsroute_account": "acme", "fsroute_user": "workshop"},
    "trial": {"fsroute_direction": "outbound", "fsroute_account": "probe", "fsroute_user": "tester"},
    "no account": {"fsroute_direction": "outbound", "fsroute_account": "unknown"},
}


@pytest.mark.parametrize("who", WHO)
def test_no_line_has_the_end_of_a_persons_number(controller: CallController, who: str) -> None:
    seen, events = set(), set()
    for caller, to, asked in product(CALLERS, DIALLED, SHOWN):
        variables = WHO[who] | ({"fsroute_presented": asked} if asked else {})
        failed = {
            "fsroute_step": "direct/1",
            "originate_disposition": "USER_BUSY",
            "originate_causes": f"+491711234{TAIL};USER_BUSY",
        }
        failed |= {"originated_legs": f"a;out;+491711234{TAIL}"}
        first, later = snapshot(caller, to, **variables), snapshot(caller, to, **variables, **failed)
        gone = snapshot(caller, to, "2", **variables)
        for story in ([first], [first, later], [first, gone]):
            for line in lines(controller, *story):
                text = re.sub(
                    "[ ./()-]", "", str({name: value for name, value in line.items() if name not in ("ms", "commands")})
                )
                assert TAIL not in text, line
                seen.add(line.get("code"))
                events.add(line["event"])
    assert {"call routed", "call ended"} <= events
    assert seen - {None}


MATCHED = ["rule_matched: rule +492214710100/1 (general)"]


@pytest.mark.parametrize(
    ("who", "caller", "to", "shown_to", "shown_caller", "reasons"),
    [
        ("inbound", "+493023125001", "+492214710100", "+492214710100", "+493023125xxx", MATCHED),
        ("inbound", "+493023125001", "0221-471/0100", "0221-471/0100", "+493023125xxx", None),
        ("inbound", "+493023125001", "+492214719999", "+492214719xxx", "+493023125xxx", ["number_unknown: +492214719xxx"]),
        ("user", "1003", "11", "11", "1003", None),
        ("user", "1003", "112", "112", "1003", None),
        ("user", "1003", "+4917612345678", "+4917612345xxx", "1003", None),
        ("user", "1003", "0221/4710100", "0221/4710100", "1003", None),
    ],
)  # fmt: skip
def test_what_an_operator_needs_stays_readable(
    controller: CallController, who: str, caller: str, to: str, shown_to: str, shown_caller: str, reasons: list[str] | None
) -> None:
    (line, *_) = (line for line in lines(controller, snapshot(caller, to, **WHO[who])) if line["event"] == "call routed")
    assert (line["to"], line["caller"]) == (shown_to, shown_caller)
    assert reasons is None or line["reasons"][: len(reasons)] == reasons


def test_a_number_that_may_not_be_shown_loses_its_last_digits_in_the_reason(controller: CallController) -> None:
    said = snapshot("1003", "+4917612345678", **WHO["user"], fsroute_presented="+4917699999999")
    (line, *_) = (line for line in lines(controller, said) if line["event"] == "call routed")
    assert (line["to"], line["reasons"]) == (
        "+4917612345xxx",
        ["trunk: +4917612345xxx", "not_verified: +4917699999xxx", "caller_id: +492214710100"],
    )
