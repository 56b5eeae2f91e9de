"""A world for tests of the core: scripted targets, virtual time, and a driver that checks what always holds.

world = World("a b")                           two targets at two providers, route "auto"
world.play("a", fail(FailureKind.SERVER))      what target a does; the last script is repeated
world.play("b", says("Hello"))
flown = world.fly(stream=True)                 begins now, runs to its end
flown.text, flown.names, flown.end, flown.at   what was shown, who was asked, how and when it ended
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import isfinite
from random import Random
from typing import Any

from unbroken.core.board import Board
from unbroken.core.flight import Abandon, Command, Emit, Finished, Flight, Launch, Note
from unbroken.core.lineup import Lineup, line_up
from unbroken.core.sound import Judge
from unbroken.core.strategies import Draw
from unbroken.facts import AttemptFailed, Fact, FlightEnded, TargetForced
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Policy, Route
from unbroken.types import Attempt, Continuation, Delta, Finish, Request, Target, ToolFragment, Usage

START = 1_000.0
"""No clock begins at nought: what is only right there should fail."""


@dataclass(frozen=True)
class Step:
    """One thing that happens to an attempt, so many seconds after the last; `does` is a signal of Flight's."""

    after_s: float
    does: str
    what: Any = None


Script = Sequence[Step]
Telling = Callable[[Attempt], Script]


def says(*words: str, first_s: float = 0.5, gap_s: float = 0.1, finish: Finish = Finish.STOP) -> list[Step]:
    """A good answer in these pieces, with its finish, its usage and its end."""
    return [*begins(*words, first_s=first_s, gap_s=gap_s), *ends(finish)]


def begins(*words: str, first_s: float = 0.5, gap_s: float = 0.1) -> list[Step]:
    """A good answer up to these words; what then comes is for the script to say."""
    steps = [*opens(), Step(first_s - 0.1, "arrived", [Delta(id="1", model="m")])]
    for number, piece in enumerate(words):
        steps.append(Step(gap_s if number else 0.0, "arrived", [Delta(text=piece, id="1", model="m")]))
    return steps


def opens() -> list[Step]:
    """A connection and a good status."""
    return [Step(0.05, "connected"), Step(0.05, "opened")]


def gives(*deltas: Delta, after_s: float = 0.1) -> list[Step]:
    """These steps of an answer, one by one."""
    return [Step(after_s, "arrived", [delta]) for delta in deltas]


def ends(finish: Finish | None = Finish.STOP, after_s: float = 0.0) -> list[Step]:
    """The end of an answer; without `finish` only of its bytes."""
    last = [Delta(finish=finish), Delta(usage=Usage(output_tokens=5))] if finish else []
    return [*gives(*last, after_s=after_s), Step(after_s, "ended")]


def fail(kind: FailureKind, after_s: float = 0.2, **more: Any) -> list[Step]:
    """A failure, from the beginning or after some of an answer."""
    return [Step(after_s, "failed", Failure(kind=kind, message=kind.value, **more))]


def calls(*arguments: str, name: str = "look") -> list[Step]:
    """A tool call whose arguments come in these pieces."""
    first = ToolFragment(index=0, id="call-1", name=name)
    pieces = [first, *(ToolFragment(index=0, arguments=piece) for piece in arguments)]
    return gives(*(Delta(tool_calls=(piece,)) for piece in pieces))


HANGS: list[Step] = [Step(0.05, "connected")]
"""A connection, and then nothing."""
UNREACHABLE: list[Step] = []
"""Not even a connection."""


def carries_on(truth: str, *, piece_chars: int = 7) -> Telling:
    """A target that knows one answer and, given the beginning of it as a prefix, says the rest."""

    def tell(attempt: Attempt) -> Script:
        seen = attempt.continuation.text if attempt.continuation else ""
        return says(*cut(truth.removeprefix(seen), piece_chars))

    return tell


def cut(text: str, piece_chars: int) -> list[str]:
    """The text in pieces of this size."""
    return [text[at : at + piece_chars] for at in range(0, len(text), piece_chars)]


