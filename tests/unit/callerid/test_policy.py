"""Which number a call may show: the matrix of cases, and what holds for any account, number, trunk and moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsroute.callerid import identity, policy
from fsroute.callerid.policy import (
    CallerIdRefused,
    Verdict,
    is_hidden,
    of_caller,
    of_emergency,
    of_extension,
    of_forwarded,
    of_outgoing,
)
from fsroute.codes import CallerIdCode
from fsroute.model import (
    SHOW_ORIGINAL,
    SHOW_OWN,
    Account,
    AccountStatus,
    Call,
    CallerId,
    Decision,
    Denial,
    Direction,
    FailedPlan,
    ForwardedCallerId,
    Grant,
    HostedNumber,
    IdentityHeader,
    IdentityProfile,
    Leg,
    Mode,
    NumberFacts,
    NumberFormat,
    Outcome,
    Permission,
    RefusedCallerId,
    Routing,
    Rule,
    ShowVerified,
    Target,
    Trunk,
    TrunkDial,
    TrunkRoute,
    User,
    Verification,
    VerificationState,
    forwarded_caller_id,
)
from fsroute.numbers import regulation
from fsroute.numbers.law import NumberClass
from fsroute.numbers.phone_number import candidates, is_e164
from fsroute.routing.planner import attempts
from fsroute.routing.router import UNKNOWN as UNKNOWN_NAMES
from fsroute.routing.router import route
from fsroute.simulator import dialstring_reader
from fsroute.switch import dialstring
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Hangup, TargetKind
from tests.support.builders import (
    ACME,
    CALLER,
    CARRIER,
    LINE,
    MOBILE,
    MONDAY_NOON,
    SUSPENDED,
    endpoint,
    facts,
    outgoing_call,
    user,
    verification,
)
from tests.support.strategies import IDENTITY_PROFILES

NOW = MONDAY_NOON
LATER, EARLIER = NOW + timedelta(days=1), NOW - timedelta(days=1)
PENDING, VERIFIED, FAILED, EXPIRED, CANCELLED, REVOKED = VerificationState

OWN, SHOWN, OTHER = "+492214710113", "+498999998123", "+494066969001"
FIRST, INSIDE, LAST = "+493023125300", "+493023125325", "+493023125349"
BEFORE, AFTER = "+493023125299", "+493023125350"
ABROAD, GERMAN = "+33142681234", CALLER

FROM_ONLY = replace(CARRIER, name="plain", profile=IdentityProfile("from-only", header=IdentityHeader.NONE))
TRIAL = replace(ACME, status=AccountStatus.TRIAL)
AMERICAN = replace(ACME, country="US", network_number="+12125550123")
FRENCH = replace(ACME, country="FR", network_number="+33142681200")


def verified(
    first: str = SHOWN,
    last: str | None = None,
    state: VerificationState = VERIFIED,
    until: datetime | None = LATER,
    account: str = "acme",
) -> Verification:
    return verification(first, last, account=account, state=state, expires_at=until)


BLOCK = facts(verified(FIRST, LAST))
ONE = facts(verified())


def asked_for(
    wish: str | None,
    of: NumberFacts | None = None,
    account: Account = ACME,
    trunk: Trunk = CARRIER,
    to: str = MOBILE,
    *,
    anonymous: bool = False,
) -> CallerId | CallerIdRefused:
    """What a user's call shows that asks for this number."""
    call = outgoing_call(to, user=None, anonymous=anonymous, presented=wish)
    routing = Routing(account.country, account=account, facts={wish: of} if wish and of else {})
    return of_outgoing(call, routing, account, trunk, to, NOW)


def law(rule: str, account: Account = ACME) -> str:
    return regulation.rules_for(account.country).rules[rule].text


def shows(number: str | None, reason: str, line: str = LINE) -> CallerId:
    return CallerId(number, line, CallerIdCode[reason.upper()])


def refused(code: str, text: str, rule: str = "") -> CallerIdRefused:
    return CallerIdRefused(Denial(CallerIdCode[code.upper()], text, rule=rule))


TRUNK_TEXT = "trunk plain has no second header for the network number"
NOT_VERIFIED = refused("not_verified", "was never verified for the account")
HAS_EXPIRED = refused("verification_expired", "its verification has expired")
BANNED = refused("class_never_presented", law("DE-5"), "DE-5")
NOT_A_NUMBER = refused("not_a_number", "is no E.164 number")
IN_TRIAL = refused("trial_account", "a trial account may show only numbers that it hosts")
MOBILE_NOT = refused("class_not_presentable", law("DE-18a"), "DE-18a")
NOT_OF_A_PLACE = refused("class_not_presentable", law("DE-18"), "DE-18")
FOREIGN = refused("foreign_number", law("DE-3"), "DE-3")
PROVEN = shows(SHOWN, "verified_number")

MOBILE_SHOWN, FREEPHONE, PREMIUM = "+491713920043", "+498001234567", "+499001234567"

# --- the matrix -------------------------------------------------------------------------------------------

