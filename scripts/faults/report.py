"""docs/reliability.md, from what a run found. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.faults.records import FINAL_S, NORMAL_SILENCE_S, Effect, Step, cell
from scripts.faults.sipp import Load
from scripts.faults.table import FAULTS, Fault, can_be_in_load

HEAD = "# What faults do to calls"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table of faults, run."""

    fault: Fault
    effect: Effect | None
    broken: tuple[str, ...] = ()
    """What was not as the table wants it."""
    not_run: str | None = None
    """Why it could not be run on this machine."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Calls under load while faults happened."""

    load: Load
    asked_rate: float
    asked_s: float
    faults: Sequence[str]
    """In the order in which they happened."""
    seed: int
    broken_off: str | None = None
    """Why there were no more faults before the end: a fault, and what the harness could not do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what it ran."""

    date: str
    versions: Mapping[str, str]
    cores: int
    load: str
    """The load of the machine before the run."""


def document(
    machine: Machine, calls: int, findings: Sequence[Finding], carried: Sequence[Load], loaded: Loaded | None
) -> str:
    """The whole page. `carried`: loads without faults, by rate."""
    parts = [HEAD, _intro(machine, calls), "## One fault at a time", _table(findings), _done(), LIMITS]
    if problems := [f"- {finding.fault.name}: {each}." for finding in findings for each in finding.broken]:
        parts += ["### Not as it should be", "\n".join(problems)]
    parts += ["## Random faults under load", _load(carried, loaded)]
    return "\n\n".join(parts) + "\n"


def _intro(machine: Machine, calls: int) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"""\
`make faults` wrote this page on {machine.date}, with {versions}, on {machine.cores} processors.
The load of the machine before was {machine.load} (1, 5 and 15 minutes).

It runs each fault of `scripts/faults/table.py` while calls pass through a real FreeSWITCH with the dialplan of
`freeswitch/`: a first fsroute with two workers, a second fsroute at the dialplan's second `socket`, and the phone 1002 as
the fallback.

When a fault begins, {calls} calls are at each of five steps: an INVITE that arrives just then; phones that ring; a first
plan that ends busy just then, so that fsroute must decide the second; a talk; a caller who hangs up just then. Four more
calls a second follow until eight in a row are normal. Half of them are to a number that was called before, half to
numbers that were not.

A call is lost if neither a phone nor the fallback answers it, if it has no final response within {FINAL_S:g} s, if its
talk ends before the caller hangs up, or if its channel stays in FreeSWITCH. A call is normal if its phone answers it and
the caller hears a ringing tone within {NORMAL_SILENCE_S:g} s. "Normal after" counts from the end of the fault to the
first of the calls since which all were normal; 0 means that no call was abnormal since then. "Silence" is the time until
the ringing tone, "ringing on" the time between two plans; both are the longest of all calls."""


def _table(findings: Sequence[Finding]) -> str:
    lines = [
        "| fault | " + " | ".join(Step) + " | lost | normal after |",
        "|---|" + "---|" * len(Step) + "---|---|",
    ]
    for finding in findings:
        found = finding.effect
        if found is None:
            lines.append(f"| {finding.fault.name} | not run: {finding.not_run} |" + " |" * (len(Step) + 1))
            continue
        cells = [cell(found.of(step), step) for step in Step]
        normal = "never" if found.normal_s is None else f"{found.normal_s:.1f} s"
        lost = f"{found.lost} of {len(found.records)}"
        lines.append(f"| {' | '.join([finding.fault.name, *cells, lost, normal])} |")
    return "\n".join(lines)


def _done() -> str:
    lines = ["What was done:", "", "| fault | how | database | second fsroute |", "|---|---|---|---|"]
    for fault in FAULTS:
        second = "yes" if fault.setting.second else "no"
        lines.append(f"| {fault.name} | {fault.what} | {fault.setting.database} | {second} |")
    return "\n".join(lines)


LIMITS = """\
What this does not show:

- If FreeSWITCH itself dies, the calls that it carries end with it, and those that are placed until it is up again get no
  response or a 503. Only a second FreeSWITCH, to which the carrier sends calls then, can take them.
- The clock jumps for the first fsroute only (libfaketime); FreeSWITCH and PostgreSQL keep theirs.
- Calls are signalling only: no audio is sent, so it shows whether a talk goes on, not how it sounds.
- All runs on one machine: a network that drops packets is not among the faults.
- For the run FreeSWITCH may begin 1,000 legs a second instead of the shipped 100 (`fsctl sps`), and logs warnings only: the
  shipped limit refuses a load of 50 calls a second with two legs each."""


def _load(carried: Sequence[Load], loaded: Loaded | None) -> str:
    if not carried and loaded is None:
        return "Not run."
    parts = []
    if carried:
        rows = [
            "| calls a second | calls | lost | ringing tone after (median) | (99 of 100) | (longest) |",
            "|---|---|---|---|---|---|",
        ]
        for load in carried:
            heard = (f"{seconds * 1000:.0f} ms" for seconds in (load.heard_p50, load.heard_p99, load.heard_most))
            rows.append(f"| {' | '.join([f'{load.rate:.1f}', str(load.calls), str(load.lost), *heard])} |")
        parts += ["Without faults, SIPp, FreeSWITCH, fsroute and PostgreSQL on this machine carried:", "\n".join(rows)]
    if loaded is not None:
        load = loaded.load
        counts = {name: loaded.faults.count(name) for name in dict.fromkeys(loaded.faults)}
        happened = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        others = ", ".join(fault.name for fault in FAULTS if not can_be_in_load(fault))
        parts.append(f"""\
With faults at random times (seed {loaded.seed}), {loaded.asked_rate:g} calls a second for {loaded.asked_s:g} s:
**{load.lost} of {load.calls} calls lost**. {load.by_fallback} were answered by the fallback, the others by a phone.
The ringing tone began after {load.heard_p50 * 1000:.0f} ms (median), {load.heard_p99:.1f} s (99 of 100) and
{load.heard_most:.1f} s (longest).

{len(loaded.faults)} faults, one after another: {happened}.

Not among them, because they need another log, database or clock, or end the calls: {others}.""")
        if loaded.broken_off is not None:
            parts.append(f"There were no more faults before the end: {loaded.broken_off}.")
    return "\n\n".join(parts)
