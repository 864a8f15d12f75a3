"""What FreeSWITCH's hang-up causes mean for the next attempt. Pure."""

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
"""Causes that come from the trunk and not from the callee: the next trunk may connect the call."""
