"""How much a model stands at once: unlimited until it shows, less at once, more step by step."""

from __future__ import annotations

from math import exp, inf, log

import pytest

from unbroken.core.concurrency import Concurrency

START = 1_000.0


def busy(number: int) -> Concurrency:
    one = Concurrency()
    for _ in range(number):
        one.started()
    return one


def settle(one: Concurrency, seconds: float, *, times: int, now: float = START, stream: bool = False) -> None:
    """So many more answers of this length, with as many under way as now."""
    for _ in range(times):
        one.started()
        one.answered(now, seconds, stream=stream)


def test_nothing_is_limited_without_a_sign() -> None:
    """A model that answers as usual takes anything."""
    one = busy(500)
    settle(one, 1.0, times=200)
    assert one.limit == inf
    assert one.in_flight == 500
    assert one.has_room


def test_an_overload_cuts_what_is_under_way() -> None:
    """Who says that it is too much gets seven tenths of it at once."""
    one = busy(10)
    one.overloaded(START, START - 1.0)
    assert one.limit == 7.0
    assert one.in_flight == 9
    assert not one.has_room
    one.dropped()
    one.dropped()
    assert not one.has_room
    one.dropped()
    assert one.has_room


def test_those_that_were_under_way_together_count_once() -> None:
    """Ten that fail of one overload are one overload; what began after the cut cuts again."""
    one = busy(10)
    for _ in range(3):
        one.overloaded(START, START - 1.0)
    assert one.limit == 7.0
    one.overloaded(START + 1.0, START)
    assert one.limit == pytest.approx(0.7 * 7.0)


def test_one_may_always_start() -> None:
    """However often it fails, somebody finds out whether it is well again."""
    one = Concurrency()
    for second in range(10):
        one.started()
        one.overloaded(START + second, START + second)
    assert one.limit == 1.0
    assert one.has_room
    one.started()
    assert not one.has_room


def test_answers_bring_the_limit_back() -> None:
    """While it is reached and answers are good, the limit grows by a fifth of its root with each."""
    one = busy(10)
    one.overloaded(START, START)
    one.answered(START + 1.0, 1.0, stream=False)
    assert one.limit == pytest.approx(7.0 + 0.2 * 7.0**0.5)


def test_a_limit_that_nobody_reaches_does_not_grow_and_is_none_after_a_calm() -> None:
    """What is not used proves nothing; a minute after the last sign of trouble it is lifted."""
    one = busy(10)
    one.overloaded(START, START)
    for _ in range(6):
        one.dropped()
    one.answered(START + 59.9, 1.0, stream=False)
    assert one.limit == 7.0
    one.answered(START + 60.0, 1.0, stream=False)
    assert one.limit == inf


@pytest.mark.parametrize("stream", [True, False])
def test_answers_that_get_slow_under_load_limit_it(stream: bool) -> None:
    """Twice the usual time is nothing yet; when it is much more, with many under way, fewer are let through."""
    one = busy(20)
    settle(one, 1.0, times=400, stream=stream)
    settle(one, 1.9, times=60, stream=stream)
    assert one.limit == inf
    settle(one, 5.0, times=60, stream=stream)
    assert 10.0 <= one.limit < 21.0
    assert not one.has_room


def test_the_fast_get_slow_too() -> None:
    """Half a second is much for a model that answers in a hundredth."""
    one = busy(20)
    settle(one, 0.01, times=400)
    settle(one, 0.5, times=60)
    assert one.limit < 21.0


def test_a_few_under_way_are_never_the_cause() -> None:
    """Who asks three at a time is not what makes a model slow."""
    one = busy(2)
    settle(one, 1.0, times=400)
    settle(one, 20.0, times=100)
    assert one.limit == inf
    one.started()
    settle(one, 20.0, times=1)
    assert one.limit < 4.0


def test_nothing_is_concluded_from_few_answers() -> None:
    """Times mean something after forty answers."""
    one = busy(20)
    settle(one, 0.01, times=3)
    settle(one, 60.0, times=37)
    assert one.limit == inf


def test_one_long_answer_is_no_trend() -> None:
    """Times are compared by their logarithm: a minute among seconds moves little."""
    one = busy(50)
    settle(one, 1.0, times=200)
    settle(one, 100.0, times=3)
    assert one.limit == inf


def test_what_stays_slow_is_the_new_usual() -> None:
    """After some hundred slow answers they are no news, and the limit grows again."""
    one = busy(20)
    settle(one, 1.0, times=400)
    settle(one, 8.0, times=60)
    narrow = one.limit
    settle(one, 8.0, times=1500)
    assert narrow < 21.0
    assert one.limit > 2 * narrow


@pytest.mark.parametrize("stream", [True, False])
def test_the_limit_follows_the_ratio_of_what_is_usual_to_what_is_now(stream: bool) -> None:
    """What is usual is an average over 600 answers and what is now over 40, of logarithms."""
    one, usual, now = busy(9), 0.0, 0.0
    settle(one, 9.0, times=30, stream=not stream)  # which are another matter
    for seen, seconds in enumerate([2.0] * 620 + [16.0] * 40, start=1):
        settle(one, seconds, times=1, stream=stream)
        usual += (log(seconds) - usual) / min(600, seen)
        now += (log(seconds) - now) / min(40, seen)
        if one.limit != inf:
            break
    assert one.limit == pytest.approx(10 * 2.0 * exp(usual - now))


def test_a_limit_that_is_half_reached_grows() -> None:
    """With exactly half of it under way it is used enough to grow, with less it is not."""
    half, less = busy(10), busy(10)
    for one in (half, less):
        one.overloaded(START, START)
        one.limit = 10.0
    for _ in range(4):
        half.dropped()
    for _ in range(5):
        less.dropped()
    half.answered(START, 1.0, stream=False)
    less.answered(START, 1.0, stream=False)
    assert half.limit > 10.0
    assert less.limit == 10.0


def test_the_limit_never_shrinks_to_less_than_half_by_times_alone() -> None:
    """However slow it has become, one look at the times halves at most what is under way."""
    one = busy(2)
    settle(one, 1.0, times=400)
    settle(one, 10_000.0, times=20)  # with too few under way to be the cause
    assert one.limit == inf
    for _ in range(18):
        one.started()
    one.answered(START, 10_000.0, stream=False)
    assert one.limit == 10.0


def test_slow_answers_are_trouble_too() -> None:
    """A limit that nobody reaches stays for a minute after the last answer that was too slow."""
    one = busy(2)
    settle(one, 1.0, times=400)
    settle(one, 20.0, times=100)
    for _ in range(20):
        one.started()
    one.overloaded(START, START)
    for _ in range(19):
        one.dropped()
    settle(one, 0.001, times=200, now=START + 50.0)  # the first of them do not outweigh the slow ones yet
    settle(one, 0.001, times=1, now=START + 109.9)
    assert one.limit < inf
    settle(one, 0.001, times=1, now=START + 110.0)
    assert one.limit == inf


def test_an_answer_may_take_no_time() -> None:
    """Where the clock has not moved at all, that is very fast, and no error."""
    one = busy(1)
    one.answered(START, 0.0, stream=True)
    assert one.limit == inf
