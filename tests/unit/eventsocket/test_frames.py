"""The Event Socket's bytes: what is read from them and what is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.errors import ProtocolError
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import MAX_BLOCK, MAX_BODY, End, Execute, Frame, FrameReader
from fsroute.simulator.simulated_channel import encode

REPLY = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
FAREWELL = b"Content-Type: text/disconnect-notice\nContent-Length: 10\n\nDisc.\n\nBye"


def read(data: bytes, step: int = 0) -> list[Frame]:
    """The frames in `data`, fed whole or `step` bytes at a time."""
    reader, found = FrameReader(), []
    for i in range(0, len(data), step or len(data)):
        reader.feed(data[i : i + (step or len(data))])
        while frame := reader.next():
            found.append(frame)
    assert reader.is_empty
    return found


@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_frames_are_found_however_the_bytes_come(step: int) -> None:
    reply, farewell, last = read(REPLY + FAREWELL + REPLY, step)
    assert (reply.get("Content-Type"), reply.get("Reply-Text")) == ("command/reply", "+OK")
    assert (farewell.is_disconnect_notice, farewell.body) == (True, b"Disc.\n\nBye")
    assert last.get("Content-Type") == "command/reply"


def test_a_frame_is_not_given_before_it_is_whole() -> None:
    reader = FrameReader()
    reader.feed(FAREWELL[:-1])
    assert reader.next() is None
    reader.feed(FAREWELL[-1:])
    assert reader.next() is not None


VALUES = {
    "plain": (b"1001", "1001"),
    "encoded": (b"caf%C3%A9%20%2B", "café +"),
    "a plus stays one": (b"a+b", "a+b"),
    "empty": (b"_undef_", ""),
    "no UTF-8": (b"a%FFb", "a\ufffdb"),
    "raw bytes that are no UTF-8": (b"a\xffb", "a\ufffdb"),
    "what looked encoded before": (b"%24%7Bsystem(id)%7D", "${system(id)}"),
    "a percent sign that is none": (b"100%25 %zz", "100% %zz"),
    "a value with a colon": (b"sip%3A1@h: x", "sip:1@h: x"),
}


@pytest.mark.parametrize(("wire", "value"), VALUES.values(), ids=VALUES.keys())
def test_values_are_decoded_one_by_one(wire: bytes, value: str) -> None:
    assert Frame(b"A: 1\nName: " + wire + b"\nB: 2").get("Name") == value


def test_a_value_cannot_become_another_header() -> None:
    frame = Frame(b"Caller-Caller-ID-Name: Eve%0Avariable_fsroute_account: acme\nX: 1")
    assert frame.get("Caller-Caller-ID-Name") == "Eve\nvariable_fsroute_account: acme"
    assert frame.variable("fsroute_account") == ""


def test_names_are_whole_and_exact() -> None:
    frame = Frame(b"variable_x_fsroute_account: no\nVariable_fsroute_account: no\nvariable_fsroute_account_2: no")
    assert frame.variable("fsroute_account") == ""


def test_an_event_is_a_block_of_headers_in_a_body() -> None:
    job = b"Event-Name: BACKGROUND_JOB\nJob-UUID: 1%0A\nContent-Length: 14\n\n+OK a\n\nEnd: b\n"
    wire = b"Content-Length: " + str(len(job)).encode() + b"\nContent-Type: text/event-plain\n\n" + job
    (frame,) = read(wire)
    assert [frame.get(name) for name in ("Content-Type", "Event-Name", "End")] == ["text/event-plain", "", ""]
    assert [frame.event.get(name) for name in ("Event-Name", "Job-UUID", "End")] == ["BACKGROUND_JOB", "1\n", ""]
    assert frame.event.body == b"+OK a\n\nEnd: b\n"


def test_an_event_without_a_body_ends_with_a_blank_line() -> None:
    event = Frame(b"Content-Type: text/event-plain", b"Event-Name: CHANNEL_ANSWER\nUnique-ID: 1\n\n").event
    assert (event.get("Unique-ID"), event.body) == ("1", b"")


BROKEN = {
    "no header at all": b"\n\n",
    "no Content-Type": b"Reply-Text: +OK\n\n",
    "length is no number": b"Content-Type: text/plain\nContent-Length: x\n\n",
    "length is negative": b"Content-Type: text/plain\nContent-Length: -1\n\n",
    "length in other digits": "Content-Type: text/plain\nContent-Length: ٣\n\n".encode(),
    "length is empty": b"Content-Type: text/plain\nContent-Length: \n\n",
    "length with a sign": b"Content-Type: text/plain\nContent-Length: +1\n\n",
    "length with blanks": b"Content-Type: text/plain\nContent-Length:  1 \n\n",
    "length with encoded blanks": b"Content-Type: text/plain\nContent-Length: %201\n\n",
    "length without a blank": b"Content-Type: text/plain\nContent-Length:1\n\n",
    "length that Python does not read": b"Content-Type: text/plain\nContent-Length: " + b"1" * 5000 + b"\n\n",
    "length of many zeros": b"Content-Type: text/plain\nContent-Length: " + b"0" * 5000 + b"\n\n",
    "two lengths": b"Content-Type: text/plain\nContent-Length: 1\nContent-Length: 1\n\n",
    "body too large": b"Content-Type: text/plain\nContent-Length: " + str(MAX_BODY + 1).encode() + b"\n\n",
    "header too large": b"X: " + b"a" * MAX_BLOCK + b"\n\n",
    "header without end": b"a" * (MAX_BLOCK + 1),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    with pytest.raises(ProtocolError):
        reader.next()


@pytest.mark.parametrize("length", [MAX_BODY, 10])
def test_headers_are_read_once_however_slowly_the_body_comes(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    made: list[bytes] = []

    class Counted(Frame):
        def __init__(self, block: bytes, body: bytes = b"") -> None:
            made.append(block)
            super().__init__(block, body)

    monkeypatch.setattr(frames, "Frame", Counted)
    reader = FrameReader()
    reader.feed(b"X: " + b"x" * 1000 + f"\nContent-Type: text/plain\nContent-Length: {length}\n\n".encode())
    for _ in range(9):
        assert reader.next() is None
        assert not reader.is_empty
        reader.feed(b"b")
    assert reader.size > 1000
    reader.feed(b"b" * (length - 9) + NEXT)
    frame = reader.next()
    assert frame is not None
    assert (frame.body, len(made)) == (b"b" * length, 1)
    assert reader.next() is frames.DONE
    assert (reader.is_empty, reader.size) == (True, 0)


NEXT = b"Content-Type: command/reply\nReply-Text: +OK\n\n"


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_give_frames_or_a_protocol_error(data: bytes, step: int) -> None:
    reader = FrameReader()
    try:
        for i in range(0, len(data), step):
            reader.feed(data[i : i + step])
            while frame := reader.next():
                frame.get("Content-Type")
    except ProtocolError:
        pass


@given(st.text().filter(lambda text: "%" not in text))
def test_a_value_without_percent_comes_through_the_wire_unchanged(value: str) -> None:
    wire = encode(value.encode("utf-8", "replace").decode())
    expected = value.encode("utf-8", "replace").decode()
    assert Frame(f"Name: {wire}".encode()).get("Name") == ("" if expected == "_undef_" else expected)
    assert "\n" not in wire
    assert "\r" not in wire


def test_the_encoding_of_freeswitch_is_not_injective() -> None:
    assert [encode(value) for value in ("%24%7Bsystem(id)%7D", "café", "50% off", "+OK\n", "%7b", "")] == [
        "%24%7Bsystem(id)%7D",
        "caf%C3%A9",
        "50%25%20off",
        "%2BOK%0A",
        "%257b",
        "_undef_",
    ]


def test_commands() -> None:
    assert frames.encode([Execute("bridge", "user/1")]) == (
        b"sendmsg\ncall-command: execute\nexecute-app-name: bridge\nexecute-app-arg: user/1\n\n"
    )
    assert frames.encode([Execute("answer")]) == b"sendmsg\ncall-command: execute\nexecute-app-name: answer\n\n"
    assert frames.encode([End("USER_BUSY")]) == b"sendmsg\ncall-command: hangup\nhangup-cause: USER_BUSY\n\n"
    assert frames.encode([frames.set_variables({"a": "1", "b": "x y"})]) == (
        b"sendmsg\ncall-command: execute\nexecute-app-name: multiset\nexecute-app-arg: ^^|a=1|b=x y\n\n"
    )
    long = "ä" * 41
    assert (
        frames.encode([Execute("playback", long), Execute("answer")])
        == (
            "sendmsg\ncall-command: execute\nexecute-app-name: playback\ncontent-type: text/plain\ncontent-length: 82\n\n"
            f"{long}sendmsg\ncall-command: execute\nexecute-app-name: answer\n\n"
        ).encode()
    )
    assert (
        frames.encode([Execute("playback", "ä.wav"), End("USER_BUSY")])
        == (
            "sendmsg\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: ä.wav\n\n"
            "sendmsg\ncall-command: hangup\nhangup-cause: USER_BUSY\n\n"
        ).encode()
    )


def test_a_command_in_the_background_has_its_job_in_a_second_line() -> None:
    assert frames.background("originate user/1 &park", "c0ffee") == b"bgapi originate user/1 &park\nJob-UUID: c0ffee\n\n"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "\n"])
def test_a_command_is_one_command(text: str) -> None:
    for told in (End(text), Execute(text), Execute("x", text)):
        with pytest.raises(ProtocolError):
            frames.encode([Execute("answer"), told])
    with pytest.raises(ProtocolError):
        frames.command(text)
    for command, job in ((text, "1"), ("originate", text)):
        with pytest.raises(ProtocolError):
            frames.background(command, job)


@pytest.mark.parametrize("value", ["a|b=c", "${x}", "\\"])
def test_variables_take_no_value_that_would_be_read_otherwise(value: str) -> None:
    with pytest.raises(ProtocolError, match="fsroute_rule"):
        frames.set_variables({"fsroute_rule": value})


FACTS = frames.lines_of(["Unique-ID", "Caller-Caller-ID-Name"], ["fsroute_user", "fsroute_user_2"], ["sip_h_Hops"])
_names = st.sampled_from(
    ["Unique-ID", "unique-id", "Unique-ID-2", "Caller-Caller-ID-Name", "fsroute_user", "Other"]
    + [f"variable_{name}" for name in ("fsroute_user", "fsroute_user_2", "sip_h_Hops", "sip_h_hops", "SIP_H_HOPS")]
)
_wire = st.text("aä %\n:+_&2B").map(encode) | st.sampled_from(["%2B49", "%252B", "%zz"])


@given(st.lists(st.tuples(_names, _wire), max_size=8, unique_by=lambda line: line[0]))
def test_the_facts_of_a_frame_are_what_the_frame_says(lines: list[tuple[str, str]]) -> None:
    frame = Frame("\n".join(f"{name}: {value}" for name, value in lines).encode())
    facts = frame.only(FACTS)
    for name in ("Unique-ID", "Caller-Caller-ID-Name", "variable_fsroute_user", "variable_fsroute_user_2"):
        assert facts.get(name) == frame.get(name)
    assert facts.variable("fsroute_user") == frame.variable("fsroute_user")
    assert facts.variables("sip_h_Hops") == [frame.get(name) for name, _ in lines if name.lower() == "variable_sip_h_hops"]
    assert facts.get("Other") == ""
