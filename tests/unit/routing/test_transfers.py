"""Calls that a user transfers: on whose behalf they are decided, what is shown, and where they come back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.codes import CallerIdCode
from fsroute.eventsocket.frames import Execute, Facts
from fsroute.model import (
    HANGUP,
    Account,
    AccountStatus,
    Call,
    CallerId,
    Decision,
    Direction,
    Diversion,
    EndpointDial,
    FailedPlan,
    Outcome,
    Permission,
    Routing,
    RuleKey,
    RuleType,
    TransferredCallerId,
    User,
)
from fsroute.routing.router import TRANSFER_RING_S, route
from fsroute.switch.call_commands import commands_for
from fsroute.switch.channel_state import Departure, call_of, departure_of, plans_of, progress_of
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Hangup
from tests.support.builders import (
    ACME,
    CALLER,
    LINE,
    MOBILE,
    endpoint,
    endpoint_target,
    hosted,
    outgoing_call,
    routing_of,
    rule,
    user,
)
from tests.support.snapshots import facts_of

QUEUE, OWN = "+492214710200", "+492214710113"
NOW = datetime(2026, 11, 26, 11, 0, tzinfo=UTC)
RECEPTION = user("reception", "11", endpoint("1001", account="acme", user="reception"))
WORKSHOP = user("workshop", "12", endpoint("1003", account="acme", user="workshop"))


def transferred(to: str, **more: Any) -> Call:
    """By the reception: a caller from the carrier."""
    return outgoing_call(to, **{"caller": CALLER, "endpoint": "1001", "transferred": True, **more})


def tables(account: Account | None = ACME, callee: User | None = None, caller: User | None = RECEPTION) -> Routing:
    queue = hosted(rule(1, RuleType.GENERAL, endpoint_target("1004"), number=QUEUE), number=QUEUE)
    return routing_of(queue, dialled=None, account=account, caller=caller, callee=callee)


def rings(decision: Decision) -> list[str]:
    return [leg.target for stage in decision.plan.stages for leg in stage]


NOBODY_ANSWERED = FailedPlan(None, Outcome.NO_ANSWER, "NO_ANSWER")

# --- where it goes ----------------------------------------------------------------------------------------


def test_an_extension_rings_and_sees_the_party_that_was_transferred() -> None:
    found = route(transferred("12"), tables(callee=WORKSHOP), NOW)
    assert (found.code, rings(found), found.account) == ("extension", ["endpoint 1003"], "acme")
    assert found.caller_id == CallerId(CALLER, None, CallerIdCode.CALLER_RECEIVED, as_received=True)


SEEN: dict[str, tuple[Call, CallerId]] = {
    "a caller of whom nothing is known": (
        transferred("12", caller=""),
        CallerId(None, None, CallerIdCode.CALLER_RECEIVED, True),
    ),
    "who hides the number": (transferred("12", anonymous=True), CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS)),
    "a colleague": (transferred("12", caller="1004", shown="13"), CallerId("13", None, CallerIdCode.TRANSFERRED_PARTY)),
    "a colleague who hides the number outside": (
        transferred("12", caller="1004", shown="13", anonymous=True),
        CallerId("13", None, CallerIdCode.TRANSFERRED_PARTY),
    ),
    "who was shown as nobody": (transferred("12", shown="anonymous"), CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS)),
}


@pytest.mark.parametrize(("call", "seen"), SEEN.values(), ids=SEEN.keys())
def test_phones_see_the_other_party_as_before(call: Call, seen: CallerId) -> None:
    assert route(call, tables(callee=WORKSHOP), NOW).caller_id == seen


def shown(account: Account, **more: Any) -> CallerId:
    found = route(transferred(MOBILE, **more), tables(account), NOW)
    (stage,) = found.plan.stages
    (leg,) = stage
    assert (leg.ring_s, leg.diversion) == (TRANSFER_RING_S, Diversion(LINE, "deflection", 1))
    assert leg.caller_id == found.caller_id
    return leg.caller_id


ORIGINAL = replace(ACME, transferred_caller_id=TransferredCallerId.ORIGINAL)
OUTSIDE: dict[str, tuple[Account, dict[str, Any], CallerId]] = {
    "the user's": (ACME, {}, CallerId(LINE, LINE, CallerIdCode.NETWORK_NUMBER)),
    "the user's, for a party that hides its own": (
        ACME,
        {"anonymous": True},
        CallerId(LINE, LINE, CallerIdCode.NETWORK_NUMBER),
    ),
    "the caller's": (ORIGINAL, {}, CallerId(CALLER, LINE, CallerIdCode.ORIGINAL_CALLER)),
    "nobody's": (ORIGINAL, {"anonymous": True}, CallerId(None, LINE, CallerIdCode.ORIGINAL_CALLER_ANONYMOUS)),
    "the user's, for a colleague": (ORIGINAL, {"shown": "13"}, CallerId(LINE, LINE, CallerIdCode.ORIGINAL_CALLER_UNKNOWN)),
    "the user's, for a premium number": (
        ORIGINAL,
        {"caller": "09001234567"},
        CallerId(LINE, LINE, CallerIdCode.ORIGINAL_CALLER_UNKNOWN),
    ),
}


@pytest.mark.parametrize(("account", "more", "expected"), OUTSIDE.values(), ids=OUTSIDE.keys())
def test_an_outside_number_sees_what_a_forward_would_show(
    account: Account, more: dict[str, Any], expected: CallerId
) -> None:
    assert shown(account, **more) == expected


# --- where it comes back ----------------------------------------------------------------------------------

NOWHERE: dict[str, tuple[Call, Routing, FailedPlan | None]] = {
    "nobody answers": (transferred("12"), tables(callee=WORKSHOP), NOBODY_ANSWERED),
    "the mobile is busy": (transferred(MOBILE), tables(), FailedPlan(None, Outcome.BUSY, "USER_BUSY", 1)),
    "no number": (transferred("nonsense"), tables(), None),
    "forty digits": (transferred("9" * 40), tables(), None),
    "barred": (
        transferred(MOBILE),
        tables(replace(ACME, permissions=(Permission("+", allowed=False),))),
        None,
    ),
    "no trunk": (transferred(MOBILE), tables(replace(ACME, routes=())), None),
    "a loop": (transferred(MOBILE, hops=5), tables(), None),
    "no network number": (transferred(MOBILE), tables(replace(ACME, network_number=None)), None),
}


@pytest.mark.parametrize(("call", "routing", "failed"), NOWHERE.values(), ids=NOWHERE.keys())
def test_a_transfer_that_gets_nowhere_comes_back(call: Call, routing: Routing, failed: FailedPlan | None) -> None:
    found = route(call, routing, NOW, failed)
    assert (found.code, rings(found), found.is_recall) == ("transfer_recall", ["endpoint 1001"], True)
    assert found.caller_id == CallerId(CALLER, None, CallerIdCode.CALLER_RECEIVED, as_received=True)
    ended = route(call, routing, NOW, replace(NOBODY_ANSWERED, is_recall=True))
    assert (ended.code, ended.plan.final, ended.plan.stages) == ("call_failed", Hangup("NO_ANSWER"), ())


def test_the_operator_can_have_it_ended() -> None:
    account = replace(ACME, failed_transfer=HANGUP)
    found = route(transferred("12"), tables(account, WORKSHOP), NOW, NOBODY_ANSWERED)
    assert (found.code, found.plan.final) == ("call_failed", Hangup("NO_ANSWER"))


def test_the_operator_can_send_it_to_a_number_whose_rules_then_apply() -> None:
    account = replace(ACME, failed_transfer=QUEUE)
    routing = tables(account, WORKSHOP)
    found = route(transferred("12"), routing, NOW, NOBODY_ANSWERED)
    assert (found.number, rings(found), found.is_recall) == (QUEUE, ["endpoint 1004"], True)
    after = FailedPlan(RuleKey(QUEUE, 1), Outcome.NO_ANSWER, "NO_ANSWER", is_recall=True)
    ended = route(transferred("12"), routing, NOW, after)
    assert (ended.code, ended.plan.final, ended.is_recall) == ("rules_exhausted", Hangup("NO_ANSWER"), True)


def test_a_recall_to_a_number_is_still_one_when_it_has_failed() -> None:
    """Else the number would ring for ever. The channel's variable is all that remembers it."""
    found = route(transferred("12"), tables(replace(ACME, failed_transfer=QUEUE), WORKSHOP), NOW, NOBODY_ANSWERED)
    step = written(transferred("12"), found, 2)["fsroute_step"]
    progress = progress_of(leg(fsroute_step=step, originate_disposition="NO_ANSWER", Channel_State_Number="4"))
    assert isinstance(progress, FailedPlan)
    assert (progress.rule, progress.is_recall) == (RuleKey(QUEUE, 1), True)


