"""Selects the rule of a number that applies to a call, with a reason for each rule that does not apply. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from fsroute.codes import DecisionCode, ReasonCode
from fsroute.model import Call, Direction, HostedNumber, Outcome, Reason, Rule, RuleType
from fsroute.numbers import phone_number
from fsroute.routing import timeprofile

AddReason = Callable[[DecisionCode, object, str], None]
"""Takes a reason: code, subject, text."""


def first_rule(hosted: HostedNumber, call: Call, country: str, now: datetime, add_reason: AddReason) -> Rule | None:
    """The first rule for a call to this number: the first general rule that matches, else the base rule."""
    return _first(hosted.rules, RuleType.GENERAL, call, country, now, add_reason) or base_rule(hosted, add_reason)


def next_rule(
    hosted: HostedNumber, failed: Rule, outcome: Outcome, call: Call, country: str, now: datetime, add_reason: AddReason
) -> Rule | None:
    """The rule that follows when `failed`, a rule of this number, ended with `outcome`.

    After a general rule: the rule for this outcome, else the base rule. After a rule for an outcome: the base rule.
    After the base rule: none. So a call uses at most three rules of one number, and always ends.
    """
    if failed.type is RuleType.BASE:
        return None
    if failed.type is RuleType.GENERAL:
        rule = _first(hosted.rules, RuleType(outcome.value), call, country, now, add_reason)
        if rule is not None:
            return rule
    return base_rule(hosted, add_reason)


def _first(
    rules: Iterable[Rule], type_: RuleType, call: Call, country: str, now: datetime, add_reason: AddReason
) -> Rule | None:
    for rule in rules:
        if rule.type is type_ and (refusal := _refusal(rule, call, country, now)) is None:
            add_reason(ReasonCode.RULE_MATCHED, rule, "applies")
            return rule
        if rule.type is type_ and refusal is not None:
            add_reason(refusal.code, refusal.subject, refusal.text)
    return None


def base_rule(hosted: HostedNumber, add_reason: AddReason) -> Rule | None:
    """The base rule of a number, which applies when no other rule does. None if there is none, or if it is switched off."""
    for rule in hosted.rules:
        if rule.type is not RuleType.BASE:
            continue
        if rule.enabled:
            add_reason(ReasonCode.BASE_RULE, rule, "applies, because no other rule does")
            return rule
        add_reason(ReasonCode.RULE_DISABLED, rule, "is switched off")
    return None


def _refusal(rule: Rule, call: Call, country: str, now: datetime) -> Reason | None:
    """Why the rule does not apply, or None if it does."""
    if not rule.enabled:
        return Reason(ReasonCode.RULE_DISABLED, str(rule), "is switched off")
    if rule.anonymous is True and not call.anonymous:
        return Reason(ReasonCode.CALLER_NOT_ANONYMOUS, str(rule), "is for anonymous callers only")
    if rule.anonymous is False and call.anonymous:
        return Reason(ReasonCode.CALLER_ANONYMOUS, str(rule), "is not for anonymous callers")
    if rule.callers and not _is_caller(rule, call, country):
        return Reason(ReasonCode.CALLER_NOT_LISTED, str(rule), "is for other callers")
    profile = rule.time_profile
    if profile is not None and not timeprofile.matches(profile, now):
        return Reason(ReasonCode.TIME_OUTSIDE, str(rule), f"is for other times (time profile {profile.name})")
    return None


def _is_caller(rule: Rule, call: Call, country: str) -> bool:
    # The network may send a hidden number to fsroute. It must have no effect that shows the caller that fsroute has it. A
    # user's phone sends an extension as its number, if any: 1001 is not +491001.
    if call.anonymous or call.direction is Direction.OUTBOUND:
        return False
    return any(_is_listed(text, rule, country) for text in {call.caller, call.from_user, *(i.text for i in call.identities)})


def _is_listed(text: str, rule: Rule, country: str) -> bool:
    whole, begun = phone_number.texts(text, country), _begun(text, country)
    return any(
        any(e164.startswith(caller[:-1]) for e164 in begun) if caller.endswith("*") else caller in whole
        for caller in rule.callers
    )


def _begun(text: str, country: str) -> tuple[str, ...]:
    """The texts with which fsroute compares beginnings (+49171*): one reading of the number, and its E.164 text if the
    caller sent one.

    A number without + can have two readings: 4922147... is +4922147... or, dialled in Germany, +494922147... For a row with
    a whole number fsroute compares both readings: another caller's second reading is next to never this number. A row with
    a beginning stands for a country or a network, and the second readings of many other callers begin in the same way.
    Example: +39* would match every caller of the German area 039 whose carrier sends no zero. So fsroute compares one
    reading with beginnings: the valid one if exactly one is valid, else the first. The E.164 text is no second reading,
    because it has the calling code.
    """
    readings, sent = phone_number.candidates(text, country), phone_number.as_sent(text, country)
    valid = [reading for reading in readings if phone_number.is_valid(reading)] if len(readings) > 1 else []
    likeliest = valid[:1] if len(valid) == 1 else readings[:1]
    return (*likeliest, *([sent] if sent else []))
