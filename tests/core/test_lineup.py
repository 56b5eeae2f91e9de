from __future__ import annotations

import pytest

from core.world import START, World, fail, says
from unbroken.core.limits import Limits
from unbroken.core.lineup import Lineup, incapable, line_up, roomier
from unbroken.core.strategies import STRATEGIES, Choice, Draw
from unbroken.facts import Decided
from unbroken.failures import FailureKind
from unbroken.types import Allowance, Request, Target, Task


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


@pytest.mark.parametrize(
    ("regions", "order"), [((), "a b c"), (("eu",), "b"), (("us", "eu"), "a b"), (("eu-west-1",), "b"), (("asia",), "")]
)
def test_only_the_named_regions_may_answer(regions: tuple[str, ...], order: str) -> None:
    """Not even as a last resort is anybody else asked, nor one who does not say where it is."""
    world = World("a b c", regions=regions)
    world.change("a", regions=("us-east-1",))
    world.change("b", regions=("eu-west-1",))
    lineup = lined_up(world)
    assert (names(lineup.order), lineup.resting) == (order, ())
    if regions == ("us", "eu"):
        assert lineup.unfit[0][1] == "does not say where it answers from, and only us, eu may"
    if regions == ("eu",):
        assert lineup.unfit[0][1] == "answers from us-east-1, and only eu may"


def test_the_first_reason_is_given() -> None:
    """A target that cannot do the work is not told that it is in the wrong place as well."""
    world = World("a", regions=("eu",))
    world.change("a", tasks=frozenset({Task.IMAGE}))
    assert lined_up(world).unfit[0][1] == "does no chat work"


def test_every_flight_notes_what_was_decided() -> None:
    """The order, and of everybody else the reason, once and before anything else."""
    world = World("a b c d", strategy="round-robin")
    world.change("c", tasks=frozenset({Task.IMAGE}))
    world.play("a", fail(FailureKind.AUTH))
    world.fly()
    world.sleep(10.0 + START + 0.2 - world.now)
    flown = world.fly()
    (decided,) = flown.facts(Decided)
    assert flown.facts()[0] is decided
    assert (decided.at, decided.flight, decided.route) == (flown.commands[0][0], "f", "auto")
    assert decided.strategy == "round-robin"
    assert names(decided.order) == "d b"
    assert [(target.name, reason) for target, reason in decided.skipped] == [
        ("c", "does no chat work"), ("a", "cooling down for 590 s (auth)"),
    ]  # fmt: skip
    assert (decided.width, decided.price, decided.share) == (1, 0.0, 0.02)


def test_one_who_is_looked_at_is_asked_first_and_the_best_soon_after() -> None:
    """A look costs the caller half again the usual time at most, and is part of the record."""
    world = World("a b", strategy="best")
    world.play("a", says("x", first_s=1.0))
    world.play("b", says("x", first_s=2.5))
    looks = []
    for _ in range(200):
        flown = world.fly(stream=True)
        (decided,) = flown.facts(Decided)
        if decided.price:
            looks.append(flown)
    assert looks
    for flown in looks:
        assert (flown.names, flown.whys) == ("b a", "first hedge")
        assert flown.times == [0.0, pytest.approx(1.5, rel=0.1)]
        assert flown.text == "x"


def test_a_look_may_bring_back_one_who_rests() -> None:
    """A breaker that is open keeps requests away, and one look is enough to close it."""
    world = World("a b", strategy="best")
    world.play("a", *[says("x")] * 5, *[fail(FailureKind.SERVER)] * 9)
    world.play("b", says("x", first_s=0.9))
    for _ in range(30):
        world.fly(stream=True)
        if world.board.is_open(world.target("a")):
            break
    assert world.board.is_open(world.target("a"))
    world.play("a", says("x"))
    asked = [world.fly(stream=True).names for _ in range(200)]
    assert "a" in asked[:120]
    assert not world.board.is_open(world.target("a"))
    assert asked[-20:].count("a") > 15


def test_nobody_is_looked_at_whom_something_else_keeps_away() -> None:
    """A provider that says when to come back is left alone until then, and so is what an operator took out."""
    world = World("a b")
    board, a = world.board, world.target("a")
    assert not board.may_look(a, world.now), "nothing keeps it away"
    for _ in range(3):
        world.play("a", fail(FailureKind.SERVER))
        world.fly()
    assert board.is_open(a)
    world.sleep(3.0)
    assert board.may_look(a, world.now)
    world.force("a", open=True)
    assert not board.may_look(a, world.now)


def test_a_route_says_how_many_are_started_whatever_the_strategy() -> None:
    """Its width wins over that of a race."""
    assert lined_up(World("a b c", strategy="race", width=2)).width == 2
    assert lined_up(World("a b c", strategy="best", width=2)).width == 2


@pytest.mark.parametrize(
    ("mine", "other", "same_model", "roomy"),
    [(10, 5, True, True), (5, 5, False, False), (None, 5, False, True), (10, None, True, False)],
)
def test_only_a_larger_window_or_another_model_has_more_room(
    mine: int | None, other: int | None, same_model: bool, roomy: bool
) -> None:
    """Where both windows are known they are compared, else another model may have more."""
    world = World("a b")
    world.change("a", context_tokens=mine)
    world.change("b", context_tokens=other, **({"model": "a"} if same_model else {}))
    assert roomier(world.target("a"), world.target("b")) is roomy


@pytest.mark.parametrize("look", ["b", "c"])
def test_who_is_looked_at_comes_first_and_once(monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    """Somebody who is well, or one who rests: then he rests no longer."""
    world = World("a b c d")
    for name in "cd":
        world.force(name, open=True)

    def looks(candidates: list[Target], view: object) -> Choice:
        return Choice(list(candidates), look=world.target(look), price=2.0, hedge_s=0.5)

    monkeypatch.setitem(STRATEGIES, "priority", looks)
    lineup = lined_up(world)
    assert (names(lineup.order), names(lineup.resting)) == (("b a", "c d") if look == "b" else ("c a b", "d"))
    assert (lineup.width, lineup.hedge_s, lineup.price) == (1, 0.5, 2.0)


def test_a_request_is_measured_against_limits_as_large_as_it_is() -> None:
    """Where there are limits: a long prompt may find no room where a short one does."""
    world = World("a b")
    world.change("a", limits=Allowance(tokens_per_min=1_000))
    world.board.limits = limits = Limits(world.route.targets)
    limits.place(world.target("a")).pools[0].meters["tokens in 60 s"].spend(500.0, world.now)
    assert names(lined_up(world, prompt_chars=4, max_tokens=1).order) == "a b"
    assert names(lined_up(world, prompt_chars=3_600, max_tokens=1).order) == "b"


def test_what_is_certainly_too_long_begins_at_a_thousand_characters() -> None:
    """Less is not even measured."""
    world = World("a")
    world.change("a", context_tokens=10)
    assert lined_up(world, prompt_chars=999).unfit == ()
    assert names(lined_up(world, prompt_chars=1_000).unfit) == "a"


def test_a_lineup_is_of_one_at_a_time_unless_it_says_so() -> None:
    """With nobody who rests, is unfit or costs anything."""
    assert Lineup(()) == Lineup((), 1, (), (), None, 0.0)
