"""Keeps the measured figures and makes the bench's table: each row has its target, and whether it was reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.bench.environment import Environment
from scripts.bench.processes import Result
from scripts.bench.switch_latency import Measured, Way

FSROUTE = "fsroute"
ALWAYS_ASKS = "fsroute, asks"
"""The fsroute that has not subscribed to registration events."""
ASKING = "when every call asks for phones"
NEW_CALLERS, NEW_CALLERS_SINGLE = "closed, new callers", "single, new callers"
"""Runs in which every call has another caller."""
AT_ONCE = 32
OPEN_RATE = 50

LEAST_OF_GREENSWITCH, LEAST_OF_GENESIS, LEAST_OF_MODESL = 12.0, 5.0, 8.0
MOST_CPU, MOST_P50, MOST_P99 = 2.0, 2.0, 3.0
MOST_LATE_MS = 3.0
MOST_MEMORY = 0.25
MOST_WARM, MOST_FRESH = 1.2, 2.0
MOST_READY = 1.2
"""A start with a large table may take this much longer than one with a small table. The difference is chance."""
LEAST_WORKERS = 1.7
MOST_OVER_DIALPLAN_MS = 1.5
MOST_OF_SWITCH = 5.0
MOST_EXPLAIN_S, MOST_HELP_S = 0.35, 0.15

OTHERS_LIMIT = 0.1
"""How many cores other programs may use during the bench. If they use more, the figures are not reliable."""

GENERATOR_LIMIT = 0.9
"""If the generator uses more than this share of its core, the generator and not the server limits the calls."""

Value = Callable[[Result], float]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `reached` is None if the bench could not measure it; the note says why. A row without a target is
    only for comparison."""

    what: str
    target: str
    value: str
    reached: bool | None
    note: str = ""


@dataclass(slots=True)
class Results:
    """All measured figures."""

    about: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, server: str, result: Mapping[str, Any]) -> None:
        self.runs.append({"what": what, "server": server, **result})

    def median(self, what: str, server: str, value: Value) -> float | None:
        """The median over the rounds; None without rounds."""
        found = [value(run) for run in self.runs if run["what"] == what and run["server"] == server]
        return statistics.median(found) if found else None


def rows(
    results: Results, environment: Environment, sizes: Sequence[int], measured: Measured | None, why_no_switch: str
) -> list[Row]:
    """The whole table."""
    return [
        *_peers(results, environment),
        *_bare(results, environment.bare.name),
        *_always_asks(results),
        *_new_callers(results),
        *_held(results, environment.greenswitch.name),
        *_sizes(results, sizes),
        _workers(results),
        *_switch(measured, why_no_switch),
        *_cold(results),
    ]


def as_markdown(results: Results) -> str:
    """The table as Markdown, with the machine, the version and the reasons for doubt."""
    marks = {True: "yes", False: "**no**", None: "**not measured**"}
    lines = ["| what | to reach | measured | reached | figures |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.what} | {row.target} | {row.value} | {marks[row.reached] if row.target else ''} | {row.note} |"
        for row in results.rows
    ]
    about = results.about
    head = f"{about['date']}, commit {about['commit']}, {about['machine']}; {about['effort']}."
    return "\n".join([head, *(f"\n**Doubtful:** {text}." for text in _doubts(results)), "", *lines]) + "\n"


def _doubts(results: Results) -> list[str]:
    """Reasons to doubt the figures: other programs, failed calls, or a generator that was the limit."""
    found = []
    if results.about["others"] > OTHERS_LIMIT:
        found.append(f"other programs used {results.about['others']} cores meanwhile, on average")
    for run in results.runs:
        where = f"{run['server']}, {run['what']}"
        if run.get("errors"):
            found.append(f"{where}: failed calls {run['errors']}")
        if run["what"] in {"closed", "warm at once"} and run["cpu_s"] / run["seconds"] > GENERATOR_LIMIT:
            found.append(f"{where}: the generator had no time left, the server may be faster")
    return found


# --- the rows ----------------------------------------------------------------------------------------------


def _calls_per_s(run: Result) -> float:
    return float(run["calls_per_s"])


def _cpu_us(run: Result) -> float:
    """The server's microseconds of CPU per call."""
    return 1e6 * float(run["server_cpu_s"]) / int(run["calls"])


def _held_kb(run: Result) -> float:
    return (int(run["memory_kb"]) - int(run["memory_before_kb"])) / int(run["held"])


def _of(name: str) -> Value:
    return lambda run: float(run[name])


