"""What happens in a run: everything is drawn from its seed before it begins.

Each kind of trouble is in some plans and not in others, so that what each of them does alone is seen as
well as what they do together.  `calm` plans leave the store and the clocks alone: what is promised of limits
is exact there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from unbroken.failures import FailureKind
from unbroken.policy import Budget, Deadlines, Hedging, Policy, Retries, Route, SpendLimit, Streaming
from unbroken.sim.ordeal.callers import Habits
from unbroken.sim.ordeal.store import Network
from unbroken.sim.world import Cut, Empty, ErrorEvent, Hang, Law, Outage, RateLimit, Refused, Slow, Stall, Status
from unbroken.types import Allowance, Price, Target

__all__ = ["COST_USD", "TROUBLES", "Event", "Plan", "Settings", "drawn"]

COST_USD = 0.01
"""What each answer costs, at every target."""
MIDNIGHT_S = 20_000 * 86_400.0
"""A midnight, in seconds since 1970."""
KEYS = ("", "key-1", "key-2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What replicas are configured with."""

    targets: tuple[Target, ...]
    routes: Mapping[str, Route]
    budgets: tuple[SpendLimit, ...]
    allowances: Mapping[str, Allowance]
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something befalls somebody: `what` is a name that `play` knows, `who` a replica's or a target's place."""

    at: float
    what: str
    who: int = 0
    more: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run."""

    seed: int
    replicas: int
    duration_s: float
    wall_s: float
    settings: Settings
    laws: Mapping[str, Law]
    outages: tuple[Outage, ...]
    requests: tuple[Habits, ...]
    events: tuple[Event, ...]
    network: Network
    kinds: frozenset[str]

    @property
    def calm(self) -> bool:
        """Whether the store, the ways to it and the clocks do what they should."""
        return not self.kinds & {"store", "cuts", "deaf", "jumps", "freezes", "network"}


def drawn(seed: int, *, only: str = "") -> Plan:
    """The plan of a seed; with `only`, the troubles of these kinds (words) and no others."""
    draw = Random(f"ordeal {seed}")
    kinds = frozenset(kind for kind in TROUBLES if draw.random() < 0.4)
    if only:
        kinds = frozenset(only.split()) - {"none"}
    replicas = draw.choice((1, 2, 2, 3, 3, 4, 5, 8))
    duration_s = draw.choice((8.0, 15.0, 25.0, 80.0 if replicas < 4 else 15.0))
    targets = tuple(_targets(draw))
    settings = Settings(
        targets=targets, routes=_routes(draw, targets), budgets=_budgets(draw), allowances=_allowances(draw),
        share=draw.choice((None, None, 0.0, 0.25)),
    )  # fmt: skip
    events = sorted(
        (event for kind in sorted(kinds) for event in TROUBLES[kind](draw, replicas, duration_s=duration_s)),
        key=lambda event: event.at,
    )
    near = draw.random() < 0.3
    return Plan(
        seed=seed, replicas=replicas, duration_s=duration_s,
        wall_s=MIDNIGHT_S - (duration_s / 2 if near else 36_000.0), settings=settings,
        laws={target.name: _law(draw, target) for target in targets},
        outages=tuple(_outages(draw, targets, duration_s=duration_s)),
        requests=tuple(_requests(draw, settings, duration_s=duration_s)),
        events=tuple(events), network=_network(draw, rough="network" in kinds), kinds=kinds,
    )  # fmt: skip


# ----------------------------------------------------------------------------- providers and routes


def _targets(draw: Random) -> Iterator[Target]:
    for number in range(draw.choice((1, 2, 3, 3, 4))):
        name = f"p{number}"
        style = draw.choice(("openai_chat", "openai_chat", "anthropic", "ollama"))
        limits = key_limits = None
        if draw.random() < 0.4:
            limits = Allowance(requests_per_min=draw.choice((6, 12, 30)))
        if draw.random() < 0.3:
            key_limits = Allowance(concurrent_max=draw.choice((2, 4, 6)))
        yield Target(
            name=name, provider=name, model=draw.choice(("m", "m", "n")), format=style, key=f"sk-{name}",
            key_name="1", base_url=f"http://{name}.invalid/v1" if style == "openai_chat" else f"http://{name}.invalid",
            prefix="assistant" if style == "anthropic" or draw.random() < 0.5 else "none",
            price=Price(request_usd=COST_USD), limits=limits, key_limits=key_limits,
        )  # fmt: skip


