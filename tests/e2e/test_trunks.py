"""A trunk describes both directions: how its carrier writes numbers, and which of them is shown, on the wire."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Change, Fsroute
from tests.support.sip import Answer, Carrier, IncomingCall, MakePhone, Message, OutgoingCall, Peer, Ring
from tests.support.switch import Switch

pytestmark = pytest.mark.timeout(120)


LINE, VERIFIED = "+492214710100", "+498999998123"
DESK = "+492214710602"
"""Rings 1001 first."""
FORWARDING = "+492214710611"
"""Its only target is a mobile."""


def seen(invite: Message) -> tuple[str, str]:
    """The name and the number that a phone shows."""
    found = re.match(r'(?:"([^"]*)" )?<sip:([^@]*)@', invite.get("From"))
    assert found is not None, invite.get("From")
    return found[1] or "", found[2]


def wait_call(peer: Peer, number: int) -> IncomingCall:
    """The call that is the peer's first, second, ..."""
    return peer.wait(lambda: peer.calls[number - 1] if len(peer.calls) >= number else None, 5, "a call")


def to_host(switch: Switch, user: str) -> str:
    return f"sip:{user}@{switch.external[0]}:{switch.external[1]}"


# --- how numbers are written ------------------------------------------------------------------------------

AMERICAN, ITALIAN = "+12025550123", "+393931234567"
WRITES = {
    "digits": ("DE", "digits", "12025550123", AMERICAN, "12025550123"),
    "digits of the own country": ("DE", "digits", "493023125001", "+493023125001", "493023125001"),
    "national in Italy": ("IT", "national", "3931234567", ITALIAN, "3931234567"),
    "without a word, in Italy": ("IT", "e164", "3931234567", ITALIAN, ITALIAN),
    "international": ("DE", "international", "0012025550123", AMERICAN, "0012025550123"),
}


@pytest.mark.parametrize(("country", "form", "in_from", "number", "sent"), WRITES.values(), ids=WRITES.keys())
def test_a_caller_is_read_as_the_trunk_writes(
    fsroute: Fsroute,
    carrier: Carrier,
    phone: MakePhone,
    caller: MakePhone,
    change: Change,
    country: str,
    form: str,
    in_from: str,
    number: str,
    sent: str,
) -> None:
    change("UPDATE trunks SET number_format = ?, country = ?", form, country)
    change("UPDATE rule_targets SET caller_id = 'original' WHERE number = ?", FORWARDING)
    desk = phone("1001", Ring())
    placed = carrier.call(DESK, from_user=in_from)
    assert seen(desk.wait_invite().invite) == (number, number)
    placed.cancel()
    named = carrier.call(DESK, display_name="Ann", from_user=in_from)
    assert seen(wait_call(desk, 2).invite) == ("Ann", number)
    named.cancel()
    # To the mobile, and back: the phone redials what it was shown.
    carrier.call(FORWARDING, from_user=in_from)
    assert seen(carrier.wait_invite().invite)[1] == sent
    caller().call(number)
    assert wait_call(carrier, 2).number == sent


def test_a_rule_knows_the_number_that_digits_mean(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, change: Change
) -> None:
    change("UPDATE trunks SET number_format = 'digits'")
    change("INSERT INTO rule_callers VALUES (?, 1, '+1*')", DESK)
    desk = phone("1001", Ring())
    assert carrier.call(DESK, from_user="493023125001").wait_final() == 404
    carrier.call(DESK, from_user="12025550123")
    assert seen(desk.wait_invite().invite)[1] == AMERICAN
    assert len(desk.calls) == 1


# --- which number is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["e164", "digits", "national"])
@pytest.mark.parametrize("profile", ["presented-in-from", "presented-in-pai", "preferred", "remote-party", "from-only"])
def test_what_leaves_through_a_trunk_is_shown_when_it_comes_in(
    fsroute: Fsroute,
    switch: Switch,
    carrier: Carrier,
    phone: MakePhone,
    caller: MakePhone,
    change: Change,
    profile: str,
    form: str,
) -> None:
    change("UPDATE trunks SET identity_profile = ?, number_format = ?", profile, form)
    shows = LINE if profile == "from-only" else VERIFIED
    change("UPDATE accounts SET refused_caller_id = 'network_number' WHERE name = 'acme'")
    caller("1002").call("03023125077")
    left = carrier.wait_invite().invite
    headers = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy")
    desk = phone("1001", Ring())
    carrier.place(
        to_host(switch, DESK),
        left.get("From").partition(";tag=")[0],
        [f"{name}: {value}" for name in headers for value in left.all(name)],
    )
    assert seen(desk.wait_invite().invite) == (shows, shows)


IDENTITIES = {
    "a tel: URI": ("+498999998123", [f"P-Asserted-Identity: <tel:{LINE}>"], VERIFIED),
    "no number in From": ("alice", [f"P-Asserted-Identity: <sip:{LINE}@x.example>"], LINE),
    "no number in the first of two": (
        "alice",
        ["P-Asserted-Identity: <sip:alice@x.example>", f"P-Asserted-Identity: <tel:{LINE}>"],
        LINE,
    ),
    "the same in one header": ("alice", [f'P-Asserted-Identity: "A, <B>" <sip:alice@x.example>, <tel:{LINE}>'], LINE),
    "relative to an area": ("alice", ["P-Asserted-Identity: <tel:4710100;phone-context=+49221>"], LINE),
    "an extension in From": ("1001", [f"Remote-Party-ID: <sip:{LINE}@x.example>;party=calling"], LINE),
}


