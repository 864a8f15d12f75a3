"""What a carrier reads of a caller: each shipped profile, whole, as headers and as what makes FreeSWITCH write them."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.callerid.identity import Headers, headers, uri, variables
from fsroute.codes import CallerIdCode
from fsroute.model import (
    CallerId,
    Diversion,
    IdentityHeader,
    IdentityProfile,
    Leg,
    NumberFormat,
    NumberRole,
    Plan,
    Trunk,
    TrunkDial,
)
from fsroute.simulator import dialstring_reader
from fsroute.switch import dialstring
from fsroute.switch.dialstring import Confirmation
from tests.support import builders
from tests.support.strategies import IDENTITY_PROFILES

SCHEMA = Path(__file__).parents[3] / "schema.sql"
PRESENTED, NETWORK = NumberRole
PAI, PPI, RPID, NONE = IdentityHeader

LINE, SHOWN, DIALLED, CALLER = "+492214710100", "+498999998123", "+492214710200", "+33142681234"
TO = "+491713920042"

PROFILES = {
    profile.name: profile
    for profile in (
        IdentityProfile("presented-in-from", PRESENTED, PAI, NETWORK, diversion=True, history_info=False),
        IdentityProfile("presented-in-pai", NETWORK, PAI, PRESENTED, diversion=True, history_info=True),
        IdentityProfile("preferred", PRESENTED, PPI, NETWORK, diversion=True, history_info=False),
        IdentityProfile("remote-party", PRESENTED, RPID, NETWORK, diversion=True, history_info=False),
        IdentityProfile("from-only", PRESENTED, NONE, NETWORK, diversion=False, history_info=False),
    )
}


def trunk(profile: str, form: NumberFormat = NumberFormat.E164) -> Trunk:
    return builders.trunk("carrier", domain="c.example", profile=PROFILES[profile], number_format=form)


def test_these_are_the_profiles_that_are_shipped() -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA.read_text("utf-8"))
    rows = database.execute(
        "SELECT name, from_number, identity_header, identity_number, diversion, history_info FROM identity_profiles"
    )
    found = {
        name: IdentityProfile(
            name, NumberRole(in_from), IdentityHeader(header), NumberRole(in_header), bool(diversion), bool(history)
        )
        for name, in_from, header, in_header, diversion, history in rows
    }
    assert found == PROFILES


# --- the five, in five situations -------------------------------------------------------------------------

OWN = (CallerId(LINE, LINE, CallerIdCode.NETWORK_NUMBER), None)
OTHER = (CallerId(SHOWN, LINE, CallerIdCode.VERIFIED_NUMBER), None)
HIDDEN = (CallerId(None, LINE, CallerIdCode.PRIVACY_REQUESTED), None)
FORWARDED = (CallerId(CALLER, LINE, CallerIdCode.ORIGINAL_CALLER), Diversion(DIALLED, "no-answer", 2))
FORWARDED_HIDDEN = (CallerId(None, LINE, CallerIdCode.ORIGINAL_CALLER_ANONYMOUS), Diversion(DIALLED, "unconditional"))

Situation = tuple[CallerId, Diversion | None]

ANONYMOUS = "sip:anonymous@anonymous.invalid"
LINE_URI, SHOWN_URI, CALLER_URI = f"sip:{LINE}@c.example", f"sip:{SHOWN}@c.example", f"sip:{CALLER}@c.example"
NO_ANSWER_2 = f"<sip:{DIALLED}@c.example>;reason=no-answer;counter=2"
UNCONDITIONAL_1 = f"<sip:{DIALLED}@c.example>;reason=unconditional;counter=1"
HISTORY_408 = f"<sip:{DIALLED}@c.example>;index=1,<sip:{TO}@c.example;cause=408>;index=1.1"
HISTORY_302 = f"<sip:{DIALLED}@c.example>;index=1,<sip:{TO}@c.example;cause=302>;index=1.1"
ASSERTED, PREFERRED, REMOTE = "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"

NO_NAME = "origination_caller_id_name=_undef_"
SCREEN, HIDE = "origination_privacy=screen", "origination_privacy=screen:hide_number:hide_name"
DOMAIN = "sip_invite_domain=c.example"
ANONYMOUS_FROM = [f"sip_invite_from_uri={ANONYMOUS}", "sip_from_display=Anonymous"]


def asserts(number: str, kind: str = "pid") -> list[str]:
    return [f"sip_cid_type={kind}", f"origination_caller_id_number={number}", DOMAIN, NO_NAME]


CASES: dict[str, tuple[str, Situation, Headers, list[str]]] = {
    "presented-in-from, own": (
        "presented-in-from",
        OWN,
        Headers(LINE_URI, None, ASSERTED, LINE_URI, "none", None, None),
        [f"sip_invite_from_uri={LINE_URI}", *asserts(LINE), SCREEN],
    ),
    "presented-in-from, another": (
        "presented-in-from",
        OTHER,
        Headers(SHOWN_URI, None, ASSERTED, LINE_URI, "none", None, None),
        [f"sip_invite_from_uri={SHOWN_URI}", *asserts(LINE), SCREEN],
    ),
    "presented-in-from, anonymous": (
        "presented-in-from",
        HIDDEN,
        Headers(ANONYMOUS, "Anonymous", ASSERTED, LINE_URI, "id", None, None),
        [*ANONYMOUS_FROM, *asserts(LINE), HIDE],
    ),
    "presented-in-from, forwarded": (
        "presented-in-from",
        FORWARDED,
        Headers(CALLER_URI, None, ASSERTED, LINE_URI, "none", NO_ANSWER_2, None),
        [f"sip_invite_from_uri={CALLER_URI}", *asserts(LINE), SCREEN, f"sip_h_Diversion={NO_ANSWER_2}"],
    ),
    "presented-in-from, forwarded and private": (
        "presented-in-from",
        FORWARDED_HIDDEN,
        Headers(ANONYMOUS, "Anonymous", ASSERTED, LINE_URI, "id", UNCONDITIONAL_1, None),
        [*ANONYMOUS_FROM, *asserts(LINE), HIDE, f"sip_h_Diversion={UNCONDITIONAL_1}"],
    ),
    "presented-in-pai, own": (
        "presented-in-pai",
        OWN,
        Headers(LINE_URI, None, ASSERTED, LINE_URI, "none", None, None),
        [f"sip_invite_from_uri={LINE_URI}", *asserts(LINE), SCREEN],
    ),
    "presented-in-pai, another": (
        "presented-in-pai",
        OTHER,
        Headers(LINE_URI, None, ASSERTED, SHOWN_URI, "none", None, None),
        [f"sip_invite_from_uri={LINE_URI}", *asserts(SHOWN), SCREEN],
    ),
    "presented-in-pai, anonymous": (
        "presented-in-pai",
        HIDDEN,
        Headers(ANONYMOUS, "Anonymous", ASSERTED, LINE_URI, "id", None, None),
        [*ANONYMOUS_FROM, *asserts(LINE), HIDE],
    ),
    "presented-in-pai, forwarded": (
        "presented-in-pai",
        FORWARDED,
        Headers(LINE_URI, None, ASSERTED, CALLER_URI, "none", NO_ANSWER_2, HISTORY_408),
        [
            f"sip_invite_from_uri={LINE_URI}",
            *asserts(CALLER),
            SCREEN,
            f"sip_h_Diversion={NO_ANSWER_2}",
            f"sip_h_History-Info={HISTORY_408}",
        ],
    ),
    "presented-in-pai, forwarded and private": (
        "presented-in-pai",
        FORWARDED_HIDDEN,
        Headers(ANONYMOUS, "Anonymous", ASSERTED, LINE_URI, "id", UNCONDITIONAL_1, HISTORY_302),
        [
            *ANONYMOUS_FROM,
            *asserts(LINE),
            HIDE,
            f"sip_h_Diversion={UNCONDITIONAL_1}",
            f"sip_h_History-Info={HISTORY_302}",
        ],
    ),
    "preferred, own": (
        "preferred",
        OWN,
        Headers(LINE_URI, None, PREFERRED, LINE_URI, "none", None, None),
        [f"sip_invite_from_uri={LINE_URI}", *asserts(LINE), "origination_privacy=no"],
    ),
    "preferred, another": (
        "preferred",
        OTHER,
        Headers(SHOWN_URI, None, PREFERRED, LINE_URI, "none", None, None),
        [f"sip_invite_from_uri={SHOWN_URI}", *asserts(LINE), "origination_privacy=no"],
    ),
    "preferred, anonymous": (
        "preferred",
        HIDDEN,
        Headers(ANONYMOUS, "Anonymous", PREFERRED, LINE_URI, "id", None, None),
        [*ANONYMOUS_FROM, *asserts(LINE), "origination_privacy=hide_number:hide_name"],
    ),
    "preferred, forwarded": (
        "preferred",
        FORWARDED,
        Headers(CALLER_URI, None, PREFERRED, LINE_URI, "none", NO_ANSWER_2, None),
        [
            f"sip_invite_from_uri={CALLER_URI}",
            *asserts(LINE),
            "origination_privacy=no",
            f"sip_h_Diversion={NO_ANSWER_2}",
        ],
    ),
    "preferred, forwarded and private": (
        "preferred",
        FORWARDED_HIDDEN,
        Headers(ANONYMOUS, "Anonymous", PREFERRED, LINE_URI, "id", UNCONDITIONAL_1, None),
        [
            *ANONYMOUS_FROM,
            *asserts(LINE),
            "origination_privacy=hide_number:hide_name",
            f"sip_h_Diversion={UNCONDITIONAL_1}",
        ],
    ),
    "remote-party, own": (
        "remote-party",
        OWN,
        Headers(LINE_URI, None, REMOTE, LINE_URI, None, None, None),
        [f"sip_invite_from_uri={LINE_URI}", *asserts(LINE, "rpid"), SCREEN],
    ),
    "remote-party, another": (
        "remote-party",
        OTHER,
        Headers(SHOWN_URI, None, REMOTE, LINE_URI, None, None, None),
        [f"sip_invite_from_uri={SHOWN_URI}", *asserts(LINE, "rpid"), SCREEN],
    ),
    "remote-party, anonymous": (
        "remote-party",
        HIDDEN,
        Headers(ANONYMOUS, "Anonymous", REMOTE, LINE_URI, None, None, None),
        [*ANONYMOUS_FROM, *asserts(LINE, "rpid"), HIDE],
    ),
    "remote-party, forwarded": (
        "remote-party",
        FORWARDED,
        Headers(CALLER_URI, None, REMOTE, LINE_URI, None, NO_ANSWER_2, None),
        [f"sip_invite_from_uri={CALLER_URI}", *asserts(LINE, "rpid"), SCREEN, f"sip_h_Diversion={NO_ANSWER_2}"],
    ),
    "remote-party, forwarded and private": (
        "remote-party",
        FORWARDED_HIDDEN,
        Headers(ANONYMOUS, "Anonymous", REMOTE, LINE_URI, None, UNCONDITIONAL_1, None),
        [*ANONYMOUS_FROM, *asserts(LINE, "rpid"), HIDE, f"sip_h_Diversion={UNCONDITIONAL_1}"],
    ),
    "from-only, own": (
        "from-only",
        OWN,
        Headers(LINE_URI, None, None, None, None, None, None),
        [
            f"sip_invite_from_uri={LINE_URI}",
            "sip_cid_type=none",
            f"origination_caller_id_number={LINE}",
            NO_NAME,
            SCREEN,
        ],
    ),
    "from-only, another": (
        "from-only",
        OTHER,
        Headers(SHOWN_URI, None, None, None, None, None, None),
        [
            f"sip_invite_from_uri={SHOWN_URI}",
            "sip_cid_type=none",
            f"origination_caller_id_number={SHOWN}",
            NO_NAME,
            SCREEN,
        ],
    ),
    "from-only, anonymous": (
        "from-only",
        HIDDEN,
        Headers(ANONYMOUS, "Anonymous", None, None, "id", None, None),
        [
            *ANONYMOUS_FROM,
            "sip_cid_type=none",
            "origination_caller_id_number=anonymous",
            "sip_h_Privacy=id",
            NO_NAME,
            HIDE,
        ],
    ),
    "from-only, forwarded": (
        "from-only",
        FORWARDED,
        Headers(CALLER_URI, None, None, None, None, None, None),
        [
            f"sip_invite_from_uri={CALLER_URI}",
            "sip_cid_type=none",
            f"origination_caller_id_number={CALLER}",
            NO_NAME,
            SCREEN,
        ],
    ),
    "from-only, forwarded and private": (
        "from-only",
        FORWARDED_HIDDEN,
        Headers(ANONYMOUS, "Anonymous", None, None, "id", None, None),
        [
            *ANONYMOUS_FROM,
            "sip_cid_type=none",
            "origination_caller_id_number=anonymous",
            "sip_h_Privacy=id",
            NO_NAME,
            HIDE,
        ],
    ),
}


@pytest.mark.parametrize(("profile", "situation", "expected", "leg_variables"), CASES.values(), ids=CASES.keys())
def test_a_carrier_reads_what_its_profile_says(
    profile: str, situation: Situation, expected: Headers, leg_variables: list[str]
) -> None:
    caller_id, diversion = situation
    found = headers(caller_id, trunk(profile), diversion, TO)
    assert (found, variables(found)) == (expected, leg_variables)


def test_every_profile_is_in_the_table_in_every_situation() -> None:
    assert len(CASES) == len(PROFILES) * 5


# --- numbers as the carrier writes them -------------------------------------------------------------------

FORMATS: dict[NumberFormat, Headers] = {
    NumberFormat.E164: Headers(LINE_URI, None, ASSERTED, CALLER_URI, "none", NO_ANSWER_2, HISTORY_408),
    NumberFormat.DIGITS: Headers(
        "sip:492214710100@c.example",
        None,
        ASSERTED,
        "sip:33142681234@c.example",
        "none",
        "<sip:492214710200@c.example>;reason=no-answer;counter=2",
        "<sip:492214710200@c.example>;index=1,<sip:491713920042@c.example;cause=408>;index=1.1",
    ),
    NumberFormat.NATIONAL: Headers(
        "sip:02214710100@c.example",
        None,
        ASSERTED,
        "sip:0033142681234@c.example",
        "none",
        "<sip:02214710200@c.example>;reason=no-answer;counter=2",
        "<sip:02214710200@c.example>;index=1,<sip:01713920042@c.example;cause=408>;index=1.1",
    ),
    NumberFormat.INTERNATIONAL: Headers(
        "sip:00492214710100@c.example",
        None,
        ASSERTED,
        "sip:0033142681234@c.example",
        "none",
        "<sip:00492214710200@c.example>;reason=no-answer;counter=2",
        "<sip:00492214710200@c.example>;index=1,<sip:00491713920042@c.example;cause=408>;index=1.1",
    ),
}


@pytest.mark.parametrize(("form", "expected"), FORMATS.items(), ids=[form.value for form in FORMATS])
def test_every_number_is_written_in_the_carrier_s_format(form: NumberFormat, expected: Headers) -> None:
    assert headers(*FORWARDED[:1], trunk("presented-in-pai", form), FORWARDED[1], TO) == expected


def test_a_service_number_has_the_same_form_everywhere() -> None:
    assert [uri("116117", trunk("from-only", form)) for form in NumberFormat] == ["sip:116117@c.example"] * 4


@pytest.mark.parametrize(
    ("reason", "cause"), [("unconditional", 302), ("user-busy", 486), ("no-answer", 408), ("unavailable", 503)]
)
def test_history_info_gives_the_reason_as_a_number(reason: str, cause: int) -> None:
    made = headers(FORWARDED[0], trunk("presented-in-pai"), Diversion(DIALLED, reason), TO)
    assert made.history_info == f"<sip:{DIALLED}@c.example>;index=1,<sip:{TO}@c.example;cause={cause}>;index=1.1"


# --- through the dial string and FreeSWITCH ---------------------------------------------------------------


def written_by_freeswitch(leg_variables: dict[str, str]) -> tuple[Headers, str | None]:
    """The headers that sofia_glue_do_invite makes of a leg's variables, and the parameters of Remote-Party-ID."""
    display = leg_variables.get("sip_from_display") or leg_variables["origination_caller_id_name"]
    assert leg_variables["origination_caller_id_name"] == "_undef_", "the incoming caller's name would be asserted"
    flags = leg_variables["origination_privacy"]
    hides_number, hides_name, screens = "hide_number" in flags, "hide_name" in flags, "screen" in flags
    number, domain = leg_variables["origination_caller_id_number"], leg_variables.get("sip_invite_domain")
    header, identity, privacy, parameters = None, None, leg_variables.get("sip_h_Privacy"), None
    match leg_variables["sip_cid_type"]:
        case "pid":
            assert privacy is None, "Privacy would be there twice"
            header, identity = ASSERTED if screens else PREFERRED, f"sip:{number}@{domain}"
            privacy = "id" if hides_number else "none"
        case "rpid":
            header, identity = REMOTE, f"sip:{number}@{domain}"
            level = "full" if hides_number else "name" if hides_name else "off"
            parameters = f"party=calling;screen={'yes' if screens else 'no'};privacy={level}"
    return (
        Headers(
            leg_variables["sip_invite_from_uri"],
            None if display == "_undef_" else display,
            header,
            identity,
            privacy,
            leg_variables.get("sip_h_Diversion"),
            leg_variables.get("sip_h_History-Info"),
        ),
        parameters,
    )


