"""What is measured: one record for each request, and what can be said of it in numbers.

Sample     a request and what came of it
MEASURES   the times, rates and dollars that are compared
Ear        the caller of a request: notes when its answer came
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from unbroken.core.flight import Finished
from unbroken.ports import Clock
from unbroken.records import Record
from unbroken.types import Delta, Task

__all__ = ["ANSWERED", "FIELDS", "MEASURES", "Ear", "Measure", "Sample", "measures_of"]

ANSWERED = "answered"
SPAN_S_MIN = 0.01
"""An answer whose words came within less came at once: no rate can be read from it."""
TOKEN_CHARS_MAX = 8.0
"""Pieces of so many characters on average are a token each; of longer ones it is the characters that count."""


class Sample(Record, kw_only=True):
    """One request.  Times are seconds from when its (first) attempt was sent; `at_s` from the beginning of the run.

    `number` is its place in the order of all, `block` what it shares with the same prompt's requests to
    the others in the same `round` (0: warm-up, which counts for nothing).  `outcome` is `answered`, or
    the kind of its failure, with the `message`.  `tokens_per_s` is from the first words to the last.
    `estimated` is whether nobody counted its tokens and they are our guess.  `cost_usd` is None where no
    price is known.
    """

    number: int
    block: int
    round: int
    prompt: str
    provider: str
    target: str
    at_s: float
    outcome: str
    message: str = ""
    total_s: float | None = None
    first_s: float | None = None
    tokens_per_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = None
    attempts: int = 0

    @property
    def answered(self) -> bool:
        return self.outcome == ANSWERED


FIELDS = Sample.__struct_fields__
"""Of a sample, in order: the columns of files."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that samples have: `key` is the field, `small` whether less of it is better."""

    key: str
    title: str
    unit: str
    small: bool = True
    tasks: frozenset[Task] = frozenset(Task)

    def of(self, sample: Sample) -> float | None:
        """The sample's; None where it has none, or was not answered."""
        value: float | None = getattr(sample, self.key)
        return value if sample.answered else None


_SPOKEN = frozenset((Task.CHAT,))
MEASURES = (
    Measure("total_s", "whole answer", "s"),
    Measure("first_s", "first token", "s", tasks=_SPOKEN),
    Measure("tokens_per_s", "tokens per second", "/s", small=False, tasks=_SPOKEN),
    Measure("cost_usd", "cost of a request", "USD"),
)


def measures_of(task: Task) -> tuple[Measure, ...]:
    """What can be measured of this kind of work."""
    return tuple(measure for measure in MEASURES if task in measure.tasks)


class Ear:
    """Listens to one answer; `over` is done at its end."""

    __slots__ = ("_at_first", "_clock", "_written", "first_at", "last_at", "over", "over_at", "thought")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.first_at: float | None = None
        self.last_at = self.over_at = 0.0
        self._written = self._at_first = (0, 0)
        self.thought = False
        self.over: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()

    def show(self, deltas: Sequence[Delta]) -> None:
        """Some of the answer; what comes together came at the same time."""
        now, sizes = self._clock(), [size for delta in deltas if (size := _size(delta))]
        self.thought = self.thought or any(delta.reasoning for delta in deltas)
        if sizes:
            self._written = (self._written[0] + len(sizes), self._written[1] + sum(sizes))
            self.last_at = now
        if self.first_at is None and any(delta.has_content for delta in deltas):
            self.first_at, self._at_first = now, self._written

    def finish(self, end: Finished) -> None:
        """The end."""
        self.over_at = self._clock()
        if not self.over.done():
            self.over.set_result(end)

    def rate(self, tokens: int) -> float | None:
        """Tokens a second, of those that came after the first words; None where all came at once."""
        if self.first_at is None or self.last_at - self.first_at < SPAN_S_MIN:
            return None
        pieces, chars = self._written
        unit = 0 if chars / pieces <= TOKEN_CHARS_MAX else 1
        later = 1.0 - self._at_first[unit] / self._written[unit]
        return tokens * later / (self.last_at - self.first_at) or None


def _size(delta: Delta) -> int:
    words = len(delta.text) + len(delta.reasoning) + len(delta.refusal)
    return words + sum(len(call.arguments) for call in delta.tool_calls)
