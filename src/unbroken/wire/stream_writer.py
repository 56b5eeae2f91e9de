"""What writers of streamed answers have in common: each step is written on its own, and a whole answer is all steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mypy_extensions import mypyc_attr

from unbroken.failures import Failure
from unbroken.types import Delta
from unbroken.wire import Outcome

__all__ = ["StreamWriter"]


@mypyc_attr(allow_interpreted_subclasses=True)
class StreamWriter(ABC):
    """A writer that writes one step after another; see `Writer`."""

    __slots__ = ()

    @abstractmethod
    def _one(self, delta: Delta) -> bytes:
        """One step; nothing where it says nothing in this format, or not yet."""

    @abstractmethod
    def end(self, outcome: Outcome) -> bytes: ...

    @abstractmethod
    def broken(self, failure: Failure, outcome: Outcome) -> bytes: ...

    def write(self, deltas: Sequence[Delta]) -> bytes:
        if len(deltas) == 1:
            return self._one(deltas[0])
        return b"".join([self._one(delta) for delta in deltas])

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        return self.write(deltas) + self.end(outcome)
