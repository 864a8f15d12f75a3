"""Which workers there are, which are started, replaced, retired and killed, and when. It starts no process itself, and
time is an argument: `master` has the processes and the clock.

A *place* has the listening sockets of one worker. They stay open when the worker ends, and the next worker of the place
takes the connections that wait in them. So a worker that dies, hangs or is reloaded costs no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from fsroute.backoff import Backoff

HEALTHY_S = 5.0
"""A worker that served for this long is replaced at once. Another one is replaced after a pause that doubles."""

PAUSE_S, PAUSE_MOST_S = 1.0, 30.0
"""The pauses of a place, in seconds."""

START_S = 30.0
"""Seconds for a new worker to become ready. It takes one second; a busy machine or a slow disk needs several."""

STOP_BOUND_S = 3.0
"""Seconds beyond `drain_s` that a worker has to end. Then it is killed. Again as many seconds later the master ends,
whatever the kernel still does with it."""

UNATTENDED_S = 10.0
"""Seconds for which connections may wait at a place without a worker. A replacement takes them much earlier. FreeSWITCH
waits for 25 s, and the caller hears nothing."""


class Word(StrEnum):
    """What master and worker tell each other."""

    SETTINGS = "settings"
    """To a new worker: the settings that it must use, or null: it reads them."""
    READY = "ready"
    """From a worker: it can serve. The value is its settings and its version."""
    FAILED = "failed"
    """From a worker: it cannot start, for this reason."""
    ALIVE = "alive"
    """From a worker: its loop runs."""
    CLOSED = "closed"
    """From a worker: it takes no more calls."""
    SERVE = "serve"
    """To a worker: take calls."""
    RETIRE = "retire"
    """To a worker: take no more calls, and end after the last one."""
    STOP = "stop"
    """To a worker: take no more calls, and end after `drain_s` at the latest."""


class State(StrEnum):
    """Of a worker."""

    STARTING = "starting"
    READY = "ready"
    SERVING = "serving"
    LEAVING = "leaving"
    KILLED = "killed"


class Processes(Protocol):
    """What the supervisor does to processes."""

    def start(self, listeners: Sequence[int], settings: Mapping[str, Any] | None) -> int:
        """Starts a worker and returns its process id. Raises OSError."""

    def tell(self, pid: int, word: Word) -> None:
        """Sends a message to a worker."""

    def kill(self, pid: int) -> None:
        """Kills a worker, whatever it does."""


@dataclass(slots=True, eq=False)
class Place:
    """The listening sockets of one worker, and the worker that has them at the moment."""

    listeners: tuple[int, ...]
    worker: Worker | None = None
    start_at: float | None = None
    """When the next worker is started, if there is none."""
    unattended: float | None = None
    """Since when nobody takes the connections."""
    pauses: Backoff = field(default_factory=lambda: Backoff(PAUSE_S, PAUSE_MOST_S))


@dataclass(slots=True, eq=False)
class Worker:
    """A process from its start until it was reaped."""

    pid: int
    place: Place
    started: float
    heard: float
    settings: Mapping[str, Any]
    version: str = ""
    state: State = State.STARTING
    closed: bool = False
    dismissed: bool = False
    """It is not needed any more, and how it ends says nothing."""
    end_by: float | None = None
    """When it must have ended."""


@dataclass(slots=True)
class Supervisor:
    """`divide` gives the listening sockets of so many places. `settings` are those of the master, then of each reload."""

    processes: Processes
    divide: Callable[[int], list[tuple[int, ...]]]
    settings: Mapping[str, Any]
    log: FilteringBoundLogger
    places: list[Place] = field(default_factory=list)
    coming: list[Place] = field(default_factory=list)
    """The places of the next generation, while its workers start. They take no call until all are ready."""
    workers: dict[int, Worker] = field(default_factory=dict)
    stopping: bool = False
    leaving: bool = False
    """No worker takes calls any more: the port was handed over, or fsroute stops."""
    failure: str | None = None
    """Why nothing could be started at all."""
    ready: bool = False
    """All workers have served at the same time at least once."""
    reload_failure: str | None = None
    """Why the last reload failed."""
    _again: bool = False
    _began: float = 0.0

    # --- what the master asks for ---

    def start(self, now: float) -> None:
        """Starts the workers. Each takes calls as soon as it can."""
        self.places = self._made(self.settings["workers"])
        self._launch_all(self.places, now)

    def take_over(self, now: float) -> None:
        """Starts the workers. None takes a call until all can."""
        self._began = now
        self._begin(self.settings["workers"], now)

    def reload(self, now: float) -> None:
        """Starts new workers, with new settings and new code. When all are ready, they replace the present ones."""
        if self.leaving or self.failure:
            return
        if self.coming or not self.ready:
            self._again = True
            return
        self._began, self.reload_failure = now, None
        self.log.info("reloading")
        self._begin(self.settings["workers"], now)

    def retire(self) -> None:
        """All workers take no more calls, and end after their last one."""
        self.leaving = True
        for place in (*self.coming, *self.places):
            self._leave(place)
        self.coming, self.places = [], []

    def stop(self, now: float) -> None:
        """All workers take no more calls, and have ended after `drain_s` and STOP_BOUND_S."""
        if self.stopping:
            return
        self.stopping = True
        self.retire()
        for worker in self.workers.values():
            worker.end_by = now + worker.settings["drain_s"] + STOP_BOUND_S
            self.processes.tell(worker.pid, Word.STOP)

    # --- what happens ---

    def heard(self, pid: int, word: str, value: Any, now: float) -> None:
        """A worker has sent a message."""
        worker = self.workers.get(pid)
        if worker is None or worker.state is State.KILLED:
            return
        worker.heard = now
        if word == Word.CLOSED:
            worker.closed = True
        elif word == Word.FAILED:
            self._failed(worker, str(value))
        elif word == Word.READY and worker.state is State.STARTING:
            worker.state, worker.settings, worker.version = State.READY, value["settings"], value["version"]
            if worker.place in self.coming:
                self._next_generation(worker, now)
            else:
                self._serve(worker)

    def ended(self, pid: int, status: int, now: float) -> None:
        """A worker has ended."""
        worker = self.workers.pop(pid, None)
        if worker is None:
            return
        lived = now - worker.started
        was_there = worker.place.worker is worker
        if was_there:
            worker.place.worker = None
        if worker.place in self.coming:
            self._fail(f"a new worker ended with status {status}")
        elif not (worker.dismissed or self.stopping or (worker.state is State.LEAVING and status == 0)):
            self.log.error("worker ended", pid=pid, status=status, seconds=round(lived, 1))
        if was_there:
            self._vacate(worker.place, lived if worker.state is State.SERVING else 0.0, now)

    def tick(self, now: float) -> float | None:
        """Does what is due, and says when to come again."""
        for worker in list(self.workers.values()):
            self._kill_if_hanging(worker, now)
        if not self.leaving:
            for place in self.places:
                if place.start_at is not None and place.start_at <= now:
                    self._launch(place, self.settings, now)
        if self._again and self.ready and not self.coming and not self.leaving:
            self._again = False
            self.reload(now)
        return min(self._due(now), default=None)

    # --- what the master asks ---

    @property
    def finished(self) -> bool:
        """Nothing is left to do."""
        return (self.leaving or self.failure is not None) and not self.workers

    @property
    def serving(self) -> int:
        """Workers that take calls."""
        return sum(worker.state is State.SERVING for worker in self.workers.values())

    @property
    def closed(self) -> bool:
        """No worker takes calls any more."""
        return self.leaving and all(worker.closed or worker.state is State.KILLED for worker in self.workers.values())

    @property
    def retired(self) -> int:
        """Workers of earlier generations that still have calls."""
        return sum(worker.state is State.LEAVING for worker in self.workers.values())

    def unattended(self, now: float) -> set[int]:
        """Listening sockets at which connections have waited too long for a worker."""
        attended = {fd for place in self.places if place.unattended is None for fd in place.listeners}
        waited = {
            fd
            for place in self.places
            if place.unattended is not None and now - place.unattended >= UNATTENDED_S
            for fd in place.listeners
        }
        return waited - attended

    # --- a worker ---

    def _launch(self, place: Place, settings: Mapping[str, Any] | None, now: float) -> None:
        place.start_at = None
        try:
            pid = self.processes.start(place.listeners, settings)
        except OSError as error:
            reason = f"cannot start a process: {error.strerror or error}"
            if place in self.coming:
                self._fail(reason)
            else:
                self.log.error("worker cannot start", reason=reason)  # noqa: TRY400 - not a defect
                self._vacate(place, 0.0, now)
            return
        place.worker = self.workers[pid] = Worker(pid, place, now, now, settings or self.settings)

    def _serve(self, worker: Worker) -> None:
        worker.state, worker.place.unattended = State.SERVING, None
        self.processes.tell(worker.pid, Word.SERVE)
        self.ready = self.ready or all(
            place.worker is not None and place.worker.state is State.SERVING for place in self.places
        )

    def _vacate(self, place: Place, served_s: float, now: float) -> None:
        """The place has no worker any more, and gets another one: at once, if the last one was healthy."""
        place.worker = None
        if place.unattended is None:
            place.unattended = now
        if served_s > HEALTHY_S:
            place.pauses.reset()
        place.start_at = now if served_s > HEALTHY_S else now + place.pauses.pause()

    def _leave(self, place: Place) -> None:
        """The place's worker takes no more calls. One that has never taken any is killed."""
        worker, place.worker, place.start_at = place.worker, None, None
        if worker is None:
            return
        if worker.state is State.SERVING:
            worker.state = State.LEAVING
            self.processes.tell(worker.pid, Word.RETIRE)
        else:
            worker.dismissed = True
            self._kill(worker)

    def _kill(self, worker: Worker) -> None:
        worker.state = State.KILLED
        self.processes.kill(worker.pid)

    def _kill_if_hanging(self, worker: Worker, now: float) -> None:
        silent_s = now - worker.heard
        if worker.state is State.KILLED:
            if self.stopping and worker.end_by is not None and now >= worker.end_by + STOP_BOUND_S:
                del self.workers[worker.pid]  # the kernel keeps it, in a disk or network that does not answer
            return
        if worker.state is State.STARTING:
            reason = f"not ready after {START_S:g} s" if silent_s >= START_S else ""
        else:
            reason = f"no heartbeat for {silent_s:.1f} s" if silent_s >= worker.settings["hang_s"] else ""
        if not reason and worker.end_by is not None and now >= worker.end_by:
            reason = f"has not ended {worker.settings['drain_s'] + STOP_BOUND_S:g} s after it was stopped"
        if not reason:
            return
        if worker.place in self.coming:
            self._fail(f"a new worker: {reason}")
            return
        self.log.error("worker killed", pid=worker.pid, reason=reason)
        served_s = now - worker.started if worker.state is State.SERVING else 0.0
        self._kill(worker)
        if worker.place.worker is worker:  # its replacement does not wait until the kernel has let it go
            self._vacate(worker.place, served_s, now)

    def _failed(self, worker: Worker, reason: str) -> None:
        """A worker cannot use its settings. If none has ever served, nor will another one."""
        if worker.place in self.coming:
            self._fail(reason)
        elif self.ready or self.serving:
            self.log.error("worker cannot start", reason=reason)
        elif not self.leaving:
            self._give_up(reason)

    # --- a generation ---

    def _made(self, count: int) -> list[Place]:
        return [Place(listeners) for listeners in self.divide(count)]

    def _begin(self, count: int, now: float) -> None:
        """Starts the workers of the next generation."""
        self.coming = self._made(count)
        self._launch_all(self.coming, now)

    def _launch_all(self, places: list[Place], now: float) -> None:
        """Each worker reads its settings itself. Nothing more is started if one cannot be."""
        for place in places:
            if places is self.places or places is self.coming:
                self._launch(place, None, now)

    def _next_generation(self, worker: Worker, now: float) -> None:
        """A worker of the next generation has become ready."""
        if worker.settings["listen"] != self.settings["listen"]:
            self._fail(
                f"listen = {worker.settings['listen']!r}: the running fsroute keeps {self.settings['listen']!r}; "
                "another address needs a new start"
            )
        elif worker.settings["workers"] != len(self.coming):
            for place in self.coming:
                self._leave(place)
            self._begin(worker.settings["workers"], now)
        elif all(place.worker is not None and place.worker.state is State.READY for place in self.coming):
            replaced, self.places, self.coming, self.settings = self.places, self.coming, [], worker.settings
            for place in self.places:
                assert place.worker is not None  # noqa: S101 - all are ready
                self._serve(place.worker)
            for place in replaced:
                self._leave(place)
            if replaced:
                seconds = round(now - self._began, 2)
                self.log.info("reloaded", workers=len(self.places), version=worker.version, seconds=seconds)

    def _fail(self, reason: str) -> None:
        """The next generation does not come. The present one goes on."""
        coming, self.coming = self.coming, []
        for place in coming:
            self._leave(place)
        if self.places:
            self.reload_failure = reason
            self.log.error("reload failed", reason=reason)
        else:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self.failure = reason
        for worker in self.workers.values():
            worker.dismissed = True
            self._kill(worker)

    def _due(self, now: float) -> Iterator[float]:
        """When something is to be done, if nothing happens before."""
        for worker in self.workers.values():
            if worker.state is State.KILLED:
                if self.stopping and worker.end_by is not None:
                    yield worker.end_by + STOP_BOUND_S
                continue
            yield worker.heard + (START_S if worker.state is State.STARTING else worker.settings["hang_s"])
            if worker.end_by is not None:
                yield worker.end_by
        for place in self.places:
            if place.start_at is not None:
                yield place.start_at
            if place.unattended is not None and place.unattended + UNATTENDED_S > now:
                yield place.unattended + UNATTENDED_S
