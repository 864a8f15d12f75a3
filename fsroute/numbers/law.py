"""The types of what a country's law and habit say about numbers. Their values are in countries/*.toml (packs.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from fsroute.numbers.datafile import Confidence

SHORT_CODE = re.compile(r"[0-9]{2,6}\Z")
"""What can be a short code: those of mobile networks and the European 116xxx have the most digits, six."""


class NumberClass(StrEnum):
    """What kind of number it is. The names are those of the tables in the data files."""

    EMERGENCY = "emergency"
    SHORT_CODE = "short_code"
    DIRECTORY = "directory"
    PREMIUM = "premium"
    MASS_TRAFFIC = "mass_traffic"
    SERVICE = "service"
    """A social service that a short code reaches (116117), as all that must get through and are no emergency numbers."""
    FREEPHONE = "freephone"
    SHARED_COST = "shared_cost"
    GEOGRAPHIC = "geographic"
    """A geographic number; also a number of North America, whose plan does not separate mobile numbers."""
    MOBILE = "mobile"
    PERSONAL = "personal"
    VOIP = "voip"
    """A subscriber's number that belongs to no place: VoIP, the German 032, company-wide numbers (Swiss 058, British 03)."""
    SATELLITE = "satellite"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class LegalRule:
    """A rule in plain words. `date` is that of the text that was read at `source`."""

    id: str
    text: str
    source: str
    date: date
    confidence: Confidence

    def __str__(self) -> str:
        return f"{self.id}: {self.text} ({self.source}, {self.date})"


@dataclass(frozen=True, slots=True)
class CountryRules:
    """The rules that hold for the accounts of a country; "" is everywhere else. None: the country has no such rule.

    The rules that need it are in brackets.
    """

    country: str
    rules: Mapping[str, LegalRule]
    """Every rule by its id, also those that no field names (DE-1: the network number)."""
    never_presented: Mapping[NumberClass, LegalRule]
    """Never a caller's number, neither network nor presented, nor of a diverted call (DE-5, US-4)."""
    presentable: Mapping[NumberClass, LegalRule]
    """May be presented (DE-18, US-9)."""
    needs_switch: Mapping[NumberClass, LegalRule]
    """May be presented if the account allows it (DE-18a: mobile)."""
    otherwise: LegalRule
    """Why a class that is in none of the three is not presented (DE-18)."""
    own_country_only: LegalRule | None
    """A presented number is one of this country (DE-3)."""
    hidden_from_foreign_trunk: LegalRule | None
    """An own-country number that arrives from abroad is shown as anonymous, unless it is roaming (DE-7)."""
    refused_inbound: LegalRule | None
    """Calls that carry a number which is never presented are ended (DE-6, US-4)."""
    abroad: LegalRule | None
    """Calls abroad show the network number, if nobody decides otherwise (DE-19)."""
    diversion: LegalRule | None
    """A diverted call may show its caller's own number (DE-4, US-6)."""
    emergency: LegalRule
    """Emergency calls show the number of their line and are never blocked, rewritten or hidden (DE-13, US-8)."""
    never_withheld_to: Mapping[str, LegalRule]
    """Short codes towards which the caller's number is not withheld (DE-14, US-8)."""
    attestation: bool
    """Whether a decision says which attestation a carrier could give: A, B or C (US-3)."""

    def refuses(self, number_class: NumberClass, *, switched_on: bool) -> LegalRule | None:
        """Why a number of this class may not be presented, None if it may. `switched_on`: the account allows those."""
        if (never := self.never_presented.get(number_class)) is not None:
            return never
        if number_class in self.presentable or (switched_on and number_class in self.needs_switch):
            return None
        return self.needs_switch.get(number_class, self.otherwise)


@dataclass(frozen=True, slots=True)
class Pack:
    """A data file: the rules for the accounts of a country, and the classes of the numbers of a country.

    `prefixes` are the beginnings of E.164 numbers, `short_codes` are dialled without a prefix; a `*` means more digits.
    Calls to the regions in `home` are calls within the country. What is abroad in the calling codes `shared_codes`
    depends on the number.
    """

    rules: CountryRules
    prefixes: Mapping[str, NumberClass]
    short_codes: Mapping[str, NumberClass]
    home: tuple[str, ...]
    shared_codes: tuple[str, ...]
