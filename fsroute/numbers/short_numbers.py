"""Emergency numbers, and other short numbers that must get through, by country: data with sources. Pure.

The one answer to "is this an emergency number?", for every caller. The data is short_numbers.toml, whose head says what
the two lists mean for a call. A country that is not in it has the emergency numbers that phonenumbers knows.
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
"""What can be a short number: the European 116xxx have the most digits, six."""

_NO_DIGITS = re.compile("[^0-9]")

_HARMONISED = "harmonised"


class Kind(StrEnum):
    """What a short number means for a call."""

    EMERGENCY = "emergency"
    """Never barred, never hidden, shows the line's number, takes every trunk."""
    PROTECTED = "protected"
    """Never barred, takes every trunk."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where it is written. `date` is that of the text that was read, `page` where that was."""

    id: str
    name: str
    page: str
    date: date
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class ShortNumber:
    """A short number of a country, as it is dialled."""

    digits: str
    country: str
    kind: Kind
    what: str
    """Whom it reaches, in a few words."""
    shows_caller: bool
    """Whether the caller's number is shown even if the caller hides it."""
    source: Source | None
    """None: the country is not in our data, phonenumbers says so."""

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
    """What the data says of a country: its short numbers by their digits, and what was looked for and not found."""

    numbers: Mapping[str, ShortNumber]
    not_found: str


@lru_cache(maxsize=4096)
def find(dialled: str, country: str) -> ShortNumber | None:
    """The short number that `dialled` reaches in `country` (ISO 3166), None if it is none that must get through.

    It is also found behind a `+`, and behind the country's calling code, where some phone systems put it.
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
    """Whether it is an emergency number in any country of our data: for a call of which the country is not known."""
    spelled = phone_number.spelled(dialled) or ""
    digits = _NO_DIGITS.sub("", spelled)
    return digits in _everywhere() or (spelled.startswith("+") and f"+{digits}" in _everywhere())


@lru_cache(maxsize=1)
def _everywhere() -> frozenset[str]:
    """All emergency numbers, alone and behind their calling code: for many calls at once when nothing can be
    decided, it must not take a reading in forty countries."""
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
    """What is known of a country, for people: a line for each number, and an expression that matches its emergency numbers.

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
    """The digits behind the calling code of the country, if it was dialled."""
    code = phone_number.calling_code(country)
    if spelled.startswith("+"):
        readings = [digits]
    else:
        readings = [digits[end:] for end in _PREFIX_ENDS if _is_short_behind(digits[end:], code, country)]
        if readings and not _is_international(digits, country):
            readings = []
    # Most are no possible numbers behind a calling code; the few that are, carriers also send without any prefix.
    readings += [e164[1:] for e164 in phone_number.candidates(spelled, country)]
    yield from (reading.removeprefix(code) for reading in readings if reading.startswith(code))


_PREFIX_ENDS = range(2, 6)
"""How long international prefixes are: 00, 011, 0011, 00700 (with the choice of a carrier)."""


def _is_short_behind(digits: str, code: str, country: str) -> bool:
    return digits.startswith(code) and known(digits.removeprefix(code), country) is not None


def _is_international(digits: str, country: str) -> bool:
    """Whether phonenumbers finds the country's international prefix in front."""
    try:
        found = phonenumbers.parse(digits, country, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return False
    return found.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD


def known(digits: str, country: str) -> ShortNumber | None:
    """The short number that is dialled with exactly these digits in `country`."""
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

    Raises DataError, which names the file, if it has an unknown key or something does not fit.
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
        # What a country says of a number of all comes first: 116000 is an emergency number in France.
        numbers = (_of(country, common) if country in members else {}) | own
        found[country] = Listed(MappingProxyType(numbers), not_found)
    return MappingProxyType(found)


def _of(country: str, common: Mapping[str, ShortNumber]) -> dict[str, ShortNumber]:
    return {
        digits: ShortNumber(digits, country, short.kind, short.what, short.shows_caller, short.source)
        for digits, short in common.items()
    }


def _numbers(table: Table, prefix: str, country: str) -> dict[str, ShortNumber]:
    """The two lists of a country's table."""
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
