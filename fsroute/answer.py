"""A decision as the commands that FreeSWITCH is told, and a channel's snapshot as the call it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fsroute import callerid, contacts, dialstring, frames, number, outcome
from fsroute.dialstring import Confirmation
from fsroute.errors import DialStringError
from fsroute.frames import Command, End, Execute, Facts
from fsroute.model import (
    Announcement,
    Call,
    Decision,
    Direction,
    EndpointDial,
    Failed,
    Final,
    Hangup,
    RuleKey,
    Voicemail,
)

STEP_VARIABLE = "fsroute_step"
"""The channel variable that says how far a call has come: which rule rings. When this process dies, the call goes on
ringing; when that fails too, the next process to get the call reads here what comes next."""

FACTS = frames.lines_of(
    [
        "Unique-ID",
        "Core-UUID",
        "Caller-Caller-ID-Name",
        "Caller-Caller-ID-Number",
        "Caller-Destination-Number",
        "Caller-Privacy-Hide-Number",
    ],
    [
        *("fsroute_direction", "fsroute_trunk", "fsroute_account", "fsroute_user", "fsroute_presented", "fsroute_roaming"),
        *(STEP_VARIABLE, contacts.VARIABLE, "originate_causes", "originate_disposition", "sip_Privacy", "sip_from_user"),
        *contacts.FILTERS,
    ],
    [f"sip_h_{dialstring.HOPS_HEADER}", "sip_h_Diversion"],
)
"""All that is ever read of a channel's snapshot, here, in `outcome` and in `flow`."""

_POSITION_DIGITS = 9
"""More than any rule's position has, and no more than an INTEGER of PostgreSQL takes."""

_DIRECT = "direct"
_DONE = "done"

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

_MAX_HOPS = 99
_WISHES = frozenset({"id", "user", "header", "full"})
"""What a Privacy header can ask for that hides the number (RFC 3323, 4.2; RFC 3325, 9.3; `full` is an older word for it).
FreeSWITCH itself knows `id` only."""

_BETWEEN_WISHES = re.compile("[;, ]+")
_COUNTER = re.compile(r";\s*counter\s*=\s*\"?([0-9]+)", re.IGNORECASE)
_CAUSE = re.compile(r"[A-Z][A-Z0-9_]{2,48}\Z")
_PLAYBACK_PAUSE_MS = 500
"""Silence between the answer and the first word: a carrier may take so long to open the caller's ear."""


def call_of(channel: Facts) -> Call:
    """The call that a channel is. What the dialplan sets decides where it came from; the rest the caller wrote."""
    caller = channel.get("Caller-Caller-ID-Number")
    from_user = channel.variable("sip_from_user")
    outbound = channel.variable("fsroute_direction") == Direction.OUTBOUND
    return Call(
        destination=channel.get("Caller-Destination-Number"),
        caller=caller,
        caller_name=channel.get("Caller-Caller-ID-Name"),
        direction=Direction.OUTBOUND if outbound else Direction.INBOUND,
        anonymous=channel.get("Caller-Privacy-Hide-Number") == "true"
        or _wishes_privacy(channel.variable("sip_Privacy"))
        or callerid.is_hidden(caller)
        or callerid.is_hidden(from_user),
        trunk=channel.variable("fsroute_trunk") or None,
        account=channel.variable("fsroute_account") or None,
        user=channel.variable("fsroute_user") or None,
        hops=_hops(channel),
        uuid=channel.get("Unique-ID"),
        presented=channel.variable("fsroute_presented") or None,
        is_roaming=channel.variable("fsroute_roaming") == "true",
        from_user=from_user,
        switch="" if any(map(channel.variable, contacts.FILTERS)) else channel.get("Core-UUID"),
    )


def _wishes_privacy(header: str) -> bool:
    return bool(header) and not _WISHES.isdisjoint(_BETWEEN_WISHES.split(header.lower()))


def _hops(channel: Facts) -> int:
    """How often the call was sent on before: by our own header, or by Diversion's counter where a carrier kept only that.

    Whoever writes a larger number ends their own call; a smaller one is stopped by SIP's Max-Forwards.
    """
    counted = [text for text in channel.variables(f"sip_h_{dialstring.HOPS_HEADER}") if text.isascii() and text.isdigit()]
    counted += [count for text in channel.variables("sip_h_Diversion") for count in _COUNTER.findall(text) or ["1"]]
    return max((_count(text) for text in counted), default=0)


