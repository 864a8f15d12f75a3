"""Verification calls through a real FreeSWITCH: what the called side meets, and what fsroute learns of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fsroute.codes import DeliveryOutcome
from fsroute.configuration.settings import Settings
from fsroute.data.database import open_database
from fsroute.data.routing_store import Store
from fsroute.eventsocket.client import EventSocketClient
from fsroute.eventsocket.frames import Frame
from fsroute.model import NumberFormat, Routing
from fsroute.verification import prompts, voice_call
from fsroute.verification.delivery import Delivered, Message
from fsroute.verification.voice_call import SOUNDS, VoiceCall
from tests.e2e.conftest import TOP, idle
from tests.support import event_socket
from tests.support.builders import account, routes, trunk
from tests.support.event_socket import EventSocketServer, Placed, Said, missing, read_out
from tests.support.sip import Answer, Behaviour, Busy, Carrier, EarlyMedia, Reject, Ring, Silent, Status
from tests.support.switch import PASSWORD, Switch

NUMBER = "+491713920042"
MESSAGE = Message("1", "acme", NUMBER, "20", "de")
FIRST_PART_S = 2.8
"""What the short prompts take until the code has been read once; it is read a second time in as long again."""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="session")
def short_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped digits; one of them also in place of each longer prompt."""
    directory = tmp_path_factory.mktemp("prompts")
    for language in ("de", "en"):
        (directory / language).mkdir()
        for name in prompts.NAMES:
            shutil.copy(SOUNDS / language / f"{name if name.isdigit() else 8}.wav", directory / language / f"{name}.wav")
    return directory


@pytest.fixture
def switch(running_switch: Switch) -> Iterator[Switch]:
    """FreeSWITCH alone, without calls before and after: no call comes in, so no `fsroute serve` is needed."""
    with idle(running_switch):
        yield running_switch


@pytest.fixture
def carrier(switch: Switch) -> Iterator[Carrier]:
    with Carrier(switch.external, port=switch.carrier_port) as peer:
        yield peer
        switch.wait_idle()


@pytest.fixture
def voice(switch: Switch, database: str, short_prompts: Path) -> Iterator[VoiceCall]:
    store = Store(open_database(database), database, "DE")
    yield VoiceCall(
        routing=store.routing,
        now=lambda: datetime.now(UTC),
        address=switch.event_socket,
        password=PASSWORD,
        timeout_s=5.0,
        ring_s=2,
        prompts=str(short_prompts),
    )
    store.close()


NOT_ANSWERED: dict[str, tuple[Behaviour, Delivered]] = {
    "busy": (Busy(), Delivered(DeliveryOutcome.BUSY, "USER_BUSY")),
    "busy after ringing": (Busy(ring_s=0.5), Delivered(DeliveryOutcome.BUSY, "USER_BUSY")),
    "rejected": (Reject(), Delivered(DeliveryOutcome.CALL_REJECTED, "CALL_REJECTED")),
    "rings for ever": (Ring(), Delivered(DeliveryOutcome.NO_ANSWER, "ALLOTTED_TIMEOUT")),
    "only early media": (EarlyMedia(), Delivered(DeliveryOutcome.NO_ANSWER, "ALLOTTED_TIMEOUT")),
    "never rings": (Silent(), Delivered(DeliveryOutcome.NUMBER_UNREACHABLE, "PROGRESS_TIMEOUT")),
    "480": (Status(480), Delivered(DeliveryOutcome.NO_ANSWER, "NO_USER_RESPONSE")),
    "404": (Status(404), Delivered(DeliveryOutcome.NUMBER_UNREACHABLE, "UNALLOCATED_NUMBER")),
    "503": (Status(503), Delivered(DeliveryOutcome.NUMBER_UNREACHABLE, "NORMAL_TEMPORARY_FAILURE")),
}


