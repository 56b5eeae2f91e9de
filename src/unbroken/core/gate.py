"""Who may begin, who waits, and who is turned away, when targets have no room.

    gate = Gate(board, limits)
    gate.arrive(waiter, now)      "go", "wait", or the Failure with which it is turned away at once
    gate.next(now)                a waiter that may begin now; to be begun before the next is asked for
    gate.turned_away(now)         those for whom it became too late, each with its Failure
    gate.leave(waiter)            its caller is gone
    gate.wake_at(now)             when `next` and `turned_away` are to be asked at the latest

Whoever drives it asks `next` until it gives None, and `turned_away`, whenever an attempt has
ended and when `wake_at` has come.  A request waits only where a target that is well could
answer it if it had room, or where everybody is full and ill for a while; where somebody is left
to be tried, or nobody will come back, flights know what to do.

Among those who wait on a route, callers get equal shares of what there is (start-time fair
queueing, Goyal, Vin and Cheng, 1996): each request begins at the moment, on a clock of work
done, at which its caller's last one is paid for, and the earliest goes first.  When the queue
is full, the latest of whoever has most in it makes room for somebody who has less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import ceil

from unbroken.core.board import Board
from unbroken.core.limits import Cost, Limits
from unbroken.failures import Failure, FailureKind
from unbroken.types import Target

__all__ = ["Gate", "Waiter"]

BRISK = 1.25
"""Those who wait begin so many times as fast as the room of a minute comes back on average, and not all at once: what
goes out in a rush comes back in a rush, and in between there is nothing for anybody."""
LOOK_S = 1.0
"""How often is looked whether somebody has got well meanwhile, at least."""
SOON_S = 0.001
"""Nobody is woken sooner than this again: clocks are not exact."""
BACK_S = 5.0
"""When to come back where nothing is known of when there will be room."""
CALLERS_MAX = 10_000
"""Accounts of callers that are kept; beyond so many only of those who wait."""
PACE_KEPT = 0.9
"""Of what is known of the time between two beginnings, with each new one."""


class Waiter:
    """A request before it begins: whose it is, what it takes, who could answer it, and until when it waits.

    `targets` are those that could do the work at all.  `deadline` is on the clock of the driver.
    """

    __slots__ = ("arrived", "caller", "cost", "deadline", "gone", "id", "lane", "route", "start", "targets",
                 "waiting_max")  # fmt: skip

    def __init__(
        self, flight: str, *, route: str, caller: str, cost: Cost, targets: Sequence[Target], waiting_max: int,
        wait_s: float,
    ) -> None:  # fmt: skip
        self.id, self.route, self.caller = flight, route, caller
        self.lane = (route, *(target.name for target in targets))
        self.cost, self.targets, self.waiting_max = cost, targets, waiting_max
        self.deadline = wait_s
        self.arrived = self.start = 0.0
        self.gone = False


class _Lane:
    """Those who wait on one route for the same targets."""

    __slots__ = ("callers", "length", "order", "turn_at")

    def __init__(self) -> None:
        self.turn_at = 0.0
        self.order: list[tuple[float, int, Waiter]] = []
        self.callers: dict[str, deque[Waiter]] = {}
        self.length = 0

    def head(self) -> Waiter:
        """Whose turn it is; there are no lanes without anybody."""
        while self.order[0][2].gone:
            heappop(self.order)
        return self.order[0][2]


class Gate:
    """The queue before all flights.  `waiting` is how many are in it."""

    def __init__(self, board: Board, limits: Limits) -> None:
        self._board, self._limits = board, limits
        self._lanes: dict[tuple[str, ...], _Lane] = {}
        self._deadlines: list[tuple[float, int, Waiter]] = []
        self._paid: dict[str, float] = {}
        self._work = 0.0
        self._numbers = count()
        self._evicted: list[tuple[Waiter, Failure]] = []
        self._began_at: float | None = None
        self._pace_s = 0.0
        self.waiting = 0

    def open_to(self, targets: Iterable[Target], cost: Cost, *, now: float) -> bool:
        """Whether a request may begin without further ado: nobody waits, and one of these targets is well and free."""
        return not self.waiting and any(self._board.obstacle(target, now, cost=cost) is None for target in targets)

    # -- what happens

    def arrive(self, waiter: Waiter, now: float) -> str | Failure:
        """`go` where there is room and nobody waits for it, else `wait`, else the failure to be told at once."""
        waiter.arrived = now
        waiter.deadline += now
        blocked = self._blocked(waiter, now)
        if not blocked and not self._has_waiters_for(waiter):
            return "go"
        lane = self._lanes.get(waiter.lane) or _Lane()
        if blocked and now + self._wait_s(waiter, blocked, now=now, lane=lane) > waiter.deadline:
            return self._failure(waiter, blocked, now=now, why="the wait would be too long")
        if lane.length >= waiter.waiting_max and not self._make_room(lane, waiter, now=now):
            return self._failure(waiter, blocked, now=now, why=f"{lane.length} requests wait already")
        self._lanes[waiter.lane] = lane
        self._enter(lane, waiter)
        return "wait"

    def next(self, now: float) -> Waiter | None:
        """Whoever may begin now; the driver begins it before it asks again."""
        for head in sorted(self._heads(), key=lambda waiter: waiter.start):
            if self._lanes[head.lane].turn_at <= now < head.deadline and not self._blocked(head, now):
                self._work = max(self._work, head.start)
                self._lanes[head.lane].turn_at = now + self._gap_s(head)
                self._take_out(head)
                self._note_pace(now)
                return head
        return None

    def turned_away(self, now: float) -> list[tuple[Waiter, Failure]]:
        """Those who had to make room, and those whose time is over."""
        out, self._evicted = self._evicted, []
        while self._deadlines and (self._deadlines[0][2].gone or self._deadlines[0][0] <= now):
            waiter = heappop(self._deadlines)[2]
            if not waiter.gone:
                self._take_out(waiter)
                why = f"there was none for {now - waiter.arrived:.1f} s"
                out.append((waiter, self._failure(waiter, self._blocked(waiter, now), now=now, why=why)))
        return out

    def leave(self, waiter: Waiter) -> None:
        """The caller is gone; harmless where it waits no longer."""
        if not waiter.gone:
            self._refund(waiter)
            self._take_out(waiter)

    def wake_at(self, now: float) -> float:
        """When somebody may be able to begin, or has waited long enough; infinity while nobody waits."""
        if not self.waiting:
            return float("inf")
        while self._deadlines[0][2].gone:
            heappop(self._deadlines)
        at = min(self._deadlines[0][0], now + LOOK_S)
        for head in self._heads():
            free_ats = [self._free_at(target, head, now=now) for target in head.targets]
            at = min([at, *(later for later in (*free_ats, self._lanes[head.lane].turn_at) if later > now)])
        return max(at, now + SOON_S)

    # -- room

    def _heads(self) -> list[Waiter]:
        return [lane.head() for lane in self._lanes.values()]

    def _blocked(self, waiter: Waiter, now: float) -> list[Target]:
        """The targets to wait for; none where the request should begin.

        Those that are well and have no room; else, where no last resort is left to a flight,
        those that are ill and have none.
        """
        well, ill, left, limits, cost = [], [], False, self._limits, waiter.cost
        for target in waiter.targets:
            full = limits.obstacle(target, now, cost=cost)
            found = self._board.obstacle(target, now, cost=cost)
            if found is None:
                return []
            if found == full:
                well.append(target)
            elif full is not None and limits.barred(target) and not self._board.taken_out(target):
                ill.append(target)
            elif not self._board.forced_open(target):
                left = True
        return well or ([] if left else ill)

    def _free_at(self, target: Target, waiter: Waiter, *, now: float, before: int = 0) -> float:
        """When a target may have room and be well again."""
        at = self._limits.free_at(target, now, cost=waiter.cost, before=before)
        return max(at, self._board.free_at(target, now))

    def _gap_s(self, waiter: Waiter) -> float:
        """How long the next one waits for its turn, with all targets together; 0 where one has no such limit."""
        gaps = [self._limits.gap_s(target, waiter.cost) for target in waiter.targets]
        return 1.0 / sum(BRISK / gap for gap in gaps) if all(gaps) else 0.0

    def _has_waiters_for(self, waiter: Waiter) -> bool:
        """Whether anybody is before this one: on its route, or on another for one of its targets."""
        if not self.waiting:
            return False
        mine = {target.name for target in waiter.targets}
        return any(not mine.isdisjoint(target.name for target in head.targets) for head in self._heads())

    def _wait_s(self, waiter: Waiter, blocked: Sequence[Target], *, now: float, lane: _Lane) -> float:
        """How long it is likely to wait, given who is before it."""
        own = len(lane.callers.get(waiter.caller, ()))
        before = min(lane.length, (own + 1) * len(lane.callers.keys() | {waiter.caller}) - 1)
        each = ceil(before / len(blocked))
        at = min(self._free_at(target, waiter, now=now, before=each) for target in blocked)
        return (at - now) or (before + 1) * self._pace_s

    def _note_pace(self, now: float) -> None:
        """How fast waiters begin, where nothing but that tells when there will be room."""
        if self._began_at is not None:
            self._pace_s += (1.0 - PACE_KEPT) * (now - self._began_at - self._pace_s)
        self._began_at = now if self.waiting else None

    # -- the queue

    def _enter(self, lane: _Lane, waiter: Waiter) -> None:
        if len(self._paid) >= CALLERS_MAX:
            waiting = {caller for lane in self._lanes.values() for caller in lane.callers}
            self._paid = {caller: paid for caller, paid in self._paid.items() if caller in waiting}
        number = next(self._numbers)
        waiter.start = max(self._work, self._paid.get(waiter.caller, 0.0))
        self._paid[waiter.caller] = waiter.start + self._charge(waiter)
        heappush(lane.order, (waiter.start, number, waiter))
        heappush(self._deadlines, (waiter.deadline, number, waiter))
        lane.callers.setdefault(waiter.caller, deque()).append(waiter)
        lane.length += 1
        self.waiting += 1

    def _charge(self, waiter: Waiter) -> float:
        """What a request costs its caller: the largest part that it takes of anything."""
        return max(self._limits.share(target, waiter.cost) for target in waiter.targets)

    def _take_out(self, waiter: Waiter) -> None:
        lane = self._lanes[waiter.lane]
        waiter.gone = True
        own = lane.callers[waiter.caller]
        own.remove(waiter)
        if not own:
            del lane.callers[waiter.caller]
        lane.length -= 1
        self.waiting -= 1
        if not lane.length:
            del self._lanes[waiter.lane]
        if not self.waiting:  # whoever comes now begins at nought, as everybody else does
            self._deadlines.clear()
            self._paid.clear()
            self._work = 0.0

    def _make_room(self, lane: _Lane, waiter: Waiter, *, now: float) -> bool:
        """Take out the latest of whoever has most waiting, if that is more than this caller would have then."""
        if not lane.callers:
            return False
        most = max(lane.callers.values(), key=len)
        if len(most) <= len(lane.callers.get(waiter.caller, ())) + 1:
            return False
        latest = most[-1]
        self._refund(latest)
        self._take_out(latest)
        why = "another caller has waited with fewer requests"
        self._evicted.append((latest, self._failure(latest, self._blocked(latest, now), now=now, why=why)))
        return True

    def _refund(self, waiter: Waiter) -> None:
        """What did not begin is not paid for."""
        self._paid[waiter.caller] = max(self._work, self._paid.get(waiter.caller, 0.0) - self._charge(waiter))

    # -- what is said

    def _failure(self, waiter: Waiter, blocked: Sequence[Target], *, now: float, why: str) -> Failure:
        limits, cost, lane = self._limits, waiter.cost, self._lanes.get(waiter.lane) or _Lane()
        metered = all(limits.metered(target, now, cost=cost) for target in blocked)
        kind = FailureKind.RATE_LIMIT if metered else FailureKind.OVERLOADED
        said = "; ".join(f"{target.name}: {limits.obstacle(target, now, cost=cost)}" for target in blocked)
        wait_s = self._wait_s(waiter, blocked, now=now, lane=lane) if blocked else 0.0
        return Failure(
            kind=kind, message=f"no room at any target of {waiter.route!r} ({said or 'others wait'}), and {why}",
            retry_after_s=float(ceil(wait_s or BACK_S)), sent=False,
        )  # fmt: skip
