"""Listens for FreeSWITCH: which addresses may connect, how many calls there are at once, and how the server stops."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from structlog.typing import FilteringBoundLogger

from fsroute.eventsocket import sockets
from fsroute.eventsocket.session import WORTH_WAKING, Session, Unfinished
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


_AT_ONCE = 16
"""Connections that are accepted in one round of the loop. Those that have calls are served in between."""

_TURNED_AWAY = 16
"""Connections above `max_calls` that are turned away at a time. That takes some milliseconds with a FreeSWITCH."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_OF_THE_CONNECTION = (
    errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ETIMEDOUT, errno.ENETDOWN,
    errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET,
)  # fmt: skip
"""Errors of accept that the waiting connection has: its client is gone, a firewall refuses it. The next one may be good
(accept(2), "Error handling")."""

_PAUSE_S = 0.1
"""Pause after any other error of accept: the kernel has no memory, for example."""

_SAY_EVERY_S = 10.0
"""While descriptors are short, a line says so at most this often."""


class _Acceptor(StreamServer):
    """Leaves a connection open when its handler returns: the call may only have paused. Hands out plain sockets: each of
    gevent's has watchers and timers of its own, for waits that hardly ever happen.

    When the process has no descriptor left, a connection would wait in the kernel's queue, and FreeSWITCH with it, for as
    long as the caller does. So a spare descriptor is kept, with which such connections are accepted and closed:
    FreeSWITCH goes on with the dialplan's next action.
    """

    max_accept = _AT_ONCE

    def __init__(self, listener: socket.socket, handle: Callable[..., None], log: FilteringBoundLogger) -> None:
        super().__init__(listener, handle, spawn=None)  # None: at once, in the hub
        self._log = log
        self._spare = _spare()
        self._closed = 0
        self._say_at = 0.0

    def do_read(self) -> tuple[socket.socket, Any] | None:  # type: ignore[override]  # BaseServer takes None for "no more"
        """The next connection, if there is one. Raises nothing."""
        try:
            accepted, address = self.socket.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._close_one(error)
            elif error.errno not in _OF_THE_CONNECTION:
                self._pause()
            return None
        if self._closed:
            self._say("there are some again")
        accepted.setblocking(False)  # noqa: FBT003 - Python's signature
        return accepted, address

    def _close_one(self, why: OSError) -> None:
        if self._spare is not None:
            os.close(self._spare)
        try:
            self.socket.accept()[0].close()
        except BlockingIOError:  # the kernel looks for a descriptor before it looks for a connection: there was none
            return
        except OSError:
            self._pause()
        else:
            self._closed += 1
        finally:
            self._spare = _spare()
        self._say(str(why.strerror))

    def _say(self, reason: str) -> None:
        now = time.monotonic()
        if now >= self._say_at:
            closed, self._closed, self._say_at = self._closed, 0, now + _SAY_EVERY_S
            self._log.error("no descriptor left", closed=closed, reason=reason)

    def _pause(self) -> None:
        self.stop_accepting()
        self._resuming: Any = self.loop.timer(_PAUSE_S)
        self._resuming.start(self._resume)

    def _resume(self) -> None:
        if self.started:
            self.start_accepting()

    def do_close(self, *_: Any) -> None:
        """Nothing: sessions close their sockets."""

    def close(self) -> None:
        """Closes the listener."""
        super().close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def _spare() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


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

    A connection that has not sent a call does not keep a call away: if there are `max_calls` connections, the oldest of
    those without a call is closed for the next one. So a FreeSWITCH, which sends the call within milliseconds, gets through
    beside any number of connections that send nothing.

    `handle` controls a call and yields before each wait, with what it waits for. During the wait the server keeps the
    iterator, the session and a watcher of its socket, and no greenlet. The server closes the session in the end.
    """

    listeners: Sequence[socket.socket]
    networks: tuple[IPv4Network | IPv6Network, ...]
    max_calls: int
    timeout_s: float
    handle: Callable[[Session], Iterator[Wait]]
    overload: Callable[[Session], None]
    log: FilteringBoundLogger
    closed: Callable[[], object] = lambda: None
    """Called when the server has closed its listening sockets."""
    _taken: dict[Session, None] = field(default_factory=dict)
    _silent: dict[Session, None] = field(default_factory=dict)  # those of _taken that have not sent a call, the oldest first
    _turned_away: dict[Session, None] = field(default_factory=dict)
    _unfinished: Unfinished = field(default_factory=Unfinished)
    _greenlets: Greenlets = field(default_factory=Greenlets)
    _allowed: set[str] = field(default_factory=set)
    _idle: Event = field(default_factory=Event)
    _leave: Event = field(default_factory=Event)
    _stop: Event = field(default_factory=Event)

    @property
    def active(self) -> int:
        """The connections that have a place, calls or not."""
        return len(self._taken)

    def serve(self, drain_s: float) -> None:
        """Serves until `stop` or `retire` is called. Then takes no new calls, and waits for the calls that it has: as long
        as they last, but no longer than `drain_s` after `stop`."""
        acceptors = [_Acceptor(each, self._connection, self.log) for each in self.listeners]
        for acceptor in acceptors:
            acceptor.start()
        try:
            self._leave.wait()
        finally:
            for acceptor in acceptors:
                acceptor.close()  # closes its socket: with the last copy FreeSWITCH is refused, and tries its next host
        self.closed()
        self.log.info("draining", calls=self.active, seconds=drain_s if self._stop.is_set() else None)
        if self.active:
            gevent.wait((self._idle, self._stop), count=1)
        if self.active and not self._idle.wait(drain_s):
            self.log.warning("calls left to FreeSWITCH", calls=self.active)

    @property
    def address(self) -> str:
        """The address of the listening socket, with the port that the kernel chose for port 0."""
        return ", ".join(dict.fromkeys(map(sockets.written, self.listeners)))

    def stop(self) -> None:
        """Makes `serve` return: when the calls have ended, or after its `drain_s`. Safe in a signal handler."""
        self._stop.set()
        self._leave.set()

    def retire(self) -> None:
        """Makes `serve` take no new calls, and return after the last one."""
        self._leave.set()

    def _connection(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        """Takes a connection. Raises nothing: gevent would pause for it."""
        try:
            self._take(sock, _readable(str(address[0])))
        except Exception:  # a defect
            sock.close()
            with suppress(Exception):
                self.log.exception("call failed", peer=str(address))

    def _take(self, sock: socket.socket, peer: str) -> None:
        if not self._may_connect(peer):
            sock.close()
            self.log.warning("connection refused", peer=peer, reason="not in the allowed networks")
            return
        session = Session(peer, sock, self.timeout_s, self._unfinished)
        if len(self._taken) >= self.max_calls and not self._make_place():
            self._turn_away(session)
            return
        self._taken[session] = self._silent[session] = None
        self._idle.clear()
        # In the hub, which must not wait. A call's first step only writes, and the connection's send buffer is empty.
        self._advance(session, self.handle(session))

    def _make_place(self) -> bool:
        """Closes the connection that has been silent for longest, if there is one."""
        for silent in self._silent:
            self._forget(silent)
            silent.shed("it sent no call, and another connection needed its place")
            return True
        return False

    def _turn_away(self, session: Session) -> None:
        if len(self._turned_away) >= _TURNED_AWAY:
            oldest = next(iter(self._turned_away))
            self._forget(oldest)
            oldest.shed("too many are turned away")
        self._turned_away[session] = None
        self._greenlets.run(self._advance, session, self._overloaded(session))
        self.log.warning("call not taken", peer=session.peer, reason=f"{self.max_calls} calls already")

    def _may_connect(self, peer: str) -> bool:
        if peer not in self._allowed:
            if not any(ip_address(peer) in network for network in self.networks):
                return False
            if len(self._allowed) >= _PEERS:
                self._allowed.clear()
            self._allowed.add(peer)
        return True

    def _overloaded(self, session: Session) -> Iterator[Wait]:
        self.overload(session)
        yield from ()

    def _advance(self, session: Session, call: Iterator[Wait]) -> None:
        """Runs a call to its next wait, or to its end. The place is free after its end, whatever happens."""
        waits = False
        try:
            wait = next(call, None)
            if wait is not None:
                if session.is_call:
                    self._silent.pop(session, None)
                session.when_readable(partial(self._greenlets.run, self._advance, session, call), wait)
                waits = True
        except Exception:  # a defect in one call must not end the server
            self.log.exception("call failed", peer=session.peer)
        finally:
            if not waits:
                self._forget(session)
                session.close()

    def _forget(self, session: Session) -> None:
        self._silent.pop(session, None)
        self._turned_away.pop(session, None)
        if session in self._taken:
            del self._taken[session]
            if not self._taken:
                self._idle.set()


def _readable(peer: str) -> str:
    """An address as settings have it: an IPv4 address of a listener for both without its IPv6 form, and none with a zone."""
    address = peer.partition("%")[0]
    mapped = address.removeprefix("::ffff:")
    return mapped if "." in mapped else address


def listen(address: tuple[str, int], *, shared: bool = False) -> socket.socket:
    """A listening socket. Other processes can listen on a `shared` one too. Raises ConfigError if the address cannot be
    used."""
    bound = sockets.bind(address, shared=shared, backlog=BACKLOG)
    listen_on(bound)
    return bound


def listen_on(bound: socket.socket) -> None:
    """Makes a bound socket listen, or listen on with this server's options."""
    for level, option, value in OPTIONS:
        bound.setsockopt(level, option, value)
    bound.setblocking(False)  # noqa: FBT003 - Python's signature
    bound.listen(BACKLOG)
