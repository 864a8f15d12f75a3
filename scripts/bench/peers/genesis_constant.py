"""Genesis' outbound server with a handler that is one bridge, without events and linger; argv[1] is the port."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from genesis import Outbound

logging.disable(logging.CRITICAL)  # its log is not what is measured


async def one_bridge(session: Any) -> None:
    await session.sendmsg("execute", "bridge", "sofia/gateway/carrier/+491713920042")
    # Genesis has no call that waits for the end: its two tasks stop when the connection does.
    await asyncio.wait({session.producer, session.consumer}, return_when=asyncio.FIRST_COMPLETED)


asyncio.run(Outbound(one_bridge, "127.0.0.1", int(sys.argv[1]), events=False, linger=False).start())
