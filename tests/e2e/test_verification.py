"""The whole life of a verification on a real FreeSWITCH: `fsroute verify` as it is shipped, what the called side hears or an
SMS gateway is told, what the tables say then, and what the carrier reads of the next call.

A code is known from the audio or the message alone. Each test has a database and a `fsroute serve` of its own.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import wave
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fsroute.verification import prompts
from tests.e2e.conftest import TOP, Process, demo_password, idle, other_side
from tests.support.people import ME, STRANGE
from tests.support.rtp import heard, read_prompts
from tests.support.sip import Answer, Behaviour, Busy, Carrier, IncomingCall, Message, Phone, Reject, Ring
from tests.support.switch import IP, Switch
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(120)

LINE = "+492214710100"
"""acme's network number."""
LANDLINE, MOBILE = "+494066969001", "+491713920071"
WORKSHOP, OFFICE = "1003", "1004"
"""The phones of those whose primary numbers these are."""
OUTSIDE = "+493023125077"

SETUP = f"""
-- The number of the account, verified by the demo: what its calls show, if nobody asks for another one.
UPDATE accounts SET presents_mobile = TRUE, presented_number = '+498999998123' WHERE name = 'acme';
UPDATE user_numbers SET number = '{MOBILE}' WHERE account = 'acme' AND user_name = 'office';
"""  # noqa: S608 - our own constants

LANGUAGES = ("de", "en")


# --- an SMS gateway ---------------------------------------------------------------------------------------


@dataclass
class Gateway:
    """Takes messages by HTTP. `answers` are the statuses of the next ones, 0 for none at all; then 200."""

    url: str
    answers: deque[int] = field(default_factory=deque)
    taken: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)
    """(path, Content-Type, Idempotency-Key, body)"""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def code(self) -> str:
        """Of the last message."""
        return self.taken[-1][3]["text"][:6]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.taken.append((self.path, self.headers["Content-Type"], self.headers["Idempotency-Key"], body))
            status = made.answers.popleft() if made.answers else 200
            if status == 0:
                made.closing.wait(30)
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    server = ThreadingHTTPServer((IP, 0), Handler)
    made = Gateway(f"http://{IP}:{server.server_port}/messages")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    made.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


# --- databases, and the command line ----------------------------------------------------------------------


def fsroute(url: str, *arguments: str, **settings: str) -> dict[str, Any]:
    """What starts `fsroute ARGUMENTS` in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    given = {f"FSROUTE_{name.upper()}": value for name, value in settings.items()}
    return {
        "args": [sys.executable, "-m", "fsroute", *arguments],
        "cwd": TOP,
        "env": {**kept, "FSROUTE_DB": url, **given},
        "encoding": "utf-8",
    }


def objects(text: str) -> list[Any]:
    """The JSON values of a text, one after another."""
    found, rest = [], text.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


Told = tuple[int, list[Any]]
"""Exit status and JSON values."""


@dataclass(frozen=True)
class Portal:
    """`fsroute verify ... --json` on a database, with these settings."""

    url: str
    settings: dict[str, str]

    def run(self, *arguments: str, **settings: str) -> Told:
        with self.running(*arguments, **settings) as process:
            return ended(process)

    @contextmanager
    def running(self, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
        command = fsroute(self.url, "verify", *arguments, "--json", **(self.settings | settings))
        process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def start(self, number: str, method: str, *more: str, **settings: str) -> Told:
        return self.run("start", "--account", "acme", "--number", number, "--method", method, *more, **settings)

    def started(self, number: str, **settings: str) -> str:
        """A code is sent by SMS; the verification's id."""
        status, (begun, delivered) = self.start(number, "sms", **settings)
        assert (status, delivered["outcome"]) == (0, "message_accepted")
        return str(begun["id"])

    def confirm(self, id_: str, code: str) -> Told:
        return self.run("confirm", "--id", id_, "--code", code)

    def confirmed(self, id_: str, code: str) -> None:
        status, (told,) = self.confirm(id_, code)
        assert (status, told["state"]) == (0, "verified")

    def revoke(self, number: str, reason: str) -> Told:
        return self.run("revoke", "--account", "acme", "--number", number, "--reason", reason)

    # The tables themselves, as another program sees them.

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: object) -> None:
        assert self.sql(f"{statement} RETURNING 1", *values), statement

    def standing(self, number: str) -> list[tuple[Any, ...]]:
        """(state, method) in verified_numbers."""
        return self.sql("SELECT state, method FROM verified_numbers WHERE first_number = ?", number)

    def attempts(self, number: str) -> list[tuple[Any, ...]]:
        """(state, outcome, tries, has a code, has an end), the oldest first."""
        columns = "state, outcome, tries, code_hash IS NOT NULL, settled_at IS NOT NULL"
        return self.sql(f"SELECT {columns} FROM verifications WHERE first_number = ? ORDER BY rowid", number)  # noqa: S608

    def log(self, number: str) -> list[tuple[Any, ...]]:
        """(action, state, reason) in audit_log."""
        return self.sql("SELECT action, state, reason FROM audit_log WHERE first_number = ? ORDER BY id", number)


