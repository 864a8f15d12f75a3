"""`fsroute verify`: what service.py does, for people and scripts. No rules live here.

Exit status: 0 done, 1 refused or failed, 2 what was asked for is no request (a misspelt number, an unknown id), or settings
or database that can not be used. With --json all but the last is JSON on standard output.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fsroute.cli.main import Group, read_settings, setting_options
from fsroute.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from fsroute.data.audit import Author
    from fsroute.verification.attempt import Attempt, NumberStatus
    from fsroute.verification.service import Expired, VerificationRefused, Verifications

_REFUSED, _BAD_INPUT = 1, 2

_WIDE = 250
"""Columns of a table that goes into a file or a pipe."""

_STATES = ("pending", "verified", "failed", "expired", "cancelled", "revoked")

_account = click.option("--account", required=True, metavar="A", help="The account.")
_id = click.option("--id", "id_", required=True, metavar="ID", help="The verification, as start or add-block told it.")
_by = click.option("--by", metavar="NAME", help="Who does it, for the audit log.  [default: the login name]")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Group)
def verify() -> None:
    """Prove the right to show numbers that are not hosted here.

    A number gets a code by call or SMS, which is then confirmed. Blocks and special numbers are entered by hand.
    """


@verify.command()
@setting_options(
    "db", "country", "verify_code_s", "verify_tries", "verify_starts_per_number", "verify_starts_per_account",
    "verify_call_pause_s", "verify_ring_s", "event_socket", "event_socket_password", "event_socket_s", "prompts", "sms_url",
    "sms_headers", "sms_body", "sms_timeout_s", "sms_attempts",
)  # fmt: skip
@_account
@click.option("--number", required=True, metavar="N", help="The number (E.164).")
@click.option("--method", required=True, type=click.Choice(["call", "sms"]), help="How the code gets there.")
@click.option("--language", type=click.Choice(["de", "en"]), help="Of the call or message.  [default: the account's]")
@_by
@_json
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

    The id is told at once, and how it went when that is known: with --json two objects, one a line.
    """
    from fsroute.verification.eligibility import Method

    desk = _desk(flags, config, by)

    def begun(attempt: Attempt) -> None:
        if as_json:
            _print_line(_attempt(attempt))
        else:
            click.echo(f"verification {attempt.id}: sending a code to {number} by {method}")

    with _judged(as_json):
        ended = desk.numbers.start(
            account, number, Method(method), now=desk.now, who=desk.who, language=language, begun=begun
        )
    if as_json:
        _print_line(_attempt(ended))
    else:
        click.echo(f"{ended.notice}{f' ({ended.answer})' if ended.answer else ''}")
        if ended.state == "pending":
            click.echo(f"confirm it until {_utc(ended.code_expires_at)}: fsroute verify confirm --id {ended.id} --code ...")
        else:
            click.echo(f"{number}: the verification is over ({ended.state.value})")
    if ended.state not in {"pending", "verified"}:
        raise click.exceptions.Exit(_REFUSED)


@verify.command()
@setting_options("db", "verify_tries")
@_id
@click.option("--code", required=True, metavar="NNNNNN", help="The code that was heard or read.")
@_by
@_json
def confirm(flags: dict[str, str | None], config: str | None, id_: str, code: str, by: str | None, as_json: bool) -> None:
    """Confirm a code: its number can be shown from the next call on."""
    desk = _desk(flags, config, by)
    with _judged(as_json):
        _told(desk.numbers.confirm(id_, code, now=desk.now, who=desk.who), as_json)


@verify.command()
@setting_options("db", "verify_tries")
@_id
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@_by
@_json
def cancel(flags: dict[str, str | None], config: str | None, id_: str, reason: str, by: str | None, as_json: bool) -> None:
    """End a verification that is pending: a code nobody wants any more, a block that is not approved."""
    desk = _desk(flags, config, by)
    with _judged(as_json):
        _told(desk.numbers.cancel(id_, now=desk.now, who=desk.who, reason=reason), as_json)