def _law(draw: Random, target: Target) -> Law:
    astray = ("astray",) if target.prefix == "none" else ()
    return Law(
        connect_s=draw.uniform(0.005, 0.1), first_token_s=draw.uniform(0.1, 1.0),
        tokens_per_s=draw.uniform(20.0, 200.0),
        chunk_tokens=draw.choice((4, 12, 24)), continues=draw.choice(("on", "on", "on", "repeat", "again", *astray)),
    )  # fmt: skip


def _outages(draw: Random, targets: tuple[Target, ...], *, duration_s: float) -> Iterator[Outage]:
    """Some of everything, and everybody at once now and then."""
    for target in targets:
        for _ in range(draw.randrange(4)):
            start_s = draw.uniform(-5.0, duration_s)
            end_s = start_s + draw.choice((0.3, 2.0, 8.0, 30.0))
            yield Outage(target.name, start_s, end_s, _trouble(draw), draw.choice((1.0, 1.0, 0.5, 0.2)))


def _trouble(draw: Random) -> Refused | Status | RateLimit | Hang | Cut | Stall | ErrorEvent | Empty | Slow:
    after = draw.randrange(1, 40)
    return draw.choice((
        Refused(), Status(FailureKind.SERVER, 500), Status(FailureKind.OVERLOADED, 503, 1.0),
        Status(FailureKind.RATE_LIMIT, 429, 2.0), RateLimit(draw.choice((0.5, 2.0))), Hang(), Hang(connected=False),
        Cut(after), Cut(after), Stall(after), ErrorEvent(after), Empty(), Slow(draw.choice((4.0, 20.0))),
        Status(FailureKind.AUTH, 401), Status(FailureKind.CONTENT_POLICY, 400), Status(FailureKind.REQUEST, 400),
    ))  # fmt: skip


def _routes(draw: Random, targets: tuple[Target, ...]) -> dict[str, Route]:
    strategies = ("priority", "priority", "round-robin", "weighted", "best", "random", "least-busy", "learned")
    routes = {}
    for name in ("one", "two"):
        mine = tuple(draw.sample(targets, draw.randrange(1, len(targets) + 1)))
        routes[name] = Route(
            name=name, targets=mine, strategy=draw.choice(strategies), width=draw.choice((1, 1, 1, 2)),
            policy=_policy(draw),
        )  # fmt: skip
    return routes


def _policy(draw: Random) -> Policy:
    base = Policy()
    return replace(
        base,
        deadlines=Deadlines(gap_s=draw.choice((3.0, 20.0)), total_s=draw.choice((None, 4.0))),
        retries=Retries(attempts_max=draw.randrange(1, 8), same_target_max=draw.randrange(3)),
        hedging=Hedging(after_s=draw.choice((None, None, 0.2, 1.0))),
        budget=Budget(ratio=draw.choice((0.0, 0.2)), reserve=draw.choice((0.0, 3.0, 20.0))),
        stream=Streaming(
            rescue=draw.choice(("continue", "continue", "continue", "restart-if-unseen", "error")),
            hold=draw.random() < 0.1, continuations_max=draw.randrange(1, 4),
        ),
        queue=replace(base.queue, waiting_max=draw.choice((0, 5, 100)), wait_s=draw.choice((0.5, 5.0, 30.0))),
        on_empty=draw.choice(("failover", "return")),
        on_refusal=draw.choice(("return", "failover")),
    )  # fmt: skip


def _budgets(draw: Random) -> tuple[SpendLimit, ...]:
    """One for all, and perhaps one for a key."""
    if draw.random() < 0.5:
        return ()
    found = [SpendLimit(name="all", usd_per_day=COST_USD * (draw.choice((10, 25, 60)) + 0.5))]
    if draw.random() < 0.5:
        found.append(SpendLimit(name="mine", usd_per_day=COST_USD * 8.5, asker="key-1"))
    return tuple(found)


def _allowances(draw: Random) -> Mapping[str, Allowance]:
    return {"key-2": Allowance(requests_per_min=draw.choice((5, 20)))} if draw.random() < 0.3 else {}


