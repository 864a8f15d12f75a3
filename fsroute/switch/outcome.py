"""How a plan ended, read from the channel's snapshot after it. Pure.

`originate_causes` has an entry `uuid;CAUSE` for every leg that existed. A leg that FreeSWITCH could not create (a phone
that is not registered, a gateway that is down) has none. The best result of any leg counts: a leg rang and nobody
answered, else a leg was busy, else no leg was reached.

Two kinds of bridges report less. With early media, FreeSWITCH counts the bridge as a success; the leg's cause is in
`last_bridge_hangup_cause`. An enterprise string (dialstring.py) has no causes at all: its legs leave marks.
"""

from __future__ import annotations

from fsroute.eventsocket.frames import Facts
from fsroute.model import Outcome

_RANG = frozenset(
    {
        "ALLOTTED_TIMEOUT",  # leg_timeout of a leg that had rung; one that had not ends with PROGRESS_TIMEOUT
        "NO_ANSWER",
        "NORMAL_CLEARING",  # answered but hung up without the confirmation key
        "NORMAL_UNSPECIFIED",
        "LOSE_RACE",  # another leg had answered, and has ended since
        "ORIGINATOR_CANCEL",
        "PICKED_OFF",
    }
)

_BUSY = frozenset(
    {
        "USER_BUSY",
        # The callee pressed "reject" (603): the caller gets busy, as in mobile networks (3GPP TS 24.604, user determined
        # user busy).
        "CALL_REJECTED",
    }
)


RANG_VARIABLE = "fsroute_rang"
"""Set to `true` by each leg of an enterprise string that rings."""

MARKS = {
    RANG_VARIABLE: "no",
    "last_bridge_hangup_cause": "none",
    "sip_invite_failure_status": "none",
    "hangup_cause": "none",
    "bridge_hangup_cause": "none",
}
"""The variables that an enterprise string and its legs write, with their values before the legs ring."""

_TAKEN = frozenset({"SUCCESS", "success"})
_OF_PARTS = "failure"
"""The disposition of an enterprise string that nobody answered (switch_ivr_enterprise_originate)."""

_BEST_FIRST = (Outcome.NO_ANSWER, Outcome.BUSY, Outcome.UNREACHABLE)
_BUSY_STATUS = frozenset({"486", "600", "603"})
_GAVE_UP = "ORIGINATOR_CANCEL"
"""The cause of a leg with early media that nobody answered within bridge_answer_timeout."""


def best(before: Outcome | None, now: Outcome) -> Outcome:
    """The better of two outcomes of one plan: no answer is better than busy, and busy is better than unreachable."""
    return now if before is None else min(before, now, key=_BEST_FIRST.index)


def was_answered(channel: Facts) -> bool:
    """Whether the call was answered. A bridge by early media is a SUCCESS too, although nobody has answered."""
    disposition = channel.variable("originate_disposition")
    if disposition == _OF_PARTS and channel.variable(RANG_VARIABLE):
        # A trunk that does not respond makes an enterprise string fail, even if another leg has answered since
        # (switch_ivr_originate.c, force_reason). But then there was a bridge.
        return channel.variable("bridge_hangup_cause") not in ("", MARKS["bridge_hangup_cause"])
    return disposition in _TAKEN and channel.get("Answer-State") == "answered"


def of_failed(channel: Facts) -> tuple[Outcome, str]:
    """The outcome of a plan that nobody answered, and FreeSWITCH's cause for it."""
    causes = [entry.rpartition(";")[2] for entry in _entries(channel.variable("originate_causes"))]
    last = channel.variable("originate_disposition")
    if last == _OF_PARTS and (rang := channel.variable(RANG_VARIABLE)):
        return _of_parts(channel, rang=rang == "true")
    if last in _TAKEN:  # the caller received early media, and then nobody answered
        last = channel.variable("last_bridge_hangup_cause")
        last = "NO_ANSWER" if last == _GAVE_UP else last
        causes.append(last)
    if any(cause in _RANG for cause in causes):
        return Outcome.NO_ANSWER, last
    if any(cause in _BUSY for cause in causes) or last in _BUSY:
        return Outcome.BUSY, last
    return Outcome.UNREACHABLE, last


def legs(channel: Facts) -> tuple[str, ...]:
    """How each leg of the last bridge ended, in FreeSWITCH's words: `1003 USER_BUSY`. NONE is the leg that answered.

    `originated_legs` has `uuid;name;number` for each leg, `originate_causes` has `uuid;CAUSE` (switch_ivr_originate.c). The
    number is the user part of the dialled address, which for a phone is the registered one. The result is empty for an
    enterprise string, which has no causes.
    """
    numbers = dict(_first_and_last(entry) for entry in _entries(channel.variable("originated_legs")))
    causes = (_first_and_last(entry) for entry in _entries(channel.variable("originate_causes")))
    return tuple(f"{numbers.get(uuid) or '?'} {cause}" for uuid, cause in causes)


def _first_and_last(entry: str) -> tuple[str, str]:
    return entry.partition(";")[0], entry.rpartition(";")[2]


def _of_parts(channel: Facts, *, rang: bool) -> tuple[Outcome, str]:
    """The outcome of an enterprise string. Known are: whether any leg rang, the cause of the leg that ended last, the
    last SIP status that refused a leg, and the cause of the last part. A leg that rings for its whole time nearly always
    ends last. docs/design.md lists the outcomes that cannot be distinguished."""
    last, of_last_part = channel.variable("last_bridge_hangup_cause"), channel.variable("hangup_cause")
    if last in _BUSY:
        return Outcome.BUSY, last
    if rang:
        return Outcome.NO_ANSWER, last
    if of_last_part in _BUSY or channel.variable("sip_invite_failure_status") in _BUSY_STATUS:
        return Outcome.BUSY, "USER_BUSY"
    return Outcome.UNREACHABLE, last


def _entries(array: str) -> list[str]:
    """FreeSWITCH writes an array of one element as that element, of several as `ARRAY::a|:b`."""
    if array.startswith("ARRAY::"):
        return array.removeprefix("ARRAY::").split("|:")
    return [array] if array else []
