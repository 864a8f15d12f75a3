"""A worker in this process: what it tells its master, and what it does when the master speaks."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
import pytest
from structlog.testing import CapturingLogger

from fsroute import __version__
from fsroute.configuration.settings import Settings, load_settings
from fsroute.errors import ConfigError
from fsroute.eventsocket import sockets
from fsroute.serving import serve, worker
from fsroute.serving.channel import Channel, Message
from fsroute.serving.supervisor import Word
from tests.support.tables import demo_database

PATIENCE_S = 5.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = demo_database(tmp_path / "demo.db")
    return load_settings({"db": url, "listen": "127.0.0.1:0", "hang_s": "0.6", "drain_s": "0.1"}, {})


@contextmanager
def working(settings: Settings) -> Iterator[tuple[Channel, Any, CapturingLogger, socket.socket]]:
    """The master's end, the greenlet of the worker, its log, and the master's copy of the socket."""
    log = CapturingLogger()
    master, there = Channel.pair()
    with sockets.bind(("127.0.0.1", 0), shared=True) as bound:
        server = serve.make_server(settings, log, [bound.dup()])
        running = gevent.spawn(worker.run, server, settings, log, Channel(there))
        try:
            yield master, running, log, bound
        finally:
            master.close()
            running.join(PATIENCE_S)
            there.close()
            assert running.successful()


def until(is_so: Callable[[], Any]) -> None:
    with gevent.Timeout(PATIENCE_S):
        while not is_so():
            gevent.sleep(0.005)


def next_message(channel: Channel, *, but: str = Word.ALIVE) -> Message:
    with gevent.Timeout(PATIENCE_S):
        while True:
            message = channel.heard()
            if message is None:
                gevent.sleep(0.005)
            elif message.word != but:
                return message


def events(log: CapturingLogger) -> list[str]:
    return [call.args[0] for call in log.calls]


def test_it_says_that_it_is_ready_and_refuses_calls_until_it_is_told_to_serve(settings: Settings) -> None:
    with working(settings) as (master, running, log, bound):
        assert next_message(master) == Message(Word.READY, {"settings": asdict(settings), "version": __version__})
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(bound.getsockname())
        master.say(Word.SERVE)
        until(lambda: events(log) == ["serving"])
        socket.create_connection(bound.getsockname()).close()
        until(lambda: events(log) == ["serving", "connection ended before a call"])
        master.say(Word.STOP)
        assert next_message(master) == Message(Word.CLOSED)
        running.join(PATIENCE_S)
        assert events(log)[2:] == ["draining", "stopped"]


def test_it_says_that_it_lives(settings: Settings) -> None:
    with working(settings) as (master, _, _, _):
        assert [next_message(master, but=Word.READY).word for _ in range(3)] == [Word.ALIVE] * 3


def test_it_ends_with_its_master(settings: Settings) -> None:
    with working(settings) as (master, running, log, _):
        next_message(master)
        master.say(Word.SERVE)
        until(lambda: events(log) == ["serving"])
        master.close()
        running.join(PATIENCE_S)
        assert events(log) == ["serving", "draining", "stopped"]


def test_a_retired_one_takes_no_more_calls(settings: Settings) -> None:
    with working(settings) as (master, running, log, _):
        next_message(master)
        master.say(Word.SERVE)
        until(lambda: events(log) == ["serving"])
        master.say(Word.RETIRE)
        assert next_message(master) == Message(Word.CLOSED)
        running.join(PATIENCE_S)
        assert log.calls[1].kwargs == {"calls": 0, "seconds": None}


def started(settings: Settings | None, read: Callable[[], Settings]) -> Message:
    """What a worker says that gets these settings from its master, and cannot start."""
    master, there = Channel.pair()
    master.say(Word.SETTINGS, None if settings is None else asdict(settings))
    with pytest.raises(SystemExit) as ended:
        worker.work(str(there.detach()), read)
    assert ended.value.code == 1
    return next_message(master)


@pytest.fixture
def _signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the process that runs the tests stay as they are."""
    monkeypatch.setattr(worker, "_leave_signals_to_the_master", lambda: None)


@pytest.mark.usefixtures("_signals")
def test_it_says_why_it_cannot_start() -> None:
    def read() -> Settings:
        raise ConfigError("fsroute.toml: is not TOML")

    assert started(None, read) == Message(Word.FAILED, "fsroute.toml: is not TOML")


@pytest.mark.usefixtures("_signals")
def test_it_takes_the_settings_that_its_master_gives(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    def refuse(given: Settings, *_: object) -> None:
        raise ConfigError(f"got {given.db}")

    monkeypatch.setattr(worker, "make_server", refuse)
    assert started(settings, pytest.fail) == Message(Word.FAILED, f"got {settings.db}")
