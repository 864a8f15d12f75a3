"""A verification call: FreeSWITCH calls the number, reads the code and hangs up; how that went is heard here.

The call goes the way that a call of the account's users would go, through the account's trunks, and shows the network
number. FreeSWITCH is given the whole of it in one command, with an end to each part. So a call that nobody watches any more,
because fsroute was killed or the connection broke, rings no longer than it should, plays what it was told, and hangs up.

What is known of it comes from events (mod_commands.c, switch_ivr_play_say.c, mod_dptools.c of FreeSWITCH 1.11):

  BACKGROUND_JOB            the answer to `originate`: that it was answered, or the cause why not.
  CHANNEL_ANSWER            also of a call that was hung up before `originate` saw the answer.
  CHANNEL_EXECUTE_COMPLETE  of a playback: whether it came to its end. PLAYBACK_STOP does not tell; it says "done" also when
                            the callee has hung up.
  filestring::fail          a prompt can not be opened. It is left out, and the playback goes on. Names no call.
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
"""How much later than it should FreeSWITCH may end a call: the grace in dialstring.py, and its clock of whole seconds."""

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
"""What the causes of a call mean that was not answered. With any other the number could not be reached."""


@dataclass(frozen=True, slots=True)
class VoiceCall:
    """Delivers by call. `routing` reads the tables, `now` is the clock. `prompts` is a directory as FreeSWITCH sees it.

    Raises ConfigError for a value that can not be used.
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
            raise ConfigError(f"prompts = {self.prompts!r}: must be an absolute path of letters, digits and _ . / - only")
        if not (self.password.isprintable() and self.password.isascii()):
            raise ConfigError("event_socket_password: must be printable ASCII")

    def deliver(self, message: Message) -> Delivered:
        """Calls, reads the code, and returns when the call has ended or could not be made. Raises nothing.

        Takes, at most: for each trunk that fails the ring time, once the longest call, and the switch's time to answer.
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
        """Tries the account's trunks as for a user's call: the next one when a trunk failed, not when the callee did."""
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
            heard = self._call(replace(leg, ring_s=self.ring_s), message)
            delivered = heard.delivered()
            if heard.answered:
                return delivered
            failed = FailedPlan(None, Outcome.UNREACHABLE, heard.cause, decision.trunks)

    def _call(self, leg: Leg, message: Message) -> _Heard:
        """One call through one trunk."""
        call = str(uuid4())
        parts = [files(part, self.prompts) for part in prompts.reading(message.code, message.language)]
        command = originate(call, leg, parts)
        with connected(self.address, self.password, self.timeout_s) as switch:
            switch.command(frames.command(f"event plain {_EVENTS}"))
            for name, value in (("Unique-ID", call), ("Job-UUID", call), ("Event-Subclass", "filestring::fail")):
                switch.command(frames.command(f"filter {name} {value}"))
            switch.command(frames.background(command, call))
            return self._listen(switch, _Heard(call, frozenset(parts[0])))

    def _listen(self, switch: EventSocketClient, heard: _Heard) -> _Heard:
        """Takes events until the call has ended."""
        deadline = time.monotonic() + self.ring_s + _LATE_S + self.timeout_s
        while not heard.cause:
            was_answered = heard.answered
            heard.take(switch.event(deadline))
            if heard.answered and not was_answered:
                deadline = time.monotonic() + LONGEST_CALL_S + _LATE_S + self.timeout_s
        return heard


def from_settings(settings: Settings, routing: Callable[[Call], Routing], now: Callable[[], datetime]) -> VoiceCall:
    """Raises ConfigError for settings that can not be used."""
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


def originate(call: str, leg: Leg, parts: list[list[str]]) -> str:
    """The API command that rings a leg and plays these parts to whoever answers. `call` will be the channel's id.

    Raises DialStringError for a value that does not fit into it.
    """
    # No key ends a playback: a mailbox that sends tones, or a cheek, must not.
    variables = f"{{origination_uuid={call},playback_terminators=none}}"
    dial = variables + dialstring.bridge(Plan(((leg,),)), Confirmation())
    played = ",".join(f"playback:file_string://{'!'.join(part)}" for part in parts)
    told = f"sched_hangup:+{LONGEST_CALL_S},{played}"
    for argument in (dial, told):
        if not _ARGUMENT.match(argument):
            raise DialStringError(f"{leg.target}: {argument[:80]!r} can not be an argument of originate")
    return f"originate {dial} {told} inline"


def _leg(decision: Decision) -> Leg | None:
    """The leg of a decision that sends the call to the telephone network. Emergency numbers and our own phones are never
    called to verify them."""
    if decision.code != "trunk" or not decision.plan.stages:
        return None
    ((leg,),) = decision.plan.stages
    return leg if isinstance(leg.dial, TrunkDial) else None


@dataclass(slots=True)
class _Heard:
    """What the events of one call have told so far. `needed` is what its first part plays. `cause` is the call's end; it has
    none before."""

    call: str
    needed: frozenset[str]
    answered: bool = False
    cause: str = ""
    _read: DeliveryOutcome | None = None
    _missing: bool = False

    def take(self, event: Frame) -> None:
        """Learns from an event. Raises Refused if FreeSWITCH did not understand `originate`."""
        match event.get("Event-Name"):
            case "CUSTOM" if event.get("File") in self.needed:
                self._missing = True
            case "BACKGROUND_JOB" if event.get("Job-UUID") == self.call:
                self._take_answer(event.body.decode("utf-8", "replace").strip())
            case name if event.get("Unique-ID") == self.call:
                self._take_of_call(name, event)

    def _take_answer(self, text: str) -> None:
        failed = _CAUSE.match(text)
        if failed is not None:
            self.cause = failed[1]
        elif text == f"+OK {self.call}":
            self.answered = True
        else:
            raise Refused(f"FreeSWITCH refused originate: {quoted(text)}")

    def _take_of_call(self, name: str, event: Frame) -> None:
        if name == "CHANNEL_ANSWER":
            self.answered = True
        elif name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application") == "playback":
            self._read = self._read or _read(event)
        elif name == "CHANNEL_HANGUP_COMPLETE" and self.answered:
            # That of a call that was not answered is not its end: `originate` says in its answer what it makes of it.
            self.cause = event.get("Hangup-Cause") or "NORMAL_UNSPECIFIED"

    def delivered(self) -> Delivered:
        """What became of the message, of a call that has ended."""
        if not self.answered:
            return Delivered(_OUTCOMES.get(self.cause, DeliveryOutcome.NUMBER_UNREACHABLE), self.cause)
        return Delivered(
            DeliveryOutcome.PROMPT_FAILED if self._missing else self._read or DeliveryOutcome.CUT_SHORT, self.cause
        )


def _read(played: Frame) -> DeliveryOutcome:
    """The outcome that the end of the first playback means: with it the code has been read once."""
    if played.get("Answer-State") != "answered":
        return DeliveryOutcome.CUT_SHORT
    return (
        DeliveryOutcome.CODE_READ if played.get("Application-Response") == "FILE PLAYED" else DeliveryOutcome.PROMPT_FAILED
    )