def ended(process: subprocess.Popen[str]) -> Told:
    out, err = process.communicate(timeout=90)
    assert err == ""
    return process.returncode, objects(out)


def begun(process: subprocess.Popen[str]) -> str:
    """The id that a process told while the code is on its way."""
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["id"])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("verification")
    (directory / "setup.sql").write_text(SETUP)
    url = f"sqlite:///{directory / 'demo.db'}"
    for command in (["init"], ["load", str(TOP / "scripts" / "demo.sql"), str(directory / "setup.sql")]):
        subprocess.run(**fsroute(url, *command), check=True, capture_output=True)
    return directory / "demo.db"


@pytest.fixture
def url(demo: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(demo, tmp_path / 'verification.db')}"


@pytest.fixture
def portal(url: str, switch: Switch, gateway: Gateway) -> Portal:
    host, port = switch.event_socket
    return Portal(
        url,
        {
            "event_socket": f"{host}:{port}",
            "event_socket_password": switch.password,
            "verify_ring_s": "5",
            "verify_call_pause_s": "0",
            "sms_url": gateway.url,
        },
    )


# --- calls, and what is read of them ----------------------------------------------------------------------


@pytest.fixture
def switch(running_switch: Switch) -> Iterator[Switch]:
    """FreeSWITCH by the socket alone: how calls come to fsroute makes no difference here."""
    with idle(running_switch):
        yield running_switch


@pytest.fixture
def server(switch: Switch, running_fsroute: Process, url: str, tmp_path: Path) -> Iterator[Process]:
    """`fsroute serve` on the test's own database, in the place of the one that other tests share."""
    running_fsroute.stop()
    process = Process(switch.socket_port, url, tmp_path / "serve.log")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def carrier(switch: Switch) -> Iterator[Carrier]:
    """Takes the calls to the numbers that are verified, and those of the users."""
    with other_side(switch) as peer:
        yield peer


IDENTITY = ("From", "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy")


def identity(invite: Message) -> dict[str, str]:
    """What an INVITE says of who calls."""
    found = {name: [value.partition(";tag=")[0] for value in invite.all(name)] for name in IDENTITY}
    return {name: ", ".join(values) for name, values in found.items() if values}


def shows(presented: str, *, profile: str = "presented-in-from") -> dict[str, str]:
    """What the carrier reads of a call that shows a number."""
    first, second = (presented, LINE) if profile == "presented-in-from" else (LINE, presented)
    return {
        "From": f"<sip:{first}@carrier.example>",
        "P-Asserted-Identity": f"<sip:{second}@carrier.example>",
        "Privacy": "none",
    }


@dataclass(frozen=True)
class Users:
    """The users' phones."""

    switch: Switch
    carrier: Carrier
    server: Process

    def call(self, user: str) -> tuple[str, dict[str, str]]:
        """What the carrier reads of a user's call to somebody outside, and fsroute's reason."""
        with Phone(user, demo_password(self.switch), "acme.example", self.switch.internal) as phone:
            call = phone.call(OUTSIDE.replace("+49", "0"))
            invite = self.carrier.wait_invite()
            assert invite.number == OUTSIDE
            call.cancel()
            assert (call.wait_end(), invite.wait_end()) == ("cancelled", "cancelled")
        return self.server.routed()[-1]["caller_id"], identity(invite.invite)

    def refused(self, user: str) -> str:
        """Why a user's call is refused. Nothing of it comes to the carrier."""
        before = len(self.carrier.calls)
        with Phone(user, demo_password(self.switch), "acme.example", self.switch.internal) as phone:
            call = phone.call(OUTSIDE.replace("+49", "0"))
            assert call.wait_final() == 603
        assert call.final is not None
        assert len(self.carrier.calls) == before
        return call.final.get("X-FSRoute-Reason")


