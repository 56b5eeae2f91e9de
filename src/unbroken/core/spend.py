"""What was spent today, by budget: every attempt costs, the failed and the cut ones too.

    spending = Spending(limits, wall=time.time)
    board.watch(spending.reactions)
    spending.over(route.name, asker, usd=...)                 the budgets that have no room for so much
    spending.begin(flight, route=..., asker=..., cost=...)    what follows is put on the accounts

An attempt is charged what it is likely to cost when it starts, and what it did cost when that
is known: by the usage, else nothing where the provider never got it or refused it with a status,
else its prompt.  Days are UTC's, by the wall clock that is given.  `snapshot` and `restore`
are for whoever keeps the accounts elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from unbroken.core.limits import USUAL_TOKENS, Cost
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Fact, FlightEnded
from unbroken.policy import CHARS_PER_TOKEN, SpendLimit
from unbroken.types import Target, Usage, record

__all__ = ["Account", "Spending", "estimate_usd"]

DAY_S = 86_400.0


def estimate_usd(target: Target, cost: Cost) -> float:
    """What a request is likely to cost at a target; 0 where its price is not known."""
    written = min(cost.output_tokens, USUAL_TOKENS) if cost.output_tokens else USUAL_TOKENS
    return target.price.cost_usd(_usage(cost, written if cost.writes else 0.0))


def _usage(cost: Cost, written: float) -> Usage:
    return Usage(input_tokens=int(cost.prompt_chars / CHARS_PER_TOKEN), output_tokens=int(written))


class Account:
    """One budget, and what of it is gone today: `spent_usd` for good, `held_usd` for what is under way."""

    __slots__ = ("held_usd", "limit", "spent_usd")

    def __init__(self, limit: SpendLimit) -> None:
        self.limit = limit
        self.spent_usd = self.held_usd = 0.0

    def covers(self, route: str, asker: str) -> bool:
        """Whether a request on this route, of this key, is paid from it."""
        limit = self.limit
        return limit.route in {"", route} and limit.asker in {"", asker}

    def affords(self, usd: float) -> bool:
        """Whether so much more may be spent today; nothing may when it is all gone."""
        gone = self.spent_usd + self.held_usd
        return gone < self.limit.usd_per_day and gone + usd <= self.limit.usd_per_day


@record()
class _Bill:
    """A flight that some account pays for."""

    accounts: tuple[Account, ...]
    cost: Cost


class Spending:
    """The accounts of all budgets."""

    def __init__(self, limits: Sequence[SpendLimit], *, wall: Callable[[], float]) -> None:
        """`wall` gives seconds since 1970."""
        self.accounts = tuple(Account(limit) for limit in limits)
        self._wall = wall
        self._day = self._today()
        self._bills: dict[str, _Bill] = {}
        self._held: dict[tuple[str, int], tuple[_Bill, float]] = {}
        self.reactions: Mapping[type[Fact], Callable[[Any], None]] = {
            AttemptStarted: self._started,
            AttemptAnswered: self._answered,
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            FlightEnded: self._ended,
        }

    # -- questions

    def over(self, route: str, asker: str, *, usd: float) -> list[Account]:
        """The budgets that cannot pay so much more; those that stop come first."""
        self._turn()
        found = [account for account in self.accounts if account.covers(route, asker) and not account.affords(usd)]
        return sorted(found, key=lambda account: account.limit.then != "stop")

    @property
    def resets_s(self) -> float:
        """Seconds until the day is over."""
        return DAY_S - self._wall() % DAY_S

    def snapshot(self) -> dict[str, Any]:
        """The day (since 1970) and what was spent on it, by budget."""
        self._turn()
        return {"day": self._day, "spent_usd": {a.limit.name: a.spent_usd for a in self.accounts}}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take up an account of today; one of another day is out of date."""
        self._turn()
        if snapshot.get("day") == self._day:
            for account in self.accounts:
                account.spent_usd = float(snapshot["spent_usd"].get(account.limit.name, account.spent_usd))

    def follow(self, limits: Sequence[SpendLimit]) -> None:
        """These budgets from now on; one of the same name goes on with what was spent from it today."""
        known = {account.limit.name: account for account in self.accounts}
        self.accounts = tuple(known.get(limit.name) or Account(limit) for limit in limits)
        for account, limit in zip(self.accounts, limits, strict=True):
            account.limit = limit

    # -- the fold

    def begin(self, flight: str, *, route: str, asker: str, cost: Cost) -> None:
        """What this flight's attempts cost is paid by the budgets that cover it, until it ends."""
        accounts = tuple(account for account in self.accounts if account.covers(route, asker))
        if accounts:
            self._bills[flight] = _Bill(accounts, cost)

    def fold(self, facts: Iterable[Fact]) -> None:
        """Take in what happened."""
        for fact in facts:
            reaction = self.reactions.get(type(fact))
            if reaction is not None:
                reaction(fact)

    def _started(self, fact: AttemptStarted) -> None:
        if (bill := self._bills.get(fact.flight)) is not None:
            usd = estimate_usd(fact.target, bill.cost)
            self._held[fact.flight, fact.number] = bill, usd
            for account in bill.accounts:
                account.held_usd += usd

    def _answered(self, fact: AttemptAnswered) -> None:
        self._settle(fact, lambda bill: _known_usd(fact.target, fact.usage, otherwise=estimate_usd, cost=bill.cost))

    def _failed(self, fact: AttemptFailed) -> None:
        failure = fact.failure
        if fact.usage is None and (not failure.sent or failure.status is not None):
            self._settle(fact, lambda _: 0.0)
        else:
            self._settle(fact, lambda bill: _known_usd(fact.target, fact.usage, otherwise=_prompt_usd, cost=bill.cost))

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        self._settle(fact, lambda bill: _prompt_usd(fact.target, bill.cost))

    def _ended(self, fact: FlightEnded) -> None:
        self._bills.pop(fact.flight, None)

    def _settle(
        self, fact: AttemptAnswered | AttemptFailed | AttemptAbandoned, price: Callable[[_Bill], float]
    ) -> None:
        held = self._held.pop((fact.flight, fact.number), None)
        if held is None:
            return
        self._turn()
        bill, estimate = held
        usd = price(bill)
        for account in bill.accounts:
            account.held_usd -= estimate
            account.spent_usd += usd

    # -- days

    def _today(self) -> int:
        return int(self._wall() // DAY_S)

    def _turn(self) -> None:
        """At midnight everybody begins anew; what is under way then is paid from the new day."""
        if (today := self._today()) != self._day:
            self._day = today
            for account in self.accounts:
                account.spent_usd = 0.0


def _prompt_usd(target: Target, cost: Cost) -> float:
    """What the prompt alone costs, with whatever is charged for each request."""
    return target.price.cost_usd(_usage(cost, 0.0))


def _known_usd(target: Target, usage: Usage | None, *, otherwise: Callable[[Target, Cost], float], cost: Cost) -> float:
    return otherwise(target, cost) if usage is None else target.price.cost_usd(usage)
