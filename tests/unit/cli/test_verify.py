"""`fsroute verify`, in process. tests/integration/cli runs it as it is shipped."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fsroute.codes import DeliveryOutcome
from fsroute.verification.delivery import Delivered, Message
from fsroute.verification.sms import SmsGateway
from tests.support.people import ME
from tests.support.tables import execute

if TYPE_CHECKING:

    class Cli:
        """tests/unit/cli/conftest.py."""

        url: str
        directory: Path
        environment: dict[str, str]

        def run(self, *arguments: str, typed: str | None = None) -> tuple[int, str, str]: ...
        def printed(self, *arguments: str) -> str: ...
        def data(self, *arguments: str) -> Any: ...
        def refused(self, *arguments: str) -> str: ...


NUMBER, MOBILE, VERIFIED = "+4922129191999", "+491713920042", "+498999998123"
FIRST, LAST = "+4922129191000", "+4922129191099"
BLOCK = f"{FIRST} to {LAST}"
START = ("start", "--account", "acme", "--number", MOBILE, "--method", "sms")


@pytest.fixture
def messages(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What the gateway takes: tests/integration/verification/test_sms.py has real ones."""
    cli.environment["FSROUTE_SMS_URL"] = "http://127.0.0.1:9/sms"
    taken: list[Message] = []

    def deliver(self: SmsGateway, message: Message) -> Delivered:
        taken.append(message)
        if message.number.endswith("43"):
            return Delivered(DeliveryOutcome.GATEWAY_REFUSED)
        return Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, f"HTTP 200 {message.code}")

    monkeypatch.setattr(SmsGateway, "deliver", deliver)
    return taken


# --- by code ------------------------------------------------------------------------------------------------


def test_from_start_to_end(cli: Cli, messages: list[Message]) -> None:
    said = cli.printed("verify", *START, "--language", "en").splitlines()
    (message,) = messages
    assert message.language == "en"
    assert said[:2] == [
        f"verification {message.id}: sending a code to {MOBILE} by sms",
        "the SMS gateway accepted the message (HTTP 200 ***)",
    ]
    assert re.fullmatch(rf"confirm it until \S+Z: fsroute verify confirm --id {message.id}", said[2])
    wrong = f"{(int(message.code) + 1) % 1_000_000:06}"
    assert cli.run("verify", "confirm", "--id", message.id, "--code", wrong) == (
        1, "", f"fsroute: {MOBILE}: the code is wrong; 4 tries are left [wrong_code]\n",
    )  # fmt: skip
    assert cli.refused("verify", "confirm", "--id", message.id, "--code", "x").endswith(" [code_malformed]\n")
    # Without --code, which every user of the machine can read in `ps`: from standard input.
    status, confirmed, _ = cli.run("verify", "confirm", "--id", message.id, typed=f"{message.code}\n")
    assert (status, confirmed) == (0, f"{MOBILE}: verified for account acme\n")
    shown = cli.printed("verify", "show", "--id", message.id).splitlines()
    assert shown[0] == f"verification {message.id}"
    assert "  state: verified" in shown
    assert cli.data("verify", "show", "--id", message.id)["tries"] == 2


def test_as_json_the_start_is_two_lines(cli: Cli, messages: list[Message]) -> None:
    begun, ended = map(json.loads, cli.printed("verify", *START, "--json").splitlines())
    assert (begun["id"], begun["outcome"]) == (messages[0].id, None)
    assert (ended["state"], ended["outcome"], ended["answer"]) == ("pending", "message_accepted", "HTTP 200 ***")
    status, out, _ = cli.run("verify", "start", "--account", "nobody", "--number", MOBILE, "--method", "sms", "--json")
    assert (status, json.loads(out)["refused"]) == (2, "account_unknown")


def test_a_message_that_was_not_taken(cli: Cli, messages: list[Message]) -> None:
    status, out, err = cli.run("verify", "start", "--account", "acme", "--number", "+491713920043", "--method", "sms")
    assert (status, err, len(messages)) == (1, "", 1)
    assert out.splitlines()[1:] == [
        "the SMS gateway refused the message", "+491713920043: the verification is over (failed)",
    ]  # fmt: skip


def test_cancel(cli: Cli, messages: list[Message]) -> None:
    cli.printed("verify", *START)
    cancelled = cli.printed("verify", "cancel", "--id", messages[0].id, "--reason", "typo")
    assert cancelled == f"{MOBILE}: cancelled\n"
    status, out, _ = cli.run("verify", "cancel", "--id", messages[0].id, "--json")
    assert (status, json.loads(out)["refused"]) == (1, "attempt_cancelled")


# --- by hand, and from elsewhere ------------------------------------------------------------------------------


