"""The Event Socket's frames: bytes to frames, commands to bytes. No I/O.

Facts (mod_event_socket.c and switch_event.c of FreeSWITCH 1.11):

  * A frame is lines up to a blank line, and a body of Content-Length bytes if that header is there.
  * The reply to `connect` is one frame with all headers and variables of the channel. It has no Content-Length, and its
    Content-Type is near the end. Header names are sent raw, values url-encoded; an empty value is `_undef_`.
  * The encoding cannot be undone exactly: a value that already holds %41 is sent as it is (switch_url_encode_opt with
    double_encode off). So lines are split first and values decoded after: text such as `%0Avariable_x: y` in a
    display name must stay one value. A decoded value may hold anything: line ends, NUL, `${...}`.
  * No name occurs twice in that reply (EF_UNIQ_HEADERS), and FreeSWITCH never folds a line.
  * A command is parsed line by line, and a lone CR joins lines (read_packet): neither may be in a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fsroute.errors import ProtocolError

MAX_BLOCK = 256 * 1024
"""Bytes of a frame's headers. A call's snapshot has about 8 kB; SIP over UDP cannot carry more than 64 kB of headers,
and encoding makes at most three bytes of one."""

MAX_BODY = 256 * 1024
"""Bytes of a frame's body. In sync mode only the disconnect notice has one (67 bytes). An event's body holds a
channel's snapshot."""


_LENGTH_DIGITS = len(str(MAX_BODY))


def lines_of(headers: Iterable[str], variables: Iterable[str], spelled: Iterable[str] = ()) -> re.Pattern[bytes]:
    """A pattern for the lines of these headers and channel variables (Frame.only). Its groups are the name, the variable's
    name again if it is one of `spelled`, which match in any letter case, and the value."""
    variable = f"variable_(?:{_one_of(variables)}|((?i:{_one_of(spelled)})))"
    return re.compile(f"\n({_one_of(headers)}|{variable}): ([^\n]*)".encode())


def _one_of(names: Iterable[str]) -> str:
    """A pattern for these names that compares each letter once. A plain alternation takes four times as long."""
    by_letter: dict[str, list[str]] = {}
    for name in names:
        by_letter.setdefault(name[:1], []).append(name[1:])
    parts = [letter and re.escape(letter) + _one_of(rest) for letter, rest in by_letter.items()]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


class Frame:
    """One frame. Values are found in the bytes and decoded when they are read: of some two hundred headers a decision
    needs two dozen."""

    __slots__ = ("_block", "body")

    def __init__(self, block: bytes, body: bytes = b"") -> None:
        self._block = b"\n" + block + b"\n"
        self.body = body

    def get(self, name: str) -> str:
        """The decoded value of a header, or empty text. Bytes that are not UTF-8 become U+FFFD."""
        # From the end, because a snapshot, the only long frame, has its Content-Type there.
        start = self._block.rfind(b"\n" + name.encode() + b": ")
        if start < 0:
            return ""
        start += len(name) + 3
        return _decoded(self._block[start : self._block.index(b"\n", start)])

    def only(self, lines: re.Pattern[bytes]) -> Facts:
        """The values of the lines that a pattern of `lines_of` finds. They are a tenth of the bytes."""
        found = lines.findall(self._block)
        return Facts(
            {name.decode(): value for name, _, value in found},
            [(spelled.decode().lower(), value) for _, spelled, value in found if spelled],
        )

    def variable(self, name: str) -> str:
        """The value of a channel variable."""
        return self.get(f"variable_{name}")

    def headers(self) -> dict[str, str]:
        """All headers, decoded. Costs four times as much as a decision needs: `get` and `only` read single ones."""
        pairs = (line.partition(b": ") for line in self._block.split(b"\n"))
        return {name.decode("utf-8", "replace"): _decoded(value) for name, colon, value in pairs if colon}

    @property
    def reply_text(self) -> str:
        """The text of a reply to a command: `+OK ...` or `-ERR ...`."""
        return self.get("Reply-Text")

    @property
    def event(self) -> Frame:
        """The event that is the body of a frame of type text/event-plain: headers, and perhaps a body of its own."""
        block, _, body = self.body.partition(b"\n\n")
        return Frame(block, body)

    @property
    def size(self) -> int:
        """Bytes of the headers and the body."""
        return len(self._block) + len(self.body)

    @property
    def content_length(self) -> int:
        """The length of the body. Raises ProtocolError for two of them, and for one that is no number up to MAX_BODY."""
        if b"\nContent-Length:" not in self._block:
            return 0
        text = self.get("Content-Length")
        # Digits are counted first: Python refuses to read thousands of them.
        if not (text.isascii() and text.isdigit() and len(text) <= _LENGTH_DIGITS and int(text) <= MAX_BODY):
            raise ProtocolError(f"Content-Length {text[:20]!r}: not a number up to {MAX_BODY}")
        if self._block.count(b"\nContent-Length:") > 1:
            raise ProtocolError("frame with two Content-Length")
        return int(text)

    @property
    def is_snapshot(self) -> bool:
        """Whether this is the reply to `connect`, which begins like an event and has no body."""
        return self._block.startswith(b"\nEvent-Name: CHANNEL_DATA\n")

    @property
    def is_disconnect_notice(self) -> bool:
        """Whether FreeSWITCH reports the end of the call and closes the connection."""
        return self.get("Content-Type") == "text/disconnect-notice"


