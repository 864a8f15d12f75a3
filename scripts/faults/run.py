"""`make faults`: runs every fault of the table, then a load with random faults, and writes docs/reliability.md.

    python -m scripts.faults.run [--calls N] [--only NAME] [--rate R] [--seconds S] [--seed N] [--no-load] [--no-table]

It ends by itself, with status 1 if anything was not as the table wants it. The logs of such a fault are kept, and named.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from scripts.faults import sipp
from scripts.faults.node import Sink, WorldError
from scripts.faults.phones import Calls
from scripts.faults.records import broken, effect
from scripts.faults.report import Finding, Loaded, Machine, document
from scripts.faults.table import BY_NAME, FAULTS, Fault, can_be_in_load
from scripts.faults.world import Ended, Setting, World, find_faketime, make_switch, prepare
from tests.support.switch import Switch, find_freeswitch

TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "docs" / "reliability.md"

WATCH_S = 20.0
"""Calls are watched for so long after the end of a fault, if they do not become normal before."""

RATES = (50.0, 40.0, 30.0, 20.0, 10.0, 5.0)
"""Calls a second that are tried without faults, from the highest on, until one is carried."""

RATE_S = 20.0
CARRIED_S = 0.5
"""A rate is carried if no call is lost, and 99 of 100 callers hear a ringing tone within this time."""

PAUSES_S = 1.0, 4.0
"""Between two random faults: from, to."""


def run_fault(fault: Fault, switch: Switch, directory: Path, calls: int) -> Finding:
    """One line of the table, in a world of its own."""
    if fault.setting.faketime and find_faketime() is None:
        return Finding(fault, None, not_run="libfaketime is not installed")
    if fault.setting.sink is Sink.DISK and os.geteuid() != 0:
        return Finding(fault, None, not_run="only root can mount a small disk")
    with World(directory, switch, fault.setting) as world, Calls(switch, calls) as peers:
        peers.warm_up()
        ended = Ended()
        end = _ending(fault, world, peers)
        begin = time.monotonic()

        def strike() -> None:
            nonlocal begin
            begin = time.monotonic()
            ended.run(lambda: fault.begin(world), fault.lasts_s, end)

        records = peers.watch(strike, ended.when, WATCH_S)
        if ended.at is None:
            raise WorldError(f"{fault.name}: its end took too long")
        found = effect(records, ended.at - begin if fault.end or fault.lasts_s else 0.0)
        switch_idle = contextlib.suppress(AssertionError) if fault.loses_talks else contextlib.nullcontext()
        with switch_idle:
            switch.wait_idle(40.0)
    return Finding(fault, found, tuple(broken(found, fault.bound)))


def _ending(fault: Fault, world: World, peers: Calls) -> Callable[[], None]:
    def end() -> None:
        if fault.end is not None:
            fault.end(world)
        if fault.loses_talks:
            prepare(world.switch)
            peers.register()

    return end


def run_load(
    switch: Switch,
    directory: Path,
    rate: float,
    seconds: float,
    seed: int,
    say: Callable[[str], None],
    *,
    faults: bool = True,
) -> Loaded:
    """Calls at a steady rate for so long, with random faults one after another."""
    random = Random(seed)
    happened: list[str] = []
    broken_off: str | None = None
    setting = Setting(sink=Sink.PIPE)
    with World(directory, switch, setting) as world, sipp.phones(switch, directory):
        begin = time.monotonic()
        with sipp.calling(switch, directory, rate, round(rate * seconds), random) as caller:
            while faults and broken_off is None and caller.poll() is None:
                time.sleep(random.uniform(*PAUSES_S))
                fault = random.choice(_possible(happened))
                left_s = seconds - (time.monotonic() - begin)
                if left_s < fault.lasts_s + PAUSES_S[1]:
                    break
                say(f"  {time.monotonic() - begin:6.1f} s  {fault.name}")
                happened.append(fault.name)
                try:
                    _strike(fault, world)
                except AssertionError as error:  # of the harness: the calls go on, and are counted
                    broken_off = f"{fault.name}: {str(error).partition(chr(10))[0]}"
            sipp.wait(caller, max(0.0, seconds - (time.monotonic() - begin)))
            lasted = time.monotonic() - begin
    return Loaded(sipp.read(directory, min(lasted, seconds)), rate, seconds, happened, seed, broken_off)


def _strike(fault: Fault, world: World) -> None:
    """One fault under load, to its end."""
    fault.begin(world)
    time.sleep(fault.lasts_s)
    if fault.end is not None:
        fault.end(world)
    if not world.first.is_read:
        world.first.take_over()  # a new process has a new reader


def _possible(happened: Sequence[str]) -> list[Fault]:
    """Faults that can happen in the world of the load."""
    return [fault for fault in FAULTS if can_be_in_load(fault) and not (fault.once and fault.name in happened)]


def versions(switch: Switch) -> dict[str, str]:
    import platform  # noqa: PLC0415 - for the page only

    from fsroute import __version__  # noqa: PLC0415
    from tests.support import postgresql  # noqa: PLC0415

    found = {"fsroute": __version__, "Python": platform.python_version(), "FreeSWITCH": switch.version.partition("-")[0]}
    found["PostgreSQL"] = postgresql.version()
    return found


@dataclass(slots=True)
class Run:
    """What was found until now. The page is written after the table, and again after the load."""

    options: argparse.Namespace
    switch: Switch
    kept: Path
    """The logs, removed if all is as it should be."""
    machine: Machine
    findings: list[Finding] = field(default_factory=list)
    carried: list[sipp.Load] = field(default_factory=list)
    loaded: Loaded | None = None

    def table(self) -> None:
        """Each fault, or those that were chosen."""
        chosen = [BY_NAME[name] for name in self.options.only] if self.options.only else [*FAULTS]
        for number, fault in enumerate(chosen):
            directory = _made(self.kept / f"{number:02} {fault.name}")
            self.findings.append(_tried(fault, self.switch, directory, self.options.calls))

    def load(self) -> None:
        """First without faults, until a rate is carried; then with faults at that rate."""
        if sipp.find_sipp() is None:
            _say("the load was not run: SIPp is not installed (on Debian: apt-get install sip-tester)")
            return
        rate = self.options.rate
        for rate in (self.options.rate, *(each for each in RATES if each < self.options.rate)):
            found = self._loaded(rate, RATE_S, faults=False).load
            self.carried.append(found)
            heard = f"{found.lost} of {found.calls} lost, ringing after {found.heard_p99:.2f} s"
            _say(f"{rate:g} calls a second without faults: {heard}")
            if not found.lost and found.heard_p99 <= CARRIED_S:
                break
        self.loaded = self._loaded(rate, self.options.seconds, faults=True)
        found = self.loaded.load
        if self.loaded.broken_off is not None:
            _say(f"no more faults after {self.loaded.broken_off}")
        _say(f"{found.lost} of {found.calls} calls lost under load, {found.by_fallback} answered by the fallback")

    def _loaded(self, rate: float, seconds: float, *, faults: bool) -> Loaded:
        directory = _made(self.kept / f"{rate:g} a second, {'with' if faults else 'without'} faults")
        return run_load(self.switch, directory, rate, seconds, self.options.seed, _say, faults=faults)

    def write(self) -> None:
        """The page, unless only a part of the table was run."""
        if len(self.findings) == len(FAULTS):
            text = document(self.machine, self.options.calls, self.findings, self.carried, self.loaded)
            Path(self.options.page).write_text(text, "utf-8")

    @property
    def is_as_it_should_be(self) -> bool:
        loaded = self.loaded
        is_complete = loaded is None or (not loaded.load.lost and loaded.broken_off is None)
        return is_complete and not any(finding.broken for finding in self.findings)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    if find_freeswitch() is None:
        print("no FreeSWITCH found, set FREESWITCH to the path of its binary", file=sys.stderr)
        return 2
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    with make_switch(is_for_load=True) as switch:
        prepare(switch)
        machine = Machine(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), versions(switch), os.cpu_count() or 1, load)
        run = Run(options, switch, Path(tempfile.mkdtemp(prefix="fsroute-faults-")), machine)
        if not options.no_table:
            run.table()
            run.write()
        if not options.no_load:
            run.load()
            run.write()
    if not run.is_as_it_should_be:
        _say(f"not all is as it should be; the logs are in {run.kept}")
        return 1
    shutil.rmtree(run.kept)
    return 0


def _tried(fault: Fault, switch: Switch, directory: Path, calls: int) -> Finding:
    started = time.monotonic()
    try:
        found = run_fault(fault, switch, directory, calls)
    except AssertionError as error:  # of the harness: the others are run all the same
        why = str(error).partition("\n")[0]
        found = Finding(fault, None, (f"could not be run: {why}",), why)
        (directory / "freeswitch.log").write_text(switch.log())
    if found.effect is None:
        _say(f"{fault.name}: not run: {found.not_run}")
        return found
    normal = "never" if found.effect.normal_s is None else f"after {found.effect.normal_s:.1f} s"
    lost = f"{found.effect.lost} of {len(found.effect.records)} lost"
    _say(f"{fault.name}: {lost}, normal {normal} ({time.monotonic() - started:.0f} s)")
    for each in found.broken:
        _say(f"  BUT {each}")
    if found.broken:
        (directory / "freeswitch.log").write_text(switch.log())
        (directory / "calls").write_text("\n".join(map(str, found.effect.records)))
    return found


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def _say(text: str) -> None:
    print(text, flush=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=4, help="at each step of a call (4)")
    parser.add_argument(
        "--only", action="append", choices=sorted(BY_NAME), help="this fault; may be given again; writes no page"
    )
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second under load, at most (50)")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the load (600)")
    parser.add_argument("--seed", type=int, default=1, help="of the random faults and numbers (1)")
    parser.add_argument("--no-load", action="store_true", help="the table only")
    parser.add_argument("--no-table", action="store_true", help="the load only")
    parser.add_argument("--page", default=str(PAGE), help="where the page is written (docs/reliability.md)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
