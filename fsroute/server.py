"""Listens for FreeSWITCH: who may connect, how many, and how it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer
from structlog.typing import FilteringBoundLogger

from fsroute import ports
from fsroute.session import Session

BACKLOG = 1024
"""Connections the kernel keeps while we are busy. With the usual 100 a burst of calls waits for SYN retransmissions:
one second, then three."""


_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Each connection has them from the socket that listens. A wait for the end of a call has no deadline, but it must end when
the switch's machine has gone without a word: after about a minute (30 s, then three times 10 s). FreeSWITCH does the same on
its side (30 s)."""

_PEERS = 1000
"""Addresses of which is remembered that they may connect. There are few switches."""


class _Acceptor(StreamServer):
    """Leaves a connection open when its greenlet ends: the call may only have paused."""

    def do_close(self, *_: Any) -> None:
        """Nothing: sessions close their sockets."""


@dataclass(slots=True)
class Server:
    """Accepts connections and gives each to `handle`, up to `max_calls` at once; more go to `overload`.

    `handle` leads a call and pauses where it waits for something that may last as long as a call: meanwhile there is
    nothing but the iterator, the session and a watcher of its socket, and no greenlet. A session is closed in the end.
    """

    listener: Any
    networks: tuple[IPv4Network | IPv6Network, ...]
    max_calls: int
    timeout_s: float
    handle: Callable[[Session], Iterator[None]]
    overload: Callable[[Session], None]
    log: FilteringBoundLogger
    active: int = 0
    _allowed: set[str] = field(default_factory=set)
    _idle: Event = field(default_factory=Event)
    _stop: Event = field(default_factory=Event)

    def serve(self, drain_s: float) -> None:
        """Serves until `stop` is called; then takes no new calls and waits up to `drain_s` for those there are."""
        server = _Acceptor(self.listener, self._connection, spawn=gevent.spawn_raw)  # type: ignore[call-overload]  # any function will do
        server.start()
        try:
            self._stop.wait()
        finally:
            server.close()  # closes the listener: from here on FreeSWITCH is refused and tries its next host
        self.log.info("draining", calls=self.active, seconds=drain_s)
        if self.active and not self._idle.wait(drain_s):
            self.log.warning("left calls to FreeSWITCH", calls=self.active)

    @property
    def address(self) -> str:
        """Where it listens, with the port that port 0 became."""
        return ports.written(self.listener)

    def stop(self) -> None:
        """Makes `serve` return after draining. Safe to call from a signal handler."""
        self._stop.set()

    def _connection(self, sock: Any, address: tuple[Any, ...]) -> None:
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
            self._lead(session, self._refuse(session))
        else:
            self._lead(session, self.handle(session))

    def _may_connect(self, peer: str) -> bool:
        if peer not in self._allowed:
            if not any(ip_address(peer) in network for network in self.networks):
                return False
            if len(self._allowed) >= _PEERS:
                self._allowed.clear()
            self._allowed.add(peer)
        return True

    def _refuse(self, session: Session) -> Iterator[None]:
        self.overload(session)
        yield from ()

    def _lead(self, session: Session, call: Iterator[None]) -> None:
        """Leads a call to its next pause, or its end."""
        try:
            for _ in call:
                session.when_readable(lambda: gevent.spawn_raw(self._lead, session, call))
                return
        except Exception:  # one call's defect must not end the server
            self.log.exception("call failed", peer=session.peer)
        session.stop()
        self.active -= 1
        if not self.active:
            self._idle.set()


def listen(address: tuple[str, int], *, shared: bool = False) -> Any:
    """A listening socket, which other processes may share if they say so too. Raises ConfigError when the address can not
    be had."""
    bound = ports.bind(address, shared=shared, backlog=BACKLOG)
    for level, option, value in _OPTIONS:
        bound.setsockopt(level, option, value)
    return socket.socket(bound.family, bound.type, fileno=bound.detach())
