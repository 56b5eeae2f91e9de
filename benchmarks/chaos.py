"""Everything that can be taken away from gateways, while they are asked: make chaos.

    python -m benchmarks.chaos [--only store,disk] [--seed 1] [--list]

Each scene starts gateways as processes of their own, before providers one of which fails all the time, and callers who
want plain answers and streams.  When so many requests were answered, something is killed, cut off, filled, slowed
down or set wrong; when so many more were, it is put right; and after some more, what callers, providers and the
ledger have seen is compared with what is promised, by counts.  A scene that the machine does not let us play is
skipped, with the reason.  Ends with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.chaos_checks import checks
from benchmarks.chaos_parts import Lacking
from benchmarks.chaos_scenes import SCENES, Props, Scene
from benchmarks.chaos_town import NeverError
from benchmarks.soak_checks import Check
from benchmarks.stage import allow_files
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from unbroken.faces.cli.serve import loop_factory

__all__ = ["main"]

TOTAL_S = 840.0
"""After which no other scene begins."""
SCENE_S = 180.0


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a scene: why it was skipped, or what was checked."""

    name: str
    found: Sequence[Check] = ()
    skipped: str = ""
    wrong: Sequence[str] = ()
    seconds: float = 0.0


async def play(scene: Scene, *, seed: int, say: Callable[[str], None]) -> Played:
    """One scene, from nothing to nothing."""
    name, began = scene.__name__, time.monotonic()
    never: list[Check] = []
    with TemporaryDirectory(prefix="unbroken-chaos-") as folder, ExitStack() as undo:
        props = Props(Path(folder), undo, say, seed)
        try:
            async with asyncio.timeout(SCENE_S):
                await scene(props)
        except Lacking as lacking:
            return Played(name, skipped=str(lacking))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the other scenes are played all the same
            what = str(error) if isinstance(error, NeverError) else repr(error)
            never.append(Check(what="what never came", found=what, limit="nothing", good=False))
    found = [*checks(props.seen), *never]
    return Played(name, found=found, wrong=props.seen.wrong[:5], seconds=time.monotonic() - began)


def show(played: Sequence[Played], console: Console) -> None:
    """All of it as a table, and what was wrong in words."""
    table = Table("", "", "found", "limit", "")
    for one in played:
        name = one.name.replace("_", " ")
        if one.skipped:
            table.add_row(name, "skipped", one.skipped, "", "")
        for number, check in enumerate(one.found):
            good = "ok" if check.good else "[bold red]broken"
            table.add_row("" if number else name, check.what, check.found, check.limit, good)
        table.add_section()
    console.print(table)
    for one in played:
        for line in one.wrong:
            console.print(f"{one.name}: {line}", style="red", markup=False, highlight=False)


async def run(scenes: Sequence[Scene], *, seed: int, console: Console) -> list[Played]:
    """These scenes, one after the other, as far as there is time for them."""
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    played: list[Played] = []
    ends = time.monotonic() + TOTAL_S
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(scenes))
        for scene in scenes:
            name = scene.__name__.replace("_", " ")
            if time.monotonic() > ends:
                played.append(Played(scene.__name__, skipped=f"the {TOTAL_S:.0f} s are over"))
                continue
            played.append(await play(scene, seed=seed, say=partial(_show, progress, bar, name)))
            good = played[-1].skipped or all(check.good for check in played[-1].found)
            progress.advance(bar)
            progress.console.print(f"{name}: {'skipped' if played[-1].skipped else 'ok' if good else 'BROKEN'}")
            for check in played[-1].found:
                if not check.good:
                    progress.console.print(f"  {check.what}: {check.found}, and not {check.limit}", style="red")
    return played


def _show(progress: Progress, bar: TaskID, *what: str) -> None:
    progress.update(bar, description=": ".join(what))


def chosen(only: str) -> Iterator[Scene]:
    """The scenes whose name has one of these words in it; all of them without any."""
    words = only.split(",")
    return (scene for scene in SCENES if any(word.replace("-", "_") in scene.__name__ for word in words))


def main() -> int:
    """Play, show, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="words from the names of scenes, with commas between them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="tell which scenes there are")
    asked = parser.parse_args()
    if asked.list:
        for scene in SCENES:
            print(f"{scene.__name__.replace('_', '-'):18} {scene.__doc__}")
        return 0
    allow_files()
    console = Console()
    console.width = max(console.width, 120)  # a line of the table is a line, in a file too
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        played = runner.run(run(list(chosen(asked.only)), seed=asked.seed, console=console))
    show(played, console)
    return int(not all(check.good for one in played for check in one.found))


if __name__ == "__main__":
    sys.exit(main())
