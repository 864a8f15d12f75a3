"""The inbound side of mod_event_socket without a FreeSWITCH: a server that logs clients in and plays a story of events.

It behaves like mod_event_socket.c as far as fsroute meets it: the greeting, the replies word for word, events only for
whoever subscribed to them and whose filters they pass. What becomes of a call is told by the test, as a `Story`, and by
`tell` what happens without a call. tests/e2e/test_verification_calls.py holds it to what a real FreeSWITCH says.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from fsroute.errors import ProtocolError
from fsroute.simulator import dialstring_reader
from fsroute.simulator.dialstring_reader import Parsed
from fsroute.simulator.simulated_channel import FAREWELL, Command, encode, read_commands, reply

PASSWORD = "secret"  # noqa: S105 - of this server, on loopback
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as FreeSWITCH fires it."""

    name: str
    headers: Mapping[str, str]
    body: str = ""

    def get(self, name: str) -> str | None:
        return self.name if name == "Event-Name" else self.headers.get(name)

    def plain(self) -> bytes:
        """A frame of type text/event-plain (switch_event_serialize)."""
        lines = "".join(f"{name}: {encode(value)}\n" for name, value in {"Event-Name": self.name, **self.headers}.items())
        body = f"Content-Length: {len(self.body)}\n\n{self.body}" if self.body else "\n"
        whole = (lines + body).encode()
        return b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(whole) + whole


@dataclass(frozen=True, slots=True)
class Placed:
    """An `originate` that was asked for: the dial string as FreeSWITCH reads it, and what follows the answer."""

    job: str
    dial: Parsed
    applications: tuple[tuple[str, str], ...]

    @property
    def call(self) -> str:
        return self.dial.variables["origination_uuid"]

    # What FreeSWITCH says of such a call.

    def answer(self, text: str) -> Event:
        return Event("BACKGROUND_JOB", {"Job-UUID": self.job, "Job-Command": "originate"}, f"{text}\n")

    def failed(self, cause: str) -> list[Event]:
        return [self.hung_up(cause), self.answer(f"-ERR {cause}")]

    def taken(self) -> list[Event]:
        return [self._of_call("CHANNEL_ANSWER", "answered"), self.answer(f"+OK {self.call}"), self.executed("sched_hangup")]

    def executed(self, application: str, response: str = "_none_", state: str = "answered") -> Event:
        told = {"Application": application, "Application-Response": response}
        return self._of_call("CHANNEL_EXECUTE_COMPLETE", state, told)

    def played(self) -> Event:
        return self.executed("playback", "FILE PLAYED")

    def broken_off(self, cause: str = "NORMAL_CLEARING") -> Event:
        """The end of a playback because the callee has hung up."""
        told = {"Application": "playback", "Application-Response": "PLAYBACK ERROR", "Hangup-Cause": cause}
        return self._of_call("CHANNEL_EXECUTE_COMPLETE", "hangup", told)

    def hung_up(self, cause: str = "NORMAL_CLEARING") -> Event:
        return self._of_call("CHANNEL_HANGUP_COMPLETE", "hangup", {"Hangup-Cause": cause})

    def _of_call(self, name: str, state: str, more: Mapping[str, str] | None = None) -> Event:
        return Event(name, {"Unique-ID": self.call, "Answer-State": state, **(more or {})})


def missing(file: str) -> Event:
    """A prompt that FreeSWITCH cannot open."""
    return Event("CUSTOM", {"Event-Subclass": "filestring::fail", "File": file})


def of_user(subclass: str, user: str) -> Event:
    """What FreeSWITCH tells of a user's registrations: sofia::register, sofia::unregister or sofia::expire."""
    header = "user" if subclass == "sofia::expire" else "from-user"
    return Event("CUSTOM", {"Event-Subclass": subclass, "profile-name": "internal", header: user})


def of_profile(name: str) -> Event:
    """What FreeSWITCH tells when a SIP profile starts (PUBLISH) or has stopped (UNPUBLISH)."""
    return Event(name, {"service": "_sip._udp,_sip._tcp,_sip._sctp", "module_name": "mod_sofia", "profile_name": "internal"})


Said = Event | bytes | threading.Event | None
"""An event, raw bytes, something to wait for, or None: FreeSWITCH breaks off."""

Story = Callable[[Placed], Iterable[Said]]


def read_out(placed: Placed) -> list[Said]:
    """The call is answered, and listened to until the end."""
    return [*placed.taken(), placed.played(), placed.played(), placed.hung_up()]


