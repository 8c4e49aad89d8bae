"""The links between hosts: each measures the way to every other, at the same time.

First a few questions to all at once, so that a host that is mute costs the others one limit. Then
16 MB to one after the other, in an order in which no two hosts send to the same one.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mixnet_core.errors import TransientError
from mixnet_core.host import link
from mixnet_core.runs.values import Value
from mixnet_core.stages.check_result import CheckResult, failed, good, unknown, warning

# Gradients of MixNet-S in float32, which every step sums over all hosts.
GRADIENT_BYTES = 16_538_424
# A link is asked for so long; one that is there answers within milliseconds.
ANSWER_SECONDS = 5.0
# Sending takes so long at most: what is slow is measured by what arrived.
SEND_SECONDS = 2.0
_BYTES = 1 << 24
_MOST_AT_ONCE = 32
# At such a rate the gradients take 0.33 s, and the published step on Ascend 0.228 s.
_SLOW_BYTES = 50e6
_SLOW_TRIP_SECONDS = 0.02
# A way is slow beside others too: by so much from the median of each host's fastest.
_SLOW_RATIO = 4.0
_FEWEST_TO_COMPARE = 3
_MOST_NAMED = 8
_CLOCK_WARNING_SECONDS = 5.0
# S3 refuses requests whose time differs by more (RequestTimeTooSkewed).
_CLOCK_FAILURE_SECONDS = 900.0


class Place(Value):
    """Says where a host listens; `host.link.Listener`."""

    address: str
    port: int
    token: str


class Way(Value):
    """Holds what one host saw of the way to another.

    Attributes:
        round_trip: seconds.
        ahead: seconds that the other's clock is ahead of this host's.
        within: seconds by which that may be otherwise.
        rate: bytes a second that arrived there.
        error: why there is none of this.
    """

    round_trip: float = 0.0
    ahead: float = 0.0
    within: float = 0.0
    rate: float = 0.0
    error: str = ""


def measure_ways(
    host: int, places: Mapping[int, Place], hosts: int, *, answer_seconds: float = ANSWER_SECONDS
) -> dict[int, Way]:
    """Measures the ways from a host to all others.

    Args:
        host: this one's number.
        places: of those that are there.
        hosts: how many there are to be.
        answer_seconds: that a host may take to answer.
    """
    others = [(host + step) % hosts for step in range(1, hosts)]
    others = [other for other in others if other in places]
    if not others:
        return {}
    ask = partial(_asked, seconds=answer_seconds)
    with ThreadPoolExecutor(min(_MOST_AT_ONCE, len(others))) as pool:
        ways = dict(zip(others, pool.map(ask, (places[other] for other in others)), strict=True))
    for other in others:
        if not ways[other].error:
            ways[other] = _sent(places[other], ways[other], seconds=answer_seconds)
    return ways


def _asked(place: Place, *, seconds: float) -> Way:
    try:
        found = link.probe(place.address, place.port, place.token, seconds=seconds)
    except OSError as error:
        return Way(error=_why(error, seconds))
    return Way(round_trip=found.round_trip, ahead=found.skew.seconds, within=found.skew.within)


def _sent(place: Place, way: Way, *, seconds: float) -> Way:
    try:
        rate = link.push(
            *(place.address, place.port, place.token),
            count=_BYTES,
            seconds=SEND_SECONDS,
            reach_seconds=seconds,
        )
    except OSError as error:
        return Way(error=_why(error, seconds))
    return way.model_copy(update={"rate": rate})


def _why(error: OSError, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    return error.strerror or str(error)


Ways = Mapping[int, Mapping[int, Way]]
"""host -> other host -> the way from the one to the other."""


def judge_links(ways: Ways, places: Mapping[int, Place]) -> CheckResult:
    """Says whether all hosts reach each other, and which links are slow."""
    pairs = {(one, other): way for one, row in ways.items() for other, way in row.items()}
    if not pairs:
        return unknown("network", "there are no two hosts to measure between")
    if dead := [pair for pair, way in pairs.items() if way.error]:
        return _dead_links(dead, pairs, places)
    rates = [way.rate for way in pairs.values()]
    trips = [way.round_trip for way in pairs.values()]
    detail = (
        f"{len(pairs)} ways between {len(ways)} hosts: round trip {_milliseconds(trips)} ms, "
        f"{_megabytes(rates)} MB/s"
    )
    least = _least_rate(ways)
    slow = [
        pair
        for pair, way in pairs.items()
        if way.rate < least or way.round_trip > _SLOW_TRIP_SECONDS
    ]
    if not slow:
        return good("network", detail)
    slow.sort(key=lambda pair: pairs[pair].rate)
    named = [
        f"host {one} to host {other}: {_milliseconds([pairs[one, other].round_trip])} ms, "
        f"{_megabytes([pairs[one, other].rate])} MB/s"
        for one, other in slow
    ]
    seconds = GRADIENT_BYTES / min(rates)
    said = (
        f"{detail}; slow: {named[0]}, where the gradients of MixNet-S "
        f"({GRADIENT_BYTES / 1e6:.1f} MB) take {seconds:.1f} s or more{_of_one(slow)}"
    )
    fix = "look at its cable, switch port and interface (`ethtool`), or take another host"
    return warning("network", said, fix, _some(named[1:]))


def _least_rate(ways: Ways) -> float:
    """Returns the bytes a second under which a way is slow."""
    fastest = [max(way.rate for way in row.values()) for row in ways.values() if row]
    if len(fastest) < _FEWEST_TO_COMPARE:
        return _SLOW_BYTES
    return max(_SLOW_BYTES, statistics.median(fastest) / _SLOW_RATIO)


def _dead_links(
    dead: list[tuple[int, int]],
    pairs: Mapping[tuple[int, int], Way],
    places: Mapping[int, Place],
) -> CheckResult:
    named = [
        f"host {one} does not reach host {other} at {places[other].address}:{places[other].port} "
        f"({pairs[one, other].error})"
        for one, other in sorted(dead)
    ]
    fix = (
        "look at the network between them: all ports have to be open between hosts; trying again "
        "helps once they are"
    )
    said = f"{named[0]}{_of_one(dead)}"
    found = failed("network", said, fix, TransientError)
    return found.model_copy(update={"more": _some(named[1:])})


def _of_one(bad: list[tuple[int, int]]) -> str:
    """Says whether it is one host that all bad ways begin or end at."""
    if len(bad) < 2:
        return ""
    common = set(bad[0]).intersection(*bad[1:])
    return f"; all of these begin or end at host {common.pop()}" if len(common) == 1 else ""


def judge_clocks(ways: Mapping[int, Way]) -> CheckResult:
    """Says how far the clocks are apart.

    Args:
        ways: of host 0 to all others.
    """
    there = {host: way for host, way in ways.items() if not way.error}
    if not there:
        return unknown("clocks", "host 0 reaches none to compare with")
    host, way = max(there.items(), key=lambda item: abs(item[1].ahead))
    if abs(way.ahead) <= way.within:
        detail = f"equal within {way.within * 1e3:.2g} ms"
    else:
        side = "ahead of" if way.ahead > 0 else "behind"
        detail = f"host {host}'s is {abs(way.ahead) * 1e3:.4g} ms {side} host 0's"
        detail += f", within {way.within * 1e3:.2g} ms"
    fix = "let it keep the time: chronyd or ntpd"
    if abs(way.ahead) > _CLOCK_FAILURE_SECONDS:
        return failed("clocks", f"{detail}: S3 refuses what is 15 minutes off", fix)
    if abs(way.ahead) > _CLOCK_WARNING_SECONDS:
        said = f"{detail}: training needs no equal clocks, times in logs and records will not fit"
        return warning("clocks", said, fix)
    return good("clocks", f"{detail}; training needs no equal clocks")


def _milliseconds(seconds: list[float]) -> str:
    return _span([f"{value * 1e3:.2f}" for value in (min(seconds), max(seconds))])


def _megabytes(rates: list[float]) -> str:
    return _span([f"{value / 1e6:.4g}" for value in (min(rates), max(rates))])


def _span(ends: list[str]) -> str:
    low, high = ends
    return low if low == high else f"{low} to {high}"


def _some(lines: list[str]) -> tuple[str, ...]:
    left = len(lines) - _MOST_NAMED
    return (*lines[:_MOST_NAMED], *([f"and {left} more"] if left > 0 else []))
