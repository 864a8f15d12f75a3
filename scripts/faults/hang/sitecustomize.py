"""What `make faults` needs inside a Python process that it makes hang, or whose clock it changes.

Its directory is first in PYTHONPATH of the fsroute under test.

On SIGWINCH the main thread, which runs the event loop, never returns. Other threads live, so it is no SIGSTOP:
a heartbeat that a thread sends would go on. fsroute does not change what SIGWINCH does.
"""

import os
import select
import signal
import time
from typing import Any

if os.environ.get("FAULTS_HANG"):

    def _hang(*_: object) -> None:
        while True:
            pass

    signal.signal(signal.SIGWINCH, _hang)

if os.environ.get("FAKETIME_TIMESTAMP_FILE"):
    # libfaketime 0.9.10 makes Python 3.11's time.sleep fail (EINVAL) as soon as the monotonic clock is not to be changed.
    def _sleep(seconds: Any, /) -> None:
        select.select([], [], [], seconds)

    time.sleep = _sleep
