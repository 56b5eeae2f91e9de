"""What a run comes to in numbers, side by side with other runs of the same scene.

Summary      one player's run
Windows      the requests after each change, and the steady rest
summarised   a summary from the outcomes
series       shares and regret over time, for pictures
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf

from unbroken.sim.course import NOBODY, Outcomes, Scene
from unbroken.sim.suppliers import Weights

__all__ = ["AFTER", "COLUMNS", "Bucket", "Steady", "Summary", "Windows", "row_of", "series", "summarised"]

AFTER = 200
"""Requests after a change within which whoever learns should have learnt."""
PERCENTS = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Windows:
    """Request numbers: the first `AFTER` of each change, as many after those, and the steady rest."""

    first: tuple[range, ...]
    second: tuple[range, ...]
    steady: tuple[range, ...]

    @classmethod
    def of(cls, scene: Scene) -> Windows:
        """By the times of a scene's changes; the beginning of a run is one too."""
        arrivals, length = scene.trace.arrivals_s, len(scene.trace)
        starts = sorted({0, *(bisect_left(arrivals, change.at_s) for change in scene.plan.changes)})
        parts = [
            (start, end) for start, end in zip(starts, [*starts[1:], length], strict=True) if start < min(end, length)
        ]
        return cls(
            tuple(range(start, min(start + AFTER, end)) for start, end in parts if start),
            tuple(range(min(start + AFTER, end), min(start + 2 * AFTER, end)) for start, end in parts if start),
            tuple(range(min(start + AFTER, end), end) for start, end in parts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """The usual, away from changes: means over the answered requests, and the regret of all that could be."""

    first_s: float = 0.0
    total_s: float = 0.0
    cost_usd: float = 0.0
    regret: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One player's run.

    `answerable` counts the requests that some provider would have answered when they came in,
    without those that were lost when everybody broke off at once; `answered_of_those` how many
    of them were.  Regrets are shares by which burdens (`weights`) were greater than they had to
    be, 0.05 for 5 %: than those of the best answers that there were (`regret`), and than those
    of the best guesses of somebody who knew everything but luck (`regret_informed`).
    `extra_share` is attempts beyond one for each request, `extra_able` the same of those requests
    alone that some provider would have answered when they came in, `extra_fair` that without those
    that were lost when everybody broke off at once, `after` the latter regret of the
    first `AFTER` requests after changes and of as many after those, `shares` who answered,
    `kinds` what failed requests failed of.
    """

    name: str
    requests: int
    answered: int
    answerable: int
    answered_of_those: int
    first_s: Mapping[int, float]
    total_s: Mapping[int, float]
    cost_usd: float
    extra_share: float
    extra_able: float
    extra_fair: float
    failovers: int
    rescued: int
    regret: float
    regret_informed: float
    after: tuple[float, float]
    weights: str
    steady: Steady
    shares: Mapping[str, float]
    kinds: Mapping[str, int]
    digest: str

    @property
    def success(self) -> float:
        """The share of requests that were answered whole."""
        return self.answered / self.requests if self.requests else 0.0

    @property
    def kept(self) -> float:
        """Of the requests that anybody could have answered at once, the share that was answered."""
        return self.answered_of_those / self.answerable if self.answerable else 1.0


def summarised(name: str, outcomes: Outcomes, *, scene: Scene, weights: Weights) -> Summary:
    """A run in numbers."""
    done = [number for number, flag in enumerate(outcomes.done) if flag]
    able = [number for number, best in enumerate(outcomes.best) if best < inf]
    fair = [number for number in able if not outcomes.hopeless[number]]
    requests, windows = len(outcomes), Windows.of(scene)
    names = list(scene.suppliers)
    counts = [0] * (NOBODY + 1)
    for place in outcomes.targets:
        counts[place] += 1
    return Summary(
        name=name,
        requests=requests,
        answered=len(done),
        answerable=len(fair),
        answered_of_those=sum(outcomes.done[number] for number in fair),
        first_s=_percentiles(outcomes.first_s[number] for number in done),
        total_s=_percentiles(outcomes.total_s[number] for number in done),
        cost_usd=sum(outcomes.cost_usd),
        extra_share=_extra(outcomes, range(requests)),
        extra_able=_extra(outcomes, able),
        extra_fair=_extra(outcomes, fair),
        failovers=sum(outcomes.failovers),
        rescued=sum(outcomes.rescues),
        regret=_regret(outcomes, able, against=outcomes.best),
        regret_informed=_regret(outcomes, able, against=outcomes.informed),
        weights=str(weights),
        after=(_in(outcomes, windows.first), _in(outcomes, windows.second)),
        steady=_steady(outcomes, windows.steady),
        shares={target: counts[place] / max(1, len(done)) for place, target in enumerate(names)},
        kinds=dict(outcomes.kinds.most_common()),
        digest=outcomes.digest(),
    )


def _extra(outcomes: Outcomes, numbers: Sequence[int]) -> float:
    return sum(max(0, outcomes.attempts[number] - 1) for number in numbers) / max(1, len(numbers))


def _percentiles(values: Iterable[float]) -> dict[int, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {p: ordered[min(last, int(p / 100 * len(ordered)))] if ordered else 0.0 for p in PERCENTS}


def _regret(outcomes: Outcomes, numbers: Iterable[int], *, against: array[float]) -> float:
    """Its geometric mean over the requests that could be answered at once, less one."""
    found = [outcomes.regret(number, against=against) for number in numbers if against[number] < inf]
    return exp(sum(found) / len(found)) - 1.0 if found else 0.0


def _in(outcomes: Outcomes, windows: Sequence[range]) -> float:
    return _regret(outcomes, (number for window in windows for number in window), against=outcomes.informed)


def _steady(outcomes: Outcomes, windows: Sequence[range]) -> Steady:
    numbers = [number for window in windows for number in window if outcomes.done[number]]
    count = max(1, len(numbers))
    return Steady(
        first_s=sum(outcomes.first_s[number] for number in numbers) / count,
        total_s=sum(outcomes.total_s[number] for number in numbers) / count,
        cost_usd=sum(outcomes.cost_usd[number] for number in numbers) / count,
        regret=_in(outcomes, windows),
    )


# ------------------------------------------------------------- for files and pictures


COLUMNS = (
    "strategy", "requests", "answered", "success", "answered_of_answerable",
    "first_p50_s", "first_p90_s", "first_p99_s", "total_p50_s", "total_p90_s", "total_p99_s",
    "cost_usd", "extra_share", "extra_of_answerable", "failovers", "rescued",
    "aim", "regret", "regret_informed", "regret_after_change", "regret_later",
    "steady_first_s", "steady_total_s", "steady_cost_usd", "steady_regret", "digest",
)  # fmt: skip
"""Of the CSV, and the keys of the JSON."""


def row_of(summary: Summary) -> dict[str, object]:
    """A summary by the names of `COLUMNS`."""
    s, steady = summary, summary.steady
    values = (
        s.name, s.requests, s.answered, round(s.success, 6), round(s.kept, 6),
        *(round(s.first_s[p], 4) for p in PERCENTS), *(round(s.total_s[p], 4) for p in PERCENTS),
        round(s.cost_usd, 6), round(s.extra_share, 6), round(s.extra_able, 6), s.failovers, s.rescued,
        s.weights, round(s.regret, 4), round(s.regret_informed, 4), *(round(value, 4) for value in s.after),
        round(steady.first_s, 4), round(steady.total_s, 4), round(steady.cost_usd, 8), round(steady.regret, 4),
        s.digest,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


@dataclass(slots=True)
class Bucket:
    """The requests that came in within one stretch of a run; `regret` is what has added up since its beginning."""

    at_s: float
    requests: int = 0
    answered: int = 0
    regret: float = 0.0

    @property
    def success(self) -> float:
        return self.answered / self.requests if self.requests else 1.0


def series(outcomes: Outcomes, scene: Scene, *, buckets: int = 120) -> list[Bucket]:
    """A run in so many stretches of the same length."""
    arrivals, total = scene.trace.arrivals_s, 0.0
    start_s = arrivals[0] if len(arrivals) else 0.0
    width_s = max(scene.trace.span_s, 1e-9) / buckets
    found = [Bucket(start_s + (place + 0.5) * width_s) for place in range(buckets)]
    for number, arrival in enumerate(arrivals):
        bucket = found[min(buckets - 1, int((arrival - start_s) / width_s))]
        bucket.requests += 1
        bucket.answered += outcomes.done[number]
        if outcomes.informed[number] < inf:
            total += outcomes.regret(number, against=outcomes.informed)
        bucket.regret = total
    for before, bucket in pairwise(found):
        bucket.regret = bucket.regret if bucket.requests else before.regret
    return found
