"""Caller-ID policy: which number a leg may show. Pure.

`presented` is what the called side sees; `network` belongs to the account's line and is asserted towards the carrier.
Neither is ever taken from what a caller typed. A requested number is shown if the account hosts it, or
has verified it, and the rules of the account's country, the trunk and the destination allow it; every other answer
carries the code of the denial. The order: emergency, privacy, the requested number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from fsroute.callerid import anonymous, received
from fsroute.codes import CallerIdCode
from fsroute.model import (
    Account,
    AccountStatus,
    Call,
    CallerId,
    Denial,
    Direction,
    ForwardedCallerId,
    Grant,
    IdentityHeader,
    NumberFacts,
    RefusedCallerId,
    Routing,
    ShowOriginal,
    ShowVerified,
    TransferredCallerId,
    Trunk,
    User,
    Verification,
    VerificationState,
)
from fsroute.numbers import phone_number, regulation, short_numbers
from fsroute.numbers.law import NumberClass

_NO_DIGITS = re.compile("[^0-9+]")

ANONYMOUS = "anonymous"
"""The value of Call.shown for a caller whose number was hidden."""


REFUSALS = frozenset(
    {
        CallerIdCode.ACCOUNT_SUSPENDED,
        CallerIdCode.CALLER_CLASS_BANNED,
        CallerIdCode.CLASS_NEVER_PRESENTED,
        CallerIdCode.CLASS_NOT_PRESENTABLE,
        CallerIdCode.FOREIGN_NUMBER,
        CallerIdCode.NOT_A_NUMBER,
        CallerIdCode.NOT_VERIFIED,
        CallerIdCode.TRIAL_ACCOUNT,
        CallerIdCode.TRUNK_CAN_NOT_CARRY,
        CallerIdCode.VERIFICATION_EXPIRED,
        CallerIdCode.VERIFICATION_PENDING,
        CallerIdCode.VERIFICATION_REVOKED,
        CallerIdCode.VERIFIED_BY_ANOTHER_ACCOUNT,
    }
)
"""The codes with which a call is ended for its caller ID; the SIP response names them in X-FSRoute-Reason."""


Verdict = Grant[CallerIdCode] | Denial[CallerIdCode]
"""Whether a number may be shown."""


@dataclass(frozen=True, slots=True)
class CallerIdRefused:
    """The requested number may not be shown. `instead` is shown in its place; None ends the call or leaves the leg out."""

    denial: Denial[CallerIdCode]
    instead: CallerId | None = None


def is_hidden(user: str, direction: Direction = Direction.INBOUND) -> bool:
    """Whether the user part of an address is that of a caller who hides the number, or has none (anonymous.toml)."""
    return anonymous.hides_phone(user) if direction is Direction.OUTBOUND else anonymous.stands_for_nobody(user)


def is_unnamed(direction: Direction, name: str, user: str, other: str) -> bool:
    """Whether a caller from the telephone network has no number by their display name alone: "Private Number" with an
    address of the carrier. If the call has a number, the name does not count."""
    if direction is not Direction.INBOUND or phone_number.spelled(user) or phone_number.spelled(other):
        return False
    return anonymous.names_nobody(name)


# --- what phones see --------------------------------------------------------------------------------------


RECEIVED = CallerId(presented=None, network=None, reason=CallerIdCode.CALLER_RECEIVED, as_received=True)
"""The caller ID of a leg to a phone that passes the caller's name and number through. It holds no data of the caller, so the
legs of one call serve the next call too."""


def of_caller(call: Call, country: str) -> CallerId:
    """What a phone of the account sees of an incoming call: its caller, unless they are anonymous."""
    if call.anonymous:
        return CallerId(presented=None, network=None, reason=CallerIdCode.CALLER_ANONYMOUS)
    shown = _received(call, country)
    return CallerId(presented=shown, network=None, reason=CallerIdCode.CALLER_RECEIVED, as_received=True)


def _received(call: Call, country: str) -> str | None:
    """The number of an incoming call's caller, None if it cannot be read."""
    spellings = phone_number.candidates(call.caller, country) if call.direction is Direction.INBOUND else ()
    return spellings[0] if received.is_certain(call.caller, spellings) else None


def of_extension(caller: User | None, received: CallerId) -> CallerId:
    """What a phone sees of a call from inside the account: the caller's extension, if they have one."""
    if caller is None or caller.extension is None:
        return received
    return CallerId(presented=caller.extension, network=None, reason=CallerIdCode.INTERNAL_EXTENSION)


