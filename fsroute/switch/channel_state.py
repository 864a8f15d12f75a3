"""Reads a channel's snapshot: the call, and the result of its last plan. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from fsroute.callerid import policy
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Facts, Frame
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
from fsroute.routing.limits import MAX_DESTINATION, MAX_TEXT, cut
from fsroute.switch import contacts, dialstring, outcome
from fsroute.text import plain

STEP_VARIABLE = "fsroute_step"
"""The channel variable for the progress of a call: which rule rings. If fsroute dies, the call goes on ringing. If nobody
answers, the next fsroute process that gets the call reads here what follows."""

PLAN_VARIABLE = "fsroute_plan"
"""The channel variable that counts the plans of a call: a CDR has the first decision and the latest one."""

_HEADERS = [
    "Unique-ID",
    "Core-UUID",
    "Caller-Caller-ID-Name",
    "Caller-Caller-ID-Number",
    "Caller-Destination-Number",
    "Caller-Privacy-Hide-Number",
    "Channel-State-Number",
    "Answer-State",
]
_VARIABLES = [
    *("fsroute_direction", "fsroute_trunk", "fsroute_account", "fsroute_user", "fsroute_presented", "fsroute_roaming"),
    *("fsroute_endpoint", "fsroute_transferred"),
    *(STEP_VARIABLE, PLAN_VARIABLE, contacts.VARIABLE, "sip_Privacy", "sip_from_user"),
    *("sip_from_host", "sip_to_user", "sip_req_user", "sip_req_params", "sip_to_params", "sip_from_params"),
    *("sip_P-Asserted-Identity", "sip_i_p_asserted_identity", "sip_P-Preferred-Identity", "sip_Remote-Party-ID"),
    "max_forwards",
    *contacts.FILTERS,
]
_HOPS_VARIABLE = f"sip_h_{dialstring.HOPS_HEADER}"
_SPELLED = [_HOPS_VARIABLE, "sip_h_Diversion"]

_OF_A_NEW_CALL = frames.lines_of(_HEADERS, _VARIABLES, _SPELLED)
"""What fsroute reads of a channel that has had no plan and was not transferred."""

FACTS = frames.lines_of(
    [*_HEADERS, "Call-Direction", "Hangup-Cause"],
    [
        *_VARIABLES,
        *("fsroute_called_account", "fsroute_shown", "sip_refer_to"),
        *(f"fsroute_transferor_{part}" for part in ("account", "user", "endpoint")),
        *("originate_causes", "originate_disposition", "originated_legs"),
        *outcome.MARKS,
    ],
    _SPELLED,
)
"""Everything that fsroute reads of a channel's snapshot, here, in `outcome` and in `serving/call_control`."""


def facts_of(snapshot: Frame) -> Facts:
    """Reads a snapshot. Most calls are new, and half of the facts are enough for a new call, which takes less time."""
    found = snapshot.only(_OF_A_NEW_CALL)
    if found.variable(STEP_VARIABLE) or found.variable("fsroute_transferred"):
        return snapshot.only(FACTS)
    return found


_POSITION_DIGITS = 9
"""More than any rule's position has, and no more than an INTEGER of PostgreSQL takes."""

_DEFAULT_FORWARDS = 70
"""RFC 3261, 8.1.1.6."""

NOTHING_BEFORE = "-"
_ROUNDS = re.compile(rf"[^/]+/[0-9]{{1,9}}/([0-9]{{1,3}})/([a-z_]{{1,16}}|{NOTHING_BEFORE})\Z")
"""A step of a plan with several rounds: the rule, how many rounds have rung, and the outcome of those before the last
one."""

DIRECT = "direct"
DONE = "done"
RECALL = "recall:"
"""The prefix of the step of a transferred call that returns to the transferor."""

