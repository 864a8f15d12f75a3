"""What stands for a caller without a number, and that no number does."""

from __future__ import annotations

import unicodedata

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.callerid import anonymous
from fsroute.callerid.anonymous import AnonymousCallers, hides_phone, known, names_nobody, stands_for_nobody
from fsroute.errors import DataError
from fsroute.numbers.phone_number import parsed

NOBODY = [
    *("+266696687", "+7378742833", "+2562533", "+86282452253", "sip:+266696687@carrier.example", "+26 6696687"),
    *("0", "00", "0000000000", "+0000000000", "+0", "000-000-0000", "0" * 500, "+10000000000", "+4900000000"),
    *(
        "anonymous",
        "+anonymous",
        "Anonymous",
        "sip:anonymous@anonymous.invalid",
        "anonymous;phone-context=+49",
        "a-n-o-nymous",
    ),
    *(
        "Anonym",
        "anonyme",
        "anonimo",
        "ANÓNIMO",
        "anonimowy",
        "unbekannt",
        "Óþekkt",
        "Άγνωστος",
        "ΑΓΝΩΣΤΟΣ",
        "非通知",
        "अज्ञात",
    ),
    *("Private Number", "Private_Number", "private-number", "Private%20Number", "Num%C3%A9ro%20masqu%C3%A9", "out.of.area"),
    *(
        "Out of Area",
        "no-number",
        "XXXXXX",
        "xxx",
        "-",
        "+",
        "--",
        "",
        "  ",
        "blocked",
        "restricted",
        "withheld",
        "asserted-id",
    ),
]

SOMEBODY = [
    *("+493023125001", "03023125001", "110", "1001", "10", "100", "000123", "0049", "00000001", "1000000", "+80000000000"),
    *("266696687", "7378742833", "2562533", "86282452253", "+2666966870", "+26669668", "+266", "+10000000001"),
    *("alice", "anonymousx", "mrunknown", "trunk77", "xx", "0171XXXXXXX", "anna.privat", "%41"),
]


@pytest.mark.parametrize("user", NOBODY)
def test_who_has_no_number(user: str) -> None:
    assert stands_for_nobody(user)


@pytest.mark.parametrize("user", SOMEBODY)
def test_who_is_somebody(user: str) -> None:
    assert not stands_for_nobody(user)


def _spellings(region: str) -> set[str]:
    kinds = range(11)
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in kinds]
    forms = (0, 1, 2, 3)  # E164, INTERNATIONAL, NATIONAL, RFC3966
    written = {phonenumbers.format_number(number, form) for number in examples if number for form in forms}
    written |= {e164[1:] for e164 in written if e164.startswith("+")}
    return written | {"00" + e164[1:] for e164 in written if e164.startswith("+")}


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_no_number_of_any_country_is_anonymous(region: str) -> None:
    spellings = _spellings(region)
    assert spellings
    assert [spelling for spelling in spellings if stands_for_nobody(spelling)] == []


def test_no_stand_in_is_a_valid_number() -> None:
    found = [parsed(number) for number in known().numbers]
    assert [number for number in found if number is not None and phonenumbers.is_valid_number(number)] == []


@given(st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True))
def test_only_what_is_listed_or_zero_but_for_its_calling_code_is_anonymous(number: str) -> None:
    if stands_for_nobody(number):
        assert number in known().numbers or set(number[4:]) == {"0"}


@given(st.text())
def test_any_text_is_somebody_or_nobody(text: str) -> None:
    assert {stands_for_nobody(text), hides_phone(text), names_nobody(text)} <= {True, False}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("anonymous", True),
        ("Anonymous", True),
        ("sip:anonymous@anonymous.invalid", True),
        ("", True),
        ("unavailable", True),
        ("0000", False),
        ("00", False),
        ("privat", False),
        ("xxx", False),
        ("-", False),
        ("blocked", False),
        ("1001", False),
    ],
)
def test_a_phone_may_have_any_name_but_few(user: str, expected: bool) -> None:
    assert hides_phone(user) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Private Number", True), ("Appel masqué", False), ("Unbekannt", True), ("0000", False), ("", False)],
)
def test_a_name_is_a_word_and_no_row_of_zeros(name: str, expected: bool) -> None:
    assert names_nobody(name) is expected


# --- the data file ----------------------------------------------------------------------------------------

GOOD = """
[sources.here]
name = "a standard"
paragraph = "1"
read = 2026-11-26
confidence = "high"
phones = true
words = ["Nobody At All"]
numbers = ["+266696687"]
"""


def test_a_data_file_is_read() -> None:
    nobody = frozenset({"nobodyatall"})
    assert anonymous.read(GOOD, "anonymous.toml") == AnonymousCallers(nobody, frozenset({"+266696687"}), nobody)
    assert anonymous.read(GOOD.replace("true", "false"), "anonymous.toml").of_phones == frozenset()


@pytest.mark.parametrize(
    ("good", "bad", "error"),
    [
        ("[sources.here]", "[other.here]", "sources must be a table"),
        ('name = "a standard"\n', "", "sources.here.name must be a str"),
        ('"1"', "1", "sources.here.paragraph must be a str"),
        ("2026-11-26", '"2026-11-26"', "sources.here.read must be a date"),
        ('"high"', '"certain"', "'certain' is not a valid Confidence"),
        ("phones", "fones", "unknown key sources.here.fones"),
        ('["Nobody At All"]', '"Nobody"', "sources.here.words must be a list of texts"),
        ("Nobody At All", "---", "sources.here.words: '---' is no word"),
        ("Nobody At All", "1001", "sources.here.words: '1001' is no word"),
        ("+266696687", "266696687", "sources.here.numbers: '266696687' is no E.164 text"),
    ],
)
def test_a_data_file_with_an_error_is_refused(good: str, bad: str, error: str) -> None:
    with pytest.raises(DataError) as raised:
        anonymous.read(GOOD.replace(good, bad), "anonymous.toml")
    assert str(raised.value) == f"anonymous.toml: {error}"


def test_no_word_is_longer_than_what_is_looked_at() -> None:
    assert max(map(len, known().words)) < len(unicodedata.normalize("NFKD", "x" * 64))
