"""The command line as it is shipped: each test runs it as a process of its own, with nothing set but what it sets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fsroute.reports import explanation
from fsroute.simulator import dialstring_reader
from tests.support.dial_strings import DEMO_ONE_AFTER_ANOTHER
from tests.support.tables import DEMO

MONDAY_AT_NINE, MONDAY_AT_FIVE = "2026-11-23T09:00", "2026-11-23T17:00"
MOBILE = "external +491713920042"
COMMANDS = ["init", "load", "serve", "explain", "call", "verify", "emergency-numbers", "upgrade", "backup", "roles"]


def environment(**given: str) -> dict[str, str]:
    """What a fresh login has, and nothing of ours or PostgreSQL's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FSROUTE_", "PG"))}
    return {**kept, **given}


@dataclass(frozen=True)
class Fsroute:
    """Runs fsroute in a directory."""

    directory: Path

    def run(self, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fsroute", *arguments],
            cwd=self.directory, env=environment(**given), capture_output=True, encoding="utf-8", errors="replace",
            check=False, timeout=60,
        )  # fmt: skip

    def output(self, *arguments: str, **given: str) -> str:
        """What the command prints. It must succeed."""
        ended = self.run(*arguments, **given)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    def refused(self, *arguments: str, **given: str) -> str:
        """The one line of the command's error. The command must fail."""
        ended = self.run(*arguments, **given)
        lines = ended.stderr.splitlines()
        assert (ended.returncode, ended.stdout, len(lines), ended.stderr[:9]) == (2, "", 1, "fsroute: "), ended.stderr
        return lines[0].removeprefix("fsroute: ")

    def explained(self, url: str, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output("explain", "--db", url, "--json", *arguments))
        return found

    @contextmanager
    def serving(self, url: str, *arguments: str) -> Iterator[Serving]:
        """A server on a port of its own, which must not be running any more at the end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "fsroute", "serve", "--db", url, "--listen", "127.0.0.1:0", *arguments],
            cwd=self.directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            first = json.loads(process.stderr.readline())
            assert (first["event"], first["db"]) == ("serving", url)
            yield Serving(process, int(first["listen"].rpartition(":")[2]))
        finally:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Serving:
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, list[dict[str, Any]], float]:
        """Its exit status, the rest of its log, and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        out, log = self.process.communicate(timeout=30)
        assert out == ""
        return self.process.returncode, [json.loads(line) for line in log.splitlines()], time.monotonic() - began


@pytest.fixture
def fsroute(tmp_path: Path) -> Fsroute:
    return Fsroute(tmp_path)


# --- init and load ----------------------------------------------------------------------------------------


def test_from_nothing_to_a_routed_call(fsroute: Fsroute, database_url: str) -> None:
    assert fsroute.output("init", "--db", database_url) == f"made the tables in {database_url}\n"
    assert fsroute.output("load", "--db", database_url, str(DEMO)) == f"loaded 29 statements from {DEMO}\n"
    found = fsroute.explained(database_url, "--to", "02214710100")
    assert (found["number"], found["code"]) == ("+492214710100", "routed")


def test_tables_are_made_once(fsroute: Fsroute, tables_url: str) -> None:
    assert fsroute.refused("init", "--db", tables_url) == f"database {tables_url}: is not empty, nothing was changed"


