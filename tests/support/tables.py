"""Databases for tests in process: SQLite files with fsroute's tables, and with the rows of scripts/demo.sql."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from peewee import Database

from fsroute.data import loader
from fsroute.data.database import open_database

DEMO = Path(__file__).resolve().parents[2] / "scripts" / "demo.sql"


def make_tables(path: Path) -> tuple[Database, str]:
    """A new file with empty tables, and its URL."""
    url = f"sqlite:///{path}"
    database = open_database(url, create=True)
    loader.make_tables(database, url)
    return database, url


def make_demo(path: Path) -> tuple[Database, str]:
    """The same, with the demo's rows in it."""
    database, url = make_tables(path)
    loader.load(database, url, [DEMO], datetime(2026, 1, 7, tzinfo=UTC), "tests")
    return database, url
