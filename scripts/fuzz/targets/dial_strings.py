"""Dial strings: FreeSWITCH reads of each plan exactly the legs that were meant, or the plan is a DialStringError."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fsroute.callerid import identity
from fsroute.codes import CallerIdCode
from fsroute.errors import DialStringError
from fsroute.model import (
    Call,
    CallerId,
    ContactDial,
    Diversion,
    EndpointDial,
    IdentityHeader,
    IdentityProfile,
    Leg,
    NumberFormat,
    NumberRole,
    Owner,
    Plan,
    Stage,
    Trunk,
    TrunkDial,
)
from fsroute.routing.planner import attempts, rounds
from fsroute.simulator import dialstring_reader
from fsroute.simulator.dialstring_reader import Parsed
from fsroute.switch import dialstring
from fsroute.switch.dialstring import Confirmation
from scripts.fuzz.given import Given, in_linear_time

HOSTILE = (
    *"',\"|[]{}<>\\/@=:^$%()* ;&\n\r\t\0\x01\x02",
    *("${system(touch x)}", "$${domain}", "$UUID", "$FORWARDS", ":_:"),
    *("^^:", "\\n", "\\,", "]user/1002,[a=1", "|error/user_busy"),
    *(",origination_nested_vars=true", "\u00e4", "\u2028", "\uff11", "_undef_", "anonymous"),
)  # fmt: skip
NAMES = (*HOSTILE, "1001", "acme", "carrier", "x.y", "-", "_", "gateway", "A" * 64)
DOMAINS = (*HOSTILE, "acme.example", "192.0.2.1", "a", "-")
NUMBERS = (*HOSTILE, "+492214710100", "+491713920042", "1001", "112", "*21#", "+", "0", "0" * 32)
CONTACTS = (
    *HOSTILE,
    "sip:1001@192.0.2.11:5060",
    "sips:",
    "[2001:db8::1]",
    ";transport=tcp",
    ";fs_path=sip%3A192.0.2.1%3Blr",
    "a",
)
PROMPTS = (*HOSTILE, "tone_stream://%(300,200,880,1320)", "fsroute/de/confirm.wav", "a")
_UUIDS = (*HOSTILE, "0b6a4d7e-6c0a-4f53-9d5e-1c4c5f1f0b11", "a")
_REASONS = ("unconditional", "user-busy", "no-answer", "deflection", "unavailable")
_OF_LISTS = {"ignore_early_media", "originate_continue_on_timeout", "originate_timeout", "fail_on_single_reject"} | {
    "signal_bond",
    "max_forwards",
    "originate_delay_start",
}
_OF_TIMES = {"leg_timeout", "leg_progress_timeout", "leg_delay_start", "api_on_ring", "api_on_media"}

Rung = tuple[str, dict[str, str]]
"""What a leg dials, and its variables but those of time."""


def check(data: bytes) -> None:
    given = Given(data)
    try:
        confirmation = Confirmation(
            _text(given, ("1", "12#"), NAMES), _text(given, PROMPTS[-3:], PROMPTS), given.number(1, 60)
        )
    except DialStringError:
        confirmation = Confirmation()
    call = Call("+492214710100", uuid=_text(given, _UUIDS[-2:], _UUIDS), forwards=given.number(0, 70))
    plan = Plan(tuple(tuple(_leg(given) for _ in range(given.number(1, 3))) for _ in range(given.number(1, 3))))
    try:
        with in_linear_time():
            texts = [dialstring.of_call(text, call) for text in dialstring.bridges(plan, confirmation)]
    except DialStringError as error:
        assert "\n" not in str(error)
        return
    for text, stages in zip(texts, rounds(plan), strict=True):
        assert "\n" not in text
        assert dialstring_reader.expand(text, _no_variable, _no_command) == text
        parsed = dialstring_reader.parse(text)
        parts = parsed.enterprise or (parsed,)
        found = [rung for part in parts for rung in _rung(part, call)]
        assert found == [_meant(leg, confirmation) for leg in _order(stages)], text


def _text(given: Given, plain: tuple[str, ...], pieces: tuple[str, ...]) -> str:
    """Mostly a value that fits, so that inputs reach the writer."""
    return given.text(pieces, 2048) if given.number(0, 7) == 0 else given.choice(plain)


def _leg(given: Given, *, is_fallback: bool = False) -> Leg:
    name, domain = partial(_text, given, ("1001", "x.y"), NAMES), partial(_text, given, ("acme.example", "h"), DOMAINS)
    number = partial(_text, given, NUMBERS[-8:-2], NUMBERS)
    start_s, ring_s = given.number(0, 40), given.number(0, 60)
    kind = 2 if is_fallback else given.number(0, 2)
    if kind < 2:  # noqa: PLR2004 - a phone
        dial: EndpointDial | ContactDial = (
            EndpointDial(name(), domain()) if kind == 0 else ContactDial(name(), _text(given, CONTACTS[-6:-4], CONTACTS))
        )
        shown = given.choice(("received", "hidden", "number"))
        caller_id = CallerId(
            number() if shown == "number" else None, None, CallerIdCode.VERIFIED_NUMBER, shown == "received"
        )
        owner = Owner(name(), name() if given.flag() else None, name(), name() if given.flag() else None)
        return Leg("phone", dial, caller_id, start_s, ring_s, owner=owner if given.flag() else None)
    profile = IdentityProfile(
        "any", given.choice(tuple(NumberRole)), given.choice(tuple(IdentityHeader)), given.choice(tuple(NumberRole)),
        given.flag(), given.flag(),
    )  # fmt: skip
    trunk = Trunk(name(), name(), given.choice(("DE", "US", "IT")), domain(), profile, given.choice(tuple(NumberFormat)))
    caller_id = CallerId(number() if given.flag() else None, number(), CallerIdCode.VERIFIED_NUMBER, given.number(0, 7) == 0)
    diversion = Diversion(number(), given.choice(_REASONS), given.number(1, 99)) if given.flag() else None
    leg = Leg(
        "trunk",
        TrunkDial(trunk, number()),
        caller_id,
        start_s,
        ring_s,
        confirm=given.flag(),
        hops=given.number(0, 99),
        diversion=diversion,
    )
    if is_fallback:
        return leg
    return replace(leg, fallbacks=tuple(_leg(given, is_fallback=True) for _ in range(max(given.number(0, 4) - 2, 0))))


def _order(stages: tuple[Stage, ...]) -> list[Leg]:
    """The attempts of a round in the order in which a dial string has them: of legs that ring together, those that continue
    through other trunks come first."""
    found: list[Leg] = []
    for stage in stages:
        legs = [leg for leg in stage if leg.fallbacks] + [leg for leg in stage if not leg.fallbacks]
        found += [attempt for leg in legs for attempt in attempts(leg)]
    return found


def _rung(part: object, call: Call) -> list[Rung]:
    assert isinstance(part, Parsed), part
    assert set(part.variables) <= _OF_LISTS, part.variables
    assert part.variables.get("signal_bond", call.uuid) == call.uuid
    found = []
    for group in part.groups:
        for leg in group:
            assert not leg.error
            assert int(leg.variables["leg_timeout"]) >= 1
            found.append((leg.endpoint, {name: text for name, text in leg.variables.items() if name not in _OF_TIMES}))
    return found


def _meant(leg: Leg, confirmation: Confirmation) -> Rung:
    variables: dict[str, str] = {}
    match leg.dial:
        case TrunkDial(trunk, number):
            told: tuple[str, ...] = identity.UNKNOWN_LINE
            if not leg.caller_id.as_received:
                told = tuple(identity.variables(identity.headers(leg.caller_id, trunk, leg.diversion, number)))
            variables["sip_h_X-FSRoute-Hops"] = str(leg.hops)
            variables |= dict(variable.split("=", 1) for variable in told)
            prefix = f"sofia/gateway/{trunk.gateway}/"
            assert dialstring.dial(leg).removeprefix(prefix).removeprefix("+").replace("*", "0").replace("#", "0").isdigit()
        case ContactDial(profile, address):
            assert dialstring.dial(leg) == f"sofia/{profile}/{address}"
        case EndpointDial(user, domain):
            assert dialstring.dial(leg) == f"user/{user}@{domain}"
    if not isinstance(leg.dial, TrunkDial) and not leg.caller_id.as_received:
        shown = leg.caller_id.presented
        variables["origination_caller_id_number"] = shown or "anonymous"
        if shown is None:
            variables["origination_caller_id_name"] = "Anonymous"
    if leg.owner is not None:
        owned = zip(("account", "user", "endpoint", "shown"), leg.owner, strict=True)
        variables |= {f"fsroute_{name}": value for name, value in owned if value is not None}
    if leg.confirm:
        variables["group_confirm_key"] = confirmation.key
        variables["group_confirm_file"] = confirmation.prompt
        variables["group_confirm_timeout"] = str(confirmation.seconds)
    return dialstring.dial(leg), variables


def _no_variable(name: str) -> str:
    raise AssertionError(f"a channel variable: {name}")


def _no_command(name: str, arguments: str) -> str:
    raise AssertionError(f"a command: {name} {arguments}")
