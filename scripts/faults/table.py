"""The table of faults: what is done, how it is undone, and what may happen at most. `make faults` runs each line.

A line is data; what it does are functions of a World. `docs/reliability.md` has one row for each.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from scripts.faults.node import Node, Sink, send
from scripts.faults.records import Bound
from scripts.faults.world import Kind, Setting, World

HANG_S = 3.0
"""fsroute's default hang_s: a worker without a heartbeat is replaced after it."""

RESPONDS_S = 25.0
"""FreeSWITCH waits so long for the first command of an fsroute (mod_event_socket.c)."""


FOUND = Setting()
QUICK, UNHARMED = Bound(), Bound(silence_s=1.0, normal_s=0.0)
"""What one may do that costs a moment, and one of which callers notice nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`begin` starts it, `end` undoes it after `lasts_s` seconds, and both may take their time."""

    name: str
    what: str
    begin: Callable[[World], None]
    end: Callable[[World], None] | None = None
    lasts_s: float = 0.0
    setting: Setting = FOUND
    bound: Bound = QUICK
    loses_talks: bool = False
    """FreeSWITCH itself ends, and with it what it carries."""
    in_load: bool = True
    """May be one of the random faults under load."""
    once: bool = False
    """Under load at most once: what it breaks stays broken."""


def _first_worker(number: signal.Signals, world: World) -> None:
    for pid in world.first.workers()[:1]:
        send(pid, number)


def _workers(number: signal.Signals, world: World) -> None:
    for pid in world.first.workers():
        send(pid, number)


def _master(number: signal.Signals, world: World) -> None:
    send(world.first.master.pid, number)


def _kill_master(world: World) -> None:
    world.first.master.kill()
    world.first.master.wait(20)


def _both(do: Callable[[Node], object], world: World) -> None:
    for node in (world.first, world.second):
        if node is not None:
            do(node)


def _kill_all(world: World) -> None:
    _both(Node.kill, world)


def _start_all(world: World) -> None:
    _both(Node.start, world)


def _start_first(world: World) -> None:
    world.first.start()


def _restart(world: World) -> None:
    world.first.stop()
    world.first.start()


def _take_over(world: World) -> None:
    world.first.take_over()


def _reload(world: World, *, all_processes: bool) -> None:
    world.first.reload(signal.SIGHUP, all_processes=all_processes)


def _reader(number: signal.Signals, world: World) -> None:
    assert world.first.reader is not None
    send(world.first.reader.pid, number)


def _kill_reader(world: World) -> None:
    assert world.first.reader is not None
    world.first.reader.kill()
    world.first.reader.wait(20)


def _kill_switch(world: World) -> None:
    world.switch.kill()


def _start_switch(world: World) -> None:
    world.switch.restart()


def _flood(world: World) -> None:
    """Connections that say nothing, as many as a process may have calls."""
    for _ in range(500):
        connection = socket.socket()
        connection.setblocking(False)  # noqa: FBT003 - Python's signature
        connection.connect_ex(("127.0.0.1", world.first.port))
        world.held.append(connection)


def _end_flood(world: World) -> None:
    while world.held:
        world.held.pop().close()


STOPPED = signal.SIGSTOP
ALONE = Setting(second=False)
ON_PIPE = Setting(sink=Sink.PIPE)
ON_DISK = Setting(sink=Sink.DISK)
ON_SQLITE = Setting(database=Kind.SQLITE)
CLOCK = Setting(faketime=True)

HUNG = Bound(silence_s=HANG_S + 4, gap_s=HANG_S + 4, normal_s=HANG_S + 5)
"""A caller who meets a process that hangs waits until it is replaced."""

RESCUED = Bound(fallback=True, normal_s=5.0)
"""The fallback answers while no fsroute does."""

UNKNOWN = Bound(fallback=True, normal_s=3.0)
"""Numbers that memory does not know reach the fallback while the database is away."""

