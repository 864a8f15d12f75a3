"""What is remembered of the tables, and when it is forgotten: on both databases, with changes by other processes' means."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from fsroute.codes import CallerIdCode
from fsroute.data.changes import watch
from fsroute.data.database import is_sqlite, open_database
from fsroute.data.routing_cache import RoutingCache
from fsroute.data.routing_store import Store
from fsroute.data.weight import LEG_BYTES, weight_of
from fsroute.errors import DataError
from fsroute.model import (
    Account,
    Call,
    CallerId,
    Direction,
    EndpointDial,
    HostedNumber,
    KeptPlan,
    Leg,
    Plan,
    Routing,
    Rule,
    Target,
    Trunk,
)
from fsroute.target_kinds import TargetKind
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


CARRIER = Trunk("carrier", "carrier", "DE", "carrier.example")
ACME = Account("acme", "DE", "Europe/Berlin", "acme.example", area_code="221")


class Reads:
    """Counts what is read; each read finds something of its own. There are one trunk and one account."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> Routing:
        self.calls.append(call)
        trunk = CARRIER if call.trunk == CARRIER.name else None
        account = ACME if call.account == ACME.name and call.direction is Direction.OUTBOUND else None
        return Routing("DE", str(len(self.calls)), trunk=trunk, account=account)


def asked(cache: RoutingCache, call: Call) -> str | None:
    """What a call is routed by: the number of the read it came from."""
    return (cache.fresh(call) or cache.read(call)).dialled


def test_what_was_read_is_used_until_something_changes() -> None:
    changes, reads = Changes(is_exact=True), Reads()
    cache = RoutingCache(reads, changes, 2.0)
    assert [asked(cache, Call(N100)) for _ in range(3)] == ["1", "1", "1"]
    changes.now = 2
    assert [asked(cache, Call(N100)) for _ in range(3)] == ["2", "2", "2"]


USER_CALL = Call(N100, direction=Direction.OUTBOUND, account="acme", user="office")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Call(N100), Call(N200)),
        (Call(N100), USER_CALL),
        (Call(N100), Call(N100, trunk="carrier")),
        (USER_CALL, replace(USER_CALL, account="probe")),
        (USER_CALL, replace(USER_CALL, user="reception")),
        (USER_CALL, replace(USER_CALL, presented=N200)),
        (USER_CALL, replace(USER_CALL, presented="anybody")),
        (USER_CALL, replace(USER_CALL, transferred=True)),
        (replace(USER_CALL, destination="11"), replace(USER_CALL, destination="12")),
    ],
)
def test_calls_that_are_read_differently_are_remembered_apart(one: Call, other: Call) -> None:
    cache = RoutingCache(Reads(), Changes(is_exact=True), 2.0)
    assert [asked(cache, call) for call in (one, other, one, other)] == ["1", "2", "1", "2"]


@pytest.mark.parametrize(
    ("call", "same"),
    [
        (Call(N100), [Call(N100, "+4930", "Eve"), Call(N100, anonymous=True), Call(N100, hops=3, uuid="x")]),
        (Call(N100), [Call(N100, account="acme"), Call(N100, user="office"), Call(N100, presented=N200)]),
        (Call(N100), [Call("+49 (221) 471-0100"), Call("sip:+492214710100@pbx.example"), Call(f"{N100};x=y")]),
        (Call("02214710100"), [Call("0221-47.1/0100"), Call("0221/4710100;phone-context=pbx.example")]),
        (Call("anything"), [Call("something else"), Call("")]),
        (USER_CALL, [replace(USER_CALL, destination="+49 221 4710100"), replace(USER_CALL, to_user="x", trunk="y")]),
        (replace(USER_CALL, presented="anybody"), [replace(USER_CALL, presented="11")]),
    ],
)
def test_calls_that_mean_the_same_share_what_was_read(call: Call, same: list[Call]) -> None:
    cache = RoutingCache(Reads(), Changes(is_exact=True), 2.0)
    assert {asked(cache, each) for each in (call, *same, call)} == {"1"}


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


def hosted(call: Call, targets: int = 100, account: str = "acme") -> Routing:
    """A number with one rule of so many targets."""
    rule = Rule(call.destination, 1, targets=tuple(Target(i, TargetKind.ENDPOINT, f"p{i}") for i in range(targets)))
    owner = replace(ACME, name=account)
    return Routing("DE", call.destination, {call.destination: HostedNumber(call.destination, owner, (rule,))})


ONE = weight_of(hosted(Call(N100)))
"""What such a routing of a hosted number weighs."""


def number(i: int) -> str:
    return f"+49221471{i:05}"


