"""Measurement by measurement: what the filters of `core.typical` make of it, beside the same as books write it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import exp, log
from random import Random

import pytest

from core.world import START
from unbroken.core.typical import ALARM, HOPE, SHIFT, SURPRISE, Mean, News, Slope, Typical


class Textbook:
    """A Kalman filter for what reverts to its mean, with its numbers, and a two-sided CUSUM over its surprises.

    From when on surprises are news is a matter of tuning, and as `core.typical` has it.
    """

    def __init__(self, noise: float = 0.12) -> None:
        self.noise, self.seen, self.at = noise, 0, 0.0
        self.mean = self.variance = self.normal = self.off = 0.0
        self.sums = {+1: 0.0, -1: 0.0}

    def at_time(self, now: float) -> tuple[float, float]:
        """Mean and variance: they go exponentially, within 300 s, to the normal ones."""
        if now <= self.at:
            return self.mean, self.variance
        left = exp(-(now - self.at) / 300.0)
        normal_variance = 0.01 + self.noise / min(self.seen, 200)
        return (
            left * self.mean + (1.0 - left) * self.normal,
            left**2 * self.variance + (1.0 - left**2) * normal_variance,
        )

    def measure(self, value: float, now: float, share: float) -> News:
        if share < 0.05:
            return News.NONE
        mark, noise = log(max(1e-6, value)), self.noise / share**2
        self.seen += 1
        if self.seen == 1:
            self.mean, self.variance, self.normal, self.at = mark, noise, mark, now
            return News.NONE
        deviation = noise**0.5
        mean, variance = self.at_time(now)
        self.off = mark - mean
        news = self.sum_up(self.off / deviation)
        off, aside = self.off, mark - self.normal
        if news is News.CHANGED:
            variance = 1.0
        else:
            off = max(-2.5 * deviation, min(off, 2.5 * deviation))
            if share == 1.0:
                step = max(1.0 / (10.0 + self.seen), 0.02)
                self.noise = max(0.001, (1.0 - step) * self.noise + step * off**2)
        gain = variance / (variance + noise)
        faster = max(gain, min(0.5, 2.0 * gain)) if off > 0.0 and self.sums[+1] > 1.5 else gain
        self.mean, self.variance = mean + faster * off, variance * noise / (variance + noise)
        weight = min(1.0, share * max(1.0 / self.seen, (now - self.at) / 3600.0))
        self.normal += weight * max(-2.5 * deviation, min(aside, 2.5 * deviation))
        if news is News.CHANGED and mark < self.normal:
            self.normal = min(self.normal, self.mean)
        self.at = max(now, self.at)
        return news

    def sum_up(self, surprise: float) -> News:
        surprise = max(-SURPRISE, min(surprise, SURPRISE))
        self.sums = {side: max(0.0, total + side * surprise - SHIFT) for side, total in self.sums.items()}
        if max(self.sums.values()) > ALARM:
            self.sums = {+1: 0.0, -1: 0.0}
            return News.CHANGED
        return News.BETTER if self.sums[-1] > HOPE else News.NONE


Measured = tuple[float, float, float]
"""A measurement, how long after the one before, and its share."""


def steady(spread: float, times: int, *, of: float = 1.0, every_s: float = 1.0, seed: int = 1) -> Iterator[Measured]:
    draw = Random(seed)
    for _ in range(times):
        yield draw.lognormvariate(log(of), spread), every_s, 1.0


def shared(times: int) -> Iterator[Measured]:
    """Parts of answers, now long, now short, with pauses, and now and then out of order."""
    draw = Random(2)
    for number in range(times):
        share = draw.choice([0.049, 0.05, 0.3, 0.9, 1.0])
        wait_s = draw.choice([0.0, 0.0, 1.0, 30.0, 400.0, 5_000.0, -10.0]) if number else 0.0
        yield draw.lognormvariate(0.0, 0.4), wait_s, share


STORIES: dict[str, list[Measured]] = {
    "as usual": [*steady(0.3, 260)],
    "quite regular": [*steady(0.001, 300)],
    "always the same": [*steady(0.0, 300), (1.0, 1_000.0, 1.0), (1.02, 1.0, 1.0)],
    "wild": [*steady(1.5, 120)],
    "worse and back": [*steady(0.3, 60), *steady(0.3, 40, of=4.0, seed=3), *steady(0.3, 40, seed=4)],
    "better at once": [(1.0, 0.0, 1.0), (0.6, 1.0, 1.0)],
    "better and back": [*steady(0.3, 60), *steady(0.3, 40, of=0.2, seed=5), *steady(0.3, 40, seed=6)],
    "slowly worse": [(exp(number / 40.0), 1.0, 1.0) for number in range(150)],
    "slowly better": [(exp(-number / 40.0), 1.0, 1.0) for number in range(150)],
    "seldom": [*steady(0.3, 60, every_s=90.0), *steady(0.3, 30, of=2.0, every_s=2_000.0)],
    "in parts": [*shared(300)],
    "out of nothing": [(0.0, 0.0, 1.0), (1e-7, 1.0, 1.0), (1e-5, 1.0, 1.0), (1e-6, 1.0, 1.0)],
    "an accident": [*steady(0.2, 50), (40.0, 1.0, 1.0), *steady(0.2, 9), (0.02, 1.0, 1.0), *steady(0.2, 9)],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_each_measurement_moves_it_as_the_books_say(story: Iterable[Measured]) -> None:
    """What it is, how unsure, what is usual, how it scatters, what was off and what that suggests: step by step."""
    made, book, now = Typical(), Textbook(), START
    for value, wait_s, share in story:
        now += wait_s
        assert made.add(value, now, share=share) is book.measure(value, now, share)
        if not book.seen:
            assert made.count == 0
            continue
        state = (book.seen, book.at, exp(book.normal), book.noise, book.off)
        assert (made.count, made.at, made.usual, made.noise, made.off) == pytest.approx(state)
        for later_s in (0.0, 1.0, 500.0):
            mean, variance = book.at_time(now + later_s)
            assert made.guess(now + later_s) == pytest.approx((exp(mean), variance))


@pytest.mark.parametrize(("deviations", "news"), [(1.9, News.NONE), (2.1, News.BETTER)])
def test_two_deviations_are_a_hope(deviations: float, news: News) -> None:
    """What is better by less than that happens every day."""
    made = Typical()
    for _ in range(30):
        made.add(1.0, START)
    assert made.add(exp(-deviations * made.noise**0.5), START) is news
    assert len(set(News)) == 3


@pytest.mark.parametrize("surprises", [(3.0, 3.0, 3.0, 3.0), (9.0, 9.0), (9.0, 3.2, 3.0)])
def test_so_many_surprises_in_a_row_are_a_change(surprises: tuple[float, ...]) -> None:
    """Four of three deviations, or two of more than counts; a wonder counts for no more than four and a half."""
    made = Typical()
    for _ in range(30):
        made.add(1.0, START)
    news = [made.add(made.guess(START)[0] * exp(times * made.noise**0.5), START) for times in surprises]
    assert news == [*[News.NONE] * (len(surprises) - 1), News.CHANGED]


def test_to_have_waited_as_long_as_was_expected_says_nothing() -> None:
    """What is more than it, and nobody knows how much, is learned from; the first time anything is."""
    made = Typical()
    made.at_least(2.0, START)
    made.at_least(made.guess(START)[0], START)
    assert made.count == 1
    made.at_least(2.1, START)
    assert made.count == 2


def test_what_it_is_told_of_its_noise_is_where_it_begins() -> None:
    """A price scatters less than a time, and the first measurement of it is as sure as that."""
    made, book = Typical(0.01), Textbook(0.01)
    for value in (1.0, 1.1, 0.95, 1.3):
        assert made.add(value, START) is book.measure(value, START, 1.0)
        assert (made.noise, *made.guess(START)) == pytest.approx((book.noise, exp(book.mean), book.variance))


def test_other_terms_move_what_it_is_and_what_it_usually_is() -> None:
    """Nothing is learned by that."""
    made = Typical()
    for value in (1.0, 2.0):
        made.add(value, START)
    (before, doubt), usual = made.guess(START), made.usual
    made.move(log(3.0))
    assert (*made.guess(START), made.usual) == pytest.approx((3.0 * before, doubt, 3.0 * usual))


# ------------------------------------------------------------------------- a slope


class Incline:
    """A Kalman filter of one slope, of which a measurement shows as much as it is longer than others."""

    def __init__(self) -> None:
        self.slope, self.variance, self.middle, self.seen = 1.0, 1.0, 0.0, 0

    def measure(self, length: float, quantity: Textbook, share: float) -> None:
        leverage = share * length / (1.0 + self.slope * length)
        apart, self.seen = leverage - self.middle, self.seen + 1
        self.middle += apart * max(0.02, 1.0 / self.seen)
        if self.seen == 1:
            return
        most = 2.5 * quantity.noise**0.5
        off = max(-most, min(quantity.off, most))
        of_it = self.variance * apart**2
        moved = off * self.variance * apart / (of_it + quantity.noise)
        self.variance += 1e-4 - self.variance * of_it / (of_it + quantity.noise)
        slope = min(25.0, max(0.0, self.slope + moved))
        quantity.mean -= self.middle * (slope - self.slope)
        quantity.normal -= self.middle * (slope - self.slope)
        self.slope = slope


@pytest.mark.parametrize("true_slope", [0.0, 1.0, 8.0, 60.0])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_each_length_moves_a_slope_as_the_books_say(true_slope: float, share: float) -> None:
    """And what is usual stays what it is, seen from the usual length."""
    draw, made, slope, book, incline = Random(7), Typical(), Slope(), Textbook(), Incline()
    for number in range(200):
        now, length = START + number, draw.choice([0.0, 0.01, 0.5, 2.0, 10.0])
        seconds = (1.0 + true_slope * length) * draw.lognormvariate(0.0, 0.2)
        made.add(seconds / (1.0 + slope.value * length), now, share=share)
        slope.add(length, made, share=share)
        book.measure(seconds / (1.0 + incline.slope * length), now, share)
        incline.measure(length, book, share)
        assert (slope.value, *made.guess(now), made.usual) == pytest.approx(
            (incline.slope, exp(book.mean), book.variance, exp(book.normal))
        )


def test_a_slope_has_its_bounds() -> None:
    """Nothing gets faster with its length, and nothing slower than twenty-five times as much."""
    for off, bound in ((1.0, 25.0), (-1.0, 0.0)):
        quantity, slope = Typical(), Slope()
        for number in range(20_000):
            length = (0.0, 5.0)[number % 2]
            quantity.off = off if length else -off
            slope.add(length, quantity)
            assert 0.0 <= slope.value <= 25.0
        assert slope.value == bound


# ------------------------------------------------------------------------- a mean


def test_each_number_moves_a_mean_by_its_weight() -> None:
    """The first is the mean; then each is one of so many, and of two hundred at most."""
    draw, made = Random(8), Mean()
    mean = variance = 0.0
    for count in range(1, 500):
        seen = draw.expovariate(0.2) ** 2
        made.add(seen)
        weight = max(1.0 / count, 0.005)
        off = seen - mean
        if count > 1:
            variance = (1.0 - weight) * variance + weight * off**2
        mean += weight * off
        assert (made.count, made.value, made.variance) == pytest.approx((count, mean, variance))
