"""The run: everybody is asked the same things, in turns, so that a bad minute hits all alike.

    Settings   how often, how fast, for how much
    Job        one request that is to be made
    plan       all of them, in their order
    Course     makes them, and keeps what came of each

Each contestant has an engine of its own, so that nobody's connections, breakers or limits have
anything to do with another's.  What a request took and cost is reckoned as the ledger does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from time import monotonic

from unbroken.assemble import engine
from unbroken.bench.contestants import Contestant
from unbroken.bench.prompts import Prompt, request_of
from unbroken.bench.purse import Purse
from unbroken.bench.samples import ANSWERED, Ear, Sample
from unbroken.config import Config, Server
from unbroken.core.flight import Finished
from unbroken.engine import Engine
from unbroken.facts import Fact
from unbroken.ledger.record import Record
from unbroken.ledger.recorder import Recorder
from unbroken.records import replace
from unbroken.types import Request, Task
from unbroken.wire.media import FILM_BYTES_MAX

__all__ = ["Course", "Job", "Settings", "plan"]

UNHURRIED = 64
"""Requests under way at a time, where it is their rate that is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a comparison is made.

    Each prompt is asked `rounds` times of everybody, after `warm_up` requests each that do not
    count.  `concurrency` is how many requests are under way at a time, of all together; where it is
    0 it is one, or `UNHURRIED` where a `rate` is given, the number of requests begun in a second.
    `stop_at_usd` is what all together may cost; None for any price.
    """

    task: Task = Task.CHAT
    rounds: int = 5
    warm_up: int = 1
    concurrency: int = 0
    rate: float | None = None
    max_tokens: int | None = 256
    timeout_s: float = 120.0
    stop_at_usd: float | None = None
    seed: int = 1

    @property
    def at_once(self) -> int:
        """How many requests are under way at a time."""
        return self.concurrency or (UNHURRIED if self.rate else 1)


@dataclass(frozen=True, slots=True)
class Job:
    """One request: `round` is 0 while warming up, `prompt` and `contestant` are places in their lists."""

    number: int
    block: int
    round: int
    prompt: int
    contestant: int


def plan(prompts: int, contestants: int, *, settings: Settings) -> list[Job]:
    """Blocks of one prompt for everybody; by chance which prompt comes next, and who comes first in its block."""
    chance, jobs = Random(f"{settings.seed}/order"), list[Job]()
    for number, (block_round, prompt) in enumerate(_blocks(prompts, settings, chance=chance)):
        for contestant in chance.sample(range(contestants), contestants):
            jobs.append(Job(len(jobs), number, block_round, prompt, contestant))
    return jobs


def _blocks(prompts: int, settings: Settings, *, chance: Random) -> Iterator[tuple[int, int]]:
    for number in range(settings.warm_up):
        yield 0, number % prompts
    for number in range(1, settings.rounds + 1):
        for prompt in chance.sample(range(prompts), prompts):
            yield number, prompt


class _Account:
    """A sink: the decision records of requests that are over."""

    def __init__(self) -> None:
        self._recorder = Recorder()
        self._records: dict[str, Record] = {}

    def write(self, facts: list[Fact]) -> None:
        for found in self._recorder.fold(facts, 0.0):
            self._records[found.id] = found

    def take(self, flight_id: str) -> Record:
        """The record of a request, which is forgotten here."""
        return self._records.pop(flight_id, None) or Record(id=flight_id, at=0.0)


class _Lane:
    """A contestant's engine."""

    def __init__(self, contestant: Contestant, *, seed: int) -> None:
        self.contestant, route = contestant, contestant.route
        room = Server(response_limit_mb=FILM_BYTES_MAX / 1024 / 1024)
        config = Config(server=room, targets=route.targets, routes={route.name: route}, defaults=route.policy)
        self.engine: Engine = engine(config, seed=seed)
        self.account = _Account()
        self.engine.bus.add(self.account)

    async def fly(self, request: Request, flight_id: str) -> tuple[Ear, Finished, Record]:
        """One request from its beginning to its end; hangs up where nobody waits for that."""
        route, ear = self.contestant.route, Ear(self.engine.clock)
        named = replace(request, model=route.name)
        drive = self.engine.fly(named, route, caller=ear, flight_id=flight_id)
        try:
            end = await ear.over
        finally:
            if not ear.over.done() or ear.over.cancelled():
                drive.cancel()
        self.engine.bus.flush()
        return ear, end, self.account.take(flight_id)


