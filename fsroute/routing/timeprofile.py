"""Whether a time profile matches a moment.

A range refers to the wall clock of its time zone, and fsroute compares it with the wall clock. So "Monday to Friday, 09:00
to 17:00" means the same on the days when the clocks change. A time that the clock skips never matches; a time that occurs
twice matches twice. This module does no arithmetic with local times, because that goes wrong on these days.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fsroute.model import Holidays, TimeProfile, TimeRange

_DAY = timedelta(days=1)

_AROUND = timedelta(days=2)
"""Days on which it can be another year in some time zone, or in the range that began the day before."""


def matches(profile: TimeProfile, now: datetime) -> bool:
    """Whether `now` (with a time zone) lies in one of the profile's ranges."""
    local = now.astimezone(ZoneInfo(profile.timezone))
    return any(_in_range(r, profile.holiday_region, local) for r in profile.ranges)


def _in_range(r: TimeRange, region: str | None, local: datetime) -> bool:
    today, clock = local.date(), local.time().replace(tzinfo=None)
    start = r.start or time.min
    if r.end is None:
        return clock >= start and _on_day(r, region, today)
    if start < r.end:
        return start <= clock < r.end and _on_day(r, region, today)
    # A range across midnight belongs to the day on which it starts.
    return (clock >= start and _on_day(r, region, today)) or (clock < r.end and _on_day(r, region, today - _DAY))


def _on_day(r: TimeRange, region: str | None, day: date) -> bool:
    if r.weekdays is not None and day.weekday() not in r.weekdays:
        return False
    if r.first_date is not None and day < r.first_date:
        return False
    if r.last_date is not None and day > r.last_date:
        return False
    if r.holidays is Holidays.ANY:
        return True
    is_holiday = region is not None and day in public_holidays(region, day.year)
    return is_holiday if r.holidays is Holidays.ONLY else not is_holiday


@lru_cache(maxsize=1024)
def public_holidays(region: str, year: int) -> frozenset[date]:
    """The public holidays of a country (`DE`) or one of its parts (`DE-NW`) in a year.

    Raises LookupError for a region that has no calendar.
    """
    import holidays  # noqa: PLC0415 - the import takes a tenth of a second, and most calls need no calendar

    country, _, part = region.partition("-")
    try:
        return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))
    except NotImplementedError as error:
        raise LookupError(f"no calendar of public holidays for {region}") from error


def prepare(region: str, now: datetime) -> None:
    """Computes the holidays that a call at `now` can ask for, so that no call waits for them: the first calendar of a
    process takes 0.15 s, each further one 1 ms. Nothing for a region that has no calendar."""
    with suppress(LookupError):
        for year in {(now + days).year for days in (-_AROUND, timedelta(), _AROUND)}:
            public_holidays(region, year)


def is_timezone(name: str) -> bool:
    """Whether this machine's time zone database has the IANA time zone `name`."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def is_date(text: str) -> bool:
    """Whether `text` is an existing day, written YYYY-MM-DD."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