@dataclass(slots=True)
class EventSocketServer:
    """Listens while it is entered. `stories` are those of its connections, in order; the last one is used again.

    `greeting` and `replies` (by the first word of a command) take the place of what FreeSWITCH says. `api` has the answers
    of API commands. `limit` breaks off after so many bytes in all.
    """

    stories: list[Story]
    greeting: bytes = b"Content-Type: auth/request\n\n"
    replies: Mapping[str, bytes] = field(default_factory=dict)
    api: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    limit: int | None = None
    commands: list[Command] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    sent: int = 0
    _listener: socket.socket = field(init=False)
    _thread: threading.Thread = field(init=False)
    _connections: list[socket.socket] = field(default_factory=list)
    _serving: _Listener | None = None

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._connections):
            with contextlib.suppress(OSError):  # closed by its own thread
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()
        self._listener.close()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    def tell(self, *said: Event | bytes | None) -> None:
        """Says this to the connection that there is now, while it gives no command."""
        assert self._serving is not None
        for each in said:
            if each is None:
                self._serving.break_off()
            else:
                self._serving.tell(each)

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT_S)
            self._connections.append(sock)
            # What the client does wrong is for the test to see in `commands`; that it leaves is no error.
            self._serving = _Listener(self, sock)
            with sock, contextlib.suppress(OSError, ProtocolError, _BrokenOff):
                self._serving.serve()


class _BrokenOff(Exception):
    """The server ends the connection, as it was told to."""


class _Listener:
    """One connection."""

    def __init__(self, server: EventSocketServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._events: set[str] = set()
        self._filters: list[tuple[str, str]] = []

    def serve(self) -> None:
        self._send(self._server.greeting)
        commands = read_commands(self._sock)
        for command in commands:
            self._server.commands.append(command)
            word, _, rest = command.name.partition(" ")
            said = self._server.replies.get(word)
            if said is not None:
                self._send(said)
            elif word == "auth":
                self._log_in(rest)
            elif word == "event":
                self._events |= set(rest.split()) - {"plain"}
                self._send(reply("+OK event listener enabled plain"))
            elif word == "filter":
                name, _, value = rest.partition(" ")
                self._filters.append((name, value))
                self._send(reply(f"+OK filter added. [{name}]=[{value}]"))
            elif word == "api":
                answer = self._server.api.get(rest, f"-ERR {rest} Command not found!\n").encode()
                self._send(b"Content-Type: api/response\nContent-Length: %d\n\n" % len(answer) + answer)
            elif word == "bgapi" and rest.startswith("originate "):
                self._originate(rest.removeprefix("originate "), command.headers["Job-UUID"])
            else:
                self._send(reply("-ERR command not found"))

    def _log_in(self, password: str) -> None:
        if password == PASSWORD:
            self._send(reply("+OK accepted"))
            return
        self._send(reply("-ERR invalid"))
        self._send(b"Content-Type: text/disconnect-notice\nContent-Length: %d\n\n" % len(FAREWELL) + FAREWELL)
        raise _BrokenOff

    def _originate(self, arguments: str, job: str) -> None:
        dial, told, dialplan = arguments.split(" ")
        assert dialplan == "inline"
        pairs = (application.partition(":") for application in told.split(","))
        placed = Placed(job, dialstring_reader.parse(dial), tuple((name, data) for name, _, data in pairs))
        stories = self._server.stories
        story = stories[min(len(self._server.placed), len(stories) - 1)]
        self._server.placed.append(placed)
        self._send(f"Content-Type: command/reply\nReply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}\n\n".encode())
        for said in story(placed):
            if said is None:
                raise _BrokenOff
            if isinstance(said, threading.Event):
                assert said.wait(TIMEOUT_S)
            else:
                self.tell(said)

    def tell(self, said: Event | bytes) -> None:
        if isinstance(said, bytes):
            self._send(said)
        elif self._passes(said):
            self._send(said.plain())

    def break_off(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)

    def _passes(self, event: Event) -> bool:
        """Subscribed to, and let through by one of the filters, if there are any (event_handler in mod_event_socket.c)."""
        kind = event.get("Event-Subclass") or event.name
        passes = not self._filters or any(event.get(name) == value for name, value in self._filters)
        return kind in self._events and passes

    def _send(self, data: bytes) -> None:
        left = len(data) if self._server.limit is None else self._server.limit - self._server.sent
        self._server.sent += len(data[:left])
        self._sock.sendall(data[:left])
        if left < len(data):
            raise _BrokenOff