MATRIX: dict[str, tuple[CallerId | CallerIdRefused, CallerId | CallerIdRefused]] = {
    "nothing": (asked_for(None), shows(LINE, "network_number")),
    "the network number": (asked_for(LINE, facts(owner="acme")), shows(LINE, "network_number")),
    "own": (asked_for(OWN, facts(owner="acme")), shows(OWN, "own_number")),
    "own, in trial": (asked_for(OWN, facts(owner="acme"), TRIAL), shows(OWN, "own_number")),
    "own, and verified too": (asked_for(OWN, facts(verified(OWN), owner="acme")), shows(OWN, "own_number")),
    "own, called abroad": (asked_for(OWN, facts(owner="acme"), to=ABROAD), shows(OWN, "own_number")),
    "own, by a trunk with From only": (asked_for(OWN, facts(owner="acme"), trunk=FROM_ONLY), shows(OWN, "own_number")),
    "verified": (asked_for(SHOWN, ONE), PROVEN),
    "in a verified block": (asked_for(INSIDE, BLOCK), shows(INSIDE, "verified_block")),
    "the first of the block": (asked_for(FIRST, BLOCK), shows(FIRST, "verified_block")),
    "the last of the block": (asked_for(LAST, BLOCK), shows(LAST, "verified_block")),
    "just before the block": (asked_for(BEFORE, BLOCK), NOT_VERIFIED),
    "just after the block": (asked_for(AFTER, BLOCK), NOT_VERIFIED),
    "a longer number that begins like the block": (asked_for(INSIDE + "0", BLOCK), NOT_VERIFIED),
    "single and in a block": (
        asked_for(INSIDE, facts(verified(FIRST, LAST), verified(INSIDE))),
        shows(INSIDE, "verified_number"),
    ),
    "nothing is known of it": (asked_for(OTHER), NOT_VERIFIED),
    "never verified": (asked_for(OTHER, facts()), NOT_VERIFIED),
    "pending": (
        asked_for(SHOWN, facts(verified(state=PENDING, until=None))),
        refused("verification_pending", "its verification has not been confirmed"),
    ),
    "failed": (asked_for(SHOWN, facts(verified(state=FAILED, until=None))), NOT_VERIFIED),
    "cancelled": (asked_for(SHOWN, facts(verified(state=CANCELLED, until=None))), NOT_VERIFIED),
    "expired": (asked_for(SHOWN, facts(verified(state=EXPIRED, until=EARLIER))), HAS_EXPIRED),
    "marked as expired before its time": (asked_for(SHOWN, facts(verified(state=EXPIRED))), HAS_EXPIRED),
    "over, but not yet marked": (asked_for(SHOWN, facts(verified(until=EARLIER))), HAS_EXPIRED),
    "over at this moment": (asked_for(SHOWN, facts(verified(until=NOW))), HAS_EXPIRED),
    "over in a moment": (asked_for(SHOWN, facts(verified(until=NOW + timedelta(microseconds=1)))), PROVEN),
    "over in a moment, in another zone": (
        asked_for(SHOWN, facts(verified(until=datetime.fromisoformat("2026-03-16T12:00:01+01:00")))),
        PROVEN,
    ),
    "without an end": (asked_for(SHOWN, facts(verified(until=None))), HAS_EXPIRED),
    "revoked": (
        asked_for(SHOWN, facts(verified(state=REVOKED))),
        refused("verification_revoked", "its verification was revoked"),
    ),
    "revoked, and verified again": (asked_for(SHOWN, facts(verified(state=REVOKED), verified())), PROVEN),
    "its block revoked, itself verified": (
        asked_for(INSIDE, facts(verified(FIRST, LAST, REVOKED), verified(INSIDE))),
        shows(INSIDE, "verified_number"),
    ),
    "verified by another account": (
        asked_for(SHOWN, facts(verified(account="other"))),
        refused("verified_by_another_account", "belongs to another account"),
    ),
    "in a block of another account": (
        asked_for(INSIDE, facts(verified(FIRST, LAST, account="other"))),
        refused("verified_by_another_account", "belongs to another account"),
    ),
    "hosted for another account": (asked_for(OWN, facts(owner="other")), NOT_VERIFIED),
    "pending here, verified by another account": (
        asked_for(SHOWN, facts(verified(state=PENDING), verified(account="other"))),
        refused("verification_pending", "its verification has not been confirmed"),
    ),
    "verified, in trial": (asked_for(SHOWN, ONE, TRIAL), IN_TRIAL),
    "in a verified block, in trial": (asked_for(INSIDE, BLOCK, TRIAL), IN_TRIAL),
    "never verified, in trial": (asked_for(OTHER, facts(), TRIAL), NOT_VERIFIED),
    "verified, suspended": (
        asked_for(SHOWN, ONE, SUSPENDED),
        refused("account_suspended", "the account is suspended"),
    ),
    "own, suspended": (
        asked_for(OWN, facts(owner="acme"), SUSPENDED),
        refused("account_suspended", "the account is suspended"),
    ),
    "a mobile": (asked_for(MOBILE_SHOWN, facts(verified(MOBILE_SHOWN))), MOBILE_NOT),
    "a mobile, switched on": (
        asked_for(MOBILE_SHOWN, facts(verified(MOBILE_SHOWN)), replace(ACME, presents_mobile=True)),
        shows(MOBILE_SHOWN, "verified_number"),
    ),
    "a mobile, not verified, switched on": (
        asked_for(MOBILE_SHOWN, facts(), replace(ACME, presents_mobile=True)),
        NOT_VERIFIED,
    ),
    "a freephone number": (asked_for(FREEPHONE, facts(verified(FREEPHONE))), NOT_OF_A_PLACE),
    "a foreign number": (asked_for(ABROAD, facts(verified(ABROAD))), FOREIGN),
    "an own foreign number": (asked_for(ABROAD, facts(owner="acme")), FOREIGN),
    "a trunk with From only": (
        asked_for(SHOWN, ONE, trunk=FROM_ONLY),
        refused("trunk_can_not_carry", TRUNK_TEXT),
    ),
    "a trunk with another identity": (
        asked_for(SHOWN, ONE, trunk=replace(CARRIER, profile=IdentityProfile(header=IdentityHeader.RPID))),
        PROVEN,
    ),
    "a call abroad": (
        asked_for(SHOWN, ONE, to=ABROAD),
        CallerIdRefused(
            Denial(CallerIdCode.DESTINATION_ABROAD, law("DE-19"), rule="DE-19"),
            shows(LINE, "destination_abroad"),
        ),
    ),
    "a call abroad, switched on": (asked_for(SHOWN, ONE, replace(ACME, presents_abroad=True), to=ABROAD), PROVEN),
    "a call abroad with a number that is not verified": (asked_for(OTHER, facts(), to=ABROAD), NOT_VERIFIED),
    "a call to a service number": (asked_for(SHOWN, ONE, to="115"), PROVEN),
    "anonymous": (asked_for(None, anonymous=True), shows(None, "privacy_requested")),
    "anonymous, with a number": (asked_for(SHOWN, ONE, anonymous=True), shows(None, "privacy_requested")),
    "anonymous, with a number that is not verified": (
        asked_for(OTHER, facts(), anonymous=True),
        shows(None, "privacy_requested"),
    ),
    "anonymous, to 124124": (asked_for(None, to="124124", anonymous=True), shows(LINE, "network_number")),
    "anonymous, to 116117": (asked_for(SHOWN, ONE, to="116117", anonymous=True), PROVEN),
    "anonymous, to 116117 with a calling code": (asked_for(SHOWN, ONE, to="+49116117", anonymous=True), PROVEN),
    "anonymous, to 110": (asked_for(None, to="110", anonymous=True), shows(LINE, "network_number")),
    "anonymous, to 112": (asked_for(None, to="112", anonymous=True), shows(LINE, "network_number")),
    "anonymous, to another service number": (
        asked_for(None, to="115", anonymous=True),
        shows(None, "privacy_requested"),
    ),
    # Other countries have other rules.
    "a foreign number, elsewhere": (
        asked_for(SHOWN, ONE, FRENCH, to="+33142681299"),
        shows(SHOWN, "verified_number", "+33142681200"),
    ),
    "a mobile, elsewhere": (
        asked_for(MOBILE_SHOWN, facts(verified(MOBILE_SHOWN)), FRENCH, to="+33142681299"),
        shows(MOBILE_SHOWN, "verified_number", "+33142681200"),
    ),
    "a premium number, elsewhere": (
        asked_for(PREMIUM, facts(verified(PREMIUM)), FRENCH),
        refused("class_never_presented", law("E164-1", FRENCH), "E164-1"),
    ),
    "a freephone number, in the US": (
        asked_for("+18005550123", facts(verified("+18005550123")), AMERICAN, to="+12125550199"),
        shows("+18005550123", "verified_number", "+12125550123"),
    ),
    "a premium number, in the US": (
        asked_for("+19005550123", facts(verified("+19005550123")), AMERICAN),
        refused("class_never_presented", law("US-4", AMERICAN), "US-4"),
    ),
}


