"""How a new fsroute gets the listening sockets of the one that runs, which then ends after its last call.

The running master listens on a socket whose name contains the address (abstract: it needs no file, and is gone with the
process). Both sides check who the other one is: the same user, or root for the one that gives or takes.

    new:     take over             "I want your sockets"
    running: sockets (+ sockets)   or: refused, why
    new:     ready                 all its workers take calls now          or: failed, why
    running: done                  none of its workers takes calls any more
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from dataclasses import dataclass
from enum import StrEnum

from fsroute.errors import ConfigError
from fsroute.serving.channel import Channel, Message

ANSWER_S = 5.0
"""Seconds for the running fsroute to send its sockets. Its master does nothing that takes longer."""


class Word(StrEnum):
    """What the two masters tell each other. The module's docstring has the order."""

    TAKE_OVER = "take over"
    SOCKETS = "sockets"
    REFUSED = "refused"
    READY = "ready"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Taken:
    """What the running fsroute has given."""

    channel: Channel
    pid: int
    sockets: list[socket.socket]
    activated: bool


def name(address: str) -> str:
    """The name of the socket on which the master of this address listens."""
    return f"\0fsroute/{address}"


def offer(address: str) -> socket.socket:
    """Listens for a fsroute that takes over. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(name(address))
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)  # noqa: FBT003 - Python's signature
    return listener


def may_deal_with(user: int) -> bool:
    """Sockets go to, and come from, the same user or root."""
    return user in {0, os.geteuid()}


def ask(address: str) -> Taken | None:
    """The sockets of the fsroute that runs at this address; None if none runs. Raises ConfigError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(name(address))
    except OSError as error:
        sock.close()
        if error.errno == errno.ECONNREFUSED:
            return None
        raise ConfigError(f"cannot take over {address}: {error.strerror}") from error
    channel = Channel(sock)
    pid, user = channel.peer
    if not may_deal_with(user):
        channel.close()
        raise ConfigError(f"cannot take over {address}: process {pid} runs as another user ({user})")
    channel.say(Word.TAKE_OVER)
    try:
        answer = _answer(channel)
    except EOFError as error:
        channel.close()
        raise ConfigError(f"cannot take over {address}: process {pid}: {error}") from error
    given = [socket.socket(fileno=descriptor) for descriptor in answer.descriptors]
    if answer.word != Word.SOCKETS or not given:
        channel.close()
        raise ConfigError(f"cannot take over {address}: process {pid} refuses: {answer.value}")
    return Taken(channel, pid, given, bool(answer.value["activated"]))


def _answer(channel: Channel) -> Message:
    deadline = time.monotonic() + ANSWER_S
    while (left := deadline - time.monotonic()) > 0:
        select.select([channel], [], [], left)
        message = channel.heard()
        if message is not None:
            return message
    raise EOFError(f"has not answered within {ANSWER_S:g} s")