@pytest.fixture
def users(switch: Switch, carrier: Carrier, server: Process) -> Users:
    return Users(switch, carrier, server)


@pytest.fixture(scope="session")
def short_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of prompts that take 40 ms each, all different: what is said is proven with the shipped ones."""
    directory, source = tmp_path_factory.mktemp("prompts"), random.Random(1)  # noqa: S311 - sounds, not secrets
    for language in LANGUAGES:
        (directory / language).mkdir()
        for name in prompts.NAMES:
            with wave.open(str(directory / language / f"{name}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(struct.pack("<320h", *(source.randint(-0x4000, 0x4000) for _ in range(320))))
    return directory


FIRST_PART_S = 4.5
"""What these take until the code has been read once."""


@pytest.fixture(scope="session")
def shipped_prompts() -> dict[str, array[int]]:
    """All of them, by language and name."""
    return {
        f"{language}/{name}": samples
        for language in LANGUAGES
        for name, samples in read_prompts(TOP / "fsroute" / "sounds" / language).items()
    }


def code_heard(call: IncomingCall, directory: Path) -> str:
    """The digits that were read first in a call."""
    names = [prompt.name for prompt in heard(call.audio.recording.without_skips, read_prompts(directory / "de"))]
    assert names[0] == "intro"
    return "".join(names[1:7])


# --- what is expected -------------------------------------------------------------------------------------


def plain(told: Any) -> Any:
    """A JSON value with "time" for each time and "id" for each verification's id."""
    if isinstance(told, dict):
        return {name: _plain(name, value) for name, value in told.items()}
    return [plain(value) for value in told] if isinstance(told, list) else told


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str) and (name.endswith("_at") or name in {"id", "pending"}):
        return "time" if name.endswith("_at") else "id"
    return plain(value)


def attempt(number: str, method: str, **more: Any) -> dict[str, Any]:
    """A verification as it is told, pending unless `more` says otherwise."""
    told = {
        "id": "id",
        "account": "acme",
        "first_number": number,
        "last_number": number,
        "method": method,
        "state": "pending",
        "language": "de",
        "tries": 0,
        "started_at": "time",
        "started_by": ME,
        "code_expires_at": "time",
        "outcome": None,
        "notice": None,
        "answer": None,
        "delivered_at": None,
        "settled_at": None,
        "evidence": None,
        "approved_by": None,
    }
    assert more.keys() <= told.keys()
    return told | more


def over(outcome: str, notice: str, answer: str) -> dict[str, Any]:
    """Of a verification whose call or message did not arrive."""
    settled = {"state": "failed", "delivered_at": "time", "settled_at": "time"}
    return {"outcome": outcome, "notice": notice, "answer": answer, **settled}


def there(outcome: str, notice: str, answer: str) -> dict[str, Any]:
    """Of a verification whose call or message arrived."""
    return {"outcome": outcome, "notice": notice, "answer": answer, "delivered_at": "time"}


READ = there("code_read", "the call was answered and the code was read to its end", "NORMAL_CLEARING")
TAKEN = there("message_accepted", "the SMS gateway accepted the message", "HTTP 200")


def refusal(code: str, subject: str, text: str, verification: dict[str, Any] | None = None) -> dict[str, Any]:
    told = {"refused": code, "subject": subject, "text": text, "rule": None, "retry_at": None, "meant": None}
    return told | {"verification": verification}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def present_second() -> str:
    """The present second, when it is over: what happens next bears a later time in the audit log."""
    now = datetime.now(UTC)
    while utc(datetime.now(UTC)) == utc(now):
        time.sleep(0.01)
    return utc(now)


# --- by call ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByCall:
    """A language, asked for or not, and how the account and its trunk are set up."""

    language: str
    flags: tuple[str, ...]
    profile: str
    refused_caller_id: str


