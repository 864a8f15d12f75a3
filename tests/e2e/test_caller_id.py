"""Which number a call shows: the INVITE that the carrier's side of a real FreeSWITCH reads, whole values.

What is expected is written out below, a table for the profiles and one for the cases; nothing is computed by fsroute.
Rows of the running database are changed for a case and put back after it: fsroute reads them with the next call.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import Change, Fsroute, written
from tests.support.sip import Answer, Behaviour, Busy, Carrier, MakePhone, Message, OutgoingCall, Phone, Ring, Status, Step
from tests.support.switch import Switch

pytestmark = pytest.mark.timeout(120)

Sql = tuple[str, ...]
"""A statement and its values."""

LINE = "+492214710100"
"""acme's network number."""
OWN = "+492214710113"
VERIFIED = "+498999998123"
IN_BLOCK = "+493023125310"
"""Of the block that was verified by hand."""
UNVERIFIED = "+494066969001"
TRIAL_LINE, TRIAL_VERIFIED = "+493023125010", "+493023125020"
CALLER = "+493023125001"
"""Who calls from outside."""
FORWARDING, MOBILE = "+492214710611", "+491713920061"
"""A number whose only target is a mobile."""
OUTSIDE = "+493023125077"
ABROAD = "+33199001234"

# --- what a carrier reads, by profile ---------------------------------------------------------------------

ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'
SHOWN = {
    "presented-in-from": {
        "From": "<sip:{presented}@carrier.example>",
        "P-Asserted-Identity": "<sip:{network}@carrier.example>",
        "Privacy": "none",
        "Diversion": "{diversion}",
    },
    "presented-in-pai": {
        "From": "<sip:{network}@carrier.example>",
        "P-Asserted-Identity": "<sip:{presented}@carrier.example>",
        "Privacy": "none",
        "Diversion": "{diversion}",
        "History-Info": "{history}",
    },
    "preferred": {
        "From": "<sip:{presented}@carrier.example>",
        "P-Preferred-Identity": "<sip:{network}@carrier.example>",
        "Privacy": "none",
        "Diversion": "{diversion}",
    },
    "remote-party": {
        "From": "<sip:{presented}@carrier.example>",
        "Remote-Party-ID": "<sip:{network}@carrier.example>;party=calling;screen=yes;privacy=off",
        "Diversion": "{diversion}",
    },
    "from-only": {"From": "<sip:{presented}@carrier.example>"},
}
HIDDEN = {
    "presented-in-from": {
        "From": ANONYMOUS,
        "P-Asserted-Identity": "<sip:{network}@carrier.example>",
        "Privacy": "id",
        "Diversion": "{diversion}",
    },
    "presented-in-pai": {
        "From": ANONYMOUS,
        "P-Asserted-Identity": "<sip:{network}@carrier.example>",
        "Privacy": "id",
        "Diversion": "{diversion}",
        "History-Info": "{history}",
    },
    "preferred": {
        "From": ANONYMOUS,
        "P-Preferred-Identity": "<sip:{network}@carrier.example>",
        "Privacy": "id",
        "Diversion": "{diversion}",
    },
    "remote-party": {
        "From": ANONYMOUS,
        "Remote-Party-ID": "<sip:{network}@carrier.example>;party=calling;screen=yes;privacy=full",
        "Diversion": "{diversion}",
    },
    "from-only": {"From": ANONYMOUS, "Privacy": "id"},
}
IDENTITY_HEADERS = (
    "From",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Privacy",
    "Diversion",
    "History-Info",
    "To",
)
DIVERSION = f"<sip:{FORWARDING}@carrier.example>;reason=unconditional;counter="
HISTORY = f"<sip:{FORWARDING}@carrier.example>;index=1,<sip:{MOBILE}@carrier.example;cause=302>;index=1.1"

OTHER_HEADERS = {
    *("Via", "Max-Forwards", "Call-ID", "CSeq", "Contact", "User-Agent", "Allow", "Supported", "Allow-Events"),
    *("Content-Type", "Content-Disposition", "Content-Length", "X-FS-Support", "X-FSRoute-Hops"),
}
"""What else an INVITE has."""

SECRETS = (
    'P-Asserted-Identity: "Leak" <sip:+493023125901@leak.example>',
    'P-Preferred-Identity: "Leak" <sip:+493023125902@leak.example>',
    'Remote-Party-ID: "Leak" <sip:+493023125903@leak.example>;party=calling',
    "P-Charge-Info: <sip:+493023125904@leak.example>",
    "P-Secret: leak",
    "X-Secret: leak",
    "History-Info: <sip:+493023125905@leak.example>;index=1",
    "Diversion: <sip:+493023125906@leak.example>;reason=unknown",
    "Subject: leak",
)
"""What a caller writes into their INVITE, besides their name."""
NAME = "Mallory Leak"


def told(invite: Message) -> dict[str, str]:
    """The headers that say who calls, each with its whole value. One that is there twice is a failure."""
    found = {name: invite.all(name) for name in IDENTITY_HEADERS}
    assert all(len(values) <= 1 for values in found.values()), found
    return {name: values[0].partition(";tag=")[0] for name, values in found.items() if values}


