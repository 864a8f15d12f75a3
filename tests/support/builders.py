"""Values of fsroute's model as tests write them: trunks, accounts, rules, targets, legs, decisions and calls.

They resemble the rows of scripts/demo.sql: account `acme` with the network number LINE, which calls out through the trunk
`carrier`. A test names what it is about by keyword; the defaults suit most tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

from fsroute.callerid import policy
from fsroute.codes import CallerIdCode, DecisionCode, ReasonCode
from fsroute.model import (
    Account,
    AccountStatus,
    Call,
    CallerId,
    ContactDial,
    Decision,
    Direction,
    Endpoint,
    EndpointDial,
    HostedNumber,
    Leg,
    Mode,
    NumberFacts,
    Plan,
    Reason,
    Routing,
    Rule,
    RuleType,
    Target,
    TimeProfile,
    TimeRange,
    Trunk,
    TrunkDial,
    TrunkRoute,
    User,
    Verification,
    VerificationState,
)
from fsroute.target_kinds import TargetKind

LINE = "+492214710100"
"""The network number of account acme, and a number that is hosted here."""

CALLER, MOBILE = "+493023125001", "+491713920042"
"""Numbers of others: who calls, and where a call is forwarded to or a user calls."""

DOMAIN = "acme.example"
MONDAY_NOON = datetime(2026, 3, 16, 11, 0, tzinfo=UTC)
"""12:00 in Berlin, before summer time."""

RECEIVED = replace(policy.RECEIVED, presented=CALLER)
"""What the phones see of a call by CALLER from outside."""

HIDDEN_CALLER = CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS)
"""What they see of a caller who hides the number."""


# --- trunks and accounts ----------------------------------------------------------------------------------


def trunk(name: str, **changes: Any) -> Trunk:
    """A trunk whose gateway has the same name."""
    return Trunk(**{"name": name, "gateway": name, "country": "DE", "domain": f"{name}.example", **changes})


CARRIER = trunk("carrier")


def routes(*trunks: Trunk, prefix: str = "+") -> tuple[TrunkRoute, ...]:
    """These trunks for all numbers with this prefix, in this order."""
    return tuple(TrunkRoute(prefix, position, each) for position, each in enumerate(trunks, 1))


def account(name: str = "acme", **changes: Any) -> Account:
    """A German account that calls out through CARRIER."""
    values = {"country": "DE", "timezone": "Europe/Berlin", "domain": f"{name}.example", "network_number": LINE}
    return Account(name, **{**values, "routes": routes(CARRIER), **changes})


ACME = account()
SUSPENDED = account(status=AccountStatus.SUSPENDED)


def verification(
    first: str,
    last: str | None = None,
    *,
    expires_at: datetime | None,
    state: VerificationState = VerificationState.VERIFIED,
    account: str = "acme",
) -> Verification:
    """Of one number, or of the block from `first` to `last`."""
    return Verification(account, first, last or first, state, expires_at)


# --- endpoints and users ----------------------------------------------------------------------------------


def endpoint(name: str = "1001", **changes: Any) -> Endpoint:
    return Endpoint(**{"name": name, "domain": DOMAIN, **changes})


def endpoints(*names: str, off: tuple[str, ...] = ()) -> tuple[Endpoint, ...]:
    """`off` names those that are switched off."""
    return tuple(endpoint(name, enabled=name not in off) for name in names)


def user(name: str, extension: str | None, *phones: Endpoint, **changes: Any) -> User:
    return User(name, extension, phones, **changes)


# --- targets ----------------------------------------------------------------------------------------------


def target(kind: TargetKind, value: str, **changes: Any) -> Target:
    return Target(**{"position": 1, "kind": kind, "value": value, **changes})


def endpoint_target(name: str = "1001", *, off: tuple[str, ...] = (), **changes: Any) -> Target:
    return target(TargetKind.ENDPOINT, name, endpoints=endpoints(name, off=off), **changes)


def user_target(*names: str, off: tuple[str, ...] = (), **changes: Any) -> Target:
    """The user `reception` with these endpoints."""
    return target(TargetKind.USER, "reception", endpoints=endpoints(*names, off=off), **changes)


def group_target(*names: str, off: tuple[str, ...] = (), **changes: Any) -> Target:
    """The ring group `sales` with these endpoints."""
    return target(TargetKind.RING_GROUP, "sales", endpoints=endpoints(*names, off=off), **changes)


def external_target(number: str = MOBILE, **changes: Any) -> Target:
    return target(TargetKind.EXTERNAL, number, **changes)


def hosted_target(number: str, **changes: Any) -> Target:
    return target(TargetKind.HOSTED, number, **changes)


VOICEMAIL = target(TargetKind.VOICEMAIL, "1001")
CLOSED = target(TargetKind.ANNOUNCEMENT, "fsroute/closed.wav")


# --- rules and what is read for a call --------------------------------------------------------------------


def daily(name: str, start_hour: int, end_hour: int) -> TimeProfile:
    """Every day between these hours in Berlin, also through the night."""
    return TimeProfile(name, "Europe/Berlin", None, (TimeRange(None, time(start_hour), time(end_hour)),))


OFFICE_HOURS = daily("office", 9, 17)


def rule(
    position: int = 1,
    type_: RuleType = RuleType.GENERAL,
    *targets: Target,
    number: str = LINE,
    mode: Mode = Mode.SEQUENTIAL,
    **changes: Any,
) -> Rule:
    return Rule(number, position, type_, mode, targets=targets, **changes)


def hosted(*rules: Rule, number: str = LINE, account: Account = ACME, enabled: bool = True) -> HostedNumber:
    return HostedNumber(number, account, rules, enabled)


def routing_of(*numbers: HostedNumber, **changes: Any) -> Routing:
    """What was read for a call to the first of these numbers, or to no hosted number."""
    found: Mapping[str, HostedNumber] = {each.number: each for each in numbers}
    dialled = numbers[0].number if numbers else None
    return Routing(**{"country": "DE", "dialled": dialled, "numbers": found, **changes})


def facts(*verifications: Verification, owner: str | None = None) -> NumberFacts:
    return NumberFacts(owner, verifications)


def outgoing_call(to: str, **changes: Any) -> Call:
    """By the phone 1001 of acme's user `reception`."""
    values = {"caller": "1001", "direction": Direction.OUTBOUND, "account": "acme", "user": "reception"}
    return Call(to, **{**values, **changes})


