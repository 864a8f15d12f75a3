"""The short form of `make faults`: the most telling faults at every step of a call, and a short load with random faults.

The whole table takes a quarter of an hour, and writes docs/reliability.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.faults import sipp
from scripts.faults.run import run_fault, run_load
from scripts.faults.table import BY_NAME, SHORT
from scripts.faults.world import make_switch, prepare
from tests.support.postgresql import why_not
from tests.support.switch import ELSEWHERE, Switch, find_freeswitch

CALLS = 2
"""At each step."""

RATE, SECONDS = 5.0, 15.0


@pytest.fixture(scope="module")
def own_switch(request: pytest.FixtureRequest) -> Iterator[Switch]:
    """A FreeSWITCH for these tests alone: its fallback is a phone that nothing else rings."""
    if find_freeswitch() is None or os.environ.get(ELSEWHERE):
        missing = "no FreeSWITCH on this machine"
        if request.config.getoption("--require-freeswitch") and not os.environ.get(ELSEWHERE):
            pytest.fail(missing, pytrace=False)
        pytest.skip(f"NOT RUN: faults through a real FreeSWITCH: {missing}")
    if reason := why_not():
        pytest.skip(f"NOT RUN: faults of PostgreSQL: {reason}")
    with make_switch() as switch:
        prepare(switch)
        yield switch


@pytest.mark.parametrize("name", SHORT)
def test_no_call_is_lost(name: str, own_switch: Switch, tmp_path: Path) -> None:
    found = run_fault(BY_NAME[name], own_switch, tmp_path, CALLS)
    assert found.effect is not None
    assert found.broken == (), "\n".join(map(str, found.effect.records))


def test_no_call_is_lost_under_load(own_switch: Switch, tmp_path: Path) -> None:
    if sipp.find_sipp() is None:
        pytest.skip("NOT RUN: faults under load: SIPp is not installed (on Debian: apt-get install sip-tester)")
    happened: list[str] = []
    found = run_load(own_switch, tmp_path, RATE, SECONDS, 3, happened.append)
    assert happened
    assert found.broken_off is None
    assert (found.load.calls, found.load.lost) == (RATE * SECONDS, 0), (happened, found.load.failures)
