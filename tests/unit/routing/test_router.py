"""Whole decisions, and what holds for the decision of any call in any tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsroute.codes import CallerIdCode, DecisionCode, ReasonCode
from fsroute.model import (
    SHOW_ORIGINAL,
    SHOW_OWN,
    Account,
    AccountStatus,
    Call,
    CallerId,
    Decision,
    Direction,
    Diversion,
    EndpointDial,
    FailedPlan,
    HostedNumber,
    Identity,
    IdentityHeader,
    Leg,
    Mode,
    NumberFacts,
    NumberFormat,
    Outcome,
    Permission,
    Plan,
    Reason,
    RefusedCallerId,
    Routing,
    Rule,
    RuleKey,
    RuleType,
    ShowVerified,
    Target,
    Trunk,
    TrunkDial,
    TrunkRoute,
    User,
    forwarded_caller_id,
)
from fsroute.numbers import regulation, short_numbers
from fsroute.routing.causes import TRUNK_FAILURES
from fsroute.routing.router import END_CAUSES, UNKNOWN, route
from fsroute.target_kinds import Announcement, Hangup, LeadsTo, TargetKind, Voicemail
from tests.support.builders import (
    ACME,
    CALLER,
    CARRIER,
    CLOSED,
    LINE,
    MOBILE,
    MONDAY_NOON,
    OFFICE_HOURS,
    SUSPENDED,
    VOICEMAIL,
    account,
    decision,
    endpoints,
    external_target,
    facts,
    group_target,
    hosted,
    hosted_target,
    outgoing_call,
    phone_leg,
    routing_of,
    rule,
    target,
    trunk,
    trunk_leg,
    user,
    verification,
)

A, B, C = LINE, "+492214710200", "+492214710300"
NOW = MONDAY_NOON
GENERAL, BUSY, NO_ANSWER, UNREACHABLE, BASE = RuleType
PARALLEL, SEQUENTIAL = Mode.PARALLEL, Mode.SEQUENTIAL

FORWARDED = CallerId(A, A, CallerIdCode.OWN_NUMBER)
DIVERSION = Diversion(A, "unconditional")
NOBODY = group_target("1009", off=("1009",))


def ring(*names: str) -> Plan:
    """One stage of phones."""
    return Plan((tuple(phone_leg(name, ring_s=20) for name in names),))


def decided(of: Rule, plan: Plan, *reasons: Reason) -> Decision:
    """By a rule of a number that somebody called from outside."""
    return decision(plan, *reasons, rule=of)


def ended(cause: str, *reasons: Reason, number: str | None = A, account: str | None = "acme") -> Decision:
    """Without a rule, for the last reason."""
    return decision(Plan(final=Hangup(cause)), *reasons, code=reasons[-1].code, number=number, account=account)


def matched(of: Rule) -> Reason:
    return Reason(ReasonCode.RULE_MATCHED, str(of), "applies")


def last_resort(of: Rule) -> Reason:
    return Reason(ReasonCode.BASE_RULE, str(of), "applies, because no other rule does")


def off(name: str = "endpoint 1009") -> Reason:
    return Reason(ReasonCode.ENDPOINT_DISABLED, name, "left out: is switched off")


def empty(of: Rule) -> Reason:
    return Reason(ReasonCode.EMPTY_PLAN, str(of), "none of its targets can ring")


def exhausted(outcome: Outcome) -> Reason:
    return Reason(ReasonCode.RULES_EXHAUSTED, A, f"{outcome}, and no rule follows")


def asked(*numbers: HostedNumber, failed: FailedPlan | None = None, call: Call | None = None) -> Decision:
    return route(call or Call("02214710100", CALLER), routing_of(*numbers), NOW, failed)


# --- inbound ----------------------------------------------------------------------------------------------


def test_a_caller_is_read_as_the_trunk_writes_and_shown() -> None:
    american = replace(rule(1, GENERAL, group_target("1001")), callers=("+1*",))
    digits = replace(CARRIER, number_format=NumberFormat.DIGITS)
    routing = replace(routing_of(hosted(american)), trunk=digits)
    assert route(Call(A, "12025550123", from_user="12025550123"), routing, NOW) == Decision(
        A,
        "acme",
        american,
        ring("1001"),
        CallerId("+12025550123", None, CallerIdCode.CALLER_RECEIVED, as_received=True),
        ReasonCode.ROUTED,
        (
            Reason(
                ReasonCode.CALLER_READ,
                "caller",
                "12025550123 is +12025550123: trunk carrier writes digits, with identity profile presented-in-from",
            ),
            matched(american),
        ),
    )


@pytest.mark.parametrize("listed", ["+498999998123", "+4989*", "+492214710999", "+49221*"])
def test_a_rule_is_for_callers_of_whom_any_number_fits(listed: str) -> None:
    blocked = replace(rule(1, GENERAL, target(TargetKind.HANGUP, "CALL_REJECTED")), callers=(listed,))
    identities = (Identity(IdentityHeader.PAI, "+492214710999"),)
    call = Call(A, "+492214710999", from_user="+498999998123", identities=identities)
    found = asked(hosted(blocked, RING), call=call)
    assert (found.rule, found.caller_id.presented) == (blocked, "+498999998123")


@pytest.mark.parametrize("where", ["caller", "from_user", "identities"])
def test_a_number_that_may_be_no_caller_id_ends_the_call_wherever_it_stands(where: str) -> None:
    banned = "0900123456"
    more: dict[str, object] = {where: (Identity(IdentityHeader.PPI, banned),) if where == "identities" else banned}
    call = replace(Call(A, CALLER, from_user=CALLER), **more)  # type: ignore[arg-type]
    assert asked(hosted(RING), call=call).code == "caller_class_banned"


def test_the_called_number_may_be_relative_to_nonsense() -> None:
    found = route(Call("4710602;phone-context=49221", CALLER, from_user=CALLER), Routing("DE"), NOW)
    assert (found.code, found.plan) == ("phone_context_malformed", Plan(final=Hangup("INVALID_NUMBER_FORMAT")))


RING = rule(1, GENERAL, group_target("1001", "1002"))
ON_BUSY = rule(2, BUSY, group_target("1003"))
ON_NO_ANSWER = rule(3, NO_ANSWER, group_target("1004"))
ON_UNREACHABLE = rule(4, UNREACHABLE, group_target("1005"))
LAST = rule(9, BASE, VOICEMAIL)
ALL = hosted(RING, ON_BUSY, ON_NO_ANSWER, ON_UNREACHABLE, LAST)


def test_a_call_rings_what_its_rule_says() -> None:
    assert asked(ALL) == decided(RING, ring("1001", "1002"), matched(RING))


def test_an_external_number_sees_the_number_that_was_dialled() -> None:
    of = rule(1, GENERAL, group_target("1001"), external_target(MOBILE), mode=PARALLEL)
    mobile = trunk_leg(MOBILE, caller_id=FORWARDED, ring_s=25, confirm=True, diversion=DIVERSION)
    assert asked(hosted(of)) == decided(of, Plan(((phone_leg("1001", ring_s=25), mobile),)), matched(of))


def test_a_phone_sees_an_anonymous_caller_as_one() -> None:
    call = Call("02214710100", CALLER, anonymous=True)
    hidden = CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS)
    expected = Plan(((phone_leg("1001", ring_s=20, caller_id=hidden), phone_leg("1002", ring_s=20, caller_id=hidden)),))
    assert asked(ALL, call=call) == Decision(A, "acme", RING, expected, hidden, ReasonCode.ROUTED, (matched(RING),))


def test_an_unknown_number_is_unallocated() -> None:
    call = Call("+492214719999", CALLER)
    assert route(call, Routing("DE"), NOW) == ended(
        "UNALLOCATED_NUMBER",
        Reason(ReasonCode.NUMBER_UNKNOWN, "+492214719999", "is no number here"),
        number=None,
        account=None,
    )


def test_a_number_that_is_switched_off_is_unallocated() -> None:
    assert asked(replace(ALL, enabled=False)) == ended(
        "UNALLOCATED_NUMBER", Reason(ReasonCode.NUMBER_DISABLED, A, "is switched off")
    )


def test_a_suspended_account_is_not_called() -> None:
    assert asked(replace(ALL, account=SUSPENDED)) == ended(
        "CALL_REJECTED", Reason(ReasonCode.ACCOUNT_SUSPENDED, "acme", "is suspended")
    )


def test_a_number_without_a_rule_for_the_call_has_no_route() -> None:
    assert asked(hosted(ON_BUSY)) == ended(
        "NO_ROUTE_DESTINATION", Reason(ReasonCode.NO_RULE, A, "has no rule for this call")
    )


def test_the_base_rule_applies_when_no_other_does() -> None:
    assert asked(hosted(ON_BUSY, LAST)) == decided(LAST, Plan(final=Voicemail("1001", "acme.example")), last_resort(LAST))


# --- what follows -----------------------------------------------------------------------------------------

FOLLOW_UPS: dict[str, tuple[Rule, Outcome, Rule, Plan, Reason]] = {
    "busy": (RING, Outcome.BUSY, ON_BUSY, ring("1003"), matched(ON_BUSY)),
    "no answer": (RING, Outcome.NO_ANSWER, ON_NO_ANSWER, ring("1004"), matched(ON_NO_ANSWER)),
    "unreachable": (RING, Outcome.UNREACHABLE, ON_UNREACHABLE, ring("1005"), matched(ON_UNREACHABLE)),
    "after a follow-up, the base rule": (
        ON_NO_ANSWER,
        Outcome.BUSY,
        LAST,
        Plan(final=Voicemail("1001", "acme.example")),
        last_resort(LAST),
    ),
}


@pytest.mark.parametrize(("rang", "outcome", "of", "plan", "reason"), FOLLOW_UPS.values(), ids=FOLLOW_UPS.keys())
def test_the_outcome_decides_what_follows(rang: Rule, outcome: Outcome, of: Rule, plan: Plan, reason: Reason) -> None:
    assert asked(ALL, failed=FailedPlan(rang.key, outcome)) == decided(of, plan, reason)


@pytest.mark.parametrize("outcome", Outcome)
def test_the_base_rule_follows_every_outcome_that_has_no_rule(outcome: Outcome) -> None:
    assert asked(hosted(RING, LAST), failed=FailedPlan(RING.key, outcome)) == decided(
        LAST, Plan(final=Voicemail("1001", "acme.example")), last_resort(LAST)
    )


@pytest.mark.parametrize(
    ("outcome", "cause"),
    [
        (Outcome.BUSY, "USER_BUSY"),
        (Outcome.NO_ANSWER, "NO_ANSWER"),
        (Outcome.UNREACHABLE, "SUBSCRIBER_ABSENT"),
    ],
)
def test_the_caller_hears_the_outcome_when_no_rule_follows(outcome: Outcome, cause: str) -> None:
    assert asked(hosted(RING), failed=FailedPlan(RING.key, outcome)) == ended(cause, exhausted(outcome))


@pytest.mark.parametrize("outcome", Outcome)
def test_a_rule_s_own_last_target_comes_before_every_other_rule(outcome: Outcome) -> None:
    of = rule(1, GENERAL, group_target("1001"), CLOSED)
    tables = hosted(of, ON_BUSY, ON_NO_ANSWER, ON_UNREACHABLE, LAST)
    announcement = Announcement("fsroute/closed.wav")
    assert asked(tables) == decided(of, Plan(((phone_leg("1001", ring_s=20),),), announcement), matched(of))
    assert asked(tables, failed=FailedPlan(of.key, outcome)) == decided(
        of,
        Plan(final=announcement),
        Reason(ReasonCode.FINAL_TARGET, str(of), "nobody answered: its last target follows"),
    )


def test_an_empty_plan_moves_on_at_once() -> None:
    nobody = rule(1, GENERAL, NOBODY)
    nobody_either = rule(4, UNREACHABLE, NOBODY)
    assert asked(hosted(nobody, ON_BUSY, ON_NO_ANSWER, nobody_either, LAST)) == decided(
        LAST,
        Plan(final=Voicemail("1001", "acme.example")),
        matched(nobody),
        off(),
        empty(nobody),
        matched(nobody_either),
        off(),
        empty(nobody_either),
        last_resort(LAST),
    )


def test_when_everything_is_empty_the_caller_is_told_that_nobody_is_there() -> None:
    nobody, last = rule(1, GENERAL, NOBODY), rule(9, BASE, NOBODY)
    assert asked(hosted(nobody, last)) == ended(
        "SUBSCRIBER_ABSENT",
        matched(nobody),
        off(),
        empty(nobody),
        last_resort(last),
        off(),
        empty(last),
        exhausted(Outcome.UNREACHABLE),
    )


def test_an_empty_follow_up_does_not_change_what_the_caller_hears() -> None:
    nobody = rule(2, BUSY, NOBODY)
    assert asked(hosted(RING, nobody), failed=FailedPlan(RING.key, Outcome.BUSY)) == ended(
        "USER_BUSY", matched(nobody), off(), empty(nobody), exhausted(Outcome.BUSY)
    )


def test_the_base_rule_follows_a_rule_that_was_deleted_while_it_rang() -> None:
    gone = RuleKey(A, 7)
    assert asked(hosted(RING, LAST), failed=FailedPlan(gone, Outcome.BUSY)) == decided(
        LAST,
        Plan(final=Voicemail("1001", "acme.example")),
        Reason(ReasonCode.RULE_GONE, str(gone), "was deleted while it rang"),
        last_resort(LAST),
    )
    assert asked(hosted(RING), failed=FailedPlan(gone, Outcome.BUSY)) == ended(
        "USER_BUSY", Reason(ReasonCode.RULE_GONE, str(gone), "was deleted while it rang"), exhausted(Outcome.BUSY)
    )


# --- what follows of other numbers ------------------------------------------------------------------------

TO_B = rule(1, GENERAL, hosted_target(B))
B_RINGS = rule(1, GENERAL, group_target("1001"), number=B)
B_BUSY = rule(2, BUSY, group_target("1003"), number=B)
B_LAST = rule(9, BASE, VOICEMAIL, number=B)
NUMBER_B = hosted(B_RINGS, B_BUSY, B_LAST, number=B)


def test_a_number_that_only_leads_to_another_one_has_what_follows_there() -> None:
    a = hosted(TO_B)
    assert asked(a, NUMBER_B) == decided(TO_B, ring("1001"), matched(TO_B), matched(B_RINGS))
    assert asked(a, NUMBER_B, failed=FailedPlan(TO_B.key, Outcome.BUSY)) == decided(B_BUSY, ring("1003"), matched(B_BUSY))
    assert asked(a, NUMBER_B, failed=FailedPlan(TO_B.key, Outcome.NO_ANSWER)) == decided(
        B_LAST, Plan(final=Voicemail("1001", "acme.example")), last_resort(B_LAST)
    )
    assert asked(a, NUMBER_B, failed=FailedPlan(B_BUSY.key, Outcome.BUSY)) == decided(
        B_LAST, Plan(final=Voicemail("1001", "acme.example")), last_resort(B_LAST)
    )


def test_its_own_base_rule_comes_first() -> None:
    last = rule(9, BASE, CLOSED)
    assert asked(hosted(TO_B, last), NUMBER_B, failed=FailedPlan(TO_B.key, Outcome.BUSY)) == decided(
        last, Plan(final=Announcement("fsroute/closed.wav")), last_resort(last)
    )


def test_two_numbers_do_not_send_a_caller_round_in_circles() -> None:
    """B's rule for busy leads back to A; after it nothing of A follows once more."""
    back = rule(2, BUSY, hosted_target(A), group_target("1004"), number=B)
    tables = hosted(TO_B), hosted(B_RINGS, back, number=B)
    assert asked(*tables, failed=FailedPlan(TO_B.key, Outcome.BUSY)) == decided(
        back,
        ring("1004"),
        matched(back),
        matched(TO_B),
        Reason(ReasonCode.LOOP, f"number {B}", "left out: the call has already been at this number"),
        empty(TO_B),
    )
    assert asked(*tables, failed=FailedPlan(back.key, Outcome.BUSY)) == ended("USER_BUSY", exhausted(Outcome.BUSY))


