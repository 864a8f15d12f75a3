"""The audit log: adds rows, one writer at a time, and reads the rows about a number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import Database, fn

from fsroute import times
from fsroute.data import tables as t
from fsroute.data.database import DATABASE_ERRORS, Row, database_errors, is_sqlite, named_rows, rows, snapshot
from fsroute.errors import ConfigError, DataError
from fsroute.model import AuditEntry, Verification, VerificationState

LOCK = int.from_bytes(b"fsroute", "big")
"""Number of fsroute's advisory lock in PostgreSQL. All programs of a database share these numbers, so it spells a name."""

_WAIT_S = 5
"""How long a writer waits for another writer on PostgreSQL; the same as on SQLite (database.py)."""

MAX_LENGTH = 200
"""Longest actor and origin, in characters: one line of a table."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something (a login name), and from where (`cli:host`, `load: numbers.sql`, the portal's address).

    Raises ConfigError unless each is one line of 1 to 200 printable characters.
    """

    actor: str
    origin: str

    def __post_init__(self) -> None:
        for name, text in (("actor", self.actor), ("origin", self.origin)):
            if not text.strip() or len(text) > MAX_LENGTH or not text.isprintable():
                raise ConfigError(f"{name} {text[:50]!r}: must be 1 to {MAX_LENGTH} printable characters")


@contextmanager
def exclusive(database: Database, url: str) -> Iterator[None]:
    """A transaction, with one writer at a time: the rows that it reads do not change until it has written.

    It connects where there is no connection, and then closes it at the end. Raises DataError if the database fails, or if
    another writer does not finish within five seconds; then nothing has changed.
    """
    if database.in_transaction():
        raise RuntimeError("exclusive() in a transaction: another writer may have changed what that has read")
    with database_errors(url):
        opened = False
        try:
            opened = database.connect(reuse_if_open=True)
            with database.atomic("IMMEDIATE") if is_sqlite(database) else database.atomic():
                if not is_sqlite(database):
                    # Not the server's default: a snapshot from before the wait would miss the other writer's changes.
                    database.execute_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    database.execute_sql(f"SET LOCAL lock_timeout = '{_WAIT_S}s'")
                    database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                yield
        except DATABASE_ERRORS:
            # A broken connection must not be used again. Who connected with a `connection_context` closes it themselves.
            opened = opened or not database._state.ctx  # type: ignore[attr-defined]  # noqa: SLF001
            raise
        finally:
            if opened:
                database.close()


def record(
    database: Database,
    at: datetime,
    author: Author,
    action: str,
    account: str,
    first: str,
    last: str,
    *,
    verification: str | None = None,
    method: str | None = None,
    state: str | None = None,
    expires_at: datetime | None = None,
    reason: str | None = None,
) -> None:
    """Adds a row; schema.sql describes its columns. Only inside `exclusive`, together with the change that it records."""
    row = t.AuditRow
    ((last_id,),) = rows(database, row.select(fn.COALESCE(fn.MAX(row.id), 0)))
    values: dict[str, Any] = {
        "id": last_id + 1,
        "at": times.to_text(at),
        "actor": author.actor,
        "origin": author.origin,
        "action": action,
        "account": account,
        "first_number": first,
        "last_number": last,
        "verification": verification,
        "method": method,
        "state": state,
        "expires_at": times.to_text(expires_at),
        "reason": reason,
    }
    row.insert(values).bind(database).execute()


_COLUMNS = "account, first_number, last_number, method, state, verified_at, expires_at, revoked_at, verified_by, source"
_LOGGED = "id, at, actor, origin, action, account, first_number, last_number, method, state, expires_at, reason"
_AUTHORED = (
    "(SELECT COALESCE(MAX(id), 0) FROM audit_log) + ROW_NUMBER() OVER (ORDER BY account, first_number), {0}, {0}, {0}"
)


class Watch:
    """Adds a row to the log for every row of verified_numbers that is added, changed or removed between `remember` and
    `record`.

    The database compares the rows before and after, because there may be a million of them. It copies them only if something
    is about to change them, which the caller must know.
    """

    def __init__(self, database: Database, at: datetime, author: Author) -> None:
        """Only inside `exclusive`."""
        self._database = database
        self._values = (times.to_text(at), author.actor, author.origin)
        self.has_remembered = False

    def remember(self) -> None:
        """Copies the rows as they are now, unless it has done so before."""
        # ruff: noqa: S608 - nothing but the names above is put into these texts
        if not self.has_remembered:
            self._database.execute_sql(f"CREATE TEMPORARY TABLE fsroute_before AS SELECT {_COLUMNS} FROM verified_numbers")
            self.has_remembered = True

    def record(self) -> None:
        """Adds the rows. Nothing, if nothing was remembered."""
        if not self.has_remembered:
            return
        authored = _AUTHORED.format(self._database.param)
        # Removed rows first, then new ones: the block may have replaced a row by another one with the same key.
        self._database.execute_sql(
            f"INSERT INTO audit_log ({_LOGGED})"
            f" SELECT {authored}, 'removed', account, first_number, last_number, method, 'removed', NULL, NULL"
            " FROM fsroute_before AS gone WHERE NOT EXISTS (SELECT 1 FROM verified_numbers AS row"
            " WHERE row.account = gone.account AND row.first_number = gone.first_number)",
            self._values,
        )
        self._database.execute_sql(
            f"INSERT INTO audit_log ({_LOGGED})"
            f" SELECT {authored}, 'loaded', account, first_number, last_number, method, state, expires_at,"
            " NULLIF(ltrim(COALESCE('verified by ' || verified_by, '') || COALESCE(', from ' || source, ''), ', '), '')"
            f" FROM (SELECT {_COLUMNS} FROM verified_numbers EXCEPT SELECT {_COLUMNS} FROM fsroute_before) AS changed",
            self._values,
        )
        self._database.execute_sql("DROP TABLE fsroute_before")
        self.has_remembered = False


def read(database: Database, url: str, number: str) -> tuple[list[AuditEntry], list[Verification]]:
    """What `history.of` needs for a number (E.164): rows of the log and of verified_numbers, as of one moment.

    Raises DataError if they cannot be read.
    """
    with database_errors(url), database.connection_context(), snapshot(database):
        entry, row = t.AuditRow, t.VerifiedNumber
        # The rows that cover the number, and all rows with the same keys: these may have covered it before.
        firsts = {
            first
            for table in (entry, row)
            for (first,) in rows(
                database,
                table.select(table.first_number)
                .where((table.first_number <= number) & (table.last_number >= number))
                .distinct(),
            )
            if len(first) == len(number)
        }
        logged = named_rows(database, entry.select().where(entry.first_number.in_(firsts)).order_by(entry.id))
        stored = named_rows(database, row.select().where(row.first_number.in_(firsts)))
    try:
        return [_entry(found) for found in logged], [verification(found) for found in stored]
    except ValueError as error:
        raise DataError(f"audit_log, verified_numbers: {number}: {error}") from error


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        at=times.from_text(row["at"]),
        actor=row["actor"],
        origin=row["origin"],
        action=row["action"],
        account=row["account"],
        first=row["first_number"],
        last=row["last_number"],
        verification=row["verification"],
        method=row["method"],
        state=row["state"],
        expires_at=times.from_text(row["expires_at"]),
        reason=row["reason"],
    )


def verification(row: Row) -> Verification:
    """A row of verified_numbers."""
    return Verification(
        account=row["account"],
        first=row["first_number"],
        last=row["last_number"],
        state=VerificationState(row["state"]),
        expires_at=times.from_text(row["expires_at"]),
    )
