"""An attempt to verify a number, from its start to its end: its states, and what can be done in each. Pure.

    pending ──▶ verified | failed | expired | cancelled | conflict

Every attempt ends once and for all; a new one is the only way on. What it leads to is a row of verified_numbers, whose
state follows that of the attempt, unless the number is verified already: then it stays so until a code is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fsroute.codes import DeliveryOutcome, VerificationCode
from fsroute.model import Denial, Verification, VerificationState
from fsroute.verification.eligibility import Method


class AttemptState(StrEnum):
    """The states of schema.sql's verifications."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONFLICT = "conflict"


STANDINGS = {
    AttemptState.PENDING: VerificationState.PENDING,
    AttemptState.VERIFIED: VerificationState.VERIFIED,
    AttemptState.FAILED: VerificationState.FAILED,
    AttemptState.EXPIRED: VerificationState.EXPIRED,
    AttemptState.CANCELLED: VerificationState.CANCELLED,
    AttemptState.CONFLICT: VerificationState.FAILED,
}
"""How a number stands that was pending, when its attempt comes to this state."""


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
        """What became of the call or message, in a sentence; None while that is not known."""
        outcome = DeliveryOutcome.named(self.outcome or "")
        return outcome.meaning if outcome else None

    @property
    def subject(self) -> str:
        return range_name(self.first, self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberStatus:
    """A row of verified_numbers: how a number or block stands for an account. `pending` is the id of the attempt that is
    pending for it, which a number that is verified can have too."""

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
        """Its state, also where nobody has written down yet that it expired."""
        if self.state is VerificationState.VERIFIED and not self.is_valid(now):
            return VerificationState.EXPIRED
        return self.state


def range_name(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def is_too_late(attempt: Attempt, now: datetime) -> bool:
    """Whether its code can not be confirmed any more. Before its start counts too: a clock that was set back must not give
    anybody more time to guess. A block has no code and waits for its approval as long as that takes."""
    return attempt.code_expires_at is not None and not attempt.started_at <= now < attempt.code_expires_at


def not_confirmable(attempt: Attempt, now: datetime, tries: int) -> Denial | None:
    """What stands against comparing a code with this attempt's."""
    if attempt.method is Method.MANUAL:
        return Denial(VerificationCode.HAS_NO_CODE, "is verified by hand: it is approved, not confirmed")
    if attempt.state is not AttemptState.PENDING:
        return _settled(attempt, tries)
    if is_too_late(attempt, now):
        return Denial(VerificationCode.CODE_EXPIRED, "the code is too old; start anew")
    return _used_up() if attempt.tries >= tries else None


def not_approvable(attempt: Attempt, actor: str, tries: int) -> Denial | None:
    """What stands against the approval of this attempt by `actor`."""
    if attempt.method is not Method.MANUAL:
        return Denial(VerificationCode.NEEDS_ITS_CODE, "is verified by its code: it is confirmed, not approved")
    if attempt.state is not AttemptState.PENDING:
        return _settled(attempt, tries)
    if _same_person(attempt.started_by, actor):
        return Denial(VerificationCode.SAME_PERSON, f"was entered by {attempt.started_by}; somebody else must approve it")
    return None


def not_cancellable(attempt: Attempt, tries: int) -> Denial | None:
    """What stands against cancelling this attempt."""
    return None if attempt.state is AttemptState.PENDING else _settled(attempt, tries)


def wrong_code(tries_left: int) -> Denial:
    """The answer to a wrong code."""
    if tries_left <= 0:
        return _used_up()
    return Denial(
        VerificationCode.WRONG_CODE, f"the code is wrong; {tries_left} {'try is' if tries_left == 1 else 'tries are'} left"
    )


def _settled(attempt: Attempt, tries: int) -> Denial:
    match attempt.state:
        case AttemptState.VERIFIED:
            return Denial(VerificationCode.ALREADY_VERIFIED, "was verified by this attempt already")
        case AttemptState.EXPIRED:
            return Denial(VerificationCode.CODE_EXPIRED, "the code is too old; start anew")
        case AttemptState.CANCELLED:
            return Denial(VerificationCode.ATTEMPT_CANCELLED, "the attempt was cancelled, or a newer one took its place")
        case AttemptState.CONFLICT:
            return Denial(VerificationCode.ATTEMPT_IN_CONFLICT, "is held by another account; an operator has to settle that")
    if attempt.tries >= tries:
        return _used_up()
    return Denial(
        VerificationCode.ATTEMPT_FAILED,
        f"the attempt has failed{f': {attempt.notice}' if attempt.notice else ''}; start anew",
    )


def _used_up() -> Denial:
    return Denial(VerificationCode.TRIES_USED_UP, "the code was wrong too often; start anew")


def _same_person(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()
