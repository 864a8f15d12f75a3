"""What the Dockerfile and the compose files say, and how to do it without a container engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

TOP = Path(__file__).resolve().parents[2]
DOCKERFILE = TOP / "Dockerfile"
COMPOSE = TOP / "freeswitch" / "compose.yaml"
COMPOSE_E2E = TOP / "freeswitch" / "compose.e2e.yaml"

USER = 10001
"""As whom the image runs."""

_CONTAIN = f"""
caps=-all,+dac_read_search
mount --bind "$1" "$1" && mount -o remount,bind,ro / && cd "$1" && shift && exec setpriv --reuid {USER} --regid {USER} \\
    --clear-groups --no-new-privs --inh-caps=$caps --ambient-caps=$caps --bounding-set=$caps -- "$@"
"""


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each on one line, without its comments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in joined]


def stage(number: int) -> list[tuple[str, str]]:
    """The instructions of one stage, its FROM first. -1 is the one that becomes the image."""
    stages: list[list[tuple[str, str]]] = []
    for name, argument in instructions():
        if name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((name, argument))
    return stages[number]


def image_environment() -> dict[str, str]:
    """The variables that the image sets, but PATH."""
    pairs = (pair for name, argument in stage(-1) if name == "ENV" for pair in shlex.split(argument))
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs) if name != "PATH"}


def image_command(name: str) -> list[str]:
    """ENTRYPOINT or CMD, or what follows HEALTHCHECK's CMD: all in JSON notation."""
    [argument] = [argument for found, argument in stage(-1) if found == name]
    command: list[str] = json.loads(argument[argument.index("[") :])
    return command


def service_environment(path: Path, service: str, given: Mapping[str, str]) -> dict[str, str]:
    """A service's variables, as compose works them out from what it was given. One without a value is passed on."""
    environment: dict[str, str | None] = read_yaml(path)["services"][service]["environment"]
    values = {name: given.get(name) if value is None else value for name, value in environment.items()}
    required = re.compile(r"\$\{(\w+):\?[^}]*\}")
    return {name: required.sub(lambda m: given[m[1]], value) for name, value in values.items() if value is not None}


def why_not_contained() -> str | None:
    """What is missing for `contained`, None if nothing is."""
    if os.geteuid() != 0:
        return "only root can make the file system read-only"
    missing = [program for program in ("unshare", "setpriv") if not shutil.which(program)]
    return f"no {missing[0]} (on Debian: apt-get install util-linux)" if missing else None


def contained(command: list[str], writable: Path) -> list[str]:
    """A command, turned into one that runs it as a container would: not as root, the root file system read-only but for
    one directory. The caller's file system stays as it is.

    Of all capabilities it keeps the one to read everything: this machine's Python may lie where only root looks.
    """
    return ["unshare", "--mount", "sh", "-c", _CONTAIN, "sh", str(writable), *command]


@contextmanager
def directory_of_the_user() -> Iterator[Path]:
    """A directory that the contained user may write, or a skipped test. pytest's own are closed to other users."""
    reason = why_not_contained()
    if reason:
        pytest.skip(f"NOT RUN: what containers run, on a read-only file system: {reason}")
    with tempfile.TemporaryDirectory(prefix="fsroute-container-") as name:
        os.chown(name, USER, USER)
        yield Path(name)
