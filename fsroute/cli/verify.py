"""`fsroute verify`: the operations of service.py for people and scripts. It decides nothing.

Exit status: 0 done, 1 refused or failed, 2 malformed input (a misspelt number, an unknown id), or settings or a database
that cannot be used. With --json all results but the last two are JSON on standard output.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fsroute import times
from fsroute.cli.options import Group, json_option, login_name, print_json, read_settings, setting_options
from fsroute.errors import ConfigError, DataError
from fsroute.reports import verification as reports

if TYPE_CHECKING:
    from rich.console import Console

    from fsroute.data.audit import Author
    from fsroute.verification.attempt import Attempt, NumberStatus
    from fsroute.verification.service import Verifications

_REFUSED, _BAD_INPUT = 1, 2

_WIDE = 250
"""Columns of a table for a file or a pipe."""

_STATES = ("pending", "verified", "failed", "expired", "cancelled", "revoked")

_account = click.option("--account", required=True, metavar="A", help="The account.")
_id = click.option(
    "--id", "id_", required=True, metavar="ID", help="The verification's id, as start or add-block printed it."
)
_by = click.option(
    "--by", metavar="NAME", help="Name for the audit log, which also keeps the login name.  [default: the login name]"
)


@click.group(cls=Group)
def verify() -> None:
    """Prove the right to present numbers that are not hosted here.

    fsroute sends a code to the number by call or SMS, and the code is confirmed. Blocks and special numbers are entered
    by hand.
    """


@verify.command()
@setting_options(
    "db", "country", "verify_code_s", "verify_tries", "verify_starts_per_number", "verify_starts_per_account",
    "verify_starts_per_kind", "verify_starts_per_country", "verify_starts_per_day", "verify_wrong_codes",
    "verify_call_pause_s", "verify_ring_s", "event_socket", "event_socket_password", "event_socket_s", "prompts", "sms_url",
    "sms_headers", "sms_body", "sms_timeout_s", "sms_attempts",
)  # fmt: skip
@_account
@click.option("--number", required=True, metavar="N", help="The number (E.164).")
@click.option("--method", required=True, type=click.Choice(["call", "sms"]), help="How the code is sent.")
@click.option(
    "--language", type=click.Choice(["de", "en"]), help="Language of the call or message.  [default: the account's]"
)
@_by
@json_option
def start(
    flags: dict[str, str | None],
    config: str | None,
    account: str,
    number: str,
    method: str,
    language: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Send a code to a number.

    Prints the id at once, and the result of the delivery later: with --json two objects, one per line.
    """
    from fsroute.verification.method import Method

    context = _context(flags, config, by)

    def begun(attempt: Attempt) -> None:
        if as_json:
            _print_line(reports.attempt_data(attempt))
        else:
            click.echo(f"verification {attempt.id}: sending a code to {number} by {method}")

    with _refusals(as_json):
        ended = context.numbers.start(
            account, number, Method(method), now=context.now, who=context.who, language=language, begun=begun
        )
    if as_json:
        _print_line(reports.attempt_data(ended))
    else:
        click.echo(f"{ended.notice}{f' ({ended.answer})' if ended.answer else ''}")
        if ended.state == "pending":
            until = times.to_text(ended.code_expires_at)
            click.echo(f"confirm it until {until}: fsroute verify confirm --id {ended.id}")
        else:
            click.echo(f"{number}: the verification is over ({ended.state.value})")
    if ended.state not in {"pending", "verified"}:
        raise click.exceptions.Exit(_REFUSED)


@verify.command()
@setting_options("db", "verify_tries", "verify_wrong_codes")
@_id
@click.option(
    "--code",
    metavar="NNNNNN",
    help="The code from the call or message. Every user of the machine can read flags: without this one fsroute reads the "
    "code from standard input.",
)
@_by
@json_option
def confirm(
    flags: dict[str, str | None], config: str | None, id_: str, code: str | None, by: str | None, as_json: bool
) -> None:
    """Confirm a code: its number can be presented from the next call on."""
    context = _context(flags, config, by)
    if code is None:
        code = (
            click.prompt("code", err=True, type=str, hide_input=False)
            if sys.stdin.isatty()
            else sys.stdin.readline().strip()
        )
    with _refusals(as_json):
        _print_result(context.numbers.confirm(id_, code, now=context.now, who=context.who), as_json)


@verify.command()
@setting_options("db", "verify_tries")
@_id
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@_by
@json_option
def cancel(flags: dict[str, str | None], config: str | None, id_: str, reason: str, by: str | None, as_json: bool) -> None:
    """End a pending verification: a code that is no longer wanted, a block that is not approved."""
    context = _context(flags, config, by)
    with _refusals(as_json):
        _print_result(context.numbers.cancel(id_, now=context.now, who=context.who, reason=reason), as_json)


