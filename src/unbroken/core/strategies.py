"""Ways to order the targets that could answer.

A strategy is a function of candidates (in the order of the configuration, all of them
eligible) and a `View` of everything else; it returns a `Choice`: the order in which they
should be tried.  It invents nothing, drops nothing and repeats nothing, and what it did not
ask of the view was not worked out.  To add one, write the function and register it under
the name that configurations use.  docs/strategies.md says when to take which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from random import Random

from unbroken.core.board import Board
from unbroken.core.measures import Expected, burdens
from unbroken.policy import Route
from unbroken.records import Record
from unbroken.types import Request, Target

__all__ = ["STRATEGIES", "Choice", "Draw", "Strategy", "View", "within"]

NEAR = 0.05
"""Whoever is at most a twentieth worse than the best is as good: among those the less busy is taken."""
LOOK = 1.0
"""What looking at a target costs at least, in requests."""
SLOW_LOOK = 1.5
"""... at somebody who has always been slow: there the best one will be asked as well, and little is learnt."""
LOSS = 0.5
"""... and more at whoever is worse than the best one by more than this, as a logarithm: one for each time so much."""
CAUTION = 0.5
"""How many deviations worse than it looks everybody is taken to be: nobody is relied on for one lucky answer."""
IMPATIENCE = 1.5
"""While somebody is looked at, the best is asked too as soon as it would have been late itself by half."""
EVERYTHING = {"speed": 1.0, "cost": 1.0, "reliability": 1.0}
ANSWERS = {"speed": 1.0, "reliability": 1.0}
SPEED = {"speed": 1.0}
LEAST_WEIGHT = 1e-9


class Draw(Record):
    """Where a strategy's variety comes from: a counter of the route's requests, and chance."""

    ticket: int
    chance: Random


class View(Record):
    """What a strategy may look at besides the candidates; `resting` are those whom something stands in the way of."""

    request: Request
    route: Route
    board: Board
    now: float
    draw: Draw
    resting: Sequence[Target] = ()

    def expect_each(self, targets: Sequence[Target], *, route: str = "", priced: bool = True) -> list[Expected]:
        """What is to be expected of each of these; `route` and `priced` as in `Experience.question`."""
        return self.board.expect_each(targets, self.request, now=self.now, route=route, priced=priced)

    def weights(self, otherwise: Mapping[str, float]) -> Mapping[str, float]:
        """How much each quality counts, as the route requires."""
        return self.route.requirements or otherwise


class Choice(Record):
    """The order, how many at once, and when a second one is started while the first is silent (None: as usual).

    `look` is somebody to be asked before all others to see how he does by now, perhaps one of
    those who rest; `price` is what that costs.
    """

    order: list[Target]
    width: int = 1
    hedge_s: float | None = None
    look: Target | None = None
    price: float = 0.0


Strategy = Callable[[Sequence[Target], View], Choice]


# ------------------------------------------------------------------ without looking


def priority(candidates: Sequence[Target], view: View) -> Choice:  # noqa: ARG001 - the others look at it
    """As they stand in the configuration."""
    return Choice(list(candidates))


def round_robin(candidates: Sequence[Target], view: View) -> Choice:
    """Each in turn is first; the others follow in their order."""
    return Choice(_turned(candidates, view.draw.ticket))


def shuffled(candidates: Sequence[Target], view: View) -> Choice:
    """In any order, all equally likely."""
    return Choice(view.draw.chance.sample(list(candidates), len(candidates)))


def race(candidates: Sequence[Target], view: View) -> Choice:  # noqa: ARG001 - the same
    """All at once."""
    return Choice(list(candidates), max(1, len(candidates)))


def hedge(candidates: Sequence[Target], view: View) -> Choice:
    """As they stand; the second is started when the first is later than 95 % of its answers were."""
    hedging, stream = view.route.policy.hedging, view.request.stream
    if hedging.on or len(candidates) <= 1:
        return Choice(list(candidates))
    first, board = candidates[0], view.board
    seen = board.samples(first, stream=stream) >= hedging.samples_min
    return Choice(list(candidates), hedge_s=board.percentile_s(first, 0.95, stream=stream) if seen else None)


# --------------------------------------------------------------------- by what is known


def weighted(candidates: Sequence[Target], view: View) -> Choice:
    """First by lot in proportion to weight, the rest likewise (Efraimidis and Spirakis, 2006).

    With requirements the weight is multiplied by how well a target meets them, 0 to 1.
    """
    weights = [max(target.weight, LEAST_WEIGHT) for target in candidates]
    if wanted := view.weights({}):
        loads = burdens(view.expect_each(candidates), wanted)
        least = min(loads, default=0.0)
        weights = [weight * exp(least - load) for weight, load in zip(weights, loads, strict=True)]
    return Choice(_sorted(candidates, [view.draw.chance.expovariate(1.0) / weight for weight in weights]))


def cheapest(candidates: Sequence[Target], view: View) -> Choice:
    """The one whose answer is likely to cost least; those without a known price last."""
    costs = [one.cost_usd for one in view.expect_each(candidates)]
    return Choice(_sorted(candidates, [float("inf") if cost is None else cost for cost in costs]))


def least_busy(candidates: Sequence[Target], view: View) -> Choice:
    """The one with the fewest requests under way for its weight; equals take turns."""
    turned = _turned(candidates, view.draw.ticket)
    board = view.board
    return Choice(
        _sorted(turned, [board.experience.busy(target) / max(target.weight, LEAST_WEIGHT) for target in turned])
    )


def geo(candidates: Sequence[Target], view: View) -> Choice:
    """The nearest region first, by the route's `near`; within one the fastest."""
    near = view.route.near
    places = [next((at for at, place in enumerate(near) if within(t.regions, place)), len(near)) for t in candidates]
    seconds = [one.first_s for one in view.expect_each(candidates, priced=False)]
    return Choice(_sorted(candidates, list(zip(places, seconds, strict=True))))


