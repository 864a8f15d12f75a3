"""Emergency numbers and what else must get through: the data, and the one predicate."""

from __future__ import annotations

import tomllib
from datetime import date
from importlib import resources
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.errors import DataError
from fsroute.numbers import phone_number, short_numbers
from fsroute.numbers.datafile import Confidence
from fsroute.numbers.short_numbers import (
    Kind,
    Listed,
    ShortNumber,
    Source,
    countries,
    find,
    is_emergency,
    is_emergency_somewhere,
    known,
    read,
)

TEXT = resources.files("fsroute").joinpath("short_numbers.toml").read_text("utf-8")
FILE = tomllib.loads(TEXT)

EU = {
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT",
    "NL", "PL", "PT", "RO", "SE", "SI", "SK",
}  # fmt: skip
EEA = {"IS", "LI", "NO"}
OTHERS = {"CH", "GB", "US", "CA", "AU", "NZ", "BR", "MX", "IN", "JP"}

MEDIUM = Confidence.MEDIUM
RTR = Source("AT-rtr", "RTR, KEM-V 2009, §§ 17-22", "www2.rtr.at/de/tk/emergencyS", date(2026, 11, 26), MEDIUM)
RESCUE = ShortNumber("140", "AT", Kind.EMERGENCY, "mountain rescue", shows_caller=True, source=RTR)


# --- the predicate ----------------------------------------------------------------------------------------

EMERGENCIES: dict[str, tuple[str, str, bool]] = {
    "police": ("110", "DE", True),
    "fire and ambulance": ("112", "DE", True),
    "as a URI": ("sip:112@acme.example", "DE", True),
    "with blanks": ("1 1 2", "DE", True),
    "an American number is none in Germany": ("911", "DE", False),
    "in the US": ("911", "US", True),
    "the American test": ("933", "US", True),
    "in Austria": ("133", "AT", True),
    "mountain rescue": ("140", "AT", True),
    "gas leaks": ("128", "AT", True),
    "110 is none in Austria": ("110", "AT", False),
    "behind a plus": ("+112", "DE", True),
    "behind the calling code": ("+43140", "AT", True),
    "behind prefix and calling code": ("0043140", "AT", True),
    "behind another prefix": ("0011 61 000", "AU", True),
    "behind another country's code": ("+49140", "AT", False),
    "behind the code alone, as carriers send it": ("49112", "DE", True),
    "an American extension that looks alike": ("1911", "US", False),
    "a French extension that looks alike": ("3315", "FR", False),
    "a Brazilian extension that looks alike": ("55190", "BR", False),
    "a number that begins alike": ("1120", "DE", False),
    "protected": ("116117", "DE", False),
    "the same in France": ("116117", "FR", True),
    "a service number": ("115", "DE", False),
    "an extension": ("11", "DE", False),
    "text": ("112a", "DE", False),
    "a country without data": ("19", "MA", True),
    "no number of a country without data": ("112", "MA", False),
    "no country": ("112", "XX", False),
    "112 on fixed lines of Japan": ("112", "JP", False),
}


@pytest.mark.parametrize(("text", "country", "expected"), EMERGENCIES.values(), ids=EMERGENCIES.keys())
def test_an_emergency_number_is_one_of_its_country(text: str, country: str, expected: bool) -> None:
    assert is_emergency(text, country) is expected


def test_what_is_known_of_a_number_is_told_with_its_source() -> None:
    assert find("+43 140", "AT") == RESCUE
    assert str(RESCUE) == "mountain rescue (AT-rtr: RTR, KEM-V 2009, §§ 17-22, 2026-11-26)"
    assert RESCUE.cited == "mountain rescue (AT-rtr)"
    morocco = find("19", "MA")
    assert morocco == ShortNumber("19", "MA", Kind.EMERGENCY, "emergency services", shows_caller=True, source=None)
    assert str(morocco) == "emergency services (libphonenumber; no source for MA is in short_numbers.toml)"
    assert morocco.cited == "emergency services (libphonenumber)"


def test_the_number_of_a_country_comes_before_what_all_have() -> None:
    of_all, of_france, of_slovenia = (known("116000", country) for country in ("AT", "FR", "SI"))
    assert of_all is not None
    assert of_all.source is not None
    assert (of_all.country, of_all.kind, of_all.shows_caller, of_all.source.id) == ("AT", Kind.PROTECTED, False, "EU-116")
    assert of_france is not None
    assert of_france.is_emergency
    assert of_slovenia is not None
    assert of_slovenia.is_emergency


def test_without_a_country_any_emergency_number_is_one() -> None:
    texts = ("140", "112", "911", "000", "1414", "116117", "988", "115", "12", "+492214710100", "x", "")
    behind = ("+43140", "0043 140", "sip:+43140@acme.example", "+112", "43140", "+49140", "1911")
    assert {text for text in (*texts, *behind) if is_emergency_somewhere(text)} == {
        "140",
        "112",
        "911",
        "000",
        "1414",
        "116117",  # in France
        "115",  # in France and Italy
        "+43140",
        "0043 140",
        "sip:+43140@acme.example",
        "+112",
    }


