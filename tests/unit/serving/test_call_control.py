"""Every path of a call through the CallController, over a channel of a few lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from fsroute.callerid import policy
from fsroute.codes import DecisionCode, ReasonCode
from fsroute.errors import CallEnded, DataError, Disconnected, FsrouteError, ProtocolError, ReplyTimeout
from fsroute.eventsocket.frames import Command, End, Execute, Frame
from fsroute.eventsocket.wait import Wait
from fsroute.model import (
    Call,
    ContactDial,
    Decision,
    EndpointDial,
    FailedPlan,
    Leg,
    Outcome,
    Plan,
    Reason,
    Registered,
)
from fsroute.serving.call_control import FAILURE_CAUSE, CallController
from fsroute.serving.registrations import SETTLED_S, Registrations
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Announcement, Hangup, Voicemail
from tests.support import snapshots
from tests.support.builders import CALLER, LINE, decision

SWITCH = "5b2c0b5e-6e3c-4b1d-9a53-0f4a52c1a001"
ANNA = EndpointDial("anna", "acme.example")
PHONE = Plan((((Leg("endpoint anna", ANNA, policy.RECEIVED)),),))
FIXED = Plan((((Leg("endpoint anna", ContactDial("internal", "sip:anna@192.0.2.1:5060"), policy.RECEIVED)),),))
"""A plan whose phones need no query."""


def decided(plan: Plan, code: DecisionCode = ReasonCode.ROUTED, *reasons: DecisionCode) -> Decision:
    named = (Reason(reason, "subject", "text") for reason in reasons or (code,))
    return decision(plan, *named, caller_id=policy.RECEIVED, code=code)


def snapshot(state: str = "4", headers: dict[str, str] | None = None, **variables: str) -> Frame:
    """What FreeSWITCH knows of the call."""
    named = {"Channel-State-Number": state, "Unique-ID": "c1", "Core-UUID": SWITCH, "Caller-Destination-Number": LINE}
    named |= {"Caller-Caller-ID-Number": CALLER, "Caller-Caller-ID-Name": "Eve", **(headers or {})}
    return snapshots.snapshot(named, {"sip_from_user": CALLER, **variables})


FIRST = snapshot()
BUSY = snapshot(fsroute_step="direct/1", originate_disposition="USER_BUSY", originate_causes="anna;USER_BUSY")
ANSWERED = snapshot(
    headers={"Answer-State": "answered"}, fsroute_step="direct/1", originate_disposition="SUCCESS", bridge_hangup_cause="X_Y"
)
PLAYED = snapshot(fsroute_step="done")
PARKED = snapshot("6", {"Caller-Destination-Number": "orbit"}, fsroute_step="done")

Answer = Frame | Exception | Callable[["Script"], Frame]


@dataclass
class Script:
    """A channel that answers in this order. It fails at its `fails_at`th step, counted from 0."""

    snapshots: Sequence[Answer]
    fails_at: int | None = None
    failure: Exception = field(default_factory=lambda: CallEnded("ORIGINATOR_CANCEL"))
    peer: str = "127.0.0.1"
    steps: list[str] = field(default_factory=list)
    sent: list[Command] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) - 1 == self.fails_at:
            raise self.failure

    def execute(self, commands: Sequence[Command], *, snapshot: bool) -> None:
        self._step("execute and snapshot" if snapshot else "execute")
        self.sent += commands

    def first_snapshot(self) -> Frame:
        return self.snapshot(Wait.REPLY)

    def snapshot(self, wait: Wait) -> Frame:
        self._step(f"wait {wait.name}")
        answer, *self.snapshots = self.snapshots
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Frame) else answer(self)

    def wait_for_end(self, wait: Wait) -> None:
        self._step(f"end {wait.name}")

    def reject(self, cause: str) -> None:
        self.rejected.append(cause)
        self._step("reject")


def after(seconds: float, answer: Frame) -> Answer:
    """A snapshot at the end of a pause."""

    def wait(_: Script) -> Frame:
        time.sleep(seconds)
        return answer

    return wait


def with_phones(script: Script) -> Frame:
    """FreeSWITCH's reply to the query that was sent: one phone is registered."""
    return contacts(script, "sofia/internal/sip:anna@192.0.2.1:5060")