def test_what_follows_is_taken_from_other_numbers_only_once() -> None:
    """B's last resort leads to C; when it fails too, C's rule for busy is not for a caller of A any more."""
    last = rule(9, BASE, hosted_target(C), number=B)
    c_rings, c_busy = rule(1, GENERAL, group_target("1004"), number=C), rule(2, BUSY, group_target("1005"), number=C)
    tables = hosted(TO_B), hosted(B_RINGS, last, number=B), hosted(c_rings, c_busy, number=C)
    assert asked(*tables, failed=FailedPlan(TO_B.key, Outcome.BUSY)) == decided(
        last, ring("1004"), last_resort(last), matched(c_rings)
    )
    assert asked(*tables, failed=FailedPlan(last.key, Outcome.BUSY)) == ended("USER_BUSY", exhausted(Outcome.BUSY))


def test_a_rule_of_another_number_that_was_deleted_leads_back_to_the_base_rule() -> None:
    last = rule(9, BASE, CLOSED)
    gone = RuleKey(C, 1)
    assert asked(hosted(TO_B, last), NUMBER_B, failed=FailedPlan(gone, Outcome.BUSY)) == decided(
        last,
        Plan(final=Announcement("fsroute/closed.wav")),
        Reason(ReasonCode.RULE_GONE, str(gone), "was deleted while it rang"),
        last_resort(last),
    )


