"""A gate under test, and a driver for it in virtual time."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

from unbroken.core.board import Board
from unbroken.core.gate import Gate, Waiter
from unbroken.core.limits import Cost, Limits
from unbroken.facts import AttemptAnswered, AttemptStarted
from unbroken.failures import Failure
from unbroken.types import Allowance, Target, Usage, Why

START = 1_000.0


def target(name: str = "a", **limits: int) -> Target:
    return Target(name=name, provider=name, model="m", limits=Allowance(**limits) if limits else None)


class World:
    """A gate, and a driver for it in virtual time."""

    def __init__(self, *targets: Target) -> None:
        self.targets = targets
        self.board, self.limits = Board(Random(1)), Limits(targets)
        self.board.limits = self.limits
        self.board.watch(self.limits.reactions)
        self.gate = Gate(self.board, self.limits)
        self.numbers = count(1)

    def waiter(self, caller: str = "x", *, targets: tuple[Target, ...] = (), wait_s: float = 100.0,
               waiting_max: int = 100, cost: Cost | None = None, route: str = "r") -> Waiter:  # fmt: skip
        return Waiter(
            f"{caller}{next(self.numbers)}", route=route, caller=caller, cost=cost or Cost(),
            targets=targets or self.targets, waiting_max=waiting_max, wait_s=wait_s,
        )  # fmt: skip

    def arrive(self, caller: str = "x", *, now: float = START, **more: Any) -> tuple[Waiter, str | Failure]:
        waiter = self.waiter(caller, **more)
        verdict = self.gate.arrive(waiter, now)
        if verdict == "go":
            self.begin(waiter, now)
        return waiter, verdict

    def begin(self, waiter: Waiter, now: float) -> Target:
        """It takes off, to the first target with room."""
        able = [t for t in waiter.targets if self.board.obstacle(t, now, cost=waiter.cost) is None]
        chosen = (able or waiter.targets)[0]
        self.limits.expect(waiter.id, waiter.cost)
        self.board.fold(AttemptStarted(now, waiter.id, 1, chosen, Why.FIRST))
        return chosen

    def end(self, waiter: Waiter, one: Target, now: float) -> None:
        self.board.fold(AttemptAnswered(now, waiter.id, 1, one, 0.1, 0.1, stream=False, usage=Usage(output_tokens=1)))

    def begun(self, now: float) -> list[Waiter]:
        found = []
        while (waiter := self.gate.next(now)) is not None:
            self.begin(waiter, now)
            found.append(waiter)
        return found
