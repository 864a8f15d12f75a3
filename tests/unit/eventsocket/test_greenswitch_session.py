"""greenswitch's verbs over a session: every public member, against the simulated channel."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from greenswitch.esl import NotConnectedError, OutboundSession, OutboundSessionHasGoneAway

from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.eventsocket.greenswitch_session import GreenswitchSession
from fsroute.eventsocket.session import Session, SessionGone
from fsroute.simulator.dialstring_reader import Parsed
from fsroute.simulator.simulated_channel import Result, SimulatedChannel, read_commands

CALLER = "+493023125001"


def busy(_: Parsed) -> Result:
    return Result({"originate_disposition": "USER_BUSY"})


def simulated(**variables: str) -> SimulatedChannel:
    profile = {"Unique-ID": "c1", "Caller-Caller-ID-Number": CALLER}
    return SimulatedChannel(profile, {"uuid": "c1", "call_uuid": "c0", **variables}, busy)


@contextmanager
def session_of(channel: SimulatedChannel, answer: Callable[[Any], bytes] | None = None) -> Iterator[GreenswitchSession]:
    """A session whose commands the channel answers, in a thread, because the channel's sockets block."""
    ours, switch = socket.socketpair()
    ours.setblocking(False)
    switch.settimeout(5)

    def serve() -> None:
        with switch:
            for command in read_commands(switch):
                switch.sendall((answer or channel.reply_to)(command))
                if channel.hangup_cause is not None:
                    return

    serving = gevent.get_hub().threadpool.spawn(serve)
    session = GreenswitchSession(Session("127.0.0.1", ours, 0.5))
    try:
        yield session
    finally:
        session.stop()
        serving.get()


def executed(channel: SimulatedChannel) -> list[tuple[str, str]]:
    return [(command.application, command.argument) for command in channel.commands if command.application]


VERBS: dict[str, tuple[Callable[[GreenswitchSession], object], tuple[str, str]]] = {
    "answer": (GreenswitchSession.answer, ("answer", "")),
    "park": (GreenswitchSession.park, ("park", "")),
    "bridge": (lambda session: session.bridge("user/1001"), ("bridge", "user/1001")),
    "playback": (lambda session: session.playback("a.wav", block=False), ("playback", "a.wav")),
    "playback, block": (lambda session: session.playback("a.wav"), ("playback", "a.wav")),
    "say": (lambda session: session.say(text="12"), ("say", "en NUMBER pronounced FEMININE 12")),
    "call_command": (lambda session: session.call_command("sleep", "1", block=True), ("sleep", "1")),
    "play_and_get_digits": (
        lambda session: session.play_and_get_digits(1, 4, 3, 5000, "#", "a.wav", "b.wav", "pin", "[0-9]", 100, "fail"),
        ("play_and_get_digits", "1 4 3 5000 # a.wav b.wav pin [0-9] 100 fail"),
    ),
}


@pytest.mark.parametrize(("verb", "expected"), VERBS.values(), ids=VERBS.keys())
def test_a_verb_runs_its_application(verb: Callable[[GreenswitchSession], object], expected: tuple[str, str]) -> None:
    channel = simulated()
    with session_of(channel) as session:
        session.connect()
        verb(session)
    assert executed(channel) == [expected]


def test_results_are_what_greenswitch_gives() -> None:
    with session_of(simulated(pin="4711")) as session:
        session.connect()
        assert session.answer() == "+OK"
        assert session.bridge("user/1001").headers["Reply-Text"] == "+OK"
        assert session.playback("a.wav").headers["variable_pin"] == "4711"
        assert session.say(text="1").headers["Unique-ID"] == "c1"
        assert session.play_and_get_digits(variable="pin") == "4711"
        assert session.playback("a.wav", block=False) is None


def test_connect_takes_the_call_over_once() -> None:
    channel = simulated()
    with session_of(channel) as session:
        assert (session.uuid, session.connected) == (None, True)
        data = session.connect()
        assert session.connect() is data is session.session_data
        assert (session.uuid, session.call_uuid, session.caller_id_number) == ("c1", "c0", CALLER)
    assert [command.name for command in channel.commands] == ["connect"]


