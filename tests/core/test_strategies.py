from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.story import said, started
from core.world import START, target_named
from unbroken.core.board import Board
from unbroken.core.strategies import STRATEGIES, Choice, Draw, View, within
from unbroken.facts import AttemptFailed, Decided
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Hedging, Policy, Route
from unbroken.price import Price
from unbroken.types import Request, Target, Usage

ABC = [target_named(name) for name in "abc"]
STREAM = Request(model="auto", stream=True, prompt_chars=400)
LOOKING = ("best", "fastest", "learned")


def view(board: Board | None = None, *, ticket: int = 0, seed: int = 1, now: float = START, **more: Any) -> View:
    """What a strategy sees; `more` are fields of the route."""
    resting = more.pop("resting", ())
    route = Route(name="r", targets=tuple(ABC), **more)
    return View(STREAM, route, board or Board(Random(0)), now, Draw(ticket, Random(seed)), resting)


def chosen(strategy: str, candidates: Sequence[Target] = ABC, seen: View | None = None) -> Choice:
    return STRATEGIES[strategy](candidates, seen or view())


def order(strategy: str, candidates: Sequence[Target] = ABC, seen: View | None = None) -> str:
    """The names, in the order in which they are to be tried."""
    return " ".join(target.name for target in chosen(strategy, candidates, seen).order)


def experienced(first_s: Mapping[str, float], *, times: int = 30, route: str = "r") -> Board:
    """A board that has seen so many streams of each target, with these times to the first content."""
    board = Board(Random(0))
    for target in (target for target in ABC if target.name in first_s):
        board.experience.own(route, target)
        board.experience.measure(target)
        for number in range(times):
            said(board, target, first_s[target.name], flight=f"{target.name}{number}", route=route)
    return board


def led_by(board: Board, target: Target) -> Board:
    """A route whose requests all went to this one of late."""
    scout = board.experience.scout("r")
    for _ in range(30):
        scout.decided(Decided(START, "f", "r", "best", (target,)))
    return board


def without_savings(board: Board) -> Board:
    """A route that has nothing left for looking at others."""
    board.experience.scout("r").purse = 0.0
    return board


# ------------------------------------------------------------------ what all of them promise

seconds = st.floats(0.01, 60.0)


@given(
    st.sampled_from(sorted(STRATEGIES)), st.integers(0, 3), st.integers(0, 99), st.integers(),
    st.lists(st.tuples(st.integers(0, 2), seconds, st.booleans()), max_size=30),
    st.sampled_from([{}, {"cost": 1.0}, {"speed": 0.5, "reliability": 1.0}]),
)  # fmt: skip
def test_no_strategy_invents_drops_or_repeats(
    strategy: str, number: int, ticket: int, seed: int, past: list[tuple[int, float, bool]], weights: Any
) -> None:
    """Whatever happened before, an order holds exactly the candidates, and the same seed gives the same one."""
    board = Board(Random(0))
    for target in ABC:
        board.experience.measure(target)
    for at, (which, first_s, well) in enumerate(past):
        if well:
            said(board, ABC[which], first_s, flight=str(at))
        else:
            started(board, ABC[which], flight=str(at))
            failure = Failure(kind=FailureKind.SERVER, message="")
            board.fold(AttemptFailed(START, str(at), 1, ABC[which], failure, first_s))
    candidates = [replace(target, weight=float(at), regions=("eu",) * at) for at, target in enumerate(ABC[:number])]
    before = list(candidates)
    choices = [
        chosen(strategy, candidates, view(board, ticket=ticket, seed=seed, requirements=weights, near=("eu",)))
        for _ in range(2)
    ]
    names = [[target.name for target in choice.order] for choice in choices]
    assert sorted(names[0]) == [target.name for target in before]
    assert names[0] == names[1]
    assert candidates == before, "the list that was given is nobody else's"
    for choice in choices:
        assert 1 <= choice.width <= max(1, number)
        assert choice.look is None or choice.look in candidates
        assert choice.hedge_s is None or choice.hedge_s > 0.0


@given(st.sampled_from(["best", "fastest", "learned", "geo"]), seconds, st.floats(1.2, 20.0))
def test_whoever_is_faster_is_asked_first(strategy: str, first_s: float, times: float) -> None:
    """In all else equal, more speed never costs a place."""
    board = without_savings(experienced({"a": first_s * times, "b": first_s, "c": first_s * times}))
    assert order(strategy, ABC, view(board)).startswith("b")


@given(st.sampled_from(["cheapest", "learned"]), st.floats(0.01, 100.0), st.floats(1.01, 20.0))
def test_whoever_is_cheaper_is_asked_first(strategy: str, usd: float, times: float) -> None:
    """In all else equal, a higher price never wins a place."""
    prices = [Price(output_usd=usd * times), Price(output_usd=usd), Price(output_usd=usd * times)]
    candidates = [replace(target, price=price) for target, price in zip(ABC, prices, strict=True)]
    assert order(strategy, candidates, view(without_savings(Board(Random(0))))).startswith("b")


