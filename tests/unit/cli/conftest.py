"""Runs commands in this process, on a copy of the demo's database."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fsroute.cli.main import main
from tests.support.tables import demo_database


@dataclass(frozen=True)
class Cli:
    """`fsroute` in a directory of its own."""

    url: str
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, typed: str | None = None) -> tuple[int, str, str]:
        """Exit status, standard output, standard error. `typed` is standard input."""
        environment = {"SUDO_UID": None, "SUDO_USER": None, "FSROUTE_DB": self.url, **self.environment}
        result = CliRunner().invoke(main, arguments, input=typed, prog_name="fsroute", env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def printed(self, *arguments: str) -> str:
        """Standard output of a command that succeeds."""
        status, out, err = self.run(*arguments)
        assert (status, err) == (0, "")
        return out

    def data(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.printed(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        """Standard error of a command that is called wrongly."""
        status, out, err = self.run(*arguments)
        assert (status, out) == (2, "")
        return err


@pytest.fixture(scope="session")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    demo_database(path)
    return path


@pytest.fixture
def cli(demo_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    for source in demo_file.parent.glob("demo.db*"):
        shutil.copy(source, tmp_path / source.name)
    return Cli(f"sqlite:///{tmp_path}/demo.db", tmp_path)
