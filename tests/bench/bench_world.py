"""Fake providers whose speeds are known, and comparisons of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

from unbroken.bench.contestants import Contestant, contestants
from unbroken.bench.course import Course, Settings
from unbroken.bench.prompts import Prompt
from unbroken.bench.samples import Sample
from unbroken.config import Config
from unbroken.policy import Route
from unbroken.testing import FakeProvider, Speed
from unbroken.types import Request, Target

WORDS = "one two three four five six seven eight nine ten"
TIMEOUT_S = 30.0


class Runner(FakeProvider):
    """A provider that takes another time for each answer, by chance, around the one it is known for."""

    def __init__(self, name: str, *, first_s: float = 0.0, tokens_per_s: float = float("inf")) -> None:
        super().__init__(name, answer=self._say)
        self._first_s, self._tokens_per_s, self._chance = first_s, tokens_per_s, Random(name)
        self.fails_every = 0
        self.answers = 0
        self.log: list[tuple[str, str]] = []

    def _say(self, request: Request) -> str:
        self.log.append((self.name, request.chat.messages[-1].text))
        first_s = self._first_s * self._chance.uniform(0.7, 1.3)
        self.speed = Speed(first_token_s=first_s, tokens_per_s=self._tokens_per_s)
        self.answers += 1
        return WORDS

    @property
    def took_s(self) -> list[float]:
        """How long each answer took, by its own clock."""
        return [seen.finished - seen.started for seen in self.seen if seen.finished is not None]


def configured(providers: Iterable[FakeProvider], *, routes: Any = None, **fields: Any) -> Config:
    """What an operator would write of these."""
    sections = {fake.name: {"base_url": fake.base_url, "model": "m", **fields} for fake in providers}
    values: Mapping[str, Any] = {"providers": sections, **({"routes": routes} if routes else {})}
    return Config.from_values(values, {})


@asynccontextmanager
async def opened(*providers: FakeProvider) -> AsyncIterator[None]:
    """The providers, listening."""
    async with AsyncExitStack() as stack:
        for provider in providers:
            await stack.enter_async_context(provider)
        yield


def questions(count: int) -> list[Prompt]:
    return [Prompt(f"here:{number}", f"question {number}") for number in range(count)]


async def compared(config: Config, names: Sequence[str], *, prompts: int, settings: Settings) -> Course:
    """A comparison that was run."""
    entered = contestants(config, names, task=settings.task, timeout_s=settings.timeout_s)
    course = Course(entered, questions(prompts), settings=settings)
    await course.run()
    return course


def staged(samples: Mapping[str, Sequence[Sample]], settings: Settings | None = None) -> Course:
    """A comparison of which it is only told what came of it."""
    names = list(samples)
    entered = [Contestant(name=name, route=Route(name=name, targets=(target(name),)), exact=True) for name in names]
    course = Course(entered, questions(1), settings=settings or Settings(warm_up=0, rounds=1))
    course.samples = [sample for found in samples.values() for sample in found]
    return course


def target(name: str) -> Target:
    return Target(name=name, provider=name, model="m")


def sample(provider: str, block: int, **fields: Any) -> Sample:
    """An answered request, with what is said of it."""
    known = {"number": block, "round": 1, "prompt": "here:1", "target": provider, "at_s": 0.0, "outcome": "answered"}
    return Sample(provider=provider, block=block, **{**known, **fields})
