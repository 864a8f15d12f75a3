"""`fsroute verify` as it is shipped: processes of their own, a gateway that takes messages, a switch that says nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fsroute.data import tables as t
from fsroute.data.database import open_database, rows
from tests.support.people import ME, STRANGE

OLD_TABLES = "its tables have version 1, and this fsroute needs 3 or newer: run fsroute upgrade"
NUMBER, MOBILE = "+4922129191999", "+491713920042"
FIRST, LAST = "+4922129191000", "+4922129191099"
BLOCK = f"{FIRST} to {LAST}"

COMMANDS = [
    "add-block", "approve", "cancel", "confirm", "expire", "history", "import", "list", "revoke", "show", "start",
]  # fmt: skip


@dataclass(frozen=True)
class Verify:
    """Runs `fsroute verify` on a database."""

    url: str
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def arguments(self, *arguments: str) -> dict[str, Any]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(STRANGE)}
        return {
            "args": [sys.executable, "-m", "fsroute", "verify", *arguments],
            "cwd": self.directory, "env": {**kept, "FSROUTE_DB": self.url, **self.environment},
            "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8",
        }  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str, str]:
        ended = subprocess.run(**self.arguments(*arguments), check=False, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    def said(self, *arguments: str) -> str:
        status, out, err = self.run(*arguments)
        assert (status, err) == (0, "")
        return out

    def told(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            **self.arguments(*arguments),
            # A job in the background of a shell ignores Ctrl-C, and so would what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - nothing else runs in it
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        database = open_database(self.url)
        with database.connection_context():
            return rows(database, query)


@pytest.fixture
def verify(changeable_demo_url: str, tmp_path: Path) -> Verify:
    return Verify(changeable_demo_url, tmp_path)


@dataclass
class SmsGateway:
    """Takes messages by HTTP."""

    url: str
    status: int = 200
    taken: list[dict[str, str]] = field(default_factory=list)

    @property
    def code(self) -> str:
        found = re.search(r"\b[0-9]{6}\b", self.taken[-1]["text"])
        assert found
        return found[0]


@pytest.fixture
def gateway() -> Iterator[SmsGateway]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = SmsGateway(f"http://127.0.0.1:{server.server_port}/sms")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_switch() -> Iterator[str]:
    """The address of an Event Socket that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def with_sms(verify: Verify, gateway: SmsGateway) -> Verify:
    return Verify(verify.url, verify.directory, {**verify.environment, "FSROUTE_SMS_URL": gateway.url})


def with_switch(verify: Verify, address: str, seconds: str) -> Verify:
    given = {"FSROUTE_EVENT_SOCKET": address, "FSROUTE_EVENT_SOCKET_PASSWORD": "x", "FSROUTE_EVENT_SOCKET_S": seconds}
    return Verify(verify.url, verify.directory, {**verify.environment, **given})


# --- the whole life of a number ---------------------------------------------------------------------------


def test_by_sms_from_start_to_end(verify: Verify, gateway: SmsGateway) -> None:
    portal = with_sms(verify, gateway)
    said = portal.said("start", "--account", "acme", "--number", MOBILE, "--method", "sms").splitlines()
    id_ = said[0].removeprefix("verification ").partition(":")[0]
    assert said[0] == f"verification {id_}: sending a code to {MOBILE} by sms"
    assert said[1] == "the SMS gateway accepted the message (HTTP 200)"
    assert re.fullmatch(rf"confirm it until \S+Z: fsroute verify confirm --id {id_}", said[2])
    assert len(said) == 3
    assert (gateway.taken[0]["to"], gateway.taken[0]["reference"]) == (MOBILE, id_)

    wrong = f"{(int(gateway.code) + 1) % 1_000_000:06}"
    status, out, err = verify.run("confirm", "--id", id_, "--code", wrong)
    assert (status, out, err) == (1, "", f"fsroute: {MOBILE}: the code is wrong; 4 tries are left [wrong_code]\n")
    assert verify.said("confirm", "--id", id_, "--code", gateway.code) == f"{MOBILE}: verified for account acme\n"
    listed = {row["first_number"]: row for row in verify.told("list", "--account", "acme")}
    assert (listed[MOBILE]["state"], listed[MOBILE]["verified_by"]) == ("verified", ME)
    assert verify.said("revoke", "--account", "acme", "--number", MOBILE, "--reason", "sold") == f"{MOBILE}: revoked\n"

    history = verify.told("history", "--number", MOBILE)
    assert [row["action"] for row in history["log"]] == ["started", "delivered", "wrong_code", "confirmed", "revoked"]
    assert {(row["who"], row["from"]) for row in history["log"]} == {(ME, f"cli:{socket.gethostname()}")}
    assert [(a["account"], a["allowed"], a["code"]) for a in history["accounts"]] == [
        ("acme", False, "verification_revoked")
    ]
    at_confirmation = verify.told("history", "--number", MOBILE, "--at", history["log"][3]["at"])
    assert at_confirmation["accounts"][0]["allowed"] == (history["log"][4]["at"] != history["log"][3]["at"])
    assert verify.told("history", "--number", MOBILE, "--at", "2026-01-01T00:00")["accounts"] == []


