"""A small SIP peer for the tests: phones that register, and a carrier that does not.

A peer is a UDP socket and a thread. What it does with a call is data, a `Behaviour`; what happened is kept: every
message with its monotonic time, every call with the time of each turn. Nothing here waits without an end.

    with Phone("1001", "secret", "acme.example", ("127.0.0.1", 5060), behaviour=Answer(press="1")) as phone:
        assert phone.register() == 200
        assert phone.wait_invite().wait_end() == "bye received"

What SIP asks for and FreeSWITCH on loopback does not need is left out: TCP, Record-Route, forked answers, offers in
the ACK.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import itertools
import re
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Self, TypeVar

from tests.support.rtp import FRAME_S, Audio

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = tuple[str, int]
Ready = TypeVar("Ready")

T1_S = 0.5
"""Between the first two sends of a message that is not answered (RFC 3261, 17.1.1.1); it doubles up to 4 s."""

SENDS = 7


class SipTimeoutError(AssertionError):
    """Something a test waited for did not happen in time. Carries the peer's trace."""


# What a peer does with an incoming call


@dataclass(frozen=True)
class Step:
    """A response, `at_s` seconds after the INVITE."""

    at_s: float
    status: int
    sdp: bool = False
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The responses to an INVITE, and what follows once it was answered, counted from the ACK."""

    press: str = ""
    """Keys, as RFC 2833 events."""
    press_after_s: float = 0.8
    """A person listens first."""
    then_hangup_after_s: float | None = None
    """None leaves the hanging up to the other side."""

    def steps(self) -> tuple[Step, ...]:
        return ()


@dataclass(frozen=True)
class Answer(Behaviour):
    """Rings, and answers `after_s` seconds after the INVITE."""

    after_s: float = 0.0
    ringing: bool = True

    def steps(self) -> tuple[Step, ...]:
        return *(Step(0, 180),) * self.ringing, Step(self.after_s, 200, sdp=True)


@dataclass(frozen=True)
class Ring(Behaviour):
    """Rings until cancelled."""

    def steps(self) -> tuple[Step, ...]:
        return (Step(0, 180),)


@dataclass(frozen=True)
class Status(Behaviour):
    """Refuses, at once or after ringing for `ring_s` seconds."""

    code: int
    ring_s: float = 0.0
    headers: tuple[str, ...] = ()

    def steps(self) -> tuple[Step, ...]:
        return *_rings(self.ring_s), Step(self.ring_s, self.code, headers=self.headers)


@dataclass(frozen=True)
class Busy(Status):
    code: int = 486


@dataclass(frozen=True)
class Reject(Status):
    """Somebody pressed "decline"."""

    code: int = 603


@dataclass(frozen=True)
class EarlyMedia(Behaviour):
    """Sends audio with 183, after ringing for `ring_s`; answers at `answer_after_s`, if ever."""

    ring_s: float = 0.0
    answer_after_s: float | None = None

    def steps(self) -> tuple[Step, ...]:
        answer = () if self.answer_after_s is None else (Step(self.answer_after_s, 200, sdp=True),)
        return *_rings(self.ring_s), Step(self.ring_s, 183, sdp=True), *answer


@dataclass(frozen=True)
class Silent(Behaviour):
    """Sends 100 and nothing more; without `trying` not even that, like a phone that was unplugged."""

    trying: bool = True

    def steps(self) -> tuple[Step, ...]:
        return (Step(0, 100),) * self.trying


def _rings(ring_s: float) -> tuple[Step, ...]:
    return (Step(0, 180),) if ring_s else ()


# Messages


@dataclass(frozen=True)
class Message:
    """One datagram. In the text, bytes that are no UTF-8 survive as surrogates."""

    raw: bytes
    at: float
    sent: bool
    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def parse(cls, raw: bytes, *, sent: bool) -> Message:
        head, _, body = raw.decode("utf-8", "surrogateescape").partition("\r\n\r\n")
        start, *lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
        parts = (line.partition(":") for line in lines)
        headers = tuple((name.strip(), value.strip()) for name, _, value in parts)
        return cls(raw, time.monotonic(), sent, start, headers, body)

    @property
    def status(self) -> int:
        """0 for a request."""
        return int(self.start[8:11]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """Of the request, or of the request that this answers."""
        return self.get("CSeq").rpartition(" ")[2]

    @property
    def number(self) -> str:
        """What was dialled: the user part of the request URI."""
        found = re.match(r"\S+ sips?:([^@\s]*)@", self.start)
        return found[1] if found else ""

    @property
    def key(self) -> tuple[str, str]:
        """Of its transaction."""
        return _param(self.get("Via"), "branch"), self.method

    def get(self, name: str) -> str:
        """The first header of that name, or nothing."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def _message(head: Iterable[str], body: str) -> bytes:
    head = (*head,)
    given = not body or any(line.lower().startswith("content-type:") for line in head)
    kind = () if given else ("Content-Type: application/sdp",)
    text = "\r\n".join((*head, *kind, f"Content-Length: {len(body)}", "", body))
    return text.encode("utf-8", "surrogateescape")


