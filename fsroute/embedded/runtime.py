"""Controls calls inside FreeSWITCH's process, with the same core, settings and database as `fsroute serve`.

A call's facts come from the same snapshot of the channel that the Event Socket sends. mod_python3's `getVariable` gives the
same variables, but also FreeSWITCH's global ones, in any letter case, and without a copy: a variable that changes at that
moment is read from freed memory (switch_channel_get_variable).
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
from fsroute.configuration.settings import Settings, load_settings, readable_secrets
from fsroute.data.database import open_database, without_password
from fsroute.data.routing_store import Store
from fsroute.embedded.threads import CONFIG, Threads
from fsroute.errors import CallEnded
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Command, End, Frame
from fsroute.eventsocket.wait import Wait
from fsroute.model import Call
from fsroute.reports import explanation
from fsroute.serving.call_control import CallController
from fsroute.serving.registrations import Registrations
from fsroute.serving.wiring import make_controller
from fsroute.switch.channel_state import is_hung_up

_WIDTH = 120
"""Columns of an explanation on the switch's console."""


class SwitchChannel:
    """One call, through mod_python3's session.

    Commands wait until the next snapshot or the end is read: applications run on the thread that controls the call.
    """

    peer = "mod_python3"

    def __init__(self, session: Any, new_event: Callable[[str], Any]) -> None:
        self._session = session
        self._new_event = new_event
        self._waiting: list[Command] = []

    def execute(self, commands: Sequence[Command], *, snapshot: bool) -> None:  # noqa: ARG002 - `snapshot` makes its own
        """Keeps commands for the next wait."""
        for command in commands:
            frames.check(command)
        self._waiting += commands

    def first_snapshot(self) -> Frame:
        """The snapshot with which fsroute takes the call over."""
        return self.snapshot(Wait.REPLY)

    def snapshot(self, wait: Wait) -> Frame:
        """Runs the waiting commands and returns a snapshot. Raises CallEnded."""
        self.wait_for_end(wait)
        event = self._new_event("CHANNEL_DATA")
        self._session.setEventData(event)
        snapshot = Frame(event.serialize().encode("utf-8", "surrogateescape"))
        if is_hung_up(snapshot):
            raise CallEnded(snapshot.get("Hangup-Cause") or None)
        return snapshot

    def wait_for_end(self, wait: Wait) -> None:  # noqa: ARG002 - an application cannot be given a deadline
        """Runs the waiting commands."""
        commands, self._waiting = self._waiting, []
        for command in commands:
            if not self._session.ready():
                return  # the call has ended, or FreeSWITCH is transferring it: the other commands are not for it
            if isinstance(command, End):
                self._session.hangup(command.cause)
            else:
                self._session.execute(*(part for part in command if part))

    def reject(self, cause: str) -> None:
        """Ends the call with this cause."""
        self.execute([End(cause)], snapshot=False)
        self.wait_for_end(Wait.REPLY)


class SwitchLog:
    """Writes log lines to FreeSWITCH's log, each at its level."""

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
    """fsroute in this process. It has no state of any call."""

    controller: CallController
    settings: Settings
    new_event: Callable[[str], Any]

    def control(self, session: Any) -> None:
        """Controls one call, on the call's thread."""
        for _ in self.controller.run(SwitchChannel(session, self.new_event)):
            pass  # where the server waits for FreeSWITCH, here the next step itself runs the applications to their end

    def explain(self, to: str, caller: str = "") -> str:
        """How fsroute would route an inbound call now, as text. Raises DataError."""
        call = Call(to, caller, anonymous=bool(caller) and policy.is_hidden(caller))
        store = Store(open_database(self.settings.db, only_reads=True), self.settings.db, self.settings.country)
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
    """Makes what calls need. Raises ConfigError or DataError."""
    config = switch.getGlobalVariable(CONFIG) or None
    settings = load_settings({}, os.environ, config)
    log = logs.make_switch_logger(SwitchLog(switch), settings.log_level)
    warning = readable_secrets(os.environ, config)
    if warning is not None:
        log.warning("settings are readable by all", reason=warning)
    # No registration events here: a query within the process costs less than a subscription.
    controller = make_controller(
        settings, log, Registrations(0), lambda read: partial(threads.run, settings.decision_ms / 1000, read)
    )
    log.info("ready", db=without_password(settings.db))
    return Embedded(controller, settings, switch.Event)
