"""Called inside FreeSWITCH by the tests: `python tests.support.inside::blocks`."""

from __future__ import annotations

import gc
import sys
from typing import Any


def blocks(session: Any, stream: Any, env: Any, args: str) -> None:
    """How many pieces of memory Python holds there."""
    gc.collect()
    stream.write(str(sys.getallocatedblocks()))
