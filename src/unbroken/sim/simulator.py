"""Drives flights with a heap of events: the same decisions as in production, under virtual time.

    Script      a route, the providers behind it, what befalls them, and who asks how often
    simulate    runs so many requests of it and tells what came of them

The simulator decides nothing and waits for nothing: an event is taken from the heap, the
clock jumps to its time, and whoever it concerns is told.  Events of the same time come in
the order in which they were made, so a seed determines everything, and the digest over
every command and fact shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from random import Random
from typing import Protocol

from unbroken.core.board import Board
from unbroken.core.flight import NEVER, Abandon, Command, Emit, Finished, Flight, Launch, Note
from unbroken.core.lineup import line_up
from unbroken.core.strategies import Draw
from unbroken.policy import Route
from unbroken.sim.record import Journal, Record
from unbroken.sim.world import BROKEN, Law, Outage, Refused, Signal, Step, Truth, World
from unbroken.types import Delta, Request

__all__ = ["Arrivals", "Script", "at_times", "evenly", "poisson", "simulate"]

PROGRESS_EVERY = 2_000
"""Requests between two reports of progress."""

Arrivals = Callable[[Random], Iterator[float]]
"""When requests come: times in seconds, never backwards, from a source of chance."""


def poisson(per_s: float) -> Arrivals:
    """Requests that know nothing of each other, so many a second on average."""

    def times(draw: Random) -> Iterator[float]:
        now = 0.0
        while True:
            now += draw.expovariate(per_s)
            yield now

    return times


def evenly(per_s: float) -> Arrivals:
    """One request after the other, at equal distances."""

    def times(draw: Random) -> Iterator[float]:
        del draw
        number = 0
        while True:
            yield number / per_s
            number += 1

    return times


def at_times(times: Iterable[float]) -> Arrivals:
    """Requests at these times; the run ends early where they run out."""
    return lambda _: iter(times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is played: `laws` by target name; request number n is the one at n modulo their number."""

    name: str
    about: str
    route: Route
    laws: Mapping[str, Law]
    outages: Sequence[Outage] = ()
    arrivals: Arrivals = field(default_factory=lambda: poisson(100.0))
    requests: Sequence[Request] = (Request(model="auto", stream=True),)
    truth: Truth = field(default_factory=Truth)


def simulate(
    script: Script, requests: int, *, seed: int = 0, progress: Callable[[int, float], None] | None = None
) -> Record:
    """Play a script until every one of so many requests is over.

    `progress` is called now and then with the number of requests that have come in and the
    virtual time in seconds.
    """
    simulation = _Simulation(script, seed=seed)
    simulation.run(requests, progress)
    return simulation.record


class _Event(Protocol):
    """Something that will happen."""

    def fire(self, now: float) -> None:
        """Its time has come."""
        ...


class _Simulation:
    """One run: the heap, the clock, and what all flights share."""

    def __init__(self, script: Script, *, seed: int) -> None:
        self.script = script
        self.world = World(script.laws, script.outages, truth=script.truth, seed=seed)
        self.draw = Random(f"{seed}/core")
        breaking = {target.name: script.route.policy.breaking for target in script.route.targets}
        self.board = Board(self.draw, breaking)
        self.record = Record()
        self.journal = Journal()
        self.legs: dict[str, dict[_Leg, None]] = {target.name: {} for target in script.route.targets}
        self._flying: dict[_Drive, None] = {}
        self._heap: list[tuple[float, int, _Event]] = []
        self._made = 0
        self._arrivals = script.arrivals(Random(f"{seed}/arrivals"))
        for outage in script.outages:
            if isinstance(outage.trouble, Refused):
                self.at(outage.start_s, _Crash(self, outage))

    def at(self, time: float, event: _Event) -> None:
        """Something will happen at this time."""
        self._made += 1
        heappush(self._heap, (time, self._made, event))

    def run(self, requests: int, progress: Callable[[int, float], None] | None) -> None:
        """Play it to the end."""
        heap = self._heap
        for number, arrival in enumerate(islice(self._arrivals, requests)):
            while heap and heap[0][0] < arrival:
                now, _, event = heappop(heap)
                event.fire(now)
            self._begin(number, arrival)
            if progress is not None and number % PROGRESS_EVERY == 0:
                progress(number, arrival)
        while heap and self._flying:
            now, _, event = heappop(heap)
            event.fire(now)
        self.record.stuck = len(self._flying)
        self.record.digest = self.journal.digest()

    def _begin(self, number: int, now: float) -> None:
        script = self.script
        request = script.requests[number % len(script.requests)]
        lineup = line_up(request, script.route, board=self.board, now=now, draw=Draw(number, self.draw))
        name = str(number)
        flight = Flight(request, lineup, flight_id=name, route=script.route, board=self.board, draw=self.draw)
        drive = _Drive(self, flight, request=request, number=number, began=now)
        self._flying[drive] = None
        drive.run(flight.begin(now), now)

    def over(self, drive: _Drive) -> None:
        """A flight has ended."""
        self._flying.pop(drive, None)