def without_phones(script: Script) -> Frame:
    return contacts(script, "error/user_not_registered")


def contacts(script: Script, text: str) -> Frame:
    query = script.sent[-1]
    assert isinstance(query, Execute)
    head, _, rest = query.argument.removeprefix("fsroute_contacts=").partition("${")
    value = head + text + rest.partition("}")[2]
    return snapshot(fsroute_contacts=value)


@dataclass
class Decisions:
    """Decides in this order, and keeps what it was given."""

    answers: list[Decision | Exception]
    given: list[FailedPlan | None] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __call__(self, call: Call, failed: FailedPlan | None) -> Decision:
        self.given.append(failed)
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Log(CapturingLogger):
    """A logger that binds nothing."""

    def bind(self, **_: Any) -> Log:
        return self

    @property
    def events(self) -> list[str]:
        return [call.args[0] for call in self.calls]

    def line(self, event: str) -> dict[str, Any]:
        (found,) = (call.kwargs for call in self.calls if call.args[0] == event)
        return dict(found)

    def level(self, event: str) -> str:
        (found,) = (call.method_name for call in self.calls if call.args[0] == event)
        return str(found)


def run(
    script: Script,
    *decisions: Decision | Exception,
    registrations: Registrations | None = None,
    hang_up: bool = True,
    shown: Callable[[str], str] = str,
) -> tuple[Log, Decisions, list[Wait]]:
    """Controls a call; what was logged, what was decided, and before what the call paused."""
    log, decide = Log(), Decisions(list(decisions))
    confirmation = Confirmation()
    controller = CallController(
        decide, registrations or Registrations(0), confirmation, ("internal",), hang_up, "DE", shown,
        log,
    )  # fmt: skip
    waits = list(controller.run(script))
    return log, decide, waits


def names(sent: Sequence[Command]) -> list[str]:
    return [command.application if isinstance(command, Execute) else f"end {command.cause}" for command in sent]


# --- calls that go their way ------------------------------------------------------------------------------


def test_a_call_that_is_rejected_ends_with_the_cause_of_its_plan() -> None:
    script = Script([FIRST])
    log, _, waits = run(script, decided(Plan(final=Hangup("CALL_REJECTED")), ReasonCode.CALL_FAILED))
    assert names(script.sent) == ["multiset", "end CALL_REJECTED"]
    assert script.steps == ["execute and snapshot", "wait REPLY", "execute", "end REPLY"]
    assert waits == [Wait.REPLY, Wait.REPLY]
    assert log.events == ["commands sent", "call routed", "call ended"]
    assert log.line("call ended")["cause"] == "CALL_REJECTED"


def test_phones_are_queried_and_a_busy_plan_is_decided_again() -> None:
    script = Script([FIRST, with_phones, BUSY])
    log, decide, waits = run(script, decided(PHONE), decided(Plan(final=Hangup("USER_BUSY")), ReasonCode.RULES_EXHAUSTED))
    assert names(script.sent)[:2] == ["set", "set"]
    assert names(script.sent)[2:] == ["multiset", "ring_ready", "bridge", "multiset", "end USER_BUSY"]
    bridge = script.sent[4]
    assert isinstance(bridge, Execute)
    assert bridge.argument.endswith("sofia/internal/sip:anna@192.0.2.1:5060")
    first, second = decide.given
    assert first is None
    assert second is not None
    assert (second.outcome, second.cause) == (Outcome.BUSY, "USER_BUSY")
    assert waits == [Wait.REPLY, Wait.REPLY, Wait.CALL, Wait.REPLY]
    assert log.events.count("call routed") == 2