_EXECUTES = "4"
"""CS_EXECUTE (switch_types.h): FreeSWITCH runs the dialplan's applications, `socket` for fsroute among them.
Channel-State-Number is the latest state of a channel; Channel-State can still be the state before (switch_channel.c,
switch_channel_event_set_basic_data)."""

_HUNG_UP = 10
"""CS_HANGUP. Higher states come after it."""

_DEPARTURES = {"2": "transferred", "3": "transferred", "6": "parked", "8": "picked up", "9": "bridged to another call"}
"""What CS_ROUTING, CS_SOFT_EXECUTE, CS_PARK, CS_HIBERNATE and CS_RESET mean for a call after its bridge
(switch_ivr.c, switch_ivr_session_transfer; switch_ivr_bridge.c, switch_ivr_uuid_bridge)."""

_NAMES = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
"""Names of accounts, users and endpoints, as schema.sql has them."""

_NOBODY_CONNECTED = "-USAGE"
"""The beginning of uuid_getvar's reply without a uuid (mod_commands.c): no phone was connected to the transferred leg."""

_SHOWN = re.compile(r"\+?[0-9*#]{1,32}\Z")

_BRIDGE_PAUSE_MS, _PLAYBACK_END_PAUSE_MS = 1000, 100
"""How long fsroute waits before it ends a call that seems to be over. FreeSWITCH marks a call before it transfers it
(CF_TRANSFER; switch_ivr.c, switch_ivr_session_transfer), and the application att_xfer moves a call a moment after its bridge
has ended."""

_MAX_HOPS = 99
_WISHES = frozenset({"id", "user", "header", "full"})
"""Values of a Privacy header that hide the number (RFC 3323, 4.2; RFC 3325, 9.3; `full` is an older word for it).
FreeSWITCH itself knows `id` only."""

_HIDING = re.compile(r";\s*privacy\s*=\s*\"?(?:uri|full)\b", re.IGNORECASE)
"""The parameter in Remote-Party-ID that hides the number (draft-ietf-sip-privacy-04, 5). FreeSWITCH does not know `uri`
(sofia.c)."""

_NO_HOST = ".invalid"
"""The end of the host in From of an anonymous caller, whatever the user part is (RFC 3323, 4.1.1.3:
anonymous.invalid). No host has such a name (RFC 2606)."""

_MAX_IDENTITIES = 4
"""RFC 3325 allows two in one header, one of each scheme."""

_MAX_TEXT = 256
"""Characters of a number as a header has it, with its parameters. fsroute remembers the readings of some thousand texts: of
60 kB each they would be hundreds of megabytes."""

