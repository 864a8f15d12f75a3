"""Calls and the limit of open files. The limits are those of this process, put back afterwards."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest
from structlog.testing import CapturingLogger

from fsroute.configuration.settings import Settings
from fsroute.errors import ConfigError
from fsroute.serving.descriptors import RESERVED, fitted

Limits = tuple[int, int]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[Limits]]:
    """Gives the process soft and hard limits. A hard one can be raised again by root only, so these are not the kernel's."""

    def give(soft: int, hard: int) -> list[Limits]:
        made: list[Limits] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
        return made

    return give


@pytest.mark.parametrize(
    ("soft", "hard", "calls", "raised"),
    [
        (1024, 1024, 1024 - RESERVED, []),
        (1024, 2099, 1999, [(2099, 2099)]),
        (1024, 2100, 2000, [(2100, 2100)]),
        (1_048_576, 1_048_576, 2000, []),
        (1024, resource.RLIM_INFINITY, 2000, [(resource.RLIM_INFINITY, resource.RLIM_INFINITY)]),
        (RESERVED + 1, RESERVED + 1, 1, []),
    ],
)
def test_calls_fit_the_limit_of_open_files(
    limited: Callable[[int, int], list[Limits]], soft: int, hard: int, calls: int, raised: list[Limits]
) -> None:
    log = CapturingLogger()
    made = limited(soft, hard)
    assert fitted(Settings(), log).max_calls == calls
    assert made == raised
    lowered = {"max_calls": calls, "given": 2000, "open_files": hard}
    said = [(call.args[0], call.kwargs) for call in log.calls]
    assert said == ([] if calls == 2000 else [("max_calls lowered", lowered)])


def test_a_limit_that_cannot_be_raised_counts_as_it_is(
    monkeypatch: pytest.MonkeyPatch, limited: Callable[[int, int], list[Limits]]
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    limited(1024, 4096)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert fitted(Settings(), CapturingLogger()).max_calls == 1024 - RESERVED


def test_no_room_for_a_call_is_an_error(limited: Callable[[int, int], list[Limits]]) -> None:
    limited(RESERVED, RESERVED)
    with pytest.raises(ConfigError, match=r"the limit of open files \(ulimit -n\) is 100: must be more than 100"):
        fitted(Settings(), CapturingLogger())
