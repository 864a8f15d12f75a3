"""Settings: every setting of fsroute with its meaning, unit and reason, in one place.

A setting `ring_ms` comes from the flag `--ring-ms`, else the variable `FSROUTE_RING_MS`, else the key `ring_ms` of the
TOML file that `--config` or `FSROUTE_CONFIG` names, else its default here. An unknown name is an error in each
of these places: a misspelt setting must not silently have no effect.
"""

from __future__ import annotations

import ipaddress
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from fsroute.configuration.sms_gateway import Gateway, parse_gateway
from fsroute.errors import ConfigError, DialStringError
from fsroute.text import printable

if TYPE_CHECKING:
    from fsroute.switch.dialstring import Confirmation

ENVIRONMENT_PREFIX = "FSROUTE_"
CONFIG_VARIABLE = "FSROUTE_CONFIG"
_MAX_PORT = 65535

_MOST = 1_000_000_000
"""Upper bound of all numeric settings. Every timer accepts values up to here."""

_SECRET = frozenset({"db", "event_socket_password", "sms_url", "sms_headers"})
"""Settings that may hold passwords: no message prints their values."""

_PASSWORD = re.compile(r"password|://[^/@]*:[^@]*@|authorization|token|api.?key", re.IGNORECASE)
"""A setting of these holds a password: by its name, in a URL, as a parameter, in a header."""