def test_phones_that_are_known_are_not_queried() -> None:
    now = [100.0]
    known = Registrations(100, lambda: now[0])
    known.subscribed(SWITCH)
    now[0] += SETTLED_S + 1
    known.keep(SWITCH, {ANNA: Registered((ContactDial("internal", "sip:anna@192.0.2.1:5060"),), 0)}, now[0])
    script = Script([FIRST, BUSY])
    run(script, decided(PHONE), decided(Plan(final=Hangup("USER_BUSY"))), registrations=known)
    assert names(script.sent)[0] == "multiset"


def test_phones_that_were_queried_are_kept() -> None:
    now = [100.0]
    known = Registrations(100, lambda: now[0])
    known.subscribed(SWITCH)
    now[0] += SETTLED_S + 1
    run(Script([FIRST, with_phones, CallEnded("X")]), decided(PHONE), registrations=known)
    assert known.known(SWITCH, [ANNA]) is not None


def test_a_plan_without_registered_phones_is_decided_again_without_a_bridge() -> None:
    script = Script([FIRST, without_phones])
    _, decide, _ = run(script, decided(PHONE), decided(Plan(final=Hangup("SUBSCRIBER_ABSENT"))))
    assert names(script.sent) == ["set", "set", "multiset", "end SUBSCRIBER_ABSENT"]
    assert decide.given[1] == FailedPlan(None, Outcome.UNREACHABLE)


def test_a_follow_up_without_phones_keeps_the_outcome_before_it() -> None:
    script = Script([FIRST, BUSY])
    _, decide, _ = run(script, decided(FIXED), decided(Plan()), decided(Plan(final=Hangup("USER_BUSY"))))
    last = decide.given[2]
    assert last is not None
    assert last.outcome is Outcome.BUSY


@pytest.mark.parametrize("final", [Announcement("closed.wav"), Voicemail("anna", "acme.example")])
def test_after_an_announcement_or_a_mailbox_the_call_ends(final: Announcement | Voicemail) -> None:
    script = Script([FIRST, PLAYED, after(0.1, PLAYED)])
    log, _, waits = run(script, decided(Plan(final=final)))
    assert names(script.sent)[-2:] == ["sleep", "end NORMAL_CLEARING"]
    assert waits == [Wait.REPLY, Wait.CALL, Wait.CALL, Wait.REPLY]
    assert log.line("call ended")["cause"] == "NORMAL_CLEARING"


def test_a_call_that_was_answered_ends_after_a_pause() -> None:
    script = Script([ANSWERED, after(1.0, ANSWERED)])
    log, decide, _ = run(script)
    assert (names(script.sent), decide.given) == (["sleep", "end X_Y"], [])
    assert log.line("call ended")["cause"] == "X_Y"


def test_a_pause_that_is_cut_short_is_a_transfer() -> None:
    script = Script([ANSWERED, ANSWERED])
    log, _, _ = run(script)
    assert names(script.sent) == ["sleep"]  # no hang-up, which would reach the call where it is now
    assert log.line("call left") == {"how": "transferred", "to": LINE, "seconds": 0.0}


@pytest.mark.parametrize("snapshots", [[FIRST, PARKED], [PLAYED, PARKED]], ids=["after a bridge", "during the pause"])
def test_a_call_that_freeswitch_took_elsewhere_is_left_alone(snapshots: list[Answer]) -> None:
    script = Script(snapshots)
    log, _, _ = run(script, decided(FIXED))
    assert log.events[-1] == "call left"
    assert (log.line("call left")["how"], log.line("call left")["to"]) == ("parked", "orbit")
    assert script.rejected == []
    assert not any(isinstance(command, End) for command in script.sent)


def test_a_caller_who_hangs_up_during_the_query_ends_the_call() -> None:
    log, _, _ = run(Script([FIRST, CallEnded("ORIGINATOR_CANCEL")]), decided(PHONE))
    assert log.events == ["call ended"]
    assert log.line("call ended")["cause"] == "ORIGINATOR_CANCEL"


# --- calls that cannot be decided -------------------------------------------------------------------------

