"""A country's rules for the numbers that calls may show, and the class of a number.

Two countries matter for one call. The *account's* country says what the call may show. The *number's* own country says
which class the number has.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import phonenumbers
from phonenumbers import PhoneNumberType

from fsroute.numbers import short_numbers
from fsroute.numbers.law import SHORT_CODE, CountryRules, NumberClass
from fsroute.numbers.packs import pack_of, packs
from fsroute.numbers.phone_number import is_country, is_e164, parsed
from fsroute.numbers.short_numbers import ShortNumber

_TYPES = {
    PhoneNumberType.FIXED_LINE: NumberClass.GEOGRAPHIC,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberClass.GEOGRAPHIC,
    PhoneNumberType.MOBILE: NumberClass.MOBILE,
    PhoneNumberType.TOLL_FREE: NumberClass.FREEPHONE,
    PhoneNumberType.PREMIUM_RATE: NumberClass.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberClass.SHARED_COST,
    PhoneNumberType.VOIP: NumberClass.VOIP,
    PhoneNumberType.UAN: NumberClass.VOIP,
    PhoneNumberType.PERSONAL_NUMBER: NumberClass.PERSONAL,
}
"""The class for each type of phonenumbers. Pagers, voicemail and numbers of unknown type are OTHER."""


def rules_for(country: str) -> CountryRules:
    """The rules for accounts of a country (ISO 3166 code)."""
    return pack_of(country).rules


@lru_cache(maxsize=4096)
def classify(number: str, country: str) -> NumberClass:
    """The class of a number: an E.164 number, or a short code as callers in `country` dial it. Any other text is OTHER.

    The tables of the number's own country come first, then phonenumbers. This function also finds a short code after a
    calling code (+49110), because carriers and forgers write it so. It finds emergency numbers and the short codes of the
    country's file also after a `+` alone (+110), if that is no number of another country.
    """
    if not number.startswith("+"):
        return _short_code(number, country) or NumberClass.OTHER
    if not is_e164(number):
        return NumberClass.OTHER
    return _listed(number, _e164_classes()) or _known(number, country)


def is_abroad(number: str, country: str) -> bool:
    """Whether an E.164 number belongs to another country than `country`. False for any other text: a call to it stays
    within.

    The calling code decides. Where several countries share one (+1), the whole number decides. A number there that belongs
    to no country counts as a number of `country`.
    """
    if not is_e164(number):
        return False
    code = f"+{phonenumbers.country_code_for_region(country)}"
    if not number.startswith(code):
        return True
    found = parsed(number)
    if found is None or code not in packs()[""].shared_codes:
        return False
    # Toll-free numbers are valid in every country of the North American plan, and phonenumbers names only one of them.
    if any(phonenumbers.is_valid_number_for_region(found, region) for region in (country, *pack_of(country).home)):
        return False
    return phonenumbers.region_code_for_number(found) is not None


def _short_code(text: str, country: str) -> NumberClass | None:
    if not SHORT_CODE.match(text):
        return None
    certain = _certain_short_code(text, country)
    if certain is not None or not is_country(country):
        return certain
    found = parsed(text, country)
    known = found is not None and phonenumbers.is_valid_short_number_for_region(found, country)
    return NumberClass.SHORT_CODE if known else None


def _certain_short_code(text: str, country: str) -> NumberClass | None:
    """The class of a short code that must get through or that the country's file lists, None for any other. Networks have
    many short codes of their own, which only phonenumbers lists."""
    short = short_numbers.known(text, country)
    if short is not None:
        return _class_of(short)
    return _listed(text, pack_of(country).short_codes)


def _class_of(short: ShortNumber) -> NumberClass:
    return NumberClass.EMERGENCY if short.is_emergency else NumberClass.SERVICE


def _listed(number: str, classes: Mapping[str, NumberClass]) -> NumberClass | None:
    """The class of the longest entry that is equal to `number`, or with which `number` begins."""
    if number in classes:
        return classes[number]
    beginnings = (number[:end] + "*" for end in range(len(number), 0, -1))
    return next((classes[beginning] for beginning in beginnings if beginning in classes), None)


def _known(number: str, country: str) -> NumberClass:
    """The class of an E.164 number, from phonenumbers."""
    found = parsed(number)
    if found is not None:
        kind = phonenumbers.number_type(found)
        if kind != PhoneNumberType.UNKNOWN:
            return _TYPES.get(kind, NumberClass.OTHER)
        region = phonenumbers.region_code_for_country_code(found.country_code or 0)
        code = _short_code(phonenumbers.national_significant_number(found), region)
        if code is not None:
            return code
    return _certain_short_code(number.removeprefix("+"), country) or NumberClass.OTHER


@lru_cache(maxsize=1)
def _e164_classes() -> Mapping[str, NumberClass]:
    """The class tables of all countries in one. Short codes have their calling code there. A number that must get through
    takes precedence over the other entries."""
    classes: dict[str, NumberClass] = {}
    for country, pack in packs().items():
        code = phonenumbers.country_code_for_region(country)
        classes |= {f"{prefix}*": number_class for prefix, number_class in pack.prefixes.items()}
        classes |= {f"+{code}{short}": number_class for short, number_class in pack.short_codes.items()}
    for country, listed in short_numbers.countries().items():
        code = phonenumbers.country_code_for_region(country)
        classes |= {f"+{code}{digits}": _class_of(short) for digits, short in listed.numbers.items()}
    return MappingProxyType(classes)
