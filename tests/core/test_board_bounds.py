"""The edges of what a board concludes: the very moment, the very number, and whose news it is."""

from __future__ import annotations

import pytest

from core.gate_world import START, World, target
from core.story import A, Story
from unbroken.core.breaker import State
from unbroken.facts import AttemptFailed, AttemptStarted, FirstContent
from unbroken.failures import Failure, FailureKind
from unbroken.types import Why


def test_a_stream_that_began_before_an_outage_does_not_end_it() -> None:
    """Its first word is old news, however late it comes."""
    story = Story()
    story.board.fold(AttemptStarted(story.now, "old", 1, A, Why.FIRST, True))
    story.now += 10.0
    story.opens_breaker()
    story.board.fold(FirstContent(story.now, "old", 1, A, 10.0))
    assert story.state("p/m") is State.OPEN
    story.board.fold(FirstContent(story.now, "new", 1, A, 0.0))
    assert story.state("p/m") is State.RAMPING


@pytest.mark.parametrize(("after_s", "state"), [(0.5, State.CLOSED), (0.501, State.OPEN)])
def test_an_answer_is_slow_beyond_its_limit(after_s: float, state: State) -> None:
    """One that takes exactly as long as is allowed is not."""
    story = Story()
    for _ in range(12):
        story.answers(after_s=0.01)
    assert story.board.standing(A).model.policy.slow_s_min == 0.5
    for _ in range(20):
        story.answers(after_s=after_s)
    assert story.state("p/m") is state
    cause = story.board.standing(A).model.cause
    assert (cause is None) == (state is State.CLOSED)


def test_whoever_is_left_alone_for_being_slow_comes_back_by_chance() -> None:
    """Replicas do not all look at the same moment, whatever opened the breaker."""
    rests = []
    for seed in range(3):
        story = Story(seed=seed)
        for _ in range(12):
            story.answers(after_s=0.01)
        while story.state("p/m") is State.CLOSED:
            story.answers(after_s=5.0)
        rests.append(story.board.standing(A).model.breaker.until - story.now)
    assert len(set(rests)) == 3


@pytest.mark.parametrize("status", [401, None])
def test_what_fails_for_another_reason_leads_a_model_nowhere(status: int | None) -> None:
    """A probe that was refused for its key says of the address that it is there, and of the model nothing."""
    story = Story()
    story.opens_breaker()
    story.now += 60.0
    story.fails(FailureKind.AUTH, status=status)
    assert story.state("p/m") is State.OPEN
    assert story.board.standing(A).model.breaker.until == story.now


def test_what_a_call_found_is_not_what_a_probe_found() -> None:
    """It is told apart: one question that went wrong is suspicious, one call is not."""
    story = Story()
    story.fails(FailureKind.RATE_LIMIT)
    story.fails(FailureKind.SERVER)
    assert [health.cause.probed for health in story.board.standing(A).scopes if health.cause] == [False, False]


def test_a_look_is_allowed_until_the_rest_is_over() -> None:
    """At its last moment there is nothing to look at any more; a limit is over at that moment too."""
    story = Story()
    story.fails(FailureKind.MODEL_MISSING)
    until = story.board.standing(A).model.cool_until
    assert not story.board.may_look(A, story.now + 9.9)
    assert story.board.may_look(A, until - 0.1)
    assert not story.board.may_look(A, until)
    story.fails(FailureKind.RATE_LIMIT, retry_after_s=30.0)
    assert not story.board.may_look(A, story.now + 29.9)
    assert story.board.may_look(A, story.now + 30.0)


def test_nobody_is_looked_at_who_has_no_room() -> None:
    """One good answer would bring him back, but his provider would not give it."""
    one = target(requests_per_min=4)
    world = World(one)
    waiters = [world.waiter() for _ in range(4)]
    for number, waiter in enumerate(waiters):
        world.begin(waiter, START)
        failure = Failure(kind=FailureKind.SERVER, message="m", sent=number > 0)
        world.board.fold(AttemptFailed(START, waiter.id, 1, one, failure, 0.0))
    assert world.board.is_open(one)
    assert world.board.may_look(one, START)
    world.begin(world.waiter(), START)
    assert not world.board.may_look(one, START)
