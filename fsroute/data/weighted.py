"""A mapping that is bound by the weight of what it holds, not by how many entries there are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

LARGEST_PART = 16
"""One entry weighs at most this part of the whole (1/16). A heavier one is not kept: it would push out too many others."""

OWNER_PART = 4
"""When the mapping is full, an owner who has more than this part of the whole (1/4) makes room among their own entries. So
whatever one account calls, the entries of others stay. Without other entries an owner may have the whole."""


@dataclass(slots=True)
class Weighed:
    """An entry. Who uses it sets `used`. `kept` is False as soon as the entry is out of the mapping."""

    weight: int
    owner: str
    used: bool = False
    kept: bool = False


Key = TypeVar("Key")
Entry = TypeVar("Entry", bound=Weighed)


class WeightedCache(Generic[Key, Entry]):
    """Entries up to `capacity` in weight. Those that were not used lately make room (CLOCK: an entry that was used since it
    was last looked at is passed over once).

    Any thread may use it. `get` takes no lock: no call waits for a thread that makes room.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.weight = 0
        self._lock = threading.Lock()
        # CPython looks up a tuple of texts without interruption by other threads.
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._of_owner: dict[str, OrderedDict[Key, Entry]] = {}
        self._weight_of_owner: dict[str, int] = {}
        self.get: Callable[[Key], Entry | None] = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Key, entry: Entry) -> None:
        """Keeps an entry in place of the one before, and makes room for it. A part of the whole is the most that is kept."""
        with self._lock:
            self._remove(key)
            if entry.weight <= self.capacity // LARGEST_PART:
                self._add(key, entry)

    def reweigh(self, key: Key, entry: Entry, weight: int) -> None:
        """Gives an entry another weight, if it is still kept."""
        with self._lock:
            if entry.kept:
                self._remove(key)
                entry.weight = weight
                if weight <= self.capacity // LARGEST_PART:
                    self._add(key, entry)

    def remove(self, key: Key) -> None:
        """Takes an entry out, if there is one."""
        with self._lock:
            self._remove(key)

    def _add(self, key: Key, entry: Entry) -> None:
        owner, entry.kept = entry.owner, True
        self._entries[key] = entry
        self._of_owner.setdefault(owner, OrderedDict())[key] = entry
        self._weight_of_owner[owner] = self._weight_of_owner.get(owner, 0) + entry.weight
        self.weight += entry.weight
        while self.weight > self.capacity:
            heavy = self._weight_of_owner[owner] > self.capacity // OWNER_PART
            self._remove(_oldest(self._of_owner[owner] if heavy else self._entries))

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        entry.kept = False
        self.weight -= entry.weight
        self._weight_of_owner[entry.owner] -= entry.weight
        del self._of_owner[entry.owner][key]
        if not self._of_owner[entry.owner]:
            del self._of_owner[entry.owner], self._weight_of_owner[entry.owner]


def _oldest(entries: OrderedDict[Key, Entry]) -> Key:
    """The key of the first entry that was not used since it was last looked at."""
    for _ in range(len(entries)):
        key, entry = next(iter(entries.items()))
        if not entry.used:
            return key
        entry.used = False
        entries.move_to_end(key)
    return next(iter(entries))
