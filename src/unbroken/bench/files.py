"""A comparison as files for other programs: every request as CSV, everything as JSON."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

from unbroken.bench.samples import FIELDS, Sample
from unbroken.bench.summary import Contrast, Margin, Result
from unbroken.bench.verdict import verdict
from unbroken.types import Json

__all__ = ["document", "row_of", "write_csv", "write_json"]

DIGITS = 9
"""After the point: nanoseconds, and less than what a token costs."""


def write_csv(result: Result, path: Path) -> None:
    """A row for each request, with the warm-up (round 0), in the order in which they were made."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_safe(row_of(sample)) for sample in result.samples)


def write_json(result: Result, path: Path) -> None:
    """The same, and what follows from it."""
    path.write_text(json.dumps(document(result), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def row_of(sample: Sample) -> dict[str, Json]:
    """A request by the names of its fields."""
    return {name: _rounded(getattr(sample, name)) for name in FIELDS}


def document(result: Result) -> dict[str, Json]:
    """Everything, in plain values."""
    found: dict[str, Json] = {
        "settings": asdict(result.settings),
        "prompts": result.prompts,
        "planned": result.planned,
        "stopped": result.stopped,
        "spent_usd": result.spent_usd,
        "verdict": verdict(result),
        "providers": [asdict(summary) for summary in result.summaries],
        "comparisons": [_contrast(contrast) for contrast in result.contrasts],
        "success": [_margin(margin) for margin in result.margins],
        "requests": [row_of(sample) for sample in result.samples],
    }
    rounded: dict[str, Json] = _rounded(found)
    return rounded


def _contrast(contrast: Contrast) -> dict[str, Json]:
    return {**asdict(contrast), "measure": contrast.measure.key, "shown": contrast.shown}


def _margin(margin: Margin) -> dict[str, Json]:
    return {**asdict(margin), "shown": margin.shown}


def _rounded(value: Json) -> Json:
    match value:
        case float():
            return round(value, DIGITS)
        case dict():
            return {name: _rounded(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner) for inner in value]
        case _:
            return value


def _safe(row: dict[str, Json]) -> dict[str, Json]:
    """Text that somebody else wrote is no formula, whatever a spreadsheet makes of its first character."""
    return {
        name: f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@"} else value
        for name, value in row.items()
    }
