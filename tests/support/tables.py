"""Databases for tests in process: SQLite files with fsroute's tables, and with the rows of scripts/demo.sql."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from peewee import Database

from fsroute.data import loader
from fsroute.data.database import open_database
from fsroute.data.routing_store import Store

DEMO = Path(__file__).resolve().parents[2] / "scripts" / "demo.sql"

LOADED = (datetime(2026, 1, 1, 12, tzinfo=UTC), "tests")
"""When the tests' scripts are loaded, and by whom."""


def make_tables(path: Path) -> tuple[Database, str]:
    """A new file with empty tables, and its URL."""
    url = f"sqlite:///{path}"
    database = open_database(url, create=True)
    loader.make_tables(database, url)
    return database, url


def demo_database(path: Path, *more: Path) -> str:
    """The URL of a new file with the demo in it, and more scripts."""
    database, url = make_tables(path)
    loader.load(database, url, [DEMO, *more], *LOADED)
    return url


def demo_store(path: Path) -> Store:
    """What reads the demo for a call, from a new file."""
    url = demo_database(path)
    return Store(open_database(url), url, "DE")


def execute(url: str, *statements: str) -> None:
    """Changes a database of any kind as another process would, each statement in a transaction of its own."""
    database = open_database(url)
    with database.connection_context():
        for statement in statements:
            database.execute_sql(statement)
