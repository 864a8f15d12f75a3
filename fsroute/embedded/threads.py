"""Threads of fsroute's own in FreeSWITCH's process, and what both modules of this package know.

A call's thread imports this module, so it imports next to nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from fsroute import threads
from fsroute.errors import DataError

CONFIG = "fsroute_config"
"""The global variable of FreeSWITCH (vars.xml) that names the TOML file with the settings."""


class Threads:
    """A fixed number of threads. FreeSWITCH does not wait for them when it ends."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()

    def start(self) -> None:
        """Starts the threads."""
        for number in range(self._count):
            threads.start(self._work, f"fsroute {number}")

    def begin(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Queues `work(*arguments)` and returns its future result."""
        future: Future[Any] = Future()
        self._jobs.put((future, work, arguments))
        return future

    def run(self, seconds: float, work: Callable[..., Any], *arguments: Any) -> Any:
        """Returns what `work(*arguments)` returns, or raises what it raises. Raises DataError after `seconds`; work that has
        begun goes on then."""
        future = self.begin(work, *arguments)
        try:
            return future.result(seconds)
        except TimeoutError as error:
            future.cancel()
            raise DataError(f"no decision within {seconds * 1000:g} ms") from error

    def _work(self) -> None:
        while True:
            self._do(*self._jobs.get())

    @staticmethod
    def _do(future: Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is read
            future.set_exception(error)