def test_start_as_json_is_two_lines(verify: Verify, gateway: SmsGateway) -> None:
    portal = with_sms(verify, gateway)
    first, second = map(json.loads, portal.said("start", "--account", "acme", "--number", MOBILE, "--method", "sms",
                                                "--language", "en", "--json").splitlines())  # fmt: skip
    assert (first["id"], first["state"], first["outcome"]) == (second["id"], "pending", None)
    assert (second["state"], second["outcome"], second["notice"]) == (
        "pending", "message_accepted", "the SMS gateway accepted the message",
    )  # fmt: skip
    assert "is the code to verify" in gateway.taken[0]["text"]
    assert verify.told("show", "--id", first["id"]) == second
    assert gateway.code not in json.dumps(second)


def test_a_message_that_was_not_taken(verify: Verify, gateway: SmsGateway) -> None:
    gateway.status = 403
    status, out, err = with_sms(verify, gateway).run("start", "--account", "acme", "--number", MOBILE, "--method", "sms")
    assert (status, err) == (1, "")
    assert out.splitlines()[1:] == [
        "the SMS gateway refused the message (HTTP 403)", f"{MOBILE}: the verification is over (failed)",
    ]  # fmt: skip


def test_a_block_from_start_to_end(verify: Verify) -> None:
    verify_sql = "UPDATE accounts SET approves_blocks = TRUE WHERE name = 'acme'"
    database = open_database(verify.url)
    with database.connection_context():
        database.execute_sql(verify_sql)
    added = verify.told("add-block", "--account", "acme", "--first", FIRST, "--last", LAST, "--evidence", "letter of 1 Nov")
    assert (added["state"], added["started_by"], added["evidence"]) == ("pending", ME, "letter of 1 Nov")
    status, out, err = verify.run("approve", "--id", added["id"])
    told = f"fsroute: {BLOCK}: was entered by {ME}; somebody else must approve it [same_person]\n"
    assert (status, out, err) == (1, "", told)
    assert verify.told("list", "--state", "pending")[0]["pending"] == added["id"]
    assert verify.said("approve", "--id", added["id"], "--by", "ben") == f"{BLOCK}: verified for account acme\n"
    status, out, err = verify.run("revoke", "--account", "acme", "--number", "+4922129191050", "--reason", "x")
    assert (status, out) == (1, "")
    assert err == f"fsroute: +4922129191050: is verified in the block {BLOCK}; revoke that [in_block]\n"
    revoked = verify.told("revoke", "--account", "acme", "--first", FIRST, "--last", LAST, "--reason", "moved")
    assert (revoked["state"], revoked["expires_at"] is not None) == ("revoked", True)


def test_cancel(verify: Verify, gateway: SmsGateway) -> None:
    portal = with_sms(verify, gateway)
    line = portal.said("start", "--account", "acme", "--number", MOBILE, "--method", "sms", "--json").splitlines()[0]
    id_ = json.loads(line)["id"]
    assert verify.said("cancel", "--id", id_, "--reason", "typo") == f"{MOBILE}: cancelled\n"
    status, out, _ = verify.run("cancel", "--id", id_, "--json")
    assert (status, json.loads(out)["refused"]) == (1, "attempt_cancelled")


