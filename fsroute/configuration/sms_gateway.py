"""The HTTP request to an operator's SMS gateway, from three settings and a message. Pure.

The settings are checked once, by filling the body with special characters, so that every later message fits. Errors
never quote the settings: an address or a header may hold a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, quote_plus, urlsplit

from fsroute.errors import ConfigError

PLACES = ("number", "text", "code", "id")
"""The names that a body may have in braces."""

_OWN_HEADERS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "expect",
        "upgrade",
        "idempotency-key",
    }
)
"""Headers of the connection, which `verification/sms.py` writes or leaves out."""

_PLACE = re.compile(r"\{(\w+)\}")
_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}):[ \t]*([!-~](?:[ -~]*[!-~])?)[ \t]*")
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_PRINTABLE = re.compile("[!-~]+")

_NASTY = '"\\/&=+%;{}\r\n\t\x00 \u00fc\U0001f600'
"""A value that is valid only where it is escaped: outside of JSON's quotes the body is not JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The address of a gateway and the form of its requests; `parse_gateway` makes one."""

    secure: bool
    host: str
    port: int
    authority: str
    """Value of the Host header."""
    target: str = field(repr=False)
    """Path and query."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """As in the setting, with Content-Type."""
    template: str
    is_json: bool

    def body(self, values: Mapping[str, str]) -> bytes:
        """The body of a request, with a value for each of PLACES."""
        return _fill(self.template, values, is_json=self.is_json).encode()


def parse_gateway(url: str, headers: str, body: str) -> Gateway | None:
    """The gateway that the settings sms_url, sms_headers and sms_body describe; None if the first is empty.

    Raises ConfigError for an error in any of the three, also while sms_url is empty.
    """
    parsed = _headers(headers)
    is_json = _is_json(parsed)
    _check_template(body, is_json=is_json)
    if not url:
        return None
    parts, port = _split(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    return Gateway(
        secure=secure,
        host=host,
        port=port or (443 if secure else 80),
        authority=(f"[{host}]" if ":" in host else host) + (f":{port}" if port else ""),
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=parsed,
        template=body,
        is_json=is_json,
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    if not _PRINTABLE.fullmatch(url):
        raise ConfigError("sms_url: has blanks, control characters or letters outside ASCII")
    if "{" in url or "}" in url:
        raise ConfigError("sms_url: has braces; values are filled into sms_body only")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose text quotes the address
        raise ConfigError("sms_url: has no valid host or port") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigError("sms_url: must begin with https:// or http://")
    if "@" in parts.netloc:
        raise ConfigError("sms_url: has a user or password; put them into sms_headers (Authorization)")
    if port == 0 or not _is_host(parts.hostname or "", in_brackets="[" in parts.netloc):
        raise ConfigError("sms_url: has no valid host or port")
    if "#" in url:
        raise ConfigError("sms_url: has a part after #, which is never sent")
    return parts, port


def _is_host(host: str, *, in_brackets: bool) -> bool:
    if not in_brackets:
        return _HOST.fullmatch(host) is not None
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[str, str]] = {}
    for count, line in enumerate(text.split("\n"), 1):
        if not line.strip(" \t"):
            continue
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ConfigError(f"sms_headers: line {count} is not 'Name: value' in printable ASCII")
        name = match[1].lower()
        if name in _OWN_HEADERS:
            raise ConfigError(f"sms_headers: line {count}: {match[1]} is set by fsroute")
        if name in found:
            raise ConfigError(f"sms_headers: line {count}: {match[1]} occurs twice")
        found[name] = match[1], match[2]
    return tuple(found.values())


def _is_json(headers: tuple[tuple[str, str], ...]) -> bool:
    content_type = next((value for name, value in headers if name.lower() == "content-type"), None)
    if content_type is None:
        raise ConfigError("sms_headers: Content-Type is missing; it decides how values are escaped")
    kind, _, charset = (part.strip() for part in content_type.lower().partition(";"))
    if kind not in {"application/json", "application/x-www-form-urlencoded"}:
        raise ConfigError("sms_headers: Content-Type must be application/json or application/x-www-form-urlencoded")
    if charset.replace('"', "").replace(" ", "") not in {"", "charset=utf-8"}:
        raise ConfigError("sms_headers: Content-Type may have charset=utf-8 and no other parameter")
    return kind == "application/json"


def _check_template(template: str, *, is_json: bool) -> None:
    named = set(_PLACE.findall(template))
    if unknown := sorted(named - set(PLACES)):
        raise ConfigError(f"sms_body: unknown {{{unknown[0]}}}; there are {', '.join(f'{{{name}}}' for name in PLACES)}")
    if "number" not in named or not named & {"text", "code"}:
        raise ConfigError("sms_body: must have {number}, and {text} or {code}")
    values = {name: name + _NASTY for name in PLACES}
    filled = _fill(template, values, is_json=is_json)
    if is_json:
        try:
            filled.encode()
            json.loads(filled, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:  # lists in lists
            raise ConfigError("sms_body: is not JSON when its values are filled in; each must be inside quotes") from error
        return
    try:
        fields = parse_qsl(filled, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        fields = []
    if not fields or not _PRINTABLE.fullmatch(filled):
        raise ConfigError("sms_body: is not a form (name=value&name=value, in printable ASCII)")


def _fill(template: str, values: Mapping[str, str], *, is_json: bool) -> str:
    """Fills the places of a template. A place inside a value stays as it is."""
    escape = _json_escape if is_json else _form_escape
    return _PLACE.sub(lambda place: escape(values[place[1]]), template)


def _json_escape(value: str) -> str:
    return json.dumps(value)[1:-1]


def _form_escape(value: str) -> str:
    return quote_plus(value, errors="replace")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
