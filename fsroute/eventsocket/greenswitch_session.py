"""greenswitch's verbs (`answer`, `bridge`, `playback`, ...) for a Session in sync mode.

The verbs are greenswitch's own code. This module replaces the code below them: a Session sends, receives and closes. In
sync mode FreeSWITCH replies to an application when the application has ended, and sends no events. So every verb returns at
the application's end, with or without `block`, and members that only make sense with events are refused.
"""

from __future__ import annotations

from typing import Any, NoReturn

from gevent.event import AsyncResult
from greenswitch.esl import OutboundSession

from fsroute.errors import ProtocolError
from fsroute.eventsocket import frames
from fsroute.eventsocket.frames import Execute, Frame
from fsroute.eventsocket.session import Session
from fsroute.eventsocket.wait import Wait


class Reply:
    """A frame with the attributes that greenswitch's verbs read."""

    def __init__(self, frame: Frame) -> None:
        self.headers = frame.headers()
        self.data = frame.get("Reply-Text")


class GreenswitchSession(OutboundSession):  # type: ignore[misc]  # no types
    """A greenswitch session over one of ours. Its errors are SessionGone, ReplyTimeout and ProtocolError."""

    # greenswitch's own __init__ would start greenlets that read the socket.
    def __init__(self, session: Session) -> None:
        self.sock = session.sock
        self.session_data: dict[str, str] = {}
        self._session = session
        self._expected: AsyncResult[Reply] | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self._session.connected

    @property
    def _outbound_connected(self) -> bool:
        """Greenswitch's name for a connection whose call was taken over and has not ended."""
        return bool(self.session_data) and self._session.connected

    def connect(self) -> dict[str, str]:
        """Takes the call over and returns the headers of its snapshot. Raises ProtocolError in async mode."""
        if not self.session_data:
            self._session.execute((), snapshot=True)
            self.session_data = self._session.first_snapshot().headers()
        return self.session_data

    def send(self, data: str) -> Reply:
        """Sends a command of one line. Raises ProtocolError if FreeSWITCH refuses it."""
        return _checked(self._session.request(frames.command(data)), data)

    def call_command(
        self,
        app_name: str,
        app_args: str | None = None,
        block: bool = False,  # noqa: ARG002, FBT001, FBT002 - greenswitch's signature
        response_timeout: float | None = None,
    ) -> Reply:
        """Runs an application to its end. Raises ProtocolError if FreeSWITCH refuses it."""
        expected, self._expected = self._expected, None
        command = frames.encode([Execute(app_name, app_args or "")])
        reply = _checked(self._session.request(command, Wait.CALL, response_timeout), app_name)
        if expected is not None:
            expected.set(Reply(self._session.request(frames.CONNECT)))
        return reply

    def register_expected_event(self, _event: str, _variable: str, _value: str, result: AsyncResult[Reply]) -> None:
        """A verb waits for the event at an application's end: it gets the snapshot after the end instead."""
        self._expected = result

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """Ends the call, also one that was not taken over, and returns when FreeSWITCH has closed the connection."""
        self._session.reject(cause)

    def stop(self) -> None:
        """Closes the connection. A call that has not ended goes on with the dialplan's next action."""
        self._session.close()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ProtocolError("FreeSWITCH sends no events in sync mode: use the verbs, which return at an application's end")

    handle_event = on_disconnect = on_event = on_hangup = process_events = receive_events = _refuse
    myevents = register_handle = start_event_handlers = unregister_handle = _refuse

    def linger(self, timeout: float | None = None) -> NoReturn:  # noqa: ARG002 - greenswitch's signature
        """Refused: after the end of a call there is nothing to receive without events."""
        self._refuse()

    def uuid_break(self) -> NoReturn:
        """Refused: in sync mode no command is read while an application runs."""
        raise ProtocolError("in sync mode FreeSWITCH reads no command while an application runs: nothing can be broken off")


def _checked(frame: Frame, what: str) -> Reply:
    reply = Reply(frame)
    if not reply.data.startswith("+OK"):
        raise ProtocolError(f"FreeSWITCH refused {what[:60]!r}: {reply.data.strip()[:60]!r}")
    return reply
