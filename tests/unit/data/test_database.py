"""Opening a database, its errors as one line, and queries that are compiled once."""

from __future__ import annotations

import pytest
from peewee import DatabaseError, InterfaceError, OperationalError

from fsroute.data.database import database_errors
from fsroute.errors import DataError


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
