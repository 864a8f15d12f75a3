"""The command line: parses arguments, builds the parts and calls them. It decides nothing.

Modules that only one command needs are imported in it: `fsroute --help` must not wait for a database driver.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import click

from fsroute import __version__, times
from fsroute.cli.options import Group, json_option, login_name, print_json, read_settings, setting_options
from fsroute.errors import ConfigError

_DECIDING = ("db", "country", "hop_limit", "confirm_key", "confirm_prompt", "confirm_s")


class _Main(Group):
    """Loads commands of other modules when they are used."""

    elsewhere: ClassVar[dict[str, str]] = {
        "verify": "fsroute.cli.verify",
        "upgrade": "fsroute.cli.maintenance",
        "backup": "fsroute.cli.maintenance",
        "roles": "fsroute.cli.maintenance",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self.elsewhere])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.elsewhere:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(self.elsewhere[cmd_name]), cmd_name)
        return command


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="fsroute %(version)s")
def main() -> None:
    """Decides for FreeSWITCH where calls go.

    Every setting can be a flag, a variable FSROUTE_..., or a key in the TOML file of --config.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a question mark for a character that the terminal cannot show


@main.command()
@setting_options("db")
def init(flags: dict[str, str | None], config: str | None) -> None:
    """Make the tables in an empty database."""
    from fsroute.data import database, loader, schema

    settings = read_settings(flags, config)
    database.create_file(settings.db)
    opened = database.open_database(settings.db, create=True)
    if not schema.is_empty(opened, settings.db):
        raise ConfigError(f"database {database.without_password(settings.db)}: is not empty, nothing was changed")
    loader.make_tables(opened, settings.db)
    click.echo(f"made the tables in {database.without_password(settings.db)}")


@main.command()
@setting_options("db")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def load(flags: dict[str, str | None], config: str | None, files: tuple[Path, ...]) -> None:
    """Run SQL scripts in one transaction.

    A failure names the file, the line and the reason, and changes nothing.
    """
    from fsroute.data import database, loader, schema

    settings = read_settings(flags, config)
    opened = database.open_database(settings.db)
    schema.check_version(opened, settings.db)
    count = loader.load(opened, settings.db, files, datetime.now(UTC), login_name())
    click.echo(f"loaded {count} statements from {', '.join(map(str, files))}")


@main.command()
@setting_options(
    "db", "db_connections", "listen", "allow", "on_failure", "decision_ms", "cache_seconds", "workers", "hang_s",
    "handshake_s", "max_calls", "drain_s", "country", "hop_limit", "sip_profiles", "contact_seconds", "confirm_key",
    "confirm_prompt", "confirm_s", "event_socket", "event_socket_password", "event_socket_s", "log_format", "log_level",
    "log_numbers",
)  # fmt: skip
@click.option(
    "--take-over",
    "takes_over",
    is_flag=True,
    help="Take the port of the fsroute that runs there. It ends after its last call.",
)
@click.option("--worker", "descriptors", hidden=True)  # how the master starts its workers
def serve(flags: dict[str, str | None], config: str | None, takes_over: bool, descriptors: str | None) -> None:
    """Decide FreeSWITCH's calls until SIGTERM or SIGINT."""
    if descriptors is not None:
        from fsroute.serving import worker

        worker.work(descriptors, lambda: read_settings(flags, config))
        return
    settings = read_settings(flags, config)
    from fsroute.log import make_logger
    from fsroute.serving import master

    master.serve(settings, make_logger(settings.log_format, settings.log_level), takes_over=takes_over)


_direction = click.option(
    "--direction", type=click.Choice(["inbound", "outbound"]), default="inbound", show_default=True,
    help="From a trunk, or from a user.",
)  # fmt: skip
_account = click.option("--account", metavar="A", help="Outbound: the user's account.")
_user = click.option("--user", metavar="U", help="Outbound: the user who calls.")
_trunk = click.option("--trunk", metavar="T", help="Inbound: the trunk that delivers the call.")
_anonymous = click.option("--anonymous", is_flag=True, help="The caller hides their number.")