def test_hangup_ends_the_call_also_before_connect() -> None:
    channel = simulated()
    with session_of(channel) as session:
        session.hangup("USER_BUSY")
        assert not session.connected
    assert channel.hangup_cause == "USER_BUSY"


def test_a_session_knows_whether_its_call_is_connected() -> None:
    with session_of(simulated()) as session:
        with pytest.raises(OutboundSessionHasGoneAway):
            session.raise_if_disconnected()
        session.connect()
        session.raise_if_disconnected()
        with session.while_connected():
            session.answer()
        session.stop()
        with pytest.raises(OutboundSessionHasGoneAway), session.while_connected():
            pass


def test_the_end_of_a_call_raises_what_greenswitch_promises() -> None:
    channel = simulated()
    with session_of(channel) as session:
        session.connect()
        channel.bridge = lambda _: Result({}, hung_up=True)
        session.bridge("user/1001")
        with pytest.raises(SessionGone) as raised:
            session.answer()
    assert isinstance(raised.value, Disconnected)
    assert isinstance(raised.value, OutboundSessionHasGoneAway)
    assert isinstance(raised.value, NotConnectedError)


def test_a_refused_application_is_an_error() -> None:
    refused = b"Content-Type: command/reply\nReply-Text: -ERR no\n\n"
    with session_of(simulated(), lambda _: refused) as session:
        with pytest.raises(ProtocolError, match="FreeSWITCH refused 'answer': '-ERR no'"):
            session.answer()
        with pytest.raises(ProtocolError, match="FreeSWITCH refused 'exit': '-ERR no'"):
            session.send("exit")


def test_a_line_end_in_an_argument_is_refused() -> None:
    channel = simulated()
    with session_of(channel) as session:
        with pytest.raises(ProtocolError, match="line end or NUL"):
            session.bridge("user/1001\n\napi system x")
        with pytest.raises(ProtocolError, match="line end or NUL"):
            session.send("exit\n\nexit")
    assert channel.commands == []


def test_a_command_without_a_reply_has_a_deadline() -> None:
    with session_of(simulated(), lambda _: b"") as session:
        with pytest.raises(ReplyTimeout):
            session.send("exit")
        with pytest.raises(ReplyTimeout):
            session.call_command("park", response_timeout=0.1)


def test_async_mode_is_refused() -> None:
    snapshot = simulated().snapshot().replace(b"static", b"async")
    with session_of(simulated(), lambda _: snapshot) as session, pytest.raises(ProtocolError, match="needs sync mode"):
        session.connect()


REFUSED: dict[str, tuple[Any, ...]] = {
    "handle_event": (None,),
    "linger": (),
    "myevents": (),
    "on_disconnect": (None,),
    "on_event": (None,),
    "on_hangup": (None,),
    "process_events": (),
    "receive_events": (),
    "register_handle": ("*", print),
    "start_event_handlers": (),
    "unregister_handle": ("*", print),
    "uuid_break": (),
}

WORKING = {
    "answer", "bridge", "call_command", "call_uuid", "caller_id_number", "connect", "hangup", "park", "play_and_get_digits",
    "playback", "raise_if_disconnected", "register_expected_event", "say", "send", "stop", "uuid", "while_connected",
}  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), REFUSED.items(), ids=REFUSED.keys())
def test_what_needs_events_is_refused(name: str, arguments: tuple[Any, ...]) -> None:
    channel = simulated()
    with session_of(channel) as session:
        session.connect()
        with pytest.raises(ProtocolError, match="in sync mode"):
            getattr(session, name)(*arguments)
    assert len(channel.commands) == 1


def test_every_public_member_of_greenswitch_is_tested_here() -> None:
    public = {name for name in dir(OutboundSession) if not name.startswith("_")}
    assert public == REFUSED.keys() | WORKING
