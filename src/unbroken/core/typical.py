"""A quantity that is measured again and again, and may change: what it is now, what it usually is, how sure that is.

    Typical    one quantity, always positive
    Slope      how much more of it comes with each unit of something else
    News       what a measurement suggests
    Mean       the mean of many, and how far they lie apart

A measurement says the more the less is known: what was seen often, or just now, is hardly
moved by one more, and what was not measured for a while is (a Kalman filter for what drifts
back to its mean, in logarithms, as times scatter by factors).  Whether something has changed
is told by the sum of the surprises of late (Page's CUSUM test, 1954): then all is learned
anew.  Estimates rise faster than they fall, as Finagle's peak EWMA does: whoever has become
slow is left at once.  Unlike there, how often somebody is asked does not move his estimate,
so that a busy target can be compared with one that is only looked at now and then.
"""

from __future__ import annotations

from enum import IntEnum
from math import exp, log, sqrt

__all__ = ["HINT", "Mean", "News", "Slope", "Typical"]

LEAST = 1e-6
"""In logarithms nothing would be infinitely little."""
NOISE = 0.12
"""How measurements scatter until that is known, as a variance of logarithms: by a third, as answers do."""
NOISE_SEEN = 10.0
"""... which counts for so many measurements."""
NOISE_LEAST = 0.001
"""Nothing is so regular that three per cent off would be a wonder."""
NOISE_WEIGHT = 0.02
"""What a new one says of it at least."""
WILD = 2.5
"""Nothing counts for more than so many deviations, lest one accident be believed."""
RISE = 2.0
"""How many times more a measurement weighs where it seems to have become worse, ..."""
HEAVIEST = 0.5
"""... up to this."""
DOUBTED = 1.5
"""A suspicion of this sum is what seems so: were every one weighed so that is worse than expected, whoever scatters
more would look slower than he is."""
REVERT_S = 300.0
"""What is not measured drifts back to what is usual; after so long two thirds of the way."""
WANDER = 0.01
"""How far it strays from there by itself: a variance, of some ten per cent."""
USUAL_S = 3600.0
"""What is usual is a matter of hours, ..."""
USUAL_SEEN = 200
"""... and never known better than from so many measurements."""
SHIFT = 1.0
"""Half of what a change comes to, in deviations: what is farther off adds to a suspicion, what is nearer allays it."""
SURPRISE = 4.5
"""More than so much says no more: two such measurements in a row are a change."""
ALARM = 6.5
"""A suspicion of this sum is a change; by chance it comes once in some hundred thousand measurements."""
HOPE = 1.0
"""A suspicion of this sum is reason to look again, where it is for the better."""
ANEW = 1.0
"""How unsure it is after a change, as a variance."""
SLOPE_DOUBT = 1.0
"""A slope may be off by as much as what it is taken for before anything was measured: a variance."""
SLOPE_WANDER = 1e-4
"""By how much it is less sure with each measurement: after some hundreds it may have become another."""
SLOPE_MOST = 25.0
"""Nothing rises more steeply, in times of what is usual."""
MIDDLE_WEIGHT = 0.02
"""Where the middle of the measurements of late is, one more says at least."""
HINT = 0.05
"""Whoever has so small a share in a measurement learns nothing from it."""
MEAN_WEIGHT = 0.005
"""What one more says of a mean at least."""


class News(IntEnum):
    """What a measurement suggests: nothing, that it may have become better, or that it has changed."""

    NONE = 0
    BETTER = 1
    CHANGED = 2


