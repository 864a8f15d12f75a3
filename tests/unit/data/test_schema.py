from __future__ import annotations

from pathlib import Path

import pytest
from peewee import Database

from fsroute.data import loader
from fsroute.data import schema as schemas
from fsroute.data import tables as t
from fsroute.data.database import open_database
from fsroute.data.schema import Version, check_tables, check_version, is_empty, read_versions, schema
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


def versions(tables: Database, *rows: tuple[int, int]) -> None:
    with tables.connection_context():
        t.SchemaVersion.delete().bind(tables).execute()
        for version, tables_version in rows:
            t.SchemaVersion.insert(version=version, tables_version=tables_version).bind(tables).execute()


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([(2, 2)], "its tables have version 2, and this fsroute needs 3 or newer: run fsroute upgrade"),
        ([], "its schema version is missing, which must be one number: run fsroute upgrade"),
        ([(2, 2), (3, 4)], "its schema version is 2, 3, which must be one number: run fsroute upgrade"),
        (
            [(5, 6)],
            "its tables have version 6, for an fsroute of schema version 5 or newer, and this one has 4: install a newer fsroute",  # noqa: E501
        ),
    ],
)
def test_tables_that_this_fsroute_cannot_use(tables: Database, url: str, rows: list[tuple[int, int]], text: str) -> None:
    versions(tables, *rows)
    with pytest.raises(DataError) as raised:
        check_version(tables, url)
    assert str(raised.value) == f"database {url}: {text}"


@pytest.mark.parametrize("row", [(3, 3), (3, 4), (4, 4), (3, 5), (4, 9)])
def test_tables_that_this_fsroute_can_use(tables: Database, url: str, row: tuple[int, int]) -> None:
    versions(tables, row)
    check_version(tables, url)


def test_tables_of_version_3_had_one_number(tables: Database, url: str) -> None:
    with tables.connection_context():
        tables.execute_sql("ALTER TABLE schema_version DROP COLUMN tables_version")
        assert read_versions(tables) == [Version(tables=3, oldest=3)]
    check_version(tables, url)


def test_columns_that_are_missing_are_named(tables: Database, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tables.connection_context():
        tables.execute_sql("DROP TABLE rule_callers")
        tables.execute_sql("ALTER TABLE verifications DROP COLUMN answer")
    with pytest.raises(DataError) as raised:
        check_version(tables, url)
    missing = "rule_callers.caller, rule_callers.number, rule_callers.rule_position, verifications.answer"
    assert str(raised.value) == f"database {url}: its tables have version 4 and lack {missing}: run fsroute upgrade"
    monkeypatch.setattr(schemas, "NOT_FOR_ROUTING", frozenset(missing.split(", ")))
    check_version(tables, url, routing=True)
    with pytest.raises(DataError):
        check_version(tables, url)


def test_a_connection_that_is_open_is_checked(tables: Database, url: str) -> None:
    with tables.connection_context():
        check_tables(tables, url)
        assert not tables.is_closed()


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
