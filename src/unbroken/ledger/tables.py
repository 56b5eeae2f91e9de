"""The ledger's schema, the same in SQLite and PostgreSQL.

    requests   one row for each request, with the fields of a `Record`; its attempts as JSON, each a list of values
    attempts   a view: one row for each attempt, by request and number, with the fields of a `Try`
    gaps       how many requests went unrecorded, and when that was noticed

Columns have the names, the order and the meaning of the fields (`ledger.record`); `at_ms` is when
a request came in, in milliseconds since 1970.  Fields that hold lists are texts of JSON.  Whoever
changes a record writes a migration that does the same to its table or view, and moves HEAD.  A
table for attempts would cost as much again for every request; nearly all have one.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args, get_type_hints

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text, column, table

from unbroken.ledger.record import Record, Try

__all__ = ["HEAD", "attempts", "gaps", "metadata", "requests"]

HEAD = "0002"
"""The migration that leads to what is described here."""

_KINDS: dict[Any, Any] = {str: Text, bool: Boolean, int: BigInteger, float: Double}
_SMALL = frozenset(("status",))
_APART = frozenset(("id", "at", "number"))
"""Fields that are keys, or are kept in another way."""


def _columns(record: type[Record | Try]) -> Iterator[Column[Any]]:
    """One for each field; it may be empty where the field may be None."""
    for name, hint in get_type_hints(record).items():
        if name not in _APART:
            kind = next((_KINDS[part] for part in (hint, *get_args(hint)) if part in _KINDS), Text)
            yield Column(name, Integer if name in _SMALL else kind, nullable=NoneType in get_args(hint))


metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    *_columns(Record),
    Index("requests_at", "at_ms"),
    sqlite_with_rowid=False,
)

attempts = table("attempts", column("request", Text), column("number", Integer), *_columns(Try))

gaps = Table(
    "gaps",
    metadata,
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", Text, primary_key=True),
    Column("dropped", BigInteger, nullable=False),
)
