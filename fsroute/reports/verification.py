"""Attempts and numbers of a verification as JSON, and as a table. Times are UTC."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fsroute import times

if TYPE_CHECKING:  # `fsroute verify --help` must not wait for the database's modules
    from rich.console import Console

    from fsroute.verification.attempt import Attempt, NumberStatus
    from fsroute.verification.service import Expired, VerificationRefused


def attempt_data(attempt: Attempt) -> dict[str, Any]:
    """An attempt to verify a number or block."""
    return {
        "id": attempt.id,
        "account": attempt.account,
        "first_number": attempt.first,
        "last_number": attempt.last,
        "method": attempt.method,
        "state": attempt.state,
        "language": attempt.language,
        "tries": attempt.tries,
        "started_at": times.to_text(attempt.started_at),
        "started_by": attempt.started_by,
        "code_expires_at": times.to_text(attempt.code_expires_at),
        "outcome": attempt.outcome,
        "notice": attempt.notice,
        "answer": attempt.answer,
        "delivered_at": times.to_text(attempt.delivered_at),
        "settled_at": times.to_text(attempt.settled_at),
        "evidence": attempt.evidence,
        "approved_by": attempt.approved_by,
    }


def status_data(status: NumberStatus, now: datetime) -> dict[str, Any]:
    """The state of a number or block for an account at this moment."""
    return {
        "account": status.account,
        "first_number": status.first,
        "last_number": status.last,
        "state": status.state_at(now),
        "method": status.method,
        "verified_at": times.to_text(status.verified_at),
        "expires_at": times.to_text(status.expires_at),
        "revoked_at": times.to_text(status.revoked_at),
        "verified_by": status.verified_by,
        "source": status.source,
        "pending": status.pending,
    }


def expired_data(expired: Expired, now: datetime) -> dict[str, Any]:
    """What `fsroute verify expire` found."""
    return {
        "verifications": [attempt_data(attempt) for attempt in expired.attempts],
        "numbers": [status_data(status, now) for status in expired.numbers],
        "soon": [status_data(status, now) for status in expired.soon],
    }


def refusal_data(refused: VerificationRefused) -> dict[str, Any]:
    """A refusal, with its verification code."""
    denial = refused.denial
    return {
        "refused": refused.code,
        "subject": refused.subject,
        "text": denial.text,
        "rule": denial.rule or None,
        "retry_at": times.to_text(denial.retry_at),
        "meant": denial.meant,
        "verification": attempt_data(refused.attempt) if refused.attempt else None,
    }


def show_statuses(statuses: Iterable[NumberStatus], now: datetime, console: Console) -> None:
    """Prints a table of numbers and blocks. Columns without any value are left out."""
    from rich.table import Table  # noqa: PLC0415 - half of a cold start, and --json does not need it
    from rich.text import Text  # noqa: PLC0415 - the same

    shown = list(statuses)
    table = Table(box=None, pad_edge=False)
    columns: dict[str, Callable[[NumberStatus], str | None]] = {
        "account": lambda status: status.account,
        "number": lambda status: status.subject,
        "state": lambda status: status.state_at(now),
        "method": lambda status: status.method,
        "until": lambda status: status.expires_at.date().isoformat() if status.expires_at else None,
        "by": lambda status: status.verified_by,
        "source": lambda status: status.source,
        "pending": lambda status: status.pending,
    }
    used = {heading: value for heading, value in columns.items() if any(map(value, shown)) or not shown}
    for heading in used:
        table.add_column(heading, overflow="fold", no_wrap=heading in {"number", "state", "method", "until"})
    for status in shown:
        table.add_row(*(Text(value(status) or "") for value in used.values()))
    console.print(table)
