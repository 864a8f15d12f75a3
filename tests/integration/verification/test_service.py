"""The life of a verification, on both databases: each operation, what it refuses, what it leaves behind, and two at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fsroute.callerid import policy
from fsroute.codes import CallerIdCode, DeliveryOutcome
from fsroute.configuration.settings import Settings
from fsroute.data import audit
from fsroute.data import tables as t
from fsroute.data.audit import Author
from fsroute.data.database import open_database, rows
from fsroute.data.routing_store import Store
from fsroute.errors import DataError
from fsroute.model import Call, Direction, VerificationState
from fsroute.verification import history, service, verification_code
from fsroute.verification.attempt import Attempt
from fsroute.verification.budgets import Limits
from fsroute.verification.delivery import DELIVERED, Delivered, Message
from fsroute.verification.method import Method
from fsroute.verification.service import VerificationRefused, Verifications
from tests.support.postgresql import Databases

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
LIMITS = Limits(
    code_s=600, tries=5, starts_per_number=5, starts_per_account=20, starts_per_kind=20, starts_per_country=20,
    starts_per_day=200, wrong_codes=15, call_pause_s=60,
)  # fmt: skip
ANNA, BEN = Author("anna", "portal 192.0.2.7"), Author("ben", "cli:desk")
NUMBER, MOBILE = "+4922129191999", "+491713920042"
NEVER = (
    "Directory, mass-traffic, premium and short-code numbers, 110 and 112 are never a caller's number, not even in a "
    "diverted call."
)
FIRST, LAST = "+4922129191000", "+4922129191099"

TABLES = """
INSERT INTO accounts (name, country, timezone, domain, status, approves_blocks) VALUES
    ('acme', 'DE', 'Europe/Berlin', 'acme.example', 'active', FALSE),
    ('other', 'DE', 'Europe/Berlin', 'other.example', 'active', FALSE),
    ('careful', 'DE', 'Europe/Berlin', 'careful.example', 'active', TRUE),
    ('probe', 'DE', 'Europe/Berlin', 'probe.example', 'trial', FALSE),
    ('closed', 'DE', 'Europe/Berlin', 'closed.example', 'suspended', FALSE),
    ('states', 'US', 'America/New_York', 'states.example', 'active', FALSE);
INSERT INTO trunks (name, gateway, country, domain) VALUES ('carrier', 'carrier', 'DE', 'carrier.example');
INSERT INTO trunk_routes (account, prefix, trunk) VALUES ('acme', '+', 'carrier');
INSERT INTO numbers (number, account, is_network_number) VALUES
    ('+492214710100', 'acme', TRUE), ('+492214710200', 'other', TRUE);
"""


@dataclass
class Way:
    """Delivers into a list."""

    messages: list[Message] = field(default_factory=list)
    outcome: DeliveryOutcome = DeliveryOutcome.CODE_READ
    answer: str = "NORMAL_CLEARING"
    meanwhile: Callable[[Message], object] = lambda message: None

    def deliver(self, message: Message) -> Delivered:
        self.messages.append(message)
        self.meanwhile(message)
        return Delivered(self.outcome, self.answer)


@dataclass
class Desk:
    """Verifications in a database of the test's own."""

    url: str
    way: Way
    numbers: Verifications

    def start(self, account: str = "acme", number: str = NUMBER, at: datetime = NOW, by: str = "call") -> Attempt:
        return self.numbers.start(account, number, Method(by), now=at, who=ANNA)

    def confirm(self, attempt: Attempt, code: str, at: datetime = NOW + MINUTE) -> Attempt:
        return self.numbers.confirm(attempt.id, code, now=at, who=ANNA)

    def right(self, attempt: Attempt) -> str:
        """The code that was delivered for it."""
        return next(message.code for message in self.way.messages if message.id == attempt.id)

    def wrong(self, attempt: Attempt) -> str:
        return f"{(int(self.right(attempt)) + 1) % 1_000_000:06}"

    def verify(self, account: str = "acme", number: str = NUMBER, at: datetime = NOW) -> Attempt:
        attempt = self.start(account, number, at)
        return self.confirm(attempt, self.right(attempt), at)

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        database = open_database(self.url)
        with database.connection_context():
            return rows(database, query)

    def run(self, sql: str) -> None:
        database = open_database(self.url)
        with database.connection_context():
            database.execute_sql(sql)

    def standing(self) -> list[tuple[Any, ...]]:
        """All rows of verified_numbers."""
        return self.rows(t.VerifiedNumber.select().order_by(t.VerifiedNumber.account, t.VerifiedNumber.first_number))

    def states(self) -> dict[tuple[str, str, str], str]:
        return {row[:3]: row[4] for row in self.standing()}

    def log(self) -> list[tuple[Any, ...]]:
        """Action, who, account, numbers, state and reason of the audit log."""
        row = t.AuditRow
        columns = (row.action, row.actor, row.account, row.first_number, row.last_number, row.state, row.reason)
        return self.rows(row.select(*columns).order_by(row.id))

    def verdict(self, number: str = NUMBER, account: str = "acme", at: datetime = NOW + MINUTE) -> CallerIdCode:
        """What a call that asks to show the number is told."""
        store = Store(open_database(self.url), self.url, "DE")
        call = Call("+4930000000", direction=Direction.OUTBOUND, account=account, presented=number)
        routing = store.routing(call)
        store.close()
        assert routing.account is not None
        return policy.may_present(number, routing.facts.get(number), routing.account, None, "+4930000000", at).code

    def consistent(self, at: datetime = NOW + MINUTE) -> None:
        """Nothing is half done: the log leads to what the tables say, and what is pending has a pending attempt."""
        database = open_database(self.url)
        pending = {
            (a.account, a.first, a.last)
            for (id_,) in self.rows(t.VerificationAttempt.select(t.VerificationAttempt.id))
            if (a := self.numbers.attempt(id_)).state == "pending"
        }
        for account, first, last, *_ in self.standing():
            told = history.of(first, at, *audit.read(database, self.url, first))
            assert not [note for note in told.notes if "changed outside" in note]
            if self.states()[account, first, last] == "pending":
                assert (account, first, last) in pending
        kept = self.rows(t.VerificationAttempt.select(t.VerificationAttempt.state, t.VerificationAttempt.code_hash))
        assert all(state == "pending" for state, code_hash in kept if code_hash is not None)


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scripts") / "accounts.sql"
    path.write_text(TABLES)
    return path


