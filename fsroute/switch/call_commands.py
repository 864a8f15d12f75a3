"""Makes the commands of a decision, which fsroute sends to FreeSWITCH. Pure."""

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
"""Codes of a user's own call through a trunk. Its caller receives the carrier's early media."""

_RINGBACK = ("ringback", "%(1000,4000,425)")
"""The ringing tone of Germany and most of Europe: 425 Hz, 1 s on, 4 s off (ITU-T E.180, Supplement 2)."""

_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9 .+&()_\u00a1-\U0010ffff-]")
_UNSAFE_IN_NUMBERS = re.compile(r"[^A-Za-z0-9+*#_.-]")
"""Characters that a caller's name and number may not have when a phone receives them. FreeSWITCH copies both from the
incoming call into From and Remote-Party-ID of every leg without quoting them (sofia_glue.c, sofia_glue_do_invite). With a
quote in the name FreeSWITCH refuses to send its own INVITE, so the caller would decide which legs ring. `>` or `;` in the
number writes header parameters."""

_MAX_SHOWN = 64
"""Characters of a name that phones show. More would make the INVITE too long for a UDP packet."""

_KEPT = 1024
"""Results that `_variables` keeps: for one rule they are the same for most calls."""

_PLAYBACK_PAUSE_MS = 500
"""Pause between answer and playback: some carriers pass audio to the caller only after this time."""


def pause(ended: Ended) -> list[Command]:
    """Makes a call wait that seems to be over. FreeSWITCH ends the pause at once if it is transferring the call, whatever
    the call's state is (switch_ivr.c, switch_ivr_sleep; switch_channel.c, switch_channel_test_ready)."""
    return [Execute("sleep", str(ended.pause_ms))]


def _step(decision: Decision, rule: str) -> str:
    """What fsroute_step must be when these commands have failed. `rule` is the rule's key as text."""
    if not decision.plan.stages:
        return DONE
    recall = RECALL if decision.is_recall else ""
    if decision.rule is None:
        return f"{recall}{DIRECT}/{decision.trunks}"
    if not decision.rounds and len(rounds_of(decision.plan)) == 1:
        return recall + rule
    return f"{recall}{rule}/{decision.rounds + 1}/{decision.before or NOTHING_BEFORE}"


def contacts_query(endpoints: Sequence[EndpointDial], profiles: Sequence[str], mark: str) -> list[Command]:
    """Makes FreeSWITCH look up the phones that are registered for these endpoints. The next snapshot has the result.

    Without app_disable_expand_variables, `set` would expand the text that a phone wrote into its Contact a second time. The
    variable stays on for the rest of the call: FreeSWITCH must not expand anything that fsroute sends later.
    """
    return [
        Execute("set", "app_disable_expand_variables=true"),
        Execute("set", f"{contacts.VARIABLE}={contacts.query(endpoints, profiles, mark)}"),
    ]


def commands_for(
    call: Call, decision: Decision, confirmation: Confirmation, count: int = 1, media: MediaState = MediaState.NONE
) -> list[Command]:
    """All commands for this decision: they ring the plan's first round, or end the call. The decision is the `count`th of
    its channel, and `media` is what the caller receives now.

    The next snapshot says how the round ended, or after an announcement or a mailbox whether FreeSWITCH still has the
    call in fsroute's application. Raises DialStringError.
    """
    plan = decision.plan
    rule = str(decision.rule.key) if decision.rule else "none"
    evidence = decision.code, decision.number or "none", rule, decision.caller_id.reason
    early_media = passes_early_media(decision, media)
    more = _identity_of(call, decision) + (_for_bridge(plan, media, early_media=early_media) if plan.stages else ())
    sent: list[Command] = [_variables(_step(decision, rule), evidence, count, more)]
    if plan.stages or (isinstance(plan.final, Application) and plan.final.shows_caller):
        sent += _caller(call, decision.caller_id)
    if plan.stages:
        # 180 now: a leg that sends only early media, as mobile networks do, would leave the caller in silence.
        sent.append(Execute("ring_ready"))
        text = dialstring.bridge(plan, confirmation, early_media=early_media)
        sent.append(Execute("bridge", dialstring.of_call(text, call)))
        return sent
    if plan.final is None:
        raise DialStringError("a plan with neither stages nor an end")
    if decision.code in policy.REFUSALS:
        sent.append(Execute("set", f"sip_rh_X-FSRoute-Reason={decision.code}"))
    return sent + _final(plan.final)


def passes_early_media(decision: Decision, media: MediaState = MediaState.NONE) -> bool:
    """Whether the caller receives the carrier's early media: a user's own call has one leg only. A caller whose call was
    answered before keeps the ringing tone instead."""
    return decision.code in BY_TRUNKS and bool(decision.plan.stages) and media is not MediaState.ANSWERED