@given(
    st.one_of(st.text(), st.text("+0123456789 ()-", max_size=12)),
    st.sampled_from([*sorted(EU | EEA | OTHERS), "MA", "XX", ""]),
)
def test_any_text_is_a_short_number_of_its_country_or_none(text: str, country: str) -> None:
    found = find(text, country)
    assert found is None or (found == known(found.digits, country) and text.replace(" ", "").count(found.digits[0]))


REPORTS: dict[str, tuple[str, dict[str, bool]]] = {
    # What others reported: country, and which numbers are emergency numbers there.
    "irontec/ivozprovider#286: short numbers in France": ("FR", {"15": True, "17": True, "18": True, "12": False}),
    "GlomarGadaffi/pocket-dial#163: 911 and 933 as a user's number": ("US", {"911": True, "933": True, "411": False}),
    "GlomarGadaffi/pocket-dial#240: 911 behind a 9 for outside": ("US", {"911": True, "9911": False, "11": False}),
    "google/libphonenumber#1744: 112 in Brazil": ("BR", {"112": True, "190": True, "911": True}),
    "fusionpbx/fusionpbx#6996: phones that take 911 and 999 for one everywhere": (
        "DE",
        {"110": True, "112": True, "911": False, "999": False},
    ),
    "floere/phony#149: 112 and 110, also behind 0049": ("DE", {"112": True, "110": True, "0049112": True, "911": False}),
    "inextrix/ASTPP#253: 999 and 112 in the UK": ("GB", {"999": True, "112": True, "18000": True, "101": False}),
}


@pytest.mark.parametrize(("country", "numbers"), REPORTS.values(), ids=REPORTS.keys())
def test_what_others_reported(country: str, numbers: dict[str, bool]) -> None:
    assert {text: is_emergency(text, country) for text in numbers} == numbers


# --- the data ---------------------------------------------------------------------------------------------


def test_all_countries_are_there() -> None:
    assert set(countries()) == EU | EEA | OTHERS
    assert set(FILE["harmonised"]["countries"]) == EU | EEA


@pytest.mark.parametrize("country", sorted(EU | EEA | OTHERS))
def test_every_country_has_numbers_and_says_what_was_not_found(country: str) -> None:
    listed = countries()[country].numbers
    assert any(short.is_emergency for short in listed.values())
    for digits, short in listed.items():
        assert short.digits == digits
        assert short.country == country
        assert short.what
        assert short.source is not None
        assert date(1997, 1, 1) < short.source.date <= date(2026, 12, 31)
        assert short.source.id.partition("-")[0] in {country, "EU"}
        assert find(digits, country) is short
        assert short.shows_caller or not short.is_emergency
    national = [short for short in listed.values() if short.source and not short.source.id.startswith("EU-")]
    low = all(short.source and short.source.confidence is Confidence.LOW for short in national)
    helps = any(short.kind is Kind.PROTECTED for short in national)
    assert countries()[country].not_found or (helps and not low)


def test_112_is_an_emergency_number_in_all_of_eu_and_eea() -> None:
    assert [country for country in sorted(EU | EEA) if not is_emergency("112", country)] == []


def test_no_number_is_a_valid_one_with_its_calling_code() -> None:
    """Else a caller or a callee somewhere would be taken for it."""
    for country, listed in countries().items():
        code = phone_number.calling_code(country)
        for digits in listed.numbers:
            assert not phonenumbers.is_valid_number(phonenumbers.parse(f"+{code}{digits}")), (country, digits)


NOT_OURS = {
    "CZ": ({"151", "152", "153", "154", "157", "159"}, "the range 15x is reserved; the sources name what is in use"),
    "DK": ({"114"}, "the police's number for what is not urgent: protected"),
    "EE": ({"110"}, "switched off on 2020-03-01"),
    "HR": ({"94"}, "switched off in January 2014: it is 194 now"),
    "LT": (
        {"01", "02", "03", "011", "022", "033", "101", "102", "103"},
        "switched off on 2022-04-01: 112 is the only one",
    ),
}
"""Emergency numbers of phonenumbers that short_numbers.toml does not have, and the reason."""


def emergency_numbers_of_phonenumbers(country: str) -> set[str]:
    metadata = phonenumbers.PhoneMetadata.short_metadata_for_region(country)
    assert metadata is not None
    assert metadata.emergency is not None
    lengths = metadata.emergency.possible_length or metadata.general_desc.possible_length  # type: ignore[union-attr]
    texts = (f"{value:0{length}}" for length in lengths for value in range(10**length))
    return {text for text in texts if phonenumbers.is_emergency_number(text, country)}


@pytest.mark.parametrize("country", sorted(EU | EEA | OTHERS))
def test_phonenumbers_agrees_or_the_reason_is_known(country: str) -> None:
    ours = {digits for digits, short in countries()[country].numbers.items() if short.is_emergency}
    missing, reason = NOT_OURS.get(country, (set(), ""))
    assert emergency_numbers_of_phonenumbers(country) - ours == missing, reason


# --- a data file with an error ----------------------------------------------------------------------------

