"""The simulated channel behaves like the FreeSWITCH whose conversations were recorded (tests/recordings, `make record`)."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from fsroute.eventsocket.frames import Frame, FrameReader
from fsroute.model import FailedPlan, Outcome, RuleKey
from fsroute.simulator.dialstring_reader import Parsed
from fsroute.simulator.simulated_channel import Result, SimulatedChannel, encode
from fsroute.switch import channel_state
from tests.support.recording import FREESWITCH, RECORDINGS, Recording, commands, frame_shapes
from tests.support.recording import Turn as RecordedTurn

NAMES = sorted(path.stem for path in RECORDINGS.glob("*.json"))

OUTCOME_VARIABLES = ("originate_disposition", "originate_causes", "DIALSTATUS")


def recorded_frames(recording: Recording) -> list[Frame]:
    reader, frames = FrameReader(), []
    reader.feed(recording.said(FREESWITCH).encode())
    while frame := reader.next():
        frames.append(frame)
    return frames


def test_there_are_recordings() -> None:
    assert len(NAMES) >= 7


@pytest.mark.parametrize("name", NAMES)
def test_the_far_end_answers_as_the_recorded_freeswitch(name: str) -> None:
    recording = Recording.read(name)
    snapshots = [frame for frame in recorded_frames(recording) if frame.get("Event-Name") == "CHANNEL_DATA"]

    def bridge(_: Parsed) -> Result:
        asked = sum(command.name == "connect" for command in channel.commands)
        if asked == len(snapshots):  # the call ended before the next snapshot was asked for
            return Result({}, hung_up=True)
        return Result({variable: snapshots[asked].variable(variable) for variable in OUTCOME_VARIABLES})

    first = snapshots[0]
    names = ("Unique-ID", "Caller-Caller-ID-Name", "Caller-Caller-ID-Number", "Caller-Destination-Number")
    channel = SimulatedChannel(
        {header: first.get(header) for header in names},
        {"fsroute_direction": first.variable("fsroute_direction")},
        bridge,
    )
    replies = b"".join(channel.reply_to(command) for command in commands(recording))
    played = Recording(recording.version, (RecordedTurn(FREESWITCH, replies.decode()),))
    assert frame_shapes(played) == frame_shapes(recording)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_encoded_as_the_recorded_freeswitch_did(name: str) -> None:
    for block in Recording.read(name).said(FREESWITCH).split("\n\n"):
        if block.startswith("Event-Name: "):
            for line in block.split("\n"):
                _, _, value = line.partition(": ")
                decoded = "" if value == "_undef_" else unquote(value, errors="surrogateescape")
                assert encode(decoded) == value or "%41" in value, line


def test_a_display_name_in_a_recording_is_read_as_it_was_sent() -> None:
    call = channel_state.call_of(recorded_frames(Recording.read("answered"))[0].only(channel_state.FACTS))
    assert (call.destination, call.caller) == ("+492214710602", "+493023125001")
    assert call.caller_name.startswith("Jörg 50%")


def test_progress_of_recorded_calls() -> None:
    first, *frames = [f for f in recorded_frames(Recording.read("busy_to_the_end")) if f.get("Event-Name")]
    assert channel_state.progress_of(first.only(channel_state.FACTS)) is None
    after_bridges = [frame for frame in frames if frame.variable("fsroute_contacts") == "read"]
    assert [channel_state.progress_of(frame.only(channel_state.FACTS)) for frame in after_bridges] == [
        FailedPlan(RuleKey("+492214710608", position), Outcome.BUSY, "USER_BUSY", legs=legs)
        for position, legs in (
            (1, ("1001 USER_BUSY", "1003 USER_BUSY")),
            (2, ("+491713920051 USER_BUSY",)),
            (9, ("+491713920059 USER_BUSY",)),
        )
    ]
