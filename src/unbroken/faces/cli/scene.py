"""The demo's play: three providers, a gateway before them, callers, and one trouble after another.

Nothing here is acted.  The providers are HTTP servers on loopback, the gateway is the one
that `unbroken serve` runs, with one setting of its own (how long a silent provider is
waited for), and the callers are HTTP clients that know nothing of all this.  As every
provider would give the same words to the same question, each answer is compared word for
word with what an unbroken provider would have said.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from unbroken.bus import Bus
from unbroken.faces.cli.caller import Call
from unbroken.facts import Continued, Fact, FlightEnded
from unbroken.testing import (
    Cut,
    ErrorEvent,
    FakeProvider,
    Hang,
    Refused,
    Speed,
    Stall,
    Status,
    Trouble,
    essay,
)

__all__ = ["ACTS", "Act", "Exchange", "Health", "Notes", "Play", "Tally", "View", "providers", "trouble_words"]

CALLERS = 3
"""At once: enough to see traffic flow, few enough to read."""
THINK_S = 0.4
"""A caller's pause between two questions."""
SETTLE_S = 15.0
"""The longest wait for the last answers when the play is over."""
SPOTLIGHT_RATE = 18.0
"""Tokens a second of the answer that is shown word by word: as fast as one reads."""
SPOTLIGHT_WORDS = 26
"""Of that answer, before its provider cuts it off."""


Health = Callable[[str], str]
"""What the gateway thinks of a provider, in words; empty where nothing is in the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A trouble for the provider that is answering now, for so long; `words` say what it is."""

    words: str
    trouble: Trouble | None
    lasts_s: float
    spotlight: bool = False


ACTS: Sequence[Act] = (
    Act(words="all is well", trouble=None, lasts_s=3.5),
    Act(words="refuses connections", trouble=Refused(), lasts_s=5.5),
    Act(words="answers 500", trouble=Status(500), lasts_s=5.5),
    Act(words="is rate limited (429, come back in 20 s)", trouble=Status(429, retry_after_s=20), lasts_s=5.5),
    Act(words="takes requests and stays silent", trouble=Hang(), lasts_s=6.0),
    Act(words="one answer, word by word", trouble=None, lasts_s=7.0, spotlight=True),
    Act(words="all are well again", trouble=None, lasts_s=2.5),
)

_TROUBLE_WORDS: dict[type, str] = {
    Refused: "refuses connections",
    Hang: "silent",
    Cut: "cuts answers off",
    Stall: "stalls in answers",
    ErrorEvent: "errs in answers",
}

_WHO = ("a lighthouse keeper", "a night nurse", "a bridge builder", "a beekeeper", "a tram driver", "a choir master")
_WHAT = ("patience", "spare parts", "good timing", "second chances", "the weather", "asking twice", "plain words")


def questions(seed: int) -> Callable[[], str]:
    """A source of questions; the same for the same seed."""
    draw = Random(seed)
    return lambda: f"What does {draw.choice(_WHO)} know about {draw.choice(_WHAT)}?"


def providers(speed: float) -> list[FakeProvider]:
    """The cast: a good one, a slower one, and a small fast one; two of them take a prefix."""
    speeds = {
        "alder": Speed(first_token_s=0.35, tokens_per_s=70.0),
        "birch": Speed(first_token_s=0.55, tokens_per_s=45.0),
        "cedar": Speed(first_token_s=0.20, tokens_per_s=110.0),
    }
    return [
        FakeProvider(name, speed=own.times(speed), accepts_prefix=name != "cedar", models=("essayist",))
        for name, own in speeds.items()
    ]


def trouble_words(provider: FakeProvider) -> str:
    """What is wrong with it, in a few words; empty where it is well."""
    trouble = provider.trouble
    if isinstance(trouble, Status):
        return f"answers {trouble.status}"
    return _TROUBLE_WORDS.get(type(trouble), "") if trouble else ""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One question and what its caller saw; times in seconds from the start of the play.

    `seams` are where another provider went on; `expected` are the words of an unbroken
    answer, None where nobody knows them beforehand.
    """

    number: int
    prompt: str
    call: Call
    began: float
    spotlight: bool = False
    text: str = ""
    first_s: float | None = None
    pause_s: float = 0.0
    total_s: float | None = None
    seams: tuple[Continued, ...] = ()
    expected: str | None = None

    @property
    def whole(self) -> bool:
        """Whether the caller got the answer to its end: every word, in order, and nothing else."""
        return self.call.error is None and self.expected in (None, self.text)

    def hear(self, word: str, *, now: float, last: float) -> None:
        """A word has come; the one before it came at `last`."""
        if self.first_s is None:
            self.first_s = now - self.began
        else:
            self.pause_s = max(self.pause_s, now - last)
        self.text += word


class Notes:
    """What the gateway says that happened, by request: a sink for its facts."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._continued: dict[str, list[Continued]] = {}
        self._ended: dict[str, FlightEnded] = {}
        bus.add(self)

    def write(self, facts: list[Fact]) -> None:
        """Take a batch."""
        for fact in facts:
            if isinstance(fact, Continued) and fact.chars:
                self._continued.setdefault(fact.flight, []).append(fact)
            elif isinstance(fact, FlightEnded):
                self._ended[fact.flight] = fact

    def continued(self, call: Call) -> tuple[Continued, ...]:
        """Where this call's answer was carried on; of two tries at one place, the one that counted."""
        self._bus.flush()
        found = self._continued.get(call.headers.get("x-unbroken-request-id", ""), ())
        return tuple({fact.chars: fact for fact in found}.values())

    def ended(self) -> list[FlightEnded]:
        """Every request that is over."""
        self._bus.flush()
        return list(self._ended.values())