def test_a_load_that_fails_changes_nothing(fsroute: Fsroute, changeable_demo_url: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.sql", tmp_path / "bad.sql"
    good.write_text("UPDATE numbers SET enabled = FALSE;\n")
    bad.write_text("-- a comment\n\nINSERT INTO numbers (number, account) VALUES ('0221', 'acme');\n")
    message = fsroute.refused("load", "--db", changeable_demo_url, str(good), str(bad))
    assert (message.startswith(f"{bad}:3: "), "number_is_e164" in message) == (True, True)
    assert fsroute.explained(changeable_demo_url, "--to", "02214710100")["code"] == "routed"
    assert fsroute.output("load", "--db", changeable_demo_url, str(good)) == f"loaded 1 statements from {good}\n"
    assert fsroute.explained(changeable_demo_url, "--to", "02214710100")["code"] == "number_disabled"


def test_each_row_that_cannot_work_has_its_line(fsroute: Fsroute, demo_url: str, tmp_path: Path) -> None:
    (tmp_path / "bad.sql").write_text("UPDATE accounts SET country = 'XX', timezone = 'Mars' WHERE name = 'acme';")
    ended = fsroute.run("load", "--db", demo_url, "bad.sql")
    assert (ended.returncode, ended.stdout, ended.stderr.splitlines()) == (
        2,
        "",
        [
            "fsroute: accounts: acme: country XX has no numbering plan",
            "fsroute: accounts: acme: Mars is no time zone such as Europe/Berlin",
        ],
    )


def test_without_a_setting_the_database_is_a_file_here(fsroute: Fsroute, tmp_path: Path) -> None:
    assert fsroute.output("init") == "made the tables in sqlite:///fsroute.db\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fsroute.db"]


def test_settings_come_from_the_environment_and_a_file(fsroute: Fsroute, tmp_path: Path) -> None:
    (tmp_path / "fsroute.toml").write_text("db = 'sqlite:///file.db'\n")
    assert fsroute.output("init", "--config", "fsroute.toml") == "made the tables in sqlite:///file.db\n"
    variables = {"FSROUTE_CONFIG": "fsroute.toml", "FSROUTE_DB": "sqlite:///variable.db"}
    assert fsroute.output("init", **variables) == "made the tables in sqlite:///variable.db\n"
    assert fsroute.output("init", "--db", "sqlite:///flag.db", **variables) == "made the tables in sqlite:///flag.db\n"


# --- explain ----------------------------------------------------------------------------------------------


def explained_leg(target: str, dial: str, ring_s: int, presented: str, **headers: str) -> dict[str, Any]:
    """A leg to a phone; with headers one to the carrier."""
    network, reason = ("+492214710100", "own_number") if headers else (None, "caller_received")
    return {
        "target": target,
        "dial": dial,
        "start_s": 0,
        "ring_s": ring_s,
        "confirm": False,
        "caller_id": {"presented": presented, "network": network, "reason": reason},
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
    }


def row(stage: int, target: str, from_s: int, to_s: int) -> dict[str, Any]:
    return {"stage": stage, "target": target, "from_s": from_s, "to_s": to_s, "confirm": False}


def ended(cause: str) -> dict[str, Any]:
    return {
        "code": "rules_exhausted",
        "rule": None,
        "stages": [],
        "bridge": "",
        "final": {"kind": "hangup", "cause": cause},
        "follow_up": {},
    }


def test_a_decision_as_json(fsroute: Fsroute, demo_url: str) -> None:
    found = fsroute.explained(demo_url, "--to", "0221 4710200", "--from", "03023125001", "--at", MONDAY_AT_NINE)
    caller, number = "+493023125001", "+492214710200"
    assert dialstring_reader.parse(found.pop("bridge")) == DEMO_ONE_AFTER_ANOTHER
    assert found == {
        "to": "0221 4710200",
        "from": "03023125001",
        "anonymous": False,
        "direction": "inbound",
        "transferred": False,
        "at": "2026-11-23T09:00:00+01:00",
        "number": number,
        "account": "acme",
        "code": "routed",
        "rule": {"number": number, "position": 1, "type": "general"},
        "stages": [
            [
                explained_leg("endpoint 1001", "user/1001@acme.example", 15, caller),
                explained_leg("endpoint 1002", "user/1002@acme.example", 15, caller),
            ],
            [explained_leg("endpoint 1003", "user/1003@acme.example", 10, caller)],
            [
                explained_leg(
                    "external +491713920042",
                    "sofia/gateway/carrier/+491713920042",
                    25,
                    number,
                    From=f"<sip:{number}@carrier.example>",
                    P_Asserted_Identity="<sip:+492214710100@carrier.example>",
                    Privacy="none",
                    Diversion=f"<sip:{number}@carrier.example>;reason=unconditional;counter=1",
                )
            ],
        ],
        "final": None,
        "caller_id": {"presented": caller, "network": None, "reason": "caller_received"},
        "attestation": None,
        "timeline": [
            row(1, "endpoint 1001", 0, 15),
            row(1, "endpoint 1002", 0, 15),
            row(2, "endpoint 1003", 15, 25),
            row(3, "external +491713920042", 25, 50),
        ],
        "follow_up": {
            "busy": ended("USER_BUSY"),
            "no_answer": ended("NO_ANSWER"),
            "unreachable": ended("SUBSCRIBER_ABSENT"),
        },
        "reasons": [
            {
                "code": "caller_read",
                "subject": "caller",
                "text": "03023125001 is +493023125001: the call came through no trunk that is known",
            },
            {"code": "rule_matched", "subject": f"rule {number}/1 (general)", "text": "applies"},
        ],
    }