def _count(digits: str) -> int:
    """The number in these digits, of which there may be thousands: int() refuses so many."""
    digits = digits.lstrip("0")
    return min(int(digits or "0"), _MAX_HOPS) if len(digits) <= len(str(_MAX_HOPS)) else _MAX_HOPS


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that needs no further decision: it was answered, or has had its last one."""


def progress_of(channel: Facts) -> Failed | Ended | None:
    """What became of the plan that rang. None for a call that has had none yet."""
    step = channel.variable(STEP_VARIABLE)
    if not step:
        return None
    if step == _DONE or outcome.was_answered(channel):
        return Ended()
    ended, cause = outcome.of_failed(channel)
    return Failed(_rule_key(step), ended, cause if _CAUSE.match(cause) else "", _trunks_tried(step))


def _trunks_tried(step: str) -> int:
    kind, _, count = step.partition("/")
    return int(count) if kind == _DIRECT and count.isascii() and count.isdigit() and len(count) <= _POSITION_DIGITS else 0


def _rule_key(step: str) -> RuleKey | None:
    hosted, _, position = step.partition("/")
    if number.is_e164(hosted) and position.isascii() and position.isdigit() and len(position) <= _POSITION_DIGITS:
        return RuleKey(hosted, int(position))
    return None


def ask(asked: Sequence[EndpointDial], profiles: Sequence[str], mark: str) -> list[Command]:
    """Asks FreeSWITCH which phones are registered for these endpoints; its next snapshot answers.

    Without app_disable_expand_variables, `set` would expand a second time what a phone wrote into its Contact. It
    stays on for the rest of the call: nothing that we send after this is to be expanded.
    """
    return [
        Execute("set", "app_disable_expand_variables=true"),
        Execute("set", f"{contacts.VARIABLE}={contacts.question(asked, profiles, mark)}"),
    ]


def commands(call: Call, decision: Decision, confirmation: Confirmation) -> list[Command]:
    """Everything FreeSWITCH needs for this decision: to ring a plan's stages, or to end the call.

    After stages the next snapshot tells how they ended. Raises DialStringError.
    """
    plan = decision.plan
    rule = str(decision.rule.key) if decision.rule else ""
    step = (rule or f"{_DIRECT}/{decision.trunks}") if plan.stages else _DONE
    told: list[Command] = [
        _variables(step, decision.code, decision.number or "none", rule or "none", decision.caller_id.reason)
    ]
    if plan.stages:
        told += _cleaned("caller_id_name", call.caller_name, _UNSAFE_IN_NAMES, " ")
        told += _cleaned("caller_id_number", call.caller, _UNSAFE_IN_NUMBERS, "")
        # 180 now: a leg that sends only early media, as mobile networks do, would leave the caller in silence.
        told.append(Execute("ring_ready"))
        told.append(Execute("bridge", dialstring.bridge(plan, confirmation)))
        return told
    if plan.final is None:
        raise DialStringError("a plan with neither stages nor an end")
    if decision.code in callerid.REFUSALS:
        told.append(Execute("set", f"sip_rh_X-FSRoute-Reason={decision.code}"))
    return told + _final(plan.final)


@lru_cache(maxsize=_KEPT)
def _variables(step: str, code: str, hosted: str, rule: str, caller_id: str) -> Command:
    return frames.set_variables(
        {
            STEP_VARIABLE: step,
            "fsroute_code": code,
            "fsroute_number": hosted,
            "fsroute_rule": rule,
            "fsroute_caller_id": caller_id,
            contacts.VARIABLE: "read",  # what phones wrote does not stay on the channel
        }
    )


def _cleaned(field: str, text: str, unsafe: re.Pattern[str], instead: str) -> list[Command]:
    """Replaces what a caller wrote by its harmless part, if it is not harmless already, as nearly always."""
    if not unsafe.search(text) and len(text) <= _MAX_SHOWN:
        return []
    clean = " ".join(unsafe.sub(instead, text[:_MAX_SHOWN]).split())
    return [Execute("set_profile_var", f"{field}={clean or 'unknown'}")]


def _final(final: Final) -> list[Command]:
    match final:
        case Hangup(cause):
            return [End(cause)]
        case Announcement(file):
            return _answered("playback", file)
        case Voicemail(mailbox, domain):
            return _answered("voicemail", f"default {domain} {mailbox}")


def _answered(application: str, argument: str) -> list[Command]:
    return [
        Execute("answer"),
        Execute("sleep", str(_PLAYBACK_PAUSE_MS)),
        Execute(application, argument),
        End("NORMAL_CLEARING"),
    ]
