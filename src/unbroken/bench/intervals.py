"""How sure a number is: intervals for shares, quantiles, means and ratios, from nothing but what was measured.

    Estimate     a number with the interval that it lies in
    wilson       a share of so many (Wilson's score interval)
    newcombe     the difference of two shares (Newcombe's hybrid of two of those)
    quantile     a percentile, between two order statistics; exact, whatever the distribution
    mean, stdev  by the bootstrap, bias-corrected and accelerated (BCa)
    ratio        of two sums over the same requests, such as dollars for each token; BCa too

Chance comes in as a `Random`: the same seed gives the same intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, exp, fsum, lgamma, log, sqrt
from random import Random
from statistics import NormalDist
from typing import TypeVar

__all__ = ["LEVEL", "Estimate", "bootstrap", "mean", "newcombe", "quantile", "quantile_of", "ratio", "stdev", "wilson"]

Item = TypeVar("Item")
Pair = tuple[float, float]

LEVEL = 0.95
"""How often an interval holds what it is said to hold."""
RESAMPLES = (2_000, 10_000)
"""At least, and at most."""
TAIL = 15
"""Resamples beyond each end of an interval: its ends would be the luck of a few otherwise."""
DRAWS_MAX = 4_000_000
"""Values drawn for one interval: some two seconds; of many values fewer resamples do."""
RESAMPLES_MIN = 400
EXACT_MAX = 1_000
"""Up to so many values binomial terms are whole numbers; beyond, logarithms are near enough."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the interval that it lies in; an end that the data do not show is None."""

    value: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> Estimate:
        """The same in another unit; `factor` is positive."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.value * factor, low, high)

    def holds(self, value: float) -> bool:
        """Whether a value is within the interval."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


# ----------------------------------------------------------------------- shares


def wilson(good: int, of: int, *, level: float = LEVEL) -> Estimate:
    """The share that so many good ones of so many stand for; ValueError where there are none."""
    if not 0 <= good <= of or not of:
        raise ValueError(f"{good} of {of} is no share")
    z = _z(level)
    share, slack = good / of, z * z / of
    middle = (share + slack / 2.0) / (1.0 + slack)
    half = z * sqrt(share * (1.0 - share) / of + slack / (4.0 * of)) / (1.0 + slack)
    low = 0.0 if good == 0 else max(0.0, middle - half)
    return Estimate(share, low, 1.0 if good == of else min(1.0, middle + half))


def newcombe(one: tuple[int, int], other: tuple[int, int], *, level: float = LEVEL) -> Estimate:
    """By how much the share of one (good ones, of so many) is larger than that of the other."""
    first, second = wilson(*one, level=level), wilson(*other, level=level)
    assert first.low is not None and first.high is not None  # noqa: PT018 - both ends are always there
    assert second.low is not None and second.high is not None  # noqa: PT018 - the same
    difference = first.value - second.value
    below = sqrt((first.value - first.low) ** 2 + (second.high - second.value) ** 2)
    above = sqrt((first.high - first.value) ** 2 + (second.value - second.low) ** 2)
    return Estimate(difference, difference - below, difference + above)


# ----------------------------------------------------------------------- quantiles


