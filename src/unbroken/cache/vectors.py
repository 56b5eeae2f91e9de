"""Which question asked before is nearest to this one, among those of the same context.

Vectors are kept at length 1, so that the cosine is a product; a context's stand in one matrix.
Needs numpy: the extra `semantic`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Neighbours", "unit"]

ROWS_MAX = 1024
"""Questions of one context; the oldest gives way."""
ROWS_FIRST = 8


def unit(numbers: Sequence[float]) -> Any:
    """A vector of length 1 in the same direction, of 32-bit floats; None for one of no length."""
    vector = np.asarray(numbers, dtype=np.float32)
    length = float(np.linalg.norm(vector))
    return vector / length if np.isfinite(length) and length > 0.0 else None


class _Context:
    """The questions of one context, in a matrix that grows and then goes round."""

    __slots__ = ("count", "keys", "matrix")

    def __init__(self, size: int) -> None:
        self.matrix = np.zeros((ROWS_FIRST, size), dtype=np.float32)
        self.keys: list[str] = []
        self.count = 0

    def add(self, vector: Any, key: str) -> None:
        if key in self.keys:
            self.matrix[self.keys.index(key)] = vector
            return
        place = self.count % ROWS_MAX
        self.count += 1
        if place == len(self.matrix):
            self.matrix = np.concatenate([self.matrix, np.zeros_like(self.matrix)])
        self.matrix[place] = vector
        self.keys[place : place + 1] = [key]

    def nearest(self, vector: Any) -> tuple[str, float]:
        likeness = self.matrix[: len(self.keys)] @ vector
        best = int(likeness.argmax())
        return self.keys[best], float(likeness[best])


class Neighbours:
    """Questions by context, within a number of bytes; the context that was not asked for the longest goes first."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._contexts: OrderedDict[tuple[str, int], _Context] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """What the matrices take."""
        return sum(context.matrix.nbytes for context in self._contexts.values())

    def nearest(self, context: str, vector: Any) -> tuple[str, float] | None:
        """The key of the nearest question and its cosine; None where nothing was asked in this context."""
        known = self._contexts.get((context, len(vector)))
        if known is None:
            return None
        self._contexts.move_to_end((context, len(vector)))
        return known.nearest(vector)

    def add(self, context: str, vector: Any, *, key: str) -> None:
        """A question that was answered under this key."""
        place = context, len(vector)
        if place not in self._contexts:
            self._contexts[place] = _Context(len(vector))
        self._contexts.move_to_end(place)
        self._contexts[place].add(vector, key)
        while len(self._contexts) > 1 and self.size_bytes > self._bytes_max:
            self._contexts.popitem(last=False)
