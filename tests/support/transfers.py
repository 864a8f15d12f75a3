"""A call that somebody transfers: what the phones write, the scene that most transfers begin with, what can be seen of it.

The phones of scripts/demo.sql: 1001 is the reception's (extension 11), 1003 the workshop's (12), 1004 the office's (13).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.support.sip import Answer, Call, Carrier, MakePhone, Peer

if TYPE_CHECKING:
    from tests.e2e.conftest import Fsroute

CALLER, MOBILE, LINE = "+493023125001", "+491713920042", "+492214710100"
VERIFIED = "+498999998123"
"""What the reception's calls show."""

HIDES_NUMBER = [f"P-Asserted-Identity: <sip:{CALLER}@carrier.example>", "Privacy: id"]
"""The headers with which the carrier sends a caller who hides the number."""

DOMAIN = "acme.example"
SPOKEN_S = 0.2
"""What is said at least before somebody transfers. FreeSWITCH 1.11.2 needs a moment after the answer until both legs know of
each other (signal_bond): a REFER within some ten milliseconds leaves the transferor's leg in its bridge."""


def to(extension: str) -> str:
    """The Refer-To of a phone that sends a call to this extension or number."""
    return f"<sip:{extension}@{DOMAIN}>"


def to_replaced(extension: str, call: Call) -> str:
    """The Refer-To of a phone that connects a call with another one that it has."""
    return f"<sip:{extension}@{DOMAIN}?Replaces={quote(call.replaces, safe='')}>"


def user_of(header: str) -> str:
    found = re.search(r"sip:([^@>]*)", header)
    return found[1] if found else ""


def transferred(fsroute: Fsroute) -> list[dict[str, Any]]:
    return [line for line in fsroute.lines() if line["event"] == "call left"]


def talks(*calls: Call) -> None:
    """Neither of them has ended, now and a moment later."""
    time.sleep(0.6)
    assert [call.end for call in calls] == [None] * len(calls), calls


class Scene:
    """A caller from the carrier talks to the reception's phone, which can transfer the call."""

    def __init__(self, carrier: Carrier, phone: MakePhone, number: str = "+492214710602", **call: Any) -> None:
        self.reception = phone("1001", Answer())
        self.caller = carrier.call(number, **call)
        self.caller.wait_answer()
        self.answered = self.reception.wait_invite()
        self.answered.wait("ack")
        time.sleep(SPOKEN_S)


def uuid_of(fsroute: Fsroute) -> str:
    """The caller's leg of the last call."""
    return str(fsroute.routed()[-1]["call"])


def notified(peer: Peer, call: Call) -> list[str]:
    """What a phone was told about its REFER: the status lines of the NOTIFYs."""
    return [
        message.body.strip()
        for message in peer.messages
        if not message.sent and message.start.startswith("NOTIFY") and message.get("Call-ID") == call.call_id
    ]