class Typical:
    """One quantity, always positive; the less the better."""

    __slots__ = ("_better", "_doubt", "_level", "_rest", "_worse", "at", "count", "noise", "off")

    def __init__(self, noise: float = NOISE) -> None:
        self._level = self._rest = self._doubt = 0.0
        self.noise = noise
        """How measurements scatter: a variance of logarithms."""
        self.off = 0.0
        """By how much the last one was more than expected, as a logarithm."""
        self._better = self._worse = 0.0
        self.at = 0.0
        self.count = 0

    @property
    def usual(self) -> float:
        """What it usually is; 0 where nothing was measured."""
        return exp(self._rest) if self.count else 0.0

    @property
    def apart(self) -> float:
        """By how much more than usual it was when it was last measured, as a logarithm."""
        return self._level - self._rest

    def guess(self, now: float) -> tuple[float, float]:
        """What it is now, and how unsure that is (a variance of the logarithm); nothing where none was measured."""
        if not self.count:
            return 0.0, 0.0
        level, doubt = self._drifted(now)
        return exp(level), doubt

    def add(self, seen: float, now: float, *, share: float = 1.0) -> News:
        """Take in a measurement, and say what it suggests; `share` is how much of what was measured this was."""
        if share < HINT:
            return News.NONE
        mark, noise = log(max(seen, LEAST)), self.noise / (share * share)
        self.count += 1
        if self.count == 1:
            self._level = self._rest = mark
            self._doubt, self.at = noise, now
            return News.NONE
        usual_weight = share * max(1.0 / self.count, (now - self.at) / USUAL_S)
        level, doubt = self._drifted(now)
        self.at = max(self.at, now)
        off, spread = mark - level, sqrt(noise)
        bound, self.off = WILD * spread, off
        news = self._suspect(off / spread)
        if news is News.CHANGED:
            doubt = ANEW
        else:
            off = _within(off, bound)
            if share == 1.0:
                weight = max(NOISE_WEIGHT, 1.0 / (self.count + NOISE_SEEN))
                self.noise = max(NOISE_LEAST, self.noise + weight * (off * off - self.noise))
        gain = doubt / (doubt + noise)
        self._doubt = doubt * (1.0 - gain)
        rises = off > 0.0 and self._worse > DOUBTED
        self._level = level + off * (max(gain, min(HEAVIEST, RISE * gain)) if rises else gain)
        self._rest += min(1.0, usual_weight) * _within(mark - self._rest, bound)
        if news is News.CHANGED and mark < self._rest:
            self._rest = min(self._rest, self._level)
        return news

    def at_least(self, seen: float, now: float) -> News:
        """It is more than this, how much more is not known."""
        return self.add(seen, now) if not self.count or seen > self.guess(now)[0] else News.NONE

    def move(self, by: float) -> None:
        """It is measured in other terms from now on, in which it is so much more, as a logarithm."""
        self._level += by
        self._rest += by

    def _suspect(self, surprise: float) -> News:
        """Whether the surprises of late, this one included, amount to a change; in deviations, above zero for worse."""
        if -SHIFT <= surprise <= SHIFT and not self._worse and not self._better:
            return News.NONE
        bounded = _within(surprise, SURPRISE)
        self._worse = max(0.0, self._worse + bounded - SHIFT)
        self._better = max(0.0, self._better - bounded - SHIFT)
        if max(self._worse, self._better) > ALARM:
            self._worse = self._better = 0.0
            return News.CHANGED
        return News.BETTER if self._better > HOPE else News.NONE

    def _drifted(self, now: float) -> tuple[float, float]:
        """Where it has drifted to since it was measured, and how unsure that is."""
        if now <= self.at:
            return self._level, self._doubt
        kept, count = exp((self.at - now) / REVERT_S), self.count
        resting = WANDER + self.noise / min(count, USUAL_SEEN)
        return self._rest + kept * (self._level - self._rest), resting + kept * kept * (self._doubt - resting)


class Slope:
    """By how much a quantity grows with the length of what it is measured on, in times of what is usual.

    The quantity is `1 + value * length` times as much as it would be for nothing.  Whether that is so shows
    where measurements of long and of short ones are off to different sides (a Kalman filter again: of the
    derivative of the logarithm, about its mean, so that a change of the quantity itself does not show).
    """

    __slots__ = ("_count", "_doubt", "_middle", "value")

    def __init__(self) -> None:
        self.value = 1.0
        self._doubt, self._middle = SLOPE_DOUBT, 0.0
        self._count = 0

    def add(self, length: float, quantity: Typical, *, share: float = 1.0) -> None:
        """`quantity` has just been measured on this length; `share` as there.  Both stay true of the usual length."""
        lean = share * length / (1.0 + self.value * length)
        apart = lean - self._middle
        self._count += 1
        self._middle += max(MIDDLE_WEIGHT, 1.0 / self._count) * apart
        if self._count == 1:
            return
        noise, was = quantity.noise, self.value
        off = _within(quantity.off, WILD * sqrt(noise))
        gain = self._doubt * apart / (self._doubt * apart * apart + noise)
        self._doubt += SLOPE_WANDER - gain * apart * self._doubt
        self.value = min(max(was + gain * off, 0.0), SLOPE_MOST)
        quantity.move(self._middle * (was - self.value))


class Mean:
    """The mean of what was seen, and how far it lies apart: the last few hundred count."""

    __slots__ = ("count", "value", "variance")

    def __init__(self) -> None:
        self.count = 0
        self.value = self.variance = 0.0

    def add(self, seen: float) -> None:
        """One more."""
        self.count += 1
        if self.count == 1:
            self.value = seen
            return
        weight, off = max(MEAN_WEIGHT, 1.0 / self.count), seen - self.value
        self.variance += weight * (off * off - self.variance)
        self.value += weight * off


def _within(value: float, bound: float) -> float:
    return bound if value > bound else max(value, -bound)
