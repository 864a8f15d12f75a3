"""One connection from FreeSWITCH: greenswitch's OutboundSession made safe for sync mode.

greenswitch gives the type, its state and the exceptions callers of it know. What is replaced here, because its own
form can be tricked or hangs: reading and parsing (it decodes before it splits, so a display name can write
variables), sending (no deadline, line ends pass), and the end (a broken connection would leave everyone waiting).

In sync mode FreeSWITCH says nothing unasked but farewell, so there is no reader of its own: whoever waits for a reply
reads. A session costs one greenlet, and nothing wakes up while a call rings or talks.
"""

from __future__ import annotations

import socket as std_socket
from typing import Any

import gevent
from gevent import socket
from greenswitch.esl import NotConnectedError, OutboundSession, OutboundSessionHasGoneAway

from fsroute import frames
from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.frames import Frame, FrameReader

_CHUNK = 64 * 1024

_KEEPALIVE = ((std_socket.TCP_KEEPIDLE, 30), (std_socket.TCP_KEEPINTVL, 10), (std_socket.TCP_KEEPCNT, 3))
"""Seconds, seconds, tries. A wait for the end of a call has no deadline, but it must end when the switch's machine
has gone without a word: after about a minute. FreeSWITCH does the same on its side (30 s)."""


class SessionGone(Disconnected, OutboundSessionHasGoneAway, NotConnectedError):  # type: ignore[misc]  # no types
    """The far end has closed. Also what greenswitch's users catch."""


class Session(OutboundSession):  # type: ignore[misc]  # no types
    """The server's side of one sync-mode conversation.

    `timeout_s` bounds every wait but the one for the end of an application.
    """

    def __init__(self, address: Any, sock: Any, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.peer = str(address[0])
        self._frames = FrameReader()
        super().__init__(address, sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def start_event_handlers(self) -> None:
        """Starts nothing: see the top of this file."""

    def connect(self) -> Frame:
        """Takes the call over and returns what FreeSWITCH knows of it.

        Raises ReplyTimeout, SessionGone, or ProtocolError if it is no call in sync mode.
        """
        self.write(frames.CONNECT)
        frame = self.snapshot(self.timeout_s)
        if frame.get("Socket-Mode") != "static":
            raise ProtocolError("the dialplan's socket application says async: fsroute needs sync mode, remove async")
        self._outbound_connected = True
        self.session_data = frame
        return frame

    def write(self, data: bytes) -> None:
        """Sends commands, all in one write."""
        if not self.connected:
            raise SessionGone("the connection is closed")
        try:
            with gevent.Timeout(self.timeout_s, ReplyTimeout(f"nothing read for {self.timeout_s:g} s")):
                self.sock.sendall(data)
        except OSError as error:
            raise self._gone(str(error)) from error

    def send(self, data: str) -> Frame:
        """Sends a command of one line and returns its reply."""
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
        self.write(frames.execute(app_name, app_args or ""))
        return self.reply(response_timeout)

    def register_expected_event(self, *_: Any) -> None:
        """Refuses greenswitch's verbs that wait for an event: in sync mode there are none to wait for."""
        raise ProtocolError("no events in sync mode: use call_command, which returns at the application's end")

    def reply(self, timeout_s: float | None) -> Frame:
        """The next reply. None waits for as long as the call lives.

        Raises SessionGone when FreeSWITCH says farewell or closes, ReplyTimeout, or ProtocolError.
        """
        with gevent.Timeout(timeout_s, ReplyTimeout(f"no reply for {timeout_s} s")):
            while True:
                frame = self._frames.next()
                if frame is None:
                    self._frames.feed(self._receive())
                elif frame.is_farewell:
                    raise self._gone("the call has ended")
                elif frame.is_reply:
                    return frame
                else:
                    raise ProtocolError(f"unexpected frame {frame.get('Content-Type')[:60]!r}")

    def snapshot(self, timeout_s: float | None) -> Frame:
        """The next reply that is a channel's snapshot, after those to the commands before it.

        Raises ProtocolError if a command was refused.
        """
        while True:
            frame = self.reply(timeout_s)
            if frame.get("Event-Name") == "CHANNEL_DATA":
                return frame
            text = frame.get("Reply-Text")
            if not text.startswith("+OK"):
                raise ProtocolError(f"FreeSWITCH refused a command: {text[:60]!r}")

    def until_end(self, timeout_s: float | None) -> None:
        """Waits until FreeSWITCH closes, as it does when the call has ended. Raises ReplyTimeout or ProtocolError."""
        try:
            while True:
                self.reply(timeout_s)
        except SessionGone:
            return

    def stop(self) -> None:
        """Closes. Safe from anywhere, any number of times; never waits."""
        self.connected = False
        self._outbound_connected = False
        self.sock_file.close()
        self.sock.close()

    def _receive(self) -> bytes:
        try:
            data: bytes = self.sock.recv(_CHUNK)
        except OSError as error:
            raise self._gone(str(error)) from error
        if not data:
            raise self._gone("closed" if self._frames.is_empty else "closed in the middle of a frame")
        return data

    def _gone(self, why: str) -> SessionGone:
        self.connected = False
        self._outbound_connected = False
        return SessionGone(why)
