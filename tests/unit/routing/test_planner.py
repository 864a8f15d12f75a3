"""What a rule's targets become: who rings when and for how long, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.codes import CallerIdCode
from fsroute.model import (
    Account,
    AccountStatus,
    Call,
    Diversion,
    HostedNumber,
    IdentityHeader,
    IdentityProfile,
    Leg,
    Mode,
    NumberFacts,
    Plan,
    Routing,
    Rule,
    RuleType,
    ShowVerified,
    Stage,
    Target,
    Trunk,
    TrunkDial,
    TrunkRoute,
)
from fsroute.routing.limits import MAX_LEGS
from fsroute.routing.planner import Planner, attempts, rounds
from fsroute.target_kinds import Announcement, Ending, Hangup, TargetKind, Voicemail
from tests.support import builders
from tests.support.builders import (
    CARRIER,
    CLOSED,
    LINE,
    MOBILE,
    MONDAY_NOON,
    RECEIVED,
    VOICEMAIL,
    account,
    endpoint_target,
    external_target,
    group_target,
    hosted_target,
    phone_leg,
    routes,
    routing_of,
    target,
    trunk,
    trunk_leg,
    user_target,
    verification,
)

A, B, C, D = LINE, "+492214710200", "+492214710300", "+492214710400"
MOBILE_2 = "+491713920043"
PARALLEL, SEQUENTIAL = Mode.PARALLEL, Mode.SEQUENTIAL
NOW = MONDAY_NOON
ACME = account(network_number=None)
"""Without a network number of its own: each leg has that of the number which forwards it."""

# --- tables, shortly --------------------------------------------------------------------------------------


VERIFIED = verification("+493023125020", expires_at=NOW.replace(year=2030))
HANGUP = target(TargetKind.HANGUP, "USER_BUSY")


def off(target: Target) -> Target:
    return replace(target, enabled=False)


def rule(mode: Mode, *targets: Target, ring_s: int | None = None) -> Rule:
    """A general rule. `hosted` gives it its number and position."""
    return builders.rule(1, RuleType.GENERAL, *targets, mode=mode, ring_s=ring_s)


def hosted(value: str, *rules: Rule, account: Account = ACME, enabled: bool = True) -> HostedNumber:
    """A hosted number with these rules, in this order."""
    placed = (
        replace(
            each,
            number=value,
            position=position,
            targets=tuple(replace(target, position=i) for i, target in enumerate(each.targets, 1)),
        )
        for position, each in enumerate(rules, 1)
    )
    return builders.hosted(*placed, number=value, account=account, enabled=enabled)


# --- plans, shortly ---------------------------------------------------------------------------------------


def mobile(value: str = MOBILE, *, at: tuple[int, int] = (0, 25), shown: str = A, confirm: bool = False) -> Leg:
    """A leg through the trunk; `at` is when it starts and how long it rings."""
    start_s, ring_s = at
    return trunk_leg(
        value,
        caller_id=builders.shown(shown, CallerIdCode.OWN_NUMBER),
        start_s=start_s,
        ring_s=ring_s,
        confirm=confirm,
        diversion=Diversion(shown, "unconditional"),
    )


def plan(*stages: Stage, final: Ending | None = None) -> Plan:
    return Plan(stages, final)


def planned(
    *numbers: HostedNumber, hops: int = 0, facts: dict[str, NumberFacts] | None = None
) -> tuple[Plan, list[tuple[str, str]]]:
    """The plan of the first number's first rule, and code and subject of each reason."""
    first = numbers[0]
    routing = routing_of(*numbers, facts=facts or {})
    planner = Planner(Call(first.number, "+493023125001", hops=hops), routing, NOW, RECEIVED)
    result = planner.plan(first.rules[0], first)
    return result, [(reason.code, reason.subject) for reason in planner.reasons]


Case = tuple[tuple[HostedNumber, ...], Plan, list[tuple[str, str]]]

MATCHED_B = ("rule_matched", f"rule {B}/1 (general)")
MATCHED_C = ("rule_matched", f"rule {C}/1 (general)")

# --- one number -------------------------------------------------------------------------------------------