@pytest.mark.parametrize(
    ("country", "modes", "hint"), [("US", ["own"], "A"), ("US", ["own", "original"], "B"), ("DE", ["original"], None)]
)
def test_the_weakest_of_the_caller_ids_that_leave_is_what_can_be_attested(
    country: str, modes: list[str], hint: str | None
) -> None:
    account = replace(ACME, country=country)
    targets = [
        external_target(f"+1212555018{i}", position=i + 1, caller_id=forwarded_caller_id(mode))
        for i, mode in enumerate(modes)
    ]
    assert asked(hosted(rule(1, GENERAL, *targets, mode=PARALLEL), account=account)).attestation == hint


# --- outbound ---------------------------------------------------------------------------------------------

RECEPTION = user("reception", "11", *endpoints("1001", "1002"))
WORKSHOP = user("workshop", "12", *endpoints("1003", "1009", off=("1009",)))
INSIDE = CallerId("11", None, CallerIdCode.INTERNAL_EXTENSION)
SHOWS_LINE = CallerId(A, A, CallerIdCode.NETWORK_NUMBER)
IN_EMERGENCY = CallerId(A, A, CallerIdCode.EMERGENCY)


def emergency(digits: str, country: str = "DE") -> Reason:
    return Reason(ReasonCode.EMERGENCY, digits, f"is an emergency number: {short_numbers.known(digits, country)}")


def protected(digits: str, country: str = "DE") -> Reason:
    return Reason(ReasonCode.PROTECTED, digits, f"is a number that must get through: {short_numbers.known(digits, country)}")


def outbound(
    account: Account | None = ACME, *, callee: User | None = None, numbers: tuple[HostedNumber, ...] = ()
) -> Routing:
    return routing_of(*numbers, account=account, caller=RECEPTION, callee=callee)


def outgoing_leg(to: str, caller_id: CallerId, through: Trunk = CARRIER) -> Leg:
    return trunk_leg(to, caller_id=caller_id, trunk=through, ring_s=120)


def from_user(
    plan: Plan, caller_id: CallerId, *reasons: Reason, code: DecisionCode | None = None, trunks: int = 0
) -> Decision:
    return decision(plan, *reasons, caller_id=caller_id, code=code or reasons[-1].code, number=None, trunks=trunks)


TO_MOBILE = Reason(ReasonCode.TRUNK, MOBILE, "is not hosted here: to the telephone network")


@pytest.mark.parametrize("account", [ACME, SUSPENDED])
@pytest.mark.parametrize(
    ("spelling", "to"), [("110", "110"), ("112", "112"), ("sip:112@acme.example", "112"), ("1 1 2", "112")]
)
def test_an_emergency_call_passes_whatever_the_account_s_state(account: Account, spelling: str, to: str) -> None:
    assert route(outgoing_call(spelling), outbound(account), NOW) == from_user(
        Plan(((outgoing_leg(to, IN_EMERGENCY),),)),
        IN_EMERGENCY,
        emergency(to),
        trunks=1,
    )


def test_an_emergency_number_comes_before_an_extension_and_a_hosted_number() -> None:
    callee = replace(WORKSHOP, extension="112")
    found = route(outgoing_call("112"), outbound(callee=callee, numbers=(ALL,)), NOW)
    assert found == route(outgoing_call("112"), outbound(), NOW)


def test_an_emergency_call_takes_any_trunk_and_no_limit_of_hops() -> None:
    off_, spare = replace(trunk("main"), enabled=False), trunk("spare")
    account = replace(ACME, network_number=None, routes=(TrunkRoute("+4917", 1, spare), TrunkRoute("+", 1, off_)))
    unknown_line = CallerId(None, None, CallerIdCode.EMERGENCY_LINE_UNKNOWN, as_received=True)
    leg = replace(outgoing_leg("112", unknown_line, spare), hops=10)
    assert route(replace(outgoing_call("112"), hops=9), outbound(account), NOW) == from_user(
        Plan(((leg,),)),
        unknown_line,
        emergency("112"),
        Reason(
            ReasonCode.EMERGENCY_LINE_UNKNOWN,
            "acme",
            "has no network number: the carrier knows the line by its trunk only, the called side sees an anonymous call",
        ),
        code=ReasonCode.EMERGENCY,
        trunks=1,
    )


def test_an_emergency_call_tries_each_trunk_the_one_for_every_number_first() -> None:
    mobiles, second = trunk("mobiles"), trunk("second")
    off_ = replace(trunk("off"), enabled=False)
    routes = (
        TrunkRoute("+4917", 1, mobiles),
        TrunkRoute("+", 2, second),
        TrunkRoute("+", 3, off_),
        TrunkRoute("+", 1, CARRIER),
        TrunkRoute("+49", 1, CARRIER),
    )
    routing = outbound(replace(ACME, routes=routes))
    for outcome, cause in ((Outcome.UNREACHABLE, "GATEWAY_DOWN"), (Outcome.BUSY, "USER_BUSY"), (Outcome.NO_ANSWER, "")):
        rung, failed = [], None
        for _ in range(3):
            decision = route(outgoing_call("112"), routing, NOW, failed)
            rung.append([(leg.dial, leg.progress_s) for stage in decision.plan.stages for leg in stage])
            failed = FailedPlan(None, outcome, cause, decision.trunks)
        assert rung == [
            [(TrunkDial(CARRIER, "112"), 10)],
            [(TrunkDial(second, "112"), 10)],
            [(TrunkDial(mobiles, "112"), None)],
        ]
        last = route(outgoing_call("112"), routing, NOW, failed)
        assert last.plan == Plan(final=Hangup(cause or "NO_ANSWER"))


def test_an_emergency_call_without_any_trunk_has_no_route() -> None:
    assert route(outgoing_call("112"), outbound(replace(ACME, routes=())), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        emergency("112"),
        Reason(ReasonCode.EMPTY_PLAN, "112", "cannot ring"),
    )


def test_a_suspended_account_makes_no_other_call() -> None:
    expected = from_user(
        Plan(final=Hangup("OUTGOING_CALL_BARRED")), INSIDE, Reason(ReasonCode.ACCOUNT_SUSPENDED, "acme", "is suspended")
    )
    routings = [outbound(SUSPENDED, callee=WORKSHOP), outbound(SUSPENDED, numbers=(ALL,)), outbound(SUSPENDED)]
    assert [route(outgoing_call(MOBILE), routing, NOW) for routing in routings] == [expected] * 3


def test_an_extension_rings_all_phones_of_its_user() -> None:
    workshop = Reason(ReasonCode.EXTENSION, "user workshop", "has extension 12")
    assert route(outgoing_call("12"), outbound(callee=WORKSHOP), NOW) == from_user(
        Plan(((phone_leg("1003", ring_s=25, caller_id=INSIDE),),)), INSIDE, workshop, off(), code=ReasonCode.EXTENSION
    )


def test_a_short_code_rings_the_phones_of_its_user_and_is_named() -> None:
    found = route(outgoing_call("77"), outbound(callee=replace(WORKSHOP, extension=None)), NOW)
    assert found.plan == Plan(((phone_leg("1003", ring_s=25, caller_id=INSIDE),),))
    assert found.reasons[0] == Reason(ReasonCode.EXTENSION, "user workshop", "has short code 77")


HAS_12 = Reason(ReasonCode.EXTENSION, "user workshop", "has extension 12")
FOLLOWS = Reason(ReasonCode.EXTENSION_RULES, f"number {A}", "is called from inside the account: its rules apply")
DESK = rule(1, GENERAL, group_target("1003"))
MAILBOX = rule(9, BASE, VOICEMAIL)


def inside(of: Rule, plan: Plan, *reasons: Reason, code: DecisionCode = ReasonCode.ROUTED) -> Decision:
    """By a rule of the number of the user whose extension a colleague called."""
    return Decision(A, "acme", of, plan, INSIDE, code, (HAS_12, FOLLOWS, *reasons))


def test_an_extension_follows_the_rules_of_its_user_s_number_to_the_mailbox() -> None:
    tables = outbound(callee=WORKSHOP, numbers=(hosted(DESK, MAILBOX),))
    assert route(outgoing_call("12"), tables, NOW) == inside(
        DESK, Plan(((phone_leg("1003", ring_s=20, caller_id=INSIDE),),)), matched(DESK)
    )
    assert route(outgoing_call("12"), tables, NOW, FailedPlan(DESK.key, Outcome.NO_ANSWER)) == inside(
        MAILBOX, Plan(final=Voicemail("1001", "acme.example")), last_resort(MAILBOX)
    )