@pytest.fixture
def desk(databases: Databases, accounts: Path) -> Iterator[Desk]:
    url, way = databases.filled(accounts), Way()
    made = Desk(url, way, Verifications(open_database(url), url, LIMITS, {Method.CALL: way, Method.SMS: way}))
    yield made
    made.consistent()


def refused(code: str, call: Callable[[], object]) -> VerificationRefused:
    with pytest.raises(VerificationRefused) as caught:
        call()
    assert caught.value.code == code, str(caught.value)
    return caught.value


# --- from start to end ------------------------------------------------------------------------------------


def test_a_code_is_sent_and_confirmed_and_the_number_is_shown(desk: Desk) -> None:
    begun: list[tuple[Attempt, int]] = []
    attempt = desk.numbers.start(
        "acme", NUMBER, Method.CALL, now=NOW, who=ANNA, begun=lambda told: begun.append((told, len(desk.way.messages)))
    )
    (message,) = desk.way.messages
    assert message == Message(attempt.id, "acme", NUMBER, message.code, "de")
    assert begun[0][0].id == attempt.id
    assert begun[0][1] == 0
    assert (attempt.state, attempt.outcome, attempt.answer) == ("pending", "code_read", "NORMAL_CLEARING")
    assert (attempt.notice, attempt.started_by) == (DeliveryOutcome.CODE_READ.meaning, "anna")
    assert (attempt.started_at, attempt.code_expires_at) == (NOW, NOW + 10 * MINUTE)
    assert desk.verdict() == "verification_pending"

    confirmed = desk.numbers.confirm(attempt.id, message.code, now=NOW + MINUTE, who=BEN)
    assert (confirmed.state, confirmed.tries, confirmed.settled_at) == ("verified", 1, NOW + MINUTE)
    assert desk.verdict() == "verified_number"
    until = (NOW + MINUTE + 365 * DAY).isoformat().replace("+00:00", "Z")
    assert desk.standing() == [
        ("acme", NUMBER, NUMBER, "call", "verified", "2026-11-23T09:01:00Z", until, None, "ben", None)
    ]
    assert desk.log() == [
        ("started", "anna", "acme", NUMBER, NUMBER, "pending", None),
        ("delivered", "anna", "acme", NUMBER, NUMBER, None, "code_read"),
        ("confirmed", "ben", "acme", NUMBER, NUMBER, "verified", None),
    ]
    assert desk.numbers.attempt(attempt.id) == confirmed


def test_the_code_is_kept_nowhere(desk: Desk) -> None:
    desk.way.meanwhile = lambda message: setattr(desk.way, "answer", f"sent {message.code}\n to\x00 you")
    attempt = desk.start()
    code = desk.right(attempt)
    assert attempt.answer == "sent *** to you"
    kept = repr([desk.rows(model.select()) for model in t.MODELS])
    assert attempt.id in kept
    assert code not in kept
    assert code not in repr(refused("wrong_code", lambda: desk.confirm(attempt, desk.wrong(attempt))))


@pytest.mark.parametrize(
    ("account", "language", "told"), [("acme", None, "de"), ("acme", "en", "en"), ("states", None, "en")]
)
def test_language(desk: Desk, account: str, language: str | None, told: str) -> None:
    number = "+12125550123" if account == "states" else NUMBER
    desk.numbers.start(account, number, Method.CALL, now=NOW, who=ANNA, language=language)
    assert desk.way.messages[0].language == told
    refused("text_malformed", lambda: desk.numbers.start("acme", NUMBER, Method.CALL, now=NOW, who=ANNA, language="x"))


@pytest.mark.parametrize("outcome", sorted(set(DeliveryOutcome) - DELIVERED))
def test_what_does_not_arrive_has_failed_and_can_be_started_anew(desk: Desk, outcome: DeliveryOutcome) -> None:
    desk.way.outcome = outcome
    attempt = desk.start()
    assert (attempt.state, attempt.outcome, attempt.notice) == ("failed", outcome, outcome.meaning)
    assert desk.states() == {("acme", NUMBER, NUMBER): "failed"}
    assert desk.log()[-1] == ("not_delivered", "anna", "acme", NUMBER, NUMBER, "failed", outcome)
    told = refused("attempt_failed", lambda: desk.confirm(attempt, desk.right(attempt)))
    assert str(told) == f"{NUMBER}: the attempt has failed: {outcome.meaning}; start again"
    desk.way.outcome = DeliveryOutcome.CODE_READ
    desk.verify(at=NOW + 2 * MINUTE)
    assert desk.states() == {("acme", NUMBER, NUMBER): "verified"}


def test_a_delivery_that_breaks_is_told_and_leaves_no_pending_attempt(desk: Desk) -> None:
    def breaks(message: Message) -> None:
        raise KeyboardInterrupt

    desk.way.meanwhile = breaks
    with pytest.raises(KeyboardInterrupt):
        desk.start()
    attempt = desk.numbers.attempt(desk.way.messages[0].id)
    assert (attempt.state, attempt.outcome) == ("failed", "interrupted")
    assert desk.states() == {("acme", NUMBER, NUMBER): "failed"}


def test_a_code_can_be_confirmed_while_it_is_still_being_read(desk: Desk) -> None:
    desk.way.meanwhile = lambda message: desk.numbers.confirm(message.id, message.code, now=NOW, who=BEN)
    desk.way.outcome = DeliveryOutcome.CUT_SHORT
    attempt = desk.start()
    assert (attempt.state, attempt.outcome) == ("verified", "cut_short")
    assert desk.states() == {("acme", NUMBER, NUMBER): "verified"}


