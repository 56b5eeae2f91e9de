"""Whom the strategies are compared with: two oracles, and three ways to choose as users of other tools have them.

    Oracle         asks whoever will really answer best; nothing that can be done beats it at once
    Informed       knows how everybody is, and who will fail, but not the luck of one answer
    Shuffle        any target that has not failed in the last 5 s, and two more tries
    LowestLatency  as it, but among those whose latest answers were fastest, within a buffer
    Fallback       always the first, then the next: no breaker, no memory

The last three are our own code for what is described of such routers in public: they see a
stream as answered once it ends well, do not go on with one that broke, and wait for silence
as long as `TIMEOUT_S`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from random import Random
from typing import Protocol

from unbroken.core.measures import Lengths
from unbroken.failures import FailureKind
from unbroken.records import replace
from unbroken.sim.course import Course, Making, Player, Seen
from unbroken.sim.market import Answer, Ask
from unbroken.sim.traces import Trace

__all__ = ["BASELINES", "ORACLES", "half_informed"]

TIMEOUT_S = 60.0
"""Until the first word of a stream, or between two, or for all of a plain answer."""
COOL_S = 5.0
"""A target that failed is left alone for so long."""
TRIES = 3
"""Of one request: two retries, as is usual."""
LATEST = 10
"""Answers that make up a target's latency."""
BUFFER = 0.5
"""Targets up to so much slower than the fastest take part as well."""
TIMED_OUT_S = 1000.0
"""What a timeout counts for among the latencies: nobody chooses that target again soon."""

_EARLY = -1
"""No target: the request ends without an attempt."""


class Chooser(Protocol):
    """How a simple router decides; targets by their places."""

    def choose(self, tried: list[int], now: float) -> int:
        """Whom to ask next, -1 for nobody."""
        ...

    def answered(self, place: int, seconds: float) -> None:
        """It answered, after so long."""
        ...

    def failed(self, place: int, *, now: float, timed_out: bool) -> None:
        """It failed."""
        ...


class _Simple:
    """A router that asks one after the other, and forgets a request that it could not answer."""

    def __init__(self, course: Course, chooser: Chooser) -> None:
        self.course, self.chooser = course, chooser

    def begin(self, ask: Ask, now: float) -> None:
        """The first try."""
        _Try(self, ask, began=now).launch(now)


class _Try:
    """One request under way."""

    __slots__ = ("_answer", "_ask", "_asked_at", "_began", "_place", "_router", "_tried")

    def __init__(self, router: _Simple, ask: Ask, *, began: float) -> None:
        self._router, self._ask, self._began = router, ask, began
        self._tried: list[int] = []
        self._asked_at, self._place = began, _EARLY
        self._answer = Answer(inf, inf, 0)

    def launch(self, now: float) -> None:
        """Ask the next, or give up."""
        router = self._router
        place = router.chooser.choose(self._tried, now)
        if place == _EARLY:
            self._give_up(now)
            return
        again = self._tried.count(place)
        self._tried.append(place)
        self._place, self._asked_at = place, now
        answer = self._answer = router.course.market.ask(place, self._ask, again=again, now=now)
        router.course.at(now + min(answer.end_s, self._patience_s(answer)), self)

    def _patience_s(self, answer: Answer) -> float:
        """For how long it is waited: a stream that speaks is waited for anew."""
        if not self._is_stream or answer.first_s > TIMEOUT_S:
            return TIMEOUT_S
        return inf if answer.end_s < inf else answer.first_s + TIMEOUT_S

    @property
    def _is_stream(self) -> bool:
        return bool(self._router.course.streams[self._ask.number])

    def fire(self, now: float) -> None:
        """The answer has ended, or the patience."""
        router, answer, place = self._router, self._answer, self._place
        course, waited_s = router.course, now - self._asked_at
        timed_out = waited_s < answer.end_s - 1e-6
        tokens = 0 if waited_s < answer.first_s and timed_out else answer.tokens
        course.spent(self._ask.number, course.market.leave(place, self._ask, answer=answer, tokens=tokens))
        if answer.failure is None and not timed_out:
            first_s = answer.first_s if self._is_stream else answer.end_s
            router.chooser.answered(place, first_s)
            first_s += self._asked_at - self._began
            tries = len(self._tried)
            seen = Seen(done=True, target=place, attempts=tries, first_s=first_s, failover=tries > 1)
            course.over(self._ask.number, seen, now=now)
            return
        router.chooser.failed(place, now=now, timed_out=timed_out)
        if self._is_stream and answer.first_s <= waited_s:  # words were shown, and nobody goes on with them
            self._give_up(now)
        else:
            self.launch(now)

    def _give_up(self, now: float) -> None:
        failure = self._answer.failure
        kind = (failure.kind if failure is not None else FailureKind.SILENT) if self._tried else FailureKind.NO_TARGET
        seen = Seen(done=False, attempts=len(self._tried), kind=kind.value)
        self._router.course.over(self._ask.number, seen, now=now)


