"""Callers and phones of one fault: calls at each step, each watched from its INVITE to its end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from scripts.faults.records import FINAL_S, Answered, Record, Step, is_over
from tests.support.rtp import Audio
from tests.support.sip import Answer, Behaviour, Busy, Carrier, IncomingCall, OutgoingCall, Phone
from tests.support.switch import Switch

KNOWN, TWO_PLANS, LONG_RINGING = "+492214720001", "+492214720002", "+493023125030"
FRESH = "+49221473{}"
"""Numbers of routing.sql."""

FALLBACK = "1002"

BUSY_AFTER_S, RINGS_S = 1.8, 3.0
"""When the first plan of TWO_PLANS ends, and how long LONG_RINGING rings."""

BEHAVIOURS: dict[str, Behaviour] = {
    "1001": Answer(after_s=0.2),
    FALLBACK: Answer(after_s=0.2),
    "1003": Busy(ring_s=BUSY_AFTER_S),
    "1004": Answer(after_s=0.2),
    "2001": Answer(after_s=RINGS_S),
}

BEFORE_S = 2.2
"""The first call is placed so long before the fault."""

PROBE_EVERY_S = 0.25
TALK_S = 0.3
LONG_TALK_S = 2.0
"""A talk that the fault meets goes on for so long after it began."""

END_S = 10.0
"""A BYE is answered within this time, or never: FreeSWITCH answers in a millisecond."""


class _Quiet:
    """A peer without audio: the calls are signalling only."""

    def open_audio(self, audio: Audio) -> None:
        pass

    def close_audio(self, audio: Audio) -> None:
        pass


class _QuietPhone(_Quiet, Phone):
    pass


class _QuietCarrier(_Quiet, Carrier):
    pass


@dataclass(slots=True)
class _Placed:
    """A call that was placed, and what its caller does."""

    step: Step
    at_s: float
    caller: str
    call: OutgoingCall
    bye_at_s: float | None
    """From the fault; None: TALK_S after the answer."""
    bye: float | None = None


@dataclass(slots=True)
class Calls:
    """The phones are registered while this is entered."""

    switch: Switch
    calls: int
    """At each step."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _phones: dict[str, Phone] = field(default_factory=dict)
    _placed: list[_Placed] = field(default_factory=list)
    _carrier: Carrier = field(init=False)
    _zero: float = 0.0
    _fresh: Iterator[int] = field(default_factory=lambda: itertools.count(1000))
    _callers: Iterator[int] = field(default_factory=lambda: itertools.count(10_000))

    def __enter__(self) -> Self:
        password = self.switch.api("global_getvar demo_password").strip()
        self._carrier = self._stack.enter_context(_QuietCarrier(self.switch.external, port=self.switch.carrier_port))
        for user, behaviour in BEHAVIOURS.items():
            domain = "probe.example" if user.startswith("2") else "acme.example"
            phone = _QuietPhone(user, password, domain, self.switch.internal, behaviour=behaviour)
            self._phones[user] = self._stack.enter_context(phone)
        self.register()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def register(self) -> None:
        """All phones. Again after FreeSWITCH has started anew: real phones do it when their registration expires."""
        for phone in self._phones.values():
            assert phone.register(expires=3600) == 200, f"{phone.user} could not register"

    def warm_up(self) -> None:
        """One call each way, so that what is called once is ready."""
        for number in (KNOWN, TWO_PLANS, LONG_RINGING):
            call = self._carrier.call(number, from_user=self._caller())
            call.wait_answer(30)
            call.bye()
        self.switch.wait_idle()

    def watch(self, begin: Callable[[], None], is_ended: Callable[[], float | None], most_s: float) -> list[Record]:
        """Places the calls, begins the fault in their middle, and watches until calls are normal again.

        `is_ended` returns when the fault was over, by the monotonic clock, or None. Watching ends `most_s` after that.
        """
        self._placed.clear()
        self._zero = time.monotonic() + BEFORE_S
        plan = sorted(self._plan(), key=lambda planned: planned[1])
        has_begun = False
        next_probe_s = 0.05
        while True:
            now_s = time.monotonic() - self._zero
            while plan and plan[0][1] <= now_s:
                self._place(*plan.pop(0))
            if not has_begun and now_s >= 0:
                begin()
                has_begun = True
            if now_s >= next_probe_s:
                fresh = round(next_probe_s / PROBE_EVERY_S) % 2
                number = FRESH.format(next(self._fresh)) if fresh else KNOWN
                self._place(Step.DECISION, next_probe_s, number, None)
                next_probe_s += PROBE_EVERY_S
            self._hang_up()
            ended = is_ended()
            if not plan and ended is not None:
                ended_s = ended - self._zero
                if now_s > ended_s + most_s or is_over(self._settled(), ended_s):
                    break
            time.sleep(0.005)
        return self._finish()

    def _plan(self) -> list[tuple[Step, float, str, float | None]]:
        """Step, when it is placed, number, when the caller hangs up."""
        spread = [number * 0.3 / max(1, self.calls - 1) for number in range(self.calls)]
        return [
            *((Step.DECISION, -0.02 + 0.2 * late, KNOWN, None) for late in spread),
            *((Step.RINGING, -1.6 + late, LONG_RINGING, None) for late in spread),
            *((Step.BETWEEN, 0.1 - BUSY_AFTER_S + late, TWO_PLANS, None) for late in spread),
            *((Step.TALKING, -1.5 + late, KNOWN, LONG_TALK_S) for late in spread),
            *((Step.END, -1.5 + late, KNOWN, 0.2 * late) for late in spread),
        ]

    def _place(self, step: Step, at_s: float, number: str, bye_at_s: float | None) -> None:
        caller = self._caller()
        self._placed.append(_Placed(step, at_s, caller, self._carrier.call(number, from_user=caller), bye_at_s))

    def _caller(self) -> str:
        return f"+493023{next(self._callers):06}"

    def _hang_up(self) -> None:
        """The callers whose time has come."""
        now = time.monotonic()
        for placed in self._placed:
            call = placed.call
            if placed.bye is not None or call.end is not None or not call.answered:
                continue
            due = call.at["answered"] + TALK_S
            if placed.bye_at_s is not None:
                due = max(self._zero + placed.bye_at_s, due if placed.step is Step.DECISION else 0.0)
            if now >= due:
                placed.bye = now
                call.bye()

    def _settled(self) -> list[Record]:
        """The calls placed until now, without those that may still be answered."""
        return [self._record(placed) for placed in self._placed if placed.call.answered or placed.call.end is not None]

    def _finish(self) -> list[Record]:
        """Waits for the end of each call."""
        deadline = time.monotonic() + FINAL_S
        while any(placed.call.end is None for placed in self._placed) and time.monotonic() < deadline:
            self._hang_up()
            time.sleep(0.01)
        unanswered = [placed for placed in self._placed if placed.call.end is None]
        for placed in unanswered:
            (placed.call.bye if placed.call.answered else placed.call.cancel)()
        deadline = time.monotonic() + END_S
        while any(self._stays(placed) for placed in self._placed) and time.monotonic() < deadline:
            time.sleep(0.02)
        return [self._record(placed) for placed in self._placed]

    def _stays(self, placed: _Placed) -> bool:
        """The caller has hung up, and the phone has not been told."""
        return placed.bye is not None and any(leg.answered and leg.end is None for _, leg in self._legs(placed.caller))

    def _record(self, placed: _Placed) -> Record:
        call = placed.call
        legs = self._legs(placed.caller)
        by = next((phone for phone, leg in legs if leg.answered), None)
        answered_by = None
        if call.answered:
            answered_by = Answered.FALLBACK if by == FALLBACK else Answered.PHONE
        invite = call.at["invite"]
        heard = [at for event, at in call.at.items() if event in {"ringing", "early", "answered"}]
        if call.final is not None:
            heard.append(call.final.at)
        return Record(
            placed.step,
            invite - self._zero,
            answered_by,
            call.seconds("invite", "answered") if call.answered else None,
            min(heard) - invite if heard else None,
            call.status if call.final is not None else 0,
            _gap_s(legs),
            is_cut=call.answered and placed.bye is None and call.end is not None,
            stays=self._stays(placed),
        )

    def _legs(self, caller: str) -> list[tuple[str, IncomingCall]]:
        """What the call rang, in order."""
        found = [(phone.user, leg) for phone in self._phones.values() for leg in phone.calls if f":{caller}@" in leg.remote]
        return sorted(found, key=lambda each: each[1].at["invite"])


def _gap_s(legs: list[tuple[str, IncomingCall]]) -> float | None:
    """Between the end of the first leg and the INVITE to the second, if there are two."""
    if len(legs) < 2 or "end" not in legs[0][1].at:
        return None
    return max(0.0, legs[1][1].at["invite"] - legs[0][1].at["end"])
