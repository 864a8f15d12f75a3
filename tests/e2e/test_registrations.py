"""fsroute that FreeSWITCH tells of registrations: calls ring the phones that are registered now, asked for or not.

The switch is this file's own: its registrations expire at the second, and its SIP profile is stopped.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import Process, demo_password, idle
from tests.support.sip import Carrier, MakePhone, Phone, Ring
from tests.support.switch import CONFIGURATION, IP, Switch, find_freeswitch
from tests.support.wait import wait_until

NUMBER = "+492214710602"
"""Rings 1001, and then 1003."""

WAIT_S = 20.0

AT_THE_SECOND = """
    <param name="sip-expires-late-margin" value="0"/>
    <param name="registration-thread-frequency" value="1"/>
  </settings>"""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def running_switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    if find_freeswitch() is None:
        pytest.skip("NOT RUN: registrations that FreeSWITCH tells of: they need a FreeSWITCH of their own, none was found")
    configuration = tmp_path_factory.mktemp("registrations") / "conf"
    shutil.copytree(CONFIGURATION, configuration)
    profile = configuration / "sip_profiles" / "internal.xml"
    profile.write_text(profile.read_text().replace("\n  </settings>", AT_THE_SECOND))
    with Switch(configuration=configuration) as switch:
        yield switch


class Line:
    """A way to FreeSWITCH's event socket that can be cut."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.port = 0
        self._to = to
        self._sockets: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        listener = socket.create_server((IP, self.port))
        self.port = listener.getsockname()[1]
        self._sockets = [listener]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        for sock in self._sockets:
            with suppress(OSError):  # the other side has closed it
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._sockets += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # cut
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def line(running_switch: Switch) -> Iterator[Line]:
    between = Line(running_switch.event_socket)
    yield between
    between.cut()


@pytest.fixture(scope="module")
def running_fsroute(
    running_switch: Switch, line: Line, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    flags = ("--event-socket", f"{IP}:{line.port}", "--event-socket-password", running_switch.password)
    fsroute = Process(running_switch.socket_port, database, tmp_path_factory.mktemp("fsroute") / "log", *flags)
    fsroute.start()
    yield fsroute
    fsroute.stop()


@pytest.fixture
def switch(running_switch: Switch) -> Iterator[Switch]:
    """Overrides the one that runs both ways in: this is about the socket, and about a switch of its own."""
    with idle(running_switch):
        yield running_switch


@pytest.fixture
def fsroute(switch: Switch, running_fsroute: Process) -> Process:
    return running_fsroute


@dataclass
class Office:
    switch: Switch
    fsroute: Process
    carrier: Carrier
    other: Phone
    """1003, which is registered too."""

    def asked(self) -> int:
        """How often FreeSWITCH was asked for phones, by what it says that it executed. A mark of ours ends its log."""
        mark, log = secrets.token_hex(8), self.switch.path / "log" / "freeswitch.log"
        self.switch.api(f"log NOTICE {mark}")
        wait_until(lambda: mark in log.read_text("utf-8", "replace"), "a line in FreeSWITCH's log")
        return log.read_text("utf-8", "replace").count(" set(fsroute_contacts=")

    def told(self) -> list[str]:
        """Whose registrations fsroute was told of."""
        return [line["user"] for line in self.fsroute.lines() if line["event"] == "registrations changed"]

    def rings(self, *phones: Phone) -> bool:
        """Whether FreeSWITCH was asked for phones in a call that rings these first."""
        asked = self.asked()
        placed = self.carrier.call(NUMBER)
        for phone in phones:
            phone.wait_invite()
        placed.cancel()
        placed.wait_end()
        self.switch.wait_idle()
        return self.asked() > asked

    def until_known(self, *phones: Phone) -> None:
        """Calls until nobody is asked any more."""
        wait_until(lambda: not self.rings(*phones), "a call that asks for no phones")

    @property
    def reasons(self) -> list[str]:
        """Of the last decision."""
        return list(self.fsroute.routed()[-1]["reasons"])


@pytest.fixture
def office(switch: Switch, fsroute: Process, carrier: Carrier, phone: MakePhone) -> Office:
    return Office(switch, fsroute, carrier, phone("1003", Ring()))


NOT_REGISTERED = "not_registered: endpoint 1001"


def test_what_is_known_is_not_asked_for(office: Office, phone: MakePhone) -> None:
    desk = phone("1001", Ring())
    assert office.rings(desk)
    asked_for = office.reasons
    office.until_known(desk)
    assert [office.rings(desk) for _ in range(3)] == [False] * 3
    assert office.reasons == asked_for


def test_a_phone_that_moves_rings_where_it_is_now(office: Office, phone: MakePhone) -> None:
    before = phone("1001", Ring())
    office.until_known(before)
    told, calls = len(office.told()), len(before.calls)
    now = phone("1001", Ring())
    before.unregister()
    wait_until(lambda: len(office.told()) >= told + 2, "word of both")
    assert office.rings(now)
    office.until_known(now)
    assert (office.told()[told:], len(before.calls)) == (["'1001'"] * 2, calls)


def test_a_second_phone_of_the_same_user_rings_too(office: Office, phone: MakePhone) -> None:
    first = phone("1001", Ring())
    office.until_known(first)
    told = len(office.told())
    second = phone("1001", Ring())
    wait_until(lambda: office.told()[told:], "word of the registration")
    assert office.rings(first, second)
    office.until_known(first, second)


def test_who_was_not_registered_rings_once_they_are(office: Office, phone: MakePhone) -> None:
    office.until_known(office.other)
    assert NOT_REGISTERED in office.reasons
    told = len(office.told())
    desk = phone("1001", Ring())
    wait_until(lambda: office.told()[told:], "word of the registration")
    assert office.rings(desk)
    assert NOT_REGISTERED not in office.reasons


def unregisters(office: Office, desk: Phone) -> None:
    desk.unregister()


def is_flushed(office: Office, desk: Phone) -> None:
    office.switch.api("sofia profile internal flush_inbound_reg 1001@acme.example")


def is_flushed_with_all_others(office: Office, desk: Phone) -> None:
    office.switch.api("sofia profile internal flush_inbound_reg")
    wait_until(lambda: not office.switch.registered("1003"), "the end of all registrations")
    assert office.other.register() == 200


def expires(office: Office, desk: Phone) -> None:
    """Nothing is done: the registration was for a few seconds."""


ENDS = [unregisters, is_flushed, is_flushed_with_all_others, expires]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: str(end.__name__))
def test_who_is_registered_no_more_does_not_ring(office: Office, end: Callable[[Office, Phone], None]) -> None:
    switch = office.switch
    with Phone("1001", demo_password(switch), "acme.example", switch.internal) as desk:
        assert desk.register(expires=5 if end is expires else 300) == 200
        office.until_known(desk)
        told, calls = len(office.told()), len(desk.calls)
        end(office, desk)
        wait_until(lambda: "'1001'" in office.told()[told:] and not switch.registered("1001"), "word of the end")
        assert office.rings(office.other)
        assert NOT_REGISTERED in office.reasons
        office.until_known(office.other)
        assert len(desk.calls) == calls


