from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.world import target_named
from unbroken.core.strategies import STRATEGIES, Draw
from unbroken.types import Target

ABC = [target_named(name) for name in "abc"]


def order(strategy: str, candidates: list[Target], *, ticket: int = 0, seed: int = 1) -> str:
    """The names, in the order in which they are to be tried."""
    return " ".join(t.name for t in STRATEGIES[strategy](candidates, Draw(ticket, Random(seed))))


@given(st.sampled_from(sorted(STRATEGIES)), st.integers(0, 8), st.integers(0, 99), st.integers())
def test_no_strategy_invents_drops_or_repeats(strategy: str, number: int, ticket: int, seed: int) -> None:
    """Whatever it is called, an order holds exactly the candidates."""
    candidates = [replace(target_named(str(n)), weight=float(n)) for n in range(number)]
    before = list(candidates)
    assert sorted(order(strategy, candidates, ticket=ticket, seed=seed).split()) == [str(n) for n in range(number)]
    assert candidates == before, "the list that was given is nobody else's"


def test_priority_is_the_order_of_the_configuration() -> None:
    """The first is the first; a race starts in the same order."""
    assert order("priority", ABC) == order("race", ABC) == "a b c"


def test_round_robin_takes_turns() -> None:
    """Each is first in turn, and the others follow in their order."""
    assert [order("round-robin", ABC, ticket=n) for n in range(4)] == ["a b c", "b c a", "c a b", "a b c"]


def test_random_gives_everybody_the_same_chance() -> None:
    """All six orders of three come up about equally often."""
    counts = Counter(order("random", ABC, seed=seed) for seed in range(3_000))
    assert len(counts) == 6
    assert all(400 < count < 600 for count in counts.values())


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6, 1e6])
def test_weights_are_proportions(unit: float) -> None:
    """Three to one is three to one, however large or small the numbers are."""
    pair = [replace(ABC[0], weight=1.0 * unit), replace(ABC[1], weight=3.0 * unit)]
    chance = Random(7)
    first = Counter(STRATEGIES["weighted"](pair, Draw(0, chance))[0].name for _ in range(4_000))
    assert 2_850 < first["b"] < 3_150


def test_a_weight_of_nothing_is_last() -> None:
    """A target of weight nought is only there in case the others fail."""
    pair = [replace(ABC[0], weight=0.0), ABC[1]]
    assert {order("weighted", pair, seed=seed) for seed in range(200)} == {"b a"}
