"""The server in this process, with real connections on 127.0.0.1 and handlers of a few lines."""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network
from typing import Any

import gevent
import pytest
from structlog.testing import CapturingLogger

from fsroute.errors import ConfigError, FsrouteError
from fsroute.eventsocket import server as servers
from fsroute.eventsocket import sockets
from fsroute.eventsocket.server import Server, listen
from fsroute.eventsocket.session import WORTH_WAKING, Session
from fsroute.eventsocket.wait import Wait

PATIENCE_S = 5.0
SNAPSHOT = (
    b"Event-Name: CHANNEL_DATA\nvariable_a: "
    + b"x" * WORTH_WAKING
    + b"\nContent-Type: command/reply\nSocket-Mode: static\n\n"
)


def until(is_so: Callable[[], Any]) -> None:
    with gevent.Timeout(PATIENCE_S):
        while not is_so():
            gevent.sleep(0.005)


@dataclass
class Calls:
    """Handlers that request snapshots and pause until one is there, and what became of them."""

    pauses: int = 1
    wait: Wait = Wait.CALL
    begun: int = 0
    ended: int = 0
    turned_away: int = 0
    greenlets: list[Any] = field(default_factory=list)
    error: Exception | None = None

    def handle(self, session: Session) -> Iterator[Wait]:
        self.begun += 1
        for _ in range(self.pauses):
            session.execute((), snapshot=True)
            yield self.wait
            self.greenlets.append(gevent.getcurrent())
            with suppress(FsrouteError):
                session.first_snapshot()
        self.ended += 1
        if self.error is not None:
            raise self.error

    def has_gone_on(self, times: int) -> bool:
        return len(self.greenlets) == times

    def overload(self, session: Session) -> None:  # noqa: ARG002 - the server's signature
        self.turned_away += 1
        if self.error is not None:
            raise self.error