def _ratio(what: str, mine: float | None, other: float | None, target: float, shown: str, *, at_least: bool = False) -> Row:
    """The row for mine / other; `shown` is the format of both figures."""
    wanted = f"{'>=' if at_least else '<='} {target:g}x"
    if mine is None or not other:
        return Row(what, wanted, "-", None, "not measured")
    value = mine / other
    reached = value >= target if at_least else value <= target
    return Row(what, wanted, f"{value:.2f}x", reached, f"{shown.format(mine)} against {shown.format(other)}")


def _peers(results: Results, environment: Environment) -> list[Row]:
    mine = results.median("closed", FSROUTE, _calls_per_s)
    found = []
    for peer, target in (
        (environment.greenswitch, LEAST_OF_GREENSWITCH),
        (environment.genesis, LEAST_OF_GENESIS),
        (environment.modesl, LEAST_OF_MODESL),
    ):
        what = f"calls/s, {AT_ONCE} at a time, against {peer.name} {peer.version}".rstrip()
        if peer.problem:
            found.append(Row(what, f">= {target:g}x", "-", None, f"NOT INSTALLED: {peer.problem}"))
        else:
            other = results.median("closed", peer.name, _calls_per_s)
            found.append(_ratio(what, mine, other, target, "{:,.0f}", at_least=True))
    return found


def _bare(results: Results, bare: str) -> list[Row]:
    def against(what: str, run: str, value: Value, target: float, shown: str) -> Row:
        return _ratio(what, results.median(run, FSROUTE, value), results.median(run, bare, value), target, shown)

    p99 = _of("p99_ms")
    found = [
        against("CPU per call, against bare gevent", "closed", _cpu_us, MOST_CPU, "{:.0f} µs"),
        against("connect to bridge, one call at a time, p50", "single", _of("p50_ms"), MOST_P50, "{:.2f} ms"),
        against("connect to bridge, one call at a time, p99", "single", p99, MOST_P99, "{:.2f} ms"),
    ]
    what, wanted = f"p99 at {OPEN_RATE} calls/s, over bare gevent", f"<= {MOST_LATE_MS:g} ms"
    mine, other = results.median("open", FSROUTE, p99), results.median("open", bare, p99)
    if mine is None or other is None:
        return [*found, Row(what, wanted, "-", None, "not measured")]
    over = mine - other
    return [*found, Row(what, wanted, f"{over:.2f} ms", over <= MOST_LATE_MS, f"{mine:.2f} ms against {other:.2f} ms")]


def _compared(what: str, mine: float | None, other: float | None, shown: str) -> Row:
    """The row for mine / other without a target."""
    row = _ratio(what, mine, other, 0, shown)
    return Row(row.what, "", row.value, None, row.note)


def _always_asks(results: Results) -> list[Row]:
    """Rows for an fsroute that asks for phones in every call, against one that has subscribed to registration events."""

    def against(what: str, run: str, value: Value, shown: str) -> Row:
        mine, other = results.median(run, ALWAYS_ASKS, value), results.median(run, FSROUTE, value)
        return _compared(f"{what}, {ASKING}", mine, other, shown)

    return [
        against(f"calls/s, {AT_ONCE} at a time", "closed", _calls_per_s, "{:,.0f}"),
        against("CPU per call", "closed", _cpu_us, "{:.0f} µs"),
        against("connect to bridge, one call at a time, p50", "single", _of("p50_ms"), "{:.2f} ms"),
    ]


def _new_callers(results: Results) -> list[Row]:
    """Rows for calls from new callers, against calls from the same caller."""

    def against(what: str, new: str, same: str, value: Value, shown: str) -> Row:
        mine, other = results.median(new, FSROUTE, value), results.median(same, FSROUTE, value)
        return _compared(f"{what}, when every call has another caller", mine, other, shown)

    return [
        against(f"calls/s, {AT_ONCE} at a time", NEW_CALLERS, "closed", _calls_per_s, "{:,.0f}"),
        against("CPU per call", NEW_CALLERS, "closed", _cpu_us, "{:.0f} µs"),
        against("connect to bridge, one call at a time, p50", NEW_CALLERS_SINGLE, "single", _of("p50_ms"), "{:.2f} ms"),
    ]


def _held(results: Results, greenswitch: str) -> list[Row]:
    mine, other = results.median("hold", FSROUTE, _held_kb), results.median("hold", greenswitch, _held_kb)
    used = results.median("hold", FSROUTE, lambda run: 100 * run["held_cpu_s"] / run["watch_s"]) or 0.0
    woken = results.median("hold", FSROUTE, lambda run: run["held_wakeups"] / run["watch_s"]) or 0.0
    held = results.median("hold", FSROUTE, _of("held")) or 0.0
    idle = round(used, 1) == 0 and round(woken) == 0
    return [
        _ratio(f"memory per held call ({held:,.0f}), against greenswitch", mine, other, MOST_MEMORY, "{:.1f} kB"),
        Row(f"CPU while {held:,.0f} calls are held", "0 %", f"{used:.2f} %", idle, f"{woken:.1f} wake-ups a second in all"),
    ]