GOOD = """
[harmonised]
countries = ["AT"]
[harmonised.sources]
all = { name = "a decision", page = "a page", read = 2024-01-01, confidence = "high" }
[[harmonised.protected]]
source = "all"
shows_caller = false
116123 = "people in a crisis"

[AT]
not_found = "a plan"
[AT.sources]
law = { name = "KEM-V", page = "a page", read = 2024-01-02, confidence = "low" }
[[AT.emergency]]
source = "law"
140 = "mountain rescue"
[[AT.protected]]
source = "law"
shows_caller = true
1450 = "advice"
"""


def test_a_good_file_is_read() -> None:
    law = Source("AT-law", "KEM-V", "a page", date(2024, 1, 2), Confidence.LOW)
    all_ = Source("EU-all", "a decision", "a page", date(2024, 1, 1), Confidence.HIGH)
    assert read(GOOD, "x.toml") == {
        "AT": Listed(
            {
                "116123": ShortNumber("116123", "AT", Kind.PROTECTED, "people in a crisis", shows_caller=False, source=all_),
                "140": ShortNumber("140", "AT", Kind.EMERGENCY, "mountain rescue", shows_caller=True, source=law),
                "1450": ShortNumber("1450", "AT", Kind.PROTECTED, "advice", shows_caller=True, source=law),
            },
            not_found="a plan",
        )
    }


BAD = {
    "unknown key": ('not_found = "a plan"', 'colour = "red"', "unknown key AT.colour"),
    "unknown key of a source": (
        'page = "a page", read = 2024-01-02',
        'url = "a page", read = 2024-01-02',
        "AT.sources.law.page",
    ),
    "no source": ('source = "law"\n140', "140", "AT.emergency[0].source must be a str"),
    "unknown source": ('source = "law"\n140', 'source = "lore"\n140', "AT: emergency cites 'lore', which is no source"),
    "a number that is none": ('140 = "mountain rescue"', '1a = "x"', "AT: '1a' is no short number"),
    "too long": ('140 = "mountain rescue"', '1234567 = "x"', "AT: '1234567' is no short number"),
    "no service": ('140 = "mountain rescue"', '140 = ""', "AT.emergency[0].140 is empty"),
    "twice": ('1450 = "advice"', '140 = "advice"', "AT: '140' is there twice"),
    "hidden or not": ("shows_caller = true\n", "", "AT.protected[0].shows_caller must be a bool"),
    "an emergency call is never hidden": (
        'source = "law"\n140',
        'source = "law"\nshows_caller = false\n140',
        "AT: 'shows_caller' is no short number",
    ),
    "no country": ("[AT]", "[XX]\n[AT]", "country 'XX' has no numbering plan"),
    "a member without a table": ('["AT"]', '["AT", "LI"]', "harmonised.countries names 'LI', which has no table"),
    "a source for nothing": (
        "[[AT.emergency]]",
        'more = { name = "a", page = "b", read = 2024-01-01, confidence = "low" }\n[[AT.emergency]]',
        "AT: no list cites the sources ['more']",
    ),
    "no date": ("read = 2024-01-02, ", "", "AT.sources.law.read must be a date"),
    "unknown confidence": ('"low"', '"sure"', "'sure' is not a valid Confidence"),
    "no list of tables": ("[[AT.emergency]]", "[AT.emergency]", "AT.emergency must be a list of tables"),
    "no TOML": ("[AT]", "[AT", "Expected"),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD.values(), ids=BAD.keys())
def test_a_file_with_an_error_is_refused(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(DataError) as refused:
        read(GOOD.replace(old, new, 1), "x.toml")
    assert str(refused.value).startswith(f"x.toml: {message}"), refused.value


def test_the_data_cannot_be_changed() -> None:
    assert short_numbers.countries() is countries()
    with pytest.raises(TypeError):
        countries()["AT"].numbers["140"] = RESCUE  # type: ignore[index]


def test_people_are_told_what_is_known_of_a_country() -> None:
    lines = short_numbers.in_words("MT")
    assert lines == [
        f"112    emergency {known('112', 'MT')}",
        *(line for line in lines if line.startswith("116")),
        f"179    protected {known('179', 'MT')}",
        "no source was found for: the list of short numbers of MCA/D/11-0073",
        "^(112)$",
    ]
    assert [line[:6] for line in lines if line.startswith("116")] == [
        "116000",
        "116006",
        "116016",
        "116111",
        "116117",
        "116123",
    ]
    assert short_numbers.in_words("AT")[-1] == "^(112|122|128|133|140|141|142|144|147)$"
    with pytest.raises(
        DataError, match=r"MA is not in short_numbers\.toml, so libphonenumber's list counts; there are AT, BE, "
    ):
        short_numbers.in_words("MA")


def test_the_fallback_of_the_shipped_dialplan_has_the_german_numbers() -> None:
    dialplan = Path(__file__).resolve().parents[3] / "freeswitch" / "dialplan" / "users.xml"
    assert f'expression="{short_numbers.in_words("DE")[-1]}"' in dialplan.read_text("utf-8")
