"""How long a call may wait for FreeSWITCH."""

from __future__ import annotations

from enum import Enum, auto


class Wait(Enum):
    """What a call waits for when it pauses."""

    REPLY = auto()
    """For FreeSWITCH's reply. The session's timeout bounds the wait."""

    CALL = auto()
    """For the end of an application that may last as long as the call. Nothing bounds the wait but the connection."""
