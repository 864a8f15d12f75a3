"""greenswitch's own server, as its README shows it, with an application that is one bridge; argv[1] is the port."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import greenswitch
from greenswitch.esl import OutboundSessionHasGoneAway


class OneBridge:
    """Made by greenswitch for each call."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(self) -> None:
        """Bridges, and waits for the end of it."""
        with contextlib.suppress(OutboundSessionHasGoneAway):
            self.session.bridge("sofia/gateway/carrier/+491713920042", block=True)


server = greenswitch.OutboundESLServer("127.0.0.1", int(sys.argv[1]), application=OneBridge, max_connections=100_000)
server.listen()
