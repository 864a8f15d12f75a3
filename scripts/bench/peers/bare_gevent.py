"""The bound: a gevent server that decides nothing. Each call gets the same bridge; argv[1] is the port."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

from gevent.server import StreamServer

BRIDGE = (
    b"sendmsg\ncall-command: execute\nexecute-app-name: bridge\nexecute-app-arg: sofia/gateway/carrier/+491713920042\n\n"
)


def frame(sock: Any) -> None:
    """Reads to the end of the next frame."""
    data = b""
    while b"\n\n" not in data:
        received = sock.recv(65536)
        if not received:
            raise ConnectionError
        data += received


def call(sock: Any, _: object) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(ConnectionError):
        sock.sendall(b"connect\n\n")
        frame(sock)
        sock.sendall(BRIDGE)
        while sock.recv(65536):  # to the call's end
            pass


StreamServer(("127.0.0.1", int(sys.argv[1])), call, backlog=1024).serve_forever()