def _setting(
    default: Any, meaning: str, *, choices: tuple[str, ...] = (), least: float | None = None, most: int = _MOST
) -> Any:
    return field(default=default, metadata={"meaning": meaning, "choices": choices, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. Raises ConfigError for a value that cannot be used."""

    db: str = _setting(
        "sqlite:///fsroute.db",
        "The database with the routing tables: sqlite:///PATH (sqlite:////PATH for an absolute one) or "
        "postgresql://USER@HOST[,HOST...]/NAME. With several hosts, add ?target_session_attrs=prefer-standby to read from a "
        "standby; what fsroute writes goes to the primary in any case.",
    )
    db_connections: int = _setting(
        8,
        "Connections of each process, to read the database for calls that memory does not know: as many such reads run at "
        "the same time. They are opened when they are needed; one more receives PostgreSQL's notifications. A read takes "
        "milliseconds, so few are needed; there are several in case some hang. With mod_python 8 are used at most.",
        least=1,
        most=100,
    )
    listen: str = _setting(
        "127.0.0.1:8084",
        "ADDRESS:PORT for FreeSWITCH's outbound Event Socket; 8084 is the port its socket application takes by default. "
        "An IPv6 address is written in brackets.",
    )
    allow: str = _setting(
        "127.0.0.0/8,::1",
        "Networks that may connect, separated by commas. FreeSWITCH does not authenticate here: every connection "
        "from them is taken for FreeSWITCH.",
    )
    on_failure: str = _setting(
        "fallback",
        "For a call that cannot be decided (database unreachable, deadline passed, too many calls): 'fallback' hands it "
        "back to the dialplan's next action, 'hangup' ends it with NORMAL_TEMPORARY_FAILURE (SIP 503).",
        choices=("fallback", "hangup"),
    )
    decision_ms: int = _setting(
        500,
        "Milliseconds for a decision; after that the call cannot be decided (on_failure). The caller hears silence "
        "meanwhile: half a second is not noticed.",
        least=1,
    )
    cache_seconds: float = _setting(
        2.0,
        "Seconds for which the routing of a call may be used again while fsroute cannot tell whether the tables have "
        "changed. Normally a change takes effect with the next call (SQLite), or when PostgreSQL notifies fsroute of it. "
        "0 reads the database for every call. While the database is unreachable, calls are routed by what was read last.",
        least=0.0,
    )
    workers: int = _setting(
        1,
        "Processes that share the port. Each uses one processor and decides some thousand calls a second. max_calls "
        "counts per process.",
        least=1,
    )
    hang_s: float = _setting(
        3.0,
        "Seconds without a heartbeat of a worker, after which the master kills and replaces it. A worker's longest step "
        "takes a tenth of a second; a caller who meets a worker that hangs waits for this time.",
        least=0.5,
    )
    handshake_s: float = _setting(
        10.0,
        "Seconds for FreeSWITCH's reply to a command that it answers at once. FreeSWITCH itself waits 25 s for fsroute's "
        "first command.",
        least=0.1,
    )
    max_calls: int = _setting(
        2000,
        "Calls at the same time in one process. Each holds a connection while it rings and talks. fsroute raises the soft "
        "limit of open files to the hard one (ulimit -Hn), and takes fewer calls if that does not suffice: 100 less than "
        "the limit. A connection that sent no call is closed when another one needs its place.",
        least=1,
    )
    drain_s: float = _setting(
        30.0,
        "Seconds for running calls to end after SIGTERM. Their bridges continue in FreeSWITCH when fsroute ends; calls "
        "that still ring then lose their follow-up rules.",
        least=0.0,
    )
    country: str = _setting(
        "DE",
        "ISO 3166 country by which numbers without + are read, for calls without a trunk that has a country.",
    )
    hop_limit: int = _setting(
        5,
        "How often a call may leave through a trunk and come back before its external targets are left out as a loop.",
        least=1,
    )
    sip_profiles: str = _setting(
        "internal",
        "SIP profiles of FreeSWITCH at which phones register, separated by commas. fsroute queries each for the phones of "
        "an endpoint.",
    )
    contact_seconds: float = _setting(
        300.0,
        "Seconds for which the registered phones of an endpoint are dialled again without a query to FreeSWITCH, while "
        "fsroute receives FreeSWITCH's registration events. That needs event_socket_password; without it each call "
        "queries, which takes a millisecond. 0 always queries: use it where several FreeSWITCHes share one database of "
        "registrations, because each sends events for its own only.",
        least=0.0,
    )
    confirm_key: str = _setting(
        "1", "The key that the callee presses to accept a call that must be confirmed; 1 to 9 digits."
    )
    confirm_prompt: str = _setting(
        "tone_stream://%(300,200,880,1320)",
        "Played to the callee meanwhile: a sound file of FreeSWITCH or a tone_stream://. If it cannot be played, the leg "
        "ends.",
    )
    confirm_s: int = _setting(10, "Seconds for pressing the key, from the answer on.", least=1)
    verify_code_s: int = _setting(
        600,
        "Seconds for which a verification code can be confirmed. Ten minutes is enough to fetch a colleague's phone, and "
        "too short to try many numbers.",
        least=10,
    )
    verify_tries: int = _setting(
        5,
        "Codes that are compared before a verification has failed: with six digits the chance to guess is 1 in 200,000.",
        least=1,
    )
    verify_starts_per_number: int = _setting(
        5,
        "Codes that are sent to one number in 24 hours, by all accounts together: the callee may not have asked for it. An "
        "account's first two are sent in any case, so that others cannot lock the number's owner out.",
        least=1,
    )
    verify_starts_per_account: int = _setting(
        20,
        "Codes that an account may send in an hour. Each costs a call or a message.",
        least=1,
    )
    verify_starts_per_kind: int = _setting(
        20,
        "Codes that are sent in 24 hours, by all accounts together, to numbers of one kind that is neither geographic nor "
        "mobile (0800, 032, 0180). Few customers present such numbers, and whoever rents one may earn from each call.",
        least=1,
    )
    verify_starts_per_country: int = _setting(
        20,
        "Codes that are sent in 24 hours, by all accounts together, to numbers of one country other than the account's. "
        "Networks that share the price of calls with the called party are abroad.",
        least=1,
    )
    verify_starts_per_day: int = _setting(
        200,
        "Codes that all accounts together send in 24 hours. At ten cents for a call or message abuse costs at most 20 euros "
        "a day; a small operator's customers verify a few dozen numbers a day. An account's first two are sent in any case.",
        least=1,
    )
    verify_wrong_codes: int = _setting(
        15,
        "Wrong codes that an account may give in 24 hours, over all its verifications; after that fsroute compares none. "
        "Three numbers can be typed wrong to the end, and the chance to guess a code of six digits is 1 in 67,000 a day.",
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
        "ADDRESS:PORT of FreeSWITCH's inbound Event Socket (event_socket.conf.xml). fsroute places verification calls "
        "there, and `serve` receives registration events there.",
    )
    event_socket_password: str = _setting(
        "",
        "The password of that Event Socket. Set it in the environment or the file: every user of the machine can read "
        "flags.",
    )
    event_socket_s: float = _setting(
        5.0,
        "Seconds for FreeSWITCH to accept a connection there, and to answer a command.",
        least=0.1,
    )
    prompts: str = _setting(
        "",
        "Directory of the spoken prompts, on FreeSWITCH's machine. Empty: the prompts of this installation, for a "
        "FreeSWITCH on the same machine.",
    )
    sms_url: str = _setting(
        "",
        "The SMS gateway, which gets an HTTP POST: https://HOST[:PORT]/PATH, or http:// on your own network, where others "
        "can read the code. fsroute follows no redirects and uses no proxy. The variable SSL_CERT_FILE names the "
        "certificates of an authority of your own. Empty: verification by SMS is off.",
    )
    sms_headers: str = _setting(
        "Content-Type: application/json",
        "Headers of that POST, one per line (Name: value), for example Authorization. The Content-Type says how the body's "
        "values are escaped: application/json or application/x-www-form-urlencoded, in UTF-8.",
    )
    sms_body: str = _setting(
        '{"to": "{number}", "text": "{text}", "reference": "{id}"}',
        "Body of that POST: {number} is the E.164 number, {text} the message, {code} the code alone, {id} the "
        "verification. In JSON they must be inside quotes.",
    )
    sms_timeout_s: float = _setting(
        10.0,
        "Seconds for one POST in all, from the lookup of the gateway's name to the end of its answer. After that the POST "
        "is repeated.",
        least=0.1,
        most=60,
    )
    sms_attempts: int = _setting(
        3,
        "How often a POST is sent that got no connection, timed out, or got 429, 5xx or no HTTP. All have the same "
        "Idempotency-Key header, so that a gateway that supports it sends one message.",
        least=1,
        most=10,
    )
    log_format: str = _setting(
        "auto",
        "'json': one object per line; 'console': coloured text; 'auto': console on a terminal, else json.",
        choices=("auto", "json", "console"),
    )
    log_level: str = _setting(
        "info",
        "'debug' also logs bridge strings; 'info' logs each decision; 'warning' logs only failures.",
        choices=("debug", "info", "warning", "error"),
    )
    log_numbers: str = _setting(
        "short",
        "'short' hides the last three digits of all numbers in the log that may be a person's, which are personal data "
        "(GDPR): callers, and whom users call. Hosted numbers, extensions and emergency numbers stay whole. 'full' hides "
        "nothing. Level 'debug' has whole numbers in the commands.",
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
        from fsroute.numbers import phone_number  # noqa: PLC0415 - `fsroute --help` needs no telephone numbers

        if not phone_number.is_country(self.country):
            raise ConfigError(f"country = {self.country!r}: not an ISO 3166 code with a numbering plan")
        _ = self.address, self.networks, self.confirmation, self.profiles, self.sms_gateway

    @property
    def address(self) -> tuple[str, int]:
        """The address and port of `listen`. Raises ConfigError."""
        return parse_address("listen", self.listen)

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of `allow`. Raises ConfigError."""
        try:
            return tuple(ipaddress.ip_network(text.strip()) for text in self.allow.split(",") if text.strip())
        except ValueError as error:
            raise ConfigError(f"allow = {self.allow!r}: {error}") from error

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of `sip_profiles`. Raises ConfigError."""
        names = tuple(name.strip() for name in self.sip_profiles.split(","))
        # sofia/gateway/... is a gateway, whatever profiles there are.
        if not all(re.fullmatch(r"(?!gateway\Z)[A-Za-z0-9_.-]{1,64}", name) for name in names):
            raise ConfigError(f"sip_profiles = {self.sip_profiles!r}: must be names of profiles, separated by commas")
        return names

    @property
    def confirmation(self) -> Confirmation:
        """The key press that external legs need. Raises ConfigError."""
        from fsroute.switch import dialstring  # noqa: PLC0415 - `fsroute --help` needs no dial strings

        try:
            return dialstring.Confirmation(self.confirm_key, self.confirm_prompt, self.confirm_s)
        except DialStringError as error:
            raise ConfigError(str(error)) from error

    @property
    def sms_gateway(self) -> Gateway | None:
        """The SMS gateway; None without one. Raises ConfigError."""
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
    """One setting, for lists of settings."""

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
            raise ConfigError(f"unknown setting {printable(variable)} in the environment")
        values[name] = _cast(name, text)
    values |= {name: _cast(name, text) for name, text in flags.items() if text is not None}
    return Settings(**values)


def readable_secrets(environment: Mapping[str, str], config: str | None = None) -> str | None:
    """A warning if every user of the machine can read a settings file with passwords; None otherwise."""
    path = Path(config or environment.get(CONFIG_VARIABLE) or "")
    try:
        mode = path.stat().st_mode
        values = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() and mode & stat.S_IROTH else {}
    except (OSError, ValueError, RecursionError):
        return None  # load_settings says what is wrong with the file
    secret = [name for name in values if name in _SECRET and _PASSWORD.search(f"{name} = {values[name]}")]
    if not secret:
        return None
    return f"{path}: every user of the machine can read it, and it holds {', '.join(secret)}: chmod o-r {path}"


def _from_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, and arrays in arrays
        raise ConfigError(f"{path}: is not TOML: {printable(str(error))}") from error
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}: unknown setting {printable(name)}")
    return {name: _cast(name, value) for name, value in values.items()}


def _cast(name: str, value: Any) -> Any:
    """The value in the setting's type, from text or from a TOML value."""
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
