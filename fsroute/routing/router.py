"""Decides where a call goes. Pure: it takes the call, the tables' rows and the time, and returns a Decision.

The rules of the dialled number decide an inbound call. A call from a user goes to the first of these that the dialled digits
reach: an emergency number, an extension of the account, a hosted number, the telephone network through a trunk. After a
failed plan the same function decides what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from fsroute.callerid import policy, received
from fsroute.codes import CallerIdCode, DecisionCode, ReasonCode
from fsroute.model import (
    HANGUP,
    TRANSFEROR,
    Account,
    AccountStatus,
    Call,
    CallerId,
    Decision,
    Denial,
    Direction,
    Diversion,
    Endpoint,
    FailedPlan,
    HostedNumber,
    Outcome,
    Plan,
    Routing,
    Rule,
    Stage,
    Trunk,
    TrunkDial,
    User,
)
from fsroute.numbers import phone_number, regulation, short_numbers
from fsroute.numbers.law import NumberClass
from fsroute.numbers.short_numbers import ShortNumber
from fsroute.routing import rules
from fsroute.routing.causes import TRUNK_FAILURES
from fsroute.routing.limits import MAX_DESTINATION
from fsroute.routing.planner import DEFAULT_HOP_LIMIT, PARALLEL_RING_S, Planner, every_trunk, rounds
from fsroute.target_kinds import Hangup

TRANSFER_RING_S = 30
"""How long an external number rings as the target of a transfer: six rings. Then the call returns to the transferor. The
time is short because the transferred party waits and talks to nobody meanwhile."""

OUTBOUND_RING_S = 120
"""How long a user's own call rings: longer than any carrier's limit, so that the carrier decides."""

EMERGENCY_PATIENCE_S = 10
"""Seconds that FreeSWITCH waits for ringing on one trunk in an emergency call before it tries the next trunk. It is longer
than any call within a country takes to ring. SIP itself would wait for 32 s, or for ever after a 100."""

END_CAUSES = {
    Outcome.BUSY: "USER_BUSY",
    Outcome.NO_ANSWER: "NO_ANSWER",
    Outcome.UNREACHABLE: "SUBSCRIBER_ABSENT",
}
"""The hang-up cause with which a call ends after a number's last rule (SIP 486, 480 and 480)."""


def route(
    call: Call, routing: Routing, now: datetime, failed: FailedPlan | None = None, hop_limit: int = DEFAULT_HOP_LIMIT
) -> Decision:
    """Decides what a call does now or, after the plan `failed`, what it does next.

    `now` must have a time zone. The decision's plan always has stages, or a final, or both.
    """
    if is_too_long(call):
        return _too_long(Planner(call, routing, now, CallerId(None, None, CallerIdCode.CALLER_RECEIVED), hop_limit))
    read = received.as_read(call, routing)
    planner = Planner(read, routing, now, _caller_id(read, routing), hop_limit)
    if read.caller != call.caller:
        planner.add_reason(
            ReasonCode.CALLER_READ, "caller", f"{call.caller or '(none)'} is {read.caller}: {_writes(routing.trunk)}"
        )
    _report_unknown(planner)
    for subject, text in routing.left_out:
        planner.add_reason(ReasonCode.ROW_LIMIT, subject, text)
    if call.transferred:
        return _transferred(planner, failed)
    if call.direction is Direction.OUTBOUND:
        return _outbound(planner, failed)
    return _to_number(planner, failed)


def is_too_long(call: Call) -> bool:
    """Whether the call ends whatever the tables say, because what was dialled is longer than any number. A transferred call
    does not end: it returns to its transferor."""
    return len(call.destination) > MAX_DESTINATION and not call.transferred


def _too_long(planner: Planner) -> Decision:
    text = f"is longer than {MAX_DESTINATION} characters"
    where = planner.call.destination
    return _end(planner, None, ReasonCode.DESTINATION_TOO_LONG, where, text, "UNALLOCATED_NUMBER")


UNKNOWN = frozenset({ReasonCode.ACCOUNT_UNKNOWN, ReasonCode.TRUNK_UNKNOWN, ReasonCode.USER_UNKNOWN})
"""Codes for a name in the dialplan or directory that the tables do not have. An operator made a mistake, so the log line is
a warning."""


