"""What all calls of a client share: the configuration of this moment, an engine, and how a request is flown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from unbroken import records
from unbroken.assemble import engine
from unbroken.engine import Drive, Finished
from unbroken.faces.client.building import Setup, extended
from unbroken.faces.client.choice import chosen
from unbroken.faces.client.custom import InProcess, Provider
from unbroken.faces.client.flying import Flow, Wait
from unbroken.faces.client.rates import Limited
from unbroken.faces.client.results import Answer, Chunk, Result, answer_of, chunk_of, cost_of
from unbroken.faces.client.tally import Statistics, Tally
from unbroken.facts import Fact
from unbroken.failures import (
    DeadlineExceeded,
    Failure,
    FailureKind,
    Fault,
    RequestError,
    TargetsExhausted,
    Tried,
    UnbrokenError,
)
from unbroken.policy import Route
from unbroken.types import Delta, Request, Target
from unbroken.wire.media import FILM_BYTES_MAX

__all__ = ["Cabin", "error_of"]

MEBIBYTE = 1024 * 1024
Made = TypeVar("Made")


class Cabin:
    """One engine, flown from a program; everything runs in one event loop, that of the first call."""

    def __init__(self, setup: Setup) -> None:
        server = setup.config.server
        room_mb = max(server.response_limit_mb, FILM_BYTES_MAX / MEBIBYTE)
        self.config = replace(setup.config, server=replace(server, response_limit_mb=room_mb))
        self.tally = Tally()
        self.engine = engine(self.config)
        self.engine.bus.add(self.tally)
        for target in self.config.targets:  # measured from the start: any call may come with requirements
            self.engine.board.experience.measure(target)
        limited = Limited(self.engine.transport, self.engine.clock, limits=setup.limits, targets=self.config.targets)
        self.engine.transport = self.in_process = InProcess(limited)
        for name, provider in setup.own.items():
            self.in_process.serve(self.config.accounts[name].row.base_url, provider)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._under_way: set[Drive] = set()
        self._id_head, self._numbers = f"call_{os.urandom(5).hex()}", count(1)

    async def close(self) -> None:
        """End what is under way, hand over the last facts, close every connection; a second time does nothing."""
        if not self._closed:
            self._closed = True
            for drive in list(self._under_way):
                drive.cancel()
            await self.engine.close()

    def register(self, name: str, provider: Provider, *, route: str | None, first: bool) -> None:
        """Take in a provider of this process; under a name that it has already, in place of the older one."""
        if not self.in_process.has(name):
            self.config = extended(self.config, name, provider=provider, route=route, first=first)
        self.in_process.serve(self.config.accounts[name].row.base_url, provider)

    def tell(self, fact: Fact) -> None:
        """Note a fact that is no flight's; also where no event loop runs yet."""
        self.engine.board.fold(fact)
        with suppress(RuntimeError):
            self.engine.bus.publish(fact)
        self.engine.bus.flush()

    def statistics(self) -> Statistics:
        """What was counted, up to this moment."""
        self.engine.bus.flush()
        return self.tally.statistics()

    def reset_statistics(self) -> None:
        """Count from nought."""
        self.engine.bus.flush()
        self.tally.reset()

    # -- choosing

    def targets_of(self, provider: str) -> tuple[Target, ...]:
        """All that is configured of a provider."""
        return tuple(target for target in self.config.targets if target.provider == provider)

    def route_for(self, request: Request, options: Mapping[str, Any]) -> Route:
        """Who is asked, in which order."""
        return chosen(self.config, request, options=options)

    # -- flying

    async def fly(
        self, request: Request, options: Mapping[str, Any], *, made: Callable[[list[Delta], Result], Made]
    ) -> Made:
        """A whole answer, made of its steps and how it came about; raises what stands for its failure."""
        wait = Wait()
        drive = self._begin(request, options, caller=wait)
        try:
            end = await wait.over
            return made(wait.deltas, self._told(end, drive))
        finally:
            self._leave(drive, wait.end)

    async def stream(
        self, request: Request, options: Mapping[str, Any], *, done: Callable[[Answer], None]
    ) -> AsyncGenerator[Chunk, None]:
        """An answer as it comes; `done` is given all of it at its end."""
        flow = Flow()
        drive = self._begin(request, options, caller=flow)
        flow.drive = drive
        try:
            while (delta := await flow.take()) is not None:
                if (chunk := chunk_of(delta)) is not None:
                    yield chunk
            assert flow.end is not None
            done(answer_of(flow.deltas, self._told(flow.end, drive)))
        finally:
            flow.drive = None
            self._leave(drive, flow.end)

    def _begin(self, request: Request, options: Mapping[str, Any], *, caller: Wait | Flow) -> Drive:
        self.settle_in()
        route = self.route_for(request, options)
        flight_id = f"{self._id_head}{next(self._numbers):06x}"
        request = records.replace(request, model=route.name)
        drive = self.engine.fly(request, route, caller=caller, flight_id=flight_id)
        self._under_way.add(drive)
        return drive

    def settle_in(self) -> None:
        """Connections belong to an event loop, and so the client does."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._loop not in {None, loop}:
            raise RuntimeError("this client belongs to another event loop: make one for each, or use Unbroken.sync()")
        self._loop = loop

    def _leave(self, drive: Drive, end: Finished | None) -> None:
        """Nobody waits any longer; before the end that means to hang up."""
        self._under_way.discard(drive)
        if end is None:
            drive.cancel()
        self.engine.bus.flush()
        self.tally.take(drive.flight.id)

    def _told(self, end: Finished, drive: Drive) -> Result:
        """How it came about; raises where that was badly."""
        self.engine.bus.flush()
        attempts, costs = self.tally.take(drive.flight.id)
        if end.failure is not None:
            raise error_of(end.failure, attempts)
        name = end.target.name if end.target is not None else ""  # an answer that was kept may be nobody's
        return Result(
            provider=end.target.provider if end.target is not None else "",
            target=name,
            failover_occurred=end.failover,
            rescued=end.rescued,
            attempts=attempts,
            cost_usd=0.0 if end.cache not in ("", "miss") else cost_of(costs),
            cache=end.cache,
            seconds=max((tried.at_s + tried.seconds for tried in attempts), default=0.0),
            request_id=drive.flight.id,
            left_out=drive.left_out.get(name, ()),
        )


def error_of(failure: Failure, attempts: tuple[Tried, ...] = ()) -> UnbrokenError:
    """The exception that stands for a failure."""
    if failure.kind is FailureKind.DEADLINE:
        return DeadlineExceeded(failure, attempts=attempts)
    if failure.verdict.fault is Fault.CALLER:
        return RequestError(failure, attempts=attempts)
    return TargetsExhausted(failure, attempts=attempts)