def test_an_extension_is_forwarded_as_its_user_s_number_is_and_no_further() -> None:
    away = rule(1, GENERAL, external_target(MOBILE))
    tables = outbound(callee=WORKSHOP, numbers=(hosted(away),))
    leg = replace(outgoing_leg(MOBILE, FORWARDED), ring_s=20, diversion=DIVERSION)
    assert route(outgoing_call("12"), tables, NOW) == inside(away, Plan(((leg,),)), matched(away))
    assert route(replace(outgoing_call("12"), hops=5), tables, NOW).reasons[3:] == (
        Reason(ReasonCode.HOP_LIMIT, f"external {MOBILE}", "left out: the call came through trunks 5 times, a loop"),
        empty(away),
        Reason(ReasonCode.RULES_EXHAUSTED, A, "unreachable, and no rule follows"),
    )


def test_two_extensions_that_forward_to_each_other_s_number_are_a_loop() -> None:
    there, back = rule(1, GENERAL, hosted_target(B)), rule(1, GENERAL, hosted_target(A), number=B)
    found = route(outgoing_call("12"), outbound(callee=WORKSHOP, numbers=(hosted(there), hosted(back, number=B))), NOW)
    assert Reason(ReasonCode.LOOP, f"number {A}", "left out: the call has already been at this number") in found.reasons
    assert found.plan == Plan(final=Hangup("SUBSCRIBER_ABSENT"))


def test_a_colleague_who_hides_their_number_outside_is_no_anonymous_caller_inside() -> None:
    no_strangers = replace(rule(1, GENERAL, target(TargetKind.HANGUP, "CALL_REJECTED")), anonymous=True)
    desk = replace(DESK, position=2)
    tables = outbound(callee=WORKSHOP, numbers=(hosted(no_strangers, desk),))
    assert route(replace(outgoing_call("12"), anonymous=True), tables, NOW).rule == desk


RINGS_AS_EVER: dict[str, tuple[HostedNumber, tuple[Reason, ...]]] = {
    "its number has no rules": (hosted(replace(DESK, position=0)), (HAS_12,)),
    "its number has no rule for colleagues": (
        hosted(replace(DESK, callers=("+4930*",))),
        (
            HAS_12,
            FOLLOWS,
            Reason(ReasonCode.CALLER_NOT_LISTED, str(DESK), "is for other callers"),
            Reason(ReasonCode.NO_RULE, A, "has no rule for this call"),
        ),
    ),
    "its number is switched off": (
        hosted(DESK, enabled=False),
        (HAS_12, Reason(ReasonCode.NUMBER_DISABLED, f"number {A}", "is switched off: its rules do not apply")),
    ),
    "its number is hosted here for another account": (hosted(DESK, account=replace(ACME, name="other")), (HAS_12,)),
}


@pytest.mark.parametrize(("number", "reasons"), RINGS_AS_EVER.values(), ids=RINGS_AS_EVER.keys())
def test_an_extension_without_rules_that_apply_rings_its_phones(number: HostedNumber, reasons: tuple[Reason, ...]) -> None:
    tables = outbound(callee=WORKSHOP, numbers=(number,))
    ringing = from_user(
        Plan(((phone_leg("1003", ring_s=25, caller_id=INSIDE),),)), INSIDE, *reasons, off(), code=ReasonCode.EXTENSION
    )
    assert route(outgoing_call("12"), tables, NOW) == ringing
    nobody = route(outgoing_call("12"), tables, NOW, FailedPlan(None, Outcome.NO_ANSWER, "NO_ANSWER"))
    assert (nobody.code, nobody.plan) == ("call_failed", Plan(final=Hangup("NO_ANSWER")))


def test_an_emergency_number_is_no_extension_whatever_rules_it_has() -> None:
    tables = outbound(callee=replace(WORKSHOP, extension="112"), numbers=(hosted(DESK),))
    assert route(outgoing_call("112"), tables, NOW) == route(outgoing_call("112"), outbound(), NOW)


# --- names that nobody has --------------------------------------------------------------------------------


def test_a_trunk_that_is_none_here_is_told_and_the_call_is_routed_without_one() -> None:
    unknown = Reason(
        ReasonCode.TRUNK_UNKNOWN,
        "gone",
        "is no trunk here: numbers without + are read as in DE, and no rule of a trunk applies",
    )
    expected = route(Call(A, CALLER), routing_of(ALL), NOW)
    found = route(Call(A, CALLER, trunk="gone"), routing_of(ALL), NOW)
    assert found == replace(expected, reasons=(unknown, *expected.reasons))
    assert not {reason.code for reason in expected.reasons} & UNKNOWN


def test_a_user_who_is_none_of_the_account_is_told_and_the_call_is_the_account_s() -> None:
    unknown = Reason(ReasonCode.USER_UNKNOWN, "gone", "is no user of account acme: the call shows the account's number")
    tables = replace(outbound(), caller=None)
    expected = route(replace(outgoing_call(MOBILE), user=None), tables, NOW)
    found = route(replace(outgoing_call(MOBILE), user="gone"), tables, NOW)
    assert found == replace(expected, reasons=(unknown, *expected.reasons))
    assert found.caller_id == SHOWS_LINE


def test_an_account_that_is_none_is_one_warning_and_not_two() -> None:
    found = route(outgoing_call(MOBILE), replace(outbound(None), caller=None), NOW)
    assert [reason.code for reason in found.reasons] == ["account_unknown"]


def test_an_extension_of_130_phones_rings_128() -> None:
    many = replace(WORKSHOP, endpoints=endpoints(*(f"{i}" for i in range(1000, 1130))))
    limit = [Reason(ReasonCode.LEG_LIMIT, f"endpoint {i}", "left out: more than 128 legs together") for i in (1128, 1129)]
    assert route(outgoing_call("12"), outbound(callee=many), NOW) == from_user(
        Plan((tuple(phone_leg(f"{i}", ring_s=25, caller_id=INSIDE) for i in range(1000, 1128)),)),
        INSIDE,
        Reason(ReasonCode.EXTENSION, "user workshop", "has extension 12"),
        *limit,
        code=ReasonCode.EXTENSION,
    )


def test_an_extension_without_a_phone_has_no_route() -> None:
    callee = replace(WORKSHOP, endpoints=WORKSHOP.endpoints[1:])
    assert route(outgoing_call("12"), outbound(callee=callee), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        Reason(ReasonCode.EXTENSION, "user workshop", "has extension 12"),
        off(),
        Reason(ReasonCode.EMPTY_PLAN, "12", "cannot ring"),
    )


def test_a_number_that_is_hosted_here_stays_inside() -> None:
    stays = Reason(ReasonCode.HOSTED_HERE, f"number {A}", "is hosted here and stays inside")
    assert route(outgoing_call("0221 4710100"), outbound(numbers=(ALL,)), NOW) == Decision(
        A,
        "acme",
        RING,
        Plan(((phone_leg("1001", ring_s=20, caller_id=INSIDE), phone_leg("1002", ring_s=20, caller_id=INSIDE)),)),
        INSIDE,
        ReasonCode.ROUTED,
        (stays, matched(RING)),
    )


def test_what_follows_follows_a_user_s_call_too() -> None:
    stays = Reason(ReasonCode.HOSTED_HERE, f"number {A}", "is hosted here and stays inside")
    failed = FailedPlan(RING.key, Outcome.BUSY)
    assert route(outgoing_call("0221 4710100"), outbound(numbers=(ALL,)), NOW, failed) == Decision(
        A,
        "acme",
        ON_BUSY,
        Plan(((phone_leg("1003", ring_s=20, caller_id=INSIDE),),)),
        INSIDE,
        ReasonCode.ROUTED,
        (stays, matched(ON_BUSY)),
    )


def test_another_account_s_phones_see_the_line_not_the_extension() -> None:
    other = account("other", network_number=A)
    found = route(outgoing_call(A), outbound(numbers=(hosted(RING, account=other),)), NOW)
    assert {leg.caller_id for stage in found.plan.stages for leg in stage} == {SHOWS_LINE}


def test_every_other_number_goes_to_a_trunk_with_the_line_s_number() -> None:
    assert route(outgoing_call("0171 3920042"), outbound(), NOW) == from_user(
        Plan(((outgoing_leg(MOBILE, SHOWS_LINE),),)),
        SHOWS_LINE,
        TO_MOBILE,
        Reason(ReasonCode.CALLER_ID, A, "is shown (network_number)"),
        code=ReasonCode.TRUNK,
        trunks=1,
    )


