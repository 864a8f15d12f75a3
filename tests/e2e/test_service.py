"""What freeswitch/compose.yaml starts, with a real call: its fsroute, and its FreeSWITCH.

In `make e2e-docker` that fsroute is the container, which E2E_FSROUTE names. Elsewhere it is the same program with the
same settings on a PostgreSQL of the tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsroute.data.database import execute_whole, open_database
from tests.e2e.conftest import TOP, Process
from tests.support.containers import COMPOSE, COMPOSE_E2E, contained, directory_of_the_user, image_environment, read_yaml
from tests.support.containers import service_environment as variables_of
from tests.support.postgresql import Server
from tests.support.recording import Tap, commands
from tests.support.sip import Answer, Carrier, MakePhone
from tests.support.switch import (
    CONFIGURATION,
    ELSEWHERE,
    PASSWORD,
    Switch,
    SwitchElsewhere,
    SwitchError,
    find_freeswitch,
    free_ports,
)
from tests.support.wait import wait_until

GIVEN = {"SWITCH_EVENT_SOCKET_PASSWORD": PASSWORD}
START_S = 20.0


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The port of compose's fsroute, which has the demo."""
    given = os.environ.get("E2E_FSROUTE")
    if given:
        yield int(given.rpartition(":")[2])
        return
    server: Server = request.getfixturevalue("postgresql_server")
    port = next(free_ports())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FSROUTE_")}
    url = server.create("service")
    superuser = open_database(url)
    with superuser.connection_context():
        execute_whole(superuser, (COMPOSE.parent / "postgresql" / "roles.sql").read_text())
    program = [sys.executable, "-m", "fsroute"]

    def variables(name: str) -> dict[str, str]:
        """Those of a service, with the role that compose gives it."""
        found = environment | image_environment() | variables_of(COMPOSE, name, GIVEN)
        role = found["FSROUTE_DB"].removeprefix("postgresql://").partition("@")[0]
        return found | {"FSROUTE_DB": url.replace("fsroute@", f"{role}@", 1), "FSROUTE_LISTEN": f"127.0.0.1:{port}"}

    for name, arguments in (("owner", ["init"]), ("loader", ["load", TOP / "scripts" / "demo.sql"])):
        subprocess.run([*program, *arguments], env=variables(name), check=True, capture_output=True)
    environment = variables("fsroute")
    log = tmp_path / "log"
    with log.open("wb") as output, subprocess.Popen([*program, "serve"], env=environment, stderr=output) as process:
        try:
            wait_until(
                lambda: b'"serving"' in log.read_bytes(), "serving", shown=log.read_text, timeout_s=START_S, process=process
            )
            yield port
        finally:
            process.terminate()
    server.drop("service")


def test_a_real_call_through_the_service_of_compose(
    process: Process, switch: Switch, carrier: Carrier, phone: MakePhone, service: int
) -> None:
    process.stop()  # so that FreeSWITCH takes the second socket, from where the call is relayed
    desk = phone("1001", Answer())
    with Tap(switch.socket_port_2, service) as tap:
        placed = carrier.call("+492214710500")
        placed.wait_answer()
        placed.bye()
        said = commands(tap.conversation(switch.version))
    assert desk.wait_invite().wait_end() == "bye received"
    assert said[0].name == "connect"
    assert "bridge" in [command.application for command in said]


def test_the_suite_can_call_a_switch_that_runs_already(running_switch: Switch) -> None:
    given = running_switch.environment | {ELSEWHERE: str(running_switch.path)}
    with SwitchElsewhere(given) as same:
        for name in ("internal", "external", "event_socket", "socket_port", "socket_port_2", "carrier_port", "version"):
            assert getattr(same, name) == getattr(running_switch, name), name
        mark = f"written by {same.api('create_uuid')}"
        running_switch.api(f"log NOTICE {mark}")
        wait_until(lambda: mark in same.log())  # FreeSWITCH writes its log a little later
    assert running_switch.api("status").startswith("UP")


@pytest.mark.parametrize("name", ["SWITCH_CARRIER_PORT", "SWITCH_EVENT_SOCKET_PASSWORD"])
def test_a_switch_of_which_too_little_is_known_is_an_error(running_switch: Switch, name: str) -> None:
    given = running_switch.environment | {ELSEWHERE: str(running_switch.path), name: ""}
    with pytest.raises(SwitchError, match=f"^SWITCH_DIRECTORY is set, but {name} is not$"):
        SwitchElsewhere(given).__enter__()


def test_freeswitch_runs_as_compose_runs_it() -> None:
    """Its command and variables, the configuration as it is in the repository, and nothing writable but its volumes."""
    binary = find_freeswitch()
    if binary is None or os.environ.get(ELSEWHERE):
        pytest.skip("NOT RUN: compose's FreeSWITCH without a container: no FreeSWITCH found on this machine")
    service = read_yaml(COMPOSE)["services"]["freeswitch"]
    ports = free_ports()
    expected = variables_of(COMPOSE, "freeswitch", GIVEN) | variables_of(COMPOSE_E2E, "freeswitch", GIVEN)
    for name, value in expected.items():
        if value.removeprefix("127.0.0.1:").isdecimal() and "RTP" not in name:
            expected[name] = f"{value.rpartition(':')[0]}:{next(ports)}".removeprefix(":")
    with directory_of_the_user() as directory:
        volumes = {"/etc/freeswitch": CONFIGURATION, "/var/log/freeswitch": directory, "/var/lib/freeswitch": directory}

        def here(argument: str) -> str:
            root = next((root for root in volumes if argument.startswith(root)), None)
            return argument.replace(root, str(volumes[root])) if root else argument

        # How they are mounted there.
        mounted = dict(volume.split(":", 1) for volume in service["volumes"])
        assert mounted["."] == "/etc/freeswitch:ro"
        command = [str(binary), *service["entrypoint"][1:], *map(here, service["command"])]
        health = service["healthcheck"]["test"][1].replace("$$", "$")
        environment = {"PATH": f"{binary.parent}:/usr/bin:/bin", **expected}
        with (
            (directory / "console").open("wb") as console,
            subprocess.Popen(contained(command, directory), env=environment, stdout=console, stderr=console) as process,
        ):
            try:
                deadline = time.monotonic() + START_S
                while subprocess.run(["sh", "-c", health], env=environment, capture_output=True, check=False).returncode:
                    assert process.poll() is None, (directory / "console").read_text()
                    assert time.monotonic() < deadline, (directory / "freeswitch.log").read_text()
                    time.sleep(0.1)
                told = {name: value_of(binary, name, environment) for name in expected}
                process.send_signal(signal.SIGTERM)
                assert process.wait(START_S) == 0
            finally:
                process.kill()
        assert told == expected
        assert "[ERR]" not in (directory / "freeswitch.log").read_text()


def value_of(binary: Path, name: str, environment: dict[str, str]) -> str:
    """What FreeSWITCH took from a variable."""
    login = [
        "-H",
        "127.0.0.1",
        "-P",
        environment["SWITCH_EVENT_SOCKET_PORT"],
        "-p",
        environment["SWITCH_EVENT_SOCKET_PASSWORD"],
    ]
    question = f"global_getvar {name.removeprefix('SWITCH_').lower()}"
    done = subprocess.run([binary.with_name("fs_cli"), *login, "-x", question], capture_output=True, text=True, check=True)
    return done.stdout.strip()
