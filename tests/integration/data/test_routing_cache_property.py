"""A call is decided from memory as it is decided without: whatever was called before, however it is spelled."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from random import Random

import pytest
from structlog.testing import CapturingLogger

from fsroute.data.changes import watch
from fsroute.data.routing_cache import CAPACITY, RoutingCache
from fsroute.data.routing_store import Store
from fsroute.model import Call, Direction, FailedPlan, Outcome, RuleKey
from fsroute.routing import router
from tests.support.tables import demo_store

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)

MORE = """
INSERT INTO accounts (name, country, timezone, domain, area_code, failed_transfer) VALUES
    ('wien', 'AT', 'Europe/Vienna', 'wien.example', '1', '+4314010100');
INSERT INTO trunks (name, gateway, country, domain, number_format, called_number_in) VALUES
    ('digits', 'digits', 'DE', 'digits.example', 'digits', 'request'),
    ('national', 'national', 'AT', 'national.example', 'national', 'to');
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('wien', '+', 'national');
INSERT INTO numbers (number, account, is_network_number) VALUES
    ('+4314010100', 'wien', TRUE), ('+494922147', 'acme', FALSE), ('+4922147', 'probe', FALSE);
INSERT INTO users (account, name, extension) VALUES ('wien', 'anna', '4010100'), ('wien', 'bert', '112233');
INSERT INTO endpoints (account, name, user_name) VALUES ('wien', '3001', 'anna');
INSERT INTO user_numbers (account, user_name, number, kind, short_code) VALUES
    ('wien', 'anna', '+4314010100', 'secondary', '55'), ('acme', 'office', '+492214710500', 'secondary', '4710300');
INSERT INTO rules (account, number, position) VALUES
    ('wien', '+4314010100', 1), ('acme', '+494922147', 1), ('probe', '+4922147', 1);
INSERT INTO rule_callers (number, rule_position, caller) VALUES ('+494922147', 1, '+4930*');
INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES
    ('wien', '+4314010100', 1, 1, '3001'), ('acme', '+494922147', 1, 1, '1001');
INSERT INTO rule_targets (account, number, rule_position, position, external_number, caller_id) VALUES
    ('probe', '+4922147', 1, 1, '+492214710100', NULL), ('wien', '+4314010100', 1, 2, '+436601234567', 'original');
