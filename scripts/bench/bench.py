"""`make bench`: measures fsroute against other Event Socket servers, by table size, and on a real FreeSWITCH.

    python -m scripts.bench.bench [--quick] [--sizes 1000,100000] [--record]

All comparisons are ratios of figures from the same run. The bench measures them in turn, so that the ratios are similar on
another machine. docs/performance.md says how each figure is measured. The bench prints the table and writes all figures to
build/bench/results.json. Exit status: 0 if it has measured, even if fsroute misses targets; 2 if it could not measure.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from scripts.bench import channel, switch_latency, table
from scripts.bench.database import BenchError, check, database, forget, read_whole, some_numbers
from scripts.bench.environment import Environment, prepare
from scripts.bench.event_socket import EventSocket
from scripts.bench.processes import Cores, Load, Result, Server, cores, free_port, many_files, others_cpu_s, serving
from scripts.bench.table import ALWAYS_ASKS, AT_ONCE, FSROUTE, NEW_CALLERS, NEW_CALLERS_SINGLE, OPEN_RATE, Results

TOP = Path(__file__).resolve().parents[2]
DIRECTORY = TOP / "build" / "bench"
DOCUMENT = TOP / "docs" / "performance.md"
PLOT = TOP / "docs" / "performance.svg"

SIZES = (1_000, 100_000, 1_000_000, 5_000_000)
QUICK_SIZES = (1_000, 100_000)
DEMO_NUMBERS = ("+492214710100", "+492214710200", "+492214710300", "+492214710500", "+492214710113")
"""The numbers of scripts/demo.sql that ring a phone at any time."""

MANY_CALLERS = 10_000_000
"""So many callers that no caller calls a second time."""

WARM = 200
"""How many numbers of a table are called again and again."""

COLD = 200
"""How many numbers are called when no part of the table is in memory."""
COLD_S = 20.0
"""The time limit for these calls: a disk may need 10 ms for each of a call's ten reads, so 200 calls take 20 s."""

FIRST_ASKED = {"warming", "fresh", "cold file"}
"""Runs in which fsroute has to ask for phones, because their numbers were not called before."""

MOST_ASKED = 0.02
"""The share of calls in any other run in which fsroute may ask for phones. It drops answers after contact_seconds, so it
asks in a few."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often the bench measures."""

    rounds: int
    seconds: float
    open_seconds: float
    held: int
    watch_s: float
    fresh: int
    sweep: tuple[int, ...]
    starts: int
    switch_calls: int


FULL = Effort(5, 3.0, 12.0, 2000, 10.0, 10_000, (1, 2, 4, 8, 16, 32, 64, 128), 7, 100)
QUICK = Effort(1, 1.0, 4.0, 500, 2.0, 2_000, (1, 8, 32), 3, 20)


@dataclass(frozen=True, slots=True)
class Bench:
    """The objects that all measurements use."""

    environment: Environment
    effort: Effort
    where: Cores
    load: Load
    switch: EventSocket
    results: Results

    @contextmanager
    def fsroute(
        self, name: str, path: Path, *flags: str, where: frozenset[int] | None = None, listeners: int = 1
    ) -> Iterator[Server]:
        """`fsroute serve`, when `listeners` of its processes have subscribed to registration events."""
        port, before = free_port(), self.switch.listeners
        command = [sys.executable, "-m", "fsroute", "serve", "--db", f"sqlite:///{path}", "--listen", f"127.0.0.1:{port}"]
        command += ["--max-calls", "100000", "--log-format", "json", *self.switch.flags, *flags]
        with serving(name, command, port, where or frozenset({self.where.server}), DIRECTORY) as server:
            self.switch.wait_listeners(before + listeners)
            yield server

    @contextmanager
    def all_servers(self, demo: Path, at_once: int) -> Iterator[list[Server]]:
        """All servers: first fsroute, then every peer that could be installed, last an fsroute that asks for phones in every
        call. Each server is warmed up with `at_once` calls at a time."""
        with ExitStack() as stack:
            servers = [stack.enter_context(self.fsroute(FSROUTE, demo))]
            for peer in self.environment.peers:
                if peer.command:
                    port = free_port()
                    place = frozenset({self.where.server})
                    servers.append(
                        stack.enter_context(serving(peer.name, [*peer.command, str(port)], port, place, DIRECTORY))
                    )
            always = self.fsroute(ALWAYS_ASKS, demo, "--contact-seconds", "0", listeners=0)
            servers.append(stack.enter_context(always))
            self.switch.settle()
            for server in servers:
                self.load.run(server, DEMO_NUMBERS, "closed", at_once, 0.5)
            yield servers

    def measure(self, what: str, server: Server, numbers: Sequence[str], how: str, many: float, **more: Any) -> Result:
        result = self.load.run(server, numbers, how, many, **more)
        self.add(what, server, {"many": many, **result})
        return result

    def add(self, what: str, server: Server, result: Result) -> None:
        """Keeps a result. Raises BenchError if fsroute asked for phones whose addresses it should have kept."""
        if what not in FIRST_ASKED and server.name != ALWAYS_ASKS and result["asked"] > MOST_ASKED * result["calls"]:
            raise BenchError(f"{server.name}, {what}: asked for phones {result['asked']} times in {result['calls']} calls")
        self.results.add(what, server.name, result)


