"""The values of a routing decision: what it is made from, and what it consists of. None does I/O.

All are immutable. Two keep results in addition: Plan.memo and Routing.plans. No result changes what a value means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time
from enum import StrEnum
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from fsroute.codes import CallerIdCode, Code, DecisionCode
from fsroute.target_kinds import Ending, TargetKind

C = TypeVar("C", bound=Code)
"""A family of codes."""

# --- the call -------------------------------------------------------------------------------------------


class Direction(StrEnum):
    """Where a call came from. The dialplan sets it; fsroute never derives it from what the caller sent."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class IdentityHeader(StrEnum):
    """The header for the number that is not in From. NONE, FreeSWITCH's word, is no header."""

    PAI = "pai"
    PPI = "ppi"
    RPID = "rpid"
    NONE = "none"


class Identity(NamedTuple):
    """What one identity header says of the caller: the header, and the number or address in it."""

    header: IdentityHeader
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as FreeSWITCH reported it. `presented` is the number that the dialplan asks to show, `is_roaming` whether
    the carrier says that a mobile caller is abroad. `switch` is the Core-UUID of the FreeSWITCH that has the call. It is
    empty if this call may not ring every phone that is registered there.

    `destination`, `caller` and `caller_name` come from the network or a phone: they can be any text. `hops` counts how often
    the call has left an fsroute through a trunk, `forwards` how often SIP still lets it be forwarded (Max-Forwards). Only
    outbound calls have a `user`. `caller` is the number that FreeSWITCH regards as the caller's; `from_user`, `to_user` and
    `identities` come from SIP's headers.

    A `transferred` call is outbound. Its `account`, `user` and `endpoint` are those of the phone that transferred it.
    `caller` and `anonymous` belong to the party that was connected to that phone, and `shown` is the number that fsroute
    showed for that party before, if fsroute chose one.
    """

    destination: str
    caller: str = ""
    caller_name: str = ""
    direction: Direction = Direction.INBOUND
    anonymous: bool = False
    trunk: str | None = None
    account: str | None = None
    user: str | None = None
    hops: int = 0
    uuid: str = ""
    presented: str | None = None
    is_roaming: bool = False
    from_user: str = ""
    switch: str = ""
    endpoint: str | None = None
    transferred: bool = False
    shown: str | None = None
    to_user: str = ""
    identities: tuple[Identity, ...] = ()
    forwards: int = 70


class Outcome(StrEnum):
    """How a plan ended that nobody answered."""

    BUSY = "busy"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"


# --- the tables -----------------------------------------------------------------------------------------


class AccountStatus(StrEnum):
    TRIAL = "trial"
    ACTIVE = "active"
    SUSPENDED = "suspended"


class NumberRole(StrEnum):
    """One of the two numbers of a leg."""

    PRESENTED = "presented"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class IdentityProfile:
    """In which headers a carrier expects the caller's numbers, and sends them."""

    name: str = "presented-in-from"
    from_number: NumberRole = NumberRole.PRESENTED
    header: IdentityHeader = IdentityHeader.PAI
    header_number: NumberRole = NumberRole.NETWORK
    diversion: bool = True
    history_info: bool = False


class NumberFormat(StrEnum):
    """How a carrier writes numbers, and expects them."""

    E164 = "e164"
    DIGITS = "digits"
    NATIONAL = "national"
    INTERNATIONAL = "international"


class CalledNumberIn(StrEnum):
    """Where a carrier puts the number that was called: into the Request-URI, or only into To."""

    REQUEST = "request"
    TO = "to"


@dataclass(frozen=True, slots=True)
class Trunk:
    """A gateway of FreeSWITCH that leads to the telephone network."""

    name: str
    gateway: str
    country: str
    domain: str
    profile: IdentityProfile = IdentityProfile()
    number_format: NumberFormat = NumberFormat.E164
    is_foreign: bool = False
    enabled: bool = True
    called_number_in: CalledNumberIn = CalledNumberIn.REQUEST


@dataclass(frozen=True, slots=True)
class TrunkRoute:
    """Calls to numbers that begin with `prefix` may use `trunk`."""

    prefix: str
    position: int
    trunk: Trunk


class RefusedCallerId(StrEnum):
    """What happens to a call that asks to show a number that it may not show."""

    REJECT = "reject"
    NETWORK_NUMBER = "network_number"


class TransferredCallerId(StrEnum):
    """Which number fsroute shows to an external number to which a user transferred a call: the user's own number, or the
    number of the transferred party."""

    OWN = "own"
    ORIGINAL = "original"


TRANSFEROR = "transferor"
"""accounts.failed_transfer: the call returns to the phone that transferred it. HANGUP: it ends. Else: a number hosted
here."""

