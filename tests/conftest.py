"""What all tests share: databases of both kinds, and a summary that says what was not tested.

A test that cannot run, because a program is missing, skips itself with a reason that begins with "NOT RUN: ", by
`pytest.skip`, by a skipif mark or for a whole module. Each such reason is then a line at the very end: a run in which
half of the tests were not there must not look like one in which they passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import hypothesis
import pytest

pytest_plugins = ["tests.support.postgresql"]

_MARK = "NOT RUN: "

# A first example reads tables of the world, and a machine is busy: how long one takes says nothing.
hypothesis.settings.register_profile("fsroute", deadline=None)
hypothesis.settings.load_profile("fsroute")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-freeswitch", action="store_true", help="fail instead of skipping where no FreeSWITCH is found"
    )
    parser.addoption("--record", action="store_true", help="write tests/recordings/ anew instead of comparing with them")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After pytest-randomly has shuffled them."""
    items.sort(key=lambda item: item.get_closest_marker("long_wait") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    yield
    notes = Counter(
        reason for report in terminalreporter.stats.get("skipped", []) if (reason := _reason(report)).startswith(_MARK)
    )
    if notes:
        terminalreporter.section("NOT RUN", sep="!", red=True, bold=True)
    for reason, count in sorted(notes.items()):
        terminalreporter.line(f"{reason} ({count} skipped)", red=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why it was skipped: pytest keeps file, line and "Skipped: reason"."""
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
