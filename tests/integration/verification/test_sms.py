"""A code by SMS, handed over to real HTTP servers: good ones, failing ones, and sockets that say anything at all."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.codes import DeliveryOutcome
from fsroute.configuration.sms_gateway import parse_gateway
from fsroute.verification.delivery import ANSWER_LENGTH, Delivered, Message, kept_answer
from fsroute.verification.prompts import sms_text
from fsroute.verification.sms import READ_BYTES, SmsGateway

MESSAGE = Message("3f0c7a", "acme", "+4915112345678", "482915", "de")
HEADERS = "Content-Type: application/json\nAuthorization: Bearer hunter2"
BODY = '{"to": "{number}", "text": "{text}", "code": "{code}", "reference": "{id}"}'
QUICK_S = 0.3
"""What an attempt may take where it is meant to end by that."""

LATER_S = 0.4
"""How much later than that a busy machine may be."""


@dataclass(frozen=True)
class Reply:
    """What the gateway says to one request."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Gateway:
    """A running HTTP server. It gives each request the next reply, and the last one from then on."""

    replies: list[Reply]
    url: str = ""
    asked: list[tuple[str, list[tuple[str, str]], bytes]] = field(default_factory=list)
    """Path, headers and body of each request."""

    @property
    def keys(self) -> list[str]:
        return [value for _, headers, _ in self.asked for name, value in headers if name == "Idempotency-Key"]


