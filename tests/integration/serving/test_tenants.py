"""What one tenant or caller does to the memory of a worker, and to the time of others' decisions."""

from __future__ import annotations

import socket
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.server import Server, applications, call, carrier_channel, converse, memory_kb, serving
from tests.support.tables import demo_database

MOST_KB = 128 * 1024
"""What a worker may take in every attack."""

MOST_MS = 5.0
"""How much longer the median of others' decisions may take during an attack."""

OTHERS = "+492214710500"
"""A number of another tenant, which is decided all the time."""

BIG, BEYOND, STAGES = "+492219990001", "+492219990002", "+492219990003"


def tables(path: Path) -> str:
    """The demo, and a tenant with numbers as large as they can be and larger: written without `fsroute load`."""
    url = demo_database(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO accounts (name, country, timezone, domain) VALUES ('big', 'DE', 'Europe/Berlin', 'big.example')"
        )
        phones = [(f"phone-{i}",) for i in range(1, 129)]
        connection.executemany("INSERT INTO endpoints (account, name) VALUES ('big', ?)", phones)
        connection.execute("INSERT INTO ring_groups (account, name) VALUES ('big', 'all')")
        members = [(i, name) for i, (name,) in enumerate(phones, 1)]
        connection.executemany(
            "INSERT INTO ring_group_members (account, ring_group, position, endpoint) VALUES ('big', 'all', ?, ?)", members
        )
        for number, rules, targets in (
            (BIG, 200, 10),
            (BEYOND, 5000, 2),
            *((f"+49221999{i:04}", 5, 10) for i in range(10, 1010)),
        ):
            connection.execute("INSERT INTO numbers (number, account) VALUES (?, 'big')", (number,))
            rows = [(number, rule) for rule in range(1, rules + 1)]
            connection.executemany("INSERT INTO rules (account, number, position) VALUES ('big', ?, ?)", rows)
            connection.executemany(
                "INSERT INTO rule_targets (account, number, rule_position, position, endpoint) VALUES ('big', ?, ?, ?, ?)",
                [(*row, target, f"phone-{target}") for row in rows for target in range(1, targets + 1)],
            )
        connection.execute("INSERT INTO numbers (number, account) VALUES (?, 'big')", (STAGES,))
        connection.execute(
            "INSERT INTO rules (account, number, position, mode) VALUES ('big', ?, 1, 'sequential')", (STAGES,)
        )
        connection.executemany(
            "INSERT INTO rule_targets (account, number, rule_position, position, ring_group) VALUES ('big', ?, 1, ?, 'all')",
            [(STAGES, position) for position in range(1, 129)],
        )
        connection.executemany(
            "INSERT INTO accounts (name, country, timezone, domain) VALUES (?, 'DE', 'Europe/Berlin', ?)",
            [(f"a{i}", f"a{i}.example") for i in range(3000)],
        )
        connection.executemany(
            "INSERT INTO numbers (number, account, is_network_number) VALUES (?, ?, TRUE)",
            [(f"+4930888{i:04}", f"a{i}") for i in range(3000)],
        )
        connection.executemany(
            "INSERT INTO trunk_routes (account, prefix, trunk) VALUES (?, '+', 'carrier')", [(f"a{i}",) for i in range(3000)]
        )
    return url


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tables(tmp_path_factory.mktemp("tenants") / "demo.db")


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[Server]:
    with serving(url, tmp_path, "--max-calls", "50", "--log-level", "info") as running:
        yield running


def decided(server: Server, to: str, **variables: str) -> None:
    """One call up to its first decision."""
    channel = carrier_channel(to, **variables)
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        converse(sock, channel, "bridge")


def spelled(digits: str, i: int) -> str:
    """Another spelling of a number for each `i`."""
    return "".join(digit + ("", "-", ".", "/")[(i >> 2 * place) % 4] for place, digit in enumerate(digits[:-1])) + digits[-1]


def outbound(i: int) -> dict[str, str]:
    return {"fsroute_direction": "outbound", "fsroute_account": f"a{i % 3000}", "fsroute_user": f"u{i}"}


ATTACKS: dict[str, tuple[int, Callable[[Server, int], None]]] = {
    "spellings of a large number": (500, lambda server, i: decided(server, spelled(f"0{BIG[3:]}", i))),
    "spellings of a number that is too large": (60, lambda server, i: decided(server, spelled(f"0{BEYOND[3:]}", i))),
    "many stages of many legs": (30, lambda server, i: decided(server, spelled(f"0{STAGES[3:]}", i))),
    "all numbers of a tenant": (1000, lambda server, i: decided(server, f"+49221999{i + 10:04}")),
    "random numbers": (3000, lambda server, i: decided(server, f"+4940{i * 7919 % 10**8:08}")),
    "long destinations": (300, lambda server, i: decided(server, f"{i:08}" * 3750)),
    "long callers": (300, lambda server, i: decided(server, "+4940", sip_from_user=f"{i:08}" * 3750)),
    "many accounts": (2000, lambda server, i: decided(server, f"+4940{i:08}", **outbound(i))),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_costs_others_neither_memory_nor_time(server: Server, attack: str) -> None:
    count, strike = ATTACKS[attack]
    quiet = [timed(server) for _ in range(100)]
    busy = []
    for i in range(count):
        strike(server, i)
        if i % (count // 50 + 1) == 0:
            busy.append(timed(server))
    kilobytes = memory_kb(server.workers[0])
    assert kilobytes < MOST_KB
    assert statistics.median(busy) - statistics.median(quiet) < MOST_MS


def timed(server: Server) -> float:
    """Milliseconds until a call of another tenant was decided."""
    began = time.perf_counter()
    decided(server, OTHERS)
    return (time.perf_counter() - began) * 1000


def test_a_destination_longer_than_any_number_ends_as_an_unknown_number_does(server: Server) -> None:
    for to in ("+492219999999", "4" * 129, "4" * 30_000):
        assert applications(call(server, to).commands)[-1] == ("hangup", "UNALLOCATED_NUMBER")
