"""What is known of registered phones, and for how long: by a clock of the test, by a model of FreeSWITCH, by events on a
socket, and by the calls of a whole `fsroute serve`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from structlog.testing import CapturingLogger

from fsroute.model import ContactDial, EndpointDial, Registered
from fsroute.serving import registrations
from fsroute.serving.registrations import SETTLED_S, Listener, Registrations
from tests.support.event_socket import PASSWORD, Event, EventSocketServer, of_profile, of_user
from tests.support.server import Server, applications, carrier_channel, converse, serving
from tests.support.tables import demo_database
from tests.support.wait import wait_until

SWITCH = "5b2c0b5e-6e3c-4b1d-9a53-0f4a52c1a001"
OTHER_SWITCH = "5b2c0b5e-6e3c-4b1d-9a53-0f4a52c1a002"
ANNA, AT_HOME, BEN = (EndpointDial(*pair) for pair in (("Anna", "acme.example"), ("anna", "other.example"), ("1002", "x")))
SECONDS = 100.0
WAIT_S = 10.0


def phones(*ports: int, refused: int = 0) -> Registered:
    return Registered(tuple(ContactDial("internal", f"sip:x@192.0.2.1:{port}") for port in ports), refused)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def hearing(clock: Clock, seconds: float = SECONDS) -> Registrations:
    """A switch is heard, and has been for long enough."""
    found = Registrations(seconds, clock)
    found.subscribed(SWITCH)
    clock.now += SETTLED_S + 0.1
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard(clock: Clock) -> Registrations:
    return hearing(clock)


# --- what is known ----------------------------------------------------------------------------------------


def test_what_was_said_is_known_word_for_word(clock: Clock, heard: Registrations) -> None:
    said = {ANNA: phones(5060, 5062, refused=1), AT_HOME: phones(5064), BEN: phones()}
    heard.keep(SWITCH, said, clock.now)
    assert heard.known(SWITCH, [ANNA, AT_HOME, BEN]) == said
    assert heard.known(SWITCH, [BEN]) == {BEN: phones()}
    assert heard.known(SWITCH, []) == {}


def test_unless_all_are_known_all_are_asked_for(clock: Clock, heard: Registrations) -> None:
    heard.keep(SWITCH, {ANNA: phones(1)}, clock.now)
    assert heard.known(SWITCH, [ANNA, BEN]) is None
    assert heard.known(SWITCH, [AT_HOME]) is None
    heard.keep(SWITCH, {BEN: phones(2)}, clock.now)
    assert heard.known(SWITCH, [ANNA, BEN]) == {ANNA: phones(1), BEN: phones(2)}


def test_a_newer_answer_takes_the_place_of_an_older_one(clock: Clock, heard: Registrations) -> None:
    heard.keep(SWITCH, {ANNA: phones(1)}, clock.now)
    clock.now += SECONDS / 2
    heard.keep(SWITCH, {ANNA: phones(2)}, clock.now)
    clock.now += SECONDS
    assert heard.known(SWITCH, [ANNA]) == {ANNA: phones(2)}


@pytest.mark.parametrize("seconds", [5.0, SECONDS])
def test_that_nobody_is_registered_is_believed_for_a_short_time(clock: Clock, seconds: float) -> None:
    found, asked_at = hearing(clock, seconds), clock.now
    found.keep(SWITCH, {ANNA: phones(refused=1), BEN: phones(1)}, asked_at)
    clock.now = asked_at + min(seconds, 10.0)
    assert found.known(SWITCH, [ANNA]) == {ANNA: phones(refused=1)}
    clock.now += 0.01
    assert found.known(SWITCH, [ANNA]) is None
    assert (found.known(SWITCH, [BEN]) is None) is (seconds < 10.0)


@pytest.mark.parametrize("switch", [OTHER_SWITCH, ""])
def test_another_switch_is_not_known_and_changes_nothing(clock: Clock, heard: Registrations, switch: str) -> None:
    heard.keep(switch, {ANNA: phones(1)}, clock.now)
    assert (heard.known(switch, [ANNA]), heard.known(SWITCH, [ANNA])) == (None, None)
    heard.keep(SWITCH, {ANNA: phones(2)}, clock.now)
    heard.keep(switch, {ANNA: phones(1)}, clock.now)
    assert (heard.known(switch, [ANNA]), heard.known(SWITCH, [ANNA])) == (None, {ANNA: phones(2)})


@pytest.mark.parametrize("switch", [SWITCH, ""])
def test_while_nobody_is_heard_nothing_is_kept(clock: Clock, switch: str) -> None:
    silent = Registrations(SECONDS, clock)
    clock.now += SETTLED_S + 0.1
    silent.keep(switch, {ANNA: phones(1)}, clock.now)
    assert silent.known(switch, [ANNA]) is None
    silent.subscribed(SWITCH)
    assert silent.known(SWITCH, [ANNA]) is None


@pytest.mark.parametrize("heard_next", ["", OTHER_SWITCH, SWITCH])
def test_who_is_heard_anew_is_asked_anew(clock: Clock, heard: Registrations, heard_next: str) -> None:
    heard.keep(SWITCH, {ANNA: phones(1)}, clock.now)
    heard.subscribed(heard_next)
    assert (heard.known(SWITCH, [ANNA]), heard.known(heard_next, [ANNA])) == (None, None)
    clock.now += SETTLED_S + 0.1
    heard.keep(heard_next, {ANNA: phones(2)}, clock.now)
    assert heard.known(heard_next, [ANNA]) == ({ANNA: phones(2)} if heard_next else None)


def test_an_answer_is_good_for_so_many_seconds_from_the_question(clock: Clock, heard: Registrations) -> None:
    asked_at = clock.now
    clock.now += 10
    heard.keep(SWITCH, {ANNA: phones(1)}, asked_at)
    clock.now = asked_at + SECONDS
    assert heard.known(SWITCH, [ANNA]) == {ANNA: phones(1)}
    clock.now += 0.1
    assert heard.known(SWITCH, [ANNA]) is None


def test_no_seconds_keep_nothing(clock: Clock) -> None:
    asking = hearing(clock, 0)
    asking.keep(SWITCH, {ANNA: phones(1)}, clock.now)
    assert asking.known(SWITCH, [ANNA]) is None


# --- what changes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["Anna", "anna", "ANNA"])
def test_a_user_has_changed_in_any_letter_case_and_every_domain(clock: Clock, heard: Registrations, user: str) -> None:
    heard.keep(SWITCH, {ANNA: phones(1), AT_HOME: phones(2), BEN: phones(3)}, clock.now)
    heard.changed(user)
    assert [heard.known(SWITCH, [each]) for each in (ANNA, AT_HOME, BEN)] == [None, None, {BEN: phones(3)}]


def test_all_users_have_changed(clock: Clock, heard: Registrations) -> None:
    heard.keep(SWITCH, {ANNA: phones(1), BEN: phones(3)}, clock.now)
    heard.changed("")
    assert [heard.known(SWITCH, [each]) for each in (ANNA, BEN)] == [None, None]
    clock.now += SETTLED_S
    heard.keep(SWITCH, {ANNA: phones(1)}, clock.now)
    assert heard.known(SWITCH, [ANNA]) is None
    clock.now += 0.1
    heard.keep(SWITCH, {ANNA: phones(2)}, clock.now)
    assert heard.known(SWITCH, [ANNA]) == {ANNA: phones(2)}


CHANGES: dict[str, Callable[[Registrations], None]] = {
    "the user": lambda heard: heard.changed("anna"),
    "all users": lambda heard: heard.changed(""),
    "heard": lambda heard: heard.subscribed(SWITCH),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_was_asked_before_it_has_settled_is_not_kept(
    clock: Clock, heard: Registrations, change: Callable[[Registrations], None]
) -> None:
    changed_at = clock.now
    change(heard)
    for after_s in (-20, -0.1, 0, 0.1, SETTLED_S):
        clock.now = changed_at + max(after_s, 0) + 5
        heard.keep(SWITCH, {ANNA: phones(1)}, changed_at + after_s)
        assert heard.known(SWITCH, [ANNA]) is None
    heard.keep(SWITCH, {ANNA: phones(1)}, changed_at + SETTLED_S + 0.1)
    assert heard.known(SWITCH, [ANNA]) == {ANNA: phones(1)}


def test_only_the_answer_of_the_user_that_changed_is_not_kept(clock: Clock, heard: Registrations) -> None:
    asked_at = clock.now
    heard.changed("ANNA")
    heard.keep(SWITCH, {ANNA: phones(1), BEN: phones(3)}, asked_at)
    assert [heard.known(SWITCH, [each]) for each in (ANNA, BEN)] == [None, {BEN: phones(3)}]


def test_the_last_of_several_changes_counts(clock: Clock, heard: Registrations) -> None:
    heard.changed("anna")
    clock.now += SETTLED_S
    heard.changed("anna")
    clock.now += SETTLED_S
    heard.keep(SWITCH, {ANNA: phones(1)}, clock.now)
    assert heard.known(SWITCH, [ANNA]) is None


def test_an_answer_that_took_too_long_is_not_kept(clock: Clock, heard: Registrations) -> None:
    """Nobody remembers any more whether something has changed since the question."""
    asked_at = clock.now
    heard.changed("anna")
    clock.now += 60
    heard.changed("1002")  # what is remembered of others is cleared away now
    heard.keep(SWITCH, {ANNA: phones(1)}, asked_at)
    assert heard.known(SWITCH, [ANNA]) is None


def test_for_as_long_as_an_answer_is_kept_it_is_remembered_what_changed(clock: Clock, heard: Registrations) -> None:
    asked_at = clock.now
    heard.changed("anna")
    for _ in range(30):
        heard.keep(SWITCH, {ANNA: phones(1)}, asked_at)
        assert heard.known(SWITCH, [ANNA]) is None
        clock.now += 1
        heard.changed("1002")


# --- how much is kept -------------------------------------------------------------------------------------


def test_no_more_users_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch, clock: Clock, heard: Registrations) -> None:
    monkeypatch.setattr(registrations, "USERS", 3)
    users = [EndpointDial(f"u{n}", "x") for n in range(5)]
    for user in users[:4]:
        heard.keep(SWITCH, {user: phones(1), EndpointDial(user.user, "y"): phones(2)}, clock.now)
    assert [heard.known(SWITCH, [user]) is None for user in users] == [True, False, False, False, True]
    heard.keep(SWITCH, {users[4]: phones(1), users[0]: phones(1)}, clock.now)
    assert [heard.known(SWITCH, [user]) is None for user in users] == [False, True, True, False, False]


def test_changes_are_not_remembered_for_ever(clock: Clock, heard: Registrations) -> None:
    for n in range(1000):
        heard.changed(f"u{n}")
        heard.changed("always")
        clock.now += 1
    remembered = heard._changed  # noqa: SLF001 - what it forgets is seen nowhere else
    assert 30 + 2 * SETTLED_S <= len(remembered) <= 30 + 2 * SETTLED_S + 3
    heard.changed("")
    assert remembered == {}


# --- in whatever order it comes ---------------------------------------------------------------------------

USERS = ["anna", "1002"]
ENDPOINTS = [ANNA, AT_HOME, BEN]
STEPS = [0.1, SETTLED_S / 2, SETTLED_S, 3.0, 15.0, 31.0, 40.0]


@dataclass
class Question:
    """Asked, answered or not, and perhaps not kept yet."""

    asked_at: float
    said: dict[EndpointDial, Registered] | None = None


class Machine(RuleBasedStateMachine):
    """FreeSWITCH as registrations.py describes it, and calls that ask it.

    Rows change at once or by its queue, at most SETTLED_S after the event was fired. Events are under way for as long as it
    likes. `seen` are a user's registrations since the last event of theirs that arrived: what is known must be one of them,
    and the present ones if no event is under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.registrations = hearing(self.clock)
        self.is_heard = True
        self.rows: dict[str, frozenset[int]] = dict.fromkeys(USERS, frozenset({1}))
        self.seen: dict[str, list[frozenset[int]]] = {user: [self.rows[user]] for user in USERS}
        self.queue: list[tuple[float, str, int]] = []
        self.events: list[str] = []
        self.questions: list[Question] = []

    def _write(self, user: str, ports: frozenset[int]) -> None:
        self.rows[user] = ports
        self.seen[user].append(ports)

    def _fire(self, user: str) -> None:
        if self.is_heard:
            self.events.append(user)

    def _told(self, *users: str) -> None:
        for user in users:
            self.seen[user] = [self.rows[user]]

    @rule(user=st.sampled_from(USERS), port=st.integers(1, 3))
    def register(self, user: str, port: int) -> None:
        self._write(user, self.rows[user] | {port})
        self.queue = [row for row in self.queue if row[1:] != (user, port)]
        self._fire(user)

    @rule(user=st.sampled_from(USERS), port=st.integers(1, 3))
    def register_elsewhere(self, user: str, port: int) -> None:
        """The rows of before are deleted by the queue."""
        self.queue += [(self.clock.now + SETTLED_S, user, old) for old in self.rows[user] - {port}]
        self.register(user, port)

    @rule(user=st.sampled_from(USERS), port=st.integers(1, 3))
    def unregister(self, user: str, port: int) -> None:
        self._write(user, self.rows[user] - {port})
        self._fire(user)

    @rule(user=st.sampled_from(USERS))
    def expire(self, user: str) -> None:
        self._fire(user)
        self.queue += [(self.clock.now + SETTLED_S, user, port) for port in self.rows[user]]

    @precondition(lambda self: self.queue)
    @rule()
    def work_off_the_queue(self) -> None:
        self._delete(len(self.queue))

    @precondition(lambda self: self.events)
    @rule(many=st.sampled_from([1, 100]), is_last_first=st.booleans(), spell=st.sampled_from([str.lower, str.upper]))
    def tell(self, many: int, is_last_first: bool, spell: Callable[[str], str]) -> None:
        """One event arrives, or all that are under way."""
        for user in self.events[::-1][:many] if is_last_first else self.events[:many]:
            self.events.remove(user)
            self._pass()
            self.registrations.changed(spell(user))
            self._told(user)

    @rule(seconds=st.sampled_from(STEPS))
    def wait(self, seconds: float) -> None:
        """Meanwhile other users register, of whom nobody asks."""
        self._pass(seconds)
        self.registrations.changed("somebody")

    def _pass(self, seconds: float = 0.01) -> None:
        self.clock.now += seconds
        overdue = sum(due <= self.clock.now for due, _, _ in self.queue)
        self._delete(overdue)

    def _delete(self, many: int) -> None:
        for _, user, port in self.queue[:many]:
            self._write(user, self.rows[user] - {port})
        del self.queue[:many]

    @precondition(lambda self: len(self.questions) < 5)
    @rule()
    def ask(self) -> None:
        self.questions.append(Question(self.clock.now))

    def _answered(self, question: Question) -> None:
        question.said = {each: phones(*sorted(self.rows[each.user.lower()])) for each in ENDPOINTS}

    @precondition(lambda self: self.questions)
    @rule(which=st.integers(0, 4))
    def answer(self, which: int) -> None:
        question = self.questions[which % len(self.questions)]
        if question.said is None:
            self._answered(question)

    @precondition(lambda self: any(question.said for question in self.questions))
    @rule()
    def keep(self) -> None:
        question = next(question for question in self.questions if question.said)
        self.questions.remove(question)
        self.registrations.keep(SWITCH, question.said or {}, question.asked_at)

    @rule()
    def ask_and_keep(self) -> None:
        """As most calls do."""
        self._pass()
        question = Question(self.clock.now)
        self._answered(question)
        self.registrations.keep(SWITCH, question.said or {}, question.asked_at)

    @precondition(lambda self: self.is_heard)
    @rule()
    def start_a_profile(self) -> None:
        self.registrations.changed("")
        self._told(*USERS)

    @precondition(lambda self: self.is_heard)
    @rule()
    def lose_the_connection(self) -> None:
        self.registrations.subscribed("")
        self.is_heard, self.events = False, []

    @precondition(lambda self: not self.is_heard)
    @rule()
    def connect(self) -> None:
        self.registrations.subscribed(SWITCH)
        self.is_heard = True
        self._told(*USERS)

    @invariant()
    def what_is_known_is_so(self) -> None:
        for endpoint in ENDPOINTS:
            user = endpoint.user.lower()
            known = self.registrations.known(SWITCH, [endpoint])
            if known is not None:
                assert self.is_heard
                true = [self.rows[user]] if user not in self.events else self.seen[user]
                assert known[endpoint] in [phones(*sorted(ports)) for ports in true]


