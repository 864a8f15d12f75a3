"""An upgrade on SQLite: what is there, and the statements that lead to schema.sql.

SQLite's ALTER TABLE changes no constraints. So a table that differs is made again with its rows
(https://sqlite.org/lang_altertable.html, section 7), while the foreign keys are off.
"""

from __future__ import annotations

from dataclasses import dataclass

from peewee import Database

from fsroute.data.migrations import rows
from fsroute.data.migrations.target import Table, Target, normal
from fsroute.errors import DataError


@dataclass(frozen=True, slots=True)
class Contents:
    """`objects` by kind (table, index, trigger, view) and name: their table, and the text that made them.

    `columns` by table.
    """

    objects: dict[tuple[str, str], tuple[str, str]]
    columns: dict[str, list[str]]


def read(database: Database) -> Contents:
    """What the database contains."""
    found = database.execute_sql("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    columns: dict[str, list[str]] = {}
    for table, column in database.execute_sql(
        "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c"
        " WHERE m.type = 'table' ORDER BY c.cid"
    ).fetchall():
        columns.setdefault(table, []).append(column)
    return Contents({(kind, name): (table, sql) for kind, name, table, sql in found}, columns)


def changed(there: Contents, target: Target) -> list[Table]:
    """The tables that are there, but differ from schema.sql."""
    return [
        table
        for table in target.tables.values()
        if ("table", table.name) in there.objects and normal(there.objects["table", table.name][1]) != normal(table.sql)
    ]


def plan(there: Contents, target: Target) -> list[str]:
    """The statements that make the database what schema.sql makes. Raises DataError for a column that would be lost."""
    again = {table.name for table in changed(there, target)}
    steps: list[str] = []
    for table in target.tables.values():
        if table.name in again:
            refuse_losing(table, there.columns[table.name])
            steps += rows.made_again(table, there.columns[table.name])
        elif ("table", table.name) not in there.objects:
            steps += [table.sql.removesuffix(";"), *(insert.removesuffix(";") for insert in table.inserts)]
    wanted = {("index", name): found for name, found in target.indexes.items()}
    wanted |= {("trigger", name): found for name, found in target.triggers.items()}
    # Indexes and triggers that an operator has added go with the old table: they are made again too.
    own = {key: found for key, found in there.objects.items() if key[0] in ("index", "trigger") and found[0] in again}
    for key, (table_name, sql) in (own | wanted).items():
        old = None if table_name in again else there.objects.get(key)
        if old is None or normal(old[1]) != normal(sql):
            steps += [f"DROP {key[0].upper()} {key[1]}"] if old else []
            steps.append(sql.removesuffix(";") if key[0] == "index" else sql)
    return steps


def refuse_losing(table: Table, there: list[str]) -> None:
    """Raises DataError if the old table has columns that the new one does not have."""
    unknown = [name for name in there if name not in {column.name for column in table.columns}]
    if unknown:
        raise DataError(
            f"{table.name}: has the column {unknown[0]}, which fsroute does not know, and the upgrade makes the table again:"
            " move that column into a table of your own first; nothing was changed"
        )


def dangling(database: Database) -> list[str]:
    """The rows whose foreign key points nowhere, at most ten, each as one line."""
    found = []
    for table, row, parent, key in database.execute_sql("PRAGMA foreign_key_check").fetchmany(10):
        keys = database.execute_sql(f'PRAGMA foreign_key_list("{table}")').fetchall()
        columns = [str(column[3]) for column in sorted(keys, key=lambda column: int(column[1])) if column[0] == key]
        names = ", ".join(columns)
        values = database.execute_sql(f'SELECT {names} FROM "{table}" WHERE rowid = ?', (row,)).fetchone()  # noqa: S608
        pairs = ", ".join(f"{name} = {value}" for name, value in zip(columns, values, strict=True))
        found.append(f"{table}: {pairs} points nowhere: no such row in {parent}")
    return found
