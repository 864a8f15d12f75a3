"""The pause between two attempts."""

from __future__ import annotations

from fsroute.backoff import Backoff


def test_the_pause_doubles_up_to_its_bound_and_begins_anew() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.pause() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert [backoff.pause() for _ in range(2)] == [0.5, 1.0]
