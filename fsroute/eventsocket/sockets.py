"""Takes a TCP port, alone or shared with other processes, and says in one line why it can not be had."""

from __future__ import annotations

import errno
import socket
from typing import Any

from fsroute.errors import ConfigError

KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""For connections on which nobody may have a word to say for hours. When the other machine has gone without one, a wait ends
after about a minute (30 s, then three times 10 s). FreeSWITCH does the same on its side (30 s)."""


def bind(address: tuple[str, int], *, shared: bool = False, backlog: int | None = None) -> socket.socket:
    """A socket at this address, which listens if it is given a backlog.

    A shared port is one that other processes may share which ask for that too (SO_REUSEPORT); who does not listen there
    only holds it. Raises ConfigError.
    """
    host, port = address
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        if backlog is not None:
            bound.listen(backlog)
    except (OSError, UnicodeError) as error:
        bound.close()
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "another program listens there" if in_use else getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"can not listen on {host}:{port}: {reason}") from error
    return bound


def written(bound: Any) -> str:
    """A socket's address as settings have it, with the port that port 0 became."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
