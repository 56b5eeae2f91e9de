"""Answers in Ollama's own format, read: the client side's decoder.

    decoder(request, target) -> Decoder    streamed or plain, as the request asked

A stream is one JSON object a line, the last of which has `done`; an error may come as a line
too, under a good status.  A plain answer is the same object once.  Tool calls are never cut
into pieces, and a model that calls tools says `stop` all the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Request, Target, ToolFragment, Usage
from unbroken.wire import Decoder
from unbroken.wire.framing import EVENT_BYTES_MAX, UNREADABLE
from unbroken.wire.ollama_messages import NAME
from unbroken.wire.reading import count_of, fault_in, malformed, read_json
from unbroken.wire.whole import Whole

__all__ = ["Lines", "decoder"]

_NO_END = "the stream ended without a line that says done"
_NOT_DONE = "the answer says that it is not done"
_FINISHES = {"length": Finish.LENGTH, "content_filter": Finish.CONTENT_FILTER}
"""Any other word ends an answer well: `stop`, `load` (nothing was asked but to load the model), `unload`."""


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Call(msgspec.Struct, gc=False):
    function: _Function
    id: str | None = None


class _Said(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Said | None = None
    model: str | None = ""
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None


_LINE = msgspec.json.Decoder(_Line)


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else Whole(_whole)


class Lines:
    """A body of lines, read as its bytes arrive; a line is MALFORMED that is longer than the limit."""

    __slots__ = ("_bytes_max", "_parts", "_size")

    def __init__(self, *, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes] | Failure:
        """The lines that these bytes complete, without their ends; empty ones are passed over."""
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            lines.append(self._joined(piece))
            if len(lines[-1]) > self._bytes_max:
                return self._too_long()
        self._size += len(rest)
        if self._size > self._bytes_max:
            return self._too_long()
        if rest:
            self._parts.append(rest)
        return [line for line in map(bytes.strip, lines) if line]

    def close(self) -> list[bytes]:
        """The last line, whose end never came."""
        line = self._joined(b"").strip()
        return [line] if line else []

    def _joined(self, piece: bytes) -> bytes:
        if not self._parts:
            return piece
        line = b"".join([*self._parts, piece])
        self._parts.clear()
        self._size = 0
        return line

    def _too_long(self) -> Failure:
        self._parts.clear()
        self._size = 0
        return malformed(f"a line of the stream is longer than {self._bytes_max} bytes")


class _Streamed:
    """Lines until one says done.  Text that shares its bytes with a failure is not reported."""

    __slots__ = ("_calls", "_lines", "done")

    def __init__(self) -> None:
        self.done = False
        self._lines = Lines()
        self._calls = 0

    def feed(self, data: bytes) -> list[Delta] | Failure:
        return self._steps(self._lines.feed(data))

    def close(self) -> list[Delta] | Failure:
        last = [] if self.done else self._lines.close()
        rest = self._steps(last)
        half = isinstance(rest, Failure) and rest.kind is FailureKind.MALFORMED and last[0].startswith(b"{")
        if self.done or (isinstance(rest, Failure) and not half):
            return rest
        return Failure(kind=FailureKind.TRUNCATED, message=_NO_END)

    def _steps(self, lines: list[bytes] | Failure) -> list[Delta] | Failure:
        if isinstance(lines, Failure):
            return lines
        deltas: list[Delta] = []
        for line in lines:
            if self.done:
                break
            delta = _read(line, calls=self._calls)
            if isinstance(delta, Failure):
                return delta
            deltas.append(delta)
            self._calls += len(delta.tool_calls)
            self.done = delta.finish is not None
        return deltas


def _whole(body: bytes) -> list[Delta] | Failure:
    body = body.strip()
    delta = _read(body, calls=0, plain=True)
    if isinstance(delta, Failure):
        return delta
    return [delta] if delta.finish else Failure(kind=FailureKind.TRUNCATED, message=_NOT_DONE)


def _read(payload: bytes, *, calls: int, plain: bool = False) -> Delta | Failure:
    """One object of an answer; `calls` tools were called before it."""
    try:
        line = _LINE.decode(payload)
        said = line.message
        if said is None or line.error:
            return fault_in(read_json(payload), "the answer holds no message")
        fragments = tuple(_fragment(call, index) for index, call in enumerate(said.tool_calls or (), calls))
    except UNREADABLE:
        return fault_in(read_json(payload), "the answer holds no message")
    return Delta(
        text=said.content or "",
        reasoning=said.thinking or "",
        tool_calls=fragments,
        usage=_usage(line) if line.done else None,
        finish=_finish(line, called=bool(calls or fragments)) if line.done else None,
        raw_finish=line.done_reason,
        model=line.model or "",
        format=NAME,
        raw=payload if plain else payload + b"\n",
        body=plain,
    )


def _fragment(call: _Call, index: int) -> ToolFragment:
    """A whole call, its arguments as the text that they were."""
    raw = bytes(call.function.arguments)
    text = msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else raw.decode()
    return ToolFragment(
        index=index,
        id=call.id or "",
        name=call.function.name,
        arguments="{}" if text == "null" else text,
    )


def _finish(line: _Line, *, called: bool) -> Finish:
    found = _FINISHES.get(line.done_reason or "", Finish.STOP)
    return Finish.TOOL_CALLS if called and found is Finish.STOP else found


def _usage(line: _Line) -> Usage:
    """Thoughts count as output, and nobody says how many they were; a prompt that was cached is not counted."""
    return Usage(input_tokens=count_of(line.prompt_eval_count), output_tokens=count_of(line.eval_count))