@pytest.mark.parametrize(("found", "expected"), MATRIX.values(), ids=MATRIX.keys())
def test_a_call_shows_what_it_may_and_every_no_says_why(
    found: CallerId | CallerIdRefused, expected: CallerId | CallerIdRefused
) -> None:
    assert found == expected


NEVER = {
    "110": "+49110",
    "112": "+49112",
    "115": "+49115",
    "124124": "+49124124",
    "118xy": "+4911833",
    "another 118xy": "+4911880",
    "0900": PREMIUM,
    "0137": "+491371234567",
    "a foreign 0900": "+43900123456",
    "a foreign emergency number": "+33112",
}


@pytest.mark.parametrize("owned", [False, True], ids=["verified", "hosted here"])
@pytest.mark.parametrize("number", NEVER.values(), ids=NEVER.keys())
def test_a_banned_class_is_never_shown_not_even_when_it_is_ours(number: str, owned: bool) -> None:
    of = facts(verified(number), owner="acme" if owned else None)
    account = replace(ACME, presents_mobile=True, presents_abroad=True)
    assert asked_for(number, of, account) == BANNED


def test_neither_is_a_social_service() -> None:
    assert asked_for("+49116117", facts(owner="acme")) == refused("class_never_presented", law("DE-5a"), "DE-5a")


