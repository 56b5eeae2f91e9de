"""Answers in Bedrock's Converse format, written: the server side's writers, and its error envelope.

    writer(request) -> Writer                               streamed or plain, as the caller asked
    write_failure(failure, request id) -> status, headers, body

Frames and bodies that came in this format go out as they are; everything else is encoded from
the deltas.  A stream is a row of blocks: one for the thoughts, one for the words, one for each
call; a block is stopped when the next one begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind, Fault
from unbroken.types import Delta, Finish, Request, Response, ToolCall, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.aws_events import Frames, write_frame
from unbroken.wire.bedrock_answer import NAME, REDACTED, read_event
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.media import in_words
from unbroken.wire.openai_chat_writer import write_failure as write_openai_failure
from unbroken.wire.stream_writer import StreamWriter
from unbroken.wire.whole import WholeWriter, passed_on

__all__ = ["STREAM_TYPE", "write_failure", "writer"]

JSON_TYPE = "application/json"
STREAM_TYPE = "application/vnd.amazon.eventstream"

_FINISHES = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.CONTENT_FILTER: "content_filtered",
    Finish.ERROR: "end_turn",
}
_OWN_FINISHES = frozenset((
    "end_turn", "tool_use", "max_tokens", "stop_sequence", "guardrail_intervened", "content_filtered",
    "model_context_window_exceeded",
))  # fmt: skip
_KINDS = _TEXT, _THOUGHT, _CALL = "text", "reasoningContent", "toolUse"
_METRICS = {"latencyMs": 0}
"""Nobody measured; but SDKs expect a number."""
_encode = msgspec.json.encode

Object = dict[str, Any]


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    return _Streamed() if request.stream else WholeWriter(JSON_TYPE, _write_whole, fail=_write_broken)


# ------------------------------------------------------------------------- streamed


class _Streamed(StreamWriter):
    """Frames of one stream.

    Of frames that pass only the last one is kept: it tells, where somebody else goes on, which
    block is open.
    """

    __slots__ = ("_begun", "_block", "_calls", "_ended", "_kind", "_passed", "_told", "_usage", "content_type")

    def __init__(self) -> None:
        self.content_type = STREAM_TYPE
        self._begun = self._ended = self._told = False
        self._block = 0
        self._kind = ""
        self._calls: dict[int, int] = {}
        self._passed = b""
        self._usage: Usage | None = None

    def end(self, outcome: Outcome) -> bytes:
        self._take_up()
        if self._told:
            return b""
        parts = [] if self._ended else self._finish("end_turn")
        told: Object = {} if self._usage is None else {"usage": _write_usage(self._usage)}
        if outcome.notable:
            told["unbroken"] = outcome.told()
        return b"".join([*parts, _frame("metadata", {**told, "metrics": _METRICS})])

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        name = _EXCEPTIONS.get(_class_of(failure), "internalServerException")
        headers = {":exception-type": name, ":content-type": JSON_TYPE, ":message-type": "exception"}
        return write_frame(headers, _write_broken(failure, outcome))

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == NAME and not delta.body:
            self._passed = delta.raw
            return delta.raw
        if delta.choice:
            return b""
        self._take_up()
        if delta.usage is not None:
            self._usage = delta.usage
        parts = self._pieces(in_words(delta))
        if delta.finish is not None and not self._ended:
            parts += self._finish(_finish_word(delta))
        return b"".join(parts)

    def _pieces(self, delta: Delta) -> list[bytes]:
        parts: list[bytes] = []
        if delta.reasoning:
            parts += self._piece(_THOUGHT, {_THOUGHT: {"text": delta.reasoning}})
        if delta.signature and delta.format == NAME:
            parts += self._proof(delta.signature)
        if delta.text or delta.refusal:
            parts += self._piece(_TEXT, {_TEXT: delta.text + delta.refusal})
        for fragment in delta.tool_calls:
            parts += self._call(fragment)
        return parts

    def _proof(self, signature: str) -> list[bytes]:
        """What proves a thought, and ends it; one that nobody may read is a block of its own."""
        if not signature.startswith(REDACTED):
            return [*self._piece(_THOUGHT, {_THOUGHT: {"signature": signature}}), *self._stop()]
        thought = {"redactedContent": signature.removeprefix(REDACTED)}
        return [*self._stop(), *self._piece(_THOUGHT, {_THOUGHT: thought}), *self._stop()]

    def _piece(self, kind: str, delta: Object) -> list[bytes]:
        """Some of a block of this kind, which is begun where another one, or none, is open."""
        parts = [] if self._kind == kind else self._start(kind)
        return [*parts, _frame("contentBlockDelta", {"contentBlockIndex": self._block, "delta": delta})]

    def _call(self, fragment: ToolFragment) -> list[bytes]:
        """Some of a call; what comes late for one that is over goes to its block all the same."""
        parts: list[bytes] = []
        if fragment.index not in self._calls:
            parts += self._start(_CALL)
            self._calls[fragment.index] = self._block
            use = {"toolUseId": fragment.id or f"tooluse_{fragment.index}", "name": fragment.name}
            parts.append(_frame("contentBlockStart", {"contentBlockIndex": self._block, "start": {_CALL: use}}))
        if fragment.arguments:
            step = {"contentBlockIndex": self._calls[fragment.index], "delta": {_CALL: {"input": fragment.arguments}}}
            parts.append(_frame("contentBlockDelta", step))
        return parts

    def _start(self, kind: str) -> list[bytes]:
        """What has to be said before a new block; only a call says more at its start."""
        parts = self._stop()
        if not self._begun:
            self._begun = True
            parts.append(_frame("messageStart", {"role": "assistant"}))
        self._kind = kind
        return parts

    def _stop(self) -> list[bytes]:
        """The end of the open block, if there is one."""
        if not self._kind:
            return []
        self._kind = ""
        self._block += 1
        return [_frame("contentBlockStop", {"contentBlockIndex": self._block - 1})]

    def _finish(self, word: str) -> list[bytes]:
        parts = self._start("") if not self._begun else self._stop()
        self._ended = True
        return [*parts, _frame("messageStop", {"stopReason": word})]

    def _take_up(self) -> None:
        """Learn from the last frame that passed where the stream stands."""
        if not self._passed:
            return
        frames = Frames().feed(self._passed)
        self._passed = b""
        event = read_event(frames[0].payload) if frames else None
        if event is None or isinstance(event, Failure):
            return
        name = frames[0].header(":event-type")
        self._begun = True
        if name in ("contentBlockStart", "contentBlockDelta"):
            self._block = event.contentBlockIndex
            said = event.delta or event.start
            self._kind = next((kind for kind in _KINDS if getattr(said, kind, None) is not None), "other")
        elif name == "contentBlockStop":
            self._block, self._kind = event.contentBlockIndex + 1, ""
        elif name in ("messageStop", "metadata"):
            self._ended, self._told, self._kind = True, name == "metadata", ""


def _frame(name: str, payload: Object) -> bytes:
    headers = {":event-type": name, ":content-type": JSON_TYPE, ":message-type": "event"}
    return write_frame(headers, _encode(payload))


# ---------------------------------------------------------------------------- plain


def _write_whole(deltas: Sequence[Delta], _outcome: Outcome) -> bytes:
    return passed_on(deltas, NAME) or _write_answer(fold([in_words(delta) for delta in deltas]))


def _write_answer(answer: Response) -> bytes:
    text = answer.text + answer.refusal
    content: list[Object] = [{_THOUGHT: {"reasoningText": {"text": answer.reasoning}}}] if answer.reasoning else []
    if text or not answer.tool_calls:
        content.append({_TEXT: text})
    content += [{_CALL: _write_call(call, index)} for index, call in enumerate(answer.tool_calls)]
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _finish_word(answer) or ("tool_use" if answer.tool_calls else "end_turn"),
        "usage": _write_usage(answer.usage or Usage()),
        "metrics": _METRICS,
    }
    return _encode(body)


def _write_call(call: ToolCall, index: int) -> Object:
    """A call; arguments that are no JSON, as models write them now and then, stay the text that they are."""
    arguments: Any = call.arguments.strip() or "{}"
    try:
        msgspec.json.decode(arguments)
        arguments = msgspec.Raw(arguments.encode())
    except UNREADABLE:
        arguments = call.arguments
    return {"toolUseId": call.id or f"tooluse_{index}", "name": call.name, "input": arguments}


# ------------------------------------------------------------------- what both have


def _finish_word(step: Delta | Response) -> str:
    """The provider's own word where it is one of Amazon's, else ours for it; nothing where it has none."""
    if step.finish is None:
        return ""
    return step.raw_finish if step.raw_finish in _OWN_FINISHES else _FINISHES[step.finish]


def _write_usage(usage: Usage) -> Object:
    """Amazon counts what comes from a cache, and goes into one, beside the other input."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    return {
        "inputTokens": max(0, usage.input_tokens - cached - written),
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": written,
    }


