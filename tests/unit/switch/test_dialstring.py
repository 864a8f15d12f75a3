"""The strings that FreeSWITCH is told to bridge to: written out whole, refused, and read back as FreeSWITCH reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsroute.callerid import identity
from fsroute.codes import CallerIdCode
from fsroute.data.routing_store import Store
from fsroute.errors import DialStringError
from fsroute.model import (
    Call,
    CallerId,
    ContactDial,
    Diversion,
    EndpointDial,
    FailedPlan,
    Leg,
    NumberFormat,
    Outcome,
    Plan,
    Registered,
    RuleKey,
    Stage,
    Trunk,
    TrunkDial,
)
from fsroute.numbers.phone_number import written
from fsroute.routing.causes import TRUNK_FAILURES
from fsroute.routing.planner import attempts
from fsroute.routing.planner import rounds as plan_rounds
from fsroute.routing.router import route
from fsroute.simulator import dialstring_reader
from fsroute.simulator.dialstring_reader import ParsedLeg
from fsroute.switch import contacts, dialstring
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Hangup
from tests.support import builders
from tests.support.builders import (
    CALLER,
    CARRIER,
    HIDDEN_CALLER,
    LINE,
    MOBILE,
    MONDAY_NOON,
    RECEIVED,
    contact_leg,
    outgoing_call,
    phone_leg,
    trunk_leg,
)
from tests.support.strategies import IDENTITY_PROFILES
from tests.support.tables import demo_store

CONFIRMATION = Confirmation()


def registered(user: str, *addresses: str) -> tuple[EndpointDial, Registered]:
    contacts = tuple(ContactDial("internal", address) for address in addresses)
    return EndpointDial(user, "acme.example"), Registered(contacts)


PHONES = dict(
    [
        registered("1001", "sip:1001@192.0.2.11:5060", "sip:1001@192.0.2.12:5062;transport=tcp"),
        registered("1002", "sip:1002@[2001:db8::2]:5060"),
        registered("1003", "sip:1003@192.0.2.13:5060;fs_path=sip%3A192.0.2.1%3Blr"),
        registered("1004", "sip:1004@192.0.2.14:5060"),
    ]
)
"""The phones of the demo: 1001 has two, 1002 one with IPv6, 1003 one behind a proxy."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return demo_store(tmp_path_factory.mktemp("demo") / "demo.db")


# --- the demo ---------------------------------------------------------------------------------------------


def inbound(to: str, *, anonymous: bool = False) -> Call:
    return Call(to, CALLER, anonymous=anonymous)


def failed(number: str, position: int, outcome: Outcome) -> FailedPlan:
    return FailedPlan(RuleKey(number, position), outcome)


def shown(number: str) -> str:
    """What tells the demo's carrier that this number calls, on acme's line."""
    return (
        f"sip_invite_from_uri=sip:{number}@carrier.example,sip_cid_type=pid,origination_caller_id_number=+492214710100,"
        "sip_invite_domain=carrier.example,origination_caller_id_name=_undef_,origination_privacy=screen"
    )


def forwarded_by(number: str, reason: str) -> str:
    return f"{shown(number)},sip_h_Diversion=<sip:{number}@carrier.example>;reason={reason};counter=1"


