"""The errors that fsroute raises. Each class says who has to act: the operator, the owner of the data, FreeSWITCH."""

from __future__ import annotations


class FsrouteError(Exception):
    """Base of every error that fsroute raises itself. Its text is one line that says what to do."""


class ConfigError(FsrouteError):
    """A setting is unknown, malformed or contradicts another one. The command line exits with status 2."""


class DataError(FsrouteError):
    """The database, or a script that fills it, holds something that cannot work."""


class WrongVersion(DataError):
    """The database has tables of another fsroute version."""


class DialStringError(FsrouteError):
    """A value does not fit into a dial string. The text names the field of the value, so that its row can be found."""


class ProtocolError(FsrouteError):
    """The far end of an Event Socket sent something that is not the protocol, or broke off."""


class Disconnected(ProtocolError):
    """The far end closed the connection: the caller hung up, or FreeSWITCH has gone. `cause` is the cause that the call
    ended with, where FreeSWITCH said it."""

    cause: str | None = None


class CallEnded(Disconnected):
    """The call has ended, with this cause."""

    def __init__(self, cause: str | None) -> None:
        super().__init__("the call has ended")
        self.cause = cause


class ReplyTimeout(ProtocolError):
    """The far end did not answer in time."""
