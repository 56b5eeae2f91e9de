"""One replica: the real engine with its bus, admission, leases and words, on a loop and a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from unbroken.bus import Bus
from unbroken.core.board import Board
from unbroken.core.limits import Limits
from unbroken.core.spend import Spending
from unbroken.engine import Engine
from unbroken.facts import Fact, Operated, TargetForced
from unbroken.policy import Breaking, Route
from unbroken.replicas.replica import JOIN_S, Replica
from unbroken.sim.ordeal.callers import Asker, asked
from unbroken.sim.ordeal.loop import Loop
from unbroken.sim.ordeal.plan import Settings
from unbroken.sim.ordeal.store import Store, StoreLine
from unbroken.sim.ordeal.upstream import Upstream, Wire

__all__ = ["House", "Machine", "Onlooker"]


class Onlooker(Protocol):
    """Sees every fact of a house at the moment at which it is noted."""

    def noted(self, house: House, fact: Fact) -> None: ...

    def began(self, house: House, asker: Asker, *, route: Route) -> None:
        """A request is about to begin."""
        ...


@dataclass(slots=True)
class Machine:
    """Where replicas run, one after the other: its wall clock is right but for `ahead_s`."""

    place: int
    ahead_s: float
    born: int = 0


class _WatchedBus(Bus):
    """The bus, with somebody who hears at once."""

    def __init__(self, hear: Callable[[Fact], None]) -> None:
        super().__init__()
        self._hear = hear

    def publish(self, fact: Fact) -> None:
        self._hear(fact)
        super().publish(fact)


class House:
    """A process that serves requests; `wall` tells the time of its machine."""

    def __init__(
        self, machine: Machine, settings: Settings, *, loop: Loop, upstream: Upstream, store: Store,
        onlooker: Onlooker, wall: Callable[[], float],
    ) -> None:  # fmt: skip
        machine.born += 1
        self.name, self.machine, self.loop, self.settings = f"r{machine.place}.{machine.born}", machine, loop, settings
        self.wall, self._onlooker = wall, onlooker
        self.routes = dict(settings.routes)
        self.reload: Callable[[House], None] = lambda _: None
        self.wire = Wire(upstream, loop, replica=self.name)
        self.line = StoreLine(store, loop, replica=self.name)
        self.flying: dict[Asker, None] = {}
        self.is_stopping = self.was_there = False
        self.born_at = 0.0
        draw = Random(f"{self.name} of {upstream.draw.random()}")
        board = Board(draw, _breaking(self.routes))
        bus = _WatchedBus(lambda fact: onlooker.noted(self, fact))
        self.engine = Engine(board=board, transport=self.wire, clock=loop.time, bus=bus, draw=draw)
        self.replica = Replica(self.engine, self.line, name=self.name, share=settings.share, wall=wall)
        self.replica.acts = self._act
        self.engine.replica = self.replica
        bus.add(self.replica)
        self._started_at = loop.time()
        self._keep()
        loop.enter(self.engine.start)

    def _keep(self) -> None:
        """As an engine is assembled."""
        settings = self.settings
        limited = [target for target in settings.targets if target.limits or target.key_limits]
        if limited or settings.budgets or settings.allowances:
            spending = Spending(settings.budgets, wall=self.wall) if settings.budgets else None
            self.engine.keep(Limits(limited), spending=spending, routes=self.routes).allow(settings.allowances)

    @property
    def share(self) -> float:
        """What it may spend of a limit while it is alone."""
        return float(str(self.replica.state()["share"]))

    @property
    def is_alone(self) -> bool:
        """Whether it goes on without the others: once it was there it never waits for them again."""
        self.was_there = self.was_there or self.replica.joined_at is not None
        return self.replica.joined_at is None and (self.was_there or self.loop.time() - self._started_at >= JOIN_S)

    # -- requests

    def take(self, asker: Asker) -> None:
        """A request has come in."""
        self.flying[asker] = None
        self.loop.enter(lambda: self._fly(asker))

    def _fly(self, asker: Asker) -> None:
        route, number = self.routes[asker.habits.route], asker.habits.number
        self._onlooker.began(self, asker, route=route)
        asker.drive = self.engine.fly(asked(asker.habits), route, caller=asker, flight_id=str(number))

    # -- operators

    def force(self, scope: str, *, open_: bool | None) -> None:
        """An operator turns a switch."""
        fact = TargetForced(self.loop.time(), scope, open_)
        self.engine.board.fold(fact)
        self.engine.bus.publish(fact)

    def follow(self, attempts_max: int) -> None:
        """Another configuration."""
        for name, route in self.routes.items():
            retries = replace(route.policy.retries, attempts_max=attempts_max)
            self.routes[name] = replace(route, policy=replace(route.policy, retries=retries))
        board, admission = self.engine.board, self.engine.admission
        board.follow(_breaking(self.routes), default=Breaking(), changed=set())
        if admission is not None:
            targets = [target for target in self.settings.targets if target.limits or target.key_limits]
            spending = Spending(self.settings.budgets, wall=self.wall)
            admission.follow(targets, self.settings.budgets, routes=self.routes, spending=lambda: spending)

    def _act(self, fact: Operated | TargetForced, _: float) -> None:
        if isinstance(fact, Operated) and fact.what == "reload":
            self.reload(self)

    # -- its end

    def stop(self, done: Callable[[], None]) -> None:
        """Take nothing more, finish what is under way, say goodbye."""
        self.is_stopping = True
        self.loop.enter(lambda: self._wind_down(done))

    def _wind_down(self, done: Callable[[], None]) -> None:
        if any(not asker.ends for asker in self.flying):
            self.loop.call_later(0.05, self._wind_down, done)
        else:
            self.loop.create_task(self._close(done))

    async def _close(self, done: Callable[[], None]) -> None:
        await self.engine.close()
        done()

    def kill(self) -> None:
        """Without a word: its connections break, and whoever waits for it waits in vain."""
        self.line.leave()
        self.wire.cut()
        self.loop.kill()


def _breaking(routes: dict[str, Route]) -> dict[str, Breaking]:
    return {target.name: route.policy.breaking for route in routes.values() for target in route.targets}
