"""fsroute inside a real FreeSWITCH: what is of this way in alone. The calls of the other files run by both ways."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsroute.embedded.entry import PAUSE_S
from tests.e2e.conftest import (
    Inside,
    has_python,
    inside_environment,
    other_side,
    phones,
    switch_inside,
)
from tests.support.server import memory_kb
from tests.support.sip import Carrier, OutgoingCall, Ring
from tests.support.switch import CONFIGURATION, Switch
from tests.support.tables import demo_database
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(180)

CALLS, PER_SECOND, RINGING_S = 300, 10, 0.3

NUMBER = "+492214710113"
"""Rings its user, whose only phone is 1004."""

NOISE_KB = 15_000
"""By the socket, where no Python is in the process, the same calls change FreeSWITCH's memory by -4 to +10 MB: its SIP stack
keeps transactions for half a minute, and glibc takes and gives memory in large pieces."""


@pytest.fixture
def inside(switch_with_fsroute: Switch) -> Iterator[Switch]:
    """The switch that has fsroute inside, without calls."""
    switch_with_fsroute.wait_idle()
    yield switch_with_fsroute
    switch_with_fsroute.wait_idle()


def test_the_console_explains(inside: Switch) -> None:
    answer = inside.api("python fsroute.mod_python explain +492214710602 +493023125001").splitlines()
    assert answer[0].startswith("inbound call to +492214710602 from +493023125001, ")
    assert answer[1].startswith("number +492214710602, account acme: rule ")
    assert inside.api("python fsroute.mod_python") == "-USAGE: python fsroute.mod_python explain NUMBER [CALLER]\n"


@pytest.mark.long_wait
def test_many_calls_leave_no_memory_behind(inside: Switch) -> None:
    with phones(inside) as phone, other_side(inside) as carrier:
        desk = phone("1004", Ring())
        place(carrier, CALLS // 3, 3 * PER_SECOND)  # threads, pools and caches have their size after that
        inside.wait_idle()
        blocks, memory = inside.python_blocks(), memory_kb(inside.pid)
        place(carrier, CALLS, PER_SECOND)
        inside.wait_idle()
        assert len(desk.calls) == CALLS + CALLS // 3
        assert inside.python_blocks() - blocks < 2 * CALLS  # any object that a call left would be as many
        assert memory_kb(inside.pid) - memory < NOISE_KB


def place(carrier: Carrier, calls: int, per_second: int) -> None:
    """So many calls, each of which rings for a moment."""
    ringing: list[OutgoingCall] = []
    began = time.monotonic()
    for count in range(calls):
        time.sleep(max(0.0, began + count / per_second - time.monotonic()))
        ringing.append(carrier.call(NUMBER))
        while ringing and ringing[0].at["invite"] < time.monotonic() - RINGING_S:
            ringing.pop(0).cancel()
    for call in ringing:
        call.wait_ringing()
        call.cancel()


# --- where mod_python3 cannot work ------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _only_with_mod_python(running_switch: Switch) -> None:
    if not has_python(running_switch):
        pytest.skip("NOT RUN: calls through mod_python3: this FreeSWITCH has none, or is not on this machine")


def assert_fallback(switch: Switch, *lines: str) -> None:
    """A call rings 1001, as the dialplan's last resort has it, and FreeSWITCH's log has these lines, at level ERR."""
    with phones(switch) as phone, other_side(switch) as carrier:
        desk = phone("1001", Ring())
        before = len(switch.log())
        placed = carrier.call("+492214710113")  # would ring 1004
        rung = desk.wait_invite()
        assert rung.at["invite"] - placed.at["invite"] < 1
        placed.cancel()
        rung.wait_end()
    Inside(switch).lines()  # the log is complete
    errors = [line.partition("[ERR] ")[2] for line in switch.log()[before:].splitlines() if "[ERR] " in line]
    assert [without_call(line.partition(" ")[2]) for line in errors] == list(lines)


def without_call(line: str) -> str:
    """A line of fsroute's log without what differs from call to call; other lines as they are."""
    if not line.startswith("{"):
        return line
    values = {name: value for name, value in json.loads(line).items() if name not in {"call", "to", "timestamp"}}
    return json.dumps(values, sort_keys=True)


def test_without_mod_python_calls_go_to_the_fallback(tmp_path: Path) -> None:
    configuration = tmp_path / "freeswitch"
    shutil.copytree(CONFIGURATION, configuration)
    (configuration / "autoload_configs" / "way_in" / "python.xml").write_text("<include>\n</include>\n")
    with switch_inside({}, configuration) as switch:
        assert switch.api("module_exists mod_python3") == "false"
        assert_fallback(switch, "fsroute: mod_python3 is not loaded, call goes to the fallback")


def test_where_python_does_not_find_fsroute_calls_go_to_the_fallback() -> None:
    with switch_inside({"PYTHONPATH": "/nowhere"}) as switch:
        error = "Python Error by calling script \"fsroute.mod_python\": <class 'ModuleNotFoundError'>"
        assert_fallback(switch, "Error importing module", error)
        assert "\nMessage: No module named 'fsroute'\n" in switch.log()


def test_without_a_database_calls_go_to_the_fallback_until_it_is_there(tmp_path: Path) -> None:
    file = tmp_path / "demo.db"
    missing = f"database sqlite:///{file}: no such file (fsroute init makes it)"
    with switch_inside(inside_environment(f"sqlite:///{file}")) as switch:
        assert_fallback(switch, logged(missing))
        assert switch.api("python fsroute.mod_python explain 1") == f"-ERR {missing}\n"
        demo_database(file)
        time.sleep(PAUSE_S)
        with phones(switch) as phone, other_side(switch) as carrier:
            desk = phone("1004", Ring())
            placed = carrier.call(NUMBER)
            desk.wait_invite()
            placed.cancel()


def test_arguments_in_the_dialplan_are_refused_and_freeswitch_ends_when_it_is_told_to(database: str) -> None:
    with switch_inside(inside_environment(database)) as switch:
        dialplan = switch.path / "conf" / "dialplan" / "shared" / "way_in" / "python.xml"
        dialplan.write_text(dialplan.read_text().replace('data="fsroute.mod_python"', 'data="fsroute.mod_python /x.toml"'))
        assert switch.api("reloadxml").startswith("+OK")
        reason = (
            "fsroute.mod_python takes no arguments here, but got '/x.toml': settings belong in the file that fsroute_config "
            "in vars.xml names, or in FreeSWITCH's environment"
        )
        assert_fallback(switch, logged(reason))
        stat = Path(f"/proc/{switch.pid}/stat")
        switch.api("fsctl shutdown")
        wait_until(
            lambda: not stat.exists() or stat.read_text().rpartition(") ")[2][0] == "Z",
            "the end of FreeSWITCH",
            shown=lambda: switch.log()[-5000:],
        )
        assert stat.read_text().split()[-1] == "0"  # the exit code of one that has ended


def logged(reason: str) -> str:
    return json.dumps({"event": "call not routed", "reason": reason, "level": "error"}, sort_keys=True)
