"""`unbroken explain`: one request as a timeline: who was asked when, what came of it, what it took and cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.ledger import opened
from unbroken.ledger.record import ABANDONED, ANSWERED, UNDER_WAY, Record, Try, told

__all__ = ["explain", "timeline"]

BAR_COLUMNS = 40
"""The width of the timeline; the whole request fills it."""
WAITING, WRITING = "░", "█"
_STYLES = {ANSWERED: "green", ABANDONED: "yellow", UNDER_WAY: "cyan"}
_ENDS = {ANSWERED: "answered", ABANDONED: "given up", UNDER_WAY: "under way"}
_WHYS = {
    "first": "first choice",
    "retry": "asked again",
    "fix": "asked again, changed",
    "failover": "instead",
    "hedge": "beside, for the first was silent",
    "race": "at the same time",
    "continuation": "goes on",
    "last_resort": "last resort",
}


def explain(request: str, *, config: Path | None, ledger: str, json: bool, console: Console | None = None) -> int:
    """Print the decision record of a request; the exit code."""
    with opened(ledger, config) as store:
        record = store.find(request)
    if record is None:
        fail(f"the ledger knows no request {request}; its id is in the header x-unbroken-request-id of each answer")
    console = console or Console()
    if json:
        print(msgspec.json.format(msgspec.json.encode(told(record))).decode())
    else:
        console.print(timeline(record), soft_wrap=True, highlight=False)
    return 0


def timeline(record: Record) -> RenderableType:
    """A record for people: what was wanted, who could have answered, each attempt at its time, and the end."""
    parts: list[RenderableType] = [Text("\n".join(_head(record)))]
    if record.candidates or record.skipped:
        parts.append(_candidates(record))
    if record.attempts:
        parts.append(_attempts(record))
    parts.append(Text("\n".join(_foot(record)), style=_style(record.outcome)))
    for heading, words in (("prompt", record.prompt), ("answer", record.answer)):
        if words:
            parts.append(Text(f"\n{heading}:\n{words}"))
    return Group(*parts)


def _head(record: Record) -> Iterator[str]:
    at = datetime.fromtimestamp(record.at, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    yield f"{record.id}  {at} UTC"
    kind = f"{record.task}{', streamed' if record.stream else ''}"
    by = f" by caller {record.caller}" if record.caller else ""
    strategy = f" ({record.strategy})" if record.strategy else ""
    yield f"route {record.route}{strategy}  {kind}, {record.prompt_chars:,} characters{by}"
    yield from (f"  {note}" for note in record.notes)


def _candidates(record: Record) -> Table:
    table = Table.grid(padding=(0, 2))
    for place, name in enumerate(record.candidates, start=1):
        table.add_row(f"  {place}.", name, "")
    for name, why in record.skipped:
        table.add_row("   -", Text(name, style="dim"), Text(f"skipped: {why}", style="dim"))
    return table


# ------------------------------------------------------------------- attempts


def _attempts(record: Record) -> Table:
    scale_s = max([record.total_s or 0.0, *(row.start_s + (row.total_s or 0.0) for row in record.attempts)]) or 1e-3
    table = Table.grid(padding=(0, 1))
    table.add_row("", "", Text(f"|{'0':<{BAR_COLUMNS // 2}}{_seconds(scale_s):>{BAR_COLUMNS - BAR_COLUMNS // 2}}|"), "")
    for row in record.attempts:
        style = _style(row.outcome)
        name = Text(row.target, style=style)
        table.add_row(f"#{row.number}", name, Text(_bar(row, scale_s), style=style), Text(_end(row), style=style))
        table.add_row("", "", "", Text("\n".join(_details(row)), style="dim"))
    return table


def _bar(row: Try, scale_s: float) -> str:
    """When it waited and when it wrote, to scale; at least one column each."""
    end_s = row.start_s + (row.total_s or 0.0)
    first_s = end_s if row.first_content_s is None else row.start_s + row.first_content_s
    start, first, end = (min(BAR_COLUMNS, round(BAR_COLUMNS * at / scale_s)) for at in (row.start_s, first_s, end_s))
    start = min(start, BAR_COLUMNS - 1)
    end = max(end, start + 1)
    writes = row.first_content_s is not None
    first = min(max(first, start), end - 1 if writes else end)
    return "|" + " " * start + WAITING * (first - start) + WRITING * (end - first) + " " * (BAR_COLUMNS - end) + "|"


def _end(row: Try) -> str:
    what = _ENDS.get(row.outcome) or row.outcome.replace("_", " ") + (f" {row.status}" if row.status else "")
    return f"{what} after {_seconds(row.total_s)}" if row.total_s is not None else what


def _details(row: Try) -> Iterator[str]:
    first = f", first words after {_seconds(row.first_content_s)}" if row.first_content_s is not None else ""
    after = f" after {row.after_chars:,} characters ({row.mode})" if row.mode else ""
    yield f"{_WHYS.get(row.why, row.why)}{after}, at {_seconds(row.start_s)}{first}"
    if row.message:
        yield row.message
    if row.left_out:
        yield f"not told: {', '.join(row.left_out)}"
    if row.counted != "none":
        yield f"{row.input_tokens:,} tokens in, {row.output_tokens:,} out{_cost(row.cost_usd)}" + (
            " (our estimate)" if row.counted == "estimate" else ""
        )


# ------------------------------------------------------------------- the end


def _foot(record: Record) -> Iterator[str]:
    after = f", after {_seconds(record.total_s)}" if record.total_s is not None else ""
    yield f"the caller saw{after}: {_seen(record)}"
    if record.attempts:
        guess = ", partly our estimate" if record.estimated else ""
        yield f"in all {record.input_tokens:,} tokens in, {record.output_tokens:,} out{_cost(record.cost_usd)}{guess}"


def _seen(record: Record) -> str:
    if record.outcome == ANSWERED:
        if record.cache not in {"", "miss"}:
            age = f", {_seconds(record.age_s)} old" if record.age_s else ""
            return f"an answer from the cache ({record.cache}{age}, first given to {record.origin})"
        how = "one answer, rescued in the middle" if record.rescued else "an answer"
        return f"{how}, by {record.target}{' (failover)' if record.failover else ''}"
    if record.outcome == UNDER_WAY:
        return "nothing yet"
    if record.outcome == "cancelled":
        return "nothing more: it left"
    told_as = "an error in the middle of its stream" if record.broken else f"an error, status {record.status}"
    return f"{told_as}: {record.message}"


def _style(outcome: str) -> str:
    return _STYLES.get(outcome, "red")


def _cost(usd: float | None) -> str:
    return "" if usd is None else f", ${usd:.6f}".rstrip("0").rstrip(".")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    return f"{1000 * seconds:.0f} ms" if seconds < 1.0 else f"{seconds:.2f} s"