BRIDGES: dict[str, tuple[Call, FailedPlan | None, str]] = {
    "100: reception, workshop and a mobile together": (
        inbound("+492214710100"),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=32}"
            "[leg_timeout=20,leg_progress_timeout=20,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.11:5060,"
            "[leg_timeout=20,leg_progress_timeout=20,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.12:5062;transport=tcp,"
            "[leg_timeout=20,leg_progress_timeout=20,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1002,fsroute_shown=11]sofia/internal/sip:1002@[2001:db8::2]:5060,"
            "[leg_timeout=20,leg_progress_timeout=20,fsroute_account=acme,fsroute_user=workshop,fsroute_endpoint=1003,fsroute_shown=12]sofia/internal/sip:1003@192.0.2.13:5060;fs_path=sip%3A192.0.2.1%3Blr,"
            "[leg_timeout=20,leg_progress_timeout=20,sip_h_X-FSRoute-Hops=1,"
            f"{forwarded_by('+492214710100', 'unconditional')},"
            r"group_confirm_key=1,group_confirm_file=tone_stream://%(300\,200\,880\,1320),group_confirm_timeout=10]"
            "sofia/gateway/carrier/+491713920042"
        ),
    ),
    "100, afterwards: voicemail, nothing rings": (
        inbound("+492214710100"),
        failed("+492214710100", 1, Outcome.NO_ANSWER),
        "",
    ),
    "200: one after another": (
        inbound("+492214710200"),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=27}"
            "[leg_timeout=15,leg_progress_timeout=15,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.11:5060,"
            "[leg_timeout=15,leg_progress_timeout=15,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.12:5062;transport=tcp,"
            "[leg_timeout=15,leg_progress_timeout=15,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1002,fsroute_shown=11]sofia/internal/sip:1002@[2001:db8::2]:5060|"
            "[leg_timeout=10,leg_progress_timeout=10,fsroute_account=acme,fsroute_user=workshop,fsroute_endpoint=1003,fsroute_shown=12]sofia/internal/sip:1003@192.0.2.13:5060;fs_path=sip%3A192.0.2.1%3Blr|"
            "[leg_timeout=25,leg_progress_timeout=25,sip_h_X-FSRoute-Hops=1,"
            f"{forwarded_by('+492214710200', 'unconditional')}]"
            "sofia/gateway/carrier/+491713920042"
        ),
    ),
    "300: a ring group": (
        inbound("+492214710300"),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=27}"
            "[leg_timeout=25,leg_progress_timeout=25,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.11:5060,"
            "[leg_timeout=25,leg_progress_timeout=25,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.12:5062;transport=tcp,"
            "[leg_timeout=25,leg_progress_timeout=25,fsroute_account=acme,fsroute_user=workshop,fsroute_endpoint=1003,fsroute_shown=12]sofia/internal/sip:1003@192.0.2.13:5060;fs_path=sip%3A192.0.2.1%3Blr,"
            "[leg_timeout=25,leg_progress_timeout=25,fsroute_account=acme,fsroute_user=office,fsroute_endpoint=1004,fsroute_shown=13]sofia/internal/sip:1004@192.0.2.14:5060"
        ),
    ),
    "300, nobody answered": (
        inbound("+492214710300"),
        failed("+492214710300", 1, Outcome.NO_ANSWER),
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=22}"
            "[leg_timeout=20,leg_progress_timeout=20,sip_h_X-FSRoute-Hops=1,"
            f"{forwarded_by('+492214710300', 'no-answer')}]"
            "sofia/gateway/carrier/+491713920043"
        ),
    ),
    "300, everybody busy": (
        inbound("+492214710300"),
        failed("+492214710300", 1, Outcome.BUSY),
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=22}"
            "[leg_timeout=20,leg_progress_timeout=20,fsroute_account=acme,fsroute_user=office,fsroute_endpoint=1004,fsroute_shown=13]sofia/internal/sip:1004@192.0.2.14:5060"
        ),
    ),
    "400, in office hours, an anonymous caller": (
        inbound("+492214710400", anonymous=True),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=27}"
            "[leg_timeout=25,leg_progress_timeout=25,"
            "origination_caller_id_number=anonymous,origination_caller_id_name=Anonymous,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.11:5060,"
            "[leg_timeout=25,leg_progress_timeout=25,"
            "origination_caller_id_number=anonymous,origination_caller_id_name=Anonymous,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.12:5062;transport=tcp,"
            "[leg_timeout=25,leg_progress_timeout=25,"
            "origination_caller_id_number=anonymous,origination_caller_id_name=Anonymous,fsroute_account=acme,fsroute_user=workshop,fsroute_endpoint=1003,fsroute_shown=12]sofia/internal/sip:1003@192.0.2.13:5060;fs_path=sip%3A192.0.2.1%3Blr,"
            "[leg_timeout=25,leg_progress_timeout=25,"
            "origination_caller_id_number=anonymous,origination_caller_id_name=Anonymous,fsroute_account=acme,fsroute_user=office,fsroute_endpoint=1004,fsroute_shown=13]sofia/internal/sip:1004@192.0.2.14:5060"
        ),
    ),
    "500": (
        inbound("+492214710500"),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=27}"
            "[leg_timeout=25,leg_progress_timeout=25,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.11:5060,"
            "[leg_timeout=25,leg_progress_timeout=25,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1001,fsroute_shown=11]sofia/internal/sip:1001@192.0.2.12:5062;transport=tcp,"
            "[leg_timeout=25,leg_progress_timeout=25,fsroute_account=acme,fsroute_user=reception,fsroute_endpoint=1002,fsroute_shown=11]sofia/internal/sip:1002@[2001:db8::2]:5060"
        ),
    ),
    "500, an anonymous caller: nothing rings": (inbound("+492214710500", anonymous=True), None, ""),
    "extension 12": (
        outgoing_call("12"),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=27}"
            "[leg_timeout=25,leg_progress_timeout=25,"
            "origination_caller_id_number=11,fsroute_account=acme,fsroute_user=workshop,fsroute_endpoint=1003,fsroute_shown=12]sofia/internal/sip:1003@192.0.2.13:5060;fs_path=sip%3A192.0.2.1%3Blr"
        ),
    ),
    "a mobile, called from inside": (
        outgoing_call("0171 3920042"),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=122}"
            "[leg_timeout=120,leg_progress_timeout=120,sip_h_X-FSRoute-Hops=1,"
            f"{shown('+498999998123')}]"
            "sofia/gateway/carrier/+491713920042"
        ),
    ),
    "112": (
        outgoing_call("112"),
        None,
        (
            "{ignore_early_media=true,originate_continue_on_timeout=true,originate_timeout=122}"
            "[leg_timeout=120,leg_progress_timeout=120,sip_h_X-FSRoute-Hops=1,"
            f"{shown('+492214710100')}]"
            "sofia/gateway/carrier/112"
        ),
    ),
}


