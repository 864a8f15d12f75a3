"""What an incoming call says, read as its trunk writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.callerid import identity, received
from fsroute.codes import CallerIdCode
from fsroute.model import (
    Call,
    CalledNumberIn,
    CallerId,
    Direction,
    Identity,
    IdentityHeader,
    IdentityProfile,
    NumberFormat,
    NumberRole,
    Routing,
    Trunk,
)
from tests.support import builders
from tests.support.strategies import IDENTITY_PROFILES

DID = "+492214710100"
LINE, SHOWN, OTHER = "+492214710100", "+498999998123", "+493023125001"
PAI, PPI, RPID = IdentityHeader.PAI, IdentityHeader.PPI, IdentityHeader.RPID
FROM, IN_PAI, IN_RPID, BARE = (
    IdentityProfile(),
    IdentityProfile("presented-in-pai", NumberRole.NETWORK, PAI, NumberRole.PRESENTED),
    IdentityProfile("presented-in-rpid", NumberRole.NETWORK, RPID, NumberRole.PRESENTED),
    IdentityProfile("from-only", NumberRole.PRESENTED, IdentityHeader.NONE, NumberRole.NETWORK),
)


def trunk(
    profile: IdentityProfile = FROM,
    form: NumberFormat = NumberFormat.E164,
    called_number_in: CalledNumberIn = CalledNumberIn.REQUEST,
) -> Trunk:
    return builders.trunk(
        "carrier", domain="c.example", profile=profile, number_format=form, called_number_in=called_number_in
    )


def invite(in_from: str, *identities: tuple[IdentityHeader, str], freeswitch: str | None = None) -> Call:
    """A call of which FreeSWITCH takes the last identity for the caller, as it does."""
    chosen = identities[-1][1] if identities else in_from
    found = tuple(Identity(*named) for named in identities)
    return Call(DID, chosen if freeswitch is None else freeswitch, from_user=in_from, identities=found)


def shown(call: Call, by: Trunk | None) -> str:
    return received.as_read(call, Routing("DE", trunk=by)).caller


SHOWS: dict[str, tuple[IdentityProfile, Call, str]] = {
    "From alone": (FROM, invite(OTHER), OTHER),
    "From, beside the line's": (FROM, invite(SHOWN, (PAI, LINE)), SHOWN),
    "the same with a tel: URI": (FROM, invite(SHOWN, (PAI, f"tel:{LINE}"), freeswitch=LINE), SHOWN),
    "PAI, beside the line's": (IN_PAI, invite(LINE, (PAI, SHOWN)), SHOWN),
    "PAI that is not there": (IN_PAI, invite(OTHER), OTHER),
    "PAI that is not there, but another": (IN_PAI, invite(OTHER, (PPI, LINE)), OTHER),
    "PAI that is no number": (IN_PAI, invite(OTHER, (PAI, "alice")), OTHER),
    "RPID": (IN_RPID, invite(LINE, (PAI, OTHER), (RPID, SHOWN)), SHOWN),
    "From that is no number": (FROM, invite("alice", (PAI, LINE)), LINE),
    "From that is an extension": (FROM, invite("1001", (PAI, LINE)), LINE),
    "From that is an extension, and nothing else": (FROM, invite("1001"), "1001"),
    "From that is no number, with a second PAI that is one": (FROM, invite("x", (PAI, "alice"), (PAI, LINE)), LINE),
    "nothing that is a number": (FROM, invite("bob", (PAI, "alice")), "bob"),
    "From alone counts": (BARE, invite(SHOWN, (PAI, LINE)), SHOWN),
    "From in national form": (FROM, invite("08999998123", (PAI, LINE)), SHOWN),
    "From in brackets and blanks": (FROM, invite("(089) 99998123", (PAI, LINE)), SHOWN),
    "From with a context": (FROM, invite("99998123;phone-context=+4989", (PAI, LINE)), SHOWN),
    "From with a malformed context": (FROM, invite("99998123;phone-context=4989", (PAI, LINE)), LINE),
}


@pytest.mark.parametrize(("profile", "call", "expected"), SHOWS.values(), ids=SHOWS.keys())
def test_the_trunk_s_profile_says_which_number_is_shown(profile: IdentityProfile, call: Call, expected: str) -> None:
    assert shown(call, trunk(profile)) == expected


def test_an_unknown_trunk_shows_what_the_default_profile_does() -> None:
    assert shown(invite(SHOWN, (PAI, LINE)), None) == SHOWN


FORMS: dict[str, tuple[NumberFormat, str, str]] = {
    "digits": (NumberFormat.DIGITS, "12025550123", "+12025550123"),
    "digits of the own country": (NumberFormat.DIGITS, "493023125001", OTHER),
    "digits that phonenumbers does not know": (NumberFormat.DIGITS, "5215555123456", "+5215555123456"),
    "an extension": (NumberFormat.DIGITS, "1001", "1001"),
    "national": (NumberFormat.NATIONAL, "03023125001", OTHER),
    "international": (NumberFormat.INTERNATIONAL, "0012025550123", "+12025550123"),
    "a number that is hosted nowhere and means two": (NumberFormat.E164, "492214710100", DID),
}


@pytest.mark.parametrize(("form", "text", "expected"), FORMS.values(), ids=FORMS.keys())
def test_a_caller_is_read_as_the_trunk_writes(form: NumberFormat, text: str, expected: str) -> None:
    assert shown(invite(text), trunk(form=form)) == expected


def test_every_number_of_the_call_is_read() -> None:
    call = invite("12025550123", (PAI, "492214710100"), (PPI, "alice"))
    read = received.as_read(call, Routing("DE", trunk=trunk(form=NumberFormat.DIGITS)))
    assert read == Call(
        DID, "+12025550123", from_user="+12025550123", identities=(Identity(PAI, LINE), Identity(PPI, "alice"))
    )


def test_an_everyday_call_and_a_user_s_are_not_touched() -> None:
    plain = invite(OTHER, (PAI, OTHER))
    user = Call("12025550123", "1001", direction=Direction.OUTBOUND, from_user="1001")
    routing = Routing("DE", trunk=trunk(form=NumberFormat.DIGITS))
    assert received.as_read(plain, routing) is plain
    assert received.as_read(user, routing) is user


# --- the number that was called ---------------------------------------------------------------------------


def test_a_carrier_may_put_the_called_number_into_to() -> None:
    call = Call("gateway-7", to_user="02214710100")
    in_to = trunk(called_number_in=CalledNumberIn.TO)
    assert received.destination(call, trunk()) == "gateway-7"
    assert received.destination(call, None) == "gateway-7"
    assert received.destination(call, in_to) == "02214710100"
    assert received.destinations(call, in_to, "DE") == (DID,)
    assert received.as_read(call, Routing("DE", trunk=in_to)).destination == "02214710100"


@pytest.mark.parametrize("username", ["1710163127241", "engin-trunk", "+492214710999"])
def test_the_carrier_s_user_name_is_no_called_number(username: str) -> None:
    """fusionpbx/fusionpbx#770, irontec/ivozprovider#2558, dOpensource/dsiprouter#268: the Request-URI has the user name of
    the trunk, which may look like a number, and To has the number that was called."""
    call = Call(username, to_user="+492214710100")
    assert received.destinations(call, trunk(called_number_in=CalledNumberIn.TO), "DE") == (DID,)


def test_a_call_without_to_is_for_whom_it_asks() -> None:
    assert received.destination(Call(DID), trunk(called_number_in=CalledNumberIn.TO)) == DID


DESTINATIONS: dict[str, tuple[NumberFormat, str, tuple[str, ...]]] = {
    "digits": (NumberFormat.DIGITS, "492214710100", (DID, "+49492214710100")),
    "digits without their code": (NumberFormat.DIGITS, "2214710100", (DID, "+2214710100")),
    "national": (NumberFormat.NATIONAL, "492214710100", ("+49492214710100", DID)),
    "with a context": (NumberFormat.E164, "4710100;phone-context=+49221", (DID, "+494710100")),
    "nothing": (NumberFormat.E164, "", ()),
}


@pytest.mark.parametrize(("form", "text", "expected"), DESTINATIONS.values(), ids=DESTINATIONS.keys())
def test_a_called_number_is_read_as_the_trunk_writes_and_then_as_others(
    form: NumberFormat, text: str, expected: tuple[str, ...]
) -> None:
    assert set(received.destinations(Call(text), trunk(form=form), "DE")) == set(expected)
    assert received.destinations(Call(text), trunk(form=form), "DE")[:1] == expected[:1]


# --- out and in again -------------------------------------------------------------------------------------

_profiles = IDENTITY_PROFILES.filter(
    lambda p: (
        p.from_number is NumberRole.PRESENTED
        or (p.header_number is NumberRole.PRESENTED and p.header is not IdentityHeader.NONE)
    )
)
_numbers = st.sampled_from([LINE, SHOWN, OTHER, "+12025550123", "+33199001234", "+390612345678"])


@given(_profiles, st.sampled_from(NumberFormat), _numbers, _numbers)
def test_what_is_sent_through_a_trunk_is_shown_when_it_comes_in(
    profile: IdentityProfile, form: NumberFormat, presented: str, network: str
) -> None:
    by = trunk(profile, form)
    sent = identity.headers(CallerId(presented, network, CallerIdCode.OWN_NUMBER), by, None, DID)
    in_from = sent.from_uri.removeprefix("sip:").partition("@")[0]
    identities = () if sent.identity_uri is None else ((profile.header, sent.identity_uri),)
    assert shown(invite(in_from, *identities), by) == presented
