"""Who is well: a fold over facts.

The board is the first subscriber to facts and the only synchronous one.  It keeps a
`Health` for each scope (a provider's address, a model there, a key, a key's share of a
model) and answers one question for routing: what stands in the way of this target now?

Rules.  The caller's faults never count.  A failure counts against the scope that its
verdict names; an answer is good evidence for all four scopes of its target.  A hint to
come back later sets its scope aside for exactly so long; without one the time doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log
from random import Random
from typing import Any, ClassVar

from unbroken.core.breaker import Event, State
from unbroken.core.budget import Purse
from unbroken.core.experience import Experience, Waiting
from unbroken.core.limits import Cost, Limits
from unbroken.core.measures import Expected
from unbroken.core.scopes import Cause, Health
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    Decided,
    Fact,
    FirstContent,
    Hearsay,
    Probed,
    ProbeStarted,
    TargetForced,
)
from unbroken.failures import Failure, FailureKind, Fault, Scope
from unbroken.policy import CHARS_PER_TOKEN, READ_TOKENS_PER_S, SEEN_MIN, SHORT_PROMPT_CHARS, Breaking, Route
from unbroken.types import Request, Target, Usage

__all__ = ["Board", "Health", "Latency", "Standing"]

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
HEARSAY_MAX = 100
"""Attempts that another replica tells of at once are counted one by one, up to so many."""
USUAL_TOKENS = 50
"""Plain answers longer than this are compared by their time for so many tokens."""


class Latency:
    """How long a target takes: its usual time, which outliers hardly move, and its percentiles.

    Buckets grow by 15 % from a millisecond on, so a percentile is right to 15 %; old
    observations lose half their weight every `HALVE_AT`.
    """

    __slots__ = ("_buckets", "_known", "_seen_at", "allowed_s", "count", "longest_s", "usual_s", "waiting")

    GROWTH: ClassVar[float] = log(1.15)
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
        self.allowed_s: dict[tuple[str, int], float] = {}
        """What those among them with long prompts may take longer."""

    def stuck_s(self, now: float) -> float:
        """For how long several requests have waited in vain, if longer than answers ever take; else 0.

        A provider that hangs says nothing: without this, everybody who comes before the first
        time limit has passed would wait in the same queue.
        """
        if len(self.waiting) < STUCK_MIN or not self.count:
            return 0.0
        key = next(islice(self.waiting, STUCK_MIN - 1, None))
        began = self.waiting[key] + self.allowed_s.get(key, 0.0)
        certain = STUCK_FACTOR + STUCK_DOUBT / self.count
        limit_s = max(STUCK_S_MIN, certain * max(self.percentile_s(0.95), self.longest_s))
        return now - began if now - began > limit_s else 0.0

    def late(self, now: float) -> Waiting | None:
        """Of those who wait the oldest and how long, without one in eight and two more, who may just be unlucky."""
        if len(self.waiting) < STUCK_MIN:
            return None
        key = next(islice(self.waiting, max(STUCK_MIN - 1, len(self.waiting) // 8), None))
        return key, now - self.waiting[key]

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

    def believe(self, usual_s: float) -> None:
        """Somebody else knows it to be faster; whoever first asked in a brown-out takes that for usual."""
        if not self.count or (self.count <= USUAL_AT_ONCE and usual_s < self.usual_s):
            self.usual_s = usual_s

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


@dataclass(slots=True, eq=False)
class Standing:
    """The four scopes of a target, how fast it answers, and when it last did."""

    endpoint: Health
    model: Health
    key: Health
    quota: Health
    first: Latency
    plain: Latency
    worked_at: float = 0.0

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
        for latency in (self.first, self.plain):
            latency.waiting.pop((flight, number), None)
            if latency.allowed_s:
                latency.allowed_s.pop((flight, number), None)

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
        self.experience = Experience()
        self.limits: Limits | None = None
        self._reactions: dict[type, Callable[[Any], None]] = {
            Decided: self.experience.decided,
            AttemptStarted: self._started,
            FirstContent: self._heard,
            AttemptAnswered: self._answered,
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            ProbeStarted: self._probe_started,
            Probed: self._probed,
            Hearsay: self._told,
            TargetForced: self._forced,
        }

    # -- questions

    def standing(self, target: Target) -> Standing:
        """Where a target stands; made on first sight of it."""
        known = self._standings.get(target.name)
        return known if known is not None else self._meet(target)

    def obstacle(self, target: Target, now: float, *, cost: Cost | None = None) -> str | None:
        """Why this target should not be chosen now, in words; None if nothing is in the way.

        `cost` is what the request takes of its limits, which come last: who is ill has no room either.
        """
        standing = self.standing(target)
        if stuck_s := standing.first.stuck_s(now) or standing.plain.stuck_s(now):
            return f"{STUCK_MIN} requests have waited {stuck_s:.1f} s in vain"
        if standing.troubled:
            chance = self._draw.random()
            for health in standing.scopes:
                if health.troubled and (found := health.obstacle(now, chance)):
                    return found
        return None if self.limits is None else self.limits.obstacle(target, now, cost=cost)

    def forced_open(self, target: Target) -> bool:
        """Whether it is not even a last resort: an operator has taken it out, or its limits are reached."""
        return (self.limits is not None and self.limits.barred(target)) or self.taken_out(target)

    def taken_out(self, target: Target) -> bool:
        """Whether an operator has taken it out."""
        return any(health.breaker.state is State.FORCED_OPEN for health in self.standing(target).scopes)

    def is_open(self, target: Target) -> bool:
        """Whether it failed too often of late to be worth another try at once."""
        return any(health.breaker.state is State.OPEN for health in self.standing(target).scopes)

    def may_look(self, target: Target, now: float) -> bool:
        """Whether it rests only because it failed of late, so that one good answer would bring it back.

        A share of a limit is left alone for as long as it is: there time heals, and asking does not.
        """
        standing = self.standing(target)
        rests = self.is_open(target) or any(now < health.cool_until for health in standing.scopes)
        if not rests or now < standing.quota.cool_until or not all(health.may_look(now) for health in standing.scopes):
            return False
        return self.limits is None or self.limits.obstacle(target, now) is None

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

    def expect_each(
        self, targets: Sequence[Target], request: Request, *, now: float, route: str, priced: bool
    ) -> list[Expected]:
        """What may be expected of each of these for this request; see `Experience.question`."""
        expect, stream = self.experience.expect, request.stream
        question = self.experience.question(request, now=now, route=route, priced=priced)
        waits = [self.standing(target).latency(stream=stream).late(now) for target in targets]
        return [expect(target, question, waiting=late) for target, late in zip(targets, waits, strict=True)]

    def healths(self) -> Mapping[str, Health]:
        """Every scope that has been seen, by name."""
        return self._healths

    # -- the fold

    def fold(self, fact: Fact) -> None:
        """Take in what happened."""
        reaction = self._reactions.get(type(fact))
        if reaction is not None:
            reaction(fact)

    def watch(self, reactions: Mapping[type[Fact], Callable[[Any], None]]) -> None:
        """Let somebody else take in facts too, right after the board does; costs nothing until it is asked for."""
        for kind, reaction in reactions.items():
            self._reactions[kind] = _both(self._reactions.get(kind), reaction)

    def _started(self, fact: AttemptStarted) -> None:
        standing = self.standing(fact.target)
        self.experience.started(fact)
        latency = standing.latency(stream=fact.stream)
        latency.waiting[fact.flight, fact.number] = fact.at
        if fact.prompt_chars > SHORT_PROMPT_CHARS:
            read_s = fact.prompt_chars / CHARS_PER_TOKEN / READ_TOKENS_PER_S
            latency.allowed_s[fact.flight, fact.number] = read_s
        if standing.troubled:
            for health in standing.scopes:
                health.started(fact.at, self._draw.random())

    def _heard(self, fact: FirstContent) -> None:
        standing = self.standing(fact.target)
        standing.settle(fact.flight, fact.number)
        self.experience.heard(fact)
        if standing.troubled and not self._is_slow(standing, standing.first, seconds=fact.seconds):
            # A stream that has begun is proof enough: who waits for its end learns it minutes later.
            chance = self._draw.random()
            for health in standing.scopes:
                health.answered(fact.at, fact.at - fact.seconds, chance=chance)

    def _answered(self, fact: AttemptAnswered) -> None:
        standing = self.standing(fact.target)
        standing.settle(fact.flight, fact.number)
        self.experience.answered(fact)
        latency = standing.latency(stream=fact.stream)
        seconds = fact.first_content_s if fact.stream else _normal_s(fact.total_s, fact.usage)
        slow = self._is_slow(standing, latency, seconds=seconds)
        latency.add(seconds, now=fact.at, slow=slow, whole_s=0.0 if fact.stream else fact.total_s)
        standing.worked_at = fact.at
        if slow:
            words = f"an answer took {seconds:.1f} s, which is usually {latency.usual_s:.1f} s"
            standing.model.cause = Cause(FailureKind.SLOW, words, fact.at)
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
        self.experience.failed(fact)
        self._blame(standing, failure, now=fact.at, began=fact.at - fact.elapsed_s)

    def _blame(
        self, standing: Standing, failure: Failure, *, now: float, began: float, probed: bool = False
    ) -> None:  # fmt: skip
        """Hold a failure against whom its verdict names."""
        verdict, chance = failure.verdict, self._draw.random()
        counted, blameless = standing.scope(verdict.counts), verdict.fault is Fault.CALLER and failure.sent
        for health in standing.scopes:
            if health is counted:
                health.cause = Cause(failure.kind, failure.message, now, probed)
                health.bad(now, began, chance=chance)
            elif blameless or (health is standing.endpoint and failure.status is not None):
                health.answered(now, began, chance=chance)
            elif probed:
                health.relapse(now, began, chance=chance)
            else:
                health.dropped(now, began, chance=chance)
        self._cool(standing, failure, now=now, probed=probed)

    def _cool(self, standing: Standing, failure: Failure, *, now: float, probed: bool) -> None:
        verdict = failure.verdict
        hint_s = failure.cool_s if failure.cool_s is not None else failure.retry_after_s
        scope = failure.scope or (verdict.cools if verdict.cools is not Scope.NONE else verdict.counts)
        health = standing.scope(scope)
        if health is None or (hint_s is None and not verdict.cool_s):
            return
        health.cause = Cause(failure.kind, failure.message, now, probed)
        health.cool(now, hint_s, cool_s=verdict.cool_s, why=failure.kind)

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        standing, chance = self.standing(fact.target), self._draw.random()
        standing.settle(fact.flight, fact.number)
        self.experience.abandoned(fact)
        began = fact.at - fact.elapsed_s
        for health in standing.scopes:
            if fact.outrun and health is standing.model:
                words = f"others were faster, {fact.elapsed_s:.1f} s after it was asked"
                health.cause = Cause(FailureKind.SLOW, words, fact.at)
                health.bad(fact.at, began, chance=chance, slow=True)
            else:
                health.dropped(fact.at, began, chance=chance)

    # -- probes

    def _probe_started(self, fact: ProbeStarted) -> None:
        if not fact.free:
            for health in self.standing(fact.target).scopes:
                health.claim(fact.at, chance=self._draw.random())

    def _probed(self, fact: Probed) -> None:
        standing = self.standing(fact.target)
        began, chance = fact.at - fact.seconds, self._draw.random()
        if fact.free:
            self._hear_free(standing, fact, chance=chance)
        elif fact.failure is not None:
            self._blame(standing, fact.failure, now=fact.at, began=began, probed=True)
        else:
            for health in standing.scopes:
                health.answered(fact.at, began, chance=chance)

    def _hear_free(self, standing: Standing, fact: Probed, *, chance: float) -> None:
        """A free answer closes nothing, and speaks of address and key only; work since the last one outvotes it."""
        now, failure, before = fact.at, fact.failure, standing.key.probe
        standing.key.probe = fact
        if failure is None:
            standing.key.relent(now)
        if failure is None or failure.kind is FailureKind.AUTH:
            standing.endpoint.hasten(now)
        health = standing.scope(_FREE_WORDS.get(failure.kind, Scope.NONE)) if failure is not None else None
        if failure is None or health is None or self._worked(health, since=before.at if before is not None else 0.0):
            return
        health.cause = Cause(failure.kind, failure.message, now, probed=True)
        if health is standing.endpoint:
            health.suspect(now, chance=chance, gone=failure.kind is FailureKind.CONNECT)
        else:
            health.refused = True
            health.cool(now, failure.cool_s, cool_s=failure.verdict.cool_s, why=failure.kind)

    def _worked(self, health: Health, *, since: float) -> bool:
        """Whether anything that needs this scope has answered since then."""
        return any(known.worked_at > since for known in self._standings.values() if health in known.scopes)

    # -- other replicas

    def _told(self, fact: Hearsay) -> None:
        """What others saw counts for health as if we had; how busy and how fast it is, each finds out for itself.

        But for what is usual, which they say when it first answers them, and when they call it slow.
        """
        standing, failure = self.standing(fact.target), fact.failure
        if not standing.model.window.reaches(fact.at):
            return
        if fact.usual_s > 0.0:
            standing.latency(stream=fact.stream).believe(fact.usual_s)
        if not fact.number:
            for health in standing.scopes:
                health.started(fact.at, self._draw.random())
        for _ in range(min(fact.number, HEARSAY_MAX)):
            if failure is not None:
                self._blame(standing, failure, now=fact.at, began=fact.began)
                continue
            for health in standing.scopes:
                slow = fact.slow and health is standing.model
                health.good(fact.at, fact.began, chance=self._draw.random(), slow=slow)
        if fact.number and failure is None:
            standing.worked_at = max(standing.worked_at, fact.at)

    # -- another configuration

    def follow(self, breaking: Mapping[str, Breaking], *, default: Breaking, changed: Collection[str]) -> None:
        """Other policies from now on, by target; of the `changed` scopes nothing that was learned holds any more.

        What an operator has forced stays so.
        """
        self._breaking, self._default = breaking, default
        for scope in changed:
            if (health := self._healths.get(scope)) is not None and not health.is_forced:
                del self._healths[scope]
        kept = set(self._healths.values())
        gone = [name for name, known in self._standings.items() if not kept.issuperset(known.scopes)]
        for name in gone:
            del self._standings[name]
        for name, known in self._standings.items():
            for health in known.scopes:
                health.follow(breaking.get(name, default))

    def forget_purse(self, route: str) -> None:
        """This route's retry budget is another one now."""
        self._purses.pop(route, None)

    # -- by hand

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


_FREE_WORDS: Mapping[FailureKind, Scope] = {
    FailureKind.AUTH: Scope.KEY,
    FailureKind.CONNECT: Scope.ENDPOINT,
    FailureKind.BROKEN: Scope.ENDPOINT,
    FailureKind.SILENT: Scope.ENDPOINT,
    FailureKind.SERVER: Scope.ENDPOINT,
    FailureKind.OVERLOADED: Scope.ENDPOINT,
}
"""Whom a free question that fails speaks of; a list has limits and rights of its own, so the rest says nothing."""


def _normal_s(seconds: float, usage: Usage | None) -> float:
    """A plain answer's time, made comparable: a long answer honestly takes longer."""
    tokens = usage.output_tokens if usage else 0
    return seconds * USUAL_TOKENS / max(USUAL_TOKENS, tokens)


def _both(one: Callable[[Any], None] | None, other: Callable[[Any], None]) -> Callable[[Any], None]:
    """First the one, then the other."""
    if one is None:
        return other

    def react(fact: Fact) -> None:
        one(fact)
        other(fact)

    return react