@pytest.mark.parametrize("strategy", ["best", "fastest", "learned", "cheapest", "priority", "geo", "hedge", "race"])
def test_where_nothing_is_known_the_order_is_that_of_the_configuration(strategy: str) -> None:
    """A strategy that knows nothing is `priority` (`best` draws among equals)."""
    found = order(strategy, ABC, view(without_savings(Board(Random(0)))))
    assert sorted(found) == sorted("a b c")
    assert strategy == "best" or found == "a b c"


# ------------------------------------------------------------------------- one by one


def test_priority_is_the_order_of_the_configuration() -> None:
    """The first is the first; a race starts in the same order."""
    assert order("priority") == order("race") == "a b c"


def test_round_robin_takes_turns() -> None:
    """Each is first in turn, and the others follow in their order."""
    orders = [order("round-robin", ABC, view(ticket=n)) for n in range(4)]
    assert orders == ["a b c", "b c a", "c a b", "a b c"]


def test_random_gives_everybody_the_same_chance() -> None:
    """All six orders of three come up about equally often."""
    counts = Counter(order("random", ABC, view(seed=seed)) for seed in range(3_000))
    assert len(counts) == 6
    assert all(400 < count < 600 for count in counts.values())


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6, 1e6])
def test_weights_are_proportions(unit: float) -> None:
    """Three to one is three to one, however large or small the numbers are."""
    pair = [replace(ABC[0], weight=1.0 * unit), replace(ABC[1], weight=3.0 * unit)]
    seen = view(seed=7)
    first = Counter(chosen("weighted", pair, seen).order[0].name for _ in range(4_000))
    assert 2_850 < first["b"] < 3_150


def test_a_weight_of_nothing_is_last() -> None:
    """A target of weight nought is only there in case the others fail."""
    pair = [replace(ABC[0], weight=0.0), ABC[1]]
    assert {order("weighted", pair, view(seed=seed)) for seed in range(200)} == {"b a"}


def test_requirements_multiply_weights() -> None:
    """Of two with the same weight the one that is twice as fast gets two thirds of the requests."""
    board = experienced({"a": 1.0, "b": 2.0})
    seen = view(board, seed=7, requirements={"speed": 1.0})
    first = Counter(chosen("weighted", ABC[:2], seen).order[0].name for _ in range(4_000))
    assert 2_550 < first["a"] < 2_780


def test_requirements_decide() -> None:
    """Who wants it quick gets it quick, who wants it cheap gets it cheap."""
    board = without_savings(experienced({"a": 1.0, "b": 2.0}))
    pair = [replace(ABC[0], price=Price(output_usd=9.0)), replace(ABC[1], price=Price(output_usd=1.0))]
    for strategy in ("best", "learned"):
        assert order(strategy, pair, view(board, requirements={"speed": 1.0})) == "a b"
        assert order(strategy, pair, view(board, requirements={"cost": 1.0})) == "b a"


def test_a_race_starts_everybody() -> None:
    """All are asked at once, and of nobody at least one."""
    assert [chosen("race", ABC[:n]).width for n in (0, 1, 3)] == [1, 1, 3]


def test_cheapest_asks_those_without_a_price_last() -> None:
    """What is free is known to be free, and what is unknown is not."""
    prices = [Price(), Price(output_usd=5.0), Price(input_usd=0.0, output_usd=0.0)]
    candidates = [replace(target, price=price) for target, price in zip(ABC, prices, strict=True)]
    assert order("cheapest", candidates) == "c b a"


def test_the_least_busy_for_its_weight_is_asked() -> None:
    """Twice the weight may have twice as much to do; equals take turns."""
    board = Board(Random(0))
    assert [order("least-busy", ABC, view(board, ticket=n))[0] for n in range(4)] == ["a", "b", "c", "a"]
    for number in range(4):
        started(board, ABC[0], flight=f"x{number}")
    for number in range(3):
        started(board, ABC[1], flight=f"y{number}")
    assert order("least-busy", ABC, view(board)) == "c b a"
    heavy = [replace(ABC[0], weight=2.0), *ABC[1:]]
    assert order("least-busy", heavy, view(board)) == "c a b"


