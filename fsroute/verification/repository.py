"""The rows of a verification: reads and writes verifications and verified_numbers, and adds a row to the audit log with each
change. eligibility.py and attempt.py decide which changes are allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from peewee import Database

from fsroute import times
from fsroute.codes import VerificationCode
from fsroute.data import audit
from fsroute.data import tables as t
from fsroute.data.audit import Author
from fsroute.data.database import Row, named_rows
from fsroute.model import Account, AccountStatus, Permission, VerificationState
from fsroute.verification import verification_code
from fsroute.verification.attempt import NUMBER_STATES, Attempt, AttemptState, NumberStatus
from fsroute.verification.budgets import Start
from fsroute.verification.eligibility import Applicant, Claims
from fsroute.verification.method import Method


@dataclass(frozen=True, slots=True)
class VerificationReader:
    """Reads the tables, inside a transaction."""

    database: Database

    def applicant(self, name: str) -> Applicant | None:
        row, permission = t.Account, t.CallPermission
        found = next(iter(self._rows(row.select().where(row.name == name))), None)
        if found is None:
            return None
        permissions = self._rows(permission.select().where(permission.account == name))
        account = Account(
            name=name,
            country=found["country"],
            timezone=found["timezone"],
            domain=found["domain"],
            status=AccountStatus(found["status"]),
            permissions=tuple(Permission(allowed["prefix"], allowed["allowed"]) for allowed in permissions),
        )
        return Applicant(
            account=account,
            verifies_abroad=found["verifies_abroad"],
            verification_days=found["verification_days"],
            approves_blocks=found["approves_blocks"],
        )

    def claims(self, first: str, last: str) -> Claims:
        """The accounts that hold numbers from `first` to `last`."""
        hosted, row = t.Number, t.VerifiedNumber
        hosting = self._rows(hosted.select().where(hosted.number.between(first, last)))
        overlapping = self._rows(
            row.select()
            .where((row.first_number <= last) & (row.last_number >= first))
            .order_by(row.account, row.first_number)
        )
        return Claims(
            frozenset(found["account"] for found in hosting if len(found["number"]) == len(first)),
            tuple(audit.verification(found) for found in overlapping if len(found["first_number"]) == len(first)),
        )

    def attempt(self, id_: str) -> Attempt | None:
        found = self._attempts(t.VerificationAttempt.id == id_)
        return found[0] if found else None

    def pending(self, account: str, first: str) -> Attempt | None:
        """The attempt that is pending for a number, or for the block that begins with it."""
        row = t.VerificationAttempt
        found = self._attempts((row.account == account) & (row.first_number == first) & (row.state == AttemptState.PENDING))
        return found[0] if found else None

    def overdue(self, now: datetime) -> list[Attempt]:
        """The pending attempts whose code can no longer be confirmed (attempt.is_too_late)."""
        row = t.VerificationAttempt
        too_late = (row.code_expires_at <= times.to_text(now)) | (row.started_at > times.to_text(now))
        return self._attempts((row.state == AttemptState.PENDING) & (row.method != Method.MANUAL) & too_late)

    def attempts_of(self, account: str, number: str) -> list[Attempt]:
        """The attempts to verify a number, alone or in a block, the oldest first."""
        row = t.VerificationAttempt
        covering = (row.account == account) & (row.first_number <= number) & (row.last_number >= number)
        return [attempt for attempt in self._attempts(covering) if len(attempt.first) == len(number)]

    def listed(self, account: str | None, source: str | None, *, all_sources: bool) -> list[NumberStatus]:
        """The numbers of an account, or of all accounts, from a source. None: those verified here."""
        row = t.VerifiedNumber
        which = [row.account == account] if account is not None else []
        if not all_sources:
            which.append(row.source.is_null() if source is None else row.source == source)
        return self._statuses(*which)

    def statuses_of(self, account: str, number: str) -> list[NumberStatus]:
        """The status of a number, alone and in blocks."""
        row = t.VerifiedNumber
        covering = self._statuses(row.account == account, row.first_number <= number, row.last_number >= number)
        return [status for status in covering if len(status.first) == len(number)]

    def status(self, account: str, first: str) -> NumberStatus | None:
        row = t.VerifiedNumber
        return next(iter(self._statuses(row.account == account, row.first_number == first)), None)

    def _statuses(self, *which: Any) -> list[NumberStatus]:
        row, attempt = t.VerifiedNumber, t.VerificationAttempt
        pending = (
            (attempt.account == row.account)
            & (attempt.first_number == row.first_number)
            & (attempt.state == AttemptState.PENDING)
        )
        query = (
            row.select(row, attempt.id.alias("pending"))
            .left_outer_join(attempt, on=pending)
            .order_by(row.account, row.first_number)
        )
        return [_status(found) for found in self._rows(query.where(*which) if which else query)]

    def lapsed(self, now: datetime) -> list[NumberStatus]:
        """The rows that are still verified, but whose time has expired."""
        row = t.VerifiedNumber
        return self._statuses(row.state == VerificationState.VERIFIED, row.expires_at <= times.to_text(now))

    def expiring(self, now: datetime, within: timedelta) -> list[NumberStatus]:
        """The verified rows that expire within this time."""
        row = t.VerifiedNumber
        soon = row.expires_at.between(times.to_text(now), times.to_text(now + within))
        return [s for s in self._statuses(row.state == VerificationState.VERIFIED, soon) if s.is_valid(now)]

    def starts(self, since: datetime) -> list[Start]:
        """The starts of verifications by code, by all accounts."""
        row = t.VerificationAttempt
        query = row.select(row.account, row.first_number, row.method, row.started_at, row.tries, row.state).where(
            (row.method != Method.MANUAL) & (row.started_at > times.to_text(since))
        )
        return [
            Start(
                found["account"],
                found["first_number"],
                Method(found["method"]),
                times.from_text(found["started_at"]),
                found["tries"] - (found["state"] == AttemptState.VERIFIED),  # the last try of a verified one was right
            )
            for found in self._rows(query)
        ]

    def _attempts(self, which: Any) -> list[Attempt]:
        row = t.VerificationAttempt
        return [_attempt(found) for found in self._rows(row.select().where(which).order_by(row.started_at, row.id))]

    def _rows(self, query: Any) -> list[Row]:
        return named_rows(self.database, query)


@dataclass(frozen=True, slots=True)
class VerificationRepository(VerificationReader):
    """Changes the tables for `author` at `now`, inside audit.exclusive."""

    author: Author
    now: datetime

    def open(
        self,
        account: str,
        first: str,
        last: str,
        method: Method,
        *,
        state: AttemptState = AttemptState.PENDING,
        language: str | None = None,
        code_hash: str | None = None,
        code_s: int | None = None,
        evidence: str | None = None,
    ) -> Attempt:
        """Adds an attempt, pending or ended at once."""
        expires_at = self.now + timedelta(seconds=code_s) if code_s is not None else None
        attempt = Attempt(
            id=verification_code.new_id(), account=account, first=first, last=last, method=method, state=state,
            language=language, tries=0, started_at=self.now, started_by=self.author.actor, code_expires_at=expires_at,
            outcome=None, answer=None, delivered_at=None, settled_at=None if state is AttemptState.PENDING else self.now,
            evidence=evidence, approved_by=None,
        )  # fmt: skip
        t.VerificationAttempt.insert(
            id=attempt.id,
            account=account,
            first_number=first,
            last_number=last,
            method=method,
            state=state,
            language=language,
            code_hash=code_hash,
            tries=0,
            started_at=times.to_text(self.now),
            started_by=attempt.started_by,
            code_expires_at=times.to_text(expires_at),
            settled_at=times.to_text(attempt.settled_at),
            evidence=evidence,
        ).bind(self.database).execute()
        return attempt

    def code_hash(self, attempt: Attempt) -> str:
        row = t.VerificationAttempt
        (found,) = self._rows(row.select(row.code_hash).where(row.id == attempt.id))
        return str(found["code_hash"])

    def count_try(self, attempt: Attempt) -> Attempt:
        self._change(attempt, tries=attempt.tries + 1)
        return replace(attempt, tries=attempt.tries + 1)

    def note_delivery(self, attempt: Attempt, outcome: str, answer: str) -> Attempt:
        self._change(attempt, outcome=outcome, answer=answer, delivered_at=times.to_text(self.now))
        return replace(attempt, outcome=outcome, answer=answer, delivered_at=self.now)

    def begin(self, attempt: Attempt, action: str) -> None:
        """Makes the number pending, unless it is verified now."""
        status = self.status(attempt.account, attempt.first)
        pending = status is None or not status.is_valid(self.now)
        if pending:
            self._put(attempt.account, attempt.first, attempt.last, attempt.method, VerificationState.PENDING)
        self.note(action, attempt, state=VerificationState.PENDING if pending else None, reason=attempt.evidence)

    def settle(self, attempt: Attempt, state: AttemptState, action: str, reason: str | None = None) -> Attempt:
        """Ends a pending attempt without success, and the number's pending state with it."""
        self._change(attempt, state=state, settled_at=times.to_text(self.now), code_hash=None)
        status = self.status(attempt.account, attempt.first)
        ends = status and (status.state, status.last) == (VerificationState.PENDING, attempt.last)
        if ends:
            self._put(attempt.account, attempt.first, attempt.last, attempt.method, NUMBER_STATES[state])
        self.note(action, attempt, state=NUMBER_STATES[state] if ends else None, reason=reason)
        return replace(attempt, state=state, settled_at=self.now)

    def verify(self, attempt: Attempt, days: int, action: str, approved_by: str | None = None) -> Attempt:
        """Ends a pending attempt with success: the numbers can be presented from now on, for so many days."""
        expires_at = self.now + timedelta(days=days)
        self._end_lapsed(attempt.account, attempt.first, attempt.last)
        self._change(
            attempt, state=AttemptState.VERIFIED, settled_at=times.to_text(self.now), code_hash=None, approved_by=approved_by
        )
        self._put(
            attempt.account, attempt.first, attempt.last, attempt.method, VerificationState.VERIFIED,
            verified_at=times.to_text(self.now), expires_at=times.to_text(expires_at), verified_by=self.author.actor,
        )  # fmt: skip
        self.note(action, attempt, state=VerificationState.VERIFIED, expires_at=expires_at, reason=attempt.evidence)
        return replace(attempt, state=AttemptState.VERIFIED, settled_at=self.now, approved_by=approved_by)

    def take_over(self, account: str, first: str, last: str, source: str, days: int) -> None:
        """Records a number that another system has verified."""
        expires_at = self.now + timedelta(days=days)
        self._end_lapsed(account, first, last)
        self._put(
            account, first, last, "import", VerificationState.VERIFIED, verified_at=times.to_text(self.now),
            expires_at=times.to_text(expires_at), verified_by=self.author.actor, source=source,
        )  # fmt: skip
        audit.record(
            self.database, self.now, self.author, "imported", account, first, last, method="import",
            state=VerificationState.VERIFIED, expires_at=expires_at, reason=f"known to {source}",
        )  # fmt: skip

    def withdraw(
        self, status: NumberStatus, state: VerificationState, action: str, reason: str | None = None
    ) -> NumberStatus:
        """Ends the right to present verified numbers: it is revoked, or it has expired."""
        revoked_at = self.now if state is VerificationState.REVOKED else None
        row = t.VerifiedNumber
        row.update(state=state, revoked_at=times.to_text(revoked_at)).where(
            (row.account == status.account) & (row.first_number == status.first)
        ).bind(self.database).execute()
        audit.record(
            self.database, self.now, self.author, action, status.account, status.first, status.last,
            method=status.method, state=state, reason=reason,
        )  # fmt: skip
        return replace(status, state=state, revoked_at=revoked_at)

    def note(
        self,
        action: str,
        attempt: Attempt,
        *,
        state: VerificationState | None = None,
        expires_at: datetime | None = None,
        reason: str | None = None,
    ) -> None:
        """Adds a row about an attempt to the audit log."""
        audit.record(
            self.database, self.now, self.author, action, attempt.account, attempt.first, attempt.last,
            verification=attempt.id, method=attempt.method, state=state, expires_at=expires_at, reason=reason,
        )  # fmt: skip

    def note_refusal(
        self, account: str, first: str, last: str, code: VerificationCode, method: Method | None = None
    ) -> None:
        """Adds a row about a refused request to the audit log."""
        audit.record(self.database, self.now, self.author, "refused", account, first, last, method=method, reason=code)

    def _end_lapsed(self, account: str, first: str, last: str) -> None:
        """Records that other accounts' right to these numbers has expired: setting a clock back must not restore it."""
        row = t.VerifiedNumber
        overlapping = (row.first_number <= last) & (row.last_number >= first) & (row.account != account)
        for status in self._statuses(overlapping, row.state == VerificationState.VERIFIED):
            if len(status.first) == len(first):
                self.withdraw(status, VerificationState.EXPIRED, "expired")

    def _change(self, attempt: Attempt, **columns: Any) -> None:
        row = t.VerificationAttempt
        row.update(columns).where(row.id == attempt.id).bind(self.database).execute()

    def _put(self, account: str, first: str, last: str, method: str, state: VerificationState, **more: str) -> None:
        """Writes a row of verified_numbers, or replaces the one with the same first number."""
        row = t.VerifiedNumber
        times = dict.fromkeys(("verified_at", "expires_at", "revoked_at", "verified_by", "source"))
        values = {"last_number": last, "method": method, "state": state, **times, **more}
        found = row.update(values).where((row.account == account) & (row.first_number == first))
        if found.bind(self.database).execute() == 0:
            row.insert(account=account, first_number=first, **values).bind(self.database).execute()


def _attempt(row: Row) -> Attempt:
    return Attempt(
        id=row["id"],
        account=row["account"],
        first=row["first_number"],
        last=row["last_number"],
        method=Method(row["method"]),
        state=AttemptState(row["state"]),
        language=row["language"],
        tries=row["tries"],
        started_at=times.from_text(row["started_at"]),
        started_by=row["started_by"],
        code_expires_at=times.from_text(row["code_expires_at"]),
        outcome=row["outcome"],
        answer=row["answer"],
        delivered_at=times.from_text(row["delivered_at"]),
        settled_at=times.from_text(row["settled_at"]),
        evidence=row["evidence"],
        approved_by=row["approved_by"],
    )


def _status(row: Row) -> NumberStatus:
    return NumberStatus(
        account=row["account"],
        first=row["first_number"],
        last=row["last_number"],
        method=row["method"],
        state=VerificationState(row["state"]),
        verified_at=times.from_text(row["verified_at"]),
        expires_at=times.from_text(row["expires_at"]),
        revoked_at=times.from_text(row["revoked_at"]),
        verified_by=row["verified_by"],
        source=row["source"],
        pending=row["pending"],
    )
