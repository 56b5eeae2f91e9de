"""Which targets have room: what their keys may take and their models stand, spent in advance.

    limits = Limits(targets)                    those whose allowance was configured
    board.limits = limits                       the board asks it what stands in the way ...
    board.watch(limits.reactions)               ... and lets it fold the same facts
    limits.expect("req_1", cost_of(request))    how much a flight will take, before it begins
    limits.obstacle(target, now, cost=cost)     why it should not be asked now; None if it has room
    limits.free_at(target, now, cost=cost)      when there will be room

An attempt takes what it is likely to take when it starts: its prompt, and the words that the
caller allows for, or as many as answers have had as a rule.  When it is over, that is put right.
What providers say with their answers (`LimitsTold`) makes meters where there were none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from unbroken.core.concurrency import Concurrency
from unbroken.core.meters import Entry, Meter
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    Fact,
    FlightEnded,
    LimitsTold,
)
from unbroken.failures import FailureKind
from unbroken.policy import CHARS_PER_TOKEN
from unbroken.records import Record
from unbroken.types import Allowance, Request, Target, Task, Usage

__all__ = ["Cost", "Limits", "Pool", "cost_of"]

MINUTE_S, DAY_S = 60.0, 86_400.0
USUAL_TOKENS = 400.0
"""What an answer takes where neither its caller nor earlier ones say anything."""
USUAL_ANSWERS = 30
"""What is usual is an average over so many answers, ..."""
ROOMY = 1.25
"""... and a quarter more is set aside."""
AMPLE = 0.5
"""Who still has half of it hears again ..."""
DEAF_S = 0.1
"""... after so long: to read headers takes time."""
POOLS_MAX = 10_000
"""Callers may name any model of a provider; beyond so many all is learned anew."""
TOO_MUCH = frozenset((FailureKind.OVERLOADED, FailureKind.SILENT))
"""Failures that say that a model has more to do than it can."""


class Cost(Record):
    """What a request may take: `output_tokens` is what its caller allows for, 0 where nobody says."""

    prompt_chars: int = 0
    output_tokens: int = 0
    writes: bool = True


def cost_of(request: Request) -> Cost:
    """What a request may take, as far as it says so itself."""
    return Cost(request.prompt_chars, (request.max_tokens or 0) * request.choices, request.task is Task.CHAT)


class Pool:
    """What is counted together: a key's share of one model, or all that a key does."""

    __slots__ = (
        "_answers", "_chars_per_token", "_configured", "_part", "_usual", "at_once", "concurrent_max", "deaf_until",
        "in_flight", "meters",
    )  # fmt: skip

    def __init__(self, allowance: Allowance | None = None) -> None:
        allowance = allowance or Allowance()
        configured = (
            ("requests", allowance.requests_per_min, MINUTE_S),
            ("tokens", allowance.tokens_per_min, MINUTE_S),
            ("requests", allowance.requests_per_day, DAY_S),
        )
        self.meters = {
            f"{unit} in {window_s:.0f} s": Meter(unit, limit, window_s=window_s)
            for unit, limit, window_s in configured
            if limit is not None
        }
        self._configured = frozenset(self.meters)
        self.concurrent_max = self.at_once = allowance.concurrent_max
        self._part = inf
        self.in_flight = 0
        self.deaf_until = 0.0
        self._chars_per_token, self._usual, self._answers = CHARS_PER_TOKEN, USUAL_TOKENS, 0

    def follow(self, allowance: Allowance | None) -> None:
        """Another allowance from now on; what was spent, and what the provider told, stays so."""
        mine, other = self._configured, Pool(allowance)
        for name in mine - other.meters.keys():
            del self.meters[name]
        for name, meter in other.meters.items():
            self.meters.setdefault(name, meter).limit = meter.limit
        self._configured, self.concurrent_max = frozenset(other.meters), other.concurrent_max
        self.lend(self._part)

    def lend(self, part: float) -> None:
        """Others share the limit on what is under way: only so many at once are ours."""
        self._part, most = part, self.concurrent_max
        self.at_once = None if most is None else int(min(most, part))

    @property
    def configured(self) -> Iterator[tuple[str, Meter]]:
        """The meters that an operator wants, by name."""
        return ((name, meter) for name, meter in self.meters.items() if name in self._configured)

    def amount(self, meter: Meter, cost: Cost) -> float:
        """What a request is likely to take of a meter."""
        if meter.unit == "requests":
            return 1.0
        return self._counted(meter, cost, written=self._written(meter, cost))

    def likely(self, meter: Meter, cost: Cost) -> float:
        """What it will have taken in the end, with nothing set aside."""
        written = min(cost.output_tokens or self._usual, self._usual) if cost.writes else 0.0
        return self._counted(meter, cost, written=written)

    def _counted(self, meter: Meter, cost: Cost, *, written: float) -> float:
        """What a meter counts of a request whose answer has so many tokens."""
        if meter.unit == "requests":
            return 1.0
        read = cost.prompt_chars / self._chars_per_token
        return read * (meter.unit != "output_tokens") + written * (meter.unit != "input_tokens")

    def _written(self, meter: Meter, cost: Cost) -> float:
        if not cost.writes:
            return 0.0
        usual = self._usual * (ROOMY if self._answers else 1.0)
        if not cost.output_tokens:
            return usual
        return cost.output_tokens if meter.reserves or not self._answers else min(cost.output_tokens, usual)

    def learn(self, cost: Cost, usage: Usage) -> None:
        """What an answer really took."""
        if cost.prompt_chars and usage.input_tokens:
            seen = cost.prompt_chars / usage.input_tokens
            self._chars_per_token += (seen - self._chars_per_token) / min(self._answers + 1, USUAL_ANSWERS)
        if cost.writes:
            self._answers += 1
            self._usual += (usage.output_tokens - self._usual) / min(self._answers, USUAL_ANSWERS)

    def full(self, cost: Cost, now: float) -> str | None:
        """What there is no room in, in words."""
        if self.at_once is not None and self.in_flight >= self.at_once:
            return f"{self.in_flight} of {self.concurrent_max} requests are under way"
        for meter in self.meters.values():
            if not meter.has_room(self.amount(meter, cost), now):
                unit = meter.unit.replace("_", " ")
                return f"its limit of {meter.limit:.0f} {unit} in {meter.window_s:.0f} s is reached"
        return None


