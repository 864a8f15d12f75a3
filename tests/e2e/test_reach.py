"""Who is anonymous, which numbers can be filtered and reached, and what an extension leads to."""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import Fsroute
from tests.support.sip import Answer, Carrier, MakePhone, Ring
from tests.support.switch import Switch

REJECTING, SEQUENTIAL, FILTERED = "+492214710500", "+492214710602", "+492214710616"

NOBODY: dict[str, tuple[str, str]] = {
    "ANONYMOUS on a keypad": ("+266696687", ""),
    "ANONYMOUS on a keypad, with a name": ("+266696687", "Anonymous"),
    "UNAVAILABLE on a keypad": ("+86282452253", ""),
    "zeros": ("0000000000", ""),
    "zeros with a plus": ("+0000000000", ""),
    "zeros behind a calling code": ("+10000000000", ""),
    "a word with a plus": ("+anonymous", ""),
    "a German word": ("Unbekannt", ""),
    "a word that is escaped": ("num%C3%A9ro%20masqu%C3%A9", ""),
    "punctuation": ("-", ""),
    "a row of X": ("XXXXXX", ""),
    "a name without a number": ("trunk77", "Private Number"),
    "a name without a number, in Czech": ("trunk77", "Soukromé číslo"),
}


@pytest.mark.parametrize(("user", "name"), NOBODY.values(), ids=NOBODY.keys())
def test_who_has_no_number_is_rejected_where_anonymous_callers_are(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, user: str, name: str
) -> None:
    desk = phone("1001", Answer())
    placed = carrier.call(REJECTING, from_user=user, display_name=name)
    assert placed.wait_final() == 603
    assert desk.calls == []
    assert (fsroute.routed()[-1]["caller"], fsroute.routed()[-1]["caller_id"]) == ("anonymous", "caller_anonymous")


def test_a_host_that_is_none_is_a_wish_for_privacy(fsroute: Fsroute, carrier: Carrier) -> None:
    assert carrier.call(REJECTING, from_domain="anonymous.invalid").wait_final() == 603


ALSO_NOBODY = {
    "Remote-Party-ID hides the URI": "Remote-Party-ID: <sip:+493023125002@carrier.example>;party=calling;privacy=uri",
    "Remote-Party-ID hides it in full": "Remote-Party-ID: <sip:+493023125002@carrier.example>;party=calling;privacy=full",
    "the identity is anonymous": "P-Asserted-Identity: <sip:anonymous@anonymous.invalid>",
    "the identity is not available": 'P-Asserted-Identity: "Unavailable" <sip:unavailable@unknown.invalid>',
    "the identity is a stand-in": "P-Asserted-Identity: <sip:+266696687@carrier.example>",
}


@pytest.mark.parametrize("header", ALSO_NOBODY.values(), ids=ALSO_NOBODY.keys())
def test_who_is_hidden_beside_a_number_in_from_is_anonymous(carrier: Carrier, header: str) -> None:
    assert carrier.call(REJECTING, extra_headers=[header]).wait_final() == 603


def test_phones_see_nobody_where_nobody_is_said_to_call(carrier: Carrier, phone: MakePhone) -> None:
    desk = phone("1001", Ring())
    placed = carrier.call(SEQUENTIAL, from_user="+266696687", display_name="+266696687")
    assert "266696687" not in desk.wait_invite().invite.raw.decode()
    placed.cancel()


@pytest.mark.parametrize("user", ["266696687", "+493023125001", "+800123456"])
def test_who_has_a_number_is_not_rejected(fsroute: Fsroute, carrier: Carrier, phone: MakePhone, user: str) -> None:
    phone("1001", Answer())
    placed = carrier.call(REJECTING, from_user=user, display_name="Anonymous")
    placed.wait_answer()
    placed.bye()


@pytest.mark.parametrize("caller", ["+5215555123456", "+521555512345", "+1202555012"])
def test_a_caller_whom_phonenumbers_calls_impossible_is_filtered(fsroute: Fsroute, carrier: Carrier, caller: str) -> None:
    assert carrier.call(FILTERED, from_user=caller).wait_final() == 603


def test_a_caller_whom_no_filter_names_is_not(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    phone("1003", Answer())
    placed = carrier.call(FILTERED, from_user="+120255501234")
    placed.wait_answer()
    placed.bye()


@pytest.mark.parametrize("spelling", ["+5215555123456", "5215555123456", "005215555123456"])
def test_a_number_that_phonenumbers_calls_impossible_is_reached(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, spelling: str
) -> None:
    phone("1003", Answer())
    placed = carrier.call(spelling)
    placed.wait_answer()
    assert fsroute.routed()[-1]["number"] == "+5215555123456"
    placed.bye()


def test_an_extension_ends_in_the_mailbox_of_its_user_s_number(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    office, stores = phone("1004", Ring()), phone("1003", Ring())
    inside = office.call("20")
    assert "<sip:13@" in stores.wait_invite().header("From")
    inside.wait_answer(8)
    time.sleep(1)
    assert "voicemail(default acme.example 1001)" in switch.log()
    inside.bye()
    told = [(line["code"], line["number"], line["rule"], line["caller_id"]) for line in fsroute.routed()[-2:]]
    assert told == [
        ("routed", "+492214710615", "+492214710615/1", "internal_extension"),
        ("routed", "+492214710615", "+492214710615/9", "internal_extension"),
    ]


def test_a_short_code_is_forwarded_as_its_number_is(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    office, stores = phone("1004", Ring()), phone("1003", Ring())
    carrier.numbers["+491713920064"] = Answer()
    inside = office.call("77")
    assert "<sip:13@" in stores.wait_invite().header("From")
    mobile = carrier.wait_invite(8)
    assert mobile.header("From").startswith("<sip:+492214710614@")
    assert mobile.header("Diversion") == "<sip:+492214710614@carrier.example>;reason=no-answer;counter=1"
    inside.wait_answer()
    inside.bye()