def understood(leg: Leg) -> dict[str, str]:
    """The leg's variables as FreeSWITCH reads them in the dial string."""
    ((parsed,),) = dialstring_reader.parse(dialstring.bridge(Plan(((leg,),)), Confirmation())).groups
    assert not parsed.error
    return parsed.variables


@pytest.mark.parametrize(("profile", "situation", "expected", "_"), CASES.values(), ids=CASES.keys())
def test_freeswitch_writes_these_headers(profile: str, situation: Situation, expected: Headers, _: list[str]) -> None:
    caller_id, diversion = situation
    leg = Leg("external", TrunkDial(trunk(profile), TO), caller_id, diversion=diversion, hops=1)
    found, parameters = written_by_freeswitch(understood(leg))
    assert found == expected
    hidden = caller_id.presented is None
    remote = f"party=calling;screen=yes;privacy={'full' if hidden else 'off'}"
    assert parameters == (remote if profile == "remote-party" else None)


def test_the_commas_of_history_info_are_escaped_in_the_dial_string() -> None:
    leg = Leg("external", TrunkDial(trunk("presented-in-pai"), TO), FORWARDED[0], diversion=FORWARDED[1], hops=2)
    text = dialstring.bridge(Plan(((leg, replace(leg, target="another")),)), Confirmation())
    assert rf"sip_h_History-Info=<sip:{DIALLED}@c.example>;index=1\,<sip:{TO}@c.example;cause=408>;index=1.1]" in text
    ((first, second),) = dialstring_reader.parse(text).groups
    assert first == second
    assert first.variables["sip_h_History-Info"] == HISTORY_408


