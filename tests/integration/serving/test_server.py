"""The shipped server against simulated channels that behave, that break, and that attack."""

from __future__ import annotations

import secrets
import socket
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsroute.data import database
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import MAX_BLOCK
from fsroute.simulator.simulated_channel import parse, reply
from tests.support.server import TIMEOUT_S, Server, applications, call, carrier_channel, converse, serving
from tests.support.tables import demo_database


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return demo_database(tmp_path_factory.mktemp("db") / "demo.db")


@pytest.fixture(scope="module")
def server(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ("--handshake-s", "0.5", "--max-calls", "20")
    with serving(url, tmp_path_factory.mktemp("server"), *flags) as running:
        yield running


REJECTED = [("connect", ""), ("hangup", "CALL_REJECTED")]
UNALLOCATED = [("connect", ""), ("hangup", "UNALLOCATED_NUMBER")]


def serves(server: Server) -> None:
    """The server still answers calls."""
    told = call(server, "+492214710500", {"Caller-Privacy-Hide-Number": "true"}).commands
    assert applications(told) == REJECTED


# --- calls ------------------------------------------------------------------------------------------------


def test_a_call_that_nobody_takes_goes_through_its_rules_to_its_end(server: Server) -> None:
    channel = call(server, "02214710300")
    told = applications(channel.commands)
    assert [name for name, _ in told] == [
        "connect", "connect", "ring_ready", "bridge", "connect", "connect", "ring_ready", "bridge", "connect", "hangup",
    ]  # fmt: skip
    assert told[-1] == ("hangup", "USER_BUSY")
    codes = [channel.variables[f"fsroute_{name}"] for name in ("step", "code", "code_2", "code_3", "last_code")]
    assert codes == ["done", "routed", "routed", "rules_exhausted", "rules_exhausted"]


def test_what_follows_goes_out_in_one_write(server: Server) -> None:
    writes = []
    with server.connect() as sock:
        channel = carrier_channel("02214710100")
        for _ in range(3):
            writes.append(sock.recv(100_000))
            for command in parse(writes[-1])[0]:
                if command.application != "bridge":
                    sock.sendall(channel.reply_to(command))
    assert [len(parse(write)[0]) for write in writes] == [1, 3, 4]
    assert all(write.endswith(frames.CONNECT) for write in writes)


def test_a_plan_of_which_no_phone_is_registered_moves_on_without_ringing(server: Server) -> None:
    channel = carrier_channel("+492214710300")
    channel.profile["Unique-ID"] = "unregistered"
    channel.contact = lambda profile, address: "error/user_not_registered"
    with server.connect() as sock:
        told = applications(converse(sock, channel).commands)
    assert told == [("connect", ""), ("connect", ""), ("hangup", "SUBSCRIBER_ABSENT")]
    reasons = [line["reasons"] for line in server.wait_for("call routed", 2, call="unregistered")]
    assert reasons[0][1:] == [f"not_registered: endpoint {name}" for name in ("1001", "1003", "1004")]
    assert reasons[1] == ["rules_exhausted: +492214710300"]


def test_a_follow_up_without_phones_leaves_the_caller_the_outcome_before_it(server: Server) -> None:
    channel = carrier_channel("+492214710300")  # busy, and the busy rule is for the office
    channel.contact = lambda profile, address: (
        "error/user_not_registered" if address.startswith("1004") else f"sofia/{profile}/sip:{address}"
    )
    with server.connect() as sock:
        assert applications(converse(sock, channel).commands)[-1] == ("hangup", "USER_BUSY")


def test_a_call_is_picked_up_where_another_process_left_it(server: Server) -> None:
    changes = {
        "fsroute_step": "+492214710300/1",
        "originate_disposition": "ALLOTTED_TIMEOUT",
        "originate_causes": "ARRAY::a;ALLOTTED_TIMEOUT|:b;USER_BUSY",
    }
    told = applications(call(server, "+492214710300", None, **changes).commands)
    assert "sofia/gateway/carrier/+491713920043" in told[2][1]


def test_a_call_that_was_answered_is_not_routed_again(server: Server) -> None:
    changes = {"fsroute_step": "+492214710300/1", "originate_disposition": "SUCCESS"}
    assert applications(call(server, "+492214710300", {"Answer-State": "answered"}, **changes).commands) == [
        ("connect", ""),
        ("sleep", "1000"),
        ("connect", ""),
        ("hangup", "NORMAL_CLEARING"),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"Caller-Destination-Number": ""},
        {"Caller-Destination-Number": "\udcff\udcfe"},
        {"Caller-Destination-Number": "'; DROP TABLE numbers; --"},
        {"Caller-Destination-Number": "${system(touch x)}"},
        {"Caller-Destination-Number": "+49221\n471"},
        {"Caller-Destination-Number": "1" * 5000},
    ],
    ids=["missing", "no UTF-8", "SQL", "an expansion", "a line end", "long"],
)
def test_a_destination_that_is_no_number_is_unallocated(server: Server, headers: dict[str, str]) -> None:
    assert applications(call(server, "", headers).commands) == UNALLOCATED


