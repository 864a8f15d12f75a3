"""Prints coverage by package, from a report of `coverage json`, and fails where a module has less than LEAST_PERCENT.

pyproject.toml lists the modules that may have less, each with its reason: [tool.fsroute.coverage].
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEAST_PERCENT = 90.0


@dataclass(frozen=True, slots=True)
class Covered:
    """Lines and branches of a module or package: those that ran, and all."""

    lines: int = 0
    all_lines: int = 0
    branches: int = 0
    all_branches: int = 0

    @property
    def percent(self) -> float:
        """Of lines and branches together, as coverage counts: 100 of a file without any."""
        everything = self.all_lines + self.all_branches
        return 100 * (self.lines + self.branches) / everything if everything else 100.0

    def __add__(self, other: Covered) -> Covered:
        return Covered(
            self.lines + other.lines,
            self.all_lines + other.all_lines,
            self.branches + other.branches,
            self.all_branches + other.all_branches,
        )


def modules(report: Path) -> dict[str, Covered]:
    """Each module of a report."""
    files = json.loads(report.read_text("utf-8"))["files"]
    return {
        name: Covered(
            file["summary"]["covered_lines"],
            file["summary"]["num_statements"],
            file["summary"]["covered_branches"],
            file["summary"]["num_branches"],
        )
        for name, file in sorted(files.items())
    }


def package(module: str) -> str:
    """`fsroute/routing` of `fsroute/routing/router.py`; a module at the top is its own package."""
    parts = Path(module).parts
    return "/".join(parts[:2])


def table(covered: dict[str, Covered]) -> list[str]:
    """One line for each package, and one for all."""
    packages: defaultdict[str, Covered] = defaultdict(Covered)
    for module, found in covered.items():
        packages[package(module)] += found
    rows = [*packages.items(), ("all", sum(packages.values(), Covered()))]
    return [
        f"{name:30} {found.lines:5} of {found.all_lines:5} lines {found.branches:5} of {found.all_branches:5} branches "
        f"{found.percent:6.1f} %"
        for name, found in rows
    ]


def faults(covered: dict[str, Covered], reasons: dict[str, str]) -> Iterable[str]:
    """The modules with too little and no reason, and the reasons that no module needs."""
    for module, found in covered.items():
        if found.percent < LEAST_PERCENT and module not in reasons:
            yield f"{module}: {found.percent:.1f} %, at least {LEAST_PERCENT:.0f} % are needed"
    for module in reasons:
        if module not in covered or covered[module].percent >= LEAST_PERCENT:
            yield f"{module}: needs no reason in pyproject.toml"


def main(report: str = "build/coverage.json") -> int:
    covered = modules(Path(report))
    reasons = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["fsroute"]["coverage"]
    found = list(faults(covered, reasons))
    sys.stdout.writelines(f"{line}\n" for line in (*table(covered), *found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