def test_hedge_gives_company_after_the_95th_percentile() -> None:
    """Once twenty answers were seen, and unless the route says itself when to hedge."""
    assert chosen("hedge", ABC, view(experienced({"a": 0.5}, times=19))).hedge_s is None
    board = experienced({"a": 0.5}, times=20)
    assert chosen("hedge", ABC, view(board)).hedge_s == pytest.approx(0.5, rel=0.16)
    assert chosen("hedge", ABC[:1], view(board)).hedge_s is None
    policy = Policy(hedging=Hedging(after_s=1.0))
    assert chosen("hedge", ABC, view(board, policy=policy)).hedge_s is None
    patient = Policy(hedging=Hedging(samples_min=21))
    assert chosen("hedge", ABC, view(board, policy=patient)).hedge_s is None


def test_geo_prefers_the_nearest_and_there_the_fastest() -> None:
    """A slow one nearby comes before a fast one far away; unknown places are the farthest."""
    places: list[tuple[str, ...]] = [("us-east-1",), ("eu-west-1",), ("eu-north-1",)]
    candidates = [replace(target, regions=place) for target, place in zip(ABC, places, strict=True)]
    board = experienced({"a": 0.1, "b": 2.0, "c": 1.0})
    assert order("geo", candidates, view(board, near=("eu", "us"))) == "c b a"
    assert order("geo", candidates, view(board, near=("eu-west-1", "eu"))) == "b c a"
    assert order("geo", candidates, view(board)) == "a c b"


@pytest.mark.parametrize(
    ("regions", "place", "is_within"),
    [(("eu",), "eu", True), (("us", "eu-west-1"), "eu", True), (("europe",), "eu", False), ((), "eu", False)],
)
def test_a_region_holds_what_begins_with_its_name(regions: tuple[str, ...], place: str, is_within: bool) -> None:
    """`eu` holds `eu-west-1` and not `europe`."""
    assert within(regions, place) is is_within


@pytest.mark.parametrize("unit_s", [0.1, 1.0, 10.0])
def test_best_takes_the_less_busy_of_equals(unit_s: float) -> None:
    """Who is at most a twentieth slower is as good, and whoever is slower still is not."""
    board = without_savings(experienced({"a": unit_s, "b": 1.03 * unit_s, "c": 1.2 * unit_s}))
    firsts = Counter(order("best", ABC, view(board, seed=seed))[0] for seed in range(100))
    assert firsts["a"] == 100 or firsts["b"] == 100 or (firsts["a"] > 20 and firsts["b"] > 20)
    assert not firsts["c"]
    started(board, ABC[0], flight="busy")
    assert {order("best", ABC, view(board, seed=seed))[0] for seed in range(50)} == {"b"}


@pytest.mark.parametrize("strategy", LOOKING)
def test_one_lucky_answer_is_no_reason_to_leave(strategy: str) -> None:
    """Whoever leads has shown it often; a rival who was a tenth faster once has to be so again."""
    board = without_savings(experienced({"a": 1.0, "b": 1.0}, times=0))
    usage = Usage(output_tokens=100)
    for number in range(50):
        said(board, ABC[0], 1.0, rest_s=1.0, usage=usage, flight=f"a{number}")
    said(board, ABC[1], 0.9, rest_s=0.9, usage=usage, flight="b")
    assert order(strategy, ABC[:2], view(board)) == "a b"
    for number in range(50):
        said(board, ABC[1], 0.9, rest_s=0.9, usage=usage, flight=f"b{number}")
    assert order(strategy, ABC[:2], view(board)) == "b a"


@pytest.mark.parametrize("strategy", LOOKING)
def test_a_look_is_paid_for_and_the_best_follows_soon(strategy: str) -> None:
    """Who is looked at stands beside the order; half again the best one's time later the best is asked too."""
    board = led_by(experienced({"a": 2.0, "b": 0.5, "c": 2.0}), ABC[1])
    choice = chosen(strategy, ABC, view(board))
    assert choice.look is ABC[0]
    assert choice.order[0].name == "b"
    assert choice.hedge_s == pytest.approx(0.75, rel=0.05)
    assert choice.price == 1.5, "it is likely to be late, and then the best one is asked as well"
    assert chosen(strategy, ABC, view(without_savings(board))) == Choice(choice.order)