def test_a_phone_without_a_user_gets_its_call_back() -> None:
    found = route(transferred("12", user=None), tables(callee=WORKSHOP, caller=None), NOW, NOBODY_ANSWERED)
    assert rings(found) == ["endpoint 1001"]


def test_a_user_without_a_phone_gets_none() -> None:
    nobody = user("reception", "11")
    found = route(transferred("12"), tables(callee=WORKSHOP, caller=nobody), NOW, NOBODY_ANSWERED)
    assert (found.code, found.plan.final) == ("call_failed", Hangup("NO_ANSWER"))
    assert found.reasons[-1].code == "no_endpoints"


def test_a_transfer_to_oneself_rings_once() -> None:
    found = route(transferred("11"), tables(callee=RECEPTION), NOW, NOBODY_ANSWERED)
    assert (found.code, found.plan.stages) == ("call_failed", ())


ENDED: dict[str, tuple[Call, Routing, str]] = {
    "by nobody of ours": (transferred("12", account=None, user=None), tables(None, None, None), "transferor_unknown"),
    "by an account that is gone": (transferred("12"), tables(None, None, None), "account_unknown"),
    "by an account that is suspended": (
        transferred("12"),
        tables(replace(ACME, status=AccountStatus.SUSPENDED), WORKSHOP),
        "account_suspended",
    ),
}