BY_CALL = (
    ByCall("de", (), "presented-in-from", "reject"),
    ByCall("en", ("--language", "en"), "presented-in-pai", "network_number"),
)


@pytest.mark.long_wait
@pytest.mark.parametrize("case", BY_CALL, ids=LANGUAGES)
def test_a_number_is_verified_by_what_a_call_says(
    portal: Portal, carrier: Carrier, users: Users, shipped_prompts: dict[str, array[int]], case: ByCall
) -> None:
    portal.change("UPDATE trunks SET identity_profile = ?", case.profile)
    portal.change("UPDATE accounts SET refused_caller_id = ? WHERE name = 'acme'", case.refused_caller_id)
    carrier.numbers = {LANDLINE: Answer(after_s=0.3)}
    shown, hidden = shows(LANDLINE, profile=case.profile), shows(LINE, profile=case.profile)

    def is_not_shown(reason: str) -> None:
        if case.refused_caller_id == "reject":
            assert users.refused(WORKSHOP) == reason
        else:
            assert users.call(WORKSHOP) == (reason, hidden)

    is_not_shown("not_verified")
    status, told = portal.start(LANDLINE, "call", *case.flags)
    pending = attempt(LANDLINE, "call", language=case.language)
    assert (status, plain(told)) == (0, [pending, pending | READ])
    assert moment(told[1]["code_expires_at"]) - moment(told[1]["started_at"]) == timedelta(minutes=10)

    call = carrier.wait_invite()
    assert (call.number, call.wait_end()) == (LANDLINE, "bye received")
    assert identity(call.invite) == hidden
    code = code_in(call, shipped_prompts, case.language)
    is_not_shown("verification_pending")

    id_ = told[0]["id"]
    verified = pending | READ | {"state": "verified", "tries": 1, "settled_at": "time"}
    status, told = portal.confirm(id_, code)
    assert (status, plain(told)) == (0, [verified])
    assert users.call(WORKSHOP) == ("verified_number", shown)

    status, (standing,) = portal.revoke(LANDLINE, "line was sold")
    assert (status, standing["state"]) == (0, "revoked")
    is_not_shown("verification_revoked")
    assert portal.log(LANDLINE) == [
        ("started", "pending", None),
        ("delivered", None, "code_read"),
        ("confirmed", "verified", None),
        ("revoked", "revoked", "line was sold"),
    ]


def code_in(call: IncomingCall, shipped_prompts: dict[str, array[int]], language: str) -> str:
    """The code that was read in a call, which says nothing but the shipped prompts of a language, in order and in time."""
    recording = call.audio.recording
    assert recording.gaps == ()
    said = heard(recording.without_skips, shipped_prompts)
    names = [prompt.name.removeprefix(f"{language}/") for prompt in said]
    code = "".join(names[1:7])
    assert re.fullmatch("[0-9]{6}", code), names
    assert names == ["intro", *code, "again", *code, "goodbye"]
    pauses = [after.start_ms - before.end_ms for before, after in pairwise(said)]
    between = pauses.pop(6)
    assert pauses == [400.0, *[500.0] * 5, 400.0, *[500.0] * 5, 400.0]
    assert 400 <= between < 1500
    assert said[0].start_ms >= 1000
    return code


