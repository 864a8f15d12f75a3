"""What `make faults` makes of the calls that it saw, and that its page has a row for each fault."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from scripts.faults.records import Answered, Bound, Effect, Record, Step, broken, cell, effect, is_over, normal_after
from scripts.faults.report import Finding, Loaded, Machine, document
from scripts.faults.run import PAGE
from scripts.faults.sipp import Load
from scripts.faults.table import BY_NAME, FAULTS, SHORT

GOOD = Record(Step.DECISION, 0.0, Answered.PHONE, answered_s=0.25, heard_s=0.02, status=200)
SILENT = replace(GOOD, heard_s=3.1, answered_s=3.3)
FALLBACK = replace(GOOD, answered_by=Answered.FALLBACK)
REFUSED = replace(GOOD, answered_by=None, answered_s=None, status=503)
NOTHING = replace(REFUSED, heard_s=None, status=0)
CUT = replace(GOOD, step=Step.TALKING, is_cut=True)
STAYS = replace(GOOD, step=Step.END, stays=True)
LATE = replace(GOOD, answered_s=30.1)


@pytest.mark.parametrize(
    ("record", "is_lost", "is_normal"),
    [
        (GOOD, False, True),
        (SILENT, False, False),
        (FALLBACK, False, False),
        (REFUSED, True, False),
        (NOTHING, True, False),
        (CUT, True, False),
        (STAYS, True, False),
        (LATE, True, False),
    ],
)
def test_a_call_is_lost_if_nobody_answers_or_its_end_is_wrong(record: Record, is_lost: bool, is_normal: bool) -> None:
    assert (record.is_lost, record.is_normal) == (is_lost, is_normal)


def series(*records: Record) -> list[Record]:
    """Four calls a second, from the begin of the fault on."""
    return [replace(record, placed_s=number * 0.25) for number, record in enumerate(records)]


def test_calls_are_normal_from_the_first_one_since_which_all_are() -> None:
    assert normal_after(series(GOOD, GOOD), 0.0) == 0.0
    assert normal_after(series(GOOD, SILENT, GOOD, FALLBACK, GOOD, GOOD), 0.0) == 1.0
    assert normal_after(series(FALLBACK, FALLBACK, GOOD), 0.25) == 0.25
    assert normal_after(series(FALLBACK, GOOD), 5.0) == 0.0
    assert normal_after(series(GOOD, REFUSED), 0.0) is None


def test_steps_that_the_fault_met_do_not_say_when_calls_are_normal() -> None:
    assert normal_after([*series(GOOD), replace(CUT, placed_s=9.0)], 0.0) == 0.0


def test_eight_normal_calls_in_a_row_after_the_fault_are_its_end() -> None:
    assert is_over(series(*[GOOD] * 8), 0.0)
    assert not is_over(series(*[GOOD] * 8), 0.25)
    assert not is_over(series(*[GOOD] * 8, SILENT), 0.0)


def test_what_is_beyond_the_bound_is_said() -> None:
    between = replace(GOOD, step=Step.BETWEEN, gap_s=6.25)
    found = effect([*series(SILENT, FALLBACK, REFUSED, GOOD), between, CUT], 0.25)
    assert broken(found, Bound(normal_s=0.0)) == [
        "2 of 6 calls were lost, at most 0 may be",
        "1 of 6 calls reached the fallback, none should",
        "silence of 3.1 s, at most 2 s is right",
        "pause between two plans of 6.2 s, at most 2 s is right",
        "normal after 0.5 s, at most 0 s is right",
    ]
    assert broken(found, Bound(lost=2, silence_s=4, gap_s=7, fallback=True)) == []
    assert broken(Effect((GOOD,), None), Bound()) == ["calls were not normal again while it was watched"]


@pytest.mark.parametrize(
    ("step", "records", "said"),
    [
        (Step.DECISION, [GOOD, SILENT], "silence 3.10 s"),
        (Step.DECISION, [GOOD, FALLBACK, REFUSED], "silence 0.02 s, fallback 1 of 3, lost 1 of 3 (503)"),
        (Step.DECISION, [NOTHING], "lost 1 of 1 (no response)"),
        (Step.RINGING, [GOOD], "rings on"),
        (Step.BETWEEN, [replace(GOOD, gap_s=0.1), replace(GOOD, gap_s=0.2)], "ringing on 0.20 s"),
        (Step.TALKING, [CUT, replace(CUT, is_cut=False)], "goes on, lost 1 of 2 (cut)"),
        (Step.END, [STAYS], "lost 1 of 1 (not ended)"),
        (Step.END, [], "-"),
    ],
)
def test_a_cell_says_what_callers_heard(step: Step, records: list[Record], said: str) -> None:
    assert cell(records, step) == said


def test_the_page_has_figures_of_faults_and_load() -> None:
    fault, other = BY_NAME["worker killed"], BY_NAME["clock jumps back"]
    load = Load(600, 599, 7, ("x",), 60.0, 0.012, 0.5, 3.2, 4.0, 1)
    findings = [
        Finding(fault, effect([GOOD, CUT], 0.0), ("1 of 2 calls were lost, at most 0 may be",)),
        Finding(other, None, not_run="libfaketime is not installed"),
    ]
    machine = Machine("2026-11-27 05:00 UTC", {"fsroute": "0.1", "FreeSWITCH": "1.11.2"}, 2, "3.0, 2.0, 1.0")
    page = document(
        machine, 4, findings, [replace(load, late=0, answered=600)], Loaded(load, 10.0, 60.0, ["a", "b", "a"], 7)
    )
    assert "with fsroute 0.1, FreeSWITCH 1.11.2, on 2 processors.\nThe load of the machine before was 3.0, 2.0, 1.0" in page
    assert "| worker killed | silence 0.02 s | - | - | lost 1 of 1 (cut) | - | 1 of 2 | 0.0 s |" in page
    assert "| clock jumps back | not run: libfaketime is not installed | | | | | | |" in page
    assert "- worker killed: 1 of 2 calls were lost, at most 0 may be." in page
    assert "| 10.0 | 600 | 0 | 12 ms | 500 ms | 3200 ms |" in page
    assert "(seed 7), 10 calls a second for 60 s:\n**2 of 600 calls lost**. 7 were answered by the fallback" in page
    assert "3 faults, one after another: a 2, b 1." in page


def test_names_are_unique_and_the_short_form_has_some_of_them() -> None:
    assert len(BY_NAME) == len(FAULTS)
    assert set(SHORT) < set(BY_NAME)


def test_the_page_of_the_last_run_has_a_row_for_each_fault() -> None:
    page = PAGE.read_text("utf-8")
    table = page.partition("## One fault at a time")[2].partition("What was done:")[0]
    assert re.findall(r"^\| (?!fault)([^|-][^|]*) \|", table, re.MULTILINE) == [fault.name for fault in FAULTS]
