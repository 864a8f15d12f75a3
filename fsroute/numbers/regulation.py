"""What a country's law and habit say about the numbers that a call may show.

The rules are data: countries/*.toml, each with its source and the date of the text that was read. Nothing here knows a
country; a file more is a country more, and `default.toml` holds for all that have none. Two different countries matter
for one call: the *account's* says what may be shown, and a number's *own* says what kind of number it is.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from types import MappingProxyType

import phonenumbers
from phonenumbers import PhoneNumberType

from fsroute.errors import DataError
from fsroute.numbers import short_numbers
from fsroute.numbers.datafile import Confidence, Table, once
from fsroute.numbers.phone_number import is_country, is_e164, parsed
from fsroute.numbers.short_numbers import ShortNumber

_SHORT_CODE = re.compile(r"[0-9]{2,6}\Z")
"""What can be a short code: those of mobile networks and the European 116xxx have the most digits, six."""

_PREFIX = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_SHORT_PATTERN = re.compile(r"[0-9]{2,6}\*?\Z")


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
"""What phonenumbers' kinds are here. Pagers, voicemail and numbers that it does not know are OTHER."""


@dataclass(frozen=True, slots=True)
class Rule:
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
    rules: Mapping[str, Rule]
    """Every rule by its id, also those that no field names (DE-1: the network number)."""
    never_presented: Mapping[NumberClass, Rule]
    """Never a caller's number, neither network nor presented, nor of a diverted call (DE-5, US-4)."""
    presentable: Mapping[NumberClass, Rule]
    """May be presented (DE-18, US-9)."""
    needs_switch: Mapping[NumberClass, Rule]
    """May be presented if the account allows it (DE-18a: mobile)."""
    otherwise: Rule
    """Why a class that is in none of the three is not presented (DE-18)."""
    own_country_only: Rule | None
    """A presented number is one of this country (DE-3)."""
    hidden_from_foreign_trunk: Rule | None
    """An own-country number that arrives from abroad is shown as anonymous, unless it is roaming (DE-7)."""
    refused_inbound: Rule | None
    """Calls that carry a number which is never presented are ended (DE-6, US-4)."""
    abroad: Rule | None
    """Calls abroad show the network number, if nobody decides otherwise (DE-19)."""
    diversion: Rule | None
    """A diverted call may show its caller's own number (DE-4, US-6)."""
    emergency: Rule
    """Emergency calls show the number of their line and are never blocked, rewritten or hidden (DE-13, US-8)."""
    never_withheld_to: Mapping[str, Rule]
    """Short codes towards which the caller's number is not withheld (DE-14, US-8)."""
    attestation: bool
    """Whether a decision says which attestation a carrier could give: A, B or C (US-3)."""

    def refuses(self, number_class: NumberClass, *, switched_on: bool) -> Rule | None:
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


def rules_for(country: str) -> CountryRules:
    """The rules for accounts of a country (ISO 3166 code)."""
    return _pack(country).rules


@lru_cache(maxsize=4096)
def classify(number: str, country: str) -> NumberClass:
    """What kind of number this is: an E.164 number, or a short code as it is dialled in `country`. Any other text is OTHER.

    The tables of the number's own country come first, then phonenumbers. Short codes are also found behind a calling
    code (+49110), where carriers and forgers put them; emergency numbers and those that the country's file lists also
    behind a bare `+`, if that makes no number of another country.
    """
    if not number.startswith("+"):
        return _short_code(number, country) or NumberClass.OTHER
    if not is_e164(number):
        return NumberClass.OTHER
    return _listed(number, _e164_classes()) or _known(number, country)


