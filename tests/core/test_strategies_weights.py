"""What counts how much by default: twice the time, twice the money and what fails, against each other."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from core.story import said
from core.world import START, target_named
from unbroken.core.board import Board
from unbroken.core.strategies import STRATEGIES, Choice, Draw, View
from unbroken.policy import Route
from unbroken.price import Price
from unbroken.types import Request, Target, Usage

ABC = [target_named(name) for name in "abc"]


def chosen(strategy: str, candidates: list[Target], board: Board, **weights: float) -> Choice:
    """What a strategy makes of these for a stream, on a route that requires so much of each quality."""
    route = Route(name="r", targets=tuple(ABC), requirements=weights)
    request = Request(model="auto", stream=True, prompt_chars=400)
    return STRATEGIES[strategy](candidates, View(request, route, board, START, Draw(0, Random(1))))


def first_of(strategy: str, candidates: list[Target], board: Board, **weights: float) -> str:
    return chosen(strategy, candidates, board, **weights).order[0].name


def known(first_s: dict[str, float], *, failures: int = 0) -> Board:
    """A board that has seen twenty streams of each, after so many failures of `a`."""
    board = Board(Random(0))
    for target in ABC:
        if target.name in first_s:
            own, measure = board.experience.own("r", target), board.experience.measure(target)
            for number in range(20):
                said(board, target, first_s[target.name], flight=f"{target.name}{number}", usage=Usage(output_tokens=1))
            for _ in range(failures if target.name == "a" else 0):
                own.failed(START)
                measure.failed(START)
    board.experience.scout("r").purse = 0.0  # nobody is looked at
    return board


def priced(**usd: float) -> list[Target]:
    return [replace(target, price=Price(output_usd=usd[target.name])) for target in ABC if target.name in usd]


@pytest.mark.parametrize(("usd", "first"), [(0.47, "b"), (0.53, "a")])
def test_learned_takes_twice_the_time_for_half_the_money(usd: float, first: str) -> None:
    """And not for less: both count alike."""
    board = known({"a": 1.0, "b": 2.0})
    assert first_of("learned", priced(a=1.0, b=usd), board) == first


@pytest.mark.parametrize("strategy", ["best", "learned"])
@pytest.mark.parametrize(("share", "first"), [(0.9, "b"), (1.1, "a")])
def test_what_fails_has_to_be_faster_by_the_square(strategy: str, share: float, first: str) -> None:
    """Who answers every second time is as good as somebody four times as slow."""
    board = known({"a": 1.0, "b": 1.0}, failures=30)
    success = board.experience.measure(ABC[0]).success(START)
    assert 0.3 < success < 0.7
    board = known({"a": 1.0, "b": share / success**2}, failures=30)
    assert first_of(strategy, ABC[:2], board) == first


def test_best_does_not_look_at_money_unless_it_is_told_to() -> None:
    """The faster one is asked first though it is a thousand times as dear."""
    board = known({"a": 1.0, "b": 2.0})
    targets = priced(a=1.0, b=0.001)
    assert first_of("best", targets, board) == "a"
    assert first_of("best", targets, board, cost=1.0, speed=1.0) == "b"


def test_hedge_needs_two_and_goes_by_the_95th_percentile() -> None:
    """Of the first one's answers, not by its quickest; with nobody else there is nothing to wait for."""
    board = Board(Random(0))
    for number in range(40):
        said(board, ABC[0], 0.1 if number < 30 else 1.0, flight=str(number))
    two, one = (chosen("hedge", ABC[:size], board) for size in (2, 1))
    assert two.hedge_s == pytest.approx(1.0, rel=0.16)
    assert one.hedge_s is None


def test_doubt_about_time_counts_where_time_does() -> None:
    """Whoever only has to be cheap may be as little known as he likes, and gains nothing by it."""
    board = known({"a": 1.0})
    board.experience.measure(ABC[1])
    said(board, ABC[1], 1.0, usage=Usage(output_tokens=1))
    targets = priced(a=1.0, b=0.95)
    assert first_of("best", targets, board, cost=1.0) == "b"
    assert first_of("best", targets, board, cost=1.0, speed=1.0) == "a"
    assert first_of("best", priced(a=1.0, b=1.1), board, cost=1.0) == "a"
