"""What replicas promise together: of limits, of budgets, and of knowing the same in the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Fact
from unbroken.policy import SpendLimit
from unbroken.sim.ordeal.house import House
from unbroken.sim.ordeal.plan import COST_USD, Plan
from unbroken.sim.ordeal.promises import Breaches, Flights
from unbroken.types import Target

__all__ = ["Budgets", "Presence", "Rooms", "agree"]

MINUTE_S = 60.0
AFTER_S = 10.0
"""What was taken while something was amiss counts on for a window, and for so long beyond."""
TOLD_S = 2.5
"""Within so long every replica that is there knows of what the others have spent: half a second between rounds, one
more until it asks for what it does not spend, and the time for an answer."""
SLACK = 1e-9


@dataclass(slots=True)
class Spell:
    """A replica goes by its share of everything, or stands still and is taken for dead."""

    house: str
    share: float
    began: float
    ended: float = inf


class Presence:
    """Who goes on alone, and what else is amiss between replicas, from when to when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.spells: list[Spell] = []
        self.births: list[float] = []
        self._alone: dict[str, Spell] = {}
        self._frozen: dict[str, Spell] = {}

    def look(self, house: House) -> None:
        """How a replica stands after a step."""
        alone = house.is_alone
        known = self._alone.get(house.name)
        if alone and known is None:
            known = self._alone[house.name] = Spell(house.name, house.share, self._clock())
            self.spells.append(known)
        elif not alone and known is not None:
            self._alone.pop(house.name).ended = self._clock()
        if known is not None:
            known.share = max(known.share, house.share)

    def froze(self, house: House) -> None:
        """A process stands still: others may take it for dead and its room for free."""
        self._frozen[house.name] = spell = Spell(house.name, 1.0, self._clock())
        self.spells.append(spell)

    def thawed(self, house: House) -> None:
        """It goes on."""
        if (spell := self._frozen.pop(house.name, None)) is not None:
            spell.ended = self._clock()

    def died(self, house: House) -> None:
        """It is gone."""
        for spells in (self._alone, self._frozen):
            if (spell := spells.pop(house.name, None)) is not None:
                spell.ended = self._clock()

    def born(self) -> None:
        """The store begins anew, with nothing in it."""
        self.births.append(self._clock())

    def shares(self, window_s: float) -> float:
        """The shares of those who went alone within this time, once for each time; and a whole one for each birth."""
        since = self._clock() - window_s
        anew = sum(at >= since for at in self.births)
        return anew + sum(spell.share for spell in self.spells if spell.ended >= since)

    def amiss(self, window_s: float) -> bool:
        """Whether anything was."""
        return self.shares(window_s) > 0.0 or any(spell.ended >= self._clock() - window_s for spell in self.spells)


class Rooms:
    """Limits of providers' keys, as the providers see them."""

    def __init__(self, breaches: Breaches, presence: Presence, *, clock: Callable[[], float]) -> None:
        self._breaches, self._presence, self._clock = breaches, presence, clock
        self._reached: dict[str, deque[float]] = {}
        self._open: dict[str, int] = {}

    def reached(self, target: Target) -> None:
        """A provider got a request."""
        if target.limits is None or target.limits.requests_per_min is None:
            return
        now, limit = self._clock(), target.limits.requests_per_min
        reached = self._reached.setdefault(target.name, deque())
        reached.append(now)
        while reached[0] <= now - MINUTE_S:
            reached.popleft()
        if len(reached) > limit:
            most = limit * (1.0 + self._presence.shares(MINUTE_S + AFTER_S))
            how = f"{target.name} got {len(reached)} requests within a minute, {most:.1f} are allowed"
            self._breaches.unless(len(reached) <= most + SLACK, "limit", how=how)

    def opened(self, target: Target) -> None:
        """A replica asks."""
        count = self._open[target.name] = self._open.get(target.name, 0) + 1
        limits = target.key_limits
        if limits is not None and limits.concurrent_max is not None and count > limits.concurrent_max:
            most = limits.concurrent_max * (1.0 + self._presence.shares(MINUTE_S + AFTER_S))
            how = f"{count} requests are under way at {target.name}, {most:.1f} are allowed"
            self._breaches.unless(count <= most + SLACK, "at once", how=how)

    def closed(self, target: Target) -> None:
        """It is over."""
        self._open[target.name] -= 1


@dataclass(slots=True)
class Day:
    """A budget on a day: what all have spent of it, since when it is used up, and who spent when."""

    most_usd: float
    spent_usd: float = 0.0
    again_usd: float = 0.0
    """Of attempts after the first, which a request that was let in may make."""
    full_at: float = inf
    by: dict[str, list[float]] = field(default_factory=dict)

    def add(self, usd: float, now: float) -> None:
        """So much more, or less."""
        self.spent_usd += usd
        if self.spent_usd + COST_USD <= self.most_usd + SLACK:
            self.full_at = inf
        elif self.full_at == inf:
            self.full_at = now


