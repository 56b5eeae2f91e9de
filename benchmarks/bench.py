"""Everything that it costs, in one table: make bench.

    python -m benchmarks.bench path/to/overhead.py [--rounds 2] [--requests 1000000] [--only streams,bodies]

    make bench ARGS="--peer litellm='LITELLM_MASTER_KEY=KEY exec litellm --config benchmarks/bench_litellm.yaml \
        --port {port}' --header litellm='Authorization: Bearer KEY' --peer portkey='PORT={port} exec node \
        --import ./benchmarks/bench_portkey.mjs node_modules/@portkey-ai/gateway/build/start-server.js --port={port}'"

Per request and per event by `overhead.py`, 5,000 open streams, bodies of a megabyte, and memory over a million
requests; each beside nginx in the same run, the least of all rounds.  A peer is a command that listens on {port} and
hands the model `m` to the provider at UPSTREAM_URL; one that does not start is left out, and the reason told.

Writes build/bench.json.  Ends with 1 where a limit is broken that is a ratio or a count.  A limit in milliseconds is
judged where nginx keeps it itself in the same run: on a machine that is too busy for that it cannot be told.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import bench_memory, bodies, streams
from benchmarks.observed import collect
from benchmarks.stage import BUILD, ROOT, allow_files, lacking
from rich.console import Console
from rich.table import Table

__all__ = ["PARTS", "Row", "body_rows", "least", "memory_row", "overhead_rows", "pair", "stream_rows"]

REQUEST_MAX, EVENT_MAX, STREAM_KB_MAX, BODY_MAX = 5.0, 2.0, 30.0, 3.0
ADDED_MS_MAX = 20.0
STREAMS = 5000
PEER_STREAMS = 50
WIDTH = 120
"""Of the table at least: where it goes into a file too, a line is a line."""
FIGURES = ("request_cpu_us", "chunk_cpu_us", "stream_kb", "rss_mb", "ready_s")
KINDS = {"": "as installed", "all": "with ledger, metrics and tracing"}
"""What accounts the gateway keeps in a run of overhead.py; the limits are for the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table: `good` is None where nothing is promised, or where it cannot be told."""

    what: str
    found: str
    limit: str = ""
    good: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how often."""

    script: str
    rounds: int
    seconds: int
    streams: int
    requests: int
    peers: Mapping[str, str]
    headers: Mapping[str, Sequence[str]]
    collector: str


# ------------------------------------------------------------------ requests and events


