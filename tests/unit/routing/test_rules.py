"""Which rule of a number a call meets, and what is said of those it passes by."""

from __future__ import annotations

import pytest

from fsroute.model import Call, HostedNumber, Outcome, Rule, RuleType
from fsroute.routing import rules
from tests.support.builders import LINE, MONDAY_NOON, OFFICE_HOURS, daily, hosted, rule

NIGHT = daily("night", 17, 9)

GENERAL, BUSY, NO_ANSWER, UNREACHABLE, BASE = RuleType


def call(caller: str = "+491713920042", *, anonymous: bool = False) -> Call:
    return Call(LINE, caller, anonymous=anonymous)


Reasons = list[tuple[str, str]]


def first(tables: HostedNumber, of: Call) -> tuple[Rule | None, Reasons]:
    reasons: Reasons = []
    found = rules.first_rule(tables, of, "DE", MONDAY_NOON, lambda code, subject, _: reasons.append((code, str(subject))))
    return found, reasons


def after(tables: HostedNumber, failed: Rule, outcome: Outcome, of: Call | None = None) -> tuple[Rule | None, Reasons]:
    reasons: Reasons = []
    found = rules.next_rule(
        tables,
        failed,
        outcome,
        of or call(),
        "DE",
        MONDAY_NOON,
        lambda code, subject, _: reasons.append((code, str(subject))),
    )
    return found, reasons


# --- the first rule ---------------------------------------------------------------------------------------


def test_the_first_general_rule_applies() -> None:
    assert first(hosted(rule(1), rule(2), rule(9, BASE)), call()) == (
        rule(1),
        [("rule_matched", "rule +492214710100/1 (general)")],
    )


def test_rules_for_outcomes_do_not_begin_a_call() -> None:
    tables = hosted(rule(1, BUSY), rule(2, NO_ANSWER), rule(3, UNREACHABLE), rule(4))
    assert first(tables, call()) == (rule(4), [("rule_matched", "rule +492214710100/4 (general)")])


def test_a_base_rule_does_not_stand_before_a_general_one() -> None:
    tables = hosted(rule(1, BASE), rule(2))
    assert first(tables, call()) == (rule(2), [("rule_matched", "rule +492214710100/2 (general)")])


def test_every_rule_that_is_passed_by_says_why() -> None:
    tables = hosted(
        rule(1, enabled=False),
        rule(2, anonymous=True),
        rule(3, callers=("+4930*",)),
        rule(4, time_profile=NIGHT),
        rule(5, BUSY),
        rule(9, BASE),
    )
    assert first(tables, call()) == (
        rule(9, BASE),
        [
            ("rule_disabled", "rule +492214710100/1 (general)"),
            ("caller_not_anonymous", "rule +492214710100/2 (general)"),
            ("caller_not_listed", "rule +492214710100/3 (general)"),
            ("time_outside", "rule +492214710100/4 (general)"),
            ("base_rule", "rule +492214710100/9 (base)"),
        ],
    )


def test_without_a_base_rule_there_may_be_none() -> None:
    assert first(hosted(rule(1, time_profile=NIGHT)), call()) == (
        None,
        [("time_outside", "rule +492214710100/1 (general)")],
    )


def test_a_base_rule_that_is_switched_off_is_none_and_says_so() -> None:
    assert first(hosted(rule(9, BASE, enabled=False)), call()) == (
        None,
        [("rule_disabled", "rule +492214710100/9 (base)")],
    )


def test_a_number_without_rules_has_none() -> None:
    assert first(hosted(), call()) == (None, [])


# --- filters ----------------------------------------------------------------------------------------------

HIDDEN = call("anonymous", anonymous=True)
HIDDEN_BUT_SENT = call("+491713920042", anonymous=True)

