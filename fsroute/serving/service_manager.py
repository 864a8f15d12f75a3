"""What fsroute tells the program that started it, if that is systemd: messages of sd_notify(3)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Meant for the main process only."""


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Where messages go (empty: nowhere), and how often the manager wants a sign of life."""

    address: str = ""
    watchdog_s: float | None = None

    def tell(self, *assignments: str) -> bool:
        """Sends one message, and says whether the manager has it. It has not while its queue is full."""
        if not self.address:
            return True
        where = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # noqa: FBT003 - Python's signature
            sock.sendto("\n".join(assignments).encode(), where)
            return True
        return False

    def reloading(self) -> bool:
        """A reload begins. systemd 253 and later need the time (Type=notify-reload)."""
        return self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def service_manager(environment: Mapping[str, str], pid: int) -> ServiceManager:
    """The manager of the process `pid`, as the variables that it has set describe it."""
    address, watched = environment.get("NOTIFY_SOCKET", ""), environment.get("WATCHDOG_USEC", "")
    of_this = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    return ServiceManager(
        address if address[:1] in {"/", "@"} else "",
        int(watched) / 1e6 if watched.isdecimal() and int(watched) and of_this else None,
    )
