"""How a plan ended, from the channel variables that FreeSWITCH leaves behind."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from fsroute.eventsocket.frames import Facts, Frame
from fsroute.model import Outcome
from fsroute.switch.channel_state import FACTS
from fsroute.switch.outcome import legs, of_failed, was_answered
from tests.support.snapshots import facts_of

UUIDS = ("3f0c7a52-4f0e-4a7d-8a0e-0d1f5c1f3b11", "a0c1ce18-6f0b-43c5-9d52-8b8c7f0ab6a2", "77ac7a3d-1d0b-4a39-a9b1-2f")


def ended_with(disposition: str, *causes: str) -> Facts:
    """A snapshot after a bridge: how it ended, and the cause of each leg that existed."""
    entries = [f"{uuid};{cause}" for uuid, cause in zip(UUIDS, causes, strict=False)]
    array = entries[0] if len(entries) == 1 else "ARRAY::" + "|:".join(entries)
    variables = {"originate_disposition": disposition, **({"originate_causes": array} if entries else {})}
    return facts_of(variables, Answer_State="answered" if disposition.upper() == "SUCCESS" else "ringing")


ANSWERED: dict[str, tuple[Facts, bool]] = {
    "one leg took it": (ended_with("SUCCESS", "NONE"), True),
    "one of several": (ended_with("SUCCESS", "LOSE_RACE", "NONE"), True),
    "in an enterprise string": (ended_with("success"), True),
    "nobody": (ended_with("USER_BUSY", "USER_BUSY"), False),
    "not even tried": (ended_with("failure"), False),
    "early media made the bridge, and nobody answered": (
        Frame(b"Event-Name: CHANNEL_DATA\nAnswer-State: early\nvariable_originate_disposition: SUCCESS").only(FACTS),
        False,
    ),
    "no bridge yet": (Frame(b"Event-Name: CHANNEL_DATA").only(FACTS), False),
}


@pytest.mark.parametrize(("after", "expected"), ANSWERED.values(), ids=ANSWERED.keys())
def test_a_call_was_taken_when_the_disposition_says_so(after: Facts, expected: bool) -> None:
    assert was_answered(after) is expected


FAILED: dict[str, tuple[tuple[str, ...], Outcome]] = {
    # disposition, then the cause of each leg
    "rang to its end": (("ALLOTTED_TIMEOUT", "ALLOTTED_TIMEOUT"), Outcome.NO_ANSWER),
    "the carrier gave up ringing": (("NO_ANSWER", "NO_ANSWER"), Outcome.NO_ANSWER),
    "answered, but pressed no key": (("NORMAL_CLEARING", "NORMAL_CLEARING"), Outcome.NO_ANSWER),
    "busy": (("USER_BUSY", "USER_BUSY"), Outcome.BUSY),
    "rejected": (("CALL_REJECTED", "CALL_REJECTED"), Outcome.BUSY),
    "never rang": (("PROGRESS_TIMEOUT", "PROGRESS_TIMEOUT"), Outcome.UNREACHABLE),
    "switched off": (("NO_USER_RESPONSE", "NO_USER_RESPONSE"), Outcome.UNREACHABLE),
    "does not answer at all": (("RECOVERY_ON_TIMER_EXPIRE", "RECOVERY_ON_TIMER_EXPIRE"), Outcome.UNREACHABLE),
    "no such number": (("UNALLOCATED_NUMBER", "UNALLOCATED_NUMBER"), Outcome.UNREACHABLE),
    "the carrier is down": (("NORMAL_TEMPORARY_FAILURE", "NORMAL_TEMPORARY_FAILURE"), Outcome.UNREACHABLE),
    "not registered: no leg existed": (("USER_NOT_REGISTERED",), Outcome.UNREACHABLE),
    "the gateway is down: no leg existed": (("GATEWAY_DOWN",), Outcome.UNREACHABLE),
    "refused as busy before a leg existed": (("USER_BUSY",), Outcome.BUSY),
    "nothing is known": (("",), Outcome.UNREACHABLE),
    "one rang, one was busy": (("USER_BUSY", "USER_BUSY", "ALLOTTED_TIMEOUT"), Outcome.NO_ANSWER),
    "one rang, one rejected, one never rang": (
        ("ALLOTTED_TIMEOUT", "CALL_REJECTED", "PROGRESS_TIMEOUT", "ALLOTTED_TIMEOUT"),
        Outcome.NO_ANSWER,
    ),
    "one rang, one never did": (
        ("PROGRESS_TIMEOUT", "PROGRESS_TIMEOUT", "ALLOTTED_TIMEOUT"),
        Outcome.NO_ANSWER,
    ),
    "one busy, one never rang": (("PROGRESS_TIMEOUT", "PROGRESS_TIMEOUT", "USER_BUSY"), Outcome.BUSY),
    "one rejected, one unreachable": (
        ("NO_USER_RESPONSE", "NO_USER_RESPONSE", "CALL_REJECTED"),
        Outcome.BUSY,
    ),
    "all busy": (("USER_BUSY", "USER_BUSY", "USER_BUSY", "USER_BUSY"), Outcome.BUSY),
    "none ever rang": (
        ("PROGRESS_TIMEOUT", "PROGRESS_TIMEOUT", "NO_USER_RESPONSE", "UNALLOCATED_NUMBER"),
        Outcome.UNREACHABLE,
    ),
    "the first stage rang, the last one is not registered": (
        ("USER_NOT_REGISTERED", "ALLOTTED_TIMEOUT"),
        Outcome.NO_ANSWER,
    ),
    "the first stage was busy, the last one is not registered": (
        ("USER_NOT_REGISTERED", "USER_BUSY"),
        Outcome.BUSY,
    ),
}


@pytest.mark.parametrize(("ended", "expected"), FAILED.values(), ids=FAILED.keys())
def test_the_best_that_happened_to_any_leg_is_the_outcome(ended: tuple[str, ...], expected: Outcome) -> None:
    disposition, *causes = ended
    assert of_failed(ended_with(disposition, *causes)) == (expected, disposition)


ARRAYS: dict[str, tuple[str, Outcome]] = {
    "one entry": ("a;USER_BUSY", Outcome.BUSY),
    "an array of one": ("ARRAY::a;USER_BUSY", Outcome.BUSY),
    "an array": ("ARRAY::a;PROGRESS_TIMEOUT|:b;USER_BUSY", Outcome.BUSY),
    "the last one counts as much": ("ARRAY::a;USER_BUSY|:b;USER_BUSY|:c;ALLOTTED_TIMEOUT", Outcome.NO_ANSWER),
    "an entry without a cause": ("ARRAY::a;|:b;USER_BUSY", Outcome.BUSY),
    "an empty array": ("ARRAY::", Outcome.UNREACHABLE),
    "text that is none": ("USER_BUSY_NOT", Outcome.UNREACHABLE),
}


@pytest.mark.parametrize(("array", "expected"), ARRAYS.values(), ids=ARRAYS.keys())
def test_causes_are_read_in_every_form_of_an_array(array: str, expected: Outcome) -> None:
    frame = Frame(f"variable_originate_causes: {quote(array)}\nvariable_originate_disposition: X".encode()).only(FACTS)
    assert of_failed(frame) == (expected, "X")


def test_each_leg_says_how_it_ended() -> None:
    lines = (
        "Event-Name: CHANNEL_DATA",
        "variable_originated_legs: ARRAY::u1;Outbound Call;1001|:u2;Outbound Call;+491713920042|:u3;x;1003",
        "variable_originate_causes: ARRAY::u1;USER_BUSY|:u2;NONE|:u9;NO_ANSWER",
    )
    assert legs(Frame("\n".join(lines).encode()).only(FACTS)) == ("1001 USER_BUSY", "+491713920042 NONE", "? NO_ANSWER")
    assert legs(Frame(b"Event-Name: CHANNEL_DATA").only(FACTS)) == ()


def of(disposition: str, state: str = "ringing", **variables: str) -> Facts:
    """A snapshot after a bridge of which there are no causes."""
    all_variables = {"originate_disposition": disposition, **variables}
    lines = ["Event-Name: CHANNEL_DATA", f"Answer-State: {state}", *(f"variable_{k}: {v}" for k, v in all_variables.items())]
    return Frame("\n".join(lines).encode()).only(FACTS)


def test_an_answer_after_a_silent_trunk_is_one_although_it_is_called_a_failure() -> None:
    marks = {"fsroute_rang": "true", "last_bridge_hangup_cause": "NORMAL_CLEARING"}
    assert was_answered(of("failure", "answered", bridge_hangup_cause="NORMAL_CLEARING", **marks))
    assert not was_answered(of("failure", "answered", bridge_hangup_cause="none", **marks))


EARLY_MEDIA = {
    "busy": ("USER_BUSY", (Outcome.BUSY, "USER_BUSY")),
    "the trunk failed": ("NORMAL_TEMPORARY_FAILURE", (Outcome.UNREACHABLE, "NORMAL_TEMPORARY_FAILURE")),
    "not answered in time": ("ORIGINATOR_CANCEL", (Outcome.NO_ANSWER, "NO_ANSWER")),
}


@pytest.mark.parametrize(("cause", "expected"), EARLY_MEDIA.values(), ids=EARLY_MEDIA.keys())
def test_a_carrier_that_sent_early_media_and_did_not_answer(cause: str, expected: tuple[Outcome, str]) -> None:
    after = of("SUCCESS", "early", last_bridge_hangup_cause=cause)
    assert not was_answered(after)
    assert of_failed(after) == expected


OF_PARTS = {
    # whether a leg rang, the cause of the leg that ended last, that of the last part, the last SIP status of a refusal
    "one rang to its end": ("true", "ALLOTTED_TIMEOUT", "USER_BUSY", "486", Outcome.NO_ANSWER),
    "one rang, a silent one ended last": ("true", "PROGRESS_TIMEOUT", "PROGRESS_TIMEOUT", "none", Outcome.NO_ANSWER),
    "rang and was rejected": ("true", "CALL_REJECTED", "CALL_REJECTED", "603", Outcome.BUSY),
    "busy": ("no", "USER_BUSY", "USER_BUSY", "486", Outcome.BUSY),
    "phones busy, then the trunks failed": ("no", "NORMAL_TEMPORARY_FAILURE", "USER_BUSY", "503", Outcome.BUSY),
    "mobile busy, then the phones failed": ("no", "UNALLOCATED_NUMBER", "UNALLOCATED_NUMBER", "486", Outcome.BUSY),
    "trunks failed": ("no", "NORMAL_TEMPORARY_FAILURE", "NO_USER_RESPONSE", "503", Outcome.UNREACHABLE),
    "nothing existed": ("no", "none", "GATEWAY_DOWN", "none", Outcome.UNREACHABLE),
}


@pytest.mark.parametrize(("rang", "last", "part", "status", "expected"), OF_PARTS.values(), ids=OF_PARTS.keys())
def test_an_enterprise_string_is_judged_by_what_its_legs_wrote(
    rang: str, last: str, part: str, status: str, expected: Outcome
) -> None:
    of_last_part = {"last_bridge_hangup_cause": last, "hangup_cause": part, "sip_invite_failure_status": status}
    assert of_failed(of("failure", fsroute_rang=rang, **of_last_part))[0] is expected