def _report_unknown(planner: Planner) -> None:
    call, routing = planner.call, planner.routing
    if call.direction is Direction.INBOUND and call.trunk is not None and routing.trunk is None:
        text = f"is no trunk here: numbers without + are read as in {routing.country}, and no rule of a trunk applies"
        planner.add_reason(ReasonCode.TRUNK_UNKNOWN, call.trunk, text)
    if call.direction is Direction.OUTBOUND and call.user is not None and routing.account and routing.caller is None:
        text = f"is no user of account {routing.account.name}: the call shows the account's number"
        planner.add_reason(ReasonCode.USER_UNKNOWN, call.user, text)


def _caller_id(call: Call, routing: Routing) -> CallerId:
    """The caller ID that the phones of the called account show."""
    if call.transferred:
        return policy.of_transferred(call, routing.country)
    received = policy.of_caller(call, routing.country)
    return policy.of_extension(routing.caller, received) if call.direction is Direction.OUTBOUND else received


def _writes(trunk: Trunk | None) -> str:
    """How the call's carrier writes callers, for a reason."""
    if trunk is None:
        return "the call came through no trunk that is known"
    return f"trunk {trunk.name} writes {trunk.number_format.value}, with identity profile {trunk.profile.name}"


# --- inbound ----------------------------------------------------------------------------------------------


def _to_number(planner: Planner, failed: FailedPlan | None) -> Decision:
    call, routing = planner.call, planner.routing
    hosted = routing.numbers.get(routing.dialled) if routing.dialled else None
    if hosted is None and phone_number.is_context_malformed(call.destination):
        return _malformed(planner)
    if hosted is None:
        return _end(planner, None, ReasonCode.NUMBER_UNKNOWN, call.destination, "is no number here", "UNALLOCATED_NUMBER")
    refused = _guard(planner, hosted)
    if refused is not None:
        return refused
    rest = _rest(planner, hosted, failed) if failed is not None else None
    if rest is not None:
        return rest
    while True:
        rule = _first_or_next(planner, hosted, failed)
        if rule is None:
            break
        plan = planner.plan(rule, routing.numbers[rule.number])
        if plan.stages or plan.final:
            return _decision(planner, hosted, rule, plan, planner.caller_id, ReasonCode.ROUTED)
        planner.add_reason(ReasonCode.EMPTY_PLAN, rule, "none of its targets can ring")
        # The base rule follows; the call ends with the outcome of the phones that did ring.
        failed = FailedPlan(rule.key, failed.outcome if failed else Outcome.UNREACHABLE)
    if failed is None:
        return _end(planner, hosted, ReasonCode.NO_RULE, hosted.number, "has no rule for this call", "NO_ROUTE_DESTINATION")
    cause = END_CAUSES[failed.outcome]
    return _end(planner, hosted, ReasonCode.RULES_EXHAUSTED, hosted.number, f"{failed.outcome}, and no rule follows", cause)


def _rest(planner: Planner, hosted: HostedNumber, failed: FailedPlan) -> Decision | None:
    """The rest of the failed rule: the rounds of its plan that have not rung yet, or its own last target. None if there is
    no rest."""
    rule = _rule(planner.routing, failed)
    if rule is None:
        return None
    plan = _aside(planner).plan(rule, planner.routing.numbers[rule.number])
    left = rounds(plan)[failed.rounds :] if failed.rounds else ()
    if left:
        planner.add_reason(ReasonCode.NEXT_ROUND, rule, f"{failed.outcome}: its {len(left)} remaining rounds follow")
        rest = Plan(tuple(stage for stages in left for stage in stages), plan.final)
        decision = _decision(planner, hosted, rule, rest, planner.caller_id, ReasonCode.ROUTED)
        return replace(decision, rounds=failed.rounds, before=failed.outcome)
    if plan.final is None:
        return None
    planner.add_reason(ReasonCode.FINAL_TARGET, rule, "nobody answered: its last target follows")
    return _decision(planner, hosted, rule, Plan(final=plan.final), planner.caller_id, ReasonCode.ROUTED)


def _guard(planner: Planner, hosted: HostedNumber) -> Decision | None:
    """The decision for a number that may not be called, else None. Hides the caller's number where the law requires it."""
    if not hosted.enabled:
        return _end(planner, hosted, ReasonCode.NUMBER_DISABLED, hosted.number, "is switched off", "UNALLOCATED_NUMBER")
    if hosted.account.status is AccountStatus.SUSPENDED:
        return _end(planner, hosted, ReasonCode.ACCOUNT_SUSPENDED, hosted.account.name, "is suspended", "CALL_REJECTED")
    call, routing = planner.call, planner.routing
    verdict = policy.inbound_verdict(call, routing, hosted.account) if call.direction is Direction.INBOUND else None
    if verdict is None:
        return None
    if isinstance(verdict, Denial):
        planner.caller_id = CallerId(None, None, verdict.code)
        return _end(planner, hosted, verdict.code, call.caller, verdict.why, "CALL_REJECTED")
    planner.add_reason(verdict.code, call.caller, f"is hidden: {verdict.why}")
    planner.call = replace(call, anonymous=True)
    planner.caller_id = policy.of_caller(planner.call, routing.country)
    return None