def test_no_transaction_is_open_while_the_call_rings(desk: Desk) -> None:
    desk.way.meanwhile = lambda message: desk.numbers.add_block(
        "other", FIRST, LAST, "a letter", now=NOW, who=BEN
    )  # would wait for itself
    desk.start()
    assert desk.states()["other", FIRST, LAST] == "verified"


def test_the_time_a_delivery_took_is_noted(desk: Desk) -> None:
    wait = threading.Event()
    desk.way.meanwhile = lambda message: wait.wait(1.1)
    attempt = desk.start()
    assert attempt.delivered_at in {NOW + SECOND, NOW + 2 * SECOND}


# --- codes ------------------------------------------------------------------------------------------------


def test_wrong_codes_are_counted_and_the_last_one_ends_it(desk: Desk) -> None:
    attempt = desk.start()
    for left in (4, 3, 2):
        told = refused("wrong_code", lambda: desk.confirm(attempt, desk.wrong(attempt)))
        assert str(told) == f"{NUMBER}: the code is wrong; {left} tries are left"
    assert str(refused("wrong_code", lambda: desk.confirm(attempt, desk.wrong(attempt)))).endswith("; 1 try is left")
    told = refused("tries_used_up", lambda: desk.confirm(attempt, desk.wrong(attempt)))
    assert told.attempt is not None
    assert (told.attempt.state, told.attempt.tries) == ("failed", 5)
    refused("tries_used_up", lambda: desk.confirm(attempt, desk.right(attempt)))
    assert desk.states() == {("acme", NUMBER, NUMBER): "failed"}
    assert [row[0] for row in desk.log()] == ["started", "delivered", *["wrong_code"] * 4, "failed", "refused"]


def test_what_is_no_code_is_not_compared(desk: Desk) -> None:
    attempt = desk.start()
    for text in ("", "12345", "1234567", "abcdef", "１２３４５６", "12345\n"):  # noqa: RUF001 - that is the point
        refused("code_malformed", lambda text=text: desk.confirm(attempt, text))  # type: ignore[misc]
    assert desk.numbers.attempt(attempt.id) == attempt


@pytest.mark.parametrize(
    ("at", "code"),
    [(NOW + 10 * MINUTE - SECOND, None), (NOW + 10 * MINUTE, "code_expired"), (NOW - SECOND, "code_expired")],
    ids=["in time", "too late", "before its start, by a clock that was set back"],
)
def test_a_code_lives_ten_minutes(desk: Desk, at: datetime, code: str | None) -> None:
    attempt = desk.start()
    if code is None:
        assert desk.confirm(attempt, desk.right(attempt), at).state == "verified"
        return
    refused(code, lambda: desk.confirm(attempt, desk.right(attempt), at))
    assert desk.states() == {("acme", NUMBER, NUMBER): "expired"}
    # The clock is right again: it stays expired.
    refused(code, lambda: desk.confirm(attempt, desk.right(attempt)))


def test_a_new_start_takes_the_place_of_the_old_one(desk: Desk) -> None:
    old = desk.start()
    new = desk.start(at=NOW + 2 * MINUTE)
    told = refused("attempt_cancelled", lambda: desk.confirm(old, desk.right(old), NOW + 2 * MINUTE))
    assert str(told) == f"{NUMBER}: the attempt was cancelled, or a newer one took its place"
    if desk.right(old) != desk.right(new):
        refused("wrong_code", lambda: desk.confirm(new, desk.right(old), NOW + 2 * MINUTE))
    assert desk.confirm(new, desk.right(new), NOW + 3 * MINUTE).state == "verified"
    refused("already_verified", lambda: desk.confirm(new, desk.right(new), NOW + 3 * MINUTE))
    assert desk.states() == {("acme", NUMBER, NUMBER): "verified"}


def test_an_unknown_id_leaves_nothing(desk: Desk) -> None:
    for id_ in ("", "0" * 24, "'; --", "ä\ud800"):
        told = refused("verification_unknown", lambda id_=id_: desk.numbers.confirm(id_, "123456", now=NOW, who=ANNA))  # type: ignore[misc]
        assert told.is_bad_input
    assert desk.log() == []


def test_a_verified_number_stays_so_until_it_is_verified_again(desk: Desk) -> None:
    desk.verify()
    again = desk.start(at=NOW + 300 * DAY)
    assert desk.verdict(at=NOW + 300 * DAY) == "verified_number"
    assert [s.pending for s in desk.numbers.list_numbers(now=NOW + 300 * DAY)] == [again.id]
    refused("wrong_code", lambda: desk.confirm(again, desk.wrong(again), NOW + 300 * DAY))
    desk.numbers.cancel(again.id, now=NOW + 300 * DAY, who=ANNA, reason="a mistake")
    assert desk.log()[-1] == ("cancelled", "anna", "acme", NUMBER, NUMBER, None, "a mistake")
    assert desk.verdict(at=NOW + 364 * DAY) == "verified_number"
    assert desk.verdict(at=NOW + 365 * DAY) == "verification_expired"
    desk.verify(at=NOW + 301 * DAY)
    assert desk.verdict(at=NOW + 600 * DAY) == "verified_number"
    assert desk.log()[-1][:6] == ("confirmed", "anna", "acme", NUMBER, NUMBER, "verified")


