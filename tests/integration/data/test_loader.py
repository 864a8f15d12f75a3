"""Loading scripts: all or nothing, on both databases, and what is said of the place where one failed."""

# ruff: noqa: S608 - all SQL here is the tests' own

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from fsroute import times
from fsroute.cli import main as cli
from fsroute.data import loader
from fsroute.data.database import is_sqlite, open_database
from fsroute.errors import DataError
from fsroute.numbers.regulation import rules_for
from tests.support.postgresql import Databases
from tests.support.tables import LOADED

GOOD = "INSERT INTO users (account, name, extension) VALUES ('acme', 'new', '14');\n"


@dataclass(frozen=True)
class Loaded:
    """A database with the demo data, and a directory for scripts."""

    url: str
    directory: Path

    def load(self, *texts: str | bytes) -> int:
        """Loads scripts called 1.sql, 2.sql, ..."""
        paths = [self.directory / f"{i}.sql" for i in range(1, len(texts) + 1)]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        return loader.load(open_database(self.url), self.url, paths, *LOADED)

    def refused(self, *texts: str | bytes) -> str:
        """Why the scripts are refused, without the directory. Nothing has changed after it."""
        before = self.dump()
        with pytest.raises(DataError) as caught:
            self.load(*texts)
        assert self.dump() == before
        return str(caught.value).replace(f"{self.directory}/", "")

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        database = open_database(self.url)
        with database.connection_context():
            return {
                table: sorted(database.execute_sql(f"SELECT * FROM {table}").fetchall(), key=repr)
                for table in database.get_tables()
            }

    def change(self, *statements: str) -> None:
        """Runs SQL past the loader, as an administrator could."""
        database = open_database(self.url)
        with database.connection_context():
            for statement in statements:
                database.execute_sql(statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        database = open_database(self.url)
        with database.connection_context():
            return sorted(database.execute_sql(query).fetchall(), key=repr)

    @property
    def is_sqlite(self) -> bool:
        return is_sqlite(open_database(self.url))


@pytest.fixture
def demo(changeable_demo_url: str, tmp_path: Path) -> Loaded:
    return Loaded(changeable_demo_url, tmp_path)


@pytest.fixture
def refusing(demo_url: str, tmp_path: Path) -> Loaded:
    """The shared demo data, which stay as they are because everything is refused."""
    return Loaded(demo_url, tmp_path)


# --- what loads -------------------------------------------------------------------------------------------


def test_several_files_are_one_load(demo: Loaded) -> None:
    endpoint = "INSERT INTO endpoints (account, name, user_name) VALUES ('acme', '1005', 'new');"
    assert demo.load(GOOD, f"-- the phone\n{endpoint}", "UPDATE users SET extension = '15' WHERE name = 'new';") == 3
    assert demo.rows("SELECT name, extension FROM users WHERE name = 'new'") == [("new", "15")]
    assert demo.rows("SELECT name, user_name FROM endpoints WHERE name = '1005'") == [("1005", "new")]


def test_text_arrives_as_it_was_written(demo: Loaded) -> None:
    """Through the driver's placeholders, our cut into statements, and a byte order mark in front."""
    value = "100 % sure; 'it's' %s %(x)s %% -- no comment /* nor this */ \"quoted\" [a] `b` \\n ü \U0001f600"
    text = (
        "\ufeff-- A comment; with 'one quote\n/* and ; another \" */ UPDATE verified_numbers -- here too; yes\n"
        "SET verified_by = '" + value.replace("'", "''") + "' WHERE first_number = '+493023125000'; ;;\n"
    )
    row = "INSERT INTO verified_numbers (account, first_number, last_number, method, state)"
    assert demo.load(f"{row} VALUES ('acme', '+493023125000', '+493023125000', 'call', 'pending');", text) == 2
    assert demo.rows("SELECT verified_by FROM verified_numbers WHERE first_number = '+493023125000'") == [(value,)]


def test_lines_may_end_as_on_windows(demo: Loaded) -> None:
    assert demo.load(GOOD.replace("\n", "\r\n") + "-- end\r\n") == 1


@pytest.mark.parametrize("text", ["", "\n", " ;\n; ", "-- nothing", "/* nothing; */"])
def test_a_script_without_statements_is_empty(demo: Loaded, text: str) -> None:
    assert demo.load(text) == 0


def test_later_statements_see_what_earlier_ones_did(demo: Loaded) -> None:
    assert demo.load(GOOD + "DELETE FROM users WHERE name = 'new';" + GOOD) == 3


# --- what does not: file, line, reason, and nothing has changed --------------------------------------------


def test_a_constraint_in_the_middle_of_the_second_file(refusing: Loaded) -> None:
    number = "\n\nINSERT INTO numbers (number, account)\nVALUES ('+492214710600', 'acme'),\n('0221', 'acme');\n"
    told = refusing.refused(GOOD, f"-- numbers\nUPDATE users SET extension = NULL;{number}SELECT 1;", GOOD)
    if refusing.is_sqlite:
        assert told == "2.sql:4: CHECK constraint failed: number_is_e164"
    else:
        assert told == (
            '2.sql:4: new row for relation "numbers" violates check constraint "number_is_e164"'
            " DETAIL:  Failing row contains (0221, acme, t, f)."
        )


def test_what_points_nowhere_is_named_with_its_row(refusing: Loaded) -> None:
    told = refusing.refused(
        GOOD + "INSERT INTO rule_targets (account, number, rule_position, position, endpoint)\n"
        "VALUES ('acme', '+492214710200', 1, 4, '1001'), ('acme', '+492214710200', 1, 5, '1009');"
    )
    if refusing.is_sqlite:
        assert told == "1.sql:2: rule_targets: account = acme, endpoint = 1009 points nowhere: no such row in endpoints"
    else:
        assert told == (
            '1.sql:2: insert or update on table "rule_targets" violates foreign key constraint'
            ' "rule_targets_account_endpoint_fkey"'
            ' DETAIL:  Key (account, endpoint)=(acme, 1009) is not present in table "endpoints".'
        )


def test_what_is_still_pointed_to_is_named_with_what_points(refusing: Loaded) -> None:
    told = refusing.refused("DELETE FROM rules WHERE number = '+492214710200';")
    if refusing.is_sqlite:
        assert told == (
            "1.sql:1: rule_targets: account = acme, number = +492214710200, rule_position = 1 points nowhere:"
            " no such row in rules"
        )
    else:
        assert told == (
            '1.sql:1: update or delete on table "rules" violates foreign key constraint'
            ' "rule_targets_account_number_rule_position_fkey" on table "rule_targets"'
            " DETAIL:  Key (account, number, position)=(acme, +492214710200, 1)"
            ' is still referenced from table "rule_targets".'
        )


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ((GOOD, "SELECT 1;\nINSERT INTO users VALUES ('acme', 'x', NULL)"), "2.sql:2: statement without end"),
        ((GOOD, "INSERT INTO users VALUES ('acme', 'it's', NULL);"), "2.sql:1: statement without end"),
        ((GOOD, "/* a comment\nwithout an end;\n"), "2.sql:1: statement without end"),
        ((GOOD, "\n\nINSERT INTO nothing VALUES (1);"), "2.sql:3: "),
        ((GOOD, "\nINSERT INTO users (account) VALUES ('acme', 'x');"), "2.sql:2: "),
        ((GOOD, "\n\n\nINSRET INTO users VALUES (1);\n"), "2.sql:4: "),
        ((GOOD, "UPDATE users SET name = :name;"), "2.sql:1: "),
        ((GOOD, "UPDATE users SET name = ?;"), "2.sql:1: "),
        ((GOOD, GOOD), "2.sql:1: "),
        ((GOOD, b"-- caf\xe9\n"), "2.sql: is not UTF-8 (byte 6)"),
        ((GOOD, b"-- \xff\xfeS\0E\0L\0"), "2.sql: is not UTF-8 (byte 3)"),
        ((GOOD, "SELECT 1;\nSELECT '\0';"), "2.sql:2: contains a NUL character"),
    ],
)
def test_a_failure_says_file_line_and_reason(refusing: Loaded, texts: tuple[str | bytes, ...], told: str) -> None:
    found = refusing.refused(*texts)
    assert (found[: len(told)], len(found.splitlines())) == (told, 1)
    assert len(found) > len("2.sql:1: ")


