"""What a request passes before it flies: its budgets, and the gate before targets without room.

`core.limits`, `core.gate` and `core.spend` decide; this file tells them the time, wakes
whoever waits, and answers those who are turned away.  An engine has an `Admission` from the
moment on that there is anything to be kept: limits or budgets that were configured, or a
provider that says how much it still takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from unbroken.bus import Bus
from unbroken.core.askers import Askers
from unbroken.core.board import Board
from unbroken.core.flight import Finished
from unbroken.core.gate import Gate, Waiter
from unbroken.core.limits import Cost, Limits, cost_of
from unbroken.core.lineup import incapable
from unbroken.core.spend import Account, Spending, estimate_usd
from unbroken.drives import Caller, Drive, Told
from unbroken.facts import BudgetExceeded, FlightEnded, LimitsTold, Queued, Shed
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Route, SpendLimit
from unbroken.ports import Clock
from unbroken.types import Allowance, Request, Target

__all__ = ["Admission", "Begin"]

WAIT_SHARE = 0.5
"""Of the time that a request has, may go by before it begins: its answer needs some too."""
ASKER_CHARS = 12
"""So much of a key's hash tells callers apart."""


class Begin(Protocol):
    """Lets a request take off; `barred` are targets that it must not go to, with the reason in words."""

    def __call__(
        self, request: Request, route: Route, *, caller: Caller, flight_id: str, barred: Mapping[str, str] = ...
    ) -> Drive: ...


