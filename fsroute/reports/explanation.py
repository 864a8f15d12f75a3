"""A decision as JSON and for people: what rings when, why, and what follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fsroute.callerid import identity, policy
from fsroute.model import Call, CallerId, Decision, FailedPlan, Leg, Outcome, Plan, Routing, Rule, Stage, TrunkDial
from fsroute.routing import router
from fsroute.routing.planner import attempts
from fsroute.switch import call_commands, dialstring
from fsroute.switch.dialstring import Confirmation

if TYPE_CHECKING:
    from rich.console import Console

_BAR_WIDTH = 24
_TRUNK_FAILURE = "NORMAL_TEMPORARY_FAILURE"


def as_data(call: Call, routing: Routing, now: datetime, confirmation: Confirmation, hop_limit: int) -> dict[str, Any]:
    """The decision of a call as JSON holds it. `follow_up` has, for each outcome, what comes next, in the same form.

    Raises DialStringError.
    """
    decision = router.route(call, routing, now, None, hop_limit)
    return {
        "to": call.destination,
        "from": call.caller,
        "anonymous": call.anonymous,
        "direction": call.direction.value,
        "transferred": call.transferred,
        "at": now.isoformat(),
        "number": decision.number,
        "account": decision.account,
        **_step(decision, confirmation),
        "caller_id": _caller_id(decision.caller_id),
        "attestation": decision.attestation,
        "timeline": list(_timeline(decision.plan)),
        "follow_up": _follow_up(call, routing, now, decision, confirmation, hop_limit),
        "reasons": [{"code": r.code, "subject": r.subject, "text": r.text} for r in decision.reasons],
    }


def _step(decision: Decision, confirmation: Confirmation) -> dict[str, Any]:
    return {
        "code": decision.code,
        "rule": _rule(decision.rule),
        "stages": [[_leg(leg, decision.caller_id) for leg in stage] for stage in decision.plan.stages],
        "bridge": _bridge(decision, confirmation),
        "final": decision.plan.final.as_data() if decision.plan.final else None,
    }


def _bridge(decision: Decision, confirmation: Confirmation) -> str:
    """What FreeSWITCH is given: a line for each time that it is given something."""
    if call_commands.passes_early_media(decision):
        return dialstring.bridge(decision.plan, confirmation, early_media=True)
    return "\n".join(dialstring.bridges(decision.plan, confirmation))


def _follow_up(
    call: Call, routing: Routing, now: datetime, decision: Decision, confirmation: Confirmation, hop_limit: int
) -> dict[str, Any]:
    if not decision.plan.stages:
        return {}
    followed = {}
    for outcome in Outcome:
        rule = decision.rule.key if decision.rule else None
        failed = FailedPlan(rule, outcome, "", decision.trunks, is_recall=decision.is_recall)
        following = router.route(call, routing, now, failed, hop_limit)
        if decision.trunks and outcome is Outcome.UNREACHABLE:
            # It may have been the trunk's fault; then the next one is tried, if there is one.
            next_trunk = router.route(call, routing, now, replace(failed, cause=_TRUNK_FAILURE), hop_limit)
            following = next_trunk if next_trunk.plan.stages else following
        followed[outcome.value] = {
            **_step(following, confirmation),
            "follow_up": _follow_up(call, routing, now, following, confirmation, hop_limit),
        }
    return followed


def _rule(rule: Rule | None) -> dict[str, Any] | None:
    return {"number": rule.number, "position": rule.position, "type": rule.type.value} if rule else None


def _leg(leg: Leg, of_call: CallerId) -> dict[str, Any]:
    first, *others = attempts(leg)
    shown = _attempt(first, of_call)
    if others:
        shown["if_trunk_fails"] = [_attempt(other, of_call) for other in others]
    return shown


def _attempt(leg: Leg, of_call: CallerId) -> dict[str, Any]:
    return {
        "target": leg.target,
        "dial": dialstring.dial(leg),
        "start_s": leg.start_s,
        "ring_s": leg.ring_s,
        "confirm": leg.confirm,
        "caller_id": _caller_id(of_call if leg.caller_id == policy.RECEIVED else leg.caller_id),
        "headers": _headers(leg),
    }


def _headers(leg: Leg) -> dict[str, str]:
    """The headers of the INVITE to a carrier that name the caller; empty for phones."""
    if not isinstance(leg.dial, TrunkDial):
        return {}
    if leg.caller_id.network is None:
        return {"From": f"<{identity.ANONYMOUS_URI}>"}  # identity.UNKNOWN_LINE
    sent = identity.headers(leg.caller_id, leg.dial.trunk, leg.diversion, leg.dial.number)
    name = f'"{sent.from_name}" ' if sent.from_name else ""
    shown = {
        "From": f"{name}<{sent.from_uri}>",
        sent.identity_header or "": f"<{sent.identity_uri}>" if sent.identity_uri else None,
        "Privacy": sent.privacy,
        "Diversion": sent.diversion,
        "History-Info": sent.history_info,
    }
    return {header: value for header, value in shown.items() if value is not None}


def _caller_id(caller_id: CallerId) -> dict[str, Any]:
    return {"presented": caller_id.presented, "network": caller_id.network, "reason": caller_id.reason}


def _timeline(plan: Plan) -> Iterator[dict[str, Any]]:
    """The legs with their beginning and end, in seconds of the call, if nobody answers and every phone is registered."""
    begins = 0
    for number, stage in enumerate(plan.stages, 1):
        for leg in stage:
            yield {
                "stage": number,
                "target": leg.target,
                "from_s": begins + leg.start_s,
                "to_s": begins + leg.end_s,
                "confirm": leg.confirm,
            }
        begins += _length(stage)


def _length(stage: Stage) -> int:
    return max(leg.end_s for leg in stage)


# --- for people -------------------------------------------------------------------------------------------


def show(data: dict[str, Any], console: Console) -> None:
    """Prints what `as_data` gave."""
    from rich.table import Table  # noqa: PLC0415 - half of a cold start, and --json does not need it
    from rich.text import Text  # noqa: PLC0415 - the same

    caller = "an anonymous caller" if data["anonymous"] else data["from"] or "an unknown caller"
    kind = "transferred" if data["transferred"] else data["direction"]
    console.print(Text(f"{kind} call to {data['to']} from {caller}, {data['at']}", style="bold"))
    console.print(Text(_headline(data)), soft_wrap=True)
    caller_id = data["caller_id"]
    refused = "nobody" if caller_id["reason"] in policy.REFUSALS else "as received"
    shown = caller_id["presented"] or ("anonymous" if data["anonymous"] else refused)
    console.print(Text(f"caller ID: {shown}, network number {caller_id['network'] or '-'} ({caller_id['reason']})"))
    if data["timeline"]:
        table = Table(box=None, pad_edge=False)
        for heading in ("stage", "rings", "from", "to", ""):
            table.add_column(heading, justify="right" if heading in ("stage", "from", "to") else "left")
        total = max(row["to_s"] for row in data["timeline"])
        for row in data["timeline"]:
            confirmed = ", key press" if row["confirm"] else ""
            table.add_row(
                str(row["stage"]),
                Text(row["target"] + confirmed),
                f"{row['from_s']} s",
                f"{row['to_s']} s",
                _bar(row["from_s"], row["to_s"], total),
            )
        console.print(table)
    for who, headers in _shown_outside(data):
        for header, value in headers.items():
            console.print(Text(f"  {who}  {header}: {value}"), soft_wrap=True)
    for line in _after(data):
        console.print(Text(line), soft_wrap=True)
    console.print(Text("why", style="bold"))
    for reason in data["reasons"]:
        console.print(Text(f"  {reason['code']}: {reason['subject']} {reason['text']}"), soft_wrap=True)
    if data["bridge"]:
        console.print(Text("bridge", style="bold"))
        console.print(Text(data["bridge"]), soft_wrap=True)


def _shown_outside(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The headers of each attempt through a trunk: the first one of each leg, and those by further trunks."""
    for stage in data["stages"]:
        for leg in stage:
            yield leg["target"], leg["headers"]
            for other in leg.get("if_trunk_fails", ()):
                yield _by_next_trunk(other), other["headers"]
    step = data
    while step["code"] in call_commands.BY_TRUNKS and step["follow_up"]:
        step = step["follow_up"][Outcome.UNREACHABLE.value]
        for stage in step["stages"]:
            for leg in stage:
                yield _by_next_trunk(leg), leg["headers"]


