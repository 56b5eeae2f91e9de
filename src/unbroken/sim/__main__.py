"""`python -m unbroken.sim`: plays a script and prints what came of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from time import perf_counter

from unbroken.sim.record import Record, percentile_s
from unbroken.sim.scripts import SCRIPTS
from unbroken.sim.simulator import simulate

__all__ = ["main", "table"]


def main(arguments: list[str] | None = None) -> int:
    """Play; 0 if every promise held, 1 if an answer was wrong or a request never ended."""
    asked = _parser().parse_args(arguments)
    script = SCRIPTS[asked.script]
    print(f"{script.name}: {script.about}; {asked.requests:,} requests, seed {asked.seed}")
    began = perf_counter()
    record = simulate(script, asked.requests, seed=asked.seed, progress=_progress(asked.requests))
    spent_s = perf_counter() - began
    _say("")
    print(table(record))
    print(f"{'speed':<22}{record.requests / spent_s:>12,.0f} requests a second, {spent_s:.1f} s in all")
    return 1 if record.wrong or record.stuck or record.after_end else 0


def table(record: Record) -> str:
    """A record as text for people."""
    rows = [
        ("requests", f"{record.requests:>12,}"),
        ("answered whole", f"{record.whole:>12,}{_of(record.whole, record.requests)}"),
        ("honest errors", f"{record.errors:>12,}{_of(record.errors, record.requests)}"),
        ("empty answers", f"{record.empty:>12,}"),
        ("wrong answers", f"{record.wrong:>12,}"),
        ("stuck, or two ends", f"{record.stuck + record.after_end:>12,}"),
        ("attempts", f"{record.attempts:>12,}  ({record.extra_load:+.1%} load)"),
        ("failovers", f"{record.failovers:>12,}"),
        ("rescued streams", f"{record.rescues:>12,}"),
        ("first content", _percentiles(record, first=True)),
        ("whole answer", _percentiles(record, first=False)),
        ("virtual time", f"{record.virtual_s:>12,.0f} s"),
    ]
    lines = [f"{name:<22}{value}" for name, value in rows]
    lines += ["", f"{'target':<22}{'attempts':>12}{'answered':>12}{'failed':>12}{'abandoned':>12}"]
    for name, tally in sorted(record.targets.items()):
        lines.append(f"{name:<22}{tally.attempts:>12,}{tally.answered:>12,}{tally.failed:>12,}{tally.abandoned:>12,}")
    lines += ["", f"{'failures':<22}" + ", ".join(f"{kind} {n:,}" for kind, n in record.kinds.most_common())]
    return "\n".join([*lines, f"{'digest':<22}{record.digest}"])


def _of(part: int, whole: int) -> str:
    return f"  ({part / whole:.2%})" if whole else ""


def _percentiles(record: Record, *, first: bool) -> str:
    times = record.first_content_s if first else record.total_s
    return "  ".join(f"p{percent} {percentile_s(times, percent / 100):.2f} s" for percent in (50, 95, 99))


def _progress(requests: int) -> Callable[[int, float], None]:
    return lambda done, now: _say(f"{done / requests:4.0%}  {done:,} requests, {now:,.0f} s of virtual time")


def _say(text: str) -> None:
    """One line on the terminal that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m unbroken.sim", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="how many to play (100000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same digest (1)")
    parser.add_argument("--script", choices=list(SCRIPTS), default=next(iter(SCRIPTS)), metavar="NAME",
                        help="one of: " + ", ".join(SCRIPTS))  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
