"""What the values promise about their copies."""

from __future__ import annotations

import copy
from dataclasses import fields, replace

import pytest

from fsroute.callerid import policy
from fsroute.codes import ReasonCode
from fsroute.model import (
    SHOW_ORIGINAL,
    SHOW_OWN,
    ContactDial,
    Decision,
    EndpointDial,
    ForwardedCallerId,
    KeptPlan,
    Leg,
    Outcome,
    Plan,
    PlanMemo,
    Reason,
    Registered,
    Routing,
    Rule,
    ShowVerified,
    forwarded_caller_id,
)
from fsroute.routing.planner import rounds
from fsroute.switch import contacts, dialstring
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Hangup
from tests.support.builders import LINE, decision

FIRST, OTHER = EndpointDial("1001", "acme.example"), EndpointDial("1002", "acme.example")
REGISTERED = {dial: Registered((ContactDial("internal", f"sip:{dial.user}@192.0.2.7"),)) for dial in (FIRST, OTHER)}


def plan(dial: EndpointDial | ContactDial) -> Plan:
    return Plan(((Leg("endpoint", dial, policy.RECEIVED),),))


def decided(of: Plan) -> Decision:
    return decision(of, rule=Rule(LINE, 1), caller_id=policy.RECEIVED)


def test_a_copied_plan_has_its_own_phones_and_dial_string() -> None:
    """The first plan has computed all of its own before it is copied."""
    for first, other in ((plan(FIRST), plan(OTHER)), (plan(ContactDial("a", "sip:1")), plan(ContactDial("a", "sip:2")))):
        use(first)
        copied = replace(first, stages=other.stages)
        assert copied == other
        assert use(copied) == use(other) != use(first)


def use(of: Plan) -> tuple[object, ...]:
    """Everything that a plan keeps."""
    return (
        contacts.endpoints(of),
        rounds(of),
        contacts.resolve(decided(of), REGISTERED),
        dialstring.bridge(of, Confirmation()),
        dialstring.is_enterprise(of),
    )


def test_a_plan_keeps_the_string_of_the_last_confirmation_only() -> None:
    of = plan(FIRST)
    trunkless = [dialstring.bridge(of, Confirmation(), early_media=early) for early in (True, False, True)]
    assert trunkless[0] == trunkless[2] != trunkless[1]


def test_nothing_can_be_handed_to_a_new_plan_or_routing_but_its_own_values() -> None:
    """Mypy refuses these calls too."""
    with pytest.raises(TypeError, match="memo"):
        Plan(memo=PlanMemo())  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="memo"):
        replace(Plan(), memo=PlanMemo())
    with pytest.raises(TypeError, match="plans"):
        Routing("DE", plans={})  # type: ignore[call-arg]


def test_a_copied_routing_has_no_plans() -> None:
    routing = Routing("DE")
    routing.plans[LINE, 1, policy.RECEIVED, 0, 5] = KeptPlan(plan(FIRST), ())
    assert replace(routing, country="US").plans == {}
    assert routing.plans


def test_a_plan_is_equal_to_one_that_has_computed_more() -> None:
    first, second = plan(FIRST), plan(FIRST)
    use(first)
    assert first == second
    assert copy.copy(first) == second


def test_a_decision_with_another_plan_keeps_every_other_field() -> None:
    """No field has its default here, so one that is not copied is seen, also one that is added to Decision later."""
    values = {
        "number": LINE,
        "account": "acme",
        "rule": Rule(LINE, 1),
        "plan": plan(FIRST),
        "caller_id": policy.RECEIVED,
        "code": "routed",
        "reasons": (Reason(ReasonCode.RULE_MATCHED, "rule", "applies"),),
        "trunks": 2,
        "attestation": "A",
        "is_recall": True,
        "rounds": 3,
        "before": Outcome.BUSY,
    }
    assert values.keys() == {field.name for field in fields(Decision)}
    before = Decision(**values)  # type: ignore[arg-type]
    after = before.with_plan(
        Plan(final=Hangup("USER_BUSY")), (Reason(ReasonCode.NOT_REGISTERED, "endpoint", "left out"),), 1
    )
    changed = {
        "plan": Plan(final=Hangup("USER_BUSY")),
        "reasons": (*before.reasons, Reason(ReasonCode.NOT_REGISTERED, "endpoint", "left out")),
        "rounds": 4,
    }
    assert {field.name: getattr(after, field.name) for field in fields(Decision)} == values | changed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, SHOW_OWN),
        ("own", SHOW_OWN),
        ("original", SHOW_ORIGINAL),
        ("verified:+493023125020", ShowVerified("+493023125020")),
    ],
)
def test_the_caller_id_of_a_forwarded_leg_is_read_once(text: str | None, value: ForwardedCallerId) -> None:
    assert forwarded_caller_id(text) == value
    assert str(value) == (text or "own")