ONE_NUMBER: dict[str, tuple[Rule, Plan, list[tuple[str, str]]]] = {
    "parallel: everything of everybody rings together, in order": (
        rule(
            PARALLEL,
            user_target("1001", "1002"),
            external_target(),
            group_target("1003", "1004"),
            endpoint_target("1005"),
            ring_s=20,
        ),
        plan(
            (
                phone_leg("1001", ring_s=20),
                phone_leg("1002", ring_s=20),
                mobile(at=(0, 20), confirm=True),
                phone_leg("1003", ring_s=20),
                phone_leg("1004", ring_s=20),
                phone_leg("1005", ring_s=20),
            )
        ),
        [],
    ),
    "parallel: 25 s if the rule does not say": (
        rule(PARALLEL, endpoint_target("1001")),
        plan((phone_leg("1001", ring_s=25),)),
        [],
    ),
    "parallel: a target starts later and rings to the rule's end": (
        rule(PARALLEL, endpoint_target("1001"), endpoint_target("1002", start_s=10), ring_s=30),
        plan((phone_leg("1001", ring_s=30), phone_leg("1002", start_s=10, ring_s=20))),
        [],
    ),
    "parallel: a target's own ring time": (
        rule(PARALLEL, endpoint_target("1001", ring_s=5), endpoint_target("1002", start_s=5, ring_s=10), ring_s=30),
        plan((phone_leg("1001", ring_s=5), phone_leg("1002", start_s=5, ring_s=10))),
        [],
    ),
    "parallel: the rule's end cuts a target's ring time": (
        rule(PARALLEL, endpoint_target("1001", ring_s=60), endpoint_target("1002", start_s=20, ring_s=60), ring_s=30),
        plan((phone_leg("1001", ring_s=30), phone_leg("1002", start_s=20, ring_s=10))),
        [],
    ),
    "parallel: a target that would start at the rule's end does not": (
        rule(PARALLEL, endpoint_target("1001"), endpoint_target("1002", start_s=30), ring_s=30),
        plan((phone_leg("1001", ring_s=30),)),
        [("no_time_left", "endpoint 1002")],
    ),
    "parallel: when all that is left starts late, the first starts at once": (
        rule(PARALLEL, endpoint_target("1001", start_s=4, ring_s=6), endpoint_target("1002", start_s=10), ring_s=30),
        plan((phone_leg("1001", ring_s=6), phone_leg("1002", start_s=6, ring_s=20))),
        [],
    ),
    "parallel: the last target follows when nobody answers, wherever it stands": (
        rule(PARALLEL, VOICEMAIL, endpoint_target("1001")),
        plan((phone_leg("1001", ring_s=25),), final=Voicemail("1001", "acme.example")),
        [],
    ),
    "parallel: of two last targets the first counts": (
        rule(PARALLEL, endpoint_target("1001"), CLOSED, HANGUP),
        plan((phone_leg("1001", ring_s=25),), final=Announcement("fsroute/closed.wav")),
        [("after_final", "hang-up USER_BUSY")],
    ),
    "sequential: a stage for each target, in order": (
        rule(
            SEQUENTIAL, user_target("1001", "1002"), external_target(), group_target("1003", "1004"), endpoint_target("1005")
        ),
        plan(
            (phone_leg("1001", ring_s=20), phone_leg("1002", ring_s=20)),
            (mobile(at=(0, 20)),),
            (phone_leg("1003", ring_s=20), phone_leg("1004", ring_s=20)),
            (phone_leg("1005", ring_s=20),),
        ),
        [],
    ),
    "sequential: each for its own time": (
        rule(SEQUENTIAL, endpoint_target("1001", ring_s=15), endpoint_target("1002"), external_target(ring_s=70)),
        plan((phone_leg("1001", ring_s=15),), (phone_leg("1002", ring_s=20),), (mobile(at=(0, 70)),)),
        [],
    ),
    "sequential: the rule's ring time is for all of it": (
        rule(
            SEQUENTIAL,
            endpoint_target("1001", ring_s=15),
            endpoint_target("1002", ring_s=15),
            endpoint_target("1003"),
            ring_s=25,
        ),
        plan((phone_leg("1001", ring_s=15),), (phone_leg("1002", ring_s=10),)),
        [("no_time_left", "endpoint 1003")],
    ),
    "sequential: who rings in two stages rings twice": (
        rule(SEQUENTIAL, endpoint_target("1001"), group_target("1001", "1002")),
        plan((phone_leg("1001", ring_s=20),), (phone_leg("1001", ring_s=20), phone_leg("1002", ring_s=20))),
        [],
    ),
    "sequential: a voicemail ends the call's way": (
        rule(SEQUENTIAL, endpoint_target("1001"), VOICEMAIL, endpoint_target("1002"), HANGUP),
        plan((phone_leg("1001", ring_s=20),), final=Voicemail("1001", "acme.example")),
        [("after_final", "endpoint 1002"), ("after_final", "hang-up USER_BUSY")],
    ),
    "a voicemail alone": (rule(SEQUENTIAL, VOICEMAIL), plan(final=Voicemail("1001", "acme.example")), []),
    "an announcement alone": (rule(PARALLEL, CLOSED), plan(final=Announcement("fsroute/closed.wav")), []),
    "a cause alone": (rule(PARALLEL, HANGUP), plan(final=Hangup("USER_BUSY")), []),
    "no target": (rule(PARALLEL), plan(), []),
}