def test_a_block(cli: Cli) -> None:
    execute(cli.url, "UPDATE accounts SET approves_blocks = TRUE WHERE name = 'acme'")
    block = ("--account", "acme", "--first", FIRST, "--last", LAST)
    pending = cli.data("verify", "add-block", *block, "--evidence", "a letter")
    waits = f"{BLOCK}: another person must approve it: fsroute verify approve --id "
    assert cli.printed("verify", "add-block", *block, "--evidence", "a better letter").startswith(waits)
    assert cli.run("verify", "approve", "--id", pending["id"])[0] == 1
    (waiting,) = cli.data("verify", "list", "--state", "pending")
    assert cli.printed("verify", "approve", "--id", waiting["pending"], "--by", "ben").startswith(f"{BLOCK}: verified")
    assert cli.printed("verify", "revoke", *block, "--reason", "moved") == f"{BLOCK}: revoked\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["revoke", "--account", "acme", "--reason", "x"], "give --number, or --first and --last"),
        (["revoke", "--account", "acme", "--reason", "x", "--first", FIRST], "give --number, or --first and --last"),
        (["show"], "give --id, or --account and --number"),
        (["show", "--number", NUMBER], "give --id, or --account and --number"),
    ],
)
def test_options_that_belong_together(cli: Cli, arguments: list[str], line: str) -> None:
    assert cli.refused("verify", *arguments) == f"fsroute: {line} (see fsroute verify {arguments[0]} --help)\n"


def test_import(cli: Cli) -> None:
    (cli.directory / "hub.txt").write_text(f"\ufeff# hub\n{NUMBER}\n{FIRST},{LAST}\n{VERIFIED}\n", encoding="utf-8")
    said = cli.printed("verify", "import", "--account", "acme", "--source", "hub", "hub.txt")
    assert said == f"imported 2 from hub; 1 stay as they are, verified here: {VERIFIED}\n"
    assert [row["first_number"] for row in cli.data("verify", "list", "--source", "hub")] == [FIRST, NUMBER]
    (cli.directory / "hub.txt").write_bytes(b"+49\xff")
    for name, why in (("hub.txt", "is not UTF-8 (byte 3)"), ("none.txt", "No such file or directory")):
        assert cli.refused("verify", "import", "--account", "acme", "--source", "hub", name) == f"fsroute: {name}: {why}\n"


def test_expire(cli: Cli) -> None:
    execute(
        cli.url,
        "UPDATE verified_numbers SET verified_at = '2020-01-01T00:00:00Z', expires_at = '2021-01-01T00:00:00Z'"
        " WHERE first_number = '+498999998123'",
    )
    said = cli.printed("verify", "expire", "--days", "3650").splitlines()
    assert said[:2] == ["expired: 0 verifications, 1 numbers and blocks", f"  acme {VERIFIED}"]
    assert said[2:4] == ["expire within 3650 days:", "  acme +493023125300 to +493023125349 on 2036-01-05T09:00:00Z"]
    assert cli.data("verify", "expire", "--days", "0") == {"verifications": [], "numbers": [], "soon": []}


# --- reading --------------------------------------------------------------------------------------------------


def test_list(cli: Cli) -> None:
    heading, *lines = cli.printed("verify", "list", "--account", "acme").splitlines()
    assert heading.split() == ["account", "number", "state", "method", "until", "by"]
    assert lines[1].split() == ["acme", VERIFIED, "verified", "call", "2036-01-05", "demo"]
    assert cli.data("verify", "list", "--state", "expired") == []
    assert cli.printed("verify", "list", "--state", "expired").split()[-1] == "pending"


def test_show_a_number(cli: Cli) -> None:
    cli.printed("verify", "add-block", "--account", "acme", "--first", NUMBER, "--evidence", "a letter")
    said = cli.printed("verify", "show", "--account", "acme", "--number", NUMBER)
    assert NUMBER in said.splitlines()[1]
    assert "  evidence: a letter\n" in said
    data = cli.data("verify", "show", "--account", "acme", "--number", NUMBER)
    assert [number["state"] for number in data["numbers"]] == ["verified"]
    assert [attempt["evidence"] for attempt in data["verifications"]] == ["a letter"]
    assert cli.run("verify", "show", "--id", "none")[:2] == (2, "")


def test_history(cli: Cli) -> None:
    cli.environment["SSH_CONNECTION"] = "192.0.2.7 5555 192.0.2.1 22"
    cli.printed("verify", "add-block", "--account", "acme", "--first", NUMBER, "--evidence", "a letter", "--by", "ben")
    data = cli.data("verify", "history", "--number", NUMBER)
    assert [(row["who"], row["from"]) for row in data["log"]] == [
        ("ben", f"cli:{socket.gethostname()} login:{ME} ssh:192.0.2.7")
    ]
    assert (
        cli.data("verify", "history", "--number", NUMBER, "--at", "2026-01-01T00:00+01:00")["at"] == "2025-12-31T23:00:00Z"
    )
    assert cli.printed("verify", "history", "--number", NUMBER).startswith(f"{NUMBER} at ")
    assert cli.refused("verify", "history", "--number", "0221 29191999").startswith(
        "fsroute: --number '0221 29191999': is not"
    )
    assert cli.refused("verify", "history", "--number", NUMBER, "--at", "noon").startswith(
        "fsroute: --at 'noon': is no time"
    )


def test_not_configured_names_the_setting(cli: Cli) -> None:
    for method, setting in (("call", "event_socket_password"), ("sms", "sms_url")):
        assert cli.run("verify", "start", "--account", "acme", "--number", MOBILE, "--method", method) == (
            1, "", f"fsroute: {MOBILE}: verification by {method} is not configured: set {setting} [not_configured]\n",
        )  # fmt: skip
