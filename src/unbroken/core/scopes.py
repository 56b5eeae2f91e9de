"""One thing that can be ill on its own: an address, a model there, a key, a key's share of a model.

What calls say of it goes in (`good`, `bad`, `cool`, ...), what probes say (`suspect`, `hasten`,
`relent`), and whether something stands in the way comes out (`obstacle`).
"""

from __future__ import annotations

from dataclasses import replace

from unbroken.core.breaker import DOUBLINGS_MAX, Breaker, Event, State, Window, step
from unbroken.facts import Probed
from unbroken.failures import FailureKind
from unbroken.policy import Breaking
from unbroken.records import Record

__all__ = ["COOL_S_MAX", "EARLY_S", "Cause", "Health"]

COOL_S_MAX = 300.0
"""The longest cool-down that we invent; a provider may ask for more."""
EARLY_S = 1.0
"""So long before a rest is over probes are sent, to be answered before a caller's request is let through."""
LOOK_S = 10.0
"""What is away for a time that we invented is looked at again after so long, and not sooner."""
_LOOKED_AT = frozenset((State.CLOSED, State.OPEN, State.RAMPING))
"""Elsewhere a probe is under way, or an operator has spoken."""
SLACK_S = 1e-6
"""Beginnings are computed by subtraction, which is not exact."""


class Cause(Record):
    """What was last held against a scope: its kind, in which words, when, and whether a probe found it."""

    kind: FailureKind
    message: str
    at: float
    probed: bool = False


