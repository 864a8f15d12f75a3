"""The hang-up causes of FreeSWITCH after which fsroute tries the next trunk. Pure."""

from __future__ import annotations

TRUNK_FAILURES = frozenset(
    {
        "DESTINATION_OUT_OF_ORDER",
        "GATEWAY_DOWN",
        "NETWORK_OUT_OF_ORDER",
        "NORMAL_CIRCUIT_CONGESTION",
        "NORMAL_TEMPORARY_FAILURE",
        "PROGRESS_TIMEOUT",
        "RECOVERY_ON_TIMER_EXPIRE",
        "REQUESTED_CHAN_UNAVAIL",
        "SERVICE_UNAVAILABLE",
        "SWITCH_CONGESTION",
    }
)
"""Causes of a failed trunk. The callee did not end the call, so the next trunk may connect it."""