@pytest.mark.long_wait
def test_calls_that_fail_are_over_and_the_next_one_counts(portal: Portal, carrier: Carrier, short_prompts: Path) -> None:
    failures: Sequence[tuple[Behaviour, str, str, str]] = (
        (Busy(), "busy", "the number was busy", "USER_BUSY"),
        (Reject(), "call_rejected", "the call was rejected", "CALL_REJECTED"),
        (Ring(), "no_answer", "nobody answered", "ALLOTTED_TIMEOUT"),
        (
            Answer(then_hangup_after_s=0.0),
            "cut_short",
            "the call was answered and ended before the code was read; was it a mailbox?",
            "NORMAL_CLEARING",
        ),
    )
    pending = attempt(LANDLINE, "call")
    for behaviour, *ending in failures:
        carrier.numbers = {LANDLINE: behaviour}
        status, told = portal.start(LANDLINE, "call", prompts=str(short_prompts))
        assert (status, plain(told)) == (1, [pending, pending | over(*ending)])
        assert portal.standing(LANDLINE) == [("failed", "call")]
    status, refused = portal.confirm(told[0]["id"], "123456")
    text = f"the attempt has failed: {ending[1]}; start again"
    assert (status, plain(refused)) == (1, [refusal("attempt_failed", LANDLINE, text, pending | over(*ending))])

    carrier.numbers = {LANDLINE: Answer(then_hangup_after_s=FIRST_PART_S + 0.5)}
    status, told = portal.start(LANDLINE, "call", prompts=str(short_prompts))
    assert (status, plain(told)) == (0, [pending, pending | READ])
    portal.confirmed(told[0]["id"], code_heard(carrier.calls[-1], short_prompts))
    assert portal.standing(LANDLINE) == [("verified", "call")]
    failed = [("failed", outcome, 0, 0, 1) for _, outcome, _, _ in failures]
    assert portal.attempts(LANDLINE) == [*failed, ("verified", "code_read", 1, 0, 1)]


def test_a_call_whose_command_was_killed_while_it_rang_is_confirmed_later(
    portal: Portal, switch: Switch, carrier: Carrier, users: Users, short_prompts: Path
) -> None:
    with calling(portal, short_prompts) as process:
        id_ = begun(process)
        call = carrier.wait_invite()
        assert not call.answered
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    assert_begun_and_nothing_else(portal)
    call.respond(200)
    assert call.wait_end(20) == "bye received"
    switch.wait_idle(1.0)
    assert_begun_and_nothing_else(portal)
    status, told = portal.run("show", "--id", id_)
    assert (status, plain(told)) == (0, [attempt(LANDLINE, "call")])

    portal.confirmed(id_, code_heard(call, short_prompts))
    assert users.call(WORKSHOP) == ("verified_number", shows(LANDLINE))
    assert portal.attempts(LANDLINE) == [("verified", None, 1, 0, 1)]
    assert portal.log(LANDLINE) == [("started", "pending", None), ("confirmed", "verified", None)]


def test_a_call_whose_command_was_killed_while_it_played_ends_and_gives_way_to_the_next_one(
    portal: Portal, switch: Switch, carrier: Carrier, short_prompts: Path
) -> None:
    carrier.numbers = {LANDLINE: Answer()}
    with calling(portal, short_prompts) as process:
        id_ = begun(process)
        call = carrier.wait_invite()
        wait_audible(call)
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    assert call.end is None
    assert_begun_and_nothing_else(portal)
    assert call.wait_end(20) == "bye received"
    switch.wait_idle(1.0)
    assert_begun_and_nothing_else(portal)

    carrier.numbers = {LANDLINE: Busy()}
    status, told = portal.start(LANDLINE, "call")
    pending = attempt(LANDLINE, "call")
    assert (status, plain(told)) == (1, [pending, pending | over("busy", "the number was busy", "USER_BUSY")])
    status, told = portal.confirm(id_, code_heard(call, short_prompts))
    text = "the attempt was cancelled, or a newer one took its place"
    cancelled = pending | {"state": "cancelled", "settled_at": "time"}
    assert (status, plain(told)) == (1, [refusal("attempt_cancelled", LANDLINE, text, cancelled)])
    assert portal.standing(LANDLINE) == [("failed", "call")]
    assert portal.attempts(LANDLINE) == [("cancelled", None, 0, 0, 1), ("failed", "busy", 0, 0, 1)]
    assert portal.log(LANDLINE) == [
        ("started", "pending", None),
        ("cancelled", "cancelled", "a new attempt takes its place"),
        ("started", "pending", None),
        ("not_delivered", "failed", "busy"),
        ("refused", None, "attempt_cancelled"),
    ]


