"""Settings: where a value comes from, what is refused, and that all of them are documented."""

from __future__ import annotations

from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from fsroute.configuration.settings import Settings, items, load_settings, readable_secrets
from fsroute.configuration.sms_gateway import parse_gateway
from fsroute.errors import ConfigError
from fsroute.switch.dialstring import Confirmation

DEFAULTS: dict[str, Any] = {item.name: item.default for item in items()}


def variable(name: str) -> str:
    return f"FSROUTE_{name.upper()}"


def toml(tmp_path: Path, text: str) -> str:
    path = tmp_path / "fsroute.toml"
    path.write_text(text)
    return str(path)


def refused(
    flags: dict[str, str | None] | None = None, environment: dict[str, str] | None = None, config: str | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(flags or {}, environment or {}, config)
    return str(caught.value)


# --- where a value comes from -----------------------------------------------------------------------------


def test_nothing_given_leaves_the_defaults() -> None:
    found = load_settings(dict.fromkeys(DEFAULTS), {"PATH": "/bin", "XFSROUTE_DB": "x", "FSROUTEDB": "x"})
    assert found == Settings()
    assert {name: (value, type(value)) for name, value in asdict(found).items()} == {
        name: (value, type(value)) for name, value in DEFAULTS.items()
    }


def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    config = toml(tmp_path, "decision_ms = 1\nhop_limit = 1\nmax_calls = 1\n")
    environment = {"FSROUTE_DECISION_MS": "2", "FSROUTE_HOP_LIMIT": "2"}
    found = load_settings({"decision_ms": "3", "hop_limit": None}, environment, config)
    assert asdict(found) == DEFAULTS | {"decision_ms": 3, "hop_limit": 2, "max_calls": 1}


def test_the_environment_names_the_file_and_the_flag_names_another(tmp_path: Path) -> None:
    config = toml(tmp_path, "country = 'AT'")
    other = tmp_path / "other.toml"
    other.write_text("country = 'CH'")
    environment = {"FSROUTE_CONFIG": config}
    assert load_settings({}, environment).country == "AT"
    assert load_settings({}, environment, str(other)).country == "CH"
    assert load_settings({}, {"FSROUTE_CONFIG": ""}).country == "DE"


OTHER: dict[str, Any] = {
    "db": "postgresql://fsroute@db.example/calls",
    "db_connections": 1,
    "listen": "[::1]:9000",
    "allow": "192.0.2.0/24",
    "on_failure": "hangup",
    "decision_ms": 1,
    "hang_s": 0.5,
    "handshake_s": 0.1,
    "max_calls": 1,
    "cache_seconds": 0.0,
    "workers": 1,
    "drain_s": 0.0,
    "country": "AT",
    "sip_profiles": "internal,phones",
    "hop_limit": 1,
    "contact_seconds": 0.0,
    "confirm_key": "12*#",
    "confirm_prompt": "ivr/confirm.wav",
    "confirm_s": 1,
    "verify_code_s": 10,
    "verify_tries": 1,
    "verify_starts_per_number": 1,
    "verify_starts_per_account": 1,
    "verify_starts_per_kind": 1,
    "verify_starts_per_country": 1,
    "verify_starts_per_day": 1,
    "verify_wrong_codes": 1,
    "verify_call_pause_s": 0,
    "verify_ring_s": 5,
    "event_socket": "[::1]:8021",
    "event_socket_password": "secret",
    "event_socket_s": 0.1,
    "prompts": "/usr/share/fsroute/sounds",
    "sms_url": "https://sms.example/v1/messages",
    "sms_headers": "Content-Type: application/json; charset=utf-8",
    "sms_body": '{"to": "{number}", "code": "{code}"}',
    "sms_timeout_s": 0.1,
    "sms_attempts": 1,
    "log_format": "console",
    "log_level": "debug",
    "log_numbers": "full",
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_setting_can_be_given_in_three_ways(tmp_path: Path, name: str) -> None:
    value = OTHER[name]
    written = f"'{value}'" if isinstance(value, str) else value
    expected = DEFAULTS | {name: value}
    assert asdict(load_settings({name: str(value)}, {})) == expected
    assert asdict(load_settings({}, {variable(name): str(value)})) == expected
    assert asdict(load_settings({}, {}, toml(tmp_path, f"{name} = {written}"))) == expected


# --- what is refused --------------------------------------------------------------------------------------


def test_an_unknown_setting_is_an_error_wherever_it_stands(tmp_path: Path) -> None:
    config = toml(tmp_path, "decison_ms = 400\n")
    assert refused(config=config) == f"{config}: unknown setting decison_ms"
    assert refused(environment={"FSROUTE_DECISON_MS": "400"}) == ("unknown setting FSROUTE_DECISON_MS in the environment")
    table = toml(tmp_path, "[fsroute]\ndb = 'sqlite:///x'\n")
    assert refused(config=table) == f"{table}: unknown setting fsroute"
    name = toml(tmp_path, '"a\\nb" = 1')
    assert refused(config=name) == f"{name}: unknown setting a?b"
    assert refused(environment={"FSROUTE_A\nB": "1"}) == "unknown setting FSROUTE_A?B in the environment"


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 2000])
def test_a_file_that_tomllib_cannot_read_is_not_toml(tmp_path: Path, value: str) -> None:
    config = toml(tmp_path, f"workers = {value}")
    assert refused(config=config).startswith(f"{config}: is not TOML: ")


