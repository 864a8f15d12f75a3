"""The audio of one leg: silence out, key presses as RFC 2833 events, and a recording of what comes in.

A prompt that FreeSWITCH plays is found in a recording by its bytes. For a WAV of 8 kHz, FreeSWITCH changes nothing but the
coding: file_string:// puts 250 ms before its first file, and from there on every sample of every file is on the wire,
whatever the files' lengths, each G.711 value as `encode` gives it (measured: all 65,536 of them).
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import struct
import wave
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

FRAME_S = 0.02
"""Audio in a packet."""

SILENCE = {0: b"\xff" * 160, 8: b"\xd5" * 160}
"""A packet of it in PCMU (payload type 0) and PCMA (8), the two codecs spoken here."""

KEYS = "0123456789*#ABCD"

_RTP = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_EVENT_END = 0x80
_VOLUME = 10
_PCMU, _PCMA = SILENCE
_SAMPLES_A_MS = 8


# What was said on a leg


@dataclass(frozen=True)
class Packet:
    """One of RTP. `sequence` and `stamp` go on where RTP's own begin again at 0."""

    sequence: int
    stamp: int
    kind: int
    """Payload type."""
    payload: bytes


@dataclass(frozen=True)
class Recording:
    """What came in, in the order of the sequence numbers."""

    codec: int
    packets: tuple[Packet, ...]

    @property
    def gaps(self) -> tuple[tuple[float, int], ...]:
        """Where packets are missing: milliseconds since the first packet, and how many."""
        pairs = zip(self.packets, self.packets[1:], strict=False)
        return tuple((self._ms(b.stamp), b.sequence - a.sequence - 1) for a, b in pairs if b.sequence != a.sequence + 1)

    @property
    def samples(self) -> array[int]:
        """The audio, linear, without regard to gaps."""
        return decode(self.codec, b"".join(packet.payload for packet in self.packets if packet.kind == self.codec))

    def find(self, audio: bytes) -> Iterator[float]:
        """Where these bytes were played without a gap: milliseconds since the first packet."""
        for stamp, run in self._runs():
            at = run.find(audio)
            while at >= 0:
                yield self._ms(stamp + at)
                at = run.find(audio, at + 1)

    @property
    def without_skips(self) -> Recording:
        """The same, each packet at the time at which the one before it ends, unless packets are missing between them.

        FreeSWITCH stamps a packet with its timer's count (switch_rtp.c 1.11.2, line 1633). The timer skips forward where a
        busy machine ran FreeSWITCH too late; the file that FreeSWITCH plays goes on at its next sample.
        """
        kept: list[Packet] = []
        skipped = due = 0
        for before, packet in zip((None, *self.packets), self.packets, strict=False):
            if before is not None and before.kind == packet.kind == self.codec and packet.sequence == before.sequence + 1:
                skipped += max(packet.stamp - due, 0)
            kept.append(replace(packet, stamp=packet.stamp - skipped))
            due = packet.stamp + len(packet.payload)
        return replace(self, packets=tuple(kept))

    def _runs(self) -> Iterator[tuple[int, bytes]]:
        """The parts in which time does not jump, as it does over a lost packet, each with the time of its first sample."""
        run, start, due = b"", 0, 0
        for packet in self.packets:
            if packet.kind != self.codec:
                continue
            if packet.stamp != due:
                yield start, run
                run, start = b"", packet.stamp
            run += packet.payload
            due = packet.stamp + len(packet.payload)
        yield start, run

    def _ms(self, stamp: int) -> float:
        return (stamp - self.packets[0].stamp) / _SAMPLES_A_MS


@dataclass(frozen=True, order=True)
class Heard:
    """A prompt, and when it was played: milliseconds since the first packet."""

    start_ms: float
    end_ms: float
    name: str