def is_abroad(number: str, country: str) -> bool:
    """Whether an E.164 number lies outside `country`; what is none is dialled within.

    The calling code decides. Where several countries share one (+1), the number does; one that nobody has is at home.
    """
    if not is_e164(number):
        return False
    code = f"+{phonenumbers.country_code_for_region(country)}"
    if not number.startswith(code):
        return True
    found = parsed(number)
    if found is None or code not in _packs()[""].shared_codes:
        return False
    # Toll-free numbers are valid in every country of the North American plan, and phonenumbers names only one of them.
    if any(phonenumbers.is_valid_number_for_region(found, region) for region in (country, *_pack(country).home)):
        return False
    return phonenumbers.region_code_for_number(found) is not None


# --- what kind of number ----------------------------------------------------------------------------------


def _short_code(text: str, country: str) -> NumberClass | None:
    if not _SHORT_CODE.match(text):
        return None
    certain = _certain_short_code(text, country)
    if certain is not None or not is_country(country):
        return certain
    found = parsed(text, country)
    known = found is not None and phonenumbers.is_valid_short_number_for_region(found, country)
    return NumberClass.SHORT_CODE if known else None


def _certain_short_code(text: str, country: str) -> NumberClass | None:
    """One that must get through, or that the country's file lists: not one of the many that some network has for itself."""
    short = short_numbers.known(text, country)
    if short is not None:
        return _class_of(short)
    return _listed(text, _pack(country).short_codes)


def _class_of(short: ShortNumber) -> NumberClass:
    return NumberClass.EMERGENCY if short.is_emergency else NumberClass.SERVICE


def _listed(number: str, classes: Mapping[str, NumberClass]) -> NumberClass | None:
    """The class of the longest entry that `number` is, or begins with."""
    if number in classes:
        return classes[number]
    beginnings = (number[:end] + "*" for end in range(len(number), 0, -1))
    return next((classes[beginning] for beginning in beginnings if beginning in classes), None)


def _known(number: str, country: str) -> NumberClass:
    """The class of an E.164 number by phonenumbers."""
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


# --- the data files ---------------------------------------------------------------------------------------


def _pack(country: str) -> Pack:
    packs = _packs()
    return packs.get(country, packs[""])


@lru_cache(maxsize=1)
def _packs() -> Mapping[str, Pack]:
    """The data files of this package, by country."""
    files = resources.files("fsroute").joinpath("countries").iterdir()
    found = [read_pack(file.read_text("utf-8"), file.name) for file in files if file.name.endswith(".toml")]
    ids = [rule for pack in found for rule in pack.rules.rules]
    if len(set(ids)) != len(ids):
        raise DataError(f"countries: two files use the same id for a rule: {sorted(i for i in ids if ids.count(i) > 1)}")
    return MappingProxyType({pack.rules.country: pack for pack in found})


@lru_cache(maxsize=1)
def _e164_classes() -> Mapping[str, NumberClass]:
    """The class tables of all countries, in which short codes have their calling code; what must get through comes first."""
    classes: dict[str, NumberClass] = {}
    for country, pack in _packs().items():
        code = phonenumbers.country_code_for_region(country)
        classes |= {f"{prefix}*": number_class for prefix, number_class in pack.prefixes.items()}
        classes |= {f"+{code}{short}": number_class for short, number_class in pack.short_codes.items()}
    for country, listed in short_numbers.countries().items():
        code = phonenumbers.country_code_for_region(country)
        classes |= {f"+{code}{digits}": _class_of(short) for digits, short in listed.numbers.items()}
    return MappingProxyType(classes)


def read_pack(text: str, name: str) -> Pack:
    """The data file `text`. Raises DataError, which names the file, if it has an unknown key or something does not fit."""
    try:
        return _read(Table(tomllib.loads(text)))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _read(file: Table) -> Pack:
    country = file.take("country", str, may_be_empty=True)
    if country and not is_country(country):
        raise ValueError(f"country {country!r} has no numbering plan")
    rules = _rules(file.table("sources"), file.table("rules"))
    policy = _policy(file.table("policy"), country, rules)
    prefixes, short_codes = _classes(file.table("classes"), country)
    home, shared_codes = file.texts("home"), file.texts("shared_codes")
    if not all(map(is_country, home)):
        raise ValueError("home must be countries")
    if shared_codes and country:
        raise ValueError("shared_codes belong into the default file")
    file.end()
    return Pack(policy, prefixes, short_codes, home, shared_codes)


