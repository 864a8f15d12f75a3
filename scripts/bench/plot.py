"""Draws the bench's results: `python plot.py results.json performance.svg`. It needs a Python with matplotlib."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib import ticker

COLOURS = {"fsroute": "#0b6e4f", "bare gevent": "#6c757d", "greenswitch": "#b5651d"}
SWEEP = "sweep "
MILLION = 1e6


def main(source: Path, target: Path) -> None:
    runs: list[dict[str, Any]] = json.loads(source.read_text(encoding="utf-8"))["runs"]
    plt.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "fsroute", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    )
    figure, (rate, latency, size) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for server, colour in COLOURS.items():
        found = sorted(
            (r for r in runs if r["what"].startswith(SWEEP) and r["server"] == server), key=lambda run: run["many"]
        )
        many = [run["many"] for run in found]
        if not found:
            continue
        rate.plot(many, [run["calls_per_s"] for run in found], "o-", ms=3, color=colour, label=server)
        latency.plot(many, [run["p50_ms"] for run in found], "o-", ms=3, color=colour, label=f"{server}, p50")
        latency.plot(many, [run["p99_ms"] for run in found], "o:", ms=3, color=colour, label="p99")
    rate.set(title="Calls per second", xlabel="calls at a time", xscale="log", yscale="log")
    latency.set(title="Connect to bridge, ms", xlabel="calls at a time", xscale="log", yscale="log")
    for what, label, style in (("warm", "asked for before", "o-"), ("fresh", "not asked for before", "s--")):
        by_size: dict[int, list[float]] = {}
        for run in runs:
            if run["what"] == what:
                by_size.setdefault(int(run["server"]), []).append(run["mean_ms"])
        sizes = sorted(by_size)
        size.plot(
            sizes, [statistics.median(by_size[each]) for each in sizes], style, ms=3, color=COLOURS["fsroute"], label=label
        )
    size.set(title="Time per call, ms", xlabel="numbers in the table", xscale="log")
    size.set_ylim(bottom=0)
    for axes in (rate, latency, size):
        axes.legend(fontsize=7, frameon=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(ticker.NullLocator())
            axis.set_major_formatter(
                ticker.FuncFormatter(lambda value, _: f"{value:,g}" if value < MILLION else f"{value / MILLION:g} M")
            )
    figure.savefig(target, metadata={"Date": None})


main(Path(sys.argv[1]), Path(sys.argv[2]))
