"""How many requests at once a model at its provider stands: unknown, and unlimited, until it shows.

Two things show it.  Answers that take much longer than they used to, while many are under way,
are waiting in the provider's queue: the limit follows the ratio of the two, with the square
root of itself as room to find out more (the gradient of Netflix's concurrency-limits, which
descends from TCP Vegas).  And a provider that says it is overloaded, or says nothing, gets
less at once and more step by step (additive increase, multiplicative decrease).  When nothing
of that sort was seen for a while, there is no limit again.

Times are compared by their logarithm: one answer of a minute among many of a second is no trend.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt

__all__ = ["Concurrency"]

LONG_ANSWERS = 600.0
"""What is usual is an average over so many answers, ..."""
SHORT_ANSWERS = 40.0
"""... what is so now over so many; until that many were seen, the two are the same."""
TOLERANCE = 2.0
"""Answers may take twice as long as usual before less is asked."""
STEEPEST = 0.5
"""Of the limit, is left at least by one look at the times."""
SMOOTHING = 0.2
"""How far the limit moves with one answer."""
BUSY_MIN = 4
"""With fewer under way than this it is not us who make it slow."""
CUT = 0.7
"""Of what was under way, may be when a provider says that it was too much."""
CALM_S = 60.0
"""So long after the last sign of trouble, a limit that nobody reaches is none."""
SHORTEST_S = 0.001


class Concurrency:
    """One model at one provider: what is under way, and how much may be.

    `limit` is infinite while nothing speaks for less.
    """

    __slots__ = ("_cut_at", "_long", "_seen", "_short", "_trouble_at", "in_flight", "limit")

    def __init__(self) -> None:
        self.in_flight = 0
        self.limit = inf
        self._long, self._short, self._seen = [0.0, 0.0], [0.0, 0.0], [0, 0]
        self._cut_at = self._trouble_at = -inf

    @property
    def has_room(self) -> bool:
        """Whether one more may start; one may always, as the limit never falls below it."""
        return self.in_flight < self.limit

    def started(self) -> None:
        """One more is under way."""
        self.in_flight += 1

    def dropped(self) -> None:
        """One ended in a way that says nothing."""
        self.in_flight -= 1

    def answered(self, now: float, seconds: float, *, stream: bool) -> None:
        """One ended well; `seconds` as is comparable: a stream's to its first content, another's to its end."""
        busy, self.in_flight = self.in_flight, self.in_flight - 1
        gradient = self._gradient(seconds, kind=int(stream))
        if gradient < 1.0:
            self._trouble_at = now
        if self.limit == inf:
            if gradient < 1.0 and busy >= BUSY_MIN:
                self.limit = busy * gradient
            return
        if busy * 2.0 < self.limit:
            if now - self._trouble_at >= CALM_S:
                self.limit = inf
            return
        wanted = self.limit * gradient + sqrt(self.limit)
        self.limit += SMOOTHING * (wanted - self.limit)

    def overloaded(self, now: float, began: float) -> None:
        """One failed because it was too much, or in silence; those that were under way together count once."""
        busy, self.in_flight = self.in_flight, self.in_flight - 1
        self._trouble_at = now
        if began >= self._cut_at:
            self._cut_at = now
            self.limit = max(1.0, CUT * min(self.limit, busy))

    def _gradient(self, seconds: float, *, kind: int) -> float:
        """How much of what is under way is not too much, as far as times tell: STEEPEST to 1."""
        value = log(max(seconds, SHORTEST_S))
        self._seen[kind] += 1
        seen = self._seen[kind]
        for average, answers in ((self._long, LONG_ANSWERS), (self._short, SHORT_ANSWERS)):
            average[kind] += (value - average[kind]) / min(answers, seen)
        ratio = TOLERANCE * exp(self._long[kind] - self._short[kind])
        return max(STEEPEST, min(1.0, ratio))
