"""Answers in Anthropic's Messages format, read: the client side's decoder.

    decoder(request, target) -> Decoder    streamed or plain, as the request asked

A stream is one message whose content comes block by block, each with its index: text,
thinking, calls of tools, and what Anthropic's own tools did.  Every event keeps its bytes
(`Delta.raw`) but for `message_stop`, which a writer writes itself; blocks that are not
modelled are passed on and counted as media, so that nobody goes on after them as if there
had been words only.  A `ping` is passed on and is no progress.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Json, Request, Target, ToolFragment, Usage
from unbroken.wire import Decoder
from unbroken.wire.anthropic_arguments import arguments_of
from unbroken.wire.event_answers import EventAnswer, is_stream
from unbroken.wire.framing import UNREADABLE, Event
from unbroken.wire.reading import BLANK, count_of, malformed, read_object, string_of
from unbroken.wire.whole import Whole

__all__ = ["NAME", "decoder", "read_usage"]

NAME = "anthropic"

_FINISHES = {
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.CONTENT_FILTER,
}
"""Any other word ends an answer well (`end_turn`, `stop_sequence`, `pause_turn`), but for these of other servers:"""
_FAULTS = {
    "error": FailureKind.SERVER,
    "malformed_tool_use": FailureKind.MODEL_FAULT,
    "malformed_model_output": FailureKind.MODEL_FAULT,
}
Object = dict[str, Any]


class _Block(msgspec.Struct, gc=False):
    """A block of content, whole or as it begins; a call's input is left as it stood."""

    type: Any = ""
    id: Any = ""
    name: Any = ""
    text: Any = ""
    thinking: Any = ""
    signature: Any = ""
    input: msgspec.Raw = msgspec.Raw(b"")


class _Message(msgspec.Struct, gc=False):
    """A whole answer, or the head of a streamed one."""

    id: Any = ""
    model: Any = ""
    type: Any = ""
    content: list[_Block] | None = None
    stop_reason: Any = None
    stop_details: Any = None
    usage: Any = None
    error: Any = None


class _Step(msgspec.Struct, gc=False):
    """The `delta` of an event: more of a block, or how the message ended."""

    type: Any = ""
    text: Any = ""
    thinking: Any = ""
    signature: Any = ""
    partial_json: Any = ""
    stop_reason: Any = None
    stop_details: Any = None


class _Event(msgspec.Struct, gc=False):
    type: Any = ""
    index: Any = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Step | None = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_MESSAGE = msgspec.json.Decoder(_Message)
_NO_BLOCK, _NO_STEP, _NO_MESSAGE = _Block(), _Step(), _Message()


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else Whole(_read_whole)


# ------------------------------------------------------------------------- streamed


class _Call:
    """A call of a tool in a stream: its place among the calls, and whether its arguments have come."""

    __slots__ = ("index", "input", "told")

    def __init__(self, index: int, given: bytes) -> None:
        self.index, self.input, self.told = index, given, False


