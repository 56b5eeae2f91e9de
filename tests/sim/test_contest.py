"""Strategies side by side: the same day for everybody, oracles that nobody beats, baselines that do as they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import inf, log
from random import Random

import pytest

from unbroken.core.strategies import STRATEGIES
from unbroken.failures import FailureKind
from unbroken.policy import Route
from unbroken.sim.baselines import BASELINES, ORACLES
from unbroken.sim.contest import Comparison, aim_of, by_strategy, compare, contestants, example_route
from unbroken.sim.core_player import core_player
from unbroken.sim.course import Making, Outcomes, Scene, play
from unbroken.sim.market import CONNECT_S, STATUS_S, Answer, Ask, Luck, Market
from unbroken.sim.outages import DAYS, Plan, planned
from unbroken.sim.results import AFTER, COLUMNS, Windows, row_of, summarised
from unbroken.sim.scenario import Scenario, Workload, scene_of, staged, supplier_for
from unbroken.sim.suppliers import CLASSES, Supplier, Weights, class_of
from unbroken.sim.traces import Lengths, Trace, made_up
from unbroken.sim.world import (
    Cut,
    Empty,
    ErrorEvent,
    Hang,
    Outage,
    Priced,
    RateLimit,
    Refused,
    Slow,
    Stall,
    Status,
    Trouble,
)
from unbroken.types import Target

REQUESTS = 1500
PLAIN = Supplier(
    first_token_s=1.0, read_tokens_per_s=1000.0, tokens_per_s=10.0, spread=0.0, pace_spread=0.0,
    failure_rate=0.0, cut_rate=0.0, input_usd=1.0, output_usd=2.0,
)  # fmt: skip
"""An answer to a request of 1000 tokens takes 2 s to its first word and a second for each ten."""
ASK = Ask(0, 1000, 20)
SHUFFLE, LATENCY, FALLBACK = BASELINES.values()
ROUTE, SUPPLIERS = example_route()


def market(*outages: Outage, **suppliers: Supplier) -> Market:
    """A market of these; of one plain supplier called `a` where none is given."""
    stands = suppliers or {"a": PLAIN}
    luck = {name: Luck.of(supplier, seed=name, requests=10) for name, supplier in stands.items()}
    return Market(stands, outages, luck=luck, weights=Weights())


def asked(trouble: Trouble | None = None, *, now: float = 5.0, supplier: Supplier = PLAIN) -> Answer:
    outages = [] if trouble is None else [Outage("a", 0.0, 10.0, trouble)]
    return market(*outages, a=supplier).ask(0, ASK, again=0, now=now)


def steady(requests: int, *, every_s: float = 1.0) -> Trace:
    """Requests of the same length, one after the other."""
    trace = Trace("steady")
    for number in range(requests):
        trace.add(number * every_s, 1000, output_tokens=20)
    return trace


def scene(trace: Trace, *outages: Outage, **suppliers: Supplier) -> Scene:
    """A scene with these suppliers, everybody streaming."""
    targets = tuple(Target(name=name, provider=name, model="m") for name in suppliers)
    route = Route(name="auto", targets=targets)
    return Scene(route=route, suppliers=suppliers, trace=trace, plan=Plan(outages), streams=100)


def run(of: Scene, make: Making, *, weights: Weights | None = None) -> Outcomes:
    return play(of, make, luck=of.luck(), weights=weights or Weights())


@cache
def bad_day(seed: int = 1) -> Comparison:
    """Everybody through three bad days."""
    found = scene_of(
        Scenario(days=("brown-out", "flapping", "all-down")), None, trace=None, requests=REQUESTS, seed=seed
    )
    return compare(found, contestants(by_strategy(found.route, ["priority", "best", "learned"])))


# ------------------------------------------------------------- the market


def test_a_good_answer_follows_the_laws() -> None:
    """The prompt is read, then it is written at the target's pace; each token has its price."""
    answer = asked()
    assert (answer.first_s, answer.end_s) == pytest.approx((CONNECT_S + 2.0, CONNECT_S + 4.0))
    assert (answer.tokens, answer.failure) == (20, None)
    stands = market()
    stands.ask(0, ASK, again=0, now=0.0)
    assert stands.leave(0, ASK, answer=answer, tokens=20) == pytest.approx((1000 * 1.0 + 20 * 2.0) / 1e6)


