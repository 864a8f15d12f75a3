"""Messages between two processes, here between two sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fsroute.serving.channel import Channel, Message


@pytest.fixture
def pair() -> tuple[Channel, Channel]:
    one, other = Channel.pair()
    return one, Channel(other)


def test_messages_arrive_whole_and_in_order(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    assert other.heard() is None
    one.say("ready", {"settings": {"db": "x" * 100_000}})
    one.say("alive")
    assert other.heard() == Message("ready", {"settings": {"db": "x" * 100_000}})
    assert other.heard() == Message("alive")
    assert other.heard() is None


def test_the_end_of_the_other_process_is_noticed_after_its_last_words(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    one.say("failed", "no such file")
    one.close()
    assert other.heard() == Message("failed", "no such file")
    with pytest.raises(EOFError, match="the other process has ended"):
        other.heard()
    other.say("serve")  # is lost


def test_a_message_that_nobody_reads_is_lost_and_nobody_waits(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    for _ in range(100_000):
        one.say("alive")
    count = 0
    while other.heard() is not None:
        count += 1
    assert 0 < count < 100_000


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1", b"\xff", b"{}", b"1", b'["a","b","c"]', b"null"])
def test_what_is_no_message_ends_the_conversation(pair: tuple[Channel, Channel], data: bytes) -> None:
    one, other = pair
    one.sock.send(data)
    with pytest.raises(EOFError, match="not a message"):
        other.heard()


def test_sockets_travel(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    with socket.create_server(("127.0.0.1", 0)) as given:
        one.say("sockets", {"activated": False}, [given.fileno()])
        message = other.heard()
        assert message is not None
        (descriptor,) = message.descriptors
        assert not os.get_inheritable(descriptor)
        with socket.socket(fileno=descriptor) as same:
            assert same.getsockname() == given.getsockname()


def test_descriptors_of_what_is_no_message_are_closed(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    before = len(list(Path("/proc/self/fd").iterdir()))
    socket.send_fds(one.sock, [b"noise"], [one.fileno()])
    with pytest.raises(EOFError):
        other.heard()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_who_is_at_the_other_end(pair: tuple[Channel, Channel]) -> None:
    assert pair[0].peer == (os.getpid(), os.getuid())
