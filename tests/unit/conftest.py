"""A test of this folder starts no process and connects to no database server: one that does fails.

Python reports the start of a process as an audit event (PEP 578), from any thread. It reports nothing about a connection of
libpq, so psycopg's `connect` is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]  # optional: without it nothing can connect

PROCESS_EVENTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}

_attempts: list[str] = []
_watched = False


def _refuse(attempt: str) -> NoReturn:
    """`pytest.fail` raises no Exception: code under test does not swallow it by mistake."""
    _attempts.append(attempt)
    pytest.fail(f"a unit test must not do this (tests/integration may): {attempt}")


def _on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched and event in PROCESS_EVENTS:
        _refuse(" ".join([event, *map(str, arguments[:1])]))


sys.addaudithook(_on_audit)


def _connect(*_: object, **__: object) -> NoReturn:
    _refuse("psycopg.connect")


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the test has tried to start or to connect to. The test fails if that is anything at its end."""
    global _watched  # noqa: PLW0603 - an audit hook cannot be removed, so it is switched
    if psycopg is not None:
        monkeypatch.setattr(psycopg, "connect", _connect)
    _watched = True
    yield _attempts
    _watched = False
    found = ", ".join(_attempts)
    _attempts.clear()
    assert not found, f"a unit test must not do this (tests/integration may): {found}"
