"""Finding out who is best without paying much for it: what the strategies that learn have in common.

A `Scout` belongs to a route.  It counts how often each target was chosen of late, and keeps a
purse from which looking at somebody else is paid.  Each request puts `share` of a request
into it; a look costs one, or more where the other is known to be worse.  So at most that share
of requests is spent on looking, and what they lose is bounded by the same share; only who was
surprisingly good is looked at again on credit.

Whom to look at is decided as by the discounted upper confidence bound (Garivier and Moulines,
"On upper-confidence bound policies for switching bandit problems", 2011): by how good a target
may be, given how little is known of it, where what is known fades with each request.  So
close rivals are looked at often, hopeless ones hardly ever, and nobody is forgotten who is
not a hundred times worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt

from unbroken.core.typical import News
from unbroken.facts import Decided

__all__ = ["Scout"]

FADING = 150.0
"""Requests of a route after which two thirds of what was known of a target is forgotten."""
ASKS_MAX = 30.0
"""More than this need not be remembered."""
SPREAD = 0.35
"""Deviation of the logarithm of times: answers of hosted models typically vary by a third."""
UNKNOWN = 0.02
"""Of a target that was never asked as much is known as if a fiftieth of a request had been."""
SELDOM = 8.0
"""Whoever was asked less than this lately is known from looks alone."""
SAVINGS_MAX = 4.0
"""Looks that may be saved up: after a long calm as many are there when something changes."""
WINDFALL = 4.0
"""Looks that are given when a change was noticed, ..."""
CALM = 200
"""... but not again within so many requests."""
AGAIN = 1.0
"""Who seems to have become better is looked at again right away: if he is, that costs nothing."""


class Scout:
    """What one route has found out, and what it may spend on finding out more."""

    __slots__ = ("_alarmed", "_asks", "purse", "requests")

    def __init__(self) -> None:
        self._asks: dict[str, tuple[float, int]] = {}
        self.requests = 0
        self.purse = SAVINGS_MAX
        self._alarmed = 0

    def known(self, name: str) -> float:
        """How many requests to this target are still remembered."""
        count, at = self._asks.get(name, (0.0, 0))
        return count * exp((at - self.requests) / FADING) if count else 0.0

    def decided(self, fact: Decided) -> None:
        """A request of the route was given to somebody."""
        self.requests += 1
        self.purse = max(self.purse, min(SAVINGS_MAX, self.purse + fact.share)) - fact.price
        if fact.order:
            name = fact.order[0].name
            self._asks[name] = (min(ASKS_MAX, self.known(name) + 1.0), self.requests)

    def told(self, name: str, news: News) -> None:
        """A target is not as it was: look around now.

        One that seems to have become better is looked at again as if nothing were known of
        it, unless it is asked so often that it will show anyway.
        """
        if news is News.BETTER and self.known(name) > SELDOM:
            return
        self._asks.pop(name, None)
        if news is News.BETTER:
            self.purse = max(self.purse, AGAIN)
        if self.requests - self._alarmed >= CALM:
            self.purse += WINDFALL
            self._alarmed = self.requests

    def look(self, names: Sequence[str], burdens: Sequence[float], *, leader: int) -> int | None:
        """Whom to look at in place of the leader; None for nobody."""
        certain = log(1.0 + min(self.requests + 1.0, FADING))
        hopes = [
            burden - SPREAD * sqrt(certain / (self.known(name) + UNKNOWN))
            for name, burden in zip(names, burdens, strict=True)
        ]
        best = min(range(len(hopes)), key=hopes.__getitem__)
        return None if best == leader else best

    def affords(self, price: float) -> bool:
        """Whether a look may be paid now; one that is dearer than all savings is owed."""
        return self.purse >= min(price, SAVINGS_MAX)