def _by_next_trunk(leg: dict[str, Any]) -> str:
    return f"{leg['target']} by {leg['dial'].rpartition('/')[0].removeprefix('sofia/')}, if the trunk fails"


def _headline(data: dict[str, Any]) -> str:
    where = f"number {data['number']}" if data["number"] else "no number of ours"
    account = f", account {data['account']}" if data["account"] else ""
    return f"{where}{account}: {_said(data)} ({data['code']})"


def _said(step: dict[str, Any]) -> str:
    """One step of a call in a few words."""
    instead = "back to the transferor" if step["code"] == "transfer_recall" else "no rule"
    rule = f"rule {step['rule']['position']} ({step['rule']['type']})" if step["rule"] else instead
    rings = " | ".join(", ".join(f"{leg['target']} {leg['ring_s']} s" for leg in stage) for stage in step["stages"])
    end = " ".join(step["final"].values()) if step["final"] else ""
    return f"{rule}: " + " then ".join(part for part in (rings, end) if part)


def _after(data: dict[str, Any]) -> Iterator[str]:
    follow_up = data["follow_up"]
    if not follow_up:
        return
    texts = {outcome: _chain(step, outcome) for outcome, step in follow_up.items()}
    if len(set(texts.values())) == 1:
        yield f"if nobody takes it: {next(iter(texts.values()))}"
        return
    for outcome, text in texts.items():
        yield f"if {outcome.replace('_', ' ')}: {text}"


def _chain(step: dict[str, Any], outcome: str) -> str:
    """Everything that follows an outcome, if each further step has the same outcome."""
    parts = [_said(step)]
    while step["follow_up"]:
        step = step["follow_up"][outcome]
        parts.append(_said(step))
    return "; then ".join(parts)


def _bar(from_s: int, to_s: int, total: int) -> str:
    start = round(from_s * _BAR_WIDTH / total)
    end = max(start + 1, round(to_s * _BAR_WIDTH / total))
    return " " * start + "━" * (end - start)
