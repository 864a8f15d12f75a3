"""Time profiles on the wall clocks they speak of, most of all on the days these change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.model import Holidays, TimeProfile, TimeRange
from fsroute.routing.timeprofile import is_date, is_timezone, matches, prepare, public_holidays

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
MON_TO_FRI = frozenset(range(5))
SAT_TO_MON = frozenset({5, 6, 0})
FRI = frozenset({4})
SUN = frozenset({6})


def hours(start: str, end: str, weekdays: frozenset[int] | None = None) -> TimeRange:
    """As the tables say it; 24:00 is the end of the day."""
    return TimeRange(weekdays, time.fromisoformat(start), None if end == "24:00" else time.fromisoformat(end))


def profile(*ranges: TimeRange, zone: str = BERLIN, region: str | None = None) -> TimeProfile:
    return TimeProfile("test", zone, region, ranges)


def at(text: str, zone: str = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


# 16 March 2026 is a Monday, in a week without a holiday.
OFFICE = profile(hours("09:00", "17:00", MON_TO_FRI))
FRIDAY_NIGHT = profile(hours("22:00", "06:00", FRI))
SUNDAY_NIGHT = profile(hours("22:00", "06:00", SUN))
WEEKEND = profile(TimeRange(SAT_TO_MON))
EVENING = profile(hours("18:00", "24:00", FRI))
NIGHT = profile(hours("22:00", "06:00"))
MARCH = profile(TimeRange(first_date=date(2026, 3, 16), last_date=date(2026, 3, 18)))
MARCH_NIGHTS = profile(TimeRange(None, time(22), time(6), first_date=date(2026, 3, 16), last_date=date(2026, 3, 18)))

MOMENTS: dict[str, tuple[TimeProfile, dict[str, bool]]] = {
    "hours are half open": (
        OFFICE,
        {
            "2026-03-16T08:59:59.999999": False,
            "2026-03-16T09:00": True,
            "2026-03-16T16:59:59.999999": True,
            "2026-03-16T17:00": False,
        },
    ),
    "weekdays": (
        OFFICE,
        {f"2026-03-{day}T12:00": day not in {21, 22} for day in range(16, 24)},
    ),
    "weekdays across the week's end": (
        WEEKEND,
        {
            "2026-03-20T23:59:59": False,
            "2026-03-21T00:00": True,
            "2026-03-22T12:00": True,
            "2026-03-23T23:59:59": True,
            "2026-03-24T00:00": False,
        },
    ),
    "a range across midnight belongs to the day on which it starts": (
        FRIDAY_NIGHT,
        {
            "2026-03-20T05:00": False,
            "2026-03-20T21:59": False,
            "2026-03-20T22:00": True,
            "2026-03-21T00:00": True,
            "2026-03-21T05:59:59": True,
            "2026-03-21T06:00": False,
            "2026-03-21T22:00": False,
        },
    ),
    "across midnight and the week's end": (
        SUNDAY_NIGHT,
        {
            "2026-03-22T05:00": False,
            "2026-03-22T22:00": True,
            "2026-03-23T05:59": True,
            "2026-03-23T06:00": False,
            "2026-03-23T22:00": False,
        },
    ),
    "24:00 ends the day": (
        EVENING,
        {
            "2026-03-20T17:59": False,
            "2026-03-20T18:00": True,
            "2026-03-20T23:59:59.999999": True,
            "2026-03-21T00:00": False,
        },
    ),
    "00:00 as the end is the day's end too": (
        profile(hours("18:00", "00:00", FRI)),
        {"2026-03-20T17:59": False, "2026-03-20T23:59": True, "2026-03-21T00:00": False},
    ),
    "00:00 to 24:00 is the whole day": (
        profile(hours("00:00", "24:00", FRI)),
        {
            "2026-03-19T23:59": False,
            "2026-03-20T00:00": True,
            "2026-03-20T23:59": True,
            "2026-03-21T00:00": False,
        },
    ),
    "both dates are included": (
        MARCH,
        {
            "2026-03-15T23:59:59": False,
            "2026-03-16T00:00": True,
            "2026-03-18T23:59:59": True,
            "2026-03-19T00:00": False,
        },
    ),
    "the last night of some dates ends on the morning after": (
        MARCH_NIGHTS,
        {
            "2026-03-16T05:00": False,
            "2026-03-16T22:00": True,
            "2026-03-18T22:00": True,
            "2026-03-19T05:59": True,
            "2026-03-19T22:00": False,
        },
    ),
    "from a date on": (
        profile(TimeRange(first_date=date(2026, 3, 16))),
        {"2026-03-15T12:00": False, "2026-03-16T12:00": True, "2099-01-01T12:00": True},
    ),
    "until a date": (
        profile(TimeRange(last_date=date(2026, 3, 16))),
        {"2000-01-01T12:00": True, "2026-03-16T23:59": True, "2026-03-17T00:00": False},
    ),
    "one of several ranges is enough": (
        profile(hours("09:00", "12:00"), hours("13:00", "17:00")),
        {"2026-03-16T11:59": True, "2026-03-16T12:30": False, "2026-03-16T13:00": True},
    ),
    "a range without limits is always": (profile(TimeRange()), {"2026-03-16T03:00": True}),
    "no range is never": (profile(), {"2026-03-16T12:00": False}),
}


@pytest.mark.parametrize(("tested", "expected"), MOMENTS.values(), ids=MOMENTS.keys())
def test_matches_by_the_wall_clock(tested: TimeProfile, expected: dict[str, bool]) -> None:
    assert {text: matches(tested, at(text)) for text in expected} == expected


# --- holidays ---------------------------------------------------------------------------------------------

ONLY = TimeRange(holidays=Holidays.ONLY)
EXCEPT = TimeRange(holidays=Holidays.EXCEPT)
NEW_YEAR_NIGHT = TimeRange(None, time(22), time(6), holidays=Holidays.ONLY)

HOLIDAYS: dict[str, tuple[str | None, str, bool]] = {
    "German Unity Day is one everywhere": ("DE", "2026-10-03T12:00", True),
    "Corpus Christi in North Rhine-Westphalia": ("DE-NW", "2026-06-04T12:00", True),
    "Corpus Christi in Bavaria": ("DE-BY", "2026-06-04T12:00", True),
    "Corpus Christi in Berlin": ("DE-BE", "2026-06-04T12:00", False),
    "Corpus Christi nationwide": ("DE", "2026-06-04T12:00", False),
    "All Saints' Day in North Rhine-Westphalia": ("DE-NW", "2026-11-01T12:00", True),
    "All Saints' Day in Bavaria": ("DE-BY", "2026-11-01T12:00", True),
    "All Saints' Day in Saxony": ("DE-SN", "2026-11-01T12:00", False),
    "Epiphany in Bavaria": ("DE-BY", "2026-01-06T12:00", True),
    "Epiphany in North Rhine-Westphalia": ("DE-NW", "2026-01-06T12:00", False),
    "Easter Monday": ("DE-NW", "2026-04-06T12:00", True),
    "the day after": ("DE-NW", "2026-04-07T12:00", False),
    "a working day": ("DE-NW", "2026-03-16T12:00", False),
    "without a region no day is one": (None, "2026-12-25T12:00", False),
}


@pytest.mark.parametrize(("region", "moment", "is_holiday"), HOLIDAYS.values(), ids=HOLIDAYS.keys())
def test_public_holidays_are_those_of_the_region(region: str | None, moment: str, is_holiday: bool) -> None:
    now = at(moment)
    found = {r.holidays: matches(profile(r, region=region), now) for r in (TimeRange(), ONLY, EXCEPT)}
    assert found == {Holidays.ANY: True, Holidays.ONLY: is_holiday, Holidays.EXCEPT: not is_holiday}


def test_office_hours_except_on_holidays() -> None:
    tested = profile(
        TimeRange(MON_TO_FRI, time(9), time(17), holidays=Holidays.EXCEPT),
        region="DE-NW",
    )
    days = ("2026-06-03", "2026-06-04", "2026-06-05", "2026-06-06")
    assert [matches(tested, at(f"{day}T12:00")) for day in days] == [True, False, True, False]


def test_a_holiday_s_night_ends_on_the_morning_after() -> None:
    tested = profile(NEW_YEAR_NIGHT, region="DE")
    moments = ("2025-12-31T23:00", "2026-01-01T05:00", "2026-01-01T22:00", "2026-01-02T05:59", "2026-01-02T22:00")
    assert [matches(tested, at(moment)) for moment in moments] == [False, False, True, True, False]


def test_a_region_without_a_calendar_is_an_error() -> None:
    with pytest.raises(LookupError, match="no calendar of public holidays for DE-XX"):
        public_holidays("DE-XX", 2026)


# --- zones ------------------------------------------------------------------------------------------------

NOON_IN_BERLIN = datetime(2026, 3, 16, 11, 0, tzinfo=UTC)

ZONES: dict[str, tuple[str, str, str]] = {
    "Berlin": (BERLIN, "12:00", "12:01"),
    "New York, on summer time already": (NEW_YORK, "07:00", "07:01"),
    "Kolkata, half an hour off": ("Asia/Kolkata", "16:30", "16:31"),
    "Auckland, the day after": ("Pacific/Auckland", "00:00", "00:01"),
    "UTC": ("UTC", "11:00", "11:01"),
}


@pytest.mark.parametrize(("zone", "start", "end"), ZONES.values(), ids=ZONES.keys())
@pytest.mark.parametrize("asked_in", [BERLIN, "UTC", "America/Los_Angeles"])
def test_the_profile_s_zone_counts_whatever_zone_the_time_is_given_in(
    zone: str, start: str, end: str, asked_in: str
) -> None:
    now = NOON_IN_BERLIN.astimezone(ZoneInfo(asked_in))
    assert matches(profile(hours(start, end), zone=zone), now)


def test_the_weekday_is_that_of_the_profile_s_zone() -> None:
    still_friday_in_new_york = at("2026-03-21T01:00", BERLIN)
    found = {zone: matches(profile(TimeRange(FRI), zone=zone), still_friday_in_new_york) for zone in (BERLIN, NEW_YORK)}
    assert found == {BERLIN: False, NEW_YORK: True}


def test_time_zones_are_those_of_the_iana_database() -> None:
    names = (BERLIN, "UTC", "Europe/Cologne", "../etc/passwd", "")
    assert {name: is_timezone(name) for name in names} == {
        BERLIN: True,
        "UTC": True,
        "Europe/Cologne": False,
        "../etc/passwd": False,
        "": False,
    }


def test_dates_are_days_of_the_calendar() -> None:
    texts = ("2026-02-28", "2026-02-29", "2028-02-29", "2026-04-31")
    assert [is_date(text) for text in texts] == [True, False, True, False]


# --- the days the clocks change ---------------------------------------------------------------------------


def _matching_minutes(tested: TimeProfile, first: datetime, last: datetime) -> list[str]:
    """The UTC minutes in which a profile begins to match or ends to, as HH:MM, between two UTC times."""
    minutes = range(int((last - first).total_seconds()) // 60)
    start = first.timestamp()
    found = [matches(tested, datetime.fromtimestamp(start + 60 * minute, UTC)) for minute in minutes]
    changes = [minute for minute in minutes[1:] if found[minute] != found[minute - 1]]
    return [datetime.fromtimestamp(start + 60 * minute, UTC).strftime("%d %H:%M") for minute in changes]


# Begins and ends in UTC. Berlin: 29 March 02:00 CET (01:00 UTC) becomes 03:00 CEST; 25 October 03:00 CEST (01:00 UTC)
# becomes 02:00 CET. New York: 8 March 02:00 EST (07:00 UTC) becomes 03:00 EDT; 1 November 02:00 EDT (06:00 UTC)
# becomes 01:00 EST.
CHANGES: dict[str, tuple[str, str, str, str, list[str]]] = {
    "Berlin, spring: office hours follow the clock": (BERLIN, "09:00", "17:00", "2026-03-29", ["29 07:00", "29 15:00"]),
    "Berlin, spring: the skipped hour matches nothing": (BERLIN, "02:00", "03:00", "2026-03-29", []),
    "Berlin, spring: a part of the skipped hour": (BERLIN, "01:30", "02:30", "2026-03-29", ["29 00:30", "29 01:00"]),
    "Berlin, spring: from the skipped hour on": (BERLIN, "02:30", "03:30", "2026-03-29", ["29 01:00", "29 01:30"]),
    "Berlin, spring: the night is an hour shorter": (
        BERLIN,
        "22:00",
        "06:00",
        "2026-03-29",
        ["28 21:00", "29 04:00", "29 20:00"],
    ),
    "Berlin, spring: a night that would end in the skipped hour": (
        BERLIN,
        "23:00",
        "02:30",
        "2026-03-29",
        ["28 22:00", "29 01:00", "29 21:00"],
    ),
    "Berlin, autumn: office hours follow the clock": (BERLIN, "09:00", "17:00", "2026-10-25", ["25 08:00", "25 16:00"]),
    "Berlin, autumn: the doubled hour matches twice": (
        BERLIN,
        "02:00",
        "03:00",
        "2026-10-25",
        ["25 00:00", "25 02:00"],
    ),
    "Berlin, autumn: a part of the doubled hour, twice": (
        BERLIN,
        "02:15",
        "02:45",
        "2026-10-25",
        ["25 00:15", "25 00:45", "25 01:15", "25 01:45"],
    ),
    "Berlin, autumn: the night is an hour longer": (
        BERLIN,
        "22:00",
        "06:00",
        "2026-10-25",
        ["24 20:00", "25 05:00", "25 21:00"],
    ),
    "Berlin, autumn: a night that ends in the doubled hour": (
        BERLIN,
        "23:00",
        "02:30",
        "2026-10-25",
        ["24 21:00", "25 00:30", "25 01:00", "25 01:30", "25 22:00"],
    ),
    "New York, spring: the skipped hour matches nothing": (NEW_YORK, "02:00", "03:00", "2026-03-08", []),
    "New York, spring: the night is an hour shorter": (
        NEW_YORK,
        "22:00",
        "06:00",
        "2026-03-08",
        ["08 03:00", "08 10:00"],
    ),
    "New York, autumn: the doubled hour matches twice": (
        NEW_YORK,
        "01:00",
        "02:00",
        "2026-11-01",
        ["01 05:00", "01 07:00"],
    ),
    "New York, autumn: the night is an hour longer": (
        NEW_YORK,
        "22:00",
        "06:00",
        "2026-11-01",
        ["01 02:00", "01 11:00"],
    ),
    "Berlin, while New York changes": (BERLIN, "09:00", "17:00", "2026-03-08", ["08 08:00", "08 16:00"]),
}


@pytest.mark.parametrize(("zone", "start", "end", "day", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_ranges_keep_to_the_clock_on_the_day_it_changes(
    zone: str, start: str, end: str, day: str, expected: list[str]
) -> None:
    """From 20:00 UTC, or 02:00 UTC for a New York morning, to the next day's 22:30 UTC."""
    first = datetime.fromisoformat(f"{day}T00:00+00:00").timestamp()
    begins = datetime.fromtimestamp(first - 5 * 3600 if zone == BERLIN else first + 2 * 3600 - 60, UTC)
    ends = datetime.fromtimestamp(first + int(22.5 * 3600), UTC)
    assert _matching_minutes(profile(hours(start, end), zone=zone), begins, ends) == expected


