"""Snapshots of a channel as FreeSWITCH sends them, and what fsroute makes of one after a plan has rung."""

from __future__ import annotations

from collections.abc import Mapping

from fsroute.eventsocket.frames import Facts, Frame
from fsroute.model import FailedPlan, Outcome, RuleKey
from fsroute.simulator.simulated_channel import encode
from fsroute.switch.channel_state import FACTS


def snapshot(headers: Mapping[str, str], variables: Mapping[str, str]) -> Frame:
    """A snapshot of a channel with these headers and channel variables."""
    lines = {"Event-Name": "CHANNEL_DATA", **headers, **{f"variable_{name}": text for name, text in variables.items()}}
    return Frame("\n".join(f"{name}: {encode(text)}" for name, text in lines.items()).encode())


def facts_of(variables: Mapping[str, str] | None = None, **headers: str) -> Facts:
    """What fsroute reads of a snapshot. The headers are given with `_` for `-`."""
    return snapshot({name.replace("_", "-"): text for name, text in headers.items()}, variables or {}).only(FACTS)


def after_bridge(step: str, cause: str, **headers: str) -> Facts:
    """The facts after a bridge to the phone 1001 that ended with this cause. `step` is the value of fsroute_step."""
    variables = {
        "fsroute_step": step,
        "originate_disposition": cause,
        "originate_causes": f"leg;{cause}",
        "originated_legs": "leg;name;1001",
    }
    return facts_of(variables, **{"Channel_State_Number": "4", **headers})


def failed_plan(
    cause: str, outcome: Outcome, *, rule: RuleKey | None = None, trunks: int = 0, is_recall: bool = False, why: str = ""
) -> FailedPlan:
    """What fsroute makes of it. `why` is the cause of the phone's leg, if it differs from the plan's."""
    return FailedPlan(rule, outcome, cause, trunks, is_recall, (f"1001 {why or cause}",))
