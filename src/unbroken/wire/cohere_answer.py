"""Answers in Cohere's format (version 2), read: the client side's decoder.

    decoder(request, target) -> Decoder    streamed or plain, as the request asked

A stream is events that say what they are in `type`; `message-end` holds the finish reason
and the usage, and ends the answer (a `[DONE]` follows, which says nothing more).  What a model
plans before it calls tools is read as its thoughts.

Two counts come with an answer.  `tokens` is what the model took in and gave out, with the
few hundred tokens that Cohere writes around every prompt; `billed_units` is what is paid
for, and what price lists mean.  Usage holds the first, and its cost is made of the second.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import Delta, Finish, Json, Price, Request, Target, ToolFragment, Usage
from unbroken.wire import Decoder
from unbroken.wire.cohere_messages import NAME
from unbroken.wire.errors import classify_event
from unbroken.wire.event_answers import EventAnswer
from unbroken.wire.framing import UNREADABLE, Event
from unbroken.wire.reading import count_of, fault_in, read_json
from unbroken.wire.whole import Whole

__all__ = ["decoder"]

_FINISHES = {
    "MAX_TOKENS": Finish.LENGTH,
    "TOOL_CALL": Finish.TOOL_CALLS,
    "ERROR_TOXIC": Finish.CONTENT_FILTER,
}
"""Any other word ends an answer well (`COMPLETE`, `STOP_SEQUENCE`), but for these:"""
_FAULTS = frozenset(("ERROR", "TIMEOUT"))


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    function: _Function | None = None
    id: str | None = None


class _Content(msgspec.Struct, gc=False):
    text: str | None = None
    thinking: str | None = None


class _Said(msgspec.Struct, gc=False):
    content: _Content | list[_Content] | str | None = None
    tool_plan: str | None = None
    tool_calls: _Call | list[_Call] | None = None


class _Step(msgspec.Struct, gc=False):
    message: _Said | None = None
    finish_reason: str | None = None
    usage: Any = None
    error: Any = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int | None = None
    id: str | None = None
    delta: _Step | None = None


class _Answer(_Step, gc=False):
    id: str | None = None


_NOTHING = _Said()
_EVENT = msgspec.json.Decoder(_Event)
_ANSWER = msgspec.json.Decoder(_Answer)


def decoder(request: Request, target: Target) -> Decoder:
    """A reader of the answer to this request; the target's prices make its cost."""
    return _Streamed(target.price) if request.stream else Whole(partial(_read_whole, price=target.price))


# ------------------------------------------------------------------------- streamed


class _Streamed(EventAnswer):
    """Events until `message-end`."""

    __slots__ = ("_price",)

    no_end = "the stream ended without message-end"

    def __init__(self, price: Price) -> None:
        super().__init__()
        self._price = price

    def _read_plain(self, body: bytes) -> list[Delta] | Failure:
        return _read_whole(body, price=self._price, raw=False)

    def _read(self, event: Event) -> list[Delta] | Failure:
        delta = self._step(event)
        if isinstance(delta, Failure):
            return delta
        self.done = delta.finish is not None
        return [delta]

    def _step(self, event: Event) -> Delta | Failure:
        if event.data == b"[DONE]":
            return self._cut_off()
        try:
            read = _EVENT.decode(event.data)
        except UNREADABLE:
            return fault_in(read_json(event.data), "an event of the stream cannot be read")
        if read.type == "message-end":
            return _ending(read.delta or _Step(), raw=event.raw, answer_id=read.id or "", price=self._price)
        if read.delta is None:
            return _note(event)
        return _said(read.delta.message or _NOTHING, raw=event.raw, index=read.index or 0, answer_id=read.id or "")


def _note(event: Event) -> Delta | Failure:
    """An event that holds nothing of the answer: the end of a part, an error, a note that is passed on."""
    value = read_json(event.data)
    fault = value if isinstance(value, Failure) else classify_event(value)
    return fault or Delta(format=NAME, raw=event.raw)


# ---------------------------------------------------------------------------- plain


def _read_whole(body: bytes, *, price: Price, raw: bool = True) -> list[Delta] | Failure:
    body = body.strip()
    try:
        answer = _ANSWER.decode(body)
    except UNREADABLE:
        return fault_in(read_json(body), "the answer has not the shape of one")
    if not isinstance(answer.message, _Said) and answer.finish_reason not in _FAULTS:
        return fault_in(read_json(body), "the answer holds no message")
    end = _ending(answer, raw=b"", answer_id=answer.id or "", price=price)
    if isinstance(end, Failure):
        return end
    said = _said(answer.message or _NOTHING, raw=body if raw else b"", index=0, answer_id=answer.id or "")
    return [replace(said, body=raw, usage=end.usage, finish=end.finish, raw_finish=end.raw_finish)]


# ------------------------------------------------------------------- reading the JSON


def _said(said: _Said, *, raw: bytes, index: int, answer_id: str) -> Delta:
    """What an event, or a whole answer, adds; `index` is that of its tool call, or of the first of them."""
    content, calls = said.content, said.tool_calls
    items = content if isinstance(content, list) else [content] if isinstance(content, _Content) else []
    called = calls if isinstance(calls, list) else [calls] if calls else []
    text = content if isinstance(content, str) else "".join([item.text for item in items if item.text])
    return Delta(
        text=text,
        reasoning="".join([item.thinking for item in items if item.thinking]) + (said.tool_plan or ""),
        tool_calls=tuple(_fragment(call, number) for number, call in enumerate(called, index)),
        id=answer_id,
        format=NAME,
        raw=raw,
    )


def _fragment(call: _Call, index: int) -> ToolFragment:
    function = call.function or _Function()
    return ToolFragment(index=index, id=call.id or "", name=function.name or "", arguments=function.arguments or "")


def _ending(step: _Step, *, raw: bytes, answer_id: str, price: Price) -> Delta | Failure:
    """Why an answer ended and what it took; a Failure where its finish reason is one."""
    word = step.finish_reason or ""
    if step.error or word in _FAULTS:
        message = step.error if isinstance(step.error, str) and step.error else f"the answer ended with {word}"
        return fault_in({"message": message}, message)
    return Delta(
        usage=_usage(step.usage, price),
        finish=_FINISHES.get(word, Finish.STOP),
        raw_finish=word or None,
        id=answer_id,
        format=NAME,
        raw=raw,
    )


def _usage(usage: Json, price: Price) -> Usage | None:
    """Tokens as they were taken in and given out; images are counted apart, and belong to the input."""
    if not isinstance(usage, dict):
        return None
    billed, tokens = _counts(usage.get("billed_units")), _counts(usage.get("tokens"))
    counts = tokens or billed
    paid = Usage(input_tokens=billed.get("input_tokens", 0), output_tokens=billed.get("output_tokens", 0))
    return Usage(
        input_tokens=counts.get("input_tokens", 0) + counts.get("image_tokens", 0),
        output_tokens=counts.get("output_tokens", 0),
        cached_tokens=count_of(usage.get("cached_tokens")),
        reasoning_tokens=counts.get("reasoning_tokens", 0),
        cost_usd=price.cost_usd(paid) or None if billed else None,
    )


def _counts(counts: Json) -> dict[str, int]:
    return {name: count_of(value) for name, value in counts.items()} if isinstance(counts, dict) else {}