def test_what_is_known_is_what_freeswitch_would_say() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=400, stateful_step_count=50, deadline=None))


# --- who tells --------------------------------------------------------------------------------------------

CORE = {"global_getvar core_uuid": SWITCH}
HEARD = ("info", {"event": "registration events: subscribed", "switch": SWITCH})


def lost(reason: str) -> tuple[str, dict[str, Any]]:
    return "warning", {"event": "registration events: unavailable, querying on every call", "reason": reason}


BROKE_OFF = lost("FreeSWITCH closed the connection")
WRONG_PASSWORD = lost("FreeSWITCH's Event Socket refused the password (setting event_socket_password)")
REFUSED = lost("FreeSWITCH's Event Socket refuses fsroute's address (apply-inbound-acl in event_socket.conf.xml)")
GREETING = b"Content-Type: auth/request\n\n"
RUDE = b"Content-Type: text/rude-rejection\nContent-Length: 0\n\n"


def changed(user: str) -> tuple[str, dict[str, Any]]:
    return "debug", {"event": "registrations changed", "user": user}


class Log(CapturingLogger):
    """What was logged, by any thread."""

    @property
    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        return [(call.method_name, {"event": call.args[0], **call.kwargs}) for call in self.calls]

    def wait(self, *lines: tuple[str, dict[str, Any]]) -> None:
        """Waits until exactly this has been logged."""
        deadline = time.monotonic() + WAIT_S
        while len(self.lines) < len(lines) and time.monotonic() < deadline:
            time.sleep(0.002)
        assert self.lines == list(lines)


