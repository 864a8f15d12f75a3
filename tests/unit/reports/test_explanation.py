"""What `fsroute explain` says of a call: the whole JSON, and what is printed."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from fsroute.data.routing_store import Store
from fsroute.model import Call, Direction, Routing
from fsroute.numbers import short_numbers
from fsroute.reports import explanation
from fsroute.routing.planner import DEFAULT_HOP_LIMIT
from fsroute.simulator import dialstring_reader
from fsroute.switch.dialstring import Confirmation
from tests.support.builders import CALLER, MONDAY_NOON, account, routes, trunk
from tests.support.dial_strings import DEMO_ONE_AFTER_ANOTHER, DEMO_TOGETHER
from tests.support.tables import demo_store

IN_BERLIN = MONDAY_NOON.astimezone(ZoneInfo("Europe/Berlin"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return demo_store(tmp_path_factory.mktemp("demo") / "demo.db")


def explained(demo: Store, to: str, caller: str = CALLER, *, anonymous: bool = False) -> dict[str, Any]:
    return _explained(demo, Call(to, caller, anonymous=anonymous))


def called_by(demo: Store, user: str, to: str, account: str = "acme", *, anonymous: bool = False) -> dict[str, Any]:
    return _explained(demo, Call(to, "1001", "", Direction.OUTBOUND, anonymous, None, account, user))


def _explained(demo: Store, call: Call) -> dict[str, Any]:
    return explanation.as_data(call, demo.routing(call), IN_BERLIN, Confirmation(), DEFAULT_HOP_LIMIT)


def printed(data: dict[str, Any]) -> list[str]:
    """The lines on a terminal of 100 columns, without what only fills them."""
    file = io.StringIO()
    explanation.show(data, Console(file=file, width=100, color_system=None, force_terminal=False))
    return [line.rstrip() for line in file.getvalue().splitlines()]


RECEIVED = {"presented": CALLER, "network": None, "reason": "caller_received"}


def phone(name: str, ring_s: int) -> dict[str, Any]:
    return {
        "target": f"endpoint {name}",
        "dial": f"user/{name}@acme.example",
        "start_s": 0,
        "ring_s": ring_s,
        "confirm": False,
        "caller_id": RECEIVED,
        "headers": {},
    }


def mobile(ring_s: int, shown: str, *, confirm: bool) -> dict[str, Any]:
    return {
        "target": "external +491713920042",
        "dial": "sofia/gateway/carrier/+491713920042",
        "start_s": 0,
        "ring_s": ring_s,
        "confirm": confirm,
        "caller_id": {"presented": shown, "network": "+492214710100", "reason": "own_number"},
        "headers": {
            "From": f"<sip:{shown}@carrier.example>",
            "P-Asserted-Identity": "<sip:+492214710100@carrier.example>",
            "Privacy": "none",
            "Diversion": f"<sip:{shown}@carrier.example>;reason=unconditional;counter=1",
        },
    }


def rings(stage: int, target: str, from_s: int, to_s: int, *, confirm: bool = False) -> dict[str, Any]:
    return {"stage": stage, "target": target, "from_s": from_s, "to_s": to_s, "confirm": confirm}


def end(code: str, final: dict[str, str], rule: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"code": code, "rule": rule, "stages": [], "bridge": "", "final": final, "follow_up": {}}


VOICEMAIL = end(
    "routed",
    {"kind": "voicemail", "mailbox": "1001@acme.example"},
    {"number": "+492214710100", "position": 9, "type": "base"},
)


def test_a_parallel_call_as_json(demo: Store) -> None:
    found = explained(demo, "0221 4710100")
    assert dialstring_reader.parse(found.pop("bridge")) == DEMO_TOGETHER
    assert found == {
        "to": "0221 4710100",
        "from": CALLER,
        "anonymous": False,
        "direction": "inbound",
        "transferred": False,
        "at": "2026-03-16T12:00:00+01:00",
        "number": "+492214710100",
        "account": "acme",
        "code": "routed",
        "rule": {"number": "+492214710100", "position": 1, "type": "general"},
        "stages": [[phone("1001", 20), phone("1002", 20), phone("1003", 20), mobile(20, "+492214710100", confirm=True)]],
        "final": None,
        "caller_id": RECEIVED,
        "attestation": None,
        "timeline": [
            rings(1, "endpoint 1001", 0, 20),
            rings(1, "endpoint 1002", 0, 20),
            rings(1, "endpoint 1003", 0, 20),
            rings(1, "external +491713920042", 0, 20, confirm=True),
        ],
        "follow_up": {"busy": VOICEMAIL, "no_answer": VOICEMAIL, "unreachable": VOICEMAIL},
        "reasons": [{"code": "rule_matched", "subject": "rule +492214710100/1 (general)", "text": "applies"}],
    }


def test_a_sequential_call_as_json(demo: Store) -> None:
    found = explained(demo, "+492214710200")
    assert dialstring_reader.parse(found.pop("bridge")) == DEMO_ONE_AFTER_ANOTHER
    assert found == {
        "to": "+492214710200",
        "from": CALLER,
        "anonymous": False,
        "direction": "inbound",
        "transferred": False,
        "at": "2026-03-16T12:00:00+01:00",
        "number": "+492214710200",
        "account": "acme",
        "code": "routed",
        "rule": {"number": "+492214710200", "position": 1, "type": "general"},
        "stages": [
            [phone("1001", 15), phone("1002", 15)],
            [phone("1003", 10)],
            [mobile(25, "+492214710200", confirm=False)],
        ],
        "final": None,
        "caller_id": RECEIVED,
        "attestation": None,
        "timeline": [
            rings(1, "endpoint 1001", 0, 15),
            rings(1, "endpoint 1002", 0, 15),
            rings(2, "endpoint 1003", 15, 25),
            rings(3, "external +491713920042", 25, 50),
        ],
        "follow_up": {
            "busy": end("rules_exhausted", {"kind": "hangup", "cause": "USER_BUSY"}),
            "no_answer": end("rules_exhausted", {"kind": "hangup", "cause": "NO_ANSWER"}),
            "unreachable": end("rules_exhausted", {"kind": "hangup", "cause": "SUBSCRIBER_ABSENT"}),
        },
        "reasons": [{"code": "rule_matched", "subject": "rule +492214710200/1 (general)", "text": "applies"}],
    }


def test_a_call_that_is_refused_as_json(demo: Store) -> None:
    assert explained(demo, "+492214710500", "", anonymous=True) == {
        "to": "+492214710500",
        "from": "",
        "anonymous": True,
        "direction": "inbound",
        "transferred": False,
        "at": "2026-03-16T12:00:00+01:00",
        "number": "+492214710500",
        "account": "acme",
        "code": "routed",
        "rule": {"number": "+492214710500", "position": 1, "type": "general"},
        "stages": [],
        "bridge": "",
        "final": {"kind": "hangup", "cause": "CALL_REJECTED"},
        "caller_id": {"presented": None, "network": None, "reason": "caller_anonymous"},
        "attestation": None,
        "timeline": [],
        "follow_up": {},
        "reasons": [{"code": "rule_matched", "subject": "rule +492214710500/1 (general)", "text": "applies"}],
    }


def test_a_call_for_people(demo: Store) -> None:
    *lines, bridge = printed(explained(demo, "+492214710200"))
    assert dialstring_reader.parse(bridge) == DEMO_ONE_AFTER_ANOTHER
    assert lines == [
        "inbound call to +492214710200 from +493023125001, 2026-03-16T12:00:00+01:00",
        (
            "number +492214710200, account acme: rule 1 (general): endpoint 1001 15 s, endpoint 1002 15 s | "
            "endpoint 1003 10 s | external +491713920042 25 s (routed)"
        ),
        "caller ID: +493023125001, network number - (caller_received)",
        "stage  rings                   from    to",
        "    1  endpoint 1001            0 s  15 s  ━━━━━━━",
        "    1  endpoint 1002            0 s  15 s  ━━━━━━━",
        "    2  endpoint 1003           15 s  25 s         ━━━━━",
        "    3  external +491713920042  25 s  50 s              ━━━━━━━━━━━━",
        "  external +491713920042  From: <sip:+492214710200@carrier.example>",
        "  external +491713920042  P-Asserted-Identity: <sip:+492214710100@carrier.example>",
        "  external +491713920042  Privacy: none",
        "  external +491713920042  Diversion: <sip:+492214710200@carrier.example>;reason=unconditional;counter=1",
        "if busy: no rule: hangup USER_BUSY",
        "if no answer: no rule: hangup NO_ANSWER",
        "if unreachable: no rule: hangup SUBSCRIBER_ABSENT",
        "why",
        "  rule_matched: rule +492214710200/1 (general) applies",
        "bridge",
    ]


def test_a_refused_call_for_people(demo: Store) -> None:
    assert printed(explained(demo, "+492214710500", "", anonymous=True)) == [
        "inbound call to +492214710500 from an anonymous caller, 2026-03-16T12:00:00+01:00",
        "number +492214710500, account acme: rule 1 (general): hangup CALL_REJECTED (routed)",
        "caller ID: anonymous, network number - (caller_anonymous)",
        "why",
        "  rule_matched: rule +492214710500/1 (general) applies",
    ]


def test_an_unknown_number_for_people(demo: Store) -> None:
    assert printed(explained(demo, "+492214719999", "alice")) == [
        "inbound call to +492214719999 from alice, 2026-03-16T12:00:00+01:00",
        "no number of ours: no rule: hangup UNALLOCATED_NUMBER (number_unknown)",
        "caller ID: as received, network number - (caller_received)",
        "why",
        "  number_unknown: +492214719999 is no number here",
    ]


def test_one_line_says_what_follows_each_outcome_to_its_end(demo: Store) -> None:
    assert [line for line in printed(explained(demo, "+492214710300")) if line.startswith("if ")] == [
        "if busy: rule 3 (busy): endpoint 1004 20 s; then no rule: hangup USER_BUSY",
        "if no answer: rule 2 (no_answer): external +491713920043 20 s; then no rule: hangup NO_ANSWER",
        "if unreachable: no rule: hangup SUBSCRIBER_ABSENT",
    ]


def test_one_line_is_enough_when_the_same_follows_every_outcome(demo: Store) -> None:
    assert [line for line in printed(explained(demo, "+492214710100")) if line.startswith("if ")] == [
        "if nobody takes it: rule 9 (base): voicemail 1001@acme.example",
    ]


SHOWN: dict[str, tuple[tuple[str, str, str, bool], dict[str, str | None], list[str]]] = {
    # account, user, destination, anonymous; caller ID; lines of "why"
    "a verified number": (
        ("acme", "reception", "0171 3920042", False),
        {"presented": "+498999998123", "network": "+492214710100", "reason": "verified_number"},
        [
            "  trunk: +491713920042 is not hosted here: to the telephone network",
            "  caller_id: +498999998123 is shown (verified_number)",
        ],
    ),
    "its own": (
        ("acme", "office", "0171 3920042", False),
        {"presented": "+492214710113", "network": "+492214710100", "reason": "own_number"},
        [
            "  trunk: +491713920042 is not hosted here: to the telephone network",
            "  caller_id: +492214710113 is shown (own_number)",
        ],
    ),
    "one that was never verified": (
        ("acme", "workshop", "0171 3920042", False),
        {"presented": "+492214710100", "network": "+492214710100", "reason": "not_verified"},
        [
            "  trunk: +491713920042 is not hosted here: to the telephone network",
            "  not_verified: +494066969001 may not be shown: was never verified for the account",
            "  caller_id: +492214710100 is shown (not_verified)",
        ],
    ),
    "a call abroad": (
        ("acme", "reception", "+33142681234", False),
        {"presented": "+492214710100", "network": "+492214710100", "reason": "destination_abroad"},
        [
            "  trunk: +33142681234 is not hosted here: to the telephone network",
            (
                "  destination_abroad: +498999998123 may not be shown: A call abroad shows the network number, because "
                "other numbers do not arrive there reliably. (DE-19)"
            ),
            "  caller_id: +492214710100 is shown (destination_abroad)",
        ],
    ),
    "an account on trial, which rejects": (
        ("probe", "tester", "0171 3920042", False),
        {"presented": None, "network": None, "reason": "trial_account"},
        [
            "  trunk: +491713920042 is not hosted here: to the telephone network",
            "  trial_account: +493023125020 may not be shown: a trial account may show only numbers that it hosts",
        ],
    ),
    "nobody": (
        ("acme", "reception", "0171 3920042", True),
        {"presented": None, "network": "+492214710100", "reason": "privacy_requested"},
        [
            "  trunk: +491713920042 is not hosted here: to the telephone network",
            "  caller_id: no number is shown (privacy_requested)",
        ],
    ),
    "an emergency call, hidden": (
        ("acme", "reception", "112", True),
        {"presented": "+492214710100", "network": "+492214710100", "reason": "emergency"},
        [f"  emergency: 112 is an emergency number: {short_numbers.known('112', 'DE')}"],
    ),
}


@pytest.mark.parametrize(("asked", "caller_id", "why"), SHOWN.values(), ids=SHOWN.keys())
def test_which_number_is_shown_and_why(
    demo: Store, asked: tuple[str, str, str, bool], caller_id: dict[str, str | None], why: list[str]
) -> None:
    account, user, to, anonymous = asked
    data = called_by(demo, user, to, account, anonymous=anonymous)
    lines = printed(data)
    assert data["caller_id"] == caller_id
    assert lines[lines.index("why") + 1 : lines.index("bridge") if "bridge" in lines else None] == why


def test_why_an_emergency_call_is_anonymous(demo: Store) -> None:
    """Of a database that somebody edited by hand: no load takes an account like this."""
    call = Call("112", "1001", "", Direction.OUTBOUND, False, None, "acme", "office")
    routing = demo.routing(call)
    assert routing.account is not None
    routing = replace(routing, account=replace(routing.account, network_number=None))
    data = explanation.as_data(call, routing, IN_BERLIN, Confirmation(), DEFAULT_HOP_LIMIT)
    assert data["caller_id"] == {"presented": None, "network": None, "reason": "emergency_line_unknown"}
    lines = printed(data)
    assert "  external 112  From: <sip:anonymous@anonymous.invalid>" in lines
    unknown = (
        "  emergency_line_unknown: acme has no network number: the carrier knows the line by its trunk only, the called "
        "side sees an anonymous call"
    )
    why = lines[lines.index("why") + 1 : lines.index("bridge")]
    assert (why[0].startswith("  emergency: 112 is an emergency number"), why[1:]) == (True, [unknown])
    assert "sip_invite_from_uri=sip:anonymous@anonymous.invalid" in data["bridge"]


def test_a_name_that_nobody_has_is_explained(demo: Store) -> None:
    call = Call("02214710500", CALLER, trunk="gone")
    data = explanation.as_data(call, demo.routing(call), IN_BERLIN, Confirmation(), DEFAULT_HOP_LIMIT)
    assert data["reasons"][0]["code"] == "trunk_unknown"
    assert called_by(demo, "gone", "0171 3920042")["reasons"][0]["code"] == "user_unknown"


def test_who_is_shown_when_a_call_is_refused_for_it(demo: Store) -> None:
    assert printed(called_by(demo, "tester", "0171 3920042", "probe"))[:3] == [
        "outbound call to 0171 3920042 from 1001, 2026-03-16T12:00:00+01:00",
        "no number of ours, account probe: no rule: hangup CALL_REJECTED (trial_account)",
        "caller ID: nobody, network number - (trial_account)",
    ]


def test_what_follows_a_trunk_that_fails_is_the_next_one_to_the_last() -> None:
    several = account(routes=routes(trunk("one"), trunk("two"), trunk("three")))
    call = Call("0171 3920042", "1001", direction=Direction.OUTBOUND, account="acme")
    data = explanation.as_data(call, Routing("DE", account=several), IN_BERLIN, Confirmation(), DEFAULT_HOP_LIMIT)
    dials = []
    step = data
    while step["stages"]:
        dials.append(step["stages"][0][0]["dial"])
        assert {o: step["follow_up"][o]["final"]["cause"] for o in ("busy", "no_answer")} == {
            "busy": "USER_BUSY",
            "no_answer": "NO_ANSWER",
        }
        step = step["follow_up"]["unreachable"]
    assert dials == [f"sofia/gateway/{name}/+491713920042" for name in ("one", "two", "three")]
    assert step["final"] == {"kind": "hangup", "cause": "SUBSCRIBER_ABSENT"}


# --- transferred ------------------------------------------------------------------------------------------


def transferred(demo: Store, user: str, to: str, caller: str = CALLER) -> dict[str, Any]:
    return _explained(demo, Call(to, caller, "", Direction.OUTBOUND, account="acme", user=user, transferred=True))


BACK = "back to the transferor: endpoint 1001 25 s, endpoint 1002 25 s"
BACK_13 = "back to the transferor: endpoint 1004 25 s"
SALES = "endpoint 1001 25 s, endpoint 1003 25 s, endpoint 1004 25 s"
TRANSFERRED: dict[str, tuple[str, str, list[str]]] = {
    "to an extension": (
        "reception",
        "12",
        [
            f"transferred call to 12 from {CALLER}, 2026-03-16T12:00:00+01:00",
            "no number of ours, account acme: no rule: endpoint 1003 25 s (extension)",
            f"caller ID: {CALLER}, network number - (caller_received)",
            f"if busy: {BACK}; then no rule: hangup USER_BUSY",
            f"if no answer: {BACK}; then no rule: hangup NO_ANSWER",
            f"if unreachable: {BACK}; then no rule: hangup SUBSCRIBER_ABSENT",
            "  extension: user workshop has extension 12",
        ],
    ),
    "to a number that goes on by itself": (
        "office",
        "02214710300",
        [
            f"transferred call to 02214710300 from {CALLER}, 2026-03-16T12:00:00+01:00",
            f"number +492214710300, account acme: rule 1 (general): {SALES} (routed)",
            f"caller ID: {CALLER}, network number - (caller_received)",
            f"if busy: rule 3 (busy): endpoint 1004 20 s; then {BACK_13}; then no rule: hangup USER_BUSY",
            f"if no answer: rule 2 (no_answer): external +491713920043 20 s; then {BACK_13}; then no rule: hangup NO_ANSWER",
            f"if unreachable: {BACK_13}; then no rule: hangup SUBSCRIBER_ABSENT",
            "  hosted_here: number +492214710300 is hosted here and stays inside",
            "  rule_matched: rule +492214710300/1 (general) applies",
        ],
    ),
    "to a number that is barred": (
        "office",
        "09001234567",
        [
            f"transferred call to 09001234567 from {CALLER}, 2026-03-16T12:00:00+01:00",
            "no number of ours, account acme: back to the transferor: endpoint 1004 25 s (transfer_recall)",
            f"caller ID: {CALLER}, network number - (caller_received)",
            "if busy: no rule: hangup USER_BUSY",
            "if no answer: no rule: hangup NO_ANSWER",
            "if unreachable: no rule: hangup SUBSCRIBER_ABSENT",
            "  trunk: +499001234567 is not hosted here: to the telephone network",
            "  destination_barred: external +499001234567 left out: account acme may not call it",
            "  transfer_recall: user office gets the call back, because nobody took it",
        ],
    ),
}


@pytest.mark.parametrize(("user", "to", "expected"), TRANSFERRED.values(), ids=TRANSFERRED.keys())
def test_a_transferred_call_for_people(demo: Store, user: str, to: str, expected: list[str]) -> None:
    lines = printed(transferred(demo, user, to))
    shown = [line for line in lines[: lines.index("bridge")] if line != "why"]
    assert [line for line in shown if not re.match(r"stage |  +\d", line)] == expected


def test_the_recall_is_what_follows_a_transfer(demo: Store) -> None:
    """As JSON, with the end of the recall behind it."""
    data = transferred(demo, "workshop", "0171 3920042")
    assert (data["transferred"], data["direction"]) == (True, "outbound")
    recall = data["follow_up"]["busy"]
    assert (recall["code"], [leg["target"] for leg in recall["stages"][0]]) == ("transfer_recall", ["endpoint 1003"])
    ended = recall["follow_up"]["no_answer"]
    assert (ended["code"], ended["final"], ended["follow_up"]) == (
        "call_failed",
        {"kind": "hangup", "cause": "NO_ANSWER"},
        {},
    )
