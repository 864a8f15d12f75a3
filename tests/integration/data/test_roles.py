"""fsroute roles, on a PostgreSQL: each command runs as the role that is for it, and that role can do nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fsroute.data import roles
from fsroute.data.database import execute_whole, open_database
from fsroute.errors import ConfigError
from tests.support.postgresql import Server
from tests.support.schemas import SCHEMAS, old_database, parts_of, rows_of
from tests.support.server import applications, call, serving
from tests.support.tables import DEMO

psycopg = pytest.importorskip("psycopg", reason="NOT RUN: the roles of PostgreSQL: psycopg is not installed")

KINDS = ("owner", "router", "loader", "verifier")
CALLED = "+492214710100"
_names = iter(range(1000))


def run(*arguments: str | Path) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "fsroute", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def as_role(url: str, role: str) -> str:
    return url.replace("fsroute@", f"{role}@", 1)


def give(url: str, prefix: str = "fsroute") -> None:
    """What a superuser does with what `fsroute roles` prints."""
    database = open_database(url)
    with database.connection_context():
        execute_whole(database, roles.sql(prefix))


@pytest.fixture
def empty(postgresql_server: Server) -> str:
    """A database without tables, with roles."""
    url = postgresql_server.create(f"roles_{next(_names)}")
    give(url)
    return url


@pytest.fixture
def demo(empty: str) -> dict[str, str]:
    """A database with the demo, made by its owner and its loader: the URL of each role, and `superuser`."""
    urls = {kind: as_role(empty, f"fsroute_{kind}") for kind in KINDS} | {"superuser": empty}
    assert run("init", "--db", urls["owner"])[0] == 0
    status, _, err = run("load", "--db", urls["loader"], DEMO)
    assert (status, err) == (0, "")
    return urls


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(query.encode()).fetchall()
        return rows


def test_each_command_runs_as_the_role_that_is_for_it(demo: dict[str, str], tmp_path: Path) -> None:
    """And the server, which may only read, is told of what the loader and the verifier have changed."""
    with serving(demo["router"], tmp_path) as server:
        expected = applications(call(server, CALLED).commands)
        assert "bridge" in [name for name, _ in expected]
        script = tmp_path / "more.sql"
        script.write_text(f"UPDATE numbers SET enabled = FALSE WHERE number = '{CALLED}';")  # noqa: S608 - of this test
        assert run("load", "--db", demo["loader"], script)[0] == 0
        deadline = time.monotonic() + 20
        while applications(call(server, CALLED).commands) == expected:
            assert time.monotonic() < deadline
        block = ["--account", "acme", "--first", "+4922129191000", "--last", "+4922129191099", "--evidence", "contract"]
        status, out, err = run("verify", "add-block", "--db", demo["verifier"], *block)
        assert (status, err) == (0, ""), out
    assert run("explain", "--db", demo["router"], "--to", CALLED)[0] == 0
    status, out, _ = run("verify", "history", "--db", demo["verifier"], "--number", "+4922129191000")
    assert (status, "contract" in out) == (0, True)
    script.write_text("DELETE FROM verified_numbers WHERE account = 'acme' AND first_number = '+4922129191000';")
    assert run("load", "--db", demo["loader"], script)[0] == 0
    assert ask(demo["superuser"], "SELECT action FROM audit_log ORDER BY id DESC LIMIT 1") == [("removed",)]
    assert run("upgrade", "--db", demo["owner"])[:2] == (0, f"{demo['owner']}: has version 4, nothing to do\n")


REFUSED = [
    ("router", "INSERT INTO call_permissions VALUES ('acme', '+33', TRUE)"),
    ("router", "UPDATE accounts SET status = 'active'"),
    ("router", "DELETE FROM rules"),
    ("router", "TRUNCATE numbers CASCADE"),
    ("router", "SELECT * FROM verifications"),
    ("router", "SELECT * FROM audit_log"),
    ("router", "UPDATE schema_version SET version = 9"),
    ("router", "CREATE TABLE mine (x TEXT)"),
    ("router", "CREATE TEMPORARY TABLE mine (x TEXT)"),
    ("router", "CREATE SCHEMA mine"),
    ("router", "LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE"),
    ("loader", "UPDATE audit_log SET actor = 'somebody else'"),
    ("loader", "DELETE FROM audit_log"),
    ("loader", "TRUNCATE audit_log"),
    ("loader", "ALTER TABLE audit_log DISABLE TRIGGER ALL"),
    ("loader", "DROP TRIGGER tell_change ON numbers"),
    ("loader", "DROP INDEX verified_blocks"),
    ("loader", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("loader", "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"),
    ("loader", "CREATE TABLE mine (x TEXT)"),
    ("loader", "CREATE SCHEMA mine"),
    ("loader", "CREATE ROLE mine SUPERUSER"),
    ("loader", "SET session_replication_role = replica"),
    ("loader", "SELECT set_config('session_replication_role', 'replica', true)"),
    ("loader", "SELECT pg_read_file('/etc/hostname')"),
    ("loader", "COPY numbers TO PROGRAM 'cat'"),
    ("loader", "SELECT code_hash FROM verifications"),
    ("loader", "SET ROLE fsroute_scripts; INSERT INTO audit_log SELECT * FROM audit_log"),
    ("loader", "SET ROLE fsroute_scripts; SELECT account FROM verifications"),
    ("loader", "SET ROLE fsroute_scripts; CREATE TABLE mine (x TEXT)"),
    ("loader", "INSERT INTO verifications (id) VALUES ('12345678')"),
    ("loader", "UPDATE schema_version SET version = 9"),
    ("loader", "TRUNCATE numbers CASCADE"),
    ("loader", "ALTER TABLE accounts ADD COLUMN mine TEXT"),
    ("loader", "SET ROLE fsroute_owner"),
    ("verifier", "UPDATE audit_log SET actor = 'somebody else'"),
    ("verifier", "DELETE FROM audit_log"),
    ("verifier", "UPDATE accounts SET status = 'active'"),
    ("verifier", "INSERT INTO numbers (number, account) VALUES ('+49221471999', 'acme')"),
    ("verifier", "DELETE FROM verified_numbers"),
    ("verifier", "UPDATE schema_version SET version = 9"),
    ("verifier", "CREATE TABLE mine (x TEXT)"),
    ("verifier", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("owner", "CREATE ROLE mine"),
    ("owner", "SELECT pg_read_file('/etc/hostname')"),
    ("owner", "SET session_replication_role = replica"),
]


def test_no_role_can_do_what_another_one_is_for(demo: dict[str, str]) -> None:
    done = []
    for kind, statement in REFUSED:
        with psycopg.connect(demo[kind]) as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                pass
            else:
                done.append((kind, statement))
            connection.rollback()
    assert done == []


def test_even_the_owner_and_the_superuser_do_not_change_the_audit_log_by_accident(demo: dict[str, str]) -> None:
    for kind in ("owner", "superuser"):
        with psycopg.connect(demo[kind]) as connection:
            with pytest.raises(psycopg.errors.RaiseException, match="audit_log is append-only"):
                connection.execute("DELETE FROM audit_log")
            connection.rollback()


@pytest.mark.parametrize(
    ("kind", "command", "what"),
    [
        ("router", ["load", DEMO], "permission denied to create temporary tables"),
        ("verifier", ["load", DEMO], "permission denied to create temporary tables"),
        ("loader", ["verify", "list"], "permission denied for table verifications"),
        ("router", ["verify", "list"], "permission denied for table verifications"),
        ("router", ["init"], "is not empty, nothing was changed"),
    ],
)
def test_a_command_by_the_wrong_role_is_one_line(
    demo: dict[str, str], kind: str, command: list[str | Path], what: str
) -> None:
    status, out, err = run(*command, "--db", demo[kind])
    assert (status, out) == (2, "")
    assert what in err
    assert len(err.splitlines()) == 1


def test_an_upgrade_is_the_owners(postgresql_server: Server) -> None:
    """Tables that a superuser has made become the owner's, and the new tables of an upgrade too, with all grants."""
    url = old_database(postgresql_server.create(f"roles_{next(_names)}"), SCHEMAS[0])
    before = rows_of(url)
    give(url)
    for kind in ("router", "loader", "verifier"):
        role = as_role(url, f"fsroute_{kind}")
        line = f"the tables belong to fsroute_owner, and fsroute_{kind} may not change them: connect as fsroute_owner"
        assert run("upgrade", "--db", role) == (2, "", f"fsroute: database {role}: {line}\n")
    owner = as_role(url, "fsroute_owner")
    status, _, err = run("upgrade", "--db", owner)
    assert (status, err) == (0, "")
    new = postgresql_server.create(f"roles_{next(_names)}")
    give(new)
    assert run("init", "--db", as_role(new, "fsroute_owner"))[0] == 0
    assert granted(url) == granted(new)
    assert parts_without_grants(url) == parts_without_grants(new)
    assert len(rows_of(url)["rules"]) == len(before["rules"])


