"""Pictures of a comparison: answered over time, times, cost and regret, as SVG, PNG or a page that holds it all.

The page is one file without scripts or anything from elsewhere: the picture as SVG, the
numbers as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from unbroken.sim.baselines import ORACLES
from unbroken.sim.contest import Comparison
from unbroken.sim.results import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

INCHES = (13.0, 10.0)
COLOURS = ("#1b6ca8", "#d1495b", "#2e9e6b", "#e0a030", "#7a5aa6", "#3aa6a6", "#9c6b3f", "#c76fa8", "#5c6670", "#8fb339")
DASHES = ("-", "--", ":")
"""Colours come again with another dash: a picture in grey can be read as well."""


def draw(comparison: Comparison, path: Path) -> None:
    """Into a file, in the form that its ending says: svg, png or html."""
    figure = _figure(comparison)
    if path.suffix == ".png":
        figure.savefig(path, dpi=120)
    else:
        svg = _svg(figure)
        path.write_text(svg if path.suffix == ".svg" else _page(comparison, svg), encoding="utf-8")


def _svg(figure: Figure) -> str:
    """The same text for the same picture: no date, no names drawn at random."""
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({"svg.hashsalt": "unbroken", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _figure(comparison: Comparison) -> Figure:
    """Four panels; made without pyplot, which would want a screen."""
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=INCHES, layout="constrained")
    answered, times, cost, regret = figure.subplots(2, 2).flat
    _answered(answered, comparison)
    _times(times, comparison.summaries)
    _cost(cost, comparison.summaries)
    _regret(regret, comparison)
    handles, labels = answered.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def _answered(axes: Axes, comparison: Comparison) -> None:
    axes.set_title("Requests answered", loc="left")
    shares = [[100 * bucket.success for bucket in shape] for shape in comparison.shapes.values()]
    _over_time(axes, comparison, columns=shares)
    axes.set_ylabel("percent")
    axes.set_ylim(-3, 103)


def _regret(axes: Axes, comparison: Comparison) -> None:
    """Of those who have to learn: an oracle's line is flat, or falls with its luck."""
    axes.set_title("Regret so far: flat where nothing was left to learn", loc="left")
    nothing: list[float] = []
    shapes = comparison.shapes.items()
    regrets = [nothing if _knows(name) else [bucket.regret for bucket in shape] for name, shape in shapes]
    _over_time(axes, comparison, columns=regrets)
    axes.set_ylabel("sum of ln(burden / informed burden)")


def _knows(name: str) -> bool:
    return name.startswith(tuple(ORACLES))


def _over_time(axes: Axes, comparison: Comparison, *, columns: Sequence[Sequence[float]]) -> None:
    """A line for each strategy; outages are shaded."""
    for start_s, end_s, _ in comparison.scene.plan.shades:
        axes.axvspan(start_s, end_s, color="#d1495b", alpha=0.08, linewidth=0)
    for (name, shape), values, look in zip(comparison.shapes.items(), columns, _looks(), strict=False):
        colour, dash = look
        axes.plot(
            [bucket.at_s for bucket in shape][: len(values)],
            values,
            label=name,
            color=colour,
            linestyle=dash,
            linewidth=1.3,
        )
    axes.set_xlabel("seconds")
    _plain(axes)


def _looks() -> Sequence[tuple[str, str]]:
    return [(colour, dash) for dash in DASHES for colour in COLOURS]


def _times(axes: Axes, summaries: Sequence[Summary]) -> None:
    axes.set_title("Time to the end: p50, p90, p99", loc="left")
    places = range(len(summaries))
    for percent, shade in ((99, "#c9d7e3"), (90, "#7fa6c6"), (50, "#1b6ca8")):
        axes.barh(places, [s.total_s[percent] for s in summaries], color=shade, height=0.7)
    axes.set_xlabel("seconds")
    _named(axes, summaries)


def _cost(axes: Axes, summaries: Sequence[Summary]) -> None:
    axes.set_title("Cost of a thousand requests, and requests sent beyond one each", loc="left")
    each_usd = [1000 * s.cost_usd / max(1, s.requests) for s in summaries]
    bars = axes.barh(range(len(summaries)), each_usd, color="#2e9e6b", height=0.7)
    axes.bar_label(bars, [f"+{s.extra_share:.1%}" for s in summaries], fontsize=7, padding=3, color="#5c6670")
    axes.set_xlabel("dollars")
    _named(axes, summaries)


def _named(axes: Axes, summaries: Sequence[Summary]) -> None:
    axes.set_yticks(range(len(summaries)), [s.name for s in summaries], fontsize=8)
    axes.invert_yaxis()
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)


# ------------------------------------------------------------- the page


_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
.picture { background: #fff; border-radius: 8px; padding: .5rem; } .picture svg { width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr.ours td:first-child { font-weight: 600; }
"""
_HEADINGS = ("strategy", "answered", "of possible", "first p50", "first p99", "total p50", "total p99", "$ / 1000",
             "extra", "failovers", "rescued", "over informed", "steady", "aim")  # fmt: skip


def _page(comparison: Comparison, svg: str) -> str:
    scene = comparison.scene
    changes = "".join(
        f"<li>{escape(what)}: {start_s:,.0f} to {end_s:,.0f} s</li>" for start_s, end_s, what in scene.plan.shades[:40]
    )
    head = "".join(f"<th scope=col>{escape(heading)}</th>" for heading in _HEADINGS)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(s))}</tr>" for s in comparison.summaries
    )
    picture = svg[svg.index("<svg") :]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>unbroken simulate</title><style>{_STYLE}</style></head><body>"
        f"<h1>{len(scene.trace):,} requests, strategy by strategy</h1>"
        f"<p>{escape(scene.trace.name)}, {scene.trace.span_s:,.0f} s, {len(scene.suppliers)} targets, "
        f"seed {scene.seed}, digest <code>{comparison.digest}</code></p>"
        f"<ul>{changes or '<li>nothing goes wrong</li>'}</ul>"
        f'<div class="picture" role="img" aria-label="Answered, times, cost and regret by strategy">{picture}</div>'
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        "</body></html>\n"
    )


def _cells(s: Summary) -> tuple[str, ...]:
    return (
        s.name, f"{s.success:.3%}", f"{s.kept:.3%}", f"{s.first_s[50]:.2f} s", f"{s.first_s[99]:.2f} s",
        f"{s.total_s[50]:.2f} s", f"{s.total_s[99]:.2f} s", f"{1000 * s.cost_usd / max(1, s.requests):.3f}",
        f"{s.extra_share:.2%}", f"{s.failovers:,}", f"{s.rescued:,}", f"{s.regret_informed:+.1%}",
        f"{s.steady.regret:+.1%}", s.weights,
    )  # fmt: skip
