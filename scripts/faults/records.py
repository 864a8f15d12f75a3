"""What became of calls, and what a fault did to them. Pure: values in, values out.

A call is *lost* if neither a phone nor the fallback answered it, if it had no final response within FINAL_S, if its talk
ended before the caller hung up, or if FreeSWITCH kept its channel after the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

FINAL_S = 30.0
"""Seconds for a final response. A caller hangs up earlier, and most carriers end such a call."""

NORMAL_SILENCE_S = 1.0
"""Seconds from the INVITE to the first ringing tone, up to which a call counts as normal: on a busy machine too."""

NORMAL_IN_A_ROW = 8
"""So many normal calls, one after another, are the end of a fault: at four calls a second that is two seconds."""


class Step(StrEnum):
    """How far a call had come when the fault began."""

    DECISION = "before the decision"
    RINGING = "while phones ring"
    BETWEEN = "between two plans"
    TALKING = "while talking"
    END = "at the end"


class Answered(StrEnum):
    """By whom."""

    PHONE = "phone"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class Record:
    """A call as its caller and its phones saw it. Times are seconds from the INVITE, `placed_s` is from the fault."""

    step: Step
    placed_s: float
    answered_by: Answered | None = None
    answered_s: float | None = None
    heard_s: float | None = None
    """The first response that a caller notices: ringing, audio, an answer or an end."""
    status: int = 0
    """The final response; 0 for none."""
    gap_s: float | None = None
    """From the end of the first plan to the INVITE to the next phone."""
    is_cut: bool = False
    """The other side or nobody ended the talk before the caller did."""
    stays: bool = False
    """FreeSWITCH did not answer the caller's BYE."""

    @property
    def is_lost(self) -> bool:
        late = self.answered_s is not None and self.answered_s > FINAL_S
        return self.answered_by is None or late or self.is_cut or self.stays

    @property
    def is_normal(self) -> bool:
        silent_s = FINAL_S if self.heard_s is None else self.heard_s
        return not self.is_lost and self.answered_by is Answered.PHONE and silent_s <= NORMAL_SILENCE_S


@dataclass(frozen=True, slots=True)
class Bound:
    """What a fault may do at most. Seconds."""

    lost: int = 0
    silence_s: float = 2.0
    gap_s: float = 2.0
    fallback: bool = False
    """Calls may reach the fallback."""
    normal_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault did."""

    records: tuple[Record, ...]
    normal_s: float | None
    """From the end of the fault to the first of the calls since which all were normal; None if they never were."""

    def of(self, step: Step) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.step is step)

    @property
    def lost(self) -> int:
        return sum(record.is_lost for record in self.records)


def effect(records: Iterable[Record], ended_s: float) -> Effect:
    """`ended_s`: when the fault was over, in seconds from its begin. 0 if it lasts no time, like a signal."""
    ordered = tuple(sorted(records, key=lambda record: record.placed_s))
    return Effect(ordered, normal_after(ordered, ended_s))


def normal_after(records: Sequence[Record], ended_s: float) -> float | None:
    """Seconds from the end of a fault until calls were normal; 0 if they were at once."""
    fresh = [record for record in records if record.step is Step.DECISION]
    abnormal = [number for number, record in enumerate(fresh) if not record.is_normal]
    if not abnormal:
        return 0.0
    later = fresh[abnormal[-1] + 1 :]
    return max(0.0, later[0].placed_s - ended_s) if later else None


def is_over(records: Sequence[Record], ended_s: float) -> bool:
    """Whether the last calls that were placed after the end of the fault are normal."""
    fresh = [record for record in records if record.step is Step.DECISION and record.placed_s >= ended_s]
    return len(fresh) >= NORMAL_IN_A_ROW and all(record.is_normal for record in fresh[-NORMAL_IN_A_ROW:])


def broken(found: Effect, bound: Bound) -> list[str]:
    """Which parts of the bound do not hold, a sentence each."""
    sentences = []
    if found.lost > bound.lost:
        sentences.append(f"{found.lost} of {len(found.records)} calls were lost, at most {bound.lost} may be")
    fallbacks = sum(record.answered_by is Answered.FALLBACK for record in found.records)
    if fallbacks and not bound.fallback:
        sentences.append(f"{fallbacks} of {len(found.records)} calls reached the fallback, none should")
    for what, seconds, most in (
        ("silence", _longest(record.heard_s for record in found.records), bound.silence_s),
        ("pause between two plans", _longest(record.gap_s for record in found.records), bound.gap_s),
    ):
        if seconds is not None and seconds > most:
            sentences.append(f"{what} of {seconds:.1f} s, at most {most:g} s is right")
    if found.normal_s is None:
        sentences.append("calls were not normal again while it was watched")
    elif found.normal_s > bound.normal_s:
        sentences.append(f"normal after {found.normal_s:.1f} s, at most {bound.normal_s:g} s is right")
    return sentences


# What a cell of the table says.


def cell(records: Sequence[Record], step: Step) -> str:
    """What callers at this step heard, in a few words."""
    if not records:
        return "-"
    match step:
        case Step.DECISION:
            words = [_seconds(_longest(record.heard_s for record in records), "silence")]
        case Step.BETWEEN:
            words = [_seconds(_longest(record.gap_s for record in records), "ringing on")]
        case Step.RINGING:
            words = ["rings on"]
        case Step.TALKING:
            words = ["goes on"]
        case Step.END:
            words = ["ends"]
    if all(record.is_lost for record in records):
        words = []
    count = len(records)
    fallbacks = sum(record.answered_by is Answered.FALLBACK and not record.is_lost for record in records)
    if fallbacks:
        words.append(f"fallback {fallbacks} of {count}")
    lost = [record for record in records if record.is_lost]
    if lost:
        words.append(f"lost {len(lost)} of {count} ({', '.join(sorted({_why(record) for record in lost}))})")
    return ", ".join(words)


def _why(record: Record) -> str:
    if record.is_cut:
        return "cut"
    if record.stays:
        return "not ended"
    return str(record.status) if record.status else "no response"


def _seconds(longest: float | None, what: str) -> str:
    return f"{what} {longest:.2f} s" if longest is not None else f"no {what}"


def _longest(seconds: Iterable[float | None]) -> float | None:
    return max((each for each in seconds if each is not None), default=None)
