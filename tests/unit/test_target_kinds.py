"""The table of target kinds, and that everything which asks about a kind reads it.

A kind that is added needs a line in EXAMPLES: what its column holds and, if it ends the call, what FreeSWITCH does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fsroute.data import tables
from fsroute.eventsocket import frames
from fsroute.model import Call, Mode, Plan, Routing, RuleType
from fsroute.routing.planner import Planner
from fsroute.switch import call_commands
from fsroute.switch.dialstring import Confirmation
from fsroute.target_kinds import Announcement, Application, Ending, Hangup, LeadsTo, TargetKind, Voicemail
from tests.support.builders import ACME, CALLER, HIDDEN_CALLER, LINE, MONDAY_NOON, decision, endpoints, hosted, rule, target


@dataclass(frozen=True)
class Example:
    """`hides` says whether an anonymous caller's number is taken from the channel before `commands`."""

    value: str
    ending: Ending | None = None
    text: str = ""
    data: tuple[str, str] = ("", "")
    commands: tuple[tuple[str, str], ...] = ()
    hides: bool = False


EXAMPLES = {
    TargetKind.ENDPOINT: Example("1001"),
    TargetKind.RING_GROUP: Example("sales"),
    TargetKind.USER: Example("weber"),
    TargetKind.EXTERNAL: Example("+491713920042"),
    TargetKind.HOSTED: Example("+492214710111"),
    TargetKind.VOICEMAIL: Example(
        "1001",
        Voicemail("1001", "acme.example"),
        "voicemail 1001@acme.example",
        ("mailbox", "1001@acme.example"),
        (("answer", ""), ("sleep", "500"), ("voicemail", "default acme.example 1001")),
        hides=True,
    ),
    TargetKind.ANNOUNCEMENT: Example(
        "fsroute/closed.wav",
        Announcement("fsroute/closed.wav"),
        "announcement fsroute/closed.wav",
        ("file", "fsroute/closed.wav"),
        (("answer", ""), ("sleep", "500"), ("playback", "fsroute/closed.wav")),
    ),
    TargetKind.HANGUP: Example("USER_BUSY", Hangup("USER_BUSY"), "hangup USER_BUSY", ("cause", "USER_BUSY")),
}
ENDS = [kind for kind in TargetKind if kind.is_end]


def test_every_kind_has_an_example() -> None:
    assert list(EXAMPLES) == list(TargetKind)
    assert {kind for kind, example in EXAMPLES.items() if example.ending is not None} == set(ENDS)


def test_every_kind_has_its_column() -> None:
    assert [name for name in tables.RuleTarget._meta.columns if name in set(TargetKind)] == list(TargetKind)  # noqa: SLF001


@pytest.mark.parametrize("kind", ENDS)
def test_a_plan_ends_as_the_table_says(kind: TargetKind) -> None:
    example = EXAMPLES[kind]
    of = rule(1, RuleType.GENERAL, target(kind, example.value), target(kind, example.value, position=2), mode=Mode.PARALLEL)
    planner = Planner(Call(LINE), Routing("DE", LINE), MONDAY_NOON, HIDDEN_CALLER)
    assert planner.plan(of, hosted(of)) == Plan(final=example.ending)
    assert [(reason.code, reason.subject) for reason in planner.reasons] == [
        ("after_final", f"{kind.label} {example.value}")
    ]
    assert planner.is_general


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind.leads_to is LeadsTo.ENDPOINTS])
def test_a_kind_of_endpoints_rings_them(kind: TargetKind) -> None:
    of = rule(1, RuleType.GENERAL, target(kind, EXAMPLES[kind].value, endpoints=endpoints("1001")), mode=Mode.PARALLEL)
    planner = Planner(Call(LINE), Routing("DE", LINE), MONDAY_NOON, HIDDEN_CALLER)
    ((leg,),) = planner.plan(of, hosted(of)).stages
    assert leg.target == "endpoint 1001"
    with pytest.raises(ValueError, match="does not end a call"):
        kind.ending("1001", "acme.example")


@pytest.mark.parametrize("kind", ENDS)
def test_an_ending_is_what_freeswitch_does_and_what_people_read(kind: TargetKind) -> None:
    example = EXAMPLES[kind]
    ending = kind.ending(example.value, ACME.domain)
    assert ending == example.ending
    assert str(ending) == example.text
    assert ending.as_data() == {"kind": example.text.partition(" ")[0], example.data[0]: example.data[1]}
    ends = decision(Plan(final=ending), caller_id=HIDDEN_CALLER)
    commands = call_commands.commands_for(Call(LINE, CALLER, anonymous=True), ends, Confirmation())
    written = frames.encode(commands[1:]).decode()
    if isinstance(ending, Hangup):
        assert commands[1:] == [frames.End(ending.cause)]
        return
    assert isinstance(ending, Application)
    executed = [(each.application, each.argument) for each in commands if isinstance(each, frames.Execute)]
    assert tuple(executed[-len(example.commands) :]) == example.commands
    assert ("caller_id_number=anonymous" in written) is example.hides
