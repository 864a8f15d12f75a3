"""Proves that a customer has the right to show a number: the whole life of a verification, for portals and `fsroute verify`.

    numbers = verification.from_settings(load_settings({}, os.environ))
    who = Author("anna", "portal 192.0.2.7")
    attempt = numbers.start("acme", "+4922129191999", Method.CALL, now=datetime.now(UTC), who=who)
    numbers.confirm(attempt.id, "123456", now=datetime.now(UTC), who=who)

Each operation is one transaction, and one at a time: it is done as a whole or not at all, and what it was told stays true
until it is done. Only `start` has two, before and after the call or message, which take as long as people do; whoever
dies in between leaves an attempt that is pending and expires. Refusals raise VerificationRefused after they were written
down; a database that fails raises DataError, and then nothing has changed. A plain code is only ever in memory.

Operations may run in as many threads and processes as there are; each thread connects by itself.
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
from fsroute.data.database import check_version, database_errors, open_database, snapshot
from fsroute.data.routing_store import Store
from fsroute.errors import DataError, FsrouteError
from fsroute.model import Call, Denial, Routing, VerificationState
from fsroute.verification import attempt as attempts
from fsroute.verification import codes, eligibility, prompts, voice_call
from fsroute.verification.attempt import Attempt, AttemptState, NumberStatus, range_name
from fsroute.verification.delivery import Delivered, Delivery, Message, kept_answer
from fsroute.verification.eligibility import BAD_INPUT, Applicant, Limits, Method
from fsroute.verification.repository import VerificationReader, VerificationRepository
from fsroute.verification.sms import SmsGateway

ALL_SOURCES = "all"
"""For `list_numbers`: those verified here and those of every other system."""

_Result = TypeVar("_Result")

_MAX_TEXT = 1000
"""Characters of a reason or an evidence: what fits on a screen."""

_MAX_SOURCE = 64
_SOURCE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


class VerificationRefused(FsrouteError):
    """Something was refused. `denial` says why, for programs and people; `attempt` is the one that it was about, or that
    was written down as a conflict."""

    def __init__(self, subject: str, denial: Denial, attempt: Attempt | None = None) -> None:
        super().__init__(f"{subject}: {denial.why}")
        self.subject = subject
        self.denial = denial
        self.attempt = attempt

    @property
    def code(self) -> str:
        return self.denial.code

    @property
    def is_bad_input(self) -> bool:
        """Whether it was no request at all, rather than one that was judged."""
        return self.code in BAD_INPUT


@dataclass(frozen=True, slots=True)
class Imported:
    """How many numbers and blocks an import took over; `kept` are those that are verified here and stay as they are."""

    taken: int
    kept: tuple[NumberStatus, ...]


@dataclass(frozen=True, slots=True)
class Expired:
    """What has expired, and which verified numbers will in the time that was asked for."""

    attempts: tuple[Attempt, ...]
    numbers: tuple[NumberStatus, ...]
    soon: tuple[NumberStatus, ...]


def from_settings(settings: Settings) -> Verifications:
    """Verifications as the settings describe them: the database, the limits, and the ways to deliver a code.

    Raises ConfigError for settings that can not be used, DataError for a database without the tables of this fsroute.
    """
    database = open_database(settings.db)
    check_version(database, settings.db)
    limits = Limits(
        settings.verify_code_s,
        settings.verify_tries,
        settings.verify_starts_per_number,
        settings.verify_starts_per_account,
        settings.verify_call_pause_s,
    )
    return Verifications(database, settings.db, limits, _deliveries(settings))


def _deliveries(settings: Settings) -> Mapping[Method, Delivery]:
    """The ways that are configured."""
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
    """The verifications in a database. `url` is only named in messages. A method without delivery is not configured.

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
        """Sends a code to a number (E.164), by call or SMS, and returns when it is there or is known not to arrive.

        That takes a minute or two; `begun` is told the attempt before. An older attempt for the number is cancelled. A
        number that is verified stays so meanwhile. When the code did not arrive, the attempt that is returned has failed,
        and `notice` says why. Without `language` ('de', 'en') it is the one of the account's country.
        """
        code = codes.new_code()
        kept, began = codes.hashed(code), time.monotonic()
        with self._writing(now, who) as ledger:
            made = self._start(ledger, account, number, method, language, kept)
        attempt = _or_raise(made)
        try:
            if begun is not None:
                begun(attempt)
            message = Message(attempt.id, attempt.account, attempt.first, code, attempt.language or "")
            told = self._deliveries[method].deliver(message)
        except BaseException:  # Ctrl-C too: what is not written down now looks as if the call still rang
            self._delivered(attempt, Delivered(DeliveryOutcome.INTERRUPTED), now + _since(began), who)
            raise
        return self._delivered(attempt, Delivered(told.outcome, kept_answer(told.answer, code)), now + _since(began), who)

    def _start(
        self, ledger: VerificationRepository, account: str, number: str, method: Method, language: str | None, code_hash: str
    ) -> Attempt | VerificationRefused:
        applicant = _applicant(ledger, account)
        _must_be_spelled(number, applicant)
        if language is not None and language not in prompts.LANGUAGES:
            raise _malformed(
                VerificationCode.TEXT_MALFORMED, number, f"language must be one of {', '.join(prompts.LANGUAGES)}"
            )
        denial = self._not_startable(ledger, applicant, number, method)
        if denial is not None and denial.code in eligibility.CONFLICTS:
            return _in_conflict(ledger, account, number, number, method, denial)
        if denial is not None:
            return _refuse(ledger, account, number, number, denial, method)
        older = ledger.pending(account, number)
        if older is not None:
            ledger.settle(older, AttemptState.CANCELLED, "cancelled", "a new attempt takes its place")
        attempt = ledger.open(
            account,
            number,
            number,
            method,
            language=language or eligibility.language_of(applicant.account.country),
            code_hash=code_hash,
            code_s=self._limits.code_s,
        )
        ledger.begin(attempt, "started")
        return attempt

    def _not_startable(
        self, ledger: VerificationRepository, applicant: Applicant, number: str, method: Method
    ) -> Denial | None:
        older = ledger.pending(applicant.account.name, number)
        if older is not None and older.method is Method.MANUAL:
            return Denial(VerificationCode.AWAITS_APPROVAL, f"awaits approval as {older.subject} (verification {older.id})")
        if method not in self._deliveries:
            return Denial(VerificationCode.NOT_CONFIGURED, f"there is no verification by {method} here")
        return eligibility.may_start(
            applicant,
            number,
            method,
            ledger.claims(number, number),
            ledger.starts_to(number, ledger.now - _DAY),
            ledger.starts_by(applicant.account.name, ledger.now - _HOUR),
            self._limits,
            ledger.now,
        )

    def _delivered(self, attempt: Attempt, told: Delivered, now: datetime, who: Author) -> Attempt:
        """Notes what became of the call or message. An attempt that was settled meanwhile stays as it is."""
        with self._writing(now, who) as ledger:
            found = ledger.attempt(attempt.id) or attempt
            noted = ledger.note_delivery(found, told.outcome, told.answer)
            if told.succeeded or noted.state is not AttemptState.PENDING:
                ledger.note("delivered" if told.succeeded else "not_delivered", noted, reason=told.outcome)
                return noted
            return ledger.settle(noted, AttemptState.FAILED, "not_delivered", told.outcome)

    def confirm(self, id_: str, code: str, *, now: datetime, who: Author) -> Attempt:
        """Compares a code with that of an attempt. The right one makes its number verified, from the next call on.

        A wrong one counts as a try in the same transaction, so that nobody can try more by asking at once. Who holds the
        number and how the account stands is asked again: of two accounts with codes for one number the first one wins.
        """
        with self._writing(now, who) as ledger:
            confirmed = self._confirm(ledger, id_, code)
        return _or_raise(confirmed)

    def _confirm(self, ledger: VerificationRepository, id_: str, code: str) -> Attempt | VerificationRefused:
        attempt = _attempt(ledger, id_)
        if not codes.is_code(code):
            raise _malformed(VerificationCode.CODE_MALFORMED, attempt.subject, f"a code has {codes.DIGITS} digits")
        denial = attempts.not_confirmable(attempt, ledger.now, self._limits.tries)
        if denial is not None:
            return self._not_confirmed(ledger, attempt, denial)
        tried = ledger.count_try(attempt)
        if not codes.matches(code, ledger.code_hash(attempt)):
            denial = attempts.wrong_code(self._limits.tries - tried.tries)
            if tried.tries >= self._limits.tries:
                tried = ledger.settle(tried, AttemptState.FAILED, "failed", denial.code)
            else:
                ledger.note("wrong_code", tried)
            return VerificationRefused(tried.subject, denial, tried)
        return _verified(ledger, tried, "confirmed")

    def _not_confirmed(self, ledger: VerificationRepository, attempt: Attempt, denial: Denial) -> VerificationRefused:
        if attempt.state is AttemptState.PENDING and attempt.method is not Method.MANUAL:
            late = attempts.is_too_late(attempt, ledger.now)
            state = AttemptState.EXPIRED if late else AttemptState.FAILED
            attempt = ledger.settle(attempt, state, state.value, denial.code)
        else:
            ledger.note("refused", attempt, reason=denial.code)
        return VerificationRefused(attempt.subject, denial, attempt)

    # --- by hand -----------------------------------------------------------------------------------------

    def add_block(self, account: str, first: str, last: str, evidence: str, *, now: datetime, who: Author) -> Attempt:
        """Enters a block of numbers (or one special number, `first` = `last`) that an operator has seen evidence for.

        It is verified at once, or pending until somebody else approves it, where the account asks for that.
        """
        with self._writing(now, who) as ledger:
            added = self._add_block(ledger, account, first, last, evidence)
        return _or_raise(added)

    def _add_block(
        self, ledger: VerificationRepository, account: str, first: str, last: str, evidence: str
    ) -> Attempt | VerificationRefused:
        applicant = _applicant(ledger, account)
        for number in (first, last):
            _must_be_spelled(number, applicant)
        wrong = eligibility.malformed_block(first, last)
        if wrong is not None:
            raise VerificationRefused(range_name(first, last), wrong)
        _must_be_told(evidence, "evidence", range_name(first, last))
        claims = ledger.claims(first, last)
        denial = eligibility.may_hold(applicant.account, first, last, claims, ledger.now)
        if denial is not None and denial.code in eligibility.CONFLICTS:
            return _in_conflict(ledger, account, first, last, Method.MANUAL, denial, evidence)
        denial = denial or eligibility.in_own_block(account, first, last, claims, ledger.now)
        if denial is not None:
            return _refuse(ledger, account, first, last, denial, Method.MANUAL)
        older = ledger.pending(account, first)
        if older is not None:
            ledger.settle(older, AttemptState.CANCELLED, "cancelled", "a new attempt takes its place")
        attempt = ledger.open(account, first, last, Method.MANUAL, evidence=evidence)
        if applicant.approves_blocks:
            ledger.begin(attempt, "block_added")
            return attempt
        return ledger.verify(attempt, applicant.verification_days, "block_added")

    def approve(self, id_: str, *, now: datetime, who: Author) -> Attempt:
        """Approves what somebody else entered by hand: its numbers are verified from the next call on."""
        with self._writing(now, who) as ledger:
            approved = self._approve(ledger, id_)
        return _or_raise(approved)

    def _approve(self, ledger: VerificationRepository, id_: str) -> Attempt | VerificationRefused:
        attempt = _attempt(ledger, id_)
        denial = attempts.not_approvable(attempt, ledger.author.actor, self._limits.tries)
        if denial is not None:
            ledger.note("refused", attempt, reason=denial.code)
            return VerificationRefused(attempt.subject, denial, attempt)
        return _verified(ledger, attempt, "approved", ledger.author.actor)

    def cancel(self, id_: str, *, now: datetime, who: Author, reason: str = "") -> Attempt:
        """Ends an attempt that is pending: a code that is not wanted any more, a block that is not approved."""
        with self._writing(now, who) as ledger:
            attempt = _attempt(ledger, id_)
            if reason:
                _must_be_told(reason, "reason", attempt.subject)
            denial = attempts.not_cancellable(attempt, self._limits.tries)
            if denial is None:
                return ledger.settle(attempt, AttemptState.CANCELLED, "cancelled", reason or None)
            ledger.note("refused", attempt, reason=denial.code)
        raise VerificationRefused(attempt.subject, denial, attempt)

    def revoke(
        self, account: str, first: str, last: str | None = None, *, reason: str, now: datetime, who: Author
    ) -> NumberStatus:
        """Takes the right to show a number, or with `last` a block, from the next call on. What is pending is cancelled.

        A number in a block stays allowed as long as the block is, so that is refused, and the block named.
        """
        with self._writing(now, who) as ledger:
            revoked = _revoke(ledger, account, first, last or first, reason)
        return _or_raise(revoked)

    # --- from elsewhere, and over time -------------------------------------------------------------------

    def import_numbers(self, account: str, source: str, text: str, name: str, *, now: datetime, who: Author) -> Imported:
        """Takes over numbers that another system has verified: all lines of `text`, or none.

        A line is a number or `first,last`; # begins a comment. `source` names the system, `name` the file in messages.
        Raises DataError with a line for each line that is wrong.
        """
        if not 1 <= len(source) <= _MAX_SOURCE or not set(source) <= _SOURCE or source == ALL_SOURCES:
            raise _malformed(
                VerificationCode.TEXT_MALFORMED, "source", f"must be 1 to {_MAX_SOURCE} of A-Z a-z 0-9 . _ - and not 'all'"
            )
        with self._writing(now, who) as ledger:
            applicant = _applicant(ledger, account)
            closed = eligibility.closed(applicant.account)
            if closed is not None:
                raise VerificationRefused(account, closed)
            lines, wrong = eligibility.read_import(text, applicant.account.country)
            kept: list[NumberStatus] = []
            for line in lines:
                claims = ledger.claims(line.first, line.last)
                denial = eligibility.may_hold(applicant.account, line.first, line.last, claims, ledger.now)
                standing = ledger.standing(account, line.first)
                ours = standing is not None and standing.is_valid(ledger.now) and standing.source is None
                if ours and standing is not None and standing.last != line.last and denial is None:
                    denial = Denial(VerificationCode.IN_BLOCK, f"begins like {standing.subject}, which is verified here")
                if denial is not None:
                    wrong.append((line.line, f"{range_name(line.first, line.last)} {denial.why}"))
                elif ours and standing is not None:
                    kept.append(standing)
                else:
                    ledger.take_over(account, line.first, line.last, source, applicant.verification_days)
            if wrong:
                raise DataError("\n".join(f"{name}:{line}: {told}" for line, told in sorted(wrong)))
        return Imported(len(lines) - len(kept), tuple(kept))

    def expire(self, *, now: datetime, who: Author, within: timedelta = timedelta(days=30)) -> Expired:
        """Writes down what has expired, codes and verified numbers; no call waited for that. Says what will in the time
        `within`, so that somebody can be told."""
        with self._writing(now, who) as ledger:
            overdue = [
                ledger.settle(attempt, AttemptState.EXPIRED, "expired", VerificationCode.CODE_EXPIRED)
                for attempt in ledger.overdue(ledger.now)
            ]
            lapsed = [
                ledger.withdraw(standing, VerificationState.EXPIRED, "expired") for standing in ledger.lapsed(ledger.now)
            ]
            soon = ledger.expiring(ledger.now, within)
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
        """How numbers and blocks stand: those verified here, or with `source` those imported from there, or all."""
        with self._reading() as reader:
            found = reader.listed(account, source, all_sources=source == ALL_SOURCES)
        return [standing for standing in found if state in {None, standing.state_at(now)}]

    def attempt(self, id_: str) -> Attempt:
        """One attempt."""
        with self._reading() as reader:
            return _attempt(reader, id_)

    def number(self, account: str, number: str) -> tuple[list[NumberStatus], list[Attempt]]:
        """How a number stands for an account, alone and in blocks, and all attempts to verify it, the oldest first."""
        with self._reading() as reader:
            _must_be_spelled(number, _applicant(reader, account))
            return reader.standings_of(account, number), reader.attempts_of(account, number)

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
    """How long ago that was: by a clock that nobody sets."""
    return timedelta(seconds=time.monotonic() - began)


