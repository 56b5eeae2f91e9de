"""What happened, counted from facts: statistics, and the attempts of each request.

The one place where the client keeps account, and it is a sink like any other: what is told
of an answer and what the statistics say come from the same facts that the board acts on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Fact
from unbroken.failures import Tried
from unbroken.tally import Account, ProviderStatistics, Statistics, cost_usd
from unbroken.tally import Tally as Counts

__all__ = ["Account", "ProviderStatistics", "Statistics", "Tally"]

FLIGHTS_MAX = 10_000
"""Requests under way whose facts are kept; more than one process can have."""


@dataclass(slots=True)
class _Log:
    """The facts of one request under way."""

    started: dict[int, AttemptStarted] = field(default_factory=dict)
    ended: dict[int, AttemptAnswered | AttemptFailed | AttemptAbandoned] = field(default_factory=dict)


class Tally(Counts):
    """Statistics, and the attempts of requests that are under way or were not asked about yet."""

    def __init__(self) -> None:
        super().__init__()
        self._logs: dict[str, _Log] = {}

    def write(self, facts: list[Fact]) -> None:
        """Take a batch."""
        super().write(facts)
        for fact in facts:
            match fact:
                case AttemptStarted():
                    self._log(fact.flight).started[fact.number] = fact
                case AttemptAnswered() | AttemptFailed() | AttemptAbandoned():
                    self._log(fact.flight).ended[fact.number] = fact

    def take(self, flight: str) -> tuple[tuple[Tried, ...], list[float | None]]:
        """A request's attempts in their order, and what each cost; they are forgotten here."""
        log = self._logs.pop(flight, None) or _Log()
        began = min((fact.at for fact in log.started.values()), default=0.0)
        tried = (_tried(fact, log.ended.get(number), began=began) for number, fact in sorted(log.started.items()))
        return tuple(tried), [cost_usd(fact) for fact in log.ended.values()]

    def _log(self, flight: str) -> _Log:
        while len(self._logs) >= FLIGHTS_MAX and flight not in self._logs:
            self._logs.pop(next(iter(self._logs)))
        return self._logs.setdefault(flight, _Log())


def _tried(
    began_with: AttemptStarted, end: AttemptAnswered | AttemptFailed | AttemptAbandoned | None, *, began: float
) -> Tried:
    target, seconds = began_with.target, 0.0
    if end is not None:
        seconds = end.total_s if isinstance(end, AttemptAnswered) else end.elapsed_s
    return Tried(
        number=began_with.number,
        target=target.name,
        provider=target.provider,
        model=target.model,
        why=began_with.why,
        at_s=began_with.at - began,
        seconds=seconds,
        failure=end.failure if isinstance(end, AttemptFailed) else None,
        abandoned=end is None or isinstance(end, AttemptAbandoned),
    )
