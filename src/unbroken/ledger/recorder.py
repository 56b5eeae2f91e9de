"""Facts folded into decision records, one for each request.

The recorder does no I/O and reads no clock: `epoch_s` is what has to be added to the time of a
fact to have the time of day.  A fact of a kind that it does not know is passed over.  What
comes after the end of a request (an older answer from the cache in place of a failed one)
amends its record, which is then handed out once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from unbroken.facts import (
    Asked,
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    BudgetExceeded,
    CacheAnswered,
    Continued,
    Decided,
    Fact,
    FirstContent,
    FlightEnded,
    LeftOut,
    Queued,
    Said,
    Shed,
)
from unbroken.failures import Failure, FailureKind, Fault
from unbroken.ledger.accounts import End, count, settle
from unbroken.ledger.record import ABANDONED, ANSWERED, UNDER_WAY, Record, Try
from unbroken.types import Target

__all__ = ["Recorder"]

OPEN_MAX = 100_000
"""Requests under way whose facts are kept; more than one process can have."""
DONE_MAX = 1_000
"""Records of requests that just ended, kept at hand."""
MESSAGE_CHARS_MAX = 500


class Recorder:
    """Writes down what happened; `unread` counts facts that could not be understood."""

    def __init__(self) -> None:
        self.unread = 0
        self._open: dict[str, Record] = {}
        self._done: dict[str, Record] = {}
        self._began: dict[str, float] = {}
        self._uncounted: dict[str, list[End]] = {}
        self._ended: dict[str, Record] = {}
        self._writers: dict[type, Callable[[Record, Any], None]] = {
            Asked: _asked,
            Decided: _decided,
            AttemptStarted: self._started,
            FirstContent: _first_content,
            AttemptAnswered: self._answered,
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            Continued: _continued,
            LeftOut: _left_out,
            CacheAnswered: self._from_cache,
            FlightEnded: self._over,
            Queued: _queued,
            Shed: self._shed,
            BudgetExceeded: _over_budget,
            Said: self._said,
        }

    def fold(self, facts: Iterable[Fact], epoch_s: float) -> list[Record]:
        """Take in facts; the records that are complete by now, or were completed further."""
        writers, under_way, done = self._writers, self._open, self._done
        told: Any
        for told in facts:
            write = writers.get(told.__class__)
            if write is not None:
                flight = told.flight
                try:
                    write(under_way.get(flight) or done.get(flight) or self._begun(told, epoch_s), told)
                except Exception:  # noqa: BLE001 - one defect costs one fact, and is counted
                    self.unread += 1
        ended, self._ended = self._ended, {}
        return list(ended.values())

    def find(self, flight: str) -> Record | None:
        """The record of a request that is under way or just ended."""
        return self._open.get(flight) or self._done.get(flight)

    def _begun(self, fact: Any, epoch_s: float) -> Record:
        if len(self._open) >= OPEN_MAX:
            oldest = next(iter(self._open))
            del self._open[oldest], self._began[oldest]
            self._uncounted.pop(oldest, None)
        record = self._open[fact.flight] = Record(id=fact.flight, at=fact.at + epoch_s)
        self._began[fact.flight] = fact.at
        return record

    # ------------------------------------------------------------- attempts

    def _started(self, record: Record, fact: AttemptStarted) -> None:
        record.task, record.stream, record.prompt_chars = str(fact.task), fact.stream, fact.prompt_chars
        record.route = record.route or fact.route
        start_s = fact.at - self._began[fact.flight]
        target = fact.target
        record.attempts.append(
            Try(
                number=fact.number, target=target.name, provider=target.provider, model=target.model,
                why=str(fact.why), start_s=start_s,
            )
        )  # fmt: skip

    def _row(self, record: Record, fact: End) -> Try | None:
        """The attempt that a fact is about, with what is counted of it; None where its beginning is not known."""
        if fact.number > len(record.attempts):
            return None
        row = record.attempts[fact.number - 1]
        row.chars = fact.chars
        if fact.usage is None:
            self._uncounted.setdefault(fact.flight, []).append(fact)
        else:
            row.counted = "provider"
            count(row, fact.usage, target=fact.target)
        return row

    def _answered(self, record: Record, fact: AttemptAnswered) -> None:
        if (row := self._row(record, fact)) is not None:
            row.outcome, row.first_content_s, row.total_s = ANSWERED, fact.first_content_s, fact.total_s

    def _failed(self, record: Record, fact: AttemptFailed) -> None:
        if (row := self._row(record, fact)) is not None:
            failure = fact.failure
            row.outcome, row.total_s, row.shown = failure.kind.value, fact.elapsed_s, fact.shown
            row.status, row.message = failure.status, _plain(failure.message)

    def _abandoned(self, record: Record, fact: AttemptAbandoned) -> None:
        if (row := self._row(record, fact)) is not None:
            row.outcome, row.total_s, row.outrun = ABANDONED, fact.elapsed_s, fact.outrun

    # ------------------------------------------------------------- the end

    def _from_cache(self, record: Record, fact: CacheAnswered) -> None:
        record.route, record.cache, record.origin, record.age_s = fact.route, fact.how, fact.origin, fact.age_s
        if record.outcome != UNDER_WAY:  # nobody could answer, and an older answer took the place of the failure
            self._saw(record, None, target=fact.target)
            self._ended[record.id] = record

    def _over(self, record: Record, fact: FlightEnded) -> None:
        record.route = fact.route
        record.total_s, record.failover, record.rescued = fact.total_s, fact.failover, fact.rescued
        if fact.failure is None and fact.target is not None:  # as a rule
            record.outcome, record.status, record.target = ANSWERED, 200, fact.target.name
        elif not (record.cache == "stale" and fact.failure is not None):
            self._saw(record, fact.failure, target=fact.target)
        self._close(record)

    def _shed(self, record: Record, fact: Shed) -> None:
        record.route, record.caller = fact.route, record.caller or fact.caller
        record.total_s = fact.waited_s
        _note(record, f"turned away for want of room after {fact.waited_s:.2f} s")
        self._saw(record, fact.failure, target=None)
        self._close(record)

    def _saw(self, record: Record, failure: Failure | None, *, target: Target | None) -> None:
        """What the caller saw in the end."""
        record.target = target.name if target is not None else ""
        if failure is None:
            record.outcome, record.status, record.message, record.broken = ANSWERED, 200, "", False
            return
        record.outcome, record.message = failure.kind.value, _plain(failure.message)
        begun = any(row.shown or (row.outcome == ABANDONED and row.chars) for row in record.attempts)
        record.broken = begun and record.stream and failure.kind is not FailureKind.CANCELLED
        record.status = 200 if record.broken else _status_of(failure)

    def _close(self, record: Record) -> None:
        if self._open.pop(record.id, None) is not None:
            del self._began[record.id]
            self._done[record.id] = record
            if len(self._done) > DONE_MAX:
                del self._done[next(iter(self._done))]
            settle(record, self._uncounted.pop(record.id, ()))
        if record.first_content_s is None and record.outcome == ANSWERED:
            record.first_content_s = record.total_s
        self._ended[record.id] = record

    def _said(self, record: Record, fact: Said) -> None:
        record.prompt, record.answer = fact.prompt, fact.answer
        if record.outcome != UNDER_WAY:
            self._ended[record.id] = record


def _asked(record: Record, fact: Asked) -> None:
    record.route, record.task, record.stream = fact.route, str(fact.task), fact.stream
    record.caller, record.prompt_chars = fact.caller, fact.prompt_chars


def _decided(record: Record, fact: Decided) -> None:
    record.route, record.strategy = fact.route, fact.strategy
    record.candidates = tuple([target.name for target in fact.order])
    if fact.skipped:
        record.skipped = tuple((target.name, why) for target, why in fact.skipped)


def _first_content(record: Record, fact: FirstContent) -> None:
    if fact.number <= len(record.attempts):
        row = record.attempts[fact.number - 1]
        row.first_content_s = fact.seconds
        if record.first_content_s is None:
            record.first_content_s = row.start_s + fact.seconds


def _continued(record: Record, fact: Continued) -> None:
    if fact.number <= len(record.attempts):
        row = record.attempts[fact.number - 1]
        row.mode, row.after_chars = fact.mode.value, fact.chars


def _left_out(record: Record, fact: LeftOut) -> None:
    if fact.number <= len(record.attempts):
        record.attempts[fact.number - 1].left_out = fact.names


def _queued(record: Record, fact: Queued) -> None:
    record.caller = record.caller or fact.caller
    _note(record, f"{'left' if fact.left else 'began'} after waiting {fact.waited_s:.2f} s for room")


def _over_budget(record: Record, fact: BudgetExceeded) -> None:
    _note(record, f"budget {fact.budget} is used up ({fact.spent_usd:.2f} of {fact.limit_usd:.2f} USD): {fact.then}")


def _note(record: Record, words: str) -> None:
    record.notes = (*record.notes, words)


def _status_of(failure: Failure) -> int:
    """The status that a caller is told: for what is his own fault, the provider's."""
    own = failure.verdict.fault is Fault.CALLER and failure.status is not None and 400 <= failure.status <= 499
    return failure.status if own and failure.status is not None else failure.verdict.status


def _plain(text: str) -> str:
    """One line of bounded length, whatever a provider wrote into its message."""
    return " ".join(text.split())[:MESSAGE_CHARS_MAX]
