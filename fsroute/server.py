"""Listens for FreeSWITCH: who may connect, how many, and how it stops."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer
from structlog.typing import FilteringBoundLogger

from fsroute.errors import ConfigError
from fsroute.session import Session

BACKLOG = 1024
"""Connections the kernel keeps while we are busy. With the usual 100 a burst of calls waits for SYN retransmissions:
one second, then three."""


@dataclass(slots=True)
class Server:
    """Accepts connections and gives each to `handle`, up to `max_calls` at once; more go to `overload`.

    `handle` and `overload` get a Session and must come to an end with it; it is closed after them.
    """

    listener: Any
    networks: tuple[IPv4Network | IPv6Network, ...]
    max_calls: int
    timeout_s: float
    handle: Callable[[Session], None]
    overload: Callable[[Session], None]
    log: FilteringBoundLogger
    active: int = 0
    _idle: Event = field(default_factory=Event)
    _stop: Event = field(default_factory=Event)

    def serve(self, drain_s: float) -> None:
        """Serves until `stop` is called; then takes no new calls and waits up to `drain_s` for those there are."""
        server = StreamServer(self.listener, self._connection)
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
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def stop(self) -> None:
        """Makes `serve` return after draining. Safe to call from a signal handler."""
        self._stop.set()

    def _connection(self, sock: Any, address: tuple[Any, ...]) -> None:
        peer = str(address[0])
        if not any(ip_address(peer) in network for network in self.networks):
            self.log.warning("connection refused", peer=peer, reason="not in the allowed networks")
            return
        self.active += 1
        self._idle.clear()
        try:
            session = Session(address, sock, self.timeout_s)
            try:
                if self.active > self.max_calls:
                    self.log.warning("call not taken", peer=peer, reason=f"{self.max_calls} calls already")
                    self.overload(session)
                else:
                    self.handle(session)
            finally:
                session.stop()
        except Exception:  # one call's defect must not end the server
            self.log.exception("call failed", peer=peer)
        finally:
            self.active -= 1
            if not self.active:
                self._idle.set()


def listen(address: tuple[str, int]) -> Any:
    """A listening socket. Raises ConfigError when the address can not be had."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        listener.close()
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "another program listens there" if in_use else getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"can not listen on {host}:{port}: {reason}") from error
    return listener