@pytest.mark.parametrize(("of", "expected", "expected_reasons"), ONE_NUMBER.values(), ids=ONE_NUMBER.keys())
def test_targets_ring_as_the_rule_says(of: Rule, expected: Plan, expected_reasons: list[tuple[str, str]]) -> None:
    assert planned(hosted(A, of)) == (expected, expected_reasons)


# --- what cannot ring -------------------------------------------------------------------------------------

LEFT_OUT: dict[str, tuple[Rule, Plan, list[tuple[str, str]]]] = {
    "a target that is switched off": (
        rule(PARALLEL, off(endpoint_target("1001")), endpoint_target("1002")),
        plan((phone_leg("1002", ring_s=25),)),
        [("target_disabled", "endpoint 1001")],
    ),
    "each kind of target that is switched off": (
        rule(
            SEQUENTIAL,
            off(group_target("1001")),
            off(user_target("1001")),
            off(external_target()),
            off(hosted_target(B)),
            off(VOICEMAIL),
            off(CLOSED),
            off(HANGUP),
        ),
        plan(),
        [
            ("target_disabled", "ring group sales"),
            ("target_disabled", "user reception"),
            ("target_disabled", f"external {MOBILE}"),
            ("target_disabled", f"number {B}"),
            ("target_disabled", "voicemail 1001"),
            ("target_disabled", "announcement fsroute/closed.wav"),
            ("target_disabled", "hang-up USER_BUSY"),
        ],
    ),
    "an endpoint that is switched off": (
        rule(PARALLEL, endpoint_target("1001", off=("1001",)), group_target("1001", "1002", off=("1001",))),
        plan((phone_leg("1002", ring_s=25),)),
        [("endpoint_disabled", "endpoint 1001"), ("endpoint_disabled", "endpoint 1001")],
    ),
    "a stage of which nothing is left": (
        rule(SEQUENTIAL, user_target("1001", "1002", off=("1001", "1002")), endpoint_target("1003")),
        plan((phone_leg("1003", ring_s=20),)),
        [("endpoint_disabled", "endpoint 1001"), ("endpoint_disabled", "endpoint 1002")],
    ),
    "a user without phones": (
        rule(PARALLEL, user_target()),
        plan(),
        [("no_endpoints", "user reception")],
    ),
    "a phone that two targets ring": (
        rule(PARALLEL, user_target("1001", "1002"), group_target("1001", "1003")),
        plan((phone_leg("1001", ring_s=25), phone_leg("1002", ring_s=25), phone_leg("1003", ring_s=25))),
        [("duplicate", "endpoint 1001")],
    ),
    "of duplicates the one that starts first rings, in the first one's place": (
        rule(
            PARALLEL,
            endpoint_target("1001", start_s=10),
            endpoint_target("1002"),
            endpoint_target("1001", ring_s=5),
            ring_s=20,
        ),
        plan((phone_leg("1001", ring_s=5), phone_leg("1002", ring_s=20))),
        [("duplicate", "endpoint 1001")],
    ),
    "an external number twice": (
        rule(PARALLEL, external_target(), external_target()),
        plan((mobile(),)),
        [("duplicate", f"external {MOBILE}")],
    ),
}