REFUSED: dict[str, tuple[str, Account | None, str, Reason]] = {
    "not a number": (
        "alice",
        ACME,
        "INVALID_NUMBER_FORMAT",
        Reason(ReasonCode.NOT_A_NUMBER, "alice", "is neither an extension nor a telephone number"),
    ),
    "a local number without an area": (
        "4710200",
        ACME,
        "INVALID_NUMBER_FORMAT",
        Reason(ReasonCode.LOCAL_NUMBER, "4710200", "can only be a local number, and the account has no area code"),
    ),
    "no number of the area": (
        "12",
        replace(ACME, area_code="221"),
        "INVALID_NUMBER_FORMAT",
        Reason(ReasonCode.LOCAL_NUMBER, "12", "can only be a local number, and is not valid in the area 221"),
    ),
    "relative to nonsense": (
        "4710602;phone-context=49221",
        ACME,
        "INVALID_NUMBER_FORMAT",
        Reason(
            ReasonCode.PHONE_CONTEXT_MALFORMED,
            "4710602;phone-context=49221",
            "has a phone-context that is neither the beginning of a number nor a domain name",
        ),
    ),
    "no network number": (
        MOBILE,
        replace(ACME, network_number=None),
        "OUTGOING_CALL_BARRED",
        Reason(ReasonCode.NO_NETWORK_NUMBER, "acme", "has no network number, and a carrier requires one"),
    ),
}