def test_a_number_that_has_expired_is_pending_while_it_is_verified_again(desk: Desk) -> None:
    desk.verify()
    desk.start(at=NOW + 365 * DAY)
    assert desk.states() == {("acme", NUMBER, NUMBER): "pending"}


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "number", "by", "code"),
    [
        ("probe", NUMBER, "call", "trial_account"),
        ("closed", NUMBER, "call", "account_suspended"),
        ("acme", "+492214710100", "call", "own_number"),
        ("acme", "+499001000000", "call", "class_never_presented"),
        ("acme", NUMBER, "sms", "no_mobile_number"),
        ("acme", "+12125550123", "call", "foreign_number"),
    ],
)
def test_a_refused_start_leaves_a_row_in_the_log_and_nothing_else(
    desk: Desk, account: str, number: str, by: str, code: str
) -> None:
    told = refused(code, lambda: desk.start(account, number, by=by))
    assert (told.attempt, told.is_bad_input) == (None, False)
    assert desk.log() == [("refused", "anna", account, number, number, None, code)]
    assert (desk.rows(t.VerificationAttempt.select()), desk.standing(), desk.way.messages) == ([], [], [])


@pytest.mark.parametrize(
    ("account", "number", "code"),
    [("acme", "0221 29191999", "not_e164"), ("acme", "anna", "not_a_number"), ("nobody", NUMBER, "account_unknown"),
     ("acme", "\0", "not_a_number"), ("'; --", NUMBER, "account_unknown"),
     ("\0\ud800", NUMBER, "account_unknown")],
)  # fmt: skip
def test_what_is_no_request_leaves_nothing(desk: Desk, account: str, number: str, code: str) -> None:
    told = refused(code, lambda: desk.start(account, number))
    assert told.is_bad_input
    assert (desk.log(), desk.rows(t.VerificationAttempt.select())) == ([], [])


def test_a_misspelt_number_is_told_what_it_means(desk: Desk) -> None:
    told = refused("not_e164", lambda: desk.start("acme", "0221 29191999"))
    assert told.denial.meant == NUMBER
    assert str(told) == f"0221 29191999: is not written in E.164; {NUMBER} is, and was probably meant"


def test_what_is_not_configured(desk: Desk) -> None:
    numbers = Verifications(open_database(desk.url), desk.url, LIMITS, {Method.SMS: desk.way})
    refused("not_configured", lambda: numbers.start("acme", NUMBER, Method.CALL, now=NOW, who=ANNA))
    assert service.from_settings(Settings(db=desk.url))._deliveries == {}  # noqa: SLF001 - the wiring
    both = Settings(db=desk.url, event_socket_password="x", sms_url="https://sms.example/")  # noqa: S106 - none
    assert set(service.from_settings(both)._deliveries) == {"call", "sms"}  # noqa: SLF001 - the wiring


def test_starts_of_a_number_are_limited_for_all_accounts_together(desk: Desk) -> None:
    for count in range(5):
        desk.start("acme" if count % 2 else "other", at=NOW + count * 2 * MINUTE)
    denied = refused("number_limit", lambda: desk.start("acme", at=NOW + DAY - SECOND))
    assert denied.denial.retry_at == NOW + DAY
    # Set back the clock as far as you like.
    refused("number_limit", lambda: desk.start("acme", at=NOW - 3 * DAY))
    assert desk.start("acme", at=NOW + DAY).state == "pending"


def test_strangers_cannot_lock_the_owner_of_a_number_out(desk: Desk) -> None:
    for count in range(5):
        desk.start("other", at=NOW + count * 2 * MINUTE)
    refused("number_limit", lambda: desk.start("other", at=NOW + 20 * MINUTE))
    owner = desk.start("acme", at=NOW + 20 * MINUTE)
    assert desk.confirm(owner, desk.right(owner), at=NOW + 21 * MINUTE).state == "verified"


def test_six_accounts_with_25_numbers_each_call_no_more_than_the_budget_of_a_day(desk: Desk) -> None:
    """Over all of them, with a budget of 30: an account's first two are sent in any case."""
    desk.numbers = Verifications(
        open_database(desk.url), desk.url, replace(LIMITS, starts_per_day=30), {Method.CALL: desk.way}
    )
    for i in range(6):
        values = f"('pump{i}', 'DE', 'Europe/Berlin', 'pump{i}.example')"
        desk.run(f"INSERT INTO accounts (name, country, timezone, domain) VALUES {values}")  # noqa: S608 - the test's own text
    codes = []
    for count in range(150):
        try:
            desk.start(f"pump{count // 25}", f"+4922129191{count:03}")
        except VerificationRefused as error:
            codes.append(error.code)
    # Two accounts use it up (20 in their hour, then 10); each of the other four has its first two.
    assert len(desk.way.messages) == 20 + 10 + 4 * 2
    assert Counter(codes) == {"account_limit": 5, "total_limit": 15 + 4 * 23}


def test_wrong_codes_of_an_account_are_counted_over_all_its_attempts(desk: Desk) -> None:
    """Also those of attempts that have failed or were replaced; other accounts go on."""
    for count in range(3):
        attempt = desk.start(number=f"+492212919100{count}", at=NOW + count * MINUTE)
        at = NOW + count * MINUTE
        for code in [*["wrong_code"] * 4, "tries_used_up"]:
            refused(code, partial(desk.confirm, attempt, desk.wrong(attempt), at))
    other = desk.start("other", number=MOBILE, at=NOW + 4 * MINUTE)
    refused("guess_limit", lambda: desk.start(number=NUMBER, at=NOW + 5 * MINUTE))
    assert desk.confirm(other, desk.right(other), at=NOW + 5 * MINUTE).state == "verified"
    assert desk.start(number=NUMBER, at=NOW + DAY).state == "pending"


def test_after_too_many_wrong_codes_the_right_one_is_refused_too(desk: Desk) -> None:
    """Otherwise the next guess could still be right."""
    limits = replace(LIMITS, wrong_codes=2)
    desk.numbers = Verifications(open_database(desk.url), desk.url, limits, {Method.CALL: desk.way})
    attempts = [desk.start(number=f"+492212919100{count}") for count in range(3)]
    for attempt in attempts[:2]:
        refused("wrong_code", partial(desk.confirm, attempt, desk.wrong(attempt)))
    last = attempts[2]
    denied = refused("guess_limit", lambda: desk.confirm(last, desk.right(last)))
    assert denied.denial.retry_at == NOW + DAY
    assert desk.numbers.attempt(last.id).tries == 0
    assert desk.rows(t.AuditRow.select(t.AuditRow.action, t.AuditRow.reason).order_by(t.AuditRow.id.desc()).limit(1)) == [
        ("refused", "guess_limit")
    ]


