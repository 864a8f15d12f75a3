"""A verification call, against a server that behaves like FreeSWITCH: what it is told, and what is made of what it says."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.codes import CallerIdCode, DeliveryOutcome
from fsroute.configuration.settings import Settings
from fsroute.errors import ConfigError, DataError, DialStringError
from fsroute.model import (
    Account,
    AccountStatus,
    Call,
    Direction,
    Leg,
    Permission,
    Routing,
    Trunk,
)
from fsroute.simulator import dialstring_reader
from fsroute.verification import prompts, voice_call
from fsroute.verification.delivery import Delivered, Message
from fsroute.verification.voice_call import SOUNDS, VoiceCall
from tests.support.builders import CARRIER, LINE, MOBILE, account, hosted, routes, routing_of, shown, trunk, trunk_leg, user
from tests.support.dial_strings import bridge, trunk_call
from tests.support.event_socket import PASSWORD, Event, EventSocketServer, Placed, Said, Story, missing, read_out

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NUMBER = MOBILE
MESSAGE = Message("0123456789abcdef", "acme", NUMBER, "4711", "en")

ACME = account(presented_number="+498999998123", routes=routes(CARRIER, trunk("second")))


def read_for(account: Account | None) -> Callable[[Call], Routing]:
    return lambda _: Routing("DE", account=account)


def voice(server: EventSocketServer | None = None, **changes: Any) -> VoiceCall:
    values: dict[str, Any] = {
        "routing": read_for(ACME),
        "now": lambda: NOW,
        "address": server.address if server else ("127.0.0.1", 9),
        "password": PASSWORD,
        "timeout_s": 5.0,
        "ring_s": 40,
        "prompts": "/prompts",
    }
    return VoiceCall(**(values | changes))


def delivered(*stories: Story, message: Message = MESSAGE, **changes: Any) -> tuple[Delivered, EventSocketServer]:
    """A delivery through a switch whose calls go like this."""
    with EventSocketServer(list(stories)) as server:
        return voice(server, **changes).deliver(message), server


def fails(cause: str) -> Story:
    return lambda placed: placed.failed(cause)


# --- what FreeSWITCH is told ------------------------------------------------------------------------------


def test_the_whole_conversation() -> None:
    result, server = delivered(read_out)
    assert result == Delivered(DeliveryOutcome.CODE_READ, "NORMAL_CLEARING")
    (placed,) = server.placed
    digits = "{0}/4.wav!{1}!{0}/7.wav!{1}!{0}/1.wav!{1}!{0}/1.wav".format("/prompts/en", "silence_stream://500")
    pause = "silence_stream://400"
    first = f"silence_stream://1000!/prompts/en/intro.wav!{pause}!{digits}"
    again = f"{pause}!/prompts/en/again.wav!{pause}!{digits}!{pause}!/prompts/en/goodbye.wav"
    events = "BACKGROUND_JOB CHANNEL_ANSWER CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE CUSTOM filestring::fail"
    reading = f"sched_hangup:+120,playback:file_string://{first},playback:file_string://{again}"
    *before, originate = [(command.name, dict(command.headers)) for command in server.commands]
    assert before == [
        (f"auth {PASSWORD}", {}),
        (f"event plain {events}", {}),
        (f"filter Unique-ID {placed.call}", {}),
        (f"filter Job-UUID {placed.call}", {}),
        ("filter Event-Subclass filestring::fail", {}),
    ]
    assert originate[1] == {"Job-UUID": placed.call}
    command, word, dial, applications, dialplan = originate[0].split(" ")
    assert (command, word, applications, dialplan) == ("bgapi", "originate", reading, "inline")
    assert dialstring_reader.parse(dial) == bridge(
        [trunk_call(40, shown="+492214710100")],
        limit_s=42,
        origination_uuid=placed.call,
        playback_terminators="none",
    )
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", placed.call)


def test_every_call_has_an_id_of_its_own() -> None:
    calls = {delivered(read_out)[1].placed[0].call for _ in range(3)}
    assert len(calls) == 3


def test_the_tables_are_asked_once_and_as_for_a_users_call() -> None:
    asked: list[Call] = []

    def routing(call: Call) -> Routing:
        asked.append(call)
        return Routing("DE", account=ACME)

    delivered(fails("GATEWAY_DOWN"), read_out, routing=routing)
    assert asked == [Call(NUMBER, direction=Direction.OUTBOUND, account="acme")]


def test_the_prompts_of_this_installation_are_the_default() -> None:
    call = voice_call.from_settings(
        Settings(event_socket="[::1]:8022", event_socket_password="x", event_socket_s=2.5, verify_ring_s=30),  # noqa: S106 - a test's
        read_for(ACME),
        lambda: NOW,
    )
    assert (call.address, call.password, call.timeout_s, call.ring_s) == (("::1", 8022), "x", 2.5, 30)
    assert call.prompts == str(SOUNDS)
    assert voice_call.from_settings(Settings(prompts="/p"), read_for(ACME), lambda: NOW).prompts == "/p"


# --- what may enter a dial string -------------------------------------------------------------------------


BAD_DIRECTORIES = [
    "",
    "sounds",
    "./x",
    "/a b",
    "/a!b",
    "/a,b",
    "/a'b",
    "/a\\b",
    "/${x}",
    "/a\n",
    "/ä",
    "/a:b",
    "/a)",
    "/" * 300,
]


@pytest.mark.parametrize("directory", BAD_DIRECTORIES)
def test_a_directory_that_freeswitch_would_read_otherwise_is_refused_before_any_call(directory: str) -> None:
    with pytest.raises(ConfigError) as raised:
        voice(prompts=directory)
    text = f"prompts = {directory!r}: must be an absolute path of letters, digits and _ . / -"
    assert str(raised.value) == text


@pytest.mark.parametrize("password", ["a\nb", "a\rb", "\0", "ä"])
def test_a_password_that_is_no_line_is_refused_and_not_told(password: str) -> None:
    with pytest.raises(ConfigError) as raised:
        voice(password=password)
    assert str(raised.value) == "event_socket_password: must be printable ASCII"


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(voice(password="hunter2"))  # noqa: S106 - a test's


@pytest.mark.parametrize("address", ["", "x", "1:x", "1:99999"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="event_socket"):
        voice_call.from_settings(Settings(event_socket=address), read_for(ACME), lambda: NOW)


def leg_to(number: str = NUMBER, through: Trunk = CARRIER, line: str = LINE) -> Leg:
    return trunk_leg(number, target="t", trunk=through, caller_id=shown(line, CallerIdCode.NETWORK_NUMBER), ring_s=40)


PATHS = st.text("abcXYZ019_.-/", max_size=50).map(lambda text: f"/{text}")


@given(PATHS, st.text("0123456789", min_size=1, max_size=16), st.sampled_from(["de", "en"]))
def test_what_freeswitch_reads_is_what_was_meant(directory: str, code: str, language: str) -> None:
    """Split at blanks, then the dial string, then the applications, then the files: as FreeSWITCH does it."""
    parts = [voice_call.files(part, directory) for part in prompts.reading(code, language)]
    text = voice_call.originate("c1", leg_to(), parts)
    assert not set(text) & set("'\"\\$\n\r\0")
    command, dial, told, dialplan = text.split(" ")
    assert (command, dialplan) == ("originate", "inline")
    parsed = dialstring_reader.parse(dial)
    ((leg,),) = parsed.groups
    assert (parsed.variables["origination_uuid"], leg.endpoint) == ("c1", f"sofia/gateway/carrier/{NUMBER}")
    limit, *played = [tuple(application.partition(":")[::2]) for application in told.split(",")]
    assert limit == ("sched_hangup", "+120")
    assert [name for name, _ in played] == ["playback", "playback"]
    for (_, file), part in zip(played, prompts.reading(code, language), strict=True):
        files = file.removeprefix("file_string://").split("!")
        meant = [f"silence_stream://{item}" if isinstance(item, int) else f"{directory}/{item}.wav" for item in part]
        assert files == meant


@pytest.mark.parametrize(
    "leg",
    [
        leg_to(number="+49 1"),
        leg_to(through=replace(CARRIER, gateway="x y")),
        leg_to(through=replace(CARRIER, domain="x]y")),
        leg_to(line="+49$1"),
    ],
)
def test_a_value_that_does_not_fit_makes_no_call(leg: Leg) -> None:
    with pytest.raises(DialStringError, match=r"\At: "):
        voice_call.originate("c1", leg, [["/x"], ["/y"]])


def test_a_quoted_value_makes_no_call() -> None:
    """A second fence: dialstring.py quotes a comma in the headers of a forwarded call."""
    with pytest.raises(DialStringError, match="cannot be an argument of originate"):
        voice_call.originate("c1", leg_to(), [["/a b"], ["/y"]])


def test_a_row_that_does_not_fit_is_an_outcome() -> None:
    account = replace(ACME, routes=routes(trunk("carrier", gateway="x y")))
    result, server = delivered(read_out, routing=read_for(account))
    assert result.outcome == "no_trunk"
    assert "'x y' does not fit into a dial string" in result.answer
    assert server.placed == []


# --- who is called ----------------------------------------------------------------------------------------


NO_WAY: dict[str, tuple[Account | None, str, str]] = {
    "no such account": (None, NUMBER, "account_unknown"),
    "suspended": (replace(ACME, status=AccountStatus.SUSPENDED), NUMBER, "account_suspended"),
    "no network number": (replace(ACME, network_number=None), NUMBER, "no_network_number"),
    "no trunk": (replace(ACME, routes=()), NUMBER, "empty_plan"),
    "barred": (replace(ACME, permissions=(Permission("+49171", allowed=False),)), NUMBER, "destination_barred"),
    "premium": (ACME, "+499001234567", "destination_barred"),
    "an emergency number": (ACME, "110", "emergency"),
    "an emergency number in disguise": (ACME, "+49112", "emergency"),
    "no number": (ACME, "hello", "not_a_number"),
}


@pytest.mark.parametrize(("account", "number", "code"), NO_WAY.values(), ids=NO_WAY.keys())
def test_without_a_way_out_there_is_no_call(account: Account | None, number: str, code: str) -> None:
    result, server = delivered(read_out, routing=read_for(account), message=replace(MESSAGE, number=number))
    assert result == Delivered(DeliveryOutcome.NO_TRUNK, code)
    assert server.commands == []


def test_a_number_that_is_hosted_here_is_not_called() -> None:
    routing = routing_of(hosted(number=NUMBER, account=replace(ACME, name="other")), account=ACME)
    result, server = delivered(read_out, routing=lambda _: routing)
    assert (result.outcome, server.commands) == ("no_trunk", [])


def test_an_extension_is_not_called() -> None:
    routing = Routing("DE", account=ACME, callee=user("office", NUMBER))
    result, server = delivered(read_out, routing=lambda _: routing)
    assert (result.outcome, server.commands) == ("no_trunk", [])


# --- how it went ------------------------------------------------------------------------------------------


INTRO = "/prompts/en/intro.wav"
END = "NORMAL_CLEARING"

OUTCOMES: dict[str, tuple[Story, Delivered]] = {
    "busy": (fails("USER_BUSY"), Delivered(DeliveryOutcome.BUSY, "USER_BUSY")),
    "nobody answers": (fails("ALLOTTED_TIMEOUT"), Delivered(DeliveryOutcome.NO_ANSWER, "ALLOTTED_TIMEOUT")),
    "the carrier gives up": (fails("NO_ANSWER"), Delivered(DeliveryOutcome.NO_ANSWER, "NO_ANSWER")),
    "480": (fails("NO_USER_RESPONSE"), Delivered(DeliveryOutcome.NO_ANSWER, "NO_USER_RESPONSE")),
    "FreeSWITCH gives up": (
        lambda placed: [placed.hung_up("ORIGINATOR_CANCEL"), placed.answer("-ERR NO_ANSWER")],
        Delivered(DeliveryOutcome.NO_ANSWER, "NO_ANSWER"),
    ),
    "rejected": (fails("CALL_REJECTED"), Delivered(DeliveryOutcome.CALL_REJECTED, "CALL_REJECTED")),
    "unallocated": (fails("UNALLOCATED_NUMBER"), Delivered(DeliveryOutcome.NUMBER_UNREACHABLE, "UNALLOCATED_NUMBER")),
    "no channel was made": (
        lambda placed: [placed.answer("-ERR DESTINATION_OUT_OF_ORDER")],
        Delivered(DeliveryOutcome.NUMBER_UNREACHABLE, "DESTINATION_OUT_OF_ORDER"),
    ),
    "hung up in the repetition": (
        lambda placed: [*placed.taken(), placed.played(), placed.broken_off(), placed.hung_up()],
        Delivered(DeliveryOutcome.CODE_READ, END),
    ),
    "hung up in the reading": (
        lambda placed: [*placed.taken(), placed.broken_off(), placed.hung_up()],
        Delivered(DeliveryOutcome.CUT_SHORT, END),
    ),
    "hung up with the last word": (
        lambda placed: [*placed.taken(), placed.executed("playback", "FILE PLAYED", "hangup"), placed.hung_up()],
        Delivered(DeliveryOutcome.CUT_SHORT, END),
    ),
    "hung up before the reading": (
        lambda placed: [*placed.taken(), placed.hung_up()],
        Delivered(DeliveryOutcome.CUT_SHORT, END),
    ),
    "hung up before originate saw the answer": (
        lambda placed: [*placed.taken()[:1], placed.hung_up(), placed.answer(f"+OK {placed.call}")],
        Delivered(DeliveryOutcome.CUT_SHORT, END),
    ),
    "answered and gone at once": (
        lambda placed: [placed.taken()[0], placed.answer("-ERR NORMAL_CLEARING")],
        Delivered(DeliveryOutcome.CUT_SHORT, END),
    ),
    "the limit ends it": (
        lambda placed: [*placed.taken(), placed.broken_off(), placed.hung_up("ALLOTTED_TIMEOUT")],
        Delivered(DeliveryOutcome.CUT_SHORT, "ALLOTTED_TIMEOUT"),
    ),
    "a prompt is missing": (
        lambda placed: [*placed.taken(), missing(INTRO), placed.played(), placed.played(), placed.hung_up()],
        Delivered(DeliveryOutcome.PROMPT_FAILED, END),
    ),
    "a digit is missing": (
        lambda placed: [*placed.taken(), missing("/prompts/en/7.wav"), placed.played(), placed.played(), placed.hung_up()],
        Delivered(DeliveryOutcome.PROMPT_FAILED, END),
    ),
    "the second part cannot be played": (
        lambda placed: [
            *placed.taken(),
            placed.played(),
            missing("/prompts/en/goodbye.wav"),
            placed.played(),
            placed.hung_up(),
        ],
        Delivered(DeliveryOutcome.CODE_READ, END),
    ),
    "a prompt of another call is missing": (
        lambda placed: [missing("/prompts/en/2.wav"), missing("/elsewhere/en/4.wav"), *read_out(placed)],
        Delivered(DeliveryOutcome.CODE_READ, END),
    ),
    "no prompt can be played": (
        lambda placed: [*placed.taken(), placed.executed("playback", "FILE NOT FOUND"), placed.played(), placed.hung_up()],
        Delivered(DeliveryOutcome.PROMPT_FAILED, END),
    ),
    "the playback failed on a living call": (
        lambda placed: [*placed.taken(), placed.executed("playback", "PLAYBACK ERROR"), placed.hung_up()],
        Delivered(DeliveryOutcome.PROMPT_FAILED, END),
    ),
    "FreeSWITCH does not know originate": (
        lambda placed: [placed.answer("-ERR originate Command not found!")],
        Delivered(DeliveryOutcome.SWITCH_REFUSED, "FreeSWITCH refused originate: '-ERR originate Command not found!'"),
    ),
    "FreeSWITCH does not understand originate": (
        lambda placed: [placed.answer("-USAGE: <call url>\x1b[2J" + "x" * 200)],
        Delivered(
            DeliveryOutcome.SWITCH_REFUSED, "FreeSWITCH refused originate: '-USAGE: <call url>\\x1b[2J" + "x" * 58 + "'"
        ),
    ),
    "another call is answered": (
        lambda placed: [placed.answer("+OK 00000000-0000-0000-0000-000000000000")],
        Delivered(
            DeliveryOutcome.SWITCH_REFUSED, "FreeSWITCH refused originate: '+OK 00000000-0000-0000-0000-000000000000'"
        ),
    ),
    "FreeSWITCH goes while it rings": (
        lambda _: [None],
        Delivered(DeliveryOutcome.SWITCH_UNREACHABLE, "FreeSWITCH closed the connection"),
    ),
    "FreeSWITCH goes in the reading": (
        lambda placed: [*placed.taken(), placed.played(), None],
        Delivered(DeliveryOutcome.SWITCH_UNREACHABLE, "FreeSWITCH closed the connection"),
    ),
}


@pytest.mark.parametrize(("story", "result"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_what_is_made_of_what_freeswitch_says(story: Story, result: Delivered) -> None:
    assert delivered(story)[0] == result
    assert result.outcome in DeliveryOutcome


def of_another_call(event: Event) -> bytes:
    """The same event of another call, past the filters."""
    changes = {name: "another" for name in ("Unique-ID", "Job-UUID") if name in event.headers}
    return replace(event, headers={**event.headers, **changes}).plain()


def test_events_of_other_calls_change_nothing() -> None:
    def story(placed: Placed) -> list[Said]:
        others = [of_another_call(event) for event in (*placed.taken(), placed.played(), placed.hung_up())]
        return [*others, *[of_another_call(event) for event in placed.failed("USER_BUSY")], *placed.failed("NO_ANSWER")]

    assert delivered(story)[0] == Delivered(DeliveryOutcome.NO_ANSWER, "NO_ANSWER")


def test_a_callee_cannot_write_events() -> None:
    """What a phone sends stands in the values of an event, encoded."""

    def story(placed: Placed) -> list[Said]:
        forged = dict(placed.played().headers) | {
            "variable_sip_user_agent": f"x\n\nEvent-Name: CHANNEL_HANGUP\nUnique-ID: {placed.call}"
        }
        return [*placed.taken(), Event("CHANNEL_EXECUTE_COMPLETE", forged), placed.hung_up()]

    assert delivered(story)[0] == Delivered(DeliveryOutcome.CODE_READ, END)


# --- more than one trunk ----------------------------------------------------------------------------------


def test_the_next_trunk_is_tried_when_one_failed() -> None:
    result, server = delivered(fails("GATEWAY_DOWN"), read_out)
    assert result == Delivered(DeliveryOutcome.CODE_READ, END)
    dialled = [leg.endpoint for placed in server.placed for group in placed.dial.groups for leg in group]
    assert dialled == [f"sofia/gateway/carrier/{NUMBER}", f"sofia/gateway/second/{NUMBER}"]
    assert server.placed[0].call != server.placed[1].call


def test_the_next_trunk_is_not_tried_when_the_callee_ended_it() -> None:
    result, server = delivered(fails("USER_BUSY"), read_out)
    assert (result, len(server.placed)) == (Delivered(DeliveryOutcome.BUSY, "USER_BUSY"), 1)


def test_a_call_that_was_answered_is_not_repeated() -> None:
    result, server = delivered(lambda placed: [*placed.taken(), placed.hung_up("NORMAL_TEMPORARY_FAILURE")], read_out)
    assert (result, len(server.placed)) == (Delivered(DeliveryOutcome.CUT_SHORT, "NORMAL_TEMPORARY_FAILURE"), 1)


def test_when_all_trunks_fail_the_last_one_is_told() -> None:
    result, server = delivered(fails("GATEWAY_DOWN"), fails("SWITCH_CONGESTION"))
    assert (result, len(server.placed)) == (Delivered(DeliveryOutcome.NUMBER_UNREACHABLE, "SWITCH_CONGESTION"), 2)


# --- faults -----------------------------------------------------------------------------------------------


def test_without_a_password_it_is_not_configured() -> None:
    assert voice(password="").deliver(MESSAGE) == Delivered(
        DeliveryOutcome.NOT_CONFIGURED, "setting event_socket_password is empty"
    )


def test_a_wrong_password_is_a_refusal() -> None:
    result, server = delivered(read_out, password="wrong")  # noqa: S106 - meant to be
    told = "FreeSWITCH's Event Socket refused the password (setting event_socket_password)"
    assert (result, server.placed) == (Delivered(DeliveryOutcome.SWITCH_REFUSED, told), [])


@pytest.mark.parametrize("word", ["event", "filter", "bgapi"])
def test_a_command_that_is_refused_ends_it(word: str) -> None:
    denied = b"Content-Type: command/reply\nReply-Text: -ERR permission denied\n\n"
    with EventSocketServer([read_out], replies={word: denied}) as server:
        result = voice(server).deliver(MESSAGE)
    assert result == Delivered(DeliveryOutcome.SWITCH_REFUSED, f"FreeSWITCH refused {word}: '-ERR permission denied'")


def test_an_unreachable_switch_is_an_outcome() -> None:
    result = voice(address=("127.0.0.1", 1)).deliver(MESSAGE)
    told = "FreeSWITCH's Event Socket at 127.0.0.1:1 cannot be reached: Connection refused"
    assert result == Delivered(DeliveryOutcome.SWITCH_UNREACHABLE, told)


def test_tables_that_cannot_be_read_are_an_outcome() -> None:
    def routing(_: Call) -> Routing:
        raise DataError("the database is away")

    assert voice(routing=routing).deliver(MESSAGE) == Delivered(DeliveryOutcome.INTERRUPTED, "the database is away")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of a call, so short that a test can wait for them."""
    monkeypatch.setattr(voice_call, "_LATE_S", 0)
    monkeypatch.setattr(voice_call, "LONGEST_CALL_S", 1)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("answered", [False, True], ids=["while it rings", "in the reading"])
