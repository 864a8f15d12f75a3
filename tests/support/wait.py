"""Waiting for something that another thread or process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 20.0
"""Longer than anything that the tests wait for takes, also on a busy machine."""


def wait_until(
    is_so: Callable[[], Any],
    what: str = "what was expected",
    *,
    shown: Callable[[], object] = lambda: "",
    timeout_s: float = PATIENCE_S,
    pause_s: float = 0.01,
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    """Asks again and again until it is so. Fails after `timeout_s`, or once `process` has ended, and says what was missing
    and what `shown` returns then."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert process is None or process.poll() is None, f"ended without {what}: {shown()}"
        assert time.monotonic() < deadline, f"{timeout_s:g} s without {what}: {shown()}"
        time.sleep(pause_s)
