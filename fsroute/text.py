"""Text from others (callers, carriers, gateways, FreeSWITCH), as a log line and a terminal can show it."""

from __future__ import annotations


def printable(text: str, instead: str = "?") -> str:
    """The text with `instead` in place of each character that is not printable: a terminal must not obey it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else instead for c in text)


def plain(text: str, most: int = 64) -> str:
    """The first `most` characters in ASCII: all others are written as Python escapes them."""
    return ascii(text[:most])[1:-1]


def quoted(text: str, most: int = 80) -> str:
    """The first `most` characters in quotes and in ASCII, without the blanks around them."""
    return ascii(text.strip()[:most])
