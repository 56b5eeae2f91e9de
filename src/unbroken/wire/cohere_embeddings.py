"""Embeddings in Cohere's format (version 2), both sides: what /v2/embed speaks.

Cohere's models want to know what a vector is for (`input_type`).  A caller of another format who
does not say it gets `search_document`: vectors for a search are compared with those of
documents, and such a caller embeds questions and documents with the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, Delta, HttpRequest, Json, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Decoder, Format, Outcome, Unsaid, Writer
from unbroken.wire.asked import decoded, fault_of, read_fields, shaped
from unbroken.wire.cohere import WORDS, at_root
from unbroken.wire.cohere_writer import broken, write_failure
from unbroken.wire.embeddings import packed, unpacked, usage_of, vectors_decoder, vectors_of, write_embedding
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.reading import count_of, fault_in, read_json
from unbroken.wire.whole import WholeWriter, passed_on
from unbroken.work import Texts

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "cohere_embeddings"
PATH = "/v2/embed"
TEXTS_MAX = 96
HINTS = ("priority",)
_TYPES = {
    "": "search_document",
    "document": "search_document",
    "query": "search_query",
    "classification": "classification",
    "clustering": "clustering",
}
"""Cohere's words for what vectors are for."""
_PURPOSES = {word: purpose for purpose, word in _TYPES.items() if purpose}
_TRUNCATIONS = ("NONE", "START", "END")
_OWN = frozenset(("model", "texts", "input_type", "output_dimension", "truncate", *HINTS))
_encode = msgspec.json.encode


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The caller's own fields with another model, or the same said anew; ValueError where it cannot be said."""
    del continuation  # a vector is never carried on
    unsaid = Unsaid(target, WORDS)
    write = partial(_write_texts, unsaid=unsaid, own=request.source is None)
    return write_embedding(request, at_root(target), path=PATH, name=NAME, unsaid=unsaid, write=write)


def _write_texts(work: Texts, *, unsaid: Unsaid, own: bool) -> dict[str, Json]:
    """A text that is too long is refused unless the caller wants it shortened, which is Cohere's default."""
    if work.tokens:
        raise ValueError(f"{WORDS} takes texts, not tokens")
    if len(work.texts) > TEXTS_MAX:
        raise ValueError(f"{WORDS} takes at most {TEXTS_MAX} texts at once")
    if work.purpose not in _TYPES:
        unsaid.lack("purpose", f"vectors for {work.purpose} may differ from others")
    if not own:
        for name in work.extras:
            unsaid.lack(name)
    truncate = work.hints.get("truncate")
    known = (*HINTS, "truncate") if truncate in _TRUNCATIONS else HINTS
    unsaid.hint(*(name for name in work.hints if name not in known))
    return {
        "texts": list(work.texts),
        "input_type": _TYPES.get(work.purpose, _TYPES[""]),
        "embedding_types": ["base64" if work.base64 else "float"],
        "output_dimension": work.dimensions,
        "truncate": truncate if truncate in _TRUNCATIONS else "NONE",
        **{name: work.hints.get(name) for name in HINTS},
        **(work.extras if own else {}),
    }


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    held = next((fields[name] for name in ("texts", "inputs", "images") if fields.get(name, b"null") != b"null"), None)
    if held is None:
        return fault_of("texts", "is missing")
    if held[:1] != b"[" or not held[1:-1].strip():
        return fault_of("texts", "must be an array with at least one text")
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        task=Task.EMBEDDING,
        prompt_chars=len(held),
        source=Source(NAME, fields),
        read=partial(_read_texts, fields),
    )


class _Asked(msgspec.Struct):
    texts: list[str]
    input_type: str | None = None
    output_dimension: int | None = None
    embedding_types: list[str] | None = None


def _read_texts(fields: dict[str, bytes]) -> Texts:
    """The texts; what else may be asked (images, other types of numbers) stays among the extras."""
    body = decoded(fields)
    asked = shaped(body, _Asked, where="the body")
    own = {*_OWN, *(["embedding_types"] if asked.embedding_types in _FLOATS else [])}
    if asked.input_type is not None and asked.input_type not in _PURPOSES:
        own.discard("input_type")
    return Texts(
        texts=tuple(asked.texts),
        dimensions=asked.output_dimension,
        purpose=_PURPOSES.get(asked.input_type or "", ""),
        base64=asked.embedding_types == ["base64"],
        extras={name: value for name, value in body.items() if name not in own and value is not None},
        hints={name: body[name] for name in (*HINTS, "truncate") if body.get(name) is not None},
    )


_FLOATS: tuple[list[str] | None, ...] = (None, [], ["float"], ["base64"])
"""Types of numbers that other formats have too."""


# ----------------------------------------------------------------------------- answers


class _Billed(msgspec.Struct, gc=False):
    input_tokens: Any = None
    images: Any = None


class _Meta(msgspec.Struct, gc=False):
    billed_units: _Billed | None = None


class _Answer(msgspec.Struct, gc=False):
    embeddings: dict[str, list[msgspec.Raw] | None] | None = None
    id: str | None = None
    meta: _Meta | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_VECTOR = msgspec.json.Decoder(tuple[float, ...] | str)


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer; the vectors are looked at only for a caller of another format."""
    return vectors_decoder(request, NAME, read=_read_answer)


def _read_answer(body: bytes, *, vectors: bool) -> list[Delta] | Failure:
    body = body.strip()
    try:
        answer = _ANSWER.decode(body)
        kinds = answer.embeddings or {}
        found = next((vectors for vectors in kinds.values() if vectors), None) or []
        outputs = tuple(map(_read_vector, kinds.get("float") or kinds.get("base64") or ())) if vectors else ()
    except UNREADABLE:
        return fault_in(read_json(body), "the answer holds no vectors")
    if not found or (vectors and not outputs):
        return fault_in(read_json(body), "the answer holds no vectors")
    usage = _usage(answer.meta)
    made = Delta(media=len(found), usage=usage, id=answer.id or "", format=NAME, raw=body, body=True, outputs=outputs)
    return [made]


def _read_vector(item: msgspec.Raw) -> Output:
    vector = _VECTOR.decode(item)
    return Output(kind="embedding", vector=unpacked(vector) if isinstance(vector, str) else vector)


def _usage(meta: _Meta | None) -> Usage:
    billed = meta.billed_units if meta is not None else None
    if billed is None:
        return Usage()
    return Usage(input_tokens=count_of(billed.input_tokens), images=count_of(billed.images))


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    return WholeWriter(JSON_TYPE, partial(_write_answer, request=request), fail=broken)


def _write_answer(deltas: Sequence[Delta], outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    asked = request.source.fields if request.source is not None else {}
    vectors = vectors_of(deltas)
    as_text = b'"base64"' in asked.get("embedding_types", b"")
    usage = usage_of(deltas)
    body = {
        "id": next((delta.id for delta in deltas if delta.id), "") or outcome.request_id,
        "embeddings": {"base64": [packed(vector) for vector in vectors]} if as_text else {"float": vectors},
        "texts": msgspec.Raw(asked.get("texts", b"[]")),
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": usage.input_tokens}},
        "response_type": "embeddings_by_type",
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
