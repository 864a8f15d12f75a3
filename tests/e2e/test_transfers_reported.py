"""What users of other systems reported about transfers, parking and pickup, on a real switch: one test a report.

The docstring names the report (repository#number) and what its author wanted: the right value is what is tested here.
tests/e2e/test_transfers.py has the rules themselves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest

from tests.e2e.conftest import Change, Fsroute, written
from tests.support.sip import Answer, Call, Carrier, MakePhone, Ring, Status, Step
from tests.support.switch import Switch
from tests.support.transfers import (
    CALLER,
    DOMAIN,
    HIDES_NUMBER,
    LINE,
    MOBILE,
    SPOKEN_S,
    VERIFIED,
    Scene,
    notified,
    talks,
    to,
    to_replaced,
    transferred,
    user_of,
    uuid_of,
)

pytestmark = pytest.mark.timeout(120)


def carried_on(scene: Scene, rung: Call) -> None:
    """The caller talks to `rung`, and neither the transferor nor anything else is left."""
    rung.wait("ack")
    assert scene.answered.wait_end() == "bye received"
    talks(scene.caller, rung)
    scene.caller.bye()
    assert rung.wait_end() == "bye received"


# --- how phones write Refer-To ----------------------------------------------------------------------------

WRITTEN = {
    "jambonz/jambonz-feature-server#473: a tel: address": (f"<tel:{MOBILE}>", MOBILE),
    "jambonz/jambonz-feature-server#1296: a tel: address with signs between": ("<tel:+49-171-3920042>", MOBILE),
    "baresip/baresip#2676: without < and >": (f"sip:01713920042@{DOMAIN}", MOBILE),
    "BelledonneCommunications/linphone-android#662: the + is escaped": (f"<sip:%2B491713920042@{DOMAIN}>", MOBILE),
    "pjsip/pjproject#4792: the address of a foreign host": ("<sip:01713920042@192.0.2.7:8230;ob>", MOBILE),
    "twilio: user=phone": (f"<sip:+491713920042@{DOMAIN};user=phone>", MOBILE),
    "a name stands before it": (f'"Mobile, Anna" <sip:01713920042@{DOMAIN}>', MOBILE),
    "irontec/ivozprovider#1013: as it is dialled abroad": (f"<sip:00491713920042@{DOMAIN}>", MOBILE),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_refer_to_as_phones_write_it(fsroute: Fsroute, carrier: Carrier, phone: MakePhone, case: str) -> None:
    """The name of the case is the report. The caller wanted to be sent to a mobile."""
    refer_to, number = WRITTEN[case]
    carrier.numbers[number] = Answer()
    scene = Scene(carrier, phone)
    assert scene.answered.refer(refer_to) == 202
    rung = carrier.wait_invite()
    assert (rung.number, user_of(rung.header("From"))) == (number, VERIFIED)
    assert rung.invite.start.split("@")[1].startswith("127.0.0.1:")
    carried_on(scene, rung)


@pytest.mark.parametrize("refer_to", ["<sip:12>", "<sip:acme.example>", "<sip:>", "nonsense", ""])
def test_refer_to_without_a_number(fsroute: Fsroute, carrier: Carrier, phone: MakePhone, refer_to: str) -> None:
    """i-p-tel/sipdroid#426: a phone writes the extension where the host belongs (`<sip:2002>`), "nothing happens".

    Nothing can happen: there is no number. What counts is that the two go on talking, and that the phone can try again.
    """
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    assert scene.answered.refer(refer_to) in {202, 400}
    talks(scene.caller, scene.answered)
    assert scene.answered.refer(to("12")) == 202
    carried_on(scene, workshop.wait_invite())


def test_refer_to_with_an_empty_number_comes_back(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """i-p-tel/sipdroid#426, the other way round: there is a host, and nothing before it."""
    scene = Scene(carrier, phone)
    assert scene.answered.refer(f"<sip:@{DOMAIN}>") == 202
    back = scene.reception.wait_invite()
    last = fsroute.routed()[-1]
    assert (last["code"], last["reasons"][0].partition(":")[0]) == ("transfer_recall", "not_a_number")
    carried_on(scene, back)