@verify.command("add-block")
@setting_options("db")
@_account
@click.option("--first", required=True, metavar="N", help="The block's first number (E.164).")
@click.option("--last", metavar="N", help="Its last number.  [default: the first, a special number]")
@click.option("--evidence", required=True, metavar="TEXT", help="What proves the right to these numbers.")
@_by
@_json
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

    It counts at once, or when somebody else has approved it, where the account asks for that (accounts.approves_blocks).
    """
    desk = _desk(flags, config, by)
    with _judged(as_json):
        _told(desk.numbers.add_block(account, first, last or first, evidence, now=desk.now, who=desk.who), as_json)


@verify.command()
@setting_options("db", "verify_tries")
@_id
@_by
@_json
def approve(flags: dict[str, str | None], config: str | None, id_: str, by: str | None, as_json: bool) -> None:
    """Approve what somebody else has entered by hand."""
    desk = _desk(flags, config, by)
    with _judged(as_json):
        _told(desk.numbers.approve(id_, now=desk.now, who=desk.who), as_json)


@verify.command()
@setting_options("db")
@_account
@click.option("--number", metavar="N", help="The number (E.164).")
@click.option("--first", metavar="N", help="Of a block: its first number ...")
@click.option("--last", metavar="N", help="... and its last.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
@_by
@_json
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
    """Take the right to show a number or a block, from the next call on."""
    if (number is None) == (first is None) or (first is None) != (last is None):
        raise click.UsageError("give --number, or --first and --last")
    desk = _desk(flags, config, by)
    with _judged(as_json):
        revoked = desk.numbers.revoke(
            account, number or first or "", last or number, reason=reason, now=desk.now, who=desk.who
        )
    _print(_standing(revoked, desk.now), f"{revoked.subject}: revoked", as_json)


@verify.command("import")
@setting_options("db")
@_account
@click.option("--source", required=True, metavar="NAME", help="The system that knows these numbers.")
@click.argument("file", type=click.Path(path_type=Path))
@_by
@_json
def import_(
    flags: dict[str, str | None],
    config: str | None,
    account: str,
    source: str,
    file: Path,
    by: str | None,
    as_json: bool,
) -> None:
    """Take over numbers that another system has verified: all of them, or none.

    A line of FILE is a number (E.164), or a block's first and last with a comma between. # begins a comment.
    """
    desk = _desk(flags, config, by)
    text = _read(file)
    with _judged(as_json):
        imported = desk.numbers.import_numbers(account, source, text, str(file), now=desk.now, who=desk.who)
    kept = [standing.subject for standing in imported.kept]
    more = f"; {len(kept)} stay as they are, verified here: {', '.join(kept)}" if kept else ""
    _print({"imported": imported.taken, "kept": kept}, f"imported {imported.taken} from {source}{more}", as_json)


@verify.command()
@setting_options("db")
@click.option("--days", default=30, show_default=True, type=click.IntRange(0, 3650), help="How far to look ahead.")
@_by
@_json
def expire(flags: dict[str, str | None], config: str | None, days: int, by: str | None, as_json: bool) -> None:
    """Write down what has expired, and list what will soon. For cron, once a day.

    No call waits for this: what has expired is not shown, written down or not.
    """
    desk = _desk(flags, config, by)
    expired = desk.numbers.expire(now=desk.now, who=desk.who, within=timedelta(days=days))
    if as_json:
        _print_json(_expired(expired, desk.now))
        return
    click.echo(f"expired: {len(expired.attempts)} verifications, {len(expired.numbers)} numbers and blocks")
    for standing in expired.numbers:
        click.echo(f"  {standing.account} {standing.subject}")
    if expired.soon:
        click.echo(f"expire within {days} days:")
    for standing in expired.soon:
        click.echo(f"  {standing.account} {standing.subject} on {_utc(standing.expires_at)}")


@verify.command("list")
@setting_options("db")
@click.option("--account", metavar="A", help="Only this account's.")
@click.option("--state", type=click.Choice(_STATES), help="Only what is in this state.")
@click.option("--source", metavar="NAME", help="Numbers imported from this system; all: those and the ones verified here.")
@_json
def list_(
    flags: dict[str, str | None],
    config: str | None,
    account: str | None,
    state: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """List numbers and blocks, and how they stand. Imported ones only with --source."""
    from fsroute.model import VerificationState

    desk = _desk(flags, config, None)
    wanted = VerificationState(state) if state else None
    found = desk.numbers.list_numbers(now=desk.now, account=account, state=wanted, source=source)
    if as_json:
        _print_json([_standing(standing, desk.now) for standing in found])
    else:
        _show_standings(found, desk.now)


@verify.command()
@setting_options("db", "verify_tries")
@click.option("--id", "id_", metavar="ID", help="A verification.")
@click.option("--account", metavar="A", help="Or an account ...")
@click.option("--number", metavar="N", help="... and a number (E.164).")
@_json
def show(
    flags: dict[str, str | None],
    config: str | None,
    id_: str | None,
    account: str | None,
    number: str | None,
    as_json: bool,
) -> None:
    """Show one verification, or all that is known of an account's number."""
    if (id_ is None) == (number is None) or (number is None) != (account is None):
        raise click.UsageError("give --id, or --account and --number")
    desk = _desk(flags, config, None)
    standings: list[NumberStatus] = []
    with _judged(as_json):
        if id_ is not None:
            attempts = [desk.numbers.attempt(id_)]
        else:
            standings, attempts = desk.numbers.number(account or "", number or "")
    if as_json:
        told = [_attempt(attempt) for attempt in attempts]
        _print_json(told[0] if id_ else {"numbers": [_standing(s, desk.now) for s in standings], "verifications": told})
        return
    if number is not None:
        _show_standings(standings, desk.now)
    for attempt in attempts:
        click.echo(f"verification {attempt.id}")
        for name, value in _attempt(attempt).items():
            if value is not None and name != "id":
                click.echo(f"  {name.replace('_', ' ')}: {value}")


