"""From settings to a server and a controller, in this process, over the demo's database."""

from __future__ import annotations

import re
import socket
import sqlite3
import time
from pathlib import Path

import gevent
import pytest
from gevent.threadpool import ThreadPool
from structlog.testing import CapturingLogger

from fsroute.codes import ReasonCode
from fsroute.configuration.settings import Settings, load_settings
from fsroute.errors import DataError, WrongVersion
from fsroute.eventsocket.server import listen
from fsroute.model import Call, Direction, Plan, Routing
from fsroute.serving import serve
from fsroute.serving.call_control import FAILURE_CAUSE, CallController
from fsroute.serving.deadline import within_deadline
from fsroute.serving.registrations import Registrations
from fsroute.serving.wiring import Read, make_controller
from fsroute.target_kinds import Hangup
from tests.support.tables import demo_database
from tests.support.wait import wait_until

CALL = Call("+492214710100", "+493023125001")
PATIENCE_S = 20.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return demo_database(tmp_path / "demo.db")


def settings(url: str, **values: str) -> Settings:
    return load_settings({"db": url, "listen": "127.0.0.1:0", **values}, {})


class Database:
    """Stands for a deadline: reads, or fails as one does that has passed."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None

    def within(self, read: Read) -> Read:
        def read_or_fail(call: Call) -> Routing:
            self.reads += 1
            if self.error is not None:
                raise self.error
            return read(call)

        return read_or_fail


def controller(url: str, database: Database, log: CapturingLogger, **values: str) -> CallController:
    return make_controller(settings(url, **values), log, Registrations(0), database.within)


def change(url: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE accounts SET name = 'changed' WHERE name = 'nobody'")
        connection.execute("CREATE TABLE changed (x)")


# --- wiring -----------------------------------------------------------------------------------------------


def test_a_call_like_one_before_is_decided_from_memory(url: str) -> None:
    database = Database()
    decide = controller(url, database, CapturingLogger()).decide
    before = database.reads
    assert decide(CALL, None).code == decide(CALL, None).code == "routed"
    assert database.reads == before + 1


def test_after_a_change_the_database_is_read_again(url: str) -> None:
    database = Database()
    decide = controller(url, database, CapturingLogger()).decide
    decide(CALL, None)
    before = database.reads
    change(url)
    decide(CALL, None)
    assert database.reads == before + 1


def test_while_the_database_fails_a_call_is_decided_by_what_was_read_last(url: str) -> None:
    database, log = Database(), CapturingLogger()
    decide = controller(url, database, log).decide
    decide(CALL, None)
    change(url)
    database.error = DataError("no decision within 500 ms")
    assert decide(CALL, None).code == "routed"
    (line,) = log.calls
    assert (line.method_name, line.args) == ("warning", ("routed from memory",))
    assert line.kwargs == {"reason": "no decision within 500 ms", "age_s": line.kwargs["age_s"]}
    assert 0 <= line.kwargs["age_s"] < PATIENCE_S


@pytest.mark.parametrize("direction", list(Direction))
def test_a_destination_longer_than_any_number_reads_and_keeps_nothing(url: str, direction: Direction) -> None:
    database, log = Database(), CapturingLogger()
    decide = controller(url, database, log).decide
    database.error, before = DataError("away"), database.reads
    made = decide(Call("4" * 129, direction=direction, account="acme", trunk="carrier"), None)
    assert (made.code, made.plan) == (ReasonCode.DESTINATION_TOO_LONG, Plan(final=Hangup("UNALLOCATED_NUMBER")))
    assert (database.reads, log.calls) == (before, [])
    with pytest.raises(DataError):
        decide(Call("4" * 128, direction=direction, account="acme", trunk="carrier"), None)


def test_a_call_of_which_nothing_is_known_fails_with_the_database(url: str) -> None:
    database = Database()
    decide = controller(url, database, CapturingLogger()).decide
    database.error = DataError("no decision within 500 ms")
    with pytest.raises(DataError, match="no decision within 500 ms"):
        decide(CALL, None)


def test_a_start_without_a_database_says_so_and_goes_on(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path}/demo.db", CapturingLogger()
    decide = controller(url, Database(), log).decide
    reason = f"database {url}: no such file (fsroute init makes it)"
    with pytest.raises(DataError, match=re.escape(reason)):
        decide(CALL, None)
    (line,) = log.calls
    assert (line.method_name, line.args, line.kwargs) == ("error", ("database unavailable",), {"db": url, "reason": reason})
    demo_database(tmp_path / "demo.db")
    wait_until(lambda: len(log.calls) == 2)
    assert decide(CALL, None).code == "routed"
    assert log.calls[1].args == ("database available again",)
    assert (log.calls[1].kwargs["from_memory"], log.calls[1].kwargs["undecided"]) == (
        0,
        2,
    )  # the first call of the start too


def test_a_first_decision_that_takes_too_long_ends_no_start(url: str) -> None:
    database = Database()
    database.error = DataError("no decision within 500 ms")
    decide = controller(url, database, CapturingLogger()).decide
    database.error = None
    assert decide(CALL, None).code == "routed"


def test_a_start_with_tables_of_another_version_is_refused(url: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(WrongVersion, match="of schema version 99 or newer, and this one has"):
        controller(url, Database(), CapturingLogger())


@pytest.mark.parametrize(("log_numbers", "shown"), [("short", "+493023125xxx"), ("full", "+493023125001")])
def test_settings_reach_the_controller(url: str, log_numbers: str, shown: str) -> None:
    made = controller(url, Database(), CapturingLogger(), log_numbers=log_numbers, on_failure="hangup", country="AT")
    assert (made.shown("+493023125001"), made.hang_up_on_failure, made.country) == (shown, True, "AT")
    assert not controller(url, Database(), CapturingLogger(), on_failure="fallback").hang_up_on_failure


# --- deadlines --------------------------------------------------------------------------------------------


@pytest.fixture
def pool() -> ThreadPool:
    return ThreadPool(2)


def test_a_read_in_a_thread_gives_its_result(pool: ThreadPool) -> None:
    routing = Routing("DE")
    assert within_deadline(pool, PATIENCE_S, lambda _: routing)(CALL) is routing


@pytest.mark.parametrize("error", [DataError("locked"), ValueError("a defect")])
def test_a_read_in_a_thread_raises_its_error(pool: ThreadPool, error: Exception) -> None:
    def fail(_: Call) -> Routing:
        raise error

    with pytest.raises(type(error), match=str(error)):
        within_deadline(pool, PATIENCE_S, fail)(CALL)


def test_a_read_that_hangs_is_given_up_in_time_and_others_go_on(pool: ThreadPool) -> None:
    def hang(_: Call) -> Routing:
        time.sleep(0.5)
        return Routing("DE")

    began = time.monotonic()
    hanging = gevent.spawn(within_deadline(pool, 0.1, hang), CALL)
    assert within_deadline(pool, PATIENCE_S, lambda _: Routing("AT"))(CALL).country == "AT"
    with pytest.raises(DataError, match="no decision within 100 ms"):
        hanging.get()
    assert time.monotonic() - began < 0.45


# --- the server -------------------------------------------------------------------------------------------


def test_a_server_is_made_from_settings(url: str) -> None:
    with listen(("127.0.0.1", 0)) as listener:
        server = serve.make_server(settings(url, max_calls="7", handshake_s="2"), CapturingLogger(), [listener])
        assert (server.max_calls, server.timeout_s) == (7, 2.0)
        assert server.address.startswith("127.0.0.1:")


def test_a_call_above_the_limit_is_ended_by_greenswitchs_verb(url: str) -> None:
    given = settings(url, on_failure="hangup", handshake_s="0.3")
    server = serve.make_server(given, CapturingLogger(), [listen(("127.0.0.1", 0))])
    server.max_calls = 0
    running = gevent.spawn(server.serve, 0)
    gevent.sleep(0)
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as sock:
        gevent.sleep(0.05)
        assert sock.recv(1000).decode().endswith(f"call-command: hangup\nhangup-cause: {FAILURE_CAUSE}\n\n")
    server.stop()
    running.join(PATIENCE_S)