@pytest.mark.parametrize(
    ("trouble", "kind", "first", "end_s", "tokens"),
    [
        (Refused(), FailureKind.CONNECT, False, 0.01, 0),
        (Status(FailureKind.AUTH, 401), FailureKind.AUTH, False, CONNECT_S + STATUS_S, 0),
        (Empty(), FailureKind.EMPTY, False, CONNECT_S + 1.0, 0),
        (Hang(), None, False, inf, 0),
        (Cut(5), FailureKind.BROKEN, True, CONNECT_S + 2.5, 5),
        (ErrorEvent(5), FailureKind.SERVER, True, CONNECT_S + 2.5, 5),
        (Stall(5), None, True, inf, 5),
        (Slow(3.0), None, True, CONNECT_S + 12.0, 20),
        (Priced(3.0), None, True, CONNECT_S + 4.0, 20),
    ],
)
def test_troubles(trouble: Trouble, kind: FailureKind | None, first: bool, end_s: float, tokens: int) -> None:
    """Each trouble does what it says, at its time."""
    answer = asked(trouble)
    assert (answer.failure.kind if answer.failure else None) is kind
    assert (answer.first_s < inf, answer.tokens) == (first, tokens)
    assert answer.end_s == pytest.approx(end_s)
    assert asked(trouble, now=10.0) == asked()


def test_a_price_changes_and_a_failure_costs_nothing() -> None:
    """A dearer answer costs so many times as much; who was turned away pays nothing, who was cut off what was said."""
    stands = market(Outage("a", 0.0, 10.0, Priced(3.0)))
    answer = stands.ask(0, ASK, again=0, now=1.0)
    assert stands.leave(0, ASK, answer=answer, tokens=20) == pytest.approx(3 * 1040e-6)
    refused = asked(Refused())
    assert market().leave(0, ASK, answer=refused, tokens=0) == 0.0
    assert market().leave(0, ASK, answer=asked(Cut(5)), tokens=5) == pytest.approx(1010e-6)


def test_who_goes_down_breaks_what_is_under_way() -> None:
    """An answer that would last into an outage breaks off at its beginning, with the tokens until then."""
    stands = market(Outage("a", 3.0, 9.0, Refused()))
    broken = stands.ask(0, ASK, again=0, now=0.0)
    assert (broken.end_s, broken.tokens) == (3.0, 9)
    assert broken.failure is not None
    assert broken.failure.kind is FailureKind.BROKEN
    silent = stands.ask(0, ASK, again=0, now=2.0)
    assert (silent.first_s, silent.end_s, silent.tokens) == (inf, 1.0, 0)


def test_limits_are_told_and_kept() -> None:
    """Beyond its limits a provider says 429 and when to come back; whoever only looks uses none of it up."""
    for supplier, outages in (
        (replace(PLAIN, requests_per_min=6.0), []),
        (replace(PLAIN, tokens_per_min=6 * 1020.0), []),
        (PLAIN, [Outage("a", 0.0, 99.0, RateLimit(0.1, 1.0))]),
    ):
        stands = market(*outages, a=supplier)
        for _ in range(3):
            assert stands.survey(ASK, now=0.0, stream=True).best == 0
        assert stands.ask(0, ASK, again=0, now=0.0).failure is None
        away = stands.ask(0, ASK, again=0, now=1.0).failure
        assert away is not None
        assert (away.kind, away.retry_after_s) == (FailureKind.RATE_LIMIT, 9.0)
        assert stands.ask(0, ASK, again=0, now=10.1).failure is None


def test_load_slows_down() -> None:
    """More answers at once than a target has capacity for take longer in proportion; beyond the most it says 503."""
    stands = market(a=replace(PLAIN, capacity=1.0, concurrency_max=4))
    ends_s = [stands.ask(0, ASK, again=0, now=0.0).end_s - CONNECT_S for _ in range(4)]
    assert ends_s == pytest.approx([4.0, 4.0, 8.0, 12.0])
    full = stands.ask(0, ASK, again=0, now=0.0)
    assert full.failure is not None
    assert full.failure.kind is FailureKind.OVERLOADED
    for _ in range(5):
        stands.leave(0, ASK, answer=full, tokens=0)
    assert stands.ask(0, ASK, again=0, now=0.0).end_s == pytest.approx(CONNECT_S + 4.0)