# --- the measurements --------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def compare_servers(bench: Bench, demo: Path) -> None:
    """Measures fsroute and the peers: rounds in turn, each number of calls at a time, and held calls."""
    effort = bench.effort
    with bench.all_servers(demo, at_once=8) as servers:
        for turn in range(effort.rounds):
            say(f"servers in turn, round {turn + 1} of {effort.rounds}")
            for server in servers:
                bench.measure("closed", server, DEMO_NUMBERS, "closed", AT_ONCE, seconds=effort.seconds)
                bench.measure("single", server, DEMO_NUMBERS, "closed", 1, seconds=effort.seconds)
                if server.name in {FSROUTE, bench.environment.bare.name}:
                    bench.measure("open", server, DEMO_NUMBERS, "open", OPEN_RATE, seconds=effort.open_seconds)
                if server.name == FSROUTE:
                    for what, at_once in ((NEW_CALLERS, AT_ONCE), (NEW_CALLERS_SINGLE, 1)):
                        bench.measure(
                            what, server, DEMO_NUMBERS, "closed", at_once, seconds=effort.seconds, callers=MANY_CALLERS
                        )
        say("by concurrency")
        for many in effort.sweep:
            for server in servers[:3]:
                bench.measure(f"sweep {many}", server, DEMO_NUMBERS, "closed", many, seconds=effort.seconds / 2)
    say(f"{effort.held:,} calls held")
    # The warm-up has one call at a time. After a busy one the held calls would use its freed memory, and seem to need less.
    with bench.all_servers(demo, at_once=1) as servers:
        for server in servers[:3]:
            bench.add("hold", server, bench.load.hold(server, DEMO_NUMBERS, effort.held, effort.watch_s))


def compare_sizes(bench: Bench, databases: Mapping[int, Path]) -> None:
    """Measures fsroute on tables of each size: numbers that were called before, and numbers that were not."""
    effort = bench.effort
    most = WARM + effort.rounds * effort.fresh
    numbers = {size: some_numbers(size, min(size, most + COLD), seed=size) for size in databases}
    for turn in range(effort.rounds):
        say(f"table sizes in turn, round {turn + 1} of {effort.rounds}")
        with ExitStack() as stack:
            servers = {size: stack.enter_context(bench.fsroute(f"{size}", path)) for size, path in databases.items()}
            bench.switch.settle()
            for size, server in servers.items():
                # Reading the file first takes the disk out of the figures: its speed depends on what ran before.
                bench.results.add("read", server.name, {"read_s": read_whole(databases[size])})
                bench.results.add("ready", server.name, {"ready_s": server.ready_s})
                # Round one calls all numbers of a small table. A new server calls them again: for it they are new numbers.
                fresh = numbers[size][WARM:most]
                share = min(len(fresh), effort.fresh)
                first = turn * share % max(len(fresh) - share, 1)
                warm = numbers[size][:WARM]
                bench.measure("warming", server, warm, "closed", 1, seconds=effort.seconds, calls=2 * len(warm))
                bench.measure("warm", server, warm, "closed", 1, seconds=effort.seconds)
                asked = fresh[first : first + share]
                bench.measure("fresh", server, asked, "closed", 1, seconds=effort.seconds, calls=len(asked))
                bench.measure("warm at once", server, warm, "closed", AT_ONCE, seconds=effort.seconds)
    largest = max(databases)
    if cold := numbers[largest][most:]:
        measure_cold_file(bench, largest, databases[largest], numbers[largest][:WARM], cold)