@contextmanager
def serving(
    calls: Calls, networks: tuple[str, ...] = ("127.0.0.0/8",), max_calls: int = 10, drain_s: float = 0.0
) -> Iterator[Any]:
    """A server, the greenlet that serves, and its log."""
    log = CapturingLogger()
    server = Server(
        [listen(("127.0.0.1", 0))], tuple(map(ip_network, networks)), max_calls, 0.2, calls.handle, calls.overload,
        log,
    )  # fmt: skip
    greenlet = gevent.spawn(server.serve, drain_s)
    gevent.sleep(0)
    try:
        yield server, greenlet, log
    finally:
        server.stop()
        greenlet.join(PATIENCE_S)
        assert greenlet.successful()


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    sock = socket.create_connection((host, int(port)), PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def logged(log: CapturingLogger) -> list[tuple[str, str, dict[str, Any]]]:
    return [(call.method_name, call.args[0], call.kwargs) for call in log.calls]


# --- calls ------------------------------------------------------------------------------------------------


def test_a_call_goes_on_when_its_connection_has_something_to_read_and_is_closed_at_its_end() -> None:
    calls = Calls(pauses=2)
    with serving(calls) as (server, _, _), connect(server) as sock:
        until(lambda: calls.begun == 1)
        assert (calls.ended, server.active) == (0, 1)
        sock.sendall(SNAPSHOT)
        until(lambda: len(calls.greenlets) == 1)
        assert not is_closed(sock)
        sock.sendall(SNAPSHOT)
        until(lambda: is_closed(sock))
        assert (calls.ended, server.active) == (1, 0)


def test_a_call_without_a_pause_ends_at_once() -> None:
    calls = Calls(pauses=0)
    with serving(calls) as (server, _, _), connect(server) as sock:
        until(lambda: is_closed(sock))
        assert (calls.ended, server.active) == (1, 0)


def test_a_call_that_waits_for_a_reply_goes_on_at_its_deadline() -> None:
    calls = Calls(wait=Wait.REPLY)
    with serving(calls) as (server, _, _), connect(server) as sock:
        until(lambda: calls.greenlets)  # nothing was sent
        until(lambda: is_closed(sock))


def test_a_defect_in_a_call_closes_it_and_the_server_goes_on() -> None:
    calls = Calls(pauses=0, error=ValueError("a defect"))
    with serving(calls) as (server, _, log):
        for _ in range(2):
            with connect(server) as sock:
                until(partial(is_closed, sock))
        assert logged(log) == [("exception", "call failed", {"peer": "127.0.0.1"})] * 2
        assert server.active == 0


def test_connections_have_the_options_of_the_listening_socket() -> None:
    found: list[int] = []

    class Looking(Calls):
        def handle(self, session: Session) -> Iterator[Wait]:
            found.extend(session.sock.getsockopt(level, option) for level, option, _ in servers.OPTIONS)
            yield from super().handle(session)

    calls = Looking(pauses=0)
    with serving(calls) as (server, _, _), connect(server):
        until(lambda: calls.ended)
    assert found == [value for _, _, value in servers.OPTIONS]


# --- limits -----------------------------------------------------------------------------------------------


def test_calls_above_the_limit_are_turned_away() -> None:
    calls = Calls(pauses=2)
    with serving(calls, max_calls=2) as (server, _, log):
        socks = [connect(server) for _ in range(2)]
        for sock in socks:
            sock.sendall(SNAPSHOT)
        until(lambda: calls.has_gone_on(2))
        socks.append(connect(server))
        until(lambda: calls.turned_away == 1)
        assert (calls.begun, server.active) == (2, 2)
        assert logged(log) == [("warning", "call not taken", {"peer": "127.0.0.1", "reason": "2 calls already"})]
        socks[0].sendall(SNAPSHOT)
        until(lambda: server.active == 1)
        socks.append(connect(server))
        until(lambda: calls.begun == 3)
        for sock in socks:
            sock.close()


def test_a_connection_that_sends_no_call_gives_its_place_to_the_next_one() -> None:
    calls = Calls(pauses=2)
    with serving(calls, max_calls=2) as (server, _, log):
        silent = [connect(server) for _ in range(2)]
        until(lambda: calls.begun == 2)
        with connect(server) as first, connect(server) as second:
            until(lambda: calls.begun == 4)
            until(lambda: all(map(is_closed, silent)))
            for sock in (first, second):
                sock.sendall(SNAPSHOT)
            until(lambda: calls.has_gone_on(4))  # the two that were closed, and the two calls
            until(lambda: server.active == 2)
            with connect(server) as third:
                until(lambda: is_closed(third))
            assert not is_closed(first)
            assert not is_closed(second)
        assert [event for _, event, _ in logged(log)].count("call not taken") == calls.turned_away == 1


def test_only_so_many_are_turned_away_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_TURNED_AWAY", 2)

    class Slow(Calls):
        def overload(self, session: Session) -> None:
            super().overload(session)
            session.timeout_s = PATIENCE_S
            with suppress(FsrouteError):
                session.reject("CALL_REJECTED")

    calls = Slow()
    with serving(calls, max_calls=0) as (server, _, _):
        socks = []
        for number in range(5):
            socks.append(connect(server))
            until(partial(lambda count: calls.turned_away == count, number + 1))
        until(lambda: sum(map(is_over, socks)) == 3)
        assert list(map(is_over, socks)) == [True, True, True, False, False]
        for sock in socks:
            sock.close()


def is_over(sock: socket.socket) -> bool:
    """Whether the server has closed the connection, perhaps after some commands."""
    sock.setblocking(False)
    try:
        return b"" in (sock.recv(1000), sock.recv(1000))
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    "failing", ["connection refused", "call not taken", "call failed", "no descriptor left", "draining"]
)
def test_a_log_that_raises_costs_no_place(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    class Raising(CapturingLogger):
        def __getattr__(self, name: str) -> Any:
            def log(event: str, **_: Any) -> None:
                if event == failing:
                    raise OSError("No space left on device")

            return log

    calls = Calls(error=ValueError("a defect"), pauses=0)
    server = Server(
        [listen(("127.0.0.1", 0))], (ip_network("127.0.0.0/8"),), 2, 0.2, calls.handle, calls.overload, Raising()
    )  # fmt: skip
    greenlet = gevent.spawn(server.serve, 0.0)
    gevent.sleep(0)
    for _ in range(5):
        with connect(server) as sock:
            until(partial(is_closed, sock))
    until(lambda: server.active == 0)
    server.max_calls = 0
    with connect(server) as sock:
        until(partial(is_closed, sock))
    server.networks = ()
    server._allowed.clear()  # noqa: SLF001 - as if the address had never connected
    with connect(server) as sock:
        until(partial(is_closed, sock))
    server.stop()
    greenlet.join(PATIENCE_S)
    assert (greenlet.ready(), server.active, calls.begun) == (True, 0, 5)


def test_a_defect_in_turning_away_does_not_end_the_server() -> None:
    calls = Calls(pauses=0, error=ValueError("a defect"))
    with serving(calls, max_calls=0) as (server, _, log), connect(server) as sock:
        until(lambda: is_closed(sock))
        until(lambda: server.active == 0)
        assert [event for _, event, _ in logged(log)] == ["call not taken", "call failed"]


@pytest.mark.parametrize(
    ("networks", "allowed"),
    [(("127.0.0.1/32",), True), (("10.0.0.0/8", "::1/128", "127.0.0.0/8"), True), (("10.0.0.0/8",), False)],
)
def test_only_the_allowed_networks_may_connect(networks: tuple[str, ...], allowed: bool) -> None:
    calls = Calls(pauses=0)
    with serving(calls, networks) as (server, _, log):
        for _ in range(2):
            with connect(server) as sock:
                until(partial(is_closed, sock))
        assert calls.begun == (2 if allowed else 0)
        refused = ("warning", "connection refused", {"peer": "127.0.0.1", "reason": "not in the allowed networks"})
        assert logged(log) == ([] if allowed else [refused] * 2)
        assert server.active == 0


@pytest.mark.parametrize(
    ("peer", "networks", "allowed"),
    [
        ("::ffff:127.0.0.1", "127.0.0.0/8", True),
        ("::ffff:10.0.0.1", "127.0.0.0/8", False),
        ("::1", "::1/128", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("fe80::1%eth0", "2001:db8::/32", False),
        ("", "0.0.0.0/0", False),
    ],
)
def test_addresses_of_a_listener_for_both_families(peer: str, networks: str, allowed: bool) -> None:
    with serving(calls := Calls(pauses=0), (networks,)) as (server, _, _):
        ours, theirs = socket.socketpair()
        with theirs:
            server._connection(ours, (peer, 5060))  # noqa: SLF001 - this machine need not have the address
            until(partial(is_closed, theirs))
    assert calls.begun == allowed


def test_the_memory_of_allowed_addresses_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_PEERS", 3)
    with serving(Calls()) as (server, _, _):
        for number in range(10):
            assert server._may_connect(f"127.0.0.{number}")  # noqa: SLF001 - connections come from few addresses
            assert len(server._allowed) <= 3  # noqa: SLF001 - the same
        assert not server._may_connect("192.0.2.1")  # noqa: SLF001 - the same


class Failing:
    """A listening socket whose next accepts fail like this."""

    def __init__(self, listener: socket.socket, *errors: int) -> None:
        self.errors = list(errors)
        self.accepts = 0
        self._listener = listener

    def accept(self) -> Any:
        self.accepts += 1
        if self.errors:
            raise OSError(number := self.errors.pop(0), os.strerror(number))
        return self._listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


@pytest.mark.parametrize(
    "error", [errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.EINVAL, errno.EIO, errno.ENOMEM, errno.EMFILE]
)
def test_an_accept_that_fails_stops_no_other_connection(error: int) -> None:
    calls = Calls(pauses=0)
    with serving(calls) as (server, greenlet, log):
        (acceptor,) = (each for each in gc.get_objects() if isinstance(each, servers._Acceptor) and each.started)  # noqa: SLF001
        failing: Any = Failing(acceptor.socket, error, error)
        acceptor.socket = failing
        for _ in range(3):
            with connect(server) as sock:
                until(partial(is_closed, sock))
        assert not failing.errors
        assert calls.begun >= 2
        assert failing.accepts < 20
        assert not greenlet.ready()
        said = [(event, fields["reason"]) for _, event, fields in logged(log)]
        assert said == ([("no descriptor left", os.strerror(error))] if error in (errno.EMFILE, errno.ENOMEM) else [])


# --- the end ----------------------------------------------------------------------------------------------


def test_stopping_takes_no_new_calls_and_lets_running_ones_finish() -> None:
    calls = Calls()
    with serving(calls, drain_s=PATIENCE_S) as (server, greenlet, log), connect(server) as sock:
        until(lambda: calls.begun == 1)
        address = server.address
        server.stop()
        until(lambda: logged(log))
        assert logged(log) == [("info", "draining", {"calls": 1, "seconds": PATIENCE_S})]
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))
        assert not greenlet.ready()
        sock.sendall(SNAPSHOT)
        greenlet.join(PATIENCE_S)
        assert (greenlet.ready(), calls.ended) == (True, 1)