def test_a_value_that_is_overridden_must_be_right_too(tmp_path: Path) -> None:
    config = toml(tmp_path, "decision_ms = 'soon'")
    assert refused({"decision_ms": "400"}, config=config) == "decision_ms = 'soon': must be a whole number"


@pytest.mark.parametrize("name", [name for name, value in DEFAULTS.items() if isinstance(value, int)])
@pytest.mark.parametrize("written", ["1.5", "true", "'many'", "''", "[1]", "{ a = 1 }", "2026-01-01", "inf", "nan"])
def test_a_whole_number_must_be_one(tmp_path: Path, name: str, written: str) -> None:
    told = refused(config=toml(tmp_path, f"{name} = {written}"))
    assert (told.startswith(f"{name} = "), told.endswith(": must be a whole number")) == (True, True)


@pytest.mark.parametrize("name", [name for name, value in DEFAULTS.items() if isinstance(value, float)])
@pytest.mark.parametrize("written", ["true", "'soon'", "''", "[1.0]"])
def test_a_number_must_be_one(tmp_path: Path, name: str, written: str) -> None:
    told = refused(config=toml(tmp_path, f"{name} = {written}"))
    assert (told.startswith(f"{name} = "), told.endswith(": must be a number")) == (True, True)


@pytest.mark.parametrize("name", [name for name, value in DEFAULTS.items() if isinstance(value, str)])
@pytest.mark.parametrize("written", ["true", "['x']", "07:32:00"])
def test_a_text_must_be_one(tmp_path: Path, name: str, written: str) -> None:
    told = refused(config=toml(tmp_path, f"{name} = {written}"))
    assert (told.startswith(f"{name} = "), told.endswith(": must be a text")) == (True, True)


@pytest.mark.parametrize("name", ["db", "event_socket_password", "sms_url", "sms_headers"])
def test_what_may_hold_a_password_is_not_printed(tmp_path: Path, name: str) -> None:
    assert refused(config=toml(tmp_path, f"{name} = ['hunter2']")) == f"{name} = ...: must be a text"


def test_a_number_may_be_written_as_text_and_a_key_as_a_number(tmp_path: Path) -> None:
    found = load_settings({}, {}, toml(tmp_path, "decision_ms = '400'\nhop_limit = 4.0\nconfirm_key = 5\ndrain_s = 7"))
    assert asdict(found) == DEFAULTS | {"decision_ms": 400, "hop_limit": 4, "confirm_key": "5", "drain_s": 7.0}


