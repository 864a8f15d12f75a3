"""The inputs that are kept: tests/fuzz/TARGET.corpus, which atheris found, and tests/fuzz/TARGET.crashes, which people add.

A line is one input as a Python bytes literal. A line that begins with # says what the next input has found.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
KEPT = TOP / "tests" / "fuzz"
TARGETS = tuple(sorted(path.stem for path in (Path(__file__).parent / "targets").glob("*.py")))
KINDS = ("corpus", "crashes")

MAX_BYTES = 6_000
"""Of a target's corpus as text. Short inputs come first: they are the ones that people can read."""


def check_of(target: str) -> Callable[[bytes], None]:
    """The function that checks an input of this target. Raises AssertionError, or whatever the code under test raises."""
    check: Callable[[bytes], None] = importlib.import_module(f"scripts.fuzz.targets.{target}").check
    return check


def read(target: str, kind: str) -> list[bytes]:
    """The kept inputs of a target."""
    path = KEPT / f"{target}.{kind}"
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def write(target: str, inputs: Iterable[bytes]) -> int:
    """Keeps these inputs as the corpus of a target, as many as there is room for. Returns how many."""
    lines: list[str] = []
    left = MAX_BYTES
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        line = repr(data)
        left -= len(line) + 1
        if left < 0:
            break
        lines.append(line)
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{target}.corpus").write_text("".join(f"{line}\n" for line in lines), "ascii")
    return len(lines)


def unpack(target: str, directory: Path) -> None:
    """Writes the kept inputs into files, as atheris reads them."""
    directory.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for data in read(target, kind):
            (directory / sha256(data).hexdigest()[:16]).write_bytes(data)