def _first_or_next(planner: Planner, hosted: HostedNumber, failed: FailedPlan | None) -> Rule | None:
    call, routing, now, add_reason = planner.call, planner.routing, planner.now, planner.add_reason
    if failed is None:
        return rules.first_rule(hosted, call, routing.country, now, add_reason)
    rule = _rule(routing, failed)
    if rule is None:
        planner.add_reason(ReasonCode.RULE_GONE, failed.rule or hosted.number, "was deleted while it rang")
        return rules.base_rule(hosted, add_reason)
    owner = routing.numbers[rule.number]
    following = rules.next_rule(owner, rule, failed.outcome, call, routing.country, now, add_reason)
    if following is not None or owner.number != hosted.number:
        return following
    # The dialled number has no further rule. So fsroute uses the rules of the numbers to which the failed rule's targets
    # led. It does this for one level only: the condition above ends it once a rule of another number has been used. So two
    # numbers cannot forward a call to each other without end.
    inner = _aside(planner)
    inner.plan(rule, owner)
    for number_, used in inner.expanded.items():
        if used is not None and number_ != hosted.number:
            other = routing.numbers[number_]
            following = rules.next_rule(other, used, failed.outcome, call, routing.country, now, add_reason)
            if following is not None:
                return following
    return None


def _aside(planner: Planner) -> Planner:
    """A second planner for the same call. Its reasons do not appear in the decision."""
    return replace(planner, reasons=[], expanded={})


def _rule(routing: Routing, failed: FailedPlan) -> Rule | None:
    key = failed.rule
    hosted = routing.numbers.get(key.number) if key else None
    return next((rule for rule in hosted.rules if rule.key == key), None) if hosted else None


# --- transferred ------------------------------------------------------------------------------------------


def _transferred(planner: Planner, failed: FailedPlan | None) -> Decision:
    """A transferred call goes where a call of the transferor would go. If nobody takes it, it returns to the transferor."""
    ended: Decision | None = None
    if failed is None or not failed.is_recall:
        decision = _outbound(planner, failed)
        if not _got_nowhere(planner, decision, failed):
            return decision
        ended, failed = decision, None
    return _recall(planner, failed, ended)


def _got_nowhere(planner: Planner, decision: Decision, failed: FailedPlan | None) -> bool:
    account, is_emergency = planner.routing.account, any(reason.code == ReasonCode.EMERGENCY for reason in decision.reasons)
    if account is None or account.status is AccountStatus.SUSPENDED or (is_emergency and failed is None):
        return False  # no account may recall it, or the dialplan must send the emergency call (serving/call_control.py)
    return not decision.plan.stages and isinstance(decision.plan.final, Hangup)


def _recall(planner: Planner, failed: FailedPlan | None, ended: Decision | None) -> Decision:
    """The decision for a transferred call that nobody took: the recall.

    `ended` is the decision with which the call would end without a recall, `failed` is the recall's plan if that failed too.
    """
    call, routing = planner.call, planner.routing
    account, caller, callee = routing.account, routing.caller, routing.callee
    if account is None or account.failed_transfer == HANGUP:
        return ended or _direct(planner, [], planner.caller_id, ReasonCode.TRANSFER_RECALL, failed)
    planner.caller_id = _caller_id(call, routing)  # phones ring now: not the caller ID for the external target
    if account.failed_transfer != TRANSFEROR:
        planner.add_reason(
            ReasonCode.TRANSFER_RECALL, f"number {account.failed_transfer}", "gets transferred calls that nobody took"
        )
        planner.routing = replace(routing, dialled=account.failed_transfer)
        return replace(_to_number(planner, failed), is_recall=True)
    if ended is None:
        return _direct(planner, [], planner.caller_id, ReasonCode.TRANSFER_RECALL, failed)
    if caller is not None and callee == caller:
        return ended  # the user's own phones have just rung
    phones = caller.endpoints if caller is not None else _one_endpoint(call, account)
    stage = planner.together(phones, PARALLEL_RING_S)
    if not stage:
        planner.add_reason(
            ReasonCode.NO_ENDPOINTS, f"user {call.user or '(none)'}", "has no phone for the transferred call to return to"
        )
        return replace(ended, reasons=tuple(planner.reasons))
    who = f"user {caller.name}" if caller is not None else f"endpoint {call.endpoint}"
    planner.add_reason(ReasonCode.TRANSFER_RECALL, who, "gets the call back, because nobody took it")
    return replace(_direct(planner, [stage], planner.caller_id, ReasonCode.TRANSFER_RECALL, None), is_recall=True)