@verify.command()
@setting_options("db", "country")
@click.option("--number", required=True, metavar="N", help="The number (E.164).")
@click.option("--at", "at", metavar="ISO-TIME", help="When; without an offset in UTC.  [default: now]")
@_json
def history(flags: dict[str, str | None], config: str | None, number: str, at: str | None, as_json: bool) -> None:
    """Say whether a number was allowed to be shown at some moment, and why."""
    from fsroute.data import audit
    from fsroute.data.database import check_version, open_database
    from fsroute.verification import eligibility
    from fsroute.verification import history as past

    settings = read_settings(flags, config)
    misspelled = eligibility.misspelled(number, settings.country)
    if misspelled is not None:
        raise ConfigError(f"--number {number!r}: {misspelled.text}")
    moment = _moment(at)
    database = open_database(settings.db)
    check_version(database, settings.db)
    data = past.as_data(past.of(number, moment, *audit.read(database, settings.db, number)))
    if as_json:
        _print_json(data)
    else:
        past.show(data, _console())


# --- what all commands share ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Desk:
    """Where a command does its work, and in whose name."""

    numbers: Verifications
    who: Author
    now: datetime


def _desk(flags: dict[str, str | None], config: str | None, by: str | None) -> _Desk:
    from fsroute.data.audit import Author, login_name
    from fsroute.verification.service import from_settings

    settings = read_settings(flags, config)
    who = Author(by if by is not None else login_name(), _origin())
    return _Desk(from_settings(settings), who, datetime.now(UTC))


def _origin() -> str:
    """From where: the machine, and who came to it by SSH, as the SSH server says."""
    client = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return f"cli:{socket.gethostname()}{f' ssh:{client}' if client else ''}"


