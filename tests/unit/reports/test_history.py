"""Whether a number was allowed to be shown, as JSON and for people."""

from __future__ import annotations

import io

from rich.console import Console

from fsroute.model import AuditEntry
from fsroute.reports import history as report
from fsroute.verification import history
from fsroute.verification.history import NOT_KNOWN
from tests.support.audit_log import FIRST, IN_BLOCK, LAST, VALID_UNTIL, at, verification_of

SHOWN = [
    AuditEntry(
        3, at(0), "anna", "cli:host", "block_added", "acme", FIRST, LAST, "attempt-1", "manual", "verified", at(1000),
        "invoice 17\x1b[31m",
    ),
    AuditEntry(
        9, at(20), "anna", "cli:host", "revoked", "acme", FIRST, LAST, None, "manual", "revoked", None, "sold"
    ),
]  # fmt: skip


def test_as_data() -> None:
    block_added = {
        "row": 3,
        "at": "2026-03-01T12:00:00Z",
        "who": "anna",
        "from": "cli:host",
        "action": "block_added",
        "account": "acme",
        "first_number": FIRST,
        "last_number": LAST,
        "verification": "attempt-1",
        "method": "manual",
        "state": "verified",
        "expires_at": VALID_UNTIL,
        "reason": "invoice 17\x1b[31m",
    }
    revoked = {
        **block_added, "row": 9, "at": "2026-03-01T12:20:00Z", "action": "revoked", "verification": None,
        "state": "revoked", "expires_at": None, "reason": "sold",
    }  # fmt: skip
    assert report.as_data(history.of(IN_BLOCK, at(30.5), SHOWN, [verification_of(SHOWN[1])])) == {
        "number": IN_BLOCK,
        "at": "2026-03-01T12:30:30Z",
        "accounts": [
            {
                "account": "acme",
                "allowed": False,
                "code": "verification_revoked",
                "text": "its verification was revoked",
                "decided_by": revoked,
                "verified_by": block_added,
            }
        ],
        "log": [block_added, revoked],
        "notes": [],
        "not_known": NOT_KNOWN,
    }


def printed(log: list[AuditEntry], minutes: float) -> list[str]:
    text = io.StringIO()
    found = history.of(IN_BLOCK, at(minutes), log, [verification_of(log[-1])] if log else [])
    report.show(report.as_data(found), Console(file=text, width=160))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_for_people() -> None:
    table = [
        "row  when                  who   from      action       account  state     until                 reason",
        "  3  2026-03-01T12:00:00Z  anna  cli:host  block_added  acme     verified  2026-03-02T04:40:00Z  invoice 17?[31m",
        "  9  2026-03-01T12:20:00Z  anna  cli:host  revoked      acme     revoked                         sold",
    ]
    verified = "  verified 2026-03-01T12:00:00Z (manual) by anna, cli:host, until 2026-03-02T04:40:00Z"
    assert printed(SHOWN, 30) == [
        f"{IN_BLOCK} at 2026-03-01T12:30:00Z",
        "acme: not allowed: its verification was revoked (verification_revoked), by row 9",
        verified,
        "  evidence: invoice 17?[31m",
        *table,
        NOT_KNOWN,
    ]
    assert printed(SHOWN[:1], 10) == [
        f"{IN_BLOCK} at 2026-03-01T12:10:00Z",
        "acme: allowed: is in a block that was verified for the account (verified_block), by row 3",
        verified,
        "  evidence: invoice 17?[31m",
        *table[:2],
        NOT_KNOWN,
    ]
    assert printed([], 10) == [
        f"{IN_BLOCK} at 2026-03-01T12:10:00Z",
        "not allowed: the log has no verification of it, for any account (not_verified)",
        NOT_KNOWN,
    ]
