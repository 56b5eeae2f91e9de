"""`unbroken simulate`: every strategy through the same day, side by side.

Reads files, shows how far it is, prints the tables and writes what was asked for; what is
played and counted is in `unbroken.sim`.
"""

from __future__ import annotations

import csv
import gc
import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from unbroken.config import Config, ConfigError, load
from unbroken.faces.cli.check import problems_text
from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.files import check_outputs, unreadable, written
from unbroken.faces.cli.options import SimulateOptions
from unbroken.faces.cli.pictures import draw
from unbroken.faces.cli.scenario import read_scenario
from unbroken.policy import Route
from unbroken.sim.contest import Comparison, Contestant, by_strategy, compare, contestants
from unbroken.sim.course import Scene
from unbroken.sim.incidents import Reported, read_incidents
from unbroken.sim.results import AFTER, COLUMNS, Summary, row_of
from unbroken.sim.scenario import Scenario, scene_of
from unbroken.sim.suppliers import Weights
from unbroken.sim.traces import Trace, TraceError, read_trace

__all__ = ["configured", "in_a_hurry", "lines_of", "report", "simulate", "watched"]

REQUESTS = 10_000
"""Played where nobody says how many and no trace has its own number."""


def simulate(asked: SimulateOptions, *, console: Console | None = None) -> int:
    """Play, print, write; the exit code: 0, 1 where a file is wrong, 2 where a name is."""
    console = console or Console()
    check_outputs(asked.csv, asked.json, picture=asked.picture)
    if asked.route and asked.config is None:
        fail("--route: whose? give its configuration with --config", code=2)
    try:
        scenario = read_scenario(asked.scenario) if asked.scenario else Scenario()
        route = configured(asked.config, asked.route) if asked.config else None
        trace = _trace(asked, scenario)
        incidents = _incidents(asked.incidents)
    except ConfigError as error:
        console.print(problems_text(error.problems), soft_wrap=True)
        return 1
    except (TraceError, OSError, UnicodeDecodeError, EOFError) as error:
        fail(unreadable(error))
    scenario = replace(scenario, days=(*scenario.days, *(asked.outage or ())))
    requests = asked.requests or (0 if trace is not None else REQUESTS)
    try:
        scene = scene_of(scenario, route, trace=trace, requests=requests, seed=asked.seed, incidents=incidents)
        players = _players(asked, scene, weights=scenario.weights, configured=route is not None)
    except ValueError as error:
        fail(str(error), code=2)
    began = perf_counter()
    with watched(len(scene.trace)) as progress, in_a_hurry():
        comparison = compare(scene, players, progress=progress)
    console.print(report(comparison, seconds=perf_counter() - began))
    _write(asked, comparison)
    return 0


# ------------------------------------------------------------- what is played


def configured(path: Path | None, name: str) -> Route:
    """The route of a configuration that is meant; without a name the first."""
    config: Config = load(path, os.environ)
    if not config.routes:
        fail(f"{config.source} has no targets", code=1)
    found = config.resolve(name) if name else next(iter(config.routes.values()))
    if found is None:
        fail(f"there is no route {name!r}; there are {', '.join(config.routes)}", code=2)
    return found


def _trace(asked: SimulateOptions, scenario: Scenario) -> Trace | None:
    if asked.trace is None:
        return None
    chance = Random(f"{asked.seed}/trace")
    with lines_of(asked.trace) as lines:
        trace = read_trace(lines, name=str(asked.trace), chance=chance, lengths=scenario.workload.lengths)
    return trace.faster(asked.rate) if asked.rate != 1.0 else trace


def _incidents(path: Path | None) -> Sequence[Reported]:
    if path is None:
        return ()
    with lines_of(path) as lines:
        return read_incidents(lines, name=str(path))


@contextmanager
def lines_of(path: Path) -> Iterator[TextIO]:
    """The lines of a text file, which may be packed with gzip."""
    with path.open("rb") as plain:
        packed = plain.peek(2)[:2] == b"\x1f\x8b"
        with TextIOWrapper(gzip.GzipFile(fileobj=plain) if packed else plain, encoding="utf-8-sig", newline="") as text:
            yield text


def _players(asked: SimulateOptions, scene: Scene, *, weights: Weights | None, configured: bool) -> list[Contestant]:
    route = scene.route
    if weights is not None:
        route = replace(route, requirements={"speed": weights.speed, "cost": weights.cost, "reliability": 1.0})
    names = [name.strip() for name in asked.strategies.split(",") if name.strip()]
    routes: dict[str, Route] = {}
    if configured:
        routes[f"yours: {route.strategy}"] = route
    routes |= by_strategy(route, names)
    return contestants(routes, baselines=asked.baselines)