def expected(
    profile: str, presented: str | None, network: str, to: str, host: str, *, forwarded: bool = False, hops: int = 1
) -> dict[str, str]:
    templates = (HIDDEN if presented is None else SHOWN)[profile]
    filled = {
        name: text.format(
            presented=presented,
            network=network,
            diversion=f"{DIVERSION}{hops}" if forwarded else "",
            history=HISTORY if forwarded else "",
        )
        for name, text in templates.items()
    }
    return {name: text for name, text in filled.items() if text} | {"To": f"<sip:{to}@{host}>"}


def assert_nothing_leaks(invite: Message) -> None:
    text = invite.raw.decode("utf-8", "replace").lower()
    for secret in ("leak", "mallory", "4930231259", "secret", "sip:1004@", "acme.example", "probe.example"):
        assert secret not in text, text
    assert {name for name, _ in invite.headers} <= OTHER_HEADERS | set(IDENTITY_HEADERS)


# --- the running database, dialplan and gateways ----------------------------------------------------------


@contextmanager
def variable(switch: Switch, context: str, name: str, value: str) -> Iterator[None]:
    """A channel variable that the dialplan of a context sets."""
    after = '<action application="set" data="fsroute_direction='
    action = f'<action application="set" data="{name}={value}"/>{after}'
    with written(switch, f"dialplan/{context}.xml", lambda text: text.replace(after, action)):
        yield


def place(peer: Phone | Carrier, to: str, *, hides: str = "", headers: Iterable[str] = ()) -> OutgoingCall:
    """A call of somebody with a name, who may hide their number in From or by Privacy."""
    if hides == "From":
        return peer.call(
            to, display_name=NAME, from_user="anonymous", from_domain="anonymous.invalid", extra_headers=headers
        )
    privacy = ("Privacy: id",) if hides == "Privacy" else ()
    return peer.call(to, display_name=NAME, extra_headers=(*headers, *privacy))


def host(switch: Switch) -> str:
    return f"{switch.external[0]}:{switch.carrier_port}"


def channel_variable(switch: Switch, fsroute: Fsroute, name: str) -> str:
    """Of the call that fsroute decided last, while it lives."""
    return switch.api(f"uuid_getvar {fsroute.routed()[-1]['call']} {name}").strip()


def assert_refused(call: OutgoingCall, fsroute: Fsroute, switch: Switch, carrier: Carrier, code: str) -> None:
    """603 with the reason, in the log and on the channel too, and nothing at the carrier."""
    assert call.wait_final() == 603
    assert call.final is not None
    assert call.final.all("X-FSRoute-Reason") == [code]
    line = fsroute.routed()[-1]
    assert (line["code"], line["caller_id"], line["final"]) == (code, code, "hangup CALL_REJECTED")
    assert set_on_channel(switch, line["call"], "fsroute_caller_id") == code
    assert carrier.calls == []


def set_on_channel(switch: Switch, call: str, name: str) -> str:
    """The last value that a channel's variable was given, by FreeSWITCH's log: for calls that are over."""
    lines = (line for line in switch.log().splitlines() if line.startswith(call) and f"[{name}]=[" in line)
    return list(lines)[-1].rpartition("=[")[2].removesuffix("]")


