"""Facts as spans and histograms for OpenTelemetry: a span for each attempt under one for its request.

Nothing is made while a request is under way: its facts are put aside, and when it is over they
become spans with the times that they tell.  The only thing done on the way of a request is to
write the trace into what a provider is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    CacheAnswered,
    Fact,
    FlightEnded,
    Queued,
)
from unbroken.failures import Fault
from unbroken.ports import Clock
from unbroken.sinks.genai import End, attempt_said, operation, request_said
from unbroken.sinks.otlp import identity, span, traces_message, unique
from unbroken.sinks.plain import Plain
from unbroken.sinks.sender import Sender
from unbroken.sinks.trace_context import STATE, TRACEPARENT, Place, Sampler, parent_of
from unbroken.telemetry import Exporting
from unbroken.types import HttpRequest, Task

__all__ = ["Traces"]

FLIGHTS_MAX = 20_000
"""Requests under way whose facts are kept; more than can be, so that lost facts do not add up."""
_KEPT = frozenset((
    AttemptStarted, AttemptAnswered, AttemptFailed, AttemptAbandoned, CacheAnswered, Queued, FlightEnded,
))  # fmt: skip


class Traces:
    """A sink that sends spans."""

    def __init__(
        self, settings: Exporting, sender: Sender, *, clock: Clock, wall: Callable[[], float], version: str
    ) -> None:
        """`wall` gives seconds since 1970."""
        self._settings, self._sender, self._version = settings, sender, version
        self._clock, self._wall = clock, wall
        self._sampler = Sampler(settings.sampler, settings.share)
        self._places: dict[str, Place] = {}
        self._stories: dict[str, _Story] = {}
        self._spans: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._plain = Plain()

    @property
    def dropped(self) -> int:
        """Spans that were made and never arrived."""
        return self._sender.dropped

    @property
    def sent(self) -> int:
        """Spans that arrived."""
        return self._sender.sent

    # -- on the way of a request

    def join(self, flight: str, headers: Mapping[str, str]) -> None:
        """A request came in with these headers; it may be part of a trace."""
        parent = parent_of(headers)
        if parent is not None:
            self._keep(flight, Place(flight, parent))

    def marked(self, request: HttpRequest, flight: str, *, number: int) -> HttpRequest:
        """The request of an attempt as its provider is to get it."""
        if not self._settings.propagate:
            return request
        place = self._places.get(flight) or self._keep(flight, Place(flight, None))
        headers = {**request.headers, TRACEPARENT: place.header(number, sampled=self._sampler.keeps(place))}
        if place.state:
            headers[STATE] = place.state
        return HttpRequest(
            method=request.method, url=request.url, headers=headers, body=request.body, unsaid=request.unsaid
        )

    def _keep(self, flight: str, place: Place) -> Place:
        if len(self._places) >= FLIGHTS_MAX:
            del self._places[next(iter(self._places))]
        self._places[flight] = place
        return place

    # -- off the way

    def write(self, facts: list[Fact]) -> None:
        """Put facts aside, and make spans of those whose request is over."""
        stories, offset_s = self._stories, self._wall() - self._clock()
        told: Any
        for told in facts:
            kind = told.__class__
            if kind not in _KEPT:
                continue
            story = stories.get(told.flight) or self._begun(told.flight)
            if kind is AttemptStarted:
                story.began[told.number] = told
            elif kind is FlightEnded:
                del stories[told.flight]
                self._over(told, story, offset_s=offset_s)
            else:
                story.take(told)
        self._send_soon()

    def _begun(self, flight: str) -> _Story:
        story = self._stories[flight] = _Story()
        if len(self._stories) > FLIGHTS_MAX:
            del self._stories[next(iter(self._stories))]
        return story

    async def drain(self, grace_s: float = 2.0) -> None:
        """Send what there is, and wait for so long at most until it has arrived."""
        self._send()
        await self._sender.close(grace_s)

    def _over(self, ended: FlightEnded, story: _Story, *, offset_s: float) -> None:
        place = self._places.pop(ended.flight, None) or Place(ended.flight, None)
        if self._sampler.keeps(place):
            began = story.began
            self._spans.append(self._request(place, story, ended=ended, offset_s=offset_s))
            self._spans += [
                self._attempt(place, end, began=began[end.number], offset_s=offset_s)
                for end in story.ends
                if end.number in began
            ]

    def _request(self, place: Place, story: _Story, *, ended: FlightEnded, offset_s: float) -> bytes:
        failure, parent = ended.failure, place.parent
        done = operation(next(iter(story.began.values())).task if story.began else Task.CHAT)
        by = ended.target.name if ended.target is not None else ""
        kind = failure.kind.value if failure is not None else ""
        how = (ended.failover, ended.rescued, story.cache)
        said = request_said(done, ended.route, by=by, attempts=ended.attempts, how=how, error=kind)
        ours = failure is not None and failure.verdict.fault is not Fault.CALLER
        return span(
            identity(place.trace, place.id(), parent=parent.id if parent is not None else b"", state=place.state),
            said + unique("unbroken.request_id", ended.flight),
            when_ns=_when_ns(ended.at - ended.total_s - story.waited_s + offset_s, ended.at + offset_s),
            error=self._plain(failure.message) if failure is not None and ours else None,
            remote=parent is not None,
        )

    def _attempt(self, place: Place, end: End, *, began: AttemptStarted, offset_s: float) -> bytes:
        return span(
            identity(place.trace, place.id(end.number), parent=place.id(), state=place.state),
            attempt_said(began, end),
            when_ns=_when_ns(began.at + offset_s, end.at + offset_s),
            error=self._plain(end.failure.message, end.target) if isinstance(end, AttemptFailed) else None,
        )

    def _send_soon(self) -> None:
        if len(self._spans) >= self._settings.batch_max:
            self._send()
        elif self._spans and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._settings.delay_s, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        spans, self._spans = self._spans, []
        size = self._settings.batch_max
        for at in range(0, len(spans), size):
            batch = spans[at : at + size]
            message = traces_message(batch, resource=self._settings.resource, version=self._version)
            self._sender.send(message, weight=len(batch))


class _Story:
    """What was told of a request so far."""

    __slots__ = ("began", "cache", "ends", "waited_s")

    def __init__(self) -> None:
        self.began: dict[int, AttemptStarted] = {}
        self.ends: list[End] = []
        self.waited_s, self.cache = 0.0, ""

    def take(self, fact: End | Queued | CacheAnswered) -> None:
        """Anything but the beginning of an attempt and the end of all."""
        if isinstance(fact, Queued):
            self.waited_s += fact.waited_s
        elif isinstance(fact, CacheAnswered):
            self.cache = fact.how
        else:
            self.ends.append(fact)


def _when_ns(began_s: float, ended_s: float) -> tuple[int, int]:
    return int(began_s * 1e9), int(ended_s * 1e9)
