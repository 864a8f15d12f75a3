"""The source distribution, the wheel and the lists of versions: built from a copy of the project, and used."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

TOP = Path(__file__).resolve().parents[2]

NOT_OF_THE_PROJECT = shutil.ignore_patterns(
    ".git",
    ".venv*",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "demo.db*",
    ".env",
    ".coverage*",
)
"""What .gitignore lists, and git's own directory."""

BUILD = "import sys\nfrom setuptools import build_meta\nprint(build_meta.build_{}(sys.argv[1]))"
"""What `pip wheel` and `python -m build` call (PEP 517)."""


def copy_of_the_project(directory: Path) -> Path:
    return Path(shutil.copytree(TOP, directory / "project", symlinks=True, ignore=NOT_OF_THE_PROJECT))


def build(project: Path, kind: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BUILD.format(kind), "dist"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def built(project: Path, kind: str) -> Path:
    done = build(project, kind)
    assert done.returncode == 0, done.stderr
    return project / "dist" / done.stdout.splitlines()[-1]


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


@dataclass(frozen=True, slots=True)
class Packages:
    files: set[str]
    """Of the project."""
    packed: set[str]
    """Files of the source distribution, before tests run in it and leave more."""
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Both, the wheel made from the unpacked source distribution, as pip does it."""
    directory = tmp_path_factory.mktemp("packages")
    project = copy_of_the_project(directory)
    there = files(project)
    with tarfile.open(built(project, "sdist")) as archive:
        archive.extractall(directory, filter="data")
    [sdist] = directory.glob("fsroute-*")
    packed = files(sdist)
    return Packages(there, packed, sdist, built(sdist, "wheel"))


def test_the_source_distribution_is_the_whole_project(packages: Packages) -> None:
    packed = {name for name in packages.packed if not name.startswith(("fsroute.egg-info/", "build/", "dist/"))}
    assert packed == packages.files | {"PKG-INFO"}


def test_tests_run_from_the_source_distribution(packages: Packages) -> None:
    environment = os.environ | {"PYTHONPATH": str(packages.sdist), "PYTHONDONTWRITEBYTECODE": "1"}
    some = ("tests/unit/test_architecture.py", "tests/unit/simulator", "tests/unit/numbers/test_short_numbers.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some]
    done = subprocess.run(command, cwd=packages.sdist, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_wheel_has_the_tables_and_the_licence(packages: Packages) -> None:
    with zipfile.ZipFile(packages.wheel) as wheel:
        assert wheel.read("fsroute/schema.sql") == (TOP / "schema.sql").read_bytes()
        data = {name.removeprefix("fsroute/") for name in wheel.namelist() if not name.endswith(".py")}
        [metadata] = [message_from_bytes(wheel.read(name)) for name in wheel.namelist() if name.endswith("/METADATA")]
        [licence] = [wheel.read(name) for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert {name for name in files(TOP / "fsroute") if not name.endswith((".py", ".pyc"))} <= data
    assert licence == (TOP / "LICENSE").read_bytes()
    assert (metadata["License-Expression"] or metadata["License"], metadata["License-File"]) == ("MIT", "LICENSE")
    assert metadata["Requires-Python"] == ">=3.11"


@pytest.mark.parametrize("text", ["../schema.sql", None], ids=["a file with the link's target", "nothing"])
def test_no_wheel_is_built_without_the_tables(tmp_path: Path, text: str | None) -> None:
    project = copy_of_the_project(tmp_path)
    link = project / "fsroute" / "schema.sql"
    link.unlink()
    if text is not None:
        link.write_text(text)
    done = build(project, "wheel")
    assert done.returncode == 1
    assert f"{link}: has no CREATE TABLE" in done.stderr
    assert list(project.glob("dist/*.whl")) == []


# --- versions ---------------------------------------------------------------------------------------------


def setup_requirements() -> list[Requirement]:
    """All that setup.cfg asks for, its extras too."""
    parser = configparser.ConfigParser()
    parser.read(TOP / "setup.cfg")
    texts = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    return [Requirement(line) for text in texts for line in text.splitlines() if line and not line.startswith("#")]


def constraints(name: str) -> dict[str, Version]:
    """The versions of a list that count on this machine."""
    lines = [line.split("  #")[0] for line in (TOP / name).read_text().splitlines() if not line.startswith("#")]
    wanted = [
        requirement for requirement in map(Requirement, lines) if not requirement.marker or requirement.marker.evaluate()
    ]
    return {canonicalize_name(each.name): Version(str(each.specifier).removeprefix("==")) for each in wanted}


def installed_closure(requirements: list[Requirement]) -> set[str]:
    """The names of what is installed to fulfil these."""
    found: set[str] = set()
    left = list(requirements)
    while left:
        each = left.pop()
        name = canonicalize_name(each.name)
        if each.marker and not any(each.marker.evaluate({"extra": extra}) for extra in ("", *each.extras)):
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # an extra that is not installed here
        if name not in found:
            left += [Requirement(text) for text in needs if "extra ==" not in text]
            left += [Requirement(text) for text in needs if any(f'extra == "{extra}"' in text for extra in each.extras)]
        found.add(name)
    return found


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_the_constraints_have_a_version_of_everything_that_setup_allows(name: str) -> None:
    """`make constraints` writes the lists: a requirement that was added or raised since is found here."""
    pinned = constraints(name)
    wanted = [requirement for requirement in setup_requirements() if not requirement.marker or requirement.marker.evaluate()]
    assert [str(each) for each in wanted if pinned[canonicalize_name(each.name)] not in each.specifier] == []
    assert "://" not in (TOP / name).read_text()


def test_the_lowest_constraints_are_the_lower_bounds() -> None:
    pinned = constraints("constraints-lowest.txt")
    bounds = {each.name: re.findall(r">=([\d.]+)", str(each.specifier)) for each in setup_requirements()}
    wrong = {
        name: (bound, str(pinned[canonicalize_name(name)]))
        for name, [bound] in bounds.items()
        if canonicalize_name(name) in pinned and Version(bound).release[:2] != pinned[canonicalize_name(name)].release[:2]
    }
    assert wrong == {}


def test_nothing_is_installed_that_the_constraints_do_not_name() -> None:
    assert installed_closure(setup_requirements()) <= constraints("constraints.txt").keys()
