"""Which registered phones are dialled: those whose Contact is a plain SIP address, as what FreeSWITCH said it is."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.codes import ReasonCode
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import FrameReader
from fsroute.model import (
    ContactDial,
    Decision,
    EndpointDial,
    Leg,
    Outcome,
    Plan,
    Reason,
    Registered,
    Rule,
    TrunkDial,
)
from fsroute.simulator import dialstring_reader
from fsroute.simulator.simulated_channel import Result, SimulatedChannel, parse
from fsroute.switch import call_commands, contacts, dialstring
from fsroute.switch.contacts import endpoints, query, read, resolve
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Hangup
from tests.support.builders import CARRIER, MOBILE, RECEIVED, decision

MARK = "0123456789abcdef"
P1001, P1002 = EndpointDial("1001", "acme.example"), EndpointDial("1002", "acme.example")
BY_TRUNK = TrunkDial(CARRIER, MOBILE)


def leg(dial: EndpointDial | ContactDial | TrunkDial, target: str = "endpoint") -> Leg:
    return Leg(target, dial, RECEIVED)


def rings(*stages: tuple[Leg, ...], final: Hangup | None = None) -> Decision:
    return decision(Plan(stages, final))


def one(answer_text: str) -> Registered:
    """What is read of the answer for one endpoint at one profile."""
    return read(MARK + answer_text, [P1001], ["internal"], MARK)[P1001]


def test_each_endpoint_is_asked_for_once_at_each_profile() -> None:
    plan = Plan(((leg(P1001), leg(P1002), leg(BY_TRUNK)), (leg(P1001),)))
    asked = endpoints(plan)
    assert asked == (P1001, P1002)
    assert query(asked, ("internal", "wss"), "M") == (
        "M${sofia_contact(internal/1001@acme.example)}M${sofia_contact(wss/1001@acme.example)}"
        "M${sofia_contact(internal/1002@acme.example)}M${sofia_contact(wss/1002@acme.example)}"
    )


PLAIN = {
    "usual": "sip:1001@192.0.2.7:5060",
    "no port": "sip:1001@192.0.2.7",
    "no user": "sip:192.0.2.7:5060",
    "a name": "sip:x3f-9_k.2~@phone.example:5062",
    "parameters": "sip:1001@192.0.2.7:5060;transport=tcp;ob;line=4v9x-_2",
    "sips": "sips:1001@192.0.2.7:5061;transport=tls",
    "IPv6": "sip:1001@[2001:db8::7]:5060;transport=udp",
    "a websocket": "sip:d8q3k1@df7jal23ls0d.invalid;transport=ws",
}


@pytest.mark.parametrize("address", PLAIN.values(), ids=PLAIN.keys())
def test_a_plain_address_is_dialled_as_it_is(address: str) -> None:
    assert one(f"sofia/internal/{address}") == Registered((ContactDial("internal", address),))


def test_behind_nat_the_path_is_encoded_again() -> None:
    contact_text = "sofia/internal/sip:1001@10.0.0.7:5060;fs_nat=yes;fs_path=sip:1001@203.0.113.9:40123;transport=tcp"
    assert one(contact_text).contacts == (
        ContactDial(
            "internal",
            "sip:1001@10.0.0.7:5060;fs_nat=yes;fs_path=sip%3A1001%40203.0.113.9%3A40123%3Btransport%3Dtcp",
        ),
    )


def test_behind_proxies_the_path_has_commas_and_brackets() -> None:
    contact_text = (
        "sofia/internal/sip:1001@10.0.0.7;fs_path=<sip:p1.example;lr>,<sip:p2.example;lr>,sofia/internal/sip:1001@10.0.0.8"
    )
    assert [contact.address for contact in one(contact_text).contacts] == [
        "sip:1001@10.0.0.7;fs_path=%3Csip%3Ap1.example%3Blr%3E%2C%3Csip%3Ap2.example%3Blr%3E",
        "sip:1001@10.0.0.8",
    ]


def test_several_phones_of_an_endpoint_each_become_one() -> None:
    contact_text = "sofia/internal/sip:1001@192.0.2.7,sofia/internal/sip:1001@192.0.2.8,sofia/internal/sip:1001@192.0.2.7"
    assert [contact.address for contact in one(contact_text).contacts] == ["sip:1001@192.0.2.7", "sip:1001@192.0.2.8"]


@pytest.mark.parametrize("contact_text", ["error/user_not_registered", "", "-ERR", "sofia/external/sip:1001@192.0.2.7"])
def test_what_is_no_contact_at_this_profile_is_nobody(contact_text: str) -> None:
    assert one(contact_text) == Registered()


HOSTILE = {
    "another leg": "sip:1001@h;x=a,sofia/gateway/carrier/+4990012345",
    "another stage": "sip:1001@h;x=a|sofia/gateway/carrier/+4990012345",
    "enterprise": "sip:1001@h;x=a:_:sofia/gateway/carrier/+4990012345",
    "variables": "sip:1001@h;x=a,[execute_on_ring=system touch x]sofia/internal/sip:1001@h",
    "an expansion": "sip:1001@h;x=${system(touch x)}",
    "an encoded one": "sip:1001@h;x=%24%7Bsystem(touch x)%7D",
    "a user part that is all of that": "sip:1001,sofia/gateway/carrier/+4990012345,x@h",
    "quotes": "sip:1001@h;x='a",
    "a backslash": "sip:1001@h;x=\\",
    "a blank": "sip:1001@h;x=a fsroute_account=evil",
    "a line end": "sip:1001@h;x=a\nX: 1",
    "brackets": "sip:1001@h[1;x=a",
    "a fake path": "sip:1001@h;fs_path=sip:1001@h,[x=${y}]",
    "a telephone number": "sip:+4990012345@192.0.2.1:5060",
    "a national one": "sip:090012345@192.0.2.1:5060",
    "one with separators": "sip:+49-900.12345@192.0.2.1:5060",
    "separators first": "sip:.+4990012345@192.0.2.1:5060",
    "a password": "sip:1001:secret@h",
    "too long": "sip:1001@h" + ";x=y" * 100,
    "a path too long for a dial string": "sip:1001@h;fs_path=" + ":" * 300,
}


@pytest.mark.parametrize("address", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_phone_may_have_registered_to_trick_us_is_refused(address: str) -> None:
    assert one(f"sofia/internal/{address}") == Registered((), 1)


def test_a_long_reply_is_read_and_not_remembered() -> None:
    said = ",".join(f"sofia/internal/sip:1001@192.0.2.7:{port}" for port in range(5000, 5200))
    before = contacts._contacts.cache_info()  # noqa: SLF001 - memory is what this is about
    assert len(one(said).contacts) == 200
    assert contacts._contacts.cache_info() == before  # noqa: SLF001


def test_an_endpoint_may_be_named_like_a_telephone_number() -> None:
    endpoint = EndpointDial("492214710100", "acme.example")
    contact_text = "M" + "sofia/internal/sip:492214710100@192.0.2.7"
    assert read(contact_text, [endpoint], ["internal"], "M")[endpoint].refused == 0


def test_each_leg_becomes_one_for_each_phone_with_the_same_times() -> None:
    phone, other = ContactDial("internal", "sip:1001@192.0.2.7"), ContactDial("internal", "sip:1001@192.0.2.8")
    before = rings((leg(P1001, "endpoint 1001"), leg(P1002, "endpoint 1002"), leg(BY_TRUNK, "external")))
    after = resolve(before, {P1001: Registered((phone, other), 1)})
    assert after.plan == Plan(((leg(phone, "endpoint 1001"), leg(other, "endpoint 1001"), leg(BY_TRUNK, "external")),))
    assert after.reasons == (
        Reason(ReasonCode.CONTACT_REFUSED, "endpoint 1001", "1 contacts are no plain SIP addresses"),
        Reason(ReasonCode.NOT_REGISTERED, "endpoint 1002", "left out: no phone is registered"),
    )


def test_nothing_of_a_decision_is_lost_but_what_rings() -> None:
    """A recall that were no recall any more would ring the transferor for ever."""
    rule = Rule("+492214710100", 1)
    plan, before = Plan(((leg(P1001),),)), Outcome.BUSY
    decided = Decision("+492214710100", "acme", rule, plan, RECEIVED, ReasonCode.ROUTED, (), 2, "A", True, 1, before)
    assert all(getattr(decided, field.name) != field.default for field in fields(Decision))
    found = resolve(decided, {P1001: one("sofia/internal/sip:1001@192.0.2.7")})
    assert replace(found, plan=decided.plan) == decided


def test_stages_without_a_phone_go_and_the_end_stays() -> None:
    before = rings((leg(P1001),), (leg(BY_TRUNK),), (leg(P1002),), final=Hangup("USER_BUSY"))
    assert resolve(before, {}).plan == Plan(((leg(BY_TRUNK),),), Hangup("USER_BUSY"))


def test_when_all_that_is_left_starts_late_the_first_starts_at_once() -> None:
    late = [replace(leg(BY_TRUNK), start_s=5), replace(leg(TrunkDial(CARRIER, "+491713920043")), start_s=8)]
    stage = resolve(rings((leg(P1001), *late)), {}).plan.stages[0]
    assert [each.start_s for each in stage] == [0, 3]


def test_more_phones_than_freeswitch_can_ring_together_are_left_out_with_a_reason() -> None:
    phones = tuple(ContactDial("internal", f"sip:1001@192.0.2.{i}") for i in range(130))
    after = resolve(rings((leg(P1001, "endpoint 1001"),)), {P1001: Registered(phones)})
    assert len(after.plan.stages[0]) == 128
    assert [reason.code for reason in after.reasons] == ["leg_limit"]


CONTACT_TEXT = st.text(
    st.sampled_from("sip:sofia/internal/gateway,|[]{}<>=;@%${}()'\"\\ \n\t:_+0123456789abcdef.-^~"), max_size=120
)


@given(st.lists(CONTACT_TEXT, max_size=3), st.lists(CONTACT_TEXT, max_size=3))
def test_whatever_phones_register_the_dial_string_has_only_their_own_addresses(first: list[str], second: list[str]) -> None:
    """With FreeSWITCH's encoding, expansion and parser, as simulated: no leg but sofia/internal/sip:..., the
    mobile's leg unharmed, and nothing expanded."""
    registered = {"1001": first, "1002": second}

    def contact(profile: str, address: str) -> str:
        texts = registered[address.partition("@")[0]]
        return ",".join(f"sofia/{profile}/{text}" for text in texts) or "error/user_not_registered"

    channel = SimulatedChannel({"Unique-ID": "c"}, {}, lambda parsed: Result({}), contact)
    before = rings((leg(P1001), leg(BY_TRUNK), leg(P1002)))
    asked = frames.encode(call_commands.contacts_query([P1001, P1002], ["internal"], MARK)) + frames.CONNECT
    replies = b""
    for command in parse(asked)[0]:
        replies = channel.reply_to(command)
    reader = FrameReader()
    reader.feed(replies)
    frame = reader.next()
    assert frame is not None
    found = read(frame.variable("fsroute_contacts"), [P1001, P1002], ["internal"], MARK)
    text = dialstring.bridge(resolve(before, found).plan, Confirmation())
    (group,) = dialstring_reader.parse(text).groups
    assert [parsed.endpoint for parsed in group if "gateway" in parsed.endpoint] == ["sofia/gateway/carrier/+491713920042"]
    others = [parsed for parsed in group if "gateway" not in parsed.endpoint]
    assert len(others) == sum(len(each.contacts) for each in found.values())
    for parsed in others:
        assert parsed.endpoint.startswith(("sofia/internal/sip:", "sofia/internal/sips:"))
        assert set(parsed.variables) == {"leg_timeout", "leg_progress_timeout"}


def test_the_phones_of_this_call_count_not_those_of_the_one_before() -> None:
    before = rings((leg(P1001, "endpoint 1001"),), (leg(BY_TRUNK),))
    first, second = (ContactDial("internal", f"sip:1001@192.0.2.{i}") for i in (7, 8))
    for phones in ((first,), (first, second), (), (second,), (second,)):
        anew = rings((leg(P1001, "endpoint 1001"),), (leg(BY_TRUNK),))
        known = {P1001: Registered(phones)}
        assert resolve(before, known) == resolve(anew, known)
        assert len(resolve(before, known).plan.stages) == (2 if phones else 1)


def test_a_plan_is_resolved_once_for_the_same_phones() -> None:
    before = rings((leg(P1001),))
    known = {P1001: Registered((ContactDial("internal", "sip:1001@192.0.2.7"),))}
    assert resolve(before, known).plan is resolve(before, dict(known)).plan
