"""What kind of number it is, and what the rules of its country say about showing it."""

from __future__ import annotations

import tomllib
from datetime import date
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.errors import DataError
from fsroute.numbers.datafile import Confidence
from fsroute.numbers.law import LegalRule, NumberClass
from fsroute.numbers.packs import read_pack
from fsroute.numbers.regulation import classify, is_abroad, rules_for

C = NumberClass

FILES = {
    file.name: file.read_text("utf-8")
    for file in resources.files("fsroute").joinpath("countries").iterdir()
    if file.name.endswith(".toml")
}

COUNTRIES = ("DE", "US", "")

# --- what kind of number ----------------------------------------------------------------------------------

GERMAN: dict[str, NumberClass] = {
    # As dialled, and with the calling code in front.
    "110": C.EMERGENCY,
    "112": C.EMERGENCY,
    "+49110": C.EMERGENCY,
    "+49112": C.EMERGENCY,
    "115": C.SHORT_CODE,
    "+49115": C.SHORT_CODE,
    "1120": C.SHORT_CODE,
    "+491120": C.SHORT_CODE,
    "124124": C.SHORT_CODE,
    "80808": C.SHORT_CODE,
    "116117": C.SERVICE,
    "116116": C.SERVICE,
    "+49116117": C.SERVICE,
    "11833": C.DIRECTORY,
    "118000": C.DIRECTORY,
    "+4911833": C.DIRECTORY,
    "+49118000": C.DIRECTORY,
    # A short code behind a plus alone, which is no number of any country.
    "+110": C.EMERGENCY,
    "+112": C.EMERGENCY,
    "+11833": C.DIRECTORY,
    "+499001234567": C.PREMIUM,
    "+49900123": C.PREMIUM,
    "+49137123456": C.MASS_TRAFFIC,
    "+491371234567": C.MASS_TRAFFIC,
    "+4913791234567": C.MASS_TRAFFIC,
    "+498001234567": C.FREEPHONE,
    "+4980012345": C.FREEPHONE,
    "+491801234567": C.SHARED_COST,
    "+4918012345": C.SHARED_COST,
    "+493212345678": C.VOIP,
    "+493222999123": C.VOIP,
    "+4970012345678": C.PERSONAL,
    "+497001234567": C.PERSONAL,
    # Mobiles, those for films among them.
    "+4915112345678": C.MOBILE,
    "+4915228817386": C.MOBILE,
    "+491621234567": C.MOBILE,
    "+491631737743": C.MOBILE,
    "+491713920042": C.MOBILE,
    "+491729925904": C.MOBILE,
    "+491749091317": C.MOBILE,
    "+4917604069050": C.MOBILE,
    "+491791234567": C.MOBILE,
    # Places, likewise.
    "+493023125001": C.GEOGRAPHIC,
    "+493023125300": C.GEOGRAPHIC,
    "+492214710113": C.GEOGRAPHIC,
    "+4922129191999": C.GEOGRAPHIC,
    "+494066969001": C.GEOGRAPHIC,
    "+496990009999": C.GEOGRAPHIC,
    "+498999998123": C.GEOGRAPHIC,
    "+4989999998250": C.GEOGRAPHIC,
    # Nothing that may be shown.
    "+491234567890": C.OTHER,
    "+491641234567": C.OTHER,
    "+491812345678": C.OTHER,
    "+4919412345": C.OTHER,
    "+4922": C.OTHER,
    "100": C.OTHER,
    "02214710113": C.OTHER,
    "492214710113": C.OTHER,
}

AMERICAN: dict[str, NumberClass] = {
    "911": C.EMERGENCY,
    "933": C.EMERGENCY,
    "112": C.EMERGENCY,
    "+1911": C.EMERGENCY,
    "+911": C.EMERGENCY,
    "411": C.DIRECTORY,
    "+1411": C.DIRECTORY,
    "611": C.SHORT_CODE,
    "22456": C.SHORT_CODE,
    "211": C.SERVICE,
    "988": C.SERVICE,
    "+19005550123": C.PREMIUM,
    "+18005550123": C.FREEPHONE,
    "+18335550123": C.FREEPHONE,
    "+18885550123": C.FREEPHONE,
    "+12125550123": C.GEOGRAPHIC,
    "+14155550199": C.GEOGRAPHIC,
    "+14165550123": C.GEOGRAPHIC,
    "+15005550123": C.PERSONAL,
    "+15550123": C.OTHER,
    "110": C.OTHER,
}

