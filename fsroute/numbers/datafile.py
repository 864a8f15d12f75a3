"""Common parts of the data files: how well a source is known, and a reader that refuses unknown keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from enum import StrEnum
from typing import TypeVar

_Value = TypeVar("_Value", str, bool, date)


class Confidence(StrEnum):
    """What was read for an entry.

    high: the law, plan or standard itself. medium: a page of a regulator, standards body or carrier about it. low: a
    secondary source. choice: no source; this project decided it.
    """

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    CHOICE = "choice"


class Table:
    """A table of a data file. The code that reads it takes every entry, with the type that it expects.

    All methods raise ValueError for an entry that is missing, unknown or of another type. The message names the key.
    """

    def __init__(self, values: Mapping[str, object], path: str = "") -> None:
        self._values = dict(values)
        self._path = path

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, kind: type[_Value], *, may_be_empty: bool = False) -> _Value:
        value = self._values.pop(key, None)
        if type(value) is not kind:
            raise ValueError(f"{self._path}{key} must be a {kind.__name__}")
        if value == "" and not may_be_empty:
            raise ValueError(f"{self._path}{key} is empty")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._values.pop(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"{self._path}{key} must be a list of texts")
        return tuple(values)

    def table(self, key: str) -> Table:
        values = self._values.pop(key, None)
        if not isinstance(values, dict):
            raise ValueError(f"{self._path}{key} must be a table")  # noqa: TRY004 - what is wrong is the file
        return Table(values, f"{self._path}{key}.")

    def tables(self, key: str) -> tuple[Table, ...]:
        """The tables of a list of tables (`[[key]]`); none if there is no such list."""
        values = self._values.pop(key, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise ValueError(f"{self._path}{key} must be a list of tables")
        return tuple(Table(value, f"{self._path}{key}[{place}].") for place, value in enumerate(values))

    def end(self) -> None:
        if self._values:
            raise ValueError(f"unknown key {self._path}{next(iter(self._values))}")


def once(values: Iterable[str], where: str) -> None:
    """Raises ValueError if a value occurs twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{where}: {str(value)!r} is there twice")
        seen.add(value)
