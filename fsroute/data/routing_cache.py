"""Keeps the routing of a call for later calls that mean the same, until the tables change.

A number has millions of spellings (`0221-47.1/9999`), and a caller chooses one. So the key is what the tables are searched
for: the E.164 numbers that the text can mean to its trunk or account. The memory is bound by estimated bytes (weight.py).
Numbers that are not hosted here have a small part of their own: a caller who dials at random pushes no company's number out,
which fsroute would need when the database is away.

`changes` says whether the tables have changed. While that is uncertain, kept routing is used for a few seconds only
(cache_seconds).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fsroute.callerid import received
from fsroute.data.changes import Changes
from fsroute.data.weight import weight_of
from fsroute.data.weighted import Weighed, WeightedCache
from fsroute.model import Call, Direction, Routing, Trunk
from fsroute.numbers import phone_number

CAPACITY = 32 * 2**20
"""Estimated bytes of the kept routings of hosted numbers and extensions: 3,000 usual numbers with their plans, at 11 kB
each. With the parts below, Python, the libraries and the caches of phonenumbers a worker stays under 128 MB."""

_UNKNOWN_PART, _CALLERS_PART, _READERS_PART, _SPELLINGS_PART = 8, 8, 32, 8
"""Parts of the capacity, in addition to it: 1/8 for numbers that are not hosted here (5,000), 1/8 for the users and trunks
that called them, 1/32 for how trunks and accounts read numbers (2,000), 1/8 for the texts that were dialled (4,000)."""

_NUMBER_BYTES = 700
"""A number that is not hosted here, or a text that was dialled, without its characters: keys, times, places in mappings."""

_READER_BYTES = 500
"""How a trunk or an account reads numbers. Its row is not counted: a call that is kept has it too."""

_EXTENSION_DIGITS = 8
"""Digits of the longest extension and short code (schema.sql)."""


@dataclass(slots=True)
class _Stamp:
    """When something was read, and as of which version of the tables."""

    version: object
    read_at: float


@dataclass(slots=True)
class _Reader(Weighed):
    """How a trunk or an account reads what was dialled. `known` is False if the tables have no row of the name."""

    stamp: _Stamp = field(kw_only=True)
    known: bool = field(kw_only=True)
    country: str = field(kw_only=True)
    trunk: Trunk | None = None
    area_code: str | None = None


@dataclass(slots=True)
class _Entry(Weighed):
    """A kept routing. `plans` is how many plans it had when it was weighed. None for a number that is not hosted here: the
    routing is that of its caller."""

    stamp: _Stamp = field(kw_only=True)
    routing: Routing | None = None
    plans: int = 0


_Key = tuple[Any, ...]


@dataclass(slots=True)
class _Meaning:
    """What a call is searched by in the tables, `number`, and the part of it that is not the dialled number, `caller`."""

    number: _Key
    caller: _Key
    reader: _Reader


@dataclass(slots=True)
class _Spelling(Weighed):
    """What a text was found to mean. `number` and `entry`, which has the routing, may be out of the memory since."""

    meaning: _Meaning = field(kw_only=True)
    reader: _Reader = field(kw_only=True)
    number: _Entry = field(kw_only=True)
    entry: _Entry = field(kw_only=True)
    version: object = None
    read_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Stale:
    """The routing that was read last. The tables may have changed since."""

    routing: Routing
    age_s: float


class RoutingCache:
    """The routing of recent calls. `seconds` is its greatest age while changes are uncertain; 0 keeps nothing.

    `fresh` never reads a table; `read` does, and may be called from any thread.
    """

    def __init__(self, read: Callable[[Call], Routing], changes: Changes, seconds: float, capacity: int = CAPACITY) -> None:
        self._read = read
        self._changes = changes
        self._seconds = seconds
        self._version: object = None
        self._known: WeightedCache[_Key, _Entry] = WeightedCache(capacity)
        # A call to a number that is not hosted here is routed by its caller: all such numbers of a caller share a routing.
        self._unknown: WeightedCache[_Key, _Entry] = WeightedCache(capacity // _UNKNOWN_PART)
        self._callers: WeightedCache[_Key, _Entry] = WeightedCache(capacity // _CALLERS_PART)
        self._readers: WeightedCache[_Key, _Reader] = WeightedCache(capacity // _READERS_PART)
        # To find out what a text means takes ten times as long as to find the text.
        self._spellings: WeightedCache[_Key, _Spelling] = WeightedCache(capacity // _SPELLINGS_PART)

    def fresh(self, call: Call) -> Routing | None:
        """The kept routing for such a call, if the tables have not changed since it was read."""
        self._version = version = self._changes.version()
        spelling = self._spellings.get(_spelling(call))
        if spelling is None or spelling.version != version or not self._is_recent(spelling.read_at):
            return self._by_meaning(call)
        entry = spelling.entry
        routing = entry.routing
        if routing is None or not (entry.kept and spelling.number.kept):
            return self._by_meaning(call)
        spelling.used = spelling.reader.used = spelling.number.used = entry.used = True
        if len(routing.plans) != entry.plans:
            self._weigh(spelling.meaning, entry, routing)
        return routing

    def _is_recent(self, read_at: float) -> bool:
        """Whether what was read then, as of the current version, is certain to be in the tables now."""
        return (self._version is not None and self._changes.is_exact) or time.monotonic() - read_at <= self._seconds

    def _by_meaning(self, call: Call) -> Routing | None:
        meaning = self._meaning(call)
        found = self._find(meaning) if meaning is not None else None
        if meaning is None or found is None:
            return None
        number, entry = found
        stamps = meaning.reader.stamp, number.stamp, entry.stamp
        read_at = min(stamp.read_at for stamp in stamps)
        if any(stamp.version != self._version for stamp in stamps) or not self._is_recent(read_at):
            return None
        number.used = entry.used = meaning.reader.used = True
        key = _spelling(call)
        spelling = _Spelling(
            _NUMBER_BYTES + _characters(key),
            number.owner,
            meaning=meaning,
            reader=meaning.reader,
            number=number,
            entry=entry,
            version=self._version,
            read_at=read_at,
        )
        self._spellings.put(key, spelling)
        return entry.routing

    def _weigh(self, meaning: _Meaning, entry: _Entry, routing: Routing) -> None:
        """Weighs a routing again, in which the planner has kept more plans."""
        entry.plans = len(routing.plans)
        if entry is self._known.get(meaning.number):
            self._known.reweigh(meaning.number, entry, weight_of(routing))
        else:
            self._callers.reweigh(meaning.caller, entry, weight_of(routing))

    def read(self, call: Call) -> Routing:
        """Reads the routing and keeps it. Raises DataError."""
        # A change during the read may be in it or not: with the version from before it counts as changed.
        stamp = _Stamp(self._version, time.monotonic())
        routing = self._read(call)
        if self._seconds:
            self._keep(call, routing, stamp)
        return routing

    def _keep(self, call: Call, routing: Routing, stamp: _Stamp) -> None:
        account, name = routing.account, _reader_key(call)
        row = account if name[0] else routing.trunk
        area_code = account.area_code if account is not None else None
        reader = _Reader(
            _READER_BYTES,
            name[1] or "",
            stamp=stamp,
            known=row is not None,
            country=routing.country,
            trunk=routing.trunk,
            area_code=area_code,
        )
        self._readers.put(name, reader)
        meaning, weight = _meaning_of(call, reader), weight_of(routing)
        if routing.dialled is None and routing.callee is None:
            of_number = _NUMBER_BYTES + _characters(meaning.number)
            self._callers.put(meaning.caller, _Entry(weight, reader.owner, stamp=stamp, routing=routing))
            self._unknown.put(meaning.number, _Entry(of_number, reader.owner, stamp=stamp))
            self._known.remove(meaning.number)
            return
        dialled = routing.numbers.get(routing.dialled) if routing.dialled else None
        owner = account or (dialled.account if dialled is not None else None)
        entry = _Entry(weight, owner.name if owner is not None else "", stamp=stamp, routing=routing)
        self._known.put(meaning.number, entry)
        self._unknown.remove(meaning.number)

    def stale(self, call: Call) -> Stale | None:
        """The kept routing for such a call, however old, for when the database cannot be reached."""
        meaning = self._meaning(call)
        found = self._find(meaning) if meaning is not None else None
        if found is None or found[1].routing is None:
            return None
        return Stale(found[1].routing, time.monotonic() - min(entry.stamp.read_at for entry in found))

    def _meaning(self, call: Call) -> _Meaning | None:
        """What a call means, as its trunk or account was read last. None if it was not read."""
        reader = self._readers.get(_reader_key(call))
        return _meaning_of(call, reader) if reader is not None else None

    def _find(self, meaning: _Meaning) -> tuple[_Entry, _Entry] | None:
        """The entry of the number, and the entry with its routing, which is the same for a hosted number."""
        known = self._known.get(meaning.number)
        if known is not None:
            return known, known
        unknown, caller = self._unknown.get(meaning.number), self._callers.get(meaning.caller)
        return (unknown, caller) if unknown is not None and caller is not None else None


def _spelling(call: Call) -> _Key:
    """Everything that Store.routing uses of a call."""
    who = call.account, call.user, call.presented, call.transferred
    return call.direction is Direction.OUTBOUND, call.destination, call.to_user, call.trunk, *who


def _reader_key(call: Call) -> tuple[bool, str | None]:
    outbound = call.direction is Direction.OUTBOUND
    return outbound, (call.account if outbound else call.trunk) or None


def _meaning_of(call: Call, reader: _Reader) -> _Meaning:
    """What Store.routing searches the tables for. Two calls with the same meaning have the same routing."""
    if call.direction is not Direction.OUTBOUND:
        caller: _Key = (False, call.trunk if reader.known else None)
        return _Meaning((caller, received.destinations(call, reader.trunk, reader.country)), caller, reader)
    if not reader.known:
        return _Meaning((True,), (True, None), reader)
    dialled = call.destination
    presented = call.presented or None
    caller = (
        True,
        call.account,
        call.user,
        presented if presented is None or phone_number.is_e164(presented) else _NO_NUMBER,
        call.transferred,
    )
    inside = dialled if len(dialled) <= _EXTENSION_DIGITS and dialled.isascii() and dialled.isdigit() else None
    meant = phone_number.dialled_texts(dialled, reader.country, reader.area_code)
    return _Meaning((caller, inside, meant), caller, reader)


_NO_NUMBER = "no number"
"""A number to present that cannot be one: whatever it is, the tables say nothing of it."""


def _characters(key: _Key) -> int:
    return sum(_characters(part) if isinstance(part, tuple) else len(part) for part in key if isinstance(part, (str, tuple)))
