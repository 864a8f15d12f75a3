"""When a verified number is verified: the predicate that CLIP no screening stands on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.model import VerificationState
from tests.support.builders import verification

NUMBER = "+4922129191999"
END = datetime(2026, 6, 1, 12, tzinfo=UTC)


@given(before_s=st.integers(0, 10**8), state=st.sampled_from(VerificationState))
def test_a_number_is_valid_only_while_its_state_is_verified_and_before_the_second_of_its_expiry(
    before_s: int, state: VerificationState
) -> None:
    held = verification(NUMBER, state=state, expires_at=END)
    assert held.is_valid(END - timedelta(seconds=before_s + 1)) is (state is VerificationState.VERIFIED)
    assert not held.is_valid(END)
    assert not held.is_valid(END + timedelta(seconds=before_s))


@pytest.mark.parametrize("state", VerificationState)
def test_without_an_expiry_no_number_is_valid(state: VerificationState) -> None:
    assert not verification(NUMBER, state=state, expires_at=None).is_valid(END)
