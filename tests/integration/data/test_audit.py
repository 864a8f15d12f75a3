"""The audit log on both databases: one writer at a time, rows as they were told, and what is read back."""

# ruff: noqa: S608 - all SQL here is the tests' own

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from peewee import Database, IntegrityError

from fsroute.data import audit
from fsroute.data.audit import Author, exclusive, record
from fsroute.data.database import is_sqlite, open_database
from fsroute.errors import ConfigError, DataError
from fsroute.model import AuditEntry as Entry
from fsroute.model import Verification, VerificationState
from fsroute.verification import history
from tests.support.audit_log import FIRST, IN_BLOCK, LAST, START

ANNA = Author("anna", "cli:host")


@dataclass(frozen=True)
class Log:
    """An audit log of the test's own."""

    url: str
    database: Database

    def add(self, *rows: dict[str, Any]) -> None:
        """Adds rows, each in a transaction of its own."""
        for row in rows:
            given: dict[str, Any] = {
                "at": START,
                "author": ANNA,
                "action": "x",
                "account": "acme",
                "first": IN_BLOCK,
                "last": IN_BLOCK,
            }
            with exclusive(self.database, self.url):
                record(self.database, **given | row)

    def rows(self) -> list[tuple[Any, ...]]:
        with self.database.connection_context():
            return list(self.database.execute_sql("SELECT * FROM audit_log ORDER BY id").fetchall())

    def read(self, number: str = IN_BLOCK) -> tuple[list[Entry], list[Verification]]:
        return audit.read(self.database, self.url, number)


@pytest.fixture
def log(tables_url: str) -> Log:
    return Log(tables_url, open_database(tables_url))


# --- who --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  ", "x" * 201, "a\nb", "a\x1b[31m", "a\0", "\u2028"])
def test_an_author_is_a_printable_line(text: str) -> None:
    for name, actor, origin in (("actor", text, "o"), ("origin", "a", text)):
        with pytest.raises(ConfigError) as caught:
            Author(actor, origin)
        assert str(caught.value) == f"{name} {text[:50]!r}: must be 1 to 200 printable characters"


@pytest.mark.parametrize("text", ["x", "x" * 200, "Jörg Müller", "portal 192.0.2.7 (\u4e2d)"])
def test_an_author_can_have_any_name(text: str) -> None:
    assert (Author(text, text).actor, Author(text, text).origin) == (text, text)


# --- rows -------------------------------------------------------------------------------------------------


def test_a_row_is_as_it_was_told(log: Log) -> None:
    log.add(
        {
            "at": START.replace(microsecond=5),
            "author": Author("bert", "portal"),
            "action": "block_added",
            "first": FIRST,
            "last": LAST,
            "verification": "attempt-1",
            "method": "manual",
            "state": VerificationState.VERIFIED,
            "expires_at": START + timedelta(days=1),
            "reason": "invoice 'ü' % %s ? \U0001f600",
        },
        {},
    )
    assert log.rows() == [
        (
            *(1, "2026-03-01T12:00:00Z", "bert", "portal", "block_added", "acme", FIRST, LAST, "attempt-1", "manual"),
            *("verified", "2026-03-02T12:00:00Z", "invoice 'ü' % %s ? \U0001f600"),
        ),
        (2, "2026-03-01T12:00:00Z", "anna", "cli:host", "x", "acme", IN_BLOCK, IN_BLOCK, None, None, None, None, None),
    ]


@pytest.mark.parametrize(
    "row", [{"state": "ok"}, {"state": "verified"}, {"method": "fax"}, {"first": "030"}, {"last": FIRST}, {"action": ""}]
)
def test_a_row_that_says_nothing_is_refused(log: Log, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"(?i)check constraint"):
        log.add(row)
    assert log.rows() == []


# --- one writer at a time -----------------------------------------------------------------------------------


def test_a_change_and_its_row_are_one(log: Log) -> None:
    def change(failure: Exception) -> None:
        with exclusive(log.database, log.url):
            log.database.execute_sql("DELETE FROM identity_profiles")
            record(log.database, START, ANNA, "x", "acme", IN_BLOCK, IN_BLOCK)
            raise failure

    with pytest.raises(ValueError, match="no"):
        change(ValueError("no"))
    with pytest.raises(DataError) as caught:
        change(IntegrityError("no"))
    shown = log.url
    assert str(caught.value) == f"database {shown}: no"
    with log.database.connection_context():
        ((profiles,),) = log.database.execute_sql("SELECT COUNT(*) FROM identity_profiles").fetchall()
    assert (log.rows(), profiles) == ([], 5)


