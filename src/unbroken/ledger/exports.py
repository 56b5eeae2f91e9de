"""Questions to a ledger, and its rows for spreadsheets and programs.

Span                      from when to when
attempt_rows, REPLAYED    one row for each attempt: what `unbroken replay` reads
request_rows              one row for each request
summary, totals           what was asked, answered, taken and paid, by day, route and target
write_csv, write_parquet  rows into a file
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

import sqlalchemy as sa

from unbroken.ledger.record import ABANDONED, ANSWERED, UNDER_WAY
from unbroken.ledger.store import Store
from unbroken.ledger.tables import attempts, gaps, requests

__all__ = [
    "ATTEMPT_COLUMNS",
    "REQUEST_COLUMNS",
    "Span",
    "attempt_rows",
    "request_rows",
    "summary",
    "totals",
    "write_csv",
    "write_parquet",
]

Span = tuple[int | None, int | None]
"""From (inclusive) and to (exclusive), in milliseconds since 1970; None for without end."""

ATTEMPT_COLUMNS = (
    "at", "request", "number", "route", "strategy", "target", "provider", "model", "why", "stream", "input_tokens",
    "output_tokens", "cached_tokens", "reasoning_tokens", "first_content_s", "total_s", "outcome", "status",
    "cost_usd", "counted", "caller",
)  # fmt: skip
"""`at` is when the attempt began; `outcome` and the rest as docs/ledger.md says."""
REQUEST_COLUMNS = (
    "at", "id", "route", "strategy", "task", "stream", "caller", "outcome", "status", "message", "target", "failover",
    "rescued", "broken", "cache", "origin", "age_s", "first_content_s", "total_s", "input_tokens", "output_tokens",
    "cost_usd", "estimated",
)  # fmt: skip
DAY_MS = 86_400_000
PARQUET_ROWS = 10_000
"""Rows that are written at once."""


def attempt_rows(store: Store, span: Span) -> Iterator[tuple[Any, ...]]:
    """Every attempt in the order of its request's arrival, as ATTEMPT_COLUMNS.

    An unknown price is 0 and an attempt whose end was never heard of is abandoned, because that
    is what `unbroken replay` can read.
    """
    own = [requests.c[name] if name in _OF_REQUEST else attempts.c[name] for name in ATTEMPT_COLUMNS[1:]]
    query = sa.select(requests.c.at_ms, attempts.c.start_s, *own).join(requests, requests.c.id == attempts.c.request)
    query = _within(query, span).order_by(requests.c.at_ms, requests.c.id, attempts.c.number)
    places = {name: place for place, name in enumerate(ATTEMPT_COLUMNS)}
    for at_ms, start_s, *values in store.rows(query):
        row: list[Any] = [_instant(at_ms / 1000 + start_s), *values]
        row[places["stream"]] = int(row[places["stream"]])
        row[places["total_s"]] = row[places["total_s"]] or 0.0
        row[places["cost_usd"]] = row[places["cost_usd"]] or 0.0
        if row[places["outcome"]] == UNDER_WAY:
            row[places["outcome"]] = ABANDONED
        yield tuple(row)


def request_rows(store: Store, span: Span) -> Iterator[tuple[Any, ...]]:
    """Every request in the order of its arrival, as REQUEST_COLUMNS; those that nobody was asked for too."""
    own = [requests.c[name] for name in REQUEST_COLUMNS[1:]]
    query = _within(sa.select(requests.c.at_ms, *own), span).order_by(requests.c.at_ms, requests.c.id)
    for at_ms, *values in store.rows(query):
        plain = [int(value) if isinstance(value, bool) else value for value in values]
        yield (_instant(at_ms / 1000), *plain)


_OF_REQUEST = frozenset(("route", "strategy", "stream", "caller"))


def _within(query: sa.Select[Any], span: Span) -> sa.Select[Any]:
    since, until = span
    if since is not None:
        query = query.where(requests.c.at_ms >= since)
    return query if until is None else query.where(requests.c.at_ms < until)


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# ------------------------------------------------------------------- sums


def summary(store: Store, span: Span) -> list[dict[str, Any]]:
    """By day (UTC), route and target: attempts, how they ended, tokens and dollars."""
    day, failed = requests.c.at_ms // DAY_MS, attempts.c.outcome.not_in((ANSWERED, ABANDONED, UNDER_WAY))
    query = (
        sa.select(
            day.label("day"), requests.c.route, attempts.c.target, sa.func.count().label("attempts"),
            _number(attempts.c.outcome == ANSWERED, "answered"), _number(failed, "failed"),
            _number(attempts.c.outcome == ABANDONED, "abandoned"),
            _sum(attempts.c.input_tokens, "input_tokens"), _sum(attempts.c.output_tokens, "output_tokens"),
            _number(attempts.c.counted == "estimate", "estimated"), _sum(attempts.c.cost_usd, "cost_usd"),
        )
        .join(requests, requests.c.id == attempts.c.request)
        .group_by(day, requests.c.route, attempts.c.target)
        .order_by(day, requests.c.route, attempts.c.target)
    )  # fmt: skip
    return [_plain(row) for row in store.rows(_within(query, span))]


def totals(store: Store, span: Span) -> dict[str, Any]:
    """Of all requests: how many, how they ended for their callers, what they cost, and how many went unrecorded."""
    query = sa.select(
        sa.func.count().label("requests"), _number(requests.c.outcome == ANSWERED, "answered"),
        _number(requests.c.failover, "failovers"), _number(requests.c.rescued, "rescued"),
        _number(requests.c.cache.not_in(("", "miss")), "from_cache"), _sum(requests.c.input_tokens, "input_tokens"),
        _sum(requests.c.output_tokens, "output_tokens"), _sum(requests.c.cost_usd, "cost_usd"),
        _number(requests.c.estimated, "estimated"),
    )  # fmt: skip
    (found,) = (dict(row._mapping) for row in store.rows(_within(query, span)))  # noqa: SLF001 - SQLAlchemy's name for it
    since, until = span
    missed = sa.select(sa.func.coalesce(sa.func.sum(gaps.c.dropped), 0))
    if since is not None:
        missed = missed.where(gaps.c.at_ms >= since)
    if until is not None:
        missed = missed.where(gaps.c.at_ms < until)
    (dropped,) = store.rows(missed)
    return {str(name): _of_number(value) for name, value in found.items()} | {"unrecorded": int(dropped[0])}


def _number(condition: sa.ColumnElement[bool], name: str) -> sa.Label[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0).label(name)


def _sum(column: sa.ColumnElement[Any], name: str) -> sa.Label[Any]:
    return sa.func.coalesce(sa.func.sum(column), 0).label(name)


def _plain(row: Any) -> dict[str, Any]:
    day, *_ = row
    values = {name: _of_number(getattr(row, name)) for name in row._fields[1:]}
    return {"day": datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat(), **values}


def _of_number(value: Any) -> Any:
    """PostgreSQL sums whole numbers to decimals."""
    return value if isinstance(value, str | float) else int(value)


# ------------------------------------------------------------------- files


def write_csv(rows: Iterable[Sequence[Any]], columns: Sequence[str], *, file: IO[str]) -> int:
    """Rows as CSV with a header line; how many they were."""
    writer, number = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(columns)
    for row in rows:
        writer.writerow(row)
        number += 1
    return number


def write_parquet(rows: Iterator[Sequence[Any]], columns: Sequence[str], *, file: IO[bytes]) -> int:
    """Rows as Parquet; how many they were.  ImportError where pyarrow is not installed."""
    import pyarrow as pa  # noqa: PLC0415 - large, and only for this
    from pyarrow import parquet  # noqa: PLC0415

    kinds = {"at": pa.timestamp("us", tz="UTC"), **dict.fromkeys(_WHOLE, pa.int64())}
    schema = pa.schema(
        [(name, kinds.get(name) or (pa.float64() if _is_real(name) else pa.string())) for name in columns]
    )
    number = 0
    with parquet.ParquetWriter(file, schema) as writer:
        while some := list(islice(rows, PARQUET_ROWS)):
            table = {name: [row[place] for row in some] for place, name in enumerate(columns)}
            table["at"] = [datetime.fromisoformat(instant) for instant in table["at"]]
            writer.write_table(pa.table(table, schema=schema))
            number += len(some)
    return number


_WHOLE = (
    "number", "stream", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "status", "failover",
    "rescued", "broken", "estimated",
)  # fmt: skip


def _is_real(name: str) -> bool:
    return name.endswith(("_s", "_usd"))
