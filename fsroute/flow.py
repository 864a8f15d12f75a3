"""One call from its first byte to its last: connect, decide, tell, hear how it ended, decide again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent
from structlog.typing import FilteringBoundLogger

from fsroute import answer, contacts, dialstring, frames, number
from fsroute.dialstring import Confirmation
from fsroute.errors import DataError, Disconnected, FsrouteError
from fsroute.frames import Frame
from fsroute.model import Call, Decision, Direction, Failed, Outcome, Plan
from fsroute.session import Session

FAILURE_CAUSE = "NORMAL_TEMPORARY_FAILURE"
"""SIP 503 to the caller: try again, or try another way."""

NOTHING = Plan()
"""A plan of which no phone is registered."""

Decide = Callable[[Call, Failed | None], Decision]
"""Decides within its deadline. Raises FsrouteError for a call that can not be decided."""


@dataclass(frozen=True, slots=True)
class CallFlow:
    """How calls are led. One for all calls; it holds no state of any."""

    decide: Decide
    confirmation: Confirmation
    profiles: tuple[str, ...]
    hang_up_on_failure: bool
    country: str
    shown: Callable[[str], str]
    log: FilteringBoundLogger

    def run(self, session: Session) -> None:
        """Leads one call to its end, or to the point from which FreeSWITCH goes on alone. Raises nothing."""
        try:
            channel = session.connect()
        except Disconnected as error:
            self.log.info("connection ended before a call", peer=session.peer, reason=str(error))
            return
        except FsrouteError as error:
            self.log.warning("no call", peer=session.peer, reason=str(error))
            self.give_up(session)
            return
        call = answer.call_of(channel)
        log = self.log.bind(call=call.uuid)
        try:
            self._lead(session, channel, call, log)
        except Disconnected:
            log.info("call ended")
        except FsrouteError as error:
            log.error("call not routed", to=_printable(call.destination), reason=str(error))  # noqa: TRY400 - no defect
            self._give_up_call(session, call)
        except Exception:
            # A defect of ours: this call gets what an undecidable one gets, and the log its traceback.
            log.exception("call failed", to=_printable(call.destination))
            self._give_up_call(session, call)

    def _lead(self, session: Session, channel: Frame, call: Call, log: FilteringBoundLogger) -> None:
        progress = answer.progress_of(channel)
        while not isinstance(progress, answer.Ended):
            began = time.perf_counter()
            decision = self._with_phones(session, self.decide(call, progress))
            self._tell(log, call, decision, progress, time.perf_counter() - began)
            if progress is None and _is_lost_emergency(decision):
                raise DataError("an emergency call that no trunk of ours carries")
            if decision.plan == NOTHING:
                # The caller hears in the end how the phones that did ring ended it.
                outcome = progress.outcome if progress else Outcome.UNREACHABLE
                progress = Failed(decision.rule.key if decision.rule else None, outcome)
                continue
            session.write(answer.commands(call, decision, self.confirmation))
            if not decision.plan.stages:
                session.until_end(None)
                log.info("call ended")
                return
            progress = answer.progress_of(session.snapshot(None))
        session.write(frames.hangup("NORMAL_CLEARING"))
        session.until_end(session.timeout_s)
        log.info("call ended")

    def _give_up_call(self, session: Session, call: Call) -> None:
        """An emergency call is never ended by us: the dialplan's next action can still send it out."""
        outbound = call.direction is Direction.OUTBOUND
        if not (outbound and number.is_emergency(call.destination, self.country)):
            self.give_up(session)

    def _with_phones(self, session: Session, decision: Decision) -> Decision:
        """The decision with the registered phones of its endpoints. Asks FreeSWITCH, if there is an endpoint in it."""
        asked = contacts.endpoints(decision.plan)
        if not asked:
            return decision
        mark = secrets.token_hex(8)
        session.write(answer.ask(asked, self.profiles, mark))
        text = session.snapshot(session.timeout_s).variable(contacts.VARIABLE)
        return contacts.resolve(decision, contacts.read(text, asked, self.profiles, mark))

    def _tell(
        self, log: FilteringBoundLogger, call: Call, decision: Decision, failed: Failed | None, seconds: float
    ) -> None:
        plan = decision.plan
        log.info(
            "call routed",
            code=decision.code,
            direction=call.direction.value,
            to=_printable(call.destination),
            caller="anonymous" if call.anonymous else self.shown(_printable(call.caller)),
            number=decision.number,
            account=decision.account,
            rule=str(decision.rule.key) if decision.rule else None,
            after=failed.outcome.value if failed else None,
            stages=[len(stage) for stage in plan.stages],
            final=str(plan.final) if plan.final else None,
            caller_id=decision.caller_id.reason,
            reasons=[f"{reason.code}: {_printable(reason.subject)}" for reason in decision.reasons],
            ms=round(seconds * 1000, 2),
        )
        log.debug("bridge", bridge=dialstring.bridge(plan, self.confirmation))

    def give_up(self, session: Session) -> None:
        """Ends our part in a call that can not be decided: hands it back to the dialplan, or ends it.

        Closing hands it back: in sync mode FreeSWITCH goes on with the dialplan's next action.
        """
        if not self.hang_up_on_failure:
            return
        try:
            # `connect` once more does no harm, and without it the first command would be lost (mod_event_socket).
            session.write(frames.CONNECT + frames.hangup(FAILURE_CAUSE))
            session.until_end(session.timeout_s)
        except FsrouteError as error:
            self.log.warning("call not ended", peer=session.peer, reason=str(error))


def within_deadline(pool: gevent.threadpool.ThreadPool, seconds: float, decide: Decide) -> Decide:
    """`decide`, in a thread of its own, for at most so long.

    A database that hangs holds a thread, not the process: other calls are decided meanwhile, and this one gets its
    answer in time, if only that there is none. The thread goes on and is used again when it returns.
    """

    def attempt(call: Call, failed: Failed | None) -> Decision | Exception:
        try:
            return decide(call, failed)
        except Exception as error:  # noqa: BLE001 - raised again below; out of the thread, gevent would print it
            return error

    def decide_within(call: Call, failed: Failed | None) -> Decision:
        with gevent.Timeout(seconds, DataError(f"no decision within {seconds * 1000:g} ms")):
            result: Decision | Exception = pool.apply(attempt, (call, failed))
        if isinstance(result, Exception):
            raise result
        return result

    return decide_within


def _is_lost_emergency(decision: Decision) -> bool:
    """Whether an emergency call rings nowhere: its account is not known here, or has no trunk."""
    return not decision.plan.stages and any(reason.code == "emergency" for reason in decision.reasons)


def _printable(text: str) -> str:
    """What a caller wrote, for a log that people read on terminals: short, and no control characters."""
    return ascii(text[:64])[1:-1]
