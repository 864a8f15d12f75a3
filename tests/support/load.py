"""Calls that keep coming, and calls that last, while something happens to the server."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from typing import Self

from fsroute.errors import FsrouteError
from fsroute.simulator.simulated_channel import reply
from tests.support.server import carrier_channel, converse

PATIENCE_S = 25.0
"""As long as FreeSWITCH waits for the first command."""

AT_ONCE = 100
"""Calls that wait at the same time. On a machine that is too busy for more, they come more slowly."""

NUMBER = "02214710300"
"""Of the demo: one phone rings, and the call ends busy."""

ENDED = "USER_BUSY"


class LastingCall:
    """A call that rings until `end`."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.channel = converse(self.sock, carrier_channel(NUMBER), until="bridge")

    def end(self) -> str | None:
        """The phone is busy. Returns the cause with which fsroute ends the call."""
        self.channel.variables |= {"originate_disposition": "USER_BUSY", "originate_causes": "leg;USER_BUSY"}
        with self.sock:
            self.sock.sendall(reply("+OK") + self.channel.snapshot())
            return converse(self.sock, self.channel).hangup_cause


class Calls:
    """So many new calls a second, from enter to exit, whether or not the earlier ones have been answered."""

    def __init__(self, port: int, per_second: float = 50.0) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._port, self._pause_s = port, 1 / per_second
        self._lock, self._over = threading.Lock(), threading.Event()
        self._places = threading.Semaphore(AT_ONCE)
        self._threads: list[threading.Thread] = []
        self._source = threading.Thread(target=self._place_all)

    def __enter__(self) -> Self:
        self._source.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._source.join()
        for thread in self._threads:
            thread.join()

    @property
    def lost(self) -> dict[str, int]:
        """Calls that did not go through the rules of the number, by what happened to them."""
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != ENDED}

    def wait_for(self, count: int) -> None:
        """Until so many more calls have come to an end."""
        enough, deadline = self.outcomes.total() + count, time.monotonic() + 2 * PATIENCE_S
        while self.outcomes.total() < enough:
            assert time.monotonic() < deadline, self.outcomes
            time.sleep(0.01)

    def _place_all(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause_s, time.monotonic() - PATIENCE_S)
            self._places.acquire()
            thread = threading.Thread(target=self._place)
            self._threads.append(thread)
            thread.start()

    def _place(self) -> None:
        try:
            self._call()
        finally:
            self._places.release()

    def _call(self) -> None:
        began = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", self._port), PATIENCE_S) as sock:
                outcome = str(converse(sock, carrier_channel(NUMBER), timeout_s=PATIENCE_S).hangup_cause)
        except (OSError, FsrouteError) as error:
            outcome = f"{type(error).__name__}: {error}"
        with self._lock:
            self.outcomes[outcome] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