@contextmanager
def watched(requests: int) -> Iterator[Callable[[str, int], None]]:
    """A line on stderr for whoever is playing, with the time that is left."""
    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, int] = {}

        def told(name: str, done: int) -> None:
            if name not in tasks:
                for task in progress.task_ids:
                    progress.update(task, completed=requests, visible=False)
                tasks[name] = progress.add_task(name, total=requests)
            progress.update(progress.task_ids[tasks[name]], completed=done)

        yield told


@contextmanager
def in_a_hurry() -> Iterator[None]:
    """Without looking for garbage: a run makes millions of small values, and hardly a cycle among them."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ------------------------------------------------------------- what came of it


def report(comparison: Comparison, *, seconds: float) -> RenderableType:
    """The tables, and what they rest on."""
    scene = comparison.scene
    trace, played = scene.trace, sum(summary.requests for summary in comparison.summaries)
    head = Text.assemble(
        (f"{len(trace):,} requests", "bold"),
        f" of {trace.name} in {trace.span_s:,.0f} s, {len(scene.suppliers)} targets, seed {scene.seed}",
    )
    changes = "; ".join(f"{what} from {start_s:,.0f} to {end_s:,.0f} s" for start_s, end_s, what in _few(scene))
    last = Text.assemble(("digest ", "dim"), comparison.digest)
    speed = Text(f"{played:,} requests played in {seconds:.1f} s, {played / max(seconds, 1e-9):,.0f} a second", "dim")
    return Group(head, Text(changes or "nothing goes wrong", "dim"), _seen(comparison), _cost(comparison), last, speed)


def _few(scene: Scene, most: int = 12) -> Sequence[tuple[float, float, str]]:
    shades = scene.plan.shades
    return shades if len(shades) <= most else [*shades[:most], (shades[most][0], shades[-1][1], "and others")]


def _seen(comparison: Comparison) -> Table:
    """What callers saw."""
    marks = "p50  p90  p99"
    columns = ("answered", "of possible", f"first token, s: {marks}", f"whole answer, s: {marks}")
    table = _table("What callers saw", columns)
    for summary in comparison.summaries:
        times = ["  ".join(f"{of[p]:.2f}" for p in (50, 90, 99)) for of in (summary.first_s, summary.total_s)]
        table.add_row(summary.name, f"{summary.success:.3%}", f"{summary.kept:.3%}", *times)
    return table


def _cost(comparison: Comparison) -> Table:
    """What that cost, and how far from the best it was."""
    columns = ("$ / 1000", "extra", "failovers", "rescued", "over best", "over informed", f"{AFTER} after change",
               f"next {AFTER}", "steady", "aim")  # fmt: skip
    table = _table("What it cost, and how far from the best it was (by its aim)", columns)
    for s in comparison.summaries:
        each_usd = 1000 * s.cost_usd / max(1, s.requests)
        table.add_row(
            s.name, f"{each_usd:.3f}", f"{s.extra_share:.2%}", f"{s.failovers:,}", f"{s.rescued:,}",
            f"{s.regret:+.1%}", f"{s.regret_informed:+.1%}", f"{s.after[0]:+.1%}", f"{s.after[1]:+.1%}",
            f"{s.steady.regret:+.1%}", s.weights,
        )  # fmt: skip
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("strategy", overflow="fold", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="left" if column == "aim" else "right", overflow="fold")
    return table


def _write(asked: SimulateOptions, comparison: Comparison) -> None:
    rows = [row_of(summary) for summary in comparison.summaries]
    with written():
        if asked.csv is not None:
            with asked.csv.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        if asked.json is not None:
            asked.json.write_text(json.dumps(_document(comparison, rows), indent=2) + "\n", encoding="utf-8")
        if asked.picture is not None:
            draw(comparison, asked.picture)


def _document(comparison: Comparison, rows: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    scene = comparison.scene

    def shares(summary: Summary) -> Mapping[str, float]:
        return {name: round(share, 4) for name, share in summary.shares.items()}

    return {
        "digest": comparison.digest,
        "seed": scene.seed,
        "trace": scene.trace.name,
        "requests": len(scene.trace),
        "span_s": round(scene.trace.span_s, 3),
        "changes": [{"at_s": round(change.at_s, 3), "what": change.what} for change in scene.plan.changes],
        "strategies": [
            {**row, "shares": shares(summary), "failed_of": summary.kinds}
            for row, summary in zip(rows, comparison.summaries, strict=True)
        ],
    }
