"""The pages: links lead somewhere, generated parts are current, and every block can be run, or says why not."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from scripts import make_docs
from scripts.make_docs import TOP, pages
from tests.support.documents import anchors, blocks, links, prose

LANGUAGES = {"console", "sh", "python", "sql", "toml", "xml", "json", "text"}

REASONS = ("needs a carrier", "needs FreeSWITCH", "needs Docker", "needs PostgreSQL", "needs root", "takes minutes")
"""Why a block may be one that no test runs."""


def name(page: Path) -> str:
    return str(page.relative_to(TOP))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for line, target in links(page):
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(f"{line}: {target}")
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_generated_parts_are_current(page: Path) -> None:
    """`make docs` writes them anew."""
    text = page.read_text("utf-8")
    assert make_docs.made(text) == text


def test_everything_that_can_be_generated_is_in_a_page() -> None:
    named = {part["name"] for page in pages() for part in make_docs.PART.finditer(page.read_text("utf-8"))}
    assert named == make_docs.PARTS.keys()


@pytest.mark.parametrize("page", pages(), ids=name)
def test_blocks_are_fenced_and_say_their_language(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES
    lines = prose(page)
    indented = [number for (_, before), (number, line) in pairwise(lines) if not before and line.startswith("    ")]
    assert indented == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    reasons = [block.not_run for block in blocks(page) if block.not_run]
    assert [reason for reason in reasons if not reason.startswith(REASONS)] == []


def test_files_that_name_a_page_name_one_that_is_there() -> None:
    """In code, comments and configuration, as in pages."""
    suffixes = {".py", ".sql", ".xml", ".toml", ".cfg", ".md", ".sh", ".yaml", ".yml"}
    places = ("fsroute", "tests", "scripts", "freeswitch", "docs", ".github")
    files = [path for place in places for path in (TOP / place).rglob("*") if path.suffix in suffixes]
    files += [path for path in TOP.iterdir() if path.is_file() and (path.suffix in suffixes or not path.suffix)]
    missing = {
        f"{path.relative_to(TOP)}: {page}"
        for path in files
        for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text("utf-8", errors="replace"))
        if not (TOP / page).exists()
    }
    assert missing == set()


def test_the_reference_of_the_tables_loses_no_line_of_their_comments() -> None:
    """Tables, and the entries of the lists in their comments."""
    schema, shown = make_docs.SCHEMA.read_text("utf-8"), make_docs.tables()
    tables = re.findall(r"^CREATE TABLE (\w+) \($", schema, re.MULTILINE)
    assert [name for name in tables if f"### `{name}`\n" not in shown] == []
    entries = re.findall(r"^--   ([a-z_0-9]+)(?:, [a-z_0-9]+)*(?:  .*)?$", schema, re.MULTILINE)
    assert len(entries) > 50
    assert [name for name in entries if f"`{name}`" not in shown] == []


def test_the_cookbook_has_every_example() -> None:
    named = {target.rpartition("/")[2] for _, target in links(TOP / "docs" / "cookbook.md") if target.endswith(".sql")}
    assert named == {path.name for path in (TOP / "scripts" / "examples").iterdir()}


GERMAN = (
    "Rufgruppe",
    "Weiterleitung",
    "Weiterleitungstyp",
    "Weiterleitungsziel",
    "paralleles Klingeln",
    "sequenzielles Klingeln",
    "Kurzwahl",
    "externe Rufnummer",
    "primäre Rufnummer",
    "sekundäre Rufnummer",
    "netzseitige Rufnummer",
    "CLIP no screening",
    "Verifizierungscode",
)
"""What German operators look for."""


def test_the_glossary_has_the_german_words() -> None:
    text = (TOP / "docs" / "glossary.md").read_text("utf-8")
    assert [word for word in GERMAN if f"| {word}" not in text] == []


def test_every_variable_of_the_dialplan_is_documented() -> None:
    page = (TOP / "docs" / "reference" / "channel-variables.md").read_text("utf-8")
    page = page.replace("`..._", "`fsroute_transferor_")
    actions = re.compile(r'application="(?:set|unset|export)" data="(fsroute_\w+)|<variable name="(fsroute_\w+)"')
    files = [*(TOP / "freeswitch" / "dialplan").rglob("*.xml"), *(TOP / "freeswitch" / "directory").glob("*.xml")]
    set_there = {first or second for path in files for first, second in actions.findall(path.read_text("utf-8"))}
    assert len(set_there) > 10
    assert [name for name in sorted(set_there) if f"`{name}`" not in page] == []
