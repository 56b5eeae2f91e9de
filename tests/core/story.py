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