# ------------------------------------------------------------------------- failures

_CLASSES = {
    FailureKind.RATE_LIMIT: "ThrottlingException",
    FailureKind.QUOTA: "ThrottlingException",
    FailureKind.MODEL_MISSING: "ResourceNotFoundException",
    FailureKind.LOADING: "ModelNotReadyException",
    FailureKind.MODEL_FAULT: "ModelErrorException",
    FailureKind.OVERLOADED: "ServiceUnavailableException",
    FailureKind.NO_TARGET: "ServiceUnavailableException",
    FailureKind.CONNECT: "ServiceUnavailableException",
    FailureKind.SILENT: "ModelTimeoutException",
    FailureKind.STALLED: "ModelTimeoutException",
    FailureKind.SLOW: "ModelTimeoutException",
    FailureKind.DEADLINE: "ModelTimeoutException",
}
"""Amazon's classes of errors by our kinds; all others of ours are internal."""
_CLASSES_OF_CALLERS = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
}
"""Those of a caller's own faults, by status; all others are of validation."""
_EXCEPTIONS = {
    "ThrottlingException": "throttlingException",
    "ServiceUnavailableException": "serviceUnavailableException",
    "ModelErrorException": "modelStreamErrorException",
    "ModelTimeoutException": "modelStreamErrorException",
    "ValidationException": "validationException",
}
"""What they are called inside a stream, which knows five of them."""


def write_failure(failure: Failure, request_id: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and the error as Amazon sends it: its class in a header, a message in the body."""
    status, headers, _ = write_openai_failure(failure, request_id)
    headers = {**headers, "x-amzn-requestid": request_id, "x-amzn-errortype": _class_of(failure)}
    return status, headers, _encode({"message": failure.message})


def _class_of(failure: Failure) -> str:
    if failure.verdict.fault is Fault.CALLER:
        return _CLASSES_OF_CALLERS.get(failure.status or 400, "ValidationException")
    return _CLASSES.get(failure.kind, "InternalServerException")


def _write_broken(failure: Failure, outcome: Outcome) -> bytes:
    return _encode({"message": failure.message, "unbroken": outcome.told()})