def heard(recording: Recording, prompts: Mapping[str, array[int]]) -> tuple[Heard, ...]:
    """Which prompts were played, from the first sample to the last, in their order.

    Raises ValueError for a prompt that is silence or part of another one: it would be heard where it was not played.
    """
    encoded = {name: encode(recording.codec, samples) for name, samples in prompts.items()}
    for name, audio in encoded.items():
        if len(set(audio)) < 2:
            raise ValueError(f"{name}: is silence")
        if any(audio in other for another, other in encoded.items() if another != name):
            raise ValueError(f"{name}: is part of another prompt")
    found = (
        Heard(start, start + len(audio) / _SAMPLES_A_MS, name)
        for name, audio in encoded.items()
        for start in recording.find(audio)
    )
    return tuple(sorted(found))


def read_wav(path: Path) -> array[int]:
    """The samples of a WAV file of 8 kHz, mono, 16 bit. Raises ValueError for another one, which FreeSWITCH converts."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (8000, 1, 2):
            raise ValueError(f"{path}: not 8 kHz, mono, 16 bit")
        return array("h", struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes())))


def read_prompts(directory: Path) -> dict[str, array[int]]:
    """The WAV files of a directory, by their names without the ending."""
    return {path.stem: read_wav(path) for path in directory.glob("*.wav")}


# G.711


def encode(codec: int, samples: Iterable[int]) -> bytes:
    """Samples of 16 bit as FreeSWITCH codes them. Its A-law takes 8 from a negative sample's magnitude."""
    table = _codes(codec)
    return bytes(table[sample] for sample in samples)


def decode(codec: int, audio: bytes) -> array[int]:
    """Samples of 16 bit, each in the middle of what its code stands for."""
    levels = [(_ulaw_level if codec == _PCMU else _alaw_level)(code) for code in range(256)]
    return array("h", (levels[code] for code in audio))


@functools.cache
def _codes(codec: int) -> dict[int, int]:
    code = _ulaw_code if codec == _PCMU else _alaw_code
    return {sample: code(sample) for sample in range(-0x8000, 0x8000)}


def _alaw_code(sample: int) -> int:
    inverted = 0xD5 if sample >= 0 else 0x55
    magnitude = sample if sample >= 0 else max(-sample - 8, 0)
    segment = max(magnitude.bit_length() - 8, 0)
    return (segment << 4 | magnitude >> max(segment + 3, 4) & 0x0F) ^ inverted


def _alaw_level(code: int) -> int:
    segment, step = (code ^ 0x55) >> 4 & 7, (code ^ 0x55) & 0x0F
    magnitude = (step << 4) + 8 if segment == 0 else (step << 4) + 0x108 << segment - 1
    return magnitude if code & 0x80 else -magnitude


def _ulaw_code(sample: int) -> int:
    magnitude = min(abs(sample) + 0x84, 0x7FFF)
    segment = magnitude.bit_length() - 8
    return (segment << 4 | magnitude >> segment + 3 & 0x0F) ^ (0xFF if sample >= 0 else 0x7F)


def _ulaw_level(code: int) -> int:
    segment, step = (~code >> 4) & 7, ~code & 0x0F
    magnitude = ((step << 3) + 0x84 << segment) - 0x84
    return magnitude if code & 0x80 else -magnitude


