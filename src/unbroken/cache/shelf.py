"""A bounded shelf: by key, counted in bytes; what was not asked for the longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

__all__ = ["Shelf", "Sized"]


class Sized(Protocol):
    """What knows how many bytes it takes."""

    @property
    def size_bytes(self) -> int: ...


Thing = TypeVar("Thing", bound=Sized)


class Shelf(Generic[Thing]):
    """Things with the time at which they were put there.  Time is an argument."""

    KEY_BYTES = 200
    """What a place takes beside what stands there."""
    SHARE_MAX = 0.25
    """Of the shelf, for one thing: a single large answer should not throw out all others."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._things: OrderedDict[str, tuple[Thing, float, float]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._things)

    @property
    def thing_bytes_max(self) -> int:
        """The largest thing that is taken."""
        return int(self._bytes_max * self.SHARE_MAX)

    def get(self, key: str, now: float) -> tuple[Thing, float] | None:
        """What stands there, and its age in seconds; None where nothing does, or nothing that is still good."""
        found = self._things.get(key)
        if found is None:
            return None
        thing, put_at, keep_s = found
        if now - put_at >= keep_s:
            self.drop(key)
            return None
        self._things.move_to_end(key)
        return thing, now - put_at

    def put(self, key: str, thing: Thing, *, keep_s: float, now: float) -> bool:
        """Put it there for so long, in place of what stood there; False where it is too large."""
        self.drop(key)
        if thing.size_bytes + self.KEY_BYTES > self.thing_bytes_max:
            return False
        self._things[key] = thing, now, keep_s
        self.size_bytes += thing.size_bytes + self.KEY_BYTES
        while self.size_bytes > self._bytes_max:
            self.drop(next(iter(self._things)))
        return True

    def drop(self, key: str) -> None:
        """Take it away, if it is there."""
        found = self._things.pop(key, None)
        if found is not None:
            self.size_bytes -= found[0].size_bytes + self.KEY_BYTES