_PHONE_CONTEXT = re.compile(r"(?:^|(?<=;))phone-context=[^;]*", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\(?:.|\Z))*+(?:"|\Z)', re.DOTALL)
"""A display name (RFC 3261, 25.1, quoted-string). One that does not end takes the rest of the text, and the repetition is
possessive: so thousands of quotes cost time in proportion to their number."""

_ADDRESS = re.compile("<([^<>]*)>")
_BETWEEN_WISHES = re.compile("[;, ]+")
_COUNTER = re.compile(r";\s*counter\s*=\s*\"?([0-9]+)", re.IGNORECASE)
_CAUSE = re.compile(r"[A-Z][A-Z0-9_]{2,48}\Z")


def call_of(channel: Facts) -> Call:
    """The call of a channel. The dialplan's variables decide where it came from; the other texts come from the caller.

    A text can have any length. A long one is cut, and is no number then.
    """
    caller = cut(channel.get("Caller-Caller-ID-Number"), MAX_TEXT)
    name = cut(channel.get("Caller-Caller-ID-Name"), MAX_TEXT)
    from_user = cut(channel.variable("sip_from_user"), MAX_TEXT)
    transferred = channel.variable("fsroute_transferred") == "true"
    is_phone = channel.variable("fsroute_direction") == Direction.OUTBOUND
    # A transferred leg from a trunk is still read as a trunk's: the same text can mean something else from a phone.
    sender = Direction.OUTBOUND if is_phone else Direction.INBOUND
    account, user, endpoint = _transferor(channel) if transferred else _owner(channel, "")
    outbound = transferred or is_phone
    destination = cut(channel.get("Caller-Destination-Number"), MAX_DESTINATION)
    to_user = "" if outbound else cut(channel.variable("sip_to_user"), MAX_DESTINATION)
    call = Call(
        destination=destination,
        caller=caller,
        caller_name=name,
        direction=Direction.OUTBOUND if outbound else Direction.INBOUND,
        anonymous=channel.get("Caller-Privacy-Hide-Number") == "true"
        or channel.variable("sip_from_host").lower().endswith(_NO_HOST)
        or policy.is_hidden(caller, sender)
        or (from_user != caller and policy.is_hidden(from_user, sender))
        or policy.is_unnamed(sender, name, caller, from_user),
        trunk=cut(channel.variable("fsroute_trunk"), MAX_TEXT) or None,
        account=account,
        user=user,
        hops=_hops(channel),
        uuid=channel.get("Unique-ID"),
        from_user=from_user,
        to_user=to_user,
        switch=channel.get("Core-UUID"),
        endpoint=endpoint,
        transferred=transferred,
        shown=_shown(channel, account) if transferred else None,
        forwards=_forwards(channel.variable("max_forwards")),
    )
    return call if channel.has_none_of(_RARE) else _with_rare(call, channel)


_RARE = frozenset(
    f"variable_{name}"
    for name in (
        *("sip_Privacy", "sip_req_params", "sip_to_params", "sip_from_params", *contacts.FILTERS),
        *("sip_P-Asserted-Identity", "sip_i_p_asserted_identity", "sip_P-Preferred-Identity", "sip_Remote-Party-ID"),
        *("fsroute_presented", "fsroute_roaming"),
    )
)
"""Facts that most calls do not have. One lookup checks all of them."""


def _with_rare(call: Call, channel: Facts) -> Call:
    """The call with the facts that only some calls have."""
    destination = call.destination
    if channel.variable("sip_req_user") == destination:  # a transferred call has another one
        destination = cut(_with_context(destination, channel.variable("sip_req_params")), MAX_DESTINATION)
    return replace(
        call,
        destination=destination,
        anonymous=call.anonymous or _wishes_privacy(channel),
        presented=cut(channel.variable("fsroute_presented"), MAX_TEXT) or None,
        is_roaming=channel.variable("fsroute_roaming") == "true",
        from_user=cut(_with_context(call.from_user, channel.variable("sip_from_params")), MAX_TEXT),
        to_user=call.to_user and cut(_with_context(call.to_user, channel.variable("sip_to_params")), MAX_DESTINATION),
        identities=() if call.direction is Direction.OUTBOUND else _identities(channel),
        switch="" if any(map(channel.variable, contacts.FILTERS)) else call.switch,
    )


@lru_cache(maxsize=128)
def _forwards(text: str) -> int:
    return _count(text) if text.isascii() and text.isdigit() else _DEFAULT_FORWARDS


def _owner(channel: Facts, prefix: str) -> tuple[str | None, str | None, str | None]:
    """Account, user and endpoint of a phone, as the directory or fsroute wrote them."""
    return (
        cut(channel.variable(f"fsroute_{prefix}account"), MAX_TEXT) or None,
        cut(channel.variable(f"fsroute_{prefix}user"), MAX_TEXT) or None,
        cut(channel.variable(f"fsroute_{prefix}endpoint"), MAX_TEXT) or None,
    )


def _transferor(channel: Facts) -> tuple[str | None, str | None, str | None]:
    """Account, user and endpoint on whose behalf a transferred leg goes on: those of the phone that was connected to it. The
    dialplan has copied them from that phone's own leg (freeswitch/dialplan/transferor.xml).

    If no phone was connected, FreeSWITCH itself has moved the call (uuid_transfer while it rings). Then the call belongs
    to the account whose number was called, or to the phone of the leg. It never belongs to the phone if REFER was
    received: REFER came from the other party, which can be anybody.

    A leg that still rings belongs to nobody. A phone that sends REFER before its call is answered makes FreeSWITCH transfer
    the leg of the callee, who has not answered (sofia.c, sofia_handle_sip_i_refer): the target would talk to nobody.
    """
    if channel.get("Call-Direction") == "outbound" and channel.get("Answer-State") != "answered":
        return None, None, None
    noted = _owner(channel, "transferor_")
    account, user, endpoint = (name if name and _NAMES.match(name) else None for name in noted)
    if account is not None:
        return account, user, endpoint
    if not (noted[0] or "").startswith(_NOBODY_CONNECTED):
        return None, None, None
    called = channel.variable("fsroute_called_account")
    if called:
        return called, None, None
    return (None, None, None) if channel.variable("sip_refer_to") else _owner(channel, "")


def _shown(channel: Facts, transferor: str | None) -> str | None:
    """The number that fsroute showed for a transferred party before. A called phone has its extension, which means
    nothing to the phones of another account."""
    shown, own = channel.variable("fsroute_shown"), channel.variable("fsroute_account")
    if own and own != transferor and channel.get("Call-Direction") == "outbound":
        return policy.ANONYMOUS
    return shown if shown == policy.ANONYMOUS or _SHOWN.match(shown) else None


def _wishes_privacy(channel: Facts) -> bool:
    """Whether a header hides the number."""
    asked, remote = channel.variable("sip_Privacy"), channel.variable("sip_Remote-Party-ID")
    if asked and not _WISHES.isdisjoint(_BETWEEN_WISHES.split(asked.lower())):
        return True
    return bool(remote) and _HIDING.search(remote) is not None


def _with_context(user: str, params: str) -> str:
    """A number with its phone-context (RFC 3966), which follows the number or, in a tel: URI, is a parameter of the URI."""
    found = _PHONE_CONTEXT.search(params) if params else None
    return f"{user};{found[0]}" if found else user


def _identities(channel: Facts) -> tuple[Identity, ...]:
    """The identities in the headers. FreeSWITCH reports a second P-Asserted-Identity, and parameters in it, only with the
    profile's parse-all-invite-headers."""
    asserted = channel.variable("sip_i_p_asserted_identity") or channel.variable("sip_P-Asserted-Identity")
    preferred = channel.variable("sip_P-Preferred-Identity")
    remote = channel.variable("sip_Remote-Party-ID")
    if not (asserted or preferred or remote):
        return ()
    headers = ((IdentityHeader.PAI, asserted), (IdentityHeader.PPI, preferred), (IdentityHeader.RPID, remote))
    found = [Identity(header, cut(address, MAX_TEXT)) for header, text in headers if text for address in _addresses(text)]
    return tuple(found[:_MAX_IDENTITIES])


def _addresses(text: str) -> list[str]:
    """The addresses in a header, of which FreeSWITCH reports the whole text or only the user part."""
    return _ADDRESS.findall(_QUOTED.sub("", text)) if "<" in text else [text]


def _hops(channel: Facts) -> int:
    """How often the call was forwarded before: by fsroute's own header, or by Diversion's counter if a carrier keeps only
    that.

    A caller who writes a larger number ends their own call. Against a smaller number SIP's Max-Forwards ends a loop.
    """
    sent, diversions = channel.variables(_HOPS_VARIABLE), channel.variables("sip_h_Diversion")
    if not sent and not diversions:
        return 0  # as nearly every call
    counted = [text for text in sent if text.isascii() and text.isdigit()]
    counted += [count for text in diversions for count in _COUNTER.findall(text) or ["1"]]
    return max((_count(text) for text in counted), default=0)


def _count(digits: str) -> int:
    """The value of these digits. There can be thousands, which int() refuses."""
    digits = digits.lstrip("0")
    return min(int(digits or "0"), _MAX_HOPS) if len(digits) <= len(str(_MAX_HOPS)) else _MAX_HOPS


class MediaState(StrEnum):
    """The audio that the caller receives: none (the caller's own phone or network plays a tone), early media, or, after an
    answer, audio from FreeSWITCH."""

    NONE = "none"
    EARLY = "early"
    ANSWERED = "answered"


def media_state_of(channel: Facts) -> MediaState:
    """The audio that the caller of this channel receives."""
    state = channel.get("Answer-State")
    return MediaState(state) if state in ("early", "answered") else MediaState.NONE


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that needs no further decision: it was answered and is over, or its last decision was carried out. `cause`
    is the cause of the bridge's end. fsroute waits `pause_ms` before it ends the call, because FreeSWITCH may be about to
    transfer it."""

    cause: str = "NORMAL_CLEARING"
    pause_ms: int = _PLAYBACK_END_PAUSE_MS


@dataclass(frozen=True, slots=True)
class Departure:
    """FreeSWITCH has taken the call away from fsroute: `how`, and `to` which destination, if that is known."""

    how: str
    to: str


def departure_of(channel: Facts | Frame) -> Departure | None:
    """How FreeSWITCH has taken the call away, None if fsroute still has the call, or the call has ended."""
    state = channel.get("Channel-State-Number")
    if state in {"", _EXECUTES} or is_hung_up(channel):
        return None
    return Departure(_DEPARTURES.get(state, f"in state {plain(state, 4)}"), channel.get("Caller-Destination-Number"))


def progress_of(channel: Facts) -> FailedPlan | Ended | None:
    """The result of the plan that rang. None for a call that has had no plan yet."""
    step = channel.variable(STEP_VARIABLE)
    if not step:
        return None
    if step == DONE:
        return Ended()
    if outcome.was_answered(channel):
        cause = channel.variable("bridge_hangup_cause")
        return Ended(cause if _CAUSE.match(cause) else "NORMAL_CLEARING", _BRIDGE_PAUSE_MS)
    ended, cause = outcome.of_failed(channel)
    is_recall, step = step.startswith(RECALL), step.removeprefix(RECALL)
    cause = cause if _CAUSE.match(cause) else ""
    rounds, before = _rounds_rung(step)
    return FailedPlan(
        _rule_key(step),
        outcome.best(before, ended),
        cause,
        _trunks_tried(step),
        is_recall,
        outcome.legs(channel),
        rounds,
    )


def is_hung_up(channel: Facts | Frame) -> bool:
    """Whether the call has ended, although its channel still exists."""
    state = channel.get("Channel-State-Number")
    return state.isascii() and state.isdigit() and int(state[:4]) >= _HUNG_UP


def plans_of(channel: Facts) -> int:
    """How many plans this channel has had."""
    count = channel.variable(PLAN_VARIABLE)
    return int(count) if count.isascii() and count.isdigit() and len(count) <= _POSITION_DIGITS else 0


def _rounds_rung(step: str) -> tuple[int, Outcome | None]:
    """How many rounds of the rule's plan have rung, and the outcome of those before the last one."""
    found = _ROUNDS.match(step)
    if found is None:
        return 0, None
    return int(found[1]), Outcome(found[2]) if found[2] in set(Outcome) else None


def _trunks_tried(step: str) -> int:
    kind, _, count = step.partition("/")
    return int(count) if kind == DIRECT and count.isascii() and count.isdigit() and len(count) <= _POSITION_DIGITS else 0


def _rule_key(step: str) -> RuleKey | None:
    hosted, _, position = step.partition("/")
    position = position.partition("/")[0]
    if phone_number.is_e164(hosted) and position.isascii() and position.isdigit() and len(position) <= _POSITION_DIGITS:
        return RuleKey(hosted, int(position))
    return None