HOSTILE = [
    "alice",
    "089 99998123",
    "08999998123",
    "498999998123",
    "110",
    "112",
    "+",
    "+0",
    " +498999998123",
    "+498999998123 ",
    "+498999998123\n",
    "+498999998123\x00",
    "+49 89 99998123",
    "+498999998123,origination_privacy=no",
    "+498999998123]user/1001",
    "+498999998123>;x=1",
    '"Bank" <sip:+498999998123@x>',
    "sip:+498999998123@carrier.example",
    "${system(touch x)}",
    "'; DROP TABLE numbers; --",
    "+49\u0661\u0662\u0663\u0664\u0665",
    "\uff0b498999998123",
    "+" + "9" * 16,
    "9" * 100_000,
    "anonymous",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_number_is_refused_as_it_is(text: str) -> None:
    assert asked_for(text, facts(verified(text), owner="acme")) == NOT_A_NUMBER


@pytest.mark.parametrize(
    ("found", "expected"),
    [pair for pair in MATRIX.values() if isinstance(pair[1], CallerIdRefused) and pair[1].instead is None],
)
def test_every_refusal_has_a_code_that_is_told_to_the_caller(
    found: CallerId | CallerIdRefused, expected: CallerId | CallerIdRefused
) -> None:
    assert isinstance(found, CallerIdRefused)
    assert found.denial.code in policy.REFUSALS


def test_an_account_may_want_its_network_number_shown_instead() -> None:
    account = replace(ACME, refusal=RefusedCallerId.NETWORK_NUMBER)
    found = [asked_for(OTHER, facts(), account), asked_for(SHOWN, ONE, replace(account, status=AccountStatus.TRIAL))]
    assert found == [
        replace(NOT_VERIFIED, instead=shows(LINE, "not_verified")),
        replace(IN_TRIAL, instead=shows(LINE, "trial_account")),
    ]


def test_why_a_number_is_refused_names_the_law() -> None:
    assert BANNED.denial.why == f"{law('DE-5')} (DE-5)"
    assert NOT_VERIFIED.denial.why == "was never verified for the account"


# --- which number is asked for ----------------------------------------------------------------------------

DEFAULT, PRIMARY, WISH = "+492214710101", "+492214710102", "+492214710103"

ASKED: dict[str, tuple[str | None, str | None, str | None, str | None]] = {
    # own wish, primary number, account's default; what is asked for
    "own wish": (WISH, PRIMARY, DEFAULT, WISH),
    "own wish, nothing else": (WISH, None, None, WISH),
    "primary number": (None, PRIMARY, DEFAULT, PRIMARY),
    "primary number, nothing else": (None, PRIMARY, None, PRIMARY),
    "the account's": (None, None, DEFAULT, DEFAULT),
    "none": (None, None, None, None),
    "an empty wish is none": ("", PRIMARY, DEFAULT, PRIMARY),
    "a wish that is no number is one": ("alice", PRIMARY, DEFAULT, "alice"),
}


@pytest.mark.parametrize(("wish", "primary", "default", "expected"), ASKED.values(), ids=ASKED.keys())
def test_a_call_s_own_wish_is_before_its_user_s_and_its_account_s(
    wish: str | None, primary: str | None, default: str | None, expected: str | None
) -> None:
    account = replace(ACME, presented_number=default)
    caller = user("reception", "11", primary_number=primary)
    owned = {number: facts(owner="acme") for number in (WISH, PRIMARY, DEFAULT)}
    routing = Routing("DE", account=account, caller=caller, facts=owned)
    call = Call(MOBILE, "1001", direction=Direction.OUTBOUND, account="acme", user="reception", presented=wish)
    assert policy.requested(call, routing) == expected
    found = of_outgoing(call, routing, account, CARRIER, MOBILE, NOW)
    if expected == "alice":
        assert found == NOT_A_NUMBER
    else:
        assert found == shows(expected or LINE, "own_number" if expected else "network_number")


def test_an_emergency_call_shows_the_line_whatever_is_asked_for() -> None:
    assert of_emergency(replace(ACME, presented_number=SHOWN)) == shows(LINE, "emergency")
    assert of_emergency(replace(ACME, network_number=None)) == CallerId(
        None, None, CallerIdCode.EMERGENCY_LINE_UNKNOWN, as_received=True
    )


# --- forwarded --------------------------------------------------------------------------------------------

DIALLED = "+492214710200"


def forwarded(
    mode: str,
    caller: str = GERMAN,
    of: NumberFacts | None = None,
    account: Account = ACME,
    *,
    anonymous: bool = False,
    dialled: str = DIALLED,
    to: str = MOBILE,
    direction: Direction = Direction.INBOUND,
) -> CallerId | CallerIdRefused:
    call = Call(dialled, caller, anonymous=anonymous, direction=direction)
    routing = Routing("DE", facts={mode.removeprefix("verified:"): of} if of else {})
    return of_forwarded(forwarded_caller_id(mode), call, routing, account, dialled, CARRIER, to, NOW)


OURS = shows(DIALLED, "own_number")
UNKNOWN = shows(DIALLED, "original_caller_unknown")
HIDDEN = shows(None, "original_caller_anonymous")
REPLACES = replace(ACME, refusal=RefusedCallerId.NETWORK_NUMBER)

FORWARDED: dict[str, tuple[CallerId | CallerIdRefused, CallerId | CallerIdRefused]] = {
    "own": (forwarded("own"), OURS),
    "own, of an anonymous caller": (forwarded("own", anonymous=True), OURS),
    "own, in trial": (forwarded("own", account=TRIAL), OURS),
    "own, without a network number": (
        forwarded("own", account=replace(ACME, network_number=None)),
        shows(DIALLED, "own_number", DIALLED),
    ),
    "own, a premium number": (forwarded("own", dialled=PREMIUM), shows(LINE, "class_never_presented")),
    "own, a premium number without a line": (
        forwarded("own", dialled=PREMIUM, account=replace(ACME, network_number=None)),
        BANNED,
    ),
    "original": (forwarded("original"), shows(GERMAN, "original_caller")),
    "original, as the carrier wrote it": (forwarded("original", "03023125001"), shows(GERMAN, "original_caller")),
    "original, from abroad": (forwarded("original", ABROAD), shows(ABROAD, "original_caller")),
    "original, a mobile": (forwarded("original", MOBILE_SHOWN), shows(MOBILE_SHOWN, "original_caller")),
    "original, in trial": (forwarded("original", account=TRIAL), shows(GERMAN, "original_caller")),
    "original, to abroad": (forwarded("original", to=ABROAD), shows(GERMAN, "original_caller")),
    "original, private": (forwarded("original", anonymous=True), HIDDEN),
    "original, private, and no number was sent": (forwarded("original", "anonymous", anonymous=True), HIDDEN),
    "original, no number": (forwarded("original", "alice"), UNKNOWN),
    "original, nothing": (forwarded("original", ""), UNKNOWN),
    "original, a premium number": (forwarded("original", PREMIUM), UNKNOWN),
    "original, 110": (forwarded("original", "+49110"), UNKNOWN),
    "original, hostile text": (forwarded("original", "+493023125001>;x=1"), UNKNOWN),
    "original, from a phone of ours": (forwarded("original", "1001", direction=Direction.OUTBOUND), UNKNOWN),
    "original, no number, to a premium number": (
        forwarded("original", "alice", dialled=PREMIUM),
        shows(LINE, "original_caller_unknown"),
    ),
    "verified": (forwarded(f"verified:{SHOWN}", of=ONE), PROVEN),
    "verified, of an anonymous caller": (forwarded(f"verified:{SHOWN}", of=ONE, anonymous=True), PROVEN),
    "verified: own": (forwarded(f"verified:{OWN}", of=facts(owner="acme")), shows(OWN, "own_number")),
    "verified: not": (forwarded(f"verified:{OTHER}"), NOT_VERIFIED),
    "verified: not, the network number instead": (
        forwarded(f"verified:{OTHER}", account=REPLACES),
        replace(NOT_VERIFIED, instead=shows(LINE, "not_verified")),
    ),
    "verified: the caller's own": (forwarded(f"verified:{GERMAN}"), NOT_VERIFIED),
    "verified: expired": (forwarded(f"verified:{SHOWN}", of=facts(verified(until=NOW))), HAS_EXPIRED),
    "verified: in trial": (forwarded(f"verified:{SHOWN}", of=ONE, account=TRIAL), IN_TRIAL),
    "verified: to abroad": (
        forwarded(f"verified:{SHOWN}", of=ONE, to=ABROAD),
        CallerIdRefused(
            Denial(CallerIdCode.DESTINATION_ABROAD, law("DE-19"), rule="DE-19"),
            shows(LINE, "destination_abroad"),
        ),
    ),
    "verified: nothing": (forwarded("verified:"), NOT_A_NUMBER),
}


@pytest.mark.parametrize(("found", "expected"), FORWARDED.values(), ids=FORWARDED.keys())
def test_a_forwarded_call_shows_what_its_target_says(
    found: CallerId | CallerIdRefused, expected: CallerId | CallerIdRefused
) -> None:
    assert found == expected


# --- incoming ---------------------------------------------------------------------------------------------

ABROAD_TRUNK = replace(CARRIER, name="abroad", is_foreign=True)
ENDED = Denial(CallerIdCode.CALLER_CLASS_BANNED, law("DE-5"), rule="DE-6")
ANONYMISED = Grant(CallerIdCode.CALLER_FROM_FOREIGN_TRUNK, law("DE-7"), rule="DE-7")


def guarded(
    caller: str,
    trunk: Trunk | None = CARRIER,
    account: Account = ACME,
    *,
    roaming: bool = False,
    anonymous: bool = False,
    in_from: str = "",
) -> Verdict | None:
    call = Call(LINE, caller, anonymous=anonymous, is_roaming=roaming, from_user=in_from)
    return policy.inbound_verdict(call, Routing(account.country, trunk=trunk), account)


INBOUND: dict[str, tuple[Verdict | None, Verdict | None]] = {
    "a number": (guarded(GERMAN), None),
    "a number, without a trunk": (guarded(GERMAN, None), None),
    "a foreign number": (guarded(ABROAD), None),
    "no number": (guarded("alice"), None),
    "nothing": (guarded(""), None),
    "hidden": (guarded("anonymous", anonymous=True), None),
    "110": (guarded("110"), ENDED),
    "112": (guarded("112"), ENDED),
    "112 with a plus": (guarded("+112"), ENDED),
    "112 with a calling code": (guarded("+49112"), ENDED),
    "112 as the network may write it": (guarded("0049112"), ENDED),
    "112 as a URI": (guarded("sip:112@carrier.example"), ENDED),
    "115": (guarded("115"), ENDED),
    "118xy": (guarded("11833"), ENDED),
    "0900": (guarded("0900 1234567"), ENDED),
    "0137": (guarded("+491371234567"), ENDED),
    "116117": (guarded("116117"), replace(ENDED, text=law("DE-5a"))),
    "112, but hidden": (guarded("112", anonymous=True), None),
    "112, roaming": (guarded("112", roaming=True), ENDED),
    "a freephone number": (guarded(FREEPHONE), None),
    "a German number from abroad": (guarded(GERMAN, ABROAD_TRUNK), ANONYMISED),
    "a German mobile from abroad": (guarded(MOBILE, ABROAD_TRUNK), ANONYMISED),
    "a German mobile from abroad, roaming": (guarded(MOBILE, ABROAD_TRUNK, roaming=True), None),
    "a foreign number from abroad": (guarded(ABROAD, ABROAD_TRUNK), None),
    "0900 from abroad": (guarded(PREMIUM, ABROAD_TRUNK), ENDED),
    "no number from abroad": (guarded("alice", ABROAD_TRUNK), None),
    "112 in From, another number asserted": (guarded(GERMAN, in_from="112"), ENDED),
    "another number in From, 112 asserted": (guarded("112", in_from=GERMAN), ENDED),
    "a name in From": (guarded(GERMAN, in_from="alice"), None),
    "a German number in From, from abroad": (guarded(ABROAD, ABROAD_TRUNK, in_from=GERMAN), ANONYMISED),
    "a German number from abroad, 0900 in From": (guarded(GERMAN, ABROAD_TRUNK, in_from=PREMIUM), ENDED),
    "911, in the US": (
        guarded("911", account=AMERICAN),
        Denial(CallerIdCode.CALLER_CLASS_BANNED, law("US-4", AMERICAN), rule="US-4"),
    ),
    "an American number from abroad": (guarded("+12125550123", ABROAD_TRUNK, AMERICAN), None),
    "112, where no law says so": (guarded("112", account=FRENCH), None),
}


@pytest.mark.parametrize(("found", "expected"), INBOUND.values(), ids=INBOUND.keys())
def test_an_incoming_call_is_guarded_as_the_law_says(found: Verdict | None, expected: Verdict | None) -> None:
    assert found == expected


def test_phones_see_who_calls() -> None:
    call = Call(LINE, "03023125001")
    assert of_caller(call, "DE") == CallerId(GERMAN, None, CallerIdCode.CALLER_RECEIVED, as_received=True)
    assert of_caller(replace(call, caller="alice"), "DE") == CallerId(
        None, None, CallerIdCode.CALLER_RECEIVED, as_received=True
    )
    assert of_caller(replace(call, anonymous=True), "DE") == CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS)


