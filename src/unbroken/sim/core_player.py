"""The real core as a player: lineups, boards and flights, byte for byte as in production, under virtual time.

What answers say is not looked at here (`simulator` compares every word): each is a stretch
of one long text, told in as few pieces as the time limits allow.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from math import inf
from random import Random

from unbroken.core.board import Board
from unbroken.core.flight import NEVER, Abandon, Command, Emit, Finished, Flight, Launch, Note
from unbroken.core.lineup import line_up
from unbroken.core.strategies import Draw
from unbroken.policy import CHARS_PER_TOKEN, Route
from unbroken.records import replace
from unbroken.sim.course import NOBODY, Course, Seen
from unbroken.sim.market import EMPTY, Answer, Ask
from unbroken.types import Attempt, Continuation, Delta, Finish, Mode, Request, Usage, anchor_of

__all__ = ["CorePlayer", "core_player"]

CHARS = int(CHARS_PER_TOKEN)
TEXT_TOKENS = 65_536
"""Of the text; an answer that is longer says it again."""
PIECE_S = 8.0
"""A long answer says something at least so often: shorter than any limit on silence."""
NAME = "sim"

_TEXT = b64encode(Random("what answers say").randbytes(TEXT_TOKENS * CHARS * 3 // 4)).decode()
"""Without two like stretches of any length, so that it is known where a continuation joins."""


def core_player(route: Route, routes: Mapping[str, Route] | None = None) -> Callable[[Course], CorePlayer]:
    """The core with this route, for a run; `routes` by their names, where the trace says which are meant."""
    return lambda course: CorePlayer(course, route, routes=routes or {})


class CorePlayer:
    """Everything that flights share."""

    def __init__(self, course: Course, route: Route, *, routes: Mapping[str, Route]) -> None:
        """The targets of all routes are among the scene's."""
        self.course, self.route = course, route
        self.places: Mapping[str, int] = {name: place for place, name in enumerate(course.market.names)}
        self._draw = Random(f"{course.scene.seed}/core")
        self._meant = [routes.get(name, route) for name in course.scene.trace.routes] if routes else []
        breaking = {target.name: each.policy.breaking for each in (*routes.values(), route) for target in each.targets}
        self.board = Board(self._draw, breaking)
        self._requests: dict[tuple[int, bool], Request] = {}

    def begin(self, ask: Ask, now: float) -> None:
        """As the engine begins one."""
        number = ask.number
        route = self._meant[number] if self._meant else self.route
        stream = bool(self.course.streams[number])
        request = self._requests.get((ask.input_tokens, stream)) or self._meet(ask.input_tokens, stream=stream)
        lineup = line_up(request, route, board=self.board, now=now, draw=Draw(number, self._draw))
        flight = Flight(request, lineup, flight_id=str(number), route=route, board=self.board, draw=self._draw)
        _Drive(self, flight, ask=ask, began=now).run(flight.begin(now), now)

    def _meet(self, input_tokens: int, *, stream: bool) -> Request:
        request = Request(model=NAME, stream=stream, prompt_chars=input_tokens * CHARS)
        self._requests[input_tokens, stream] = request
        return request


