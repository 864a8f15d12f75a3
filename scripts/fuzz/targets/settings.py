"""Settings from a file and from the environment: Settings, or a ConfigError of one line without a secret."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from fsroute.configuration import settings
from fsroute.errors import ConfigError
from scripts.fuzz.given import Given, in_linear_time, is_one_line

_NAMES = tuple(item.name for item in settings.items())
SECRET = "Geheim77"  # noqa: S105 - what no message may hold
PIECES = (
    *"0123456789.-+_eE:/,[]{}\"'=#\\%@?& \n\r\t\0",
    *(name + " = " for name in _NAMES),
    *("true", "nan", "inf", "1e400", '"', '"""', "'''"),
    *("[a]\n", "[[", "a.b = ", "1979-05-27", "0x", "9" * 20, "\u00e4", "\ud7ff"),
    *("127.0.0.1:8084", "[::1]:1", "https://", "gw.example/"),
    *("Content-Type: application/json", "{number}", "{text}", "{code}"),
    *(SECRET, "Authorization: Bearer ", "postgresql://u:", "@h/d"),
    *("DE", "internal", "\\u0000", "\\U0001f600", '{"to": "{number}"}'),
)  # fmt: skip
MOST = 8192
"""Characters of a file. The operator writes it, so that its reader (tomllib) may be slow."""


def check(data: bytes) -> None:
    given = Given(data)
    environment = {
        f"FSROUTE_{given.choice(_NAMES).upper()}": _value(given) for _ in range(given.number(0, 3))
    }  # fmt: skip
    if given.number(0, 15) == 0:
        environment["FSROUTE_" + given.text(PIECES, 64)] = "1"
    config = None
    if given.flag():
        text = "".join(f"{given.choice(_NAMES)} = {_value(given)}\n" for _ in range(given.number(0, 3))) + given.text(
            PIECES, MOST
        )
        _file().write_bytes(text.encode() + given.rest()[:64])
        config = str(_file())
    try:
        with in_linear_time():
            found = settings.load_settings({}, environment, config)
            settings.readable_secrets(environment, config)
    except ConfigError as error:
        assert is_one_line(str(error)), str(error)
        assert SECRET not in str(error) or not _is_secret(str(error)), str(error)
        return
    for item in settings.items():
        assert type(getattr(found, item.name)) is type(item.default), item.name
    gateway = found.sms_gateway
    if gateway is not None:
        body = gateway.body({"number": "+492214710100", "text": 'a "b" \\', "code": "123456", "id": "x"})
        assert b"+492214710100" in body or b"%2B492214710100" in body


def _value(given: Given) -> str:
    return given.text(PIECES, MOST)


def _is_secret(message: str) -> bool:
    """Whether the message is about a setting that may hold a password."""
    return any(message.startswith(name) for name in ("db", "event_socket_password", "sms_url", "sms_headers"))


@lru_cache(maxsize=1)
def _file() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="fsroute-fuzz-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory / "fsroute.toml"
