"""Writes the generated parts of the documents: settings and log events from the code, tables from schema.sql.

    python -m scripts.make_docs            # write them (make docs)
    python -m scripts.make_docs --check    # change nothing; exit status 1 if a page is stale

A page marks a generated part by two comments, `<!-- generated: NAME -->` and `<!-- end: NAME -->`; NAME is a key of PARTS.
The text between them is replaced. Everything else in a page is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fsroute import codes, log
from fsroute.configuration.settings import items
from fsroute.data import script_rules

TOP = Path(__file__).resolve().parents[1]
SCHEMA = TOP / "schema.sql"

PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)


def pages() -> list[Path]:
    """All pages that people read."""
    return sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])


# --- settings ---------------------------------------------------------------------------------------------


def settings() -> str:
    """A section for each setting, in the order of the code."""
    return "\n".join(
        f"### `{item.name}`\n\n{item.meaning}\n\n"
        f"Default `{item.default}`; flag `{item.flag}`, variable `{item.variable}`."
        + (f" One of {', '.join(f'`{choice}`' for choice in item.choices)}.\n" if item.choices else "\n")
        for item in items()
    )


# --- tables -----------------------------------------------------------------------------------------------


@dataclass
class Comment:
    """The comment before a table: paragraphs, and the entries of its list (`--   name   meaning`)."""

    text: list[str] = field(default_factory=list)
    entries: list[tuple[str, str]] = field(default_factory=list)


ENTRY = re.compile(r"^--   (?P<names>[a-z_0-9]+(?:, [a-z_0-9]+)*)(?:   *(?P<meaning>.*))?$")
COLUMN = re.compile(r"^    (?P<name>[a-z_0-9]+) (?P<type>TEXT|INTEGER|BOOLEAN)(?P<rest>.*?),?$")
REFERENCE = re.compile(r"^    FOREIGN KEY \((?P<columns>[^)]*)\) REFERENCES (?P<table>\w+) \((?P<others>[^)]*)\),?$")


def read_comment(lines: list[str]) -> Comment:
    comment = Comment()
    for line in lines:
        entry = ENTRY.match(line)
        if entry:
            comment.entries.append((entry["names"], entry["meaning"] or ""))
        elif comment.entries and line.startswith("--      "):
            names, meaning = comment.entries[-1]
            comment.entries[-1] = (names, f"{meaning} {line.removeprefix('--').strip()}".strip())
        else:
            comment.text.append(line.removeprefix("--").strip())
    return comment


def table(name: str, comment: Comment, body: list[str]) -> str:
    """The section of one table: its comment, its columns, and what the comment lists beside columns."""
    columns = [match for line in body if (match := COLUMN.match(line))]
    meanings = {one: meaning for names, meaning in comment.entries for one in names.split(", ")}
    references = {
        column: f"[{match['table']}](#{match['table']})"
        for line in body
        if (match := REFERENCE.match(line))
        for column in match["columns"].split(", ")[-1:]
    }
    key = re.search(r"^    PRIMARY KEY \(([^)]*)\)", "\n".join(body), re.MULTILINE)
    lines = [f"### `{name}`", "", " ".join(comment.text).strip(), ""] if comment.text else [f"### `{name}`", ""]
    others = [
        (names, meaning)
        for names, meaning in comment.entries
        if not {one.strip() for one in names.split(",")} & {column["name"] for column in columns}
    ]
    if others:
        lines += [*(f"- `{'`, `'.join(names.split(', '))}`: {meaning}" for names, meaning in others), ""]
    lines += ["| column | type | default | refers to | meaning |", "|---|---|---|---|---|"]
    for column in columns:
        rest, one = column["rest"], column["name"]
        direct = re.search(r"REFERENCES (\w+)", rest)
        default = re.search(r"DEFAULT ('[^']*'|\w+)", rest)
        shown = f"`{default[1]}`" if default else "required" if "NOT NULL" in rest else "NULL"
        refers = f"[{direct[1]}](#{direct[1]})" if direct else references.get(one, "")
        meaning = meanings.get(one, "").replace("|", "\\|")
        lines.append(f"| `{one}` | {column['type'].lower()} | {shown} | {refers} | {meaning} |")
    if key:
        lines += ["", f"Key: `{key[1]}`."]
    return "\n".join(lines) + "\n"


def tables() -> str:
    """A section for each table of schema.sql, in its order."""
    found: list[str] = []
    comment: list[str] = []
    lines = iter(SCHEMA.read_text("utf-8").splitlines())
    for line in lines:
        if line.startswith("--"):
            comment.append(line)
        elif created := re.match(r"CREATE TABLE (\w+) \($", line):
            body = []
            for inner in lines:
                if inner == ");":
                    break
                body.append(inner)
            found.append(table(created[1], read_comment(comment), body))
            comment = []
        else:
            comment = []
    return "\n".join(found)


# --- pages ------------------------------------------------------------------------------------------------

CODES: dict[str, type[codes.Code]] = {
    "reason-codes": codes.ReasonCode,
    "caller-id-codes": codes.CallerIdCode,
    "verification-codes": codes.VerificationCode,
    "delivery-outcomes": codes.DeliveryOutcome,
}

# --- what scripts may use ---------------------------------------------------------------------------------


def listed(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) + "\n"


def functions() -> str:
    """Those of both databases, and those of each."""
    sqlite, postgresql = script_rules.SQLITE_FUNCTIONS, script_rules.POSTGRESQL_FUNCTIONS
    return (
        f"- On both: {listed(sqlite & postgresql)}- On SQLite also: {listed(sqlite - postgresql)}"
        f"- On PostgreSQL also: {listed(postgresql - sqlite)}"
    )


def grants() -> str:
    """The role for scripts on PostgreSQL, and its rights."""
    tables = ",\n    ".join(", ".join(sorted(script_rules.TABLES)[i : i + 6]) for i in range(0, len(script_rules.TABLES), 6))
    return (
        f"<!-- not run: needs PostgreSQL, and its administrator -->\n```sql\nCREATE ROLE {script_rules.ROLE} NOLOGIN;\n"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON\n    {tables}\n"
        f"    TO {script_rules.ROLE};\nGRANT {script_rules.ROLE} TO fsroute;  -- who runs fsroute load\n```\n"
    )


SCRIPTS: dict[str, Callable[[], str]] = {
    "script-tables": partial(listed, script_rules.TABLES),
    "script-functions": functions,
    "script-types": partial(listed, script_rules.POSTGRESQL_TYPES),
    "script-operators": partial(listed, script_rules.POSTGRESQL_OPERATORS),
    "script-role": grants,
}


PARTS: dict[str, Callable[[], str]] = {
    **SCRIPTS,
    "settings": settings,
    "tables": tables,
    **{name: partial(codes.as_markdown, family) for name, family in CODES.items()},
    **{
        f"log-events-{subject}": partial(log.events_as_markdown, subject)
        for subject in dict.fromkeys(event.subject for event in log.EVENTS)
    },
}
"""What can be generated, by the name that a page gives between its marks."""


def made(text: str) -> str:
    """A page with its generated parts made anew. Raises KeyError for a part that nothing makes."""
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part['name']]()}\n{part[3]}", text)


def main(arguments: list[str]) -> int:
    stale = []
    for page in pages():
        text = page.read_text("utf-8")
        new = made(text)
        if new != text:
            stale.append(page.relative_to(TOP))
            if "--check" not in arguments:
                page.write_text(new, "utf-8")
    for path in stale:
        sys.stdout.write(f"{path}: {'is stale: run make docs' if '--check' in arguments else 'written'}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