@pytest.mark.parametrize(("of", "expected", "expected_reasons"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_what_cannot_ring_is_left_out_with_a_reason(
    of: Rule, expected: Plan, expected_reasons: list[tuple[str, str]]
) -> None:
    assert planned(hosted(A, of)) == (expected, expected_reasons)


# --- confirmation -----------------------------------------------------------------------------------------

CONFIRMATION: dict[str, tuple[Rule, list[bool]]] = {
    "beside a phone": (rule(PARALLEL, endpoint_target("1001"), external_target()), [False, True]),
    "beside another mobile": (rule(PARALLEL, external_target(), external_target(MOBILE_2)), [True, True]),
    "alone": (rule(PARALLEL, external_target()), [False]),
    "alone in its stage": (rule(SEQUENTIAL, endpoint_target("1001"), external_target()), [False, False]),
    "switched off": (rule(PARALLEL, endpoint_target("1001"), external_target(confirm=False)), [False, False]),
    "switched on": (rule(PARALLEL, external_target(confirm=True)), [True]),
    "alone since the phone is switched off": (
        rule(PARALLEL, endpoint_target("1001", off=("1001",)), external_target()),
        [False],
    ),
    "alone since it is the same number twice": (rule(PARALLEL, external_target(), external_target()), [False]),
}


@pytest.mark.parametrize(("of", "expected"), CONFIRMATION.values(), ids=CONFIRMATION.keys())
def test_an_external_number_is_confirmed_beside_others(of: Rule, expected: list[bool]) -> None:
    found, _ = planned(hosted(A, of))
    assert [leg.confirm for stage in found.stages for leg in stage] == expected


@pytest.mark.parametrize(("confirm", "beside", "alone"), [(None, True, False), (True, True, True), (False, False, False)])
def test_so_is_one_that_another_number_leads_to(confirm: bool | None, beside: bool, alone: bool) -> None:
    inner = hosted(B, rule(PARALLEL, external_target(confirm=confirm)))
    found = {
        mode: planned(hosted(A, rule(mode, endpoint_target("1001"), hosted_target(B))), inner)[0].stages for mode in Mode
    }
    assert found == {
        PARALLEL: ((phone_leg("1001", ring_s=25), mobile(shown=B, confirm=beside)),),
        SEQUENTIAL: ((phone_leg("1001", ring_s=20),), (mobile(shown=B, confirm=alone),)),
    }


# --- other hosted numbers ---------------------------------------------------------------------------------

TWO_STAGES = hosted(B, rule(SEQUENTIAL, endpoint_target("1002", ring_s=10), endpoint_target("1003", ring_s=15)))
TOGETHER = hosted(B, rule(PARALLEL, endpoint_target("1002"), endpoint_target("1003", start_s=5), ring_s=15))

NESTED: dict[str, Case] = {
    "parallel in parallel": (
        (hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B), ring_s=30)), TOGETHER),
        plan((phone_leg("1001", ring_s=30), phone_leg("1002", ring_s=15), phone_leg("1003", start_s=5, ring_s=10))),
        [MATCHED_B],
    ),
    "parallel in parallel, later": (
        (hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B, start_s=8), ring_s=30)), TOGETHER),
        plan(
            (phone_leg("1001", ring_s=30), phone_leg("1002", start_s=8, ring_s=15), phone_leg("1003", start_s=13, ring_s=10))
        ),
        [MATCHED_B],
    ),
    "parallel in parallel, cut by the rule": (
        (hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B, start_s=8), ring_s=12)), TOGETHER),
        plan((phone_leg("1001", ring_s=12), phone_leg("1002", start_s=8, ring_s=4))),
        [MATCHED_B, ("no_time_left", "endpoint 1003")],
    ),
    "parallel in parallel, cut by the target": (
        (hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B, ring_s=8), ring_s=30)), TOGETHER),
        plan((phone_leg("1001", ring_s=30), phone_leg("1002", ring_s=8), phone_leg("1003", start_s=5, ring_s=3))),
        [MATCHED_B],
    ),
    "sequential in parallel: its stages become delays": (
        (hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B, start_s=2), ring_s=40)), TWO_STAGES),
        plan(
            (phone_leg("1001", ring_s=40), phone_leg("1002", start_s=2, ring_s=10), phone_leg("1003", start_s=12, ring_s=15))
        ),
        [MATCHED_B],
    ),
    "sequential in parallel, cut": (
        (hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B), ring_s=20)), TWO_STAGES),
        plan((phone_leg("1001", ring_s=20), phone_leg("1002", ring_s=10), phone_leg("1003", start_s=10, ring_s=10))),
        [MATCHED_B],
    ),
    "parallel in sequential": (
        (hosted(A, rule(SEQUENTIAL, endpoint_target("1001"), hosted_target(B), endpoint_target("1004"))), TOGETHER),
        plan(
            (phone_leg("1001", ring_s=20),),
            (phone_leg("1002", ring_s=15), phone_leg("1003", start_s=5, ring_s=10)),
            (phone_leg("1004", ring_s=20),),
        ),
        [MATCHED_B],
    ),
    "sequential in sequential": (
        (hosted(A, rule(SEQUENTIAL, endpoint_target("1001"), hosted_target(B), endpoint_target("1004"))), TWO_STAGES),
        plan(
            (phone_leg("1001", ring_s=20),),
            (phone_leg("1002", ring_s=10),),
            (phone_leg("1003", ring_s=15),),
            (phone_leg("1004", ring_s=20),),
        ),
        [MATCHED_B],
    ),
    "sequential in sequential, cut by the target": (
        (hosted(A, rule(SEQUENTIAL, hosted_target(B, ring_s=12), endpoint_target("1004"))), TWO_STAGES),
        plan((phone_leg("1002", ring_s=10),), (phone_leg("1003", ring_s=2),), (phone_leg("1004", ring_s=20),)),
        [MATCHED_B],
    ),
    "sequential in sequential, cut before its second stage": (
        (hosted(A, rule(SEQUENTIAL, hosted_target(B, ring_s=10), endpoint_target("1004"))), TWO_STAGES),
        plan((phone_leg("1002", ring_s=10),), (phone_leg("1004", ring_s=20),)),
        [MATCHED_B, ("no_time_left", "endpoint 1003")],
    ),
    "sequential in sequential, cut by the rule": (
        (hosted(A, rule(SEQUENTIAL, endpoint_target("1001"), hosted_target(B), ring_s=25)), TWO_STAGES),
        plan((phone_leg("1001", ring_s=20),), (phone_leg("1002", ring_s=5),)),
        [MATCHED_B, ("no_time_left", "endpoint 1003")],
    ),
    "another number's voicemail ends the way": (
        (
            hosted(A, rule(SEQUENTIAL, hosted_target(B), endpoint_target("1004"))),
            hosted(B, rule(SEQUENTIAL, endpoint_target("1002"), VOICEMAIL)),
        ),
        plan((phone_leg("1002", ring_s=20),), final=Voicemail("1001", "acme.example")),
        [MATCHED_B, ("after_final", "endpoint 1004")],
    ),
    "two levels": (
        (
            hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B))),
            hosted(B, rule(SEQUENTIAL, endpoint_target("1002", ring_s=5), hosted_target(C))),
            hosted(C, rule(PARALLEL, endpoint_target("1003"), external_target(), ring_s=10)),
        ),
        plan(
            (
                phone_leg("1001", ring_s=25),
                phone_leg("1002", ring_s=5),
                phone_leg("1003", start_s=5, ring_s=10),
                mobile(at=(5, 10), shown=C, confirm=True),
            )
        ),
        [MATCHED_B, MATCHED_C],
    ),
    "an external number that is hosted here stays inside": (
        (hosted(A, rule(PARALLEL, external_target(B))), hosted(B, rule(PARALLEL, endpoint_target("1002")))),
        plan((phone_leg("1002", ring_s=25),)),
        [("hosted_here", f"external {B}"), MATCHED_B],
    ),
    "a number that is switched off": (
        (
            hosted(A, rule(PARALLEL, hosted_target(B), endpoint_target("1001"))),
            hosted(B, rule(PARALLEL, endpoint_target("1002")), enabled=False),
        ),
        plan((phone_leg("1001", ring_s=25),)),
        [("number_disabled", f"number {B}")],
    ),
    "a number of an account that is suspended": (
        (
            hosted(A, rule(PARALLEL, external_target(B), endpoint_target("1001"))),
            hosted(
                B,
                rule(PARALLEL, endpoint_target("1002")),
                account=replace(ACME, name="other", status=AccountStatus.SUSPENDED),
            ),
        ),
        plan((phone_leg("1001", ring_s=25),)),
        [("hosted_here", f"external {B}"), ("account_suspended", f"number {B}")],
    ),
    "a number that was not read": (
        (hosted(A, rule(PARALLEL, hosted_target(B), endpoint_target("1001"))),),
        plan((phone_leg("1001", ring_s=25),)),
        [("number_limit", f"number {B}")],
    ),
    "a number without a rule": (
        (hosted(A, rule(PARALLEL, hosted_target(B), endpoint_target("1001"))), hosted(B)),
        plan((phone_leg("1001", ring_s=25),)),
        [],
    ),
    "a number whose rule is empty: what follows when it is unreachable": (
        (
            hosted(A, rule(PARALLEL, hosted_target(B))),
            hosted(
                B,
                rule(PARALLEL, off(endpoint_target("1001"))),
                replace(rule(PARALLEL, endpoint_target("1002")), type=RuleType.BUSY),
                replace(rule(PARALLEL, endpoint_target("1003", off=("1003",))), type=RuleType.UNREACHABLE),
                replace(rule(SEQUENTIAL, VOICEMAIL), type=RuleType.BASE),
            ),
        ),
        plan(final=Voicemail("1001", "acme.example")),
        [
            MATCHED_B,
            ("target_disabled", "endpoint 1001"),
            ("empty_plan", f"rule {B}/1 (general)"),
            ("rule_matched", f"rule {B}/3 (unreachable)"),
            ("endpoint_disabled", "endpoint 1003"),
            ("empty_plan", f"rule {B}/3 (unreachable)"),
            ("base_rule", f"rule {B}/4 (base)"),
        ],
    ),
}