def _used(unit: str, usage: Usage) -> float:
    """What of an answer a meter of this unit counts."""
    read, written = usage.input_tokens, usage.output_tokens
    return {"tokens": read + written, "input_tokens": read, "output_tokens": written}.get(unit, 1.0)


class Spent(Record):
    """What one attempt took of one meter: the entry, its number, how much, and what had gone out by then."""

    entry: Entry
    seq: int
    amount: float
    sent: float


@dataclass(slots=True, eq=False)
class Place:
    """Where a target's attempts count, and how much its model stands."""

    pools: tuple[Pool, ...]
    model: Concurrency


@dataclass(slots=True, eq=False)
class Ticket:
    """One attempt under way."""

    place: Place
    cost: Cost
    at: float
    stream: bool
    spent: dict[Meter, Spent] = field(default_factory=dict)


class Limits:
    """The room of every target, folded from facts."""

    def __init__(self, targets: Iterable[Target] = ()) -> None:
        """`targets` are those with an allowance; one of a whole key holds for every model that is asked for with it."""
        self._pools: dict[str, Pool] = {}
        self._models: dict[str, Concurrency] = {}
        self._places: dict[str, Place] = {}
        self._tickets: dict[tuple[str, int], Ticket] = {}
        self._costs: dict[str, Cost] = {}
        self._now = 0.0
        self._configured = _allowances(targets)
        self.reactions: Mapping[type[Fact], Callable[[Any], None]] = {
            AttemptStarted: self._started,
            AttemptAnswered: self._answered,
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            LimitsTold: self._told,
            FlightEnded: self._ended,
        }

    # -- questions

    def obstacle(self, target: Target, now: float, *, cost: Cost | None = None) -> str | None:
        """Why this target has no room for a request of this cost (None: a small one), in words."""
        self._now = now
        place = self.place(target)
        return self._full(place, now, cost=cost or _SMALL) or _crowded(place.model)

    def barred(self, target: Target) -> bool:
        """Whether it would be in vain, or against its operator's word, to ask it as a last resort now."""
        return self._full(self.place(target), self._now, cost=_SMALL) is not None

    def metered(self, target: Target, now: float, *, cost: Cost) -> bool:
        """Whether it is a limit that stands in the way, and not that it is too busy."""
        return any(not meter.has_room(amount, now) for meter, amount in self._amounts(target, cost))

    def free_at(self, target: Target, now: float, *, cost: Cost | None = None, before: int = 0) -> float:
        """When its meters will have room for a request, after so many like it."""
        ats = [meter.free_at(amount * (before + 1), now) for meter, amount in self._amounts(target, cost or _SMALL)]
        return max(ats, default=now)

    def listens(self, target: Target, now: float) -> bool:
        """Whether it matters what its provider says of its limits now: not so soon after it said that much is left."""
        return now >= self.place(target).pools[0].deaf_until

    def gap_s(self, target: Target, cost: Cost) -> float:
        """How far apart requests like this are where a minute's room is spread over it; 0 without such a limit.

        Of one that others share we have a part at a time, which comes in pieces anyway.
        """
        gaps = (
            meter.window_s * pool.likely(meter, cost) / meter.limit
            for pool in self.place(target).pools
            for meter in pool.meters.values()
            if meter.window_s <= MINUTE_S and not meter.is_shared
        )
        return max(gaps, default=0.0)

    def share(self, target: Target, cost: Cost) -> float:
        """How much of what the target may take at once such a request takes: 0 where there is no limit."""
        place = self.place(target)
        shares = [amount / meter.limit for meter, amount in self._amounts(target, cost)]
        shares += [1.0 / pool.concurrent_max for pool in place.pools if pool.concurrent_max]
        return max(shares, default=1.0 / place.model.limit)

    def place(self, target: Target) -> Place:
        """Where a target's attempts count; made on first sight of it."""
        known = self._places.get(target.name)
        return known if known is not None else self._meet(target)

    def configured(self) -> Iterator[tuple[str, Pool]]:
        """What is counted together where an operator has set limits, by scope."""
        return ((scope, self._pool(scope)) for scope in tuple(self._configured))

    def _amounts(self, target: Target, cost: Cost) -> Iterator[tuple[Meter, float]]:
        for pool in self.place(target).pools:
            for meter in pool.meters.values():
                yield meter, pool.amount(meter, cost)

    def _full(self, place: Place, now: float, *, cost: Cost) -> str | None:
        for pool in place.pools:
            if (found := pool.full(cost, now)) is not None:
                return found
        return None

    # -- the fold

    def expect(self, flight: str, cost: Cost) -> None:
        """What the attempts of this flight will take; forgotten when it ends."""
        self._costs[flight] = cost

    def fold(self, fact: Fact) -> None:
        """Take in what happened."""
        reaction = self.reactions.get(type(fact))
        if reaction is not None:
            reaction(fact)

    def _started(self, fact: AttemptStarted) -> None:
        place, now = self.place(fact.target), fact.at
        cost = self._costs.get(fact.flight) or Cost(fact.prompt_chars)
        ticket = self._tickets[fact.flight, fact.number] = Ticket(place, cost, now, fact.stream)
        place.model.started()
        for pool in place.pools:
            pool.in_flight += 1
            for meter in pool.meters.values():
                amount = pool.amount(meter, cost)
                entry, seq, sent = meter.spend(amount, now)
                ticket.spent[meter] = Spent(entry, seq, amount, sent)

    def _answered(self, fact: AttemptAnswered) -> None:
        if (ticket := self._close(fact)) is None:
            return
        seconds = fact.first_content_s if fact.stream else fact.total_s
        ticket.place.model.answered(fact.at, seconds, stream=fact.stream)
        if fact.usage is not None:
            self._settle(ticket, fact.usage, now=fact.at)
            for pool in ticket.place.pools:
                pool.learn(ticket.cost, fact.usage)

    def _failed(self, fact: AttemptFailed) -> None:
        if (ticket := self._close(fact)) is None:
            return
        failure = fact.failure
        if failure.kind in TOO_MUCH or (failure.kind is FailureKind.RATE_LIMIT and not self._explains(ticket, fact.at)):
            ticket.place.model.overloaded(fact.at, ticket.at)
        else:
            ticket.place.model.dropped()
        if not failure.sent:
            self._settle(ticket, None, now=fact.at)
        elif fact.usage is not None:
            self._settle(ticket, fact.usage, now=fact.at)

    def _explains(self, ticket: Ticket, now: float) -> bool:
        """Whether some meter knows why there was a 429; else it is a matter of how many at once."""
        return any(pool.full(ticket.cost, now) for pool in ticket.place.pools)

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        if (ticket := self._close(fact)) is not None:
            ticket.place.model.dropped()

    def _told(self, fact: LimitsTold) -> None:
        ticket = self._tickets.get((fact.flight, fact.number))
        pool = self.place(fact.target).pools[0]
        if all((reading.remaining or 0.0) >= AMPLE * reading.limit for reading in fact.readings):
            pool.deaf_until = fact.at + DEAF_S
        for reading in fact.readings:
            meter = pool.meters.setdefault(reading.name, Meter(reading.unit, 1.0, window_s=0.0))
            spent = ticket.spent.get(meter) if ticket is not None else None
            if ticket is None or spent is None:
                meter.told(reading, at=fact.at, seq=0, sent=0.0)
            else:
                meter.told(reading, at=ticket.at, seq=spent.seq, sent=spent.sent)

    def _ended(self, fact: FlightEnded) -> None:
        self._costs.pop(fact.flight, None)

    def _close(self, fact: AttemptAnswered | AttemptFailed | AttemptAbandoned) -> Ticket | None:
        ticket = self._tickets.pop((fact.flight, fact.number), None)
        for pool in ticket.place.pools if ticket is not None else ():
            pool.in_flight -= 1
        return ticket

    def _settle(self, ticket: Ticket, usage: Usage | None, *, now: float) -> None:
        """Put right what was taken in advance; without usage nothing was taken."""
        for meter, spent in ticket.spent.items():
            used = 0.0 if usage is None else _used(meter.unit, usage)
            if used != spent.amount:
                meter.correct(spent.entry, spent.seq, by=used - spent.amount, now=now)

    # -- another configuration

    def follow(self, targets: Iterable[Target]) -> None:
        """What these targets are allowed holds from now on; what was learned and spent stays so."""
        self._configured = _allowances(targets)
        for scope, pool in self._pools.items():
            pool.follow(self._configured.get(scope))
        self._places.clear()  # a key may have an allowance now that had none

    # -- making

    def _meet(self, target: Target) -> Place:
        if len(self._places) >= POOLS_MAX:
            self._places.clear()
            self._pools.clear()
            self._models.clear()
        pools = [self._pool(target.quota_scope)]
        if target.key_scope in self._configured:
            pools.append(self._pool(target.key_scope))
        model = self._models.setdefault(target.model_scope, Concurrency())
        place = self._places[target.name] = Place(tuple(pools), model)
        return place

    def _pool(self, scope: str) -> Pool:
        if scope not in self._pools:
            self._pools[scope] = Pool(self._configured.get(scope))
        return self._pools[scope]


_SMALL = Cost()


def _crowded(model: Concurrency) -> str | None:
    if model.has_room:
        return None
    return f"it is slow or overloaded: {model.in_flight} requests are under way, {model.limit:.0f} may be"


def _allowances(targets: Iterable[Target]) -> dict[str, Allowance]:
    """What was configured, by scope; the first word counts."""
    found: dict[str, Allowance] = {}
    for target in targets:
        for scope, allowance in ((target.quota_scope, target.limits), (target.key_scope, target.key_limits)):
            if allowance is not None:
                found.setdefault(scope, allowance)
    return found