FILTERS: dict[str, tuple[Rule, Call, str]] = {
    "anonymous only, hidden": (rule(1, anonymous=True), HIDDEN, "rule_matched"),
    "anonymous only, hidden, but the number was sent": (rule(1, anonymous=True), HIDDEN_BUT_SENT, "rule_matched"),
    "anonymous only, shown": (rule(1, anonymous=True), call(), "caller_not_anonymous"),
    "not anonymous, hidden": (rule(1, anonymous=False), HIDDEN, "caller_anonymous"),
    "not anonymous, shown": (rule(1, anonymous=False), call(), "rule_matched"),
    "either, hidden": (rule(1), HIDDEN, "rule_matched"),
    "a caller, exactly": (rule(1, callers=("+491713920042",)), call(), "rule_matched"),
    "a caller without plus": (rule(1, callers=("+491713920042",)), call("491713920042"), "rule_matched"),
    "a caller as dialled": (rule(1, callers=("+491713920042",)), call("01713920042"), "rule_matched"),
    "a caller as URI": (rule(1, callers=("+491713920042",)), call("sip:+491713920042@carrier"), "rule_matched"),
    "an exact caller is no prefix": (rule(1, callers=("+49171392004",)), call(), "caller_not_listed"),
    "a prefix": (rule(1, callers=("+49171*",)), call(), "rule_matched"),
    "a prefix without plus": (rule(1, callers=("+49171*",)), call("491713920042"), "rule_matched"),
    "a prefix as dialled": (rule(1, callers=("+49171*",)), call("0171 3920042"), "rule_matched"),
    "a prefix counts for the likeliest meaning only": (
        rule(1, callers=("+49492*",)),
        call("492214710100"),
        "caller_not_listed",
    ),
    "a prefix counts for the only valid meaning": (rule(1, callers=("+494931*",)), call("4931123456"), "rule_matched"),
    "a prefix does not count for an invalid meaning": (
        rule(1, callers=("+49311*",)),
        call("4931123456"),
        "caller_not_listed",
    ),
    "a prefix of impossible numbers": (rule(1, callers=("+521*",)), call("+5215555123456"), "rule_matched"),
    "a prefix of impossible numbers, dialled": (rule(1, callers=("+521*",)), call("005215555123456"), "rule_matched"),
    "a prefix of an unknown country": (rule(1, callers=("+999*",)), call("+999123456"), "rule_matched"),
    "a prefix of an impossible number, written": (rule(1, callers=("+1*",)), call("+1 202 555 012"), "rule_matched"),
    "an impossible number, exactly": (rule(1, callers=("+5215555123456",)), call("+5215555123456"), "rule_matched"),
    "an impossible number without plus": (rule(1, callers=("+5215555123456",)), call("5215555123456"), "rule_matched"),
    "an impossible number, longer": (rule(1, callers=("+5215555123456",)), call("+52155551234567"), "caller_not_listed"),
    "an area that is none, exactly": (rule(1, callers=("+15551234567",)), call("+15551234567"), "rule_matched"),
    "an area that is none, without plus": (rule(1, callers=("+15551234567",)), call("15551234567"), "rule_matched"),
    "a beginning in an area that is none": (rule(1, callers=("+33948*",)), call("+33948123456"), "rule_matched"),
    "a beginning as it was sent": (rule(1, callers=("+5411*",)), call("+54111555559876"), "rule_matched"),
    "a beginning as it is read": (rule(1, callers=("+5491*",)), call("+54111555559876"), "rule_matched"),
    "an extension of another exchange is no country": (rule(1, callers=("+1*",)), call("1001"), "caller_not_listed"),
    "more digits than a number has": (rule(1, callers=("+4*",)), call("+" + "4" * 16), "caller_not_listed"),
    "another prefix": (rule(1, callers=("+49172*",)), call(), "caller_not_listed"),
    "one of several": (rule(1, callers=("+4930*", "+49171*", "+33*")), call(), "rule_matched"),
    "a caller who is no number": (rule(1, callers=("+49*",)), call("alice"), "caller_not_listed"),
    "no caller": (rule(1, callers=("+49*",)), call(""), "caller_not_listed"),
    "a hidden number has no effect": (rule(1, callers=("+49171*",)), HIDDEN_BUT_SENT, "caller_not_listed"),
    "a time profile that matches": (rule(1, time_profile=OFFICE_HOURS), call(), "rule_matched"),
    "a time profile that does not": (rule(1, time_profile=NIGHT), call(), "time_outside"),
    "everything holds": (
        rule(1, callers=("+49171*",), anonymous=False, time_profile=OFFICE_HOURS),
        call(),
        "rule_matched",
    ),
    "the time does not hold": (
        rule(1, callers=("+49171*",), anonymous=False, time_profile=NIGHT),
        call(),
        "time_outside",
    ),
    "the caller does not hold": (rule(1, callers=("+4930*",), time_profile=OFFICE_HOURS), call(), "caller_not_listed"),
    "switched off": (rule(1, enabled=False), call(), "rule_disabled"),
}


