"""The Event Socket's frames: bytes to frames, commands to bytes. No I/O.

Facts (mod_event_socket.c and switch_event.c of FreeSWITCH 1.11):

  * A frame is lines up to a blank line, and a body of Content-Length bytes if that header is there.
  * The reply to `connect` is one frame with everything that is known of the channel. It has no Content-Length, and its
    Content-Type comes near the end. Header names are sent raw, values url-encoded; an empty value is `_undef_`.
  * The encoding can not be undone exactly: a value that already holds %41 is sent as it is (switch_url_encode_opt with
    double_encode off). So lines are split first and values decoded after: text such as `%0Avariable_x: y` in a
    display name must stay one value. And a decoded value may hold anything: line ends, NUL, `${...}`.
  * No name occurs twice in it (EF_UNIQ_HEADERS), and FreeSWITCH never folds a line.
  * A command is parsed line by line, and a lone CR joins lines (read_packet): neither may be in a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from fsroute.errors import ProtocolError

MAX_BLOCK = 256 * 1024
"""Bytes of a frame's headers. A call's snapshot has about 8 kB; SIP over UDP can not bring more than 64 kB of headers,
and encoding makes at most three bytes of one."""

MAX_BODY = 64 * 1024
"""Bytes of a frame's body. In this conversation only the farewell has one (67 bytes)."""


class Frame:
    """One frame. Values are looked up in the bytes and decoded when they are asked for: of some two hundred headers
    a decision needs a dozen."""

    __slots__ = ("_block", "body")

    def __init__(self, block: bytes, body: bytes = b"") -> None:
        self._block = b"\n" + block + b"\n"
        self.body = body

    def get(self, name: str) -> str:
        """The value of a header, decoded; empty if it is not there. Bytes that are no UTF-8 become U+FFFD."""
        start = self._block.find(b"\n" + name.encode() + b": ")
        if start < 0:
            return ""
        start += len(name) + 3
        value = self._block[start : self._block.index(b"\n", start)]
        if value == b"_undef_":
            return ""
        return (unquote_to_bytes(value) if b"%" in value else value).decode("utf-8", "replace")

    def variables(self, name: str) -> list[str]:
        """The values of every channel variable with this name in any letter case. FreeSWITCH keeps the case in which a
        sender wrote the header that a variable stands for."""
        wanted = f"\nvariable_{name}: ".lower().encode()
        lowered, found, start = self._block.lower(), [], -1
        while (start := lowered.find(wanted, start + 1)) >= 0:
            found.append(self.get(self._block[start + 1 : start + len(wanted) - 2].decode()))
        return found

    def variable(self, name: str) -> str:
        """The value of a channel variable."""
        return self.get(f"variable_{name}")

    @property
    def data(self) -> str:
        """The text of a reply, under the name that greenswitch's verbs use."""
        return self.get("Reply-Text")

    @property
    def is_farewell(self) -> bool:
        """Whether FreeSWITCH says that the call has ended and closes the connection."""
        return self.get("Content-Type") == "text/disconnect-notice"

    @property
    def is_reply(self) -> bool:
        return self.get("Content-Type") == "command/reply"


class FrameReader:
    """Takes bytes as they come and gives frames. Raises ProtocolError for what is none or is too large."""

    __slots__ = ("_buffer", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def is_empty(self) -> bool:
        """Whether no frame has begun."""
        return not self._buffer

    def next(self) -> Frame | None:
        """The next whole frame, or None until more bytes have come."""
        buffer = self._buffer
        end = buffer.find(b"\n\n", self._scanned)
        if end < 0:
            if len(buffer) > MAX_BLOCK:
                raise ProtocolError(f"header of more than {MAX_BLOCK} bytes")
            self._scanned = max(0, len(buffer) - 1)
            return None
        if end > MAX_BLOCK:
            raise ProtocolError(f"header of more than {MAX_BLOCK} bytes")
        block = bytes(buffer[:end])
        self._scanned = end
        body_start = end + 2
        length = _content_length(block)
        if len(buffer) < body_start + length:
            return None
        frame = Frame(block, bytes(buffer[body_start : body_start + length]))
        if not frame.get("Content-Type"):
            raise ProtocolError("frame without Content-Type")
        del buffer[: body_start + length]
        self._scanned = 0
        return frame


def _content_length(block: bytes) -> int:
    text = Frame(block).get("Content-Length")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_BODY):
        raise ProtocolError(f"Content-Length {text[:20]!r}: not a number up to {MAX_BODY}")
    return int(text)


# --- commands ---------------------------------------------------------------------------------------------


CONNECT = b"connect\n\n"
"""Asks for a snapshot of the channel. The first command must be this one: the reply to any other is not sent."""


def command(text: str) -> bytes:
    """A command in one line. Raises ProtocolError if it is more than that."""
    return _command([text])


def execute(application: str, argument: str = "") -> bytes:
    """Runs a dialplan application. In sync mode the reply comes when it has ended."""
    lines = ["sendmsg", "call-command: execute", f"execute-app-name: {application}"]
    if argument:
        lines.append(f"execute-app-arg: {argument}")
    return _command(lines)


def hangup(cause: str) -> bytes:
    return _command(["sendmsg", "call-command: hangup", f"hangup-cause: {cause}"])


def set_variables(variables: Mapping[str, str]) -> bytes:
    """Sets channel variables. Values must not hold `|`, which separates them, nor be chosen by a caller: the
    application expands them twice."""
    for name, value in variables.items():
        if "|" in value or "$" in value or "\\" in value:
            raise ProtocolError(f"channel variable {name}: {value!r} can not be set safely")
    return execute("multiset", "^^|" + "|".join(f"{name}={value}" for name, value in variables.items()))


def _command(lines: list[str]) -> bytes:
    for line in lines:
        if "\n" in line or "\r" in line or "\0" in line:
            raise ProtocolError(f"a command can not hold a line end or NUL: {line[:60]!r}")
    return ("\n".join(lines) + "\n\n").encode()
