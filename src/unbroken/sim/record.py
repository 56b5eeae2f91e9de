"""What came of a run: counts, times, shares over time, and a digest of everything that was decided."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import attrgetter
from typing import get_args

from unbroken.core.flight import Command, Emit, Finished, Launch, Note
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    Fact,
    FlightEnded,
)

__all__ = ["Journal", "Record", "Second", "Span", "Tally", "percentile_s"]

Span = tuple[int, int]
"""From the beginning of one second to the beginning of another."""

_LINES = 1024
"""Of the journal, between two updates of its digest."""
_FACTS: Mapping[type, tuple[str, Callable[[Fact], object]]] = {
    kind: (kind.__name__, attrgetter(*kind.__struct_fields__)) for kind in get_args(Fact)
}
"""The name of each fact, and what reads all of its fields at once."""


class Journal:
    """A digest over every command and fact, in their order."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self._lines: list[str] = []

    def write(self, commands: Sequence[Command]) -> None:
        """Take in some more; nothing that is written depends on the process that writes it."""
        add = self._lines.append
        for command in commands:
            if isinstance(command, Note):
                name, read = _FACTS[type(command.fact)]
                add(f"{name}{read(command.fact)!r}\n")
            elif isinstance(command, Emit):
                add("".join([delta.text for delta in command.deltas]))
            elif isinstance(command, Launch):
                attempt = command.attempt
                add(f"launch {attempt.number} {attempt.target.name} {attempt.continuation!r}\n")
            else:
                add(f"{command!r}\n")
        if len(self._lines) >= _LINES:
            self._flush()

    def digest(self) -> str:
        """In hexadecimal, 32 digits."""
        self._flush()
        return self._hash.hexdigest()

    def _flush(self) -> None:
        self._hash.update("".join(self._lines).encode())
        self._lines.clear()


@dataclass(slots=True)
class Tally:
    """What one target did; `starts` counts the attempts of each second."""

    attempts: int = 0
    answered: int = 0
    failed: int = 0
    abandoned: int = 0
    starts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Second:
    """What came of the requests that came in within one second."""

    requests: int = 0
    whole: int = 0
    attempts: int = 0


@dataclass(slots=True)
class Record:
    """The outcome of a run; all times in virtual seconds.

    whole:      answered whole and right, word for word
    errors:     ended with an error that says so (and showed nothing wrong before)
    empty:      a provider's empty answer, passed on because there was no other
    wrong:      words lost, doubled or foreign, or a normal end that was none; must be 0
    after_end:  commands after the end of a flight; must be 0
    stuck:      flights that never ended; must be 0
    """

    requests: int = 0
    whole: int = 0
    errors: int = 0
    empty: int = 0
    wrong: int = 0
    after_end: int = 0
    stuck: int = 0
    attempts: int = 0
    failovers: int = 0
    rescues: int = 0
    virtual_s: float = 0.0
    digest: str = ""
    kinds: Counter[str] = field(default_factory=Counter)
    targets: dict[str, Tally] = field(default_factory=dict)
    seconds: list[Second] = field(default_factory=list)
    first_content_s: array[float] = field(default_factory=lambda: array("d"))
    total_s: array[float] = field(default_factory=lambda: array("d"))

    # -- questions

    @property
    def extra_load(self) -> float:
        """Attempts beyond one for each request, as a share of the requests."""
        return self.attempts / self.requests - 1.0 if self.requests else 0.0

    def share(self, target: str, span_s: Span) -> float:
        """Of the attempts that began in this span, the share that went to this target."""
        window = slice(*span_s)
        total = sum(sum(tally.starts[window]) for tally in self.targets.values())
        return sum(self.targets[target].starts[window]) / total if total and target in self.targets else 0.0

    def whole_share(self, span_s: Span) -> float:
        """Of the requests that came in within this span, the share that was answered whole."""
        rows = self.seconds[slice(*span_s)]
        requests = sum(row.requests for row in rows)
        return sum(row.whole for row in rows) / requests if requests else 0.0

    def attempts_each(self, span_s: Span) -> float:
        """Attempts for each request that came in within this span."""
        rows = self.seconds[slice(*span_s)]
        requests = sum(row.requests for row in rows)
        return sum(row.attempts for row in rows) / requests if requests else 0.0

    # -- what happens

    def take(self, fact: Fact) -> None:
        """Count a fact."""
        if isinstance(fact, FlightEnded):
            self._ended(fact)
        elif isinstance(fact, AttemptStarted):
            self._started(fact)
        elif isinstance(fact, AttemptAnswered):
            self.targets[fact.target.name].answered += 1
        elif isinstance(fact, AttemptFailed):
            self.targets[fact.target.name].failed += 1
            self.kinds[fact.failure.kind.value] += 1
        elif isinstance(fact, AttemptAbandoned):
            self.targets[fact.target.name].abandoned += 1

    def _started(self, fact: AttemptStarted) -> None:
        tally = self.targets.get(fact.target.name)
        if tally is None:
            tally = self.targets[fact.target.name] = Tally()
        tally.attempts += 1
        second = int(fact.at)
        while len(tally.starts) <= second:
            tally.starts.append(0)
        tally.starts[second] += 1

    def _ended(self, fact: FlightEnded) -> None:
        self.requests += 1
        self.attempts += fact.attempts
        self.virtual_s = fact.at
        if fact.failure is None:
            self.failovers += fact.failover
            self.rescues += fact.rescued

    # -- what callers see

    def answered(self, *, began: float, end: Finished, first_at: float, now: float, right: bool) -> None:
        """A caller has a whole answer."""
        row = self._second(began, end)
        if not right:
            self.wrong += 1
            return
        self.whole += 1
        row.whole += 1
        self.first_content_s.append(first_at - began)
        self.total_s.append(now - began)

    def failed(self, *, began: float, end: Finished, honest: bool) -> None:
        """A caller has an error; `honest` where what it saw before was right as far as it went."""
        self._second(began, end)
        if honest:
            self.errors += 1
        else:
            self.wrong += 1

    def _second(self, began: float, end: Finished) -> Second:
        """The row of the second in which a request came in, with this one counted."""
        index = int(began)
        while len(self.seconds) <= index:
            self.seconds.append(Second())
        row = self.seconds[index]
        row.requests += 1
        row.attempts += end.attempts
        return row


def percentile_s(times: array[float], share: float) -> float:
    """The time within which this share of the answers came; 0 where there were none."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
