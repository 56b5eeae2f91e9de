"""Facts as numbers: what Prometheus scrapes, and the histograms that OpenTelemetry is sent.

Labels are targets, routes, kinds of work and of failure: sets that the configuration and this
program bound.  Callers may name any model of a provider, so whatever the configuration does not
name counts as `other`; no request is a label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    BudgetExceeded,
    CacheAnswered,
    CacheStored,
    Continued,
    Decided,
    Fact,
    FirstContent,
    FlightEnded,
    LimitsTold,
    Probed,
    Queued,
    Shed,
)
from unbroken.sinks.cost import cost_usd
from unbroken.sinks.exposition import Buckets, Family, counter, gauge, histogram
from unbroken.types import Target, Usage

__all__ = ["ABANDONED", "ANSWERED", "DURATION_BOUNDS", "FIRST_BOUNDS", "OTHER", "TOKEN_BOUNDS", "Metrics"]

OTHER = "other"
ANSWERED, ABANDONED, FAILED = "answered", "abandoned", "failed"
LIMITS_MAX = 12
"""Limits that one target tells of; real ones tell of four."""
BUDGETS_MAX = 100
UNDER_WAY_MAX = 50_000
"""Attempts and requests under way; more than can be, so that lost facts do not add up."""

DURATION_BOUNDS = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
FIRST_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
TOKEN_BOUNDS = tuple(float(4**power) for power in range(14))
"""The bounds that OpenTelemetry's conventions want, for both."""

Key = tuple[str, ...]


def _durations() -> Buckets:
    return Buckets(DURATION_BOUNDS)


def _firsts() -> Buckets:
    return Buckets(FIRST_BOUNDS)


def _token_counts() -> Buckets:
    return Buckets(TOKEN_BOUNDS)


