"""Opening a database, its errors as one line, and queries that are compiled once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peewee import Database, DatabaseError, InterfaceError, OperationalError, Value

from fsroute.data import database as databases
from fsroute.data import tables as t
from fsroute.data.database import (
    Prepared,
    database_errors,
    named_rows,
    open_database,
    rows,
    without_password,
)
from fsroute.data.schema import check_version
from fsroute.errors import ConfigError, DataError
from tests.support.tables import make_tables


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DatabaseError("disk is full"), "disk is full"),
        (OperationalError("locked\nLINE 1: SELECT"), "locked"),
        (InterfaceError("bad parameter"), "bad parameter"),
        (ImportError("no libpq"), "no libpq"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "surrogates not allowed"),
        (DatabaseError(""), "DatabaseError"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_of_the_database_becomes_one_line(error: Exception, text: str) -> None:
    with (
        pytest.raises(DataError, match=rf"^database sqlite:///x\.db: .*{text}$") as raised,
        database_errors("sqlite:///x.db"),
    ):
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("x"), DataError("y"), KeyError("z")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, database_errors("sqlite:///x.db"):
        raise error
    assert raised.value is error


def test_the_password_is_not_in_the_line() -> None:
    with pytest.raises(DataError) as raised, database_errors("postgresql://fsroute:geh/eim@host/x"):
        raise OperationalError('invalid port "geh"')
    assert str(raised.value) == 'database postgresql://fsroute:***@host/x: invalid port "***"'


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://u:geheim@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:geheim@h:5432,i:5433/db?target_session_attrs=any", "postgresql://u:***@h:5432,i:5433/db?target_session_attrs=any"),
        ("postgresql://u:ge@he/im@[::1]:5432/db", "postgresql://u:***@[::1]:5432/db"),
        ("postgresql://u:5432@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:geheim", "postgresql://u:***"),
        ("postgresql://u:geheim/db", "postgresql://u:***/db"),
        ("postgresql://u:123456/db", "postgresql://u:***/db"),
        ("postgresql:u:geheim@h", "postgresql:***@h"),
        ("u:geheim@h/db", "u:***@h/db"),
        ("mysql://u:geheim@h/x", "mysql://u:***@h/x"),
        ("postgresql://h/db?password=geheim&x=1", "postgresql://h/db?password=***&x=1"),
        ("postgresql://h/db?x=1&pass%77ord=geheim&sslpassword=geheim", "postgresql://h/db?x=1&pass%77ord=***&sslpassword=***"),
        ("postgresql://h/db?oauth_client_secret=geheim", "postgresql://h/db?oauth_client_secret=***"),
        ("user=u password=geheim host=h", "user=u password=*** host=h"),
        (r"user=u password = 'ge h\'eim' host=h", "user=u password = *** host=h"),
        ("PASSWORD='geheim", "PASSWORD=***"),
    ],
)  # fmt: skip
def test_a_password_is_hidden_in_every_spelling(given: str, shown: str) -> None:
    assert without_password(given) == shown


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////a/b:c@d.db",
        "postgresql://h:5432/db",
        "postgresql://h:5432,i/db",
        "postgresql://h,i:5433/db",
        "postgresql://[::1]:5432/db",
        "postgresql://u@%2Ftmp%2Fx,%2Ftmp%2Fy/db",
        "postgresql://u@h/db?options=-c%20a=b@c",
    ],
)
def test_nothing_else_is_hidden(url: str) -> None:
    assert without_password(url) == url


# --- opening ------------------------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/routes.db"


@pytest.fixture
def tables(tmp_path: Path) -> Database:
    """An SQLite file with fsroute's tables and two accounts."""
    made, _ = make_tables(tmp_path / "routes.db")
    with made.connection_context():
        for name in ("acme", "beta"):
            t.Account.insert(name=name, country="DE", timezone="Europe/Berlin", domain=f"{name}.example").bind(
                made
            ).execute()
    return made