@contextmanager
def _judged(as_json: bool) -> Iterator[None]:
    """Tells a refusal, and sets the exit status."""
    from fsroute.verification.service import VerificationRefused

    try:
        yield
    except VerificationRefused as refused:
        if as_json:
            _print_line(_refused(refused))
        else:
            click.echo(f"fsroute: {refused} [{refused.code}]", err=True)
        raise click.exceptions.Exit(_BAD_INPUT if refused.is_bad_input else _REFUSED) from refused


def _told(attempt: Attempt, as_json: bool) -> None:
    """Tells what became of an attempt."""
    texts = {
        "pending": f"{attempt.subject}: waits for somebody else: fsroute verify approve --id {attempt.id}",
        "verified": f"{attempt.subject}: verified for account {attempt.account}",
    }
    _print(_attempt(attempt), texts.get(attempt.state, f"{attempt.subject}: {attempt.state.value}"), as_json)


def _print(data: Any, text: str, as_json: bool) -> None:
    if as_json:
        _print_json(data)
    else:
        click.echo(text)


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))


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
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--at {text!r}: is no time such as 2026-11-23T09:30 or 2026-11-23T09:30+01:00") from error


# --- as JSON, and as tables -------------------------------------------------------------------------------


def _utc(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "account": attempt.account,
        "first_number": attempt.first,
        "last_number": attempt.last,
        "method": attempt.method,
        "state": attempt.state,
        "language": attempt.language,
        "tries": attempt.tries,
        "started_at": _utc(attempt.started_at),
        "started_by": attempt.started_by,
        "code_expires_at": _utc(attempt.code_expires_at),
        "outcome": attempt.outcome,
        "notice": attempt.notice,
        "answer": attempt.answer,
        "delivered_at": _utc(attempt.delivered_at),
        "settled_at": _utc(attempt.settled_at),
        "evidence": attempt.evidence,
        "approved_by": attempt.approved_by,
    }


def _standing(standing: NumberStatus, now: datetime) -> dict[str, Any]:
    return {
        "account": standing.account,
        "first_number": standing.first,
        "last_number": standing.last,
        "state": standing.state_at(now),
        "method": standing.method,
        "verified_at": _utc(standing.verified_at),
        "expires_at": _utc(standing.expires_at),
        "revoked_at": _utc(standing.revoked_at),
        "verified_by": standing.verified_by,
        "source": standing.source,
        "pending": standing.pending,
    }


def _expired(expired: Expired, now: datetime) -> dict[str, Any]:
    return {
        "verifications": [_attempt(attempt) for attempt in expired.attempts],
        "numbers": [_standing(standing, now) for standing in expired.numbers],
        "soon": [_standing(standing, now) for standing in expired.soon],
    }


def _refused(refused: VerificationRefused) -> dict[str, Any]:
    obstacle = refused.obstacle
    return {
        "refused": refused.code,
        "subject": refused.subject,
        "text": obstacle.text,
        "rule": obstacle.rule or None,
        "retry_at": _utc(obstacle.retry_at),
        "meant": obstacle.meant,
        "verification": _attempt(refused.attempt) if refused.attempt else None,
    }


def _show_standings(standings: Iterable[NumberStatus], now: datetime) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = list(standings)
    table = Table(box=None, pad_edge=False)
    columns: dict[str, Callable[[NumberStatus], str | None]] = {
        "account": lambda standing: standing.account,
        "number": lambda standing: standing.subject,
        "state": lambda standing: standing.state_at(now),
        "method": lambda standing: standing.method,
        "until": lambda standing: standing.expires_at.date().isoformat() if standing.expires_at else None,
        "by": lambda standing: standing.verified_by,
        "source": lambda standing: standing.source,
        "pending": lambda standing: standing.pending,
    }
    told = {heading: value for heading, value in columns.items() if any(map(value, shown)) or not shown}
    for heading in told:
        table.add_column(heading, overflow="fold", no_wrap=heading in {"number", "state", "method", "until"})
    for standing in shown:
        table.add_row(*(Text(value(standing) or "") for value in told.values()))
    _console().print(table)


def _console() -> Console:
    """For tables: as wide as the terminal, and elsewhere so wide that nothing is folded."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE)
