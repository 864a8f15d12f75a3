"""Whole decisions, and what holds for the decision of any call in any tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsroute.model import (
    Account,
    AccountStatus,
    Announcement,
    Call,
    CallerId,
    Decision,
    Direction,
    Endpoint,
    EndpointDial,
    Failed,
    Hangup,
    HostedNumber,
    Leg,
    Mode,
    Outcome,
    Plan,
    Reason,
    Routing,
    Rule,
    RuleKey,
    RuleType,
    Target,
    TargetKind,
    Trunk,
    TrunkDial,
    TrunkRoute,
    User,
    Voicemail,
)
from fsroute.router import END_CAUSES, route

A, B, C = "+492214710100", "+492214710200", "+492214710300"
CALLER, MOBILE = "+493023125001", "+491713920042"
NOW = datetime(2026, 3, 16, 11, 0, tzinfo=UTC)
GENERAL, BUSY, NO_ANSWER, UNREACHABLE, BASE = RuleType
PARALLEL, SEQUENTIAL = Mode.PARALLEL, Mode.SEQUENTIAL

CARRIER = Trunk("carrier", "carrier", "DE")
ACME = Account("acme", "DE", "Europe/Berlin", "acme.example", network_number=A, routes=(TrunkRoute("+", 1, CARRIER),))
SUSPENDED = replace(ACME, status=AccountStatus.SUSPENDED)

RECEIVED = CallerId(CALLER, None, "caller_received", as_received=True)
FORWARDED = CallerId(A, A, "own_number")


def phones(*names: str, enabled: bool = True) -> Target:
    return Target(1, TargetKind.RING_GROUP, "sales", tuple(Endpoint(name, "acme.example", enabled) for name in names))


def target(kind: TargetKind, value: str) -> Target:
    return Target(1, kind, value)


VOICEMAIL = target(TargetKind.VOICEMAIL, "1001")
CLOSED = target(TargetKind.ANNOUNCEMENT, "fsroute/closed.wav")
NOBODY = phones("1009", enabled=False)


def rule(position: int, type_: RuleType, *targets: Target, number: str = A, mode: Mode = SEQUENTIAL) -> Rule:
    return Rule(number, position, type_, mode, targets=targets)


def hosted(*rules: Rule, number: str = A, account: Account = ACME, enabled: bool = True) -> HostedNumber:
    return HostedNumber(number, account, rules, enabled)


def inbound(*numbers: HostedNumber) -> Routing:
    return Routing("DE", numbers[0].number, {number.number: number for number in numbers})


def phone(name: str, ring_s: int = 20, caller_id: CallerId = RECEIVED) -> Leg:
    return Leg(f"endpoint {name}", EndpointDial(name, "acme.example"), caller_id, ring_s=ring_s)


def ring(*names: str) -> Plan:
    """One stage of phones."""
    return Plan((tuple(phone(name) for name in names),))


def decided(of: Rule, plan: Plan, *reasons: Reason) -> Decision:
    """By a rule of a number that somebody called from outside."""
    return Decision(A, "acme", of, plan, RECEIVED, "routed", reasons)


def ended(cause: str, *reasons: Reason, number: str | None = A, account: str | None = "acme") -> Decision:
    """Without a rule, for the last reason."""
    return Decision(number, account, None, Plan(final=Hangup(cause)), RECEIVED, reasons[-1].code, reasons)


def matched(of: Rule) -> Reason:
    return Reason("rule_matched", str(of), "applies")


def last_resort(of: Rule) -> Reason:
    return Reason("base_rule", str(of), "the last resort applies")


def off(name: str = "endpoint 1009") -> Reason:
    return Reason("endpoint_disabled", name, "left out: is switched off")


def empty(of: Rule) -> Reason:
    return Reason("empty_plan", str(of), "nothing of it can ring")


def exhausted(outcome: Outcome) -> Reason:
    return Reason("rules_exhausted", A, f"{outcome}, and no rule follows")


def asked(*numbers: HostedNumber, failed: Failed | None = None, call: Call | None = None) -> Decision:
    return route(call or Call("02214710100", CALLER), inbound(*numbers), NOW, failed)


# --- inbound ----------------------------------------------------------------------------------------------

RING = rule(1, GENERAL, phones("1001", "1002"))
ON_BUSY = rule(2, BUSY, phones("1003"))
ON_NO_ANSWER = rule(3, NO_ANSWER, phones("1004"))
ON_UNREACHABLE = rule(4, UNREACHABLE, phones("1005"))
LAST = rule(9, BASE, VOICEMAIL)
ALL = hosted(RING, ON_BUSY, ON_NO_ANSWER, ON_UNREACHABLE, LAST)


def test_a_call_rings_what_its_rule_says() -> None:
    assert asked(ALL) == decided(RING, ring("1001", "1002"), matched(RING))


def test_an_external_number_sees_the_number_that_was_dialled() -> None:
    of = rule(1, GENERAL, phones("1001"), target(TargetKind.EXTERNAL, MOBILE), mode=PARALLEL)
    mobile = Leg(f"external {MOBILE}", TrunkDial("carrier", MOBILE), FORWARDED, ring_s=25, confirm=True, hops=1)
    assert asked(hosted(of)) == decided(of, Plan(((phone("1001", 25), mobile),)), matched(of))


def test_a_phone_sees_an_anonymous_caller_as_one() -> None:
    call = Call("02214710100", CALLER, anonymous=True)
    hidden = CallerId(None, None, "caller_anonymous")
    expected = Plan(((phone("1001", caller_id=hidden), phone("1002", caller_id=hidden)),))
    assert asked(ALL, call=call) == Decision(A, "acme", RING, expected, hidden, "routed", (matched(RING),))


def test_an_unknown_number_is_unallocated() -> None:
    call = Call("+492214719999", CALLER)
    assert route(call, Routing("DE"), NOW) == ended(
        "UNALLOCATED_NUMBER",
        Reason("number_unknown", "+492214719999", "is no number here"),
        number=None,
        account=None,
    )


def test_a_number_that_is_switched_off_is_unallocated() -> None:
    assert asked(replace(ALL, enabled=False)) == ended("UNALLOCATED_NUMBER", Reason("number_disabled", A, "is switched off"))


def test_a_suspended_account_is_not_called() -> None:
    assert asked(replace(ALL, account=SUSPENDED)) == ended(
        "CALL_REJECTED", Reason("account_suspended", "acme", "is suspended")
    )


def test_a_number_without_a_rule_for_the_call_has_no_route() -> None:
    assert asked(hosted(ON_BUSY)) == ended("NO_ROUTE_DESTINATION", Reason("no_rule", A, "has no rule for this call"))


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
    assert asked(ALL, failed=Failed(rang.key, outcome)) == decided(of, plan, reason)


@pytest.mark.parametrize("outcome", Outcome)
def test_the_base_rule_follows_every_outcome_that_has_no_rule(outcome: Outcome) -> None:
    assert asked(hosted(RING, LAST), failed=Failed(RING.key, outcome)) == decided(
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
    assert asked(hosted(RING), failed=Failed(RING.key, outcome)) == ended(cause, exhausted(outcome))


@pytest.mark.parametrize("outcome", Outcome)
def test_a_rule_s_own_last_target_comes_before_every_other_rule(outcome: Outcome) -> None:
    of = rule(1, GENERAL, phones("1001"), CLOSED)
    tables = hosted(of, ON_BUSY, ON_NO_ANSWER, ON_UNREACHABLE, LAST)
    announcement = Announcement("fsroute/closed.wav")
    assert asked(tables) == decided(of, Plan(((phone("1001"),),), announcement), matched(of))
    assert asked(tables, failed=Failed(of.key, outcome)) == decided(
        of,
        Plan(final=announcement),
        Reason("final_target", str(of), "nobody answered: its last target follows"),
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
    assert asked(hosted(RING, nobody), failed=Failed(RING.key, Outcome.BUSY)) == ended(
        "USER_BUSY", matched(nobody), off(), empty(nobody), exhausted(Outcome.BUSY)
    )


def test_the_base_rule_follows_a_rule_that_was_deleted_while_it_rang() -> None:
    gone = RuleKey(A, 7)
    assert asked(hosted(RING, LAST), failed=Failed(gone, Outcome.BUSY)) == decided(
        LAST,
        Plan(final=Voicemail("1001", "acme.example")),
        Reason("rule_gone", str(gone), "was deleted while it rang"),
        last_resort(LAST),
    )
    assert asked(hosted(RING), failed=Failed(gone, Outcome.BUSY)) == ended(
        "USER_BUSY", Reason("rule_gone", str(gone), "was deleted while it rang"), exhausted(Outcome.BUSY)
    )


# --- what follows of other numbers ------------------------------------------------------------------------

TO_B = rule(1, GENERAL, target(TargetKind.HOSTED, B))
B_RINGS = rule(1, GENERAL, phones("1001"), number=B)
B_BUSY = rule(2, BUSY, phones("1003"), number=B)
B_LAST = rule(9, BASE, VOICEMAIL, number=B)
NUMBER_B = hosted(B_RINGS, B_BUSY, B_LAST, number=B)


def test_a_number_that_only_leads_to_another_one_has_what_follows_there() -> None:
    a = hosted(TO_B)
    assert asked(a, NUMBER_B) == decided(TO_B, ring("1001"), matched(TO_B), matched(B_RINGS))
    assert asked(a, NUMBER_B, failed=Failed(TO_B.key, Outcome.BUSY)) == decided(B_BUSY, ring("1003"), matched(B_BUSY))
    assert asked(a, NUMBER_B, failed=Failed(TO_B.key, Outcome.NO_ANSWER)) == decided(
        B_LAST, Plan(final=Voicemail("1001", "acme.example")), last_resort(B_LAST)
    )
    assert asked(a, NUMBER_B, failed=Failed(B_BUSY.key, Outcome.BUSY)) == decided(
        B_LAST, Plan(final=Voicemail("1001", "acme.example")), last_resort(B_LAST)
    )


def test_its_own_base_rule_comes_first() -> None:
    last = rule(9, BASE, CLOSED)
    assert asked(hosted(TO_B, last), NUMBER_B, failed=Failed(TO_B.key, Outcome.BUSY)) == decided(
        last, Plan(final=Announcement("fsroute/closed.wav")), last_resort(last)
    )


def test_two_numbers_do_not_send_a_caller_round_in_circles() -> None:
    """B's rule for busy leads back to A; after it nothing of A follows once more."""
    back = rule(2, BUSY, target(TargetKind.HOSTED, A), phones("1004"), number=B)
    tables = hosted(TO_B), hosted(B_RINGS, back, number=B)
    assert asked(*tables, failed=Failed(TO_B.key, Outcome.BUSY)) == decided(
        back,
        ring("1004"),
        matched(back),
        matched(TO_B),
        Reason("loop", f"number {B}", "left out: the call has already been there"),
        empty(TO_B),
    )
    assert asked(*tables, failed=Failed(back.key, Outcome.BUSY)) == ended("USER_BUSY", exhausted(Outcome.BUSY))