def test_shares_and_rates_are_met() -> None:
    """A trouble for a share of the requests befalls that share, another try has other luck, and rates are met."""
    stands = Market(
        {"a": replace(PLAIN, failure_rate=0.1, cut_rate=0.1)},
        [Outage("a", 0.0, 10.0, Refused(), 0.3)],
        luck={"a": Luck.of(PLAIN, seed="a", requests=4000)},
        weights=Weights(),
    )

    def kinds(again: int, now: float) -> list[FailureKind | None]:
        found = [stands.ask(0, Ask(number, 10, 10), again=again, now=now).failure for number in range(4000)]
        return [None if failure is None else failure.kind for failure in found]

    first = kinds(0, 5.0)
    assert 0.27 < first.count(FailureKind.CONNECT) / 4000 < 0.33
    assert first != kinds(1, 5.0)
    later = kinds(0, 20.0)
    assert 0.08 < later.count(FailureKind.SERVER) / 4000 < 0.12
    assert 0.08 < later.count(FailureKind.BROKEN) / 4000 < 0.12


def test_a_survey_names_the_best() -> None:
    """Who answers best by the weights is named, who fails is not, and who is only lucky is told apart."""
    quick, cheap = replace(PLAIN, first_token_s=0.1), replace(PLAIN, input_usd=0.1, output_usd=0.1)
    luck = {name: Luck.of(PLAIN, seed=name, requests=10) for name in ("quick", "cheap")}

    def named(weights: Weights, *outages: Outage) -> str | None:
        stands = Market({"quick": quick, "cheap": cheap}, outages, luck=luck, weights=weights)
        survey = stands.survey(ASK, now=0.0, stream=True)
        assert survey.best == survey.informed
        return None if survey.best < 0 else stands.names[survey.best]

    assert named(Weights()) == "quick"
    assert named(Weights(speed=1.0, cost=1.0)) == "cheap"
    assert named(Weights(), Outage("quick", 0.0, 9.0, Hang())) == "cheap"
    assert named(Weights(), *(Outage(name, 0.0, 9.0, Refused()) for name in luck)) is None
    unlucky = {**luck, "quick": replace_luck(luck["quick"], 9.0)}
    stands = Market({"quick": quick, "cheap": cheap}, [], luck=unlucky, weights=Weights())
    survey = stands.survey(ASK, now=0.0, stream=True)
    assert (stands.names[survey.best], stands.names[survey.informed]) == ("cheap", "quick")
    assert survey.informed_burden > survey.best_burden


def replace_luck(luck: Luck, times: float) -> Luck:
    return Luck([times] * len(luck.firsts), luck.paces, luck.coins)


def test_outages_name_known_targets() -> None:
    """A slip in a scenario is an error, not a day without trouble."""
    with pytest.raises(ValueError, match="nobody"):
        market(Outage("nobody", 0.0, 1.0, Hang()))


# ------------------------------------------------------------- bad days


@pytest.mark.parametrize("name", DAYS)
def test_days_fit_their_place(name: str) -> None:
    """Every kind of day begins and ends within its part of the run, and says when things changed."""
    plan = planned([name, f"{name}@500"], {"a": "eu", "b": "us", "c": "eu"}, span_s=1000.0, per_s=30.0)
    for at_s, end_s in ((125.0, 375.0), (500.0, 750.0)):
        mine = [outage for outage in plan.outages if at_s <= outage.start_s < end_s]
        assert min(outage.start_s for outage in mine) == at_s
        assert max(outage.end_s for outage in mine) <= end_s
    assert len(plan.changes) == 4
    assert len(plan.shades) == 2


def test_days_befall_whom_they_should() -> None:
    """The first target unless another is named; a region all of its own; and who becomes faster is somebody else."""
    regions = {"a": "eu", "b": "us", "c": "eu", "d": ""}

    def hit(name: str) -> set[str]:
        return {outage.target for outage in planned([name], regions, span_s=100.0, per_s=1.0).outages}

    assert hit("brown-out") == {"a"}
    assert hit("brown-out:b") == {"b"}
    assert hit("regional") == {"a", "c"}
    assert hit("regional:d") == {"d"}
    assert hit("faster") == {"d"}
    assert hit("all-down") == set(regions)
    assert len(planned(["all"], regions, span_s=1000.0, per_s=1.0).shades) == len(DAYS)