@pytest.mark.parametrize(("call", "after", "expected"), BRIDGES.values(), ids=BRIDGES.keys())
def test_the_demo_s_calls_are_these_strings(demo: Store, call: Call, after: FailedPlan | None, expected: str) -> None:
    decision = contacts.resolve(route(call, demo.routing(call), MONDAY_NOON, after), PHONES)
    assert dialstring.bridge(decision.plan, CONFIRMATION) == expected


# --- refusals ---------------------------------------------------------------------------------------------

OWN = builders.shown(LINE, CallerIdCode.OWN_NUMBER)
PHONE = phone_leg(caller_id=RECEIVED, ring_s=20)
CONTACT = contact_leg("sip:1001@192.0.2.11:5060", caller_id=RECEIVED)
BY_TRUNK = trunk_leg(caller_id=OWN, ring_s=20)


def phone(user: str = "1001", domain: str = "acme.example", shown: CallerId = RECEIVED) -> Leg:
    return replace(PHONE, dial=EndpointDial(user, domain), caller_id=shown)


def contact(address: str = "sip:1001@192.0.2.11:5060", profile: str = "internal", shown: CallerId = RECEIVED) -> Leg:
    return replace(PHONE, dial=ContactDial(profile, address), caller_id=shown)


def mobile(gateway: str = "carrier", number: str = MOBILE, shown: CallerId = OWN, domain: str = "carrier.example") -> Leg:
    return replace(BY_TRUNK, dial=TrunkDial(replace(CARRIER, gateway=gateway, domain=domain), number), caller_id=shown)


def line(presented: str | None, network: str | None) -> CallerId:
    return CallerId(presented, network, CallerIdCode.OWN_NUMBER)


REFUSED: dict[str, tuple[Leg, str]] = {
    "a name with a blank": (phone("10 01"), "endpoint 1001: name: '10 01' does not fit into a dial string"),
    "a name with a line end": (phone("1001\n"), r"endpoint 1001: name: '1001\n' does not fit into a dial string"),
    "a name with umlauts": (phone("büro"), "endpoint 1001: name: 'büro' does not fit into a dial string"),
    "no name": (phone(""), "endpoint 1001: name: '' does not fit into a dial string"),
    "a domain with capitals": (
        phone(domain="Acme.example"),
        "endpoint 1001: domain: 'Acme.example' does not fit into a dial string",
    ),
    "a domain that is a list": (
        phone(domain="a,b"),
        "endpoint 1001: domain: 'a,b' does not fit into a dial string",
    ),
    "a contact that adds a leg": (
        contact("sip:1001@192.0.2.11;x=a,sofia/gateway/carrier/1900"),
        ("endpoint 1001: contact: 'sip:1001@192.0.2.11;x=a,sofia/gateway/carrier/1900' does not fit into a dial string"),
    ),
    "a contact with a variable": (
        contact("sip:1001@192.0.2.11;x=${system(x)}"),
        "endpoint 1001: contact: 'sip:1001@192.0.2.11;x=${system(x)}' does not fit into a dial string",
    ),
    "a contact with an open bracket": (
        contact("sip:1001@[2001:db8::2"),
        "endpoint 1001: contact: 'sip:1001@[2001:db8::2' does not fit into a dial string",
    ),
    "a contact that makes another kind of string of it": (
        contact("sip:1001@h;x=:_:"),
        "endpoint 1001: contact: 'sip:1001@h;x=:_:' does not fit into a dial string",
    ),
    "a contact that is no SIP address": (
        contact("error/user_not_registered"),
        "endpoint 1001: contact: 'error/user_not_registered' does not fit into a dial string",
    ),
    "a profile with a slash": (
        contact(profile="gateway/carrier"),
        "endpoint 1001: profile: 'gateway/carrier' does not fit into a dial string",
    ),
    "a presented number that is a command": (
        phone(shown=line("${system(x)}", None)),
        "endpoint 1001: presented number: '${system(x)}' does not fit into a dial string",
    ),
    "a gateway with a slash": (
        mobile("a/b"),
        "external +491713920042: gateway: 'a/b' does not fit into a dial string",
    ),
    "a number with letters": (
        mobile(number="+49171x"),
        "external +491713920042: number: '+49171x' does not fit into a dial string",
    ),
    "a number with full-width digits": (
        mobile(number="\uff11\uff12"),
        "external +491713920042: number: '\uff11\uff12' does not fit into a dial string",
    ),
    "a number that is too long": (
        mobile(number="1" * 33),
        f"external +491713920042: number: '{'1' * 33}' does not fit into a dial string",
    ),
    "a presented number with a comma": (
        mobile(shown=line("+49,x=1", "+49,x=1")),
        "external +491713920042: presented number: '+49,x=1' does not fit into a dial string",
    ),
    "a network number with a bracket": (
        mobile(shown=line("+492214710100", "+49]")),
        "external +491713920042: network number: '+49]' does not fit into a dial string",
    ),
    "a carrier that would be given no network number": (
        mobile(shown=line("+492214710100", None)),
        "external +491713920042: network number: '' does not fit into a dial string",
    ),
    "a carrier that would be given no number at all": (
        mobile(shown=line(None, None)),
        "external +491713920042: network number: '' does not fit into a dial string",
    ),
    "a carrier whose domain adds a header": (
        mobile(domain="carrier.example;x"),
        "external +491713920042: trunk domain: 'carrier.example;x' does not fit into a dial string",
    ),
    "a diverting number that is none": (
        replace(BY_TRUNK, diversion=Diversion("${x}", "no-answer")),
        (
            "external +491713920042: sip_h_Diversion: "
            "'sip_h_Diversion=<sip:${x}@carrier.example>;reason=no-answer;counter=1' "
            "does not fit into a dial string"
        ),
    ),
    "a phone that is asked for a key": (
        replace(CONTACT, confirm=True),
        "endpoint 1001: confirm: only external numbers can need a key press",
    ),
    "no time to ring": (
        replace(PHONE, ring_s=0),
        "endpoint 1001: ring_s 0, start_s 0: at least 1 and 0 are needed",
    ),
    "a start in the past": (
        replace(BY_TRUNK, start_s=-1),
        "external +491713920042: ring_s 20, start_s -1: at least 1 and 0 are needed",
    ),
}


