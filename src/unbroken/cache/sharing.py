"""One answer for everybody who asks the same: on its way from a provider, or from memory.

    Source   an answer as far as it is there
    Seat     one caller, reading a source at its own pace; the `Drive` that its face holds
    Shared   the source of a flight, and those who wait for it

Whoever takes a seat sees the answer from its beginning.  The flight goes on as long as anybody
wants it, no matter who asked first, and is slowed down only when everybody is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from unbroken.cache.entries import Entry, size_of
from unbroken.cache.keys import Asked
from unbroken.core.flight import Finished
from unbroken.engine import Caller, Drive
from unbroken.failures import Fault
from unbroken.policy import Route
from unbroken.records import replace
from unbroken.types import Delta, Request

__all__ = ["Order", "Seat", "Shared", "Source"]

STEPS = 64
"""Of an answer from memory, handed over at once: a caller who reads slowly can say so in between."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted, and by which rules: of the first who asked."""

    request: Request
    route: Route
    asked: Asked
    flight: str


@dataclass(slots=True, eq=False)
class Source:
    """An answer as far as it is there; `end` is how it ended.

    `dropped` steps from its beginning are there no more.  `origin` is the flight that brought it.
    """

    log: Sequence[Delta] = field(default_factory=list)
    end: Finished | None = None
    dropped: int = 0
    origin: str = ""

    @classmethod
    def of(cls, entry: Entry, *, how: str, age_s: float) -> Source:
        """An answer from memory."""
        end = Finished(entry.origin(), 0, failover=False, rescued=False, shown=True, cache=how, age_s=age_s)
        return cls(entry.deltas, end, origin=entry.flight)


class Seat:
    """One caller of a shared answer.  `left` is told when it is over, with how it ended."""

    __slots__ = ("_at", "_caller", "_mute", "_ready", "_shared", "began", "how", "id", "is_paused", "left", "order",
                 "over", "source")  # fmt: skip

    def __init__(
        self, caller: Caller, order: Order, *, began: float, left: Callable[[Seat, Finished | None], None]
    ) -> None:
        self.id, self.order, self.began, self.left = order.flight, order, began, left
        self._caller = caller
        self._mute = order.request.stream and not order.request.include_usage
        self._shared: Shared | None = None
        self._at = 0
        self._ready = self.is_paused = self.over = False
        self.how = ""
        self.source = Source()

    # -- the drive of its face

    @property
    def flight(self) -> Seat:
        return self

    @property
    def left_out(self) -> Mapping[str, tuple[str, ...]]:
        return self._shared.left_out if self._shared is not None and self.is_live else {}

    def so_far(self) -> Finished:
        """Who answers, after how many attempts."""
        end = self.source.end
        if end is None and self._shared is not None and self._shared.drive is not None:
            end = self._shared.drive.flight.so_far()
        return self._labelled(end or Finished(None, 0, failover=False, rescued=False))

    def cancel(self) -> None:
        """The caller has left."""
        if not self.over:
            self.over = True
            if self._shared is not None:
                self._shared.leave(self)
            self.left(self, None)

    def pause(self) -> None:
        """The caller reads more slowly than there is something to read."""
        self.is_paused = True
        if self._shared is not None:
            self._shared.keep_pace()

    def resume(self) -> None:
        """The caller has caught up."""
        self.is_paused = False
        if self._shared is not None:
            self._shared.keep_pace()
        self.advance()

    # -- reading

    @property
    def is_live(self) -> bool:
        """Whether its answer comes from a flight under way, or from one that just was."""
        return self._shared is not None and self.source is self._shared.live

    @property
    def is_pilot(self) -> bool:
        """Whether the flight is this caller's own, and tells of itself."""
        return self._shared is not None and self._shared.has_flown and self._shared.leader is self

    @property
    def at(self) -> int:
        """How many steps were handed over."""
        return self._at

    def sit(self, shared: Shared, *, how: str) -> None:
        """Take part; nothing is handed over before the face holds its drive."""
        self._shared, self.how = shared, how
        asyncio.get_running_loop().call_soon(self._begin)

    def advance(self) -> None:
        """Hand over what is there."""
        while self._ready and not self.is_paused and not self.over:
            source = self.source
            place = self._at - source.dropped
            if place < len(source.log):
                steps = source.log[place : place + STEPS]
                self._at += len(steps)
                self._caller.show([_without_usage(step) for step in steps] if self._mute else steps)
            elif source.end is not None:
                self._finish(source.end)
            else:
                return

    def _begin(self) -> None:
        self._ready = True
        self.advance()

    def _finish(self, end: Finished) -> None:
        self.over = True
        end = self._labelled(end)
        if self._shared is not None:
            self._shared.leave(self)
        self.left(self, end)
        self._caller.finish(end)

    def _labelled(self, end: Finished) -> Finished:
        return end if end.cache else replace(end, cache=self.how)


