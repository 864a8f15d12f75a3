"""The ways to verify a number."""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """How a number is verified: by a code in a call or a message, or by an operator with evidence."""

    CALL = "call"
    SMS = "sms"
    MANUAL = "manual"