def test_a_superuser_upgrades_for_the_owner(postgresql_server: Server) -> None:
    url = old_database(postgresql_server.create(f"roles_{next(_names)}"), SCHEMAS[1])
    give(url)
    assert run("upgrade", "--db", url)[0] == 0
    assert set(ask(url, "SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")) == {("fsroute_owner",)}


def granted(url: str) -> list[tuple[Any, ...]]:
    """All rights on tables, in order."""
    query = (
        "SELECT c.relname, g.grantee::regrole::text, g.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS g"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2, 3"
    )
    return ask(url, query)


def parts_without_grants(url: str) -> list[tuple[Any, ...]]:
    """Grants are a list whose order says when each was given."""
    return [tuple("" if "=" in str(value) and "/" in str(value) else value for value in part) for part in parts_of(url)]


def test_the_sql_can_be_run_again(demo: dict[str, str]) -> None:
    before = granted(demo["superuser"])
    give(demo["superuser"])
    assert granted(demo["superuser"]) == before
    assert len(before) > 50


def test_rights_that_somebody_has_added_are_taken_back(demo: dict[str, str]) -> None:
    before = granted(demo["superuser"])
    with psycopg.connect(demo["superuser"]) as connection:
        connection.execute("GRANT ALL ON audit_log TO fsroute_router, fsroute_loader; GRANT SELECT ON accounts TO PUBLIC")
    assert granted(demo["superuser"]) != before
    give(demo["superuser"])
    assert granted(demo["superuser"]) == before


