"""A million simulated requests on one core, in the time that docs/simulation.md promises.

    python benchmarks/million.py [--strategy learned] [--requests 1000000]

The core decides each of them as it does in production, through ten kinds of bad day.  Time is
processor time: how long it takes beside other programs is up to them.  Exit status 1 where
it took longer than `LIMIT_S` for a million.
"""

from __future__ import annotations

import argparse
import sys
from time import process_time

from unbroken.core.strategies import STRATEGIES
from unbroken.faces.cli.simulate import in_a_hurry, watched
from unbroken.sim.contest import by_strategy, compare, contestants
from unbroken.sim.scenario import Scenario, scene_of

LIMIT_S = 120.0
MILLION = 1_000_000


def main() -> int:
    """Play, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=MILLION)
    parser.add_argument("--strategy", choices=list(STRATEGIES), default="priority")
    asked = parser.parse_args()
    began = process_time()
    scene = scene_of(Scenario(days=("all",)), None, trace=None, requests=asked.requests, seed=1)
    players = contestants(by_strategy(scene.route, [asked.strategy]), baselines=False, oracles=False)
    with watched(asked.requests) as progress, in_a_hurry():
        (summary,) = compare(scene, players, progress=progress).summaries
    spent_s = process_time() - began
    limit_s = LIMIT_S * asked.requests / MILLION
    print(
        f"{asked.requests:,} requests by {asked.strategy}: {spent_s:.1f} s of processor time (at most {limit_s:.0f} s)"
    )
    print(f"{asked.requests / spent_s:,.0f} a second, {summary.kept:.4%} of what could be answered, {summary.digest}")
    return 1 if spent_s > limit_s else 0


if __name__ == "__main__":
    sys.exit(main())
