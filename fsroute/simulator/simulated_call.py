"""`fsroute call`: plays FreeSWITCH's side of one call against a running server."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fsroute.errors import DataError, Disconnected
from fsroute.simulator import simulated_channel
from fsroute.simulator.dialstring_reader import Parsed
from fsroute.simulator.simulated_channel import Command, Result, SimulatedChannel

OUTCOMES: Mapping[str, Mapping[str, str]] = {
    "answered": {"originate_disposition": "SUCCESS"},
    "busy": {"originate_disposition": "USER_BUSY", "originate_causes": "leg;USER_BUSY"},
    "no_answer": {"originate_disposition": "ALLOTTED_TIMEOUT", "originate_causes": "leg;ALLOTTED_TIMEOUT"},
    "unreachable": {"originate_disposition": "USER_NOT_REGISTERED", "originate_causes": ""},
}
"""How a bridge ends, by what FreeSWITCH then says of the channel."""


@dataclass(frozen=True, slots=True)
class Told:
    """What FreeSWITCH was told in one call."""

    commands: tuple[Command, ...]
    cause: str | None
    """The hang-up cause, None if fsroute handed the call back to the dialplan."""


def place_call(
    address: tuple[str, int],
    profile: Mapping[str, str],
    variables: Mapping[str, str],
    outcomes: Sequence[str],
    timeout_s: float,
) -> Told:
    """One call, whose bridges end in these ways, the last one again and again.

    Raises DataError when nobody answers at the address, ReplyTimeout when somebody does but stays silent.
    """
    rung = 0

    def bridge(_: Parsed) -> Result:
        nonlocal rung
        outcome = outcomes[min(rung, len(outcomes) - 1)]
        rung += 1
        return Result(OUTCOMES[outcome], hung_up=outcome == "answered")

    identity = str(uuid.uuid4())
    far_end = SimulatedChannel({"Unique-ID": identity, **profile}, {"uuid": identity, **variables}, bridge)
    try:
        with socket.create_connection(address, timeout_s) as sock:
            for command in simulated_channel.read_commands(sock):
                sock.sendall(far_end.answer(command))
                if far_end.hangup_cause is not None:
                    break
    except Disconnected:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"no fsroute at {address[0]}:{address[1]}: {reason}") from error
    return Told(tuple(far_end.told), far_end.hangup_cause)