ELSEWHERE: dict[str, tuple[str, str, NumberClass]] = {
    "FR premium": ("+33899123456", "FR", C.PREMIUM),
    "FR premium, seen from Germany": ("+33899123456", "DE", C.PREMIUM),
    "FR directory": ("118008", "FR", C.SHORT_CODE),
    "FR directory with its code": ("+33118008", "DE", C.SHORT_CODE),
    "FR ambulance": ("15", "FR", C.EMERGENCY),
    "FR 112 with its code": ("+33112", "DE", C.EMERGENCY),
    "FR place": ("+33142681234", "FR", C.GEOGRAPHIC),
    "FR mobile": ("+33612345678", "FR", C.MOBILE),
    "FR 09": ("+33912345678", "FR", C.VOIP),
    "AT premium": ("+43900123456", "AT", C.PREMIUM),
    "AT premium 0930": ("+43930123456", "AT", C.PREMIUM),
    "AT police": ("133", "AT", C.EMERGENCY),
    "AT police with its code": ("+43133", "DE", C.EMERGENCY),
    "AT 110 is none": ("110", "AT", C.OTHER),
    "CH premium": ("+41900123456", "CH", C.PREMIUM),
    "CH company": ("+41581234567", "CH", C.VOIP),
    "GB company": ("+443001234567", "GB", C.VOIP),
    "GB place": ("+442079460123", "GB", C.GEOGRAPHIC),
    "AU zeroes": ("000", "AU", C.EMERGENCY),
    "Inmarsat": ("+870773123456", "DE", C.SATELLITE),
    "Iridium": ("+881612345678", "DE", C.SATELLITE),
    "882": ("+88213312345", "US", C.SATELLITE),
    "883": ("+883510012345", "", C.SATELLITE),
    "international freephone": ("+80012345678", "DE", C.FREEPHONE),
    "international shared cost": ("+80812345678", "DE", C.SHARED_COST),
    "international premium": ("+97912345678", "DE", C.PREMIUM),
    "a German number, seen from the US": ("+49137123456", "US", C.MASS_TRAFFIC),
    "a German emergency number, seen from the US": ("+49110", "US", C.EMERGENCY),
    "112 where no country is known": ("112", "", C.OTHER),
    "a country that is none": ("110", "XX", C.OTHER),
    "a country in small letters": ("110", "de", C.OTHER),
    "text": ("anonymous", "DE", C.OTHER),
    "nothing": ("", "DE", C.OTHER),
    "only a plus": ("+", "DE", C.OTHER),
    "other digits": ("\u0661\u0661\u0660", "DE", C.OTHER),
    "a line break": ("110\n", "DE", C.OTHER),
    "a blank": ("1 1 0", "DE", C.OTHER),
    "too long": ("+4930231250011234", "DE", C.OTHER),
}

EVERY_NUMBER = [*GERMAN, *AMERICAN, *(number for number, _, _ in ELSEWHERE.values())]


@pytest.mark.parametrize(("number", "expected"), GERMAN.items())
def test_german_numbers(number: str, expected: NumberClass) -> None:
    assert classify(number, "DE") is expected


@pytest.mark.parametrize(("number", "expected"), AMERICAN.items())
def test_american_numbers(number: str, expected: NumberClass) -> None:
    assert classify(number, "US") is expected


