"""The link between two machines is measured over real connections of this one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from mixnet_core.host.link import Listener, hello, probe, push

HERE, TOKEN = "127.0.0.1", "t"


@contextmanager
def relay(port: int, bytes_a_second: float) -> Iterator[int]:
    """Passes one connection on to a port, slowly towards it; yields its own port."""
    with socket.create_server((HERE, 0)) as server:
        # What waits in this machine's buffers has arrived, for who sent it.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)

        def work() -> None:
            connection, _ = server.accept()
            with connection, socket.create_connection((HERE, port)) as there, suppress(OSError):
                back = threading.Thread(target=copied, args=(there, connection))
                back.start()
                copied(connection, there, bytes_a_second)
                there.shutdown(socket.SHUT_RDWR)
                back.join()

        thread = threading.Thread(target=work)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def copied(one: socket.socket, other: socket.socket, bytes_a_second: float = 1e12) -> None:
    with suppress(OSError):
        while data := one.recv(1 << 16):
            time.sleep(len(data) / bytes_a_second)
            other.sendall(data)


@contextmanager
def wrong_clock(ahead: float) -> Iterator[int]:
    """Answers as a listener whose clock is wrong; yields its port."""
    with socket.create_server((HERE, 0)) as server:

        def work() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                lines.readline()
                connection.sendall(b"ok\n")
                while lines.readline():
                    connection.sendall(f"{time.time() + ahead:.6f}\n".encode())

        thread = threading.Thread(target=work)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_round_trip_clock_and_rate_of_a_link_are_measured() -> None:
    with Listener(HERE, TOKEN) as listener:
        found = probe(HERE, listener.port, TOKEN, seconds=5)
        assert 0 < found.round_trip < 1
        # It is one clock.
        assert abs(found.skew.seconds) <= found.skew.within + 1e-4
        rate = push(HERE, listener.port, TOKEN, count=1 << 22, seconds=5, reach_seconds=5)
        assert rate > 1e6


@pytest.mark.parametrize("ahead", [7.5, -3600.0])
def test_a_clock_that_is_wrong_is_seen_on_both_sides_of_right(ahead: float) -> None:
    with wrong_clock(ahead) as port:
        skew = probe(HERE, port, TOKEN, seconds=5).skew
    assert skew.seconds == pytest.approx(ahead, abs=0.2)


def test_a_slow_way_is_measured_by_what_arrived_in_time() -> None:
    with Listener(HERE, TOKEN) as listener, relay(listener.port, 4e6) as port:
        began = time.monotonic()
        rate = push(HERE, port, TOKEN, count=1 << 24, seconds=1, reach_seconds=5)
        assert time.monotonic() - began < 3
    # What waits in this end's buffers would make it 5 or 6.
    assert 0.3e6 < rate < 4.5e6


def test_a_machine_that_takes_a_connection_and_says_nothing_costs_the_limit() -> None:
    with socket.create_server((HERE, 0)) as mute:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            probe(HERE, mute.getsockname()[1], TOKEN, seconds=0.3)
        with pytest.raises(TimeoutError):
            push(HERE, mute.getsockname()[1], TOKEN, count=1, seconds=9, reach_seconds=0.3)
        assert 0.5 < time.monotonic() - began < 3


def test_who_does_not_know_the_token_learns_nothing() -> None:
    with Listener(HERE, TOKEN) as listener:
        with pytest.raises(ConnectionError):
            probe(HERE, listener.port, "another", seconds=5)
        # And nobody says hello to one that does not ask for it.
        with pytest.raises(ConnectionError):
            hello(HERE, listener.port, TOKEN, {}, seconds=5)


def test_a_hello_is_answered_and_says_where_it_came_from() -> None:
    with Listener(HERE, TOKEN, hello=lambda said, there: {"got": said, "from": there}) as listener:
        answer = hello(HERE, listener.port, TOKEN, {"host": 1}, seconds=5)
    assert answer == {"got": {"host": 1}, "from": HERE}


def test_a_port_that_is_taken_is_refused_at_once() -> None:
    with Listener(HERE, TOKEN) as listener, pytest.raises(OSError, match="in use"):
        Listener(HERE, TOKEN, listener.port)
