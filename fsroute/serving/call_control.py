"""One call from its beginning to its end: hear of it, decide, tell, hear how it ended, decide again.

Whichever way a call comes in (fsroute's own process, or FreeSWITCH's), this leads it. What differs is its `Channel`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from fsroute.errors import DataError, Disconnected, FsrouteError
from fsroute.eventsocket.frames import Command, End, Frame
from fsroute.model import Call, Decision, Direction, FailedPlan, Hangup, Leg, Outcome, Plan, PlanLog, TrunkDial
from fsroute.numbers import short_numbers
from fsroute.routing import router
from fsroute.serving.registrations import Registrations
from fsroute.switch import call_commands, channel_state, contacts
from fsroute.switch.channel_state import Elsewhere, Ended
from fsroute.switch.dialstring import Confirmation
from fsroute.text import plain

FAILURE_CAUSE = "NORMAL_TEMPORARY_FAILURE"
"""SIP 503 to the caller: try again, or try another way."""

_WHOLE_PAUSE = 0.9
"""The part of a pause from which on it counts as whole: FreeSWITCH's timers have steps of 20 ms."""

_EXTENSION_DIGITS = 8
"""What is longer is no extension (schema.sql), and may be a person's number."""

NOTHING = Plan()
"""A plan of which no phone is registered."""

Decide = Callable[[Call, FailedPlan | None], Decision]
"""Decides within its deadline. Raises FsrouteError for a call that can not be decided."""


class Channel(Protocol):
    """A call in FreeSWITCH, as fsroute hears of it and speaks to it.

    Each method raises Disconnected when the call has ended, or ProtocolError for an answer that is none.
    """

    @property
    def peer(self) -> str:
        """Where the call is: the switch's address."""
        ...

    def connect(self) -> Frame:
        """The answer to the first question: the call is ours, and this is what FreeSWITCH knows of it."""
        ...

    def tell(self, commands: Sequence[Command], *, asks: bool) -> None:
        """Has this done, one after the other. With `asks` it is then asked what FreeSWITCH knows of the call."""
        ...

    def hear(self, *, bounded: bool) -> Frame:
        """The answer to what was asked, once all is done. Bounded, if nothing was told that takes its time."""
        ...

    def hear_end(self, *, bounded: bool) -> None:
        """Waits until the call has ended."""
        ...

    def refuse(self, cause: str) -> None:
        """Ends a call of which perhaps nothing is known yet."""
        ...


