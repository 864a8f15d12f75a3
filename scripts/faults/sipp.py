"""Load by SIPp (Debian's sip-tester): a carrier that calls in at a steady rate, and phones that answer.

Signalling only. SIPp counts its calls; `read` makes figures of what it wrote.
"""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from scripts.faults.node import WorldError
from scripts.faults.phones import FALLBACK, FRESH, KNOWN, TWO_PLANS
from scripts.faults.records import FINAL_S
from tests.support.sip import Phone
from tests.support.switch import IP, Switch, free_ports

SCENARIOS = Path(__file__).parent / "sipp"

MIX = {KNOWN: 14, TWO_PLANS: 4, "": 2}
"""Of twenty calls so many are to each number; "" is a number that was not called before."""

FRESH_NUMBERS = 2000
"""So many does routing.sql have; they are called again after that."""

PHONES = {"phone": ("1001", "1004"), "busy": ("1003",), "fallback": (FALLBACK,)}
"""SIPp processes, and the users whose phones they are."""

MOST_AT_ONCE = 5000
"""Calls up at the same time, at which SIPp would stop calling: never reached, since a call lasts 40 s at most. Its own limit
is three times the usual number, and would hide that calls hang."""

DRAIN_S = FINAL_S + 40.0
"""For the last calls to end: SIPp repeats an INVITE for 32 s."""


@dataclass(frozen=True, slots=True)
class Load:
    """What became of the calls. Times in seconds."""

    calls: int
    answered: int
    by_fallback: int
    failures: tuple[str, ...]
    """One for each call that failed, as SIPp describes it."""
    seconds: float
    heard_p50: float
    heard_p99: float
    heard_most: float
    """From the INVITE to the ringing tone."""
    answered_most: float
    late: int
    """Answered after FINAL_S."""

    @property
    def lost(self) -> int:
        return self.calls - self.answered + self.late

    @property
    def rate(self) -> float:
        return self.calls / self.seconds if self.seconds else 0.0


def find_sipp() -> str | None:
    return shutil.which("sipp")


def called(count: int, random: Random) -> Iterator[tuple[str, str]]:
    """Caller and called number of each call."""
    fresh = 0
    for call in range(count):
        number = random.choices([*MIX], [*MIX.values()])[0]
        if not number:
            number = FRESH.format(1000 + fresh % FRESH_NUMBERS)
            fresh += 1
        yield f"+4930{23_000_000 + call}", number


@contextmanager
def phones(switch: Switch, directory: Path) -> Iterator[None]:
    """SIPp answers for the phones, which are registered in FreeSWITCH with its addresses."""
    password = switch.api("global_getvar demo_password").strip()
    with ExitStack() as stack:
        ports = stack.enter_context(closing(free_ports()))
        for name, users in PHONES.items():
            port = next(ports)
            scenario = SCENARIOS / ("busy.xml" if name == "busy" else "phone.xml")
            process = _sipp(directory, name, "-sf", scenario, "-p", port)
            stack.callback(_end, process)
            for user in users:
                phone = stack.enter_context(Phone(user, password, "acme.example", switch.internal))
                if phone.register(expires=3600, contact=f"<sip:{user}@{IP}:{port}>") != 200:
                    raise WorldError(f"{user} could not register")
        yield


@contextmanager
def calling(switch: Switch, directory: Path, rate: float, calls: int, random: Random) -> Iterator[subprocess.Popen[bytes]]:
    """The carrier calls in, until it has placed all calls and they have ended."""
    lines = [f"{caller};{number}\n" for caller, number in called(calls, random)]
    (directory / "numbers.csv").write_text("".join(["SEQUENTIAL\n", *lines]))
    host, port = switch.external
    # From the port to which FreeSWITCH sends calls to the carrier; there are none here.
    process = _sipp(
        directory, "caller", "-sf", SCENARIOS / "caller.xml", "-p", switch.carrier_port, "-inf", "numbers.csv",
        "-r", max(1, round(rate * 10)), "-rp", 10_000, "-m", calls, "-l", MOST_AT_ONCE,
        "-recv_timeout", round((FINAL_S + 5) * 1000), "-trace_rtt", "-rtt_freq", 1, f"{host}:{port}",
    )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds + DRAIN_S)
    except subprocess.TimeoutExpired as error:
        raise WorldError(f"SIPp has not ended {DRAIN_S:g} s after its last call") from error


def read(directory: Path, seconds: float) -> Load:
    """Of what SIPp has written."""
    caller, fallback = _last(directory / "caller.stat"), _last(directory / "fallback.stat")
    heard: list[float] = []
    answered: list[float] = []
    for path in directory.glob("caller_*_rtt.csv"):
        for _, milliseconds, name, *_ in csv.reader(path.read_text().splitlines()[1:], delimiter=";"):
            (heard if name == "heard" else answered).append(float(milliseconds) / 1000)
    errors = (directory / "caller.errors").read_text("utf-8", "replace") if (directory / "caller.errors").exists() else ""
    return Load(
        calls=int(caller["TotalCallCreated"]),
        answered=int(caller["SuccessfulCall(C)"]),
        by_fallback=int(fallback["SuccessfulCall(C)"]) if fallback else 0,
        failures=tuple(line for line in errors.splitlines() if "Aborting" in line or "Failed" in line or "failed" in line),
        seconds=seconds,
        heard_p50=_quantile(heard, 0.5),
        heard_p99=_quantile(heard, 0.99),
        heard_most=max(heard, default=0.0),
        answered_most=max(answered, default=0.0),
        late=sum(each > FINAL_S for each in answered),
    )


def _quantile(seconds: Sequence[float], part: float) -> float:
    return sorted(seconds)[int(part * (len(seconds) - 1))] if seconds else 0.0


def _last(path: Path) -> dict[str, str]:
    rows = list(csv.DictReader(path.read_text().splitlines(), delimiter=";")) if path.exists() else []
    return rows[-1] if rows else {}


def _sipp(directory: Path, name: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = find_sipp()
    if command is None:
        raise WorldError("SIPp is not installed (on Debian: apt-get install sip-tester)")
    every: Iterable[object] = (
        command, "-i", IP, "-mi", IP, "-nostdin", "-trace_stat", "-stf", f"{name}.stat", "-fd", 1,
        "-trace_err", "-error_file", f"{name}.errors", *arguments,
    )  # fmt: skip
    with (directory / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(
            [*map(str, every)], cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    time.sleep(0.3)
    if process.poll() is not None:
        raise WorldError(f"SIPp ended: {(directory / f'{name}.out').read_text('utf-8', 'replace')[-500:]}")
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGUSR1 lets it write its figures."""
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
