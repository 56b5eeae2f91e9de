"""`unbroken replay`: yesterday's requests in the hands of another configuration."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from unbroken.config import ConfigError, load
from unbroken.core.strategies import STRATEGIES
from unbroken.faces.cli.check import problems_text
from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.files import check_outputs, unreadable, written
from unbroken.faces.cli.simulate import in_a_hurry, lines_of
from unbroken.sim.ledger import PastRequest, read_ledger
from unbroken.sim.replay import Changes, Side, replayed
from unbroken.sim.traces import TraceError

__all__ = ["replay", "report"]

TOLD_MAX = 8
"""Kinds of failures that are listed."""


def replay(
    ledger: Path, *, config: Path | None, route: str = "", strategy: str = "", seed: int = 1,
    json_out: Path | None = None, console: Console | None = None,
) -> int:  # fmt: skip
    """Play the ledger's requests by the configuration's routes and say what changed; the exit code."""
    console = console or Console()
    check_outputs(json_out)
    try:
        found = load(config, os.environ)
        with lines_of(ledger) as lines:
            rows = read_ledger(lines, name=str(ledger))
    except ConfigError as error:
        console.print(problems_text(error.problems), soft_wrap=True)
        return 1
    except (TraceError, OSError, UnicodeDecodeError, EOFError) as error:
        fail(unreadable(error))
    if strategy and strategy not in STRATEGIES:
        fail(f"there is no strategy {strategy!r}; there are {', '.join(STRATEGIES)}", code=2)
    routes = {
        name: replace(each, strategy=strategy) if strategy else each for name, each in found.routes.items()
    }  # fmt: skip
    if not routes:
        fail(f"{found.source} has no targets")
    if route and route not in routes:
        fail(f"there is no route {route!r}; there are {', '.join(routes)}", code=2)
    usual = routes[route] if route else next(iter(routes.values()))
    with in_a_hurry():
        changes = replayed(rows, {usual.name: usual} if route else routes, usual=usual, seed=seed)
    console.print(report(changes, usual=usual.name))
    if json_out is not None:
        with written():
            json_out.write_text(json.dumps(_document(changes), indent=2) + "\n", encoding="utf-8")
    return 0


def report(changes: Changes, *, usual: str) -> RenderableType:
    """What changed, and what that rests on."""
    verdict = Text.assemble(
        (f"{changes.requests:,} requests: ", "bold"),
        (f"{len(changes.saved):,} that failed would be answered", "green" if changes.saved else ""),
        ", ",
        (f"{len(changes.lost):,} that were answered would fail", "red" if changes.lost else ""),
    )
    parts: list[RenderableType] = [verdict, _sides(changes), _shares(changes)]
    if changes.saved:
        parts.append(Text("They had failed of: " + _kinds(changes.saved)))
    if changes.missed:
        text = f"No such route in this configuration: {', '.join(changes.missed)}; `{usual}` is played for them."
        parts.append(Text(text, "yellow"))
    parts.append(Text("What this assumes:", "bold"))
    parts += [Text(f"  - {guess}", "yellow" if guess.startswith("GUESSED") else "dim") for guess in changes.guesses]
    return Group(*parts, Text.assemble(("digest ", "dim"), changes.digest))


def _sides(changes: Changes) -> Table:
    table = _table("", "then", "now")
    then, now = changes.then, changes.now
    table.add_row("answered", *(f"{side.answered:,} ({side.answered / changes.requests:.2%})" for side in (then, now)))
    for place, percent in enumerate(("p50", "p90", "p99")):
        table.add_row(f"first word {percent}", *(f"{side.first_s[place]:.2f} s" for side in (then, now)))
    for place, percent in enumerate(("p50", "p90", "p99")):
        table.add_row(f"whole answer {percent}", *(f"{side.total_s[place]:.2f} s" for side in (then, now)))
    table.add_row("cost", *(f"${side.cost_usd:,.4f}" for side in (then, now)))
    table.add_row("attempts", *(f"{side.attempts:,}" for side in (then, now)))
    return table


def _shares(changes: Changes) -> Table:
    table = _table("Who answered", "then", "now", "known by")
    for share in changes.shares:
        known = f"{share.answers:,} answers" if share.answers else "GUESSED"
        table.add_row(share.target, f"{share.then:,}", f"{share.now:,}", known)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _kinds(requests: Sequence[PastRequest]) -> str:
    counted = Counter(request.last.outcome for request in requests)
    return ", ".join(f"{kind} {count:,}" for kind, count in counted.most_common(TOLD_MAX))


def _document(changes: Changes) -> Mapping[str, object]:
    def side(of: Side) -> Mapping[str, object]:
        names = ("p50", "p90", "p99")
        return {
            "answered": of.answered,
            "first_s": dict(zip(names, of.first_s, strict=True)),
            "total_s": dict(zip(names, of.total_s, strict=True)),
            "cost_usd": of.cost_usd,
            "attempts": of.attempts,
        }

    return {
        "requests": changes.requests,
        "then": side(changes.then),
        "now": side(changes.now),
        "saved": [request.last.request for request in changes.saved],
        "lost": [request.last.request for request in changes.lost],
        "targets": [
            {"target": s.target, "then": s.then, "now": s.now, "known_by_answers": s.answers} for s in changes.shares
        ],
        "assumptions": list(changes.guesses),
        "digest": changes.digest,
    }
