"""What a worker of `fsroute serve` serves with: the server that its settings describe."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import gevent
from gevent.threadpool import ThreadPool
from structlog.typing import FilteringBoundLogger

from fsroute.configuration.settings import Settings, parse_address
from fsroute.eventsocket.greenswitch_session import GreenswitchSession
from fsroute.eventsocket.server import Server
from fsroute.serving.deadline import within_deadline
from fsroute.serving.descriptors import fitted
from fsroute.serving.registrations import Listener, Registrations
from fsroute.serving.wiring import make_controller


def make_server(settings: Settings, log: FilteringBoundLogger, listeners: Sequence[socket.socket]) -> Server:
    """A server that does not serve yet. Raises ConfigError or DataError."""
    settings = fitted(settings, log)
    pool = ThreadPool(settings.db_connections)
    registrations = Registrations(settings.contact_seconds)
    controller = make_controller(
        settings,
        log,
        registrations,
        lambda read: within_deadline(pool, settings.decision_ms / 1000, read),
        gevent.get_hub().loop.now,  # calls of the same poll have the same time
    )
    server = Server(
        listeners,
        settings.networks,
        settings.max_calls,
        settings.handshake_s,
        controller.run,
        lambda session: controller.give_up(session.peer, GreenswitchSession(session).hangup),
        log,
    )
    if settings.contact_seconds and settings.event_socket_password:
        address = parse_address("event_socket", settings.event_socket)
        Listener(registrations, address, settings.event_socket_password, settings.event_socket_s, log).start()
    return server
