"""Answers in the OpenAI chat format, written: the server side's writers, and its error envelope.

    writer(request) -> Writer                               streamed or plain, as the caller asked
    write_failure(failure, request id) -> status, headers, body

Bytes that came in this format go out as they are.  Everything else is encoded from the
deltas: answers of other formats, and the first words after a rescue, which were trimmed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind, Fault
from unbroken.types import Delta, Finish, Json, Output, Request, Response, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.media import address_of
from unbroken.wire.openai_chat_answer import NAME

__all__ = ["JSON_TYPE", "STREAM_TYPE", "is_mere_count", "passed_on", "write_failure", "writer"]

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream; charset=utf-8"

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
    return _Streamed(request) if request.stream else _Plain(request)


# ------------------------------------------------------------------------- streamed


class _Head(msgspec.Struct):
    """What every chunk of a stream repeats."""

    id: str = ""
    created: int = 0
    model: str = ""


_HEAD = msgspec.json.Decoder(_Head)


class _Streamed:
    """Chunks of one stream.  They share the id, time and model of the first one, whoever it came from."""

    __slots__ = ("_first", "_head", "_request", "_roles", "_usage", "content_type")

    def __init__(self, request: Request) -> None:
        self.content_type = STREAM_TYPE
        self._request = request
        self._first: bytes | None = None
        self._head: _Head | None = None
        self._roles: set[int] = set()
        self._usage: Usage | None = None

    def write(self, deltas: Sequence[Delta]) -> bytes:
        if len(deltas) == 1:
            return self._one(deltas[0])
        return b"".join([self._one(delta) for delta in deltas])

    def end(self, outcome: Outcome) -> bytes:
        parts = []
        if self._usage is not None and self._request.include_usage:
            parts.append(self._chunk(None, {"choices": [], "usage": _write_usage(self._usage)}))
        if outcome.notable:
            parts.append(self._chunk(None, {"choices": [], "unbroken": outcome.told()}))
        parts.append(_DONE)
        return b"".join(parts)

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        return self.write(deltas) + self.end(outcome)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        error = {"error": _write_error(failure), "unbroken": outcome.told()}
        return b"data: " + _encode(error) + b"\n\n"

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == NAME and not delta.body:
            if self._first is None:
                self._first = delta.raw
            if delta.usage is not None and is_mere_count(delta) and not self._request.include_usage:
                return b""  # it was we who asked, and some clients take a chunk without choices amiss
            return delta.raw
        if delta.usage is not None:
            self._usage = delta.usage
        piece = self._piece(delta)
        if not piece and delta.finish is None:
            return b""
        choice = {"index": delta.choice, "delta": piece, "logprobs": None, "finish_reason": _finish_word(delta)}
        return self._chunk(delta, {"choices": [choice]})

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
        if self._first is None and delta.choice not in self._roles and (piece or delta.finish):
            self._roles.add(delta.choice)
            piece = {"role": "assistant", "content": None if delta.tool_calls else "", **piece}
        return piece

    def _chunk(self, delta: Delta | None, rest: Object) -> bytes:
        if self._head is None:
            self._head = self._first_head(delta)
        head = self._head
        chunk = {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model, **rest}
        return b"data: " + _encode(chunk) + b"\n\n"

    def _first_head(self, delta: Delta | None) -> _Head:
        """From the first chunk that was passed on, else from the delta; no clock is asked for the time."""
        head = _Head()
        if self._first is not None:
            try:
                head = _HEAD.decode(self._first[self._first.find(b"{") : self._first.rfind(b"}") + 1])
            except (msgspec.DecodeError, ValueError, RecursionError):
                head = _Head()
        head.id = head.id or (delta.id if delta else "") or "chatcmpl-unbroken"
        head.model = head.model or (delta.model if delta else "") or self._request.model
        return head


def is_mere_count(delta: Delta) -> bool:
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


class _Plain:
    """One JSON body."""

    __slots__ = ("_request", "content_type")

    def __init__(self, request: Request) -> None:
        self.content_type = JSON_TYPE
        self._request = request

    def write(self, deltas: Sequence[Delta]) -> bytes:
        return b""

    def end(self, outcome: Outcome) -> bytes:
        return b""

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        return passed_on(deltas, NAME) or _write_whole(deltas, outcome, request=self._request)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return _encode({"error": _write_error(failure), "unbroken": outcome.told()})


def passed_on(deltas: Sequence[Delta], name: str) -> bytes:
    """The body that these deltas came in, where it is of this format and nobody changed them; else nothing."""
    if not deltas:
        return b""
    first = deltas[0]
    if not first.body or first.format != name or any(d.raw or d.choice == first.choice for d in deltas[1:]):
        return b""
    return first.raw


def _write_whole(deltas: Sequence[Delta], outcome: Outcome, *, request: Request) -> bytes:
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
        body["usage"] = _write_usage(first.usage)
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


def _write_usage(usage: Usage) -> Object:
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
    return status, headers, _encode({"error": _write_error(failure)})


_RETRY_AFTER_S_MAX = 7 * 24 * 3600.0
"""Nobody waits a week; and a header must be a finite number."""


def _write_error(failure: Failure) -> Json:
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
