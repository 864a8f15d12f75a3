"""The answer of an SMS gateway: whatever it sends, the delivery has an outcome, and what is kept of the answer is one line
without the code."""

from __future__ import annotations

from typing import Any, Self
from unittest import mock

from fsroute.codes import DeliveryOutcome
from fsroute.configuration.sms_gateway import parse_gateway
from fsroute.verification import sms
from fsroute.verification.delivery import ANSWER_LENGTH, Message, kept_answer
from fsroute.verification.sms import SmsGateway
from scripts.fuzz.given import Given, in_linear_time

CODE = b"493817"
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"0"),
    *(b"9", b"x", b"\xff", b"\xc3", b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"HTTP/1.1 200 OK\r\n"),
    *(b"200 OK\r\n", b"100 Continue\r\n\r\n", b"101 Switching Protocols\r\n"),
    *(b"204 No Content\r\n", b"302 Found\r\n", b"429 x\r\n"),
    *(b"500 x\r\n", b"099 x\r\n", b"999 x\r\n"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Retry-After: ", b"5\r\nabcde\r\n"),
    *(b"0\r\n\r\n", b"\r\n\r\n", b"Connection: close\r\n"),
    *(b"Upgrade: h2c\r\n", CODE, b"ffffffffffffffff\r\n", b"Location: http://127.0.0.1/\r\n"),
)  # fmt: skip
_GATEWAY = parse_gateway("http://gw.example/", "Content-Type: application/json", '{"to": "{number}", "text": "{text}"}')


class _Socket:
    """Sends these bytes in pieces, and closes the connection."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data = data
        self._piece = piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        assert data.startswith(b"POST / HTTP/1.1\r\nHost: gw.example\r\n")

    def recv(self, most: int) -> bytes:
        found, self._data = self._data[: min(self._piece, most)], self._data[min(self._piece, most) :]
        return found


def check(data: bytes) -> None:
    given = Given(data)
    piece = 2 ** given.number(0, 12)
    answer = given.raw(PIECES) + given.raw(PIECES) + given.rest()
    # One byte at a time of a long answer would take long by itself.
    socket: Any = _Socket(answer, max(piece, len(answer) // 2048 + 1))
    gateway = SmsGateway(_GATEWAY, code_s=600, timeout_s=10, attempts=1)
    with mock.patch.object(sms, "_connect", return_value=socket), in_linear_time():
        delivered = gateway.deliver(Message("a1", "acme", "+491713920042", CODE.decode(), "de"))
    assert isinstance(delivered.outcome, DeliveryOutcome)
    assert delivered.succeeded == (delivered.outcome is DeliveryOutcome.MESSAGE_ACCEPTED)
    if delivered.succeeded:
        assert b" 2" in answer
    kept = kept_answer(delivered.answer, CODE.decode())
    assert len(kept) <= ANSWER_LENGTH
    assert kept.isprintable()
    assert CODE.decode() not in kept
