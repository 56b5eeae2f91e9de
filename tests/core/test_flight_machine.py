"""Any world, any order of events: what always holds of a flight, however it goes.

The machine plays the providers and the clock.  What it checks is in `Watch.take` and the
invariants at the end: one end and nothing after it, no attempt left behind, never stuck,
never more attempts than allowed, words of one attempt at a time, and always a beginning of
the one true answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf, isfinite
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.world import START, target_named
from unbroken.core.board import Board
from unbroken.core.flight import Abandon, Command, Emit, Finished, Flight, Launch, Note
from unbroken.core.lineup import line_up
from unbroken.core.strategies import STRATEGIES, Draw
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    FlightEnded,
    TargetForced,
)
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Breaking, Budget, Deadlines, Hedging, Policy, Retries, Route, Streaming
from unbroken.types import Attempt, Delta, Finish, Request, ToolFragment, Usage, anchor_of

TRUTH = (
    "A bridge hums when wind sheds whirls off its cables at the pace at which the deck likes to sway. "
    "Dampers calm it; so do fairings, which part the air as a bow parts water, and gaps that let it pass through."
)
NAMES = ("p/m#1", "p/m#2", "q/m#1", "r/n#1")
ARGUMENTS = '{"bridge": "Tacoma"}'


ASIDES = {
    "the operator speaks",
    "time passes",
    "the caller leaves",
    "the caller is slow",
    "the caller caught up",
    "an alarm comes early",
    "a ghost speaks",
}


@dataclass
class Voice:
    """A provider's side of one attempt: what it is going to say, and whether it made its tool call."""

    attempt: Attempt
    left: str
    called: bool = False


def voice_for(attempt: Attempt, way: str) -> Voice:
    """What this target is going to say: all, the rest, or from the anchor on; a liar goes on with something else."""
    seen = attempt.continuation.text if attempt.continuation else ""
    if not seen or way == "restart":
        return Voice(attempt, TRUTH)
    if way == "liar":
        return Voice(attempt, "Potatoes, on the other hand, hum when they boil. " * 20)
    if attempt.target.prefix != "none" and attempt.continuation and attempt.continuation.mode == "prefix":
        return Voice(attempt, TRUTH[len(seen) :])
    anchor = anchor_of(seen)
    preface = "Gladly: " if way == "preface" and len(anchor) >= 12 else ""
    return Voice(attempt, preface + TRUTH[seen.rindex(anchor) :])


@dataclass
class Watch:
    """What a driver sees of one flight, and checks at once."""

    cap: int
    text: str = ""
    emitted_by: list[int] = field(default_factory=list)
    launched: int = 0
    live: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)
    end: Finished | None = None
    calls: str = ""

    def take(self, command: Command) -> None:
        """One command."""
        assert self.end is None, "a command after the end"
        if isinstance(command, Launch):
            attempt = command.attempt
            self.launched += 1
            assert attempt.number == self.launched <= self.cap
            assert (attempt.continuation.text if attempt.continuation else "") == self.text
            self.live.add(attempt.number)
        elif isinstance(command, Abandon):
            assert command.number in self.live
            self.live.discard(command.number)
        elif isinstance(command, Emit):
            assert command.deltas
            self.text += "".join(delta.text for delta in command.deltas)
            self.calls += "".join(call.arguments for delta in command.deltas for call in delta.tool_calls)
        elif isinstance(command, Finished):
            self.end = command
            assert not self.live, "an attempt was left behind"
            assert command.attempts == self.launched
        else:
            self.note(command)

    def note(self, note: Note) -> None:
        """Each attempt has one beginning and one end in the facts."""
        fact = note.fact
        if isinstance(fact, AttemptStarted):
            assert fact.number not in self.begun
            self.begun.add(fact.number)
        elif isinstance(fact, AttemptAnswered | AttemptFailed | AttemptAbandoned):
            assert fact.number in self.begun - self.closed
            self.closed.add(fact.number)
        elif isinstance(fact, FlightEnded):
            assert self.begun == self.closed


