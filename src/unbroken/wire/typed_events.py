"""Streams whose events say their own `type`, as OpenAI's pictures, speech and transcripts do.

A table from type to reader says what an event means; an event of a type that is not in it is
passed on and means nothing.  A stream is whole when one of its `ends` came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Delta, Json
from unbroken.wire import Outcome
from unbroken.wire.errors import classify_event
from unbroken.wire.framing import UNREADABLE, Event, Events
from unbroken.wire.http import STREAM_TYPE
from unbroken.wire.reading import malformed
from unbroken.wire.stream_writer import StreamWriter

__all__ = ["TypedEvents", "TypedWriter"]

_DONE = b"[DONE]"
Object = dict[str, Json]
Read = Callable[[Object], Delta]


class TypedEvents:
    """A decoder of one stream; `readers` are by type, `ends` the types after which nothing has to come."""

    __slots__ = ("_ended", "_ends", "_events", "_name", "_readers", "done")

    def __init__(self, name: str, readers: Mapping[str, Read], *, ends: frozenset[str]) -> None:
        self.done = self._ended = False
        self._name, self._readers, self._ends = name, readers, ends
        self._events = Events()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The events say everything themselves."""

    def feed(self, data: bytes) -> list[Delta] | Failure:
        return self._deltas(self._events.feed(data))

    def close(self) -> list[Delta] | Failure:
        deltas = self._deltas(self._events.close())
        if isinstance(deltas, list) and not self._ended:
            return Failure(kind=FailureKind.TRUNCATED, message="the stream stopped before its end")
        return deltas

    def _deltas(self, events: list[Event] | Failure) -> list[Delta] | Failure:
        if isinstance(events, Failure):
            return events
        deltas: list[Delta] = []
        for event in events:
            if event.data == _DONE:
                self.done = self._ended = True
                return [*deltas, Delta(format=self._name, raw=event.raw)]
            delta = self._delta(event)
            if isinstance(delta, Failure):
                return delta
            deltas.append(delta)
        return deltas

    def _delta(self, event: Event) -> Delta | Failure:
        try:
            value = msgspec.json.decode(event.data)
        except UNREADABLE:
            return malformed("an event of the stream is not JSON")
        if not isinstance(value, dict):
            return malformed("an event of the stream is no object")
        if failure := classify_event(value):
            return failure
        kind = str(value.get("type"))
        self._ended = self._ended or kind in self._ends
        reader = self._readers.get(kind)
        try:
            delta = Delta() if reader is None else reader(value)
        except ValueError as error:
            return malformed(f"an event {kind[:60]!r} cannot be read: {error}")
        return replace(delta, format=self._name, raw=event.raw)


class TypedWriter(StreamWriter):
    """A writer of such a stream: events of the same format go out as they came, others are made by `events`."""

    __slots__ = ("_error", "_events", "_finish", "_name", "_passes", "content_type")

    def __init__(
        self,
        name: str,
        events: Callable[[Delta], Sequence[Object]],
        *,
        finish: Callable[[], Sequence[Object]],
        error: Callable[[Failure], Json],
    ) -> None:
        self.content_type = STREAM_TYPE
        self._name, self._events, self._finish, self._error = name, events, finish, error
        self._passes = False

    def end(self, outcome: Outcome) -> bytes:
        return b"" if self._passes else _lines(self._finish())

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return _lines([{"type": "error", "error": self._error(failure)}])

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == self._name and not delta.body:
            self._passes = True
            return delta.raw
        return _lines(self._events(delta))


def _lines(events: Sequence[Object]) -> bytes:
    return b"".join([
        b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), msgspec.json.encode(event)) for event in events
    ])  # fmt: skip