class Metrics:
    """A sink that counts.  Seconds everywhere; `targets` has one target for each label that stands for one."""

    def __init__(self, *, routes: Iterable[str] = (), targets: Iterable[Target] = ()) -> None:
        self._routes: dict[str, str] = {}
        self.targets: dict[str, Target] = {}
        self.know(routes=routes, targets=targets)
        self.requests: defaultdict[Key, int] = defaultdict(int)
        self.request_s: defaultdict[Key, Buckets] = defaultdict(_durations)
        self.request_first_s: defaultdict[Key, Buckets] = defaultdict(_firsts)
        self.attempts: defaultdict[Key, int] = defaultdict(int)
        self.attempt_s: defaultdict[Key, Buckets] = defaultdict(_durations)
        self.first_s: defaultdict[Key, Buckets] = defaultdict(_firsts)
        self.tokens: defaultdict[Key, Buckets] = defaultdict(_token_counts)
        self.cost_usd: defaultdict[Key, float] = defaultdict(float)
        self.counts: defaultdict[tuple[str, Key], float] = defaultdict(float)
        self.queued_s: defaultdict[Key, Buckets] = defaultdict(_durations)
        self.limits: dict[Key, tuple[float, float | None]] = {}
        self._under_way: dict[tuple[str, int], AttemptStarted] = {}
        self._began: dict[str, float] = {}
        self._budgets: set[str] = set()
        self._reactions: Mapping[type, Callable[[Any], None]] = {
            Decided: self._decided,
            AttemptStarted: self._started,
            FirstContent: self._heard,
            AttemptAnswered: self._answered,
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            FlightEnded: self._ended,
            Continued: self._continued,
            Probed: self._probed,
            Queued: self._queued,
            Shed: self._shed,
            BudgetExceeded: self._over_budget,
            CacheAnswered: self._from_cache,
            CacheStored: self._stored,
            LimitsTold: self._limits_told,
        }

    def know(self, *, routes: Iterable[str], targets: Iterable[Target]) -> None:
        """These have labels of their own, from now on; what was counted stays."""
        self._routes.update((name, name) for name in routes)
        self.targets.update((target.name, target) for target in targets)

    def write(self, facts: list[Fact]) -> None:
        """Count."""
        reactions = self._reactions
        for fact in facts:
            reaction = reactions.get(type(fact))
            if reaction is not None:
                reaction(fact)

    # ------------------------------------------------------------- requests

    def _decided(self, fact: Decided) -> None:
        if len(self._began) >= UNDER_WAY_MAX:
            self._began.clear()
        self._began[fact.flight] = fact.at

    def _ended(self, fact: FlightEnded) -> None:
        route = self._routes.get(fact.route, OTHER)
        self._began.pop(fact.flight, None)
        failure = fact.failure
        self.requests[route, ANSWERED if failure is None else failure.kind.value] += 1
        self.request_s[route,].add(fact.total_s)
        if fact.failover:
            self.counts["failovers", (route,)] += 1
        if fact.rescued:
            self.counts["rescues", (route,)] += 1

    # ------------------------------------------------------------- attempts

    def _started(self, fact: AttemptStarted) -> None:
        if len(self._under_way) >= UNDER_WAY_MAX:
            self._under_way.clear()
        self._under_way[fact.flight, fact.number] = fact

    def _heard(self, fact: FirstContent) -> None:
        started = self._under_way.get((fact.flight, fact.number))
        began = self._began.pop(fact.flight, None)
        if started is None:
            return
        self.first_s[self._label(fact.target), str(started.task)].add(fact.seconds)
        if began is not None:
            self.request_first_s[self._routes.get(started.route, OTHER),].add(fact.at - began)

    def _answered(self, fact: AttemptAnswered) -> None:
        self._over(fact, ANSWERED, seconds=fact.total_s)

    def _failed(self, fact: AttemptFailed) -> None:
        self._over(fact, fact.failure.kind.value, seconds=fact.elapsed_s)

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        self._over(fact, ABANDONED, seconds=fact.elapsed_s)

    def _over(
        self, fact: AttemptAnswered | AttemptFailed | AttemptAbandoned, outcome: str, *, seconds: float
    ) -> None:  # fmt: skip
        started = self._under_way.pop((fact.flight, fact.number), None)
        if started is None:
            return
        label, task = self._label(fact.target), str(started.task)
        self.attempts[label, str(started.why), outcome] += 1
        self.attempt_s[label, task, outcome].add(seconds)
        if fact.usage is not None:
            self._count(fact.usage, fact.target, label=label, task=task)

    def _count(self, usage: Usage, target: Target, *, label: str, task: str) -> None:
        self.tokens[label, task, "input"].add(usage.input_tokens)
        self.tokens[label, task, "output"].add(usage.output_tokens)
        if (usd := cost_usd(usage, target)) is not None:
            self.cost_usd[label,] += usd

    def _label(self, target: Target) -> str:
        return target.name if target.name in self.targets else OTHER

    # ------------------------------------------------------------- what is rarer

    def _continued(self, fact: Continued) -> None:
        self.counts["continuations", (self._label(fact.target), fact.mode.value)] += 1

    def _probed(self, fact: Probed) -> None:
        outcome = ANSWERED if fact.failure is None else fact.failure.kind.value
        self.counts["probes", (self._label(fact.target), outcome)] += 1

    def _queued(self, fact: Queued) -> None:
        route = self._routes.get(fact.route, OTHER)
        self.queued_s[route,].add(fact.waited_s)
        if fact.left:
            self.counts["left", (route,)] += 1

    def _shed(self, fact: Shed) -> None:
        self.counts["shed", (self._routes.get(fact.route, OTHER),)] += 1

    def _over_budget(self, fact: BudgetExceeded) -> None:
        if len(self._budgets) < BUDGETS_MAX:
            self._budgets.add(fact.budget)
        self.counts["budget", (fact.budget if fact.budget in self._budgets else OTHER,)] += 1

    def _from_cache(self, fact: CacheAnswered) -> None:
        self.counts["cache", (self._routes.get(fact.route, OTHER), fact.how)] += 1

    def _stored(self, fact: CacheStored) -> None:
        route = self._routes.get(fact.route, OTHER)
        self.counts["stored", (route,)] += 1
        self.counts["stored_bytes", (route,)] += fact.size_bytes

    def _limits_told(self, fact: LimitsTold) -> None:
        label = self._label(fact.target)
        if label == OTHER:
            return
        for reading in fact.readings[:LIMITS_MAX]:
            self.limits[label, reading.unit, f"{reading.window_s:g}"] = reading.limit, reading.remaining

    # ------------------------------------------------------------- the numbers

    def families(self) -> Iterator[Family]:
        """All that was counted, for Prometheus."""
        yield from self._of_requests()
        yield from self._of_attempts()
        for key, (name, about, names) in _COUNTS.items():
            found = [(labels, value) for (which, labels), value in self.counts.items() if which == key]
            yield counter(name, about, names=names, values=found)
        yield histogram(
            "unbroken_queue_wait_seconds",
            "How long requests waited for room.",
            names=("route",),
            values=self.queued_s.items(),
        )
        told = ("target", "unit", "window_s")
        yield gauge(
            "unbroken_limit", "What a provider says it takes in a window.", names=told,
            values=[(labels, limit) for labels, (limit, _) in self.limits.items()],
        )  # fmt: skip
        yield gauge(
            "unbroken_limit_remaining", "What a provider says is left of that.", names=told,
            values=[(labels, left) for labels, (_, left) in self.limits.items() if left is not None],
        )  # fmt: skip

    def _of_requests(self) -> Iterator[Family]:
        route = ("route",)
        yield counter(
            "unbroken_requests_total", "Requests that are over, by what their callers saw.", names=("route", "outcome"),
            values=self.requests.items(),
        )  # fmt: skip
        yield histogram(
            "unbroken_request_duration_seconds", "Requests, from the first attempt to the end.", names=route,
            values=self.request_s.items(),
        )  # fmt: skip
        yield histogram(
            "unbroken_request_first_content_seconds", "Streams, to the first content that came.", names=route,
            values=self.request_first_s.items(),
        )  # fmt: skip

    def _of_attempts(self) -> Iterator[Family]:
        yield counter(
            "unbroken_attempts_total", "Attempts that are over, by why they were made and how they ended.",
            names=("target", "why", "outcome"), values=self.attempts.items(),
        )  # fmt: skip
        yield histogram(
            "unbroken_attempt_duration_seconds", "Attempts, from their launch to their end.",
            names=("target", "task", "outcome"), values=self._by_outcome(),
        )  # fmt: skip
        yield histogram(
            "unbroken_attempt_first_content_seconds", "Streams of a target, from their launch to the first content.",
            names=("target", "task"), values=self.first_s.items(),
        )  # fmt: skip
        yield counter(
            "unbroken_tokens_total", "Tokens, as providers counted them.", names=("target", "task", "type"),
            values=[(labels, buckets.total) for labels, buckets in self.tokens.items()],
        )  # fmt: skip
        yield counter(
            "unbroken_cost_usd_total",
            "What those tokens cost, in dollars.",
            names=("target",),
            values=self.cost_usd.items(),
        )
        active: dict[Key, int] = {(label, kind): 0 for label in (*self.targets, OTHER) for kind in ("plain", "stream")}
        for started in self._under_way.values():
            active[self._label(started.target), "stream" if started.stream else "plain"] += 1
        yield gauge("unbroken_attempts_active", "Attempts under way.", names=("target", "kind"), values=active.items())

    def _by_outcome(self) -> Iterable[tuple[Key, Buckets]]:
        """Durations with all failures in one: their kinds are in the count of attempts."""
        merged: defaultdict[Key, Buckets] = defaultdict(_durations)
        for (label, task, outcome), buckets in self.attempt_s.items():
            merged[label, task, outcome if outcome in {ANSWERED, ABANDONED} else FAILED].merge(buckets)
        return merged.items()


_COUNTS: Mapping[str, tuple[str, str, Key]] = {
    "failovers": ("unbroken_failovers_total", "Requests answered by another than the first choice.", ("route",)),
    "rescues": ("unbroken_rescues_total", "Streams that broke and were finished by another target.", ("route",)),
    "continuations": ("unbroken_continuations_total", "Broken streams that were taken over.", ("target", "mode")),
    "probes": ("unbroken_probes_total", "Health probes, by what came of them.", ("target", "outcome")),
    "left": ("unbroken_queue_left_total", "Requests whose callers left while they waited for room.", ("route",)),
    "shed": ("unbroken_shed_total", "Requests turned away for want of room.", ("route",)),
    "budget": ("unbroken_budget_exceeded_total", "Requests that met a budget that was used up.", ("budget",)),
    "cache": ("unbroken_cache_answers_total", "Requests answered from memory.", ("route", "how")),
    "stored": ("unbroken_cache_stored_total", "Answers that were kept.", ("route",)),
    "stored_bytes": ("unbroken_cache_stored_bytes_total", "The size of answers that were kept.", ("route",)),
}
"""What is counted in `Metrics.counts`: name, meaning and labels."""
