"""The listening sockets of `fsroute serve`: where they come from, and which worker has which."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from fsroute.errors import ConfigError
from fsroute.eventsocket import sockets

FIRST_ACTIVATED = 3
"""The descriptor of the first socket that a service manager passes (SD_LISTEN_FDS_START of sd_listen_fds(3))."""


@dataclass(slots=True)
class Listening:
    """Sockets that are bound to one port. The kernel distributes connections over those that listen (SO_REUSEPORT).

    Connections wait in a socket. They are lost if its last copy is closed: the master keeps one, so a worker may end.
    """

    bound: list[socket.socket]
    activated: bool
    """A service manager has made them. It keeps them open, and may have given several addresses."""

    @property
    def address(self) -> str:
        """As settings write it, with the port that the kernel chose for port 0."""
        return ", ".join(dict.fromkeys(map(sockets.written, self.bound)))

    def divide(self, count: int) -> list[tuple[int, ...]]:
        """The descriptors for each of so many workers.

        Each worker has a socket of its own, if possible. If there are more sockets than workers, because there were more
        workers before, they have them all: connections may wait there.
        """
        if not self.activated:
            while len(self.bound) < count:
                try:
                    self.bound.append(sockets.bind(self.bound[0].getsockname()[:2], shared=True))
                except ConfigError:
                    break  # the sockets belong to another user: workers share them
        descriptors = [each.fileno() for each in self.bound]
        if self.activated:
            return [tuple(descriptors)] * count
        if len(descriptors) < count:
            return [(descriptors[number % len(descriptors)],) for number in range(count)]
        return [tuple(descriptors[number::count]) for number in range(count)]

    def close(self) -> None:
        """Closes the copies of this process."""
        for each in self.bound:
            each.close()
        self.bound = []


def bind(address: tuple[str, int]) -> Listening:
    """A port of one's own. The first worker that serves makes it listen; until then connections are refused.

    Raises ConfigError if the address cannot be used, or another program listens there, sharing the port or not.
    """
    sockets.bind(address).close()
    return Listening([sockets.bind(address, shared=True)], activated=False)


def activated(environment: Mapping[str, str], pid: int) -> Listening | None:
    """The sockets that a service manager passes to this process (LISTEN_FDS, LISTEN_PID), if it does.

    Raises ConfigError if one of them is not a listening TCP socket.
    """
    count, of = environment.get("LISTEN_FDS", ""), environment.get("LISTEN_PID", "")
    if of != str(pid) or not count.isdecimal() or int(count) == 0:
        return None
    found = [_listening(descriptor) for descriptor in range(FIRST_ACTIVATED, FIRST_ACTIVATED + int(count))]
    for each in found:
        each.set_inheritable(False)
    return Listening(found, activated=True)


def _listening(descriptor: int) -> socket.socket:
    try:
        given = socket.socket(fileno=descriptor)
        if (
            given.type == socket.SOCK_STREAM
            and given.family in {socket.AF_INET, socket.AF_INET6}
            and given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        ):
            return given
    except OSError as error:
        raise ConfigError(f"LISTEN_FDS: descriptor {descriptor}: {error.strerror}") from error
    raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} must be a TCP socket that listens")
