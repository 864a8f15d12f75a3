"""Rows of the audit log of verified numbers, and what they leave in the table verified_numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fsroute.model import AuditEntry, Verification, VerificationState

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""When the log of a test begins."""

FIRST, LAST = "+493023125000", "+493023125099"
"""A block of numbers."""

IN_BLOCK = "+493023125050"

VALID_UNTIL = "2026-03-02T04:40:00Z"
"""As text: `at(1000)`, until when a verification in these tests holds."""


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def verification_of(entry: AuditEntry) -> Verification:
    """The row of verified_numbers that an entry leaves."""
    assert entry.state is not None
    return Verification(entry.account, entry.first, entry.last, VerificationState(entry.state), entry.expires_at)
