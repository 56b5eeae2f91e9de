"""The latest facts, numbered, and the records of the latest requests: what an operator asks about without a ledger.

A sink that costs almost nothing: it keeps a bounded ring of facts, and folds them into records
only when somebody asks.  Whoever listens is told that there is more, and reads on from the
number that it has; who reads too slowly finds that the ring has moved on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from unbroken import records
from unbroken.facts import Asked, BudgetExceeded, CacheAnswered, Decided, Fact, FlightEnded, Queued, Said, Shed
from unbroken.ledger.record import Record
from unbroken.ledger.recorder import Recorder

__all__ = ["FACTS_MAX", "RECORDS_MAX", "Chronicle", "Elsewhere", "Entry", "Turned"]

FACTS_MAX = 16_384
"""Those of some 3,000 requests; about 8 MB."""
RECORDS_MAX = 1_000
_BEGINNINGS = frozenset((Asked, Queued, Shed, Decided, CacheAnswered, BudgetExceeded))
"""Facts with which a request can begin; of one whose beginning is gone there is no record."""


class Turned(records.Record):
    """A target's state is another one now (both in the words of `core.health`), and what for.

    No fact, as it follows from facts and from time; it stands among them for whoever follows.
    """

    at: float
    target: str
    state: str
    before: str
    cause: str = ""
    until: float | None = None


class Elsewhere(records.Record):
    """Something that happened at another worker of this machine, in plain values as readers are told them."""

    at: float
    value: Mapping[str, Any]


Entry = Fact | Turned | Elsewhere


class Chronicle:
    """A sink that remembers; the words of prompts and answers are left to the ledger.

    `end` is the number of the latest entry, counting from 1; `epoch_s` gives what has to be added
    to the time of a fact to have seconds since 1970.
    """

    def __init__(self, epoch_s: Callable[[], float], *, facts_max: int = FACTS_MAX) -> None:
        self.epoch_s = epoch_s
        self.end = 0
        self.listeners: set[Callable[[], None]] = set()
        self._entries: deque[Entry] = deque(maxlen=facts_max)
        self._folded = 0
        self._recorder = Recorder()
        self._records: dict[str, Record] = {}
        self._headless: set[str] = set()

    def write(self, facts: Sequence[Entry]) -> None:
        """Take a batch."""
        kept = [fact for fact in facts if type(fact) is not Said]
        self._entries.extend(kept)
        self.end += len(kept)
        for listener in tuple(self.listeners):
            listener()

    # -- for those who follow

    @property
    def start(self) -> int:
        """The number of the oldest entry that is still here; one more than the latest where none is."""
        return self.end - len(self._entries) + 1

    def after(self, number: int, most: int) -> list[Entry]:
        """The entries that follow on this one, at most so many; those that are gone are left out."""
        first = max(number + 1, self.start) - self.start
        last = min(len(self._entries), first + most)
        return [self._entries[at] for at in range(first, last)]

    # -- records

    def records(self) -> list[Record]:
        """Of the latest requests that are over, the newest first."""
        self._catch_up()
        return list(reversed(self._records.values()))

    def find(self, flight: str) -> Record | None:
        """The record of a request that is under way or was over not long ago."""
        self._catch_up()
        return self._recorder.find(flight) or self._records.get(flight)

    def _catch_up(self) -> None:
        """Fold what has come since the last time; after a gap, only requests that are known from their beginning."""
        if self._folded + 1 < self.start:
            self._recorder = Recorder()
            self._headless = _without_beginning(self._entries)
        latest = self.after(self._folded, len(self._entries))
        news = [entry for entry in latest if not isinstance(entry, Turned | Elsewhere) and self._is_told(entry)]
        self._folded = self.end
        for ended in self._recorder.fold(news, self.epoch_s()):
            self._records.pop(ended.id, None)
            self._records[ended.id] = ended
        while len(self._records) > RECORDS_MAX:
            del self._records[next(iter(self._records))]

    def _is_told(self, entry: Any) -> bool:
        if not self._headless:
            return True
        flight = getattr(entry, "flight", "")
        if isinstance(entry, FlightEnded) and flight in self._headless:
            self._headless.discard(flight)
            return False
        return flight not in self._headless


def _without_beginning(entries: Iterable[Any]) -> set[str]:
    """The requests of which these entries do not have the beginning."""
    seen: dict[str, bool] = {}
    for entry in entries:
        if flight := getattr(entry, "flight", ""):
            seen.setdefault(flight, type(entry) in _BEGINNINGS)
    return {flight for flight, whole in seen.items() if not whole}
