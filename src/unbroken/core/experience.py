"""What is known of targets from what they did: a fold over facts, and what follows for a request.

    question = experience.question(request, now=now, route="", priced=True)   what matters of a request
    experience.expect(target, question)                                       from all that was seen of its model there
    experience.expect(target, experience.question(..., route="chat"))         from what this route saw

Health says who may be asked (`Board`); this says what comes of it.  A target is measured from
the first time on that a strategy asks for it, so that others do not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from unbroken.core.learned import Scout
from unbroken.core.measures import OVERDUE, OVERDUE_TOKENS, Expected, Lengths, Measure, estimate_usd
from unbroken.core.typical import News
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Decided, FirstContent
from unbroken.failures import Fault, Scope
from unbroken.policy import CHARS_PER_TOKEN
from unbroken.records import Record
from unbroken.types import Request, Target, Task

__all__ = ["Experience", "Question"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

KEPT_MAX = 10_000
"""Callers may name any model of a provider: beyond so many everything is learned anew."""
STRAYED = 1.5
"""Times as slow as usual: more than luck."""
STRAYED_LEAST = 0.4
"""What that is at least, as a logarithm."""
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


class Work(Record):
    """An attempt under way: its prompt in tokens, its route, whether it is a stream, and whether it writes tokens."""

    prompt_tokens: float = 0.0
    route: str = ""
    stream: bool = False
    writes: bool = True


class Question(Record):
    """What is asked of each target for a request; what does not depend on the target is worked out once."""

    request: Request
    now: float
    route: str
    priced: bool
    prompt_tokens: float
    usual_tokens: float


Waiting = tuple[tuple[str, int], float]
"""An attempt that was not heard of yet, and for how many seconds."""
UNKNOWN_WORK = Work()
"""An attempt of which the beginning was not heard."""


class Experience:
    """Everything that was measured, by model at a provider and by target of a route that learns."""

    def __init__(self) -> None:
        self.lengths = Lengths()
        self._models: Kept[str, Measure] = Kept(Measure)
        self._routes: Kept[tuple[str, str], Measure] = Kept(Measure)
        self._scouts: Kept[str, Scout] = Kept(Scout)
        self._under_way: Kept[str, dict[tuple[str, int], Work]] = Kept(dict)

    # -- questions

    def question(self, request: Request, *, now: float, route: str, priced: bool) -> Question:
        """What to ask about a request: its cost only where that is wanted (`priced`).

        With a `route` only what that route saw counts; it learns for itself from the first
        time on that this is asked of a target.
        """
        prompt_tokens = request.prompt_chars / CHARS_PER_TOKEN
        usual_tokens = self.lengths.usual(prompt_tokens) if request.task is Task.CHAT else 0.0
        return Question(request, now, route, priced, prompt_tokens, usual_tokens)

    def expect(self, target: Target, question: Question, *, waiting: Waiting | None = None) -> Expected:
        """What may be expected of this target; `waiting` is somebody who waits for it, and how long."""
        request, now, route = question.request, question.now, question.route
        measure, stream = self.own(route, target) if route else self.measure(target), request.stream
        tokens = measure.output_tokens(request, usual=question.usual_tokens)
        first_s, rest_s, doubt = measure.sure_s(question.prompt_tokens, tokens=tokens, now=now, stream=stream)
        if waiting is not None and first_s:
            times = self._overdue(target, measure, waiting=waiting, now=now)
            first_s, rest_s = first_s * times, rest_s if stream else rest_s * times
        total_s = first_s + rest_s
        cost_usd = _cost_usd(measure, target, request=request, tokens=tokens, now=now) if question.priced else None
        return Expected(
            first_s if stream else total_s, total_s, measure.success(now) if measure.bad else 1.0, cost_usd,
            measure.seen, self.busy(target), stream, doubt,
        )  # fmt: skip

    def _overdue(self, target: Target, measure: Measure, *, waiting: Waiting, now: float) -> float:
        """How many times longer than usual somebody has waited by now, if that says anything."""
        key, waited_s = waiting
        work = self._under_way[target.name].get(key, UNKNOWN_WORK)
        tokens = 0.0 if work.stream or not work.writes else OVERDUE_TOKENS * self.lengths.usual(work.prompt_tokens)
        times = waited_s / sum(measure.time_s(work.prompt_tokens, tokens=tokens, now=now))
        return times if times > OVERDUE else 1.0

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

    def strayed(self, target: Target, now: float, *, route: str = "") -> bool:
        """Whether it is slower now than it usually is, so that it may be back at any moment."""
        begins = (self.own(route, target) if route else self.measure(target)).begins
        # Time only brings it back: most are not worth the sums.
        return begins.apart > STRAYED_LEAST and begins.guess(now)[0] > STRAYED * begins.usual

    # -- the fold

    def decided(self, fact: Decided) -> None:
        """Somebody was chosen."""
        if (scout := self._scouts.get(fact.route)) is not None:
            scout.decided(fact)

    def started(self, fact: AttemptStarted) -> None:
        """An attempt is under way."""
        work = Work(fact.prompt_chars / CHARS_PER_TOKEN, fact.route, fact.stream, fact.task is Task.CHAT)
        self._under_way[fact.target.name][fact.flight, fact.number] = work

    def heard(self, fact: FirstContent) -> None:
        """A stream has begun."""
        work = self._under_way.get(fact.target.name, {}).get((fact.flight, fact.number), UNKNOWN_WORK)
        for measure in self._measures(fact.target, work.route):
            self._tell(work.route, fact.target, news=measure.heard(fact.seconds, work.prompt_tokens, now=fact.at))

    def answered(self, fact: AttemptAnswered) -> None:
        """An answer is whole."""
        work = self._end(fact.target, fact.flight, number=fact.number)
        measures = self._measures(fact.target, work.route)
        if not measures:
            return
        tokens = float(fact.usage.output_tokens) if fact.usage is not None and work.writes else 0.0
        if tokens:
            self.lengths.add(tokens, work.prompt_tokens)
        for measure in measures:
            news = measure.answered(fact, work.prompt_tokens, tokens=tokens, lengths=self.lengths)
            self._tell(work.route, fact.target, news=news)

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
        prompt_tokens = work.prompt_tokens
        tokens = self.lengths.usual(prompt_tokens) if work.writes else 0.0
        for measure in self._measures(fact.target, work.route):
            news = measure.outrun(fact.elapsed_s, prompt_tokens, tokens=tokens, stream=work.stream, now=fact.at)
            self._tell(work.route, fact.target, news=news)

    # -- small parts

    def _end(self, target: Target, flight: str, *, number: int) -> Work:
        mine = self._under_way.get(target.name)
        return UNKNOWN_WORK if mine is None else mine.pop((flight, number), UNKNOWN_WORK)

    def _measures(self, target: Target, route: str) -> tuple[Measure, ...]:
        """The model's and the route's own, where somebody has ever asked for them: measuring takes time."""
        if not self._models and not self._routes:
            return ()
        shared, own = self._models.get(target.model_scope), self._routes.get((route, target.name))
        if own is None:
            return () if shared is None else (shared,)
        return (own,) if shared is None else (shared, own)

    def _tell(self, route: str, target: Target, *, news: News) -> None:
        """Whoever looks around on this route should hear of it."""
        if news and (scout := self._scouts.get(route)) is not None:
            scout.told(target.name, news)


def _cost_usd(measure: Measure, target: Target, *, request: Request, tokens: float, now: float) -> float | None:
    """What it costs by the list, or as much more or less as it was told to cost."""
    listed_usd = estimate_usd(target.price, request, tokens=tokens)
    if not measure.usd.count:
        return listed_usd
    times, _ = measure.usd.guess(now)
    return times * (listed_usd or request.prompt_chars / CHARS_PER_TOKEN + tokens)