def test_what_follows_is_taken_from_other_numbers_only_once() -> None:
    """B's last resort leads to C; when it fails too, C's rule for busy is not for a caller of A any more."""
    last = rule(9, BASE, target(TargetKind.HOSTED, C), number=B)
    c_rings, c_busy = rule(1, GENERAL, phones("1004"), number=C), rule(2, BUSY, phones("1005"), number=C)
    tables = hosted(TO_B), hosted(B_RINGS, last, number=B), hosted(c_rings, c_busy, number=C)
    assert asked(*tables, failed=Failed(TO_B.key, Outcome.BUSY)) == decided(
        last, ring("1004"), last_resort(last), matched(c_rings)
    )
    assert asked(*tables, failed=Failed(last.key, Outcome.BUSY)) == ended("USER_BUSY", exhausted(Outcome.BUSY))


def test_a_rule_of_another_number_that_was_deleted_leads_back_to_the_base_rule() -> None:
    last = rule(9, BASE, CLOSED)
    gone = RuleKey(C, 1)
    assert asked(hosted(TO_B, last), NUMBER_B, failed=Failed(gone, Outcome.BUSY)) == decided(
        last,
        Plan(final=Announcement("fsroute/closed.wav")),
        Reason("rule_gone", str(gone), "was deleted while it rang"),
        last_resort(last),
    )


