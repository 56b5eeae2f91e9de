"""Facts as they come, as server-sent events: `GET /admin/events`.

    event: hello      who speaks: its version, the time, every target's state; the first event
    event: facts      a list of facts, `id:` is the number of the last one
    event: gap        so many that were asked for by Last-Event-ID are gone
    event: dropped    the reader was too slow; so many are gone for it, and the stream ends
    event: bye        the gateway stops; the stream ends
    : beat            a comment, when nothing else came for `BEAT_S`

A reader has no queue of its own: it reads from the ring (`chronicle`) as fast as its connection
takes it, and is dropped where the ring has moved on.  Changes of targets' states are looked for
while anybody reads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from unbroken import __version__
from unbroken.chronicle import Chronicle, Turned
from unbroken.faces.admin.words import event_of, kind_of
from unbroken.faces.visitor import Visitor
from unbroken.failures import Failure, FailureKind
from unbroken.ports import Clock
from unbroken.types import Json

__all__ = ["BEAT_S", "Events", "Reader"]

BEAT_S = 15.0
"""A proxy takes a connection that is silent for a minute for dead."""
LOOK_S = 0.5
"""How soon a change of state is noticed that no fact tells of, as when a rest is over."""
BATCH = 500
"""Facts in one event; others' requests have their turn in between."""
READERS_MAX = 32
RETRY_MS = 2_000
"""When a browser comes back that lost its connection."""
_HEADERS = [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]

States = dict[str, tuple[str, str, float | None]]
"""By target its state, what for, and until when."""


class Events:
    """Everybody who reads along.

    `states` gives the state of each target, `veil` hides keys in what is sent.  Numbers of events
    carry a mark of this process, as counting begins anew with each.  `watched` is told when the first comes
    and the last has left.
    """

    def __init__(
        self, chronicle: Chronicle, states: Callable[[], States], *, veil: Callable[[bytes], bytes], clock: Clock,
        beat_s: float = BEAT_S,
    ) -> None:  # fmt: skip
        self.chronicle, self.veil, self.clock = chronicle, veil, clock
        self._look_up, self._beat_s = states, beat_s
        self._mark = os.urandom(3).hex()
        self._readers: set[Reader] = set()
        self._states: States = {}
        self._timer: asyncio.TimerHandle | None = None
        self.watched: Callable[..., None] = _nobody

    @property
    def latest(self) -> str:
        """The number of the latest fact, to read on from."""
        return self.number(self.chronicle.end)

    def number(self, at: int) -> str:
        """As it is told to readers."""
        return f"{self._mark}-{at}"

    def open(self, last: str, *, kinds: Collection[str] = ()) -> Reader | Failure:
        """A reader that goes on after the event of this number, or with what comes next; only `kinds`, if any."""
        if len(self._readers) >= READERS_MAX:
            message = f"{READERS_MAX} readers follow the events already"
            return Failure(kind=FailureKind.OVERLOADED, message=message, retry_after_s=5.0, sent=False)
        if not self._readers:
            self._states = self._look_up()
            self.watched(on=True)
        at, missed = self._place(last)
        reader = Reader(self, at, kinds=frozenset(kinds))
        states = {name: state for name, (state, _, _) in self._states.items()}
        reader.say("hello", {"version": __version__, "now": self._wall(), "id": self.number(at), "targets": states})
        if missed != 0:
            reader.say("gap", {"missed": missed})
        self._readers.add(reader)
        self.chronicle.listeners.add(reader.news)
        self._arm()
        return reader

    def leave(self, reader: Reader) -> None:
        """It reads no longer."""
        if reader in self._readers and len(self._readers) == 1:
            self.watched(on=False)
        self._readers.discard(reader)
        self.chronicle.listeners.discard(reader.news)

    def close(self) -> None:
        """Let everybody go."""
        for reader in list(self._readers):
            reader.end("bye", {})
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- inside

    def _place(self, last: str) -> tuple[int, int | None]:
        """After which number to go on, and how many are missing: None after those of another process."""
        mark, _, number = last.partition("-")
        if not last:
            return self.chronicle.end, 0
        oldest = self.chronicle.start - 1
        if mark != self._mark or not number.isdecimal():
            return oldest, None
        at = min(int(number[:18]), self.chronicle.end)
        return max(at, oldest), max(0, oldest - at)

    def _wall(self) -> float:
        return round(self.clock() + self.chronicle.epoch_s(), 3)

    def _arm(self) -> None:
        if self._timer is None and self._readers:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.look()
        now = self.clock()
        for reader in list(self._readers):
            reader.look(now, beat_s=self._beat_s)
        self._arm()

    def look(self) -> None:
        """Note which targets are in another state than before."""
        now, before, self._states = self.clock(), self._states, self._look_up()
        turned = [
            Turned(now, name, state, before.get(name, ("unknown",))[0], cause, until)
            for name, (state, cause, until) in self._states.items()
            if before.get(name, ("unknown",))[0] != state
        ]
        if turned:
            self.chronicle.write(turned)