FAULTS = (
    # Processes. Each is of the first fsroute, which has two workers, if nothing else is said.
    Fault("worker killed", "SIGKILL to one of two workers", partial(_first_worker, signal.SIGKILL)),
    Fault("all workers killed", "SIGKILL to both workers", partial(_workers, signal.SIGKILL)),
    Fault(
        "master killed", "SIGKILL to the master; started again after 2 s, as systemd does", _kill_master, _start_first, 2.0,
    ),
    Fault(
        "worker stopped", "SIGSTOP to one of two workers", partial(_first_worker, STOPPED), bound=HUNG,
    ),
    Fault("all workers stopped", "SIGSTOP to both workers", partial(_workers, STOPPED), bound=HUNG),
    Fault(
        "worker hangs", "one worker's event loop runs without end; its other threads live",
        partial(_first_worker, signal.SIGWINCH), bound=HUNG,
    ),
    Fault(
        "master stopped", "SIGSTOP to the master, SIGCONT after 6 s", partial(_master, STOPPED),
        partial(_master, signal.SIGCONT), 6.0,
    ),
    Fault(
        "fsroute killed, there is a second", "SIGKILL to master and workers; started again after 2 s",
        lambda world: world.first.kill(), _start_first, 2.0,
    ),
    Fault(
        "the only fsroute killed", "SIGKILL to master and workers, no second fsroute; started again after 2 s",
        lambda world: world.first.kill(), _start_first, 2.0, ALONE, RESCUED, in_load=False,
    ),
    Fault(
        "both fsroutes killed", "SIGKILL to all processes of both; started again after 2 s", _kill_all, _start_all, 2.0,
        bound=RESCUED,
    ),
    # Operators.
    Fault("reload", "SIGHUP to the master", partial(_reload, all_processes=False), bound=UNHARMED),
    Fault(
        "reload of all processes", "SIGHUP to the master and its workers, as pkill and a terminal's end send it",
        partial(_reload, all_processes=True), bound=UNHARMED,
    ),
    Fault("restart", "SIGTERM, and a start once it has ended; there is a second fsroute", _restart),
    Fault(
        "take-over", "a new fsroute starts with --take-over beside the serving one", _take_over,
        setting=ALONE, bound=UNHARMED,
    ),
    # The log.
    Fault(
        "log's disk full", "the log is a file on a disk that is full for 5 s", lambda world: world.first.fill_disk(),
        lambda world: world.first.empty_disk(), 5.0, ON_DISK, UNHARMED,
    ),
    Fault(
        "log's reader stalls", "the program that reads the log is stopped (SIGSTOP) for 5 s", partial(_reader, STOPPED),
        partial(_reader, signal.SIGCONT), 5.0, ON_PIPE, UNHARMED,
    ),
    Fault(
        "log's reader dies", "the program that reads the log is killed (SIGKILL)", _kill_reader,
        setting=ON_PIPE, bound=UNHARMED,
    ),
    # PostgreSQL: a primary and a streaming standby.
    Fault(
        "PostgreSQL killed", "SIGKILL to the primary; started again after 5 s; nobody promotes the standby",
        lambda world: world.postgresql.kill(), lambda world: world.postgresql.restart(), 5.0, bound=UNKNOWN,
    ),
    Fault(
        "PostgreSQL hangs", "SIGSTOP to all processes of primary and standby for 5 s",
        lambda world: world.postgresql.stop_answering(), lambda world: world.postgresql.answer_again(), 5.0, bound=UNKNOWN,
    ),
    Fault(
        "PostgreSQL fails over", "SIGKILL to the primary; the standby is promoted at once",
        lambda world: world.postgresql.fail_over(), bound=UNKNOWN, once=True,
    ),
    Fault(
        "PostgreSQL's tables locked", "ACCESS EXCLUSIVE locks for 5 s", lambda world: world.postgresql.lock(),
        lambda world: world.postgresql.unlock(), 5.0, bound=UNKNOWN,
    ),
    # SQLite.
    Fault(
        "SQLite locked", "another program's transaction is open for 5 s (BEGIN EXCLUSIVE)",
        lambda world: world.sqlite.lock(), lambda world: world.sqlite.unlock(), 5.0, ON_SQLITE, Bound(normal_s=0.0),
        in_load=False,
    ),
    Fault(
        "SQLite file replaced", "mv of another file over it", lambda world: world.sqlite.replace(),
        setting=ON_SQLITE, in_load=False,
    ),
    Fault(
        "SQLite file deleted", "the file is deleted; another one is moved to its place after 3 s",
        lambda world: world.sqlite.delete(), lambda world: world.sqlite.restore(), 3.0, ON_SQLITE, UNKNOWN, in_load=False,
    ),
    # FreeSWITCH.
    Fault(
        "FreeSWITCH killed", "SIGKILL; started again after 1 s; the phones register at once", _kill_switch, _start_switch,
        1.0, bound=Bound(lost=1_000, silence_s=30.0, gap_s=30.0, normal_s=10.0), loses_talks=True, in_load=False,
    ),
    # The machine.
    Fault(
        "clock jumps forward", "fsroute's time of day is an hour later (libfaketime); the monotonic clock goes on",
        lambda world: world.set_clock("+1h"), setting=CLOCK, bound=UNHARMED, in_load=False,
    ),
    Fault(
        "clock jumps back", "fsroute's time of day is an hour earlier (libfaketime); the monotonic clock goes on",
        lambda world: world.set_clock("-1h"), setting=CLOCK, bound=UNHARMED, in_load=False,
    ),
    Fault(
        "end of descriptors", "no process of the first fsroute can open another one, for 4 s",
        lambda world: world.first.limit_descriptors(), lambda world: world.first.free_descriptors(), 4.0,
    ),
    Fault(
        "flood of connections", "500 connections that send nothing, for 4 s", _flood, _end_flood, 4.0,
        bound=UNHARMED,
    ),
)  # fmt: skip


def can_be_in_load(fault: Fault) -> bool:
    """The load has one world, with PostgreSQL and a log on a pipe."""
    return fault.in_load and fault.setting.sink is not Sink.DISK


BY_NAME = {fault.name: fault for fault in FAULTS}

SHORT = ("worker killed", "worker stopped", "log's reader stalls", "PostgreSQL hangs", "the only fsroute killed")
"""The most telling ones, for `make test`."""