PHONE = {"fsroute_direction": "outbound", "fsroute_account": "acme"}
NAMES: dict[str, tuple[dict[str, str], str, str]] = {
    "a trunk": ({"fsroute_trunk": "carrier"}, "info", ""),
    "no trunk of ours": ({"fsroute_trunk": "gone"}, "warning", "trunk_unknown: gone"),
    "a user": (PHONE | {"fsroute_user": "office"}, "info", ""),
    "no user of the account": (PHONE | {"fsroute_user": "gone"}, "warning", "user_unknown: gone"),
    "no account of ours": (PHONE | {"fsroute_account": "gone"}, "warning", "account_unknown: gone"),
}


@pytest.mark.parametrize(("variables", "level", "reason"), NAMES.values(), ids=NAMES.keys())
def test_a_name_that_the_tables_do_not_have_is_a_warning(
    server: Server, variables: dict[str, str], level: str, reason: str
) -> None:
    name = secrets.token_hex()
    call(server, "02214710200", {"Unique-ID": name}, **variables)
    told = server.wait_for("call routed", call=name)[0]
    assert told["level"] == level
    assert [text for text in told["reasons"] if "_unknown:" in text] == ([reason] if reason else [])


def test_what_a_caller_writes_does_not_reach_a_command(server: Server) -> None:
    hostile = "'\",|[]{}<>\\ ${system(touch x)} %0Avariable_x: y :_: \n\r"
    headers = {"Caller-Caller-ID-Name": hostile, "Caller-Caller-ID-Number": hostile}
    channel = call(server, "02214710100", headers, sip_from_display=hostile, sip_from_user=hostile)
    cleaned = [argument for name, argument in applications(channel.commands) if name == "set_profile_var"]
    shown = "system(touch x) variable_x y _"
    # Once for the phones, and once more for the mailbox that nobody's answer leads to.
    assert cleaned == [f"caller_id_name={shown}", "caller_id_number=systemtouchxvariable_xy_"] * 2
    calm = call(server, "02214710100")
    assert [pair for pair in applications(channel.commands) if pair[0] == "bridge"] == [
        pair for pair in applications(calm.commands) if pair[0] == "bridge"
    ]


def test_only_the_dialplan_says_where_a_call_comes_from(server: Server) -> None:
    name = "Eve%0Avariable_fsroute_direction: outbound%0Avariable_fsroute_account: acme"
    headers = {"Caller-Caller-ID-Name": name, "variable_sip_h_X-fsroute_account": "acme"}
    assert applications(call(server, "12", headers).commands) == UNALLOCATED


# --- simulated channels that break ----------------------------------------------------------------------------------


def _silent(sock: socket.socket) -> None:
    assert sock.recv(100) == frames.CONNECT
    sock.settimeout(3)
    assert sock.recv(100) == b""  # given up after handshake_s, and handed back by closing


