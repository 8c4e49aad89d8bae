"""The model of a step over hosts: its formulas by hand and at their limits, and its page."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.scaling import figures
from benchmarks.scaling.collectives import (
    Cluster,
    Link,
    halving_doubling,
    hierarchical,
    mesh,
    ring,
)
from benchmarks.scaling.figures import CARDS, NoRecordError, recorded
from benchmarks.scaling.page import COUNTS, LINKS, linked, page, steps
from benchmarks.scaling.step import Supply, Work, efficiency, predict, slowest

DOCS = Path(__file__).parents[2] / "docs"
# A millisecond a message, a megabyte a second.
SLOW = Link(1e-3, 1e6)
INFINITE = Link(0.0, math.inf)
PLENTY = Supply(math.inf, 1.0, math.inf)


def test_an_allreduce_of_a_megabyte_over_four_by_hand() -> None:
    # Ring: six messages of 0.25 MB. Halving and doubling: 0.5, 0.25 MB and back. Mesh: two rounds.
    assert ring(1e6, 4, SLOW) == pytest.approx(6 * (0.001 + 0.25))
    assert halving_doubling(1e6, 4, SLOW) == pytest.approx(4 * 0.001 + 2 * (0.5 + 0.25))
    assert mesh(1e6, 4, SLOW) == pytest.approx(2 * (0.001 + 0.25))


def test_halving_and_doubling_over_no_power_of_two_takes_two_messages_more() -> None:
    assert halving_doubling(1e6, 5, SLOW) - halving_doubling(1e6, 4, SLOW) == pytest.approx(
        2 * (0.001 + 1.0)
    )


def test_two_hosts_of_two_cards_by_hand() -> None:
    cluster = Cluster(2, Link(0.0, 1e7), SLOW)
    # Inside: two rounds of half a MB. Between: that half, a quarter MB twice.
    inside, between = 2 * 0.05, 2 * (0.001 + 0.25)
    assert hierarchical(1e6, 4, cluster) == pytest.approx(inside + between)
    # One port for both cards: each has half of it.
    shared = Cluster(2, Link(0.0, 1e7), SLOW, each_card=False)
    assert hierarchical(1e6, 4, shared) == pytest.approx(inside + 2 * (0.001 + 0.5))


@pytest.mark.parametrize("formula", [ring, halving_doubling, mesh])
def test_one_card_averages_nothing_and_an_infinite_link_takes_no_time(formula: object) -> None:
    assert callable(formula)
    assert formula(1e6, 1, SLOW) == 0.0
    assert formula(1e6, 64, INFINITE) == 0.0


def test_many_small_messages_are_for_halving_and_doubling_and_large_ones_for_both() -> None:
    far = Link(1e-3, 1e9)
    assert halving_doubling(1e3, 64, far) < ring(1e3, 64, far)
    # What is sent is the same: 2 (p - 1) / p of it.
    free = Link(0.0, 1e9)
    assert halving_doubling(1e9, 64, free) == pytest.approx(ring(1e9, 64, free))


def test_cards_that_are_no_whole_hosts_are_refused() -> None:
    with pytest.raises(ValueError, match="12 cards: expected whole hosts of 8"):
        hierarchical(1e6, 12, figures.cluster())


def test_without_link_and_jitter_cards_lose_nothing() -> None:
    work = Work(0.2, 128, 1e7, jitter=0.0)
    found = predict(1024, work, Cluster(8, INFINITE, INFINITE), PLENTY)
    assert found.seconds == 0.2
    assert efficiency(found, work) == 1.0
    assert found.speed == pytest.approx(1024 * 128 / 0.2)


def test_one_card_is_its_computing_alone() -> None:
    work = figures.work()
    found = predict(1, work, figures.cluster(), PLENTY)
    assert (found.waiting, found.averaging) == (0.0, 0.0)
    assert efficiency(found, work) == 1.0


def test_the_published_step_comes_out_and_its_second_publication_within_two_percent() -> None:
    (step,) = steps(figures.cluster(), (CARDS,))
    assert step.seconds == pytest.approx(figures.PUBLISHED_STEP.value, rel=1e-12)
    assert step.speed == pytest.approx(figures.PUBLISHED_SPEED.value, rel=1e-5)
    assert abs(figures.PUBLISHED_AGAIN.value / step.seconds - 1) < 0.02
    assert 1024 / figures.PUBLISHED_AGAIN.value == pytest.approx(4580.63, rel=1e-5)


def test_more_cards_are_never_faster_each_and_a_slower_link_is_never_better() -> None:
    work = figures.work()
    lines = [[efficiency(step, work) for step in steps(linked(name))] for name in LINKS]
    for line in lines:
        assert line == sorted(line, reverse=True)
        assert 0 < line[-1] <= line[0] < 1
    for better, worse in pairwise(lines):
        # One host needs no link.
        assert better[0] == worse[0]
        assert all(one > other for one, other in zip(better[1:], worse[1:], strict=True))


def test_what_is_too_slow_is_named_the_limit() -> None:
    work, cluster = Work(0.1, 100, 0.0, jitter=0.0), Cluster(8, INFINITE, INFINITE)
    few = predict(16, work, cluster, Supply(4000.0, 1.0, math.inf))
    # 1,600 images by two hosts that do 4,000 a second each.
    assert (few.limit, few.seconds) == ("input", pytest.approx(0.2))
    cold = predict(16, work, cluster, Supply(math.inf, 1e5, 1e9))
    assert (cold.limit, cold.cold, cold.seconds) == ("store while cold", pytest.approx(0.16), 0.1)


def test_the_slowest_of_many_is_as_tables_of_normal_order_statistics_say() -> None:
    # Expected largest of 2, 10 and 100 normal values: 0.564, 1.539, 2.508.
    assert slowest(1) == 0.0
    for count, expected in ((2, 0.564), (10, 1.539), (100, 2.508)):
        assert slowest(count) == pytest.approx(expected, abs=0.03)


def test_gradients_are_those_of_the_network_and_none_of_its_statistics() -> None:
    assert figures.gradients("s") == (249, 4 * 4_134_606)
    assert figures.bundle_bytes("s", averages=False) == 4 * (4_166_798 + 4_134_606)
    assert figures.bundle_bytes("s", averages=True) == 4 * (2 * 4_166_798 + 4_134_606)


def test_this_machines_link_gives_its_two_figures_back() -> None:
    found = figures.loopback()
    measured = figures.measured()
    alone = 32 / measured["rank"].value
    joined = alone + ring(found.size, 2, found.link)
    apart = (
        alone + found.tensors * 2 * found.link.seconds + found.size / found.link.bytes_per_second
    )
    assert 32 / joined == pytest.approx(measured["ranks"].value)
    assert 32 / apart == pytest.approx(measured["apart"].value)


def test_a_record_that_is_no_more_is_named(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.md"
    numbers.write_text(
        "# N\n\n## Ranks\n\n| case | img/s |\n|---|---|\n| **one** | 1,234.5 (1 - 2) |\n"
    )
    assert recorded("Ranks", "one", 1, numbers) == 1234.5
    for section, row, column in (("Rank", "one", 1), ("Ranks", "two", 1), ("Ranks", "one", 2)):
        with pytest.raises(NoRecordError, match="no number in column"):
            recorded(section, row, column, numbers)


def test_the_page_says_what_the_model_says() -> None:
    assert (DOCS / "scaling.md").read_text() == page(), "run `python -m benchmarks.scaling`"
    assert f"| {COUNTS[-1]:,} |" in page()


def test_the_picture_can_be_drawn(tmp_path: Path) -> None:
    from benchmarks.scaling.plot import draw

    draw(tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