@pytest.mark.parametrize(("to", "account", "cause", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_user_s_call_that_can_not_leave_says_why(to: str, account: Account, cause: str, reason: Reason) -> None:
    assert route(outgoing_call(to), outbound(account), NOW) == from_user(Plan(final=Hangup(cause)), INSIDE, reason)


COLOGNE = replace(ACME, area_code="221")


@pytest.mark.parametrize(
    ("dialled_as", "account", "to"),
    [
        ("4710200", COLOGNE, "+492214710200"),
        ("471 02 00", COLOGNE, "+492214710200"),
        ("03023125001", COLOGNE, CALLER),
        ("115", COLOGNE, "115"),
        ("116117", COLOGNE, "116117"),
        ("4710602;phone-context=+4930", ACME, "+49304710602"),
        ("5550123", replace(ACME, country="US", area_code="212"), "+12125550123"),
    ],
)
def test_a_local_number_is_called_in_the_account_s_area_and_others_are_not(
    dialled_as: str, account: Account, to: str
) -> None:
    found = route(outgoing_call(dialled_as), outbound(account), NOW)
    assert (found.code, [leg.dial for stage in found.plan.stages for leg in stage]) == ("trunk", [TrunkDial(CARRIER, to)])
    reasons = [reason for reason in found.reasons if reason.code == "area_code"]
    local = dialled_as in {"4710200", "471 02 00", "5550123"}
    assert reasons == [Reason(ReasonCode.AREA_CODE, dialled_as, f"is {to}, by the account's area code")] * local


def test_an_emergency_call_is_no_local_number() -> None:
    for short in ("110", "112"):
        assert route(outgoing_call(short), outbound(COLOGNE), NOW).code == "emergency"


def test_an_unknown_account_makes_no_call() -> None:
    assert route(outgoing_call(MOBILE), Routing("DE"), NOW) == Decision(
        None,
        None,
        None,
        Plan(final=Hangup("CALL_REJECTED")),
        CallerId(None, None, CallerIdCode.CALLER_RECEIVED, as_received=True),
        ReasonCode.ACCOUNT_UNKNOWN,
        (Reason(ReasonCode.ACCOUNT_UNKNOWN, "acme", "is no account here"),),
    )


def test_without_a_trunk_to_it_a_number_has_no_route() -> None:
    assert route(outgoing_call(MOBILE), outbound(replace(ACME, routes=())), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        TO_MOBILE,
        Reason(ReasonCode.NO_TRUNK, f"external {MOBILE}", "left out: account acme has no trunk to it"),
        Reason(ReasonCode.EMPTY_PLAN, MOBILE, "cannot ring"),
    )


def test_a_loop_through_a_trunk_is_cut() -> None:
    assert route(replace(outgoing_call(MOBILE), hops=5), outbound(), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        TO_MOBILE,
        Reason(ReasonCode.HOP_LIMIT, f"external {MOBILE}", "left out: the call came through trunks 5 times, a loop"),
        Reason(ReasonCode.EMPTY_PLAN, MOBILE, "cannot ring"),
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_the_caller_of_a_direct_call_hears_how_the_called_side_ended_it(outcome: Outcome) -> None:
    expected = {
        cause: from_user(
            Plan(final=Hangup(cause or END_CAUSES[outcome])),
            INSIDE,
            TO_MOBILE,
            Reason(ReasonCode.CALL_FAILED, MOBILE, f"ended {outcome}"),
        )
        for cause in ("UNALLOCATED_NUMBER", "")
    }
    found = {cause: route(outgoing_call(MOBILE), outbound(), NOW, FailedPlan(None, outcome, cause)) for cause in expected}
    assert found == expected


# --- emergency and service numbers ------------------------------------------------------------------------


@pytest.mark.parametrize(("spelling", "to"), [("+112", "112"), ("+49112", "112"), ("0049110", "110"), ("49112", "112")])
def test_an_emergency_number_behind_a_calling_code_is_one(spelling: str, to: str) -> None:
    found = route(outgoing_call(spelling), outbound(SUSPENDED), NOW)
    assert found == route(outgoing_call(to), outbound(SUSPENDED), NOW)
    assert found.code == "emergency"


def test_the_american_test_number_is_an_emergency_number() -> None:
    american = replace(ACME, country="US", network_number="+12125550123")
    for spelling, to in (("911", "911"), ("933", "933"), ("+1911", "911")):
        found = route(outgoing_call(spelling), outbound(american), NOW)
        assert [leg.dial for stage in found.plan.stages for leg in stage] == [TrunkDial(CARRIER, to)]
        assert found.code == "emergency"


def test_an_emergency_call_of_nobody_is_refused_but_not_silently() -> None:
    assert route(outgoing_call("112"), Routing("DE"), NOW) == Decision(
        None,
        None,
        None,
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        CallerId(None, None, CallerIdCode.CALLER_RECEIVED, as_received=True),
        ReasonCode.ACCOUNT_UNKNOWN,
        (
            Reason(
                ReasonCode.EMERGENCY,
                "112",
                "is an emergency number, and without an account there is no trunk for it: fire brigade and ambulance "
                "(DE-tkg: TKG § 164 (1), NotrufV § 1, 2022-01-28)",
            ),
            Reason(ReasonCode.ACCOUNT_UNKNOWN, "acme", "is no account here"),
        ),
    )


@pytest.mark.parametrize("short", ["115", "124124", "11833"])
def test_a_service_number_leaves_as_it_was_dialled(short: str) -> None:
    assert route(outgoing_call(short), outbound(), NOW) == from_user(
        Plan(((outgoing_leg(short, SHOWS_LINE),),)),
        SHOWS_LINE,
        Reason(ReasonCode.TRUNK, short, "is not hosted here: to the telephone network"),
        Reason(ReasonCode.CALLER_ID, A, "is shown (network_number)"),
        code=ReasonCode.TRUNK,
        trunks=1,
    )


# --- numbers that must get through ------------------------------------------------------------------------

AUSTRIAN = replace(ACME, country="AT", network_number="+43662123456", status=AccountStatus.SUSPENDED)
EMERGENCIES = {
    "AT": "140 128 122 141 142 147",
    "ES": "061 062 080 091 092 1006",
    "FR": "15 114 115 119 191 196 116000 116111",
    "IT": "117 1530 1515 114",
    "CH": "143 145 147 1414 1415",
    "JP": "110 118 119",
    "BR": "190 191 194 197 198 199",
    "CA": "911 933",
    "HR": "192 195",
    "SK": "18300",
}


@pytest.mark.parametrize(("code", "dialled_"), [(code, text) for code, all_ in EMERGENCIES.items() for text in all_.split()])
def test_a_suspended_account_of_any_country_reaches_its_emergency_services(code: str, dialled_: str) -> None:
    """Whatever is asked for: it shows the line, and hides nothing."""
    account = replace(AUSTRIAN, country=code, presented_number=B, refusal=RefusedCallerId.REJECT)
    callee = replace(WORKSHOP, extension=dialled_)
    found = route(replace(outgoing_call(dialled_), anonymous=True), outbound(account, callee=callee), NOW)
    shown = CallerId(account.network_number, account.network_number, CallerIdCode.EMERGENCY)
    leg = outgoing_leg(dialled_, shown)
    assert found == from_user(Plan(((leg,),)), shown, emergency(dialled_, code), trunks=1)


@pytest.mark.parametrize(
    ("spelling", "shown"),
    [("116117", False), ("116 117", False), ("+49116117", False), ("0049 116117", False), ("116117", True)],
)
def test_a_protected_number_passes_for_a_suspended_account(spelling: str, shown: bool) -> None:
    """It comes before an extension, shows the line where the chosen number may not be shown, and takes every trunk."""
    mobiles = trunk("mobiles")
    routes = (TrunkRoute("+4917", 1, mobiles), TrunkRoute("+1", 2, CARRIER))
    account = replace(SUSPENDED, routes=routes, presented_number=MOBILE if shown else None)
    callee = replace(WORKSHOP, extension="116117")
    caller_id = CallerId(A, A, CallerIdCode.ACCOUNT_SUSPENDED if shown else CallerIdCode.NETWORK_NUMBER)
    found = route(outgoing_call(spelling), outbound(account, callee=callee), NOW)
    assert (found.code, found.plan, found.trunks) == ("trunk", Plan(((outgoing_leg("116117", caller_id, CARRIER),),)), 1)
    assert found.reasons[0] == protected("116117")
    failed = FailedPlan(None, Outcome.UNREACHABLE, "GATEWAY_DOWN", trunks=1)
    following = route(outgoing_call(spelling), outbound(account), NOW, failed)
    assert following.plan == Plan(((outgoing_leg("116117", caller_id, mobiles),),))


def test_who_hides_the_number_is_shown_to_a_doctor_and_not_to_a_crisis_line() -> None:
    for digits, shown in (
        ("116117", CallerId(A, A, CallerIdCode.NETWORK_NUMBER)),
        ("116123", CallerId(None, A, CallerIdCode.PRIVACY_REQUESTED)),
    ):
        found = route(replace(outgoing_call(digits), anonymous=True), outbound(SUSPENDED), NOW)
        assert [leg.caller_id for stage in found.plan.stages for leg in stage] == [shown]


def test_an_ordinary_service_number_is_barred_for_a_suspended_account() -> None:
    assert route(outgoing_call("115"), outbound(SUSPENDED), NOW).plan == Plan(final=Hangup("OUTGOING_CALL_BARRED"))


def test_a_service_number_is_barred_by_its_number_with_a_calling_code() -> None:
    barred = replace(ACME, permissions=(Permission("+4911", allowed=False),))
    assert route(outgoing_call("115"), outbound(barred), NOW).plan == Plan(final=Hangup("OUTGOING_CALL_BARRED"))


# --- where an account may call ----------------------------------------------------------------------------

PERMISSIONS: dict[str, tuple[tuple[Permission, ...], str, bool]] = {
    "a mobile": ((), MOBILE, True),
    "abroad": ((), "+33142681234", True),
    "premium": ((), "0900 1234567", False),
    "premium abroad": ((), "+43900123456", False),
    "satellite": ((), "+881612345678", False),
    "premium, allowed": ((Permission("+49900", allowed=True),), "0900 1234567", True),
    "everything allowed": ((Permission("+", allowed=True),), "+881612345678", True),
    "everything barred": ((Permission("+", allowed=False),), MOBILE, False),
    "the longest prefix": (
        (Permission("+", allowed=False), Permission("+49", allowed=True), Permission("+4917", allowed=False)),
        MOBILE,
        False,
    ),
    "the longest prefix, whatever the order": (
        (Permission("+4917", allowed=True), Permission("+49", allowed=False)),
        MOBILE,
        True,
    ),
    "112, everything barred": ((Permission("+", allowed=False),), "112", True),
    "116117, everything barred": ((Permission("+", allowed=False),), "116117", True),
    "116117, barred by itself": ((Permission("+49116", allowed=False),), "116117", True),
    "115, everything barred": ((Permission("+", allowed=False),), "115", False),
}


@pytest.mark.parametrize(("permissions", "to", "allowed"), PERMISSIONS.values(), ids=PERMISSIONS.keys())
def test_an_account_calls_where_it_may(permissions: tuple[Permission, ...], to: str, allowed: bool) -> None:
    found = route(outgoing_call(to), outbound(replace(ACME, permissions=permissions)), NOW)
    assert found.plan.final == (None if allowed else Hangup("OUTGOING_CALL_BARRED"))
    assert ("destination_barred" in [reason.code for reason in found.reasons]) is not allowed


# --- which number a user's call shows ---------------------------------------------------------------------

SHOWN = "+498999998123"
NOT_SHOWN = Reason(CallerIdCode.NOT_VERIFIED, SHOWN, "may not be shown: was never verified for the account")


def test_a_call_that_may_not_show_its_number_is_ended_with_the_reason() -> None:
    assert route(replace(outgoing_call(MOBILE), presented=SHOWN), outbound(), NOW) == from_user(
        Plan(final=Hangup("CALL_REJECTED")), CallerId(None, None, CallerIdCode.NOT_VERIFIED), TO_MOBILE, NOT_SHOWN
    )


def test_or_shows_the_network_number_with_the_reason_if_the_account_wants_that() -> None:
    account = replace(ACME, refusal=RefusedCallerId.NETWORK_NUMBER)
    shown = CallerId(A, A, CallerIdCode.NOT_VERIFIED)
    assert route(replace(outgoing_call(MOBILE), presented=SHOWN), outbound(account), NOW) == from_user(
        Plan(((outgoing_leg(MOBILE, shown),),)),
        shown,
        TO_MOBILE,
        NOT_SHOWN,
        Reason(ReasonCode.CALLER_ID, A, "is shown (not_verified)"),
        code=ReasonCode.TRUNK,
        trunks=1,
    )


def test_another_account_s_phones_do_not_see_who_hides() -> None:
    other = account("other", network_number=B)
    tables = outbound(numbers=(hosted(RING, account=other),))
    found = route(replace(outgoing_call(A), anonymous=True), tables, NOW)
    assert {leg.caller_id for stage in found.plan.stages for leg in stage} == {
        CallerId(None, A, CallerIdCode.PRIVACY_REQUESTED)
    }


def test_another_account_s_phones_see_what_the_telephone_network_would() -> None:
    other = account("other", network_number=B)
    owned = NumberFacts("acme")
    tables = replace(outbound(numbers=(hosted(RING, account=other),)), facts={C: owned})
    found = [route(replace(outgoing_call(A), presented=wish), tables, NOW) for wish in (C, SHOWN)]
    assert {leg.caller_id for stage in found[0].plan.stages for leg in stage} == {CallerId(C, A, CallerIdCode.OWN_NUMBER)}
    assert (found[1].plan, found[1].code) == (Plan(final=Hangup("CALL_REJECTED")), "not_verified")


def test_another_account_s_phones_do_not_see_an_extension_for_want_of_a_line() -> None:
    other = account("other", network_number=B)
    tables = outbound(replace(ACME, network_number=None), numbers=(hosted(RING, account=other),))
    found = route(outgoing_call(A), tables, NOW)
    assert {leg.caller_id.presented for stage in found.plan.stages for leg in stage} == {None}


# --- incoming calls that the law ends or hides ------------------------------------------------------------

DE_5 = regulation.rules_for("DE").rules["DE-5"].text
DE_7 = regulation.rules_for("DE").rules["DE-7"].text


def test_an_incoming_call_with_an_emergency_number_is_ended() -> None:
    assert asked(ALL, call=Call("02214710100", "112")) == Decision(
        A,
        "acme",
        None,
        Plan(final=Hangup("CALL_REJECTED")),
        CallerId(None, None, CallerIdCode.CALLER_CLASS_BANNED),
        CallerIdCode.CALLER_CLASS_BANNED,
        (Reason(CallerIdCode.CALLER_CLASS_BANNED, "112", f"{DE_5} (DE-6)"),),
    )


@pytest.mark.parametrize("caller", ["+49221", "0049221", "+49 22"])
def test_a_german_number_from_a_foreign_trunk_is_hidden_also_when_it_is_impossible(caller: str) -> None:
    abroad = replace(CARRIER, name="abroad", is_foreign=True)
    found = route(Call(A, caller, trunk="abroad", from_user=caller), replace(routing_of(ALL), trunk=abroad), NOW)
    assert found.caller_id == CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS)
    assert "caller_from_foreign_trunk" in {reason.code for reason in found.reasons}


def test_a_german_number_from_a_foreign_trunk_is_hidden_from_phones_rules_and_mobiles() -> None:
    """Rules see an anonymous caller, phones too, and whoever the call is sent on to."""
    hidden = rule(1, GENERAL, group_target("1001"), external_target(MOBILE, caller_id=SHOW_ORIGINAL))
    of = replace(hidden, mode=PARALLEL, anonymous=True)
    foreign = replace(routing_of(hosted(of)), trunk=replace(CARRIER, is_foreign=True))
    found = route(Call("02214710100", CALLER), foreign, NOW)
    nobody = CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS)
    seen = CallerId(None, A, CallerIdCode.ORIGINAL_CALLER_ANONYMOUS)
    mobile = trunk_leg(MOBILE, caller_id=seen, ring_s=25, confirm=True, diversion=DIVERSION)
    assert found == Decision(
        A,
        "acme",
        of,
        Plan(((phone_leg("1001", ring_s=25, caller_id=nobody), mobile),)),
        nobody,
        ReasonCode.ROUTED,
        (
            Reason(CallerIdCode.CALLER_FROM_FOREIGN_TRUNK, CALLER, f"is hidden: {DE_7} (DE-7)"),
            matched(of),
            Reason(ReasonCode.CALLER_ID, f"external {MOBILE}", "is shown no number (original_caller_anonymous)"),
        ),
    )


# --- forwarded legs ---------------------------------------------------------------------------------------


def sent_on(mode: str, account: Account = ACME, hops: int = 0) -> Decision:
    of = rule(1, GENERAL, external_target(MOBILE, caller_id=forwarded_caller_id(mode)), number=B)
    tables = routing_of(hosted(of, number=B, account=account))
    return route(Call(B, CALLER, hops=hops), tables, NOW)


def forwarded_leg(shown: CallerId, reason: str = "unconditional", hops: int = 1) -> Leg:
    return replace(outgoing_leg(MOBILE, shown), ring_s=20, hops=hops, diversion=Diversion(B, reason, hops))


def test_a_forwarded_leg_names_the_number_that_diverted_it() -> None:
    found = {hops: sent_on("own", hops=hops).plan.stages for hops in (0, 3)}
    shown = CallerId(B, A, CallerIdCode.OWN_NUMBER)
    assert found == {hops: ((forwarded_leg(shown, hops=hops + 1),),) for hops in (0, 3)}


@pytest.mark.parametrize(
    ("type_", "reason"),
    [(BUSY, "user-busy"), (NO_ANSWER, "no-answer"), (UNREACHABLE, "unavailable"), (BASE, "no-answer")],
)
def test_and_why(type_: RuleType, reason: str) -> None:
    of = rule(2, type_, external_target(MOBILE), number=B)
    first = rule(1, GENERAL, group_target("1001"), number=B)
    tables = routing_of(hosted(first, of, number=B))
    outcome = {BUSY: Outcome.BUSY, UNREACHABLE: Outcome.UNREACHABLE}.get(type_, Outcome.NO_ANSWER)
    found = route(Call(B, CALLER), tables, NOW, FailedPlan(first.key, outcome))
    assert found.plan.stages == ((forwarded_leg(CallerId(B, A, CallerIdCode.OWN_NUMBER), reason),),)


def test_a_forwarded_leg_that_may_not_show_its_number_is_left_out_with_the_reason() -> None:
    found = sent_on(f"verified:{SHOWN}")
    text = f"left out: verified:{SHOWN} may not be shown: was never verified for the account"
    assert found.plan == Plan(final=Hangup("SUBSCRIBER_ABSENT"))
    assert Reason(CallerIdCode.NOT_VERIFIED, f"external {MOBILE}", text) in found.reasons


def test_or_shows_the_network_number_with_the_reason() -> None:
    found = sent_on(f"verified:{SHOWN}", replace(ACME, refusal=RefusedCallerId.NETWORK_NUMBER))
    text = f"is not shown verified:{SHOWN}: was never verified for the account"
    assert found.plan.stages == ((forwarded_leg(CallerId(A, A, CallerIdCode.NOT_VERIFIED)),),)
    assert found.reasons[1:] == (
        Reason(CallerIdCode.NOT_VERIFIED, f"external {MOBILE}", text),
        Reason(ReasonCode.CALLER_ID, f"external {MOBILE}", f"is shown {A} (not_verified)"),
    )


# --- trunks that fail -------------------------------------------------------------------------------------

ONE, TWO, THREE, OFF = trunk("one"), trunk("two"), trunk("three"), replace(trunk("off"), enabled=False)
MANY = replace(
    ACME,
    routes=(
        TrunkRoute("+", 1, THREE),
        TrunkRoute("+49", 1, TWO),
        TrunkRoute("+49", 2, OFF),
        TrunkRoute("+491", 1, ONE),
        TrunkRoute("+49", 3, ONE),
    ),
)


def tried(cause: str, trunks: int, outcome: Outcome = Outcome.UNREACHABLE) -> Decision:
    return route(outgoing_call(MOBILE), outbound(MANY), NOW, FailedPlan(None, outcome, cause, trunks))


@pytest.mark.parametrize("cause", sorted(TRUNK_FAILURES))
def test_a_trunk_that_fails_is_followed_by_the_next_one_each_once(cause: str) -> None:
    first = route(outgoing_call(MOBILE), outbound(MANY), NOW)
    found = [first, *(tried(cause, trunks) for trunks in (1, 2, 3))]
    assert [[leg.dial for stage in each.plan.stages for leg in stage] for each in found] == [
        [TrunkDial(ONE, MOBILE)],
        [TrunkDial(TWO, MOBILE)],
        [TrunkDial(THREE, MOBILE)],
        [],
    ]
    assert [each.trunks for each in found] == [1, 2, 3, 0]
    assert found[-1].plan.final == Hangup(cause)


CALLEE_S: dict[str, Outcome] = {
    "USER_BUSY": Outcome.BUSY,
    "NO_ANSWER": Outcome.NO_ANSWER,
    "ALLOTTED_TIMEOUT": Outcome.NO_ANSWER,
    "CALL_REJECTED": Outcome.BUSY,
    "NORMAL_CLEARING": Outcome.NO_ANSWER,
    "UNALLOCATED_NUMBER": Outcome.UNREACHABLE,
    "NO_USER_RESPONSE": Outcome.UNREACHABLE,
    "SUBSCRIBER_ABSENT": Outcome.UNREACHABLE,
    "INVALID_NUMBER_FORMAT": Outcome.UNREACHABLE,
    "OUTGOING_CALL_BARRED": Outcome.UNREACHABLE,
}


@pytest.mark.parametrize(("cause", "outcome"), CALLEE_S.items())
def test_what_the_callee_did_is_no_reason_for_another_trunk(cause: str, outcome: Outcome) -> None:
    found = tried(cause, 1, outcome)
    assert (found.plan, found.code) == (Plan(final=Hangup(cause)), "call_failed")


def test_the_caller_hears_the_last_cause_when_the_second_trunk_says_busy() -> None:
    assert tried("USER_BUSY", 2, Outcome.BUSY).plan == Plan(final=Hangup("USER_BUSY"))


@given(
    st.integers(0, 10**9), st.sampled_from([*sorted(TRUNK_FAILURES), *CALLEE_S, "", "ANYTHING"]), st.sampled_from(Outcome)
)
def test_any_count_that_comes_back_is_a_decision(trunks: int, cause: str, outcome: Outcome) -> None:
    found = tried(cause, trunks, outcome)
    assert found.plan.stages or found.plan.final
    assert found.trunks in (0, trunks + 1)


# --- any tables -------------------------------------------------------------------------------------------

NUMBERS = tuple(f"+49221471010{i}" for i in range(4))
EXTERNALS = (MOBILE, "+33142681234", "+12125550123", NUMBERS[0])
VERIFIED = "+498999998123"
LATER = NOW + timedelta(hours=12)
FACTS = {VERIFIED: facts(verification(VERIFIED, expires_at=NOW + timedelta(hours=1)))}
"""Verified now, and not any more LATER."""

PHONES = tuple(f"{1000 + i}" for i in range(8))
OFF_PHONES = PHONES[-2:]
OFF_TRUNK = trunk("off", country="FR", enabled=False)
HOST = replace(ACME, routes=(TrunkRoute("+49", 1, CARRIER), TrunkRoute("+33", 1, OFF_TRUNK)))
CROWD = endpoints(*(f"{2000 + i}" for i in range(130)))

_ring_s = st.none() | st.integers(1, 60)
_endpoints = st.lists(st.sampled_from(PHONES), max_size=5).map(
    lambda names: endpoints(*names, off=OFF_PHONES)
) | st.integers(0, 129).map(lambda first: CROWD[first:])


def _targets(kinds: st.SearchStrategy[TargetKind]) -> st.SearchStrategy[Target]:
    return kinds.flatmap(
        lambda kind: st.builds(
            Target,
            st.just(1),
            st.just(kind),
            _VALUES[kind],
            _endpoints if kind in _RINGING else st.just(()),
            st.sampled_from([0, 0, 5, 30]),
            _ring_s,
            st.none() | st.booleans() if kind is TargetKind.EXTERNAL else st.none(),
            st.sampled_from([True, True, True, False]),
            st.sampled_from([SHOW_OWN, SHOW_OWN, SHOW_ORIGINAL, ShowVerified(VERIFIED)])
            if kind is TargetKind.EXTERNAL
            else st.just(SHOW_OWN),
        )
    )


_RINGING = [kind for kind in TargetKind if kind.leads_to is LeadsTo.ENDPOINTS]
_VALUES: dict[TargetKind, st.SearchStrategy[str]] = {
    **dict.fromkeys(TargetKind, st.just("name")),
    TargetKind.EXTERNAL: st.sampled_from(EXTERNALS),
    TargetKind.HOSTED: st.sampled_from(NUMBERS),
}
_KINDS = st.sampled_from([*TargetKind, *[TargetKind.HOSTED] * 4])


@st.composite
def tables(draw: st.DrawFn) -> dict[str, HostedNumber]:
    found = {}
    for number in NUMBERS:
        types = draw(st.lists(st.sampled_from([GENERAL, *RuleType]), max_size=5))
        types = [each for i, each in enumerate(types) if each is not BASE or BASE not in types[:i]]
        rules = tuple(
            Rule(
                number,
                position,
                type_,
                draw(st.sampled_from(Mode)),
                draw(_ring_s),
                draw(st.none() | st.booleans()) if type_ is not BASE else None,
                draw(st.sampled_from([None, None, None, OFFICE_HOURS])) if type_ is not BASE else None,
                draw(st.sampled_from([(), (), (), (CALLER,)])) if type_ is not BASE else (),
                targets=tuple(draw(st.lists(_targets(_KINDS), max_size=3))),
                enabled=draw(st.sampled_from([True, True, True, False])),
            )
            for position, type_ in enumerate(types, 1)
        )
        status = draw(st.sampled_from([AccountStatus.ACTIVE] * 4 + [AccountStatus.SUSPENDED]))
        enabled = draw(st.sampled_from([True, True, True, False]))
        found[number] = HostedNumber(number, replace(HOST, status=status), rules, enabled)
    return found


def _check(decision: Decision) -> None:
    plan = decision.plan
    assert plan.stages or plan.final
    assert len(plan.stages) <= 128
    for stage in plan.stages:
        dials = [leg.dial for leg in stage]
        assert len(dials) == len(set(dials))
        assert 1 <= len(stage) <= 128
        assert all(leg.ring_s >= 1 and leg.start_s >= 0 for leg in stage)
        assert not any(isinstance(dial, EndpointDial) and dial.user in OFF_PHONES for dial in dials)
        assert not any(isinstance(dial, TrunkDial) and dial.trunk == OFF_TRUNK for dial in dials)
        assert not any(isinstance(dial, TrunkDial) and dial.number in NUMBERS for dial in dials)
    rule = decision.rule
    if rule is not None:
        assert rule.enabled or not plan.stages  # one that was switched off while it rang still has its last target
        if rule.ring_s is not None and rule.mode is PARALLEL:
            assert all(leg.end_s <= rule.ring_s for stage in plan.stages for leg in stage)
        if rule.ring_s is not None and rule.mode is SEQUENTIAL:
            assert sum(max(leg.end_s for leg in stage) for stage in plan.stages) <= rule.ring_s
    if decision.code == "routed":
        assert decision.rule is not None


@settings(max_examples=150, deadline=None)
@given(tables(), st.booleans(), st.integers(0, 6), st.lists(st.sampled_from(Outcome), min_size=6, max_size=6))
def test_any_call_comes_to_an_end_in_any_tables(
    numbers: dict[str, HostedNumber], anonymous: bool, hops: int, outcomes: list[Outcome]
) -> None:
    """Each outcome of a plan leads on, and after six plans at most to one that does not ring."""
    call = Call(NUMBERS[0], CALLER, anonymous=anonymous, hops=hops)
    routing = Routing("DE", NUMBERS[0], numbers)
    decision = route(call, routing, NOW)
    _check(decision)
    for outcome in outcomes:
        if not decision.plan.stages:
            break
        decision = route(call, routing, NOW, FailedPlan(decision.rule.key if decision.rule else None, outcome))
        _check(decision)
    assert not decision.plan.stages


@settings(max_examples=150, deadline=None)
@given(tables(), st.integers(0, 6), st.lists(st.sampled_from(Outcome), min_size=6, max_size=6))
def test_an_extension_leads_where_its_number_leads_a_colleague_to_the_end(
    numbers: dict[str, HostedNumber], hops: int, outcomes: list[Outcome]
) -> None:
    hosted = numbers[NUMBERS[0]]
    by_number = replace(outgoing_call(NUMBERS[0]), hops=hops)
    routing = Routing("DE", NUMBERS[0], numbers, hosted.account, RECEPTION)
    tables, by_extension = replace(routing, callee=WORKSHOP), replace(by_number, destination="12")
    expected, found = route(by_number, routing, NOW), route(by_extension, tables, NOW)
    if hosted.account.status is AccountStatus.SUSPENDED:
        assert found == expected
        return
    if not hosted.rules or not hosted.enabled or expected.code == "no_rule":
        assert (found.code, found.rule) == ("extension", None)
        return
    for outcome in outcomes:
        assert replace(found, reasons=()) == replace(expected, reasons=())
        if not found.plan.stages or found.rule is None:
            break
        failed = FailedPlan(found.rule.key, outcome)
        expected, found = route(by_number, routing, NOW, failed), route(by_extension, tables, NOW, failed)


@settings(deadline=None)
@given(tables(), st.sampled_from(Outcome), st.builds(RuleKey, st.sampled_from([*NUMBERS, C]), st.integers(1, 9)))
def test_a_decision_after_any_rule_is_one(numbers: dict[str, HostedNumber], outcome: Outcome, key: RuleKey) -> None:
    """FreeSWITCH hands the key back; whatever has become of the tables since, there is an answer."""
    routing = Routing("DE", NUMBERS[0], numbers)
    _check(route(Call(NUMBERS[0], CALLER), routing, NOW, FailedPlan(key, outcome)))


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(Direction), st.booleans())
def test_any_text_dialled_by_anybody_is_decided(to: str, caller: str, direction: Direction, hidden: bool) -> None:
    call = Call(to, caller, direction=direction, anonymous=hidden, account="acme")
    _check(route(call, Routing("DE", account=ACME), NOW))