def test_the_weekday_of_a_night_is_the_one_it_starts_on_when_the_clocks_change() -> None:
    """Both Berlin changes are on Sunday morning, which belongs to Saturday's night."""
    saturday_night = profile(hours("22:00", "06:00", frozenset({5})))
    moments = {
        at("2026-03-29T01:59"): True,
        at("2026-03-29T03:00"): True,
        at("2026-03-29T05:59"): True,
        at("2026-03-29T06:00"): False,
        at("2026-10-25T02:30", fold=0): True,
        at("2026-10-25T02:30", fold=1): True,
        at("2026-10-25T05:59"): True,
        at("2026-10-25T06:00"): False,
        at("2026-10-25T22:00"): False,
    }
    assert [matches(saturday_night, now) for now in moments] == list(moments.values())


# --- properties -------------------------------------------------------------------------------------------

_CLOCKS = st.times().map(lambda t: t.replace(second=0, microsecond=0, tzinfo=None))
_ZONES = st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "UTC"])
_MOMENTS = st.one_of(
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds without zone
    st.sampled_from([datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]).flatmap(
        lambda day: st.integers(0, 86_399).map(lambda second: datetime.fromtimestamp(day.timestamp() + second, UTC))
    ),
)


@given(_CLOCKS, _CLOCKS, _ZONES, _MOMENTS)
def test_a_range_and_its_complement_cover_every_instant_once(start: time, end: time, zone: str, now: datetime) -> None:
    if start == end:
        return
    one, other = (profile(TimeRange(None, *pair), zone=zone) for pair in ((start, end), (end, start)))
    assert matches(one, now) is not matches(other, now)


