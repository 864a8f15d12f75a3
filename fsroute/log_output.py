"""Where log lines go: a descriptor that may be full, dead or stalled, and callers that must not wait for it.

Each process queues its lines and writes them in a thread. Only this thread waits for a disk, a terminal or the reader of a
pipe. Making the descriptor non-blocking would not do: every program that shares the terminal or pipe would get the flag
too, a socket cannot be opened a second time to avoid that, and a write to a slow disk waits in spite of the flag.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import select
import signal
import stat
import sys
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

MAX_QUEUED: Final = 8 * 1024 * 1024
"""Bytes of lines that are kept while they cannot be written: those of some ten thousand calls. Further lines are dropped and
counted until half of it is free. A worker has some 60 MB without them, and shall not need more than 128 MB."""

LINE_COST: Final = 64
"""Bytes that Python needs for a line beside its text."""

FLUSH_S: Final = 1.0
"""How long the end of a process waits for its lines. A reader that works needs some milliseconds."""

RETRY_S: Final = 0.5
"""Pause after a failed write, such as one to a full disk, until the next attempt."""

GATHER_S: Final = 0.005
"""Least time between two writes. Lines of this time are written together: at 1,000 calls a second that costs less than one
write for each line. They are lost if the process is killed (SIGKILL)."""

PIPE_BYTES: Final = select.PIPE_BUF
"""What a pipe takes in one piece (POSIX): the lines of workers that share it are not mixed. Longer lines may be."""

FILE_BYTES: Final = 64 * 1024
"""What is written to a file at once."""

_SIGNALS: Final = signal.valid_signals() - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
"""Signals that the thread leaves to the main thread: a write must not be interrupted in the middle of a line."""

_SLOW: Final = "the reader is too slow"

_NEVER: Final = (errno.EMSGSIZE, errno.EINVAL)
"""Errors that the same bytes meet again, such as a line too long for a datagram."""

Report = Callable[[int, str], bytes]
"""Makes the line that says how many lines were lost, and why."""


class Output:
    """Writes lines to a descriptor, in their order and whole. No method raises, and only `flush` waits."""

    def __init__(self, descriptor: int, report: Report) -> None:
        self._descriptor = descriptor
        self._report = report
        self._begin()
        _outputs.add(self)

    def _begin(self) -> None:
        """The state of a process that has written nothing. A forked process begins anew: the thread, the lock and the lines
        of the queue are its parent's."""
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._waiting = 0  # bytes that are queued or being written
        self._lost = 0
        self._reason = _SLOW
        self._is_failing = False

    def write(self, line: bytes) -> None:
        """Queues a line, which ends with a line end. Counts it as lost if too many are queued already."""
        with self._lock:
            if not (self._has_room() and self._has_thread()):
                self._lost += 1
                return
            if self._lost:
                self._say_lost()
            self._put(line)

    def flush(self, seconds: float = FLUSH_S) -> bool:
        """Waits until all lines are written, for at most so many seconds. Whether they are."""
        until = time.monotonic() + seconds
        while self._waiting:
            if self._is_failing or time.monotonic() > until:
                return False
            time.sleep(GATHER_S / 2)
        return True

    def _has_room(self) -> bool:
        return self._waiting <= (MAX_QUEUED // 2 if self._lost else MAX_QUEUED)

    def _put(self, line: bytes) -> None:
        self._waiting += len(line) + LINE_COST
        self._queue.put(line)

    def _say_lost(self) -> None:
        """Queues the line that stands for those that were lost: after all older lines, before all newer ones."""
        lost, reason = self._lost, self._reason
        self._lost, self._reason = 0, _SLOW
        self._put(self._report(lost, reason))

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="log", daemon=True)
            kept = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the thread inherits the mask
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:  # no more threads: tried again at the next line
                self._reason = str(error)
                return False
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, kept)
            self._thread = thread
        return True

    # --- the thread ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        is_file = _is_file(self._descriptor)
        most = FILE_BYTES if is_file else PIPE_BYTES
        following: bytes | None = None
        written_at = 0.0
        while True:
            lines = [self._queue.get() if following is None else following]
            if following is None and (pause := written_at + GATHER_S - time.monotonic()) > 0:
                time.sleep(pause)
            size, following = len(lines[0]), None
            with contextlib.suppress(Empty):
                while True:
                    line = self._queue.get_nowait()
                    if size + len(line) > most:
                        following = line
                        break
                    lines.append(line)
                    size += len(line)
            self._write(b"".join(lines), is_file=is_file)
            written_at = time.monotonic()
            with self._lock:
                self._waiting -= size + len(lines) * LINE_COST
                if self._lost and self._has_room():
                    self._say_lost()

    def _write(self, data: bytes, *, is_file: bool) -> None:
        """Writes whole lines, however long that takes. What a write left over follows in the next one."""
        begun = 0  # bytes of data's first line that are written already
        while data:
            try:
                written = os.write(self._descriptor, data[begun:])
            except BlockingIOError:  # another program that shares the pipe or terminal made it so
                self._is_failing, self._reason = True, _SLOW
                self._wait_until_writable()
            except OSError as error:
                self._is_failing, self._reason = True, error.strerror or str(error)
                if error.errno in _NEVER:
                    self._lost += data.count(b"\n")
                    return
                if begun and is_file and _took_back(self._descriptor, begun):
                    begun = 0
                time.sleep(RETRY_S)
            else:
                self._is_failing = False
                written += begun
                whole = data.rfind(b"\n", 0, written) + 1
                data, begun = data[whole:], written - whole

    def _wait_until_writable(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()


def flush() -> None:
    """Waits until the lines of this process are written, for at most FLUSH_S for each descriptor. It must be called before
    os._exit and exec; at every other end of a process Python calls it."""
    for output in list(_outputs):
        output.flush()


def _after_fork() -> None:
    for output in list(_outputs):
        output._begin()  # noqa: SLF001 - the same module


def say(text: str) -> None:
    """Prints a line on standard error before the process ends. Raises nothing and waits for at most FLUSH_S, also if nobody
    reads standard error or its disk is full."""
    stream = sys.stderr
    if stream is None:  # closed before Python started
        return
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # no file: it is in memory
        print(text, file=stream)
        return
    flush()
    output = Output(descriptor, lambda *_: b"")
    output.write(f"{text}\n".encode(stream.encoding, "replace"))
    output.flush()


_outputs: weakref.WeakSet[Output] = weakref.WeakSet()
"""Those of this process. Its end and a fork concern all of them."""

atexit.register(flush)
os.register_at_fork(after_in_child=_after_fork)


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _took_back(descriptor: int, count: int) -> bool:
    """Removes the last bytes of a file, if nothing was written after them: before there is room for the rest of a line,
    another process might write a line of its own."""
    try:
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_size != end:
            return False
        os.ftruncate(descriptor, end - count)
        os.lseek(descriptor, end - count, os.SEEK_SET)
    except OSError:
        return False
    return True
