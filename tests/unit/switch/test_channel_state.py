"""What a channel's snapshot says: the call, and how far it has come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.eventsocket.frames import Facts
from fsroute.model import (
    Call,
    Direction,
    FailedPlan,
    Identity,
    IdentityHeader,
    Outcome,
    RuleKey,
)
from fsroute.numbers import phone_number
from fsroute.numbers.phone_number import candidates
from fsroute.switch.channel_state import Ended, MediaState, call_of, media_state_of, progress_of
from tests.support.builders import LINE
from tests.support.snapshots import after_bridge, facts_of, failed_plan

PAI = IdentityHeader.PAI


# --- the call ---------------------------------------------------------------------------------------------


def test_an_outbound_call_has_everything_that_the_dialplan_set() -> None:
    snapshot = facts_of(
        {
            "fsroute_direction": "outbound",
            "fsroute_account": "acme",
            "fsroute_user": "reception",
            "fsroute_presented": "+498999998123",
            "sip_from_user": "1001",
        },
        Unique_ID="c0ffee",
        Caller_Caller_ID_Number="1001",
        Caller_Caller_ID_Name="Jörg",
        Caller_Destination_Number="0171 3920042",
    )
    assert call_of(snapshot) == Call(
        "0171 3920042",
        "1001",
        "Jörg",
        Direction.OUTBOUND,
        account="acme",
        user="reception",
        uuid="c0ffee",
        presented="+498999998123",
        from_user="1001",
    )


def test_an_inbound_call_has_its_trunk_and_whether_its_caller_is_roaming() -> None:
    snapshot = facts_of(
        {"fsroute_direction": "inbound", "fsroute_trunk": "carrier", "fsroute_roaming": "true", "sip_from_user": "x"},
        Caller_Caller_ID_Number="+491713920042",
        Caller_Destination_Number="+492214710100",
    )
    assert call_of(snapshot) == Call("+492214710100", "+491713920042", trunk="carrier", is_roaming=True, from_user="x")


HEADERS: dict[str, tuple[dict[str, str], tuple[Identity, ...]]] = {
    "none": ({}, ()),
    "P-Asserted-Identity": ({"sip_P-Asserted-Identity": LINE}, (Identity(PAI, LINE),)),
    "of which more is known": (
        {
            "sip_P-Asserted-Identity": "alice",
            "sip_i_p_asserted_identity": f'ARRAY::"A, <B>" <sip:alice@x.example>|:<tel:{LINE};phone-context=+49>',
        },
        (Identity(PAI, "sip:alice@x.example"), Identity(PAI, f"tel:{LINE};phone-context=+49")),
    ),
    "all three": (
        {
            "sip_P-Asserted-Identity": LINE,
            "sip_P-Preferred-Identity": "<sip:+493023125001@x>",
            "sip_Remote-Party-ID": '"R" <sip:+493023125002@x>;party=calling;privacy=off',
        },
        (
            Identity(PAI, LINE),
            Identity(IdentityHeader.PPI, "sip:+493023125001@x"),
            Identity(IdentityHeader.RPID, "sip:+493023125002@x"),
        ),
    ),
    "too many": ({"sip_i_p_asserted_identity": "<sip:1@x>|:" * 50}, (Identity(PAI, "sip:1@x"),) * 4),
    "in a display name": (
        {"sip_P-Asserted-Identity": rf'"\"<sip:+493023125002@x>\"" <sip:{LINE}@x>'},
        (Identity(PAI, f"sip:{LINE}@x"),),
    ),
    "an escaped blank": ({"sip_P-Asserted-Identity": rf'"Sami\ " <sip:{LINE}@x>'}, (Identity(PAI, f"sip:{LINE}@x"),)),
    "quotes twice": ({"sip_P-Asserted-Identity": f'""unknown"" <sip:{LINE}@x>'}, (Identity(PAI, f"sip:{LINE}@x"),)),
    "a display name without end": ({"sip_P-Asserted-Identity": rf'"Sami\" <sip:{LINE}@x>'}, ()),
    "no header": ({"sip_Remote-Party-ID": '"<sip:1@x>" <'}, ()),
}


def test_what_fsroute_remembers_of_a_long_number_is_bounded_and_no_number() -> None:
    long = f"110;isub={'x' * 30_000};phone-context=+49"
    call = call_of(
        facts_of(
            {"sip_from_user": long, "sip_to_user": long, "sip_P-Asserted-Identity": long},
            Caller_Caller_ID_Number=long,
            Caller_Destination_Number=long,
        )
    )
    kept, destination = f"\N{HORIZONTAL ELLIPSIS}{long[:256]}", f"\N{HORIZONTAL ELLIPSIS}{long[:128]}"
    assert (call.destination, call.caller, call.from_user, call.to_user) == (destination, kept, kept, destination)
    assert call.identities == (Identity(PAI, kept),)
    assert candidates(kept, "DE") == candidates(destination, "DE") == ()


@pytest.mark.parametrize(("variables", "expected"), HEADERS.values(), ids=HEADERS.keys())
def test_an_inbound_call_has_all_its_identities(variables: dict[str, str], expected: tuple[Identity, ...]) -> None:
    named = {"fsroute_direction": "inbound", "sip_from_user": "x"} | variables
    assert call_of(facts_of(named, Caller_Caller_ID_Number="x")).identities == expected
    assert call_of(facts_of(named | {"fsroute_direction": "outbound"})).identities == ()


def test_numbers_keep_what_they_are_relative_to() -> None:
    params = {f"sip_{header}_params": "phone-context=+49221;user=phone" for header in ("req", "from", "to")}
    users = {"sip_req_user": "4710602", "sip_from_user": "4710603", "sip_to_user": "4710604"}
    call = call_of(facts_of(params | users, Caller_Destination_Number="4710602"))
    assert (call.destination, call.from_user, call.to_user) == tuple(
        f"{text};phone-context=+49221" for text in ("4710602", "4710603", "4710604")
    )
    transferred = call_of(facts_of(params | users, Caller_Destination_Number="12"))
    assert transferred.destination == "12"
    whole = {"sip_req_user": "1;phone-context=+49", "sip_req_params": "user=phone;x-phone-context=+1"}
    assert call_of(facts_of(whole, Caller_Destination_Number="1;phone-context=+49")).destination == "1;phone-context=+49"


def test_a_call_of_which_nothing_is_known_is_inbound_and_anonymous() -> None:
    assert call_of(facts_of()) == Call("", anonymous=True)


PRIVACY: dict[str, tuple[dict[str, str], bool]] = {
    "nothing said": ({}, False),
    "none": ({"sip_Privacy": "none"}, False),
    "id": ({"sip_Privacy": "id"}, True),
    "id and critical": ({"sip_Privacy": "id;critical"}, True),
    "user": ({"sip_Privacy": "user"}, True),
    "header, in capitals": ({"sip_Privacy": "HEADER"}, True),
    "full": ({"sip_Privacy": "full"}, True),
    "session only": ({"sip_Privacy": "session"}, False),
    "From says so": ({"sip_from_user": "anonymous"}, True),
    "Remote-Party-ID hides the URI": (
        {"sip_Remote-Party-ID": "<sip:+493023125001@x.example>;party=calling;privacy=uri"},
        True,
    ),
    "Remote-Party-ID, in quotes": ({"sip_Remote-Party-ID": '<sip:+493023125001@x.example> ; Privacy = "URI"'}, True),
    "Remote-Party-ID hides the name": ({"sip_Remote-Party-ID": "<sip:+493023125001@x.example>;privacy=name"}, False),
    "Remote-Party-ID hides nothing": ({"sip_Remote-Party-ID": "<sip:+493023125001@x.example>;privacy=off"}, False),
    "From says so by its host": ({"sip_from_host": "anonymous.invalid"}, True),
    "From says so by its host, in capitals": ({"sip_from_host": "Anonymous.Invalid"}, True),
    "From has a host": ({"sip_from_host": "carrier.example"}, False),
    "From says so in German": ({"sip_from_user": "unbekannt"}, True),
    "From has a number for it": ({"sip_from_user": "+266696687"}, True),
    "a phone has no number for it": ({"sip_from_user": "0000", "fsroute_direction": "outbound"}, False),
    "a phone has few words for it": ({"sip_from_user": "privat", "fsroute_direction": "outbound"}, False),
    "a phone says so": ({"sip_from_user": "anonymous", "fsroute_direction": "outbound"}, True),
}


@pytest.mark.parametrize(("more", "expected"), PRIVACY.values(), ids=PRIVACY.keys())
def test_a_caller_hides_however_they_say_so(more: dict[str, str], expected: bool) -> None:
    snapshot = facts_of({"sip_from_user": "1001"} | more, Caller_Caller_ID_Number="1001")
    assert call_of(snapshot).anonymous is expected
    hidden = facts_of({"sip_from_user": "1001"}, Caller_Caller_ID_Number="1001", Caller_Privacy_Hide_Number="true")
    assert call_of(hidden).anonymous


@pytest.mark.parametrize(
    ("name", "caller", "from_user", "expected"),
    [
        ("Private Number", "trunk77", "trunk77", True),
        ("Numéro masqué", "trunk77", "trunk77", True),
        ("Private Number", "+493023125001", "+493023125001", False),
        ("Private Number", "+493023125001", "trunk77", False),
        ("Private Number", "trunk77", "+493023125001", False),
        ("Anna Privat", "trunk77", "trunk77", False),
        ("", "trunk77", "trunk77", False),
    ],
)
def test_a_name_counts_where_no_number_stands_beside_it(name: str, caller: str, from_user: str, expected: bool) -> None:
    snapshot = {"Caller_Caller_ID_Name": name, "Caller_Caller_ID_Number": caller}
    assert call_of(facts_of({"sip_from_user": from_user}, **snapshot)).anonymous is expected
    from_phone = facts_of({"sip_from_user": from_user, "fsroute_direction": "outbound"}, **snapshot)
    assert call_of(from_phone).anonymous is False


WISHES = ["+498999998123", "089 99998123", "alice", " ", "${system(touch x)}", "+49\n1", "ä" * 256]


@pytest.mark.parametrize("text", WISHES)
def test_the_number_to_show_is_taken_as_it_is(text: str) -> None:
    """What is none is refused later, with a reason."""
    assert call_of(facts_of({"fsroute_presented": text})).presented == text


def test_without_a_wish_there_is_none() -> None:
    assert call_of(facts_of({"fsroute_presented": ""})).presented is None


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("false", False), ("", False), ("TRUE", False), ("1", False)]
)
def test_only_the_dialplan_s_true_is_roaming(text: str, expected: bool) -> None:
    assert call_of(facts_of({"fsroute_roaming": text})).is_roaming is expected


def test_a_header_that_a_caller_sends_is_not_a_variable_of_the_dialplan() -> None:
    sent = {"sip_h_X-fsroute_presented": "+49110", "sip_h_P-fsroute_roaming": "true"}
    found = call_of(facts_of(sent, Caller_Caller_ID_Number="+493023125001"))
    assert (found.presented, found.is_roaming, found.direction) == (None, False, Direction.INBOUND)


# --- hops -------------------------------------------------------------------------------------------------

DIVERTED = "<sip:+492214710100@carrier.example>;reason=unconditional"

HOPS: dict[str, tuple[dict[str, str], int]] = {
    "none": ({}, 0),
    "ours": ({"sip_h_X-FSRoute-Hops": "3"}, 3),
    "ours, in small letters": ({"sip_h_x-fsroute-hops": "3"}, 3),
    "ours, in capitals": ({"sip_h_X-FSROUTE-HOPS": "3"}, 3),
    "ours, twice: the larger": ({"sip_h_x-fsroute-hops": "1", "sip_h_X-FSRoute-Hops": "4"}, 4),
    "a diversion": ({"sip_h_Diversion": f"{DIVERTED};counter=2"}, 2),
    "a diversion in small letters": ({"sip_h_diversion": f"{DIVERTED};counter=2"}, 2),
    "a diversion in capitals": ({"sip_h_DIVERSION": f"{DIVERTED};COUNTER=2"}, 2),
    "a diversion with blanks": ({"sip_h_Diversion": f"{DIVERTED} ; counter = 2"}, 2),
    "a diversion in quotes": ({"sip_h_Diversion": f'{DIVERTED};counter="2"'}, 2),
    "a parameter after it": ({"sip_h_Diversion": f"{DIVERTED};counter=2;privacy=off"}, 2),
    "several diversions: the larger": ({"sip_h_Diversion": f"{DIVERTED};counter=1, {DIVERTED};counter=3"}, 3),
    "a diversion without a counter": ({"sip_h_Diversion": DIVERTED}, 1),
    "both: the larger": ({"sip_h_X-FSRoute-Hops": "1", "sip_h_diversion": f"{DIVERTED};counter=4"}, 4),
    "both: the larger, ours": ({"sip_h_X-FSRoute-Hops": "5", "sip_h_diversion": f"{DIVERTED};counter=4"}, 5),
    "too many": ({"sip_h_X-FSRoute-Hops": "100"}, 99),
    "far too many": ({"sip_h_X-FSRoute-Hops": "9" * 5000}, 99),
    "far too many, diverted": ({"sip_h_Diversion": f"{DIVERTED};counter={'9' * 5000}"}, 99),
    "zeros in front": ({"sip_h_X-FSRoute-Hops": "0" * 5000 + "2"}, 2),
    "zero": ({"sip_h_X-FSRoute-Hops": "0"}, 0),
    "no number": ({"sip_h_X-FSRoute-Hops": "three"}, 0),
    "less than none": ({"sip_h_X-FSRoute-Hops": "-1"}, 0),
    "other digits": ({"sip_h_X-FSRoute-Hops": "\u0663"}, 0),
    "another header": ({"sip_h_X-FSRoute-Hops-2": "3", "sip_h_Y-X-FSRoute-Hops": "3"}, 0),
    "text in another variable": ({"x": "\nvariable_sip_h_X-FSRoute-Hops: 3"}, 0),
}


@pytest.mark.parametrize(("variables", "expected"), HOPS.values(), ids=HOPS.keys())
def test_hops_are_counted_however_their_header_is_written(variables: dict[str, str], expected: int) -> None:
    assert call_of(facts_of(variables)).hops == expected


@given(st.text(), st.text(), st.text())
def test_any_text_in_these_headers_makes_a_call(hops: str, diversion: str, wish: str) -> None:
    call = call_of(facts_of({"sip_h_X-FSRoute-Hops": hops, "sip_h_Diversion": diversion, "fsroute_presented": wish}))
    assert 0 <= call.hops <= 99


# --- what became of it ------------------------------------------------------------------------------------


GONE, RANG = Outcome.UNREACHABLE, Outcome.NO_ANSWER
PROGRESS: dict[str, tuple[Facts, FailedPlan | Ended | None]] = {
    "a new call": (facts_of(), None),
    "a rule": (
        after_bridge("+492214710100/2", "USER_BUSY"),
        failed_plan("USER_BUSY", Outcome.BUSY, rule=RuleKey("+492214710100", 2)),
    ),
    "the first trunk": (after_bridge("direct/1", "GATEWAY_DOWN"), failed_plan("GATEWAY_DOWN", GONE, trunks=1)),
    "the third trunk": (
        after_bridge("direct/3", "NORMAL_TEMPORARY_FAILURE"),
        failed_plan("NORMAL_TEMPORARY_FAILURE", GONE, trunks=3),
    ),
    "a call that needs no trunk": (after_bridge("direct/0", "NO_ANSWER"), failed_plan("NO_ANSWER", RANG)),
    "without a count": (after_bridge("direct", "NO_ANSWER"), failed_plan("NO_ANSWER", RANG)),
    "a count that is none": (after_bridge("direct/x", "NO_ANSWER"), failed_plan("NO_ANSWER", RANG)),
    "a count below zero": (after_bridge("direct/-1", "NO_ANSWER"), failed_plan("NO_ANSWER", RANG)),
    "a count too large": (after_bridge(f"direct/{'9' * 5000}", "NO_ANSWER"), failed_plan("NO_ANSWER", RANG)),
    "a cause that is none": (after_bridge("direct/1", "x y"), failed_plan("", GONE, trunks=1, why="x y")),
    "a transferred call that came back": (
        after_bridge("recall:direct/0", "NO_ANSWER"),
        failed_plan("NO_ANSWER", RANG, is_recall=True),
    ),
    "a transferred call that went to a number": (
        after_bridge("recall:+492214710100/2", "NO_ANSWER"),
        failed_plan("NO_ANSWER", RANG, rule=RuleKey("+492214710100", 2), is_recall=True),
    ),
    "done": (after_bridge("done", "USER_BUSY"), Ended()),
    "answered": (after_bridge("direct/1", "SUCCESS", Answer_State="answered"), Ended(pause_ms=1000)),
    "bridged by early media, and nobody answered": (
        facts_of(
            {"fsroute_step": "direct/1", "originate_disposition": "SUCCESS", "last_bridge_hangup_cause": "USER_BUSY"},
            Channel_State_Number="4",
            Answer_State="early",
        ),
        FailedPlan(None, Outcome.BUSY, "USER_BUSY", 1),
    ),
}


@pytest.mark.parametrize(("snapshot", "expected"), PROGRESS.values(), ids=PROGRESS.keys())
def test_what_became_of_the_plan_that_rang(snapshot: Facts, expected: FailedPlan | Ended | None) -> None:
    assert progress_of(snapshot) == expected


@pytest.mark.parametrize(
    ("state", "media"),
    [
        ("", MediaState.NONE),
        ("ringing", MediaState.NONE),
        ("early", MediaState.EARLY),
        ("answered", MediaState.ANSWERED),
        ("x", MediaState.NONE),
    ],
)
def test_what_the_caller_receives(state: str, media: MediaState) -> None:
    assert media_state_of(facts_of(Answer_State=state)) is media


RULE = RuleKey("+492214710100", 3)


@pytest.mark.parametrize("step", ["+492214710100/3/x/-", "+492214710100/3/1", "+492214710100/3/1/-/2", "+492214710100/3//-"])
def test_a_step_that_is_none_means_that_the_rule_has_rung(step: str) -> None:
    assert progress_of(after_bridge(step, "USER_BUSY")) == failed_plan("USER_BUSY", Outcome.BUSY, rule=RULE)


# --- texts of any length ----------------------------------------------------------------------------------

LONG = "1" * 30_000


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_long_texts_are_cut_before_anybody_keeps_them(direction: str) -> None:
    """What is left of one is no number."""
    names = ("trunk", "account", "user", "endpoint", "presented")
    params = {f"sip_{who}_params": f"phone-context={LONG}" for who in ("req", "from", "to")}
    headers = {"sip_P-Asserted-Identity": f"<sip:{LONG}@x.example>", "sip_Remote-Party-ID": LONG}
    users = {"sip_from_user": LONG, "sip_to_user": LONG, "sip_req_user": LONG}
    variables = {"fsroute_direction": direction, **{f"fsroute_{name}": LONG for name in names}, **params, **headers, **users}
    call = call_of(
        facts_of(variables, Caller_Caller_ID_Number=LONG, Caller_Caller_ID_Name=LONG, Caller_Destination_Number=LONG)
    )
    assert call.destination == "\N{HORIZONTAL ELLIPSIS}" + "1" * 128
    texts = [call.caller, call.caller_name, call.from_user, call.to_user, *(text for _, text in call.identities)]
    texts += [text for text in (call.trunk, call.account, call.user, call.endpoint, call.presented) if text]
    assert {len(text) for text in texts if text} <= {129, 257}
    assert len(str(call)) < 4000
    assert [phone_number.candidates(text, "DE") for text in (call.destination, *texts)] == [()] * (len(texts) + 1)


@pytest.mark.parametrize("length", [1, 128, 129, 400])
def test_a_phone_context_of_any_length_belongs_to_the_destination(length: int) -> None:
    context = "phone-context=" + "x" * length
    call = call_of(facts_of({"sip_req_user": LINE, "sip_req_params": context}, Caller_Destination_Number=LINE))
    whole = f"{LINE};{context}"
    assert call.destination == (whole if len(whole) <= 128 else "\N{HORIZONTAL ELLIPSIS}" + whole[:128])
