"""Answers of Bedrock's Converse format, read: the client side's decoder.

    decoder(request, target) -> Decoder    streamed or plain, as the request asked

A streamed answer is a binary event stream (see `aws_events`) whose events each hold a small
JSON object; its last event is `metadata`, with the usage.  An error in its midst is a frame of
the type `exception` or `error`.  Neither kind of answer names the model or itself.

What a model of Amazon's does with tools that run at Amazon (`server_tool_use` and its
result) is no call for the caller: it passes in `Delta.raw` alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Json, Request, Target, ToolFragment, Usage
from unbroken.wire import Decoder, Next
from unbroken.wire.aws_events import Frame, Frames
from unbroken.wire.errors import classify_event
from unbroken.wire.reading import count_of, fault_in, malformed, read_as, read_json
from unbroken.wire.whole import Whole

__all__ = ["NAME", "REDACTED", "SERVER_TOOL", "Event", "decoder", "read_event"]

NAME = "bedrock"
REDACTED = "redacted:"
"""What a signature begins with that is not one, but thinking which nobody may read; no signature holds a colon."""
SERVER_TOOL = "server_tool_use"

_FINISHES = {
    "tool_use": Finish.TOOL_CALLS,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "guardrail_intervened": Finish.CONTENT_FILTER,
    "content_filtered": Finish.CONTENT_FILTER,
}
"""Any other word ends an answer well (`end_turn`, `stop_sequence`, ...), but for these:"""
_FAULTS = frozenset(("malformed_model_output", "malformed_tool_use"))
_NO_ANSWER = "the answer holds no message"
_NO_END = "the stream ended without a messageStop"


class _Usage(msgspec.Struct, gc=False):
    inputTokens: int | None = None  # noqa: N815 - the names here and below are Amazon's
    outputTokens: int | None = None  # noqa: N815
    cacheReadInputTokens: int | None = None  # noqa: N815
    cacheWriteInputTokens: int | None = None  # noqa: N815


class _ToolUse(msgspec.Struct, gc=False):
    toolUseId: str | None = None  # noqa: N815
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")
    type: str | None = None


class _Thought(msgspec.Struct, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None  # noqa: N815
    reasoningText: _Thought | None = None  # noqa: N815


# ------------------------------------------------------------------------- streamed


class _ToolPiece(msgspec.Struct, gc=False):
    input: str | None = None


class _Step(msgspec.Struct, gc=False):
    text: str | None = None
    toolUse: _ToolPiece | None = None  # noqa: N815
    reasoningContent: _Thought | None = None  # noqa: N815


class _Start(msgspec.Struct, gc=False):
    toolUse: _ToolUse | None = None  # noqa: N815
    image: Any = None


class Event(msgspec.Struct, gc=False):
    """The fields of all events; which of them are there depends on the event."""

    contentBlockIndex: int = 0  # noqa: N815
    start: _Start | None = None
    delta: _Step | None = None
    stopReason: str | None = None  # noqa: N815
    usage: _Usage | None = None


_EVENT = msgspec.json.Decoder(Event)


def read_event(payload: bytes) -> Event | Failure:
    """The fields of an event, or the failure that it reports or is."""
    return read_as(_EVENT, payload)


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else Whole(_read_plain)


class _Streamed:
    """An event stream.  A JSON body in its place (a gateway's error) is read as a plain answer."""

    __slots__ = ("_begun", "_blocks", "_finished", "_frames", "_plain", "_silent", "done")

    def __init__(self) -> None:
        self.done = False
        self._begun = self._finished = False
        self._frames = Frames()
        self._plain: Whole | None = None
        self._blocks: dict[int, int] = {}
        self._silent: set[int] = set()

    def feed(self, data: bytes) -> list[Delta] | Failure:
        if not self._begun and data:
            self._begun = True
            if data[0]:  # a frame begins with the high byte of its length, which is zero
                self._plain = Whole(_read_unstreamed)
        if self._plain is not None:
            return self._plain.feed(data)
        steps = self._steps(self._frames.feed(data))
        return steps if isinstance(steps, Failure) else self._frames.failure or steps

    def close(self) -> list[Delta] | Failure | Next:
        if self._plain is not None:
            found = self._plain.close()
            self.done = self._plain.done
            return found
        cut = self._frames.close()
        if self._finished:
            return []
        return cut or Failure(kind=FailureKind.TRUNCATED, message=_NO_END)

    def _steps(self, frames: list[Frame]) -> list[Delta] | Failure:
        deltas: list[Delta] = []
        for frame in frames:
            delta = self._step(frame)
            if isinstance(delta, Failure):
                return delta
            deltas.append(delta)
        return deltas

    def _step(self, frame: Frame) -> Delta | Failure:
        event = read_event(frame.payload) if frame.header(":message-type") == "event" else _trouble(frame)
        if isinstance(event, Failure):
            return event
        match frame.header(":event-type"):
            case "contentBlockStart":
                read = self._started
            case "contentBlockDelta":
                read = self._went_on
            case "contentBlockStop":
                read = self._stopped
            case "metadata":
                read = self._told
            case "messageStop":
                return self._ended(event, raw=frame.raw)
            case _:
                return Delta(format=NAME, raw=frame.raw)
        return read(event, raw=frame.raw)

    def _started(self, event: Event, *, raw: bytes) -> Delta:
        start = event.start or _Start()
        tool = start.toolUse
        if tool is None or tool.type == SERVER_TOOL:
            return Delta(media=1 if start.image is not None else 0, format=NAME, raw=raw)
        index = self._blocks[event.contentBlockIndex] = len(self._blocks)
        self._silent.add(event.contentBlockIndex)
        call = ToolFragment(index=index, id=tool.toolUseId or "", name=tool.name or "")
        return Delta(tool_calls=(call,), format=NAME, raw=raw)

    def _went_on(self, event: Event, *, raw: bytes) -> Delta:
        step = event.delta or _Step()
        thought = step.reasoningContent
        if thought is not None:
            return Delta(reasoning=thought.text or "", signature=_signature(thought), format=NAME, raw=raw)
        if step.toolUse is not None:
            return Delta(tool_calls=self._arguments(event, step.toolUse.input or ""), format=NAME, raw=raw)
        return Delta(text=step.text or "", format=NAME, raw=raw)

    def _arguments(self, event: Event, words: str) -> tuple[ToolFragment, ...]:
        index = self._blocks.get(event.contentBlockIndex)
        if index is None or not words:
            return ()
        self._silent.discard(event.contentBlockIndex)
        return (ToolFragment(index=index, arguments=words),)

    def _stopped(self, event: Event, *, raw: bytes) -> Delta:
        """A call without any arguments has empty ones: others want JSON there."""
        block = event.contentBlockIndex
        if block not in self._silent:
            return Delta(format=NAME, raw=raw)
        return Delta(tool_calls=self._arguments(event, "{}"), format=NAME, raw=raw)

    def _ended(self, event: Event, *, raw: bytes) -> Delta | Failure:
        finish = _finish(event.stopReason)
        if isinstance(finish, Failure):
            return finish
        self._finished = finish is not None
        return Delta(finish=finish, raw_finish=event.stopReason, format=NAME, raw=raw)

    def _told(self, event: Event, *, raw: bytes) -> Delta:
        self.done = self._finished
        return Delta(usage=_usage(event.usage), format=NAME, raw=raw)


def _trouble(frame: Frame) -> Failure:
    """What an exception frame (a class and a body) or an error frame (a code and words, no body) reports."""
    name = frame.header(":exception-type") or frame.header(":error-code") or "an error"
    value: Json = read_json(frame.payload) if frame.payload else None
    said = value if isinstance(value, dict) else {}
    message = said.get("message") or said.get("Message") or frame.header(":error-message")
    error = {"code": name, "message": message if isinstance(message, str) and message else name}
    return classify_event({"error": {**said, **error}}) or malformed(f"the stream ended with {name}")


# ---------------------------------------------------------------------------- plain


class _Cited(msgspec.Struct, gc=False):
    text: str | None = None


class _Citations(msgspec.Struct, gc=False):
    content: list[_Cited] | None = None


class _Block(msgspec.Struct, gc=False):
    text: str | None = None
    toolUse: _ToolUse | None = None  # noqa: N815
    reasoningContent: _Thought | None = None  # noqa: N815
    citationsContent: _Citations | None = None  # noqa: N815
    image: Any = None
    audio: Any = None
    video: Any = None


class _Message(msgspec.Struct, gc=False):
    content: list[_Block] | None = None


class _Output(msgspec.Struct, gc=False):
    message: _Message | None = None


class _Answer(msgspec.Struct, gc=False):
    output: _Output | None = None
    stopReason: str | None = None  # noqa: N815
    usage: _Usage | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def _read_plain(body: bytes, *, raw: bool = True) -> list[Delta] | Failure:
    answer = read_as(_ANSWER, body)
    if isinstance(answer, Failure):
        return answer
    if answer.output is None or answer.output.message is None:
        return fault_in(read_json(body), _NO_ANSWER)
    finish = _finish(answer.stopReason)
    if isinstance(finish, Failure):
        return finish
    blocks = answer.output.message.content or []
    thoughts = [block.reasoningContent for block in blocks if block.reasoningContent is not None]
    tools = [block.toolUse for block in blocks if block.toolUse is not None and block.toolUse.type != SERVER_TOOL]
    delta = Delta(
        text="".join([_text(block) for block in blocks]),
        reasoning="".join([(thought.reasoningText or thought).text or "" for thought in thoughts]),
        signature="".join([_signature(thought.reasoningText or thought) for thought in thoughts]),
        tool_calls=tuple([_call(tool, index) for index, tool in enumerate(tools)]),
        usage=_usage(answer.usage),
        finish=finish,
        raw_finish=answer.stopReason,
        media=sum([any(thing is not None for thing in (block.image, block.audio, block.video)) for block in blocks]),
        format=NAME,
        raw=body if raw else b"",
        body=raw,
    )
    return [delta]


def _read_unstreamed(body: bytes) -> list[Delta] | Failure:
    """What came where an event stream was asked for; its bytes fit into no stream."""
    return _read_plain(body, raw=False)


def _text(block: _Block) -> str:
    if block.citationsContent is not None:
        return "".join([cited.text or "" for cited in block.citationsContent.content or []])
    return block.text or ""


def _call(tool: _ToolUse, index: int) -> ToolFragment:
    return ToolFragment(
        index=index,
        id=tool.toolUseId or "",
        name=tool.name or "",
        arguments=bytes(tool.input).decode("utf-8", "replace") or "{}",
    )


# ------------------------------------------------------------------- what both have


def _signature(thought: _Thought) -> str:
    return f"{REDACTED}{thought.redactedContent}" if thought.redactedContent else thought.signature or ""


def _finish(word: str | None) -> Finish | Failure | None:
    """Why an answer ended, in our vocabulary; None where it does not say."""
    if not word:
        return None
    if word in _FAULTS:
        return Failure(
            kind=FailureKind.MODEL_FAULT, message=f"the answer ended with the stop reason {word!r}", code=word
        )
    return _FINISHES.get(word, Finish.STOP)


def _usage(usage: _Usage | None) -> Usage | None:
    """What is read from a cache or written to it is not among `inputTokens`, but was paid for."""
    if usage is None:
        return None
    read, written = count_of(usage.cacheReadInputTokens), count_of(usage.cacheWriteInputTokens)
    return Usage(
        input_tokens=count_of(usage.inputTokens) + read + written,
        output_tokens=count_of(usage.outputTokens),
        cached_tokens=read,
        cache_write_tokens=written,
    )
