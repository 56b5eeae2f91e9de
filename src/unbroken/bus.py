"""Facts on their way to sinks: behind bounded queues, off the hot path, drops counted.

The board has folded a fact before it comes here.  A sink that is slow or broken loses
facts, never a request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

from unbroken.facts import Fact
from unbroken.ports import Sink

__all__ = ["Bus"]

QUEUE_MAX = 10_000
"""Facts waiting for one sink; some ten seconds of a busy gateway."""
FLUSH_S = 0.05
"""How old a fact may become before it is handed over."""


class Bus:
    """Hands facts to sinks in batches."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._queues: list[tuple[Sink, deque[Fact]]] = [(sink, deque()) for sink in sinks]
        self._scheduled = False
        self.dropped = 0

    def add(self, sink: Sink) -> None:
        """Let a sink hear everything from now on."""
        self._queues.append((sink, deque()))

    def publish(self, fact: Fact) -> None:
        """Queue a fact for every sink."""
        if not self._queues:
            return
        for _, queue in self._queues:
            if len(queue) >= QUEUE_MAX:
                queue.popleft()
                self.dropped += 1
            queue.append(fact)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Hand over what waits."""
        self._scheduled = False
        for sink, queue in self._queues:
            batch = list(queue)
            queue.clear()
            with contextlib.suppress(Exception):  # whatever a sink raises, requests go on
                sink.write(batch)
