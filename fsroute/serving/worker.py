"""A worker: a process that decides calls, as long as its master lives and wants it to."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import gevent
from gevent.event import Event
from structlog.typing import FilteringBoundLogger

from fsroute import __version__
from fsroute.configuration.settings import Settings
from fsroute.data.database import without_password
from fsroute.errors import FsrouteError
from fsroute.eventsocket.server import Server, listen_on
from fsroute.eventsocket.session import READABLE
from fsroute.log import make_logger
from fsroute.serving.channel import Channel
from fsroute.serving.serve import make_server
from fsroute.serving.signals import LEFT_ALONE
from fsroute.serving.supervisor import START_S, Word

_SLOWEST_BEAT_S = 1.0
_BEATS = 3
"""Heartbeats in `hang_s`: one or two may be late."""


def work(descriptors: str, read: Callable[[], Settings]) -> None:
    """Runs a worker to its end. `descriptors` are those of the channel to the master and of the listening sockets. `read`
    reads the settings, if the master does not give them. Raises SystemExit if the worker cannot start."""
    _leave_signals_to_the_master()
    first, *others = map(int, descriptors.split(","))
    channel = Channel(_inherited(first))
    listeners = [_inherited(descriptor) for descriptor in others]
    try:
        settings = _given(channel) or read()
        log = make_logger(settings.log_format, settings.log_level)
        server = make_server(settings, log, listeners)
    except FsrouteError as error:
        channel.say(Word.FAILED, str(error))
        raise SystemExit(1) from error
    try:
        run(server, settings, log, channel)
    except Exception:
        log.exception("worker failed")
        raise SystemExit(1) from None


def run(server: Server, settings: Settings, log: FilteringBoundLogger, channel: Channel) -> None:
    """Serves when the master says so, until it says otherwise, or until the process at the other end has ended."""
    serve = Event()

    def listen_to_master() -> None:
        try:
            while (message := channel.heard()) is not None:
                if message.word == Word.SERVE:
                    serve.set()
                elif message.word == Word.RETIRE:
                    server.retire()
                elif message.word == Word.STOP:
                    server.stop()
        except EOFError:
            master.stop()
            server.stop()
            serve.set()

    master = gevent.get_hub().loop.io(channel.fileno(), READABLE)
    master.start(listen_to_master)
    heartbeat = gevent.spawn(_beat, channel, min(settings.hang_s / _BEATS, _SLOWEST_BEAT_S))
    server.closed = lambda: channel.say(Word.CLOSED)
    channel.say(Word.READY, {"settings": asdict(settings), "version": __version__})
    serve.wait()
    for listener in server.listeners:
        listen_on(listener)
    log.info("serving", listen=server.address, db=without_password(settings.db))
    server.serve(settings.drain_s)
    log.info("stopped")
    heartbeat.kill()
    master.stop()


def _beat(channel: Channel, seconds: float) -> None:
    while True:
        channel.say(Word.ALIVE)
        gevent.sleep(seconds)


def _inherited(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - Python's signature
    return socket.socket(fileno=descriptor)


def _given(channel: Channel) -> Settings | None:
    """The settings of a worker that replaces another one: the file may be about to change. None: they are to be read."""
    select.select([channel], [], [], START_S)
    try:
        message = channel.heard()
    except EOFError:
        sys.exit(1)  # without its master nobody needs it
    values: dict[str, Any] | None = message.value if message else None
    if values is None:
        return None
    known = {item.name for item in fields(Settings)}  # another version may have others
    return Settings(**{name: value for name, value in values.items() if name in known})


def _leave_signals_to_the_master() -> None:
    """Whoever signals a whole group of processes (a terminal, killall, a service manager) means the master."""
    for number in signal.valid_signals() - LEFT_ALONE:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the master has started this process with all of them blocked
