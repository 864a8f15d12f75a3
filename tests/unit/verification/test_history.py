"""What the audit log says of a moment, against callerid.may_present with the rows of verified_numbers at that moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.callerid import policy
from fsroute.model import Account, AuditEntry, Grant, NumberFacts, Verification, VerificationState
from fsroute.verification import history
from fsroute.verification.history import REMOVED
from tests.support.audit_log import FIRST, IN_BLOCK, LAST, VALID_UNTIL, at, verification_of

Key = tuple[str, str]
Table = dict[Key, Verification]


def entry(
    id_: int, minutes: float, state: str | None, *, first: str = IN_BLOCK, last: str | None = None, account: str = "acme",
    action: str = "x", expires: float | None = None, **more: Any,
) -> AuditEntry:  # fmt: skip
    expires_at = at(expires) if expires is not None else at(1000) if state == "verified" else None
    return AuditEntry(
        id_,
        at(minutes),
        "anna",
        "cli:host",
        action,
        account,
        first,
        last or first,
        state=state,
        expires_at=expires_at,
        **more,
    )


@dataclass(frozen=True)
class Case:
    """A log of one account, and what it says at minutes of it: (code, deciding row, row that verified)."""

    name: str
    log: list[AuditEntry]
    answers: dict[float, tuple[str, int | None, int | None] | None]

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("nothing", [], {0: None}),
    Case(
        "a life",
        [
            entry(1, 0, "pending"),
            entry(2, 1, "verified", expires=60),
            entry(3, 30, "verified", expires=90),
            entry(4, 100, "expired"),
            entry(5, 110, "pending"),
            entry(6, 111, "verified"),
            entry(7, 120, "revoked"),
        ],
        {
            -1: None,
            0: ("verification_pending", 1, None),
            0.99: ("verification_pending", 1, None),
            1: ("verified_number", 2, 2),
            59: ("verified_number", 3, 3),
            89.99: ("verified_number", 3, 3),
            90: ("verification_expired", 3, 3),
            100: ("verification_expired", 4, 3),
            110: ("verification_pending", 5, 3),
            111: ("verified_number", 6, 6),
            119.99: ("verified_number", 6, 6),
            120: ("verification_revoked", 7, 6),
            9999: ("verification_revoked", 7, 6),
        },
    ),
    Case(
        "what changes nothing",
        [entry(1, 0, None), entry(2, 1, "verified"), entry(3, 2, None), entry(4, 3, "failed"), entry(5, 4, "cancelled")],
        {
            0: ("not_verified", None, None),
            1: ("verified_number", 2, 2),
            2: ("verified_number", 2, 2),
            3: ("not_verified", 4, 2),
            4: ("not_verified", 5, 2),
        },
    ),
    Case(
        "a block, and a number in it",
        [
            entry(1, 0, "verified", first=FIRST, last=LAST, expires=50),
            entry(2, 10, "verified", expires=60),
            entry(3, 20, "revoked"),
            entry(4, 30, "revoked", first=FIRST, last=LAST),
        ],
        {
            0: ("verified_block", 1, 1),
            10: ("verified_number", 2, 2),
            20: ("verified_block", 1, 1),
            30: ("verification_revoked", 4, 1),
        },
    ),
    Case(
        "another block in its place",
        [
            entry(1, 0, "verified", first=FIRST, last=LAST),
            entry(2, 1, "verified", first=FIRST, last=FIRST),
            entry(3, 2, "revoked", first=FIRST, last=FIRST),
            entry(4, 3, "verified", first=FIRST, last=LAST),
        ],
        {0: ("verified_block", 1, 1), 1: ("not_verified", 2, 1), 2: ("not_verified", 2, 1), 3: ("verified_block", 4, 4)},
    ),
    Case(
        "removed, and there again",
        [entry(1, 0, "verified"), entry(2, 1, REMOVED), entry(3, 2, "verified"), entry(4, 3, REMOVED), entry(5, 4, None)],
        {
            0: ("verified_number", 1, 1),
            1: ("not_verified", 2, 1),
            2: ("verified_number", 3, 3),
            3: ("not_verified", 4, 3),
            4: ("not_verified", 4, 3),
        },
    ),
    Case(
        "other numbers",
        [
            entry(1, 0, "verified", first=f"{IN_BLOCK}0", last=f"{IN_BLOCK}0"),
            entry(2, 1, "verified", first=f"{FIRST}0", last=f"{LAST}0"),
            entry(3, 2, "verified", first="+493023125000", last="+493023125049"),
            entry(4, 3, "verified", first="+493023125051", last="+493023125099"),
            entry(5, 4, REMOVED, first=LAST),
        ],
        {5: None},
    ),
    Case(
        "the ends of a block",
        [
            entry(1, 0, "verified", first=FIRST, last=IN_BLOCK),
            entry(2, 1, REMOVED, first=FIRST, last=IN_BLOCK),
            entry(3, 2, "verified", last=LAST),
        ],
        {0: ("verified_block", 1, 1), 1: ("not_verified", 2, 1), 2: ("verified_block", 3, 3)},
    ),
    Case(
        "a clock set back",
        [entry(1, 0, "verified"), entry(2, 60, "revoked"), entry(3, 30, "verified"), entry(4, 40, "revoked")],
        {
            0: ("verified_number", 1, 1),
            29: ("verified_number", 1, 1),
            30: ("verified_number", 3, 3),
            39: ("verified_number", 3, 3),
            40: ("verification_revoked", 4, 3),
            60: ("verification_revoked", 4, 3),
        },
    ),
    Case(
        "one row from the future",
        [entry(1, 0, "verified"), entry(2, 100_000, "pending"), entry(3, 1, "verified"), entry(4, 2, "revoked")],
        {0: ("verified_number", 1, 1), 1: ("verified_number", 3, 3), 2: ("verification_revoked", 4, 3)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_a_log_says(case: Case) -> None:
    found: dict[float, tuple[str, int | None, int | None] | None] = {}
    for minutes in case.answers:
        answers = history.of(IN_BLOCK, at(minutes), case.log, ()).answers
        assert len(answers) <= 1
        found[minutes] = None
        for answer in answers:
            found[minutes] = (
                answer.verdict.code,
                answer.entry.id if answer.entry else None,
                answer.verified.id if answer.verified else None,
            )
    assert found == case.answers


def test_several_accounts() -> None:
    log = [
        entry(1, 0, "verified", account="one"),
        entry(2, 1, None, account="two"),
        entry(3, 2, "revoked", account="one"),
        entry(4, 3, "verified", account="two"),
        entry(5, 4, "pending", account="one"),
    ]
    found = {
        minutes: [
            (a.account, a.verdict.code, a.entry.id if a.entry else None)
            for a in history.of(IN_BLOCK, at(minutes), log, ()).answers
        ]
        for minutes in range(5)
    }
    assert found == {
        0: [("one", "verified_number", 1)],
        1: [("one", "verified_number", 1), ("two", "verified_by_another_account", 1)],
        2: [("one", "verification_revoked", 3), ("two", "not_verified", None)],
        3: [("one", "verification_revoked", 3), ("two", "verified_number", 4)],
        4: [("one", "verification_pending", 5), ("two", "verified_number", 4)],
    }


def test_the_entries_are_those_that_concern_the_number_up_to_then() -> None:
    block: dict[str, Any] = {"first": FIRST, "last": LAST}
    log = [
        entry(1, 0, "pending", first=FIRST),
        entry(2, 1, None, **block),
        entry(3, 2, "verified", **block),
        entry(4, 3, None, first=FIRST),
        entry(5, 4, "verified", first=FIRST),
        entry(6, 5, "revoked", first=FIRST),
        entry(7, 6, None),
        entry(8, 7, "pending"),
    ]
    found = history.of(IN_BLOCK, at(6), log, ())
    assert found.entries == (log[1], log[2], log[4], log[6])


# --- notes ------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_is_told() -> None:
    log = [entry(1, 0, "verified"), entry(2, 60, "revoked"), entry(5, 30, "verified"), entry(7, 30, None)]
    table = [verification_of(log[2])]
    told = (
        "the clock was set back between row 2 (2026-03-01T13:00:00Z) and row 5 (2026-03-01T12:30:00Z):"
        " times between the two are taken for those after it"
    )
    assert history.of(IN_BLOCK, at(30), log, table).notes == (told,)
    assert history.of(IN_BLOCK, at(29), log, table).notes == ()


CHANGED = "acme, {}: verified_numbers was changed outside fsroute: it has {}, and the log {}"


@pytest.mark.parametrize(
    ("log", "table", "told"),
    [
        ([], [], ()),
        ([entry(1, 0, "verified")], [entry(1, 0, "verified")], ()),
        ([entry(1, 0, "revoked")], [entry(1, 0, "revoked", expires=7)], ()),
        ([entry(1, 0, "verified"), entry(2, 1, REMOVED)], [], ()),
        ([entry(1, 0, None)], [], ()),
        ([entry(1, 0, "verified", first=FIRST)], [entry(1, 0, "pending", first=FIRST)], ()),
        (
            [],
            [entry(1, 0, "verified")],
            (CHANGED.format(IN_BLOCK, f"{IN_BLOCK} to {IN_BLOCK} verified until {VALID_UNTIL}", "no such row"),),
        ),
        ([entry(1, 0, "pending")], [], (CHANGED.format(IN_BLOCK, "no such row", f"{IN_BLOCK} to {IN_BLOCK} pending"),)),
        (
            [entry(1, 0, "verified")],
            [entry(1, 0, "revoked")],
            (
                CHANGED.format(
                    IN_BLOCK, f"{IN_BLOCK} to {IN_BLOCK} revoked", f"{IN_BLOCK} to {IN_BLOCK} verified until {VALID_UNTIL}"
                ),
            ),
        ),
        (
            [entry(1, 0, "verified", expires=60)],
            [entry(1, 0, "verified")],
            (
                CHANGED.format(
                    IN_BLOCK,
                    f"{IN_BLOCK} to {IN_BLOCK} verified until {VALID_UNTIL}",
                    f"{IN_BLOCK} to {IN_BLOCK} verified until 2026-03-01T13:00:00Z",
                ),
            ),
        ),
        (
            [entry(1, 0, "pending", first=FIRST)],
            [entry(1, 0, "pending", first=FIRST, last=LAST)],
            (CHANGED.format(FIRST, f"{FIRST} to {LAST} pending", f"{FIRST} to {FIRST} pending"),),
        ),
        (
            [entry(1, 0, "pending", first=FIRST, last=LAST)],
            [entry(1, 0, "pending", first=FIRST)],
            (CHANGED.format(FIRST, f"{FIRST} to {FIRST} pending", f"{FIRST} to {LAST} pending"),),
        ),
    ],
)
def test_what_changed_outside_is_told(log: list[AuditEntry], table: list[AuditEntry], told: tuple[str, ...]) -> None:
    """At any moment: it may be what somebody wanted to hide."""
    rows = [verification_of(row) for row in table]
    assert [history.of(IN_BLOCK, at(minutes), log, rows).notes for minutes in (-1, 5000)] == [told, told]


# --- the same answer as calls get ---------------------------------------------------------------------------

STATES = [*VerificationState, REMOVED, None]
BLOCKS = [
    (IN_BLOCK, IN_BLOCK),
    (IN_BLOCK, LAST),
    (FIRST, LAST),
    (FIRST, IN_BLOCK),
    (FIRST, FIRST),
    (f"{FIRST}0", f"{LAST}0"),
]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.sampled_from(BLOCKS),
        st.sampled_from(STATES),
        st.integers(-5, 40),  # minutes since the event before: a clock may be set back
        st.integers(-30, 60),  # minutes until it expires
    ),
    max_size=12,
)


def called(table: Table, account: str, now: datetime) -> policy.Verdict:
    """What a call is told that wants to show the number."""
    facts = NumberFacts(None, tuple(table.values()))
    return policy.may_present(IN_BLOCK, facts, Account(account, "DE", "UTC", "d.example"), None, "+4930901820", now)


@given(EVENTS, st.lists(st.integers(-20, 300), min_size=1, max_size=5))
def test_the_log_says_what_calls_were_told(events: list[tuple[str, Key, str | None, int, int]], moments: list[int]) -> None:
    log: list[AuditEntry] = []
    tables: list[tuple[datetime, Table]] = []
    table: Table = {}
    minutes = 0
    for id_, (account, (first, last), state, passed, validity) in enumerate(events, 1):
        minutes += passed
        row = entry(id_, minutes, state, first=first, last=last, account=account, expires=minutes + validity)
        table = {key: standing for key, standing in table.items() if state is None or key != (account, first)}
        if state not in (None, REMOVED):
            table[account, first] = verification_of(row)
        log.append(row)
        tables.append((at(minutes), table))
    for minute in moments:
        now = at(minute)
        then = next((standing for when, standing in reversed(tables) if when <= now), {})
        found = history.of(IN_BLOCK, now, log, list(table.values()))
        told = {answer.account: answer.verdict for answer in found.answers}
        assert told == {account: called(then, account, now) for account in told}
        for account in {"one", "two"} - told.keys():
            assert called(then, account, now).code in ("not_verified", "verified_by_another_account")
        assert not [note for note in found.notes if "outside" in note]
        for answer in found.answers:
            if isinstance(answer.verdict, Grant):
                assert answer.entry is not None
                assert answer.entry == answer.verified
                assert called({answer.entry.key: verification_of(answer.entry)}, answer.account, now) == answer.verdict
