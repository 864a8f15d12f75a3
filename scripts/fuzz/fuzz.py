"""`make fuzz`: atheris looks for inputs that break what each target in scripts/fuzz/targets claims.

    python -m scripts.fuzz.fuzz [--seconds 30] [--seed 1] [--keep] [--repeat FILE] [TARGET]...

Exit status: 0 if every target held, 1 if one did not (the input is saved, and the command that repeats it is shown), 2 if
nothing could be run. `--keep` writes the inputs that were found into tests/fuzz/, minimised.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.fuzz import corpus
from scripts.fuzz.corpus import TARGETS, TOP

BUILD = TOP / "build" / "fuzz"
PYTHON = BUILD / "python" / "bin" / "python"

ATHERIS = "atheris >=3, <4"
"""3.0 has wheels for Python 3.11, 3.1 for 3.12 and 3.13, both for Linux on x86-64 (PyPI, 2026-11-27)."""

MEMORY_MB = 1024
"""What a target may take. All tables of phonenumbers, the caches of fsroute and the corpus take about 200 MB."""

INPUT_S = 20
"""After this many seconds for one input libFuzzer gives it up. The targets themselves measure processor time."""

MAX_LENGTH = 1024
"""Bytes of an input. Its parts repeat, so that a short input makes a text of 64 kB."""

_FIGURES = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_RUNS = re.compile(r"Done (\d+) runs in (\d+) second")


@dataclass(frozen=True, slots=True)
class Result:
    """How a target ended. `input` is the file that broke it."""

    target: str
    runs: int
    seconds: float
    coverage: str
    input: Path | None = None
    output: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (all)")
    parser.add_argument("--seconds", type=int, default=30, help="for each target (30)")
    parser.add_argument("--seed", type=int, help="of atheris' random choices (a new one each time)")
    parser.add_argument("--keep", action="store_true", help="write the inputs that were found into tests/fuzz/, minimised")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run this one input, and nothing else")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.targets) - set(TARGETS)):
        parser.error(f"no target {unknown[0]}: there are {', '.join(TARGETS)}")
    if options.seconds < 1:
        parser.error("--seconds takes 1 or more")
    if options.repeat and len(options.targets) != 1:
        parser.error("--repeat takes one TARGET")
    if options.repeat:
        corpus.check_of(options.targets[0])(options.repeat.read_bytes())
        print(f"{options.targets[0]}: the input {options.repeat} holds")
        return 0
    problem = _prepare()
    if problem:
        print(f"fuzz: {problem}", file=sys.stderr)
        return 2
    seed = options.seed if options.seed is not None else random.randrange(1, 2**31)  # noqa: S311 - no secret
    print(f"seed {seed}, {options.seconds} s for each target")
    failed = 0
    for target in options.targets or TARGETS:
        result = _run(target, options.seconds, seed)
        print(f"{target:<14}{result.runs:>9} runs in {result.seconds:5.1f} s   {result.coverage}", flush=True)
        if result.input is not None:
            failed += 1
            _report(result)
        elif options.keep:
            print(f"{target:<14}{_keep(target):>9} inputs are kept in tests/fuzz/{target}.corpus", flush=True)
    return 1 if failed else 0


def _prepare() -> str:
    """Makes the environment with atheris and fsroute. Returns what is wrong."""
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    commands = (
        [sys.executable, "-m", "venv", str(BUILD / "python")],
        [*pip, "--only-binary", "atheris", ATHERIS, "--constraint", str(TOP / "constraints.txt"), "--editable", str(TOP)],
    )
    if PYTHON.exists() and _called([str(PYTHON), "-c", "import atheris, fsroute"]).returncode == 0:
        return ""
    for command in commands:
        done = _called(command)
        if done.returncode:
            return f"{' '.join(command)}: {done.stderr.strip()[-600:]}"
    return ""


def _called(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603


def _run(target: str, seconds: int, seed: int) -> Result:
    found, crashes = BUILD / "corpus" / target, BUILD / "crashes" / target
    corpus.unpack(target, found)
    crashes.mkdir(parents=True, exist_ok=True)
    known = set(crashes.iterdir())
    began = time.monotonic()
    done = _called(
        _engine(
            target,
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-timeout={INPUT_S}",
            f"-max_len={MAX_LENGTH}",
            f"-artifact_prefix={crashes}/",
            str(found),
        )
    )
    output = done.stdout + done.stderr
    figures, runs = _FIGURES.findall(output), _RUNS.findall(output)
    coverage = "coverage {}, features {}, inputs {}".format(*figures[-1]) if figures else "nothing measured"
    saved = sorted(set(crashes.iterdir()) - known)
    count = int(runs[-1][0]) if runs else max(map(int, re.findall(r"^#(\d+)", output, re.MULTILINE)), default=0)
    result = Result(target, count, time.monotonic() - began, coverage, None, output)
    if done.returncode == 0 and not saved:
        return result
    return Result(target, count, result.seconds, coverage, saved[0] if saved else crashes, output)


def _engine(target: str, *arguments: str) -> list[str]:
    # libFuzzer starts itself anew, by its own name, to minimise a corpus. So each target has a program of its own.
    program = BUILD / "run" / target
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{PYTHON}" -m scripts.fuzz.engine {target} "$0" "$@"\n')
    program.chmod(0o755)
    return [str(program), *arguments]


def _report(result: Result) -> None:
    lines = [line for line in result.output.splitlines() if line.strip()]
    at = next((number for number, line in enumerate(lines) if "Uncaught Python exception" in line or "ERROR:" in line), 0)
    print("\n".join(f"    {line}" for line in lines[at : at + 25]))
    print(f"    the input: {result.input}")
    print(f"    to repeat it: .venv/bin/python -m scripts.fuzz.fuzz --repeat {result.input} {result.target}", flush=True)


def _keep(target: str) -> int:
    """Writes the fewest of the inputs that reach all that was reached."""
    found, fewest = BUILD / "corpus" / target, BUILD / "minimised" / target
    for path in fewest.glob("*") if fewest.exists() else ():
        path.unlink()
    fewest.mkdir(parents=True, exist_ok=True)
    _called(_engine(target, "-merge=1", f"-max_len={MAX_LENGTH}", f"-timeout={INPUT_S}", str(fewest), str(found)))
    return corpus.write(target, (path.read_bytes() for path in fewest.iterdir()))


if __name__ == "__main__":
    sys.exit(main())
