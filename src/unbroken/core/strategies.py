"""Ways to order the targets that could answer.

A strategy is a function of candidates (in the order of the configuration, all of them
eligible) and a `Draw`; it returns them in the order in which they should be tried.  It
invents nothing, drops nothing and repeats nothing.  To add one, write the function and
register it under the name that configurations use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from unbroken.types import Target, record

__all__ = ["STRATEGIES", "Draw", "Strategy"]


@record()
class Draw:
    """Where a strategy's variety comes from: a counter of the route's requests, and chance."""

    ticket: int
    chance: Random


Strategy = Callable[[Sequence[Target], Draw], list[Target]]


def priority(candidates: Sequence[Target], draw: Draw) -> list[Target]:
    """As they stand in the configuration."""
    del draw
    return list(candidates)


def round_robin(candidates: Sequence[Target], draw: Draw) -> list[Target]:
    """Each in turn is first; the others follow in their order."""
    start = draw.ticket % len(candidates) if candidates else 0
    return [*candidates[start:], *candidates[:start]]


def shuffled(candidates: Sequence[Target], draw: Draw) -> list[Target]:
    """In any order, all equally likely."""
    return draw.chance.sample(list(candidates), len(candidates))


def weighted(candidates: Sequence[Target], draw: Draw) -> list[Target]:
    """First by lot in proportion to weight, the rest likewise (Efraimidis and Spirakis, 2006)."""
    waits = {id(target): draw.chance.expovariate(1.0) / max(target.weight, 1e-9) for target in candidates}
    return sorted(candidates, key=lambda target: waits[id(target)])


STRATEGIES: Mapping[str, Strategy] = {
    "priority": priority,
    "round-robin": round_robin,
    "random": shuffled,
    "weighted": weighted,
    "race": priority,
}
"""By the name that configurations use; `race` is the order of priority with every width."""
