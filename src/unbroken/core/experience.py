"""What is known of targets from what they did: a fold over facts, and what follows for a request.

    experience.expect(target, request, now=now)     from all that was seen of its model there
    ... trust=scout.trust(name), route="chat")      from what this route saw, as far as it still holds

Health says who may be asked (`Board`); this says what comes of it.  A target is measured from
the first time on that a strategy asks for it, so that others do not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from unbroken.core.learned import Scout
from unbroken.core.measures import OVERDUE, Expected, Measure, News, Typical, estimate_usd, size_of
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Decided, FirstContent
from unbroken.failures import Fault, Scope
from unbroken.policy import CHARS_PER_TOKEN
from unbroken.types import Request, Target, record

__all__ = ["Experience"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

KEPT_MAX = 10_000
"""Callers may name any model of a provider: beyond so many everything is learned anew."""
OF_THE_MODEL = frozenset((Scope.MODEL, Scope.ENDPOINT))
"""A key that is refused or spent says nothing of the model; to a route that learns it is a failure all the same."""


class Kept(dict[Key, Value]):
    """What is made when it is first asked for, and all forgotten when there is too much of it."""

    def __init__(self, make: Callable[[], Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Key) -> Value:
        if len(self) >= KEPT_MAX:
            self.clear()
        made = self[key] = self._make()
        return made


@record()
class Work:
    """An attempt under way: the class of its prompt, its route, and whether it is a stream."""

    size: int = 0
    route: str = ""
    stream: bool = False


UNKNOWN_WORK = Work()
"""An attempt of which the beginning was not heard."""


class Experience:
    """Everything that was measured, by model at a provider and by target of a route that learns."""

    def __init__(self) -> None:
        self.tokens = Typical()
        """Of answers, whoever gave them."""
        self._models: Kept[str, Measure] = Kept(Measure)
        self._routes: Kept[tuple[str, str], Measure] = Kept(Measure)
        self._scouts: Kept[str, Scout] = Kept(Scout)
        self._under_way: Kept[str, dict[tuple[str, int], Work]] = Kept(dict)

    # -- questions

    def expect(
        self, target: Target, request: Request, *, now: float, overdue_s: float = 0.0, trust: float = 1.0,
        route: str = "", priced: bool = True,
    ) -> Expected:  # fmt: skip
        """What may be expected of this target for this request; its cost only where that is wanted (`priced`).

        `overdue_s` is how long those who are waiting for it have waited, `trust` (0 to 1) how
        far the last measurements hold.  With a `route` only what that route saw counts; it
        learns for itself from the first time on that this is asked.
        """
        measure, stream = self.own(route, target) if route else self.measure(target), request.stream
        tokens = measure.output_tokens(request, usual=self.tokens.usual)
        size = size_of(request.prompt_chars)
        if stream:
            first_s = _at_least(measure.first_s(size, now=now, trust=trust), overdue_s)
            total_s = first_s + measure.rest_s(tokens, now=now, trust=trust)
        else:
            first_s = total_s = _at_least(measure.plain_s(size, tokens=tokens, now=now, trust=trust), overdue_s)
        cost_usd: float | None = None
        if priced and measure.usd.count:
            cost_usd = measure.usd.value * (request.prompt_chars / CHARS_PER_TOKEN + tokens)
        elif priced:
            cost_usd = estimate_usd(target.price, request, tokens=tokens)
        success = measure.success(now, trust)
        return Expected(first_s, total_s, success, cost_usd, measure.seen, self.busy(target), stream)

    def busy(self, target: Target) -> int:
        """How many requests are with it now."""
        return len(self._under_way.get(target.name, ()))

    def scout(self, route: str) -> Scout:
        """What a route whose strategy looks around has found out."""
        return self._scouts[route]

    def measure(self, target: Target) -> Measure:
        """What was seen of its model at its provider, since it was first asked for."""
        return self._models[target.model_scope]

    def own(self, route: str, target: Target) -> Measure:
        """What this route saw of it, since it was first asked for."""
        return self._routes[route, target.name]

    # -- the fold

    def decided(self, fact: Decided) -> None:
        """Somebody was chosen."""
        if (scout := self._scouts.get(fact.route)) is not None:
            scout.decided(fact)

    def started(self, fact: AttemptStarted) -> None:
        """An attempt is under way."""
        work = Work(size_of(fact.prompt_chars), fact.route, fact.stream)
        self._under_way[fact.target.name][fact.flight, fact.number] = work

    def heard(self, fact: FirstContent) -> None:
        """A stream has begun."""
        work = self._under_way.get(fact.target.name, {}).get((fact.flight, fact.number), UNKNOWN_WORK)
        for measure in self._measures(fact.target, work.route):
            self._tell(work.route, fact.target, news=measure.heard(fact.seconds, work.size, now=fact.at))

    def answered(self, fact: AttemptAnswered) -> None:
        """An answer is whole."""
        work = self._end(fact.target, fact.flight, number=fact.number)
        measures = self._measures(fact.target, work.route)
        if measures and fact.usage is not None and fact.usage.output_tokens:
            self.tokens.add(float(fact.usage.output_tokens), fact.at)
        for measure in measures:
            self._tell(work.route, fact.target, news=measure.answered(fact, work.size))

    def failed(self, fact: AttemptFailed) -> None:
        """An attempt failed; what the caller did wrong does not count."""
        work = self._end(fact.target, fact.flight, number=fact.number)
        verdict = fact.failure.verdict
        if verdict.fault is Fault.CALLER:
            return
        shared = self._models.get(fact.target.model_scope)
        for measure in self._measures(fact.target, work.route):
            if measure is not shared or verdict.counts in OF_THE_MODEL:
                self._tell(work.route, fact.target, news=measure.failed(fact.at))

    def abandoned(self, fact: AttemptAbandoned) -> None:
        """We hung up: where somebody else was faster, that says how slow it is at least."""
        work = self._end(fact.target, fact.flight, number=fact.number)
        if not fact.outrun:
            return
        for measure in self._measures(fact.target, work.route):
            news = measure.outrun(fact.elapsed_s, work.size, stream=work.stream, now=fact.at)
            self._tell(work.route, fact.target, news=news)

    # -- small parts

    def _end(self, target: Target, flight: str, *, number: int) -> Work:
        mine = self._under_way.get(target.name)
        return UNKNOWN_WORK if mine is None else mine.pop((flight, number), UNKNOWN_WORK)

    def _measures(self, target: Target, route: str) -> tuple[Measure, ...]:
        """The model's and the route's own, where somebody has ever asked for them: measuring takes time."""
        if not self._models and not self._routes:
            return ()
        found = self._models.get(target.model_scope), self._routes.get((route, target.name))
        return tuple(measure for measure in found if measure is not None)

    def _tell(self, route: str, target: Target, *, news: News) -> None:
        """Whoever looks around on this route should hear of it."""
        if news and (scout := self._scouts.get(route)) is not None:
            scout.told(target.name, news)


def _at_least(expected_s: float, overdue_s: float) -> float:
    """Those who are waiting say when it takes longer by now than it did."""
    return overdue_s if overdue_s > OVERDUE * expected_s > 0.0 else expected_s