def test_replaces_that_is_not_escaped(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """onsip/SIP.js#666, baresip/baresip#3401: Replaces in Refer-To is not escaped, or only a part of it is."""
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    asked = scene.reception.call("12")
    asked.wait_answer()
    rung = workshop.wait_invite()
    assert scene.answered.refer(f"<sip:12@{DOMAIN}?Replaces={asked.replaces}>") == 202
    assert asked.wait_end() == "bye received"
    carried_on(scene, rung)


def test_replaces_with_the_address_of_the_phone(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """pjsip/pjproject#4792: the address before Replaces is the phone's own contact, not the switch's; answered with 403."""
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    asked = scene.reception.call("12")
    asked.wait_answer()
    rung = workshop.wait_invite()
    refer_to = f"<{workshop.uri};ob?Replaces={quote(asked.replaces, safe='')}>"
    assert scene.answered.refer(refer_to) == 202
    carried_on(scene, rung)


# --- hold, and who goes when ------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
@pytest.mark.parametrize("waits", [True, False], ids=["and waits", "and does not wait"])
def test_a_caller_on_hold_is_sent_on(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, direction: str, waits: bool
) -> None:
    """BelledonneCommunications/linphone-android#139, baresip/baresip#2083: a phone holds the call (sendonly or inactive)
    and sends REFER, some at once. The party that was on hold must hear the target."""
    workshop = phone("1003", Answer())
    scene = Scene(carrier, phone)
    scene.answered.hold(direction)
    if waits:
        scene.reception.wait(lambda: scene.answered.held == 200, 3, "an answer to hold")
    assert scene.answered.refer(to("12")) == 202
    rung = workshop.wait_invite()
    rung.wait("ack")
    packets = scene.caller.audio.packets, rung.audio.packets
    time.sleep(0.5)
    assert scene.caller.audio.packets > packets[0] + 10
    assert rung.audio.packets > packets[1] + 10
    carried_on(scene, rung)


def test_the_transferor_hangs_up_at_once(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """versatica/JsSIP#878, AlticeLabsPublic/asterisk-i#72: BYE directly behind REFER; the transfer was lost with it."""
    workshop = phone("1003", Answer(after_s=0.5))
    scene = Scene(carrier, phone)
    assert scene.answered.refer(to("12")) == 202
    scene.answered.bye()
    rung = workshop.wait_invite()
    rung.wait("ack")
    talks(scene.caller, rung)


def test_the_transferor_is_told_how_it_went(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """jambonz/jambonz-feature-server#1428, emiago/diago#162: a phone that gets no NOTIFY keeps its line busy.

    FreeSWITCH says 200 as soon as the other party has left, whatever becomes of it: the recall is how the user hears that.
    """
    phone("1003", Answer())
    scene = Scene(carrier, phone)
    scene.answered.refer(to("12"))
    scene.answered.wait_end()
    assert notified(scene.reception, scene.answered) == ["SIP/2.0 200 OK"]


def test_the_caller_gives_up_while_the_target_rings(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """OpenACD/OpenACD#1: the caller hangs up during a transfer, and the target rings on."""
    workshop = phone("1003", Ring())
    scene = Scene(carrier, phone)
    scene.answered.refer(to("12"))
    rung = workshop.wait_invite()
    scene.answered.wait_end()
    scene.caller.bye()
    assert rung.wait_end() == "cancelled"
    time.sleep(0.5)
    assert len(scene.reception.calls) == 1  # no recall for a party that is gone


def test_the_caller_hears_that_the_target_rings(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """hkjarral/AVA-AI-Voice-Agent-for-Asterisk#390: the transferred caller hears nothing until the target answers."""
    workshop = phone("1003", Ring())
    scene = Scene(carrier, phone)
    scene.answered.refer(to("12"))
    workshop.wait_invite()
    scene.answered.wait_end()
    before = scene.caller.audio.audible
    time.sleep(1.2)
    assert scene.caller.audio.audible > before + 20


# --- what is shown ----------------------------------------------------------------------------------------


def test_the_target_sees_the_mobile_that_was_called(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """NethServer/dev#8055: 201 calls a mobile and sends it to 202, who sees a wrong landline number."""
    carrier.numbers[MOBILE] = Answer()
    workshop, reception = phone("1003", Answer()), phone("1001", Answer())
    call = reception.call("01713920042")
    call.wait_answer()
    carrier.wait_invite().wait("ack")
    time.sleep(SPOKEN_S)
    call.refer(to("12"))
    rung = workshop.wait_invite()
    assert user_of(rung.header("From")) == MOBILE
    assert LINE not in rung.invite.raw.decode()
    assert VERIFIED not in rung.invite.raw.decode()


def test_a_provider_that_rejects_foreign_numbers_takes_a_transfer(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone
) -> None:
    """nemerald-voip/fspbx#301: calls sent to a mobile show the caller's number, and the provider rejects them."""
    carrier.numbers[MOBILE] = Answer()
    scene = Scene(carrier, phone)
    scene.answered.refer(to("01713920042"))
    rung = carrier.wait_invite()
    told = rung.invite.raw.decode()
    assert CALLER not in told
    carried_on(scene, rung)


@dataclass(frozen=True)
class Display(Answer):
    """A phone to which FreeSWITCH sends UPDATE when its call gets another party: it knows some by name (mod_sofia.c)."""

    def steps(self) -> tuple[Step, ...]:
        headers = ("User-Agent: Yealink SIP-T46S 66.84", "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, REFER")
        return tuple(replace(step, headers=headers) for step in super().steps())


@pytest.mark.parametrize("hides", [False, True], ids=["open", "hidden"])
def test_who_is_connected_after_a_word_is_shown_to_the_target(
    fsroute: Fsroute, carrier: Carrier, phone: MakePhone, hides: bool
) -> None:
    """BelledonneCommunications/linphone-desktop#706, asterisk/asterisk#1990, signalwire/freeswitch#2008: after an attended
    transfer the target's display still has the transferor. It has the caller then, unless the caller hides the number."""
    workshop = phone("1003", Display())
    scene = Scene(carrier, phone, display_name="Anna Amsel", extra_headers=HIDES_NUMBER * hides)
    asked = scene.reception.call("12")
    asked.wait_answer()
    rung = workshop.wait_invite()
    rung.wait("ack")
    scene.answered.refer(to_replaced("12", asked))
    scene.answered.wait_end()
    talks(scene.caller, rung)
    updates = [message for message in workshop.messages if not message.sent and message.start.startswith("UPDATE")]
    expected = '"anonymous" <sip:anonymous@127.0.0.1>' if hides else f'"Anna Amsel" <sip:{CALLER}@127.0.0.1>'
    assert updates[-1].get("P-Asserted-Identity") == expected
    if hides:
        everything = b"".join(message.raw for each in (workshop, scene.reception) for message in each.messages)
        assert CALLER.encode() not in everything
        assert b"Amsel" not in everything


def test_nobody_outside_is_told_who_was_connected(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """signalwire/freeswitch#2008, from the other side: a carrier that runs FreeSWITCH says that it takes display updates.
    It is then told an extension, or the number of a caller."""
    carrier.numbers[MOBILE] = Display()
    scene = Scene(carrier, phone, extra_headers=["User-Agent: Yealink SIP-T46S 66.84", "X-FS-Support: update_display"])
    asked = scene.reception.call("01713920042")
    asked.wait_answer()
    rung = carrier.wait_invite()
    rung.wait("ack")
    scene.answered.refer(to_replaced("01713920042", asked))
    scene.answered.wait_end()
    talks(scene.caller, rung)
    assert {m.start.split()[0] for m in carrier.messages if not m.sent and not m.status} <= {"INVITE", "ACK", "BYE"}


# --- mailbox, park, pickup --------------------------------------------------------------------------------


def test_a_caller_is_sent_to_a_mailbox(fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone) -> None:
    """FreePBX/issue-tracker#457: a transfer to a mailbox comes back to the phone at once. 610 rings 1003, and then there is
    the mailbox of 1001."""
    scene = Scene(carrier, phone)
    assert scene.answered.refer(to("02214710610")) == 202
    assert scene.answered.wait_end() == "bye received"
    time.sleep(0.8)
    assert "voicemail(default acme.example 1001)" in switch.log()
    assert len(scene.reception.calls) == 1
    assert fsroute.routed()[-1]["final"] == "voicemail 1001@acme.example"


PARK = """
    <extension name="park">
      <condition field="destination_number" expression="^(70[1-9])$">
        <action application="valet_park" data="acme $1"/>
      </condition>
    </extension>

    <X-PRE-PROCESS cmd="include" data="shared/ask-fsroute.xml"/>"""


def test_a_caller_is_parked_by_a_transfer_and_fetched(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    """GlomarGadaffi/pocket-dial#203: "transfer to 701" is how people park; the caller was thrown out with 404.

    2600hz/kazoo#6093: whoever fetches the call and hangs up must not leave it behind. Orbits are the operator's dialplan's,
    in the contexts `transferred` (to park) and `users` (to fetch).
    """
    switch.api("load mod_valet_parking")  # its answer begins with "+OK Reloading XML", also if there is no such module
    if "true" not in switch.api("module_exists mod_valet_parking"):
        pytest.skip("NOT RUN: parking: this FreeSWITCH has no mod_valet_parking")
    include = '<X-PRE-PROCESS cmd="include" data="shared/ask-fsroute.xml"/>'

    def with_orbits(text: str) -> str:
        return text.replace(f"    {include}", PARK.lstrip("\n"))

    with (
        written(switch, "dialplan/transferred.xml", with_orbits),
        written(switch, "dialplan/users.xml", with_orbits),
    ):
        scene = Scene(carrier, phone)
        assert scene.answered.refer(to("701")) == 202
        assert scene.answered.wait_end() == "bye received"
        talks(scene.caller)
        assert transferred(fsroute)[-1]["how"] == "transferred"
        workshop = phone("1003", Answer())
        fetched = workshop.call("701")
        fetched.wait_answer()
        talks(scene.caller, fetched)
        fetched.bye()
        assert scene.caller.wait_end() == "bye received"


def test_a_colleague_picks_up_a_ringing_call_by_replaces(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone
) -> None:
    """GlomarGadaffi/pocket-dial#229, siphon-project/siphon-sip#223, 2600hz-archive/kazoo-freeswitch#30: a busy lamp key
    sends INVITE with Replaces of the dialog that rings. Here it names the caller's own dialog with the switch."""
    reception = phone("1001", Ring())
    caller = carrier.call("+492214710602")
    ringing = reception.wait_invite()
    workshop = phone("1003", Answer())
    replaces = (
        f"{ringing.call_id};from-tag={ringing.replaces.rpartition('to-tag=')[2].partition(';')[0]};to-tag={ringing.tag}"
    )
    picked = workshop.call("11", extra_headers=[f"Replaces: {replaces};early-only", "Require: replaces"])
    picked.wait_answer()
    caller.wait_answer()
    assert ringing.wait_end() == "cancelled"
    talks(caller, picked)
    office = phone("1004", Answer())
    assert picked.refer(to("13")) == 202
    rung = office.wait_invite()
    rung.wait("ack")
    talks(caller, rung)
    last = fsroute.routed()[-1]
    assert (last["account"], last["user"]) == ("acme", "workshop")


# --- a trunk that fails, a party that is not there --------------------------------------------------------


def test_a_transfer_to_a_trunk_that_fails_comes_back(fsroute: Fsroute, carrier: Carrier, phone: MakePhone) -> None:
    """FreePBX/issue-tracker#393: "it rings once or so then goes away", the caller is lost."""
    carrier.numbers[MOBILE] = Status(503, ring_s=0.3)
    scene = Scene(carrier, phone)
    scene.answered.refer(to("01713920042"))
    back = scene.reception.wait_invite(6)
    assert user_of(back.header("From")) == CALLER
    back.wait("ack")
    talks(scene.caller, back)
    assert fsroute.routed()[-1]["code"] == "transfer_recall"


# --- evidence ---------------------------------------------------------------------------------------------


def test_the_record_of_a_call_that_was_sent_on_has_both_parts(
    fsroute: Fsroute, switch: Switch, change: Change, carrier: Carrier, phone: MakePhone
) -> None:
    """fusionpbx/fusionpbx#1618, mikopbx/Core#317: "when an agent transfers a call, the CDR is lost", or names only one of
    the two numbers."""
    carrier.numbers[MOBILE] = Answer()
    scene = Scene(carrier, phone)
    scene.answered.refer(to("01713920042"))
    rung = carrier.wait_invite()
    rung.wait("ack")
    leg = uuid_of(fsroute)

    def value(name: str) -> str:
        return switch.api(f"uuid_getvar {leg} {name}").strip()

    names = ("number", "rule", "code", "caller_id")
    assert [value(f"fsroute_{name}") for name in names] == [
        "+492214710602",
        "+492214710602/1",
        "routed",
        "caller_received",
    ]
    for prefix, suffix in (("fsroute_last_", ""), ("fsroute_", "_2")):
        assert [value(f"{prefix}{name}{suffix}") for name in names] == ["none", "none", "trunk", "verified_number"]
    assert (value("fsroute_plan"), value("fsroute_transferor_user")) == ("2", "reception")
    carried_on(scene, rung)