@pytest.mark.parametrize("wrong", ["", "sqlite:///", "sqlite://x.db", "mysql://u:geheim@h/x", "routes.db"])
def test_another_kind_of_url_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"must be sqlite:///PATH or postgresql://USER@HOST/NAME$") as raised:
        open_database(wrong)
    assert "geheim" not in str(raised.value)


def test_without_psycopg_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as raised:
        open_database("postgresql://fsroute:geheim@db/pbx")
    assert str(raised.value) == (
        "database postgresql://fsroute:***@db/pbx: needs psycopg, which is not installed: pip install 'psycopg[binary]', or "
        "pip install '.[postgresql]' in fsroute's checkout"
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("missing.db", "no such file (fsroute init makes it)"),
        ("no/where.db", "no such directory as {}/no"),
        ("directory", "cannot be opened"),
    ],
)
def test_a_file_that_cannot_be_opened(tmp_path: Path, path: str, text: str) -> None:
    (tmp_path / "directory").mkdir()
    url = f"sqlite:///{tmp_path / path}"
    with pytest.raises(DataError) as raised:
        check_version(open_database(url), url)
    assert str(raised.value) == f"database {url}: {text.format(tmp_path)}"


# --- queries that are compiled once -------------------------------------------------------------------------


def _accounts(names: list[str]) -> Any:
    return t.Account.select(t.Account.name, t.Account.domain).where(t.Account.name.in_(names)).order_by(t.Account.name)


@pytest.mark.parametrize("names", [[], ["acme"], ["acme", "beta"], ["beta", "acme"], ["nobody"], ["acme", "acme"]])
def test_a_prepared_query_finds_what_the_plain_one_does(tables: Database, names: list[str]) -> None:
    prepared = Prepared(_accounts)
    with tables.connection_context():
        for _ in range(2):
            assert prepared.rows(tables, names) == rows(tables, _accounts(names))


def test_each_number_of_values_is_compiled_once(tables: Database) -> None:
    built: list[int] = []

    def build(names: list[str]) -> Any:
        built.append(len(names))
        return _accounts(names)

    prepared = Prepared(build)
    with tables.connection_context():
        for names in (["acme"], ["beta"], [], ["acme", "beta"], ["beta", "acme"], [], ["acme"]):
            prepared.rows(tables, names)
    assert built == [1, 0, 2]


def test_values_go_where_the_query_has_them(tables: Database) -> None:
    def build(domain: str, names: list[str], other: str) -> Any:
        row = t.Account
        matches = (row.domain == domain) | row.name.in_(names) | (row.name == other)
        return row.select(row.name).where(matches & (row.country == "DE")).order_by(row.name)

    prepared = Prepared(build)
    with tables.connection_context():
        assert prepared.rows(tables, "acme.example", [], "") == [("acme",)]
        assert prepared.rows(tables, "", ["acme"], "beta") == [("acme",), ("beta",)]
        assert prepared.rows(tables, "", ["x", "y"], "beta") == [("beta",)]
        assert prepared.rows(tables, "beta", ["acme.example"], "") == []


def test_a_value_may_look_like_a_mark(tables: Database) -> None:
    """What a caller dialled is never taken for a place in the query."""
    with tables.connection_context():
        assert Prepared(_accounts).rows(tables, ["\0000", "acme"]) == [("acme", "acme.example")]


def test_a_value_of_the_query_itself_stays(tables: Database) -> None:
    def build(name: str) -> Any:
        return t.Account.select(t.Account.name, Value(7)).where((t.Account.name == name) & (t.Account.status == "active"))

    with tables.connection_context():
        assert Prepared(build).rows(tables, "acme") == [("acme", 7)]


def test_named_rows(tables: Database) -> None:
    query = t.Account.select(t.Account.domain, t.Account.name, t.Account.presents_mobile).where(t.Account.name == "acme")
    with tables.connection_context():
        assert named_rows(tables, query) == [{"name": "acme", "domain": "acme.example", "presents_mobile": False}]
