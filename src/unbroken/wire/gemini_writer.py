"""Answers in Gemini's format, written: the server side's writers, and Google's error envelope.

    writer(request) -> Writer                               streamed or plain, as the caller asked
    write_failure(failure, request id) -> status, headers, body

Bytes that came in this format go out as they are; everything else is encoded from the deltas.
Streams are always event streams, also for callers who left `alt=sse` out.  Calls go out whole,
because this format has no pieces of them, and why an answer ended is said last, beside the usage.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import Delta, Finish, Output, Request, Response, ToolCall, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.gemini_answer import OWN_FINISHES
from unbroken.wire.gemini_messages import NAME
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.openai_chat_writer import write_failure as write_openai_failure
from unbroken.wire.stream_writer import StreamWriter
from unbroken.wire.whole import WholeWriter, passed_on

__all__ = ["STREAM_TYPE", "write_failure", "write_fault", "write_usage", "writer"]

STREAM_TYPE = "text/event-stream"
_FINISHES = {
    Finish.STOP: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.TOOL_CALLS: "STOP",
    Finish.CONTENT_FILTER: "SAFETY",
    Finish.ERROR: "OTHER",
}
_encode = msgspec.json.encode

Object = dict[str, Any]


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    if request.stream:
        return _Streamed(request)
    return WholeWriter(JSON_TYPE, partial(_write_whole, request=request), fail=write_fault)


# ------------------------------------------------------------------------- streamed


class _Streamed(StreamWriter):
    """Chunks of one stream.  They share the id and model of the first one, whoever it came from."""

    __slots__ = ("_ended", "_head", "_kept", "_request", "_usage", "content_type")

    def __init__(self, request: Request) -> None:
        self.content_type = STREAM_TYPE
        self._request = request
        self._head: Object = {}
        self._kept: dict[int, list[Delta]] = {}
        self._ended: set[int] = set()
        self._usage: Usage | None = None

    def _one(self, delta: Delta) -> bytes:
        self._head = self._head or _head_of(delta, self._request)
        if delta.raw and delta.format == NAME and not delta.body:
            if delta.finish is not None:
                self._ended.add(delta.choice)
            return delta.raw
        self._usage = delta.usage or self._usage
        kept = self._kept.setdefault(delta.choice, [])
        if delta.tool_calls or delta.finish is not None:
            kept.append(Delta(tool_calls=delta.tool_calls, finish=delta.finish, raw_finish=delta.raw_finish))
        said = replace(delta, tool_calls=(), choice=0)
        parts = _write_parts(fold([said]), signed=delta.format == NAME)
        return self._chunk([_candidate(delta.choice, parts)], {}) if parts else b""

    def end(self, outcome: Outcome) -> bytes:
        """Calls, why it ended, the usage, and what happened on the way."""
        candidates = [
            _last(choice, fold(kept), parts=[{"text": ""}])
            for choice, kept in (self._kept or {0: []}).items()
            if choice not in self._ended
        ]
        more: Object = {}
        if self._usage is not None:
            more["usageMetadata"] = write_usage(self._usage)
        if outcome.notable:
            more["unbroken"] = outcome.told()
        return self._chunk(candidates, more) if candidates or more else b""

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return b"data: " + write_fault(failure, outcome) + b"\r\n\r\n"

    def _chunk(self, candidates: list[Object], more: Object) -> bytes:
        held = {"candidates": candidates} if candidates else {}
        return b"data: " + _encode({**held, **more, **self._head}) + b"\r\n\r\n"


def _head_of(step: Delta | Response, request: Request) -> Object:
    own_id = {"responseId": step.id} if step.id else {}
    return {"modelVersion": step.model or request.model, **own_id}


# ---------------------------------------------------------------------------- plain


def _write_whole(deltas: Sequence[Delta], outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    first = fold(list(deltas))
    signed = bool(deltas) and deltas[0].format == NAME
    candidates = []
    for choice in sorted({delta.choice for delta in deltas}) or [0]:
        answer = fold([replace(delta, choice=0) for delta in deltas if delta.choice == choice])
        candidates.append(_last(choice, answer, parts=_write_parts(answer, signed=signed)))
    head = {"responseId": outcome.request_id, **_head_of(first, request)}
    usage = {} if first.usage is None else {"usageMetadata": write_usage(first.usage)}
    return _encode({"candidates": candidates, **usage, **head})


def _candidate(choice: int, parts: list[Object]) -> Object:
    return {"content": {"parts": parts, "role": "model"}, "index": choice}


def _last(choice: int, answer: Response, *, parts: list[Object]) -> Object:
    """The end of an answer: these parts, its calls, and why it ended."""
    calls = [_write_call(call) for call in answer.tool_calls]
    odd = next((call.name for call, part in zip(answer.tool_calls, calls, strict=True) if part is None), None)
    if odd is not None:
        message = f"Malformed function call: the arguments of {odd} are no JSON object"
        word = {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": message}
        return {**_candidate(choice, parts or [{"text": ""}]), **word}
    written = [part for part in calls if part is not None]
    parts = [part for part in parts if part != {"text": ""}] if written else parts
    return {**_candidate(choice, [*parts, *written] or [{"text": ""}]), "finishReason": _finish_word(answer)}


def _finish_word(answer: Response) -> str:
    """The provider's own word where it is one of Google's, else Google's for ours."""
    if answer.raw_finish in OWN_FINISHES:
        return answer.raw_finish
    return _FINISHES[answer.finish or Finish.STOP]