# --- outbound ---------------------------------------------------------------------------------------------

RECEPTION = User("reception", "11", (Endpoint("1001", "acme.example"), Endpoint("1002", "acme.example")))
WORKSHOP = User("workshop", "12", (Endpoint("1003", "acme.example"), Endpoint("1009", "acme.example", enabled=False)))
INSIDE = CallerId("11", None, "internal_extension")
LINE = CallerId(A, A, "network_number")
IN_EMERGENCY = CallerId(A, A, "emergency")


def dialled(destination: str) -> Call:
    return Call(destination, "1001", direction=Direction.OUTBOUND, account="acme", user="reception")


def outbound(
    account: Account | None = ACME, *, callee: User | None = None, numbers: tuple[HostedNumber, ...] = ()
) -> Routing:
    return Routing(
        "DE",
        numbers[0].number if numbers else None,
        {number.number: number for number in numbers},
        account,
        RECEPTION,
        callee,
    )


def trunk_leg(to: str, caller_id: CallerId, gateway: str = "carrier") -> Leg:
    return Leg(f"external {to}", TrunkDial(gateway, to), caller_id, ring_s=120, hops=1)


def from_user(
    plan: Plan, caller_id: CallerId, *reasons: Reason, code: str | None = None, account: str | None = "acme"
) -> Decision:
    return Decision(None, account, None, plan, caller_id, code or reasons[-1].code, reasons)


