from __future__ import annotations

import pytest

from core.world import World, fail
from unbroken.core.lineup import Lineup, incapable, line_up
from unbroken.core.strategies import Draw
from unbroken.failures import FailureKind
from unbroken.types import Request, Task


def lined_up(world: World, **request: object) -> Lineup:
    """The lineup of a request in this world."""
    wish = Request(model="auto", **request)  # type: ignore[arg-type]
    return line_up(wish, world.route, board=world.board, now=world.now, draw=Draw(0, world.draw))


def names(targets: object) -> str:
    """The names of targets, with or without reasons."""
    return " ".join(getattr(t, "name", "") or t[0].name for t in targets)  # type: ignore[attr-defined]


def test_those_who_are_well_are_lined_up() -> None:
    """With nothing in the way, everybody, in order, one at a time."""
    lineup = lined_up(World("a b c"))
    assert (names(lineup.order), lineup.width, lineup.resting, lineup.unfit) == ("a b c", 1, (), ())


def test_those_who_rest_are_kept_apart_with_the_reason() -> None:
    """They are tried only when nobody else is left."""
    world = World("a b")
    world.play("a", fail(FailureKind.AUTH))
    world.play("b", fail(FailureKind.REQUEST))
    world.fly()
    lineup = lined_up(world)
    assert (names(lineup.order), names(lineup.resting)) == ("b", "a")
    assert lineup.resting[0][1] == "cooling down for 600 s (auth)"


@pytest.mark.parametrize(
    ("strategy", "width", "expected"),
    [("priority", 1, 1), ("priority", 2, 2), ("race", 1, 3), ("race", 2, 2), ("round-robin", 1, 1)],
)
def test_a_race_is_as_wide_as_there_are_targets(strategy: str, width: int, expected: int) -> None:
    """Unless the route says how wide."""
    assert lined_up(World("a b c", strategy=strategy, width=width)).width == expected


def test_the_strategy_orders_those_who_are_ready() -> None:
    """Round robin turns among those who could answer."""
    world = World("a b c", strategy="round-robin")
    wish = Request(model="auto")
    lineups = [line_up(wish, world.route, board=world.board, now=world.now, draw=Draw(n, world.draw)) for n in range(3)]
    assert [names(lineup.order) for lineup in lineups] == ["a b c", "b c a", "c a b"]


@pytest.mark.parametrize("task", [Task.EMBEDDING, Task.IMAGE, Task.CHAT])
def test_a_target_does_its_own_kinds_of_work(task: Task) -> None:
    """Whoever does not do this work is unfit, and it is said."""
    world = World("a b")
    world.change("a", tasks=frozenset(Task) - {task})
    lineup = lined_up(world, task=task)
    assert (names(lineup.order), names(lineup.unfit)) == ("b", "a")
    assert lineup.unfit[0][1] == f"does no {task} work"


def test_what_is_needed_must_be_there_or_unknown() -> None:
    """Known capabilities rule out; unknown ones rule nothing out."""
    world = World("a b")
    world.change("a", capabilities=frozenset({"tools"}))
    lineup = lined_up(world, needs=frozenset({"vision", "tools", "schema"}))
    assert (names(lineup.order), lineup.unfit[0][1]) == ("b", "cannot do schema, vision")
    assert names(lined_up(world, needs=frozenset({"tools"})).order) == "a b"
    assert names(lined_up(world).order) == "a b"


@pytest.mark.parametrize(
    ("chars", "tokens", "fits"),
    [(800, 10, True), (8_000, 1_000, True), (8_001, 1_000, False), (10**9, None, True)],
)
def test_only_what_is_certainly_too_long_is_ruled_out(chars: int, tokens: int | None, fits: bool) -> None:
    """An estimate must never turn away a prompt that might have fitted."""
    world = World("a")
    world.change("a", context_tokens=tokens)
    reason = incapable(Request(model="auto", prompt_chars=chars), world.target("a"))
    assert (reason is None) is fits
    assert fits or reason == "its window of 1000 tokens is too short"
