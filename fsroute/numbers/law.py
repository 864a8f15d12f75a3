"""Types for a country's rules about numbers, from its law and its carriers. countries/*.toml has the values (packs.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from fsroute.numbers.datafile import Confidence

SHORT_CODE = re.compile(r"[0-9]{2,6}\Z")
"""Digits that can be a short code. The longest ones, those of mobile networks and the European 116xxx, have six digits."""


class NumberClass(StrEnum):
    """The class of a number. The data files use the same names for their tables."""

    EMERGENCY = "emergency"
    SHORT_CODE = "short_code"
    DIRECTORY = "directory"
    PREMIUM = "premium"
    MASS_TRAFFIC = "mass_traffic"
    SERVICE = "service"
    """A short code of a social service (116117). Every number that must get through and is no emergency number has this
    class."""
    FREEPHONE = "freephone"
    SHARED_COST = "shared_cost"
    GEOGRAPHIC = "geographic"
    """A geographic number; also a number of North America, whose plan does not separate mobile numbers."""
    MOBILE = "mobile"
    PERSONAL = "personal"
    VOIP = "voip"
    """A subscriber's number without a place: VoIP, the German 032, company-wide numbers (Swiss 058, British 03)."""
    SATELLITE = "satellite"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class LegalRule:
    """A legal rule in plain words. `date` is the date of the text that was read at `source`."""

    id: str
    text: str
    source: str
    date: date
    confidence: Confidence

    def __str__(self) -> str:
        return f"{self.id}: {self.text} ({self.source}, {self.date})"


@dataclass(frozen=True, slots=True)
class CountryRules:
    """The rules for the accounts of a country; the country "" stands for all countries without a file.

    A field that is None: the country has no such rule. The ids in brackets are examples of the legal rules behind a field.
    """

    country: str
    rules: Mapping[str, LegalRule]
    """Every rule by its id, also rules that no field uses (DE-1: the network number)."""
    never_presented: Mapping[NumberClass, LegalRule]
    """Classes that are never a caller's number: neither as network nor as presented number, nor in a diverted call (DE-5,
    US-4)."""
    presentable: Mapping[NumberClass, LegalRule]
    """Classes that calls may present (DE-18, US-9)."""
    needs_switch: Mapping[NumberClass, LegalRule]
    """Classes that calls may present if the account allows it (DE-18a: mobile)."""
    otherwise: LegalRule
    """The reason why calls do not present a class that is in none of these three tables (DE-18)."""
    own_country_only: LegalRule | None
    """A presented number must be a number of this country (DE-3)."""
    hidden_from_foreign_trunk: LegalRule | None
    """If a number of this country arrives from abroad, phones show an anonymous caller, unless the caller is roaming
    (DE-7)."""
    refused_inbound: LegalRule | None
    """fsroute ends an incoming call that has a number of the classes `never_presented` as its caller's (DE-6, US-4)."""
    abroad: LegalRule | None
    """Calls abroad show the network number, unless the account says otherwise (DE-19)."""
    diversion: LegalRule | None
    """A diverted call may show its caller's own number (DE-4, US-6)."""
    emergency: LegalRule
    """Emergency calls show the number of their line and are never blocked, rewritten or hidden (DE-13, US-8)."""
    never_withheld_to: Mapping[str, LegalRule]
    """Short codes towards which the caller's number is not withheld (DE-14, US-8)."""
    attestation: bool
    """Whether a decision says which attestation a carrier can give: A, B or C (US-3)."""

    def refuses(self, number_class: NumberClass, *, switched_on: bool) -> LegalRule | None:
        """The rule that forbids to present a number of this class, None if calls may present it.

        `switched_on`: the account allows the classes of `needs_switch`.
        """
        if (never := self.never_presented.get(number_class)) is not None:
            return never
        if number_class in self.presentable or (switched_on and number_class in self.needs_switch):
            return None
        return self.needs_switch.get(number_class, self.otherwise)


@dataclass(frozen=True, slots=True)
class Pack:
    """A data file: the rules for the accounts of a country, and the classes of the numbers of a country.

    `prefixes` are the beginnings of E.164 numbers. Callers dial `short_codes` without a prefix; a `*` stands for more
    digits. Calls to the regions in `home` are calls within the country. Several countries share each calling code in
    `shared_codes`: there the number says which country it belongs to.
    """

    rules: CountryRules
    prefixes: Mapping[str, NumberClass]
    short_codes: Mapping[str, NumberClass]
    home: tuple[str, ...]
    shared_codes: tuple[str, ...]