@pytest.mark.parametrize(("call", "routing", "code"), ENDED.values(), ids=ENDED.keys())
def test_who_may_not_call_cannot_transfer(call: Call, routing: Routing, code: str) -> None:
    found = route(call, routing, NOW)
    assert (found.code, found.plan.stages, isinstance(found.plan.final, Hangup)) == (code, (), True)


def test_an_emergency_call_is_the_line_s_own() -> None:
    found = route(transferred("112", anonymous=True), tables(), NOW)
    assert (found.code, found.caller_id) == ("emergency", CallerId(LINE, LINE, CallerIdCode.EMERGENCY))


@given(
    to=st.sampled_from(["12", "11", MOBILE, "112", QUEUE, "nonsense", "09001234567", ""]),
    goal=st.sampled_from(["transferor", HANGUP, QUEUE, "+4911111"]),
    status=st.sampled_from(AccountStatus),
    outcomes=st.lists(st.sampled_from(Outcome), min_size=12, max_size=12),
    hops=st.integers(0, 6),
)
def test_every_transfer_comes_to_an_end(
    to: str, goal: str, status: AccountStatus, outcomes: Sequence[Outcome], hops: int
) -> None:
    """Whatever fails, a transferred call rings a bounded number of times, and then ends."""
    account = replace(ACME, failed_transfer=goal, status=status)
    routing = replace(tables(account, {"12": WORKSHOP, "11": RECEPTION}.get(to)), dialled=QUEUE if to == QUEUE else None)
    call, failed = transferred(to, hops=hops), None
    for outcome in outcomes:
        found = route(call, routing, NOW, failed)
        if not found.plan.stages:
            assert isinstance(found.plan.final, Hangup)
            return
        rule = found.rule.key if found.rule else None
        failed = FailedPlan(rule, outcome, "NORMAL_TEMPORARY_FAILURE", found.trunks, found.is_recall)
    pytest.fail("it still rings")


# --- on whose behalf --------------------------------------------------------------------------------------


HEADERS = ("Call_Direction", "Channel_State_Number", "Answer_State")