class _Streamed(EventAnswer):
    """Events of one message."""

    __slots__ = ("_calls", "_finished", "_id", "_model", "_usage")

    no_end = "the stream ended without message_stop and without a stop reason"

    def __init__(self) -> None:
        super().__init__()
        self._finished = False
        self._calls: dict[int, _Call] = {}
        self._usage: Object = {}
        self._id = self._model = ""

    def _has_finished(self) -> bool:
        return self._finished

    def _read_plain(self, body: bytes) -> list[Delta] | Failure:
        return _read_whole(body, raw=False)

    def _read(self, event: Event) -> list[Delta] | Failure:
        if event.data.startswith(b"[DONE]"):  # of gateways that speak every format alike
            return []
        said = _read_event(event)
        if isinstance(said, Failure):
            return said
        if said.type == "message_stop":
            self.done = True
            return []
        delta = self._step(said, event.raw)
        return delta if isinstance(delta, Failure) else [delta]

    def _step(self, event: _Event, raw: bytes) -> Delta | Failure:
        """What one event says; an event that is not known is passed on."""
        step = event.delta or _NO_STEP
        if step.type == "text_delta":
            return self._delta(raw, text=string_of(step.text))
        read = _READERS.get(event.type) if isinstance(event.type, str) else None
        return self._delta(raw) if read is None else read(self, event, raw)

    def _delta(self, raw: bytes, **said: Any) -> Delta:
        return Delta(id=self._id, model=self._model, format=NAME, raw=raw, **said)

    def _start(self, event: _Event, raw: bytes) -> Delta:
        message = event.message or _NO_MESSAGE
        self._id, self._model = string_of(message.id), string_of(message.model)
        return self._delta(raw, usage=self._counted(message.usage))

    def _block(self, event: _Event, raw: bytes) -> Delta:
        block = event.content_block or _NO_BLOCK
        if block.type == "tool_use":
            call = _Call(len(self._calls), bytes(block.input))
            self._calls[count_of(event.index)] = call
            begun = ToolFragment(index=call.index, id=string_of(block.id), name=string_of(block.name))
            return self._delta(raw, tool_calls=(begun,))
        return self._delta(raw, **_said_in(block))

    def _more(self, event: _Event, raw: bytes) -> Delta:
        step = event.delta or _NO_STEP
        if step.type == "input_json_delta":
            call = self._calls.get(count_of(event.index))
            arguments = string_of(step.partial_json)
            if call is None or not arguments:
                return self._delta(raw)
            call.told = True
            return self._delta(raw, tool_calls=(ToolFragment(index=call.index, arguments=arguments),))
        return self._delta(raw, reasoning=string_of(step.thinking), signature=string_of(step.signature))

    def _stop(self, event: _Event, raw: bytes) -> Delta:
        """A call that came without arguments had them at its beginning, or wants none."""
        call = self._calls.get(count_of(event.index))
        if call is None or call.told:
            return self._delta(raw)
        call.told = True
        arguments = arguments_of(call.input)
        return self._delta(raw, tool_calls=(ToolFragment(index=call.index, arguments=arguments),))

    def _end(self, event: _Event, raw: bytes) -> Delta | Failure:
        step = event.delta or _NO_STEP
        ended = _ended(step.stop_reason, step.stop_details)
        if isinstance(ended, Failure):
            return ended
        self._finished = self._finished or bool(ended)
        return self._delta(raw, usage=self._counted(event.usage), **ended)

    def _counted(self, usage: Json) -> Usage | None:
        """The counts so far: those of the end are totals, and those that it does not name stay as they were."""
        if isinstance(usage, dict):
            self._usage.update((name, value) for name, value in usage.items() if value is not None)
        return read_usage(self._usage)


_READERS: Mapping[str, Callable[[_Streamed, _Event, bytes], Delta | Failure]] = {
    "message_start": _Streamed._start,  # noqa: SLF001 - a table of its own methods
    "content_block_start": _Streamed._block,  # noqa: SLF001
    "content_block_delta": _Streamed._more,  # noqa: SLF001
    "content_block_stop": _Streamed._stop,  # noqa: SLF001
    "message_delta": _Streamed._end,  # noqa: SLF001
}


# ---------------------------------------------------------------------------- plain


def _read_whole(body: bytes, *, raw: bool = True) -> list[Delta] | Failure:
    """The answer in a body; an event stream that came in its place is read as one."""
    body = body.lstrip(BLANK)
    if is_stream(body):
        return _Streamed().folded(body)
    message = _read_message(body)
    if isinstance(message, Failure):
        return message
    ended = _ended(message.stop_reason, message.stop_details)
    if isinstance(ended, Failure):
        return ended
    blocks = message.content or []
    calls = [block for block in blocks if block.type == "tool_use"]
    said = [_said_in(block) for block in blocks if block.type != "tool_use"]
    delta = Delta(
        text="".join(part.get("text", "") for part in said),
        reasoning="".join(part.get("reasoning", "") for part in said),
        signature="".join(part.get("signature", "") for part in said),
        tool_calls=tuple(_call(block, index) for index, block in enumerate(calls)),
        media=sum(part.get("media", 0) for part in said),
        usage=read_usage(message.usage),
        id=string_of(message.id),
        model=string_of(message.model),
        format=NAME,
        raw=body if raw else b"",
        body=raw,
        **ended,
    )
    return [delta]