def _sizes(results: Results, sizes: Sequence[int]) -> list[Row]:
    small, large = str(min(sizes)), str(max(sizes))
    title = f"{max(sizes):,} numbers against {min(sizes):,}"
    if small == large:
        return [Row("a large table against a small one", f"<= {MOST_WARM:g}x", "-", None, "only one size was asked for")]
    mean, ready = _of("mean_ms"), _of("ready_s")
    warm, fresh = results.median("warm", small, mean), results.median("fresh", large, mean)
    cold = results.median("cold file", large, mean)
    return [
        _ratio(f"{title}: time per call", results.median("warm", large, mean), warm, MOST_WARM, "{:.2f} ms"),
        _ratio(f"{title}: not asked for before", fresh, results.median("fresh", small, mean), MOST_FRESH, "{:.2f} ms"),
        _compared(f"{title}: not asked for before, against asked for before", fresh, warm, "{:.2f} ms"),
        _compared(
            f"{max(sizes):,} numbers: not asked for before, from the disk against from memory", cold, fresh, "{:.2f} ms"
        ),
        _ratio(
            f"{title}: start to ready",
            results.median("ready", large, ready),
            results.median("ready", small, ready),
            MOST_READY,
            "{:.2f} s",
        ),
    ]


def _workers(results: Results) -> Row:
    """The row for two workers, calculated as if both cores were theirs: without the share that the generator used."""
    what = "two workers against one, generator's CPU taken out"
    one, two = results.median("workers", "1", _calls_per_s), results.median("workers", "2", _calls_per_s)
    if one is None or two is None:
        return Row(what, f">= {LEAST_WORKERS:g}x", "-", None, "NOT MEASURED: needs two cores and serve --workers")
    free = 2 - (results.median("workers", "2", lambda run: run["cpu_s"] / run["seconds"]) or 0.0)
    row = _ratio(what, two * 2 / free, one, LEAST_WORKERS, "{:,.0f}", at_least=True)
    return Row(row.what, row.target, row.value, row.reached, f"{row.note}; {two / one:.2f}x beside the generator")


def _switch(measured: Measured | None, why_not: str) -> list[Row]:
    bridged, over_wanted = "FreeSWITCH: INVITE in to out, p50, over the XML dialplan", f"<= {MOST_OVER_DIALPLAN_MS:g} ms"
    cpu, cpu_wanted = "CPU of fsroute per call, of FreeSWITCH's", f"<= {MOST_OF_SWITCH:g} %"
    if measured is None:
        note = f"NOT RUN: {why_not}"
        return [Row(bridged, over_wanted, "-", None, note), Row(cpu, cpu_wanted, "-", None, note)]
    (over, times), (part, used) = _on_switch(measured.listens)
    (asks_over, asks_times), (asks_part, asks_used) = _on_switch(measured.asks)
    return [
        Row(bridged, over_wanted, f"{over:+.2f} ms", over <= MOST_OVER_DIALPLAN_MS, times),
        Row(f"{bridged}, {ASKING}", "", f"{asks_over:+.2f} ms", None, asks_times),
        Row(cpu, cpu_wanted, f"{part:.1f} %", part <= MOST_OF_SWITCH, used),
        Row(f"{cpu}, {ASKING}", "", f"{asks_part:.1f} %", None, asks_used),
    ]


def _on_switch(way: Way) -> tuple[tuple[float, str], tuple[float, str]]:
    """The milliseconds more than by the dialplan, and fsroute's share of FreeSWITCH's CPU time in per cent, each with its
    figures."""
    return (
        way.fsroute_p50_ms - way.dialplan_p50_ms,
        f"{way.fsroute_p50_ms:.2f} ms against {way.dialplan_p50_ms:.2f} ms",
    ), (
        100 * way.fsroute_cpu_ms / way.switch_cpu_ms,
        f"{way.fsroute_cpu_ms:.2f} ms of {way.switch_cpu_ms:.2f} ms",
    )


def _cold(results: Results) -> list[Row]:
    found = []
    for command, target in (("explain", MOST_EXPLAIN_S), ("--help", MOST_HELP_S)):
        seconds = results.median("cold", command, _of("seconds")) or 0.0
        found.append(Row(f"fsroute {command} from cold", f"<= {target} s", f"{seconds:.2f} s", seconds <= target))
    return found
