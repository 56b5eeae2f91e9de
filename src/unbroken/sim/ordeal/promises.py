"""What must hold, by name; and who breaks it, while it happens.

A `Breach` is noted at the step at which a promise is broken, or at the end of a run for promises about the
whole of it.  Whoever looks on sees facts, callers and calls, and asks replicas nothing but what an
operator could ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Fact, FlightEnded
from unbroken.policy import Route
from unbroken.sim.ordeal.callers import Asker
from unbroken.sim.ordeal.house import House
from unbroken.sim.world import Truth
from unbroken.types import Why

__all__ = ["PROMISES", "Breach", "Breaches", "Flights"]

PROMISES: Mapping[str, str] = {
    "one end": "a caller hears once that it is over, and nothing after that",
    "shown once": "what a caller sees is the true answer from its beginning: nothing twice, lost or foreign",
    "one record": "a request is noted as ended once, with as many attempts as there were, and nothing of it after that",
    "attempts": "no request starts more attempts than its route allows, and no provider gets it more often",
    "attempt ends": "each attempt that was started ends once, and before its request does",
    "purse": "retries and hedges are never more than the share of traffic and the reserve that pay for them",
    "taken out": "nothing is sent to a target that its operator has taken out, as far as the replica knows",
    "no stuck flight": "every request comes to an end, within a stated time",
    "nothing left": "when all requests are over, no connection, waiter, room or money is held for any of them",
    "limit": "all replicas together stay within a limit in every window; those without the store, within their shares",
    "at once": "all replicas together keep a limit of requests at once, but for those without the store",
    "budget": "what is spent of a budget exceeds it by no more than was let in before everybody could know",
    "late spending": "once a budget is used up, whoever has been told lets nothing more in",
    "agreement": "when all is quiet, every replica has every switch as the others have it",
    "counted": "when all is quiet, every replica knows how many there are, and one of them leads",
    "no defect": "nothing is raised where nobody would catch it",
}
STUCK_S = 900.0
"""Longer than any request may take: all of its attempts with their limits, its wait, and a slow caller's pauses."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that did not hold: which, when (true seconds), and how that shows."""

    promise: str
    at: float
    how: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.how} (at {self.at:.3f} s; promised: {PROMISES[self.promise]})"


