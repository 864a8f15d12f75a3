"""An upgrade on PostgreSQL: what is there, and the statements that lead to schema.sql.

What schema.sql makes is found by running it in a schema of its own, inside the transaction: PostgreSQL then writes both
in the same words. A table keeps its rows in place where new columns come last; else it is made again, because scripts may
give values without naming columns, in the order of schema.sql.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from peewee import Database

from fsroute.data.database import execute_whole
from fsroute.data.migrations import rows
from fsroute.data.migrations.sqlite import refuse_losing
from fsroute.data.migrations.target import Table, Target

SCRATCH = "fsroute_upgrade"
"""The schema in which schema.sql runs. The transaction also drops it."""

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum"""

# contype n: from version 18 on NOT NULL is a constraint too. It is compared with the column.
_CONSTRAINTS = """
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid, true), coalesce(r.relname, '')
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid LEFT JOIN pg_class AS r ON r.oid = k.confrelid
WHERE c.relnamespace = %s::regnamespace AND k.contype IN ('c', 'f', 'p', 'u', 'x')
ORDER BY c.relname, k.contype = 'f', k.conname"""

_INDEXES = """
SELECT c.relname, i.relname, pg_get_indexdef(x.indexrelid, 0, true)
FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid
WHERE c.relnamespace = %s::regnamespace AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.oid)
ORDER BY c.relname, i.relname"""

# A trigger that somebody has disabled is none: it is made again.
_TRIGGERS = """
SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid, true) || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' disabled' END
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = %s::regnamespace AND NOT t.tgisinternal ORDER BY c.relname, t.tgname"""

_FUNCTIONS = """
SELECT proname, replace(pg_get_functiondef(oid), ' FUNCTION ' || quote_ident(%s) || '.', ' FUNCTION ')
FROM pg_proc WHERE pronamespace = %s::regnamespace AND prokind = 'f' ORDER BY proname"""

_GRANTS = """
SELECT c.relname, g.privilege_type, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END, g.is_grantable
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS g
WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p') AND g.grantee <> c.relowner
ORDER BY c.relname, g.grantee, g.privilege_type"""

Named = dict[tuple[str, str], str]
"""The definitions of what belongs to tables, by table and name."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a schema contains. `columns` by table: name, type, whether NULL is refused, default.

    `references` has for each foreign key, by its table and name, the table that it points to.
    """

    columns: dict[str, list[tuple[str, str, bool, str | None]]]
    constraints: Named
    references: Named
    indexes: Named
    triggers: Named
    functions: dict[str, str]
    grants: dict[str, list[str]]


