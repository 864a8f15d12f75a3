"""Makes a CallController from settings: database, cache, router. `fsroute serve` and mod_python use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from fsroute import log as logs
from fsroute.configuration.settings import Settings
from fsroute.data.changes import watch
from fsroute.data.connections import Connections
from fsroute.data.database import SQLITE_PREFIX, sqlite_path
from fsroute.data.routing_cache import RoutingCache
from fsroute.data.routing_store import prepare_holidays, read_routing
from fsroute.data.sqlite_file import SqliteFile
from fsroute.errors import DataError
from fsroute.model import Call, Decision, FailedPlan, Routing
from fsroute.numbers import short_numbers
from fsroute.routing import router
from fsroute.serving.call_control import CallController, Decide
from fsroute.serving.registrations import Registrations

Read = Callable[[Call], Routing]
"""Reads a call's routing from the database. Raises DataError."""


def make_controller(
    settings: Settings,
    log: FilteringBoundLogger,
    registrations: Registrations,
    within_deadline: Callable[[Read], Read],
    batch: Callable[[], float] = time.monotonic,
) -> CallController:
    """`within_deadline` wraps a function that may hang: the result raises DataError in time instead. `batch` returns the
    same value for calls that arrived together.

    A database that is away is no error: the log says so, and calls are decided when it is there. Raises ConfigError, or
    WrongVersion if its tables are of another fsroute.
    """
    decide = _make_decide(settings, log, within_deadline, batch)
    # Loads now what the first call would have to wait for.
    router.route(_FIRST, Routing(settings.country), datetime.now(UTC), None, settings.hop_limit)
    with suppress(DataError):
        decide(_FIRST, None)
    short_numbers.countries()
    return CallController(
        decide,
        registrations,
        settings.confirmation,
        settings.profiles,
        settings.on_failure == "hangup",
        settings.country,
        logs.shorten if settings.log_numbers == "short" else str,
        log,
    )


_FIRST = Call("+4922100")


def _make_decide(
    settings: Settings, log: FilteringBoundLogger, within_deadline: Callable[[Read], Read], batch: Callable[[], float]
) -> Decide:
    """Decides calls from memory, else from the database within the deadline, else from the routing that was read last."""
    file = SqliteFile(sqlite_path(settings.db), log) if settings.db.startswith(SQLITE_PREFIX) else None
    changes = watch(settings.db, log, batch, file)
    wait_s = settings.decision_ms / 1000
    connections = Connections(settings.db, settings.db_connections, wait_s, log, file, changes.release)
    connections.start()
    with suppress(DataError):  # a database that is away: the threads that read compute what they find
        connections.run(prepare_holidays)

    def read_tables(call: Call) -> Routing:
        return connections.run(lambda database: read_routing(database, call, settings.country))

    cache = RoutingCache(read_tables, changes, settings.cache_seconds)
    read = within_deadline(cache.read)

    def routing(call: Call) -> Routing:
        reason = connections.trouble
        stale = cache.stale(call) if reason is not None else None
        if stale is None:
            if connections.is_away:
                connections.count(from_memory=False)
                raise DataError(connections.trouble or reason or "the database was away")
            try:
                return read(call)
            except DataError as error:
                reason = str(error)
                connections.doubt(reason)
                stale = cache.stale(call)
                if stale is None:
                    connections.count(from_memory=False)
                    raise
        connections.count(from_memory=True)
        log.warning("routed from memory", reason=reason, age_s=round(stale.age_s, 1))
        return stale.routing

    unread = Routing(settings.country)

    def decide(call: Call, failed: FailedPlan | None) -> Decision:
        known = unread if router.is_too_long(call) else cache.fresh(call) or routing(call)
        return router.route(call, known, datetime.now(UTC), failed, settings.hop_limit)

    return decide
