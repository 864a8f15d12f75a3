"""The commands that an operator runs on the database itself: upgrade, backup, roles."""

from __future__ import annotations

from pathlib import Path

import click

from fsroute.cli.options import read_settings, setting_options


@click.command()
@setting_options("db")
@click.option("--dry-run", is_flag=True, help="Print the statements, and change nothing.")
def upgrade(flags: dict[str, str | None], config: str | None, dry_run: bool) -> None:
    """Bring the tables of an older fsroute to this one's version, with all rows, in one transaction.

    Servers may run meanwhile. A failure names the row and the reason, and changes nothing.
    """
    from fsroute.data import database
    from fsroute.data.migrations import upgrade as upgrades

    settings = read_settings(flags, config)
    shown = database.without_password(settings.db)
    done = upgrades.upgrade(
        database.open_database(settings.db),
        settings.db,
        dry_run=dry_run,
        on_wait=lambda reason: click.echo(f"waiting: {reason}", err=True),
    )
    if not done.statements:
        click.echo(f"{shown}: has version {done.after.tables}, nothing to do")
        return
    before = f"version {done.before.tables}" if done.before else "an unknown version"
    if dry_run:
        for statement in done.statements:
            click.echo(f"{statement.removesuffix(';')};")
    for note in done.notes:
        click.echo(f"note: {note}")
    verb = "would be upgraded" if dry_run else "upgraded"
    click.echo(f"{shown}: {verb} from {before} to version {done.after.tables}{', nothing was changed' if dry_run else ''}")


@click.command()
@setting_options("db")
@click.argument("file", type=click.Path(path_type=Path))
def backup(flags: dict[str, str | None], config: str | None, file: Path) -> None:
    """Write the whole database, as it is at one moment, to FILE, which only you can read.

    SQLite: a database file. PostgreSQL: an archive for pg_restore, written by pg_dump. Servers and loads may run meanwhile.
    """
    from fsroute.data import backup as backups

    settings = read_settings(flags, config)
    size = backups.backup(settings.db, file)
    click.echo(f"wrote {size} bytes to {file}")


@click.command()
@click.option("--prefix", default="fsroute", show_default=True, help="The beginning of the names.")
def roles(prefix: str) -> None:
    """Print the SQL for PostgreSQL's roles: owner, router, loader, verifier.

    A superuser runs it, connected to fsroute's database: fsroute roles | psql --set ON_ERROR_STOP=1 fsroute
    """
    from fsroute.data import roles as definitions

    click.echo(definitions.sql(prefix), nl=False)