@pytest.mark.parametrize(("tested", "of", "code"), FILTERS.values(), ids=FILTERS.keys())
def test_everything_a_filter_says_must_hold(tested: Rule, of: Call, code: str) -> None:
    expected = tested if code == "rule_matched" else None
    assert first(hosted(tested), of) == (expected, [(code, "rule +492214710100/1 (general)")])


# --- what follows -----------------------------------------------------------------------------------------

ALL = hosted(rule(1), rule(2, BUSY), rule(3, NO_ANSWER), rule(4, UNREACHABLE), rule(9, BASE))

FOLLOWING: dict[str, tuple[Rule, Outcome, Rule | None, Reasons]] = {
    "busy": (rule(1), Outcome.BUSY, rule(2, BUSY), [("rule_matched", "rule +492214710100/2 (busy)")]),
    "no answer": (
        rule(1),
        Outcome.NO_ANSWER,
        rule(3, NO_ANSWER),
        [("rule_matched", "rule +492214710100/3 (no_answer)")],
    ),
    "unreachable": (
        rule(1),
        Outcome.UNREACHABLE,
        rule(4, UNREACHABLE),
        [("rule_matched", "rule +492214710100/4 (unreachable)")],
    ),
    "after a rule for an outcome, the base rule": (
        rule(2, BUSY),
        Outcome.BUSY,
        rule(9, BASE),
        [("base_rule", "rule +492214710100/9 (base)")],
    ),
    "so too when it ended otherwise": (
        rule(2, BUSY),
        Outcome.NO_ANSWER,
        rule(9, BASE),
        [("base_rule", "rule +492214710100/9 (base)")],
    ),
    "after the base rule, none": (rule(9, BASE), Outcome.BUSY, None, []),
}


@pytest.mark.parametrize(("failed", "outcome", "expected", "reasons"), FOLLOWING.values(), ids=FOLLOWING.keys())
def test_the_outcome_picks_what_follows(failed: Rule, outcome: Outcome, expected: Rule | None, reasons: Reasons) -> None:
    assert after(ALL, failed, outcome) == (expected, reasons)


@pytest.mark.parametrize("outcome", Outcome)
def test_without_a_rule_for_the_outcome_the_base_rule_follows(outcome: Outcome) -> None:
    assert after(hosted(rule(1), rule(2), rule(9, BASE)), rule(1), outcome) == (
        rule(9, BASE),
        [("base_rule", "rule +492214710100/9 (base)")],
    )


def test_rules_for_outcomes_have_filters_too() -> None:
    tables = hosted(
        rule(1),
        rule(2, BUSY, time_profile=NIGHT),
        rule(3, BUSY, callers=("+4930*",)),
        rule(4, BUSY, anonymous=False),
        rule(5, BUSY),
    )
    assert after(tables, rule(1), Outcome.BUSY, HIDDEN) == (
        rule(5, BUSY),
        [
            ("time_outside", "rule +492214710100/2 (busy)"),
            ("caller_not_listed", "rule +492214710100/3 (busy)"),
            ("caller_anonymous", "rule +492214710100/4 (busy)"),
            ("rule_matched", "rule +492214710100/5 (busy)"),
        ],
    )


def test_nothing_follows_where_there_is_nothing() -> None:
    assert after(hosted(rule(1), rule(2)), rule(1), Outcome.BUSY) == (None, [])
