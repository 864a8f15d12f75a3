"""Calls through a real FreeSWITCH: what phones and the carrier see on the wire.

Ring times are whole seconds on FreeSWITCH's clock, and a leg ends up to one second late (switch_ivr_originate.c,
check_per_channel_timeouts compares epoch seconds with >), hence the tolerances.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Fsroute, Process, other_side, phones
from tests.support.sip import Answer, Busy, Carrier, EarlyMedia, IncomingCall, MakePhone, Reject, Ring, Silent, Status
from tests.support.switch import Switch
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(180)


def rang_for(call: IncomingCall) -> float:
    """Seconds from INVITE to CANCEL."""
    return call.seconds("invite", "cancel")


def test_1_parallel_rings_together_and_the_first_to_answer_wins(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone
) -> None:
    phones = [phone("1001", Ring()), phone("1003", Answer(after_s=1.0)), phone("1004", Ring())]
    placed = carrier.call("+492214710601")
    rung = [each.wait_invite() for each in phones]
    placed.wait_answer()
    invites = [call.at["invite"] for call in rung]
    assert max(invites) - min(invites) < 0.2
    assert [call.wait_end() for call in (rung[0], rung[2])] == ["cancelled", "cancelled"]
    assert rung[1].answered
    placed.bye()
    assert rung[1].wait_end() == "bye received"
    assert fsroute.routed()[-1]["stages"] == [3]


def test_the_caller_hears_ringing_before_anybody_answers(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    phone("1001", Silent())
    placed = carrier.call("+492214710602")
    placed.wait_ringing(1.0)
    assert not placed.answered


def test_2_sequential_rings_the_second_phone_after_the_first_ones_time(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone
) -> None:
    first, second = phone("1001", Ring()), phone("1003", Answer(after_s=0.5))
    placed = carrier.call("+492214710602")
    placed.wait_answer(10)
    first_call, second_call = first.wait_invite(), second.wait_invite()
    assert second_call.at["invite"] - first_call.at["invite"] == pytest.approx(3.5, abs=1)
    assert first_call.wait_end() == "cancelled"


@pytest.mark.parametrize("refusal", [Busy(), Reject(), Status(480), None], ids=["busy", "rejects", "480", "not there"])
def test_2_sequential_goes_on_at_once_when_the_first_phone_cannot(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, refusal: Status | None
) -> None:
    if refusal is not None:
        phone("1001", refusal)
    second = phone("1003", Answer())
    placed = carrier.call("+492214710602")
    rung = second.wait_invite(2)
    assert rung.at["invite"] - placed.at["invite"] < 0.6
    placed.wait_answer()


@pytest.mark.long_wait
def test_3_more_than_sixty_seconds_in_all_and_in_one_leg(switches: list[Switch]) -> None:
    """By both ways at the same time, for it takes so long."""
    with ExitStack() as stack:
        calls = []
        for switch in switches:
            phone = stack.enter_context(phones(switch))
            rung = phone("1001", Ring()), phone("1003", Ring()), phone("1004", Ring())
            carrier = stack.enter_context(other_side(switch))
            calls.append((carrier.call("+492214710603"), carrier.call("+492214710604"), rung))
        for sequence, single, (first, second, third) in calls:
            assert sequence.wait_final(90) == 480
            assert single.wait_final(20) == 480
            assert rang_for(first.wait_invite()) == pytest.approx(35.5, abs=1)
            assert rang_for(second.wait_invite()) == pytest.approx(35.5, abs=1)
            assert rang_for(third.wait_invite()) == pytest.approx(65.5, abs=1)
            assert sequence.seconds("invite", "end") == pytest.approx(71, abs=2)


def test_4_a_ring_group_as_one_target_beside_a_mobile(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    members = [phone(user, Ring()) for user in ("1001", "1003", "1004")]
    carrier.numbers["+491713920042"] = Answer(after_s=1.0, press="1")
    placed = carrier.call("+492214710605")
    invites = [member.wait_invite() for member in members] + [carrier.wait_invite()]
    placed.wait_answer(10)
    times = [call.at["invite"] for call in invites]
    assert max(times) - min(times) < 0.2
    assert [call.wait_end() for call in invites[:3]] == ["cancelled"] * 3


def test_5_all_phones_of_a_user_ring_also_in_a_parallel_set(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    reception = [phone("1001", Ring()), phone("1001", Ring()), phone("1002", Ring())]
    workshop = phone("1003", Ring())
    placed = carrier.call("+492214710606")
    together = [each.wait_invite().at["invite"] for each in reception]
    later = workshop.wait_invite().at["invite"]
    assert max(together) - min(together) < 0.2
    assert later - min(together) == pytest.approx(2.5, abs=1)
    placed.cancel()


def test_6_early_media_does_not_win(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    carrier.numbers["+491713920042"] = EarlyMedia()
    second = phone("1003", Answer())
    placed = carrier.call("+492214710607")
    placed.wait_answer(10)
    mobile = carrier.wait_invite()
    assert mobile.wait_end() == "cancelled"
    assert rang_for(mobile) == pytest.approx(3.5, abs=1)
    assert second.wait_invite().answered


def test_7_who_answers_without_the_key_does_not_take_the_call(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    carrier.numbers["+491713920042"] = Answer(after_s=0.3)
    desk = phone("1003", Answer(after_s=3.0))
    placed = carrier.call("+492214710605")
    placed.wait_answer(10)
    mobile = carrier.wait_invite()
    assert mobile.wait_end() == "bye received"
    assert desk.wait_invite().answered
    assert placed.end is None


def test_7_who_presses_the_key_takes_the_call(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    carrier.numbers["+491713920042"] = Answer(after_s=0.3, press="1")
    desk = phone("1003", Ring())
    placed = carrier.call("+492214710605")
    placed.wait_answer(10)
    assert desk.wait_invite().wait_end() == "cancelled"
    mobile = carrier.wait_invite()
    assert mobile.end is None
    placed.bye()
    assert mobile.wait_end() == "bye received"


def test_7_who_answers_late_still_has_time_for_the_key(fsroute: Fsroute, carrier: Carrier) -> None:
    carrier.numbers["+491713920042"] = Answer(after_s=11.0, press="1", press_after_s=4.0)
    placed = carrier.call("+492214710605")
    placed.wait_answer(20)
    assert carrier.wait_invite().end is None


OUTCOMES = {
    "both busy": (Busy(), Busy(), "+491713920051", "busy"),
    "rejected": (Reject(), None, "+491713920051", "busy"),
    "both ring": (Ring(), Ring(), "+491713920052", "no_answer"),
    "one rings, one busy": (Ring(), Busy(), "+491713920052", "no_answer"),
    "one rings, one is not there": (None, Ring(), "+491713920052", "no_answer"),
    "one busy, one is not there": (None, Busy(), "+491713920051", "busy"),
    "nobody there": (None, None, "+491713920053", "unreachable"),
    "phones that do not answer INVITE": (Silent(trying=False), Silent(), "+491713920053", "unreachable"),
}


@pytest.mark.parametrize(("first", "second", "follows", "outcome"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_8_each_outcome_reaches_its_rule_then_the_base_rule_then_the_end(
    fsroute: Fsroute,
    carrier: Carrier,
    phone: MakePhone,
    first: Ring | None,
    second: Ring | None,
    follows: str,
    outcome: str,
) -> None:
    for user, behaviour in (("1001", first), ("1003", second)):
        if behaviour is not None:
            phone(user, behaviour)
    carrier.numbers[follows] = Status(404)
    carrier.numbers["+491713920059"] = Busy()
    placed = carrier.call("+492214710608")
    assert placed.wait_final(12) == 486
    assert [call.number for call in carrier.calls] == [follows, "+491713920059"]
    decisions = fsroute.routed()[-4:]
    assert [line["after"] for line in decisions] == [None, outcome, "unreachable", "busy"]
    assert decisions[-1]["final"] == "hangup USER_BUSY"


def test_8_the_demo_groups_follow_ups(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    phone("1001", Busy())
    office = phone("1004", Busy())
    placed = carrier.call("0221 4710300".replace(" ", ""))
    assert placed.wait_final(10) == 486
    assert len(office.calls) == 2  # once in the group, once by the busy rule


def test_9_a_caller_who_hangs_up_leaves_nothing_behind(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    phones = [phone("1001", Ring()), phone("1003", Ring()), phone("1004", Ring())]
    placed = carrier.call("+492214710601")
    rung = [each.wait_invite() for each in phones]
    placed.cancel()
    assert [call.wait_end() for call in rung] == ["cancelled"] * 3
    switch.wait_idle()
    time.sleep(0.2)
    assert fsroute.events()[-1] == "call ended"


def test_9_a_caller_who_hangs_up_leaves_no_connection_behind(
    process: Process, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    ringing = phone("1001", Ring())
    placed = carrier.call("+492214710602")
    ringing.wait_invite()
    assert process.connections == 1
    placed.cancel()
    switch.wait_idle()
    time.sleep(0.2)
    assert process.connections == 0


def test_10_killed_while_phones_ring(process: Process, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    phones = [phone("1001", Ring()), phone("1003", Answer(after_s=2.0)), phone("1004", Ring())]
    placed = carrier.call("+492214710601")
    rung = [each.wait_invite() for each in phones]
    process.kill()
    placed.wait_answer(5)
    assert rung[1].end is None
    assert [call.wait_end() for call in (rung[0], rung[2])] == ["cancelled", "cancelled"]
    placed.bye()
    switch.wait_idle()

    while_away = carrier.call("+492214710602")
    fallback = phones[0].wait_invite()
    assert fallback.at["invite"] - while_away.at["invite"] < 1
    while_away.cancel()
    fallback.wait_end()
    switch.wait_idle()

    process.start()
    again = carrier.call("+492214710601")
    again.wait_answer(5)
    again.bye()


def test_10_an_emergency_call_gets_out_without_fsroute(process: Process, carrier: Carrier, phone: MakePhone) -> None:
    office = phone("1004", Ring())
    carrier.numbers["112"] = Answer()
    with_fsroute = office.call("112")
    with_fsroute.wait_answer()
    with_fsroute.bye()
    process.kill()
    without = office.call("112")
    without.wait_answer()
    without.bye()
    assert [call.number for call in carrier.calls] == ["112", "112"]


def test_10_another_fsroute_goes_on_where_the_killed_one_stopped(
    process: Process, switch: Switch, database: str, carrier: Carrier, phone: MakePhone, tmp_path: Path
) -> None:
    phone("1001", Ring())
    carrier.numbers["+491713920052"] = Answer()
    second = Process(switch.socket_port_2, database, tmp_path / "second")
    second.start()
    try:
        placed = carrier.call("+492214710608")
        placed.wait_ringing()
        time.sleep(0.5)
        process.kill()
        placed.wait_answer(10)
        assert [(line["rule"], line["after"]) for line in second.routed()] == [("+492214710608/3", "no_answer")]
        placed.bye()
        switch.wait_idle()
    finally:
        second.stop()


def test_10_a_reload_while_phones_ring(process: Process, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    """The call that rings follows its rules to the end in the worker that has it; the next one is another worker's."""
    phone("1001", Ring())
    carrier.numbers["+491713920052"] = Answer()
    placed = carrier.call("+492214710608")
    placed.wait_ringing()
    (before,) = process.workers
    process.signal(signal.SIGHUP, "reloaded")
    assert before in process.workers
    assert len(process.workers) == 2
    during = carrier.call("+492214710601")
    during.wait_ringing()
    placed.wait_answer(10)
    assert [line["after"] for line in process.routed() if line["number"] == "+492214710608"][-2:] == [None, "no_answer"]
    during.cancel()
    placed.bye()
    switch.wait_idle()
    wait_until(lambda: before not in process.workers)


