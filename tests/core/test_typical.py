from __future__ import annotations

from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.world import START
from unbroken.core import typical
from unbroken.core.typical import Mean, News, Typical


def seen(*values: float, every_s: float = 0.0) -> Typical:
    """One quantity, measured like this from `START` on."""
    made = Typical()
    for number, value in enumerate(values):
        made.add(value, START + number * every_s)
    return made


def value(of: Typical, now: float = START) -> float:
    return of.guess(now)[0]


def doubt(of: Typical, now: float = START) -> float:
    return of.guess(now)[1]


def test_nothing_is_known_of_what_was_never_measured() -> None:
    """Nought stands for that, and there is no doubt about it."""
    assert (Typical().guess(START), Typical().usual, Typical().count) == ((0.0, 0.0), 0.0, 0)


def test_the_first_measurement_is_believed() -> None:
    """Nothing else is known yet; it may be off by a third."""
    made = seen(0.5)
    assert value(made) == made.usual == pytest.approx(0.5)
    assert (doubt(made), made.count, made.at) == (typical.NOISE, 1, START)


def test_it_rises_faster_than_it_falls() -> None:
    """What is so much worse that something seems to have happened weighs twice; what varies as ever weighs the same."""
    for times, weight in ((1.05, 1.0), (3.0, 2.0)):
        risen, fallen = seen(*[1.0] * 100, times), seen(*[1.0] * 100, 1 / times)
        assert log(value(risen)) == pytest.approx(-weight * log(value(fallen)))
        assert 1.0 < value(risen) < 1.05


def test_after_a_bad_answer_a_good_one_weighs_as_ever() -> None:
    """It is not believed the sooner that things are better because they seemed to be worse."""
    calm, alarmed = seen(*[1.0] * 101), seen(*[1.0] * 100, 3.0)
    moved = []
    for made in (calm, alarmed):
        before = value(made)
        made.add(before / 1.05, START)
        moved.append(log(before / value(made)))
    assert moved[1] == pytest.approx(moved[0], rel=0.2)


def test_the_more_is_known_the_less_a_measurement_says() -> None:
    """The second is worth as much as the first, the hundredth hardly anything."""
    gains = [value(seen(*[1.0] * times, 0.9)) for times in (1, 4, 20, 100)]
    assert gains == sorted(gains)
    assert gains[0] == pytest.approx(0.95, abs=0.005)
    assert gains[-1] > 0.99
    doubts = [doubt(seen(*[1.0] * times)) for times in (1, 4, 20, 100)]
    assert doubts == sorted(doubts, reverse=True)


def test_after_a_silence_a_measurement_says_more() -> None:
    """What was not measured for a while may have changed."""
    draw = Random(1)
    values = [draw.lognormvariate(0.0, 0.3) for _ in range(200)]
    moved = []
    for silent_s in (0.0, 60.0, 600.0):
        made = seen(*values)
        before = value(made, START + silent_s)
        made.add(0.7 * before, START + silent_s)
        moved.append(1.0 - value(made, START + silent_s) / before)
    assert moved == sorted(moved)
    assert moved[2] > 2 * moved[0]


def test_two_great_surprises_in_a_row_are_a_change() -> None:
    """One may be an accident, and hardly counts; the second is believed at once."""
    made = seen(*[1.0] * 50)
    assert made.add(8.0, START) is News.NONE
    assert value(made) < 1.2
    assert made.add(8.0, START) is News.CHANGED
    assert value(made) > 6.0
    assert made.usual < 1.2, "a bad minute is no new normal"


def test_small_surprises_add_up() -> None:
    """Half again as slow is no wonder of one answer, and one of many."""
    draw = Random(2)
    made = seen(*[draw.lognormvariate(0.0, 0.3) for _ in range(400)])
    news = [made.add(draw.lognormvariate(log(1.9), 0.3), START) for _ in range(25)]
    assert news[0] is news[1] is News.NONE
    assert News.CHANGED in news


def test_surprises_to_both_sides_are_no_change() -> None:
    """That is only a restless provider; what may be for the better is told."""
    made = seen(*[1.0] * 50)
    news = [made.add(value, START) for value in (8.0, 0.1, 8.0, 0.1)]
    assert set(news) == {News.NONE, News.BETTER}
    assert news[0] is News.NONE
    assert news[1] is News.BETTER


