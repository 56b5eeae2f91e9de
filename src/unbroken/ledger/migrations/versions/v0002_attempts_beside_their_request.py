"""The attempts of a request stand in its row, and `attempts` becomes a view: half the work for every request."""

# ruff: noqa: S608 - the words of these statements are all written here

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["branch_labels", "depends_on", "down_revision", "downgrade", "revision", "upgrade"]

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    ("number", "integer"), ("target", "text"), ("provider", "text"), ("model", "text"), ("why", "text"),
    ("start_s", "double precision"), ("first_content_s", "double precision"), ("total_s", "double precision"),
    ("outcome", "text"), ("status", "integer"), ("message", "text"), ("shown", "boolean"), ("outrun", "boolean"),
    ("mode", "text"), ("after_chars", "bigint"), ("chars", "bigint"), ("counted", "text"), ("input_tokens", "bigint"),
    ("output_tokens", "bigint"), ("cached_tokens", "bigint"), ("cache_write_tokens", "bigint"),
    ("reasoning_tokens", "bigint"), ("images", "bigint"), ("characters", "bigint"), ("seconds", "double precision"),
    ("cost_usd", "double precision"), ("left_out", "text"),
)  # fmt: skip
"""What is known of an attempt, in the order in which it stands in the list."""


def upgrade() -> None:
    """From two tables."""
    is_file = op.get_bind().dialect.name == "sqlite"
    op.add_column("requests", sa.Column("attempts", sa.Text, nullable=False, server_default="[]"))
    op.execute(f"UPDATE requests SET attempts = ({_lists_of_sqlite() if is_file else _lists_of_postgresql()})")
    op.drop_table("attempts")
    op.execute(f"CREATE VIEW attempts AS {_view_of_sqlite() if is_file else _view_of_postgresql()}")


def _lists_of_sqlite() -> str:
    ways = {
        "boolean": "json(iif({0}, 'true', 'false'))",
        "double precision": "iif({0} IS NULL, NULL, json(printf('%!.17g', {0})))",  # SQLite would write 15 digits
        "left_out": "json(coalesce(nullif({0}, ''), '[]'))",
    }
    values = ", ".join(ways.get(name, ways.get(kind, "{0}")).format(name) for name, kind in COLUMNS)
    ordered = "SELECT * FROM attempts WHERE request = requests.id ORDER BY number"
    return f"SELECT json_group_array(json_array({values})) FROM ({ordered})"


def _lists_of_postgresql() -> str:
    values = ", ".join(
        name if name != "left_out" else "coalesce(nullif(left_out, ''), '[]')::json" for name, _ in COLUMNS
    )
    listed = f"json_agg(json_build_array({values}) ORDER BY number)"
    return f"SELECT coalesce({listed}, '[]')::text FROM attempts WHERE request = requests.id"


def _view_of_sqlite() -> str:
    values = ", ".join(f"json_extract(one.value, '$[{at}]') AS {name}" for at, (name, _) in enumerate(COLUMNS))
    return f"SELECT requests.id AS request, {values} FROM requests, json_each(requests.attempts) AS one"


def _view_of_postgresql() -> str:
    values = ", ".join(f"(one ->> {at})::{kind} AS {name}" for at, (name, kind) in enumerate(COLUMNS))
    listed = "json_array_elements(requests.attempts::json) AS one"
    return f"SELECT requests.id AS request, {values} FROM requests CROSS JOIN LATERAL {listed}"


def downgrade() -> None:
    """To two tables again."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
    op.execute(f"CREATE TABLE attempts_before (request text, {columns}, PRIMARY KEY (request, number))")
    op.execute("INSERT INTO attempts_before SELECT * FROM attempts")
    op.execute("DROP VIEW attempts")
    op.execute("ALTER TABLE attempts_before RENAME TO attempts")
    op.drop_column("requests", "attempts")
