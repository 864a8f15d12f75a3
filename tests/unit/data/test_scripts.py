"""Scripts are cut into statements by the rules of the database that runs them, in time proportional to their length."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.data import scripts
from fsroute.data.scripts import MAX_STATEMENT, POSTGRESQL, SQLITE, Dialect, Script, Statement
from fsroute.errors import DataError

WHERE = Path("x.sql")
DIALECTS = [pytest.param(dialect, id=dialect.name) for dialect in (SQLITE, POSTGRESQL)]


def cut(text: str, dialect: Dialect) -> list[Statement]:
    return list(Script(WHERE, text.encode(), dialect))


def why_not(text: str, dialect: Dialect) -> str:
    with pytest.raises(DataError) as caught:
        Script(WHERE, text.encode(), dialect)
    return str(caught.value)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;\n; -- nothing", []),
        ("SELECT 1;", [Statement(1, "SELECT 1;")]),
        ("\n SELECT\n1;SELECT 2 ;\n", [Statement(2, "SELECT\n1;"), Statement(3, "SELECT 2 ;")]),
        ("SELECT ';';--;\nSELECT ';;';", [Statement(1, "SELECT ';';"), Statement(2, "SELECT ';;';")]),
        ("SELECT 'it''s; ' /* ; */ || \";\";", [Statement(1, "SELECT 'it''s; ' /* ; */ || \";\";")]),
        ("SELECT 1 -- ;\n;", [Statement(1, "SELECT 1 -- ;\n;")]),
        ("SELECT 1 - -1 / 2 -- '\n;", [Statement(1, "SELECT 1 - -1 / 2 -- '\n;")]),
        ("SELECT '\n\n';\nSELECT 2;", [Statement(1, "SELECT '\n\n';"), Statement(4, "SELECT 2;")]),
        ("/* a\nb */ SELECT 1;", [Statement(2, "SELECT 1;")]),
        ("SELECT 'ü\U0001f600';SELECT é;", [Statement(1, "SELECT 'ü\U0001f600';"), Statement(1, "SELECT é;")]),
    ],
)
def test_a_script_is_cut_into_its_statements(dialect: Dialect, text: str, expected: list[Statement]) -> None:
    assert cut(text, dialect) == expected


@pytest.mark.parametrize(
    ("text", "sqlite", "postgresql"),
    [
        # Comments nest in PostgreSQL.
        ("SELECT 1 /* /* */; SELECT 2 */;", ["SELECT 1 /* /* */;", "SELECT 2 */;"], ["SELECT 1 /* /* */; SELECT 2 */;"]),
        ("/* /* */ */ SELECT 1;", None, ["SELECT 1;"]),
        # SQLite's names in brackets and in backquotes.
        ("SELECT [;];", ["SELECT [;];"], None),
        ("SELECT `;`;", ["SELECT `;`;"], None),
        # PostgreSQL's texts with escapes, also if they go on after a line break, and those in dollars.
        (r"SELECT E'\'; SELECT 2 --';", None, [r"SELECT E'\'; SELECT 2 --';"]),
        ("SELECT e'a'\n -- c\n  '\\'; SELECT 2';", None, ["SELECT e'a'\n -- c\n  '\\'; SELECT 2';"]),
        (r"SELECT ne'\'; SELECT 2;", [r"SELECT ne'\';", "SELECT 2;"], [r"SELECT ne'\';", "SELECT 2;"]),
        ("SELECT $$;'$$; SELECT $a$;$$;$a$;", None, ["SELECT $$;'$$;", "SELECT $a$;$$;$a$;"]),
        ("SELECT a$$; SELECT 2; --$$", ["SELECT a$$;", "SELECT 2;"], ["SELECT a$$;", "SELECT 2;"]),
        ("SELECT $1; SELECT 2;", ["SELECT $1;", "SELECT 2;"], ["SELECT $1;", "SELECT 2;"]),
        # What SQLite skips between tokens.
        ("\ufeffSELECT 1; \ufeff SELECT 2;", ["SELECT 1;", "SELECT 2;"], None),
    ],
)
def test_each_database_reads_a_text_its_own_way(text: str, sqlite: list[str] | None, postgresql: list[str] | None) -> None:
    for dialect, expected in ((SQLITE, sqlite), (POSTGRESQL, postgresql)):
        if expected is None:
            assert why_not(text, dialect).startswith("x.sql:")
        else:
            assert [statement.text for statement in cut(text, dialect)] == expected


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text", ["SELECT 1", "SELECT 'a;", 'SELECT "a;', "SELECT 1 /* ;", "SELECT /* /* ; */", "SELECT 'it's';"]
)
def test_a_statement_without_end_is_refused(dialect: Dialect, text: str) -> None:
    if dialect is SQLITE and text == "SELECT /* /* ; */":
        text = "SELECT [;"
    told = "x.sql:3: statement without end (a ; or a quote is missing)"
    assert why_not(f"SELECT 1;\n\n{text}", dialect) == told


WORDS = (
    "ABORT ALTER ANALYZE ATTACH BEGIN CALL CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE DEALLOCATE DECLARE "
    "DETACH DISCARD DO DROP END EXECUTE EXPLAIN FETCH GRANT IMPORT LISTEN LOAD LOCK MERGE MOVE NOTIFY PRAGMA "
    "PREPARE REASSIGN REFRESH REINDEX RELEASE RESET REVOKE ROLLBACK SAVEPOINT SECURITY SET SHOW START TABLE "
    "TRUNCATE UNLISTEN UPDATES VACUUM VALUES INSERTS SELECTED "
)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("before", ["", "\n-- x\n /* ; */ ;", "/**/", "; ;\t"])
@pytest.mark.parametrize("word", WORDS.split())
def test_other_statements_are_refused(dialect: Dialect, before: str, word: str) -> None:
    allowed = (
        "SELECT, INSERT, UPDATE, DELETE, WITH and REPLACE"
        if dialect is SQLITE
        else "SELECT, INSERT, UPDATE, DELETE and WITH"
    )
    told = f"cannot be loaded: on {dialect.name} a script has {allowed} only"
    line = 2 + before.count("\n")
    for spelling in (word, word.lower(), word.title()):
        assert why_not(f"SELECT 1;\n{before}{spelling} x;", dialect) == f"x.sql:{line}: {word} {told}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "given"), [("(SELECT 1);", "'('"), ("\\copy users;", "'\\\\'"), ("é;", "'\\xe9'"), ("1;", "'1'")]
)
def test_what_begins_with_no_word_is_refused(dialect: Dialect, text: str, given: str) -> None:
    assert why_not(text, dialect).startswith(f"x.sql:1: {given} cannot be loaded: ")


@pytest.mark.parametrize("before", ["\ufeff", "\ufeff \ufeff", "/**/\ufeff", ";\ufeff/* x */"])
def test_a_byte_order_mark_hides_no_statement(before: str) -> None:
    """SQLite takes one for a blank, wherever it is."""
    assert why_not(f"SELECT 1;{before}COMMIT;", SQLITE).startswith("x.sql:1: COMMIT cannot be loaded: ")


def test_replace_is_sqlite_s() -> None:
    assert len(cut("REPLACE INTO users VALUES (1);", SQLITE)) == 1
    assert why_not("REPLACE INTO users VALUES (1);", POSTGRESQL).startswith(
        "x.sql:1: REPLACE cannot be loaded: on PostgreSQL "
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_statement_has_a_limit(dialect: Dialect) -> None:
    longest = f"SELECT '{'x' * (MAX_STATEMENT - 10)}';"
    assert len(cut(longest, dialect)) == 1
    told = (
        f"x.sql:1: statement of {MAX_STATEMENT + 1:,} bytes; at most {MAX_STATEMENT:,} are allowed: write several statements"
    )
    assert why_not(f"{longest[:-2]}x';", dialect) == told


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_line_ends_of_other_systems(tmp_path: Path, ends: str) -> None:
    path = tmp_path / "x.sql"
    path.write_bytes("\ufeff-- a; b\nSELECT 1;\n\nSELECT 'a\nb';\n".replace("\n", ends).encode())
    for dialect in (SQLITE, POSTGRESQL):
        assert list(scripts.read(path, dialect)) == [Statement(2, "SELECT 1;"), Statement(4, "SELECT 'a\nb';")]


@pytest.mark.parametrize("at", [0, 1, (1 << 20) - 2, (1 << 20) - 1, 1 << 20, (1 << 21) + 1])
def test_what_is_not_utf_8_is_found_where_it_is(tmp_path: Path, at: int) -> None:
    """The file is decoded piece by piece: a character may lie across two of them."""
    path = tmp_path / "x.sql"
    path.write_bytes(b"-" * at + "\U0001f600".encode() + b"\xff" + b"-" * 9)
    with pytest.raises(DataError) as caught:
        scripts.read(path, SQLITE)
    assert str(caught.value) == f"{path}: is not UTF-8 (byte {at + 4})"


def test_utf_8_across_pieces(tmp_path: Path) -> None:
    path = tmp_path / "x.sql"
    path.write_bytes(b"--" + "\U0001f600ü€".encode() * 400_000)
    assert len(scripts.read(path, POSTGRESQL)) == 0


# --- whatever the text ----------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "$$",
        "a",
        "1",
        " ",
        "\n",
        "--",
        "/*",
        "*/",
        "'",
        "''",
        '"',
        ";",
        "[",
        "]",
        "`",
        "\\",
        "é",
        "\ufeff",
        "$",
        "$a$",
        "E'",
        "U&'",
        "e",
        "-",
    ]
)
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | PIECES, max_size=14
)


@given(TEXTS.map("".join))
def test_text_in_quotes_never_ends_a_statement(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    for dialect in (SQLITE, POSTGRESQL):
        found = cut(f"SELECT {quoted}; SELECT 2;", dialect)
        assert [statement.text for statement in found] == [f"SELECT {quoted};", "SELECT 2;"]


@given(st.lists(PIECES, max_size=20).map("".join), st.sampled_from([SQLITE, POSTGRESQL]))
def test_nothing_is_lost_between_statements(text: str, dialect: Dialect) -> None:
    text = f"SELECT {text}"
    try:
        found = [statement.text for statement in cut(text, dialect)]
    except DataError as error:
        assert "statement without end" in str(error) or "cannot be loaded" in str(error)  # noqa: PT017
        return
    position = 0
    for statement in found:
        position = text.index(statement, position) + len(statement)
    assert all(statement.endswith(";") for statement in found)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_sqlite_s_own_lexer_agrees(text: str) -> None:
    """Where a statement ends by our rules, SQLite says that it is complete; before that, it does not."""
    try:
        found = cut(f"SELECT {text};", SQLITE)
    except DataError:
        return
    for statement in found:
        assert sqlite3.complete_statement(statement.text)
        assert not sqlite3.complete_statement(statement.text[:-1])


# --- time and memory -----------------------------------------------------------------------------------------

MILLION = 1_000_000
HOSTILE = {
    "a missing quote": "INSERT INTO numbers VALUES ('a, 'b');\n"
    + "INSERT INTO numbers VALUES ('a', 'b');\n" * (MILLION // 39),
    "quotes": "SELECT " + "'" * MILLION + "'",
    "backslashes": "SELECT E'" + "\\'" * (MILLION // 2),
    "continued texts": "SELECT E'" + "'\n" * (MILLION // 2),
    "opened comments": "SELECT " + "/*" * (MILLION // 2),
    "comments": "SELECT " + "/**/" * (MILLION // 4),
    "nested comments": "SELECT " + "/*/**/*/" * (MILLION // 8),
    "dollars": "SELECT " + "$a$" * (MILLION // 3) + "$",
    "many dollar tags": "SELECT " + "".join(f"$a{i}$" for i in range(MILLION // 9)),
    "brackets": "SELECT " + "[" * MILLION,
    "semicolons": ";" * MILLION + "x",
    "minuses": "SELECT " + "- " * (MILLION // 2),
    "names": "SELECT " + "e " * (MILLION // 2),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_costs_linear_time(dialect: Dialect, text: str) -> None:
    """A megabyte takes at most 0.5 s; in quadratic time it would be minutes."""
    began = time.process_time()
    assert why_not(text, dialect).startswith("x.sql:")
    assert time.process_time() - began < 10
