"""Telephone numbers: E.164 in and out, no exception, linear time, and the same reading as phonenumbers itself."""

from __future__ import annotations

import phonenumbers

from fsroute.callerid import anonymous
from fsroute.model import NumberFormat
from fsroute.numbers import phone_number, short_numbers
from scripts.fuzz.given import Given, in_linear_time

PIECES = (
    *"0123456789+-. ()/;=@:,#*x",
    *("+49", "0049", "00", "+1", "221", "4710100", "+492214710100", "02214710100", "+39061234", "+521", "112", "110"),
    *("tel:", "sip:", "sips:", "@example.org", ";phone-context=", "+49221", "example.org", ";user=phone", ";ext=12"),
    *("\uff11", "\u0661", "\u2028", "%2B", "anonymous", "\0", "\n"),
)
COUNTRIES = ("DE", "AT", "US", "IT", "FR", "GB", "BR", "MX", "CI", "SM", "AR", "CH", "KZ", "GG")
_FORMS = tuple(NumberFormat)


def check(data: bytes) -> None:
    given = Given(data)
    country, other, form = given.choice(COUNTRIES), given.choice(COUNTRIES), given.choice(_FORMS)
    area = given.choice((None, "221", "30"))
    text = given.text(PIECES)
    with in_linear_time():
        found = phone_number.candidates(text, country, form)
        dialled = phone_number.dialled(text, country, area)
        texts = phone_number.texts(text, country)
        sent = phone_number.as_sent(text, country)
        phone_number.is_local(text, country)
        phone_number.is_area_code(text, country)
        short_numbers.is_emergency(text, country)
        short_numbers.is_emergency_somewhere(text)
        anonymous.stands_for_nobody(text)
        anonymous.hides_phone(text)
        anonymous.names_nobody(text)
    for number in (*found, *dialled, *texts, *((sent,) if sent else ())):
        assert phone_number.is_e164(number), number
    for number in found:
        _check_number(number, other)
    if phone_number.is_e164(text):
        _compare(text)


def _check_number(number: str, country: str) -> None:
    """A valid number is read as itself in every country, and every one is written in digits.

    phonenumbers takes a zero behind the calling code for a national prefix, so it reads +4300000 as +430000. Nobody has such
    a number.
    """
    if phone_number.is_valid(number):
        assert phone_number.candidates(number, country) == (number,), number
    assert number in phone_number.texts(number, country)
    for form in _FORMS:
        written = phone_number.written(number, form, country)
        assert written.removeprefix("+").isdigit(), written
        assert written.isascii()
    _compare(number)


def _compare(number: str) -> None:
    found = phone_number.parsed(number)
    try:
        expected = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        assert found is None, number
        return
    assert found == expected, f"{number}: {found!r}, phonenumbers says {expected!r}"