@pytest.mark.parametrize(("behaviour", "result"), NOT_ANSWERED.values(), ids=NOT_ANSWERED.keys())
def test_a_call_that_is_not_answered(voice: VoiceCall, carrier: Carrier, behaviour: Behaviour, result: Delivered) -> None:
    carrier.behaviour = behaviour
    started = time.monotonic()
    assert voice.deliver(MESSAGE) == result
    assert time.monotonic() - started < 2 + 2
    assert [call.number for call in carrier.calls] == [NUMBER]
    assert carrier.calls[0].audio.packets == 0


ANSWERED: dict[str, tuple[Behaviour, Delivered]] = {
    "listens": (Answer(after_s=0.3), Delivered(DeliveryOutcome.CODE_READ, "NORMAL_CLEARING")),
    "presses keys": (Answer(press="*1#", press_after_s=0.3), Delivered(DeliveryOutcome.CODE_READ, "NORMAL_CLEARING")),
    "hangs up after the first time": (
        Answer(then_hangup_after_s=FIRST_PART_S + 0.7),
        Delivered(DeliveryOutcome.CODE_READ, "NORMAL_CLEARING"),
    ),
    "hangs up before the last digit": (
        Answer(then_hangup_after_s=FIRST_PART_S - 0.7),
        Delivered(DeliveryOutcome.CUT_SHORT, "NORMAL_CLEARING"),
    ),
    "hangs up at once": (Answer(then_hangup_after_s=0.0), Delivered(DeliveryOutcome.CUT_SHORT, "NORMAL_CLEARING")),
}


@pytest.mark.parametrize(("behaviour", "result"), ANSWERED.values(), ids=ANSWERED.keys())
def test_a_call_that_is_answered(voice: VoiceCall, carrier: Carrier, behaviour: Behaviour, result: Delivered) -> None:
    carrier.behaviour = behaviour
    assert voice.deliver(MESSAGE) == result
    (call,) = carrier.calls
    assert call.answered
    assert call.wait_end(1.0) == ("bye received" if behaviour.then_hangup_after_s is None else "bye sent")


@pytest.mark.parametrize("language", ["de", "en"])
def test_the_shipped_prompts_are_played_and_freeswitch_hangs_up(voice: VoiceCall, carrier: Carrier, language: str) -> None:
    carrier.behaviour = Answer()
    assert replace(voice, prompts=str(SOUNDS)).deliver(replace(MESSAGE, language=language)).outcome == "code_read"
    (call,) = carrier.calls
    assert call.wait_end(1.0) == "bye received"
    assert call.audio.audible > 400  # packets of 20 ms


def test_the_network_number_is_shown_to_the_called_side(voice: VoiceCall, carrier: Carrier) -> None:
    carrier.behaviour = Busy()
    voice.deliver(MESSAGE)
    invite = carrier.wait_invite().invite
    assert invite.get("From").partition(";")[0] == "<sip:+492214710100@carrier.example>"
    assert invite.get("P-Asserted-Identity") == "<sip:+492214710100@carrier.example>"
    assert invite.get("Privacy") == "none"


def test_a_prompt_that_is_missing_is_told(voice: VoiceCall, carrier: Carrier, short_prompts: Path, tmp_path: Path) -> None:
    carrier.behaviour = Answer()
    shutil.copytree(short_prompts, tmp_path / "p")
    (tmp_path / "p" / "de" / "0.wav").unlink()
    assert replace(voice, prompts=str(tmp_path / "p")).deliver(MESSAGE) == Delivered(
        DeliveryOutcome.PROMPT_FAILED, "NORMAL_CLEARING"
    )
    assert replace(voice, prompts="/nowhere").deliver(MESSAGE) == Delivered(DeliveryOutcome.PROMPT_FAILED, "NORMAL_CLEARING")


def test_the_longest_call_is_ended_by_freeswitch(
    voice: VoiceCall, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_call, "LONGEST_CALL_S", 1)
    carrier.behaviour = Answer()
    assert voice.deliver(MESSAGE) == Delivered(DeliveryOutcome.CUT_SHORT, "ALLOTTED_TIMEOUT")
    assert carrier.calls[0].wait_end() == "bye received"
    assert carrier.calls[0].seconds("answered", "end") < FIRST_PART_S