HANGUP = "hangup"


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether an account may call numbers that begin with `prefix`."""

    prefix: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Account:
    """A customer. `network_number` identifies its line to carriers; schema.sql explains the other fields."""

    name: str
    country: str
    timezone: str
    domain: str
    status: AccountStatus = AccountStatus.ACTIVE
    network_number: str | None = None
    routes: tuple[TrunkRoute, ...] = ()
    refusal: RefusedCallerId = RefusedCallerId.REJECT
    presented_number: str | None = None
    presents_mobile: bool = False
    presents_abroad: bool = False
    permissions: tuple[Permission, ...] = ()
    transferred_caller_id: TransferredCallerId = TransferredCallerId.OWN
    failed_transfer: str = TRANSFEROR
    area_code: str | None = None


class VerificationState(StrEnum):
    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Verification:
    """A row of verified_numbers: a number (`first` = `last`) or a block of them, of one account."""

    account: str
    first: str
    last: str
    state: VerificationState
    expires_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether the number is verified at this moment: THE predicate of CLIP no screening. At `expires_at` it ends."""
        return self.state is VerificationState.VERIFIED and self.expires_at is not None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Judgement(Generic[C]):
    """Whether something may be done: a code for programs, a sentence that follows a subject ("+49...: is no number"), the id
    of the country's rule if a rule decided. `C` is the family of the code."""

    code: C
    text: str
    rule: str = ""

    @property
    def why(self) -> str:
        """The sentence, with the rule."""
        return f"{self.text} ({self.rule})" if self.rule else self.text


@dataclass(frozen=True, slots=True)
class Grant(Judgement[C]):
    """Something may be done."""


@dataclass(frozen=True, slots=True)
class Denial(Judgement[C]):
    """Something may not be done. `retry_at` is the moment from which it may be tried again; `meant` is the number that was
    probably meant."""

    retry_at: datetime | None = None
    meant: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of audit_log. `state` is None where it changed nothing in verified_numbers."""

    id: int
    at: datetime
    actor: str
    origin: str
    action: str
    account: str
    first: str
    last: str
    verification: str | None = None
    method: str | None = None
    state: str | None = None
    expires_at: datetime | None = None
    reason: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The key of the row of verified_numbers that this entry is about."""
        return self.account, self.first


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What the tables say about a number that a call asks to show: the account that hosts it, and its verifications."""

    owner: str | None = None
    verifications: tuple[Verification, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A device: the user part of its SIP address in its account's domain. `account` and `user` own it; `extension` is that
    user's."""

    name: str
    domain: str
    enabled: bool = True
    account: str = ""
    user: str | None = None
    extension: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A person with the endpoints that ring for them."""

    name: str
    extension: str | None
    endpoints: tuple[Endpoint, ...] = ()
    primary_number: str | None = None


class Holidays(StrEnum):
    """What public holidays mean for a range of times."""

    ANY = "any"
    ONLY = "only"
    EXCEPT = "except"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range of wall-clock times; everything that is given must hold. Weekdays are 0 (Monday) to 6.

    `end` is exclusive and None for the end of the day; an `end` at or before `start` lies on the next day.
    """

    weekdays: frozenset[int] | None = None
    start: time | None = None
    end: time | None = None
    first_date: date | None = None
    last_date: date | None = None
    holidays: Holidays = Holidays.ANY


@dataclass(frozen=True, slots=True)
class TimeProfile:
    """A named set of times, in an IANA time zone. It matches when one of its ranges does."""

    name: str
    timezone: str
    holiday_region: str | None = None
    ranges: tuple[TimeRange, ...] = ()


_VERIFIED = "verified:"


@dataclass(frozen=True, slots=True)
class ShowOwn:
    """An external target is shown the hosted number that sends the call on."""

    def __str__(self) -> str:
        return "own"


@dataclass(frozen=True, slots=True)
class ShowOriginal:
    """An external target is shown the caller's number, where the law of the account's country allows it."""

    def __str__(self) -> str:
        return "original"


@dataclass(frozen=True, slots=True)
class ShowVerified:
    """An external target is shown this number, if it is verified for the account when the call comes."""

    number: str

    def __str__(self) -> str:
        return f"{_VERIFIED}{self.number}"


ForwardedCallerId = ShowOwn | ShowOriginal | ShowVerified
"""rule_targets.caller_id. The text of each value is what the column holds."""

SHOW_OWN, SHOW_ORIGINAL = ShowOwn(), ShowOriginal()


def forwarded_caller_id(text: str | None) -> ForwardedCallerId:
    """The value of rule_targets.caller_id, of which schema.sql has checked the form. NULL is `own`."""
    if text is not None and text.startswith(_VERIFIED):
        return ShowVerified(text.removeprefix(_VERIFIED))
    return SHOW_ORIGINAL if text == str(SHOW_ORIGINAL) else SHOW_OWN


