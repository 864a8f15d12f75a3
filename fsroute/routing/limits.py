"""FreeSWITCH's limits for legs that ring at the same time. Pure.

The planner, the dial string, the checks of `fsroute load` and the simulator use the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fsroute.model import Leg, Stage

MAX_LEGS = 128
"""The most legs of a stage, and the most stages of a plan: MAX_PEERS in FreeSWITCH's switch_ivr_originate.c. FreeSWITCH
dials no further leg, but appends its text to the last one."""


def from_zero(legs: Sequence[Leg]) -> Stage:
    """The stage of these legs, moved in time so that the first leg starts at once.

    If all legs that are left start late, the caller would wait in silence. FreeSWITCH does not wait in this case
    (check_per_channel_timeouts), so fsroute does not plan it either.
    """
    first = min((leg.start_s for leg in legs), default=0)
    return tuple(replace(leg, start_s=leg.start_s - first) for leg in legs) if first else tuple(legs)