def _write_parts(answer: Response, *, signed: bool) -> list[Object]:
    """Thoughts, words and media; a signature is only worth something beside what it signs (`signed`)."""
    parts: list[Object] = []
    if answer.reasoning:
        parts.append({"text": answer.reasoning, "thought": True})
    if answer.text or answer.refusal:
        parts.append({"text": answer.text + answer.refusal})
    parts += [_write_output(output) for output in answer.outputs]
    if signed and answer.signature and parts:
        parts[-1]["thoughtSignature"] = answer.signature
    return parts


def _write_output(output: Output) -> Object:
    inline, _, data = output.url.partition(";base64,")
    if data:
        return {"inlineData": {"mimeType": inline.removeprefix("data:"), "data": data}}
    if output.url:
        return {"fileData": {"mimeType": output.media_type, "fileUri": output.url}}
    return {"inlineData": {"mimeType": output.media_type, "data": base64.b64encode(output.data).decode()}}


def _write_call(call: ToolCall) -> Object | None:
    """A part with the call; None where its arguments are no JSON object, which this format cannot say."""
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except UNREADABLE:
        return None
    if not isinstance(arguments, dict):
        return None
    own_id = {"id": call.id} if call.id else {}
    signature = {"thoughtSignature": call.signature} if call.signature else {}
    return {"functionCall": {**own_id, "name": call.name, "args": arguments}, **signature}


def write_usage(usage: Usage) -> Object:
    """Google's `usageMetadata`."""
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_tokens),
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    more = {"thoughtsTokenCount": usage.reasoning_tokens, "cachedContentTokenCount": usage.cached_tokens}
    details = {"promptTokensDetails": usage.input_audio_tokens, "candidatesTokensDetails": usage.output_audio_tokens}
    heard = {name: [{"modality": "AUDIO", "tokenCount": count}] for name, count in details.items() if count}
    return {**counts, **{name: count for name, count in more.items() if count}, **heard}


# ------------------------------------------------------------------------- failures

_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 502: "UNAVAILABLE",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
"""Google's words for the statuses of HTTP; clients go by either."""


def write_failure(failure: Failure, request_id: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and Google's error envelope; when to come back is said in both."""
    status, headers, _ = write_openai_failure(failure, request_id)
    wait_s = headers.get("retry-after")
    return status, headers, _encode({"error": _write_error(failure, status, wait_s=wait_s)})


def write_fault(failure: Failure, outcome: Outcome) -> bytes:
    """The same error within an answer that has begun; `error` comes first, because clients look for it there."""
    status, _, _ = write_openai_failure(failure, outcome.request_id)
    return _encode({"error": _write_error(failure, status), "unbroken": outcome.told()})


def _write_error(failure: Failure, status: int, *, wait_s: str | None = None) -> Object:
    word = _STATUSES.get(status) or ("INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    error: Object = {"code": status, "message": failure.message, "status": word}
    details: list[Object] = []
    if failure.param:
        violation = {"field": failure.param, "description": failure.message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    if wait_s is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait_s}s"})
    return {**error, "details": details} if details else error
