"""Whether memory stays flat over a million requests, 32 at a time, with every account kept.

    python -m benchmarks.bench_memory [--requests 1000000] [--kind all]

The slope is that of the second half, with its interval: the first fills what is bounded (records, rings, pools).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.bench_trend import Trend, trend
from benchmarks.observed import collect
from benchmarks.soak_checks import KEPT_BYTES, NOISE_BYTES
from benchmarks.stage import ANSWER, BUILD, Wrk, lua, stage

__all__ = ["Flat", "measure"]

TURN_S = 2
"""Between two readings, in which all connections are made anew."""
READINGS_MIN = 40
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Tell me something about memory."}]}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """What was seen: bytes a request over the second half, and the memory at its beginning and at the end."""

    requests: int
    trend: Trend
    before_mb: float
    after_mb: float

    @property
    def grows(self) -> bool:
        """Whether more is kept than noise."""
        return self.trend.grows(least=KEPT_BYTES, noise=NOISE_BYTES)


def measure(requests: int, *, kind: str, collector: str, progress: Callable[[int, float], None]) -> Flat:
    """Ask so often and longer where that were too few readings; `progress` hears of requests and MB after each turn."""
    with stage() as scene:
        upstream = scene.nginx(answering=ANSWER)
        gateway = scene.gateway(upstream.port, kind, collector=collector)
        script, done, points = lua(scene.folder, BODY), 0, list[tuple[float, float]]()
        while done < requests or len(points) < READINGS_MIN:
            done += Wrk.run(gateway.port, script, seconds=TURN_S, connections=32).requests
            points.append((float(done), gateway.rss_kb() * 1024.0))
            progress(done, points[-1][1] / 1e6)
    middle = next(kept for count, kept in points if count >= done / 2)
    return Flat(requests=done, trend=trend(points), before_mb=middle / 1e6, after_mb=points[-1][1] / 1e6)


def tell(done: int, megabytes: float) -> None:
    """A line on stderr that is written over and over."""
    print(f"\r  {done:,} requests, {megabytes:.1f} MB ", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print; 1 where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--kind", default="all", help="which accounts are kept, as in overhead_start.py")
    asked = parser.parse_args()
    found = measure(asked.requests, kind=asked.kind, collector=collect(), progress=tell)
    (BUILD / "bench-memory.json").write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    slope = found.trend
    print(f"\n{found.requests:,} requests: {slope.slope:+.2f} bytes a request ({slope.low:+.2f} to {slope.high:+.2f})")
    return int(found.grows)


if __name__ == "__main__":
    sys.exit(main())