def test_calls_that_do_not_end_in_time_are_left_to_freeswitch() -> None:
    calls = Calls()
    with serving(calls, drain_s=0.05) as (server, greenlet, log), connect(server) as sock:
        until(lambda: calls.begun == 1)
        server.stop()
        greenlet.join(PATIENCE_S)
        assert logged(log)[1:] == [("warning", "calls left to FreeSWITCH", {"calls": 1})]
        assert not is_closed(sock)


def test_a_retired_server_ends_after_its_last_call_however_long_that_takes() -> None:
    calls, closed = Calls(), []
    with serving(calls, drain_s=0.05) as (server, greenlet, log), connect(server) as sock:
        until(lambda: calls.begun == 1)
        server.closed = lambda: closed.append(server.active)
        server.retire()
        until(lambda: closed)
        gevent.sleep(0.2)
        assert logged(log) == [("info", "draining", {"calls": 1, "seconds": None})]
        assert not greenlet.ready()
        sock.sendall(SNAPSHOT)
        greenlet.join(PATIENCE_S)
        assert (greenlet.ready(), calls.ended, closed) == (True, 1, [1])
        assert len(logged(log)) == 1


def test_a_retired_server_that_is_stopped_waits_no_longer_than_its_limit() -> None:
    calls = Calls()
    with serving(calls, drain_s=0.05) as (server, greenlet, log), connect(server):
        until(lambda: calls.begun == 1)
        server.retire()
        until(lambda: logged(log))
        server.stop()
        greenlet.join(PATIENCE_S)
        assert greenlet.ready()
        assert logged(log)[1:] == [("warning", "calls left to FreeSWITCH", {"calls": 1})]


