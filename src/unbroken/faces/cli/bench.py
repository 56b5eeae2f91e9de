"""`unbroken bench`: the same prompts to several providers in turns, and which of them is better at it.

Reads the prompts, shows how far it is and what was spent, prints the tables and writes what was
asked for; what is measured and reckoned is in `unbroken.bench`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from unbroken.bench.contestants import Contestant, ContestantError, contestants
from unbroken.bench.course import Course, Settings
from unbroken.bench.files import write_csv, write_json
from unbroken.bench.page import write_page
from unbroken.bench.pictures import draw
from unbroken.bench.prompts import Prompt, PromptError, built_in, read_prompts
from unbroken.bench.samples import Sample
from unbroken.bench.summary import Result, result_of
from unbroken.bench.tables import Table as Tabled
from unbroken.bench.tables import tables
from unbroken.bench.verdict import usd, verdict
from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.files import check_outputs, written
from unbroken.faces.cli.options import BenchOptions
from unbroken.types import Task

__all__ = ["bench", "report"]

ROUNDS = {Task.CHAT: 5, Task.EMBEDDING: 5, Task.IMAGE: 1}
"""Where nobody says how many: a picture costs as much as a long conversation."""
INTERRUPTED = 130


def bench(asked: BenchOptions, *, console: Console | None = None) -> int:
    """Compare, print, write.

    The exit code: 0, 1 where nobody answered anything, 2 where something was asked for wrongly, 130 where it
    was interrupted.
    """
    console = console or Console()
    settings = _settings(asked)
    check_outputs(asked.csv, asked.json, asked.html, picture=asked.picture)
    course = Course(_entered(asked, settings), _prompts(asked, settings.task), settings=settings)
    interrupted = False
    with _watched(course) as told, _quiet():
        try:
            asyncio.run(course.run(told))
        except KeyboardInterrupt:
            interrupted = True
            course.stopped = "interrupted"
    result = result_of(course)
    console.print(report(result))
    _write(asked, result)
    if interrupted:
        return INTERRUPTED
    return 0 if any(summary.answered for summary in result.summaries) else 1


# ------------------------------------------------------------- what is compared


def _settings(asked: BenchOptions) -> Settings:
    if asked.task not in ROUNDS:
        fail(f"--task {asked.task}: expected {', '.join(ROUNDS)}", code=2)
    task = Task(asked.task)
    return Settings(
        task=task, rounds=asked.rounds or ROUNDS[task], warm_up=asked.warm_up, concurrency=asked.concurrency,
        rate=asked.rate, max_tokens=asked.max_tokens, timeout_s=asked.timeout_s, stop_at_usd=asked.stop_at_usd,
        seed=asked.seed,
    )  # fmt: skip


def _entered(asked: BenchOptions, settings: Settings) -> list[Contestant]:
    from unbroken.faces.cli.serve import configured

    config = configured(asked.config)
    try:
        found = contestants(config, asked.provider, task=settings.task, timeout_s=settings.timeout_s)
    except ContestantError as error:
        fail(f"--provider: {error}", code=2)
    unpriced = next((target for contestant in found if (target := contestant.unpriced) is not None), None)
    if settings.stop_at_usd is not None and unpriced is not None:
        fail(
            f"--stop-at-usd: no price is known of {unpriced.name}, so nobody can say when to stop; "
            "give its `price` in the configuration",
            code=2,
        )
    return found


def _prompts(asked: BenchOptions, task: Task) -> list[Prompt]:
    try:
        return built_in(task) if asked.prompts is None else read_prompts(asked.prompts, task)
    except PromptError as error:
        fail(f"--prompts: {error}", code=2)


# ------------------------------------------------------------- while it runs


@contextmanager
def _watched(course: Course) -> Iterator[Callable[[Sample], None]]:
    """A line on stderr: how far it is, what was spent, how many failed."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[spent]}{task.fields[failed]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("asking", total=len(course.jobs), spent=usd(0.0), failed="")
        failed = 0

        def told(sample: Sample) -> None:
            nonlocal failed
            failed += not sample.answered
            shown = f", {failed} failed" if failed else ""
            progress.update(bar, advance=1, spent=usd(course.purse.spent_usd), failed=shown)

        yield told


@contextmanager
def _quiet() -> Iterator[None]:
    """Failures are counted in the tables: lines of a log would tear the bar apart."""
    logger, silence = logging.getLogger("unbroken"), logging.NullHandler()
    logger.addHandler(silence)
    try:
        yield
    finally:
        logger.removeHandler(silence)


# ------------------------------------------------------------- what came of it


def report(result: Result) -> RenderableType:
    """The tables, and the verdict last: that is where one looks."""
    settings, counted = result.settings, sum(summary.requests for summary in result.summaries)
    head = Text.assemble(
        (f"{counted:,} requests", "bold"),
        f" of {settings.task} work, {result.prompts} prompts, {settings.at_once} at a time, seed {settings.seed}, "
        f"{usd(result.spent_usd)} spent",
    )
    early = [Text(f"Ended early, after {len(result.samples):,} of {result.planned:,}: {result.stopped}", "yellow")]
    said = [Text(sentence, "bold" if not at else "") for at, sentence in enumerate(verdict(result))]
    shown = [_shown(table) for table in tables(result)] if counted else []
    return Group(head, *(early if result.stopped else []), *shown, *said)


def _shown(table: Tabled) -> Table:
    found = Table(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for at, column in enumerate(table.columns):
        found.add_column(column, justify="right" if at else "left", overflow="fold")
    for row in table.rows:
        found.add_row(*map(Text, row))
    return found


def _write(asked: BenchOptions, result: Result) -> None:
    picture, pages = asked.picture, {asked.html} - {None}
    if picture is not None and picture.suffix == ".html":
        picture, pages = None, pages | {picture}
    with written():
        if asked.csv is not None:
            write_csv(result, asked.csv)
        if asked.json is not None:
            write_json(result, asked.json)
        if picture is not None:
            draw(result, picture)
        for path in filter(None, pages):
            write_page(result, path)
