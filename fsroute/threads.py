"""Starts threads of fsroute's own, in a process of its own and in FreeSWITCH's.

mod_python imports this module in a call's thread, so it imports next to nothing itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

STACK = 8 * 1024 * 1024
"""Bytes of stack for each of these threads, as much as a program's first thread has. FreeSWITCH's limit for its own process
is 240 KiB, which a thread without this would get. Only used pages take memory."""

_starting = threading.Lock()
"""A global, because threading.stack_size() is one."""


def start(work: Callable[[], None], name: str) -> threading.Thread:
    """A thread that runs `work`. Neither Python nor FreeSWITCH waits for it when it ends."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    with _starting:
        before = threading.stack_size(STACK)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    return thread
