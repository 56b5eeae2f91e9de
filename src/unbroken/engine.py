"""Drives flights with asyncio: runs their commands, feeds them signals.

The engine decides nothing.  A `Drive` is one flight under way: it holds the timer and the
attempts' connections, and tells a `Caller` what to show.  Everything happens in callbacks
of the event loop; no task belongs to a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from random import Random
from typing import Protocol

from unbroken.bus import Bus
from unbroken.core.board import Board
from unbroken.core.flight import NEVER, Abandon, Command, Emit, Finished, Flight, Launch, Note
from unbroken.core.lineup import line_up
from unbroken.core.strategies import Draw
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Route
from unbroken.ports import Clock, Exchange, Transport
from unbroken.types import Attempt, Delta, HttpReply, Request
from unbroken.wire import Decoder, Format, format_for

__all__ = ["Caller", "Drive", "Engine", "Finished"]

ERROR_BYTES_MAX = 64 * 1024
"""As much of an error's body as is read; the rest says nothing new."""
OK = 200


class Caller(Protocol):
    """Told what to show, and how it ended."""

    def show(self, deltas: Sequence[Delta]) -> None:
        """The next of the answer."""
        ...

    def finish(self, end: Finished) -> None:
        """The end; nothing follows."""
        ...


class Engine:
    """What all requests share: the board, the transport, the clock, chance."""

    def __init__(self, *, board: Board, transport: Transport, clock: Clock, bus: Bus, draw: Random) -> None:
        self.board, self.transport, self.clock, self.bus = board, transport, clock, bus
        self._draw = draw
        self._tickets: dict[str, count[int]] = {}

    def fly(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> Drive:
        """Begin a request; the caller is told of its answer from the event loop."""
        now = self.clock()
        ticket = 0 if route.strategy == "priority" else next(self._tickets.setdefault(route.name, count()))
        lineup = line_up(request, route, board=self.board, now=now, draw=Draw(ticket, self._draw))
        flight = Flight(request, lineup, flight_id=flight_id, route=route, board=self.board, draw=self._draw)
        drive = Drive(self, flight, request=request, caller=caller)
        drive.begin(now)
        return drive

    async def close(self) -> None:
        """Hand over the last facts, close the connections."""
        self.bus.flush()
        await self.transport.close()


class Drive:
    """One flight under way."""

    __slots__ = ("_caller", "_engine", "_legs", "_request", "_timer", "_timer_at", "flight")

    def __init__(self, engine: Engine, flight: Flight, *, request: Request, caller: Caller) -> None:
        self._engine, self._request, self._caller = engine, request, caller
        self.flight = flight
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
        for command in commands:
            match command:  # the commonest first
                case Emit():
                    self._caller.show(command.deltas)
                case Note():
                    self._engine.bus.publish(command.fact)
                case Launch():
                    self._launch(command.attempt)
                case Abandon():
                    self._hang_up(command.number)
                case Finished():
                    self._caller.finish(command)
        self._rearm(now)

    def _launch(self, attempt: Attempt) -> None:
        target = attempt.target
        try:
            spoken = format_for(target.format, self._request.task)
            request = spoken.write_request(self._request, target, continuation=attempt.continuation)
        except (KeyError, ValueError) as error:
            message = f"{target.name} cannot be asked this: {error}"
            failure = Failure(kind=FailureKind.REQUEST, message=message, sent=False)
            asyncio.get_running_loop().call_soon(self._refuse, attempt.number, failure)
            return
        leg = Leg(self, attempt, spoken=spoken, request=self._request)
        self._legs[attempt.number] = leg
        leg.exchange = self._engine.transport.send(request, leg)

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

    def connected(self, number: int) -> None:
        """The attempt's request is on its way."""
        self.flight.connected(number, self._engine.clock())

    def opened(self, number: int) -> None:
        """A good status came; every limit only moves later, so the alarm may stay."""
        self.flight.opened(number, self._engine.clock())

    def arrived(self, number: int, deltas: list[Delta]) -> None:
        """Some of an answer came.  The alarm of a plain answer stays: its end follows at once."""
        now = self._engine.clock()
        commands = self.flight.arrived(number, deltas, now=now)
        if commands or self._request.stream:
            self.run(commands, now)

    def ended(self, number: int) -> None:
        """An answer is complete."""
        leg = self._legs.pop(number, None)
        if leg is not None and leg.exchange is not None:
            leg.exchange.release()
        now = self._engine.clock()
        self.run(self.flight.ended(number, now), now)

    def failed(self, number: int, failure: Failure) -> None:
        """An attempt failed."""
        self._hang_up(number)
        now = self._engine.clock()
        self.run(self.flight.failed(number, failure, now=now), now)


class Leg:
    """One attempt's ear on the network: bytes in, signals out."""

    __slots__ = ("_attempt", "_body", "_decoder", "_drive", "_format", "_headers", "_request", "_status", "exchange")

    def __init__(self, drive: Drive, attempt: Attempt, *, spoken: Format, request: Request) -> None:
        self._drive, self._attempt, self._format, self._request = drive, attempt, spoken, request
        self._decoder: Decoder | None = None
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._body = b""
        self.exchange: Exchange | None = None

    def pause(self) -> None:
        """Read no more for now."""
        if self.exchange is not None:
            self.exchange.pause()

    def resume(self) -> None:
        """Read on."""
        if self.exchange is not None:
            self.exchange.resume()

    # -- Listener

    def connected(self) -> None:
        self._drive.connected(self._attempt.number)

    def opened(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, headers
        if status == OK:
            self._decoder = self._format.decoder(self._request, self._attempt.target)
            self._drive.opened(self._attempt.number)

    def data(self, data: bytes) -> None:
        if self._decoder is None:
            if len(self._body) < ERROR_BYTES_MAX:
                self._body += data
            return
        self._tell(self._read(self._decoder.feed, data))
        if self._decoder.done:
            self._drive.ended(self._attempt.number)

    def ended(self) -> None:
        if self._decoder is None:
            self._tell(self._read(self._classified))
        elif self._tell(self._read(self._decoder.close)):
            self._drive.ended(self._attempt.number)

    def failed(self, failure: Failure) -> None:
        if self._status and self._status != OK and self._body:
            self.ended()  # the connection broke inside an error's body: the error is the news
        else:
            self._drive.failed(self._attempt.number, failure)

    def _classified(self) -> Failure:
        """What an answer that is no 200 means."""
        return self._format.classify(HttpReply(status=self._status, headers=self._headers, body=self._body))

    def _read(self, codec: Callable[..., list[Delta] | Failure], *data: bytes) -> list[Delta] | Failure:
        """What the codec makes of these bytes.

        Codecs promise not to raise, and this is where the promise ends: we are called from a
        socket, nobody above would tell the flight, and its caller would wait for a time limit.
        The defect is reported to the event loop; the request goes on elsewhere.
        """
        try:
            return codec(*data)
        except Exception as error:  # noqa: BLE001 - see above
            name = self._attempt.target.name
            told = {"message": f"a codec of unbroken failed on an answer of {name}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)
            message = f"the answer of {name} could not be read ({type(error).__name__})"
            return Failure(kind=FailureKind.MALFORMED, message=message, status=self._status)

    def _tell(self, found: list[Delta] | Failure) -> bool:
        """Pass on what was decoded; False if it was a failure."""
        if isinstance(found, Failure):
            self._drive.failed(self._attempt.number, found)
            return False
        if found:
            self._drive.arrived(self._attempt.number, found)
        return True
