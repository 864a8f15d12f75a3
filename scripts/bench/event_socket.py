"""Simulates FreeSWITCH's inbound Event Socket for the bench: fsroute can subscribe, and no event ever comes.

No phone registers while the bench runs. So an fsroute that has subscribed asks for each endpoint's phones once, as in
service between two registrations.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from fsroute.errors import FsrouteError
from fsroute.serving.registrations import SETTLED_S
from fsroute.simulator.simulated_channel import read_commands, reply
from scripts.bench.database import BenchError

PASSWORD = "bench"  # noqa: S105 - of a server on loopback, for as long as the bench runs

LISTENS_S = 10.0
"""Seconds to wait for a subscription. fsroute subscribes at its start; if it has not after this time, it never will."""

MARGIN_S = 0.1
"""Added to SETTLED_S, because fsroute counts from the moment at which it reads the answer, a little after it was sent."""


@dataclass(slots=True)
class EventSocket:
    """Listens while its context is entered. `switch` is the Core-UUID that it gives. Each connection has a waiting
    thread."""

    switch: str
    _listener: socket.socket = field(init=False)
    _connections: list[socket.socket] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _listeners: int = 0
    _last_subscribed: float = 0.0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._connections):
            with suppress(OSError):  # its own thread has closed it
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @property
    def flags(self) -> tuple[str, ...]:
        """The arguments with which `fsroute serve` subscribes here."""
        host, port = self._listener.getsockname()
        return "--event-socket", f"{host}:{port}", "--event-socket-password", PASSWORD

    @property
    def listeners(self) -> int:
        """How many processes have subscribed so far."""
        with self._changed:
            return self._listeners

    def wait_listeners(self, count: int) -> None:
        """Waits until `count` processes have subscribed. Raises BenchError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._listeners >= count, LISTENS_S):
                raise BenchError("fsroute has not subscribed at the bench's Event Socket: has `fsroute serve` changed?")

    def settle(self) -> None:
        """Waits until all subscribed processes keep FreeSWITCH's answers about phones."""
        time.sleep(max(0.0, self._last_subscribed + SETTLED_S + MARGIN_S - time.monotonic()))

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, FsrouteError):  # the bench kills each server after its measurement
            sock.sendall(b"Content-Type: auth/request\n\n")
            for command in read_commands(sock):
                sock.sendall(self._answer(command.name))
                if command.name == "api global_getvar core_uuid":
                    with self._changed:
                        self._listeners, self._last_subscribed = self._listeners + 1, time.monotonic()
                        self._changed.notify_all()

    def _answer(self, command: str) -> bytes:
        if command == f"auth {PASSWORD}":
            return reply("+OK accepted")
        if command.startswith("event plain "):
            return reply("+OK event listener enabled plain")
        if command == "api global_getvar core_uuid":
            return f"Content-Type: api/response\nContent-Length: {len(self.switch)}\n\n{self.switch}".encode()
        return reply("-ERR command not found")
