"""What is remembered of the tables, and when it is forgotten: on both databases, with changes by other processes' means."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from fsroute.data.changes import watch
from fsroute.data.database import is_sqlite, open_database
from fsroute.data.routing_cache import RoutingCache
from fsroute.data.routing_store import Store
from fsroute.errors import DataError
from fsroute.model import Call, Direction, Routing
from tests.support.tables import demo_database, execute
from tests.support.wait import wait_until

N100, N200 = "+492214710100", "+492214710200"


class Changes:
    """Says what it is told to say."""

    def __init__(self, *, is_exact: bool) -> None:
        self.is_exact = is_exact
        self.now: object = 1

    def version(self) -> object:
        return self.now

    def close(self) -> None:
        pass


class Reads:
    """Counts what is read; each read finds something of its own."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> Routing:
        self.calls.append(call)
        return Routing("DE", str(len(self.calls)))


def asked(cache: RoutingCache, call: Call) -> str | None:
    """What a call is routed by: the number of the read it came from."""
    return (cache.fresh(call) or cache.read(call)).dialled


def test_what_was_read_is_used_until_something_changes() -> None:
    changes, reads = Changes(is_exact=True), Reads()
    cache = RoutingCache(reads, changes, 2.0)
    assert [asked(cache, Call(N100)) for _ in range(3)] == ["1", "1", "1"]
    changes.now = 2
    assert [asked(cache, Call(N100)) for _ in range(3)] == ["2", "2", "2"]


@pytest.mark.parametrize(
    "other",
    [
        Call(N200),
        Call(N100, direction=Direction.OUTBOUND),
        Call(N100, trunk="carrier"),
        Call(N100, account="acme"),
        Call(N100, user="office"),
        Call(N100, presented=N200),
    ],
)
def test_calls_that_are_read_differently_are_remembered_apart(other: Call) -> None:
    cache = RoutingCache(Reads(), Changes(is_exact=True), 2.0)
    assert [asked(cache, call) for call in (Call(N100), other, Call(N100), other)] == ["1", "2", "1", "2"]


def test_what_does_not_matter_to_the_tables_does_not_matter_here() -> None:
    cache = RoutingCache(Reads(), Changes(is_exact=True), 2.0)
    same = [Call(N100), Call(N100, "+4930", "Eve"), Call(N100, anonymous=True), Call(N100, hops=3, uuid="x")]
    assert {asked(cache, call) for call in same} == {"1"}


def test_nothing_is_kept_without_seconds() -> None:
    cache = RoutingCache(Reads(), Changes(is_exact=True), 0)
    assert [asked(cache, Call(N100)) for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize("exact", [True, False])
def test_versions_that_prove_nothing_are_believed_for_a_while_only(exact: bool) -> None:
    changes = Changes(is_exact=exact)
    changes.now = None if exact else 1  # None: the exact version cannot be read, so it proves nothing either
    cache = RoutingCache(Reads(), changes, 0.2)
    assert [asked(cache, Call(N100)) for _ in range(2)] == ["1", "1"]
    time.sleep(0.25)
    assert asked(cache, Call(N100)) == "2"


def test_a_change_while_it_is_read_counts() -> None:
    changes = Changes(is_exact=True)

    def read(_: Call) -> Routing:
        changes.now = 2
        return Routing("DE")

    cache = RoutingCache(read, changes, 2.0)
    assert cache.fresh(Call(N100)) is None
    cache.read(Call(N100))
    assert cache.fresh(Call(N100)) is None


def test_what_was_asked_for_least_recently_makes_room() -> None:
    cache = RoutingCache(Reads(), Changes(is_exact=True), 2.0, entries=2)
    calls = [Call(f"+4922147101{i:02}") for i in range(3)]
    order = [calls[0], calls[1], calls[0], calls[2], calls[0], calls[1]]
    assert [asked(cache, call) for call in order] == ["1", "2", "1", "3", "1", "4"]


def test_the_last_that_was_known_is_there_when_nothing_can_be_read() -> None:
    changes, reads = Changes(is_exact=True), Reads()
    cache = RoutingCache(reads, changes, 2.0)
    assert cache.stale(Call(N100)) is None
    asked(cache, Call(N100))
    changes.now = 2
    time.sleep(0.02)
    stale = cache.stale(Call(N100))
    assert stale is not None
    assert (stale.routing.dialled, 0.02 <= stale.age_s < 1) == ("1", True)


def test_threads_may_ask_and_read_at_once() -> None:
    cache = RoutingCache(lambda call: Routing("DE", call.destination), Changes(is_exact=True), 2.0, entries=4)
    wrong: list[object] = []

    def ask(first: int) -> None:
        for i in range(2000):
            call = Call(str((first + i) % 12))
            found = (cache.fresh(call) or cache.read(call)).dialled
            if found != call.destination:
                wrong.append((call, found))

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- real databases ---------------------------------------------------------------------------------------


@pytest.fixture
def remembering(changeable_demo_url: str) -> Iterator[tuple[Store, RoutingCache]]:
    """A store and what remembers it; the bound is longer than any test."""
    with remembered(changeable_demo_url) as both:
        yield both


@contextmanager
def remembered(url: str) -> Iterator[tuple[Store, RoutingCache]]:
    store = Store(open_database(url), url, "DE")
    changes = watch(url, CapturingLogger())
    cache = RoutingCache(store.routing, changes, 3600.0)
    changes.version()  # PostgreSQL's listener begins
    yield store, cache
    changes.close()
    store.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE rules SET ring_s = 7 WHERE number = '+492214710100'",
        "DELETE FROM rule_targets WHERE number = '+492214710100'",
        "INSERT INTO call_permissions (account, prefix, allowed) VALUES ('acme', '+49900', TRUE)",
        "UPDATE verified_numbers SET state = 'expired'",
    ],
)
def test_a_change_by_anybody_is_seen(remembering: tuple[Store, RoutingCache], sql: str) -> None:
    store, cache = remembering
    call = Call(N100)
    if not is_sqlite(store.database):
        # Until PostgreSQL's listener listens there is nothing to wait for; its first word is that it does.
        wait_until(lambda: cache.fresh(call) is None)
        cache.read(call)
        time.sleep(0.3)
    cache.fresh(call)
    before = cache.read(call)
    assert cache.fresh(call) is before
    execute(store.url, sql)
    wait_until(lambda: cache.fresh(call) is None)
    assert cache.read(call) == store.routing(call)