def test_a_file_that_is_not_there(refusing: Loaded) -> None:
    (refusing.directory / "1.sql").write_text(GOOD)
    for name, reason in {"2.sql": "No such file or directory", ".": "Is a directory"}.items():
        paths = [refusing.directory / "1.sql", refusing.directory / name]
        before = refusing.dump()
        with pytest.raises(DataError) as caught:
            loader.load(open_database(refusing.url), refusing.url, paths, *LOADED)
        assert (str(caught.value), refusing.dump()) == (f"{paths[1]}: {reason}", before)


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/missing.db"
    with pytest.raises(DataError) as caught:
        loader.load(open_database(url), url, [], *LOADED)
    assert str(caught.value) == f"database {url}: no such file (fsroute init makes it)"


def test_tables_are_made_whole_or_not_at_all(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "CREATE TABLE a (b TEXT);\nCREATE TABLE c (d TEXT);\nCREATE TABLE a (e TEXT);"
    monkeypatch.setattr(loader, "schema", lambda: text)
    database = open_database(database_url, create=True)
    with pytest.raises(DataError) as caught:
        loader.make_tables(database, database_url)
    # PostgreSQL runs it whole, and does not say where.
    told = "schema.sql:3: table a" if is_sqlite(database) else f'database {database_url}: relation "a"'
    with database.connection_context():
        assert (str(caught.value), database.get_tables()) == (f"{told} already exists", [])


# --- caller IDs that cannot work: refused by the tables themselves ------------------------------------------


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE accounts SET presented_number = '0221';", "account_presented_number_is_e164"),
        ("UPDATE accounts SET presented_number = 'acme';", "account_presented_number_is_e164"),
        ("UPDATE accounts SET refused_caller_id = 'anonymous';", "account_refused_caller_id_is_known"),
        ("UPDATE user_numbers SET number = '0049' WHERE user_name = 'office';", "user_number_is_e164"),
        (
            "UPDATE rule_targets SET caller_id = 'verified:0049' WHERE external_number IS NOT NULL;",
            "rule_target_caller_id_is_known",
        ),
        ("UPDATE rule_targets SET caller_id = 'own' WHERE voicemail = '1001';", "only_external_numbers_have_a_caller_id"),
        (
            "INSERT INTO identity_profiles VALUES ('p', '${from}', 'pai', 'network');",
            "identity_profile_from_number_is_known",
        ),
        ("INSERT INTO identity_profiles VALUES ('p', 'presented', 'x', 'network');", "identity_profile_header_is_known"),
        ("INSERT INTO identity_profiles VALUES ('p', 'network', 'pai', 'network');", "identity_profile_shows_a_number"),
        ("INSERT INTO trunks (name, country, domain) VALUES ('t', 'DE', 'd');", "gateway"),
        ("INSERT INTO trunks (name, gateway, country, domain) VALUES ('t', '', 'DE', 'd');", "trunk_gateway_is_plain"),
        ("UPDATE trunks SET gateway = NULL;", "gateway"),
        ("UPDATE trunks SET number_format = '0049';", "trunk_number_format_is_known"),
    ],
)
def test_bad_caller_ids_are_refused_with_file_line_and_reason(refusing: Loaded, statement: str, told: str) -> None:
    columns = "identity_profiles (name, from_number, identity_header, identity_number)"
    found = refusing.refused(f"{GOOD}\n-- x\n{statement.replace('identity_profiles', columns)}")
    assert (found.partition(" ")[0], told in found, len(found.splitlines())) == ("1.sql:4:", True, 1)


