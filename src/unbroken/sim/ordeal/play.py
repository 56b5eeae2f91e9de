"""One run: its plan is drawn from the seed, played to its end, and looked at after every step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from unbroken.core.flight import Finished
from unbroken.facts import Fact, Operated
from unbroken.policy import Route
from unbroken.sim.ordeal.callers import Asker, Habits
from unbroken.sim.ordeal.house import House, Machine
from unbroken.sim.ordeal.loop import Agenda, Loop
from unbroken.sim.ordeal.plan import Event, Plan, drawn
from unbroken.sim.ordeal.promises import STUCK_S, Breach, Breaches, Flights
from unbroken.sim.ordeal.sharing import Budgets, Presence, Rooms, agree
from unbroken.sim.ordeal.store import Store
from unbroken.sim.ordeal.upstream import Upstream
from unbroken.sim.world import Refused, Truth, World
from unbroken.types import Target

__all__ = ["Log", "Verdict", "play"]

STEPS_KEPT = 60
QUIET_S = 12.0
"""Until the dead are known to be dead, and all have been told everything."""
LOOK_S = 5.0
"""Between two looks whether all requests are over."""
TRUTH = Truth(tokens=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a run: what was broken, the last steps before that, and a digest of every step."""

    seed: int
    breaches: tuple[Breach, ...]
    last: tuple[str, ...]
    digest: str
    steps: int
    requests: int
    whole: int
    virtual_s: float


class Log:
    """Every step, as a digest; the latest in words."""

    def __init__(self, agenda: Agenda, *, tell: Callable[[str], None] | None = None) -> None:
        """`tell` is told of each step."""
        self._agenda, self._tell = agenda, tell
        self._hash = blake2b(digest_size=8)
        self._last: deque[str] = deque(maxlen=STEPS_KEPT)
        self.kept: tuple[str, ...] = ()
        self.steps = 0

    def note(self, who: str, what: object) -> None:
        """A step."""
        line = f"{self._agenda.now:10.4f}  {who:<6} {what}"
        self.steps += 1
        self._hash.update(line.encode())
        self._last.append(line)
        if self._tell is not None:
            self._tell(line)

    def keep(self) -> None:
        """The steps until now are the interesting ones."""
        self.kept = tuple(self._last)

    @property
    def digest(self) -> str:
        """In hexadecimal, 16 digits."""
        return self._hash.hexdigest()


def play(
    seed: int, *, only: str = "", plant: Callable[[House], None] = lambda _: None,
    tell: Callable[[str], None] | None = None,
) -> Verdict:  # fmt: skip
    """Play a seed; `plant` may spoil each replica when it is born, `tell` hears of every step."""
    town = _Town(drawn(seed, only=only), plant=plant, tell=tell)
    town.run()
    return town.verdict()