def test_phones_see_the_extension_of_a_colleague() -> None:
    received = CallerId(None, None, CallerIdCode.CALLER_RECEIVED, as_received=True)
    assert of_extension(user("reception", "11"), received) == CallerId("11", None, CallerIdCode.INTERNAL_EXTENSION)
    assert of_extension(user("reception", None), received) == received
    assert of_extension(None, received) == received


@pytest.mark.parametrize(
    ("user", "expected"),
    [("anonymous", True), (" Anonymous ", True), ("", True), ("restricted", True), ("+49110", False), ("1001", False)],
)
def test_some_names_stand_for_a_hidden_number(user: str, expected: bool) -> None:
    assert [is_hidden(user), is_hidden(user, Direction.OUTBOUND)] == [expected, expected]


@pytest.mark.parametrize("user", ["0000000000", "+266696687", "privat", "Out of Area"])
def test_only_a_carrier_has_more_names_for_it(user: str) -> None:
    assert [is_hidden(user), is_hidden(user, Direction.OUTBOUND)] == [True, False]


ATTESTED: dict[str, tuple[str | None, str | None]] = {
    "where nobody signs": (policy.attestation(shows(SHOWN, "verified_number"), ACME), None),
    "a verified number": (policy.attestation(shows("+12125550188", "verified_number"), AMERICAN), "A"),
    "a caller who was forwarded": (policy.attestation(shows(ABROAD, "original_caller"), AMERICAN), "B"),
    "inside": (policy.attestation(CallerId("11", None, CallerIdCode.INTERNAL_EXTENSION), AMERICAN), None),
}


