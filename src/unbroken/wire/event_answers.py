"""Answers that come as a stream of events: what the decoders of all formats that stream so have in common.

Content types are not to be relied on: a plain answer that comes in place of a stream is read
all the same, and a stream in place of a plain answer too (`is_stream`, `EventAnswer.folded`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import msgspec
from mypy_extensions import mypyc_attr

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Delta
from unbroken.wire import Next
from unbroken.wire.framing import UNREADABLE, Event, Events, join_fields, split_fields
from unbroken.wire.reading import BLANK, HTML, malformed
from unbroken.wire.whole import Whole

__all__ = ["EventAnswer", "apart", "is_stream"]


def is_stream(body: bytes) -> bool:
    """Whether a body is a stream of events."""
    return body.startswith((b"data:", b"event:", b":"))


def apart(payload: bytes, field: str, *, count: int, once: str, end: bytes = b"\n\n") -> list[bytes]:
    """An event for each of the `count` items in a field, so that each can go its own way; only the first has `once`.

    Where the payload cannot be taken apart they have no bytes.
    """
    try:
        fields = split_fields(payload)
        items = msgspec.json.decode(fields[field], type=list[msgspec.Raw])
    except (*UNREADABLE, KeyError):
        items = []
    if len(items) != count:
        return [b""] * count
    events = []
    for item in items:
        fields[field] = b"[" + bytes(item) + b"]"
        events.append(b"data: " + join_fields(fields).replace(b"\n", b"") + end)
        fields.pop(once, None)
    return events


class Cutter(Protocol):
    """Cuts bytes into events, as `Events` does."""

    def feed(self, data: bytes) -> list[Event] | Failure: ...

    def close(self) -> list[Event] | Failure: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class EventAnswer(ABC):
    """A decoder of one stream.  Text that shares its bytes with a failure is not reported: nobody has seen it yet.

    A format says what an event means, what a plain answer does, and when all was said.
    """

    __slots__ = ("_begun", "_events", "_plain", "done")

    no_end: ClassVar[str]
    """What is wrong with a stream that stopped before its end."""
    plain_begins: ClassVar[bytes] = b"{["
    """The bytes with which a plain answer begins, or an error, that came in place of a stream."""

    def __init__(self, events: Cutter | None = None) -> None:
        self.done = self._begun = False
        self._events: Cutter = events or Events()
        self._plain: Whole | None = None

    @abstractmethod
    def _read(self, event: Event) -> list[Delta] | Failure:
        """What one event says; it sets `done` where it is the last."""

    @abstractmethod
    def _read_plain(self, body: bytes) -> list[Delta] | Failure | Next:
        """What a plain answer says, of which no bytes can be passed on: they fit into no stream."""

    def _has_finished(self) -> bool:
        """Whether an answer is whole although no last event came."""
        return False

    def _cut_off(self) -> Failure:
        """Why an answer is not whole."""
        return Failure(kind=FailureKind.TRUNCATED, message=self.no_end)

    def feed(self, data: bytes) -> list[Delta] | Failure:
        if self._begun:
            return self._steps(self._events.feed(data)) if self._plain is None else self._plain.feed(data)
        data = data.lstrip(BLANK)
        if not data:
            return []
        if data.startswith(b"<"):
            return malformed(HTML)
        self._begun = True
        if data[0] in self.plain_begins:
            self._plain = Whole(self._read_plain)
        return self.feed(data)

    def close(self) -> list[Delta] | Failure | Next:
        if self._plain is None:
            return self._rest()
        found = self._plain.close()
        self.done = self._plain.done
        return found

    def _rest(self) -> list[Delta] | Failure:
        """What was left when the stream was over."""
        rest = [] if self.done else self._steps(self._events.close())
        cut_short = isinstance(rest, Failure) and rest.kind is FailureKind.MALFORMED
        self.done = self.done or self._has_finished()
        if self.done:
            return [] if cut_short else rest
        return self._cut_off() if cut_short or not isinstance(rest, Failure) else rest

    def _steps(self, events: list[Event] | Failure) -> list[Delta] | Failure:
        if isinstance(events, Failure):
            return events
        if len(events) == 1 and not self.done:
            return self._read(events[0])
        deltas: list[Delta] = []
        for event in events:
            if self.done:
                break
            said = self._read(event)
            if isinstance(said, Failure):
                return said
            deltas += said
        return deltas

    def folded(self, body: bytes) -> list[Delta] | Failure:
        """All that a stream says which came in place of a plain answer, and whose bytes fit into none."""
        steps = self.feed(body)
        rest = steps if isinstance(steps, Failure) else self._rest()
        if isinstance(steps, Failure) or isinstance(rest, Failure):
            return rest
        return [replace(delta, raw=b"") for delta in steps + rest]