def test_a_switch_that_falls_silent_is_given_up_in_time(*, answered: bool) -> None:
    silent = threading.Event()
    with EventSocketServer([lambda placed: [*placed.taken() * answered, silent]]) as server:
        started = time.monotonic()
        result = voice(server, timeout_s=0.2, ring_s=1).deliver(MESSAGE)
        took = time.monotonic() - started
        silent.set()
    assert result == Delivered(DeliveryOutcome.SWITCH_UNREACHABLE, "FreeSWITCH sent nothing in time")
    assert 1.1 < took < 2.5


@pytest.mark.usefixtures("hurried")
def test_a_call_that_never_ends_is_given_up_in_time() -> None:
    def story(placed: Placed) -> Iterator[Said]:
        yield from placed.taken()
        while True:
            time.sleep(0.05)  # what is tested is that events do not make the wait longer
            yield placed.executed("playback", "FILE PLAYED")

    with EventSocketServer([story]) as server:
        started = time.monotonic()
        result = voice(server, timeout_s=0.2).deliver(MESSAGE)
        took = time.monotonic() - started
    assert result == Delivered(DeliveryOutcome.SWITCH_UNREACHABLE, "FreeSWITCH sent nothing in time")
    assert 1.1 < took < 2.5


def test_the_reading_may_take_longer_than_the_ringing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_call, "_LATE_S", 0)
    later = threading.Event()
    timer = threading.Timer(1.6, later.set)
    timer.start()
    story: Story = lambda placed: [*placed.taken(), later, placed.played(), placed.hung_up()]  # noqa: E731 - as the others
    assert delivered(story, timeout_s=0.2, ring_s=1)[0] == Delivered(DeliveryOutcome.CODE_READ, END)
    timer.join()


def test_a_connection_that_breaks_at_any_byte_is_an_outcome() -> None:
    with EventSocketServer([read_out]) as server:
        assert voice(server).deliver(MESSAGE) == Delivered(DeliveryOutcome.CODE_READ, END)
        total = server.sent
    outcomes = []
    for limit in range(0, total, 23):
        with EventSocketServer([read_out], limit=limit) as server:
            outcomes.append(voice(server).deliver(MESSAGE).outcome)
    assert outcomes == ["switch_unreachable"] * len(outcomes)
    assert len(outcomes) > 50


@given(st.binary(max_size=300), st.integers(0, 3))
def test_whatever_a_switch_says_is_an_outcome(said: bytes, answered: int) -> None:
    with EventSocketServer([lambda placed: [*placed.taken()[:answered], said, None]]) as server:
        assert voice(server).deliver(MESSAGE).outcome in ("switch_unreachable", "switch_refused")


def test_no_answer_holds_the_code() -> None:
    message = replace(MESSAGE, code="4711471147114711")
    for story, _ in OUTCOMES.values():
        assert message.code not in delivered(story, message=message)[0].answer
