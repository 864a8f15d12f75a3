"""How much memory a routing takes, as an estimate: rows and legs are counted, not measured. Pure.

An exact measurement would take longer than the read of the rows. The figures are upper bounds of what CPython takes for
routings with names of usual lengths: 10 to 35 % above the memory of a process, for numbers of six sizes (CPython 3.11).
"""

from __future__ import annotations

from collections.abc import Iterable

from fsroute.model import Account, Endpoint, HostedNumber, Routing
from fsroute.routing.limits import legs_of

ROW_BYTES = 200
"""A row and its part of the lists around it: a rule with its key, a target, a route with its trunk, a time range."""

TEXT_BYTES = 80
"""A row that is little more than one text: a caller filter, a permission."""

LEG_BYTES = 1000
"""A leg of a kept plan: itself, with its registered phone in its place, in the dial string and in the log."""

_WHOLE_BYTES = 5000
"""A routing without rows: its own dictionaries, its key, and the first plan without legs."""


def weight_of(routing: Routing) -> int:
    """Bytes that this routing takes, with the plans that the planner has kept in it. Before there is a plan it counts the
    legs of the rule that has most, so that the first plan makes it no heavier."""
    rows, texts, possible = 0, 0, 0
    seen: set[int] = set()
    for account in _accounts(routing):
        if id(account) not in seen:
            seen.add(id(account))
            rows += 1 + len(account.routes)
            texts += len(account.permissions)
    for hosted in routing.numbers.values():
        more = _of_number(hosted, seen)
        rows, texts, possible = rows + more[0], texts + more[1], max(possible, more[2])
    for user in (routing.caller, routing.callee):
        if user is not None:
            rows += 1 + len(user.endpoints)
    rows += sum(1 + len(facts.verifications) for facts in routing.facts.values())
    legs = max(possible, sum(legs_of(kept.plan) for kept in tuple(routing.plans.values())))
    return _WHOLE_BYTES + rows * ROW_BYTES + texts * TEXT_BYTES + legs * LEG_BYTES


def _accounts(routing: Routing) -> Iterable[Account]:
    if routing.account is not None:
        yield routing.account
    yield from (hosted.account for hosted in routing.numbers.values())


def _of_number(hosted: HostedNumber, seen: set[int]) -> tuple[int, int, int]:
    """Rows and texts of a number, and the legs of its largest rule. Targets of the same group share their endpoints."""
    rows, texts, most = 1, 0, 0
    for rule in hosted.rules:
        rows += 1 + len(rule.targets)
        texts += len(rule.callers)
        if rule.time_profile is not None and id(rule.time_profile) not in seen:
            seen.add(id(rule.time_profile))
            rows += 1 + len(rule.time_profile.ranges)
        for target in rule.targets:
            rows += _new(target.endpoints, seen)
        most = max(most, sum(len(target.endpoints) or 1 for target in rule.targets))
    return rows, texts, most


def _new(endpoints: tuple[Endpoint, ...], seen: set[int]) -> int:
    if not endpoints or id(endpoints) in seen:
        return 0
    seen.add(id(endpoints))
    return len(endpoints)