def of_transferred(call: Call, country: str) -> CallerId:
    """What a phone sees of a call that a user transferred: the party that was connected to that user, as fsroute showed it
    before (an extension inside the account), else as it was received."""
    if call.shown == ANONYMOUS or (call.shown is None and call.anonymous):
        return CallerId(presented=None, network=None, reason=CallerIdCode.CALLER_ANONYMOUS)
    if call.shown is not None:
        return CallerId(presented=call.shown, network=None, reason=CallerIdCode.TRANSFERRED_PARTY)
    spellings = phone_number.candidates(call.caller, country)
    return CallerId(
        presented=spellings[0] if spellings else None, network=None, reason=CallerIdCode.CALLER_RECEIVED, as_received=True
    )


def inbound_verdict(call: Call, routing: Routing, account: Account) -> Verdict | None:
    """What the account's country says of an incoming call's number, if that is not simply to show it.

    Not granted: the call must be ended (numbers that may never be caller IDs). Granted: it must be shown as anonymous (a
    number of the country that arrives from abroad). A call can bring several numbers, of which one is shown: each counts.
    """
    if call.anonymous:
        return None
    if call.from_user == call.caller and not call.identities:
        return _inbound_verdict(call.caller, call, routing, account)  # as nearly always
    texts = dict.fromkeys((call.caller, call.from_user, *(identity.text for identity in call.identities)))
    verdicts = [_inbound_verdict(text, call, routing, account) for text in texts]
    return min((verdict for verdict in verdicts if verdict), key=lambda verdict: isinstance(verdict, Grant), default=None)


def _inbound_verdict(text: str, call: Call, routing: Routing, account: Account) -> Verdict | None:
    spellings = phone_number.candidates(text, routing.country)
    # A number that phonenumbers calls impossible can be forged as well: then its text is looked at.
    e164 = spellings[0] if spellings else phone_number.as_sent(text, routing.country) or ""
    rules = regulation.rules_for(account.country)
    banned = rules.never_presented.get(_class_of_caller(text, e164, account.country))
    if banned is not None and rules.refused_inbound is not None:
        return Denial(CallerIdCode.CALLER_CLASS_BANNED, banned.text, rules.refused_inbound.id)
    foreign = routing.trunk is not None and routing.trunk.is_foreign
    hiding = rules.hidden_from_foreign_trunk
    if not e164 or call.is_roaming or hiding is None:
        return None
    if foreign and not regulation.is_abroad(e164, account.country):
        return Grant(CallerIdCode.CALLER_FROM_FOREIGN_TRUNK, hiding.text, hiding.id)
    return None


def _class_of_caller(text: str, e164: str, country: str) -> NumberClass:
    """Short codes are no E.164 numbers, and many of them mean none: what was received is looked at as well."""
    spelled = _NO_DIGITS.sub("", phone_number.spelled(text) or "")
    if not spelled.startswith("0"):
        as_received = regulation.classify(spelled, country)
        if as_received in regulation.rules_for(country).never_presented:
            return as_received
    return regulation.classify(e164, country)


# --- what the telephone network sees ----------------------------------------------------------------------


def of_emergency(account: Account) -> CallerId:
    """An emergency call always shows the line's number: no request changes or hides it (DE-13, DE-14)."""
    line = account.network_number
    if line is None:
        # Nothing that a load accepts: a database that was edited by hand.
        return CallerId(presented=None, network=None, reason=CallerIdCode.EMERGENCY_LINE_UNKNOWN, as_received=True)
    return CallerId(presented=line, network=line, reason=CallerIdCode.EMERGENCY)


def requested(call: Call, routing: Routing) -> str | None:
    """The number that an outgoing call requests: the call's own, else the user's primary number, else the account's."""
    if call.presented:
        return call.presented
    if routing.caller is not None and routing.caller.primary_number is not None:
        return routing.caller.primary_number
    return routing.account.presented_number if routing.account else None


def of_outgoing(
    call: Call, routing: Routing, account: Account, trunk: Trunk | None, to: str, now: datetime
) -> CallerId | CallerIdRefused:
    """What a user's call to `to` (E.164) through this trunk shows. The account must have a network number.

    Without a trunk: what the phones of another account here see.
    """
    line = account.network_number
    asked = requested(call, routing)
    if call.anonymous and not _is_never_withheld(to, account):
        return CallerId(presented=None, network=line, reason=CallerIdCode.PRIVACY_REQUESTED)
    if asked is None or asked == line:
        return CallerId(presented=line, network=line, reason=CallerIdCode.NETWORK_NUMBER)
    return _granted_or_not(asked, routing, account, trunk, to, now)