@pytest.mark.parametrize(("found", "expected"), ATTESTED.values(), ids=ATTESTED.keys())
def test_an_attestation_is_hinted_at_where_calls_are_signed(found: str | None, expected: str | None) -> None:
    assert found == expected


# --- any account, any facts, any wish, any moment ---------------------------------------------------------

CALLER, NAME = "+493023125001", "Eve Secretive"
TARGETS = ("+491713920042", "+33142681234", "+12125550199", "116117", "115", "0900 1234567", "+4922147101")
POOL = (LINE, OWN, SHOWN, OTHER, FIRST, INSIDE, LAST, BEFORE, MOBILE_SHOWN, ABROAD, PREMIUM, "+49110", "+4911833")

_moments = st.integers(-2, 2).map(lambda days: NOW + timedelta(days=days))
_routes = st.lists(
    st.tuples(
        st.sampled_from(["+", "+49", "+491", "+33"]),
        st.builds(
            Trunk,
            st.sampled_from(["one", "two", "three"]),
            st.just("gateway"),
            st.sampled_from(["DE", "US"]),
            st.just("carrier.example"),
            IDENTITY_PROFILES,
            st.sampled_from(NumberFormat),
            enabled=st.sampled_from([True, True, True, False]),
        ),
    ),
    max_size=4,
).map(lambda found: tuple(TrunkRoute(prefix, position, trunk) for position, (prefix, trunk) in enumerate(found, 1)))
_accounts = st.builds(
    Account,
    st.just("acme"),
    st.sampled_from(["DE", "DE", "FR", "US"]),
    st.just("Europe/Berlin"),
    st.just("acme.example"),
    st.sampled_from([AccountStatus.ACTIVE, *AccountStatus]),
    st.sampled_from([LINE, LINE, LINE, None]),
    _routes,
    st.sampled_from(RefusedCallerId),
    st.none() | st.sampled_from(POOL),
    st.booleans(),
    st.booleans(),
    st.lists(st.builds(Permission, st.sampled_from(["+49", "+4911", "+33", "+"]), st.booleans()), max_size=2).map(tuple),
)
_verifications = st.builds(
    lambda account, block, state, until: (
        lambda number: verified(FIRST if block else number, LAST if block else number, state, until, account)
    ),
    st.sampled_from(["acme", "acme", "other"]),
    st.booleans(),
    st.sampled_from([VERIFIED, VERIFIED, *VerificationState]),
    st.none() | _moments,
)
_facts = st.fixed_dictionaries(
    {
        number: st.builds(
            lambda owner, found, number=number: NumberFacts(owner, tuple(make(number) for make in found)),
            st.sampled_from([None, None, "acme", "other"]),
            st.lists(_verifications, max_size=3),
        )
        for number in POOL
    }
)
_wishes = st.none() | st.sampled_from(POOL) | st.sampled_from(HOSTILE[:-2]) | st.text(max_size=30)


@st.composite
def calls_out(draw: st.DrawFn, to: tuple[str, ...] = TARGETS) -> tuple[Call, Routing, datetime]:
    """A user's call to the telephone network."""
    account = draw(_accounts)
    caller = draw(st.none() | st.builds(User, st.just("u"), st.just("11"), st.just(()), st.none() | st.sampled_from(POOL)))
    call = Call(
        draw(st.sampled_from(to)),
        CALLER,
        NAME,
        Direction.OUTBOUND,
        draw(st.booleans()),
        account="acme",
        user="u",
        hops=draw(st.sampled_from([0, 0, 0, 4, 9])),
        presented=draw(_wishes),
    )
    return call, Routing(account.country, account=account, caller=caller, facts=draw(_facts)), draw(_moments)


@st.composite
def calls_in(draw: st.DrawFn) -> tuple[Call, Routing, datetime]:
    """A call to a number that sends it on to the telephone network."""
    account = draw(_accounts)
    modes: st.SearchStrategy[ForwardedCallerId] = st.sampled_from([SHOW_OWN, SHOW_ORIGINAL, *map(ShowVerified, POOL)])
    targets = tuple(
        Target(position, TargetKind.EXTERNAL, number, caller_id=draw(modes))
        for position, number in enumerate(("+491713920042", "+33142681234"), 1)
    )
    hosted = HostedNumber(OWN, account, (Rule(OWN, 1, mode=draw(st.sampled_from(Mode)), targets=targets),))
    trunk = draw(st.sampled_from([CARRIER, ABROAD_TRUNK]))
    caller = draw(
        st.sampled_from([CALLER, CALLER, "030 23125001", ABROAD, "+49110", PREMIUM, "alice"]) | st.text(max_size=20)
    )
    direction = draw(st.sampled_from([Direction.INBOUND, Direction.INBOUND, Direction.OUTBOUND]))
    call = Call(OWN, caller, NAME, direction, draw(st.booleans()), account="acme", is_roaming=draw(st.booleans()))
    outbound = account if direction is Direction.OUTBOUND else None
    return call, Routing("DE", OWN, {OWN: hosted}, outbound, trunk=trunk, facts=draw(_facts)), draw(_moments)


