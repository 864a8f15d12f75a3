"""Writes a plan as an argument of FreeSWITCH's `bridge`. Pure; the only module that writes FreeSWITCH's quoting.

It needs almost none. Every value must match an allow-list, and any other value raises an error that names the field.
FreeSWITCH removes quoting four times (see simulator/dialstring_reader.py), so a value that needs quoting has no reliable
form. The exceptions are commas, in the operator's own prompt and in identity headers.

The variables of a leg, and why it needs them (switch_ivr_originate.c, 1.11):

  leg_timeout            the ring time. Only this variable ends a single leg; the group's limit ends the whole list.
  leg_progress_timeout   the same time, for a leg that has not rung by then. It ends with PROGRESS_TIMEOUT instead of
                         ALLOTTED_TIMEOUT, which distinguishes "unreachable" from "no answer".
  leg_delay_start        the start of the leg; FreeSWITCH adds it to both times.
  originate_timeout      the group's limit, two seconds above its longest leg: legs end up to a second late.
  originate_continue_on_timeout
                         if the group does reach its limit, the next stage rings instead of none.
  ignore_early_media     without it, the first carrier that plays a tone wins the race. A user's own call through one trunk
                         is no race: there early media makes the bridge, and the caller receives it.
  fsroute_account, fsroute_user, fsroute_endpoint
                         the owner of the phone, in case this phone transfers the call.

For a leg that continues through another trunk when its own trunk fails:

  fail_on_single_reject  after `!`, the causes that do not end the list. FreeSWITCH searches this text for the name of the
                         cause. Any other cause of a leg ends its list too: a busy callee is not called again.
  :_:                    an enterprise string. FreeSWITCH rings its parts at the same time. Each part is a list of its own,
                         whose groups follow each other as the trunks fail. A part does not know the call that it belongs
                         to, so fsroute sets in each part signal_bond, by which FreeSWITCH writes the end of the legs to
                         the caller's channel, and max_forwards, how often the call may still be forwarded.
  originate_delay_start  the start of a part, in ms: the only leg of a list does not wait for leg_delay_start.
  api_on_ring            writes to the caller's channel that a leg rang. A part reports no causes of its legs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fsroute.callerid import identity
from fsroute.errors import DialStringError
from fsroute.model import Call, ContactDial, EndpointDial, Leg, Owner, Plan, Stage, TrunkDial
from fsroute.numbers.phone_number import written
from fsroute.routing.causes import TRUNK_FAILURES
from fsroute.routing.limits import MAX_LEGS, from_zero
from fsroute.routing.planner import attempts, rounds
from fsroute.switch.outcome import RANG_VARIABLE

HOPS_HEADER = "X-FSRoute-Hops"
"""Counts how often a call has left fsroute through a trunk. FreeSWITCH has it on the incoming leg as `sip_h_...`."""

_GRACE_S = 2
_ENTERPRISE = ":_:"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_DOMAIN = re.compile(r"[a-z0-9.-]{1,253}\Z")
_NUMBER = re.compile(r"\+?[0-9*#]{1,32}\Z")
_CONTACT = re.compile(r"sips?:[A-Za-z0-9_.!~*+&@;=%:-]{0,900}(?:\[[0-9A-Fa-f:.]{2,45}\][A-Za-z0-9_.!~*+&@;=%:-]{0,900})?\Z")
"""A second check, after contacts.py has checked the parts. Brackets only in a pair around an IPv6 address, and no character
that ends a leg or a variable."""

_IDENTITY = re.compile(r"[A-Za-z0-9_-]{1,40}=[A-Za-z0-9_+*#.:@;=<>,-]{1,800}\Z")
"""A variable of callerid/identity.py, whose parts match allow-lists of their own. This pattern limits the whole."""

_UUID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_ITS_UUID, _ITS_FORWARDS = "$UUID", "$FORWARDS"
"""Placeholders in the string of a plan for the values of one call. No other value can contain a `$`."""

_GOES_ON = f"fail_on_single_reject=!{':'.join(sorted(TRUNK_FAILURES))}"
_OF_PARTS = f"signal_bond={_ITS_UUID},max_forwards={_ITS_FORWARDS}"
_MARKS = ",".join(f"{event}=uuid_setvar {_ITS_UUID} {RANG_VARIABLE} true" for event in ("api_on_ring", "api_on_media"))

_KEY = re.compile(r"[0-9*#]{1,9}\Z")
_PROMPT = re.compile(r"[A-Za-z0-9_./:;%=,()-]{1,200}\Z")


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How an external leg is confirmed: the keys, the prompt, and the seconds after the answer.

    FreeSWITCH reads as many digits as the key has, at most nine (`collect_thread_run`). A prompt that FreeSWITCH cannot play
    ends the leg. Raises DialStringError for a value that does not fit a dial string.
    """

    key: str = "1"
    prompt: str = "tone_stream://%(300,200,880,1320)"
    seconds: int = 10

    def __post_init__(self) -> None:
        _allowed("confirm key", self.key, _KEY)
        _allowed("confirm prompt", self.prompt, _PROMPT)


