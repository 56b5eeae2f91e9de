"""Statistics, counted from facts: what callers asked, how it ended, and what each provider had to do with it.

A sink like any other: what is told here comes from the same facts that the board acts on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Fact, FlightEnded
from unbroken.failures import Failure, FailureKind
from unbroken.types import Target, Usage

__all__ = ["Account", "ProviderStatistics", "Statistics", "Tally", "cost_usd"]

ACCOUNTS_MAX = 10_000
"""Callers may name any model of a provider; beyond so many targets the others share an account for each provider."""


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
    """What somebody did since the statistics were reset; abandoned attempts are in no other count.

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

    def write(self, facts: list[Fact]) -> None:
        """Take a batch."""
        for fact in facts:
            match fact:
                case AttemptStarted():
                    self._account(fact.target).requests += 1
                case AttemptAnswered() | AttemptFailed() | AttemptAbandoned():
                    self._count(fact)
                case FlightEnded():
                    self._end(fact)

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
        self._totals = _Totals()

    # -- inside

    def _account(self, target: Target) -> Account:
        known = self._targets.get(target.name)
        if known is None:
            name = target.name if len(self._targets) < ACCOUNTS_MAX else f"{target.provider}/*"
            known = self._targets.setdefault(name, Account(target.provider))
        return known

    def _count(self, fact: AttemptAnswered | AttemptFailed | AttemptAbandoned) -> None:
        account = self._account(fact.target)
        match fact:
            case AttemptAnswered():
                account.answered += 1
                account.seconds += fact.total_s
            case AttemptFailed():
                account.failed += 1
                account.failures[fact.failure.kind.value] += 1
                account.last_failure, account.failed_at = fact.failure, fact.at
            case AttemptAbandoned():
                account.abandoned += 1
        usage = _usage(fact)
        if usage is not None:
            account.input_tokens += usage.input_tokens
            account.output_tokens += usage.output_tokens
        account.cost_usd += cost_usd(fact) or 0.0

    def _end(self, fact: FlightEnded) -> None:
        totals = self._totals
        totals.requests += 1
        totals.answered += fact.failure is None
        totals.failed += fact.failure is not None and fact.failure.kind is not FailureKind.CANCELLED
        totals.failovers += fact.failover
        totals.rescued += fact.rescued


def _merged(accounts: Iterable[Account]) -> dict[str, Account]:
    """One account for each provider."""
    merged: dict[str, Account] = {}
    for account in accounts:
        merged.setdefault(account.provider, Account(account.provider)).add(account)
    return merged


def _usage(fact: AttemptAnswered | AttemptFailed | AttemptAbandoned) -> Usage | None:
    return None if isinstance(fact, AttemptAbandoned) else fact.usage


def cost_usd(fact: AttemptAnswered | AttemptFailed | AttemptAbandoned) -> float | None:
    """What an attempt cost, as far as it was counted; None where no price is known."""
    usage, price = _usage(fact), fact.target.price
    if usage is None and not isinstance(fact, AttemptAnswered):
        return None
    said = usage is not None and usage.cost_usd is not None
    return price.cost_usd(usage) if said or price.known else None
