"""The objects of mod_python3, without a FreeSWITCH: the module `freeswitch`, and sessions over a simulated channel.

Only what fsroute uses of it; tests/e2e runs the same code inside a real FreeSWITCH.
"""

from __future__ import annotations

import json
from typing import Any

from fsroute.simulator.simulated_channel import Command, SimulatedChannel


class PythonEvent:
    """freeswitch.Event"""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""

    def serialize(self) -> str:
        return self.text


class PythonSession:
    """freeswitch.Session"""

    def __init__(self, channel: SimulatedChannel) -> None:
        self.channel = channel
        self.destroyed = 0

    def ready(self) -> bool:
        return self.channel.hangup_cause is None

    def execute(self, application: str, argument: str = "") -> None:
        headers = {"call-command": "execute", "execute-app-name": application}
        self.channel.reply_to(Command("sendmsg", headers | ({"execute-app-arg": argument} if argument else {})))

    def hangup(self, cause: str) -> None:
        self.channel.reply_to(Command("sendmsg", {"call-command": "hangup", "hangup-cause": cause}))

    def setEventData(self, event: PythonEvent) -> None:  # noqa: N802 - mod_python3's name
        assert event.name == "CHANNEL_DATA"
        event.text = self.channel.snapshot().decode("utf-8", "surrogateescape")

    def destroy(self) -> None:
        self.destroyed += 1


class PythonStream:
    """freeswitch.Stream"""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class PythonModule:
    """The module `freeswitch`."""

    Event = PythonEvent

    def __init__(self, config: str = "") -> None:
        self.config = config
        self.log: list[tuple[str, dict[str, Any]]] = []

    def getGlobalVariable(self, name: str) -> str:  # noqa: N802 - mod_python3's name
        assert name == "fsroute_config"
        return self.config

    def consoleLog(self, level: str, line: str) -> None:  # noqa: N802 - mod_python3's name
        assert line.endswith("\n")
        assert line.count("\n") == 1
        self.log.append((level, json.loads(line) if line.startswith("{") else {"line": line}))

    def events(self) -> list[str]:
        return [line["event"] for _, line in self.log]
