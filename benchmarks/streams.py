"""How long an event is on its way when thousands of streams are open: through nginx, through ours, and directly.

    python -m benchmarks.streams [--streams 5000] [--seconds 10] [--rounds 2] [--kind all]

Every stream gets an event a second.  Each event carries the time at which it was sent, so that its delay is known
when it arrives.  What the generator itself adds is in the direct path too, and is taken off.  Not one event may be
lost or come twice, whatever the machine is busy with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import monotonic_ns
from typing import cast

from benchmarks.observed import collect
from benchmarks.stage import BUILD, Program, Scene, allow_files, stage

from unbroken.faces.cli.serve import loop_factory

__all__ = ["MARK", "PATHS", "Delays", "Reader", "added_ms", "measure", "quantile"]

PATHS = ("direct", "nginx", "gateway")
STREAMS_A_SECOND = 1000
"""So many are opened, for no machine gets all of its callers at once."""
OPEN_S = 60.0
"""... and this is how long the last one may take to begin."""
SETTLE_S = 2.0
BODY = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "Tick."}]}).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-bench\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
MARK = re.compile(rb"@(\d+),(\d+)@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """What was seen on one path: `wrong` counts streams that ended, and events out of their turn."""

    streams: int
    events: int
    wrong: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    event_cpu_us: float
    stream_kb: float


class Reader(asyncio.Protocol):
    """A caller of one stream: its events in their order, with their delays while they are `noted`."""

    noted = False

    def __init__(self, delays: array[float]) -> None:
        self.number, self.wrong = 0, 0
        self._delays, self._rest = delays, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own does not say that it is one
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        now = monotonic_ns()
        whole, line, self._rest = (self._rest + data).rpartition(b"\n")
        if not line:
            return
        for number, sent in MARK.findall(whole):
            self.wrong += int(number) != self.number
            self.number += 1
            if self.noted:
                self._delays.append((now - int(sent)) / 1e6)

    def connection_lost(self, exc: Exception | None) -> None:
        self.wrong += self._transport is not None

    def leave(self) -> None:
        """Hang up."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()


async def follow(path: Program, streams: int, *, seconds: float) -> Delays:
    """Open so many streams there, wait until all tick, note delays for so long, and leave."""
    loop, delays, readers = asyncio.get_running_loop(), array("d"), list[Reader]()
    before_kb = path.rss_kb()
    try:
        for count in range(streams):
            _, reader = await loop.create_connection(lambda: Reader(delays), "127.0.0.1", path.port)
            readers.append(reader)
            if count % 10 == 0:
                await asyncio.sleep(10 / STREAMS_A_SECOND)
        await _begun(readers)
        await asyncio.sleep(SETTLE_S)
        before_s, Reader.noted = path.cpu_s(), True
        await asyncio.sleep(seconds)
        Reader.noted = False
        spent_s, after_kb = path.cpu_s() - before_s, path.rss_kb()
        wrong = sum(reader.wrong for reader in readers)
        wrong += sum(reader.number < seconds for reader in readers)  # those that fell silent
    finally:
        for reader in readers:
            reader.leave()
    return Delays(
        streams=streams, events=len(delays), wrong=wrong,
        p50_ms=quantile(delays, 0.5), p99_ms=quantile(delays, 0.99), max_ms=quantile(delays, 1.0),
        event_cpu_us=spent_s / max(1, len(delays)) * 1e6, stream_kb=(after_kb - before_kb) / streams,
    )  # fmt: skip


async def _begun(readers: Sequence[Reader]) -> None:
    """Every stream has brought its first event; SystemExit where one never does."""
    for _ in range(int(OPEN_S / 0.1)):
        silent = sum(not reader.number for reader in readers)
        if not silent:
            return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{silent} of {len(readers)} streams have not begun after {OPEN_S:.0f} s")


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; ValueError where there is none."""
    if not values:
        raise ValueError("a quantile of nothing")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def added_ms(found: Sequence[Mapping[str, Delays]], path: str) -> float:
    """What this path adds to the 99th percentile of the direct one: the least of all rounds, each against its own."""
    return min(each[path].p99_ms - each["direct"].p99_ms for each in found)


def measure(streams: int, seconds: float, *, rounds: int, kind: str, collector: str) -> list[dict[str, Delays]]:
    """A round after another, in which every path has its turn."""
    found = []
    for _ in range(rounds):
        with stage() as scene, asyncio.Runner(loop_factory=loop_factory()) as runner:
            paths = dict(zip(PATHS, _paths(scene, kind, collector=collector), strict=True))
            seen = {}
            for name, path in paths.items():
                runner.run(follow(path, 50, seconds=1.0))  # what a program makes once is not a stream's
                seen[name] = runner.run(follow(path, streams, seconds=seconds))
                print(f"  {name}: {_told(seen[name])}", file=sys.stderr, flush=True)
            found.append(seen)
    return found


def _paths(scene: Scene, kind: str, *, collector: str) -> tuple[Program, Program, Program]:
    upstream = scene.upstream()
    return upstream, scene.nginx(to=upstream.port), scene.gateway(upstream.port, kind, collector=collector)


def _told(seen: Delays) -> str:
    return (
        f"{seen.streams:,} streams, {seen.events:,} events, {seen.wrong} wrong; delay p50 {seen.p50_ms:.2f} ms, "
        f"p99 {seen.p99_ms:.2f} ms, max {seen.max_ms:.1f} ms; {seen.event_cpu_us:.0f} us an event, "
        f"{seen.stream_kb:.1f} KB a stream"
    )


def main() -> int:
    """Measure, print; 1 where an event was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kind", default="all", help="which accounts are kept, as in overhead_start.py")
    asked = parser.parse_args()
    allow_files()
    found = measure(asked.streams, asked.seconds, rounds=asked.rounds, kind=asked.kind, collector=collect())
    for path in PATHS[1:]:
        print(f"{path} adds {added_ms(found, path):.2f} ms to the 99th percentile of an event's delay")
    told = [{path: asdict(delays) for path, delays in seen.items()} for seen in found]
    (BUILD / "streams.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    return int(any(seen["gateway"].wrong for seen in found))


if __name__ == "__main__":
    sys.exit(main())
