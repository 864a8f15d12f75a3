"""Reads the Markdown pages: headings, links, and blocks of code with the marks in front of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.make_docs import TOP

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)$")
_MARK = re.compile(r"^ *<!-- (?P<kind>not run|file): (?P<value>.+?) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block. `file` is where a page says that its reader keeps it; `not_run` is why no test runs it."""

    page: Path
    line: int
    language: str
    text: str
    file: str | None = None
    not_run: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(TOP)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order. A mark is an HTML comment on the line before the fence."""
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    before = ""
    for number, line in lines:
        fence = _FENCE.match(line)
        if not fence:
            before = line
            continue
        inside = []
        for _, text in lines:
            if text == f"{fence['indent']}```":
                break
            inside.append(text.removeprefix(fence["indent"]))
        mark = _MARK.match(before)
        marks = {mark["kind"].replace(" ", "_"): mark["value"]} if mark else {}
        yield Block(page, number, fence["language"], "\n".join(inside) + "\n", marks.get("file"), marks.get("not_run"))
        before = ""


def prose(page: Path) -> list[tuple[int, str]]:
    """The lines of a page outside of its blocks, with their numbers."""
    found, inside = [], False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if _FENCE.match(line) or (inside and line.strip() == "```"):
            inside = not inside
        elif not inside:
            found.append((number, line))
    return found


def anchors(page: Path) -> set[str]:
    """What a link into this page can name: GitHub's form of each heading."""
    found: set[str] = set()
    for _, line in prose(page):
        if line.startswith("#"):
            name = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
            found.add(name if name not in found else f"{name}-1")
    return found


def links(page: Path) -> Iterator[tuple[int, str]]:
    """The links of a page to other files and to its own headings, with their lines."""
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if not target.startswith(("http://", "https://", "mailto:")):
                yield number, target
