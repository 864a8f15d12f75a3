"""Which numbers a log line shows whole, and which may be a person's and lose their last digits (`log_numbers`). Pure.

An operator needs the own numbers, extensions and emergency numbers to find a mistake. Every other number of a call may be a
person's, whoever called it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fsroute.codes import Code, ReasonCode
from fsroute.model import Call, Decision, Direction, Reason, TrunkDial
from fsroute.text import plain

_EXTENSION_DIGITS = 5
"""A text with more digits may be a person's number where only the text is known. Extensions may have up to eight, and local
numbers as few as three; extensions of more than five digits are rare, and so are local numbers of fewer than six."""

_SERVICE_DIGITS = 3
"""What is dialled with so few digits is a service number (115) if it is no extension."""

_NO_PERSON = frozenset({ReasonCode.EXTENSION, ReasonCode.EMERGENCY, ReasonCode.PROTECTED})
"""With these reasons the user dialled an extension, a short code or a short number."""

_OWN = ("number ", "rule ")
"""How the subject of a reason begins that is about a hosted number."""

_NAMED = (*_OWN, "user ", "endpoint ", "ring group ", "trunk ", "account ", "voicemail ", "announcement ", "hangup ")
"""How the subject of a reason begins that is a name in the tables, which an operator chose."""

_NO_DIGIT = re.compile("[^0-9]")


@dataclass(frozen=True, slots=True)
class PersonalNumbers:
    """Writes the numbers of log lines. `shown` writes a number that may be a person's."""

    shown: Callable[[str], str]

    def text(self, text: str) -> str:
        """A number of which only the text is known: an extension stays as it is."""
        return self._unless(text, is_whole=_is_short(text, _EXTENSION_DIGITS))

    def caller(self, call: Call) -> str:
        """The caller. A user's phone may send its name or extension."""
        if call.anonymous:
            return "anonymous"
        return self.text(call.caller) if call.direction is Direction.OUTBOUND else self.shown(plain(call.caller))

    def dialled(self, call: Call, decision: Decision) -> str:
        """What was dialled."""
        text = call.destination
        digits = _NO_DIGIT.sub("", text).lstrip("0")
        if decision.number is not None and digits and decision.number.endswith(digits):
            return plain(text)  # with its calling code, or without
        codes = {reason.code for reason in decision.reasons}
        return self._unless(text, is_whole=not codes.isdisjoint(_NO_PERSON) or _is_short(text, _SERVICE_DIGITS))

    def reasons(self, call: Call, decision: Decision) -> list[str]:
        """The code of each reason, with what it is about."""
        return [f"{reason.code}: {self._subject(reason, call, decision)}" for reason in decision.reasons]

    def _subject(self, reason: Reason, call: Call, decision: Decision) -> str:
        subject = reason.subject
        if subject.startswith(_NAMED) or reason.code in _ABOUT_NAMES:
            return plain(subject)
        if subject == call.destination:
            return self.dialled(call, decision)
        if subject == call.caller:
            return self.caller(call)
        return self._unless(subject, is_whole=_is_short(subject, _EXTENSION_DIGITS) or subject in _own(decision))

    def _unless(self, text: str, *, is_whole: bool) -> str:
        return plain(text) if is_whole else self.shown(plain(text))


_ABOUT_NAMES: frozenset[Code] = frozenset({ReasonCode.ACCOUNT_UNKNOWN, ReasonCode.TRUNK_UNKNOWN, ReasonCode.USER_UNKNOWN})
"""Reasons whose subject is a name that the dialplan or the directory gave."""


def _is_short(text: str, most: int) -> bool:
    """Whether a text is too short for a person's number."""
    return "+" not in text and len(_NO_DIGIT.sub("", text)) <= most


def _own(decision: Decision) -> set[str]:
    """The hosted numbers that the decision names. The number that is asserted to a carrier is the account's own."""
    found = {decision.number or "", decision.rule.number if decision.rule else "", decision.caller_id.network or ""}
    for reason in decision.reasons:
        if reason.subject.startswith(_OWN):
            found.add(reason.subject.partition(" ")[2].partition("/")[0])
    found.update(
        leg.caller_id.network or "" for stage in decision.plan.stages for leg in stage if isinstance(leg.dial, TrunkDial)
    )
    return found
