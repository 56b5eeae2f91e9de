"""A comparison as a picture: every answer a point, the mean and its interval over them.

Needs matplotlib (`pip install 'unbroken[pictures]'`).  For a page it is drawn without a
background and in the page's own colour of text, so that it can be read in light and dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from unbroken.bench.intervals import Estimate
from unbroken.bench.samples import Measure
from unbroken.bench.summary import Result, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "inline", "missing"]

WIDTH_INCHES = 10.0
PANEL_INCHES = 0.9
ROW_INCHES = 0.42
POINTS_MAX = 400
"""Of one contestant in one panel: more would be a blot."""
COLOURS = ("#2b7bba", "#d1495b", "#2e9e6b", "#d08a1d", "#8a63b8", "#2f9c9c", "#a8764a", "#c76fa8")
INK = "#010203"
"""Stands for the colour of text until the page has one."""


def missing() -> bool:
    """Whether what draws is not installed."""
    return find_spec("matplotlib") is None


def draw(result: Result, path: Path) -> None:
    """Into a file, as SVG or PNG by its ending."""
    with _looks({}):
        figure = _figure(result)
        if path.suffix == ".png":
            figure.savefig(path, dpi=120)
        else:
            path.write_text(_svg(figure), encoding="utf-8")


def inline(result: Result) -> str:
    """An `<svg>` element for a page; nothing where there is nothing to draw, or nothing to draw with."""
    if missing() or not result.measures:
        return ""
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK)
    with _looks({**ink, "savefig.transparent": True}):
        svg = _svg(_figure(result))
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


@contextmanager
def _looks(more: Mapping[str, Any]) -> Iterator[None]:
    """The same text for the same picture: no date, no names drawn at random."""
    from matplotlib import rc_context  # noqa: PLC0415 - only there with the extra `pictures`

    plain = {"svg.hashsalt": "unbroken", "svg.fonttype": "none", "font.size": 9.0, "text.parse_math": False}
    settings: Any = {**plain, **more}
    with rc_context(settings):
        yield


def _svg(figure: Figure) -> str:
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _figure(result: Result) -> Figure:
    """A panel for each measure, a row for each contestant; made without pyplot, which would want a screen."""
    from matplotlib.figure import Figure as Drawing  # noqa: PLC0415 - as above

    measures, rows = result.measures, len(result.summaries)
    height = max(1, len(measures)) * (PANEL_INCHES + ROW_INCHES * rows)
    figure = Drawing(figsize=(WIDTH_INCHES, height), layout="constrained")
    panels = figure.subplots(max(1, len(measures)), 1, squeeze=False)[:, 0]
    for axes, measure in zip(panels, measures, strict=False):
        _panel(axes, result, measure=measure)
    return figure


def _panel(axes: Axes, result: Result, *, measure: Measure) -> None:
    axes.set_title(f"{measure.title}: every answer, the mean and its 95 % interval", loc="left", fontsize=10)
    for row, summary in enumerate(result.summaries):
        values = [
            value for sample in result.samples
            if sample.provider == summary.name and sample.round and (value := measure.of(sample)) is not None
        ]  # fmt: skip
        _row(axes, row, values=values, summary=summary, measure=measure)
    axes.set_yticks(range(len(result.summaries)), [summary.name for summary in result.summaries])
    axes.set_ylim(len(result.summaries) - 0.5, -0.5)
    axes.set_xlim(left=0.0)
    axes.set_xlabel({"s": "seconds", "/s": "tokens per second", "USD": "dollars"}[measure.unit])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25, linewidth=0.5)


def _row(axes: Axes, row: int, *, values: Sequence[float], summary: Summary, measure: Measure) -> None:
    colour, scatter = COLOURS[row % len(COLOURS)], Random(row)
    shown = values if len(values) <= POINTS_MAX else scatter.sample(values, POINTS_MAX)
    heights = [row + scatter.uniform(-0.28, 0.28) for _ in shown]
    axes.scatter(shown, heights, s=9, color=colour, alpha=0.55, linewidths=0)
    if (spread := summary.spreads.get(measure.key)) is not None:
        _mean(axes, row, mean=spread.mean, colour=colour)


def _mean(axes: Axes, row: int, *, mean: Estimate, colour: str) -> None:
    if mean.low is not None and mean.high is not None:
        axes.plot([mean.low, mean.high], [row, row], color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot([mean.value], [row], marker="D", color=colour, markeredgecolor="white", markersize=7)