@dataclass(frozen=True, slots=True)
class Target:
    """One row of rule_targets: what to ring or how to end, when and for how long (seconds)."""

    position: int
    kind: TargetKind
    value: str
    endpoints: tuple[Endpoint, ...] = ()
    start_s: int = 0
    ring_s: int | None = None
    confirm: bool | None = None
    enabled: bool = True
    caller_id: ForwardedCallerId = SHOW_OWN


class RuleType(StrEnum):
    GENERAL = "general"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    BASE = "base"


class Mode(StrEnum):
    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"


class RuleKey(NamedTuple):
    """Names a rule. Written `+492214710100/1`: FreeSWITCH keeps this text in the channel while a plan rings."""

    number: str
    position: int

    def __str__(self) -> str:
        return f"{self.number}/{self.position}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A forwarding rule of a number. `callers` are E.164 numbers, or prefixes that end with `*`."""

    number: str
    position: int
    type: RuleType = RuleType.GENERAL
    mode: Mode = Mode.PARALLEL
    ring_s: int | None = None
    anonymous: bool | None = None
    time_profile: TimeProfile | None = None
    callers: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    enabled: bool = True

    @property
    def key(self) -> RuleKey:
        return RuleKey(self.number, self.position)

    def __str__(self) -> str:
        return f"rule {self.key} ({self.type})"


