from __future__ import annotations

from typing import Any

import pytest

from core.story import A, Story
from core.world import START, World, says
from unbroken.core.board import Latency
from unbroken.facts import (
    AttemptAbandoned,
    AttemptStarted,
)
from unbroken.types import Target, Usage, Why

# ------------------------------------------------------------------- how fast it answers


def latency_of(*seconds: float, every_s: float = 1.0) -> Latency:
    latency = Latency()
    for number, value in enumerate(seconds):
        latency.add(value, now=START + number * every_s)
    return latency


def test_percentiles_are_right_to_fifteen_percent() -> None:
    """From a millisecond to twenty minutes."""
    for seconds in (0.001, 0.01, 0.3, 7.0, 100.0, 1_000.0):
        assert latency_of(*[seconds] * 30).percentile_s(0.95) == pytest.approx(seconds, rel=0.151)
    spread = latency_of(*[number / 100 for number in range(1, 101)])
    assert spread.percentile_s(0.5) == pytest.approx(0.5, rel=0.16)
    assert spread.percentile_s(0.95) == pytest.approx(0.95, rel=0.16)
    assert latency_of(1e9).percentile_s(0.5) < 1_500.0
    assert Latency().percentile_s(0.5) == 0.0


def test_a_percentile_follows_what_is_seen() -> None:
    """What was worked out before does not stay when the answers change."""
    latency = latency_of(*[0.1] * 100)
    assert latency.percentile_s(0.5) == pytest.approx(0.1, rel=0.16)
    for number in range(3_000):
        latency.add(5.0, now=START + 100 + number)
    assert latency.percentile_s(0.5) == pytest.approx(5.0, rel=0.16)
    assert latency.count < 1_000


def test_what_is_usual_moves_slowly_and_less_for_the_slow() -> None:
    """An outlier hardly moves it; a new habit does, in minutes."""
    latency = latency_of(*[1.0] * 20)
    latency.add(100.0, now=START + 20, slow=True)
    assert latency.usual_s < 1.1
    for number in range(600):
        latency.add(2.0, now=START + 21 + number)
    assert latency.usual_s == pytest.approx(2.0, rel=0.2)


def test_the_first_answers_are_averaged() -> None:
    """Ten of them count alike; later ones by the time that has passed, a fifth at most."""
    assert latency_of(1.0, 3.0).usual_s == pytest.approx(2.0)
    assert latency_of(*range(1, 11)).usual_s == pytest.approx(5.5)
    assert latency_of(*[1.0] * 20, 2.0, every_s=60.0).usual_s == pytest.approx(1.2)
    assert latency_of(*[1.0] * 20, 2.0, every_s=3.0).usual_s == pytest.approx(1.01)


def test_streams_are_judged_by_their_first_content() -> None:
    """A long answer is not a slow one."""
    world = World("a")
    world.play("a", says(*["word "] * 100, first_s=0.5))
    world.fly_often(10)
    assert world.board.percentile_s(world.target("a"), 0.95, stream=True) == pytest.approx(0.5, rel=0.16)


# ------------------------------------------------------------------- silence that several hear (more in test_stuck.py)


def waiting(story: Story, number: int, *, stream: bool = True, target: Target = A) -> None:
    """So many requests go out now and hear nothing."""
    for one in range(number):
        story.board.fold(AttemptStarted(story.now, f"w{story.now}", one, target, Why.FIRST, stream))


def seen(times: int = 20, **answer: Any) -> Story:
    """A story in which so many answers came."""
    story = Story()
    for _ in range(times):
        story.answers(**answer)
    return story


def test_nobody_is_suspected_at_once() -> None:
    """A target that answers in milliseconds may pause for a second or two."""
    story = seen(after_s=0.002)
    waiting(story, 3)
    story.now += 1.9
    assert story.obstacle() is None
    story.now += 0.2
    assert story.obstacle() is not None


def test_long_plain_answers_are_no_sign() -> None:
    """Where plain answers are long now and then, several long ones at a time are no silence."""
    story = seen(after_s=1.0, stream=False, usage=Usage(output_tokens=50))
    story.answers(after_s=60.0, stream=False, usage=Usage(output_tokens=3_000))
    waiting(story, 5, stream=False)
    story.now += 60.0
    assert story.obstacle() is None
    short = seen(after_s=1.0, stream=False, usage=Usage(output_tokens=50))
    waiting(short, 5, stream=False)
    short.now += 6.0
    assert short.obstacle() is not None
    for number in range(3):
        short.board.fold(AttemptAbandoned(short.now, f"w{short.now - 6.0}", number, A, 6.0))
    assert short.obstacle() is None


def test_those_who_are_suspected_are_a_last_resort() -> None:
    """If nobody else is left, the request still goes there."""
    world = World("a")
    world.play("a", says("still here"))
    world.fly_often(20)
    for number in range(3):
        world.board.fold(AttemptStarted(world.now, "w", number, world.target("a"), Why.FIRST, True))
    world.sleep(5.0)
    flown = world.fly()
    assert (flown.whys, flown.text) == ("last_resort", "still here")
