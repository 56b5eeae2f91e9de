"""What a comparison comes to: each contestant in numbers, and each pair of them side by side.

    Summary    one contestant
    Contrast   two of them by one measure, over the prompts that both answered
    Margin     two of them by how often they answered
    Result     all of it

Times and rates are those of answered requests.  Where several pairs are compared their
intervals are wider, so that all those of a measure hold at once with the stated certainty
(Bonferroni): else of twenty pairs of equals one would look different.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum
from random import Random

from unbroken.bench import intervals
from unbroken.bench.contestants import Contestant
from unbroken.bench.course import Course, Settings
from unbroken.bench.intervals import LEVEL, Estimate
from unbroken.bench.samples import Measure, Sample, measures_of

__all__ = ["PAIRS_MIN", "Contrast", "Margin", "Result", "Spread", "Summary", "result_of"]

PAIRS_MIN = 8
"""Fewer say nothing: an interval from them would be the luck of a few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a measure is distributed over the answered requests that have it, `count` of them."""

    count: int
    mean: Estimate
    stdev: Estimate
    p50: Estimate
    p95: Estimate
    p99: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One contestant.

    `errors` counts failed requests by kind.  `spreads` holds what was measured, by the measure's
    key.  Dollars are of all requests, failed ones too; None where no price is known.
    `spent_usd` includes the warm-up.  `estimated` is how many requests had their tokens guessed.
    """

    name: str
    targets: str
    requests: int
    answered: int
    success: Estimate | None
    errors: Mapping[str, int]
    spreads: Mapping[str, Spread]
    input_tokens: int
    output_tokens: int
    estimated: int
    usd_per_request: Estimate | None
    usd_per_1k_output: Estimate | None
    spent_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """By one measure, the better of two against the worse, over `pairs` of answers to the same prompt.

    `factor` is how many times better the mean is (1 or more; None where the better mean is 0),
    `difference` by how much, in the measure's unit.
    """

    measure: Measure
    better: str
    worse: str
    pairs: int
    means: tuple[float, float]
    factor: Estimate | None
    difference: Estimate

    @property
    def shown(self) -> bool:
        """Whether the data show that they differ."""
        return not self.difference.holds(0.0) and (self.factor is None or not self.factor.holds(1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How much more often one of two answered: `difference` of the shares, of so many each."""

    better: str
    worse: str
    counts: tuple[tuple[int, int], tuple[int, int]]
    difference: Estimate

    @property
    def shown(self) -> bool:
        """Whether the data show that they differ."""
        return not self.difference.holds(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A comparison: what was asked for, what came of it, and what follows from that.

    `stopped` says why it ended before its time, if it did; `planned` is how many requests there were to be.
    """

    settings: Settings
    contestants: tuple[Contestant, ...]
    prompts: int
    planned: int
    samples: tuple[Sample, ...]
    summaries: tuple[Summary, ...]
    contrasts: tuple[Contrast, ...]
    margins: tuple[Margin, ...]
    spent_usd: float
    stopped: str = ""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What anybody has numbers of."""
        known = {key for summary in self.summaries for key in summary.spreads}
        return tuple(measure for measure in measures_of(self.settings.task) if measure.key in known)


def result_of(course: Course) -> Result:
    """What is known so far; the same samples and seed give the same numbers."""
    settings, counted = course.settings, [sample for sample in course.samples if sample.round]
    pairs = list(combinations([contestant.name for contestant in course.contestants], 2))
    by_name = {of.name: [s for s in counted if s.provider == of.name] for of in course.contestants}
    chance = Random(f"{settings.seed}/intervals")
    spent_usd = {
        of.name: fsum(sample.cost_usd or 0.0 for sample in course.samples if sample.provider == of.name)
        for of in course.contestants
    }
    contrasts = [
        _contrast(measure, (one, by_name[one]), other=(other, by_name[other]), chance=chance, level=_shared(len(pairs)))
        for measure in measures_of(settings.task)
        for one, other in pairs
    ]
    margins = [_margin((one, by_name[one]), (other, by_name[other]), level=_shared(len(pairs))) for one, other in pairs]
    return Result(
        settings=settings,
        contestants=course.contestants,
        prompts=len(course.prompts),
        planned=len(course.jobs),
        samples=tuple(course.samples),
        summaries=tuple(
            _summary(of, by_name[of.name], settings=settings, spent_usd=spent_usd[of.name], chance=chance)
            for of in course.contestants
        ),
        contrasts=tuple(contrast for contrast in contrasts if contrast is not None),
        margins=tuple(margin for margin in margins if margin is not None),
        spent_usd=course.purse.spent_usd,
        stopped=course.stopped,
    )


def _shared(pairs: int) -> float:
    """The level of each interval at which all of them together keep theirs."""
    return 1.0 - (1.0 - LEVEL) / max(1, pairs)


# ----------------------------------------------------------------------- one contestant


def _summary(
    of: Contestant, samples: Sequence[Sample], *, settings: Settings, spent_usd: float, chance: Random
) -> Summary:
    answered = [sample for sample in samples if sample.answered]
    spreads = {}
    for measure in measures_of(settings.task):
        values = [value for sample in answered if (value := measure.of(sample)) is not None]
        if values:
            spreads[measure.key] = _spread(values, chance)
    priced = [sample for sample in samples if sample.cost_usd is not None]
    return Summary(
        name=of.name,
        targets=of.targets,
        requests=len(samples),
        answered=len(answered),
        success=intervals.wilson(len(answered), len(samples)) if samples else None,
        errors=dict(Counter(sample.outcome for sample in samples if not sample.answered).most_common()),
        spreads=spreads,
        input_tokens=sum(sample.input_tokens for sample in samples),
        output_tokens=sum(sample.output_tokens for sample in samples),
        estimated=sum(sample.estimated for sample in samples),
        usd_per_request=_per_request(samples, chance) if priced else None,
        usd_per_1k_output=_per_1k(priced, chance),
        spent_usd=spent_usd,
    )


def _spread(values: Sequence[float], chance: Random) -> Spread:
    p50, p95, p99 = (intervals.quantile(values, share) for share in (0.5, 0.95, 0.99))
    return Spread(
        count=len(values), mean=intervals.mean(values, chance=chance), stdev=intervals.stdev(values, chance=chance),
        p50=p50, p95=p95, p99=p99,
    )  # fmt: skip


def _per_request(samples: Sequence[Sample], chance: Random) -> Estimate:
    return intervals.mean([sample.cost_usd or 0.0 for sample in samples], chance=chance)


def _per_1k(priced: Sequence[Sample], chance: Random) -> Estimate | None:
    pairs = [(sample.cost_usd or 0.0, float(sample.output_tokens)) for sample in priced]
    return intervals.ratio(pairs, chance=chance).times(1000.0) if any(tokens for _, tokens in pairs) else None


# ----------------------------------------------------------------------- two of them

Named = tuple[str, Sequence[Sample]]


def _margin(one: Named, other: Named, *, level: float) -> Margin | None:
    """How much more often the better of two answered."""
    if not one[1] or not other[1]:
        return None
    counted = {name: (sum(sample.answered for sample in samples), len(samples)) for name, samples in (one, other)}
    better, worse = sorted(counted, key=lambda name: -counted[name][0] / counted[name][1])
    difference = intervals.newcombe(counted[better], counted[worse], level=level)
    return Margin(better=better, worse=worse, counts=(counted[better], counted[worse]), difference=difference)


def _contrast(measure: Measure, one: Named, *, other: Named, chance: Random, level: float) -> Contrast | None:
    """The two by one measure; None where too few prompts were answered by both."""
    values = {name: _by_block(measure, samples) for name, samples in (one, other)}
    blocks = sorted(values[one[0]].keys() & values[other[0]].keys())
    if len(blocks) < PAIRS_MIN:
        return None
    means = {name: fsum(found[block] for block in blocks) / len(blocks) for name, found in values.items()}
    better, worse = sorted(means, key=lambda name: means[name] if measure.small else -means[name])
    less, more = (better, worse) if measure.small else (worse, better)
    pairs = [(values[more][block], values[less][block]) for block in blocks]
    differences = [above - below for above, below in pairs]
    return Contrast(
        measure=measure,
        better=better,
        worse=worse,
        pairs=len(blocks),
        means=(means[better], means[worse]),
        factor=intervals.ratio(pairs, chance=chance, level=level) if means[less] > 0.0 else None,
        difference=intervals.mean(differences, chance=chance, level=level),
    )


def _by_block(measure: Measure, samples: Sequence[Sample]) -> dict[int, float]:
    return {sample.block: value for sample in samples if (value := measure.of(sample)) is not None}