@pytest.mark.parametrize(("leg", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_with_leg_and_field(leg: Leg, message: str) -> None:
    with pytest.raises(DialStringError) as refused:
        dialstring.bridge(Plan(((PHONE, leg),)), CONFIRMATION)
    assert str(refused.value) == message


CONFIRMATIONS: dict[str, tuple[tuple[str, str], str]] = {
    "a key that is none": (("exec", "a"), "confirm key: 'exec' does not fit into a dial string"),
    "no key": (("", "a"), "confirm key: '' does not fit into a dial string"),
    "a prompt with a quote": (("1", "a'b"), 'confirm prompt: "a\'b" does not fit into a dial string'),
    "a prompt with a bracket": (("1", "a]b"), "confirm prompt: 'a]b' does not fit into a dial string"),
    "a prompt with a variable": (("1", "${x}"), "confirm prompt: '${x}' does not fit into a dial string"),
    "a prompt that makes another kind of string of it": (
        ("1", "a:_:b"),
        "confirm prompt: 'a:_:b' does not fit into a dial string",
    ),
}


@pytest.mark.parametrize(("key_and_prompt", "message"), CONFIRMATIONS.values(), ids=CONFIRMATIONS.keys())
def test_a_confirmation_that_does_not_fit_is_refused(key_and_prompt: tuple[str, str], message: str) -> None:
    with pytest.raises(DialStringError) as refused:
        Confirmation(*key_and_prompt)
    assert str(refused.value) == message


def _crowd(count: int) -> Stage:
    return tuple(phone(f"{i}") for i in range(1000, 1000 + count))


LIMITS: dict[str, tuple[Plan, str]] = {
    "129 legs": (Plan((_crowd(129),)), "129 legs together: FreeSWITCH rings 1 to 128"),
    "129 stages": (Plan(((PHONE,),) * 129), "129 stages: FreeSWITCH rings 128"),
    "a stage without legs": (Plan(((PHONE,), ())), "0 legs together: FreeSWITCH rings 1 to 128"),
}


@pytest.mark.parametrize(("plan", "message"), LIMITS.values(), ids=LIMITS.keys())
def test_what_freeswitch_would_not_ring_is_refused(plan: Plan, message: str) -> None:
    with pytest.raises(DialStringError) as refused:
        dialstring.bridge(plan, CONFIRMATION)
    assert str(refused.value) == message


def test_a_plan_without_stages_is_no_string() -> None:
    assert dialstring.bridge(Plan(final=Hangup("USER_BUSY")), CONFIRMATION) == ""


@pytest.mark.parametrize(
    ("leg", "expected"),
    [
        (PHONE, "user/1001@acme.example"),
        (CONTACT, "sofia/internal/sip:1001@192.0.2.11:5060"),
        (BY_TRUNK, "sofia/gateway/carrier/+491713920042"),
    ],
)
def test_what_a_leg_dials_can_be_said_alone(leg: Leg, expected: str) -> None:
    assert dialstring.dial(leg) == expected


# --- read back --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rings:
    """What FreeSWITCH has to know of a leg; what else a leg holds is for people."""

    dial: str
    start_s: int
    ring_s: int
    progress_s: int
    shown: dict[str, str]
    confirmation: Confirmation | None


def meant(plan: Plan, confirmation: Confirmation) -> list[list[Rings]]:
    return [
        [
            Rings(
                _dialled(leg),
                leg.start_s,
                leg.ring_s,
                leg.progress_s or leg.ring_s,
                _shown(leg),
                confirmation if leg.confirm else None,
            )
            for leg in stage
        ]
        for stage in plan.stages
    ]


def _dialled(leg: Leg) -> str:
    match leg.dial:
        case EndpointDial(user, domain):
            return f"user/{user}@{domain}"
        case ContactDial(profile, address):
            return f"sofia/{profile}/{address}"
        case TrunkDial(trunk, number):
            return f"sofia/gateway/{trunk.gateway}/{written(number, trunk.number_format, trunk.country)}"


def _shown(leg: Leg) -> dict[str, str]:
    """Who calls, as variables. What a carrier makes of them is test_identity.py's."""
    caller_id = leg.caller_id
    if isinstance(leg.dial, TrunkDial):
        hops = {"sip_h_X-FSRoute-Hops": str(leg.hops)}
        if caller_id.as_received:
            return hops | dict(variable.split("=", 1) for variable in identity.UNKNOWN_LINE)
        made = identity.headers(caller_id, leg.dial.trunk, leg.diversion, leg.dial.number)
        return hops | dict(variable.split("=", 1) for variable in identity.variables(made))
    if caller_id.as_received:
        return {}
    if caller_id.presented is None:
        return {"origination_caller_id_number": "anonymous", "origination_caller_id_name": "Anonymous"}
    return {"origination_caller_id_number": caller_id.presented}


def understood(text: str) -> tuple[dict[str, str], list[list[Rings]]]:
    """What FreeSWITCH makes of a bridge argument: the variables for all, and the legs. Knows no variable but ours."""
    (part,) = parts(text)
    return part


def parts(text: str) -> list[tuple[dict[str, str], list[list[Rings]]]]:
    """The same of each part of an enterprise string, or of the only one of another."""
    parsed = dialstring_reader.parse(dialstring_reader.expand(text, _no_variable, _no_command))
    found = []
    for part in parsed.enterprise or [parsed]:
        assert isinstance(part, dialstring_reader.Parsed)
        found.append((part.variables, [[_leg(leg) for leg in group] for group in part.groups]))
    return found


def _no_variable(name: str) -> str:
    raise AssertionError(f"a channel variable was asked for: {name}")


def _no_command(name: str, args: str) -> str:
    raise AssertionError(f"a command was run: {name} {args}")


def _leg(leg: ParsedLeg) -> Rings:
    assert not leg.error
    variables = dict(leg.variables)
    ring_s = variables.pop("leg_timeout")
    progress_s = variables.pop("leg_progress_timeout")
    start_s = variables.pop("leg_delay_start", "0")
    confirmation = None
    if "group_confirm_key" in variables:
        confirmation = Confirmation(
            variables.pop("group_confirm_key"),
            variables.pop("group_confirm_file"),
            int(variables.pop("group_confirm_timeout")),
        )
    return Rings(leg.endpoint, int(start_s), int(ring_s), int(progress_s), variables, confirmation)


ITS_CALL = Call("+492214710100", uuid="0b6a4d7e-6c0a-4f53-9d5e-1c4c5f1f0b11", forwards=69)
ITS_OWN = {"signal_bond": ITS_CALL.uuid, "max_forwards": "68"}
MARK = f"uuid_setvar {ITS_CALL.uuid} fsroute_rang true"
MARKS = {"api_on_ring": MARK, "api_on_media": MARK}
GOES_ON = {"fail_on_single_reject": f"!{':'.join(sorted(TRUNK_FAILURES))}"}


def _same(plan: Plan, confirmation: Confirmation) -> None:
    """What FreeSWITCH understands is the plan, round by round, with limits that are above every leg's own."""
    texts = [dialstring.of_call(text, ITS_CALL) for text in dialstring.bridges(plan, confirmation)]
    assert dialstring.of_call(dialstring.bridge(plan, confirmation), ITS_CALL) == texts[0]
    rounds = [(parts(text), stages) for text, stages in zip(texts, plan_rounds(plan), strict=True)]
    assert [stage for _, stages in rounds for stage in stages] == list(plan.stages)
    for found, stages in rounds:
        assert found == _meant(stages, confirmation)


def _meant(stages: Sequence[Stage], confirmation: Confirmation) -> list[tuple[dict[str, str], list[list[Rings]]]]:
    """A round as its parts should be."""
    (first, *_) = stages
    if not any(leg.fallbacks for leg in first):
        return [_list(stages, confirmation)]
    assert len(stages) == 1
    if len(first) == 1:
        tried = [(leg,) for leg in attempts(first[0])]
        return [_list(tried, confirmation, **(GOES_ON if len(tried) > 1 else {}))]
    alone = [
        _part([(tried,) for tried in attempts(leg)], confirmation, **ITS_OWN, **GOES_ON) for leg in first if leg.fallbacks
    ]
    beside = tuple(leg for leg in first if not leg.fallbacks)
    return alone + ([_part([beside], confirmation, **ITS_OWN)] if beside else [])


def _part(stages: Sequence[Stage], confirmation: Confirmation, **variables: str) -> tuple[dict[str, str], list[list[Rings]]]:
    """Its legs start as late as in the plan: the first of them with the part, the others later."""
    start_s = min(leg.start_s for stage in stages for leg in stage)
    delay = {"originate_delay_start": str(start_s * 1000)} if start_s else {}
    legs = [tuple(replace(leg, start_s=leg.start_s - start_s) for leg in stage) for stage in stages]
    for_all, groups = _list(legs, confirmation, **variables, **delay)
    return for_all, [[replace(rings, shown=MARKS | rings.shown) for rings in group] for group in groups]


def _list(stages: Sequence[Stage], confirmation: Confirmation, **variables: str) -> tuple[dict[str, str], list[list[Rings]]]:
    last = max(leg.end_s + (confirmation.seconds if leg.confirm else 0) for stage in stages for leg in stage)
    for_all = {
        "ignore_early_media": "true",
        "originate_continue_on_timeout": "true",
        "originate_timeout": str(last + 2),
    }
    return for_all | variables, meant(Plan(tuple(stages)), confirmation)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_names = st.text(_LETTERS, min_size=1, max_size=64)
_domains = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=64)
_numbers = st.from_regex(r"\+?[0-9*#]{1,32}", fullmatch=True, alphabet="+0123456789*#")
_inside = st.one_of(
    st.just(RECEIVED),
    st.just(HIDDEN_CALLER),
    st.builds(CallerId, _numbers, st.none(), st.just("internal_extension")),
)
_outside = st.one_of(
    st.builds(CallerId, st.none() | _numbers, _numbers, st.just("verified_number")),
    st.just(CallerId(None, None, CallerIdCode.EMERGENCY, as_received=True)),
)
_seconds = st.integers(1, 3600)
_countries = st.sampled_from(["DE", "US", "IT"])
_formats = st.sampled_from(NumberFormat)
_reasons = st.sampled_from(["unconditional", "user-busy", "no-answer", "unavailable"])
_contacts = st.one_of(
    st.from_regex(r"sips?:[A-Za-z0-9_.!~*+&@;=%-]{0,40}", fullmatch=True),
    st.from_regex(r"sip:[a-z0-9]{1,8}@\[[0-9a-f:]{2,20}\](:5060)?(;[a-z=]{1,20})?", fullmatch=True),
    st.just("sip:1001@192.0.2.11:5060;transport=tcp;fs_path=sip%3A192.0.2.1%3Blr"),
)


def _legs(
    names: st.SearchStrategy[str] = _names,
    domains: st.SearchStrategy[str] = _domains,
    numbers: st.SearchStrategy[str] = _numbers,
    addresses: st.SearchStrategy[str] = _contacts,
) -> st.SearchStrategy[Leg]:
    inside = _inside | st.builds(CallerId, numbers, st.none(), st.just("test"))
    outside = _outside | st.builds(CallerId, st.none() | numbers, numbers, st.just("test"))
    phones = st.builds(EndpointDial, names, domains) | st.builds(ContactDial, names, addresses)
    trunks = st.builds(TrunkDial, st.builds(Trunk, names, names, _countries, domains, IDENTITY_PROFILES, _formats), numbers)
    diversions = st.none() | st.builds(Diversion, numbers, _reasons, st.integers(1, 99))
    starts = st.integers(0, 3600)
    through_trunks = st.builds(
        Leg, st.just("trunk"), trunks, outside, starts, _seconds, st.booleans(), st.integers(0, 99), diversions
    )
    with_fallbacks = st.builds(
        lambda leg, others: replace(leg, fallbacks=tuple(others)),
        through_trunks,
        st.lists(through_trunks, min_size=1, max_size=2),
    )
    return st.builds(Leg, st.just("phone"), phones, inside, starts, _seconds) | through_trunks | with_fallbacks


def _plans(legs: st.SearchStrategy[Leg]) -> st.SearchStrategy[Plan]:
    stages = st.lists(st.lists(legs, min_size=1, max_size=4).map(tuple), min_size=1, max_size=3)
    return stages.map(lambda found: Plan(tuple(found)))


_confirmations = st.builds(
    Confirmation,
    st.text("0123456789*#", min_size=1, max_size=9),
    st.text(_LETTERS + "/:;%=,()", min_size=1, max_size=40).filter(lambda prompt: ":_:" not in prompt),
    st.integers(1, 60),
)


@given(_plans(_legs()), _confirmations)
def test_freeswitch_understands_every_plan_as_it_is_meant(plan: Plan, confirmation: Confirmation) -> None:
    _same(plan, confirmation)


def test_freeswitch_understands_the_largest_plan() -> None:
    mixed = (*_crowd(127), BY_TRUNK)
    _same(Plan((mixed,) * 128), CONFIRMATION)


SECOND = mobile("second", domain="second.example")
G = "ignore_early_media=true,originate_continue_on_timeout=true"
FAILS = (
    "fail_on_single_reject=!DESTINATION_OUT_OF_ORDER:GATEWAY_DOWN:NETWORK_OUT_OF_ORDER:NORMAL_CIRCUIT_CONGESTION"
    ":NORMAL_TEMPORARY_FAILURE:PROGRESS_TIMEOUT:RECOVERY_ON_TIMER_EXPIRE:REQUESTED_CHAN_UNAVAIL:SERVICE_UNAVAILABLE"
    ":SWITCH_CONGESTION"
)
PART = "signal_bond=$UUID,max_forwards=$FORWARDS"
MARKED = "api_on_ring=uuid_setvar $UUID fsroute_rang true,api_on_media=uuid_setvar $UUID fsroute_rang true"


def _via(domain: str) -> str:
    return f"sip_h_X-FSRoute-Hops=1,{shown('+492214710100').replace('carrier.example', domain)}"


ROUNDS: dict[str, tuple[Plan, list[str]]] = {
    "alone: the next trunk is the next group": (
        Plan(((replace(BY_TRUNK, fallbacks=(SECOND,)),),)),
        [
            (
                f"{{{G},originate_timeout=22,{FAILS}}}"
                f"[leg_timeout=20,leg_progress_timeout=6,{_via('carrier.example')}]sofia/gateway/carrier/+491713920042"
                f"|[leg_timeout=14,leg_progress_timeout=14,{_via('second.example')}]sofia/gateway/second/+491713920042"
            )
        ],
    ),
    "beside a phone: parts at the same time, the phone's last": (
        Plan(((CONTACT, replace(BY_TRUNK, start_s=3, ring_s=10, fallbacks=(SECOND,))),)),
        [
            (
                f"{{{G},originate_timeout=12,{PART},{FAILS},originate_delay_start=3000}}"
                f"[leg_timeout=10,leg_progress_timeout=5,{MARKED},{_via('carrier.example')}]"
                "sofia/gateway/carrier/+491713920042"
                f"|[leg_timeout=5,leg_progress_timeout=5,{MARKED},{_via('second.example')}]"
                "sofia/gateway/second/+491713920042"
                f":_:{{{G},originate_timeout=22,{PART}}}"
                f"[leg_timeout=20,leg_progress_timeout=20,{MARKED}]sofia/internal/sip:1001@192.0.2.11:5060"
            )
        ],
    ),
    "stages around it are strings of their own": (
        Plan(((CONTACT,), (CONTACT,), (replace(BY_TRUNK, ring_s=2, fallbacks=(SECOND,)),), (CONTACT,))),
        [
            (
                f"{{{G},originate_timeout=22}}"
                "[leg_timeout=20,leg_progress_timeout=20]sofia/internal/sip:1001@192.0.2.11:5060"
                "|[leg_timeout=20,leg_progress_timeout=20]sofia/internal/sip:1001@192.0.2.11:5060"
            ),
            (
                f"{{{G},originate_timeout=4,{FAILS}}}"
                f"[leg_timeout=2,leg_progress_timeout=1,{_via('carrier.example')}]sofia/gateway/carrier/+491713920042"
                f"|[leg_timeout=1,leg_progress_timeout=1,{_via('second.example')}]sofia/gateway/second/+491713920042"
            ),
            f"{{{G},originate_timeout=22}}[leg_timeout=20,leg_progress_timeout=20]sofia/internal/sip:1001@192.0.2.11:5060",
        ],
    ),
    "no time for a second trunk": (
        Plan(((replace(BY_TRUNK, ring_s=1, fallbacks=(SECOND,)),),)),
        [
            (
                f"{{{G},originate_timeout=3}}"
                f"[leg_timeout=1,leg_progress_timeout=1,{_via('carrier.example')}]sofia/gateway/carrier/+491713920042"
            )
        ],
    ),
}


@pytest.mark.parametrize(("plan", "expected"), ROUNDS.values(), ids=ROUNDS.keys())
def test_a_leg_with_several_trunks_makes_rounds(plan: Plan, expected: list[str]) -> None:
    assert list(dialstring.bridges(plan, CONFIRMATION)) == expected
    assert dialstring.bridge(plan, CONFIRMATION) == expected[0]


def test_what_is_the_call_s_own_is_put_in_last() -> None:
    text = dialstring.bridge(Plan(((CONTACT, replace(BY_TRUNK, fallbacks=(SECOND,))),)), CONFIRMATION)
    own = dialstring.of_call(text, ITS_CALL)
    assert own == text.replace("$UUID", ITS_CALL.uuid).replace("$FORWARDS", "68")
    assert dialstring.of_call(text, replace(ITS_CALL, forwards=0)) == own.replace("max_forwards=68", "max_forwards=0")
    with pytest.raises(DialStringError, match="uuid: 'a,b' does not fit"):
        dialstring.of_call(text, replace(ITS_CALL, uuid="a,b"))
    plain = dialstring.bridge(Plan(((CONTACT, BY_TRUNK),)), CONFIRMATION)
    assert dialstring.of_call(plain, Call("")) is plain


def test_the_caller_hears_one_leg_only() -> None:
    plan = Plan(((BY_TRUNK,),))
    heard = dialstring.bridge(plan, CONFIRMATION, early_media=True)
    assert heard == dialstring.bridge(plan, CONFIRMATION).replace("ignore_early_media=true", "ignore_early_media=false")
    for stages in (((BY_TRUNK, CONTACT),), ((BY_TRUNK,), (SECOND,))):
        with pytest.raises(DialStringError, match="early media of more than one leg"):
            dialstring.bridge(Plan(stages), CONFIRMATION, early_media=True)


_PIECES = [
    *"',\"|[]{}<>\\/@=:^$%()* \n\r\t\0\x01\x02",
    "${system(touch x)}",
    "$${domain}",
    "%0Avariable_x: y",
    ":_:",
    "^^:",
    "\\n",
    "]user/1002,[a=1",
    ",origination_nested_vars=true",
    "|error/user_busy",
    "acme.example",
    "1001",
    "+492214710100",
    "anonymous",
    "as received",
    "ä",
    "\U0001f600",
    "\u2028",
    "\uff11",
]
_hostile = st.lists(st.sampled_from(_PIECES), max_size=4).map("".join) | st.text(max_size=8)


_addresses = _hostile | _contacts | st.tuples(_contacts, _hostile).map("".join)


@settings(max_examples=300)
@given(_plans(_legs(_hostile | _names, _hostile | _domains, _hostile | _numbers, _addresses)))
def test_hostile_text_is_refused_or_understood_as_it_is(plan: Plan) -> None:
    try:
        dialstring.bridges(plan, CONFIRMATION)
    except DialStringError:
        return
    _same(plan, CONFIRMATION)


@pytest.mark.parametrize("piece", _PIECES)
@pytest.mark.parametrize(
    "place",
    [
        lambda text: phone(user=f"10{text}01"),
        lambda text: phone(domain=f"acme{text}example"),
        lambda text: contact(f"sip:1001@192.0.2.11{text}5060"),
        lambda text: contact(profile=f"internal{text}1"),
        lambda text: contact(shown=line(f"+49{text}1", None)),
        lambda text: mobile(gateway=f"carrier{text}1"),
        lambda text: mobile(number=f"+49{text}1"),
        lambda text: mobile(domain=f"carrier{text}example"),
        lambda text: mobile(shown=line(None, f"+49{text}1")),
        lambda text: replace(BY_TRUNK, diversion=Diversion(f"+49{text}1", "no-answer")),
        lambda text: mobile(shown=line(f"+49{text}1", f"+49{text}1")),
    ],
    ids=[
        "name",
        "domain",
        "contact",
        "profile",
        "shown inside",
        "gateway",
        "number",
        "trunk domain",
        "network number",
        "diversion",
        "shown outside",
    ],
)
def test_no_piece_of_grammar_in_any_field_changes_another_leg(piece: str, place: Callable[[str], Leg]) -> None:
    plan = Plan(((CONTACT, place(piece)), (BY_TRUNK,)))
    try:
        dialstring.bridges(plan, CONFIRMATION)
    except DialStringError:
        return
    _same(plan, CONFIRMATION)


@given(_hostile, _hostile)
def test_a_hostile_confirmation_is_refused_or_understood_as_it_is(key: str, prompt: str) -> None:
    try:
        confirmation = Confirmation(key, prompt)
    except DialStringError:
        return
    _same(Plan(((CONTACT, replace(BY_TRUNK, confirm=True)),)), confirmation)


def test_a_plan_is_written_once_for_each_way_to_confirm() -> None:
    plan = Plan(((replace(BY_TRUNK, confirm=True),),))
    one, two = (dialstring.bridge(plan, Confirmation(key)) for key in ("1", "2"))
    assert one.replace("group_confirm_key=1", "group_confirm_key=2") == two != one
    again = dialstring.bridge(plan, Confirmation("1"))
    assert again == one
    assert dialstring.bridge(plan, Confirmation("1")) is again