@dataclass
class Listening:
    server: EventSocketServer
    registrations: Registrations
    clock: Clock
    log: Log

    def know(self) -> None:
        """Asks for the phones of everybody, once that has settled."""
        self.clock.now += SETTLED_S + 0.1
        self.registrations.keep(SWITCH, {ANNA: phones(1), AT_HOME: phones(2), BEN: phones(3)}, self.clock.now)
        assert self.known == [ANNA, AT_HOME, BEN]

    @property
    def known(self) -> list[EndpointDial]:
        return [each for each in (ANNA, AT_HOME, BEN) if self.registrations.known(SWITCH, [each])]


@contextmanager
def listening(password: str = PASSWORD, **changes: Any) -> Iterator[Listening]:
    """A switch, and a listener to it."""
    with (
        EventSocketServer([], **({"api": CORE} | changes)) as server,
        started(server.address, password) as (found, clock, log),
    ):
        yield Listening(server, found, clock, log)


@contextmanager
def started(address: tuple[str, int], password: str = PASSWORD) -> Iterator[tuple[Registrations, Clock, Log]]:
    """A listener, which ends with its connection once this is left."""
    clock, log = Clock(), Log()
    found = Registrations(SECONDS, clock)
    listener = Listener(found, address, password, 5.0, log)
    listener.start()
    try:
        yield found, clock, log
    finally:
        listener.stopped.set()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "registrations":
            thread.join(WAIT_S)
            assert not thread.is_alive()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries anew after hundredths of seconds."""
    monkeypatch.setattr(registrations, "_RECONNECT_S", 0.01)
    monkeypatch.setattr(registrations, "_RECONNECT_MOST_S", 0.04)


def test_it_asks_for_the_events_and_then_who_it_is() -> None:
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
    assert [command.name for command in heard.server.commands] == [
        f"auth {PASSWORD}",
        "event plain PUBLISH UNPUBLISH CUSTOM sofia::register sofia::unregister sofia::expire",
        "api global_getvar core_uuid",
    ]


@pytest.mark.parametrize("subclass", ["sofia::register", "sofia::unregister", "sofia::expire"])
@pytest.mark.parametrize(("user", "printed"), [("ANNA", "'ANNA'"), ("anna", "'anna'")])
def test_a_users_registrations_have_changed(subclass: str, user: str, printed: str) -> None:
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
        heard.server.tell(of_user(subclass, user))
        heard.log.wait(HEARD, changed(printed))
        assert heard.known == [BEN]


def test_a_variable_of_the_directory_is_not_taken_for_the_user() -> None:
    """FreeSWITCH adds the user's variables to sofia::register, and one may be called "user"."""
    event = of_user("sofia::register", "anna")
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
        heard.server.tell(replace(event, headers={**event.headers, "user": "1002"}))
        heard.log.wait(HEARD, changed("'anna'"))
        assert heard.known == [BEN]


