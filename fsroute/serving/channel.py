"""How two processes of fsroute talk over a socket: a master and its worker, a master and the one that takes over.

A message is a word and a value. SOCK_SEQPACKET keeps messages apart, and says when the other process has ended.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

_LARGEST = 256 * 1024
"""Bytes of a message. The largest has all settings, which are some kilobytes."""

_MOST_DESCRIPTORS = 253
"""The kernel passes no more in one message (SCM_MAX_FD)."""

_CREDENTIALS = struct.Struct("3i")
"""struct ucred of socket(7): process, user and group."""


@dataclass(frozen=True, slots=True)
class Message:
    """A word, its value, and the descriptors that came with it. The receiver must close those."""

    word: str
    value: Any = None
    descriptors: tuple[int, ...] = ()


class Channel:
    """One end. It never waits: a message that the other process does not read is lost, and so is one after its end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003 - Python's signature
        self.sock = sock

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """A channel, and the socket of its other end."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(here), there

    def fileno(self) -> int:
        return self.sock.fileno()

    def say(self, word: str, value: Any = None, descriptors: Sequence[int] = ()) -> None:
        """Sends a message."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        with contextlib.suppress(OSError):
            self.sock.sendmsg([json.dumps([word, value]).encode()], rights)

    def heard(self) -> Message | None:
        """The next message: None if there is none yet. Raises EOFError if the other process has ended, or does not speak
        this language."""
        descriptors = array.array("i")
        try:
            data, ancillary, _, _ = self.sock.recvmsg(
                _LARGEST, socket.CMSG_SPACE(_MOST_DESCRIPTORS * descriptors.itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError(str(error)) from error
        for level, kind, rights in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
        try:
            word, value = json.loads(data)
        except (ValueError, TypeError) as error:  # b"" too: the end
            for descriptor in descriptors:
                os.close(descriptor)
            raise EOFError(f"not a message: {data[:80]!r}" if data else "the other process has ended") from error
        return Message(str(word), value, tuple(descriptors))

    @property
    def peer(self) -> tuple[int, int]:
        """Process id and user id of the other end, as they were when it connected: the kernel says so (SO_PEERCRED)."""
        pid, user, _ = _CREDENTIALS.unpack(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return pid, user

    def close(self) -> None:
        self.sock.close()