def test_a_transferred_call_is_explained_for_who_transfers_it(fsroute: Fsroute, demo_url: str) -> None:
    who = ("--account", "acme", "--user", "office")
    found = fsroute.explained(demo_url, "--transferred", *who, "--to", "12", "--from", "03023125001")
    assert (found["code"], found["transferred"]) == ("extension", True)
    follow_up = {outcome: step["code"] for outcome, step in found["follow_up"].items()}
    assert follow_up == dict.fromkeys(("busy", "no_answer", "unreachable"), "transfer_recall")


SALES = [["endpoint 1001 25", "endpoint 1003 25", "endpoint 1004 25"]]
RECEPTION = [["endpoint 1001 25", "endpoint 1002 25"]]
REJECTED = {"kind": "hangup", "cause": "CALL_REJECTED"}
CLOSED = {"kind": "announcement", "file": "fsroute/closed.wav"}


@pytest.mark.parametrize(
    ("arguments", "rule", "stages", "final"),
    [
        (
            ["--to", "+492214710100"],
            1,
            [["endpoint 1001 20", "endpoint 1002 20", "endpoint 1003 20", "external +491713920042 20 confirm"]],
            None,
        ),
        (["--to", "+492214710300"], 1, SALES, None),
        (["--to", "+492214710400", "--at", MONDAY_AT_NINE], 1, SALES, None),
        (["--to", "+492214710400", "--at", MONDAY_AT_FIVE], 9, [], CLOSED),
        (["--to", "+492214710500", "--from", "anonymous"], 1, [], REJECTED),
        (["--to", "+492214710500", "--from", "+266696687"], 1, [], REJECTED),
        (["--to", "+492214710500", "--from", "Unbekannt"], 1, [], REJECTED),
        (["--to", "+492214710500", "--from", "03023125001"], 2, RECEPTION, None),
    ],
)
def test_the_demo_numbers(
    fsroute: Fsroute,
    demo_url: str,
    arguments: list[str],
    rule: int,
    stages: list[list[str]],
    final: dict[str, str] | None,
) -> None:
    found = fsroute.explained(demo_url, *arguments)
    assert (found["rule"]["position"], legs(found), found["final"]) == (rule, stages, final)


@pytest.mark.parametrize(
    ("arguments", "rule", "stages", "final"),
    [
        (["--to", "+492214710400", "--at", "2026-11-27T16:59:59"], 1, SALES, None),
        (["--to", "+492214710400", "--at", "2026-11-23T08:59:59"], 9, [], CLOSED),
        (["--to", "+492214710400", "--at", "2026-11-28T12:00"], 9, [], CLOSED),
        (["--to", "+492214710400", "--at", "2026-11-23T08:00Z"], 1, SALES, None),
        (["--to", "+492214710400", "--at", "2026-07-20T08:00+01:00"], 1, SALES, None),
        (["--to", "+492214710500"], 2, RECEPTION, None),
        (["--to", "+492214710500", "--from", "03023125001", "--anonymous"], 1, [], REJECTED),
    ],
)
def test_times_and_callers(
    fsroute: Fsroute,
    demo_sqlite_url: str,
    arguments: list[str],
    rule: int,
    stages: list[list[str]],
    final: dict[str, str] | None,
) -> None:
    found = fsroute.explained(demo_sqlite_url, *arguments)
    assert (found["rule"]["position"], legs(found), found["final"]) == (rule, stages, final)


