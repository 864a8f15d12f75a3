"""Worker processes that share one port, and the master that starts them and replaces a worker that dies.

The kernel distributes connections over the workers (SO_REUSEPORT). They share nothing else. If a worker dies, the calls that
ring there lose their follow-up rules, but no bridge.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from structlog.typing import FilteringBoundLogger

from fsroute import log_output
from fsroute.backoff import Backoff
from fsroute.errors import FsrouteError
from fsroute.eventsocket import sockets

_HEALTHY_S = 5.0
"""A worker that lived for this long is replaced at once. Another one is replaced after a pause that doubles."""

_PASSED_ON = (signal.SIGTERM, signal.SIGINT)

_PAUSE_S, _PAUSE_MOST_S = 1.0, 30.0


@dataclass(slots=True)
class Master:
    """Keeps `count` workers running. Each runs `work(lifeline)` to its end.

    The lifeline is a file descriptor that becomes readable when the master has ended. Then the worker must end too, because
    it would hold the port for ever.
    """

    count: int
    work: Callable[[int], None]
    log: FilteringBoundLogger
    _started: dict[int, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT, passes the signal on, and returns when all workers have ended."""
        lifeline, held = os.pipe()
        for number in _PASSED_ON:
            signal.signal(number, self._pass_on)
        for _ in range(self.count):
            self._start(lifeline, held)
        backoff = Backoff(_PAUSE_S, _PAUSE_MOST_S)
        while self._started:
            pid, status = os.wait()
            lived = time.monotonic() - self._started.pop(pid)
            if self._stop.is_set():
                continue
            self.log.error("worker ended", pid=pid, status=os.waitstatus_to_exitcode(status), seconds=round(lived, 1))
            if lived > _HEALTHY_S:
                backoff.reset()
            if lived > _HEALTHY_S or not self._stop.wait(backoff.pause()):
                self._start(lifeline, held)
        os.close(lifeline)
        os.close(held)

    def _start(self, lifeline: int, held: int) -> None:
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # delivered once the process is in _started
        pid = os.fork()
        if pid:
            self._started[pid] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            return
        for number in _PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        os.close(held)
        status = 1
        try:
            self.work(lifeline)
            status = 0
        except FsrouteError as error:
            self.log.error("worker cannot start", reason=str(error))  # noqa: TRY400 - not a defect
        except BaseException:
            self.log.exception("worker failed")
        finally:
            log_output.flush()
            os._exit(status)  # the worker must not close what the master has opened

    def _pass_on(self, number: int, _: Any) -> None:
        self._stop.set()
        for pid in list(self._started):
            os.kill(pid, number)


def hold(address: tuple[str, int]) -> socket.socket:
    """A socket that reserves the port for the workers that will share it.

    Raises ConfigError if the address cannot be used, or another program listens there, sharing the port or not.
    """
    sockets.bind(address).close()
    return sockets.bind(address, shared=True)