FAILURES = {"hangup": [FAILURE_CAUSE], "dialplan": []}


@pytest.mark.parametrize("on_failure", FAILURES)
@pytest.mark.parametrize("error", [DataError("no database"), ValueError("a defect")], ids=["data", "defect"])
def test_a_call_that_cannot_be_decided_is_ended_or_handed_back(on_failure: str, error: Exception) -> None:
    script = Script([FIRST])
    log, _, _ = run(script, error, hang_up=on_failure == "hangup")
    assert script.rejected == FAILURES[on_failure]
    event, level = ("call not routed", "error") if isinstance(error, DataError) else ("call failed", "exception")
    assert (log.events, log.level(event)) == ([event], level)
    assert log.line(event)["to"] == LINE


@pytest.mark.parametrize("dialled", ["112", "911", "+49112"])
@pytest.mark.parametrize("error", [DataError("no database"), ValueError("a defect")], ids=["data", "defect"])
def test_an_emergency_call_of_a_user_is_always_handed_back(dialled: str, error: Exception) -> None:
    script = Script([snapshot(headers={"Caller-Destination-Number": dialled}, fsroute_direction="outbound")])
    run(script, error)
    assert script.rejected == []


def test_an_inbound_call_to_an_emergency_number_is_ended() -> None:
    script = Script([snapshot(headers={"Caller-Destination-Number": "112"})])
    run(script, DataError("no database"))
    assert script.rejected == [FAILURE_CAUSE]


def test_an_emergency_call_without_a_trunk_is_handed_back() -> None:
    script = Script([snapshot(headers={"Caller-Destination-Number": "112"}, fsroute_direction="outbound")])
    log, _, _ = run(
        script,
        decided(Plan(final=Hangup("NO_ROUTE_DESTINATION")), ReasonCode.NO_TRUNK, ReasonCode.EMERGENCY, ReasonCode.NO_TRUNK),
    )
    assert (script.sent, script.rejected) == ([], [])
    assert log.events == ["call routed", "call not routed"]


def test_an_emergency_call_whose_trunks_have_failed_ends() -> None:
    variables = {"fsroute_direction": "outbound", "fsroute_step": "direct/1", "originate_disposition": "USER_BUSY"}
    script = Script([snapshot(headers={"Caller-Destination-Number": "112"}, **variables)])
    run(script, decided(Plan(final=Hangup("USER_BUSY")), ReasonCode.CALL_FAILED, ReasonCode.EMERGENCY))
    assert names(script.sent)[-1] == "end USER_BUSY"


def test_a_rejection_that_fails_is_a_log_line() -> None:
    script = Script([FIRST], fails_at=2, failure=ReplyTimeout("no reply from FreeSWITCH for 1 s"))
    log, _, _ = run(script, DataError("no database"))
    assert script.steps[-1] == "reject"
    assert log.line("call not ended") == {"peer": "127.0.0.1", "reason": "no reply from FreeSWITCH for 1 s"}


@pytest.mark.parametrize("hang_up", [True, False])
def test_a_connection_that_sends_no_call_is_given_up(hang_up: bool) -> None:
    script = Script([ProtocolError("frame without Content-Type")])
    log, decide, _ = run(script, hang_up=hang_up)
    assert (log.events, decide.given) == (["not a call"], [])
    assert script.rejected == ([FAILURE_CAUSE] if hang_up else [])


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_connection_that_ends_before_its_call_needs_nothing(fails_at: int) -> None:
    script = Script([FIRST], fails_at, Disconnected("closed"))
    log, _, _ = run(script)
    assert (log.events, script.rejected) == (["connection ended before a call"], [])


# --- a channel that fails at each step --------------------------------------------------------------------

STEPS = [
    "execute and snapshot", "wait REPLY",  # the call
    "execute and snapshot", "wait REPLY",  # the query
    "execute and snapshot", "wait CALL",  # the first plan
    "execute and snapshot", "wait CALL",  # the announcement
    "execute and snapshot", "wait CALL",  # the pause
    "execute", "end REPLY",
]  # fmt: skip


