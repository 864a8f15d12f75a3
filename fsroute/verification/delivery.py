"""The delivery of a verification code: the message, and what became of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fsroute.codes import DeliveryOutcome
from fsroute.text import printable

DELIVERED = frozenset({DeliveryOutcome.CODE_READ, DeliveryOutcome.MESSAGE_ACCEPTED})
"""Outcomes after which the callee may know the code: it was read to its end, or the gateway accepted the message."""

ANSWER_LENGTH = 1000
"""Characters of the other side's answer that are kept: what fits on a screen."""

_MASK = "***"


@dataclass(frozen=True, slots=True)
class Message:
    """A code for a number. `id` is the verification's: the same for every attempt to deliver it."""

    id: str
    account: str
    number: str
    code: str
    language: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a message: what the other side answered (a hang-up cause, an HTTP status
    and body), for the operator."""

    outcome: DeliveryOutcome
    answer: str = ""

    @property
    def succeeded(self) -> bool:
        return self.outcome in DELIVERED

    @property
    def notice(self) -> str:
        return self.outcome.meaning


def kept_answer(answer: str, code: str) -> str:
    """The other side's answer as it is kept: one line of printable characters, bounded, without the code."""
    return " ".join(printable(answer, " ").replace(code, _MASK)[:ANSWER_LENGTH].split())


class Delivery(Protocol):
    """A way to deliver a verification code to a number: by call (voice_call.py) or by SMS (sms.py)."""

    def deliver(self, message: Message) -> Delivered:
        """Delivers the code, and returns when the delivery has succeeded or failed. A failed delivery raises nothing."""
        ...
