"""Thousands of seeds of `unbroken.sim.ordeal`: several replicas, everything that can go wrong, every promise.

    make dst                                   3,000 seeds on all cores, some minutes
    make dst ARGS='--seeds 50000 --from 3000'  others
    make dst ARGS='--seed 123 --verbose'       one of them, with every step
    make dst ARGS='--promises'                 what is looked at
    make dst ARGS='--crowd'                    the table of docs/scale.md instead

Ends with 1 where a promise was broken: then it says which, the last steps before, and how to play that seed again.
The digest over all seeds is the same on every machine for the same code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from hashlib import blake2b
from multiprocessing import get_context
from time import perf_counter

from unbroken.sim.ordeal import crowd
from unbroken.sim.ordeal.plan import TROUBLES, drawn
from unbroken.sim.ordeal.play import Verdict, play
from unbroken.sim.ordeal.promises import PROMISES

SEEDS = 3_000
TOLD_MAX = 3
"""Broken seeds that are told of in full; the others are counted."""
STEPS_TOLD = 25


def main() -> int:
    """Play, and say what came of it."""
    asked = _parser().parse_args()
    if asked.promises:
        print("\n".join(f"{name:<16}{says}" for name, says in PROMISES.items()))
        return 0
    if asked.crowd:
        print(crowd.table())
        return 0
    if asked.seed is not None:
        return _one(asked.seed, only=asked.only, verbose=asked.verbose)
    return _many(range(asked.first, asked.first + asked.seeds), only=asked.only, workers=asked.workers)


def _one(seed: int, *, only: str, verbose: bool) -> int:
    plan = drawn(seed, only=only)
    print(f"seed {seed}: {plan.replicas} replicas, {plan.duration_s:.0f} s, {', '.join(sorted(plan.kinds)) or 'calm'}")
    verdict = play(seed, only=only, tell=print if verbose else None)
    told = f"{verdict.steps} steps, {verdict.virtual_s:.0f} s of virtual time"
    print(f"{verdict.requests} requests, {verdict.whole} answered whole; {told}; digest {verdict.digest}")
    if verdict.breaches:
        _tell(verdict, only)
    return 1 if verdict.breaches else 0


def _many(seeds: range, *, only: str, workers: int) -> int:
    began, digest, broken = perf_counter(), blake2b(digest_size=8), list[Verdict]()
    requests, steps, promises = 0, 0, Counter[str]()
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {workers} processes, {len(PROMISES)} promises")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        verdicts = pool.map(play_one, ((seed, only) for seed in seeds), chunksize=8)
        for done, verdict in enumerate(verdicts, start=1):
            digest.update(verdict.digest.encode())
            requests, steps = requests + verdict.requests, steps + verdict.steps
            if verdict.breaches:
                promises.update({breach.promise for breach in verdict.breaches})
                broken.append(verdict)
                if len(broken) <= TOLD_MAX:
                    _tell(verdict, only)
            _progress(done, len(seeds), spent_s=perf_counter() - began)
    spent_s = perf_counter() - began
    print(f"\n{len(seeds):,} seeds, {requests:,} requests, {steps:,} steps in {spent_s:.0f} s: "
          f"{len(seeds) / spent_s:.1f} seeds/s; digest {digest.hexdigest()}")  # fmt: skip
    if not broken:
        print("every promise held")
        return 0
    print(f"{len(broken)} seeds broke a promise: " + ", ".join(f"{name} {n}" for name, n in promises.most_common()))
    print("seeds: " + " ".join(str(verdict.seed) for verdict in broken[:50]))
    return 1


def play_one(asked: tuple[int, str]) -> Verdict:
    """For a process of the pool."""
    return play(asked[0], only=asked[1])


def _tell(verdict: Verdict, only: str) -> None:
    print(f"\nseed {verdict.seed} broke {len(verdict.breaches)} times; the last steps before the first:")
    print("\n".join(f"  {line[:200]}" for line in verdict.last[-STEPS_TOLD:]))
    print("\n".join(f"  {breach}" for breach in verdict.breaches[:5]))
    more = f" --only '{only}'" if only else ""
    print(f'  again: make dst ARGS="--seed {verdict.seed} --verbose{more}"', flush=True)


def _progress(done: int, seeds: int, *, spent_s: float) -> None:
    if sys.stderr.isatty():
        left_s = spent_s / done * (seeds - done)
        text = f"{done:,} of {seeds:,} seeds, {done / spent_s:.1f} a second, {left_s:.0f} s left"
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif done % max(1, seeds // 10) == 0:
        print(f"{done:,} of {seeds:,} seeds, {done / spent_s:.1f} a second", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make dst", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many ({SEEDS})")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--verbose", action="store_true", help="with --seed: every step")
    parser.add_argument("--only", default="", help=f"troubles, by name: none, {', '.join(TROUBLES)}")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--promises", action="store_true", help="what must hold, by name")
    parser.add_argument("--crowd", action="store_true", help="10, 100 and 1,000 replicas")
    return parser


if __name__ == "__main__":
    sys.exit(main())
