"""A code by SMS: one HTTP POST to the operator's gateway, repeated after temporary failures, and its outcome.

h11 reads and writes HTTP; fsroute has the socket, so that one deadline holds for the whole attempt. (The usual clients
measure their timeout from the last byte, so a gateway that sends one byte a second holds them for ever.) fsroute follows no
redirect and uses no proxy: the code goes only to the address of the setting.
"""

from __future__ import annotations

import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11

from fsroute.codes import DeliveryOutcome
from fsroute.configuration.sms_gateway import Gateway
from fsroute.verification import prompts
from fsroute.verification.delivery import Delivered, Message

PAUSE_S = 0.5
"""Pause before the second attempt; it doubles with each further one."""

LONGEST_PAUSE_S = 10.0
"""Longest pause, also when the gateway's Retry-After is longer: the customer waits for the code."""

READ_BYTES = 4096
"""Of an answer's body, at least; from then on nothing more is read. These are more than the ANSWER_LENGTH characters that
are kept, of four bytes at most: a code that is cut in two here is not among them."""

_Request = tuple[h11.Request, h11.Data, h11.EndOfMessage]
_Addresses = Sequence[tuple[int, int, int, str, Any]]
"""What getaddrinfo gives."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """The beginning of the gateway's answer."""

    status: int
    retry_after: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How one POST ended, whether another one may succeed, and after how many seconds at the earliest."""

    outcome: DeliveryOutcome
    answer: str
    again: bool
    wait_s: float = 0.0


class SmsGateway:
    """Delivers by SMS. `code_s` is how long the code is valid, `timeout_s` what one POST may take, `attempts` how many are
    made; without a gateway every message ends as not_configured."""

    def __init__(
        self,
        gateway: Gateway | None,
        *,
        code_s: int,
        timeout_s: float,
        attempts: int,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._gateway = gateway
        self._minutes = max(1, code_s // 60)
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._sleep = sleep

    def deliver(self, message: Message) -> Delivered:
        """Sends the message. Takes at most `attempts` times `timeout_s` and the pauses between."""
        if self._gateway is None:
            return Delivered(DeliveryOutcome.NOT_CONFIGURED, "sms_url is empty")
        text = prompts.sms_text(message.number, message.code, self._minutes, message.language)
        values = {"number": message.number, "text": text, "code": message.code, "id": message.id}
        request = _request(self._gateway, message.id, self._gateway.body(values))
        for count in range(self._attempts):
            attempt = _attempt(self._gateway, request, self._timeout_s)
            if not attempt.again or count + 1 == self._attempts:
                break
            self._sleep(min(max(PAUSE_S * 2**count, attempt.wait_s), LONGEST_PAUSE_S))
        return Delivered(attempt.outcome, attempt.answer)


def _attempt(gateway: Gateway, request: _Request, timeout_s: float) -> _Attempt:
    deadline = time.monotonic() + timeout_s
    try:
        sock = _connect(gateway, deadline)
    except TimeoutError:
        return _Attempt(DeliveryOutcome.GATEWAY_TIMEOUT, f"no connection in {timeout_s:g} s", again=True)
    except OSError as error:
        again = not isinstance(error, ssl.SSLCertVerificationError)  # the certificate stays invalid
        return _Attempt(DeliveryOutcome.GATEWAY_UNREACHABLE, error.strerror or str(error), again=again)
    try:
        with sock:
            return _judge(_exchange(sock, request, deadline))
    except TimeoutError:
        return _Attempt(DeliveryOutcome.GATEWAY_TIMEOUT, f"no answer in {timeout_s:g} s", again=True)
    except OSError as error:
        return _Attempt(DeliveryOutcome.GATEWAY_FAILED, error.strerror or str(error), again=True)
    except h11.RemoteProtocolError as error:
        return _Attempt(DeliveryOutcome.GATEWAY_FAILED, f"its answer is not HTTP: {error}", again=True)


def _judge(answer: _Answer) -> _Attempt:
    text = f"HTTP {answer.status} {answer.body.decode('utf-8', 'replace')}"
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return _Attempt(DeliveryOutcome.MESSAGE_ACCEPTED, text, again=False)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        seconds = float(answer.retry_after) if re.fullmatch("[0-9]{1,6}", answer.retry_after) else 0.0
        return _Attempt(DeliveryOutcome.GATEWAY_FAILED, text, again=True, wait_s=seconds)
    return _Attempt(DeliveryOutcome.GATEWAY_REFUSED, text, again=False)


def _request(gateway: Gateway, key: str, body: bytes) -> _Request:
    headers = [
        ("Host", gateway.authority),
        *gateway.headers,
        ("Idempotency-Key", key),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    return h11.Request(method="POST", target=gateway.target, headers=headers), h11.Data(data=body), h11.EndOfMessage()


def _connect(gateway: Gateway, deadline: float) -> socket.socket:
    """A connection, with TLS for https, to the first address that accepts it. Each address gets its share of the time."""
    addresses = _addresses(gateway, deadline)
    failure: OSError = OSError("its name has no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline) / (len(addresses) - position))
            sock.connect(address)
            sock.settimeout(_left(deadline))
        except OSError as error:
            sock.close()
            failure = error
        else:
            # A handshake has one deadline in all, unlike reads.
            return ssl.create_default_context().wrap_socket(sock, server_hostname=gateway.host) if gateway.secure else sock
    raise failure


def _addresses(gateway: Gateway, deadline: float) -> _Addresses:
    """The gateway's addresses. getaddrinfo has no deadline, so it runs in a thread that ends with the resolver's."""
    found: queue.SimpleQueue[_Addresses | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(socket.getaddrinfo(gateway.host, gateway.port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)

    threading.Thread(target=ask, name="resolve sms_url", daemon=True).start()
    try:
        answer = found.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _exchange(sock: socket.socket, request: _Request, deadline: float) -> _Answer:
    """Sends the request and reads the answer. The status alone decides: from there on an answer that breaks off, or is late,
    is used as far as it came."""
    connection = h11.Connection(h11.CLIENT)
    sock.settimeout(_left(deadline))
    sock.sendall(b"".join(connection.send(event) or b"" for event in request))
    response, body = None, b""
    try:
        while len(body) < READ_BYTES:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                sock.settimeout(_left(deadline))
                connection.receive_data(_some(sock))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif not isinstance(event, h11.InformationalResponse):
                break
    except (OSError, h11.RemoteProtocolError):
        if response is None:
            raise
    assert response is not None  # noqa: S101 - h11 ends nothing that has not begun
    retry_after = dict(response.headers).get(b"retry-after", b"")
    return _Answer(response.status_code, retry_after.decode("latin-1"), body)


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(READ_BYTES)
    if not data:
        raise ConnectionError("closed the connection before its answer was whole")
    return data


def _left(deadline: float) -> float:
    """Seconds until then, for a socket's timeout. Raises TimeoutError when there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
