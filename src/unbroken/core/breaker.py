"""A circuit breaker as a table: (state, event) -> state, with time as an argument.

Everything that changes a breaker's state is in `TABLE`; what is not in it changes nothing.
Whether failures amount to a TRIP is decided by a `Window`, which knows nothing of states.

    closed ──trip──► open ──probe──► half_open ──good──► ramping ──settled──► closed
                      ▲                  │ bad              │ bad, trip
                      └──────────────────┴──────────────────┘

An answer or a failure counts only if its attempt began after `Breaker.since`: an old failure
says nothing about a provider that has recovered.  Settling leaves `since` at the recovery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from unbroken.policy import Breaking

__all__ = ["TABLE", "Breaker", "Event", "State", "Window", "step"]

BUCKETS = 10
"""Of a window: it slides in tenths."""
DOUBLINGS_MAX = 30
"""Of any time: a billion times the first is past every limit, and still a number."""


class State(StrEnum):
    """Whether a scope gets traffic."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    RAMPING = "ramping"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"


class Event(StrEnum):
    """What can happen to a breaker."""

    TRIP = "trip"
    PROBE = "probe"
    GOOD = "good"
    BAD = "bad"
    DROPPED = "dropped"
    SETTLED = "settled"
    FORCE_OPEN = "force_open"
    FORCE_CLOSE = "force_close"
    RELEASE = "release"


TABLE: Mapping[tuple[State, Event], State] = {
    (State.CLOSED, Event.TRIP): State.OPEN,
    (State.OPEN, Event.PROBE): State.HALF_OPEN,
    (State.OPEN, Event.GOOD): State.RAMPING,
    (State.HALF_OPEN, Event.GOOD): State.RAMPING,
    (State.HALF_OPEN, Event.BAD): State.OPEN,
    (State.HALF_OPEN, Event.DROPPED): State.OPEN,
    (State.HALF_OPEN, Event.PROBE): State.HALF_OPEN,
    (State.RAMPING, Event.BAD): State.OPEN,
    (State.RAMPING, Event.TRIP): State.OPEN,
    (State.RAMPING, Event.SETTLED): State.CLOSED,
    **{(state, Event.FORCE_OPEN): State.FORCED_OPEN for state in State},
    **{(state, Event.FORCE_CLOSE): State.FORCED_CLOSED for state in State},
    (State.FORCED_OPEN, Event.RELEASE): State.CLOSED,
    (State.FORCED_CLOSED, Event.RELEASE): State.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Breaker:
    """Where one scope stands: since when, until when it is left alone, how often in a row it opened."""

    state: State = State.CLOSED
    since: float = 0.0
    until: float = 0.0
    opens: int = 0

    def admits(self, now: float, policy: Breaking, *, chance: float) -> bool:
        """Whether a request may go through; `chance` is uniform in [0, 1)."""
        if self.state is State.OPEN:
            return now >= self.until
        if self.state is State.HALF_OPEN:
            return now >= self.since + policy.probe_s
        if self.state is State.RAMPING:
            return chance < self.share(now, policy)
        return self.state is not State.FORCED_OPEN

    def share(self, now: float, policy: Breaking) -> float:
        """The share of traffic while it returns: a straight line from `ramp_share` to 1."""
        if policy.ramp_s <= 0:
            return 1.0
        passed = min(1.0, (now - self.since) / policy.ramp_s)
        return policy.ramp_share + (1.0 - policy.ramp_share) * passed

    def settles(self, now: float, policy: Breaking) -> bool:
        """Whether the time of returning is over."""
        return self.state is State.RAMPING and now >= self.since + policy.ramp_s


def step(breaker: Breaker, event: Event, *, now: float, policy: Breaking, chance: float) -> Breaker:
    """The breaker after an event.  Open time doubles with each opening in a row, plus jitter."""
    state = TABLE.get((breaker.state, event))
    if state is None:
        return breaker
    if state is not State.OPEN:
        opens = 0 if state is State.CLOSED else breaker.opens
        return Breaker(state, breaker.since if event is Event.SETTLED else now, 0.0, opens)
    if event is Event.DROPPED:
        return replace(breaker, state=state, since=now, until=now)
    open_s = min(policy.open_s * 2.0 ** min(breaker.opens, DOUBLINGS_MAX), policy.open_s_max)
    until = now + open_s * (1.0 + policy.jitter * chance)
    return Breaker(state, now, until, breaker.opens + 1)


class Window:
    """Calls, failures and slow calls of the last `span_s` seconds, and failures in a row."""

    __slots__ = ("_bucket_s", "_buckets", "_newest", "calls", "failures", "in_a_row", "slow")

    def __init__(self, span_s: float) -> None:
        self._bucket_s = span_s / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._buckets = [[0, 0, 0] for _ in range(BUCKETS)]
        self._newest = 0
        self.calls = self.failures = self.slow = self.in_a_row = 0

    def add(self, now: float, *, failed: bool, slow: bool = False) -> None:
        """Count one call."""
        bucket = self._at(now)
        bucket[0] += 1
        self.calls += 1
        if failed:
            bucket[1] += 1
            self.failures += 1
            self.in_a_row += 1
        else:
            self.in_a_row = 0
        if slow:
            bucket[2] += 1
            self.slow += 1

    def counts(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and slow calls in the window of this moment; looking at it changes nothing."""
        oldest = int(now / self._bucket_s) - BUCKETS
        kept = [self._buckets[at % BUCKETS] for at in range(max(oldest, self._newest - BUCKETS) + 1, self._newest + 1)]
        return sum(one[0] for one in kept), sum(one[1] for one in kept), sum(one[2] for one in kept)

    def trips(self, policy: Breaking) -> bool:
        """Whether what was counted is reason enough to open."""
        if self.in_a_row >= policy.consecutive:
            return True
        if self.calls >= policy.calls_min and self.failures >= policy.failure_rate * self.calls:
            return True
        return self.slow >= policy.slow_min and self.slow >= policy.slow_rate * self.calls

    def reaches(self, at: float) -> bool:
        """Whether a call of that time can still be counted: what others tell may come late."""
        return int(at / self._bucket_s) > self._newest - BUCKETS

    def _at(self, now: float) -> list[int]:
        """The bucket of this moment, after those that have become too old were emptied."""
        index = int(now / self._bucket_s)
        if index == self._newest:
            return self._buckets[index % BUCKETS]
        for passed in range(max(self._newest + 1, index - BUCKETS + 1), index + 1):
            old = self._buckets[passed % BUCKETS]
            self.calls -= old[0]
            self.failures -= old[1]
            self.slow -= old[2]
            old[:] = (0, 0, 0)
        self._newest = max(index, self._newest)
        return self._buckets[index % BUCKETS]