@pytest.mark.parametrize(
    ("times", "requirements", "price"),
    [
        (1.0, {"speed": 1.0}, 1.0),
        (1.4, {"speed": 1.0}, 1.0),  # likely to be in time, and not much worse
        (1.4, {"speed": 4.0}, 2.0 * 4.0 * log(1.4)),
        (1.4, {"reliability": 1.0}, 1.0),  # nobody minds
        (9.0, {"speed": 1.0}, 2.0 * log(2.5)),  # the best one will be asked as well, after half again its time
        (9.0, {"speed": 1.0, "cost": 1.0}, 2.0 * (log(2.5) + log(3.0 + 1.0))),  # ... and both are paid
        (1.4, {"speed": 1.0, "cost": 1.0}, 2.0 * (log(1.4) + log(3.0))),
    ],
)
def test_a_look_costs_what_it_is_likely_to_lose(times: float, requirements: dict[str, float], price: float) -> None:
    """One request for each half by which its answer is likely to be worse, as a logarithm; one at least."""
    board = led_by(Board(Random(0)), ABC[0])
    for target, first_s in ((ABC[0], 1.0), (ABC[1], times)):
        for at in range(30):  # reading takes nothing, and nothing is written after the first word
            board.experience.own("r", target).heard(first_s, 0.0, now=START + at)
            board.experience.own("r", target).paces.add(1e-6, START + at)
    dear = 3.0 if "cost" in requirements else 1.0
    pair = [replace(ABC[0], price=Price(output_usd=1.0)), replace(ABC[1], price=Price(output_usd=dear))]
    choice = chosen("learned", pair, view(board, requirements=requirements, now=START + 30.0))
    assert choice.look is pair[1]
    assert choice.price == pytest.approx(price, rel=0.02)


def test_a_look_at_somebody_dear_costs_more() -> None:
    """Ten times the money is nine more requests, and is put off until so much was saved or all that can be."""
    board = led_by(experienced({"a": 0.5, "b": 0.5}), ABC[0])
    pair = [replace(ABC[0], price=Price(output_usd=1.0)), replace(ABC[1], price=Price(output_usd=10.0))]
    seen = view(board, requirements={"speed": 1.0, "cost": 0.1})
    assert chosen("learned", pair, seen).price == pytest.approx(9.0, rel=0.01)
    board.experience.scout("r").purse = 3.9
    assert chosen("learned", pair, seen).look is None


@pytest.mark.parametrize("usd", [(None, 10.0), (10.0, None), (0.0, 10.0), (10.0, 0.0)])
def test_a_look_costs_no_money_that_is_not_known(usd: tuple[float | None, float | None]) -> None:
    """Beside one without a price, or who is free, nobody is so many times as dear."""
    board = led_by(experienced({"a": 0.5, "b": 0.5}), ABC[0])
    pair = [replace(target, price=Price(output_usd=each)) for target, each in zip(ABC, usd, strict=False)]
    choice = chosen("fastest", pair, view(board))
    assert (choice.look, choice.price) == (pair[1], 1.0)


def test_nobody_is_slow_beside_one_who_was_never_heard() -> None:
    """A look costs more where the best one is likely to be asked as well: there nothing is known of it."""
    board = led_by(experienced({"b": 2.0}), ABC[0])
    choice = chosen("fastest", ABC[:2], view(board))
    assert [target.name for target in choice.order] == ["a", "b"]
    assert (choice.look, choice.hedge_s, choice.price) == (ABC[1], None, 1.0)


def test_one_who_failed_of_late_is_looked_at_too() -> None:
    """As long as it is only a breaker that keeps him away: one good answer brings him back."""
    board = led_by(experienced({"a": 0.5, "b": 0.6}), ABC[0])
    board.experience.scout("r").decided(Decided(START, "f", "r", "best", (ABC[1],)))
    for number in range(3):
        started(board, ABC[2], flight=f"c{number}")
        failure = Failure(kind=FailureKind.SERVER, message="")
        board.fold(AttemptFailed(START + 1, f"c{number}", 1, ABC[2], failure, 0.1))
    assert board.is_open(ABC[2])
    later = START + 3
    choice = chosen("best", ABC[:2], view(board, now=later, resting=[ABC[2]]))
    assert choice.look is ABC[2]
    assert [target.name for target in choice.order] == ["a", "b"]
    failure = Failure(kind=FailureKind.AUTH, message="")
    started(board, ABC[2], flight="d")
    board.fold(AttemptFailed(later, "d", 1, ABC[2], failure, 0.1))
    assert chosen("best", ABC[:2], view(board, now=later, resting=[ABC[2]])).look is not ABC[2]


def test_learned_counts_only_what_its_own_route_saw() -> None:
    """What is slow for one route's requests may be fast for another's; `best` counts both."""
    board = without_savings(experienced({"a": 5.0, "b": 1.0}, route="r"))
    for number in range(200):
        said(board, ABC[0], 0.1, flight=f"x{number}", route="other")
    assert order("learned", ABC[:2], view(board)) == "b a"
    assert order("best", ABC[:2], view(board)) == "a b"


@pytest.mark.parametrize("strategy", ["best", "fastest"])
def test_who_never_looks_believes_what_was_seen(strategy: str) -> None:
    """With nothing to spend on looking the quicker one is taken at once, and nobody else before him."""
    board = experienced({"a": 2.0, "b": 1.0}, times=3)
    choice = chosen(strategy, ABC[:2], view(board, explore_share=0.0))
    assert [target.name for target in choice.order] == ["b", "a"]
    assert choice.look is None
