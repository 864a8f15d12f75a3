"""Whether a number was allowed to be shown at some moment: as JSON, and for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fsroute import times
from fsroute.model import AuditEntry, Grant
from fsroute.text import printable
from fsroute.verification.history import NOT_KNOWN, Answer, History

if TYPE_CHECKING:
    from rich.console import Console


def as_data(history: History) -> dict[str, Any]:
    """The history as JSON holds it. Times are UTC."""
    return {
        "number": history.number,
        "at": times.to_text(history.at),
        "accounts": [_answer(answer) for answer in history.answers],
        "log": [_entry(entry) for entry in history.entries],
        "notes": list(history.notes),
        "not_known": NOT_KNOWN,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "account": answer.account,
        "allowed": isinstance(answer.verdict, Grant),
        "code": answer.verdict.code,
        "text": answer.verdict.text,
        "decided_by": _entry(answer.entry) if answer.entry else None,
        "verified_by": _entry(answer.verified) if answer.verified else None,
    }


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "row": entry.id,
        "at": times.to_text(entry.at),
        "who": entry.actor,
        "from": entry.origin,
        "action": entry.action,
        "account": entry.account,
        "first_number": entry.first,
        "last_number": entry.last,
        "verification": entry.verification,
        "method": entry.method,
        "state": entry.state,
        "expires_at": times.to_text(entry.expires_at),
        "reason": entry.reason,
    }


# --- for people -------------------------------------------------------------------------------------------


def show(data: dict[str, Any], console: Console) -> None:
    """Prints what `as_data` gave."""
    from rich.table import Table  # noqa: PLC0415 - half of a cold start, and --json does not need it
    from rich.text import Text  # noqa: PLC0415 - the same

    console.print(Text(f"{data['number']} at {data['at']}", style="bold"))
    for line in _sentences(data):
        console.print(Text(printable(line)), soft_wrap=True)
    if data["log"]:
        table = Table(box=None, pad_edge=False)
        for heading in ("row", "when", "who", "from", "action", "account", "state", "until", "reason"):
            table.add_column(heading, justify="right" if heading == "row" else "left", overflow="fold")
        columns = ("row", "at", "who", "from", "action", "account", "state", "expires_at", "reason")
        for row in data["log"]:
            cells = ("" if row[column] is None else str(row[column]) for column in columns)
            table.add_row(*(Text(printable(cell)) for cell in cells))
        console.print(table)
    for note in (*data["notes"], data["not_known"]):
        console.print(Text(printable(note)), soft_wrap=True)


def _sentences(data: dict[str, Any]) -> Iterator[str]:
    if not data["accounts"]:
        yield "not allowed: the log has no verification of it, for any account (not_verified)"
    for answer in data["accounts"]:
        allowed = "allowed" if answer["allowed"] else "not allowed"
        decided = f", by row {answer['decided_by']['row']}" if answer["decided_by"] else ""
        yield f"{answer['account']}: {allowed}: {answer['text']} ({answer['code']}){decided}"
        row = answer["verified_by"]
        if row:
            method = f" ({row['method']})" if row["method"] else ""
            yield f"  verified {row['at']}{method} by {row['who']}, {row['from']}, until {row['expires_at']}"
            if row["reason"]:
                yield f"  evidence: {row['reason']}"