def up_for_long_enough(switch: Switch, command: str) -> None:
    """Stops or restarts the profile, which FreeSWITCH refuses in its first ten seconds."""
    wait_until(
        lambda: "ing: internal" in switch.api(f"sofia profile internal {command}", WAIT_S), f"{command} of the profile"
    )


def test_a_profile_that_restarts_has_the_phones_of_before(office: Office, phone: MakePhone) -> None:
    desk = phone("1001", Ring())
    office.until_known(desk)
    told = len(office.told())
    up_for_long_enough(office.switch, "restart")
    wait_until(lambda: office.told()[told:] == ["all"] * 2, "word of its end and of its start")
    wait_until(lambda: office.switch.registered("1001"), "the profile")
    assert office.rings(desk)
    office.until_known(desk)


def test_a_profile_that_starts_slowly_has_the_phones_of_before(office: Office, phone: MakePhone) -> None:
    """While its port is not free, for five seconds here, its phones are not registered. That must not be kept."""
    desk = phone("1001", Ring())
    office.until_known(desk)
    told = len(office.told())
    up_for_long_enough(office.switch, "stop")
    wait_until(lambda: office.told()[told:] == ["all"], "word of its end")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(office.switch.internal)
        office.switch.api("sofia profile internal start", WAIT_S)
        wait_until(lambda: not asks_and_ends(office), "a call that asks for no phones")
        assert NOT_REGISTERED in office.fsroute.routed()[-2]["reasons"]
    wait_until(lambda: office.told()[told:] == ["all"] * 2, "word of its start")
    wait_until(lambda: office.switch.registered("1001"), "the profile")
    assert office.rings(desk)


def asks_and_ends(office: Office) -> bool:
    """Whether FreeSWITCH was asked for phones in a call for which there are none."""
    asked = office.asked()
    assert office.carrier.call(NUMBER).wait_final() == 480
    return office.asked() > asked


def test_while_freeswitch_tells_nothing_every_call_asks(office: Office, phone: MakePhone, line: Line) -> None:
    desk = phone("1001", Ring())
    office.until_known(desk)
    lost, heard = "registration events: unavailable, querying on every call", "registration events: subscribed"
    times = office.fsroute.events().count(heard)
    line.cut()
    wait_until(lambda: lost in office.fsroute.events(), "word of the loss")
    assert [office.rings(desk) for _ in range(3)] == [True] * 3
    line.mend()
    wait_until(lambda: office.fsroute.events().count(heard) > times, "word of the new connection")
    office.until_known(desk)


def test_another_fsroute_knows_nothing_of_before(office: Office, phone: MakePhone) -> None:
    desk = phone("1001", Ring())
    office.until_known(desk)
    office.fsroute.kill()
    office.fsroute.start()
    assert office.rings(desk)
    office.until_known(desk)
