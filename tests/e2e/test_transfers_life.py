"""A call's whole life, to its end: transfers without fsroute, or by somebody unexpected; how they fail, and what they leave.

tests/e2e/test_transfers.py has the ordinary ones.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.e2e.conftest import (
    Change,
    Fsroute,
    Inside,
    Process,
    demo_password,
    hang_up,
    has_python,
    inside_environment,
    other_side,
    phones,
    switch_inside,
)
from tests.support.server import memory_kb
from tests.support.sip import Answer, Behaviour, Busy, Call, Carrier, MakePhone, Phone, Ring
from tests.support.switch import CONFIGURATION, Switch, find_freeswitch
from tests.support.transfers import (
    CALLER,
    HIDES_NUMBER,
    LINE,
    MOBILE,
    SPOKEN_S,
    VERIFIED,
    Scene,
    notified,
    talks,
    to,
    transferred,
    user_of,
    uuid_of,
)

pytestmark = pytest.mark.timeout(180)

OFFICE = "+492214710113"


# --- an operator's own dialplan ---------------------------------------------------------------------------


@contextmanager
def without_hangup_after_bridge(way_in: str, database: str, path: Path) -> Iterator[tuple[Switch, Fsroute]]:
    """The shipped configuration, of which one line is missing."""
    configuration = path / "freeswitch"
    shutil.copytree(CONFIGURATION, configuration)
    shared = configuration / "dialplan" / "shared" / "ask-fsroute.xml"
    line = '<action application="set" data="hangup_after_bridge=true"/>'
    text = shared.read_text()
    assert line in text
    shared.write_text(text.replace(line, ""))
    if way_in == "python":
        with switch_inside(inside_environment(database), configuration) as switch:
            inside = Inside(switch)
            while "ready" not in inside.events():
                time.sleep(0.05)
            yield switch, inside
        return
    with Switch(configuration=configuration) as switch:
        process = Process(switch.socket_port, database, path / "log")
        process.start()
        try:
            yield switch, process
        finally:
            process.stop()


def test_a_dialplan_without_hangup_after_bridge(way_in: str, running_switch: Switch, database: str, tmp_path: Path) -> None:
    """A call that was answered and is over does not ring the fallback (1001), whoever hung up; a transfer goes on."""
    if find_freeswitch() is None or (way_in == "python" and not has_python(running_switch)):
        pytest.skip("NOT RUN: a dialplan without hangup_after_bridge: needs a FreeSWITCH on this machine")
    with (
        without_hangup_after_bridge(way_in, database, tmp_path) as (switch, fsroute),
        phones(switch) as phone,
        other_side(switch) as carrier,
    ):
        workshop = phone("1003", Answer())
        scene = Scene(carrier, phone)
        scene.answered.bye()
        assert scene.caller.wait_end() == "bye received"
        again = carrier.call("+492214710602")
        again.wait_answer()
        answered = scene.reception.wait_invite()
        again.bye()
        assert answered.wait_end() == "bye received"
        sent = carrier.call("+492214710602")
        sent.wait_answer()
        answered = scene.reception.wait_invite()
        answered.wait("ack")
        time.sleep(SPOKEN_S)
        assert answered.refer(to("12")) == 202
        rung = workshop.wait_invite()
        rung.wait("ack")
        talks(sent, rung)
        rung.bye()
        assert sent.wait_end() == "bye received"
        time.sleep(1.2)
        assert (len(scene.reception.calls), len(workshop.calls)) == (3, 1)
        assert fsroute.events().count("call left") == 1


# --- fsroute dies between answer and transfer -------------------------------------------------------------


def test_killed_after_the_answer_a_transfer_reaches_the_fallback(
    process: Process, carrier: Carrier, phone: MakePhone
) -> None:
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    process.kill()
    try:
        assert scene.answered.refer(to("12")) == 202
        fallback = scene.reception.wait_invite()
        fallback.wait("ack")
        talks(scene.caller, fallback)
        assert workshop.calls == []
        scene.caller.bye()
        assert fallback.wait_end() == "bye received"
    finally:
        process.start()


def test_killed_after_the_answer_and_restarted_a_transfer_is_routed(
    process: Process, carrier: Carrier, phone: MakePhone
) -> None:
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    process.kill()
    process.start()
    assert scene.answered.refer(to("12")) == 202
    rung = workshop.wait_invite()
    rung.wait("ack")
    talks(scene.caller, rung)
    last = process.routed()[-1]
    assert (last["account"], last["user"], last["code"]) == ("acme", "reception", "extension")


def test_killed_after_the_answer_a_call_ends_with_its_bridge(process: Process, carrier: Carrier, phone: MakePhone) -> None:
    scene = Scene(carrier, phone)
    process.kill()
    try:
        scene.answered.bye()
        assert scene.caller.wait_end() == "bye received"
        time.sleep(0.5)
        assert len(scene.reception.calls) == 1
    finally:
        process.start()


# --- REFER at an unexpected time, or by somebody unexpected -----------------------------------------------


def test_refer_while_the_callee_still_rings(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """By the phone that calls, in its early dialog. FreeSWITCH takes the leg that rings away from the call, which ends it.
    No other phone is rung for a callee who is not there."""
    reception, workshop, office = phone("1001", Answer()), phone("1003", Ring()), phone("1004", Answer())
    call = reception.call("12")
    call.wait_ringing()
    rung = workshop.wait_invite()
    assert call.refer(to("13")) == 202
    assert (call.wait_end(), call.status, rung.wait_end()) == ("refused", 487, "cancelled")
    assert office.calls == []
    assert "transferor_unknown" in [line["code"] for line in fsroute.routed()[-2:]]


def test_refer_by_a_phone_that_talks_to_nobody(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """It hears a mailbox. FreeSWITCH has no other party for it to transfer, and says 403; the call goes on."""
    workshop = phone("1003", Answer())
    reception = phone("1001", Answer())
    call = reception.call("02214710609")
    call.wait_answer()
    assert call.refer(to("12")) == 202
    reception.wait(lambda: notified(reception, call), 3, "NOTIFY")
    assert notified(reception, call) == ["SIP/2.0 403 Forbidden"]
    assert workshop.calls == []


@contextmanager
def other_account(switch: Switch) -> Iterator[Phone]:
    """The phone of another account."""
    with Phone("2001", demo_password(switch), "probe.example", switch.internal, behaviour=Answer()) as made:
        assert made.register() == 200
        try:
            yield made
        finally:
            hang_up(made)


@pytest.mark.parametrize("target", ["12", "13"])
def test_a_phone_of_another_account_transfers_for_its_own_account(
    fsroute: Fsroute, switch: Switch, change: Change, carrier: Carrier, phone: MakePhone, target: str
) -> None:
    """It calls a number of acme and sends acme's phone on, to an extension that only acme has, claiming to be acme's."""
    change("UPDATE accounts SET status = 'active' WHERE name = 'probe'")
    carrier.behaviour = Busy()  # an extension that is none may be taken for an outside number
    others = [phone("1003", Answer()), phone("1004", Answer())]
    reception = phone("1001", Answer())
    with other_account(switch) as probe:
        call = probe.call("02214710602")
        call.wait_answer()
        reception.wait_invite().wait("ack")
        time.sleep(SPOKEN_S)
        assert call.refer(to(target), ["Referred-By: <sip:1001@acme.example>"]) == 202
        back = probe.wait_invite()
        back.wait("ack")
        last = fsroute.routed()[-1]
        assert (last["account"], last["user"], last["code"]) == ("probe", "tester", "transfer_recall")
        assert [each.calls for each in others] == [[], []]
        # The party that comes back is a phone of acme: its extension means nothing here.
        assert user_of(back.header("From")) == "anonymous"


def test_the_outside_party_cannot_transfer(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """The carrier sends REFER for the caller. Whatever the switch answers, no phone of ours is sent anywhere."""
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    scene.caller.refer(to("12"), ["Referred-By: <sip:1001@acme.example>"])
    time.sleep(0.8)
    assert workshop.calls == []
    assert "extension" not in [line["code"] for line in fsroute.routed(uuid_of(fsroute))]


# --- where it comes back to -------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [Busy(), Ring()], ids=["busy", "does not answer"])
def test_who_gets_the_call_back_and_does_not_take_it_is_rung_once(
    fsroute: Fsroute, change: Change, carrier: Carrier, phone: MakePhone, again: Behaviour
) -> None:
    phone("1003", Busy())
    scene = Scene(carrier, phone)
    scene.reception.behaviour = again
    scene.answered.refer(to("12"))
    back = scene.reception.wait_invite()
    back.respond(480)
    assert scene.caller.wait_end() == "bye received"
    assert len(scene.reception.calls) == 2
    assert [line["code"] for line in fsroute.routed()[-3:]] == ["extension", "transfer_recall", "call_failed"]


def test_an_account_may_end_a_transfer_that_nobody_takes(
    fsroute: Fsroute, change: Change, carrier: Carrier, phone: MakePhone
) -> None:
    change("UPDATE accounts SET failed_transfer = 'hangup' WHERE name = 'acme'")
    phone("1003", Busy())
    scene = Scene(carrier, phone)
    scene.answered.refer(to("12"))
    assert scene.caller.wait_end() == "bye received"
    assert len(scene.reception.calls) == 1
    assert fsroute.routed()[-1]["code"] == "call_failed"


def test_an_account_may_send_a_transfer_that_nobody_takes_to_a_number(
    fsroute: Fsroute, change: Change, carrier: Carrier, phone: MakePhone
) -> None:
    change("UPDATE accounts SET failed_transfer = ? WHERE name = 'acme'", OFFICE)
    phone("1003", Busy())
    office = phone("1004", Answer())
    scene = Scene(carrier, phone)
    scene.answered.refer(to("12"))
    rung = office.wait_invite()
    assert user_of(rung.header("From")) == CALLER
    rung.wait("ack")
    talks(scene.caller, rung)
    last = fsroute.routed()[-1]
    assert (last["number"], len(scene.reception.calls)) == (OFFICE, 1)
    assert "transfer_recall" in [reason.partition(":")[0] for reason in last["reasons"]]


# --- what the outside number is told ----------------------------------------------------------------------

TOLD = {
    "the caller's number": ([], "none", {"From": CALLER, "P-Asserted-Identity": LINE}),
    "nobody's": (HIDES_NUMBER, "id", {"From": "anonymous", "P-Asserted-Identity": LINE}),
}


@pytest.mark.parametrize("case", TOLD)
def test_an_account_may_show_the_party_that_is_transferred(
    fsroute: Fsroute, change: Change, carrier: Carrier, phone: MakePhone, case: str
) -> None:
    headers, privacy, shown = TOLD[case]
    change("UPDATE accounts SET transferred_caller_id = 'original' WHERE name = 'acme'")
    scene = Scene(carrier, phone, extra_headers=headers)
    carrier.numbers[MOBILE] = Answer()
    scene.answered.refer(to("01713920042"))
    rung = carrier.wait_invite()
    rung.wait("ack")
    assert {name: user_of(rung.header(name)) for name in shown} == shown
    assert rung.header("Privacy") == privacy
    assert user_of(rung.header("Diversion")) == LINE
    if headers:
        assert CALLER not in rung.invite.raw.decode()
    talks(scene.caller, rung)


def test_history_info_of_a_transfer(fsroute: Fsroute, change: Change, carrier: Carrier, phone: MakePhone) -> None:
    """Trunks that are told by History-Info (RFC 7044) are told of a transfer as of a forward."""
    change("UPDATE trunks SET identity_profile = 'presented-in-pai'")
    scene = Scene(carrier, phone)
    carrier.numbers[MOBILE] = Answer()
    scene.answered.refer(to("01713920042"))
    rung = carrier.wait_invite()
    assert LINE in rung.header("History-Info")
    assert user_of(rung.header("Diversion")) == LINE


@pytest.mark.parametrize(("hops", "target", "expected"), [("", MOBILE, "1"), ("2", MOBILE, "3"), ("2", "02214710611", "3")])
def test_hops_count_over_transfers_and_forwards(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, hops: str, target: str, expected: str
) -> None:
    """611 forwards to a mobile."""
    carrier.behaviour = Answer()
    scene = Scene(carrier, phone, extra_headers=[f"X-FSRoute-Hops: {hops}"] if hops else [])
    scene.answered.refer(to(target))
    rung = carrier.wait_invite()
    rung.wait("ack")
    assert rung.header("X-FSRoute-Hops") == expected
    assert f"counter={expected}" in rung.header("Diversion")
    talks(scene.caller, rung)


def test_a_call_that_went_round_too_often_is_not_transferred_outside(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone
) -> None:
    scene = Scene(carrier, phone, extra_headers=["X-FSRoute-Hops: 5"])
    scene.answered.refer(to("01713920042"))
    back = scene.reception.wait_invite()
    back.wait("ack")
    talks(scene.caller, back)
    assert "hop_limit" in [reason.partition(":")[0] for reason in fsroute.routed()[-1]["reasons"]]
    assert carrier.calls == []


def test_transfers_round_and_round_come_to_an_end(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    """Two phones send a caller to each other, at once, for ever. Nine transfers are made, the tenth
    releases the caller (max_session_transfers)."""
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    turns: list[tuple[Phone, str]] = [(workshop, "12"), (scene.reception, "11")] * 8
    talking: Call = scene.answered
    transfers = 0
    for target, extension in turns:
        target_calls = len(target.calls)
        talking.refer(to(extension))
        deadline = time.monotonic() + 5
        while len(target.calls) == target_calls and scene.caller.end is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if scene.caller.end is not None or len(target.calls) == target_calls:
            break
        transfers += 1
        talking = target.calls[-1]
        talking.wait("ack")
        time.sleep(SPOKEN_S)
    assert transfers == 9
    assert scene.caller.wait_end() == "bye received"


# --- evidence ---------------------------------------------------------------------------------------------


def test_the_record_of_busy_no_answer_and_transfer(
    fsroute: Fsroute, switch: Switch, change: Change, carrier: Carrier, phone: MakePhone
) -> None:
    """613 rings 1003, who is busy; then 1004, who does not answer; then 1001, who sends the caller to a mobile."""
    number = "+492214710613"
    for position, kind, endpoint in ((2, "busy", "1004"), (9, "base", "1001")):
        change(
            "INSERT INTO rules (account, number, position, type, ring_s) VALUES ('acme', ?, ?, ?, 2)", number, position, kind
        )
        change(
            "INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES ('acme', ?, ?, 1, ?)",
            number,
            position,
            endpoint,
        )
    phone("1003", Busy())
    phone("1004", Ring())
    carrier.numbers[MOBILE] = Answer()
    reception = phone("1001", Answer())
    carrier.call(number).wait_answer(8)
    answered = reception.wait_invite()
    answered.wait("ack")
    time.sleep(SPOKEN_S)
    answered.refer(to("01713920042"))
    rung = carrier.wait_invite()
    rung.wait("ack")
    assert user_of(rung.header("From")) == VERIFIED
    leg = uuid_of(fsroute)
    variables = dict(line.split(": ", 1) for line in switch.api(f"uuid_dump {leg}").splitlines() if ": " in line)
    evidence = tuple(f"variable_fsroute_{part}" for part in ("code", "number", "rule", "caller_id", "last_", "plan"))
    written = {
        name.removeprefix("variable_fsroute_"): unquote(value)
        for name, value in variables.items()
        if name.startswith(evidence)
    }
    assert written == {
        "code": "routed",
        "number": number,
        "rule": f"{number}/1",
        "caller_id": "caller_received",
        "code_2": "routed",
        "number_2": number,
        "rule_2": f"{number}/2",
        "caller_id_2": "caller_received",
        "code_3": "routed",
        "number_3": number,
        "rule_3": f"{number}/9",
        "caller_id_3": "caller_received",
        "code_4": "trunk",
        "number_4": "none",
        "rule_4": "none",
        "caller_id_4": "verified_number",
        "last_code": "trunk",
        "last_number": "none",
        "last_rule": "none",
        "last_caller_id": "verified_number",
        "plan": "4",
    }


# --- nothing is left --------------------------------------------------------------------------------------

AT_ONCE, ROUNDS, WARM_UP = 20, 10, 10
NOISE_KB = 8_000
"""More than the allocator takes and gives by itself. What 200 calls leave would be 8 kB at least each, a snapshot."""


@pytest.mark.long_wait
def test_two_hundred_transfers_leave_nothing(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    """Twenty callers at a time are sent on, and hang up. No channel (`switch`), no connection and no memory stays: of the
    process, or the objects of Python inside FreeSWITCH (test_mod_python.py has its memory)."""
    reception, workshop = phone("1001", Answer()), phone("1003", Answer())

    def transfers(rounds: int) -> None:
        for _ in range(rounds):
            callers = [carrier.call("+492214710602") for _ in range(AT_ONCE)]
            answered = [reception.wait_invite() for _ in callers]
            for call in answered:
                call.wait("ack")
            time.sleep(SPOKEN_S)
            for call in answered:
                assert call.refer(to("12")) == 202
            for call in [workshop.wait_invite() for _ in callers]:
                call.wait("ack")
            for caller in callers:
                caller.bye()
            switch.wait_idle()

    def held() -> int:
        return memory_kb(fsroute.pid) if isinstance(fsroute, Process) else switch.python_blocks()

    transfers(WARM_UP)
    before = held()
    transfers(ROUNDS)
    left = held() - before
    assert len(transferred(fsroute)) >= AT_ONCE * (ROUNDS + WARM_UP)
    if isinstance(fsroute, Process):
        assert left < NOISE_KB
        assert fsroute.connections == 0
    else:  # each transfer is two calls for fsroute, and any object that one of them left would be as many
        assert left < 2 * AT_ONCE * ROUNDS
