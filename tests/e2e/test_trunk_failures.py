"""What a trunk does before the answer, and what follows when it fails: on users' own calls, and on calls sent on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import Change, Fsroute, gateway
from tests.support.sip import (
    Address,
    Answer,
    Behaviour,
    Busy,
    Carrier,
    EarlyMedia,
    MakePhone,
    Phone,
    Reject,
    Ring,
    Silent,
    Status,
    Step,
)
from tests.support.switch import Switch
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(120)

OUTSIDE = "03023125077"
SEVERAL = "+492214710681"
"""Rings the desk phones 1001 and 1003 beside a mobile."""
DIRECT = "+492214710682"
"""A desk phone, then a mobile, then another desk phone."""
MOBILE, LOCAL_MOBILE = "+491713920062", "01713920062"
"""As the first trunk writes it, and the second."""


@pytest.fixture(autouse=True)
def hung_up(carrier: Carrier, second: Carrier) -> Iterator[None]:
    """The carrier ends its calls before the second one waits for their end."""
    yield
    for call in carrier.placed:
        if call.end is None:
            (call.bye if call.answered else call.cancel)()


@dataclass(frozen=True)
class Says(Behaviour):
    """These responses: seconds, status, and whether there is audio from then on."""

    said: tuple[tuple[float, int, bool], ...] = ()

    def steps(self) -> tuple[Step, ...]:
        return tuple(Step(at_s, status, sdp=sdp) for at_s, status, sdp in self.said)


# --- what a user hears of their own call ------------------------------------------------------------------

BEFORE = {
    "183": ((0.2, 183, True),),
    "183, then 180": ((0.2, 183, True), (0.6, 180, False)),
    "180, then 183": ((0.1, 180, False), (0.4, 183, True)),
    "180 with audio": ((0.2, 180, True),),
}


@pytest.mark.parametrize("said", BEFORE.values(), ids=BEFORE.keys())
@pytest.mark.parametrize(("status", "heard"), [(486, 486), (404, 404)])
def test_a_user_hears_the_carrier_and_then_how_it_ends(
    fsroute: Fsroute, carrier: Carrier, caller: MakePhone, said: tuple[tuple[float, int, bool], ...], status: int, heard: int
) -> None:
    carrier.behaviour = Says(said=(*said, (2.0, status, False)))
    placed = caller().call(OUTSIDE)
    assert placed.wait_final(5) == heard
    assert placed.seconds("invite", "end") < 2.8
    assert placed.audio.packets > 60  # of 80 to 90 in 1.6 s or more
    assert len(carrier.calls) == 1


def test_what_was_heard_goes_on_as_the_call(carrier: Carrier, caller: MakePhone) -> None:
    carrier.behaviour = Says(said=((0.1, 180, False), (0.3, 183, True), (1.0, 200, True)), then_hangup_after_s=0.5)
    placed = caller().call(OUTSIDE)
    placed.wait_answer()
    assert placed.wait_end() == "bye received"
    assert placed.seconds("invite", "end") < 2.5


def test_a_trunk_that_fails_after_an_announcement_is_followed_and_rings_audibly(
    fsroute: Fsroute, carrier: Carrier, second: Carrier, caller: MakePhone
) -> None:
    carrier.behaviour, second.behaviour = Says(said=((0.1, 183, True), (0.8, 503, False))), Answer(after_s=2.0)
    placed = caller().call(OUTSIDE)
    ringing = second.wait_invite()
    time.sleep(0.5)
    before = placed.audio.packets
    time.sleep(1.0)
    assert placed.audio.packets - before > 30  # the second only rings: FreeSWITCH makes the tone
    assert placed.audio.audible > 0
    placed.wait_answer()
    assert ringing.answered
    assert [line["code"] for line in fsroute.routed()[-2:]] == ["trunk", "trunk"]


def test_an_emergency_call_is_heard_and_goes_on_by_the_next_trunk(
    carrier: Carrier, second: Carrier, caller: MakePhone
) -> None:
    carrier.behaviour, second.behaviour = Says(said=((0.1, 183, True), (0.6, 486, False))), EarlyMedia(answer_after_s=1.0)
    placed = caller().call("112")
    placed.wait_answer()
    assert [call.number for call in (*carrier.calls, *second.calls)] == ["112", "112"]
    assert placed.audio.packets > 50


# --- a call that is sent on -------------------------------------------------------------------------------


@pytest.fixture
def ends(phone: MakePhone, carrier: Carrier, second: Carrier) -> tuple[Phone, Phone, Carrier, Carrier]:
    """The desks and the carriers."""
    return phone("1001", Ring()), phone("1003", Ring()), carrier, second


Ends = tuple[Phone, Phone, Carrier, Carrier]


def behave(ends: Ends, first: Behaviour, other: Behaviour, one: Behaviour, two: Behaviour) -> None:
    desk, workshop, carrier, second = ends
    desk.behaviour, workshop.behaviour = one, two
    carrier.numbers[MOBILE], second.numbers[LOCAL_MOBILE] = first, other


def cancelled_because(peer: Phone) -> list[str]:
    return [message.get("Reason") for message in peer.messages if message.start.startswith("CANCEL ")]


FAILS = {
    "503": (Status(503), 0.0),
    "502": (Status(502), 0.0),
    "silent": (Silent(), 4.5),
    "gone": (Silent(trying=False), 4.5),
}


@pytest.mark.parametrize(("first", "after_s"), FAILS.values(), ids=FAILS.keys())
def test_beside_phones_a_mobile_is_called_by_the_next_trunk(
    fsroute: Fsroute, ends: Ends, first: Behaviour, after_s: float
) -> None:
    desk, workshop, carrier, second = ends
    behave(ends, first, Answer(after_s=0.5, press="1"), Ring(), Ring())
    placed = carrier.call(SEVERAL)
    placed.wait_answer(12)
    by_second = second.wait_invite()
    assert by_second.at["invite"] - placed.at["invite"] == pytest.approx(after_s, abs=1.0)
    assert by_second.invite.get("From").startswith("<sip:02214710100@second.example>")
    assert by_second.invite.get("P-Asserted-Identity") == "<sip:02214710681@second.example>"
    assert [len(each.calls) for each in (desk, workshop, carrier, second)] == [1, 1, 1, 1]
    assert [call.wait_end() for each in (desk, workshop) for call in each.calls] == ["cancelled"] * 2
    for each in (desk, workshop):
        # After a silent trunk FreeSWITCH does not tell the phones so (switch_ivr_enterprise_originate asks for the cause of
        # the part that won, and that one's is PROGRESS_TIMEOUT for good).
        told = 'SIP;cause=487;text="ORIGINATOR_CANCEL"' if after_s else 'SIP;cause=200;text="Call completed elsewhere"'
        assert cancelled_because(each) == [told]
    placed.bye()
    assert by_second.wait_end() == "bye received"


@pytest.mark.parametrize("first", [Busy(), Reject(), Status(404), Status(480)], ids=["busy", "rejects", "404", "480"])
def test_a_callee_who_cannot_is_not_called_by_another_trunk(ends: Ends, first: Behaviour) -> None:
    desk, _, carrier, second = ends
    behave(ends, first, Ring(), Answer(after_s=1.5), Ring())
    placed = carrier.call(SEVERAL)
    placed.wait_answer()
    assert desk.wait_invite().answered
    assert second.calls == []


def test_a_mobile_that_rings_to_its_end_does_not_ring_again(fsroute: Fsroute, ends: Ends) -> None:
    *_, carrier, second = ends
    behave(ends, Ring(), Ring(), Busy(), Busy())
    placed = carrier.call(SEVERAL)
    assert placed.wait_final(15) == 480
    assert second.calls == []
    assert fsroute.routed()[-1]["after"] == "no_answer"


def test_who_calls_gives_up_and_everything_ends(switch: Switch, ends: Ends) -> None:
    desk, workshop, carrier, second = ends
    behave(ends, Status(503), Ring(), Ring(), Ring())
    placed = carrier.call(SEVERAL)
    rung = [each.wait_invite() for each in (second, desk, workshop)]
    placed.cancel()
    assert [call.wait_end() for call in rung] == ["cancelled"] * 3
    switch.wait_idle()
    assert len(second.calls) == 1


def test_the_next_trunk_asks_for_the_key_too(ends: Ends) -> None:
    desk, _, carrier, second = ends
    behave(ends, Status(503), Answer(after_s=0.2), Answer(after_s=2.0), Ring())
    placed = carrier.call(SEVERAL)
    placed.wait_answer()
    assert desk.wait_invite().answered
    assert second.wait_invite().wait_end() == "bye received"


def test_a_delayed_mobile_waits_also_when_it_has_two_trunks(ends: Ends, change: Change) -> None:
    desk, _, carrier, second = ends
    change("UPDATE rule_targets SET start_s = 2 WHERE number = ? AND external_number IS NOT NULL", SEVERAL)
    behave(ends, Status(503), Ring(), Ring(), Ring())
    placed = carrier.call(SEVERAL)
    desk.wait_invite()
    delayed = second.wait_invite()
    assert delayed.at["invite"] - placed.at["invite"] == pytest.approx(2.2, abs=0.4)
    placed.cancel()


def test_a_call_does_not_gain_forwards(ends: Ends) -> None:
    desk, _, carrier, second = ends
    behave(ends, Status(503), Ring(), Ring(), Ring())
    placed = carrier.call(SEVERAL)
    assert {each.wait_invite().header("Max-Forwards") for each in (desk, second)} == {"69"}
    assert desk.calls[0].header("From").startswith("<sip:+493023125001@") or "+493023125001" in desk.calls[0].header("From")
    placed.cancel()


ENDINGS: dict[str, tuple[Behaviour, Behaviour, Behaviour, Behaviour, str]] = {
    "all busy": (Busy(), Ring(), Busy(), Busy(), "busy"),
    "phones busy, trunks fail": (Status(503), Status(503), Busy(), Busy(), "busy"),
    "rang and rejected": (Status(503), Busy(), Reject(ring_s=1.0), Busy(), "busy"),
    "one phone rings": (Status(503), Status(503), Ring(), Busy(), "no_answer"),
    "mobile rings by the second": (Status(503), Ring(), Busy(), Busy(), "no_answer"),
    "nothing works": (Status(503), Status(503), Status(480), Status(404), "unreachable"),
    "all silent": (Silent(), Silent(), Silent(), Silent(), "unreachable"),
}


@pytest.mark.parametrize(("first", "other", "one", "two", "outcome"), ENDINGS.values(), ids=ENDINGS.keys())
def test_the_outcome_is_told_without_causes(
    fsroute: Fsroute, ends: Ends, first: Behaviour, other: Behaviour, one: Behaviour, two: Behaviour, outcome: str
) -> None:
    behave(ends, first, other, one, two)
    placed = ends[2].call(SEVERAL)
    assert placed.wait_final(18) == (486 if outcome == "busy" else 480)
    assert fsroute.routed()[-1]["after"] == outcome


def test_in_a_sequence_the_next_trunk_comes_before_the_next_stage(fsroute: Fsroute, ends: Ends) -> None:
    desk, workshop, carrier, second = ends
    behave(ends, Status(503), Busy(), Busy(), Answer(after_s=0.3))
    placed = carrier.call(DIRECT)
    placed.wait_answer(8)
    rung = [each.wait_invite().at["invite"] for each in (desk, carrier, second, workshop)]
    assert rung == sorted(rung)
    assert rung[-1] - rung[0] < 1
    lines = fsroute.routed()[-3:]
    assert [(line["stages"], line["after"]) for line in lines] == [([1, 1, 1], None), ([1, 1], "busy"), ([1], "busy")]


def test_the_better_outcome_of_all_rounds_counts(fsroute: Fsroute, ends: Ends, change: Change) -> None:
    change("UPDATE rule_targets SET ring_s = 1 WHERE number = ?", DIRECT)
    behave(ends, Status(503), Status(503), Ring(), Busy())
    placed = ends[2].call(DIRECT)
    assert placed.wait_final(12) == 480
    assert [line["after"] for line in fsroute.routed()[-4:]] == [None, "no_answer", "no_answer", "no_answer"]


def test_phones_that_are_not_there_do_not_confuse_the_rounds(fsroute: Fsroute, carrier: Carrier, second: Carrier) -> None:
    carrier.numbers[MOBILE], second.numbers[LOCAL_MOBILE] = Status(503), Busy()
    placed = carrier.call(DIRECT)
    assert placed.wait_final(5) == 486
    assert (len(second.calls), fsroute.routed()[-1]["after"]) == (1, "busy")


# --- a gateway that FreeSWITCH knows to be down -----------------------------------------------------------


@pytest.fixture
def down(switch: Switch, carrier: Carrier, second: Carrier, change: Change) -> Iterator[None]:
    """The first trunk's gateway leads to nobody, and FreeSWITCH has noticed."""
    with closing(Carrier(switch.external)) as nobody:
        address: Address = nobody.address
    ping = '<param name="ping" value="5"/><param name="ping-max" value="1"/><param name="ping-min" value="1"/>'
    with gateway(switch, "down", address, ping):
        wait_until(lambda: "DOWN" in switch.api("sofia status gateway down"), pause_s=0.1)
        change("UPDATE trunks SET gateway = 'down' WHERE name = 'carrier'")
        yield


@pytest.mark.parametrize("number", [SEVERAL, DIRECT])
def test_a_gateway_that_is_down_costs_no_time(
    down: None, carrier: Carrier, second: Carrier, phone: MakePhone, number: str
) -> None:
    phone("1001", Busy())
    second.numbers[LOCAL_MOBILE] = Answer(after_s=0.2, press="1")
    placed = carrier.call(number)
    placed.wait_answer(8)
    assert second.wait_invite().at["invite"] - placed.at["invite"] < 0.6


def test_a_user_s_call_passes_by_a_gateway_that_is_down(down: None, second: Carrier, caller: MakePhone) -> None:
    second.behaviour = Answer()
    placed = caller().call(OUTSIDE)
    placed.wait_answer()
    assert second.wait_invite().at["invite"] - placed.at["invite"] < 0.6
