"""A comparison as one HTML page: verdict, tables, picture and every request; nothing in it comes from elsewhere.

There is no script in it.  Light and dark follow the reader's own setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from unbroken.bench.files import row_of
from unbroken.bench.pictures import inline
from unbroken.bench.samples import FIELDS
from unbroken.bench.summary import Result
from unbroken.bench.tables import Table, tables
from unbroken.bench.verdict import usd, verdict

__all__ = ["page", "write_page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: light-dark(#f4f5f7, #1d2126); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  background: light-dark(#fff, #14171a); color: light-dark(#1b1f24, #e4e7eb); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { background: var(--soft); border-radius: 8px; padding: .75rem 1rem; margin: 1rem 0; }
.verdict p { margin: .25rem 0; } .verdict p:first-child { font-weight: 600; }
.wide { overflow-x: auto; } svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
details table { font-size: 12px; } summary { cursor: pointer; }
"""


def write_page(result: Result, path: Path) -> None:
    """Into a file."""
    path.write_text(page(result), encoding="utf-8")


def page(result: Result) -> str:
    """The whole page."""
    title = " and ".join(summary.name for summary in result.summaries)
    picture = inline(result)
    drawn = (
        f'<h2>Every answer</h2><div role="img" aria-label="Every answer by provider, with means">{picture}</div>'
        if picture
        else ""
    )
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(result))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>unbroken bench: {escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(_about(result))}</p>"
        f'<div class="verdict">{sentences}</div>{drawn}'
        f"{''.join(f'<h2>{escape(table.title)}</h2>{_table(table)}' for table in tables(result))}"
        f"<h2>Requests</h2><details><summary>All {len(result.samples):,}, in their order; round 0 is the warm-up"
        f"</summary>{_table(_requests(result))}</details></body></html>\n"
    )


def _about(result: Result) -> str:
    s = result.settings
    parts = [
        f"{s.task} work", f"{result.prompts} prompts, {s.rounds} times each", f"{s.at_once} at a time",
        f"seed {s.seed}", f"{usd(result.spent_usd)} spent",
    ]  # fmt: skip
    if s.task.value == "chat" and s.max_tokens:
        parts.insert(3, f"at most {s.max_tokens} tokens")
    return ", ".join(parts) + (f". Ended early: {result.stopped}." if result.stopped else ".")


def _requests(result: Result) -> Table:
    rows = [[_plain(value) for value in row_of(sample).values()] for sample in result.samples]
    return Table("Requests", FIELDS, rows)


def _plain(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    rows = "".join(f"<tr>{_cells(row)}</tr>" for row in table.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(row: Sequence[str] | Iterable[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)
