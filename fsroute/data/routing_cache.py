"""Keeps the routing of a call for later calls with the same key, until the tables change.

`changes` says whether they have. While that is uncertain, kept routing is used for a few seconds only (cache_seconds).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fsroute.data.changes import Changes
from fsroute.model import Call, Routing

ENTRIES = 4096
"""Kept entries: about 8 kB each, with plans and dial strings. The least recently used entry makes room."""


@dataclass(frozen=True, slots=True)
class _Entry:
    routing: Routing
    version: object
    read_at: float


@dataclass(frozen=True, slots=True)
class Stale:
    """The routing that was read last. The tables may have changed since."""

    routing: Routing
    age_s: float


class RoutingCache:
    """The routing of recent calls. `seconds` is its greatest age while changes are uncertain; 0 keeps nothing.

    `fresh` never reads a table; `read` does, and may be called from any thread.
    """

    def __init__(self, read: Callable[[Call], Routing], changes: Changes, seconds: float, entries: int = ENTRIES) -> None:
        self._read = read
        self._changes = changes
        self._seconds = seconds
        self._capacity = entries
        self._entries: dict[tuple[Any, ...], _Entry] = {}
        self._version: object = None

    def fresh(self, call: Call) -> Routing | None:
        """The kept routing for such a call, if the tables have not changed since it was read."""
        self._version = version = self._changes.version()
        key = _key(call)
        entry = self._entries.get(key)
        if entry is None or entry.version != version or not self._seconds:
            return None
        if (version is None or not self._changes.is_exact) and time.monotonic() - entry.read_at > self._seconds:
            return None
        self._entries.pop(key, None)  # the last used entry is the last one
        self._entries[key] = entry
        return entry.routing

    def read(self, call: Call) -> Routing:
        """Reads the routing and keeps it. Raises DataError."""
        # A change during the read may be in it or not: with the version from before it counts as changed.
        version, read_at = self._version, time.monotonic()
        routing = self._read(call)
        self._entries.pop(_key(call), None)
        self._entries[_key(call)] = _Entry(routing, version, read_at)
        while len(self._entries) > self._capacity:
            with suppress(KeyError, StopIteration, RuntimeError):  # two threads may remove the same entry
                del self._entries[next(iter(self._entries))]
        return routing

    def stale(self, call: Call) -> Stale | None:
        """The kept routing for such a call, however old, for when the database cannot be reached."""
        entry = self._entries.get(_key(call))
        return Stale(entry.routing, time.monotonic() - entry.read_at) if entry else None


def _key(call: Call) -> tuple[Any, ...]:
    """Everything that Store.routing uses of a call."""
    who = call.account, call.user, call.presented, call.transferred
    return call.direction, call.destination, call.to_user, call.trunk, *who
