"""The first schema: requests, their attempts, and gaps in what was recorded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["branch_labels", "depends_on", "down_revision", "downgrade", "revision", "upgrade"]

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "requests",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        *_texts("route", "strategy", "task"),
        *_flags("stream"),
        *_texts("caller"),
        *_counts("prompt_chars"),
        *_texts("outcome"),
        sa.Column("status", sa.Integer),
        *_texts("message", "target"),
        *_flags("failover", "rescued", "broken"),
        *_texts("cache", "origin"),
        sa.Column("age_s", sa.Double, nullable=False),
        sa.Column("first_content_s", sa.Double),
        sa.Column("total_s", sa.Double),
        *_counts("input_tokens", "output_tokens"),
        sa.Column("cost_usd", sa.Double),
        *_flags("estimated"),
        *_texts("prompt", "answer", "candidates", "skipped", "notes"),
        sqlite_with_rowid=False,
    )
    op.create_index("requests_at", "requests", ["at_ms"])
    _create_attempts()
    op.create_table(
        "gaps",
        sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("writer", sa.Text, primary_key=True),
        *_counts("dropped"),
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("request", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *_texts("target", "provider", "model", "why"),
        sa.Column("start_s", sa.Double, nullable=False),
        sa.Column("first_content_s", sa.Double),
        sa.Column("total_s", sa.Double),
        *_texts("outcome"),
        sa.Column("status", sa.Integer),
        *_texts("message"),
        *_flags("shown", "outrun"),
        *_texts("mode"),
        *_counts("after_chars", "chars"),
        *_texts("counted"),
        *_counts("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
        *_counts("images", "characters"),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("cost_usd", sa.Double),
        *_texts("left_out"),
        sqlite_with_rowid=False,
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _flags(*names: str) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean, nullable=False) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def downgrade() -> None:
    """To nothing."""
    for table in ("gaps", "attempts", "requests"):
        op.drop_table(table)
