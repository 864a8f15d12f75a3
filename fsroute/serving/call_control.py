"""Controls one call from its beginning to its end: read, decide, send commands, read how they ended, decide again.

The same code controls calls of `fsroute serve` and of FreeSWITCH's own process. They differ in their `Channel`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from fsroute.codes import ReasonCode
from fsroute.errors import DataError, Disconnected, FsrouteError
from fsroute.eventsocket.frames import Command, End, Frame
from fsroute.eventsocket.wait import Wait
from fsroute.model import Call, Decision, Direction, FailedPlan, Leg, Outcome, Plan, PlanLog, TrunkDial
from fsroute.numbers import short_numbers
from fsroute.routing import router
from fsroute.serving.personal_numbers import PersonalNumbers
from fsroute.serving.registrations import Registrations
from fsroute.switch import call_commands, channel_state, contacts
from fsroute.switch.channel_state import Departure, Ended
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Hangup
from fsroute.text import plain

FAILURE_CAUSE = "NORMAL_TEMPORARY_FAILURE"
"""SIP 503 to the caller: try again, or try another way."""

_WHOLE_PAUSE = 0.9
"""The part of a pause that must have passed for a whole pause: FreeSWITCH's timers have steps of 20 ms."""

NOTHING = Plan()
"""A plan in which no phone is registered."""

Decide = Callable[[Call, FailedPlan | None], Decision]
"""Decides a call within a deadline. Raises FsrouteError for a call that cannot be decided."""


class Channel(Protocol):
    """A call in FreeSWITCH.

    Each method raises Disconnected when the call has ended, or ProtocolError for a reply that is not the protocol.
    """

    @property
    def peer(self) -> str:
        """The address of the FreeSWITCH that has the call."""
        ...

    def execute(self, commands: Sequence[Command], *, snapshot: bool) -> None:
        """Sends commands, which FreeSWITCH runs one after the other. With `snapshot` it sends a snapshot after them."""
        ...

    def first_snapshot(self) -> Frame:
        """The snapshot with which fsroute takes the call over."""
        ...

    def snapshot(self, wait: Wait) -> Frame:
        """The snapshot that was requested, after the commands before it."""
        ...

    def wait_for_end(self, wait: Wait) -> None:
        """Returns when the call has ended."""
        ...

    def reject(self, cause: str) -> None:
        """Ends the call with this cause, also a call that fsroute has not taken over."""
        ...


