"""A verification code on its way: what is to be told to whom, and what became of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fsroute.text import printable

DELIVERED = frozenset({"code_read", "message_accepted"})
"""Outcomes after which the code can be known on the other side: read out to its end, or taken over by the gateway."""

NOTICES = {
    "code_read": "the call was answered and the code was read to its end",
    "busy": "the number was busy",
    "no_answer": "nobody answered",
    "call_rejected": "the call was rejected",
    "number_unreachable": "the number could not be reached",
    "cut_short": "the call was answered and ended before the code was read; was it a mailbox?",
    "prompt_failed": "FreeSWITCH could not play the prompts",
    "no_trunk": "no trunk of the account carries a call to the number",
    "switch_unreachable": "FreeSWITCH can not be reached",
    "switch_refused": "FreeSWITCH refused the call",
    "message_accepted": "the gateway took the message",
    "gateway_refused": "the SMS gateway refused the message",
    "gateway_failed": "the SMS gateway failed",
    "gateway_timeout": "the SMS gateway did not answer in time",
    "gateway_unreachable": "the SMS gateway can not be reached",
    "not_configured": "this way of delivery is not configured",
    "interrupted": "the delivery was interrupted",
}
"""Every outcome of a delivery, and what a customer is told of it."""


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
    """What became of a message: an outcome of NOTICES, and what the other side answered (a hang-up cause, an HTTP status
    and body), for the operator."""

    outcome: str
    answer: str = ""

    @property
    def succeeded(self) -> bool:
        return self.outcome in DELIVERED

    @property
    def notice(self) -> str:
        return NOTICES[self.outcome]


def kept_answer(answer: str, code: str) -> str:
    """The other side's answer as it is kept: one line of printable characters, bounded, without the code."""
    return " ".join(printable(answer, " ").replace(code, _MASK)[:ANSWER_LENGTH].split())


class Delivery(Protocol):
    """A way to tell a number a code: by call (`verification/voice_call.py`) or by SMS (`verification/sms.py`)."""

    def deliver(self, message: Message) -> Delivered:
        """Tells it, and returns when that is done or has failed. Raises nothing for what can go wrong on the way."""
        ...
