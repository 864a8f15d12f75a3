"""Times as text: one writer and one reader for tables and JSON, and one form for people.

A time is written in UTC and in whole seconds, `2026-11-23T08:30:00Z`, so that texts sort as times do.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import overload


@overload
def to_text(moment: datetime) -> str: ...
@overload
def to_text(moment: None) -> None: ...
def to_text(moment: datetime | None) -> str | None:
    """A time as tables and JSON have it; None stays None. Raises ValueError for one without a time zone."""
    return None if moment is None else whole_seconds(moment).isoformat().removesuffix("+00:00") + "Z"


@overload
def from_text(text: str, zone: tzinfo | None = None) -> datetime: ...
@overload
def from_text(text: None, zone: tzinfo | None = None) -> None: ...
def from_text(text: str | None, zone: tzinfo | None = None) -> datetime | None:
    """The time that an ISO 8601 text names; None stays None. `zone` is the time zone of a text without an offset.

    Raises ValueError for a text that is no time, or that has no offset where no zone is given.
    """
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise ValueError(f"{text} has no time zone")
    return moment.replace(tzinfo=zone)


def whole_seconds(moment: datetime) -> datetime:
    """A time as a table holds it: UTC, without the fraction of a second. Raises ValueError for one without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(microsecond=0)


def for_people(moment: datetime) -> str:
    """A time in a sentence: `2026-11-23 08:30:00 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