def test_import(verify: Verify) -> None:
    (verify.directory / "hub.txt").write_bytes(f"\ufeff# hub\r\n{NUMBER}\r\n{FIRST},{LAST}\r\n+498999998123\r\n".encode())
    said = verify.said("import", "--account", "acme", "--source", "hub", "hub.txt")
    assert said == "imported 2 from hub; 1 stay as they are, verified here: +498999998123\n"
    assert [row["first_number"] for row in verify.told("list", "--source", "hub")] == [FIRST, NUMBER]
    assert NUMBER not in verify.said("list", "--account", "acme")
    assert NUMBER in verify.said("list", "--account", "acme", "--source", "all")


def test_an_import_that_is_wrong_changes_nothing(verify: Verify) -> None:
    (verify.directory / "hub.txt").write_text(f"{NUMBER}\nhub\n+493023125020\n")
    status, out, err = verify.run("import", "--account", "acme", "--source", "hub", "hub.txt")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "fsroute: hub.txt:2: 'hub' is no number; a number is written +4922129191999",
        "fsroute: hub.txt:3: +493023125020 is verified for another account; an operator has to resolve that",
    ]
    assert verify.told("list", "--source", "hub") == []
    (verify.directory / "hub.txt").write_bytes(b"\xff")
    for name, why in (("hub.txt", "is not UTF-8 (byte 0)"), ("none.txt", "No such file or directory")):
        assert verify.run("import", "--account", "acme", "--source", "hub", name) == (2, "", f"fsroute: {name}: {why}\n")


def test_expire(verify: Verify) -> None:
    database = open_database(verify.url)
    with database.connection_context():
        database.execute_sql(
            "UPDATE verified_numbers SET verified_at = '2020-01-01T00:00:00Z', expires_at = '2021-01-01T00:00:00Z'"
            " WHERE first_number = '+498999998123'"
        )
    said = verify.said("expire", "--days", "3650").splitlines()
    assert said[:2] == ["expired: 0 verifications, 1 numbers and blocks", "  acme +498999998123"]
    assert said[2:4] == [
        "expire within 3650 days:", "  acme +493023125300 to +493023125349 on 2036-01-05T09:00:00Z",
    ]  # fmt: skip
    again = verify.told("expire", "--days", "0")
    assert again == {"verifications": [], "numbers": [], "soon": []}


def test_show_a_number(verify: Verify) -> None:
    verify.said("add-block", "--account", "acme", "--first", NUMBER, "--evidence", "a letter")
    told = verify.told("show", "--account", "acme", "--number", NUMBER)
    assert [(n["first_number"], n["state"]) for n in told["numbers"]] == [(NUMBER, "verified")]
    assert [(v["method"], v["state"], v["evidence"]) for v in told["verifications"]] == [("manual", "verified", "a letter")]
    said = verify.said("show", "--account", "acme", "--number", NUMBER)
    assert "  evidence: a letter\n" in said
    assert NUMBER in said.splitlines()[1]


# --- who, and what is wrong -------------------------------------------------------------------------------


