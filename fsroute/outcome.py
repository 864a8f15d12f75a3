"""How a plan ended, read from what FreeSWITCH says of the channel afterwards. Pure.

`originate_causes` has an entry `uuid;CAUSE` for every leg that existed; a leg that could not even be created (a phone
that is not registered, a gateway that is down) has none. Over all legs of the plan, the best that happened counts:
somebody rang and did not answer, else somebody was busy, else nobody could be reached.
"""

from __future__ import annotations

from fsroute.frames import Facts
from fsroute.model import Outcome

_RANG = frozenset(
    {
        "ALLOTTED_TIMEOUT",  # leg_timeout of a leg that had rung; one that had not ends with PROGRESS_TIMEOUT
        "NO_ANSWER",
        "NORMAL_CLEARING",  # answered but hung up without the confirmation key
        "NORMAL_UNSPECIFIED",
        "LOSE_RACE",  # somebody else had answered, and is gone since
        "ORIGINATOR_CANCEL",
        "PICKED_OFF",
    }
)
_BUSY = frozenset(
    {
        "USER_BUSY",
        # The callee pressed "reject" (603): to the caller that is busy, as it is in mobile networks (3GPP TS 24.604,
        # user determined user busy).
        "CALL_REJECTED",
    }
)


def was_answered(channel: Facts) -> bool:
    """Whether somebody took the call. A bridge that early media made is a SUCCESS too, but then nobody has answered."""
    return channel.variable("originate_disposition") in ("SUCCESS", "success") and channel.get("Answer-State") == "answered"


def of_failed(channel: Facts) -> tuple[Outcome, str]:
    """The outcome of a plan that nobody took, and FreeSWITCH's cause for it."""
    causes = [entry.rpartition(";")[2] for entry in _entries(channel.variable("originate_causes"))]
    last = channel.variable("originate_disposition")
    if any(cause in _RANG for cause in causes):
        return Outcome.NO_ANSWER, last
    if any(cause in _BUSY for cause in causes) or last in _BUSY:
        return Outcome.BUSY, last
    return Outcome.UNREACHABLE, last


def legs(channel: Facts) -> tuple[str, ...]:
    """How each leg of the last bridge ended, in FreeSWITCH's words: `1003 USER_BUSY`. NONE is the leg that was taken.

    `originated_legs` has `uuid;name;number` for each leg, `originate_causes` has `uuid;CAUSE` (switch_ivr_originate.c). The
    number is the user part of what was dialled, which for a phone is what it registered.
    """
    numbers = dict(_first_and_last(entry) for entry in _entries(channel.variable("originated_legs")))
    causes = (_first_and_last(entry) for entry in _entries(channel.variable("originate_causes")))
    return tuple(f"{numbers.get(uuid) or '?'} {cause}" for uuid, cause in causes)


def _first_and_last(entry: str) -> tuple[str, str]:
    return entry.partition(";")[0], entry.rpartition(";")[2]


def _entries(array: str) -> list[str]:
    """FreeSWITCH writes an array of one element as that element, of several as `ARRAY::a|:b`."""
    if array.startswith("ARRAY::"):
        return array.removeprefix("ARRAY::").split("|:")
    return [array] if array else []
