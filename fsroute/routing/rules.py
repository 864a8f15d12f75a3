"""Which rule of a number applies to a call. Pure; every rule that does not apply says why."""

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
    """The rule that a call to this number begins with: the first general one that matches, else the base rule."""
    return _first(hosted.rules, RuleType.GENERAL, call, country, now, add_reason) or base_rule(hosted, add_reason)


def next_rule(
    hosted: HostedNumber, failed: Rule, outcome: Outcome, call: Call, country: str, now: datetime, add_reason: AddReason
) -> Rule | None:
    """The rule that follows when `failed`, a rule of this number, ended with `outcome`.

    After a general rule: the rule for this outcome, else the base rule. After a rule for an outcome: the base rule.
    After the base rule: none. So a call is at most in three rules of one number, and always gets to an end.
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
    """The rule that is left when no other one is."""
    for rule in hosted.rules:
        if rule.type is not RuleType.BASE:
            continue
        if rule.enabled:
            add_reason(ReasonCode.BASE_RULE, rule, "the last resort applies")
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
    # A hidden number that the network lets through must not have an effect that the caller can see. And what a phone
    # of ours sends is an extension, if it is anything: 1001 is not +491001.
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
    """What beginnings (+49171*) are compared with: one reading of the number, and its E.164 text if it was sent as one.

    A number without + can have two readings: 4922147... is +4922147... or, dialled in Germany, +494922147... An exact row
    names one number, and it is next to impossible that somebody else's other reading is just that. A beginning names a
    country or a network, and many numbers of other people begin so in their other reading: +39* would fit every caller of
    the German area 039 whose carrier sends no zero. So only one reading counts: the valid one, if the others are not; else
    the first. The text is no reading: nobody else sends it.
    """
    readings, sent = phone_number.candidates(text, country), phone_number.as_sent(text, country)
    valid = [reading for reading in readings if phone_number.is_valid(reading)] if len(readings) > 1 else []
    likeliest = valid[:1] if len(valid) == 1 else readings[:1]
    return (*likeliest, *([sent] if sent else []))
