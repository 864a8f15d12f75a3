"""Caller-ID policy: which number a leg may show. Pure.

The called side sees the `presented` number. The `network` number belongs to the account's line and identifies it to the
carrier. fsroute never shows a number only because a phone sent it. A leg shows a requested number under two conditions: the
account hosts the number or has verified it, and the rules of the account's country, the trunk and the destination allow it.
Otherwise the result has the code of the denial. fsroute looks at three things in this order: whether it is an emergency
call, whether the caller hides the number, which number is requested.
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
"""The codes with which fsroute ends a call because of its caller ID. X-FSRoute-Reason in the SIP response has the code."""


Verdict = Grant[CallerIdCode] | Denial[CallerIdCode]
"""Whether a number may be shown."""


@dataclass(frozen=True, slots=True)
class CallerIdRefused:
    """The requested number may not be shown. The leg shows `instead`. If that is None, fsroute ends the call or leaves the
    leg out."""

    denial: Denial[CallerIdCode]
    instead: CallerId | None = None


def is_hidden(user: str, direction: Direction = Direction.INBOUND) -> bool:
    """Whether the user part of an address says that its caller hides the number, or has none (anonymous.toml)."""
    return anonymous.hides_phone(user) if direction is Direction.OUTBOUND else anonymous.stands_for_nobody(user)


def is_unnamed(direction: Direction, name: str, user: str, other: str) -> bool:
    """Whether the display name alone says that a caller from the telephone network has no number.

    Example: the name is "Private Number", and the address is one of the carrier. If the call has a number, the name does not
    count.
    """
    if direction is not Direction.INBOUND or phone_number.spelled(user) or phone_number.spelled(other):
        return False
    return anonymous.names_nobody(name)


# --- what phones see --------------------------------------------------------------------------------------


RECEIVED = CallerId(presented=None, network=None, reason=CallerIdCode.CALLER_RECEIVED, as_received=True)
"""The caller ID of a leg to a phone that shows the caller's name and number as FreeSWITCH received them. It contains no data
of the caller, so fsroute can use the same legs for the next call."""


def of_caller(call: Call, country: str) -> CallerId:
    """The caller ID that a phone of the account shows for an incoming call: the caller's, unless the caller is anonymous."""
    if call.anonymous:
        return CallerId(presented=None, network=None, reason=CallerIdCode.CALLER_ANONYMOUS)
    shown = _received(call, country)
    return CallerId(presented=shown, network=None, reason=CallerIdCode.CALLER_RECEIVED, as_received=True)


def _received(call: Call, country: str) -> str | None:
    """The number of an incoming call's caller, None if it cannot be read."""
    spellings = phone_number.candidates(call.caller, country) if call.direction is Direction.INBOUND else ()
    return spellings[0] if received.is_certain(call.caller, spellings) else None


def of_extension(caller: User | None, received: CallerId) -> CallerId:
    """The caller ID that a phone shows for a call from inside the account: the caller's extension, if the caller has one."""
    if caller is None or caller.extension is None:
        return received
    return CallerId(presented=caller.extension, network=None, reason=CallerIdCode.INTERNAL_EXTENSION)


def of_transferred(call: Call, country: str) -> CallerId:
    """The caller ID that a phone shows for a call that a user transferred.

    It is that of the party to whom the user had talked: the caller ID that fsroute showed before (an extension inside the
    account), else the one that FreeSWITCH received.
    """
    if call.shown == ANONYMOUS or (call.shown is None and call.anonymous):
        return CallerId(presented=None, network=None, reason=CallerIdCode.CALLER_ANONYMOUS)
    if call.shown is not None:
        return CallerId(presented=call.shown, network=None, reason=CallerIdCode.TRANSFERRED_PARTY)
    spellings = phone_number.candidates(call.caller, country)
    return CallerId(
        presented=spellings[0] if spellings else None, network=None, reason=CallerIdCode.CALLER_RECEIVED, as_received=True
    )


def inbound_verdict(call: Call, routing: Routing, account: Account) -> Verdict | None:
    """What the law of the account's country requires for an incoming call's number. None: phones show the number.

    A Denial: fsroute must end the call, because a number that may never be a caller ID is in it. A Grant: phones must show
    the call as anonymous, because a number of the country arrives from abroad. A call can contain several numbers, of which
    phones show one: fsroute checks each of them.
    """
    if call.anonymous:
        return None
    if call.from_user == call.caller and not call.identities:
        return _inbound_verdict(call.caller, call, routing, account)  # the usual case: one number
    texts = dict.fromkeys((call.caller, call.from_user, *(identity.text for identity in call.identities)))
    verdicts = [_inbound_verdict(text, call, routing, account) for text in texts]
    return min((verdict for verdict in verdicts if verdict), key=lambda verdict: isinstance(verdict, Grant), default=None)


