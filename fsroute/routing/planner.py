"""Makes the plan of a rule: the legs for its targets. Pure.

A parallel rule becomes one stage, a sequential rule one stage for each target. If a target is another hosted number, the
planner uses that number's own rule, and its stages replace the target. The planner leaves out a target that cannot ring,
and adds a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from fsroute.callerid import policy
from fsroute.codes import DecisionCode, ReasonCode
from fsroute.model import (
    SHOW_OWN,
    Account,
    AccountStatus,
    Call,
    CallerId,
    Diversion,
    Endpoint,
    EndpointDial,
    HostedNumber,
    KeptPlan,
    Leg,
    Mode,
    Outcome,
    Owner,
    Plan,
    Reason,
    Routing,
    Rule,
    RuleType,
    Stage,
    Target,
    Trunk,
    TrunkDial,
)
from fsroute.routing import rules
from fsroute.routing.limits import MAX_LEGS, MAX_PLAN_LEGS, MAX_TRUNKS, from_zero, legs_of
from fsroute.routing.permissions import may_call
from fsroute.target_kinds import Ending, LeadsTo

PARALLEL_RING_S = 25
"""The ring time of a parallel rule without ring_s: five or six rings, as long as German carriers ring before the mailbox."""

SEQUENTIAL_RING_S = 20
"""The ring time of a target without ring_s in a sequential rule."""

_KEPT_PLANS = 32
"""The most plans that one Routing keeps. No number has as many rules. The limit is needed because `hops` is a part of the
key, and callers can send any value for it."""

_KEPT_LEGS = 2 * MAX_PLAN_LEGS
"""Legs of the plans that one Routing keeps. They are about 1 kB each with their dial strings (data/weight.py)."""

PATIENCE_S = 6
"""Seconds that FreeSWITCH waits for ringing on one trunk before it tries the next one. By ITU-T E.721 a toll call may take
5 s on average until it rings. If a working trunk is slower for once, the next trunk carries the call."""

DEFAULT_HOP_LIMIT = 5
"""How often a call may leave through a trunk and come back. Chains of forwards that operators intend are shorter."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A leg before the planner knows which other legs ring at the same time."""

    leg: Leg
    confirm: bool | None


@dataclass(slots=True)
class _Drafts:
    """A plan before its stages are complete."""

    stages: list[list[_Draft]] = field(default_factory=list)
    final: Ending | None = None

    def __bool__(self) -> bool:
        return bool(self.stages) or self.final is not None