@pytest.mark.parametrize("name", ["rain", "brown-out:z", "brown-out@soon", ""])
def test_unknown_days(name: str) -> None:
    """A name that is not known is refused with those that are."""
    with pytest.raises(ValueError, match=r"there (is|are)"):
        planned([name], {"a": ""}, span_s=100.0, per_s=1.0)


# ------------------------------------------------------------- everybody through the same day


def test_the_same_seed_is_the_same_day() -> None:
    """The same seed gives the same digest, another seed another."""
    again = compare(bad_day().scene, contestants(by_strategy(ROUTE, ["priority", "best", "learned"])))
    assert again.digest == bad_day().digest != bad_day(2).digest


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_played(strategy: str) -> None:
    """All that the core knows can be compared, and while nothing is wrong hardly a request is lost."""
    found = scene_of(Scenario(), None, trace=None, requests=300, seed=1)
    (summary,) = compare(
        found, contestants(by_strategy(found.route, [strategy]), baselines=False, oracles=False)
    ).summaries
    assert summary.requests == 300
    assert summary.success >= 0.99
    assert sum(summary.shares.values()) == pytest.approx(1.0)
    assert list(row_of(summary)) == list(COLUMNS)


def test_nobody_beats_an_oracle() -> None:
    """By its own measure an oracle has no regret, and everybody else has some; it answers all that can be answered."""
    for summary in bad_day().summaries:
        knows = summary.name.startswith("oracle")
        assert summary.regret == (pytest.approx(0.0, abs=1e-9) if knows else pytest.approx(summary.regret))
        assert knows or summary.regret > 0.0
        if knows or summary.name.startswith("informed"):
            assert (summary.kept, summary.extra_share) == (1.0, 0.0)
    oracle, informed = bad_day().oracle("speed", kind="oracle"), bad_day().oracle("speed")
    assert oracle is not None
    assert informed is not None
    assert oracle.steady.total_s <= informed.steady.total_s
    assert bad_day().oracle("fame") is None


@pytest.mark.parametrize("strategy", ["best", "learned"])
@pytest.mark.parametrize("day", ["", "price-change:south", "faster", "brown-out:south", "key-revoked:south"])
def test_who_learns_is_as_good_as_who_knows(strategy: str, day: str) -> None:
    """Away from changes within five per cent of somebody who knows all but luck, and hardly anybody is asked twice."""
    workload = Workload(requests_per_s=6.0)
    found = scene_of(Scenario(days=(day,) if day else (), workload=workload), None, trace=None, requests=6000, seed=2)
    (summary,) = compare(
        found, contestants(by_strategy(found.route, [strategy]), baselines=False, oracles=False)
    ).summaries
    assert summary.steady.regret < 0.05
    assert summary.after[1] < 0.05
    assert summary.extra_share < 0.02
    assert summary.kept >= 0.9999


def test_prompts_of_all_lengths_are_no_riddle() -> None:
    """Prompts of a hundred tokens and of fifty thousand say the same of a provider."""
    workload = Workload(lengths=Lengths(input_tokens=8_000.0, input_spread=1.8))
    found = scene_of(Scenario(workload=workload), None, trace=None, requests=3000, seed=1)
    (summary,) = compare(
        found, contestants(by_strategy(found.route, ["best"]), baselines=False, oracles=False)
    ).summaries
    assert summary.steady.regret < 0.05


def test_ours_beat_the_baselines() -> None:
    """Through an outage the core keeps what simple routers lose."""
    kept = {summary.name: summary.kept for summary in bad_day().summaries}
    simple = max(kept[name] for name in BASELINES)
    assert min(kept[name] for name in ("priority", "best")) > simple


def test_what_fails_when_all_break_off_is_nobodys_fault() -> None:
    """A request that was broken off when everybody went down could not be answered by anybody."""
    down = [Outage(name, 3.0, 30.0, Refused()) for name in ("a", "b")]
    outcomes = run(
        of := scene(steady(1), *down, a=PLAIN, b=replace(PLAIN, tokens_per_s=100.0)), core_player(of_route(of))
    )
    assert not outcomes.done[0]
    assert outcomes.best[0] < inf
    assert outcomes.hopeless[0]
    summary = summarised("core", outcomes, scene=of, weights=Weights())
    assert (summary.extra_able, summary.extra_fair) == (outcomes.attempts[0] - 1, 0.0)
    assert summary.extra_able > 0.0


