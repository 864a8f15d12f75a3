"""The end of a bridge is not the end of the call: transfers, parking, pickup, and the legs that come back.

The phones of scripts/demo.sql: 1001 is the reception's (extension 11), 1003 the workshop's (12), 1004 the office's (13).
"""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import Fsroute
from tests.support.sip import Answer, Behaviour, Busy, Carrier, MakePhone, Ring
from tests.support.switch import Switch
from tests.support.transfers import (
    CALLER,
    LINE,
    MOBILE,
    SPOKEN_S,
    VERIFIED,
    Scene,
    talks,
    to,
    to_replaced,
    transferred,
    user_of,
    uuid_of,
)

pytestmark = pytest.mark.timeout(180)

# --- blind transfers --------------------------------------------------------------------------------------


def test_a_caller_is_sent_to_an_extension(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    workshop = phone("1003", Answer(after_s=0.3))
    scene = Scene(carrier, phone)
    assert scene.answered.refer(to("12")) == 202
    rung = workshop.wait_invite()
    assert user_of(rung.header("From")) == CALLER
    rung.wait("ack")
    assert scene.answered.wait_end() == "bye received"
    talks(scene.caller, rung)
    assert [(line["how"], line["to"]) for line in transferred(fsroute)][-1] == ("transferred", "12")
    last = fsroute.routed()[-1]
    assert (last["code"], last["account"], last["user"], last["legs"]) == (
        "extension",
        "acme",
        "reception",
        [["endpoint 1003"]],
    )
    scene.caller.bye()
    assert rung.wait_end() == "bye received"


def test_a_caller_is_sent_to_a_mobile(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    scene = Scene(carrier, phone)
    carrier.numbers[MOBILE] = Answer()
    assert scene.answered.refer(to("01713920042")) == 202
    outside = carrier.wait_invite()
    outside.wait("ack")
    shown = {name: user_of(outside.header(name)) for name in ("From", "P-Asserted-Identity", "Diversion")}
    assert shown == {"From": VERIFIED, "P-Asserted-Identity": LINE, "Diversion": LINE}
    assert outside.header("Diversion").endswith(";reason=deflection;counter=1")
    assert outside.header("X-FSRoute-Hops") == "1"
    assert outside.header("Referred-By") == ""
    talks(scene.caller, outside)
    scene.caller.bye()
    assert outside.wait_end() == "bye received"


def test_a_caller_is_sent_to_a_hosted_number(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    office = phone("1004", Answer())
    scene = Scene(carrier, phone)
    assert scene.answered.refer(to("02214710113")) == 202
    rung = office.wait_invite()
    assert user_of(rung.header("From")) == CALLER
    rung.wait("ack")
    talks(scene.caller, rung)
    assert fsroute.routed()[-1]["number"] == "+492214710113"


def test_a_caller_is_sent_to_an_emergency_number(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    scene = Scene(carrier, phone)
    carrier.numbers["112"] = Answer()
    assert scene.answered.refer(to("112")) == 202
    rescue = carrier.wait_invite()
    assert (rescue.number, user_of(rescue.header("From"))) == ("112", LINE)
    rescue.wait("ack")
    talks(scene.caller, rescue)


def test_a_caller_who_hides_the_number_stays_hidden(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone, extra_headers=["Privacy: id", f"P-Asserted-Identity: <sip:{CALLER}@carrier.example>"])
    scene.answered.refer(to("12"))
    rung = workshop.wait_invite()
    assert CALLER not in rung.invite.raw.decode()
    rung.wait("ack")
    talks(scene.caller, rung)


NOWHERE: dict[str, tuple[str, Behaviour | None, str]] = {
    "nobody answers": ("+492214710613", Ring(), "rules_exhausted"),
    "busy": ("+492214710613", Busy(), "rules_exhausted"),
    "no phone": ("12", None, "not_registered"),
    "too long for a number": ("9" * 40, None, "not_a_number"),
    "no number": ("nonsense", None, "not_a_number"),
    "barred": ("09001234567", None, "destination_barred"),
    "the mobile is busy": (MOBILE, None, "call_failed"),
}


@pytest.mark.parametrize("case", NOWHERE)
def test_a_transfer_that_gets_nowhere_comes_back(fsroute: Fsroute, carrier: Carrier, phone: MakePhone, case: str) -> None:
    target, workshop, why = NOWHERE[case]
    if workshop is not None:
        phone("1003", workshop)
    carrier.numbers[MOBILE] = Busy()
    scene = Scene(carrier, phone)
    assert scene.answered.refer(to(target)) == 202
    back = scene.reception.wait_invite(6)
    assert user_of(back.header("From")) == CALLER
    back.wait("ack")
    talks(scene.caller, back)
    last = fsroute.routed()[-1]
    assert last["code"] == "transfer_recall"
    assert why in [reason.partition(":")[0] for line in fsroute.routed()[-2:] for reason in line["reasons"]]
    scene.caller.bye()
    assert back.wait_end() == "bye received"


def test_a_transfer_to_oneself_rings_once(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    scene = Scene(carrier, phone)
    scene.reception.behaviour = Busy()
    assert scene.answered.refer(to("11")) == 202
    assert scene.caller.wait_end() == "bye received"
    assert len(scene.reception.calls) == 2
    assert fsroute.routed()[-1]["code"] == "call_failed"


def test_the_other_party_of_a_user_s_call_is_sent_on(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """The leg that was called comes back, not the one that called."""
    reception, workshop = phone("1001", Answer()), phone("1003", Answer())
    carrier.numbers[MOBILE] = Answer()
    call = reception.call("01713920042")
    call.wait_answer()
    outside = carrier.wait_invite()
    time.sleep(SPOKEN_S)
    assert call.refer(to("12")) == 202
    rung = workshop.wait_invite()
    assert user_of(rung.header("From")) == MOBILE
    rung.wait("ack")
    assert call.wait_end() == "bye received"
    talks(outside, rung)
    last = fsroute.routed()[-1]
    assert (last["code"], last["account"], last["user"]) == ("extension", "acme", "reception")
    outside.bye()
    assert rung.wait_end() == "bye received"


def test_the_caller_of_an_internal_call_is_sent_on(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    reception, workshop, office = phone("1001", Answer()), phone("1003", Answer()), phone("1004", Answer())
    call = reception.call("12")
    call.wait_answer()
    answered = workshop.wait_invite()
    answered.wait("ack")
    assert answered.refer(to("13")) == 202
    rung = office.wait_invite()
    assert user_of(rung.header("From")) == "11"
    rung.wait("ack")
    assert answered.wait_end() == "bye received"
    talks(call, rung)
    assert fsroute.routed()[-1]["user"] == "workshop"
    call.bye()


def test_the_called_party_of_an_internal_call_is_sent_on(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    reception, workshop, office = phone("1001", Answer()), phone("1003", Answer()), phone("1004", Answer())
    call = reception.call("12")
    call.wait_answer()
    answered = workshop.wait_invite()
    time.sleep(SPOKEN_S)
    assert call.refer(to("13")) == 202
    rung = office.wait_invite()
    assert user_of(rung.header("From")) == "12"
    rung.wait("ack")
    assert call.wait_end() == "bye received"
    talks(answered, rung)
    assert fsroute.routed()[-1]["user"] == "reception"
    answered.bye()


def test_a_transferred_caller_is_sent_on_by_the_next_one(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    workshop, office = phone("1003", Answer()), phone("1004", Answer())
    scene = Scene(carrier, phone)
    scene.answered.refer(to("12"))
    second = workshop.wait_invite()
    second.wait("ack")
    time.sleep(SPOKEN_S)
    assert second.refer(to("13")) == 202
    third = office.wait_invite()
    assert user_of(third.header("From")) == CALLER
    third.wait("ack")
    assert second.wait_end() == "bye received"
    talks(scene.caller, third)
    assert [line["user"] for line in fsroute.routed()[-2:]] == ["reception", "workshop"]


def test_two_transfers_at_once_make_one(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    workshop, office = phone("1003", Answer()), phone("1004", Answer())
    scene = Scene(carrier, phone)
    first = scene.answered.refer(to("12"))
    second = scene.answered.refer(to("13"))
    assert first == 202
    assert second in {202, 481, 500}
    time.sleep(1)
    rung = [call for each in (workshop, office) for call in each.calls if call.end is None]
    assert len(rung) == 1
    talks(scene.caller, rung[0])


# --- attended transfers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["phone", "mobile"])
def test_a_caller_is_connected_after_a_word_with_the_target(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, target: str
) -> None:
    carrier.numbers[MOBILE] = Answer()
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    asked = scene.reception.call("12" if target == "phone" else "01713920042")
    asked.wait_answer()
    rung = workshop.wait_invite() if target == "phone" else carrier.wait_invite()
    rung.wait("ack")
    assert scene.answered.refer(to_replaced("12", asked)) == 202
    assert [scene.answered.wait_end(), asked.wait_end()] == ["bye received", "bye received"]
    talks(scene.caller, rung)
    assert transferred(fsroute)[-1]["how"] == "bridged to another call"
    scene.caller.bye()
    assert rung.wait_end() == "bye received"


def test_a_caller_is_connected_to_a_target_that_still_rings(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    workshop = phone("1003", Answer(after_s=2.5))
    scene = Scene(carrier, phone)
    asked = scene.reception.call("12")
    asked.wait_ringing()
    rung = workshop.wait_invite()
    assert scene.answered.refer(to_replaced("12", asked)) == 202
    rung.wait("ack")
    talks(scene.caller, rung)
    scene.caller.bye()
    assert rung.wait_end() == "bye received"


def test_the_parties_of_two_calls_of_a_user_are_connected(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    reception, workshop = phone("1001", Answer()), phone("1003", Answer())
    carrier.numbers[MOBILE] = Answer()
    first, second = reception.call("01713920042"), None
    first.wait_answer()
    outside = carrier.wait_invite()
    second = reception.call("12")
    second.wait_answer()
    rung = workshop.wait_invite()
    assert first.refer(to_replaced("12", second)) == 202
    assert [first.wait_end(), second.wait_end()] == ["bye received", "bye received"]
    talks(outside, rung)
    outside.bye()
    assert rung.wait_end() == "bye received"


def test_a_caller_who_was_connected_is_sent_on_by_the_target(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """Attended first, then blind: on behalf of the one who has the call by then."""
    workshop, office = phone("1003", Answer()), phone("1004", Answer())
    scene = Scene(carrier, phone)
    asked = scene.reception.call("12")
    asked.wait_answer()
    rung = workshop.wait_invite()
    rung.wait("ack")
    time.sleep(SPOKEN_S)
    scene.answered.refer(to_replaced("12", asked))
    asked.wait_end()
    time.sleep(SPOKEN_S)
    assert rung.refer(to("13")) == 202
    last = office.wait_invite()
    assert user_of(last.header("From")) == CALLER
    last.wait("ack")
    talks(scene.caller, last)
    assert fsroute.routed()[-1]["user"] == "workshop"


# --- the switch moves calls -------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", ["", "-bleg", "-both"])
def test_the_switch_transfers(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, leg: str) -> None:
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    assert switch.api(f"uuid_transfer {uuid_of(fsroute)} {leg} 12").startswith("+OK")
    if leg == "":
        rung = workshop.wait_invite()
        rung.wait("ack")
        talks(scene.caller, rung)
    elif leg == "-both":
        assert scene.caller.end is None or workshop.calls
    else:  # the phone was transferred, and whoever was connected to it is no user of ours
        assert scene.answered.wait_end() == "bye received"
        assert fsroute.routed()[-1]["code"] == "transferor_unknown"


def test_the_switch_moves_a_call_that_rings(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    """Nobody is connected to it: it goes where the number's account would send it."""
    reception, workshop = phone("1001", Ring()), phone("1003", Answer())
    caller = carrier.call("+492214710602")
    reception.wait_invite()
    switch.api(f"uuid_transfer {uuid_of(fsroute)} 12")
    rung = workshop.wait_invite()
    rung.wait("ack")
    talks(caller, rung)
    assert transferred(fsroute)[-1]["how"] == "transferred"
    last = fsroute.routed()[-1]
    assert (last["account"], last["user"], last["code"]) == ("acme", None, "extension")


def test_a_call_is_parked_and_fetched(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    scene = Scene(carrier, phone)
    parked = uuid_of(fsroute)
    assert switch.api(f"uuid_park {parked}").startswith("+OK")
    assert scene.answered.wait_end() == "bye received"
    talks(scene.caller)
    assert transferred(fsroute)[-1]["how"] == "parked"
    workshop, office = phone("1003", Answer()), phone("1004", Answer())
    call = workshop.call("13")
    call.wait_answer()
    mine = uuid_of(fsroute)
    answered = office.wait_invite()
    switch.api(f"uuid_bridge {parked} {mine}")
    assert answered.wait_end() == "bye received"
    talks(scene.caller, call)


def test_a_ringing_call_is_picked_up(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    reception, workshop, office = phone("1001", Ring()), phone("1003", Answer()), phone("1004", Answer())
    caller = carrier.call("+492214710602")
    ringing = reception.wait_invite()
    picked = uuid_of(fsroute)
    call = workshop.call("13")
    call.wait_answer()
    answered = office.wait_invite()
    switch.api(f"uuid_broadcast {uuid_of(fsroute)} intercept::{picked} aleg")
    caller.wait_answer()
    assert ringing.wait_end() == "cancelled"
    answered.wait_end()
    talks(caller, call)
    assert len(workshop.calls) == 0


def test_a_call_is_fetched_from_an_announcement(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    """What plays to a caller ends as well when the switch moves the call. That is no end of the call. The half second of
    silence before the announcement is a part of it."""
    workshop = phone("1003", Answer())
    caller = carrier.call("+492214710609")
    caller.wait_answer()
    assert switch.api(f"uuid_transfer {uuid_of(fsroute)} 12").startswith("+OK")
    rung = workshop.wait_invite()
    rung.wait("ack")
    talks(caller, rung)


# --- nobody forges it -------------------------------------------------------------------------------------


def test_a_caller_cannot_claim_to_be_a_user(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    workshop = phone("1003", Answer())
    claims = [
        "Referred-By: <sip:1004@acme.example>",
        "X-fsroute_transferor_user: office",
        "fsroute_transferor_user: office",
        "variable_fsroute_transferor_account: probe",
    ]
    scene = Scene(carrier, phone, display_name="fsroute_transferor_user=office", extra_headers=claims)
    assert scene.answered.refer(to("12"), ["Referred-By: <sip:1004@acme.example>"]) == 202
    rung = workshop.wait_invite()
    rung.wait("ack")
    last = fsroute.routed()[-1]
    assert (last["account"], last["user"]) == ("acme", "reception")
    assert rung.header("Referred-By") == ""
    talks(scene.caller, rung)


# --- evidence ---------------------------------------------------------------------------------------------


def test_an_answered_call_is_not_followed_by_the_fallback(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    scene = Scene(carrier, phone)
    scene.answered.bye()
    assert scene.caller.wait_end() == "bye received"
    time.sleep(0.5)
    assert len(scene.reception.calls) == 1
    ended = [line for line in fsroute.lines() if line["event"] == "call ended"][-1]
    assert ended["seconds"] >= 0