def test_a_trunk_with_an_unknown_profile_is_named(refusing: Loaded) -> None:
    told = refusing.refused(GOOD + "UPDATE trunks SET identity_profile = 'pai';")
    if refusing.is_sqlite:
        assert told == "1.sql:2: trunks: identity_profile = pai points nowhere: no such row in identity_profiles"
    else:
        assert told == (
            '1.sql:2: insert or update on table "trunks" violates foreign key constraint "trunks_identity_profile_fkey"'
            ' DETAIL:  Key (identity_profile)=(pai) is not present in table "identity_profiles".'
        )


# --- what is verified: who loaded it -------------------------------------------------------------------------

BLOCK, SINGLE, TESTER = "+493023125300", "+498999998123", "+493023125020"
EXPIRES = "2036-01-05T09:00:00Z"
INSERT = (
    "INSERT INTO verified_numbers (account, first_number, last_number, method, state{}) VALUES ('acme', '{}', '{}', {});"
)


def loaded_row(id_: int, *about: str | None, by: str = "tests", of: str = "1.sql") -> tuple[object, ...]:
    """A row of audit_log, whose action, account, ... are these."""
    action, account, first, last, method, state, expires_at, reason = about
    return (
        id_,
        "2026-01-01T12:00:00Z",
        by,
        f"load: {of}",
        action,
        account,
        first,
        last,
        None,
        method,
        state,
        expires_at,
        reason,
    )


def by_demo(id_: int, account: str, first: str, last: str, method: str) -> tuple[object, ...]:
    return loaded_row(id_, "loaded", account, first, last, method, "verified", EXPIRES, "verified by demo", of="demo.sql")


DEMO_ROWS = [
    by_demo(1, "acme", BLOCK, "+493023125349", "manual"),
    by_demo(2, "acme", SINGLE, SINGLE, "call"),
    by_demo(3, "probe", TESTER, TESTER, "call"),
]
UNCHANGED: list[tuple[str, ...]] = [
    (GOOD,),
    ("UPDATE verified_numbers SET state = state;",),
    ("UPDATE verified_numbers SET state = 'failed' WHERE account = 'nobody';",),
    (
        f"UPDATE verified_numbers SET method = 'import', source = 'x' WHERE first_number = '{TESTER}';",
        f"UPDATE verified_numbers SET method = 'call', source = NULL WHERE first_number = '{TESTER}';",
    ),
    ("SELECT * FROM verified_numbers;", GOOD),
]
CHANGES: dict[str, tuple[tuple[str, ...], list[tuple[object, ...]]]] = {
    "new rows": (
        (
            INSERT.format(
                ", expires_at, verified_at", "+4930111", "+4930199", f"'manual', 'verified', '{EXPIRES}', '{EXPIRES}'"
            ),
            GOOD,
            INSERT.format(", source", "+493022", "+493022", "'import', 'pending', 'portal'"),
            INSERT.format(", source, verified_by", "+493033", "+493033", "'import', 'pending', 'portal', 'Jörg'"),
        ),
        [
            loaded_row(
                4,
                "loaded",
                "acme",
                "+4930111",
                "+4930199",
                "manual",
                "verified",
                EXPIRES,
                None,
                of="1.sql, 2.sql, 3.sql, 4.sql",
            ),
            loaded_row(
                5,
                "loaded",
                "acme",
                "+493022",
                "+493022",
                "import",
                "pending",
                None,
                "from portal",
                of="1.sql, 2.sql, 3.sql, 4.sql",
            ),
            loaded_row(
                6,
                "loaded",
                "acme",
                "+493033",
                "+493033",
                "import",
                "pending",
                None,
                "verified by Jörg, from portal",
                of="1.sql, 2.sql, 3.sql, 4.sql",
            ),
        ],
    ),
    "another state": (
        ("UPDATE Verified_Numbers SET state = 'revoked', revoked_at = '2026-01-01T00:00:00Z' WHERE account = 'acme';",),
        [
            loaded_row(4, "loaded", "acme", BLOCK, "+493023125349", "manual", "revoked", EXPIRES, "verified by demo"),
            loaded_row(5, "loaded", "acme", SINGLE, SINGLE, "call", "revoked", EXPIRES, "verified by demo"),
        ],
    ),
    "only who": (
        (f"UPDATE verified_numbers SET verified_by = NULL WHERE first_number = '{TESTER}';",),
        [loaded_row(4, "loaded", "probe", TESTER, TESTER, "call", "verified", EXPIRES, None)],
    ),
    "a larger block": (
        (f"UPDATE verified_numbers SET last_number = '+493023125399' WHERE first_number = '{BLOCK}';",),
        [loaded_row(4, "loaded", "acme", BLOCK, "+493023125399", "manual", "verified", EXPIRES, "verified by demo")],
    ),
    "gone, and one in another's place": (
        (
            "DELETE FROM verified_numbers;",
            INSERT.format("", SINGLE, SINGLE, "'sms', 'pending'"),
        ),
        [
            loaded_row(4, "removed", "acme", BLOCK, "+493023125349", "manual", "removed", None, None, of="1.sql, 2.sql"),
            loaded_row(5, "removed", "probe", TESTER, TESTER, "call", "removed", None, None, of="1.sql, 2.sql"),
            loaded_row(6, "loaded", "acme", SINGLE, SINGLE, "sms", "pending", None, None, of="1.sql, 2.sql"),
        ],
    ),
    "another account": (
        (f"UPDATE verified_numbers SET account = 'acme' WHERE first_number = '{TESTER}';",),
        [
            loaded_row(4, "removed", "probe", TESTER, TESTER, "call", "removed", None, None),
            loaded_row(5, "loaded", "acme", TESTER, TESTER, "call", "verified", EXPIRES, "verified by demo"),
        ],
    ),
}
AUDITED = "SELECT * FROM audit_log"


