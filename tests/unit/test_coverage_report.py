"""What `make coverage` prints, and which modules it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import coverage_report
from scripts.coverage_report import Covered

MODULES = {
    "fsroute/log.py": (19, 20, 0, 0),
    "fsroute/model.py": (0, 0, 0, 0),
    "fsroute/routing/planner.py": (89, 90, 8, 10),
    "fsroute/routing/router.py": (40, 50, 4, 10),
}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    files = {module: {"summary": dict(zip(names, figures, strict=True))} for module, figures in MODULES.items()}
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"files": files}))
    return path


def test_a_package_is_a_line(report: Path) -> None:
    assert [" ".join(line.split()) for line in coverage_report.table(coverage_report.modules(report))] == [
        "fsroute/log.py 19 of 20 lines 0 of 0 branches 95.0 %",
        "fsroute/model.py 0 of 0 lines 0 of 0 branches 100.0 %",
        "fsroute/routing 129 of 140 lines 12 of 20 branches 88.1 %",
        "all 148 of 160 lines 12 of 20 branches 88.9 %",
    ]


def test_too_little_needs_a_reason_and_a_reason_needs_too_little(report: Path) -> None:
    covered = coverage_report.modules(report)
    router = "fsroute/routing/router.py"
    assert list(coverage_report.faults(covered, {})) == [f"{router}: 73.3 %, at least 90 % are needed"]
    assert list(coverage_report.faults(covered, {router: "a reason"})) == []
    left = {router: "a reason", "fsroute/log.py": "none any more", "fsroute/gone.py": "none either"}
    assert list(coverage_report.faults(covered, left)) == [
        "fsroute/log.py: needs no reason in pyproject.toml",
        "fsroute/gone.py: needs no reason in pyproject.toml",
    ]


def test_the_least_is_enough() -> None:
    assert list(coverage_report.faults({"fsroute/log.py": Covered(9, 10, 0, 0)}, {})) == []
