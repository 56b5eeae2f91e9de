"""Virtual time for several processes: one agenda in true time, and for each process a loop and a clock of its own.

The engine, admission and replicas speak to asyncio: timers, futures, tasks.  `Loop` is as much of
an event loop as they use, and waits for nothing: when the agenda comes to something of a
process, its loop runs everything that is due there, and time stands still meanwhile.  A loop
may be frozen (a process that is stopped, or swaps) and killed (nothing of it ever runs again).
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVarTuple, Unpack

__all__ = ["Agenda", "Loop"]

Args = TypeVarTuple("Args")
TURNS_MAX = 100_000
"""Callbacks of a loop at one moment: beyond so many they call each other for ever."""
TICK_S = 1e-9
"""Timers come a little late, never early: clocks are multiplied, which is not exact."""


class Agenda:
    """What happens when, in true time; things of the same time in the order in which they were noted."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    def at(self, time: float, act: Callable[[], object]) -> None:
        """Do this then."""
        heappush(self._heap, (max(time, self.now), next(self._numbers), act))

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Do this so many seconds from now."""
        self.at(self.now + seconds, act)

    def run(self, until: float) -> None:
        """Everything up to this time."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heappop(self._heap)
            act()
        self.now = until


class Loop(asyncio.AbstractEventLoop):
    """The event loop of one process, whose monotonic clock has its own beginning and goes its own pace."""

    def __init__(self, agenda: Agenda, *, began: float, pace: float, defect: Callable[[str], None]) -> None:
        """`began` is what the clock says at time 0, `pace` its seconds in a true one; `defect` hears what is raised."""
        self._agenda, self._began, self._pace, self._defect = agenda, began, pace, defect
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wake_at = float("inf")
        self._is_turning = self.is_frozen = self.is_dead = False
        self.after_turn: Callable[[], None] = lambda: None

    # -- as asyncio knows it

    def time(self) -> float:
        return self._began + self._agenda.now * self._pace

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:  # fmt: skip
        handle = asyncio.Handle(callback, args, self, context)
        if not self.is_dead:
            self._ready.append(handle)
            self._wake(self._agenda.now)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Args]], object], *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Args]], object], *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.is_dead:
            heappush(self._timers, (when, next(self._numbers), handle))
            self._wake(self._true(when))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **named: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **named)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._is_turning

    def is_closed(self) -> bool:
        return self.is_dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self._defect(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked for by asyncio's handles; those that were cancelled are passed over when they are due."""

    # -- as the simulation does

    def enter(self, act: Callable[[], object]) -> None:
        """Do this as a callback of this loop, now or when it is no longer frozen."""
        self.call_soon(act)

    def freeze(self) -> None:
        """The process stands still; its clock does not."""
        self.is_frozen = True

    def thaw(self) -> None:
        """It goes on, with everything that came meanwhile."""
        self.is_frozen, self._wake_at = False, float("inf")
        self._wake(self._agenda.now)

    def kill(self) -> None:
        """The process is gone; no destructor of its runs, as far as anybody can see."""
        self.is_dead = True
        self._ready.clear()
        self._timers.clear()
        for task in list(self._tasks):
            if (coroutine := task.get_coro()) is not None:
                coroutine.close()

    # -- inside

    def _true(self, when: float) -> float:
        return (when - self._began) / self._pace + TICK_S

    def _wake(self, at: float) -> None:
        if at < self._wake_at and not (self._is_turning or self.is_frozen):
            self._wake_at = at
            self._agenda.at(at, lambda: self._turn(at))

    def _turn(self, at: float) -> None:
        """Run what is due, until nothing is; unless the loop was to be woken at another time since."""
        if self.is_dead or self.is_frozen or at != self._wake_at:
            return
        self._wake_at, self._is_turning = float("inf"), True
        events._set_running_loop(self)  # noqa: SLF001 - loops announce themselves by it
        try:
            for _ in range(TURNS_MAX):
                if not self._ready and not self._next_timer():
                    break
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 - as every loop does
                if self.is_dead:
                    return
            else:
                self._defect("callbacks call each other for ever")
        finally:
            events._set_running_loop(None)  # noqa: SLF001 - see above
            self._is_turning = False
        self.after_turn()
        self._rest()

    def _next_timer(self) -> bool:
        """Make the next timer ready, if one is due."""
        now = self.time()
        while self._timers and (self._timers[0][0] <= now or self._timers[0][2].cancelled()):
            handle = heappop(self._timers)[2]
            if not handle.cancelled():
                self._ready.append(handle)
                return True
        return False

    def _rest(self) -> None:
        if self._ready:
            self._wake(self._agenda.now)
        elif self._timers:
            self._wake(self._true(self._timers[0][0]))