def _probe(sock: socket.socket) -> None:
    sock.recv(100)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _sends(data: bytes) -> Callable[[socket.socket], None]:
    def behave(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.settimeout(3)
        while sock.recv(1000):
            pass

    return behave


def _cut(sock: socket.socket) -> None:
    sock.recv(100)
    sock.sendall(carrier_channel("02214710100").snapshot()[:200])


def _cut_in_a_body(sock: socket.socket) -> None:
    sock.recv(100)
    sock.sendall(b"Content-Type: text/event-plain\nContent-Length: 5000\n\nEvent-Name: X\n")


BREAKS: dict[str, tuple[Callable[[socket.socket], None], str, str]] = {
    "says nothing": (_silent, "not a call", "no reply from FreeSWITCH for 0.5 s"),
    "a probe that disconnects": (_probe, "connection ended before a call", "closed"),
    "a reset": (_reset, "connection ended before a call", "reset"),
    "closes inside a frame": (_cut, "connection ended before a call", "closed in the middle of a frame"),
    "closes inside a body": (_cut_in_a_body, "connection ended before a call", "closed in the middle of a frame"),
    "HTTP": (_sends(b"GET / HTTP/1.1\nHost: x\n\n"), "not a call", "frame without Content-Type"),
    "blank lines": (_sends(b"\n\n\n\n"), "not a call", "frame without Content-Type"),
    "noise": (_sends(b"\x16\x03\x01\x02\x00\x01" * 50 + b"\n\n"), "not a call", "frame without Content-Type"),
    "an oversized header": (_sends(b"X: " + b"a" * MAX_BLOCK), "not a call", f"header of more than {MAX_BLOCK} bytes"),
    "a length that is none": (
        _sends(b"Content-Type: command/reply\nContent-Length: -5\n\n"),
        "not a call",
        "Content-Length '-5': not a number up to 262144",
    ),
    "an error": (_sends(reply("-ERR no")), "not a call", "FreeSWITCH refused a command: '-ERR no'"),
    "an event": (_sends(b"Content-Type: text/event-plain\n\n"), "not a call", "unexpected frame 'text/event-plain'"),
    "async mode": (
        _sends(carrier_channel("02214710100").snapshot().replace(b"Socket-Mode: static", b"Socket-Mode: async")),
        "not a call",
        "the dialplan's socket application has the option async, but fsroute needs sync mode: remove async",
    ),
}


@pytest.mark.parametrize(("behave", "event", "reason"), BREAKS.values(), ids=BREAKS.keys())
def test_a_far_end_that_breaks_gets_a_log_line_and_the_server_goes_on(
    server: Server, behave: Callable[[socket.socket], None], event: str, reason: str
) -> None:
    before = server.settled(event)
    with server.connect() as sock:
        behave(sock)
    line = server.wait_for(event, before + 1)[before]
    assert reason in line["reason"]
    serves(server)


def test_the_far_end_may_go_while_it_rings(server: Server) -> None:
    ended = server.settled("call ended")
    with server.connect() as sock:
        converse(sock, carrier_channel("02214710100"), until="bridge")
    server.wait_for("call ended", ended + 1)
    serves(server)


def test_abrupt_ends_leave_nothing_behind(server: Server) -> None:
    serves(server)
    time.sleep(0.1)
    before = server.descriptors
    for i in range(100):
        with server.connect() as sock:
            if i % 2:
                converse(sock, carrier_channel("02214710100"), until="bridge")
            _reset(sock)
    deadline = time.monotonic() + 3
    while server.descriptors > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.descriptors <= before
    serves(server)


# --- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_failure", "told"),
    [("fallback", []), ("hangup", [("connect", ""), ("hangup", "NORMAL_TEMPORARY_FAILURE")])],
)
def test_a_call_above_the_limit_is_answered(url: str, tmp_path: Path, on_failure: str, told: list[tuple[str, str]]) -> None:
    with serving(url, tmp_path, "--max-calls", "1", "--on-failure", on_failure) as server:
        with server.connect() as first:
            converse(first, carrier_channel("02214710100"), until="bridge")
            assert applications(call(server, "02214710100").commands) == told
        server.wait_for("call ended")
        serves(server)


def test_who_is_not_in_the_allowed_networks_is_not_served(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, "--allow", "10.0.0.0/8") as server:
        with server.connect() as sock:
            assert sock.recv(100) == b""
        assert server.wait_for("connection refused")[0]["reason"] == "not in the allowed networks"


@pytest.mark.parametrize(
    ("on_failure", "told"),
    [
        ("fallback", [("connect", "")]),
        ("hangup", [("connect", ""), ("connect", ""), ("hangup", "NORMAL_TEMPORARY_FAILURE")]),
    ],
)
def test_a_database_that_hangs_does_not_hang_the_call(
    postgresql_demo_url: str, tmp_path: Path, on_failure: str, told: list[tuple[str, str]]
) -> None:
    """PostgreSQL's: readers of SQLite wait for nobody."""
    with serving(postgresql_demo_url, tmp_path, "--on-failure", on_failure, "--decision-ms", "300") as server:
        locker = database.open_database(postgresql_demo_url)
        with locker.connection_context(), locker.atomic():
            locker.execute_sql("LOCK TABLE numbers")
            began = time.monotonic()
            assert applications(call(server, "02214710100").commands) == told
            assert time.monotonic() - began < 1
            assert server.wait_for("call not routed")[0]["reason"] == "no decision within 300 ms"
        serves(server)


