"""Statistics, counted from facts: what callers asked, how it ended, and what each provider had to do with it.

A sink like any other: what is told here comes from the same facts that the board acts on.  What nobody
counted is estimated as the ledger does it (`ledger.accounts`), when the request is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar

from unbroken.facts import (
    Asked,
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    CacheAnswered,
    Continued,
    Fact,
    FlightEnded,
)
from unbroken.failures import Failure, FailureKind
from unbroken.ledger.record import Try
from unbroken.ledger.recorder import Recorder
from unbroken.types import Target

__all__ = ["Account", "ProviderStatistics", "Statistics", "Tally", "cost_usd"]

ACCOUNTS_MAX = 10_000
"""Callers may name any model of a provider; beyond so many targets the others share an account for each provider."""
FLIGHTS_MAX = 10_000
"""Requests under way whose attempts are kept; more than one process can have."""
ENDS_MAX = 1_000
"""Requests whose ends are remembered in case that an older answer took the place of a failure."""

End = AttemptAnswered | AttemptFailed | AttemptAbandoned
Kept = TypeVar("Kept")


class ProviderStatistics(TypedDict):
    """What a provider did: `requests` it was sent, of which those that were neither answered nor failed were given up.

    `success_rate` is from 0 to 1, `average_s` the seconds of a good answer; None before there was any.
    """

    requests: int
    answered: int
    failed: int
    abandoned: int
    success_rate: float | None
    average_s: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float
    failures: dict[str, int]
    last_failure: str | None


class Statistics(TypedDict):
    """What callers asked, how it ended, and what each provider had to do with it."""

    requests: int
    answered: int
    failed: int
    failovers: int
    rescued: int
    cost_usd: float
    providers: dict[str, ProviderStatistics]


@dataclass(slots=True)
class Account:
    """What somebody did since the statistics were reset; abandoned attempts count but there, and in tokens and cost.

    `failed_at` is when the last failure was, on the clock of the facts.
    """

    provider: str = ""
    requests: int = 0
    answered: int = 0
    failed: int = 0
    abandoned: int = 0
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    last_failure: Failure | None = None
    failed_at: float = 0.0

    def take(self, input_tokens: int, output_tokens: int, *, cost_usd: float | None) -> None:
        """Put down what an attempt took; a cost of None is not known."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_usd += cost_usd or 0.0

    def add(self, other: Account) -> None:
        """Take in what another one counted."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures += other.failures
        if other.last_failure is not None and other.failed_at >= self.failed_at:
            self.last_failure, self.failed_at = other.last_failure, other.failed_at

    def told(self) -> ProviderStatistics:
        """As plain values."""
        counted = self.answered + self.failed
        return {
            "requests": self.requests,
            "answered": self.answered,
            "failed": self.failed,
            "abandoned": self.abandoned,
            "success_rate": self.answered / counted if counted else None,
            "average_s": self.seconds / self.answered if self.answered else None,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "failures": dict(self.failures),
            "last_failure": str(self.last_failure) if self.last_failure else None,
        }


_SUMS = (
    "requests", "answered", "failed", "abandoned", "seconds", "input_tokens", "output_tokens", "cost_usd",
)  # fmt: skip


@dataclass(slots=True)
class _Totals:
    requests: int = 0
    answered: int = 0
    failed: int = 0
    failovers: int = 0
    rescued: int = 0


class Tally:
    """A sink that counts."""

    def __init__(self) -> None:
        self._targets: dict[str, Account] = {}
        self._totals = _Totals()
        self._under_way: dict[str, list[Any]] = {}
        self._failed: dict[str, None] = {}
        self._spared: dict[str, None] = {}
        self._reactions: Mapping[type, Callable[[Any], None]] = {
            AttemptStarted: self._started,
            Continued: self._keep,
            AttemptAnswered: self._answered,
            AttemptFailed: self._lost,
            AttemptAbandoned: self._abandoned,
            CacheAnswered: self._from_cache,
            FlightEnded: self._over,
        }

    def write(self, facts: list[Fact]) -> None:
        """Take a batch."""
        reactions = self._reactions
        for fact in facts:
            reaction = reactions.get(type(fact))
            if reaction is not None:
                reaction(fact)

    def statistics(self) -> Statistics:
        """Of all requests, and of each provider that was asked."""
        totals, accounts = self._totals, self.accounts
        return {
            "requests": totals.requests,
            "answered": totals.answered,
            "failed": totals.failed,
            "failovers": totals.failovers,
            "rescued": totals.rescued,
            "cost_usd": sum(account.cost_usd for account in accounts.values()),
            "providers": {name: account.told() for name, account in accounts.items()},
        }

    @property
    def accounts(self) -> Mapping[str, Account]:
        """By provider, those that were asked."""
        return _merged(self._targets.values())

    @property
    def targets(self) -> Mapping[str, Account]:
        """By target, those that were asked."""
        return self._targets

    def reset(self) -> None:
        """Count from nought."""
        self._targets.clear()
        self._failed.clear()
        self._totals = _Totals()

    # -- inside

    def _account(self, target: Target) -> Account:
        known = self._targets.get(target.name)
        if known is None:
            name = target.name if len(self._targets) < ACCOUNTS_MAX else f"{target.provider}/*"
            known = self._targets.setdefault(name, Account(target.provider))
        return known

    # -- attempts

    def _started(self, fact: AttemptStarted) -> None:
        self._account(fact.target).requests += 1
        known = self._under_way.get(fact.flight)
        if known is None:
            known = _put(self._under_way, fact.flight, value=[], most=FLIGHTS_MAX)
        known.append(fact)

    def _keep(self, fact: Continued | End) -> None:
        if (known := self._under_way.get(fact.flight)) is not None:
            known.append(fact)

    def _answered(self, fact: AttemptAnswered) -> None:
        account = self._count(fact)
        account.answered += 1
        account.seconds += fact.total_s

    def _lost(self, fact: AttemptFailed) -> None:
        account = self._count(fact)
        account.failed += 1
        account.failures[fact.failure.kind.value] += 1
        account.last_failure, account.failed_at = fact.failure, fact.at

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        self._count(fact).abandoned += 1

    def _count(self, fact: End) -> Account:
        """Put what a provider told on its target's account."""
        self._keep(fact)
        account, usage = self._account(fact.target), fact.usage
        if usage is not None:
            account.take(usage.input_tokens, usage.output_tokens, cost_usd=cost_usd(fact))
        return account

    def _estimate(self, facts: list[Any]) -> None:
        """What the attempts of a request took where no provider told, put on their targets' accounts."""
        for target, row in _estimated(facts):
            self._account(target).take(row.input_tokens, row.output_tokens, cost_usd=row.cost_usd)

    # -- requests

    def _over(self, fact: FlightEnded) -> None:
        facts = self._under_way.pop(fact.flight, [])
        if any(isinstance(one, End) and one.usage is None for one in facts):
            self._estimate([*facts, fact])
        failure = None if fact.flight in self._spared else fact.failure
        self._spared.pop(fact.flight, None)
        totals, failed = self._totals, failure is not None and failure.kind is not FailureKind.CANCELLED
        totals.requests += 1
        totals.answered += failure is None
        totals.failed += failed
        totals.failovers += fact.failover
        totals.rescued += fact.rescued
        if failed:
            _put(self._failed, fact.flight, value=None, most=ENDS_MAX)

    def _from_cache(self, fact: CacheAnswered) -> None:
        """An older answer takes the place of a failure, which may be known already or not yet."""
        if fact.how != "stale":
            return
        if fact.flight not in self._failed:
            _put(self._spared, fact.flight, value=None, most=ENDS_MAX)
            return
        del self._failed[fact.flight]
        self._totals.failed -= 1
        self._totals.answered += 1


