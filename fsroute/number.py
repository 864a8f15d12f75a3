"""Telephone numbers: what somebody dialled or sent, and the E.164 numbers it can mean.

phonenumbers (the Python port of Google's libphonenumber) knows the numbering plans. It is kept at arm's length,
because it guesses for people who type, and a number from the network is not typed: letters, extensions and
"possible" corrections are refused here.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from fsroute.model import NumberFormat

E164 = re.compile(r"\+[1-9][0-9]{2,14}\Z")
"""An E.164 number as fsroute stores it (ITU-T E.164, 6.2: at most 15 digits). The same rule is a CHECK in schema.sql."""

_SCHEME = re.compile(r"(?:tel|sips?):", re.IGNORECASE)

_SPELLING = re.compile(r"\+?\(?[0-9][0-9 ()./-]{0,39}\Z")
"""What a number may be written with. 40 characters hold every spelling of 15 digits with an international prefix;
phonenumbers would also take letters (vanity numbers), extensions and full-width digits."""


def is_e164(text: str) -> bool:
    return E164.match(text) is not None


def spelled(text: str) -> str | None:
    """The number in `text` without URI scheme, host and parameters, or None if it is not spelled like a number."""
    if is_e164(text):
        return text  # as nearly every caller's
    text = _SCHEME.sub("", text.strip(), count=1)
    text = re.split("[@;]", text, maxsplit=1)[0].strip()
    text = text.replace("(+", "+", 1) if text.startswith("(+") else text
    return text if _SPELLING.match(text) else None


@lru_cache(maxsize=4096)
def candidates(text: str, country: str) -> tuple[str, ...]:
    """The E.164 numbers that `text` can mean when it is dialled in `country` (ISO 3166), the likeliest first.

    There are several when the text has neither `+` nor a prefix: carriers deliver `492214710100` without `+`,
    and in Germany the same digits are also a number of the area 04922. Which one is meant is known only by
    whoever knows which numbers are hosted here. Empty if the text is no number.
    """
    number = spelled(text)
    if number is None:
        return ()
    if number.startswith("+"):
        return _distinct(_e164(number, country))
    digits = re.sub("[^0-9]", "", number)
    national = _e164(number, country)
    plus = _e164("+" + digits, country)
    code = calling_code(country)
    # The country's own code first: with it in front, digits from a carrier are international far more often than
    # they are a local number that happens to begin alike.
    return _distinct(plus, national) if digits.startswith(code) else _distinct(national, plus)


@lru_cache(maxsize=4096)
def texts(text: str, country: str) -> tuple[str, ...]:
    """What of a call's number is compared with rows: `candidates`, and behind them the digits themselves as an E.164 text,
    also when phonenumbers calls that impossible.

    Which lengths a country has is a guess that ages: +521... of Mexican mobiles and eight digits of Ivory Coast are still
    sent. A row that somebody entered says that the number exists.
    """
    number = spelled(text)
    if number is None:
        return ()
    digits = re.sub("[^0-9]", "", number)
    plus = f"+{digits}" if is_e164(f"+{digits}") else None
    return _distinct(*candidates(text, country), as_sent(text, country), plus)


def as_sent(text: str, country: str) -> str | None:
    """The E.164 text of a number that was sent with its calling code, behind + or the country's international prefix. It may
    be impossible. None for any other."""
    number = spelled(text)
    if number is None:
        return None
    digits = re.sub("[^0-9]", "", number)
    if not number.startswith("+"):
        prefix = _international_prefix(country)
        if not digits.startswith(prefix):
            return None
        digits = digits.removeprefix(prefix)
    return f"+{digits}" if is_e164(f"+{digits}") else None


@lru_cache(maxsize=4096)
def parsed(text: str, country: str | None = None) -> phonenumbers.PhoneNumber | None:
    """What phonenumbers makes of a number, None if nothing. Several questions to a number need it, and it takes longest."""
    try:
        return _split(text) or phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None


def _split(text: str) -> phonenumbers.PhoneNumber | None:
    """What phonenumbers.parse makes of an E.164 number that is only to be split, as nearly every caller's: a fifth of the
    time. None for one whose national part begins with a zero or with what may be a national prefix."""
    if not is_e164(text):
        return None
    for end in _CALLING_CODE_ENDS:
        code, national = int(text[1:end]), text[end:]
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            plain = _plain_national_number(code)
            return phonenumbers.PhoneNumber(code, int(national)) if plain.match(national) else None
    return None


_CALLING_CODE_ENDS = (2, 3, 4)
"""Behind the + calling codes have up to three digits, and none begins another one."""


@lru_cache(maxsize=512)
def _plain_national_number(code: int) -> re.Pattern[str]:
    """What national numbers look like of which nothing is to be taken off."""
    region = phonenumbers.region_code_for_country_code(code)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    prefix = metadata.national_prefix_for_parsing if metadata else None
    return re.compile(f"(?!0{f'|{prefix}' if prefix else ''})[0-9]{{2}}")


def _e164(number: str, country: str) -> str | None:
    # With its calling code a number means the same everywhere. Only if there is no such code, phonenumbers tries without +.
    found = (parsed(number) if number.startswith("+") else None) or parsed(number, country)
    if found is None or not phonenumbers.is_possible_number(found):
        return None
    e164 = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
    return e164 if is_e164(e164) else None


def _distinct(*numbers: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(number for number in numbers if number))


def written(e164: str, form: NumberFormat, country: str) -> str:
    """A number as a carrier of this country wants it written. What is no E.164 number (a short code) stays as it is."""
    if not is_e164(e164) or form is NumberFormat.E164:
        return e164
    if form is NumberFormat.DIGITS:
        return e164[1:]
    code = calling_code(country)
    if form is NumberFormat.NATIONAL and e164.startswith(f"+{code}"):
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
        prefix = (metadata.national_prefix if metadata else None) or ""
        return prefix + e164[1 + len(code) :]
    return _international_prefix(country) + e164[1:]


def _international_prefix(country: str) -> str:
    """What is dialled in this country before a calling code. Where callers choose a carrier with it, there are several."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    prefixes = (metadata.preferred_international_prefix, metadata.international_prefix) if metadata else ()
    return next((prefix for prefix in prefixes if prefix and prefix.isdigit()), "00")


def calling_code(country: str) -> str:
    """49 for DE."""
    return str(phonenumbers.country_code_for_region(country))


@lru_cache(maxsize=4096)
def is_valid(e164: str) -> bool:
    """Whether an E.164 number is one that its country has given out, as far as phonenumbers knows."""
    found = parsed(e164)
    return found is not None and phonenumbers.is_valid_number(found)


def is_country(country: str) -> bool:
    """Whether numbers can be read in this country (ISO 3166 code)."""
    return country in phonenumbers.SUPPORTED_REGIONS
