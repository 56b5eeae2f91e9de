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


def test_what_is_usual_is_an_average_by_time() -> None:
    """A three-hundredth of the way for each second since the last answer; a fiftieth of that where it was slow."""
    assert latency_of(*[1.0] * 10, 12.0).usual_s == pytest.approx(1.0 + 11.0 / 300.0)
    latency = latency_of(*[1.0] * 20)
    latency.add(101.0, now=START + 20.0, slow=True)
    assert latency.usual_s == pytest.approx(1.0 + 100.0 * 0.02 / 300.0)
    latency.add(1.0, now=START + 320.0)
    assert latency.usual_s == pytest.approx(1.0 + 0.8 * 100.0 * 0.02 / 300.0)


def test_the_longest_plain_answer_fades() -> None:
    """A hundredth less with every answer that follows, until a longer one comes."""
    latency = Latency()
    for whole_s, longest_s in ((10.0, 10.0), (1.0, 9.9), (0.0, 9.801), (9.9, 9.9)):
        latency.add(1.0, now=START, whole_s=whole_s)
        assert latency.longest_s == pytest.approx(longest_s)
    assert latency_of(1.0).longest_s == 0.0, "a stream's first content is no whole answer"


def test_a_percentile_is_the_upper_end_of_its_bucket() -> None:
    """Buckets are powers of 1.15 milliseconds; the last one, the hundredth, takes all that is longer."""
    assert latency_of(0.001).percentile_s(0.5) == pytest.approx(0.001 * 1.15)
    assert latency_of(0.0).percentile_s(0.5) == pytest.approx(0.001 * 1.15)
    assert latency_of(1.0).percentile_s(0.5) == pytest.approx(0.001 * 1.15**50)
    assert latency_of(1e9).percentile_s(0.5) == pytest.approx(0.001 * 1.15**100)
    assert latency_of(0.000_999_9 * 1.15**20).percentile_s(0.5) == pytest.approx(0.001 * 1.15**20)
    assert latency_of(0.001_000_1 * 1.15**20).percentile_s(0.5) == pytest.approx(0.001 * 1.15**21)
    assert latency_of(0.001, 1.0).percentile_s(0.5) == pytest.approx(0.001 * 1.15)


def test_a_percentile_means_something_after_twenty_answers() -> None:
    """Until then none is told to those who make a limit of it; it is the 95th."""
    story = seen(18, after_s=0.1)
    for after_s, seen_s in ((1.0, 0.0), (1.0, 0.001 * 1.15**50)):
        story.answers(after_s=after_s)
        assert story.board.seen_s(A, stream=True) == pytest.approx(seen_s)
    assert story.board.seen_s(A, stream=False) == 0.0


def test_a_thousand_answers_lose_half_their_weight() -> None:
    """So that what comes then counts twice as much."""
    latency = latency_of(*[0.1] * 999)
    assert latency.count == 999
    latency.add(0.1, now=START)
    assert latency.count == 500
    for _ in range(499):
        latency.add(5.0, now=START)
    assert latency.count == 999
    latency.add(5.0, now=START)
    assert latency.count == 500
    assert latency.percentile_s(0.5) == pytest.approx(0.1, rel=0.16)
    assert latency.percentile_s(0.51) == pytest.approx(5.0, rel=0.16)


def test_a_percentile_is_worked_out_now_and_then() -> None:
    """With each answer at first; of many after every sixteenth."""
    few = latency_of(0.1)
    assert few.percentile_s(0.95) < 1.0
    few.add(5.0, now=START)
    assert few.percentile_s(0.95) > 1.0
    many = latency_of(*[0.1] * 32)
    for _ in range(15):
        assert many.percentile_s(0.95) < 1.0
        many.add(5.0, now=START)
    assert many.percentile_s(0.95) < 1.0
    many.add(5.0, now=START)
    assert many.percentile_s(0.95) > 1.0


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


@pytest.mark.parametrize(("answers", "times"), [([0.1] * 18 + [1.0] * 2, 4.0), ([0.1, 1.0], 13.0)])
def test_how_long_is_too_long(answers: list[float], times: float) -> None:
    """Three times what 95 % take, and more the fewer answers that rests on: four times for twenty, thirteen for two."""
    latency, p95_s = latency_of(*answers), 0.001 * 1.15**50
    for number, at in enumerate((START, START + 1.0, START + 2.0, START + 3.0)):
        assert number > 2 or latency.stuck_s(START + 100.0) == 0.0, "three have to wait"
        latency.waiting["f", number] = at
    limit_s = times * p95_s
    assert latency.stuck_s(START + 2.0 + limit_s - 0.001) == 0.0
    assert latency.stuck_s(START + 2.0 + limit_s + 0.001) == pytest.approx(limit_s + 0.001)
    latency.longest_s = 2.0
    assert latency.stuck_s(START + 2.0 + 2.0 * times) == 0.0
    assert latency.stuck_s(START + 2.0 + 2.0 * times + 0.001) > 0.0


def test_long_answers_are_compared_by_fifty_tokens() -> None:
    """A plain answer of a hundred tokens may take twice as long; a short one, or one that nobody counted, not."""
    for tokens, usual_s in ((None, 10.0), (49, 10.0), (50, 10.0), (100, 5.0), (51, 500.0 / 51.0)):
        usage = None if tokens is None else Usage(output_tokens=tokens)
        story = seen(1, after_s=10.0, stream=False, usage=usage)
        assert story.board.standing(A).plain.usual_s == pytest.approx(usual_s)


def test_a_long_prompt_takes_its_time() -> None:
    """What reading it takes is no silence; of a short one nothing is made."""
    for chars, read_s in ((16_000, 0.0), (16_004, 4.001), (80_000, 20.0)):
        story = seen(after_s=0.002)
        for number in range(3):
            story.board.fold(AttemptStarted(story.now, "w", number, A, Why.FIRST, True, chars))
        began = story.now
        story.now = began + read_s + 1.999
        assert story.obstacle() is None
        story.now = began + read_s + 2.001
        assert story.obstacle() == "3 requests have waited 2.0 s in vain"
        story.board.fold(AttemptAbandoned(story.now, "w", 1, A, 2.0))
        assert story.obstacle() is None
        standing = story.board.standing(A)
        assert len(standing.first.waiting) == 2
        assert len(standing.first.allowed_s) == (2 if read_s else 0)


def test_the_oldest_of_many_may_just_be_unlucky() -> None:
    """Whoever waits longest is told of without one in eight of them, and never with fewer than three."""
    latency = Latency()
    for number in range(32):
        latency.waiting["f", number] = START + number
        late = latency.late(START + 100.0)
        oldest = 2 if number < 23 else 3 if number < 31 else 4
        assert late == (None if number < 2 else (("f", oldest), 100.0 - oldest))


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