def _call(block: _Block, index: int) -> ToolFragment:
    return ToolFragment(
        index=index, id=string_of(block.id), name=string_of(block.name), arguments=arguments_of(bytes(block.input))
    )


# --------------------------------------------------------------------------- pieces


def _said_in(block: _Block) -> Object:
    """The fields of a delta for a block that is no call, whole or as it begins."""
    if block.type == "text":
        return {"text": string_of(block.text)}
    if block.type == "thinking":
        return {"reasoning": string_of(block.thinking), "signature": string_of(block.signature)}
    return {} if block.type == "redacted_thinking" else {"media": 1}


def _ended(word: Json, details: Json) -> Object | Failure:
    """The fields of a delta that says why an answer ended; none where it has not."""
    if not isinstance(word, str) or not word:
        return {}
    kind = _FAULTS.get(word)
    if kind is not None:
        return Failure(kind=kind, message=f"the answer ended with the stop reason {word!r}", code=word)
    explained = details.get("explanation") if word == "refusal" and isinstance(details, dict) else None
    return {"finish": _FINISHES.get(word, Finish.STOP), "raw_finish": word, "refusal": string_of(explained)}


def read_usage(usage: Json) -> Usage | None:
    """Anthropic's counts; its `input_tokens` are those that touched no cache, ours are all."""
    if not isinstance(usage, dict) or not usage:
        return None
    details = usage.get("output_tokens_details")
    written, cached = count_of(usage.get("cache_creation_input_tokens")), count_of(usage.get("cache_read_input_tokens"))
    return Usage(
        input_tokens=count_of(usage.get("input_tokens")) + written + cached,
        output_tokens=count_of(usage.get("output_tokens")),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=count_of(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
    )


# ------------------------------------------------------------------- reading the JSON


def _read_event(event: Event) -> _Event | Failure:
    """An event, or the error that it reports."""
    try:
        said = _EVENT.decode(event.data)
    except UNREADABLE:
        said = _Event(error=True)
    if said.error is None and said.type != "error" and event.name != "error":
        return said
    value = read_object(event.data)
    if isinstance(value, Failure):
        return value
    if value.get("type") == "error" or event.name == "error":
        return Failure(kind=FailureKind.SERVER, message="the stream holds an error event that says nothing")
    return _convert(_EVENT, value, inner=("message", "content_block", "delta"))


def _read_message(body: bytes) -> _Message | Failure:
    """A whole answer, or the error that came under status 200."""
    try:
        message = _MESSAGE.decode(body)
    except UNREADABLE:
        message = _Message()
    if message.error is None and message.content is not None:
        return message
    value = read_object(body)
    if isinstance(value, Failure):
        return value
    if not isinstance(value.get("content"), list):
        return malformed("the answer holds no content")
    value["content"] = [block for block in value["content"] if isinstance(block, dict)]
    return _convert(_MESSAGE, value)


Read = TypeVar("Read", _Event, _Message)


def _convert(reader: msgspec.json.Decoder[Read], value: Object, *, inner: tuple[str, ...] = ()) -> Read | Failure:
    """The same as a record, without those of its inner objects that are none."""
    for name in inner:
        if not isinstance(value.get(name), dict):
            value.pop(name, None)
    if isinstance(value.get("message"), dict):
        value["message"].pop("content", None)
    try:
        return reader.decode(json.dumps(value))
    except UNREADABLE:
        return malformed("the answer is not valid JSON")
