"""Embeddings in OpenAI's format, both sides; they are asked and answered whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, Delta, HttpRequest, Json, Output, Request, Source, Target, Task
from unbroken.wire import Decoder, Format, Outcome, Unsaid, Writer
from unbroken.wire.asked import decoded, fault_of, read_fields
from unbroken.wire.embeddings import packed, unpacked, usage_of, vectors_decoder, vectors_of, write_embedding
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.openai_chat_answer import read_usage
from unbroken.wire.openai_chat_writer import write_failure, write_fault
from unbroken.wire.reading import fault_in, read_json
from unbroken.wire.whole import WholeWriter, passed_on
from unbroken.work import Texts

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "openai_embeddings"
PATH = "/v1/embeddings"
HINTS = ("user",)
_encode = msgspec.json.encode
_OWN = frozenset(("model", "input", "dimensions", "encoding_format", *HINTS))


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The caller's own fields with another model, or the same said anew; ValueError where it cannot be said."""
    del continuation  # a vector is never carried on
    unsaid = Unsaid(target, "OpenAI's embeddings format")
    write = partial(_write_texts, unsaid=unsaid)
    return write_embedding(request, target, path="/embeddings", name=NAME, unsaid=unsaid, write=write)


def _write_texts(work: Texts, *, unsaid: Unsaid) -> dict[str, Json]:
    if work.purpose and work.purpose != "similarity":
        unsaid.lack("purpose", f"vectors for a {work.purpose} may differ from others")
    for name in work.extras:
        unsaid.lack(name)
    unsaid.hint(*(name for name in work.hints if name not in HINTS))
    return {
        "input": list(work.tokens) if work.tokens else list(work.texts),
        "dimensions": work.dimensions,
        "encoding_format": "base64" if work.base64 else None,
        **{name: work.hints[name] for name in HINTS if name in work.hints},
    }


# ----------------------------------------------------------------------- from a caller


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    del path
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    texts = fields.get("input", b"null")
    if texts == b"null":
        return fault_of("input", "is missing", code="missing_required_parameter")
    if texts[:1] not in (b'"', b"["):
        return fault_of("input", "must be a string or an array")
    if not texts[1:-1].strip() and texts != b'""':  # some embed the empty string
        return fault_of("input", "must not be empty")
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        task=Task.EMBEDDING,
        prompt_chars=len(texts),
        source=Source(NAME, fields),
        read=partial(_read_texts, fields),
    )


def _read_texts(fields: dict[str, bytes]) -> Texts:
    body = decoded(fields)
    texts = body["input"]
    items = texts if isinstance(texts, list) else [texts]
    if items and all(isinstance(item, int) for item in items):
        items = [items]
    tokens = tuple(tuple(item) for item in items if isinstance(item, list))
    words = tuple(item for item in items if isinstance(item, str))
    if len(tokens) + len(words) != len(items) or (tokens and words):
        raise ValueError("'input' must be texts, or tokens, but not a mixture of them")
    return Texts(
        texts=words,
        tokens=tokens,
        dimensions=body.get("dimensions"),
        base64=body.get("encoding_format") == "base64",
        extras={name: value for name, value in body.items() if name not in _OWN and value is not None},
        hints={name: body[name] for name in HINTS if body.get(name) is not None},
    )


# ----------------------------------------------------------------------------- answers


class _Answer(msgspec.Struct, gc=False):
    data: list[msgspec.Raw] | None = None
    model: Any = ""
    usage: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer; the vectors are looked at only for a caller of another format."""
    return vectors_decoder(request, NAME, read=_read_answer)


def _read_answer(body: bytes, *, vectors: bool) -> list[Delta] | Failure:
    body = body.lstrip()
    try:
        answer = _ANSWER.decode(body)
        outputs = tuple(_read_vector(item) for item in answer.data or ()) if vectors else ()
    except UNREADABLE:
        return fault_in(read_json(body), "the answer's 'data' is not an array of vectors")
    if answer.error or not answer.data:
        return fault_in(read_json(body), "the answer holds no data")
    model = answer.model if isinstance(answer.model, str) else ""
    usage, count = read_usage(answer.usage), len(answer.data)
    return [Delta(media=count, usage=usage, model=model, format=NAME, raw=body, body=True, outputs=outputs)]


def _read_vector(item: msgspec.Raw) -> Output:
    vector = msgspec.json.decode(item, type=dict[str, Any]).get("embedding")
    if isinstance(vector, str):
        return Output(kind="embedding", vector=unpacked(vector))
    if not isinstance(vector, list) or not all(isinstance(number, int | float) for number in vector):
        raise ValueError("not a vector")
    return Output(kind="embedding", vector=tuple(map(float, vector)))


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    return WholeWriter(JSON_TYPE, partial(_write_answer, request=request), fail=write_fault)


def _write_answer(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    as_text = request.source is not None and request.source.fields.get("encoding_format") == b'"base64"'
    vectors = vectors_of(deltas)
    usage = usage_of(deltas)
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": packed(vector) if as_text else vector}
            for index, vector in enumerate(vectors)
        ],
        "model": next((delta.model for delta in deltas if delta.model), "") or request.model,
        "usage": {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens},
    }
    return _encode(body)


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=(PATH,),
)
