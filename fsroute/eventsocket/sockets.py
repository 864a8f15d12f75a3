"""Binds TCP ports, alone or shared with other processes; an error says in one line why a port cannot be used."""

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
"""For connections that may be silent for hours. If the other machine disappears, the kernel ends the connection after about
a minute (30 s, then three probes of 10 s). FreeSWITCH sets the same on its side (30 s)."""


def bind(address: tuple[str, int], *, shared: bool = False, backlog: int | None = None) -> socket.socket:
    """A socket bound to this address. With a backlog it listens.

    A shared port can be bound by other processes that share it too (SO_REUSEPORT). A socket that does not listen only
    reserves the port. Raises ConfigError.
    """
    host, port = address
    bound = socket.socket(family(host), socket.SOCK_STREAM)
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
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}") from error
    return bound


def written(bound: Any) -> str:
    """A socket's address as settings write it, with the port that the kernel chose for port 0."""
    return in_settings(*bound.getsockname()[:2])


def in_settings(host: str, port: int) -> str:
    """An address as settings write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family(host: str) -> socket.AddressFamily:
    """The kind of address that a host's text is. A name means an IPv4 address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
