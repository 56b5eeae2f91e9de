"""Answers in Ollama's own format, written: the server side's writers, and its error envelope.

    writer(request) -> Writer                               streamed or plain, as the caller asked
    write_failure(failure, request id) -> status, headers, body

Lines that came in this format go out as they are.  The last one is kept until the end is
certain: it alone says that the answer is done, and usage may come after the finish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import Delta, Finish, Json, Request, Response, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.framing import UNREADABLE, join_fields, split_fields
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.media import in_words
from unbroken.wire.ollama_messages import NAME
from unbroken.wire.openai_chat_writer import write_failure as write_openai_failure
from unbroken.wire.stream_writer import StreamWriter
from unbroken.wire.whole import WholeWriter, passed_on

__all__ = ["LINES_TYPE", "UNKNOWN_TIME", "broken", "write_failure", "writer"]

LINES_TYPE = "application/x-ndjson"
UNKNOWN_TIME = "1970-01-01T00:00:00Z"
"""No clock is asked here, and clients in typed languages want a time."""
_REASONS = {Finish.LENGTH: "length", Finish.CONTENT_FILTER: "content_filter"}
"""Everything else is `stop`, tool calls too."""
_encode = msgspec.json.encode

Object = dict[str, Any]


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    return (
        _Streamed(request)
        if request.stream
        else WholeWriter(JSON_TYPE, partial(_write_whole, request=request), fail=broken)
    )


class _Streamed(StreamWriter):
    """Lines of one stream.  Calls are put together first, because this format has no pieces of them."""

    __slots__ = ("_calls", "_last", "_model", "_usage", "content_type")

    def __init__(self, request: Request) -> None:
        self.content_type = LINES_TYPE
        self._model = request.model
        self._calls: list[ToolFragment] = []
        self._last: Delta | None = None
        self._usage: Usage | None = None

    def end(self, outcome: Outcome) -> bytes:
        last = self._last
        if last is not None and last.raw and not self._calls:
            return _with_outcome(last.raw, outcome)
        answer = fold([Delta(tool_calls=tuple(self._calls)), last or Delta()])
        line = _object(answer, usage=self._usage, model=answer.model or self._model)
        return _with_outcome(_encode(line) + b"\n", outcome)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return broken(failure, outcome) + b"\n"

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == NAME and not delta.body:
            if delta.finish is None:
                return delta.raw
            self._last = delta
            return b""
        delta = in_words(delta)
        self._usage = delta.usage or self._usage
        self._calls += delta.tool_calls
        if delta.finish is not None:
            self._last = replace(delta, raw=b"", text="", reasoning="", tool_calls=(), refusal="")
        said = _said(delta.text + delta.refusal, delta.reasoning)
        if said == _NOTHING:
            return b""
        line = {"model": delta.model or self._model, "created_at": UNKNOWN_TIME, "message": said, "done": False}
        return _encode(line) + b"\n"


def _said(text: str, thinking: str) -> Object:
    return {"role": "assistant", "content": text, **({"thinking": thinking} if thinking else {})}


_NOTHING = _said("", "")


def _object(answer: Response, *, usage: Usage | None, model: str) -> Object:
    """The object that ends an answer, or is all of it."""
    message = _said(answer.text + answer.refusal, answer.reasoning)
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                **({"id": call.id} if call.id else {}),
                "function": {"index": i, "name": call.name, "arguments": _arguments(call.arguments)},
            }
            for i, call in enumerate(answer.tool_calls)
        ]
    body: Object = {"model": model, "created_at": UNKNOWN_TIME, "message": message, "done": True}
    body["done_reason"] = _REASONS.get(answer.finish or Finish.STOP, "stop")
    if usage is not None:
        body |= {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}
    return body


def _arguments(text: str) -> Object:
    """The object that this format wants; what a model wrote amiss is handed over under one name."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except UNREADABLE:
        return {"arguments": text}


def _write_whole(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    answer = fold([in_words(delta) for delta in deltas])
    return _encode(_object(answer, usage=answer.usage, model=answer.model or request.model))


def _with_outcome(line: bytes, outcome: Outcome) -> bytes:
    """The line as it is, or with what happened on the way to it."""
    if not outcome.notable:
        return line
    return join_fields({**split_fields(line), "unbroken": _encode(outcome.told())}) + b"\n"


def broken(failure: Failure, outcome: Outcome) -> bytes:
    """The error inside an answer under a good status."""
    return _encode({"error": failure.message, "unbroken": outcome.told()})


def write_failure(failure: Failure, request_id: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and Ollama's error envelope, which is one sentence."""
    status, headers, _ = write_openai_failure(failure, request_id)
    envelope: Json = {"error": failure.message}
    return status, headers, _encode(envelope)
