"""Emergency numbers, and other short numbers that must get through, by country: data with sources. Pure.

All code asks this module whether a number is an emergency number. The data is in short_numbers.toml; the comment at its top
says what the two lists mean for a call. For a country without a table there, phonenumbers' emergency numbers apply.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from types import MappingProxyType

import phonenumbers
from phonenumbers import CountryCodeSource

from fsroute.errors import DataError
from fsroute.numbers import phone_number
from fsroute.numbers.datafile import Confidence, Table

_DIGITS = re.compile(r"[0-9]{2,6}\Z")
"""Digits that can be a short number. The longest ones, the European 116xxx, have six digits."""

_NO_DIGITS = re.compile("[^0-9]")

_HARMONISED = "harmonised"


class Kind(StrEnum):
    """The two lists of short numbers, by what they mean for a call."""

    EMERGENCY = "emergency"
    """A call to it is never barred, shows the line's number even if the caller hides it, and may use every trunk."""
    PROTECTED = "protected"
    """A call to it is never barred, and may use every trunk."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source of short numbers. `date` is the date of the text that was read, `page` is where it was read."""

    id: str
    name: str
    page: str
    date: date
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class ShortNumber:
    """A short number of a country, as callers dial it."""

    digits: str
    country: str
    kind: Kind
    what: str
    """Whom it reaches, in a few words."""
    shows_caller: bool
    """Whether a call to it shows the caller's number even if the caller hides it."""
    source: Source | None
    """None: short_numbers.toml has no table for the country, and phonenumbers lists the number."""

    @property
    def is_emergency(self) -> bool:
        return self.kind is Kind.EMERGENCY

    @property
    def cited(self) -> str:
        """Whom it reaches, and the id of the source."""
        return f"{self.what} ({self.source.id if self.source else 'libphonenumber'})"

    def __str__(self) -> str:
        if self.source is None:
            return f"{self.what} (libphonenumber; no source for {self.country} is in short_numbers.toml)"
        return f"{self.what} ({self.source.id}: {self.source.name}, {self.source.date})"


@dataclass(frozen=True, slots=True)
class Listed:
    """The data of a country: its short numbers by their digits, and what was looked for and not found."""

    numbers: Mapping[str, ShortNumber]
    not_found: str


@lru_cache(maxsize=4096)
def find(dialled: str, country: str) -> ShortNumber | None:
    """The emergency or protected number that `dialled` reaches in `country` (ISO 3166), None if it reaches no such number.

    This function also finds the number after a `+` and after the country's calling code, because some phone systems write
    it so.
    """
    spelled = phone_number.spelled(dialled)
    if spelled is None:
        return None
    digits = _NO_DIGITS.sub("", spelled)
    readings = (digits, *_behind_calling_code(spelled, digits, country))
    return next((found for text in readings if (found := known(text, country)) is not None), None)


def is_emergency(dialled: str, country: str) -> bool:
    """Whether dialling `dialled` in `country` reaches an emergency service (110 and 112 in Germany)."""
    found = find(dialled, country)
    return found is not None and found.is_emergency


def is_emergency_somewhere(dialled: str) -> bool:
    """Whether `dialled` is an emergency number in any country of the data. For a call whose country is not known."""
    spelled = phone_number.spelled(dialled) or ""
    digits = _NO_DIGITS.sub("", spelled)
    return digits in _everywhere() or (spelled.startswith("+") and f"+{digits}" in _everywhere())


@lru_cache(maxsize=1)
def _everywhere() -> frozenset[str]:
    """All emergency numbers, alone and after their calling code. When fsroute can decide nothing, many calls need this test
    at once, so it must not read a number in forty countries each time."""
    found = [short for listed in _data().values() for short in listed.numbers.values() if short.is_emergency]
    codes = {short.country: phone_number.calling_code(short.country) for short in found}
    return frozenset(
        f"{prefix}{short.digits}"
        for short in found
        for prefix in ("", f"+{codes[short.country]}", f"00{codes[short.country]}")
    )


def countries() -> Mapping[str, Listed]:
    """The countries of the data file. The first call reads the file."""
    return _data()


def in_words(country: str) -> list[str]:
    """The data of a country as text: a line for each number, and a regular expression that matches its emergency numbers.

    Raises DataError for a country without data.
    """
    listed = _data().get(country)
    if listed is None:
        raise DataError(
            f"{country} is not in short_numbers.toml, so libphonenumber's list counts; there are {', '.join(_data())}"
        )
    lines = [f"{digits:6} {short.kind:9} {short}" for digits, short in sorted(listed.numbers.items())]
    missing = [f"no source was found for: {listed.not_found}"] if listed.not_found else []
    pattern = "|".join(sorted(digits for digits, short in listed.numbers.items() if short.is_emergency))
    return [*lines, *missing, f"^({pattern})$"]