def leg(**variables: str) -> Facts:
    """A snapshot of a leg that has come back. Call-Direction and such are given with `_` for `-`."""
    headers = {name: variables.pop(name) for name in HEADERS if name in variables}
    return facts_of(variables, Caller_Destination_Number="12", **headers)


NOBODY = "-USAGE: <uuid> <var>\n"
NOTED = {
    "fsroute_transferor_account": "acme",
    "fsroute_transferor_user": "reception",
    "fsroute_transferor_endpoint": "1001",
}
BEHALF: dict[str, tuple[dict[str, str], tuple[str | None, str | None, str | None]]] = {
    "a phone": (NOTED, ("acme", "reception", "1001")),
    "a phone, of a leg that is another phone's": (
        NOTED | {"fsroute_account": "probe", "fsroute_user": "tester"},
        ("acme", "reception", "1001"),
    ),
    "a phone, of a phone that was called": (
        NOTED | {"Call_Direction": "outbound", "Answer_State": "answered"},
        ("acme", "reception", "1001"),
    ),
    "a phone, of a phone that still rings": (
        NOTED | {"Call_Direction": "outbound", "Answer_State": "ringing"},
        (None, None, None),
    ),
    "a phone, of a leg that has early media": (
        NOTED | {"Call_Direction": "outbound", "Answer_State": "early"},
        (None, None, None),
    ),
    "the switch, a caller who waits without an answer": (
        {"fsroute_transferor_account": NOBODY, "fsroute_called_account": "acme", "Answer_State": "ringing"},
        ("acme", None, None),
    ),
    "a phone without a user": (NOTED | {"fsroute_transferor_user": "_undef_"}, ("acme", None, "1001")),
    "an outside party": ({"fsroute_transferor_account": "_undef_", "fsroute_account": "acme"}, (None, None, None)),
    "a leg that is gone": (
        {"fsroute_transferor_account": "-ERR No such channel!\n", "fsroute_account": "acme"},
        (None, None, None),
    ),
    "the switch, a call that waits": (
        {"fsroute_transferor_account": NOBODY, "fsroute_called_account": "acme"},
        ("acme", None, None),
    ),
    "the switch, a phone that waits": (
        {"fsroute_transferor_account": NOBODY, "fsroute_account": "acme", "fsroute_user": "office"},
        ("acme", "office", None),
    ),
    "REFER of whoever is connected to a phone": (
        {"fsroute_transferor_account": NOBODY, "fsroute_account": "acme", "sip_refer_to": "<sip:12@x>"},
        (None, None, None),
    ),
    "what is no name": ({"fsroute_transferor_account": "acme'; DROP TABLE x"}, (None, None, None)),
    "nothing noted": ({"fsroute_account": "acme", "fsroute_user": "office"}, (None, None, None)),
}


@pytest.mark.parametrize(("variables", "expected"), BEHALF.values(), ids=BEHALF.keys())
def test_on_whose_behalf_a_leg_comes_back(
    variables: dict[str, str], expected: tuple[str | None, str | None, str | None]
) -> None:
    call = call_of(leg(fsroute_transferred="true", **variables))
    assert (call.account, call.user, call.endpoint) == expected
    assert (call.direction, call.transferred) == (Direction.OUTBOUND, True)


@given(st.dictionaries(st.sampled_from(sorted(NOTED)), st.text(max_size=40), max_size=3))
def test_only_names_are_taken(noted: dict[str, str]) -> None:
    call = call_of(leg(fsroute_transferred="true", **noted))
    for name in (call.account, call.user, call.endpoint):
        assert name is None or (
            name.isascii() and not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789_.-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        )


def test_what_was_noted_counts_for_transferred_legs_alone() -> None:
    call = call_of(leg(fsroute_direction="outbound", fsroute_account="probe", **NOTED))
    assert (call.account, call.user, call.transferred, call.shown) == ("probe", None, False, None)