def read(database: Database, schema: str) -> Contents:
    """What a schema contains, in words that do not name the schema: it must be the first of the search path."""
    quoted = f'"{schema}"'

    def ask(query: str, *values: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = database.execute_sql(query, values or (quoted,)).fetchall()
        return found

    columns: dict[str, list[tuple[str, str, bool, str | None]]] = {}
    for table, *column in ask(_COLUMNS):
        columns.setdefault(table, []).append((column[0], column[1], column[2], column[3]))
    constraints = ask(_CONSTRAINTS)
    grants: dict[str, list[str]] = {}
    for table, privilege, grantee, grantable in ask(_GRANTS):
        option = " WITH GRANT OPTION" if grantable else ""
        grants.setdefault(table, []).append(f"GRANT {privilege} ON {table} TO {grantee}{option}")
    return Contents(
        columns,
        {(table, name): text for table, name, text, _ in constraints},
        {(table, name): to for table, name, _, to in constraints if to},
        {(table, name): text for table, name, text in ask(_INDEXES)},
        {(table, name): text for table, name, text in ask(_TRIGGERS)},
        dict(ask(_FUNCTIONS, schema, quoted)),
        grants,
    )


def read_wanted(database: Database, text: str) -> Contents:
    """What schema.sql makes. Only inside a transaction."""
    ((path,),) = database.execute_sql("SELECT current_setting('search_path')").fetchall()
    execute_whole(database, f"CREATE SCHEMA {SCRATCH}; SET LOCAL search_path = {SCRATCH}")
    execute_whole(database, text)
    found = read(database, SCRATCH)
    database.execute_sql("SELECT set_config('search_path', %s, true)", (path,))
    execute_whole(database, f"SET LOCAL client_min_messages = warning; DROP SCHEMA {SCRATCH} CASCADE")
    return found


def changed(there: Contents, wanted: Contents, target: Target) -> list[Table]:
    """The tables that are there, but whose columns or constraints differ from schema.sql."""
    return [
        table
        for table in target.tables.values()
        if table.name in there.columns
        and (
            there.columns[table.name] != wanted.columns[table.name]
            or any(there.constraints.get(key) != text for key, text in wanted.constraints.items() if key[0] == table.name)
        )
    ]


def plan(there: Contents, wanted: Contents, target: Target) -> list[str]:
    """The statements that make the database what schema.sql makes. Raises DataError for a column that would be lost."""
    steps = [f"{text}" for name, text in wanted.functions.items() if there.functions.get(name) != text]
    steps = [text.rstrip() for text in steps]
    made: set[str] = set()
    after: list[str] = []
    for table in target.tables.values():
        if table.name not in there.columns:
            made.add(table.name)
            steps += [table.sql.removesuffix(";"), *(insert.removesuffix(";") for insert in table.inserts)]
        elif _is_beginning(there, wanted, table.name):
            steps += _new_columns(table, len(there.columns[table.name]))
        else:
            made.add(table.name)
            again, there = _made_again(table, there)
            steps += again
            after += _kept(table.name, there, wanted)
    steps += _constraints(there, wanted, target, made)
    for (name, index), text in wanted.indexes.items():
        old = None if name in made else there.indexes.get((name, index))
        if old != text:
            steps += [f"DROP INDEX {index}"] if old else []
            steps.append(target.indexes[index][1].removesuffix(";"))
    for (name, trigger), text in wanted.triggers.items():
        old = None if name in made else there.triggers.get((name, trigger))
        if old != text:
            steps += [f"DROP TRIGGER {trigger} ON {name}"] if old else []
            steps.append(text)
    return steps + after


def _is_beginning(there: Contents, wanted: Contents, table: str) -> bool:
    """Whether the table has the first columns of the new one and no others."""
    old = there.columns[table]
    return old == wanted.columns[table][: len(old)]


def _new_columns(table: Table, count: int) -> list[str]:
    """Adds the columns behind the first `count`. Constraints follow for all of them together."""
    steps = []
    for column in table.columns[count:]:
        default = f" DEFAULT {column.default}" if column.default else ""
        # The row of schema_version is written anew.
        later = column.is_required and table.name != "schema_version"
        not_null = " NOT NULL" if "NOT NULL" in column.definition and not later else ""
        steps.append(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {column.type}{default}{not_null}")
        if later:
            steps.append(f"UPDATE {table.name} SET {column.name} = {rows.value(table, column)}")  # noqa: S608 - from schema.sql
            steps.append(f"ALTER TABLE {table.name} ALTER COLUMN {column.name} SET NOT NULL")
    return steps


def _made_again(table: Table, there: Contents) -> tuple[list[str], Contents]:
    """The statements that make a table again, and what is left of the old constraints: other tables stop pointing to it."""
    columns = [name for name, *_ in there.columns[table.name]]
    refuse_losing(table, columns)
    pointing = [key for key, to in there.references.items() if to == table.name and key[0] != table.name]
    steps = [f"ALTER TABLE {other} DROP CONSTRAINT {name}" for other, name in pointing]
    left = {key: text for key, text in there.constraints.items() if key not in pointing}
    return [*steps, *rows.made_again(table, columns)], replace(there, constraints=left)


def _kept(table: str, there: Contents, wanted: Contents) -> list[str]:
    """What an operator has added to a table that is made again: grants, constraints, indexes and triggers."""
    constraints = {key: text for key, text in there.constraints.items() if key[0] == table and key not in wanted.constraints}
    return [
        *there.grants.get(table, []),
        *(f"ALTER TABLE {table} ADD CONSTRAINT {name} {text}" for (_, name), text in constraints.items()),
        *(text for key, text in there.indexes.items() if key[0] == table and key not in wanted.indexes),
        *(
            text.removesuffix(" disabled")
            for key, text in there.triggers.items()
            if key[0] == table and key not in wanted.triggers
        ),
    ]


def _constraints(there: Contents, wanted: Contents, target: Target, made: set[str]) -> list[str]:
    """Replaces and adds the constraints of the tables that stay, each table in one statement.

    A check is written as schema.sql writes it: what PostgreSQL prints for one it reads as another expression (with other
    brackets).
    """
    changes: dict[str, list[str]] = {}
    for (table, name), text in wanted.constraints.items():
        old = there.constraints.get((table, name))
        if table not in made and old != text:
            changes.setdefault(table, []).extend([f"DROP CONSTRAINT {name}"] if old else [])
            check = target.tables[table].checks.get(name)
            changes[table].append(f"ADD CONSTRAINT {name} {f'CHECK {check}' if check else text}")
    return [f"ALTER TABLE {table} {', '.join(parts)}" for table, parts in changes.items()]


def holders(database: Database, tables: list[str]) -> list[str]:
    """The processes that use one of the tables, each as `PID (role, state)`."""
    query = (
        "SELECT DISTINCT a.pid, a.usename, a.state FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
        " JOIN pg_class AS c ON c.oid = l.relation WHERE l.granted AND c.relname = ANY(%s) AND a.pid <> pg_backend_pid()"
        " ORDER BY a.pid"
    )
    return [f"{pid} ({role}, {state or 'busy'})" for pid, role, state in database.execute_sql(query, (tables,)).fetchall()]
