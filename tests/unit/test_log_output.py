"""The writer of log lines, on descriptors that are full, dead, stalled or non-blocking."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fsroute import log_output
from fsroute.log_output import Output

PATIENCE_S = 10.0


def report(lost: int, reason: str) -> bytes:
    return f"lost {lost}: {reason}\n".encode()


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_memory() -> int:
    return os.memfd_create("log")


def content(descriptor: int) -> bytes:
    return os.pread(descriptor, 1 << 24, 0)


def stalled_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more until its reader reads, and what it holds is one line."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"-" * 4096)
    os.set_blocking(writer, True)
    return reader, writer


def read_until(descriptor: int, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        found += os.read(descriptor, 1 << 20)
    return found


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"line %06d\n" % number for number in range(first, first + count)]


def test_lines_are_written_whole_and_in_their_order() -> None:
    descriptor = in_memory()
    output, lines = Output(descriptor, report), numbered(20_000)
    for line in lines:
        output.write(line)
    assert output.flush(PATIENCE_S)
    assert content(descriptor) == b"".join(lines)


def test_a_pipe_gets_whole_lines_in_pieces_that_it_takes_at_once() -> None:
    sizes = []

    class Reading(Output):
        def _write(self, data: bytes, *, is_file: bool) -> None:
            sizes.append(len(data))
            assert data.endswith(b"\n")
            super()._write(data, is_file=is_file)

    reader, writer = os.pipe()
    output, lines = Reading(writer, report), [b"x" * length + b"\n" for length in (10, 4000, 4095, 90, 9000, 5)]
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(read_until(reader, b"\nxxxxx\n")))
    thread.start()
    for line in lines:
        output.write(line)
    thread.join(PATIENCE_S)
    assert got == [b"".join(lines)]
    assert [size for size in sizes if size > log_output.PIPE_BYTES] == [9001]


@pytest.mark.parametrize("kind", ["pipe", "socket", "pipe that does not block"])
def test_nobody_waits_for_a_reader_that_stalls_and_no_line_is_lost(kind: str) -> None:
    if kind == "socket":
        ours, theirs = socket.socketpair()
        reader, writer = theirs.detach(), ours.detach()
    else:
        reader, writer = stalled_pipe()
        os.set_blocking(writer, kind == "pipe")
    output, lines = Output(writer, report), numbered(50_000)
    slowest = 0.0
    for line in lines:
        began = time.thread_time()
        output.write(line)
        slowest = max(slowest, time.thread_time() - began)
    assert slowest < 0.5
    assert not output.flush(0.05)
    assert read_until(reader, lines[-1]).lstrip(b"-") == b"".join(lines)
    until(output.flush)


def test_lines_beyond_the_bound_are_counted_and_said_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "MAX_QUEUED", 100 * (12 + log_output.LINE_COST))
    reader, writer = stalled_pipe()
    output = Output(writer, report)
    for line in numbered(250):
        output.write(line)
    said = b"lost 149: the reader is too slow\n"
    assert read_until(reader, said).lstrip(b"-") == b"".join(numbered(101)) + said
    output.write(b"after\n")
    assert read_until(reader, b"after\n") == b"after\n"


def test_a_dead_reader_is_nobodys_business_and_a_new_one_gets_the_lines(tmp_path: Any) -> None:
    os.mkfifo(tmp_path / "log")
    first = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "log", os.O_WRONLY)
    os.close(first)
    output = Output(writer, report)
    for line in numbered(10):
        output.write(line)
    until(lambda: output._is_failing)  # noqa: SLF001 - that a write has failed shows nowhere else
    began = time.monotonic()
    assert not output.flush(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S / 2  # what has failed is not waited for
    second = os.open(tmp_path / "log", os.O_RDONLY)
    assert read_until(second, numbered(1, 9)[0]) == b"".join(numbered(10))


class FullDisk:
    """os.write to a disk with little room, which takes a part of what does not fit."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.failed = 0
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            self.failed += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_a_full_disk_ends_with_a_whole_line_and_nothing_is_lost(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, flags: int
) -> None:
    monkeypatch.setattr(log_output, "RETRY_S", 0.01)
    disk = FullDisk(100)
    monkeypatch.setattr(os, "write", disk)
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | flags)
    output = Output(descriptor, report)
    for line in numbered(100):
        output.write(line)
    until(lambda: disk.failed > 3)
    assert content(descriptor) == b"".join(numbered(8))
    disk.room = 1 << 20
    until(output.flush)
    assert content(descriptor) == b"".join(numbered(100))


def test_a_half_line_that_cannot_be_taken_back_is_completed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "RETRY_S", 0.01)
    disk = FullDisk(100)
    monkeypatch.setattr(os, "write", disk)
    monkeypatch.setattr(log_output, "_took_back", lambda *_: False)
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    output = Output(descriptor, report)
    for line in numbered(100):
        output.write(line)
    until(lambda: disk.failed > 3)
    disk.room = 1 << 20
    until(output.flush)
    assert content(descriptor) == b"".join(numbered(100))


def test_the_reason_of_a_loss_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "RETRY_S", 0.01)
    monkeypatch.setattr(log_output, "MAX_QUEUED", 100)
    disk = FullDisk(0)
    monkeypatch.setattr(os, "write", disk)
    descriptor = in_memory()
    output = Output(descriptor, report)
    output.write(b"first\n")
    until(lambda: disk.failed)
    for line in numbered(10):
        output.write(line)
    disk.room = 1000
    until(output.flush)
    until(lambda: content(descriptor).startswith(b"first\nline 000000\nlost 9: No space left on device\n"))


def test_what_a_datagram_cannot_hold_is_lost_and_the_next_line_is_not() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.settimeout(PATIENCE_S)
    with ours, theirs:
        output = Output(ours.fileno(), report)
        output.write(b"x" * 2_000_000 + b"\n")
        assert theirs.recv(100) == b"lost 1: Message too long\n"
        output.write(b"next\n")
        assert theirs.recv(100) == b"next\n"


@pytest.mark.parametrize("descriptor", [-1, 10_000])
def test_a_descriptor_that_is_none_stops_nobody(descriptor: int) -> None:
    output = Output(descriptor, report)
    output.write(b"x\n")
    until(lambda: output._is_failing)  # noqa: SLF001 - as above
    assert not output.flush()


def test_without_threads_lines_are_lost_until_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    descriptor = in_memory()
    output = Output(descriptor, report)
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        output.write(b"a\n")
        output.write(b"b\n")
    output.write(b"c\n")
    until(lambda: content(descriptor) == b"lost 2: can't start new thread\nc\n")


# --- the last words of a process --------------------------------------------------------------------------


def test_a_last_line_comes_after_those_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = in_memory()
    monkeypatch.setattr(sys, "stderr", os.fdopen(os.dup(descriptor), "w", encoding="ascii"))
    output = Output(descriptor, report)
    output.write(b"first\n")
    log_output.say("ließ")
    assert content(descriptor) == b"first\nlie?\n"


def test_a_last_line_nobody_reads_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = stalled_pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        log_output.say("x")
        os.read(reader, 1 << 20)  # lets the thread end its write before the descriptor is closed
        assert os.read(reader, 100) == b"x\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_last_line_without_a_descriptor(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    log_output.say("x")
    assert stream is None or stream.getvalue() == "x\n"