SHOWN: dict[str, tuple[dict[str, str], str | None]] = {
    "a colleague who called": ({"fsroute_account": "acme", "fsroute_shown": "13"}, "13"),
    "a colleague who was called": (
        {"fsroute_account": "acme", "fsroute_shown": "13", "Call_Direction": "outbound", "Answer_State": "answered"},
        "13",
    ),
    "another account's phone that called": ({"fsroute_account": "probe", "fsroute_shown": "+493023125010"}, "+493023125010"),
    "another account's phone that was called": (
        {"fsroute_account": "probe", "fsroute_shown": "11", "Call_Direction": "outbound", "Answer_State": "answered"},
        "anonymous",
    ),
    "a caller from outside": ({}, None),
    "what is no number": ({"fsroute_shown": "<sip:1>"}, None),
}


@pytest.mark.parametrize(("variables", "expected"), SHOWN.values(), ids=SHOWN.keys())
def test_as_whom_a_party_was_shown(variables: dict[str, str], expected: str | None) -> None:
    assert call_of(leg(fsroute_transferred="true", **NOTED, **variables)).shown == expected


# --- what a transfer will need, and what stays readable ----------------------------------------------------


def written(call: Call, decision: Decision, count: int = 1) -> dict[str, str]:
    multiset = commands_for(call, decision, Confirmation(), count)[0]
    assert isinstance(multiset, Execute)
    return dict(pair.split("=", 1) for pair in multiset.argument.removeprefix("^^|").split("|"))


def test_a_user_s_call_notes_as_whom_it_is_shown() -> None:
    call = Call(MOBILE, "1001", direction=Direction.OUTBOUND, account="acme", user="reception")
    assert written(call, route(call, tables(), NOW))["fsroute_shown"] == LINE
    hidden = replace(call, anonymous=True)
    assert written(hidden, route(hidden, tables(), NOW))["fsroute_shown"] == "anonymous"


def test_a_transferred_call_keeps_what_was_noted_before() -> None:
    found = route(transferred(MOBILE), tables(), NOW)
    assert {"fsroute_shown", "fsroute_called_account"}.isdisjoint(written(transferred(MOBILE), found, 2))


def test_an_inbound_call_notes_whose_number_was_called() -> None:
    call = Call(QUEUE, CALLER)
    decision = route(call, replace(tables(None, None, None), dialled=QUEUE), NOW)
    assert decision.plan.stages == decision.plan.stages
    dial = decision.plan.stages[0][0].dial
    assert dial == EndpointDial("1004", "acme.example")
    assert written(call, decision)["fsroute_called_account"] == "acme"


def test_the_first_plan_and_the_last_are_both_readable() -> None:
    call = Call(QUEUE, CALLER)
    routing = replace(tables(None, None, None), dialled=QUEUE)
    first = route(call, routing, NOW)
    second = route(call, routing, NOW, FailedPlan(RuleKey(QUEUE, 1), Outcome.BUSY, "USER_BUSY"))
    variables = written(call, first) | written(call, second, 2)
    assert {name: variables[name] for name in ("fsroute_plan", "fsroute_code", "fsroute_code_2", "fsroute_last_code")} == {
        "fsroute_plan": "2",
        "fsroute_code": "routed",
        "fsroute_code_2": "rules_exhausted",
        "fsroute_last_code": "rules_exhausted",
    }
    assert variables["fsroute_rule"] == f"{QUEUE}/1"


@pytest.mark.parametrize(("text", "count"), [("", 0), ("3", 3), ("-1", 0), ("x", 0), ("9" * 400, 0), ("²", 0)])
def test_plans_are_counted_in_the_channel(text: str, count: int) -> None:
    assert plans_of(leg(fsroute_plan=text)) == count


STATES = {
    "2": Departure("transferred", "12"),
    "3": Departure("transferred", "12"),
    "4": None,
    "6": Departure("parked", "12"),
    "8": Departure("picked up", "12"),
    "9": Departure("bridged to another call", "12"),
    "10": None,
    "12": None,
    "7": Departure("in state 7", "12"),
    "x": Departure("in state x", "12"),
}


@pytest.mark.parametrize(("state", "expected"), STATES.items())
def test_a_state_says_whether_a_call_is_still_ours(state: str, expected: Departure | None) -> None:
    assert departure_of(leg(Channel_State_Number=state)) == expected
