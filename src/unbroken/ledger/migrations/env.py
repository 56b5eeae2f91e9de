"""Run by Alembic: migrates over the connection that the store opened, within its transaction."""

from __future__ import annotations

from alembic import context

from unbroken.ledger.tables import metadata

__all__ = []

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a column
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
