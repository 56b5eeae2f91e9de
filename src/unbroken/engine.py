"""Drives flights with asyncio: runs their commands, feeds them signals.

The engine decides nothing.  A `Pilot` drives one flight: it holds the timer and the attempts'
connections, and tells a `Caller` what to show.  On routes that keep answers the cache is asked
before anybody takes off.  Everything happens in callbacks of the event loop; no task belongs
to a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import count
from random import Random
from typing import Protocol

from mypy_extensions import mypyc_attr

from unbroken.admission import Admission
from unbroken.bus import Bus
from unbroken.core.board import Board
from unbroken.core.flight import NEVER, Abandon, Command, Emit, Finished, Flight, Launch, Note
from unbroken.core.limits import Limits
from unbroken.core.lineup import Unable, line_up
from unbroken.core.spend import Spending
from unbroken.core.strategies import Draw
from unbroken.counting import Counting
from unbroken.drives import Caller, Drive
from unbroken.facts import LeftOut, LimitsTold
from unbroken.failures import Failure, FailureKind, Scope
from unbroken.leg import Leg
from unbroken.policy import Route
from unbroken.ports import Clock, Keyring, Tracing, Transport
from unbroken.secrecy import without_secrets
from unbroken.soundness import judge_for
from unbroken.types import Attempt, Delta, Fix, HttpRequest, Json, Request, Target
from unbroken.wire import Format, format_for
from unbroken.wire.allowance import readings
from unbroken.wire.fixes import adapted, fix_for

__all__ = ["Books", "Caller", "Drive", "Engine", "Finished", "Memory"]

_FIXABLE = frozenset((FailureKind.REQUEST, FailureKind.UNSUPPORTED, FailureKind.CONTEXT_LENGTH, FailureKind.QUOTA))
"""Kinds for which a change of the request may help."""


NOBODY: Mapping[str, str] = {}
"""No target is barred."""
KEY_AGAIN_S = 30.0
"""For how long a refused key rests that is kept elsewhere: a newer one may be there any moment."""


class Memory(Protocol):
    """Knows answers that were given before."""

    def fly(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> Drive | None:
        """Answer from memory, or see to it that the answer is remembered; None where neither may be."""
        ...


class Aside(Protocol):
    """What goes on beside requests."""

    def start(self) -> None:
        """Begin, in the event loop; a second time does nothing."""
        ...

    def stop(self) -> None:
        """End."""
        ...


class Books(Protocol):
    """Keeps the decision record of each request; a sink beside."""

    def find(self, request: str) -> Future[dict[str, Json] | None]:
        """A request's record as plain values; None where it is unknown.  Holds the error where nobody can say."""
        ...

    def latest(self, most: int, *, since: float = 0.0, route: str = "") -> Future[list[dict[str, Json]]]:
        """The latest requests, since a moment (seconds since 1970), of a route: plain values without attempts."""
        ...

    def state(self) -> dict[str, Json]:
        """Where they are kept, and how much waits (`queued`), was `written` and was `dropped`."""
        ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Engine:
    """What all requests share: the board, the transport, the clock, chance, and perhaps a memory of answers."""

    def __init__(
        self, *, board: Board, transport: Transport, clock: Clock, bus: Bus, draw: Random,
        keyring: Keyring | None = None,
    ) -> None:  # fmt: skip
        self.board, self.transport, self.clock, self.bus = board, transport, clock, bus
        self.keyring = keyring
        self.memory: Memory | None = None
        self.admission: Admission | None = None
        self.counting: Counting | None = None
        self.ledger: Books | None = None
        self.tracing: Tracing | None = None
        self.prober: Aside | None = None
        self.replica: Aside | None = None
        self._draw = draw
        self._tickets: dict[str, count[int]] = {}

    def fly(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> Drive:
        """Begin a request; the caller is told of its answer from the event loop."""
        if self.counting is not None:
            caller = self.counting.begun(request, route, caller=caller, flight_id=flight_id)
        if route.policy.cache.ttl_s is not None and self.memory is not None:
            remembered = self.memory.fly(request, route, caller=caller, flight_id=flight_id)
            if remembered is not None:
                return remembered
        return self.take_off(request, route, caller=caller, flight_id=flight_id)

    def take_off(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> Drive:
        """Begin a request whose answer nobody remembers, as soon as it may begin."""
        if self.admission is not None:
            return self.admission.fly(request, route, caller=caller, flight_id=flight_id)
        return self.begin(request, route, caller=caller, flight_id=flight_id)

    def begin(
        self, request: Request, route: Route, *, caller: Caller, flight_id: str, barred: Mapping[str, str] = NOBODY
    ) -> Drive:  # fmt: skip
        """Let a request fly; `barred` are targets that it must not go to, with the reason in words."""
        now = self.clock()
        ticket = 0 if route.strategy == "priority" else next(self._tickets.setdefault(route.name, count()))
        if self.counting is not None:
            request = self.counting.counted(request)
        sayings = _Sayings(request, self.counting)
        draw = Draw(ticket, self._draw)
        unable = _unable(sayings, barred) if barred else sayings.unable
        lineup = line_up(request, route, board=self.board, now=now, draw=draw, unable=unable)
        judge = judge_for(request, route.policy)
        flight = Flight(
            request, lineup, flight_id=flight_id, route=route, board=self.board, draw=self._draw, judge=judge
        )
        pilot = Pilot(self, flight, sayings=sayings, caller=caller)
        pilot.begin(now)
        return pilot

    def keep(
        self, limits: Limits, *, spending: Spending | None = None, routes: Mapping[str, Route] | None = None
    ) -> Admission:  # fmt: skip
        """From now on see to it that these limits and budgets are kept; `routes` are where budgets may lead to."""
        self.admission = Admission(
            self.begin, board=self.board, clock=self.clock, bus=self.bus, limits=limits, spending=spending,
            routes=routes,
        )  # fmt: skip
        return self.admission

    def told(self, attempt: Attempt, headers: Mapping[str, str], *, flight: str) -> None:
        """An answer came with headers that tell how much its provider still takes."""
        admission, now = self.admission, self.clock()
        if admission is not None and not admission.limits.listens(attempt.target, now):
            return
        if found := readings(headers):
            admission = admission or self.keep(Limits())
            admission.told(LimitsTold(now, flight, attempt.number, attempt.target, found))

    def start(self) -> None:
        """Begin what goes on beside requests, in the event loop; without this it begins with the first request."""
        for aside in (self.replica, self.prober):
            if aside is not None:
                aside.start()

    async def close(self) -> None:
        """Hand over the last facts, close the connections."""
        if self.prober is not None:
            self.prober.stop()
        await self.bus.close()
        await self.transport.close()


def _unable(sayings: _Sayings, barred: Mapping[str, str]) -> Unable:
    """Why a target is not to be asked, or cannot be."""
    return lambda target: barred.get(target.name) or sayings.unable(target)


class _Sayings:
    """A request in the words of each target whose format is not the caller's, written once."""

    __slots__ = ("_counting", "_written", "request")

    def __init__(self, request: Request, counting: Counting | None) -> None:
        self.request, self._counting = request, counting
        self._written: dict[str, HttpRequest] = {}

    def unable(self, target: Target) -> str | None:
        """Why this target cannot be asked this; None where it can."""
        request = self.request
        try:
            spoken = format_for(target.format, request.task)
        except KeyError:
            return f"does no {request.task} work"
        if request.source is not None and request.source.format == spoken.name:
            return None
        try:
            self._written[target.name] = spoken.write_request(self._wording(target), target)
        except ValueError as error:
            return f"cannot be asked this: {error}"
        return None

    def write(self, spoken: Format, attempt: Attempt, *, target: Target) -> HttpRequest:
        """The request of this attempt; `target` may hold a newer key than the attempt's."""
        known = self._written.pop(target.name, None)
        if known is None or attempt.continuation is not None or target is not attempt.target:
            known = spoken.write_request(self._wording(target), target, continuation=attempt.continuation)
        return known if attempt.fix is None else adapted(known, attempt.fix)

    def _wording(self, target: Target) -> Request:
        return self.request if self._counting is None else self._counting.wording(self.request, target)


class Pilot:
    """Drives one flight."""

    __slots__ = ("_caller", "_engine", "_legs", "_request", "_sayings", "_sent", "_timer", "_timer_at", "flight",
                 "left_out")  # fmt: skip

    def __init__(self, engine: Engine, flight: Flight, *, sayings: _Sayings, caller: Caller) -> None:
        self._engine, self._request, self._caller = engine, sayings.request, caller
        self._sayings = sayings
        self.flight = flight
        self.left_out: dict[str, tuple[str, ...]] = {}
        self._sent: dict[int, HttpRequest] = {}
        self._legs: dict[int, Leg] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    # -- from the face

    def begin(self, now: float) -> None:
        """Start."""
        self.run(self.flight.begin(now), now)

    def cancel(self) -> None:
        """The caller has left."""
        now = self._engine.clock()
        self.run(self.flight.cancelled(now), now)

    def pause(self) -> None:
        """The caller reads more slowly than the provider writes."""
        self.flight.paused()
        for leg in self._legs.values():
            leg.pause()

    def resume(self) -> None:
        """The caller has caught up."""
        now = self._engine.clock()
        self.flight.resumed(now)
        for leg in self._legs.values():
            leg.resume()
        self._rearm(now)

    # -- commands

    def run(self, commands: list[Command], now: float) -> None:
        """Do what the flight says, then set the alarm for when it wants to be woken."""
        self._do(commands)
        self._rearm(now)

    def _do(self, commands: list[Command]) -> None:
        engine = self._engine
        for command in commands:  # not `match`, which takes three times as long where a case is another class
            if type(command) is Emit:
                self._caller.show(command.deltas)
            elif type(command) is Note:
                engine.bus.publish(command.fact)
            elif type(command) is Launch:
                self._launch(command.attempt)
            elif type(command) is Abandon:
                self._hang_up(command.number)
            elif type(command) is Finished:
                self._caller.finish(command)
                if engine.admission is not None:
                    engine.admission.freed()

    def _launch(self, attempt: Attempt) -> None:
        target, keyring = attempt.target, self._engine.keyring
        try:
            spoken = format_for(target.format, self._request.task)
            if keyring is not None and (target.credential or target.auth == "sigv4"):
                leg = self._leg(attempt, spoken)
                keyring.authorize(
                    target,
                    lambda keyed: self._write(leg, spoken, keyed=keyed),
                    ready=partial(self._authorized, leg),
                )
            else:
                written = self._sayings.write(spoken, attempt, target=target)
                self._send(self._leg(attempt, spoken), written)
        except (KeyError, ValueError) as error:
            self._legs.pop(attempt.number, None)
            message = f"{target.name} cannot be asked this: {error}"
            failure = Failure(kind=FailureKind.REQUEST, message=message, sent=False)
            asyncio.get_running_loop().call_soon(self._refuse, attempt.number, failure)

    def _write(self, leg: Leg, spoken: Format, *, keyed: Target) -> HttpRequest:
        """The leg's request; what it asks later is asked with the same key."""
        leg.target = keyed
        return self._sayings.write(spoken, leg.attempt, target=keyed)

    def _leg(self, attempt: Attempt, spoken: Format) -> Leg:
        leg = self._legs[attempt.number] = Leg(self, attempt, spoken=spoken, request=self._request)
        return leg

    def _authorized(self, leg: Leg, written: HttpRequest | Failure) -> None:
        """The key is here, or there is none; the flight may have gone on without it."""
        number = leg.attempt.number
        if number not in self._legs:
            return
        if isinstance(written, Failure):
            asyncio.get_running_loop().call_soon(self._refuse, number, written)
        else:
            self._send(leg, written)

    def _send(self, leg: Leg, written: HttpRequest) -> None:
        if written.unsaid:
            attempt, now = leg.attempt, self._engine.clock()
            self.left_out[attempt.target.name] = written.unsaid
            fact = LeftOut(now, self.flight.id, attempt.number, attempt.target, written.unsaid)
            self._engine.bus.publish(fact)
        self._sent[leg.attempt.number] = leg.sent = written
        if (tracing := self._engine.tracing) is not None:
            written = tracing.marked(written, self.flight.id, number=leg.attempt.number)
        leg.exchange = self._engine.transport.send(written, leg)

    def _refuse(self, number: int, failure: Failure) -> None:
        now = self._engine.clock()
        self.run(self.flight.failed(number, failure, now=now), now)

    def _hang_up(self, number: int) -> None:
        leg = self._legs.pop(number, None)
        if leg is not None and leg.exchange is not None:
            leg.exchange.cancel()

    # -- time

    def _rearm(self, now: float) -> None:
        """An alarm that comes too early is cheap; one that moves with every token is not."""
        at = self.flight.wake_at
        if at == NEVER:
            if self._timer is not None:
                self._timer.cancel()
                self._timer, self._timer_at = None, NEVER
        elif at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._wake)

    def _wake(self) -> None:
        self._timer, self._timer_at = None, NEVER
        now = self._engine.clock()
        self.run(self.flight.woke(now) if now >= self.flight.wake_at else [], now)

    # -- signals, from legs

    def ask(self, request: HttpRequest, leg: Leg) -> None:
        """Send what a leg asks next."""
        leg.exchange = self._engine.transport.send(request, leg)

    def connected(self, number: int) -> None:
        """The attempt's request is on its way; the limit for its first byte may be the earlier one."""
        now = self._engine.clock()
        self.flight.connected(number, now)
        self._rearm(now)

    def told(self, number: int, headers: Mapping[str, str]) -> None:
        """The answer says how much its provider still takes."""
        if (leg := self._legs.get(number)) is not None:
            self._engine.told(leg.attempt, headers, flight=self.flight.id)

    def opened(self, number: int) -> None:
        """A good status came; every limit only moves later, so the alarm may stay."""
        self._sent.pop(number, None)
        if self._request.counted and self._engine.counting is not None:
            self._engine.counting.opened(self._legs[number].attempt)
        self.flight.opened(number, self._engine.clock())

    def arrived(self, number: int, deltas: list[Delta]) -> None:
        """Some of an answer came.  The alarm of a plain answer stays: its end follows at once."""
        now = self._engine.clock()
        commands = self.flight.arrived(number, deltas, now=now)
        if self.flight.steady:
            self._do(commands)
        elif commands or self._request.stream:
            self.run(commands, now)

    def _fixable(self, failure: Failure, sent: HttpRequest, *, target: Target) -> Failure:
        """The failure with what would help against it, where that is known."""
        keyring = self._engine.keyring
        fetched = target.credential or target.auth == "sigv4"
        if failure.kind is FailureKind.AUTH and fetched and keyring is not None:
            if keyring.forget(target.credential):
                return replace(failure, fix=Fix(key=True), scope=Scope.NONE)
            return replace(failure, cool_s=KEY_AGAIN_S)
        fix = fix_for(failure, sent, target=target) if failure.kind in _FIXABLE else None
        if fix is None and self._request.counted and self._engine.counting is not None:
            fix = self._engine.counting.fix(failure, target)
        return failure if fix is None else replace(failure, fix=fix, scope=Scope.NONE)

    def ended(self, number: int) -> None:
        """An answer is complete."""
        leg = self._legs.pop(number, None)
        if leg is not None and leg.exchange is not None:
            leg.exchange.release()
        now = self._engine.clock()
        self.run(self.flight.ended(number, now), now)

    def failed(self, number: int, failure: Failure) -> None:
        """An attempt failed; perhaps the target said what would have to be different."""
        leg, sent = self._legs.get(number), self._sent.get(number)
        if leg is not None:
            failure = without_secrets(failure, leg.target)
        if leg is not None and sent is not None and failure.fix is None:
            failure = self._fixable(failure, sent, target=leg.attempt.target)
        self._hang_up(number)
        now = self._engine.clock()
        self.run(self.flight.failed(number, failure, now=now), now)
        if self._engine.admission is not None:
            self._engine.admission.freed()
