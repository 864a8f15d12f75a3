"""What PostgreSQL's parser finds in a statement, and what of it a script may use. It needs no server."""

from __future__ import annotations

import time
from typing import Any

import pgparse
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fsroute.data.script_postgresql import MAX_OUTLINE, outline, use_of
from fsroute.data.script_rules import POSTGRESQL_FUNCTIONS, Refused


def why_not(text: str) -> str:
    with pytest.raises(Refused) as caught:
        use_of(text, "public")
    return str(caught.value)


# --- the outline ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "INSERT INTO users (a, b) VALUES ('x', 1), ('it''s', 2.5), (NULL, -3);",
            "INSERT INTO users (a, b) VALUES ('', 0);",
        ),
        ("VALUES ('a', lower('b')),\n ('c', 'd'), ('e', 'f');", "VALUES ('', lower('')), ('', '');"),
        ("SELECT a1, a$2, 3 -- 'x'\n, /* ' /* */ ' */ 4;", "SELECT a1, a$2, 3 \n,   4;"),
        ("SELECT a/**/b, c/* ' */ , '/*', 5;", "SELECT a b, c , '', 0;"),
        ("SELECT pg_read/* x */_file ( 'x' );", "SELECT pg_read _file ( '' );"),
        (r"SELECT E'a\'b', e'c' ;", "SELECT '', '' ;"),
        ("SELECT E'a'\n'\\' b';", "SELECT '';"),
        ("SELECT $$a'b$$, $x$1$x$, 2;", "SELECT $$a'b$$, $x$1$x$, 2;"),
        ("SELECT \"a 1\", U&\"d\\0061ta\", U&'a!0061' UESCAPE '!', 3;", None),
        ("SELECT 0x1F, 1e5, 1.5;", "SELECT 0x1F, 1e5, 0;"),
    ],
)
def test_an_outline_keeps_names_and_order(text: str, expected: str | None) -> None:
    assert outline(text) == (text if expected is None else expected)


def shape(node: Any) -> Any:
    """A tree without places and without the values of constants."""
    if isinstance(node, list):
        return [shape(item) for item in node]
    if isinstance(node, dict):
        if "A_Const" in node:
            return "constant"
        if node.keys() == {"Integer"} or node.keys() == {"Float"}:
            return "number"
        return {key: shape(value) for key, value in node.items() if key not in ("location", "stmt_len", "stmt_location")}
    return node


def without_repeated(node: Any) -> Any:
    """A tree in which rows of constants that follow each other are one."""
    if isinstance(node, list):
        items = [without_repeated(item) for item in node]
        return [item for i, item in enumerate(items) if i == 0 or item != items[i - 1] or "constant" not in str(item)]
    if isinstance(node, dict):
        return {key: without_repeated(value) for key, value in node.items()}
    return node


WORDS = st.sampled_from(
    "a users audit_log lower ( ) ( ) , , . :: = || - -1 + 'x' 'it''s' '' E'\\'' E'a' e'\\\\' U&'\\0061' UESCAPE $$ $a$ $$;$$ \" \"b\" "
    '"B 1" U&"\\0061b" -- /* */ /**/ \' \\ ; \n \' \' \n 1 2.5 1e5 0x1f $1 NULL TRUE AS FROM WHERE VALUES SELECT IN CASE WHEN THEN END '
    "(1,2) ,(3,4) ,('a','b') E N B x'1f' 1a a1 é \U0001f600".split(" ")
)


@given(st.lists(WORDS, max_size=12))
@example(["E'a'", "\n", "'", "\\", "'", "||", "audit_log"])
@example(["/*", "'", "*/", "audit_log", "--", "'"])
@example(["a", "$$", "audit_log", "$$"])
def test_an_outline_has_the_same_tree(words: list[str]) -> None:
    """PostgreSQL's parser reads it as it reads the statement: nothing that runs can hide in what was taken away."""
    text = f"SELECT {' '.join(words)}"
    try:
        tree = pgparse.parse(text)
    except pgparse.PGQueryError:
        return  # PostgreSQL refuses the statement itself
    assert without_repeated(shape(pgparse.parse(outline(text)))) == without_repeated(shape(tree))


# --- what may be used -------------------------------------------------------------------------------------------

