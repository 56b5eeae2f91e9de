"""The proof: what is played is cut as it says, and the page says what came of it, good or bad."""

from __future__ import annotations

from array import array
from dataclasses import replace
from functools import cache

from benchmarks.proof_page import PROMISES, Played, page

from unbroken.sim.baselines import half_informed
from unbroken.sim.contest import Contestant, by_strategy, compare, contestants
from unbroken.sim.results import Summary
from unbroken.sim.scenario import Scenario, scene_of
from unbroken.sim.suppliers import Weights
from unbroken.sim.traces import Trace

EVERYTHING = Weights(speed=1.0, cost=1.0)


@cache
def summaries(day: str = "") -> tuple[Summary, ...]:
    """What came of a short day for those who learn, and for those who know."""
    scene = scene_of(Scenario(days=(day,) if day else ()), None, trace=None, requests=1200, seed=3)
    players = contestants(by_strategy(scene.route, ["best", "learned"]), baselines=False)
    half = Contestant(f"half informed: {EVERYTHING}", half_informed, EVERYTHING, is_ours=False)
    return tuple(compare(scene, [*players, half]).summaries)


def text(*days: str) -> str:
    played = [
        Played(day or "calm", "a trace", tuned, 3, each)
        for day in days
        for tuned in (True, False)
        for each in summaries(day)
    ]
    return page(played, seeds=[3], picture="proof.png")


def test_the_page_says_what_was_promised_and_what_came() -> None:
    """A line for each promise, each who learns, and each kind of window; a table for each setting."""
    said = text("", "price-change")
    for promise in PROMISES:
        assert said.count(f"| {promise.what} |") == 4
    assert said.count("over `half informed`") == 2
    assert "## Calm" in said
    assert "## Price-change" in said
    assert "](proof.png)" in said
    widths = {line.count("|") for line in said.splitlines() if line.startswith("| best")}
    assert widths == {13}


def test_a_promise_that_was_not_kept_is_told() -> None:
    """The worst run stands there with its setting, and how many runs were good enough."""
    calm = next(each for each in summaries() if each.name == "best")
    bad = replace(calm, answered_of_those=1)
    played = [Played("calm", "a", True, 3, calm), Played("storm", "b", True, 4, bad)]
    others = [Played(each.setting, each.window, each.tuned, each.seed, half) for each in played for half in halves()]
    said = page([*played, *others], seeds=[3, 4], picture="p.png")
    line = next(line for line in said.splitlines() if "99.99" in line and "`best`, tuned" in line)
    assert "(storm, b)" in line
    assert line.endswith("| 2 | 50.042% | 0.083% (storm, b) | 1 |")


def halves() -> list[Summary]:
    return [each for each in summaries() if each.name.startswith(("half informed", "learned"))]


def test_who_does_not_know_lengths_is_no_better_than_who_does() -> None:
    """Not knowing how long an answer will be costs something where time and money count, and loses no request."""
    found = {each.name: each for each in summaries()}
    half, informed = found[f"half informed: {EVERYTHING}"], found[f"informed: {EVERYTHING}"]
    assert half.regret_informed > informed.regret_informed - 0.002
    assert (half.kept, half.extra_share) == (1.0, 0.0)


def test_a_part_of_a_trace_begins_at_nought() -> None:
    """With the requests from one until before another, and all that is known of them."""
    trace = Trace("t", array("d", [1.0, 2.5, 4.0, 9.0]), array("l", [1, 2, 3, 4]), array("l", [5, 6, 7, 8]),
                  callers=["a", "b", "c", "d"])  # fmt: skip
    part = trace.part(1, 3)
    assert list(part.arrivals_s) == [0.0, 1.5]
    assert (list(part.inputs), list(part.outputs), part.callers, part.routes) == ([2, 3], [6, 7], ["b", "c"], [])
    assert len(trace.part(4, 9)) == 0
