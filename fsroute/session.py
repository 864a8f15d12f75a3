"""One connection from FreeSWITCH: greenswitch's OutboundSession made safe for sync mode.

greenswitch gives the type, its state and the exceptions callers of it know. What is replaced here, because its own
form can be tricked or hangs: reading and parsing (it decodes before it splits, so a display name can write
variables), sending (no deadline, line ends pass), and the end (a broken connection would leave everyone waiting).

In sync mode FreeSWITCH says nothing unasked but farewell, so there is no reader of its own: whoever waits for a reply
reads. While a call rings or talks nobody waits: the socket is watched, which costs no greenlet, and nothing wakes up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent import socket
from greenswitch.esl import NotConnectedError, OutboundSession, OutboundSessionHasGoneAway

from fsroute import frames
from fsroute.answer import FACTS
from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.frames import Command, End, Execute, Frame, FrameReader

_CHUNK = 64 * 1024

READABLE = 1
"""libev's name for it."""

_WORTH_WAKING = 256
"""Bytes for which the kernel wakes us (SO_RCVLOWAT). What we wait for is a snapshot, of some thousand bytes, or the end of
the connection, which always wakes; the replies to the commands before it have 45 bytes each and tell nothing new. Without
this a call would wake us four times more, once just after it began to ring."""


class SessionGone(Disconnected, OutboundSessionHasGoneAway, NotConnectedError):  # type: ignore[misc]  # no types
    """The far end has closed. Also what greenswitch's users catch."""


class Session(OutboundSession):  # type: ignore[misc]  # no types
    """The server's side of one sync-mode conversation.

    `timeout_s` bounds every wait but the one for the end of an application.
    """

    # greenswitch's own would make queues, events and greenlets, in every call, for what does not happen in sync mode.
    def __init__(self, peer: str, sock: Any, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.peer = peer
        self.sock = sock
        self.connected = True
        self._outbound_connected = False
        self._frames = FrameReader()
        self._wakes_at = 1
        self._watcher: Any = None

    def connect(self) -> Frame:
        """Takes the call over and returns what FreeSWITCH knows of it.

        Raises ReplyTimeout, SessionGone, or ProtocolError if it is no call in sync mode.
        """
        self.write(frames.CONNECT)
        frame = self.snapshot(self.timeout_s)
        if frame.get("Socket-Mode") != "static":
            raise ProtocolError("the dialplan's socket application says async: fsroute needs sync mode, remove async")
        self._outbound_connected = True
        return frame.only(FACTS)

    def tell(self, commands: Sequence[Command], *, asks: bool) -> None:
        """Sends commands, and a question for a snapshot if there is one, in one write."""
        self._wake_at(_WORTH_WAKING)
        self.write(frames.encode(commands) + (frames.CONNECT if asks else b""))

    def hear(self, *, bounded: bool) -> Frame:
        """The next snapshot."""
        return self.snapshot(self.timeout_s if bounded else None)

    def hear_end(self, *, bounded: bool) -> None:
        """Waits until FreeSWITCH closes, as it does when the call has ended. Raises ReplyTimeout or ProtocolError."""
        try:
            while True:
                self.reply(self.timeout_s if bounded else None)
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
        deadline = time.monotonic() + self.timeout_s
        try:
            # Nearly always one send takes it all, and nothing waits.
            while data := data[self._within(deadline).send(data) :]:
                pass
        except TimeoutError as error:
            raise ReplyTimeout(f"nothing read for {self.timeout_s:g} s") from error
        except OSError as error:
            raise self._gone(str(error)) from error

    def send(self, data: str) -> Frame:
        """Sends a command of one line and returns its reply."""
        self._wake_at(1)
        self.write(frames.command(data))
        return self.reply(self.timeout_s)

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
        return self.reply(response_timeout)

    def register_expected_event(self, *_: Any) -> None:
        """Refuses greenswitch's verbs that wait for an event: in sync mode there are none to wait for."""
        raise ProtocolError("no events in sync mode: use call_command, which returns at the application's end")

    def reply(self, timeout_s: float | None) -> Frame:
        """The next reply. None waits for as long as the call lives.

        Raises SessionGone when FreeSWITCH says farewell or closes, ReplyTimeout, or ProtocolError.
        """
        return self._reply(_deadline(timeout_s), timeout_s)

    def _reply(self, deadline: float | None, timeout_s: float | None) -> Frame:
        while (frame := self._frames.next()) is None:
            try:
                self._frames.feed(self._receive(deadline))
            except TimeoutError as error:
                raise ReplyTimeout(f"no reply for {timeout_s:g} s") from error
        content_type = frame.get("Content-Type")
        if content_type == "command/reply":
            return frame
        if content_type == "text/disconnect-notice":
            raise self._gone("the call has ended")
        raise ProtocolError(f"unexpected frame {content_type[:60]!r}")

    def snapshot(self, timeout_s: float | None) -> Frame:
        """The next reply that is a channel's snapshot, after those to the commands before it.

        Raises ProtocolError if a command was refused.
        """
        deadline = _deadline(timeout_s)
        while True:
            frame = self._reply(deadline, timeout_s)
            if frame.is_snapshot:
                return frame
            text = frame.get("Reply-Text")
            if not text.startswith("+OK"):
                raise ProtocolError(f"FreeSWITCH refused a command: {text[:60]!r}")

    def when_readable(self, go_on: Callable[[], object]) -> None:
        """Calls this once, from gevent's hub, when there is something to hear."""

        def readable() -> None:
            self._stop_watching()
            go_on()

        self._watcher = gevent.get_hub().loop.io(self.sock.fileno(), READABLE)
        self._watcher.start(readable)

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def stop(self) -> None:
        """Closes. Safe from anywhere, any number of times; never waits."""
        self.connected = False
        self._outbound_connected = False
        self._stop_watching()
        self.sock.close()

    def _receive(self, deadline: float | None) -> bytes:
        if not self._frames.is_empty:
            self._wake_at(1)  # the rest of a frame may be short
        try:
            data: bytes = self._within(deadline).recv(_CHUNK)
        except TimeoutError:
            raise
        except OSError as error:
            raise self._gone(str(error)) from error
        if not data:
            raise self._gone("closed" if self._frames.is_empty else "closed in the middle of a frame")
        return data

    def _wake_at(self, count: int) -> None:
        if count != self._wakes_at:
            self._wakes_at = count
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _within(self, deadline: float | None) -> Any:
        """The socket, which waits no longer than until then: then it raises TimeoutError."""
        self.sock.timeout = None if deadline is None else max(deadline - time.monotonic(), 0.001)
        return self.sock

    def _gone(self, why: str) -> SessionGone:
        self.connected = False
        self._outbound_connected = False
        return SessionGone(why)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s
