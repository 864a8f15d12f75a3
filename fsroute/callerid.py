"""Caller-ID policy: what a leg may show of the caller. Pure.

`presented` is what the called side sees; `network` is asserted towards a carrier and belongs to the account's line.
Neither ever comes from what a caller typed: a forwarded leg shows the number that was dialled here, which is the
account's own.
"""

from __future__ import annotations

from fsroute import number
from fsroute.model import Account, Call, CallerId, Direction, User

_HIDDEN_USERS = frozenset({"", "anonymous", "unavailable", "unknown", "restricted", "private", "withheld", "asserted-id"})
"""From users that carriers and phones send instead of a number (RFC 3323, 4.1.1.3 and what is seen beside it)."""


def is_hidden(user: str) -> bool:
    """Whether the user part of a From address stands for a caller who hides their number."""
    return user.strip().lower() in _HIDDEN_USERS


def of_caller(call: Call, country: str) -> CallerId:
    """What a phone of the account sees of an incoming call: its caller, unless they are anonymous."""
    if call.anonymous:
        return CallerId(presented=None, network=None, reason="caller_anonymous")
    spellings = number.candidates(call.caller, country) if call.direction is Direction.INBOUND else ()
    return CallerId(presented=spellings[0] if spellings else None, network=None, reason="caller_received", as_received=True)


def of_extension(caller: User | None, received: CallerId) -> CallerId:
    """What a phone sees of a call from inside the account: the caller's extension, if they have one."""
    if caller is None or caller.extension is None:
        return received
    return CallerId(presented=caller.extension, network=None, reason="internal_extension")


def of_forwarded(dialled: str) -> CallerId:
    """What an external number sees of a call that is forwarded to it: the number that was dialled.

    It is the account's own, so it may always be shown (TKG section 120 (2)).
    """
    return CallerId(presented=dialled, network=dialled, reason="own_number")


def of_line(account: Account, reason: str = "network_number") -> CallerId | None:
    """What an external number sees of an outgoing call: the account's network number. None if it has none."""
    if account.network_number is None:
        return None
    return CallerId(presented=account.network_number, network=account.network_number, reason=reason)
