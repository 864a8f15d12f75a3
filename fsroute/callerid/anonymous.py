"""Recognises callers without a number by what carriers send instead: words, unassigned numbers, rows of zeros. Pure.

The list is data (anonymous.toml). Each entry has its source, and the day on which the source was read.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib import resources
from urllib.parse import unquote

import phonenumbers

from fsroute.errors import DataError
from fsroute.numbers.datafile import Confidence, Table
from fsroute.numbers.phone_number import is_e164, parsed, spelled

_USER = re.compile(r"\s*(?:(?:tel|sips?):)?([^@;]*)", re.IGNORECASE)

_NO_DIGITS = re.compile("[^0-9+]")

_NOTHING = re.compile(r"0*\Z|x{3,}\Z")
"""Matches the letters and digits of an address without a number: none if it has only punctuation (-); zeros (0000000000;
2600hz/kazoo#3113 counts two or more, and one zero is no number of any country either); X, which some gateways write over
each digit (XXXXXX)."""

_ZEROS = re.compile(r"\+[1-9][0-9]{0,2}0{5,}\Z")
"""A calling code, or digits that look like one, and zeros. Gateways put a calling code before a row of zeros. Not each match
is an anonymous caller: +80000000000 is a valid number."""

_MAX_TEXT = 64
"""How many characters of an address fsroute compares. No entry is longer; a caller may send a thousand characters."""


@dataclass(frozen=True, slots=True)
class AnonymousCallers:
    """The entries of a data file, in the form in which fsroute compares them. `of_phones` are the words that users' phones
    send too."""

    words: frozenset[str]
    numbers: frozenset[str]
    of_phones: frozenset[str]


def stands_for_nobody(user: str) -> bool:
    """Whether the user part of an address from the telephone network (or the whole address) means that the caller has no
    number."""
    if is_e164(user) and not user.endswith("00000"):
        return user in known().numbers  # nearly every caller's number takes this short way
    return _stands_for_nobody(user)


@lru_cache(maxsize=4096)
def _stands_for_nobody(user: str) -> bool:
    plain = _plain(_user(user))
    if _NOTHING.match(plain) or plain in known().words:
        return True
    number = _NO_DIGITS.sub("", spelled(user) or "")
    if _ZEROS.match(number):
        found = parsed(number)
        return found is None or not phonenumbers.is_valid_number(found)
    return number in known().numbers


def hides_phone(user: str) -> bool:
    """Whether the user part of an address from a user's phone says that the phone hides its number.

    A user's phone or extension can have any name (0000, privat), so only few words count.
    """
    text = _user(user)
    return not text or _plain(text) in known().of_phones


def names_nobody(name: str) -> bool:
    """Whether a display name says that the caller has no number. If the call has a number, the name does not count."""
    return _plain(name) in known().words


def _user(address: str) -> str:
    found = _USER.match(address[:_MAX_TEXT])
    return found[1].strip() if found else ""


def _plain(text: str) -> str:
    """The letters and digits of a text, without case and accents. A SIP address has other characters as %C3%A4."""
    text = text[:_MAX_TEXT]
    if "%" in text:
        text = unquote(text)
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text.casefold())))


@lru_cache(maxsize=1)
def known() -> AnonymousCallers:
    """Reads the data file of this package. Raises DataError."""
    file = resources.files("fsroute").joinpath("anonymous.toml")
    return read(file.read_text("utf-8"), file.name)


def read(text: str, name: str) -> AnonymousCallers:
    """Reads the data file `text`. Raises DataError, which names the file and the source, if an entry is wrong."""
    words: set[str] = set()
    numbers: set[str] = set()
    of_phones: set[str] = set()
    try:
        file = Table(tomllib.loads(text))
        sources = file.table("sources")
        file.end()
        for key in sources:
            found = _entries(sources.table(key), f"sources.{key}")
            words |= found.words
            numbers |= found.numbers
            of_phones |= found.of_phones
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
    return AnonymousCallers(frozenset(words), frozenset(numbers), frozenset(of_phones))


def _entries(source: Table, where: str) -> AnonymousCallers:
    for needed in ("name", "paragraph"):
        source.take(needed, str)
    source.take("read", date)
    Confidence(source.take("confidence", str))
    of_phones = "phones" in source and source.take("phones", bool)
    words, numbers = source.texts("words"), source.texts("numbers")
    source.end()
    for word in words:
        if not _plain(word) or len(word) > _MAX_TEXT or any(map(str.isdigit, word)):
            raise ValueError(f"{where}.words: {word!r} is no word")
    for number in numbers:
        if not is_e164(number):
            raise ValueError(f"{where}.numbers: {number!r} is no E.164 text")
    plain = frozenset(map(_plain, words))
    return AnonymousCallers(plain, frozenset(numbers), plain if of_phones else frozenset())
