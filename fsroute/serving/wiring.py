"""Wires what decides calls, for every way in: settings to database, memory, router and flow."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from fsroute import log as logs
from fsroute.configuration.settings import Settings
from fsroute.data.database import check_version, open_database
from fsroute.data.routing_cache import RoutingCache, watch
from fsroute.data.routing_store import Store
from fsroute.errors import DataError
from fsroute.model import Call, Decision, FailedPlan, Routing
from fsroute.numbers import short_numbers
from fsroute.routing import router
from fsroute.serving.call_control import CallController, Decide
from fsroute.serving.registrations import Registrations

Read = Callable[[Call], Routing]
"""Reads what the tables say of a call. Raises DataError."""


def make_controller(
    settings: Settings,
    log: FilteringBoundLogger,
    registrations: Registrations,
    within_deadline: Callable[[Read], Read],
    turn: Callable[[], float] = time.monotonic,
) -> CallController:
    """What leads calls. `within_deadline` makes of a function that may hang one that raises DataError instead, in time.
    `turn` is the same for calls that came in together.

    Raises ConfigError or DataError.
    """
    decide = _make_decide(settings, log, within_deadline, turn)
    # No call has to wait for what is loaded with the first one.
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
    settings: Settings, log: FilteringBoundLogger, within_deadline: Callable[[Read], Read], turn: Callable[[], float]
) -> Decide:
    """Decides calls: from memory at once, else from the database within the deadline, else from what was read last."""
    database = open_database(settings.db)
    check_version(database, settings.db)
    # A query that has gone on so long answers nobody any more.
    store = Store(database, settings.db, settings.country, statement_ms=2 * settings.decision_ms)
    cache = RoutingCache(store.routing, watch(settings.db, log, turn), settings.cache_seconds)
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