class View(Protocol):
    """Whoever shows the play; told as things happen."""

    def act(self, play: Play, title: str) -> None: ...
    def heard(self, play: Play, exchange: Exchange, *, word: str) -> None: ...
    def over(self, play: Play, exchange: Exchange) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The numbers at the end, counted by the callers and from the gateway's facts; times in seconds."""

    requests: int
    whole: int
    failed_over: int
    rescued: int
    first_word_s_max: float
    pause_s_max: float
    attempts: int
    errors: dict[str, int]


class Play:
    """The demo under way: `run` it, look at it meanwhile, and `tally` it at the end.

    url      where the callers send their questions
    cast     the providers, in the order in which the route prefers them
    notes    what the gateway says that happened
    health   what it thinks of a provider now
    speed    so many times as fast
    """

    def __init__(
        self, url: str, cast: Sequence[FakeProvider], *, notes: Notes, view: View, health: Health, seed: int = 7,
        speed: float = 1.0,
    ) -> None:  # fmt: skip
        self.url, self.cast, self.notes, self.view, self.health, self.speed = url, cast, notes, view, health, speed
        self.title = ""
        self.exchanges: list[Exchange] = []
        self._ask = questions(seed)
        self._open = True
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()

    @property
    def now(self) -> float:
        """Seconds since the curtain rose."""
        return self._clock() - self._began

    @property
    def spotlit(self) -> Exchange | None:
        """The answer that is shown word by word: the latest such."""
        return next((exchange for exchange in reversed(self.exchanges) if exchange.spotlight), None)

    async def run(self, acts: Sequence[Act] = ACTS) -> None:
        """All acts, with traffic from first to last."""
        callers = [asyncio.create_task(self._call_again(number)) for number in range(CALLERS)]
        try:
            for act in acts:
                await self._play(act)
            self._open = False
            await asyncio.wait(callers, timeout=SETTLE_S)
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)

    async def _play(self, act: Act) -> None:
        for provider in self.cast:
            provider.heal()
        if act.trouble is None:
            self._announce(act.words)
        else:
            star = self._star()
            star.fail_with(act.trouble)
            self._announce(f"{star.name} {act.words}")
        curtain = self._clock() + act.lasts_s / self.speed
        if act.spotlight:
            await self.in_the_light()
        await asyncio.sleep(max(0.0, curtain - self._clock()))

    def _announce(self, title: str) -> None:
        self.title = title
        self.view.act(self, title)

    def _star(self) -> FakeProvider:
        """The provider that the next request goes to: breaking any other would show nothing."""
        well = [provider for provider in self.cast if not self.health(provider.name)]
        return well[0] if well else self._speaker(self.exchanges[-1])

    def _speaker(self, exchange: Exchange) -> FakeProvider:
        """Who began to answer this; the first choice while nobody did."""
        name = exchange.call.target.partition("/")[0]
        return next((provider for provider in self.cast if provider.name == name), self.cast[0])

    def _cut_off(self, exchange: Exchange) -> None:
        """Whoever is speaking breaks off, here and in every answer from now on."""
        star = self._speaker(exchange)
        star.fail_with(Cut(after_tokens=SPOTLIGHT_WORDS))
        star.hang_up()
        self._announce(f"{star.name} cuts its answers off in the middle")

    async def _call_again(self, number: int) -> None:
        await asyncio.sleep(number * THINK_S / self.speed)
        while self._open:
            await self._exchange(self._ask())
            await asyncio.sleep(THINK_S / self.speed)

    async def in_the_light(self) -> None:
        """One answer at reading speed, from providers that are otherwise as they are."""
        speeds = [provider.speed for provider in self.cast]
        for provider in self.cast:
            provider.speed = Speed(first_token_s=provider.speed.first_token_s, tokens_per_s=SPOTLIGHT_RATE * self.speed)
        try:
            await self._exchange(self._ask(), spotlight=True)
        finally:
            for provider, speed in zip(self.cast, speeds, strict=True):
                provider.speed = speed

    async def _exchange(self, prompt: str, *, spotlight: bool = False) -> None:
        call = Call(url=self.url, model="auto", messages=[{"role": "user", "content": prompt}])
        exchange = Exchange(
            number=len(self.exchanges) + 1, prompt=prompt, call=call, began=self.now, spotlight=spotlight,
            expected=essay(prompt),
        )  # fmt: skip
        self.exchanges.append(exchange)
        last, words = self.now, 0
        async for word in call.words():
            now = self.now
            exchange.hear(word, now=now, last=last)
            last, words = now, words + 1
            if spotlight and words == SPOTLIGHT_WORDS:
                self._cut_off(exchange)
            exchange.seams = self.notes.continued(call)
            self.view.heard(self, exchange, word=word)
        exchange.total_s = self.now - exchange.began
        self.view.over(self, exchange)

    def tally(self) -> Tally:
        """What callers and providers counted."""
        done = [exchange for exchange in self.exchanges if exchange.total_s is not None]
        ended = self.notes.ended()
        return Tally(
            requests=len(done),
            whole=sum(exchange.whole for exchange in done),
            failed_over=sum(fact.failover and not fact.rescued for fact in ended),
            rescued=sum(fact.rescued for fact in ended),
            first_word_s_max=max((exchange.first_s or 0.0 for exchange in done), default=0.0),
            pause_s_max=max((exchange.pause_s for exchange in done), default=0.0),
            attempts=sum(fact.attempts for fact in ended),
            errors=dict(Counter(exchange.call.error or "wrong words" for exchange in done if not exchange.whole)),
        )