def legs(step: dict[str, Any]) -> list[list[str]]:
    return [
        [f"{leg['target']} {leg['ring_s']}{' confirm' if leg['confirm'] else ''}" for leg in stage]
        for stage in step["stages"]
    ]


def test_what_follows_when_nobody_takes_it(fsroute: Fsroute, demo_url: str) -> None:
    found = fsroute.explained(demo_url, "--to", "+492214710300")["follow_up"]
    assert {outcome: (legs(step), step["final"]) for outcome, step in found.items()} == {
        "busy": ([["endpoint 1004 20"]], None),
        "no_answer": ([["external +491713920043 20"]], None),
        "unreachable": ([], {"kind": "hangup", "cause": "SUBSCRIBER_ABSENT"}),
    }
    found = fsroute.explained(demo_url, "--to", "+492214710100")["follow_up"]
    mailbox = {"kind": "voicemail", "mailbox": "1001@acme.example"}
    assert {outcome: (step["rule"]["position"], step["final"]) for outcome, step in found.items()} == dict.fromkeys(
        ("busy", "no_answer", "unreachable"), (9, mailbox)
    )


@pytest.mark.parametrize(
    ("arguments", "code", "stages", "final"),
    [
        (["--to", "11"], "extension", RECEPTION, None),
        (["--to", "0221 4710500"], "routed", RECEPTION, None),
        (["--to", "+493023125001"], "trunk", [["external +493023125001 120"]], None),
        (["--to", "112"], "emergency", [["external 112 120"]], None),
        (["--to", "nobody"], "not_a_number", [], {"kind": "hangup", "cause": "INVALID_NUMBER_FORMAT"}),
    ],
)
def test_outbound_calls(
    fsroute: Fsroute,
    demo_url: str,
    arguments: list[str],
    code: str,
    stages: list[list[str]],
    final: dict[str, str] | None,
) -> None:
    found = fsroute.explained(demo_url, "--direction", "outbound", "--account", "acme", "--user", "office", *arguments)
    assert (found["code"], legs(found), found["final"]) == (code, stages, final)


LINE = "+492214710100"
ELSEWHERE = "+493023125001"


@pytest.mark.parametrize(
    ("account", "user", "arguments", "code", "caller_id"),
    [
        ("acme", "reception", [], "trunk", ("+498999998123", LINE, "verified_number")),
        ("acme", "workshop", [], "trunk", (LINE, LINE, "not_verified")),
        ("acme", "office", [], "trunk", ("+492214710113", LINE, "own_number")),
        ("acme", "office", ["--anonymous"], "trunk", (None, LINE, "privacy_requested")),
        ("acme", "office", ["--presented", "+493023125349"], "trunk", ("+493023125349", LINE, "verified_block")),
        ("acme", "office", ["--presented", "+493023125350"], "trunk", (LINE, LINE, "not_verified")),
        ("acme", "office", ["--presented", "+493023125020"], "trunk", (LINE, LINE, "verified_by_another_account")),
        ("acme", "office", ["--presented", "+49110"], "trunk", (LINE, LINE, "class_never_presented")),
        ("acme", "office", ["--presented", "0049"], "trunk", (LINE, LINE, "not_a_number")),
        ("acme", "office", ["--presented", "'; DROP TABLE numbers; --"], "trunk", (LINE, LINE, "not_a_number")),
        ("probe", "tester", [], "trial_account", (None, None, "trial_account")),
        ("probe", "tester", ["--presented", "0049"], "not_a_number", (None, None, "not_a_number")),
        ("probe", "tester", ["--presented", "+493023125010"], "trunk", ("+493023125010", "+493023125010", "network_number")),
    ],
)
def test_what_the_demo_s_users_show(
    fsroute: Fsroute,
    demo_sqlite_url: str,
    account: str,
    user: str,
    arguments: list[str],
    code: str,
    caller_id: tuple[str | None, str | None, str],
) -> None:
    who = ["--direction", "outbound", "--account", account, "--user", user]
    found = fsroute.explained(demo_sqlite_url, *who, "--to", ELSEWHERE, "--at", MONDAY_AT_NINE, *arguments)
    assert (found["code"], tuple(found["caller_id"].values())) == (code, caller_id)
    headers = [leg["headers"] for stage in found["stages"] for leg in stage]
    shown, line, _ = caller_id
    from_ = f"<sip:{shown}@carrier.example>" if shown else '"Anonymous" <sip:anonymous@anonymous.invalid>'
    asserted = {"P-Asserted-Identity": f"<sip:{line}@carrier.example>", "Privacy": "none" if shown else "id"}
    assert headers == ([{"From": from_, **asserted}] if code == "trunk" else [])
    assert found["final"] == (None if code == "trunk" else REJECTED)