def test_another_prefix(postgresql_server: Server) -> None:
    url = postgresql_server.create(f"roles_{next(_names)}")
    give(url, "pbx_1")
    assert run("init", "--db", as_role(url, "pbx_1_owner"))[0] == 0
    assert run("load", "--db", as_role(url, "pbx_1_loader"), DEMO)[0] == 0
    assert run("explain", "--db", as_role(url, "pbx_1_router"), "--to", CALLED)[0] == 0
    assert run("load", "--db", as_role(url, "pbx_1_router"), DEMO)[0] == 2


@pytest.mark.parametrize("prefix", ["", "x'; DROP TABLE numbers; --", "Fsroute", "1a", "a" * 41, "fs-route", "pg\n"])
def test_a_prefix_is_a_plain_name(prefix: str) -> None:
    with pytest.raises(ConfigError, match="must be lower-case letters"):
        roles.sql(prefix)


def test_the_command_prints_what_psql_runs(postgresql_server: Server) -> None:
    if shutil.which("psql") is None:
        pytest.skip("NOT RUN: what fsroute roles prints, by psql: it is not installed (on Debian: postgresql-client)")
    url = postgresql_server.create(f"roles_{next(_names)}")
    status, printed, err = run("roles")
    assert (status, err, printed) == (0, "", roles.sql("fsroute"))
    command = ["psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", url]
    for _ in range(2):
        done = subprocess.run(command, input=printed, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run("init", "--db", as_role(url, "fsroute_owner"))[0] == 0
