"""The seam to wherever entries are kept, and the store in this process.

A store is asked with a callback, like the keyring: one in memory answers within the call, one
across the network answers from the event loop, and the desk goes on without it where it takes
too long.  So no request ever waits for a store that is slow or gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from unbroken.cache.entries import Entry
from unbroken.cache.shelf import Shelf
from unbroken.ports import Clock

__all__ = ["Found", "InMemory", "Store"]

Found = tuple[Entry, float] | None
"""An entry and its age in seconds, or that there is none."""


class Store(Protocol):
    """Keeps entries; whatever goes wrong with it counts as not found, and never raises."""

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        """Look for an entry; `ready` is called once, within this call or later from the event loop."""
        ...

    def put(self, key: str, entry: Entry, *, keep_s: float) -> bool:
        """Keep an entry for so long; False where it certainly is not kept."""
        ...


class InMemory:
    """Entries in this process, within a number of bytes."""

    def __init__(self, bytes_max: int, clock: Clock) -> None:
        self.shelf: Shelf[Entry] = Shelf(bytes_max)
        self._clock = clock

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        ready(self.shelf.get(key, self._clock()))

    def put(self, key: str, entry: Entry, *, keep_s: float) -> bool:
        return self.shelf.put(key, entry, keep_s=keep_s, now=self._clock())
