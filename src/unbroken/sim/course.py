"""A run of one player through one day: the heap, the clock, the arrivals, and what came of each request.

Scene      what everybody plays: the trace, the providers, what befalls them, what counts
Player     whoever decides whom to ask: the real core, an oracle, a baseline
Course     one run of one player
Outcomes   what came of it, a column each
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from heapq import heappop, heappush
from math import inf
from typing import Any, Protocol

from unbroken.policy import Route
from unbroken.sim.market import Ask, Luck, Market, Past
from unbroken.sim.outages import Plan
from unbroken.sim.suppliers import Supplier, Weights
from unbroken.sim.traces import Trace

__all__ = ["NOBODY", "Course", "Event", "Outcomes", "Player", "Scene", "Seen", "play"]

NOBODY = 255
"""In the column of targets: no one answered."""
FAILED = 3.0
"""The regret of a request that somebody would have answered and nobody did: as bad as twenty times the time."""
PROGRESS_EVERY = 1_000
"""Requests between two reports of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is played; `suppliers` by the names of the route's targets, in their order.

    Of a hundred requests `streams` want to see their answer as it is written, unless the trace says which.
    """

    route: Route
    suppliers: Mapping[str, Supplier]
    trace: Trace
    plan: Plan = field(default_factory=Plan)
    streams: int = 75
    seed: int = 1
    past: Past = field(default_factory=dict)
    lucks: Mapping[str, Luck] | None = None

    def luck(self) -> Mapping[str, Luck]:
        """Each target's, by the seed; those that are given come first."""
        length, given = len(self.trace), self.lucks or {}
        return {
            name: given.get(name) or Luck.of(supplier, seed=f"{self.seed}/{name}", requests=length)
            for name, supplier in self.suppliers.items()
        }

    def market(self, luck: Mapping[str, Luck], weights: Weights) -> Market:
        """The providers, fresh for a run."""
        return Market(self.suppliers, self.plan.outages, luck=luck, weights=weights, past=self.past)

    def who_streams(self) -> bytes:
        """By request number, whether it wants to see its answer as it is written: as the trace says, or evenly."""
        if self.trace.streams:
            return bytes(self.trace.streams)
        evenly = bytes((number * 61) % 100 < self.streams for number in range(100))
        return (evenly * (len(self.trace) // 100 + 1))[: len(self.trace)]


@dataclass(slots=True)
class Outcomes:
    """What came of each request, a column each; times in seconds; of failed ones, how long they waited.

    `done` is 1 for a whole answer.  `best` is the burden of the best answer that any provider
    would have given at the request's arrival (infinity: nobody would have), `informed` that of
    the best guess of somebody who knows everything but luck, `got` that of what was got.
    `hopeless` marks those that failed at a moment when nobody would have answered any more, `kinds`
    counts what failed ones failed of.
    """

    done: bytearray
    targets: bytearray
    attempts: bytearray
    failovers: bytearray
    rescues: bytearray
    hopeless: bytearray
    first_s: array[float]
    total_s: array[float]
    cost_usd: array[float]
    best: array[float]
    informed: array[float]
    got: array[float]
    kinds: Counter[str]

    @classmethod
    def of(cls, requests: int) -> Outcomes:
        """Room for so many."""
        made: dict[str, Any] = {"kinds": Counter()}
        for of in fields(cls):
            if of.type == "bytearray":
                made[of.name] = bytearray(requests)
            elif of.name not in made:
                made[of.name] = array("d", bytes(8 * requests))
        return cls(**made)

    def regret(self, number: int, *, against: array[float]) -> float:
        """By how much this request's burden was greater than that one; of a failed one, `FAILED`."""
        return self.got[number] - against[number] if self.done[number] else FAILED

    def __len__(self) -> int:
        return len(self.done)

    def digest(self) -> str:
        """Of every column, in hexadecimal."""
        found = blake2b(digest_size=16)
        for column in (self.done, self.targets, self.attempts, self.failovers, self.rescues):
            found.update(column)
        for times in (self.first_s, self.total_s, self.cost_usd):
            found.update(times.tobytes())
        return found.hexdigest()


class Event(Protocol):
    """Something that will happen."""

    def fire(self, now: float) -> None:
        """Its time has come."""
        ...


class Player(Protocol):
    """Whoever decides whom to ask."""

    def begin(self, ask: Ask, now: float) -> None:
        """A request has come in; its end must be told to `Course.over`, once."""
        ...


@dataclass(slots=True)
class Seen:
    """What a caller saw: the end of a request, as its player reports it."""

    done: bool
    target: int = NOBODY
    attempts: int = 1
    first_s: float = 0.0
    failover: bool = False
    rescued: bool = False
    kind: str = ""


class Course:
    """One run."""

    __slots__ = ("_heap", "_made", "_open", "_weights", "arrivals_s", "inputs", "market", "outcomes", "outputs",
                 "scene", "streams")  # fmt: skip

    def __init__(self, scene: Scene, luck: Mapping[str, Luck], *, weights: Weights) -> None:
        self.scene, self._weights = scene, weights
        self.market = scene.market(luck, weights)
        trace = scene.trace
        self.arrivals_s, self.inputs, self.outputs = trace.arrivals_s, trace.inputs, trace.outputs
        self.outcomes = Outcomes.of(len(trace))
        self.streams = scene.who_streams()
        self._heap: list[tuple[float, int, Event]] = []
        self._made = 0
        self._open = 0

    # -- for players

    def at(self, time: float, event: Event) -> None:
        """Something will happen at this time; what never happens is left out."""
        if time < inf:
            self._made += 1
            heappush(self._heap, (time, self._made, event))

    def spent(self, number: int, cost_usd: float) -> None:
        """An attempt of this request cost so much."""
        self.outcomes.cost_usd[number] += cost_usd

    def over(self, number: int, seen: Seen, *, now: float) -> None:
        """A request has ended, once."""
        outcomes = self.outcomes
        total_s = now - self.arrivals_s[number]
        first_s = seen.first_s if self.streams[number] and seen.done else total_s
        outcomes.done[number] = seen.done
        outcomes.targets[number] = seen.target
        outcomes.attempts[number] = min(seen.attempts, 255)
        outcomes.failovers[number], outcomes.rescues[number] = seen.failover, seen.rescued
        outcomes.first_s[number], outcomes.total_s[number] = first_s, total_s
        if not seen.done:
            outcomes.kinds[seen.kind] += 1
            ask = Ask(number, self.inputs[number], self.outputs[number])
            outcomes.hopeless[number] = self.market.survey(ask, now=now, stream=True).best < 0
        self._open -= 1

    # -- the run

    def run(self, player: Player, progress: Callable[[int], None] | None = None) -> Outcomes:
        """From the first arrival to the last end."""
        heap, survey, outcomes = self._heap, self.market.survey, self.outcomes
        for number, arrival in enumerate(self.arrivals_s):
            while heap and heap[0][0] <= arrival:
                now, _, event = heappop(heap)
                event.fire(now)
            ask = Ask(number, self.inputs[number], self.outputs[number])
            seen = survey(ask, now=arrival, stream=bool(self.streams[number]))
            outcomes.best[number], outcomes.informed[number] = seen.best_burden, seen.informed_burden
            self._open += 1
            player.begin(ask, arrival)
            if progress is not None and number % PROGRESS_EVERY == 0:
                progress(number)
        while heap and self._open:
            now, _, event = heappop(heap)
            event.fire(now)
        self._weigh()
        return outcomes

    def _weigh(self) -> None:
        """The burden of each answer, with everything that it cost."""
        outcomes, burden = self.outcomes, self._weights.burden
        outcomes.got = array("d", map(
            lambda first_s, total_s, cost_usd: burden(first_s, total_s, cost_usd=cost_usd),
            outcomes.first_s, outcomes.total_s, outcomes.cost_usd,
        ))  # fmt: skip


Making = Callable[[Course], Player]
"""A player for a run."""


def play(
    scene: Scene, make: Making, *, luck: Mapping[str, Luck], weights: Weights,
    progress: Callable[[int], None] | None = None,
) -> Outcomes:  # fmt: skip
    """What comes of a scene in somebody's hands; regret by these weights."""
    course = Course(scene, luck, weights=weights)
    return course.run(make(course), progress)