def test_an_unknown_number(fsroute: Fsroute, demo_url: str) -> None:
    found = fsroute.explained(demo_url, "--to", "+492214710999", "--trunk", "carrier")
    assert (found["code"], found["rule"], found["stages"], found["final"]) == (
        "number_unknown",
        None,
        [],
        {"kind": "hangup", "cause": "UNALLOCATED_NUMBER"},
    )


def test_a_decision_for_people(fsroute: Fsroute, demo_url: str) -> None:
    together = ", ".join(f"{name} 20 s" for name in ("endpoint 1001", "endpoint 1002", "endpoint 1003", MOBILE))
    bar = "━" * explanation._BAR_WIDTH  # noqa: SLF001 - as wide as it is made
    arguments = ["explain", "--db", demo_url, "--to", "+492214710100", "--from", "03023125001", "--at", MONDAY_AT_NINE]
    printed = fsroute.output(*arguments, COLUMNS="120").splitlines()
    assert [" ".join(line.split()) for line in printed[:13]] == [
        "inbound call to +492214710100 from 03023125001, 2026-11-23T09:00:00+01:00",
        f"number +492214710100, account acme: rule 1 (general): {together} (routed)",
        "caller ID: +493023125001, network number - (caller_received)",
        "stage rings from to",
        f"1 endpoint 1001 0 s 20 s {bar}",
        f"1 endpoint 1002 0 s 20 s {bar}",
        f"1 endpoint 1003 0 s 20 s {bar}",
        f"1 external +491713920042, key press 0 s 20 s {bar}",
        f"{MOBILE} From: <sip:+492214710100@carrier.example>",
        f"{MOBILE} P-Asserted-Identity: <sip:+492214710100@carrier.example>",
        f"{MOBILE} Privacy: none",
        f"{MOBILE} Diversion: <sip:+492214710100@carrier.example>;reason=unconditional;counter=1",
        "if nobody takes it: rule 9 (base): voicemail 1001@acme.example",
    ]
    assert printed[13:16] == [
        "why",
        "  caller_read: caller 03023125001 is +493023125001: the call came through no trunk that is known",
        "  rule_matched: rule +492214710100/1 (general) applies",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_another_encoding(fsroute: Fsroute, demo_sqlite_url: str, encoding: str) -> None:
    printed = fsroute.output(
        "explain", "--db", demo_sqlite_url, "--to", "0221", "--from", "\u00fc", PYTHONIOENCODING=encoding
    )
    assert "number_unknown" in printed


# --- bad input: exit status 2 and one line ----------------------------------------------------------------


def test_a_database_without_tables(fsroute: Fsroute, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "empty.sql").write_text("")
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).touch()
    for command in (["load", "empty.sql"], ["explain", "--to", "1"]):
        message = fsroute.refused(*command, "--db", database_url)
        assert message.startswith(f"database {database_url}: has no fsroute tables (fsroute init makes them): ")


@pytest.mark.parametrize("command", [["load", "x.sql"], ["explain", "--to", "1"]])
def test_a_database_that_is_not_there(fsroute: Fsroute, command: list[str]) -> None:
    assert fsroute.refused(*command) == "database sqlite:///fsroute.db: no such file (fsroute init makes it)"


