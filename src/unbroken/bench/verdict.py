"""What follows from a comparison, in plain sentences that claim no more than the data show.

A difference is told with its interval where the interval leaves no doubt that there is one.
Where it leaves doubt, that is what is told, with how large it could be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from unbroken.bench.intervals import LEVEL, Estimate
from unbroken.bench.samples import Measure, measures_of
from unbroken.bench.summary import PAIRS_MIN, Contrast, Margin, Result, Summary

__all__ = ["amount", "percent", "times", "usd", "verdict", "within"]

Pair = TypeVar("Pair", Contrast, Margin)

CERTAINTY = f"{LEVEL:.0%}".replace("%", " %")
_WORDS: Mapping[str, str] = {
    "total_s": "{better} is {factor} faster than {worse}",
    "first_s": "{better} begins {factor} sooner than {worse}",
    "tokens_per_s": "{better} writes {factor} faster than {worse}",
    "cost_usd": "{worse} costs {factor} as much as {better}",
}
_WORDS_WITHOUT_FACTOR: Mapping[str, str] = {
    "cost_usd": "{worse} costs {difference} more for a request than {better}, which costs nothing",
}


def verdict(result: Result) -> list[str]:
    """A sentence for each thing that can be said; what was shown comes before what was not."""
    if not any(summary.requests for summary in result.summaries):
        return ["Nothing was measured."]
    if len(result.summaries) == 1:
        return list(_alone(result.summaries[0]))
    compared = (line for measure in measures_of(result.settings.task) for line in _by(measure, result))
    said = sorted([*_success(result), *compared], key=lambda line: not line.shown)
    return [line.text for line in said]


@dataclass(frozen=True, slots=True)
class _Line:
    """A sentence, and whether it tells of a difference."""

    text: str
    shown: bool = False


# ----------------------------------------------------------------------- how numbers read


def times(factor: float) -> str:
    """`1.84x`, with as many digits as mean something."""
    if abs(factor - 1.0) < 0.1:
        return f"{factor:.3f}x"
    return f"{factor:.2f}x" if factor < 10.0 else f"{factor:.0f}x"


def percent(share: float) -> str:
    """`97.5 %`."""
    return f"{100.0 * share:.3g} %"


def usd(dollars: float) -> str:
    """`0.00123 USD`, three digits of it."""
    return f"{dollars:.3g} USD" if dollars >= 1e-4 or not dollars else f"{dollars:.2e} USD"


def amount(value: float, measure: Measure) -> str:
    """A value in the measure's unit."""
    if measure.unit == "USD":
        return usd(value)
    return f"{value:.1f}/s" if measure.unit == "/s" else f"{value:.3f} s" if abs(value) < 10.0 else f"{value:.1f} s"


def within(estimate: Estimate, shown: Callable[[float], str]) -> str:
    """`95 %: 1.60x to 2.10x`; an end that is not known is left open."""
    if estimate.low is None and estimate.high is None:
        return "too few to say how sure"
    if estimate.high is None and estimate.low is not None:
        return f"{CERTAINTY}: at least {shown(estimate.low)}"
    if estimate.low is None and estimate.high is not None:
        return f"{CERTAINTY}: at most {shown(estimate.high)}"
    assert estimate.low is not None and estimate.high is not None  # noqa: PT018 - the cases before
    return f"{CERTAINTY}: {shown(estimate.low)} to {shown(estimate.high)}"


# ----------------------------------------------------------------------- sentences


def _alone(summary: Summary) -> Iterator[str]:
    """Nobody to be compared with: what is known of it."""
    success = summary.success
    assert success is not None  # something was measured
    yield f"{summary.name} answered {summary.answered} of {summary.requests} ({within(success, percent)})."
    if (spread := summary.spreads.get("total_s")) is not None:
        shown = f"{spread.mean.value:.3f} s"
        yield f"A whole answer took {shown} on average ({within(spread.mean, lambda value: f'{value:.3f} s')})."


def _success(result: Result) -> Iterator[_Line]:
    """How often each answered."""
    shown = [margin for margin in result.margins if margin.shown]
    for margin in _leaders(shown):
        gap = margin.difference
        counts = f"{_of(margin.counts[0])} against {_of(margin.counts[1])}, {100.0 * gap.value:.0f} points"
        words = f"{margin.better} answered more often than {margin.worse}: {counts} ({within(gap, _points)})."
        yield _Line(words, shown=True)
    if result.margins and not shown:
        counts = ", ".join(f"{s.name} {_of((s.answered, s.requests))}" for s in result.summaries if s.requests)
        yield _Line(f"No difference was shown in how often they answer: {counts}{_could_be(result.margins)}.")


def _could_be(margins: tuple[Margin, ...]) -> str:
    widest = max(max(abs(end) for end in (m.difference.low or 0.0, m.difference.high or 0.0)) for m in margins)
    return f" (it could still be up to {100.0 * widest:.0f} points)"


def _by(measure: Measure, result: Result) -> Iterator[_Line]:
    """How they compare by one measure."""
    contrasts = [contrast for contrast in result.contrasts if contrast.measure is measure]
    known = [summary for summary in result.summaries if measure.key in summary.spreads]
    if not contrasts:
        if len(known) > 1:
            yield _Line(
                f"Too few prompts were answered by both to compare the {measure.title} (less than {PAIRS_MIN})."
            )
        elif measure.key == "cost_usd":
            yield _Line("Costs are not compared: the price of at least one is not known.")
        return
    for contrast in _leaders(contrasts):
        if contrast.shown or any(contrast.means):
            yield _Line((_difference if contrast.shown else _doubt)(contrast), contrast.shown)


def _leaders(found: Sequence[Pair]) -> list[Pair]:
    """Of all pairs those of whoever is ahead most often: the others are in the tables."""
    ahead = Counter(pair.better for pair in found).most_common(1)
    return [pair for pair in found if pair.better == ahead[0][0]]


def _difference(contrast: Contrast) -> str:
    measure, factor = contrast.measure, contrast.factor
    names = {"better": contrast.better, "worse": contrast.worse}
    if factor is None:
        words = _WORDS_WITHOUT_FACTOR.get(measure.key, "{better} is ahead of {worse} by {difference}")
        return words.format(difference=amount(contrast.difference.value, measure), **names) + "."
    words = _WORDS[measure.key].format(factor=times(factor.value), **names)
    return f"{words} ({within(factor, times)}; {measure.title}: {_means(contrast)}; {contrast.pairs} pairs)."


def _doubt(contrast: Contrast) -> str:
    could = f"; as a factor, {within(contrast.factor, times)}" if contrast.factor is not None else ""
    return f"No difference was shown in the {contrast.measure.title}: {_means(contrast)}{could}."


def _means(contrast: Contrast) -> str:
    values = zip((contrast.better, contrast.worse), contrast.means, strict=True)
    return ", ".join(f"{name} {amount(value, contrast.measure)}" for name, value in values)


def _of(count: tuple[int, int]) -> str:
    return f"{count[0]} of {count[1]}"


def _points(share: float) -> str:
    return f"{100.0 * share:.0f}"