def test_who_did_it_and_from_where(verify: Verify) -> None:
    there = Verify(
        verify.url,
        verify.directory,
        {"LOGNAME": "carl", "SUDO_USER": "dora", "SSH_CONNECTION": "192.0.2.7 5555 192.0.2.1 22"},
    )
    there.said("add-block", "--account", "acme", "--first", NUMBER, "--evidence", "a letter")
    there.said("add-block", "--account", "acme", "--first", NUMBER, "--evidence", "a letter", "--by", "ben")
    row = t.AuditRow
    found = verify.rows(row.select(row.actor, row.origin).where(row.action == "block_added").order_by(row.id))
    host, client, login = f"cli:{socket.gethostname()}", "ssh:192.0.2.7", f"{ME} (sudo: dora)"
    assert found == [(login, f"{host} {client}"), ("ben", f"{host} login:{login} {client}")]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["start", "--account", "acme", "--number", "0221 29191999", "--method", "call"], 2,
         f"0221 29191999: is not written in E.164; {NUMBER} is, and was probably meant [not_e164]"),
        (["start", "--account", "nobody", "--number", NUMBER, "--method", "call"], 2,
         "nobody: is no account in this database [account_unknown]"),
        (["start", "--account", "acme", "--number", NUMBER, "--method", "call"], 1,
         f"{NUMBER}: verification by call is not configured: set event_socket_password [not_configured]"),
        (["start", "--account", "acme", "--number", NUMBER, "--method", "fax"], 2,
         "Invalid value for '--method': 'fax' is not one of 'call', 'sms' (see python -m fsroute verify start --help)"),
        (["start", "--account", "acme"], 2, "Missing option '--number' (see python -m fsroute verify start --help)"),
        (["confirm", "--id", "x", "--code", "123456"], 2, "x: is no verification in this database [verification_unknown]"),
        (["approve", "--id", "x", "--by", " "], 2, "actor ' ': must be 1 to 200 printable characters"),
        (["add-block", "--account", "acme", "--first", FIRST, "--last", LAST, "--evidence", " "], 2,
         f"{BLOCK}: evidence must be 1 to 1000 printable characters [text_malformed]"),
        (["add-block", "--account", "probe", "--first", FIRST, "--evidence", "x"], 1,
         f"{FIRST}: trial accounts verify no numbers [trial_account]"),
        (["revoke", "--account", "acme", "--first", FIRST, "--reason", "x"], 2,
         "give --number, or --first and --last (see python -m fsroute verify revoke --help)"),
        (["revoke", "--account", "acme", "--number", FIRST, "--reason", "x"], 1,
         f"{FIRST}: is not verified for account acme [not_verified]"),
        (["show", "--number", FIRST], 2,
         "give --id, or --account and --number (see python -m fsroute verify show --help)"),
        (["history", "--number", "0221 29191999"], 2,
         f"--number '0221 29191999': is not written in E.164; {NUMBER} is, and was probably meant"),
        (["history", "--number", NUMBER, "--at", "yesterday"], 2,
         "--at 'yesterday': is no time such as 2026-11-23T09:30 or 2026-11-23T09:30+01:00"),
        (["list", "--db", "sqlite:///none.db"], 2, "database sqlite:///none.db: no such file (fsroute init makes it)"),
        (["nothing"], 2, "No such command 'nothing' (see python -m fsroute verify --help)"),
    ],
)  # fmt: skip
def test_what_is_refused_is_one_line(verify: Verify, arguments: list[str], status: int, told: str) -> None:
    assert verify.run(*arguments) == (status, "", f"fsroute: {told}\n")


