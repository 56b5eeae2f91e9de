"""The same day for everybody: strategies of the core, configurations, oracles and baselines side by side.

Contestant   a player, by a name, and what its regret is measured by
contestants  those that a scene is played with
compare      what came of each, and of all together
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from unbroken.core.strategies import STRATEGIES
from unbroken.policy import Route
from unbroken.price import Price
from unbroken.sim.baselines import BASELINES, ORACLES
from unbroken.sim.core_player import core_player
from unbroken.sim.course import Making, Outcomes, Scene, play
from unbroken.sim.market import Luck
from unbroken.sim.results import Bucket, Summary, series, summarised
from unbroken.sim.suppliers import Example, Supplier, Weights, examples
from unbroken.types import Target

__all__ = ["Comparison", "Contestant", "Progress", "aim_of", "by_strategy", "compare", "contestants", "digest_of",
           "example_route", "target_like"]  # fmt: skip

SPEED = Weights()
EVERYTHING = Weights(speed=1.0, cost=1.0)
MONEY = Weights(speed=0.0, cost=1.0)
_AIMS: Mapping[str, Weights] = {"learned": EVERYTHING, "cheapest": MONEY}
"""What a strategy is after by itself; all others are after speed."""

Progress = Callable[[str, int], None]
"""Told of whose run it is, and how many requests have come in."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A player for a scene.  `is_ours` where it is the core that plays."""

    name: str
    make: Making
    weights: Weights
    is_ours: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of all of them.  `shapes` are the runs over time, by their names."""

    scene: Scene
    summaries: Sequence[Summary]
    shapes: Mapping[str, list[Bucket]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of everything that anybody saw."""
        return digest_of(summary.digest for summary in self.summaries)

    def oracle(self, aim: str, *, kind: str = "informed") -> Summary | None:
        """The oracle of this kind with this aim, if it took part."""
        return next((s for s in self.summaries if s.weights == aim and s.name.startswith(kind)), None)


def digest_of(digests: Iterable[str]) -> str:
    """One for several."""
    return blake2b("\n".join(digests).encode(), digest_size=16).hexdigest()


def aim_of(route: Route) -> Weights:
    """What the answers of a route are measured by: its requirements, else what its strategy is after."""
    if route.requirements:
        return Weights(speed=route.requirements.get("speed", 0.0), cost=route.requirements.get("cost", 0.0))
    return _AIMS.get(route.strategy, SPEED)


def contestants(routes: Mapping[str, Route], *, baselines: bool = True, oracles: bool = True) -> list[Contestant]:
    """The core with each of these routes, an oracle of each kind for each of their aims, the baselines."""
    found = [Contestant(name, core_player(route), aim_of(route)) for name, route in routes.items()]
    aims = list(dict.fromkeys(contestant.weights for contestant in found))
    if oracles:
        found += [
            Contestant(f"{name}: {aim}", make, aim, is_ours=False) for aim in aims for name, make in ORACLES.items()
        ]
    if baselines:
        aim = aims[0] if len(aims) == 1 else SPEED
        found += [Contestant(name, make, aim, is_ours=False) for name, make in BASELINES.items()]
    return found


def compare(scene: Scene, players: Sequence[Contestant], *, progress: Progress | None = None) -> Comparison:
    """Let each of them live through the same day."""
    luck = scene.luck()
    summaries, shapes = [], {}
    for player in players:
        outcomes = _run(scene, player, luck=luck, progress=progress)
        summaries.append(summarised(player.name, outcomes, scene=scene, weights=player.weights))
        shapes[player.name] = series(outcomes, scene)
    return Comparison(scene, summaries, shapes)


def _run(scene: Scene, player: Contestant, *, luck: Mapping[str, Luck], progress: Progress | None) -> Outcomes:
    told = None if progress is None else lambda number: progress(player.name, number)
    return play(scene, player.make, luck=luck, weights=player.weights, progress=told)


# ------------------------------------------------------------- routes to play with


def example_route(rows: Sequence[Example] = ()) -> tuple[Route, dict[str, Supplier]]:
    """The route and the providers that are played where nobody says which."""
    rows = rows or examples()
    suppliers = {row.name: row.supplier for row in rows}
    targets = tuple(
        target_like(Target(name=row.name, provider=row.name, model="m", key_name="a", prefix=row.prefix), row.supplier)
        for row in rows
    )
    return Route(name="auto", targets=targets), suppliers


def target_like(target: Target, supplier: Supplier) -> Target:
    """A target that says of itself what its supplier will charge, and where it is."""
    price = Price(input_usd=supplier.input_usd, output_usd=supplier.output_usd)
    regions = target.regions or ((supplier.region,) if supplier.region else ())
    return replace(target, price=price, regions=regions)


def by_strategy(route: Route, names: Sequence[str] = ()) -> dict[str, Route]:
    """The same route with each of these strategies, or with every one that there is; ValueError for an unknown one."""
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown:
        raise ValueError(f"there is no strategy {', '.join(unknown)}; there are {', '.join(STRATEGIES)}")
    return {name: replace(route, strategy=name) for name in names or STRATEGIES}