def decisions(call: Call, routing: Routing, now: datetime) -> list[Decision]:
    """The decision, and those that follow it while trunks fail. There is an end to them."""
    found = [route(call, routing, now)]
    while found[-1].plan.stages:
        assert len(found) < 10
        last = found[-1]
        failed = FailedPlan(last.rule.key if last.rule else None, Outcome.UNREACHABLE, "GATEWAY_DOWN", last.trunks)
        found.append(route(call, routing, now, failed))
    return found


def legs_out(found: list[Decision]) -> list[tuple[Leg, TrunkDial]]:
    # As the dial string has them: of a stage first the legs that go on by another trunk (dialstring.py).
    stages = [sorted(stage, key=lambda leg: not leg.fallbacks) for each in found for stage in each.plan.stages]
    rung = [leg for stage in stages for leg in stage]
    legs = [each for leg in rung for each in attempts(leg)]
    return [(leg, leg.dial) for leg in legs if isinstance(leg.dial, TrunkDial)]


def is_ours(number: str, routing: Routing, account: Account, now: datetime) -> bool:
    """Whether the account hosts the number, or it is verified for it at this moment. In plain words, for comparison."""
    if number in (account.network_number, *routing.numbers):
        return True
    of = routing.facts.get(number, NumberFacts())
    return of.owner == "acme" or any(
        each.account == "acme"
        and each.state is VERIFIED
        and each.expires_at is not None
        and now < each.expires_at
        and len(each.first) == len(number)
        and each.first <= number <= each.last
        for each in of.verifications
    )


def _account(routing: Routing) -> Account:
    return routing.numbers[OWN].account if routing.numbers else routing.account or ACME


@settings(deadline=None, max_examples=300)
@given(calls_out() | calls_in())
def test_no_number_that_is_not_own_or_verified_is_ever_shown(made: tuple[Call, Routing, datetime]) -> None:
    """But a live caller's own number, on a forwarded call."""
    call, routing, now = made
    account = _account(routing)
    never = regulation.rules_for(account.country).never_presented
    for leg, _ in legs_out(decisions(call, routing, now)):
        shown, line = leg.caller_id.presented, leg.caller_id.network
        assert line in (account.network_number, OWN)
        if shown is None:
            hides = {CallerIdCode.ORIGINAL_CALLER_ANONYMOUS, CallerIdCode.EMERGENCY_LINE_UNKNOWN}
            assert call.anonymous or leg.caller_id.reason in hides
        elif leg.caller_id.reason == "original_caller":
            assert call.direction is Direction.INBOUND
            assert not call.anonymous
            assert leg.diversion is not None
            assert shown in candidates(call.caller, "DE")
        else:
            assert is_ours(shown, routing, account, now)
        if shown is not None:
            assert regulation.classify(shown, account.country) not in never


AS_OF_AN_UNKNOWN_LINE = {
    "sip_invite_from_uri": "sip:anonymous@anonymous.invalid",
    "sip_cid_type": "none",
    "origination_caller_id_number": "anonymous",
    "origination_caller_id_name": "_undef_",
}
EMERGENCIES = ("110", "112", "1 1 2", "sip:112@acme.example", "+112", "+49112", "0049110")


@settings(deadline=None, max_examples=300)
@given(calls_out(EMERGENCIES), st.booleans())
def test_an_emergency_call_is_never_blocked_rewritten_or_hidden(
    made: tuple[Call, Routing, datetime], extension: bool
) -> None:
    call, routing, now = made
    account = replace(_account(routing), country="DE")
    colleague = user("x", call.destination, endpoint()) if extension else None
    decision = route(call, replace(routing, account=account, callee=colleague), now)
    dialled = "110" if "110" in call.destination else "112"
    trunks = {each.trunk for each in account.routes if each.trunk.enabled}
    assert next(reason.code for reason in decision.reasons if reason.code not in UNKNOWN_NAMES) == "emergency"
    if not trunks:
        assert decision.plan.final == Hangup("NO_ROUTE_DESTINATION")
        return
    found = decisions(call, replace(routing, account=account, callee=colleague), now)
    assert {each.code for each in found[:-1]} == {"emergency"}
    assert found[-1].code == "call_failed"
    legs = legs_out(found)
    assert decision.plan.final is None
    assert [dial.number for _, dial in legs] == [dialled] * len(trunks)
    assert {dial.trunk for _, dial in legs} == trunks
    assert {leg.caller_id for leg, _ in legs} == {of_emergency(account)}
    assert not any(leg.confirm for leg, _ in legs)
    for leg_variables in (leg_variables for each in found[:-1] for leg_variables in on_the_wire(each)):
        assert "hide" not in leg_variables.get("origination_privacy", "")
        assert leg_variables.get("sip_h_Privacy") is None
        assert leg_variables.get("sip_from_display") is None
        if account.network_number is None:
            assert AS_OF_AN_UNKNOWN_LINE.items() <= leg_variables.items()
        else:
            assert any(part in leg_variables["sip_invite_from_uri"] for part in ("2214710100", "492214710100"))


def on_the_wire(decision: Decision) -> list[dict[str, str]]:
    """The variables of every leg to a carrier, as FreeSWITCH reads them."""
    legs = []
    for text in dialstring.bridges(decision.plan, Confirmation()):
        parsed = dialstring_reader.parse(text)
        for part in parsed.enterprise or [parsed]:
            assert isinstance(part, dialstring_reader.Parsed)
            legs += [leg for group in part.groups for leg in group]
    assert not any(leg.error for leg in legs)
    return [leg.variables for leg in legs if leg.endpoint.startswith("sofia/gateway/")]


