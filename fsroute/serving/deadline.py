"""Reads the database in threads of gevent's pool, each read within a deadline."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.threadpool import ThreadPool

from fsroute.errors import DataError
from fsroute.model import Call, Routing

Read = Callable[[Call], Routing]
"""Reads a call's routing from the database. Raises DataError."""


def within_deadline(pool: ThreadPool, seconds: float, read: Read) -> Read:
    """`read` in a thread, for at most this many seconds. The function that it returns raises DataError after that.

    A database that hangs occupies a thread, not the process: other calls are decided meanwhile. The thread is used again
    when the database answers.
    """

    def attempt(call: Call) -> Routing | Exception:
        try:
            return read(call)
        except Exception as error:  # noqa: BLE001 - raised again below; gevent would print an error that leaves the thread
            return error

    def read_within(call: Call) -> Routing:
        with gevent.Timeout(seconds, DataError(f"no decision within {seconds * 1000:g} ms")):
            result: Routing | Exception = pool.apply(attempt, (call,))
        if isinstance(result, Exception):
            raise result
        return result

    return read_within
