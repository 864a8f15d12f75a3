"""What people dial and carriers send, and the E.164 numbers it means."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsroute.model import NumberFormat
from fsroute.numbers.phone_number import (
    calling_code,
    candidates,
    dialled,
    has_area_codes,
    is_area_code,
    is_context_malformed,
    is_country,
    is_e164,
    is_local,
    is_valid,
    parsed,
    spelled,
    written,
)

COLOGNE = "+492214710100"

ONE_NUMBER = [
    "02214710100",
    "0221 4710100",
    "0221/4710-100",
    "0221.4710.100",
    "(0221) 4710100",
    "00492214710100",
    "0049 221 4710100",
    "+492214710100",
    "+49 221 4710100",
    "+49 (0)221 4710100",
    "+49(0)2214710100",
    "(+49) 221 4710100",
    "+(49) 221 4710100",
    "  +49 221 4710100  ",
    "tel:+492214710100",
    "tel:+49-221-4710100;phone-context=acme.example",
    "TEL:02214710100",
    "sip:+492214710100@acme.example",
    "sips:+492214710100@acme.example:5061;transport=tls",
    "SIP:02214710100@192.0.2.1;user=phone",
    "sip:+492214710100;npdi;rn=+492219@acme.example",
    "+492214710100@acme.example",
    "02214710100;user=phone",
]


@pytest.mark.parametrize("text", ONE_NUMBER)
def test_every_usual_spelling_means_the_same_number(text: str) -> None:
    assert candidates(text, "DE") == (COLOGNE,)


AMBIGUOUS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "a carrier's digits are international first": ("492214710100", "DE", (COLOGNE, "+49492214710100")),
    "a carrier's digits that are too long for another meaning": ("390669812345", "IT", ("+390669812345",)),
    "digits without the country's code are national first": ("4710100", "DE", ("+494710100", "+4710100")),
    "a ten-digit American number": ("2125550123", "US", ("+12125550123",)),
}


@pytest.mark.parametrize(("text", "country", "expected"), AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_digits_without_a_prefix_may_mean_two_numbers(text: str, country: str, expected: tuple[str, ...]) -> None:
    assert candidates(text, country) == expected


DIGITS, NATIONAL = NumberFormat.DIGITS, NumberFormat.NATIONAL


@pytest.mark.parametrize(
    "text",
    [
        "12025550123",
        "442079460123",
        "33199001234",
        "43662123456",
        "41445512345",
        "390612345678",
        "493023125001",
    ],
)
def test_a_trunk_that_writes_digits_means_what_stands_behind_a_plus(text: str) -> None:
    assert candidates(text, "DE", DIGITS) == (f"+{text}",)


@pytest.mark.parametrize("text", ["02214710100", "00492214710100", "(0221) 4710100", "tel:02214710100"])
def test_a_trunk_that_writes_digits_means_something_else_by_a_zero(text: str) -> None:
    assert candidates(text, "DE", DIGITS) == (COLOGNE,)


VALID_FIRST: dict[str, tuple[str, str]] = {
    "9123456789": ("IN", "+919123456789"),
    "5532221234": ("BR", "+555532221234"),
    "3931234567": ("IT", "+393931234567"),
    "484812345": ("PL", "+48484812345"),
    "318123456": ("NL", "+31318123456"),
    "36123456": ("HU", "+3636123456"),
    "46123456": ("SE", "+4646123456"),
    "380123456": ("UA", "+380380123456"),
    "841234567": ("VN", "+84841234567"),
    "201234567": ("EG", "+20201234567"),
    "62212345": ("ID", "+6262212345"),
    "4931123456": ("DE", "+494931123456"),
}
"""National numbers that begin as an international one of the country does."""


@pytest.mark.parametrize(("digits", "country", "expected"), [(digits, *row) for digits, row in VALID_FIRST.items()])
@pytest.mark.parametrize("form", [NumberFormat.E164, NumberFormat.INTERNATIONAL, NATIONAL])
@pytest.mark.parametrize(
    "spelling", ["{}", "tel:{}", "sip:{}@carrier.example;user=phone", "{};phone-context=carrier.example"]
)
def test_no_invalid_reading_stands_before_a_valid_one(
    digits: str, country: str, expected: str, form: NumberFormat, spelling: str
) -> None:
    assert candidates(spelling.format(digits), country, form)[0] == expected


@given(st.text("0123456789", min_size=3, max_size=14), st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_once_a_reading_is_invalid_so_are_those_behind_it(digits: str, country: str) -> None:
    for form in NumberFormat:
        valid = [is_valid(e164) for e164 in candidates(digits, country, form)]
        assert valid == sorted(valid, reverse=True)


CONTEXTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "of an area": ("4710602;phone-context=+49221", "DE", ("+492214710602", "+494710602")),
    "of an area, in a country elsewhere": ("4710602;phone-context=+49221", "US", ("+492214710602", "+494710602")),
    "of an area, with separators": ("471-0602;phone-context=+49-221", "DE", ("+492214710602", "+494710602")),
    "of an area, to another area": ("03023125001;phone-context=+49221", "DE", ("+493023125001",)),
    "of an area, abroad": ("0012025550123;phone-context=+49221", "FR", ("+12025550123",)),
    "of a country": ("2025550123;phone-context=+1", "DE", ("+12025550123",)),
    "of a country, with its prefix": ("12025550123;phone-context=+1", "DE", ("+12025550123",)),
    "of a country that has no prefix": ("0612345678;phone-context=+39", "DE", ("+390612345678",)),
    "of another country": ("445512345;phone-context=+49", "CH", ("+49445512345",)),
    "of the own country": ("022147102000;phone-context=+49", "DE", ("+4922147102000",)),
    "of a calling code that is no country's": ("123456;phone-context=+800", "DE", ()),
    "of no calling code": ("4710602;phone-context=+999", "DE", ()),
    "of a domain: the trunk knows": ("02214710602;phone-context=acme.example", "DE", ("+492214710602",)),
    "of a word": ("02214710602;phone-context=private", "DE", ("+492214710602",)),
    "of an address": ("02214710602;phone-context=192.0.2.1", "DE", ("+492214710602",)),
    "in a sip: URI's user part": ("sip:4710602;phone-context=+49221@x.example", "DE", ("+492214710602", "+494710602")),
    "in capitals": ("4710602;ext=1;PHONE-CONTEXT=+49221;user=phone", "DE", ("+492214710602", "+494710602")),
    "beside a whole number it means nothing": ("+492214710602;phone-context=+1", "DE", ("+492214710602",)),
    "beside a whole number nonsense does no harm": ("+492214710602;phone-context=%", "DE", ("+492214710602",)),
}


@pytest.mark.parametrize(("text", "country", "expected"), CONTEXTS.values(), ids=CONTEXTS.keys())
def test_a_number_is_relative_to_its_phone_context(text: str, country: str, expected: tuple[str, ...]) -> None:
    assert candidates(text, country) == expected
    assert candidates(text, country, DIGITS) == expected


@pytest.mark.parametrize(
    "context", ["", "49", "+", "++49", "+0221", "+49a", "+1234567890123456", "%2B49", "a b", "-", "+49221!"]
)
def test_a_phone_context_that_is_neither_number_nor_name_makes_the_number_unknown(context: str) -> None:
    text = f"4710602;phone-context={context}"
    assert (candidates(text, "DE"), is_context_malformed(text)) == ((), True)
    assert not is_context_malformed("4710602;phone-context=+49221")
    assert not is_context_malformed("4710602;phone-context=acme.example")


# --- what users dial --------------------------------------------------------------------------------------

LOCAL: dict[str, tuple[str, str, str, str]] = {
    "Cologne": ("DE", "221", "4710200", "+492214710200"),
    "Cologne, as people write it": ("DE", "221", "471-0200", "+492214710200"),
    "a local number that begins like the country": ("DE", "221", "4930123", "+492214930123"),
    "Berlin": ("DE", "30", "23125001", "+493023125001"),
    "Vienna": ("AT", "1", "5331234", "+4315331234"),
    "New York": ("US", "212", "5550123", "+12125550123"),
    "London": ("GB", "20", "79460123", "+442079460123"),
    "Dublin": ("IE", "1", "6761234", "+35316761234"),
    "Stockholm": ("SE", "8", "50012345", "+46850012345"),
    "Sydney": ("AU", "2", "99991234", "+61299991234"),
    "Tokyo": ("JP", "3", "32123456", "+81332123456"),
    "a mobile in São Paulo": ("BR", "11", "961234567", "+5511961234567"),
    "Delhi": ("IN", "11", "23456789", "+911123456789"),
}


@pytest.mark.parametrize(("country", "area_code", "text", "expected"), LOCAL.values(), ids=LOCAL.keys())
def test_a_local_number_is_one_of_the_account_s_area_or_none(country: str, area_code: str, text: str, expected: str) -> None:
    assert is_local(text, country)
    assert dialled(text, country, area_code) == (expected,)
    assert dialled(text, country) == ()


@pytest.mark.parametrize(
    ("country", "area_code", "text"), [("DE", "221", "12"), ("US", "212", "1555"), ("GB", "20", "12345")]
)
def test_what_is_no_number_of_the_area_is_not_one_of_another_area_instead(country: str, area_code: str, text: str) -> None:
    assert dialled(text, country, area_code) == ()


WHOLE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "with the prefix": ("DE", "02214710200", ("+492214710200",)),
    "international": ("DE", "0012025550123", ("+12025550123",)),
    "international without prefix, of the own country": ("DE", "492214710100", (COLOGNE, "+49492214710100")),
    "international without prefix": ("DE", "12025550123", ("+12025550123", "+4912025550123")),
    "international without prefix, British": ("DE", "442079460123", ("+442079460123", "+49442079460123")),
    "too long for a local number": ("DE", "2214710300", ("+492214710300",)),
    "ten digits": ("US", "2125550123", ("+12125550123",)),
    "eleven digits": ("US", "12125550123", ("+12125550123",)),
    "Spain dials all digits": ("ES", "912345678", ("+34912345678",)),
    "Italy": ("IT", "0612345678", ("+390612345678",)),
    "Denmark": ("DK", "32123456", ("+4532123456",)),
    "Switzerland, without the zero": ("CH", "446681800", ("+41446681800",)),
    "France, without the zero": ("FR", "142681234", ("+33142681234",)),
    "a mobile without the zero": ("IE", "871234567", ("+353871234567",)),
    "a service that nobody dials a prefix for": ("AU", "131234", ("+61131234",)),
    "one in Brazil": ("BR", "40041234", ("+5540041234",)),
    "with a context": ("DE", "4710602;phone-context=+49221", ("+492214710602", "+494710602")),
    "seven digits are none of Norway": ("FR", "4712345", ()),
}


@pytest.mark.parametrize(("country", "text", "expected"), WHOLE.values(), ids=WHOLE.keys())
def test_what_is_no_local_number_does_not_need_an_area(country: str, text: str, expected: tuple[str, ...]) -> None:
    assert not is_local(text, country)
    assert dialled(text, country) == dialled(text, country, "221") == expected


@given(st.text("0123456789", max_size=14), st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_a_local_number_leads_to_no_other_area(digits: str, country: str) -> None:
    if is_local(digits, country):
        assert dialled(digits, country) == ()
        assert all(e164 == f"+{calling_code(country)}221{digits}" for e164 in dialled(digits, country, "221"))


AREAS: dict[str, tuple[str, bool, bool]] = {
    "221": ("DE", True, True),
    "0221": ("DE", False, True),
    "171": ("DE", False, True),
    "212": ("US", True, True),
    "555": ("US", False, True),
    "1": ("AT", True, True),
    "20": ("GB", True, True),
    "91": ("ES", False, False),
    "06": ("IT", False, False),
}


@pytest.mark.parametrize(("text", "country", "expected", "has"), [(text, *row) for text, row in AREAS.items()])
def test_an_area_code_begins_numbers_of_places(text: str, country: str, expected: bool, has: bool) -> None:
    assert (is_area_code(text, country), has_area_codes(country)) == (expected, has)


ABROAD: dict[str, tuple[str, list[str], str]] = {
    "US": ("US", ["(212) 555-0123", "212-555-0123", "1 212 555 0123", "+1 212-555-0123"], "+12125550123"),
    "from the US to Germany": ("US", ["011 49 221 4710100", "+49 221 4710100"], COLOGNE),
    "FR": ("FR", ["01 42 68 12 34", "0033 1 42 68 12 34", "+33 (0)1 42 68 12 34"], "+33142681234"),
    "IT keeps its zero": ("IT", ["06 6981 2345", "0039 06 6981 2345", "+39 06 6981 2345"], "+390669812345"),
    "CH": ("CH", ["044 668 18 00", "0041 44 668 18 00", "+41 44 668 18 00"], "+41446681800"),
    "AT": ("AT", ["01 533 1234", "0043 1 533 1234", "+43 (0)1 533 1234"], "+4315331234"),
}


@pytest.mark.parametrize(("country", "texts", "expected"), ABROAD.values(), ids=ABROAD.keys())
def test_a_number_is_read_in_its_country(country: str, texts: list[str], expected: str) -> None:
    assert {text: candidates(text, country) for text in texts} == dict.fromkeys(texts, (expected,))


REFUSED = [
    "",
    " ",
    "+",
    "0",
    "00",
    "anonymous",
    "0800FLOWERS",
    "0221 4710100 ext 3",
    "0221 4710100x3",
    "02214710100#",
    "*21",
    "++492214710100",
    "0221\x004710100",
    "\x0002214710100",
    "0221\r\n4710100",
    "02214710100\x7f",
    "\u0660\u0662\u0662\u0661\u0664\u0667\u0661\u0660\u0661\u0660\u0660",
    "\uff10\uff12\uff12\uff11\uff14\uff17\uff11\uff10\uff11\uff10\uff10",
    "+49\u200b2214710100",
    "02214710100' OR '1'='1",
    "02214710100'; DROP TABLE numbers; --",
    "02214710100,user/1001",
    "02214710100,,100",
    "02214710100|user/1001",
    "${system(touch x)}",
    "[leg_timeout=1]02214710100",
    "{a=1}02214710100",
    "+492214710100:_:user/1001",
    "%2B492214710100",
    "+4922147101001234",
    "0221471010012345678901234567890",
    "0" * 41,
    "1" * 100_000,
    "sip:acme.example",
    "tel:sip:+492214710100",
    "<sip:+492214710100@acme.example>",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_spelled_like_a_number_means_none(text: str) -> None:
    assert candidates(text, "DE") == ()


E164: dict[str, bool] = {
    "+492214710100": True,
    "+123": True,
    "+123456789012345": True,
    "+1234567890123456": False,
    "+12": False,
    "+0123456": False,
    "492214710100": False,
    "+49221471010a": False,
    "+492214710100\n": False,
    "+49\u0662\u0662\u0661\u0664\u0667\u0661\u0660": False,
}


@pytest.mark.parametrize(("text", "expected"), E164.items())
def test_e164_is_a_plus_and_3_to_15_digits(text: str, expected: bool) -> None:
    assert is_e164(text) is expected


WRITTEN: dict[str, tuple[str, str, tuple[str, str, str, str]]] = {
    # number, country of the carrier, then as e164, digits, national, international
    "at home": (COLOGNE, "DE", (COLOGNE, "492214710100", "02214710100", "00492214710100")),
    "a mobile": ("+491713920042", "DE", ("+491713920042", "491713920042", "01713920042", "00491713920042")),
    "abroad": ("+33142681234", "DE", ("+33142681234", "33142681234", "0033142681234", "0033142681234")),
    "without a national prefix": ("+390669812345", "IT", ("+390669812345", "390669812345", "0669812345", "00390669812345")),
    "one that is also the country's code": (
        "+12125550123",
        "US",
        ("+12125550123", "12125550123", "12125550123", "01112125550123"),
    ),
    "from the US": (COLOGNE, "US", (COLOGNE, "492214710100", "011492214710100", "011492214710100")),
    "a prefix of two digits": ("+3612345678", "HU", ("+3612345678", "3612345678", "0612345678", "003612345678")),
    "several international prefixes": (COLOGNE, "AU", (COLOGNE, "492214710100", "0011492214710100", "0011492214710100")),
    "a country without a plan": (COLOGNE, "XX", (COLOGNE, "492214710100", "00492214710100", "00492214710100")),
    "an emergency number stays": ("112", "DE", ("112", "112", "112", "112")),
    "a service number stays": ("116117", "DE", ("116117", "116117", "116117", "116117")),
}


@pytest.mark.parametrize(("number", "country", "expected"), WRITTEN.values(), ids=WRITTEN.keys())
def test_a_number_is_written_as_a_carrier_of_a_country_wants_it(
    number: str, country: str, expected: tuple[str, str, str, str]
) -> None:
    assert tuple(written(number, form, country) for form in NumberFormat) == expected


FORMATTED: dict[str, tuple[str, str]] = {
    "+5491155559876": ("AR", "0111555559876"),
    "+573211234567": ("CO", "3211234567"),
    "+51912345678": ("PE", "912345678"),
    "+8613123456789": ("CN", "13123456789"),
    "+5511961234567": ("BR", "11961234567"),
    "+59171234567": ("BO", "71234567"),
    "+74951234567": ("RU", "84951234567"),
    "+3612345678": ("HU", "0612345678"),
    "+523311234567": ("MX", "3311234567"),
    "+12125550123": ("CA", "12125550123"),
}


@pytest.mark.parametrize(("number", "country", "expected"), [(number, *row) for number, row in FORMATTED.items()])
def test_a_national_number_is_written_as_its_country_dials_it(number: str, country: str, expected: str) -> None:
    assert written(number, NATIONAL, country) == expected


def _examples() -> list[tuple[str, str]]:
    """A number of each kind in each country."""
    kinds = sorted(phonenumbers.PhoneNumberType.values())
    found = ((phonenumbers.example_number_for_type(region, kind), region) for region in REGIONS for kind in kinds)
    formats = phonenumbers.PhoneNumberFormat
    return [(phonenumbers.format_number(example, formats.E164), region) for example, region in found if example is not None]


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize("form", NumberFormat)
def test_what_is_written_for_a_trunk_is_read_from_it_in_every_country(form: NumberFormat) -> None:
    examples = _examples()
    assert len(examples) > 1000
    read = {(e164, region): candidates(written(e164, form, region), region, form)[:1] for e164, region in examples}
    assert read == {(e164, region): (e164,) for e164, region in examples}


@pytest.mark.parametrize("form", NumberFormat)
def test_and_so_is_a_number_of_another_country(form: NumberFormat) -> None:
    numbers = [COLOGNE, "+12125550123", "+33142681234", "+81312345678"]
    wrong = [
        (e164, region, text)
        for e164 in numbers
        for region in REGIONS
        if candidates(text := written(e164, form, region), region, form)[:1] != (e164,)
    ]
    assert wrong == []


@pytest.mark.parametrize(("country", "code"), [("DE", "49"), ("US", "1"), ("IT", "39")])
def test_a_country_has_a_calling_code(country: str, code: str) -> None:
    assert calling_code(country) == code


def test_only_countries_with_a_numbering_plan_are_countries() -> None:
    assert {country: is_country(country) for country in ("DE", "US", "XX", "de", "")} == {
        "DE": True,
        "US": True,
        "XX": False,
        "de": False,
        "": False,
    }


# --- whatever goes in -------------------------------------------------------------------------------------

COUNTRIES = ("DE", "US", "FR", "IT", "CH", "AT", "GB")

_NUMBERISH = st.text(alphabet="0123456789+-()./ ;@:*#telsip%\x00\n\u0663\uff14", max_size=60)


@given(st.one_of(st.text(), _NUMBERISH), st.sampled_from(COUNTRIES))
def test_every_candidate_of_any_text_is_e164(text: str, country: str) -> None:
    found = candidates(text, country)
    assert all(is_e164(candidate) for candidate in found)
    assert len(found) == len(set(found)) <= 2
    assert not found or spelled(text) is not None


VALID = {
    "+492214710100": ("DE", "00"),
    "+491713920042": ("DE", "00"),
    "+493023125001": ("DE", "00"),
    "+4922129191999": ("DE", "00"),
    "+4989999998250": ("DE", "00"),
    "+4940669691": ("DE", "00"),
    "+12125550123": ("US", "011"),
    "+14155550199": ("US", "011"),
    "+33142681234": ("FR", "00"),
    "+33612345678": ("FR", "00"),
    "+390669812345": ("IT", "00"),
    "+393491234567": ("IT", "00"),
    "+41446681800": ("CH", "00"),
    "+41791234567": ("CH", "00"),
    "+4315331234": ("AT", "00"),
    "+43664123456": ("AT", "00"),
}


def _spellings(number: str) -> list[str]:
    home, international = VALID[number]
    parsed = phonenumbers.parse(number)
    formats = phonenumbers.PhoneNumberFormat
    national = phonenumbers.format_number(parsed, formats.NATIONAL)
    digits = "".join(filter(str.isdigit, national))
    return [
        number,
        number.removeprefix("+"),
        international + number.removeprefix("+"),
        digits,
        national,
        phonenumbers.format_number(parsed, formats.INTERNATIONAL),
        phonenumbers.format_out_of_country_calling_number(parsed, "CH" if home == "DE" else home),
        f"tel:{number};phone-context=example.com",
        f"sip:{number}@{home.lower()}.example;user=phone",
        f"sip:{digits}@192.0.2.1:5060;transport=udp",
    ]


@pytest.mark.parametrize("number", VALID)
def test_every_valid_number_is_found_from_each_usual_spelling(number: str) -> None:
    home = VALID[number][0]
    spellings = _spellings(number)
    assert {text: number in candidates(text, home) for text in spellings} == dict.fromkeys(spellings, True)


@given(st.sampled_from(sorted(VALID)), st.sampled_from(COUNTRIES))
def test_a_number_with_a_plus_means_the_same_everywhere(number: str, country: str) -> None:
    assert candidates(number, country) == (number,)


@given(st.sampled_from(sorted(VALID)), st.sampled_from(NumberFormat), st.sampled_from(COUNTRIES))
def test_what_is_written_for_a_country_means_the_same_number_there(number: str, form: NumberFormat, country: str) -> None:
    text = written(number, form, country)
    assert number in candidates(text, country)


_codes = st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)) | st.integers(1, 999)


@settings(max_examples=1000)
@given(_codes, st.text("0123456789", max_size=12), st.sampled_from(["DE", "US", None]))
def test_an_e164_number_is_read_as_phonenumbers_reads_it(code: int, national: str, country: str | None) -> None:
    text = f"+{code}{national}"
    try:
        expected = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        expected = None
    assert parsed(text, country) == expected


REPORTED: dict[str, tuple[str, str, NumberFormat, str]] = {
    # A number of Megafon was cut after the country's former trunk prefix 8.
    "floere/phony#522": ("992881234567", "DE", NumberFormat.DIGITS, "+992881234567"),
    "floere/phony#522, inside": ("881234567", "TJ", NumberFormat.NATIONAL, "+992881234567"),
    # A mobile got a + before its national digits and became a number of another country.
    "rapidpro/rapidpro#304": ("07531669965", "GB", NumberFormat.E164, "+447531669965"),
    "rapidpro/rapidpro#304, without the prefix": ("7531669965", "GB", NumberFormat.NATIONAL, "+447531669965"),
    # The carrier wrote E.164 without + on a trunk that was set to national numbers.
    "irontec/ivozprovider#1197": ("34945945945", "ES", NumberFormat.NATIONAL, "+34945945945"),
    # A national number of another line's country was taken for a German one.
    "haumacher/phoneblock#505": ("02079460123", "GB", NumberFormat.E164, "+442079460123"),
}


@pytest.mark.parametrize(("text", "country", "form", "expected"), REPORTED.values(), ids=REPORTED.keys())
def test_what_others_reported_is_read_right(text: str, country: str, form: NumberFormat, expected: str) -> None:
    assert candidates(text, country, form)[0] == expected