def test_starts_of_an_account_are_limited_also_those_that_failed_or_met_a_conflict(desk: Desk) -> None:
    desk.verify("other", MOBILE)
    desk.way.outcome = DeliveryOutcome.BUSY
    for count in range(19):
        desk.start(number=f"+49221291910{count:02}")
    refused("verified_by_another_account", lambda: desk.start(number=MOBILE, by="sms"))
    told = refused("account_limit", lambda: desk.start(number=NUMBER, at=NOW + 59 * MINUTE))
    assert told.denial.retry_at == NOW + 60 * MINUTE
    desk.start(number=NUMBER, at=NOW + 60 * MINUTE)


def test_a_pause_between_two_calls(desk: Desk) -> None:
    desk.start(number=MOBILE)
    told = refused("call_pause", lambda: desk.start("other", MOBILE, at=NOW + 59 * SECOND))
    assert told.denial.retry_at == NOW + MINUTE
    desk.start("other", MOBILE, at=NOW + 59 * SECOND, by="sms")
    desk.start("other", MOBILE, at=NOW + MINUTE)


# --- conflicts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [NUMBER, "+492214710200"], ids=["verified", "hosted"])
def test_a_number_of_another_account_is_a_conflict(desk: Desk, number: str) -> None:
    if number == NUMBER:
        desk.verify("other")
    code = "verified_by_another_account" if number == NUMBER else "hosted_by_another_account"
    told = refused(code, lambda: desk.start("acme", number, NOW + 2 * MINUTE))
    assert told.attempt is not None
    assert (told.attempt.state, told.attempt.first, told.attempt.settled_at) == ("conflict", number, NOW + 2 * MINUTE)
    assert desk.numbers.attempt(told.attempt.id) == told.attempt
    assert desk.log()[-1] == ("conflict", "anna", "acme", number, number, None, code)
    assert ("acme", number, number) not in desk.states()
    refused("attempt_in_conflict", lambda: desk.numbers.confirm(told.attempt.id, "123456", now=NOW, who=ANNA))  # type: ignore[union-attr]


@pytest.mark.parametrize("by", ["code", "hand", "import"])
def test_what_has_passed_to_another_account_does_not_come_back_with_a_clock_that_is_set_back(desk: Desk, by: str) -> None:
    desk.verify("other")
    after = NOW + 366 * DAY
    if by == "code":
        desk.verify("acme", at=after)
    elif by == "hand":
        desk.numbers.add_block("acme", FIRST[:-3] + "000", FIRST[:-3] + "999", "a letter", now=after, who=BEN)
    else:
        desk.numbers.import_numbers("acme", "hub", NUMBER, "hub.txt", now=after, who=BEN)
    assert (desk.verdict(account="other"), desk.verdict(account="acme").partition("_")[0]) == (
        "verification_expired", "verified",
    )  # fmt: skip
    assert ("expired", "other") in {(row[0], row[2]) for row in desk.log()}


def test_of_two_accounts_the_first_that_confirms_wins(desk: Desk) -> None:
    ours, theirs = desk.start("acme"), desk.start("other", at=NOW + 2 * MINUTE)
    desk.confirm(theirs, desk.right(theirs), NOW + 3 * MINUTE)
    told = refused("verified_by_another_account", lambda: desk.confirm(ours, desk.right(ours), NOW + 3 * MINUTE))
    assert told.attempt is not None
    assert told.attempt.state == "conflict"
    assert desk.states() == {("acme", NUMBER, NUMBER): "failed", ("other", NUMBER, NUMBER): "verified"}
    # The operator settles it.
    desk.numbers.revoke("other", NUMBER, reason="moved to acme", now=NOW + 4 * MINUTE, who=BEN)
    desk.verify("acme", at=NOW + 5 * MINUTE)
    assert desk.states() == {("acme", NUMBER, NUMBER): "verified", ("other", NUMBER, NUMBER): "revoked"}


def test_what_came_up_since_the_start_counts(desk: Desk) -> None:
    attempt = desk.start()
    desk.run("UPDATE accounts SET status = 'suspended' WHERE name = 'acme'")
    refused("account_suspended", lambda: desk.confirm(attempt, desk.right(attempt)))
    assert desk.states() == {("acme", NUMBER, NUMBER): "failed"}
    desk.run("UPDATE accounts SET status = 'active' WHERE name = 'acme'")
    attempt = desk.start(number=FIRST)
    desk.numbers.add_block("acme", "+4922129190999", LAST, "a letter", now=NOW, who=BEN)
    refused("in_block", lambda: desk.confirm(attempt, desk.right(attempt)))
    attempt = desk.start(number="+493023125001")
    desk.run("INSERT INTO numbers (number, account) VALUES ('+493023125001', 'other')")
    refused("hosted_by_another_account", lambda: desk.confirm(attempt, desk.right(attempt)))


# --- by hand ----------------------------------------------------------------------------------------------


def add(desk: Desk, account: str = "acme", first: str = FIRST, last: str = LAST, at: datetime = NOW) -> Attempt:
    return desk.numbers.add_block(account, first, last, "letter of 2026-11-01", now=at, who=ANNA)


def test_a_block_counts_at_once(desk: Desk) -> None:
    attempt = add(desk)
    assert (attempt.state, attempt.method, attempt.evidence) == ("verified", "manual", "letter of 2026-11-01")
    assert desk.verdict("+4922129191050") == "verified_block"
    assert desk.verdict("+4922129191100") == "not_verified"
    assert desk.log() == [("block_added", "anna", "acme", FIRST, LAST, "verified", "letter of 2026-11-01")]


