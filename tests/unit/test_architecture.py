"""The direction of imports, and the documents that must follow the code."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from fsroute.callerid import policy
from fsroute.codes import CallerIdCode, Code, DeliveryOutcome, ReasonCode, VerificationCode
from fsroute.verification import eligibility

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "fsroute"
DESIGN = (TOP / "docs" / "design.md").read_text("utf-8")

PURE_LIBRARIES = {"phonenumbers", "holidays"}
"""What the core may use beside the standard library: tables of the world."""

IMPURE_STANDARD_LIBRARY = {"socket", "os", "subprocess", "threading", "sqlite3", "random", "secrets", "logging", "time"}

ROWS = re.findall(r"^\| (`.*?`) \|.*\| (shared|pure|edge) \|$", DESIGN, re.MULTILINE)
ORDER = [name.strip("`/") for names, _ in ROWS for name in names.split(", ")]
"""Packages and single files, in the order in which they may import each other: as docs/design.md lists them."""

PURE = [name.strip("`/") for names, kind in ROWS if kind == "pure" for name in names.split(", ")]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    """The package of a file, or the file itself where it is in none."""
    return path.relative_to(PACKAGE).parts[0]


def imports(path: Path) -> set[str]:
    """The modules a file imports, ours as `fsroute.package.module`; not those only for type checkers."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            statement.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "fsroute":
            found |= {f"fsroute.{alias.name}" for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_file_is_in_the_picture() -> None:
    assert sorted({place(path) for path in modules()} - {"__init__.py"}) == sorted(ORDER)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_package_imports_only_what_stands_before_it(path: Path) -> None:
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("fsroute.")}
    places = {name if name in ORDER else f"{name}.py" for name in ours} - {place(path)}
    assert {name for name in places if ORDER.index(name) > ORDER.index(place(path))} == set()


@pytest.mark.parametrize(
    "path", [path for path in modules() if place(path) in PURE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_the_core_imports_nothing_that_does_io(path: Path) -> None:
    for module in imports(path):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            assert top not in IMPURE_STANDARD_LIBRARY
        else:
            assert top == "fsroute" or top in PURE_LIBRARIES


def graph() -> dict[str, set[str]]:
    """Each module of fsroute, and the modules of fsroute that it imports, lazily too, by statement or by import_module."""
    names = {".".join(path.relative_to(TOP).with_suffix("").parts): path for path in modules()}
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text("utf-8"))
        of_this = imports(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                of_this |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
                of_this |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
        found[name] = of_this & names.keys()
    return found


def circles(of: dict[str, set[str]]) -> set[str]:
    """The modules from which a way of imports leads back to themselves."""
    reached = {name: set(others) for name, others in of.items()}
    for through in of:
        for name in of:
            if through in reached[name]:
                reached[name] |= reached[through]
    return {name for name, others in reached.items() if name in others}


def test_the_search_for_circles_finds_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


def test_modules_import_each_other_in_one_direction_only() -> None:
    """Lazy imports count: they are circles for a reader all the same."""
    found = graph()
    assert found["fsroute.embedded.entry"] == {"fsroute.embedded.runtime", "fsroute.embedded.threads", "fsroute.errors"}
    assert not circles(found)


def test_the_event_socket_knows_no_routing() -> None:
    """It can be read, and used, alone."""
    known = {name for path in (PACKAGE / "eventsocket").glob("*.py") for name in imports(path) if name.startswith("fsroute")}
    assert {name for name in known if not name.startswith("fsroute.eventsocket")} == {"fsroute.errors", "fsroute.text"}


@pytest.mark.parametrize("family", [ReasonCode, CallerIdCode, VerificationCode, DeliveryOutcome])
def test_every_code_is_used(family: type[Code]) -> None:
    """A member that no statement gives would be a promise of the documents alone."""
    used = {
        node.attr
        for path in modules()
        if path.name != "codes.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == family.__name__ and node.attr.isupper()
    }
    assert used == {member.name for member in family}


def test_the_refusals_are_the_codes_whose_sentence_says_so() -> None:
    """The codes that the documents call refused are those that end a call."""
    refused = {code for code in CallerIdCode if code.meaning.startswith("Refused: ") or "the call ends" in code.meaning}
    assert refused == policy.REFUSALS
    assert {code for code in VerificationCode if code.meaning.startswith("Conflict: ")} == eligibility.CONFLICTS


def test_every_test_that_the_design_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (TOP / "docs" / "design.md").read_text("utf-8")))
    files = (TOP / "tests").rglob("test_*.py")
    there = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)}
    assert named
    assert named <= there