class _Drive:
    """One flight under way, and the caller who reads it."""

    __slots__ = ("_alarm_at", "_began", "_ends", "_finishes", "_first_at", "_legs", "_pieces", "_request",
                 "flight", "number", "sim")  # fmt: skip

    def __init__(self, sim: _Simulation, flight: Flight, *, request: Request, number: int, began: float) -> None:
        self.sim, self.flight, self._request = sim, flight, request
        self.number, self._began = number, began
        self._alarm_at = NEVER
        self._legs: dict[int, _Leg] = {}
        self._pieces: list[str] = []
        self._first_at = -1.0
        self._ends = self._finishes = 0

    def run(self, commands: list[Command], now: float) -> None:
        """Do what the flight says, then set the alarm for when it wants to be woken."""
        sim = self.sim
        if self._ends:
            sim.record.after_end += len(commands)
        if commands:
            sim.journal.write(commands)
        for command in commands:
            if isinstance(command, Emit):
                self._show(command.deltas, now)
            elif isinstance(command, Note):
                sim.record.take(command.fact)
            elif isinstance(command, Launch):
                self._launch(command, now)
            elif isinstance(command, Abandon):
                self._hang_up(command.number)
            else:
                self._finish(command, now)
        at = self.flight.wake_at
        if at < self._alarm_at:
            self._alarm_at = at
            sim.at(at, self)

    def fire(self, now: float) -> None:
        """The alarm: as in the engine one that comes too early is cheap, one that moves is not."""
        if self._ends or now != self._alarm_at:
            return  # over, or an earlier one was set since
        self._alarm_at = NEVER
        self.run(self.flight.woke(now) if now >= self.flight.wake_at else [], now)

    def _launch(self, command: Launch, now: float) -> None:
        attempt = command.attempt
        steps = self.sim.world.answer(self.number, attempt, request=self._request, now=now)
        leg = _Leg(self, attempt.number, steps=steps, began=now, home=self.sim.legs[attempt.target.name])
        self._legs[attempt.number] = leg
        leg.advance(now)

    def _hang_up(self, number: int) -> None:
        leg = self._legs.pop(number, None)
        if leg is not None:
            leg.close()

    # -- signals, from legs

    def signal(self, number: int, step: Step, *, now: float) -> None:
        """Something happened to an attempt."""
        _, signal, content = step
        flight = self.flight
        if isinstance(content, list):
            self.run(flight.arrived(number, content, now=now), now)
        elif content is not None:
            self._hang_up(number)
            self.run(flight.failed(number, content, now=now), now)
        elif signal is Signal.CONNECTED:
            flight.connected(number, now)
        elif signal is Signal.OPENED:
            self.run(flight.opened(number, now), now)
        else:
            self._hang_up(number)
            self.run(flight.ended(number, now), now)

    # -- the caller

    def _show(self, deltas: Sequence[Delta], now: float) -> None:
        if self._first_at < 0:
            self._first_at = now
        for delta in deltas:
            if delta.text:
                self._pieces.append(delta.text)
            if delta.finish is not None:
                self._finishes += 1

    def _finish(self, end: Finished, now: float) -> None:
        sim, text = self.sim, "".join(self._pieces)
        self._ends += 1
        truth = sim.world.truth.whole(self.number)
        if self._ends > 1:
            sim.record.after_end += 1
        elif end.failure is not None:
            sim.record.failed(began=self._began, end=end, honest=truth.startswith(text) and not self._finishes)
        elif not text and truth:
            sim.record.empty += 1
        else:
            right = text == truth and self._finishes == 1
            first_at = self._first_at if self._first_at >= 0 else now
            sim.record.answered(began=self._began, end=end, first_at=first_at, now=now, right=right)
        sim.over(self)


class _Leg:
    """One attempt at a provider: its next step is in the heap, the others are yet to be told."""

    __slots__ = ("_began", "_drive", "_home", "_next", "_steps", "dead", "number")

    def __init__(
        self, drive: _Drive, number: int, *, steps: Iterator[Step], began: float, home: dict[_Leg, None]
    ) -> None:
        self._drive, self.number, self._steps, self._began, self._home = drive, number, steps, began, home
        self._next: Step | None = None
        self.dead = False
        home[self] = None

    def fire(self, now: float) -> None:
        """The next step has come."""
        if not self.dead and self._next is not None:
            self._drive.signal(self.number, self._next, now=now)
            self.advance(now)

    def advance(self, now: float) -> None:
        """Put the next step into the heap, after those that come at once; without one the leg hangs."""
        while not self.dead:
            step = self._next = next(self._steps, None)
            if step is None:
                return
            at = self._began + step[0]
            if at > now:
                self._drive.sim.at(at, self)
                return
            self._drive.signal(self.number, step, now=now)

    def close(self) -> None:
        """Nothing more is heard of it."""
        self.dead = True
        self._home.pop(self, None)

    def broken(self, now: float) -> None:
        """The provider is gone in the middle of it."""
        self._drive.signal(self.number, (0.0, Signal.FAILED, BROKEN), now=now)


class _Crash:
    """The beginning of an outage that also breaks what is under way."""

    def __init__(self, sim: _Simulation, outage: Outage) -> None:
        self._sim, self._outage = sim, outage

    def fire(self, now: float) -> None:
        """Break the target's answers, or a share of them."""
        outage = self._outage
        for leg in list(self._sim.legs[outage.target]):
            if not leg.dead and (outage.share >= 1.0 or self._sim.world.chance(outage.target) < outage.share):
                leg.broken(now)
