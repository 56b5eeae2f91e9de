"""The sink that keeps a ledger: facts are folded where they arrive, and written by a thread.

Between the two is a bounded queue.  When the database is slow or gone the oldest records are
dropped from it and counted; requests never wait and never fail for it.  The thread comes back
to a database that was gone after 0.5 s, then after twice as long each time, up to 30 s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from unbroken.facts import Fact
from unbroken.ledger.place import shown
from unbroken.ledger.record import Record, told
from unbroken.ledger.recorder import Recorder

if TYPE_CHECKING:
    from unbroken.ledger.store import Store

__all__ = ["Keeping", "Ledger", "LedgerUnavailable", "missing_for"]

Answer = TypeVar("Answer")

_LOGGER = logging.getLogger("unbroken")

BATCH = 3_000
"""Records written in one transaction."""
AGAIN_S, AGAIN_S_MAX = 0.5, 30.0
PRUNE_S = 600.0
"""Between two looks at what is too old."""
CLOSE_S = 10.0
"""How long the end of the process waits for what is in the queue."""
DAY_S = 86_400.0
MB = 1024 * 1024


class LedgerUnavailable(RuntimeError):
    """A ledger cannot be kept, as what it needs is not installed; or cannot be asked, as its database is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How a ledger is kept.

    At most `queue_max` records wait to be written, and none longer than `flush_s` seconds, which
    is what is lost if the process is killed.  Requests older than `retention_days` are deleted,
    and the oldest of a file that takes more than `size_mb`.
    """

    retention_days: float = 30.0
    size_mb: float = 1024.0
    queue_max: int = 10_000
    flush_s: float = 1.0


class Ledger:
    """Keeps the decision record of every request; a sink.

    `clock` is that of the facts, `wall` the time of day.  LedgerUnavailable where SQLAlchemy (for
    PostgreSQL, psycopg too) is not installed.
    """

    def __init__(
        self, url: str, keeping: Keeping, *, clock: Callable[[], float], wall: Callable[[], float] = time.time
    ) -> None:
        if missing := missing_for(url):
            raise LedgerUnavailable(missing)
        self.url, self._keeping, self._clock, self._wall = url, keeping, clock, wall
        self._recorder = Recorder()
        self._queue: deque[Record] = deque()
        self._batch: list[Record] = []
        self._wake = threading.Event()
        self._store: Store | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._over = False
        self._again_s = 0.0
        self._prune_at = 0.0
        self._noted = 0
        self._writer = os.urandom(6).hex()
        self.written = self.dropped = 0
        self.error = ""
        self._thread = threading.Thread(target=self._run, name="unbroken-ledger", daemon=True)

    def start(self) -> None:
        """Open the database and write from now on."""
        self._thread.start()

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Write what is left, as far as that goes within this time."""
        self._over = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        if self._readers is not None:
            self._readers.shutdown(wait=False, cancel_futures=True)
        if left := len(self._queue) + len(self._batch):
            self.dropped += left
            _LOGGER.warning("the ledger was closed with %d requests unwritten", left)

    async def drain(self) -> None:
        """Close, without keeping the event loop from what else it has to do."""
        await asyncio.to_thread(self.close)

    # ------------------------------------------------------------- on the event loop

    def write(self, facts: list[Fact]) -> None:
        """Take a batch of facts; records of requests that are over go into the queue."""
        ended = self._recorder.fold(facts, self._wall() - self._clock())
        queue = self._queue
        for record in ended:
            if len(queue) + len(self._batch) >= self._keeping.queue_max:
                self.dropped += 1
                if not queue:
                    continue
                queue.popleft()
            queue.append(record)
        if len(queue) >= BATCH:
            self._wake.set()

    def find(self, request: str) -> Future[dict[str, Any] | None]:
        """The decision record of a request as plain values, from memory or from the database; None where it is unknown.

        LedgerUnavailable, from here or from the future, where the database cannot be asked.
        """
        record = self._recorder.find(request)
        if record is None:
            return self._asked(lambda store: _told_or_none(store.find(request)))
        known: Future[dict[str, Any] | None] = Future()
        known.set_result(told(record))
        return known

    def latest(self, most: int, *, since: float = 0.0, route: str = "") -> Future[list[dict[str, Any]]]:
        """The latest requests in the database as plain values, without their attempts.

        LedgerUnavailable, from here or from the future, where it cannot be asked.
        """
        from_ms = int(since * 1000)
        return self._asked(lambda store: [told(one) for one in store.latest(most, since_ms=from_ms, route=route)])

    def state(self) -> dict[str, Any]:
        """Where it is kept, how much waits, was written, was dropped, and what is wrong with it just now."""
        return {
            "url": shown(self.url),
            "queued": len(self._queue) + len(self._batch),
            "written": self.written,
            "dropped": self.dropped,
            "unread": self._recorder.unread,
            "error": self.error or None,
        }

    def _asked(self, question: Callable[[Store], Answer]) -> Future[Answer]:
        """What the database says, found out in a thread of its own, which begins with the first question."""
        if self._over:
            raise LedgerUnavailable("the ledger is closed")
        if self._readers is None:
            self._readers = ThreadPoolExecutor(1, thread_name_prefix="unbroken-ledger-reader")
        return self._readers.submit(self._answer, question)

    def _answer(self, question: Callable[[Store], Answer]) -> Answer:
        if self._store is None:
            raise LedgerUnavailable(self.error or "the ledger is not open yet")
        from unbroken.ledger.store import DatabaseError  # noqa: PLC0415 - loaded by now, where there is a store

        try:
            return question(self._store)
        except DatabaseError as error:
            raise LedgerUnavailable(_first_line(error)) from error

    # ------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while not self._over:
            self._turn()
            self._wake.wait(self._again_s or self._keeping.flush_s)
            self._wake.clear()
        self._turn()
        if self._store is not None:
            self._store.close()

    def _turn(self) -> None:
        """Write all that waits; whatever goes wrong is told, and tried again later."""
        try:
            store = self._opened()
            while self._next_batch():
                self._keep(store, self._batch)
                self.written += len(self._batch)
                self._batch = []
            self._note_gap(store)
            if self._again_s:
                _LOGGER.warning("the ledger is back; %d requests were not recorded", self.dropped)
                self._again_s, self.error = 0.0, ""
            if not self._over:
                self._prune(store)
        except Exception as error:  # noqa: BLE001 - no error of a database may end the thread
            self._failed(error)

    def _opened(self) -> Store:
        if self._store is None:
            from unbroken.ledger.store import Store  # noqa: PLC0415 - a gateway listens before this is loaded

            store = Store(self.url)
            try:
                store.migrate()
            except BaseException:
                store.close()
                raise
            self._store = store
        return self._store

    def _next_batch(self) -> bool:
        """Take the next records from the queue, unless some are left that could not be written."""
        while self._queue and len(self._batch) < BATCH:
            try:
                self._batch.append(self._queue.popleft())
            except IndexError:  # the event loop dropped it
                break
        return bool(self._batch)

    def _keep(self, store: Store, records: list[Record]) -> None:
        """Write records; one that the database cannot take is dropped, and the others are written."""
        try:
            store.keep(records)
        except Exception as error:
            if store.is_gone(error):
                raise
            if len(records) == 1:
                self._keep_cleaned(store, records[0])
                return
            half = len(records) // 2
            self._keep(store, records[:half])
            self._keep(store, records[half:])

    def _keep_cleaned(self, store: Store, record: Record) -> None:
        try:
            store.keep_cleaned(record)
        except Exception as error:
            if store.is_gone(error):
                raise
            self.dropped += 1
            self._batch = [other for other in self._batch if other is not record]
            _LOGGER.warning("the ledger cannot take request %s: %s", record.id, _first_line(error))

    def _note_gap(self, store: Store) -> None:
        """What was dropped is missing from the ledger, and the ledger says so itself."""
        if missing := self.dropped - self._noted:
            store.keep_gap(int(self._wall() * 1000), missing, writer=self._writer)
            self._noted += missing

    def _prune(self, store: Store) -> None:
        if self._clock() < self._prune_at:
            return
        keeping = self._keeping
        oldest_ms = int((self._wall() - keeping.retention_days * DAY_S) * 1000)
        if not (store.prune(oldest_ms) or store.prune_to(int(keeping.size_mb * MB))):
            self._prune_at = self._clock() + PRUNE_S

    def _failed(self, error: Exception) -> None:
        self.error = _first_line(error)
        if not self._again_s:
            _LOGGER.warning("the ledger cannot be written, requests go on: %s", self.error)
        self._again_s = min(AGAIN_S_MAX, 2 * self._again_s or AGAIN_S)


def _told_or_none(record: Record | None) -> dict[str, Any] | None:
    return None if record is None else told(record)


def missing_for(url: str) -> str:
    """What is not installed that a ledger at this place needs, in words; empty where all is there."""
    missing = "sqlalchemy" if find_spec("sqlalchemy") is None else ""
    if url.startswith("postgresql") and find_spec("psycopg") is None:
        missing = missing or "psycopg"
    extra = "postgres" if url.startswith("postgresql") else "ledger"
    return missing and f"a ledger there needs {missing}: pip install 'unbroken[{extra}]', or say `ledger: off`"


def _first_line(error: Exception) -> str:
    """What an error says, without the SQL and the values that stand below."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0][:300] or type(error).__name__
