"""What stands against the verification of a number: each rule, its order, and the limits at their edges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.codes import VerificationCode as Code
from fsroute.model import AccountStatus, Denial, Permission, VerificationState
from fsroute.numbers import phone_number
from fsroute.verification import eligibility
from fsroute.verification.budgets import Limits, Start
from fsroute.verification.eligibility import Applicant, Claims, Line
from fsroute.verification.method import Method
from tests.support import builders
from tests.support.builders import verification

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LATER, BEFORE = NOW + timedelta(days=1), NOW - timedelta(days=1)
LIMITS = Limits(
    code_s=600, tries=5, starts_per_number=3, starts_per_account=4, starts_per_kind=2, starts_per_country=2,
    starts_per_day=6, wrong_codes=7, call_pause_s=60,
)  # fmt: skip
ACME = Applicant(
    builders.account(network_number=None, routes=()),
    verifies_abroad=False, verification_days=365, approves_blocks=False,
)  # fmt: skip
NUMBER, MOBILE = "+4922129191999", "+491713920042"

NEVER = (
    "Directory, mass-traffic, premium and short-code numbers, 110 and 112 are never a caller's number, not even in a "
    "diverted call."
)
OTHERS = Denial(Code.VERIFIED_BY_ANOTHER_ACCOUNT, "is verified for another account; an operator has to resolve that")
HOSTED = Denial(Code.HOSTED_BY_ANOTHER_ACCOUNT, "is hosted here for another account; an operator has to resolve that")


def expensive(kind: str, prefix: str) -> Denial[Code]:
    text = f"is of an expensive kind ({kind}): a row of call_permissions must allow its range, such as {prefix}"
    return Denial(Code.EXPENSIVE_NUMBER, text)


def account(**changed: object) -> Applicant:
    return replace(ACME, account=replace(ACME.account, **changed))  # type: ignore[arg-type]


def verified(
    owner: str, first: str, last: str = "", state: VerificationState = VerificationState.VERIFIED, until: datetime = LATER
) -> Claims:
    return Claims(verifications=(verification(first, last, account=owner, state=state, expires_at=until),))


def judged(
    to: str = NUMBER,
    applicant: Applicant = ACME,
    method: Method = Method.CALL,
    claims: Claims = Claims(),  # noqa: B008 - frozen
    recent: tuple[Start, ...] = (),
) -> Denial[Code] | None:
    return eligibility.may_start(applicant, to, method, claims, recent, LIMITS, NOW)


# --- spelling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [NUMBER, MOBILE, "+12125550123", "+498999998123", "+881612345678"])
def test_e164_is_well_spelled(text: str) -> None:
    assert eligibility.misspelled(text, "DE") is None


@pytest.mark.parametrize(
    ("text", "country", "meant"),
    [
        ("0221 29191999", "DE", NUMBER),
        ("+49 221 29191999", "DE", NUMBER),
        ("+49(0)22129191999", "DE", NUMBER),
        ("+49022129191999", "DE", NUMBER),
        ("004922129191999", "DE", NUMBER),
        ("4922129191999", "DE", NUMBER),
        ("tel:+4922129191999", "DE", NUMBER),
        (f" {NUMBER}", "DE", NUMBER),
        (f"{NUMBER}\n", "DE", NUMBER),
        ("(212) 555-0123", "US", "+12125550123"),
    ],
)
def test_another_spelling_is_told_what_it_means(text: str, country: str, meant: str) -> None:
    told = f"is not written in E.164; {meant} is, and was probably meant"
    assert eligibility.misspelled(text, country) == Denial(Code.NOT_E164, told, meant=meant)


@pytest.mark.parametrize("text", ["", "anna", "0800-CALL-ME", "+", "*21#", "${x}", "'; DROP TABLE"])
def test_no_number(text: str) -> None:
    assert eligibility.misspelled(text, "DE") == Denial(
        Code.NOT_A_NUMBER, "is no number; a number is written +4922129191999"
    )


@pytest.mark.parametrize("text", ["0221", "12345"])
def test_nothing_is_guessed_from_what_is_too_short_or_nobodys(text: str) -> None:
    told = Denial(Code.NOT_E164, "is not written in E.164; a number is written +4922129191999")
    assert eligibility.misspelled(text, "DE") == told


def test_a_number_that_cannot_exist() -> None:
    told = Denial(Code.NOT_A_NUMBER, "is too long or too short for a number of its country")
    assert eligibility.misspelled("+1212", "DE") == told
    assert eligibility.misspelled("+9991234567", "DE") == told


@given(st.text(max_size=30), st.sampled_from(["DE", "US", "CH"]))
def test_what_is_well_spelled_is_e164_and_means_itself(text: str, country: str) -> None:
    wrong = eligibility.misspelled(text, country)
    assert (wrong is None) == (phone_number.is_e164(text) and phone_number.candidates(text, country)[:1] == (text,))
    assert wrong is None or wrong.meant is None or eligibility.misspelled(wrong.meant, country) is None


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (NUMBER, NUMBER, None),
        ("+4922129190000", "+4922129199999", None),
        ("+4922129190000", "+4922129200000", "the numbers of a block may differ in their last 4 digits only"),
        ("+4922129190001", "+4922129190000", "a block's first number must not be after its last"),
        ("+492212919", "+4922129199", "a block's first and last number must have the same length"),
    ],
)
def test_blocks(first: str, last: str, told: str | None) -> None:
    assert eligibility.malformed_block(first, last) == (Denial(Code.BLOCK_MALFORMED, told) if told else None)


@pytest.mark.parametrize(("country", "language"), [("DE", "de"), ("AT", "de"), ("CH", "de"), ("US", "en"), ("FR", "en")])
def test_language(country: str, language: str) -> None:
    assert eligibility.language_of(country) == language


# --- the account and the number ---------------------------------------------------------------------------


def test_nothing_stands_against_an_external_number() -> None:
    assert judged() is None


@pytest.mark.parametrize(
    ("to", "applicant", "method", "told"),
    [
        (NUMBER, account(status=AccountStatus.TRIAL), "call",
         Denial(Code.TRIAL_ACCOUNT, "trial accounts verify no numbers")),
        (NUMBER, account(status=AccountStatus.SUSPENDED), "call",
         Denial(Code.ACCOUNT_SUSPENDED, "the account is suspended")),
        ("+499001000000", ACME, "call", Denial(Code.CLASS_NEVER_PRESENTED, NEVER, "DE-5")),
        ("+491371000000", ACME, "call", Denial(Code.CLASS_NEVER_PRESENTED, NEVER, "DE-5")),
        ("+49110", ACME, "call", Denial(Code.CLASS_NEVER_PRESENTED, NEVER, "DE-5")),
        # What an account may call does not make it a caller ID.
        ("+499001000000", account(permissions=(Permission("+49900", True),)), "call",
         Denial(Code.CLASS_NEVER_PRESENTED, NEVER, "DE-5")),
        (MOBILE, ACME, "sms", None),
        (MOBILE, ACME, "call", None),
        (NUMBER, ACME, "sms", Denial(Code.NO_MOBILE_NUMBER, "is no mobile number; only these get a code by SMS")),
        ("+12125550123", replace(account(country="US"), verifies_abroad=False), "sms", None),
        ("+18005550123", replace(account(country="US"), verifies_abroad=False), "sms",
         Denial(Code.NO_MOBILE_NUMBER, "is no mobile number; only these get a code by SMS")),
        ("+12125550123", ACME, "call",
         Denial(Code.FOREIGN_NUMBER, "is a number of another country, to which the account may send no codes")),
        ("+12125550123", replace(ACME, verifies_abroad=True), "call", None),
        ("+881612345678", replace(ACME, verifies_abroad=True), "call",
         Denial(Code.DESTINATION_BARRED, "is a number that the account may not call")),
        ("+881612345678", replace(account(permissions=(Permission("+8816", True),)), verifies_abroad=True), "call", None),
        ("+881612345678", account(permissions=(Permission("+8816", True),)), "call",
         Denial(Code.FOREIGN_NUMBER, "is a number of another country, to which the account may send no codes")),
        ("+491805123456", ACME, "call", expensive("shared_cost", "+49180")),
        ("+491805123456", account(permissions=(Permission("+49", True),)), "call", expensive("shared_cost", "+49180")),
        ("+491805123456", account(permissions=(Permission("+491", True),)), "call", expensive("shared_cost", "+49180")),
        ("+491805123456", account(permissions=(Permission("+491805", True),)), "call", None),
        ("+4970012345678", ACME, "call", expensive("personal", "+49700")),
        ("+4970012345678", account(permissions=(Permission("+49700", True), Permission("+4970012", False))), "call",
         Denial(Code.DESTINATION_BARRED, "is a number that the account may not call")),
        ("+498001234567", ACME, "call", None),
        ("+493212345678", ACME, "call", None),
        (MOBILE, account(permissions=(Permission("+4917", False),)), "call",
         Denial(Code.DESTINATION_BARRED, "is a number that the account may not call")),
        (MOBILE, account(permissions=(Permission("+4917", False), Permission("+491713", True))), "sms", None),
    ],
)  # fmt: skip
def test_rules(to: str, applicant: Applicant, method: str, told: Denial[Code] | None) -> None:
    assert judged(to, applicant, Method(method)) == told


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        (Claims(frozenset({"acme"})), Denial(Code.OWN_NUMBER, "is hosted here for the account and needs no verification")),
        (Claims(frozenset({"other"})), HOSTED),
        (verified("other", NUMBER), OTHERS),
        (verified("other", "+4922129191000", "+4922129191999"), OTHERS),
        (verified("other", NUMBER, until=NOW), None),
        (verified("other", NUMBER, until=NOW + timedelta(seconds=1)), OTHERS),
        (verified("other", NUMBER, state=VerificationState.PENDING), None),
        (verified("other", NUMBER, state=VerificationState.REVOKED), None),
        (verified("acme", NUMBER), None),
        (verified("acme", "+4922129191000", "+4922129191999"),
         Denial(Code.IN_BLOCK, "is verified in the block +4922129191000 to +4922129191999")),
        (verified("acme", "+4922129191000", "+4922129191999", until=BEFORE), None),
        (verified("acme", "+4922129191000", "+4922129191999", state=VerificationState.REVOKED), None),
    ],
)  # fmt: skip
def test_who_holds_it_already(claims: Claims, told: Denial[Code] | None) -> None:
    assert judged(claims=claims) == told


def test_by_hand_the_ends_of_a_block_must_be_presentable_and_nobody_elses() -> None:
    def may_hold(first: str, last: str, claims: Claims = Claims(), whose: Applicant = ACME) -> Denial[Code] | None:  # noqa: B008
        return eligibility.may_hold(whose.account, first, last, claims, NOW)

    assert may_hold(NUMBER, NUMBER) is None
    assert may_hold(NUMBER, NUMBER, Claims(frozenset({"acme"}))) is None
    assert may_hold("+498999999990", "+499001000000") == Denial(Code.CLASS_NEVER_PRESENTED, NEVER, "DE-5")
    assert may_hold("+491379999999", "+491400000000") == Denial(Code.CLASS_NEVER_PRESENTED, NEVER, "DE-5")
    assert may_hold(NUMBER, NUMBER, verified("other", NUMBER)) == OTHERS
    assert may_hold(NUMBER, NUMBER, Claims(frozenset({"acme", "other"}))) == HOSTED
    trial = account(status=AccountStatus.TRIAL)
    assert may_hold(NUMBER, NUMBER, whose=trial) == Denial(Code.TRIAL_ACCOUNT, "trial accounts verify no numbers")


def test_a_block_is_in_a_larger_one_and_not_in_itself() -> None:
    claims = verified("acme", "+4922129191000", "+4922129191999")
    told = Denial(Code.IN_BLOCK, "is verified in the block +4922129191000 to +4922129191999")

    def judge(first: str, last: str, whose: str = "acme") -> Denial[Code] | None:
        return eligibility.in_own_block(whose, first, last, claims, NOW)

    assert judge("+4922129191000", "+4922129191999") is None
    assert judge("+4922129191000", "+4922129191998") == told
    assert judge("+4922129191001", "+4922129191999") == told
    assert judge("+4922129191001", "+4922129192000") is None
    assert judge("+4922129190999", "+4922129191999") is None
    assert judge("+4922129191001", "+4922129191001", "other") is None


# --- limits: test_budgets.py --------------------------------------------------------------------------------


def test_limits_are_checked_before_who_else_holds_the_number() -> None:
    """Otherwise nobody could be kept from testing all numbers in turn."""
    recent = tuple(Start("acme", NUMBER, Method.SMS, NOW - timedelta(hours=1)) for _ in range(3))
    denial = judged(claims=verified("other", NUMBER), recent=recent)
    assert denial is not None
    assert denial.code == "number_limit"


# --- imports ----------------------------------------------------------------------------------------------


def test_an_import_is_read_line_by_line() -> None:
    text = f"# our hub\n{NUMBER}\n\n +4930231250000 , +4930231250099 # reception\r\n{MOBILE}"
    found, wrong = eligibility.read_import(text, "DE")
    assert wrong == []
    assert found == [
        Line(2, NUMBER, NUMBER), Line(4, "+4930231250000", "+4930231250099"), Line(5, MOBILE, MOBILE),
    ]  # fmt: skip


def test_every_wrong_line_of_an_import_is_told() -> None:
    text = f"{NUMBER}\n0221 29191999\n{NUMBER},x,{NUMBER}\n{MOBILE},{NUMBER}\n,\n{NUMBER}\n{MOBILE}"
    found, wrong = eligibility.read_import(text, "DE")
    assert found == [Line(1, NUMBER, NUMBER), Line(7, MOBILE, MOBILE)]
    assert wrong == [
        (2, f"'0221 29191999' is not written in E.164; {NUMBER} is, and was probably meant"),
        (3, "has more than a first and a last number"),
        (4, f"{MOBILE} to {NUMBER}: a block's first and last number must have the same length"),
        (5, "'' is no number; a number is written +4922129191999"),
        (6, f"{NUMBER} is in line 1 already"),
    ]


def test_an_import_has_an_end() -> None:
    numbers = [f"+4922129{i:06}" for i in range(eligibility.MAX_LINES + 2)]
    found, wrong = eligibility.read_import("\n".join(numbers), "DE")
    assert [line.first for line in found] == numbers[: eligibility.MAX_LINES]
    assert wrong == [(2001, "has more than 2000 numbers and blocks: import it in parts")]