@settings(deadline=None, max_examples=300)
@given(calls_out() | calls_in())
def test_what_a_carrier_reads_is_the_decision_s_caller_id(made: tuple[Call, Routing, datetime]) -> None:
    for decision in decisions(*made):
        if not decision.plan.stages:
            continue
        text = " ".join(dialstring.bridges(decision.plan, Confirmation()))
        for (leg, dial), leg_variables in zip(legs_out([decision]), on_the_wire(decision), strict=True):
            caller_id = leg.caller_id
            if caller_id.as_received:
                assert AS_OF_AN_UNKNOWN_LINE.items() <= leg_variables.items()
                continue
            numbers = [number for number in (caller_id.presented, caller_id.network) if number]
            uris = {identity.uri(number, dial.trunk) for number in numbers}
            headers = identity.headers(caller_id, dial.trunk, leg.diversion, dial.number)
            allowed = {identity.ANONYMOUS_URI} if caller_id.presented is None else uris
            assert headers.from_uri in allowed
            assert leg_variables["sip_invite_from_uri"] == headers.from_uri
            assert headers.identity_uri is None or headers.identity_uri in uris
            assert leg_variables["origination_caller_id_name"] == "_undef_"
            assert (
                leg_variables.get("sip_from_display") == headers.from_name == (None if caller_id.presented else "Anonymous")
            )
            number = leg_variables["origination_caller_id_number"]
            assert f"sip:{number}@" in (headers.identity_uri or headers.from_uri)
            assert (leg_variables.get("sip_h_Diversion"), leg_variables.get("sip_h_History-Info")) == (
                headers.diversion,
                headers.history_info,
            )
            if caller_id.presented is None:
                assert "hide_number" in leg_variables["origination_privacy"]
        if all(leg.caller_id.presented is None for leg, _ in legs_out([decision])):
            assert CALLER.removeprefix("+49") not in text
        assert NAME not in text
        assert "Secretive" not in text


@settings(deadline=None, max_examples=400)
@given(calls_out())
def test_a_wish_that_is_refused_says_so_and_ends_or_shows_the_network_number(made: tuple[Call, Routing, datetime]) -> None:
    call, routing, now = made
    account = _account(routing)
    asked = policy.requested(call, routing)
    found = route(call, routing, now)
    codes = [reason.code for reason in found.reasons]
    legs = legs_out([found])
    asked_in_vain = asked not in (None, account.network_number) and not is_ours(asked or "", routing, account, now)
    if "trunk" not in codes or call.anonymous or not asked_in_vain or found.code in ("empty_plan", "destination_barred"):
        return
    if "protected" in codes:  # must get through: it shows the line's number instead of ending
        assert {leg.caller_id.presented for leg, _ in legs} <= {account.network_number}
        return
    assert set(codes) & policy.REFUSALS
    assert next(reason.subject for reason in found.reasons if reason.code in policy.REFUSALS) == asked
    if account.refusal is RefusedCallerId.REJECT:
        assert (found.plan.final, found.code) == (Hangup("CALL_REJECTED"), next(c for c in codes if c in policy.REFUSALS))
        assert not legs
    else:
        assert [leg.caller_id.presented for leg, _ in legs] == [account.network_number]
        assert legs[0][0].caller_id.reason in codes


@settings(deadline=None, max_examples=200)
@given(calls_out())
def test_what_is_shown_was_asked_for_or_is_the_line_s(made: tuple[Call, Routing, datetime]) -> None:
    """And what was asked for, but is not shown, has left a reason. An emergency call shows the line's, asked or not."""
    call, routing, now = made
    found = route(call, routing, now)
    if found.code == "emergency":
        assert {leg.caller_id.presented for leg, _ in legs_out([found])} <= {_account(routing).network_number}
        return
    asked = policy.requested(call, routing)
    for leg, _ in legs_out([found]):
        shown = leg.caller_id.presented
        assert shown in (None, asked, leg.caller_id.network)
        if asked is not None and shown not in (None, asked):
            refusals = policy.REFUSALS | {"destination_abroad"}
            assert [reason.code for reason in found.reasons if reason.code in refusals] == [leg.caller_id.reason]


@settings(deadline=None)
@given(calls_in())
def test_a_forwarded_leg_that_may_not_show_its_number_is_left_out_or_shows_the_line_s(
    made: tuple[Call, Routing, datetime],
) -> None:
    call, routing, now = made
    account = _account(routing)
    found = route(call, routing, now)
    codes = {reason.code for reason in found.reasons}
    shown = {leg.target: leg.caller_id.presented for leg, _ in legs_out([found])}
    for target in routing.numbers[OWN].rules[0].targets:
        wanted = target.caller_id
        if isinstance(wanted, ShowVerified) and not is_ours(wanted.number, routing, account, now):
            assert shown.get(f"external {target.value}") in (None, account.network_number, OWN)
            if f"external {target.value}" in shown:
                assert account.refusal is RefusedCallerId.NETWORK_NUMBER
                assert codes & policy.REFUSALS


@given(st.text(), st.sampled_from(["DE", "US", "FR"]))
def test_any_text_as_a_caller_s_number_is_judged(text: str, country_code: str) -> None:
    found = guarded(text, ABROAD_TRUNK, replace(ACME, country=country_code))
    assert found is None or found.rule in regulation.rules_for(country_code).rules
    if found is not None and not is_e164(text):
        assert found.code in {"caller_class_banned", "caller_from_foreign_trunk"}


def test_the_classes_that_are_never_shown_in_germany() -> None:
    assert set(regulation.rules_for("DE").never_presented) == {
        NumberClass.EMERGENCY,
        NumberClass.SHORT_CODE,
        NumberClass.DIRECTORY,
        NumberClass.PREMIUM,
        NumberClass.MASS_TRAFFIC,
        NumberClass.SERVICE,
    }