class Breaches(list[Breach]):
    """Those of a run; `clock` gives true time, `first` is called at the first."""

    def __init__(self, clock: Callable[[], float], *, first: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._clock, self._first = clock, first

    def note(self, promise: str, how: str) -> None:
        """It did not hold; KeyError where nobody has promised that."""
        assert promise in PROMISES, promise
        if not self:
            self._first()
        self.append(Breach(promise, self._clock(), how))

    def unless(self, held: object, promise: str, *, how: str) -> None:
        """It holds, or it is noted."""
        if not held:
            self.note(promise, how)


@dataclass(slots=True)
class Flown:
    """What was seen of a request."""

    asker: Asker
    house: House
    route: Route
    at: float
    started: int = 0
    reached: int = 0
    records: int = 0
    seen_chars: int = 0
    said_nothing: bool = False
    """Asked to go on, a target had nothing to add, which may be so: a break right before the end looks the same."""
    open: set[int] = field(default_factory=set)


class Flights:
    """Looks at requests one by one."""

    def __init__(self, breaches: Breaches, truth: Truth, *, clock: Callable[[], float]) -> None:
        self._breaches, self._truth, self._clock = breaches, truth, clock
        self.flown: dict[str, Flown] = {}
        self._purses: dict[tuple[str, str], list[float]] = {}
        self._reactions: Mapping[type, Callable[[House, Any], None]] = {
            AttemptStarted: self._started,
            AttemptAnswered: self._attempt_over,
            AttemptFailed: self._attempt_over,
            AttemptAbandoned: self._attempt_over,
            FlightEnded: self._ended,
        }

    # -- what is seen

    def began(self, house: House, asker: Asker, *, route: Route) -> None:
        """A request comes in."""
        self.flown[str(asker.habits.number)] = Flown(asker, house, route, self._clock())
        purse = self._purses.setdefault((house.name, route.name), [0.0, 0.0, self._clock()])
        purse[0] += 1.0

    def noted(self, house: House, fact: Fact) -> None:
        """A replica notes a fact."""
        reaction = self._reactions.get(type(fact))
        if reaction is not None:
            reaction(house, fact)

    def reached(self, number: int) -> None:
        """A provider got a request."""
        flown = self.flown[str(number)]
        flown.reached += 1
        most = flown.route.policy.retries.attempts_max
        self._breaches.unless(
            flown.reached <= most, "attempts", how=f"request {number} reached providers {flown.reached} times"
        )

    # -- facts

    def _started(self, house: House, fact: AttemptStarted) -> None:
        flown, most = self.flown[fact.flight], self.flown[fact.flight].route.policy.retries.attempts_max
        unless = self._breaches.unless
        flown.started += 1
        unless(flown.started <= most, "attempts", how=f"request {fact.flight} starts attempt {flown.started} of {most}")
        unless(not flown.records, "one record", how=f"request {fact.flight} starts an attempt after its end")
        unless(
            fact.number not in flown.open, "attempt ends", how=f"attempt {fact.number} of {fact.flight} starts twice"
        )
        flown.open.add(fact.number)
        out = house.engine.board.taken_out(fact.target)
        unless(not out, "taken out", how=f"{house.name} asks {fact.target.name} for {fact.flight} ({fact.why})")
        if fact.why in {Why.RETRY, Why.HEDGE}:
            self._purses[house.name, flown.route.name][1] += 1.0

    def _attempt_over(self, _: House, fact: AttemptAnswered | AttemptFailed | AttemptAbandoned) -> None:
        flown = self.flown[fact.flight]
        said = f"attempt {fact.number} of request {fact.flight} ends"
        self._breaches.unless(fact.number in flown.open, "attempt ends", how=f"{said}, and was not under way")
        self._breaches.unless(not flown.records, "one record", how=f"{said} after its request")
        flown.open.discard(fact.number)
        flown.said_nothing = isinstance(fact, AttemptAnswered) and not fact.chars

    def _ended(self, _: House, fact: FlightEnded) -> None:
        flown, unless = self.flown[fact.flight], self._breaches.unless
        flown.records += 1
        unless(flown.records == 1, "one record", how=f"request {fact.flight} is noted as ended {flown.records} times")
        unless(
            fact.attempts == flown.started, "one record",
            how=f"request {fact.flight} is said to have had {fact.attempts} attempts, and had {flown.started}",
        )  # fmt: skip
        unless(not flown.open, "attempt ends", how=f"request {fact.flight} is over, and attempts {flown.open} are not")

    # -- callers

    def check(self, asker: Asker) -> None:
        """What a caller has seen since the last look."""
        flown = self.flown.get(str(asker.habits.number))
        if flown is None:
            return
        unless, number = self._breaches.unless, asker.habits.number
        unless(asker.ends <= 1, "one end", how=f"request {number} ended {asker.ends} times")
        unless(not asker.after_end, "one end", how=f"request {number} was shown something after its end")
        text = asker.text
        if len(text) > flown.seen_chars or asker.ends:
            flown.seen_chars = len(text)
            self._compare(asker, text, truth=self._truth.whole(number))

    def _compare(self, asker: Asker, text: str, *, truth: str) -> None:
        unless, end, number = self._breaches.unless, asker.end, asker.habits.number
        unless(truth.startswith(text), "shown once", how=f"request {number} shows {_around(text, truth)}")
        if end is None:
            return
        if end.failure is not None:
            unless(not asker.finishes, "shown once", how=f"request {number} says that it is whole, and fails")
        elif text:
            whole = text == truth or self.flown[str(number)].said_nothing
            unless(
                asker.finishes == 1, "shown once", how=f"request {number} says {asker.finishes} times that it is whole"
            )
            unless(whole, "shown once", how=f"request {number} ends well with {len(text)} of {len(truth)} characters")

    # -- the end

    def over(self, houses: Mapping[str, House]) -> None:
        """Everybody had time to come to an end; `houses` are those that live."""
        for name, flown in self.flown.items():
            if flown.house.loop.is_dead:
                continue
            ended = flown.asker.ends == 1
            self._breaches.unless(ended, "no stuck flight", how=f"request {name} at {flown.house.name} is not over")
            self._breaches.unless(
                flown.records == 1, "one record", how=f"request {name} is noted {flown.records} times"
            )
        for (house, route), (requests, paid, since) in self._purses.items():
            if house in houses:
                self._check_purse(houses[house], route, requests=requests, paid=paid, spent_s=self._clock() - since)

    def _check_purse(self, house: House, route: str, *, requests: float, paid: float, spent_s: float) -> None:
        policy = house.routes[route].policy.budget
        most = policy.reserve + policy.ratio * requests + policy.reserve * spent_s / policy.window_s
        self._breaches.unless(
            paid <= most + 1e-6, "purse", how=f"{house.name} paid {paid:.0f} of {most:.1f} on {route}"
        )


def _around(text: str, truth: str) -> str:
    """Where two texts part."""
    at = next((at for at, (one, other) in enumerate(zip(text, truth, strict=False)) if one != other), len(truth))
    return f"{text[max(0, at - 20) : at + 20]!r} in place of {truth[max(0, at - 20) : at + 20]!r}"
