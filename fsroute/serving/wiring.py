"""Makes a CallController from settings: database, cache, router. `fsroute serve` and mod_python use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from fsroute import log as logs
from fsroute.configuration.settings import Settings
from fsroute.data.changes import watch
from fsroute.data.database import open_database
from fsroute.data.routing_cache import RoutingCache
from fsroute.data.routing_store import Store
from fsroute.data.schema import check_version
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

    Raises ConfigError or DataError.
    """
    decide = _make_decide(settings, log, within_deadline, batch)
    # Loads now what the first call would have to wait for.
    decide(Call("+4922100"), None)
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


def _make_decide(
    settings: Settings, log: FilteringBoundLogger, within_deadline: Callable[[Read], Read], batch: Callable[[], float]
) -> Decide:
    """Decides calls from memory, else from the database within the deadline, else from the routing that was read last."""
    database = open_database(settings.db)
    check_version(database, settings.db)
    # No call waits for a query that runs longer.
    store = Store(database, settings.db, settings.country, statement_ms=2 * settings.decision_ms)
    cache = RoutingCache(store.routing, watch(settings.db, log, batch), settings.cache_seconds)
    read = within_deadline(cache.read)

    def routing(call: Call) -> Routing:
        try:
            return read(call)
        except DataError as error:
            stale = cache.stale(call)
            if stale is None:
                raise
            log.warning("routed from memory", reason=str(error), age_s=round(stale.age_s, 1))
            return stale.routing

    def decide(call: Call, failed: FailedPlan | None) -> Decision:
        known = cache.fresh(call) or routing(call)
        return router.route(call, known, datetime.now(UTC), failed, settings.hop_limit)

    return decide