def test_what_is_as_expected_allays_suspicions() -> None:
    """After one wonder and three ordinary answers it takes two wonders again."""
    made = seen(*[1.0] * 50)
    assert {made.add(seen, START) for seen in (8.0, 1.0, 1.0, 1.0, 8.0, 1.0)} == {News.NONE}


def test_a_change_for_the_better_is_the_new_normal() -> None:
    """Whoever has become fast is usually fast from now on."""
    made = seen(*[5.0] * 50)
    assert made.add(0.5, START) is News.BETTER
    assert made.add(0.5, START) is News.CHANGED
    assert made.usual == pytest.approx(value(made))
    assert made.usual < 1.5


def test_by_chance_hardly_anything_changes() -> None:
    """Whatever the deviation: what usually varies surprises less."""
    for spread in (0.1, 0.3, 0.8):
        draw = Random(3)
        made = seen(*[draw.lognormvariate(0.0, spread) for _ in range(100)])
        news = [made.add(draw.lognormvariate(0.0, spread), START) for _ in range(5_000)]
        assert news.count(News.CHANGED) <= 3


def test_it_finds_the_mean_and_how_unsure_that_is() -> None:
    """Of the logarithms; the doubt is about what it is off by."""
    draw = Random(4)
    made = seen(*[draw.lognormvariate(0.0, 0.3) for _ in range(2_000)], every_s=0.2)
    now = START + 400
    assert -0.08 < log(value(made, now)) < 0.08
    assert 0.0 < doubt(made, now) < 0.01


def test_what_is_not_measured_drifts_back_to_what_is_usual() -> None:
    """Two thirds of the way in five minutes."""
    made = seen(*[1.0] * 200, 8.0, 8.0, 8.0)
    off = log(value(made) / made.usual)
    assert off > 1.5
    assert log(value(made, START + typical.REVERT_S) / made.usual) == pytest.approx(off / exp(1))
    assert value(made, START + 1e6) == pytest.approx(made.usual)
    assert doubt(made, START + 1e6) > typical.WANDER


def test_what_was_only_partly_measured_says_less() -> None:
    """A tenth of an answer's time says a hundredth; next to nothing says nothing."""
    whole, half, hardly = (seen(*[1.0] * 20) for _ in range(3))
    for made, share in ((whole, 1.0), (half, 0.5), (hardly, 0.04)):
        assert made.add(0.9, START, share=share) is News.NONE
    assert value(whole) < value(half) < value(hardly) == pytest.approx(1.0)
    assert hardly.count == 20


def test_at_least_raises_and_never_lowers() -> None:
    """Who was hung up on after so long is slower than that; who is known to be slow stays it."""
    made = seen(*[1.0] * 50)
    assert made.at_least(0.2, START) is News.NONE
    assert value(made) == pytest.approx(1.0)
    made.at_least(1.5, START)
    assert value(made) > 1.0
    fresh = Typical()
    fresh.at_least(2.0, START)
    assert value(fresh) == pytest.approx(2.0)


def test_time_that_goes_backwards_changes_nothing() -> None:
    """Facts of several loops may be told out of order."""
    made = seen(1.0, 2.0, every_s=10.0)
    assert made.guess(START) == made.guess(START + 10.0)
    made.add(1.5, START)
    assert made.at == START + 10.0


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60), st.floats(0.0, 1e6), st.floats(0.05, 1.0))
def test_an_estimate_lies_among_what_was_seen(values: list[float], later_s: float, share: float) -> None:
    """Nothing is extrapolated, whatever comes."""
    made = Typical()
    for number in values:
        made.add(number, START, share=share)
    least, most = max(min(values), 1e-6), max(*values, 1e-6)
    slack = 1.0 + 1e-9
    for found in (value(made), made.usual, value(made, START + later_s)):
        assert least / slack <= found <= most * slack
    assert doubt(made, START + later_s) > 0.0


def test_a_mean_is_of_the_last_few_hundred() -> None:
    """What came before fades by a two-hundredth with each."""
    made = Mean()
    for number in range(100):
        made.add(50.0 if number % 2 else 150.0)
    assert made.count == 100
    assert made.value == pytest.approx(100.0)
    assert made.variance == pytest.approx(2_500.0, rel=0.1)
    for _ in range(2_000):
        made.add(10.0)
    assert made.value == pytest.approx(10.0, rel=0.02)
