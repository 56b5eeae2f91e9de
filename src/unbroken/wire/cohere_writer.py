"""Answers in Cohere's format (version 2), written: the server side's writers, and its error envelope.

    writer(request) -> Writer                               streamed or plain, as the caller asked
    write_failure(failure, request id) -> status, headers, body

Events that came in this format go out as they are.  Everything else is encoded from the
deltas, each part of the answer between a start and an end of its own.  `message-end` is kept
until the end is certain: usage may come after the finish, and an answer that breaks has none
of it but one that says `ERROR`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Delta, Finish, Request, Response, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.cohere_messages import NAME
from unbroken.wire.framing import UNREADABLE, join_fields, split_fields
from unbroken.wire.http import JSON_TYPE, STREAM_TYPE
from unbroken.wire.media import in_words
from unbroken.wire.openai_chat_writer import write_failure as write_openai_failure
from unbroken.wire.stream_writer import StreamWriter
from unbroken.wire.whole import WholeWriter, passed_on

__all__ = ["broken", "write_failure", "writer"]

_DONE = b"data: [DONE]\n\n"
_FINISHES = {
    Finish.STOP: "COMPLETE",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.TOOL_CALLS: "TOOL_CALL",
    Finish.CONTENT_FILTER: "ERROR_TOXIC",
    Finish.ERROR: "ERROR",
}
_OWN_FINISHES = frozenset(("STOP_SEQUENCE", *_FINISHES.values()))
_encode = msgspec.json.encode

Object = dict[str, Any]


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    return _Streamed() if request.stream else WholeWriter(JSON_TYPE, _write_whole, fail=broken)


# ------------------------------------------------------------------------- streamed


class _Place(msgspec.Struct):
    """Where in an answer an event stands."""

    type: str = ""
    index: int = 0


_PLACE = msgspec.json.Decoder(_Place)


class _Streamed(StreamWriter):
    """Events of one stream.  One part is open at a time: a `text`, a `thinking` or a `call`, with its index."""

    __slots__ = ("_contents", "_ending", "_last", "_open", "_passing", "_started", "_usage", "content_type")

    def __init__(self) -> None:
        self.content_type = STREAM_TYPE
        self._started = self._passing = False
        self._open: tuple[str, int] | None = None
        self._contents = 0
        self._last = Delta()
        self._ending: Delta | None = None
        self._usage: Usage | None = None

    def end(self, outcome: Outcome) -> bytes:
        ending = self._ending
        if ending is not None and ending.format == NAME and not ending.body:
            return _with_outcome(ending.raw, outcome) + _DONE
        parts = list(self._begun(Delta(id=outcome.request_id)))
        parts += self._closed()
        delta: Object = {"finish_reason": _finish_word(ending or Delta()), "usage": _write_usage(self._usage)}
        parts.append(_event("message-end", delta=delta))
        return _with_outcome(b"".join(parts), outcome) + _DONE

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return _event("message-end", **_fault(failure, outcome))

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == NAME and not delta.body:
            self._started = self._passing = True
            if delta.finish is not None:
                self._ending = delta
                return b""
            if b'"content-' in delta.raw:
                self._last = delta
            return delta.raw
        self._usage = delta.usage or self._usage
        if delta.finish is not None:
            self._ending = delta
        return b"".join(self._steps(in_words(delta)))

    def _steps(self, delta: Delta) -> Iterator[bytes]:
        """The events that say what a delta of another format holds."""
        if not (delta.has_content or delta.id):
            return
        yield from self._begun(delta)
        if self._passing:
            self._take_over()
        if delta.reasoning:
            yield from self._said("thinking", delta.reasoning)
        if text := delta.text + delta.refusal:
            yield from self._said("text", text)
        for fragment in delta.tool_calls:
            yield from self._called(fragment)

    def _begun(self, delta: Delta) -> Iterator[bytes]:
        if not self._started:
            self._started = True
            message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
            yield _event("message-start", id=delta.id or "unbroken", delta={"message": message})

    def _take_over(self) -> None:
        """Go on where the events that were passed on stopped."""
        self._passing = False
        try:
            place = _PLACE.decode(self._last.raw[self._last.raw.find(b"{") :])
        except UNREADABLE:
            place = _Place()
        if place.type.startswith("content-"):
            kind = "thinking" if self._last.reasoning else "text"
            self._open = None if place.type == "content-end" else (kind, place.index)
            self._contents = place.index + 1

    def _said(self, kind: str, words: str) -> Iterator[bytes]:
        if self._open is None or self._open[0] != kind:
            yield from self._closed()
            self._open = (kind, self._contents)
            self._contents += 1
            yield _event("content-start", index=self._open[1], delta=_content({"type": kind, kind: ""}))
        yield _event("content-delta", index=self._open[1], delta=_content({kind: words}))

    def _called(self, fragment: ToolFragment) -> Iterator[bytes]:
        if fragment.id or fragment.name:
            yield from self._closed()
            self._open = ("call", fragment.index)
            yield _event("tool-call-start", index=fragment.index, delta=_call(fragment))
        elif fragment.arguments:
            piece = {"function": {"arguments": fragment.arguments}}
            yield _event("tool-call-delta", index=fragment.index, delta={"message": {"tool_calls": piece}})

    def _closed(self) -> Iterator[bytes]:
        """The end of what is open."""
        if self._open is not None:
            kind, index = self._open
            yield _event("tool-call-end" if kind == "call" else "content-end", index=index)
            self._open = None


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + _encode({"type": kind, **fields}) + b"\n\n"


def _content(content: Object) -> Object:
    return {"message": {"content": content}}


def _call(fragment: ToolFragment) -> Object:
    function = {"name": fragment.name, "arguments": fragment.arguments}
    call_id = fragment.id or f"call_{fragment.index}"
    return {"message": {"tool_calls": {"id": call_id, "type": "function", "function": function}}}


def _with_outcome(events: bytes, outcome: Outcome) -> bytes:
    """The events as they are, or the last of them with what happened on the way to it."""
    if not outcome.notable:
        return events
    start = events.rfind(b"data:") + len(b"data:")
    fields = {**split_fields(events[start:]), "unbroken": _encode(outcome.told())}
    return events[:start] + b" " + join_fields(fields) + b"\n\n"


# ---------------------------------------------------------------------------- plain


def _write_whole(deltas: Sequence[Delta], outcome: Outcome) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    answer = fold([in_words(delta) for delta in deltas])
    text = answer.text + answer.refusal
    content = [{"type": "thinking", "thinking": answer.reasoning}] if answer.reasoning else []
    content += [{"type": "text", "text": text}] if text or not answer.tool_calls else []
    calls = [
        {
            "id": call.id or f"call_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(answer.tool_calls)
    ]
    message: Object = {"role": "assistant", **({"content": content} if content else {})}
    if calls:
        message["tool_calls"] = calls
    body = {
        "id": answer.id or outcome.request_id,
        "message": message,
        "finish_reason": _finish_word(answer),
        "usage": _write_usage(answer.usage),
    }
    return _encode(body)


def _finish_word(step: Delta | Response) -> str:
    """The provider's own word where it is one of Cohere's, else ours for it."""
    if step.raw_finish in _OWN_FINISHES:
        return step.raw_finish or ""
    return _FINISHES[step.finish or Finish.STOP]


def _write_usage(usage: Usage | None) -> Object:
    """Other providers' tokens are what is paid for there."""
    usage = usage or Usage()
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    tokens = {**counts, **({"reasoning_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else {})}
    return {"billed_units": counts, "tokens": tokens, "cached_tokens": usage.cached_tokens}


# ------------------------------------------------------------------------- failures


def _fault(failure: Failure, outcome: Outcome) -> Object:
    """How this format ends an answer that failed."""
    return {"delta": {"finish_reason": "ERROR", "error": failure.message}, "unbroken": outcome.told()}


def broken(failure: Failure, outcome: Outcome) -> bytes:
    """The error in place of a plain answer under a good status."""
    return _encode({"message": failure.message, "id": outcome.request_id})


def write_failure(failure: Failure, request_id: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and Cohere's error envelope."""
    status, headers, _ = write_openai_failure(failure, request_id)
    return status, headers, _encode({"id": request_id, "message": failure.message})