def fastest(candidates: Sequence[Target], view: View) -> Choice:
    """The one that is likely to be done first, whatever it costs; a look at the others now and then."""
    expected = view.expect_each(candidates, priced=False)
    return _looking(candidates, expected, loads=burdens(expected, SPEED), weights=SPEED, view=view)


def best(candidates: Sequence[Target], view: View) -> Choice:
    """By time and success, as seen anywhere; among equals the less busy of two drawn at random (Mitzenmacher, 2001)."""
    weights = view.weights(ANSWERS)
    expected = view.expect_each(candidates, priced=bool(weights.get("cost")))
    loads = burdens(expected, weights)
    sure = _sure(loads, expected, weights=weights)
    least = min(sure, default=0.0)
    equals = [at for at, load in enumerate(sure) if load <= least + NEAR]
    if len(equals) > 1:
        one, other = view.draw.chance.sample(equals, 2)
        taken = one if expected[one].busy <= expected[other].busy else other
        loads[taken] -= sure[taken] - least + NEAR
    return _looking(candidates, expected, loads=loads, weights=weights, view=view)


def learned(candidates: Sequence[Target], view: View) -> Choice:
    """By what this route has learned of outcome, time and cost; a look at the others now and then."""
    weights, route = view.weights(EVERYTHING), view.route.name
    expected = view.expect_each(candidates, route=route, priced=bool(weights.get("cost")))
    return _looking(candidates, expected, loads=burdens(expected, weights), weights=weights, view=view, route=route)


def _sure(loads: list[float], expected: list[Expected], *, weights: Mapping[str, float]) -> list[float]:
    """The burdens with what they may be more."""
    caution = CAUTION * weights.get("speed", 0.0)
    return [load + caution * one.doubt for load, one in zip(loads, expected, strict=True)]


