"""Conversations between FreeSWITCH and fsroute: recorded at a tap, kept as data, compared by their shape."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fsroute.eventsocket.frames import FrameReader
from fsroute.simulator import simulated_channel
from fsroute.simulator.simulated_channel import Command

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"

FREESWITCH, FSROUTE = "freeswitch", "fsroute"


@dataclass(frozen=True)
class Turn:
    """What one side said before the other one spoke again."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Recording:
    """One conversation, with the FreeSWITCH that had it."""

    version: str
    turns: tuple[Turn, ...]

    @classmethod
    def read(cls, name: str) -> Recording:
        data = json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))
        return cls(data["version"], tuple(Turn(**turn) for turn in data["turns"]))

    def write(self, name: str) -> None:
        RECORDINGS.mkdir(exist_ok=True)
        path = RECORDINGS / f"{name}.json"
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n", "utf-8")

    def said(self, speaker: str) -> str:
        return "".join(turn.text for turn in self.turns if turn.speaker == speaker)


def frame_shapes(recording: Recording) -> list[dict[str, str]]:
    """What FreeSWITCH's frames are made of, without what differs from call to call."""
    reader = FrameReader()
    reader.feed(recording.said(FREESWITCH).encode())
    shapes: list[dict[str, str]] = []
    while frame := reader.next():
        shapes.append(
            {
                name: frame.get(name)
                for name in (
                    "Event-Name",
                    "Content-Type",
                    "Reply-Text",
                    "Socket-Mode",
                    "Control",
                    "Content-Disposition",
                )
            }
            | {"body": frame.body.decode()}
        )
    return shapes


_CHANGING = re.compile(r"[0-9a-f]{16}(?=\$\{sofia_contact)|(?<=@127\.0\.0\.1:)[0-9]+")


def commands(recording: Recording) -> list[Command]:
    """What fsroute said; marks and the phones' ports, which differ from call to call, are 0."""
    told, left = simulated_channel.parse(recording.said(FSROUTE).encode())
    assert not left
    return [
        Command(command.name, {name: _CHANGING.sub("0", value) for name, value in command.headers.items()})
        for command in told
    ]


class Tap:
    """Listens where FreeSWITCH expects fsroute, passes everything on, and keeps what was said."""

    def __init__(self, port: int, to: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(10)
        self._to = to
        self._turns: list[Turn] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._thread.join(15)
        self._listener.close()

    def conversation(self, version: str, timeout_s: float = 15) -> Recording:
        """The conversation, once it has ended. Addresses and hosts of this machine are made neutral."""
        assert self._done.wait(timeout_s), "the conversation goes on"
        return Recording(version, tuple(_neutral(turn) for turn in _merged(self._turns)))

    def _run(self) -> None:
        try:
            switch, _ = self._listener.accept()
        except OSError:
            return
        switch.settimeout(None)
        with switch, socket.create_connection(("127.0.0.1", self._to)) as fsroute:
            threads = [
                threading.Thread(target=self._pass_on, args=pair, daemon=True)
                for pair in ((switch, fsroute, FREESWITCH), (fsroute, switch, FSROUTE))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self._done.set()

    def _pass_on(self, source: socket.socket, target: socket.socket, speaker: str) -> None:
        try:
            while data := source.recv(65536):
                with self._lock:
                    self._turns.append(Turn(speaker, data.decode()))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side has gone: the other one notices by its own read


def _merged(turns: list[Turn]) -> Iterator[Turn]:
    said: list[Turn] = []
    for turn in turns:
        if said and said[-1].speaker == turn.speaker:
            said[-1] = Turn(turn.speaker, said[-1].text + turn.text)
        else:
            said.append(turn)
    yield from said


_MACHINE = re.compile(r"^(FreeSWITCH-(?:Hostname|Switchname|IPv4|IPv6): ).*$", re.MULTILINE)


def _neutral(turn: Turn) -> Turn:
    return Turn(turn.speaker, _MACHINE.sub(r"\1example", turn.text))