def _one_endpoint(call: Call, account: Account) -> tuple[Endpoint, ...]:
    """The phone that transferred a call, if it belongs to no user."""
    return (Endpoint(call.endpoint, account.domain, account=account.name),) if call.endpoint else ()


# --- outbound ---------------------------------------------------------------------------------------------


def _outbound(planner: Planner, failed: FailedPlan | None) -> Decision:
    call, routing = planner.call, planner.routing
    account = routing.account
    if account is None and call.transferred and call.account is None:
        text = "was not transferred by a user or phone of an account here"
        return _end(planner, None, ReasonCode.TRANSFEROR_UNKNOWN, call.destination, text, "CALL_REJECTED")
    if account is None:
        who = call.account or "(none)"
        short = short_numbers.find(call.destination, routing.country)
        if short is not None and short.is_emergency:
            text = f"is an emergency number, and without an account there is no trunk for it: {short}"
            planner.add_reason(ReasonCode.EMERGENCY, short.digits, text)
            return _end(planner, None, ReasonCode.ACCOUNT_UNKNOWN, who, "is no account here", "NO_ROUTE_DESTINATION")
        return _end(planner, None, ReasonCode.ACCOUNT_UNKNOWN, who, "is no account here", "CALL_REJECTED")
    short = short_numbers.find(call.destination, account.country)
    if short is not None:
        return (_emergency if short.is_emergency else _protected)(planner, account, short, failed)
    if account.status is AccountStatus.SUSPENDED:
        return _end(planner, None, ReasonCode.ACCOUNT_SUSPENDED, account.name, "is suspended", "OUTGOING_CALL_BARRED")
    if routing.callee is not None:
        return _extension(planner, routing.callee, failed)
    if routing.dialled is not None:
        planner.add_reason(ReasonCode.HOSTED_HERE, f"number {routing.dialled}", "is hosted here and stays inside")
        if routing.numbers[routing.dialled].account != account:
            # An extension means nothing to another account. So its phones show what the telephone network would show.
            refused = _show(planner, account, None, routing.dialled)
            if refused is not None:
                return refused
        return _to_number(planner, failed)
    return _trunk(planner, account, failed)


def _emergency(planner: Planner, account: Account, short: ShortNumber, failed: FailedPlan | None) -> Decision:
    """An emergency call: by the account's trunks, one after another, until one takes it. It shows the line's number. It
    leaves even if the account is suspended (TKG section 164; Directive (EU) 2018/1972, Article 109)."""
    planner.add_reason(ReasonCode.EMERGENCY, short.digits, f"is an emergency number: {short}")
    caller_id = policy.of_emergency(account)
    if caller_id.network is None:
        text = "has no network number: the carrier knows the line by its trunk only, the called side sees an anonymous call"
        planner.add_reason(ReasonCode.EMERGENCY_LINE_UNKNOWN, account.name, text)
    trunks = every_trunk(account)
    tried = failed.trunks if failed else 0
    if tried >= len(trunks):
        return _direct(planner, [], caller_id, ReasonCode.EMERGENCY, failed)
    leg = planner.leg(trunks[tried], short.digits, caller_id, OUTBOUND_RING_S)
    if tried + 1 < len(trunks):
        leg = replace(leg, progress_s=EMERGENCY_PATIENCE_S)
    return replace(_direct(planner, [(leg,)], caller_id, ReasonCode.EMERGENCY, None), trunks=tried + 1)


def _protected(planner: Planner, account: Account, short: ShortNumber, failed: FailedPlan | None) -> Decision:
    """A call to a protected number: like any call to the telephone network, but neither a suspension nor a permission bars
    it (Directive (EU) 2018/1972, Annex VI, part A (e): calls without a charge may go on)."""
    planner.add_reason(ReasonCode.PROTECTED, short.digits, f"is a number that must get through: {short}")
    return _trunk(planner, account, failed, short)


