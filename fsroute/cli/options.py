"""What the commands share: how they report errors, and the options that several of them take.

Modules that only one command needs are imported in it: `fsroute --help` must not wait for a database driver.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fsroute.errors import FsrouteError

if TYPE_CHECKING:
    from fsroute.configuration.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Group(click.Group):
    """Prints every error in one line, and exits with status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise  # a group without a command: its help is printed
        except FsrouteError as error:
            for line in str(error).splitlines():
                click.echo(f"fsroute: {line}", err=True)
        except click.UsageError as error:
            _say_usage(error)
        raise click.exceptions.Exit(2)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            return super().parse_args(ctx, args)  # shows the help
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _say_usage(error)
        raise click.exceptions.Exit(2)


def _say_usage(error: click.UsageError) -> None:
    text = " ".join(error.format_message().split()).removesuffix(".")
    click.echo(f"fsroute: {text} (see {error.ctx.command_path if error.ctx else 'fsroute'} --help)", err=True)


def setting_options(*names: str) -> Callable[[_Command], _Command]:
    """Adds `--config` and a flag for each of these settings; the command gets `config` and `flags`."""
    from fsroute.configuration.settings import items

    def decorate(command: _Command) -> _Command:
        def run(config: str | None, **values: Any) -> Any:
            flags = {name: values.pop(name) for name in names}
            return command(config=config, flags=flags, **values)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        wrapped: Any = run
        wrapped.__click_params__ = getattr(command, "__click_params__", [])
        for item in reversed([item for item in items() if item.name in names]):
            kind = click.Choice(item.choices) if item.choices else click.STRING
            text = f"{item.meaning}  [{item.variable}; default: {item.default}]"
            wrapped = click.option(item.flag, item.name, type=kind, help=text)(wrapped)
        return click.option(  # type: ignore[no-any-return]
            "--config", metavar="FILE", help="TOML file with settings  [FSROUTE_CONFIG]"
        )(wrapped)

    return decorate


def read_settings(flags: dict[str, str | None], config: str | None) -> Settings:
    """The settings, from flags, environment and file. Raises ConfigError. Warns of a file whose passwords all can read."""
    from fsroute.configuration.settings import load_settings, readable_secrets

    settings = load_settings(flags, os.environ, config)
    warning = readable_secrets(os.environ, config)
    if warning is not None:
        click.echo(f"fsroute: warning: {warning}", err=True)
    return settings


def login_name() -> str:
    """The user who runs this process: the login name, or the user id where there is none (in slim containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))
