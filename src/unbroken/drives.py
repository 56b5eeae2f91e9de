"""What a face and whoever drives its request know of each other.

Caller    told what to show, and how it ended
Drive     a request under way, in the hands of its face
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from unbroken.core.flight import Finished
from unbroken.types import Delta

__all__ = ["Caller", "Drive", "Told"]


class Caller(Protocol):
    """Told what to show, and how it ended."""

    def show(self, deltas: Sequence[Delta]) -> None:
        """The next of the answer."""
        ...

    def finish(self, end: Finished) -> None:
        """The end; nothing follows."""
        ...


class Told(Protocol):
    """What is known of a request under way."""

    id: str

    def so_far(self) -> Finished:
        """Who answers, after how many attempts: what can be said at this moment."""
        ...


class Drive(Protocol):
    """A request under way, in the hands of its face.

    `left_out` is what targets were not told for want of words, by their names.
    """

    @property
    def flight(self) -> Told: ...

    @property
    def left_out(self) -> Mapping[str, tuple[str, ...]]: ...

    def cancel(self) -> None:
        """The caller has left."""
        ...

    def pause(self) -> None:
        """The caller reads more slowly than there is something to read."""
        ...

    def resume(self) -> None:
        """The caller has caught up."""
        ...
