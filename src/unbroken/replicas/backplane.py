"""The seam between replicas: what they tell each other, hold of limits, and keep in common.

A backplane never raises and never blocks, but for `hold` and `ask`, which are awaited in the
background.  Times that it gives are on the clock of the process that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from unbroken.records import Record

__all__ = ["Backplane", "Found", "Gone", "Grant", "Hearer", "Hold", "Switch"]

Found = tuple[bytes, float] | None
"""A value and its age in seconds, or that there is none."""


class Gone(Exception):
    """Nobody answers at the other end; the message says why."""


class Hold(Record):
    """What a replica asks of a limit: to hold `wanted` of it, of which `spent` is gone already and counts for sure.

    `keep_s` is how long what was spent still counts when nothing more is heard of the replica.
    """

    name: str
    spent: float
    wanted: float
    limit: float
    keep_s: float


class Grant(Record):
    """What a replica holds now, what all others hold of the same, and what of that they have spent."""

    amount: float
    others: float
    spent: float


class Switch(Record):
    """How an operator has set something, and when (seconds since 1970): of two the later one counts."""

    at: float
    words: bytes


class Hearer(Protocol):
    """Told what comes over a backplane, from the event loop."""

    def heard(self, words: bytes, at: float) -> None:
        """Somebody (perhaps this replica itself) said so, at this time."""
        ...

    def joined(self, switches: Mapping[str, Switch]) -> None:
        """The backplane is there, or there again, and this is how everything is set."""
        ...

    def lost(self, why: str) -> None:
        """The backplane is gone; `joined` will follow."""
        ...

    def asked(self, what: str) -> bytes:
        """Somebody wants to know this of every replica."""
        ...


class Backplane(Protocol):
    """What replicas have in common."""

    def start(self, hearer: Hearer) -> None:
        """Connect, and stay connected; a second time does nothing."""
        ...

    async def close(self) -> None:
        """Say the last that there is to be said, and go."""
        ...

    def say(self, words: bytes) -> None:
        """Tell all others, and for some seconds whoever joins."""
        ...

    def keep(self, name: str, switch: Switch) -> None:
        """Set something for all, and for whoever joins, unless it was set later than that by somebody else."""
        ...

    async def hold(self, holds: Sequence[Hold]) -> tuple[list[Grant], int]:
        """What of each is granted, and how many replicas there are; Gone where nobody answers."""
        ...

    async def ask(self, what: str) -> list[bytes] | None:
        """What all others, and those that were there before, have to say to this; None where nobody is to be asked."""
        ...

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        """Look for a value; `ready` is called from the event loop, with None where there is none or nobody answers."""
        ...

    def put(self, key: str, value: bytes, *, keep_s: float) -> None:
        """Keep a value for so long."""
        ...
