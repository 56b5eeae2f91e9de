"""Half an hour of everything at once, and whether anything is left behind: make soak.

    python -m benchmarks.soak [--minutes 30] [--callers 24] [--seed 1]

One gateway with ledger and metrics, before three providers of two formats.  Two of them fail in every way that a fake
one can, one after the other; the third is always well, so no caller has to see an error.  Callers come through every
common face, plain and streamed, and some leave in the middle; the configuration is read anew every few seconds; an
operator looks on.  Ends with 1 where an answer was not, word for word, what it should be, or where memory, open files,
threads, tasks or objects of some type grow.  The last line says where the table, JSON and the picture are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from benchmarks.soak_checks import Rest, Sample, Seen, checks
from benchmarks.soak_report import draw, keep, show
from benchmarks.soak_traffic import Callers, look_around, short_answer
from benchmarks.stage import BUILD, Program, allow_files, free_port, stage
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from unbroken.faces.cli.serve import loop_factory
from unbroken.testing import (
    Cut,
    Empty,
    ErrorEvent,
    FakeProvider,
    Hang,
    Html,
    Malformed,
    Refused,
    Reset,
    Speed,
    Stall,
    Status,
    Trouble,
)

OPERATOR = "soak-operator-key"
CALLER = "soak-caller"
RESTS = 10
"""Moments at which everybody hangs up: the second half of them is what leaks are looked for in."""
SETTLE_S = 10.0
"""So long may connections take to go away at a rest."""
TROUBLE_S, RELOAD_S, SAMPLE_S = 2.0, 6.0, 1.0
TROUBLES: Sequence[Trouble | None] = (
    None, Refused(), Status(500), Status(503), Status(429, retry_after_s=1), Status(429), Hang(), Reset(),
    Cut(after_tokens=3), Cut(after_tokens=12, clean=True), Stall(after_tokens=8), ErrorEvent(after_tokens=12),
    Malformed(after_tokens=6), Html(), Empty(),
)  # fmt: skip


def configuration(providers: Sequence[FakeProvider], *, port: int, database: Path, number: int) -> str:
    """The gateway's file; which of those that fail comes first depends on the number."""
    north, south, steady = providers
    failing = ["north/words", "south/words"]
    order = [*(failing if number % 2 else reversed(failing)), "steady/words"]
    told = {
        "server": {"port": port, "keys": [CALLER], "admin_keys": [OPERATOR]},
        "ledger": str(database),
        "providers": {
            "north": {"base_url": north.base_url, "keys": ["k-north"], "model": "words"},
            "south": {
                "base_url": south.base_url.removesuffix("/v1"), "keys": ["k-south"], "model": "words",
                "format": "anthropic",
            },
            "steady": {"base_url": steady.base_url, "keys": ["k-steady"], "model": "words"},
        },
        "routes": {"words": {"targets": order}, "vectors": {"targets": ["north/words", "steady/words"]}},
        "defaults": {
            "deadlines": {"connect_s": 2, "first_byte_s": 3, "first_content_s": 3, "gap_s": 2},
            "breaking": {"open_s": 1, "open_s_max": 4},
        },
    }  # fmt: skip
    return json.dumps(told)  # JSON is YAML