_numbers = st.from_regex(r"\+[1-9][0-9]{5,13}", fullmatch=True, alphabet="+0123456789")
_trunks = st.builds(
    Trunk,
    st.just("carrier"),
    st.just("carrier"),
    st.sampled_from(["DE", "US", "IT", "FR"]),
    st.sampled_from(["c.example", "192.0.2.1", "a" * 60 + ".example", ".".join(["a" * 60] * 4)]),
    IDENTITY_PROFILES,
    st.sampled_from(NumberFormat),
)
_diversions = st.none() | st.builds(
    Diversion,
    _numbers,
    st.sampled_from(["unconditional", "user-busy", "no-answer", "unavailable"]),
    st.integers(1, 100),
)


@given(_trunks, st.none() | _numbers, _numbers, _diversions, _numbers | st.sampled_from(["112", "116117"]))
def test_headers_and_dial_string_agree_for_any_profile(
    carrier: Trunk, presented: str | None, network: str, diversion: Diversion | None, to: str
) -> None:
    """If the presented number is hidden, the INVITE has only the network number and the diverting number."""
    caller_id = CallerId(presented, network, CallerIdCode.OWN_NUMBER)
    leg = Leg("external", TrunkDial(carrier, to), caller_id, diversion=diversion, hops=1)
    made = headers(caller_id, carrier, diversion, to)
    found, parameters = written_by_freeswitch(understood(leg))
    assert found == made
    assert (parameters is not None) == (carrier.profile.header is RPID)
    known = {uri(number, carrier) for number in (presented, network) if number}
    if presented is None:
        assert (made.from_uri, made.from_name) == (ANONYMOUS, "Anonymous")
        assert made.identity_uri in (None, uri(network, carrier))
        assert made.privacy == "id" or (parameters or "").endswith("privacy=full")
    else:
        assert made.from_uri in known
        assert made.identity_uri in {None, *known}
        assert made.from_name is None
        assert made.privacy != "id"
        assert parameters is None or parameters.endswith("privacy=off")
