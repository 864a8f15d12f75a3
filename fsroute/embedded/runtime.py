"""What leads calls inside FreeSWITCH's process: the same core, settings and database as `fsroute serve`, other edges.

Facts come from the same snapshot of the channel that the Event Socket sends. mod_python3's `getVariable` would give the
same variables, but also FreeSWITCH's global ones, whatever the letter case, and without a copy: a variable that changes at
that moment is read from memory that has been given free (switch_channel_get_variable).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from fsroute import log as logs
from fsroute.callerid import policy
from fsroute.configuration.settings import Settings, load_settings
from fsroute.data.database import open_database, without_password
from fsroute.data.routing_store import Store
from fsroute.embedded.entry import CONFIG, Threads
from fsroute.errors import CallEnded
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Command, End, Frame
from fsroute.model import Call
from fsroute.reports import explanation
from fsroute.serving.call_control import CallController
from fsroute.serving.registrations import Registrations
from fsroute.serving.wiring import make_controller
from fsroute.switch.channel_state import is_hung_up

_WIDTH = 120
"""Columns of an explanation on the switch's console."""


class SwitchChannel:
    """One call, through the session that mod_python3 gives us.

    What is told is done when the answer is asked for: applications run on the thread that leads the call, until they end.
    """

    peer = "mod_python3"

    def __init__(self, session: Any, new_event: Callable[[str], Any]) -> None:
        self._session = session
        self._new_event = new_event
        self._told: list[Command] = []

    def connect(self) -> Frame:
        return self.hear(bounded=True)

    def tell(self, commands: Sequence[Command], *, asks: bool) -> None:  # noqa: ARG002 - whoever asks hears
        for command in commands:
            frames.check(command)
        self._told += commands

    def hear(self, *, bounded: bool) -> Frame:
        self.hear_end(bounded=bounded)
        event = self._new_event("CHANNEL_DATA")
        self._session.setEventData(event)
        snapshot = Frame(event.serialize().encode("utf-8", "surrogateescape"))
        if is_hung_up(snapshot):
            raise CallEnded(snapshot.get("Hangup-Cause") or None)
        return snapshot

    def hear_end(self, *, bounded: bool) -> None:  # noqa: ARG002 - an application can not be given a deadline
        told, self._told = self._told, []
        for command in told:
            if not self._session.ready():
                return  # it has ended, or FreeSWITCH is taking it elsewhere: what is left of it is not ours
            if isinstance(command, End):
                self._session.hangup(command.cause)
            else:
                self._session.execute(*(part for part in command if part))

    def refuse(self, cause: str) -> None:
        self.tell([End(cause)], asks=False)
        self.hear_end(bounded=True)


class SwitchLog:
    """Writes structlog's lines to FreeSWITCH's log, each at its level."""

    def __init__(self, switch: Any) -> None:
        self._switch = switch

    def debug(self, line: str) -> None:
        self._switch.consoleLog("DEBUG", f"{line}\n")

    def info(self, line: str) -> None:
        self._switch.consoleLog("INFO", f"{line}\n")

    def warning(self, line: str) -> None:
        self._switch.consoleLog("WARNING", f"{line}\n")

    def error(self, line: str) -> None:
        self._switch.consoleLog("ERR", f"{line}\n")


@dataclass(frozen=True, slots=True)
class Embedded:
    """What leads calls. One for the whole process; it holds no state of any call."""

    flow: CallController
    settings: Settings
    new_event: Callable[[str], Any]

    def lead(self, session: Any) -> None:
        """Leads one call, on its own thread."""
        for _ in self.flow.run(SwitchChannel(session, self.new_event)):
            pass  # it pauses where others wait; here applications have run to their end

    def explain(self, to: str, caller: str = "") -> str:
        """What an inbound call would do now, as text. Raises DataError."""
        call = Call(to, caller, anonymous=bool(caller) and policy.is_hidden(caller))
        store = Store(open_database(self.settings.db), self.settings.db, self.settings.country)
        routing = store.routing(call)
        store.close()
        hosted = routing.numbers.get(routing.dialled) if routing.dialled else None
        now = datetime.now(ZoneInfo(hosted.account.timezone) if hosted else UTC).replace(microsecond=0)
        data = explanation.as_data(call, routing, now, self.settings.confirmation, self.settings.hop_limit)
        from rich.console import Console  # noqa: PLC0415 - nothing else needs it

        text = io.StringIO()
        explanation.show(data, Console(file=text, width=_WIDTH))
        return text.getvalue()


def make(switch: Any, threads: Threads) -> Embedded:
    """Everything that calls need. Raises ConfigError or DataError."""
    settings = load_settings({}, os.environ, switch.getGlobalVariable(CONFIG) or None)
    log = logs.make_switch_logger(SwitchLog(switch), settings.log_level)
    # Nobody tells of registrations here: to ask, within the process, costs less than to listen.
    flow = make_controller(
        settings, log, Registrations(0), lambda read: partial(threads.run, settings.decision_ms / 1000, read)
    )
    log.info("ready", db=without_password(settings.db))
    return Embedded(flow, settings, switch.Event)
