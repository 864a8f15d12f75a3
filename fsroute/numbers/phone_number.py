"""Telephone numbers: which E.164 numbers a dialled or received text can mean.

phonenumbers (the Python port of Google's libphonenumber) has the numbering plans. It is made for people who type numbers,
so it accepts letters and extensions and corrects mistakes. A number from the network is not typed, so this module refuses
such texts before phonenumbers gets them.
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
"""The characters of a number. 40 characters are enough for every spelling of 15 digits with an international prefix.
phonenumbers would also accept letters (vanity numbers), extensions and full-width digits."""

_NO_DIGIT = re.compile("[^0-9]")


def is_e164(text: str) -> bool:
    return E164.match(text) is not None


def spelled(text: str) -> str | None:
    """The number in `text` without URI scheme, host and parameters, or None if it is not spelled like a number."""
    if is_e164(text):
        return text  # the usual case
    text = _SCHEME.sub("", text.strip(), count=1)
    text = re.split("[@;]", text, maxsplit=1)[0].strip()
    text = text.replace("(+", "+", 1) if text.startswith("(+") else text
    return text if _SPELLING.match(text) else None


@lru_cache(maxsize=4096)
def candidates(text: str, country: str, form: NumberFormat = NumberFormat.E164) -> tuple[str, ...]:
    """The E.164 numbers that `text` can mean in `country` (ISO 3166), the likeliest first. The sender writes numbers in
    `form`. Empty if the text is no number.

    A text without `+` and without a prefix can mean several numbers. Example: a carrier writes +492214710100 as
    `492214710100`; in Germany the same digits are also a number of the area 04922. A carrier that writes `digits` means the
    first, one that writes `national` the second. For any other sender the code that calls this function must decide, because
    it has the hosted numbers. A number that phonenumbers calls invalid never comes before a valid one.
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
    """The numbers that a text without + can mean in a country, the likelier one first. The sender writes numbers in
    `form`."""
    digits, prefix = _NO_DIGIT.sub("", number), _international_prefix(country)
    if digits.startswith(prefix):
        # Where callers choose a carrier by the prefix (BR, KR, ...), phonenumbers has only the prefixes of the carriers.
        return _e164(number, country), _international(digits.removeprefix(prefix))
    plus = _international(digits)
    if form is NumberFormat.DIGITS and not digits.startswith("0"):
        return plus, None  # no E.164 number begins with a zero: if the digits do, they are a national number
    national = _e164(number, country)
    # If digits from a carrier begin with the country's calling code, they are nearly always an international number. Only
    # rarely are they a national number that begins with the same digits. So the international number comes first.
    if form is not NumberFormat.NATIONAL and digits.startswith(calling_code(country)):
        return plus, national
    return national, plus


@lru_cache(maxsize=4096)
def is_valid(e164: str) -> bool:
    """Whether the number is in a range of its country's numbering plan, as phonenumbers has it."""
    found = parsed(e164)
    return found is not None and phonenumbers.is_valid_number(found)


# --- what the number is relative to (RFC 3966) ------------------------------------------------------------

_CONTEXT = re.compile(r";phone-context=([^;@>?]*)", re.IGNORECASE)
_CONTEXT_NUMBER = re.compile(r"\+[1-9][0-9]{0,14}\Z")
_CONTEXT_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.?\Z")
"""A domain name, which may be a single word (`private`), or an IPv4 address: RFC 3966 does not allow one, but some gateways
write it."""

_SEPARATOR = re.compile(r"[-.()]")


def is_context_malformed(text: str) -> bool:
    """Whether `text` names a phone-context that is neither the beginning of a number nor a domain name (RFC 3966, 5.1.5).

    Then nobody can say which number the digits mean.
    """
    if ";" not in text:
        return False
    return any(not _is_prefix(context) and not _is_domain(context) for context in _CONTEXT.findall(text))


def _context(text: str) -> str | None:
    """The beginning of a number in the phone-context of `text` (`+49221`): the digits are relative to it. None if there is
    none.

    A domain name in a phone-context says whose numbering plan the digits belong to. fsroute does not need it: the trunk
    says so.
    """
    found = _CONTEXT.findall(text) if ";" in text else []
    return next((_SEPARATOR.sub("", context) for context in found if _is_prefix(context)), None)


def _is_prefix(context: str) -> bool:
    return _CONTEXT_NUMBER.match(_SEPARATOR.sub("", context)) is not None


def _is_domain(context: str) -> bool:
    return _CONTEXT_DOMAIN.match(context) is not None and not context.isdigit()


def _in_context(number: str, context: str, country: str) -> tuple[str | None, str | None]:
    """The numbers that a text without + can mean in a phone-context, the likelier one first.

    A context that is a calling code (`+49`) is a country: the digits are what a caller dials in that country. A longer
    context (`+49221`) is an area: the digits are what a caller dials in that area. They begin with the national prefix if
    they are a number of another area.
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
"""Digits of the longest number that callers dial without area code. German numbers have at most 11 digits after the
calling code (BNetzA, Nummernplan Ortsnetzrufnummern), of which the area code has at least two. Brazilian mobiles have nine
digits. phonenumbers calls longer numbers possible in Germany and Austria: these are company numbers with an extension."""

_OPEN = frozenset({"AT", "DE"})
"""Countries in which phonenumbers calls digits of nearly any length a valid number. So even if the digits with the country's
calling code are valid, the user may have meant another number."""

_OF_PLACES = frozenset({PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


@lru_cache(maxsize=4096)
def dialled(text: str, country: str, area_code: str | None = None) -> tuple[str, ...]:
    """The E.164 numbers that a user in `country` who dials `text` can mean, the likeliest first.

    A local number (`is_local`) is a number of the area code. It means nothing if there is no area code, or if it is not
    valid in that area: read as a national number it would reach another town. Digits without any prefix are a number of
    another country only if that number is valid.
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
    """The texts with which fsroute looks up the number that a user dialled: `dialled`, and for all but local numbers also
    `texts`."""
    meant = dialled(text, country, area_code)
    return meant if is_local(text, country) else _distinct(*meant, *texts(text, country))


