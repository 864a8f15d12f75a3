"""Lets scripts reach the routing tables of an SQLite database, and nothing else.

SQLite asks its authorizer about every table, column and function when it compiles a statement, also about what triggers,
views and checks of the tables do. The answer is an allow-list, so an action that a later version of SQLite adds is refused.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peewee import Database

from fsroute.data.script_rules import (
    SQLITE_FUNCTIONS,
    TABLES,
    VERIFIED,
    Refused,
    refused_function,
    refused_statement,
    refused_table,
)

MAX_VALUE = 1_000_000
"""Longest text that SQLite makes for a script, in bytes. printf('%1000000000d', 1) would take a gigabyte."""

_WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_TABLE_ACTIONS = _WRITES | {sqlite3.SQLITE_READ}
_QUERIES = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE}
_OTHERS = {
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_TRANSACTION: "transactions",
    sqlite3.SQLITE_SAVEPOINT: "savepoints",
}


class NotRemembered(Exception):
    """The statement would write verified_numbers, whose rows are not yet remembered for the audit log. It has not run."""


class Guard:
    """Answers SQLite's questions about the statements of a script."""

    def __init__(self, database: Database, schema: str) -> None:
        """`schema` is the text of schema.sql. Raises Refused if somebody else's triggers are on the routing tables."""
        self._connection: sqlite3.Connection = database.connection()
        self._refused: str | None = None
        self._remembered = self._asked = False
        self._text = ""
        _check_triggers(database, schema)

    def allow_verified(self) -> None:
        """The rows of verified_numbers are remembered: from now on statements can write them."""
        self._remembered = True

    @contextmanager
    def statement(self, text: str) -> Iterator[None]:
        """Runs one statement of a script in the block.

        Raises Refused with the reason if the statement may not run, and NotRemembered if `allow_verified` must be called
        first. In both cases nothing of it has run.
        """
        self._refused, self._asked, self._text = None, False, text.lower()
        longest = self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        self._connection.set_authorizer(self._answer)
        try:
            yield
        except Exception as error:
            if self._refused is not None:
                raise Refused(self._refused) from error
            if self._asked:
                raise NotRemembered from error
            raise
        finally:
            self._connection.set_authorizer(None)
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN")  # INSERT OR ROLLBACK has ended the load's; all of that is undone next

    def _answer(self, action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
        """Called by SQLite. `source` is the trigger, view or WITH table for which SQLite asks."""
        if action in _QUERIES:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            name = str(second)
            return sqlite3.SQLITE_OK if name.lower() in SQLITE_FUNCTIONS else self._refuse(refused_function(name))
        if action not in _TABLE_ACTIONS:
            return self._refuse(refused_statement(_OTHERS.get(action, "this statement")))
        name = str(first)
        if action == sqlite3.SQLITE_READ and source is None and name.lower() not in self._text:
            return sqlite3.SQLITE_OK  # SQLite itself reads it, for a foreign key: names have no other spelling
        # A READ of no column (count(*)) names no database.
        is_ours = name.lower() in TABLES and database in ("main", None)
        if is_ours and action in _WRITES and name.lower() == VERIFIED and not self._remembered:
            self._asked = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if is_ours else self._refuse(refused_table(name))

    def _refuse(self, reason: str) -> int:
        if self._refused is None:
            self._refused = reason
        return sqlite3.SQLITE_DENY


def _check_triggers(database: Database, schema: str) -> None:
    """Raises Refused if a trigger on a routing table is not one of schema.sql: it would write what no script may."""
    made_by_us = _words(schema)
    found: list[Any] = database.execute_sql(
        "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    ).fetchall()
    for name, table, text in found:
        if table.lower() in TABLES and _words(text) not in made_by_us:
            raise Refused(
                f"trigger {name} on {table} is not fsroute's: it would run with each change of a script; drop it before a"
                " load"
            )


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text)