class _Town:
    """All of it."""

    def __init__(self, plan: Plan, *, plant: Callable[[House], None], tell: Callable[[str], None] | None) -> None:
        self.plan, self._plant = plan, plant
        self.agenda = Agenda()
        self.log = Log(self.agenda, tell=tell)
        self.draw = Random(f"{plan.seed}/town")
        self.breaches = Breaches(self._now, first=self.log.keep)
        self.flights = Flights(self.breaches, TRUTH, clock=self._now)
        self.presence = Presence(self._now)
        self.rooms = Rooms(self.breaches, self.presence, clock=self._now)
        self.budgets = Budgets(plan, self.breaches, flights=self.flights, presence=self.presence)
        self.store = Store(self.agenda, plan.network, draw=Random(f"{plan.seed}/store"))
        world = World(plan.laws, plan.outages, truth=TRUTH, seed=plan.seed)
        by_key = {target.key: target for target in plan.settings.targets}
        self.upstream = Upstream(self.agenda, world, targets=by_key, books=self, seed=str(plan.seed))
        self.machines = [Machine(place, self.draw.uniform(-1.0, 1.0)) for place in range(plan.replicas)]
        self.houses: dict[int, House] = {}
        self.attempts_max = 0
        self.askers: list[Asker] = []
        self._acts: Mapping[str, Callable[[Event], None]] = {
            "kill": self._kill, "stop": self._stop, "start": lambda event: self._start(event.who),
            "freeze": self._freeze, "thaw": self._thaw, "cut": self._cut, "mend": self._mend, "clock": self._set_clock,
            "store clock": self._set_store_clock, "store dies": lambda _: self.store.die(),
            "store rises": self._rise, "store deafens": lambda _: self._deafen(),
            "store listens": lambda _: self.store.listen(), "reload": self._reload,
            "open": lambda event: self._force(event, open_=True),
            "close": lambda event: self._force(event, open_=False),
            "release": lambda event: self._force(event, open_=None),
        }  # fmt: skip

    def _now(self) -> float:
        return self.agenda.now

    # -- the run

    def run(self) -> None:
        """Everything in its time, then quiet, then a last look."""
        plan, at = self.plan, self.agenda.at
        for machine in self.machines:
            at(self.draw.uniform(0.0, 0.05), lambda place=machine.place: self._start(place))  # type: ignore[misc]
        for habits in plan.requests:
            at(habits.at, lambda habits=habits: self._ask(habits))  # type: ignore[misc]
        for event in (event for event in plan.events if event.at < plan.duration_s):
            at(event.at, lambda event=event: self._befall(event))  # type: ignore[misc]
        for outage in plan.outages:
            if isinstance(outage.trouble, Refused) and outage.share >= 1.0 and outage.start_s >= 0.0:
                at(outage.start_s, lambda name=outage.target: self.upstream.crash(name))  # type: ignore[misc]
        self.agenda.run(plan.duration_s)
        self._heal()
        until = plan.duration_s + STUCK_S
        while self.agenda.now < until and any(self._waits(asker) for asker in self.askers):
            self.agenda.run(self.agenda.now + LOOK_S)
        self.agenda.run(self.agenda.now + QUIET_S)
        self._look_back()

    def _waits(self, asker: Asker) -> bool:
        flown = self.flights.flown.get(str(asker.habits.number))
        return not asker.ends and (flown is None or not flown.house.loop.is_dead)

    def _heal(self) -> None:
        """No more trouble: what is left over must come to an end by itself."""
        self.store.network = type(self.store.network)()
        if self.store.is_deaf:
            self.store.listen()
        if not self.store.is_up:
            self._rise()
        for place in range(self.plan.replicas):
            self._mend(Event(at=0.0, what="mend", who=place))
            self._thaw(Event(at=0.0, what="thaw", who=place))
            self._start(place)

    def _look_back(self) -> None:
        living = {house.name: house for house in self.houses.values() if not house.loop.is_dead}
        self.flights.over(living)
        self.budgets.over()
        if serving := {name: house for name, house in living.items() if not house.is_stopping}:
            agree(serving, self.plan, breaches=self.breaches)
        for house in living.values():
            _check_leavings(house, self.breaches, targets=self.plan.settings.targets)

    def verdict(self) -> Verdict:
        """What came of it; nothing of it runs any more."""
        for house in self.houses.values():
            house.kill()
        whole = sum(asker.end is not None and asker.end.failure is None for asker in self.askers)
        return Verdict(
            seed=self.plan.seed, breaches=tuple(self.breaches), last=self.log.kept, digest=self.log.digest,
            steps=self.log.steps, requests=len(self.askers), whole=whole, virtual_s=self.agenda.now,
        )  # fmt: skip

    # -- requests

    def _ask(self, habits: Habits) -> None:
        ready = [house for house in self.houses.values() if not (house.loop.is_dead or house.is_stopping)]
        if not ready:
            return
        house = self.draw.choice(ready)
        asker = Asker(habits, replica=house.name)
        self.askers.append(asker)
        house.take(asker)
        if habits.leaves_s is not None:
            self.agenda.after(habits.leaves_s, lambda: house.loop.enter(asker.leave))
        if habits.pauses_s is not None:
            self.agenda.after(habits.pauses_s, lambda: house.loop.enter(asker.pause))
            self.agenda.after(habits.pauses_s + habits.paused_s, lambda: house.loop.enter(asker.resume))

    # -- what is seen

    def began(self, house: House, asker: Asker, *, route: Route) -> None:
        """A request is about to begin."""
        self.flights.began(house, asker, route=route)

    def noted(self, house: House, fact: Fact) -> None:
        """A replica notes a fact."""
        self.log.note(house.name, fact)
        self.flights.noted(house, fact)
        self.budgets.noted(house, fact, now=self.agenda.now)

    def opened(self, target: Target, replica: str) -> None:
        """A replica asks, perhaps in the step in which it found itself alone."""
        for house in self.houses.values():
            if house.name == replica:
                self.presence.look(house)
        self.rooms.opened(target)

    def closed(self, target: Target, replica: str) -> None:
        """For the replica it is over."""
        self.rooms.closed(target)

    def reached(self, target: Target, number: int, *, at: float) -> None:
        """A provider got a request."""
        self.flights.reached(number)
        self.rooms.reached(target)

    def _look(self, house: House) -> None:
        """After a step of a replica."""
        self.presence.look(house)
        for asker in list(house.flying):
            self.flights.check(asker)
            if asker.ends:
                del house.flying[asker]
                self.log.note(house.name, f"{asker.habits.number} ends: {_said(asker.end)}, {len(asker.text)} chars")

    # -- what befalls replicas

    def _befall(self, event: Event) -> None:
        self.log.note("", f"{event.what} {event.who} {event.more} {event.name}")
        self._acts[event.what](event)

    def _start(self, place: int) -> None:
        known = self.houses.get(place)
        if known is not None and not known.loop.is_dead:
            return
        machine, defects = self.machines[place], self.breaches
        loop = Loop(  # type: ignore[abstract]  # of an event loop only what is used
            self.agenda, began=self.draw.uniform(0.0, 1e5), pace=1.0 + self.draw.uniform(-3e-4, 3e-4),
            defect=lambda how: defects.note("no defect", how),
        )  # fmt: skip
        house = self.houses[place] = House(
            machine, self.plan.settings, loop=loop, upstream=self.upstream, store=self.store, onlooker=self,
            wall=lambda: self.plan.wall_s + self.agenda.now + machine.ahead_s,
        )  # fmt: skip
        house.born_at = self.agenda.now
        house.reload = lambda house: house.follow(self.attempts_max)
        if self.attempts_max:
            house.follow(self.attempts_max)
        loop.after_turn = lambda: self._look(house)
        self._plant(house)

    def _kill(self, event: Event) -> None:
        house = self.houses[event.who]
        if not house.loop.is_dead:
            house.kill()
            self.presence.died(house)
            self.budgets.died(house, self.agenda.now)

    def _stop(self, event: Event) -> None:
        house = self.houses[event.who]

        def done() -> None:
            self.presence.died(house)
            self._look(house)
            self.agenda.after(0.0, house.kill)

        if not (house.loop.is_dead or house.is_stopping):
            house.stop(done)

    def _freeze(self, event: Event) -> None:
        house = self.houses[event.who]
        if not house.loop.is_dead:
            house.loop.freeze()
            self.presence.froze(house)

    def _thaw(self, event: Event) -> None:
        house = self.houses[event.who]
        if house.loop.is_frozen and not house.loop.is_dead:
            self.presence.thawed(house)
            house.loop.thaw()

    def _cut(self, event: Event) -> None:
        self.houses[event.who].line.is_cut = True

    def _mend(self, event: Event) -> None:
        if self.houses[event.who].line.is_cut:
            self.houses[event.who].line.mend()

    def _set_clock(self, event: Event) -> None:
        self.machines[event.who].ahead_s += event.more

    def _force(self, event: Event, *, open_: bool | None) -> None:
        house, targets = self.houses[event.who], self.plan.settings.targets
        target = targets[int(event.more) % len(targets)]
        scope = target.endpoint if event.name == "endpoint" else target.model_scope
        if not house.loop.is_dead:
            house.loop.enter(lambda: house.force(scope, open_=open_))

    def _reload(self, event: Event) -> None:
        house, self.attempts_max = self.houses[event.who], int(event.more)
        if not house.loop.is_dead:
            house.loop.enter(lambda: self._reloaded(house))

    def _reloaded(self, house: House) -> None:
        house.follow(self.attempts_max)
        house.engine.bus.publish(Operated(house.loop.time(), "operator", "reload"))

    # -- what befalls the store

    def _rise(self, _: Event | None = None) -> None:
        if not self.store.is_up:
            self.store.rise()
            self.presence.born()

    def _deafen(self) -> None:
        if self.store.is_up:
            self.store.deafen()

    def _set_store_clock(self, event: Event) -> None:
        self.store.ahead_s += event.more
        self.presence.born()  # what is held for so long may be forgotten all at once


