"""What a script of `fsroute load` may use: tables, functions, types and operators. Everything else is refused.

docs/reference/scripts.md is made from these lists. The two databases enforce them in ways of their own: `script_sqlite`,
`script_postgresql`.
"""

from __future__ import annotations

TABLES = frozenset(
    {"accounts", "call_permissions", "numbers", "users", "endpoints", "user_numbers", "ring_groups", "ring_group_members"}
    | {"time_profiles", "time_profile_ranges", "rules", "rule_callers", "rule_targets", "identity_profiles", "trunks"}
    | {"trunk_routes", "verified_numbers"}
)
"""The tables that route calls. A table that is not named here is refused: a new table must be added on purpose."""

KEPT_BY_FSROUTE = {
    "audit_log": "only fsroute writes it",
    "verifications": "only fsroute verify writes it",
    "schema_version": "only fsroute init and fsroute upgrade write it",
}
"""Tables of fsroute that no script can read or write, and who writes them. A script that read `verifications` could copy the
hashes of codes into a table that more people may read."""

VERIFIED = "verified_numbers"
"""The table whose changes go into the audit log."""

PAGE = "docs/reference/scripts.md"
"""The page that lists what a script may contain. Messages name it."""

ROLE = "fsroute_scripts"
"""The role as which scripts run, if the database has it: without a login, with SELECT, INSERT, UPDATE and DELETE on the
routing tables."""

BOTH_FUNCTIONS = frozenset(
    {"abs", "avg", "coalesce", "concat", "concat_ws", "count", "current_date", "current_time", "current_timestamp", "date"}
    | {"dense_rank", "first_value", "format", "lag", "last_value", "lead", "length", "lower", "ltrim", "max", "min", "ntile"}
    | {"nullif", "rank", "replace", "round", "row_number", "rtrim", "sign", "substr", "substring", "sum", "trim", "upper"}
    | {"string_agg", "ceil", "ceiling", "floor", "mod", "trunc", "power"}
)
"""Functions on texts, numbers and times whose result depends on their arguments (and the clock) only."""

SQLITE_FUNCTIONS = BOTH_FUNCTIONS | frozenset(
    {"char", "datetime", "glob", "group_concat", "hex", "ifnull", "iif", "if", "instr", "julianday", "like", "likelihood"}
    | {"likely", "printf", "quote", "strftime", "time", "timediff", "total", "typeof", "unicode", "unixepoch", "unlikely"}
    | {"nth_value", "percent_rank", "cume_dist", "octet_length"}
)

POSTGRESQL_FUNCTIONS = BOTH_FUNCTIONS | frozenset(
    {"age", "array_agg", "array_length", "array_to_string", "ascii", "bool_and", "bool_or", "btrim", "cardinality"}
    | {"char_length", "character_length", "chr", "clock_timestamp", "cume_dist", "date_part", "date_trunc", "div", "every"}
    | {"extract", "generate_series", "initcap", "isfinite", "justify_days", "justify_hours", "justify_interval", "left"}
    | {"like_escape", "lpad", "make_date", "make_interval", "make_time", "make_timestamp", "make_timestamptz", "md5", "now"}
    | {"nth_value", "octet_length", "overlaps", "overlay", "percent_rank", "position", "regexp_match", "regexp_matches"}
    | {"regexp_replace", "regexp_split_to_array", "regexp_split_to_table", "repeat", "reverse", "right", "rpad"}
    | {"similar_to_escape", "split_part", "starts_with", "statement_timestamp", "string_to_array", "string_to_table"}
    | {"strpos", "timezone", "to_char", "to_date", "to_number", "to_timestamp", "transaction_timestamp", "translate"}
    | {"unnest"}
)

POSTGRESQL_TYPES = frozenset(
    {"bool", "bpchar", "date", "float4", "float8", "int2", "int4", "int8", "interval", "numeric", "text", "time"}
    | {"timestamp", "timestamptz", "timetz", "varchar"}
)
"""PostgreSQL's names of the types that a script may convert to. The conversion of others runs functions or reads catalogs
(`'x'::regclass`)."""

POSTGRESQL_OPERATORS = frozenset(
    {"!~", "!~*", "!~~", "!~~*", "%", "*", "+", "-", "/", "<", "<=", "<>", "=", ">", ">=", "^", "||", "~", "~*", "~~", "~~*"}
)
"""`!=` is `<>` for PostgreSQL's parser, and LIKE is `~~`."""


class Refused(Exception):
    """Why a script cannot be loaded, for its reader."""


def refused_table(name: str) -> str:
    """Why a script cannot use a table, and which it can."""
    if name.lower() in KEPT_BY_FSROUTE:
        return f"a script cannot use {name}: {KEPT_BY_FSROUTE[name.lower()]}"
    return f"a script cannot use {name}: it can use the tables that route calls ({PAGE})"


def refused_function(name: str) -> str:
    return f"a script cannot call {name}(): it can call the functions of {PAGE}"


def refused_statement(words: str) -> str:
    return (
        f"a script cannot use {words}: it changes and reads rows of the tables that route calls, and nothing else ({PAGE})"
    )
