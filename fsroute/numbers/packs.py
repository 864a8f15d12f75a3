"""Reads countries/*.toml: the rules and the number classes of each country, with their sources.

This module has no code for a single country: to add a country, add a file. `default.toml` is for all countries without a
file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib import resources
from types import MappingProxyType

import phonenumbers

from fsroute.errors import DataError
from fsroute.numbers.datafile import Confidence, Table, once
from fsroute.numbers.law import SHORT_CODE, CountryRules, LegalRule, NumberClass, Pack
from fsroute.numbers.phone_number import is_country

_PREFIX = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_SHORT_PATTERN = re.compile(r"[0-9]{2,6}\*?\Z")


def pack_of(country: str) -> Pack:
    """The file of a country, or the default file for a country without one."""
    known = packs()
    return known.get(country, known[""])


@lru_cache(maxsize=1)
def packs() -> Mapping[str, Pack]:
    """The data files of this package, by country."""
    files = resources.files("fsroute").joinpath("countries").iterdir()
    found = [read_pack(file.read_text("utf-8"), file.name) for file in files if file.name.endswith(".toml")]
    ids = [rule for pack in found for rule in pack.rules.rules]
    if len(set(ids)) != len(ids):
        raise DataError(f"countries: two files use the same id for a rule: {sorted(i for i in ids if ids.count(i) > 1)}")
    return MappingProxyType({pack.rules.country: pack for pack in found})


def read_pack(text: str, name: str) -> Pack:
    """Reads the data file `text`. Raises DataError, which names the file, if a key is unknown or an entry is wrong."""
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
        raise ValueError("shared_codes belong in the default file")
    file.end()
    return Pack(policy, prefixes, short_codes, home, shared_codes)


def _rules(sources: Table, rules: Table) -> Mapping[str, LegalRule]:
    cited: dict[str, tuple[str, date, Confidence]] = {}
    for key in sources:
        source = sources.table(key)
        title = f"{source.take('name', str)} {source.take('paragraph', str)}"
        cited[key] = (title, source.take("read", date), Confidence(source.take("confidence", str)))
        source.end()
    found: dict[str, LegalRule] = {}
    used: set[str] = set()
    for key in rules:
        rule = rules.table(key)
        text, source_key = rule.take("text", str), rule.take("source", str)
        if source_key not in cited:
            raise ValueError(f"rule {key} cites {source_key!r}, which is no source")
        found[key] = LegalRule(key, text, *cited[source_key])
        used.add(source_key)
        rule.end()
    if unused := set(cited) - used:
        raise ValueError(f"no rule cites the sources {sorted(unused)}")
    return MappingProxyType(found)


def _policy(policy: Table, country: str, rules: Mapping[str, LegalRule]) -> CountryRules:
    def rule(rule_id: str) -> LegalRule:
        if rule_id not in rules:
            raise ValueError(f"policy names {rule_id!r}, which is no rule")
        return rules[rule_id]

    def optional(key: str) -> LegalRule | None:
        return rule(policy.take(key, str)) if key in policy else None

    def by_class(key: str) -> Mapping[NumberClass, LegalRule]:
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
    if not all(map(SHORT_CODE.match, found.never_withheld_to)):
        raise ValueError("policy.never_withheld_to must be short codes")
    return found


def _classes(tables: Table, country: str) -> tuple[Mapping[str, NumberClass], Mapping[str, NumberClass]]:
    prefixes: list[tuple[str, NumberClass]] = []
    short_codes: list[tuple[str, NumberClass]] = []
    code = f"+{phonenumbers.country_code_for_region(country)}" if country else "+"
    for name in tables:
        table, number_class = tables.table(name), NumberClass(name)
        if number_class is NumberClass.EMERGENCY:
            raise ValueError("classes: emergency numbers belong in short_numbers.toml")
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
