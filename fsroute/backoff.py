"""The pause between two attempts at something that fails: it doubles with each attempt, up to a bound."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Seconds to wait after a failure: `first` after the first one, twice as long after each further one, at most `most`."""

    first: float
    most: float
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.first

    def pause(self) -> float:
        """The seconds to wait after this failure."""
        pause, self._next = self._next, min(2 * self._next, self.most)
        return pause

    def reset(self) -> None:
        """After a success: the next failure counts as the first one."""
        self._next = self.first
