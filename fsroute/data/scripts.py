r"""Reads SQL scripts and cuts them into statements, by the lexical rules of the database that will run them.

SQLite and PostgreSQL read the same text differently: comments nest in PostgreSQL only, `[a]` is a name in SQLite only, `$$`
and `E'\''` are texts in PostgreSQL only. A script that was cut by the other database's rules could hide a statement in a
text.

Every pattern is possessive (`*+`): it never tries a second way, so a script costs time in proportion to its length, whatever
it holds. Scripts stay bytes until a statement is used: a script of 28 MB that has one emoji would be 112 MB of `str`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsroute.errors import DataError

MAX_STATEMENT = 2_000_000
"""Longest statement, in bytes: some 30,000 rows of a rule in one INSERT. A statement is in memory several times while it
runs; the limit keeps a load below 128 MB."""

WORDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
"""The words that a statement can begin with. SQLite's REPLACE is one more, on SQLite."""

_CHUNK = 1 << 20
"""Bytes of a script that are decoded at a time to find out whether it is UTF-8."""

_CONTINUATION = frozenset(bytes([byte]) for byte in range(0x80, 0xC0))
"""Bytes that continue a character of UTF-8. It has at most three."""

# In the patterns, ~ stands for the characters beyond ASCII, which are letters of names for both databases.
_SQLITE_TOKENS = r"""
    [^'"`\[;/\-]++
  | '[^']*+' | "[^"]*+" | `[^`]*+` | \[[^\]]*+\]
  | --[^\n]*+ | -(?!-)
  | /\*(?:[^*]|\*(?!/))*+\*/ | /(?!\*)
"""
_ESCAPED = r"""(?:[^'\\]|\\.|'(?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+')*+"""
"""Inside of E'...'. A text that goes on after a line break ('a' 'b' on two lines) keeps its escapes (quotecontinue in
PostgreSQL's scan.l)."""

_POSTGRESQL_TOKENS = rf"""
    [eE]'{_ESCAPED}'
  | (?![eE]')[A-Za-z_~][A-Za-z0-9_$~]*+
  | '[^']*+' | "[^"]*+"
  | \$(?![A-Za-z_$~])
  | --[^\n\r]*+ | -(?!-)
  | /\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/ | /(?!\*)
  | [^A-Za-z_~'"$;/\-]++
"""