ALLOWED = [
    "INSERT INTO numbers (number, account) VALUES ('+492214710100', 'acme'), ('+492214710101', DEFAULT);",
    "insert into NUMBERS as n (number) values ('x') on conflict (number) do update set account = excluded.account"
    " where n.account <> excluded.account returning n.number as done;",
    "INSERT INTO users VALUES ('a', 'b') ON CONFLICT DO NOTHING;",
    "INSERT INTO users (name) SELECT lower(name) FROM accounts ON CONFLICT ON CONSTRAINT users_pkey DO NOTHING;",
    "WITH a (n) AS (SELECT name FROM accounts), b AS (SELECT n FROM a) INSERT INTO users (account) SELECT n FROM b;",
    "WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 9) INSERT INTO numbers (number, account)"
    " SELECT '+4922147105' || lpad(n::text, 2, '0'), 'acme' FROM i;",
    "INSERT INTO numbers (number, account) SELECT '+492214710' || n, 'acme' FROM generate_series(100, 199) AS n;",
    "UPDATE rules r SET ring_s = COALESCE(r.ring_s, 20), mode = CASE WHEN r.type = 'base' THEN 'sequential' ELSE r.mode END"
    " FROM numbers AS n WHERE n.number = r.number AND n.account IN ('acme', 'probe') AND n.number LIKE '+49%';",
    "UPDATE users SET (name, extension) = (SELECT name, '1' FROM accounts LIMIT 1), account = DEFAULT WHERE NOT name IS NULL;",
    "DELETE FROM rule_targets USING rules WHERE rules.number = rule_targets.number AND NOT EXISTS (SELECT 1 FROM trunks);",
    "WITH gone AS (DELETE FROM users RETURNING *) INSERT INTO users SELECT * FROM gone;",
    "SELECT DISTINCT ON (a.name) a.*, count(*) FILTER (WHERE n.enabled), row_number() OVER (PARTITION BY a.name ORDER BY 1 DESC)"
    " FROM accounts a JOIN numbers n ON n.account = a.name LEFT JOIN LATERAL (SELECT 1) x ON TRUE GROUP BY a.name"
    " HAVING count(*) > 1 ORDER BY a.name NULLS LAST LIMIT 5 OFFSET 2;",
    "SELECT trim(BOTH ' ' FROM name), substring(name FROM 1 FOR 2), position('a' IN name), extract(year FROM now()),"
    " upper(left(name, 1)) || right(name, -1), to_char(current_date, 'YYYY-MM-DD'), name::varchar(20), CAST('1' AS integer),"
    " date '2026-01-01' + interval '1 day', now() AT TIME ZONE 'UTC', current_timestamp, greatest(1, 2), nullif(name, '')"
    " FROM accounts WHERE name ~ '^a' AND name ILIKE 'b%' ESCAPE '!' AND name = ANY (ARRAY['a', 'b']) AND 1 BETWEEN 0 AND 2;",
    "SELECT 1 FROM (VALUES (1, 'a'), (2, 'b')) AS v (n, t) WHERE (v.n, v.t) = (1, 'a') UNION SELECT 2 EXCEPT SELECT 3;",
    'INSERT INTO "users" ("account", "name") VALUES (U&\'\\0061\', $$x$$) -- c\n /* d /* e */ */;',
    "SELECT name FROM public.accounts WHERE name IS DISTINCT FROM 'x' AND name NOT SIMILAR TO 'y';",
    "INSERT INTO users DEFAULT VALUES;",
    "SELECT string_agg(name, ', ' ORDER BY name) FROM ONLY users WHERE ((extension)) IS NOT NULL AND (SELECT TRUE);",
]


@pytest.mark.parametrize("text", ALLOWED)
def test_what_scripts_really_use_is_allowed(text: str) -> None:
    use_of(text, "public")


def test_what_a_statement_uses_is_known() -> None:
    use = use_of(
        "WITH gone AS (DELETE FROM verified_numbers v RETURNING v.account) UPDATE users SET name = lower(users.name)"
        " WHERE account IN (SELECT gone.account FROM gone)", "public",
    )  # fmt: skip
    assert (use.written, use.functions, use.dotted) == ({"verified_numbers", "users"}, {"lower"}, {"account", "name"})
    assert use_of("SELECT * FROM verified_numbers", "public").written == set()


PAGE = "docs/reference/scripts.md"
ONLY_ROWS = f"it changes and reads rows of the tables that route calls, and nothing else ({PAGE})"


def table(name: str) -> str:
    return f"a script cannot use {name}: it can use the tables that route calls ({PAGE})"


def function(name: str) -> str:
    return f"a script cannot call {name}(): it can call the functions of {PAGE}"


def form(name: str) -> str:
    return f"a script cannot use {name}: {ONLY_ROWS}"


