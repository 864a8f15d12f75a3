"""fsroute in FreeSWITCH's process: what is kept from call to call, and what mod_python3's names do.

FreeSWITCH makes a thread for each call, with 240 KiB of stack, and mod_python3 gives Python 240 levels of recursion. That
thread controls its call, because applications run on it. Work that needs more stack, or may hang, is done by threads of
fsroute's own: importing, opening the database, reading it. They also keep the database's connections: a thread of
FreeSWITCH's would leave one behind with each call.

A call's thread imports this module, so it imports next to nothing itself.
"""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from fsroute.embedded.threads import CONFIG, Threads
from fsroute.errors import ConfigError, DataError, FsrouteError

if TYPE_CHECKING:
    from fsroute.embedded.runtime import Embedded

THREADS = 8
"""Threads that read the database. There are several in case some hang in a database that does not answer."""

READY_S = 5.0
"""Seconds that a call waits until fsroute is ready. Getting ready takes about one second, and the startup-script does it
before the first call."""

PAUSE_S = 5.0
"""Seconds between attempts to get ready. After a failed attempt, calls fail at once until then."""

CONSOLE_S = 10.0
"""Seconds that a command on the switch's console may take."""

USAGE = "-USAGE: python fsroute.mod_python explain NUMBER [CALLER]\n"


class Resident:
    """The one fsroute of this process. `make` makes it when the first call needs it, and again as long as that fails."""

    def __init__(self, make: Callable[[Threads], Embedded], threads: Threads) -> None:
        self.threads = threads
        self._make = make
        self._lock = threading.Lock()
        self._making: Future[Embedded] | None = None
        self._began = 0.0

    def get(self) -> Embedded:
        """The fsroute of this process. Raises what `make` raised, or DataError while it is not ready."""
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
            raise error.with_traceback(None)  # many calls raise this error, and each would make its traceback longer
        return making.result()


def _has_failed(making: Future[Embedded]) -> bool:
    return making.done() and making.exception() is not None


def make(threads: Threads) -> Embedded:
    """Imports fsroute and opens the database. Runs on one of fsroute's threads."""
    embedded = importlib.import_module("fsroute.embedded.runtime")
    made: Embedded = embedded.make(_switch(), threads)
    return made


resident = Resident(make, Threads(THREADS))
"""A global, because mod_python3 passes nothing from one call to the next."""


def route(session: Any, args: str) -> None:
    """Controls one call. A call for which that fails goes on with the dialplan's next action, with a line in the log."""
    try:
        _refuse_arguments(args)
        resident.get().control(session)
    except Exception as error:  # noqa: BLE001 - whatever it is, the dialplan goes on
        _log("call not routed", error)
    finally:
        # Releases the channel. Python's collector may do it long after the call, which cannot end until then.
        session.destroy()


def start(args: str) -> None:
    """Makes fsroute ready before the first call."""
    try:
        _refuse_arguments(args)
        resident.get()
    except Exception as error:  # noqa: BLE001 - the first call tries again
        _log("not ready", error)


def console(args: str) -> str:
    """The output of a command of fs_cli."""
    match args.split():
        case ["explain", to, *caller] if len(caller) <= 1:
            try:
                embedded = resident.get()
                text: str = resident.threads.run(CONSOLE_S, embedded.explain, to, *caller)
            except Exception as error:  # noqa: BLE001 - fs_cli prints it
                return f"-ERR {_line(error)}\n"
            return text
        case _:
            return USAGE


def _refuse_arguments(args: str) -> None:
    if args:
        raise ConfigError(
            f"fsroute.mod_python takes no arguments here, but got {args[:100]!r}: "
            f"settings belong in the file that {CONFIG} in vars.xml names, or in FreeSWITCH's environment"
        )


def _log(event: str, error: Exception) -> None:
    """Writes a line as `runtime` logs it, also while that module cannot be imported."""
    _switch().consoleLog("ERR", json.dumps({"event": event, "reason": _line(error), "level": "error"}) + "\n")


def _line(error: Exception) -> str:
    text = str(error) if isinstance(error, FsrouteError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]


def _switch() -> Any:
    """mod_python3's module of FreeSWITCH's functions."""
    return importlib.import_module("freeswitch")
