"""fsroute in FreeSWITCH's process: what is kept from call to call, and the threads that work for it.

FreeSWITCH makes a thread for each call, with 240 KiB of stack, and mod_python3 gives Python 240 levels of recursion. That
thread leads its call, for there applications run. What needs more stack, or may hang, is done by threads of our own:
importing, opening the database, reading it. They also keep the database's connections, of which a thread of FreeSWITCH's
would leave one behind with each call.

A call's thread imports this module, so it imports next to nothing itself.
"""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from fsroute.errors import ConfigError, DataError, FsrouteError

if TYPE_CHECKING:
    from fsroute.embedded.runtime import Embedded

CONFIG = "fsroute_config"
"""The global variable of FreeSWITCH (vars.xml) that names the TOML file with the settings."""

STACK = 8 * 1024 * 1024
"""Bytes for each thread of ours, as the first thread of a program has. Only what is used of it takes memory."""

THREADS = 8
"""Threads that read the database; several for the case that some hang in one that does not answer."""

READY_S = 5.0
"""Seconds that a call waits until everything is ready. That takes about one, and the startup-script has done it before."""

PAUSE_S = 5.0
"""Seconds after an attempt to get ready until a call begins another. Until then calls fail at once, as it did."""

CONSOLE_S = 10.0
"""Seconds that a command of the console may take."""

USAGE = "-USAGE: python fsroute.mod_python explain NUMBER [CALLER]\n"


class Threads:
    """Threads of our own. FreeSWITCH does not wait for them when it ends."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()

    def start(self) -> None:
        before = threading.stack_size(STACK)
        try:
            for number in range(self._count):
                threading.Thread(target=self._work, name=f"fsroute {number}", daemon=True).start()
        finally:
            threading.stack_size(before)

    def begin(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, work, arguments))
        return future

    def run(self, seconds: float, work: Callable[..., Any], *arguments: Any) -> Any:
        """What this gives, or raises what it raises. Raises DataError if it takes longer; what has begun goes on then."""
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
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)


class Resident:
    """The one fsroute of this process: made by `make` when it is first asked for, and again as long as that fails."""

    def __init__(self, make: Callable[[Threads], Embedded], threads: Threads) -> None:
        self.threads = threads
        self._make = make
        self._lock = threading.Lock()
        self._making: Future[Embedded] | None = None
        self._began = 0.0

    def get(self) -> Embedded:
        """Raises what `make` raised, or DataError as long as it takes."""
        with self._lock:
            now = time.monotonic()
            if self._making is None:
                self.threads.start()
            if self._making is None or (_has_failed(self._making) and now > self._began + PAUSE_S):
                self._making, self._began = self.threads.begin(self._make, self.threads), now
            making, until = self._making, self._began + READY_S
        try:
            error = making.exception(max(0.0, until - now))
        except TimeoutError:
            raise DataError("the database does not answer, or fsroute is still being imported") from None
        if error is not None:
            raise error.with_traceback(None)  # many calls may raise this one, and each would make it longer
        return making.result()


def _has_failed(making: Future[Embedded]) -> bool:
    return making.done() and making.exception() is not None


def make(threads: Threads) -> Embedded:
    """Imports everything and opens the database. On a thread of ours."""
    embedded = importlib.import_module("fsroute.embedded.runtime")
    made: Embedded = embedded.make(_switch(), threads)
    return made


resident = Resident(make, Threads(THREADS))
"""Must be a global: mod_python3 hands nothing from one call to the next."""


def route(session: Any, args: str) -> None:
    """Leads one call. What can not be led is left to the dialplan's next action, with a line in the log."""
    try:
        _refuse_arguments(args)
        resident.get().lead(session)
    except Exception as error:  # noqa: BLE001 - whatever it is, the dialplan goes on
        _log("call not routed", error)
    finally:
        # Gives the channel free. Left to Python's collector, that may be long after the call, which then can not end.
        session.destroy()


def start(args: str) -> None:
    """Gets ready before the first call."""
    try:
        _refuse_arguments(args)
        resident.get()
    except Exception as error:  # noqa: BLE001 - calls will try it again
        _log("not ready", error)


def console(args: str) -> str:
    """The answer to a command of fs_cli."""
    match args.split():
        case ["explain", to, *caller] if len(caller) <= 1:
            try:
                embedded = resident.get()
                text: str = resident.threads.run(CONSOLE_S, embedded.explain, to, *caller)
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                return f"-ERR {_line(error)}\n"
            return text
        case _:
            return USAGE


def _refuse_arguments(args: str) -> None:
    if args:
        raise ConfigError(
            f"fsroute.mod_python takes no arguments here, but got {args[:100]!r}: "
            f"settings stand in the file that {CONFIG} in vars.xml names, or in FreeSWITCH's environment"
        )


def _log(event: str, error: Exception) -> None:
    """As embedded.py logs, also while it can not be imported."""
    _switch().consoleLog("ERR", json.dumps({"event": event, "reason": _line(error), "level": "error"}) + "\n")


def _line(error: Exception) -> str:
    text = str(error) if isinstance(error, FsrouteError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]


def _switch() -> Any:
    """FreeSWITCH's functions."""
    return importlib.import_module("freeswitch")
