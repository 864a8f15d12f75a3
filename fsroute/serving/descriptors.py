"""How many calls a process can have by the limit of open files (ulimit -n)."""

from __future__ import annotations

import resource
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from fsroute.configuration.settings import Settings
from fsroute.errors import ConfigError

RESERVED = 100
"""Descriptors of a process that are no calls: nine connections to the database, with SQLite of three files each; 16
connections that are turned away; sockets, pipes and gevent's own. A server without calls has a dozen open."""


def fitted(settings: Settings, log: FilteringBoundLogger) -> Settings:
    """The settings with as many calls as this process can have. Raises the soft limit of open files to the hard one first.

    Raises ConfigError if there is no room for a single call.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # a sandbox, or a hard limit that the kernel no longer allows
            limit = soft
    if limit == resource.RLIM_INFINITY or settings.max_calls <= limit - RESERVED:
        return settings
    if limit <= RESERVED:
        raise ConfigError(f"the limit of open files (ulimit -n) is {limit}: must be more than {RESERVED}")
    log.warning("max_calls lowered", max_calls=limit - RESERVED, given=settings.max_calls, open_files=limit)
    return replace(settings, max_calls=limit - RESERVED)
