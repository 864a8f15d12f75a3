"""What is sent to systemd, and which of its variables count."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsroute.serving.service_manager import ServiceManager, service_manager

PID = 42


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A manager's socket, and its address as systemd writes it."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(path if request.param == "path" else f"\0{path}")
        yield sock, path if request.param == "path" else f"@{path}"


def test_messages(manager: tuple[socket.socket, str]) -> None:
    sock, address = manager
    told = service_manager({"NOTIFY_SOCKET": address}, PID)
    assert told.tell("READY=1", "STATUS=all well")
    assert sock.recv(1000) == b"READY=1\nSTATUS=all well"
    before = time.monotonic_ns() // 1000
    assert told.reloading()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", sock.recv(1000).decode())
    assert found
    assert before <= int(found[1]) <= time.monotonic_ns() // 1000


def test_a_manager_that_does_not_read_lets_nobody_wait(manager: tuple[socket.socket, str]) -> None:
    sock, address = manager
    told = service_manager({"NOTIFY_SOCKET": address}, PID)
    while told.tell("STATUS=x"):
        pass
    sock.recv(1000)
    assert told.tell("READY=1")


@pytest.mark.parametrize("address", ["/nowhere/notify", "@fsroute-nobody"])
def test_a_manager_that_is_not_there(address: str) -> None:
    assert not service_manager({"NOTIFY_SOCKET": address}, PID).tell("READY=1")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ServiceManager()),
        ({"NOTIFY_SOCKET": ""}, ServiceManager()),
        ({"NOTIFY_SOCKET": "relative"}, ServiceManager()),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "10000000"}, ServiceManager("/run/x", 10.0)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "42"}, ServiceManager("/run/x", 10.0)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, ServiceManager("/run/x")),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, ServiceManager("/run/x")),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, ServiceManager("/run/x")),
    ],
)
def test_variables(environment: dict[str, str], expected: ServiceManager) -> None:
    assert service_manager(environment, PID) == expected


def test_without_a_manager_nothing_is_sent() -> None:
    assert ServiceManager().tell("READY=1")