def _extension(planner: Planner, callee: User, failed: FailedPlan | None) -> Decision:
    dialled = planner.call.destination
    kind = "extension" if callee.extension == dialled else "short code"
    planner.add_reason(ReasonCode.EXTENSION, f"user {callee.name}", f"has {kind} {dialled}")
    hosted = planner.routing.numbers.get(planner.routing.dialled or "")
    if hosted is not None and _has_rules_inside(planner, hosted) and (failed is None or failed.rule is not None):
        if not planner.call.transferred:
            # Colleagues see each other's extensions, even if a phone hides its number. So no colleague is an anonymous
            # caller.
            planner.call = replace(planner.call, anonymous=False)
        decision = _to_number(planner, failed)
        if decision.code != ReasonCode.NO_RULE:
            return decision
    stage = planner.together(callee.endpoints, PARALLEL_RING_S)
    return _direct(planner, [stage], planner.caller_id, ReasonCode.EXTENSION, failed)


def _has_rules_inside(planner: Planner, hosted: HostedNumber) -> bool:
    """Whether a call to an extension or short code follows the rules of this number.

    It is the number with the short code, or the primary number of the user with the extension. If the number has no rules,
    is switched off or belongs to another account, the call only rings the user's phones.
    """
    if hosted.account != planner.routing.account or not any(rule.position for rule in hosted.rules):
        return False
    name = f"number {hosted.number}"
    if not hosted.enabled:
        planner.add_reason(ReasonCode.NUMBER_DISABLED, name, "is switched off: its rules do not apply")
        return False
    planner.add_reason(ReasonCode.EXTENSION_RULES, name, "is called from inside the account: its rules apply")
    return True


def _trunk(planner: Planner, account: Account, failed: FailedPlan | None, protected: ShortNumber | None = None) -> Decision:
    """A call to the telephone network. If a trunk fails, the next trunk follows; if the callee is busy, none follows."""
    call = planner.call
    short = protected.digits if protected else _service_number(planner.call.destination, account.country)
    spellings = phone_number.dialled(planner.call.destination, account.country, account.area_code)
    if short is None and not spellings:
        return _unreadable(planner, account)
    if short is None and phone_number.is_local(planner.call.destination, account.country):
        planner.add_reason(ReasonCode.AREA_CODE, planner.call.destination, f"is {spellings[0]}, by the account's area code")
    if account.network_number is None:
        text = "has no network number, and a carrier requires one"
        return _end(planner, None, ReasonCode.NO_NETWORK_NUMBER, account.name, text, "OUTGOING_CALL_BARRED")
    # Trunk routes and permissions have a service number with its calling code; the leg dials it without.
    to = f"+{phone_number.calling_code(account.country)}{short}" if short else spellings[0]
    tried = failed.trunks if failed else 0
    planner.add_reason(ReasonCode.TRUNK, short or to, "is not hosted here: to the telephone network")
    trunks = planner.trunks_to(to, account, must_pass=protected is not None)
    if failed is not None and (failed.cause not in TRUNK_FAILURES or tried >= len(trunks)):
        return _direct(planner, [], planner.caller_id, ReasonCode.TRUNK, failed)
    if not trunks and planner.reasons[-1].code == ReasonCode.DESTINATION_BARRED:
        barred = Plan(final=Hangup("OUTGOING_CALL_BARRED"))
        return _decision(planner, None, None, barred, planner.caller_id, ReasonCode.DESTINATION_BARRED)
    if not trunks:
        return _end(planner, None, ReasonCode.EMPTY_PLAN, to, "cannot ring", "NO_ROUTE_DESTINATION")
    trunk = trunks[tried]
    refused = _show(planner, account, trunk, to, must_pass=protected is not None)
    if refused is not None:
        return refused
    leg = planner.leg(trunk, short or to, planner.caller_id, TRANSFER_RING_S if call.transferred else OUTBOUND_RING_S)
    if call.transferred:
        diversion = Diversion(account.network_number, "deflection", call.hops + 1)
        leg = replace(leg, diversion=diversion)
    return replace(_direct(planner, [(leg,)], planner.caller_id, ReasonCode.TRUNK, None), trunks=tried + 1)