@dataclass(frozen=True, slots=True)
class CallController:
    """Controls all calls of a process. It has no state of any call."""

    decide: Decide
    registrations: Registrations
    confirmation: Confirmation
    profiles: tuple[str, ...]
    hang_up_on_failure: bool
    country: str
    shown: Callable[[str], str]
    log: FilteringBoundLogger

    def run(self, channel: Channel) -> Iterator[Wait]:
        """Controls one call to its end, or to the point from which FreeSWITCH goes on alone. Raises nothing.

        Yields before every wait. A server with many calls keeps only this iterator and the channel meanwhile. A thread that
        has one call simply loops.
        """
        try:
            channel.execute((), snapshot=True)
            yield Wait.REPLY
            facts = channel_state.facts_of(channel.first_snapshot())
        except Disconnected as error:
            self.log.info("connection ended before a call", peer=channel.peer, reason=str(error))
            return
        except FsrouteError as error:
            self.log.warning("not a call", peer=channel.peer, reason=str(error))
            self.give_up(channel.peer, channel.reject)
            return
        call = channel_state.call_of(facts)
        log, began = self.log.bind(call=call.uuid), time.monotonic()
        try:
            progress, plans, media = (
                channel_state.progress_of(facts),
                channel_state.plans_of(facts),
                channel_state.media_state_of(facts),
            )
            del facts  # 8 kB that a call would hold until it ends
            cause = yield from self._control(channel, call, progress, plans, media, log)
            log.info("call ended", cause=cause, seconds=_seconds(began))
        except _CallLeft as left:
            to = PersonalNumbers(self.shown).text(left.where.to)
            log.info("call left", how=left.where.how, to=to, seconds=_seconds(began))
        except Disconnected as gone:
            log.info("call ended", cause=gone.cause, seconds=_seconds(began))
        except FsrouteError as error:
            to = PersonalNumbers(self.shown).text(call.destination)
            log.error("call not routed", to=to, reason=str(error))  # noqa: TRY400 - no defect
            self._give_up_call(channel, call)
        except Exception:
            # A defect of fsroute: the call is handled like one that cannot be decided, and the log gets the traceback.
            log.exception("call failed", to=PersonalNumbers(self.shown).text(call.destination))
            self._give_up_call(channel, call)

    def _control(
        self,
        channel: Channel,
        call: Call,
        progress: FailedPlan | Ended | None,
        plans: int,
        media: channel_state.MediaState,
        log: FilteringBoundLogger,
    ) -> Generator[Wait, None, str | None]:
        """Controls a call to its end, and returns the hang-up cause. Raises _CallLeft if FreeSWITCH takes it elsewhere."""
        while not isinstance(progress, Ended):
            began = time.perf_counter()
            decision = yield from self._with_phones(channel, call, self.decide(call, progress))
            if progress is None and _is_lost_emergency(decision):
                self._log(log, call, decision, progress, began)
                raise DataError("an emergency call, and no trunk of its account can carry it")
            if decision.plan == NOTHING:
                self._log(log, call, decision, progress, began)
                # In the end the caller gets the cause with which the phones that did ring ended.
                outcome = progress.outcome if progress else Outcome.UNREACHABLE
                rule = decision.rule.key if decision.rule else None
                progress = FailedPlan(rule, outcome, is_recall=decision.is_recall)
                continue
            final = decision.plan.final
            ends = final.cause if isinstance(final, Hangup) and not decision.plan.stages else None
            try:
                plans += 1
                commands = call_commands.commands_for(call, decision, self.confirmation, plans, media)
                log.debug("commands sent", commands=commands)
                channel.execute(commands, snapshot=ends is None)
            finally:  # logged after the commands are sent, because the caller waits for them; also logged if that failed
                self._log(log, call, decision, progress, began)
            del decision, commands  # not held during the wait: the call may last for hours
            if ends is not None:
                yield Wait.REPLY
                channel.wait_for_end(Wait.REPLY)
                return ends
            yield Wait.CALL
            facts = channel_state.facts_of(_snapshot(channel, Wait.CALL))
            progress, media = channel_state.progress_of(facts), channel_state.media_state_of(facts)
            del facts
        return (yield from self._end(channel, progress))

    def _end(self, channel: Channel, ended: Ended) -> Generator[Wait, None, str]:
        """Ends a call that is over and that FreeSWITCH has not taken elsewhere, after a pause in which a transfer shows."""
        began = time.monotonic()
        channel.execute(call_commands.pause(ended), snapshot=True)
        yield Wait.CALL
        snapshot = _snapshot(channel, Wait.CALL)
        if time.monotonic() - began < ended.pause_ms / 1000 * _WHOLE_PAUSE:
            raise _CallLeft(Departure("transferred", snapshot.get("Caller-Destination-Number")))
        channel.execute([End(ended.cause)], snapshot=False)
        yield Wait.REPLY
        channel.wait_for_end(Wait.REPLY)
        return ended.cause

    def _give_up_call(self, channel: Channel, call: Call) -> None:
        """Gives a call up, but hands an emergency call back in any case: the dialplan's next action can still send it out.

        The account's country may be what could not be read. So an emergency number of any country counts.
        """
        outbound = call.direction is Direction.OUTBOUND
        if not (outbound and self._is_emergency(call.destination)):
            self.give_up(channel.peer, channel.reject)

    def _is_emergency(self, dialled: str) -> bool:
        return short_numbers.is_emergency(dialled, self.country) or short_numbers.is_emergency_somewhere(dialled)

    def _with_phones(self, channel: Channel, call: Call, decision: Decision) -> Generator[Wait, None, Decision]:
        """The decision with the registered phones of its endpoints. Queries FreeSWITCH if they are not known."""
        asked = contacts.endpoints(decision.plan)
        if not asked:
            return decision
        known = self.registrations.known(call.switch, asked)
        if known is None:
            mark, asked_at = secrets.token_hex(8), self.registrations.clock()
            channel.execute(call_commands.contacts_query(asked, self.profiles, mark), snapshot=True)
            yield Wait.REPLY
            text = _snapshot(channel, Wait.REPLY).variable(contacts.VARIABLE)
            known = contacts.read(text, asked, self.profiles, mark)
            self.registrations.keep(call.switch, known, asked_at)
        return contacts.resolve(decision, known)

    def _log(
        self, log: FilteringBoundLogger, call: Call, decision: Decision, failed: FailedPlan | None, began: float
    ) -> None:
        plan = self._rings(decision.plan)
        reasons, numbers = decision.reasons, PersonalNumbers(self.shown)
        unknown = bool(reasons) and any(reason.code in router.UNKNOWN for reason in reasons)
        (log.warning if unknown else log.info)(
            "call routed",
            code=decision.code,
            direction=call.direction.value,
            to=numbers.dialled(call, decision),
            caller=numbers.caller(call),
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
            reasons=numbers.reasons(call, decision),
            ms=round((time.perf_counter() - began) * 1000, 2),
        )

    def _rings(self, plan: Plan) -> PlanLog:
        """What the log says of a plan. It is computed once for each plan."""
        known = plan.memo.log
        if known is None or known.shown is not self.shown:
            legs = [[self._target(leg) for leg in stage] for stage in plan.stages]
            known = PlanLog(self.shown, legs, list(map(len, legs)), str(plan.final) if plan.final else None)
            plan.memo.log = known
        return known

    def _target(self, leg: Leg) -> str:
        """A leg's target for the log. An external number may be a person's."""
        kind, _, name = leg.target.partition(" ")
        return f"{kind} {self.shown(name)}" if isinstance(leg.dial, TrunkDial) else leg.target

    def _leg(self, ended: str) -> str:
        """`1003 USER_BUSY`: the dialled user or number, and the hang-up cause of the leg."""
        dialled, _, cause = ended.rpartition(" ")
        return f"{PersonalNumbers(self.shown).text(dialled)} {plain(cause)}"

    def give_up(self, peer: str, hang_up: Callable[[str], object]) -> None:
        """Ends a call that cannot be decided, or hands it back to the dialplan, as `on_failure` says.

        Nothing has to be done to hand it back: FreeSWITCH goes on with the dialplan's next action.
        """
        if not self.hang_up_on_failure:
            return
        try:
            hang_up(FAILURE_CAUSE)
        except FsrouteError as error:
            self.log.warning("call not ended", peer=peer, reason=str(error))


class _CallLeft(Exception):
    """FreeSWITCH has taken the call elsewhere (transfer, park, pickup). The call goes on as soon as the connection is
    closed. A command that is sent now, above all a hang-up, would reach the call there."""

    def __init__(self, where: Departure) -> None:
        super().__init__(where.how)
        self.where = where


def _snapshot(channel: Channel, wait: Wait) -> Frame:
    """The requested snapshot. Raises _CallLeft if FreeSWITCH has taken the call elsewhere."""
    snapshot = channel.snapshot(wait)
    where = channel_state.departure_of(snapshot)
    if where is not None:
        raise _CallLeft(where)
    return snapshot


def _seconds(began: float) -> float:
    return round(time.monotonic() - began, 1)


def _is_lost_emergency(decision: Decision) -> bool:
    """Whether an emergency call rings nowhere: its account is unknown, or has no trunk."""
    return not decision.plan.stages and any(reason.code == ReasonCode.EMERGENCY for reason in decision.reasons)