def whole_call(fails_at: int | None, failure: Exception) -> tuple[Script, Log]:
    script = Script([FIRST, with_phones, BUSY, PLAYED, after(0.1, PLAYED)], fails_at, failure)
    log, _, _ = run(script, decided(PHONE), decided(Plan(final=Announcement("closed.wav"))))
    return script, log


def test_the_whole_call_has_these_steps() -> None:
    script, log = whole_call(None, CallEnded("X"))
    assert script.steps == STEPS
    assert log.events[-1] == "call ended"


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_call_that_ends_at_a_step_gets_nothing_more(step: int) -> None:
    script, log = whole_call(step, CallEnded("ORIGINATOR_CANCEL"))
    assert script.steps == STEPS[: step + 1]
    assert script.rejected == []
    if step < 2:
        assert log.events == ["connection ended before a call"]
    else:
        assert log.events[-1] == "call ended"
        assert log.line("call ended")["cause"] == "ORIGINATOR_CANCEL"


@pytest.mark.parametrize(
    "failure", [ReplyTimeout("late"), ProtocolError("noise"), RuntimeError("defect")], ids=["late", "noise", "defect"]
)
@pytest.mark.parametrize("step", range(2, len(STEPS)))
def test_a_channel_that_fails_at_a_step_is_given_up(step: int, failure: Exception) -> None:
    script, log = whole_call(step, failure)
    assert script.steps == [*STEPS[: step + 1], "reject"]
    assert script.rejected == [FAILURE_CAUSE]
    assert log.events[-1] == ("call not routed" if isinstance(failure, FsrouteError) else "call failed")


@pytest.mark.parametrize("step", [4, 6])
def test_a_plan_is_logged_also_if_its_commands_did_not_get_through(step: int) -> None:
    _, log = whole_call(step, CallEnded("X"))
    assert log.events[-2:] == ["call routed", "call ended"]
    assert log.events.count("call routed") == step // 2 - 1


# --- the log line -----------------------------------------------------------------------------------------


def test_numbers_are_shortened_where_they_may_be_a_persons() -> None:
    busy = snapshot(
        fsroute_step="direct/1",
        originate_disposition="USER_BUSY",
        originated_legs="ARRAY::a;out;+491713920051|:b;Anna;1001",
        originate_causes="ARRAY::a;USER_BUSY|:b;NO_ANSWER",
    )
    script = Script([FIRST, busy])
    log, _, _ = run(
        script,
        decided(FIXED),
        decided(Plan(final=Hangup("USER_BUSY")), ReasonCode.CALL_FAILED),
        shown=lambda number: f"<{number[:3]}>",
    )
    first, second = (call.kwargs for call in log.calls if call.args[0] == "call routed")
    assert (first["caller"], first["to"], first["legs"], first["stages"]) == ("<+49>", LINE, [["endpoint anna"]], [1])
    assert second["ended"] == ["<+49> USER_BUSY", "1001 NO_ANSWER"]
    assert (second["after"], second["final"]) == ("no_answer", "hangup USER_BUSY")


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (ReasonCode.ROUTED, "info"),
        (ReasonCode.TRUNK_UNKNOWN, "warning"),
        (ReasonCode.USER_UNKNOWN, "warning"),
        (ReasonCode.ACCOUNT_UNKNOWN, "warning"),
    ],
)
def test_an_unknown_name_makes_the_line_a_warning(code: DecisionCode, level: str) -> None:
    log, _, _ = run(Script([FIRST]), decided(Plan(final=Hangup("X_Y")), ReasonCode.CALL_FAILED, code))
    assert log.level("call routed") == level


def test_a_hidden_caller_is_anonymous_in_the_log() -> None:
    script = Script([snapshot(headers={"Caller-Privacy-Hide-Number": "true"})])
    log, _, _ = run(script, decided(Plan(final=Hangup("X_Y"))))
    assert log.line("call routed")["caller"] == "anonymous"
