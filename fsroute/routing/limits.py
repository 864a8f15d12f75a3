"""How long texts of a call and how large rules may be. Pure.

What one call or one number may cost is bound here, so that no tenant takes time or memory from the others. `fsroute load`
refuses rows beyond these limits (data/checks.py). A database that was written without it may exceed them: then the reader
and the planner leave out what exceeds them, and the decision gives the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fsroute.model import Leg, Stage

MAX_LEGS = 128
"""The most legs of a stage, and the most stages of a plan: MAX_PEERS in FreeSWITCH's switch_ivr_originate.c. FreeSWITCH
dials no further leg, but appends its text to the last one."""


MAX_DESTINATION = 128
"""Characters of what is dialled. The longest spelling of a number has 42 (phone_number.py); a phone-context with the longest
usual domain name, that of a mobile network (ims.mnc001.mcc262.3gppnetwork.org), follows with about 50."""

MAX_TEXT = 256
"""Characters of any other text that a caller sends: a caller's number or address with its parameters."""

CUT = "\N{HORIZONTAL ELLIPSIS}"
"""The end of a text that was cut. No number contains it: a cut text is none."""


def cut(text: str, most: int) -> str:
    """The text, or its first `most` characters and CUT: nobody keeps a long one. A cut text is longer than `most`."""
    return text if len(text) <= most else text[:most] + CUT


def from_zero(legs: Sequence[Leg]) -> Stage:
    """The stage of these legs, moved in time so that the first leg starts at once.

    If all legs that are left start late, the caller would wait in silence. FreeSWITCH does not wait in this case
    (check_per_channel_timeouts), so fsroute does not plan it either.
    """
    first = min((leg.start_s for leg in legs), default=0)
    return tuple(replace(leg, start_s=leg.start_s - first) for leg in legs) if first else tuple(legs)
