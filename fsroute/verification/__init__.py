"""Verification of external numbers, for portals: what `fsroute verify` does, in Python. docs/caller-id.md has an example."""

from fsroute.data.audit import Author
from fsroute.verification.attempt import Attempt, AttemptState, NumberStatus
from fsroute.verification.budgets import Limits
from fsroute.verification.method import Method
from fsroute.verification.service import Expired, Imported, VerificationRefused, Verifications, from_settings

__all__ = [
    "Attempt",
    "AttemptState",
    "Author",
    "Expired",
    "Imported",
    "Limits",
    "Method",
    "NumberStatus",
    "VerificationRefused",
    "Verifications",
    "from_settings",
]
