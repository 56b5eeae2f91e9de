"""Embeddings and images in OpenAI's format, both sides; both are asked and answered whole.

FORMAT    the record; the path a caller used says which of the two it is
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Continuation, Delta, HttpRequest, Request, Source, Target, Task
from unbroken.wire import Decoder, Format, Outcome, Writer
from unbroken.wire.errors import classify, classify_event
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.openai_chat import fault_of, http_request, read_fields
from unbroken.wire.openai_chat_answer import BODY_BYTES_MAX, read_json, read_usage
from unbroken.wire.openai_chat_writer import JSON_TYPE, passed_on, write_failure
from unbroken.wire.openai_chat_writer import writer as chat_writer

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "openai_media"

_TASKS = {"/v1/embeddings": Task.EMBEDDING, "/v1/images/generations": Task.IMAGE}
_PATHS = {Task.EMBEDDING: "/embeddings", Task.IMAGE: "/images/generations"}
_PROMPTS = {Task.EMBEDDING: "input", Task.IMAGE: "prompt"}


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The caller's own fields with another model; ValueError for a request that came in another format."""
    del continuation  # what is not text is never carried on
    source = request.source
    if source is None or source.format != NAME or request.task not in _PATHS:
        raise ValueError(f"a {request.task} request that came in another format cannot be said in {NAME}")
    fields = {**source.fields, "model": msgspec.json.encode(target.model)}
    return http_request(target, _PATHS[request.task], body=join_fields(fields))


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    task = _TASKS.get(path.rstrip("/"))
    if task is None:
        return fault_of("", f"There is nothing at {path}.", code="unknown_url")
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    name = _PROMPTS[task]
    prompt = fields.get(name, b"null")
    if prompt == b"null":
        return fault_of(name, "is missing", code="missing_required_parameter")
    if prompt[:1] != b'"' and (task is Task.IMAGE or prompt[:1] != b"["):
        return fault_of(name, "must be a string" if task is Task.IMAGE else "must be a string or an array")
    if not prompt[1:-1].strip() and prompt != b'""':  # some embed the empty string
        return fault_of(name, "must not be empty")
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        task=task,
        prompt_chars=len(prompt),
        choices=_choices(fields) if task is Task.IMAGE else 1,
        source=Source(NAME, fields),
    )


def _choices(fields: dict[str, bytes]) -> int:
    try:
        return max(1, msgspec.json.decode(fields.get("n", b"1"), type=int))
    except UNREADABLE:
        return 1


class _Answer(msgspec.Struct, gc=False):
    data: list[msgspec.Raw] | None = None
    model: Any = ""
    usage: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def decoder(_request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Body()


class _Body:
    """A whole JSON body whose `data` holds the embeddings or images."""

    __slots__ = ("_parts", "_size", "done")

    def __init__(self) -> None:
        self.done = False
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Delta] | Failure:
        self._size += len(data)
        if self._size > BODY_BYTES_MAX:
            return _malformed(f"the answer is longer than {BODY_BYTES_MAX} bytes")
        self._parts.append(data)
        return []

    def close(self) -> list[Delta] | Failure:
        body = b"".join(self._parts).lstrip()
        try:
            answer = _ANSWER.decode(body)
        except UNREADABLE:
            return _fault_in(body, "the answer's 'data' is not an array")
        if answer.error or not answer.data:
            return _fault_in(body, "the answer holds no data")
        self.done = True
        model = answer.model if isinstance(answer.model, str) else ""
        usage = read_usage(answer.usage)
        return [Delta(media=len(answer.data), usage=usage, model=model, format=NAME, raw=body, body=True)]


def _fault_in(body: bytes, what: str) -> Failure:
    """What is wrong with a body that is not an answer: the error that it holds, or its shape."""
    value = read_json(body)
    if isinstance(value, Failure):
        return value
    return classify_event(value) or _malformed(what)


def _malformed(message: str) -> Failure:
    return Failure(kind=FailureKind.MALFORMED, message=message)


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    return _Writer(request)


class _Writer:
    """Passes the body on: no other format answers this kind of question yet."""

    __slots__ = ("_plain", "content_type")

    def __init__(self, request: Request) -> None:
        self.content_type = JSON_TYPE
        self._plain = chat_writer(request)

    def write(self, deltas: Sequence[Delta]) -> bytes:
        return b""

    def end(self, outcome: Outcome) -> bytes:
        return b""

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        return passed_on(deltas, NAME)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return self._plain.broken(failure, outcome)


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=tuple(_TASKS),
)
