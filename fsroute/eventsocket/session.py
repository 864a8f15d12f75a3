"""One connection from FreeSWITCH in sync mode, on a socket that does not block.

In sync mode FreeSWITCH sends one reply to each command, and nothing unasked but the disconnect notice. So a session needs no
greenlet that reads: the code that waits for a reply reads it. While a call rings or talks, nothing waits: gevent's loop
watches the socket, which costs no greenlet, and nothing wakes up. The loop reads what comes, one piece in each of its
rounds, and the call goes on when a frame is complete. So a far end that sends slowly costs no greenlet, and one that floods
delays others by one piece.

greenswitch's own session is not used for this: it decodes before it splits lines, so a display name can write variables; it
sends line ends through and without a deadline; and its waits do not end with a broken connection. `greenswitch_session.py`
has greenswitch's verbs for a session of this module.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gevent
import gevent.socket
from greenswitch.esl import NotConnectedError, OutboundSessionHasGoneAway

from fsroute.errors import Disconnected, FsrouteError, ProtocolError, ReplyTimeout
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Command, End, Frame, FrameReader
from fsroute.eventsocket.wait import Wait

_CHUNK = 16 * 1024
"""Bytes that are read at once. A snapshot has about 8 kB."""

MAX_UNFINISHED = 8 * 1024 * 1024
"""Bytes of incomplete frames that all connections of a server may hold. A frame is complete after some milliseconds."""

_SMALL = 8 * 1024
"""Bytes that a connection may hold in any case."""

READABLE = 1
"""libev's EV_READ."""

WORTH_WAKING = 256
"""Bytes from which on the kernel wakes fsroute (SO_RCVLOWAT). A call waits for a snapshot, of some thousand bytes, or for
the end of the connection, which always wakes. The replies to the commands before it have 45 bytes each and need no reaction.
Without this limit each call would wake fsroute four times more, once just after it began to ring. Accepted sockets inherit
the option from the listening socket."""


class SessionGone(Disconnected, OutboundSessionHasGoneAway, NotConnectedError):  # type: ignore[misc]  # no types
    """FreeSWITCH has closed the connection. Code written for greenswitch catches it too."""


@dataclass(slots=True)
class Unfinished:
    """The bytes of incomplete frames that the connections of a server hold."""

    held: int = 0


