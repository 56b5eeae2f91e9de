"""Facts about targets, told to a board: for tests of what follows from them."""

from __future__ import annotations

from random import Random

from core.world import START, target_named
from unbroken.core.board import Board
from unbroken.core.breaker import State
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    FirstContent,
)
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Breaking
from unbroken.types import Target, Usage, Why

A = target_named("p/m#1")


class Story:
    """Facts about targets, told to a board."""

    def __init__(self, *, seed: int = 1, default: Breaking | None = None) -> None:
        self.board = Board(Random(seed), default=default)
        self.now = START

    def goes(self, target: Target = A) -> None:
        self.board.fold(AttemptStarted(self.now, "f", 1, target, Why.FIRST))

    def answers(
        self, target: Target = A, *, after_s: float = 0.1, usage: Usage | None = None, stream: bool = True
    ) -> None:
        """An attempt that begins now and ends well."""
        self.goes(target)
        self.now += after_s
        self.board.fold(AttemptAnswered(self.now, "f", 1, target, after_s, after_s, stream, usage))

    def fails(self, kind: FailureKind, target: Target = A, *, began: float | None = None, **more: object) -> None:
        """An attempt that fails now; it began just now, or then."""
        if began is None:
            self.goes(target)
            began = self.now
        failure = Failure(kind=kind, message="m", **more)  # type: ignore[arg-type]
        self.board.fold(AttemptFailed(self.now, "f", 1, target, failure, self.now - began))

    def is_dropped(self, target: Target = A, *, began: float, outrun: bool = False) -> None:
        self.board.fold(AttemptAbandoned(self.now, "f", 1, target, self.now - began, outrun))

    def opens_breaker(self, target: Target = A) -> None:
        for _ in range(3):
            self.fails(FailureKind.SERVER, target)

    def state(self, scope: str) -> State:
        return self.board.healths()[scope].breaker.state

    def obstacle(self, target: Target = A) -> str | None:
        return self.board.obstacle(target, self.now)


def started(
    board: Board, target: Target = A, *, flight: str, at: float = START, stream: bool = True, chars: int = 0,
    route: str = "r",
) -> None:  # fmt: skip
    """An attempt is under way."""
    board.fold(AttemptStarted(at, flight, 1, target, Why.FIRST, stream, chars, route))


def said(  # noqa: PLR0913 - a test says what it is about and leaves the rest
    board: Board, target: Target, first_s: float, *, rest_s: float = 0.0, flight: str = "f", at: float = START,
    usage: Usage | None = None, chars: int = 0, route: str = "r",
) -> None:  # fmt: skip
    """A stream that began at this time, came after `first_s` and ended well; the clock of the facts stands still."""
    started(board, target, flight=flight, at=at, chars=chars, route=route)
    board.fold(FirstContent(at, flight, 1, target, first_s))
    board.fold(AttemptAnswered(at, flight, 1, target, first_s, first_s + rest_s, True, usage))