def overhead(plan: Plan, command: str, *, streams: int, headers: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """One run of overhead.py; ValueError with its last line where it came to nothing."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "overhead.json"
        asked = [sys.executable, plan.script, "--ready-port", "4101", "--json", str(out), "--cmd", command]
        asked += ["--seconds", str(plan.seconds), "--streams", str(streams)]
        asked += [word for header in headers for word in ("--header", header)]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - as told
        if done.returncode:
            raise ValueError((done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2][-300:])
        found: dict[str, dict[str, float]] = json.loads(out.read_text(encoding="utf-8"))
    return found


def least(runs: Sequence[Mapping[str, Mapping[str, float]]], who: str) -> dict[str, float]:
    """The least of each figure of all runs; what a run did not measure is left out."""
    return {
        figure: min(run[who][figure] for run in runs if figure in run[who])
        for figure in FIGURES
        if any(figure in run[who] for run in runs)
    }


def measure_overhead(plan: Plan) -> tuple[Any, list[Row]]:
    """Ours with each kind of accounts, and the peers, in turns."""
    start = f"exec env OTLP_URL={plan.collector} {sys.executable} benchmarks/overhead_start.py {{port}}"
    runs: dict[str, list[Any]] = {}
    rows = []
    for _ in range(plan.rounds):
        for kind, words in KINDS.items():
            runs.setdefault(words, []).append(overhead(plan, f"{start} {shlex.quote(kind)}", streams=200))
    for name, command in plan.peers.items():
        try:
            found = overhead(plan, command, streams=PEER_STREAMS, headers=plan.headers.get(name, ()))
        except ValueError as error:
            rows.append(Row(what=name, found=f"skipped: {error}"))
        else:
            runs[name] = [found]
    return runs, [*overhead_rows(runs), *rows]


def overhead_rows(runs: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]]) -> Iterator[Row]:
    """A line for each figure of each gateway, as multiples of nginx where that has one."""
    nginx = least([run for each in runs.values() for run in each], "nginx")
    for name, each in runs.items():
        figures, ours = least(each, "gateway"), name == list(KINDS.values())[-1]
        limits = (REQUEST_MAX, EVENT_MAX, STREAM_KB_MAX) if ours else (None, None, None)
        for what, figure, limit in zip(("a request", "an event"), FIGURES, limits, strict=False):
            ratio = figures[figure] / nginx[figure]
            yield _row(f"{name}: {what}", f"{figures[figure]:.1f} us of CPU, {ratio:.2f}x nginx", ratio, limit=limit)
        yield _row(f"{name}: a stream", f"{figures['stream_kb']:.1f} KB", figures["stream_kb"], limit=limits[2])
        yield Row(what=f"{name}: at rest", found=f"{figures['rss_mb']:.0f} MB, ready after {figures['ready_s']:.1f} s")


def _row(what: str, found: str, value: float, *, limit: float | None) -> Row:
    return Row(what=what, found=found) if limit is None else Row(
        what=what, found=found, limit=f"{limit:g}", good=value <= limit
    )  # fmt: skip


# ---------------------------------------------------------------- streams, bodies, memory


def measure_streams(plan: Plan) -> tuple[Any, list[Row]]:
    """Thousands at once."""
    found = streams.measure(plan.streams, 10.0, rounds=plan.rounds, kind="all", collector=plan.collector)
    return [{name: asdict(seen) for name, seen in each.items()} for each in found], list(stream_rows(found))


def stream_rows(found: Sequence[Mapping[str, streams.Delays]]) -> Iterator[Row]:
    """What is lost, what is added and what each stream takes."""
    ours, theirs = streams.added_ms(found, "gateway"), streams.added_ms(found, "nginx")
    seen = [each["gateway"] for each in found]
    wrong, name = sum(each.wrong for each in seen), f"{seen[0].streams:,} streams"
    yield Row(
        what=f"{name}: events lost", found=f"{wrong} of {sum(each.events for each in seen):,}", limit="0",
        good=not wrong,
    )  # fmt: skip
    told = "" if theirs < ADDED_MS_MAX else ": this machine is too busy to tell"
    yield Row(
        what=f"{name}: p99 added to an event", found=f"{ours:.1f} ms, nginx {theirs:.1f} ms{told}",
        limit=f"{ADDED_MS_MAX:g}", good=None if told else ours < ADDED_MS_MAX,
    )  # fmt: skip
    kept = min(each.stream_kb for each in seen)
    yield _row(f"{name}: memory of each", f"{kept:.1f} KB", kept, limit=STREAM_KB_MAX)


def measure_bodies(plan: Plan) -> tuple[Any, list[Row]]:
    """A megabyte at a time."""
    found = bodies.measure(bodies.MEGABYTE, 3, rounds=max(3, plan.rounds), kind="all", collector=plan.collector)
    told = {name: {program: asdict(cost) for program, cost in costs.items()} for name, costs in found.items()}
    return told, list(body_rows(found))


def body_rows(found: Mapping[str, Mapping[str, bodies.Cost]]) -> Iterator[Row]:
    """The time of each kind of body."""
    for name, costs in found.items():
        ratio = bodies.ratio(costs)
        told = f"{costs['gateway'].time_ms:.2f} ms, {ratio:.2f}x nginx"
        yield _row(f"1 MB, a {name}", told, ratio, limit=BODY_MAX)


def measure_memory(plan: Plan) -> tuple[Any, list[Row]]:
    """A million requests."""
    found = bench_memory.measure(plan.requests, kind="all", collector=plan.collector, progress=bench_memory.tell)
    return asdict(found), [memory_row(found)]


def memory_row(found: bench_memory.Flat) -> Row:
    """Whether it grows."""
    slope = found.trend
    return Row(
        what=f"memory over {found.requests:,} requests",
        found=f"{slope.slope:+.1f} bytes each ({slope.low:+.1f} to {slope.high:+.1f}), "
        f"{found.before_mb:.0f} MB at half, {found.after_mb:.0f} MB at the end",
        limit="noise", good=not found.grows,
    )  # fmt: skip


# ---------------------------------------------------------------------------- the program

PARTS: Mapping[str, Callable[[Plan], tuple[Any, list[Row]]]] = {
    "overhead": measure_overhead,
    "streams": measure_streams,
    "bodies": measure_bodies,
    "memory": measure_memory,
}


def pair(text: str) -> tuple[str, str]:
    """`name=words`; ArgumentTypeError for anything else."""
    name, mark, words = text.partition("=")
    if not (name and mark and words):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=...")
    return name, words


def arguments() -> argparse.ArgumentParser:
    """What can be asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", help="overhead.py")
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement of overhead.py")
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--peer", type=pair, action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--header", type=pair, action="append", default=[], metavar="NAME='KEY: VALUE'")
    return parser


def main() -> int:
    """Measure, show, judge."""
    parser = arguments()
    asked = parser.parse_args()
    parts = asked.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    if absent := lacking("nginx", "wrk"):
        parser.error(f"needs {' and '.join(absent)} (Debian packages of these names)")
    headers: dict[str, list[str]] = {}
    for name, header in asked.header:
        headers.setdefault(name, []).append(header)
    plan = Plan(
        script=str(Path(asked.script).resolve()), rounds=asked.rounds, seconds=asked.seconds, streams=asked.streams,
        requests=asked.requests, peers=dict(asked.peer), headers=headers, collector=collect(),
    )  # fmt: skip
    allow_files()
    console, rows, kept = Console(), list[Row](), dict[str, Any]()
    console.width = max(console.width, WIDTH)
    for part in parts:
        console.print(f"{part} ...")
        kept[part], found = PARTS[part](plan)
        rows += found
    show(rows, console)
    file = BUILD / "bench.json"
    file.write_text(json.dumps({"rows": [asdict(row) for row in rows], **kept}, indent=1), encoding="utf-8")
    console.print(str(file))
    return int(any(row.good is False for row in rows))


def show(rows: Sequence[Row], console: Console) -> None:
    """The table."""
    table = Table("", "found", "at most", "")
    for row in rows:
        table.add_row(row.what, row.found, row.limit, {True: "ok", False: "[bold red]broken", None: ""}[row.good])
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
