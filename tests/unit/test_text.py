"""Text from others, as it is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsroute import text


def test_what_a_terminal_would_obey_is_replaced() -> None:
    assert text.printable("a\x1b[31m\r\nb\u202e Grüße") == "a?[31m??b? Grüße"
    assert text.printable("a\tb", " ") == "a b"


@given(st.text())
def test_printable_text_is_as_long_as_before(written: str) -> None:
    shown = text.printable(written)
    assert shown.isprintable()
    assert len(shown) == len(written)
    assert text.printable(shown) == shown


def test_plain_text_is_short_and_ascii() -> None:
    assert text.plain("Zoë\n" + "x" * 100, 6) == r"Zo\xeb\nxx"


def test_quoted_text_shows_where_it_begins_and_ends() -> None:
    assert text.quoted("  -ERR Zoë\x00 \n", 80) == r"'-ERR Zo\xeb\x00'"
    assert text.quoted("x" * 100, 3) == "'xxx'"
