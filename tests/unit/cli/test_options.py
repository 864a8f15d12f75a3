"""What the commands share."""

from __future__ import annotations

import os
import pwd

import pytest

from fsroute.cli.options import login_name

ME = pwd.getpwuid(os.getuid()).pw_name
NOBODY = 4294967294
"""A user id that no user has."""


@pytest.fixture(autouse=True)
def _without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_UID", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["LOGNAME", "USER", "LNAME", "USERNAME"])
def test_the_login_name_is_the_user_s_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "the-boss")
    assert login_name() == ME


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SUDO_UID": str(NOBODY), "SUDO_USER": "anna"}, f"{ME} (sudo: anna)"),
        ({"SUDO_UID": str(NOBODY)}, f"{ME} (sudo: uid {NOBODY})"),
        ({"SUDO_UID": str(os.getuid()), "SUDO_USER": "the-boss"}, f"{ME} (sudo: {ME})"),
        ({"SUDO_USER": "anna"}, f"{ME} (sudo: anna)"),
        ({"SUDO_UID": "1" * 30, "SUDO_USER": "anna"}, f"{ME} (sudo: anna)"),
        ({"SUDO_UID": "-1", "SUDO_USER": "a\nb\x1b[31m"}, f"{ME} (sudo: a?b?[31m)"),
        ({"SUDO_UID": "x", "SUDO_USER": "é" * 100}, f"{ME} (sudo: {'é' * 64})"),
        ({"SUDO_UID": "", "SUDO_USER": " "}, ME),
    ],
)
def test_who_it_was_before_sudo_stands_beside_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert login_name() == expected


def test_a_user_without_a_login_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)
    assert login_name() == f"uid {NOBODY}"
