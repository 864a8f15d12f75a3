"""How often codes are sent and guessed: each budget at its edges, and whom strangers cannot lock out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.codes import VerificationCode as Code
from fsroute.model import Denial
from fsroute.verification import budgets
from fsroute.verification.budgets import RESERVED, Limits, Start
from fsroute.verification.method import Method
from tests.support.builders import ACME

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIMITS = Limits(
    code_s=600, tries=5, starts_per_number=3, starts_per_account=4, starts_per_kind=2, starts_per_country=2,
    starts_per_day=6, wrong_codes=7, call_pause_s=60,
)  # fmt: skip
MOBILE, OTHER_NUMBER = "+491713920042", "+4922129191999"
FREEPHONE, SWISS, FRENCH = "+498001234567", "+41446681800", "+33142685300"


def starts(
    *ago: timedelta, account: str = "acme", number: str = MOBILE, method: Method = Method.SMS, wrong: int = 0
) -> tuple[Start, ...]:
    return tuple(Start(account, number, method, NOW - before, wrong) for before in ago)


def judged(
    recent: tuple[Start, ...],
    number: str = MOBILE,
    method: Method = Method.SMS,
    limits: Limits = LIMITS,
    now: datetime = NOW,
) -> Denial[Code] | None:
    return budgets.too_many(ACME, number, method, recent, limits, now)


def denied(code: Code, text: str, retry_at: datetime) -> Denial[Code]:
    return Denial(code, f"{text}; the next one can be sent from {retry_at:%Y-%m-%d %H:%M:%S} UTC on", retry_at=retry_at)


def number_limit(retry_at: datetime) -> Denial[Code]:
    return denied(Code.NUMBER_LIMIT, "was sent enough codes for one day", retry_at)


def account_limit(retry_at: datetime) -> Denial[Code]:
    return denied(Code.ACCOUNT_LIMIT, "the account sent enough codes for one hour", retry_at)


def total_limit(retry_at: datetime) -> Denial[Code]:
    return denied(Code.TOTAL_LIMIT, "all accounts together sent enough codes for one day", retry_at)


def of_kind(retry_at: datetime) -> Denial[Code]:
    return denied(Code.KIND_LIMIT, "numbers of its kind (freephone) were sent enough codes for one day", retry_at)


def of_country(retry_at: datetime) -> Denial[Code]:
    return denied(Code.COUNTRY_LIMIT, "numbers of its country (CH) were sent enough codes for one day", retry_at)


def call_pause(retry_at: datetime) -> Denial[Code]:
    return denied(Code.CALL_PAUSE, "was called for a code just now", retry_at)


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        ((), None),
        (starts(HOUR, 2 * HOUR), None),
        (starts(HOUR, 2 * HOUR, DAY), None),
        (starts(DAY - SECOND, HOUR, 2 * HOUR), number_limit(NOW + SECOND)),
        # More than are allowed, because the limit was lowered: the third youngest counts.
        (starts(5 * HOUR, 4 * HOUR, 3 * HOUR, 2 * HOUR), number_limit(NOW + DAY - 4 * HOUR)),
        # The clock was set back: what is in the future counts.
        (starts(-HOUR, -HOUR, -HOUR), number_limit(NOW + DAY + HOUR)),
    ],
)
def test_an_account_has_so_many_starts_to_a_number(recent: tuple[Start, ...], expected: Denial[Code] | None) -> None:
    assert judged(recent) == expected


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        # Strangers used the number's budget up. The account still has its first two.
        ((), 3, None),
        ((HOUR,), 3, None),
        ((HOUR, 2 * HOUR), 3, number_limit(NOW + DAY - 3 * HOUR)),
        ((4 * HOUR, 5 * HOUR), 3, number_limit(NOW + DAY - 5 * HOUR)),
        ((HOUR, 2 * HOUR), 1, number_limit(NOW + DAY - 3 * HOUR)),
        ((HOUR, 2 * HOUR), 0, None),
        ((HOUR,), 2, None),
    ],
)
def test_accounts_share_the_budget_of_a_number_and_each_has_its_first_two(
    own: tuple[timedelta, ...], others: int, expected: Denial[Code] | None
) -> None:
    strangers = tuple(each for i in range(others) for each in starts(3 * HOUR, account=f"stranger{i}"))
    assert judged(starts(*own) + strangers) == expected


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        (starts(MINUTE, MINUTE, MINUTE, HOUR, number=OTHER_NUMBER), None),
        (starts(MINUTE, MINUTE, MINUTE, HOUR - SECOND, number=OTHER_NUMBER), account_limit(NOW + SECOND)),
        (starts(MINUTE, MINUTE, MINUTE, MINUTE, number=OTHER_NUMBER, account="other"), None),
    ],
)
def test_an_account_has_so_many_starts_in_an_hour(recent: tuple[Start, ...], expected: Denial[Code] | None) -> None:
    assert judged(recent) == expected


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        ((), 6, None),
        ((2 * HOUR,), 6, None),
        ((2 * HOUR, 3 * HOUR), 4, total_limit(NOW + DAY - 5 * HOUR)),
        ((2 * HOUR, 3 * HOUR), 3, None),
        ((2 * HOUR, 9 * HOUR), 4, total_limit(NOW + DAY - 9 * HOUR)),
    ],
)
def test_all_accounts_share_a_budget_and_each_has_its_first_two(
    own: tuple[timedelta, ...], others: int, expected: Denial[Code] | None
) -> None:
    strangers = tuple(
        each for i in range(others) for each in starts(5 * HOUR, account=f"stranger{i}", number=f"+49221291919{i:02}")
    )
    assert judged(starts(*own, number=OTHER_NUMBER) + strangers) == expected


@pytest.mark.parametrize(
    ("number", "earlier", "expected"),
    [
        (FREEPHONE, "+498007654321", of_kind(NOW + DAY - 2 * HOUR)),
        (FREEPHONE, MOBILE, None),
        (FREEPHONE, "+493212345678", None),
        (MOBILE, "+491713920043", None),
        (SWISS, "+41446681801", of_country(NOW + DAY - 2 * HOUR)),
        (SWISS, FRENCH, None),
        (OTHER_NUMBER, "+4922129191998", None),
    ],
)
def test_kinds_and_countries_have_budgets_that_nobody_passes(
    number: str, earlier: str, expected: Denial[Code] | None
) -> None:
    """Not even an account's first starts: these are the numbers for which somebody earns."""
    recent = starts(HOUR, 2 * HOUR, account="other", number=earlier)
    assert judged(recent, number) == expected


