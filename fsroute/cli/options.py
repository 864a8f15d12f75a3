"""What the commands share: how they report errors, and the options that several of them take.

Modules that only one command needs are imported in it: `fsroute --help` must not wait for a database driver.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fsroute.errors import FsrouteError
from fsroute.text import printable

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
                _say(line)
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
    _say(f"{text} (see {error.ctx.command_path if error.ctx else 'fsroute'} --help)")


def _say(line: str) -> None:
    from fsroute.log_output import say

    say(f"fsroute: {line}")


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
    """The user who runs this process, and who they were before sudo: `anna`, `root (sudo: anna)`.

    The first name is the kernel's: LOGNAME and USER are whatever their user likes. The second one is what sudo says
    (SUDO_UID, SUDO_USER), so it stands beside the first and never in its place. A user without a name (in slim containers)
    is `uid 1000`.
    """
    name = _name_of(os.getuid())
    before = printable(os.environ.get("SUDO_USER", "").strip()[:_LONGEST_NAME])
    uid = os.environ.get("SUDO_UID", "")
    if uid.isdecimal() and uid.isascii():
        before = _name_of(int(uid), before)
    return f"{name} (sudo: {before})" if before else name


_LONGEST_NAME = 64
"""Characters of a login name from the environment. Linux has at most 32."""


def _name_of(uid: int, otherwise: str = "") -> str:
    """The login name of a user id. `otherwise` is the name where no user has it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return otherwise or f"uid {uid}"


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))
