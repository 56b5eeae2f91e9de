"""Whether something grows: a straight line through points that depend on each other, and how sure its slope is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

__all__ = ["BLOCKS", "Trend", "trend"]

BLOCKS = 8
STUDENT = 2.447
"""Student's t at 95 % for `BLOCKS` points less the two that a line takes."""
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A slope with its interval at 95 %, `over` so much of what it is the slope of."""

    slope: float
    low: float
    high: float
    over: float

    @property
    def total(self) -> float:
        """What it comes to."""
        return self.slope * self.over

    def grows(self, *, least: float, noise: float) -> bool:
        """Whether it surely rises by at least so much each, and by more than the noise altogether."""
        return self.low > least and self.low * self.over > noise


def trend(points: Sequence[Point]) -> Trend:
    """The line through the second half of these points, by their first coordinate; ValueError for too few.

    Memory comes in steps, and a reading is much like the one before: each block of neighbours counts as one point,
    or the interval would claim far more than is known.
    """
    middle = (points[0][0] + points[-1][0]) / 2 if points else 0.0
    half = [point for point in points if point[0] >= middle]
    if len(half) < BLOCKS:
        raise ValueError(f"{len(half)} points are too few for a trend")
    edges = [len(half) * number // BLOCKS for number in range(BLOCKS + 1)]
    blocks = [half[a:b] for a, b in pairwise(edges)]
    xs, ys = [fmean(x for x, _ in block) for block in blocks], [fmean(y for _, y in block) for block in blocks]
    x_mean, y_mean = fmean(xs), fmean(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    if spread == 0.0:
        raise ValueError("a trend over nothing")
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    missed = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in zip(xs, ys, strict=True))
    margin = STUDENT * math.sqrt(missed / (BLOCKS - 2) / spread)
    return Trend(slope=slope, low=slope - margin, high=slope + margin, over=half[-1][0] - half[0][0])