def bridge(plan: Plan, confirmation: Confirmation, *, early_media: bool = False) -> str:
    """The argument of `bridge` for the plan's first round, before `of_call`; empty when nothing rings.

    With `early_media`, for a single leg, the caller receives early media. Raises DialStringError, which names the leg and
    the field, for a value outside its allow-list or a stage that is too large.
    """
    if not plan.stages:
        return ""
    key, written = (confirmation, early_media), plan.memo.bridge
    if written is None or written[0] != key:
        written = plan.memo.bridge = key, _round(rounds(plan)[0], confirmation, early_media=early_media)
    return written[1]


def bridges(plan: Plan, confirmation: Confirmation) -> tuple[str, ...]:
    """The arguments of `bridge` for each round of the plan, one after the other. Raises DialStringError."""
    return tuple(_round(stages, confirmation, early_media=False) for stages in rounds(plan))


def of_call(text: str, call: Call) -> str:
    """A plan's dial string for this call. Raises DialStringError."""
    if "$" not in text:
        return text
    _allowed("uuid", call.uuid, _UUID)
    return text.replace(_ITS_UUID, call.uuid).replace(_ITS_FORWARDS, str(max(call.forwards - 1, 0)))


def is_enterprise(plan: Plan) -> bool:
    """Whether the plan's first round is an enterprise string. FreeSWITCH reports no causes of its legs."""
    known = plan.memo.is_enterprise
    if known is None:
        found = rounds(plan)
        known = plan.memo.is_enterprise = bool(found) and _is_enterprise(found[0])
    return known


def _is_enterprise(stages: tuple[Stage, ...]) -> bool:
    return len(stages[0]) > 1 and any(leg.fallbacks for leg in stages[0])


def _round(stages: tuple[Stage, ...], confirmation: Confirmation, *, early_media: bool) -> str:
    if len(stages) > MAX_LEGS:
        raise DialStringError(f"{len(stages)} stages: FreeSWITCH rings {MAX_LEGS}")
    if early_media and [len(stage) for stage in stages] != [1]:
        raise DialStringError("early media of more than one leg: the first tone would win the race")
    for stage in stages:
        if not 1 <= len(stage) <= MAX_LEGS:
            raise DialStringError(f"{len(stage)} legs together: FreeSWITCH rings 1 to {MAX_LEGS}")
    if _is_enterprise(stages):
        return _ENTERPRISE.join(_parts(stages[0], confirmation))
    (leg, *others), *following = stages
    tried = attempts(leg)
    if len(tried) > 1:
        return _list([(each,) for each in tried], confirmation, _GOES_ON, early_media=early_media)
    return _list([(*tried, *others), *following], confirmation, early_media=early_media)


def _parts(stage: Stage, confirmation: Confirmation) -> Iterable[str]:
    """Each leg with fallbacks as a list of its own, then the others: FreeSWITCH reports the cause of the last part."""
    others = tuple(leg for leg in stage if not leg.fallbacks)
    for leg in stage:
        if leg.fallbacks:
            yield _part([(attempt,) for attempt in attempts(leg)], confirmation, _OF_PARTS, _GOES_ON)
    if others:
        yield _part([others], confirmation, _OF_PARTS)


def _part(stages: list[Stage], confirmation: Confirmation, *variables: str) -> str:
    start_s = min(leg.start_s for leg in stages[0])
    delay = (f"originate_delay_start={start_s * 1000}",) if start_s else ()
    return _list([from_zero(stage) for stage in stages], confirmation, *variables, *delay, marks=_MARKS)


def _list(
    stages: Sequence[Stage], confirmation: Confirmation, *more: str, early_media: bool = False, marks: str = ""
) -> str:
    """Groups of legs, one after the other, and the variables for all of them."""
    limit = max(_limit(leg, confirmation) for stage in stages for leg in stage) + _GRACE_S
    variables = (
        f"ignore_early_media={'false' if early_media else 'true'}",
        "originate_continue_on_timeout=true",
        f"originate_timeout={limit}",
        *more,
    )
    groups = (",".join(_leg(leg, confirmation, marks) for leg in stage) for stage in stages)
    return f"{{{','.join(variables)}}}{'|'.join(groups)}"