def _looking(
    candidates: Sequence[Target], expected: list[Expected], *, loads: list[float], weights: Mapping[str, float],
    view: View, route: str = "",
) -> Choice:  # fmt: skip
    """The least burden first, and perhaps somebody else to be looked at before: then the best follows soon.

    Who leads has shown it; who is looked at may be better, as far as anybody knows.
    """
    sure = _sure(loads, expected, weights=weights)
    order = _sorted(candidates, sure)
    scout = view.board.experience.scout(view.route.name)
    if not order or not view.route.explore_share or not scout.affords(LOOK):
        return Choice(order)
    leader = sure.index(min(sure))
    shut = [target for target in view.resting if view.board.may_look(target, view.now)]
    everybody = [*candidates, *shut]
    strayed = [view.board.experience.strayed(target, view.now, route=route) for target in candidates]
    # Of those who rest, or have become slow, the best is hoped: whatever it was, it may be over.
    hopes = [loads[leader] if astray else load for load, astray in zip(loads, strayed, strict=True)]
    hopes += [loads[leader]] * len(shut)
    found = scout.look([target.name for target in everybody], hopes, leader=leader)
    if found is None:
        return Choice(order)
    if weights.get("cost") and found < len(expected):
        other, known = expected[found], expected[leader]
    else:
        other, known = view.expect_each([everybody[found], candidates[leader]], route=route)
    late_s = IMPATIENCE * known.first_s
    may_be_back = found >= len(candidates) or strayed[found]
    price = _price(other, known, late_s=late_s, weights={**weights, "speed": 0.0} if may_be_back else weights)
    if not scout.affords(price):
        return Choice(order)
    return Choice(order, hedge_s=late_s or None, look=everybody[found], price=price)


def _price(other: Expected, leader: Expected, *, late_s: float, weights: Mapping[str, float]) -> float:
    """What a look costs, in requests: by how much worse its answer is likely to be than the best one's.

    Where it is likely to be silent after `late_s`, that one will be asked too: nobody waits longer, and both are
    paid.  Whatever a route wants, the money that a look takes more counts in times of the best one's.
    """
    speed, cost, loss, dearer = weights.get("speed", 0.0), weights.get("cost", 0.0), 0.0, 0.0
    is_slow = speed > 0.0 and other.first_s > late_s > 0.0
    if speed and other.seconds and leader.seconds:
        seconds = min(other.seconds, leader.seconds + late_s) if is_slow else other.seconds
        loss += speed * log(seconds / leader.seconds)
    if other.cost_usd and leader.cost_usd:
        dearer = other.cost_usd / leader.cost_usd
        loss += cost * log(dearer + 1.0 if is_slow else dearer)
    return max(SLOW_LOOK if is_slow else LOOK, loss / LOSS, dearer - 1.0)


# ------------------------------------------------------------------------ small parts


def within(regions: Sequence[str], place: str) -> bool:
    """Whether one of these regions is this place or lies in it: `eu-west-1` lies in `eu`."""
    return any(region == place or region.startswith(f"{place}-") for region in regions)


def _turned(candidates: Sequence[Target], ticket: int) -> list[Target]:
    start = ticket % len(candidates) if candidates else 0
    return [*candidates[start:], *candidates[:start]]


def _sorted(candidates: Sequence[Target], keys: Sequence[float] | Sequence[tuple[int, float]]) -> list[Target]:
    """By these keys; equals stay in their order."""
    return [candidates[at] for at in sorted(range(len(candidates)), key=keys.__getitem__)]


STRATEGIES: Mapping[str, Strategy] = {
    "priority": priority,
    "round-robin": round_robin,
    "weighted": weighted,
    "best": best,
    "random": shuffled,
    "cheapest": cheapest,
    "fastest": fastest,
    "least-busy": least_busy,
    "race": race,
    "hedge": hedge,
    "geo": geo,
    "learned": learned,
}
"""By the name that configurations use."""