@dataclass(frozen=True, slots=True)
class CallController:
    """How calls are led. One for all calls; it holds no state of any."""

    decide: Decide
    registrations: Registrations
    confirmation: Confirmation
    profiles: tuple[str, ...]
    hang_up_on_failure: bool
    country: str
    shown: Callable[[str], str]
    log: FilteringBoundLogger

    def run(self, channel: Channel) -> Iterator[bool]:
        """Leads one call to its end, or to the point from which FreeSWITCH goes on alone. Raises nothing.

        It pauses before each wait, and says whether that one is bounded. Who leads many calls need not keep more of one
        than this iterator and its channel until there is something to hear; who leads one just goes on.
        """
        try:
            channel.tell((), asks=True)
            yield True
            facts = channel_state.facts_of(channel.connect())
        except Disconnected as error:
            self.log.info("connection ended before a call", peer=channel.peer, reason=str(error))
            return
        except FsrouteError as error:
            self.log.warning("no call", peer=channel.peer, reason=str(error))
            self.give_up(channel)
            return
        call = channel_state.call_of(facts)
        log, began = self.log.bind(call=call.uuid), time.monotonic()
        try:
            progress, plans, ear = (
                channel_state.progress_of(facts),
                channel_state.plans_of(facts),
                channel_state.ear_of(facts),
            )
            del facts  # 8 kB that a call would hold until it ends
            cause = yield from self._lead(channel, call, progress, plans, ear, log)
            log.info("call ended", cause=cause, seconds=_seconds(began))
        except _LeftError as left:
            log.info("call left", how=left.where.how, to=plain(left.where.to), seconds=_seconds(began))
        except Disconnected as gone:
            log.info("call ended", cause=gone.cause, seconds=_seconds(began))
        except FsrouteError as error:
            log.error("call not routed", to=plain(call.destination), reason=str(error))  # noqa: TRY400 - no defect
            self._give_up_call(channel, call)
        except Exception:
            # A defect of ours: this call gets what an undecidable one gets, and the log its traceback.
            log.exception("call failed", to=plain(call.destination))
            self._give_up_call(channel, call)

    def _lead(
        self,
        channel: Channel,
        call: Call,
        progress: FailedPlan | Ended | None,
        plans: int,
        ear: channel_state.Ear,
        log: FilteringBoundLogger,
    ) -> Generator[bool, None, str | None]:
        """Leads a call to its end; the cause of that. Raises _LeftError when it goes on without us."""
        while not isinstance(progress, Ended):
            began = time.perf_counter()
            decision = yield from self._with_phones(channel, call, self.decide(call, progress))
            if progress is None and _is_lost_emergency(decision):
                self._log(log, call, decision, progress, began)
                raise DataError("an emergency call that no trunk of ours carries")
            if decision.plan == NOTHING:
                self._log(log, call, decision, progress, began)
                # The caller hears in the end how the phones that did ring ended it.
                outcome = progress.outcome if progress else Outcome.UNREACHABLE
                rule = decision.rule.key if decision.rule else None
                progress = FailedPlan(rule, outcome, is_recall=decision.is_recall)
                continue
            final = decision.plan.final
            ends = final.cause if isinstance(final, Hangup) and not decision.plan.stages else None
            try:
                plans += 1
                commands = call_commands.commands(call, decision, self.confirmation, plans, ear)
                log.debug("telling", commands=commands)
                channel.tell(commands, asks=ends is None)
            finally:  # after the call has what it waits for, and whatever comes of that
                self._log(log, call, decision, progress, began)
            del decision, commands  # nor these
            yield ends is not None
            if ends is not None:
                channel.hear_end(bounded=True)
                return ends
            facts = channel_state.facts_of(_heard(channel, bounded=False))
            progress, ear = channel_state.progress_of(facts), channel_state.ear_of(facts)
            del facts
        return (yield from self._end(channel, progress))

    def _end(self, channel: Channel, ended: Ended) -> Generator[bool, None, str]:
        """Ends a call that is over and still ours, after a look whether FreeSWITCH is about to take it elsewhere."""
        began = time.monotonic()
        channel.tell(call_commands.pause(ended), asks=True)
        yield False
        snapshot = _heard(channel, bounded=False)
        if time.monotonic() - began < ended.pause_ms / 1000 * _WHOLE_PAUSE:
            raise _LeftError(Elsewhere("transferred", snapshot.get("Caller-Destination-Number")))
        channel.tell([End(ended.cause)], asks=False)
        yield True
        channel.hear_end(bounded=True)
        return ended.cause

    def _give_up_call(self, channel: Channel, call: Call) -> None:
        """An emergency call is never ended by us: the dialplan's next action can still send it out.

        Which country its account has is perhaps what could not be read, so an emergency number of any country counts.
        """
        outbound = call.direction is Direction.OUTBOUND
        if not (outbound and self._is_emergency(call.destination)):
            self.give_up(channel)

    def _is_emergency(self, dialled: str) -> bool:
        return short_numbers.is_emergency(dialled, self.country) or short_numbers.is_emergency_somewhere(dialled)

    def _with_phones(self, channel: Channel, call: Call, decision: Decision) -> Generator[bool, None, Decision]:
        """The decision with the registered phones of its endpoints. Asks FreeSWITCH, if they are not known."""
        asked = contacts.endpoints(decision.plan)
        if not asked:
            return decision
        known = self.registrations.known(call.switch, asked)
        if known is None:
            mark, asked_at = secrets.token_hex(8), self.registrations.clock()
            channel.tell(call_commands.ask(asked, self.profiles, mark), asks=True)
            yield True
            text = _heard(channel, bounded=True).variable(contacts.VARIABLE)
            known = contacts.read(text, asked, self.profiles, mark)
            self.registrations.keep(call.switch, known, asked_at)
        return contacts.resolve(decision, known)

    def _log(
        self, log: FilteringBoundLogger, call: Call, decision: Decision, failed: FailedPlan | None, began: float
    ) -> None:
        plan = self._rings(decision.plan)
        reasons = decision.reasons
        unknown = bool(reasons) and any(reason.code in router.UNKNOWN for reason in reasons)
        (log.warning if unknown else log.info)(
            "call routed",
            code=decision.code,
            direction=call.direction.value,
            to=plain(call.destination),
            caller="anonymous" if call.anonymous else self.shown(plain(call.caller)),
            number=decision.number,
            account=decision.account,
            user=call.user,
            rule=str(decision.rule.key) if decision.rule else None,
            after=failed.outcome.value if failed else None,
            ended=list(map(self._leg, failed.legs)) if failed else [],
            legs=plan.legs,
            stages=plan.counts,
            final=plan.final,
            caller_id=decision.caller_id.reason,
            reasons=[f"{reason.code}: {plain(reason.subject)}" for reason in reasons],
            ms=round((time.perf_counter() - began) * 1000, 2),
        )

    def _rings(self, plan: Plan) -> PlanLog:
        """What the log says of a plan. It is written once for each plan."""
        known = plan.memo.log
        if known is None or known.shown is not self.shown:
            legs = [[self._target(leg) for leg in stage] for stage in plan.stages]
            known = PlanLog(self.shown, legs, list(map(len, legs)), str(plan.final) if plan.final else None)
            plan.memo.log = known
        return known

    def _target(self, leg: Leg) -> str:
        """What a leg rings, for the log. An external number may be a person's."""
        kind, _, name = leg.target.partition(" ")
        return f"{kind} {self.shown(name)}" if isinstance(leg.dial, TrunkDial) else leg.target

    def _leg(self, ended: str) -> str:
        """`1003 USER_BUSY`. What FreeSWITCH dialled may be a telephone number."""
        dialled, _, cause = ended.rpartition(" ")
        return f"{self.shown(dialled) if len(dialled) > _EXTENSION_DIGITS else plain(dialled)} {plain(cause)}"

    def give_up(self, channel: Channel) -> None:
        """Ends our part in a call that can not be decided: hands it back to the dialplan, or ends it.

        To do nothing hands it back: FreeSWITCH goes on with the dialplan's next action.
        """
        if not self.hang_up_on_failure:
            return
        try:
            channel.refuse(FAILURE_CAUSE)
        except FsrouteError as error:
            self.log.warning("call not ended", peer=channel.peer, reason=str(error))


class _LeftError(Exception):
    """FreeSWITCH has taken the call elsewhere (transfer, park, pickup). It goes on as soon as our connection is closed;
    whatever it was told now, a hang-up above all, would happen to it there."""

    def __init__(self, where: Elsewhere) -> None:
        super().__init__(where.how)
        self.where = where


def _heard(channel: Channel, *, bounded: bool) -> Frame:
    """The answer to what was asked. Raises _LeftError if the call is no longer ours."""
    snapshot = channel.hear(bounded=bounded)
    where = channel_state.elsewhere(snapshot)
    if where is not None:
        raise _LeftError(where)
    return snapshot


def _seconds(began: float) -> float:
    return round(time.monotonic() - began, 1)


def _is_lost_emergency(decision: Decision) -> bool:
    """Whether an emergency call rings nowhere: its account is not known here, or has no trunk."""
    return not decision.plan.stages and any(reason.code == "emergency" for reason in decision.reasons)