class Order:
    """A request on its way to a flight."""

    __slots__ = ("asker", "barred", "caller", "cost", "id", "request", "route")

    def __init__(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> None:
        self.request, self.route, self.caller, self.id = request, route, caller, flight_id
        self.cost = cost_of(request)
        self.asker = request.asker
        self.barred: Mapping[str, str] = {}

    @property
    def whose(self) -> str:
        """Who is to have a fair share: a key, and whom of those behind it its caller names."""
        return "/".join(filter(None, (self.asker[:ASKER_CHARS], self.request.caller)))

    @property
    def able(self) -> list[Target]:
        """The targets that could do the work."""
        return [
            target for target in self.route.targets
            if target.name not in self.barred and incapable(self.request, target) is None
        ]  # fmt: skip


class Admission:
    """Lets requests begin, wait, or go."""

    def __init__(
        self, begin: Begin, *, board: Board, clock: Clock, bus: Bus, limits: Limits, spending: Spending | None = None,
        routes: Mapping[str, Route] | None = None,
    ) -> None:  # fmt: skip
        """`routes` are those that a budget may lead to."""
        self._begin, self._board, self._clock, self._bus = begin, board, clock, bus
        self.limits, self.spending, self._routes = limits, spending, routes or {}
        self.askers: Askers | None = None
        self.short: Callable[[], None] | None = None
        self.gate = Gate(board, limits)
        self._seats: dict[Waiter, Seat] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False
        board.limits = limits
        board.watch(limits.reactions)
        if spending is not None:
            board.watch(spending.reactions)

    def follow(
        self, targets: Iterable[Target], budgets: Sequence[SpendLimit], *, routes: Mapping[str, Route],
        spending: Callable[[], Spending],
    ) -> None:  # fmt: skip
        """Another configuration: its limits and budgets hold from now on; `spending` makes accounts where none were."""
        self._routes = routes
        self.limits.follow(targets)
        if self.spending is not None:
            self.spending.follow(budgets)
        elif budgets:
            self.spending = spending()
            self._board.watch(self.spending.reactions)
        self.freed()

    def allow(self, allowances: Mapping[str, Allowance]) -> None:
        """How much each key (by its hash) may ask for from now on."""
        if self.askers is not None:
            self.askers.follow(allowances)
        elif allowances:
            self.askers = Askers(allowances)
            self._board.watch(self.askers.reactions)

    # -- from the engine

    def fly(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> Drive:
        """Begin a request, or let it wait, or turn it away; the caller is told."""
        order, now = Order(request, route, caller=caller, flight_id=flight_id), self._clock()
        refused = self.askers.refusal(order.asker, order.cost, now=now) if self.askers is not None else None
        if refused is None and self.spending is not None:
            refused = self._pay(order, now)
        if refused is not None:
            return self._refuse(order, refused, now=now)
        if self.askers is not None:
            self.askers.begin(order.id, order.asker, cost=order.cost, now=now)
        able = order.able
        if not able or self.gate.open_to(able, order.cost, now=now):
            return self._take_off(order)
        return self._queue(order, able, now=now)

    def told(self, fact: LimitsTold) -> None:
        """A provider said how much it still takes."""
        self._board.fold(fact)
        self._bus.publish(fact)
        self.freed()

    def freed(self) -> None:
        """Something has ended: there may be room for those who wait."""
        if self.gate.waiting and not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._look)

    # -- the queue

    def _queue(self, order: Order, able: list[Target], *, now: float) -> Drive:
        queue = order.route.policy.queue
        deadlines = order.route.policy.deadlines
        total_s = max(deadlines.limits(order.request, target).total_s for target in able)
        waiter = Waiter(
            order.id, route=order.route.name, caller=order.whose, cost=order.cost,
            targets=able, waiting_max=queue.waiting_max, wait_s=min(queue.wait_s, WAIT_SHARE * total_s),
        )  # fmt: skip
        verdict = self.gate.arrive(waiter, now)
        if isinstance(verdict, Failure):
            self._bus.publish(Shed(now, order.id, order.route.name, waiter.caller, 0.0, verdict))
            return self._refuse(order, verdict, now=now)
        if verdict == "go":
            return self._take_off(order)
        seat = self._seats[waiter] = Seat(self, order, waiter=waiter)
        if self.short is not None:
            self.short()
        self._look()
        return seat

    def _look(self) -> None:
        """Begin whoever may, turn away whom it is too late for, and set the alarm."""
        self._soon, now = False, self._clock()
        while (waiter := self.gate.next(now)) is not None:
            seat = self._seats.pop(waiter)
            waited_s = now - waiter.arrived
            self._bus.publish(Queued(now, waiter.id, waiter.route, waiter.caller, waited_s))
            seat.order.route = _hurried(seat.order, waited_s)
            seat.board(self._go_on(seat.order, now=now, waited_s=waited_s))
        for waiter, failure in self.gate.turned_away(now):
            seat, waited_s = self._seats.pop(waiter), now - waiter.arrived
            self._bus.publish(Shed(now, waiter.id, waiter.route, waiter.caller, waited_s, failure))
            self._refuse(seat.order, failure, now=now, waited_s=waited_s)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.gate.waiting:
            self._timer = asyncio.get_running_loop().call_later(self.gate.wake_at(now) - now, self._look)

    def left(self, waiter: Waiter) -> None:
        """Its caller is gone."""
        if (seat := self._seats.pop(waiter, None)) is None:
            return
        now, order = self._clock(), seat.order
        self.gate.leave(waiter)
        waited_s = now - waiter.arrived
        self._bus.publish(Queued(now, waiter.id, waiter.route, waiter.caller, waited_s, left=True))
        failure = Failure(kind=FailureKind.CANCELLED, message="the caller left")
        self._refuse(order, failure, now=now, waited_s=waited_s)
        self.freed()

    def _go_on(self, order: Order, *, now: float, waited_s: float) -> Drive:
        """Begin who has waited, if it can still be paid: others have spent meanwhile."""
        refused = self._pay(order, now) if self.spending is not None else None
        return self._take_off(order) if refused is None else self._refuse(order, refused, now=now, waited_s=waited_s)

    def _take_off(self, order: Order) -> Drive:
        self.limits.expect(order.id, order.cost)
        if self.spending is not None:
            self.spending.begin(order.id, route=order.route.name, asker=order.asker, cost=order.cost)
        return self._begin(order.request, order.route, caller=order.caller, flight_id=order.id, barred=order.barred)

    def _refuse(self, order: Order, failure: Failure, *, now: float, waited_s: float = 0.0) -> Drive:
        end = Finished(None, 0, failover=False, rescued=False, failure=failure)
        ended = FlightEnded(
            now, order.id, order.route.name, None, 0, waited_s, failover=False, rescued=False, failure=failure
        )
        self._bus.publish(ended)
        order.caller.finish(end)
        return Refused(order.id, end)

    # -- budgets

    def _pay(self, order: Order, now: float) -> Failure | None:
        """Whether the order's budgets can pay for it; where they say so, it goes on more cheaply."""
        over = self._over(order)
        if over is None:
            return None
        limit = over.limit
        then = limit.then if limit.then == "stop" else limit.to or limit.then
        told = BudgetExceeded(now, order.id, order.route.name, limit.name, over.gone_usd, over.most_usd, then)
        self._bus.publish(told)
        if limit.then == "stop":
            return self._spent(over)
        if limit.to:
            order.route = self._routes[limit.to]
            beyond = self._over(order)
            return self._spent(beyond) if beyond is not None and beyond.limit.then == "stop" else None
        return self._cheaper(order, over)

    def _over(self, order: Order) -> Account | None:
        assert self.spending is not None
        first = next(iter(order.able), None)
        usd = estimate_usd(first, order.cost) if first is not None else 0.0
        return next(iter(self.spending.over(order.route.name, order.asker, usd=usd)), None)

    def _cheaper(self, order: Order, over: Account) -> Failure | None:
        """Bar the targets that are not cheaper than the route's first; where that is all of them, it ends here."""
        prices = {target.name: _price_usd(target, order.cost) for target in order.able}
        if not prices:
            return None
        usual_usd = next(iter(prices.values()))
        reason = f"{_used_up(over)}, and it is not cheaper than the first"
        order.barred = {name: reason for name, usd in prices.items() if usd >= usual_usd}
        return self._spent(over) if len(order.barred) == len(prices) else None

    def _spent(self, over: Account) -> Failure:
        assert self.spending is not None
        return Failure(  # the caller's own: no provider's quota is spent, and faces pass on the code
            kind=FailureKind.REQUEST, message=_used_up(over), status=429, code="budget_exceeded",
            type="insufficient_quota", retry_after_s=self.spending.back_s(over), sent=False,
        )  # fmt: skip


class Seat:
    """The drive of a request that waits; once it flies, the flight's."""

    def __init__(self, admission: Admission, order: Order, *, waiter: Waiter) -> None:
        self.order, self.id = order, order.id
        self._admission, self._waiter = admission, waiter
        self._drive: Drive | None = None
        self._paused = False

    def board(self, drive: Drive) -> None:
        """It flies."""
        self._drive = drive
        if self._paused:
            drive.pause()

    @property
    def flight(self) -> Told:
        return self if self._drive is None else self._drive.flight

    @property
    def left_out(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self._drive is None else self._drive.left_out

    def so_far(self) -> Finished:
        """Nobody was asked yet."""
        return Finished(None, 0, failover=False, rescued=False)

    def cancel(self) -> None:
        """The caller has left."""
        if self._drive is None:
            self._admission.left(self._waiter)
        else:
            self._drive.cancel()

    def pause(self) -> None:
        """The caller reads more slowly than there is something to read."""
        self._paused = True
        if self._drive is not None:
            self._drive.pause()

    def resume(self) -> None:
        """The caller has caught up."""
        self._paused = False
        if self._drive is not None:
            self._drive.resume()


class Refused:
    """The drive of a request that was turned away: there is nothing to be driven."""

    left_out: Mapping[str, tuple[str, ...]] = {}

    def __init__(self, flight_id: str, end: Finished) -> None:
        self.id, self._end = flight_id, end

    @property
    def flight(self) -> Told:
        return self

    def so_far(self) -> Finished:
        """It is over."""
        return self._end

    def cancel(self) -> None:
        """It is over."""

    pause = resume = cancel


def _hurried(order: Order, waited_s: float) -> Route:
    """The route, with the time that went by taken off what is left."""
    deadlines, request = order.route.policy.deadlines, order.request
    targets = [
        replace(target, deadlines={**target.deadlines, "total_s": deadlines.limits(request, target).total_s - waited_s})
        for target in order.route.targets
    ]
    return replace(order.route, targets=tuple(targets))


def _price_usd(target: Target, cost: Cost) -> float:
    """What it is likely to cost; of unknown prices the worst is assumed."""
    return estimate_usd(target, cost) if target.price.known else float("inf")


def _used_up(over: Account) -> str:
    return f"the budget {over.limit.name} of ${over.most_usd:g} a {'month' if over.monthly else 'day'} is used up"
