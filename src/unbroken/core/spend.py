"""What was spent today, by budget: every attempt costs, the failed and the cut ones too.

    spending = Spending(limits, wall=time.time)
    board.watch(spending.reactions)
    spending.over(route.name, asker, usd=...)                 the budgets that have no room for so much
    spending.begin(flight, route=..., asker=..., cost=...)    what follows is put on the accounts

An attempt is charged what it is likely to cost when it starts, and what it did cost when that
is known: by the usage, else nothing where the provider never got it or refused it with a status,
else its prompt.  Days and months are UTC's, by the wall clock that is given.  `snapshot` and `restore`
are for whoever keeps the accounts elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

from unbroken.core.limits import USUAL_TOKENS, Cost
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Fact, FlightEnded
from unbroken.policy import CHARS_PER_TOKEN, SpendLimit
from unbroken.records import Record
from unbroken.types import Target, Usage

__all__ = ["Account", "Spending", "estimate_usd"]

DAY_S = 86_400.0


def estimate_usd(target: Target, cost: Cost) -> float:
    """What a request is likely to cost at a target; 0 where its price is not known."""
    written = min(cost.output_tokens, USUAL_TOKENS) if cost.output_tokens else USUAL_TOKENS
    return target.price.cost_usd(_usage(cost, written if cost.writes else 0.0))


def _usage(cost: Cost, written: float) -> Usage:
    return Usage(input_tokens=int(cost.prompt_chars / CHARS_PER_TOKEN), output_tokens=int(written))


class Account:
    """One budget, and what of it is gone today: `spent_usd` for good, `held_usd` for what is under way.

    `month_usd` is what was spent for good since the month began.
    """

    __slots__ = ("_day_part_usd", "_month_part_usd", "elsewhere_usd", "held_usd", "limit", "month_usd", "spent_usd")

    def __init__(self, limit: SpendLimit) -> None:
        self.limit = limit
        self.spent_usd = self.held_usd = self.month_usd = self.elsewhere_usd = 0.0
        self._day_part_usd = self._month_part_usd = inf

    def covers(self, route: str, asker: str) -> bool:
        """Whether a request on this route, of this key, is paid from it."""
        limit = self.limit
        return limit.route in {"", route} and limit.asker in {"", asker}

    def affords(self, usd: float) -> bool:
        """Whether so much more may be spent now; nothing may when it is all gone."""
        return usd <= self.left_usd > 0.0

    @property
    def monthly(self) -> bool:
        """Whether it is the month that leaves less than the day."""
        month = self.limit.usd_per_month
        return month is not None and month - self.month_usd <= self.limit.usd_per_day - self.spent_usd

    @property
    def most_usd(self) -> float:
        """What may be spent in the day, or in the month where that leaves less."""
        month = self.limit.usd_per_month
        return month if month is not None and self.monthly else self.limit.usd_per_day

    @property
    def gone_usd(self) -> float:
        """What of `most_usd` is spent or held."""
        return (self.month_usd if self.monthly else self.spent_usd) + self.held_usd

    @property
    def left_usd(self) -> float:
        """What may still be spent."""
        parts_usd = min(self._day_part_usd - self.spent_usd, self._month_part_usd - self.month_usd) - self.held_usd
        return min(self.most_usd - self.gone_usd, parts_usd)

    def share_day(self, part_usd: float, elsewhere_usd: float) -> None:
        """Others spend from it too: so much of the day's is ours, and so much was spent by them."""
        self._day_part_usd, self.elsewhere_usd = part_usd, elsewhere_usd

    def share_month(self, part_usd: float, _: float) -> None:
        """The same for what may be spent in the month."""
        self._month_part_usd = part_usd


class _Bill(Record):
    """A flight that some account pays for."""

    accounts: tuple[Account, ...]
    cost: Cost