LEAST = {
    "db_connections": 1,
    "decision_ms": 1,
    "hang_s": 0.5,
    "handshake_s": 0.1,
    "max_calls": 1,
    "cache_seconds": 0.0,
    "workers": 1,
    "drain_s": 0.0,
    "hop_limit": 1,
    "contact_seconds": 0.0,
    "confirm_s": 1,
    "verify_code_s": 10,
    "verify_tries": 1,
    "verify_starts_per_number": 1,
    "verify_starts_per_account": 1,
    "verify_starts_per_kind": 1,
    "verify_starts_per_country": 1,
    "verify_starts_per_day": 1,
    "verify_wrong_codes": 1,
    "verify_call_pause_s": 0,
    "verify_ring_s": 5,
    "event_socket_s": 0.1,
    "sms_timeout_s": 0.1,
    "sms_attempts": 1,
}
MOST = dict.fromkeys(LEAST, 1_000_000_000) | {"sms_timeout_s": 60, "sms_attempts": 10, "db_connections": 100}


def test_every_number_has_bounds() -> None:
    assert LEAST.keys() == {name for name, value in DEFAULTS.items() if isinstance(value, int | float)}


@pytest.mark.parametrize(("name", "least"), LEAST.items(), ids=LEAST.keys())
def test_numbers_are_bounded(name: str, least: float) -> None:
    below, most = type(least)(-1 if least == 0 else 0), MOST[name]
    assert refused({name: str(below)}) == f"{name} = {below}: must be at least {least:g}"
    assert refused({name: str(most + 1)}) == f"{name}: must be at most {most}"
    assert refused({name: "1" + "0" * 400}) == f"{name}: must be at most {most}"
    assert asdict(load_settings({name: str(least)}, {})) == DEFAULTS | {name: least}
    assert asdict(load_settings({name: str(most)}, {})) == DEFAULTS | {name: most}


