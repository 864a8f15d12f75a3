"""Telephone numbers: what somebody dialled or sent, and the E.164 numbers it can mean.

phonenumbers (the Python port of Google's libphonenumber) knows the numbering plans. It is kept at arm's length,
because it guesses for people who type, and a number from the network is not typed: letters, extensions and
"possible" corrections are refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberType

from fsroute.model import NumberFormat

E164 = re.compile(r"\+[1-9][0-9]{2,14}\Z")
"""An E.164 number as fsroute stores it (ITU-T E.164, 6.2: at most 15 digits). The same rule is a CHECK in schema.sql."""

_SCHEME = re.compile(r"(?:tel|sips?):", re.IGNORECASE)

_SPELLING = re.compile(r"\+?\(?[0-9][0-9 ()./-]{0,39}\Z")
"""What a number may be written with. 40 characters hold every spelling of 15 digits with an international prefix;
phonenumbers would also take letters (vanity numbers), extensions and full-width digits."""


_NO_DIGIT = re.compile("[^0-9]")


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
def candidates(text: str, country: str, form: NumberFormat = NumberFormat.E164) -> tuple[str, ...]:
    """The E.164 numbers that `text` can mean in `country` (ISO 3166) from somebody who writes numbers in `form`, the
    likeliest first. Empty if the text is no number.

    There are several when the text has neither `+` nor a prefix: carriers deliver `492214710100` without `+`, and in
    Germany the same digits are also a number of the area 04922. A sender of
    `digits` means the first, a sender of `national` the second. For any other sender only the caller of this function
    can decide, which knows the hosted numbers. A number that phonenumbers calls invalid never comes before a valid one.
    """
    number = spelled(text)
    if number is None:
        return ()
    if number.startswith("+"):
        return _distinct(_e164(number, country))
    if is_context_malformed(text):
        return ()
    context = _context(text)
    return _valid_first(*(_in_context(number, context, country) if context else _in_form(number, country, form)))


def _in_form(number: str, country: str, form: NumberFormat) -> tuple[str | None, str | None]:
    """What a number without + means in a country from somebody who writes like this, the likelier one first."""
    digits, prefix = _NO_DIGIT.sub("", number), _international_prefix(country)
    if digits.startswith(prefix):
        # phonenumbers knows only the prefixes of carriers where callers choose one (BR, KR, ...).
        return _e164(number, country), _international(digits.removeprefix(prefix))
    plus = _international(digits)
    if form is NumberFormat.DIGITS and not digits.startswith("0"):
        return plus, None  # no E.164 number begins with a zero: such a carrier means something else by it
    national = _e164(number, country)
    # The country's own code first: with it in front, digits from a carrier are international far more often than
    # they are a local number that happens to begin alike.
    if form is not NumberFormat.NATIONAL and digits.startswith(calling_code(country)):
        return plus, national
    return national, plus


@lru_cache(maxsize=4096)
def is_valid(e164: str) -> bool:
    """Whether phonenumbers knows a range of its country's numbering plan that holds this number."""
    found = parsed(e164)
    return found is not None and phonenumbers.is_valid_number(found)


# --- what the number is relative to (RFC 3966) ------------------------------------------------------------

_CONTEXT = re.compile(r";phone-context=([^;@>?]*)", re.IGNORECASE)
_CONTEXT_NUMBER = re.compile(r"\+[1-9][0-9]{0,14}\Z")
_CONTEXT_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.?\Z")
"""A domain name, which may be a word (`private`), or an IPv4 address, which RFC 3966 does not allow and gateways write."""

_SEPARATOR = re.compile(r"[-.()]")


def is_context_malformed(text: str) -> bool:
    """Whether `text` names a phone-context that is neither the beginning of a number nor a domain name (RFC 3966, 5.1.5).

    What the number is relative to is then unknown, and so is the number.
    """
    if ";" not in text:
        return False
    return any(not _is_prefix(context) and not _is_domain(context) for context in _CONTEXT.findall(text))


def _context(text: str) -> str | None:
    """The beginning of a number that `text` says its digits are relative to (`+49221`), None if it says none.

    A domain name names the party that gives the digits their meaning. Here that party is the trunk.
    """
    found = _CONTEXT.findall(text) if ";" in text else []
    return next((_SEPARATOR.sub("", context) for context in found if _is_prefix(context)), None)