class Audio:
    """A bound socket from the start, so that its port can be offered; who runs it calls `send` every 20 ms."""

    def __init__(self, ip: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 0))
        self.socket.setblocking(False)
        self.ip, self.port = self.socket.getsockname()
        self.packets = 0
        """Received."""
        self.audible = 0
        """Received, and something else than silence."""
        self.keys = ""
        """Pressed by the other side."""
        self._remote: tuple[str, int] | None = None
        self._codec, self._events = 8, 101
        self._queue: deque[tuple[bool, bytes]] = deque()
        self._sequence = self._timestamp = self._event_start = 0
        self._last_event = -1
        self._received: dict[int, Packet] = {}
        """By sequence number."""
        self._last: Packet | None = None

    def sdp(self) -> str:
        """Our side of the session: an offer, or the answer to what `learn` was given."""
        lines = (
            "v=0",
            f"o=- {self.port} 1 IN IP4 {self.ip}",
            "s=-",
            f"c=IN IP4 {self.ip}",
            "t=0 0",
            f"m=audio {self.port} RTP/AVP {self._codec} {8 - self._codec} {self._events}",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:0 PCMU/8000",
            f"a=rtpmap:{self._events} telephone-event/8000",
            f"a=fmtp:{self._events} 0-16",
            "a=ptime:20",
        )
        return "\r\n".join((*lines, ""))

    def learn(self, sdp: str) -> None:
        """Takes address, codec and the payload type of key presses from the other side's SDP."""
        media = re.search(r"^m=audio (\d+) \S+ ([\d ]+)", sdp, re.MULTILINE)
        where = re.search(r"^c=IN IP4 (\S+)", sdp, re.MULTILINE)
        if media is None or where is None:
            return
        self._remote = where[1], int(media[1])
        self._codec = next((int(kind) for kind in media[2].split() if int(kind) in SILENCE), 8)
        events = re.search(r"^a=rtpmap:(\d+) telephone-event/8000", sdp, re.MULTILINE)
        self._events = int(events[1]) if events else self._events

    def press(self, keys: str) -> None:
        """Queues key presses of 100 ms with 100 ms between them."""
        for key in keys:
            number = KEYS.index(key)
            for part in range(1, 6):
                self._queue.append((part == 1, _EVENT.pack(number, _VOLUME, part * 160)))
            self._queue.extend([(False, _EVENT.pack(number, _EVENT_END | _VOLUME, 800))] * 3)
            self._queue.extend([(False, b"")] * 5)

    def send(self) -> None:
        """One packet: the next part of a key press, or silence."""
        if self._remote is None:
            return
        first, event = self._queue.popleft() if self._queue else (False, b"")
        if first:
            self._event_start = self._timestamp
        kind = self._events | first << 7 if event else self._codec
        stamp = self._event_start if event else self._timestamp
        header = _RTP.pack(0x80, kind, self._sequence, stamp, self.port)
        self._sequence = self._sequence + 1 & 0xFFFF
        self._timestamp = self._timestamp + 160 & 0xFFFFFFFF
        with contextlib.suppress(OSError):  # the other side is gone; SIP will say so
            self.socket.sendto(header + (event or SILENCE[self._codec]), self._remote)

    def receive(self) -> None:
        """Takes one packet."""
        try:
            packet = self.socket.recv(2048)
        except OSError:
            return
        payload = packet[_RTP.size :]
        if not payload:
            return
        self.packets += 1
        _, kind, sequence, stamp, _ = _RTP.unpack_from(packet)
        self._keep(sequence, stamp, kind & 0x7F, payload)
        if kind & 0x7F == self._events:
            if payload[1] & _EVENT_END and stamp != self._last_event:
                self._last_event = stamp
                self.keys += KEYS[payload[0] & 0x0F]
        elif len(set(payload)) > 2:  # silence is one value, or flips between two
            self.audible += 1

    @property
    def recording(self) -> Recording:
        """Everything that came in so far."""
        return Recording(self._codec, tuple(packet for _, packet in sorted(self._received.copy().items())))

    def _keep(self, sequence: int, stamp: int, kind: int, payload: bytes) -> None:
        if self._last is not None:
            sequence = _unwrap(sequence, self._last.sequence, 16)
            stamp = _unwrap(stamp, self._last.stamp, 32)
        self._last = self._received[sequence] = Packet(sequence, stamp, kind, payload)


def _unwrap(number: int, near: int, bits: int) -> int:
    """The number nearest to `near` that has these lowest bits."""
    half = 1 << bits - 1
    return near + (number - near + half) % (2 * half) - half
