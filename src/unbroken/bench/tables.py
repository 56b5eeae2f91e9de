"""A comparison as tables of words: the same for a terminal and a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unbroken.bench.intervals import Estimate
from unbroken.bench.samples import Measure
from unbroken.bench.summary import Contrast, Result, Spread, Summary
from unbroken.bench.verdict import amount, percent, times, usd, within

__all__ = ["Table", "tables"]

Shown = Callable[[float], str]
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the columns' names, and rows of as many cells."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(result: Result) -> list[Table]:
    """All of them; those without a row are left out."""
    spread = (measure for measure in result.measures if measure.unit != "USD")
    found = [_answers(result), *(_spreads(result, measure) for measure in spread), _costs(result)]
    return [table for table in [*found, _contrasts(result)] if table.rows]


def _answers(result: Result) -> Table:
    columns = ("provider", "answered", "of", "success", "95 %", "errors")
    rows = [_answered(summary) for summary in result.summaries]
    return Table("Answers", columns, rows)


def _answered(summary: Summary) -> list[str]:
    success = summary.success
    share = percent(success.value) if success else UNKNOWN
    errors = ", ".join(f"{count} {kind}" for kind, count in summary.errors.items()) or "none"
    return [summary.name, str(summary.answered), str(summary.requests), share, _range(success, percent), errors]


def _costs(result: Result) -> Table:
    columns = ("provider", "tokens in", "tokens out", "a request", "95 %", "1k tokens out", "95 %", "spent")
    return Table("Tokens, and what they cost in dollars", columns, [_cost(summary) for summary in result.summaries])


def _cost(summary: Summary) -> list[str]:
    guessed = "~" if summary.estimated else ""
    each, thousand = summary.usd_per_request, summary.usd_per_1k_output
    return [
        summary.name, f"{guessed}{summary.input_tokens:,}", f"{guessed}{summary.output_tokens:,}",
        _dollars(each.value) if each else UNKNOWN, _range(each, _dollars),
        _dollars(thousand.value) if thousand else UNKNOWN, _range(thousand, _dollars),
        _dollars(summary.spent_usd) if each or summary.spent_usd else UNKNOWN,
    ]  # fmt: skip


def _dollars(value: float) -> str:
    return usd(value).removesuffix(" USD")


def _spreads(result: Result, measure: Measure) -> Table:
    columns = ("provider", "mean", "95 %", "deviation", "p50", "p95", "p99", "of")
    title = f"{measure.title}, seconds" if measure.unit == "s" else measure.title
    rows = [
        _spread(summary.name, spread, measure=measure)
        for summary in result.summaries
        if (spread := summary.spreads.get(measure.key)) is not None
    ]
    return Table(title[0].upper() + title[1:], columns, rows)


def _spread(name: str, spread: Spread, *, measure: Measure) -> list[str]:
    def shown(value: float) -> str:
        return amount(value, measure).removesuffix(" s").removesuffix("/s")

    return [
        name, shown(spread.mean.value), _range(spread.mean, shown), shown(spread.stdev.value),
        *(_with_range(estimate, shown) for estimate in (spread.p50, spread.p95, spread.p99)), str(spread.count),
    ]  # fmt: skip


def _contrasts(result: Result) -> Table:
    columns = ("measure", "better", "worse", "factor", "difference", "pairs", "shown")
    return Table("Compared, prompt by prompt", columns, [_contrast(contrast) for contrast in result.contrasts])


def _contrast(contrast: Contrast) -> list[str]:
    def shown(value: float) -> str:
        return amount(value, contrast.measure)

    factor = f"{times(contrast.factor.value)} ({within(contrast.factor, times)})" if contrast.factor else UNKNOWN
    return [
        contrast.measure.title, contrast.better, contrast.worse, factor,
        f"{shown(contrast.difference.value)} ({_range(contrast.difference, shown)})",
        str(contrast.pairs), "yes" if contrast.shown else "no",
    ]  # fmt: skip


def _with_range(estimate: Estimate, shown: Shown) -> str:
    """`1.3 (1.2-1.4)`; `1.3 (1.2+)` where the data do not show how much more it could be."""
    ends = [shown(end) for end in (estimate.low, estimate.high) if end is not None]
    if not ends:
        return shown(estimate.value)
    if estimate.low is None:
        return f"{shown(estimate.value)} (to {ends[0]})"
    return f"{shown(estimate.value)} ({'-'.join(ends)}{'+' if len(ends) == 1 else ''})"


def _range(estimate: Estimate | None, shown: Shown) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return UNKNOWN
    return f"{shown(estimate.low)} to {shown(estimate.high)}"