def of_route(of: Scene) -> Route:
    return of.route


def test_windows_after_changes() -> None:
    """After each change come two windows of requests, cut short by the next change; the rest is steady."""
    of = scene(steady(1000), Outage("a", 500.0, 650.0, Slow(2.0)), a=PLAIN)
    of = replace(of, plan=Plan.of(of.plan.outages, span_s=999.0))
    windows = Windows.of(of)
    assert windows.first == (range(500, 650), range(650, 850))
    assert windows.second == (range(650, 650), range(850, 1000))
    assert windows.steady == (range(AFTER, 500), range(650, 650), range(850, 1000))


# ------------------------------------------------------------- baselines


def test_shuffle_cools_down() -> None:
    """Whoever failed is left alone for five seconds; after three tries, or with nobody left, the request is lost."""
    down = Outage("a", 0.0, 100.0, Refused())
    outcomes = run(scene(steady(40), down, a=PLAIN, b=PLAIN), SHUFFLE)
    assert sum(outcomes.done) == 40
    asked_in_vain = [number for number, tries in enumerate(outcomes.attempts) if tries == 2]
    assert asked_in_vain
    assert all(later - earlier >= 5 for earlier, later in pairwise(asked_in_vain))
    both = run(scene(steady(2), down, Outage("b", 0.0, 100.0, Refused()), a=PLAIN, b=PLAIN), SHUFFLE)
    assert list(both.attempts) == [2, 0]
    assert both.kinds == {"connect": 1, "no_target": 1}


def test_lowest_latency_goes_where_it_was_fast() -> None:
    """Whoever was faster than the buffer allows gets everything, once all were asked."""
    slow, fast = replace(PLAIN, first_token_s=9.0), PLAIN
    outcomes = run(scene(steady(100, every_s=30.0), a=slow, b=fast), LATENCY)
    assert 90 <= outcomes.targets.count(1) < 100
    near = run(scene(steady(100, every_s=30.0), a=replace(PLAIN, first_token_s=1.2), b=fast), LATENCY)
    assert 25 < near.targets.count(1) < 75
    hung = run(scene(steady(20, every_s=90.0), Outage("a", 0.0, 1e6, Hang()), a=PLAIN, b=PLAIN), LATENCY)
    assert sum(tries - 1 for tries in hung.attempts) == 1


def test_fallback_asks_in_order_each_time() -> None:
    """Without a breaker each request pays for the first target again: a refusal, or a minute of silence."""
    refused = run(scene(steady(20), Outage("a", 0.0, 100.0, Refused()), a=PLAIN, b=PLAIN), FALLBACK)
    assert set(refused.attempts) == {2}
    assert set(refused.targets) == {1}
    hung = run(scene(steady(5), Outage("a", 0.0, 100.0, Hang()), a=PLAIN, b=PLAIN), FALLBACK)
    assert min(hung.total_s) > 60.0


def test_baselines_lose_streams_that_break() -> None:
    """A stream that broke or stalled after its first word is lost; a plain answer is asked for again."""
    for trouble, total_s in ((Cut(5), 2.5), (Stall(5), 62.0)):
        of = scene(steady(1), Outage("a", 0.0, 100.0, trouble), a=PLAIN, b=PLAIN)
        streamed = run(of, FALLBACK)
        assert (sum(streamed.done), list(streamed.attempts)) == (0, [1])
        assert streamed.total_s[0] == pytest.approx(CONNECT_S + total_s)
        assert streamed.cost_usd[0] > 0.0
        assert sum(run(replace(of, streams=0), FALLBACK).done) == 1


def test_the_core_goes_on_with_streams_that_break() -> None:
    """What baselines lose the core carries on: at a target that takes a prefix, and at one that has to be asked."""
    for prefix in ("assistant", "none"):
        of = scene(steady(5), Outage("a", 0.0, 100.0, Cut(15)), a=PLAIN, b=PLAIN)
        targets = tuple(replace(target, prefix=prefix) for target in of.route.targets)
        outcomes = run(of, core_player(replace(of.route, targets=targets)))
        assert sum(outcomes.done) == 5
        assert sum(outcomes.rescues) >= 1