def of_transferred_outside(
    call: Call, routing: Routing, account: Account, trunk: Trunk | None, to: str, now: datetime
) -> CallerId | CallerIdRefused:
    """What `to` (E.164) sees of a call that a user of the account transferred to it. The account must have a network number.

    A transfer is the user's own call, as a forward is: it shows the user's number, or, where the account says so and the
    country's law allows it for diverted calls (DE-4), the number of the party that was transferred. Whether that party hides
    its number does not hide the user's.
    """
    user_call, line = replace(call, anonymous=False), account.network_number
    ours = of_outgoing(user_call, routing, account, trunk, to, now)
    if account.transferred_caller_id is not TransferredCallerId.ORIGINAL or isinstance(ours, CallerIdRefused):
        return ours
    if regulation.rules_for(account.country).diversion is None:
        return ours
    party = of_transferred(call, routing.country)
    if party.presented is None and not party.as_received:
        return CallerId(presented=None, network=line, reason=CallerIdCode.ORIGINAL_CALLER_ANONYMOUS)
    return _original(party.presented or "", account, ours)


def _original(e164: str, account: Account, ours: CallerId) -> CallerId:
    """A live caller's own number, if it is one that may be shown, else ours."""
    if phone_number.is_e164(e164) and regulation.classify(e164, account.country) not in _banned(account):
        return CallerId(presented=e164, network=ours.network, reason=CallerIdCode.ORIGINAL_CALLER)
    return replace(ours, reason=CallerIdCode.ORIGINAL_CALLER_UNKNOWN)


def _is_never_withheld(to: str, account: Account) -> bool:
    short = short_numbers.find(to, account.country)
    if short is not None and short.shows_caller:
        return True
    code = phone_number.calling_code(account.country)
    return any(to in (listed, f"+{code}{listed}") for listed in regulation.rules_for(account.country).never_withheld_to)


def of_forwarded(
    wanted: ForwardedCallerId,
    call: Call,
    routing: Routing,
    account: Account,
    dialled: str,
    trunk: Trunk,
    to: str,
    now: datetime,
) -> CallerId | CallerIdRefused:
    """What an external number `to` sees of an incoming call that is sent on to it. `dialled` is our number that sends it.

    The number of a live caller may be shown without verification (DE-4). A hidden number stays hidden.
    """
    line, ours = (
        account.network_number or dialled,
        CallerId(dialled, account.network_number or dialled, CallerIdCode.OWN_NUMBER),
    )
    never = regulation.rules_for(account.country).never_presented.get(regulation.classify(dialled, account.country))
    if never is not None:
        # Calls to a number like 0900 are sent on as well, but not in its name.
        if account.network_number is None:
            return CallerIdRefused(Denial(CallerIdCode.CLASS_NEVER_PRESENTED, never.text, never.id))
        ours = CallerId(line, line, CallerIdCode.CLASS_NEVER_PRESENTED)
    if isinstance(wanted, ShowOriginal) and regulation.rules_for(account.country).diversion is not None:
        if call.anonymous:
            return CallerId(presented=None, network=line, reason=CallerIdCode.ORIGINAL_CALLER_ANONYMOUS)
        return _original(_received(call, routing.country) or "", account, replace(ours, network=line))
    if isinstance(wanted, ShowVerified):
        return _granted_or_not(wanted.number, routing, account, trunk, to, now, line)
    return ours


def _banned(account: Account) -> frozenset[NumberClass]:
    return frozenset(regulation.rules_for(account.country).never_presented)


def _granted_or_not(
    asked: str, routing: Routing, account: Account, trunk: Trunk | None, to: str, now: datetime, line: str | None = None
) -> CallerId | CallerIdRefused:
    line = line or account.network_number
    verdict = may_present(asked, routing.facts.get(asked), account, trunk, to, now)
    if isinstance(verdict, Grant):
        return CallerId(presented=asked, network=line, reason=verdict.code)
    # What is not reliable abroad was not forbidden: the call goes on, with the number that always works.
    if verdict.code != CallerIdCode.DESTINATION_ABROAD and account.refusal is RefusedCallerId.REJECT:
        return CallerIdRefused(verdict)
    return CallerIdRefused(verdict, CallerId(presented=line, network=line, reason=verdict.code))


def attestation(caller_id: CallerId, account: Account) -> str | None:
    """A hint for the signer of the call (ATIS-1000074). A: the account is known and has the right to the number. B: the
    account is known, and the number belongs to another party. None if the account's country does not sign calls. fsroute
    signs nothing.
    """
    if not regulation.rules_for(account.country).attestation or caller_id.network is None:
        return None
    return "B" if caller_id.reason == CallerIdCode.ORIGINAL_CALLER else "A"