@dataclass
class Soak:
    """One soak under way."""

    gateway: Program
    providers: Sequence[FakeProvider]
    callers: Callers
    config: Path
    census: Path
    draw: Random
    reloads: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    seen: Seen = field(default_factory=Seen)

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @property
    def spent_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    async def trouble(self) -> None:
        """For ever: one of the first two providers has another trouble, or is well again."""
        while True:
            provider, trouble = self.draw.choice(self.providers[:2]), self.draw.choice(TROUBLES)
            if trouble is None:
                provider.heal()
            else:
                provider.fail_with(trouble)
                self.troubles[type(trouble).__name__] += 1
            for each in self.providers:
                each.seen.clear()
            await asyncio.sleep(TROUBLE_S * self.draw.uniform(0.5, 1.5))

    async def reload(self) -> None:
        """For ever: another configuration, which the gateway reads when the operator says so."""
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {OPERATOR}"}) as session:
            while True:
                await asyncio.sleep(RELOAD_S * self.draw.uniform(0.5, 1.5))
                self.reloads += 1
                database = self.config.with_name("ledger.db")
                text = configuration(self.providers, port=self.gateway.port, database=database, number=self.reloads)
                self.config.write_text(text, encoding="utf-8")
                async with session.post(f"{self.callers.address}/admin/reload") as answer:
                    if answer.status != 200:
                        self.callers.complain(f"reload: status {answer.status}: {await answer.text()}")

    async def sample(self) -> None:
        """For ever: what the gateway has."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            self.seen.samples.append(Sample(
                at_s=self.spent_s, requests=self.callers.requests,
                rss_kb=self.gateway.rss_kb(), files=self.gateway.open_files(),
            ))  # fmt: skip

    async def part(self, seconds: float) -> None:
        """So long with everybody, then a moment without callers, in which what is alive is counted."""
        self.callers.resume()
        looking = look_around(self.callers, OPERATOR, draw=self.draw)
        busy = [asyncio.create_task(each) for each in (self.trouble(), self.reload(), self.sample(), looking)]
        done, _ = await asyncio.wait(busy, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        for task in done:
            task.result()
        await self._rest()

    async def _rest(self) -> None:
        for provider in self.providers:
            provider.heal()
        await self.callers.rest()
        for provider in self.providers:
            provider.hang_up()
        files, ends = 0, self.spent_s + SETTLE_S
        while (now := self.gateway.open_files()) != files and self.spent_s < ends:
            files = now
            await asyncio.sleep(1.0)
        told = await self._census()
        self.seen.rests.append(Rest(
            at_s=self.spent_s, requests=self.callers.requests, rss_kb=self.gateway.rss_kb(), files=now,
            threads=self.gateway.threads(), tasks=told["tasks"], blocks=told["blocks"], types=told["types"],
        ))  # fmt: skip

    async def _census(self) -> dict[str, Any]:
        if not self.gateway.alive:
            raise SystemExit(f"the gateway has ended: {self.gateway.log.read_text()[-2000:]}")
        self.census.unlink(missing_ok=True)
        os.kill(self.gateway.pid, signal.SIGUSR2)
        async with asyncio.timeout(SETTLE_S):
            while not self.census.exists():
                await asyncio.sleep(0.05)
        found: dict[str, Any] = json.loads(self.census.read_text(encoding="utf-8"))
        return found

    def told(self) -> str:
        """How it stands, for the bar."""
        sample = self.seen.samples[-1] if self.seen.samples else None
        return f"{self.callers.requests:,} requests, {self.callers.errors} wrong, {self.reloads} reloads" + (
            f", {sample.rss_kb / 1024:.0f} MB, {sample.files} files" if sample else ""
        )


@asynccontextmanager
async def scene(number: int, seed: int) -> AsyncIterator[Soak]:
    """Providers, gateway and callers."""
    speed = Speed(first_token_s=0.004, tokens_per_s=2000)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(stage())
        providers = [
            await stack.enter_async_context(FakeProvider(name, speed=speed, answer=short_answer))
            for name in ("north", "south", "steady")
        ]
        port, config, census = free_port(), folder.folder / "unbroken.yaml", folder.folder / "census.json"
        text = configuration(providers, port=port, database=config.with_name("ledger.db"), number=0)
        config.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.soak_gateway", str(census), "--", "serve", "--no-watch"]
        gateway = folder.start([*command, "--log-level", "critical", "--config", str(config)], port=port)
        callers = Callers(address=f"http://127.0.0.1:{port}", key=CALLER, number=number, seed=seed)
        soak = Soak(gateway, providers, callers, config, census, Random(seed))
        coming = asyncio.create_task(callers.run())
        yield soak
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def run(minutes: float, callers: int, *, seed: int, console: Console) -> Seen:
    """All of it."""
    part_s = minutes * 60 / (RESTS + 1)
    columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    async with scene(callers, seed) as soak, asyncio.timeout(minutes * 120 + 300):
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=minutes * 60)
            showing = asyncio.create_task(_show(progress, bar, soak))
            for _ in range(RESTS + 1):
                await soak.part(part_s)
            showing.cancel()
            progress.update(bar, completed=minutes * 60, description=soak.told())
    seen = soak.seen
    seen.done, seen.errors, seen.wrong = dict(soak.callers.done), soak.callers.errors, soak.callers.wrong
    seen.reloads, seen.troubles = soak.reloads, dict(soak.troubles)
    return seen


async def _show(progress: Progress, bar: TaskID, soak: Soak) -> None:
    while True:
        progress.update(bar, completed=soak.spent_s, description=soak.told())
        await asyncio.sleep(1.0)


def main() -> int:
    """Soak, show, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--callers", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, default=BUILD / "soak.svg", help=".svg or .png")
    asked = parser.parse_args()
    allow_files()
    console = Console()
    console.width = max(console.width, 120)  # a line of the table is a line, in a file too
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        seen = runner.run(run(asked.minutes, asked.callers, seed=asked.seed, console=console))
    found = list(checks(seen))
    show(seen, found, console)
    keep(seen, found, BUILD / "soak.json")
    drawn = draw(seen, asked.picture)
    picture = f", {asked.picture}" if drawn else "; the picture needs matplotlib: pip install 'unbroken[pictures]'"
    console.print(f"{BUILD / 'soak.json'}{picture}")
    return int(not all(check.good for check in found))


if __name__ == "__main__":
    sys.exit(main())