def test_long_answers_are_told_in_pieces() -> None:
    """An answer that takes minutes is not taken for a silent one, and one of a hundred thousand tokens is played."""
    trace = Trace("long")
    trace.add(0.0, 100, output_tokens=3000)
    trace.add(1.0, 100, output_tokens=100_000)
    outcomes = run(of := scene(trace, a=replace(PLAIN, tokens_per_s=50.0)), core_player(of.route))
    assert list(outcomes.attempts) == [1, 1]
    assert outcomes.done[0]
    assert outcomes.total_s[0] == pytest.approx(CONNECT_S + 1.1 + 60.0)


def test_a_trace_says_which_route_is_meant() -> None:
    """Requests of a trace with routes go by their own, those of unknown ones by the usual."""
    trace = steady(3)
    trace.routes = ["one", "two", "three"]
    of = scene(trace, a=PLAIN, b=PLAIN)
    one, two = (
        Route(name=name, targets=(target,)) for name, target in zip(("one", "two"), of.route.targets, strict=True)
    )
    outcomes = run(of, core_player(one, {"one": one, "two": two}))
    assert list(outcomes.targets) == [0, 1, 0]


# ------------------------------------------------------------- weights and scenes


def test_burdens_are_logarithms() -> None:
    """Twice the time is as bad as twice the money where both weigh the same, and words say what counts."""
    both = Weights(speed=1.0, cost=1.0)
    twice_s = both.burden(2.0, 2.0, cost_usd=1.0) - both.burden(1.0, 1.0, cost_usd=1.0)
    twice_usd = both.burden(1.0, 1.0, cost_usd=2.0) - both.burden(1.0, 1.0, cost_usd=1.0)
    assert twice_s == pytest.approx(log(2.0), abs=1e-3) == pytest.approx(twice_usd, abs=1e-3)
    assert [str(weights) for weights in (Weights(), both, Weights(speed=0.5, cost=1.0))] == [
        "speed", "speed and cost", "0.5 speed and 1 cost",
    ]  # fmt: skip
    assert aim_of(replace(ROUTE, strategy="cheapest")) == Weights(speed=0.0, cost=1.0)
    assert aim_of(replace(ROUTE, requirements={"cost": 1.0})) == Weights(speed=0.0, cost=1.0)


def test_a_configured_target_has_the_laws_of_its_class() -> None:
    """A provider of the catalogue answers as its class does, at its own price; what is said of it comes first."""
    target = Target(name="groq/m", provider="groq", model="m")
    assert supplier_for(target, {}) == CLASSES["fast"]
    said: dict[str, dict[str, str | float]] = {"groq": {"kind": "host", "spread": 0.1}, "groq/m": {"spread": 0.2}}
    assert supplier_for(target, said) == replace(CLASSES["host"], spread=0.2)
    assert (class_of("nobody"), class_of("x", is_local=True)) == ("host", "local")
    route, suppliers = staged(Scenario(), Route(name="mine", targets=(target,)))
    assert route.targets[0].price.output_usd == suppliers["groq/m"].output_usd


def test_a_scenario_brings_its_own_providers() -> None:
    """Without a configuration the examples are played, changed by what is said, or else those that are named."""
    changed = staged(Scenario(providers={"north": {"spread": 0.1}}), None)[1]
    assert (len(changed), changed["north"].spread) == (4, 0.1)
    named = staged(Scenario(providers={"x": {"kind": "local"}, "y": {}}), None)[1]
    assert named == {"x": CLASSES["local"], "y": CLASSES["host"]}


def test_unknown_names_are_refused() -> None:
    """A strategy or a target that does not exist is an error that names those that do."""
    with pytest.raises(ValueError, match="priority"):
        by_strategy(ROUTE, ["clever"])
    with pytest.raises(ValueError, match="north, south"):
        scene_of(Scenario(outages=(Outage("nort", 1.0, 2.0, Hang()),)), None, trace=None, requests=10, seed=1)


def test_oracles_and_baselines_are_optional() -> None:
    """Only the core where only it is asked for."""
    alone: Sequence[str] = [c.name for c in contestants({"mine": ROUTE}, baselines=False, oracles=False)]
    assert alone == ["mine"]
    assert len(contestants({"mine": ROUTE})) == 1 + len(ORACLES) + len(BASELINES)
    assert len(made_up(3, per_s=1.0, chance=Random(1))) == 3
    assert set(SUPPLIERS) == {"north", "south", "west", "east"}
