"""A decision as the commands that FreeSWITCH is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from fsroute.callerid import policy
from fsroute.codes import ReasonCode
from fsroute.errors import DialStringError
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Command, End, Execute
from fsroute.model import Call, CallerId, Decision, Direction, EndpointDial, Plan
from fsroute.routing.planner import rounds as rounds_of
from fsroute.switch import contacts, dialstring, outcome
from fsroute.switch.channel_state import (
    DIRECT,
    DONE,
    NOTHING_BEFORE,
    PLAN_VARIABLE,
    RECALL,
    STEP_VARIABLE,
    Ended,
    MediaState,
)
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Application, Ending, Hangup

BY_TRUNKS = frozenset({ReasonCode.TRUNK, ReasonCode.EMERGENCY})
"""What is decided of a user's own call that leaves through a trunk: the caller hears the carrier before the answer."""

_RINGBACK = ("ringback", "%(1000,4000,425)")
"""The ringing tone of Germany and most of Europe: 425 Hz, 1 s on, 4 s off (ITU-T E.180, Supplement 2)."""

_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9 .+&()_\u00a1-\U0010ffff-]")
_UNSAFE_IN_NUMBERS = re.compile(r"[^A-Za-z0-9+*#_.-]")
"""What a caller's name and number may hold when they are shown to our phones. FreeSWITCH copies both from the incoming
call into From and Remote-Party-ID of every leg without quoting them (sofia_glue.c, sofia_glue_do_invite): a quote in
the name makes an INVITE that it refuses to send itself, so the caller would decide which legs ring; `>` or `;` in the
number writes header parameters."""

_MAX_SHOWN = 64
"""Characters of a name that phones show; the rest would only make their INVITE too long for a UDP packet."""

_KEPT = 1024
"""Commands that need not be written again: those of a rule are the same for most calls."""
_PLAYBACK_PAUSE_MS = 500
"""Silence between the answer and the first word: a carrier may take so long to open the caller's ear."""


def pause(ended: Ended) -> list[Command]:
    """Lets a call that seems to be over wait. The pause ends at once for a call that is being transferred, whatever its
    state says (switch_ivr.c, switch_ivr_sleep; switch_channel.c, switch_channel_test_ready)."""
    return [Execute("sleep", str(ended.pause_ms))]


def _step(decision: Decision, rule: str) -> str:
    """How far the call has come when what is told now has failed. `rule` is the rule's key as text."""
    if not decision.plan.stages:
        return DONE
    recall = RECALL if decision.is_recall else ""
    if decision.rule is None:
        return f"{recall}{DIRECT}/{decision.trunks}"
    if not decision.rounds and len(rounds_of(decision.plan)) == 1:
        return recall + rule
    return f"{recall}{rule}/{decision.rounds + 1}/{decision.before or NOTHING_BEFORE}"


def contacts_query(asked: Sequence[EndpointDial], profiles: Sequence[str], mark: str) -> list[Command]:
    """Asks FreeSWITCH which phones are registered for these endpoints; its next snapshot answers.

    Without app_disable_expand_variables, `set` would expand a second time what a phone wrote into its Contact. It
    stays on for the rest of the call: nothing that we send after this is to be expanded.
    """
    return [
        Execute("set", "app_disable_expand_variables=true"),
        Execute("set", f"{contacts.VARIABLE}={contacts.query(asked, profiles, mark)}"),
    ]


def commands_for(
    call: Call, decision: Decision, confirmation: Confirmation, count: int = 1, media: MediaState = MediaState.NONE
) -> list[Command]:
    """Everything FreeSWITCH needs for this decision: to ring a plan's first round, or to end the call. It is the `count`th
    of its channel, and `media` is what the caller hears now.

    After a round the next snapshot tells how they ended, after an announcement or a mailbox whether the call is still ours.
    Raises DialStringError.
    """
    plan = decision.plan
    rule = str(decision.rule.key) if decision.rule else "none"
    evidence = decision.code, decision.number or "none", rule, decision.caller_id.reason
    early_media = passes_early_media(decision, media)
    more = _identity_of(call, decision) + (_for_bridge(plan, media, early_media=early_media) if plan.stages else ())
    told: list[Command] = [_variables(_step(decision, rule), evidence, count, more)]
    if plan.stages or (isinstance(plan.final, Application) and plan.final.shows_caller):
        told += _caller(call, decision.caller_id)
    if plan.stages:
        # 180 now: a leg that sends only early media, as mobile networks do, would leave the caller in silence.
        told.append(Execute("ring_ready"))
        text = dialstring.bridge(plan, confirmation, early_media=early_media)
        told.append(Execute("bridge", dialstring.of_call(text, call)))
        return told
    if plan.final is None:
        raise DialStringError("a plan with neither stages nor an end")
    if decision.code in policy.REFUSALS:
        told.append(Execute("set", f"sip_rh_X-FSRoute-Reason={decision.code}"))
    return told + _final(plan.final)


def passes_early_media(decision: Decision, media: MediaState = MediaState.NONE) -> bool:
    """Whether the caller receives the carrier's early media: a user's own call has one leg only. A caller whose call was
    answered before keeps the ringing tone instead."""
    return decision.code in BY_TRUNKS and bool(decision.plan.stages) and media is not MediaState.ANSWERED


