"""FreeSWITCH's side of the Event Socket in sync mode, without a FreeSWITCH.

`fsroute call` and the tests without a FreeSWITCH use it. It behaves like mod_event_socket.c as far as fsroute uses that: a
snapshot for `connect`, a reply when an application has ended, and nothing unasked but the disconnect notice.
tests/unit/simulator/test_simulated_channel.py compares it with recorded conversations of a real FreeSWITCH.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.simulator import dialstring_reader
from fsroute.simulator.dialstring_reader import Parsed

_CHUNK = 64 * 1024
_EXECUTE, _HANGUP = "4", "10"
"""CS_EXECUTE and CS_HANGUP (switch_types.h)."""

_ARGUMENT = "execute-app-arg"
_ESCAPE = re.compile("[0-9A-F]{2}")
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"#%&+:;<=>?@[\\]^`{|}')
"""Characters that switch_url_encode leaves as they are (SWITCH_URL_UNSAFE in switch_utils.h, without blanks)."""

FAREWELL = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"


@dataclass(frozen=True, slots=True)
class Command:
    """One command to FreeSWITCH: `connect`, or a sendmsg with its headers."""

    name: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def application(self) -> str:
        """The dialplan application of an `execute`."""
        return self.headers.get("execute-app-name", "")

    @property
    def argument(self) -> str:
        """The application's argument."""
        return self.headers.get(_ARGUMENT, "")


@dataclass(frozen=True, slots=True)
class Result:
    """How a bridge ended: the variables that it sets on the caller's channel, and whether the caller has hung up."""

    variables: Mapping[str, str]
    hung_up: bool = False


Bridge = Callable[[Parsed], Result]
"""Rings a dial string. The user of the simulated channel decides how that ends."""


def one_phone(profile: str, address: str) -> str:
    """The output of `sofia_contact profile/user@domain` if one phone is registered for every endpoint."""
    user = address.partition("@")[0]
    return f"sofia/{profile}/sip:{user}@192.0.2.1:5060"


@dataclass(slots=True)
class SimulatedChannel:
    """One channel. `variables` are its channel variables, `profile` its headers without `variable_`."""

    profile: dict[str, str]
    variables: dict[str, str]
    bridge: Bridge
    contact: Callable[[str, str], str] = one_phone
    commands: list[Command] = field(default_factory=list)
    hangup_cause: str | None = None

    def reply_to(self, command: Command) -> bytes:
        """FreeSWITCH's reply to a command, as bytes. Empty after the end of the channel."""
        if self.hangup_cause is not None:
            return b""
        self.commands.append(command)
        if command.name == "connect":
            return self.snapshot()
        if command.name != "sendmsg":
            return reply("-ERR command not found")
        if command.headers.get("call-command") == "hangup":
            return reply("+OK") + self._hang_up(command.headers.get("hangup-cause", "NORMAL_CLEARING"))
        return reply("+OK") + self._execute(command)

    def _execute(self, command: Command) -> bytes:
        if command.application == "sleep":
            time.sleep(int(command.argument) / 1000)
        elif command.application == "multiset":
            self._multiset(command.argument)
        elif command.application == "set":
            name, _, value = self._expand_argument(command.argument).partition("=")
            self.variables[name] = self._expand(value)  # once more: base_set in mod_dptools.c
        elif command.application == "bridge":
            result = self.bridge(dialstring_reader.parse(self._expand_argument(command.argument)))
            self.variables |= result.variables
            if result.variables.get("originate_disposition", "").upper() == "SUCCESS":
                self.profile["Answer-State"] = "answered"
            if result.hung_up:
                return self._hang_up("NORMAL_CLEARING")
        return b""

    def _expand_argument(self, argument: str) -> str:
        """Expands an application's argument, as switch_core_session_exec does."""
        off = self.variables.get("app_disable_expand_variables") == "true"
        return argument if off else self._expand(argument)

    def _expand(self, text: str) -> str:
        return dialstring_reader.expand(text, lambda name: self.variables.get(name, ""), self._api)

    def _api(self, name: str, arguments: str) -> str:
        if name != "sofia_contact":
            raise ProtocolError(f"the simulated channel has no API command {name}")
        profile, _, address = arguments.partition("/")
        return self.contact(profile, address)

    def _multiset(self, argument: str) -> None:
        separator, pairs = (argument[2], argument[3:]) if argument.startswith("^^") else (" ", argument)
        for pair in pairs.split(separator):
            name, _, value = pair.partition("=")
            self.variables[name] = value

    def _hang_up(self, cause: str) -> bytes:
        self.hangup_cause = cause
        return (
            b"Content-Type: text/disconnect-notice\n"
            b"Controlled-Session-UUID: " + self.profile["Unique-ID"].encode() + b"\n"
            b"Content-Disposition: disconnect\n"
            b"Content-Length: " + str(len(FAREWELL)).encode() + b"\n\n" + FAREWELL
        )

    def snapshot(self) -> bytes:
        """The reply to `connect`: the channel's headers and variables, values encoded, names not."""
        headers = {"Event-Name": "CHANNEL_DATA", "Channel-State-Number": _EXECUTE, **self.profile}
        if self.hangup_cause is not None:
            headers |= {"Channel-State-Number": _HANGUP, "Hangup-Cause": self.hangup_cause}
        headers |= {f"variable_{name}": value for name, value in self.variables.items()}
        headers |= {"Content-Type": "command/reply", "Reply-Text": "+OK\n", "Socket-Mode": "static"}
        headers["Control"] = "single-channel"
        return "".join(f"{name}: {encode(value)}\n" for name, value in headers.items()).encode() + b"\n"


