"""An attempt to verify a number: its states, and the operations that each state allows. Pure.

    pending ──▶ verified | failed | expired | cancelled | conflict

An attempt that has ended stays ended; only a new attempt can follow. Its result is a row of verified_numbers, whose state
follows the attempt's. A number that is verified already stays verified until a code is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fsroute.codes import DeliveryOutcome, VerificationCode
from fsroute.model import Denial, Verification, VerificationState
from fsroute.verification.method import Method


class AttemptState(StrEnum):
    """The states of schema.sql's verifications."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONFLICT = "conflict"


NUMBER_STATES = {
    AttemptState.PENDING: VerificationState.PENDING,
    AttemptState.VERIFIED: VerificationState.VERIFIED,
    AttemptState.FAILED: VerificationState.FAILED,
    AttemptState.EXPIRED: VerificationState.EXPIRED,
    AttemptState.CANCELLED: VerificationState.CANCELLED,
    AttemptState.CONFLICT: VerificationState.FAILED,
}
"""State of a pending row of verified_numbers once its attempt has reached this state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A row of verifications, without the hash of its code. `first` = `last` but for blocks."""

    id: str
    account: str
    first: str
    last: str
    method: Method
    state: AttemptState
    language: str | None
    tries: int
    started_at: datetime
    started_by: str
    code_expires_at: datetime | None
    outcome: str | None
    answer: str | None
    delivered_at: datetime | None
    settled_at: datetime | None
    evidence: str | None
    approved_by: str | None

    @property
    def notice(self) -> str | None:
        """The outcome of the call or message, in a sentence; None while it is unknown."""
        outcome = DeliveryOutcome.named(self.outcome or "")
        return outcome.meaning if outcome else None

    @property
    def subject(self) -> str:
        return range_name(self.first, self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberStatus:
    """A row of verified_numbers: the state of a number or block for an account. `pending` is the id of its pending attempt,
    which a verified number can have too."""

    account: str
    first: str
    last: str
    method: str
    state: VerificationState
    verified_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    verified_by: str | None
    source: str | None
    pending: str | None = None

    @property
    def subject(self) -> str:
        return range_name(self.first, self.last)

    def is_valid(self, now: datetime) -> bool:
        """Whether the number is verified at this moment."""
        return Verification(self.account, self.first, self.last, self.state, self.expires_at).is_valid(now)

    def state_at(self, now: datetime) -> VerificationState:
        """Its state at this moment, also where its expiry is not recorded yet."""
        if self.state is VerificationState.VERIFIED and not self.is_valid(now):
            return VerificationState.EXPIRED
        return self.state


def range_name(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def is_too_late(attempt: Attempt, now: datetime) -> bool:
    """Whether its code can no longer be confirmed. A time before its start counts as too late: a clock that was set back
    must not give more time to guess. A block has no code and waits for its approval without a limit."""
    return attempt.code_expires_at is not None and not attempt.started_at <= now < attempt.code_expires_at


def not_confirmable(attempt: Attempt, now: datetime, tries: int) -> Denial[VerificationCode] | None:
    """Why a code may not be compared with this attempt's; None if it may."""
    if attempt.method is Method.MANUAL:
        return Denial(VerificationCode.HAS_NO_CODE, "is entered by hand: approve it (fsroute verify approve)")
    if attempt.state is not AttemptState.PENDING:
        return _settled(attempt, tries)
    if is_too_late(attempt, now):
        return Denial(VerificationCode.CODE_EXPIRED, "the code is too old; start again")
    return _used_up() if attempt.tries >= tries else None


def not_approvable(attempt: Attempt, actor: str, tries: int) -> Denial[VerificationCode] | None:
    """Why `actor` may not approve this attempt; None if they may."""
    if attempt.method is not Method.MANUAL:
        return Denial(VerificationCode.NEEDS_ITS_CODE, "is verified by its code: confirm it (fsroute verify confirm)")
    if attempt.state is not AttemptState.PENDING:
        return _settled(attempt, tries)
    if _same_person(attempt.started_by, actor):
        return Denial(VerificationCode.SAME_PERSON, f"was entered by {attempt.started_by}; somebody else must approve it")
    return None


def not_cancellable(attempt: Attempt, tries: int) -> Denial[VerificationCode] | None:
    """Why this attempt cannot be cancelled; None if it can."""
    return None if attempt.state is AttemptState.PENDING else _settled(attempt, tries)


def wrong_code(tries_left: int) -> Denial[VerificationCode]:
    """The answer to a wrong code."""
    if tries_left <= 0:
        return _used_up()
    return Denial(
        VerificationCode.WRONG_CODE, f"the code is wrong; {tries_left} {'try is' if tries_left == 1 else 'tries are'} left"
    )


def _settled(attempt: Attempt, tries: int) -> Denial[VerificationCode]:
    match attempt.state:
        case AttemptState.VERIFIED:
            return Denial(VerificationCode.ALREADY_VERIFIED, "was verified by this attempt already")
        case AttemptState.EXPIRED:
            return Denial(VerificationCode.CODE_EXPIRED, "the code is too old; start again")
        case AttemptState.CANCELLED:
            return Denial(VerificationCode.ATTEMPT_CANCELLED, "the attempt was cancelled, or a newer one took its place")
        case AttemptState.CONFLICT:
            return Denial(
                VerificationCode.ATTEMPT_IN_CONFLICT, "is held by another account; an operator has to resolve that"
            )
    if attempt.tries >= tries:
        return _used_up()
    return Denial(
        VerificationCode.ATTEMPT_FAILED,
        f"the attempt has failed{f': {attempt.notice}' if attempt.notice else ''}; start again",
    )


def _used_up() -> Denial[VerificationCode]:
    return Denial(VerificationCode.TRIES_USED_UP, "the code was wrong too often; start again")


def _same_person(one: str, other: str) -> bool:
    """Whether two names of the audit log are of one person, who may have been root by sudo for one of them."""
    return _people(one) & _people(other) - {"root"} != set() or one.strip().casefold() == other.strip().casefold()


def _people(name: str) -> set[str]:
    """The names in `root (sudo: anna)`: that of the process, and that from before sudo."""
    user, _, before = name.strip().casefold().removesuffix(")").partition(" (sudo: ")
    return {user, before} - {""}