@pytest.mark.parametrize("written", ["inf", "nan", "-inf"])
@pytest.mark.parametrize("name", ["cache_seconds", "handshake_s", "drain_s", "event_socket_s", "sms_timeout_s"])
def test_a_time_has_an_end(name: str, written: str) -> None:
    assert refused({name: written}).startswith(name)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("on_failure", "panic", "on_failure = 'panic': must be one of fallback, hangup"),
        ("log_format", "xml", "log_format = 'xml': must be one of auto, json, console"),
        ("log_level", "INFO", "log_level = 'INFO': must be one of debug, info, warning, error"),
        ("log_numbers", "", "log_numbers = '': must be one of short, full"),
        ("country", "XX", "country = 'XX': not an ISO 3166 code with a numbering plan"),
        ("country", "de", "country = 'de': not an ISO 3166 code with a numbering plan"),
        ("listen", "8084", "listen = '8084': must be ADDRESS:PORT"),
        ("listen", ":8084", "listen = ':8084': must be ADDRESS:PORT"),
        ("listen", "127.0.0.1:65536", "listen = '127.0.0.1:65536': must be ADDRESS:PORT"),
        ("listen", "127.0.0.1:-1", "listen = '127.0.0.1:-1': must be ADDRESS:PORT"),
        ("listen", "127.0.0.1:http", "listen = '127.0.0.1:http': must be ADDRESS:PORT"),
        ("listen", "127.0.0.1:\u0663", "listen = '127.0.0.1:\u0663': must be ADDRESS:PORT"),
        ("listen", "127.0.0.1:" + "1" * 5000, None),
        ("allow", "10.0.0.1/8", "allow = '10.0.0.1/8': 10.0.0.1/8 has host bits set"),
        ("allow", "localhost", "allow = 'localhost': 'localhost' does not appear to be an IPv4 or IPv6 network"),
        ("sip_profiles", "", None),
        ("sip_profiles", "internal,", None),
        ("sip_profiles", "internal/x", None),
        ("confirm_key", "", None),
        ("confirm_key", "yes", None),
        ("confirm_key", "1234567890", None),
        ("confirm_prompt", "say ${system(x)}", None),
        ("confirm_prompt", "a.wav:_:b.wav", None),
        ("confirm_prompt", "", None),
        ("sms_url", "sms.example", "sms_url: must begin with https:// or http://"),
        ("sms_headers", "", "sms_headers: Content-Type is missing; it decides how values are escaped"),
        ("sms_body", "", "sms_body: must have {number}, and {text} or {code}"),
    ],
)
def test_a_value_that_cannot_work_is_refused_in_one_line(name: str, value: str, told: str | None) -> None:
    found = refused({name: value})
    assert (found.split(" =")[0].split(":")[0].replace(" ", "_"), found.count("\n")) == (name, 0)
    assert told in {None, found}


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert refused(config=f"{tmp_path}/no.toml") == f"{tmp_path}/no.toml: No such file or directory"
    assert refused(config=str(tmp_path)) == f"{tmp_path}: Is a directory"
    broken = toml(tmp_path, "db = \n")
    assert refused(config=broken) == f"{broken}: is not TOML: Invalid value (at line 1, column 6)"
    (tmp_path / "latin1.toml").write_bytes(b"db = 'caf\xe9'")
    assert refused(config=f"{tmp_path}/latin1.toml").startswith(f"{tmp_path}/latin1.toml: is not TOML: ")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("event_socket_password = 'x'\ncountry = 'AT'", "event_socket_password"),
        ("db = 'postgresql://fsroute:geheim@db.example/fsroute'", "db"),
        ("db = 'postgresql://db.example/fsroute?user=u&password=geheim'", "db"),
        ("sms_headers = 'Authorization: Bearer x'\nsms_url = 'https://sms.example/?token=x'", "sms_headers, sms_url"),
        ("db = 'postgresql://fsroute@db.example/fsroute'", None),
        ("db = 'sqlite:////var/lib/fsroute/fsroute.db'\nsms_url = 'https://sms.example/'", None),
        ("country = 'AT'", None),
        ("not TOML", None),
    ],
)
def test_a_file_with_passwords_that_all_can_read(tmp_path: Path, text: str, names: str | None) -> None:
    path = Path(toml(tmp_path, text))
    path.chmod(0o644)
    warning = f"{path}: every user of the machine can read it, and it holds {names}: chmod o-r {path}"
    assert readable_secrets({}, str(path)) == (warning if names else None)
    assert readable_secrets({"FSROUTE_CONFIG": str(path)}) == (warning if names else None)
    path.chmod(0o640)
    assert readable_secrets({}, str(path)) is None
    assert readable_secrets({}, f"{tmp_path}/no.toml") is None
    assert readable_secrets({}) is None


# --- what settings mean -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8084", ("127.0.0.1", 8084)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),  # noqa: S104 - nothing listens here
        ("[::1]:8084", ("::1", 8084)),
        ("::1:8084", ("::1", 8084)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_the_address_to_listen_on(listen: str, address: tuple[str, int]) -> None:
    assert Settings(listen=listen).address == address


def test_networks_are_separated_by_commas() -> None:
    networks = Settings(allow=" 10.0.0.0/8, 192.0.2.7 ,2001:db8::/32,, ").networks
    assert networks == (ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32"), ip_network("2001:db8::/32"))


def test_the_confirmation() -> None:
    found = Settings(confirm_key="5", confirm_prompt="ivr/press_5.wav", confirm_s=7).confirmation
    assert found == Confirmation("5", "ivr/press_5.wav", 7)


def test_the_sms_gateway() -> None:
    assert Settings().sms_gateway is None
    found = Settings(sms_url="https://sms.example/v1").sms_gateway
    assert found == parse_gateway("https://sms.example/v1", DEFAULTS["sms_headers"], DEFAULTS["sms_body"])