@pytest.mark.parametrize(("numbers", "expected", "expected_reasons"), NESTED.values(), ids=NESTED.keys())
def test_another_hosted_number_rings_in_place(
    numbers: tuple[HostedNumber, ...], expected: Plan, expected_reasons: list[tuple[str, str]]
) -> None:
    assert planned(*numbers) == (expected, expected_reasons)


LOOPS: dict[str, Case] = {
    "to itself": (
        (hosted(A, rule(PARALLEL, hosted_target(A), endpoint_target("1001"))),),
        plan((phone_leg("1001", ring_s=25),)),
        [("loop", f"number {A}")],
    ),
    "A, B, A": (
        (
            hosted(A, rule(PARALLEL, endpoint_target("1001"), hosted_target(B))),
            hosted(B, rule(PARALLEL, endpoint_target("1002"), hosted_target(A))),
        ),
        plan((phone_leg("1001", ring_s=25), phone_leg("1002", ring_s=25))),
        [MATCHED_B, ("loop", f"number {A}")],
    ),
    "A, B, A by external numbers": (
        (hosted(A, rule(SEQUENTIAL, external_target(B))), hosted(B, rule(SEQUENTIAL, external_target(A)))),
        plan(),
        [
            ("hosted_here", f"external {B}"),
            MATCHED_B,
            ("hosted_here", f"external {A}"),
            ("loop", f"number {A}"),
            ("empty_plan", f"rule {B}/1 (general)"),
        ],
    ),
    "A, B, C, B": (
        (
            hosted(A, rule(SEQUENTIAL, hosted_target(B))),
            hosted(B, rule(SEQUENTIAL, hosted_target(C))),
            hosted(C, rule(SEQUENTIAL, endpoint_target("1003"), hosted_target(B))),
        ),
        plan((phone_leg("1003", ring_s=20),)),
        [MATCHED_B, MATCHED_C, ("loop", f"number {B}")],
    ),
    "two ways to one number: the first": (
        (
            hosted(A, rule(PARALLEL, hosted_target(B), hosted_target(C))),
            hosted(B, rule(PARALLEL, endpoint_target("1002"), hosted_target(D))),
            hosted(C, rule(PARALLEL, endpoint_target("1003"), hosted_target(D))),
            hosted(D, rule(PARALLEL, endpoint_target("1004"))),
        ),
        plan((phone_leg("1002", ring_s=25), phone_leg("1004", ring_s=25), phone_leg("1003", ring_s=25))),
        [MATCHED_B, ("rule_matched", f"rule {D}/1 (general)"), MATCHED_C, ("loop", f"number {D}")],
    ),
}


