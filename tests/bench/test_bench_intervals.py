"""Intervals against published values, and against what they promise."""

from __future__ import annotations

import statistics
from random import Random

import pytest

from unbroken.bench import intervals
from unbroken.bench.intervals import Estimate

NEWCOMBE_1998 = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]
"""Of the score method, from Newcombe's comparison of seven methods for a single proportion."""
CHILDREN = (
    48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41,
)  # fmt: skip
"""The spatial test of 26 children, from Efron and Tibshirani, An Introduction to the Bootstrap, chapter 14."""


@pytest.mark.parametrize(("good", "of", "low", "high"), NEWCOMBE_1998)
def test_shares_as_published(good: int, of: int, low: float, high: float) -> None:
    """Wilson's interval is the one in the literature."""
    found = intervals.wilson(good, of)
    assert [found.low, found.high] == pytest.approx([low, high], abs=6e-5)


def test_a_share_of_nothing() -> None:
    """Where nothing was asked no share is claimed."""
    with pytest.raises(ValueError, match="0 of 0"):
        intervals.wilson(0, 0)


def test_all_and_none() -> None:
    """A share that was always or never the case reaches the end, and no further."""
    assert intervals.wilson(20, 20).high == 1.0
    assert intervals.wilson(0, 20).low == 0.0


def test_differences_of_shares_as_published() -> None:
    """Newcombe's example of two independent proportions: 56 of 70 against 48 of 80."""
    found = intervals.newcombe((56, 70), (48, 80))
    assert found.value == pytest.approx(0.2)
    assert [found.low, found.high] == pytest.approx([0.0524, 0.3339], abs=6e-5)


def test_quantiles() -> None:
    """Between neighbours a quantile lies on the straight line, as most programs have it."""
    assert intervals.quantile_of(range(1, 11), 0.95) == pytest.approx(9.55)
    assert intervals.quantile_of([3.0], 0.99) == 3.0
    assert intervals.quantile(list(range(1, 12)), 0.5).value == 6.0


@pytest.mark.parametrize(("n", "low", "high"), [(10, 2, 9), (20, 6, 15), (50, 18, 33), (100, 40, 61)])
def test_medians_lie_between_the_ranks_of_the_tables(n: int, low: int, high: int) -> None:
    """The ends of a median's interval are those of the sign test's tables."""
    found = intervals.quantile([float(value) for value in range(1, n + 1)], 0.5)
    assert (found.low, found.high) == (low, high)


def test_too_few_show_no_upper_end() -> None:
    """The slowest of fifty says nothing of how slow one in a hundred is."""
    found = intervals.quantile([float(value) for value in range(50)], 0.99)
    assert found.high is None and found.low is not None
    assert intervals.quantile([1.0, 2.0, 3.0], 0.5) == Estimate(2.0)


def test_many_values_are_counted_as_few_are() -> None:
    """Where binomial terms are too large for floats, logarithms lead to the same ranks."""
    found = intervals.quantile([float(value) for value in range(1, 2002)], 0.5)
    assert found == Estimate(1001.0, 957.0, 1045.0)


def test_the_bootstrap_as_published() -> None:
    """BCa of the children's variance, at 90 %: 115.8 to 259.6 with Efron and Tibshirani."""
    middle = statistics.mean(CHILDREN)
    spread = statistics.pvariance(CHILDREN)
    pulls = [(value - middle) ** 2 - spread for value in CHILDREN]
    found = intervals.bootstrap(CHILDREN, statistics.pvariance, pulls=pulls, chance=Random(1), level=0.9)
    assert found.value == pytest.approx(171.5, abs=0.05)
    assert found.low == pytest.approx(115.8, rel=0.04)
    assert found.high == pytest.approx(259.6, rel=0.04)


def test_means_deviations_and_ratios() -> None:
    """The numbers themselves are those that anybody would work out."""
    chance = Random(1)
    assert intervals.mean([1.0, 2.0, 6.0], chance=chance).value == 3.0
    assert intervals.stdev([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], chance=chance).value == pytest.approx(2.13809)
    assert intervals.ratio([(2.0, 1.0), (4.0, 1.0)], chance=chance).value == 3.0


def test_what_never_varies() -> None:
    """The same again and again is known exactly; once is not known how sure."""
    assert intervals.mean([2.0] * 9, chance=Random(1)) == Estimate(2.0, 2.0, 2.0)
    assert intervals.mean([2.0], chance=Random(1)) == Estimate(2.0)
    assert intervals.stdev([2.0], chance=Random(1)) == Estimate(0.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    """Chance comes from the seed alone."""
    values = [Random(7).expovariate(1.0) for _ in range(30)]
    assert intervals.mean(values, chance=Random(3)) == intervals.mean(values, chance=Random(3))


def test_intervals_keep_their_word() -> None:
    """Of 120 samples of a skewed distribution about 95 % have the true mean, median and ratio in their interval."""
    held = {"mean": 0, "median": 0, "ratio": 0}
    for seed in range(120):
        draw = Random(seed)
        values = [draw.gammavariate(4.0, 0.25) for _ in range(40)]
        pairs = [(2.0 * draw.gammavariate(4.0, 0.25), draw.gammavariate(4.0, 0.25)) for _ in range(40)]
        held["mean"] += intervals.mean(values, chance=draw).holds(1.0)
        held["median"] += intervals.quantile(values, 0.5).holds(0.918)
        held["ratio"] += intervals.ratio(pairs, chance=draw).holds(2.0)
    assert all(107 <= count for count in held.values()), held