@dataclass(slots=True)
class Planner:
    """Makes the plans of one call. Phones show `caller_id`.

    `reasons` collects the reasons. `expanded` has the hosted numbers of the last plan, each with its rule that was used.
    `is_general` says that the last plan depends neither on the caller nor on the time.
    `legs` counts the legs of the plan.
    """

    call: Call
    routing: Routing
    now: datetime
    caller_id: CallerId
    hop_limit: int = DEFAULT_HOP_LIMIT
    reasons: list[Reason] = field(default_factory=list)
    expanded: dict[str, Rule | None] = field(default_factory=dict)
    is_general: bool = True
    legs: int = 0

    def add_reason(self, code: DecisionCode, subject: object, text: str) -> None:
        self.reasons.append(Reason(code, str(subject), text))

    @property
    def _seen(self) -> CallerId:
        return policy.RECEIVED if self.caller_id.as_received else self.caller_id

    def plan(self, rule: Rule, hosted: HostedNumber) -> Plan:
        """The plan of one rule of a hosted number. It is empty if none of the rule's targets can ring.

        Most plans are the same for all callers at all times. Routing.plans keeps such plans as long as the rows that they
        were made from.
        """
        key = rule.number, rule.position, self._seen, self.call.hops, self.hop_limit
        kept = self.routing.plans.get(key)
        if kept is not None:
            self.expanded = {hosted.number: rule}
            self.reasons += kept.reasons
            return kept.plan
        before, self.is_general = len(self.reasons), True
        plan = self._plan(rule, hosted)
        kept_legs = sum(legs_of(kept.plan) for kept in self.routing.plans.values())
        if self.is_general and len(self.routing.plans) < _KEPT_PLANS and kept_legs + legs_of(plan) <= _KEPT_LEGS:
            self.routing.plans[key] = KeptPlan(plan, tuple(self.reasons[before:]))
        return plan

    def _plan(self, rule: Rule, hosted: HostedNumber) -> Plan:
        self.expanded, self.legs = {hosted.number: rule}, 0
        drafts = self._of_rule(rule, hosted)
        stages = [stage for stage in map(self._stage, drafts.stages) if stage]
        for stage in stages[MAX_LEGS:]:
            self.add_reason(ReasonCode.STAGE_LIMIT, stage[0].target, f"left out: more than {MAX_LEGS} stages")
        return Plan(tuple(stages[:MAX_LEGS]), drafts.final)

    # --- rules -------------------------------------------------------------------------------------------

    def _of_rule(self, rule: Rule, hosted: HostedNumber) -> _Drafts:
        return (self._parallel if rule.mode is Mode.PARALLEL else self._sequential)(rule, hosted)

    def _parallel(self, rule: Rule, hosted: HostedNumber) -> _Drafts:
        whole = rule.ring_s or PARALLEL_RING_S
        together: list[_Draft] = []
        final: Ending | None = None
        for target in self._fitting(rule):
            if final is not None and target.kind.is_end:
                self.add_reason(ReasonCode.AFTER_FINAL, _name(target), "left out: a target before it ends the call")
                continue
            found = self._of_target(target, rule, hosted, target.ring_s or whole)
            final = final or found.final
            for stage, offset in _one_after_another(found.stages, target.start_s):
                together += self._until(whole, [_delayed(draft, offset) for draft in stage])
        return _Drafts([together] if together else [], final)

    def _sequential(self, rule: Rule, hosted: HostedNumber) -> _Drafts:
        result = _Drafts()
        left = rule.ring_s
        for target in self._fitting(rule):
            if result.final is not None:
                self.add_reason(ReasonCode.AFTER_FINAL, _name(target), "left out: a target before it ends the call")
                continue
            found = self._of_target(target, rule, hosted, target.ring_s or SEQUENTIAL_RING_S)
            for stage in found.stages:
                kept = stage if left is None else self._until(left, stage)
                if kept:
                    result.stages.append(kept)
                    left = None if left is None else left - _length(kept)
            result.final = found.final
        return result

    def _fitting(self, rule: Rule) -> Iterable[Target]:
        """The enabled targets, and of those behind MAX_PLAN_LEGS legs only the endings."""
        left_out = 0
        for target in self._enabled(rule):
            if self.legs < MAX_PLAN_LEGS or target.kind.is_end:
                yield target
            else:
                left_out += 1
        if left_out:
            text = f"{left_out} targets are left out: more than {MAX_PLAN_LEGS} legs in a plan"
            self.add_reason(ReasonCode.LEG_LIMIT, rule, text)

    def _enabled(self, rule: Rule) -> Iterable[Target]:
        for target in rule.targets:
            if target.enabled:
                yield target
            else:
                self.add_reason(ReasonCode.TARGET_DISABLED, _name(target), "left out: is switched off")

    def _until(self, end_s: int, stage: list[_Draft]) -> list[_Draft]:
        """The part of a stage that rings before `end_s`."""
        kept = []
        for draft in stage:
            leg = draft.leg
            if leg.start_s >= end_s:
                self.add_reason(ReasonCode.NO_TIME_LEFT, leg.target, "left out: the ring time ends before it would start")
            elif leg.end_s <= end_s:
                kept.append(draft)
            else:
                kept.append(replace(draft, leg=replace(leg, ring_s=end_s - leg.start_s)))
        return kept

    # --- targets -----------------------------------------------------------------------------------------

    def _of_target(self, target: Target, rule: Rule, hosted: HostedNumber, ring_s: int) -> _Drafts:
        match target.kind.leads_to:
            case LeadsTo.END:
                return _Drafts(final=target.kind.ending(target.value, hosted.account.domain))
            case LeadsTo.TRUNK:
                return self._external(target, rule, hosted, ring_s)
            case LeadsTo.HOSTED_NUMBER:
                return self._hosted(target, ring_s)
            case LeadsTo.ENDPOINTS:
                return self._endpoints(target, ring_s)

    def _endpoints(self, target: Target, ring_s: int) -> _Drafts:
        if not target.endpoints:
            self.add_reason(ReasonCode.NO_ENDPOINTS, _name(target), "left out: has no endpoint")
        drafts = [_Draft(leg, None) for leg in self.ring(target.endpoints, ring_s)]
        return _Drafts([drafts] if drafts else [])

    def ring(self, endpoints: Iterable[Endpoint], ring_s: int) -> list[Leg]:
        """A leg for each enabled endpoint."""
        legs: list[Leg] = []
        for endpoint in endpoints:
            name = f"endpoint {endpoint.name}"
            if endpoint.enabled:
                dial = EndpointDial(endpoint.name, endpoint.domain)
                if len(legs) >= MAX_PLAN_LEGS:
                    break
                self.legs += 1
                legs.append(Leg(name, dial, self._seen, ring_s=ring_s, owner=_owner(endpoint)))
            else:
                self.add_reason(ReasonCode.ENDPOINT_DISABLED, name, "left out: is switched off")
        return legs

    def together(self, endpoints: Iterable[Endpoint], ring_s: int) -> Stage:
        """A stage of these endpoints."""
        return self._stage([_Draft(leg, None) for leg in self.ring(endpoints, ring_s)])

    def _external(self, target: Target, rule: Rule, hosted: HostedNumber, ring_s: int) -> _Drafts:
        if target.value in self.routing.numbers:
            self.add_reason(ReasonCode.HOSTED_HERE, _name(target), "is hosted here and stays inside")
            return self._hosted(target, ring_s)
        if target.caller_id != SHOW_OWN:
            self.is_general = False  # the leg may show the caller's number, or a number whose verification expires
        diversion = Diversion(hosted.number, _DIVERSIONS[rule.type], self.call.hops + 1)
        tried: list[Leg] = []
        trunks = self.trunks_to(target.value, hosted.account)
        for trunk in trunks[MAX_TRUNKS:]:
            self.add_reason(
                ReasonCode.TRUNK_LIMIT, f"trunk {trunk.name}", f"not tried for {target.value}: it is the ninth or later"
            )
        for trunk in trunks[:MAX_TRUNKS]:
            caller_id = self._forwarded(target, hosted, trunk, first=not tried)
            if caller_id is not None:
                self.legs += 1
                tried.append(replace(self.leg(trunk, target.value, caller_id, ring_s), diversion=diversion))
        if not tried:
            return _Drafts()
        return _Drafts([[_Draft(replace(tried[0], fallbacks=tuple(tried[1:])), target.confirm)]])

    def _forwarded(self, target: Target, hosted: HostedNumber, trunk: Trunk, *, first: bool) -> CallerId | None:
        """The caller ID for an external target through this trunk, None if its caller ID forbids the leg."""
        caller_id = policy.of_forwarded(
            target.caller_id, self.call, self.routing, hosted.account, hosted.number, trunk, target.value, self.now
        )
        name = _name(target) if first else f"{_name(target)} by trunk {trunk.name}"
        if isinstance(caller_id, policy.CallerIdRefused):
            verdict = caller_id.denial
            if caller_id.instead is None:
                self.add_reason(verdict.code, name, f"left out: {target.caller_id} may not be shown: {verdict.why}")
                return None
            self.add_reason(verdict.code, name, f"is not shown {target.caller_id}: {verdict.why}")
            caller_id = caller_id.instead
        if caller_id.presented != hosted.number:
            self.add_reason(
                ReasonCode.CALLER_ID, name, f"is shown {caller_id.presented or 'no number'} ({caller_id.reason})"
            )
        return caller_id

    def trunks_to(self, number: str, account: Account, *, must_pass: bool = False) -> list[Trunk]:
        """The trunks to a number, the best first. Empty, with a reason, if the call may not leave or has no trunk.

        With `must_pass` the number is never barred, and the call may also use the account's trunks to other numbers.
        """
        name = f"external {number}"
        if self.call.hops >= self.hop_limit:
            self.add_reason(
                ReasonCode.HOP_LIMIT, name, f"left out: the call came through trunks {self.call.hops} times, a loop"
            )
            return []
        if not must_pass and not may_call(number, account):
            self.add_reason(ReasonCode.DESTINATION_BARRED, name, f"left out: account {account.name} may not call it")
            return []
        trunks = self._trunks(number, account)
        if must_pass:
            trunks = list(dict.fromkeys([*trunks, *every_trunk(account)]))
        if not trunks:
            self.add_reason(ReasonCode.NO_TRUNK, name, f"left out: account {account.name} has no trunk to it")
        return trunks

    def leg(self, trunk: Trunk, number: str, caller_id: CallerId, ring_s: int) -> Leg:
        """A leg to a number through this trunk."""
        return Leg(f"external {number}", TrunkDial(trunk, number), caller_id, ring_s=ring_s, hops=self.call.hops + 1)

    def _trunks(self, number: str, account: Account) -> list[Trunk]:
        """The enabled trunks to a number: the longest prefix first, then by position."""
        matching = sorted(
            (route for route in account.routes if number.startswith(route.prefix)),
            key=lambda route: (-len(route.prefix), route.position),
        )
        for route in matching:
            if not route.trunk.enabled:
                self.add_reason(
                    ReasonCode.TRUNK_DISABLED, f"trunk {route.trunk.name}", f"not used for {number}: is switched off"
                )
        return list(dict.fromkeys(route.trunk for route in matching if route.trunk.enabled))

    def _hosted(self, target: Target, ring_s: int) -> _Drafts:
        """The plan of another hosted number, in place of the target."""
        self.is_general = False  # the other number's rules may depend on the caller and the time
        name = f"number {target.value}"
        hosted = self.routing.numbers.get(target.value)
        if hosted is None:
            self.add_reason(ReasonCode.NUMBER_LIMIT, name, "left out: fsroute reads no more hosted numbers for one call")
            return _Drafts()
        if hosted.number in self.expanded:
            self.add_reason(ReasonCode.LOOP, name, "left out: the call has already been at this number")
            return _Drafts()
        if not hosted.enabled:
            self.add_reason(ReasonCode.NUMBER_DISABLED, name, "left out: is switched off")
            return _Drafts()
        if hosted.account.status is AccountStatus.SUSPENDED:
            self.add_reason(ReasonCode.ACCOUNT_SUSPENDED, name, f"left out: account {hosted.account.name} is suspended")
            return _Drafts()
        self.expanded[hosted.number] = None
        rule = rules.first_rule(hosted, self.call, self.routing.country, self.now, self.add_reason)
        while rule is not None:
            drafts = self._of_rule(rule, hosted)
            if drafts:
                self.expanded[hosted.number] = rule
                return self._within(target, drafts, ring_s)
            self.add_reason(ReasonCode.EMPTY_PLAN, rule, "none of its targets can ring")
            rule = rules.next_rule(
                hosted, rule, Outcome.UNREACHABLE, self.call, self.routing.country, self.now, self.add_reason
            )
        return _Drafts()

    def _within(self, target: Target, drafts: _Drafts, ring_s: int) -> _Drafts:
        """The drafts of another number, cut off at the end of the target's own ring time if the target has one."""
        if target.ring_s is None:
            return drafts
        stages = []
        for stage, offset in _one_after_another(drafts.stages, 0):
            kept = self._until(ring_s - offset, stage) if offset < ring_s else self._until(0, stage)
            if kept:
                stages.append(kept)
        return _Drafts(stages, drafts.final)

    # --- stages ------------------------------------------------------------------------------------------

    def _stage(self, drafts: list[_Draft]) -> Stage:
        """The legs of a stage: each phone and number once, at most MAX_LEGS, with confirmation by a key where it is
        needed."""
        first: dict[object, _Draft] = {}
        for draft in drafts:
            seen = first.get(draft.leg.dial)
            if seen is None:
                first[draft.leg.dial] = draft
                continue
            self.add_reason(ReasonCode.DUPLICATE, draft.leg.target, "rings once")
            if draft.leg.start_s < seen.leg.start_s:
                first[draft.leg.dial] = draft
        kept = list(first.values())
        for draft in kept[MAX_LEGS:]:
            self.add_reason(ReasonCode.LEG_LIMIT, draft.leg.target, f"left out: more than {MAX_LEGS} legs together")
        kept = kept[:MAX_LEGS]
        is_group = len(kept) > 1
        return from_zero([replace(d.leg, confirm=True) if _is_confirmed(d, is_group=is_group) else d.leg for d in kept])


