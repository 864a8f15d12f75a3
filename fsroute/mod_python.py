"""The names that FreeSWITCH's mod_python3 calls: fsroute without a process of its own.

    <action application="python" data="fsroute.mod_python"/>          in the dialplan
    fs_cli -x 'python fsroute.mod_python explain +492214710100'       on the switch's console
    <param name="startup-script" value="fsroute.mod_python"/>         in python.conf.xml

mod_python3 imports this module and reloads it for every call. So it has no state: fsroute.embedded.entry keeps what outlives
a call. No exception may leave it: mod_python3 writes a traceback into 20 kB of memory without checking its length.
"""

from __future__ import annotations

import importlib
from typing import Any

FAILED = "fsroute.mod_python cannot start"


def handler(session: Any, args: str) -> None:
    """Routes the call of this session. When it returns and the call goes on, the dialplan's next action is the fallback."""
    try:
        from fsroute.embedded import entry  # noqa: PLC0415 - a failed import is a log line, and the dialplan goes on

        entry.route(session, args)
    except Exception as error:  # noqa: BLE001 - see the top of this file
        _log(error)


def fsapi(session: Any, stream: Any, env: Any, args: str) -> None:  # noqa: ARG001 - mod_python3's signature
    """Runs a command of fs_cli and writes its output."""
    try:
        from fsroute.embedded import entry  # noqa: PLC0415 - the same

        stream.write(entry.console(args))
    except Exception as error:  # noqa: BLE001 - the same
        _log(error)
        stream.write(f"-ERR {FAILED}: {_line(error)}\n")


def runtime(args: str) -> None:
    """Makes fsroute ready when FreeSWITCH starts, so that no call waits for it."""
    try:
        from fsroute.embedded import entry  # noqa: PLC0415 - the same

        entry.start(args)
    except Exception as error:  # noqa: BLE001 - the same
        _log(error)


def _log(error: Exception) -> None:
    importlib.import_module("freeswitch").consoleLog("ERR", f"{FAILED}: {_line(error)}\n")


def _line(error: Exception) -> str:
    """Not by fsroute.text: this module imports nothing of fsroute outside a `try`."""
    return ascii(f"{type(error).__name__}: {error}"[:500])[1:-1]
