"""The audio of one leg: silence out, key presses as RFC 2833 events, and a count of what comes in."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections import deque

FRAME_S = 0.02
"""Audio in a packet."""

SILENCE = {0: b"\xff" * 160, 8: b"\xd5" * 160}
"""A packet of it in PCMU (payload type 0) and PCMA (8), the two codecs spoken here."""

KEYS = "0123456789*#ABCD"

_RTP = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_EVENT_END = 0x80
_VOLUME = 10


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
        """Counts one packet."""
        try:
            packet = self.socket.recv(2048)
        except OSError:
            return
        payload = packet[_RTP.size :]
        if not payload:
            return
        self.packets += 1
        stamp = int.from_bytes(packet[4:8])
        if packet[1] & 0x7F == self._events:
            if payload[1] & _EVENT_END and stamp != self._last_event:
                self._last_event = stamp
                self.keys += KEYS[payload[0] & 0x0F]
        elif len(set(payload)) > 2:  # silence is one value, or flips between two
            self.audible += 1
