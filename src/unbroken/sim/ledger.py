"""A ledger's rows as the simulator reads them: what was asked of whom when, and what came of it.

    LedgerRow     one attempt
    PastRequest   the attempts of one request, and what its caller saw
    read_ledger   rows from the lines of a CSV file
    grouped       rows as requests

The CSV has a header line with at least

    at,route,target,input_tokens,output_tokens,first_content_s,total_s,outcome,cost_usd

and may have `request` (rows of the same request are its attempts, in their order; without it
each row is a request) and `stream` (0 or 1).  `at` is when the attempt began, in seconds or
as an instant such as 2026-11-21T08:00:00Z; `outcome` is `answered`, `abandoned`, or the kind
of the failure (`rate_limit`, `server`, ...), as in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from unbroken.failures import FailureKind
from unbroken.sim.traces import TOKENS_MAX, Row, TraceError, rows_of

__all__ = ["ANSWERED", "LedgerRow", "PastRequest", "Source", "grouped", "read_ledger"]

ANSWERED, ABANDONED = "answered", "abandoned"
OUTCOMES = frozenset({ANSWERED, ABANDONED, *(kind.value for kind in FailureKind)})
NEEDED = (
    "at", "route", "target", "input_tokens", "output_tokens", "first_content_s", "total_s", "outcome", "cost_usd",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One attempt: `at` in seconds on the ledger's clock, times from there, `outcome` as in the file."""

    at: float
    request: str
    route: str
    target: str
    input_tokens: int
    output_tokens: int
    first_content_s: float
    total_s: float
    outcome: str
    cost_usd: float
    stream: bool = True

    @property
    def answered(self) -> bool:
        return self.outcome == ANSWERED


class Source(Protocol):
    """Whatever keeps a ledger: a file, a database."""

    def rows(self) -> Iterator[LedgerRow]:
        """All attempts, by time."""
        ...


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A request as it really went; times in seconds from its arrival."""

    rows: tuple[LedgerRow, ...]

    @property
    def at(self) -> float:
        return self.rows[0].at

    @property
    def last(self) -> LedgerRow:
        """The attempt that answered; where none did, the last."""
        return next((row for row in self.rows if row.answered), self.rows[-1])

    @property
    def answered(self) -> bool:
        return self.last.answered

    @property
    def first_s(self) -> float:
        return self.last.at - self.at + self.last.first_content_s

    @property
    def total_s(self) -> float:
        return self.last.at - self.at + self.last.total_s

    @property
    def cost_usd(self) -> float:
        return sum(row.cost_usd for row in self.rows)


def read_ledger(lines: Iterable[str], *, name: str) -> list[LedgerRow]:
    """Every row, by time; TraceError with line and column where one makes no sense, or there is none."""
    found = [
        _row(row, number)
        for number, row in enumerate(rows_of(lines, name=name, needed=NEEDED))
    ]  # fmt: skip
    if not found:
        raise TraceError("no request in it", name=name, line=1)
    return sorted(found, key=lambda row: row.at)


def _row(row: Row, number: int) -> LedgerRow:
    outcome = row.text("outcome")
    if outcome not in OUTCOMES:
        raise row.wrong("outcome", f"expected `answered`, `abandoned` or a kind of failure, found {outcome[:40]!r}")
    if not row.text("target"):
        raise row.wrong("target", "it is empty")
    first_s, total_s = row.number("first_content_s", default=-1.0), row.number("total_s")
    return LedgerRow(
        at=_instant(row),
        request=row.text("request") or str(number),
        route=row.text("route"),
        target=row.text("target"),
        input_tokens=int(row.number("input_tokens", most=TOKENS_MAX)),
        output_tokens=int(row.number("output_tokens", most=TOKENS_MAX)),
        first_content_s=total_s if first_s < 0 else min(first_s, total_s),
        total_s=total_s,
        outcome=outcome,
        cost_usd=row.number("cost_usd"),
        stream=row.text("stream", "1") not in {"0", "false", "False", ""},
    )


def _instant(row: Row) -> float:
    text = row.text("at")
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        message = f"expected seconds or an instant such as 2026-11-21T08:00:00Z, found {text[:40]!r}"
        raise row.wrong("at", message) from None


def grouped(rows: Iterable[LedgerRow]) -> list[PastRequest]:
    """Rows as requests, by their arrival."""
    mine: dict[str, list[LedgerRow]] = {}
    for row in rows:
        mine.setdefault(row.request, []).append(row)
    return sorted((PastRequest(tuple(attempts)) for attempts in mine.values()), key=lambda request: request.at)
