"""Whether a number was allowed to be presented at a moment, and why, by the audit log. Pure.

The log is replayed in the order of its ids, which is the order of events. Times are not, where a clock was set back. A
moment that the clock showed twice then means the later one: all rows count up to the last row with this time or an earlier
one. So a row with a time in the future hides none of the rows after it. The notes name the rows where times go back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from fsroute import times
from fsroute.callerid import policy
from fsroute.callerid.policy import Verdict
from fsroute.model import AuditEntry, NumberFacts, Verification, VerificationState

REMOVED = "removed"
"""The state in the log of a row that was removed from verified_numbers."""

NOT_KNOWN = (
    "The log records verifications only. It does not show whether the account was active, on trial or suspended at that"
    " moment, which numbers it hosted, and what its country, the trunk and the destination allowed."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the verification allowed an account to present the number. `entry` decided it, None where nothing was ever
    verified; `verified` is the entry by which the number was verified last."""

    account: str
    verdict: Verdict
    entry: AuditEntry | None
    verified: AuditEntry | None


@dataclass(frozen=True, slots=True)
class History:
    """The answers for a moment, one for each account in the log; the entries about the number up to that moment; and notes
    on what makes the answers uncertain."""

    number: str
    at: datetime
    answers: tuple[Answer, ...]
    entries: tuple[AuditEntry, ...]
    notes: tuple[str, ...]


class _Replay:
    """The state of a number after a part of the log."""

    def __init__(self, number: str) -> None:
        self._number = number
        self.entries: list[AuditEntry] = []
        self.current: dict[tuple[str, str], Verification] = {}
        self._decided: dict[tuple[str, str], AuditEntry] = {}
        self._verified: dict[tuple[str, str], AuditEntry] = {}

    def add(self, entry: AuditEntry) -> None:
        covers, before = _covers(entry, self._number), self.current.get(entry.key)
        # A row that replaces another one ends the verification of the numbers of that one.
        replaces = entry.state is not None and before is not None and _covers(before, self._number)
        if covers or replaces:
            self.entries.append(entry)
        if entry.state is None:
            return
        if covers or replaces:
            self._decided[entry.key] = entry
        if entry.state == REMOVED:
            self.current.pop(entry.key, None)
            return
        state = VerificationState(entry.state)
        self.current[entry.key] = Verification(entry.account, entry.first, entry.last, state, entry.expires_at)
        if state is VerificationState.VERIFIED and covers:
            self._verified[entry.key] = entry

    def answer(self, account: str, at: datetime) -> Answer:
        verdict = self._verdict(tuple(self.current.values()), account, at)
        entry = self._decider(verdict, account, at)
        return Answer(account, verdict, entry, self._verified.get(entry.key) if entry else None)

    def _verdict(self, verifications: tuple[Verification, ...], account: str, at: datetime) -> Verdict:
        return policy.verification_verdict(self._number, NumberFacts(verifications=verifications), account, at)

    def _decider(self, verdict: Verdict, account: str, at: datetime) -> AuditEntry | None:
        """The latest entry that alone leads to this verdict; where no verification is left, the entry that ended it."""
        newest = sorted(self._decided.values(), key=lambda entry: -entry.id)
        if verdict.code != "verified_by_another_account":
            newest = [entry for entry in newest if entry.account == account]
        for entry in newest:
            current = self.current.get(entry.key)
            if current is not None and self._verdict((current,), account, at) == verdict:
                return entry
        return next(iter(newest), None)


def _covers(row: AuditEntry | Verification, number: str) -> bool:
    return row.first <= number <= row.last and len(row.first) == len(number)


def of(number: str, at: datetime, entries: Sequence[AuditEntry], table: Sequence[Verification]) -> History:
    """The history of a number (E.164) up to a moment.

    `table` are the present rows of verified_numbers that cover the number, or that have the key of an entry that does.
    `entries` are the rows of the log that cover it, and all others with the key of one of these or of a row of `table`, by
    id.
    """
    happened = max((position for position, entry in enumerate(entries, 1) if entry.at <= at), default=0)
    replay, later = _Replay(number), _Replay(number)
    for position, entry in enumerate(entries):
        later.add(entry)
        if position < happened:
            replay.add(entry)
    accounts = sorted({entry.account for entry in replay.entries})
    notes = (*_turned_back(replay.entries), *_changed_outside(number, later.current, table))
    return History(number, at, tuple(replay.answer(account, at) for account in accounts), tuple(replay.entries), notes)


def _turned_back(entries: list[AuditEntry]) -> Iterator[str]:
    for before, after in pairwise(entries):
        if after.at < before.at:
            yield (
                f"the clock was set back between row {before.id} ({times.to_text(before.at)}) and row {after.id}"
                f" ({times.to_text(after.at)}): times between the two are taken for those after it"
            )


def _changed_outside(
    number: str, logged: dict[tuple[str, str], Verification], table: Sequence[Verification]
) -> Iterator[str]:
    """Where verified_numbers differs from the result of the log."""
    stored = {(row.account, row.first): row for row in table}
    for key in sorted(logged.keys() | stored.keys()):
        row, expected = stored.get(key), logged.get(key)
        concerned = any(side is not None and _covers(side, number) for side in (row, expected))
        if concerned and _described(row) != _described(expected):
            yield (
                f"{', '.join(key)}: verified_numbers was changed outside fsroute: it has {_described(row)},"
                f" and the log {_described(expected)}"
            )


def _described(row: Verification | None) -> str:
    if row is None:
        return "no such row"
    until = f" until {times.to_text(row.expires_at)}" if row.state is VerificationState.VERIFIED and row.expires_at else ""
    return f"{row.first} to {row.last} {row.state.value}{until}"
