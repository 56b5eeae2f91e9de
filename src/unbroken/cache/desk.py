"""What the engine asks before it flies: has this been answered, is it being answered, may the answer be kept?

In this order: whoever asks what is on its way joins; what is in the store and fresh is given;
what is stale is given where nobody could give another; what means the same is given where the
route wants that; else a flight takes off, and its answer is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Generic, TypeVar

from unbroken.cache.entries import Freshness, entry_of, freshness, serves, wants_usage
from unbroken.cache.keys import asked_of
from unbroken.cache.meaning import Meanings, Near
from unbroken.cache.sharing import Order, Seat, Shared, Source
from unbroken.cache.store import Found, Store
from unbroken.core.flight import Finished
from unbroken.core.lineup import incapable
from unbroken.engine import Caller, Drive, Engine
from unbroken.facts import CacheAnswered, CacheStored, FlightEnded
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Deadlines, Route
from unbroken.types import Request

__all__ = ["Desk"]

STORE_S = 0.05
"""A store that takes longer is slower than most providers' first word: the request goes on without it."""
MEANING_S = 2.0
"""The same for what a question means, which a provider may have to be asked for."""
LOG_BYTES_MAX = 8 * 1024 * 1024
"""Of an answer on its way, kept for those who come later; a longer one is not stored."""

Came = TypeVar("Came")
Flights = dict[tuple[str, Deadlines, bool], Shared]


