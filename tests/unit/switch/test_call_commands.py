"""A decision as the commands that fsroute sends to FreeSWITCH."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsroute.callerid import policy
from fsroute.codes import CallerIdCode, ReasonCode
from fsroute.errors import DialStringError
from fsroute.eventsocket.frames import Command, End, Execute
from fsroute.model import (
    Call,
    CallerId,
    Decision,
    Direction,
    EndpointDial,
    Identity,
    IdentityHeader,
    Outcome,
    Plan,
    Rule,
)
from fsroute.simulator import dialstring_reader
from fsroute.switch import call_commands, outcome
from fsroute.switch.call_commands import commands_for
from fsroute.switch.channel_state import MediaState, progress_of
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Announcement, Hangup, Voicemail
from tests.support.builders import HIDDEN_CALLER, LINE, RECEIVED, contact_leg, shown, trunk_leg
from tests.support.snapshots import after_bridge, failed_plan

SHOWS_LINE = shown(LINE, CallerIdCode.NETWORK_NUMBER)
PAI = IdentityHeader.PAI
NUMBER_UNREADABLE = replace(RECEIVED, presented=None)
"""The caller ID of a call whose caller number fsroute cannot read."""
CONFIRMATION = Confirmation()


# --- what FreeSWITCH is sent ------------------------------------------------------------------------------


def sent(decision: Decision, call: Call | None = None) -> list[Command]:
    return commands_for(call or Call("0171 3920042", "1001"), decision, CONFIRMATION)


def bridged(command: Command) -> tuple[str, list[list[str]]]:
    """What a bridge rings, read as FreeSWITCH does: ignore_early_media, and the endpoints of each group."""
    assert isinstance(command, Execute)
    assert command.application == "bridge"
    parsed = dialstring_reader.parse(command.argument)
    return parsed.variables["ignore_early_media"], [[leg.endpoint for leg in group] for group in parsed.groups]


def variables(step: str, code: str, caller_id: str, number: str = "none", rule: str = "none", more: str = "") -> Execute:
    after_bridge = "" if step == "done" else "|hangup_after_bridge=true"
    return Execute(
        "multiset",
        (
            f"^^|fsroute_step={step}|fsroute_plan=1|fsroute_code={code}|fsroute_number={number}|fsroute_rule={rule}"
            f"|fsroute_caller_id={caller_id}{more}|fsroute_contacts=read{after_bridge}"
        ),
    )


def refused(code: str) -> Decision:
    return Decision(
        None,
        "acme",
        None,
        Plan(final=Hangup("CALL_REJECTED")),
        CallerId(None, None, CallerIdCode[code.upper()]),
        CallerIdCode[code.upper()],
        (),
    )


@pytest.mark.parametrize("code", sorted(policy.REFUSALS))
def test_a_call_that_may_not_show_its_number_ends_with_the_reason_in_a_header(code: str) -> None:
    assert sent(refused(code)) == [
        variables("done", code, code),
        Execute("set", f"sip_rh_X-FSRoute-Reason={code}"),
        End("CALL_REJECTED"),
    ]


ENDS: dict[str, tuple[Decision, list[Command]]] = {
    "a cause": (
        Decision(None, "acme", None, Plan(final=Hangup("USER_BUSY")), SHOWS_LINE, ReasonCode.CALL_FAILED, ()),
        [variables("done", "call_failed", "network_number"), End("USER_BUSY")],
    ),
    "an announcement": (
        Decision(None, "acme", None, Plan(final=Announcement("a.wav")), RECEIVED, ReasonCode.ROUTED, ()),
        [
            variables("done", "routed", "caller_received"),
            Execute("answer"),
            Execute("sleep", "500"),
            Execute("playback", "a.wav"),
        ],
    ),
    "a voicemail": (
        Decision(
            None, "acme", None, Plan(final=Voicemail("1001", "acme.example")), NUMBER_UNREADABLE, ReasonCode.ROUTED, ()
        ),
        [
            variables("done", "routed", "caller_received"),
            Execute("answer"),
            Execute("sleep", "500"),
            Execute("voicemail", "default acme.example 1001"),
        ],
    ),
}


@pytest.mark.parametrize(("decision", "expected"), ENDS.values(), ids=ENDS.keys())
def test_every_other_end_has_no_such_header(decision: Decision, expected: list[Command]) -> None:
    assert sent(decision) == expected


ANSWER_LIMIT = "bridge_answer_timeout=120|continue_on_answer_timeout=true"
BY_TRUNK = trunk_leg(caller_id=SHOWS_LINE, ring_s=120)
BY_CARRIER = [["sofia/gateway/carrier/+491713920042"]]


def test_a_user_s_call_remembers_how_many_trunks_it_has_tried() -> None:
    decision = Decision(None, "acme", None, Plan(((BY_TRUNK,),)), SHOWS_LINE, ReasonCode.TRUNK, (), trunks=2)
    *before, bridge = sent(decision)
    assert before == [variables("direct/2", "trunk", "network_number", more=f"|{ANSWER_LIMIT}"), Execute("ring_ready")]
    assert bridged(bridge) == ("false", BY_CARRIER)


NAME, NUMBER = "caller_id_name", "caller_id_number"
AMERICAN = replace(RECEIVED, presented="+12025550123")
SEEN: dict[str, tuple[Call, CallerId, dict[str, str]]] = {
    "as FreeSWITCH has it": (Call("1", "+12025550123", "+12025550123"), AMERICAN, {}),
    "with a name": (Call("1", "+12025550123", "Ann"), AMERICAN, {}),
    "read from digits": (Call("1", "12025550123", "Ann"), AMERICAN, {NUMBER: "+12025550123"}),
    "without a name": (
        Call("1", "12025550123", "12025550123"),
        AMERICAN,
        {NAME: "+12025550123", NUMBER: "+12025550123"},
    ),
    "whose name is From's number": (
        Call("1", "+12025550123", LINE, from_user=LINE),
        AMERICAN,
        {NAME: "+12025550123"},
    ),
    "whose name is a line's number": (
        Call("1", LINE, LINE, from_user="+12025550123", identities=(Identity(PAI, LINE),)),
        AMERICAN,
        {NAME: "+12025550123", NUMBER: "+12025550123"},
    ),
    "with a harmful name": (Call("1", "12025550123", 'A"b'), AMERICAN, {NAME: "A b", NUMBER: "+12025550123"}),
    "hidden": (
        Call("1", "12025550123", "12025550123"),
        CallerId(None, None, CallerIdCode.CALLER_ANONYMOUS),
        {NAME: "anonymous", NUMBER: "anonymous"},
    ),
    "a user": (Call("1", "11", "11", Direction.OUTBOUND), RECEIVED, {}),
}


@pytest.mark.parametrize(("call", "caller_id", "expected"), SEEN.values(), ids=SEEN.keys())
def test_phones_see_the_number_that_was_read(call: Call, caller_id: CallerId, expected: dict[str, str]) -> None:
    phone = contact_leg(caller_id=caller_id)
    for plan in (Plan(((phone,),)), Plan(final=Voicemail("1001", "acme.example"))):
        given = sent(Decision(None, "acme", None, plan, caller_id, ReasonCode.ROUTED, ()), call)
        profile = [
            command.argument for command in given if isinstance(command, Execute) if command.application == "set_profile_var"
        ]
        assert profile == [f"{name}={text}" for name, text in expected.items()]


def test_who_has_heard_something_is_given_a_ringing_tone() -> None:
    decision = Decision(None, "acme", None, Plan(((BY_TRUNK,),)), SHOWS_LINE, ReasonCode.TRUNK, (), trunks=2)
    *before, bridge = commands_for(Call("0171 3920042", "1001"), decision, CONFIRMATION, media=MediaState.EARLY)
    more = f"|{ANSWER_LIMIT}|ringback=%(1000,4000,425)"
    assert before == [variables("direct/2", "trunk", "network_number", more=more), Execute("ring_ready")]
    assert bridged(bridge) == ("false", BY_CARRIER)


def test_who_was_answered_before_keeps_the_tone() -> None:
    decision = Decision(None, "acme", None, Plan(((BY_TRUNK,),)), SHOWS_LINE, ReasonCode.TRUNK, (), trunks=2)
    *before, bridge = commands_for(Call("0171 3920042", "1001"), decision, CONFIRMATION, media=MediaState.ANSWERED)
    assert before == [variables("direct/2", "trunk", "network_number"), Execute("ring_ready")]
    assert bridged(bridge) == ("true", BY_CARRIER)


SEVERAL = replace(BY_TRUNK, ring_s=20, fallbacks=(BY_TRUNK,))
DESK = contact_leg(caller_id=RECEIVED)
RULE = Rule("+492214710100", 3)


@pytest.mark.parametrize(
    ("plan", "rounds", "before", "step", "more"),
    [
        (Plan(((DESK,), (DESK,))), 0, None, "+492214710100/3", ""),
        (Plan(((SEVERAL,),)), 0, None, "+492214710100/3", ""),
        (Plan(((DESK,), (SEVERAL,))), 0, None, "+492214710100/3/1/-", ""),
        (Plan(((SEVERAL,), (DESK,))), 1, Outcome.BUSY, "+492214710100/3/2/busy", ""),
        (Plan(((DESK,),)), 2, Outcome.NO_ANSWER, "+492214710100/3/3/no_answer", ""),
        (
            Plan(((DESK, SEVERAL), (DESK,))),
            0,
            None,
            "+492214710100/3/1/-",
            "".join(f"|{name}={value}" for name, value in outcome.MARKS.items()),
        ),
    ],
    ids=["one round", "trunks of one leg", "the first of two", "the second", "the last", "marks"],
)
def test_a_plan_of_several_rounds_remembers_how_many_have_rung(
    plan: Plan, rounds: int, before: Outcome | None, step: str, more: str
) -> None:
    decision = Decision("+492214710100", "acme", RULE, plan, RECEIVED, ReasonCode.ROUTED, (), rounds=rounds, before=before)
    call = Call("+492214710100", uuid="0b6a4d7e-6c0a-4f53-9d5e-1c4c5f1f0b11", forwards=3)
    commands = commands_for(call, decision, CONFIRMATION)
    number = "+492214710100"
    more = f"|fsroute_called_account=acme{more}"
    assert commands[0] == variables(step, "routed", "caller_received", number, f"{number}/3", more)
    bridge = commands[-1]
    assert isinstance(bridge, Execute)
    assert ("max_forwards=2" in bridge.argument) is ("fsroute_rang" in more)
    assert "$" not in bridge.argument
    for cause, now in (("USER_BUSY", Outcome.BUSY), ("NO_ANSWER", Outcome.NO_ANSWER), ("X", Outcome.UNREACHABLE)):
        ended = min(before or now, now, key=[Outcome.NO_ANSWER, Outcome.BUSY, Outcome.UNREACHABLE].index)
        rung = 0 if step == "+492214710100/3" else rounds + 1
        assert progress_of(after_bridge(step, cause)) == replace(
            failed_plan("" if cause == "X" else cause, ended, rule=RULE.key, why=cause), rounds=rung
        )


def test_a_rule_s_call_remembers_its_rule() -> None:
    decision = Decision(
        "+492214710100", "acme", Rule("+492214710100", 3), Plan(((DESK,),)), NUMBER_UNREADABLE, ReasonCode.ROUTED, ()
    )
    *before, bridge = sent(decision, Call("+492214710100", '+49;x>1"', 'A"b'))
    assert before == [
        variables(
            "+492214710100/3",
            "routed",
            "caller_received",
            "+492214710100",
            "+492214710100/3",
            "|fsroute_called_account=acme",
        ),
        Execute("set_profile_var", "caller_id_name=A b"),
        Execute("set_profile_var", "caller_id_number=+49x1"),
        Execute("ring_ready"),
    ]
    assert bridged(bridge) == ("true", [["sofia/internal/sip:1001@192.0.2.11"]])


HIDING = Call("+492214710100", "+493023125001", "Anna", anonymous=True)
RINGS = Plan(((contact_leg(caller_id=HIDDEN_CALLER),),))
FORGOTTEN = [
    Execute("set_profile_var", "caller_id_name=anonymous"),
    Execute("set_profile_var", "caller_id_number=anonymous"),
]
HIDDEN: dict[str, tuple[Call, CallerId, Plan, bool]] = {
    "a phone rings": (HIDING, HIDDEN_CALLER, RINGS, True),
    "a mailbox answers": (HIDING, HIDDEN_CALLER, Plan(final=Voicemail("1001", "acme.example")), True),
    "an announcement plays": (HIDING, HIDDEN_CALLER, Plan(final=Announcement("closed.wav")), False),
    "the law hides it": (replace(HIDING, anonymous=False), HIDDEN_CALLER, RINGS, True),
    "a name alone": (replace(HIDING, caller="anonymous"), HIDDEN_CALLER, RINGS, True),
    "there is nothing to hide": (replace(HIDING, caller="anonymous", caller_name="Anonymous"), HIDDEN_CALLER, RINGS, False),
    "nothing is hidden": (replace(HIDING, anonymous=False), RECEIVED, RINGS, False),
    "no number came": (replace(HIDING, anonymous=False), replace(RECEIVED, presented=None), RINGS, False),
    "a user's own call": (replace(HIDING, direction=Direction.OUTBOUND), HIDDEN_CALLER, RINGS, False),
}


@pytest.mark.parametrize(("call", "caller_id", "plan", "forgotten"), HIDDEN.values(), ids=HIDDEN.keys())
def test_the_channel_forgets_a_number_that_is_hidden(call: Call, caller_id: CallerId, plan: Plan, forgotten: bool) -> None:
    """Else FreeSWITCH shows it to a phone that is connected to the call later, and to who listens to the mailbox."""
    decision = Decision("+492214710100", "acme", Rule("+492214710100", 3), plan, caller_id, ReasonCode.ROUTED, ())
    profile = [c for c in sent(decision, call) if isinstance(c, Execute) and c.application == "set_profile_var"]
    assert profile == FORGOTTEN * forgotten


def test_what_a_channel_keeps_comes_back_as_its_progress() -> None:
    """The count of trunks survives the way through the channel's variable."""
    for trunks in (0, 1, 7):
        decision = Decision(None, "acme", None, Plan(((BY_TRUNK,),)), SHOWS_LINE, ReasonCode.TRUNK, (), trunks=trunks)
        multiset = sent(decision)[0]
        assert isinstance(multiset, Execute)
        step = multiset.argument.split("|")[1].removeprefix("fsroute_step=")
        assert progress_of(after_bridge(step, "GATEWAY_DOWN")) == failed_plan(
            "GATEWAY_DOWN", Outcome.UNREACHABLE, trunks=trunks
        )


def test_a_plan_without_stages_and_end_is_no_decision() -> None:
    with pytest.raises(DialStringError):
        commands_for(Call(""), replace(refused("not_verified"), plan=Plan()), CONFIRMATION)


def test_contacts_are_queried_with_expansion_switched_off_first() -> None:
    assert call_commands.contacts_query([EndpointDial("1001", "acme.example")], ("internal",), "M") == [
        Execute("set", "app_disable_expand_variables=true"),
        Execute("set", "fsroute_contacts=M${sofia_contact(internal/1001@acme.example)}"),
    ]