@pytest.mark.parametrize(("numbers", "expected", "expected_reasons"), LOOPS.values(), ids=LOOPS.keys())
def test_loops_are_cut(numbers: tuple[HostedNumber, ...], expected: Plan, expected_reasons: list[tuple[str, str]]) -> None:
    assert planned(*numbers) == (expected, expected_reasons)


def test_a_chain_of_as_many_numbers_as_are_read_is_followed_to_its_end() -> None:
    chain = [f"+4922147{i:05}" for i in range(128)]
    numbers = [hosted(a, rule(SEQUENTIAL, hosted_target(b))) for a, b in pairwise(chain)]
    found, _ = planned(*numbers, hosted(chain[-1], rule(SEQUENTIAL, endpoint_target("1001"))))
    assert found == plan((phone_leg("1001", ring_s=20),))


# --- limits -----------------------------------------------------------------------------------------------


def test_a_stage_rings_128_legs_and_says_who_is_left_out() -> None:
    names = [f"{i}" for i in range(1000, 1130)]
    of = rule(PARALLEL, group_target(*names[:100]), user_target(*names[50:]))
    assert planned(hosted(A, of)) == (
        plan(tuple(phone_leg(name, ring_s=25) for name in names[:MAX_LEGS])),
        [("duplicate", f"endpoint {name}") for name in names[50:100]]
        + [("leg_limit", "endpoint 1128"), ("leg_limit", "endpoint 1129")],
    )