def test_a_block_waits_for_a_second_person_where_the_account_asks_for_that(desk: Desk) -> None:
    attempt = add(desk, "careful")
    assert (attempt.state, attempt.code_expires_at) == ("pending", None)
    assert desk.verdict("+4922129191050", "careful") == "verification_pending"
    for who in (ANNA, Author(" Anna", "cli:desk"), Author("root (sudo: anna)", "cli:desk")):
        told = refused("same_person", lambda who=who: desk.numbers.approve(attempt.id, now=NOW, who=who))  # type: ignore[misc]
        assert str(told) == f"{FIRST} to {LAST}: was entered by anna; somebody else must approve it"
    refused("has_no_code", lambda: desk.numbers.confirm(attempt.id, "123456", now=NOW, who=BEN))
    refused("awaits_approval", lambda: desk.start("careful", FIRST))
    assert desk.numbers.expire(now=NOW + 1000 * DAY, who=BEN).attempts == ()
    approved = desk.numbers.approve(attempt.id, now=NOW + DAY, who=BEN)
    assert (approved.state, approved.approved_by) == ("verified", "ben")
    assert desk.verdict("+4922129191050", "careful", NOW + 2 * DAY) == "verified_block"
    assert desk.log()[-1] == ("approved", "ben", "careful", FIRST, LAST, "verified", "letter of 2026-11-01")
    refused("already_verified", lambda: desk.numbers.approve(attempt.id, now=NOW + DAY, who=BEN))


def test_a_block_that_is_not_approved(desk: Desk) -> None:
    attempt = add(desk, "careful")
    desk.numbers.cancel(attempt.id, now=NOW, who=BEN, reason="the letter is not theirs")
    refused("attempt_cancelled", lambda: desk.numbers.approve(attempt.id, now=NOW, who=BEN))
    assert desk.states() == {("careful", FIRST, LAST): "cancelled"}
    assert desk.log()[-2] == ("cancelled", "ben", "careful", FIRST, LAST, "cancelled", "the letter is not theirs")


def test_an_approval_is_not_for_codes(desk: Desk) -> None:
    attempt = desk.start()
    refused("needs_its_code", lambda: desk.numbers.approve(attempt.id, now=NOW, who=BEN))


@pytest.mark.parametrize(
    ("account", "first", "last", "evidence", "code"),
    [
        ("acme", "+4922129190000", "+4922129200000", "a letter", "block_malformed"),
        ("acme", LAST, FIRST, "a letter", "block_malformed"),
        ("acme", FIRST, "0221 29191099", "a letter", "not_e164"),
        ("acme", FIRST, LAST, "", "text_malformed"),
        ("acme", FIRST, LAST, " \t", "text_malformed"),
        ("acme", FIRST, LAST, "a\x1b[31mletter", "text_malformed"),
        ("acme", FIRST, LAST, "x" * 1001, "text_malformed"),
        ("nobody", FIRST, LAST, "a letter", "account_unknown"),
        ("probe", FIRST, LAST, "a letter", "trial_account"),
        ("acme", "+499001000000", "+499001000009", "a letter", "class_never_presented"),
        ("acme", "+492214710150", "+492214710250", "a letter", "hosted_by_another_account"),
    ],
)
def test_blocks_that_are_refused(desk: Desk, account: str, first: str, last: str, evidence: str, code: str) -> None:
    refused(code, lambda: desk.numbers.add_block(account, first, last, evidence, now=NOW, who=ANNA))
    assert desk.standing() == []


def test_a_block_that_overlaps_another_accounts_is_a_conflict_that_keeps_its_evidence(desk: Desk) -> None:
    desk.verify("other", "+4922129191050")
    told = refused("verified_by_another_account", lambda: add(desk))
    assert told.attempt is not None
    assert (told.attempt.state, told.attempt.evidence) == ("conflict", "letter of 2026-11-01")
    assert desk.states() == {("other", "+4922129191050", "+4922129191050"): "verified"}


def test_a_block_takes_the_place_of_the_number_it_begins_with_and_is_never_shrunk(desk: Desk) -> None:
    desk.verify("acme", FIRST)
    add(desk)
    assert desk.states() == {("acme", FIRST, LAST): "verified"}
    told = refused("in_block", lambda: add(desk, last="+4922129191050"))
    assert str(told) == f"{FIRST} to +4922129191050: is verified in the block {FIRST} to {LAST}"
    refused("in_block", lambda: desk.start(number=FIRST, at=NOW + 2 * MINUTE))
    add(desk, at=NOW + DAY)
    assert desk.standing()[0][6] == "2027-11-24T09:00:00Z"


def test_a_special_number_by_hand(desk: Desk) -> None:
    assert add(desk, first="+498001234567", last="+498001234567").state == "verified"


# --- revoked, expired, cancelled --------------------------------------------------------------------------


def test_a_revoked_number_is_not_shown_with_the_next_call(desk: Desk) -> None:
    desk.verify()
    again = desk.start(at=NOW + 2 * MINUTE)
    revoked = desk.numbers.revoke("acme", NUMBER, reason="ported away", now=NOW + 3 * MINUTE, who=BEN)
    assert (revoked.state, revoked.revoked_at) == ("revoked", NOW + 3 * MINUTE)
    assert desk.verdict() == "verification_revoked"
    refused("attempt_cancelled", lambda: desk.confirm(again, desk.right(again), NOW + 4 * MINUTE))
    refused("not_verified", lambda: desk.numbers.revoke("acme", NUMBER, reason="x", now=NOW, who=BEN))
    assert desk.log()[-4:] == [
        ("revoked", "ben", "acme", NUMBER, NUMBER, "revoked", "ported away"),
        ("cancelled", "ben", "acme", NUMBER, NUMBER, None, "its number was revoked"),
        ("refused", "anna", "acme", NUMBER, NUMBER, None, "attempt_cancelled"),
        ("refused", "ben", "acme", NUMBER, NUMBER, None, "not_verified"),
    ]