def measure_cold_file(bench: Bench, size: int, path: Path, warm: Sequence[str], cold: Sequence[str]) -> None:
    """Measures calls to new numbers when the system has no part of the table's file in memory."""
    say("a table that is not in memory")
    with bench.fsroute(f"{size}", path) as server:
        bench.switch.settle()
        bench.measure("warming", server, warm, "closed", 1, seconds=bench.effort.seconds, calls=2 * len(warm))
        forget(path)
        bench.measure("cold file", server, cold, "closed", 1, seconds=COLD_S, calls=len(cold))


def compare_workers(bench: Bench, demo: Path) -> None:
    """Measures one worker with a core of its own, and two workers that share both cores with the load generator."""
    both = bench.where.all
    shared = Load(bench.load.program, bench.load.snapshot, DIRECTORY, both)
    for turn in range(bench.effort.rounds):
        say(f"one worker and two in turn, round {turn + 1} of {bench.effort.rounds}")
        for workers, where, load in ((1, frozenset({bench.where.server}), bench.load), (2, both, shared)):
            flags = "--workers", str(workers)
            with bench.fsroute(f"{workers}", demo, *flags, where=where, listeners=workers) as server:
                bench.switch.settle()
                load.run(server, DEMO_NUMBERS, "closed", 8, 0.5)
                bench.add("workers", server, load.run(server, DEMO_NUMBERS, "closed", 2 * AT_ONCE, bench.effort.seconds))


def has_workers() -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "fsroute", "serve", "--help"], capture_output=True, text=True, check=True, cwd=TOP
    )
    return "--workers" in done.stdout


def measure_cold_starts(bench: Bench, demo: Path) -> None:
    """Measures commands from the start of the process to its end."""
    say("commands from cold")
    commands = {"--help": ["--help"], "explain": ["explain", "--db", f"sqlite:///{demo}", "--to", DEMO_NUMBERS[0]]}
    program = Path(sys.executable).with_name("fsroute")
    for _ in range(bench.effort.starts):
        for name, arguments in commands.items():
            began = time.perf_counter()
            subprocess.run([str(program), *arguments], capture_output=True, check=True, cwd=TOP)  # noqa: S603 - our own program
            bench.results.add("cold", name, {"seconds": time.perf_counter() - began})


# --- the whole ---------------------------------------------------------------------------------------------


def run(sizes: Sequence[int], effort: Effort, title: str, directory: Path) -> Results:
    """Measures everything, in the order of the table. Raises BenchError."""
    check(sizes, directory)
    many_files()
    say("installing what the bench needs")
    environment = prepare(directory)
    for peer in environment.peers:
        if peer.problem:
            print(f"bench: {peer.name} IS MISSING from this run: {peer.problem}", file=sys.stderr)
    databases: dict[int, Path] = {}
    made: dict[str, float] = {}
    for size in sizes:
        say(f"a database with {size:,} numbers")
        databases[size], seconds = database(size, directory)
        if seconds is not None:
            made[f"{size}"] = round(seconds, 1)
    where = cores()
    load = Load(environment.load, environment.snapshot, directory, frozenset({where.generator}))
    results = Results({**_about(title, where), "made_s": made, "peers": {p.name: p.version for p in environment.peers}})
    demo = _demo(directory)
    with EventSocket(channel.switch(environment.snapshot.read_text(encoding="utf-8"))) as switch:
        bench = Bench(environment, effort, where, load, switch, results)
        compare_servers(bench, demo)
        compare_sizes(bench, databases)
        if has_workers() and len(where.all) > 1:
            compare_workers(bench, demo)
        measure_cold_starts(bench, demo)
    measured, why_not = None, ""
    try:
        say("a real FreeSWITCH")
        measured = switch_latency.measure(effort.switch_calls, demo, directory)
        results.add("switch", FSROUTE, asdict(measured))
    except switch_latency.NoSwitchError as error:
        why_not = str(error)
    results.rows = table.rows(results, environment, sizes, measured, why_not)
    return results