@pytest.mark.parametrize(
    "event",
    [
        of_profile("PUBLISH"),
        of_profile("UNPUBLISH"),
        of_user("sofia::expire", ""),
        Event("CUSTOM", {"Event-Subclass": "sofia::register"}),
    ],
    ids=["a profile starts", "a profile has stopped", "an empty name", "no name"],
)
def test_everybodys_registrations_have_changed(event: Event) -> None:
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
        heard.server.tell(event)
        heard.log.wait(HEARD, changed("all"))
        assert heard.known == []


def test_a_user_can_write_neither_headers_nor_the_log() -> None:
    hostile = "1002\nuser: anna\x1b[2J"
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
        heard.server.tell(of_user("sofia::register", hostile))
        heard.log.wait(HEARD, changed(r"'1002\nuser: anna\x1b[2J'"))
        assert heard.known == [ANNA, AT_HOME, BEN]


def test_events_that_come_before_the_answer_are_not_lost() -> None:
    early = of_user("sofia::register", "anna").plain()
    answer = f"Content-Type: api/response\nContent-Length: {len(SWITCH)}\n\n{SWITCH}".encode()
    with listening(replies={"api": early + answer}) as heard:
        heard.log.wait(HEARD, changed("'anna'"))
        heard.know()


@pytest.mark.usefixtures("impatient")
def test_while_freeswitch_is_away_nothing_is_known_and_afterwards_it_is_again() -> None:
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
        heard.server.greeting = RUDE
        heard.server.tell(None)
        heard.log.wait(HEARD, BROKE_OFF, REFUSED)
        assert heard.known == []
        heard.clock.now += SETTLED_S + 0.1
        heard.registrations.keep(SWITCH, {ANNA: phones(1)}, heard.clock.now)
        assert heard.known == []
        heard.server.greeting = GREETING
        heard.log.wait(HEARD, BROKE_OFF, REFUSED, HEARD)
        assert heard.known == []
        heard.know()
        heard.server.tell(of_user("sofia::expire", "1002"))
        heard.log.wait(HEARD, BROKE_OFF, REFUSED, HEARD, changed("'1002'"))
        assert heard.known == [ANNA, AT_HOME]