def _for_bridge(plan: Plan, media: MediaState, *, early_media: bool) -> tuple[tuple[str, str], ...]:
    """Variables that only some bridges need."""
    variables: tuple[tuple[str, str], ...] = ()
    if early_media:
        # FreeSWITCH counts early media as success and then ignores leg_timeout: this replaces it (switch_ivr_bridge.c).
        limit = str(plan.stages[0][0].ring_s)
        variables += (("bridge_answer_timeout", limit), ("continue_on_answer_timeout", "true"))
    if media is MediaState.EARLY:
        # After early media the caller's phone makes no ringing tone of its own: a trunk that only rings would be silence.
        variables += (_RINGBACK,)
    if dialstring.is_enterprise(plan):
        variables += tuple(outcome.MARKS.items())
    return variables


_EVIDENCE = ("code", "number", "rule", "caller_id")
"""Names of the channel variables fsroute_... for the CDR."""


@lru_cache(maxsize=_KEPT)
def _variables(step: str, evidence: tuple[str, ...], count: int, more: tuple[tuple[str, str], ...]) -> Command:
    """Sets the channel variables of a plan. The first plan's stay as they are. Each later plan's names end with its number,
    and fsroute_last_... has the latest plan too, for CDR templates that cannot compute a name."""
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
            contacts.VARIABLE: "read",  # removes the text of the phones from the channel
            **(_IS_OVER_AFTER_BRIDGE if step != DONE else {}),
        }
    )


_IS_OVER_AFTER_BRIDGE = {"hangup_after_bridge": "true"}
"""An answered call that is over must not go on to the dialplan's fallback, even if fsroute has disconnected. A transferred
call goes on nevertheless (switch_ivr_bridge.c, switch_ivr_multi_threaded_bridge)."""


def _identity_of(call: Call, decision: Decision) -> tuple[tuple[str, str], ...]:
    """Variables for a later transfer of this call: the number that the caller showed, and the account that was called."""
    if call.transferred:
        return ()
    account = (("fsroute_called_account", decision.account),) if decision.account and decision.number else ()
    caller_id = decision.caller_id
    if call.direction is Direction.INBOUND or caller_id.as_received or not decision.plan.stages:
        return account
    return (*account, ("fsroute_shown", caller_id.presented or policy.ANONYMOUS))


def _caller(call: Call, caller_id: CallerId) -> list[Command]:
    """Sets the caller's name and number on the channel, where they are wrong or harmful: legs to phones copy them.

    Phones receive the E.164 number that fsroute read from the carrier's text: they can call it back from any country. A name
    that is one of the call's numbers is no name: FreeSWITCH fills a missing name from From.
    """
    if call.direction is Direction.INBOUND and caller_id.presented is None and not caller_id.as_received:
        return _anonymized(call)
    is_read = caller_id.as_received and caller_id.presented is not None and call.direction is Direction.INBOUND
    shown = (caller_id.presented if is_read else None) or call.caller
    name = call.caller_name
    if name and name != shown and is_read and _is_number_of(call, name):
        changed: list[Command] = [Execute("set_profile_var", f"caller_id_name={shown}")]
    else:
        changed = _cleaned("caller_id_name", name, _UNSAFE_IN_NAMES, " ")
    if shown != call.caller:
        return [*changed, Execute("set_profile_var", f"caller_id_number={shown}")]
    return changed + _cleaned("caller_id_number", shown, _UNSAFE_IN_NUMBERS, "")


def _is_number_of(call: Call, name: str) -> bool:
    return name in (call.caller, call.from_user) or any(name == text for _, text in call.identities)


def _anonymized(call: Call) -> list[Command]:
    """Removes number and name from the channel of a party who hides them, or whose number the law hides.

    FreeSWITCH hides them in the INVITE to a phone. Later it shows what the channel has: by UPDATE or INFO to a phone that an
    attended transfer connects with the party, and in a mailbox (switch_ivr_bridge.c, send_display; mod_voicemail.c).
    """
    known = (text for text in (call.caller, call.caller_name) if text)
    return [] if all(policy.is_hidden(text, call.direction) for text in known) else list(_ANONYMIZED)


_ANONYMIZED = (
    Execute("set_profile_var", f"caller_id_name={policy.ANONYMOUS}"),
    Execute("set_profile_var", f"caller_id_number={policy.ANONYMOUS}"),
)


def _cleaned(field: str, text: str, unsafe: re.Pattern[str], instead: str) -> list[Command]:
    """Replaces a text of the caller's by its harmless part. Nearly every text is harmless as it is."""
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
