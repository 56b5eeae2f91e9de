"""The database of a ledger: opened, migrated, written to in batches, read, and pruned.

Everything here blocks; a gateway calls it from the ledger's own thread.  Writing the same
record twice is writing it once, so a batch whose fate is unknown is simply written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from unbroken.ledger.record import Record
from unbroken.ledger.rows import Row, cleaned, record_of, request_row
from unbroken.ledger.tables import HEAD, gaps, requests

__all__ = ["DatabaseError", "Store"]

DatabaseError = sa.exc.SQLAlchemyError

BUSY_S = 10.0
"""How long one writer of a SQLite file waits for another."""
CONNECT_S = 5
ANSWER_S = 30
"""A PostgreSQL that has not answered for so long is taken to be gone."""
MIGRATION_LOCK = 7_266_531_048
"""Any number that nothing else in the database locks: replicas migrate one after another."""
PRUNED_AT_ONCE = 2_000
READ_AT_ONCE = 1_000
ROWS_AT_ONCE = (1_000, 100, 10, 1)
"""Rows in one statement, as many as there are of them; SQLite takes at most 32,766 values.

Its driver lets other threads run during each, and on a busy machine the way back takes 5 ms in
which this thread is woken in vain again and again.
"""


class Store:
    """A ledger's database; `url` as `url_of` gives it.  Methods raise SQLAlchemy's errors when it is gone."""

    def __init__(self, url: str) -> None:
        self._is_file = url.startswith("sqlite")
        if self._is_file:
            file = Path(url.removeprefix("sqlite:///"))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)  # who asks what is nobody else's business
            self._engine = sa.create_engine(url, connect_args={"timeout": BUSY_S})
            sa.event.listen(self._engine, "connect", _settle_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        else:
            options = f"-c statement_timeout={ANSWER_S * 1000}"
            self._engine = sa.create_engine(
                url, pool_pre_ping=True, pool_size=2,
                connect_args={
                    "connect_timeout": CONNECT_S, "options": options, "application_name": "unbroken",
                    "keepalives_idle": ANSWER_S, "tcp_user_timeout": ANSWER_S * 1000,
                },
            )  # fmt: skip

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def is_gone(self, error: Exception) -> bool:
        """Whether an error is about the database and not about what was written."""
        passing = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError)
        return passing or bool(getattr(error, "connection_invalidated", False))

    # ------------------------------------------------------------- schema

    def migrate(self) -> None:
        """Bring the schema up to date; of several who try at once, one does it and the others wait."""
        with self._engine.connect() as connection:
            if _version(connection) == HEAD:
                return
        with self._writing() as connection:
            if not self._is_file:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            if _version(connection) != HEAD:
                _upgrade(connection)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes: SQLite is told so at once, or two of them could block each other."""
        with self._engine.connect().execution_options(unbroken_writes=True) as connection, connection.begin():
            yield connection

    # ------------------------------------------------------------- writing

    def keep(self, records: Sequence[Record]) -> None:
        """Write records, all of them or none."""
        rows = [request_row(record) for record in records]
        with self._writing() as connection:
            if self._is_file:
                self._write(connection, rows)
            else:
                packed = msgspec.json.encode([dict(zip(_NAMES, row, strict=True)) for row in rows])
                connection.exec_driver_sql(_upsert(_FROM_JSON), (packed.decode(),))

    def _write(self, connection: sa.Connection, rows: list[Row]) -> None:
        start = 0
        for many in ROWS_AT_ONCE:
            while len(rows) - start >= many:
                some = chain.from_iterable(rows[start : start + many])
                connection.exec_driver_sql(_upsert(_from_places(many)), tuple(some))
                start += many

    def keep_cleaned(self, record: Record) -> None:
        """Write a record without the characters that no database can hold."""
        self.keep([cleaned(record)])

    def keep_gap(self, at_ms: int, dropped: int, *, writer: str) -> None:
        """Note that so many requests were not recorded."""
        with self._writing() as connection:
            connection.execute(sa.insert(gaps).values(at_ms=at_ms, writer=writer, dropped=dropped))

    def prune(self, before_ms: int, *, most: int = PRUNED_AT_ONCE) -> int:
        """Delete the oldest requests from before this moment, at most so many; how many there were."""
        oldest = sa.select(requests.c.id).where(requests.c.at_ms < before_ms).order_by(requests.c.at_ms).limit(most)
        with self._writing() as connection:
            ids = list(connection.scalars(oldest))
            for start in range(0, len(ids), 500):
                some = ids[start : start + 500]
                connection.execute(sa.delete(requests).where(requests.c.id.in_(some)))
            connection.execute(sa.delete(gaps).where(gaps.c.at_ms < before_ms))
        return len(ids)

    def prune_to(self, size_bytes_max: int) -> int:
        """Delete the oldest tenth of a file's requests where it has outgrown its limit; how many that were."""
        if not self._is_file or self.size_bytes() <= size_bytes_max:
            return 0
        with self._engine.connect() as connection:
            total = connection.scalar(sa.select(sa.func.count()).select_from(requests)) or 0
        gone, most = 0, max(1, total // 10)
        while gone < most and (some := self.prune(2**62, most=min(PRUNED_AT_ONCE, most - gone))):
            gone += some
        return gone

    def size_bytes(self) -> int:
        """How much of the database is in use."""
        with self._engine.connect() as connection:
            if not self._is_file:
                return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)
            pages, free, page = (
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * page)

    # ------------------------------------------------------------- reading

    def find(self, request: str) -> Record | None:
        """The record of a request."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(requests).where(requests.c.id == request)).one_or_none()
            return None if row is None else record_of(row)

    def latest(self, most: int = 100, *, since_ms: int = 0, route: str = "") -> list[Record]:
        """The latest requests (of a route, since a moment), without their attempts."""
        wanted = sa.select(requests).where(requests.c.at_ms >= since_ms)
        wanted = wanted.where(requests.c.route == route) if route else wanted
        with self._engine.connect() as connection:
            rows = connection.execute(wanted.order_by(requests.c.at_ms.desc()).limit(most))
            return [record_of(row, whole=False) for row in rows]

    def rows(self, query: sa.Select[Any]) -> Iterator[Any]:
        """The rows of a query, read bit by bit."""
        with self._engine.connect().execution_options(yield_per=READ_AT_ONCE) as connection:
            yield from connection.execute(query)


def _version(connection: sa.Connection) -> str | None:
    """Which migration the database is at; None where it has none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415 - takes a while to load, and is needed once for each version
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


_NAMES = [column.name for column in requests.columns]


@lru_cache
def _upsert(source: str) -> str:
    """The SQL that writes rows of requests from a source, or writes them anew."""
    anew = ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name != "id")
    return f"INSERT INTO requests ({', '.join(_NAMES)}) {source} ON CONFLICT (id) DO UPDATE SET {anew}"


@lru_cache
def _from_places(rows: int) -> str:
    """So many rows as SQLite's driver takes them, by position."""
    one = f"({', '.join('?' * len(_NAMES))})"
    return "VALUES " + ", ".join([one] * rows)


_FROM_JSON = "SELECT * FROM json_populate_recordset(NULL::requests, %s)"
"""Rows as PostgreSQL takes them with the least work on our side: all in one value."""


def _settle_sqlite(connection: Any, _record: Any) -> None:
    """What every connection to a file needs: readers beside a writer, and transactions that we begin ourselves.

    In this journal a process that is killed loses nothing that was committed; only a machine that
    loses power may lose the last transactions, and even then the file stays whole.
    """
    connection.isolation_level = None
    for pragma in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("unbroken_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
