"""What a fault meets: FreeSWITCH with the shipped dialplan, two fsroutes, and their database."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from scripts.faults.databases import PostgreSQL, SQLite
from scripts.faults.node import Node, Sink, WorldError
from scripts.faults.phones import FALLBACK
from tests.support.switch import Switch

FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
"""Debian's package libfaketime."""

CALLS_A_SECOND = 1000
"""FreeSWITCH's limit for the time of a run: the shipped one, 100 legs a second, would refuse calls of the load."""

RTP_PORTS = 61_000, 65_500
"""For the load, which needs more than a switch of the tests has: above the ephemeral ports, so only one may run."""


class Kind(StrEnum):
    POSTGRESQL = "PostgreSQL"
    SQLITE = "SQLite"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a fault needs of its world."""

    database: Kind = Kind.POSTGRESQL
    second: bool = True
    """A second fsroute listens where the dialplan's second `socket` connects."""
    workers: int = 2
    sink: Sink = Sink.FILE
    faketime: bool = False


@dataclass(slots=True)
class World:
    """Entered, all of it runs. The first fsroute is the one that faults meet."""

    directory: Path
    switch: Switch
    setting: Setting
    first: Node = field(init=False)
    second: Node | None = None
    database: PostgreSQL | SQLite = field(init=False)
    held: list[socket.socket] = field(default_factory=list)
    """Connections of a fault."""
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.database = PostgreSQL() if self.setting.database is Kind.POSTGRESQL else SQLite(self.directory)
        self._stack.callback(self.database.close)
        switch = self.switch
        flags = [
            *("--db", self.database.url, "--log-format", "json", "--drain-s", "5"),
            *("--event-socket", f"127.0.0.1:{switch.event_socket[1]}", "--event-socket-password", switch.password),
        ]
        workers = ("--workers", str(self.setting.workers))
        environment = self._clock() if self.setting.faketime else {}
        self.first = Node(
            "first", switch.socket_port, self.directory, [*flags, *workers], sink=self.setting.sink, environment=environment
        )
        self._stack.callback(self.first.close)
        self.first.start()
        if self.setting.second:
            self.second = Node("second", switch.socket_port_2, self.directory, flags)
            self._stack.callback(self.second.close)
            self.second.start()

    # What is done to it

    @property
    def postgresql(self) -> PostgreSQL:
        assert isinstance(self.database, PostgreSQL)
        return self.database

    @property
    def sqlite(self) -> SQLite:
        assert isinstance(self.database, SQLite)
        return self.database

    def set_clock(self, offset: str) -> None:
        """For the first fsroute: "+0" is the machine's time, "+1h" an hour later."""
        new = self.directory / "clock.new"
        new.write_text(f"{offset}\n")
        new.rename(self.directory / "clock")

    def _clock(self) -> Mapping[str, str]:
        library = find_faketime()
        if library is None:
            raise WorldError("libfaketime is not installed (on Debian: apt-get install libfaketime)")
        self.set_clock("+0")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.directory / "clock"),
            "FAKETIME_NO_CACHE": "1",
            # As when a real clock is set: CLOCK_MONOTONIC goes on.
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def find_faketime() -> Path | None:
    return next(iter(sorted(Path("/").glob(FAKETIME[1:]))), None)


def make_switch(*, is_for_load: bool = False) -> Switch:
    """FreeSWITCH with the shipped configuration. The fallback is a phone that nothing else rings."""
    settings = {"fallback_dial": f"user/{FALLBACK}@acme.example"}
    if is_for_load:
        settings |= {"rtp_first_port": str(RTP_PORTS[0]), "rtp_last_port": str(RTP_PORTS[1])}
    return Switch(settings=settings)


def prepare(switch: Switch) -> None:
    """What is set in the running FreeSWITCH: more legs a second, and less log, which costs it half of its time."""
    for command in (f"fsctl sps {CALLS_A_SECOND}", "fsctl loglevel warning"):
        switch.api(command)


class Ended:
    """Runs what begins and ends a fault in a thread of its own, so that calls go on meanwhile."""

    def __init__(self) -> None:
        self.at: float | None = None
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def run(self, *steps: object) -> None:
        """Each step is a function, or seconds to wait."""

        def work() -> None:
            try:
                for step in steps:
                    if callable(step):
                        step()
                    elif isinstance(step, (int, float)):
                        time.sleep(step)
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                self.failure = error
            self.at = time.monotonic()

        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def when(self) -> float | None:
        if self.failure is not None:
            raise self.failure
        return self.at
