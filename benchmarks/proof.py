"""Every strategy over traces of real traffic, in calm and on bad days, beside those who know and those who never learn.

    python -m benchmarks.proof SHARED/traces [--quick] [--minutes 15] [--out docs/proof.md]

Each trace is cut in two: what the strategies were tuned on, and what was held back.  Runs come
in rounds, a seed each; a round that would not end within the time (of the processor) is not begun.  What
came of it is written as Markdown, with a picture of ten bad days beside.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import process_time

from benchmarks.proof_page import Played, page
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unbroken.faces.cli.pictures import draw
from unbroken.faces.cli.simulate import in_a_hurry, lines_of
from unbroken.sim.baselines import half_informed
from unbroken.sim.contest import Comparison, Contestant, by_strategy, compare, contestants
from unbroken.sim.course import Scene
from unbroken.sim.incidents import read_incidents
from unbroken.sim.outages import DAYS
from unbroken.sim.scenario import Scenario, scene_of
from unbroken.sim.suppliers import CLASSES, Weights
from unbroken.sim.traces import Trace, read_trace

TRACES = {
    "Azure code": "azure_2023_code.csv.gz",
    "Azure conversation": "azure_2023_conv.csv.gz",
    "Mooncake conversation": "mooncake_conversation_trace.csv.gz",
    "Mooncake synthetic": "mooncake_synthetic_trace.csv.gz",
    "ServeGen reasoning": "servegen_reason_deepseek-r1_rates.csv.gz",
}
INCIDENTS = "status_incidents.csv.gz"
DAY_TRACE = "Azure conversation"
"""The one that each kind of bad day is played on by itself."""
SERVEGEN_MOST = 8_000
"""Requests that are drawn of a trace of rates."""
CALM, ALL_DAYS, REPORTED, AT_ONCE, STRANGERS = (
    "calm", "ten bad days", "incidents as reported", "prompts read at once", "other providers",
)  # fmt: skip
SEEDS = (101, 102)
STRANGE = ("ada", "bela", "cora", "dora", "ella")
EVERYTHING = Weights(speed=1.0, cost=1.0)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a trace; `tuned` where the strategies had seen it before."""

    name: str
    trace: Trace
    tuned: bool


@dataclass(frozen=True, slots=True)
class Run:
    """One day to be played by everybody."""

    setting: str
    window: Window
    scene: Scene


def main() -> int:
    """Play until done or out of time, and write what came of it."""
    asked = _parser().parse_args()
    windows = list(_windows(asked.traces, requests=400 if asked.quick else 1_600))
    began, rounds, longest_s = process_time(), SEEDS[:1] if asked.quick else SEEDS, 0.0
    played: list[Played] = []
    bad_days: list[Comparison] = []
    done: list[int] = []
    for seed in rounds:
        if process_time() - began + longest_s > 60 * asked.minutes:
            break
        started = process_time()
        runs = list(_runs(asked.traces, windows, seed=seed, quick=asked.quick))
        told, progress = _watched(len(runs), f"seed {seed}")
        with progress, in_a_hurry():
            for run in runs:
                comparison = compare(run.scene, _players(run.scene))
                about = (run.setting, run.window.name, run.window.tuned, seed)
                played += [Played(*about, summary) for summary in comparison.summaries]
                bad_days += [comparison] if run.setting == ALL_DAYS and not run.window.tuned else []
                told()
        longest_s = max(longest_s, process_time() - started)
        done.append(seed)
    asked.out.write_text(page(played, seeds=done, picture=f"{asked.out.stem}.png"), encoding="utf-8")
    draw(bad_days[0], asked.out.with_suffix(".png"))
    requests = sum(each.summary.requests for each in played)
    print(f"{len(played):,} runs of {requests:,} requests in {process_time() - began:.0f} s: {asked.out}")
    return 0


# ------------------------------------------------------------- what is played


