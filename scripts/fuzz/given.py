"""What a fuzz target makes of an input: numbers, choices and texts.

The same bytes always give the same values, with and without atheris, so an input that was found once is a regression test.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

MOST = 65_536
"""Characters of a text: no header of a SIP message in a UDP packet is longer."""

CPU_S = 1.0
"""What a check of such a text may take in processor time. Linear code takes some milliseconds, also while atheris measures
the coverage. Quadratic code takes many seconds."""

_PARTS = 8
_RAW, _REPEAT = 128, 224
"""An operation below the first takes a piece, below the second bytes of the input, and from there on repeats the part
before."""

T = TypeVar("T")


class Given:
    """Reads values from the bytes of an input, from their beginning. After the end every byte is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _byte(self) -> int:
        at, self._at = self._at, self._at + 1
        return self._data[at] if at < len(self._data) else 0

    def number(self, least: int, most: int) -> int:
        """A number in these bounds, both included. They are less than 65,536 apart."""
        span = most - least + 1
        value = self._byte()
        if span > 256:  # noqa: PLR2004 - one byte is not enough
            value = value << 8 | self._byte()
        return least + value % span

    def flag(self) -> bool:
        return self._byte() % 2 == 1

    def choice(self, values: Sequence[T]) -> T:
        return values[self.number(0, len(values) - 1)]

    def raw(self, pieces: Sequence[bytes], most: int = MOST) -> bytes:
        """Up to eight parts: `pieces`, bytes of the input, and repetitions of the part before. So a short input gives a long
        text."""
        found: list[bytes] = []
        left = most
        for _ in range(self.number(0, _PARTS)):
            operation = self._byte()
            if operation < _RAW:
                part = pieces[operation % len(pieces)]
            elif operation < _REPEAT:
                length = operation % 16 + 1
                part = self._data[self._at : self._at + length]
                self._at += length
            else:
                part = found[-1] * min(2 ** (operation % 16), left // max(len(found[-1]), 1)) if found else b""
            found.append(part[:left])
            left -= len(found[-1])
        return b"".join(found)

    def text(self, pieces: Sequence[str], most: int = MOST) -> str:
        """The same as text. Bytes that are not UTF-8 become U+FFFD, as in a frame."""
        return self.raw([piece.encode() for piece in pieces], most).decode("utf-8", "replace")

    def rest(self) -> bytes:
        """All bytes that were not read."""
        at, self._at = self._at, len(self._data)
        return self._data[at:]


@contextmanager
def in_linear_time() -> Iterator[None]:
    """Fails if the block takes too much processor time for any text of MOST characters."""
    began = time.thread_time()
    yield
    took = time.thread_time() - began
    assert took < CPU_S, f"{took:.1f} s of processor time"


def is_one_line(text: str) -> bool:
    """Whether a message is one line that a terminal can show."""
    return text.isprintable()
