"""How much each caller's key may ask for: requests and tokens a minute, requests a day, so many at once.

    askers = Askers(allowances)                  by the hash of the key
    board.watch(askers.reactions)
    askers.refusal(asker, cost, now=...)         the 429 where there is no room; None where there is
    askers.begin(flight, asker, cost=..., now=...)

Where the limits of providers make requests wait (`core.gate`), these turn them away: whoever is
beyond them would otherwise take the places of the others.  A request counts from the moment
that it comes in, its tokens by what they are likely to be until they are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any

from unbroken.core.limits import Cost, Pool
from unbroken.core.meters import Entry, Meter
from unbroken.facts import AttemptAnswered, Fact, FlightEnded
from unbroken.failures import Failure, FailureKind
from unbroken.records import Record
from unbroken.types import Allowance, Usage

__all__ = ["Askers"]

BUSY_S = 1.0
"""When to come back where too many requests are under way: nobody knows when one of them ends."""
LATE_S = 10.0
"""So long after all that a key has spent has come back, everybody who shares its limits knows of that."""


class _Ticket(Record):
    """One request under way: what it took of each meter, and what its answers were said to have taken."""

    pool: Pool
    cost: Cost
    taken: list[tuple[Meter, Entry, int, float]]
    usages: list[Usage]


class Askers:
    """The room of every key that has limits; `met` is told of a key that was not used for long."""

    def __init__(self, allowances: Mapping[str, Allowance]) -> None:
        self._pools = {asker: Pool(allowance) for asker, allowance in allowances.items()}
        self._used_at: dict[str, float] = {}
        self._tickets: dict[str, _Ticket] = {}
        self.met: Callable[[str, Pool], None] = lambda _, __: None
        self.reactions: Mapping[type[Fact], Callable[[Any], None]] = {
            AttemptAnswered: self._answered,
            FlightEnded: self._ended,
        }

    def follow(self, allowances: Mapping[str, Allowance]) -> None:
        """Other allowances from now on; what was spent stays spent."""
        known, self._pools = self._pools, {}
        for asker, allowance in allowances.items():
            pool = self._pools[asker] = known.get(asker) or Pool()
            pool.follow(allowance)
        self._used_at = {asker: at for asker, at in self._used_at.items() if asker in self._pools}

    def used(self, now: float) -> Iterator[tuple[str, Pool]]:
        """The room of the keys that were used lately, by their hash: of very many that there may be, few are.

        Of all others nothing is spent here, and nobody who shares their limits is asked: they have the whole.
        """
        for asker, used_at in list(self._used_at.items()):
            pool = self._pools[asker]
            kept_s = LATE_S + max((meter.window_s for meter in pool.meters.values()), default=0.0)
            if pool.in_flight or now - used_at <= kept_s:
                yield asker, pool
                continue
            del self._used_at[asker]
            pool.lend(inf)
            for meter in pool.meters.values():
                meter.lend(inf)

    def refusal(self, asker: str, cost: Cost, *, now: float) -> Failure | None:
        """Why a request of this key is turned away, and when to come back; None where there is room."""
        pool = self._pools.get(asker)
        if pool is None:
            return None
        is_new, self._used_at[asker] = asker not in self._used_at, now
        if is_new:
            self.met(asker, pool)
        full = pool.full(cost, now)
        if full is None:
            return None
        back_s = max((meter.free_at(pool.amount(meter, cost), now) - now for meter in pool.meters.values()), default=0)
        return Failure(  # the caller's own limit: no provider has any, and none is set aside
            kind=FailureKind.REQUEST, message=f"This API key has no room for the request: {full}.", status=429,
            code="rate_limit_exceeded", type="rate_limit_error", retry_after_s=back_s or BUSY_S, sent=False,
        )  # fmt: skip

    def begin(self, flight: str, asker: str, *, cost: Cost, now: float) -> None:
        """A request came in that was not turned away."""
        pool = self._pools.get(asker)
        if pool is None:
            return
        pool.in_flight += 1
        taken = []
        for meter in pool.meters.values():
            amount = pool.amount(meter, cost)
            entry, seq, _ = meter.spend(amount, now)
            taken.append((meter, entry, seq, amount))
        self._tickets[flight] = _Ticket(pool, cost, taken, [])

    def _answered(self, fact: AttemptAnswered) -> None:
        ticket = self._tickets.get(fact.flight)
        if ticket is not None and fact.usage is not None:
            ticket.usages.append(fact.usage)
            ticket.pool.learn(ticket.cost, fact.usage)

    def _ended(self, fact: FlightEnded) -> None:
        """Put right what its tokens were thought to be; where nobody answered there were none."""
        ticket = self._tickets.pop(fact.flight, None)
        if ticket is None:
            return
        ticket.pool.in_flight -= 1
        if fact.failure is None and not ticket.usages:
            return  # nobody has counted: what was thought stands
        used = sum(usage.input_tokens + usage.output_tokens for usage in ticket.usages)
        for meter, entry, seq, amount in ticket.taken:
            if meter.unit == "tokens":
                meter.correct(entry, seq, by=used - amount, now=fact.at)