REFUSED = [
    (["init", "--db", "sqlite:////no/such/directory/x.db"], "no such directory as /no/such/directory"),
    (["init", "--db", "sqlite:///"], "database 'sqlite:///': must be sqlite:///PATH or postgresql://USER@HOST/NAME"),
    (["init", "--db", "mysql://joe:hunter2@host/x"], "database 'mysql://joe:***@host/x': must be sqlite:///PATH or"),
    (["init", "--db", "x.db"], "database 'x.db': must be sqlite:///PATH or postgresql://USER@HOST/NAME"),
    (["init", "--config", "no.toml"], "no.toml: No such file or directory"),
    (["init", "--nonsense"], "No such option '--nonsense'"),
    (["init", "too", "much"], "Got unexpected extra arguments (too much) (see PROGRAM init --help)"),
    (["nonsense"], "No such command 'nonsense' (see PROGRAM --help)"),
    (["--nonsense"], "No such option '--nonsense' (see PROGRAM --help)"),
    (["load"], "Missing argument 'FILES...' (see PROGRAM load --help)"),
    (["load", "--db", "DEMO", "no.sql"], "no.sql: No such file or directory"),
    (["load", "--db", "DEMO", "."], ".: Is a directory"),
    (["explain"], "Missing option '--to' (see PROGRAM explain --help)"),
    (
        ["explain", "--to", "12", "--transferred"],
        "--transferred needs --account, and --user if a user transfers the call (see PROGRAM explain --help)",
    ),
    (["explain", "--db", "DEMO", "--to", "1", "--at", "soon"], "--at 'soon': is no time such as 2026-11-23T09:30"),
    (["explain", "--db", "DEMO", "--to", "1", "--at", "2026-02-30"], "--at '2026-02-30': is no time such as"),
    (["explain", "--db", "DEMO", "--to", "1", "--at", "0001-01-01T00:00+14:00"], "must be from year 2 to 9998"),
    (["explain", "--db", "DEMO", "--to", "1", "--at", "9999-12-31T23:59-14:00"], "must be from year 2 to 9998"),
    (["explain", "--to", "1", "--direction", "up"], "'up' is not one of 'inbound', 'outbound'"),
    (["explain", "--db", "DEMO", "--to", "1", "--confirm-key", "x"], "confirm key: 'x'"),
    (["explain", "--db", "DEMO", "--to", "1", "--hop-limit", "0"], "hop_limit = 0: must be at least 1"),
    (["serve", "--listen", "8084"], "listen = '8084': must be ADDRESS:PORT"),
    (["serve", "--listen", "127.0.0.1:99999"], "listen = '127.0.0.1:99999': must be ADDRESS:PORT"),
    (["serve", "--db", "DEMO", "--listen", "192.0.2.1:8084"], "cannot listen on 192.0.2.1:8084: "),
    (["serve", "--db", "DEMO", "--listen", "no host:8084"], "cannot listen on no host:8084: "),
    (["serve", "--log-format", "xml"], "Invalid value for '--log-format': 'xml' is not one of"),
    (["serve", "--decision-ms", "soon"], "decision_ms = 'soon': must be a whole number"),
    (["call", "--to", "1", "--port", "0"], "Invalid value for '--port': 0 is not in the range 1<=x<=65535"),
    (["call", "--to", "1", "--port", "1"], "no fsroute at 127.0.0.1:1: Connection refused"),
    (["call", "--to", "1", "--host", "no host"], "no fsroute at no host:8084: "),
    (["call", "--to", "1", "--timeout", "0"], "Invalid value for '--timeout': 0.0 is not in the range x>=0.1"),
    (["call", "--to", "1", "--timeout", "nan", "--port", "1"], "no fsroute at 127.0.0.1:1: Invalid value NaN"),
    (["call", "--to", "1", "--outcome", "lost"], "Invalid value for '--outcome': 'lost' is not one of"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(case[0]) for case in REFUSED])
