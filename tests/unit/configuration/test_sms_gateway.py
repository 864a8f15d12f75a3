"""What an SMS gateway is told: settings that are refused, and bodies that say exactly what they were given."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.configuration.sms_gateway import PLACES, Gateway, parse_gateway
from fsroute.errors import ConfigError

URL = "https://sms.example/v1/messages"
HEADERS = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
BODY = '{"to": "{number}", "text": "{text}", "code": "{code}", "reference": "{id}"}'
FORM_BODY = "to={number}&text={text}&code={code}&reference={id}"

VALUES = st.fixed_dictionaries({place: st.text() for place in PLACES})


def gateway(url: str = URL, headers: str = HEADERS, body: str = BODY) -> Gateway:
    found = parse_gateway(url, headers, body)
    assert found is not None
    return found


def refused(url: str = URL, headers: str = HEADERS, body: str = BODY) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_gateway(url, headers, body)
    return str(caught.value)


# --- bodies -----------------------------------------------------------------------------------------------


@given(VALUES)
def test_json_parses_back_to_exactly_the_values(values: dict[str, str]) -> None:
    assert json.loads(gateway().body(values)) == {
        "to": values["number"],
        "text": values["text"],
        "code": values["code"],
        "reference": values["id"],
    }


@given(VALUES)
def test_a_form_parses_back_to_exactly_the_values(values: dict[str, str]) -> None:
    body = gateway(headers=FORM, body=FORM_BODY).body(values).decode("ascii")
    assert parse_qsl(body, keep_blank_values=True, strict_parsing=True, max_num_fields=4) == [
        ("to", values["number"]),
        ("text", values["text"]),
        ("code", values["code"]),
        ("reference", values["id"]),
    ]


def test_half_a_character_does_not_break_a_body() -> None:
    values = dict.fromkeys(PLACES, "\ud800")
    assert json.loads(gateway().body(values))["text"] == "\ud800"
    assert gateway(headers=FORM, body=FORM_BODY).body(values) == b"to=%3F&text=%3F&code=%3F&reference=%3F"


def test_bodies_byte_by_byte() -> None:
    values = {"number": "+4915112345678", "text": 'Ihr "Code": 012345 & {code}\n', "code": "012345", "id": "7f"}
    assert gateway(body='{"müller": ["{number}", 7, "{text}", "{number}"]}').body(values) == (
        '{"müller": ["+4915112345678", 7, "Ihr \\"Code\\": 012345 & {code}\\n", "+4915112345678"]}'.encode()
    )
    assert gateway(headers=FORM, body="to={number}&text={text}&flash=1&key=a%20b").body(values) == (
        b"to=%2B4915112345678&text=Ihr+%22Code%22%3A+012345+%26+%7Bcode%7D%0A&flash=1&key=a%20b"
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"to": {number}, "code": "{code}"}',
        '{"to": "{number}", "code": {code}}',
        '{"to": "{number}", "text": "{text}"',
        '{"to": "{number}", "text": "{text}",}',
        '{"to": "{number}", "text": "{text}", "ttl": NaN}',
        '{"to": "{number}", "text": "\\u00{code}"}',
        '{"to": "{number}", "text": "a\nb {text}"}',
        '{"to": "{number}", "text": "{text}\udcff"}',
        "{number} {text}",
        "[" * 2000 + '"{number} {text}"' + "]" * 2000,
        FORM_BODY,
    ],
)
def test_a_body_that_would_not_be_json_is_refused(body: str) -> None:
    assert refused(body=body) == ("sms_body: is not JSON when its values are filled in; each must be inside quotes")


@pytest.mark.parametrize(
    "body",
    [
        "{number}{text}",
        "to={number}&code={code}&text",
        "to={number}&&text={text}",
        "to={number}&text={text}\n",
        "to={number}& text={text}",
        "to={number}&text={text}&from=Müller",
        BODY,
    ],
)
def test_a_body_that_would_not_be_a_form_is_refused(body: str) -> None:
    assert refused(headers=FORM, body=body) == ("sms_body: is not a form (name=value&name=value, in printable ASCII)")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"to": "{numbr}", "text": "{text}"}', "unknown {numbr}; there are {number}, {text}, {code}, {id}"),
        ('{"to": "{number}", "text": "{Text}"}', "unknown {Text}; there are {number}, {text}, {code}, {id}"),
        ('{"to": "{number}", "text": "{0}{text}"}', "unknown {0}; there are {number}, {text}, {code}, {id}"),
        ('{"text": "{text}"}', "must have {number}, and {text} or {code}"),
        ('{"to": "{number}", "reference": "{id}"}', "must have {number}, and {text} or {code}"),
        ("", "must have {number}, and {text} or {code}"),
    ],
)
def test_places_that_are_unknown_or_missing(body: str, message: str) -> None:
    assert refused(body=body) == refused(url="", body=body) == f"sms_body: {message}"


# --- headers ----------------------------------------------------------------------------------------------


def test_headers_go_out_as_they_were_given() -> None:
    lines = f"  \nAuthorization:Bearer a:b c \n{FORM}; charset=UTF-8\nX-Empty-Looking:\t-\n"
    assert gateway(headers=lines, body=FORM_BODY).headers == (
        ("Authorization", "Bearer a:b c"),
        ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),
        ("X-Empty-Looking", "-"),
    )


@pytest.mark.parametrize(
    "line",
    [
        "Authorization",
        "Authorization:",
        ": hunter2",
        "Authorization : hunter2",
        " Authorization: hunter2",
        "Authorization: hunter2\r",
        "Authorization: hunter2\rX: y",
        "Authorization: hunter2\x00",
        "Authorization: hunter2\x85X: y",
        "Authorization: hunter2\u2028X: y",
        "Authorization: hünter2",
        "Author ization: hunter2",
        "Autho\u0301rization: hunter2",
    ],
)
def test_a_line_that_is_no_header_is_refused_and_not_printed(line: str) -> None:
    assert refused(headers=f"{HEADERS}\n{line}") == ("sms_headers: line 2 is not 'Name: value' in printable ASCII")


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (f"{HEADERS}\nhost: other.example", "line 2: host is set by fsroute"),
        (f"Idempotency-Key: 1\n{HEADERS}", "line 1: Idempotency-Key is set by fsroute"),
        (f"{HEADERS}\nContent-Length: 3", "line 2: Content-Length is set by fsroute"),
        (f"{HEADERS}\nTransfer-Encoding: chunked", "line 2: Transfer-Encoding is set by fsroute"),
        (f"{HEADERS}\nConnection: keep-alive", "line 2: Connection is set by fsroute"),
        (f"{HEADERS}\nUpgrade: h2c", "line 2: Upgrade is set by fsroute"),
        (f"{HEADERS}\nExpect: 100-continue", "line 2: Expect is set by fsroute"),
        (f"{HEADERS}\n\nCONTENT-TYPE: text/plain", "line 3: CONTENT-TYPE occurs twice"),
        ("X: y", "Content-Type is missing; it decides how values are escaped"),
        (
            "Content-Type: text/plain",
            "Content-Type must be application/json or application/x-www-form-urlencoded",
        ),
        (
            "Content-Type: application/jsonl",
            "Content-Type must be application/json or application/x-www-form-urlencoded",
        ),
        ("Content-Type: application/json; charset=latin1", "Content-Type may have charset=utf-8 and no other parameter"),
    ],
)
def test_headers_that_cannot_work_are_refused(headers: str, message: str) -> None:
    assert refused(headers=headers) == refused(url="", headers=headers) == f"sms_headers: {message}"


def test_a_gateway_in_a_traceback_shows_no_password() -> None:
    shown = repr(gateway("https://sms.example/?key=hunter2", f"{HEADERS}\nAuthorization: hunter2"))
    assert ("hunter2" in shown, "sms.example" in shown) == (False, True)


# --- the address ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://sms.example", (True, "sms.example", 443, "sms.example", "/")),
        ("http://sms.example", (False, "sms.example", 80, "sms.example", "/")),
        ("HTTPS://SMS.example:8443/a/b?c=d&e=%20", (True, "sms.example", 8443, "sms.example:8443", "/a/b?c=d&e=%20")),
        ("http://192.0.2.1:80/", (False, "192.0.2.1", 80, "192.0.2.1:80", "/")),
        ("http://[2001:db8::1]/x", (False, "2001:db8::1", 80, "[2001:db8::1]", "/x")),
        ("http://[2001:db8::1]:81?x", (False, "2001:db8::1", 81, "[2001:db8::1]:81", "/?x")),
        ("http://localhost", (False, "localhost", 80, "localhost", "/")),
        ("https://sms_1.example", (True, "sms_1.example", 443, "sms_1.example", "/")),
    ],
)
def test_an_address_is_taken_apart(url: str, parts: tuple[bool, str, int, str, str]) -> None:
    found = gateway(url)
    assert (found.secure, found.host, found.port, found.authority, found.target) == parts


def test_no_address_is_no_gateway() -> None:
    assert parse_gateway("", HEADERS, BODY) is None


BAD_URLS = [
    ("sms.example/v1", "must begin with https:// or http://"),
    ("//sms.example/v1", "must begin with https:// or http://"),
    ("ftp://sms.example/hunter2", "must begin with https:// or http://"),
    ("file:///etc/hunter2", "must begin with https:// or http://"),
    ("https://user:hunter2@sms.example/", "has a user or password; put them into sms_headers (Authorization)"),
    ("https://hunter2@sms.example/", "has a user or password; put them into sms_headers (Authorization)"),
    ("https:///hunter2", "has no valid host or port"),
    ("https:sms.example", "has no valid host or port"),
    ("https://-hunter2.example/", "has no valid host or port"),
    ("https://sms..example/", "has no valid host or port"),
    ("https://sms.example./", "has no valid host or port"),
    (f"https://{'a' * 64}.example/", "has no valid host or port"),
    (f"https://{'a.' * 127}de/", "has no valid host or port"),
    ("https://sms.example:0/", "has no valid host or port"),
    ("https://sms.example:65536/", "has no valid host or port"),
    ("https://sms.example:https/hunter2", "has no valid host or port"),
    ("https://[::1/hunter2", "has no valid host or port"),
    ("https://[v1.x]/hunter2", "has no valid host or port"),
    ("https://[:::]/", "has no valid host or port"),
    ("https://[192.0.2.1]/", "has no valid host or port"),
    ("https://sms.example/#hunter2", "has a part after #, which is never sent"),
    ("https://sms.example/{number}", "has braces; values are filled into sms_body only"),
    ("https://sms.example/a b", "has blanks, control characters or letters outside ASCII"),
    ("https://sms.example/\r\nX: y", "has blanks, control characters or letters outside ASCII"),
    ("https://sms.example\t/", "has blanks, control characters or letters outside ASCII"),
    ("https://sms.exämple/", "has blanks, control characters or letters outside ASCII"),
    (" ", "has blanks, control characters or letters outside ASCII"),
]


@pytest.mark.parametrize(("url", "message"), BAD_URLS)
def test_an_address_that_cannot_work_is_refused_and_not_printed(url: str, message: str) -> None:
    assert refused(url=url) == f"sms_url: {message}"