def test_a_change_that_was_taken_back_changes_nothing(tmp_path: Path) -> None:
    """With SQLite only: PostgreSQL sends no notification then, and a test cannot wait for one that does not come."""
    with remembered(demo_database(tmp_path / "demo.db")) as (store, cache):
        cache.fresh(Call(N100))
        before = cache.read(Call(N100))
        other = open_database(store.url)
        with other.connection_context(), other.atomic() as transaction:
            other.execute_sql("DELETE FROM rule_targets")
            transaction.rollback()
        assert cache.fresh(Call(N100)) is before


def test_attempts_to_verify_do_not_make_calls_slower(postgresql_demo_url: str) -> None:
    """PostgreSQL only tells of tables that calls are routed by. SQLite knows one version of all."""
    with remembered(postgresql_demo_url) as (store, cache):
        time.sleep(0.3)
        cache.fresh(Call(N100))
        before = cache.read(Call(N100))
        execute(
            store.url,
            "INSERT INTO audit_log (id, at, actor, origin, action, account, first_number, last_number)"
            " VALUES (1000, '2026-11-22T00:00:00Z', 'a', 'b', 'start', 'acme', '+4930', '+4930')",
        )
        time.sleep(0.3)
        assert cache.fresh(Call(N100)) is before


def test_a_database_that_is_away_has_no_version(tmp_path: Path) -> None:
    changes = watch(f"sqlite:///{tmp_path}/missing.db", CapturingLogger())
    assert changes.version() is None
    sqlite3.connect(tmp_path / "missing.db").execute("PRAGMA journal_mode = WAL")
    assert changes.version() is not None
    changes.close()


def test_postgresql_that_comes_back_counts_as_changed(postgresql_demo_url: str) -> None:
    url = postgresql_demo_url
    changes = watch(url, CapturingLogger())
    first = changes.version()
    wait_until(lambda: changes.version() != first)
    listening = changes.version()
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(query, 'LISTEN')",
    )
    wait_until(lambda: changes.version() != listening)
    changes.close()


def test_a_store_that_fails_leaves_what_was_known() -> None:
    def read(_: Call) -> Routing:
        raise DataError("away")

    cache = RoutingCache(read, Changes(is_exact=True), 2.0)
    with pytest.raises(DataError, match="away"):
        cache.read(Call(N100))
    assert (cache.fresh(Call(N100)), cache.stale(Call(N100))) == (None, None)


def test_sqlite_is_asked_once_for_calls_that_came_in_together(tmp_path: Path) -> None:
    path, turn = tmp_path / "routes.db", 1.0
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE t (a)")
    changes = watch(f"sqlite:///{path}", CapturingLogger(), lambda: turn)
    before = changes.version()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO t VALUES (1)")
    assert changes.version() == before
    turn = 2.0
    assert changes.version() != before
    changes.close()
