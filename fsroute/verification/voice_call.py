"""A verification call: FreeSWITCH calls the number, reads the code and hangs up; fsroute follows it by events.

The call takes the same trunks as a call of the account's users, and presents the network number. FreeSWITCH gets the whole
call in one command, with a limit for each part. So when fsroute is killed or the connection breaks, the call still rings no
longer than its limit, plays the prompts, and hangs up.

The progress of the call comes from events (mod_commands.c, switch_ivr_play_say.c, mod_dptools.c of FreeSWITCH 1.11):

  BACKGROUND_JOB            the answer to `originate`: that it was answered, or the cause why not.
  CHANNEL_ANSWER            also of a call that was hung up before `originate` saw the answer.
  CHANNEL_EXECUTE_COMPLETE  of a playback: whether it came to its end. PLAYBACK_STOP does not show it: it says "done" also
                            when the callee has hung up.
  filestring::fail          a prompt cannot be opened. FreeSWITCH skips it and plays on. The event names no call.
  CHANNEL_HANGUP_COMPLETE   the end, and its cause.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from fsroute.codes import DeliveryOutcome
from fsroute.configuration.settings import Settings, parse_address
from fsroute.errors import ConfigError, DataError, DialStringError, ProtocolError
from fsroute.eventsocket import frames
from fsroute.eventsocket.client import EventSocketClient, Refused, connected
from fsroute.eventsocket.frames import Frame
from fsroute.model import Call, Decision, Direction, FailedPlan, Leg, Outcome, Plan, Routing, TrunkDial
from fsroute.routing import router
from fsroute.switch import dialstring
from fsroute.switch.dialstring import Confirmation
from fsroute.text import quoted
from fsroute.verification import prompts
from fsroute.verification.delivery import Delivered, Message

SOUNDS = Path(__file__).parents[1] / "sounds"
"""The prompts of this installation."""

LONGEST_CALL_S = 120
"""Seconds after which FreeSWITCH ends an answered call. The shipped prompts take half a minute; a callee who puts the call
on hold makes them wait."""

_LATE_S = 3
"""How much later than its limit FreeSWITCH may end a call: the grace in dialstring.py, and a clock of whole seconds."""

_EVENTS = "BACKGROUND_JOB CHANNEL_ANSWER CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE CUSTOM filestring::fail"

_DIRECTORY = re.compile(r"/[A-Za-z0-9_./-]{0,200}\Z")

_ARGUMENT = re.compile(r"(?!.*['\"\\$])[!-~]+\Z")
"""An argument of an API command that FreeSWITCH neither splits, nor unquotes, nor expands."""

_CAUSE = re.compile(r"-ERR ([A-Z][A-Z0-9_]{2,48})\Z")

_OUTCOMES = {
    "USER_BUSY": DeliveryOutcome.BUSY,
    "NO_ANSWER": DeliveryOutcome.NO_ANSWER,
    "ALLOTTED_TIMEOUT": DeliveryOutcome.NO_ANSWER,
    "NO_USER_RESPONSE": DeliveryOutcome.NO_ANSWER,
    "CALL_REJECTED": DeliveryOutcome.CALL_REJECTED,
}
"""Outcomes by the cause of a call that was not answered. Any other cause: the number could not be reached."""


@dataclass(frozen=True, slots=True)
class VoiceCall:
    """Delivers by call. `routing` reads the tables, `now` is the clock. `prompts` is a directory as FreeSWITCH sees it.

    Raises ConfigError for a value that cannot be used.
    """

    routing: Callable[[Call], Routing]
    now: Callable[[], datetime]
    address: tuple[str, int]
    password: str = field(repr=False)
    timeout_s: float
    ring_s: int
    prompts: str

    def __post_init__(self) -> None:
        if not _DIRECTORY.match(self.prompts):
            raise ConfigError(f"prompts = {self.prompts!r}: must be an absolute path of letters, digits and _ . / -")
        if not (self.password.isprintable() and self.password.isascii()):
            raise ConfigError("event_socket_password: must be printable ASCII")

    def deliver(self, message: Message) -> Delivered:
        """Calls, reads the code, and returns when the call has ended or could not be placed. Raises nothing.

        Takes at most the ring time for each trunk that fails, once the longest call, and FreeSWITCH's time to answer.
        """
        if not self.password:
            return Delivered(DeliveryOutcome.NOT_CONFIGURED, "setting event_socket_password is empty")
        try:
            return self._deliver(message)
        except Refused as error:
            return Delivered(DeliveryOutcome.SWITCH_REFUSED, str(error))
        except ProtocolError as error:
            return Delivered(DeliveryOutcome.SWITCH_UNREACHABLE, str(error))
        except DialStringError as error:
            return Delivered(DeliveryOutcome.NO_TRUNK, str(error))
        except DataError as error:
            return Delivered(DeliveryOutcome.INTERRUPTED, str(error))

    def _deliver(self, message: Message) -> Delivered:
        """Tries the account's trunks as for a user's call: the next one after a trunk failure, not after a refusal."""
        call = Call(message.number, direction=Direction.OUTBOUND, account=message.account)
        routing = self.routing(call)
        if routing.account is not None:
            call = replace(call, presented=routing.account.network_number)
        failed, delivered = None, None
        while True:
            decision = router.route(call, routing, self.now(), failed)
            leg = _leg(decision)
            if leg is None:
                return delivered or Delivered(DeliveryOutcome.NO_TRUNK, decision.code)
            progress = self._call(replace(leg, ring_s=self.ring_s), message)
            delivered = progress.delivered()
            if progress.answered:
                return delivered
            failed = FailedPlan(None, Outcome.UNREACHABLE, progress.cause, decision.trunks)

    def _call(self, leg: Leg, message: Message) -> _Progress:
        """One call through one trunk."""
        channel_uuid = str(uuid4())
        parts = [files(part, self.prompts) for part in prompts.reading(message.code, message.language)]
        command = originate(channel_uuid, leg, parts)
        with connected(self.address, self.password, self.timeout_s) as switch:
            switch.command(frames.command(f"event plain {_EVENTS}"))
            for name, value in (
                ("Unique-ID", channel_uuid),
                ("Job-UUID", channel_uuid),
                ("Event-Subclass", "filestring::fail"),
            ):
                switch.command(frames.command(f"filter {name} {value}"))
            switch.command(frames.background(command, channel_uuid))
            return self._listen(switch, _Progress(channel_uuid, frozenset(parts[0])))

    def _listen(self, switch: EventSocketClient, progress: _Progress) -> _Progress:
        """Reads events until the call has ended."""
        deadline = time.monotonic() + self.ring_s + _LATE_S + self.timeout_s
        while not progress.cause:
            was_answered = progress.answered
            progress.take(switch.event(deadline))
            if progress.answered and not was_answered:
                deadline = time.monotonic() + LONGEST_CALL_S + _LATE_S + self.timeout_s
        return progress


def from_settings(settings: Settings, routing: Callable[[Call], Routing], now: Callable[[], datetime]) -> VoiceCall:
    """The delivery by call, from the settings. Raises ConfigError for settings that cannot be used."""
    return VoiceCall(
        routing,
        now,
        parse_address("event_socket", settings.event_socket),
        settings.event_socket_password,
        settings.event_socket_s,
        settings.verify_ring_s,
        settings.prompts or str(SOUNDS),
    )


def files(part: tuple[str | int, ...], directory: str) -> list[str]:
    """What FreeSWITCH plays for a part of `prompts.reading`."""
    return [f"silence_stream://{item}" if isinstance(item, int) else f"{directory}/{item}.wav" for item in part]


def originate(channel_uuid: str, leg: Leg, parts: list[list[str]]) -> str:
    """The API command that rings a leg and plays these parts to the callee. `channel_uuid` will be the id of the channel.

    Raises DialStringError for a value that does not fit into it.
    """
    # No key ends a playback: tones of a mailbox, or a cheek on the keypad, must not.
    variables = f"{{origination_uuid={channel_uuid},playback_terminators=none}}"
    dial = variables + dialstring.bridge(Plan(((leg,),)), Confirmation())
    played = ",".join(f"playback:file_string://{'!'.join(part)}" for part in parts)
    applications = f"sched_hangup:+{LONGEST_CALL_S},{played}"
    for argument in (dial, applications):
        if not _ARGUMENT.match(argument):
            raise DialStringError(f"{leg.target}: {argument[:80]!r} cannot be an argument of originate")
    return f"originate {dial} {applications} inline"


def _leg(decision: Decision) -> Leg | None:
    """The leg of a decision that sends the call to the telephone network. Emergency numbers and our own phones are never
    called to verify them."""
    if decision.code != "trunk" or not decision.plan.stages:
        return None
    ((leg,),) = decision.plan.stages
    return leg if isinstance(leg.dial, TrunkDial) else None


@dataclass(slots=True)
class _Progress:
    """The progress of one call by its events. `needed` are the files of its first part. `cause` is the hang-up cause, empty
    before the end."""

    channel_uuid: str
    needed: frozenset[str]
    answered: bool = False
    cause: str = ""
    _read: DeliveryOutcome | None = None
    _missing: bool = False

    def take(self, event: Frame) -> None:
        """Updates the progress by an event. Raises Refused if FreeSWITCH refused `originate`."""
        match event.get("Event-Name"):
            case "CUSTOM" if event.get("File") in self.needed:
                self._missing = True
            case "BACKGROUND_JOB" if event.get("Job-UUID") == self.channel_uuid:
                self._take_answer(event.body.decode("utf-8", "replace").strip())
            case name if event.get("Unique-ID") == self.channel_uuid:
                self._take_of_call(name, event)

    def _take_answer(self, text: str) -> None:
        failed = _CAUSE.match(text)
        if failed is not None:
            self.cause = failed[1]
        elif text == f"+OK {self.channel_uuid}":
            self.answered = True
        else:
            raise Refused(f"FreeSWITCH refused originate: {quoted(text)}")

    def _take_of_call(self, name: str, event: Frame) -> None:
        if name == "CHANNEL_ANSWER":
            self.answered = True
        elif name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application") == "playback":
            self._read = self._read or _read(event)
        elif name == "CHANNEL_HANGUP_COMPLETE" and self.answered:
            # The end of a call that was not answered comes by the answer to `originate`.
            self.cause = event.get("Hangup-Cause") or "NORMAL_UNSPECIFIED"

    def delivered(self) -> Delivered:
        """The result of the delivery, once the call has ended."""
        if not self.answered:
            return Delivered(_OUTCOMES.get(self.cause, DeliveryOutcome.NUMBER_UNREACHABLE), self.cause)
        return Delivered(
            DeliveryOutcome.PROMPT_FAILED if self._missing else self._read or DeliveryOutcome.CUT_SHORT, self.cause
        )


def _read(played: Frame) -> DeliveryOutcome:
    """The outcome by the end of the first playback: after it the code has been read once."""
    if played.get("Answer-State") != "answered":
        return DeliveryOutcome.CUT_SHORT
    return (
        DeliveryOutcome.CODE_READ if played.get("Application-Response") == "FILE PLAYED" else DeliveryOutcome.PROMPT_FAILED
    )
