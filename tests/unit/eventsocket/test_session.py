"""A session on a socket pair: the test writes what FreeSWITCH would."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest
from greenswitch.esl import NotConnectedError, OutboundSessionHasGoneAway

from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.eventsocket import frames
from fsroute.eventsocket import session as sessions
from fsroute.eventsocket.frames import End, Execute
from fsroute.eventsocket.session import WORTH_WAKING, Session, SessionGone, Unfinished
from fsroute.eventsocket.wait import Wait

TIMEOUT_S, SOON_S = 0.3, 0.05
OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
REFUSED = b"Content-Type: command/reply\nReply-Text: -ERR no such application\n\n"
NOTICE = b"Content-Type: text/disconnect-notice\nContent-Length: 4\n\nBye\n"
SNAPSHOT = (
    b"Event-Name: CHANNEL_DATA\nUnique-ID: c1\nvariable_a: "
    + b"x" * WORTH_WAKING
    + b"\nContent-Type: command/reply\nReply-Text: +OK\nSocket-Mode: static\n\n"
)
RING = Execute("ring_ready")


@pytest.fixture
def pair() -> Iterator[tuple[Session, socket.socket]]:
    """A session as the server makes one, and FreeSWITCH's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WORTH_WAKING)
        switch = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    switch.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    switch.settimeout(5)
    session = Session("127.0.0.1", ours, TIMEOUT_S)
    yield session, switch
    session.close()
    switch.close()


Pair = tuple[Session, socket.socket]


def bytewise(sock: socket.socket, data: bytes) -> None:
    for byte in data:
        sock.sendall(bytes([byte]))
        gevent.sleep(0)


# --- sending ----------------------------------------------------------------------------------------------


def test_commands_and_the_request_for_a_snapshot_are_one_write(pair: Pair) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    session.execute([RING], snapshot=False)
    ring = frames.encode([RING])
    assert switch.recv(1000) == ring + b"connect\n\n" + ring


def test_nothing_of_a_batch_is_sent_if_one_command_is_more_than_one(pair: Pair) -> None:
    session, switch = pair
    with pytest.raises(ProtocolError, match="line end or NUL"):
        session.execute([RING, Execute("set", "a=b\n\napi system x")], snapshot=True)
    switch.setblocking(False)
    with pytest.raises(BlockingIOError):
        switch.recv(1)


def test_a_long_command_to_a_slow_reader_arrives_whole(pair: Pair) -> None:
    session, switch = pair
    session.timeout_s = 5.0
    command = Execute("bridge", "x" * 6_000_000)
    received = gevent.get_hub().threadpool.spawn(read_all, switch, len(frames.encode([command])))
    session.execute([command], snapshot=False)
    assert received.get() == frames.encode([command])


