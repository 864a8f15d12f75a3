"""Callers without a number: the words, the numbers of nobody and the rows of zeros that carriers send instead. Pure.

The list is data, anonymous.toml, each entry with its source and the day on which that was read.
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
"""What is left of an address that says nothing: punctuation alone (-), zeros (0000000000; 2600hz/kazoo#3113 counts two or
more, and one zero is no number of any country either), or what gateways write over each digit (XXXXXX)."""

_ZEROS = re.compile(r"\+[1-9][0-9]{0,2}0{5,}\Z")
"""A calling code, or what looks like one, and zeros: how gateways complete a row of zeros. +80000000000 is valid."""

_MAX_TEXT = 64
"""Characters of an address that are looked at: no entry is longer, and what the caller sent may be a thousand of them."""


@dataclass(frozen=True, slots=True)
class AnonymousCallers:
    """The entries of a data file, as they are compared. `of_phones` are the words that our own phones use too."""

    words: frozenset[str]
    numbers: frozenset[str]
    of_phones: frozenset[str]


def stands_for_nobody(user: str) -> bool:
    """Whether the user part of an address (or the whole one) from the telephone network means that there is no number."""
    if is_e164(user) and not user.endswith("00000"):
        return user in known().numbers  # as nearly every caller's: a row of zeros and a word are looked at more closely
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
    """Whether the user part of an address from one of our phones says that it hides its number. Phones and extensions can
    have any name (0000, privat), so that few words count."""
    text = _user(user)
    return not text or _plain(text) in known().of_phones


def names_nobody(name: str) -> bool:
    """Whether a display name says that the caller has no number. It counts only if the call has no number."""
    return _plain(name) in known().words


def _user(address: str) -> str:
    found = _USER.match(address[:_MAX_TEXT])
    return found[1].strip() if found else ""


def _plain(text: str) -> str:
    """Letters and digits, without case and accents. A SIP address has other characters as %C3%A4."""
    text = text[:_MAX_TEXT]
    if "%" in text:
        text = unquote(text)
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text.casefold())))


@lru_cache(maxsize=1)
def known() -> AnonymousCallers:
    """The data file of this package. Raises DataError."""
    file = resources.files("fsroute").joinpath("anonymous.toml")
    return read(file.read_text("utf-8"), file.name)


def read(text: str, name: str) -> AnonymousCallers:
    """The data file `text`. Raises DataError, which names the file and the source, if something in it does not fit."""
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