def quantile_of(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of ordered values lies, straight between neighbours."""
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def quantile(values: Sequence[float], share: float, *, level: float = LEVEL) -> Estimate:
    """A quantile, and the two values between which it lies whatever the distribution is.

    How many of n values lie below the true quantile is binomial; so the ends are order
    statistics.  Where n is too small for an end there is none: the slowest of fifty says
    nothing of how slow the slowest of a hundred are.
    """
    ordered, tail = sorted(values), (1.0 - level) / 2.0
    below = _binomial_sums(len(ordered), share)
    low = max((rank for rank in range(1, len(ordered) + 1) if below[rank - 1] <= tail), default=None)
    high = min((rank for rank in range(1, len(ordered) + 1) if 1.0 - below[rank - 1] <= tail), default=None)
    return Estimate(
        quantile_of(ordered, share),
        None if low is None else ordered[low - 1],
        None if high is None else ordered[high - 1],
    )


def _binomial_sums(n: int, share: float) -> list[float]:
    """The chance of at most 0, 1, ... n of n."""
    sums, total = [], 0.0
    for k in range(n + 1):
        total += _binomial(n, k, share=share)
        sums.append(total)
    return sums


def _binomial(n: int, k: int, *, share: float) -> float:
    if n <= EXACT_MAX:
        return comb(n, k) * share**k * (1.0 - share) ** (n - k)
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(ways + k * log(share) + (n - k) * log(1.0 - share))


# ----------------------------------------------------------------------- the bootstrap


def mean(values: Sequence[float], *, chance: Random, level: float = LEVEL) -> Estimate:
    """The mean."""
    middle = _mean(values)
    return bootstrap(values, _mean, pulls=[value - middle for value in values], chance=chance, level=level)


def stdev(values: Sequence[float], *, chance: Random, level: float = LEVEL) -> Estimate:
    """The standard deviation of what the values are a sample of; 0 for a single one."""
    middle, spread = _mean(values), _stdev(values)
    pulls = [(value - middle) ** 2 - spread**2 for value in values]
    return bootstrap(values, _stdev, pulls=pulls, chance=chance, level=level)


def ratio(pairs: Sequence[Pair], *, chance: Random, level: float = LEVEL) -> Estimate:
    """The sum of the firsts through the sum of the seconds, which is positive; pairs stay together."""
    quotient = _ratio(pairs)
    pulls = [above - quotient * below for above, below in pairs]
    return bootstrap(pairs, _ratio, pulls=pulls, chance=chance, level=level)


def bootstrap(
    items: Sequence[Item], statistic: Callable[[Sequence[Item]], float], *, pulls: Sequence[float], chance: Random,
    level: float = LEVEL,
) -> Estimate:  # fmt: skip
    """A statistic with its BCa interval (Efron, Journal of the American Statistical Association 82, 1987).

    The statistic is worked out again for samples drawn from the sample, with replacement.  The
    interval's ends are those percentiles of the results at which, corrected for bias (how many
    are below the statistic itself) and for skewness, the level is kept.  `pulls` are how much
    each item moves the statistic, up to a common factor.
    """
    value = statistic(items)
    if len(items) < 2 or not any(pulls):
        return Estimate(value, value, value) if len(items) > 1 else Estimate(value)
    count, draw, of = _resamples(len(items), level), chance.choices, len(items)
    found = sorted(statistic(draw(items, k=of)) for _ in range(count))
    below = sum(one < value for one in found) + sum(one == value for one in found) / 2.0
    bias = _NORMAL.inv_cdf(min(max(below, 0.5), count - 0.5) / count)
    skew = fsum(pull**3 for pull in pulls) / (6.0 * fsum(pull**2 for pull in pulls) ** 1.5)
    low, high = (quantile_of(found, _moved(end, bias, skew=skew)) for end in (-_z(level), _z(level)))
    return Estimate(value, low, high)


def _moved(end: float, bias: float, *, skew: float) -> float:
    """Which percentile of the resamples is the end of the interval, from the one that would be without correction."""
    shifted = bias + end
    return _NORMAL.cdf(bias + shifted / max(1e-9, 1.0 - skew * shifted))


def _resamples(size: int, level: float) -> int:
    wanted = min(max(RESAMPLES[0], round(2 * TAIL / (1.0 - level))), RESAMPLES[1])
    return min(wanted, max(RESAMPLES_MIN, DRAWS_MAX // size))


def _z(level: float) -> float:
    return _NORMAL.inv_cdf((1.0 + level) / 2.0)


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values)


def _stdev(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    middle = _mean(values)
    return sqrt(fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def _ratio(pairs: Sequence[Pair]) -> float:
    below = fsum(pair[1] for pair in pairs)
    return fsum(pair[0] for pair in pairs) / below if below else 0.0