def test_connections_in_a_socket_of_which_another_copy_is_open_are_not_lost() -> None:
    calls = Calls(pauses=0)
    with listen(("127.0.0.1", 0)) as kept:
        first = Server([kept.dup()], (ip_network("127.0.0.0/8"),), 10, 0.2, calls.handle, calls.overload, CapturingLogger())
        greenlet = gevent.spawn(first.serve, 0.0)
        gevent.sleep(0)
        first.retire()
        greenlet.join(PATIENCE_S)
        with socket.create_connection(kept.getsockname(), PATIENCE_S) as sock:
            second = Server([kept.dup()], first.networks, 10, 0.2, calls.handle, calls.overload, CapturingLogger())
            greenlet = gevent.spawn(second.serve, 0.0)
            until(lambda: is_closed(sock))
            assert calls.ended == 1
            second.stop()
            greenlet.join(PATIENCE_S)


def test_a_server_takes_calls_from_all_its_sockets() -> None:
    calls = Calls(pauses=0)
    with listen(("127.0.0.1", 0)) as one, listen(("127.0.0.2", 0)) as other:
        server = Server([one, other], (ip_network("127.0.0.0/8"),), 10, 0.2, calls.handle, calls.overload, CapturingLogger())
        assert server.address == f"{sockets.written(one)}, {sockets.written(other)}"
        greenlet = gevent.spawn(server.serve, 0.0)
        gevent.sleep(0)
        for each in (one.getsockname(), other.getsockname()):
            with socket.create_connection(each, PATIENCE_S) as sock:
                until(partial(is_closed, sock))
        server.stop()
        greenlet.join(PATIENCE_S)
    assert calls.ended == 2


# --- greenlets --------------------------------------------------------------------------------------------


def test_a_greenlet_is_used_again_for_the_next_step() -> None:
    calls = Calls(pauses=5)
    with serving(calls) as (server, _, _), connect(server) as sock:
        for step in range(5):
            sock.sendall(SNAPSHOT)
            until(partial(calls.has_gone_on, step + 1))
    assert len(set(map(id, calls.greenlets))) == 1


def test_only_so_many_greenlets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_IDLE", 3)
    greenlets, used = servers.Greenlets(), []

    def work(seconds: float) -> None:
        used.append(gevent.getcurrent())
        gevent.sleep(seconds)

    for _ in range(10):
        greenlets.run(work, 0.01)
    until(lambda: len(used) == 10 and len(greenlets.idle) == 3)
    gevent.sleep(0.05)
    assert sum(not greenlet.dead for greenlet in used) == 3
    greenlets.run(work, 0)
    until(lambda: len(used) == 11)
    assert used[10] in used[:10]


# --- sockets ----------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_says_so() -> None:
    with listen(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: another program listens there"):
            listen(("127.0.0.1", port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no host", "x" * 300])
def test_an_address_that_cannot_be_used_says_why(host: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on .*: [A-Za-z]"):
        sockets.bind((host, 0))


def test_a_shared_port_is_shared_only_with_those_who_share() -> None:
    with sockets.bind(("127.0.0.1", 0), shared=True) as held:
        port = held.getsockname()[1]
        with listen(("127.0.0.1", port), shared=True), listen(("127.0.0.1", port), shared=True):
            pass
        with listen(("127.0.0.1", port), shared=True), pytest.raises(ConfigError, match="another program listens there"):
            sockets.bind(("127.0.0.1", port))


@pytest.mark.parametrize(("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_an_address_is_written_as_settings_have_it(host: str, written: str) -> None:
    try:
        bound = sockets.bind((host, 0))
    except ConfigError:
        pytest.skip(f"this machine has no {host}")
    with bound:
        assert sockets.written(bound) == f"{written}:{bound.getsockname()[1]}"
