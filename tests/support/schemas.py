"""Databases with the tables and rows of earlier versions of fsroute.

`tests/support/schemas` has each schema.sql that made other tables than the one before it, unchanged, in order. `demo`
files are the rows of scripts/demo.sql at that time; a schema without one takes the rows of the one before.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from fsroute.data.database import execute_whole, is_sqlite, open_database
from fsroute.data.schema import statements

DIRECTORY = Path(__file__).parent / "schemas"
SCHEMAS = sorted(DIRECTORY.glob("?-version-?.sql"))
"""From the oldest to the newest."""

Rows = dict[str, list[dict[str, Any]]]
"""The rows of each table, each by the names of its columns."""


def old_database(url: str, made_by: Path, *scripts: Path) -> str:
    """Makes the tables of an earlier version in an empty database, with its demo and more scripts."""
    demos = [made_by.with_suffix(".demo.sql"), DIRECTORY / "2-version-1.demo.sql"]
    demo = next(path for path in demos if path.exists())
    database = open_database(url, create=True)
    with database.connection_context():
        if is_sqlite(database):
            database.execute_sql("PRAGMA journal_mode = WAL")
        for path in (made_by, demo, *scripts):
            text = path.read_text()
            if not is_sqlite(database):
                execute_whole(database, text)
                continue
            for statement in statements(text):
                database.execute_sql(statement)
    return url


def rows_of(url: str) -> Rows:
    """All rows of a database."""
    database = open_database(url)
    found: Rows = {}
    with database.connection_context():
        for table in database.get_tables():
            cursor = database.execute_sql(f"SELECT * FROM {table}")  # noqa: S608 - the database's own names
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            found[table] = sorted(rows, key=str)
    return found


_PARTS = """
SELECT relname, relkind::text, row_number() OVER (PARTITION BY c.oid ORDER BY attnum), attname,
    format_type(atttypid, atttypmod),
    attnotnull, pg_get_expr(adbin, adrelid), attidentity::text, attgenerated::text, attcollation
FROM pg_class AS c JOIN pg_attribute AS a ON attrelid = c.oid LEFT JOIN pg_attrdef AS d ON adrelid = c.oid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped;

SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid, true), convalidated, condeferrable,
    conindid::regclass::text
FROM pg_constraint WHERE connamespace = 'public'::regnamespace;

SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public';

SELECT indexrelid::regclass::text, indisvalid, indisunique, indisprimary
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::regnamespace;

SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger WHERE NOT tgisinternal;

SELECT proname, pg_get_functiondef(oid), proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace;

SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema';

SELECT relname, relowner::regrole::text, relpersistence::text, relacl::text, reloptions::text
FROM pg_class WHERE relnamespace = 'public'::regnamespace;

SELECT viewname, definition FROM pg_views WHERE schemaname = 'public';

SELECT sequencename FROM pg_sequences
"""


def parts_of(url: str) -> list[tuple[Any, ...]]:
    """Everything that a database is made of: tables, columns in order with type and default, constraints, indexes, triggers,
    functions, on PostgreSQL also owners and grants. On SQLite the texts themselves, and what SQLite's pragmas say."""
    if not url.startswith("sqlite"):
        database = open_database(url)
        with database.connection_context():
            return [row for query in _PARTS.split(";") for row in sorted(database.execute_sql(query).fetchall(), key=str)]
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        ask = connection.execute
        found: list[tuple[Any, ...]] = sorted(ask("SELECT type, name, tbl_name, sql FROM sqlite_master"), key=str)
        for (table,) in ask("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
            for pragma in ("table_xinfo", "foreign_key_list", "index_list"):
                found += [(table, pragma, *row) for row in ask(f"PRAGMA {pragma}({table})")]
        found += ask("PRAGMA journal_mode").fetchall() + ask("PRAGMA integrity_check").fetchall()
    connection.close()
    return found