@pytest.mark.parametrize(("in_from", "headers", "shown"), IDENTITIES.values(), ids=IDENTITIES.keys())
def test_every_identity_is_seen(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, in_from: str, headers: list[str], shown: str
) -> None:
    desk = phone("1001", Ring())
    carrier.call(DESK, from_user=in_from, extra_headers=headers)
    assert seen(desk.wait_invite().invite)[1] == shown


def test_an_anonymous_from_stays_hidden_whatever_the_network_asserts(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, change: Change
) -> None:
    desk = phone("1001", Ring())
    for profile in ("presented-in-from", "presented-in-pai"):
        change("UPDATE trunks SET identity_profile = ?", profile)
        carrier.call(
            DESK,
            from_user="anonymous",
            from_domain="anonymous.invalid",
            extra_headers=[f"P-Asserted-Identity: <sip:{VERIFIED}@x.example>"],
        )
    wait_call(desk, 2)
    assert [seen(call.invite) for call in desk.calls] == [("Anonymous", "anonymous")] * 2
    assert all(VERIFIED[3:] not in call.invite.raw.decode() for call in desk.calls)


PRIVACY = {
    "in one header": (["Privacy: history;id"], True),
    "in the first of two": (["Privacy: id", "Privacy: history"], True),
    # FreeSWITCH tells of the first one only, whatever is set (docs/operating.md).
    "in the second of two": (["Privacy: history", "Privacy: id"], False),
}


@pytest.mark.parametrize(("headers", "hidden"), PRIVACY.values(), ids=PRIVACY.keys())
def test_a_wish_for_privacy_counts_where_freeswitch_tells_of_it(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, headers: list[str], hidden: bool
) -> None:
    desk = phone("1001", Ring())
    carrier.call(DESK, from_user=VERIFIED, extra_headers=headers)
    assert (VERIFIED[1:] not in desk.wait_invite().invite.raw.decode()) is hidden


# --- which number was called ------------------------------------------------------------------------------

CALLED = {
    "in the user part": "sip:4710602;phone-context=+49221@{0}:{1}",
    "escaped": "sip:4710602;phone-context=%2B49221@{0}:{1};user=phone",
    "behind the host": "sip:4710602@{0}:{1};phone-context=+49221;user=phone",
    "a tel: URI": "tel:4710602;phone-context=+49221",
    "of the country": "sip:02214710602;phone-context=+49@{0}:{1}",
    "of a domain": "sip:02214710602;phone-context=carrier.example@{0}:{1}",
}


@pytest.mark.parametrize("uri", CALLED.values(), ids=CALLED.keys())
def test_the_called_number_may_be_relative(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, uri: str
) -> None:
    desk = phone("1001", Ring())
    carrier.place(uri.format(*switch.external), f"<sip:{VERIFIED}@carrier.example>")
    desk.wait_invite()
    assert fsroute.routed()[-1]["number"] == DESK


@pytest.mark.parametrize("context", ["49221", "+", "+49x", "a%20b"])
def test_a_called_number_that_is_relative_to_nonsense_is_refused(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, context: str
) -> None:
    placed = carrier.place(to_host(switch, f"4710602;phone-context={context}"), f"<sip:{VERIFIED}@carrier.example>")
    status = placed.wait_final()
    assert status == 484, fsroute.routed()[-1]
    line = fsroute.routed()[-1]
    assert (line["code"], line["final"]) == ("phone_context_malformed", "hangup INVALID_NUMBER_FORMAT")


def in_to(switch: Switch, carrier: Carrier, to: str) -> OutgoingCall:
    """A call to the name under which a gateway has registered; the number stands in To."""
    return carrier.place(to_host(switch, "gateway-7"), f"<sip:{VERIFIED}@carrier.example>", to=f"<sip:{to}@carrier.example>")


def test_a_carrier_may_put_the_called_number_into_to(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, change: Change
) -> None:
    assert in_to(switch, carrier, DESK).wait_final() == 404
    change("UPDATE trunks SET called_number_in = 'to', number_format = 'digits'")
    desk = phone("1001", Answer())
    in_to(switch, carrier, DESK.removeprefix("+")).wait_answer()
    assert (len(desk.calls), fsroute.routed()[-1]["number"]) == (1, DESK)
    assert in_to(switch, carrier, "${hostname}").wait_final() == 404
    assert fsroute.routed()[-1]["code"] == "number_unknown"


# --- what users dial --------------------------------------------------------------------------------------


def test_a_local_number_is_one_of_the_account_s_area_or_none(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, caller: MakePhone, change: Change
) -> None:
    refused = caller().call("4710602")
    assert refused.wait_final() == 484
    assert fsroute.routed()[-1]["code"] == "local_number"
    change("UPDATE accounts SET area_code = '221' WHERE name = 'acme'")
    desk = phone("1001", Ring())
    caller().call("4710602")
    desk.wait_invite()
    caller().call("4710777")
    assert carrier.wait_invite().number == "+492214710777"
    assert "area_code: 4710777" in fsroute.routed()[-1]["reasons"]


@pytest.mark.parametrize("dialled", ["115", "116117", "112"])
def test_a_short_number_is_no_local_number(carrier: Carrier, caller: MakePhone, change: Change, dialled: str) -> None:
    change("UPDATE accounts SET area_code = '221' WHERE name = 'acme'")
    caller().call(dialled)
    assert carrier.wait_invite().number == dialled
