"""How long an AllReduce takes: messages times latency, and bytes over bandwidth.

Every formula is that of R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of Collective
Communication Operations in MPICH", 2005, without the time of the additions. HCCL's documentation
names the same algorithms (hiascend.com, HCCL, "Algorithm Overview"): inside a server mesh or ring,
between servers ring or recursive halving-doubling, whichever is faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """Describes what a message costs.

    Attributes:
        seconds: of one message, however small.
        bytes_per_second: of one sender to one receiver; both directions at once.
    """

    seconds: float
    bytes_per_second: float


@dataclass(frozen=True)
class Cluster:
    """Describes hosts that are alike.

    Attributes:
        cards: of one host.
        inside: the link from each card to each other one of its host.
        between: the link between hosts, of one card if `each_card`, else of the host.
        each_card: whether each card has a network port of its own.
    """

    cards: int
    inside: Link
    between: Link
    each_card: bool = True


def ring(size: float, count: int, link: Link) -> float:
    """Returns the seconds of 2 (p - 1) messages of a p-th of the bytes each."""
    if count < 2:
        return 0.0
    return 2 * (count - 1) * (link.seconds + size / count / link.bytes_per_second)


def halving_doubling(size: float, count: int, link: Link) -> float:
    """Returns the seconds of 2 log2 p messages, each half or twice as large as the one before.

    Where p is no power of two, those too many first add theirs to another's and get the result at
    the end: two more messages of all bytes.
    """
    if count < 2:
        return 0.0
    power = 1 << (count.bit_length() - 1)
    steps = 2 * math.log2(power)
    sent = 2 * (power - 1) / power * size
    if power != count:
        steps, sent = steps + 2, sent + 2 * size
    return steps * link.seconds + sent / link.bytes_per_second


def mesh(size: float, count: int, link: Link) -> float:
    """Returns the seconds of two rounds in which each sends a p-th to every other one at once."""
    return 2 * (link.seconds + size / count / link.bytes_per_second) if count > 1 else 0.0


def hierarchical(size: float, cards: int, cluster: Cluster) -> float:
    """Returns the seconds of an AllReduce over whole hosts, or over a part of one.

    Inside each host its cards first sum up a share each; then the cards with the same share do so
    over the hosts, at the same time; then the shares are handed round inside.

    Raises:
        ValueError: the cards are more than one host's and no whole number of hosts.
    """
    if cards <= cluster.cards:
        return mesh(size, cards, cluster.inside)
    hosts, rest = divmod(cards, cluster.cards)
    if rest:
        raise ValueError(f"{cards} cards: expected whole hosts of {cluster.cards}")
    share = size / cluster.cards
    between = cluster.between
    if not cluster.each_card:
        # All cards' shares go through the host's one port.
        each = between.bytes_per_second / cluster.cards
        between = Link(between.seconds, each)
    over = min(ring(share, hosts, between), halving_doubling(share, hosts, between))
    return mesh(size, cluster.cards, cluster.inside) + over