def dial(leg: Leg) -> str:
    """What a leg dials, without its variables.

    An endpoint is `user/...` only until contacts.py has replaced it by its registered phones: that form is for people.
    """
    match leg.dial:
        case EndpointDial(user, domain):
            _allowed(f"{leg.target}: name", user, _NAME)
            _allowed(f"{leg.target}: domain", domain, _DOMAIN)
            return f"user/{user}@{domain}"
        case ContactDial(profile, address):
            _allowed(f"{leg.target}: profile", profile, _NAME)
            _allowed(f"{leg.target}: contact", address, _CONTACT)
            return f"sofia/{profile}/{address}"
        case TrunkDial(trunk, number):
            _allowed(f"{leg.target}: gateway", trunk.gateway, _NAME)
            _allowed(f"{leg.target}: number", number, _NUMBER)
            return f"sofia/gateway/{trunk.gateway}/{written(number, trunk.number_format, trunk.country)}"


def _limit(leg: Leg, confirmation: Confirmation) -> int:
    return leg.end_s + (confirmation.seconds if leg.confirm else 0)


def _leg(leg: Leg, confirmation: Confirmation, marks: str) -> str:
    if leg.ring_s < 1 or leg.start_s < 0:
        raise DialStringError(f"{leg.target}: ring_s {leg.ring_s}, start_s {leg.start_s}: at least 1 and 0 are needed")
    variables = [f"leg_timeout={leg.ring_s}", f"leg_progress_timeout={leg.progress_s or leg.ring_s}"]
    if marks:
        variables.append(marks)
    if leg.start_s:
        variables.append(f"leg_delay_start={leg.start_s}")
    variables += _shown_outside(leg, leg.dial) if isinstance(leg.dial, TrunkDial) else _shown_inside(leg)
    if leg.owner is not None:
        variables += _owned(leg, leg.owner)
    if leg.confirm and not isinstance(leg.dial, TrunkDial):
        raise DialStringError(f"{leg.target}: confirm: only external numbers can need a key press")
    if leg.confirm:
        prompt = confirmation.prompt.replace(",", r"\,")
        variables += [
            f"group_confirm_key={confirmation.key}",
            f"group_confirm_file={prompt}",
            # After the answer this replaces leg_timeout: a callee who answers late can still press the key.
            f"group_confirm_timeout={confirmation.seconds}",
        ]
    return f"[{','.join(variables)}]{dial(leg)}"


def _owned(leg: Leg, owner: Owner) -> list[str]:
    """The owner of the phone: fsroute decides a transfer by it on behalf of its user (docs/design.md, "After the
    answer")."""
    named = {
        "fsroute_account": owner.account,
        "fsroute_user": owner.user,
        "fsroute_endpoint": owner.endpoint,
        "fsroute_shown": owner.shown,
    }
    for field, value in named.items():
        if value is not None:
            _allowed(f"{leg.target}: {field}", value, _NAME)
    return [f"{field}={value}" for field, value in named.items() if value is not None]


def _shown_inside(leg: Leg) -> list[str]:
    """The caller ID that a phone receives."""
    caller_id = leg.caller_id
    if caller_id.as_received:
        return []
    if caller_id.presented is None:
        return ["origination_caller_id_number=anonymous", "origination_caller_id_name=Anonymous"]
    _allowed(f"{leg.target}: presented number", caller_id.presented, _NUMBER)
    return [f"origination_caller_id_number={caller_id.presented}"]


def _shown_outside(leg: Leg, dialled: TrunkDial) -> list[str]:
    """The caller ID that a carrier receives: the account's numbers, as its profile says, and nothing of the caller that the
    policy has not granted."""
    hops = f"sip_h_{HOPS_HEADER}={leg.hops}"
    caller_id = leg.caller_id
    if caller_id.as_received:
        return [hops, *identity.UNKNOWN_LINE]
    for field, value in (("presented number", caller_id.presented), ("network number", caller_id.network)):
        if value is not None or field == "network number":
            _allowed(f"{leg.target}: {field}", value or "", _NUMBER)
    _allowed(f"{leg.target}: trunk domain", dialled.trunk.domain, _DOMAIN)
    variables = identity.variables(identity.headers(caller_id, dialled.trunk, leg.diversion, dialled.number))
    for variable in variables:
        _allowed(f"{leg.target}: {variable.partition('=')[0]}", variable, _IDENTITY)
    return [hops, *(variable.replace(",", r"\,") for variable in variables)]


def is_contact(address: str) -> bool:
    """Whether a contact's address fits into a dial string."""
    return _fits(address, _CONTACT)


def _allowed(field: str, value: str, allowed: re.Pattern[str]) -> None:
    if not _fits(value, allowed):
        raise DialStringError(f"{field}: {value!r} does not fit into a dial string")


def _fits(value: str, allowed: re.Pattern[str]) -> bool:
    return allowed.match(value) is not None and _ENTERPRISE not in value
