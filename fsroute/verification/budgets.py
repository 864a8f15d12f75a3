"""How often codes are sent, and how often they may be guessed. Pure.

Each code costs a call or a message and disturbs the callee, and whoever receives a share of a call's price wants as many as
possible ("pumping"). So there are budgets for a number, an account, a kind of number, a country, and for all accounts
together. What other accounts have done never keeps an account from its first starts: otherwise strangers could lock the
owner of a number out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import phonenumbers

from fsroute import times
from fsroute.codes import VerificationCode
from fsroute.model import Account, Denial
from fsroute.numbers import phone_number, regulation
from fsroute.numbers.law import NumberClass
from fsroute.verification.method import Method

WINDOW = timedelta(days=1)
"""All budgets count the starts of this time, except that of an account's hour."""

RESERVED = 2
"""Starts of an account in a day, and to one number, that the starts of other accounts do not use up. One is too few: nobody
may be at the phone for the first call."""

USUAL = frozenset({NumberClass.GEOGRAPHIC, NumberClass.MOBILE})
"""Kinds that have no budget of their own: nearly all numbers of customers. They share that of all accounts."""

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings verify_*: how long a code lives (seconds), how many are compared, and how many are sent."""

    code_s: int
    tries: int
    starts_per_number: int
    starts_per_account: int
    starts_per_kind: int
    starts_per_country: int
    starts_per_day: int
    wrong_codes: int
    call_pause_s: int


@dataclass(frozen=True, slots=True)
class Start:
    """An earlier start of a verification by code, and how many wrong codes were given for it."""

    account: str
    number: str
    method: Method
    at: datetime
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class _Budget:
    """At most so many of `starts` in `window`."""

    starts: Sequence[Start]
    most: int
    window: timedelta

    def free_at(self, now: datetime) -> datetime | None:
        """The moment from which there is room for one more start; None if there is room now."""
        recent = sorted((start.at for start in self.starts if start.at > now - self.window), reverse=True)
        return recent[self.most - 1] + self.window if len(recent) >= self.most else None


def too_many(
    account: Account, number: str, method: Method, recent: Sequence[Start], limits: Limits, now: datetime
) -> Denial[VerificationCode] | None:
    """The denial of one more code to a number (E.164); None if a code may be sent.

    `recent` are the starts of the last day by all accounts. Starts in the future count too: setting a clock back does not
    remove them.
    """
    own = [start for start in recent if start.account == account.name]
    for code, text, budgets in _budgets(account, number, method, recent, own, limits):
        free = [budget.free_at(now) for budget in budgets]
        if all(free):
            return _until(code, text, min(moment for moment in free if moment))
    return guessed_too_often(own, limits, now)


def _budgets(
    account: Account, number: str, method: Method, recent: Sequence[Start], own: Sequence[Start], limits: Limits
) -> Iterator[tuple[VerificationCode, str, tuple[_Budget, ...]]]:
    """Every budget that one more code needs. Of several in a row one must have room."""
    enough = "was sent enough codes for one day"
    to_number = [start for start in recent if start.number == number]
    own_to_number = [start for start in own if start.number == number]
    yield VerificationCode.NUMBER_LIMIT, enough, (_Budget(own_to_number, limits.starts_per_number, WINDOW),)
    yield (
        VerificationCode.NUMBER_LIMIT,
        enough,
        (_Budget(to_number, limits.starts_per_number, WINDOW), _Budget(own_to_number, RESERVED, WINDOW)),
    )
    yield (
        VerificationCode.ACCOUNT_LIMIT,
        "the account sent enough codes for one hour",
        (_Budget(own, limits.starts_per_account, _HOUR),),
    )
    kind = regulation.classify(number, account.country)
    if kind not in USUAL:
        of_kind = [start for start in recent if regulation.classify(start.number, account.country) is kind]
        what = f"numbers of its kind ({kind.value}) were sent enough codes for one day"
        yield VerificationCode.KIND_LIMIT, what, (_Budget(of_kind, limits.starts_per_kind, WINDOW),)
    if regulation.is_abroad(number, account.country):
        country = _country(number)
        to_country = [start for start in recent if _country(start.number) == country]
        what = f"numbers of its country ({country}) were sent enough codes for one day"
        yield VerificationCode.COUNTRY_LIMIT, what, (_Budget(to_country, limits.starts_per_country, WINDOW),)
    yield (
        VerificationCode.TOTAL_LIMIT,
        "all accounts together sent enough codes for one day",
        (_Budget(recent, limits.starts_per_day, WINDOW), _Budget(own, RESERVED, WINDOW)),
    )
    if method is Method.CALL:
        calls = [start for start in to_number if start.method is Method.CALL]
        pause = timedelta(seconds=limits.call_pause_s)
        yield VerificationCode.CALL_PAUSE, "was called for a code just now", (_Budget(calls, 1, pause),)


def guessed_too_often(own: Sequence[Start], limits: Limits, now: datetime) -> Denial[VerificationCode] | None:
    """The denial of any further code, right or wrong, after too many wrong ones for an account's starts in a day; None if
    a code may be compared."""
    guesses = [start for start in own for _ in range(start.wrong)]
    retry_at = _Budget(guesses, limits.wrong_codes, WINDOW).free_at(now)
    if retry_at is None:
        return None
    text = "the account gave too many wrong codes in one day"
    return Denial(
        VerificationCode.GUESS_LIMIT, f"{text}; it can go on from {times.for_people(retry_at)} on", retry_at=retry_at
    )


def _until(code: VerificationCode, text: str, retry_at: datetime) -> Denial[VerificationCode]:
    next_one = f"the next one can be sent from {times.for_people(retry_at)} on"
    return Denial(code, f"{text}; {next_one}", retry_at=retry_at)


def _country(number: str) -> str:
    """The country of a number, or its calling code where that has no country (+881) or where no country has it."""
    found = phone_number.parsed(number)
    if found is None:
        return number[:3]
    return phonenumbers.region_code_for_number(found) or f"+{found.country_code}"
