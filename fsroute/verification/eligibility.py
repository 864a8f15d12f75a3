"""Whether a number may be verified for an account, and why not. Pure.

Each code costs a call or a message and disturbs the callee, so everything is checked before it is sent. The order of the
checks: the spelling, the account, the number, the way of delivery, the limits, and last whether another account holds the
number. A start that fails at the last check counts for the limits, so that nobody can test all numbers in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import phonenumbers

from fsroute.codes import VerificationCode
from fsroute.model import Account, AccountStatus, Denial, Verification
from fsroute.numbers import phone_number, regulation
from fsroute.numbers.law import NumberClass
from fsroute.routing.permissions import is_permitted, may_call
from fsroute.verification import budgets
from fsroute.verification.budgets import Limits, Start
from fsroute.verification.method import Method

BLOCK_DIGITS = 4
"""Last digits in which the numbers of a block may differ (schema.sql). Carriers assign blocks of up to four digits of
extension; a longer one is a typing error."""

MAX_LINES = 2_000
"""Most lines of one import. It is one transaction, which then takes some two seconds; other writers wait up to five."""

_GERMAN = frozenset({"DE", "AT", "CH", "LI"})

CHEAP = frozenset({NumberClass.GEOGRAPHIC, NumberClass.MOBILE, NumberClass.VOIP, NumberClass.FREEPHONE})
"""Kinds of numbers to which a code costs what a normal call costs. The price of every other kind can be shared with whoever
rents the number (0180, 0700, 0900), or is not known."""

BAD_INPUT = frozenset(
    {
        VerificationCode.ACCOUNT_UNKNOWN,
        VerificationCode.BLOCK_MALFORMED,
        VerificationCode.CODE_MALFORMED,
        VerificationCode.NOT_A_NUMBER,
        VerificationCode.NOT_E164,
        VerificationCode.TEXT_MALFORMED,
        VerificationCode.VERIFICATION_UNKNOWN,
    }
)
"""Codes of what is no request at all. It leaves no row anywhere; every other refusal leaves one in the audit log."""

CONFLICTS = frozenset({VerificationCode.HOSTED_BY_ANOTHER_ACCOUNT, VerificationCode.VERIFIED_BY_ANOTHER_ACCOUNT})
"""Codes of what an operator has to settle. An attempt is written down that is in conflict."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """An account that wants a number verified; the columns are schema.sql's."""

    account: Account
    verifies_abroad: bool
    verification_days: int
    approves_blocks: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """The holders of a range: the accounts that host a number of it, and the rows of verified_numbers that overlap it."""

    hosts: frozenset[str] = frozenset()
    verifications: tuple[Verification, ...] = ()


# --- what was written -------------------------------------------------------------------------------------


def misspelled(text: str, country: str) -> Denial[VerificationCode] | None:
    """The error in a number that must be E.164, and the number that was probably meant."""
    meant = next(iter(phone_number.candidates(text, country)), None)
    if phone_number.is_e164(text) and meant in {text, None}:
        return (
            None if meant else Denial(VerificationCode.NOT_A_NUMBER, "is too long or too short for a number of its country")
        )
    if meant is None:
        return Denial(VerificationCode.NOT_A_NUMBER, "is no number; a number is written +4922129191999")
    if regulation.classify(meant, country) is NumberClass.OTHER:  # too short, or of an unassigned range: no guess
        return Denial(VerificationCode.NOT_E164, "is not written in E.164; a number is written +4922129191999")
    return Denial(VerificationCode.NOT_E164, f"is not written in E.164; {meant} is, and was probably meant", meant=meant)


def malformed_block(first: str, last: str) -> Denial[VerificationCode] | None:
    """The error in a block of two numbers that are valid E.164."""
    if len(first) != len(last):
        return Denial(VerificationCode.BLOCK_MALFORMED, "a block's first and last number must have the same length")
    if first > last:
        return Denial(VerificationCode.BLOCK_MALFORMED, "a block's first number must not be after its last")
    if first[:-BLOCK_DIGITS] != last[:-BLOCK_DIGITS]:
        return Denial(
            VerificationCode.BLOCK_MALFORMED, f"the numbers of a block may differ in their last {BLOCK_DIGITS} digits only"
        )
    return None


def language_of(country: str) -> str:
    """The language of a call or message where none is given."""
    return "de" if country in _GERMAN else "en"


# --- who may verify what ----------------------------------------------------------------------------------


def may_start(
    applicant: Applicant,
    number: str,
    method: Method,
    claims: Claims,
    recent: Sequence[Start],
    limits: Limits,
    now: datetime,
) -> Denial[VerificationCode] | None:
    """The denial of a code to a number (E.164), None if a code may be sent.

    `recent` are the starts of the last day by all accounts.
    """
    name = applicant.account.name
    if name in claims.hosts:
        return Denial(VerificationCode.OWN_NUMBER, "is hosted here for the account and needs no verification")
    return (
        _barred(applicant.account, number, number)
        or in_own_block(name, number, number, claims, now)
        or _undeliverable(applicant, number, method)
        or budgets.too_many(applicant.account, number, method, recent, limits, now)
        or conflict(name, claims, now)
    )