# --- the parts of operations -------------------------------------------------------------------------------


def _verified(
    ledger: VerificationRepository, attempt: Attempt, action: str, approved_by: str | None = None
) -> Attempt | VerificationRefused:
    """Makes an attempt's numbers verified, if nothing came up since it began."""
    applicant = _applicant(ledger, attempt.account)
    claims = ledger.claims(attempt.first, attempt.last)
    denial = eligibility.may_hold(
        applicant.account, attempt.first, attempt.last, claims, ledger.now
    ) or eligibility.in_own_block(attempt.account, attempt.first, attempt.last, claims, ledger.now)
    if denial is None:
        return ledger.verify(attempt, applicant.verification_days, action, approved_by)
    state = AttemptState.CONFLICT if denial.code in eligibility.CONFLICTS else AttemptState.FAILED
    return VerificationRefused(attempt.subject, denial, ledger.settle(attempt, state, state.value, denial.code))


def _revoke(
    ledger: VerificationRepository, account: str, first: str, last: str, reason: str
) -> NumberStatus | VerificationRefused:
    applicant = _applicant(ledger, account)
    for number in (first, last):
        _must_be_spelled(number, applicant)
    wrong = eligibility.malformed_block(first, last)
    if wrong is not None:
        raise VerificationRefused(range_name(first, last), wrong)
    _must_be_told(reason, "reason", range_name(first, last))
    covered = eligibility.in_own_block(account, first, last, ledger.claims(first, last), ledger.now)
    if covered is not None:
        return _refuse(ledger, account, first, last, replace(covered, text=f"{covered.text}; revoke that"))
    standing = ledger.standing(account, first)
    if standing is None or standing.last != last or standing.state is not VerificationState.VERIFIED:
        return _refuse(
            ledger, account, first, last, Denial(VerificationCode.NOT_VERIFIED, f"is not verified for account {account}")
        )
    revoked = ledger.withdraw(standing, VerificationState.REVOKED, "revoked", reason)
    pending = ledger.pending(account, first)
    if pending is not None:
        ledger.settle(pending, AttemptState.CANCELLED, "cancelled", "its number was revoked")
    return revoked