def _is_prefix(context: str) -> bool:
    return _CONTEXT_NUMBER.match(_SEPARATOR.sub("", context)) is not None


def _is_domain(context: str) -> bool:
    return _CONTEXT_DOMAIN.match(context) is not None and not context.isdigit()


def _in_context(number: str, context: str, country: str) -> tuple[str | None, str | None]:
    """What a number without + means in a phone-context, the likelier one first.

    A calling code (`+49`) is a country: the digits are what is dialled in it. Longer ones (`+49221`) are an area: the digits
    are what is dialled there, and begin with the national prefix if they are for another one.
    """
    digits = _NO_DIGIT.sub("", number)
    code = next((code for code in map(int, _beginnings(context)) if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), None)
    if code is None:
        return None, None
    shared = calling_code(country) == str(code)
    region = country if shared else phonenumbers.region_code_for_country_code(code)
    national = _e164(digits, region) if is_country(region) else None
    whole = _international(context.removeprefix("+") + digits)
    if context == f"+{code}" or _has_prefix(digits, region):
        return national, whole
    return whole, national


def _beginnings(plus: str) -> Iterator[str]:
    return (plus[1:end] for end in _CALLING_CODE_ENDS)


# --- what a user dials ------------------------------------------------------------------------------------

_LONGEST_LOCAL = 9
"""Digits of the longest number that is dialled without area code. German numbers have at most 11 digits behind the
calling code (BNetzA, Nummernplan Ortsnetzrufnummern), of which the area code has two; Brazilian mobiles have nine. Longer
ones, as phonenumbers holds them for possible in Germany and Austria, are extensions behind a company's number."""

_OPEN = frozenset({"AT", "DE"})
"""Where phonenumbers takes digits of nearly any length for a number: that they are a valid one behind the country's code
says nothing of whether that was meant."""

