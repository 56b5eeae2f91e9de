"""Answers in the OpenAI chat format, written: the server side's writers, and its error envelope.

    writer(request) -> Writer                               streamed or plain, as the caller asked
    write_failure(failure, request id) -> status, headers, body
    ChunkWriter                                         what the completions format streams alike

Bytes that came in this format go out as they are.  Everything else is encoded from the
deltas: answers of other formats, and the first words after a rescue, which were trimmed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from mypy_extensions import mypyc_attr

from unbroken.failures import Failure, FailureKind, Fault
from unbroken.records import replace
from unbroken.types import Delta, Finish, Json, Output, Request, Response, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.http import JSON_TYPE, STREAM_TYPE
from unbroken.wire.media import address_of
from unbroken.wire.openai_chat_answer import NAME
from unbroken.wire.openai_chat_shapes import Head
from unbroken.wire.stream_writer import StreamWriter
from unbroken.wire.whole import WholeWriter, passed_on

__all__ = ["ChunkWriter", "write_error", "write_failure", "write_fault", "write_usage", "writer"]

_DONE = b"data: [DONE]\n\n"
_FINISHES = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.TOOL_CALLS: "tool_calls",
    Finish.CONTENT_FILTER: "content_filter",
    Finish.ERROR: "stop",
}
_OWN_FINISHES = {
    **{word: finish for finish, word in _FINISHES.items() if finish is not Finish.ERROR},
    "function_call": Finish.TOOL_CALLS,
}
_encode = msgspec.json.encode

Object = dict[str, Any]


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    if request.stream:
        return _Streamed(request)
    return WholeWriter(JSON_TYPE, partial(_write_whole, request=request), fail=write_fault)


# ------------------------------------------------------------------------- streamed


_HEAD = msgspec.json.Decoder(Head)


@mypyc_attr(allow_interpreted_subclasses=True)
class ChunkWriter(StreamWriter):
    """A writer of one stream of chunks, which share the id, time and model of the first one, whoever it came from.

    `format` is whose bytes go out as they came, `object` what a chunk is called, `id_otherwise`
    its id where nobody gave one.
    """

    __slots__ = ("_first", "_head", "_named", "_request", "_usage", "content_type")

    format: ClassVar[str]
    object: ClassVar[str]
    id_otherwise: ClassVar[str]

    def __init__(self, request: Request) -> None:
        self.content_type = STREAM_TYPE
        self._request = request
        self._first = b""
        self._head: Head | None = None
        self._named: Delta | None = None
        self._usage: Usage | None = None

    @abstractmethod
    def _choice(self, delta: Delta) -> Object | None:
        """The choice of a chunk that says what a delta holds; None where it says nothing here."""

    def end(self, outcome: Outcome) -> bytes:
        parts = []
        if self._usage is not None and self._request.include_usage:
            parts.append(self._chunk({"choices": [], "usage": write_usage(self._usage)}))
        if outcome.notable:
            parts.append(self._chunk({"choices": [], "unbroken": outcome.told()}))
        parts.append(_DONE)
        return b"".join(parts)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return b"data: " + write_fault(failure, outcome) + b"\n\n"

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == self.format and not delta.body:
            self._first = self._first or delta.raw
            if delta.usage is not None and _is_mere_count(delta) and not self._request.include_usage:
                return b""  # it was we who asked, and some clients take a chunk without choices amiss
            return delta.raw
        self._usage = delta.usage or self._usage
        if self._named is None and delta.id:
            self._named = delta
        choice = self._choice(delta)
        return b"" if choice is None else self._chunk({"choices": [choice]})

    def _chunk(self, rest: Object) -> bytes:
        if self._head is None:
            self._head = self._first_head()
        head = self._head
        chunk = {"id": head.id, "object": self.object, "created": head.created, "model": head.model, **rest}
        return b"data: " + _encode(chunk) + b"\n\n"

    def _first_head(self) -> Head:
        """From the first chunk that was passed on, else from a delta; no clock is asked for the time."""
        begin, end = self._first.find(b"{"), self._first.rfind(b"}") + 1
        try:
            head = _HEAD.decode(self._first[begin:end] if 0 <= begin < end else b"")
        except UNREADABLE:
            head = Head()
        named = self._named or Delta()
        head.id = head.id or named.id or self.id_otherwise
        head.model = head.model or named.model or self._request.model
        return head


class _Streamed(ChunkWriter):
    """Chunks of the chat format; the first of each answer says whose it is."""

    __slots__ = ("_roles",)

    format = NAME
    object = "chat.completion.chunk"
    id_otherwise = "chatcmpl-unbroken"

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._roles: set[int] = set()

    def _choice(self, delta: Delta) -> Object | None:
        piece = self._piece(delta)
        if not piece and delta.finish is None:
            return None
        return {"index": delta.choice, "delta": piece, "logprobs": None, "finish_reason": _finish_word(delta)}

    def _piece(self, delta: Delta) -> Object:
        piece: Object = {}
        if delta.text:
            piece["content"] = delta.text
        if delta.reasoning:
            piece["reasoning_content"] = delta.reasoning
        if delta.refusal:
            piece["refusal"] = delta.refusal
        if delta.outputs:
            piece["images"] = _write_images(delta.outputs)
        if delta.tool_calls:
            piece["tool_calls"] = [_write_fragment(fragment) for fragment in delta.tool_calls]
        if not self._first and delta.choice not in self._roles and (piece or delta.finish):
            self._roles.add(delta.choice)
            piece = {"role": "assistant", "content": None if delta.tool_calls else "", **piece}
        return piece


def _is_mere_count(delta: Delta) -> bool:
    """Whether a step says nothing but what the answer took."""
    return delta.usage is not None and delta.finish is None and not delta.has_content


def _write_fragment(fragment: ToolFragment) -> Object:
    function = {"name": fragment.name} if fragment.name else {}
    call: Object = {"index": fragment.index, "function": {**function, "arguments": fragment.arguments}}
    if fragment.id or fragment.name:
        call.update(id=fragment.id or f"call_{fragment.index}", type="function")
    return call


def _finish_word(step: Delta | Response) -> str | None:
    """The provider's own word where it is one of OpenAI's and means the same there, else ours for it."""
    if step.finish is None:
        return None
    means = _OWN_FINISHES.get(step.raw_finish or "")
    return step.raw_finish if means is step.finish else _FINISHES[step.finish]


# ---------------------------------------------------------------------------- plain


def _write_whole(deltas: Sequence[Delta], outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    indexes = sorted({delta.choice for delta in deltas}) or [0]
    answers = {index: _of_choice(deltas, index) for index in indexes}
    first = fold(list(deltas))
    body: Object = {
        "id": first.id or f"chatcmpl-{outcome.request_id}",
        "object": "chat.completion",
        "created": 0,
        "model": first.model or request.model,
        "choices": [_write_choice(index, answer) for index, answer in answers.items()],
    }
    if first.usage is not None:
        body["usage"] = write_usage(first.usage)
    return _encode(body)


def _of_choice(deltas: Sequence[Delta], index: int) -> Response:
    return fold([replace(delta, choice=0) for delta in deltas if delta.choice == index])


def _write_choice(index: int, answer: Response) -> Object:
    message: Object = {"role": "assistant", "content": answer.text, "refusal": answer.refusal or None}
    if not answer.text and (answer.tool_calls or answer.refusal):
        message["content"] = None
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.outputs:
        message["images"] = _write_images(answer.outputs)
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id or f"call_{i}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for i, call in enumerate(answer.tool_calls)
        ]
    finish = _finish_word(answer) or ("tool_calls" if answer.tool_calls else "stop")
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def _write_images(outputs: Sequence[Output]) -> Json:
    """What a model drew, as OpenRouter says it: OpenAI's own format has no word for it."""
    return [{"type": "image_url", "image_url": {"url": address_of(output)}} for output in outputs]