@pytest.mark.parametrize("account", [ACME, SUSPENDED])
@pytest.mark.parametrize(
    ("spelling", "to"), [("110", "110"), ("112", "112"), ("sip:112@acme.example", "112"), ("1 1 2", "112")]
)
def test_an_emergency_call_passes_whatever_the_account_s_state(account: Account, spelling: str, to: str) -> None:
    assert route(dialled(spelling), outbound(account), NOW) == from_user(
        Plan(((trunk_leg(to, IN_EMERGENCY),),)),
        IN_EMERGENCY,
        Reason("emergency", to, "is an emergency number"),
    )


def test_an_emergency_number_comes_before_an_extension_and_a_hosted_number() -> None:
    callee = replace(WORKSHOP, extension="112")
    found = route(dialled("112"), outbound(callee=callee, numbers=(ALL,)), NOW)
    assert found == route(dialled("112"), outbound(), NOW)


def test_an_emergency_call_takes_any_trunk_and_no_limit_of_hops() -> None:
    off_, spare = Trunk("main", "main", "DE", enabled=False), Trunk("spare", "spare", "DE")
    account = replace(ACME, network_number=None, routes=(TrunkRoute("+4917", 1, spare), TrunkRoute("+", 1, off_)))
    unknown_line = CallerId(None, None, "emergency", as_received=True)
    leg = replace(trunk_leg("112", unknown_line, "spare"), hops=10)
    assert route(replace(dialled("112"), hops=9), outbound(account), NOW) == from_user(
        Plan(((leg,),)), unknown_line, Reason("emergency", "112", "is an emergency number")
    )


def test_an_emergency_call_tries_each_trunk_the_one_for_every_number_first() -> None:
    mobiles, second = Trunk("mobiles", "mobiles", "DE"), Trunk("second", "second", "DE")
    off_ = Trunk("off", "off", "DE", enabled=False)
    routes = (
        TrunkRoute("+4917", 1, mobiles),
        TrunkRoute("+", 2, second),
        TrunkRoute("+", 3, off_),
        TrunkRoute("+", 1, CARRIER),
        TrunkRoute("+49", 1, CARRIER),
    )
    decision = route(dialled("112"), outbound(replace(ACME, routes=routes)), NOW)
    assert [[leg.dial for leg in stage] for stage in decision.plan.stages] == [
        [TrunkDial("carrier", "112")],
        [TrunkDial("second", "112")],
        [TrunkDial("mobiles", "112")],
    ]


def test_an_emergency_call_without_any_trunk_has_no_route() -> None:
    assert route(dialled("112"), outbound(replace(ACME, routes=())), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        Reason("emergency", "112", "is an emergency number"),
        Reason("empty_plan", "112", "can not ring"),
    )


def test_a_suspended_account_makes_no_other_call() -> None:
    expected = from_user(
        Plan(final=Hangup("OUTGOING_CALL_BARRED")), INSIDE, Reason("account_suspended", "acme", "is suspended")
    )
    routings = [outbound(SUSPENDED, callee=WORKSHOP), outbound(SUSPENDED, numbers=(ALL,)), outbound(SUSPENDED)]
    assert [route(dialled(MOBILE), routing, NOW) for routing in routings] == [expected] * 3