def _put(table: dict[str, Kept], name: str, *, value: Kept, most: int) -> Kept:
    """Keep a value, and let go of the oldest where there are too many."""
    while len(table) >= most:
        del table[next(iter(table))]
    table[name] = value
    return value


def _estimated(facts: list[Any]) -> Iterable[tuple[Target, Try]]:
    """Of a request's attempts those that nobody counted, with what they will have taken."""
    began: list[AttemptStarted] = [fact for fact in facts if isinstance(fact, AttemptStarted)]
    first = began[0]
    asked = Asked(first.at, first.flight, first.route, first.task, first.stream, "", first.prompt_chars)
    for record in Recorder().fold([asked, *facts], 0.0):
        for fact, row in zip(began, record.attempts, strict=True):
            if row.counted == "estimate":
                yield fact.target, row


def _merged(accounts: Iterable[Account]) -> dict[str, Account]:
    """One account for each provider."""
    merged: dict[str, Account] = {}
    for account in accounts:
        merged.setdefault(account.provider, Account(account.provider)).add(account)
    return merged


def cost_usd(fact: End) -> float | None:
    """What an attempt cost, as far as it was counted; None where no price is known."""
    usage, price = fact.usage, fact.target.price
    if usage is None and not isinstance(fact, AttemptAnswered):
        return None
    said = usage is not None and usage.cost_usd is not None
    return price.cost_usd(usage) if said or price.known else None