@dataclass(frozen=True, slots=True)
class HostedNumber:
    """A number that is routed here."""

    number: str
    account: Account
    rules: tuple[Rule, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Routing:
    """What one read of the tables found for one call: the numbers that the call can reach, and its caller.

    fsroute reads the destination and the caller's number as numbers of `country`. `dialled` is the hosted number that the
    destination means, None if there is none. `numbers` holds it and every hosted number that its rules lead to.
    `account`, `caller` and `callee` belong to an outbound call: the calling account and user, and the user whose
    extension was dialled. `trunk` delivered an inbound call. `facts` has an entry for every number that the call may ask
    to show. `left_out` names what exceeded the limits (limits.py): the subject of each, and what was left out. `plans`
    keeps the plans that the planner made from these values (planner.py); `replace` gives the copy an empty one.
    """

    country: str
    dialled: str | None = None
    numbers: Mapping[str, HostedNumber] = field(default_factory=dict)
    account: Account | None = None
    caller: User | None = None
    callee: User | None = None
    trunk: Trunk | None = None
    facts: Mapping[str, NumberFacts] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    plans: dict[PlanKey, KeptPlan] = field(init=False, default_factory=dict, compare=False, repr=False)


# --- the decision ---------------------------------------------------------------------------------------


class EndpointDial(NamedTuple):
    """Every phone that is registered as `user`@`domain`. A tuple, because each call uses it as a key for registrations."""

    user: str
    domain: str


class Owner(NamedTuple):
    """The owner of the phone that a leg rings. fsroute writes it into the leg, and decides a transfer by that phone on its
    user's behalf. If the phone itself is transferred, other parties see `shown`."""

    account: str
    user: str | None
    endpoint: str
    shown: str | None = None


@dataclass(frozen=True, slots=True)
class ContactDial:
    """One registered phone: a SIP profile of FreeSWITCH, and the address that the phone registered there (contacts.py
    checks it)."""

    profile: str
    address: str


@dataclass(frozen=True, slots=True)
class TrunkDial:
    """A number of the telephone network (E.164, or short as an emergency number), through a trunk."""

    trunk: Trunk
    number: str


@dataclass(frozen=True, slots=True)
class CallerId:
    """What the called party learns of the caller.

    `presented` is the number that the party sees, None for an anonymous call. `network` is the number that fsroute
    asserts to a carrier, None for a phone. `reason` is the code of the rule that decided. With `as_received` FreeSWITCH
    copies name and number from the incoming call.
    """

    presented: str | None
    network: str | None
    reason: CallerIdCode
    as_received: bool = False


@dataclass(frozen=True, slots=True)
class Diversion:
    """The hosted number that forwarded a call, the reason in RFC 5806's words, and how often the call was forwarded."""

    number: str
    reason: str
    counter: int = 1


@dataclass(frozen=True, slots=True)
class Leg:
    """One outgoing call. Seconds count from the start of its stage. Legs to phones have an `owner`.

    `progress_s` is how long FreeSWITCH waits for the leg to ring, None for its whole ring time. `fallbacks` are the same
    call through the trunks that FreeSWITCH tries in this order when this trunk fails. Each has its own caller ID; its
    times come from this leg (planner.attempts).
    """

    target: str
    dial: EndpointDial | ContactDial | TrunkDial
    caller_id: CallerId
    start_s: int = 0
    ring_s: int = 20
    confirm: bool = False
    hops: int = 0
    diversion: Diversion | None = None
    owner: Owner | None = None
    progress_s: int | None = None
    fallbacks: tuple[Leg, ...] = ()

    @property
    def end_s(self) -> int:
        return self.start_s + self.ring_s


Stage = tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    """The phones of one endpoint: the contacts that may be dialled, and how many contacts were refused."""

    contacts: tuple[ContactDial, ...] = ()
    refused: int = 0


@dataclass(slots=True)
class PlanMemo:
    """What was computed from one plan, so that the next call with this plan need not compute it again.

    None is: not computed yet. `bridge` is the dial string of the first round, after the values that it depends on besides
    the plan (dialstring.bridge). `resolved` is the last result only: most calls find the same phones as the call before.
    """

    endpoints: tuple[EndpointDial, ...] | None = None
    rounds: tuple[tuple[Stage, ...], ...] | None = None
    resolved: ResolvedPlan | None = None
    bridge: tuple[object, str] | None = None
    is_enterprise: bool | None = None
    log: PlanLog | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages that ring one after another, and what happens when none of them answers.

    Without a `final` the outcome of the stages decides what follows. `memo` keeps results that were computed from this plan;
    `replace` gives the copy an empty one.
    """

    stages: tuple[Stage, ...] = ()
    final: Ending | None = None
    memo: PlanMemo = field(init=False, default_factory=PlanMemo, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ResolvedPlan:
    """A plan with the registered phones of its endpoints in their place (contacts.resolve).

    `phones` are the registrations that it was made with, in the order of the plan's endpoints. `rounds` is how many rounds
    at its beginning have no phone left.
    """

    phones: list[Registered | None]
    plan: Plan
    reasons: tuple[Reason, ...]
    rounds: int


class PlanLog(NamedTuple):
    """A plan in the log: the targets of each stage, how many they are, the ending. `shown` wrote the telephone numbers."""

    shown: Callable[[str], str]
    legs: list[list[str]]
    counts: list[int]
    final: str | None


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a decision: a stable code, its subject, and a sentence for people."""

    code: DecisionCode
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """A plan that is the same for many calls, and the reasons for it."""

    plan: Plan
    reasons: tuple[Reason, ...]


PlanKey = tuple[str, int, CallerId, int, int]
"""What a plan depends on besides the rows of Routing: number and position of its rule, the caller ID that phones see, the
hops of the call and the limit for them."""


@dataclass(frozen=True, slots=True)
class FailedPlan:
    """A plan that nobody answered: its rule (None: it had none), its outcome, and FreeSWITCH's cause. `trunks` is how
    many trunks a user's call has tried, `is_recall` whether a transferred call had returned to the transferor. `legs`
    says how each leg ended, for the log. `rounds` is how many rounds of the plan have rung; 0 means all."""

    rule: RuleKey | None
    outcome: Outcome
    cause: str = ""
    trunks: int = 0
    is_recall: bool = False
    legs: tuple[str, ...] = ()
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What fsroute does with a call: the plan, and the reasons for it.

    `number` is the hosted number that was dialled and `rule` the rule that decided, each None if there is none. `code` is
    the code of the reason that decided. `attestation` is the attestation level of the caller ID (A, B or C of
    STIR/SHAKEN), where the account's country uses it. `is_recall`: nobody answered a transferred call, and it returns to
    the transferor. `rounds` is how many rounds of the rule's plan have rung before, and `before` their outcome.
    """

    number: str | None
    account: str | None
    rule: Rule | None
    plan: Plan
    caller_id: CallerId
    code: DecisionCode
    reasons: tuple[Reason, ...]
    trunks: int = 0
    attestation: str | None = None
    is_recall: bool = False
    rounds: int = 0
    before: Outcome | None = None

    def with_plan(self, plan: Plan, reasons: tuple[Reason, ...], rounds: int) -> Decision:
        """The same decision with `plan` in place of its own, more `reasons`, and so many more `rounds` that have rung.

        It copies the slots by their names: each call does this, and dataclasses.replace takes three times as long.
        """
        copy = object.__new__(Decision)
        values = (*_read_others(self), plan, self.reasons + reasons, self.rounds + rounds)
        for write, value in zip(_WRITE, values):  # noqa: B905 - as many as fields; `strict` costs a fifth of the whole
            write(copy, value)
        return copy


_REPLACED = ("plan", "reasons", "rounds")
_OTHERS = tuple(field.name for field in fields(Decision) if field.name not in _REPLACED)
_read_others = attrgetter(*_OTHERS)
_WRITE = tuple(getattr(Decision, name).__set__ for name in (*_OTHERS, *_REPLACED))
"""What `with_plan` leaves as it is, and in which order it writes a copy's slots."""