def test_a_plan_has_512_legs_and_keeps_its_ending() -> None:
    names = [f"{i}" for i in range(1000, 1100)]
    of = rule(SEQUENTIAL, *(group_target(*names) for _ in range(20)), VOICEMAIL)
    found, told = planned(hosted(A, of))
    assert found == plan(
        *((tuple(phone_leg(name, ring_s=20) for name in names),) * 6), final=Voicemail("1001", "acme.example")
    )
    assert told == [("leg_limit", f"rule {A}/1 (general)")]


def test_a_leg_tries_eight_trunks() -> None:
    trunks = [Trunk(f"t{i}", f"t{i}", "DE", "t.example") for i in range(10)]
    account = replace(ACME, routes=tuple(TrunkRoute("+", i, trunk) for i, trunk in enumerate(trunks, 1)))
    found, told = planned(hosted(A, rule(PARALLEL, external_target()), account=account))
    ((leg,),) = found.stages
    tried = [each.dial.trunk.name for each in (leg, *leg.fallbacks) if isinstance(each.dial, TrunkDial)]
    assert tried == [trunk.name for trunk in trunks[:8]]
    assert told == [("trunk_limit", "trunk t8"), ("trunk_limit", "trunk t9")]


def test_a_plan_has_128_stages_and_says_what_is_left_out() -> None:
    names = [f"{i}" for i in range(1000, 1130)]
    outer = hosted(A, rule(SEQUENTIAL, hosted_target(B), hosted_target(C), VOICEMAIL))
    inner = hosted(B, rule(SEQUENTIAL, *(endpoint_target(name) for name in names[:100])))
    other = hosted(C, rule(SEQUENTIAL, *(endpoint_target(name) for name in names[100:])))
    assert planned(outer, inner, other) == (
        plan(*((phone_leg(name, ring_s=20),) for name in names[:128]), final=Voicemail("1001", "acme.example")),
        [MATCHED_B, MATCHED_C, ("stage_limit", "endpoint 1128"), ("stage_limit", "endpoint 1129")],
    )


# --- trunks -----------------------------------------------------------------------------------------------


def _trunk(name: str, *, enabled: bool = True) -> Trunk:
    return trunk(name, gateway=f"{name}-gw", enabled=enabled)


ANY, GERMAN, GERMAN_2, MOBILES = (_trunk(name) for name in ("any", "german", "german-2", "mobiles"))
ROUTES = (
    TrunkRoute("+", 1, ANY),
    TrunkRoute("+49", 2, GERMAN_2),
    TrunkRoute("+49", 1, GERMAN),
    TrunkRoute("+4917", 1, MOBILES),
)

TRUNKS: dict[str, tuple[tuple[TrunkRoute, ...], str, str | None, list[tuple[str, str]]]] = {
    "the longest prefix": (ROUTES, "+491713920042", "mobiles", []),
    "then the lowest position": (ROUTES, "+493023125001", "german", []),
    "every number": (ROUTES, "+33142681234", "any", []),
    "one that is switched off is passed by": (
        (*ROUTES[:3], TrunkRoute("+4917", 1, _trunk("mobiles", enabled=False))),
        "+491713920042",
        "german",
        [("trunk_disabled", "trunk mobiles")],
    ),
    "all switched off": (
        (TrunkRoute("+", 1, _trunk("any", enabled=False)),),
        "+491713920042",
        None,
        [("trunk_disabled", "trunk any"), ("no_trunk", "external +491713920042")],
    ),
    "none for this number": (ROUTES[1:], "+33142681234", None, [("no_trunk", "external +33142681234")]),
    "none at all": ((), "+491713920042", None, [("no_trunk", "external +491713920042")]),
}


@pytest.mark.parametrize(("routes", "to", "trunk", "expected_reasons"), TRUNKS.values(), ids=TRUNKS.keys())
def test_the_trunk_is_the_one_with_the_longest_prefix(
    routes: tuple[TrunkRoute, ...], to: str, trunk: str | None, expected_reasons: list[tuple[str, str]]
) -> None:
    numbers = hosted(A, rule(PARALLEL, external_target(to)), account=replace(ACME, routes=routes))
    first, reasons = planned(numbers)
    legs = [replace(leg, fallbacks=()) for stage in first.stages for leg in stage]
    assert legs == ([replace(mobile(to), dial=TrunkDial(_trunk(trunk), to))] if trunk else [])
    assert reasons == expected_reasons


def test_the_other_trunks_are_what_the_leg_falls_back_on() -> None:
    numbers = hosted(A, rule(PARALLEL, external_target()), account=replace(ACME, routes=ROUTES))
    others = [replace(mobile(), dial=TrunkDial(_trunk(name), MOBILE)) for name in ("mobiles", "german", "german-2", "any")]
    assert planned(numbers) == (plan((replace(others[0], fallbacks=tuple(others[1:])),)), [])


