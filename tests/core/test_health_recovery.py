"""A primary that was away comes back bit by bit, under `priority` as under any strategy."""

from __future__ import annotations

from core.story import A, Story
from core.world import UNREACHABLE, World, fail, says, target_named
from unbroken.core.board import Board
from unbroken.core.breaker import State
from unbroken.core.lineup import line_up
from unbroken.core.strategies import Draw
from unbroken.facts import AttemptAnswered, FirstContent, Probed
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Breaking
from unbroken.types import Request

PER_S = 50
BREAKING = Breaking(jitter=0.0)
ASKED = Request(model="auto")


def asked_first(world: World) -> str:
    """Whom a request goes to first, which is then answered."""
    return str(world.fly().attempts[0].target.name)


def share_of_first(world: World, seconds: float) -> float:
    """The share of requests that are sent to the primary first, of so many a second."""
    start, hits, total = world.now, 0, int(seconds * PER_S)
    for number in range(total):
        now = start + number / PER_S
        lineup = line_up(ASKED, world.route, board=world.board, now=now, draw=Draw(number, world.draw))
        hits += lineup.order[0].name == "a"
    world.now = start + seconds
    return hits / total


def broken(kind: FailureKind) -> World:
    """A world whose primary has failed until its breaker opened, and is well again."""
    world = World("a b")
    world.board = Board(world.draw, default=BREAKING)
    world.play("a", fail(kind))
    world.play("b", says("there"))
    while world.board.obstacle(world.target("a"), world.now) is None:
        world.fly()
    world.play("a", says("here"))
    return world


def test_a_primary_returns_along_a_line() -> None:
    """After a good probe it gets a fifth of its traffic, then more each second, and all of it after ten."""
    world = broken(FailureKind.SERVER)
    assert asked_first(world) == "b"
    world.now += BREAKING.open_s
    assert asked_first(world) == "a", "one request finds out"
    ramp = [share_of_first(world, 2.0) for _ in range(5)]
    for at, share in enumerate(ramp):
        assert abs(share - (0.28 + 0.16 * at)) < 0.15
    assert ramp[0] < 0.45 and ramp[-1] > 0.8
    assert share_of_first(world, 2.0) == 1.0


def test_a_relapse_ends_the_return() -> None:
    """A primary that fails again while it returns is left alone for twice as long."""
    world = broken(FailureKind.SERVER)
    world.now += BREAKING.open_s
    assert asked_first(world) == "a"
    world.play("a", fail(FailureKind.SERVER))
    while world.board.standing(world.target("a")).model.breaker.state is State.RAMPING:
        world.fly()
    breaker = world.board.standing(world.target("a")).model.breaker
    assert breaker.state is State.OPEN and breaker.until - breaker.since == 2 * BREAKING.open_s


def test_a_dead_primary_that_is_probed_costs_no_caller_anything() -> None:
    """With free questions before each retry no request is sent to a dead address, and it returns all the same."""
    world = broken(FailureKind.CONNECT)
    first = world.target("a")
    world.play("a", UNREACHABLE)
    gone = Failure(kind=FailureKind.CONNECT, message="nobody there", sent=False)
    for _ in range(4):
        world.now = world.board.standing(first).endpoint.breaker.until - 0.5
        world.board.fold(Probed(world.now, first, True, 0.1, gone))
        assert share_of_first(world, 2.0) == 0.0
    world.play("a", says("here"))
    world.board.fold(Probed(world.now, first, True, 0.1))
    assert asked_first(world) == "a"
    assert share_of_first(world, 2.0) < 0.45


def test_a_stream_that_has_begun_ends_a_rest() -> None:
    """Nobody waits for the end of a long answer to learn that its provider is back; a slow beginning is no proof."""
    for seconds, state in ((0.2, State.RAMPING), (60.0, State.HALF_OPEN)):
        story = Story(default=BREAKING)
        for _ in range(20):
            story.answers(after_s=0.2)
        story.opens_breaker()
        story.now += BREAKING.open_s
        story.goes()
        assert story.state(A.model_scope) is State.HALF_OPEN
        story.now += seconds
        story.board.fold(FirstContent(story.now, "f", 1, A, seconds))
        assert story.state(A.model_scope) is state


def test_a_rest_that_nobody_asked_for_may_be_looked_into() -> None:
    """A key that was refused may be good again: it is looked at, seldom, and one answer ends its rest."""
    story = Story(default=BREAKING)
    story.fails(FailureKind.AUTH)
    assert not story.board.may_look(A, story.now + 9)
    story.now += 10
    assert story.obstacle() is not None
    assert story.board.may_look(A, story.now)
    story.fails(FailureKind.AUTH)
    assert not story.board.may_look(A, story.now + 9)
    story.now += 10
    story.answers()
    assert story.obstacle() is None


def test_a_rest_that_was_asked_for_is_kept() -> None:
    """Whoever says when to come back is believed, and a limit is not asked about; what began before says nothing."""
    hinted, limited, late = Story(default=BREAKING), Story(default=BREAKING), Story(default=BREAKING)
    hinted.fails(FailureKind.AUTH, retry_after_s=60.0)
    limited.fails(FailureKind.RATE_LIMIT)
    for story in (hinted, limited):
        assert not story.board.may_look(A, story.now + 12)
    hinted.now += 12
    hinted.answers()
    assert hinted.obstacle() is not None
    late.goes()
    late.fails(FailureKind.AUTH, target_named("p/m#1"))
    late.now += 1
    late.board.fold(AttemptAnswered(late.now, "f", 1, A, 2.0, 2.0, True))
    assert late.obstacle() is not None
