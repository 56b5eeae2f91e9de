"""How much more than the traffic itself may be sent: the one door for retries and hedges.

A bucket in the manner of finagle's RetryBudget and tower's TpsBudget: each request deposits
a share, each retry or hedge withdraws one, a reserve refills with time.  A fixed number of
retries multiplies load in an outage; a share of traffic cannot.
"""

from __future__ import annotations

from unbroken.policy import Budget

__all__ = ["Purse"]

EARNED_MAX = 10.0
"""What traffic may earn at least, where the reserve is small or nothing."""


class Purse:
    """The budget of one route."""

    __slots__ = ("_level", "_policy", "_seen_at")

    def __init__(self, policy: Budget) -> None:
        self._policy = policy
        self._level = policy.reserve
        self._seen_at: float | None = None

    @property
    def most(self) -> float:
        """The level that it never exceeds: the reserve, and what a window of heavy traffic earns."""
        return self._policy.reserve + max(self._policy.reserve, EARNED_MAX)

    def deposit(self, now: float) -> None:
        """A request came in."""
        self._refill(now)
        self._level = min(self.most, self._level + self._policy.ratio)

    def withdraw(self, now: float) -> bool:
        """Whether one more attempt can be afforded; if so it is paid for."""
        self._refill(now)
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

    def _refill(self, now: float) -> None:
        if self._seen_at is not None and self._level < self._policy.reserve:
            rate = self._policy.reserve / self._policy.window_s
            self._level = min(self._policy.reserve, self._level + (now - self._seen_at) * rate)
        self._seen_at = now
