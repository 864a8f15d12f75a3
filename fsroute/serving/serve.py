"""`fsroute serve`: makes the server from the settings, and runs it."""

from __future__ import annotations

import signal
from dataclasses import replace

import gevent
from gevent.threadpool import ThreadPool
from structlog.typing import FilteringBoundLogger

from fsroute.configuration.settings import Settings, parse_address
from fsroute.data.database import without_password
from fsroute.eventsocket import sockets
from fsroute.eventsocket.greenswitch_session import GreenswitchSession
from fsroute.eventsocket.server import Server, listen
from fsroute.eventsocket.session import READABLE
from fsroute.serving.deadline import within_deadline
from fsroute.serving.descriptors import fitted
from fsroute.serving.registrations import Listener, Registrations
from fsroute.serving.wiring import make_controller, refuse_wrong_version
from fsroute.serving.workers import Master, hold


def make_server(settings: Settings, log: FilteringBoundLogger) -> Server:
    """A server that listens but does not serve yet. Raises ConfigError or DataError."""
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
        [listen(settings.address, shared=settings.workers > 1)],
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


def serve(settings: Settings, log: FilteringBoundLogger) -> None:
    """Serves until SIGTERM or SIGINT, with as many processes as the settings say. Raises ConfigError or DataError."""
    if settings.workers == 1:
        run(make_server(settings, log), settings, log)
        return
    # An error in the settings is reported once, before a worker starts. Workers wait for a database that is away.
    refuse_wrong_version(settings)
    held = hold(settings.address)
    shared = replace(settings, listen=sockets.written(held))
    log.info("starting workers", listen=shared.listen, workers=settings.workers)
    with held:
        Master(settings.workers, lambda lifeline: run(make_server(shared, log), shared, log, lifeline), log).run()


def run(server: Server, settings: Settings, log: FilteringBoundLogger, lifeline: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT, or until the process at the other end of the lifeline has ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.stop)
    if lifeline is not None:
        gevent.get_hub().loop.io(lifeline, READABLE).start(server.stop)
    log.info("serving", listen=server.address, db=without_password(settings.db))
    server.serve(settings.drain_s)
    log.info("stopped")