class Budgets:
    """What is spent, by the days of the replicas that spend it."""

    def __init__(self, plan: Plan, breaches: Breaches, *, flights: Flights, presence: Presence) -> None:
        self._plan, self._breaches, self._flights, self._presence = plan, breaches, flights, presence
        self._days: dict[tuple[str, int], Day] = {}
        self._held: dict[tuple[str, int], list[Day]] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self._turns: dict[str, int] = {}

    def noted(self, house: House, fact: Fact, *, now: float) -> None:
        """A replica notes a fact."""
        if isinstance(fact, AttemptStarted):
            self._started(house, fact, now=now)
        elif isinstance(fact, AttemptAnswered | AttemptFailed | AttemptAbandoned):
            self._over(house, fact, now=now)

    def died(self, house: House, now: float) -> None:
        """What it had not told yet nobody will ever know."""
        for day in self._days.values():
            told = [at for at in day.by.get(house.name, ()) if at <= now - TOLD_S]
            day.add(-COST_USD * (len(day.by.get(house.name, ())) - len(told)), now)

    def _budgets(self, flight: str) -> Iterable[SpendLimit]:
        asker = self._flights.flown[flight].asker
        return (one for one in self._plan.settings.budgets if one.asker in {"", asker.habits.key})

    def _days_of(self, house: House, flight: str, *, now: float) -> list[Day]:
        day = int(house.wall() // 86_400.0)
        known = self._seen.setdefault(house.name, (day, now))
        if known[0] != day:
            self._seen[house.name] = day, now
            self._turns[house.name] = self._turns.get(house.name, 0) + 1
        return [self._days.setdefault((one.name, day), Day(one.usd_per_day)) for one in self._budgets(flight)]

    def _started(self, house: House, fact: AttemptStarted, *, now: float) -> None:
        days = self._days_of(house, fact.flight, now=now)
        self._held[fact.flight, fact.number] = days
        for day in days:
            if fact.number == 1 and not self._excused(house, now):
                told = now - day.full_at < TOLD_S
                how = f"{house.name} begins {fact.flight} with {day.spent_usd:.2f} of {day.most_usd:.2f} dollars gone"
                self._breaches.unless(told, "late spending", how=f"{how} since {day.full_at:.3f}")
            day.add(COST_USD, now)
            day.again_usd += COST_USD * (fact.number > 1)
            day.by.setdefault(house.name, []).append(now)

    def _excused(self, house: House, now: float) -> bool:
        """Whether it cannot know yet: it is new, its day is, or something between replicas is amiss."""
        new = now - house.born_at < TOLD_S or now - self._seen[house.name][1] < TOLD_S
        return new or not self._plan.calm

    def _over(self, house: House, fact: AttemptAnswered | AttemptFailed | AttemptAbandoned, *, now: float) -> None:
        failure = fact.failure if isinstance(fact, AttemptFailed) else None
        usage = fact.usage if isinstance(fact, AttemptFailed) else None
        free = failure is not None and usage is None and (not failure.sent or failure.status is not None)
        held = self._held.pop((fact.flight, fact.number), ())
        today = self._days_of(house, fact.flight, now=now)
        for before, day in zip(held, today, strict=True):
            if free or before is not day:
                before.add(-COST_USD, now)
            if before is not day and not free:
                day.add(COST_USD, now)

    def over(self) -> None:
        """What each budget came to in the end."""
        for (name, _), day in self._days.items():
            most = (
                day.again_usd
                + day.most_usd * (1.0 + self._presence.shares(inf))
                + sum(_lease_usd(ats) * (1 + self._turns.get(house, 0)) for house, ats in day.by.items())
            )
            how = f"{day.spent_usd:.2f} dollars went from {name}, which has {day.most_usd:.2f}; {most:.2f} were allowed"
            self._breaches.unless(day.spent_usd <= most + SLACK, "budget", how=how)


def _lease_usd(ats: list[float]) -> float:
    """What a replica spends at most before it is told what others have spent."""
    most, first = 0, 0
    for last, at in enumerate(ats):
        while ats[first] < at - TOLD_S:
            first += 1
        most = max(most, last - first + 1)
    return most * COST_USD


def agree(houses: Mapping[str, House], plan: Plan, *, breaches: Breaches) -> None:
    """When all is quiet: do all know the same?  Not where words were lost, or the store's clock was set."""
    switched = {
        name: tuple(
            sorted(
                (scope, str(health.breaker.state))
                for scope, health in house.engine.board.healths().items()
                if health.is_forced
            )
        )
        for name, house in houses.items()
    }  # fmt: skip
    if not plan.network.lost:
        breaches.unless(len(set(switched.values())) == 1, "agreement", how=f"switches are {switched}")
    if any(event.what == "store clock" for event in plan.events):
        return
    counts = {name: house.replica.state()["replicas"] for name, house in houses.items()}
    breaches.unless(set(counts.values()) == {len(houses)}, "counted", how=f"{len(houses)} replicas count {counts}")
    leaders = [name for name, house in houses.items() if house.replica.leads()]
    breaches.unless(len(leaders) == 1, "counted", how=f"these lead: {leaders}")
