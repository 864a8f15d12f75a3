"""Measures how much time fsroute adds to a call on a real FreeSWITCH: `python -m scripts.bench.switch_latency [CALLS]`.

A carrier calls a number, and a registered phone gets an INVITE. The script measures the time between the two INVITEs. Every
second call goes to a number that FreeSWITCH's XML dialplan bridges without fsroute, with the same dial string and settings.
Then the script measures the CPU time of both programs per call that fsroute routes. It does all of this twice: with an
fsroute that has subscribed to registration events, and with one that asks for phones in every call.

FreeSWITCH runs the configuration of freeswitch/ on loopback, with one more extension for the second number.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from fsroute.serving.registrations import SETTLED_S
from fsroute.switch import contacts
from scripts.bench.database import BenchError
from scripts.bench.event_socket import MARGIN_S
from scripts.bench.processes import Server, cpu_s, serving
from tests.support.sip import Carrier, Phone, Ring, SipTimeoutError
from tests.support.switch import CONFIGURATION, Switch, SwitchError, find_freeswitch

TOP = Path(__file__).resolve().parents[2]

NUMBER = "+492214710113"
"""A number of the demo. It has no rules, so it rings the phones of its user."""
ENDPOINT, DOMAIN = "1004", "acme.example"
PLAIN = "+492214710999"
"""The number that the dialplan bridges."""

PHONE_PORT = 31_990
"""The phone's port. It must be fixed before FreeSWITCH starts: above the ports of the switches, below the ephemeral ones."""

WARMING = 3
"""Calls to each number before the calls that count."""

PAUSE_S = 0.02
"""The pause between two calls, in which FreeSWITCH finishes the one before."""


class NoSwitchError(Exception):
    """There is no FreeSWITCH here, or it does not start. The message is one line with the reason."""


