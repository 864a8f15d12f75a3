"""A TCP proxy in front of PostgreSQL that can go silent, as a network that drops packets seems to a client.

It keeps its connections, accepts others, and passes nothing on. Only the kernel still acknowledges what is sent.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TURN_S = 0.02


class Proxy:
    """Passes bytes between its port and a Unix socket."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._closed = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def be_silent(self) -> None:
        self._passes.clear()

    def pass_on(self) -> None:
        """Passes on again, also what has waited."""
        self._passes.set()

    def close(self) -> None:
        self._closed = True
        self._passes.set()
        self._thread.join()
        for sock in (self._listener, *self._pairs):
            sock.close()

    def _run(self) -> None:
        while not self._closed:
            self._passes.wait()
            ready, _, _ = select.select([self._listener, *self._pairs], [], [], _TURN_S)
            for sock in ready:
                if not self._passes.is_set():
                    break
                if sock is self._listener:
                    self._accept()
                elif sock in self._pairs:
                    self._pass(sock)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._target))
        except OSError:
            client.close()
            return
        self._pairs |= {client: server, server: client}

    def _pass(self, sock: socket.socket) -> None:
        other = self._pairs[sock]
        data = b""
        with contextlib.suppress(OSError):
            data = sock.recv(65536)
            other.sendall(data)
        if not data:
            for closed in (sock, other):
                del self._pairs[closed]
                closed.close()


@contextmanager
def proxied(target: Path) -> Iterator[Proxy]:
    """A proxy for this Unix socket."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