_calls = st.builds(
    Call,
    st.just(NUMBERS[0]),
    st.sampled_from([CALLER, "+442079460018", "alice", "110"]),
    anonymous=st.booleans(),
    hops=st.sampled_from([0, 0, 1, 4, 5]),
)
_failed = st.none() | st.builds(
    FailedPlan, st.builds(RuleKey, st.sampled_from(NUMBERS), st.integers(1, 5)), st.sampled_from(Outcome)
)


@st.composite
def ringing_tables(draw: st.DrawFn) -> dict[str, HostedNumber]:
    """Tables in which each number rings somebody, or says why not."""
    kinds = st.sampled_from([TargetKind.EXTERNAL, TargetKind.EXTERNAL, TargetKind.RING_GROUP, TargetKind.HOSTED])
    targets = st.lists(_targets(kinds), min_size=1, max_size=4)
    return {
        number: HostedNumber(
            number,
            HOST,
            tuple(
                Rule(number, position, type_, draw(st.sampled_from(Mode)), callers=callers, targets=tuple(draw(targets)))
                for position, (type_, callers) in enumerate([(GENERAL, (CALLER,)), (GENERAL, ()), (BUSY, ()), (BASE, ())], 1)
            ),
        )
        for number in NUMBERS[:2]
    }


@settings(max_examples=100, deadline=None)
@given(
    tables() | ringing_tables(),
    st.lists(st.tuples(_calls, st.sampled_from([NOW, LATER]), _failed, st.sampled_from([2, 5])), min_size=6, max_size=12),
)
def test_what_was_planned_for_other_calls_changes_nothing(
    numbers: dict[str, HostedNumber], calls: list[tuple[Call, datetime, FailedPlan | None, int]]
) -> None:
    """Plans are kept with what was read. Each call gets what it would get if nothing were kept."""
    routing = Routing("DE", NUMBERS[0], numbers, facts=FACTS)
    for call, now, failed, hop_limit in calls:
        assert route(call, routing, now, failed, hop_limit) == route(call, replace(routing), now, failed, hop_limit)