def may_hold(account: Account, first: str, last: str, claims: Claims, now: datetime) -> Denial[VerificationCode] | None:
    """Why these numbers may not be verified for the account at this moment, by any method; None if they may."""
    return _barred(account, first, last) or conflict(account.name, claims, now)


def closed(account: Account) -> Denial[VerificationCode] | None:
    """Why the account may not verify any number; None if it may."""
    if account.status is AccountStatus.TRIAL:
        return Denial(VerificationCode.TRIAL_ACCOUNT, "trial accounts verify no numbers")
    if account.status is AccountStatus.SUSPENDED:
        return Denial(VerificationCode.ACCOUNT_SUSPENDED, "the account is suspended")
    return None


def conflict(account: str, claims: Claims, now: datetime) -> Denial[VerificationCode] | None:
    """Whether another account holds one of the numbers. An operator has to resolve that."""
    if claims.hosts - {account}:
        return Denial(
            VerificationCode.HOSTED_BY_ANOTHER_ACCOUNT, "is hosted here for another account; an operator has to resolve that"
        )
    if any(held.account != account and held.is_valid(now) for held in claims.verifications):
        return Denial(
            VerificationCode.VERIFIED_BY_ANOTHER_ACCOUNT, "is verified for another account; an operator has to resolve that"
        )
    return None


def in_own_block(account: str, first: str, last: str, claims: Claims, now: datetime) -> Denial[VerificationCode] | None:
    """Whether a larger block of the account already verifies these numbers."""
    for held in claims.verifications:
        larger = held.first <= first and last <= held.last and (held.first, held.last) != (first, last)
        if held.account == account and larger and held.is_valid(now):
            return Denial(VerificationCode.IN_BLOCK, f"is verified in the block {held.first} to {held.last}")
    return None


def _barred(account: Account, first: str, last: str) -> Denial[VerificationCode] | None:
    barred = closed(account)
    if barred is not None:
        return barred
    banned = regulation.rules_for(account.country).never_presented
    for number in (first, last):
        never = banned.get(regulation.classify(number, account.country))
        if never is not None:
            return Denial(VerificationCode.CLASS_NEVER_PRESENTED, never.text, never.id)
    return None


def _undeliverable(applicant: Applicant, number: str, method: Method) -> Denial[VerificationCode] | None:
    account = applicant.account
    if method is Method.SMS and not _may_be_mobile(number, account.country):
        return Denial(VerificationCode.NO_MOBILE_NUMBER, "is no mobile number; only these get a code by SMS")
    if not may_call(number, account):
        return Denial(VerificationCode.DESTINATION_BARRED, "is a number that the account may not call")
    kind = regulation.classify(number, account.country)
    if kind not in CHEAP and not is_permitted(number, account):
        return Denial(
            VerificationCode.EXPENSIVE_NUMBER,
            f"is of an expensive kind ({kind.value}): a row of call_permissions must allow its range, such as {number[:6]}",
        )
    if regulation.is_abroad(number, account.country) and not applicant.verifies_abroad:
        return Denial(
            VerificationCode.FOREIGN_NUMBER, "is a number of another country, to which the account may send no codes"
        )
    return None


def _may_be_mobile(number: str, country: str) -> bool:
    if regulation.classify(number, country) is NumberClass.MOBILE:
        return True
    # North American numbers do not show whether they are mobile. The gateway knows.
    either = phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE
    return bool(phonenumbers.number_type(phonenumbers.parse(number)) == either)


# --- imports ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an import: a number (`first` = `last`) or a block. `line` counts from 1."""

    line: int
    first: str
    last: str


def read_import(text: str, country: str) -> tuple[list[Line], list[tuple[int, str]]]:
    """The numbers and blocks of an import, one per line (`+49...` or `+49...,+49...`, # begins a comment), and the errors by
    line."""
    found: list[Line] = []
    wrong: list[tuple[int, str]] = []
    lines: dict[str, int] = {}
    for count, written in enumerate(text.split("\n"), 1):
        parts = [part.strip() for part in written.partition("#")[0].split(",")]
        if parts == [""]:
            continue
        first, last = parts[0], parts[-1]
        why = _wrong_line(parts, country)
        if why is None and first in lines:
            why = f"{first} is in line {lines[first]} already"
        if why is not None:
            wrong.append((count, why))
            continue
        lines[first] = count
        found.append(Line(count, first, last))
    if len(found) > MAX_LINES:
        wrong.append((found[MAX_LINES].line, f"has more than {MAX_LINES} numbers and blocks: import it in parts"))
        found = found[:MAX_LINES]
    return found, wrong


def _wrong_line(parts: Sequence[str], country: str) -> str | None:
    if len(parts) > 2:  # noqa: PLR2004 - first and last
        return "has more than a first and a last number"
    for part in parts:
        denial = misspelled(part, country)
        if denial is not None:
            return f"{part[:40]!r} {denial.text}"
    denial = malformed_block(parts[0], parts[-1])
    return f"{parts[0]} to {parts[-1]}: {denial.text}" if denial else None
