"""Caches which phones are registered, until FreeSWITCH reports a change.

A query costs a round trip and two commands in every call. A client of FreeSWITCH's inbound Event Socket receives an event
for each registration that comes or goes. So the reply to a query stays valid until such an event, for the FreeSWITCH that
sends them. fsroute queries in every call of another FreeSWITCH, and in all calls while it is not subscribed.

Facts (mod_sofia.c, sofia_reg.c and sofia.c of FreeSWITCH 1.11):

  * sofia::register and sofia::unregister name the user in `from-user`, sofia::expire in `user`.
  * sofia::register comes when the row has been written, sofia::unregister when it has been deleted. After sofia::expire, and
    after sofia::unregister of a connection that broke, the row may still be there: a queue deletes it within half a second.
  * Events arrive late: mod_event_socket polls for them every 20 ms, and sofia::expire waits for a thread that polls every
    100 ms. A call within that time still gets the reply from before the change.
  * A SIP profile that has stopped knows no registrations until it runs again, with those of before. UNPUBLISH and PUBLISH
    report it. sofia::profile_start comes before that, by seconds if the port is not free yet.
  * `sofia_contact` finds a user in any letter case, and not only under the domain of the registration (presence-hosts, a
    profile's domain_name): so an event concerns all replies for its user.
  * FreeSWITCH does not report: what other switches write into a database of registrations that they share (odbc-dsn),
    or send by multicast (mod_event_multicast); and a registration that ends because another user's REGISTER has the same
    Contact or Call-ID (whichever multiple-registrations compares). The bound in seconds is for these.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from fsroute.backoff import Backoff
from fsroute.eventsocket.client import EventSocketClient, connected
from fsroute.eventsocket.frames import Frame
from fsroute.model import EndpointDial, Registered
from fsroute.text import quoted

SETTLED_S = 2.0
"""Replies to queries within this many seconds of a change are not cached: FreeSWITCH deletes rows asynchronously, and a
starting profile may not be up yet."""

USERS = 50_000
"""Users in the cache, about 0.5 kB each. The oldest entry makes room for a new one."""

_ABSENT_S = 10.0
"""A reply that nobody is registered is cached for at most this long. FreeSWITCH gives the same reply when its lookup failed,
and trusting it for longer would lose calls. A query costs a millisecond."""

_ANSWERED_S = 30.0
"""A reply is not cached if its query is older."""

_CHANGES_KEPT_S = _ANSWERED_S + 2 * SETTLED_S
"""A user's change is remembered for this long. After it, a reply from before the change is too old to be cached."""

_RECONNECT_S, _RECONNECT_MOST_S = 0.5, 30.0
"""Pause before the next attempt to subscribe: the first pause, and the longest."""

_EVENTS = b"event plain PUBLISH UNPUBLISH CUSTOM sofia::register sofia::unregister sofia::expire\n\n"


@dataclass(frozen=True, slots=True)
class _Known:
    registered: Registered
    until: float


_NOTHING: dict[EndpointDial, _Known] = {}


class Registrations:
    """The registered phones of endpoints, cached for at most this many seconds; 0 caches nothing.

    Calls read and write in one thread, events delete in another. The clock is monotonic, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._switch: str | None = None
        self._changed_all = 0.0
        self._changed: dict[str, float] = {}
        self._known: dict[str, dict[EndpointDial, _Known]] = {}

    def known(self, switch: str, asked: Iterable[EndpointDial]) -> dict[EndpointDial, Registered] | None:
        """The phones of all these endpoints. None if this switch must be queried."""
        if switch != self._switch:
            return None
        now, found = self.clock(), {}
        for endpoint in asked:
            known = self._known.get(endpoint.user.lower(), _NOTHING).get(endpoint)
            if known is None or now > known.until:
                return None
            found[endpoint] = known.registered
        return found

    def keep(self, switch: str, said: Mapping[EndpointDial, Registered], asked_at: float) -> None:
        """Caches a switch's reply to a query of that time, unless a change may have come since."""
        with self._lock:
            if switch != self._switch or self.clock() - asked_at > _ANSWERED_S:
                return
            for endpoint, registered in said.items():
                user = endpoint.user.lower()
                if asked_at > self._changed.get(user, self._changed_all) + SETTLED_S:
                    seconds = self._seconds if registered.contacts else min(self._seconds, _ABSENT_S)
                    self._known.setdefault(user, {})[endpoint] = _Known(registered, asked_at + seconds)
            while len(self._known) > USERS:
                del self._known[next(iter(self._known))]

    def subscribed(self, switch: str) -> None:
        """From now on changes of this switch (its Core-UUID) are reported; of none if it is empty."""
        with self._lock:
            self._switch = switch if switch and self._seconds else None
            self._forget()

    def changed(self, user: str) -> None:
        """The registrations of this user have changed or are about to; of all users if it is empty."""
        user, now = user.lower(), self.clock()
        with self._lock:
            if not user:
                self._forget()
                return
            self._known.pop(user, None)
            self._changed.pop(user, None)
            self._changed[user] = now  # so the oldest is first
            while now - (oldest := next(iter(self._changed.items())))[1] > _CHANGES_KEPT_S:
                del self._changed[oldest[0]]

    def _forget(self) -> None:
        self._known.clear()
        self._changed.clear()
        self._changed_all = self.clock()


@dataclass(frozen=True, slots=True)
class Listener:
    """Subscribes to registration events at a FreeSWITCH's inbound Event Socket, in a thread of its own."""

    registrations: Registrations
    address: tuple[str, int]
    password: str = field(repr=False)
    timeout_s: float
    log: FilteringBoundLogger
    stopped: threading.Event = field(default_factory=threading.Event)
    """Once it is set, the thread ends with its connection. Only tests need it: the thread ends with the program."""

    def start(self) -> None:
        """Starts the thread, which runs until the process ends. While FreeSWITCH is away it tries again and again."""
        threading.Thread(target=self._run, name="registrations", daemon=True).start()

    def _run(self) -> None:
        said = ""
        backoff = Backoff(_RECONNECT_S, _RECONNECT_MOST_S)
        while not self.stopped.is_set():
            try:
                with connected(self.address, self.password, self.timeout_s) as switch:
                    self._begin(switch)
                    backoff.reset()
                    said = ""
                    while True:
                        user = _user(switch.event(None))
                        self.registrations.changed(user)
                        self.log.debug("registrations changed", user=quoted(user) if user else "all")
            except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
                self.registrations.subscribed("")
                if str(error) != said:  # once for each outage
                    said = str(error)
                    self.log.warning("registration events: unavailable, querying on every call", reason=said)
            self.stopped.wait(backoff.pause())

    def _begin(self, switch: EventSocketClient) -> None:
        switch.command(_EVENTS)
        core = switch.api("global_getvar core_uuid")
        self.registrations.subscribed(core)
        self.log.info("registration events: subscribed", switch=core)


def _user(event: Frame) -> str:
    """The user of an event. Empty for an event that concerns all users, such as the start of a SIP profile."""
    return event.get("from-user") or event.get("user")