class Session:
    """fsroute's side of one connection.

    `timeout_s` bounds every wait but Wait.CALL. It counts from the last write. A frame must be complete as long after its
    first bytes.
    """

    __slots__ = (
        "_deadline", "_error", "_frame", "_frame_deadline", "_frames", "_held", "_late", "_readable", "_replies",
        "_unfinished", "_wakes_at", "_why_shed", "connected", "is_call", "peer", "sock", "timeout_s",
    )  # fmt: skip

    def __init__(self, peer: str, sock: socket.socket, timeout_s: float, unfinished: Unfinished | None = None) -> None:
        self.timeout_s = timeout_s
        self.peer = peer
        self.sock = sock
        self.connected = True
        self.is_call = False  # whether FreeSWITCH has sent a call's snapshot
        self._frames = FrameReader()
        self._unfinished = unfinished or Unfinished()
        self._held = 0
        self._wakes_at = WORTH_WAKING
        self._deadline = 0.0
        self._frame_deadline: float | None = None
        self._replies = 0  # that FreeSWITCH owes
        self._frame: Frame | None = None  # read by the loop, for the call
        self._error: FsrouteError | None = None  # the same
        self._why_shed = ""
        self._readable: Any = None
        self._late: Any = None

    def execute(self, commands: Sequence[Command], *, snapshot: bool) -> None:
        """Sends commands in one write. With `snapshot` FreeSWITCH sends a snapshot of the channel after the last one."""
        self._wake_at(WORTH_WAKING)
        data = frames.encode(commands) + (frames.CONNECT if snapshot else b"")
        self._replies += len(commands) + snapshot
        self._write(data)

    def first_snapshot(self) -> Frame:
        """The snapshot with which fsroute takes the call over.

        Raises ReplyTimeout, SessionGone, or ProtocolError if the connection is not a call in sync mode.
        """
        frame = self.snapshot(Wait.REPLY)
        self.is_call = True
        if frame.get("Socket-Mode") != "static":
            raise ProtocolError(
                "the dialplan's socket application has the option async, but fsroute needs sync mode: remove async"
            )
        return frame

    def snapshot(self, wait: Wait) -> Frame:
        """The next snapshot of the channel, after the replies to the commands before it.

        Raises ReplyTimeout, SessionGone, or ProtocolError, also if FreeSWITCH refused a command.
        """
        deadline = self._deadline if wait is Wait.REPLY else None
        while True:
            frame = self._reply(deadline)
            if frame is frames.DONE:
                continue
            if frame.is_snapshot:
                return frame
            text = frame.get("Reply-Text")
            if not text.startswith("+OK"):
                raise ProtocolError(f"FreeSWITCH refused a command: {text[:60]!r}")

    def wait_for_end(self, wait: Wait) -> None:
        """Returns when FreeSWITCH has closed the connection, as it does at the end of the call.

        Raises ReplyTimeout or ProtocolError.
        """
        try:
            while True:
                self._reply(self._deadline if wait is Wait.REPLY else None)
        except SessionGone:
            return

    def reject(self, cause: str) -> None:
        """Ends a call with this cause, also a call that fsroute has not taken over. Raises ReplyTimeout or ProtocolError."""
        # FreeSWITCH drops a first command that is not `connect`. A second `connect` does no harm (mod_event_socket.c).
        self._replies += 2
        self._write(frames.CONNECT + frames.encode([End(cause)]))
        self.wait_for_end(Wait.REPLY)

    def request(self, data: bytes, wait: Wait = Wait.REPLY, seconds: float | None = None) -> Frame:
        """Sends one encoded command and returns its reply. `seconds` bounds a wait for the call.

        Raises SessionGone, ReplyTimeout or ProtocolError.
        """
        self._wake_at(1)  # the reply may be short
        self._replies += 1
        self._write(data)
        bound = None if seconds is None else time.monotonic() + seconds
        return self._reply(self._deadline if wait is Wait.REPLY else bound)

    def when_readable(self, go_on: Callable[[], object], wait: Wait) -> None:
        """Calls `go_on` once, in gevent's hub: when a frame has come that is more than "+OK", at the end of the connection,
        or when the wait's deadline has passed."""
        loop = gevent.get_hub().loop
        if self._readable is None:
            self._readable = loop.io(self.sock.fileno(), READABLE)
        self._readable.start(self._ready, go_on)
        if wait is Wait.REPLY:
            self._late = loop.timer(max(self._deadline - time.monotonic(), 0))
            self._late.start(self._go, go_on, update=False)  # the loop's own time is new enough

    def shed(self, why: str) -> None:
        """Ends the connection because its place is needed. The code that waits for it gets SessionGone with this reason."""
        self._why_shed = why
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection. Safe from every greenlet, any number of times; never waits."""
        self.connected = False
        self._stop_timer()
        self._hold(0)
        if self._readable is not None:
            self._readable.stop()
            self._readable.close()
            self._readable = None
        self.sock.close()

    def _ready(self, go_on: Callable[[], object]) -> None:
        """Reads one piece, in the hub. The call goes on if it has to do something."""
        try:
            if not self._has_news():
                if self._late is None and self._frame_deadline is not None:
                    self._late = gevent.get_hub().loop.timer(self.timeout_s)
                    self._late.start(self._go, go_on)
                return
        except FsrouteError as error:
            self._error = error
        self._go(go_on)

    def _go(self, go_on: Callable[[], object]) -> None:
        self._readable.stop()
        self._stop_timer()
        go_on()

    def _has_news(self) -> bool:
        """Whether a frame is there that is not the reply to a command that succeeded. Raises the errors of `_next_frame` and
        `_received`."""
        has_read = False
        while True:
            frame = self._next_frame()
            if frame is None and has_read:
                return False
            if frame is None:
                data = self._received()
                if data is None:
                    return False
                self._frames.feed(data)
                has_read = True
            elif frame is not frames.DONE:
                self._frame = frame
                return True

    def _stop_timer(self) -> None:
        if self._late is not None:
            self._late.stop()
            self._late.close()
            self._late = None

    def _write(self, data: bytes) -> None:
        if not self.connected:
            raise SessionGone("the connection is closed")
        self._deadline = time.monotonic() + self.timeout_s
        while data:  # one send nearly always takes it all, without a wait
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self._wait(gevent.socket.wait_write, self._deadline, "FreeSWITCH read nothing")
            except OSError as error:
                raise self._gone(str(error)) from error

    def _reply(self, deadline: float | None) -> Frame:
        """The next reply. Raises SessionGone when FreeSWITCH closes, ReplyTimeout, or ProtocolError."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        frame, self._frame = self._frame, None
        while frame is None and (frame := self._next_frame()) is None:
            self._frames.feed(self._receive(deadline))
        if frame is frames.DONE or frame.is_snapshot:
            return frame
        content_type = frame.get("Content-Type")
        if content_type == "command/reply":
            return frame
        if content_type == "text/disconnect-notice":
            raise self._gone("the call has ended")
        raise ProtocolError(f"unexpected frame {content_type[:60]!r}")

    def _next_frame(self) -> Frame | None:
        """The next frame, or None until more bytes have come. Raises ProtocolError."""
        frame = self._frames.next()
        if frame is None:
            if not self._frames.is_empty:
                self._wake_at(1)  # the rest of a frame may be short
                if self._frame_deadline is None:
                    self._frame_deadline = time.monotonic() + self.timeout_s
                self._hold(self._frames.size)
            return None
        self._frame_deadline = None
        self._hold(0)
        if frame is frames.DONE or not frame.is_disconnect_notice:
            self._replies -= 1
            if self._replies < 0:
                raise ProtocolError("more replies than commands")
        return frame

    def _hold(self, count: int) -> None:
        """Counts the bytes of an incomplete frame. Drops them and raises ProtocolError if those of all connections are too
        many."""
        if count != self._held:
            self._unfinished.held += count - self._held
            self._held = count
            if count > _SMALL and self._unfinished.held > MAX_UNFINISHED:
                self._frames = FrameReader()
                self._hold(0)
                raise ProtocolError("incomplete frames of all connections fill the memory that they may have")

    def _receive(self, deadline: float | None) -> bytes:
        until = deadline
        if self._frame_deadline is not None:
            until = self._frame_deadline if deadline is None else min(deadline, self._frame_deadline)
            # Other calls go on between two pieces.
            self._wait(gevent.socket.wait_read, until, "no reply from FreeSWITCH")
        while (data := self._received()) is None:
            self._wait(gevent.socket.wait_read, until, "no reply from FreeSWITCH")
        return data

    def _received(self) -> bytes | None:
        """What has come, or None. Raises SessionGone at the end of the connection."""
        try:
            data = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._gone(self._why_shed or str(error)) from error
        if not data:
            where = "closed" if self._frames.is_empty else "closed in the middle of a frame"
            raise self._gone(self._why_shed or where)
        return data

    def _wait(self, until_ready: Callable[..., None], deadline: float | None, what: str) -> None:
        seconds = None if deadline is None else deadline - time.monotonic()
        late = ReplyTimeout(f"{what} for {self.timeout_s:g} s")
        if seconds is not None and seconds <= 0:
            raise late
        until_ready(self.sock.fileno(), timeout=seconds, timeout_exc=late)

    def _wake_at(self, count: int) -> None:
        if count != self._wakes_at:
            self._wakes_at = count
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _gone(self, why: str) -> SessionGone:
        self.connected = False
        return SessionGone(why)