def test_a_plan_is_made_once_for_all_callers() -> None:
    routing = routing_of(hosted(rule(1, GENERAL, group_target("1001"), external_target(MOBILE))))
    first, second = (route(Call(A, caller), routing, NOW).plan for caller in (CALLER, "+442079460018"))
    assert first is second


def test_no_more_plans_are_kept_than_callers_can_not_make_up() -> None:
    routing = routing_of(hosted(rule(1, GENERAL, group_target("1001"))))
    for hops in range(99):
        route(Call(A, CALLER, hops=hops), routing, NOW)
    assert len(routing.plans) == 32


@pytest.mark.parametrize("mode", ["own", "original", f"verified:{VERIFIED}"])
def test_what_a_forwarded_leg_shows_is_decided_for_each_call(mode: str) -> None:
    sent = external_target(MOBILE, caller_id=forwarded_caller_id(mode))
    routing = replace(
        routing_of(hosted(rule(1, GENERAL, sent), account=replace(ACME, refusal=RefusedCallerId.NETWORK_NUMBER))),
        facts=FACTS,
    )
    for caller, now, hop_limit in ((CALLER, NOW, 5), ("+442079460018", NOW, 5), (CALLER, LATER, 5), (CALLER, NOW, 2)):
        call = Call(A, caller, hops=3)
        anew = replace(routing)
        assert route(call, routing, now, None, hop_limit) == route(call, anew, now, None, hop_limit)