def test_a_database_that_lost_its_tables_hands_calls_back(tmp_path: Path) -> None:
    url = demo_database(tmp_path / "demo.db")
    with serving(url, tmp_path) as server:
        with sqlite3.connect(tmp_path / "demo.db") as breaker:
            breaker.execute("DROP TABLE numbers")
        assert applications(call(server, "02214710100").commands) == [("connect", "")]
        assert "has no fsroute tables" in server.wait_for("call not routed")[0]["reason"]


def test_while_the_database_is_away_calls_like_one_before_are_routed_from_memory(tmp_path: Path) -> None:
    url = demo_database(tmp_path / "demo.db")
    with serving(url, tmp_path) as server:
        before = applications(call(server, "02214710300").commands)
        with sqlite3.connect(tmp_path / "demo.db") as breaker:
            breaker.execute("ALTER TABLE numbers RENAME TO gone")
        assert applications(call(server, "02214710300").commands) == before
        line = server.wait_for("routed from memory")[0]
        assert (line["level"], 0 <= line["age_s"] < TIMEOUT_S) == ("warning", True)
        assert "has no fsroute tables" in line["reason"]
        assert applications(call(server, "02214710400").commands) == [("connect", "")]
        with sqlite3.connect(tmp_path / "demo.db") as mender:
            mender.execute("ALTER TABLE gone RENAME TO numbers")
        server.wait_for("database available again")
        told = server.settled("routed from memory")
        assert applications(call(server, "02214710300").commands) == before
        assert server.settled("routed from memory") == told


@pytest.mark.parametrize(
    ("account", "dialled"),
    [("nobody", "112"), ("acme", "112"), ("acme", "140"), ("acme", "+43140")],
    ids=["of an unknown account", "while the database is away", "of a country that is not known", "behind its code"],
)
def test_an_emergency_call_that_we_cannot_send_out_is_left_to_the_dialplan(
    tmp_path: Path, account: str, dialled: str
) -> None:
    url = demo_database(tmp_path / "demo.db")
    with serving(url, tmp_path, "--on-failure", "hangup") as server:
        if account == "acme":
            with sqlite3.connect(tmp_path / "demo.db") as breaker:
                breaker.execute("DROP TABLE numbers")
        channel = call(server, dialled, fsroute_direction="outbound", fsroute_account=account)
        assert (applications(channel.commands), channel.hangup_cause) == ([("connect", "")], None)
        assert server.wait_for("call not routed")
        if account == "acme":
            assert (
                call(server, "115", fsroute_direction="outbound", fsroute_account=account).hangup_cause is None
            )  # in FR, IT
            assert call(server, "13", fsroute_direction="outbound", fsroute_account=account).hangup_cause


# --- the end ----------------------------------------------------------------------------------------------


def test_sigterm_takes_no_new_calls_and_lets_running_ones_finish(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path) as server:
        with server.connect() as sock:
            channel = converse(sock, carrier_channel("02214710300"), until="bridge")
            server.terminate()
            server.wait_for("draining")
            with pytest.raises(OSError, match="refused"):
                server.connect().close()
            channel.variables |= {"originate_disposition": "USER_BUSY", "originate_causes": "leg;USER_BUSY"}
            sock.sendall(reply("+OK") + channel.snapshot())
            channel = converse(sock, channel)
        assert channel.hangup_cause == "USER_BUSY"
        assert server.process.wait(5) == 0
        assert server.lines()[-1]["event"] == "stopped"


def test_sigterm_waits_no_longer_than_its_limit(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path, "--drain-s", "0.3") as server, server.connect() as sock:
        converse(sock, carrier_channel("02214710300"), until="bridge")
        server.terminate()
        began = time.monotonic()
        assert server.process.wait(5) == 0
        assert time.monotonic() - began < 2
        assert server.lines("calls left to FreeSWITCH")[0]["calls"] == 1
