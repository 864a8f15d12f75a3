"""Contacts that phones have registered: whatever they wrote, fsroute rings plain SIP addresses, and nothing that a carrier
would take for a telephone number."""

from __future__ import annotations

import re

from fsroute.callerid import policy
from fsroute.model import EndpointDial, Leg, Plan
from fsroute.simulator import dialstring_reader
from fsroute.switch import contacts, dialstring
from fsroute.switch.dialstring import Confirmation
from scripts.fuzz.given import Given, in_linear_time
from tests.support.builders import decision

PIECES = (
    *",;=@:<>[]{}'\"|\\/^$%&+ ~_-.",
    *("sip:", "sips:", "1001", "1002"),
    *("@192.0.2.7", ":5060", "@[2001:db8::7]", "sofia/internal/", ",sofia/internal/sip:1002@192.0.2.9"),
    *(",sofia/gateway/carrier/+4990012345", "|error/user_busy", ":_:"),
    *("${system(touch x)}", "[execute_on_ring=system x]", ";fs_path="),
    *("sip:1001@203.0.113.9:40123;transport=tcp", "<sip:p1.example;lr>,<sip:p2.example;lr>"),
    *(";transport=tcp", ";x=a", ";user=phone"),
    *("+4990012345", "49-900-12345", "+49.900", "49", "900", "error/user_not_registered"),
    *("\n", "\0", "\u2028", "\uff11", "%2C", "a"),
)  # fmt: skip
MARK = "0123456789abcdef"
PHONES = (
    EndpointDial("1001", "acme.example"),
    EndpointDial("x3f-9_k.2", "acme.example"),
    EndpointDial("100100", "acme.example"),
)
PROFILES = ("internal", "wss")
_ADDRESS = re.compile(r"sofia/(internal|wss)/sips?:(?:[A-Za-z0-9_.!~*+&-]+@)?[A-Za-z0-9.:;=_!~*+%\[\]-]+\Z")
_SEPARATORS = re.compile("[-.()]")
"""What a carrier ignores in a telephone number (RFC 3966, 5.1.1)."""


def check(data: bytes) -> None:
    given = Given(data)
    phones = [given.choice(PHONES)] if given.flag() else list(PHONES)
    profiles = PROFILES if given.flag() else PROFILES[:1]
    slots = [phone for phone in phones for _ in profiles]
    replies = []
    for index, _ in enumerate(slots):
        start = f"sofia/{profiles[index % len(profiles)]}/sip:" if given.flag() else ""
        replies.append(start + given.text(PIECES))
    with in_linear_time():
        found = contacts.read("".join(MARK + reply for reply in replies), phones, profiles, MARK)
    legs = tuple(Leg(f"endpoint {phone.user}", phone, policy.RECEIVED) for phone in phones)
    with in_linear_time():
        plan = contacts.resolve(decision(Plan((legs,))), found).plan
        text = dialstring.bridge(plan, Confirmation())
    assert dialstring_reader.expand(text, _no_variable, _no_command) == text
    rung = [leg for group in dialstring_reader.parse(text).groups for leg in group]
    assert [leg.endpoint for leg in rung] == [dialstring.dial(leg) for stage in plan.stages for leg in stage]
    users = {phone.user for phone in phones}
    for leg in rung:
        assert not leg.error
        assert set(leg.variables) == {"leg_timeout", "leg_progress_timeout"}, leg
        assert _ADDRESS.match(leg.endpoint), leg.endpoint
        user, at, _ = leg.endpoint.rpartition("/")[2].partition("@")
        user = user.partition(":")[2]
        if at and user not in users:
            assert not re.match(r"\+?[0-9]{6,}\Z", _SEPARATORS.sub("", user)), f"a telephone number: {leg.endpoint}"


def _no_variable(name: str) -> str:
    raise AssertionError(f"a channel variable: {name}")


def _no_command(name: str, arguments: str) -> str:
    raise AssertionError(f"a command: {name} {arguments}")