def _compiled(pattern: str) -> re.Pattern[bytes]:
    # Bytes beyond ASCII are \x80 to \xff.
    return re.compile(pattern.replace("~", r"\x80-\xff").encode(), re.DOTALL | re.VERBOSE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database cuts text into tokens.

    `tokens` matches as many of them as there are, up to a semicolon, or what no pattern can match: a text that does not end,
    and PostgreSQL's texts in dollars and comments with others in them. `between` is what may be between statements; SQLite
    skips a byte order mark anywhere, so one could hide a statement.
    """

    name: str
    words: tuple[str, ...]
    tokens: re.Pattern[bytes]
    between: re.Pattern[bytes]


SQLITE = Dialect(
    "SQLite", (*WORDS, "REPLACE"), _compiled(f"(?:{_SQLITE_TOKENS})*+"),
    re.compile(rb"(?:[ \t\n\r\f;]|\xef\xbb\xbf|--[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)*+", re.DOTALL),
)  # fmt: skip
POSTGRESQL = Dialect(
    "PostgreSQL", WORDS, _compiled(f"(?:{_POSTGRESQL_TOKENS})*+"),
    re.compile(rb"(?:[ \t\n\r\f\v;]|--[^\n\r]*+|/\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/)*+", re.DOTALL),
)  # fmt: skip

_FIRST_WORD = re.compile(rb"[A-Za-z_]*+")
_COMMENT_MARK = re.compile(rb"/\*|\*/")
_DOLLARS = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*+)?\$")
"""What begins and ends a text in dollars. It is not among the tokens: a group in a possessive repetition raises SystemError
in CPython 3.11 ("The span of capturing group is wrong", cpython issue 101955)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its semicolon, and the line of the file where it begins (from 1)."""

    line: int
    text: str


class Script:
    """A file that was read and cut. Its statements are made anew at each iteration, so that they do not fill the memory."""

    def __init__(self, path: Path, data: bytes, dialect: Dialect) -> None:
        """Raises DataError for a statement that does not end, is too long, or begins with a word that is not allowed."""
        self.path = path
        self._data = data
        self._spans = array("Q")
        for span in _spans(data, path, dialect):
            self._spans.extend(span)

    def __len__(self) -> int:
        return len(self._spans) // 3

    def __iter__(self) -> Iterator[Statement]:
        for i in range(0, len(self._spans), 3):
            line, start, end = self._spans[i : i + 3]
            yield Statement(line, self._data[start:end].decode())


def read(path: Path, dialect: Dialect) -> Script:
    r"""Reads a script. Line ends of Windows and of old Macs become \n, as Python's text files have them.

    Raises DataError if it cannot be read, is not UTF-8, has a NUL character, or as `Script` does.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    _check_utf_8(data, path)
    nul = data.find(b"\0")
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise DataError(f"{path}:{line}: contains a NUL character")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Script(path, data.removeprefix(b"\xef\xbb\xbf"), dialect)


def _check_utf_8(data: bytes, path: Path) -> None:
    start = 0
    while start < len(data):
        end = min(start + _CHUNK, len(data))
        # A chunk ends where a character ends.
        while end < len(data) and data[end : end + 1] in _CONTINUATION and end > start + _CHUNK - 4:
            end -= 1
        try:
            data[start:end].decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is not UTF-8 (byte {start + error.start})") from error
        start = end


def _spans(data: bytes, path: Path, dialect: Dialect) -> Iterator[tuple[int, int, int]]:
    """Line, beginning and end of each statement."""
    line, counted = 1, 0
    start = _skip(data, 0, dialect)
    while start < len(data):
        line, counted = line + data.count(b"\n", counted, start), start
        end = _end(data, start, dialect)
        if end is None:
            raise DataError(f"{path}:{line}: statement without end (a ; or a quote is missing)")
        _check_word(data, start, end, f"{path}:{line}", dialect)
        if end - start > MAX_STATEMENT:
            raise DataError(
                f"{path}:{line}: statement of {end - start:,} bytes; at most {MAX_STATEMENT:,} are allowed: write several"
                " statements"
            )
        yield line, start, end
        start = _skip(data, end, dialect)


def _check_word(data: bytes, start: int, end: int, where: str, dialect: Dialect) -> None:
    found = _FIRST_WORD.match(data, start, end)
    word = found[0].decode().upper() if found else ""
    if word not in dialect.words:
        given = word[:40] or ascii(data[start : min(end, start + 4)].decode(errors="replace")[:1])
        allowed = f"{', '.join(dialect.words[:-1])} and {dialect.words[-1]}"
        raise DataError(f"{where}: {given} cannot be loaded: on {dialect.name} a script has {allowed} only")


def _skip(data: bytes, start: int, dialect: Dialect) -> int:
    """Where the next statement begins: after blanks, comments and semicolons."""
    after: int | None = start
    while after is not None:
        skipped = dialect.between.match(data, after)
        start = skipped.end() if skipped else after
        after = _after_comment(data, start) if dialect is POSTGRESQL and data.startswith(b"/*", start) else None
    return start


def _end(data: bytes, start: int, dialect: Dialect) -> int | None:
    """The end of the statement that begins here, after its semicolon. None if it has none."""
    after: int | None = start
    while after is not None:
        tokens = dialect.tokens.match(data, after)
        start = tokens.end() if tokens else after
        if data.startswith(b";", start):
            return start + 1
        after = _after_long_token(data, start) if dialect is POSTGRESQL else None
    return None


def _after_long_token(data: bytes, start: int) -> int | None:
    """The end of a text in dollars, or of a comment with others in it. None if it does not end, or if there is none."""
    dollars = _DOLLARS.match(data, start)
    if dollars is None:
        return _after_comment(data, start) if data.startswith(b"/*", start) else None
    end = data.find(dollars[0], dollars.end())
    return None if end < 0 else end + len(dollars[0])


def _after_comment(data: bytes, start: int) -> int | None:
    """The end of a comment of PostgreSQL that has others in it (the patterns match those without). None if it does not
    end."""
    if data.find(b"*/", start) < 0:
        return None
    depth = 0
    for mark in _COMMENT_MARK.finditer(data, start):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end()
    return None
