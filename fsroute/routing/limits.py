"""What FreeSWITCH can ring at the same time, as far as a plan must respect it. Pure.

The planner, the dial string, the check of a load and the simulator use the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fsroute.model import Leg, Stage

MAX_LEGS = 128
"""Legs of a stage, and stages of a plan: MAX_PEERS in FreeSWITCH's switch_ivr_originate.c. FreeSWITCH does not dial what
exceeds it, but appends its text to the last leg."""


def from_zero(legs: Sequence[Leg]) -> Stage:
    """The stage with its first leg starting at once.

    When all legs that are left start late, FreeSWITCH does not wait either (check_per_channel_timeouts), and the caller
    would wait in silence.
    """
    first = min((leg.start_s for leg in legs), default=0)
    return tuple(replace(leg, start_s=leg.start_s - first) for leg in legs) if first else tuple(legs)