def test_bad_input_is_refused_in_one_line(
    fsroute: Fsroute, demo_sqlite_url: str, arguments: list[str], message: str
) -> None:
    found = fsroute.refused(*(demo_sqlite_url if argument == "DEMO" else argument for argument in arguments))
    assert message.replace("PROGRAM", "python -m fsroute") in found


@pytest.fixture
def demo_sqlite_url(fsroute: Fsroute, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo on SQLite, whatever else is there."""
    path = tmp_path_factory.getbasetemp() / "cli-demo.db"
    url = f"sqlite:///{path}"
    if not path.exists():
        fsroute.output("init", "--db", url)
        fsroute.output("load", "--db", url, str(DEMO))
    return url


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FSROUTE_DECISON_MS", "400", "unknown setting FSROUTE_DECISON_MS in the environment"),
        ("FSROUTE_LOG_FORMAT", "xml", "log_format = 'xml': must be one of auto, json, console"),
        ("FSROUTE_DRAIN_S", "nan", "drain_s = nan: must be at least 0"),
        ("FSROUTE_COUNTRY", "Germany", "country = 'Germany': not an ISO 3166 code with a numbering plan"),
        ("FSROUTE_CONFIG", "no.toml", "no.toml: No such file or directory"),
        ("FSROUTE_DB", "", "database '': must be sqlite:///PATH or postgresql://USER@HOST/NAME"),
    ],
)
def test_a_bad_variable_is_refused_in_one_line(fsroute: Fsroute, name: str, value: str, message: str) -> None:
    assert fsroute.refused("init", **{name: value}) == message


def test_an_unknown_setting_in_the_file_is_refused(fsroute: Fsroute, tmp_path: Path) -> None:
    (tmp_path / "fsroute.toml").write_text("decison_ms = 400\n")
    assert fsroute.refused("init", FSROUTE_CONFIG="fsroute.toml") == "fsroute.toml: unknown setting decison_ms"


def test_a_port_in_use(fsroute: Fsroute, demo_sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        message = fsroute.refused("serve", "--db", demo_sqlite_url, "--listen", listen)
    assert message == f"cannot listen on {listen}: another program listens there"


def test_a_server_of_another_kind_is_no_fsroute(fsroute: Fsroute) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        message = fsroute.refused("call", "--to", "1", "--port", str(other.getsockname()[1]), "--timeout", "0.2")
    assert message == "nothing received for 0.2 s"


# --- help -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help(fsroute: Fsroute, command: list[str]) -> None:
    printed = fsroute.output(*command, "--help")
    assert printed.startswith(f"Usage: python -m fsroute {command[0] + ' ' if command else ''}[OPTIONS]")


def test_help_lists_every_command(fsroute: Fsroute) -> None:
    printed = fsroute.output("--help").partition("Commands:\n")[2]
    assert [line.split()[0] for line in printed.splitlines() if line[2:3].isalpha()] == sorted(COMMANDS)


def test_the_help_does_not_read_the_data_of_short_numbers() -> None:
    program = (
        "import contextlib\nfrom fsroute.cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "from fsroute.numbers import short_numbers\nassert short_numbers._data.cache_info().misses == 0, 'read'"
    )
    subprocess.run([sys.executable, "-c", program], env=environment(), check=True, capture_output=True)


def test_people_are_told_the_emergency_numbers_of_a_country(fsroute: Fsroute) -> None:
    printed = fsroute.output("emergency-numbers", "at").splitlines()
    assert "140    emergency mountain rescue (AT-rtr: RTR, KEM-V 2009, §§ 17-22, 2026-11-26)" in printed
    assert printed[-1] == "^(112|122|128|133|140|141|142|144|147)$"
    assert fsroute.refused("emergency-numbers", "xx").startswith("XX is not in short_numbers.toml")


def test_the_installed_script_is_the_same(fsroute: Fsroute) -> None:
    installed = shutil.which("fsroute", path=str(Path(sys.executable).parent))
    assert installed is not None
    printed = subprocess.run([installed, "--version"], env=environment(), capture_output=True, text=True, check=True)
    assert printed.stdout == fsroute.output("--version")


# --- serve and call ---------------------------------------------------------------------------------------


def test_calls_end_to_end(fsroute: Fsroute, demo_url: str) -> None:
    with fsroute.serving(demo_url) as server:

        def call(*arguments: str) -> list[str]:
            return fsroute.output("call", "--port", str(server.port), *arguments).splitlines()

        answered = call("--to", "02214710100", "--from", "03023125001", "--name", 'Smith, "J" |[x]')
        assert any(line.startswith("bridge {") and "sofia/gateway/carrier/+491713920042" in line for line in answered)
        assert answered[-1] == "call ended: NORMAL_CLEARING"
        bridges = [line for line in call("--to", "02214710300", "--outcome", "busy") if line.startswith("bridge ")]
        assert (len(bridges), "1003" in bridges[0], "1004" in bridges[1]) == (2, True, True)
        assert call("--to", "02214710500")[-1] == "call ended: CALL_REJECTED"
        assert call("--to", "02214710999", "--from", "03023125001")[-1] == "call ended: UNALLOCATED_NUMBER"
        call_report = json.loads("\n".join(call("--to", "02214710200", "--from", "03023125001", "--json")))
        assert (call_report["hangup_cause"], call_report["commands"][0]["command"]) == ("NORMAL_CLEARING", "connect")
        status, log, _ = server.stop()
    routed = [(line["number"], line["rule"]) for line in log if line["event"] == "call routed"]
    assert (status, routed, [line["event"] for line in log[-2:]]) == (
        0,
        [
            ("+492214710100", "+492214710100/1"),
            ("+492214710300", "+492214710300/1"),
            ("+492214710300", "+492214710300/3"),
            ("+492214710300", None),
            ("+492214710500", "+492214710500/1"),
            (None, None),
            ("+492214710200", "+492214710200/1"),
        ],
        ["draining", "stopped"],
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_an_idle_server_at_once(fsroute: Fsroute, demo_sqlite_url: str, number: signal.Signals) -> None:
    with fsroute.serving(demo_sqlite_url) as server:
        status, log, seconds = server.stop(number)
    assert (status, [line["event"] for line in log], seconds < 5) == (0, ["draining", "stopped"], True)


def test_a_call_that_goes_on_is_left_after_the_limit(fsroute: Fsroute, demo_sqlite_url: str) -> None:
    with fsroute.serving(demo_sqlite_url, "--drain-s", "1") as server, silent_call(server):
        status, log, seconds = server.stop()
    events = [line["event"] for line in log]
    assert (status, events, 1 <= seconds < 6) == (0, ["draining", "calls left to FreeSWITCH", "stopped"], True)


def test_a_call_that_ends_while_draining_ends_it(fsroute: Fsroute, demo_sqlite_url: str) -> None:
    with fsroute.serving(demo_sqlite_url, "--drain-s", "25") as server:
        with silent_call(server):
            server.process.send_signal(signal.SIGTERM)
            wait_until_refused(server.port)
            assert server.process.poll() is None
        status, _, seconds = server.stop()
    assert (status, seconds < 5) == (0, True)


@contextmanager
def silent_call(server: Serving) -> Iterator[None]:
    """FreeSWITCH has connected and does not say more yet."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        assert sock.recv(100) == b"connect\n\n"
        yield


def wait_until_refused(port: int) -> None:
    """Until the port is closed: from then on FreeSWITCH tries its next host."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # it was in the kernel's queue when the port closed
        time.sleep(0.02)
    raise AssertionError("still takes calls")


def test_who_is_not_allowed_is_told_nothing(fsroute: Fsroute, demo_sqlite_url: str) -> None:
    with fsroute.serving(demo_sqlite_url, "--allow", "192.0.2.0/24") as server:
        printed = fsroute.output("call", "--port", str(server.port), "--to", "02214710100")
        _, log, _ = server.stop()
    assert (printed, log[0]["event"]) == ("call handed back to the dialplan\n", "connection refused")