def kept(cache: RoutingCache, calls: Iterable[Call]) -> list[Call]:
    """Those of the calls that are decided from memory."""
    return [call for call in calls if cache.fresh(call) is not None]


def test_what_was_not_asked_for_lately_makes_room() -> None:
    cache = RoutingCache(hosted, Changes(is_exact=True), 2.0, capacity=20 * ONE)
    calls = [Call(number(i)) for i in range(40)]
    busy = calls[0]
    for call in calls:
        assert asked(cache, call) == call.destination
        assert cache.fresh(busy) is not None
    assert kept(cache, calls) == [busy, *calls[21:]]


def test_numbers_weigh_what_their_rules_do() -> None:
    """One large number takes the place of many small ones, and no more than that is kept."""
    small, large = weight_of(hosted(Call(N100), 1)), hosted(Call(N200), 100)
    capacity = 20 * ONE
    cache = RoutingCache(
        lambda call: large if call.destination == N200 else hosted(call, 1), Changes(is_exact=True), 2.0, capacity
    )
    calls = [Call(number(i)) for i in range(capacity // small)]
    for call in (*calls, Call(N200)):
        asked(cache, call)
    pushed_out = -((capacity - len(calls) * small - ONE) // small)
    assert 15 < pushed_out < 25
    assert kept(cache, [*calls, Call(N200)]) == [*calls[pushed_out:], Call(N200)]


def test_a_number_that_alone_would_take_a_large_part_is_not_kept() -> None:
    large = hosted(Call(N200))
    cache = RoutingCache(lambda _: large, Changes(is_exact=True), 2.0, capacity=15 * weight_of(large))
    assert [cache.read(Call(N200)), cache.fresh(Call(N200)), cache.stale(Call(N200))] == [large, None, None]


def test_plans_that_are_kept_with_a_routing_weigh_too() -> None:
    """A caller chooses how often a call was forwarded, and each count has a plan of its own."""
    cache = RoutingCache(hosted, Changes(is_exact=True), 2.0, capacity=40 * ONE)
    calls = [Call(number(i)) for i in range(40)]
    for call in calls:
        asked(cache, call)
    routing = cache.fresh(calls[-1])
    assert routing is not None
    leg = Leg("endpoint p", EndpointDial("p", "acme.example"), CallerId(None, None, CallerIdCode.CALLER_RECEIVED))
    for hops in range(5):
        routing.plans[number(0), 1, leg.caller_id, hops, 5] = KeptPlan(Plan(((leg,) * 50,)), ())
    pushed_out = -(-(5 * 50 - 100) * LEG_BYTES // ONE)
    assert cache.fresh(calls[-1]) is routing
    assert kept(cache, calls) == calls[pushed_out:]


def test_the_account_that_has_most_makes_room_for_itself() -> None:
    """Others' numbers stay, whatever one account calls."""
    owner = {number(i): "acme" if i < 5 else "heavy" for i in range(100)}
    cache = RoutingCache(
        lambda call: hosted(call, account=owner[call.destination]), Changes(is_exact=True), 2.0, capacity=20 * ONE
    )
    calls = [Call(number(i)) for i in range(100)]
    for call in calls:
        asked(cache, call)
    assert kept(cache, calls) == [*calls[:5], *calls[85:]]


def test_who_dials_at_random_pushes_no_hosted_number_out() -> None:
    busy = [Call(number(i), trunk="carrier") for i in range(20)]
    numbers = {call.destination for call in busy}

    def read(call: Call) -> Routing:
        return replace(hosted(call), trunk=CARRIER) if call.destination in numbers else Routing("DE", trunk=CARRIER)

    changes = Changes(is_exact=True)
    cache = RoutingCache(read, changes, 2.0)
    for call in (*busy, *(Call(f"+4930{i:08}", trunk="carrier") for i in range(20_000))):
        asked(cache, call)
    assert kept(cache, busy) == busy
    changes.now = 2
    assert [stale.routing.dialled for call in busy if (stale := cache.stale(call))] == [call.destination for call in busy]


def test_numbers_that_are_not_hosted_here_share_the_routing_of_their_caller() -> None:
    cache = RoutingCache(lambda _: Routing("DE", account=ACME), Changes(is_exact=True), 2.0)
    one, two, three = (replace(USER_CALL, destination=f"+49302312500{i}") for i in range(3))
    assert cache.fresh(one) is None
    cache.read(one)
    assert cache.fresh(two) is None
    assert cache.read(two) is cache.fresh(two) is cache.fresh(one)
    assert cache.fresh(three) is None


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
    cache = RoutingCache(hosted, Changes(is_exact=True), 2.0, capacity=20 * ONE)
    wrong: list[object] = []

    def ask(first: int) -> None:
        for i in range(500):
            call = Call(number((first + i) % 40))
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
