"""What a phone or the carrier sends to make the switch dial what fsroute did not decide: docs/design.md lists the ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import Fsroute, demo_password
from tests.e2e.sip import Answer, Call, Carrier, Peer, Phone
from tests.e2e.switch import Switch

MakePhone = Callable[..., Phone]

pytestmark = pytest.mark.timeout(120)

GONE = "?Replaces=gone%40127.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db"
"""Names a dialog that no switch has."""


@pytest.fixture
def stranger(switch: Switch, carrier: Carrier) -> Iterator[Phone]:
    """The phone of another account."""
    with Phone("2001", demo_password(switch), "probe.example", switch.internal, behaviour=Answer()) as made:
        assert made.register() == 200
        yield made
        for call in (*made.calls, *made.placed):
            call.bye()


def notified(peer: Peer, timeout: float = 5.0) -> str:
    """What the switch said of the first transfer: the status line in its NOTIFY."""

    def sipfrag() -> str | None:
        bodies = (m.body.strip() for m in peer.messages if m.method == "NOTIFY" and not m.status and not m.sent)
        return next((body for body in bodies if body.startswith("SIP/2.0")), None)

    return peer.wait(sipfrag, timeout, "a NOTIFY about a transfer")


def refused(call: Call, refer_to: str) -> None:
    """The switch takes the REFER, says 403 of what came of it, and the call goes on."""
    assert call.refer(refer_to) == 202
    assert notified(call.peer) == "SIP/2.0 403 Forbidden"
    assert call.end is None


def test_a_called_phone_transfers_to_a_call_that_is_gone(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    refused(call, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>")
    refused(call, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port};user=phone{GONE}&X-Probe=1>")
    assert placed.end is None
    call.bye()
    assert placed.wait_end() == "bye received"
    assert carrier.calls == []


def test_a_calling_phone_transfers_to_a_call_that_is_gone(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    carrier.numbers["+493023125077"] = Answer()
    placed = phone("1004", Answer()).call("03023125077")
    placed.wait_answer()
    refused(placed, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>")
    placed.bye()
    assert carrier.wait_invite().wait_end() == "bye received"
    assert [call.number for call in carrier.calls] == ["+493023125077"]


def test_a_phone_of_another_account_transfers_to_a_call_that_is_gone(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, stranger: Phone
) -> None:
    placed = carrier.call("+493023125010")
    placed.wait_answer()
    call = stranger.wait_invite()
    refused(call, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>")
    placed.bye()
    assert call.wait_end() == "bye received"
    assert carrier.calls == []


def test_the_carrier_transfers_nobody(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    for refer_to in (f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>", "<sip:12@127.0.0.1>"):
        assert placed.refer(refer_to) == 405
    assert (placed.end, call.end) == (None, None)
    placed.bye()
    assert call.wait_end() == "bye received"
    assert (len(desk.calls), carrier.calls) == (1, [])
