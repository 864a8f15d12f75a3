"""Scripts of `fsroute load` on SQLite: either a script changes rows of the tables that route calls, and the audit log knows,
or nothing has changed. Reading a script takes linear time, by the rules of both databases."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from peewee import Database

from fsroute.data import loader, scripts
from fsroute.data.database import open_database
from fsroute.errors import DataError
from scripts.fuzz.given import Given, in_linear_time
from tests.support.tables import DEMO, LOADED, make_tables

PIECES = (
    *"'\"`[];()/*-,=.$ \n\t0123456789EeUuxX\\&@?:|%_",
    *("--", "/*", "*/", ";\n", "$$", "$a$", "E'", "''", "\ufeff", "\u00e4", "\u2028", "\r\n", "\0"),
    *(
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "REPLACE INTO ",
        "WITH x AS (",
        " VALUES (",
        " FROM ",
        " WHERE ",
    ),
    *(
        " SET ",
        " RETURNING *",
        " ON CONFLICT DO NOTHING",
        " ON CONFLICT DO UPDATE SET ",
        " OR ROLLBACK ",
        " OR REPLACE ",
        " UNION ",
    ),
    *(
        "PRAGMA foreign_keys = OFF;",
        "ATTACH 'x.db' AS x;",
        "COMMIT;",
        "BEGIN;",
        "ROLLBACK;",
        "DROP TABLE ",
        "VACUUM INTO 'y.db';",
    ),
    *(
        "CREATE TRIGGER t AFTER INSERT ON numbers BEGIN ",
        "CREATE TEMP TABLE ",
        "ALTER TABLE ",
        "SAVEPOINT x;",
        "END;",
        "EXPLAIN ",
    ),
    *(
        "verified_numbers",
        "audit_log",
        "verifications",
        "schema_version",
        "sqlite_master",
        "sqlite_sequence",
        "numbers",
        "accounts",
    ),
    *(
        "trunks",
        "users",
        "rules",
        "main.",
        "temp.",
        "load_extension('x')",
        "randomblob(9)",
        "printf('%999d', 1)",
        "upper('x')",
    ),
    *(
        "INSERT INTO accounts (name) VALUES ('x');",
        "DELETE FROM verified_numbers;",
        "UPDATE numbers SET enabled = 0;",
        "SELECT 1;",
    ),
    *(
        "pragma_table_info('numbers')",
        "name",
        "number",
        "rowid",
        "state",
        "'verified'",
        "NULL",
        "(SELECT ",
        " AS ",
        "x",
        "1",
        "*",
    ),
    *("UPDATE verified_numbers SET state = 'revoked';", "DELETE FROM audit_log;", "INSERT INTO schema_version VALUES (9);"),
)
KEPT = ("audit_log", "verifications", "schema_version", "sqlite_master")
"""Tables that no script can write."""

DIALECTS = (scripts.SQLITE, scripts.POSTGRESQL)


def check(data: bytes) -> None:
    given = Given(data)
    text = given.text(PIECES) + given.text(PIECES) + given.text(PIECES)
    place = _place()
    script = place.directory / "script.sql"
    script.write_text(text, "utf-8", newline="")
    for dialect in DIALECTS:
        try:
            with in_linear_time():
                found = list(scripts.read(script, dialect))
        except DataError:
            continue
        _check_cut(script, [statement.text for statement in found])
        if dialect is scripts.SQLITE:
            _check_ends([statement.text for statement in found])
    before = place.state()
    try:
        loader.load(place.database, place.url, [script], LOADED[0], "fuzz")
    except DataError:
        assert place.state() == before, "a refused script has changed the database"
    else:
        after = place.state()
        for table in KEPT[1:]:
            assert after[table] == before[table], table
        log = after["audit_log"][len(before["audit_log"]) :]
        assert after["audit_log"][: len(before["audit_log"])] == before["audit_log"]
        assert all("fuzz" in row for row in log)
        assert bool(log) or after["verified_numbers"] == before["verified_numbers"], (
            "verified_numbers changed without the log"
        )
        place.restore()
    assert {path.name.partition("-")[0] for path in place.directory.iterdir()} <= {"demo.db", "script.sql"}
    settings = [place.database.execute_sql(f"PRAGMA {name}").fetchone() for name in ("foreign_keys", "writable_schema")]
    assert settings == [(1,), (0,)], settings


def _check_cut(script: Path, texts: list[str]) -> None:
    """The statements are in the script, one after the other."""
    whole = script.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode().removeprefix("\ufeff")
    at = 0
    for text in texts:
        at = whole.index(text, at) + len(text)


def _check_ends(texts: list[str]) -> None:
    """SQLite's own lexer ends each statement at the same place."""
    for text in texts:
        assert sqlite3.complete_statement(text), text
        at = text.find(";")
        while 0 <= at < min(len(text) - 1, 2000):
            assert not sqlite3.complete_statement(text[: at + 1]), text
            at = text.find(";", at + 1)


class _Place:
    """A directory with a database, and its contents for the next script."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fsroute-fuzz-"))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        database, self.url = make_tables(self.directory / "demo.db")
        loader.load(database, self.url, [DEMO], *LOADED)
        self.database: Database = open_database(self.url)
        self._other = sqlite3.connect(self.directory / "demo.db")
        self._whole = sqlite3.connect(":memory:")
        self._other.backup(self._whole)

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of every table."""
        names = [
            name for (name,) in self._other.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        return {name: self._other.execute(f'SELECT * FROM "{name}"').fetchall() for name in (*names, "sqlite_master")}  # noqa: S608

    def restore(self) -> None:
        self._whole.backup(self._other)


@lru_cache(maxsize=1)
def _place() -> _Place:
    return _Place()
