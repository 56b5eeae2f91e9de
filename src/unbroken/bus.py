"""Facts on their way to sinks: gathered, handed over in batches off the hot path, losses counted.

The board has folded a fact before it comes here.  A sink that is slow or broken loses
facts, never a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mypy_extensions import mypyc_attr

from unbroken.facts import Fact
from unbroken.ports import Draining, Sink

__all__ = ["Bus"]

_LOGGER = logging.getLogger("unbroken")

Kind = TypeVar("Kind")

BATCH_MAX = 10_000
"""Facts between two batches; some seconds of a busy gateway, which then has no time for sinks."""
FLUSH_S = 0.05
"""How old a fact may become before it is handed over."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Bus:
    """Hands facts to sinks in batches; all get the same."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._sinks = list(sinks)
        self._batch: list[Fact] = []
        self._lost: Counter[str] = Counter()
        self._scheduled = False
        self.dropped = 0

    def add(self, sink: Sink) -> None:
        """Let a sink hear everything from now on."""
        self.flush()
        self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        """Tell this sink nothing more."""
        self._sinks = [other for other in self._sinks if other is not sink]

    @property
    def sinks(self) -> list[Sink]:
        """Those that are told."""
        return list(self._sinks)

    def drops(self) -> Mapping[str, int]:
        """How many facts each sink has missed, by the name of its class."""
        return {name: self.dropped + self._lost[name] for name in (type(sink).__name__ for sink in self._sinks)}

    def publish(self, fact: Fact) -> None:
        """Note a fact for every sink."""
        if not self._sinks:
            return
        if len(self._batch) >= BATCH_MAX:
            self.dropped += 1
            return
        self._batch.append(fact)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def find(self, kind: type[Kind]) -> Kind | None:
        """The sink of this kind, if there is one."""
        return next((sink for sink in self._sinks if isinstance(sink, kind)), None)

    async def close(self) -> None:
        """Hand over what waits, and let sinks that send things on send the last of them."""
        self.flush()
        draining = [sink.drain() for sink in self._sinks if isinstance(sink, Draining)]
        await asyncio.gather(*draining, return_exceptions=True)

    def flush(self) -> None:
        """Hand over what there is."""
        self._scheduled = False
        batch, self._batch = self._batch, []
        if not batch:
            return
        for sink in self._sinks:
            try:
                sink.write(batch)
            except Exception as error:  # noqa: BLE001 - whatever a sink raises, requests go on
                self._miss(type(sink).__name__, len(batch), error=error)

    def _miss(self, name: str, facts: int, *, error: Exception) -> None:
        """A sink has a defect: the log tells of the first time, the count of all."""
        if not self._lost[name]:
            told = "the sink %s failed and lost %d facts; further losses are only counted"
            _LOGGER.error(told, name, facts, exc_info=error)
        self._lost[name] += facts