def test_a_connection_is_left_as_it_was_found(log: Log) -> None:
    log.add({})
    assert log.database.is_closed()
    log.database.connect()
    log.add({})
    assert not log.database.is_closed()
    log.database.close()


def test_it_begins_a_transaction_of_its_own(log: Log) -> None:
    """In somebody else's nothing would keep other writers out."""
    with (
        log.database.connection_context(),
        log.database.atomic(),
        pytest.raises(RuntimeError, match="exclusive"),
        exclusive(log.database, log.url),
    ):
        pass
    log.add({})
    assert len(log.rows()) == 1


def test_a_writer_waits_for_the_other_one_but_not_for_ever(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsroute.data.database._BUSY_S", 0.1)
    monkeypatch.setattr("fsroute.data.audit._WAIT_S", 0.1)
    other = open_database(log.url)
    with exclusive(log.database, log.url):
        record(log.database, START, ANNA, "x", "acme", IN_BLOCK, IN_BLOCK)
        with pytest.raises(DataError) as caught, exclusive(other, log.url):
            pass
    reason = "database is locked" if is_sqlite(other) else "canceling statement due to lock timeout"
    assert str(caught.value) == f"database {log.url}: {reason}"
    assert [row[0] for row in log.rows()] == [1]
    Log(log.url, other).add({})
    assert [row[0] for row in log.rows()] == [1, 2]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_what_is_read_stays_true_until_it_is_written(log: Log, isolation: str) -> None:
    """Twenty at once: each counts the rows that are there, and adds one that says so."""
    if not is_sqlite(log.database):
        name = log.url.rpartition("/")[2]
        with log.database.connection_context():
            log.database.execute_sql(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    together = threading.Barrier(20)

    def count() -> None:
        database = open_database(log.url)
        together.wait(30)
        with exclusive(database, log.url):
            ((found,),) = database.execute_sql("SELECT COUNT(*) FROM audit_log").fetchall()
            record(database, START, ANNA, str(found), "acme", IN_BLOCK, IN_BLOCK)

    with ThreadPoolExecutor(20) as threads:
        for done in [threads.submit(count) for _ in range(20)]:
            done.result(60)
    assert [(row[0], row[4]) for row in log.rows()] == [(i + 1, str(i)) for i in range(20)]


def test_changes_are_noticed_again_and_again(changeable_demo_url: str) -> None:
    """On one connection: nothing of a comparison stays behind."""
    log = Log(changeable_demo_url, open_database(changeable_demo_url))
    with log.database.connection_context():
        for state in ("pending", "failed", "failed"):
            with exclusive(log.database, log.url):
                watch = audit.Watch(log.database, START, ANNA)
                watch.remember()
                log.database.execute_sql(f"UPDATE verified_numbers SET state = '{state}' WHERE account = 'probe'")
                watch.remember()
                watch.record()
                watch.record()
    told = [(row[0], row[1], row[2], row[4], row[5], row[10]) for row in log.rows()[3:]]
    assert told == [
        (4, "2026-03-01T12:00:00Z", "anna", "loaded", "probe", "pending"),
        (5, "2026-03-01T12:00:00Z", "anna", "loaded", "probe", "failed"),
    ]


# --- reading ----------------------------------------------------------------------------------------------


def test_what_is_read_is_what_was_told(log: Log) -> None:
    more = {"verification": "attempt-1", "method": "call", "reason": "code_read"}
    log.add({"state": "verified", "expires_at": START, **more}, {"author": Author("b", "o"), "action": "y"})
    assert log.read() == (
        [
            Entry(
                1,
                START,
                "anna",
                "cli:host",
                "x",
                "acme",
                IN_BLOCK,
                IN_BLOCK,
                "attempt-1",
                "call",
                "verified",
                START,
                "code_read",
            ),
            Entry(2, START, "b", "o", "y", "acme", IN_BLOCK, IN_BLOCK),
        ],
        [],
    )


def test_all_that_concerns_a_number_is_read(log: Log) -> None:
    """Also what took the place of a block that covered it, and what only verified_numbers says."""
    with log.database.connection_context():
        log.database.execute_sql("INSERT INTO accounts (name, country, timezone, domain) VALUES ('acme', 'DE', 'UTC', 'd')")
        for first, last in ((FIRST, FIRST), ("+493023125040", "+493023125060"), ("+493023125060", LAST)):
            log.database.execute_sql(
                "INSERT INTO verified_numbers (account, first_number, last_number, method, state)"
                f" VALUES ('acme', '{first}', '{last}', 'call', 'pending')"
            )
    log.add(
        {"first": "+493023125040", "last": "+493023125041"},
        {"first": FIRST, "last": FIRST, "state": "failed"},
        {"first": FIRST, "last": LAST},
        {"first": FIRST, "last": FIRST, "state": "pending"},
        {"first": FIRST, "last": IN_BLOCK, "account": "other"},
        {"first": IN_BLOCK, "last": IN_BLOCK},
        {"first": IN_BLOCK, "last": LAST},
        {"first": "+493023125051", "last": LAST},
        {"first": FIRST, "last": "+493023125049", "account": "third"},
        {"first": f"{FIRST}0", "last": f"{LAST}0"},
        {"first": "+4930231250", "last": "+4930231259"},
    )
    entries, table = log.read()
    assert [entry.id for entry in entries] == [1, 2, 3, 4, 5, 6, 7, 9]
    pending = VerificationState.PENDING
    assert sorted(table, key=lambda row: row.first) == [
        Verification("acme", FIRST, FIRST, pending),
        Verification("acme", "+493023125040", "+493023125060", pending),
    ]


def test_a_log_that_cannot_be_read(log: Log, tmp_path: Path) -> None:
    log.add({})
    with log.database.connection_context():
        log.database.execute_sql(
            "INSERT INTO audit_log (id, at, actor, origin, action, account, first_number, last_number)"
            f" VALUES (2, '2026-02-30T00:00:00Z', 'a', 'o', 'x', 'acme', '{IN_BLOCK}', '{IN_BLOCK}')"
        )
    with pytest.raises(DataError) as caught:
        log.read()
    assert str(caught.value) == f"audit_log, verified_numbers: {IN_BLOCK}: day is out of range for month"
    url = f"sqlite:///{tmp_path}/missing.db"
    calls: list[Callable[[], object]] = [
        lambda: audit.read(open_database(url), url, IN_BLOCK),
        lambda: Log(url, open_database(url)).add({}),
    ]
    for call in calls:
        with pytest.raises(DataError) as caught:
            call()
        assert str(caught.value) == f"database {url}: no such file (fsroute init makes it)"


# --- the whole way ------------------------------------------------------------------------------------------


def test_the_history_of_the_demo_data(changeable_demo_url: str) -> None:
    """What the load left, and what somebody changed behind its back."""
    log = Log(changeable_demo_url, open_database(changeable_demo_url))
    now = datetime(2026, 6, 1, tzinfo=UTC)

    def asked(number: str, at: datetime = now) -> tuple[list[tuple[str, str, int | None]], tuple[str, ...]]:
        found = history.of(number, at, *log.read(number))
        return [(a.account, a.verdict.code, a.entry.id if a.entry else None) for a in found.answers], found.notes

    assert asked("+493023125333") == ([("acme", "verified_block", 1)], ())
    assert asked("+498999998123") == ([("acme", "verified_number", 2)], ())
    assert asked("+493023125020") == ([("probe", "verified_number", 3)], ())
    assert asked("+493023125333", datetime(2036, 1, 5, 9, tzinfo=UTC)) == ([("acme", "verification_expired", 1)], ())
    assert asked("+493023125333", datetime(2026, 1, 1, 11, 59, 59, tzinfo=UTC)) == ([], ())
    assert asked("+494066969001") == ([], ())
    with log.database.connection_context():
        log.database.execute_sql(
            "UPDATE verified_numbers SET state = 'revoked', revoked_at = '2026-05-01T00:00:00Z' WHERE account = 'acme'"
        )
    told = (
        "acme, +493023125300: verified_numbers was changed outside fsroute: it has +493023125300 to +493023125349 revoked,"
        " and the log +493023125300 to +493023125349 verified until 2036-01-05T09:00:00Z"
    )
    assert asked("+493023125333") == ([("acme", "verified_block", 1)], (told,))
    assert asked("+493023125020") == ([("probe", "verified_number", 3)], ())
