"""What people dial and carriers send, and the E.164 numbers it means."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsroute.model import NumberFormat
from fsroute.number import calling_code, candidates, is_country, is_e164, parsed, spelled, written

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
