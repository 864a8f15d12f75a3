"""What an upgrade leads to: the parts of schema.sql, each with its text. Pure: it reads no database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fsroute.data.schema import statements

_WORD = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\w+|[^\w\s]", re.DOTALL)
"""A comment, a string, a quoted name, a word, or another character."""

_NAMED = re.compile(r"CREATE (?:UNIQUE )?(TABLE|INDEX|TRIGGER) (\w+)(?: ON (\w+))?")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as schema.sql defines it: `TEXT NOT NULL DEFAULT 'x'`."""

    name: str
    definition: str

    @property
    def type(self) -> str:
        return self.definition.split()[0]

    @property
    def default(self) -> str | None:
        """The SQL text of its default value. None if it has none."""
        match = re.search(r"\bDEFAULT ('(?:[^']|'')*'|\w+)", self.definition)
        return match[1] if match else None

    @property
    def is_required(self) -> bool:
        """Whether a row must give it a value: it may not be NULL and has no default."""
        return "NOT NULL" in self.definition and self.default is None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of schema.sql.

    `checks` are the expressions of its CHECK constraints by their names. `inserts` are the rows that every database has.
    """

    name: str
    sql: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    checks: dict[str, str]
    inserts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """`tables` in the order in which they can be made. `indexes` and `triggers` (SQLite's) by name: their table and text."""

    tables: dict[str, Table]
    indexes: dict[str, tuple[str, str]]
    triggers: dict[str, tuple[str, str]]


def target(text: str) -> Target:
    """The parts of schema.sql."""
    found: dict[str, dict[str, str]] = {"TABLE": {}, "INDEX": {}, "TRIGGER": {}}
    inserts: dict[str, list[str]] = {}
    for statement in statements(text):
        sql = statement[_start(statement) :]
        named = _NAMED.match(sql)
        if named:
            found[named[1]][named[2]] = sql
        else:
            inserts.setdefault(sql.split()[2], []).append(sql)
    return Target(
        {name: _table(name, sql, tuple(inserts.get(name, ()))) for name, sql in found["TABLE"].items()},
        {name: (_table_of(sql), sql) for name, sql in found["INDEX"].items()},
        {name: (_table_of(sql), sql) for name, sql in found["TRIGGER"].items()},
    )


def normal(sql: str) -> list[str]:
    """A statement without comments, blanks, and the quotes of plain names: equal for texts that mean the same to SQLite."""
    words = (word for word in _WORD.findall(sql) if not word.startswith(("--", "/*")))
    return [word[1:-1] if re.fullmatch(r'"\w+"', word) else word for word in words if word != ";"]


def _start(statement: str) -> int:
    """Where a statement begins, behind its comments."""
    return next(match.start() for match in _WORD.finditer(statement) if not match[0].startswith(("--", "/*")))


def _table_of(sql: str) -> str:
    """The table of an index or a trigger."""
    tokens = normal(sql)
    return tokens[tokens.index("ON") + 1]


def _table(name: str, sql: str, inserts: tuple[str, ...]) -> Table:
    columns: list[Column] = []
    checks: dict[str, str] = {}
    key: tuple[str, ...] = ()
    for item in _items(sql):
        first, _, rest = item.partition(" ")
        if first == "CONSTRAINT":
            constraint, _, check = rest.partition(" ")
            checks[constraint] = check.removeprefix("CHECK").strip()
        elif first == "PRIMARY":
            key = tuple(re.findall(r"\w+", item)[2:])
        elif first not in ("UNIQUE", "FOREIGN"):
            columns.append(Column(first, rest))
            if "PRIMARY KEY" in rest:
                key = (first,)
    return Table(name, sql, tuple(columns), key, checks, inserts)


def _items(sql: str) -> Iterator[str]:
    """The parts of CREATE TABLE, each on one line and without comments."""
    parts: list[str] = []
    depth, last = 0, 0
    for match in _WORD.finditer(sql):
        word = match[0]
        depth += {"(": 1, ")": -1}.get(word, 0)
        ends = (word == "," and depth == 1) or (word == ")" and depth == 0)
        if ends and parts:
            yield "".join(parts).strip()
            parts = []
        elif not ends and depth >= 1 and not (word == "(" and depth == 1) and not word.startswith(("--", "/*")):
            parts.append((" " if parts and match.start() > last else "") + word)
        last = match.end()