FAILURES = st.builds(
    Failure,
    kind=st.sampled_from(
        sorted(set(FailureKind) - {FailureKind.DEADLINE, FailureKind.NO_TARGET, FailureKind.CANCELLED})
    ),
    message=st.just("m"),
    retry_after_s=st.sampled_from([None, None, 0.0, 1.0, 2.9, 30.0]),
    code=st.sampled_from([None, None, "prefill_unsupported"]),
    sent=st.booleans(),
    status=st.sampled_from([None, 400, 429, 500]),
)
POLICIES = st.builds(
    Policy,
    deadlines=st.sampled_from([Deadlines(), Deadlines(total_s=3.0), Deadlines(gap_s=1.0), Deadlines(ceiling_s=30.0)]),
    retries=st.builds(Retries, attempts_max=st.integers(1, 8), same_target_max=st.integers(0, 2)),
    hedging=st.sampled_from([Hedging(), Hedging(after_s=0.0), Hedging(after_s=2.0), Hedging(p95=True, samples_min=1)]),
    budget=st.sampled_from([Budget(), Budget(ratio=0.0, reserve=0.0)]),
    stream=st.builds(
        Streaming,
        rescue=st.sampled_from(["continue", "continue", "continue", "restart-if-unseen", "error"]),
        tool_calls=st.sampled_from(["whole", "live"]),
        continuations_max=st.integers(0, 4),
    ),
    on_refusal=st.sampled_from(["return", "failover"]),
    on_empty=st.sampled_from(["return", "failover"]),
)
ROUTES = st.builds(
    Route,
    name=st.just("auto"),
    targets=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(
        lambda names: tuple(target_named(name) for name in names)
    ),
    strategy=st.sampled_from(["priority", "priority", *sorted(STRATEGIES)]),
    width=st.sampled_from([1, 1, 1, 2, 3]),
    policy=POLICIES,
)
REQUESTS = st.builds(
    Request,
    model=st.just("auto"),
    stream=st.sampled_from([True, True, True, False]),
    max_tokens=st.sampled_from([None, 100]),
    temperature=st.sampled_from([None, 0.0]),
)


