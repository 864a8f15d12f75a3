"""Verifies that a customer has the right to present a number: all operations, for portals and `fsroute verify`.

    numbers = verification.from_settings(load_settings({}, os.environ))
    who = Author("anna", "portal 192.0.2.7")
    attempt = numbers.start("acme", "+4922129191999", Method.CALL, now=datetime.now(UTC), who=who)
    numbers.confirm(attempt.id, "123456", now=datetime.now(UTC), who=who)

Each operation is one transaction, and only one runs at a time: it happens as a whole or not at all. Only `start` has two,
before and after the call or message. A process that dies between them leaves a pending attempt, which expires. A refusal is
recorded, then raised as VerificationRefused. A database that fails raises DataError, and then nothing has changed. The code
itself is never stored.

Operations may run in any number of threads and processes; each thread has its own connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from peewee import Database

from fsroute import times
from fsroute.codes import DeliveryOutcome, VerificationCode
from fsroute.configuration.settings import Settings
from fsroute.data.audit import Author, exclusive
from fsroute.data.database import database_errors, open_database, snapshot
from fsroute.data.routing_store import Store
from fsroute.data.schema import check_version
from fsroute.errors import DataError, FsrouteError
from fsroute.model import Call, Denial, Routing, VerificationState
from fsroute.verification import attempt as attempts
from fsroute.verification import budgets, eligibility, prompts, verification_code, voice_call
from fsroute.verification.attempt import Attempt, AttemptState, NumberStatus, range_name
from fsroute.verification.budgets import Limits
from fsroute.verification.delivery import Delivered, Delivery, Message, kept_answer
from fsroute.verification.eligibility import BAD_INPUT, Applicant
from fsroute.verification.method import Method
from fsroute.verification.repository import VerificationReader, VerificationRepository
from fsroute.verification.sms import SmsGateway

ALL_SOURCES = "all"
"""A source for `list_numbers`: numbers verified here, and those of every other system."""

_Result = TypeVar("_Result")

_MAX_TEXT = 1000
"""Longest reason or evidence, in characters: one screen."""

_MAX_SOURCE = 64
_SOURCE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NEEDS = {
    Method.CALL: "set event_socket_password",
    Method.SMS: "set sms_url",
    Method.MANUAL: "no code is sent for it; enter the numbers with add_block",
}


class VerificationRefused(FsrouteError):
    """Something was refused. `denial` says why, for programs and people; `attempt` is the one that it was about, or that
    was written down as a conflict."""

    def __init__(self, subject: str, denial: Denial[VerificationCode], attempt: Attempt | None = None) -> None:
        super().__init__(f"{subject}: {denial.why}")
        self.subject = subject
        self.denial = denial
        self.attempt = attempt

    @property
    def code(self) -> VerificationCode:
        return self.denial.code

    @property
    def is_bad_input(self) -> bool:
        """Whether the input was malformed, so that there was nothing to decide."""
        return self.code in BAD_INPUT


@dataclass(frozen=True, slots=True)
class Imported:
    """How many numbers and blocks an import added; `kept` are those that are verified here and stay unchanged."""

    taken: int
    kept: tuple[NumberStatus, ...]


@dataclass(frozen=True, slots=True)
class Expired:
    """The attempts and numbers that have expired, and the verified numbers that will expire within the given time."""

    attempts: tuple[Attempt, ...]
    numbers: tuple[NumberStatus, ...]
    soon: tuple[NumberStatus, ...]


def from_settings(settings: Settings) -> Verifications:
    """Verifications as the settings describe them: the database, the limits, and the ways to deliver a code.

    Raises ConfigError for settings that cannot be used, DataError for a database without the tables of this fsroute.
    """
    database = open_database(settings.db)
    check_version(database, settings.db)
    limits = Limits(
        settings.verify_code_s,
        settings.verify_tries,
        settings.verify_starts_per_number,
        settings.verify_starts_per_account,
        settings.verify_starts_per_kind,
        settings.verify_starts_per_country,
        settings.verify_starts_per_day,
        settings.verify_wrong_codes,
        settings.verify_call_pause_s,
    )
    return Verifications(database, settings.db, limits, _deliveries(settings))


def _deliveries(settings: Settings) -> Mapping[Method, Delivery]:
    """The configured ways to deliver a code."""
    ways: dict[Method, Delivery] = {}
    if settings.event_socket_password:
        store = Store(open_database(settings.db), settings.db, settings.country)

        def routing(call: Call) -> Routing:
            try:
                return store.routing(call)
            finally:
                store.close()

        ways[Method.CALL] = voice_call.from_settings(settings, routing, lambda: datetime.now(UTC))
    if settings.sms_gateway is not None:
        ways[Method.SMS] = SmsGateway(
            settings.sms_gateway,
            code_s=settings.verify_code_s,
            timeout_s=settings.sms_timeout_s,
            attempts=settings.sms_attempts,
        )
    return ways


class Verifications:
    """The verifications in a database. `url` is for messages only. A method without a delivery is not configured.

    `now` must have a time zone; `who` is written into the audit log. All raise DataError if the database fails, and
    VerificationRefused for what is refused.
    """

    def __init__(self, database: Database, url: str, limits: Limits, deliveries: Mapping[Method, Delivery]) -> None:
        self._database = database
        self._url = url
        self._limits = limits
        self._deliveries = deliveries

    # --- by a code ---------------------------------------------------------------------------------------

    def start(
        self,
        account: str,
        number: str,
        method: Method,
        *,
        now: datetime,
        who: Author,
        language: str | None = None,
        begun: Callable[[Attempt], object] | None = None,
    ) -> Attempt:
        """Sends a code to a number (E.164), by call or SMS, and returns when the delivery has succeeded or failed.

        That takes a minute or two; `begun` gets the attempt before. An older attempt for the number is cancelled. A verified
        number stays verified meanwhile. If the delivery failed, the returned attempt has failed, and its `notice` says why.
        The default of `language` ('de', 'en') is that of the account's country.
        """
        code = verification_code.new_code()
        kept, began = verification_code.hashed(code), time.monotonic()
        with self._writing(now, who) as repository:
            made = self._start(repository, account, number, method, language, kept)
        attempt = _or_raise(made)
        try:
            if begun is not None:
                begun(attempt)
            message = Message(attempt.id, attempt.account, attempt.first, code, attempt.language or "")
            delivered = self._deliveries[method].deliver(message)
        except BaseException:  # Ctrl-C too: without this record the call would seem to ring still
            self._delivered(attempt, Delivered(DeliveryOutcome.INTERRUPTED), now + _since(began), who)
            raise
        return self._delivered(
            attempt, Delivered(delivered.outcome, kept_answer(delivered.answer, code)), now + _since(began), who
        )

    def _start(
        self,
        repository: VerificationRepository,
        account: str,
        number: str,
        method: Method,
        language: str | None,
        code_hash: str,
    ) -> Attempt | VerificationRefused:
        applicant = _applicant(repository, account)
        _must_be_spelled(number, applicant)
        if language is not None and language not in prompts.LANGUAGES:
            raise _malformed(
                VerificationCode.TEXT_MALFORMED, number, f"language must be one of {', '.join(prompts.LANGUAGES)}"
            )
        denial = self._not_startable(repository, applicant, number, method)
        if denial is not None and denial.code in eligibility.CONFLICTS:
            return _in_conflict(repository, account, number, number, method, denial)
        if denial is not None:
            return _refuse(repository, account, number, number, denial, method)
        older = repository.pending(account, number)
        if older is not None:
            repository.settle(older, AttemptState.CANCELLED, "cancelled", "a new attempt takes its place")
        attempt = repository.open(
            account,
            number,
            number,
            method,
            language=language or eligibility.language_of(applicant.account.country),
            code_hash=code_hash,
            code_s=self._limits.code_s,
        )
        repository.begin(attempt, "started")
        return attempt

    def _not_startable(
        self, repository: VerificationRepository, applicant: Applicant, number: str, method: Method
    ) -> Denial[VerificationCode] | None:
        older = repository.pending(applicant.account.name, number)
        if older is not None and older.method is Method.MANUAL:
            return Denial(VerificationCode.AWAITS_APPROVAL, f"awaits approval as {older.subject} (verification {older.id})")
        if method not in self._deliveries:
            return Denial(VerificationCode.NOT_CONFIGURED, f"verification by {method} is not configured: {_NEEDS[method]}")
        return eligibility.may_start(
            applicant,
            number,
            method,
            repository.claims(number, number),
            repository.starts(repository.now - budgets.WINDOW),
            self._limits,
            repository.now,
        )

    def _delivered(self, attempt: Attempt, delivered: Delivered, now: datetime, who: Author) -> Attempt:
        """Records the outcome of the call or message. An attempt that has ended meanwhile keeps its state."""
        with self._writing(now, who) as repository:
            found = repository.attempt(attempt.id) or attempt
            noted = repository.note_delivery(found, delivered.outcome, delivered.answer)
            if delivered.succeeded or noted.state is not AttemptState.PENDING:
                repository.note("delivered" if delivered.succeeded else "not_delivered", noted, reason=delivered.outcome)
                return noted
            return repository.settle(noted, AttemptState.FAILED, "not_delivered", delivered.outcome)

    def confirm(self, id_: str, code: str, *, now: datetime, who: Author) -> Attempt:
        """Compares a code with that of an attempt. The right code verifies the number, from the next call on.

        A wrong code counts as a try in the same transaction, so that parallel requests get no extra tries. Other accounts
        and the account's status are checked again: of two accounts with codes for one number the first to confirm wins.
        """
        with self._writing(now, who) as repository:
            confirmed = self._confirm(repository, id_, code)
        return _or_raise(confirmed)

    def _confirm(self, repository: VerificationRepository, id_: str, code: str) -> Attempt | VerificationRefused:
        attempt = _attempt(repository, id_)
        if not verification_code.is_code(code):
            raise _malformed(
                VerificationCode.CODE_MALFORMED, attempt.subject, f"a code has {verification_code.DIGITS} digits"
            )
        denial = attempts.not_confirmable(attempt, repository.now, self._limits.tries)
        if denial is not None:
            return self._not_confirmed(repository, attempt, denial)
        denial = budgets.guessed_too_often(
            [start for start in repository.starts(repository.now - budgets.WINDOW) if start.account == attempt.account],
            self._limits,
            repository.now,
        )
        if denial is not None:
            repository.note("refused", attempt, reason=denial.code)
            return VerificationRefused(attempt.subject, denial, attempt)
        tried = repository.count_try(attempt)
        if not verification_code.matches(code, repository.code_hash(attempt)):
            denial = attempts.wrong_code(self._limits.tries - tried.tries)
            if tried.tries >= self._limits.tries:
                tried = repository.settle(tried, AttemptState.FAILED, "failed", denial.code)
            else:
                repository.note("wrong_code", tried)
            return VerificationRefused(tried.subject, denial, tried)
        return _verified(repository, tried, "confirmed")

    def _not_confirmed(
        self, repository: VerificationRepository, attempt: Attempt, denial: Denial[VerificationCode]
    ) -> VerificationRefused:
        if attempt.state is AttemptState.PENDING and attempt.method is not Method.MANUAL:
            late = attempts.is_too_late(attempt, repository.now)
            state = AttemptState.EXPIRED if late else AttemptState.FAILED
            attempt = repository.settle(attempt, state, state.value, denial.code)
        else:
            repository.note("refused", attempt, reason=denial.code)
        return VerificationRefused(attempt.subject, denial, attempt)

    # --- by hand -----------------------------------------------------------------------------------------

    def add_block(self, account: str, first: str, last: str, evidence: str, *, now: datetime, who: Author) -> Attempt:
        """Enters a block of numbers (or one special number, `first` = `last`) for which an operator has seen evidence.

        It is verified at once. With accounts.approves_blocks it is pending until another person approves it.
        """
        with self._writing(now, who) as repository:
            added = self._add_block(repository, account, first, last, evidence)
        return _or_raise(added)

    def _add_block(
        self, repository: VerificationRepository, account: str, first: str, last: str, evidence: str
    ) -> Attempt | VerificationRefused:
        applicant = _applicant(repository, account)
        for number in (first, last):
            _must_be_spelled(number, applicant)
        wrong = eligibility.malformed_block(first, last)
        if wrong is not None:
            raise VerificationRefused(range_name(first, last), wrong)
        _must_be_text(evidence, "evidence", range_name(first, last))
        claims = repository.claims(first, last)
        denial = eligibility.may_hold(applicant.account, first, last, claims, repository.now)
        if denial is not None and denial.code in eligibility.CONFLICTS:
            return _in_conflict(repository, account, first, last, Method.MANUAL, denial, evidence)
        denial = denial or eligibility.in_own_block(account, first, last, claims, repository.now)
        if denial is not None:
            return _refuse(repository, account, first, last, denial, Method.MANUAL)
        older = repository.pending(account, first)
        if older is not None:
            repository.settle(older, AttemptState.CANCELLED, "cancelled", "a new attempt takes its place")
        attempt = repository.open(account, first, last, Method.MANUAL, evidence=evidence)
        if applicant.approves_blocks:
            repository.begin(attempt, "block_added")
            return attempt
        return repository.verify(attempt, applicant.verification_days, "block_added")

    def approve(self, id_: str, *, now: datetime, who: Author) -> Attempt:
        """Approves a block that another person entered: its numbers are verified from the next call on."""
        with self._writing(now, who) as repository:
            approved = self._approve(repository, id_)
        return _or_raise(approved)

    def _approve(self, repository: VerificationRepository, id_: str) -> Attempt | VerificationRefused:
        attempt = _attempt(repository, id_)
        denial = attempts.not_approvable(attempt, repository.author.actor, self._limits.tries)
        if denial is not None:
            repository.note("refused", attempt, reason=denial.code)
            return VerificationRefused(attempt.subject, denial, attempt)
        return _verified(repository, attempt, "approved", repository.author.actor)

    def cancel(self, id_: str, *, now: datetime, who: Author, reason: str = "") -> Attempt:
        """Ends a pending attempt: a code that is no longer wanted, a block that is not approved."""
        with self._writing(now, who) as repository:
            attempt = _attempt(repository, id_)
            if reason:
                _must_be_text(reason, "reason", attempt.subject)
            denial = attempts.not_cancellable(attempt, self._limits.tries)
            if denial is None:
                return repository.settle(attempt, AttemptState.CANCELLED, "cancelled", reason or None)
            repository.note("refused", attempt, reason=denial.code)
        raise VerificationRefused(attempt.subject, denial, attempt)

    def revoke(
        self, account: str, first: str, last: str | None = None, *, reason: str, now: datetime, who: Author
    ) -> NumberStatus:
        """Ends the right to present a number, or with `last` a block, from the next call on. A pending attempt is cancelled.

        Revoking a number of a verified block is refused, and the message names the block: revoke the block.
        """
        with self._writing(now, who) as repository:
            revoked = _revoke(repository, account, first, last or first, reason)
        return _or_raise(revoked)

    # --- from elsewhere, and over time -------------------------------------------------------------------

    def import_numbers(self, account: str, source: str, text: str, name: str, *, now: datetime, who: Author) -> Imported:
        """Adds numbers that another system has verified: all lines of `text`, or none.

        A line is a number or `first,last`; # begins a comment. `source` names the system, `name` the file in messages.
        Raises DataError with one line for each wrong line.
        """
        if not 1 <= len(source) <= _MAX_SOURCE or not set(source) <= _SOURCE or source == ALL_SOURCES:
            raise _malformed(
                VerificationCode.TEXT_MALFORMED, "source", f"must be 1 to {_MAX_SOURCE} of A-Z a-z 0-9 . _ - and not 'all'"
            )
        with self._writing(now, who) as repository:
            applicant = _applicant(repository, account)
            closed = eligibility.closed(applicant.account)
            if closed is not None:
                raise VerificationRefused(account, closed)
            lines, wrong = eligibility.read_import(text, applicant.account.country)
            kept: list[NumberStatus] = []
            for line in lines:
                claims = repository.claims(line.first, line.last)
                denial = eligibility.may_hold(applicant.account, line.first, line.last, claims, repository.now)
                status = repository.status(account, line.first)
                ours = status is not None and status.is_valid(repository.now) and status.source is None
                if ours and status is not None and status.last != line.last and denial is None:
                    denial = Denial(VerificationCode.IN_BLOCK, f"begins like {status.subject}, which is verified here")
                if denial is not None:
                    wrong.append((line.line, f"{range_name(line.first, line.last)} {denial.why}"))
                elif ours and status is not None:
                    kept.append(status)
                else:
                    repository.take_over(account, line.first, line.last, source, applicant.verification_days)
            if wrong:
                raise DataError("\n".join(f"{name}:{line}: {why}" for line, why in sorted(wrong)))
        return Imported(len(lines) - len(kept), tuple(kept))

    def expire(self, *, now: datetime, who: Author, within: timedelta = timedelta(days=30)) -> Expired:
        """Records which codes and verified numbers have expired. Calls check the time themselves and do not need this.
        Returns also the numbers that expire within the time `within`, so that their owners can be warned."""
        with self._writing(now, who) as repository:
            overdue = [
                repository.settle(attempt, AttemptState.EXPIRED, "expired", VerificationCode.CODE_EXPIRED)
                for attempt in repository.overdue(repository.now)
            ]
            lapsed = [
                repository.withdraw(status, VerificationState.EXPIRED, "expired")
                for status in repository.lapsed(repository.now)
            ]
            soon = repository.expiring(repository.now, within)
        return Expired(tuple(overdue), tuple(lapsed), tuple(soon))

    # --- reading -----------------------------------------------------------------------------------------

    def list_numbers(
        self,
        *,
        now: datetime,
        account: str | None = None,
        state: VerificationState | None = None,
        source: str | None = None,
    ) -> list[NumberStatus]:
        """The status of numbers and blocks: those verified here, or with `source` those imported from there, or all."""
        with self._reading() as reader:
            found = reader.listed(account, source, all_sources=source == ALL_SOURCES)
        return [status for status in found if state in {None, status.state_at(now)}]

    def attempt(self, id_: str) -> Attempt:
        """One attempt."""
        with self._reading() as reader:
            return _attempt(reader, id_)

    def number(self, account: str, number: str) -> tuple[list[NumberStatus], list[Attempt]]:
        """The status of a number for an account, alone and in blocks, and all attempts to verify it, the oldest first."""
        with self._reading() as reader:
            _must_be_spelled(number, _applicant(reader, account))
            return reader.statuses_of(account, number), reader.attempts_of(account, number)

    # --- transactions ------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, now: datetime, who: Author) -> Iterator[VerificationRepository]:
        with exclusive(self._database, self._url):
            yield VerificationRepository(self._database, who, times.whole_seconds(now))

    @contextmanager
    def _reading(self) -> Iterator[VerificationReader]:
        with database_errors(self._url), self._database.connection_context(), snapshot(self._database):
            yield VerificationReader(self._database)


def _since(began: float) -> timedelta:
    """The time since then, by the monotonic clock."""
    return timedelta(seconds=time.monotonic() - began)


# --- the parts of operations -------------------------------------------------------------------------------


def _verified(
    repository: VerificationRepository, attempt: Attempt, action: str, approved_by: str | None = None
) -> Attempt | VerificationRefused:
    """Verifies the numbers of an attempt, if they may still be verified."""
    applicant = _applicant(repository, attempt.account)
    claims = repository.claims(attempt.first, attempt.last)
    denial = eligibility.may_hold(
        applicant.account, attempt.first, attempt.last, claims, repository.now
    ) or eligibility.in_own_block(attempt.account, attempt.first, attempt.last, claims, repository.now)
    if denial is None:
        return repository.verify(attempt, applicant.verification_days, action, approved_by)
    state = AttemptState.CONFLICT if denial.code in eligibility.CONFLICTS else AttemptState.FAILED
    return VerificationRefused(attempt.subject, denial, repository.settle(attempt, state, state.value, denial.code))


def _revoke(
    repository: VerificationRepository, account: str, first: str, last: str, reason: str
) -> NumberStatus | VerificationRefused:
    applicant = _applicant(repository, account)
    for number in (first, last):
        _must_be_spelled(number, applicant)
    wrong = eligibility.malformed_block(first, last)
    if wrong is not None:
        raise VerificationRefused(range_name(first, last), wrong)
    _must_be_text(reason, "reason", range_name(first, last))
    covered = eligibility.in_own_block(account, first, last, repository.claims(first, last), repository.now)
    if covered is not None:
        return _refuse(repository, account, first, last, replace(covered, text=f"{covered.text}; revoke that"))
    status = repository.status(account, first)
    if status is None or status.last != last or status.state is not VerificationState.VERIFIED:
        return _refuse(
            repository, account, first, last, Denial(VerificationCode.NOT_VERIFIED, f"is not verified for account {account}")
        )
    revoked = repository.withdraw(status, VerificationState.REVOKED, "revoked", reason)
    pending = repository.pending(account, first)
    if pending is not None:
        repository.settle(pending, AttemptState.CANCELLED, "cancelled", "its number was revoked")
    return revoked


def _refuse(
    repository: VerificationRepository,
    account: str,
    first: str,
    last: str,
    denial: Denial[VerificationCode],
    method: Method | None = None,
) -> VerificationRefused:
    repository.note_refusal(account, first, last, denial.code, method)
    return VerificationRefused(range_name(first, last), denial)


def _in_conflict(
    repository: VerificationRepository,
    account: str,
    first: str,
    last: str,
    method: Method,
    denial: Denial[VerificationCode],
    evidence: str | None = None,
) -> VerificationRefused:
    attempt = repository.open(account, first, last, method, state=AttemptState.CONFLICT, evidence=evidence)
    repository.note("conflict", attempt, reason=denial.code)
    return VerificationRefused(attempt.subject, denial, attempt)


def _or_raise(result: _Result | VerificationRefused) -> _Result:
    """The result of a transaction. A refusal is raised after the transaction, so that its record is kept."""
    if isinstance(result, VerificationRefused):
        raise result
    return result


# --- input ------------------------------------------------------------------------------------------------


def _applicant(reader: VerificationReader, account: str) -> Applicant:
    applicant = reader.applicant(account) if account.isprintable() else None
    if applicant is None:
        raise _malformed(VerificationCode.ACCOUNT_UNKNOWN, account, "is no account in this database")
    return applicant


def _attempt(reader: VerificationReader, id_: str) -> Attempt:
    attempt = reader.attempt(id_) if id_.isprintable() else None
    if attempt is None:
        raise _malformed(VerificationCode.VERIFICATION_UNKNOWN, id_, "is no verification in this database")
    return attempt


def _must_be_spelled(number: str, applicant: Applicant) -> None:
    denial = eligibility.misspelled(number, applicant.account.country)
    if denial is not None:
        raise VerificationRefused(_quoted(number), denial)


def _must_be_text(text: str, what: str, subject: str) -> None:
    if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
        raise _malformed(VerificationCode.TEXT_MALFORMED, subject, f"{what} must be 1 to {_MAX_TEXT} printable characters")


def _malformed(code: VerificationCode, subject: str, text: str) -> VerificationRefused:
    return VerificationRefused(_quoted(subject), Denial(code, text))


def _quoted(text: str) -> str:
    """Input as it can be named in one line."""
    return text if text.isprintable() and len(text) <= _MAX_SOURCE else repr(text[:_MAX_SOURCE])