def write_usage(usage: Usage) -> Object:
    """The `usage` object of this format."""
    body: Object = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    if usage.cost_usd is not None:
        body["cost"] = usage.cost_usd
    return body


# ------------------------------------------------------------------------- failures

_TYPES = {
    FailureKind.RATE_LIMIT: "rate_limit_error",
    FailureKind.QUOTA: "rate_limit_error",
    FailureKind.DEADLINE: "timeout",
    FailureKind.MODEL_MISSING: "invalid_request_error",
}
_CODES = {
    FailureKind.CONTEXT_LENGTH: "context_length_exceeded",
    FailureKind.CONTENT_POLICY: "content_policy_violation",
    FailureKind.MODEL_MISSING: "model_not_found",
}
"""Codes that callers' programs look for, and so not ours."""


def write_failure(failure: Failure, request_id: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and OpenAI's error envelope; a caller's own fault keeps the provider's words and status."""
    status = failure.verdict.status
    if failure.verdict.fault is Fault.CALLER and failure.status is not None and 400 <= failure.status <= 499:
        status = failure.status
    headers = {"content-type": JSON_TYPE, "x-request-id": request_id}
    if failure.retry_after_s is not None and status in (429, 503):
        headers["retry-after"] = str(max(0, math.ceil(min(failure.retry_after_s, _RETRY_AFTER_S_MAX))))
    return status, headers, _encode({"error": write_error(failure)})


_RETRY_AFTER_S_MAX = 7 * 24 * 3600.0
"""Nobody waits a week; and a header must be a finite number."""


def write_fault(failure: Failure, outcome: Outcome) -> bytes:
    """The error in place of an answer, with what was tried."""
    return _encode({"error": write_error(failure), "unbroken": outcome.told()})


def write_error(failure: Failure) -> Json:
    """The `error` object of this format."""
    if failure.verdict.fault is Fault.CALLER:
        kind = failure.type or "invalid_request_error"
        code = failure.code or _CODES.get(failure.kind)
        return {"message": failure.message, "type": kind, "param": failure.param, "code": code}
    kind = _TYPES.get(failure.kind, "server_error")
    return {
        "message": failure.message,
        "type": kind,
        "param": failure.param,
        "code": _CODES.get(failure.kind, failure.kind.value),
    }