def encode(value: str) -> str:
    """A value as switch_event_serialize writes it. A %XX that is in the value already stays as it is."""
    if not value:
        return "_undef_"
    out: list[str] = []
    i = 0
    while i < len(value):
        if value[i] == "%" and _is_escape(value[i + 1 : i + 3]):
            out.append(value[i : i + 3])
            i += 3
        else:
            out.append(quote(value[i], safe=_SAFE, errors="surrogateescape"))
            i += 1
    return "".join(out)


def _is_escape(digits: str) -> bool:
    return _ESCAPE.match(digits) is not None


def reply(text: str) -> bytes:
    """The frame of a reply to a command."""
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


# --- reading fsroute's commands ----------------------------------------------------------------------------


def read_commands(sock: socket.socket) -> Iterator[Command]:
    """The commands that arrive on a socket, until it is closed.

    Raises ReplyTimeout after the socket's own timeout, and Disconnected if it closes inside a command.
    """
    buffer = b""
    while True:
        commands, buffer = parse(buffer)
        yield from commands
        try:
            data = sock.recv(_CHUNK)
        except TimeoutError as error:
            raise ReplyTimeout(f"nothing received for {sock.gettimeout():g} s") from error
        except OSError as error:
            raise Disconnected(str(error)) from error
        if not data:
            if buffer:
                raise Disconnected(f"closed in the middle of a command: {buffer[:60]!r}")
            return
        buffer += data


def parse(data: bytes) -> tuple[list[Command], bytes]:
    """The complete commands at the beginning of these bytes, and the bytes after them.

    A body of plain text is an application's argument, as in switch_ivr_parse_event: here it becomes that header.
    """
    commands: list[Command] = []
    while True:
        block, end, rest = data.partition(b"\n\n")
        if not end:
            return commands, data
        name, *lines = block.decode().strip("\n").split("\n")
        headers = {key: value.lstrip(" ") for key, _, value in (line.partition(":") for line in lines)}
        length = int(headers.pop("content-length", "0"))
        if len(rest) < length:
            return commands, data
        if length and headers.pop("content-type", "") == "text/plain":
            headers.setdefault(_ARGUMENT, rest[:length].decode())
        commands.append(Command(name, headers))
        data = rest[length:]