def _without_usage(step: Delta) -> Delta:
    """A step for a caller who did not ask for usage, which some clients take amiss in a chunk of its own."""
    if step.usage is None or not step.raw or step.has_content or step.finish is not None:
        return step
    return replace(step, raw=b"")


class Shared:
    """Those who wait for the same answer.  `over` is called when its flight has ended, `empty` when nobody waits.

    `spare` is an older answer for whoever has seen nothing when the flight fails.
    """

    def __init__(
        self, order: Order, *, over: Callable[[Shared, Finished], None], empty: Callable[[Shared], None],
        log_bytes_max: int,
    ) -> None:  # fmt: skip
        self.order = order
        self.live = Source(origin=order.flight)
        self.drive: Drive | None = None
        self.left_out: Mapping[str, tuple[str, ...]] = {}
        self.leader: Seat | None = None
        self.vector: object = None
        self.spare: Source | None = None
        self._seats: list[Seat] = []
        self._over, self._empty = over, empty
        self._log_bytes_max, self._log_bytes = log_bytes_max, 0
        self.has_flown = self._is_late = self._is_slowed = False

    @property
    def is_open(self) -> bool:
        """Whether somebody who comes now would see all of it."""
        return self.live.end is None and not self.live.dropped

    @property
    def is_kept(self) -> bool:
        """Whether all of the answer was kept."""
        return self._log_bytes <= self._log_bytes_max

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits any more."""
        return not self._seats

    # -- callers

    def join(self, seat: Seat) -> None:
        """One more who waits."""
        seat.sit(self, how="merged" if self._seats or self.drive is not None else "miss")
        seat.source = self.spare if self._is_late and self.spare is not None else self.live
        self._seats.append(seat)
        self.keep_pace()

    def leave(self, seat: Seat) -> None:
        """One less; with the last one goes the flight, unless it is to renew what they were given."""
        if seat in self._seats:
            self._seats.remove(seat)
        if not self._seats and self.live.end is None and not self._is_late:
            self._empty(self)
        else:
            self.keep_pace()

    def keep_pace(self) -> None:
        """The flight is as fast as the fastest of its callers."""
        waiting = [seat for seat in self._seats if seat.is_live]
        slow = bool(waiting) and all(seat.is_paused for seat in waiting)
        if self.drive is not None and slow is not self._is_slowed:
            self._is_slowed = slow
            if slow:
                self.drive.pause()
            else:
                self.drive.resume()

    # -- the answer

    def serve(self, source: Source) -> None:
        """Everybody gets this, which is whole."""
        for seat in list(self._seats):
            seat.source = source
        self.live.end = source.end
        self._advance()

    def show(self, deltas: Sequence[Delta]) -> None:
        """The next of the answer, from its flight."""
        log = self.live.log
        assert isinstance(log, list)
        log += deltas
        self._log_bytes += sum(map(size_of, deltas))
        self._advance()
        if not self.is_kept:
            self._forget_the_seen(log)

    def finish(self, end: Finished) -> None:
        """The end of the flight; a spare answer takes the place of none."""
        self.live.end = end
        if end.failure is not None and end.failure.verdict.fault is not Fault.CALLER:
            self._fall_back()
        self._over(self, end)
        self.drive = None
        self._advance()

    def hurry(self) -> None:
        """It takes too long: whoever has seen nothing is given the spare answer, and the flight renews it."""
        if self.live.end is None and self.spare is not None:
            self._is_late = True
            self._fall_back()
            self._advance()

    def _fall_back(self) -> None:
        if self.spare is not None:
            for seat in self._seats:
                seat.source = self.spare if not seat.at else seat.source

    def _advance(self) -> None:
        for seat in list(self._seats):
            seat.advance()

    def _forget_the_seen(self, log: list[Delta]) -> None:
        """An answer too long to be kept: what everybody has seen is let go, and nobody joins any more."""
        seen = min((seat.at for seat in self._seats if seat.is_live), default=self.live.dropped) - self.live.dropped
        del log[:seen]
        self.live.dropped += seen
