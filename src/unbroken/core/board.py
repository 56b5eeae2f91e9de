"""Who is well: a fold over facts.

The board is the first subscriber to facts and the only synchronous one.  It keeps a
`Health` for each scope (a provider's address, a model there, a key, a key's share of a
model) and answers one question for routing: what stands in the way of this target now?

Rules.  The caller's faults never count.  A failure counts against the scope that its
verdict names; an answer is good evidence for all four scopes of its target.  A hint to
come back later sets its scope aside for exactly so long; without one the time doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import log
from random import Random
from typing import Any

from unbroken.core.breaker import DOUBLINGS_MAX, Breaker, Event, State, Window, step
from unbroken.core.budget import Purse
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    Fact,
    FirstContent,
    TargetForced,
)
from unbroken.failures import Failure, Fault, Scope
from unbroken.policy import SEEN_MIN, Breaking, Route
from unbroken.types import Target, Usage

__all__ = ["Board", "Health", "Latency", "Standing"]

COOL_S_MAX = 300.0
"""The longest cool-down that we invent; a provider may ask for more."""
SLACK_S = 1e-6
"""Beginnings are computed by subtraction, which is not exact."""
STANDINGS_MAX = 10_000
"""Callers may name any model of a provider; beyond so many targets the healthy ones are forgotten."""
USUAL_S = 300.0
"""What is usual changes over minutes: a minute's brown-out is no new normal, however many answers it slows."""
USUAL_AT_ONCE = 10
"""So many answers make up the first idea of it, each with the same weight."""
SLOW_WEIGHT = 0.02
"""What a slow answer counts for the usual time: else the second one of a brown-out would look usual."""
STUCK_MIN = 3
"""Requests in vain that make a suspicion: one or two may just be long."""
STUCK_S_MIN = 2.0
"""Nobody is suspected sooner."""
STUCK_FACTOR = 3.0
"""An answer that takes three times as long as 95 % of them, and as the longest, is in vain; ..."""
STUCK_DOUBT = 20.0
"""... and more while it rests on few answers: thirteen times after two, four times after twenty."""
LONGEST_KEPT = 0.99
"""Of the longest plain answer, with each one that follows: after a hundred shorter ones a third of it is left."""
USUAL_TOKENS = 50
"""Plain answers longer than this are compared by their time for so many tokens."""