_OF_PLACES = frozenset({PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


@lru_cache(maxsize=4096)
def dialled(text: str, country: str, area_code: str | None = None) -> tuple[str, ...]:
    """The E.164 numbers that a user in `country` can mean who dials `text`, the likeliest first.

    A local number (`is_local`) is one of the area code. Without one, and when it is none there, it means nothing: to read
    it as a national number would call somebody in another town. Digits without any prefix are a number of another country
    only if that is a valid one.
    """
    digits = _bare(text, country)
    if digits is None:
        return candidates(text, country)
    if is_local(text, country):
        whole = _international(calling_code(country) + area_code + digits) if area_code is not None else None
        return (whole,) if whole is not None and is_valid(whole) else ()
    own = f"+{calling_code(country)}"
    meant = [number for number in candidates(text, country) if is_valid(number) or number.startswith(own)]
    if country in _OPEN and (plus := _international(digits)) in meant and is_valid(plus):
        return _distinct(plus, *meant)
    return tuple(meant)


def dialled_texts(text: str, country: str, area_code: str | None) -> tuple[str, ...]:
    """What a user's dialled number is compared with: `dialled`, and for all but local numbers `texts`."""
    meant = dialled(text, country, area_code)
    return meant if is_local(text, country) else _distinct(*meant, *texts(text, country))


@lru_cache(maxsize=4096)
def is_local(text: str, country: str) -> bool:
    """Whether who dials `text` in `country` can only mean a number of their own area.

    So it is when the text begins with no prefix and is too short for a national number, as far as phonenumbers knows
    these lengths; or if it is as long as one of some place, but shorter than others, and the country's numbers are dialled
    with a prefix. In Germany that is everything without a leading zero, up to the length of a local number. Short numbers
    (115) are not looked at here: who dials one means it.
    """
    digits = _bare(text, country)
    fixed = _fixed_line(country)
    if digits is None or fixed is None:
        return False
    whole = parsed(f"+{calling_code(country)}{digits}")
    if whole is not None and phonenumbers.is_valid_number(whole):
        needs_prefix = _has_prefix(_national(whole), country)
        if not needs_prefix or phonenumbers.number_type(whole) not in _OF_PLACES:
            return False
    if len(digits) in fixed.possible_length_local_only:
        return True
    may_be_longer = len(digits) <= min(_LONGEST_LOCAL, max(fixed.possible_length) - 1)
    return bool(national_prefix(country)) and may_be_longer and whole is not None and phonenumbers.is_possible_number(whole)


def is_area_code(text: str, country: str) -> bool:
    """Whether numbers of places in `country` begin with these digits, and can be dialled without them there."""
    fixed = _fixed_line(country)
    if fixed is None or not has_area_codes(country) or _has_prefix(text, country):
        return False
    lengths = (length - len(text) for length in fixed.possible_length)
    beginning = f"+{calling_code(country)}{text}"
    tried = (parsed(beginning + digit * length) for length in lengths if length > 1 for digit in "23456789")
    return any(
        phonenumbers.is_valid_number_for_region(found, country) and phonenumbers.number_type(found) in _OF_PLACES
        for found in tried
        if found is not None
    )


def has_area_codes(country: str) -> bool:
    """Whether somebody in `country` may leave out a part of a number that a call from elsewhere needs."""
    fixed = _fixed_line(country)
    return fixed is not None and bool(fixed.possible_length_local_only or national_prefix(country))


def _bare(text: str, country: str) -> str | None:
    """The digits of a text that has nothing but digits: no +, no context, no prefix."""
    number = spelled(text)
    if number is None or number.startswith("+") or _context(text) is not None or is_context_malformed(text):
        return None
    digits = _NO_DIGIT.sub("", number)
    return None if _has_prefix(digits, country) else digits


def _fixed_line(country: str) -> phonenumbers.PhoneNumberDesc | None:
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    return metadata.fixed_line if metadata else None


def national_prefix(country: str) -> str:
    """What is dialled in this country before a number of another area: 0 in Germany, empty in Spain."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    return (metadata.national_prefix if metadata else None) or ""


def _has_prefix(digits: str, country: str) -> bool:
    """Whether they begin as what is dialled to another area or country. Nowhere a local number begins with a zero."""
    prefix = national_prefix(country)
    return digits.startswith("0") or bool(prefix and digits.startswith(prefix))


# --- phonenumbers -----------------------------------------------------------------------------------------


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
    if _CONTEXT.search(text):
        return candidates(text, country)  # digits that are relative to something are no whole number
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
    return _formatted(found)


def _international(digits: str) -> str | None:
    """The number that begins with a calling code, None if they are none."""
    found = parsed(f"+{digits}") if not digits.startswith("0") else None
    if found is None or not phonenumbers.is_possible_number(found):
        return None
    return _formatted(found)


def _formatted(found: phonenumbers.PhoneNumber) -> str | None:
    e164 = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
    return e164 if is_e164(e164) else None


def _distinct(*numbers: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(number for number in numbers if number))


def _valid_first(*numbers: str | None) -> tuple[str, ...]:
    return tuple(sorted(_distinct(*numbers), key=lambda number: not is_valid(number)))


# --- how numbers are written ------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def written(e164: str, form: NumberFormat, country: str) -> str:
    """A number as a carrier of this country wants it written. What is no E.164 number (a short code) stays as it is.

    `national` is phonenumbers' NATIONAL format for numbers of the country, without its signs. In North America it is 1
    and ten digits, as phonenumbers writes for calls between its countries (format_out_of_country_calling_number).
    """
    if not is_e164(e164) or form is NumberFormat.E164:
        return e164
    if form is NumberFormat.DIGITS:
        return e164[1:]
    code = calling_code(country)
    if form is NumberFormat.NATIONAL and e164.startswith(f"+{code}"):
        found = parsed(e164)
        if code == _NORTH_AMERICA or found is None:
            return e164[1:]
        return _national(found)
    return _international_prefix(country) + e164[1:]


_NORTH_AMERICA = "1"
"""The calling code of the North American Numbering Plan, which is also its national prefix."""


def _national(found: phonenumbers.PhoneNumber) -> str:
    return _NO_DIGIT.sub("", phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.NATIONAL))


def _international_prefix(country: str) -> str:
    """What is dialled in this country before a calling code. Where callers choose a carrier with it, there are several."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    prefixes = (metadata.preferred_international_prefix, metadata.international_prefix) if metadata else ()
    return next((prefix for prefix in prefixes if prefix and prefix.isdigit()), "00")


def calling_code(country: str) -> str:
    """49 for DE."""
    return str(phonenumbers.country_code_for_region(country))


def is_country(country: str) -> bool:
    """Whether numbers can be read in this country (ISO 3166 code)."""
    return country in phonenumbers.SUPPORTED_REGIONS