@dataclass
class Flown:
    """What came of a request."""

    commands: list[tuple[float, Command]] = field(default_factory=list)

    def all_of(self, kind: type[Any]) -> list[Any]:
        return [command for _, command in self.commands if isinstance(command, kind)]

    @property
    def attempts(self) -> list[Attempt]:
        return [launch.attempt for launch in self.all_of(Launch)]

    @property
    def names(self) -> str:
        """Who was asked, in order."""
        return " ".join(attempt.target.name for attempt in self.attempts)

    @property
    def whys(self) -> str:
        """Why they were asked."""
        return " ".join(attempt.why.value for attempt in self.attempts)

    @property
    def times(self) -> list[float]:
        """When they were asked, in seconds after the request came."""
        return [round(at - self.commands[0][0], 6) for at, command in self.commands if isinstance(command, Launch)]

    @property
    def deltas(self) -> list[Delta]:
        return [delta for emit in self.all_of(Emit) for delta in emit.deltas]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def continuations(self) -> list[Continuation | None]:
        return [attempt.continuation for attempt in self.attempts]

    @property
    def end(self) -> Finished:
        finished: list[Finished] = self.all_of(Finished)
        return finished[0]

    @property
    def kind(self) -> FailureKind | None:
        return self.end.failure.kind if self.end.failure else None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return round(self.commands[-1][0] - self.commands[0][0], 6)

    def facts(self, kind: type[Any] = object) -> list[Any]:
        return [note.fact for note in self.all_of(Note) if isinstance(note.fact, kind)]

    def fates(self) -> list[str]:
        """What each failed attempt failed of."""
        return [fact.failure.kind.value for fact in self.facts(AttemptFailed)]


class World:
    """Targets, a board, a clock that jumps, and one route to all of them."""

    def __init__(self, names: str = "a b", policy: Policy | None = None, *, seed: int = 1, **route: Any) -> None:
        """`names` are target names; `p/m#k` is model m at provider p with key k, a bare word is all three."""
        self.now = START
        self.draw = Random(seed)
        self.board = Board(self.draw)
        targets = tuple(target_named(name) for name in names.split())
        self.route = Route(name="auto", targets=targets, policy=policy or Policy(), **route)
        self.judge: Judge | None = None
        self._scripts: dict[str, list[Script | Telling]] = {}
        self._tickets = count()

    # -- setting the scene

    def play(self, name: str, *scripts: Script | Telling) -> None:
        """What this target does to its first attempt from now on, its second, ...; the last one stays."""
        self._scripts[name] = list(scripts)

    def change(self, name: str, **fields: Any) -> None:
        """Another way for a target to be."""
        targets = tuple(replace(t, **fields) if t.name == name else t for t in self.route.targets)
        self.route = replace(self.route, targets=targets)

    def change_all(self, **fields: Any) -> None:
        for target in self.route.targets:
            self.change(target.name, **fields)

    def target(self, name: str) -> Target:
        return next(target for target in self.route.targets if target.name == name)

    def force(self, scope: str, open: bool | None) -> None:  # noqa: A002 - the fact's own name
        self.board.fold(TargetForced(self.now, scope, open))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    # -- flying

    def flight(self, request: Request) -> Flight:
        """A flight that has not begun."""
        draw = Draw(next(self._tickets), self.draw)
        lineup = line_up(request, self.route, board=self.board, now=self.now, draw=draw)
        return self.flight_with(request, lineup)

    def flight_with(self, request: Request, lineup: Lineup) -> Flight:
        return Flight(
            request, lineup, flight_id="f", route=self.route, board=self.board, draw=self.draw, judge=self.judge
        )

    def fly(self, *, leave_s: float | None = None, **request: Any) -> Flown:
        """A request, from beginning to end; `leave_s` is when the caller hangs up."""
        wish = Request(model="auto", **{"stream": True, "max_tokens": 100, **request})
        return Driver(self, self.flight(wish), leave_s=leave_s).run()

    def fly_often(self, times: int, *, every_s: float = 1.0, **request: Any) -> list[Flown]:
        """Requests one after the other, beginning so far apart or when the last is over."""
        flown = []
        for _ in range(times):
            begun = self.now
            flown.append(self.fly(**request))
            self.now = max(self.now, begun + every_s)
        return flown

    def script_for(self, attempt: Attempt) -> Script:
        scripts = self._scripts.get(attempt.target.name, [UNREACHABLE])
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script(attempt) if callable(script) else script