@dataclass(frozen=True, slots=True)
class Way:
    """The times from INVITE in to INVITE out by fsroute and by the dialplan, the CPU time of a call that rings and is
    cancelled, and how often fsroute asked for phones during these calls."""

    fsroute_p50_ms: float
    fsroute_p99_ms: float
    dialplan_p50_ms: float
    dialplan_p99_ms: float
    fsroute_cpu_ms: float
    switch_cpu_ms: float
    asked: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of an fsroute that has subscribed to registration events, and of one that asks for phones in every
    call."""

    calls: int
    version: str
    listens: Way
    asks: Way


def measure(calls: int, demo: Path, directory: Path) -> Measured:
    """Measures `calls` calls to each number, and as many for CPU time. Raises NoSwitchError, or BenchError if a call does
    not ring."""
    try:
        found = find_freeswitch()
    except SwitchError as error:
        raise NoSwitchError(str(error)) from error
    if found is None:
        raise NoSwitchError("no FreeSWITCH found, set FREESWITCH to the path of its binary")
    try:
        with tempfile.TemporaryDirectory(prefix="fsroute-bench-") as place:
            configuration = _configuration(Path(place) / "freeswitch", _bridge(demo))
            with Switch(found, configuration=configuration) as switch:
                return _measure(switch, calls, demo, directory)
    except SwitchError as error:
        raise NoSwitchError(str(error).splitlines()[0]) from error
    except SipTimeoutError as error:
        raise BenchError(f"FreeSWITCH: {str(error).splitlines()[0]}") from error


def _measure(switch: Switch, calls: int, demo: Path, directory: Path) -> Measured:
    command = [sys.executable, "-m", "fsroute", "serve", "--db", f"sqlite:///{demo}", "--log-format", "json"]
    command += ["--listen", f"127.0.0.1:{switch.socket_port}"]
    host, port = switch.event_socket
    command += ["--event-socket", f"{host}:{port}", "--event-socket-password", switch.password]
    everywhere = frozenset(os.sched_getaffinity(0))
    with _peers(switch) as (carrier, phone):
        ways = []
        for flags in ((), ("--contact-seconds", "0")):
            with serving("fsroute", [*command, *flags], switch.socket_port, everywhere, directory) as fsroute:
                time.sleep(SETTLED_S + MARGIN_S)
                ways.append(_way(switch, fsroute, carrier, phone, calls))
    listens, asks = ways
    if listens.asked or asks.asked != 2 * calls:
        raise BenchError(f"fsroute asked for phones {listens.asked} and {asks.asked} times, not 0 and {2 * calls}")
    return Measured(calls, switch.version, listens, asks)


def _way(switch: Switch, fsroute: Server, carrier: Carrier, phone: Phone, calls: int) -> Way:
    for number in (NUMBER, PLAIN) * WARMING:
        _invite_ms(switch, carrier, phone, number)
    asked = _questions(switch)
    times: dict[str, list[float]] = {NUMBER: [], PLAIN: []}
    for _ in range(calls):
        for number, found in times.items():
            found.append(_invite_ms(switch, carrier, phone, number))
    idle = _idle_cpu(switch)
    began, before = time.monotonic(), (fsroute.cpu_s, _cpu_s(switch))
    for _ in range(calls):
        _invite_ms(switch, carrier, phone, NUMBER)
    seconds = time.monotonic() - began
    mine, theirs = fsroute.cpu_s - before[0], _cpu_s(switch) - before[1] - idle * seconds
    routed = fsroute.log.read_text().count('"call routed"')
    if routed != WARMING + 2 * calls:
        raise BenchError(f"FreeSWITCH asked fsroute for {routed} calls, {WARMING + 2 * calls} were to be asked for")
    per_call = 1000 * mine / calls, 1000 * theirs / calls
    return Way(*_p50_p99(times[NUMBER]), *_p50_p99(times[PLAIN]), *per_call, _questions(switch) - asked)


def _questions(switch: Switch) -> int:
    """How often FreeSWITCH was asked for phones so far."""
    return len(re.findall(rf"EXECUTE \[depth=0\] \S+ set\({contacts.VARIABLE}=", switch.log()))


@contextmanager
def _peers(switch: Switch) -> Iterator[tuple[Carrier, Phone]]:
    password = switch.api("global_getvar demo_password").strip()
    with (
        Carrier(switch.external, port=switch.carrier_port) as carrier,
        Phone(ENDPOINT, password, DOMAIN, switch.internal, port=PHONE_PORT, behaviour=Ring()) as phone,
    ):
        if (status := phone.register()) != 200:  # noqa: PLR2004 - OK
            raise BenchError(f"FreeSWITCH refused the phone's REGISTER: {status}")
        yield carrier, phone


def _invite_ms(switch: Switch, carrier: Carrier, phone: Phone, number: str) -> float:
    """One call that rings and is cancelled: milliseconds from the carrier's INVITE to the phone's."""
    for peer in (carrier, phone):  # each keeps every message; the bench has too many for that
        with peer.changed:
            peer.messages.clear()
    placed = carrier.call(number)
    rung = phone.wait_invite()
    placed.wait_ringing()
    placed.cancel()
    placed.wait_end()
    rung.wait_end()
    switch.wait_idle()
    time.sleep(PAUSE_S)
    return 1000 * (rung.invite.at - placed.at["invite"])


def _p50_p99(found: list[float]) -> tuple[float, float]:
    return statistics.median(found), statistics.quantiles(found, n=100, method="inclusive")[98]


def _idle_cpu(switch: Switch) -> float:
    """The share of a core that FreeSWITCH uses without calls."""
    began, before = time.monotonic(), _cpu_s(switch)
    time.sleep(1)
    return (_cpu_s(switch) - before) / (time.monotonic() - began)


def _cpu_s(switch: Switch) -> float:
    return cpu_s(int((switch.path / "run" / "freeswitch.pid").read_text(encoding="utf-8")))


# --- the same bridge in the dialplan -----------------------------------------------------------------------


def _bridge(demo: Path) -> str:
    """The bridge string of fsroute for NUMBER when the phone is registered."""
    explained = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "fsroute", "explain", "--db", f"sqlite:///{demo}", "--json", "--to", NUMBER],
        capture_output=True,
        text=True,
        check=True,
        cwd=TOP,
    )
    bridge: str = json.loads(explained.stdout)["bridge"]
    asked, registered = f"user/{ENDPOINT}@{DOMAIN}", f"sofia/internal/sip:{ENDPOINT}@127.0.0.1:{PHONE_PORT}"
    if bridge.count(asked) != 1:
        raise BenchError(f"{NUMBER} of the demo does not ring {asked} alone: {bridge}")
    return bridge.replace(asked, registered)


def _configuration(place: Path, bridge: str) -> Path:
    """A copy of the configuration in which the dialplan bridges PLAIN, after all settings that a call for fsroute gets."""
    for source in CONFIGURATION.rglob("*.xml"):
        copy = place / source.relative_to(CONFIGURATION)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    path = next(path for path in place.rglob("*.xml") if 'name="ask-fsroute"' in path.read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    extension = re.search(r'<extension name="ask-fsroute">.*?</extension>', text, re.DOTALL)
    if extension is None:
        raise BenchError(f"{path.name}: has no extension ask-fsroute")
    settings = re.findall(
        r'<action application="(?:set|unset|export)" data="[^"]*"/>', extension[0].partition("</condition>")[0]
    )
    actions = [*settings, '<action application="ring_ready"/>', f'<action application="bridge" data={quoteattr(bridge)}/>']
    condition = f'<condition field="destination_number" expression="^{re.escape(PLAIN)}$">'
    plain = "\n".join(['<extension name="plain">', condition, *actions, "</condition>", "</extension>"])
    path.write_text(text.replace(extension[0], f"{plain}\n{extension[0]}"), encoding="utf-8")
    return place


def main(arguments: Sequence[str]) -> int:
    """Measures and prints JSON."""
    directory = TOP / "build" / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    demo = directory / "demo.db"
    if not demo.exists():
        print("bench: no build/bench/demo.db: run scripts.bench.bench first", file=sys.stderr)
        return 2
    try:
        measured = measure(int(arguments[0]) if arguments else 100, demo, directory)
    except (NoSwitchError, BenchError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(json.dumps(asdict(measured), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