LOG = "a script cannot use audit_log: only fsroute writes it"
REFUSED = [
    # The audit log, in every spelling.
    ("DELETE FROM audit_log", LOG),
    ('DELETE FROM "audit_log"', LOG),
    ('DELETE FROM U&"audit\\005flog"', LOG),
    ("DELETE FROM U&\"audit!005flog\" UESCAPE '!'", LOG),
    ("DELETE FROM Audit_Log", LOG),
    ("DELETE FROM public.audit_log", "a script cannot use public.audit_log: " + table("")[len("a script cannot use : ") :]),
    ("DELETE/**/FROM/* /* */ */audit_log", LOG),
    ("INSERT INTO users SELECT id::text, actor, NULL FROM audit_log", LOG),
    ("DELETE FROM users USING audit_log", LOG),
    ("UPDATE users SET name = (SELECT actor FROM audit_log LIMIT 1)", LOG),
    ("WITH x AS (DELETE FROM audit_log RETURNING *) SELECT 1", LOG),
    ("WITH audit_log AS (SELECT 1) DELETE FROM audit_log", LOG),
    ("WITH audit_log AS (SELECT * FROM audit_log) SELECT 1", LOG),
    ("SELECT (WITH audit_log AS (SELECT 1) SELECT 1 FROM audit_log) FROM audit_log", LOG),
    ("SELECT 1 FROM (users CROSS JOIN (accounts CROSS JOIN audit_log) AS j)", LOG),
    ("SELECT 1 FROM users, LATERAL (SELECT 1 FROM audit_log) x", LOG),
    ("SELECT ARRAY(SELECT 1 FROM audit_log)", LOG),
    ("SELECT 1 WHERE 1 = ANY (SELECT id FROM audit_log)", LOG),
    ("SELECT 1 ORDER BY (SELECT 1 FROM audit_log)", LOG),
    ("SELECT 1 LIMIT (SELECT 1 FROM audit_log)", LOG),
    ("INSERT INTO users VALUES ('a') ON CONFLICT (name) DO UPDATE SET name = (SELECT actor FROM audit_log)", LOG),
    ("SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM audit_log)) FROM users", LOG),
    ("SELECT 1 UNION SELECT 2 UNION SELECT id FROM audit_log", LOG),
    ("SELECT * FROM verifications", "a script cannot use verifications: only fsroute verify writes it"),
    (
        "UPDATE schema_version SET version = 99",
        "a script cannot use schema_version: only fsroute init and fsroute upgrade write it",
    ),
    # Other tables.
    ("SELECT * FROM pg_authid", table("pg_authid")),
    ("SELECT rolpassword FROM pg_catalog.pg_authid", table("pg_catalog.pg_authid")),
    ("SELECT 1 FROM other.users", table("other.users")),
    ("INSERT INTO fsroute_before SELECT * FROM verified_numbers", table("fsroute_before")),
    ("SELECT 1 FROM other.public.users", form("names of databases")),
    # Functions.
    ("SELECT set_config('role', 'postgres', true)", function("set_config")),
    ("SELECT pg_catalog.set_config('role', 'none', true)", function("pg_catalog.set_config")),
    ("SELECT U&\"set\\005fconfig\"('session_replication_role', 'replica', true)", function("set_config")),
    ("SELECT CAST(pg_read_file('/etc/hostname') AS INTEGER)", function("pg_read_file")),
    ("SELECT lo_import('/etc/passwd')", function("lo_import")),
    ("SELECT * FROM dblink('dbname=x', 'DELETE FROM audit_log') AS t (a text)", function("dblink")),
    ("SELECT * FROM unnest(1) AS t (a text)", form("column definitions after a function")),
    ("SELECT dblink_exec('x', 'y')", function("dblink_exec")),
    ("SELECT query_to_xml('DELETE FROM audit_log', true, true, '')", function("query_to_xml")),
    ("SELECT public.lower('A')", function("public.lower")),
    ("SELECT nextval('x')", function("nextval")),
    ("SELECT pg_sleep(1000)", function("pg_sleep")),
    ("SELECT pg_advisory_unlock_all()", function("pg_advisory_unlock_all")),
    ("SELECT pg_notify('fsroute', '')", function("pg_notify")),
    ("SELECT pg_terminate_backend(1)", function("pg_terminate_backend")),
    ("SELECT current_user", function("current_user")),
    ("SELECT 1 FROM ROWS FROM (lower('a'), pg_ls_dir('.')) x", function("pg_ls_dir")),
    ("UPDATE users SET name = evil(name)", function("evil")),
    ("INSERT INTO users VALUES (evil())", function("evil")),
    ("SELECT count(*) OVER (ORDER BY evil()) FROM users", function("evil")),
    ("SELECT 1 FROM users TABLESAMPLE evil (1)", form("TABLESAMPLE")),
    ("SELECT xmlparse(DOCUMENT '<a/>')", form("XmlExpr")),
    ("SELECT lower(VARIADIC ARRAY['a'])", form("func_variadic")),
    ("SELECT lower(a => 'b')", form("named arguments")),
    # Conversions, operators, collations.
    ("SELECT 'audit_log'::regclass", f"a script cannot convert to regclass: it can to the types of {PAGE}"),
    ("SELECT regclass 'audit_log'", f"a script cannot convert to regclass: it can to the types of {PAGE}"),
    ("SELECT CAST('x' AS public.text)", f"a script cannot convert to public.text: it can to the types of {PAGE}"),
    ("SELECT '/etc/passwd'::lo", f"a script cannot convert to lo: it can to the types of {PAGE}"),
    ("SELECT '{}'::json", f"a script cannot convert to pg_catalog.json: it can to the types of {PAGE}"),
    ("SELECT 1 OPERATOR(public.+) 2", f"a script cannot use the operator public.+: it can use those of {PAGE}"),
    ("SELECT 1 @@ 2", f"a script cannot use the operator @@: it can use those of {PAGE}"),
    (
        "SELECT 1 = ANY (SELECT 1) AND 1 && ANY (SELECT 2)",
        f"a script cannot use the operator &&: it can use those of {PAGE}",
    ),
    ("SELECT 1 ORDER BY 1 USING OPERATOR(public.<)", form("ORDER BY ... USING")),
    ("SELECT 'a' COLLATE evil", form("COLLATE")),
    # Other statements and forms.
    ("SELECT 1 INTO evil", form("SELECT INTO")),
    ("SELECT 1 FROM users FOR UPDATE", form("FOR UPDATE")),
    ("SELECT $1", form("parameters ($1)")),
    ("UPDATE users SET name = 'x' WHERE CURRENT OF c", form("WHERE CURRENT OF")),
    ("SELECT 1 GROUP BY ROLLUP (1)", form("grouping sets")),
    ("WITH x AS (MERGE INTO users USING accounts ON TRUE WHEN MATCHED THEN DELETE RETURNING *) SELECT 1", form("MERGE")),
    ("WITH RECURSIVE x AS (SELECT 1) SEARCH DEPTH FIRST BY a SET b SELECT 1", form("search_clause")),
    ("SELECT 1; SELECT 2", form("several statements in one")),
    ("COMMIT", form("TransactionStmt")),
    ("EXPLAIN ANALYZE DELETE FROM audit_log", form("ExplainStmt")),
    ("DO 'BEGIN COMMIT; END'", form("DoStmt")),
    ("COPY users TO PROGRAM 'sh'", form("CopyStmt")),
    ("VALUES (evil())", function("evil")),
    ("TABLE audit_log", LOG),
    # What PostgreSQL cannot read.
    ("SELECT FROM WHERE", 'syntax error at or near "WHERE" at position 13'),
    ("SELECT 'a", None),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_everything_else_is_refused(text: str, told: str | None) -> None:
    found = why_not(text)
    assert told is None or found == told


@pytest.mark.parametrize(
    "name", ["set_config", "pg_read_file", "lo_import", "dblink", "nextval", "pg_sleep", "current_setting"]
)
def test_dangerous_functions_are_on_no_list(name: str) -> None:
    assert name not in POSTGRESQL_FUNCTIONS


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1" + "+1" * 20_000,
        "SELECT 1" + "::text" * 9_000,
        "SELECT 1" + " UNION SELECT 1" * 3_000,
        "SELECT 1 FROM users" + " CROSS JOIN users" * 3_000,
        "SELECT " + "NOT " * 15_000 + "TRUE",
        "SELECT " + "lower(" * 9_000 + "'a'" + ")" * 9_000,
        "SELECT " + "a" * (MAX_OUTLINE + 1),
        "SELECT " + "x + " * 500_000 + "1",
    ],
)
def test_deep_and_long_statements_are_refused(text: str) -> None:
    """They neither end the process nor take long."""
    began = time.process_time()
    told = why_not(text)
    assert (
        told == "its expressions are nested too deeply"
        or "characters beside constants" in told
        or "memory exhausted" in told
    )
    assert time.process_time() - began < 10


def test_rows_of_constants_are_no_length() -> None:
    rows = ", ".join(f"('+4922147{i:05}', 'acme', {i}, NULL, TRUE)" for i in range(50_000))
    began = time.process_time()
    assert use_of(f"INSERT INTO numbers VALUES {rows};", "public").written == {"numbers"}
    assert time.process_time() - began < 10
