"""FreeSWITCH's inbound Event Socket for the fsroutes of the bench: lets them listen, and has nothing to tell.

The phones of the bench never register anew. So an fsroute that listens asks for each endpoint's phones once, as in service
between two registrations.
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
"""An fsroute that serves listens after this, or never."""

MARGIN_S = 0.1
"""Beyond SETTLED_S: between our answer and the moment from which fsroute counts."""


@dataclass(slots=True)
class EventSocket:
    """Listens while it is entered. `switch` is the Core-UUID that it gives. Each connection has a thread, which waits."""

    switch: str
    _listener: socket.socket = field(init=False)
    _connections: list[socket.socket] = field(default_factory=list)
    _told: threading.Condition = field(default_factory=threading.Condition)
    _listeners: int = 0
    _last_told: float = 0.0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._connections):
            with suppress(OSError):  # closed by its own thread
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @property
    def flags(self) -> tuple[str, ...]:
        """What `fsroute serve` is given to listen here."""
        host, port = self._listener.getsockname()
        return "--event-socket", f"{host}:{port}", "--event-socket-password", PASSWORD

    @property
    def listeners(self) -> int:
        """How many have begun to listen so far."""
        with self._told:
            return self._listeners

    def wait_listeners(self, count: int) -> None:
        """Waits until so many have begun to listen. Raises BenchError."""
        with self._told:
            if not self._told.wait_for(lambda: self._listeners >= count, LISTENS_S):
                raise BenchError("fsroute does not listen to the bench's Event Socket: has serve changed?")

    def settle(self) -> None:
        """Waits until what fsroute is told about phones is kept by all that listen."""
        time.sleep(max(0.0, self._last_told + SETTLED_S + MARGIN_S - time.monotonic()))

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, FsrouteError):  # a server that was measured is killed
            sock.sendall(b"Content-Type: auth/request\n\n")
            for command in read_commands(sock):
                sock.sendall(self._answer(command.name))
                if command.name == "api global_getvar core_uuid":
                    with self._told:
                        self._listeners, self._last_told = self._listeners + 1, time.monotonic()
                        self._told.notify_all()

    def _answer(self, command: str) -> bytes:
        if command == f"auth {PASSWORD}":
            return reply("+OK accepted")
        if command.startswith("event plain "):
            return reply("+OK event listener enabled plain")
        if command == "api global_getvar core_uuid":
            return f"Content-Type: api/response\nContent-Length: {len(self.switch)}\n\n{self.switch}".encode()
        return reply("-ERR command not found")
