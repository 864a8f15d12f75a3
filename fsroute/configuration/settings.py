"""Settings: every tunable of fsroute with its meaning, unit and reason, in one place.

A setting `ring_ms` comes from the flag `--ring-ms`, else the variable `FSROUTE_RING_MS`, else the key `ring_ms` of the
TOML file that `--config` or `FSROUTE_CONFIG` names, else its default here. An unknown one is an error wherever it
stands: a misspelt setting must not be silently without effect.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from fsroute.configuration.sms_gateway import Gateway, parse_gateway
from fsroute.errors import ConfigError, DialStringError
from fsroute.numbers import phone_number
from fsroute.switch.dialstring import Confirmation

ENVIRONMENT_PREFIX = "FSROUTE_"
CONFIG_VARIABLE = "FSROUTE_CONFIG"
_MAX_PORT = 65535

_MOST = 1_000_000_000
"""No number means more, and every timer takes so much."""

_SECRET = frozenset({"db", "event_socket_password", "sms_url", "sms_headers"})
"""May hold passwords: not to be printed, whatever is wrong with them."""


def _setting(
    default: Any, meaning: str, *, choices: tuple[str, ...] = (), least: float | None = None, most: int = _MOST
) -> Any:
    return field(default=default, metadata={"meaning": meaning, "choices": choices, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. Raises ConfigError for a value that can not be used."""

    db: str = _setting(
        "sqlite:///fsroute.db",
        "The database with the routing tables: sqlite:///PATH (sqlite:////PATH for an absolute one) or "
        "postgresql://USER@HOST/NAME.",
    )
    listen: str = _setting(
        "127.0.0.1:8084",
        "ADDRESS:PORT for FreeSWITCH's outbound Event Socket; 8084 is the port its socket application takes by default. "
        "An IPv6 address stands in brackets.",
    )
    allow: str = _setting(
        "127.0.0.0/8,::1",
        "Networks that may connect, separated by commas. FreeSWITCH does not authenticate here, so whoever connects is "
        "taken for it.",
    )
    on_failure: str = _setting(
        "fallback",
        "What a call gets that can not be decided (database away, deadline passed, too many calls): 'fallback' hands it "
        "back to the dialplan's next action, 'hangup' ends it with NORMAL_TEMPORARY_FAILURE (SIP 503).",
        choices=("fallback", "hangup"),
    )
    decision_ms: int = _setting(
        500,
        "Milliseconds a decision may take; then the call counts as one that can not be decided. The caller hears silence "
        "so long: half a second is not yet noticed.",
        least=1,
    )
    cache_seconds: float = _setting(
        2.0,
        "How many seconds the routing of a call may be used again without asking whether it has changed. Changes are seen "
        "with the next call anyway with SQLite, and as soon as PostgreSQL tells of them; this is the bound for when it can "
        "not. 0 reads the database for every call. While the database is away calls are routed by what was read last.",
        least=0.0,
    )
    workers: int = _setting(
        1,
        "Processes that share the port. One uses one processor and decides some thousand calls a second. max_calls is for "
        "each of them.",
        least=1,
    )
    handshake_s: float = _setting(
        10.0,
        "Seconds FreeSWITCH may take to answer a command that answers at once. Its own limit for our first word is 25 s.",
        least=0.1,
    )
    max_calls: int = _setting(
        2000,
        "Calls that are handled at once. Each holds a connection and a file descriptor while it rings and talks; keep it "
        "below the limit of open files (ulimit -n).",
        least=1,
    )
    drain_s: float = _setting(
        30.0,
        "Seconds that running calls get to end after SIGTERM. Their bridges go on in FreeSWITCH when fsroute leaves; what "
        "is lost is the follow-up of calls that still ring.",
        least=0.0,
    )
    country: str = _setting(
        "DE",
        "ISO 3166 country in which numbers without + are read when the call names no trunk that has one.",
    )
    hop_limit: int = _setting(
        5,
        "How often a call may leave through a trunk and come back before its external targets are left out as a loop.",
        least=1,
    )
    sip_profiles: str = _setting(
        "internal",
        "SIP profiles of FreeSWITCH at which phones register, separated by commas. Each is asked for the phones of an "
        "endpoint.",
    )
    contact_seconds: float = _setting(
        300.0,
        "How many seconds the registered phones of an endpoint may be dialled again without asking FreeSWITCH for them, "
        "while it tells fsroute of every registration. That needs event_socket_password; without it each call asks, which "
        "takes a millisecond. 0 always asks: right where several FreeSWITCHes share one database of registrations, because "
        "each tells of its own only.",
        least=0.0,
    )
    confirm_key: str = _setting("1", "What the called side presses to take a call that must be confirmed; 1 to 9 digits.")
    confirm_prompt: str = _setting(
        "tone_stream://%(300,200,880,1320)",
        "What it hears meanwhile: a sound file of FreeSWITCH or a tone_stream://. One that can not be played ends the leg.",
    )
    confirm_s: int = _setting(10, "Seconds for pressing the key, from the answer on.", least=1)
    verify_code_s: int = _setting(
        600,
        "Seconds in which a verification code can be confirmed. Ten minutes is enough to fetch a colleague's phone, and too "
        "little to try many numbers.",
        least=10,
    )
    verify_tries: int = _setting(
        5,
        "Codes that are compared before a verification has failed: with six digits the chance to guess is 1 in 200,000.",
        least=1,
    )
    verify_starts_per_number: int = _setting(
        5,
        "Codes that are sent to one number in 24 hours, by all accounts together: whoever answers there did not ask for it.",
        least=1,
    )
    verify_starts_per_account: int = _setting(
        20,
        "Codes that an account may send in an hour. Each costs a call or a message.",
        least=1,
    )
    verify_call_pause_s: int = _setting(
        60,
        "Seconds between two verification calls to one number, so that the first can be listened to and hung up.",
        least=0,
    )
    verify_ring_s: int = _setting(40, "Seconds a verification call rings before it counts as not answered.", least=5)
    event_socket: str = _setting(
        "127.0.0.1:8021",
        "ADDRESS:PORT of FreeSWITCH's inbound Event Socket (event_socket.conf.xml). Verification calls are placed there, "
        "and `serve` hears there of registrations.",
    )
    event_socket_password: str = _setting(
        "",
        "Its password. Better in the environment or the file than as a flag, which everybody on the machine can read.",
    )
    event_socket_s: float = _setting(
        5.0,
        "Seconds FreeSWITCH may take there to accept the connection, and to answer a command.",
        least=0.1,
    )
    prompts: str = _setting(
        "",
        "Directory with the spoken prompts, as FreeSWITCH sees it. Empty: those of this installation, which is right when "
        "FreeSWITCH runs on the same machine.",
    )
    sms_url: str = _setting(
        "",
        "Where an SMS is handed over by HTTP POST: https://HOST[:PORT]/PATH, or http:// on your own network, where others "
        "can read the code. Redirects are not followed and no proxy is used. The variable SSL_CERT_FILE names the "
        "certificates of an authority of your own. Empty: there is no verification by SMS.",
    )
    sms_headers: str = _setting(
        "Content-Type: application/json",
        "Headers of that POST, one a line (Name: value), for example Authorization. The Content-Type says how the body's "
        "values are escaped: application/json or application/x-www-form-urlencoded, in UTF-8.",
    )
    sms_body: str = _setting(
        '{"to": "{number}", "text": "{text}", "reference": "{id}"}',
        "Body of that POST: {number} is the E.164 number, {text} the message, {code} the code alone, {id} the verification. "
        "In JSON they stand inside quotes.",
    )
    sms_timeout_s: float = _setting(
        10.0,
        "Seconds one POST may take in all, from looking up the gateway's name to the end of its answer. A gateway that is "
        "slower is asked again.",
        least=0.1,
        most=60,
    )
    sms_attempts: int = _setting(
        3,
        "How often a POST is made that found no connection, timed out, or got 429, 5xx or no HTTP. All have the same "
        "Idempotency-Key header, so that a gateway that knows it sends one message.",
        least=1,
        most=10,
    )
    log_format: str = _setting(
        "auto",
        "'json': one object a line; 'console': coloured text; 'auto': console on a terminal, else json.",
        choices=("auto", "json", "console"),
    )
    log_level: str = _setting(
        "info",
        "'debug' also logs bridge strings; 'info' has a line for each decision; 'warning' only what went wrong.",
        choices=("debug", "info", "warning", "error"),
    )
    log_numbers: str = _setting(
        "short",
        "'short' hides the last three digits of callers' numbers in the log, which are personal data (GDPR); 'full' "
        "does not.",
        choices=("short", "full"),
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value, choices, least = getattr(self, item.name), item.metadata["choices"], item.metadata["least"]
            if choices and value not in choices:
                raise ConfigError(f"{item.name} = {value!r}: must be one of {', '.join(choices)}")
            if least is not None and not value >= least:
                raise ConfigError(f"{item.name} = {value}: must be at least {least:g}")
            if least is not None and value > item.metadata["most"]:
                raise ConfigError(f"{item.name}: must be at most {item.metadata['most']}")
        if not phone_number.is_country(self.country):
            raise ConfigError(f"country = {self.country!r}: not an ISO 3166 code with a numbering plan")
        _ = self.address, self.networks, self.confirmation, self.profiles, self.sms_gateway

    @property
    def address(self) -> tuple[str, int]:
        """Where to listen."""
        return parse_address("listen", self.listen)

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Who may connect."""
        try:
            return tuple(ipaddress.ip_network(text.strip()) for text in self.allow.split(",") if text.strip())
        except ValueError as error:
            raise ConfigError(f"allow = {self.allow!r}: {error}") from error

    @property
    def profiles(self) -> tuple[str, ...]:
        """Where phones register."""
        names = tuple(name.strip() for name in self.sip_profiles.split(","))
        # sofia/gateway/... is a gateway, whatever profiles there are.
        if not all(re.fullmatch(r"(?!gateway\Z)[A-Za-z0-9_.-]{1,64}", name) for name in names):
            raise ConfigError(f"sip_profiles = {self.sip_profiles!r}: must be names of profiles, separated by commas")
        return names

    @property
    def confirmation(self) -> Confirmation:
        """How external legs are confirmed."""
        try:
            return Confirmation(self.confirm_key, self.confirm_prompt, self.confirm_s)
        except DialStringError as error:
            raise ConfigError(str(error)) from error

    @property
    def sms_gateway(self) -> Gateway | None:
        """Where an SMS goes; None when there is no verification by SMS."""
        return parse_gateway(self.sms_url, self.sms_headers, self.sms_body)


def parse_address(name: str, text: str) -> tuple[str, int]:
    """HOST:PORT or [HOST]:PORT. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > _MAX_PORT:
        raise ConfigError(f"{name} = {text!r}: must be ADDRESS:PORT")
    return host, int(port)


@dataclass(frozen=True, slots=True)
class Item:
    """One setting, for whoever lists them."""

    name: str
    meaning: str
    default: Any
    choices: tuple[str, ...]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()


def items() -> tuple[Item, ...]:
    """All settings, in the order in which they are documented."""
    return tuple(
        Item(item.name, item.metadata["meaning"], item.default, item.metadata["choices"]) for item in fields(Settings)
    )


def load_settings(flags: Mapping[str, str | None], environment: Mapping[str, str], config: str | None = None) -> Settings:
    """Settings from flags, else environment, else the TOML file, else defaults. Raises ConfigError."""
    known = {item.name for item in items()}
    values: dict[str, Any] = {}
    path = config or environment.get(CONFIG_VARIABLE)
    if path:
        values |= _from_file(Path(path), known)
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in known:
            raise ConfigError(f"unknown setting {variable} in the environment")
        values[name] = _cast(name, text)
    values |= {name: _cast(name, text) for name, text in flags.items() if text is not None}
    return Settings(**values)


def _from_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}: unknown setting {name}")
    return {name: _cast(name, value) for name, value in values.items()}


def _cast(name: str, value: Any) -> Any:
    """A value of the setting's type, from text or from TOML's types."""
    kind: Any = get_type_hints(Settings)[name]
    wanted = {int: "a whole number", float: "a number", str: "a text"}[kind]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{name} = {'...' if name in _SECRET else repr(value)}: must be {wanted}")
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ConfigError(f"{name} = {value!r}: must be {wanted}")
    try:
        return kind(value)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{name} = {value!r}: must be {wanted}") from error


assert all(item.default is not MISSING for item in fields(Settings))  # noqa: S101 - a setting without default is a bug