@contextmanager
def serving(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[Gateway]:
    gateway = Gateway(list(replies) or [Reply()])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = gateway.replies[min(len(gateway.asked), len(gateway.replies) - 1)]
            gateway.asked.append((self.path, self.headers.items(), body))
            self.send_response(reply.status)
            for name, value in (*reply.headers, ("Content-Length", str(len(reply.body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that broke off is what some of the tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    gateway.url = f"http{'s' * bool(tls)}://127.0.0.1:{server.server_port}/v1/messages?key=k"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def listening(*talks: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A socket that reads the head of each request and then says what it likes; the last talk is repeated. Gives its
    address and the requests that came."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    requests.append(connection.recv(65536))
                    talks[min(len(requests), len(talks)) - 1](connection)
                except OSError:
                    pass  # the client broke off, which is what the test is about

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", requests
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(6)


@contextmanager
def full() -> Iterator[int]:
    """A port at which nobody answers: its queue is full, so the kernel leaves further connections waiting."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first, socket.socket() as second:
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


class Sender:
    """Delivers by a gateway; its answers are as the service keeps them."""

    def __init__(self, gateway: SmsGateway) -> None:
        self._gateway = gateway

    def deliver(self, message: Message) -> Delivered:
        found = self._gateway.deliver(message)
        assert len(found.answer) < 2 * READ_BYTES + len("HTTP 200 ")
        return Delivered(found.outcome, kept_answer(found.answer, message.code))


def sender(
    url: str,
    *,
    headers: str = HEADERS,
    body: str = BODY,
    code_s: int = 600,
    timeout_s: float = 5.0,
    attempts: int = 3,
    pauses: list[float] | None = None,
) -> Sender:
    waited = [] if pauses is None else pauses
    gateway = parse_gateway(url, headers, body)
    return Sender(SmsGateway(gateway, code_s=code_s, timeout_s=timeout_s, attempts=attempts, sleep=waited.append))


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# --- what is sent -----------------------------------------------------------------------------------------


def test_an_accepted_message_and_the_whole_request() -> None:
    with serving(Reply(202, b'{"id": 17}')) as gateway:
        found = sender(gateway.url).deliver(MESSAGE)
    assert found == Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, 'HTTP 202 {"id": 17}')
    ((path, headers, body),) = gateway.asked
    assert path == "/v1/messages?key=k"
    assert headers == [
        ("Host", gateway.url.split("/")[2]),
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer hunter2"),
        ("Idempotency-Key", "3f0c7a"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    assert json.loads(body) == {
        "to": "+4915112345678",
        "text": sms_text("+4915112345678", "482915", 10, "de"),
        "code": "482915",
        "reference": "3f0c7a",
    }


@pytest.mark.parametrize(("code_s", "minutes"), [(10, 1), (60, 1), (119, 1), (120, 2), (600, 10)])
def test_the_text_never_promises_more_minutes_than_there_are(code_s: int, minutes: int) -> None:
    english = Message("1", "acme", "+4915112345678", "482915", "en")
    with serving() as gateway:
        sender(gateway.url, code_s=code_s).deliver(english)
    assert json.loads(gateway.asked[0][2])["text"] == sms_text("+4915112345678", "482915", minutes, "en")


def test_without_an_address_nothing_is_sent() -> None:
    assert sender("").deliver(MESSAGE) == Delivered(DeliveryOutcome.NOT_CONFIGURED, "sms_url is empty")


# --- outcomes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_accepted(status: int) -> None:
    with serving(Reply(status)) as gateway:
        found = sender(gateway.url).deliver(MESSAGE)
    assert (found, len(gateway.asked)) == (Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, f"HTTP {status}"), 1)


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 409, 413, 428, 430, 499])
def test_3xx_and_4xx_are_final(status: int) -> None:
    pauses: list[float] = []
    with serving(Reply(status, b"" if status == 304 else b"no"), Reply()) as gateway:
        found = sender(gateway.url, pauses=pauses).deliver(MESSAGE)
    assert found == Delivered(DeliveryOutcome.GATEWAY_REFUSED, f"HTTP {status}" if status == 304 else f"HTTP {status} no")
    assert (len(gateway.asked), pauses) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with serving() as other, serving(Reply(status, headers=(("Location", other.url),))) as gateway:
        found = sender(gateway.url).deliver(MESSAGE)
    assert (found, len(gateway.asked), other.asked) == (Delivered(DeliveryOutcome.GATEWAY_REFUSED, f"HTTP {status}"), 1, [])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599, 999])
def test_429_and_5xx_are_tried_again_to_the_end(status: int) -> None:
    pauses: list[float] = []
    with serving(Reply(status, b"later")) as gateway:
        found = sender(gateway.url, attempts=4, pauses=pauses).deliver(MESSAGE)
    assert found == Delivered(DeliveryOutcome.GATEWAY_FAILED, f"HTTP {status} later")
    assert gateway.keys == ["3f0c7a"] * 4
    assert pauses == [0.5, 1.0, 2.0]
    assert len({body for _, _, body in gateway.asked}) == 1


def test_a_later_attempt_can_succeed_and_its_answer_is_kept() -> None:
    pauses: list[float] = []
    with serving(Reply(503, b"a"), Reply(429, b"b"), Reply(200, b"c")) as gateway:
        found = sender(gateway.url, pauses=pauses).deliver(MESSAGE)
    assert (found, gateway.keys) == (Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200 c"), ["3f0c7a"] * 3)
    assert pauses == [0.5, 1.0]


def test_a_later_attempt_can_be_refused() -> None:
    with serving(Reply(500), Reply(409, b"seen"), Reply()) as gateway:
        found = sender(gateway.url).deliver(MESSAGE)
    assert (found, len(gateway.asked)) == (Delivered(DeliveryOutcome.GATEWAY_REFUSED, "HTTP 409 seen"), 2)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("2", 2.0), ("0", 0.5), ("600", 10.0), ("1234567", 0.5), ("soon", 0.5), ("-3", 0.5), ("1.5", 0.5), ("\u00b2", 0.5)],
)
def test_retry_after_is_respected_up_to_a_bound(asked: str, waited: float) -> None:
    pauses: list[float] = []
    with serving(Reply(503, headers=(("Retry-After", asked),)), Reply()) as gateway:
        sender(gateway.url, pauses=pauses).deliver(MESSAGE)
    assert pauses == [waited]


def test_pauses_grow_to_a_bound() -> None:
    pauses: list[float] = []
    with serving(Reply(500)) as gateway:
        sender(gateway.url, attempts=8, pauses=pauses).deliver(MESSAGE)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_nobody_listens() -> None:
    pauses: list[float] = []
    found = sender(f"http://127.0.0.1:{closed_port()}/", pauses=pauses).deliver(MESSAGE)
    assert (found, pauses) == (Delivered(DeliveryOutcome.GATEWAY_UNREACHABLE, "Connection refused"), [0.5, 1.0])


def test_the_name_is_unknown() -> None:
    found = sender("http://gateway.invalid/", attempts=1).deliver(MESSAGE)
    assert (found.outcome, bool(found.answer), "\n" in found.answer) == ("gateway_unreachable", True, False)


def test_one_address_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as gateway:
        port = int(gateway.url.split(":")[2].partition("/")[0])
        real = socket.getaddrinfo
        addresses = [real("127.0.0.1", number, type=socket.SOCK_STREAM)[0] for number in (closed_port(), port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        found = sender(gateway.url, attempts=1).deliver(MESSAGE)
    assert found.outcome == "message_accepted"


def test_an_address_that_is_silent_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with full() as silent_one, serving() as gateway:
        port = int(gateway.url.split(":")[2].partition("/")[0])
        real = socket.getaddrinfo
        addresses = [real("127.0.0.1", number, type=socket.SOCK_STREAM)[0] for number in (silent_one, port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        found = sender(gateway.url, timeout_s=1.0, attempts=1).deliver(MESSAGE)
    assert (found.outcome, len(gateway.asked)) == ("message_accepted", 1)


# --- gateways that are silent, slow or broken -------------------------------------------------------------


def dribble(*parts: bytes, pause_s: float = 0.05) -> Callable[[socket.socket], None]:
    """Says the parts one after another, the last one for ever."""

    def talk(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        while True:
            time.sleep(pause_s)  # the slowness is what is tested
            connection.sendall(parts[-1])

    return talk


def say(*parts: bytes) -> Callable[[socket.socket], None]:
    """Says them and closes."""
    return lambda connection: connection.sendall(b"".join(parts))


def silent(connection: socket.socket) -> None:
    """Says nothing until the client goes."""
    connection.recv(1)


@pytest.mark.parametrize(
    "talk",
    [
        silent,
        dribble(b"H"),
        dribble(b"HTTP/1.1 200 OK\r\n", b"X"),
        dribble(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        dribble(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "status", "header", "headers", "informational"],
)
def test_an_attempt_has_one_deadline(talk: Callable[[socket.socket], None]) -> None:
    with listening(talk) as (url, requests):
        started = time.monotonic()
        found = sender(url, timeout_s=QUICK_S, attempts=2).deliver(MESSAGE)
        took = time.monotonic() - started
    assert found == Delivered(DeliveryOutcome.GATEWAY_TIMEOUT, "no answer in 0.3 s")
    assert len(requests) == 2
    assert 2 * QUICK_S <= took < 2 * (QUICK_S + LATER_S)


def test_a_gateway_that_does_not_take_the_connection_is_not_waited_for() -> None:
    with full() as port:
        started = time.monotonic()
        found = sender(f"http://127.0.0.1:{port}/", timeout_s=QUICK_S, attempts=1).deliver(MESSAGE)
        took = time.monotonic() - started
    assert found == Delivered(DeliveryOutcome.GATEWAY_TIMEOUT, "no connection in 0.3 s")
    assert QUICK_S <= took < QUICK_S + LATER_S


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(5) and [])
    started = time.monotonic()
    found = sender("http://sms.example/", timeout_s=QUICK_S, attempts=1).deliver(MESSAGE)
    took = time.monotonic() - started
    over.set()
    assert found == Delivered(DeliveryOutcome.GATEWAY_TIMEOUT, "no connection in 0.3 s")
    assert QUICK_S <= took < QUICK_S + LATER_S


def test_a_silent_attempt_is_followed_by_one_that_succeeds() -> None:
    with listening(silent, say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as (url, requests):
        found = sender(url, timeout_s=QUICK_S).deliver(MESSAGE)
    assert found == Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200 ok")
    assert [request.count(b"\r\nIdempotency-Key: 3f0c7a\r\n") for request in requests] == [1, 1]


ANSWERS = [
    (b"HTTP/1.0 200 OK\r\n\r\nold", Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200 old")),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 \r\n\r\n", Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 201")),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\n!!!\r\n0\r\n\r\n",
        Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200 ok!!!"),
    ),
    # Broken off, or not HTTP any more, after the status: that is what counts.
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200 ok")),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200"),
    ),
    (b"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nno", Delivered(DeliveryOutcome.GATEWAY_REFUSED, "HTTP 404 no")),
    (b"", Delivered(DeliveryOutcome.GATEWAY_FAILED, "closed the connection before its answer was whole")),
    (
        b"HTTP/1.1 200 OK\r\nX:",
        Delivered(DeliveryOutcome.GATEWAY_FAILED, "closed the connection before its answer was whole"),
    ),
]


@pytest.mark.parametrize(("answer", "delivered"), ANSWERS)
def test_answers_byte_by_byte(answer: bytes, delivered: Delivered) -> None:
    with listening(say(answer)) as (url, requests):
        found = sender(url, attempts=2).deliver(MESSAGE)
    assert (found, len(requests)) == (delivered, 2 if delivered.outcome == "gateway_failed" else 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2 482915\r\n\r\n",
        b"\x00\xff" * 100 + b"\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    ],
)
def test_what_is_not_http_is_a_failure(answer: bytes) -> None:
    with listening(say(answer)) as (url, requests):
        found = sender(url, attempts=2).deliver(MESSAGE)
    assert (found.outcome, found.answer.partition(":")[0]) == ("gateway_failed", "its answer is not HTTP")
    assert (len(requests), MESSAGE.code in found.answer, found.answer.isprintable()) == (2, False, True)


def test_a_reset_is_a_failure() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with listening(reset) as (url, requests):
        found = sender(url, attempts=2).deliver(MESSAGE)
    assert (found, len(requests)) == (Delivered(DeliveryOutcome.GATEWAY_FAILED, "Connection reset by peer"), 2)


def test_a_body_that_dribbles_is_kept_as_far_as_it_came_and_sent_only_once() -> None:
    with listening(dribble(b"HTTP/1.1 200 OK\r\n\r\n", b"a")) as (url, requests):
        started = time.monotonic()
        found = sender(url, timeout_s=QUICK_S).deliver(MESSAGE)
        took = time.monotonic() - started
    assert (found.outcome, set(found.answer.removeprefix("HTTP 200 "))) == ("message_accepted", {"a"})
    assert len(requests) == 1
    assert took < QUICK_S + LATER_S


def test_an_endless_body_is_read_for_a_few_kilobytes_only() -> None:
    with listening(dribble(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * READ_BYTES, pause_s=0)) as (url, _):
        started = time.monotonic()
        found = sender(url, timeout_s=5).deliver(MESSAGE)
        took = time.monotonic() - started
    assert found == Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200 " + "x" * (ANSWER_LENGTH - 9))
    assert took < 2


# --- what is kept of an answer ----------------------------------------------------------------------------


def test_an_answer_is_one_printable_line_without_the_code() -> None:
    body = 'a\r\n\t b\x00\x1b[31m\u202e \u2028{"text": "Code 482915", "n": 1482915482915}\xff'.encode() + b"\xff\xfe"
    with serving(Reply(200, body)) as gateway:
        found = sender(gateway.url).deliver(MESSAGE)
    assert found.answer == 'HTTP 200 a b [31m {"text": "Code ***", "n": 1******}\xff\ufffd\ufffd'


@pytest.mark.parametrize("digits", range(7))
def test_a_code_that_is_cut_off_does_not_remain_in_part(digits: int) -> None:
    """The code stands at the end of what is kept, and so many of its digits before it."""
    before = ANSWER_LENGTH - len("HTTP 200 ") - digits
    with serving(Reply(200, b" " * before + b"482915" + b" " * READ_BYTES)) as gateway:
        found = sender(gateway.url).deliver(MESSAGE)
    assert found.answer.rstrip("*").rstrip() == "HTTP 200"
    assert READ_BYTES >= 4 * ANSWER_LENGTH


@pytest.fixture(scope="module")
def echo() -> Iterator[Gateway]:
    with serving(Reply(200)) as gateway:
        yield gateway


@given(code=st.from_regex("[0-9]{6}", fullmatch=True), before=st.binary(max_size=1200), after=st.binary(max_size=1200))
def test_no_answer_ever_holds_the_code(echo: Gateway, code: str, before: bytes, after: bytes) -> None:
    echo.replies = [Reply(200, before + code.encode() + after)]
    echo.asked.clear()
    found = sender(echo.url).deliver(Message("1", "acme", "+4915112345678", code, "de"))
    assert (found.outcome, code in found.answer, found.answer.isprintable()) == ("message_accepted", False, True)
    assert len(found.answer) <= ANSWER_LENGTH


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    path = tmp_path_factory.mktemp("tls") / "self-signed.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(path),
        "-out",
        f"{path}.crt",
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("NOT RUN: SMS gateways with TLS: no openssl found, which makes their certificates")
    with path.open("ab") as both:
        both.write(Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_self_signed_certificate_is_refused_at_once(tls: ssl.SSLContext) -> None:
    pauses: list[float] = []
    with serving(tls=tls) as gateway:
        found = sender(gateway.url, pauses=pauses).deliver(MESSAGE)
    assert (found.outcome, "certificate verify failed: self-signed" in found.answer) == ("gateway_unreachable", True)
    assert (gateway.asked, pauses) == ([], [])


def test_a_certificate_that_the_operator_trusts_is_taken(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    with serving(Reply(200, b"ok"), tls=tls) as gateway:
        assert sender(gateway.url).deliver(MESSAGE) == Delivered(DeliveryOutcome.MESSAGE_ACCEPTED, "HTTP 200 ok")
        found = sender(gateway.url.replace("127.0.0.1", "localhost")).deliver(MESSAGE)
    assert (found.outcome, "Hostname mismatch" in found.answer) == ("gateway_unreachable", True)
    assert len(gateway.asked) == 1


def test_a_server_without_tls_is_not_spoken_to_in_clear() -> None:
    with listening(say(b"HTTP/1.1 200 OK\r\n\r\n")) as (url, requests):
        found = sender(url.replace("http:", "https:"), attempts=1).deliver(MESSAGE)
    assert found.outcome == "gateway_unreachable"
    assert [b"hunter2" in request or MESSAGE.code.encode() in request for request in requests] == [False]


def test_a_handshake_has_the_same_deadline() -> None:
    with listening(dribble(b"\x16\x03\x03\x40\x00", b"\x00")) as (url, _):
        started = time.monotonic()
        found = sender(url.replace("http:", "https:"), timeout_s=QUICK_S, attempts=1).deliver(MESSAGE)
        took = time.monotonic() - started
    assert found == Delivered(DeliveryOutcome.GATEWAY_TIMEOUT, "no connection in 0.3 s")
    assert took < QUICK_S + LATER_S


# --- the environment --------------------------------------------------------------------------------------


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy, serving() as gateway:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert sender(gateway.url).deliver(MESSAGE).succeeded
    assert (len(gateway.asked), proxy.asked) == (1, [])


def test_the_command_line_does_not_load_http_before_it_is_needed() -> None:
    loaded = "print({'h11', 'ssl', 'fsroute.verification.sms'} & set(sys.modules))"
    program = f"import sys, fsroute.cli.main, fsroute.configuration.settings; {loaded}"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