def _refuse(
    ledger: VerificationRepository, account: str, first: str, last: str, denial: Denial, method: Method | None = None
) -> VerificationRefused:
    ledger.note_refusal(account, first, last, denial.code, method)
    return VerificationRefused(range_name(first, last), denial)


def _in_conflict(
    ledger: VerificationRepository,
    account: str,
    first: str,
    last: str,
    method: Method,
    denial: Denial,
    evidence: str | None = None,
) -> VerificationRefused:
    attempt = ledger.open(account, first, last, method, state=AttemptState.CONFLICT, evidence=evidence)
    ledger.note("conflict", attempt, reason=denial.code)
    return VerificationRefused(attempt.subject, denial, attempt)


def _or_raise(result: _Result | VerificationRefused) -> _Result:
    """What came out of a transaction: a refusal is raised behind it, so that what was written of it stays."""
    if isinstance(result, VerificationRefused):
        raise result
    return result


# --- input ------------------------------------------------------------------------------------------------


def _applicant(reader: VerificationReader, account: str) -> Applicant:
    applicant = reader.applicant(account) if account.isprintable() else None
    if applicant is None:
        raise _malformed(VerificationCode.ACCOUNT_UNKNOWN, account, "is no account here")
    return applicant


def _attempt(reader: VerificationReader, id_: str) -> Attempt:
    attempt = reader.attempt(id_) if id_.isprintable() else None
    if attempt is None:
        raise _malformed(VerificationCode.VERIFICATION_UNKNOWN, id_, "is no verification here")
    return attempt


def _must_be_spelled(number: str, applicant: Applicant) -> None:
    denial = eligibility.misspelled(number, applicant.account.country)
    if denial is not None:
        raise VerificationRefused(_quoted(number), denial)


def _must_be_told(text: str, what: str, subject: str) -> None:
    if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
        raise _malformed(VerificationCode.TEXT_MALFORMED, subject, f"{what} must be 1 to {_MAX_TEXT} printable characters")


def _malformed(code: VerificationCode, subject: str, text: str) -> VerificationRefused:
    return VerificationRefused(_quoted(subject), Denial(code, text))


def _quoted(text: str) -> str:
    """What somebody wrote, as one line can name it."""
    return text if text.isprintable() and len(text) <= _MAX_SOURCE else repr(text[:_MAX_SOURCE])
