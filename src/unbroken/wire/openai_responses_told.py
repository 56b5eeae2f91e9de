"""A response in OpenAI's Responses format as its caller knows it, and the events that tell more of it.

    Told.say(delta)            the events of a step
    Told.end(more)             those that complete it
    Told.fail(error, more)     those that break it off
    Told.recall(steps, last)   takes over from events that somebody else wrote
    Told.response              the response object so far

A response is a list of items (thoughts, a message, calls); a message and thoughts are lists of
parts.  Each begins with an event and ends with one, in order; calls, whose arguments may come
interleaved, are all ended last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from unbroken.types import Delta, Finish, Json, Output, Request, ToolFragment, Usage
from unbroken.wire.framing import Events
from unbroken.wire.media import address_of, in_words
from unbroken.wire.openai_responses_messages import NAME
from unbroken.wire.reading import read_json

__all__ = ["INVENTED", "Told"]

INVENTED = b"_unbroken_"
"""Stands in the ids of items that we made ourselves."""

_ECHOED = (
    "background", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls",
    "previous_response_id", "prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store",
    "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
)  # fmt: skip
"""Fields of a request that its response repeats."""
_ID_CHARS = 24
"""As much of a response's id as stands in the ids of its items, which may have 64 characters."""
_encode = msgspec.json.encode

Object = dict[str, Any]


class _Kind(NamedTuple):
    """A kind of part: the item that holds it, where, and what its events are called."""

    item: str
    list: str
    part: str
    words: str
    place: str
    name: str
    blank: Object
    more: Object


_TEXT = _Kind("message", "content", "response.content_part", "response.output_text", "content_index", "text",
              {"type": "output_text", "annotations": [], "logprobs": []}, {"logprobs": []})  # fmt: skip
_REFUSAL = _Kind("message", "content", "response.content_part", "response.refusal", "content_index", "refusal",
                 {"type": "refusal"}, {})  # fmt: skip
_SUMMARY = _Kind("reasoning", "summary", "response.reasoning_summary_part", "response.reasoning_summary_text",
                 "summary_index", "text", {"type": "summary_text"}, {})  # fmt: skip
_THOUGHT = _Kind("reasoning", "content", "response.content_part", "response.reasoning_text", "content_index", "text",
                 {"type": "reasoning_text"}, {})  # fmt: skip
_KINDS = (_TEXT, _REFUSAL, _SUMMARY, _THOUGHT)
_BY_WORDS = {f"{kind.words}.delta": kind for kind in _KINDS}
_PARTS_BEGIN = frozenset(("response.reasoning_part.added", *(f"{kind.part}.added" for kind in _KINDS)))
_PARTS_END = frozenset(("response.reasoning_part.done", *(f"{kind.part}.done" for kind in _KINDS)))
_BY_TYPE = {kind.blank["type"]: kind for kind in _KINDS}


class _Part:
    """The part whose words are coming, and its place in the list of its item."""

    __slots__ = ("at", "kind", "value", "words")

    def __init__(self, kind: _Kind, value: Object, *, at: int) -> None:
        self.kind, self.at, self.value = kind, at, value
        self.words: list[str] = []

    def fill(self) -> str:
        """Write the words down in the response; all of them."""
        text = str(self.value.get(self.kind.name) or "") + "".join(self.words)
        self.value[self.kind.name] = text
        self.words.clear()
        return text


