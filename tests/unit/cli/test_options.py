"""What the commands share."""

from __future__ import annotations

import getpass
import os

import pytest

from fsroute.cli.options import login_name


def test_the_login_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    assert login_name() == "anna"


def test_a_process_without_a_login_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert login_name() == "uid 4711"
