"""The bound: a gevent server that decides nothing: who is called is bridged, and sees who calls. argv[1] is the port."""

from __future__ import annotations

import contextlib
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from gevent.server import StreamServer

BRIDGE = (
    "sendmsg\ncall-command: execute\nexecute-app-name: bridge\n"
    "execute-app-arg: {{origination_caller_id_number={caller}}}sofia/gateway/carrier/{called}\n\n"
)


def frame(sock: Any) -> bytes:
    """The next frame, and what came with it."""
    data = b""
    while b"\n\n" not in data:
        received = sock.recv(65536)
        if not received:
            raise ConnectionError
        data += received
    return data


def value(snapshot: bytes, header: bytes) -> str:
    """What a header says."""
    start = snapshot.index(b"\n" + header + b": ") + len(header) + 3
    return unquote_to_bytes(snapshot[start : snapshot.index(b"\n", start)]).decode()


def call(sock: Any, _: object) -> None:
    with contextlib.suppress(ConnectionError):
        sock.sendall(b"connect\n\n")
        snapshot = frame(sock)
        called, caller = value(snapshot, b"Caller-Destination-Number"), value(snapshot, b"Caller-Caller-ID-Number")
        sock.sendall(BRIDGE.format(called=called, caller=caller).encode())
        while sock.recv(65536):  # to the call's end
            pass


StreamServer(("127.0.0.1", int(sys.argv[1])), call, backlog=1024).serve_forever()