class Facts:
    """Some lines of a snapshot, with the methods of a frame."""

    __slots__ = ("_spelled", "_values")

    def __init__(self, values: Mapping[str, bytes], spelled: Sequence[tuple[str, bytes]]) -> None:
        self._values = values
        self._spelled = spelled

    def get(self, name: str) -> str:
        """As Frame.get."""
        value = self._values.get(name)
        return _decoded(value) if value else ""

    def variable(self, name: str) -> str:
        """As Frame.variable."""
        value = self._values.get("variable_" + name)
        return _decoded(value) if value else ""

    def has_none_of(self, names: frozenset[str]) -> bool:
        """Whether the snapshot has none of these lines. A channel variable's name is `variable_...`."""
        return names.isdisjoint(self._values)

    def variables(self, name: str) -> list[str]:
        """The values of every channel variable with this name in any letter case (`spelled` in lines_of). FreeSWITCH keeps
        the case in which the sender wrote the SIP header."""
        if not self._spelled:
            return []
        wanted = name.lower()
        return [_decoded(value) for found, value in self._spelled if found == wanted]


def _decoded(value: bytes) -> str:
    if b"%" in value:
        value = value.replace(b"%2B", b"+")  # in most calls nothing else is encoded
        if b"%" in value:
            value = unquote_to_bytes(value)
    elif value == b"_undef_":
        return ""
    return value.decode("utf-8", "replace")


_BLANK_LINE = re.compile(b"\n\n")
"""Takes half the time of bytearray.find."""

_DONE_LINES = b"Content-Type: command/reply\nReply-Text: +OK"

DONE = Frame(_DONE_LINES)
"""The reply to a command that succeeded. Most frames are this one."""