@main.command()
@setting_options(*_DECIDING)
@click.option("--to", "to", required=True, metavar="N", help="The dialled number, in any usual spelling.")
@click.option("--from", "caller", default="", metavar="N", help="The caller's number.")
@click.option("--at", "at", metavar="ISO-TIME", help="When; without an offset in the account's time zone. Default: now.")
@_direction
@_account
@_user
@_trunk
@_anonymous
@click.option("--presented", metavar="N", help="Outbound: the number that the call asks to present (E.164).")
@click.option(
    "--asserted", metavar="N", help="Inbound: the number in the identity header (P-Asserted-Identity), beside From."
)
@click.option(
    "--transferred", is_flag=True,
    help="A call that is transferred to --to: --account and --user transfer it, --from is their other party.",
)  # fmt: skip
@json_option
def explain(
    flags: dict[str, str | None],
    config: str | None,
    to: str,
    caller: str,
    at: str | None,
    direction: str,
    account: str | None,
    user: str | None,
    trunk: str | None,
    anonymous: bool,
    presented: str | None,
    asserted: str | None,
    transferred: bool,
    as_json: bool,
) -> None:
    """Show what a call would do: what rings when, why, and what follows."""
    from fsroute.callerid import policy
    from fsroute.data import database, schema
    from fsroute.data.routing_store import Store
    from fsroute.model import Call, Direction, Identity, IdentityHeader
    from fsroute.reports import explanation

    settings = read_settings(flags, config)
    if transferred and account is None:
        raise click.UsageError("--transferred needs --account, and --user if a user transfers the call")
    hidden = anonymous or (bool(caller) and policy.is_hidden(caller, Direction(direction)))
    way = Direction.OUTBOUND if transferred else Direction(direction)
    call = Call(to, caller, "", way, hidden, trunk, account, user, presented=presented, transferred=transferred)
    opened = database.open_database(settings.db, only_reads=True)
    schema.check_version(opened, settings.db, routing=True)
    store = Store(opened, settings.db, settings.country)
    routing = store.routing(call)
    store.close()
    if asserted is not None:
        header = routing.trunk.profile.header if routing.trunk else IdentityHeader.PAI
        call = replace(call, identities=(Identity(header, asserted),))
    now = _moment(at, routing)
    data = explanation.as_data(call, routing, now, settings.confirmation, settings.hop_limit)
    if as_json:
        print_json(data)
        return
    from rich.console import Console

    explanation.show(data, Console())


@main.command("emergency-numbers")
@click.argument("country")
def emergency_numbers(country: str) -> None:
    """List the short numbers that must get through in COUNTRY (ISO 3166, such as AT), with their sources.

    The last line is an expression for the dialplan, which routes emergency calls while fsroute is down.
    """
    from fsroute.numbers import short_numbers

    for line in short_numbers.in_words(country.upper()):
        click.echo(line)


def _moment(text: str | None, routing: Any) -> datetime:
    """The time of --at, else now, with its time zone. Raises ConfigError for a text that is no time."""
    from zoneinfo import ZoneInfo

    hosted = routing.numbers.get(routing.dialled)
    account = hosted.account if hosted else routing.account
    zone = ZoneInfo(account.timezone) if account else UTC
    if text is None:
        return datetime.now(zone).replace(microsecond=0)
    try:
        moment = times.from_text(text, zone)
    except ValueError as error:
        raise ConfigError(f"--at {text!r}: is no time such as 2026-11-23T09:30 or 2026-11-23T09:30+01:00") from error
    if not MINYEAR < moment.year < MAXYEAR:
        raise ConfigError(f"--at {text!r}: must be from year 2 to 9998")
    return moment


@main.command()
@click.option("--to", "to", required=True, metavar="N", help="The dialled number.")
@click.option(
    "--from",
    "caller",
    default="",
    metavar="N",
    help="The caller's number; without it an inbound caller is anonymous, an outbound one is the user.",
)
@click.option("--name", default="", help="The caller's display name.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where fsroute listens.")
@click.option("--port", default=8084, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--outcome", "outcomes", multiple=True, default=["answered"], show_default=True,
    type=click.Choice(["answered", "busy", "no_answer", "unreachable"]),
    help="Outcome of each bridge, in order; the last one repeats.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", default=10.0, show_default=True, type=click.FloatRange(min=0.1),
    help="Seconds to wait for fsroute.",
)  # fmt: skip
@_direction
@_account
@_user
@_trunk
@click.option("--presented", metavar="N", help="Outbound: the number that the call asks to present (E.164).")
@json_option
def call(
    to: str,
    caller: str,
    name: str,
    host: str,
    port: int,
    outcomes: tuple[str, ...],
    timeout_s: float,
    direction: str,
    account: str | None,
    user: str | None,
    trunk: str | None,
    presented: str | None,
    as_json: bool,
) -> None:
    """Simulate a call of FreeSWITCH to a running fsroute, and print the commands that fsroute sends."""
    from fsroute.simulator import simulated_call

    sender = caller or (user if direction == "outbound" else None) or "anonymous"
    profile = {
        "Caller-Caller-ID-Name": name,
        "Caller-Caller-ID-Number": sender,
        "Caller-Destination-Number": to,
    }
    named = {"fsroute_direction": direction, "fsroute_account": account, "fsroute_user": user, "fsroute_trunk": trunk}
    named["fsroute_presented"] = presented
    variables = {"sip_from_user": sender, **{key: value for key, value in named.items() if value}}
    call = simulated_call.place_call((host, port), profile, variables, outcomes, timeout_s)
    if as_json:
        commands = [{"command": command.name, **command.headers} for command in call.commands]
        print_json({"commands": commands, "hangup_cause": call.cause})
        return
    for command in call.commands:
        click.echo(_line(command))
    click.echo(f"call ended: {call.cause}" if call.cause else "call handed back to the dialplan")


def _line(command: Any) -> str:
    if command.name != "sendmsg":
        return str(command.name)
    if command.application:
        return f"{command.application} {command.argument}".rstrip()
    return f"{command.headers.get('call-command', '')} {command.headers.get('hangup-cause', '')}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
