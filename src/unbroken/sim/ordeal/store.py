"""The store that replicas share, and their lines to it: what `replicas.redis` promises, over a network that fails.

The rules are those of `replicas.commons`.  A `StoreLine` behaves as the line to Redis does: what is
asked is answered within half a second or the store is gone, and is looked for again and
again; what is said is read from a log, and after a time away from where it was left.  A store
may be slow, deaf for a while (and then do what it was asked, late), cut off from one replica,
and dead and born again with nothing in it.  What is said may be lost, doubled and
overtaken, and the store's clock may jump.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from unbroken.replicas.backplane import Found, Gone, Grant, Hearer, Hold, Switch
from unbroken.replicas.commons import SAID_MAX, SAID_S, Commons
from unbroken.sim.ordeal.loop import Agenda, Loop

__all__ = ["ANSWER_S", "Network", "Store", "StoreLine"]

ANSWER_S = 0.5
AGAIN_S, AGAIN_S_MAX = 0.1, 2.0
"""As in `replicas.redis`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How it is between replicas and the store: seconds one way, and shares of what is said that suffer so."""

    way_s: tuple[float, float] = (0.0002, 0.003)
    lost: float = 0.0
    doubled: float = 0.0
    overtaken: float = 0.0


class Store:
    """The process that keeps what replicas have in common."""

    def __init__(self, agenda: Agenda, network: Network, *, draw: Random) -> None:
        self.agenda, self.network, self.draw = agenda, network, draw
        self.commons = Commons()
        self.ahead_s = draw.uniform(0.0, 1e6)
        self.lines: dict[StoreLine, None] = {}
        self.is_up, self.is_deaf = True, False
        self.births = 1
        self._log: list[tuple[float, bytes]] = []
        self._missed: list[Callable[[], None]] = []
        self.asked = self.told = 0
        """Requests for parts of limits, and messages that went out to replicas."""

    @property
    def now(self) -> float:
        """What its clock says."""
        return self.agenda.now + self.ahead_s

    # -- what befalls it

    def die(self) -> None:
        """It is gone, with everything in it."""
        self.is_up, self.is_deaf = False, False
        self._log.clear()
        self._missed.clear()
        for line in self.lines:
            line.reset()

    def rise(self) -> None:
        """It is there again, and knows nothing."""
        self.is_up = True
        self.births += 1
        self.commons = Commons()

    def deafen(self) -> None:
        """It takes what comes, and does nothing about it for now."""
        self.is_deaf = True

    def listen(self) -> None:
        """It does what it was asked meanwhile: line by line, which need not be the order in which it came."""
        self.is_deaf = False
        missed, self._missed = self._missed, []
        self.draw.shuffle(missed)
        for act in missed:
            act()

    # -- what comes over lines

    def reach(self, line: StoreLine, act: Callable[[], None]) -> None:
        """Something is on its way from a replica; what is lost on it is not heard of again."""
        self.agenda.after(self.way_s(), lambda: self._take(line, act))

    def _take(self, line: StoreLine, act: Callable[[], None]) -> None:
        if not self.is_up or line.is_cut:
            return
        if self.is_deaf:
            self._missed.append(act)
        else:
            act()

    def say(self, words: bytes) -> None:
        """For everybody to hear."""
        self._log.append((self.now, words))
        self.commons.say(words, self.now)
        for line in self.lines:
            line.news()

    def read(self, place: int) -> list[tuple[float, bytes]]:
        """What was said since then."""
        return self._log[max(place, len(self._log) - SAID_MAX) :]

    @property
    def end(self) -> int:
        """Where the log ends."""
        return len(self._log)

    def lately(self) -> int:
        """From where those read who join."""
        return next((place for place, (at, _) in enumerate(self._log) if self.now - at <= SAID_S), len(self._log))

    def way_s(self) -> float:
        """How long the way is this time."""
        return self.draw.uniform(*self.network.way_s)


class StoreLine:
    """A replica's line to the store: a `Backplane`."""

    def __init__(self, store: Store, loop: Loop, *, replica: str) -> None:
        self._store, self._loop, self._replica = store, loop, replica
        self._hearer: Hearer | None = None
        self._offset_s, self._again_s = 0.0, AGAIN_S
        self._birth = self._place = self._sent = -1
        self._heard_at = 0.0
        self.is_there = self.is_cut = False
        self.is_closed = False

    # -- as a backplane

    def start(self, hearer: Hearer) -> None:
        if self._hearer is None:
            self._hearer = hearer
            self._store.lines[self] = None
            self._join()

    async def close(self) -> None:
        if self.is_there:
            self._store.reach(self, lambda: self._store.commons.left(self._replica))
        self.leave()

    def leave(self) -> None:
        """Nothing more goes over it."""
        self.is_there, self.is_closed = False, True
        self._store.lines.pop(self, None)

    def say(self, words: bytes) -> None:
        network, draw = self._store.network, self._store.draw
        if not self.is_there or draw.random() < network.lost:
            return
        times = 2 if draw.random() < network.doubled else 1
        for _ in range(times):
            late_s = draw.uniform(0.0, 0.5) if draw.random() < network.overtaken else 0.0
            self._store.agenda.after(late_s, lambda: self._send(lambda: self._store.say(words)))

    def keep(self, name: str, switch: Switch) -> None:
        if self.is_there:
            self._send(lambda: self._store.commons.keep(name, switch))

    async def hold(self, holds: Sequence[Hold]) -> tuple[list[Grant], int]:
        began, store = self._loop.time(), self._store
        store.asked += 1

        def act() -> tuple[float, tuple[list[Grant], int]]:
            return store.now, store.commons.hold(self._replica, holds, now=store.now)

        told: tuple[float, tuple[list[Grant], int]] = await self._answer(act)
        self._offset_s = (began + self._loop.time()) / 2 - told[0]
        return told[1]

    async def ask(self, what: str) -> list[bytes] | None:
        return None

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        self._loop.call_soon(ready, None)

    def put(self, key: str, value: bytes, *, keep_s: float) -> None:
        """Answers are not kept here."""

    def reset(self) -> None:
        """The store's process is gone, and its connections with it."""
        if not self.is_cut:
            self._loop.enter(lambda: self._lost("the connection was reset"))

    # -- questions to the store

    async def _answer(self, act: Callable[[], Any]) -> Any:
        """What the store says to this; Gone where it says nothing in time."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._question(act, lambda told: None if answer.done() else answer.set_result(told))
        timer = self._loop.call_later(ANSWER_S, lambda: None if answer.done() else answer.set_exception(Gone("late")))
        try:
            return await answer
        except Gone:
            self._lost("it does not answer")
            raise
        finally:
            timer.cancel()

    def _send(self, act: Callable[[], Any]) -> None:
        """Something that wants no answer, but that it has come."""
        come: list[object] = []
        self._question(act, come.append)
        self._loop.call_later(ANSWER_S, lambda: None if come else self._lost("it does not take what is said"))

    def _question(self, act: Callable[[], Any], ready: Callable[[Any], None]) -> None:
        store = self._store

        def reach() -> None:
            told = act()
            store.agenda.after(store.way_s(), lambda: None if self.is_cut else self._loop.enter(lambda: ready(told)))

        store.reach(self, reach)

    def _lost(self, why: str) -> None:
        if self.is_there:
            self.is_there = False
            assert self._hearer is not None
            self._hearer.lost(why)
            self._later()

    # -- listening

    def _later(self) -> None:
        self._loop.call_later(self._again_s, self._join)
        self._again_s = min(2.0 * self._again_s, AGAIN_S_MAX)

    def _join(self) -> None:
        """Find the store, or try again."""
        if self.is_there or self.is_closed:
            return
        began, answered = self._loop.time(), [False]

        def ready(told: tuple[float, int, int, int, dict[str, Switch]]) -> None:
            if not answered[0]:
                answered[0] = True
                self._joined(told, began=began)

        def late() -> None:
            if not answered[0]:
                answered[0] = True
                self._later()

        self._question(self._look, ready)
        self._loop.call_later(ANSWER_S, late)

    def _look(self) -> tuple[float, int, int, int, dict[str, Switch]]:
        store = self._store
        return store.now, store.births, store.lately(), store.end, dict(store.commons.switches)

    def _joined(self, told: tuple[float, int, int, int, dict[str, Switch]], *, began: float) -> None:
        at, birth, lately, end, switches = told
        self._offset_s = (began + self._loop.time()) / 2 - at
        self._place = min(max(lately, self._place), end) if birth == self._birth else lately
        self._birth, self.is_there, self._again_s = birth, True, AGAIN_S
        self._sent = self._place
        assert self._hearer is not None
        self._hearer.joined(switches)
        self.news()

    def mend(self) -> None:
        """The way is there again; what was lost on it is sent once more."""
        self.is_cut, self._sent = False, self._place
        self.news()

    def news(self) -> None:
        """There is something to be read."""
        store = self._store
        if not self.is_there or self.is_cut or store.births != self._birth or not store.is_up:
            return
        entries, first = store.read(self._sent), max(self._sent, store.end - SAID_MAX)
        self._sent = store.end
        store.told += len(entries)
        for number, (at, words) in enumerate(entries, start=first):
            self._heard_at = max(self._heard_at, store.agenda.now + store.way_s())
            hear = partial(self._hear, number, at=at, words=words)
            store.agenda.at(self._heard_at, lambda hear=hear: self._loop.enter(hear))  # type: ignore[misc]

    def _hear(self, number: int, *, at: float, words: bytes) -> None:
        """Each once, in their order."""
        if self.is_there and not self.is_cut and number == self._place and self._hearer is not None:
            self._place += 1
            self._hearer.heard(words, at + self._offset_s)