@lru_cache(maxsize=4096)
def is_local(text: str, country: str) -> bool:
    """Whether a user who dials `text` in `country` can only mean a number of the user's own area.

    This is so in two cases. In the first the text begins with no prefix and is too short for a national number, as far as
    phonenumbers has these lengths. In the second it is as long as the numbers of some places, but shorter than those of
    others, and callers in the country dial a prefix before national numbers. In Germany every text without a leading zero is
    local, up to the length of a local number. Test for short numbers (115) before: this function does not.
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
    """Whether geographic numbers in `country` begin with these digits, and callers in that area may leave them out."""
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
    """Whether callers in `country` may leave out a part of a number, for example the area code."""
    fixed = _fixed_line(country)
    return fixed is not None and bool(fixed.possible_length_local_only or national_prefix(country))


def _bare(text: str, country: str) -> str | None:
    """The digits of a number without +, context and prefix. None for any other text."""
    number = spelled(text)
    if number is None or number.startswith("+") or _context(text) is not None or is_context_malformed(text):
        return None
    digits = _NO_DIGIT.sub("", number)
    return None if _has_prefix(digits, country) else digits


def _fixed_line(country: str) -> phonenumbers.PhoneNumberDesc | None:
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    return metadata.fixed_line if metadata else None


def national_prefix(country: str) -> str:
    """The digits that callers in this country dial before a number of another area: 0 in Germany, empty in Spain."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    return (metadata.national_prefix if metadata else None) or ""


def _has_prefix(digits: str, country: str) -> bool:
    """Whether the digits begin with a prefix for another area or country. A local number begins with a zero in no
    country."""
    prefix = national_prefix(country)
    return digits.startswith("0") or bool(prefix and digits.startswith(prefix))


# --- phonenumbers -----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def texts(text: str, country: str) -> tuple[str, ...]:
    """The texts with which fsroute looks up a call's number in the tables: `candidates`, then the digits themselves as an
    E.164 text, even if phonenumbers calls that impossible.

    The lengths that phonenumbers has for a country can be out of date. Example: carriers still send +521... for Mexican
    mobiles, and eight digits for Ivory Coast. If the tables have a row for such a number, the number exists.
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
    """The E.164 text of a number that was sent with its calling code, after + or the country's international prefix.

    phonenumbers may call the number impossible. None for a number without calling code.
    """
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
    """The number as phonenumbers parses it, None if it cannot. It is kept, because several functions need it for one
    number, and parsing takes longest."""
    try:
        return _split(text) or phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None


def _split(text: str) -> phonenumbers.PhoneNumber | None:
    """The result of phonenumbers.parse for an E.164 number that only has to be split, in a fifth of the time. Nearly every
    caller's number is of this kind. None if the national part begins with a zero, or with digits that can be a national
    prefix."""
    if not is_e164(text):
        return None
    for end in _CALLING_CODE_ENDS:
        code, national = int(text[1:end]), text[end:]
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            plain = _plain_national_number(code)
            return phonenumbers.PhoneNumber(code, int(national)) if plain.match(national) else None
    return None


_CALLING_CODE_ENDS = (2, 3, 4)
"""The index after a calling code: it has one to three digits after the +. No calling code begins with another one."""


@lru_cache(maxsize=512)
def _plain_national_number(code: int) -> re.Pattern[str]:
    """Matches the national numbers that begin with no prefix, so that phonenumbers would remove nothing."""
    region = phonenumbers.region_code_for_country_code(code)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    prefix = metadata.national_prefix_for_parsing if metadata else None
    return re.compile(f"(?!0{f'|{prefix}' if prefix else ''})[0-9]{{2}}")


def _e164(number: str, country: str) -> str | None:
    # A number with a calling code means the same in every country. Only if the calling code does not exist, phonenumbers
    # reads the digits without +.
    found = (parsed(number) if number.startswith("+") else None) or parsed(number, country)
    if found is None or not phonenumbers.is_possible_number(found):
        return None
    return _formatted(found)


def _international(digits: str) -> str | None:
    """The E.164 number that these digits are, read with their calling code. None if they are no such number."""
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
    """A number in the form that a carrier of this country expects. A text that is no E.164 number (a short code) is not
    changed.

    For numbers of the country `national` is phonenumbers' format NATIONAL, without spaces and signs. In North America it is
    1 and ten digits, as phonenumbers writes it for calls between the countries there (format_out_of_country_calling_number).
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
    """The digits that callers in this country dial before a calling code. Some countries have several, one for each
    carrier: then the preferred one, or 00 if there is none."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    prefixes = (metadata.preferred_international_prefix, metadata.international_prefix) if metadata else ()
    return next((prefix for prefix in prefixes if prefix and prefix.isdigit()), "00")


def calling_code(country: str) -> str:
    """The calling code of a country: 49 for DE."""
    return str(phonenumbers.country_code_for_region(country))


def is_country(country: str) -> bool:
    """Whether phonenumbers has the numbering plan of this country (ISO 3166 code)."""
    return country in phonenumbers.SUPPORTED_REGIONS