def _demo(directory: Path) -> Path:
    """Makes a new database with the demo's tables."""
    path = directory / "demo.db"
    for old in directory.glob("demo.db*"):
        old.unlink()
    for command in (["init"], ["load", "scripts/demo.sql"]):
        program = [sys.executable, "-m", "fsroute", *command, "--db", f"sqlite:///{path}"]
        done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=TOP)  # noqa: S603 - our own program
        if done.returncode:
            raise BenchError(f"fsroute {command[0]}: {done.stderr.strip()}")
    return path


def _about(title: str, where: Cores) -> dict[str, Any]:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=TOP)  # noqa: S607 - git is where PATH has it
    cpu = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    processor = cpu[0] if cpu else platform.machine()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{len(where.all)} cores of {processor}, Linux {platform.release()}, Python {platform.python_version()}",
        "effort": title,
    }


def plot(environment_python: Path | None, results: Path, directory: Path) -> Path | None:
    """Draws the plot if matplotlib could be installed. A failure is printed and not raised, because the figures are complete
    without the plot."""
    if environment_python is None:
        print("bench: no plot: matplotlib could not be installed", file=sys.stderr)
        return None
    path = directory / "performance.svg"
    command = [str(environment_python), str(Path(__file__).with_name("plot.py")), str(results), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        print(f"bench: no plot: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return path


def record(shown: str, drawn: Path | None) -> None:
    """Writes the results into docs/performance.md, between its two marks."""
    begin, end = "<!-- results -->\n", "<!-- end of results -->"
    text = DOCUMENT.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    if not found or end not in rest:
        raise BenchError(f"{DOCUMENT.name}: has no place for results ({begin.strip()} ... {end})")
    DOCUMENT.write_text(f"{before}{begin}\n{shown}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
    if drawn is not None:
        PLOT.write_bytes(drawn.read_bytes())


class _Parser(argparse.ArgumentParser):
    """Raises BenchError with one line for a wrong argument."""

    def error(self, message: str) -> NoReturn:
        raise BenchError(message)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part.replace("_", "")) for part in text.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: must be whole numbers such as 1000,100000") from error


def main(arguments: Sequence[str]) -> int:
    """Runs the bench and prints its table."""
    parser = _Parser(
        prog="bench", description="Measures fsroute and other Event Socket servers; docs/performance.md says how."
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test of a minute: one round, small tables")
    parser.add_argument("--sizes", type=_sizes, help="numbers in the generated tables, separated by commas")
    parser.add_argument("--record", action="store_true", help="write the results into docs/performance.md")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers that we started end with us
    try:
        given = parser.parse_args(arguments)
        sizes = given.sizes or (QUICK_SIZES if given.quick else SIZES)
        effort = QUICK if given.quick else FULL
        began, others = time.monotonic(), others_cpu_s()
        results = run(
            sizes, effort, "quick run, one round" if given.quick else f"medians of {FULL.rounds} rounds", DIRECTORY
        )
        seconds = time.monotonic() - began
        results.about |= {"seconds": round(seconds), "others": round((others_cpu_s() - others) / seconds, 2)}
        path = DIRECTORY / "results.json"
        path.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False), encoding="utf-8")
        shown = table.as_markdown(results)
        (DIRECTORY / "table.md").write_text(shown, encoding="utf-8")
        drawn = plot(prepare(DIRECTORY).plotter, path, DIRECTORY)
        if given.record:
            record(shown, drawn)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"bench: {' '.join(error.cmd)}: status {error.returncode}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 2
    print(shown)
    print(f"all figures: {path.relative_to(TOP)}, in {results.about['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
