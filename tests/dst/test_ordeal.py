"""The simulation of replicas: promises hold over seeds, runs repeat, and each promise is seen to break."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from unbroken.facts import AttemptStarted, Fact, FlightEnded, TargetForced
from unbroken.policy import Budget
from unbroken.ports import Listener
from unbroken.sim.ordeal.callers import Asker, asked
from unbroken.sim.ordeal.house import House
from unbroken.sim.ordeal.play import play
from unbroken.sim.ordeal.promises import PROMISES
from unbroken.types import HttpRequest

SEEDS = range(16)
"""Some of those of `make dst`, which plays thousands."""


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold(seed: int) -> None:
    """Whatever befalls providers, callers, replicas, their clocks and their store, nothing that is promised breaks."""
    verdict = play(seed)
    assert not verdict.breaches, "\n".join([*verdict.last, *map(str, verdict.breaches)])


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """A seed that fails on one machine fails on every other one: nothing but the seed has a say."""
    ask = "from unbroken.sim.ordeal.play import play; print([play(seed).digest for seed in (3, 4, 5)])"
    told = {
        subprocess.run(
            [sys.executable, "-c", ask], env={"PYTHONHASHSEED": hashing}, capture_output=True, text=True, check=True
        ).stdout
        for hashing in ("1", "2")
    }  # fmt: skip
    assert told == {f"{[play(seed).digest for seed in (3, 4, 5)]}\n"}


def test_seeds_are_different_runs() -> None:
    """Thousands of seeds are thousands of runs."""
    assert len({play(seed).digest for seed in (6, 7, 8)}) == 3


def test_plans_have_something_of_everything() -> None:
    """Requests are answered whole in most runs, and the run does not end before they do."""
    verdicts = [play(seed) for seed in range(30, 36)]
    assert sum(verdict.whole for verdict in verdicts) > 50
    assert all(verdict.virtual_s > 8.0 for verdict in verdicts)


# ----------------------------------------------------------------------------- each promise breaks where it is broken


def two_ends(house: House) -> None:
    """A caller is told of the end twice."""
    take = house.take

    def spoilt(asker: Any) -> None:
        finish = asker.finish
        asker.finish = lambda end: (finish(end), finish(end))
        take(asker)

    house.take = spoilt  # type: ignore[method-assign]


def an_echo(house: House) -> None:
    """What is shown is shown twice."""
    take = house.take

    def spoilt(asker: Any) -> None:
        show = asker.show
        asker.show = lambda deltas: (show(deltas), show(deltas))
        take(asker)

    house.take = spoilt  # type: ignore[method-assign]


def a_swallowed_end(house: House) -> None:
    """Nobody is told that it is over."""
    take = house.take

    def spoilt(asker: Any) -> None:
        asker.finish = lambda end: None
        take(asker)

    house.take = spoilt  # type: ignore[method-assign]


def _noting(house: House, change: Callable[[Fact], list[Fact]]) -> None:
    publish = house.engine.bus.publish

    def spoilt(fact: Fact) -> None:
        for one in change(fact):
            publish(one)

    house.engine.bus.publish = spoilt  # type: ignore[method-assign]


def two_records(house: House) -> None:
    """The end of a request is noted twice."""
    _noting(house, lambda fact: [fact, fact] if isinstance(fact, FlightEnded) else [fact])


def no_end_of_attempts(house: House) -> None:
    """An attempt is started twice under one number."""
    _noting(house, lambda fact: [fact, fact] if isinstance(fact, AttemptStarted) else [fact])


def raises(house: House) -> None:
    """Something is raised in a callback."""
    house.loop.call_later(1.0, lambda: dict[str, int]()["nothing"])


def spends_without_a_lease(house: House) -> None:
    """No limit is shared: each has all of every one."""
    house.replica._claims = list  # type: ignore[method-assign]


def pays_what_it_has_not(house: House) -> None:
    """Nobody looks whether a budget is used up."""
    admission = house.engine.admission
    if admission is not None and admission.spending is not None:
        admission.spending.over = lambda route, asker, *, usd: []  # type: ignore[method-assign]


def obeys_no_operator(house: House) -> None:
    """A target that was just taken out is asked all the same."""

    def too_late(fact: Fact) -> list[Fact]:
        if isinstance(fact, AttemptStarted):
            house.engine.board.fold(TargetForced(fact.at, fact.target.model_scope, open=True))
        return [fact]

    _noting(house, too_late)


def hears_of_no_switch(house: House) -> None:
    """What operators do elsewhere is ignored."""
    house.replica._obey = lambda fact, switch: None  # type: ignore[method-assign]


def all_lead(house: House) -> None:
    """Each takes itself for the one that leads."""
    house.replica.leads = lambda: True  # type: ignore[method-assign]


def never_asks(house: House) -> None:
    """A purse that pays for everything."""
    for route in house.routes.values():
        house.engine.board.purse(replace(route, policy=replace(route.policy, budget=Budget(reserve=1e6))))


def forgets_to_count(house: House) -> None:
    """One attempt more than the route allows."""

    def spoilt(asker: Asker) -> None:
        route = house.routes[asker.habits.route]
        house._onlooker.began(house, asker, route=route)
        retries = replace(route.policy.retries, attempts_max=route.policy.retries.attempts_max + 1)
        route = replace(route, policy=replace(route.policy, retries=retries))
        asker.drive = house.engine.fly(asked(asker.habits), route, caller=asker, flight_id=str(asker.habits.number))

    house._fly = spoilt  # type: ignore[method-assign]


def hangs_up_on_nobody(house: House) -> None:
    """What was asked is never let go of."""
    send = house.wire.send

    def spoilt(request: HttpRequest, listener: Listener) -> Any:
        call = send(request, listener)
        call.cancel = call.release = lambda: None  # type: ignore[method-assign]
        return call

    house.wire.send = spoilt  # type: ignore[method-assign]


PLANTED: dict[str, tuple[Callable[[House], None], str]] = {
    "one end": (two_ends, "none"),
    "shown once": (an_echo, "none"),
    "no stuck flight": (a_swallowed_end, "none"),
    "one record": (two_records, "none"),
    "attempt ends": (no_end_of_attempts, "none"),
    "no defect": (raises, "none"),
    "limit": (spends_without_a_lease, "none"),
    "at once": (spends_without_a_lease, "none"),
    "late spending": (pays_what_it_has_not, "none"),
    "budget": (pays_what_it_has_not, "none"),
    "taken out": (obeys_no_operator, "operators"),
    "agreement": (hears_of_no_switch, "operators"),
    "counted": (all_lead, "none"),
    "purse": (never_asks, "none"),
    "attempts": (forgets_to_count, "none"),
    "nothing left": (hangs_up_on_nobody, "none"),
}


@pytest.mark.parametrize("promise", PLANTED)
def test_a_planted_bug_is_found(promise: str) -> None:
    """Who breaks a promise is told so by its name, within some seeds."""
    plant, only = PLANTED[promise]
    verdicts = (play(seed, only=only, plant=plant) for seed in range(60))
    found = next((one for one in verdicts if any(breach.promise == promise for breach in one.breaches)), None)
    assert found is not None, f"nothing in 60 seeds breaks {promise!r}"
    assert found.last and PROMISES[promise] in str(next(one for one in found.breaches if one.promise == promise))


def test_every_promise_was_seen_to_break() -> None:
    """No promise is written down that nothing here breaks."""
    assert PLANTED.keys() == PROMISES.keys()