def read_all(sock: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        found += sock.recv(1_000_000)
    return bytes(found)


def test_a_peer_that_reads_nothing_is_given_up(pair: Pair) -> None:
    session, _ = pair
    began = time.monotonic()
    with pytest.raises(ReplyTimeout, match=r"FreeSWITCH read nothing for 0.3 s"):
        session.execute([Execute("bridge", "x" * 20_000_000)], snapshot=False)
    assert TIMEOUT_S <= time.monotonic() - began < TIMEOUT_S + 2


def test_after_the_end_nothing_can_be_sent(pair: Pair) -> None:
    session, _ = pair
    session.close()
    with pytest.raises(SessionGone, match="the connection is closed"):
        session.execute([RING], snapshot=False)


def test_a_reset_ends_the_session(pair: Pair) -> None:
    session, switch = pair
    switch.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    switch.close()
    gevent.sleep(SOON_S)
    with pytest.raises(SessionGone):
        session.execute([RING], snapshot=False)
    assert not session.connected


# --- receiving --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [socket.socket.sendall, bytewise], ids=["at once", "byte by byte"])
def test_a_snapshot_is_read_after_the_replies_before_it(pair: Pair, write: object) -> None:
    session, switch = pair
    assert callable(write)
    session.execute([RING, RING], snapshot=True)
    writer = gevent.spawn(write, switch, OK + OK + SNAPSHOT)
    frame = session.snapshot(Wait.REPLY)
    writer.join()
    assert (frame.get("Unique-ID"), frame.variable("a")) == ("c1", "x" * WORTH_WAKING)


def test_the_first_snapshot_takes_a_call_over(pair: Pair) -> None:
    session, switch = pair
    session.execute((), snapshot=True)
    switch.sendall(SNAPSHOT)
    assert session.first_snapshot().get("Unique-ID") == "c1"


def test_async_mode_is_refused(pair: Pair) -> None:
    session, switch = pair
    session.execute((), snapshot=True)
    switch.sendall(SNAPSHOT.replace(b"static", b"async"))
    with pytest.raises(ProtocolError, match="has the option async, but fsroute needs sync mode"):
        session.first_snapshot()


BAD = {
    "a refused command": (REFUSED + SNAPSHOT, ProtocolError, "FreeSWITCH refused a command: '-ERR no such application'"),
    "an event": (b"Content-Type: text/event-plain\n\n", ProtocolError, "unexpected frame 'text/event-plain'"),
    "noise": (b"\n\n", ProtocolError, "frame without Content-Type"),
    "a disconnect notice": (NOTICE, SessionGone, "the call has ended"),
}


@pytest.mark.parametrize(("data", "error", "text"), BAD.values(), ids=BAD.keys())
def test_what_is_no_snapshot_is_an_error(pair: Pair, data: bytes, error: type[Exception], text: str) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    switch.sendall(data)
    switch.shutdown(socket.SHUT_WR)
    with pytest.raises(error, match=text):
        session.snapshot(Wait.REPLY)


@pytest.mark.parametrize(("data", "text"), [(b"", "closed"), (SNAPSHOT[:-1], "closed in the middle of a frame")])
def test_a_close_ends_the_wait(pair: Pair, data: bytes, text: str) -> None:
    session, switch = pair
    session.execute((), snapshot=True)
    switch.sendall(data)
    switch.shutdown(socket.SHUT_WR)
    with pytest.raises(SessionGone) as raised:
        session.snapshot(Wait.CALL)
    assert str(raised.value) == text
    assert isinstance(raised.value, (Disconnected, OutboundSessionHasGoneAway, NotConnectedError))
    assert not session.connected


def test_a_wait_for_a_reply_has_a_deadline_from_the_last_write(pair: Pair) -> None:
    session, _ = pair
    session.execute((), snapshot=True)
    began = time.monotonic()
    with pytest.raises(ReplyTimeout, match=r"no reply from FreeSWITCH for 0.3 s"):
        session.snapshot(Wait.REPLY)
    assert TIMEOUT_S - SOON_S <= time.monotonic() - began < TIMEOUT_S + 1
    with pytest.raises(ReplyTimeout):  # it has passed, so nothing waits
        session.snapshot(Wait.REPLY)


def test_a_wait_for_the_call_has_none(pair: Pair) -> None:
    session, switch = pair
    session.execute((), snapshot=True)
    gevent.spawn_later(TIMEOUT_S * 1.5, switch.sendall, SNAPSHOT)
    assert session.snapshot(Wait.CALL).is_snapshot


# --- ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", OK, OK + NOTICE], ids=["a close", "a reply, a close", "a disconnect notice"])
def test_the_end_of_a_call_is_awaited(pair: Pair, data: bytes) -> None:
    session, switch = pair
    session.execute([End("USER_BUSY")], snapshot=False)
    switch.sendall(data)
    switch.shutdown(socket.SHUT_WR)
    session.wait_for_end(Wait.REPLY)


def test_a_call_that_does_not_end_is_given_up(pair: Pair) -> None:
    session, switch = pair
    session.execute([End("USER_BUSY")], snapshot=False)
    switch.sendall(OK)
    with pytest.raises(ReplyTimeout):
        session.wait_for_end(Wait.REPLY)


def test_a_rejection_takes_the_call_over_first(pair: Pair) -> None:
    session, switch = pair
    switch.sendall(SNAPSHOT + OK + NOTICE)
    session.reject("CALL_REJECTED")
    assert switch.recv(1000) == b"connect\n\nsendmsg\ncall-command: hangup\nhangup-cause: CALL_REJECTED\n\n"


def test_a_session_closes_once_and_again(pair: Pair) -> None:
    session, switch = pair
    session.execute((), snapshot=True)
    session.when_readable(lambda: None, Wait.REPLY)
    session.close()
    session.close()
    assert switch.recv(100) == b"connect\n\n"
    assert switch.recv(100) == b""


# --- waking up --------------------------------------------------------------------------------------------


def woken(session: Session, wait: Wait) -> list[float]:
    """When the session woke, in seconds from now; it is noted as that happens."""
    began = time.monotonic()
    found: list[float] = []
    session.when_readable(lambda: found.append(time.monotonic() - began), wait)
    return found


def test_short_replies_do_not_wake_a_call_and_a_snapshot_does(pair: Pair) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    times = woken(session, Wait.CALL)
    switch.sendall(OK * 4)
    gevent.sleep(SOON_S)
    assert times == []
    switch.sendall(SNAPSHOT)
    gevent.sleep(SOON_S)
    assert len(times) == 1


def test_a_close_wakes_a_call(pair: Pair) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    times = woken(session, Wait.CALL)
    switch.sendall(OK)
    switch.close()
    gevent.sleep(SOON_S)
    assert len(times) == 1


def test_a_session_wakes_once_for_what_comes(pair: Pair) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    times = woken(session, Wait.REPLY)
    switch.sendall(SNAPSHOT)
    gevent.sleep(SOON_S)
    switch.sendall(SNAPSHOT)
    gevent.sleep(TIMEOUT_S + SOON_S)
    assert len(times) == 1
    again = woken(session, Wait.CALL)
    gevent.sleep(SOON_S)
    assert len(again) == 1


def test_the_deadline_wakes_a_call_that_waits_for_a_reply_only(pair: Pair) -> None:
    session, _ = pair
    session.execute([RING], snapshot=True)
    times = woken(session, Wait.CALL)
    gevent.sleep(TIMEOUT_S + SOON_S)
    assert times == []
    session.execute([RING], snapshot=True)
    times = woken(session, Wait.REPLY)
    gevent.sleep(TIMEOUT_S + SOON_S)
    assert len(times) == 1
    assert times[0] >= TIMEOUT_S - SOON_S


def test_the_rest_of_a_frame_wakes_although_it_is_short(pair: Pair) -> None:
    session, switch = pair
    session.execute((), snapshot=True)
    switch.sendall(SNAPSHOT[:-2])
    reader = gevent.spawn(session.snapshot, Wait.REPLY)
    gevent.sleep(SOON_S)
    switch.sendall(SNAPSHOT[-2:])
    assert reader.get(timeout=TIMEOUT_S).is_snapshot


def test_a_request_wakes_for_its_short_reply(pair: Pair) -> None:
    session, switch = pair
    reader = gevent.spawn(session.request, b"linger 5\n\n")
    gevent.sleep(SOON_S)
    switch.sendall(OK)
    assert reader.get(timeout=TIMEOUT_S).reply_text == "+OK"


def test_a_request_for_the_call_may_have_a_bound_of_its_own(pair: Pair) -> None:
    session, _ = pair
    began = time.monotonic()
    with pytest.raises(ReplyTimeout):
        session.request(b"x\n\n", Wait.CALL, TIMEOUT_S / 3)
    assert time.monotonic() - began < TIMEOUT_S


# --- what a far end may do to others ----------------------------------------------------------------------


@pytest.mark.parametrize("wait", Wait)
def test_no_more_replies_are_read_than_commands_were_sent(pair: Pair, wait: Wait) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    switch.sendall(OK * 3)
    with pytest.raises(ProtocolError, match="more replies than commands"):
        session.snapshot(wait)


def test_a_flood_of_replies_wakes_the_call_with_an_error(pair: Pair) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    times = woken(session, Wait.CALL)
    switch.sendall(OK * 1000)
    gevent.sleep(SOON_S)
    assert len(times) == 1
    with pytest.raises(ProtocolError, match="more replies than commands"):
        session.snapshot(Wait.CALL)


def test_a_slow_frame_occupies_no_greenlet_and_has_a_deadline_although_the_call_has_none(pair: Pair) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    times = woken(session, Wait.CALL)
    began = time.monotonic()
    switch.sendall(SNAPSHOT[:-20])
    for byte in SNAPSHOT[-20:-10]:
        gevent.sleep(TIMEOUT_S / 10)
        switch.sendall(bytes([byte]))
    with gevent.Timeout(TIMEOUT_S * 10):
        while not times:
            gevent.sleep(0.01)
    assert times[0] >= TIMEOUT_S - SOON_S
    with pytest.raises(ReplyTimeout, match=r"no reply from FreeSWITCH for 0.3 s"):
        session.snapshot(Wait.CALL)
    assert time.monotonic() - began < TIMEOUT_S + 5


@pytest.mark.parametrize("wait", Wait)
def test_a_greenlet_that_reads_a_slow_frame_has_the_same_deadline(pair: Pair, wait: Wait) -> None:
    session, switch = pair
    session.execute([RING], snapshot=True)
    switch.sendall(SNAPSHOT[:-20])
    with gevent.Timeout(TIMEOUT_S * 10), pytest.raises(ReplyTimeout):
        session.snapshot(wait)


def test_the_memory_for_incomplete_frames_of_all_sessions_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_UNFINISHED", 3000)
    monkeypatch.setattr(sessions, "_SMALL", 1000)
    unfinished = Unfinished()
    pairs = [socket.socketpair() for _ in range(5)]
    made = []
    for ours, theirs in pairs:
        ours.setblocking(False)
        made.append(Session("127.0.0.1", ours, TIMEOUT_S, unfinished))
        theirs.sendall(b"X: " + b"x" * 1400)
    outcomes = []
    for session in made:
        session.execute((), snapshot=True)
        with pytest.raises(ProtocolError) as raised:
            session.snapshot(Wait.REPLY)
        outcomes.append(str(raised.value))
    full = "incomplete frames of all connections fill the memory that they may have"
    assert outcomes == ["no reply from FreeSWITCH for 0.3 s"] * 2 + [full] * 3
    pairs[0][1].sendall(b"\nContent-Type: command/reply\n\n")
    pairs[1][1].sendall(b"\n\n")
    for session in made:
        session.close()
    assert unfinished.held == 0
    for _, theirs in pairs:
        theirs.close()


def test_a_session_whose_place_is_needed_ends_with_that_reason(pair: Pair) -> None:
    session, switch = pair
    session.execute((), snapshot=True)
    times = woken(session, Wait.REPLY)
    session.shed("its place is needed")
    gevent.sleep(SOON_S)
    assert len(times) == 1
    with pytest.raises(SessionGone, match="its place is needed"):
        session.snapshot(Wait.REPLY)
    assert switch.recv(100) == b"connect\n\n"
    assert switch.recv(100) == b""
