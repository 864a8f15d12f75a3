"""The table of target kinds: everything that fsroute knows about a kind of target, in one place. Pure.

A target is a row of rule_targets. Its kind says which column holds its value, what that value leads to, and, if the target
ends the call, what FreeSWITCH does then. The queries, the check of a load, the planner, the commands and the
reports read this table. A kind that ends the call needs a class here, a line in TargetKind, and its column in schema.sql.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar, Self


class _Described:
    """An ending as text. `as_data` is its form in JSON: the kind, then what distinguishes it."""

    __slots__ = ()

    def as_data(self) -> dict[str, str]:
        raise NotImplementedError

    def __str__(self) -> str:
        return " ".join(self.as_data().values())


@dataclass(frozen=True, slots=True)
class Hangup(_Described):
    """The call ends with a cause (FreeSWITCH's name for it)."""

    cause: str
    __str__ = _Described.__str__

    def as_data(self) -> dict[str, str]:
        return {"kind": "hangup", "cause": self.cause}


class Application(_Described):
    """FreeSWITCH answers the call and runs one of its applications. The call ends after it.

    `shows_caller`: the application shows the caller's name and number to somebody, so these must be what the call may show.
    """

    __slots__ = ()
    shows_caller: ClassVar[bool] = True

    def command(self) -> tuple[str, str]:
        """The application and its argument."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Voicemail(Application):
    """FreeSWITCH connects the caller to the mailbox of an endpoint."""

    mailbox: str
    domain: str

    def command(self) -> tuple[str, str]:
        return "voicemail", f"default {self.domain} {self.mailbox}"

    def as_data(self) -> dict[str, str]:
        return {"kind": "voicemail", "mailbox": f"{self.mailbox}@{self.domain}"}


@dataclass(frozen=True, slots=True)
class Announcement(Application):
    """FreeSWITCH plays a sound file to the caller."""

    file: str
    shows_caller: ClassVar[bool] = False

    def command(self) -> tuple[str, str]:
        return "playback", self.file

    def as_data(self) -> dict[str, str]:
        return {"kind": "announcement", "file": self.file}


Ending = Hangup | Application
"""What happens to a call when nobody answers."""

EndingOf = Callable[[str, str], Ending]
"""Makes the ending from the value of a target and the domain of its account."""


class LeadsTo(Enum):
    """What a target leads to, for the planner."""

    ENDPOINTS = "endpoints"
    """Endpoints, which the routing store has read (routing_store._with_phones has a query for each such kind)."""

    TRUNK = "trunk"
    """A number of the telephone network. If it is hosted here, the target is treated as HOSTED_NUMBER."""

    HOSTED_NUMBER = "hosted number"
    """A number that is hosted here: its own rules decide."""

    END = "end"
    """The end of the call, as TargetKind.ending makes it."""


def _no_ending(value: str, domain: str) -> Ending:
    raise ValueError(f"{value}@{domain}: a target of this kind does not end a call")


class TargetKind(StrEnum):
    """The kinds. The value of each is its column in rule_targets; `label` is its name for people."""

    label: str
    leads_to: LeadsTo
    ending: EndingOf

    def __new__(cls, column: str, label: str, leads_to: LeadsTo, ending: EndingOf = _no_ending) -> Self:
        kind = str.__new__(cls, column)
        kind._value_ = column
        kind.label, kind.leads_to, kind.ending = label, leads_to, ending
        return kind

    ENDPOINT = "endpoint", "endpoint", LeadsTo.ENDPOINTS
    RING_GROUP = "ring_group", "ring group", LeadsTo.ENDPOINTS
    USER = "user_name", "user", LeadsTo.ENDPOINTS
    EXTERNAL = "external_number", "external", LeadsTo.TRUNK
    HOSTED = "hosted_number", "number", LeadsTo.HOSTED_NUMBER
    VOICEMAIL = "voicemail", "voicemail", LeadsTo.END, Voicemail
    ANNOUNCEMENT = "announcement", "announcement", LeadsTo.END, lambda file, _: Announcement(file)
    HANGUP = "hangup_cause", "hang-up", LeadsTo.END, lambda cause, _: Hangup(cause)

    @property
    def is_number(self) -> bool:
        """Whether the value is an E.164 number, which may be hosted here."""
        return self.leads_to in {LeadsTo.TRUNK, LeadsTo.HOSTED_NUMBER}

    @property
    def is_end(self) -> bool:
        """Whether a target of this kind ends the call instead of ringing."""
        return self.leads_to is LeadsTo.END
