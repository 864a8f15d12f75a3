"""Wires a server together from settings: what `fsroute serve` runs."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

import gevent
from gevent.threadpool import ThreadPool
from structlog.typing import FilteringBoundLogger

from fsroute import log as logs
from fsroute import router
from fsroute.config import Settings
from fsroute.database import check_version, open_database, without_password
from fsroute.flow import CallFlow, within_deadline
from fsroute.model import Call, Decision, Failed
from fsroute.server import Server, listen
from fsroute.store import Store

DECISION_THREADS = 8
"""Threads that read the database. SQLite and Python use one processor whatever their number; the others are there for
the case that some hang in a database that does not answer."""


def make_server(settings: Settings, log: FilteringBoundLogger) -> Server:
    """A server that listens but does not serve yet. Raises ConfigError or DataError if it could not."""
    database = open_database(settings.db)
    check_version(database, settings.db)
    store = Store(database, settings.db, settings.country)

    def decide(call: Call, failed: Failed | None) -> Decision:
        return router.route(call, store.routing(call), datetime.now(UTC), failed, settings.hop_limit)

    decide(Call("+4922100"), None)  # no call has to wait for what is loaded with the first one
    store.close()
    pool = ThreadPool(DECISION_THREADS)
    flow = CallFlow(
        within_deadline(pool, settings.decision_ms / 1000, decide),
        settings.confirmation,
        settings.profiles,
        settings.on_failure == "hangup",
        settings.country,
        logs.shorten if settings.log_numbers == "short" else str,
        log,
    )
    return Server(
        listen(settings.address),
        settings.networks,
        settings.max_calls,
        settings.handshake_s,
        flow.run,
        flow.give_up,
        log,
    )


def run(server: Server, settings: Settings, log: FilteringBoundLogger) -> None:
    """Serves until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.stop)
    log.info("serving", listen=server.address, db=without_password(settings.db))
    server.serve(settings.drain_s)
    log.info("stopped")
