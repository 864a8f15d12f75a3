"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute import times

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis adds the time zone
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, BERLIN, timezone(timedelta(hours=-11, minutes=-30))]),
)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-11-23T12:00:00Z"),
        (NOON.replace(microsecond=999_999), "2026-11-23T12:00:00Z"),
        (datetime(2026, 7, 1, 0, 30, tzinfo=BERLIN), "2026-06-30T22:30:00Z"),
        (datetime(99, 1, 2, tzinfo=UTC), "0099-01-02T00:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc_and_whole_seconds(moment: datetime, text: str) -> None:
    assert times.to_text(moment) == text


@given(MOMENTS)
def test_what_is_written_is_read_again(moment: datetime) -> None:
    assert times.from_text(times.to_text(moment)) == times.whole_seconds(moment)
    assert times.whole_seconds(moment) <= moment < times.whole_seconds(moment) + timedelta(seconds=1)


@given(MOMENTS, MOMENTS)
def test_texts_sort_as_times_do(one: datetime, other: datetime) -> None:
    assert (times.to_text(one) < times.to_text(other)) == (times.whole_seconds(one) < times.whole_seconds(other))


def test_no_time_stays_none() -> None:
    assert times.to_text(None) is None
    assert times.from_text(None) is None


@pytest.mark.parametrize("write", [times.to_text, times.whole_seconds])
def test_a_time_without_a_time_zone_is_not_written(write: object) -> None:
    assert callable(write)
    with pytest.raises(ValueError, match=r"^2026-11-23 12:00:00 has no time zone$"):
        write(NOON.replace(tzinfo=None))


def test_the_zone_is_for_a_text_without_an_offset() -> None:
    assert times.from_text("2026-11-23T09:30", BERLIN) == datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
    assert times.from_text("2026-11-23T09:30Z", BERLIN) == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-23T09:30", "2026-13-01T00:00:00Z", "yesterday", ""])
def test_a_text_that_names_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"has no time zone|month|Invalid"):
        times.from_text(text)


def test_a_time_for_people() -> None:
    assert times.for_people(datetime(2026, 7, 1, 0, 30, 5, 9, tzinfo=BERLIN)) == "2026-06-30 22:30:05 UTC"
