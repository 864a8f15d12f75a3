"""setup.cfg describes the package. Here is what it cannot say: a wheel without the tables is not built."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithTables(build_py):
    """fsroute/schema.sql is a link to the file at the top. A checkout or archive without links has a file with the link's
    target in it, and a build would take that for the tables."""

    def run(self) -> None:
        tables = Path(__file__).parent / "fsroute" / "schema.sql"
        if "CREATE TABLE" not in (tables.read_text("utf-8") if tables.exists() else ""):
            raise SystemExit(
                f"{tables}: has no CREATE TABLE. It must be a link to ../schema.sql, or a copy of it"
                " (git config core.symlinks true, or: cp schema.sql fsroute/schema.sql)"
            )
        super().run()


setup(cmdclass={"build_py": BuildWithTables})