def test_10_a_worker_that_hangs(process: Process, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    """The caller waits until the master has replaced it: three seconds, and the start of another one."""
    phone("1001", Answer())
    earlier = len(process.routed())
    os.kill(process.workers[0], signal.SIGSTOP)
    placed = carrier.call("+492214710602")
    placed.wait_answer(20)
    assert len(process.routed()) == earlier + 1
    placed.bye()
    switch.wait_idle()


HOSTILE_NAMES = {
    "the issue's": "'\",|[]{}<>\\ ${system(touch x)} %0Avariable_x: y :_:",
    "umlauts and emoji": "Jörg Müßig 😀",
    "a quote": 'a"b',
    "a bracket that closes": "x]sofia/gateway/carrier/+491713920099",
    "another leg": ",sofia/gateway/carrier/+491713920099",
    "encoded expansion": "%24%7Bsystem(touch x)%7D",
    "encoded line end": "%0D%0AX-Injected: 1",
    "enterprise": ":_:sofia/gateway/carrier/+491713920099",
    "ends in a backslash": "a\\",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
def test_11_a_display_name_changes_neither_plan_nor_legs(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, name: str
) -> None:
    phones = [phone(user, Ring()) for user in ("1001", "1003", "1004")]
    placed = carrier.call("+492214710605", display_name=name)
    rung = [each.wait_invite() for each in phones]
    mobile = carrier.wait_invite()
    time.sleep(0.3)
    placed.cancel()
    assert [call.wait_end() for call in (*rung, mobile)] == ["cancelled"] * 4
    assert [len(each.calls) for each in phones] == [1, 1, 1]
    assert [call.number for call in carrier.calls] == ["+491713920042"]
    for call in rung:
        assert call.header("From").count("<sip:+493023125001@") == 1
        assert call.header("X-Injected") == ""
    assert mobile.header("From").startswith("<sip:+492214710605@")
    assert not Path("x").exists()
    assert "system(" not in "".join(line for line in switch.log().splitlines() if "API CALL" in line)
    assert fsroute.routed()[-1]["stages"] == [4]


@pytest.mark.parametrize(
    ("name", "shown"), [("Jörg Müßig 😀", "Jörg Müßig 😀"), ('a"b<c', "a b c"), ("Eve (Sales)", "Eve (Sales)")]
)
def test_11_phones_show_the_harmless_part_of_a_name(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, name: str, shown: str
) -> None:
    desk = phone("1001", Ring())
    placed = carrier.call("+492214710602", display_name=name)
    assert desk.wait_invite().header("From").startswith(f'"{shown}" <sip:+493023125001@')
    placed.cancel()


HOSTILE_CONTACTS = {
    "another leg": "<sip:1001@127.0.0.1:{port};x=a,sofia/gateway/carrier/+4990012345>",
    "another stage": "<sip:1001@127.0.0.1:{port};x=a|sofia/gateway/carrier/+4990012345>",
    "enterprise": "<sip:1001@127.0.0.1:{port};x=a:_:sofia/gateway/carrier/+4990012345>",
    "a command": "<sip:1001@127.0.0.1:{port};x=a,[execute_on_ring=system touch {file}]sofia/internal/sip:1001@127.0.0.1>",
    "an expansion": "<sip:1001@127.0.0.1:{port};x=${{system(touch {file})}}>",
    "an encoded expansion": "<sip:1001@127.0.0.1:{port};x=%24%7Bsystem(touch {file})%7D>",
    "a variable": "<sip:1001@127.0.0.1:{port};x=a fsroute_account=evil>",
    "the carrier's address": "<sip:+4990012345@127.0.0.1:{carrier}>",
    "in the user part": "<sip:1001,sofia/gateway/carrier/+4990012345,x@127.0.0.1:{port}>",
}


@pytest.mark.parametrize("contact", HOSTILE_CONTACTS.values(), ids=HOSTILE_CONTACTS.keys())
def test_what_a_phone_registers_adds_no_leg_and_runs_nothing(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, tmp_path: Path, contact: str
) -> None:
    honest = [phone("1003", Ring()), phone("1001", Ring())]
    file = tmp_path / "made"
    evil = phone("1004", Ring())
    evil.unregister()
    text = contact.format(port=evil.address[1], file=file, carrier=switch.carrier_port).replace("1001", "1004")
    assert evil.register(contact=text) == 200
    try:
        placed = carrier.call("+492214710601")
        for each in honest:
            each.wait_invite()
        time.sleep(0.3)
        placed.cancel()
        switch.wait_idle()
        assert carrier.calls == []
        assert evil.calls == []
        assert not file.exists()
        assert "contact_refused: endpoint 1004" in fsroute.routed()[-1]["reasons"]
    finally:
        evil.register(0, contact=text)


def test_an_unknown_number_ends_with_404_without_ringing(fsroute: Fsroute, carrier: Carrier) -> None:
    placed = carrier.call("+492219999999")
    assert placed.wait_final() == 404
    assert "ringing" not in placed.at
    assert fsroute.routed()[-1]["code"] == "number_unknown"


@pytest.mark.parametrize("destination", ["02214710500", "00492214710500", "492214710500", "+492214710500"])
def test_every_spelling_of_a_number_reaches_it_and_anonymous_callers_are_rejected_there(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, destination: str
) -> None:
    desk = phone("1001", Answer())
    hidden = carrier.call(destination, from_user="anonymous", from_domain="anonymous.invalid")
    assert hidden.wait_final() == 603
    known = carrier.call(destination)
    known.wait_answer()
    assert len(desk.calls) == 1


@pytest.mark.parametrize(
    "headers", [["Privacy: id", "P-Asserted-Identity: <sip:+493023125001@carrier.example>"], ["Privacy: id"]]
)
def test_a_number_sent_with_privacy_is_anonymous(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, headers: list[str]
) -> None:
    desk = phone("1001", Ring())
    rejected = carrier.call("+492214710500", extra_headers=headers)
    assert rejected.wait_final() == 603
    placed = carrier.call("+492214710602", extra_headers=headers)
    invite = desk.wait_invite()
    assert "3023125001" not in invite.invite.raw.decode("utf-8", "replace")
    placed.cancel()


def test_a_hidden_number_does_not_leave_with_the_name(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    desk = phone("1001", Ring())
    placed = carrier.call(
        "+492214710602", display_name="+493023125001", from_user="anonymous", from_domain="anonymous.invalid"
    )
    assert "3023125001" not in desk.wait_invite().header("From")
    placed.cancel()


def test_voicemail_is_asked_for_after_the_phone_did_not_answer(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    phone("1003", Ring())
    placed = carrier.call("+492214710610")
    placed.wait_answer(8)
    time.sleep(1)
    assert "voicemail(default acme.example 1001)" in switch.log()
    placed.bye()


def test_an_announcement_is_played(fsroute: Fsroute, switch: Switch, carrier: Carrier) -> None:
    placed = carrier.call("+492214710609")
    placed.wait_answer()
    assert placed.wait_end(5) == "bye received"
    assert "playback(fsroute-test.wav)" in switch.log()


def test_a_loop_through_the_carrier_is_cut(fsroute: Fsroute, carrier: Carrier) -> None:
    """The mobile's own forwarding sends the call back to us, with the headers that we gave it."""
    carrier.numbers["+491713920061"] = Ring()
    first = carrier.call("+492214710611")
    calls = [first]
    for _ in range(5):
        hops = carrier.wait_invite().header("X-FSRoute-Hops")
        calls.append(carrier.call("+492214710611", extra_headers=[f"X-FSRoute-Hops: {hops}"]))
    assert calls[-1].wait_final() == 480
    assert [call.header("X-FSRoute-Hops") for call in carrier.calls] == ["1", "2", "3", "4", "5"]
    assert fsroute.routed()[-1]["reasons"][-2].startswith("empty_plan")
    first.cancel()


def test_another_own_number_is_rung_in_place(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    phones = [phone(user, Ring()) for user in ("1001", "1003")]
    placed = carrier.call("+492214710612")
    for each in phones:
        each.wait_invite()
    assert carrier.calls == []
    placed.cancel()


def test_a_phone_calls_a_colleague_by_extension_and_outside_through_the_trunk(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone
) -> None:
    office, workshop = phone("1004", Ring()), phone("1003", Answer())
    inside = office.call("12")
    inside.wait_answer()
    assert "<sip:13@" in workshop.wait_invite().header("From")
    inside.bye()
    carrier.numbers["+493023125077"] = Busy()
    outside = office.call("03023125077")
    assert outside.wait_final() == 486
    assert carrier.wait_invite().header("From").startswith("<sip:+492214710113@")
