"""The end of a soak: a table, a file of JSON, and a picture where matplotlib is installed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.soak_checks import Check, Seen, memory
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "keep", "show"]

MEGABYTE = 1024.0


def show(seen: Seen, found: Sequence[Check], console: Console) -> None:
    """What was done, what was found, and what was wrong."""
    console.print(", ".join(f"{count:,} {name}" for name, count in sorted(seen.done.items())))
    console.print(f"{seen.reloads} reloads; " + ", ".join(f"{count} {name}" for name, count in seen.troubles.items()))
    table = Table("", "found", "limit", "")
    for check in found:
        table.add_row(check.what, check.found, check.limit, "ok" if check.good else "[bold red]broken")
    console.print(table)
    for line in seen.wrong:
        console.print(f"wrong: {line}", style="red", markup=False, highlight=False)


def keep(seen: Seen, found: Sequence[Check], file: Path) -> None:
    """All of it as JSON."""
    told = {**asdict(seen), "checks": [asdict(check) for check in found]}
    file.write_text(json.dumps(told, indent=1), encoding="utf-8")


def draw(seen: Seen, file: Path) -> bool:
    """Memory, open files, live blocks and requests over time; whether there is anything to draw with."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # noqa: PLC0415 - only there with the extra `pictures`

    minutes = [sample.at_s / 60 for sample in seen.samples]
    rests = [rest.at_s / 60 for rest in seen.rests]
    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    panels: Sequence[Sequence[Axes]] = figure.subplots(2, 2, sharex=True)
    (ram, files), (alive, pace) = panels
    _line(ram, "resident memory, MB", minutes, values=[sample.rss_kb / MEGABYTE for sample in seen.samples])
    ram.plot(rests, [rest.rss_kb / MEGABYTE for rest in seen.rests], "o", color="#d1495b", label="at rest")
    if found := memory(seen):
        ram.set_title(f"{found.slope:+.1f} bytes a request ({found.low:+.1f} to {found.high:+.1f})", fontsize=9)
    _line(files, "open files", minutes, values=[float(sample.files) for sample in seen.samples])
    files.plot(rests, [rest.files for rest in seen.rests], "o", color="#d1495b")
    _line(alive, "blocks of memory alive, at rest", rests, values=[float(rest.blocks) for rest in seen.rests])
    _line(pace, "requests", minutes, values=[float(sample.requests) for sample in seen.samples])
    for axes in (alive, pace):
        axes.set_xlabel("minutes")
    figure.savefig(file)
    return True


def _line(axes: Axes, label: str, xs: Sequence[float], *, values: Sequence[float]) -> None:
    axes.plot(xs, values, color="#2b7bba", linewidth=1.0)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
