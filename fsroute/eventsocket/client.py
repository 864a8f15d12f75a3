"""A client of FreeSWITCH's inbound Event Socket: log in, give commands, hear events.

greenswitch's InboundESL is not fit for it: what a callee sent can write headers of its events, a broken connection leaves
everyone waiting for ever, and it needs gevent. This one is a plain socket, which also works in a thread of a program that
knows no gevent. Nothing is read but by whoever waits, and every wait has a deadline, or ends with the connection.
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
"""Events that are kept while a command is answered. They are filtered, and a call has a dozen."""

_CHUNK = 64 * 1024


class Refused(ProtocolError):
    """FreeSWITCH does not want: our address, our password or a command."""


class EventSocketClient:
    """A connection that is logged in. `timeout_s` is how long a command may take to be answered."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._sock = sock
        self._frames = FrameReader()
        self._events: deque[Frame] = deque()

    def command(self, command: bytes) -> Frame:
        """Gives a command and returns the reply. Raises Refused if that is no +OK, else ProtocolError as `event` does."""
        reply = self._ask(command)
        text = reply.reply_text
        if not text.startswith("+OK"):
            raise Refused(f"FreeSWITCH refused {command.split(maxsplit=1)[0].decode()}: {quoted(text)}")
        return reply

    def api(self, text: str) -> str:
        """The answer of an API command that answers at once. Raises ProtocolError as `event` does."""
        return self._ask(frames.command(f"api {text}"), "api/response").body.decode("utf-8", "replace")

    def event(self, deadline: float | None) -> Frame:
        """The next event, until the monotonic time `deadline`; None waits for as long as the connection lives.

        Raises ReplyTimeout, Disconnected or ProtocolError.
        """
        while not self._events:
            frame = self._frame(deadline)
            if not _is_event(frame):
                raise ProtocolError(f"unexpected frame {quoted(frame.get('Content-Type'))}")
            self._events.append(frame.event)
        return self._events.popleft()

    def log_in(self, password: str) -> None:
        """Raises Refused for what FreeSWITCH does not want, else ProtocolError."""
        greeting = self._frame(time.monotonic() + self.timeout_s).get("Content-Type")
        if greeting == "text/rude-rejection":
            raise Refused("FreeSWITCH's Event Socket is closed for our address (apply-inbound-acl in event_socket.conf.xml)")
        if greeting != "auth/request":
            raise ProtocolError(f"no Event Socket of FreeSWITCH: its greeting is {quoted(greeting)}")
        if not self._ask(frames.command(f"auth {password}")).reply_text.startswith("+OK"):
            raise Refused("FreeSWITCH's Event Socket refused the password (setting event_socket_password)")

    def _ask(self, command: bytes, answer: str = "command/reply") -> Frame:
        """The reply to a command. Events that come meanwhile are kept."""
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
            if frame.get("Content-Type") == answer:
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
            elif frame.is_farewell:
                raise Disconnected("FreeSWITCH closed the connection")
            else:
                return frame

    def _receive(self, deadline: float | None) -> bytes:
        late = ReplyTimeout("no word from FreeSWITCH in time")
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
    """A connection that is logged in, until the end of the `with`.

    Raises Disconnected if FreeSWITCH can not be reached, Refused if it does not want us, else ProtocolError.
    """
    host, port = address
    try:
        sock = socket.create_connection(address, timeout_s)
    except OSError as error:
        why = error.strerror or f"no answer within {timeout_s:g} s"
        raise Disconnected(f"FreeSWITCH's Event Socket at {host}:{port} can not be reached: {why}") from error
    for level, option, value in sockets.KEEPALIVE:
        sock.setsockopt(level, option, value)
    with sock:
        event_socket = EventSocketClient(sock, timeout_s)
        event_socket.log_in(password)
        yield event_socket


def _is_event(frame: Frame) -> bool:
    return frame.get("Content-Type") == "text/event-plain"
