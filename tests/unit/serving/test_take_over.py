"""The one that takes over, against a stand-in for the fsroute that runs."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fsroute.errors import ConfigError
from fsroute.serving import take_over
from fsroute.serving.channel import Channel, Message
from fsroute.serving.take_over import Word

ADDRESS = f"127.0.0.1:1 of process {os.getpid()}"


@contextmanager
def running(answer: Callable[[Channel], None]) -> Iterator[None]:
    """Somebody who listens where a running fsroute does."""

    def work() -> None:
        channel = Channel(listener.accept()[0])
        channel.sock.settimeout(5)
        assert channel.heard() == Message(Word.TAKE_OVER)
        answer(channel)
        done.wait(5)
        channel.close()

    done = threading.Event()
    with take_over.offer(ADDRESS) as listener:
        listener.setblocking(True)
        thread = threading.Thread(target=work)
        thread.start()
        yield
        done.set()
        thread.join()


def test_nobody_runs_there() -> None:
    assert take_over.ask(ADDRESS) is None


def test_the_sockets_of_the_one_that_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:

        def answer(channel: Channel) -> None:
            channel.say(Word.SOCKETS, {"activated": True}, [given.fileno()])

        with running(answer):
            taken = take_over.ask(ADDRESS)
            assert taken is not None
            assert (taken.pid, taken.activated) == (os.getpid(), True)
            assert [each.getsockname() for each in taken.sockets] == [given.getsockname()]
            taken.sockets[0].close()
            taken.channel.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda channel: channel.say(Word.REFUSED, "it reloads"), "refuses: it reloads"),
        (lambda channel: channel.sock.send(b"noise"), "not a message: b'noise'"),
        (lambda channel: channel.sock.shutdown(socket.SHUT_RDWR), "the other process has ended"),
        (lambda _: None, "has not answered within 0.2 s"),
    ],
)
def test_the_one_that_runs_does_not_give_them(
    answer: Callable[[Channel], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_over, "ANSWER_S", 0.2)
    with running(answer), pytest.raises(ConfigError) as raised:
        take_over.ask(ADDRESS)
    assert str(raised.value) == f"cannot take over {ADDRESS}: process {os.getpid()}: {reason}".replace(
        ": refuses", " refuses"
    )


def test_one_of_another_user_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take_over, "may_deal_with", lambda user: user != os.getuid())
    with take_over.offer(ADDRESS), pytest.raises(ConfigError, match=r"process \d+ runs as another user \(\d+\)$"):
        take_over.ask(ADDRESS)


def test_who_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [user for user in (0, 1, 1000, 1001) if take_over.may_deal_with(user)] == [0, 1000]


def test_only_one_can_listen_there() -> None:
    with take_over.offer(ADDRESS), pytest.raises(OSError, match="Address already in use"):
        take_over.offer(ADDRESS)