def _unreadable(planner: Planner, account: Account) -> Decision:
    """The decision for a user's call to digits that are no number: it ends."""
    where = planner.call.destination
    if phone_number.is_context_malformed(where):
        return _malformed(planner)
    if phone_number.is_local(where, account.country):
        text = "can only be a local number, and the account has no area code"
        if account.area_code is not None:
            text = f"can only be a local number, and is not valid in the area {account.area_code}"
        return _end(planner, None, ReasonCode.LOCAL_NUMBER, where, text, "INVALID_NUMBER_FORMAT")
    return _end(
        planner,
        None,
        ReasonCode.NOT_A_NUMBER,
        where,
        "is neither an extension nor a telephone number",
        "INVALID_NUMBER_FORMAT",
    )


def _malformed(planner: Planner) -> Decision:
    text = "has a phone-context that is neither the beginning of a number nor a domain name"
    return _end(planner, None, ReasonCode.PHONE_CONTEXT_MALFORMED, planner.call.destination, text, "INVALID_NUMBER_FORMAT")


def _service_number(dialled: str, country: str) -> str | None:
    """The short number that was dialled (115, 116117), None if the dialled digits are no short number."""
    spelled = phone_number.spelled(dialled) or ""
    digits = "".join(filter(str.isdigit, spelled))
    known = regulation.classify(digits, country) is not NumberClass.OTHER
    return digits if known and not spelled.startswith("+") else None


def _show(planner: Planner, account: Account, trunk: Trunk | None, to: str, *, must_pass: bool = False) -> Decision | None:
    """Sets the caller ID of a user's call outside the account, with a reason. Returns a decision if the call must end
    instead."""
    if account.network_number is None:
        planner.caller_id = policy.of_caller(replace(planner.call, anonymous=True), account.country)
        return None
    asked = policy.requested(planner.call, planner.routing) or ""
    of_call = policy.of_transferred_outside if planner.call.transferred else policy.of_outgoing
    caller_id = of_call(planner.call, planner.routing, account, trunk, to, planner.now)
    if isinstance(caller_id, policy.CallerIdRefused):
        verdict = caller_id.denial
        text = f"may not be shown: {verdict.why}"
        if caller_id.instead is None and must_pass:
            line = account.network_number
            caller_id = replace(caller_id, instead=CallerId(line, line, verdict.code))
        if caller_id.instead is None:
            planner.caller_id = CallerId(None, None, verdict.code)
            return _end(planner, None, verdict.code, asked, text, "CALL_REJECTED")
        planner.add_reason(verdict.code, asked, text)
        caller_id = caller_id.instead
    planner.add_reason(ReasonCode.CALLER_ID, caller_id.presented or "no number", f"is shown ({caller_id.reason})")
    planner.caller_id = caller_id
    return None


def _direct(
    planner: Planner, stages: Sequence[Stage], caller_id: CallerId, code: DecisionCode, failed: FailedPlan | None
) -> Decision:
    """The decision for a call without a rule: it rings once. If the plan fails, the call ends with the called side's
    cause."""
    if failed is not None:
        cause = failed.cause or END_CAUSES[failed.outcome]
        return _end(planner, None, ReasonCode.CALL_FAILED, planner.call.destination, f"ended {failed.outcome}", cause)
    if not any(stages):
        return _end(planner, None, ReasonCode.EMPTY_PLAN, planner.call.destination, "cannot ring", "NO_ROUTE_DESTINATION")
    return _decision(planner, None, None, Plan(tuple(stages)), caller_id, code)


# --- ends -------------------------------------------------------------------------------------------------


def _end(planner: Planner, hosted: HostedNumber | None, code: DecisionCode, subject: str, text: str, cause: str) -> Decision:
    planner.add_reason(code, subject, text)
    return _decision(planner, hosted, None, Plan(final=Hangup(cause)), planner.caller_id, code)


def _decision(
    planner: Planner, hosted: HostedNumber | None, rule: Rule | None, plan: Plan, caller_id: CallerId, code: DecisionCode
) -> Decision:
    account = hosted.account if hosted else planner.routing.account
    return Decision(
        hosted.number if hosted else None,
        account.name if account else None,
        rule,
        plan,
        caller_id,
        code,
        tuple(planner.reasons),
        attestation=_attestation(plan, account) if account else None,
    )


def _attestation(plan: Plan, account: Account) -> str | None:
    """The attestation for the plan's legs through trunks: the weakest of all legs."""
    if not regulation.rules_for(account.country).attestation:
        return None
    legs = (each for stage in plan.stages for leg in stage for each in (leg, *leg.fallbacks))
    outside = (leg.caller_id for leg in legs if isinstance(leg.dial, TrunkDial))
    hints = (policy.attestation(caller_id, account) for caller_id in outside)
    return max((hint for hint in hints if hint), default=None)
