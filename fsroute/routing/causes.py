"""What FreeSWITCH's hangup causes mean for the next attempt. Pure."""

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
"""Causes that are the trunk's and not the callee's: the next trunk may do better."""