def _windows(folder: Path, *, requests: int) -> Iterator[Window]:
    """Of each trace the beginning, and what lies behind the middle."""
    for name, file in TRACES.items():
        trace = _read(folder / file)
        half = len(trace) // 2
        most = min(requests, half)
        yield Window(name, trace.part(0, most), tuned=True)
        yield Window(name, trace.part(half, half + most), tuned=False)


def _read(path: Path) -> Trace:
    with lines_of(path) as lines:
        trace = read_trace(lines, name=path.name, chance=Random("proof"))
    return trace.part(0, min(len(trace), SERVEGEN_MOST)) if path.name.startswith("servegen") else trace


def _runs(folder: Path, windows: Sequence[Window], *, seed: int, quick: bool) -> Iterator[Run]:
    """A round, in which every window is played in calm, and the bad days on one trace or on all."""

    def run(setting: str, window: Window, scenario: Scenario, trace: Trace | None = None) -> Run:
        own = trace or window.trace
        return Run(setting, window, scene_of(scenario, None, trace=own, requests=0, seed=seed))

    for window in windows:
        yield run(CALM, window, Scenario())
        yield run(AT_ONCE, window, Scenario(providers={name: {"read_tokens_per_s": 1e9} for name in _EXAMPLES}))
        yield run(STRANGERS, window, Scenario(providers=_strangers(f"{seed}/{window.name}")))
        if window.name == DAY_TRACE:
            for day in DAYS:
                yield run(day, window, Scenario(days=(day,)))
            yield run(ALL_DAYS, window, Scenario(days=("all",)), window.trace.resized(2_000 if quick else 8_000))
    with lines_of(folder / INCIDENTS) as lines:
        incidents = read_incidents(lines, name=INCIDENTS)
    for window in windows:
        if window.name == DAY_TRACE:
            trace = window.trace.resized(1_000 if quick else 8_000)
            half = 0 if window.tuned else len(incidents) // 2
            scene = scene_of(Scenario(), None, trace=trace, requests=0, seed=seed, incidents=incidents[half:])
            yield Run(REPORTED, window, scene)


_EXAMPLES = ("north", "south", "west", "east")


def _strangers(seed: str) -> Mapping[str, Mapping[str, str | float]]:
    """Providers whom nobody has seen before: of any class, and some way off what is usual for it."""
    draw = Random(seed)
    found: dict[str, Mapping[str, str | float]] = {}
    for name in STRANGE:
        kind = draw.choice(("frontier", "cloud", "fast", "host", "router"))
        usual = CLASSES[kind]
        found[name] = {
            "kind": kind,
            "first_token_s": usual.first_token_s * draw.lognormvariate(0.0, 0.4),
            "tokens_per_s": usual.tokens_per_s * draw.lognormvariate(0.0, 0.4),
            "read_tokens_per_s": usual.read_tokens_per_s * draw.lognormvariate(0.0, 1.0),
            "spread": usual.spread * draw.lognormvariate(0.0, 0.3),
            "input_usd": 2.0 * draw.lognormvariate(0.0, 0.6),
            "output_usd": 8.0 * draw.lognormvariate(0.0, 0.6),
        }
    return found


def _players(scene: Scene) -> list[Contestant]:
    """Everybody, and one who knows all but luck and how long an answer will be."""
    found = contestants(by_strategy(scene.route))
    return [*found, Contestant(f"half informed: {EVERYTHING}", half_informed, EVERYTHING, is_ours=False)]


# ------------------------------------------------------------- small parts


def _watched(runs: int, what: str) -> tuple[Callable[[], None], Progress]:
    """How far a round is, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(what, total=runs)
    return lambda: progress.advance(task), progress


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path, help="the folder of the traces")
    parser.add_argument("--out", type=Path, default=Path("docs/proof.md"), help="the page (docs/proof.md)")
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="of the processor: no round is begun that would take longer (15)"
    )
    parser.add_argument("--quick", action="store_true", help="a minute: one seed, shorter runs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
