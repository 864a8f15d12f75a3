"""Which worker has which sockets, and sockets that a service manager passes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from fsroute.errors import ConfigError
from fsroute.serving import listening
from fsroute.serving.listening import Listening


@pytest.fixture
def ports() -> Iterator[Listening]:
    bound = listening.bind(("127.0.0.1", 0))
    yield bound
    bound.close()


def test_each_worker_has_a_socket_of_its_own_on_one_port(ports: Listening) -> None:
    divided = ports.divide(3)
    assert [len(each) for each in divided] == [1, 1, 1]
    assert len(set(divided)) == 3
    assert len({each.getsockname() for each in ports.bound}) == 1
    assert ports.divide(3) == divided
    assert ports.address == f"127.0.0.1:{ports.bound[0].getsockname()[1]}"


def test_fewer_workers_have_the_sockets_of_more(ports: Listening) -> None:
    (a,), (b,), (c,) = ports.divide(3)
    assert ports.divide(2) == [(a, c), (b,)]
    assert ports.divide(1) == [(a, b, c)]


def test_a_port_that_does_not_listen_refuses(ports: Listening) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(ports.bound[0].getsockname())


def test_a_port_that_another_program_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConfigError, match="another program"):
        listening.bind(("127.0.0.1", other.getsockname()[1]))


def test_sockets_that_were_not_made_to_be_shared_are_shared_by_the_workers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = given.fileno()
        assert Listening([given], activated=False).divide(2) == [(number,), (number,)]
        assert Listening([given, given], activated=True).divide(3) == [(number, number)] * 3


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
     {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}],
)  # fmt: skip
def test_no_sockets_for_this_process(environment: dict[str, str]) -> None:
    assert listening.activated(environment, os.getpid()) is None


@pytest.mark.parametrize("kind", ["datagram", "unix", "not listening", "file", "closed"])
def test_what_is_passed_must_listen(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    if kind == "datagram":
        made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    elif kind == "unix":
        made.append(socket.socket(socket.AF_UNIX))
    elif kind == "not listening":
        made.append(socket.socket())
    descriptor = made[0].detach() if made else os.open("/dev/null", os.O_RDONLY)
    if kind == "closed":
        os.close(descriptor)
    monkeypatch.setattr(listening, "FIRST_ACTIVATED", descriptor)
    with pytest.raises(ConfigError, match=f"^LISTEN_FDS: descriptor {descriptor}"):
        listening.activated({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, 7)


def test_passed_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        monkeypatch.setattr(listening, "FIRST_ACTIVATED", os.dup(held.fileno()))
        found = listening.activated({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, 7)
        assert found is not None
        assert found.activated
        assert [each.getsockname() for each in found.bound] == [held.getsockname()]
        assert not found.bound[0].get_inheritable()
        found.close()