def test_a_trunk_that_cannot_carry_the_number_is_left_out_of_them() -> None:
    from_only = replace(CARRIER, name="from-only", profile=IdentityProfile("from-only", header=IdentityHeader.NONE))
    shown_as = replace(external_target(), caller_id=ShowVerified("+493023125020"))
    account = replace(ACME, routes=routes(from_only, CARRIER), network_number=B)
    found, reasons = planned(
        hosted(A, rule(PARALLEL, shown_as), account=account),
        facts={"+493023125020": NumberFacts(verifications=(VERIFIED,))},
    )
    assert [[leg.dial for leg in stage] for stage in found.stages] == [[TrunkDial(CARRIER, MOBILE)]]
    assert [leg.fallbacks for stage in found.stages for leg in stage] == [()]
    assert reasons == [("trunk_can_not_carry", f"external {MOBILE}"), ("caller_id", f"external {MOBILE}")]


ATTEMPTS = {
    "alone": (25, 0, [(25, None)]),
    "two": (25, 1, [(25, 6), (19, None)]),
    "three": (25, 2, [(25, 6), (19, 6), (13, None)]),
    "little time": (8, 2, [(8, 4), (4, 2), (2, None)]),
    "hardly any": (3, 3, [(3, 1), (2, 1), (1, None)]),
    "none": (1, 3, [(1, None)]),
}


@pytest.mark.parametrize(("ring_s", "others", "expected"), ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_all_trunks_together_have_the_time_of_one_leg(
    ring_s: int, others: int, expected: list[tuple[int, int | None]]
) -> None:
    spare = replace(mobile(), dial=TrunkDial(_trunk("spare"), MOBILE))
    leg = replace(mobile(at=(4, ring_s), confirm=True), fallbacks=(spare,) * others)
    tried = attempts(leg)
    assert [(each.ring_s, each.progress_s) for each in tried] == expected
    assert {(each.start_s, each.confirm, each.fallbacks) for each in tried} == {(4, True, ())}
    assert [each.dial for each in tried] == [leg.dial, *[spare.dial] * others][: len(expected)]


@given(st.integers(1, 3600), st.integers(0, 10))
def test_no_attempt_rings_on_when_the_leg_would_have_ended(ring_s: int, others: int) -> None:
    tried = attempts(replace(mobile(at=(0, ring_s)), fallbacks=(mobile(),) * others))
    begins = 0
    for each in tried:
        assert begins + each.ring_s == ring_s
        assert each.ring_s >= 1
        begins += each.progress_s or 0


def test_a_stage_with_such_a_leg_is_a_round_of_its_own() -> None:
    several = replace(mobile(), fallbacks=(mobile(),))
    a, b, c, d, e, f = (
        (phone_leg("1", ring_s=25),),
        (several,),
        (phone_leg("2", ring_s=25), several),
        (phone_leg("3", ring_s=25),),
        (phone_leg("4", ring_s=25), mobile()),
        (several,),
    )
    assert rounds(plan(a, b, c, d, e, f)) == ((a,), (b,), (c,), (d, e), (f,))
    assert rounds(plan(a, d, e)) == ((a, d, e),)
    assert rounds(plan()) == ()


@pytest.mark.parametrize("hops", [0, 4, 5, 6])
def test_a_call_that_went_through_trunks_five_times_does_not_leave_again(hops: int) -> None:
    leg = replace(mobile(confirm=True), hops=hops + 1, diversion=Diversion(A, "unconditional", hops + 1))
    expected = (
        (plan((phone_leg("1001", ring_s=25), leg)), [])
        if hops < 5
        else (plan((phone_leg("1001", ring_s=25),)), [("hop_limit", f"external {MOBILE}")])
    )
    assert planned(hosted(A, rule(PARALLEL, endpoint_target("1001"), external_target())), hops=hops) == expected


def test_every_reason_is_a_sentence_about_its_subject() -> None:
    first = hosted(A, rule(PARALLEL, hosted_target(B), external_target(), endpoint_target("1001", off=("1001",))))
    planner = Planner(Call(A), Routing("DE", A, {A: first}), NOW, RECEIVED, hop_limit=0)
    planner.plan(first.rules[0], first)
    assert [str(reason.text) for reason in planner.reasons] == [
        "left out: fsroute reads no more hosted numbers for one call",
        "left out: the call came through trunks 0 times, a loop",
        "left out: is switched off",
    ]