@pytest.mark.parametrize(("number", "country", "expected"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_other_numbers(number: str, country: str, expected: NumberClass) -> None:
    assert classify(number, country) is expected


def test_american_mobiles_and_places_look_alike() -> None:
    assert {classify(f"+1212555{line:04}", "US") for line in range(100, 200)} == {C.GEOGRAPHIC}


@pytest.mark.parametrize("number", [n for n in GERMAN if n.startswith("+49")])
def test_an_international_number_is_the_same_seen_from_anywhere(number: str) -> None:
    assert {classify(number, country) for country in ("DE", "US", "FR", "", "XX")} == {GERMAN[number]}


# --- abroad -----------------------------------------------------------------------------------------------

ABROAD: dict[str, tuple[str, str, bool]] = {
    "Cologne from Germany": ("+492214710113", "DE", False),
    "032 from Germany": ("+493212345678", "DE", False),
    "Zurich from Germany": ("+41446681800", "DE", True),
    "Cologne from the US": ("+492214710113", "US", True),
    "New York from the US": ("+12125550123", "US", False),
    "Toronto from the US": ("+14165550123", "US", True),
    "New York from Canada": ("+12125550123", "CA", True),
    "Jamaica from the US": ("+18765550123", "US", True),
    "Puerto Rico from the US": ("+17875550123", "US", False),
    "toll-free from the US": ("+18005550123", "US", False),
    "toll-free from Canada": ("+18005550123", "CA", False),
    "no area code": ("+15550123", "US", False),
    "Almaty from Russia": ("+77012345678", "RU", True),
    "Moscow from Russia": ("+74951234567", "RU", False),
    "the Vatican from Italy": ("+390669812345", "IT", False),
    "a satellite": ("+870773123456", "DE", True),
    "international freephone": ("+80012345678", "DE", True),
    "from nowhere": ("+492214710113", "", True),
    "from a country that is none": ("+492214710113", "XX", True),
    "a short code": ("110", "DE", False),
    "text": ("anonymous", "DE", False),
}


@pytest.mark.parametrize(("number", "country", "expected"), ABROAD.values(), ids=ABROAD.keys())
def test_abroad(number: str, country: str, expected: bool) -> None:
    assert is_abroad(number, country) is expected


# --- what the packs say -----------------------------------------------------------------------------------


def ids_of_rules(country: str) -> dict[str, object]:
    """The rules of a country, each as its id."""
    rules = rules_for(country)
    ids: dict[str, object] = {}
    for field in ("never_presented", "presentable", "needs_switch", "never_withheld_to"):
        ids[field] = {str(key): rule.id for key, rule in getattr(rules, field).items()}
    for field in ("own_country_only", "hidden_from_foreign_trunk", "refused_inbound", "abroad", "diversion", "emergency"):
        rule: LegalRule | None = getattr(rules, field)
        ids[field] = None if rule is None else rule.id
    return ids | {"country": rules.country, "otherwise": rules.otherwise.id, "attestation": rules.attestation}


BANNED = ("emergency", "short_code", "directory", "premium", "mass_traffic")


def test_germany() -> None:
    assert ids_of_rules("DE") == {
        "country": "DE",
        "never_presented": dict.fromkeys(BANNED, "DE-5") | {"service": "DE-5a"},
        "presentable": {"geographic": "DE-18", "voip": "DE-18"},
        "needs_switch": {"mobile": "DE-18a"},
        "otherwise": "DE-18",
        "own_country_only": "DE-3",
        "hidden_from_foreign_trunk": "DE-7",
        "refused_inbound": "DE-6",
        "abroad": "DE-19",
        "diversion": "DE-4",
        "emergency": "DE-13",
        "never_withheld_to": dict.fromkeys(("110", "112", "124124", "116117"), "DE-14"),
        "attestation": False,
    }


def test_united_states() -> None:
    assert ids_of_rules("US") == {
        "country": "US",
        "never_presented": dict.fromkeys((*BANNED, "service"), "US-4"),
        "presentable": dict.fromkeys(("geographic", "mobile", "voip", "personal", "freephone"), "US-9"),
        "needs_switch": {},
        "otherwise": "US-9",
        "own_country_only": None,
        "hidden_from_foreign_trunk": None,
        "refused_inbound": "US-4",
        "abroad": "US-10",
        "diversion": "US-6",
        "emergency": "US-8",
        "never_withheld_to": dict.fromkeys(("911", "933"), "US-8"),
        "attestation": True,
    }


@pytest.mark.parametrize("country", ["", "AT", "FR", "XX", "de"])
def test_everywhere_else(country: str) -> None:
    assert ids_of_rules(country) == {
        "country": "",
        "never_presented": dict.fromkeys((*BANNED, "service"), "E164-1"),
        "presentable": dict.fromkeys(("geographic", "mobile", "voip", "personal", "freephone"), "E164-2"),
        "needs_switch": {},
        "otherwise": "E164-3",
        "own_country_only": None,
        "hidden_from_foreign_trunk": None,
        "refused_inbound": None,
        "abroad": "E164-6",
        "diversion": "E164-5",
        "emergency": "E164-4",
        "never_withheld_to": {"112": "E164-4"},
        "attestation": False,
    }


REFUSED: dict[str, tuple[str, NumberClass, bool, str | None]] = {
    "a German place": ("DE", C.GEOGRAPHIC, False, None),
    "a German mobile": ("DE", C.MOBILE, False, "DE-18a"),
    "a German mobile, allowed": ("DE", C.MOBILE, True, None),
    "0900": ("DE", C.PREMIUM, True, "DE-5"),
    "110": ("DE", C.EMERGENCY, True, "DE-5"),
    "116117": ("DE", C.SERVICE, True, "DE-5a"),
    "0800 in Germany": ("DE", C.FREEPHONE, True, "DE-18"),
    "what is unknown": ("DE", C.OTHER, True, "DE-18"),
    "an American mobile": ("US", C.MOBILE, False, None),
    "toll-free": ("US", C.FREEPHONE, False, None),
    "900": ("US", C.PREMIUM, False, "US-4"),
    "an Austrian mobile": ("AT", C.MOBILE, False, None),
    "a satellite": ("AT", C.SATELLITE, True, "E164-3"),
}


@pytest.mark.parametrize(("country", "number_class", "switched_on", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_why_a_class_is_not_presented(
    country: str, number_class: NumberClass, switched_on: bool, expected: str | None
) -> None:
    refusal = rules_for(country).refuses(number_class, switched_on=switched_on)
    assert (refusal and refusal.id) == expected


@pytest.mark.parametrize("country", COUNTRIES)
@pytest.mark.parametrize("number_class", NumberClass)
@pytest.mark.parametrize("switched_on", [False, True])
def test_only_presentable_classes_are_not_refused(country: str, number_class: NumberClass, switched_on: bool) -> None:
    rules = rules_for(country)
    allowed = number_class in rules.presentable or (switched_on and number_class in rules.needs_switch)
    assert (rules.refuses(number_class, switched_on=switched_on) is None) is allowed


@pytest.mark.parametrize("country", COUNTRIES)
def test_a_class_that_is_never_presented_is_not_presentable(country: str) -> None:
    rules = rules_for(country)
    assert not set(rules.never_presented) & (set(rules.presentable) | set(rules.needs_switch))
    assert set(rules.never_presented) >= {C.EMERGENCY, C.SHORT_CODE, C.DIRECTORY, C.PREMIUM, C.MASS_TRAFFIC}


def test_rules_are_read_once_and_stay_as_they_are() -> None:
    assert rules_for("DE") is rules_for("DE")
    with pytest.raises(TypeError):
        rules_for("DE").presentable[C.PREMIUM] = rules_for("DE").emergency  # type: ignore[index]


# --- the data files ---------------------------------------------------------------------------------------

SOURCE_FIELDS = {"name": str, "paragraph": str, "read": date, "confidence": str}


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_rule_has_an_id_a_text_a_source_and_a_date(name: str) -> None:
    file = tomllib.loads(FILES[name])
    prefix = f"{file['country'] or 'E164'}-"
    for source in file["sources"].values():
        assert {key: type(value) for key, value in source.items()} == SOURCE_FIELDS
    rules = read_pack(FILES[name], name).rules.rules
    assert list(rules) == list(file["rules"])
    for rule_id, rule in rules.items():
        source = file["sources"][file["rules"][rule_id]["source"]]
        assert rule.id == rule_id
        assert rule_id.startswith(prefix)
        assert rule.text.endswith(".")
        assert rule.source == f"{source['name']} {source['paragraph']}"
        assert date(2018, 1, 1) < rule.date == source["read"]
        assert rule.confidence == Confidence(source["confidence"])
        assert str(rule) == f"{rule.id}: {rule.text} ({rule.source}, {rule.date.isoformat()})"


def test_a_file_is_named_after_its_country() -> None:
    assert {name: tomllib.loads(text)["country"] for name, text in FILES.items()} == {
        "de.toml": "DE",
        "us.toml": "US",
        "default.toml": "",
    }


GOOD = """
country = "AT"

[sources]
law = { name = "TKG", paragraph = "§ 1", read = 2024-01-01, confidence = "low" }

[rules.AT-1]
text = "A rule."
source = "law"

[policy]
attestation = false
emergency = "AT-1"
otherwise = "AT-1"

[policy.never_presented]
premium = "AT-1"

[policy.presentable]
geographic = "AT-1"

[policy.needs_switch]

[policy.never_withheld_to]
133 = "AT-1"

[classes.directory]
short_codes = ["118", "14*"]

[classes.premium]
prefixes = ["+43900"]
"""


def test_another_country_is_another_file() -> None:
    pack = read_pack(GOOD, "at.toml")
    assert pack.rules.country == "AT"
    assert pack.rules.never_presented == {
        C.PREMIUM: LegalRule("AT-1", "A rule.", "TKG § 1", date(2024, 1, 1), Confidence.LOW)
    }
    assert pack.prefixes == {"+43900": C.PREMIUM}
    assert pack.short_codes == {"118": C.DIRECTORY, "14*": C.DIRECTORY}


BAD: dict[str, tuple[str, str, str]] = {
    "unknown key": ('country = "AT"', 'country = "AT"\ncolour = "red"', "unknown key colour"),
    "unknown key of a source": ('confidence = "low"', 'confidence = "low", url = "x"', "unknown key sources.law.url"),
    "unknown key of a rule": ('source = "law"', 'source = "law"\nnote = "x"', "unknown key rules.AT-1.note"),
    "unknown policy": ("attestation = false", 'attestation = false\nfine = "AT-1"', "unknown key policy.fine"),
    "unknown key of a class": ("prefixes =", "ranges = []\nprefixes =", "unknown key classes.premium.ranges"),
    "unknown class": ("[classes.premium]", "[classes.golden]", "'golden' is not a valid NumberClass"),
    "emergency numbers": (
        "[classes.directory]",
        "[classes.emergency]",
        "classes: emergency numbers belong in short_numbers.toml",
    ),
    "unknown class of a policy": ('premium = "AT-1"', 'golden = "AT-1"', "'golden' is not a valid NumberClass"),
    "unknown rule": ('emergency = "AT-1"', 'emergency = "AT-2"', "policy names 'AT-2', which is no rule"),
    "unknown source": ('source = "law"', 'source = "lore"', "rule AT-1 cites 'lore', which is no source"),
    "a source for nothing": (
        "[rules.AT-1]",
        'more = { name = "a", paragraph = "b", read = 2024-01-01, confidence = "low" }\n[rules.AT-1]',
        "no rule cites the sources ['more']",
    ),
    "unknown confidence": ('"low"', '"sure"', "'sure' is not a valid Confidence"),
    "unknown country": ('"AT"', '"XX"', "country 'XX' has no numbering plan"),
    "no country": ('country = "AT"', "", "country must be a str"),
    "no text": ('text = "A rule."', "", "rules.AT-1.text must be a str"),
    "empty text": ('"A rule."', '""', "rules.AT-1.text is empty"),
    "no date": ("read = 2024-01-01, ", "", "sources.law.read must be a date"),
    "a time for a date": ("2024-01-01", "2024-01-01T00:00:00", "sources.law.read must be a date"),
    "text for a date": ("2024-01-01", '"2024-01-01"', "sources.law.read must be a date"),
    "a number for a switch": ("attestation = false", "attestation = 0", "policy.attestation must be a bool"),
    "no table": ("[policy.needs_switch]", "", "policy.needs_switch must be a table"),
    "a rule that is none": ("[rules.AT-1]", "[rules]\nAT-2 = 1\n[rules.AT-1]", "rules.AT-2 must be a table"),
    "never and yet": (
        "[policy.needs_switch]",
        '[policy.needs_switch]\npremium = "AT-1"',
        "policy: 'premium' is there twice",
    ),
    "twice": ('["+43900"]', '["+43900", "+43900"]', "classes: '+43900' is there twice"),
    "another country's numbers": ('"+43900"', '"+49900"', "'+49900' is no beginning of a number of this country"),
    "a prefix that is none": ('"+43900"', '"0900"', "'0900' is no beginning of a number of this country"),
    "a short code that is none": ('"14*"', '"1*4"', "'1*4' is no short code of a country"),
    "short codes of nowhere": ('country = "AT"', 'country = ""', "'118' is no short code of a country"),
    "a list with a number": ('["118", "14*"]', "[118]", "classes.directory.short_codes must be a list of texts"),
    "text for a list": ('["+43900"]', '"+43900"', "classes.premium.prefixes must be a list of texts"),
    "nothing withheld to": ("133 =", '"+43133" =', "policy.never_withheld_to must be short codes"),
    "a home that is none": ('country = "AT"', 'country = "AT"\nhome = ["XX"]', "home must be countries"),
    "shared codes": (
        'country = "AT"',
        'country = "AT"\nshared_codes = ["+43"]',
        "shared_codes belong in the default file",
    ),
    "no TOML": ("[rules.AT-1]", "[rules.AT-1", "Expected"),
}


@pytest.mark.parametrize(("good", "bad", "error"), BAD.values(), ids=BAD.keys())
def test_a_data_file_with_an_error_is_refused(good: str, bad: str, error: str) -> None:
    assert good in GOOD
    with pytest.raises(DataError) as refused:
        read_pack(GOOD.replace(good, bad, 1), "at.toml")
    assert str(refused.value).startswith("at.toml: ")
    assert error in str(refused.value)


# --- whatever goes in -------------------------------------------------------------------------------------

_NUMBERISH = st.one_of(
    st.text(),
    st.text(alphabet="+0123456789", max_size=17),
    st.from_regex(r"\+[1-9][0-9]{2,14}", fullmatch=True),
    st.from_regex(r"\+(49|1|43|870)[0-9]{1,10}", fullmatch=True),
    st.sampled_from(EVERY_NUMBER),
)
_COUNTRY = st.one_of(st.sampled_from(["DE", "US", "FR", "AT", "CH", "AU", ""]), st.text(max_size=3))


@given(_NUMBERISH, _COUNTRY)
def test_any_text_has_a_class_in_any_country(text: str, country: str) -> None:
    assert classify(text, country) in NumberClass
    assert is_abroad(text, country) in {True, False}


@given(_COUNTRY, st.sampled_from(NumberClass), st.booleans())
def test_no_switch_allows_what_is_never_presented(country: str, number_class: NumberClass, switched_on: bool) -> None:
    rules = rules_for(country)
    refusal = rules.refuses(number_class, switched_on=switched_on)
    if number_class in rules.never_presented:
        assert refusal == rules.never_presented[number_class]
    assert refusal is None or refusal in rules.rules.values()


@given(
    st.sampled_from(["+49110", "+49112", "+49115", "+49118", "+49900", "+49137"]), st.text(alphabet="0123456789", max_size=8)
)
def test_no_number_that_begins_with_a_banned_range_escapes_it(prefix: str, more: str) -> None:
    assert classify(prefix + more, "DE") in rules_for("DE").never_presented
