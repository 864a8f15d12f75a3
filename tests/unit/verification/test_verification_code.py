"""Codes and their hashes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsroute.verification import verification_code


def test_codes_are_six_digits_of_all_kinds() -> None:
    made = [verification_code.new_code() for _ in range(2000)]
    assert all(re.fullmatch("[0-9]{6}", code) for code in made)
    assert {code[position] for code in made for position in range(6)} == set("0123456789")
    assert len(set(made)) > 1900


def test_ids_are_plain_and_different() -> None:
    made = {verification_code.new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch("[0-9a-f]{24}", id_) for id_ in made)


@pytest.mark.parametrize(
    "text",
    ["", "12345", "1234567", "12345x", "12345\n", "\uff11\uff12\uff13\uff14\uff15\uff16", " 12345", "-12345", "12345\u0666"],
)
def test_what_is_no_code(text: str) -> None:
    assert not verification_code.is_code(text)


@given(code=st.from_regex(r"[0-9]{6}\Z"), other=st.from_regex(r"[0-9]{6}\Z"))
@settings(max_examples=10, deadline=None)
def test_only_the_same_code_matches(code: str, other: str) -> None:
    kept = verification_code.hashed(code)
    assert verification_code.matches(code, kept)
    assert verification_code.matches(other, kept) == (other == code)


def test_a_hash_does_not_show_the_code_or_that_two_are_equal() -> None:
    kept, again = verification_code.hashed("123456"), verification_code.hashed("123456")
    assert kept != again
    assert all(re.fullmatch("[0-9a-f]{32}:[0-9a-f]{128}", text) for text in (kept, again))
    assert "123456" not in kept
