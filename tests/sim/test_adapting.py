from __future__ import annotations

import pytest

from unbroken.policy import Route
from unbroken.price import Price
from unbroken.sim.record import Record
from unbroken.sim.simulator import Script, poisson, simulate
from unbroken.sim.world import Law, Outage, Slow
from unbroken.types import Request, Target

LAWS = {
    "west": Law(first_token_s=0.40, tokens_per_s=75.0),
    "south": Law(first_token_s=0.45, tokens_per_s=60.0),
    "north": Law(first_token_s=0.30, tokens_per_s=90.0),
}
USD = {"west": 2.0, "south": 0.5, "north": 1.0}
PER_S = 20.0
LOOKING = ("best", "learned", "fastest")


def played(strategy: str, *outages: Outage, requests: int = 6_000, alone: str = "", cost: float = 0.0) -> Record:
    """Five minutes of 20 streams a second; the best target, north, is the last of the route."""
    targets = tuple(
        Target(name=name, provider=name, model="m", key_name="k", price=Price(input_usd=0.0, output_usd=USD[name]))
        for name in LAWS
        if alone in {"", name}
    )
    route = Route(
        name="r", targets=targets, strategy=strategy, requirements={"speed": 1.0, "reliability": 1.0, "cost": cost}
    )
    laws = {target.name: LAWS[target.name] for target in targets}
    wish = Request(model="r", stream=True, prompt_chars=400, max_tokens=400)
    script = Script(
        name="adapting", about="", route=route, laws=laws, outages=outages, arrivals=poisson(PER_S), requests=(wish,)
    )
    return simulate(script, requests, seed=3)


@pytest.mark.parametrize("strategy", LOOKING)
def test_in_steady_state_nobody_does_better(strategy: str) -> None:
    """Within five per cent of always asking the best one, with two per cent more requests at most."""
    oracle, record = played("priority", alone="north"), played(strategy)
    assert sum(record.first_content_s) < 1.05 * sum(oracle.first_content_s)
    assert sum(record.total_s) < 1.05 * sum(oracle.total_s)
    assert record.extra_load < 0.02
    assert record.whole == record.requests


@pytest.mark.parametrize("strategy", LOOKING)
def test_a_change_is_noticed_within_two_hundred_requests(strategy: str) -> None:
    """The best becomes three times slower, and after a hundred seconds itself again."""
    record = played(strategy, Outage("north", 100, 200, Slow(3.0)))
    assert record.share("north", (50, 100)) > 0.95
    assert record.share("north", (110, 200)) < 0.05
    assert record.share("north", (220, 300)) > 0.9
    assert record.extra_load < 0.02


def test_learned_weighs_money_too() -> None:
    """At half the price, a target may be half again as slow."""
    record = played("learned", cost=1.0)
    assert record.share("south", (20, 300)) > 0.8
