"""Whatever is done in whatever order, a number is verified only by its code, by an approved block or by an import.

The machine does operations at random on a real database: right and wrong codes, old ones, clocks that are set back, blocks
with and without a second person. What it expects is much simpler than the code: a set of the operations that may make a
number verified, and after every step whether something has become so that was not among them.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from fsroute.codes import DeliveryOutcome
from fsroute.data import audit, loader
from fsroute.data import tables as t
from fsroute.data.audit import Author
from fsroute.data.database import rows
from fsroute.errors import DataError
from fsroute.verification import history, verification_code
from fsroute.verification.budgets import Limits
from fsroute.verification.delivery import DELIVERED, Delivered, Message
from fsroute.verification.method import Method
from fsroute.verification.service import VerificationRefused, Verifications
from tests.support.tables import make_tables

LIMITS = Limits(
    code_s=600, tries=3, starts_per_number=8, starts_per_account=12, starts_per_kind=20, starts_per_country=20,
    starts_per_day=200, wrong_codes=100, call_pause_s=1,
)  # fmt: skip
PEOPLE = [Author("anna", "portal"), Author("ben", "cli:desk")]
ACCOUNTS = ["acme", "acme", "other", "careful", "careful", "probe"]
NUMBERS = [f"+492212919190{i}" for i in range(4)] + ["+491713920042"]
HOSTED = NUMBERS[3]
TABLES = """
INSERT INTO accounts (name, country, timezone, domain, status, verification_days, approves_blocks) VALUES
    ('acme', 'DE', 'Europe/Berlin', 'acme.example', 'active', 2, FALSE),
    ('other', 'DE', 'Europe/Berlin', 'other.example', 'active', 2, FALSE),
    ('careful', 'DE', 'Europe/Berlin', 'careful.example', 'active', 2, TRUE),
    ('probe', 'DE', 'Europe/Berlin', 'probe.example', 'trial', 2, FALSE);
