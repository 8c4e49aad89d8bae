"""What is said of the ways between hosts, and that one mute host costs the others one limit."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from mixnet_core.host.link import Listener
from mixnet_core.stages.check_links import Place, Way, judge_clocks, judge_links, measure_ways

HERE = "127.0.0.1"
FAST = Way(round_trip=1e-4, ahead=0.0, within=5e-5, rate=1e9)


def among(hosts: int, **others: Way) -> dict[int, dict[int, Way]]:
    """All ways between so many hosts: fast ones, but those named as in "w01"."""
    return {
        one: {other: others.get(f"w{one}{other}", FAST) for other in range(hosts) if other != one}
        for one in range(hosts)
    }


def places(hosts: int) -> dict[int, Place]:
    return {host: Place(address=f"10.0.0.{host + 1}", port=7, token="t") for host in range(hosts)}


def test_hosts_that_are_mute_cost_one_limit_and_are_the_only_ones_missed() -> None:
    with ExitStack() as stack:
        listeners = {host: stack.enter_context(Listener(HERE, "t")) for host in (0, 1)}
        mute = [stack.enter_context(socket.create_server((HERE, 0))) for _ in range(3)]
        ports = {host: listener.port for host, listener in listeners.items()} | {
            2 + number: server.getsockname()[1] for number, server in enumerate(mute)
        }
        there = {host: Place(address=HERE, port=port, token="t") for host, port in ports.items()}
        began = time.monotonic()
        ways = measure_ways(0, there, 5, answer_seconds=0.5)
        assert time.monotonic() - began < 1.4
    assert {host: way.error for host, way in ways.items()} == {
        1: "",
        **dict.fromkeys((2, 3, 4), "no answer within 0.5 s"),
    }
    assert ways[1].rate > 1e6


def test_ways_that_are_fine_are_said_with_their_figures() -> None:
    found = judge_links(among(3), places(3))
    assert (found.ok, found.note) == (True, "")
    assert found.detail == "6 ways between 3 hosts: round trip 0.10 ms, 1000 MB/s"


def test_a_slow_host_among_fast_ones_is_named_and_ends_no_run() -> None:
    # Still faster than a gigabit: slow beside the others.
    slow = FAST.model_copy(update={"rate": 200e6})
    found = judge_links(among(3, w02=slow, w20=slow, w12=slow, w21=slow), places(3))
    assert (found.ok, found.note) == (True, "warning")
    assert "slow: host 0 to host 2: 0.10 ms, 200 MB/s" in found.detail
    assert "; all of these begin or end at host 2" in found.detail
    assert len(found.more) == 3
    # Where all are so, none of them is.
    assert judge_links({0: {1: slow}, 1: {0: slow}}, places(2)).note == ""


@pytest.mark.parametrize("slow", [{"rate": 10e6}, {"round_trip": 0.05}])
def test_between_two_hosts_what_delays_steps_is_slow(slow: dict[str, float]) -> None:
    found = judge_links(among(2, w10=FAST.model_copy(update=slow)), places(2))
    assert found.note == "warning"
    assert "slow: host 1 to host 0" in found.detail


def test_a_host_that_is_not_reached_fails_by_its_name_and_address() -> None:
    gone = Way(error="no answer within 5 s")
    found = judge_links(among(3, w01=gone, w21=gone, w10=gone), places(3))
    assert (found.ok, found.error) == (False, "TransientError")
    assert found.detail.startswith("host 0 does not reach host 1 at 10.0.0.2:7 (no answer within")
    assert "all of these begin or end at host 1" in found.detail
    assert len(found.more) == 2


def test_clocks_may_differ_and_that_is_said() -> None:
    close = judge_clocks({1: Way(ahead=1e-5, within=1e-4), 2: Way(ahead=0.25, within=1e-4)})
    assert (close.ok, close.note) == (True, "")
    assert close.detail.startswith("host 2's is 250 ms ahead of host 0's, within 0.1 ms")
    assert "training needs no equal clocks" in close.detail
    assert judge_clocks({1: Way(ahead=-30.0, within=1e-4)}).note == "warning"
    far = judge_clocks({1: Way(ahead=-901.0, within=1e-4)})
    assert not far.ok
    assert "behind host 0's" in far.detail
    assert judge_clocks({1: Way(error="no answer within 5 s")}).note == "unknown"