class _Shuffle:
    """Any that is not cooling down."""

    def __init__(self, course: Course) -> None:
        self._count = len(course.market.names)
        self.draw = Random(f"{course.scene.seed}/baseline")
        self._free_at = [0.0] * self._count

    def choose(self, tried: list[int], now: float) -> int:
        if len(tried) >= TRIES:
            return _EARLY
        free = [place for place in range(self._count) if self._free_at[place] <= now]
        return self.pick(free) if free else _EARLY

    def pick(self, free: list[int]) -> int:
        """One of these."""
        return self.draw.choice(free)

    def answered(self, place: int, seconds: float) -> None:
        """Nothing is learned of it."""

    def failed(self, place: int, *, now: float, timed_out: bool) -> None:
        self._free_at[place] = now + COOL_S


class _LowestLatency(_Shuffle):
    """The fastest of late, and those within the buffer; who was never asked comes first."""

    def __init__(self, course: Course) -> None:
        super().__init__(course)
        self._latest: list[deque[float]] = [deque(maxlen=LATEST) for _ in course.market.names]

    def pick(self, free: list[int]) -> int:
        means_s = {place: sum(self._latest[place]) / max(1, len(self._latest[place])) for place in free}
        most_s = min(means_s.values()) * (1.0 + BUFFER)
        return self.draw.choice([place for place in free if means_s[place] <= most_s])

    def answered(self, place: int, seconds: float) -> None:
        self._latest[place].append(seconds)

    def failed(self, place: int, *, now: float, timed_out: bool) -> None:
        super().failed(place, now=now, timed_out=timed_out)
        if timed_out:
            self._latest[place].append(TIMED_OUT_S)


class _Fallback:
    """In order, each once."""

    def __init__(self, course: Course) -> None:
        self._count = len(course.market.names)

    def choose(self, tried: list[int], now: float) -> int:
        return len(tried) if len(tried) < self._count else _EARLY

    def answered(self, place: int, seconds: float) -> None:
        """Nothing is learned of it."""

    def failed(self, place: int, *, now: float, timed_out: bool) -> None:
        """Nor of that."""


class _Guide:
    """An oracle: for each request, whom the market's survey names, and the first where nobody would answer."""

    def __init__(self, course: Course, *, knows_luck: bool = False, knows_length: bool = True) -> None:
        self._course, self._knows_luck = course, knows_luck
        self._lengths = None if knows_length else _usual(course.scene.trace)
        self._router = _Simple(course, self)
        self._named = 0

    def begin(self, ask: Ask, now: float) -> None:
        """Look, then ask."""
        stream, seen = bool(self._course.streams[ask.number]), ask
        if self._lengths is not None:
            seen = replace(ask, output_tokens=round(self._lengths.usual(ask.input_tokens)))
        survey = self._course.market.survey(seen, now=now, stream=stream)
        self._named = survey.best if self._knows_luck else survey.informed
        self._router.begin(ask, now)

    def choose(self, tried: list[int], now: float) -> int:
        return _EARLY if tried else self._named

    def answered(self, place: int, seconds: float) -> None:
        """It was known."""

    def failed(self, place: int, *, now: float, timed_out: bool) -> None:
        """It was known."""


def _usual(trace: Trace) -> Lengths:
    """How long the answers of a trace are, by the length of the prompt: all of them, those to come as well."""
    lengths = Lengths()
    for read, written in zip(trace.inputs, trace.outputs, strict=True):
        lengths.add(written, read)
    return lengths


def _simple(make: Callable[[Course], Chooser]) -> Making:
    return lambda course: _Simple(course, make(course))


ORACLES: Mapping[str, Making] = {
    "oracle": lambda course: _Guide(course, knows_luck=True),
    "informed": _Guide,
}
"""Who knows the future: all of it, or all but the luck of a single answer."""


def half_informed(course: Course) -> Player:
    """Who knows as much as `informed`, but not how long an answer is going to be, only how long they usually are."""
    return _Guide(course, knows_length=False)


BASELINES: Mapping[str, Making] = {
    "~ shuffle, 5 s cool-down": _simple(_Shuffle),
    "~ lowest latency, buffer": _simple(_LowestLatency),
    "~ fallback, no breaker": _simple(_Fallback),
}
"""What users of other tools have, by a name that says it is not ours."""
