"""peewee's models against the tables that schema.sql makes: a drift between the two fails here, whoever drifted."""

from __future__ import annotations

from typing import Any

import pytest
from peewee import BooleanField, CompositeKey, Database, Field, IntegerField, Model, TextField

from fsroute.data import loader
from fsroute.data.database import is_sqlite, open_database
from fsroute.data.schema import schema, schema_version
from fsroute.data.tables import MODELS, Trunk
from tests.support.postgresql import Databases

Column = tuple[str, str, bool]
"""Name, type, whether it may be NULL."""

Tables = dict[str, tuple[list[Column], list[str]]]
"""For each table its columns in order, and its primary key."""

TYPES: dict[type[Field], str] = {TextField: "text", IntegerField: "integer", BooleanField: "boolean"}


def of_models(models: tuple[type[Model], ...]) -> Tables:
    return {model._meta.table_name: ([_column(field) for field in _fields(model)], _key(model)) for model in models}  # noqa: SLF001


def _fields(model: type[Model]) -> list[Field]:
    found: list[Field] = model._meta.sorted_fields  # noqa: SLF001
    return found


def _column(field: Field) -> Column:
    return field.column_name, TYPES[type(field)], field.null


def _key(model: type[Model]) -> list[str]:
    key: Any = model._meta.primary_key  # noqa: SLF001
    return list(key.field_names) if isinstance(key, CompositeKey) else [key.column_name]


def of_database(database: Database) -> Tables:
    with database.connection_context():
        read = _of_sqlite if is_sqlite(database) else _of_postgresql
        return {table: read(database, table) for table in database.get_tables()}


def _of_sqlite(database: Database, table: str) -> tuple[list[Column], list[str]]:
    rows = database.execute_sql(f'PRAGMA table_info("{table}")').fetchall()
    columns = [(name, kind.lower(), not not_null) for _, name, kind, not_null, _, _ in rows]
    return columns, [row[1] for row in sorted(rows, key=lambda row: int(row[5])) if row[5]]


def _of_postgresql(database: Database, table: str) -> tuple[list[Column], list[str]]:
    columns = database.execute_sql(
        "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns"
        " WHERE table_name = %s ORDER BY ordinal_position",
        (table,),
    ).fetchall()
    keys = database.execute_sql(
        "SELECT column_name FROM information_schema.key_column_usage JOIN information_schema.table_constraints"
        " USING (constraint_name, table_name) WHERE table_name = %s AND constraint_type = 'PRIMARY KEY'"
        " ORDER BY ordinal_position",
        (table,),
    ).fetchall()
    return columns, [row[0] for row in keys]


def test_the_models_are_the_tables(databases: Databases) -> None:
    assert of_models(MODELS) == of_database(open_database(databases.shared()))


def test_the_version_is_the_one_in_the_tables(databases: Databases) -> None:
    database = open_database(databases.shared())
    with database.connection_context():
        assert database.execute_sql("SELECT tables_version FROM schema_version").fetchall() == [(schema_version(),)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE trunks ADD COLUMN realm TEXT",
        "ALTER TABLE verified_numbers DROP COLUMN verified_by",
        "ALTER TABLE users RENAME COLUMN extension TO short_code",
        "ALTER TABLE ring_groups RENAME TO hunt_groups",
        "DROP TABLE rule_callers",
        "DROP TABLE call_permissions",
        "ALTER TABLE identity_profiles ADD COLUMN privacy TEXT",
        "ALTER TABLE user_numbers RENAME COLUMN kind TO type",
        "CREATE TABLE holidays (name TEXT NOT NULL PRIMARY KEY)",
    ],
)
def test_a_change_of_the_tables_is_noticed(tables_url: str, change: str) -> None:
    database = open_database(tables_url)
    with database.connection_context():
        database.execute_sql(change)
    assert of_models(MODELS) != of_database(database)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("gateway TEXT NOT NULL,", "gateway TEXT,"),
        ("extension TEXT,", "extension TEXT NOT NULL,"),
        ("verified_by TEXT,", "verified_by INTEGER,"),
        ("verified_by TEXT,", "verified_by BOOLEAN,"),
        ("start_time TEXT,\n    end_time TEXT,", "end_time TEXT,\n    start_time TEXT,"),
        ("presented_number TEXT,", "presented_number TEXT NOT NULL,"),
        ("short_code TEXT,", "short_code TEXT NOT NULL,"),
        ("caller_id TEXT,", "caller_id TEXT NOT NULL,"),
        ("PRIMARY KEY (account, prefix)", "PRIMARY KEY (prefix, account)"),
        ("PRIMARY KEY (account, prefix, position)", "PRIMARY KEY (account, position, prefix)"),
        ("PRIMARY KEY (number, rule_position, caller)", "PRIMARY KEY (number, caller)"),
    ],
)
def test_a_change_of_schema_sql_is_noticed(
    database_url: str, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = schema().replace(before, after)
    assert changed != schema()
    monkeypatch.setattr(loader, "schema", lambda: changed)
    database = open_database(database_url, create=True)
    loader.make_tables(database, database_url)
    assert of_models(MODELS) != of_database(database)


def trunk(table: str = "trunks", **changed: Field | None) -> type[Model]:
    """The model of trunks with other fields."""
    fields = {
        "name": TextField(primary_key=True),
        "gateway": TextField(),
        "country": TextField(),
        "domain": TextField(),
        "identity_profile": TextField(),
        "number_format": TextField(),
        "called_number_in": TextField(),
        "is_foreign": BooleanField(),
        "enabled": BooleanField(),
        **changed,
    }
    given = {name: field for name, field in fields.items() if field is not None}
    made: type[Model] = type("Trunk", (Model,), {**given, "Meta": type("Meta", (), {"table_name": table})})
    return made


def test_the_model_that_the_changes_below_start_from_is_the_same() -> None:
    assert of_models((trunk(),)) == of_models((Trunk,))


@pytest.mark.parametrize(
    "changed",
    [
        trunk(realm=TextField()),
        trunk(gateway=None),
        trunk(gateway=None, gateway_name=TextField()),
        trunk(gateway=TextField(column_name="gate")),
        trunk(gateway=TextField(null=True)),
        trunk(enabled=IntegerField()),
        trunk(is_foreign=TextField()),
        trunk(identity_profile=TextField(null=True)),
        trunk(name=TextField(), gateway=TextField(primary_key=True)),
        trunk(enabled=None),
        trunk(table="gateways"),
    ],
)
def test_a_change_of_a_model_is_noticed(databases: Databases, changed: type[Model]) -> None:
    models = tuple(changed if model is Trunk else model for model in MODELS)
    assert of_models(models) != of_database(open_database(databases.shared()))


def test_a_missing_model_is_noticed(databases: Databases) -> None:
    assert of_models(MODELS[:-1]) != of_database(open_database(databases.shared()))
