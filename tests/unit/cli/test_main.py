"""The command line, in process. tests/integration/cli runs it as it is shipped."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fsroute import __version__

if TYPE_CHECKING:

    class Cli:
        """tests/unit/cli/conftest.py."""

        url: str
        directory: Path

        def run(self, *arguments: str) -> tuple[int, str, str]: ...
        def printed(self, *arguments: str) -> str: ...
        def data(self, *arguments: str) -> Any: ...
        def refused(self, *arguments: str) -> str: ...


GROUP, HOURS = "+492214710300", "+492214710400"


def test_help_and_version(cli: Cli) -> None:
    assert cli.printed("--version") == f"fsroute {__version__}\n"
    for command in ("call", "emergency-numbers", "explain", "init", "load", "serve", "verify"):
        assert f"  {command} " in cli.printed("--help")
        assert cli.printed(command, "--help").startswith(f"Usage: fsroute {command}")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["explian"], "No such command 'explian'. Did you mean 'explain'? (see fsroute --help)"),
        (["explain"], "Missing option '--to' (see fsroute explain --help)"),
        (["--what"], "No such option"),
        (["load", "--country", "DE", "x.sql"], "No such option"),
        (["explain", "--to", "1", "--country", "XX"], "country = 'XX': not an ISO 3166 code with a numbering plan"),
        (["explain", "--to", "1", "--config", "none.toml"], "none.toml: No such file or directory"),
        (["explain", "--to", "1", "--transferred"],
         "--transferred needs --account, and --user if a user transfers the call (see fsroute explain --help)"),
        (["explain", "--to", GROUP, "--at", "noon"],
         "--at 'noon': is no time such as 2026-11-23T09:30 or 2026-11-23T09:30+01:00"),
        (["explain", "--to", GROUP, "--at", "9999-12-31T00:00"],
         "--at '9999-12-31T00:00': must be from year 2 to 9998"),
        (["emergency-numbers", "xx"], "XX is not in short_numbers.toml"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_a_mistake_is_one_line_with_status_2(cli: Cli, arguments: list[str], line: str) -> None:
    err = cli.refused(*arguments)
    assert err.startswith(f"fsroute: {line}")
    assert err.count("\n") == 1


def test_no_command_shows_the_help(cli: Cli) -> None:
    status, out, err = cli.run()
    assert (status, "Usage: fsroute" in out + err) == (2, True)
    status, out, err = cli.run("verify")
    assert (status, "Usage: fsroute verify" in out + err) == (2, True)


def test_a_settings_file_whose_passwords_all_can_read_gets_a_warning(cli: Cli) -> None:
    file = cli.directory / "fsroute.toml"
    file.write_text("event_socket_password = 'hunter2'\n")
    file.chmod(0o644)
    warning = (
        f"fsroute: warning: {file}: every user of the machine can read it, and it holds event_socket_password: "
        f"chmod o-r {file}\n"
    )
    status, _, err = cli.run("explain", "--to", "02214710300", "--config", str(file))
    assert (status, err) == (0, warning)
    file.chmod(0o640)
    status, _, err = cli.run("explain", "--to", "02214710300", "--config", str(file))
    assert (status, err) == (0, "")


def test_init_makes_tables_once(cli: Cli) -> None:
    url = f"sqlite:///{cli.directory}/new.db"
    assert cli.printed("init", "--db", url) == f"made the tables in {url}\n"
    assert (cli.directory / "new.db").stat().st_mode & 0o007 == 0  # it holds numbers and the hashes of codes
    assert cli.refused("init", "--db", url) == f"fsroute: database {url}: is not empty, nothing was changed\n"
    (cli.directory / "one.sql").write_text("DELETE FROM call_permissions;\nDELETE FROM trunk_routes;")
    assert cli.printed("load", "--db", url, "one.sql") == "loaded 2 statements from one.sql\n"
    (cli.directory / "two.sql").write_text("-- a comment\nINSERT INTO numbers VALUES (1);")
    assert cli.refused("load", "--db", url, "two.sql").startswith("fsroute: two.sql:2: ")


# --- explain ------------------------------------------------------------------------------------------------


def test_explain(cli: Cli) -> None:
    data = cli.data("explain", "--to", "0221 4710300", "--from", "03023125001", "--at", "2026-11-23T09:30")
    assert (data["number"], data["account"], data["at"]) == (GROUP, "acme", "2026-11-23T09:30:00+01:00")
    assert (data["direction"], data["from"], data["anonymous"]) == ("inbound", "03023125001", False)
    lines = cli.printed("explain", "--to", GROUP, "--at", "2026-11-23T08:30Z").splitlines()
    assert lines[0] == f"inbound call to {GROUP} from an unknown caller, 2026-11-23T08:30:00+00:00"


def test_without_a_time_it_is_now(cli: Cli) -> None:
    assert cli.data("explain", "--to", GROUP)["at"].endswith(("+01:00", "+02:00"))
    assert cli.data("explain", "--to", "+4922147109999")["at"].endswith("+00:00")


def test_the_time_of_the_account_counts(cli: Cli) -> None:
    """The office hours begin at nine in Berlin."""
    rules = [
        cli.data("explain", "--to", HOURS, "--at", at)["rule"]["position"] for at in ("2026-11-23T08:59", "2026-11-23T09:00")
    ]
    assert rules == [9, 1]


def test_a_caller_without_a_number_is_hidden(cli: Cli) -> None:
    assert cli.data("explain", "--to", GROUP, "--from", "anonymous")["anonymous"]
    assert cli.data("explain", "--to", GROUP, "--from", "03023125001", "--anonymous")["anonymous"]


def test_an_outbound_call(cli: Cli) -> None:
    user = ("--direction", "outbound", "--account", "acme", "--user", "reception")
    data = cli.data("explain", "--to", "03023125001", *user)
    assert (data["direction"], data["caller_id"]["presented"]) == ("outbound", "+498999998123")
    asked = cli.data("explain", "--to", "03023125001", *user, "--presented", "+493023125310")
    assert asked["caller_id"]["presented"] == "+493023125310"


def test_a_transferred_call(cli: Cli) -> None:
    data = cli.data("explain", "--to", "12", "--account", "acme", "--user", "reception", "--from", "030123", "--transferred")
    assert (data["transferred"], data["direction"]) == (True, "outbound")


def test_an_identity_header_of_the_trunk(cli: Cli) -> None:
    plain = cli.data("explain", "--to", GROUP, "--from", "03023125001", "--trunk", "carrier")
    asserted = cli.data("explain", "--to", GROUP, "--from", "x", "--trunk", "carrier", "--asserted", "+493023125001")
    assert plain["caller_id"]["presented"] == "+493023125001"
    assert asserted["code"] == plain["code"]
    assert cli.data("explain", "--to", GROUP, "--asserted", "+493023125001")["code"] == plain["code"]


def test_emergency_numbers(cli: Cli) -> None:
    lines = cli.printed("emergency-numbers", "at").splitlines()
    assert any(line.startswith("140") for line in lines)
    assert lines[-1].startswith("^")


# --- call ---------------------------------------------------------------------------------------------------


@pytest.fixture
def fsroute_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Sends these commands to whoever connects, and waits for the end of the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.sendall(b"connect\n\n" + request.param)
                while sock.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


HANGUP = b"sendmsg\ncall-command: hangup\nhangup-cause: USER_BUSY\n\n"


@pytest.mark.parametrize("fsroute_port", [HANGUP], indirect=True)
def test_a_call(cli: Cli, fsroute_port: int) -> None:
    printed = cli.printed("call", "--to", GROUP, "--port", str(fsroute_port)).splitlines()
    assert printed == ["connect", "hangup USER_BUSY", "call ended: USER_BUSY"]


@pytest.mark.parametrize(
    "fsroute_port",
    [b"sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=b\n\n" + HANGUP],
    indirect=True,
)
def test_a_call_as_json(cli: Cli, fsroute_port: int) -> None:
    user = ("--direction", "outbound", "--account", "acme", "--user", "reception", "--presented", "+493023125310")
    status, out, _ = cli.run("call", "--to", GROUP, "--port", str(fsroute_port), *user, "--json")
    data = json.loads(out)
    assert (status, data["hangup_cause"]) == (0, "USER_BUSY")
    assert data["commands"][1]["execute-app-arg"] == "a=b"


@pytest.mark.parametrize(
    "fsroute_port",
    [b"sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=b\n\n" + HANGUP],
    indirect=True,
)
def test_a_call_shows_applications(cli: Cli, fsroute_port: int) -> None:
    assert "set a=b" in cli.printed("call", "--to", GROUP, "--port", str(fsroute_port)).splitlines()


def test_a_call_to_nobody(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert cli.refused("call", "--to", GROUP, "--port", str(port)).startswith(f"fsroute: no fsroute at 127.0.0.1:{port}: ")
