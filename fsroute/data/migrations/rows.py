"""What becomes of the rows of a table that gets new columns or constraints: texts of SQL for both databases. Pure."""

# ruff: noqa: S608 - the names in these texts come from schema.sql

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fsroute.data.migrations.target import Column, Table

COPY = "fsroute_upgrade_copy"
"""The table that keeps the rows while their table is made again."""

VALUES = {
    # Version 1 got this column later. A carrier expects its own name or ours there; ours is the likelier to be accepted.
    "trunks.domain": (
        "COALESCE((SELECT MIN(accounts.domain) FROM trunk_routes JOIN accounts ON accounts.name = trunk_routes.account"
        " WHERE trunk_routes.trunk = trunks.name), 'unknown.invalid')"
    ),
}
"""What old rows get in a new column that has no default and may not be NULL, as an expression over the old tables. An
upgrade prints these values, because somebody must check them."""


def value(table: Table, column: Column) -> str:
    """The expression that gives old rows their value in a new column."""
    given = VALUES.get(f"{table.name}.{column.name}")
    return given or f"CAST({column.default or 'NULL'} AS {column.type})"


def guesses(table: Table, there: Iterable[str]) -> list[Column]:
    """The new columns whose values for old rows are guessed."""
    return [column for column in table.columns if column.name not in there and f"{table.name}.{column.name}" in VALUES]


def made_again(table: Table, there: Iterable[str]) -> list[str]:
    """Makes a table again as schema.sql has it, with the rows of the old one. `there` are the columns of the old one.

    It renames nothing: names of constraints and references of other tables stay as they are written.
    """
    names = ", ".join(column.name for column in table.columns)
    return [
        f"CREATE TABLE {COPY} AS SELECT * FROM {table.name}",
        f"DROP TABLE {table.name}",
        table.sql.removesuffix(";"),
        f"INSERT INTO {table.name} ({names}) SELECT {_values(table, there)} FROM {COPY} AS {table.name}",
        f"DROP TABLE {COPY}",
    ]


def misfits(table: Table, there: Iterable[str]) -> Iterator[tuple[str, str]]:
    """For each constraint of a table its name, and the query for the keys of the rows that do not fit it, at most three."""
    key = ", ".join(table.key)
    rows = f"(SELECT {_values(table, there, named=True)} FROM {table.name}) AS {table.name}"
    for name, check in table.checks.items():
        yield name, f"SELECT {key} FROM {rows} WHERE NOT {check} ORDER BY {key} LIMIT 3"


def _values(table: Table, there: Iterable[str], *, named: bool = False) -> str:
    """The values of a row in the order of schema.sql's columns."""
    return ", ".join(
        column.name if column.name in there else value(table, column) + (f" AS {column.name}" if named else "")
        for column in table.columns
    )
