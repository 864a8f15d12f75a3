"""The client of the inbound Event Socket, against a server that behaves like FreeSWITCH, and against others."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fsroute.errors import Disconnected, ProtocolError, ReplyTimeout
from fsroute.eventsocket import frames
from fsroute.eventsocket.client import MAX_EVENTS, EventSocketClient, Refused, connected
from fsroute.eventsocket.frames import MAX_BLOCK
from tests.support.event_socket import PASSWORD, Event, EventSocketServer, Said

SOON_S = 0.3
LATE_S = 1.0
"""By then a wait of SOON_S must have ended, on a slow machine too."""

GREETING = b"Content-Type: auth/request\n\n"
ORIGINATE = frames.background("originate {origination_uuid=c1}user/1 hangup: inline", "c1")


def answering(*said: Said) -> EventSocketServer:
    """A server whose calls end in these words."""
    return EventSocketServer([lambda _: said])


def entered(server: EventSocketServer, timeout_s: float = 5.0, password: str = PASSWORD) -> None:
    with connected(server.address, password, timeout_s):
        pass


def soon() -> float:
    return time.monotonic() + SOON_S


@contextmanager
def raising_soon(error: type[Exception], message: str) -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(error) as raised:
        yield
    assert str(raised.value) == message
    assert time.monotonic() - started < LATE_S


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server of one connection that does what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            sock, _ = listener.accept()
            with sock:
                try:
                    speak(sock)
                except OSError:
                    return  # the client has had enough

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(10)
        assert not thread.is_alive()


def until_closed(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


def test_commands_are_answered_and_events_come() -> None:
    heard = Event("CHANNEL_ANSWER", {"Unique-ID": "c1", "Caller-Caller-ID-Name": "Eve%0AUnique-ID: c2"})
    job = Event("BACKGROUND_JOB", {"Job-UUID": "c1"}, "+OK c1\n")
    with answering(heard, job) as server, connected(server.address, PASSWORD, 5.0) as switch:
        told = [frames.command(text) for text in ("event plain BACKGROUND_JOB CHANNEL_ANSWER", "filter Unique-ID c1")]
        replies = [switch.command(each).reply_text for each in (*told, frames.command("filter Job-UUID c1"), ORIGINATE)]
        events = [switch.event(soon()), switch.event(soon())]
    assert replies == [
        "+OK event listener enabled plain",
        "+OK filter added. [Unique-ID]=[c1]",
        "+OK filter added. [Job-UUID]=[c1]",
        "+OK Job-UUID: c1",
    ]
    assert [(event.get("Event-Name"), event.get("Unique-ID"), event.body) for event in events] == [
        ("CHANNEL_ANSWER", "c1", b""),
        ("BACKGROUND_JOB", "", b"+OK c1\n"),
    ]
    assert [command.name for command in server.commands] == [
        f"auth {PASSWORD}",
        "event plain BACKGROUND_JOB CHANNEL_ANSWER",
        "filter Unique-ID c1",
        "filter Job-UUID c1",
        "bgapi originate {origination_uuid=c1}user/1 hangup: inline",
    ]


def test_events_that_come_before_a_reply_are_not_lost() -> None:
    before = Event("CHANNEL_ANSWER", {"Unique-ID": "c1"}).plain() + Event("CHANNEL_BRIDGE", {}).plain()
    server = EventSocketServer([], replies={"event": before + b"Content-Type: command/reply\nReply-Text: +OK\n\n"})
    with server, connected(server.address, PASSWORD, 5.0) as switch:
        assert switch.command(frames.command("event plain ALL")).reply_text == "+OK"
        assert [switch.event(soon()).get("Event-Name") for _ in range(2)] == ["CHANNEL_ANSWER", "CHANNEL_BRIDGE"]


def test_an_api_command_is_answered_in_full() -> None:
    answers = {"global_getvar core_uuid": "5b2c0b5e", "say": "M\u00fcller\n\nEvent-Name: X\n", "nothing": ""}
    with EventSocketServer([], api=answers) as server, connected(server.address, PASSWORD, 5.0) as switch:
        assert {command: switch.api(command) for command in answers} == answers
        assert switch.api("sofia status") == "-ERR sofia status Command not found!\n"
    assert [command.name for command in server.commands] == [
        f"auth {PASSWORD}", "api global_getvar core_uuid", "api say", "api nothing", "api sofia status",
    ]  # fmt: skip


def test_an_answer_that_is_no_text_is_readable_all_the_same() -> None:
    answer = b"Content-Type: api/response\nContent-Length: 2\n\n\xffx"
    with EventSocketServer([], replies={"api": answer}) as server, connected(server.address, PASSWORD, 5.0) as switch:
        assert switch.api("status") == "\ufffdx"


def test_an_api_command_is_one_line() -> None:
    with answering() as server, connected(server.address, PASSWORD, 5.0) as switch:  # noqa: SIM117 - the inner one fails
        with pytest.raises(ProtocolError, match="a command cannot hold a line end"):
            switch.api("status\n\napi shutdown")
    assert [command.name for command in server.commands] == [f"auth {PASSWORD}"]


def test_events_that_come_before_an_answer_are_not_lost() -> None:
    events = Event("CHANNEL_ANSWER", {}).plain() + Event("CHANNEL_BRIDGE", {}).plain()
    server = EventSocketServer([], replies={"api": events + b"Content-Type: api/response\nContent-Length: 2\n\nUP"})
    with server, connected(server.address, PASSWORD, 5.0) as switch:
        assert switch.api("status") == "UP"
        assert [switch.event(None).get("Event-Name") for _ in range(2)] == ["CHANNEL_ANSWER", "CHANNEL_BRIDGE"]


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (b"Content-Type: command/reply\nReply-Text: +OK\n\n", ProtocolError, "unexpected frame 'command/reply'"),
        (b"Content-Type: text/disconnect-notice\n\n", Disconnected, "FreeSWITCH closed the connection"),
        (b"", ReplyTimeout, "FreeSWITCH sent nothing in time"),
    ],
    ids=["a reply", "a farewell", "nothing"],
)
def test_what_is_no_answer_is_an_error(said: bytes, error: type[Exception], message: str) -> None:
    server = EventSocketServer([], replies={"api": said})
    with server, connected(server.address, PASSWORD, SOON_S) as switch, raising_soon(error, message):
        switch.api("status")


def test_a_wrong_password_is_named_as_such() -> None:
    message = "FreeSWITCH's Event Socket refused the password (setting event_socket_password)"
    with answering() as server, raising_soon(Refused, message):
        entered(server, password="other")  # noqa: S106 - a wrong one


def test_an_address_that_is_not_allowed_is_named_as_such() -> None:
    server = answering()
    server.greeting = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"
    message = "FreeSWITCH's Event Socket refuses fsroute's address (apply-inbound-acl in event_socket.conf.xml)"
    with server, raising_soon(Refused, message):
        entered(server)


def test_a_command_that_is_refused_is_named_without_its_argument() -> None:
    message = "FreeSWITCH refused sofia: '-ERR command not found'"
    with answering() as server, raising_soon(Refused, message), connected(server.address, PASSWORD, 5.0) as switch:
        switch.command(frames.command("sofia status"))


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    message = f"FreeSWITCH's Event Socket at 127.0.0.1:{port} cannot be reached: Connection refused"
    with raising_soon(Disconnected, message), connected(("127.0.0.1", port), PASSWORD, 5.0):
        pass


def test_somebody_is_there_who_does_not_accept() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        message = f"FreeSWITCH's Event Socket at 127.0.0.1:{port} cannot be reached: no answer within {SOON_S:g} s"
        with raising_soon(Disconnected, message), connected(("127.0.0.1", port), PASSWORD, SOON_S):
            pass
        for sock in waiting:
            sock.close()


def test_another_service_is_no_event_socket() -> None:
    server = answering()
    server.greeting = b"HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: 1\n\n!"
    with server, raising_soon(ProtocolError, "not FreeSWITCH's Event Socket: its greeting is 'text/html'"):
        entered(server)


def test_a_server_that_says_nothing_is_given_up() -> None:
    server = answering()
    server.greeting = b""
    with server, raising_soon(ReplyTimeout, "FreeSWITCH sent nothing in time"):
        entered(server, SOON_S)


def test_a_server_that_dribbles_is_given_up() -> None:
    def dribble(sock: socket.socket) -> None:
        for _ in range(200):
            sock.sendall(b"X")
            time.sleep(0.02)  # the bytes must come one by one: that is what is tested

    with (
        speaking(dribble) as address,
        raising_soon(ReplyTimeout, "FreeSWITCH sent nothing in time"),
        connected(address, PASSWORD, SOON_S),
    ):
        pass


def test_a_server_that_reads_nothing_is_given_up() -> None:
    held = threading.Event()

    def deaf(sock: socket.socket) -> None:
        sock.sendall(GREETING)
        assert held.wait(10)

    with speaking(deaf) as address, socket.create_connection(address) as sock:
        switch = EventSocketClient(sock, SOON_S)
        with raising_soon(ReplyTimeout, f"FreeSWITCH read nothing for {SOON_S:g} s"):
            switch.command(b"api " + b"x" * 20_000_000 + b"\n\n")
        held.set()


def test_a_switch_that_falls_silent_is_given_up() -> None:
    silent = threading.Event()
    with answering(silent) as server, connected(server.address, PASSWORD, SOON_S) as switch:
        switch.command(ORIGINATE)
        with raising_soon(ReplyTimeout, "FreeSWITCH sent nothing in time"):
            switch.event(soon())
        with raising_soon(ReplyTimeout, "FreeSWITCH sent nothing in time"):
            switch.event(time.monotonic() - 1)
        silent.set()


def test_events_of_others_do_not_make_the_wait_longer() -> None:
    """Each event that comes is given; whoever waits for another one keeps to the same deadline."""

    def chatter(sock: socket.socket) -> None:
        sock.sendall(GREETING)
        sock.recv(100)
        sock.sendall(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")
        while True:
            sock.sendall(Event("HEARTBEAT", {}).plain())
            time.sleep(0.02)  # for ever, but not so fast that one read never ends

    with speaking(chatter) as address, connected(address, PASSWORD, SOON_S) as switch:
        deadline = soon()
        with raising_soon(ReplyTimeout, "FreeSWITCH sent nothing in time"):
            while True:
                assert switch.event(deadline).get("Event-Name") == "HEARTBEAT"


def test_an_event_is_waited_for_as_long_as_it_takes() -> None:
    """Longer than a command may take; and the deadline of the command before has no part in it."""
    with answering() as server, connected(server.address, PASSWORD, SOON_S) as switch:
        switch.command(frames.command("event plain HEARTBEAT"))
        threading.Timer(2 * SOON_S, server.tell, [Event("HEARTBEAT", {})]).start()
        assert switch.event(None).get("Event-Name") == "HEARTBEAT"


def test_who_waits_without_a_deadline_waits_for_the_end_of_the_connection() -> None:
    with answering() as server, connected(server.address, PASSWORD, SOON_S) as switch:
        threading.Timer(SOON_S, server.tell, [None]).start()
        with raising_soon(Disconnected, "FreeSWITCH closed the connection"):
            switch.event(None)


def test_the_kernel_watches_a_connection_on_which_nothing_is_said() -> None:
    """30 s, then three times 10 s: whoever waits for an event hears of a machine that has gone after a minute."""
    with answering() as server, connected(server.address, PASSWORD, 5.0) as switch:
        sock = switch._sock  # noqa: SLF001 - a machine that goes without a word is not at hand
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [30, 10, 3]


LOST = {
    "in silence": ([None], Disconnected, "FreeSWITCH closed the connection"),
    "in the middle of a frame": ([b"Content-Type: text/ev", None], Disconnected, "FreeSWITCH closed the connection"),
    "with a farewell": (
        [b"Content-Type: text/disconnect-notice\nContent-Length: 5\n\nBye.\n"],
        Disconnected,
        "FreeSWITCH closed the connection",
    ),
    "a body without end": (
        [b"Content-Type: text/event-plain\nContent-Length: 999999999\n\n"],
        ProtocolError,
        "Content-Length '999999999': not a number up to 262144",
    ),
    "a header without end": (
        [b"X: " + b"x" * MAX_BLOCK + b"\n\n"],
        ProtocolError,
        f"header of more than {MAX_BLOCK} bytes",
    ),
    "another kind of frame": (
        [b"Content-Type: log/data\nContent-Length: 1\n\n!"],
        ProtocolError,
        "unexpected frame 'log/data'",
    ),
    "a reply that nobody asked for": (
        [b"Content-Type: command/reply\nReply-Text: +OK\n\n"],
        ProtocolError,
        "unexpected frame 'command/reply'",
    ),
}


@pytest.mark.parametrize(("said", "error", "message"), LOST.values(), ids=LOST.keys())
def test_a_connection_that_breaks_or_is_out_of_step_is_an_error(
    said: list[Said], error: type[Exception], message: str
) -> None:
    with answering(*said) as server, connected(server.address, PASSWORD, 5.0) as switch:
        switch.command(ORIGINATE)
        with raising_soon(error, message):
            switch.event(soon())


def test_the_connection_may_break_while_a_command_is_answered() -> None:
    server = EventSocketServer([], limit=len(GREETING) + 10)
    with server, raising_soon(Disconnected, "FreeSWITCH closed the connection"):
        entered(server)


def test_a_reset_connection_is_an_error() -> None:
    def reset(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with speaking(reset) as address, pytest.raises(Disconnected, match="reset"):  # noqa: SIM117 - one is expected to fail
        with connected(address, PASSWORD, 5.0):
            pass


def test_no_more_events_are_kept_than_can_be_meant() -> None:
    flood = Event("HEARTBEAT", {}).plain() * (MAX_EVENTS + 1)
    server = EventSocketServer([], replies={"event": flood})
    with server, connected(server.address, PASSWORD, 5.0) as switch:  # noqa: SIM117 - the inner one fails
        with raising_soon(ProtocolError, f"{MAX_EVENTS} events and no reply"):
            switch.command(frames.command("event plain ALL"))


def test_the_connection_is_closed_at_the_end() -> None:
    ended = threading.Event()

    def listen(sock: socket.socket) -> None:
        sock.sendall(GREETING)
        sock.recv(100)
        sock.sendall(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")
        until_closed(sock)
        ended.set()

    with speaking(listen) as address:
        with connected(address, PASSWORD, 5.0):
            assert not ended.is_set()
        assert ended.wait(5)