def _behind_calling_code(spelled: str, digits: str, country: str) -> Iterator[str]:
    """The digits after the calling code of the country, if `spelled` has it."""
    code = phone_number.calling_code(country)
    if spelled.startswith("+"):
        readings = [digits]
    else:
        readings = [digits[end:] for end in _PREFIX_ENDS if _is_short_behind(digits[end:], code, country)]
        if readings and not _is_international(digits, country):
            readings = []
    # With a calling code most short numbers are no possible numbers. Carriers also send the few possible ones without a
    # prefix.
    readings += [e164[1:] for e164 in phone_number.candidates(spelled, country)]
    yield from (reading.removeprefix(code) for reading in readings if reading.startswith(code))


_PREFIX_ENDS = range(2, 6)
"""The lengths of international prefixes: 00, 011, 0011, 00700 (which also chooses a carrier)."""


def _is_short_behind(digits: str, code: str, country: str) -> bool:
    return digits.startswith(code) and known(digits.removeprefix(code), country) is not None


def _is_international(digits: str, country: str) -> bool:
    """Whether the digits begin with the country's international prefix, as phonenumbers has it."""
    try:
        found = phonenumbers.parse(digits, country, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return False
    return found.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD


def known(digits: str, country: str) -> ShortNumber | None:
    """The emergency or protected number with exactly these digits in `country`."""
    if not _DIGITS.match(digits):
        return None
    listed = _data().get(country)
    if listed is not None:
        return listed.numbers.get(digits)
    if phone_number.is_country(country) and phonenumbers.is_emergency_number(digits, country):
        return ShortNumber(digits, country, Kind.EMERGENCY, "emergency services", shows_caller=True, source=None)
    return None


# --- the data file ----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Listed]:
    """The data file of this package."""
    file = resources.files("fsroute").joinpath("short_numbers.toml")
    return read(file.read_text("utf-8"), file.name)


def read(text: str, name: str) -> Mapping[str, Listed]:
    """The data file `text`, by country.

    Raises DataError, which names the file, if a key is unknown or an entry is wrong.
    """
    try:
        return _read(Table(tomllib.loads(text)))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _read(file: Table) -> Mapping[str, Listed]:
    shared = file.table(_HARMONISED)
    members = shared.texts("countries")
    listed = list(file)
    if unknown := [country for country in (*members, *listed) if not phone_number.is_country(country)]:
        raise ValueError(f"country {unknown[0]!r} has no numbering plan")
    if missing := [country for country in members if country not in listed]:
        raise ValueError(f"{_HARMONISED}.countries names {missing[0]!r}, which has no table")
    common = _numbers(shared, "EU", "")
    shared.end()
    found: dict[str, Listed] = {}
    for country in listed:
        table = file.table(country)
        not_found = table.take("not_found", str) if "not_found" in table else ""
        own = _numbers(table, country, country)
        table.end()
        # A country's own entry replaces the harmonised one. Example: 116000 is an emergency number in France.
        numbers = (_of(country, common) if country in members else {}) | own
        found[country] = Listed(MappingProxyType(numbers), not_found)
    return MappingProxyType(found)


def _of(country: str, common: Mapping[str, ShortNumber]) -> dict[str, ShortNumber]:
    return {
        digits: ShortNumber(digits, country, short.kind, short.what, short.shows_caller, short.source)
        for digits, short in common.items()
    }


def _numbers(table: Table, prefix: str, country: str) -> dict[str, ShortNumber]:
    """The short numbers of a country's table, from both lists."""
    sources = _sources(table.table("sources"), prefix)
    used: set[str] = set()
    found: dict[str, ShortNumber] = {}
    for kind in Kind:
        for group in table.tables(kind):
            key = group.take("source", str)
            if key not in sources:
                raise ValueError(f"{prefix}: {kind} cites {key!r}, which is no source")
            used.add(key)
            shows_caller = kind is Kind.EMERGENCY or group.take("shows_caller", bool)
            for digits in group:
                if not _DIGITS.match(digits):
                    raise ValueError(f"{prefix}: {digits!r} is no short number")
                if digits in found:
                    raise ValueError(f"{prefix}: {digits!r} is there twice")
                what = group.take(digits, str)
                found[digits] = ShortNumber(digits, country, kind, what, shows_caller, sources[key])
    if unused := set(sources) - used:
        raise ValueError(f"{prefix}: no list cites the sources {sorted(unused)}")
    return found


def _sources(table: Table, prefix: str) -> Mapping[str, Source]:
    found: dict[str, Source] = {}
    for key in table:
        source = table.table(key)
        found[key] = Source(
            f"{prefix}-{key}",
            source.take("name", str),
            source.take("page", str),
            source.take("read", date),
            Confidence(source.take("confidence", str)),
        )
        source.end()
    return found
