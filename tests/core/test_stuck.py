"""A provider that hangs is suspected by its silence, before the first time limit has passed."""

from __future__ import annotations

from random import Random

import pytest

from unbroken.core.board import Board
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Fact, FirstContent
from unbroken.failures import Failure, FailureKind
from unbroken.types import Target, Why

A = Target(name="a/m", provider="a", model="m")


def board_that_knows(answers: int, seconds: float = 0.1, *, stream: bool = True) -> Board:
    """A board on which a target has answered so many times, each within so many seconds."""
    board = Board(Random(1))
    for i in range(answers):
        board.fold(AttemptAnswered(float(i), "warm", i, A, seconds, seconds, stream))
    return board


def started(board: Board, at: float, *flights: str, stream: bool = True) -> None:
    for flight in flights:
        board.fold(AttemptStarted(at, flight, 1, A, Why.FIRST, stream))


@pytest.mark.parametrize("stream", [True, False])
def test_several_requests_in_vain_are_an_obstacle(stream: bool) -> None:
    """Three that wait far longer than answers ever took are enough; two are not, nor is a short wait."""
    board = board_that_knows(20, stream=stream)
    started(board, 100.0, "x", "y", stream=stream)
    assert board.obstacle(A, 110.0) is None

    started(board, 100.0, "z", stream=stream)
    assert board.obstacle(A, 101.9) is None
    assert "3 requests have waited" in (board.obstacle(A, 102.1) or "")


def test_nobody_is_suspected_who_is_not_known() -> None:
    """Of a target that never answered nothing is expected; of one that is known little, little."""
    fresh, hardly = board_that_knows(0), board_that_knows(2, seconds=1.0)
    for board in (fresh, hardly):
        started(board, 100.0, "x", "y", "z")

    assert fresh.obstacle(A, 1000.0) is None
    assert hardly.obstacle(A, 110.0) is None
    assert hardly.obstacle(A, 120.0)


@pytest.mark.parametrize(
    "fact",
    [
        FirstContent(102.0, "x", 1, A, 2.0),
        AttemptAnswered(102.0, "x", 1, A, 2.0, 2.0, True),
        AttemptFailed(102.0, "x", 1, A, Failure(kind=FailureKind.REQUEST, message="", status=400), 2.0),
        AttemptAbandoned(102.0, "x", 1, A, 2.0),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_whoever_is_heard_of_or_gone_waits_no_longer(fact: Fact) -> None:
    """A first word, an end of any kind or our own hanging up ends the wait."""
    board = board_that_knows(20)
    started(board, 100.0, "x", "y", "z")
    assert board.obstacle(A, 105.0)

    board.fold(fact)

    assert board.obstacle(A, 105.0) is None
