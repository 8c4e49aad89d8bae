"""The link to another machine: whether it answers, round trip, its clock, bytes a second.

One side listens (`Listener`), the other asks: a line a question, a line an answer.

    mixnet-link TOKEN     -> "ok"; who does not know the token is hung up on
    time                  -> seconds since 1970, by the listener's clock
    take COUNT, bytes     -> "took", once they are all there
    hello JSON            -> JSON, as the listener's owner says

Nobody waits longer than was said: a machine that takes a connection and says nothing is mute.
"""

from __future__ import annotations

import fcntl
import json
import socket
import statistics
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from mixnet_core.host.clock import Skew

_GREETING = "mixnet-link"
_ROUND_TRIPS = 16
_PIECE = 1 << 20
_LONGEST_LINE = 4096
# Who is silent for longer is not asking any more.
_IDLE_SECONDS = 60.0
_MOST_CONNECTIONS = 512

Hello = Callable[[dict[str, Any], str], Mapping[str, Any]]
"""(what was said, the address it came from) -> what is answered."""


@dataclass(frozen=True)
class Probe:
    """Holds what a few questions showed.

    Attributes:
        round_trip: seconds; the median.
        skew: of the other's clock: how far it is ahead of this one, by the quickest round trip.
    """

    round_trip: float
    skew: Skew


class Listener:
    """Answers who knows the token, from threads of its own, as a context.

    Args:
        address: of this machine, in numbers.
        token: without spaces.
        port: None: any free one.
        hello: answers a hello; None: nobody may say it.

    Attributes:
        port: that it listens on.

    Raises:
        OSError: the address is not this machine's, or the port is taken.
    """

    def __init__(
        self, address: str, token: str, port: int | None = None, hello: Hello | None = None
    ) -> None:
        self._token, self._hello = token, hello
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port or 0), family=family, backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._thread = threading.Thread(target=self._accept, name="link", daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # Closing alone does not wake who accepts.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, there = self._socket.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection, there[0]), daemon=True).start()

    def _serve(self, connection: socket.socket, there: str) -> None:
        try:
            with connection, suppress(OSError, ValueError):
                wire = _Wire(connection, _IDLE_SECONDS)
                if wire.read() == f"{_GREETING} {self._token}":
                    wire.send(b"ok\n")
                    while (answer := self._answer(wire, there)) is not None:
                        wire.send(f"{answer}\n".encode())
        finally:
            self._room.release()

    def _answer(self, wire: _Wire, there: str) -> str | None:
        """Answers one question; None: there is no such one."""
        wire.deadline = time.monotonic() + _IDLE_SECONDS
        asked, _, rest = wire.read().partition(" ")
        if asked == "time":
            return f"{time.time():.6f}"
        if asked == "take":
            wire.skip(int(rest))
            return "took"
        if asked == "hello" and self._hello is not None:
            return json.dumps(self._hello(json.loads(rest), there))
        return None


def probe(address: str, port: int, token: str, *, seconds: float) -> Probe:
    """Asks a listener for the time a few times.

    Args:
        seconds: that all of it may take.

    Raises:
        OSError: it cannot be reached; TimeoutError: it does not answer in time.
    """
    with _let_in(address, port, token, seconds) as wire:
        trips: list[tuple[float, float]] = []
        for _ in range(_ROUND_TRIPS):
            before, began = time.time(), time.monotonic()
            theirs = float(wire.ask("time"))
            took = time.monotonic() - began
            trips.append((took, theirs - (before + took / 2)))
            # Of a slow link a few say enough.
            if len(trips) > 2 and wire.deadline - time.monotonic() < 4 * took:
                break
    quickest, ahead = min(trips)
    return Probe(statistics.median(took for took, _ in trips), Skew(ahead, quickest / 2))


def push(
    address: str, port: int, token: str, *, count: int, seconds: float, reach_seconds: float
) -> float:
    """Sends bytes to a listener; returns how many a second arrived there.

    What is slow is measured by what arrived in time.

    Args:
        count: bytes, at most.
        seconds: that sending them may take.
        reach_seconds: that being let in may take before that.

    Raises:
        OSError: it cannot be reached; TimeoutError: it lets nobody in, or nothing arrived.
    """
    piece = memoryview(bytes(_PIECE))
    with _let_in(address, port, token, reach_seconds) as wire:
        wire.deadline = time.monotonic() + seconds
        began = time.monotonic()
        sent = 0
        try:
            wire.send(f"take {count}\n".encode())
            while sent < count:
                sent += wire.send_some(piece[: min(_PIECE, count - sent)])
            wire.read()
            arrived = count
        except TimeoutError:
            arrived = max(0, sent - wire.waiting())
        took = time.monotonic() - began
    if not arrived:
        raise TimeoutError("nothing arrived")
    return arrived / took


def hello(
    address: str, port: int, token: str, said: Mapping[str, Any], *, seconds: float
) -> dict[str, Any]:
    """Says something to a listener; returns what it answers.

    Raises:
        OSError: it cannot be reached, or is another one; TimeoutError: it does not answer in time.
    """
    with _let_in(address, port, token, seconds) as wire:
        try:
            answer = json.loads(wire.ask(f"hello {json.dumps(said)}"))
        except ValueError as error:
            raise ConnectionError("something else answers there") from error
    if not isinstance(answer, dict):
        raise ConnectionError("something else answers there")
    return answer


class _Wire:
    """Sends and reads over a connection; nothing takes longer than its deadline.

    Args:
        seconds: until the deadline.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self._socket, self._got = connection, bytearray()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def left(self) -> float:
        """Returns the seconds until the deadline.

        Raises:
            TimeoutError: there are none.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def ask(self, question: str) -> str:
        """Returns the line that a line is answered with."""
        self.send(f"{question}\n".encode())
        return self.read()

    def send(self, data: bytes) -> None:
        self._socket.settimeout(self.left)
        self._socket.sendall(data)

    def send_some(self, data: memoryview) -> int:
        """Sends what there is room for; returns how many bytes that was."""
        self._socket.settimeout(self.left)
        return self._socket.send(data)

    def read(self) -> str:
        """Returns the next line."""
        while (end := self._got.find(b"\n")) < 0:
            self._socket.settimeout(self.left)
            data = self._socket.recv(_LONGEST_LINE)
            if not data or len(self._got) > _LONGEST_LINE:
                raise ConnectionError("it hangs up")
            self._got += data
        line = self._got[:end].decode(errors="replace")
        del self._got[: end + 1]
        return line

    def skip(self, count: int) -> None:
        """Reads so many bytes and forgets them."""
        count -= len(self._got)
        self._got.clear()
        room = memoryview(bytearray(_PIECE))
        while count > 0:
            self._socket.settimeout(self.left)
            got = self._socket.recv_into(room[: min(count, _PIECE)])
            if not got:
                raise ConnectionError("it hangs up")
            count -= got

    def waiting(self) -> int:
        """Returns how many bytes were sent and have not arrived."""
        left = fcntl.ioctl(self._socket, termios.TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", left)[0])


@contextmanager
def _let_in(address: str, port: int, token: str, seconds: float) -> Iterator[_Wire]:
    """Connects to a listener that takes the token, with so many seconds for all that follows."""
    began = time.monotonic()
    with socket.create_connection((address, port), timeout=seconds) as connection:
        wire = _Wire(connection, began + seconds - time.monotonic())
        if wire.ask(f"{_GREETING} {token}") != "ok":
            raise ConnectionError("something else answers there")
        yield wire
