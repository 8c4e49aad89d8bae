"""The time of a training step over hosts, and what holds it up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

from benchmarks.scaling.collectives import Cluster, hierarchical


@dataclass(frozen=True)
class Work:
    """Describes what a card does in a step.

    Attributes:
        seconds: of computing, the slowest card of `of_cards` included.
        images: of one card.
        gradient_bytes: that are averaged over the cards. Training does it in one AllReduce after
            all gradients are there (`train/joined.py`), so nothing hides it.
        jitter: standard deviation of a card's computing, as a share of it.
        of_cards: how many cards `seconds` was seen on.
    """

    seconds: float
    images: int
    gradient_bytes: float
    jitter: float
    of_cards: int = 1


@dataclass(frozen=True)
class Supply:
    """Describes where images come from.

    Attributes:
        images_per_second: that one host decodes and augments.
        image_bytes: of one image in its file.
        store_bytes_per_second: of the store, for all hosts together.
    """

    images_per_second: float
    image_bytes: float
    store_bytes_per_second: float


@dataclass(frozen=True)
class Step:
    """Says what a step takes, in seconds.

    Attributes:
        waiting: for the slowest card, beyond what `computing` has of it already.
        input: that decoding takes, beside the rest.
        cold: that reading from the store takes, beside the rest, while nothing is on the hosts.
    """

    cards: int
    images: int
    computing: float
    waiting: float
    averaging: float
    input: float
    cold: float

    @property
    def seconds(self) -> float:
        """Returns the time of a step once each host has its images."""
        return max(self.busy, self.input)

    @property
    def busy(self) -> float:
        return self.computing + self.waiting + self.averaging

    @property
    def speed(self) -> float:
        """Returns images a second of all cards."""
        return self.images / self.seconds

    @property
    def limit(self) -> str:
        """Names what a step waits for longest beside its cards; cold: until images are there."""
        if self.input > self.busy:
            return "input"
        return "store while cold" if self.cold > self.busy else "cards"


def predict(cards: int, work: Work, cluster: Cluster, supply: Supply) -> Step:
    """Predicts a step of so many cards.

    Cards wait for the slowest: of n that differ by a normal distribution it is expected
    `slowest(n)` standard deviations above the mean.

    Raises:
        ValueError: as `collectives.hierarchical`.
    """
    mean = work.seconds / (1 + work.jitter * slowest(work.of_cards))
    hosts = -(-cards // cluster.cards)
    images = cards * work.images
    return Step(
        cards=cards,
        images=images,
        computing=mean,
        waiting=mean * work.jitter * slowest(cards),
        averaging=hierarchical(work.gradient_bytes, cards, cluster),
        input=images / (hosts * supply.images_per_second),
        cold=images * supply.image_bytes / supply.store_bytes_per_second,
    )


def fitted(step_seconds: float, cards: int, work: Work, cluster: Cluster) -> Work:
    """Returns the work with the computing that makes a step of so many cards take this long."""
    averaging = hierarchical(work.gradient_bytes, cards, cluster)
    return replace(work, seconds=step_seconds - averaging, of_cards=cards)


def efficiency(step: Step, work: Work) -> float:
    """Returns which share of a step is computing of the mean card: 1 for a card alone."""
    return work.seconds / (1 + work.jitter * slowest(work.of_cards)) / step.seconds


def slowest(count: int) -> float:
    """Returns how far the largest of n normal values lies above the mean, in standard deviations.

    Source: G. Blom, "Statistical Estimates and Transformed Beta-Variables", 1958.
    """
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25)) if count > 1 else 0.0