INSERT INTO numbers (number, account) VALUES ('+4922129191903', 'other');
"""

_Row = tuple[str, str, str]
"""Account, first and last number."""


@dataclass
class Way:
    """Delivers into a list, or fails."""

    messages: list[Message] = field(default_factory=list)
    outcome: DeliveryOutcome = DeliveryOutcome.CODE_READ

    def deliver(self, message: Message) -> Delivered:
        self.messages.append(message)
        return Delivered(self.outcome)


class Life(RuleBasedStateMachine):
    """The operations, on one database."""

    attempts = Bundle("attempts")

    @initialize()
    def begin(self) -> None:
        """An hour that nobody has used, and tables with four accounts."""
        self.directory = Path(mkdtemp(prefix="fsroute-property-"))
        self.now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
        self.way = Way()
        database, self.url = make_tables(self.directory / "life.db")
        tables = self.directory / "tables.sql"
        tables.write_text(TABLES)
        loader.load(database, self.url, [tables], self.now, "test")
        self.numbers = Verifications(database, self.url, LIMITS, {Method.CALL: self.way, Method.SMS: self.way})
        self.database = database
        self.verified: set[tuple[Any, ...]] = set()
        self.proven: set[_Row] = set()
        self.blocks: dict[str, tuple[_Row, str]] = {}
        """Blocks that wait for approval, and who entered them."""
        self.compared: dict[str, int] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- operations --------------------------------------------------------------------------------------

    @rule(
        target=attempts,
        account=st.sampled_from(ACCOUNTS),
        number=st.sampled_from(NUMBERS),
        method=st.sampled_from([Method.CALL, Method.SMS]),
        outcome=st.sampled_from([DeliveryOutcome.CODE_READ] * 20 + list(DeliveryOutcome)),
    )
    def start(self, account: str, number: str, method: Method, outcome: DeliveryOutcome) -> Any:
        self.way.outcome = outcome
        try:
            attempt = self.numbers.start(account, number, method, now=self.now, who=PEOPLE[0])
        except VerificationRefused:
            return multiple()
        assert (attempt.state == "pending") == (outcome in DELIVERED)
        return attempt.id

    @rule(
        target=attempts,
        account=st.sampled_from(ACCOUNTS),
        number=st.sampled_from(NUMBERS),
        codes_=st.lists(st.sampled_from(["right", "wrong", "another's"]), min_size=1, max_size=4),
        wait_s=st.sampled_from([0, 20, 599, 600, -1]),
    )
    def start_and_confirm(self, account: str, number: str, codes_: list[str], wait_s: int) -> Any:
        id_ = self.start(account, number, Method.CALL, "code_read")
        self.now += timedelta(seconds=wait_s)
        for code in codes_ if isinstance(id_, str) else []:
            self.confirm(id_, latest=False, code=code, before_s=0)
        return id_

    @rule(
        id_=attempts,
        latest=st.booleans(),
        code=st.sampled_from(["right", "right", "wrong", "another's", "123456", "12345"]),
        before_s=st.sampled_from([0, 0, 0, 1, 700]),
    )
    def confirm(self, id_: str, latest: bool, code: str, before_s: int) -> None:
        id_ = self.way.messages[-1].id if latest and self.way.messages else id_
        sent = {message.id: message for message in self.way.messages}
        right = sent[id_].code if id_ in sent else None
        tried = {
            "right": right or "000000",
            "wrong": f"{(int(right or 0) + 1) % 1_000_000:06}",
            "another's": self.way.messages[-1].code if self.way.messages else "000000",
        }.get(code, code)
        attempt = self.numbers.attempt(id_)
        now = self.now - timedelta(seconds=before_s)
        alive = attempt.state == "pending" and attempt.code_expires_at is not None
        alive = alive and attempt.started_at <= now and now < (attempt.code_expires_at or now)
        if tried == right and alive and self.compared.get(id_, 0) < LIMITS.tries:
            self.proven.add((attempt.account, attempt.first, attempt.last))
        if alive and verification_code.is_code(tried):
            self.compared[id_] = self.compared.get(id_, 0) + 1
        with suppress(VerificationRefused):
            self.numbers.confirm(id_, tried, now=now, who=PEOPLE[1])
            event("confirmed")

    @rule(
        target=attempts,
        account=st.sampled_from(ACCOUNTS),
        ends=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        who=st.sampled_from(PEOPLE),
    )
    def add_block(self, account: str, ends: tuple[int, int], who: Author) -> Any:
        first, last = NUMBERS[ends[0]], NUMBERS[ends[1]]
        if account != "careful":
            self.proven.add((account, first, last))
        try:
            attempt = self.numbers.add_block(account, first, last, "a letter", now=self.now, who=who)
        except VerificationRefused:
            return multiple()
        if account == "careful":
            self.blocks[attempt.id] = ((account, first, last), who.actor)
        return attempt.id

    @rule(id_=attempts, who=st.sampled_from(PEOPLE))
    def approve(self, id_: str, who: Author) -> None:
        block, by = self.blocks.get(id_, (None, None))
        if block is not None and by != who.actor and self.numbers.attempt(id_).state == "pending":
            self.proven.add(block)
        with suppress(VerificationRefused):
            self.numbers.approve(id_, now=self.now, who=who)
            event("approved")

    @rule(id_=attempts)
    def cancel(self, id_: str) -> None:
        with suppress(VerificationRefused):
            self.numbers.cancel(id_, now=self.now, who=PEOPLE[0])

    @rule(account=st.sampled_from(ACCOUNTS), ends=st.tuples(st.integers(0, 4), st.integers(0, 4)))
    def revoke(self, account: str, ends: tuple[int, int]) -> None:
        first, last = (NUMBERS[end] for end in ends)
        with suppress(VerificationRefused):
            standing = self.numbers.revoke(account, first, last, reason="asked for", now=self.now, who=PEOPLE[0])
            assert standing.state == "revoked"

    @rule(account=st.sampled_from(ACCOUNTS), numbers=st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=2))
    def take_over(self, account: str, numbers: list[str]) -> None:
        self.proven |= {(account, number, number) for number in numbers}
        with suppress(VerificationRefused, DataError):
            self.numbers.import_numbers(account, "hub", "\n".join(numbers), "hub", now=self.now, who=PEOPLE[0])

    @rule()
    def expire(self) -> None:
        self.numbers.expire(now=self.now, who=PEOPLE[1])

    @rule(by=st.sampled_from([1, 31, 300, 599, 600, 4000, 90_000, 180_000, -1, -700, -90_000]))
    def pass_time(self, by: int) -> None:
        self.now += timedelta(seconds=by)

    # --- what always holds -------------------------------------------------------------------------------

    @invariant()
    def nothing_is_verified_without_a_proof(self) -> None:
        row = t.VerifiedNumber
        with self.database.connection_context():
            columns = (row.account, row.first_number, row.last_number, row.expires_at)
            verified = set(rows(self.database, row.select(*columns).where(row.state == "verified")))
        # Anew, or for longer than before.
        changed = {(account, first, last) for account, first, last, _ in verified - self.verified}
        assert changed <= self.proven
        assert "probe" not in {account for account, *_ in verified}
        self.verified, self.proven = verified, set()

    @invariant()
    def a_number_belongs_to_one_account(self) -> None:
        valid = [s for s in self.numbers.list_numbers(now=self.now, source="all") if s.is_valid(self.now)]
        for number in NUMBERS:
            holders = {s.account for s in valid if s.first <= number <= s.last and len(s.first) == len(number)}
            assert len(holders) <= 1
            assert not (number == HOSTED and holders - {"other"})

    @invariant()
    def codes_are_compared_as_often_as_the_limit_says(self) -> None:
        assert all(self.numbers.attempt(id_).tries <= LIMITS.tries for id_ in self.compared)

    @invariant()
    def what_is_pending_can_end_and_what_has_ended_keeps_no_code(self) -> None:
        attempt = t.VerificationAttempt
        with self.database.connection_context():
            kept = rows(
                self.database, attempt.select(attempt.account, attempt.first_number, attempt.state, attempt.code_hash)
            )
            standing = rows(self.database, t.VerifiedNumber.select())
        pending = {(account, first) for account, first, state, _ in kept if state == "pending"}
        assert {(row[0], row[1]) for row in standing if row[4] == "pending"} <= pending
        assert all(state == "pending" for _, _, state, code_hash in kept if code_hash is not None)

    @invariant()
    def the_log_leads_to_what_the_tables_say(self) -> None:
        for number in NUMBERS:
            told = history.of(number, self.now, *audit.read(self.database, self.url, number))
            assert not [note for note in told.notes if "changed outside" in note]


def test_no_sequence_of_operations_verifies_a_number_without_a_proof(monkeypatch: Any) -> None:
    # The hash is slow on purpose; how slow makes no difference here.
    monkeypatch.setattr(verification_code, "_COST", 2)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Thirty steps are short enough to read; making them fewer takes minutes.
            phases=(Phase.reuse, Phase.generate),
        ),
    )