def test_the_next_trunk_is_tried_when_one_failed(voice: VoiceCall, carrier: Carrier) -> None:
    """Both lead to the same carrier, which tells them apart by how they write the number."""
    first = trunk("first", gateway="carrier", domain="carrier.example", number_format=NumberFormat.DIGITS)
    second = trunk("second", gateway="carrier", domain="carrier.example")
    twice = account(routes=routes(first, second))
    carrier.numbers = {"491713920042": Status(503), NUMBER: Busy()}
    call = replace(voice, routing=lambda _: Routing("DE", account=twice))
    assert call.deliver(MESSAGE) == Delivered(DeliveryOutcome.BUSY, "USER_BUSY")
    assert [each.number for each in carrier.calls] == ["491713920042", NUMBER]


def test_calls_at_the_same_time_are_not_taken_for_each_other(voice: VoiceCall, carrier: Carrier) -> None:
    carrier.numbers = {NUMBER: Answer(), "+491713920043": Busy(ring_s=1.0), "+491713920044": Answer(then_hangup_after_s=1)}
    results: dict[str, Delivered] = {}

    def deliver(number: str) -> None:
        results[number] = voice.deliver(replace(MESSAGE, number=number))
        voice.routing.__self__.close()  # type: ignore[attr-defined] # a thread's own connection

    threads = [threading.Thread(target=deliver, args=[number]) for number in carrier.numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {number: result.outcome for number, result in results.items()} == {
        NUMBER: "code_read",
        "+491713920043": "busy",
        "+491713920044": "cut_short",
    }


def test_a_wrong_password_is_told(voice: VoiceCall, carrier: Carrier) -> None:
    told = "FreeSWITCH's Event Socket refused the password (setting event_socket_password)"
    assert replace(voice, password="wrong").deliver(MESSAGE) == Delivered(DeliveryOutcome.SWITCH_REFUSED, told)  # noqa: S106 - meant to be
    assert carrier.calls == []


# --- fsroute dies -----------------------------------------------------------------------------------------

PROGRAM = f"""
import sys
from datetime import UTC, datetime
from fsroute.configuration.settings import Settings
from fsroute.data.database import open_database
from fsroute.data.routing_store import Store
from fsroute.verification import prompts, voice_call
from fsroute.verification.delivery import Message
store = Store(open_database(sys.argv[1]), sys.argv[1], "DE")
settings = Settings(
    event_socket=sys.argv[2], event_socket_password="{PASSWORD}", prompts=sys.argv[3], verify_ring_s=5
)
voice_call.from_settings(settings, store.routing, lambda: datetime.now(UTC)).deliver({MESSAGE!r})
"""


@contextmanager
def delivering(switch: Switch, database: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that delivers the message."""
    host, port = switch.event_socket
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FSROUTE_")}
    arguments = [sys.executable, "-c", PROGRAM, database, f"{host}:{port}", str(directory)]
    with subprocess.Popen(arguments, cwd=TOP, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_call_whose_fsroute_was_killed_while_it_rang_reads_the_code_and_ends(
    switch: Switch, database: str, carrier: Carrier, short_prompts: Path
) -> None:
    carrier.behaviour = Answer(after_s=1.5)
    with delivering(switch, database, short_prompts) as process:
        call = carrier.wait_invite(10)
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        assert not call.answered
        assert call.wait_end(20) == "bye received"
    assert call.seconds("answered", "end") > 2 * FIRST_PART_S - 1
    switch.wait_idle(1.0)


def test_a_call_whose_fsroute_was_killed_in_the_reading_ends_by_itself(
    switch: Switch, database: str, carrier: Carrier, short_prompts: Path
) -> None:
    carrier.behaviour = Answer()
    with delivering(switch, database, short_prompts) as process:
        call = carrier.wait_invite(10)
        call.wait("answered")
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        assert call.end is None
        assert call.wait_end(20) == "bye received"
    assert call.seconds("answered", "end") > 2 * FIRST_PART_S - 1
    switch.wait_idle(1.0)


def test_a_call_whose_fsroute_was_killed_rings_no_longer_than_it_should(
    switch: Switch, database: str, carrier: Carrier, short_prompts: Path
) -> None:
    carrier.behaviour = Ring()
    with delivering(switch, database, short_prompts) as process:
        call = carrier.wait_invite(10)
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        assert call.wait_end(10) == "cancelled"
    assert call.seconds("invite", "end") == pytest.approx(Settings(verify_ring_s=5).verify_ring_s + 0.5, abs=1)
    switch.wait_idle(1.0)


# --- the counterpart of the other tests -------------------------------------------------------------------


def broken_off(placed: Placed) -> list[Said]:
    return [*placed.taken(), placed.broken_off(), placed.hung_up()]


def without_prompts(placed: Placed) -> list[Said]:
    left_out = [
        [missing(file.removeprefix("file_string://")) for file in argument.split("!") if file.endswith(".wav")]
        for application, argument in placed.applications
        if application == "playback"
    ]
    return [*placed.taken(), *left_out[0], placed.played(), *left_out[1], placed.played(), placed.hung_up()]


SCENES: dict[str, tuple[Behaviour, dict[str, Any], event_socket.Story]] = {
    "read out": (Answer(), {}, read_out),
    "busy": (Busy(), {}, lambda placed: placed.failed("USER_BUSY")),
    "broken off": (Answer(then_hangup_after_s=1.0), {}, broken_off),
    "no prompts": (Answer(), {"prompts": "/nowhere"}, without_prompts),
}

TOLD = ("Event-Name", "Event-Subclass", "File", "Application", "Application-Response", "Answer-State", "Hangup-Cause")


@pytest.mark.parametrize(("behaviour", "changes", "story"), SCENES.values(), ids=SCENES.keys())
def test_the_counterpart_says_what_freeswitch_says(
    voice: VoiceCall,
    carrier: Carrier,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: Behaviour,
    changes: dict[str, Any],
    story: event_socket.Story,
) -> None:
    heard: list[list[tuple[str, ...]]] = []
    command, event = EventSocketClient.command, EventSocketClient.event

    def note_reply(self: EventSocketClient, told: bytes) -> Frame:
        reply = command(self, told)
        heard[-1].append((reply.reply_text, reply.get("Job-UUID")))
        return reply

    def note_event(self: EventSocketClient, deadline: float) -> Frame:
        said = event(self, deadline)
        values = [said.get(name) for name in TOLD]
        heard[-1].append((said.get("Unique-ID"), said.get("Job-UUID"), said.body.decode(), *values))
        return said

    monkeypatch.setattr(EventSocketClient, "command", note_reply)
    monkeypatch.setattr(EventSocketClient, "event", note_event)
    monkeypatch.setattr(voice_call, "uuid4", lambda: "00000000-0000-0000-0000-00000000c0de")
    carrier.behaviour = behaviour
    results = []
    with EventSocketServer([story]) as server:
        counterpart = replace(voice, address=server.address, password=event_socket.PASSWORD)
        for each in (voice, counterpart):
            heard.append([])
            results.append(replace(each, **changes).deliver(MESSAGE))
    assert settled(heard[0]) == settled(heard[1])
    assert results[0] == results[1]


def settled(heard: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """What was heard, in an order that does not depend on which of FreeSWITCH's threads was faster: the answer to
    `originate` last, and of a call that was not answered no end, which may come after it."""
    answered = any("CHANNEL_ANSWER" in said for said in heard)
    kept = [said for said in heard if answered or "CHANNEL_HANGUP_COMPLETE" not in said]
    return sorted(kept, key=lambda said: "BACKGROUND_JOB" in said)
