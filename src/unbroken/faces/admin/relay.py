"""What happens at other workers of this machine, for whoever reads along here; and what happens here, for those there.

Nothing is told while nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from unbroken.chronicle import Chronicle, Elsewhere
from unbroken.engine import Engine
from unbroken.faces.admin.events import Events
from unbroken.faces.admin.words import event_of
from unbroken.facts import Fact, Operated, Said, TargetForced
from unbroken.replicas.line import Line
from unbroken.replicas.replica import ACTS

__all__ = ["Relay"]

_DECODER = msgspec.json.Decoder(list[dict[str, object]])


class Relay:
    """A sink while anybody follows elsewhere."""

    def __init__(self, line: Line, events: Events, *, engine: Engine, epoch_s: Callable[[], float]) -> None:
        self._line, self._engine, self._epoch_s = line, engine, epoch_s
        self._chronicle: Chronicle = events.chronicle
        line.followed, line.relayed = self._followed, self._relayed
        events.watched = line.follow

    def write(self, facts: list[Fact]) -> None:
        """Tell of these."""
        epoch_s = self._epoch_s()
        if told := [event_of(fact, epoch_s) for fact in facts if not _is_known(fact)]:
            self._line.relay(msgspec.json.encode(told))

    def _followed(self, on: bool) -> None:  # noqa: FBT001 - as the line calls it
        self._engine.bus.remove(self)
        if on:
            self._engine.bus.add(self)

    def _relayed(self, words: bytes) -> None:
        now = self._engine.clock()
        self._chronicle.write([Elsewhere(now, value) for value in _DECODER.decode(words)])


def _is_known(fact: Fact) -> bool:
    """Whether all workers note it themselves, or nobody is told it."""
    return isinstance(fact, Said | TargetForced) or (isinstance(fact, Operated) and fact.what in ACTS)
