"""Listens for FreeSWITCH: which addresses may connect, how many calls there are at once, and how the server stops."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from structlog.typing import FilteringBoundLogger

from fsroute.eventsocket import sockets
from fsroute.eventsocket.session import WORTH_WAKING, Session
from fsroute.eventsocket.wait import Wait

BACKLOG = 1024
"""Connections that the kernel keeps while the server is busy. With the usual 100, calls of a burst wait for SYN
retransmissions: one second, then three."""


OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_RCVLOWAT, WORTH_WAKING),
    *sockets.KEEPALIVE,
)
"""Set on the listening socket; accepted sockets inherit them."""

_PEERS = 1000
"""Addresses for which the server remembers that they may connect. There are few switches."""

_IDLE = 100
"""Greenlets that are kept for the next calls. More are busy at a time only when the database is slow."""


class _Acceptor(StreamServer):
    """Leaves a connection open when its handler returns: the call may only have paused. Hands out plain sockets: each of
    gevent's has watchers and timers of its own, for waits that hardly ever happen."""

    def do_read(self) -> tuple[socket.socket, Any] | None:  # type: ignore[override]  # None is what BaseServer takes for "no more"
        """The next connection, if there is one."""
        try:
            accepted, address = self.socket.accept()
        except BlockingIOError:
            return None
        accepted.setblocking(False)  # noqa: FBT003 - Python's signature
        return accepted, address

    def do_close(self, *_: Any) -> None:
        """Nothing: sessions close their sockets."""


class Greenlets:
    """Runs functions that may wait, in greenlets that are used again: Python maps memory for each new greenlet, and unmaps
    it at the end."""

    def __init__(self) -> None:
        self.idle: list[Any] = []

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Runs `function(*args)` in the next round of gevent's loop."""
        if self.idle:
            gevent.get_hub().loop.run_callback(self.idle.pop().switch, (function, args))
        else:
            gevent.spawn_raw(self._work, function, args)

    def _work(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        while True:
            function(*args)
            if len(self.idle) >= _IDLE:
                return
            self.idle.append(gevent.getcurrent())
            function, args = gevent.get_hub().switch()


@dataclass(slots=True)
class Server:
    """Accepts connections and gives each to `handle`, up to `max_calls` at once. More connections go to `overload`.

    `handle` controls a call and yields before each wait, with what it waits for. During the wait the server keeps the
    iterator, the session and a watcher of its socket, and no greenlet. The server closes the session in the end.
    """

    listener: socket.socket
    networks: tuple[IPv4Network | IPv6Network, ...]
    max_calls: int
    timeout_s: float
    handle: Callable[[Session], Iterator[Wait]]
    overload: Callable[[Session], None]
    log: FilteringBoundLogger
    active: int = 0
    _greenlets: Greenlets = field(default_factory=Greenlets)
    _allowed: set[str] = field(default_factory=set)
    _idle: Event = field(default_factory=Event)
    _stop: Event = field(default_factory=Event)

    def serve(self, drain_s: float) -> None:
        """Serves until `stop` is called. Then takes no new calls, and waits up to `drain_s` for the calls that it has."""
        server = _Acceptor(self.listener, self._connection, spawn=None)  # None: at once, in the hub
        server.start()
        try:
            self._stop.wait()
        finally:
            server.close()  # closes the listener: from here on FreeSWITCH is refused and tries its next host
        self.log.info("draining", calls=self.active, seconds=drain_s)
        if self.active and not self._idle.wait(drain_s):
            self.log.warning("calls left to FreeSWITCH", calls=self.active)

    @property
    def address(self) -> str:
        """The address of the listening socket, with the port that the kernel chose for port 0."""
        return sockets.written(self.listener)

    def stop(self) -> None:
        """Makes `serve` drain and return. Safe in a signal handler."""
        self._stop.set()

    def _connection(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        peer = str(address[0])
        if not self._may_connect(peer):
            self.log.warning("connection refused", peer=peer, reason="not in the allowed networks")
            sock.close()
            return
        self.active += 1
        self._idle.clear()
        session = Session(peer, sock, self.timeout_s)
        if self.active > self.max_calls:
            self.log.warning("call not taken", peer=peer, reason=f"{self.max_calls} calls already")
            self._greenlets.run(self._advance, session, self._turn_away(session))
        else:
            # In the hub, which must not wait. A call's first step only writes, and the connection's send buffer is empty.
            self._advance(session, self.handle(session))

    def _may_connect(self, peer: str) -> bool:
        if peer not in self._allowed:
            if not any(ip_address(peer) in network for network in self.networks):
                return False
            if len(self._allowed) >= _PEERS:
                self._allowed.clear()
            self._allowed.add(peer)
        return True

    def _turn_away(self, session: Session) -> Iterator[Wait]:
        self.overload(session)
        yield from ()

    def _advance(self, session: Session, call: Iterator[Wait]) -> None:
        """Runs a call to its next wait, or to its end."""
        try:
            wait = next(call, None)
            if wait is not None:
                session.when_readable(partial(self._greenlets.run, self._advance, session, call), wait)
                return
        except Exception:  # a defect in one call must not end the server
            self.log.exception("call failed", peer=session.peer)
        session.close()
        self.active -= 1
        if not self.active:
            self._idle.set()


def listen(address: tuple[str, int], *, shared: bool = False) -> socket.socket:
    """A listening socket. Other processes can listen on a `shared` one too. Raises ConfigError if the address cannot be
    used."""
    bound = sockets.bind(address, shared=shared, backlog=BACKLOG)
    for level, option, value in OPTIONS:
        bound.setsockopt(level, option, value)
    bound.setblocking(False)  # noqa: FBT003 - Python's signature
    return bound