def _for_bridge(plan: Plan, media: MediaState, *, early_media: bool) -> tuple[tuple[str, str], ...]:
    """The variables that only some bridges need."""
    variables: tuple[tuple[str, str], ...] = ()
    if early_media:
        # Early media counts as success, and then leg_timeout does not: this takes its place (switch_ivr_bridge.c).
        limit = str(plan.stages[0][0].ring_s)
        variables += (("bridge_answer_timeout", limit), ("continue_on_answer_timeout", "true"))
    if media is MediaState.EARLY:
        # Who has heard something makes no tone of their own any more; a trunk that only rings would be silence.
        variables += (_RINGBACK,)
    if dialstring.is_enterprise(plan):
        variables += tuple(outcome.MARKS.items())
    return variables


_EVIDENCE = ("code", "number", "rule", "caller_id")
"""The channel variables fsroute_..., for the CDR."""


@lru_cache(maxsize=_KEPT)
def _variables(step: str, evidence: tuple[str, ...], count: int, more: tuple[tuple[str, str], ...]) -> Command:
    """What the first plan decided has names of its own, and is not written again. Later plans have their number behind the
    name, and the last one is also under fsroute_last_..., for CDR templates that cannot compute a name."""
    decided = dict(zip(_EVIDENCE, evidence, strict=True))
    suffix = f"_{count}" if count > 1 else ""
    written = {f"fsroute_{name}{suffix}": value for name, value in decided.items()}
    if count > 1:
        written |= {f"fsroute_last_{name}": value for name, value in decided.items()}
    return frames.set_variables(
        {
            STEP_VARIABLE: step,
            PLAN_VARIABLE: str(count),
            **written,
            **dict(more),
            contacts.VARIABLE: "read",  # what phones wrote does not stay on the channel
            **(_IS_OVER_AFTER_BRIDGE if step != DONE else {}),
        }
    )


_IS_OVER_AFTER_BRIDGE = {"hangup_after_bridge": "true"}
"""A call that was answered and is over must not go on to the dialplan's fallback, whether we are still there or not. A
call that is transferred goes on all the same (switch_ivr_bridge.c, switch_ivr_multi_threaded_bridge)."""


def _identity_of(call: Call, decision: Decision) -> tuple[tuple[str, str], ...]:
    """What a transfer of this call needs to know later: as whom its caller was shown, and whose number was called."""
    if call.transferred:
        return ()
    account = (("fsroute_called_account", decision.account),) if decision.account and decision.number else ()
    caller_id = decision.caller_id
    if call.direction is Direction.INBOUND or caller_id.as_received or not decision.plan.stages:
        return account
    return (*account, ("fsroute_shown", caller_id.presented or policy.ANONYMOUS))


def _caller(call: Call, caller_id: CallerId) -> list[Command]:
    """Makes the caller's channel say who calls, where it says something else or harmful: legs to phones copy it.

    What phones see is the E.164 number that was read from what a carrier wrote: it can be called back from any country. A
    name that is one of the call's numbers is no name; FreeSWITCH puts From's there.
    """
    if call.direction is Direction.INBOUND and caller_id.presented is None and not caller_id.as_received:
        return _anonymized(call)
    is_read = caller_id.as_received and caller_id.presented is not None and call.direction is Direction.INBOUND
    shown = (caller_id.presented if is_read else None) or call.caller
    name = call.caller_name
    if name and name != shown and is_read and _is_number_of(call, name):
        told: list[Command] = [Execute("set_profile_var", f"caller_id_name={shown}")]
    else:
        told = _cleaned("caller_id_name", name, _UNSAFE_IN_NAMES, " ")
    if shown != call.caller:
        return [*told, Execute("set_profile_var", f"caller_id_number={shown}")]
    return told + _cleaned("caller_id_number", shown, _UNSAFE_IN_NUMBERS, "")


def _is_number_of(call: Call, name: str) -> bool:
    return name in (call.caller, call.from_user) or any(name == text for _, text in call.identities)


def _anonymized(call: Call) -> list[Command]:
    """Takes from the channel the number and the name of a party who hides them, or whom the law hides.

    FreeSWITCH hides them in the INVITE to a phone. Later it shows what the channel has: by UPDATE or INFO to a phone that
    another one connects with the party (attended transfer), and in a mailbox (switch_ivr_bridge.c, send_display;
    mod_voicemail.c).
    """
    known = (text for text in (call.caller, call.caller_name) if text)
    return [] if all(policy.is_hidden(text, call.direction) for text in known) else list(_ANONYMIZED)


_ANONYMIZED = (
    Execute("set_profile_var", f"caller_id_name={policy.ANONYMOUS}"),
    Execute("set_profile_var", f"caller_id_number={policy.ANONYMOUS}"),
)


def _cleaned(field: str, text: str, unsafe: re.Pattern[str], instead: str) -> list[Command]:
    """Replaces what a caller wrote by its harmless part, if it is not harmless already, as nearly always."""
    if not unsafe.search(text) and len(text) <= _MAX_SHOWN:
        return []
    clean = " ".join(unsafe.sub(instead, text[:_MAX_SHOWN]).split())
    return [Execute("set_profile_var", f"{field}={clean or 'unknown'}")]


def _final(final: Ending) -> list[Command]:
    return [End(final.cause)] if isinstance(final, Hangup) else _answered(*final.command())


def _answered(application: str, argument: str) -> list[Command]:
    return [
        Execute("answer"),
        Execute("sleep", str(_PLAYBACK_PAUSE_MS)),
        Execute(application, argument),
    ]