class Health:
    """One scope: its breaker, its window, and until when it is set aside."""

    __slots__ = (
        "_guessed", "_missed_at", "breaker", "cause", "cool_since", "cool_until", "cooled", "cooled_for", "policy",
        "probe", "refused", "troubled", "window",
    )  # fmt: skip

    def __init__(self, policy: Breaking) -> None:
        self.policy = policy
        self.breaker = Breaker()
        self.window = Window(policy.window_s)
        self.cool_since = self.cool_until = self._missed_at = 0.0
        self._guessed = False
        self.cooled = 0
        self.cooled_for = ""
        self.troubled = False
        self.cause: Cause | None = None
        self.probe: Probed | None = None
        self.refused = False

    def good(self, now: float, began: float, *, chance: float, slow: bool = False) -> None:
        """An answer came, to an attempt that began then."""
        if self.troubled and (now >= self.cool_until or (self._guessed and began + SLACK_S >= self._missed_at)):
            self.cooled, self.cool_until = 0, min(now, self.cool_until)
        if not self._is_news(began):
            return
        self.window.add(now, failed=False, slow=slow)
        if self.troubled:
            self._step(Event.BAD if slow else Event.GOOD, now, chance=chance)
        if slow and self.window.trips(self.policy):
            self._step(Event.TRIP, now, chance=chance)

    def answered(self, now: float, began: float, *, chance: float) -> None:
        """It spoke, if not well: good enough for a probe, but no call to count."""
        if self.troubled and self._is_news(began):
            self._step(Event.GOOD, now, chance=chance)

    def bad(self, now: float, began: float, *, chance: float, slow: bool = False) -> None:
        """A failure that counts."""
        if not self._is_news(began):
            return
        self.window.add(now, failed=True, slow=slow)
        self._step(Event.BAD, now, chance=chance)
        if self.window.trips(self.policy):
            self._step(Event.TRIP, now, chance=chance)

    def dropped(self, now: float, began: float, *, chance: float) -> None:
        """An attempt ended without saying anything about health."""
        if self.troubled and self._is_news(began):
            self._step(Event.DROPPED, now, chance=chance)

    def started(self, now: float, chance: float) -> None:
        """An attempt goes out; if it is the first after a time of rest, it is the probe."""
        if self.troubled and self.breaker.admits(now, self.policy, chance=0.0):
            self._step(Event.SETTLED if self.breaker.settles(now, self.policy) else Event.PROBE, now, chance=chance)

    def cool(self, now: float, hint_s: float | None, *, cool_s: float, why: str) -> None:
        """Set aside for so long as was asked, or else for a time that doubles; the later end wins."""
        if now >= self.cool_until:
            self.cool_since = now
            self.cooled += 1  # those that were under way together fail together, and count once
        self._guessed, self._missed_at = hint_s is None, now
        if hint_s is None:
            doubled_s = cool_s * 2.0 ** min(self.cooled - 1, DOUBLINGS_MAX)
            hint_s = min(doubled_s, max(COOL_S_MAX, cool_s))
        if now + hint_s > self.cool_until:
            self.cool_until, self.cooled_for = now + hint_s, why
        self.troubled = True

    # -- what probes say

    def claim(self, now: float, *, chance: float) -> None:
        """A probe goes out in place of the request that would be let through next."""
        if self.breaker.state is State.OPEN:
            self._step(Event.PROBE, now, chance=chance)

    def relapse(self, now: float, began: float, *, chance: float) -> None:
        """A probe failed in a way that counts nowhere: back to rest, or the next would follow at once."""
        if self.breaker.state is State.HALF_OPEN and self._is_news(began):
            self._step(Event.BAD, now, chance=chance)

    def suspect(self, now: float, *, chance: float, gone: bool) -> None:
        """A free question went wrong: one more failure in a row, though no call.

        `gone` where nobody was even there: then no caller is sent to find that out when the rest is over.
        """
        self.window.in_a_row += 1
        if gone and self.breaker.state is State.OPEN and now + EARLY_S >= self.breaker.until:
            self.claim(now, chance=chance)
            self._step(Event.BAD, now, chance=chance)
        elif self.window.trips(self.policy):
            self._step(Event.TRIP, now, chance=chance)

    def hasten(self, now: float) -> None:
        """A free question was answered: somebody is there, and the next request may find out the rest."""
        if self.breaker.state is State.CLOSED:
            self.window.in_a_row = 0
        elif self.breaker.state is State.OPEN:
            self.breaker = replace(self.breaker, until=min(self.breaker.until, now))

    def relent(self, now: float) -> None:
        """The question that was refused with this key is answered now."""
        if self.refused:
            self.refused, self.cool_until = False, min(self.cool_until, now)

    def follow(self, policy: Breaking) -> None:
        """Another policy from now on; calls that were counted stay counted, unless the window is another one."""
        if policy.window_s != self.policy.window_s:
            self.window = Window(policy.window_s)
        self.policy = policy

    # -- by hand, and questions

    def force(self, now: float, event: Event) -> None:
        """By hand."""
        self._step(event, now, chance=0.0)

    @property
    def is_forced(self) -> bool:
        """Whether an operator has spoken."""
        return self.breaker.state in (State.FORCED_OPEN, State.FORCED_CLOSED)

    def obstacle(self, now: float, chance: float) -> str | None:
        """What stands in the way, in words; None if nothing does."""
        state = self.breaker.state
        if state is State.FORCED_CLOSED:
            return None
        if now < self.cool_until:
            return f"cooling down for {self.cool_until - now:.0f} s ({self.cooled_for})"
        if not self.breaker.admits(now, self.policy, chance=chance):
            return f"breaker {state}"
        return None

    def may_look(self, now: float) -> bool:
        """Whether a look is allowed: nobody has said for how long it is away, and it was not asked just now."""
        if self.breaker.state not in _LOOKED_AT:
            return False
        return now >= self.cool_until or (self._guessed and now >= self._missed_at + LOOK_S)

    def free_at(self, now: float) -> float:
        """When it will be worth another try."""
        return max(self.cool_until, self.breaker.until, now)

    def _is_news(self, began: float) -> bool:
        """Whether an attempt that began then says anything about the present."""
        return began + SLACK_S >= self.breaker.since

    def _step(self, event: Event, now: float, *, chance: float) -> None:
        before = self.breaker
        self.breaker = step(before, event, now=now, policy=self.policy, chance=chance)
        if self.breaker is not before and self.breaker.state in (State.RAMPING, State.CLOSED):
            self.window.clear()
        # Until an answer came after a cool-down, it is not known whether the next one is to be longer.
        self.troubled = self.breaker.state is not State.CLOSED or self.cooled > 0