class FrameReader:
    """Takes bytes as they arrive and returns frames. Raises ProtocolError for a malformed or oversized frame."""

    __slots__ = ("_buffer", "_frame", "_needed", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._frame: Frame | None = None  # its headers are complete, its body is not
        self._needed = 0

    def feed(self, data: bytes) -> None:
        """Adds bytes from the socket."""
        self._buffer += data

    @property
    def is_empty(self) -> bool:
        """Whether no part of a frame is waiting."""
        return not self._buffer and self._frame is None

    @property
    def size(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer) + (self._frame.size if self._frame else 0)

    def next(self) -> Frame | None:
        """The next complete frame, or None until more bytes have arrived."""
        buffer = self._buffer
        if self._frame is not None:
            return self._with_body(self._frame)
        blank = _BLANK_LINE.search(buffer, self._scanned)
        if blank is None:
            if len(buffer) > MAX_BLOCK:
                raise ProtocolError(f"header of more than {MAX_BLOCK} bytes")
            self._scanned = max(0, len(buffer) - 1)
            return None
        end = blank.start()
        if end > MAX_BLOCK:
            raise ProtocolError(f"header of more than {MAX_BLOCK} bytes")
        if end == len(_DONE_LINES) and buffer.startswith(_DONE_LINES):
            del buffer[: end + 2]
            self._scanned = 0
            return DONE
        self._scanned = end
        frame = Frame(bytes(buffer[:end]))
        if not frame.get("Content-Type"):
            raise ProtocolError("frame without Content-Type")
        length = 0 if frame.is_snapshot else frame.content_length
        del buffer[: end + 2]
        self._scanned = 0
        if not length:
            return frame
        self._frame, self._needed = frame, length
        return self._with_body(frame)

    def _with_body(self, frame: Frame) -> Frame | None:
        buffer, length = self._buffer, self._needed
        if len(buffer) < length:
            return None
        frame.body = bytes(buffer[:length])
        del buffer[:length]
        self._frame = None
        return frame


# --- commands ---------------------------------------------------------------------------------------------


CONNECT = b"connect\n\n"
"""Requests a snapshot of the channel. It must be the first command: FreeSWITCH does not reply to another one."""


class Execute(NamedTuple):
    """Run a dialplan application to its end."""

    application: str
    argument: str = ""


class End(NamedTuple):
    """Hang up."""

    cause: str


Command = Execute | End
"""A command for a call, by the Event Socket or by mod_python3."""


_SHORT = 40
"""FreeSWITCH reads a header byte by byte, with two system calls for each, and a body at once (mod_event_socket.c,
read_packet). From this length on a body is faster, although it needs two more headers (switch_ivr.c,
switch_ivr_parse_event)."""


def encode(commands: Iterable[Command]) -> bytes:
    """The bytes of these commands. Raises ProtocolError for text that would be more than one command.

    In sync mode FreeSWITCH replies to each command when it has ended.
    """
    return b"".join(map(_encoded, commands))


@lru_cache(maxsize=512)
def _encoded(given: Command) -> bytes:
    check(given)
    if isinstance(given, End):
        text = f"sendmsg\ncall-command: hangup\nhangup-cause: {given.cause}\n\n"
    else:
        text = f"sendmsg\ncall-command: execute\nexecute-app-name: {given.application}\n{_argument(given.argument)}"
    return text.encode()


def _argument(text: str) -> str:
    """An application's argument and the end of its command. A short argument is a header, a long one a body."""
    if len(text) > _SHORT:
        return f"content-type: text/plain\ncontent-length: {len(text.encode())}\n\n{text}"
    return f"execute-app-arg: {text}\n\n" if text else "\n"


def check(parts: Iterable[str]) -> None:
    """Raises ProtocolError unless each of these texts, such as a command's, is one line."""
    for text in parts:
        if "\n" in text or "\r" in text or "\0" in text:
            raise ProtocolError(f"a command cannot hold a line end or NUL: {text[:60]!r}")


def command(text: str) -> bytes:
    """A command in one line. Raises ProtocolError if it is more than that."""
    check((text,))
    return f"{text}\n\n".encode()


def background(text: str, job: str) -> bytes:
    """An API command of one line. Its output arrives as the event BACKGROUND_JOB with this Job-UUID."""
    check((text, job))
    return f"bgapi {text}\nJob-UUID: {job}\n\n".encode()


def set_variables(variables: Mapping[str, str]) -> Execute:
    """Sets channel variables. Values must not hold `|`, which separates them, nor be chosen by a caller: the
    application expands them twice."""
    for name, value in variables.items():
        if "|" in value or "$" in value or "\\" in value:
            raise ProtocolError(f"channel variable {name}: {value!r} cannot be set safely")
    return Execute("multiset", "^^|" + "|".join(f"{name}={value}" for name, value in variables.items()))
