from __future__ import annotations

from pathlib import Path

import pytest
from peewee import Database

from fsroute.data import loader
from fsroute.data import schema as schemas
from fsroute.data import tables as t
from fsroute.data.database import open_database
from fsroute.data.schema import check_version, is_empty, schema
from fsroute.errors import DataError


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/routes.db"


@pytest.fixture
def tables(url: str) -> Database:
    """An SQLite file with fsroute's tables."""
    made = open_database(url, create=True)
    loader.make_tables(made, url)
    return made


def test_a_database_without_tables_says_which_command_makes_them(url: str) -> None:
    empty = open_database(url, create=True)
    assert is_empty(empty, url)
    with pytest.raises(
        DataError, match=r"has no fsroute tables \(fsroute init makes them\): no such table: schema_version$"
    ):
        check_version(empty, url)


def test_a_database_of_this_version_is_taken(tables: Database, url: str) -> None:
    check_version(tables, url)
    assert not is_empty(tables, url)


@pytest.mark.parametrize(("versions", "text"), [([2], "2"), ([], "missing"), ([2, 3], "2, 3")])
def test_another_schema_version_says_what_to_do(tables: Database, url: str, versions: list[int], text: str) -> None:
    with tables.connection_context():
        t.SchemaVersion.delete().bind(tables).execute()
        for version in versions:
            t.SchemaVersion.insert(version=version).bind(tables).execute()
    with pytest.raises(DataError) as raised:
        check_version(tables, url)
    assert str(raised.value) == (
        f"database {url}: its schema version is {text}, this fsroute needs 3: use the fsroute that made these tables, or "
        "make new ones (fsroute init with another --db) and load your SQL files there"
    )


def test_a_broken_link_to_the_schema_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "files", lambda package: tmp_path)
    expected = (
        f"{tmp_path}/schema.sql: holds no tables ({{}}): fsroute was installed from a checkout without symbolic links; "
    )
    with pytest.raises(DataError) as raised:
        schema()
    assert str(raised.value).startswith(expected.format("'No such file or directory'"))
    (tmp_path / "schema.sql").write_text("../schema.sql")
    with pytest.raises(DataError) as raised:
        schema()
    assert str(raised.value).startswith(expected.format("'../schema.sql'"))