def _param(header: str, name: str) -> str:
    found = re.search(rf";\s*{name}=([^;,\s>]+)", header.rpartition(">")[2])
    return found[1] if found else ""


def _uri(header: str) -> str:
    found = re.search(r"<([^>]*)>", header)
    return found[1] if found else header.partition(";")[0].strip()


def _name(display_name: str | bytes) -> str:
    """Text is quoted as RFC 3261, 25.1, says; bytes are sent as they are."""
    if isinstance(display_name, bytes):
        return display_name.decode("utf-8", "surrogateescape") + " "
    escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" ' if display_name else ""


def _digest(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """The Authorization for a 401 or 407 (RFC 2617)."""
    given = {key: inside or bare for key, inside, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,"]+))', challenge)}
    realm, nonce, count, ours = given.get("realm", ""), given["nonce"], "00000001", secrets.token_hex(8)

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    proof = md5(md5(user, realm, password), nonce, count, ours, "auth", md5(method, uri))
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": uri, "cnonce": ours, "response": proof}
    quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return f"Digest {quoted}, algorithm=MD5, qop=auth, nc={count}"


# Calls


class Call:
    """One dialog and what became of it.

    `end` is None while it lives, then "cancelled", "refused", "bye received", "bye sent" or "lost" (no answer came).
    `at` has the monotonic times of what happened: invite, ringing (180), early (183), answered, ack, cancel, bye, end.
    """

    def __init__(self, peer: Peer, call_id: str, target: str) -> None:
        self.peer = peer
        self.call_id = call_id
        self.target = target
        self.tag = secrets.token_hex(4)
        self.audio = Audio(peer.address[0])
        self.status = 0
        """The last response, theirs to our INVITE or ours to theirs."""
        self.held = 0
        """The final response to the last `hold`."""
        self.end: str | None = None
        self.at: dict[str, float] = {"invite": time.monotonic()}
        self.local = self.remote = ""
        self.cseq = 1

    def __repr__(self) -> str:
        times = " ".join(f"{event}={at - self.at['invite']:.2f}" for event, at in self.at.copy().items())
        return f"<{type(self).__name__} {self.target} status={self.status} end={self.end} {times}>"

    @property
    def answered(self) -> bool:
        return "answered" in self.at

    def seconds(self, start: str, stop: str) -> float:
        """From one event of `at` to another."""
        return self.at[stop] - self.at[start]

    def wait(self, event: str, timeout: float = 5.0) -> float:
        """Waits for an event of `at`; its time."""
        self.peer.wait(lambda: event in self.at, timeout, f'"{event}" of {self!r}')
        return self.at[event]

    def wait_end(self, timeout: float = 5.0) -> str:
        self.wait("end", timeout)
        return self.end or ""

    def press(self, keys: str) -> None:
        with self.peer.changed:
            self.audio.press(keys)

    def bye(self) -> None:
        """Hangs up, if the call was answered and lives."""
        with self.peer.changed:
            if self.end is None and self.answered:
                self.cseq += 1
                self.request("BYE", self.target)
                self.finish("bye sent")

    def refer(self, refer_to: str, headers: Iterable[str] = (), timeout: float = 5.0) -> int:
        """Transfers the other side (RFC 3515): `refer_to` is the value of Refer-To, as it is. The final status."""
        answers: list[Message] = []

        def send(*credentials: str) -> None:
            self.cseq += 1
            self.request("REFER", self.target, f"Refer-To: {refer_to}", *headers, *credentials, on_response=on_response)

        def on_response(response: Message) -> None:
            if response.status in {401, 407} and not answers:
                send(self.peer.credentials(response, "REFER", self.target))
            answers.append(response)

        def final() -> int | None:
            return next((a.status for a in answers if a.status >= HTTPStatus.OK and a.status not in {401, 407}), None)

        with self.peer.changed:
            send()
        return self.peer.wait(final, timeout, f"an answer to REFER of {self!r}")

    def hold(self, direction: str = "sendonly") -> None:
        """Offers the other side this direction of audio, by a re-INVITE (RFC 3264, 8.4). Does not wait for the answer."""

        def on_response(response: Message) -> None:
            if response.status >= HTTPStatus.OK and response.method == "INVITE":
                uri = _uri(response.get("Contact")) or self.target
                head = (f"From: {self.local}", f"To: {self.remote}", f"Call-ID: {self.call_id}")
                number = response.get("CSeq").partition(" ")[0]
                self.peer.request("ACK", uri, (*head, f"CSeq: {number} ACK"))
                self.held = response.status

        with self.peer.changed:
            self.cseq += 1
            body = self.audio.sdp().replace(" 1 IN IP4", f" {self.cseq} IN IP4", 1) + f"a={direction}\r\n"
            self.request("INVITE", self.target, on_response=on_response, body=body)

    @property
    def replaces(self) -> str:
        """The value of a Replaces header that names this dialog to the switch (RFC 3891): to-tag is the switch's own tag."""
        return f"{self.call_id};to-tag={_param(self.remote, 'tag')};from-tag={_param(self.local, 'tag')}"

    # What follows runs with `peer.changed` held.

    def request(
        self,
        method: str,
        uri: str,
        *more: str,
        branch: str = "",
        to: str = "",
        on_response: Callable[[Message], None] = lambda _: None,
        body: str = "",
    ) -> None:
        lines = (f"From: {self.local}", f"To: {to or self.remote}", f"Call-ID: {self.call_id}")
        whole = (*lines, f"CSeq: {self.cseq} {method}", *more)
        self.peer.request(method, uri, whole, on_response, branch=branch, body=body)

    def note(self, event: str) -> None:
        self.at.setdefault(event, time.monotonic())
        self.peer.changed.notify_all()

    def note_status(self, status: int) -> None:
        self.status = status
        if status in {180, 183}:
            self.note("ringing" if status == 180 else "early")
        elif status == HTTPStatus.OK:
            self.note("answered")
        elif status > HTTPStatus.OK:
            self.finish("cancelled" if status == 487 and "cancel" in self.at else "refused")

    def finish(self, end: str) -> None:
        if self.end is None:
            self.end = end
            self.note("end")
            self.peer.close_audio(self.audio)


class IncomingCall(Call):
    """`invite` is the message, `number` what was dialled."""

    def __init__(self, peer: Peer, invite: Message, source: Address, behaviour: Behaviour) -> None:
        super().__init__(peer, invite.get("Call-ID"), _uri(invite.get("Contact")))
        self.invite = invite
        self.number = invite.number
        self.behaviour = behaviour
        self.local = f"{invite.get('To')};tag={self.tag}"
        self.remote = invite.get("From")
        self._source = source
        self.audio.learn(invite.body)
        for step in behaviour.steps():
            peer.later(step.at_s, partial(self._respond, step))

    def header(self, name: str) -> str:
        """Of the INVITE."""
        return self.invite.get(name)

    def respond(self, status: int, *headers: str) -> None:
        """Answers the INVITE by hand, unless it has a final answer."""
        with self.peer.changed:
            self._respond(Step(0, status, sdp=status in {183, 200}, headers=headers))

    def _respond(self, step: Step) -> None:
        if self.status >= HTTPStatus.OK or self.end:
            return
        body = self.audio.sdp() if step.sdp else ""
        tag = self.tag if step.status > HTTPStatus.CONTINUE else ""
        raw = self.peer.respond(self.invite, self._source, step.status, tag=tag, body=body, headers=step.headers)
        if step.sdp:
            self.peer.open_audio(self.audio)
        self.note_status(step.status)
        if step.status >= HTTPStatus.OK:
            self.peer.repeat(raw, self._source, lambda: "ack" not in self.at, partial(self.finish, "lost"))

    def on_cancel(self) -> None:
        self.note("cancel")
        self._respond(Step(0, 487))

    def on_ack(self) -> None:
        if "ack" in self.at:
            return
        self.note("ack")
        if self.answered:
            self.peer.later(self.behaviour.press_after_s, partial(self.audio.press, self.behaviour.press))
            if self.behaviour.then_hangup_after_s is not None:
                self.peer.later(self.behaviour.then_hangup_after_s, self.bye)


class OutgoingCall(Call):
    """`responses` has (time, status, with SDP) of each response but 100, `final` the last one, which says why."""

    def __init__(self, peer: Peer, uri: str, from_: str, headers: tuple[str, ...], to: str, body: str) -> None:
        super().__init__(peer, f"{secrets.token_hex(8)}@{peer.address[0]}", uri)
        self._to = to or f"<{uri}>"
        self.local, self.remote = f"{from_};tag={self.tag}", self._to
        self.responses: list[tuple[float, int, bool]] = []
        self.final: Message | None = None
        self._uri = uri
        self._headers = headers
        self._body = body
        self._branch = ""
        self._asked_for_password = False
        self._cancel_sent = False
        self._invite()

    def wait_ringing(self, timeout: float = 5.0) -> float:
        return self.wait("ringing", timeout)

    def wait_answer(self, timeout: float = 5.0) -> float:
        """Waits for the answer; its time. A call that ends without is an AssertionError."""
        self.peer.wait(lambda: self.answered or self.end, timeout, f"answer of {self!r}")
        assert self.answered, f"not answered: {self!r}"
        return self.at["answered"]

    def wait_final(self, timeout: float = 5.0) -> int:
        """Waits for the final response; its status."""
        self.peer.wait(lambda: self.final, timeout, f"final response of {self!r}")
        return self.status

    def cancel(self) -> None:
        """Gives up before the answer; before the first response it waits for one, as SIP asks."""
        with self.peer.changed:
            self.note("cancel")
            if self.status:
                self._send_cancel()

    def _invite(self, *credentials: str) -> None:
        self._branch = _branch()
        dialog = (f"From: {self.local}", f"To: {self.remote}", f"Call-ID: {self.call_id}", f"CSeq: {self.cseq} INVITE")
        lines = (*dialog, *self._headers, *credentials)
        on_response, lost = self._on_response, partial(self.finish, "lost")
        body = self._body.replace("{}", self.audio.sdp())
        self.peer.request("INVITE", self._uri, lines, on_response, lost, branch=self._branch, body=body)

    def _send_cancel(self) -> None:
        if self.final is None and not self._cancel_sent:
            self._cancel_sent = True
            self.request("CANCEL", self._uri, branch=self._branch, to=self._to)

    def _on_response(self, response: Message) -> None:
        status = response.status
        if status >= HTTPStatus.OK:
            won = status == HTTPStatus.OK  # its ACK is a transaction of its own, and goes to the Contact
            uri, branch = (_uri(response.get("Contact")), _branch()) if won else (self._uri, self._branch)
            self.request("ACK", uri, branch=branch, to=response.get("To"))
        if self.final is not None:
            return  # a repeated response: the ACK is all it wants
        if status in {401, 407} and self.peer.password and not self._asked_for_password:
            self._asked_for_password = True
            self.cseq += 1
            self._invite(self.peer.credentials(response, "INVITE", self._uri))
            return
        if HTTPStatus.CONTINUE < status < HTTPStatus.OK and _param(response.get("To"), "tag"):
            self.remote, self.target = response.get("To"), _uri(response.get("Contact")) or self.target  # an early dialog
        if response.body and status <= HTTPStatus.OK:
            self.audio.learn(response.body)
            self.peer.open_audio(self.audio)
        if status > HTTPStatus.CONTINUE:
            self.responses.append((response.at, status, bool(response.body)))
        if status >= HTTPStatus.OK:
            self.final = response
            self.remote, self.target = response.get("To"), _uri(response.get("Contact")) or self.target
        elif "cancel" in self.at:
            self._send_cancel()
        self.note_status(status)


# Peers


@dataclass
class _Transaction:
    """A request of ours."""

    on_response: Callable[[Message], None]
    answered: bool = False
    final: bool = False


class Peer:
    """Tests set `behaviour`, or `numbers[dialled]` for one dialled number, before the call comes."""

    user = "peer"
    password = ""

    def __init__(self, switch: Address, *, ip: str = "127.0.0.1", port: int = 0, behaviour: Behaviour | None = None) -> None:
        self.switch = switch
        self.behaviour = behaviour or Ring()
        self.numbers: dict[str, Behaviour] = {}
        self.messages: list[Message] = []
        self.calls: list[IncomingCall] = []
        self.placed: list[OutgoingCall] = []
        self.changed = threading.Condition(threading.RLock())
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ip, port))
        self._socket.setblocking(False)
        self.address: Address = self._socket.getsockname()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ, self._receive)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._sent: dict[tuple[str, str], _Transaction] = {}
        self._answers: dict[tuple[str, str], tuple[bytes, Address]] = {}
        self._returned = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"sip {self.address[1]}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Refuses the calls that had no response first: FreeSWITCH repeats such an INVITE for 32 s (RFC 3261, timer B), also
        after it gave the leg up, and whoever takes this port next would be called."""
        for call in self.calls:
            if not call.status:
                call.respond(HTTPStatus.SERVICE_UNAVAILABLE)
        self.vanish()

    def vanish(self) -> None:
        """Stops at once and without a word, like a phone whose plug was pulled."""
        with self.changed:
            self._closed = True
        self._thread.join(5)
        for call in (*self.calls, *self.placed):
            call.audio.socket.close()
        self._selector.close()
        self._socket.close()

    @property
    def uri(self) -> str:
        return f"sip:{self.user}@{self.address[0]}:{self.address[1]}"

    def wait(self, ready: Callable[[], Ready | None], timeout: float, what: str) -> Ready:
        """Waits until `ready` gives something true; what it gave."""
        with self.changed:
            if found := self.changed.wait_for(ready, timeout):
                return found
            raise SipTimeoutError(f"{timeout} s without {what}\n{self.trace()}")

    def wait_invite(self, timeout: float = 5.0) -> IncomingCall:
        """The next incoming call that was not returned before."""
        with self.changed:
            call = self.wait(lambda: next(iter(self.calls[self._returned :]), None), timeout, "an INVITE")
            self._returned += 1
            return call

    def wait_cancel(self, timeout: float = 5.0) -> IncomingCall:
        """The last incoming call that was cancelled."""
        return self.wait(
            lambda: next((call for call in reversed(self.calls) if "cancel" in call.at), None), timeout, "a CANCEL"
        )

    def trace(self) -> str:
        """Every message, for a test that failed."""
        with self.changed:
            start = self.messages[0].at if self.messages else 0.0
            lines = (f"{m.at - start:8.3f} {'->' if m.sent else '<-'} {m.start}   {m.method}" for m in self.messages)
            return "\n".join((f"{self.user} on {self.address[0]}:{self.address[1]}", *lines))

    def place(self, uri: str, from_: str, headers: Iterable[str] = (), to: str = "", body: str = "{}") -> OutgoingCall:
        """Sends an INVITE; From, further headers and a To that is not the URI go out as they are, so does the body.

        {} in the body stands for the SDP.
        """
        with self.changed:
            self.placed.append(OutgoingCall(self, uri, from_, tuple(headers), to, body))
            return self.placed[-1]

    # What follows runs with `changed` held, in the thread or in a test's call.

    def later(self, seconds: float, run: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), run))

    def repeat(self, raw: bytes, to: Address, wanted: Callable[[], bool], lost: Callable[[], None]) -> None:
        """Sends again what was sent just now, until nobody wants it any more."""

        def again(sent: int) -> None:
            if not wanted():
                return
            if sent == SENDS:
                lost()
                return
            self._send(raw, to)
            self.later(min(T1_S * 2**sent, 4.0), partial(again, sent + 1))

        self.later(T1_S, partial(again, 1))

    def request(
        self,
        method: str,
        uri: str,
        lines: Iterable[str],
        on_response: Callable[[Message], None] = lambda _: None,
        lost: Callable[[], None] = lambda: None,
        *,
        branch: str = "",
        body: str = "",
    ) -> None:
        """Sends a request, and repeats it until it is answered. Only ACK never is."""
        branch = branch or _branch()
        ip, port = self.address
        via = f"Via: SIP/2.0/UDP {ip}:{port};rport;branch={branch}"
        raw = _message(self._with_contact([f"{method} {uri} SIP/2.0", via, "Max-Forwards: 70", *lines]), body)
        self._send(raw, self.switch)
        if method != "ACK":
            ours = self._sent[branch, method] = _Transaction(on_response)
            self.repeat(raw, self.switch, lambda: not (ours.answered if method == "INVITE" else ours.final), lost)

    def respond(
        self, request: Message, to: Address, status: int, *, tag: str = "", body: str = "", headers: Iterable[str] = ()
    ) -> bytes:
        lines = [f"SIP/2.0 {status} {'OK' if status == HTTPStatus.OK else 'As The Test Says'}"]
        lines += [f"Via: {via}" for via in request.all("Via")]
        lines += [f"{name}: {request.get(name)}" for name in ("From", "Call-ID", "CSeq")]
        lines += [f"To: {request.get('To')}{f';tag={tag}' if tag else ''}", "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS"]
        raw = _message(self._with_contact([*lines, *headers]), body)
        self._answers[request.key] = raw, to
        self._send(raw, to)
        return raw

    def credentials(self, challenge: Message, method: str, uri: str) -> str:
        """The header that answers a 401 or 407."""
        proxy = challenge.get("Proxy-Authenticate")
        asked = proxy or challenge.get("WWW-Authenticate")
        return f"{'Proxy-' * bool(proxy)}Authorization: {_digest(asked, method, uri, self.user, self.password)}"

    def open_audio(self, audio: Audio) -> None:
        if audio.socket.fileno() not in self._selector.get_map():
            self._selector.register(audio.socket, selectors.EVENT_READ, audio.receive)
            self._frame(audio, time.monotonic())

    def close_audio(self, audio: Audio) -> None:
        if audio.socket.fileno() in self._selector.get_map():
            self._selector.unregister(audio.socket)

    def _with_contact(self, lines: list[str]) -> list[str]:
        given = any(line.lower().startswith("contact:") for line in lines)
        return lines if given else [*lines, f"Contact: <{self.uri}>"]

    def _frame(self, audio: Audio, due: float) -> None:
        if audio.socket.fileno() in self._selector.get_map():
            audio.send()
            self.later(due + FRAME_S - time.monotonic(), partial(self._frame, audio, due + FRAME_S))

    def _send(self, raw: bytes, to: Address) -> None:
        self.messages.append(Message.parse(raw, sent=True))
        with contextlib.suppress(OSError):  # nobody there; who waits for the answer will say so
            self._socket.sendto(raw, to)

    def _run(self) -> None:
        while True:
            with self.changed:
                while self._timers and self._timers[0][0] <= time.monotonic():
                    heapq.heappop(self._timers)[2]()
                if self._closed:
                    return
            for ready, _ in self._selector.select(FRAME_S / 4):
                with self.changed:
                    ready.data()

    def _receive(self) -> None:
        try:
            raw, source = self._socket.recvfrom(65535)
        except OSError:
            return
        if not raw.strip():
            return  # a keep-alive
        message = Message.parse(raw, sent=False)
        self.messages.append(message)
        if not message.status:
            self._on_request(message, source)
        elif ours := self._sent.get(message.key):
            ours.answered, ours.final = True, message.status >= HTTPStatus.OK
            ours.on_response(message)
        self.changed.notify_all()

    def _on_request(self, request: Message, source: Address) -> None:
        call = next((call for call in (*self.calls, *self.placed) if call.call_id == request.get("Call-ID")), None)
        match request.method, call:
            case "ACK", IncomingCall():
                call.on_ack()
            case _ if request.key in self._answers:
                self._send(*self._answers[request.key])  # a repeated request
            case "ACK", _:
                pass
            case "INVITE", None:
                behaviour = self.numbers.get(request.number, self.behaviour)
                self.calls.append(IncomingCall(self, request, source, behaviour))
            case "INVITE", Call() if _param(request.get("To"), "tag"):
                call.audio.learn(request.body)
                self.respond(request, source, 200, body=call.audio.sdp())
            case "INVITE", _:
                pass  # a repeated one that has no answer yet
            case "CANCEL", IncomingCall():
                self.respond(request, source, 200)
                call.on_cancel()
            case "BYE", Call():
                self.respond(request, source, 200)
                call.note("bye")
                call.finish("bye received")
            case "BYE" | "CANCEL", None:
                self.respond(request, source, 481)
            case _:
                self.respond(request, source, 200)


def _branch() -> str:
    return f"z9hG4bK{secrets.token_hex(8)}"


class Phone(Peer):
    """A user's phone; several may register as the same user."""

    def __init__(
        self,
        user: str,
        password: str,
        domain: str,
        registrar: Address,
        *,
        ip: str = "127.0.0.1",
        port: int = 0,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.user, self.password, self.domain = user, password, domain
        self._registration = f"{secrets.token_hex(8)}@{domain}"
        self._cseq = 0
        self._contact: str | None = None
        super().__init__(registrar, ip=ip, port=port, behaviour=behaviour)

    def close(self) -> None:
        """Unregisters first, so that the switch does not go on calling a phone that is gone."""
        if self._contact is not None:
            with contextlib.suppress(SipTimeoutError):
                self.unregister(timeout=1.0)
        super().close()

    def register(self, expires: int = 300, contact: str | None = None, timeout: float = 5.0) -> int:
        """The final status. `contact` is the value of the Contact header, sent as it is."""
        contact = contact or f"<{self.uri}>"
        response = self._register(expires, contact, timeout)
        if response.status in {401, 407}:
            credentials = self.credentials(response, "REGISTER", f"sip:{self.domain}")
            response = self._register(expires, contact, timeout, credentials)
        if response.status == HTTPStatus.OK:
            self._contact = contact if expires else None
        return response.status

    def unregister(self, timeout: float = 5.0) -> int:
        return self.register(0, self._contact, timeout)

    def call(
        self,
        to: str,
        *,
        display_name: str | bytes = "",
        from_user: str | None = None,
        from_domain: str | None = None,
        extra_headers: Iterable[str] = (),
    ) -> OutgoingCall:
        """Dials. A display name is quoted when it is text, and sent as it is when it is bytes."""
        user = self.user if from_user is None else from_user
        from_ = f"{_name(display_name)}<sip:{user}@{from_domain or self.domain}>"
        return self.place(f"sip:{to}@{self.domain}", from_, extra_headers)

    def _register(self, expires: int, contact: str, timeout: float, *credentials: str) -> Message:
        answers: list[Message] = []
        with self.changed:
            self._cseq += 1
            me = f"<sip:{self.user}@{self.domain}>"
            lines = (
                f"From: {me};tag={secrets.token_hex(4)}",
                f"To: {me}",
                f"Call-ID: {self._registration}",
                f"CSeq: {self._cseq} REGISTER",
                f"Contact: {contact}",
                f"Expires: {expires}",
                *credentials,
            )
            self.request("REGISTER", f"sip:{self.domain}", lines, answers.append)

        def final() -> Message | None:
            return next((answer for answer in answers if answer.status >= HTTPStatus.OK), None)

        return self.wait(final, timeout, "an answer to REGISTER")


class Carrier(Peer):
    """The other side of a trunk: takes calls to any number, and places calls without a password."""

    user = "carrier"

    def call(
        self,
        to: str,
        *,
        display_name: str | bytes = "",
        from_user: str = "+493023125001",
        from_domain: str = "carrier.example",
        extra_headers: Iterable[str] = (),
    ) -> OutgoingCall:
        """Calls a number of ours. A display name is quoted when it is text, and sent as it is when it is bytes."""
        from_ = f"{_name(display_name)}<sip:{from_user}@{from_domain}>"
        return self.place(f"sip:{to}@{self.switch[0]}:{self.switch[1]}", from_, extra_headers)


MakePhone = Callable[..., Phone]
"""The fixture `phone` of tests/e2e: makes a phone that is registered."""
