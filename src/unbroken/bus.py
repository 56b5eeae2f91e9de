"""Facts on their way to sinks: behind bounded queues, off the hot path, drops counted.

The board has folded a fact before it comes here.  A sink that is slow or broken loses
facts, never a request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import TypeVar

from unbroken.facts import Fact
from unbroken.ports import Draining, Sink

__all__ = ["Bus"]

Kind = TypeVar("Kind")

QUEUE_MAX = 10_000
"""Facts waiting for one sink; some ten seconds of a busy gateway."""
FLUSH_S = 0.05
"""How old a fact may become before it is handed over."""


class Bus:
    """Hands facts to sinks in batches."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._queues: list[tuple[Sink, deque[Fact]]] = [(sink, deque()) for sink in sinks]
        self._missed: Counter[str] = Counter()
        self._scheduled = False
        self.dropped = 0

    def add(self, sink: Sink) -> None:
        """Let a sink hear everything from now on."""
        self._queues.append((sink, deque()))

    def remove(self, sink: Sink) -> None:
        """Tell this sink nothing more."""
        self._queues = [(other, queue) for other, queue in self._queues if other is not sink]

    @property
    def sinks(self) -> list[Sink]:
        """Those that are told."""
        return [sink for sink, _ in self._queues]

    def drops(self) -> Mapping[str, int]:
        """How many facts each sink has missed, by the name of its class."""
        return {name: self._missed[name] for name in (type(sink).__name__ for sink in self.sinks)}

    def publish(self, fact: Fact) -> None:
        """Queue a fact for every sink."""
        if not self._queues:
            return
        for sink, queue in self._queues:
            if len(queue) >= QUEUE_MAX:
                queue.popleft()
                self.dropped += 1
                self._missed[type(sink).__name__] += 1
            queue.append(fact)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def find(self, kind: type[Kind]) -> Kind | None:
        """The sink of this kind, if there is one."""
        return next((sink for sink, _ in self._queues if isinstance(sink, kind)), None)

    async def close(self) -> None:
        """Hand over what waits, and let sinks that send things on send the last of them."""
        self.flush()
        draining = [sink.drain() for sink, _ in self._queues if isinstance(sink, Draining)]
        await asyncio.gather(*draining, return_exceptions=True)

    def flush(self) -> None:
        """Hand over what waits."""
        self._scheduled = False
        for sink, queue in self._queues:
            batch = list(queue)
            queue.clear()
            with contextlib.suppress(Exception):  # whatever a sink raises, requests go on
                sink.write(batch)