# --- every profile, every case ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """A user's call: what was set up, what is dialled, what the carrier reads.

    `bare` is what a trunk without an identity header shows, with its reason: only numbers that are ours.
    """

    dialled: str = "03023125077"
    to: str = OUTSIDE
    presented: str | None
    network: str = LINE
    reason: str
    bare: tuple[str | None, str] | None = None
    sql: tuple[Sql, ...] = ()
    hides: str = ""
    trial: bool = False


NO_WISHES: Sql = ("DELETE FROM user_numbers WHERE account = 'acme'",)


def asks_for(number: str) -> tuple[Sql, ...]:
    insert = "INSERT INTO user_numbers (account, user_name, number, kind) VALUES ('acme', 'office', ?, 'primary')"
    return NO_WISHES, (insert, number)


def verification(number: str, change: str) -> Sql:
    """A change of the row that a number was verified by."""
    return f"UPDATE verified_numbers SET {change} WHERE first_number = ?", number  # noqa: S608


BARE = (LINE, "trunk_can_not_carry")
CASES = {
    "network": Case(sql=(NO_WISHES,), presented=LINE, reason="network_number"),
    "own": Case(presented=OWN, reason="own_number"),
    "verified": Case(sql=asks_for(VERIFIED), presented=VERIFIED, reason="verified_number", bare=BARE),
    "in a verified block": Case(sql=asks_for(IN_BLOCK), presented=IN_BLOCK, reason="verified_block", bare=BARE),
    "unverified": Case(sql=asks_for(UNVERIFIED), presented=LINE, reason="not_verified"),
    "pending": Case(
        sql=(*asks_for(VERIFIED), verification(VERIFIED, "state = 'pending'")),
        presented=LINE,
        reason="verification_pending",
    ),
    "expired by date": Case(
        sql=(*asks_for(VERIFIED), verification(VERIFIED, "expires_at = '2026-02-01T00:00:00Z'")),
        presented=LINE,
        reason="verification_expired",
    ),
    "expired by state": Case(
        sql=(*asks_for(IN_BLOCK), verification("+493023125300", "state = 'expired'")),
        presented=LINE,
        reason="verification_expired",
    ),
    "revoked": Case(
        sql=(*asks_for(VERIFIED), verification(VERIFIED, "state = 'revoked', revoked_at = '2026-02-01T00:00:00Z'")),
        presented=LINE,
        reason="verification_revoked",
    ),
    "verified by another account": Case(sql=asks_for(TRIAL_VERIFIED), presented=LINE, reason="verified_by_another_account"),
    "hosted for another account": Case(sql=asks_for(TRIAL_LINE), presented=LINE, reason="not_verified"),
    "trial account": Case(
        sql=(("UPDATE accounts SET refused_caller_id = 'network_number'",),),
        presented=TRIAL_LINE,
        network=TRIAL_LINE,
        reason="trial_account",
        trial=True,
    ),
    "anonymous by From": Case(presented=None, reason="privacy_requested", hides="From"),
    "anonymous by Privacy": Case(presented=None, reason="privacy_requested", hides="Privacy"),
    "anonymous, not verified": Case(sql=asks_for(UNVERIFIED), presented=None, reason="privacy_requested", hides="From"),
    "emergency": Case(dialled="110", to="110", presented=LINE, reason="emergency"),
    "emergency, anonymous, not verified": Case(
        sql=asks_for(UNVERIFIED), dialled="112", to="112", presented=LINE, reason="emergency", hides="From"
    ),
    "emergency, verified": Case(sql=asks_for(VERIFIED), dialled="112", to="112", presented=LINE, reason="emergency"),
    "abroad, verified": Case(
        sql=asks_for(VERIFIED), dialled="0033199001234", to=ABROAD, presented=LINE, reason="destination_abroad", bare=BARE
    ),
    "abroad, verified, account shows it": Case(
        sql=(*asks_for(VERIFIED), ("UPDATE accounts SET presents_abroad = TRUE WHERE name = 'acme'",)),
        dialled="0033199001234",
        to=ABROAD,
        presented=VERIFIED,
        reason="verified_number",
        bare=BARE,
    ),
    "abroad, own": Case(dialled="0033199001234", to=ABROAD, presented=OWN, reason="own_number"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("profile", SHOWN)
def test_an_outgoing_call_shows(
    fsroute: Fsroute,
    switch: Switch,
    carrier: Carrier,
    caller: MakePhone,
    change: Change,
    profile: str,
    case: Case,
) -> None:
    change("UPDATE trunks SET identity_profile = ?", profile)
    for statement in case.sql:
        change(*statement)
    made = caller("2001", "probe.example") if case.trial else caller()
    place(made, case.dialled, hides=case.hides, headers=SECRETS)
    invite = carrier.wait_invite().invite
    presented, reason = case.bare if case.bare and profile == "from-only" else (case.presented, case.reason)
    assert told(invite) == expected(profile, presented, case.network, case.to, host(switch))
    assert invite.start == f"INVITE sip:{case.to}@{host(switch)} SIP/2.0"
    assert_nothing_leaks(invite)
    assert fsroute.routed()[-1]["caller_id"] == reason
    assert channel_variable(switch, fsroute, "fsroute_caller_id") == reason


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """A call from outside that goes on to a mobile: what the target shows, and whether the caller hides their number."""

    mode: str
    hides: str = ""
    presented: str | None
    reason: str
    bare: tuple[str | None, str] | None = None


REFUSALS = {"not_verified", "trunk_can_not_carry"}
FORWARDED = {
    "own": Forwarded(mode="own", presented=FORWARDING, reason="own_number"),
    "original": Forwarded(mode="original", presented=CALLER, reason="original_caller"),
    "verified": Forwarded(mode=f"verified:{VERIFIED}", presented=VERIFIED, reason="verified_number", bare=BARE),
    "in a verified block": Forwarded(mode=f"verified:{IN_BLOCK}", presented=IN_BLOCK, reason="verified_block", bare=BARE),
    "another own number": Forwarded(mode=f"verified:{OWN}", presented=OWN, reason="own_number"),
    "unverified": Forwarded(mode=f"verified:{UNVERIFIED}", presented=LINE, reason="not_verified"),
    "private, own": Forwarded(mode="own", hides="From", presented=FORWARDING, reason="own_number"),
    "private by From, original": Forwarded(
        mode="original", hides="From", presented=None, reason="original_caller_anonymous"
    ),
    "private by Privacy, original": Forwarded(
        mode="original", hides="Privacy", presented=None, reason="original_caller_anonymous"
    ),
    "private, verified": Forwarded(
        mode=f"verified:{VERIFIED}", hides="Privacy", presented=VERIFIED, reason="verified_number", bare=BARE
    ),
}


@pytest.mark.parametrize("case", FORWARDED.values(), ids=FORWARDED.keys())
@pytest.mark.parametrize("profile", SHOWN)
def test_a_forwarded_call_shows(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, change: Change, profile: str, case: Forwarded
) -> None:
    change("UPDATE trunks SET identity_profile = ?", profile)
    change("UPDATE rule_targets SET caller_id = ? WHERE number = ?", case.mode, FORWARDING)
    identities = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID")
    # What a carrier asserts of its caller is believed; here it is the caller's number, as a carrier would say it.
    headers = [line for line in SECRETS if not line.startswith(identities)]
    asserted = f'P-Asserted-Identity: "{NAME}" <sip:{CALLER}@carrier.example>'
    place(carrier, FORWARDING, hides=case.hides, headers=[asserted, *headers])
    invite = carrier.wait_invite().invite
    presented, reason = case.bare if case.bare and profile == "from-only" else (case.presented, case.reason)
    assert told(invite) == expected(profile, presented, LINE, MOBILE, host(switch), forwarded=True, hops=2)
    assert invite.start == f"INVITE sip:{MOBILE}@{host(switch)} SIP/2.0"
    assert_nothing_leaks(invite)
    if presented != CALLER:
        assert CALLER.removeprefix("+49") not in invite.raw.decode("utf-8", "replace")
    if reason in REFUSALS:
        assert f"{reason}: external {MOBILE}" in fsroute.routed()[-1]["reasons"]


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("493023125001", CALLER),
        ("03023125001", CALLER),
        ("00493023125001", CALLER),
        ("0033199001234", ABROAD),
        ("leak", FORWARDING),
    ],
)
def test_a_forwarded_caller_is_shown_as_the_trunk_wants_numbers_however_they_came(
    carrier: Carrier, change: Change, received: str, shown: str
) -> None:
    change("UPDATE rule_targets SET caller_id = 'original' WHERE number = ?", FORWARDING)
    carrier.call(FORWARDING, display_name=NAME, from_user=received)
    invite = carrier.wait_invite().invite
    assert invite.get("From").startswith(f"<sip:{shown}@carrier.example>;tag=")
    assert_nothing_leaks(invite)


@dataclass(frozen=True)
class AnswerOfAFreeswitch(Behaviour):
    """Answers as FreeSWITCH does, which is told names and numbers after the answer too."""

    def steps(self) -> tuple[Step, ...]:
        says = ("X-FS-Support: update_display,send_info", "User-Agent: FreeSWITCH-mod_sofia", "Allow: UPDATE, INFO")
        return Step(0, 180, headers=says), Step(0.1, 200, sdp=True, headers=says)


@pytest.mark.parametrize("forwards", [False, True], ids=["outgoing", "forwarded"])
def test_nothing_leaks_after_the_answer(
    fsroute: Fsroute, carrier: Carrier, caller: MakePhone, change: Change, forwards: bool
) -> None:
    change("UPDATE rule_targets SET caller_id = 'original' WHERE number = ?", FORWARDING)
    carrier.behaviour = AnswerOfAFreeswitch()
    placed = place(carrier, FORWARDING, hides="Privacy") if forwards else place(caller(), OUTSIDE, hides="From")
    placed.wait_answer()
    time.sleep(0.5)
    placed.bye()
    call = carrier.wait_invite()
    call.wait_end()
    requests = [
        message
        for message in carrier.messages
        if not message.sent and not message.status and message.get("Call-ID") == call.call_id
    ]
    assert [message.method for message in requests] == ["INVITE", "ACK", "BYE"]
    for message in requests:
        text = message.raw.decode("utf-8", "replace").lower()
        assert not any(secret in text for secret in ("mallory", "1004@", CALLER.removeprefix("+49")))


FORMATS = {
    "e164": ("+492214710100", "+493023125077", "+33199001234"),
    "digits": ("492214710100", "493023125077", "33199001234"),
    "national": ("02214710100", "03023125077", "0033199001234"),
    "international": ("00492214710100", "00493023125077", "0033199001234"),
}


@pytest.mark.parametrize(("form", "line", "german", "foreign"), [(form, *texts) for form, texts in FORMATS.items()])
def test_a_trunk_is_given_numbers_as_it_wants_them(
    switch: Switch,
    carrier: Carrier,
    caller: MakePhone,
    change: Change,
    form: str,
    line: str,
    german: str,
    foreign: str,
) -> None:
    change("UPDATE trunks SET number_format = ?, domain = 'sip.carrier.example'", form)
    change("DELETE FROM user_numbers WHERE account = 'acme'")
    for dialled, written_as in ((OUTSIDE, german), (ABROAD, foreign), ("112", "112")):
        placed = caller().call(dialled)
        invite = carrier.wait_invite().invite
        placed.cancel()
        assert invite.start == f"INVITE sip:{written_as}@{host(switch)} SIP/2.0"
        assert told(invite) == {
            "From": f"<sip:{line}@sip.carrier.example>",
            "P-Asserted-Identity": f"<sip:{line}@sip.carrier.example>",
            "Privacy": "none",
            "To": f"<sip:{written_as}@{host(switch)}>",
        }


def test_every_shipped_profile_is_covered(database: str) -> None:
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM identity_profiles")}
    assert names == SHOWN.keys() == HIDDEN.keys()


# --- the demo, and what the dialplan asks for -------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "presented", "reason"),
    [("1002", VERIFIED, "verified_number"), ("1003", LINE, "not_verified"), ("1004", OWN, "own_number")],
)
def test_the_users_of_the_demo_show(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, caller: MakePhone, user: str, presented: str, reason: str
) -> None:
    caller(user).call(OUTSIDE)
    assert carrier.wait_invite().header("From").startswith(f"<sip:{presented}@carrier.example>;tag=")
    assert fsroute.routed()[-1]["caller_id"] == reason


@pytest.mark.parametrize(
    ("asked", "presented", "reason"),
    [
        (IN_BLOCK, IN_BLOCK, "verified_block"),
        ("+493023125350", LINE, "not_verified"),
        ("+49302312530", LINE, "not_verified"),
        ("03023125310", LINE, "not_a_number"),
        ("nonsense", LINE, "not_a_number"),
        ("+49900123456", LINE, "class_never_presented"),
        ("+33199001234", LINE, "foreign_number"),
    ],
)
def test_a_call_shows_the_number_that_the_dialplan_asks_for(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, caller: MakePhone, asked: str, presented: str, reason: str
) -> None:
    with variable(switch, "users", "fsroute_presented", asked):
        caller().call(OUTSIDE)
        assert carrier.wait_invite().header("From").startswith(f"<sip:{presented}@carrier.example>;tag=")
    assert channel_variable(switch, fsroute, "fsroute_caller_id") == reason


# --- refusals ---------------------------------------------------------------------------------------------

REFUSED = {
    name: CASES[name] for name in ("unverified", "pending", "expired by date", "revoked", "verified by another account")
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_call_ends_with_its_reason(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, caller: MakePhone, change: Change, case: Case
) -> None:
    for statement in case.sql:
        change(*statement)
    change("UPDATE accounts SET refused_caller_id = 'reject' WHERE name = 'acme'")
    assert_refused(caller().call(OUTSIDE), fsroute, switch, carrier, case.reason)


def test_a_refused_call_of_the_trial_account(fsroute: Fsroute, switch: Switch, carrier: Carrier, caller: MakePhone) -> None:
    assert_refused(caller("2001", "probe.example").call(OUTSIDE), fsroute, switch, carrier, "trial_account")


def test_a_trunk_that_cannot_say_whose_line_it_is_carries_no_other_number(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, caller: MakePhone, change: Change
) -> None:
    change("UPDATE trunks SET identity_profile = 'from-only'")
    change("UPDATE accounts SET refused_caller_id = 'reject' WHERE name = 'acme'")
    assert_refused(caller("1002").call(OUTSIDE), fsroute, switch, carrier, "trunk_can_not_carry")


def test_an_emergency_call_is_not_refused(fsroute: Fsroute, carrier: Carrier, caller: MakePhone, change: Change) -> None:
    change("UPDATE accounts SET status = 'suspended'")
    caller("2001", "probe.example").call("112")
    invite = carrier.wait_invite().invite
    assert invite.number == "112"
    assert invite.get("From").startswith(f"<sip:{TRIAL_LINE}@carrier.example>;tag=")


@pytest.mark.parametrize("dialled", ["140", "128", "+43140", "0043142"])
def test_an_austrian_account_that_is_suspended_reaches_its_emergency_services(
    fsroute: Fsroute, carrier: Carrier, caller: MakePhone, change: Change, dialled: str
) -> None:
    """Hidden or not, whatever is asked for and barred, and before an extension of that name, which no load would let in."""
    change("INSERT INTO call_permissions (account, prefix, allowed) VALUES ('acme', '+', FALSE)")
    change("UPDATE accounts SET status = 'suspended', country = 'AT', refused_caller_id = 'reject' WHERE name = 'acme'")
    change("UPDATE users SET extension = '140' WHERE account = 'acme' AND name = 'workshop'")
    for statement in asks_for(UNVERIFIED):
        change(*statement)
    place(caller(), dialled, hides="From")
    invite = carrier.wait_invite().invite
    assert invite.number == dialled[-3:]
    assert invite.get("From").startswith(f"<sip:{LINE}@carrier.example>;tag=")
    assert invite.get("Privacy") in {None, "none"}
    routed = fsroute.routed()[-1]
    assert (routed["code"], routed["caller_id"], routed["stages"]) == ("emergency", "emergency", [1])


@pytest.mark.parametrize(
    ("dialled", "hides", "shown"), [("116117", True, True), ("+49116117", False, True), ("116123", True, False)]
)
def test_a_number_that_must_get_through_is_called_by_a_suspended_account(
    fsroute: Fsroute, carrier: Carrier, caller: MakePhone, change: Change, dialled: str, hides: bool, shown: bool
) -> None:
    change("UPDATE accounts SET status = 'suspended' WHERE name = 'acme'")
    change("INSERT INTO call_permissions (account, prefix, allowed) VALUES ('acme', '+', FALSE)")
    place(caller(), dialled, hides="From" if hides else "")
    invite = carrier.wait_invite().invite
    assert invite.number == dialled[-6:]
    assert (LINE in invite.get("From")) is shown
    assert fsroute.routed()[-1]["reasons"][0] == f"protected: {dialled[-6:]}"


def test_an_ordinary_service_is_not_called_by_a_suspended_account(
    carrier: Carrier, caller: MakePhone, change: Change
) -> None:
    change("UPDATE accounts SET status = 'suspended' WHERE name = 'acme'")
    assert caller().call("115").wait_final() == 403
    assert carrier.calls == []


def test_a_forwarded_leg_that_may_not_show_its_number_is_left_out(
    fsroute: Fsroute, carrier: Carrier, change: Change
) -> None:
    change("UPDATE rule_targets SET caller_id = ? WHERE number = ?", f"verified:{UNVERIFIED}", FORWARDING)
    change("UPDATE accounts SET refused_caller_id = 'reject' WHERE name = 'acme'")
    assert place(carrier, FORWARDING).wait_final() == 480
    assert carrier.calls == []
    assert f"not_verified: external {MOBILE}" in fsroute.routed()[-1]["reasons"]


@pytest.mark.parametrize("dialled", ["0900123456", "+49900123456", "+870773123456", "00881612345678"])
def test_a_barred_destination_is_not_called(fsroute: Fsroute, carrier: Carrier, caller: MakePhone, dialled: str) -> None:
    placed = caller().call(dialled)
    assert placed.wait_final() == 403
    assert carrier.calls == []
    assert [reason for reason in fsroute.routed()[-1]["reasons"] if reason.startswith("destination_barred: ")]


def test_an_account_may_be_allowed_what_is_barred_and_barred_what_is_not(
    carrier: Carrier, caller: MakePhone, change: Change
) -> None:
    change("INSERT INTO call_permissions VALUES ('acme', '+49900123', TRUE), ('acme', '+33', FALSE)")
    assert caller().call("0033199001234").wait_final() == 403
    caller().call("0900123456")
    assert carrier.wait_invite().number == "+49900123456"
    assert len(carrier.calls) == 1


# --- trunks -----------------------------------------------------------------------------------------------


def test_a_trunk_that_fails_is_followed_by_the_next(
    fsroute: Fsroute, carrier: Carrier, second: Carrier, caller: MakePhone
) -> None:
    carrier.behaviour, second.behaviour = Status(503), Answer()
    placed = caller("1002").call(OUTSIDE)
    placed.wait_answer()
    assert carrier.wait_invite().header("From").startswith(f"<sip:{VERIFIED}@carrier.example>;tag=")
    invite = second.wait_invite().invite
    assert invite.number == "03023125077"
    assert told(invite) == {
        "From": "<sip:02214710100@second.example>",
        "P-Asserted-Identity": "<sip:08999998123@second.example>",
        "Privacy": "none",
        "To": f"<sip:03023125077@{second.address[0]}:{second.address[1]}>",
    }
    assert (len(carrier.calls), len(second.calls)) == (1, 1)


def test_when_every_trunk_fails_the_caller_hears_it(carrier: Carrier, second: Carrier, caller: MakePhone) -> None:
    carrier.behaviour = second.behaviour = Status(503)
    assert caller().call(OUTSIDE).wait_final() == 503
    assert (len(carrier.calls), len(second.calls)) == (1, 1)


@pytest.mark.parametrize(("answer", "status"), [(Busy(), 486), (Status(404), 404), (Status(603), 603)])
def test_a_callee_who_cannot_is_not_tried_again(
    carrier: Carrier, second: Carrier, caller: MakePhone, answer: Status, status: int
) -> None:
    carrier.behaviour = answer
    assert caller().call(OUTSIDE).wait_final() == status
    assert (len(carrier.calls), len(second.calls)) == (1, 0)


def test_an_emergency_call_goes_through_the_next_trunk_too(carrier: Carrier, second: Carrier, caller: MakePhone) -> None:
    carrier.behaviour, second.behaviour = Status(503), Answer()
    caller().call("112").wait_answer()
    assert [call.number for call in (*carrier.calls, *second.calls)] == ["112", "112"]


def test_the_longest_prefix_decides_before_the_position(
    carrier: Carrier, second: Carrier, caller: MakePhone, change: Change
) -> None:
    change("INSERT INTO trunk_routes (account, prefix, position, trunk) VALUES ('acme', '+4930', 9, 'second')")
    caller().call(OUTSIDE)
    assert second.wait_invite().number == "03023125077"
    assert carrier.calls == []


# --- calls from outside -----------------------------------------------------------------------------------

DESK = "+492214710602"
"""Rings 1001 first."""


@pytest.mark.parametrize(
    "number",
    ["0900123456", "+49900123456", "49900123456", "110", "112", "+49110", "+491371234567", "01371234567", "11833"],
)
def test_a_number_that_nobody_may_call_from_does_not_come_in(
    fsroute: Fsroute, switch: Switch, carrier: Carrier, phone: MakePhone, number: str
) -> None:
    desk = phone("1001", Ring())
    placed = carrier.call(DESK, from_user=number)
    assert placed.wait_final() == 603
    assert placed.final is not None
    assert placed.final.all("X-FSRoute-Reason") == ["caller_class_banned"]
    line = fsroute.routed()[-1]
    assert (line["code"], line["final"]) == ("caller_class_banned", "hangup CALL_REJECTED")
    assert set_on_channel(switch, line["call"], "fsroute_code") == "caller_class_banned"
    assert (desk.calls, carrier.calls) == ([], [])


FROM_ABROAD = {
    "a German number is hidden": ("+493023125001", False, False),
    "a German mobile is hidden": ("+491713920099", False, False),
    "a German mobile that roams is shown": ("+491713920099", True, True),
    "a foreign number is shown": ("+33199001234", False, True),
}


@pytest.mark.parametrize(("number", "roams", "shown"), FROM_ABROAD.values(), ids=FROM_ABROAD.keys())
def test_from_a_foreign_trunk(
    fsroute: Fsroute,
    switch: Switch,
    carrier: Carrier,
    phone: MakePhone,
    change: Change,
    number: str,
    roams: bool,
    shown: bool,
) -> None:
    change("UPDATE trunks SET is_foreign = TRUE")
    change("UPDATE rule_targets SET caller_id = 'original' WHERE number = ?", FORWARDING)
    desk = phone("1001", Ring())
    with variable(switch, "public", "fsroute_roaming", str(roams).lower()):
        calls = [carrier.call(to, display_name=NAME, from_user=number) for to in (DESK, FORWARDING)]
        inside, outside = desk.wait_invite().invite, carrier.wait_invite().invite
    for call in calls:
        call.cancel()
    if shown:
        assert inside.get("From").startswith(f'"{NAME}" <sip:{number}@')
        assert told(outside) == expected("presented-in-from", number, LINE, MOBILE, host(switch), forwarded=True)
    else:
        assert inside.get("From").startswith('"Anonymous" <sip:anonymous@')
        assert told(outside) == expected("presented-in-from", None, LINE, MOBILE, host(switch), forwarded=True)
        for invite in (inside, outside):
            text = invite.raw.decode("utf-8", "replace")
            assert number.removeprefix("+49") not in text
            assert "Mallory" not in text


def test_a_german_number_from_a_german_trunk_is_shown(carrier: Carrier, phone: MakePhone) -> None:
    desk = phone("1001", Ring())
    carrier.call(DESK, display_name=NAME, from_user="+491713920099")
    assert desk.wait_invite().header("From").startswith(f'"{NAME}" <sip:+491713920099@')


@pytest.mark.parametrize(
    ("headers", "hops"),
    [
        (["Diversion: <sip:+493023125001@carrier.example>;reason=unconditional;counter=2"], "3"),
        (["Diversion: <sip:+493023125001@carrier.example>;counter=1", "X-FSRoute-Hops: 3"], "4"),
        (["Diversion: <sip:+493023125001@carrier.example>;counter=4;reason=no-answer"], "5"),
    ],
    ids=["counted", "our own header says more", "the last hop"],
)
def test_a_diverted_call_goes_on_counting(fsroute: Fsroute, carrier: Carrier, headers: list[str], hops: str) -> None:
    place(carrier, FORWARDING, headers=headers)
    invite = carrier.wait_invite().invite
    assert invite.all("Diversion") == [f"<sip:{FORWARDING}@carrier.example>;reason=unconditional;counter={hops}"]
    assert invite.all("X-FSRoute-Hops") == [hops]


@pytest.mark.parametrize("counter", ["5", "99", "9999"])
def test_a_call_that_was_diverted_too_often_does_not_leave(fsroute: Fsroute, carrier: Carrier, counter: str) -> None:
    diversion = f"Diversion: <sip:+493023125001@carrier.example>;reason=unconditional;counter={counter}"
    assert place(carrier, FORWARDING, headers=[diversion]).wait_final() == 480
    assert carrier.calls == []
    assert f"hop_limit: external {MOBILE}" in fsroute.routed()[-1]["reasons"]


REASONS = {
    "busy": (Busy(), "user-busy", "486"),
    "no answer": (Ring(), "no-answer", "408"),
    "absent": (None, "unavailable", "503"),
}


@pytest.mark.parametrize(("answer", "reason", "cause"), REASONS.values(), ids=REASONS.keys())
def test_diversion_says_why(
    carrier: Carrier, phone: MakePhone, change: Change, answer: Behaviour | None, reason: str, cause: str
) -> None:
    change("UPDATE trunks SET identity_profile = 'presented-in-pai'")
    if answer is not None:
        phone("1001", answer)
    carrier.call("+492214710608")
    invite = carrier.wait_invite().invite
    assert invite.get("Diversion") == f"<sip:+492214710608@carrier.example>;reason={reason};counter=1"
    assert invite.get("History-Info") == (
        f"<sip:+492214710608@carrier.example>;index=1,<sip:{invite.number}@carrier.example;cause={cause}>;index=1.1"
    )


# --- the numbers of a user --------------------------------------------------------------------------------


def test_a_short_code_reaches_its_user(carrier: Carrier, phone: MakePhone, caller: MakePhone, change: Change) -> None:
    change(
        "INSERT INTO user_numbers (account, user_name, number, kind, short_code)"
        " VALUES ('acme', 'workshop', '+492214710288', 'secondary', '7712'),"
        " ('probe', 'tester', '+493023125021', 'secondary', '7713')"
    )
    workshop, reception = phone("1003", Ring()), phone("1002", Ring())
    caller().call("7712")
    assert workshop.wait_invite().header("From").startswith('"1004" <sip:13@')
    assert caller().call("7713").wait_final() == 484  # another account's: to us it is a number like any
    assert (len(workshop.calls), reception.calls, carrier.calls) == (1, [], [])


def test_a_number_without_rules_rings_its_user(fsroute: Fsroute, carrier: Carrier, phone: MakePhone, change: Change) -> None:
    office, workshop = phone("1004", Answer()), phone("1003", Ring())
    carrier.call(OWN).wait_answer()
    assert len(office.calls) == 1
    assert workshop.calls == []


def test_a_secondary_number_receives_and_is_not_shown(
    carrier: Carrier, phone: MakePhone, caller: MakePhone, change: Change
) -> None:
    change("UPDATE user_numbers SET kind = 'secondary' WHERE number = ?", OWN)
    office = phone("1004", Answer())
    carrier.call(OWN).wait_answer()
    assert len(office.calls) == 1
    caller().call(OUTSIDE)
    assert carrier.wait_invite().header("From").startswith(f"<sip:{LINE}@carrier.example>;tag=")


# --- what FreeSWITCH does by itself -----------------------------------------------------------------------


@pytest.mark.parametrize("headers", [(), (f"P-Asserted-Identity: <sip:{CALLER}@carrier.example>",)], ids=["rpid", "pai"])
def test_a_caller_does_not_learn_where_the_call_was_forwarded_to(carrier: Carrier, headers: tuple[str, ...]) -> None:
    carrier.behaviour = Answer()
    placed = place(carrier, FORWARDING, headers=headers)
    placed.wait_answer()
    assert placed.final is not None
    assert MOBILE not in placed.final.raw.decode()


def test_a_banned_number_in_from_is_refused_beside_a_good_identity(carrier: Carrier, phone: MakePhone) -> None:
    phone("1001", Ring())
    identity = f"P-Asserted-Identity: <sip:{CALLER}@carrier.example>"
    placed = carrier.call(DESK, from_user="+49900123456", extra_headers=[identity])
    placed.peer.wait(lambda: placed.final or "ringing" in placed.at, 5, "an answer")
    assert placed.wait_final(0.1) == 603


def test_a_number_in_from_that_is_hidden_is_not_shown_as_a_name(carrier: Carrier, phone: MakePhone, change: Change) -> None:
    change("UPDATE trunks SET is_foreign = TRUE")
    desk = phone("1001", Ring())
    carrier.call(DESK, extra_headers=[f"P-Asserted-Identity: <sip:{ABROAD}@carrier.example>"])
    assert CALLER.removeprefix("+49") not in desk.wait_invite().invite.raw.decode()


@pytest.mark.parametrize("privacy", ["user", "header;user", "full"])
def test_every_wish_for_privacy_counts(carrier: Carrier, phone: MakePhone, privacy: str) -> None:
    desk = phone("1001", Ring())
    carrier.call(DESK, display_name=NAME, extra_headers=[f"Privacy: {privacy}"])
    assert CALLER.removeprefix("+49") not in desk.wait_invite().invite.raw.decode()


def test_a_diversion_without_a_counter_is_one(carrier: Carrier) -> None:
    place(carrier, FORWARDING, headers=["Diversion: <sip:+493023125001@carrier.example>;reason=user-busy"])
    assert carrier.wait_invite().header("Diversion").endswith(";counter=2")


def test_an_emergency_call_without_a_network_number_shows_nothing_that_a_phone_made_up_and_says_why(
    fsroute: Fsroute, carrier: Carrier, caller: MakePhone, change: Change
) -> None:
    change("UPDATE numbers SET is_network_number = FALSE")
    place(caller(), "112", headers=SECRETS)
    call = carrier.wait_invite()
    assert_nothing_leaks(call.invite)
    assert "<sip:anonymous@anonymous.invalid>" in call.header("From")
    (told,) = fsroute.routed()[-1:]
    assert (told["caller_id"], told["reasons"]) == (
        "emergency_line_unknown",
        ["emergency: 112", "emergency_line_unknown: acme"],
    )
