"""One connection from FreeSWITCH: greenswitch's OutboundSession made safe for sync mode.

greenswitch gives the type, its state and the exceptions callers of it know. What is replaced here, because its own
form can be tricked or hangs: reading and parsing (it decodes before it splits, so a display name can write
variables), sending (no deadline, line ends pass), and the end (a broken connection would leave everyone waiting).

In sync mode FreeSWITCH says nothing unasked but farewell, so there is no reader of its own: whoever waits for a reply
reads. While a call rings or talks nobody waits: the socket is watched, which costs no greenlet, and nothing wakes up.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import gevent.socket
from greenswitch.esl import NotConnectedError, OutboundSession, OutboundSessionHasGoneAway

from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Command, End, Execute, Frame, FrameReader

_CHUNK = 64 * 1024

READABLE = 1
"""libev's name for it."""

WORTH_WAKING = 256
"""Bytes for which the kernel wakes us (SO_RCVLOWAT). What we wait for is a snapshot, of some thousand bytes, or the end of
the connection, which always wakes; the replies to the commands before it have 45 bytes each and tell nothing new. Without
this a call would wake us four times more, once just after it began to ring. Connections have it from the socket that
listens."""


class SessionGone(Disconnected, OutboundSessionHasGoneAway, NotConnectedError):  # type: ignore[misc]  # no types
    """The far end has closed. Also what greenswitch's users catch."""


class Session(OutboundSession):  # type: ignore[misc]  # no types
    """The server's side of one sync-mode conversation, on a socket that does not block.

    `timeout_s` bounds every wait but the one for the end of an application. It counts from the last write.
    """

    # greenswitch's own would make queues, events and greenlets, in every call, for what does not happen in sync mode.
    def __init__(self, peer: str, sock: socket.socket, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.peer = peer
        self.sock = sock
        self.connected = True
        self._outbound_connected = False
        self._frames = FrameReader()
        self._wakes_at = WORTH_WAKING
        self._deadline = 0.0
        self._readable: Any = None
        self._late: Any = None

    def connect(self) -> Frame:
        """What FreeSWITCH knows of a call that it was asked for for the first time: it is ours now.

        Raises ReplyTimeout, SessionGone, or ProtocolError if it is no call in sync mode.
        """
        frame = self.snapshot(bounded=True)
        if frame.get("Socket-Mode") != "static":
            raise ProtocolError("the dialplan's socket application says async: fsroute needs sync mode, remove async")
        self._outbound_connected = True
        return frame

    def tell(self, commands: Sequence[Command], *, asks: bool) -> None:
        """Sends commands, and a question for a snapshot if there is one, in one write."""
        self._wake_at(WORTH_WAKING)
        self.write(frames.encode(commands) + (frames.CONNECT if asks else b""))

    def hear(self, *, bounded: bool) -> Frame:
        """The next snapshot."""
        return self.snapshot(bounded=bounded)

    def hear_end(self, *, bounded: bool) -> None:
        """Waits until FreeSWITCH closes, as it does when the call has ended. Raises ReplyTimeout or ProtocolError."""
        try:
            while True:
                self._reply(self._deadline if bounded else None)
        except SessionGone:
            return

    def refuse(self, cause: str) -> None:
        """Ends a call, also one that was not taken over."""
        # `connect` once more does no harm, and without it the first command would be lost (mod_event_socket).
        self.write(frames.CONNECT + frames.encode([End(cause)]))
        self.hear_end(bounded=True)

    def write(self, data: bytes) -> None:
        """Sends commands, all in one write."""
        if not self.connected:
            raise SessionGone("the connection is closed")
        self._deadline = time.monotonic() + self.timeout_s
        while data:  # nearly always one send takes it all, and nothing waits
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self._wait(gevent.socket.wait_write, self._deadline, "nothing read")
            except OSError as error:
                raise self._gone(str(error)) from error

    def send(self, data: str) -> Frame:
        """Sends a command of one line and returns its reply."""
        self._wake_at(1)
        self.write(frames.command(data))
        return self.reply()

    def call_command(
        self,
        app_name: str,
        app_args: str | None = None,
        block: bool = False,  # noqa: ARG002, FBT001, FBT002 - greenswitch's signature
        response_timeout: float | None = None,
    ) -> Frame:
        """Runs an application and returns when it has ended: in sync mode `block` makes no difference.

        greenswitch's verbs (`answer`, `bridge`, `hangup`, ...) stand on this.
        """
        self._wake_at(1)
        self.write(frames.encode([Execute(app_name, app_args or "")]))
        return self._reply(None if response_timeout is None else time.monotonic() + response_timeout)

    def register_expected_event(self, *_: Any) -> None:
        """Refuses greenswitch's verbs that wait for an event: in sync mode there are none to wait for."""
        raise ProtocolError("no events in sync mode: use call_command, which returns at the application's end")

    def reply(self) -> Frame:
        """The next reply.

        Raises SessionGone when FreeSWITCH says farewell or closes, ReplyTimeout, or ProtocolError.
        """
        return self._reply(self._deadline)

    def _reply(self, deadline: float | None) -> Frame:
        while (frame := self._frames.next()) is None:
            self._frames.feed(self._receive(deadline))
        if frame is frames.DONE or frame.is_snapshot:
            return frame
        content_type = frame.get("Content-Type")
        if content_type == "command/reply":
            return frame
        if content_type == "text/disconnect-notice":
            raise self._gone("the call has ended")
        raise ProtocolError(f"unexpected frame {content_type[:60]!r}")

    def snapshot(self, *, bounded: bool) -> Frame:
        """The next reply that is a channel's snapshot, after those to the commands before it.

        Raises ProtocolError if a command was refused.
        """
        deadline = self._deadline if bounded else None
        while True:
            frame = self._reply(deadline)
            if frame is frames.DONE:
                continue
            if frame.is_snapshot:
                return frame
            text = frame.get("Reply-Text")
            if not text.startswith("+OK"):
                raise ProtocolError(f"FreeSWITCH refused a command: {text[:60]!r}")

    def when_readable(self, go_on: Callable[[], object], *, bounded: bool) -> None:
        """Calls this once, from gevent's hub, when there is something to hear, or when it is too late for it."""
        loop = gevent.get_hub().loop
        if self._readable is None:
            self._readable = loop.io(self.sock.fileno(), READABLE)
        self._readable.start(self._ready, go_on)
        if bounded:
            self._late = loop.timer(max(self._deadline - time.monotonic(), 0))
            self._late.start(self._ready, go_on, update=False)  # the loop's own time is new enough

    def _ready(self, go_on: Callable[[], object]) -> None:
        self._readable.stop()
        self._stop_timer()
        go_on()

    def _stop_timer(self) -> None:
        if self._late is not None:
            self._late.stop()
            self._late.close()
            self._late = None

    def stop(self) -> None:
        """Closes. Safe from anywhere, any number of times; never waits."""
        self.connected = False
        self._outbound_connected = False
        self._stop_timer()
        if self._readable is not None:
            self._readable.stop()
            self._readable.close()
            self._readable = None
        self.sock.close()

    def _receive(self, deadline: float | None) -> bytes:
        if not self._frames.is_empty:
            self._wake_at(1)  # the rest of a frame may be short
        while True:
            try:
                data = self.sock.recv(_CHUNK)
            except BlockingIOError:
                self._wait(gevent.socket.wait_read, deadline, "no reply")
            except OSError as error:
                raise self._gone(str(error)) from error
            else:
                break
        if not data:
            raise self._gone("closed" if self._frames.is_empty else "closed in the middle of a frame")
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
        self._outbound_connected = False
        return SessionGone(why)