def _owner(endpoint: Endpoint) -> Owner | None:
    """The owner of an endpoint, None if only its name is known, as in tests."""
    return Owner(endpoint.account, endpoint.user, endpoint.name, endpoint.extension) if endpoint.account else None


_DIVERSIONS = {
    RuleType.GENERAL: "unconditional",
    RuleType.BUSY: "user-busy",
    RuleType.NO_ANSWER: "no-answer",
    RuleType.UNREACHABLE: "unavailable",
    RuleType.BASE: "no-answer",
}
"""The reason in the Diversion header for each type of rule, in the terms of RFC 5806."""


def every_trunk(account: Account) -> list[Trunk]:
    """All enabled trunks of an account. The main trunks come first: those of the routes with the shortest prefixes."""
    general = sorted(account.routes, key=lambda route: (len(route.prefix), route.position))
    return list(dict.fromkeys(route.trunk for route in general if route.trunk.enabled))


def attempts(leg: Leg) -> tuple[Leg, ...]:
    """The leg and its fallbacks, in the order in which FreeSWITCH tries them when a trunk fails.

    Each attempt but the last must ring within PATIENCE_S, and within half of the time that is left. The next attempt gets
    the rest of the time. So all attempts together end when the leg without fallbacks would have ended. If no time is left,
    there is no further attempt.
    """
    if not leg.fallbacks:
        return (leg,)
    tried: list[Leg] = []
    left, trunks = leg.ring_s, (replace(leg, fallbacks=()), *leg.fallbacks)
    for number, attempt in enumerate(trunks, 1):
        patience = max(min(PATIENCE_S, left // 2), 1)
        following = number < len(trunks) and left > patience
        tried.append(
            replace(
                attempt,
                start_s=leg.start_s,
                ring_s=left,
                confirm=leg.confirm,
                progress_s=patience if following else leg.progress_s,
            )
        )
        if not following:
            break
        left -= patience
    return tuple(tried)


def rounds(plan: Plan) -> tuple[tuple[Stage, ...], ...]:
    """The stages of a plan in groups. FreeSWITCH rings each group by one `bridge`.

    A stage in which a leg has fallbacks needs a dial string of its own (dialstring.py). Stages without fallbacks that follow
    each other share one.
    """
    found = plan.memo.rounds
    if found is None:
        found = plan.memo.rounds = _rounds(plan.stages)
    return found


def _rounds(stages: Iterable[Stage]) -> tuple[tuple[Stage, ...], ...]:
    found: list[list[Stage]] = []
    joined = False
    for stage in stages:
        alone = any(leg.fallbacks for leg in stage)
        if joined and not alone:
            found[-1].append(stage)
        else:
            found.append([stage])
        joined = not alone
    return tuple(map(tuple, found))


def _is_confirmed(draft: _Draft, *, is_group: bool) -> bool:
    if isinstance(draft.leg.dial, EndpointDial):
        return False
    return is_group if draft.confirm is None else draft.confirm


def _name(target: Target) -> str:
    return f"{target.kind.label} {target.value}"


def _length(stage: list[_Draft]) -> int:
    return max(draft.leg.end_s for draft in stage)


def _delayed(draft: _Draft, by_s: int) -> _Draft:
    return replace(draft, leg=replace(draft.leg, start_s=draft.leg.start_s + by_s)) if by_s else draft


def _one_after_another(stages: list[list[_Draft]], start_s: int) -> Iterable[tuple[list[_Draft], int]]:
    """Each stage, with the second at which it begins if the first stage begins at `start_s`."""
    for stage in stages:
        yield stage, start_s
        start_s += _length(stage)