@given(st.integers(0, 6), _CLOCKS, _CLOCKS, _ZONES, _MOMENTS)
def test_the_seven_weekdays_of_a_range_cover_it_once(first: int, start: time, end: time, zone: str, now: datetime) -> None:
    days = [frozenset({(first + i) % 7}) for i in range(7)]
    found = [matches(profile(TimeRange(day, start, end), zone=zone), now) for day in days]
    whole = matches(profile(TimeRange(None, start, end), zone=zone), now)
    # A range of 24 hours holds the moment on the day and, up to its start, on the day before: never on both.
    assert found.count(True) == int(whole)


@pytest.mark.parametrize(
    ("now", "years"), [("2026-07-01T12:00", {2026}), ("2026-12-31T00:30", {2026, 2027}), ("2027-01-01T23:30", {2026, 2027})]
)
def test_what_a_call_can_ask_for_is_computed_before(now: str, years: set[int]) -> None:
    public_holidays.cache_clear()
    prepare("DE-NW", datetime.fromisoformat(now).replace(tzinfo=UTC))
    before = public_holidays.cache_info()
    for year in years:
        public_holidays("DE-NW", year)
    assert (before.currsize, public_holidays.cache_info().misses) == (len(years), before.misses)


def test_a_region_without_calendar_is_not_prepared() -> None:
    public_holidays.cache_clear()
    prepare("DE-XX", datetime(2026, 7, 1, tzinfo=UTC))
    assert public_holidays.cache_info().currsize == 0
