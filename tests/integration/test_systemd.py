"""scripts/systemd/: checked by systemd's own programs, and the socket unit's way of starting by systemd-socket-activate."""

from __future__ import annotations

import configparser
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fsroute.configuration.settings import Settings
from fsroute.eventsocket.server import BACKLOG
from fsroute.serving.supervisor import START_S, STOP_BOUND_S
from tests.support.load import ENDED, NUMBER, PATIENCE_S
from tests.support.server import TOP, Server, carrier_channel, converse, kill
from tests.support.tables import demo_database
from tests.support.wait import wait_until

UNITS = TOP / "scripts" / "systemd"
SERVICE = UNITS / "fsroute.service"
INSTALLED = "/opt/fsroute/bin/fsroute"

MOST_EXPOSED = 15
"""Tenths of the figure of `systemd-analyze security`: 0 is a service that can do nothing, 100 one without a sandbox."""


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"NOT RUN: {name} on scripts/systemd: it is not installed (apt-get install systemd)")
    return found


def settings_of(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names of settings as they are
    parser.read(unit)
    return parser


def verified(directory: Path, service: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says of the units, with a fsroute that is there."""
    fsroute = directory / "fsroute"
    fsroute.write_text("#!/bin/sh\n")
    fsroute.chmod(0o755)
    (directory / "fsroute.service").write_text(service.replace(INSTALLED, str(fsroute)))
    shutil.copy(UNITS / "fsroute.socket", directory)
    return subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", "fsroute.service", "fsroute.socket"],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    done = verified(tmp_path, SERVICE.read_text())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [("Type=notify\n", "Type=notifies\n", "notifies"), ("WatchdogSec=", "WatchdogSecs=", "WatchdogSecs")],
)
def test_systemd_finds_a_mistake_in_the_unit(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    text = SERVICE.read_text()
    assert right in text
    assert said in verified(tmp_path, text.replace(right, wrong)).stderr


def test_the_sandbox_leaves_little_open() -> None:
    command = [tool("systemd-analyze"), "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(SERVICE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_times_and_limits_of_the_units_fit_the_settings() -> None:
    service, ports = settings_of(SERVICE)["Service"], settings_of(UNITS / "fsroute.socket")["Socket"]
    assert float(service["TimeoutStopSec"]) > Settings().drain_s + 2 * STOP_BOUND_S
    assert float(service["TimeoutStartSec"]) > 2 * START_S
    assert int(service["LimitNOFILE"]) > 2 * Settings().max_calls
    assert ports["ListenStream"] == Settings().listen
    assert int(ports["Backlog"]) == BACKLOG


def test_systemd_starts_fsroute_with_the_socket(tmp_path: Path) -> None:
    """systemd-socket-activate starts it at the first connection, which gets its answer."""
    activate, url = tool("systemd-socket-activate"), demo_database(tmp_path / "demo.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "serve.log"
    environment = [f"--setenv={name}" for name in os.environ if not name.startswith("FSROUTE_")]
    command = [activate, f"--listen=127.0.0.1:{port}", *environment]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "fsroute", "serve", "--db", url, "--workers", "2"], stderr=stream, stdout=stream
        )
    server = Server(process, log)
    server.port = port
    try:
        wait_until(lambda: "Listening on" in server.text, shown=lambda: server.text)
        with server.connect() as sock:
            assert converse(sock, carrier_channel(NUMBER), timeout_s=PATIENCE_S).hangup_cause == ENDED
        assert f'"listen":"127.0.0.1:{port}"' in server.text
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        kill(process)