def may_present(
    asked: str, facts: NumberFacts | None, account: Account, trunk: Trunk | None, to: str, now: datetime
) -> Verdict:
    """Whether an account may show a number on a call to `to`, and what decided.

    The only way to a granted verdict is a number that the account hosts, or one that is verified for it at this moment.
    """
    if not phone_number.is_e164(asked):
        return Denial(CallerIdCode.NOT_A_NUMBER, "is no E.164 number")
    barred = _barred(asked, account)
    if barred is not None:
        return barred
    if facts is not None and facts.owner == account.name:
        return Grant(CallerIdCode.OWN_NUMBER, "is hosted here for the account")
    proven = _verified(asked, facts, account, now)
    return (_not_allowed(asked, account, trunk, to) or proven) if isinstance(proven, Grant) else proven


def _barred(asked: str, account: Account) -> Verdict | None:
    """The denial of a number that no account may show, None if there is no such rule."""
    rules = regulation.rules_for(account.country)
    never = rules.never_presented.get(regulation.classify(asked, account.country))
    if never is not None:
        return Denial(CallerIdCode.CLASS_NEVER_PRESENTED, never.text, never.id)
    if account.status is AccountStatus.SUSPENDED:
        return Denial(CallerIdCode.ACCOUNT_SUSPENDED, "the account is suspended")
    if rules.own_country_only is not None and regulation.is_abroad(asked, account.country):
        return Denial(CallerIdCode.FOREIGN_NUMBER, rules.own_country_only.text, rules.own_country_only.id)
    return None


def _verified(asked: str, facts: NumberFacts | None, account: Account, now: datetime) -> Verdict:
    verdict = verification_verdict(asked, facts, account.name, now)
    if isinstance(verdict, Grant) and account.status is AccountStatus.TRIAL:
        return Denial(CallerIdCode.TRIAL_ACCOUNT, "trial accounts show no other number than their own")
    return verdict


def verification_verdict(asked: str, facts: NumberFacts | None, account: str, now: datetime) -> Verdict:
    """Whether a number is verified for an account at this moment. Knows neither its status nor its country's rules."""
    covering = [v for v in facts.verifications if v.first <= asked <= v.last and len(v.first) == len(asked)] if facts else []
    ours = [v for v in covering if v.account == account]
    valid = [v for v in ours if v.is_valid(now)]
    if not valid:
        return _not_verified(ours, covering)
    if any(v.first == v.last for v in valid):
        return Grant(CallerIdCode.VERIFIED_NUMBER, "was verified for the account")
    return Grant(CallerIdCode.VERIFIED_BLOCK, "is in a block that was verified for the account")


def _not_verified(ours: list[Verification], covering: list[Verification]) -> Verdict:
    states = {v.state for v in ours}
    if VerificationState.REVOKED in states:
        return Denial(CallerIdCode.VERIFICATION_REVOKED, "its verification was revoked")
    if states & {VerificationState.EXPIRED, VerificationState.VERIFIED}:
        return Denial(CallerIdCode.VERIFICATION_EXPIRED, "its verification has expired")
    if VerificationState.PENDING in states:
        return Denial(CallerIdCode.VERIFICATION_PENDING, "its verification has not been confirmed")
    if not ours and any(v.state is VerificationState.VERIFIED for v in covering):
        return Denial(CallerIdCode.VERIFIED_BY_ANOTHER_ACCOUNT, "belongs to another account")
    return Denial(CallerIdCode.NOT_VERIFIED, "was never verified for the account")


def _not_allowed(asked: str, account: Account, trunk: Trunk | None, to: str) -> Verdict | None:
    """The denial of a verified number, None if it may be shown."""
    rules = regulation.rules_for(account.country)
    refusal = rules.refuses(regulation.classify(asked, account.country), switched_on=account.presents_mobile)
    if refusal is not None:
        return Denial(CallerIdCode.CLASS_NOT_PRESENTABLE, refusal.text, refusal.id)
    if trunk is not None and trunk.profile.header is IdentityHeader.NONE and asked != account.network_number:
        return Denial(CallerIdCode.TRUNK_CAN_NOT_CARRY, f"trunk {trunk.name} has no header for the network number beside it")
    if rules.abroad is not None and not account.presents_abroad and regulation.is_abroad(to, account.country):
        return Denial(CallerIdCode.DESTINATION_ABROAD, rules.abroad.text, rules.abroad.id)
    return None
