"""The ledger's schema, the same in SQLite and PostgreSQL.

    requests   one row for each request; `at_ms` is when it came in, milliseconds since 1970
    attempts   one row for each attempt, by request and number; times are seconds after the request
    gaps       how many requests went unrecorded, and when that was noticed

Tokens and dollars of a request are the sums over its attempts.  Texts that hold lists are JSON.
Whoever changes a table writes a migration that does the same, and moves HEAD.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text

__all__ = ["HEAD", "attempts", "gaps", "metadata", "requests"]

HEAD = "0001"
"""The migration that leads to what is described here."""

metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("route", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("caller", Text, nullable=False),
    Column("prompt_chars", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("message", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("failover", Boolean, nullable=False),
    Column("rescued", Boolean, nullable=False),
    Column("broken", Boolean, nullable=False),
    Column("cache", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("age_s", Double, nullable=False),
    Column("first_content_s", Double),
    Column("total_s", Double),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_usd", Double),
    Column("estimated", Boolean, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("candidates", Text, nullable=False),
    Column("skipped", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Index("requests_at", "at_ms"),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("request", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("target", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("start_s", Double, nullable=False),
    Column("first_content_s", Double),
    Column("total_s", Double),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("message", Text, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("outrun", Boolean, nullable=False),
    Column("mode", Text, nullable=False),
    Column("after_chars", BigInteger, nullable=False),
    Column("chars", BigInteger, nullable=False),
    Column("counted", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("characters", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("cost_usd", Double),
    Column("left_out", Text, nullable=False),
    sqlite_with_rowid=False,
)

gaps = Table(
    "gaps",
    metadata,
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", Text, primary_key=True),
    Column("dropped", BigInteger, nullable=False),
)