GARBAGE: dict[str, tuple[bytes, str]] = {
    "another kind of frame": (b"Content-Type: log/data\nContent-Length: 1\n\n!", "unexpected frame 'log/data'"),
    "no frame": (b"\x00\xff\n\n", "frame without Content-Type"),
    "a body without end": (
        b"Content-Type: text/event-plain\nContent-Length: 999999999\n\n",
        "Content-Length '999999999': not a number up to 262144",
    ),
    "a farewell": (b"Content-Type: text/disconnect-notice\nContent-Length: 4\n\nBye.", "FreeSWITCH closed the connection"),
}


@pytest.mark.parametrize(("said", "reason"), GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_the_connection_and_not_the_listening(said: bytes, reason: str) -> None:
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
        heard.server.tell(said)
        heard.log.wait(HEARD, lost(reason), HEARD)
        assert heard.known == []
        heard.know()


def test_an_event_without_sense_forgets_everything() -> None:
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.know()
        heard.server.tell(b"Content-Type: text/event-plain\nContent-Length: 4\n\n\xff\xfe\n\n")
        heard.log.wait(HEARD, changed("all"))
        assert heard.known == []


@pytest.mark.usefixtures("impatient")
def test_an_outage_is_told_once_however_often_it_is_tried() -> None:
    with listening(password="other") as heard:  # noqa: S106 - a wrong one
        wait_until(lambda: len(heard.server.commands) >= 4)
        heard.log.wait(WRONG_PASSWORD)
        assert {command.name for command in heard.server.commands} == {"auth other"}


@pytest.mark.usefixtures("impatient")
def test_each_outage_is_told() -> None:
    with listening() as heard:
        heard.log.wait(HEARD)
        heard.server.tell(None)
        heard.log.wait(HEARD, BROKE_OFF, HEARD)
        heard.server.tell(None)
        heard.log.wait(HEARD, BROKE_OFF, HEARD, BROKE_OFF, HEARD)


@pytest.mark.usefixtures("impatient")
def test_a_freeswitch_that_starts_late_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    nobody = lost(f"FreeSWITCH's Event Socket at 127.0.0.1:{address[1]} cannot be reached: Connection refused")
    with started(address) as (found, clock, log):
        log.wait(nobody)
        with EventSocketServer([], api=CORE, port=address[1]) as server:
            log.wait(nobody, HEARD)
            Listening(server, found, clock, log).know()


def test_the_pause_between_attempts_grows() -> None:
    tried = []
    with socket.create_server(("127.0.0.1", 0)) as closing, started(closing.getsockname()):
        closing.settimeout(WAIT_S)
        for _ in range(3):
            closing.accept()[0].close()
            tried.append(time.monotonic())
    assert [tried[1] - tried[0], tried[2] - tried[1]] == [pytest.approx(0.5, abs=0.3), pytest.approx(1.0, abs=0.3)]


def test_the_password_is_not_in_its_picture() -> None:
    listener = Listener(Registrations(0), ("127.0.0.1", 8021), "hunter2", 1.0, Log())
    assert "hunter2" not in repr(listener)


# --- calls ------------------------------------------------------------------------------------------------

N300 = "+492214710300"
"""Rings the phones of 1001, 1003 and 1004 together."""


@pytest.fixture
def switch() -> Iterator[EventSocketServer]:
    with EventSocketServer([], api=CORE) as server:
        yield server


@contextmanager
def served(switch: EventSocketServer, directory: Path, *flags: str) -> Iterator[Server]:
    """`fsroute serve` that may listen at this switch."""
    host, port = switch.address
    given = ("--event-socket", f"{host}:{port}", "--event-socket-password", PASSWORD, "--log-level", "debug", *flags)
    with serving(demo_database(directory / "demo.db"), directory, *given) as server:
        yield server


@dataclass
class Phone:
    """What `sofia_contact` says, and how often it was asked."""

    port: int = 5060
    asked: int = 0

    def contact(self, profile: str, address: str) -> str:
        self.asked += 1
        return f"sofia/{profile}/sip:{address.partition('@')[0]}@192.0.2.1:{self.port}"


def rings(server: Server, phone: Phone, core: str = SWITCH, **variables: str) -> tuple[int, list[tuple[str, str]]]:
    """One call: how many questions FreeSWITCH was asked, and the first bridge with all that went before it."""
    channel = carrier_channel(N300, **variables)
    channel.profile["Core-UUID"] = core
    channel.contact, asked = phone.contact, phone.asked
    with server.connect() as sock:
        told = applications(converse(sock, channel, until="bridge").commands)
    return phone.asked - asked, told


def until_known(server: Server, phone: Phone) -> None:
    wait_until(lambda: rings(server, phone)[0] == 0)


def bridged(told: list[tuple[str, str]]) -> str:
    return told[-1][1]


def test_what_is_known_is_not_asked_for_until_it_changes(switch: EventSocketServer, tmp_path: Path) -> None:
    phone = Phone()
    with served(switch, tmp_path) as server:
        server.wait_for("registration events: subscribed")
        heard_at = time.monotonic()
        asked, first = rings(server, phone)
        assert (asked, [name for name, _ in first]) == (3, ["connect", "connect", "ring_ready", "bridge"])
        until_known(server, phone)
        assert time.monotonic() - heard_at > SETTLED_S - 0.5
        assert rings(server, phone) == (0, [first[0], *first[2:]])  # without the question it is the same
        # The registrations that this call may ring are not those of all calls.
        for variable in ("sip_exclude_contact", "sip_match_user_agent"):
            assert rings(server, phone, **{variable: "192.0.2.7"}) == (3, first)
        assert [rings(server, phone, core)[0] for core in (OTHER_SWITCH, "")] == [3, 3]
        assert rings(server, phone)[0] == 0
        phone.port = 5070
        switch.tell(of_user("sofia::register", "1003"))
        assert server.wait_for("registrations changed")[-1]["user"] == "'1003'"
        asked, anew = rings(server, phone)
        assert (asked, bridged(anew)) == (3, bridged(first).replace(":5060", ":5070"))
        until_known(server, phone)
        assert bridged(rings(server, phone)[1]) == bridged(anew)
        # A lost connection: nothing is known until FreeSWITCH is heard again, and that has settled.
        switch.tell(None)
        server.wait_for("registration events: subscribed", 2)
        assert rings(server, phone)[0] == 3
        until_known(server, phone)


def test_phones_that_are_known_not_to_be_registered_are_not_asked_for(switch: EventSocketServer, tmp_path: Path) -> None:
    with served(switch, tmp_path) as server:
        server.wait_for("registration events: subscribed")
        channel = carrier_channel(N300)
        questions = 3

        def absent(profile: str, address: str) -> str:
            nonlocal questions
            questions += 1
            return "error/user_not_registered"

        while questions:
            questions = 0
            channel = carrier_channel(N300)
            channel.profile["Core-UUID"] = SWITCH
            channel.contact = absent
            with server.connect() as sock:
                converse(sock, channel)
        assert applications(channel.commands) == [("connect", ""), ("hangup", "SUBSCRIBER_ABSENT")]


@pytest.mark.parametrize("flags", [("--contact-seconds", "0"), ("--event-socket-password", "")], ids=["0", "no password"])
def test_who_wants_to_ask_always_does_not_listen(switch: EventSocketServer, tmp_path: Path, flags: tuple[str, str]) -> None:
    with served(switch, tmp_path, *flags) as server:
        assert [rings(server, Phone())[0] for _ in range(3)] == [3] * 3
        assert server.lines("registration events: subscribed") == []
    assert switch.commands == []


def test_who_is_not_told_asks_in_every_call(switch: EventSocketServer, tmp_path: Path) -> None:
    with served(switch, tmp_path, "--event-socket-password", "other") as server:
        (line,) = server.wait_for("registration events: unavailable, querying on every call")
        assert (line["level"], line["reason"]) == ("warning", WRONG_PASSWORD[1]["reason"])
        assert [rings(server, Phone())[0] for _ in range(3)] == [3] * 3


def test_who_listens_ends_as_fast_as_others(switch: EventSocketServer, tmp_path: Path) -> None:
    with served(switch, tmp_path) as server:
        server.wait_for("registration events: subscribed")
        server.terminate()
        assert server.process.wait(WAIT_S) == 0
        assert server.lines()[-1]["event"] == "stopped"