class Told:
    """One response.  `otherwise_id` is its id where no delta brings one."""

    __slots__ = ("_at", "_calls", "_finish", "_head", "_item", "_items", "_number", "_otherwise_id", "_part",
                 "_refused", "_request", "_status", "_usage")  # fmt: skip

    def __init__(self, request: Request, *, otherwise_id: str = "resp_unbroken") -> None:
        self._request, self._otherwise_id = request, otherwise_id
        self._head: Object | None = None
        self._number = 0
        self._items: dict[int, Object] = {}
        self._item: Object | None = None
        self._at = 0
        self._part: _Part | None = None
        self._calls: dict[int, tuple[int, list[str]]] = {}
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._refused = False
        self._status = "in_progress"

    @property
    def response(self) -> Object:
        """The response object as it stands."""
        cut_short = {"reason": _reason(self._finish)} if self._status == "incomplete" else None
        return {
            **(self._head or self._new_head(Delta())),
            "status": self._status,
            "incomplete_details": cut_short,
            "output": [self._items[at] for at in sorted(self._items)],
            "usage": None if self._usage is None else _write_usage(self._usage),
        }

    # -- what is told

    def say(self, delta: Delta) -> bytes:
        """The events of a step; answers beside the first have no place in this format."""
        if delta.choice:
            return b""
        events = list(self._begin(delta))
        for kind, words in ((_SUMMARY, delta.reasoning), (_TEXT, delta.text), (_REFUSAL, delta.refusal)):
            if words:
                events += self._add(kind, words)
        for output in delta.outputs:
            events += self._draw(output)
        for fragment in delta.tool_calls:
            events += self._call(fragment)
        self._finish = delta.finish or self._finish
        self._usage = delta.usage or self._usage
        self._refused = self._refused or bool(delta.refusal)
        return b"".join(events)

    def end(self, more: Mapping[str, Json]) -> bytes:
        """The events that complete the response; `more` stands in the last one."""
        cut = self._finish is Finish.LENGTH or (self._finish is Finish.CONTENT_FILTER and not self._refused)
        status = "incomplete" if cut else "completed"
        events = [*self._begin(Delta()), *self._close_item(status), *self._close_calls()]
        self._status = status
        events.append(self._event(f"response.{status}", response=self.response, **more))
        return b"".join(events)

    def fail(self, error: Object, more: Mapping[str, Json]) -> bytes:
        """The events that break the response off: what went wrong, and what there is of it."""
        begin = b"".join(self._begin(Delta()))
        if self._part is not None:
            self._part.fill()
        known = {name: error.get(name) for name in ("code", "message", "param")}
        event = self._event("error", **known, error=error, **more)
        self._status = "failed"
        response = {**self.response, "error": {"code": known["code"], "message": known["message"]}}
        return begin + event + self._event("response.failed", response=response)

    # -- its parts

    def _event(self, kind: str, **fields: Json) -> bytes:
        body = _encode({"type": kind, **fields, "sequence_number": self._number})
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"

    def _begin(self, delta: Delta) -> Iterator[bytes]:
        if self._head is None:
            self._head = self._new_head(delta)
            yield self._event("response.created", response=self.response)
            yield self._event("response.in_progress", response=self.response)

    def _new_head(self, delta: Delta) -> Object:
        """What a response says of itself and of its request; no clock is asked for the time."""
        source = self._request.source
        fields = source.fields if source is not None and source.format == NAME else {}
        known = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "temperature": None, "top_p": None,
                 "instructions": None, "metadata": {}}  # fmt: skip
        asked = {name: msgspec.Raw(fields[name]) for name in _ECHOED if fields.get(name, b"null") != b"null"}
        own_id = delta.id if delta.id.startswith("resp_") or not delta.id else f"resp_{delta.id}"
        return {
            "id": own_id or self._otherwise_id,
            "object": "response",
            "created_at": 0,
            "error": None,
            "model": delta.model or self._request.model,
            **known,
            **asked,
        }

    def _add(self, kind: _Kind, words: str) -> Iterator[bytes]:
        """More words of a kind."""
        if self._part is None or self._part.kind is not kind:
            yield from self._open_part(kind)
        assert self._part is not None
        self._part.words.append(words)
        yield self._event(f"{kind.words}.delta", **self._where(self._part), delta=words, **kind.more)

    def _open_part(self, kind: _Kind) -> Iterator[bytes]:
        yield from self._close_part()
        if self._item is None or self._item.get("type") != kind.item:
            yield from self._close_item()
            yield self._open_item(_new_item(kind), "msg" if kind.item == "message" else "rs")
        assert self._item is not None
        parts = self._item[kind.list]
        self._part = _Part(kind, {**kind.blank, kind.name: ""}, at=len(parts))
        parts.append(self._part.value)
        yield self._event(f"{kind.part}.added", **self._where(self._part), part=self._part.value)

    def _close_part(self) -> Iterator[bytes]:
        part, self._part = self._part, None
        if part is None:
            return
        text = part.fill()
        where = self._where(part)
        yield self._event(f"{part.kind.words}.done", **where, **{part.kind.name: text}, **part.kind.more)
        yield self._event(f"{part.kind.part}.done", **where, part=part.value)

    def _open_item(self, item: Object, prefix: str) -> bytes:
        self._at = max(self._items, default=-1) + 1
        assert self._head is not None
        tail = str(self._head.get("id"))[-_ID_CHARS:]
        self._item = self._items[self._at] = {"id": f"{prefix}{INVENTED.decode()}{self._at}_{tail}", **item}
        return self._event("response.output_item.added", output_index=self._at, item=self._item)

    def _close_item(self, status: str = "completed") -> Iterator[bytes]:
        yield from self._close_part()
        item, self._item = self._item, None
        if item is not None:
            yield self._done(self._at, item, status=status)

    def _done(self, at: int, item: Object, *, status: str) -> bytes:
        if "status" in item:
            item["status"] = status
        return self._event("response.output_item.done", output_index=at, item=item)

    def _where(self, part: _Part) -> Object:
        item_id = "" if self._item is None else str(self._items[self._at].get("id") or "")
        return {"item_id": item_id, "output_index": self._at, part.kind.place: part.at}

    def _draw(self, output: Output) -> Iterator[bytes]:
        """A picture, as if a tool of the provider's had drawn it: this format knows no other."""
        inline = address_of(output).partition(";base64,")[2]
        if not inline:
            yield from self._add(_TEXT, in_words(Delta(outputs=(output,))).text)
            return
        yield from self._close_item()
        item = {"type": "image_generation_call", "status": "in_progress", "result": None}
        yield self._open_item(item, "ig")
        assert self._item is not None
        self._item["result"] = inline
        yield from self._close_item()

    def _call(self, fragment: ToolFragment) -> Iterator[bytes]:
        """More of a call; its item stays open, for other calls' fragments may come before its last."""
        if fragment.index not in self._calls:
            yield from self._close_item()
            call_id = fragment.id or f"call_{fragment.index}"
            yield self._open_item(_new_call(call_id, fragment.name), "fc")
            self._item = None
            self._calls[fragment.index] = (self._at, [])
        at, pieces = self._calls[fragment.index]
        if fragment.arguments:
            pieces.append(fragment.arguments)
            where = {"item_id": self._items[at]["id"], "output_index": at}
            yield self._event("response.function_call_arguments.delta", **where, delta=fragment.arguments)

    def _close_calls(self) -> Iterator[bytes]:
        for at, pieces in self._calls.values():
            item = self._items[at]
            item["arguments"] = "".join(pieces)
            where = {"item_id": item["id"], "output_index": at, "arguments": item["arguments"]}
            yield self._event("response.function_call_arguments.done", **where)
            yield self._done(at, item, status="completed")

    # -- what somebody else told

    def recall(self, steps: list[bytes | str], last: bytes) -> None:
        """Take over a response from its events; a bare text goes on with the words of the event before it.

        `last` is the last event, which may stand among the steps as a text.
        """
        for step in steps:
            if isinstance(step, bytes):
                self._recall_one(_event_in(step))
            else:
                assert self._part is not None
                self._part.words.append(step)
        self._recall_number(_event_in(last))

    def _recall_number(self, event: Object) -> None:
        number = event.get("sequence_number")
        if type(number) is int:
            self._number = max(self._number, number + 1)

    def _recall_one(self, event: Object) -> None:
        self._recall_number(event)
        kind = str(event.get("type"))
        match kind:
            case "response.created" | "response.in_progress" | "response.queued":
                self._head = event["response"] if isinstance(event.get("response"), dict) else self._head
            case "response.output_item.added":
                self._recall_item(event)
            case "response.output_item.done":
                self._recall_item(event)
                self._item = None
            case _ if kind in _PARTS_BEGIN:
                self._recall_part(event)
            case _ if kind in _PARTS_END:
                self._end_part()
            case _ if kind in _BY_WORDS:
                self._recall_words(_BY_WORDS[kind], event)

    def _recall_item(self, event: Object) -> None:
        if isinstance(event.get("item"), dict):
            self._end_part()
            self._at, self._item = _index(event, "output_index"), event["item"]
            self._items[self._at] = event["item"]

    def _recall_part(self, event: Object) -> None:
        value = event.get("part")
        kind = _BY_TYPE.get(str(value.get("type"))) if isinstance(value, dict) else None
        if kind is not None:
            self._recall_open(kind, event, value=event["part"])

    def _recall_words(self, kind: _Kind, event: Object) -> None:
        """Words; some providers send them without the part, or the item, that they belong to."""
        part = self._part
        if part is None or part.kind is not kind:
            part = self._recall_open(kind, event, value={**kind.blank, kind.name: ""})
        part.words.append(str(event.get("delta") or ""))

    def _recall_open(self, kind: _Kind, event: Object, *, value: Object) -> _Part:
        self._end_part()
        item = self._item
        if item is None or item.get("type") != kind.item:
            self._at = _index(event, "output_index")
            item = self._item = self._items[self._at] = {"id": event.get("item_id"), **_new_item(kind)}
        if not isinstance(item.get(kind.list), list):
            item[kind.list] = []
        item[kind.list].append(value)
        self._part = _Part(kind, value, at=_index(event, kind.place))
        return self._part

    def _end_part(self) -> None:
        if self._part is not None:
            self._part.fill()
            self._part = None


def _event_in(raw: bytes) -> Object:
    """The payload of one event as it stood in a stream; empty where it is no object."""
    events = Events().feed(raw)
    value = read_json(events[0].data) if isinstance(events, list) and events else None
    return value if isinstance(value, dict) else {}


def _index(event: Object, name: str) -> int:
    index = event.get(name)
    return index if type(index) is int else 0


def _new_item(kind: _Kind) -> Object:
    if kind.item == "reasoning":
        return {"type": "reasoning", "summary": []}
    return {"type": "message", "status": "in_progress", "role": "assistant", "content": []}


def _new_call(call_id: str, name: str) -> Object:
    return {"type": "function_call", "status": "in_progress", "call_id": call_id, "name": name, "arguments": ""}


def _reason(finish: Finish | None) -> str:
    return "content_filter" if finish is Finish.CONTENT_FILTER else "max_output_tokens"


def _write_usage(usage: Usage) -> Object:
    taken = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    body: Object = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": taken,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return body if usage.cost_usd is None else {**body, "cost": usage.cost_usd}