class Course:
    """One comparison: `samples` are what is known so far, whatever ends it."""

    def __init__(self, contestants: Sequence[Contestant], prompts: Sequence[Prompt], *, settings: Settings) -> None:
        self.contestants, self.prompts, self.settings = tuple(contestants), tuple(prompts), settings
        self.jobs = plan(len(self.prompts), len(self.contestants), settings=settings)
        self.samples: list[Sample] = []
        self.purse = Purse(settings.stop_at_usd)
        self.began = 0.0
        self.stopped = ""
        self._dearest_usd = [0.0] * len(self.contestants)
        self._next_at = 0.0

    async def run(self, told: Callable[[Sample], None] = lambda _: None) -> None:
        """Make all requests, and tell of each; ends early where the next could cost more than there is."""
        lanes = [_Lane(contestant, seed=self.settings.seed) for contestant in self.contestants]
        self.began = self._next_at = monotonic()
        jobs = iter(self.jobs)
        work = partial(self._work, jobs, lanes=lanes, told=told)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.settings.at_once, len(self.jobs))):
                    group.create_task(work())
        finally:
            for lane in lanes:
                await lane.engine.close()
            self.samples.sort(key=lambda sample: sample.number)

    async def _work(self, jobs: Iterator[Job], *, lanes: Sequence[_Lane], told: Callable[[Sample], None]) -> None:
        for job in jobs:
            await self._turn()
            prompt, settings = self.prompts[job.prompt], self.settings
            request = request_of(prompt, settings.task, max_tokens=settings.max_tokens)
            bound_usd = max(lanes[job.contestant].contestant.bound_usd(request), self._dearest_usd[job.contestant])
            if self.stopped or not await self.purse.reserve(bound_usd):
                self.stopped = self.stopped or f"the next request could have cost more than is left of {self.purse}"
                return
            sample, spent_usd = None, 0.0
            try:
                sample = await self._make(job, request, lane=lanes[job.contestant])
                spent_usd = sample.cost_usd or 0.0
            finally:
                self.purse.settle(bound_usd, spent_usd)
            self._dearest_usd[job.contestant] = max(self._dearest_usd[job.contestant], spent_usd)
            self.samples.append(sample)
            told(sample)

    async def _turn(self) -> None:
        """Wait until the rate allows for one more."""
        if self.settings.rate:
            at, self._next_at = self._next_at, max(self._next_at, monotonic()) + 1.0 / self.settings.rate
            await asyncio.sleep(max(0.0, at - monotonic()))

    async def _make(self, job: Job, request: Request, *, lane: _Lane) -> Sample:
        at_s = monotonic() - self.began
        ear, end, found = await lane.fly(request, f"bench-{job.number}")
        blank = Sample(
            number=job.number, block=job.block, round=job.round, prompt=self.prompts[job.prompt].place,
            provider=lane.contestant.name, target="", at_s=at_s, outcome=ANSWERED,
        )  # fmt: skip
        return measured(blank, ear, end=end, found=found, exact=lane.contestant.exact)


def measured(blank: Sample, ear: Ear, *, end: Finished, found: Record, exact: bool) -> Sample:
    """What came of a request: times by our own ear, tokens and dollars by the record."""
    failure, tries = end.failure, found.attempts
    began = None
    if tries:  # a target that had to be asked otherwise was asked in earnest with its last attempt
        began = found.at + tries[-1 if exact else 0].start_s
    thought = 0 if ear.thought else sum(one.reasoning_tokens for one in tries)
    target = end.target.name if end.target is not None else tries[-1].target if tries else ""
    return replace(
        blank,
        target=target,
        outcome=ANSWERED if failure is None else failure.kind.value,
        message="" if failure is None else failure.message,
        total_s=None if began is None else ear.over_at - began,
        first_s=None if began is None or ear.first_at is None else ear.first_at - began,
        tokens_per_s=ear.rate(found.output_tokens - thought),
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        estimated=found.estimated,
        cost_usd=found.cost_usd,
        attempts=len(tries),
    )