def _rules(sources: Table, rules: Table) -> Mapping[str, Rule]:
    cited: dict[str, tuple[str, date, Confidence]] = {}
    for key in sources:
        source = sources.table(key)
        title = f"{source.take('name', str)} {source.take('paragraph', str)}"
        cited[key] = (title, source.take("read", date), Confidence(source.take("confidence", str)))
        source.end()
    found: dict[str, Rule] = {}
    used: set[str] = set()
    for key in rules:
        rule = rules.table(key)
        text, source_key = rule.take("text", str), rule.take("source", str)
        if source_key not in cited:
            raise ValueError(f"rule {key} cites {source_key!r}, which is no source")
        found[key] = Rule(key, text, *cited[source_key])
        used.add(source_key)
        rule.end()
    if unused := set(cited) - used:
        raise ValueError(f"no rule cites the sources {sorted(unused)}")
    return MappingProxyType(found)


def _policy(policy: Table, country: str, rules: Mapping[str, Rule]) -> CountryRules:
    def rule(rule_id: str) -> Rule:
        if rule_id not in rules:
            raise ValueError(f"policy names {rule_id!r}, which is no rule")
        return rules[rule_id]

    def optional(key: str) -> Rule | None:
        return rule(policy.take(key, str)) if key in policy else None

    def by_class(key: str) -> Mapping[NumberClass, Rule]:
        table = policy.table(key)
        return MappingProxyType({NumberClass(name): rule(table.take(name, str)) for name in table})

    withheld = policy.table("never_withheld_to")
    found = CountryRules(
        country=country,
        rules=rules,
        never_presented=by_class("never_presented"),
        presentable=by_class("presentable"),
        needs_switch=by_class("needs_switch"),
        otherwise=rule(policy.take("otherwise", str)),
        own_country_only=optional("own_country_only"),
        hidden_from_foreign_trunk=optional("hidden_from_foreign_trunk"),
        refused_inbound=optional("refused_inbound"),
        abroad=optional("abroad"),
        diversion=optional("diversion"),
        emergency=rule(policy.take("emergency", str)),
        never_withheld_to=MappingProxyType({number: rule(withheld.take(number, str)) for number in withheld}),
        attestation=policy.take("attestation", bool),
    )
    policy.end()
    once([*found.never_presented, *found.presentable, *found.needs_switch], "policy")
    if not all(map(_SHORT_CODE.match, found.never_withheld_to)):
        raise ValueError("policy.never_withheld_to must be short codes")
    return found


def _classes(tables: Table, country: str) -> tuple[Mapping[str, NumberClass], Mapping[str, NumberClass]]:
    prefixes: list[tuple[str, NumberClass]] = []
    short_codes: list[tuple[str, NumberClass]] = []
    code = f"+{phonenumbers.country_code_for_region(country)}" if country else "+"
    for name in tables:
        table, number_class = tables.table(name), NumberClass(name)
        if number_class is NumberClass.EMERGENCY:
            raise ValueError("classes: emergency numbers belong into short_numbers.toml")
        prefixes += [(prefix, number_class) for prefix in table.texts("prefixes")]
        short_codes += [(short, number_class) for short in table.texts("short_codes")]
        table.end()
    for prefix, _ in prefixes:
        if not _PREFIX.match(prefix) or not prefix.startswith(code):
            raise ValueError(f"classes: {prefix!r} is no beginning of a number of this country")
    for short, _ in short_codes:
        if not _SHORT_PATTERN.match(short) or not country:
            raise ValueError(f"classes: {short!r} is no short code of a country")
    once([prefix for prefix, _ in prefixes], "classes")
    once([short for short, _ in short_codes], "classes")
    return MappingProxyType(dict(prefixes)), MappingProxyType(dict(short_codes))