def test_a_number_in_a_block_is_revoked_with_its_block(desk: Desk) -> None:
    desk.verify("acme", "+4922129191050")
    add(desk)
    for number in (FIRST, "+4922129191050", LAST):
        told = refused(
            "in_block",
            lambda number=number: desk.numbers.revoke("acme", number, reason="x", now=NOW, who=BEN),  # type: ignore[misc]
        )
        assert str(told) == f"{number}: is verified in the block {FIRST} to {LAST}; revoke that"
    desk.numbers.revoke("acme", FIRST, LAST, reason="x", now=NOW, who=BEN)
    assert (desk.verdict(LAST), desk.verdict("+4922129191050")) == ("verification_revoked", "verified_number")
    desk.numbers.revoke("acme", "+4922129191050", reason="x", now=NOW, who=BEN)
    assert desk.verdict("+4922129191050") == "verification_revoked"


@pytest.mark.parametrize(
    ("account", "number", "reason", "code"),
    [("acme", "0221", "x", "not_e164"), ("acme", NUMBER, " ", "text_malformed"), ("acme", NUMBER, "x", "not_verified"),
     ("nobody", NUMBER, "x", "account_unknown")],
)  # fmt: skip
def test_what_cannot_be_revoked(desk: Desk, account: str, number: str, reason: str, code: str) -> None:
    refused(code, lambda: desk.numbers.revoke(account, number, reason=reason, now=NOW, who=BEN))


def test_expire_writes_down_what_has_expired_and_tells_what_will(desk: Desk) -> None:
    desk.verify()
    desk.verify("other", MOBILE, NOW + 20 * DAY)
    late = desk.start(number=FIRST, at=NOW + 364 * DAY)
    soon = desk.numbers.expire(now=NOW + 364 * DAY + MINUTE, who=BEN)
    assert (soon.attempts, soon.numbers, [s.first for s in soon.soon]) == ((), (), [NUMBER, MOBILE])
    expired = desk.numbers.expire(now=NOW + 365 * DAY, who=BEN, within=timedelta())
    assert ([a.id for a in expired.attempts], [s.first for s in expired.numbers]) == ([late.id], [NUMBER])
    assert expired.soon == ()
    assert desk.states() == {
        ("acme", FIRST, FIRST): "expired", ("acme", NUMBER, NUMBER): "expired", ("other", MOBILE, MOBILE): "verified",
    }  # fmt: skip
    again = desk.numbers.expire(now=NOW + 365 * DAY, who=BEN)
    assert (again.attempts, again.numbers) == ((), ())
    refused("code_expired", lambda: desk.confirm(late, desk.right(late), NOW + 364 * DAY + MINUTE))


def test_expire_ends_codes_from_the_future_and_leaves_blocks_alone(desk: Desk) -> None:
    attempt = desk.start()
    add(desk, "careful")
    assert [a.id for a in desk.numbers.expire(now=NOW - SECOND, who=BEN).attempts] == [attempt.id]


# --- imports ----------------------------------------------------------------------------------------------


def imported(desk: Desk, text: str, source: str = "hub", at: datetime = NOW, account: str = "acme") -> service.Imported:
    return desk.numbers.import_numbers(account, source, text, "hub.txt", now=at, who=BEN)


def test_imported_numbers_are_shown_and_kept_apart(desk: Desk) -> None:
    desk.verify()
    told = imported(desk, f"{NUMBER}\n{MOBILE}\n{FIRST},{LAST}\n")
    assert (told.taken, [s.first for s in told.kept]) == (2, [NUMBER])
    assert desk.verdict("+4922129191050") == "verified_block"
    listed = desk.numbers.list_numbers
    assert [s.first for s in listed(now=NOW)] == [NUMBER]
    assert [(s.first, s.source) for s in listed(now=NOW, source="hub")] == [(MOBILE, "hub"), (FIRST, "hub")]
    assert [s.first for s in listed(now=NOW, source="all")] == [MOBILE, FIRST, NUMBER]
    assert listed(now=NOW, source="all", account="other") == []
    assert desk.log()[-2:] == [
        ("imported", "ben", "acme", MOBILE, MOBILE, "verified", "known to hub"),
        ("imported", "ben", "acme", FIRST, LAST, "verified", "known to hub"),
    ]
    # What is verified here afterwards is ours.
    desk.verify(number=MOBILE, at=NOW + DAY)
    assert [s.first for s in listed(now=NOW + DAY)] == [MOBILE, NUMBER]
    # And once more: what comes from there is renewed.
    assert imported(desk, f"{MOBILE}\n{FIRST},{LAST}\n", at=NOW + 2 * DAY).taken == 1
    assert {s.expires_at for s in listed(now=NOW, source="hub")} == {NOW + 367 * DAY}


def test_an_import_is_done_as_a_whole_or_not_at_all(desk: Desk) -> None:
    desk.verify("other", MOBILE)
    desk.verify("acme", FIRST)
    before = (desk.standing(), desk.log())
    text = f"{NUMBER}\n0221 29191999\n{MOBILE}\n+492214710200\n+499001000000\n{FIRST},{LAST}"
    with pytest.raises(DataError) as caught:
        imported(desk, text)
    assert str(caught.value).splitlines() == [
        f"hub.txt:2: '0221 29191999' is not written in E.164; {NUMBER} is, and was probably meant",
        f"hub.txt:3: {MOBILE} is verified for another account; an operator has to resolve that",
        "hub.txt:4: +492214710200 is hosted here for another account; an operator has to resolve that",
        f"hub.txt:5: +499001000000 {NEVER} (DE-5)",
        f"hub.txt:6: {FIRST} to {LAST} begins like {FIRST}, which is verified here",
    ]
    assert (desk.standing(), desk.log()) == before


