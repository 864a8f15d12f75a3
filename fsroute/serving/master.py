"""The master of `fsroute serve`: starts the workers, watches them, and takes signals. It decides no call.

It loads neither gevent nor the database driver, and waits in one place (`_wait`).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, cast

from structlog.typing import FilteringBoundLogger

from fsroute import __version__
from fsroute.configuration.settings import Settings
from fsroute.errors import ConfigError
from fsroute.eventsocket import sockets
from fsroute.serving import listening, take_over
from fsroute.serving.channel import Channel
from fsroute.serving.listening import Listening
from fsroute.serving.service_manager import VARIABLES, ServiceManager, service_manager
from fsroute.serving.signals import IGNORED, RELOAD, STOP
from fsroute.serving.supervisor import Supervisor, Word
from fsroute.serving.take_over import Taken

_PULSE_S = 0.5
"""The master looks at the clock this often, in seconds. If it is late by as much, the machine or the process was stopped,
and perhaps the workers too: that time does not count against them."""

_HAND_OVER_S = 2.0
"""Seconds for the workers to take no more calls, before the one that takes over is told that they do not. A worker that
hangs does not take any either."""

_TURNED_AWAY_AT_ONCE = 100
"""Connections that the master closes before it looks for other events."""


def serve(settings: Settings, log: FilteringBoundLogger, *, takes_over: bool = False) -> None:
    """Serves until SIGTERM, SIGINT or SIGQUIT, or until another fsroute has taken over and the last call has ended.

    Raises ConfigError, also if no worker can start with these settings.
    """
    manager = service_manager(os.environ, os.getpid())
    taken = take_over.ask(_address(settings)) if takes_over else None
    if taken is not None:
        ports = Listening(taken.sockets, taken.activated)
    else:
        ports = listening.activated(os.environ, os.getpid()) or listening.bind(settings.address)
    Master(settings, log, ports, manager, taken).run()


def _address(settings: Settings) -> str:
    """The setting `listen`, as a bound socket writes it."""
    host, port = settings.address
    try:
        found = socket.getaddrinfo(host, port, sockets.family(host), socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"listen = {settings.listen!r}: {getattr(error, 'strerror', None) or error}") from error
    return sockets.in_settings(str(found[0][4][0]), port)


class _Steady:
    """A log that never raises: the master lives whatever becomes of its log."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def __getattr__(self, level: str) -> Callable[..., None]:
        def write(event: str, **fields: Any) -> None:
            with contextlib.suppress(Exception):
                getattr(self._log, level)(event, **fields)

        return write


@dataclass(slots=True)
class _Process:
    """A worker's process, and the master's end of the channel to it."""

    process: subprocess.Popen[bytes]
    channel: Channel