@contextmanager
def calling(portal: Portal, short_prompts: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = ("start", "--account", "acme", "--number", LANDLINE, "--method", "call")
    with portal.running(*arguments, prompts=str(short_prompts)) as process:
        yield process


def assert_begun_and_nothing_else(portal: Portal) -> None:
    """The tables say of the number what they say while the call rings."""
    assert portal.standing(LANDLINE) == [("pending", "call")]
    assert portal.attempts(LANDLINE) == [("pending", None, 0, 1, 0)]
    assert portal.log(LANDLINE) == [("started", "pending", None)]


def wait_audible(call: IncomingCall) -> None:
    wait_until(lambda: call.audio.audible, "audio", shown=lambda: call)


# --- by SMS -----------------------------------------------------------------------------------------------

TEXTS = {
    "de": (
        " ist der Code, mit dem die Rufnummer +491713920071 bestätigt wird. Er gilt 10 Minuten."
        " Nicht angefordert? Bitte nicht weitergeben."
    ),
    "en": (
        " is the code to verify the phone number +491713920071. It is valid for 10 minutes."
        " Not requested? Do not pass it on."
    ),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_number_is_verified_by_what_a_message_says(portal: Portal, gateway: Gateway, users: Users, language: str) -> None:
    pending = attempt(MOBILE, "sms", language=language)
    status, told = portal.start(MOBILE, "sms", "--language", language)
    assert (status, plain(told)) == (0, [pending, pending | TAKEN])
    id_ = told[0]["id"]
    message = {"to": MOBILE, "text": gateway.code + TEXTS[language], "reference": id_}
    assert gateway.taken == [("/messages", "application/json", id_, message)]
    assert users.call(OFFICE) == ("verification_pending", shows(LINE))

    status, told = portal.confirm(id_, gateway.code)
    assert (status, plain(told)) == (
        0,
        [pending | TAKEN | {"state": "verified", "tries": 1, "settled_at": "time"}],
    )
    assert users.call(OFFICE) == ("verified_number", shows(MOBILE))
    assert portal.revoke(MOBILE, "left the company")[0] == 0
    assert users.call(OFFICE) == ("verification_revoked", shows(LINE))
    assert len(gateway.taken) == 1


@pytest.mark.parametrize("first", [500, 0], ids=["fails", "is slow"])
def test_a_gateway_that_fails_first_is_asked_again_with_the_same_key(portal: Portal, gateway: Gateway, first: int) -> None:
    gateway.answers.append(first)
    pending = attempt(MOBILE, "sms")
    status, told = portal.start(MOBILE, "sms", sms_timeout_s="0.5")
    assert (status, plain(told)) == (0, [pending, pending | TAKEN])
    assert len(gateway.taken) == 2
    assert gateway.taken[0] == gateway.taken[1]
    assert gateway.taken[0][2] == told[0]["id"]
    portal.confirmed(told[0]["id"], gateway.code)
    assert portal.attempts(MOBILE) == [("verified", "message_accepted", 1, 0, 1)]


def test_wrong_codes_at_once_use_up_the_tries_and_the_right_one_comes_too_late(
    portal: Portal, gateway: Gateway, users: Users
) -> None:
    id_ = portal.started(MOBILE)
    wrong = [f"{(int(gateway.code) + more) % 1_000_000:06}" for more in range(1, 6)]
    told = at_once(portal, [("confirm", "--id", id_, "--code", code) for code in wrong])
    assert [status for status, _ in told] == [1] * 5
    assert sorted(refused["text"] for _, (refused,) in told) == [
        "the code is wrong; 1 try is left",
        "the code is wrong; 2 tries are left",
        "the code is wrong; 3 tries are left",
        "the code is wrong; 4 tries are left",
        "the code was wrong too often; start again",
    ]
    failed = attempt(MOBILE, "sms", **TAKEN) | {"state": "failed", "tries": 5, "settled_at": "time"}
    status, refused = portal.confirm(id_, gateway.code)
    text = "the code was wrong too often; start again"
    assert (status, plain(refused)) == (1, [refusal("tries_used_up", MOBILE, text, failed)])
    assert portal.standing(MOBILE) == [("failed", "sms")]
    assert portal.attempts(MOBILE) == [("failed", "message_accepted", 5, 0, 1)]
    assert users.call(OFFICE) == ("not_verified", shows(LINE))


def test_of_two_confirmations_at_once_one_verifies(portal: Portal, gateway: Gateway) -> None:
    id_ = portal.started(MOBILE)
    told = at_once(portal, [("confirm", "--id", id_, "--code", gateway.code)] * 2)
    (first, (verified,)), (second, (refused,)) = sorted(told, key=lambda each: each[0])
    assert (first, verified["state"], second, refused["refused"]) == (0, "verified", 1, "already_verified")
    assert portal.attempts(MOBILE) == [("verified", "message_accepted", 1, 0, 1)]
    assert portal.log(MOBILE) == [
        ("started", "pending", None),
        ("delivered", None, "message_accepted"),
        ("confirmed", "verified", None),
        ("refused", None, "already_verified"),
    ]


def at_once(portal: Portal, commands: Sequence[tuple[str, ...]]) -> list[Told]:
    """What came of commands that run at the same time."""
    found: list[Told] = []
    threads = [threading.Thread(target=lambda told=told: found.append(portal.run(*told))) for told in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == len(commands)
    return found


# --- what fails outright ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong, and what is told of it. {port} is one at which nobody listens; `answers` are the gateway's."""

    method: str
    settings: dict[str, str]
    answers: tuple[int, ...] = ()
    ending: tuple[str, str, str]


FAULTS = {
    "FreeSWITCH is away": Fault(
        method="call",
        settings={"event_socket": "127.0.0.1:{port}"},
        ending=(
            "switch_unreachable",
            "FreeSWITCH cannot be reached",
            "FreeSWITCH's Event Socket at 127.0.0.1:{port} cannot be reached: Connection refused",
        ),
    ),
    "FreeSWITCH wants another password": Fault(
        method="call",
        settings={"event_socket_password": "wrong"},
        ending=(
            "switch_refused",
            "FreeSWITCH refused the call",
            "FreeSWITCH's Event Socket refused the password (setting event_socket_password)",
        ),
    ),
    "the gateway is away": Fault(
        method="sms",
        settings={"sms_url": "http://127.0.0.1:{port}/", "sms_attempts": "2"},
        ending=("gateway_unreachable", "the SMS gateway cannot be reached", "Connection refused"),
    ),
    "the gateway fails": Fault(
        method="sms",
        settings={"sms_attempts": "2"},
        answers=(500, 503),
        ending=("gateway_failed", "the SMS gateway failed", "HTTP 503"),
    ),
    "the gateway is slow": Fault(
        method="sms",
        settings={"sms_attempts": "2", "sms_timeout_s": "0.5"},
        answers=(0, 0),
        ending=("gateway_timeout", "the SMS gateway did not answer in time", "no answer in 0.5 s"),
    ),
    "the gateway refuses": Fault(
        method="sms",
        settings={},
        answers=(403,),
        ending=("gateway_refused", "the SMS gateway refused the message", "HTTP 403"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_code_that_cannot_be_sent_is_told_and_leaves_nothing_half_done(
    portal: Portal, gateway: Gateway, carrier: Carrier, fault: Fault
) -> None:
    gateway.answers.extend(fault.answers)
    with socket.socket() as bound:  # and not listening
        bound.bind((IP, 0))
        port = str(bound.getsockname()[1])
        settings = {name: value.replace("{port}", port) for name, value in fault.settings.items()}
        status, told = portal.start(MOBILE, fault.method, **settings)
    outcome, notice, answer = fault.ending
    pending = attempt(MOBILE, fault.method)
    failed = pending | over(outcome, notice, answer.replace("{port}", port))
    assert (status, plain(told)) == (1, [pending, failed])
    assert carrier.calls == []
    assert [key for _, _, key, _ in gateway.taken] == [told[0]["id"]] * len(fault.answers)
    assert portal.standing(MOBILE) == [("failed", fault.method)]
    assert portal.attempts(MOBILE) == [("failed", outcome, 0, 0, 1)]
    assert portal.log(MOBILE) == [("started", "pending", None), ("not_delivered", "failed", outcome)]
    portal.confirmed(portal.started(MOBILE), gateway.code)


# --- over time --------------------------------------------------------------------------------------------


def test_a_number_is_shown_until_it_expires_and_while_it_is_verified_anew(
    portal: Portal, gateway: Gateway, users: Users
) -> None:
    portal.confirmed(portal.started(MOBILE), gateway.code)
    soon = utc(datetime.now(UTC) + timedelta(minutes=5))
    portal.change("UPDATE verified_numbers SET expires_at = ? WHERE first_number = ?", soon, MOBILE)

    again = portal.started(MOBILE)
    assert portal.standing(MOBILE) == [("verified", "sms")]
    assert users.call(OFFICE) == ("verified_number", shows(MOBILE))
    portal.confirmed(again, gateway.code)
    ((expires_at,),) = portal.sql("SELECT expires_at FROM verified_numbers WHERE first_number = ?", MOBILE)
    assert timedelta(days=364) < moment(expires_at) - datetime.now(UTC) <= timedelta(days=365)
    assert users.call(OFFICE) == ("verified_number", shows(MOBILE))

    past = utc(datetime.now(UTC) - timedelta(seconds=1))
    portal.change("UPDATE verified_numbers SET expires_at = ? WHERE first_number = ?", past, MOBILE)
    assert users.call(OFFICE) == ("verification_expired", shows(LINE))
    portal.started(MOBILE)
    assert users.call(OFFICE) == ("verification_pending", shows(LINE))
    portal.confirmed(portal.started(MOBILE), gateway.code)
    assert users.call(OFFICE) == ("verified_number", shows(MOBILE))


@pytest.mark.parametrize("hours", [-1, 1], ids=["too old", "the clock was set back"])
def test_a_code_that_is_not_of_this_time_verifies_nothing(portal: Portal, gateway: Gateway, hours: int) -> None:
    """As the tables look when the clock is moved by so many hours."""
    id_ = portal.started(MOBILE)
    start = datetime.now(UTC) + timedelta(hours=hours)
    times = utc(start), utc(start + timedelta(minutes=10))
    portal.change("UPDATE verifications SET started_at = ?, code_expires_at = ?", *times)
    status, told = portal.confirm(id_, gateway.code)
    expired = attempt(MOBILE, "sms", **TAKEN) | {"state": "expired", "settled_at": "time"}
    assert (status, plain(told)) == (1, [refusal("code_expired", MOBILE, "the code is too old; start again", expired)])
    assert portal.standing(MOBILE) == [("expired", "sms")]
    assert portal.attempts(MOBILE) == [("expired", "message_accepted", 0, 0, 1)]


def test_the_history_tells_what_was_allowed_at_each_moment(portal: Portal, gateway: Gateway) -> None:
    before = utc(datetime.now(UTC) - timedelta(seconds=1))
    id_ = portal.started(MOBILE)
    pending = present_second()
    portal.confirmed(id_, gateway.code)
    verified = present_second()
    assert portal.revoke(MOBILE, "left the company")[0] == 0

    def at(moment_: str) -> tuple[Any, ...]:
        status, (told,) = portal.run("history", "--number", MOBILE, "--at", moment_)
        assert (status, told["notes"]) == (0, [])
        answers = [(answer["account"], answer["allowed"], answer["code"]) for answer in told["accounts"]]
        by = [(a["decided_by"]["row"], a["verified_by"] and a["verified_by"]["row"]) for a in told["accounts"]]
        return answers, by, told["log"]

    _, (told,) = portal.run("history", "--number", MOBILE)
    log = told["log"]
    first = log[0]["row"]
    shared = {
        "at": "time",
        "who": ME,
        "from": f"cli:{socket.gethostname()}",
        "account": "acme",
        "first_number": MOBILE,
        "last_number": MOBILE,
        "verification": id_,
        "method": "sms",
        "state": None,
        "expires_at": None,
        "reason": None,
    }
    assert [{**row, "at": "time", "expires_at": row["expires_at"] and "time"} for row in log] == [
        shared | {"row": first, "action": "started", "state": "pending"},
        shared | {"row": first + 1, "action": "delivered", "reason": "message_accepted"},
        shared | {"row": first + 2, "action": "confirmed", "state": "verified", "expires_at": "time"},
        shared
        | {"row": first + 3, "action": "revoked", "state": "revoked", "verification": None, "reason": "left the company"},
    ]
    assert at(before) == ([], [], [])
    assert at(pending) == ([("acme", False, "verification_pending")], [(first, None)], log[:2])
    assert at(verified) == ([("acme", True, "verified_number")], [(first + 2, first + 2)], log[:3])
    assert at(utc(datetime.now(UTC))) == ([("acme", False, "verification_revoked")], [(first + 3, first + 2)], log)
