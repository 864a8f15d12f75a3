"""`fsroute call`: acts as FreeSWITCH in one call to a running server."""

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
"""The ways a bridge can end, and the channel variables that FreeSWITCH sets then."""


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """The commands of one call, and how it ended."""

    commands: tuple[Command, ...]
    cause: str | None
    """The hang-up cause. None if fsroute handed the call back to the dialplan."""


def place_call(
    address: tuple[str, int],
    profile: Mapping[str, str],
    variables: Mapping[str, str],
    outcomes: Sequence[str],
    timeout_s: float,
) -> SimulatedCall:
    """Places one call. Its bridges end in these ways, in order; the last way repeats.

    Raises DataError if nothing listens at the address, ReplyTimeout if the server stays silent, and Disconnected if it
    closes in the middle of a command.
    """
    rung = 0

    def bridge(_: Parsed) -> Result:
        nonlocal rung
        outcome = outcomes[min(rung, len(outcomes) - 1)]
        rung += 1
        return Result(OUTCOMES[outcome], hung_up=outcome == "answered")

    identity = str(uuid.uuid4())
    channel = SimulatedChannel({"Unique-ID": identity, **profile}, {"uuid": identity, **variables}, bridge)
    try:
        with socket.create_connection(address, timeout_s) as sock:
            for command in simulated_channel.read_commands(sock):
                sock.sendall(channel.reply_to(command))
                if channel.hangup_cause is not None:
                    break
    except Disconnected:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"no fsroute at {address[0]}:{address[1]}: {reason}") from error
    return SimulatedCall(tuple(channel.commands), channel.hangup_cause)