class Latency:
    """How long a target takes: its usual time, which outliers hardly move, and its percentiles.

    Buckets grow by 15 % from a millisecond on, so a percentile is right to 15 %; old
    observations lose half their weight every `HALVE_AT`.
    """

    __slots__ = ("_buckets", "_known", "_seen_at", "count", "longest_s", "usual_s", "waiting")

    GROWTH = log(1.15)
    BUCKETS = 100
    HALVE_AT = 1000
    STALE_AT = 16
    """A percentile is worked out anew after so many more answers."""

    def __init__(self) -> None:
        self._buckets = [0] * self.BUCKETS
        self._known: dict[float, float] = {}
        self._seen_at = 0.0
        self.count = 0
        self.usual_s = self.longest_s = 0.0
        self.waiting: dict[tuple[str, int], float] = {}

    def stuck_s(self, now: float) -> float:
        """For how long several requests have waited in vain, if longer than answers ever take; else 0.

        A provider that hangs says nothing: without this, everybody who comes before the first
        time limit has passed would wait in the same queue.
        """
        if len(self.waiting) < STUCK_MIN or not self.count:
            return 0.0
        began = next(islice(self.waiting.values(), STUCK_MIN - 1, None))
        certain = STUCK_FACTOR + STUCK_DOUBT / self.count
        limit_s = max(STUCK_S_MIN, certain * max(self.percentile_s(0.95), self.longest_s))
        return now - began if now - began > limit_s else 0.0

    def add(self, seconds: float, *, now: float, slow: bool = False, whole_s: float = 0.0) -> None:
        """Count an answer; a slow one hardly moves the usual time.  `whole_s` is how long a plain one really took."""
        self.longest_s = max(whole_s, LONGEST_KEPT * self.longest_s)
        index = int(log(max(seconds, 0.001) * 1000.0) / self.GROWTH)
        self._buckets[min(index, self.BUCKETS - 1)] += 1
        self.count += 1
        weight = min(0.2, (now - self._seen_at) / USUAL_S)
        if self.count <= USUAL_AT_ONCE:
            weight = 1.0 / self.count
        weight *= SLOW_WEIGHT if slow else 1.0
        self.usual_s += weight * (seconds - self.usual_s)
        self._seen_at = now
        if self.count < self.STALE_AT or not self.count % self.STALE_AT:
            self._known.clear()
        if self.count >= self.HALVE_AT:
            self._buckets = [n // 2 for n in self._buckets]
            self.count = sum(self._buckets)

    def percentile_s(self, share: float) -> float:
        """The time within which this share of answers came; 0 where nothing is known."""
        known = self._known.get(share)
        if known is None:
            known = self._known[share] = self._work_out(share)
        return known

    def _work_out(self, share: float) -> float:
        wanted, seen = share * self.count, 0
        for index, number in enumerate(self._buckets):
            seen += number
            if number and seen >= wanted:
                return float(0.001 * 1.15 ** (index + 1))
        return 0.0


class Health:
    """One scope: its breaker, its window, and until when it is set aside."""

    __slots__ = ("breaker", "cool_until", "cooled", "cooled_for", "policy", "troubled", "window")

    def __init__(self, policy: Breaking) -> None:
        self.policy = policy
        self.breaker = Breaker()
        self.window = Window(policy.window_s)
        self.cool_until = 0.0
        self.cooled = 0
        self.cooled_for = ""
        self.troubled = False

    def good(self, now: float, began: float, *, chance: float, slow: bool = False) -> None:
        """An answer came, to an attempt that began then."""
        if self.troubled and now >= self.cool_until:
            self.cooled = 0
        if not self._is_news(began):
            return
        self.window.add(now, failed=False, slow=slow)
        if self.troubled:
            self._step(Event.BAD if slow else Event.GOOD, now, chance=chance)
        if slow and self.window.trips(self.policy):
            self._step(Event.TRIP, now, chance=chance)

    def answered(self, now: float, began: float, *, chance: float) -> None:
        """It spoke, if not well: good enough for a probe, but no call to count."""
        if self.troubled and self._is_news(began):
            self._step(Event.GOOD, now, chance=chance)

    def bad(self, now: float, began: float, *, chance: float, slow: bool = False) -> None:
        """A failure that counts."""
        if not self._is_news(began):
            return
        self.window.add(now, failed=True, slow=slow)
        self._step(Event.BAD, now, chance=chance)
        if self.window.trips(self.policy):
            self._step(Event.TRIP, now, chance=chance)

    def dropped(self, now: float, began: float, *, chance: float) -> None:
        """An attempt ended without saying anything about health."""
        if self.troubled and self._is_news(began):
            self._step(Event.DROPPED, now, chance=chance)

    def started(self, now: float, chance: float) -> None:
        """An attempt goes out; if it is the first after a time of rest, it is the probe."""
        if self.troubled and self.breaker.admits(now, self.policy, chance=0.0):
            self._step(Event.SETTLED if self.breaker.settles(now, self.policy) else Event.PROBE, now, chance=chance)

    def cool(self, now: float, hint_s: float | None, *, cool_s: float, why: str) -> None:
        """Set aside for so long as was asked, or else for a time that doubles; the later end wins."""
        if now >= self.cool_until:
            self.cooled += 1  # those that were under way together fail together, and count once
        if hint_s is None:
            doubled_s = cool_s * 2.0 ** min(self.cooled - 1, DOUBLINGS_MAX)
            hint_s = min(doubled_s, max(COOL_S_MAX, cool_s))
        if now + hint_s > self.cool_until:
            self.cool_until, self.cooled_for = now + hint_s, why
        self.troubled = True

    def force(self, now: float, event: Event) -> None:
        """By hand."""
        self._step(event, now, chance=0.0)

    @property
    def is_forced(self) -> bool:
        """Whether an operator has spoken."""
        return self.breaker.state in (State.FORCED_OPEN, State.FORCED_CLOSED)

    def obstacle(self, now: float, chance: float) -> str | None:
        """What stands in the way, in words; None if nothing does."""
        state = self.breaker.state
        if state is State.FORCED_CLOSED:
            return None
        if now < self.cool_until:
            return f"cooling down for {self.cool_until - now:.0f} s ({self.cooled_for})"
        if not self.breaker.admits(now, self.policy, chance=chance):
            return f"breaker {state}"
        return None

    def free_at(self, now: float) -> float:
        """When it will be worth another try."""
        return max(self.cool_until, self.breaker.until, now)

    def _is_news(self, began: float) -> bool:
        """Whether an attempt that began then says anything about the present."""
        return began + SLACK_S >= self.breaker.since

    def _step(self, event: Event, now: float, *, chance: float) -> None:
        before = self.breaker
        self.breaker = step(before, event, now=now, policy=self.policy, chance=chance)
        if self.breaker is not before and self.breaker.state in (State.RAMPING, State.CLOSED):
            self.window.clear()
        # Until an answer came after a cool-down, it is not known whether the next one is to be longer.
        self.troubled = self.breaker.state is not State.CLOSED or self.cooled > 0


@dataclass(slots=True, eq=False)
class Standing:
    """The four scopes of a target, and how fast it answers."""

    endpoint: Health
    model: Health
    key: Health
    quota: Health
    first: Latency
    plain: Latency

    @property
    def scopes(self) -> tuple[Health, Health, Health, Health]:
        return self.endpoint, self.model, self.key, self.quota

    @property
    def troubled(self) -> bool:
        """Whether anything but plain sailing is known of it."""
        return self.endpoint.troubled or self.model.troubled or self.key.troubled or self.quota.troubled

    def latency(self, *, stream: bool) -> Latency:
        """Of streams to their first content, of plain answers to their end."""
        return self.first if stream else self.plain

    def settle(self, flight: str, number: int) -> None:
        """This attempt waits no longer, one way or the other."""
        self.first.waiting.pop((flight, number), None)
        self.plain.waiting.pop((flight, number), None)

    def scope(self, scope: Scope) -> Health | None:
        """The health that a verdict speaks of."""
        if scope is Scope.NONE:
            return None
        return {
            Scope.ENDPOINT: self.endpoint,
            Scope.MODEL: self.model,
            Scope.KEY: self.key,
            Scope.QUOTA: self.quota,
        }[scope]


class Board:
    """The health of every target, folded from facts."""

    def __init__(
        self, draw: Random, breaking: Mapping[str, Breaking] | None = None, *, default: Breaking | None = None
    ) -> None:
        """`breaking` gives the breaker's policy by target name, where it is not the default."""
        self._draw = draw
        self._breaking = breaking or {}
        self._default = default or Breaking()
        self._healths: dict[str, Health] = {}
        self._latencies: dict[str, tuple[Latency, Latency]] = {}
        self._standings: dict[str, Standing] = {}
        self._purses: dict[str, Purse] = {}
        self._reactions: Mapping[type, Callable[[Any], None]] = {
            AttemptStarted: self._started,
            FirstContent: self._heard,
            AttemptAnswered: self._answered,
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            TargetForced: self._forced,
        }

    # -- questions

    def standing(self, target: Target) -> Standing:
        """Where a target stands; made on first sight of it."""
        known = self._standings.get(target.name)
        return known if known is not None else self._meet(target)

    def obstacle(self, target: Target, now: float) -> str | None:
        """Why this target should not be chosen now, in words; None if nothing is in the way."""
        standing = self.standing(target)
        if stuck_s := standing.first.stuck_s(now) or standing.plain.stuck_s(now):
            return f"{STUCK_MIN} requests have waited {stuck_s:.1f} s in vain"
        if not standing.troubled:
            return None
        chance = self._draw.random()
        for health in standing.scopes:
            if health.troubled and (found := health.obstacle(now, chance)):
                return found
        return None

    def forced_open(self, target: Target) -> bool:
        """Whether an operator has taken it out: not even a last resort."""
        return any(health.breaker.state is State.FORCED_OPEN for health in self.standing(target).scopes)

    def is_open(self, target: Target) -> bool:
        """Whether it failed too often of late to be worth another try at once."""
        return any(health.breaker.state is State.OPEN for health in self.standing(target).scopes)

    def free_at(self, target: Target, now: float) -> float:
        """When it will be worth another try."""
        return max(health.free_at(now) for health in self.standing(target).scopes)

    def percentile_s(self, target: Target, share: float, *, stream: bool) -> float:
        """How long its answers take (streams: to the first content); 0 where nothing is known."""
        return self.standing(target).latency(stream=stream).percentile_s(share)

    def seen_s(self, target: Target, *, stream: bool) -> float:
        """Its 95th percentile; 0 while too few answers were seen to speak of one."""
        latency = self.standing(target).latency(stream=stream)
        return latency.percentile_s(0.95) if latency.count >= SEEN_MIN else 0.0

    def samples(self, target: Target, *, stream: bool) -> int:
        """How many answers that rests on."""
        return self.standing(target).latency(stream=stream).count

    def purse(self, route: Route) -> Purse:
        """The retry budget of a route."""
        purse = self._purses.get(route.name)
        if purse is None:
            if len(self._purses) >= STANDINGS_MAX:
                self._purses.clear()
            purse = self._purses[route.name] = Purse(route.policy.budget)
        return purse

    def healths(self) -> Mapping[str, Health]:
        """Every scope that has been seen, by name."""
        return self._healths

    # -- the fold

    def fold(self, fact: Fact) -> None:
        """Take in what happened."""
        reaction = self._reactions.get(type(fact))
        if reaction is not None:
            reaction(fact)

    def _started(self, fact: AttemptStarted) -> None:
        standing = self.standing(fact.target)
        standing.latency(stream=fact.stream).waiting[fact.flight, fact.number] = fact.at
        if standing.troubled:
            for health in standing.scopes:
                health.started(fact.at, self._draw.random())

    def _heard(self, fact: FirstContent) -> None:
        self.standing(fact.target).settle(fact.flight, fact.number)

    def _answered(self, fact: AttemptAnswered) -> None:
        standing = self.standing(fact.target)
        standing.settle(fact.flight, fact.number)
        latency = standing.latency(stream=fact.stream)
        seconds = fact.first_content_s if fact.stream else _normal_s(fact.total_s, fact.usage)
        slow = self._is_slow(standing, latency, seconds=seconds)
        latency.add(seconds, now=fact.at, slow=slow, whole_s=0.0 if fact.stream else fact.total_s)
        began = fact.at - fact.total_s
        chance = self._draw.random() if slow or standing.troubled else 0.0
        standing.model.good(fact.at, began, chance=chance, slow=slow)
        for health in (standing.endpoint, standing.key, standing.quota):
            if health.troubled or health.window.failures or health.window.in_a_row:
                health.good(fact.at, began, chance=chance)

    def _is_slow(self, standing: Standing, latency: Latency, *, seconds: float) -> bool:
        policy = standing.model.policy
        return bool(latency.usual_s) and seconds > max(policy.slow_s_min, policy.slow_factor * latency.usual_s)

    def _failed(self, fact: AttemptFailed) -> None:
        standing, failure = self.standing(fact.target), fact.failure
        standing.settle(fact.flight, fact.number)
        verdict, chance = failure.verdict, self._draw.random()
        began = fact.at - fact.elapsed_s
        counted, blameless = standing.scope(verdict.counts), verdict.fault is Fault.CALLER and failure.sent
        for health in standing.scopes:
            if health is counted:
                health.bad(fact.at, began, chance=chance)
            elif blameless or (health is standing.endpoint and failure.status is not None):
                health.answered(fact.at, began, chance=chance)
            else:
                health.dropped(fact.at, began, chance=chance)
        self._cool(standing, failure, now=fact.at)

    def _cool(self, standing: Standing, failure: Failure, *, now: float) -> None:
        verdict = failure.verdict
        hint_s = failure.cool_s if failure.cool_s is not None else failure.retry_after_s
        scope = failure.scope or (verdict.cools if verdict.cools is not Scope.NONE else verdict.counts)
        health = standing.scope(scope)
        if health is None or (hint_s is None and not verdict.cool_s):
            return
        health.cool(now, hint_s, cool_s=verdict.cool_s, why=failure.kind)

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        standing, chance = self.standing(fact.target), self._draw.random()
        standing.settle(fact.flight, fact.number)
        began = fact.at - fact.elapsed_s
        for health in standing.scopes:
            if fact.outrun and health is standing.model:
                health.bad(fact.at, began, chance=chance, slow=True)
            else:
                health.dropped(fact.at, began, chance=chance)

    def _forced(self, fact: TargetForced) -> None:
        event = Event.RELEASE if fact.open is None else Event.FORCE_OPEN if fact.open else Event.FORCE_CLOSE
        self._health(fact.scope, self._default).force(fact.at, event)

    # -- making

    def _meet(self, target: Target) -> Standing:
        if len(self._standings) >= STANDINGS_MAX:
            self._forget_the_healthy()
        policy = self._breaking.get(target.name, self._default)
        names = (target.endpoint, target.model_scope, target.key_scope, target.quota_scope)
        endpoint, model, key, quota = (self._health(name, policy) for name in names)
        first, plain = self._latencies.setdefault(target.model_scope, (Latency(), Latency()))
        standing = Standing(endpoint, model, key, quota, first, plain)
        self._standings[target.name] = standing
        return standing

    def _forget_the_healthy(self) -> None:
        troubled = [(name, health) for name, health in self._healths.items() if health.troubled]
        forced = [(name, health) for name, health in troubled if health.is_forced]
        self._healths = dict(forced + troubled[-STANDINGS_MAX:])
        self._standings.clear()
        self._latencies.clear()

    def _health(self, scope: str, policy: Breaking) -> Health:
        if scope not in self._healths:
            self._healths[scope] = Health(policy)
        return self._healths[scope]


def _normal_s(seconds: float, usage: Usage | None) -> float:
    """A plain answer's time, made comparable: a long answer honestly takes longer."""
    tokens = usage.output_tokens if usage else 0
    return seconds * USUAL_TOKENS / max(USUAL_TOKENS, tokens)
