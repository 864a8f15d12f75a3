"""Which workers run, and when: with a clock of numbers and processes that are numbers too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from fsroute.serving.supervisor import (
    HEALTHY_S,
    PAUSE_MOST_S,
    PAUSE_S,
    START_S,
    STOP_BOUND_S,
    UNATTENDED_S,
    Supervisor,
    Word,
)

SETTINGS: dict[str, Any] = {"workers": 2, "hang_s": 3.0, "drain_s": 30.0, "listen": "127.0.0.1:8084"}


@dataclass
class Site:
    """A supervisor, and what it has done. Process ids count 1, 2, 3."""

    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    started: list[tuple[tuple[int, ...], Any]] = field(default_factory=list)
    told: list[tuple[int, str]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    log: CapturingLogger = field(default_factory=CapturingLogger)
    error: OSError | None = None
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(
            self, lambda count: [(10 + number,) for number in range(count)], self.settings, self.log
        )

    # what the supervisor asks for

    def start(self, listeners: Sequence[int], settings: Mapping[str, Any] | None) -> int:
        if self.error is not None:
            raise self.error
        self.started.append((tuple(listeners), settings))
        return len(self.started)

    def tell(self, pid: int, word: Word) -> None:
        assert pid in self.supervisor.workers, "has ended"
        self.told.append((pid, word.value))

    def kill(self, pid: int) -> None:
        assert pid in self.supervisor.workers, "has ended"
        self.killed.append(pid)

    # what happens

    def ready(self, *pids: int, now: float = 0.0, **changes: Any) -> None:
        for pid in pids:
            value = {"settings": {**SETTINGS, **self.settings, **changes}, "version": "9"}
            self.supervisor.heard(pid, Word.READY, value, now)

    def alive(self, *pids: int, now: float) -> None:
        for pid in pids:
            self.supervisor.heard(pid, Word.ALIVE, None, now)

    def pass_until(self, now: float, *living: int, step: float = 0.5) -> list[float]:
        """Time passes; these workers live. Returns when processes were started."""
        begun, at = [], 0.0
        while at < now:
            at = round(at + step, 3)
            self.alive(*living, now=at)
            before = len(self.started)
            self.supervisor.tick(at)
            begun += [at] * (len(self.started) - before)
        return begun

    @property
    def events(self) -> list[str]:
        return [call.args[0] for call in self.log.calls]

    def fields(self, event: str) -> list[dict[str, Any]]:
        return [call.kwargs for call in self.log.calls if call.args[0] == event]


@pytest.fixture
def site() -> Site:
    """Two workers that serve, 1 and 2, since second 0."""
    made = Site()
    made.supervisor.start(0.0)
    made.ready(1, 2)
    made.told.clear()
    return made


# --- the start --------------------------------------------------------------------------------------------


def test_each_worker_serves_as_soon_as_it_can() -> None:
    site = Site()
    site.supervisor.start(0.0)
    assert site.started == [((10,), None), ((11,), None)]
    site.ready(2)
    assert (site.told, site.supervisor.ready, site.supervisor.serving) == ([(2, "serve")], False, 1)
    site.ready(1)
    assert (site.told, site.supervisor.ready, site.supervisor.serving) == ([(2, "serve"), (1, "serve")], True, 2)
    assert site.events == []


def test_settings_that_no_worker_can_use_end_fsroute() -> None:
    site = Site()
    site.supervisor.start(0.0)
    site.supervisor.heard(1, Word.FAILED, "no such file", 0.1)
    assert (site.supervisor.failure, site.killed, site.supervisor.finished) == ("no such file", [1, 2], False)
    site.supervisor.ended(1, 1, 0.2)
    site.supervisor.ended(2, -9, 0.2)
    assert site.supervisor.finished
    assert site.events == []


def test_a_worker_that_does_not_become_ready_is_killed_and_replaced() -> None:
    site = Site()
    site.supervisor.start(0.0)
    site.ready(2)
    begun = site.pass_until(START_S + PAUSE_S, 2)
    assert site.killed == [1]
    assert begun == [START_S + PAUSE_S]
    assert site.fields("worker killed") == [{"pid": 1, "reason": f"not ready after {START_S:g} s"}]


# --- deaths -----------------------------------------------------------------------------------------------


def test_one_that_lived_is_replaced_at_once_with_the_settings_of_its_generation(site: Site) -> None:
    site.pass_until(HEALTHY_S + 1, 1, 2)
    site.supervisor.ended(1, -9, HEALTHY_S + 1)
    assert site.fields("worker ended") == [{"pid": 1, "status": -9, "seconds": HEALTHY_S + 1}]
    site.supervisor.tick(HEALTHY_S + 1)
    assert site.started[2:] == [((10,), site.settings)]
    site.ready(3)
    assert site.told == [(3, "serve")]


def test_pauses_double_and_concern_one_place_only(site: Site) -> None:
    """The other place has its own: a worker there that dies is replaced at once."""
    begun, pid, now = [], 1, 0.0
    for _ in range(7):
        site.supervisor.ended(pid, 1, now)
        while len(site.started) == max(pid, 2):
            now += 0.5
            site.alive(2, now=now)
            site.supervisor.tick(now)
        begun.append(now)
        pid = len(site.started)
    pauses = [later - earlier for earlier, later in zip([0.0, *begun], begun, strict=False)]
    assert pauses == [PAUSE_S, 2.0, 4.0, 8.0, 16.0, PAUSE_MOST_S, PAUSE_MOST_S]
    site.supervisor.ended(2, -9, now)
    site.supervisor.tick(now)
    assert site.started[-1][0] == (11,)


def test_a_reason_why_a_replacement_cannot_start_is_logged(site: Site) -> None:
    site.supervisor.ended(1, -9, 1.0)
    site.alive(2, now=2.0)
    site.supervisor.tick(2.0)
    site.supervisor.heard(3, Word.FAILED, "no such file", 2.1)
    site.supervisor.ended(3, 1, 2.2)
    assert site.events == ["worker ended", "worker cannot start", "worker ended"]
    assert site.fields("worker cannot start") == [{"reason": "no such file"}]
    assert site.supervisor.failure is None


def test_a_process_that_cannot_be_started_is_tried_again(site: Site) -> None:
    site.error = OSError(11, "Resource temporarily unavailable")
    site.supervisor.ended(1, -9, 1.0)
    site.alive(2, now=2.0)
    site.supervisor.tick(2.0)
    assert site.fields("worker cannot start") == [{"reason": "cannot start a process: Resource temporarily unavailable"}]
    site.error = None
    assert len(site.pass_until(6.0, 2)) == 1


# --- hangs ------------------------------------------------------------------------------------------------


def test_one_without_a_heartbeat_is_killed_and_replaced_before_the_kernel_has_let_it_go(site: Site) -> None:
    begun = site.pass_until(7.0, 2)
    assert site.killed == [1]
    assert site.fields("worker killed") == [{"pid": 1, "reason": "no heartbeat for 3.0 s"}]
    assert begun == [3.0 + PAUSE_S]
    site.supervisor.ended(1, -9, 9.0)
    assert site.fields("worker ended") == [{"pid": 1, "status": -9, "seconds": 9.0}]
    site.supervisor.tick(9.0)
    assert len(site.started) == 3


def test_a_worker_that_was_killed_is_not_listened_to(site: Site) -> None:
    site.pass_until(3.0, 2)
    site.ready(1)
    assert site.told == []


def test_the_next_look_is_when_a_heartbeat_is_overdue(site: Site) -> None:
    site.alive(1, now=1.0)
    site.alive(2, now=1.5)
    assert site.supervisor.tick(2.0) == 4.0


# --- reload -----------------------------------------------------------------------------------------------


def test_the_old_ones_retire_when_all_new_ones_are_ready(site: Site) -> None:
    site.supervisor.reload(1.0)
    assert site.started[2:] == [((10,), None), ((11,), None)]
    site.ready(3, now=2.0)
    assert site.told == []
    site.ready(4, now=2.5, drain_s=1.0)
    assert site.told == [(3, "serve"), (4, "serve"), (1, "retire"), (2, "retire")]
    assert site.fields("reloaded") == [{"workers": 2, "version": "9", "seconds": 1.5}]
    assert (site.supervisor.serving, site.supervisor.retired) == (2, 2)
    assert site.supervisor.settings["drain_s"] == 1.0
    # The old ones have their calls for hours, and are not replaced when they end.
    site.pass_until(100.0, 1, 2, 3, 4)
    site.supervisor.ended(1, 0, 100.0)
    site.supervisor.ended(2, -11, 100.0)
    assert len(site.started) == 4
    assert site.events == ["reloading", "reloaded", "worker ended"]


def test_another_number_of_workers(site: Site) -> None:
    site.supervisor.reload(1.0)
    site.ready(3, now=2.0, workers=3)
    assert site.killed == [3, 4]
    assert len(site.started) == 7
    site.supervisor.ended(3, -9, 2.1)
    site.ready(5, 6, 7, now=3.0, workers=3)
    assert len(site.supervisor.places) == 3
    assert site.events == ["reloading", "reloaded"]


@pytest.mark.parametrize("how", ["failed", "ended", "silent", "listen", "no process"])
def test_the_old_ones_go_on_if_a_new_one_does_not_become_ready(site: Site, how: str) -> None:
    if how == "no process":
        site.error = OSError(12, "Cannot allocate memory")
    site.supervisor.reload(0.0)
    if how not in {"no process", "listen"}:
        site.ready(3)
    if how == "failed":
        site.supervisor.heard(4, Word.FAILED, "no such file", 1.0)
        site.supervisor.ended(4, 1, 1.0)
    elif how == "ended":
        site.supervisor.ended(4, 1, 1.0)
    elif how == "silent":
        site.pass_until(START_S, 1, 2, 3)
    elif how == "listen":
        site.ready(3, listen="127.0.0.1:1")
    reason = {
        "failed": "no such file",
        "ended": "a new worker ended with status 1",
        "silent": "a new worker: not ready after 30 s",
        "listen": "listen = '127.0.0.1:1': the running fsroute keeps '127.0.0.1:8084'; another address needs a new start",
        "no process": "cannot start a process: Cannot allocate memory",
    }[how]
    assert site.fields("reload failed") == [{"reason": reason}]
    assert site.supervisor.reload_failure == reason
    site.supervisor.ended(3, -9, 2.0)
    assert site.events == ["reloading", "reload failed"]
    assert site.told == []
    assert set(site.killed) >= (set() if how == "no process" else {3})
    assert site.supervisor.serving == 2
    # The next one can succeed.
    site.error = None
    count = len(site.started)
    site.supervisor.reload(3.0)
    site.ready(count + 1, count + 2)
    assert site.events[-1] == "reloaded"
    assert site.supervisor.reload_failure is None


def test_a_reload_that_is_wanted_meanwhile_follows(site: Site) -> None:
    site.supervisor.reload(1.0)
    site.supervisor.reload(1.1)
    site.supervisor.reload(1.2)
    site.ready(3, 4)
    site.alive(1, 2, 3, 4, now=1.5)
    site.supervisor.tick(1.5)
    assert len(site.started) == 6
    site.ready(5, 6)
    site.supervisor.tick(1.6)
    assert site.events == ["reloading", "reloaded"] * 2


def test_an_old_one_that_hangs_is_killed_too(site: Site) -> None:
    site.supervisor.reload(0.0)
    site.ready(3, 4)
    site.pass_until(3.0, 2, 3, 4)
    assert site.killed == [1]
    assert len(site.started) == 4


# --- the end ----------------------------------------------------------------------------------------------


def test_a_stop_ends_serving_ones_later_and_others_at_once(site: Site) -> None:
    site.supervisor.reload(0.0)
    site.ready(3)
    site.supervisor.stop(1.0)
    assert set(site.killed) == {3, 4}
    assert site.told == [(1, "retire"), (2, "retire"), *((pid, "stop") for pid in (1, 2, 3, 4))]
    assert not site.supervisor.closed
    site.supervisor.heard(1, Word.CLOSED, None, 1.1)
    site.supervisor.heard(2, Word.CLOSED, None, 1.1)
    assert site.supervisor.closed
    for pid in (1, 2, 3, 4):
        assert not site.supervisor.finished
        site.supervisor.ended(pid, 0, 2.0)
    assert site.supervisor.finished
    assert site.events == ["reloading"]


def test_a_stop_has_a_bound_even_if_the_kernel_does_not_let_a_process_go(site: Site) -> None:
    site.supervisor.stop(0.0)
    site.supervisor.stop(20.0)  # changes nothing
    site.pass_until(30.0 + STOP_BOUND_S, 1, 2)
    assert site.killed == [1, 2]
    assert {line["reason"] for line in site.fields("worker killed")} == {"has not ended 33 s after it was stopped"}
    assert not site.supervisor.finished
    site.supervisor.tick(30.0 + 2 * STOP_BOUND_S)
    assert site.supervisor.finished


def test_nothing_is_started_after_a_stop(site: Site) -> None:
    site.supervisor.stop(0.0)
    site.supervisor.ended(1, -9, 1.0)
    site.supervisor.reload(1.0)
    site.pass_until(10.0, 2)
    assert len(site.started) == 2


# --- taking over ------------------------------------------------------------------------------------------


def test_one_that_takes_over_serves_when_all_its_workers_are_ready() -> None:
    site = Site()
    site.supervisor.take_over(0.0)
    site.ready(1)
    assert (site.told, site.supervisor.ready) == ([], False)
    site.ready(2)
    assert (site.told, site.supervisor.ready) == ([(1, "serve"), (2, "serve")], True)
    assert site.events == []


def test_one_that_cannot_take_over_ends() -> None:
    site = Site()
    site.supervisor.take_over(0.0)
    site.supervisor.ended(1, 1, 1.0)
    assert site.supervisor.failure == "a new worker ended with status 1"
    site.supervisor.ended(2, -9, 1.0)
    assert site.supervisor.finished


# --- nobody takes calls -----------------------------------------------------------------------------------


def test_connections_do_not_wait_for_ever_for_a_worker(site: Site) -> None:
    site.supervisor.ended(1, 1, 0.0)
    pid = 1
    for step in range(1, int(2 * UNATTENDED_S) + 1):
        now = step / 2
        site.alive(2, now=now)
        site.supervisor.tick(now)
        assert site.supervisor.unattended(now) == ({10} if now >= UNATTENDED_S else set())
        if len(site.started) > max(pid, 2):
            pid = len(site.started)
            site.supervisor.ended(pid, 1, now)
    site.pass_until(40.0, 2)
    site.ready(len(site.started))
    assert site.supervisor.unattended(60.0) == set()