def _inbound_verdict(text: str, call: Call, routing: Routing, account: Account) -> Verdict | None:
    spellings = phone_number.candidates(text, routing.country)
    # A caller can also forge a number that phonenumbers calls impossible. For such a number its E.164 text counts.
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
    """The class of a caller's number. Short codes are not E.164 numbers, and many cannot be read as one. So the received
    text is classified first, if it can be a short code that is never a caller's number."""
    spelled = _NO_DIGITS.sub("", phone_number.spelled(text) or "")
    if not spelled.startswith("0"):
        as_received = regulation.classify(spelled, country)
        if as_received in regulation.rules_for(country).never_presented:
            return as_received
    return regulation.classify(e164, country)


# --- what calls to the telephone network show -------------------------------------------------------------


def of_emergency(account: Account) -> CallerId:
    """An emergency call always shows the line's number: no request changes or hides it (DE-13, DE-14)."""
    line = account.network_number
    if line is None:
        # `fsroute load` refuses such an account. Somebody has edited the database by hand.
        return CallerId(presented=None, network=None, reason=CallerIdCode.EMERGENCY_LINE_UNKNOWN, as_received=True)
    return CallerId(presented=line, network=line, reason=CallerIdCode.EMERGENCY)


def requested(call: Call, routing: Routing) -> str | None:
    """The number that an outgoing call requests: that of the call (fsroute_presented), else the user's primary number, else
    the account's presented number."""
    if call.presented:
        return call.presented
    if routing.caller is not None and routing.caller.primary_number is not None:
        return routing.caller.primary_number
    return routing.account.presented_number if routing.account else None


def of_outgoing(
    call: Call, routing: Routing, account: Account, trunk: Trunk | None, to: str, now: datetime
) -> CallerId | CallerIdRefused:
    """The caller ID of a user's call to `to` (E.164) through this trunk. The account must have a network number.

    Without a trunk the call goes to the phones of another account here.
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
    """The caller ID of a call that a user of the account transferred to `to` (E.164). The account must have a network
    number.

    A transfer counts as the user's own call, like a forward. It shows the user's number. It shows the number of the
    transferred party if the account says so and the country's law allows it for diverted calls (DE-4). If the transferred
    party hides its number, the user's number is not hidden.
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
    """The caller's own number, if calls may show it, else `ours`."""
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
    """The caller ID of an incoming call that is forwarded to an external number `to`. `dialled` is the hosted number that
    forwards it.

    The leg may show the caller's number without verification (DE-4). A hidden number stays hidden.
    """
    line, ours = (
        account.network_number or dialled,
        CallerId(dialled, account.network_number or dialled, CallerIdCode.OWN_NUMBER),
    )
    never = regulation.rules_for(account.country).never_presented.get(regulation.classify(dialled, account.country))
    if never is not None:
        # A number like 0900 can forward calls too, but the forwarded call must not show it.
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
    # DESTINATION_ABROAD is no prohibition: networks abroad may drop the number. So the call goes on with the network number.
    if verdict.code != CallerIdCode.DESTINATION_ABROAD and account.refusal is RefusedCallerId.REJECT:
        return CallerIdRefused(verdict)
    return CallerIdRefused(verdict, CallerId(presented=line, network=line, reason=verdict.code))


def attestation(caller_id: CallerId, account: Account) -> str | None:
    """A hint for the carrier that signs the call (ATIS-1000074); fsroute itself signs nothing.

    A: the account is known and has the right to the number. B: the account is known, and the number belongs to another
    party. None: calls are not signed in the account's country.
    """
    if not regulation.rules_for(account.country).attestation or caller_id.network is None:
        return None
    return "B" if caller_id.reason == CallerIdCode.ORIGINAL_CALLER else "A"


def may_present(
    asked: str, facts: NumberFacts | None, account: Account, trunk: Trunk | None, to: str, now: datetime
) -> Verdict:
    """Whether an account may show a number on a call to `to`, and why.

    It returns a Grant only for a number that the account hosts, or that is verified for the account at `now`.
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
    """The denial if the account may show the number in no call, even if it hosts the number. None: no such rule."""
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
        return Denial(CallerIdCode.TRIAL_ACCOUNT, "a trial account may show only numbers that it hosts")
    return verdict


def verification_verdict(asked: str, facts: NumberFacts | None, account: str, now: datetime) -> Verdict:
    """Whether a number is verified for an account at `now`. It checks neither the account's status nor its country's
    rules."""
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
    """The denial of a verified number, None if calls may show it."""
    rules = regulation.rules_for(account.country)
    refusal = rules.refuses(regulation.classify(asked, account.country), switched_on=account.presents_mobile)
    if refusal is not None:
        return Denial(CallerIdCode.CLASS_NOT_PRESENTABLE, refusal.text, refusal.id)
    if trunk is not None and trunk.profile.header is IdentityHeader.NONE and asked != account.network_number:
        return Denial(CallerIdCode.TRUNK_CAN_NOT_CARRY, f"trunk {trunk.name} has no second header for the network number")
    if rules.abroad is not None and not account.presents_abroad and regulation.is_abroad(to, account.country):
        return Denial(CallerIdCode.DESTINATION_ABROAD, rules.abroad.text, rules.abroad.id)
    return None
