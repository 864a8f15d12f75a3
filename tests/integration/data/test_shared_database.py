"""Two versions of fsroute on one database, while nodes are upgraded one by one."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from fsroute.data.database import open_database
from fsroute.data.migrations.target import target
from fsroute.data.migrations.upgrade import upgrade
from fsroute.data.schema import new_version, schema
from tests.support.postgresql import Databases
from tests.support.schemas import SCHEMAS, old_database
from tests.support.server import TOP, applications, call, serving

LAST_OF_VERSION_3 = "6eeb7861c534f8157c2be019645aa145f3dd2626"
"""The commit before version 4 of the tables."""

NUMBER = """
INSERT INTO numbers (number, account) VALUES ('{number}', 'acme');
INSERT INTO rules (account, number, position) VALUES ('acme', '{number}', 1);
INSERT INTO rule_targets (account, number, rule_position, position, endpoint)
VALUES ('acme', '{number}', 1, 1, '{endpoint}');
"""

BLOCK = ("+4922129191000", "+4922129191099")

CALLED = "+492214710100"


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fsroute of version 3, as it was."""
    command = ["git", "-C", str(TOP), "archive", "--format=tar", LAST_OF_VERSION_3, "fsroute", "schema.sql"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"NOT RUN: fsroute of version 3 on the tables of version 4: no git history with {LAST_OF_VERSION_3[:7]}")
    directory = tmp_path_factory.mktemp("version-3")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


def run(code: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "fsroute", *arguments]
    done = subprocess.run(command, cwd=code, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_code_of_version_3_is_the_old_one(old_code: Path, tables_url: str) -> None:
    assert run(old_code, "upgrade")[0] == 2
    database = open_database(tables_url)
    with database.connection_context():
        database.execute_sql("UPDATE schema_version SET version = 4")
    status, said = run(old_code, "explain", "--db", tables_url, "--to", CALLED)
    assert (status, said.count("\n")) == (2, 1)
    assert "its schema version is 4, this fsroute needs 3" in said


def test_old_and_new_nodes_share_a_database(databases: Databases, old_code: Path, tmp_path: Path) -> None:
    """The order that docs/operating.md gives: the tables, then one node after another. Old nodes go on, and start again."""
    url = old_database(databases.empty(), SCHEMAS[-1])
    for name in ("old", "new", "again"):
        (tmp_path / name).mkdir()
    script = tmp_path / "more.sql"
    with serving(url, tmp_path / "old", code=old_code) as old:
        expected = applications(call(old, CALLED).commands)
        upgrade(open_database(url), url)
        assert applications(call(old, CALLED).commands) == expected
        with serving(url, tmp_path / "new") as new, serving(url, tmp_path / "again", code=old_code) as again:
            nodes = (old, new, again)
            assert [applications(call(node, CALLED).commands) for node in nodes] == [expected] * 3
            for code, endpoint in ((old_code, "1002"), (TOP, "1001")):
                number = f"+4922147106{endpoint[2:]}"
                script.write_text(NUMBER.format(number=number, endpoint=endpoint))
                status, said = run(code, "load", "--db", url, str(script))
                assert status == 0, said
                decided = [str(applications(call(node, number).commands)) for node in nodes]
                assert len(set(decided)) == 1
                assert f"sip:{endpoint}@" in decided[0]
    verified = [run(code, "verify", "list", "--db", url, "--json") for code in (old_code, TOP)]
    assert verified[0] == verified[1]
    assert verified[0][0] == 0
    later = ["verify", "add-block", "--account", "acme", "--first", BLOCK[0], "--last", BLOCK[1], "--db", url]
    status, said = run(old_code, *later, "--evidence", "contract")
    assert status == 0, said


def test_a_new_node_serves_the_older_tables_until_they_are_upgraded(databases: Databases, tmp_path: Path) -> None:
    """The other order: nothing breaks if a node is new before the tables are."""
    url = old_database(databases.empty(), SCHEMAS[-1])
    with serving(url, tmp_path) as server:
        assert applications(call(server, CALLED).commands)[1][0] != "hangup"


def test_the_tables_only_grow_since_the_oldest_fsroute_that_uses_them() -> None:
    """What CONTRIBUTING.md asks of each change: older code finds its columns, and need not name new ones."""
    new = target(schema())
    oldest = new_version().oldest
    [*_, shared] = [path for path in SCHEMAS if int(path.stem[-1]) == oldest]
    for table in target(shared.read_text()).tables.values():
        columns = {column.name: column for column in new.tables[table.name].columns}
        assert [column for column in table.columns if columns[column.name] != column] == []
        added = [column for column in columns.values() if column not in table.columns]
        assert table.name == "schema_version" or [column for column in added if column.is_required] == []
        # A constraint that is stricter than before refuses rows that older code writes.
        changed = {name for name, check in table.checks.items() if new.tables[table.name].checks.get(name) != check}
        assert changed == set(), table.name