@verify.command("add-block")
@setting_options("db")
@_account
@click.option("--first", required=True, metavar="N", help="The block's first number (E.164).")
@click.option("--last", metavar="N", help="Its last number.  [default: the first, a special number]")
@click.option("--evidence", required=True, metavar="TEXT", help="What proves the right to these numbers.")
@_by
@json_option
def add_block(
    flags: dict[str, str | None],
    config: str | None,
    account: str,
    first: str,
    last: str | None,
    evidence: str,
    by: str | None,
    as_json: bool,
) -> None:
    """Enter a block or a special number by hand, on evidence.

    It is verified at once. With accounts.approves_blocks another person must approve it first.
    """
    context = _context(flags, config, by)
    with _refusals(as_json):
        _print_result(
            context.numbers.add_block(account, first, last or first, evidence, now=context.now, who=context.who), as_json
        )


@verify.command()
@setting_options("db", "verify_tries")
@_id
@_by
@json_option
def approve(flags: dict[str, str | None], config: str | None, id_: str, by: str | None, as_json: bool) -> None:
    """Approve a block that another person has entered."""
    context = _context(flags, config, by)
    with _refusals(as_json):
        _print_result(context.numbers.approve(id_, now=context.now, who=context.who), as_json)


@verify.command()
@setting_options("db")
@_account
@click.option("--number", metavar="N", help="The number (E.164).")
@click.option("--first", metavar="N", help="Of a block: its first number ...")
@click.option("--last", metavar="N", help="... and its last.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
@_by
@json_option
def revoke(
    flags: dict[str, str | None],
    config: str | None,
    account: str,
    number: str | None,
    first: str | None,
    last: str | None,
    reason: str,
    by: str | None,
    as_json: bool,
) -> None:
    """End the right to present a number or a block, from the next call on."""
    if (number is None) == (first is None) or (first is None) != (last is None):
        raise click.UsageError("give --number, or --first and --last")
    context = _context(flags, config, by)
    with _refusals(as_json):
        revoked = context.numbers.revoke(
            account, number or first or "", last or number, reason=reason, now=context.now, who=context.who
        )
    _print(reports.status_data(revoked, context.now), f"{revoked.subject}: revoked", as_json)


@verify.command("import")
@setting_options("db")
@_account
@click.option("--source", required=True, metavar="NAME", help="The system that knows these numbers.")
@click.argument("file", type=click.Path(path_type=Path))
@_by
@json_option
def import_(
    flags: dict[str, str | None],
    config: str | None,
    account: str,
    source: str,
    file: Path,
    by: str | None,
    as_json: bool,
) -> None:
    """Import numbers that another system has verified: all of them, or none.

    A line of FILE is a number (E.164), or the first and last number of a block, separated by a comma. # begins a comment.
    """
    context = _context(flags, config, by)
    text = _read(file)
    with _refusals(as_json):
        imported = context.numbers.import_numbers(account, source, text, str(file), now=context.now, who=context.who)
    kept = [status.subject for status in imported.kept]
    more = f"; {len(kept)} stay as they are, verified here: {', '.join(kept)}" if kept else ""
    _print({"imported": imported.taken, "kept": kept}, f"imported {imported.taken} from {source}{more}", as_json)


@verify.command()
@setting_options("db")
@click.option("--days", default=30, show_default=True, type=click.IntRange(0, 3650), help="Days to look ahead.")
@_by
@json_option
def expire(flags: dict[str, str | None], config: str | None, days: int, by: str | None, as_json: bool) -> None:
    """Record what has expired, and list what expires soon. Run it from cron, once a day.

    Calls check the time themselves: an expired number is not presented, recorded or not.
    """
    context = _context(flags, config, by)
    expired = context.numbers.expire(now=context.now, who=context.who, within=timedelta(days=days))
    if as_json:
        print_json(reports.expired_data(expired, context.now))
        return
    click.echo(f"expired: {len(expired.attempts)} verifications, {len(expired.numbers)} numbers and blocks")
    for status in expired.numbers:
        click.echo(f"  {status.account} {status.subject}")
    if expired.soon:
        click.echo(f"expire within {days} days:")
    for status in expired.soon:
        click.echo(f"  {status.account} {status.subject} on {times.to_text(status.expires_at)}")


@verify.command("list")
@setting_options("db")
@click.option("--account", metavar="A", help="Only this account's.")
@click.option("--state", type=click.Choice(_STATES), help="Only this state.")
@click.option("--source", metavar="NAME", help="Numbers imported from this system; all: those and the ones verified here.")
@json_option
def list_(
    flags: dict[str, str | None],
    config: str | None,
    account: str | None,
    state: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """List numbers and blocks with their state. Imported ones only with --source."""
    from fsroute.model import VerificationState

    context = _context(flags, config, None)
    wanted = VerificationState(state) if state else None
    found = context.numbers.list_numbers(now=context.now, account=account, state=wanted, source=source)
    if as_json:
        print_json([reports.status_data(status, context.now) for status in found])
    else:
        reports.show_statuses(found, context.now, _console())


@verify.command()
@setting_options("db", "verify_tries")
@click.option("--id", "id_", metavar="ID", help="A verification.")
@click.option("--account", metavar="A", help="Or an account ...")
@click.option("--number", metavar="N", help="... and a number (E.164).")
@json_option
def show(
    flags: dict[str, str | None],
    config: str | None,
    id_: str | None,
    account: str | None,
    number: str | None,
    as_json: bool,
) -> None:
    """Show one verification, or everything about a number of an account."""
    if (id_ is None) == (number is None) or (number is None) != (account is None):
        raise click.UsageError("give --id, or --account and --number")
    context = _context(flags, config, None)
    statuses: list[NumberStatus] = []
    with _refusals(as_json):
        if id_ is not None:
            attempts = [context.numbers.attempt(id_)]
        else:
            statuses, attempts = context.numbers.number(account or "", number or "")
    if as_json:
        data = [reports.attempt_data(attempt) for attempt in attempts]
        numbers = [reports.status_data(status, context.now) for status in statuses]
        print_json(data[0] if id_ else {"numbers": numbers, "verifications": data})
        return
    if number is not None:
        reports.show_statuses(statuses, context.now, _console())
    for attempt in attempts:
        click.echo(f"verification {attempt.id}")
        for name, value in reports.attempt_data(attempt).items():
            if value is not None and name != "id":
                click.echo(f"  {name.replace('_', ' ')}: {value}")


@verify.command()
@setting_options("db", "country")
@click.option("--number", required=True, metavar="N", help="The number (E.164).")
@click.option("--at", "at", metavar="ISO-TIME", help="Time; without an offset in UTC.  [default: now]")
@json_option
def history(flags: dict[str, str | None], config: str | None, number: str, at: str | None, as_json: bool) -> None:
    """Show whether a number was allowed to be presented at a moment, and why."""
    from fsroute.data import audit
    from fsroute.data.database import open_database
    from fsroute.data.schema import check_version
    from fsroute.reports import history as history_report
    from fsroute.verification import eligibility
    from fsroute.verification import history as past

    settings = read_settings(flags, config)
    misspelled = eligibility.misspelled(number, settings.country)
    if misspelled is not None:
        raise ConfigError(f"--number {number!r}: {misspelled.text}")
    moment = _moment(at)
    database = open_database(settings.db)
    check_version(database, settings.db)
    data = history_report.as_data(past.of(number, moment, *audit.read(database, settings.db, number)))
    if as_json:
        print_json(data)
    else:
        history_report.show(data, _console())


# --- what all commands share ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Context:
    """The verifications that a command changes, the person and the time."""

    numbers: Verifications
    who: Author
    now: datetime


def _context(flags: dict[str, str | None], config: str | None, by: str | None) -> _Context:
    from fsroute.data.audit import Author
    from fsroute.verification.service import from_settings

    settings = read_settings(flags, config)
    login = login_name()
    who = Author(by if by is not None else login, _origin(login if by not in (None, login) else ""))
    return _Context(from_settings(settings), who, datetime.now(UTC))


def _origin(login: str) -> str:
    """The origin for the audit log: the machine, who acted there if they gave another name (--by), and the SSH client's
    address."""
    client = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return f"cli:{socket.gethostname()}{f' login:{login}' if login else ''}{f' ssh:{client}' if client else ''}"


@contextmanager
def _refusals(as_json: bool) -> Iterator[None]:
    """Prints a refusal, and sets the exit status."""
    from fsroute.verification.service import VerificationRefused

    try:
        yield
    except VerificationRefused as refused:
        if as_json:
            _print_line(reports.refusal_data(refused))
        else:
            click.echo(f"fsroute: {refused} [{refused.code}]", err=True)
        raise click.exceptions.Exit(_BAD_INPUT if refused.is_bad_input else _REFUSED) from refused


def _print_result(attempt: Attempt, as_json: bool) -> None:
    """Prints the result of an attempt."""
    texts = {
        "pending": f"{attempt.subject}: another person must approve it: fsroute verify approve --id {attempt.id}",
        "verified": f"{attempt.subject}: verified for account {attempt.account}",
    }
    _print(reports.attempt_data(attempt), texts.get(attempt.state, f"{attempt.subject}: {attempt.state.value}"), as_json)


def _print(data: Any, text: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        click.echo(text)


def _print_line(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        return times.from_text(text, UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--at {text!r}: is no time such as 2026-11-23T09:30 or 2026-11-23T09:30+01:00") from error


def _console() -> Console:
    """For tables: as wide as the terminal; in a file or a pipe so wide that no cell is folded."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE)
