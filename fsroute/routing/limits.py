"""How long texts of a call and how large rules may be. Pure.

What one call or one number may cost is bound here, so that no tenant takes time or memory from the others. `fsroute load`
refuses rows beyond these limits (data/checks.py). A database that was written without it may exceed them: then the reader
and the planner leave out what exceeds them, and the decision gives the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fsroute.model import Leg, Plan, Stage

MAX_LEGS = 128
"""The most legs of a stage, and the most stages of a plan: MAX_PEERS in FreeSWITCH's switch_ivr_originate.c. FreeSWITCH
dials no further leg, but appends its text to the last one."""


MAX_PLAN_LEGS = 512
"""Legs of a plan, in all its stages: four times what FreeSWITCH rings together. To order, write and log them takes some
5 ms, in which fsroute decides no other call. 128 stages of 128 legs took 45 ms, in a command of 1.3 MB."""

MAX_TRUNKS = 8
"""Trunks that a leg tries one after another. Each needs some seconds to fail, and no caller waits for a ninth."""

MAX_RULES = 100
"""Rules of a number. Each is tried in turn, and each that does not apply is named in the log. Large companies have some ten:
opening hours, holidays, callers who are treated apart."""

MAX_TARGETS = 500
"""Targets of all rules of a number: about as many as a plan has legs. More would be groups."""

MAX_CALLERS = 1000
"""Caller filters of all rules of a number. All are compared with each call: 1,000 take less than 1 ms."""

MAX_RANGES = 200
"""Ranges of a time profile: ten holidays or other exceptions a year for more than ten years."""

MAX_ROUTES = 1000
"""Routes of an account, and permissions: more than countries and area codes that an account treats apart."""

MAX_NUMBERS = 128
"""Hosted numbers that one call can reach by rules. A larger tree of forwards is a mistake in the tables."""

MAX_FORWARDS = 16
"""How many numbers a call is forwarded through, one after another. Each takes two more queries: with 16 a PostgreSQL in
another building (1 ms) still answers within a tenth of the time for a decision."""

MAX_ROWS = 1000
"""Rows of one table that are read for one call (rules, targets, caller filters, endpoints). A number within the limits
above has fewer. This is for databases that were written without `fsroute load`, and for trees of large numbers: a read takes
some 20 ms at most, and no tenant's calls slow down those of others."""

MAX_DESTINATION = 128
"""Characters of what is dialled. The longest spelling of a number has 42 (phone_number.py); a phone-context with the longest
usual domain name, that of a mobile network (ims.mnc001.mcc262.3gppnetwork.org), follows with about 50."""

MAX_TEXT = 256
"""Characters of any other text that a caller sends: a caller's number or address with its parameters."""

CUT = "\N{HORIZONTAL ELLIPSIS}"
"""The beginning of a text that was cut. No number begins with it: what was cut off could say what the digits are relative to
(110;...;phone-context=+49...), so a cut text is no number."""


def cut(text: str, most: int) -> str:
    """The text, or CUT and its first `most` characters: nobody keeps a long one. A cut text is longer than `most`,
    and is not cut again."""
    is_short = len(text) <= most + text.startswith(CUT)
    return text if is_short else CUT + text.removeprefix(CUT)[:most]


def legs_of(plan: Plan) -> int:
    """The legs of a plan, with those that follow when a trunk fails."""
    return sum(1 + len(leg.fallbacks) for stage in plan.stages for leg in stage)


def from_zero(legs: Sequence[Leg]) -> Stage:
    """The stage of these legs, moved in time so that the first leg starts at once.

    If all legs that are left start late, the caller would wait in silence. FreeSWITCH does not wait in this case
    (check_per_channel_timeouts), so fsroute does not plan it either.
    """
    first = min((leg.start_s for leg in legs), default=0)
    return tuple(replace(leg, start_s=leg.start_s - first) for leg in legs) if first else tuple(legs)
