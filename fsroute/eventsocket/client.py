"""A client of FreeSWITCH's inbound Event Socket: logs in, sends commands, receives events.

greenswitch's InboundESL is unsuitable: text from a callee can write headers of its events, its waits do not end with a
broken connection, and it needs gevent. This client is a plain socket, which also works in a thread of a program without
gevent. It reads only while it waits. Every wait has a deadline, or ends with the connection.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.eventsocket import frames, sockets
from fsroute.eventsocket.frames import Frame, FrameReader
from fsroute.text import quoted

MAX_EVENTS = 1000
"""Events that are kept while a reply is awaited. FreeSWITCH filters them, and a call has a dozen."""

_CHUNK = 64 * 1024


class Refused(ProtocolError):
    """FreeSWITCH refuses fsroute's address, its password or a command."""


class EventSocketClient:
    """A logged-in connection. `timeout_s` bounds the wait for a reply."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._sock = sock
        self._frames = FrameReader()
        self._events: deque[Frame] = deque()

    def command(self, command: bytes) -> Frame:
        """Sends a command and returns its reply. Raises Refused if the reply is not +OK, and the errors of `event`."""
        reply = self._request(command)
        text = reply.reply_text
        if not text.startswith("+OK"):
            raise Refused(f"FreeSWITCH refused {command.split(maxsplit=1)[0].decode()}: {quoted(text)}")
        return reply

    def api(self, text: str) -> str:
        """The output of an API command that ends at once. Raises the errors of `event`."""
        return self._request(frames.command(f"api {text}"), "api/response").body.decode("utf-8", "replace")

    def event(self, deadline: float | None) -> Frame:
        """The next event. Waits until the monotonic time `deadline`; None waits as long as the connection lasts.

        Raises ReplyTimeout, Disconnected or ProtocolError.
        """
        while not self._events:
            frame = self._frame(deadline)
            if not _is_event(frame):
                raise ProtocolError(f"unexpected frame {quoted(frame.get('Content-Type'))}")
            self._events.append(frame.event)
        return self._events.popleft()

    def log_in(self, password: str) -> None:
        """Logs in. Raises Refused, or the errors of `event`."""
        greeting = self._frame(time.monotonic() + self.timeout_s).get("Content-Type")
        if greeting == "text/rude-rejection":
            raise Refused("FreeSWITCH's Event Socket refuses fsroute's address (apply-inbound-acl in event_socket.conf.xml)")
        if greeting != "auth/request":
            raise ProtocolError(f"not FreeSWITCH's Event Socket: its greeting is {quoted(greeting)}")
        if not self._request(frames.command(f"auth {password}")).reply_text.startswith("+OK"):
            raise Refused("FreeSWITCH's Event Socket refused the password (setting event_socket_password)")

    def _request(self, command: bytes, reply_type: str = "command/reply") -> Frame:
        """Sends a command and returns its reply. Keeps the events that arrive before the reply."""
        deadline = time.monotonic() + self.timeout_s
        try:
            self._sock.settimeout(self.timeout_s)
            self._sock.sendall(command)
        except TimeoutError as error:
            raise ReplyTimeout(f"FreeSWITCH read nothing for {self.timeout_s:g} s") from error
        except OSError as error:
            raise Disconnected(f"connection to FreeSWITCH lost: {error}") from error
        while True:
            frame = self._frame(deadline)
            if frame.get("Content-Type") == reply_type:
                return frame
            if not _is_event(frame):
                raise ProtocolError(f"unexpected frame {quoted(frame.get('Content-Type'))}")
            if len(self._events) == MAX_EVENTS:
                raise ProtocolError(f"{MAX_EVENTS} events and no reply")
            self._events.append(frame.event)

    def _frame(self, deadline: float | None) -> Frame:
        while True:
            frame = self._frames.next()
            if frame is None:
                self._frames.feed(self._receive(deadline))
            elif frame.is_disconnect_notice:
                raise Disconnected("FreeSWITCH closed the connection")
            else:
                return frame

    def _receive(self, deadline: float | None) -> bytes:
        late = ReplyTimeout("FreeSWITCH sent nothing in time")
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise late
        try:
            self._sock.settimeout(left)
            data = self._sock.recv(_CHUNK)
        except TimeoutError as error:
            raise late from error
        except OSError as error:
            raise Disconnected(f"connection to FreeSWITCH lost: {error}") from error
        if not data:
            raise Disconnected("FreeSWITCH closed the connection")
        return data


@contextmanager
def connected(address: tuple[str, int], password: str, timeout_s: float) -> Iterator[EventSocketClient]:
    """A logged-in connection, until the end of the `with`.

    Raises Disconnected if FreeSWITCH cannot be reached, and the errors of `log_in`.
    """
    host, port = address
    try:
        sock = socket.create_connection(address, timeout_s)
    except OSError as error:
        why = error.strerror or f"no answer within {timeout_s:g} s"
        raise Disconnected(f"FreeSWITCH's Event Socket at {host}:{port} cannot be reached: {why}") from error
    for level, option, value in sockets.KEEPALIVE:
        sock.setsockopt(level, option, value)
    with sock:
        event_socket = EventSocketClient(sock, timeout_s)
        event_socket.log_in(password)
        yield event_socket


def _is_event(frame: Frame) -> bool:
    return frame.get("Content-Type") == "text/event-plain"