def _network(draw: Random, *, rough: bool) -> Network:
    if not rough:
        return Network()
    return Network(
        way_s=(0.0005, draw.choice((0.01, 0.1, 0.3))), lost=draw.choice((0.0, 0.1)), doubled=draw.choice((0.0, 0.2)),
        overtaken=draw.choice((0.0, 0.3)),
    )  # fmt: skip


# ----------------------------------------------------------------------------- callers


def _requests(draw: Random, settings: Settings, *, duration_s: float) -> Iterator[Habits]:
    per_s = draw.choice((1.0, 3.0, 6.0)) * min(1.0, 25.0 / duration_s)
    now, number = 0.05, 0
    rude, slow = draw.choice((0.0, 0.1, 0.3)), draw.choice((0.0, 0.1, 0.3))
    while (now := now + draw.expovariate(per_s)) < duration_s:
        number += 1
        for _ in range(draw.choice((1, 1, 1, 1, 1, 8)) if draw.random() < 0.3 else 1):
            yield Habits(
                number=number * 10 + _, at=now, route=draw.choice(tuple(settings.routes)), stream=draw.random() < 0.8,
                key=draw.choice(KEYS), leaves_s=draw.expovariate(0.5) if draw.random() < rude else None,
                pauses_s=draw.expovariate(1.0) if draw.random() < slow else None, paused_s=draw.expovariate(0.2),
            )  # fmt: skip


# ----------------------------------------------------------------------------- what befalls replicas and the store


class Troubles(Protocol):
    """Makes the events of one kind."""

    def __call__(self, draw: Random, replicas: int, *, duration_s: float) -> Iterator[Event]: ...


def _spells(draw: Random, duration_s: float, *, most: int = 3) -> Iterator[tuple[float, float]]:
    """Some times from and to."""
    for _ in range(draw.randrange(1, most + 1)):
        start_s = draw.uniform(0.1, duration_s)
        yield start_s, start_s + draw.choice((0.1, 0.6, 2.0, 8.0, 20.0))


def _between(begin: str, end: str) -> Troubles:
    """Something that begins and ends, for one of the replicas."""

    def events(draw: Random, replicas: int, *, duration_s: float) -> Iterator[Event]:
        for start_s, end_s in _spells(draw, duration_s):
            who = draw.randrange(replicas)
            yield Event(at=start_s, what=begin, who=who)
            yield Event(at=end_s, what=end, who=who)

    return events


def _jumps(draw: Random, replicas: int, *, duration_s: float) -> Iterator[Event]:
    """Wall clocks are set; the store's is one, and what it says is all that replicas have in common."""
    for start_s, _ in _spells(draw, duration_s):
        by_s = draw.choice((-3_600.0, -2.0, -0.5, 0.5, 2.0, 3_600.0, 50_000.0))
        if draw.random() < 0.2:
            yield Event(at=start_s, what="store clock", more=by_s)
        else:
            yield Event(at=start_s, what="clock", who=draw.randrange(replicas), more=by_s)


def _operators(draw: Random, replicas: int, *, duration_s: float) -> Iterator[Event]:
    for start_s, end_s in _spells(draw, duration_s, most=4):
        who, number, scope = draw.randrange(replicas), draw.randrange(4), draw.choice(("model", "endpoint"))
        yield Event(at=start_s, what=draw.choice(("open", "close")), who=who, more=number, name=scope)
        if draw.random() < 0.7:
            yield Event(at=end_s, what="release", who=draw.randrange(replicas), more=number, name=scope)


def _reloads(draw: Random, replicas: int, *, duration_s: float) -> Iterator[Event]:
    for start_s, _ in _spells(draw, duration_s):
        yield Event(at=start_s, what="reload", who=draw.randrange(replicas), more=draw.randrange(1, 8))


def _nothing(draw: Random, replicas: int, *, duration_s: float) -> Iterator[Event]:
    """It has no events; it is there all the time."""
    del draw, replicas, duration_s
    return iter(())


TROUBLES: Mapping[str, Troubles] = {
    "kills": _between("kill", "start"),
    "restarts": _between("stop", "start"),
    "freezes": _between("freeze", "thaw"),
    "cuts": _between("cut", "mend"),
    "store": _between("store dies", "store rises"),
    "deaf": _between("store deafens", "store listens"),
    "jumps": _jumps,
    "operators": _operators,
    "reloads": _reloads,
    "network": _nothing,
}