@pytest.mark.parametrize("texts", UNCHANGED)
def test_what_is_as_it_was_leaves_no_row(demo: Loaded, texts: tuple[str, ...]) -> None:
    demo.load(*texts)
    assert demo.rows(AUDITED) == DEMO_ROWS


@pytest.mark.parametrize(("texts", "told"), CHANGES.values(), ids=CHANGES.keys())
def test_a_load_leaves_a_row_for_every_number_it_changed(
    demo: Loaded, texts: tuple[str, ...], told: list[tuple[object, ...]]
) -> None:
    demo.load(*texts)
    assert demo.rows(AUDITED) == DEMO_ROWS + told


def test_rows_say_when_and_who(demo: Loaded) -> None:
    path = demo.directory / "x.sql"
    path.write_text(f"DELETE FROM verified_numbers WHERE first_number = '{SINGLE}';")
    now = datetime(2026, 7, 1, 12, 30, 0, 5, tzinfo=ZoneInfo("Europe/Berlin"))
    loader.load(open_database(demo.url), demo.url, [path], now, "anna")
    assert demo.rows(AUDITED)[3][:5] == (4, "2026-07-01T10:30:00Z", "anna", "load: x.sql", "removed")


def test_the_command_says_when_and_who(demo: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs it, and who they were before sudo. LOGNAME is anybody's to set."""
    monkeypatch.setenv("LOGNAME", "the-boss")
    monkeypatch.setenv("SUDO_UID", "4294967294")
    monkeypatch.setenv("SUDO_USER", "anna")
    who = pwd.getpwuid(os.getuid()).pw_name
    path = demo.directory / "x.sql"
    path.write_text(f"DELETE FROM verified_numbers WHERE first_number = '{SINGLE}';")
    before = times.to_text(datetime.now(UTC))
    ran = CliRunner().invoke(cli.main, ["load", "--db", demo.url, str(path)])
    assert (ran.exit_code, ran.output) == (0, f"loaded 1 statements from {path}\n")
    id_, at, *rest = demo.rows(AUDITED)[3][:5]
    assert (id_, rest) == (4, [f"{who} (sudo: anna)", "load: x.sql", "removed"])
    assert before <= str(at) <= times.to_text(datetime.now(UTC))


def test_a_load_that_fails_leaves_no_row(refusing: Loaded) -> None:
    wrong = "UPDATE verified_numbers SET expires_at = '2026-02-30T00:00:00Z' WHERE first_number = '+498999998123';"
    told = "verified_numbers: acme, +498999998123: expires_at = 2026-02-30T00:00:00Z is no time such as 2026-11-23T08:30:00Z"
    assert refusing.refused(wrong) == told
    assert refusing.refused("DELETE FROM verified_numbers;", "SELECT 1 FROM nothing;").startswith("2.sql:1: ")


def test_the_names_of_many_files_are_cut(demo: Loaded) -> None:
    update = f"UPDATE verified_numbers SET verified_by = '{{}}' WHERE first_number = '{SINGLE}';"
    demo.load(*(update.format(i) for i in range(100)))
    origin = demo.rows(AUDITED)[3][3]
    assert origin == ("load: " + ", ".join(f"{i}.sql" for i in range(1, 101)))[:197] + "..."


def test_a_file_may_have_any_name(demo: Loaded) -> None:
    path = demo.directory / "a\nb\x1b[31m.sql"
    path.write_text(f"DELETE FROM verified_numbers WHERE first_number = '{SINGLE}';")
    loader.load(open_database(demo.url), demo.url, [path], *LOADED)
    assert demo.rows(AUDITED)[3][3] == "load: a?b?[31m.sql"


# --- what constraints cannot say ---------------------------------------------------------------------------


def phones(count: int, user: str = "NULL") -> str:
    rows = ", ".join(f"('acme', 'p{i}', {user})" for i in range(count))
    return f"INSERT INTO endpoints (account, name, user_name) VALUES {rows};"


def group(count: int) -> str:
    rows = ", ".join(f"('acme', 'all', {i + 1}, 'p{i}')" for i in range(count))
    return (
        "INSERT INTO ring_groups (account, name) VALUES ('acme', 'all');"
        f"INSERT INTO ring_group_members (account, ring_group, position, endpoint) VALUES {rows};"
    )


def rule(mode: str, *targets: str) -> str:
    rows = "".join(
        f"INSERT INTO rule_targets (account, number, rule_position, position, {target.partition(' ')[0]})"
        f" VALUES ('acme', '+492214710600', 1, {position}, {target.partition(' ')[2]});"
        for position, target in enumerate(targets, 1)
    )
    return (
        "INSERT INTO numbers (number, account) VALUES ('+492214710600', 'acme');"
        f"INSERT INTO rules (account, number, position, mode) VALUES ('acme', '+492214710600', 1, '{mode}');{rows}"
    )


GROUP, USER, MOBILE = "ring_group 'all'", "user_name 'many'", "external_number '+491713920042'"
MANY = "INSERT INTO users (account, name) VALUES ('acme', 'many');"

OWN = "INSERT INTO numbers (number, account) VALUES ('+492214710600', 'acme');"


def rows_of(table: str, columns: str, count: int, values: Callable[[int], str]) -> str:
    """So many rows in one statement."""
    return f"INSERT INTO {table} ({columns}) VALUES " + ", ".join(f"({values(i)})" for i in range(1, count + 1)) + ";"


def of_rules(count: int) -> str:
    return OWN + rows_of("rules", "account, number, position", count, lambda i: f"'acme', '+492214710600', {i}")


def of_targets(count: int) -> str:
    columns = "account, number, rule_position, position, hangup_cause"
    return of_rules(8) + rows_of(
        "rule_targets", columns, count, lambda i: f"'acme', '+492214710600', {i % 8 + 1}, {i // 8 + 1}, 'USER_BUSY'"
    )


def of_callers(count: int) -> str:
    return of_rules(1) + rows_of(
        "rule_callers", "number, rule_position, caller", count, lambda i: f"'+492214710600', 1, '+4930{i:06}'"
    )


def of_ranges(count: int) -> str:
    return "INSERT INTO time_profiles (account, name) VALUES ('acme', 'long');" + rows_of(
        "time_profile_ranges", "account, time_profile, position, start_time, end_time", count,
        lambda i: f"'acme', 'long', {i}, '08:00', '12:00'",
    )  # fmt: skip


def of_routes(count: int) -> str:
    """The demo has one."""
    return rows_of("trunk_routes", "account, prefix, trunk", count - 1, lambda i: f"'acme', '+{4000 + i}', 'carrier'")


def of_permissions(count: int) -> str:
    return rows_of("call_permissions", "account, prefix, allowed", count, lambda i: f"'acme', '+{4000 + i}', TRUE")


def of_chain(count: int) -> str:
    """A number that forwards to the next one, so often."""
    numbers = rows_of("numbers", "number, account", count + 1, lambda i: f"'+4922147107{i:03}', 'acme'")
    rules = rows_of("rules", "account, number, position", count, lambda i: f"'acme', '+4922147107{i:03}', 1")
    columns = "account, number, rule_position, position, hosted_number"
    return (
        numbers
        + rules
        + rows_of("rule_targets", columns, count, lambda i: f"'acme', '+4922147107{i:03}', 1, 1, '+4922147107{i + 1:03}'")
    )


def of_tree(count: int) -> str:
    """A number that leads to so many, itself among them."""
    more = rows_of("numbers", "number, account", count - 1, lambda i: f"'+4922147107{i:03}', 'acme'")
    columns = "account, number, rule_position, position, hosted_number"
    return (
        of_rules(2)
        + more
        + rows_of(
            "rule_targets",
            columns,
            count - 1,
            lambda i: f"'acme', '+492214710600', {i % 2 + 1}, {i // 2 + 1}, '+4922147107{i:03}'",
        )
    )


def of_legs(count: int) -> str:
    """A sequential rule that rings so many legs in all."""
    whole, rest = divmod(count, 100)
    return phones(100) + group(100) + rule("sequential", *([GROUP] * whole), *([MOBILE] * rest))


LIMITS: dict[Callable[[int], str], tuple[int, str]] = {
    of_rules: (100, "rules: +492214710600: 101 rules, at most 100 are allowed"),
    of_targets: (500, "rule_targets: +492214710600: 501 targets of all its rules, at most 500 are allowed"),
    of_callers: (1000, "rule_callers: +492214710600: 1001 caller filters of all its rules, at most 1000 are allowed"),
    of_ranges: (200, "time_profile_ranges: acme, long: 201 ranges, at most 200 are allowed"),
    of_routes: (1000, "trunk_routes: acme: 1001 routes, at most 1000 are allowed"),
    of_permissions: (1000, "call_permissions: acme: 1001 permissions, at most 1000 are allowed"),
    of_chain: (16, "rule_targets: +4922147107001: its rules forward a call more than 16 times, one after another"),
    of_tree: (128, "rule_targets: +492214710600: its rules lead to more than 128 hosted numbers, itself among them"),
    of_legs: (512, "rules: +492214710600, 1: rings 513 legs one after another, at most 512 are allowed"),
}
"""What writes so many rows, the most that is allowed, and what is said of one more."""


@pytest.mark.parametrize("write", LIMITS, ids=[write.__name__ for write in LIMITS])
def test_more_rows_than_a_call_may_cost_are_refused(refusing: Loaded, write: Callable[[int], str]) -> None:
    most, refusal = LIMITS[write]
    assert refusing.refused(write(most + 1)) == refusal


@pytest.mark.parametrize("write", LIMITS, ids=[write.__name__ for write in LIMITS])
def test_as_many_rows_as_a_call_may_cost_are_loaded(demo: Loaded, write: Callable[[int], str]) -> None:
    demo.load(write(LIMITS[write][0]))


TOO_MANY = {
    "a group and another": (phones(128) + group(128) + rule("parallel", GROUP, MOBILE), 129),
    "a group and a user": (phones(127) + group(127) + rule("parallel", GROUP, "user_name 'reception'"), 129),
    "a user": (MANY + phones(129, "'many'") + rule("parallel", USER), 129),
    "a user, one after another": (MANY + phones(129, "'many'") + rule("sequential", MOBILE, USER), 129),
    "a user and a group": (MANY + phones(65, "'many'") + group(65) + rule("parallel", USER, GROUP), 130),
}


@pytest.mark.parametrize(("text", "legs"), TOO_MANY.values(), ids=TOO_MANY.keys())
def test_more_than_128_legs_together_are_refused(refusing: Loaded, text: str, legs: int) -> None:
    assert refusing.refused(text) == f"rules: +492214710600, 1: rings {legs} legs together, FreeSWITCH rings at most 128"


JUST_ENOUGH = {
    "a group": phones(128) + group(128) + rule("parallel", GROUP),
    "a group and others, one after another": phones(128) + group(128) + rule("sequential", GROUP, MOBILE, GROUP),
    "a user": MANY + phones(128, "'many'") + rule("parallel", USER),
    "a group, and a user without phones": MANY + phones(128) + group(128) + rule("parallel", GROUP, USER),
    "a user, and what does not ring": MANY + phones(128, "'many'") + rule("parallel", USER, "voicemail '1001'"),
    "128 targets": phones(128) + rule("parallel", *(f"endpoint 'p{i}'" for i in range(128))),
    "a target too many that is switched off": phones(128)
    + group(128)
    + rule("parallel", GROUP, MOBILE)
    + "UPDATE rule_targets SET enabled = FALSE WHERE number = '+492214710600' AND position = 2;",
}


@pytest.mark.parametrize("text", JUST_ENOUGH.values(), ids=JUST_ENOUGH.keys())
def test_128_legs_together_load(demo: Loaded, text: str) -> None:
    assert demo.load(text) > 0


def test_a_commit_cannot_hide_from_sqlite_s_lexer_in_a_string_of_postgresql(refusing: Loaded) -> None:
    text = "UPDATE accounts SET country = 'FR'; SELECT E'\\''; COMMIT; SELECT E'\\'';"
    assert refusing.refused(text) is not None


def test_a_base_rule_for_some_callers_is_refused(refusing: Loaded) -> None:
    text = "INSERT INTO rule_callers (number, rule_position, caller) VALUES ('+492214710100', 9, '+4930*');"
    assert refusing.refused(text) == "rule_callers: +492214710100, 9, +4930*: a base rule is for every caller"


PROFILE = "INSERT INTO time_profiles (account, name, timezone, holiday_region) VALUES ('acme', 't', {}, {});"
RANGE = "INSERT INTO time_profile_ranges (account, time_profile, position, {}) VALUES ('acme', 't', 1, {});"
NO_HOLIDAYS = PROFILE.format("NULL", "NULL")

OWNED = "INSERT INTO user_numbers (account, user_name, number, kind, short_code) VALUES ('acme', 'office', {}, {}, {});"
FORWARDED = "UPDATE rule_targets SET caller_id = 'verified:{}' WHERE number = '+492214710200' AND position = 3;"
DE_5, DE_3 = (f"{rule.id}: {rule.text}" for rule in map(rules_for("DE").rules.__getitem__, ("DE-5", "DE-3")))
NO_LINE = "UPDATE numbers SET is_network_number = FALSE WHERE account = 'acme';"
LINE = NO_LINE + "INSERT INTO numbers VALUES ('{}', '{}', TRUE, TRUE);"
REVOKED = (
    "INSERT INTO verified_numbers (account, first_number, last_number, method, state, verified_at, expires_at, revoked_at)"
    " VALUES ('acme', '+493023125000', '+493023125000', 'call', 'revoked', {}, {}, {});"
)
T = "'2026-01-07T09:00:00Z'"


MUST_GET_THROUGH = "is a number in DE that must get through: doctor on call (DE-ttdsg)"

CHECKED = [
    (
        "UPDATE accounts SET failed_transfer = '+493023125010' WHERE name = 'acme';",
        "accounts: acme: failed_transfer +493023125010 is no number of the account",
        "UPDATE accounts SET failed_transfer = '+492214710200' WHERE name = 'acme';",
    ),
    (
        "UPDATE users SET extension = '112' WHERE name = 'office';",
        "users: acme, office: extension 112 is an emergency number in DE: fire brigade and ambulance (DE-tkg)",
        "UPDATE users SET extension = '113' WHERE name = 'office';",
    ),
    (
        "UPDATE users SET extension = '911' WHERE name = 'office'; UPDATE accounts SET country = 'US' WHERE name = 'acme';",
        "users: acme, office: extension 911 is an emergency number in US: police, fire brigade, ambulance (US-practice)",
        "UPDATE users SET extension = '911' WHERE name = 'office';",
    ),
    (
        OWNED.format("'+492214710600'", "'secondary'", "'110'"),
        "user_numbers: acme, +492214710600: short code 110 is an emergency number in DE: police (DE-tkg)",
        OWNED.format("'+492214710600'", "'secondary'", "'111'"),
    ),
    (
        # Mountain rescue, which phonenumbers does not know.
        "UPDATE users SET extension = '140' WHERE name = 'office'; UPDATE accounts SET country = 'AT' WHERE name = 'acme';",
        "users: acme, office: extension 140 is an emergency number in AT: mountain rescue (AT-rtr)",
        "UPDATE users SET extension = '140' WHERE name = 'office';",
    ),
    (
        "UPDATE users SET extension = '988' WHERE name = 'office'; UPDATE accounts SET country = 'US' WHERE name = 'acme';",
        "users: acme, office: extension 988 is a number in US that must get through: prevention of suicide (US-fcc)",
        # Ordinary services are no reason to refuse an extension.
        "UPDATE users SET extension = '311' WHERE name = 'office'; UPDATE accounts SET country = 'US' WHERE name = 'acme';",
    ),
    (
        OWNED.format("'+492214710600'", "'secondary'", "'116117'"),
        f"user_numbers: acme, +492214710600: short code 116117 {MUST_GET_THROUGH}",
        OWNED.format("'+492214710600'", "'secondary'", "'115'"),
    ),
    (
        OWNED.format("'+492214710600'", "'secondary'", "'12'"),
        "user_numbers: acme, +492214710600: short code 12 is the extension of workshop",
        OWNED.format("'+492214710600'", "'secondary'", "'14'"),
    ),
    (
        OWNED.format("'+492214710600'", "'secondary'", "'13'"),
        "user_numbers: acme, +492214710600: short code 13 is the extension of office",
        OWNED.format("'+492214710600'", "'secondary'", "NULL"),
    ),
    (
        OWNED.format("'+492214710600'", "'secondary'", "'15'")
        + "UPDATE users SET extension = '15' WHERE name = 'reception';",
        "user_numbers: acme, +492214710600: short code 15 is the extension of reception",
        # Another account's extension.
        OWNED.format("'+492214710600'", "'secondary'", "'15'") + "UPDATE users SET extension = '15' WHERE name = 'tester';",
    ),
    (
        "UPDATE accounts SET presented_number = '+499001000000' WHERE name = 'acme';",
        f"accounts: acme: presented_number +499001000000 cannot be a caller ID ({DE_5})",
        # Not verified, which each call is told.
        "UPDATE accounts SET presented_number = '+494066969001' WHERE name = 'acme';",
    ),
    (
        "UPDATE accounts SET presented_number = '+442079460018' WHERE name = 'acme';",
        f"accounts: acme: presented_number +442079460018 is no number of DE ({DE_3})",
        "UPDATE accounts SET presented_number = '+491713920099' WHERE name = 'acme';",
    ),
    (
        FORWARDED.format("+49110"),
        f"rule_targets: +492214710200, 1, 3: caller_id verified:+49110 cannot be a caller ID ({DE_5})",
        FORWARDED.format("+494066969001"),
    ),
    (
        FORWARDED.format("+442079460018"),
        f"rule_targets: +492214710200, 1, 3: caller_id verified:+442079460018 is no number of DE ({DE_3})",
        FORWARDED.format("+498999998123"),
    ),
    (
        LINE.format("+4913712345", "acme"),
        f"numbers: +4913712345: a network number cannot be a caller ID ({DE_5})",
        # It may be called.
        "INSERT INTO numbers (number, account) VALUES ('+4913712345', 'acme');",
    ),
    (
        LINE.format("+442079460018", "acme"),
        f"numbers: +442079460018: a network number is no number of DE ({DE_3})",
        LINE.format("+442079460018", "acme") + "UPDATE accounts SET country = 'GB' WHERE name = 'acme';",
    ),
    (
        "INSERT INTO numbers (number, account) VALUES ('+4902214710600', 'acme');",
        "numbers: +4902214710600: every call to it is one to +492214710600, which is probably meant",
        # Impossible numbers are called by their text.
        "INSERT INTO numbers (number, account) VALUES ('+5215555123456', 'acme'), ('+999123456', 'acme');",
    ),
    (
        "INSERT INTO rule_callers (number, rule_position, caller) VALUES ('+492214710500', 2, '+266696687');",
        (
            "rule_callers: +492214710500, 2, +266696687: means callers who hide their number; rules.anonymous = TRUE "
            "is for them"
        ),
        "INSERT INTO rule_callers (number, rule_position, caller) VALUES ('+492214710500', 2, '+266*');",
    ),
    (
        NO_LINE,
        (
            "accounts: acme: has trunk_routes, but no network number: fsroute has no number to name to the carrier; "
            "for example: UPDATE numbers SET is_network_number = TRUE WHERE number = '+492214710100'"
        ),
        NO_LINE + "DELETE FROM trunk_routes WHERE account = 'acme';",
    ),
    (
        "DELETE FROM numbers WHERE account = 'probe';",
        (
            "accounts: probe: has trunk_routes, but no network number: fsroute has no number to name to the carrier; "
            "for example: INSERT INTO numbers (number, account, is_network_number) VALUES ('+...', 'probe', TRUE)"
        ),
        "DELETE FROM numbers WHERE account = 'probe'; DELETE FROM trunk_routes WHERE account = 'probe';",
    ),
    (
        REVOKED.format(T, T, "'xxxx-xx-xxTxx:xx:xxZ'"),
        "verified_numbers: acme, +493023125000: revoked_at = xxxx-xx-xxTxx:xx:xxZ is no time such as 2026-11-23T08:30:00Z",
        REVOKED.format(T, T, T),
    ),
    (
        REVOKED.format(T, "'2026-02-29T00:00:00Z'", T),
        "verified_numbers: acme, +493023125000: expires_at = 2026-02-29T00:00:00Z is no time such as 2026-11-23T08:30:00Z",
        REVOKED.format(T, "'2028-02-29T00:00:00Z'", T),
    ),
    (
        REVOKED.format("'2026-W01-1T00:00:00Z'", T, T),
        "verified_numbers: acme, +493023125000: verified_at = 2026-W01-1T00:00:00Z is no time such as 2026-11-23T08:30:00Z",
        REVOKED.format("'2026-01-01T00:00:00Z'", T, T),
    ),
    (
        REVOKED.format("'2026-01-01T24:00:00Z'", T, T),
        "verified_numbers: acme, +493023125000: verified_at = 2026-01-01T24:00:00Z is no time such as 2026-11-23T08:30:00Z",
        REVOKED.format("'2026-01-01T23:59:59Z'", T, T),
    ),
    (
        REVOKED.format("NULL", "'2026-01-01T00.00.00Z'", T),
        "verified_numbers: acme, +493023125000: expires_at = 2026-01-01T00.00.00Z is no time such as 2026-11-23T08:30:00Z",
        REVOKED.format("NULL", "NULL", T),
    ),
    (
        "UPDATE rule_targets SET start_s = 5 WHERE number = '+492214710200' AND position = 2;",
        "rule_targets: +492214710200, 1, 2: start_s = 5, but the rule is sequential",
        "UPDATE rule_targets SET start_s = 5 WHERE number = '+492214710100' AND rule_position = 1 AND position = 2;",
    ),
    (
        "UPDATE accounts SET country = 'XX' WHERE name = 'acme';",
        "accounts: acme: country XX has no numbering plan",
        "UPDATE accounts SET country = 'CH';",
    ),
    (
        "UPDATE accounts SET area_code = '0221' WHERE name = 'acme';",
        "accounts: acme: area_code 0221 is meant without the national prefix: 221",
        "UPDATE accounts SET area_code = '221' WHERE name = 'acme';",
    ),
    (
        "UPDATE accounts SET area_code = '171' WHERE name = 'acme';",
        "accounts: acme: area_code 171 begins no number of a place in DE",
        "UPDATE accounts SET area_code = '30' WHERE name = 'acme';",
    ),
    (
        "UPDATE accounts SET area_code = '91', country = 'ES' WHERE name = 'acme';",
        "accounts: acme: area_code 91 means nothing in ES: numbers there are dialled whole",
        "UPDATE accounts SET country = 'FR' WHERE name = 'acme';",
    ),
    (
        "UPDATE trunks SET country = 'UK';",
        "trunks: carrier: country UK has no numbering plan",
        "UPDATE trunks SET country = 'GB';",
    ),
    (
        "UPDATE accounts SET timezone = 'Europe/Cologne' WHERE name = 'acme';",
        "accounts: acme: Europe/Cologne is no time zone such as Europe/Berlin",
        "UPDATE accounts SET timezone = 'Europe/Busingen';",
    ),
    (
        PROFILE.format("'CET/Berlin'", "NULL"),
        "time_profiles: acme, t: CET/Berlin is no time zone such as Europe/Berlin",
        PROFILE.format("'CET'", "NULL"),
    ),
    (
        PROFILE.format("NULL", "'DE-XX'"),
        "time_profiles: acme, t: no calendar of public holidays for DE-XX",
        PROFILE.format("NULL", "'DE-NW'"),
    ),
    (
        PROFILE.format("NULL", "'XX'"),
        "time_profiles: acme, t: no calendar of public holidays for XX",
        PROFILE.format("NULL", "'DE'"),
    ),
    (
        NO_HOLIDAYS + RANGE.format("holidays", "'only'"),
        "time_profile_ranges: acme, t, 1: holidays = only, but the profile has no holiday_region",
        PROFILE.format("NULL", "'DE'") + RANGE.format("holidays", "'only'"),
    ),
    (
        NO_HOLIDAYS + RANGE.format("holidays", "'except'"),
        "time_profile_ranges: acme, t, 1: holidays = except, but the profile has no holiday_region",
        NO_HOLIDAYS + RANGE.format("holidays", "'any'"),
    ),
    (
        NO_HOLIDAYS + RANGE.format("first_date", "'2026-02-29'"),
        "time_profile_ranges: acme, t, 1: 2026-02-29 is no date",
        NO_HOLIDAYS + RANGE.format("first_date", "'2028-02-29'"),
    ),
    (
        NO_HOLIDAYS + RANGE.format("last_date", "'2026-11-31'"),
        "time_profile_ranges: acme, t, 1: 2026-11-31 is no date",
        NO_HOLIDAYS + RANGE.format("last_date", "'2026-11-30'"),
    ),
    (
        NO_HOLIDAYS + RANGE.format("first_date", "'0000-01-01'"),
        "time_profile_ranges: acme, t, 1: 0000-01-01 is no date",
        NO_HOLIDAYS + RANGE.format("first_date", "'0001-01-01'"),
    ),
]


@pytest.mark.parametrize(("refused", "told", "accepted"), CHECKED)
def test_what_constraints_cannot_say_is_checked(refusing: Loaded, refused: str, told: str, accepted: str) -> None:
    assert accepted
    assert refusing.refused(GOOD, refused) == told


@pytest.mark.parametrize("accepted", [case[2] for case in CHECKED])
def test_the_nearest_that_works_is_loaded(demo: Loaded, accepted: str) -> None:
    assert demo.load(accepted) > 0


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("started_at", "2026-02-29T00:00:00Z"),
        ("code_expires_at", "2026-13-01T00:00:00Z"),
        ("delivered_at", "xxxx-xx-xxTxx:xx:xxZ"),
        ("settled_at", "2026-01-01T25:00:00Z"),
    ],
)
def test_times_of_attempts_are_checked(demo: Loaded, column: str, wrong: str) -> None:
    """No script can write them, but a damaged database is noticed before calls are routed by it."""
    times = {"started_at": "2028-02-29T00:00:00Z", "settled_at": "2028-02-29T00:00:00Z", column: wrong}
    values = "', '".join(times.values())
    demo.change(
        f"INSERT INTO verifications (id, account, first_number, last_number, method, state, started_by, {', '.join(times)})"
        f" VALUES ('attempt-1', 'acme', '+493023125000', '+493023125000', 'call', 'failed', 'a', '{values}')"
    )
    told = f"verifications: acme, +493023125000: {column} = {wrong} is no time such as 2026-11-23T08:30:00Z"
    assert demo.refused(GOOD) == told
    demo.change(f"UPDATE verifications SET {column} = '2028-02-29T00:00:00Z'")
    assert demo.load(GOOD) == 1


