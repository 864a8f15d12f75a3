"""What a phone or the carrier sends to make the switch dial what fsroute did not decide: docs/design.md lists the ways."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from uuid import RFC_4122, UUID

import pytest

from tests.e2e.conftest import Fsroute, demo_password
from tests.support.sip import Answer, Call, Carrier, MakePhone, Message, Peer, Phone, Ring, Status
from tests.support.switch import IP, Switch

pytestmark = pytest.mark.timeout(120)

GONE = "?Replaces=gone%40127.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db"
"""Names a dialog that no switch has."""

VARIABLE = ";a=b,sip_h_X-Probe=1"
"""Before FreeSWITCH 1.11.2 such a parameter set a variable of the leg."""


@pytest.fixture
def stranger(switch: Switch, carrier: Carrier) -> Iterator[Phone]:
    """The phone of another account."""
    with Phone("2001", demo_password(switch), "probe.example", switch.internal, behaviour=Answer()) as made:
        assert made.register() == 200
        yield made
        for call in (*made.calls, *made.placed):
            call.bye()


def notified(peer: Peer, timeout: float = 5.0) -> str:
    """What the switch said of the first transfer: the status line in its NOTIFY."""

    def sipfrag() -> str | None:
        bodies = (m.body.strip() for m in peer.messages if m.method == "NOTIFY" and not m.status and not m.sent)
        return next((body for body in bodies if body.startswith("SIP/2.0")), None)

    return peer.wait(sipfrag, timeout, "a NOTIFY about a transfer")


def refused(call: Call, refer_to: str) -> None:
    """The switch takes the REFER, says 403 of what came of it, and the call goes on."""
    assert call.refer(refer_to) == 202
    assert notified(call.peer) == "SIP/2.0 403 Forbidden"
    assert call.end is None


def test_this_freeswitch_is_the_one_that_security_md_demands(switch: Switch) -> None:
    if not switch.is_safe:
        pytest.skip(f"NOT RUN: a safe FreeSWITCH: this is {switch.version}, SECURITY.md demands 1.11.2 and says why")


def test_a_called_phone_transfers_to_a_call_that_is_gone(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    refused(call, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>")
    refused(call, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{VARIABLE}{GONE}&X-Probe=1>")
    assert placed.end is None
    call.bye()
    assert placed.wait_end() == "bye received"
    assert carrier.calls == []


def test_a_calling_phone_transfers_to_a_call_that_is_gone(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    carrier.numbers["+493023125077"] = Answer()
    placed = phone("1004", Answer()).call("03023125077")
    placed.wait_answer()
    refused(placed, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>")
    placed.bye()
    assert carrier.wait_invite().wait_end() == "bye received"
    assert [call.number for call in carrier.calls] == ["+493023125077"]


def test_a_phone_of_another_account_transfers_to_a_call_that_is_gone(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, stranger: Phone
) -> None:
    placed = carrier.call("+493023125010")
    placed.wait_answer()
    call = stranger.wait_invite()
    refused(call, f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>")
    placed.bye()
    assert call.wait_end() == "bye received"
    assert carrier.calls == []


def test_the_carrier_transfers_nobody(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    for refer_to in (f"<sip:+491713920099@127.0.0.1:{switch.carrier_port}{GONE}>", "<sip:12@127.0.0.1>"):
        assert placed.refer(refer_to) == 405
    assert (placed.end, call.end) == (None, None)
    placed.bye()
    assert call.wait_end() == "bye received"
    assert (len(desk.calls), carrier.calls) == (1, [])


TO_A_MOBILE, MOBILE = "+492214710611", "+491713920061"
"""A number of ours, and where its rule forwards to."""


def test_what_such_a_transfer_left_on_the_caller_is_sent_to_nobody(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    identity = "P-Asserted-Identity=%3Csip%3A%2B493023125099%40x%3E"
    refused(call, f"<sip:12@127.0.0.1:{switch.carrier_port}{GONE}&X-Probe=1&{identity}>")
    assert call.refer(f"<sip:{TO_A_MOBILE}@{IP}>") == 202
    leg = carrier.wait_invite()
    assert (leg.number, leg.header("Replaces"), leg.header("X-Probe")) == (MOBILE, "", "")
    assert "3023125099" not in leg.invite.raw.decode()


FOREIGN_TARGETS = {
    "host": f"<sip:{TO_A_MOBILE}@{{foreign}}>",
    "route": f"<sip:{TO_A_MOBILE}@{{foreign}}?Route=%3Csip%3A{{foreign}}%3Blr%3E>",
    "maddr": f"<sip:{TO_A_MOBILE}@127.0.0.1;maddr={{foreign}}>",
    "parameters": f"<sip:{TO_A_MOBILE}@{{foreign}};a=b,sip_h_X-Probe=1;fs_path=sip:{{foreign}}>",
}


@pytest.mark.parametrize("target", FOREIGN_TARGETS.values(), ids=FOREIGN_TARGETS.keys())
def test_of_a_blind_transfers_address_only_the_number_counts(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, target: str
) -> None:
    desk = phone("1003", Answer())
    with Peer(switch.internal) as foreign:
        placed = carrier.call("+492214710601")
        placed.wait_answer()
        assert desk.wait_invite().refer(target.format(foreign=f"{IP}:{foreign.address[1]}")) == 202
        leg = carrier.wait_invite()
        assert (leg.number, leg.header("X-Probe"), foreign.messages) == (MOBILE, "", [])


def test_a_transfer_without_a_number_changes_nothing(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    for refer_to in ("<sip:127.0.0.1>", "<http://acme.example/>", ""):
        assert call.refer(refer_to) == 202
    call.bye()
    assert placed.wait_end() == "bye received"
    assert carrier.calls == []


def ask(peer: Peer, method: str, *headers: str, body: str = "") -> Message:
    """A request outside of any call; the last answer."""
    answers: list[Message] = []
    address = f"sip:12@{peer.switch[0]}:{peer.switch[1]}"
    me = f"<sip:{peer.user}@acme.example>;tag={secrets.token_hex(4)}"
    lines = (f"From: {me}", f"To: <{address}>", f"Call-ID: {secrets.token_hex(8)}", f"CSeq: 1 {method}", *headers)
    with peer.changed:
        peer.request(method, address, lines, answers.append, body=body)
    return peer.wait(lambda: answers[-1] if answers and answers[-1].status >= 200 else None, 5, f"an answer to {method}")


def test_requests_outside_of_calls_make_nobody_ring(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    desk, other = phone("1003", Answer()), phone("1004", Answer())
    refer_to = f"Refer-To: <sip:{MOBILE}@{IP}:{switch.carrier_port}>"
    requests = {
        "REFER": (refer_to,),
        "SUBSCRIBE": ("Event: dialog", "Expires: 60"),
        "PUBLISH": ("Event: presence", "Expires: 60"),
        "NOTIFY": ("Event: talk", "Subscription-State: active"),
        "MESSAGE": (),
        "UPDATE": (),
    }
    by_phone = {method: ask(other, method, *headers).status for method, headers in requests.items()}
    by_carrier = {method: ask(carrier, method, *headers).status for method, headers in requests.items()}
    refused = {"SUBSCRIBE": 405, "PUBLISH": 405, "NOTIFY": 481, "MESSAGE": 407, "UPDATE": 481}
    assert by_phone == {"REFER": 202, **refused}
    assert by_carrier == {"REFER": 405, **refused}
    time.sleep(0.5)
    assert (desk.calls, carrier.calls) == ([], [])


COMMANDS = {
    "api": (("Content-Type: freeswitch/api-request",), "version:"),
    "event": (("Content-Type: freeswitch/session-event",), "call-command: hangup"),
    "record": (("Record: on",), ""),
}


@pytest.mark.parametrize(("headers", "body"), COMMANDS.values(), ids=COMMANDS.keys())
def test_info_commands_nothing(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, headers: tuple[str, ...], body: str
) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    for inside in (call, placed):
        answer = within(inside, "INFO", *headers, body=body)
        assert answer.body == ""
        assert answer.status == (488 if "Record: on" in headers else 200)
    for peer in (desk, carrier):
        assert ask(peer, "INFO", *headers, body=body).body == ""
    assert (placed.end, call.end) == (None, None)


def within(call: Call, method: str, *headers: str, body: str = "") -> Message:
    """A request within a call; its answer."""
    answers: list[Message] = []
    with call.peer.changed:
        call.cseq += 1
        dialog = (f"From: {call.local}", f"To: {call.remote}", f"Call-ID: {call.call_id}", f"CSeq: {call.cseq} {method}")
        call.peer.request(method, call.target, (*dialog, *headers), answers.append, body=body)
    return call.peer.wait(
        lambda: answers[-1] if answers and answers[-1].status >= 200 else None, 5, f"an answer to {method}"
    )


def test_nobody_renames_himself_in_the_middle_of_a_call(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    new = ("Content-Type: message/update_display", "X-FS-Display-Name: Your bank", "X-FS-Display-Number: +493023125099")
    asserted = ('P-Asserted-Identity: "Your bank" <sip:+493023125099@x>',)
    for inside in (placed, call):
        within(inside, "INFO", *new, body="x")
        within(inside, "UPDATE", *asserted)
    time.sleep(0.5)
    received = [m.raw.decode() for m in (*desk.messages, *carrier.messages) if not m.sent]
    assert [text for text in received if "3023125099" in text or "bank" in text] == []


UNASKED = (
    "Route: <sip:{foreign};lr>",
    "Record-Route: <sip:{foreign};lr>",
    "Alert-Info: <http://127.0.0.1>;info=alert-autoanswer",
    "Call-Info: <sip:127.0.0.1>;answer-after=0",
    "Answer-Mode: Auto",
    "P-Auto-Answer: normal",
    "Join: a@b;to-tag=1;from-tag=2",
    "Referred-By: <sip:1001@acme.example>",
    "X-FS-Channel-Name: ${{hostname}}",
    "X-FS-Support: update_display,send_info",
    "X-FS-Refer-For: 1",
    "X-AUTH-IP: 127.0.0.1",
    "X-Probe: 1",
    "User-to-User: 00",
    "Subject: probe",
    "Priority: emergency",
    "Reason: Q.850;cause=16",
    "Geolocation: <cid:probe>",
    "Identity: probe",
)
OURS = {
    *("Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "User-Agent", "Allow", "Supported", "Allow-Events"),
    *("Privacy", "Content-Type", "Content-Disposition", "Content-Length", "X-FS-Support", "X-FSRoute-Hops"),
    *("P-Asserted-Identity", "Remote-Party-ID"),
}


@pytest.mark.parametrize("to", ["12", "03023125077"])
def test_headers_of_a_phone_reach_nobody(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, to: str
) -> None:
    office, desk = phone("1004", Answer()), phone("1003", Answer())
    carrier.behaviour = Answer()
    with Peer(switch.internal) as foreign:
        headers = [header.format(foreign=f"{IP}:{foreign.address[1]}") for header in UNASKED]
        placed = office.call(to, extra_headers=headers)
        placed.wait_answer()
        leg = (desk if to == "12" else carrier).wait_invite()
        assert {name for name, _ in leg.invite.headers} - OURS == set()
        assert foreign.messages == []
        leg.bye()


def test_a_body_of_a_phone_reaches_nobody(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    carrier.behaviour = Answer()
    parts = (
        "--b\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--b\r\nContent-Type: application/isup\r\n\r\nPROBE\r\n--b--\r\n"
    )
    office = phone("1004", Answer())
    multipart = ["Content-Type: multipart/mixed;boundary=b"]
    placed = office.place("sip:03023125077@acme.example", "<sip:1004@acme.example>", multipart, body=parts)
    placed.wait_answer()
    leg = carrier.wait_invite()
    assert leg.header("Content-Type") == "application/sdp"
    assert "PROBE" not in leg.invite.body
    placed.bye()


@pytest.mark.parametrize("name", ["call_id", "uuid", "a_leg"])
@pytest.mark.parametrize("thief", ["colleague", "stranger", "carrier"])
def test_invite_with_replaces_takes_no_call_away(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, stranger: Phone, name: str, thief: str
) -> None:
    desk = phone("1003", Answer())
    placed = carrier.call("+492214710601")
    placed.wait_answer()
    call = desk.wait_invite()
    call.wait("ack")
    uuid = next(line["call"] for line in reversed(fsroute.routed()))
    replaces = {"call_id": call.replaces, "uuid": f"{uuid};to-tag=a;from-tag=b", "a_leg": f"{placed.replaces};a-leg=true"}
    header = [f"Replaces: {replaces[name]}"]
    if thief == "colleague":
        taking = phone("1004", Answer()).call("12", extra_headers=header)
    elif thief == "stranger":
        taking = stranger.call("11", extra_headers=header)
    else:
        taking = carrier.call("+492214710601", extra_headers=header)
    assert taking.wait_end() == "bye received"
    assert (placed.end, call.end) == (None, None)
    call.bye()
    assert placed.wait_end() == "bye received"


def test_call_ids_of_our_legs_cannot_be_guessed(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    phones = [phone(user, Ring()) for user in ("1001", "1003", "1004")]
    placed = carrier.call("+492214710601")
    ids = [UUID(each.wait_invite().call_id) for each in phones]
    placed.cancel()
    assert [(each.version, each.variant) for each in ids] == [(4, RFC_4122)] * 3
    assert len({each.bytes[10:] for each in ids}) == 3


@pytest.mark.parametrize("to", ["+492214710611", "+492214710602"])
def test_302_leads_nowhere(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, to: str) -> None:
    """From a phone, and from the carrier."""
    elsewhere = Status(302, headers=(f"Contact: <sip:+491713920099@{IP}:{switch.carrier_port}>",))
    carrier.behaviour = elsewhere
    phone("1001", elsewhere)
    phone("1003", elsewhere)
    placed = carrier.call(to)
    assert placed.wait_final(8) == 480
    assert "+491713920099" not in [call.number for call in carrier.calls]


@pytest.mark.parametrize("profile", ["internal", "external"])
def test_a_phone_registered_as_the_switch_itself_makes_no_call(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, profile: str
) -> None:
    desk, evil = phone("1003", Ring()), phone("1004", Ring())
    evil.unregister()
    ip, port = switch.internal if profile == "internal" else switch.external
    contact = f"<sip:12@{ip}:{port}>"
    assert evil.register(contact=contact) == 200
    before = len(fsroute.routed())
    try:
        placed = carrier.call("+492214710601")
        desk.wait_invite()
        time.sleep(0.5)
        placed.cancel()
        switch.wait_idle()
        assert len(fsroute.routed()) == before + 1
        assert (len(desk.calls), evil.calls, carrier.calls) == (1, [], [])
    finally:
        evil.register(0, contact=contact)


def test_notify_talk_rings_nobody_else(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """FreeSWITCH transfers who sends it to the number auto_answer; the partner rings again, as after any failed transfer."""
    desk, office = phone("1003", Answer()), phone("1004", Answer())
    placed = office.call("12")
    placed.wait_answer()
    call = desk.wait_invite()
    assert within(placed, "NOTIFY", "Event: talk", "Subscription-State: active").status == 200
    assert call.wait_end() == "bye received"
    again = desk.wait_invite()
    again.wait("ack")
    assert fsroute.routed()[-1]["to"] == "auto_answer"
    placed.bye()
    assert again.wait_end() == "bye received"
    assert (len(desk.calls), carrier.calls) == (2, [])