def target_named(name: str) -> Target:
    """`p/m#k`: model m at provider p with key k; a bare word is all three."""
    path, _, key = name.partition("#")
    provider, _, model = path.partition("/")
    return Target(name=name, provider=provider, model=model or path, key_name=key or path)


def world_of(names: str = "a b", policy: Policy | None = None, **scripts: Any) -> World:
    """A world whose targets play these scripts; the others answer well."""
    world = World(names, policy)
    for target in world.route.targets:
        script = scripts.get(target.name, says("fine ", "so ", "far"))
        world.play(target.name, *(script if isinstance(script, tuple) else (script,)))
    return world


class Driver:
    """Runs one flight on virtual time, and checks at every step what must always hold."""

    def __init__(self, world: World, flight: Flight, *, leave_s: float | None = None) -> None:
        self.world, self.flight, self.flown = world, flight, Flown()
        self._heap: list[tuple[float, int, int, Step]] = []
        self._order = count()
        self._live: set[int] = set()
        self._over = False
        if leave_s is not None:
            heappush(self._heap, (world.now + leave_s, 0, 0, Step(0.0, "cancelled")))

    def run(self) -> Flown:
        """To the end."""
        self.take(self.flight.begin(self.world.now))
        while not self._over:
            self.step()
        assert not self._live, "an attempt was left behind"
        assert self.flight.wake_at == float("inf")
        return self.flown

    def step(self) -> None:
        """Whatever comes next: an event, or the flight's alarm."""
        wake_at, event_at = self.flight.wake_at, self._heap[0][0] if self._heap else float("inf")
        assert isfinite(wake_at), "nothing is armed"
        if wake_at <= event_at:
            self.world.now = max(self.world.now, wake_at)
            self.take(self.flight.woke(self.world.now))
            assert self._over or self.flight.wake_at > self.world.now, "it wants to be woken again at once"
        else:
            self.world.now, _, number, step = heappop(self._heap)
            self._happen(number, step)

    def _happen(self, number: int, step: Step) -> None:
        now = self.world.now
        if step.does == "cancelled":
            self.take(self.flight.cancelled(now))
            return
        if number not in self._live:
            return
        if step.does in {"ended", "failed"}:
            self._live.discard(number)
        signal = getattr(self.flight, step.does)
        self.take(signal(number, now) if step.what is None else signal(number, step.what, now=now))

    def take(self, commands: Iterable[Command]) -> None:
        """Do what the flight says."""
        for command in commands:
            assert not self._over, f"{command} after the end"
            self.flown.commands.append((self.world.now, command))
            if isinstance(command, Launch):
                self._launch(command.attempt)
            elif isinstance(command, Abandon):
                assert command.number in self._live, "abandoned somebody who was not there"
                self._live.discard(command.number)
            elif isinstance(command, Emit):
                assert command.deltas, "nothing was shown"
            elif isinstance(command, Finished):
                self._over = True

    def _launch(self, attempt: Attempt) -> None:
        self._live.add(attempt.number)
        if attempt.continuation is not None:
            assert attempt.continuation.text == self.flown.text
        at = self.world.now
        for step in self.world.script_for(attempt):
            at += step.after_s
            heappush(self._heap, (at, next(self._order), attempt.number, step))


def last_fact(flown: Flown) -> Fact:
    """The last thing that was noted, which is always that the flight ended."""
    fact: Fact = flown.facts()[-1]
    assert isinstance(fact, FlightEnded)
    return fact


def shares(flown: Iterable[Flown]) -> Mapping[str, int]:
    """Who was asked first, how often."""
    counts: dict[str, int] = {}
    for one in flown:
        name = one.attempts[0].target.name
        counts[name] = counts.get(name, 0) + 1
    return counts