def test_a_number_may_be_asked_for_before_it_is_verified(demo: Loaded) -> None:
    """Verifications come, expire and are revoked while the tables stay. Were this refused, the load that comes next, of
    something else, would fail for it. Each call is told, with the account's policy and the reason `not_verified`."""
    asked = FORWARDED.format("+494066969001") + "UPDATE accounts SET presented_number = '+494066969001';"
    assert demo.load(asked, "DELETE FROM verified_numbers;", GOOD) == 4


def test_all_that_cannot_work_is_told_at_once(refusing: Loaded) -> None:
    told = refusing.refused(
        "UPDATE accounts SET country = 'XX', timezone = 'Mars' WHERE name = 'acme';",
        "UPDATE trunks SET country = 'XX';",
    )
    assert told.splitlines() == [
        "accounts: acme: country XX has no numbering plan",
        "accounts: acme: Mars is no time zone such as Europe/Berlin",
        "trunks: carrier: country XX has no numbering plan",
    ]


def test_what_was_wrong_before_can_be_put_right(databases: Databases, tmp_path: Path) -> None:
    """The check is of the tables as they are after a load, not of what it changed."""
    demo = Loaded(databases.filled(), tmp_path)
    wrong = "INSERT INTO accounts (name, country, timezone, domain) VALUES ('a', 'XX', 'UTC', 'a.example');"
    assert demo.refused(wrong) == "accounts: a: country XX has no numbering plan"
    assert demo.load(wrong, "UPDATE accounts SET country = 'DE';") == 2
