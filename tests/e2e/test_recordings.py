"""Records conversations of a real FreeSWITCH (`make record`), or checks that today's still have the recorded shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Process
from tests.support.recording import Recording, Tap, commands, frame_shapes
from tests.support.sip import Answer, Busy, Carrier, MakePhone, Ring
from tests.support.switch import Switch


def answered(carrier: Carrier, phone: MakePhone) -> None:
    phone("1001", Answer())
    placed = carrier.call("+492214710602", display_name="Jörg 50% %41")
    placed.wait_answer()
    placed.bye()


def answered_and_hung_up_by_the_phone(carrier: Carrier, phone: MakePhone) -> None:
    phone("1001", Answer(then_hangup_after_s=0.3))
    carrier.call("+492214710602").wait_end()


def busy_to_the_end(carrier: Carrier, phone: MakePhone) -> None:
    phone("1001", Busy())
    phone("1003", Busy())
    carrier.numbers["+491713920051"] = Busy()
    carrier.numbers["+491713920059"] = Busy()
    assert carrier.call("+492214710608").wait_final(10) == 486


def no_answer_then_answered(carrier: Carrier, phone: MakePhone) -> None:
    phone("1001", Ring())
    carrier.numbers["+491713920052"] = Answer(then_hangup_after_s=0.3)
    carrier.call("+492214710608").wait_end(15)


def caller_hangs_up(carrier: Carrier, phone: MakePhone) -> None:
    ringing = phone("1001", Ring())
    placed = carrier.call("+492214710602")
    ringing.wait_invite()
    placed.cancel()


def unknown_number(carrier: Carrier, phone: MakePhone) -> None:
    assert carrier.call("+492219999999").wait_final() == 404


def announcement(carrier: Carrier, phone: MakePhone) -> None:
    carrier.call("+492214710609").wait_end()


CASES = (
    answered,
    answered_and_hung_up_by_the_phone,
    busy_to_the_end,
    no_answer_then_answered,
    caller_hangs_up,
    unknown_number,
    announcement,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_conversation(
    request: pytest.FixtureRequest,
    process: Process,
    switch: Switch,
    database: str,
    carrier: Carrier,
    phone: MakePhone,
    tmp_path: Path,
    case: Callable[[Carrier, MakePhone], None],
) -> None:
    process.stop()  # so that FreeSWITCH takes the second socket, where the tap is
    second = Process(0, database, tmp_path / "log")
    second.start()
    try:
        with Tap(switch.socket_port_2, second.port) as tap:
            case(carrier, phone)
            recording = tap.conversation(switch.version)
    finally:
        second.stop()
    if request.config.getoption("--record"):
        recording.write(case.__name__)
    kept = Recording.read(case.__name__)
    assert frame_shapes(recording) == frame_shapes(kept)
    assert commands(recording) == commands(kept)