def test_an_extension_rings_all_phones_of_its_user() -> None:
    workshop = Reason("extension", "user workshop", "has extension 12")
    assert route(dialled("12"), outbound(callee=WORKSHOP, numbers=(ALL,)), NOW) == from_user(
        Plan(((phone("1003", 25, INSIDE),),)), INSIDE, workshop, off(), code="extension"
    )


def test_an_extension_of_130_phones_rings_128() -> None:
    many = replace(WORKSHOP, endpoints=tuple(Endpoint(f"{i}", "acme.example") for i in range(1000, 1130)))
    limit = [Reason("leg_limit", f"endpoint {i}", "left out: more than 128 legs together") for i in (1128, 1129)]
    assert route(dialled("12"), outbound(callee=many), NOW) == from_user(
        Plan((tuple(phone(f"{i}", 25, INSIDE) for i in range(1000, 1128)),)),
        INSIDE,
        Reason("extension", "user workshop", "has extension 12"),
        *limit,
        code="extension",
    )


def test_an_extension_without_a_phone_has_no_route() -> None:
    callee = replace(WORKSHOP, endpoints=WORKSHOP.endpoints[1:])
    assert route(dialled("12"), outbound(callee=callee), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        Reason("extension", "user workshop", "has extension 12"),
        off(),
        Reason("empty_plan", "12", "can not ring"),
    )


def test_a_number_that_is_hosted_here_stays_inside() -> None:
    stays = Reason("hosted_here", f"number {A}", "is hosted here and stays inside")
    assert route(dialled("0221 4710100"), outbound(numbers=(ALL,)), NOW) == Decision(
        A,
        "acme",
        RING,
        Plan(((phone("1001", caller_id=INSIDE), phone("1002", caller_id=INSIDE)),)),
        INSIDE,
        "routed",
        (stays, matched(RING)),
    )


def test_what_follows_follows_a_user_s_call_too() -> None:
    stays = Reason("hosted_here", f"number {A}", "is hosted here and stays inside")
    failed = Failed(RING.key, Outcome.BUSY)
    assert route(dialled("0221 4710100"), outbound(numbers=(ALL,)), NOW, failed) == Decision(
        A,
        "acme",
        ON_BUSY,
        Plan(((phone("1003", caller_id=INSIDE),),)),
        INSIDE,
        "routed",
        (stays, matched(ON_BUSY)),
    )


def test_another_account_s_phones_see_the_line_not_the_extension() -> None:
    other = Account("other", "DE", "Europe/Berlin", "other.example", network_number=A)
    found = route(dialled(A), outbound(numbers=(hosted(RING, account=other),)), NOW)
    assert {leg.caller_id for stage in found.plan.stages for leg in stage} == {LINE}


def test_every_other_number_goes_to_a_trunk_with_the_line_s_number() -> None:
    assert route(dialled("0171 3920042"), outbound(), NOW) == from_user(
        Plan(((trunk_leg(MOBILE, LINE),),)),
        LINE,
        Reason("trunk", MOBILE, "is not hosted here: to the telephone network"),
    )


REFUSED: dict[str, tuple[str, Account | None, str, Reason]] = {
    "not a number": (
        "alice",
        ACME,
        "INVALID_NUMBER_FORMAT",
        Reason("not_a_number", "alice", "is neither extension nor number"),
    ),
    "no network number": (
        MOBILE,
        replace(ACME, network_number=None),
        "OUTGOING_CALL_BARRED",
        Reason("no_network_number", "acme", "has no network number, which a carrier must be given"),
    ),
}