class Spending:
    """The accounts of all budgets."""

    def __init__(self, limits: Sequence[SpendLimit], *, wall: Callable[[], float]) -> None:
        """`wall` gives seconds since 1970."""
        self._wall = wall
        self._day, self._month = self._today(), self._this_month()
        self._open(Account(limit) for limit in limits)
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
        found = [account for account in self._paying(route, asker) if not account.affords(usd)]
        return sorted(found, key=lambda account: account.limit.then != "stop")

    @property
    def day(self) -> int:
        """Today, counted from 1970."""
        self._turn()
        return self._day

    @property
    def month(self) -> int:
        """This month, counted from 1970."""
        self._turn()
        return self._month

    @property
    def resets_s(self) -> float:
        """Seconds until the day is over."""
        return DAY_S - self._wall() % DAY_S

    def back_s(self, account: Account) -> float:
        """Seconds until there is something to be spent again of an account: the day is over, or the month."""
        return self.month_resets_s if account.monthly else self.resets_s

    @property
    def month_resets_s(self) -> float:
        """Seconds until the month is over."""
        now = datetime.fromtimestamp(self._wall(), UTC)
        first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        return (first - now).total_seconds()

    def snapshot(self) -> dict[str, Any]:
        """The day and the month (since 1970), and what was spent in them, by budget."""
        self._turn()
        spent = {account.limit.name: account.spent_usd for account in self.accounts}
        months = {account.limit.name: account.month_usd for account in self.accounts}
        return {"day": self._day, "spent_usd": spent, "month": self._month, "month_usd": months}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take up an account of today; of another day or month is out of date what was spent in it."""
        self._turn()
        for account in self.accounts:
            name = account.limit.name
            if snapshot.get("day") == self._day:
                account.spent_usd = float(snapshot["spent_usd"].get(name, account.spent_usd))
            if snapshot.get("month") == self._month:
                account.month_usd = float(snapshot["month_usd"].get(name, account.month_usd))

    def follow(self, limits: Sequence[SpendLimit]) -> None:
        """These budgets from now on; one of the same name goes on with what was spent from it today."""
        known = {account.limit.name: account for account in self.accounts}
        accounts = [known.get(limit.name) or Account(limit) for limit in limits]
        for account, limit in zip(accounts, limits, strict=True):
            account.limit = limit
        self._open(accounts)

    # -- the fold

    def begin(self, flight: str, *, route: str, asker: str, cost: Cost) -> None:
        """What this flight's attempts cost is paid by the budgets that cover it, until it ends."""
        accounts = tuple(self._paying(route, asker))
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
            account.month_usd += usd

    # -- whose they are

    def _open(self, accounts: Iterable[Account]) -> None:
        """These from now on; there may be thousands, of as many keys."""
        self.accounts = tuple(accounts)
        self._of: dict[str, list[Account]] = {}
        for account in self.accounts:
            self._of.setdefault(account.limit.asker, []).append(account)

    def _paying(self, route: str, asker: str) -> list[Account]:
        """The accounts that a request on this route, of this key, is paid from."""
        both = self._of.get("", []) + (self._of.get(asker, []) if asker else [])
        return [account for account in both if account.covers(route, asker)]

    # -- days

    def _today(self) -> int:
        return int(self._wall() // DAY_S)

    def _this_month(self) -> int:
        now = datetime.fromtimestamp(self._wall(), UTC)
        return (now.year - 1970) * 12 + now.month - 1

    def _turn(self) -> None:
        """At midnight everybody begins anew; what is under way then is paid from the new day."""
        today = self._today()
        if self._day - 1 <= today <= self._day:  # a clock that is set back a little does not make it yesterday again
            return
        self._day, month = today, self._this_month()
        for account in self.accounts:
            account.spent_usd = account.elsewhere_usd = 0.0
            if month != self._month:
                account.month_usd = 0.0
        self._month = month


def _prompt_usd(target: Target, cost: Cost) -> float:
    """What the prompt alone costs, with whatever is charged for each request."""
    return target.price.cost_usd(_usage(cost, 0.0))


def _known_usd(target: Target, usage: Usage | None, *, otherwise: Callable[[Target, Cost], float], cost: Cost) -> float:
    return otherwise(target, cost) if usage is None else target.price.cost_usd(usage)