@pytest.mark.parametrize(
    ("recent", "method", "expected"),
    [
        (starts(MINUTE, method=Method.CALL), Method.CALL, None),
        (starts(59 * SECOND, method=Method.CALL), Method.CALL, call_pause(NOW + SECOND)),
        (starts(59 * SECOND, method=Method.CALL, account="other"), Method.CALL, call_pause(NOW + SECOND)),
        (starts(59 * SECOND, method=Method.CALL), Method.SMS, None),
        (starts(SECOND), Method.CALL, None),
        (starts(-SECOND, method=Method.CALL), Method.CALL, call_pause(NOW + 61 * SECOND)),
    ],
)
def test_a_number_is_not_called_twice_in_a_row(
    recent: tuple[Start, ...], method: Method, expected: Denial[Code] | None
) -> None:
    assert judged(recent, method=method) == expected


def test_the_pause_can_be_switched_off() -> None:
    recent = starts(timedelta(), method=Method.CALL)
    assert judged(recent, method=Method.CALL, limits=replace(LIMITS, call_pause_s=0)) is None


def test_wrong_codes_are_counted_over_all_verifications_of_an_account() -> None:
    recent = starts(2 * HOUR, number=OTHER_NUMBER, wrong=4) + starts(5 * HOUR, number=FREEPHONE, wrong=3)
    text = "the account gave too many wrong codes in one day; it can go on from 2026-11-24 04:00:00 UTC on"
    expected = Denial(Code.GUESS_LIMIT, text, retry_at=NOW + DAY - 5 * HOUR)
    assert budgets.guessed_too_often(recent, LIMITS, NOW) == expected
    assert judged(recent) == expected
    assert budgets.guessed_too_often(recent, LIMITS, NOW + DAY - 5 * HOUR) is None
    assert budgets.guessed_too_often(starts(2 * HOUR, wrong=6), LIMITS, NOW) is None
    assert judged(starts(2 * HOUR, number=OTHER_NUMBER, wrong=9, account="other")) is None


HISTORY = st.lists(
    st.builds(
        Start,
        st.sampled_from(["acme", "other", "third"]),
        st.sampled_from([MOBILE, OTHER_NUMBER, FREEPHONE, SWISS]),
        st.sampled_from([Method.CALL, Method.SMS]),
        st.integers(-90_000, 90_000).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        st.integers(0, 4),
    ),
    max_size=14,
).map(tuple)


@given(HISTORY, st.sampled_from([MOBILE, OTHER_NUMBER, FREEPHONE, SWISS]))
def test_a_start_stays_denied_until_the_moment_that_is_given(recent: tuple[Start, ...], number: str) -> None:
    denial = judged(recent, number, Method.CALL)
    if denial is None:
        return
    assert denial.retry_at is not None
    assert denial.retry_at > NOW
    before = judged(recent, number, Method.CALL, now=denial.retry_at - SECOND)
    assert before is not None
    after = judged(recent, number, Method.CALL, now=denial.retry_at)
    assert after is None or after.code != denial.code or after.retry_at != denial.retry_at


@given(HISTORY)
def test_strangers_cannot_lock_anybody_out_of_a_usual_number(recent: tuple[Start, ...]) -> None:
    """Whatever other accounts did a minute ago and before, an account's first two starts of a day to its number pass."""
    strangers = tuple(replace(start, account="stranger", number=MOBILE) for start in recent if start.at <= NOW - MINUTE)
    own = starts(*[HOUR] * (RESERVED - 1))
    assert judged(strangers + own, method=Method.CALL) is None