class Desk:
    """The engine's memory of answers."""

    def __init__(self, engine: Engine, store: Store, *, meanings: Meanings | None = None) -> None:
        self._engine, self._store, self.meanings = engine, store, meanings
        self._under_way: Flights = {}

    def fly(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> Drive | None:
        """A seat at an answer that is there, on its way, or sent for; None where none of that may be."""
        asked = asked_of(request, route)
        if asked is None:
            return None
        order = Order(request, route, asked, flight_id)
        seat = Seat(caller, order, began=self._engine.clock(), left=self._note)
        shared = self._joinable(order)
        if request.cache == "no-cache":
            self._take_off(self._shared(order, seat))
        elif shared is not None:
            shared.join(seat)
        else:
            shared = self._under_way[_place(order)] = self._shared(order, seat)
            self._look_up(asked.key, partial(self._found, shared))
        return seat

    # -- those who ask the same

    def _shared(self, order: Order, leader: Seat) -> Shared:
        shared = Shared(order, over=self._over, empty=self._empty, log_bytes_max=LOG_BYTES_MAX)
        shared.leader = leader
        shared.join(leader)
        return shared

    def _joinable(self, order: Order) -> Shared | None:
        """An answer on its way that has all that this caller expects, and may take as long as this one may wait."""
        key, deadlines, mute = _place(order)
        for place in ((key, deadlines, False), (key, deadlines, True))[: 2 if mute else 1]:
            shared = self._under_way.get(place)
            if shared is not None and shared.is_open:
                return shared
        return None

    def _close(self, shared: Shared) -> None:
        """Nobody joins any more."""
        place = _place(shared.order)
        if self._under_way.get(place) is shared:
            del self._under_way[place]

    def _empty(self, shared: Shared) -> None:
        """Nobody wants it any more."""
        self._close(shared)
        if shared.drive is not None:
            shared.drive.cancel()

    # -- looking for an answer

    def _look_up(self, key: str, then: Callable[[Found], None]) -> None:
        """Go on with what the store knows, or with nothing when that takes too long."""
        once = _Once(then)
        self._store.get(key, ready=once)
        once.limit(STORE_S)

    def _found(self, shared: Shared, found: Found) -> None:
        """What the store knows of a request."""
        if shared.is_empty:
            return
        order = shared.order
        caching = order.route.policy.cache
        if found is not None and serves(found[0], order.request):
            entry, age_s = found
            good = freshness(age_s, caching)
            if good is Freshness.FRESH:
                self._serve(shared, Source.of(entry, how="hit", age_s=age_s))
                return
            if good is Freshness.STALE:
                shared.spare = Source.of(entry, how="stale", age_s=age_s)
                if self._nobody_is_well(order):
                    self._serve(shared, shared.spare)
                    return
        if self.meanings is not None and order.asked.question:
            once = _Once(partial(self._compared, shared))
            self.meanings.nearest(order, ready=once)
            once.limit(MEANING_S)
        else:
            self._take_off(shared)

    def _compared(self, shared: Shared, near: Near | None) -> None:
        """The nearest question that was answered before, if one is near enough."""
        if shared.is_empty:
            return
        shared.vector = near.vector if near is not None else None
        if near is None or near.key is None:
            self._take_off(shared)
        else:
            self._look_up(near.key, partial(self._found_near, shared))

    def _found_near(self, shared: Shared, found: Found) -> None:
        order = shared.order
        fresh = found is not None and freshness(found[1], order.route.policy.cache) is Freshness.FRESH
        if found is not None and fresh and serves(found[0], order.request):
            self._serve(shared, Source.of(found[0], how="semantic", age_s=found[1]))
        elif not shared.is_empty:
            self._take_off(shared)

    def _nobody_is_well(self, order: Order) -> bool:
        """Whether everybody who could answer is being left alone."""
        board, now = self._engine.board, self._engine.clock()
        able = [target for target in order.route.targets if incapable(order.request, target) is None]
        return bool(able) and all(board.obstacle(target, now) for target in able)

    # -- an answer from memory, or a flight

    def _serve(self, shared: Shared, source: Source) -> None:
        self._close(shared)
        shared.serve(source)

    def _take_off(self, shared: Shared) -> None:
        order = shared.order
        caching = order.route.policy.cache
        route = order.route if shared.spare is None else _without_patience(order.route)
        try:
            drive = self._engine.take_off(order.request, route, caller=shared, flight_id=order.flight)
        except Exception as error:  # noqa: BLE001 - others may wait for it by now, and nobody else would tell them
            told = {"message": "a request that others wait for could not be begun", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)
            message = f"the request could not be begun ({type(error).__name__})"
            failure = Failure(kind=FailureKind.INTERNAL, message=message)
            shared.finish(Finished(None, 0, failover=False, rescued=False, failure=failure))
            return
        shared.has_flown = True
        if shared.live.end is not None:
            return
        shared.drive, shared.left_out = drive, drive.left_out
        shared.keep_pace()
        if shared.spare is not None and caching.stale_after_s is not None:
            asyncio.get_running_loop().call_later(caching.stale_after_s, shared.hurry)

    def _over(self, shared: Shared, end: Finished) -> None:
        """A flight has ended: keep what it brought."""
        self._close(shared)
        order = shared.order
        if not shared.is_kept:
            return
        entry = entry_of(shared.live.log, end, request=order.request, flight=order.flight)
        if entry is None:
            return
        caching = order.route.policy.cache
        keep_s = (caching.ttl_s or 0.0) + caching.stale_s
        if self._store.put(order.asked.key, entry, keep_s=keep_s):
            fact = CacheStored(self._engine.clock(), order.flight, order.route.name, entry.size_bytes)
            self._engine.bus.publish(fact)
            if self.meanings is not None and shared.vector is not None:
                self.meanings.learn(order, shared.vector)

    # -- what is known afterwards

    def _note(self, seat: Seat, end: Finished | None) -> None:
        """A caller is served, or has left (None); what flew tells of itself."""
        now, publish, name = self._engine.clock(), self._engine.bus.publish, seat.order.route.name
        answered = end is not None and end.cache not in {"miss", ""} and end.failure is None
        if end is not None and answered:
            usage = next((step.usage for step in reversed(seat.source.log) if step.usage), None)
            origin = seat.source.origin
            publish(CacheAnswered(now, seat.id, name, end.cache, origin, end.age_s, end.target, usage))
        if seat.is_pilot:
            return
        left = Failure(kind=FailureKind.CANCELLED, message="the caller left")
        failure = end.failure if end is not None else left
        target = end.target if end is not None else None
        total_s = now - seat.began
        ended = FlightEnded(now, seat.id, name, target, 0, total_s, failover=False, rescued=False, failure=failure)
        publish(ended)


class _Once(Generic[Came]):
    """Goes on once: with what came, or with nothing where that took too long."""

    __slots__ = ("_then", "_timer")

    def __init__(self, then: Callable[[Came | None], None]) -> None:
        self._then: Callable[[Came | None], None] | None = then
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, came: Came | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        then, self._then = self._then, None
        if then is not None:
            then(came)

    def limit(self, seconds: float) -> None:
        """Wait no longer than this, where it has not come yet."""
        if self._then is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self, None)


def _place(order: Order) -> tuple[str, Deadlines, bool]:
    """Who may share a flight: who asks the same, has as long to wait, and expects as much of the answer."""
    return order.asked.key, order.route.policy.deadlines, not wants_usage(order.request)


def _without_patience(route: Route) -> Route:
    """The route, with nobody asked twice: there is an answer in hand in case nobody has one."""
    policy = replace(route.policy, retries=replace(route.policy.retries, same_target_max=0))
    targets = tuple(
        replace(target, same_target_max=0) if target.same_target_max else target for target in route.targets
    )
    return replace(route, targets=targets, policy=policy)