"""

CHANGES = (
    "INSERT OR IGNORE INTO trunks (name, gateway, country, domain) VALUES ('unknown', 'u', 'AT', 'u.example')",
    "DELETE FROM trunks WHERE name = 'unknown'",
    "INSERT OR IGNORE INTO accounts (name, country, timezone, domain) VALUES ('unknown', 'AT', 'UTC', 'u2.example')",
    "DELETE FROM accounts WHERE name = 'unknown'",
    "UPDATE accounts SET area_code = '221' WHERE name = 'acme'",
    "UPDATE accounts SET area_code = NULL WHERE name = 'acme'",
    "UPDATE trunks SET number_format = 'national' WHERE name = 'digits'",
    "UPDATE trunks SET number_format = 'digits', called_number_in = 'to' WHERE name = 'digits'",
    "UPDATE trunks SET country = 'AT' WHERE name = 'carrier'",
    "UPDATE trunks SET country = 'DE' WHERE name = 'carrier'",
    "UPDATE users SET extension = '4710100' WHERE account = 'acme' AND name = 'office'",
    "UPDATE users SET extension = '13' WHERE account = 'acme' AND name = 'office'",
    "UPDATE user_numbers SET short_code = '77' WHERE short_code IS NOT NULL AND account = 'acme'",
    "INSERT OR IGNORE INTO numbers (number, account) VALUES ('+493023125001', 'probe')",
    "DELETE FROM numbers WHERE number = '+493023125001'",
    "UPDATE accounts SET failed_transfer = 'transferor' WHERE name = 'wien'",
    "UPDATE accounts SET failed_transfer = '+4314010100' WHERE name = 'wien'",
)

AS_AT_FIRST = """
DELETE FROM trunks WHERE name = 'unknown';
DELETE FROM accounts WHERE name = 'unknown';
UPDATE accounts SET area_code = '221' WHERE name = 'acme';
UPDATE accounts SET failed_transfer = '+4314010100' WHERE name = 'wien';
UPDATE trunks SET number_format = 'digits', called_number_in = 'request' WHERE name = 'digits';
UPDATE trunks SET country = 'DE' WHERE name = 'carrier';
UPDATE users SET extension = '13' WHERE account = 'acme' AND name = 'office';
UPDATE user_numbers SET short_code = '4710300' WHERE account = 'acme' AND number = '+492214710500';
DELETE FROM numbers WHERE number = '+493023125001';
"""
"""Undoes the changes."""

NUMBERS = ("492214710100", "492214710200", "492214710500", "4314010100", "494922147", "4922147", "493023125001")
PREFIXES = ("+", "00", "", "0", "+0", "tel:+", "sip:", "(+")
INSIDE = ("11", "12", "13", "55", "77", "4710100", "4710300", "4010100", "112233", "112", "115", "110")
OTHERS = ("", "anna", "1" * 60, "+", "4-0-1", " 11", "1 1", "999", "0800", "123456", "123457")
TAILS = (
    "",
    "",
    "",
    "@x.example",
    ";phone-context=+49",
    ";phone-context=+49221",
    ";phone-context=x.example",
    ";phone-context=?",
)
TRUNKS = (None, "", "carrier", "digits", "national", "unknown")
USERS = {
    "acme": ("office", "reception"), "probe": ("tester",), "wien": ("anna", "bert"), "unknown": ("office",), None: (None,)
}  # fmt: skip
PRESENTED = (None, "", "+492214710200", "+498999998123", "+493023125320", "11", "0221")
CALLERS = ("+493023125001", "03023125001", "1001", "", "anonymous", "4930", "+4915112345678")
FAILED = (
    None, None, None, FailedPlan(None, Outcome.BUSY, "USER_BUSY"),
    FailedPlan(RuleKey("+492214710100", 1), Outcome.NO_ANSWER), FailedPlan(None, Outcome.UNREACHABLE, is_recall=True),
)  # fmt: skip


def spelled(chance: Random) -> str:
    """Something that somebody dials."""
    if chance.random() < 0.4:
        return chance.choice(INSIDE + OTHERS) + chance.choice(TAILS)
    digits = chance.choice(NUMBERS)[chance.choice((0, 0, 2, 2, 3, 5)) :]
    spaced = "".join(digit + chance.choice(("", "", "", "-", ".", "/", " ")) for digit in digits)
    return chance.choice(PREFIXES) + spaced + chance.choice(TAILS)


def calls(chance: Random) -> list[Call]:
    """Calls to few destinations, by everybody who could call them."""
    dialled = [*chance.sample(INSIDE, 2), *(spelled(chance) for _ in range(2)), *(f"0221-47.1/0{i}00" for i in (1, 2))]
    dialled += chance.sample(("471-0100", "471-0200", "401-0100", "401-0101"), 2)
    account = chance.choice((*USERS, "acme", "wien"))
    found = [
        Call(text, trunk=trunk, to_user=to, caller=chance.choice(CALLERS), anonymous=chance.random() < 0.2)
        for text, trunk, to in product(dialled, TRUNKS, ("", chance.choice(dialled)))
    ]
    found += [
        Call(
            text, chance.choice(CALLERS), direction=Direction.OUTBOUND, account=account, user=user, presented=presented,
            transferred=transferred, endpoint=chance.choice((None, "1001")),
        )
        for text, user, presented, transferred in product(
            dialled, (*USERS[account], None, "unknown"), chance.sample(PRESENTED, 2), (True, False)
        )
    ]  # fmt: skip
    return found


def make_store(path: Path) -> Store:
    store = demo_store(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(MORE)
    return store


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = make_store(tmp_path_factory.mktemp("property") / "demo.db")
    yield store
    store.close()


@pytest.mark.parametrize("capacity", [CAPACITY, CAPACITY // 100])
@pytest.mark.parametrize("seed", range(2))
def test_a_decision_from_memory_is_the_one_without(stored: Store, seed: int, capacity: int) -> None:
    chance = Random(seed)  # noqa: S311 - no secret
    changes = watch(stored.url, CapturingLogger())
    cache = RoutingCache(stored.routing, changes, 3600.0, capacity)
    from_memory = 0
    with closing(sqlite3.connect(stored.url.removeprefix("sqlite:///"))) as other:
        for change in (AS_AT_FIRST, *chance.sample(CHANGES, len(CHANGES))):
            again = calls(chance)
            for calling in (again, chance.sample(again, len(again) // 4)):
                for call in calling:
                    kept = cache.fresh(call)
                    from_memory += kept is not None
                    known, now, failed = kept or cache.read(call), stored.routing(call), chance.choice(FAILED)
                    assert known == now, call
                    assert router.route(call, known, NOW, failed) == router.route(call, now, NOW, failed), call
                    old = cache.stale(call)
                    assert capacity < CAPACITY or (old is not None and old.routing == now)
                with other:
                    other.executescript(change)
    changes.close()
    assert from_memory > 100


def test_the_tables_of_the_property_answer(tmp_path: Path) -> None:
    """The property would hold for tables that find nothing."""
    stored = make_store(tmp_path / "demo.db")
    cache = RoutingCache(stored.routing, watch(stored.url, CapturingLogger()), 3600.0)
    first = Call("0221-47.1/0100", trunk="carrier")
    assert cache.fresh(first) is None
    assert cache.read(first).dialled == "+492214710100"
    assert all(cache.fresh(Call(text, trunk="carrier")) for text in ("+492214710100", "0221 4710100", "0049-221-4710100"))
    stored.close()