def test_imports_that_are_refused(desk: Desk) -> None:
    for source in ("", "all", "a b", "x" * 65, "ä"):
        refused("text_malformed", lambda source=source: imported(desk, NUMBER, source))  # type: ignore[misc]
    refused("trial_account", lambda: imported(desk, NUMBER, account="probe"))
    refused("account_unknown", lambda: imported(desk, NUMBER, account="nobody"))
    assert desk.standing() == []


# --- reading ----------------------------------------------------------------------------------------------


def test_listing_by_state_knows_what_has_expired(desk: Desk) -> None:
    desk.verify()
    desk.start(number=MOBILE)
    listed = desk.numbers.list_numbers
    assert [s.first for s in listed(now=NOW, state=VerificationState.VERIFIED)] == [NUMBER]
    assert [s.first for s in listed(now=NOW, state=VerificationState.PENDING)] == [MOBILE]
    assert [s.first for s in listed(now=NOW + 365 * DAY, state=VerificationState.EXPIRED)] == [NUMBER]


def test_all_that_is_known_of_a_number(desk: Desk) -> None:
    first, second = desk.start(number=FIRST), desk.start(number=FIRST, at=NOW + 2 * MINUTE)
    block = add(desk, at=NOW + 3 * MINUTE)
    standings, attempts = desk.numbers.number("acme", FIRST)
    assert [(s.first, s.last, s.state) for s in standings] == [(FIRST, LAST, "verified")]
    assert [(a.id, a.state) for a in attempts] == [
        (first.id, "cancelled"), (second.id, "cancelled"), (block.id, "verified"),
    ]  # fmt: skip
    assert desk.numbers.number("acme", "+4922129191100") == ([], [])
    refused("not_e164", lambda: desk.numbers.number("acme", "0221 29191999"))
    refused("account_unknown", lambda: desk.numbers.number("nobody", NUMBER))


# --- faults, and two at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", range(1, 26))
def test_a_database_that_fails_anywhere_leaves_nothing_half_done(
    databases: Databases, accounts: Path, statement: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks at the nth statement of a confirmation: it is as before, or done."""
    url, way = databases.filled(accounts), Way()
    database = open_database(url)
    desk = Desk(url, way, Verifications(database, url, LIMITS, {Method.CALL: way}))
    attempt = desk.start()
    executed: Any = database.execute_sql
    count = iter(range(1, 1000))

    def breaks(*arguments: Any, **named: Any) -> Any:
        if next(count) == statement:
            database.connection().close()
        return executed(*arguments, **named)

    monkeypatch.setattr(database, "execute_sql", breaks)
    try:
        desk.confirm(attempt, desk.right(attempt))
        done = True
    except DataError:
        done = False
    monkeypatch.undo()
    assert desk.numbers.attempt(attempt.id).state == ("verified" if done else "pending")
    assert desk.numbers.attempt(attempt.id).tries == done
    desk.consistent()
    assert done or statement < 25  # there are not so many
    if not done:
        assert desk.confirm(attempt, desk.right(attempt)).state == "verified"


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none.db"
    numbers = Verifications(open_database(url), url, LIMITS, {Method.CALL: Way()})
    for call in (
        lambda: numbers.start("acme", NUMBER, Method.CALL, now=NOW, who=ANNA),
        lambda: numbers.confirm("x", "123456", now=NOW, who=ANNA),
        lambda: numbers.list_numbers(now=NOW),
    ):
        with pytest.raises(DataError, match="no such file"):
            call()


def test_a_time_without_a_zone_is_a_defect(desk: Desk) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        desk.start(at=datetime(2026, 11, 23))  # noqa: DTZ001 - that is the point


def at_once(count: int, work: Callable[[int], object]) -> list[str]:
    """What came of each of the threads: the code of a refusal, or done."""
    barrier = threading.Barrier(count)

    def run(position: int) -> str:
        barrier.wait(30)
        try:
            work(position)
        except VerificationRefused as told:
            return told.code
        return "done"

    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(run, range(count)))


def test_of_twenty_wrong_codes_at_once_five_are_compared(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt, compared, matches = desk.start(), [], verification_code.matches

    def counted(code: str, kept: str) -> bool:
        compared.append(code)
        return matches(code, kept)

    monkeypatch.setattr(verification_code, "matches", counted)
    wrong = [code for code in (f"{i:06}" for i in range(21)) if code != desk.right(attempt)][:20]
    told = at_once(20, lambda i: desk.confirm(attempt, wrong[i]))
    assert told == [*["tries_used_up"] * 16, *["wrong_code"] * 4]
    assert (len(compared), desk.numbers.attempt(attempt.id).tries) == (5, 5)


def test_of_two_right_codes_at_once_one_counts(desk: Desk) -> None:
    attempt = desk.start()
    assert at_once(8, lambda _: desk.confirm(attempt, desk.right(attempt))) == [*["already_verified"] * 7, "done"]
    assert [row[0] for row in desk.log()].count("confirmed") == 1


def test_of_two_accounts_at_once_one_wins(desk: Desk) -> None:
    attempts = [desk.start(account, at=NOW + i * MINUTE) for i, account in enumerate(["acme", "other", "careful"])]
    told = at_once(3, lambda i: desk.confirm(attempts[i], desk.right(attempts[i]), NOW + 3 * MINUTE))
    assert told == ["done", "verified_by_another_account", "verified_by_another_account"]
    assert sorted(desk.states().values()) == ["failed", "failed", "verified"]


def test_starts_at_once_do_not_pass_the_limit(desk: Desk) -> None:
    told = at_once(10, lambda i: desk.start(number=MOBILE, by="sms"))
    assert told == [*["done"] * 5, *["number_limit"] * 5]
    assert len(desk.way.messages) == 5
    row = t.VerificationAttempt
    states = sorted(state for (state,) in desk.rows(row.select(row.state)))
    assert states == [*["cancelled"] * 4, "pending"]
