"""Installs the peers' servers into an environment of their own, and compiles the load generator.

What is missing is made under build/bench/. If a peer cannot be installed, the bench prints the reason and goes on; the
table then says so in the peer's rows.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from scripts.bench import channel
from scripts.bench.database import BenchError

HERE = Path(__file__).parent
PEERS = HERE / "peers"
INSTALL_S = 300

PYTHON_PACKAGES = {"greenswitch": "greenswitch==0.0.19", "genesis": "genesis", "matplotlib": "matplotlib"}
NODE_PACKAGES = ("modesl",)


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to compare with. `command` starts it, with the port appended. If it could not be installed, `command` is
    empty and `problem` says why."""

    name: str
    command: tuple[str, ...]
    version: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that the bench needs besides fsroute. `plotter` is a Python with matplotlib, None if there is none."""

    load: Path
    snapshot: Path
    bare: Peer
    greenswitch: Peer
    genesis: Peer
    modesl: Peer
    plotter: Path | None

    @property
    def peers(self) -> tuple[Peer, ...]:
        return self.bare, self.greenswitch, self.genesis, self.modesl


def prepare(directory: Path) -> Environment:
    """Installs what is missing. Raises BenchError without a C compiler."""
    directory.mkdir(parents=True, exist_ok=True)
    snapshot = directory / "snapshot"
    snapshot.write_text(channel.template(), encoding="utf-8")
    python = directory / "python"
    if not (python / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", str(python)], "python3-venv")
    # The bare server and greenswitch get the same version of gevent as fsroute, so that only the servers differ.
    problems = {
        name: _pip(python, name, [package, f"gevent=={version('gevent')}"]) for name, package in PYTHON_PACKAGES.items()
    }
    node = directory / "node"
    problems["modesl"] = _npm(node)
    interpreter = str(python / "bin" / "python")

    def peer(name: str, package: str, script: str) -> Peer:
        problem = problems[package]
        return Peer(name, () if problem else (interpreter, str(PEERS / script)), _installed(python, package), problem)

    bare = peer("bare gevent", "greenswitch", "bare_gevent.py")
    return Environment(
        _compile(directory),
        snapshot,
        Peer(bare.name, bare.command, _installed(python, "gevent"), bare.problem),
        peer("greenswitch", "greenswitch", "greenswitch_stock.py"),
        peer("Genesis", "genesis", "genesis_constant.py"),
        _modesl(node, problems["modesl"]),
        python / "bin" / "python" if not problems["matplotlib"] else None,
    )


def _compile(directory: Path) -> Path:
    source, program = HERE / "load.c", directory / "load"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise BenchError("no C compiler (cc): the load generator needs one (apt-get install gcc libc6-dev)")
        problem = _run([compiler, "-O2", "-Wall", "-o", str(program), str(source), "-lm"], "the C compiler")
        if problem:
            raise BenchError(problem)
    return program


def _pip(python: Path, name: str, packages: Sequence[str]) -> str:
    """Installs the packages if `name` is missing. Returns an empty text, or the reason why this failed."""
    if _installed(python, name):
        return ""
    return _run([str(python / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages], f"pip install {name}")


def _installed(python: Path, package: str) -> str:
    """The version of a Python package; empty if it is not installed."""
    found = sorted(python.glob(f"lib/python3*/site-packages/{package}-*.dist-info"))
    return found[-1].name.removeprefix(f"{package}-").removesuffix(".dist-info") if found else ""


def _npm(node: Path) -> str:
    if (node / "node_modules" / "modesl").exists():
        return ""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return "no Node.js here (apt-get install nodejs npm)"
    node.mkdir(exist_ok=True)
    return _run(["npm", "install", "--silent", "--prefix", str(node), *NODE_PACKAGES], "npm install modesl")


def _modesl(node: Path, problem: str) -> Peer:
    if problem:
        return Peer("modesl", (), "", problem)
    # The script needs NODE_PATH, because it is not in the directory of node_modules.
    command = ("env", f"NODE_PATH={node / 'node_modules'}", "node", "--no-deprecation", str(PEERS / "modesl_constant.js"))
    found = (node / "node_modules" / "modesl" / "package.json").read_text(encoding="utf-8")
    return Peer("modesl", command, found.partition('"version": "')[2].partition('"')[0])


def _run(command: Sequence[str], what: str) -> str:
    """Runs a command. Returns an empty text, or one line with the reason why it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_S)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return f"{what}: not done after {INSTALL_S} s"
    except OSError as error:
        return f"{what}: {error.strerror}"
    lines = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
    return f"{what}: {lines[-1]}" if done.returncode else ""
