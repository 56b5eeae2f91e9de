"""Pieces of a streamed answer of Gemini's: the elements of an array, calls that come bit by bit.

Elements.feed(bytes) -> [Event]                any split of the bytes gives the same events
Calls.place(call, answer, signature) -> piece  which call it belongs to, and what is new of it
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Json, ToolFragment
from unbroken.wire.framing import EVENT_BYTES_MAX, UNREADABLE, Event
from unbroken.wire.reading import malformed

__all__ = ["Calls", "Elements"]

Object = dict[str, Any]

# ------------------------------------------------------------------------- elements

_MARKS = re.compile(rb'\\.|["{}]', re.DOTALL)


class Elements:
    """The objects of one JSON array, as its bytes arrive; each as the event that it would have been."""

    __slots__ = ("_begin", "_buffer", "_depth", "_quoted", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = self._depth = 0
        self._begin = -1
        self._quoted = False

    def feed(self, data: bytes) -> list[Event] | Failure:
        """The objects that these bytes complete; MALFORMED where one is longer than the limit."""
        self._buffer += data
        events = []
        end = self._scanned
        for mark in _MARKS.finditer(self._buffer, self._scanned):
            end = mark.end()
            if self._mark(mark[0], mark.start()):
                events.append(_event(bytes(self._buffer[self._begin : end])))
                self._begin = -1
        half_escape = end < len(self._buffer) and self._buffer.endswith(b"\\")
        self._forget(len(self._buffer) - half_escape)
        if len(self._buffer) > EVENT_BYTES_MAX:
            self._buffer.clear()
            return malformed(f"an event of the stream is longer than {EVENT_BYTES_MAX} bytes")
        return events

    def _mark(self, mark: bytes, at: int) -> bool:
        """Take note of a quote or a brace; whether an object ends with it."""
        if mark == b'"':
            self._quoted = not self._quoted
        elif self._quoted or mark[0] == 0x5C:
            return False
        elif mark == b"{":
            self._begin = at if self._depth == 0 else self._begin
            self._depth += 1
        elif self._depth:
            self._depth -= 1
            return self._depth == 0
        return False

    def _forget(self, scanned: int) -> None:
        """Let go of what lies before the object that is under way."""
        begin = self._begin if self._begin >= 0 else scanned
        del self._buffer[:begin]
        self._scanned = scanned - begin
        self._begin = 0 if self._begin >= 0 else -1


def _event(element: bytes) -> Event:
    """Line ends stand only between tokens of JSON: without them an element fits into one line."""
    line = element.replace(b"\r", b"").replace(b"\n", b"")
    return Event(line, b"data: " + line + b"\r\n\r\n")


# ---------------------------------------------------------------------------- calls

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]|\['([^']*)'\]")
_ID_CHARS_MAX = 28
"""Of an answer's id in the id of a call: OpenAI takes 40 characters in all."""


class Calls:
    """The calls of one answer so far."""

    __slots__ = ("_arguments", "count")

    def __init__(self) -> None:
        self.count = 0
        self._arguments: Object | None = None

    def place(self, call: Object, *, answer_id: str, signature: str = "") -> ToolFragment | None:
        """What a part says of a call; None where it says nothing yet.

        A call comes at once as a rule.  Where bits of its arguments were asked for (Vertex
        AI), the first part names it, the next ones say what stands at which place of the
        arguments, and one that promises nothing more ends it.
        """
        name, going_on = call.get("name"), bool(call.get("willContinue"))
        begins = isinstance(name, str) and bool(name)
        if begins:
            self.count += 1
            self._arguments = {}
        if self._arguments is None:
            return None
        given = call.get("args")
        if isinstance(given, dict):
            self._arguments.update(given)
        bits = call.get("partialArgs")
        for bit in bits if isinstance(bits, list) else ():
            _add(self._arguments, bit)
        arguments = "" if going_on else _as_json(self._arguments)
        if not going_on:
            self._arguments = None
        if not begins:
            return None if going_on else ToolFragment(index=self.count - 1, arguments=arguments)
        own_id = call.get("id")
        call_id = own_id if isinstance(own_id, str) and own_id else self._invent(answer_id)
        return ToolFragment(index=self.count - 1, id=call_id, name=str(name), arguments=arguments, signature=signature)

    def _invent(self, answer_id: str) -> str:
        """An id that no other call of a conversation has, and that is the same whenever these bytes are read."""
        number = self.count - 1
        return f"call_{answer_id[:_ID_CHARS_MAX]}_{number}" if answer_id else f"call_{number}"


def _as_json(arguments: Object) -> str:
    try:
        return msgspec.json.encode(arguments).decode()
    except UNREADABLE:  # a path of a thousand steps
        return "{}"


def _add(arguments: Object, bit: Json) -> None:
    """Put a bit where it belongs; words go behind the words that are there."""
    path = bit.get("jsonPath") if isinstance(bit, dict) else None
    steps = [_step(found) for found in _STEP.finditer(path)] if isinstance(path, str) else []
    if not steps:
        return
    place: Any = arguments
    for step, following in pairwise(steps):
        place = _inner(place, step, empty=[] if isinstance(following, int) else {})
    last, value = steps[-1], _value(bit)
    before = _inner(place, last, empty=None)
    value = before + value if isinstance(before, str) and isinstance(value, str) else value
    if isinstance(place, dict):
        place[str(last)] = value
    elif isinstance(place, list) and isinstance(last, int) and last < len(place):
        place[last] = value


def _step(found: re.Match[str]) -> str | int:
    name, number, quoted = found.groups()
    return int(number) if number is not None else name if name is not None else quoted


def _inner(place: Any, step: str | int, *, empty: Any) -> Any:
    """What stands at one step, made where nothing is; steps that do not fit, or beyond a list's end, lead nowhere."""
    if isinstance(place, dict):
        return place.setdefault(str(step), empty)
    if not isinstance(place, list) or not isinstance(step, int) or step > len(place):
        return None
    if step == len(place):
        place.append(empty)
    return place[step]


def _value(bit: Object) -> Json:
    names = ("stringValue", "numberValue", "boolValue", "structValue", "listValue")
    return next((bit[name] for name in names if name in bit), None)