def _nobody(*, on: bool) -> None:
    """Nobody wants to know whether anybody reads."""


class Reader(Visitor):
    """One that reads along, from number `at` on."""

    __slots__ = ("_at", "_events", "_heard_at", "_kinds", "_lead", "_paused")

    def __init__(self, events: Events, at: int, *, kinds: frozenset[str]) -> None:
        super().__init__()
        self.status, self.headers = 200, list(_HEADERS)
        self._events, self._at, self._kinds = events, at, kinds
        self._lead = b"retry: %d\n\n" % RETRY_MS
        self._paused = False
        self._heard_at = events.clock()

    # -- told by the ring

    def say(self, event: str, value: Json) -> None:
        """Something that is no fact, before the next ones."""
        self._lead += self._event(event, value)

    def news(self) -> None:
        """There is more."""
        if not self._paused and self.notify is not None:
            self.notify()

    def look(self, now: float, *, beat_s: float) -> None:
        """Say something where all has been silent for long; let go of whom the ring has left behind."""
        if self._missed:
            self.end("dropped", {"missed": self._missed})
        elif now - self._heard_at >= beat_s:
            self._lead += b": beat\n\n"
            self.news()

    def end(self, event: str, value: Json) -> None:
        """Say this, and nothing after it."""
        self._close_with(event, value)
        if self.notify is not None:
            self.notify()

    # -- read by a face

    def take(self) -> bytes:
        """What has come, as far as it fits into one event."""
        if self._missed and not self.over:
            self._close_with("dropped", {"missed": self._missed})
        out, self._lead = self._lead + self._facts(), b""
        if out:
            self._heard_at = self._events.clock()
        if self._at < self._events.chronicle.end:
            asyncio.get_running_loop().call_soon(self.news)
        return self._events.veil(out)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self.news()

    def leave(self) -> None:
        self.over = True
        self._events.leave(self)

    # -- inside

    def _close_with(self, event: str, value: Json) -> None:
        self.say(event, value)
        self._at = self._events.chronicle.end
        self.over = True
        self._events.leave(self)

    @property
    def _missed(self) -> int:
        return max(0, self._events.chronicle.start - 1 - self._at)

    def _facts(self) -> bytes:
        chronicle, kinds = self._events.chronicle, self._kinds
        entries = chronicle.after(self._at, BATCH)
        self._at += len(entries)
        epoch_s = chronicle.epoch_s()
        told = [event_of(entry, epoch_s) for entry in entries if not kinds or kind_of(entry) in kinds]
        return self._event("facts", told, number=self._events.number(self._at)) if told else b""

    def _event(self, event: str, value: Any, *, number: str = "") -> bytes:
        head = f"id: {number}\n" if number else ""
        return f"{head}event: {event}\ndata: ".encode() + msgspec.json.encode(value) + b"\n\n"