def _check_leavings(house: House, breaches: Breaches, *, targets: tuple[Target, ...]) -> None:
    """Whether anything is left of requests that are over."""
    left = list(house.wire.calls)
    breaches.unless(not left, "nothing left", how=f"{house.name} has {len(left)} connections")
    board, admission = house.engine.board, house.engine.admission
    for target in targets:
        standing = board.standing(target)
        waiting = {**standing.first.waiting, **standing.plain.waiting}
        breaches.unless(not waiting, "nothing left", how=f"{house.name} waits for {list(waiting)} of {target.name}")
    if admission is None:
        return
    breaches.unless(not admission.gate.waiting, "nothing left", how=f"{admission.gate.waiting} wait at {house.name}")
    for scope, pool in admission.limits.configured():
        breaches.unless(not pool.in_flight, "nothing left", how=f"{pool.in_flight} are under way at {scope}")
    for account in admission.spending.accounts if admission.spending is not None else ():
        held_usd = abs(account.held_usd)
        breaches.unless(held_usd < 1e-9, "nothing left", how=f"{held_usd} dollars are held of {account.limit.name}")


def _said(end: Finished | None) -> str:
    if end is None:
        return "not at all"
    return "whole" if end.failure is None else f"{end.failure.kind}: {end.failure.message}"
