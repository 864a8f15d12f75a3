"""Lets scripts reach the routing tables of a PostgreSQL database, and nothing else.

Three walls, each of which holds without the others:

* **The text.** PostgreSQL's own parser (pgparse, libpg_query) reads each statement before it is sent. Its tree may have only
  the forms that are listed here, and name only the tables, functions, types and operators of `script_rules`.
* **The role.** If the role `fsroute_scripts` has the rights that it needs, statements run as that role.
* **The counters.** PostgreSQL counts the rows that a transaction writes, for each table and each of its catalogs. A load
  that wrote a row elsewhere (by a trigger, a rule or a function that somebody made) is undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from peewee import Database

from fsroute.data.database import execute_literally
from fsroute.data.script_rules import (
    PAGE,
    POSTGRESQL_FUNCTIONS,
    POSTGRESQL_OPERATORS,
    POSTGRESQL_TYPES,
    ROLE,
    TABLES,
    VERIFIED,
    Refused,
    refused_function,
    refused_statement,
    refused_table,
)
from fsroute.errors import ConfigError

MAX_OUTLINE = 64_000
"""Longest statement without its constants and repeated rows, in characters. libpg_query follows a chain such as 1+1+1 by
recursion: with 100,000 links it overflowed the stack of 8 MB and ended the process, with 64,000 it did not (libpg_query 17,
pull request 366 of pganalyze/libpg_query). A chain of 32,000 fits into this length."""

_KEPT_OUTLINES = 256
"""Outlines whose check is remembered. The statements of a script have few forms, and reading a tree costs more than running
it."""

# --- the outline of a statement: without constants ---------------------------------------------------------

_ESCAPED = r"""(?:[^'\\]|\\.|'(?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+')*+"""
_NAME = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+"
_TOKEN = re.compile(
    rf"""
      [eE](')(?:{_ESCAPED})(')
    | ([uU]&'[^']*+' | [uU]&"[^"]*+" | (?i:uescape)\s*+'[^']*+')
    | ((?![eE]'){_NAME})
    | (')[^']*+(')
    | ("[^"]*+")
    | --[^\n\r]*+
    | ((\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?\$).*?\9)
    """,
    re.DOTALL | re.VERBOSE,
)
"""The lexical rules of `scripts.POSTGRESQL`: texts lose what is in them, comments go, names stay. Texts with Unicode escapes
stay whole, because what follows may change their meaning, and so do those in dollars."""

_COMMENT_MARK = re.compile(r"/\*|\*/")
_NUMBER = re.compile(r"(?<![\w$.\x80-\U0010ffff])[0-9][0-9.]*+(?![\w$])")
_CONSTANT_ROW = r"\((?:''|[0-9,\s+-]|\b(?:TRUE|FALSE|NULL|DEFAULT)\b)*+\)"
_ROWS = re.compile(rf"({_CONSTANT_ROW})(?:\s*+,\s*+{_CONSTANT_ROW})++", re.IGNORECASE)


_TOKEN_OR_COMMENT = re.compile(rf"{_TOKEN.pattern} | /\*", _TOKEN.flags)


def outline(text: str) -> str:
    """The statement with '' for each text and 0 for each number, and one of its rows that hold only such constants.

    Names and operators, and their order, are those of the statement, so it says what the statement uses.
    """
    text = _TOKEN.sub(r"\1\2\3\4\5\6\7\8", _without_comments(text) if "/*" in text else text)
    if any(mark in text for mark in '"&$\\'):
        return text  # digits and blanks in names and in their escapes stay
    return " ".join(_ROWS.sub(r"\1", _NUMBER.sub("0", text)).split())


def _without_comments(text: str) -> str:
    """The text with a blank for each /* ... */, in which others may be."""
    kept: list[str] = []
    start = position = 0
    while token := _TOKEN_OR_COMMENT.search(text, position):
        position = token.end()
        if token[0] == "/*":
            position = _end_of_comment(text, token.start())
            kept.append(text[start : token.start()])
            start = position
    return " ".join([*kept, text[start:]])


def _end_of_comment(text: str, start: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


# --- what a statement uses ----------------------------------------------------------------------------------

_STATEMENTS = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"}
_FORMS = _STATEMENTS | set(
    """
    A_ArrayExpr A_Const A_Expr A_Indices A_Indirection A_Star BoolExpr BooleanTest CaseExpr CaseWhen CoalesceExpr
    ColumnRef CommonTableExpr FuncCall IndexElem Integer JoinExpr List MinMaxExpr MultiAssignRef NullTest RangeFunction
    RangeSubselect RangeVar ResTarget RowExpr SQLValueFunction SetToDefault SortBy String SubLink TypeCast WindowDef
    """.split()  # noqa: SIM905 - a list of 40 names is 40 lines
)
_FIELDS = set(
    """
    action agg_distinct agg_filter agg_order agg_star alias aliascolnames aliasname all arg args arrayBounds boolop
    booltesttype boolval bsval colnames colno cols conname ctematerialized ctename ctequery ctes defresult distinctClause
    elements endOffset expr fields frameOptions fromClause funcformat funcname functions fval groupClause havingClause
    indexElems indirection infer inh isNatural is_rowsfrom is_slice isnull items ival join_using_alias jointype kind larg
    lateral lexpr lidx limitCount limitOffset limitOption location name names ncolumns node nulls_ordering nulltesttype
    onConflictClause op operName orderClause ordering ordinality over override partitionClause quals rarg recursive
    refname relation relname relpersistence result returningList rexpr row_format schemaname selectStmt sortClause
    sortby_dir sortby_nulls source startOffset stmt subLinkType subquery subselect sval targetList testexpr typeName
    typemod typmod typmods uidx using usingClause val valuesLists whereClause windowClause withClause
    """.split()  # noqa: SIM905 - the same
)
"""The forms and fields of PostgreSQL's parse tree that a statement can have. What is missing here is refused: parameters,
SELECT INTO, row locks, TABLESAMPLE, grouping sets, XML and JSON constructors, named arguments, collations, and all that is
no query."""

_NAMES_OF_FORMS = {
    "intoClause": "SELECT INTO",
    "lockingClause": "FOR UPDATE",
    "ParamRef": "parameters ($1)",
    "RangeTableSample": "TABLESAMPLE",
    "GroupingSet": "grouping sets",
    "CollateClause": "COLLATE",
    "NamedArgExpr": "named arguments",
    "CurrentOfExpr": "WHERE CURRENT OF",
    "MergeStmt": "MERGE",
    "useOp": "ORDER BY ... USING",
    "catalogname": "names of databases",
    "coldeflist": "column definitions after a function",
}


_OPERATOR_FIELDS = {"A_Expr": "name", "SubLink": "operName"}
_TIMES = ("SVFOP_CURRENT_DATE", "SVFOP_CURRENT_TIME", "SVFOP_LOCALTIME")


@dataclass(slots=True)
class Use:
    """What statements use: the tables that they write, functions, and the names after a dot, which PostgreSQL also takes for
    functions of the row before the dot."""

    written: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    dotted: set[str] = field(default_factory=set)

    def add(self, other: Use) -> None:
        self.written |= other.written
        self.functions |= other.functions
        self.dotted |= other.dotted


def use_of(text: str, schema: str) -> Use:
    """What a statement uses. `schema` is where fsroute's tables are. Raises Refused if it may not run."""
    return _use_of_outline(outline(text), schema)


@lru_cache(maxsize=_KEPT_OUTLINES)
def _use_of_outline(outlined: str, schema: str) -> Use:
    import pgparse  # noqa: PLC0415 - an optional dependency

    if len(outlined) > MAX_OUTLINE:
        raise Refused(
            f"statement of {len(outlined):,} characters beside constants; at most {MAX_OUTLINE:,} are allowed: write several"
            " statements"
        )
    reader = _Reader(schema)
    try:
        tree = pgparse.parse(outlined)
        if len(tree) != 1:
            raise Refused(refused_statement("several statements in one"))
        reader.read("stmt", tree[0]["stmt"], frozenset())
    except pgparse.PGQueryError as error:
        raise Refused(str(error)) from error
    except RecursionError as error:
        raise Refused("its expressions are nested too deeply") from error
    return reader.use


class _Reader:
    """Reads a parse tree. Raises Refused at the first thing that a script may not use."""

    def __init__(self, schema: str) -> None:
        self.use = Use()
        self._schema = schema

    def read(self, key: str, value: Any, ctes: frozenset[str]) -> None:
        """`ctes` are the names that WITH gives here."""
        if isinstance(value, list):
            for item in value:
                self.read(key, item, ctes)
        elif isinstance(value, dict):
            self._check(key, value, ctes)
            if "withClause" in value:
                ctes = self._read_with(value["withClause"], ctes)
            for name, inner in value.items():
                if name not in _FORMS and name not in _FIELDS:
                    raise Refused(refused_statement(str(_NAMES_OF_FORMS.get(name, name))))
                if name != "withClause":
                    self.read(name, inner, ctes)

    def _read_with(self, clause: dict[str, Any], ctes: frozenset[str]) -> frozenset[str]:
        if unknown := sorted(clause.keys() - {"ctes", "recursive", "location"}):
            raise Refused(refused_statement(unknown[0]))
        tables = clause["ctes"]
        if clause.get("recursive"):
            ctes |= {table["CommonTableExpr"]["ctename"] for table in tables}
        for table in tables:
            self.read("ctes", table, ctes)
            ctes |= {table["CommonTableExpr"]["ctename"]}
        return ctes

    def _check(self, key: str, value: dict[str, Any], ctes: frozenset[str]) -> None:
        """Checks the names of a form of the tree."""
        if key == "stmt" and not value.keys() <= _STATEMENTS:
            raise Refused(refused_statement(next(iter(value))))
        if key == "relation":
            self._table(value)
            self.use.written.add(value["relname"])
        elif key == "RangeVar" and ("schemaname" in value or value["relname"] not in ctes):
            self._table(value)
        elif key == "ColumnRef":
            self._dotted(value["fields"][1:])
        elif key == "A_Indirection":
            self._dotted(value["indirection"])
        else:
            self._check_run(key, value)

    def _check_run(self, key: str, value: dict[str, Any]) -> None:
        """Checks what PostgreSQL would run: functions, conversions and operators."""
        if key == "FuncCall":
            name = _unqualified(value["funcname"])
            if name not in POSTGRESQL_FUNCTIONS:
                raise Refused(refused_function(_shown(value["funcname"])))
            self.use.functions.add(name)
        elif key == "SQLValueFunction" and not value["op"].startswith(_TIMES):
            raise Refused(refused_function(value["op"].removeprefix("SVFOP_").lower()))
        elif key == "typeName" and _unqualified(value["names"]) not in POSTGRESQL_TYPES:
            raise Refused(f"a script cannot convert to {_shown(value['names'])}: it can to the types of {PAGE}")
        elif key in _OPERATOR_FIELDS:
            operator = value.get(_OPERATOR_FIELDS[key])
            # The tree names BETWEEN as an operator; no other one can have these names.
            if operator and "BETWEEN" not in value.get("kind", "") and _unqualified(operator) not in POSTGRESQL_OPERATORS:
                raise Refused(f"a script cannot use the operator {_shown(operator)}: it can use those of {PAGE}")

    def _dotted(self, names: list[dict[str, Any]]) -> None:
        self.use.dotted |= {name["String"]["sval"] for name in names if "String" in name}

    def _table(self, value: dict[str, Any]) -> None:
        name = value["relname"]
        if name not in TABLES or value.get("schemaname", self._schema) != self._schema:
            raise Refused(refused_table(".".join(filter(None, [value.get("schemaname"), name]))))


def _unqualified(names: list[dict[str, Any]]) -> str:
    """The last of these names, if PostgreSQL's own catalog has it. What has no schema is looked for there first."""
    *schemas, name = (part["String"]["sval"] for part in names)
    return name if schemas in ([], ["pg_catalog"]) else ""


def _shown(names: list[dict[str, Any]]) -> str:
    return ".".join(str(part["String"]["sval"]) for part in names)


# --- the database ---------------------------------------------------------------------------------------------

_PLACE = """
    SELECT n.nspname, string_agg(c.relname, ', ' ORDER BY c.relname) FILTER (WHERE c.relkind <> 'r')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('accounts')) AND c.relname = ANY(%s)
    GROUP BY n.nspname
"""

_ATTACHED = """
    SELECT 'trigger', t.tgname, c.relname FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE NOT t.tgisinternal AND n.nspname = %(schema)s AND c.relname = ANY(%(tables)s)
    AND NOT (p.proname = ANY(%(ours)s) AND p.pronamespace = n.oid)
    UNION ALL
    SELECT 'rule', r.rulename, c.relname FROM pg_rewrite r
    JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s)
    UNION ALL
    SELECT 'policy', o.polname, c.relname FROM pg_policy o
    JOIN pg_class c ON c.oid = o.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s)
    UNION ALL
    SELECT 'default, check or index with function', p.proname, c.relname FROM pg_depend d
    JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
    LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
    LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
    LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
    JOIN pg_class c ON c.oid = COALESCE(a.adrelid, k.conrelid, i.indrelid) JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s)
    ORDER BY 1, 2, 3
"""
"""What runs when rows of the routing tables change and is not from schema.sql."""

_LOOKALIKES = """
    SELECT 'function', p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
        AND n.nspname = %(schema)s AND (p.proname = ANY(%(functions)s) OR (p.proname = ANY(%(dotted)s)
        AND EXISTS (SELECT 1 FROM pg_type t WHERE t.oid = ANY(p.proargtypes) AND t.typtype IN ('c', 'p'))))
    UNION ALL
    SELECT 'operator', o.oid::regoperator::text FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_operator'::regclass AND objid = o.oid AND deptype = 'e')
        AND n.nspname = %(schema)s AND o.oprname = ANY(%(operators)s)
        AND (o.oprleft = 0 OR o.oprleft < %(others_from)s) AND o.oprright < %(others_from)s
    UNION ALL
    SELECT 'conversion', format('%%s to %%s', c.castsource::regtype, c.casttarget::regtype) FROM pg_cast c
    WHERE NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_cast'::regclass AND objid = c.oid AND deptype = 'e')
        AND c.castfunc >= %(others_from)s AND c.castsource < %(others_from)s AND c.casttarget < %(others_from)s
    ORDER BY 1, 2
"""
"""What somebody made that PostgreSQL could take for a function, operator or conversion of its own (CVE-2018-1058). What an
extension brought (`%` of pg_trgm) is not somebody's."""

_FIRST_OF_OTHERS = 16384
"""Objects with smaller numbers are PostgreSQL's own (FirstNormalObjectId, access/transam.h)."""

_WRITTEN = """
    SELECT schemaname, relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_all_tables
    WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND schemaname !~ '^pg_toast'
"""

_RIGHTS = """
    SELECT bool_or(has_table_privilege(r.oid, t.oid, 'INSERT')),
        r.rolsuper OR r.rolcanlogin
            OR has_table_privilege(r.oid, format('%%I.audit_log', %(schema)s::text), 'INSERT, UPDATE, DELETE'),
        string_agg(t.relname, ', ' ORDER BY t.relname) FILTER (WHERE NOT (has_table_privilege(r.oid, t.oid, 'SELECT')
            AND has_table_privilege(r.oid, t.oid, 'INSERT') AND has_table_privilege(r.oid, t.oid, 'UPDATE')
            AND has_table_privilege(r.oid, t.oid, 'DELETE'))),
        pg_has_role(current_user, r.oid, 'MEMBER')
    FROM pg_roles r, pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE r.rolname = %(role)s AND n.nspname = %(schema)s AND t.relname = ANY(%(tables)s)
    GROUP BY r.oid, r.rolsuper, r.rolcanlogin
"""
"""Of the role for scripts: whether it is there for this database, has rights that it must not have, lacks rights on these
tables, and whether fsroute's role can become it."""

_SETTINGS = ("standard_conforming_strings TO on", "transform_null_equals TO off")
"""What the meaning of a statement depends on. A database or a role can have other defaults."""


def schema_of_tables(database: Database) -> str:
    """The schema that has fsroute's tables. Raises Refused if there is none, or if one is no ordinary table: a view could
    write elsewhere."""
    for schema, others in database.execute_sql(_PLACE, (sorted(TABLES),)).fetchall():
        if others:
            raise Refused(f"{others}: must be an ordinary table, for a script could reach others through it")
        return str(schema)
    raise Refused("it has no table accounts (fsroute init makes the tables)")


class Guard:
    """Runs the statements of scripts in the transaction of a load.

    It must be made in the transaction, whose settings it changes: until its end names mean what PostgreSQL and fsroute's
    schema mean by them, and backslashes in '...' are letters.
    """

    def __init__(self, database: Database, schema_text: str, schema: str, use: Use) -> None:
        """`schema_text` is the text of schema.sql, `use` what the scripts use. Raises Refused if somebody has made something
        in this database through which these scripts could reach more than rows of the routing tables."""
        self._database = database
        self._schema = schema
        # Without the name of the table its rows were not remembered.
        self._may_change = TABLES if VERIFIED in use.written else TABLES - {VERIFIED}
        quoted = schema.replace('"', '""')
        for setting in (f'search_path TO pg_catalog, "{quoted}", pg_temp', *_SETTINGS):
            database.execute_sql(f"SET LOCAL {setting}")
        self._values = {
            "schema": schema,
            "tables": sorted(TABLES),
            "ours": re.findall(r"CREATE (?:OR REPLACE )?FUNCTION (\w+)", schema_text),
            "functions": sorted(use.functions),
            "dotted": sorted(use.dotted),
            "operators": sorted(POSTGRESQL_OPERATORS),
            "others_from": _FIRST_OF_OTHERS,
            "role": ROLE,
        }
        for kind, name, table in self._rows(_ATTACHED):
            raise Refused(
                f"{kind} {name} on {table} is not fsroute's: it would run with each change of a script; drop it before a"
                " load"
            )
        for kind, name in self._rows(_LOOKALIKES):
            raise Refused(
                f"{kind} {name} is not PostgreSQL's, but a script could call it by that name; drop it before a load"
            )
        self._has_role = self._role_is_usable()

    @contextmanager
    def scripts(self) -> Iterator[None]:
        """Statements of scripts run in this block, as the role for scripts if there is one. Afterwards it raises Refused if
        they wrote more than rows of the routing tables."""
        before = self._written()
        if self._has_role:
            self._database.execute_sql(f"SET LOCAL ROLE {ROLE}")
        yield
        if self._has_role:
            self._database.execute_sql("RESET ROLE")
        for (schema, table), count in sorted(self._written().items()):
            may_change = schema == self._schema and table in self._may_change
            if count != before.get((schema, table)) and not may_change:
                raise Refused(
                    f"the scripts wrote rows of {schema}.{table}, by something that somebody made in this database"
                )

    def run(self, text: str) -> None:
        """Runs one statement. The rows that a SELECT returns are thrown away one by one: there may be a million."""
        if text[:6].upper() == "SELECT":
            for _ in self._database.cursor().stream(text):
                pass
        else:
            execute_literally(self._database, text)

    def _role_is_usable(self) -> bool:
        for granted, too_strong, missing, is_member in self._rows(_RIGHTS):
            if not granted:
                return False  # made for another database of this server
            if too_strong:
                raise Refused(
                    f"role {ROLE}: must be no superuser, have no login and not write audit_log ({PAGE} has its GRANTs)"
                )
            if missing:
                raise Refused(f"role {ROLE}: lacks SELECT, INSERT, UPDATE or DELETE on {missing} ({PAGE} has its GRANTs)")
            return bool(is_member)
        return False

    def _written(self) -> dict[tuple[str, str], int]:
        if self._rows("SHOW track_counts") != [("on",)]:
            raise Refused("track_counts is off: PostgreSQL does not count what a load writes, so fsroute cannot check it")
        return {(schema, table): count for schema, table, count in self._rows(_WRITTEN)}

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._database.execute_sql(sql, self._values).fetchall()
        return found


def check_parser() -> None:
    """Raises ConfigError if PostgreSQL's parser is not installed."""
    if find_spec("pgparse") is None:
        raise ConfigError(
            "loading into PostgreSQL needs pgparse, which is not installed: pip install pgparse,"
            " or pip install '.[postgresql]' in fsroute's checkout"
        )