@dataclass(slots=True)
class Master:
    """`taken`: the fsroute whose sockets these are, until it has been told that all workers are ready."""

    settings: Settings
    log: FilteringBoundLogger
    ports: Listening
    manager: ServiceManager
    taken: Taken | None
    command: Sequence[str] = field(default_factory=lambda: [sys.executable, *sys.orig_argv[1:]])
    """Starts fsroute as this process was started: a worker has the same flags, and the code that is installed by then."""
    supervisor: Supervisor = field(init=False)
    address: str = field(init=False)
    _selector: selectors.BaseSelector = field(init=False)
    _processes: dict[int, _Process] = field(default_factory=dict)
    _offer: socket.socket | None = None
    _successor: Channel | None = None
    """The fsroute that takes over from this one."""
    _told: bool = False
    """The one that was taken over knows whether the workers are ready."""
    _done_by: float | None = None
    """When the successor is told that no worker takes calls any more."""
    _turned_away: dict[int, int] = field(default_factory=dict)
    """Listening sockets without a worker, with the number of connections that were closed there."""
    _lost_s: float = 0.0
    _said: list[str] = field(default_factory=list)
    _said_reloading: bool = False
    _watched: float = 0.0

    def __post_init__(self) -> None:
        self.log = cast("FilteringBoundLogger", _Steady(self.log))
        self.address = self.ports.address
        self.supervisor = Supervisor(self, self.ports.divide, asdict(self.settings), self.log)

    def run(self) -> None:
        """Runs to the end. Raises ConfigError if no worker can start."""
        self._selector = selectors.DefaultSelector()
        awake, self_pipe = socket.socketpair()
        awake.setblocking(False)  # noqa: FBT003 - Python's signature
        self_pipe.setblocking(False)  # noqa: FBT003 - the same
        handled = {*STOP, *IGNORED, RELOAD, signal.SIGCHLD}
        before = {number: signal.signal(number, _wake) for number in handled}
        before_fd = signal.set_wakeup_fd(self_pipe.fileno(), warn_on_full_buffer=False)
        self._selector.register(awake, selectors.EVENT_READ, partial(self._signalled, awake))
        try:
            self._run()
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            for each in (self._selector, awake, self_pipe, self.ports):
                each.close()
        if self.supervisor.failure is not None:
            raise ConfigError(self.supervisor.failure)

    def _run(self) -> None:
        if self.settings.workers > 1:  # with one, the line `serving` says as much
            self.log.info("starting workers", listen=self.address, workers=self.settings.workers)
        if self.taken is None:
            self._make_offer()
            self.supervisor.start(self.now)
        else:
            self._selector.register(self.taken.channel, selectors.EVENT_READ, self._predecessor_spoke)
            self.supervisor.take_over(self.now)
        due = None
        while not self.supervisor.finished or self._done_by is not None:
            self._wait(due)
            due = self.supervisor.tick(self.now)
            self._take_over()
            self._hand_over()
            self._turn_away()
            self._report()

    @property
    def now(self) -> float:
        """Seconds that pass only while the master runs."""
        return time.monotonic() - self._lost_s

    # --- processes: what the supervisor needs ---

    def start(self, listeners: Sequence[int], settings: Mapping[str, Any] | None) -> int:
        channel, there = Channel.pair()
        channel.say(Word.SETTINGS, settings)
        environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
        descriptors = [there.fileno(), *listeners]
        # The worker begins with all signals blocked: one that means the master must not end it before it ignores them.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            process = subprocess.Popen(  # noqa: S603 - the command that started this process
                [*self.command, "--worker", ",".join(map(str, descriptors))],
                stdin=subprocess.DEVNULL, pass_fds=descriptors, env=environment,
            )  # fmt: skip
        except OSError:
            channel.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            there.close()
        self._processes[process.pid] = _Process(process, channel)
        self._selector.register(channel, selectors.EVENT_READ, partial(self._worker_spoke, process.pid))
        return process.pid

    def tell(self, pid: int, word: Word) -> None:
        self._processes[pid].channel.say(word)

    def kill(self, pid: int) -> None:
        self._processes[pid].process.kill()

    # --- events ---

    def _wait(self, due: float | None) -> None:
        """Until something happens, or is due."""
        if self.manager.watchdog_s is not None:
            due = min(due, self._watched) if due is not None else self._watched
        if self._done_by is not None:
            due = min(due, self._done_by) if due is not None else self._done_by
        began = self.now
        timeout_s = _PULSE_S if due is None else min(max(0.0, due - began), _PULSE_S)
        events = self._selector.select(timeout_s)
        late_s = self.now - began - timeout_s
        if late_s > _PULSE_S:
            self._lost_s += late_s
        for key, _ in events:
            handle: Callable[[], None] = key.data
            handle()

    def _signalled(self, awake: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in dict.fromkeys(awake.recv(4096)):
                if number == signal.SIGCHLD:
                    self._reap()
                elif number in STOP:
                    self._stop()
                elif number == RELOAD:
                    self._reload()
                else:
                    self.log.warning("signal ignored", signal=_name(number))

    def _reap(self) -> None:
        for pid, worker in list(self._processes.items()):
            status = worker.process.poll()
            if status is not None:
                self._worker_spoke(pid)  # its last words
                self._forget(pid)
                self.supervisor.ended(pid, status, self.now)

    def _forget(self, pid: int) -> None:
        channel = self._processes.pop(pid).channel
        self._unregister(channel)
        channel.close()

    def _worker_spoke(self, pid: int) -> None:
        worker = self._processes.get(pid)
        if worker is None:
            return
        try:
            while (message := worker.channel.heard()) is not None:
                self.supervisor.heard(pid, message.word, message.value, self.now)
        except EOFError:
            self._unregister(worker.channel)  # SIGCHLD follows

    def _unregister(self, what: Any) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(what)

    def _stop(self) -> None:
        if self.supervisor.stopping:
            return
        self.manager.tell("STOPPING=1")
        self._withdraw_offer()
        # With the workers' copies these are all, unless a service manager or another fsroute has some: then connections wait
        # there. Otherwise they are refused.
        self.ports.close()
        self.supervisor.stop(self.now)

    def _reload(self) -> None:
        if self._successor is not None or self.taken is not None:
            self.log.error("reload failed", reason="another fsroute takes over")
            return
        self.supervisor.reload(self.now)

    # --- another fsroute ---

    def _make_offer(self) -> None:
        try:
            self._offer = take_over.offer(self.address)
        except OSError as error:
            self.log.warning("take-over not possible", reason=error.strerror)
            return
        self._selector.register(self._offer, selectors.EVENT_READ, self._asked)

    def _withdraw_offer(self) -> None:
        if self._offer is not None:
            self._unregister(self._offer)
            self._offer.close()
            self._offer = None

    def _asked(self) -> None:
        """Another process has connected. It gets the sockets when it asks for them."""
        assert self._offer is not None  # noqa: S101 - it has just become readable
        try:
            channel = Channel(self._offer.accept()[0])
            pid, user = channel.peer
        except OSError:
            return
        if not take_over.may_deal_with(user):
            self.log.warning("take-over refused", pid=pid, reason=f"runs as another user ({user})")
            channel.close()
        elif self._successor is not None or self.supervisor.coming or not self.supervisor.ready:
            channel.say(take_over.Word.REFUSED, "it starts, reloads, or hands over to another process")
            # The other process closes first: closing with its message unread would take ours from it (unix(7): ECONNRESET).
            self._selector.register(channel, selectors.EVENT_READ, partial(self._refused_spoke, channel))
        else:
            self._successor = channel
            self._selector.register(channel, selectors.EVENT_READ, partial(self._successor_spoke, channel, pid))

    def _refused_spoke(self, channel: Channel) -> None:
        try:
            while channel.heard() is not None:
                pass
        except EOFError:
            self._unregister(channel)
            channel.close()

    def _successor_spoke(self, channel: Channel, pid: int) -> None:
        try:
            while (message := channel.heard()) is not None:
                if message.word == take_over.Word.TAKE_OVER:
                    descriptors = [each.fileno() for each in self.ports.bound]
                    channel.say(take_over.Word.SOCKETS, {"activated": self.ports.activated}, descriptors)
                    self.log.info("take-over begins", pid=pid)
                elif message.word == take_over.Word.FAILED:
                    raise EOFError(str(message.value))  # noqa: TRY301 - the same end
                elif message.word == take_over.Word.READY and not self.supervisor.leaving:
                    self.log.info("handed over", pid=pid)
                    self._withdraw_offer()
                    self.supervisor.retire()
                    self._done_by = self.now + _HAND_OVER_S
        except EOFError as error:
            if not self.supervisor.leaving:
                self.log.error("take-over failed", pid=pid, reason=str(error))  # noqa: TRY400 - not a defect
            self._unregister(channel)
            channel.close()
            self._successor = None

    def _hand_over(self) -> None:
        """Tells the successor when the last worker takes no more calls."""
        if self._done_by is not None and (self.supervisor.closed or self.now >= self._done_by):
            self._done_by = None
            self.ports.close()
            if self._successor is not None:
                self._successor.say(take_over.Word.DONE)

    def _take_over(self) -> None:
        """Tells the predecessor when all workers take calls, or why they do not."""
        if self.taken is None or self._told:
            return
        if self.supervisor.failure is not None:
            self.taken.channel.say(take_over.Word.FAILED, self.supervisor.failure)
            self._told = True
        elif self.supervisor.ready:
            self.taken.channel.say(take_over.Word.READY)
            self._told = True

    def _predecessor_spoke(self) -> None:
        assert self.taken is not None  # noqa: S101 - its channel has just become readable
        try:
            message = self.taken.channel.heard()
            if message is None or message.word != take_over.Word.DONE:
                return
            self.log.info("taken over", pid=self.taken.pid)
        except EOFError:
            pass  # it has ended, and its sockets are here
        self._unregister(self.taken.channel)
        self.taken.channel.close()
        self.taken = None
        self._make_offer()

    # --- connections that nobody takes ---

    def _turn_away(self) -> None:
        unattended = self.supervisor.unattended(self.now)
        for descriptor in unattended - self._turned_away.keys():
            self._turned_away[descriptor] = 0
            self._selector.register(descriptor, selectors.EVENT_READ, partial(self._close_connections, descriptor))
            self.log.error("no worker takes calls", listen=self.address)
        for descriptor in self._turned_away.keys() - unattended:
            self._unregister(descriptor)
            calls = self._turned_away.pop(descriptor)
            self.log.warning("calls turned away", listen=self.address, calls=calls)

    def _close_connections(self, descriptor: int) -> None:
        listener = next((each for each in self.ports.bound if each.fileno() == descriptor), None)
        for _ in range(_TURNED_AWAY_AT_ONCE):
            try:
                if listener is None:
                    return
                listener.accept()[0].close()
            except OSError:
                return
            self._turned_away[descriptor] += 1

    # --- what others see ---

    def _report(self) -> None:
        """Tells the service manager what has changed, and that the master lives. What it does not take, it gets again."""
        supervisor = self.supervisor
        reloading = bool(supervisor.coming and supervisor.places)
        if reloading and not self._said_reloading:
            self._said_reloading = self.manager.reloading()
        status = (
            f"{supervisor.serving} of {len(supervisor.places)} workers take calls at {self.address}, version {__version__}"
        )
        if supervisor.leaving:
            status = "takes no more calls"
        if supervisor.retired:
            status += f"; {supervisor.retired} retired workers wait for the end of their calls"
        if supervisor.reload_failure:
            status += f"; the last reload failed: {supervisor.reload_failure}"
        state = [f"STATUS={' '.join(status.split())}"]
        if supervisor.ready and not supervisor.leaving and not reloading:
            state.insert(0, "READY=1")
            again = self._said_reloading  # the same state as before, but systemd waits for the word
        else:
            again = False
        if (state != self._said or again) and self.manager.tell(*state):
            self._said = state
            self._said_reloading = self._said_reloading and not again
        if self.manager.watchdog_s is not None and self.now >= self._watched:
            self.manager.tell("WATCHDOG=1")
            self._watched = self.now + self.manager.watchdog_s / 3


def _wake(*_: Any) -> None:
    """A signal handler: Python writes the number to the wake-up descriptor, if there is a handler."""


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