@pytest.mark.parametrize(("to", "account", "cause", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_user_s_call_that_can_not_leave_says_why(to: str, account: Account, cause: str, reason: Reason) -> None:
    assert route(dialled(to), outbound(account), NOW) == from_user(Plan(final=Hangup(cause)), INSIDE, reason)


def test_an_unknown_account_makes_no_call() -> None:
    assert route(dialled(MOBILE), Routing("DE"), NOW) == Decision(
        None,
        None,
        None,
        Plan(final=Hangup("CALL_REJECTED")),
        CallerId(None, None, "caller_received", as_received=True),
        "account_unknown",
        (Reason("account_unknown", "acme", "is no account here"),),
    )


def test_without_a_trunk_to_it_a_number_has_no_route() -> None:
    assert route(dialled(MOBILE), outbound(replace(ACME, routes=())), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        Reason("trunk", MOBILE, "is not hosted here: to the telephone network"),
        Reason("no_trunk", f"external {MOBILE}", "left out: account acme has no trunk to it"),
        Reason("empty_plan", MOBILE, "can not ring"),
    )


def test_a_loop_through_a_trunk_is_cut() -> None:
    assert route(replace(dialled(MOBILE), hops=5), outbound(), NOW) == from_user(
        Plan(final=Hangup("NO_ROUTE_DESTINATION")),
        INSIDE,
        Reason("trunk", MOBILE, "is not hosted here: to the telephone network"),
        Reason("hop_limit", f"external {MOBILE}", "left out: the call came through trunks 5 times, a loop"),
        Reason("empty_plan", MOBILE, "can not ring"),
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_the_caller_of_a_direct_call_hears_how_the_called_side_ended_it(outcome: Outcome) -> None:
    tried = Reason("trunk", MOBILE, "is not hosted here: to the telephone network")
    expected = {
        cause: from_user(
            Plan(final=Hangup(cause or END_CAUSES[outcome])),
            INSIDE,
            tried,
            Reason("call_failed", MOBILE, f"ended {outcome}"),
        )
        for cause in ("UNALLOCATED_NUMBER", "")
    }
    found = {cause: route(dialled(MOBILE), outbound(), NOW, Failed(None, outcome, cause)) for cause in expected}
    assert found == expected


# --- any tables -------------------------------------------------------------------------------------------

NUMBERS = tuple(f"+49221471010{i}" for i in range(4))
EXTERNALS = (MOBILE, "+33142681234", "+12125550123", NUMBERS[0])
PHONES = tuple(f"{1000 + i}" for i in range(8))
OFF_PHONES = frozenset(PHONES[-2:])
OFF_TRUNK = Trunk("off", "off", "FR", enabled=False)
HOST = replace(ACME, routes=(TrunkRoute("+49", 1, CARRIER), TrunkRoute("+33", 1, OFF_TRUNK)))
CROWD = tuple(Endpoint(f"{2000 + i}", "acme.example") for i in range(130))

_ring_s = st.none() | st.integers(1, 60)
_endpoints = st.lists(st.sampled_from(PHONES), max_size=5).map(
    lambda names: tuple(Endpoint(name, "acme.example", name not in OFF_PHONES) for name in names)
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
        )
    )


_RINGING = (TargetKind.ENDPOINT, TargetKind.RING_GROUP, TargetKind.USER)
_VALUES: dict[TargetKind, st.SearchStrategy[str]] = {
    **dict.fromkeys(_RINGING, st.just("name")),
    TargetKind.EXTERNAL: st.sampled_from(EXTERNALS),
    TargetKind.HOSTED: st.sampled_from(NUMBERS),
    TargetKind.VOICEMAIL: st.just("1001"),
    TargetKind.ANNOUNCEMENT: st.just("fsroute/closed.wav"),
    TargetKind.HANGUP: st.just("USER_BUSY"),
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
        assert not any(isinstance(dial, TrunkDial) and dial.gateway == OFF_TRUNK.gateway for dial in dials)
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
        decision = route(call, routing, NOW, Failed(decision.rule.key if decision.rule else None, outcome))
        _check(decision)
    assert not decision.plan.stages


@settings(deadline=None)
@given(tables(), st.sampled_from(Outcome), st.builds(RuleKey, st.sampled_from([*NUMBERS, C]), st.integers(1, 9)))
def test_a_decision_after_any_rule_is_one(numbers: dict[str, HostedNumber], outcome: Outcome, key: RuleKey) -> None:
    """FreeSWITCH hands the key back; whatever has become of the tables since, there is an answer."""
    routing = Routing("DE", NUMBERS[0], numbers)
    _check(route(Call(NUMBERS[0], CALLER), routing, NOW, Failed(key, outcome)))


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(Direction), st.booleans())
def test_any_text_dialled_by_anybody_is_decided(to: str, caller: str, direction: Direction, hidden: bool) -> None:
    call = Call(to, caller, direction=direction, anonymous=hidden, account="acme")
    _check(route(call, Routing("DE", account=ACME), NOW))