class _Drive:
    """One flight under way, and the caller who waits for it."""

    __slots__ = ("_alarm_at", "_first_at", "_is_over", "_legs", "_tried", "ask", "began", "flight", "player")

    def __init__(self, player: CorePlayer, flight: Flight, *, ask: Ask, began: float) -> None:
        self.player, self.flight, self.ask, self.began = player, flight, ask, began
        self._alarm_at = NEVER
        self._first_at = -1.0
        self._is_over = False
        self._legs: dict[int, _Leg] = {}
        self._tried: dict[int, int] = {}

    def obey(self, commands: list[Command], now: float) -> None:
        """Do what the flight says; facts are known to the board already."""
        for command in commands:
            kind = type(command)
            if kind is Emit:
                if self._first_at < 0:
                    self._first_at = now
            elif kind is Note:
                continue
            elif isinstance(command, Launch):
                self._launch(command.attempt, now)
            elif isinstance(command, Abandon):
                self.hang_up(command.number, now)
            elif isinstance(command, Finished):
                self._finish(command, now)

    def run(self, commands: list[Command], now: float) -> None:
        """Do what the flight says, then set the alarm for when it wants to be woken."""
        self.obey(commands, now)
        if not self._is_over and (at := self.flight.wake_at) < self._alarm_at:
            self._alarm_at = at
            self.player.course.at(at, self)

    def fire(self, now: float) -> None:
        """The alarm: one that comes too early is cheap, one that moves is not."""
        if self._is_over or now != self._alarm_at:
            return
        self._alarm_at = NEVER
        self.run(self.flight.woke(now) if now >= self.flight.wake_at else [], now)

    def _launch(self, attempt: Attempt, now: float) -> None:
        player, course = self.player, self.player.course
        place = player.places[attempt.target.name]
        again = self._tried.get(place, 0)
        self._tried[place] = again + 1
        ask, said = self.ask, 0
        if attempt.continuation is not None and attempt.continuation.mode is not Mode.RESTART:
            said = min(len(attempt.continuation.text) // CHARS, ask.output_tokens - 1)
            ask = replace(ask, input_tokens=ask.input_tokens + said, output_tokens=ask.output_tokens - said)
        answer = course.market.ask(place, ask, again=again, now=now)
        leg = _Leg(self, attempt, place=place, ask=ask, answer=answer, began=now)
        self._legs[attempt.number] = leg
        if answer.failure is None or answer.first_s < inf or answer.failure.sent:
            self.flight.connected(attempt.number, now)
        leg.begin(now)

    def hang_up(self, number: int, now: float) -> None:
        """Nothing more is heard of an attempt, and what it said until now is paid."""
        leg = self._legs.pop(number, None)
        if leg is not None:
            leg.is_dead = True
            course = self.player.course
            cost_usd = course.market.leave(leg.place, leg.ask, answer=leg.answer, tokens=leg.tokens_at(now))
            course.spent(self.ask.number, cost_usd)

    def _finish(self, end: Finished, now: float) -> None:
        self._is_over = True
        target = NOBODY if end.target is None else self.player.places[end.target.name]
        first_s = max(0.0, self._first_at - self.began)
        done = end.failure is None and self._first_at >= 0
        kind = EMPTY.kind if end.failure is None else end.failure.kind
        seen = Seen(done, target if done else NOBODY, end.attempts, first_s, end.failover, end.rescued, kind.value)
        self.player.course.over(self.ask.number, seen, now=now)


class _Leg:
    """One attempt: what of its answer was said, and what comes next."""

    __slots__ = ("_began", "_drive", "_end_at", "_first_at", "_lead", "_said", "_start", "answer", "ask", "is_dead",
                 "number", "place")  # fmt: skip

    def __init__(self, drive: _Drive, attempt: Attempt, *, place: int, ask: Ask, answer: Answer, began: float) -> None:
        self._drive, self.number, self.place, self.ask, self.answer = drive, attempt.number, place, ask, answer
        self._began, self._first_at, self._end_at = began, began + answer.first_s, began + answer.end_s
        self._said = 0
        self._start, self._lead = _joint(attempt.continuation)
        self.is_dead = False

    def begin(self, now: float) -> None:
        """Wait for the first word of a stream, or for the end."""
        del now
        streams = self._drive.player.course.streams[self.ask.number]
        self._drive.player.course.at(self._first_at if streams and self.answer.first_s < inf else self._end_at, self)

    def tokens_at(self, now: float) -> int:
        """How many tokens the provider has written by now."""
        answer = self.answer
        if now >= self._end_at:
            return answer.tokens
        if now < self._first_at or answer.end_s == inf:
            return answer.tokens if now >= self._first_at else 0
        return int(answer.tokens * (now - self._first_at) / (self._end_at - self._first_at))

    def fire(self, now: float) -> None:
        """Something comes: words, the end, or the failure."""
        if self.is_dead:
            return
        if now >= self._end_at:
            self._end(now)
            return
        tokens = max(1, self.tokens_at(now), self._said)
        self._tell(tokens, now)
        if not self.is_dead and (self.answer.end_s < inf or tokens < self.answer.tokens):
            self._drive.player.course.at(min(now + PIECE_S, self._end_at), self)

    def _tell(self, tokens: int, now: float) -> None:
        text = self._lead + self._words(tokens)
        if text:
            self._lead = ""
            flight = self._drive.flight
            self._drive.run(flight.arrived(self.number, [Delta(text=text)], now=now), now)

    def _words(self, tokens: int) -> str:
        """What was not said yet of so many tokens."""
        start = (self._start + self._said * CHARS) % len(_TEXT)
        chars, self._said = (tokens - self._said) * CHARS, tokens
        return _TEXT[start : start + chars]

    def _end(self, now: float) -> None:
        drive, flight, answer = self._drive, self._drive.flight, self.answer
        if answer.failure is not None and answer.failure is not EMPTY:
            drive.hang_up(self.number, now)
            drive.run(flight.failed(self.number, answer.failure, now=now), now)
            return
        cost_usd = drive.player.course.market.cost_usd(self.place, self.ask, answer=answer)
        usage = Usage(input_tokens=self.ask.input_tokens, output_tokens=answer.tokens, cost_usd=cost_usd)
        text = self._lead + self._words(answer.tokens)
        last = Delta(text=text, finish=Finish.STOP, usage=usage)
        drive.obey(flight.arrived(self.number, [last], now=now), now)
        if self.is_dead:  # turned down: then the alarm is for whoever was asked instead
            drive.run([], now)
        else:
            drive.hang_up(self.number, now)
            drive.run(flight.ended(self.number, now), now)


def _joint(continuation: Continuation | None) -> tuple[int, str]:
    """Where in the text an answer begins, and what it repeats before that."""
    if continuation is None or not continuation.text or continuation.mode is Mode.RESTART:
        return 0, ""
    shown = len(continuation.text)
    return shown, anchor_of(continuation.text) if continuation.mode is Mode.ASK else ""
