"""FrameReader: bytes in any cuts give the same frames, those of a second reader, and no error but ProtocolError."""

from __future__ import annotations

from fsroute.errors import ProtocolError
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import FrameReader
from scripts.fuzz.given import Given, in_linear_time

PIECES = (
    *(b"\n\n", b"\n", b": ", b"%0A", b"%", b"_undef_", b"\r", b"\0", b"0", b"9", b"5\n\n12345"),
    *(b"Content-Type: command/reply\n", b"Content-Type: text/event-plain\n", b"Content-Length: ", b"content-length: 3\n"),
    *(b"Reply-Text: +OK", b"Event-Name: CHANNEL_DATA\n"),
    *(b"Unique-ID: a%2Bb%41\n", b"Content-Type: command/reply\nReply-Text: +OK\n\n"),
    *(b"Content-Length: 5\n\nabcde", b"Content-Length: 262144\n\n", b"Content-Length: 512\n", b"x"),
)  # fmt: skip
SMALL = 512
"""Bounds of a frame instead of 256 kB, so that short inputs reach them."""

Read = tuple[list[tuple[dict[str, str], bytes]], bool, bool]
"""The frames as headers and body, whether an error came after them, and whether a part of a frame is left."""


def check(data: bytes) -> None:
    given = Given(data)
    cuts = [given.number(1, 80) for _ in range(given.number(1, 6))]
    small = given.flag()
    stream = given.raw(PIECES) + given.raw(PIECES) + given.rest()
    bounds = frames.MAX_BLOCK, frames.MAX_BODY
    if small:
        frames.MAX_BLOCK = frames.MAX_BODY = SMALL
    try:
        with in_linear_time():
            whole = _read([stream])
        assert _read(_cut(stream, cuts)) == whole, "the cuts change what is read"
        _compare(whole, stream)
    finally:
        frames.MAX_BLOCK, frames.MAX_BODY = bounds


def _cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Pieces of these lengths in turn; longer ones where the stream is long, which would take long."""
    factor = 1 + len(stream) // 2048
    found, at, count = [], 0, 0
    while at < len(stream):
        length = cuts[count % len(cuts)] * factor
        found.append(stream[at : at + length])
        at, count = at + length, count + 1
    return found


def _read(pieces: list[bytes]) -> Read:
    reader = FrameReader()
    found: list[tuple[dict[str, str], bytes]] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (frame := reader.next()) is not None:
                found.append((frame.headers(), frame.body))
                for name in ("Content-Type", "Unique-ID", "variable_x"):
                    value = frame.get(name)
                    assert value == found[-1][0].get(name, ""), f"{name}: {value!r}"
    except ProtocolError as error:
        assert "\n" not in str(error)
        return found, True, False
    return found, False, not reader.is_empty


def _compare(read: Read, stream: bytes) -> None:
    """With a reader of a few lines. It does not say what a frame with two Content-Length is."""
    found, failed, left = read
    for headers, body in found:
        head, blank, stream = stream.partition(b"\n\n")
        assert blank
        assert len(head) <= frames.MAX_BLOCK
        names = [line.partition(b": ")[0] for line in head.split(b"\n") if b": " in line]
        assert list(headers) == list(dict.fromkeys(name.decode("utf-8", "replace") for name in names))
        assert headers["Content-Type"] != ""
        lengths = [line[16:] for line in head.split(b"\n") if line.startswith(b"Content-Length: ")]
        if len(lengths) > 1:
            return
        is_snapshot = (head + b"\n").startswith(b"Event-Name: CHANNEL_DATA\n")
        length = 0 if is_snapshot or not lengths else len(body)
        if length:
            assert headers["Content-Length"].isdigit()
            assert int(headers["Content-Length"]) == length <= frames.MAX_BODY
        assert body == stream[:length]
        stream = stream[length:]
    assert failed or left == bool(stream)
    if failed:
        return
    assert b"\n\n" not in stream or b"Content-Length: " in stream, "a whole frame was not read"
