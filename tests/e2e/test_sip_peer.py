"""The SIP peer against itself: no FreeSWITCH, a second or two."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.sip import Answer, Busy, Carrier, EarlyMedia, Phone, Reject, Ring, Silent, SipTimeoutError, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sip import Behaviour


@pytest.fixture
def callee() -> Iterator[Carrier]:
    with Carrier(("127.0.0.1", 9)) as peer:
        yield peer


@pytest.fixture
def caller(callee: Carrier) -> Iterator[Carrier]:
    with Carrier(callee.address) as peer:
        callee.switch = peer.address
        yield peer


def test_an_answered_call_has_audio_both_ways_and_ends_with_the_callers_bye(caller: Carrier, callee: Carrier) -> None:
    callee.behaviour = Answer(after_s=0.2)
    placed = caller.call("+4922166966900")
    placed.wait_answer()
    taken = callee.wait_invite()
    taken.wait("ack")
    assert taken.number == "+4922166966900"
    assert placed.seconds("invite", "answered") == pytest.approx(0.2, abs=0.1)
    assert "ringing" in placed.at
    time.sleep(0.2)
    placed.bye()
    assert (placed.wait_end(), taken.wait_end()) == ("bye sent", "bye received")
    assert placed.audio.packets > 4
    assert taken.audio.packets > 4
    assert placed.audio.audible == taken.audio.audible == 0


def test_the_callee_hangs_up_after_the_time_it_was_given(caller: Carrier, callee: Carrier) -> None:
    callee.behaviour = Answer(then_hangup_after_s=0.2)
    placed = caller.call("1")
    assert placed.wait_end() == "bye received"
    assert placed.seconds("answered", "end") == pytest.approx(0.2, abs=0.1)
    assert callee.wait_invite().wait_end() == "bye sent"


def test_keys_are_heard_on_the_other_side(caller: Carrier, callee: Carrier) -> None:
    callee.behaviour = Answer(press="1#", press_after_s=0.1)
    placed = caller.call("1")
    placed.wait_answer()
    callee.wait_invite().wait("ack")
    placed.press("9")
    time.sleep(0.8)
    assert placed.audio.keys == "1#"
    assert callee.calls[0].audio.keys == "9"


@pytest.mark.parametrize("behaviour", [Ring(), Silent(), EarlyMedia()], ids=repr)
def test_a_cancelled_call_ends_with_487(caller: Carrier, callee: Carrier, behaviour: Behaviour) -> None:
    callee.behaviour = behaviour
    placed = caller.call("1")
    callee.wait_invite()
    placed.cancel()
    assert placed.wait_final() == 487
    assert callee.wait_cancel().wait_end() == placed.wait_end() == "cancelled"
    assert callee.calls[0].wait("ack")


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [
        (Busy(), [486]),
        (Reject(), [603]),
        (Status(404), [404]),
        (Status(480, ring_s=0.2), [180, 480]),
        (Status(302, headers=("Contact: <sip:2@127.0.0.1>",)), [302]),
        (EarlyMedia(ring_s=0.1, answer_after_s=0.2), [180, 183, 200]),
    ],
    ids=repr,
)
def test_the_caller_sees_what_the_behaviour_says(
    caller: Carrier, callee: Carrier, behaviour: Behaviour, statuses: list[int]
) -> None:
    callee.numbers["1"] = behaviour
    placed = caller.call("1")
    assert placed.wait_final() == statuses[-1]
    assert [status for _, status, _ in placed.responses] == statuses
    assert placed.answered == (statuses[-1] == 200)


def test_text_is_quoted_and_bytes_are_not(caller: Carrier, callee: Carrier) -> None:
    caller.call("1", display_name='Jörg "J" \\ 😀')
    assert callee.wait_invite().header("From").startswith('"Jörg \\"J\\" \\\\ 😀" <sip:')
    caller.call("1", display_name=b"\xff%0A;x")
    raw = callee.wait_invite().header("From").encode("utf-8", "surrogateescape")
    assert raw.startswith(b"\xff%0A;x <sip:")


def test_a_repeated_invite_is_the_same_call_and_gets_the_same_answer(callee: Carrier) -> None:
    callee.behaviour = Busy()
    invite = (
        "INVITE sip:1@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:2@x>;tag=2\r\n"
        "To: <sip:1@x>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nContact: <sip:2@127.0.0.1>\r\nContent-Length: 0\r\n\r\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(2)
        answers = []
        for _ in range(2):
            other.sendto(invite.encode(), callee.address)
            answers.append(other.recv(2000))
        other.sendto(invite.replace("INVITE", "OPTIONS").encode(), callee.address)
        while not (options := other.recv(2000)).startswith(b"SIP/2.0 200"):
            pass
    assert answers[0] == answers[1]
    assert b"486" in answers[0].splitlines()[0]
    assert len(callee.calls) == 1
    assert b"CSeq: 1 OPTIONS" in options


@pytest.mark.parametrize(("behaviour", "end"), [(Silent(trying=False), "refused"), (Silent(), None), (Ring(), None)])
def test_who_leaves_refuses_a_call_that_had_no_response(caller: Carrier, behaviour: Behaviour, end: str | None) -> None:
    """Else its INVITE is repeated, and the next test's peer on this port is called."""
    with Carrier(caller.address, behaviour=behaviour) as leaves:
        caller.switch = leaves.address
        placed = caller.call("1")
        leaves.wait_invite()
    time.sleep(0.3)
    assert placed.end == end


def test_a_phone_registers_and_takes_its_registration_back(callee: Carrier) -> None:
    with Phone("1001", "secret", "acme.example", callee.address) as phone:
        assert phone.register(contact="<sip:a,b|c@127.0.0.1>") == 200
    registrations = [(m.get("Contact"), m.get("Expires")) for m in callee.messages if m.start.startswith("REGISTER")]
    assert registrations == [("<sip:a,b|c@127.0.0.1>", "300"), ("<sip:a,b|c@127.0.0.1>", "0")]


def test_a_wait_ends_and_shows_the_trace(callee: Carrier) -> None:
    with pytest.raises(SipTimeoutError, match=r"0.1 s without an INVITE"):
        callee.wait_invite(0.1)