class Flights(RuleBasedStateMachine):
    """Flights one after another on one board, with providers that fail in any way at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.draw = Random(0)
        self.board = Board(self.draw, default=Breaking(consecutive=2, open_s=1.0, ramp_s=2.0))
        self.flight: Flight | None = None
        self.watch = Watch(0)
        self.voices: dict[int, Voice] = {}
        self.route = Route(name="auto", targets=())
        self.request = Request(model="auto")
        self.ways: dict[str, str] = {}
        self.ticket = 0

    # -- the caller

    @initialize(
        route=ROUTES,
        seed=st.integers(0, 99),
        ways=st.lists(st.sampled_from(["restart", "anchor", "preface", "liar"]), min_size=4, max_size=4),
        prefixes=st.lists(st.sampled_from(["none", "assistant"]), min_size=4, max_size=4),
    )
    def world(self, route: Route, seed: int, ways: list[str], prefixes: list[str]) -> None:
        """What the providers are like."""
        self.draw.seed(seed)
        self.ways = dict(zip(NAMES, ways, strict=True))
        prefix_of = dict(zip(NAMES, prefixes, strict=True))
        prefix_of |= {name: "none" for name, way in self.ways.items() if way == "liar"}  # a prefix is believed
        targets = tuple(replace(target, prefix=prefix_of[target.name]) for target in route.targets)
        self.route = replace(route, targets=targets)

    @precondition(lambda self: self.flight is None)
    @rule(request=REQUESTS)
    def ask(self, request: Request) -> None:
        """Somebody asks."""
        self.request, self.ticket = request, self.ticket + 1
        lineup = line_up(request, self.route, board=self.board, now=self.now, draw=Draw(self.ticket, self.draw))
        self.flight = Flight(request, lineup, flight_id="f", route=self.route, board=self.board, draw=self.draw)
        self.watch, self.voices = Watch(self.route.policy.retries.attempts_max), {}
        self.take(self.flight.begin(self.now))

    # -- time

    @precondition(lambda self: self.flight is not None)
    @rule()
    def wait(self) -> None:
        """Nothing happens until the flight wants to be woken."""
        assert self.flight is not None
        assert isfinite(self.flight.wake_at), "stuck: nothing is armed"
        self.now = max(self.now, self.flight.wake_at)
        self.wake()

    def wake(self) -> None:
        assert self.flight is not None
        self.take(self.flight.woke(self.now))
        if self.flight is not None:
            assert self.flight.wake_at > self.now, "it wants to be woken again at once"

    # -- the providers

    def one(self, data: st.DataObject) -> Voice:
        return self.voices[data.draw(st.sampled_from(sorted(self.watch.live)))]

    @precondition(lambda self: self.watch.live)
    @rule(data=st.data(), chars=st.integers(0, 60), connected=st.booleans())
    def say(self, data: st.DataObject, chars: int, connected: bool) -> None:
        """Some words, or a comment that says nothing."""
        assert self.flight is not None
        voice = self.one(data)
        piece, voice.left = voice.left[:chars], voice.left[chars:]
        if connected:
            self.take(self.flight.connected(voice.attempt.number, self.now))
            self.take(self.flight.opened(voice.attempt.number, self.now))
        deltas = [Delta(text=piece, id=str(voice.attempt.number), model=voice.attempt.target.model)]
        self.hear(voice.attempt.number, deltas)

    @precondition(lambda self: self.watch.live)
    @rule(data=st.data())
    def think(self, data: st.DataObject) -> None:
        """Thoughts, if anything before the words."""
        assert self.flight is not None
        voice = self.one(data)
        self.hear(voice.attempt.number, [Delta(reasoning="hm ")])

    @precondition(lambda self: self.watch.live)
    @rule(data=st.data(), whole=st.booleans())
    def call(self, data: st.DataObject, whole: bool) -> None:
        """A tool call once the words are over, whole or half of it."""
        assert self.flight is not None
        voice = self.one(data)
        if voice.left or voice.called:
            return
        voice.called = True
        fragment = ToolFragment(index=0, id="c", name="n", arguments=ARGUMENTS if whole else ARGUMENTS[:7])
        deltas = [Delta(tool_calls=(fragment,)), *([Delta(finish=Finish.TOOL_CALLS)] if whole else [])]
        self.hear(voice.attempt.number, deltas)

    @precondition(lambda self: self.watch.live)
    @rule(data=st.data(), proper=st.booleans(), finish=st.sampled_from([Finish.STOP, Finish.LENGTH]))
    def end(self, data: st.DataObject, proper: bool, finish: Finish) -> None:
        """The end, with all that was left to say, or without a word."""
        assert self.flight is not None
        voice = self.one(data)
        number = voice.attempt.number
        if proper:
            last = [Delta(text=voice.left), Delta(finish=finish), Delta(usage=Usage(output_tokens=9))]
            self.hear(number, last)
        if number in self.watch.live:
            self.watch.live.discard(number)
            self.take(self.flight.ended(number, self.now))

    @precondition(lambda self: self.watch.live)
    @rule(data=st.data(), failure=FAILURES)
    def fail(self, data: st.DataObject, failure: Failure) -> None:
        """Anything goes wrong."""
        assert self.flight is not None
        number = self.one(data).attempt.number
        self.watch.live.discard(number)
        self.take(self.flight.failed(number, failure, now=self.now))

    # -- and what happens beside: one rule, or the machine would do little else

    @rule(aside=st.sampled_from(sorted(ASIDES)), data=st.data(), seconds=st.floats(0.0, 3.0))
    def happen(self, aside: str, data: st.DataObject, seconds: float) -> None:
        """One of the things that should make no difference to what holds."""
        flight = self.flight
        if aside == "the operator speaks":
            scope = data.draw(st.sampled_from(["p", "q", "p/m", "p#1", "q/m#1"]))
            self.board.fold(TargetForced(self.now, scope, data.draw(st.sampled_from([True, False, None]))))
        elif aside == "time passes":
            self.now = max(self.now, min(self.now + seconds, flight.wake_at if flight else inf))
        elif flight is None:
            return
        elif aside == "the caller leaves":
            self.take(flight.cancelled(self.now))
            assert self.flight is None
        elif aside == "the caller is slow":
            flight.paused()
        elif aside == "the caller caught up":
            flight.resumed(self.now)
        elif aside == "an alarm comes early":
            self.wake()
        else:
            self.haunt(flight, data.draw(st.integers(0, 12)))

    def haunt(self, flight: Flight, number: int) -> None:
        """A signal of an attempt that nobody waits for changes nothing."""
        if number not in self.watch.live:
            assert flight.failed(number, Failure(kind=FailureKind.SERVER, message="boo"), now=self.now) == []
            assert flight.ended(number, self.now) == []
            assert flight.arrived(number, [Delta(text="boo")], now=self.now) == []

    # -- what always holds

    def hear(self, number: int, deltas: list[Delta]) -> None:
        """Some of an answer comes; where the flight says that it is only more of one, no alarm has to be moved."""
        assert self.flight is not None
        due = self.flight.wake_at
        commands = self.flight.arrived(number, deltas, now=self.now)
        assert not self.flight.steady or self.flight.wake_at >= due, "the alarm would ring too late"
        self.take(commands)

    def take(self, commands: list[Command]) -> None:
        """Hand over, and see what was launched."""
        for command in commands:
            self.watch.take(command)
            if isinstance(command, Launch):
                attempt = command.attempt
                self.voices[attempt.number] = voice_for(attempt, self.ways[attempt.target.name])
        if self.watch.end is not None:
            self.land(self.watch.end)

    def land(self, end: Finished) -> None:
        """What holds at the end."""
        flight, watch = self.flight, self.watch
        assert flight is not None
        assert flight.wake_at == inf
        assert flight.woke(self.now + 1e6) == flight.cancelled(self.now) == []
        assert end.shown or not (watch.text or watch.calls)
        if end.failure is None:
            assert end.target is not None
            assert watch.calls in {"", ARGUMENTS, ARGUMENTS[:7]}
        else:
            assert not end.rescued
            assert self.request.stream or not watch.text, "half a plain answer was shown"
        self.flight, self.watch = None, Watch(0)

    @invariant()
    def words_are_true(self) -> None:
        """The caller's words are a beginning of the true answer, whoever said them."""
        assert TRUTH.startswith(self.watch.text)

    @invariant()
    def it_is_never_stuck(self) -> None:
        """While a flight is under way there is an end in sight."""
        assert self.flight is None or isfinite(self.flight.wake_at)

    @invariant()
    def live_attempts_are_known(self) -> None:
        """The driver and the flight agree who is under way."""
        if self.flight is not None:
            assert set(self.flight._live) == self.watch.live


TestFlights = Flights.TestCase
TestFlights.settings = settings(max_examples=max(200, settings().max_examples), stateful_step_count=50)