# --- what is decided --------------------------------------------------------------------------------------


def phone_leg(
    name: str = "1001", *, ring_s: int, caller_id: CallerId = policy.RECEIVED, domain: str = DOMAIN, **changes: Any
) -> Leg:
    """To a phone that sees what FreeSWITCH received. 20 s is a leg's usual ring time in a sequential rule, 25 s in a
    parallel one."""
    return Leg(f"endpoint {name}", EndpointDial(name, domain), caller_id, ring_s=ring_s, **changes)


def contact_leg(
    address: str = "sip:1001@192.0.2.11", *, caller_id: CallerId = policy.RECEIVED, profile: str = "internal", **changes: Any
) -> Leg:
    """To a phone by the address that it registered."""
    return Leg(**{"target": "endpoint 1001", "dial": ContactDial(profile, address), "caller_id": caller_id, **changes})


def trunk_leg(
    number: str = MOBILE, *, caller_id: CallerId, ring_s: int, trunk: Trunk = CARRIER, hops: int = 1, **changes: Any
) -> Leg:
    values = {"target": f"external {number}", "dial": TrunkDial(trunk, number), "caller_id": caller_id, "ring_s": ring_s}
    return Leg(**{**values, "hops": hops, **changes})


def shown(number: str, code: CallerIdCode) -> CallerId:
    """A number that is presented and is also the network number."""
    return CallerId(number, number, code)


def decision(
    plan: Plan, *reasons: Reason, caller_id: CallerId = RECEIVED, code: DecisionCode = ReasonCode.ROUTED, **changes: Any
) -> Decision:
    """About a call from outside to LINE, unless `number` says otherwise."""
    values = {"number": LINE, "account": "acme", "rule": None, "plan": plan, "caller_id": caller_id, "code": code}
    return Decision(**{**values, "reasons": reasons, **changes})