def test_a_refusal_as_json(verify: Verify) -> None:
    status, out, err = verify.run("start", "--account", "acme", "--number", "+499001000000", "--method", "call", "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["refused"] == "not_configured"
    status, out, err = verify.run("start", "--account", "acme", "--number", "022129191999", "--method", "call", "--json")
    assert (status, err) == (2, "")
    assert json.loads(out) == {
        "refused": "not_e164", "subject": "022129191999", "meant": NUMBER, "rule": None, "retry_at": None,
        "text": f"is not written in E.164; {NUMBER} is, and was probably meant", "verification": None,
    }  # fmt: skip


def test_a_database_of_another_version(verify: Verify) -> None:
    database = open_database(verify.url)
    with database.connection_context():
        database.execute_sql("UPDATE schema_version SET version = 1, tables_version = 1")
    status, out, err = verify.run("list")
    assert (status, out) == (2, "")
    assert err == f"fsroute: database {verify.url}: {OLD_TABLES}\n"


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help(verify: Verify, command: list[str]) -> None:
    said = verify.said(*command, "--help")
    assert said.startswith(f"Usage: python -m fsroute verify {command[0] + ' ' if command else ''}[OPTIONS]")


def test_help_lists_every_command(verify: Verify) -> None:
    said = verify.said("--help").partition("Commands:\n")[2]
    assert [line.split()[0] for line in said.splitlines() if line[2:3].isalpha()] == COMMANDS


def test_without_a_command_there_is_help(verify: Verify) -> None:
    status, out, err = verify.run()
    assert status == 2
    assert (out + err).startswith("Usage: python -m fsroute verify [OPTIONS] COMMAND")


def test_help_loads_no_database_driver() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from fsroute.cli.main import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print(*sorted({'peewee', 'rich', 'h11', 'phonenumbers', 'fsroute.verification'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- faults -----------------------------------------------------------------------------------------------


def started_id(process: subprocess.Popen[str]) -> str:
    """The id that `start` tells before the delivery is done."""
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert (told["state"], told["outcome"]) == ("pending", None)
    return str(told["id"])


def test_killed_between_start_and_confirm(verify: Verify, gateway: SmsGateway, silent_switch: str) -> None:
    calling = with_switch(verify, silent_switch, "50")
    with calling.started("start", "--account", "acme", "--number", MOBILE, "--method", "call", "--json") as process:
        id_ = started_id(process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    left = verify.told("show", "--id", id_)
    assert (left["state"], left["outcome"], left["settled_at"]) == ("pending", None, None)
    assert verify.told("list", "--state", "pending")[0]["pending"] == id_
    # Life goes on: a new start takes its place.
    again = with_sms(verify, gateway).said("start", "--account", "acme", "--number", MOBILE, "--method", "sms", "--json")
    new = json.loads(again.splitlines()[0])["id"]
    assert verify.told("show", "--id", id_)["state"] == "cancelled"
    assert verify.said("confirm", "--id", new, "--code", gateway.code) == f"{MOBILE}: verified for account acme\n"


def test_killed_and_never_started_again_it_expires(verify: Verify, silent_switch: str) -> None:
    calling = with_switch(verify, silent_switch, "50")
    arguments = ("start", "--account", "acme", "--number", NUMBER, "--method", "call", "--json", "--verify-code-s", "10")
    with calling.started(*arguments) as process:
        id_ = started_id(process)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    database = open_database(verify.url)
    with database.connection_context():
        database.execute_sql("UPDATE verifications SET started_at = '2026-01-01T00:00:00Z', code_expires_at = "
                             "'2026-01-01T00:00:10Z'")  # fmt: skip
    assert verify.said("expire").splitlines()[0] == "expired: 1 verifications, 0 numbers and blocks"
    assert verify.told("show", "--id", id_)["state"] == "expired"
    assert verify.told("list", "--state", "expired")[0]["first_number"] == NUMBER


def test_interrupted_at_the_keyboard(verify: Verify, silent_switch: str) -> None:
    calling = with_switch(verify, silent_switch, "50")
    with calling.started("start", "--account", "acme", "--number", NUMBER, "--method", "call", "--json") as process:
        id_ = started_id(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
    left = verify.told("show", "--id", id_)
    assert (left["state"], left["outcome"], left["notice"]) == ("failed", "interrupted", "the delivery was interrupted")


def test_a_switch_that_hangs_ends_as_a_failure_in_time(verify: Verify, silent_switch: str) -> None:
    calling = with_switch(verify, silent_switch, "0.3")
    status, out, err = calling.run("start", "--account", "acme", "--number", NUMBER, "--method", "call")
    assert (status, err) == (1, "")
    assert out.splitlines()[1].startswith("FreeSWITCH cannot be reached (")
    assert out.splitlines()[2] == f"{NUMBER}: the verification is over (failed)"


def test_of_twenty_wrong_codes_from_as_many_processes_five_are_compared(verify: Verify, gateway: SmsGateway) -> None:
    portal = with_sms(verify, gateway)
    line = portal.said("start", "--account", "acme", "--number", MOBILE, "--method", "sms", "--json").splitlines()[0]
    id_ = json.loads(line)["id"]
    wrong = [code for code in (f"{i:06}" for i in range(21)) if code != gateway.code][:20]
    processes = [subprocess.Popen(**verify.arguments("confirm", "--id", id_, "--code", code, "--json")) for code in wrong]
    told = []
    for process, code in zip(processes, wrong, strict=True):
        out, err = process.communicate(timeout=100)
        status = process.returncode
        if status == 2 and "lock" in err:  # on a machine that is busy a turn may not come in five seconds
            status, out, err = verify.run("confirm", "--id", id_, "--code", code, "--json")
        assert (status, err) == (1, "")
        told.append(json.loads(out)["refused"])
    assert sorted(told) == [*["tries_used_up"] * 16, *["wrong_code"] * 4]
    assert verify.told("show", "--id", id_)["tries"] == 5
