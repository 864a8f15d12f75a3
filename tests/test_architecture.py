"""The direction of imports, and the documents that must follow the code."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from fsroute import callerid, delivery, eligibility

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "fsroute"
DESIGN = (TOP / "docs" / "design.md").read_text("utf-8")

PURE_LIBRARIES = {"phonenumbers", "holidays", "rich"}
"""What the core may use beside the standard library: tables of the world, and the printing of an explanation."""

IMPURE_STANDARD_LIBRARY = {"socket", "os", "subprocess", "threading", "sqlite3", "random", "secrets", "logging", "time"}


def documented(kind: str) -> set[str]:
    """The files that docs/design.md lists as pure, or as edge."""
    rows = re.findall(r"^\| (`.*?`) \|.*\| (pure|edge) \|$", DESIGN, re.MULTILINE)
    return {name for names, listed in rows if listed == kind for name in re.findall(r"`(\w+)\.py`", names)}


def imports(path: Path) -> set[str]:
    """The modules a file imports, ours as `fsroute.name`; not those only for type checkers."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            statement.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "fsroute":
            found |= {f"fsroute.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_file_is_in_the_picture() -> None:
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "errors"}
    assert documented("pure") | documented("edge") == files
    assert documented("pure") & documented("edge") == set()


@pytest.mark.parametrize("name", sorted(documented("pure")))
def test_the_core_imports_no_edge_and_nothing_that_does_io(name: str) -> None:
    allowed_ours = {f"fsroute.{pure}" for pure in documented("pure") | {"errors"}}
    for module in imports(PACKAGE / f"{name}.py"):
        top = module.partition(".")[0]
        if top == "fsroute":
            assert module in allowed_ours
        elif top in sys.stdlib_module_names:
            assert top not in IMPURE_STANDARD_LIBRARY
        else:
            assert top in PURE_LIBRARIES


def listed(heading: str) -> set[str]:
    """The codes in the table of docs/operation.md under this heading."""
    section = (TOP / "docs" / "operation.md").read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return {code for row in rows for code in re.findall(r"`(\w+)`", row)}


def test_every_reason_code_is_documented() -> None:
    code = "".join(path.read_text("utf-8") for path in PACKAGE.glob("*.py"))
    told = set(re.findall(r'tell\(\s*"(\w+)"', code)) | set(re.findall(r'Reason\(\s*"(\w+)"', code))
    told |= set(re.findall(r'_end\(planner, \w+, "(\w+)"', code))
    assert listed("Reason codes") == told


def test_every_caller_id_code_is_documented() -> None:
    code = (PACKAGE / "callerid.py").read_text("utf-8")
    refused = set(re.findall(r'_refused\("(\w+)"', code)) - {"destination_abroad"}
    granted = set(re.findall(r'_granted\("(\w+)"', code)) | set(re.findall(r'reason="(\w+)"', code))
    granted |= set(re.findall(r'CallerId\([^()]*, "(\w+)"', code))
    assert refused == callerid.REFUSALS
    assert listed("Caller-ID codes") == refused | granted | {"destination_abroad"}


def test_every_verification_code_is_documented() -> None:
    names = ("eligibility", "attempt", "verification")
    code = "".join((PACKAGE / f"{name}.py").read_text("utf-8") for name in names)
    told = set(re.findall(r'(?:Obstacle|_malformed)\(\s*"(\w+)"', code)) | set(
        re.findall(r'(?:day|hour|pause), "(\w+)"', code)
    )
    assert listed("Verification codes") - {"retry_at", "meant"} == told
    assert told >= eligibility.BAD_INPUT | eligibility.CONFLICTS


def test_every_outcome_of_a_delivery_is_documented() -> None:
    assert listed("Delivery outcomes") == delivery.NOTICES.keys()


def test_every_test_that_the_design_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (TOP / "docs" / "design.md").read_text("utf-8")))
    files = (TOP / "tests").rglob("test_*.py")
    there = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)}
    assert named
    assert named <= there
